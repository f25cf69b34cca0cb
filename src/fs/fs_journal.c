/*
 * fs_journal.c: the filesystem's journal: where it lies, and what mount and unmount do with it.
 *
 *   FJ1  The log is replayed before anything but the superblock, the descriptors and the journal's
 *        own inode and map is looked at; what was looked at is then read again.
 *   FJ2  The superblock says "needs recovery" before the log has anything, and stops saying so when
 *        the log is empty again: both times it is written past the log, as the kernel does. It is
 *        not torn by a crash where one sector changes (ext_super_seal()).
 *   FJ3  A read-only mount replays into held frames of the cache and writes nothing.
 *   FJ4  The journal's blocks count as fixed metadata: no file is led to them.
 */
#include <stdlib.h>

#include "fs/fs_int.h"
#include "journal/jbd2.h"

/* Finding it ----------------------------------------------------------------------------- */

static int bad(const struct fs *fs, const char *what)
{
	log_error("%s: journal: %s: run e2fsck", blk_name(fs->dev), what);
	return -EUCLEAN;
}

/* Its inode's number; 0 when there is nothing to be replayed or used. */
static int journal_ino(struct fs *fs, ino_nr_t *ino)
{
	const bool dirty = fs_has_incompat(fs, EXT_INCOMPAT_RECOVER);

	*ino = 0;
	if (!fs_has_compat(fs, EXT_COMPAT_HAS_JOURNAL))
		return dirty ? bad(fs, "the superblock says needs_recovery, but has no journal") : 0;
	if (fs->opts.norecovery) {
		if (!dirty)
			return 0;
		if (!fs->read_only) {
			log_error("%s: the journal must be replayed: without that (norecovery) it can be mounted "
				  "read-only", blk_name(fs->dev));
			return -EINVAL;
		}
		log_warn("%s: the journal is not replayed, as norecovery asks for: what is seen may be old and "
			 "inconsistent", blk_name(fs->dev));
		return 0;
	}
	*ino = le32_get(fs->super.s_journal_inum);
	if (*ino)
		return *ino <= fs->nr_inodes ? 0 : bad(fs, "its inode number is out of range");
	if (dirty) {
		log_error("%s: the journal must be replayed, and lies on a device of its own (journal_dev), "
			  "which is not supported", blk_name(fs->dev));
		return -EOPNOTSUPP;
	}
	if (!atomic_exchange(&fs->read_only, true))
		log_warn("%s: read-only because its journal lies on a device of its own (journal_dev), which is "
			 "not supported", blk_name(fs->dev));
	return 0;
}

