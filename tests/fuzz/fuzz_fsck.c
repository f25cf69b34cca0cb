/*
 * fuzz_fsck.c: fsck.osfs on damaged images: with -n it writes nothing, with -y (at most twice) it
 * leaves a filesystem that it has nothing to say about, and that can be mounted. As "sick", the same
 * after a run with -c on a device some of whose sectors cannot be read.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "blk/blk_fault.h"
#include "fs/fs.h"
#include "fsck/fsck.h"
#include "fuzz.h"

enum { CACHE_BYTES = 2 << 20, NOW_SEC = 1700000000 };

static int check_with(struct blk_dev *dev, enum fsck_mode mode, bool find_bad)
{
	FILE *null = fopen(getenv("OSFS_FUZZ_LOG") ? "/dev/stderr" : "/dev/null", "w");
	const struct fsck_opts o = {
		.mode = mode, .find_bad = find_bad, .force = true, .progress_fd = FSCK_PROGRESS_OFF, .nr_threads = 1, .out = null, .now_sec = NOW_SEC };
	const int bits = null ? fsck_check(dev, &o) : FSCK_FAILED;

	if (null)
		fclose(null);
	return bits;
}

static int check(struct blk_dev *dev, enum fsck_mode mode)
{
	return check_with(dev, mode, false);
}

static uint64_t nr_writes(const struct blk_dev *dev)
{
	struct blk_stats st;

	blk_stats_get(dev, &st);
	return st.nr_ios[BLK_WRITE] + st.nr_ios[BLK_ZERO] + st.nr_ios[BLK_DISCARD];
}

static void must_mount(struct blk_dev *dev)
{
	struct fs_opts o = { .cache_bytes = CACHE_BYTES, .read_only = true, .seed = 1 };
	struct fs *fs;
	int err;

	if (alloc_new(&(struct alloc_opts){ 0 }, &o.alloc))
		fuzz_fail("no memory");
	err = fs_open(dev, &o, &fs);
	if (!err)
		fuzz_check_err(fs_close(fs), "fs_close");
	else if (err != -EOPNOTSUPP)	/* a feature bit that damage set and fsck has no reason to clear */
		fuzz_fail("fsck.osfs calls it clean, and it cannot be mounted: %s", strerror(-err));
	if (alloc_free(o.alloc))
		fuzz_fail("memory is not given back");
}

static struct blk_dev *damaged(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "plain", "nocsum", "inline", "ext4", "ext2", "orphan", "journal", "jcsum" };
	const struct fuzz_image *img = size >= FUZZ_HEAD_BYTES ? fuzz_image_find(images[data[0] % ARRAY_LEN(images)]) : NULL;

	return img ? fuzz_damaged(img, data, size, (1u << FUZZ_NR_CLASSES) - 1) : NULL;
}

static void repair(struct blk_dev *dev)
{
	int bits = check(dev, FSCK_YES);

	if (!(bits & ~FSCK_FIXED) && check(dev, FSCK_NO))
		bits = check(dev, FSCK_YES);	/* one repair may bring up the next, once */
	/* What it could not or may not repair, it says. */
	if (!(bits & ~FSCK_FIXED)) {
		bits = check(dev, FSCK_NO);
		if (bits)
			fuzz_fail("fsck.osfs -n after -y: exit status %d", bits);
		must_mount(dev);
	}
}

void fuzz_fsck(const uint8_t *data, size_t size)
{
	struct blk_dev *dev = damaged(data, size);

	if (!dev)
		return;
	check(dev, FSCK_NO);
	if (nr_writes(dev))
		fuzz_fail("fsck.osfs -n has written");
	repair(dev);
	blk_close(dev);
}

/* Where they lie follows from the input, most of them among the metadata at the beginning. */
static void make_sick(struct blk_dev *fault, const uint8_t *data, size_t size)
{
	enum { NR_SECTS_MAX = 6, HEAD_SECTS = 1024 };
	struct rng rng = { 0 };
	unsigned nr;

	for (size_t i = 0; i < size; i++)
		rng.state = rng.state * 31 + data[i];
	nr = 1 + (unsigned)rng_below(&rng, NR_SECTS_MAX);
	while (nr-- > 0) {
		const uint64_t below = rng_below(&rng, 3) ? MIN((uint64_t)HEAD_SECTS, blk_nr_sects(fault)) : blk_nr_sects(fault);
		const struct blk_fault_rule rule = {
			.action = BLK_FAULT_FAIL, .ops = 1u << BLK_READ, .sect = rng_below(&rng, below), .nr_sects = 1 };

		if (blk_fault_add(fault, &rule, NULL))
			fuzz_fail("no rule");
	}
}

void fuzz_sick(const uint8_t *data, size_t size)
{
	struct blk_dev *dev = damaged(data, size), *fault;

	if (!dev)
		return;
	if (blk_fault_new(dev, 0, &fault))
		fuzz_fail("no memory");
	make_sick(fault, data, size);
	check(fault, FSCK_NO);
	if (nr_writes(fault))
		fuzz_fail("fsck.osfs -n has written");
	check_with(fault, FSCK_YES, true);
	blk_fault_clear(fault);
	repair(fault);
	blk_close(fault);
}
