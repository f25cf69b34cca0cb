/*
 * fs_super.c: mount and unmount, and the superblock on the way.
 *
 *   SB1  Before the first change of a mount is on disk, the superblock says "not cleanly unmounted"
 *        (with a journal, "needs recovery": FJ2); it says "clean" again only when everything else is
 *        durable, and only when it said so before the mount and no damage was met.
 *   SB2  Only the first superblock is written; the copies are mkfs's and fsck's, as in the kernel.
 *   SB3  A filesystem that was opened read-only is not written at all.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "fs/fs_int.h"

struct timespec fs_now(struct fs *fs)
{
	struct timespec ts;

	if (fs->opts.now)
		return fs->opts.now(fs->opts.now_arg);
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

uint32_t fs_random(struct fs *fs)
{
	LOCK_GUARD(&fs->super_lock);

	return (uint32_t)rng_next(&fs->rng);
}

bool fs_is_read_only(const struct fs *fs)
{
	return atomic_load(&fs->read_only);
}

struct cache *fs_cache(struct fs *fs)
{
	return fs->cache;
}

int fs_writable(struct fs *fs)
{
	return fs_is_read_only(fs) || jnl_is_aborted(fs->jnl) ? -EROFS : 0;
}

/* Damage --------------------------------------------------------------------------------- */

/* s_*_error_errcode: the format has its own numbers. */
static uint8_t disk_error(int err)
{
	switch (-err) {
	case EIO: return 2;
	case ENOMEM: return 3;
	case EUCLEAN: return 5;
	case ENOSPC: return 6;
	default: return 1;
	}
}

static void error_note(struct fs *fs, ino_nr_t ino, pblk_t pblk, int err)
{
	struct ext_disk_super *sb = &fs->super;
	const uint64_t now = (uint64_t)fs_now(fs).tv_sec;

	assert_held(&fs->super_lock);
	fs->super_changed = true;
	if (!fs->first_error)
		fs->first_error = err;
	sb->s_state = le16_of(le16_get(sb->s_state) | EXT_STATE_ERROR);
	sb->s_error_count = le32_of(le32_get(sb->s_error_count) + 1);
	sb->s_last_error_time = le32_of((uint32_t)now);
	sb->s_last_error_time_hi = (uint8_t)(now >> 32);
	sb->s_last_error_ino = le32_of(ino);
	sb->s_last_error_block = le64_of(pblk);
	sb->s_last_error_line = le32_of(0);
	sb->s_last_error_errcode = disk_error(err);
	memset(sb->s_last_error_func, 0, sizeof(sb->s_last_error_func));
	memcpy(sb->s_last_error_func, "osfs", 4);
	if (le32_get(sb->s_first_error_time))
		return;
	sb->s_first_error_time = sb->s_last_error_time;
	sb->s_first_error_time_hi = sb->s_last_error_time_hi;
	sb->s_first_error_ino = sb->s_last_error_ino;
	sb->s_first_error_block = sb->s_last_error_block;
	sb->s_first_error_line = sb->s_last_error_line;
	sb->s_first_error_errcode = sb->s_last_error_errcode;
	memcpy(sb->s_first_error_func, sb->s_last_error_func, sizeof(sb->s_first_error_func));
}

static enum fs_errors errors_policy(const struct fs *fs)
{
	if (fs->opts.errors != FS_ERRORS_DEFAULT)
		return fs->opts.errors;
	switch (le16_get(fs->super.s_errors)) {
	case EXT_ERRORS_RO: return FS_ERRORS_RO;
	case EXT_ERRORS_PANIC: return FS_ERRORS_PANIC;
	default: return FS_ERRORS_CONTINUE;
	}
}

static void panic_if_asked(struct fs *fs)
{
	if (errors_policy(fs) == FS_ERRORS_PANIC && fs->opts.panic && !atomic_exchange(&fs->panicked, true))
		fs->opts.panic(fs->opts.panic_arg);
}

