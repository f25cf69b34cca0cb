/*
 * test_fs_journal.c: filesystems with a journal: mount and unmount, what fsync promises, freed blocks,
 * small logs, errors. Power cuts against e2fsck: test_fs_journal_crash.c.
 */
#include "test_fs_journal.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rng.h"
#include "blk/blk_fault.h"

#define SMALL "16m", FSX_JOURNAL " -b 1024"

static uint64_t nr_writes(struct fsx *x)
{
	struct blk_stats st;

	blk_stats_get(x->dev, &st);
	return st.nr_ios[BLK_WRITE];
}

static void fill(uint8_t *buf, size_t len, uint64_t seed)
{
	struct rng r = { seed };

	rng_fill(&r, buf, len);
}

/* Mount and unmount ------------------------------------------------------------------------------- */

START_TEST(a_journal_in_use_is_told_by_its_feature_not_by_the_state)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);

	ck_assert_uint_eq(super_incompat(x) & EXT_INCOMPAT_RECOVER, 0);
	fsx_mount(x);
	fsx_crash(x);
	ck_assert_uint_ne(super_incompat(x) & EXT_INCOMPAT_RECOVER, 0);
	ck_assert_uint_ne(super_state(x) & EXT_STATE_VALID, 0);
	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "f");
	fsx_done(x);
	ck_assert_uint_eq(super_incompat(x) & EXT_INCOMPAT_RECOVER, 0);
	ck_assert_uint_ne(super_state(x) & EXT_STATE_VALID, 0);
}
END_TEST

static void second_sector(struct fsx *x, uint8_t out[static SECT_BYTES])
{
	FILE *f = fopen(x->image, "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, EXT_SUPER_OFF_BYTES + SECT_BYTES, SEEK_SET), 0);
	ck_assert_uint_eq(fread(out, 1, SECT_BYTES, f), SECT_BYTES);
	fclose(f);
}

/* No crash tears it, whenever it comes. */
START_TEST(the_superblock_changes_within_one_sector)
{
	static const char *const places[] = { NULL, "/mnt", "/a/name/of/just/so/many/bytes/as/leave/room/for/four/more/" };
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	uint8_t before[SECT_BYTES], now[SECT_BYTES];

	second_sector(x, before);
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		x->opts.last_mounted = places[i];
		fsx_mount(x);
		second_sector(x, now);
		ck_assert_mem_eq(before, now, SECT_BYTES);
		tree_must_file(x, EXT_ROOT_INO, i == 0 ? "a" : i == 1 ? "b" : "c");
		ck_assert_int_eq(fs_sync(x->fs), 0);
		fsx_unmount(x);
		second_sector(x, now);
		ck_assert_mem_eq(before, now, SECT_BYTES);
	}
	fsx_mount(x);
	fsx_done(x);
}
END_TEST

START_TEST(debugfs_reads_our_log)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	char *text;

	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "one");
	ck_assert_int_eq(fs_sync(x->fs), 0);
	tree_must_file(x, EXT_ROOT_INO, "two");
	ck_assert_int_eq(fs_sync(x->fs), 0);
	fsx_crash(x);
	text = fsx_debugfs(x, "logdump");
	ck_assert_msg(strstr(text, "sequence 3, type 1 (descriptor block)") && strstr(text, "sequence 3, type 2 (commit block)") &&
		      strstr(text, "end of journal"), "logdump:\n%s", text);
	free(text);
	fsx_mount(x);
	fsx_done(x);
}
END_TEST

START_TEST(a_read_only_mount_of_a_dirty_journal_changes_no_byte)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	uint32_t crc;
	ino_nr_t ino;
	char buf[8];

	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "content", 7);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), 0);
	fsx_crash(x);
	crc = fsx_image_crc(x);
	x->opts.read_only = true;
	fsx_mount(x);
	ck_assert_uint_eq(file_read(x, file_find(x, "f"), 0, buf, 8), 7);
	ck_assert_mem_eq(buf, "content", 7);
	ck_assert_uint_eq(nr_writes(x), 0 + nr_writes(x));
	fsx_unmount(x);
	ck_assert_uint_eq(fsx_image_crc(x), crc);
	x->opts.read_only = false;
	fsx_mount(x);
	fsx_done(x);
}
END_TEST

