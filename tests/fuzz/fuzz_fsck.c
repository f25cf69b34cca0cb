/*
 * fuzz_fsck.c: fsck.osfs on damaged images: with -n it writes nothing, with -y (at most twice) it
 * leaves a filesystem that it has nothing to say about, and that can be mounted.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fs/fs.h"
#include "fsck/fsck.h"
#include "fuzz.h"

enum { CACHE_BYTES = 2 << 20, NOW_SEC = 1700000000 };

static int check(struct blk_dev *dev, enum fsck_mode mode)
{
	FILE *null = fopen(getenv("OSFS_FUZZ_LOG") ? "/dev/stderr" : "/dev/null", "w");
	const struct fsck_opts o = {
		.mode = mode, .force = true, .progress_fd = FSCK_PROGRESS_OFF, .nr_threads = 1, .out = null, .now_sec = NOW_SEC };
	const int bits = null ? fsck_check(dev, &o) : FSCK_FAILED;

	if (null)
		fclose(null);
	return bits;
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

void fuzz_fsck(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "plain", "nocsum", "inline", "ext4", "ext2", "orphan", "journal", "jcsum" };
	const struct fuzz_image *img = size >= FUZZ_HEAD_BYTES ? fuzz_image_find(images[data[0] % ARRAY_LEN(images)]) : NULL;
	struct blk_dev *dev = img ? fuzz_damaged(img, data, size, (1u << FUZZ_NR_CLASSES) - 1) : NULL;
	int bits;

	if (!dev)
		return;
	check(dev, FSCK_NO);
	if (nr_writes(dev))
		fuzz_fail("fsck.osfs -n has written");
	bits = check(dev, FSCK_YES);
	if (!(bits & ~FSCK_FIXED) && check(dev, FSCK_NO))
		bits = check(dev, FSCK_YES);	/* one repair may bring up the next, once */
	/* What it could not or may not repair, it says. */
	if (!(bits & ~FSCK_FIXED)) {
		bits = check(dev, FSCK_NO);
		if (bits)
			fuzz_fail("fsck.osfs -n after -y: exit status %d", bits);
		must_mount(dev);
	}
	blk_close(dev);
}
