/* test_fs_file.c: contents of regular files: sizes, holes, space, durability. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "fs/fs_int.h"
#include "fs_files.h"
#include "test_fs_file.h"

#define SMALL_FS "16m", FSX_EXT " -b 1024"

static bool all_bytes_are(const uint8_t *p, size_t len, uint8_t value)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != value)
			return false;
	return true;
}

START_TEST(bytes_between_the_old_end_and_a_write_behind_it_are_zero)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	uint8_t buf[8192];
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	memset(buf, 'a', sizeof(buf));
	file_write(x, ino, 0, buf, 3000);
	ck_assert_int_eq(file_truncate(x, ino, 1500), 0);
	file_write(x, ino, 1800, buf, 10);	/* in the same block */
	file_write(x, ino, 7000, buf, 10);	/* far behind */
	ck_assert_uint_eq(file_read(x, ino, 0, buf, sizeof(buf)), 7010);
	ck_assert(all_bytes_are(buf, 1500, 'a') && all_bytes_are(buf + 1500, 300, 0));
	ck_assert(all_bytes_are(buf + 1800, 10, 'a') && all_bytes_are(buf + 1810, 5190, 0));
	fsx_done(x);
}
END_TEST

START_TEST(an_append_goes_to_the_end_whatever_its_offset)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	size_t written;
	uint8_t buf[8];
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "abc", 3);
	ck_assert_int_eq(fs_write(x->fs, ino, 0, "def", 3, FS_WRITE_APPEND, &written), 0);
	ck_assert_uint_eq(file_read(x, ino, 0, buf, 8), 6);
	ck_assert_mem_eq(buf, "abcdef", 6);
	fsx_done(x);
}
END_TEST

START_TEST(a_write_without_privilege_drops_the_set_id_bits)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	const struct fs_attr set = { .mode = 06755 };
	size_t written;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	ck_assert_int_eq(fs_setattr(x->fs, ino, FS_SET_MODE, &set, NULL), 0);
	file_write(x, ino, 0, "x", 1);
	ck_assert_uint_eq(file_attr(x, ino).mode, S_IFREG | 06755);
	ck_assert_int_eq(fs_write(x->fs, ino, 0, "x", 1, FS_WRITE_KILL_PRIV, &written), 0);
	ck_assert_uint_eq(file_attr(x, ino).mode, S_IFREG | 0755);
	fsx_done(x);
}
END_TEST

/* The kernel gathers writes and knows better when they were made. */
START_TEST(a_write_that_keeps_the_times_changes_bytes_and_size_only)
{
	CLEANUP_FSX struct fsx *x = fsx_new("8m", _i ? FSX_EXT ",inline_data -b 1024" : FSX_EXT " -b 1024");
	struct fs_attr before, after;
	size_t written;
	uint8_t buf[8];
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	before = file_attr(x, ino);
	ck_assert_int_eq(fs_write(x->fs, ino, 0, "abcd", 4, FS_WRITE_KEEP_TIMES, &written), 0);
	ck_assert_int_eq(fs_write(x->fs, ino, 1, "x", 1, FS_WRITE_KEEP_TIMES, &written), 0);
	after = file_attr(x, ino);
	ck_assert_uint_eq(after.size_bytes, 4);
	ck_assert_mem_eq(&after.mtime, &before.mtime, sizeof(after.mtime));
	ck_assert_mem_eq(&after.ctime, &before.ctime, sizeof(after.ctime));
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), 0);
	fsx_remount(x);
	ino = file_find(x, "f");
	ck_assert_uint_eq(file_read(x, ino, 0, buf, 8), 4);
	ck_assert_mem_eq(buf, "axcd", 4);
	file_write(x, ino, 0, "y", 1);
	after = file_attr(x, ino);
	ck_assert(after.mtime.tv_nsec != before.mtime.tv_nsec || after.mtime.tv_sec != before.mtime.tv_sec);
	fsx_done(x);
}
END_TEST