START_TEST(norecovery_leaves_the_log_alone)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	uint32_t crc;

	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "f");
	ck_assert_int_eq(fs_sync(x->fs), 0);
	fsx_crash(x);
	crc = fsx_image_crc(x);
	x->opts.norecovery = true;
	ck_assert_int_eq(fsx_try_mount(x), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "norecovery"));
	x->opts.read_only = true;
	fsx_mount(x);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, "f"), -ENOENT);	/* only the log has it */
	fsx_unmount(x);
	ck_assert_uint_eq(fsx_image_crc(x), crc);
	x->opts.norecovery = x->opts.read_only = false;
	fsx_mount(x);
	ck_assert_int_gt(tree_find(x, EXT_ROOT_INO, "f"), 0);
	fsx_done(x);
	/* Clean, it can be used without its journal. */
	x->opts.norecovery = true;
	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "g");
	fsx_done(x);
}
END_TEST

START_TEST(what_needs_a_journal_is_refused_without_one)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT);

	if (getenv("OSFS_TEST_JOURNAL"))
		return;
	x->opts.data = FS_DATA_JOURNAL;
	ck_assert_int_eq(fsx_try_mount(x), -EINVAL);
	x->opts.data = FS_DATA_DEFAULT;
	x->opts.commit_sec = 3;
	ck_assert_int_eq(fsx_try_mount(x), -EINVAL);
}
END_TEST

START_TEST(a_journal_elsewhere_is_refused_by_name)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);

	fsx_debugfs_write(x, "ssv journal_inum 0");
	fsx_log_clear();
	fsx_mount(x);
	ck_assert(fs_is_read_only(x->fs));
	ck_assert_ptr_nonnull(strstr(fsx_log(), "journal_dev"));
	fsx_unmount(x);
	fsx_debugfs_write(x, "feature needs_recovery");
	ck_assert_int_eq(fsx_try_mount(x), -EOPNOTSUPP);
}
END_TEST

/* debugfs requests that spoil the journal's inode or superblock. */
static const char *const journal_damages[] = {
	"sif <8> block[0] 0", "sif <8> block[IND] 0", "sif <8> block[3] 99999999", "sif <8> block[0] 1", "sif <8> mode 040755",
	"sif <8> links_count 0", "sif <8> size 0", "sif <8> size 0x7fffffffff", "sif <8> block[1] 2000", "ssv journal_inum 9",
	"ssv journal_inum 4000000",
};

START_TEST(a_journal_that_is_damaged_stops_the_mount)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	int err;

	fsx_debugfs_write(x, journal_damages[_i]);
	fsx_log_clear();
	err = fsx_try_mount(x);
	ck_assert_msg(err == -EUCLEAN, "%s: %d\n%s", journal_damages[_i], err, fsx_log());
	ck_assert_uint_gt(strlen(fsx_log()), 0);
}
END_TEST

/* A power cut in the middle of the superblock's write: the log has all of it. */
START_TEST(a_torn_superblock_is_mended_by_the_replay)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	const uint8_t torn[512] = { 0 };

	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "f");
	ck_assert_int_eq(fs_sync(x->fs), 0);
	fsx_crash(x);
	fsx_poke(x, EXT_SUPER_OFF_BYTES + 512, torn, sizeof(torn));
	fsx_mount(x);
	ck_assert_int_gt(tree_find(x, EXT_ROOT_INO, "f"), 0);
	fsx_done(x);
	/* With an empty log nothing mends it. */
	fsx_poke(x, EXT_SUPER_OFF_BYTES + 512, torn, sizeof(torn));
	ck_assert_int_eq(fsx_try_mount(x), -EUCLEAN);
}
END_TEST

/* fsync -------------------------------------------------------------------------------------------- */

