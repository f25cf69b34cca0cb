/*
 * fsck_journal.c: the journal's inode, and replay of what the journal holds, before anything else
 * is looked at.
 */
#include <stdlib.h>

#include "alloc/alloc.h"
#include "base/log.h"
#include "cache/cache.h"
#include "fsck_int.h"
#include "journal/jbd2.h"
#include "journal/jbd2_file.h"

enum { CACHE_BYTES = 8 << 20, JNL_BACKUP_INODE = 1 };

struct journal {
	struct fsck *f;
	ino_nr_t ino;
	struct ext_disk_inode *raw;
	ARRAY_OF(struct jbd2_run) runs;
	lblk_t end;		/* blocks without a gap from 0 */
	bool gap;
	struct alloc *alloc;
	struct blk_dev *undo_dev;	/* with an undo file: what is written goes through it */
	struct cache *cache;
};

/* The inode ---------------------------------------------------------------------------------- */

static enum walk_act run_ptr(struct walk *wk, struct visit *v)
{
	struct journal *j = wk->arg;

	if (v->level > 0)
		return WALK_KEEP;
	if (v->lblk != j->end || v->unwritten)
		j->gap = true;
	j->end = v->lblk + v->nr;
	array_push(j->f, &j->runs, (struct jbd2_run){ v->lblk, v->pblk, v->nr });
	return WALK_KEEP;
}