START_TEST(files_that_must_not_change_do_not)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	struct fs_attr set = { .flags = EXT_FL_IMMUTABLE };
	size_t written;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "abc", 3);
	ck_assert_int_eq(fs_setattr(x->fs, ino, FS_SET_FLAGS, &set, NULL), 0);
	ck_assert_int_eq(fs_write(x->fs, ino, 0, "x", 1, 0, &written), -EPERM);
	ck_assert_int_eq(file_truncate(x, ino, 0), -EPERM);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, 0, 0, 100), -EPERM);
	set.flags = EXT_FL_APPEND;
	ck_assert_int_eq(fs_setattr(x->fs, ino, FS_SET_FLAGS, &set, NULL), 0);
	ck_assert_int_eq(fs_write(x->fs, ino, 0, "x", 1, 0, &written), -EPERM);
	ck_assert_int_eq(fs_write(x->fs, ino, 0, "x", 1, FS_WRITE_APPEND, &written), 0);
	ck_assert_int_eq(fs_write(x->fs, EXT_ROOT_INO, 0, "x", 1, 0, &written), -EISDIR);
	fsx_done(x);
}
END_TEST

START_TEST(a_full_disk_cuts_a_write_short_and_nothing_leaks)
{
	enum { LEN = 300000 };
	CLEANUP_FSX struct fsx *x = fsx_new("8m", _i ? FSX_EXT ",inline_data -b 1024" : FSX_EXT " -b 4096");
	uint8_t *buf = malloc(LEN), *back = malloc(LEN);
	struct rng rng = { 5 };
	uint64_t before, size = 0;
	size_t written;
	ino_nr_t ino;
	int err;

	rng_fill(&rng, buf, LEN);
	x->opts.use_reserved = true;
	fsx_mount(x);
	before = nr_free_blocks(x);
	ino = file_new(x, "f");
	do {
		err = fs_write(x->fs, ino, size, buf, LEN, 0, &written);
		size += written;
	} while (!err && written == LEN);
	if (!err)
		err = fs_write(x->fs, ino, size, buf, LEN, 0, &written);
	ck_assert_int_eq(err, -ENOSPC);
	ck_assert_uint_eq(file_attr(x, ino).size_bytes, size);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, 0, size + 100000, 100000), -ENOSPC);
	for (uint64_t at = 0; at < size; at += LEN) {
		const size_t n = file_read(x, ino, at, back, LEN);

		ck_assert_mem_eq(back, buf, n);
	}
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	ino = file_find(x, "f");
	ck_assert_int_eq(file_truncate(x, ino, 0), 0);
	ck_assert_uint_eq(nr_free_blocks(x), before);
	fsx_done(x);
	free(buf);
	free(back);
}
END_TEST

START_TEST(an_unlinked_file_keeps_its_contents_until_it_is_forgotten)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	uint8_t *buf = calloc(1, 700000);
	uint64_t before;
	ino_nr_t ino;

	fsx_mount(x);
	before = nr_free_blocks(x);
	ino = file_new(x, "f");
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	memset(buf, 'u', 700000);
	file_write(x, ino, 0, buf, 700000);
	ck_assert_int_eq(file_truncate(x, ino, 600000), 0);
	ck_assert_uint_eq(file_read(x, ino, 0, buf, 700000), 600000);
	ck_assert(all_bytes_are(buf, 600000, 'u'));
	fs_forget(x->fs, ino, 1);
	ck_assert_uint_eq(nr_free_blocks(x), before);
	fsx_done(x);
	free(buf);
}
END_TEST

START_TEST(a_file_over_2_gib_sets_the_feature)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT ",^large_file -b 1024");
	char *text;

	fsx_mount(x);
	ck_assert_int_eq(file_truncate(x, file_new(x, "f"), 3ull << 30), 0);
	fsx_done(x);
	text = fsx_debugfs(x, "show_super_stats -h");
	ck_assert_ptr_nonnull(strstr(text, "large_file"));
	free(text);
}
END_TEST