START_TEST(what_was_synced_is_there_after_a_crash)
{
	static uint8_t buf[100000], back[100000];
	CLEANUP_FSX struct fsx *x = fsx_new("32m", FSX_JOURNAL);
	ino_nr_t ino;

	x->opts.data = (enum fs_data)_i;
	fsx_mount(x);
	ino = file_new(x, "f");
	for (unsigned round = 1; round < 6; round++) {
		fill(buf, sizeof(buf), round);
		file_write(x, ino, 0, buf, 20000 * round);
		ck_assert_int_eq(fs_fsync(x->fs, ino, round % 2), 0);
		tree_file(x, EXT_ROOT_INO, "not synced");
		fsx_crash(x);
		fsx_mount(x);
		ino = file_find(x, "f");
		ck_assert_uint_eq(file_read(x, ino, 0, back, sizeof(back)), 20000 * round);
		ck_assert_mem_eq(back, buf, 20000 * round);
		ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, "not synced"), -ENOENT);
	}
	fsx_done(x);
}
END_TEST

/* The file's own transaction is what counts: another one's running changes are not committed for it. */
START_TEST(fsync_of_what_is_committed_writes_nothing)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	uint64_t before;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "content", 7);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), 0);
	tree_must_file(x, EXT_ROOT_INO, "other");
	before = nr_writes(x);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), 0);
	ck_assert_uint_eq(nr_writes(x), before);
	ck_assert_int_eq(fs_fsync(x->fs, EXT_ROOT_INO, false), 0);
	ck_assert_uint_gt(nr_writes(x), before);
	fsx_done(x);
}
END_TEST

START_TEST(fdatasync_passes_over_times)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	const struct fs_attr set = { .mtime = { 1000, 0 } };
	uint64_t before;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "content", 7);
	ck_assert_int_eq(fs_fsync(x->fs, ino, true), 0);
	before = nr_writes(x);
	file_write(x, ino, 2, "n", 1);		/* in place: the data, and times */
	ck_assert_int_eq(fs_setattr(x->fs, ino, FS_SET_MTIME, &set, NULL), 0);
	ck_assert_int_eq(fs_fsync(x->fs, ino, true), 0);
	ck_assert_uint_eq(nr_writes(x), before + 1);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), 0);
	ck_assert_uint_gt(nr_writes(x), before + 1);
	before = nr_writes(x);
	file_write(x, ino, 7, "more", 4);	/* the size is part of the data */
	ck_assert_int_eq(fs_fsync(x->fs, ino, true), 0);
	ck_assert_uint_gt(nr_writes(x), before + 1);
	fsx_done(x);
}
END_TEST

/* Freed blocks (F5) ----------------------------------------------------------------------------------- */

/* All but a little of the disk is one file's. */
static ino_nr_t fill_disk(struct fsx *x, const char *name, uint64_t seed)
{
	static uint8_t buf[1 << 20];
	const ino_nr_t ino = file_new(x, name);
	uint64_t off = 0;
	size_t written;

	fill(buf, sizeof(buf), seed);
	while (fs_write(x->fs, ino, off, buf, sizeof(buf), 0, &written) == 0 && written == sizeof(buf))
		off += written;
	return ino;
}

START_TEST(F5_blocks_are_not_used_again_before_their_freeing_is_committed)
{
	static uint8_t buf[4096], back[4096], other[4096];
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	ino_nr_t a, b;

	fill(buf, sizeof(buf), 1);
	fill(other, sizeof(other), 2);
	fsx_mount(x);
	a = file_new(x, "a");
	file_write(x, a, 0, buf, sizeof(buf));
	fill_disk(x, "rest", 3);
	ck_assert_int_eq(fs_sync(x->fs), 0);
	fs_forget(x->fs, a, 1);
	ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "a"), 0);
	b = file_new(x, "b");
	/* The only blocks there are. They are had, after a commit. */
	file_write(x, b, 0, other, sizeof(other));
	ck_assert_int_eq(cache_flush(fs_cache(x->fs), CACHE_DATA), 0);
	fsx_crash(x);
	fsx_mount(x);
	if (tree_find(x, EXT_ROOT_INO, "a") > 0) {
		ck_assert_uint_eq(file_read(x, file_find(x, "a"), 0, back, sizeof(back)), sizeof(back));
		ck_assert_mem_eq(back, buf, sizeof(buf));
	}
	fsx_done(x);
}
END_TEST

