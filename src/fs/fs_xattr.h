/*
 * fs_xattr.h: extended attributes as they lie on disk, for fs_xattr*.c, fs_acl.c and fs_inline.c.
 *
 * An area is a list of entries that grows up and values that grow down towards it. An inode has
 * up to two: the rest of its own record behind i_extra_isize ("ibody") and one block, which
 * inodes with equal attributes may share (h_refcount).
 *
 *   X1  An area is checked each time before it is used; all offsets in it are good from then on.
 *   X2  An attribute is in one of the two areas, never in both.
 *   X3  A shared block does not change but for its count; who changes attributes gets a copy.
 */
#ifndef OSFS_FS_XATTR_H
#define OSFS_FS_XATTR_H

#include "fs/fs_int.h"

/* A name without its prefix; index stands for that (EXT_XATTR_*). */
struct xattr_name {
	uint8_t index, len;
	const char *s;
};
#define XATTR_NAME_DATA (struct xattr_name){ EXT_XATTR_SYSTEM, 4, "data" }	/* inline contents */

/* fs_xattr_area.c ------------------------------------------------------------------ */
struct xattr_area {
	uint8_t *base;		/* value offsets count from here; NULL: there is no such area */
	uint8_t *first;		/* first entry */
	uint8_t *end;		/* behind the last value */
	bool is_block;		/* entries are sorted and have hashes */
};

static inline bool xattr_is_last(const void *entry)
{
	uint32_t word;

	memcpy(&word, entry, sizeof(word));
	return word == 0;
}
static inline struct ext_disk_xattr_entry *xattr_next(const struct ext_disk_xattr_entry *e)
{
	return (struct ext_disk_xattr_entry *)((uintptr_t)e + sizeof(*e) + ALIGN_UP((unsigned)e->e_name_len, 4));
}
static inline uint8_t *xattr_value(const struct xattr_area *a, const struct ext_disk_xattr_entry *e)
{
	return a->base + le16_get(e->e_value_offs);
}
#define xattr_for_each(e, a)									\
	for (struct ext_disk_xattr_entry *e = (struct ext_disk_xattr_entry *)(a)->first;	\
	     (a)->base && !xattr_is_last(e); e = xattr_next(e))

/* NULL, or what is wrong (X1). */
const char *xattr_area_check(const struct xattr_area *a);
struct ext_disk_xattr_entry *xattr_find(const struct xattr_area *a, const struct xattr_name *n);
/* Bytes that entry and value may take when old (NULL: none) goes. */
unsigned xattr_area_room(const struct xattr_area *a, const struct ext_disk_xattr_entry *old);
/* What an attribute takes. */
unsigned xattr_needs(const struct xattr_name *n, size_t len_bytes);
void xattr_remove(const struct xattr_area *a, struct ext_disk_xattr_entry *e);
/* It is not there, and fits. */
void xattr_add(const struct xattr_area *a, const struct xattr_name *n, const void *value, size_t len_bytes);

/* fs_xattr_ibody.c ----------------------------------------------------------------- */
struct xattr_ibody {
	struct fs_inode *inode;
	struct cache_buf *b;		/* of the inode table, pinned; NULL: the inode has no room for attributes */
	struct xattr_area area;		/* base NULL: room, but not in use yet */
};
/* -EUCLEAN (logged), -EIO. xattr_ibody_close() in any case. */
MUST_CHECK int xattr_ibody_open(struct fs_inode *inode, struct xattr_ibody *ib);
void xattr_ibody_close(struct xattr_ibody *ib);
#define CLEANUP_IBODY __attribute__((cleanup(xattr_ibody_close)))
/* Bytes for entry and value when old goes; 0 when there is no area at all. */
unsigned xattr_ibody_room(const struct xattr_ibody *ib, const struct ext_disk_xattr_entry *old);
/* Sets (value NULL: removes what is there) and stores the inode. meta held. It fits. Credits: 1. */
MUST_CHECK int xattr_ibody_set(struct jnl_handle *h, struct xattr_ibody *ib, const struct xattr_name *n,
			       const void *value, size_t len_bytes);

/* fs_xattr_block.c ----------------------------------------------------------------- */
struct xattr_block {
	struct fs_inode *inode;
	struct cache_buf *b;		/* NULL: the inode has none */
	struct xattr_area area;
};
MUST_CHECK int xattr_block_open(struct fs_inode *inode, struct xattr_block *bk);
void xattr_block_close(struct xattr_block *bk);
#define CLEANUP_XBLOCK __attribute__((cleanup(xattr_block_close)))
unsigned xattr_block_room(const struct xattr_block *bk, const struct ext_disk_xattr_entry *old);
/*
 * Sets, or removes with value NULL. Makes, copies (X3) or frees the block as it has to; the
 * inode's file_acl and nr_sects change in memory (takes meta), the caller stores it.
 * -ENOSPC: nothing has changed. Credits: those of fs_credits_xattr.
 */
MUST_CHECK int xattr_block_set(struct jnl_handle *h, struct xattr_block *bk, const struct xattr_name *n,
			       const void *value, size_t len_bytes);
MUST_CHECK int xattr_block_free(struct jnl_handle *h, struct xattr_block *bk);

/* fs_xattr.c ----------------------------------------------------------------------- */
/* Length of the value, copied when cap is not 0. -ENODATA, -ERANGE. inode->lock held. */
MUST_CHECK int xattr_get(struct fs_inode *inode, const struct xattr_name *n, void *buf, size_t cap);
/* value NULL: remove. flags: XATTR_CREATE, XATTR_REPLACE. Stores the inode. inode->lock held exclusively. */
MUST_CHECK int xattr_set(struct jnl_handle *h, struct fs_inode *inode, const struct xattr_name *n,
			 const void *value, size_t len_bytes, int flags);

/* fs_acl.c: POSIX ACLs, which look different on disk and in system calls -------------- */
/* Both: length of the result, copied when cap is not 0; -EINVAL for what is no ACL. */
MUST_CHECK int acl_to_disk(const void *acl, size_t len_bytes, void *buf, size_t cap);
MUST_CHECK int acl_from_disk(const void *disk, size_t len_bytes, void *buf, size_t cap);
/*
 * Sets the ACL of this name, given in the form of system calls (acl NULL: removes it). The mode
 * follows an access ACL; one that says no more than the mode is not kept. Credits: xattr.
 */
MUST_CHECK int acl_set(struct jnl_handle *h, struct fs_inode *inode, const struct xattr_name *n, const void *acl,
		       size_t len_bytes, int flags);
/*
 * After a change of inode->mode: the access ACL follows (chmod; called by fs_setattr).
 * inode->lock held exclusively, no meta. Credits: xattr.
 */
MUST_CHECK int fs_acl_chmod(struct jnl_handle *h, struct fs_inode *inode);

#endif
