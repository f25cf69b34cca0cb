/*
 * fs_xattr.c: attributes by name: prefixes, the choice between the two areas, the calls of fs.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "fs/fs_file.h"
#include "fs/fs_xattr.h"

enum { VALUE_MAX_BYTES = 65536, NAME_MAX_BYTES = 255 };	/* of the system calls */

static const struct prefix {
	const char *text;
	uint8_t index;
	bool whole;	/* the text is the whole name */
	bool is_acl;
} prefixes[] = {
	{ "user.", EXT_XATTR_USER, false, false },
	{ "system.posix_acl_access", EXT_XATTR_POSIX_ACL_ACCESS, true, true },
	{ "system.posix_acl_default", EXT_XATTR_POSIX_ACL_DEFAULT, true, true },
	{ "trusted.", EXT_XATTR_TRUSTED, false, false },
	{ "security.", EXT_XATTR_SECURITY, false, false },
};

static int name_parse(const char *text, struct xattr_name *n, const struct prefix **prefix)
{
	const size_t len = strlen(text);

	if (len > NAME_MAX_BYTES)
		return -ERANGE;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		const struct prefix *p = &prefixes[i];
		const size_t head = strlen(p->text);

		if (len < head || memcmp(text, p->text, head) || (p->whole && len != head))
			continue;
		if (!p->whole && len == head)
			return -EINVAL;
		*n = (struct xattr_name){ p->index, (uint8_t)(len - head), text + head };
		*prefix = p;
		return 0;
	}
	return -EOPNOTSUPP;
}

/* Both areas ------------------------------------------------------------------------ */

static int copy_value(const struct xattr_area *a, const struct ext_disk_xattr_entry *e, void *buf, size_t cap)
{
	const size_t len = le32_get(e->e_value_size);

	if (cap == 0)
		return (int)len;
	if (len > cap)
		return -ERANGE;
	if (len > 0)
		memcpy(buf, xattr_value(a, e), len);
	return (int)len;
}

int xattr_get(struct fs_inode *inode, const struct xattr_name *n, void *buf, size_t cap)
{
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	CLEANUP_XBLOCK struct xattr_block bk = {0};
	const struct ext_disk_xattr_entry *e;
	int err = xattr_ibody_open(inode, &ib);

	if (err)
		return err;
	e = xattr_find(&ib.area, n);
	if (e)
		return copy_value(&ib.area, e, buf, cap);
	err = xattr_block_open(inode, &bk);
	if (err)
		return err;
	e = xattr_find(&bk.area, n);
	return e ? copy_value(&bk.area, e, buf, cap) : -ENODATA;
}

/* Attributes are in use: the superblock has to say so. */
static int need_feature(struct jnl_handle *h, struct fs *fs)
{
	bool there;

	if (likely(fs_has_compat(fs, EXT_COMPAT_EXT_ATTR)))
		return 0;
	os_mutex_lock(&fs->super_lock);
	there = le32_get(fs->super.s_feature_compat) & EXT_COMPAT_EXT_ATTR;
	fs->super.s_feature_compat = le32_of(le32_get(fs->super.s_feature_compat) | EXT_COMPAT_EXT_ATTR);
	os_mutex_unlock(&fs->super_lock);
	return there ? 0 : fs_super_store(h, fs);
}

static int ibody_set(struct jnl_handle *h, struct xattr_ibody *ib, const struct xattr_name *n, const void *value,
		     size_t len_bytes)
{
	LOCK_GUARD(&ib->inode->meta);

	return xattr_ibody_set(h, ib, n, value, len_bytes);
}

/* Into the inode where there is room, else into the block; and out of the other one (X2). */
static int place(struct jnl_handle *h, struct xattr_ibody *ib, struct xattr_block *bk, const struct xattr_name *n,
		 const void *value, size_t len_bytes)
{
	const struct ext_disk_xattr_entry *in_ibody = xattr_find(&ib->area, n);
	const struct ext_disk_xattr_entry *in_block = xattr_find(&bk->area, n);
	const unsigned needed = value ? xattr_needs(n, len_bytes) : 0;
	int err;

	if (value && needed > xattr_ibody_room(ib, in_ibody)) {
		if (needed > xattr_block_room(bk, in_block))
			return -ENOSPC;
		err = xattr_block_set(h, bk, n, value, len_bytes);
		return !err && in_ibody ? ibody_set(h, ib, n, NULL, 0) : err;
	}
	err = in_block ? xattr_block_set(h, bk, n, NULL, 0) : 0;
	if (!err && (value || in_ibody))
		err = ibody_set(h, ib, n, value, len_bytes);
	return err;
}

int xattr_set(struct jnl_handle *h, struct fs_inode *inode, const struct xattr_name *n, const void *value,
	      size_t len_bytes, int flags)
{
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	CLEANUP_XBLOCK struct xattr_block bk = {0};
	bool there;
	int err = xattr_ibody_open(inode, &ib);

	if (!err)
		err = xattr_block_open(inode, &bk);
	if (err)
		return err;
	there = xattr_find(&ib.area, n) || xattr_find(&bk.area, n);
	if (there && flags & XATTR_CREATE)
		return -EEXIST;
	if (!there && (!value || flags & XATTR_REPLACE))
		return -ENODATA;
	err = place(h, &ib, &bk, n, value, len_bytes);
	if (!err && value)
		err = need_feature(h, inode->fs);
	return err ? err : fs_file_store(h, inode, false);
}

