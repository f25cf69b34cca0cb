/*
 * fsck.c: a run from the superblock to the last summary.
 *
 * Superblock and descriptors, the journal, orphans, then the passes; a repair that changes who has
 * which block begins them anew. At the end, what was changed is written in this order: blocks,
 * descriptors, superblock; only then is the filesystem marked clean.
 */
#include "fsck.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "fsck_int.h"

int fsck_failed(struct fsck *f, int err)
{
	if (!f->err)
		f->err = err;
	return f->err;
}

bool fsck_grow(struct fsck *f, void **v, size_t *cap, size_t nr, size_t more, size_t size)
{
	size_t want = *cap ? *cap : 16;
	void *p;

	if (nr + more <= *cap)
		return true;
	while (want < nr + more)
		want *= 2;
	p = realloc(*v, want * size);
	if (!p) {
		atomic_store(&f->any_err, true);
		return false;
	}
	*v = p;
	*cap = want;
	return true;
}

static void passes(struct fsck *f)
{
	do {
		f->restart = false;
		f->alloc_hint = 0;
		if (f->round++ > 0) {
			const int err = fsck_groups_load_again(f);

			if (err)
				fsck_failed(f, err);
			fsck_say(f, "Restarting from the beginning...\n");
		}
		if (!is_stopped(f))
			fsck_pass1(f);
		if (!is_stopped(f) && !f->restart && f->bad_pending)
			fsck_bad_store(f);
		if (!is_stopped(f) && !f->restart && atomic_load(&f->has_dup))
			fsck_pass1b(f);
		if (is_stopped(f) || (f->restart && f->round < FSCK_MAX_ROUNDS))
			continue;
		fsck_xattr_refcounts(f);
		if (!is_stopped(f))
			fsck_pass2(f);
	} while (f->restart && !is_stopped(f) && f->round < FSCK_MAX_ROUNDS);
	if (f->restart)
		f->cannot_mark_clean = true;
	if (!is_stopped(f))
		fsck_pass3(f);
	if (!is_stopped(f))
		fsck_pass4(f);
	if (!is_stopped(f))
		fsck_pass5(f);
}

/* Everything home. The superblock last: it says whether all is well. */
static int store(struct fsck *f, bool whole)
{
	const int left = fsck_problems_status(f) & FSCK_LEFT;
	int err = fsck_groups_store(f);

	if (!err)
		err = fsck_io_flush(f);
	if (!err)
		err = fsck_super_store(f, whole && !left && !f->cannot_mark_clean);
	return err ? err : blk_flush(f->dev);
}

static void say_summary(struct fsck *f, int status)
{
	const uint64_t nr_used = f->nr_blocks - f->nr_free_blocks;

	if (status & FSCK_FIXED)
		fsck_say(f, "\n%s: ***** FILE SYSTEM WAS MODIFIED *****\n", blk_name(f->dev));
	if (status & FSCK_LEFT)
		fsck_say(f, "\n%s: ********** WARNING: Filesystem still has errors **********\n\n", blk_name(f->dev));
	fsck_say(f, "%s: %" PRIu64 "/%" PRIu32 " files, %" PRIu64 "/%" PRIu64 " blocks\n", blk_name(f->dev),
		 f->nr_inodes - f->nr_free_inodes, f->nr_inodes, nr_used, f->nr_blocks);
	if (f->opts.verbose)
		fsck_say(f, "%12zu directories\n%12" PRIu32 " groups\n%12u rounds, %u threads\n", f->dirs.nr, f->nr_groups,
			 f->round, f->opts.nr_threads);
}

static void run(struct fsck *f)
{
	const char *why;
	int err = fsck_super_load(f);

	if (!err)
		err = fsck_io_new(f);
	if (!err && f->opts.undo_path && f->opts.mode != FSCK_NO)
		err = fsck_undo_open(f, f->opts.undo_path);
	if (!err)
		err = fsck_groups_load(f);
	if (err) {
		fsck_failed(f, err);
		return;
	}
	fsck_journal_check(f);
	if (is_stopped(f))
		return;
	if (fsck_super_is_clean(f, &why) && !f->opts.force && !f->opts.find_bad && !fsck_problems_status(f) && !f->gd_dirty) {
		const struct ext_disk_super *sb = &f->sb;

		f->is_clean = true;
		f->nr_free_blocks = ext_super_blocks(sb, sb->s_free_blocks_count_lo, sb->s_free_blocks_count_hi);
		f->nr_free_inodes = le32_get(sb->s_free_inodes_count);
		fsck_say(f, "%s: clean, %" PRIu64 "/%" PRIu32 " files, %" PRIu64 "/%" PRIu64 " blocks\n", blk_name(f->dev),
			 f->nr_inodes - f->nr_free_inodes, f->nr_inodes, f->nr_blocks - f->nr_free_blocks, f->nr_blocks);
		return;
	}
	if (why)
		fsck_say(f, "%s %s, check forced.\n", blk_name(f->dev), why);
	fsck_super_checks(f);
	fsck_orphans(f);
	if (f->opts.find_bad && !is_stopped(f))
		fsck_bad_scan(f);
	if (!is_stopped(f))
		passes(f);
}