int fs_damaged(struct fs *fs, ino_nr_t ino, pblk_t pblk, int err)
{
	os_mutex_lock(&fs->super_lock);
	error_note(fs, ino, pblk, err);
	os_mutex_unlock(&fs->super_lock);
	if (errors_policy(fs) == FS_ERRORS_CONTINUE || fs_is_read_only(fs))
		return err;
	/* What is not committed stays so: it may be half of something. */
	if (fs->journal.in_use)
		jnl_abort(fs->jnl, err);
	if (!atomic_exchange(&fs->read_only, true))
		log_error("%s: read-only from now on, as errors= asks for", blk_name(fs->dev));
	panic_if_asked(fs);
	return err;
}

void fs_journal_aborted(void *arg, int err)
{
	struct fs *fs = arg;

	os_mutex_lock(&fs->super_lock);
	if (!fs->first_error)
		error_note(fs, 0, 0, err);
	os_mutex_unlock(&fs->super_lock);
	atomic_store(&fs->read_only, true);
	panic_if_asked(fs);
}

/* Store ---------------------------------------------------------------------------------- */

static uint64_t written_bytes(const struct fs *fs)
{
	struct blk_stats st;

	blk_stats_get(fs->dev, &st);
	return st.nr_bytes[BLK_WRITE];
}

static void counters_to_disk(struct fs *fs)
{
	struct ext_disk_super *sb = &fs->super;
	const uint64_t free_blocks = fs->free_blocks, written = written_bytes(fs);
	const uint64_t now = (uint64_t)fs_now(fs).tv_sec;
	const uint64_t kbytes = (written - fs->start_written_bytes) >> 10;

	sb->s_free_blocks_count_lo = le32_of((uint32_t)free_blocks);
	if (fs_has_incompat(fs, EXT_INCOMPAT_64BIT))
		sb->s_free_blocks_count_hi = le32_of((uint32_t)(free_blocks >> 32));
	sb->s_free_inodes_count = le32_of((uint32_t)fs->free_inodes);
	sb->s_wtime = le32_of((uint32_t)now);
	sb->s_wtime_hi = (uint8_t)(now >> 32);
	sb->s_kbytes_written = le64_of(le64_get(sb->s_kbytes_written) + kbytes);
	fs->start_written_bytes += kbytes << 10;
	if (fs_has_csum(fs))
		ext_super_seal(sb);
}

static uint32_t super_off_bytes(const struct fs *fs)
{
	return EXT_SUPER_OFF_BYTES % fs->block_bytes;
}

/* The superblock of now into its frame. super_lock held. */
static void super_to_frame(struct fs *fs)
{
	counters_to_disk(fs);
	memcpy((uint8_t *)fs->super_buf->data + super_off_bytes(fs), &fs->super, sizeof(fs->super));
	fs->super_changed = false;
}

int fs_super_store(struct jnl_handle *h, struct fs *fs)
{
	int err;
	LOCK_GUARD(&fs->super_lock);

	err = jnl_get_write(h, fs->super_buf);
	if (err)
		return err;
	super_to_frame(fs);
	jnl_dirty(h, fs->super_buf);
	return 0;
}

int fs_super_write(struct fs *fs)
{
	struct jnl_handle h = {0};
	int err = jnl_begin(fs->jnl, 1 /* the superblock */, &h), end_err;

	if (err)
		return err;
	err = fs_super_store(&h, fs);
	end_err = jnl_end(&h);
	if (!err)
		err = end_err;
	return err ? err : jnl_commit_wait(fs->jnl, 0);
}

int fs_super_write_home(struct fs *fs)
{
	int err;
	LOCK_GUARD(&fs->super_lock);

	super_to_frame(fs);
	err = blk_write(fs->dev, EXT_SUPER_OFF_BYTES >> SECT_SHIFT, &fs->super, sizeof(fs->super));
	return err ? err : blk_flush(fs->dev);
}

static bool super_is_current(struct fs *fs)
{
	LOCK_GUARD(&fs->super_lock);

	return !fs->super_changed && le32_get(fs->super.s_free_blocks_count_lo) == (uint32_t)fs->free_blocks &&
	       le32_get(fs->super.s_free_inodes_count) == (uint32_t)fs->free_inodes;
}

