/*
 * raid_drive.c: an array through the library, without a mount, for shell tests.
 *
 *	raid_drive create LEVEL LAYOUT|- CHUNK_KIB bitmap=KIB|none NR_SPARES IMAGE...
 *	raid_drive run [-f] IMAGE... -- WORD...
 *
 * Words, done in turn on the assembled array:
 *	fill=SEED	all of it with bytes of the seed
 *	write=SEED,NR	NR writes of up to 64 KiB in places of the seed
 *	fail=N remove=N	the member with md's number N
 *	add=IMAGE re-add=IMAGE replace=N
 *	step=N		N pieces of 64 KiB
 *	finish		all there is to do
 *	check repair rewrite	a scrub to its end; prints "mismatch SECTORS"
 *	idle		twice, so that superblocks and bitmap come to rest
 *	cat		the volume to standard output
 *	status		what raid_to_text() says, to standard output
 *	kill		ends here as by kill -9
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "raid/raid.h"

enum { UNIT_BYTES = 64 << 10, UNIT_SECTS = UNIT_BYTES >> SECT_SHIFT };

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "raid_drive: %s: %s\n", what, strerror(-err));
	exit(EXIT_FAILURE);
}

static struct blk_dev *image_open(const char *path)
{
	struct blk_dev *d;

	must(blk_open(path, NULL, &d), path);
	return d;
}

static int create(char **argv)
{
	struct raid_params p = { .metadata = RAID_META_12, .name = "life" };
	struct blk_dev *devs[RAID_MAX_MEMBERS];
	unsigned nr = 0, nr_spares = (unsigned)atoi(argv[4]);

	must(raid_level_parse(argv[0], &p.level), argv[0]);
	must(raid_layout_parse(p.level, strcmp(argv[1], "-") ? argv[1] : NULL, &p.layout), argv[1]);
	p.chunk_sects = (uint32_t)atoi(argv[2]) * 2;
	p.bitmap = strncmp(argv[3], "bitmap=", 7) ? RAID_BITMAP_NONE : RAID_BITMAP_INTERNAL;
	p.bitmap_chunk_bytes = p.bitmap == RAID_BITMAP_INTERNAL ? (uint32_t)atoi(argv[3] + 7) * 1024 : 0;
	for (argv += 5; *argv; argv++)
		devs[nr++] = image_open(*argv);
	p.nr_disks = nr - nr_spares;
	must(raid_create(&p, devs, devs + p.nr_disks, nr_spares, true), "create");
	while (nr--)
		blk_close(devs[nr]);
	return 0;
}

static void fill(struct raid *r, uint64_t seed)
{
	static char buf[UNIT_BYTES];
	uint64_t nr_sects = blk_nr_sects(raid_dev(r));
	struct rng rng = { seed };

	for (sect_t at = 0; at < nr_sects; at += UNIT_SECTS) {
		size_t len = (size_t)MIN(nr_sects - at, (uint64_t)UNIT_SECTS) << SECT_SHIFT;

		rng_fill(&rng, buf, len);
		must(blk_write(raid_dev(r), at, buf, len), "write");
	}
}

static void write_some(struct raid *r, uint64_t seed, unsigned nr)
{
	static char buf[UNIT_BYTES];
	struct rng rng = { seed };

	while (nr--) {
		sect_t at = rng_below(&rng, blk_nr_sects(raid_dev(r)) - UNIT_SECTS);
		size_t len = (size_t)(1 + rng_below(&rng, UNIT_SECTS)) << SECT_SHIFT;

		rng_fill(&rng, buf, len);
		must(blk_write(raid_dev(r), at, buf, len), "write");
	}
}

static void cat(struct raid *r)
{
	static char buf[UNIT_BYTES];
	uint64_t nr_sects = blk_nr_sects(raid_dev(r));

	for (sect_t at = 0; at < nr_sects; at += UNIT_SECTS) {
		size_t len = (size_t)MIN(nr_sects - at, (uint64_t)UNIT_SECTS) << SECT_SHIFT;

		must(blk_read(raid_dev(r), at, buf, len), "read");
		must(fwrite(buf, 1, len, stdout) == len ? 0 : -EIO, "standard output");
	}
}

static void finish(struct raid *r)
{
	int rc;

	while ((rc = raid_step(r, 0)) == 1)
		;
	must(rc, "raid_step");
}

static void scrub(struct raid *r, enum raid_action a, unsigned flags)
{
	static struct raid_status st;

	finish(r);
	must(raid_action_set(r, a, flags), "scrub");
	finish(r);
	raid_status_get(r, &st);
	printf("mismatch %" PRIu64 "\n", st.mismatch_sects);
}

static void remove_member(struct raid *r, int dev_nr)
{
	struct blk_dev *d;

	must(raid_member_remove(r, dev_nr, &d), "remove");
	blk_close(d);
}

static void add(struct raid *r, const char *path, enum raid_add how)
{
	int dev_nr;

	must(raid_member_add(r, image_open(path), how, &dev_nr), path);
}

/* The value behind "name=", NULL when the word is another. */
static const char *value(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) || word[len] != '=' ? NULL : word + len + 1;
}