/* With room elsewhere: nothing is committed, and the old file is whole after the crash. */
START_TEST(F5_a_deletion_that_did_not_happen_leaves_the_contents)
{
	static uint8_t buf[50000], back[50000], other[50000];
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_JOURNAL);
	ino_nr_t a;

	x->opts.data = (enum fs_data)_i;
	fill(buf, sizeof(buf), 1);
	fsx_mount(x);
	a = file_new(x, "a");
	file_write(x, a, 0, buf, sizeof(buf));
	ck_assert_int_eq(fs_sync(x->fs), 0);
	fs_forget(x->fs, a, 1);
	ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "a"), 0);
	for (unsigned i = 0; i < 20; i++) {
		char name[16];

		sprintf(name, "b%u", i);
		fill(other, sizeof(other), i + 10);
		file_write(x, file_new(x, name), 0, other, sizeof(other));
	}
	ck_assert_int_eq(cache_flush(fs_cache(x->fs), CACHE_DATA), 0);
	fsx_crash(x);
	fsx_mount(x);
	/* Logged data fills transactions, so that some are committed. */
	if (tree_find(x, EXT_ROOT_INO, "a") > 0 || _i != FS_DATA_JOURNAL) {
		ck_assert_uint_eq(file_read(x, file_find(x, "a"), 0, back, sizeof(back)), sizeof(back));
		ck_assert_mem_eq(back, buf, sizeof(buf));
	}
	fsx_done(x);
}
END_TEST

START_TEST(a_full_disk_is_emptied_and_filled_again)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	uint64_t first = 0;

	fsx_mount(x);
	for (unsigned round = 0; round < 4; round++) {
		const ino_nr_t ino = fill_disk(x, "f", round);

		if (round == 0)
			first = file_attr(x, ino).size_bytes;
		ck_assert_uint_eq(file_attr(x, ino).size_bytes, first);
		fs_forget(x->fs, ino, 1);
		ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "f"), 0);
	}
	fsx_done(x);
}
END_TEST

/* Big work, small log ----------------------------------------------------------------------------------- */

START_TEST(big_operations_fit_the_smallest_log)
{
	CLEANUP_FSX struct fsx *x = fsx_new("96m", FSX_JOURNAL " -b 1024 -J size=1");
	static uint8_t buf[1 << 20];
	ino_nr_t ino, dir;

	x->opts.data = (enum fs_data)_i;
	fill(buf, sizeof(buf), 5);
	fsx_mount(x);
	ino = file_new(x, "big");
	for (uint64_t off = 0; off < 24 << 20; off += sizeof(buf))
		file_write(x, ino, off, buf, sizeof(buf));
	for (uint64_t off = 0; off < 1 << 30; off += 3 << 20)	/* a map of many blocks with little below */
		file_write(x, ino, off, buf, 10);
	ck_assert_int_eq(fs_fallocate(x->fs, ino, 0, 0, 8 << 20), 0);
	dir = tree_must_dir(x, EXT_ROOT_INO, "dir");
	for (unsigned i = 0; i < 3000; i++) {
		char name[128];

		sprintf(name, "a name of some length so that the directory has many blocks %u", i);
		tree_must_file(x, dir, name);
	}
	ck_assert_int_eq(file_truncate(x, ino, 100), 0);
	fsx_crash(x);
	free(manifest_by_e2fsck(x));
	free(manifest_by_replay(x));
}
END_TEST

/* Deletions that a crash cuts short are finished: the space comes back. */
START_TEST(unlinked_open_files_leave_no_trace)
{
	static uint8_t buf[1 << 20];
	CLEANUP_FSX struct fsx *x = fsx_new("32m", FSX_JOURNAL " -b 1024");
	uint64_t before;
	ino_nr_t ino;

	fill(buf, sizeof(buf), 5);
	fsx_mount(x);
	ck_assert_int_eq(fs_sync(x->fs), 0);
	before = nr_free_blocks(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, buf, sizeof(buf));
	ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "f"), 0);	/* still referenced */
	ck_assert_int_eq(fs_sync(x->fs), 0);
	fsx_crash(x);
	fsx_mount(x);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "1 deletions"));
	ck_assert_uint_eq(nr_free_blocks(x), before);
	fsx_done(x);
}
END_TEST

