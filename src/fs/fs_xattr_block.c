/*
 * fs_xattr_block.c: the attribute block of an inode. See fs_xattr.h.
 *
 * A block may belong to several inodes (images written elsewhere have such ones; we do not make
 * them). Its count changes under super_lock only, since their inode locks are different ones;
 * everything else in it changes only while the count is 1 (X3).
 */
#include <assert.h>

#include "fs/fs_xattr.h"

static struct ext_disk_xattr_header *header_of(const struct cache_buf *b)
{
	return b->data;
}

static uint32_t block_csum(const struct fs *fs, const struct cache_buf *b)
{
	return ext_xattr_block_csum(fs->csum_seed, b->pblk, b->data, fs->block_bytes);
}

static const char *header_check(const struct fs *fs, const struct cache_buf *b)
{
	const struct ext_disk_xattr_header *h = header_of(b);

	if (le32_get(h->h_magic) != EXT_XATTR_MAGIC)
		return "no magic number";
	if (le32_get(h->h_blocks) != 1 || le32_get(h->h_refcount) == 0)
		return "a count that cannot be";
	return NULL;
}

static int bad_block(const struct fs_inode *inode, const struct cache_buf *b, const char *what)
{
	log_error("%s: inode %" PRIu32 ": attribute block %" PRIu64 ": %s", blk_name(inode->fs->dev), inode->ino,
		  b->pblk, what);
	return -EUCLEAN;
}

static int check_block(void *owner, const struct cache_buf *b, const void *arg)
{
	const struct fs_inode *inode = arg;
	const char *what = header_check(inode->fs, b);

	(void)owner;
	if (!what && fs_has_csum(inode->fs) && le32_get(header_of(b)->h_checksum) != block_csum(inode->fs, b))
		what = "checksum does not match";
	return what ? bad_block(inode, b, what) : 0;
}

static const struct cache_kind xattr_kind = { "attributes", check_block };

static void area_of(const struct fs *fs, const struct cache_buf *b, struct xattr_area *a)
{
	a->base = b->data;
	a->first = a->base + sizeof(struct ext_disk_xattr_header);
	a->end = a->base + fs->block_bytes;
	a->is_block = true;
}

int xattr_block_open(struct fs_inode *inode, struct xattr_block *bk)
{
	struct fs *fs = inode->fs;
	const char *what;
	int err;

	*bk = (struct xattr_block){ .inode = inode };
	if (!inode->file_acl)
		return 0;
	if (!fs_data_blocks_ok(fs, inode->file_acl, 1)) {
		log_error("%s: inode %" PRIu32 ": attribute block: %" PRIu64 " is no data block", blk_name(fs->dev),
			  inode->ino, inode->file_acl);
		return fs_damaged(fs, inode->ino, inode->file_acl, -EUCLEAN);
	}
	err = cache_get(fs->cache, inode->file_acl, &xattr_kind, inode, &bk->b);
	if (err) {
		bk->b = NULL;
		return err == -EUCLEAN ? fs_damaged(fs, inode->ino, inode->file_acl, err) : err;
	}
	area_of(fs, bk->b, &bk->area);
	what = xattr_area_check(&bk->area);	/* X1 */
	if (!what)
		return 0;
	bk->area.base = NULL;
	return fs_damaged(fs, inode->ino, inode->file_acl, bad_block(inode, bk->b, what));
}

void xattr_block_close(struct xattr_block *bk)
{
	cache_put(bk->b);
	bk->b = NULL;
}

unsigned xattr_block_room(const struct xattr_block *bk, const struct ext_disk_xattr_entry *old)
{
	/* An empty block: the header, and the word behind the last entry. */
	if (!bk->b)
		return bk->inode->fs->block_bytes - (unsigned)sizeof(struct ext_disk_xattr_header) - 4;
	return xattr_area_room(&bk->area, old);
}

/* Hash and checksum over the contents as they are now. */
static void seal(const struct fs *fs, struct cache_buf *b)
{
	struct ext_disk_xattr_header *h = header_of(b);

	if (fs_has_csum(fs))
		h->h_checksum = le32_of(block_csum(fs, b));
}

static void rehash(struct xattr_block *bk)
{
	uint32_t hash = 0;

	xattr_for_each(e, &bk->area) {
		if (!le32_get(e->e_hash)) {	/* from an old writer: such blocks are not to be shared */
			hash = 0;
			break;
		}
		hash = (hash << 16) ^ (hash >> 16) ^ le32_get(e->e_hash);
	}
	header_of(bk->b)->h_hash = le32_of(hash);
}

