/*
 * fs_acl.c: POSIX access control lists. System calls speak of them as a header and entries of
 * eight bytes (linux/posix_acl_xattr.h); on disk entries without an id have four.
 */
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>

#include "fs/fs_file.h"
#include "fs/fs_xattr.h"

struct disk_acl_header {
	le32 version;
};
struct disk_acl_entry {
	le16 tag, perm;
	le32 id;	/* of ACL_USER and ACL_GROUP only */
};
enum { DISK_VERSION = 1, SHORT_BYTES = 4, LONG_BYTES = 8 };
DISK_SIZE(struct disk_acl_entry, 8);

#define NAME_ACCESS (struct xattr_name){ EXT_XATTR_POSIX_ACL_ACCESS, 0, "" }
#define NAME_DEFAULT (struct xattr_name){ EXT_XATTR_POSIX_ACL_DEFAULT, 0, "" }

/* One entry, whichever form it comes from. */
struct acl_entry {
	unsigned tag, perm;
	uint32_t id;
};

static bool tag_has_id(unsigned tag)
{
	return tag == ACL_USER || tag == ACL_GROUP;
}

/* The order that entries have to come in: the tags once each, but for users and groups. */
struct acl_order {
	unsigned last_tag;
	bool need_mask;
};

static bool order_ok(struct acl_order *o, const struct acl_entry *e)
{
	const bool again = o->last_tag == e->tag && tag_has_id(e->tag);

	if (e->perm & ~7u)
		return false;
	if (tag_has_id(e->tag))
		o->need_mask = true;
	switch (e->tag) {	/* the tags' values rise in the order wanted */
	case ACL_USER_OBJ: case ACL_USER: case ACL_GROUP_OBJ: case ACL_GROUP: case ACL_MASK: case ACL_OTHER:
		break;
	default:
		return false;
	}
	if (e->tag <= o->last_tag && !again)
		return false;
	if (o->last_tag == 0 && e->tag != ACL_USER_OBJ)
		return false;
	if (e->tag > ACL_GROUP_OBJ && o->last_tag < ACL_GROUP_OBJ)
		return false;
	if (e->tag == ACL_OTHER && o->need_mask && o->last_tag != ACL_MASK)
		return false;
	o->last_tag = e->tag;
	return true;
}

/* From the form of system calls. */
static void xattr_entry(const void *acl, size_t i, struct acl_entry *e)
{
	struct posix_acl_xattr_entry raw;

	memcpy(&raw, (const uint8_t *)acl + sizeof(struct posix_acl_xattr_header) + i * sizeof(raw), sizeof(raw));
	*e = (struct acl_entry){ le16toh(raw.e_tag), le16toh(raw.e_perm), le32toh(raw.e_id) };
}

/* From the disk's form: the entry at *off, which moves behind it. False: cut off. */
static bool disk_entry(const void *disk, size_t len_bytes, size_t *off, struct acl_entry *e)
{
	struct disk_acl_entry raw = {0};
	size_t bytes = SHORT_BYTES;

	if (len_bytes - *off < SHORT_BYTES)
		return false;
	memcpy(&raw, (const uint8_t *)disk + *off, SHORT_BYTES);
	if (tag_has_id(le16_get(raw.tag))) {
		bytes = LONG_BYTES;
		if (len_bytes - *off < LONG_BYTES)
			return false;
		memcpy(&raw, (const uint8_t *)disk + *off, LONG_BYTES);
	}
	*e = (struct acl_entry){ le16_get(raw.tag), le16_get(raw.perm), le32_get(raw.id) };
	*off += bytes;
	return true;
}

static size_t put_disk_entry(uint8_t *at, const struct acl_entry *e)
{
	const struct disk_acl_entry raw = { le16_of((uint16_t)e->tag), le16_of((uint16_t)e->perm), le32_of(e->id) };
	const size_t bytes = tag_has_id(e->tag) ? LONG_BYTES : SHORT_BYTES;

	if (at)
		memcpy(at, &raw, bytes);
	return bytes;
}

int acl_to_disk(const void *acl, size_t len_bytes, void *buf, size_t cap)
{
	const struct disk_acl_header head = { le32_of(DISK_VERSION) };
	const size_t head_bytes = sizeof(struct posix_acl_xattr_header);
	struct posix_acl_xattr_header in;
	struct acl_order o = {0};
	size_t out = sizeof(head);
	struct acl_entry e;

	if (len_bytes < head_bytes || (len_bytes - head_bytes) % sizeof(struct posix_acl_xattr_entry))
		return -EINVAL;
	memcpy(&in, acl, sizeof(in));
	if (le32toh(in.a_version) != POSIX_ACL_XATTR_VERSION)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < (len_bytes - head_bytes) / sizeof(struct posix_acl_xattr_entry); i++) {
		xattr_entry(acl, i, &e);
		if (!order_ok(&o, &e))
			return -EINVAL;
		if (cap > 0 && out + LONG_BYTES > cap)
			return -ERANGE;
		out += put_disk_entry(cap > 0 ? (uint8_t *)buf + out : NULL, &e);
	}
	if (o.last_tag != ACL_OTHER)
		return -EINVAL;
	if (cap > 0)
		memcpy(buf, &head, sizeof(head));
	return (int)out;
}