/* Errors ---------------------------------------------------------------------------------------------------- */

static void fail_writes(struct fsx *x, bool on)
{
	const struct blk_fault_rule rule = { .action = BLK_FAULT_FAIL, .ops = 1 << BLK_WRITE };

	if (on)
		ck_assert_int_eq(blk_fault_add(x->dev, &rule, NULL), 0);
	else
		blk_fault_clear(x->dev);
}

static unsigned nr_panics;

static void count_panic(void *arg)
{
	(void)arg;
	nr_panics++;
}

START_TEST(a_journal_that_cannot_be_written_makes_the_filesystem_read_only)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	struct fs_status st;
	ino_nr_t ino;
	char buf[8];

	x->filter = "fault:seed=1:";
	x->opts.errors = _i ? FS_ERRORS_PANIC : FS_ERRORS_CONTINUE;
	x->opts.panic = count_panic;
	fsx_mount(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "content", 7);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), 0);
	fail_writes(x, true);
	tree_must_file(x, EXT_ROOT_INO, "lost");
	fsx_log_clear();
	ck_assert_int_eq(fs_fsync(x->fs, EXT_ROOT_INO, false), -EIO);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "no more writes from now on"));
	ck_assert(fs_is_read_only(x->fs));
	ck_assert_uint_eq(nr_panics, _i);
	ck_assert_int_eq(tree_file(x, EXT_ROOT_INO, "more"), -EROFS);
	ck_assert_int_eq(fs_fsync(x->fs, ino, false), -EROFS);
	ck_assert_uint_eq(file_read(x, ino, 0, buf, sizeof(buf)), 7);
	fs_status_get(x->fs, &st);
	ck_assert_int_eq(st.error, -EIO);
	fail_writes(x, false);
	ck_assert_int_eq(fsx_try_unmount(x), -EIO);
	x->filter = NULL;
	fsx_mount(x);
	ck_assert_int_gt(tree_find(x, EXT_ROOT_INO, "f"), 0);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, "lost"), -ENOENT);
	fsx_done(x);
}
END_TEST

/* Damage under errors=remount-ro: the error is in the journal for whoever comes next. */
START_TEST(an_abort_is_told_to_the_next_mount_and_to_e2fsck)
{
	CLEANUP_FSX struct fsx *x = fsx_new(SMALL);
	char *text, request[64];
	ino_nr_t dir;
	int status;

	fsx_mount(x);
	dir = tree_must_dir(x, EXT_ROOT_INO, "dir");
	fsx_done(x);
	sprintf(request, "sif <%u> block[0] 99999999", dir);
	fsx_debugfs_write(x, request);
	x->opts.errors = FS_ERRORS_RO;
	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "f");
	ck_assert_int_eq(tree_file(x, dir, "below"), -EUCLEAN);
	ck_assert(fs_is_read_only(x->fs));
	ck_assert_int_eq(tree_file(x, EXT_ROOT_INO, "g"), -EROFS);
	ck_assert_int_ne(fsx_try_unmount(x), 0);
	if (_i) {
		status = fsx_fsck_status(x, "-p -E journal_only", &text);
		ck_assert_int_le(status, 1);
		free(text);
	}
	fsx_log_clear();
	fsx_mount(x);
	ck_assert(_i || strstr(fsx_log(), "aborted by an error"));
	ck_assert_ptr_nonnull(strstr(fsx_log(), "known errors"));
	fsx_unmount(x);
	ck_assert_uint_ne(super_state(x) & EXT_STATE_ERROR, 0);
}
END_TEST

/* Threads ------------------------------------------------------------------------------------------------------ */

enum { NR_THREADS = 4, NR_FILES = 60 };

struct worker {
	struct fsx *x;
	unsigned nr;
};