static int run_add(struct fs_journal *j, const struct fs_extent *e)
{
	struct jbd2_run *last = j->nr_runs ? &j->runs[j->nr_runs - 1] : NULL, *grown;

	if (last && last->pblk + last->nr == e->pblk && last->nr <= UINT32_MAX - e->nr) {
		last->nr += e->nr;
		return 0;
	}
	grown = realloc(j->runs, (j->nr_runs + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	j->runs = grown;
	j->runs[j->nr_runs++] = (struct jbd2_run){ .lblk = e->lblk, .pblk = e->pblk, .nr = e->nr };
	return 0;
}

static int run_compare(const void *a, const void *b)
{
	const struct jbd2_run *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

/* Two blocks of the file at one place would be written over each other. */
static int check_apart(const struct fs *fs)
{
	const struct fs_journal *j = &fs->journal;
	struct jbd2_run *sorted = malloc(j->nr_runs * sizeof(*sorted));
	int err = 0;

	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, j->runs, j->nr_runs * sizeof(*sorted));
	qsort(sorted, j->nr_runs, sizeof(*sorted), run_compare);
	for (size_t i = 1; !err && i < j->nr_runs; i++)
		if (sorted[i].pblk < sorted[i - 1].pblk + sorted[i - 1].nr)
			err = bad(fs, "its map leads to one block twice");
	free(sorted);
	return err;
}

/* The whole map, indirect or extents. */
static int read_map(struct fs *fs, struct fs_inode *inode)
{
	const lblk_t end = inode->size_bytes >> fs->block_shift;
	struct fs_extent e;

	if (!S_ISREG(inode->mode) || !inode->map)
		return bad(fs, "its inode is no regular file with blocks");
	if (end == 0 || end > fs->nr_blocks || end > UINT32_MAX)
		return bad(fs, "impossible size of its file");
	for (lblk_t lblk = 0; lblk < end; lblk += e.nr) {
		int err = fs_map_find(inode, lblk, (uint32_t)(end - lblk), &e);

		if (err)
			return err;
		if (!e.pblk)
			return bad(fs, "its file has a hole");
		err = run_add(&fs->journal, &e);
		if (err)
			return err;
	}
	return check_apart(fs);
}

/* Not through the table of inodes: a reserved number, and read before the log is replayed. */
static int read_inode(struct fs *fs, ino_nr_t ino)
{
	struct fs_inode *inode = calloc(1, sizeof(*inode));
	int err;

	if (!inode)
		return -ENOMEM;
	inode->fs = fs;
	inode->ino = ino;
	os_rwlock_init(&inode->lock, RANK_INODE);
	os_mutex_init(&inode->meta, RANK_INO_STORE);
	err = fs_inode_load(inode, false);
	if (err == -ESTALE)
		err = bad(fs, "its inode is not in use");
	if (!err)
		err = read_map(fs, inode);
	os_rwlock_fini(&inode->lock);
	os_mutex_fini(&inode->meta);
	free(inode);
	return err;
}

/* Replay ------------------------------------------------------------------------------------ */

static uint64_t now_nsec(void *arg)
{
	const struct timespec now = fs_now(arg);

	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static enum jnl_data_mode data_mode(const struct fs *fs)
{
	enum { DEFM_JMODE = 0x60, DEFM_JOURNAL = 0x20, DEFM_WRITEBACK = 0x60 };

	switch (fs->opts.data) {
	case FS_DATA_ORDERED: return JNL_DATA_ORDERED;
	case FS_DATA_JOURNAL: return JNL_DATA_JOURNAL;
	case FS_DATA_WRITEBACK: return JNL_DATA_WRITEBACK;
	default: break;
	}
	switch (le32_get(fs->super.s_default_mount_opts) & DEFM_JMODE) {
	case DEFM_JOURNAL: return JNL_DATA_JOURNAL;
	case DEFM_WRITEBACK: return JNL_DATA_WRITEBACK;
	default: return JNL_DATA_ORDERED;
	}
}

static struct jbd2_opts journal_opts(struct fs *fs)
{
	return (struct jbd2_opts){
		.cache = fs->cache, .dev = fs->dev, .alloc = fs->alloc,
		.runs = fs->journal.runs, .nr_runs = fs->journal.nr_runs, .nr_pblks = fs->nr_blocks,
		.data_mode = data_mode(fs), .commit_sec = fs->opts.commit_sec, .background = fs->opts.background,
		.read_only = fs->read_only, .checksum = fs_has_csum(fs),
		.now_nsec = now_nsec, .now_arg = fs,
	};
}

static int replay(struct fs *fs)
{
	struct jbd2_opts o = journal_opts(fs);
	struct jbd2_recovery done;

	/* A filesystem that was growing may have blocks in its log that its superblock does not know of yet. */
	o.nr_pblks = blk_nr_sects(fs->dev) / (fs->block_bytes >> SECT_SHIFT);
	return jbd2_recover(&o, &done, &fs->journal.overlay);
}

/* FJ1: the superblock as the log has left it. */
static int look_again(struct fs *fs)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	const int err = cache_get(fs->cache, EXT_SUPER_OFF_BYTES / fs->block_bytes, NULL, NULL, &b);

	if (err)
		return err;
	memcpy(&fs->super, (uint8_t *)b->data + EXT_SUPER_OFF_BYTES % fs->block_bytes, sizeof(fs->super));
	return fs_super_check(fs, false);
}

int fs_journal_recover(struct fs *fs)
{
	const uint32_t block_bytes = fs->block_bytes;
	ino_nr_t ino;
	int err = journal_ino(fs, &ino);

	if (!err && ino) {
		err = fs_groups_load(fs);
		if (!err)
			err = read_inode(fs, ino);
		fs_groups_free(fs);
		if (!err)
			err = replay(fs);
	}
	if (!err)
		err = look_again(fs);
	if (!err && fs->block_bytes != block_bytes)
		err = bad(fs, "what it holds is another filesystem's");
	for (size_t i = 0; !err && i < fs->journal.nr_runs; i++)
		fs->overhead_blocks += fs->journal.runs[i].nr;
	return err;
}

/* Use --------------------------------------------------------------------------------------------- */

/* What makes no sense without one is not passed over in silence. */
static int start_without(struct fs *fs)
{
	const char *why = fs->opts.norecovery ? "norecovery leaves the journal alone" : "the filesystem has no journal";

	if (!fs->read_only && (fs->opts.data != FS_DATA_DEFAULT || fs->opts.commit_sec)) {
		log_error("%s: %s cannot be had: %s", blk_name(fs->dev),
			  fs->opts.data != FS_DATA_DEFAULT ? "data=" : "commit=", why);
		return -EINVAL;
	}
	return jnl_null_new(fs->cache, fs->dev, &fs->jnl);
}

/* The last run met an error that only the journal knows of: it becomes the filesystem's. */
static int take_over_error(struct fs *fs)
{
	const int err = jbd2_errno(fs->jnl);

	if (!err)
		return 0;
	log_warn("%s: the journal was aborted by an error (%s) in an earlier mount: run e2fsck", blk_name(fs->dev),
		 strerror(err < 0 ? -err : err));
	os_mutex_lock(&fs->super_lock);
	fs->super.s_state = le16_of(le16_get(fs->super.s_state) | EXT_STATE_ERROR);
	os_mutex_unlock(&fs->super_lock);
	return 0;
}

int fs_journal_start(struct fs *fs)
{
	struct jbd2_opts o;
	int err;

	if (fs->read_only || !fs->journal.runs)
		return start_without(fs);
	o = journal_opts(fs);
	err = jbd2_open(&o, &fs->jnl);
	if (err == -EOPNOTSUPP) {	/* said why */
		log_warn("%s: read-only because of its journal", blk_name(fs->dev));
		fs->read_only = true;
		return jnl_null_new(fs->cache, fs->dev, &fs->jnl);
	}
	if (err)
		return err;
	fs->journal.in_use = true;
	jnl_set_commit_hook(fs->jnl, fs_pending_release, fs);
	jnl_set_abort_hook(fs->jnl, fs_journal_aborted, fs);
	return take_over_error(fs);
}

static void set_recover(struct fs *fs, bool on)
{
	uint32_t incompat;
	LOCK_GUARD(&fs->super_lock);

	incompat = le32_get(fs->super.s_feature_incompat) & ~(uint32_t)EXT_INCOMPAT_RECOVER;
	fs->super.s_feature_incompat = le32_of(incompat | (on ? EXT_INCOMPAT_RECOVER : 0));
}

int fs_journal_mark_used(struct fs *fs)
{
	int err;

	set_recover(fs, true);
	err = fs_super_write_home(fs);	/* FJ2 */
	/* The superblock has the error now. */
	return err || !jbd2_errno(fs->jnl) ? err : jbd2_clear_errno(fs->jnl);
}

int fs_journal_finish(struct fs *fs)
{
	int err = jbd2_empty(fs->jnl);

	if (err)
		return err;
	set_recover(fs, false);
	return fs_super_write_home(fs);	/* FJ2 */
}

bool fs_journal_status_get(struct fs *fs, struct jbd2_status *out)
{
	if (fs->journal.in_use)
		jbd2_status_get(fs->jnl, out);
	return fs->journal.in_use;
}

void fs_journal_fini(struct fs *fs)
{
	jbd2_overlay_free(fs->journal.overlay);
	free(fs->journal.runs);
	fs->journal = (struct fs_journal){ 0 };
}
