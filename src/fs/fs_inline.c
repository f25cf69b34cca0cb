/*
 * fs_inline.c: contents in the inode: 60 bytes of i_block, then the value of the attribute
 * system.data in the inode's own record. The attribute is there, if only empty, as long as the
 * inode has the flag; its length is exactly what the contents have over 60 bytes.
 */
#include <assert.h>

#include "fs/fs_file.h"
#include "fs/fs_map.h"
#include "fs/fs_xattr.h"

static int no_attribute(struct fs_inode *inode)
{
	log_error("%s: inode %" PRIu32 ": inline contents without the attribute system.data, or a short one",
		  blk_name(inode->fs->dev), inode->ino);
	return fs_damaged(inode->fs, inode->ino, 0, -EUCLEAN);
}

unsigned fs_inline_max_bytes(struct fs_inode *inode)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	const unsigned empty = xattr_needs(&name, 0);
	unsigned room;

	if (xattr_ibody_open(inode, &ib))
		return 0;
	room = xattr_ibody_room(&ib, xattr_find(&ib.area, &name));
	return room < empty ? 0 : EXT_INLINE_BYTES + ALIGN_DOWN(room - empty, 4u);
}

/* Bytes [off, off + len) of the attribute's value. */
static int read_value(struct fs_inode *inode, uint8_t *buf, unsigned off, unsigned len)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	const struct ext_disk_xattr_entry *e;
	const int err = xattr_ibody_open(inode, &ib);

	if (err)
		return err;
	e = xattr_find(&ib.area, &name);
	if (!e || off + len > le32_get(e->e_value_size))
		return no_attribute(inode);
	memcpy(buf, xattr_value(&ib.area, e) + off, len);
	return 0;
}

int fs_inline_read(struct fs_inode *inode, void *buf, unsigned off, unsigned len)
{
	uint8_t bytes[EXT_INLINE_BYTES], *out = buf;

	if (off < EXT_INLINE_BYTES) {
		const unsigned n = MIN(len, EXT_INLINE_BYTES - off);

		fs_inode_block_bytes_get(inode, bytes);
		memcpy(out, bytes + off, n);
		out += n;
		off += n;
		len -= n;
	}
	return len > 0 ? read_value(inode, out, off - EXT_INLINE_BYTES, len) : 0;
}

/* Both parts of the contents; the inode is stored. */
static int write_parts(struct jnl_handle *h, struct xattr_ibody *ib, const uint8_t *buf, unsigned len)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	struct fs_inode *inode = ib->inode;
	uint8_t bytes[EXT_INLINE_BYTES] = {0};
	const unsigned head = MIN(len, (unsigned)EXT_INLINE_BYTES);
	LOCK_GUARD(&inode->meta);

	if (head > 0)
		memcpy(bytes, buf, head);
	fs_inode_block_bytes_set(inode, bytes);
	inode->flags = (inode->flags & ~(uint32_t)EXT_FL_EXTENTS) | EXT_FL_INLINE_DATA;
	inode->size_bytes = len;
	inode->datasync_tid = h->tid;
	return xattr_ibody_set(h, ib, &name, len > head ? buf + head : bytes, len - head);
}

int fs_inline_write(struct jnl_handle *h, struct fs_inode *inode, const void *buf, unsigned len)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	const unsigned behind = len > EXT_INLINE_BYTES ? len - EXT_INLINE_BYTES : 0;
	const int err = xattr_ibody_open(inode, &ib);

	if (err)
		return err;
	if (xattr_needs(&name, behind) > xattr_ibody_room(&ib, xattr_find(&ib.area, &name)))
		return -ENOSPC;
	return write_parts(h, &ib, buf, len);
}

int fs_inline_init(struct jnl_handle *h, struct fs_inode *inode)
{
	int err;

	if (!fs_has_incompat(inode->fs, EXT_INCOMPAT_INLINE_DATA))
		return 0;
	if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
		return 0;
	err = fs_inline_write(h, inode, NULL, 0);
	if (err == -ENOSPC)	/* no room for even the attribute: an ordinary inode */
		return 0;
	return err ? err : fs_map_init(inode);
}

int fs_inline_drop(struct jnl_handle *h, struct fs_inode *inode)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	int err = xattr_ibody_open(inode, &ib);

	if (err)
		return err;
	if (!xattr_find(&ib.area, &name))
		return no_attribute(inode);
	os_mutex_lock(&inode->meta);
	inode->flags &= ~(uint32_t)EXT_FL_INLINE_DATA;
	fs_map_new(inode);
	inode->size_bytes = 0;
	err = xattr_ibody_set(h, &ib, &name, NULL, 0);
	os_mutex_unlock(&inode->meta);
	return err ? err : fs_map_init(inode);
}