int fs_sync(struct fs *fs)
{
	int err;

	if (!fs->opened_rw)
		return 0;
	err = fs_icache_store_atimes(fs);
	if (!err)
		err = cache_flush(fs->cache, CACHE_DATA);
	if (!err)
		err = super_is_current(fs) ? jnl_commit_wait(fs->jnl, 0) : fs_super_write(fs);
	return err;
}

/* Mount ------------------------------------------------------------------------------------ */

static int super_read(struct fs *fs)
{
	if (blk_nr_sects(fs->dev) < (EXT_SUPER_OFF_BYTES + EXT_SUPER_BYTES) >> SECT_SHIFT) {
		log_error("%s: too small for a filesystem", blk_name(fs->dev));
		return -EINVAL;
	}
	return blk_read(fs->dev, EXT_SUPER_OFF_BYTES >> SECT_SHIFT, &fs->super, sizeof(fs->super));
}

static int open_cache(struct fs *fs)
{
	const struct cache_opts co = {
		.alloc = fs->alloc, .dev = fs->dev, .block_bytes = fs->block_bytes, .size_bytes = fs->opts.cache_bytes,
		.background = fs->opts.background, .owner = fs,
	};
	const int err = cache_new(&co, &fs->cache);

	return err ? err : cache_get(fs->cache, EXT_SUPER_OFF_BYTES / fs->block_bytes, NULL, NULL, &fs->super_buf);
}

static int open_root(struct fs *fs)
{
	CLEANUP_INODE struct fs_inode *root = NULL;
	const int err = fs_iget(fs, EXT_ROOT_INO, &root);

	if (err && err != -ESTALE)
		return err;
	if (err || !fs_inode_is_dir(root)) {
		log_error("%s: the root directory (inode %d) is no directory", blk_name(fs->dev), EXT_ROOT_INO);
		return -EUCLEAN;
	}
	return 0;
}

static void open_tell_state(struct fs *fs)
{
	const uint16_t state = le16_get(fs->super.s_state);

	fs->was_valid = state & EXT_STATE_VALID;
	fs->was_clean = fs->was_valid && !(state & EXT_STATE_ERROR);
	if (state & EXT_STATE_ERROR)
		log_warn("%s: the filesystem has known errors: run e2fsck", blk_name(fs->dev));
	else if (!fs->was_valid)
		log_warn("%s: the filesystem was not cleanly unmounted: run e2fsck", blk_name(fs->dev));
}

/* SB1 */
static int open_mark_mounted(struct fs *fs)
{
	struct ext_disk_super *sb = &fs->super;
	const uint64_t now = (uint64_t)fs_now(fs).tv_sec;

	fs->opened_rw = true;
	if (!fs->journal.in_use)
		sb->s_state = le16_of(le16_get(sb->s_state) & (uint16_t)~EXT_STATE_VALID);
	sb->s_mnt_count = le16_of(le16_get(sb->s_mnt_count) + 1);
	sb->s_mtime = le32_of((uint32_t)now);
	sb->s_mtime_hi = (uint8_t)(now >> 32);
	if (fs->opts.last_mounted) {
		memset(sb->s_last_mounted, 0, sizeof(sb->s_last_mounted));
		memcpy(sb->s_last_mounted, fs->opts.last_mounted,
		       MIN(strlen(fs->opts.last_mounted), sizeof(sb->s_last_mounted)));
	}
	return fs->journal.in_use ? fs_journal_mark_used(fs) : fs_super_write(fs);
}

static void fs_free(struct fs *fs)
{
	fs_icache_fini(fs);
	fs_journal_fini(fs);
	cache_put(fs->super_buf);
	cache_free(fs->cache);
	fs_pending_fini(fs);
	fs_groups_free(fs);
	os_mutex_fini(&fs->freed_lock);
	os_mutex_fini(&fs->release_lock);
	os_mutex_fini(&fs->orphan_lock);
	os_mutex_fini(&fs->rename_lock);
	os_mutex_fini(&fs->super_lock);
	free(fs);
}