static void word(struct raid *r, const char *w)
{
	const char *v;

	if ((v = value(w, "fill"))) {
		fill(r, strtoull(v, NULL, 0));
	} else if ((v = value(w, "write"))) {
		char *end;
		uint64_t seed = strtoull(v, &end, 0);

		write_some(r, seed, (unsigned)atoi(end + 1));
	} else if ((v = value(w, "fail"))) {
		must(raid_member_fail(r, atoi(v)), w);
	} else if ((v = value(w, "remove"))) {
		remove_member(r, atoi(v));
	} else if ((v = value(w, "add"))) {
		add(r, v, RAID_ADD_AUTO);
	} else if ((v = value(w, "re-add"))) {
		add(r, v, RAID_ADD_READD);
	} else if ((v = value(w, "replace"))) {
		must(raid_member_replace(r, atoi(v), -1), w);
	} else if ((v = value(w, "step"))) {
		for (int n = atoi(v); n > 0 && raid_step(r, UNIT_SECTS) == 1; n--)
			;
	} else if (!strcmp(w, "finish")) {
		finish(r);
	} else if (!strcmp(w, "check") || !strcmp(w, "repair") || !strcmp(w, "rewrite")) {
		scrub(r, *w == 'c' ? RAID_CHECK : RAID_REPAIR, w[2] == 'w' ? RAID_SCRUB_REWRITE : 0);
	} else if (!strcmp(w, "idle")) {
		must(raid_idle(r), w);
		must(raid_idle(r), w);
	} else if (!strcmp(w, "cat")) {
		cat(r);
	} else if (!strcmp(w, "status")) {
		raid_to_text(r, stdout);
	} else if (!strcmp(w, "kill")) {
		fflush(stdout);
		_exit(EXIT_SUCCESS);
	} else {
		must(-EINVAL, w);
	}
}

static int run(char **argv)
{
	struct raid_open_opts o = { .work = RAID_WORK_STEPS };
	struct blk_dev *devs[RAID_MAX_MEMBERS];
	struct raid *r;
	unsigned nr = 0;

	if (*argv && !strcmp(*argv, "-f")) {
		o.force = true;
		argv++;
	}
	must(alloc_new(&(struct alloc_opts){ 0 }, &o.alloc), "memory");
	for (; *argv && strcmp(*argv, "--"); argv++)
		devs[nr++] = image_open(*argv);
	must(raid_assemble(devs, nr, &o, &r), "assemble");
	while (*argv && *++argv)
		word(r, *argv);
	must(raid_free(r), "stop");
	return alloc_free(o.alloc) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	log_set_program("raid_drive");
	if (argc > 7 && !strcmp(argv[1], "create"))
		return create(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "run"))
		return run(argv + 2);
	fprintf(stderr, "usage: raid_drive create|run ...\n");
	return EXIT_FAILURE;
}