/* After the passes, or after they were cut short: what was changed goes home. */
static int finish(struct fsck *f)
{
	const bool stopped = f->opts.stop && *f->opts.stop;
	int status = fsck_problems_status(f), err = f->err;
	int store_err = 0;

	fsck_progress_clear(f);
	if (f->opts.mode != FSCK_NO && f->io && f->desc && !f->is_clean && (!err || err == -ECANCELED)) {
		f->err = 0;
		if (status || f->sb_dirty || f->gd_dirty || f->wrote || !err)
			store_err = store(f, !err && !stopped);
		f->err = err;
	}
	if (f->is_clean && f->sb_dirty && f->opts.mode != FSCK_NO) {
		store_err = fsck_io_flush(f);
		if (!store_err)
			store_err = fsck_super_store_flags(f);
		if (!store_err)
			store_err = blk_flush(f->dev);
	}
	if (fsck_undo_close(f) && !store_err)
		store_err = -EIO;
	if (stopped)
		status |= FSCK_CANCELLED;
	if ((err && err != -ECANCELED) || store_err) {
		status |= FSCK_FAILED;
		if (err && err != -ECANCELED)
			fsck_say(f, "%s: the check could not be finished: %s\n", blk_name(f->dev), strerror(-err));
	} else if (!f->is_clean && !err && !stopped && f->opts.mode != FSCK_PREEN) {
		say_summary(f, status);
	} else if (!f->is_clean && !err && !stopped) {
		fsck_say(f, "%s: %" PRIu64 "/%" PRIu32 " files, %" PRIu64 "/%" PRIu64 " blocks\n", blk_name(f->dev),
			 f->nr_inodes - f->nr_free_inodes, f->nr_inodes, f->nr_blocks - f->nr_free_blocks, f->nr_blocks);
	}
	if (err == -ECANCELED)
		status |= FSCK_LEFT;
	return status;
}

static void release(struct fsck *f)
{
	fsck_io_free(f);
	free(f->desc);
	free(f->zones);
	free(f->group_lost);
	free((void *)f->used);
	free((void *)f->dup);
	free((void *)f->itype);
	free(f->ilinks);
	free((void *)f->icount);
	array_free(&f->dirs);
	array_free(&f->dblks);
	array_free(&f->conflicts);
	array_free(&f->xrefs);
	array_free(&f->bad);
	inode_scratch_free(f->main.inode);
	dir_scratch_free(f->main.dir);
	fsck_walk_fini(&f->main);
	fsck_problems_free(f);
	os_mutex_fini(&f->dup_lock);
	free(f);
}

static unsigned nr_processors(void)
{
	const long nr = sysconf(_SC_NPROCESSORS_ONLN);

	return nr < 1 ? 1 : (unsigned)MIN(nr, (long)FSCK_MAX_THREADS);
}

int fsck_check(struct blk_dev *dev, const struct fsck_opts *opts)
{
	struct fsck *f = calloc(1, sizeof(*f));
	int status;

	if (!f)
		return FSCK_FAILED;
	f->dev = dev;
	f->opts = *opts;
	f->opts.out = opts->out ? opts->out : stdout;
	f->opts.nr_threads = opts->nr_threads ? MIN(opts->nr_threads, (unsigned)FSCK_MAX_THREADS) : nr_processors();
	if (f->opts.json)
		f->opts.progress_fd = FSCK_PROGRESS_OFF;
	f->now = (uint32_t)(opts->now_sec ? opts->now_sec : time(NULL));
	f->main = (struct worker){ .f = f, .inode = inode_scratch_new(), .dir = dir_scratch_new() };
	os_mutex_init(&f->dup_lock, RANK_LEAF);
	if (f->main.inode && f->main.dir)
		run(f);
	else
		fsck_failed(f, -ENOMEM);
	status = finish(f);
	fsck_problems_end(f, status);
	release(f);
	return status;
}