static struct fs *fs_new(struct blk_dev *dev, const struct fs_opts *o)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	fs->dev = dev;
	fs->alloc = o->alloc;
	fs->opts = *o;
	fs->opts.last_mounted = o->read_only ? NULL : o->last_mounted;
	fs->read_only = o->read_only || blk_is_read_only(dev);
	fs->start_written_bytes = written_bytes(fs);
	fs->rng.state = o->seed;
	if (!o->seed && getrandom(&fs->rng.state, sizeof(fs->rng.state), 0) < 0)
		fs->rng.state = (uint64_t)fs_now(fs).tv_nsec;
	os_mutex_init(&fs->super_lock, RANK_SUPER);
	os_mutex_init(&fs->rename_lock, RANK_RENAME);
	os_mutex_init(&fs->orphan_lock, FS_RANK_ORPHAN);
	os_mutex_init(&fs->freed_lock, FS_RANK_FREED);
	os_mutex_init(&fs->release_lock, FS_RANK_RELEASE);
	list_init(&fs->orphans);
	return fs;
}

static int super_check_first(struct fs *fs)
{
	return fs_super_check(fs, true);
}

/* What is damaged is told by who finds it; what cannot be read is told here. */
static int open_parts(struct fs *fs)
{
	static const struct {
		int (*open)(struct fs *fs);
		const char *what;
	} parts[] = {
		{ super_read, "superblock" }, { super_check_first, "superblock" }, { open_cache, "superblock" },
		{ fs_journal_recover, "journal" }, { fs_groups_load, "group descriptors" }, { fs_journal_start, "journal" },
		{ fs_icache_init, "inodes" }, { open_root, "root directory" },
	};
	int err = 0;

	for (unsigned i = 0; !err && i < ARRAY_LEN(parts); i++) {
		err = parts[i].open(fs);
		if (err == -EIO)
			log_error("%s: cannot be mounted: %s: %s", blk_name(fs->dev), parts[i].what, strerror(-err));
	}
	return err;
}

static int open_steps(struct fs *fs)
{
	int err = open_parts(fs);

	if (err)
		return err;
	open_tell_state(fs);
	if (fs->read_only)
		return 0;
	err = open_mark_mounted(fs);
	return err ? err : fs_orphans_process(fs);
}

int fs_open(struct blk_dev *dev, const struct fs_opts *o, struct fs **out)
{
	struct fs *fs = fs_new(dev, o);
	int err;

	*out = NULL;
	if (!fs)
		return -ENOMEM;
	err = open_steps(fs);
	if (!err) {
		fs->opts.last_mounted = NULL;	/* the caller's string, used */
		*out = fs;
		return 0;
	}
	if (jnl_free(fs->jnl))
		log_error("%s: what the mount had changed could not be written", blk_name(dev));
	fs_free(fs);
	return err;
}

/* Unmount ------------------------------------------------------------------------------------ */

/* SB1: all else durable, then "clean". */
static int close_write(struct fs *fs)
{
	int err = cache_flush(fs->cache, CACHE_DATA), clean_err;

	if (!err)
		err = jnl_commit_wait(fs->jnl, 0);
	if (err && fs->journal.in_use)
		return err;	/* the log is kept for the next mount */
	os_mutex_lock(&fs->super_lock);
	if (!err && !fs->first_error && fs->was_valid)
		fs->super.s_state = le16_of(le16_get(fs->super.s_state) | EXT_STATE_VALID);
	os_mutex_unlock(&fs->super_lock);
	clean_err = fs->journal.in_use ? fs_journal_finish(fs) : fs_super_write(fs);
	return err ? err : clean_err;
}

int fs_close(struct fs *fs)
{
	int err = 0, jnl_err;

	fs_icache_drain(fs);
	if (fs->opened_rw && !jnl_is_aborted(fs->jnl))
		err = close_write(fs);
	jnl_err = jnl_free(fs->jnl);
	fs_free(fs);
	return err ? err : jnl_err;
}