int acl_from_disk(const void *disk, size_t len_bytes, void *buf, size_t cap)
{
	const struct posix_acl_xattr_header head = { htole32(POSIX_ACL_XATTR_VERSION) };
	size_t off = sizeof(struct disk_acl_header), out = sizeof(head);
	struct disk_acl_header in;
	struct acl_order o = {0};
	struct acl_entry e;

	if (len_bytes < sizeof(in))
		return -EINVAL;
	memcpy(&in, disk, sizeof(in));
	if (le32_get(in.version) != DISK_VERSION)
		return -EINVAL;
	while (off < len_bytes) {
		struct posix_acl_xattr_entry raw;

		if (!disk_entry(disk, len_bytes, &off, &e) || !order_ok(&o, &e))
			return -EINVAL;
		raw = (struct posix_acl_xattr_entry){ htole16((uint16_t)e.tag), htole16((uint16_t)e.perm),
			htole32(tag_has_id(e.tag) ? e.id : (uint32_t)ACL_UNDEFINED_ID) };
		if (cap > 0) {
			if (out + sizeof(raw) > cap)
				return -ERANGE;
			memcpy((uint8_t *)buf + out, &raw, sizeof(raw));
		}
		out += sizeof(raw);
	}
	if (o.last_tag != ACL_OTHER)
		return -EINVAL;
	if (cap > 0) {
		if (cap < sizeof(head))
			return -ERANGE;
		memcpy(buf, &head, sizeof(head));
	}
	return (int)out;
}

/* ACL and mode ------------------------------------------------------------------------ */

/* Changes the permissions of an entry that stands for the mode's bits at shift. */
typedef unsigned acl_perm_fn(unsigned perm, unsigned shift, void *arg);

static void entry_apply(uint8_t *entry, unsigned shift, acl_perm_fn *fn, void *arg)
{
	le16 perm;

	memcpy(&perm, entry + offsetof(struct disk_acl_entry, perm), sizeof(perm));
	perm = le16_of((uint16_t)fn(le16_get(perm), shift, arg));
	memcpy(entry + offsetof(struct disk_acl_entry, perm), &perm, sizeof(perm));
}

/*
 * Applies fn to the three entries that stand for the mode; for the group that is the mask where
 * there is one. Returns whether the ACL says more than a mode can; -EINVAL for a damaged one.
 */
static int acl_for_mode(uint8_t *disk, size_t len_bytes, acl_perm_fn *fn, void *arg)
{
	uint8_t *group = NULL, *mask = NULL;
	size_t off = sizeof(struct disk_acl_header);
	bool says_more = false;
	struct acl_entry e;

	while (off < len_bytes) {
		uint8_t *const at = disk + off;

		if (!disk_entry(disk, len_bytes, &off, &e))
			return -EINVAL;
		if (e.tag == ACL_USER_OBJ || e.tag == ACL_OTHER) {
			entry_apply(at, e.tag == ACL_USER_OBJ ? 6 : 0, fn, arg);
		} else if (e.tag == ACL_GROUP_OBJ) {
			group = at;
		} else {
			says_more = true;
			if (e.tag == ACL_MASK)
				mask = at;
		}
	}
	if (!group)
		return -EINVAL;
	entry_apply(mask ? mask : group, 3, fn, arg);
	return says_more;
}

/* The mode takes the ACL's permissions. */
static unsigned perm_to_mode(unsigned perm, unsigned shift, void *arg)
{
	uint16_t *mode = arg;

	*mode = (uint16_t)((*mode & ~(7u << shift)) | perm << shift);
	return perm;
}

/* The ACL takes the mode's permissions. */
static unsigned perm_from_mode(unsigned perm, unsigned shift, void *arg)
{
	const uint16_t *mode = arg;

	(void)perm;
	return *mode >> shift & 7;
}

/* Both keep what they have in common: creation with a default ACL. */
static unsigned perm_common(unsigned perm, unsigned shift, void *arg)
{
	uint16_t *mode = arg;

	perm &= *mode >> shift;
	*mode = (uint16_t)((*mode & ~(7u << shift)) | perm << shift);
	return perm;
}

static void set_mode(struct fs_inode *inode, uint16_t mode)
{
	LOCK_GUARD(&inode->meta);

	inode->mode = mode;
}

