/* test_fs_file_inline.c: files whose contents are in the inode, and how they leave it. */
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "fs_files.h"
#include "test_fs_file.h"

static const char *const inode_opts[] = {
	FSX_EXT ",inline_data -b 4096",
	FSX_EXT ",inline_data -b 1024 -I 512",
	FSX_EXT ",inline_data,^metadata_csum -b 4096 -I 4096 -N 64",
	FSX_EXTENTS ",inline_data -b 4096",
};

enum { MOST = 1400 };

static bool is_inline(struct fsx *x, ino_nr_t ino)
{
	return file_attr(x, ino).flags & EXT_FL_INLINE_DATA;
}

static void check_contents(struct fsx *x, ino_nr_t ino, const uint8_t *want, size_t len)
{
	uint8_t buf[MOST + 1];

	ck_assert_uint_eq(file_read(x, ino, 0, buf, sizeof(buf)), len);
	ck_assert_mem_eq(buf, want, len);
}

START_TEST(a_file_grows_byte_by_byte_out_of_its_inode)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", inode_opts[_i]);
	uint8_t bytes[MOST];
	struct rng rng = { 3 };
	size_t left_at = 0;
	ino_nr_t ino;

	rng_fill(&rng, bytes, sizeof(bytes));
	fsx_mount(x);
	ino = file_new(x, "f");
	ck_assert(is_inline(x, ino));
	for (size_t len = 1; len <= MOST; len++) {
		file_write(x, ino, len - 1, bytes + len - 1, 1);
		check_contents(x, ino, bytes, len);
		if (!left_at && !is_inline(x, ino))
			left_at = len;
		if (len == 1 || len == 60 || len == 61 || len == 100 || len == left_at) {
			fsx_unmount(x);
			fsx_fsck(x);
			fsx_mount(x);
			ino = file_find(x, "f");
			check_contents(x, ino, bytes, len);
		}
	}
	ck_assert_uint_gt(left_at, 100);
	fsx_done(x);
}
END_TEST

START_TEST(inline_contents_shrink_and_come_back_as_zeroes)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", inode_opts[_i]);
	uint8_t want[150];
	ino_nr_t ino;

	memset(want, 'i', sizeof(want));
	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, want, 120);
	ck_assert_int_eq(file_truncate(x, ino, 20), 0);
	ck_assert_int_eq(file_truncate(x, ino, 100), 0);
	memset(want + 20, 0, sizeof(want) - 20);
	check_contents(x, ino, want, 100);
	ck_assert(is_inline(x, ino));
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	ino = file_find(x, "f");
	check_contents(x, ino, want, 100);
	ck_assert_int_eq(file_truncate(x, ino, 0), 0);
	fsx_done(x);
}
END_TEST

START_TEST(what_does_not_fit_moves_to_blocks_at_once)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", inode_opts[_i]);
	uint8_t want[130], buf[200];
	ino_nr_t far, grown, allocated;

	memset(want, 'm', sizeof(want));
	fsx_mount(x);
	far = file_new(x, "far");
	file_write(x, far, 0, want, sizeof(want));
	file_write(x, far, 1 << 20, want, sizeof(want));
	grown = file_new(x, "grown");
	file_write(x, grown, 0, want, sizeof(want));
	ck_assert_int_eq(file_truncate(x, grown, 1 << 20), 0);
	allocated = file_new(x, "allocated");
	file_write(x, allocated, 0, want, sizeof(want));
	ck_assert_int_eq(fs_fallocate(x->fs, allocated, 0, 0, 10000), 0);
	ck_assert(!is_inline(x, far) && !is_inline(x, grown) && !is_inline(x, allocated));
	fsx_remount(x);
	far = file_find(x, "far");
	ck_assert_uint_eq(file_read(x, far, 0, buf, sizeof(want)), sizeof(want));
	ck_assert_mem_eq(buf, want, sizeof(want));
	ck_assert_uint_eq(file_read(x, far, 1 << 20, buf, sizeof(buf)), sizeof(want));
	ck_assert_mem_eq(buf, want, sizeof(want));
	ck_assert_uint_eq(file_read(x, file_find(x, "grown"), 0, buf, sizeof(want)), sizeof(want));
	ck_assert_mem_eq(buf, want, sizeof(want));
	fsx_done(x);
}
END_TEST

