/* test_fs_file_error.c: devices that fail under file contents. */
#include <stdlib.h>

#include "base/rng.h"
#include "blk/blk_fault.h"
#include "fs/fs_int.h"
#include "fs_files.h"
#include "test_fs_file.h"

enum { BS = 4096, NR_BLOCKS = 30 };

/* A file of 30 blocks (12 direct ones) on a device that can be made to fail, nothing of it in the cache. */
static struct fsx *file_on_a_device(ino_nr_t *ino)
{
	struct fsx *x = fsx_new("16m", FSX_EXT " -b 4096");
	uint8_t buf[BS];

	x->filter = "fault:seed=1:";
	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	*ino = file_new(x, "f");
	for (unsigned i = 0; i < NR_BLOCKS; i++) {
		memset(buf, (int)i + 1, BS);
		file_write(x, *ino, (uint64_t)i * BS, buf, BS);
	}
	fsx_remount(x);
	*ino = file_find(x, "f");
	return x;
}

/* Where file block lblk lies, or (lblk NR_BLOCKS) the file's map block. */
static pblk_t place_of(struct fsx *x, ino_nr_t ino, lblk_t lblk)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	struct fs_extent e;

	ck_assert_int_eq(fs_iget(x->fs, ino, &inode), 0);
	if (lblk == NR_BLOCKS)
		return inode->block[EXT_IND_BLOCK];
	ck_assert_int_eq(fs_map_find(inode, lblk, 1, &e), 0);
	return e.pblk;
}

static void fail_block(struct fsx *x, pblk_t pblk, unsigned ops, uint64_t times)
{
	const struct blk_fault_rule rule = { .action = BLK_FAULT_FAIL, .ops = ops, .sect = pblk * (BS / SECT_BYTES),
		.nr_sects = BS / SECT_BYTES, .times = times };

	ck_assert_int_eq(blk_fault_add(x->dev, &rule, NULL), 0);
	cache_drop_clean(fs_cache(x->fs));
}

static void check_block(struct fsx *x, ino_nr_t ino, unsigned i)
{
	uint8_t b;

	ck_assert_uint_eq(file_read(x, ino, (uint64_t)i * BS + 7, &b, 1), 1);
	ck_assert_uint_eq(b, i + 1);
}

START_TEST(a_block_that_cannot_be_read_costs_only_itself)
{
	ino_nr_t ino;
	CLEANUP_FSX struct fsx *x = file_on_a_device(&ino);
	size_t written;
	uint8_t buf[BS];

	fail_block(x, place_of(x, ino, 5), 1 << BLK_READ, 0);
	ck_assert_int_eq(file_read_err(x, ino, 5 * BS, 10), -EIO);
	ck_assert_int_eq(file_read_err(x, ino, 3 * BS, 5 * BS), -EIO);
	check_block(x, ino, 4);
	check_block(x, ino, 6);
	ck_assert_int_eq(fs_write(x->fs, ino, 5 * BS + 10, "x", 1, 0, &written), -EIO);
	memset(buf, 6, BS);
	file_write(x, ino, 5 * BS, buf, BS);	/* as a whole it need not be read */
	check_block(x, ino, 5);
	blk_fault_clear(x->dev);
	fsx_done(x);
}
END_TEST

START_TEST(a_map_block_that_cannot_be_read_costs_what_is_below_it)
{
	ino_nr_t ino;
	CLEANUP_FSX struct fsx *x = file_on_a_device(&ino);
	const pblk_t map = place_of(x, ino, NR_BLOCKS);
	size_t written;

	fsx_remount(x);		/* forgets the extent that was looked up */
	ino = file_find(x, "f");
	fail_block(x, map, 1 << BLK_READ, 0);
	ck_assert_int_eq(file_read_err(x, ino, 20 * BS, 10), -EIO);
	ck_assert_int_eq(fs_write(x->fs, ino, 20 * BS, "x", 1, 0, &written), -EIO);
	ck_assert_int_eq(fs_write(x->fs, ino, NR_BLOCKS * BS, "x", 1, 0, &written), -EIO);
	ck_assert_int_eq(file_truncate(x, ino, 15 * BS), -EIO);
	check_block(x, ino, 11);
	blk_fault_clear(x->dev);
	check_block(x, ino, 14);
	fsx_remount(x);		/* which carries the truncation out */
	ck_assert_uint_eq(file_attr(x, file_find(x, "f")).size_bytes, 15 * BS);
	fsx_done(x);
}
END_TEST

START_TEST(fsync_tells_of_a_failed_write_until_it_has_succeeded)
{
	ino_nr_t ino;
	CLEANUP_FSX struct fsx *x = file_on_a_device(&ino);
	uint8_t buf[BS];

	memset(buf, 9 + 1, BS);
	fail_block(x, place_of(x, ino, 9), 1 << BLK_WRITE, 2);
	file_write(x, ino, 9 * BS, buf, BS);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), -EIO);
	ck_assert_int_eq(fs_fsync(x->fs, ino, true), -EIO);
	ck_assert_int_eq(fs_fsync(x->fs, ino, true), 0);
	fsx_remount(x);
	check_block(x, file_find(x, "f"), 9);
	fsx_done(x);
}
END_TEST

/* On the list on disk, and not on the one in memory that the next one goes through. */
START_TEST(an_inode_that_cannot_be_deleted_waits_for_the_next_mount)
{
	ino_nr_t ino, other;
	CLEANUP_FSX struct fsx *x = file_on_a_device(&ino);

	other = file_new(x, "g");
	fail_block(x, place_of(x, ino, NR_BLOCKS), 1 << BLK_READ, 0);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	fs_forget(x->fs, ino, UINT64_MAX);
	ck_assert_msg(strstr(fsx_log(), "could not be deleted"), "%s", fsx_log());
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("g")), 0);
	fs_forget(x->fs, other, UINT64_MAX);
	blk_fault_clear(x->dev);
	fsx_unmount(x);
	fsx_log_clear();
	fsx_mount(x);
	ck_assert_msg(strstr(fsx_log(), "1 deletions"), "%s", fsx_log());
	fsx_done(x);
}
END_TEST

TCase *file_error_tests(void)
{
	TCase *tc = tcase_create("errors");

	tcase_add_test(tc, a_block_that_cannot_be_read_costs_only_itself);
	tcase_add_test(tc, a_map_block_that_cannot_be_read_costs_what_is_below_it);
	tcase_add_test(tc, fsync_tells_of_a_failed_write_until_it_has_succeeded);
	tcase_add_test(tc, an_inode_that_cannot_be_deleted_waits_for_the_next_mount);
	return tc;
}
