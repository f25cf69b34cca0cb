/* ctl_explain.c: explain, on a mounted filesystem: what memory has counts, not what the disk has. */
#include <stdlib.h>

#include "ctl.h"
#include "explain/explain.h"

enum { WORDS_MAX = 32, RANGE_TEXT = 48 };

static int peek(void *arg, uint64_t off_bytes, void *buf, size_t len_bytes)
{
	return fs_peek(arg, off_bytes, buf, len_bytes);
}

/* The volume as a file has no filesystem open: there the device is looked at. */
static struct look_source source_of(const struct daemon *d)
{
	struct look_source src = look_source_dev(d->members.dev);

	if (d->fs) {
		struct fs_status st;

		fs_status_get(d->fs, &st);
		src = (struct look_source){ peek, d->fs, st.nr_blocks * st.block_bytes, true };
	}
	return src;
}

/* "--volume-sectors=…" of what scrub found; malloc'ed. */
static char *scrub_word(struct raid *r, char **error_text)
{
	struct raid_place_found *found = r ? malloc(RAID_MAX_PLACES * sizeof(*found)) : NULL;
	const unsigned nr = found ? MIN(raid_places_get(r, found, RAID_MAX_PLACES), (unsigned)RAID_MAX_PLACES) : 0;
	char *word = malloc(64 + (size_t)nr * RANGE_TEXT), *at = word;

	if (word && nr) {
		at += sprintf(at, "--volume-sectors=");
		for (unsigned i = 0; i < nr; i++)
			at += sprintf(at, "%s%" PRIu64 "-%" PRIu64, i ? "," : "", found[i].sect, found[i].sect + found[i].nr_sects - 1);
	} else {
		free(word);
		word = NULL;
		*error_text = strdup(r ? "scrub has found no place" : "no array: nothing to scrub");
	}
	free(found);
	return word;
}

static int explain(struct daemon *d, const char *const *words, unsigned nr, json_t **result, char **error_text)
{
	struct explain x;
	int err = explain_open(&x, d->members.raid, d->members.dev, source_of(d));

	if (err)
		return err;
	err = explain_words(&x, words, nr, result, error_text);
	explain_close(&x);
	return err;
}

int ctl_verb_explain(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	const char *words[WORDS_MAX];
	char *scrub = NULL;
	unsigned nr = 0;
	const json_t *v;
	size_t i;
	int err;

	json_array_foreach(args, i, v) {
		const char *word = json_string_value(v);

		if (!word || nr == WORDS_MAX)
			return -EINVAL;
		if (!strcmp(word, "--scrub") && !scrub) {
			word = scrub = scrub_word(d->members.raid, error_text);
			if (!scrub)
				return -ENODATA;
		}
		words[nr++] = word;
	}
	err = explain(d, words, nr, result, error_text);
	free(scrub);
	return err;
}