START_TEST(a_file_ends_at_the_limit_of_the_format)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	const uint64_t limit = (12 + 256 + 65536 + 16777216ull) * 1024;
	size_t written;
	uint8_t buf[100];
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	ck_assert_int_eq(file_truncate(x, ino, limit + 1), -EFBIG);
	ck_assert_int_eq(fs_write(x->fs, ino, limit, "x", 1, 0, &written), -EFBIG);
	ck_assert_int_eq(fs_write(x->fs, ino, UINT64_MAX, "x", 1, 0, &written), -EFBIG);
	memset(buf, 'e', sizeof(buf));
	ck_assert_int_eq(fs_write(x->fs, ino, limit - 60, buf, 100, 0, &written), 0);
	ck_assert_uint_eq(written, 60);
	ck_assert_uint_eq(file_read(x, ino, limit - 60, buf, 100), 60);
	ck_assert(all_bytes_are(buf, 60, 'e'));
	ck_assert_uint_eq(file_seek(x, ino, 0, SEEK_DATA), limit - 1024);
	fsx_done(x);
}
END_TEST

START_TEST(seeks_find_data_and_holes)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	uint64_t at;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 5 * 1024, "x", 1);
	file_write(x, ino, 100 * 1024 * 1024, "x", 1);
	ck_assert_int_eq(file_truncate(x, ino, 200 * 1024 * 1024), 0);
	ck_assert_uint_eq(file_seek(x, ino, 0, SEEK_HOLE), 0);
	ck_assert_uint_eq(file_seek(x, ino, 0, SEEK_DATA), 5 * 1024);
	ck_assert_uint_eq(file_seek(x, ino, 5 * 1024 + 7, SEEK_DATA), 5 * 1024 + 7);
	ck_assert_uint_eq(file_seek(x, ino, 5 * 1024 + 7, SEEK_HOLE), 6 * 1024);
	ck_assert_uint_eq(file_seek(x, ino, 6 * 1024, SEEK_DATA), 100 * 1024 * 1024);
	ck_assert_int_eq(fs_seek(x->fs, ino, 101 * 1024 * 1024, SEEK_DATA, &at), -ENXIO);
	ck_assert_uint_eq(file_seek(x, ino, 101 * 1024 * 1024, SEEK_HOLE), 101 * 1024 * 1024);
	ck_assert_int_eq(fs_seek(x->fs, ino, 200 * 1024 * 1024, SEEK_HOLE, &at), -ENXIO);
	fsx_done(x);
}
END_TEST

START_TEST(allocated_space_reads_as_zeroes_and_holes_give_space_back)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	const int keep = FALLOC_FL_KEEP_SIZE;
	uint8_t *buf = malloc(100000);
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	memset(buf, 'q', 100000);
	file_write(x, ino, 0, buf, 100000);
	ck_assert_int_eq(file_truncate(x, ino, 0), 0);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, 0, 100, 90000), 0);
	ck_assert_uint_eq(file_attr(x, ino).size_bytes, 90100);
	ck_assert_uint_eq(file_seek(x, ino, 0, SEEK_HOLE), 90100);
	ck_assert_uint_eq(file_read(x, ino, 0, buf, 100000), 90100);
	ck_assert(all_bytes_are(buf, 90100, 0));
	ck_assert_int_eq(fs_fallocate(x->fs, ino, keep, 0, 100000), -EOPNOTSUPP);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, FALLOC_FL_COLLAPSE_RANGE, 0, 1024), -EOPNOTSUPP);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, 0, 0, 0), -EINVAL);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, FALLOC_FL_PUNCH_HOLE | keep, 1000, 1 << 20), 0);
	ck_assert_uint_eq(file_attr(x, ino).size_bytes, 90100);
	ck_assert_uint_eq(file_attr(x, ino).nr_sects, 2);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, FALLOC_FL_ZERO_RANGE, 80000, 20000), 0);
	ck_assert_uint_eq(file_attr(x, ino).size_bytes, 100000);
	ck_assert_uint_eq(file_seek(x, ino, 1024, SEEK_DATA), 78 * 1024);
	fsx_done(x);
	free(buf);
}
END_TEST

