/* layout.c: osfsctl layout. */
#include "config.h"
#include "ctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "daemon/layout.h"

struct options {
	const char *offset, *rows;	/* --offset=, --rows= */
	const char *words[RAID_MAX_MEMBERS];
	unsigned nr_words;
};

static bool parse_u64(const char *what, const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *out <= INT64_MAX)
		return true;
	log_error("%s: '%s' is no number", what, text);
	return false;
}

static bool take_options(const struct request *r, struct options *o)
{
	*o = (struct options){ 0 };
	for (unsigned i = 0; i < r->nr_words; i++) {
		const char *w = r->words[i];

		if (!strncmp(w, "--offset=", 9)) {
			o->offset = w + 9;
		} else if (!strncmp(w, "--rows=", 7)) {
			o->rows = w + 7;
		} else if (!strncmp(w, "--", 2)) {
			log_error("unknown option %s", w);
			return false;
		} else if (o->nr_words < ARRAY_LEN(o->words)) {
			o->words[o->nr_words++] = w;
		}
	}
	if (o->nr_words)
		return true;
	log_error("layout: which mount point, or which members?");
	return false;
}

/* The file's inode, by a path as seen from here or one within the filesystem; 0 after a message. */
static uint64_t ino_of(const char *mountpoint, const char *word)
{
	struct stat mnt, st;
	char inner[PATH_MAX];

	if (stat(mountpoint, &mnt)) {
		log_error("%s: %s", mountpoint, strerror(errno));
		return 0;
	}
	if (!stat(word, &st) && st.st_dev == mnt.st_dev)
		return st.st_ino;
	if (snprintf(inner, sizeof(inner), "%s/%s", mountpoint, word) < (int)sizeof(inner) && !stat(inner, &st) &&
	    st.st_dev == mnt.st_dev)
		return st.st_ino;
	log_error("%s: no file of the mount at %s", word, mountpoint);
	return 0;
}

/* MNT [PATH [OFFSET]]: the file is named by its inode, which the mount's stat tells. */
static json_t *of_mount(const struct options *o, const struct layout_ask *ask)
{
	json_t *what = json_pack("{s:i}", "rows", (int)ask->nr_rows);
	uint64_t offset = ask->offset_bytes;

	if (o->nr_words > 3 || (o->nr_words > 2 && !parse_u64("layout", o->words[2], &offset))) {
		if (o->nr_words > 3)
			log_error("layout MNT [PATH [OFFSET]]: %s is too much", o->words[3]);
		json_decref(what);
		return NULL;
	}
	if (o->nr_words > 1) {
		const uint64_t ino = ino_of(o->words[0], o->words[1]);

		if (!ino) {
			json_decref(what);
			return NULL;
		}
		json_object_set_new(what, "ino", json_integer((json_int_t)ino));
	}
	if (ask->has_offset || o->nr_words > 1)
		json_object_set_new(what, "offset", json_integer((json_int_t)offset));
	return ctl_request(o->words[0], "layout", json_pack("[o]", what));
}

static json_t *of_array(struct blk_dev **devs, unsigned nr, const struct layout_ask *ask, struct alloc *alloc)
{
	const struct raid_open_opts ro = { .alloc = alloc, .read_only = true, .quiet = true };
	json_t *answer = NULL;
	struct raid *r;
	int err = raid_assemble(devs, nr, &ro, &r);

	if (err) {
		for (unsigned i = 0; i < nr; i++)
			blk_close(devs[i]);
		return NULL;
	}
	err = layout_json(r, ask, &answer);
	if (err == -EINVAL)
		log_error("byte %" PRIu64 " is behind the end of the volume", ask->offset_bytes);
	if (raid_free(r) && !err)
		log_warn("the array could not be closed");	/* nothing was written */
	return answer;
}

/* Members that nobody needs to have mounted; it does not matter if somebody has. */
static json_t *of_members(const struct options *o, const struct layout_ask *ask)
{
	static const struct blk_open_opts look = { .read_only = true, .no_lock = true };
	struct blk_dev *devs[RAID_MAX_MEMBERS];
	struct alloc *alloc = NULL;
	json_t *answer = NULL;
	unsigned nr = 0;
	int err = alloc_new(&(struct alloc_opts){ 0 }, &alloc);

	for (unsigned i = 0; i < o->nr_words && !err; i++) {
		if (!strcmp(o->words[i], "missing"))
			continue;
		err = blk_open(o->words[i], &look, &devs[nr]);
		nr += !err;
	}
	if (!err && nr) {
		answer = of_array(devs, nr, ask, alloc);
	} else {
		while (nr > 0)
			blk_close(devs[--nr]);
	}
	if (alloc)
		alloc_free(alloc);
	return answer;
}

int run_layout(const struct request *r)
{
	struct layout_ask ask = { 0 };
	struct options o;
	uint64_t rows = 0;
	struct stat st;
	json_t *answer;

	if (!take_options(r, &o))
		return EXIT_ERROR;
	ask.has_offset = o.offset != NULL;
	if ((o.offset && !parse_u64("--offset", o.offset, &ask.offset_bytes)) ||
	    (o.rows && !parse_u64("--rows", o.rows, &rows)))
		return EXIT_ERROR;
	ask.nr_rows = (unsigned)MIN(rows, (uint64_t)UINT16_MAX);
	answer = !stat(o.words[0], &st) && S_ISDIR(st.st_mode) ? of_mount(&o, &ask) : of_members(&o, &ask);
	if (!answer)
		return EXIT_ERROR;
	if (r->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		layout_print(answer, stdout);
	}
	json_decref(answer);
	return EXIT_GOOD;
}
