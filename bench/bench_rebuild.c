/*
 * bench_rebuild.c: rebuild, replacement and scrub of arrays on image files, beside plain
 * copying: the same bytes read from the same images and written to the same one, in batches
 * of a MiB a member through the block layer. And reading and writing with a member missing,
 * beside the whole array.
 *
 *	recover	a new member is filled from the others
 *	replace	a member is copied while it serves
 *	check	everything is read and compared
 *	read, write	degraded / healthy, sequential, a MiB at a time
 *
 * MiB/s on each member, of the best of the rounds (what else runs here only slows), and
 * the ratio.
 *
 * Usage: bench_rebuild [DIR [MiB a member]]	(default: /dev/shm 128)
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "raid/raid.h"

enum { NR_ROUNDS = 5, MAX_DISKS = 8, UNIT_BYTES = 1 << 20, UNIT_SECTS = UNIT_BYTES >> SECT_SHIFT };

static void must(int err)
{
	if (err) {
		fprintf(stderr, "bench_rebuild: %s\n", strerror(-err));
		exit(EXIT_FAILURE);
	}
}

static double now_sec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct bench {
	const char *dir;
	unsigned mib;
	int level;
	unsigned nr_disks;
	struct alloc *alloc;
	struct raid *r;
	char *bufs[MAX_DISKS];
};

static void image_path(const struct bench *b, unsigned i, char *path, size_t len)
{
	snprintf(path, len, "%s/bench_rebuild.%d.%u", b->dir, (int)getpid(), i);
}

static struct blk_dev *image_open(const struct bench *b, unsigned i)
{
	struct blk_open_opts o = { .create_bytes = (uint64_t)(b->mib + 8) << 20 };
	struct blk_dev *d;
	char path[512];

	image_path(b, i, path, sizeof(path));
	must(blk_open(path, &o, &d));
	return d;
}

static void fill(struct bench *b)
{
	struct rng rng = { 1 };
	uint64_t nr_sects = blk_nr_sects(raid_dev(b->r));

	rng_fill(&rng, b->bufs[0], UNIT_BYTES);
	for (sect_t at = 0; at + UNIT_SECTS <= nr_sects; at += UNIT_SECTS) {
		memcpy(b->bufs[0], &at, sizeof(at));
		must(blk_write(raid_dev(b->r), at, b->bufs[0], UNIT_BYTES));
	}
}

static void open_all(struct bench *b, const char *layout)
{
	struct raid_params p = { .level = b->level, .nr_disks = b->nr_disks, .metadata = RAID_META_12,
				 .size_sects = (uint64_t)b->mib << 11 };
	struct blk_dev *devs[MAX_DISKS];

	must(raid_layout_parse(b->level, layout, &p.layout));
	for (unsigned i = 0; i < b->nr_disks; i++)
		devs[i] = image_open(b, i);
	must(raid_create(&p, devs, NULL, 0, true));
	must(raid_assemble(devs, b->nr_disks, &(struct raid_open_opts){ .alloc = b->alloc, .quiet = true }, &b->r));
	fill(b);
}

static double mib_per_sec(const struct bench *b, double sec)
{
	return b->mib / sec;
}

/* Read MiB after MiB from nr images from the first one on, and write to image to, if it is not -1. */
static double copy(const struct bench *b, unsigned nr, int to)
{
	struct blk_dev *devs[MAX_DISKS], *out = NULL;
	struct blk_io ios[MAX_DISKS];
	struct iovec iovs[MAX_DISKS];
	double begin, sec;
	unsigned n = 0;

	for (unsigned i = 0; n < nr; i++)
		if ((int)i != to) {
			char path[512];

			image_path(b, i, path, sizeof(path));
			must(blk_open(path, &(struct blk_open_opts){ .read_only = true, .no_lock = true }, &devs[n++]));
		}
	if (to >= 0) {
		char path[512];

		image_path(b, (unsigned)to, path, sizeof(path));
		must(blk_open(path, &(struct blk_open_opts){
			.no_lock = true, .create_bytes = (uint64_t)(b->mib + 8) << 20 }, &out));
	}
	begin = now_sec();
	for (sect_t at = 8192; at + UNIT_SECTS <= ((uint64_t)b->mib << 11) + 8192; at += UNIT_SECTS) {
		for (unsigned i = 0; i < nr; i++) {
			iovs[i] = (struct iovec){ b->bufs[i], UNIT_BYTES };
			ios[i] = (struct blk_io){ .dev = devs[i], .op = BLK_READ, .sect = at, .iov = &iovs[i], .nr_iov = 1 };
		}
		must(blk_run(ios, nr));
		if (out)
			must(blk_write(out, at, b->bufs[0], UNIT_BYTES));
	}
	if (out)
		must(blk_flush(out));
	sec = now_sec() - begin;
	while (n--)
		blk_close(devs[n]);
	blk_close(out);
	return mib_per_sec(b, sec);
}

static double run_steps(struct bench *b)
{
	double begin = now_sec();
	int rc;

	while ((rc = raid_step(b->r, 0)) == 1)
		;
	must(rc);
	return mib_per_sec(b, now_sec() - begin);
}

static int number_of_slot(struct bench *b, int slot)
{
	static struct raid_status st;

	raid_status_get(b->r, &st);
	for (unsigned i = 0; i < st.nr_members; i++)
		if (st.members[i].slot == slot && st.members[i].name)
			return st.members[i].dev_nr;
	return -1;
}