START_TEST(on_a_full_disk_contents_stay_in_the_inode)
{
	CLEANUP_FSX struct fsx *x = fsx_new("8m", FSX_EXT ",inline_data -b 4096");
	enum { LEN = 1 << 20 };
	uint8_t *buf = calloc(1, LEN), want[100];
	size_t written;
	ino_nr_t ino, big;

	memset(want, 's', sizeof(want));
	fsx_mount(x);
	ino = file_new(x, "small");
	file_write(x, ino, 0, want, sizeof(want));
	big = file_new(x, "big");
	for (uint64_t at = 0; fs_write(x->fs, big, at, buf, LEN, 0, &written) == 0; at += written)
		;
	ck_assert_int_eq(fs_write(x->fs, ino, 50, buf, 1000, 0, &written), -ENOSPC);
	check_contents(x, ino, want, sizeof(want));
	ck_assert(is_inline(x, ino));
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	check_contents(x, file_find(x, "small"), want, sizeof(want));
	fsx_done(x);
	free(buf);
}
END_TEST

START_TEST(inline_files_of_mke2fs_read_back)
{
	char *dir = fsx_shell(NULL, "mktemp -d"), opts[512];
	uint8_t buf[200], want[200];
	struct fsx *x;

	dir[strcspn(dir, "\n")] = '\0';
	free(fsx_shell(NULL, "cd %s && for n in 1 59 60 61 130 150; do head -c $n /dev/zero | tr '\\0' k > f$n; done", dir));
	snprintf(opts, sizeof(opts), FSX_EXT ",inline_data -b 4096 -d %s", dir);
	x = fsx_new("16m", opts);
	memset(want, 'k', sizeof(want));
	fsx_mount(x);
	for (const unsigned *n = (unsigned[]){ 1, 59, 60, 61, 130, 150, 0 }; *n; n++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", *n);
		ck_assert_uint_eq(file_read(x, file_find(x, name), 0, buf, sizeof(buf)), *n);
		ck_assert_mem_eq(buf, want, *n);
		file_write(x, file_find(x, name), *n, "end", 3);
	}
	fsx_done(x);
	fsx_free(x);
	free(fsx_shell(NULL, "rm -r %s", dir));
	free(dir);
}
END_TEST

START_TEST(debugfs_reads_our_inline_files)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", inode_opts[0]);
	const char text[] = "The quick brown fox jumps over the lazy dog; the dog, being lazy, does not look up at all.";
	char *found;

	fsx_mount(x);
	file_write(x, file_new(x, "f"), 0, text, strlen(text));
	ck_assert(is_inline(x, file_find(x, "f")));
	fsx_done(x);
	found = fsx_debugfs(x, "cat f");
	ck_assert_ptr_nonnull(strstr(found, text));
	free(found);
}
END_TEST

TCase *file_inline_tests(void)
{
	TCase *tc = tcase_create("inline");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_file_grows_byte_by_byte_out_of_its_inode, 0, ARRAY_LEN(inode_opts));
	tcase_add_loop_test(tc, inline_contents_shrink_and_come_back_as_zeroes, 0, ARRAY_LEN(inode_opts));
	tcase_add_loop_test(tc, what_does_not_fit_moves_to_blocks_at_once, 0, ARRAY_LEN(inode_opts));
	tcase_add_test(tc, on_a_full_disk_contents_stay_in_the_inode);
	tcase_add_test(tc, inline_files_of_mke2fs_read_back);
	tcase_add_test(tc, debugfs_reads_our_inline_files);
	return tc;
}