static int by_pblk(const void *a, const void *b)
{
	const struct jbd2_run *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

static int by_lblk(const void *a, const void *b)
{
	const struct jbd2_run *x = a, *y = b;

	return x->lblk < y->lblk ? -1 : x->lblk > y->lblk;
}

/* Does it have a block twice? */
static bool runs_overlap(struct journal *j)
{
	bool overlap = false;

	qsort(j->runs.v, j->runs.nr, sizeof(*j->runs.v), by_pblk);
	for (size_t i = 1; i < j->runs.nr; i++)
		overlap |= j->runs.v[i].pblk < j->runs.v[i - 1].pblk + j->runs.v[i - 1].nr;
	qsort(j->runs.v, j->runs.nr, sizeof(*j->runs.v), by_lblk);
	return overlap;
}

static bool inode_ok(struct journal *j)
{
	struct walk wk = { .w = &j->f->main, .ino = j->ino, .raw = j->raw, .ptr = run_ptr, .arg = j };
	const uint64_t nr = inode_size(j->raw) >> j->f->block_shift;

	j->runs.nr = 0;
	j->end = 0;
	j->gap = false;
	if (!S_ISREG(le16_get(j->raw->i_mode)) || !le16_get(j->raw->i_links_count) || nr < JNL_MIN_BLOCKS)
		return false;
	fsck_walk(&wk);
	return !wk.failed && !j->gap && j->end >= nr && !runs_overlap(j);
}

static void inode_from_super(struct journal *j)
{
	const struct ext_disk_super *sb = &j->f->sb;

	memset(j->raw, 0, j->f->inode_bytes);
	j->raw->i_mode = le16_of(S_IFREG | 0600);
	j->raw->i_links_count = le16_of(1);
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		j->raw->i_block[i] = sb->s_jnl_blocks[i];
	j->raw->i_size_hi = sb->s_jnl_blocks[15];
	j->raw->i_size_lo = sb->s_jnl_blocks[16];
	if (le16_get(((struct ext_disk_extent_header *)j->raw->i_block)->eh_magic) == EXT_EXTENT_MAGIC)
		j->raw->i_flags = le32_of(EXT_FL_EXTENTS);
	j->raw->i_atime = j->raw->i_ctime = j->raw->i_mtime = le32_of(j->f->now);
	if (j->f->inode_bytes > EXT_GOOD_OLD_INODE_BYTES)
		j->raw->i_extra_isize = le16_of(32);
}

static enum walk_act count_ptr(struct walk *wk, struct visit *v)
{
	*(uint64_t *)wk->arg += v->nr;
	return WALK_KEEP;
}

/* True: it can be used now. */
static bool inode_rescue(struct journal *j)
{
	uint64_t nr = 0;
	struct walk wk = { .w = &j->f->main, .ino = j->ino, .raw = j->raw, .ptr = count_ptr, .arg = &nr };

	if (j->f->sb.s_jnl_backup_type != JNL_BACKUP_INODE)
		return false;
	inode_from_super(j);
	if (!inode_ok(j) || !fsck_fix(&j->f->main, P0_JOURNAL_INODE, .ino = j->ino))
		return false;
	fsck_walk(&wk);
	inode_set_nr_sects(j->f, j->raw, nr << (j->f->block_shift - SECT_SHIFT));
	fsck_inode_write(j->f, j->ino, j->raw);
	return true;
}

static void remove_journal(struct journal *j)
{
	struct fsck *f = j->f;

	if (!fsck_fix(&f->main, P0_JOURNAL_GONE, .ino = j->ino))
		return;
	fsck_set_features(f, f->compat & ~(uint32_t)EXT_COMPAT_HAS_JOURNAL, f->incompat & ~(uint32_t)EXT_INCOMPAT_RECOVER);
	f->sb.s_journal_inum = le32_of(0);
	memset(f->sb.s_jnl_blocks, 0, sizeof(f->sb.s_jnl_blocks));
	f->sb.s_jnl_backup_type = 0;
	memset(j->raw, 0, f->inode_bytes);
	fsck_inode_write(f, j->ino, j->raw);
	fsck_fate(f, "the filesystem has no journal now; tune2fs -j makes a new one");
}

/* The log --------------------------------------------------------------------------------------- */

static struct blk_dev *dev_of(const struct journal *j)
{
	return j->undo_dev ? j->undo_dev : j->f->dev;
}

static struct jbd2_opts opts_of(struct journal *j)
{
	return (struct jbd2_opts){
		.cache = j->cache, .dev = dev_of(j), .alloc = j->alloc, .runs = j->runs.v, .nr_runs = j->runs.nr,
		.nr_pblks = j->f->nr_blocks, .read_only = j->f->opts.mode == FSCK_NO, .checksum = has_csum(j->f) };
}

static void empty_log(struct journal *j)
{
	struct fsck *f = j->f;
	uint8_t *block = calloc(1, f->block_bytes);
	int err;

	if (!fsck_fix(&f->main, P0_JOURNAL_BAD, .ino = j->ino)) {
		free(block);
		return;
	}
	err = block ? jbd2_format(block, f->block_bytes, (uint32_t)MIN(j->end, (lblk_t)UINT32_MAX), f->sb.s_uuid) : -ENOMEM;
	if (err)
		fsck_failed(f, err);
	else
		fsck_block_write(f, j->runs.v[0].pblk, block);
	free(block);
	fsck_set_features(f, f->compat, f->incompat & ~(uint32_t)EXT_INCOMPAT_RECOVER);
	fsck_fate(f, "the journal was emptied: what was only in it is lost");
}

/* The home blocks have changed: nothing that was read before holds. */
static void replay(struct journal *j)
{
	struct fsck *f = j->f;
	const struct jbd2_opts o = opts_of(j);
	struct jbd2_recovery stats;
	struct jbd2_overlay *overlay;
	int err = fsck_io_flush(f);

	f->wrote = true;
	if (!err)
		err = jbd2_recover(&o, &stats, &overlay);
	if (err == -EUCLEAN || err == -EOPNOTSUPP) {
		empty_log(j);
		return;
	}
	if (!err) {
		fsck_say(f, "%s: recovering journal: %" PRIu64 " transaction(s), %" PRIu64 " block(s)\n", blk_name(f->dev),
			 stats.nr_transactions, stats.nr_blocks);
		err = fsck_super_load(f);
	}
	if (!err) {
		fsck_set_features(f, f->compat, f->incompat & ~(uint32_t)EXT_INCOMPAT_RECOVER);
		err = fsck_groups_load(f);
	}
	if (err)
		fsck_failed(f, err);
}

static void check_errno(struct journal *j)
{
	struct fsck *f = j->f;
	uint8_t *block = malloc(f->block_bytes);
	struct jnl_disk_sb *sb = (struct jnl_disk_sb *)block;

	if (block && !fsck_block_read(f, j->runs.v[0].pblk, block) && be32_get(sb->s_errno) &&
	    fsck_fix(&f->main, P0_JOURNAL_ERROR, .num = be32_get(sb->s_errno))) {
		sb->s_errno = be32_of(0);
		jbd2_sb_seal(sb);
		fsck_block_write(f, j->runs.v[0].pblk, block);
	}
	free(block);
}

static void check_log(struct journal *j)
{
	struct fsck *f = j->f;
	const struct jbd2_opts o = opts_of(j);
	const bool marked = has_incompat(f, EXT_INCOMPAT_RECOVER);
	const int needs = jbd2_needs_recovery(&o);

	if (needs < 0) {
		empty_log(j);
		return;
	}
	if (f->opts.mode == FSCK_NO) {
		if (needs || marked)
			fsck_fix(&f->main, P0_JOURNAL_SKIPPED, .ino = j->ino);
		return;
	}
	if (needs && fsck_fix(&f->main, marked ? P0_JOURNAL_RECOVER : P0_JOURNAL_RECOVER_FLAG, .ino = j->ino))
		replay(j);
	else if (!needs && marked)
		fsck_set_features(f, f->compat, f->incompat & ~(uint32_t)EXT_INCOMPAT_RECOVER);
	if (!f->err)
		check_errno(j);
}

void fsck_journal_backup(struct fsck *f, const struct ext_disk_inode *raw)
{
	struct ext_disk_super *sb = &f->sb;

	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		sb->s_jnl_blocks[i] = raw->i_block[i];
	sb->s_jnl_blocks[15] = raw->i_size_hi;
	sb->s_jnl_blocks[16] = raw->i_size_lo;
	sb->s_jnl_backup_type = JNL_BACKUP_INODE;
}

static int open_cache(struct journal *j)
{
	int err = alloc_new(&(struct alloc_opts){ 0 }, &j->alloc);

	if (!err && j->f->undo)
		err = fsck_undo_dev(j->f, &j->undo_dev);
	if (!err)
		err = cache_new(&(struct cache_opts){ .alloc = j->alloc, .dev = dev_of(j),
						      .block_bytes = j->f->block_bytes, .size_bytes = CACHE_BYTES }, &j->cache);
	return err;
}

static void check_no_journal(struct fsck *f)
{
	const ino_nr_t ino = le32_get(f->sb.s_journal_inum);

	if (has_incompat(f, EXT_INCOMPAT_RECOVER) && fsck_fix(&f->main, P0_JOURNAL_NO_FLAG, .ino = 0))
		fsck_set_features(f, f->compat, f->incompat & ~(uint32_t)EXT_INCOMPAT_RECOVER);
	if (ino && fsck_fix(&f->main, P0_JOURNAL_NO_FEATURE, .ino = ino)) {
		f->sb.s_journal_inum = le32_of(0);
		f->sb_dirty = true;
	}
}

void fsck_journal_check(struct fsck *f)
{
	struct journal j = { .f = f, .ino = le32_get(f->sb.s_journal_inum) };
	int err = 0;

	if (!has_compat(f, EXT_COMPAT_HAS_JOURNAL)) {
		check_no_journal(f);
		return;
	}
	if (!j.ino && le32_get(f->sb.s_journal_dev)) {
		log_error("%s: a journal on another device is not supported by fsck.osfs", blk_name(f->dev));
		fsck_failed(f, -EOPNOTSUPP);
		return;
	}
	if (j.ino < f->first_ino || j.ino > f->nr_inodes)	/* other reserved inodes are others' */
		j.ino = EXT_JOURNAL_INO;
	j.raw = calloc(1, f->inode_bytes + sizeof(*j.raw));
	err = j.raw ? fsck_inode_read_or_lose(f, j.ino, j.raw) : -ENOMEM;
	if (err) {
		fsck_failed(f, err);
	} else if (!inode_ok(&j) && !inode_rescue(&j)) {
		remove_journal(&j);
	} else {
		err = open_cache(&j);
		if (err)
			fsck_failed(f, err);
		else
			check_log(&j);
		/* Now, as replay reads the superblock again. */
		if (le32_get(f->sb.s_journal_inum) != j.ino) {
			f->sb.s_journal_inum = le32_of(j.ino);
			f->sb_dirty = true;
		}
		if (!f->err)
			fsck_journal_backup(f, j.raw);
	}
	if (j.cache)
		cache_free(j.cache);
	if (j.undo_dev)
		blk_close(j.undo_dev);
	if (j.alloc)
		alloc_free(j.alloc);
	array_free(&j.runs);
	free(j.raw);
}
