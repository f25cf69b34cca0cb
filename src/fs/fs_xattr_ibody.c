/* fs_xattr_ibody.c: the attributes in the inode's own record. See fs_xattr.h. */
#include <assert.h>

#include "fs/fs_xattr.h"

enum { MAGIC_BYTES = 4 };

/* The record's rest behind the fields: for the magic number, entries and values. False: too small for any. */
static bool rest_of(const struct fs_inode *inode, unsigned *off, unsigned *nr_bytes)
{
	const unsigned least = MAGIC_BYTES + sizeof(struct ext_disk_xattr_entry) + 4;

	*off = EXT_GOOD_OLD_INODE_BYTES + inode->extra_isize;
	if (inode->extra_isize == 0 || *off % 4 || inode->fs->inode_bytes < *off + least)
		return false;
	*nr_bytes = inode->fs->inode_bytes - *off;
	return true;
}

static void area_at(struct xattr_area *a, uint8_t *rest, unsigned nr_bytes)
{
	a->base = a->first = rest + MAGIC_BYTES;
	a->end = rest + nr_bytes;
	a->is_block = false;
}

int xattr_ibody_open(struct fs_inode *inode, struct xattr_ibody *ib)
{
	struct ext_disk_inode *raw;
	unsigned off, nr_bytes;
	const char *what;
	uint8_t *rest;
	le32 magic;
	int err;

	*ib = (struct xattr_ibody){ .inode = inode };
	if (!rest_of(inode, &off, &nr_bytes))
		return 0;
	err = fs_inode_get_raw(inode, &ib->b, &raw);
	if (err) {
		ib->b = NULL;
		return err;
	}
	rest = (uint8_t *)raw + off;
	memcpy(&magic, rest, sizeof(magic));
	if (le32_get(magic) != EXT_XATTR_MAGIC)
		return 0;
	area_at(&ib->area, rest, nr_bytes);
	what = xattr_area_check(&ib->area);	/* X1 */
	if (!what)
		return 0;
	ib->area.base = NULL;
	log_error("%s: inode %" PRIu32 ": attributes in the inode: %s", blk_name(inode->fs->dev), inode->ino, what);
	return fs_damaged(inode->fs, inode->ino, ib->b->pblk, -EUCLEAN);
}

void xattr_ibody_close(struct xattr_ibody *ib)
{
	cache_put(ib->b);
	ib->b = NULL;
}

unsigned xattr_ibody_room(const struct xattr_ibody *ib, const struct ext_disk_xattr_entry *old)
{
	unsigned off, nr_bytes;

	if (!ib->b || !rest_of(ib->inode, &off, &nr_bytes))
		return 0;
	if (ib->area.base)
		return xattr_area_room(&ib->area, old);
	return nr_bytes - MAGIC_BYTES - 4;
}

/* The first attribute: what lies there is of no meaning. */
static int area_begin(struct xattr_ibody *ib)
{
	const le32 magic = le32_of(EXT_XATTR_MAGIC);
	struct ext_disk_inode *raw;
	struct cache_buf *b;
	unsigned off, nr_bytes;
	uint8_t *rest;
	const int err = fs_inode_get_raw(ib->inode, &b, &raw);

	if (err)
		return err;
	if (!rest_of(ib->inode, &off, &nr_bytes)) {
		cache_put(b);
		return -ENOSPC;
	}
	rest = (uint8_t *)raw + off;
	memset(rest, 0, nr_bytes);
	memcpy(rest, &magic, sizeof(magic));
	area_at(&ib->area, rest, nr_bytes);
	cache_put(b);	/* pinned by ib, too */
	return 0;
}

int xattr_ibody_set(struct jnl_handle *h, struct xattr_ibody *ib, const struct xattr_name *n, const void *value,
		    size_t len_bytes)
{
	struct ext_disk_xattr_entry *old;
	int err;

	assert_held(&ib->inode->meta);	/* whoever stores the inode meanwhile sums these bytes up */
	assert(ib->b);
	err = jnl_get_write(h, ib->b);
	if (!err && !ib->area.base)
		err = area_begin(ib);
	if (err)
		return err;
	old = xattr_find(&ib->area, n);
	if (old)
		xattr_remove(&ib->area, old);
	if (value)
		xattr_add(&ib->area, n, value, len_bytes);
	jnl_dirty(h, ib->b);
	return fs_inode_store(h, ib->inode);
}
