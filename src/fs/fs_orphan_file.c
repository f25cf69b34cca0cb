/*
 * fs_orphan_file.c: the other place where Linux notes unfinished deletions and truncations, under the
 * feature orphan_file: a file of inode numbers. We write the list at s_last_orphan only; what a crash
 * left in the file moves there, inode by inode, and is finished.
 */
#include "base/crc.h"
#include "fs/fs_int.h"

enum { ORPHAN_BLOCK_MAGIC = 0x0b10ca04 };

struct orphan_tail {
	le32 magic;
	le32 checksum;		/* crc32c(inode seed, block number as le64, the entries) */
};

static uint32_t nr_entries(const struct fs *fs)
{
	return (fs->block_bytes - (uint32_t)sizeof(struct orphan_tail)) / (uint32_t)sizeof(le32);
}

static struct orphan_tail *tail_of(const struct fs *fs, void *data)
{
	return (struct orphan_tail *)((uint8_t *)data + fs->block_bytes - sizeof(struct orphan_tail));
}

static uint32_t block_csum(const struct fs_inode *file, const struct cache_buf *b)
{
	const le64 nr = le64_of(b->pblk);
	const uint32_t crc = crc32c(file->csum_seed, &nr, sizeof(nr));

	return crc32c(crc, b->data, nr_entries(file->fs) * sizeof(le32));
}

static int check_block(void *owner, const struct cache_buf *b, const void *arg)
{
	const struct fs_inode *file = arg;
	const struct orphan_tail *t = tail_of(file->fs, b->data);
	const char *what = NULL;

	(void)owner;
	if (le32_get(t->magic) != ORPHAN_BLOCK_MAGIC)
		what = "no magic number";
	else if (fs_has_csum(file->fs) && le32_get(t->checksum) != block_csum(file, b))
		what = "checksum does not match";
	if (!what)
		return 0;
	log_error("%s: orphan file (inode %" PRIu32 "), block %" PRIu64 ": %s", blk_name(file->fs->dev), file->ino, b->pblk, what);
	return -EUCLEAN;
}

static const struct cache_kind orphan_kind = { "orphan file", check_block };

/* One entry: to the list, out of the file, and then to its end. */
static int move_entry(struct fs_inode *file, struct cache_buf *b, le32 *entry)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;	/* its last put deletes it when it has no links */
	CLEANUP_HANDLE struct jnl_handle h = {0};
	struct fs *fs = file->fs;
	int err = fs_iget_orphan(fs, le32_get(*entry), &inode);

	if (!err)
		err = jnl_begin(fs->jnl, FS_CREDITS_ORPHAN + 1 /* the file's block */, &h);
	if (!err)
		err = jnl_get_write(&h, b);
	if (!err)
		err = fs_orphan_add(&h, inode);
	if (err)
		return err;
	*entry = le32_of(0);
	if (fs_has_csum(fs))
		tail_of(fs, b->data)->checksum = le32_of(block_csum(file, b));
	jnl_dirty(&h, b);
	err = jnl_end(&h);
	if (!err && inode->nlink > 0)
		err = fs_orphan_finish_truncate(inode);
	if (err && inode->on_orphan_list)
		inode = NULL;		/* the list keeps it: whoever gives up puts it */
	else if (err == -EUCLEAN)
		err = 0;		/* cut as far as damage, which is told and noted, let it be */
	return err;
}

static int move_block(struct fs_inode *file, pblk_t pblk, unsigned *nr_moved)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	int err = cache_get(file->fs->cache, pblk, &orphan_kind, file, &b);

	for (uint32_t i = 0; !err && i < nr_entries(file->fs); i++) {
		le32 *entry = (le32 *)b->data + i;

		if (!le32_get(*entry))
			continue;
		err = move_entry(file, b, entry);
		++*nr_moved;
	}
	return err;
}

static int move_all(struct fs_inode *file, unsigned *nr_moved)
{
	const lblk_t end = file->size_bytes >> file->fs->block_shift;
	struct fs_extent e;

	if (!S_ISREG(file->mode) || !file->map)
		return -EUCLEAN;
	for (lblk_t lblk = 0; lblk < end; lblk++) {
		int err = fs_map_find(file, lblk, 1, &e);

		if (!err && e.pblk)
			err = move_block(file, e.pblk, nr_moved);
		if (err)
			return err;
	}
	return 0;
}

static int clear_present(struct fs *fs)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err = jnl_begin(fs->jnl, 1 /* the superblock */, &h);

	if (err)
		return err;
	os_mutex_lock(&fs->super_lock);
	fs->ro_compat &= ~(uint32_t)EXT_RO_COMPAT_ORPHAN_PRESENT;
	fs->super.s_feature_ro_compat = le32_of(le32_get(fs->super.s_feature_ro_compat) & ~(uint32_t)EXT_RO_COMPAT_ORPHAN_PRESENT);
	os_mutex_unlock(&fs->super_lock);
	err = fs_super_store(&h, fs);
	return err ? err : jnl_end(&h);
}

int fs_orphan_file_process(struct fs *fs)
{
	CLEANUP_INODE struct fs_inode *file = NULL;
	unsigned nr_moved = 0;
	int err;

	if (!fs_has_ro_compat(fs, EXT_RO_COMPAT_ORPHAN_PRESENT))
		return 0;
	err = fs_iget(fs, le32_get(fs->super.s_orphan_file_inum), &file);
	if (!err)
		err = move_all(file, &nr_moved);
	if (!err)
		err = clear_present(fs);
	if (!err)
		log_info("%s: %u deletions and truncations of the orphan file finished", blk_name(fs->dev), nr_moved);
	return err;
}