START_TEST(after_fsync_a_file_is_on_the_device)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	uint8_t *buf = malloc(500000);
	struct rng rng = { 9 };
	struct cache_stats st;
	struct fs_status fst;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	rng_fill(&rng, buf, 500000);
	for (uint64_t at = 0; at < 500000; at += 20000)
		file_write(x, ino, 480000 - at, buf + at, 20000);	/* in many pieces */
	ck_assert_int_eq(fs_fsync(x->fs, ino, _i), 0);
	/* With a journal, metadata is in the log and goes home later. */
	fs_status_get(x->fs, &fst);
	cache_stats_get(fs_cache(x->fs), &st);
	ck_assert(st.nr_dirty == 0 || fst.has_journal);
	ck_assert_uint_lt(st.nr_dirty, 500000 / fst.block_bytes / 4);
	fsx_done(x);
	free(buf);
}
END_TEST

START_TEST(a_read_tells_the_access_time_when_it_is_due)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL_FS);
	struct fs_attr a, b;
	uint8_t buf[4];
	ino_nr_t ino;

	x->opts.atime = FS_RELATIME;
	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "abc", 3);
	file_read(x, ino, 0, buf, 3);
	a = file_attr(x, ino);
	ck_assert_int_gt(a.atime.tv_nsec, a.mtime.tv_nsec);
	file_read(x, ino, 0, buf, 3);
	b = file_attr(x, ino);
	ck_assert_int_eq(a.atime.tv_nsec, b.atime.tv_nsec);
	fsx_remount(x);
	b = file_attr(x, file_find(x, "f"));
	ck_assert_int_eq(a.atime.tv_nsec, b.atime.tv_nsec);
	fsx_done(x);
}
END_TEST

/* Four writers, each with a file of its own ------------------------------------------- */

enum { NR_WRITERS = 4, NR_PIECES = 64, PIECE = 16384 };

struct writer {
	struct fsx *x;
	ino_nr_t ino;
	pthread_t thread;
};

static void fill_piece(uint8_t *buf, ino_nr_t ino, unsigned i)
{
	struct rng rng = { (uint64_t)ino << 32 | i };

	rng_fill(&rng, buf, PIECE);
}

static void *writer_run(void *arg)
{
	struct writer *w = arg;
	uint8_t *buf = malloc(PIECE);
	struct fs_read_result r;
	size_t written;

	for (unsigned i = 0; i < NR_PIECES; i++) {
		fill_piece(buf, w->ino, i);
		if (fs_write(w->x->fs, w->ino, (uint64_t)i * PIECE, buf, PIECE, 0, &written) || written != PIECE)
			return free(buf), "write";
		if (fs_read(w->x->fs, w->ino, 0, PIECE, &r))
			return free(buf), "read";
		fs_read_done(w->x->fs, &r);
		if (i % 16 == 0 && fs_fsync(w->x->fs, w->ino, true))
			return free(buf), "fsync";
	}
	free(buf);
	return NULL;
}

/* Runs of contiguous data blocks. */
static unsigned nr_runs(struct fsx *x, ino_nr_t ino)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	struct fs_extent e = { .lblk = 0 };
	unsigned runs = 0;
	pblk_t last = 0;

	ck_assert_int_eq(fs_iget(x->fs, ino, &inode), 0);
	for (lblk_t lblk = 0; lblk << x->fs->block_shift < inode->size_bytes; lblk += e.nr) {
		ck_assert_int_eq(fs_map_find(inode, lblk, UINT32_MAX, &e), 0);
		runs += e.pblk != last;
		last = e.pblk + e.nr;
	}
	return runs;
}