static struct blk_dev *leave(struct bench *b, int dev_nr)
{
	struct blk_dev *d;

	must(raid_member_remove(b->r, dev_nr, &d));
	return d;
}

static double recover(struct bench *b)
{
	int dev_nr = number_of_slot(b, (int)b->nr_disks - 1);
	struct blk_dev *d;

	must(raid_member_fail(b->r, dev_nr));
	d = leave(b, dev_nr);
	must(raid_member_add(b->r, d, RAID_ADD_SPARE, &dev_nr));
	return run_steps(b);
}

static double replace(struct bench *b)
{
	int old = number_of_slot(b, (int)b->nr_disks - 1), dev_nr;
	struct blk_dev *d = image_open(b, b->nr_disks);
	double speed;

	must(raid_member_add(b->r, d, RAID_ADD_SPARE, &dev_nr));
	must(raid_member_replace(b->r, old, dev_nr));
	speed = run_steps(b);
	/* And back, so that the images are the same for the next round. */
	d = leave(b, old);
	must(raid_member_add(b->r, d, RAID_ADD_SPARE, &old));
	must(raid_member_replace(b->r, dev_nr, old));
	run_steps(b);
	blk_close(leave(b, dev_nr));
	return speed;
}

static double check(struct bench *b)
{
	static struct raid_status st;
	double speed;

	must(raid_action_set(b->r, RAID_CHECK, 0));
	speed = run_steps(b);
	raid_status_get(b->r, &st);
	must(st.mismatch_sects ? -EUCLEAN : 0);
	return speed;
}

static double use(struct bench *b, enum blk_op op)
{
	uint64_t nr_sects = ALIGN_DOWN(blk_nr_sects(raid_dev(b->r)), UNIT_SECTS);
	double begin = now_sec();

	for (sect_t at = 0; at < nr_sects; at += UNIT_SECTS)
		must(op == BLK_READ ? blk_read(raid_dev(b->r), at, b->bufs[0], UNIT_BYTES)
				    : blk_write(raid_dev(b->r), at, b->bufs[0], UNIT_BYTES));
	return (double)(nr_sects >> 11) / (now_sec() - begin);
}

static void keep_best(double *best, double v)
{
	if (v > *best)
		*best = v;
}

static void say(const struct bench *b, const char *what, double ours, double theirs)
{
	printf("raid%-2d of %u  %-8s %8.0f MiB/s  %8.0f  %.2f\n", b->level, b->nr_disks, what, ours, theirs, ours / theirs);
	fflush(stdout);
}

static void bench_level(struct bench *b, int level, const char *layout, unsigned nr_disks)
{
	double ours[3] = { 0 }, theirs[3] = { 0 }, healthy[2] = { 0 }, degraded[2] = { 0 };
	bool is_parity = level >= 4 && level <= 6;
	char path[512];

	b->level = level;
	b->nr_disks = nr_disks;
	open_all(b, layout);
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		keep_best(&theirs[0], copy(b, is_parity ? nr_disks - 1 : 1, (int)nr_disks));
		keep_best(&ours[0], recover(b));
		keep_best(&theirs[1], copy(b, 1, (int)nr_disks));
		keep_best(&ours[1], replace(b));
		keep_best(&theirs[2], copy(b, nr_disks, -1));
		keep_best(&ours[2], check(b));
	}
	say(b, "recover", ours[0], theirs[0]);
	say(b, "replace", ours[1], theirs[1]);
	say(b, "check", ours[2], theirs[2]);
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		keep_best(&healthy[0], use(b, BLK_READ));
		keep_best(&healthy[1], use(b, BLK_WRITE));
	}
	must(raid_member_fail(b->r, number_of_slot(b, 0)));
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		keep_best(&degraded[0], use(b, BLK_READ));
		keep_best(&degraded[1], use(b, BLK_WRITE));
	}
	say(b, "read", degraded[0], healthy[0]);
	say(b, "write", degraded[1], healthy[1]);
	must(raid_free(b->r));
	for (unsigned i = 0; i <= nr_disks; i++) {
		image_path(b, i, path, sizeof(path));
		unlink(path);
	}
}

static void drop(void *arg, enum log_level level, const char *line)
{
	if (level == LOG_LEVEL_ERROR && !strstr(line, "by request"))
		fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
	struct bench b = { .dir = argc > 1 ? argv[1] : "/dev/shm", .mib = argc > 2 ? (unsigned)atoi(argv[2]) : 128 };

	log_set_sink(drop, NULL);
	must(alloc_new(&(struct alloc_opts){ 0 }, &b.alloc));
	for (unsigned i = 0; i < MAX_DISKS; i++)
		must(-posix_memalign((void **)&b.bufs[i], 4096, UNIT_BYTES));
	printf("                        osfs       copy (or healthy)  ratio\n");
	bench_level(&b, RAID_1, NULL, 2);
	bench_level(&b, RAID_10, "n2", 4);
	bench_level(&b, RAID_5, NULL, 4);
	bench_level(&b, RAID_6, NULL, 6);
	for (unsigned i = 0; i < MAX_DISKS; i++)
		free(b.bufs[i]);
	alloc_free(b.alloc);
	return 0;
}