/* An ACL that says no more than the mode is not kept. */
static int set_access(struct jnl_handle *h, struct fs_inode *inode, uint8_t *disk, size_t len_bytes, int flags)
{
	const uint16_t old_mode = inode->mode;
	uint16_t mode = old_mode;
	const int says_more = acl_for_mode(disk, len_bytes, perm_to_mode, &mode);
	int err;

	if (says_more < 0)
		return says_more;
	set_mode(inode, mode);
	if (says_more) {
		err = xattr_set(h, inode, &NAME_ACCESS, disk, len_bytes, flags);
	} else {
		err = xattr_set(h, inode, &NAME_ACCESS, NULL, 0, 0);
		if (err == -ENODATA)
			err = fs_file_store(h, inode, false);
	}
	if (err)
		set_mode(inode, old_mode);
	return err;
}

static int set_converted(struct jnl_handle *h, struct fs_inode *inode, const struct xattr_name *n, uint8_t *disk,
			 size_t len_bytes, int flags)
{
	if (n->index == EXT_XATTR_POSIX_ACL_ACCESS)
		return set_access(h, inode, disk, len_bytes, flags);
	return xattr_set(h, inode, n, disk, len_bytes, flags);
}

int acl_set(struct jnl_handle *h, struct fs_inode *inode, const struct xattr_name *n, const void *acl,
	    size_t len_bytes, int flags)
{
	uint8_t *disk;
	int len;

	if (S_ISLNK(inode->mode))
		return -EOPNOTSUPP;
	if (acl && n->index == EXT_XATTR_POSIX_ACL_DEFAULT && !S_ISDIR(inode->mode))
		return -EACCES;
	if (!acl || len_bytes == 0) {
		const int err = xattr_set(h, inode, n, NULL, 0, 0);

		return err == -ENODATA && acl ? 0 : err;	/* an empty one is set by having none */
	}
	len = acl_to_disk(acl, len_bytes, NULL, 0);
	if (len < 0)
		return len;
	disk = malloc((size_t)len + LONG_BYTES);
	if (!disk)
		return -ENOMEM;
	len = acl_to_disk(acl, len_bytes, disk, (size_t)len + LONG_BYTES);
	if (len >= 0)
		len = set_converted(h, inode, n, disk, (size_t)len, flags);
	free(disk);
	return len;
}

/* The value as it lies on disk, malloc'ed; *len. -ENODATA. */
static int load(struct fs_inode *inode, const struct xattr_name *n, uint8_t **disk, size_t *len)
{
	int err = xattr_get(inode, n, NULL, 0);

	if (err < 0)
		return err;
	*len = (size_t)err;
	*disk = malloc(*len + 1);
	if (!*disk)
		return -ENOMEM;
	err = xattr_get(inode, n, *disk, *len + 1);
	if (err >= 0)
		err = acl_from_disk(*disk, *len, NULL, 0);	/* checks it */
	if (err >= 0)
		return 0;
	free(*disk);
	if (err != -EINVAL)
		return err;
	log_error("%s: inode %" PRIu32 ": the access control list is none", blk_name(inode->fs->dev), inode->ino);
	return fs_damaged(inode->fs, inode->ino, 0, -EUCLEAN);
}

int fs_acl_chmod(struct jnl_handle *h, struct fs_inode *inode)
{
	uint16_t mode = inode->mode;
	uint8_t *disk;
	size_t len;
	int err = load(inode, &NAME_ACCESS, &disk, &len);

	if (err)
		return err == -ENODATA ? 0 : err;
	err = acl_for_mode(disk, len, perm_from_mode, &mode);
	if (err >= 0)
		err = xattr_set(h, inode, &NAME_ACCESS, disk, len, 0);
	free(disk);
	return err;
}

/* disk is dir's default ACL; the new inode's access ACL is made from it in place. */
static int inherit(struct jnl_handle *h, struct fs_inode *inode, uint8_t *disk, size_t len)
{
	uint16_t mode = inode->mode;
	int err = S_ISDIR(inode->mode) ? xattr_set(h, inode, &NAME_DEFAULT, disk, len, 0) : 0;

	if (err)
		return err;
	err = acl_for_mode(disk, len, perm_common, &mode);
	if (err < 0)
		return err;
	set_mode(inode, mode);
	return err > 0 ? xattr_set(h, inode, &NAME_ACCESS, disk, len, 0) : 0;
}

int fs_xattr_inherit(struct jnl_handle *h, struct fs_inode *dir, struct fs_inode *inode)
{
	uint8_t *disk;
	size_t len;
	int err;

	if (S_ISLNK(inode->mode))
		return 0;
	err = load(dir, &NAME_DEFAULT, &disk, &len);
	if (err)
		return err == -ENODATA ? 0 : err;
	err = inherit(h, inode, disk, len);
	free(disk);
	return err;
}