static bool is_shared(const struct xattr_block *bk)
{
	LOCK_GUARD(&bk->inode->fs->super_lock);

	return le32_get(header_of(bk->b)->h_refcount) > 1;
}

/* Takes one from the count. False: we were the last, and nothing has changed. */
static bool drop_reference(struct jnl_handle *h, struct fs *fs, struct cache_buf *b)
{
	struct ext_disk_xattr_header *head = header_of(b);
	LOCK_GUARD(&fs->super_lock);

	if (le32_get(head->h_refcount) <= 1)
		return false;
	head->h_refcount = le32_of(le32_get(head->h_refcount) - 1);
	seal(fs, b);
	jnl_dirty(h, b);
	return true;
}

/* The inode no longer has this block: others keep it, or it is freed. */
static int block_leave(struct jnl_handle *h, struct fs_inode *inode, struct cache_buf *b)
{
	struct fs *fs = inode->fs;
	const int err = jnl_get_write(h, b);

	if (err)
		return err;
	if (!drop_reference(h, fs, b))
		return fs_blocks_free(h, inode, b->pblk, 1, true);
	os_mutex_lock(&inode->meta);
	inode->nr_sects -= MIN(inode->nr_sects, (uint64_t)fs->block_bytes >> SECT_SHIFT);
	os_mutex_unlock(&inode->meta);
	return 0;
}

static void set_file_acl(struct fs_inode *inode, pblk_t pblk)
{
	LOCK_GUARD(&inode->meta);

	inode->file_acl = pblk;
}

/* A block of our own, empty; not the inode's yet. */
static int block_new(struct jnl_handle *h, struct fs_inode *inode, struct cache_buf **out)
{
	struct fs *fs = inode->fs;
	struct ext_disk_xattr_header *head;
	uint32_t got;
	pblk_t pblk;
	int err = fs_blocks_alloc(h, inode, fs_blocks_goal(inode), 1, false, &pblk, &got);

	if (err)
		return err;
	err = cache_get_new(fs->cache, pblk, &xattr_kind, out);
	if (!err) {
		err = jnl_get_create(h, *out);
		if (err)
			cache_put(*out);
	}
	if (err) {
		const int free_err = fs_blocks_free(h, inode, pblk, 1, true);

		return free_err ? free_err : err;
	}
	head = header_of(*out);
	head->h_magic = le32_of(EXT_XATTR_MAGIC);
	head->h_refcount = head->h_blocks = le32_of(1);
	return 0;
}

/* bk becomes a block that may be changed: made, or copied when it is shared (X3). */
static int block_own(struct jnl_handle *h, struct xattr_block *bk)
{
	struct fs_inode *inode = bk->inode;
	struct cache_buf *old = bk->b, *b;
	int err;

	if (old && !is_shared(bk))
		return jnl_get_write(h, old);
	err = block_new(h, inode, &b);
	if (err)
		return err;
	if (old)
		memcpy((uint8_t *)b->data + sizeof(struct ext_disk_xattr_header),
		       (const uint8_t *)old->data + sizeof(struct ext_disk_xattr_header),
		       inode->fs->block_bytes - sizeof(struct ext_disk_xattr_header));
	set_file_acl(inode, b->pblk);
	bk->b = b;
	area_of(inode->fs, b, &bk->area);
	err = old ? block_leave(h, inode, old) : 0;
	cache_put(old);
	return err;
}

int xattr_block_free(struct jnl_handle *h, struct xattr_block *bk)
{
	int err;

	if (!bk->b)
		return 0;
	err = block_leave(h, bk->inode, bk->b);
	if (err)
		return err;
	set_file_acl(bk->inode, 0);
	xattr_block_close(bk);
	bk->area.base = NULL;
	return 0;
}

/* Would the block be empty without this entry? */
static bool is_only_entry(const struct xattr_block *bk, const struct ext_disk_xattr_entry *e)
{
	return (const uint8_t *)e == bk->area.first && xattr_is_last(xattr_next(e));
}

int xattr_block_set(struct jnl_handle *h, struct xattr_block *bk, const struct xattr_name *n, const void *value,
		    size_t len_bytes)
{
	struct ext_disk_xattr_entry *old = bk->b ? xattr_find(&bk->area, n) : NULL;
	int err;

	if (!value && !old)
		return 0;
	if (!value && is_only_entry(bk, old))
		return xattr_block_free(h, bk);
	err = block_own(h, bk);
	if (err)
		return err;
	old = xattr_find(&bk->area, n);
	if (old)
		xattr_remove(&bk->area, old);
	if (value)
		xattr_add(&bk->area, n, value, len_bytes);
	rehash(bk);
	seal(bk->inode->fs, bk->b);
	jnl_dirty(h, bk->b);
	return 0;
}
