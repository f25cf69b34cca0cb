/*
 * fs_map.c: from blocks of a file to blocks of the device, whatever the inode's map is.
 *
 * One extent is remembered per inode: sequential work and small files then need no map block
 * at all for most calls. Only mapped extents are remembered, and every change of the map
 * (exclusive inode->lock) renews or forgets it.
 */
#include <assert.h>

#include "fs/fs_map.h"

/* A lookup takes so many blocks more than asked for into the memory, for the calls to come. */
enum { LOOK_AHEAD = 256 };

static bool symlink_is_fast(const struct fs_inode *inode)
{
	const uint64_t acl_sects = inode->file_acl ? inode->fs->block_bytes >> SECT_SHIFT : 0;

	return inode->size_bytes < EXT_INLINE_BYTES && inode->nr_sects <= acl_sects;
}

int fs_map_init(struct fs_inode *inode)
{
	inode->map = NULL;
	inode->last_map.nr = 0;
	if (fs_inode_has_inline(inode)) {
		if (fs_has_incompat(inode->fs, EXT_INCOMPAT_INLINE_DATA))
			return 0;
		log_error("%s: inode %" PRIu32 ": flag inline_data without the feature",
			  blk_name(inode->fs->dev), inode->ino);
		return -EUCLEAN;
	}
	if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode) && !S_ISLNK(inode->mode))
		return 0;
	if (inode->flags & EXT_FL_EXTENTS) {
		inode->map = &fs_map_extent;
		return fs_map_extent_check_root(inode);
	}
	if (!S_ISLNK(inode->mode) || !symlink_is_fast(inode))
		inode->map = &fs_map_ind;
	return 0;
}

void fs_map_new(struct fs_inode *inode)
{
	uint8_t bytes[EXT_INLINE_BYTES] = { 0 };
	const bool mapped = S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISLNK(inode->mode);

	inode->flags &= ~(uint32_t)EXT_FL_EXTENTS;
	if (mapped && fs_has_incompat(inode->fs, EXT_INCOMPAT_EXTENTS)) {
		inode->flags |= EXT_FL_EXTENTS;
		fs_map_extent_root(bytes);
	}
	fs_inode_block_bytes_set(inode, bytes);
}

uint64_t fs_map_max_bytes(const struct fs_inode *inode)
{
	const struct fs *fs = inode->fs;
	const bool extents = inode->flags & EXT_FL_EXTENTS ||
			     (fs_inode_has_inline(inode) && fs_has_incompat(fs, EXT_INCOMPAT_EXTENTS));

	return extents ? (uint64_t)UINT32_MAX << fs->block_shift : fs->max_file_bytes;
}

int fs_map_bad(struct fs_inode *inode, const char *what, unsigned level, unsigned index, pblk_t found)
{
	log_error("%s: inode %" PRIu32 ": %s: level %u, index %u: %" PRIu64 " is no data block",
		  blk_name(inode->fs->dev), inode->ino, what, level, index, found);
	return fs_damaged(inode->fs, inode->ino, found, -EUCLEAN);
}

uint32_t fs_map_trusted(const struct fs *fs, pblk_t pblk, uint32_t nr)
{
	uint32_t n = 0;

	if (likely(fs_data_blocks_ok(fs, pblk, nr)))
		return nr;
	while (n < nr && fs_data_blocks_ok(fs, pblk + n, 1))
		n++;
	return n;
}

unsigned fs_credits_punch(const struct fs_inode *inode)
{
	return inode->map->punch_steps * fs_credits_punch_step(inode) + FS_CREDITS_INODE + FS_CREDITS_ORPHAN;
}

static void extent_cut(const struct fs_extent *e, lblk_t lblk, uint32_t max, struct fs_extent *out)
{
	const uint32_t skip = (uint32_t)(lblk - e->lblk);

	out->lblk = lblk;
	out->pblk = e->pblk ? e->pblk + skip : 0;
	out->nr = MIN(e->nr - skip, max);
}

static bool extent_holds(const struct fs_extent *e, lblk_t lblk)
{
	return lblk >= e->lblk && lblk - e->lblk < e->nr;
}

int fs_map_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out)
{
	struct fs_extent e;
	int err;

	assert(inode->map && max > 0);
	os_mutex_lock(&inode->meta);
	e = inode->last_map;
	os_mutex_unlock(&inode->meta);
	if (extent_holds(&e, lblk)) {
		extent_cut(&e, lblk, max, out);
		return 0;
	}
	err = inode->map->find(inode, lblk, MAX(max, (uint32_t)LOOK_AHEAD), &e);
	if (err)
		return err;
	if (e.pblk) {
		LOCK_GUARD(&inode->meta);

		inode->last_map = e;
	}
	extent_cut(&e, lblk, max, out);
	return 0;
}

/* The new extent joins the one remembered when it goes on where that ends. */
static void remember(struct fs_inode *inode, const struct fs_extent *e)
{
	struct fs_extent *last = &inode->last_map;
	LOCK_GUARD(&inode->meta);

	if (last->nr && last->lblk + last->nr == e->lblk && last->pblk + last->nr == e->pblk &&
	    (uint64_t)last->nr + e->nr <= UINT32_MAX)
		last->nr += e->nr;
	else
		*last = *e;
}

int fs_map_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out,
		bool *fresh)
{
	int err;

	assert(inode->map && max > 0);
	err = inode->map->fill(h, inode, lblk, max, out, fresh);
	if (!err && *fresh && S_ISREG(inode->mode)) {
		err = jnl_order_data(h, out->pblk, out->nr);	/* F4, also after a crash */
		if (err) {
			const int undo_err = inode->map->punch(h, inode, lblk, lblk + out->nr);

			return undo_err ? undo_err : err;
		}
	}
	if (!err)
		remember(inode, out);
	return err;
}

int fs_map_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to)
{
	assert(inode->map);
	os_mutex_lock(&inode->meta);
	inode->last_map.nr = 0;
	os_mutex_unlock(&inode->meta);
	return from < to ? inode->map->punch(h, inode, from, to) : 0;
}