START_TEST(files_written_at_the_same_time_do_not_interleave)
{
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_EXT " -b 4096");
	struct writer w[NR_WRITERS];
	uint8_t *buf = malloc(2 * PIECE);
	char name[8];

	x->opts.background = true;
	fsx_mount(x);
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		w[i].x = x;
		w[i].ino = file_new(x, name);
	}
	for (unsigned i = 0; i < NR_WRITERS; i++)
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, writer_run, &w[i]), 0);
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		void *what;

		pthread_join(w[i].thread, &what);
		ck_assert_msg(!what, "writer %u: %s", i, (char *)what);
		fs_release(x->fs, w[i].ino);
	}
	fsx_remount(x);
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		w[i].ino = file_find(x, name);
		for (unsigned k = 0; k < NR_PIECES; k++) {
			ck_assert_uint_eq(file_read(x, w[i].ino, (uint64_t)k * PIECE, buf, PIECE), PIECE);
			fill_piece(buf + PIECE, w[i].ino, k);
			ck_assert_mem_eq(buf, buf + PIECE, PIECE);
		}
	}
	for (unsigned i = 0; i < NR_WRITERS; i++)
		ck_assert_uint_le(nr_runs(x, w[i].ino), 12);	/* of 256 blocks in 64 pieces */
	fsx_done(x);
	free(buf);
}
END_TEST

/* Nobody releases them: what grew once must not hold blocks and lengthen every search for good. */
START_TEST(reservations_of_a_group_are_few_however_many_files_grow)
{
	enum { NR = 300, PIECE_BYTES = 4096 };
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_EXT " -b 1024");
	uint8_t buf[PIECE_BYTES] = { 1 };
	char name[8];

	fsx_mount(x);
	for (unsigned i = 0; i < NR; i++) {
		ino_nr_t ino;

		snprintf(name, sizeof(name), "f%u", i);
		ino = file_new(x, name);
		for (unsigned k = 0; k < 3; k++)
			file_write(x, ino, k * PIECE_BYTES, buf, PIECE_BYTES);
	}
	for (unsigned i = 0; i < x->fs->nr_groups; i++) {
		const struct fs_group *g = &x->fs->groups[i];
		const struct fs_reservation *r;
		unsigned nr = 0;

		list_for_each(r, &g->reservations, link)
			nr++;
		ck_assert_uint_eq(nr, g->nr_reservations);
		ck_assert_uint_le(nr, 32);
	}
	fsx_done(x);
}
END_TEST

START_TEST(a_new_file_lies_in_one_piece)
{
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_EXT " -b 1024");
	enum { LEN = 4 << 20 };
	uint8_t *buf = calloc(1, LEN);
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	for (unsigned at = 0; at < LEN; at += LEN / 4)
		file_write(x, ino, at, buf, LEN / 4);
	ck_assert_uint_le(nr_runs(x, ino), 6);	/* map blocks between reservations */
	fsx_done(x);
	free(buf);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_file");
	TCase *tc = tcase_create("files");
	SRunner *r;
	int nr_failed;

	tcase_set_tags(tc, "threads");
	fsx_need_tools();
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, bytes_between_the_old_end_and_a_write_behind_it_are_zero);
	tcase_add_test(tc, an_append_goes_to_the_end_whatever_its_offset);
	tcase_add_test(tc, a_write_without_privilege_drops_the_set_id_bits);
	tcase_add_loop_test(tc, a_write_that_keeps_the_times_changes_bytes_and_size_only, 0, 2);
	tcase_add_test(tc, files_that_must_not_change_do_not);
	tcase_add_loop_test(tc, a_full_disk_cuts_a_write_short_and_nothing_leaks, 0, 2);
	tcase_add_test(tc, an_unlinked_file_keeps_its_contents_until_it_is_forgotten);
	tcase_add_test(tc, a_file_over_2_gib_sets_the_feature);
	tcase_add_test(tc, a_file_ends_at_the_limit_of_the_format);
	tcase_add_test(tc, seeks_find_data_and_holes);
	tcase_add_test(tc, allocated_space_reads_as_zeroes_and_holes_give_space_back);
	tcase_add_loop_test(tc, after_fsync_a_file_is_on_the_device, 0, 2);
	tcase_add_test(tc, a_read_tells_the_access_time_when_it_is_due);
	tcase_add_test(tc, files_written_at_the_same_time_do_not_interleave);
	tcase_add_test(tc, reservations_of_a_group_are_few_however_many_files_grow);
	tcase_add_test(tc, a_new_file_lies_in_one_piece);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, file_model_tests());
	suite_add_tcase(s, file_inline_tests());
	suite_add_tcase(s, file_error_tests());
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