static void *work(void *arg)
{
	const struct worker *w = arg;
	static const struct fs_cred cred;
	uint8_t buf[5000];
	char name[32];

	for (unsigned i = 0; i < NR_FILES; i++) {
		struct fs_attr a;
		size_t written;

		sprintf(name, "t%u-%u", w->nr, i);
		if (fs_mknod(w->x->fs, &cred, EXT_ROOT_INO, fs_name_of(name), S_IFREG | 0644, 0, &a))
			ck_abort_msg("mknod");
		fill(buf, sizeof(buf), w->nr * 1000 + i);
		if (fs_write(w->x->fs, a.ino, 0, buf, sizeof(buf), 0, &written) || written != sizeof(buf))
			ck_abort_msg("write");
		if (i % 4 == 0 && fs_fsync(w->x->fs, a.ino, i % 8 == 0))
			ck_abort_msg("fsync");
		fs_forget(w->x->fs, a.ino, 1);
		if (i % 3 == 1 && fs_unlink(w->x->fs, EXT_ROOT_INO, fs_name_of(name)))
			ck_abort_msg("unlink");
	}
	return NULL;
}

START_TEST(threads_share_the_journal)
{
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_JOURNAL " -b 1024 -J size=1");
	struct worker w[NR_THREADS];
	pthread_t t[NR_THREADS];
	uint8_t buf[5000], back[5000];
	char name[32];

	x->opts.background = true;
	x->opts.commit_sec = 1;
	x->opts.data = (enum fs_data)_i;
	fsx_mount(x);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		w[i] = (struct worker){ x, i };
		ck_assert_int_eq(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	fsx_remount(x);
	for (unsigned i = 0; i < NR_THREADS; i++)
		for (unsigned k = 0; k < NR_FILES; k++) {
			sprintf(name, "t%u-%u", i, k);
			if (k % 3 == 1) {
				ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, name), -ENOENT);
				continue;
			}
			fill(buf, sizeof(buf), i * 1000 + k);
			ck_assert_uint_eq(file_read(x, file_find(x, name), 0, back, sizeof(back)), sizeof(back));
			ck_assert_mem_eq(back, buf, sizeof(buf));
		}
	x->opts.background = false;
	fsx_done(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs journal");
	TCase *t = tcase_create("journal");
	SRunner *r;
	int nr_failed;

	tcase_set_tags(t, "threads");
	fsx_need_tools();
	tcase_set_timeout(t, 180);
	tcase_add_test(t, a_journal_in_use_is_told_by_its_feature_not_by_the_state);
	tcase_add_test(t, the_superblock_changes_within_one_sector);
	tcase_add_test(t, debugfs_reads_our_log);
	tcase_add_test(t, a_read_only_mount_of_a_dirty_journal_changes_no_byte);
	tcase_add_test(t, norecovery_leaves_the_log_alone);
	tcase_add_test(t, what_needs_a_journal_is_refused_without_one);
	tcase_add_test(t, a_journal_elsewhere_is_refused_by_name);
	tcase_add_loop_test(t, a_journal_that_is_damaged_stops_the_mount, 0, ARRAY_LEN(journal_damages));
	tcase_add_test(t, a_torn_superblock_is_mended_by_the_replay);
	tcase_add_loop_test(t, what_was_synced_is_there_after_a_crash, FS_DATA_ORDERED, FS_DATA_WRITEBACK + 1);
	tcase_add_test(t, fsync_of_what_is_committed_writes_nothing);
	tcase_add_test(t, fdatasync_passes_over_times);
	tcase_add_test(t, F5_blocks_are_not_used_again_before_their_freeing_is_committed);
	tcase_add_loop_test(t, F5_a_deletion_that_did_not_happen_leaves_the_contents, FS_DATA_ORDERED, FS_DATA_WRITEBACK + 1);
	tcase_add_test(t, a_full_disk_is_emptied_and_filled_again);
	tcase_add_loop_test(t, big_operations_fit_the_smallest_log, FS_DATA_ORDERED, FS_DATA_WRITEBACK);
	tcase_add_test(t, unlinked_open_files_leave_no_trace);
	tcase_add_loop_test(t, a_journal_that_cannot_be_written_makes_the_filesystem_read_only, 0, 2);
	tcase_add_loop_test(t, an_abort_is_told_to_the_next_mount_and_to_e2fsck, 0, 2);
	tcase_add_loop_test(t, threads_share_the_journal, FS_DATA_ORDERED, FS_DATA_WRITEBACK);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_add_suite(r, journal_crash_tests());
	srunner_run_all(r, CK_ENV);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