int fs_xattr_free(struct jnl_handle *h, struct fs_inode *inode)
{
	CLEANUP_XBLOCK struct xattr_block bk = {0};
	int err;

	if (!inode->file_acl)
		return 0;
	err = xattr_block_open(inode, &bk);
	if (err == -EUCLEAN) {	/* nothing that could be freed with confidence */
		LOCK_GUARD(&inode->meta);

		inode->file_acl = 0;
		return err;
	}
	return err ? err : xattr_block_free(h, &bk);
}

/* The calls ------------------------------------------------------------------------- */

static int get_acl(struct fs_inode *inode, const struct xattr_name *n, void *buf, size_t cap)
{
	int len = xattr_get(inode, n, NULL, 0), err;
	void *disk;

	if (len < 0)
		return len;
	disk = malloc((size_t)len + 1);
	if (!disk)
		return -ENOMEM;
	err = xattr_get(inode, n, disk, (size_t)len + 1);
	if (err >= 0)
		err = acl_from_disk(disk, (size_t)err, buf, cap);
	free(disk);
	return err == -EINVAL ? -EUCLEAN : err;
}

int fs_getxattr(struct fs *fs, ino_nr_t ino, const char *name, void *buf, size_t cap)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	const struct prefix *p;
	struct xattr_name n;
	int err = name_parse(name, &n, &p);

	if (!err)
		err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	os_rwlock_rdlock_key(&inode->lock, ino);
	err = p->is_acl ? get_acl(inode, &n, buf, cap) : xattr_get(inode, &n, buf, cap);
	os_rwlock_unlock(&inode->lock);
	return err;
}

struct listing {
	char *buf;
	size_t cap, len;
};

/* Names without a prefix that we know (inline contents, say) are not shown. */
static int list_entry_name(struct listing *l, const struct ext_disk_xattr_entry *e)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		const struct prefix *p = &prefixes[i];
		const size_t head = strlen(p->text), len = head + e->e_name_len + 1;

		if (p->index != e->e_name_index || (p->whole && e->e_name_len > 0))
			continue;
		if (l->cap > 0) {
			if (len > l->cap - l->len)
				return -ERANGE;
			memcpy(l->buf + l->len, p->text, head);
			memcpy(l->buf + l->len + head, e->e_name, e->e_name_len);
			l->buf[l->len + len - 1] = '\0';
		}
		l->len += len;
		break;
	}
	return 0;
}

static int list_area(struct listing *l, const struct xattr_area *a)
{
	xattr_for_each(e, a) {
		const int err = list_entry_name(l, e);

		if (err)
			return err;
	}
	return 0;
}

static int list_locked(struct fs_inode *inode, struct listing *l)
{
	CLEANUP_IBODY struct xattr_ibody ib = {0};
	CLEANUP_XBLOCK struct xattr_block bk = {0};
	int err = xattr_ibody_open(inode, &ib);

	if (!err)
		err = xattr_block_open(inode, &bk);
	if (!err)
		err = list_area(l, &ib.area);
	if (!err)
		err = list_area(l, &bk.area);
	return err ? err : (int)l->len;
}

int fs_listxattr(struct fs *fs, ino_nr_t ino, char *buf, size_t cap)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	struct listing l = { .buf = buf, .cap = cap };
	int err = fs_iget(fs, ino, &inode);

	if (err)
		return err;
	os_rwlock_rdlock_key(&inode->lock, ino);
	err = list_locked(inode, &l);
	os_rwlock_unlock(&inode->lock);
	return err;
}

/* value NULL: remove. */
static int change_locked(struct fs_inode *inode, const struct prefix *p, const struct xattr_name *n,
			 const void *value, size_t len_bytes, int flags)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err;

	if (inode->flags & (EXT_FL_IMMUTABLE | EXT_FL_APPEND))
		return -EPERM;
	err = jnl_begin(inode->fs->jnl, fs_credits_xattr(inode->fs), &h);
	if (err)
		return err;
	if (p->is_acl)
		err = acl_set(&h, inode, n, value, len_bytes, flags);
	else
		err = xattr_set(&h, inode, n, value, len_bytes, flags);
	return err ? err : jnl_end(&h);
}

static int change(struct fs *fs, ino_nr_t ino, const char *name, const void *value, size_t len_bytes, int flags)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	const struct prefix *p;
	struct xattr_name n;
	unsigned nr_tries = 0;
	int err = fs_writable(fs);

	if (!err)
		err = name_parse(name, &n, &p);
	if (!err)
		err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	os_rwlock_wrlock_key(&inode->lock, ino);
	do
		err = change_locked(inode, p, &n, value, len_bytes, flags);
	while (fs_nospc_retry(fs, err, &nr_tries));
	os_rwlock_unlock(&inode->lock);
	return err;
}

int fs_setxattr(struct fs *fs, ino_nr_t ino, const char *name, const void *buf, size_t len_bytes, int flags)
{
	if (len_bytes > VALUE_MAX_BYTES)
		return -E2BIG;
	return change(fs, ino, name, len_bytes > 0 ? buf : "", len_bytes, flags);
}

int fs_removexattr(struct fs *fs, ino_nr_t ino, const char *name)
{
	return change(fs, ino, name, NULL, 0, 0);
}
