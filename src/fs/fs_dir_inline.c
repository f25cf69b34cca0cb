/*
 * fs_dir_inline.c: a small directory within its inode: the parent's number (4 bytes), a chain
 * of entries in the rest of i_block, and another in what lies behind the inode. There is no "."
 * and no "..". An entry does not cross from one chain to the other.
 *
 * Operations work on a copy and write it back as a whole. When a directory becomes a block,
 * its chains are taken over as they lie, so that places in the listing stay what they were.
 */
#include "fs/fs_dir_int.h"

enum { PARENT_BYTES = 4 };

/* A copy ------------------------------------------------------------------------------------------ */

static void set_parts(struct fs_dir_inline *in)
{
	in->part[0] = (struct fs_chain){ in->buf + PARENT_BYTES, EXT_INLINE_BYTES - PARENT_BYTES };
	in->part[1] = (struct fs_chain){ in->buf + EXT_INLINE_BYTES, in->len - EXT_INLINE_BYTES };
	in->nr_parts = in->part[1].len ? 2 : 1;
}

static int inline_alloc(struct fs_inode *dir, struct fs_dir_inline *in)
{
	*in = (struct fs_dir_inline){ .alloc = dir->fs->alloc };
	while ((uint32_t)ALLOC_PAGE_BYTES << in->order < dir->fs->inode_bytes + EXT_INLINE_BYTES)
		in->order++;
	in->buf = alloc_pages(in->alloc, in->order);
	return in->buf ? 0 : -ENOMEM;
}

static int inline_check(struct fs_inode *dir, const struct fs_dir_inline *in)
{
	unsigned off;

	for (unsigned i = 0; i < in->nr_parts; i++) {
		const char *fault = fs_chain_fault(&in->part[i], dir->fs->nr_inodes, &off);

		if (fault)
			return fs_dir_damaged(dir, 0, "entries in the inode, part %u, offset %u: %s", i, off, fault);
	}
	return 0;
}

int fs_dir_inline_load(struct fs_inode *dir, struct fs_dir_inline *in)
{
	int err = inline_alloc(dir, in);

	if (err)
		return err;
	if (dir->size_bytes < EXT_INLINE_BYTES || dir->size_bytes > dir->fs->inode_bytes)
		return fs_dir_damaged(dir, 0, "%" PRIu64 " bytes of entries in the inode", dir->size_bytes);
	in->len = (unsigned)dir->size_bytes;
	set_parts(in);
	err = fs_inline_read(dir, in->buf, 0, in->len);
	return err ? err : inline_check(dir, in);
}

void fs_dir_inline_done(struct fs_dir_inline *in)
{
	if (in->buf)
		alloc_pages_free(in->alloc, in->buf, in->order);
}

static le32 *parent_of(const struct fs_dir_inline *in)
{
	return (le32 *)in->buf;
}

/* The copy becomes the contents; size and inode go along. */
static int inline_store(struct jnl_handle *h, struct fs_inode *dir, const struct fs_dir_inline *in)
{
	return fs_inline_write(h, dir, in->buf, in->len);
}

struct place {
	struct fs_chain *chain;		/* NULL: not there */
	unsigned off, before;
};

static struct place find(struct fs_dir_inline *in, struct fs_name name)
{
	for (unsigned i = 0; i < in->nr_parts; i++) {
		struct place p = { .chain = &in->part[i] };

		p.off = fs_chain_find(p.chain, name, &p.before);
		if (p.off != NO_OFF)
			return p;
	}
	return (struct place){ 0 };
}

static struct ext_disk_dirent *dirent_at(const struct place *p)
{
	return (struct ext_disk_dirent *)(p->chain->p + p->off);
}

unsigned fs_dir_inline_block_off(const struct fs_dir_inline *in, unsigned part)
{
	return 2 * DIR_DOT_BYTES - PARENT_BYTES + (unsigned)(in->part[part].p - in->buf);
}

/* Calls ----------------------------------------------------------------------------------------- */

int fs_dir_inline_init(struct jnl_handle *h, struct fs_inode *dir, ino_nr_t parent)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	int err = inline_alloc(dir, &in);

	if (!err)
		err = fs_inline_init(h, dir);
	if (err)
		return err;
	in.len = EXT_INLINE_BYTES;
	set_parts(&in);
	memset(in.buf, 0, in.len);
	*parent_of(&in) = le32_of(parent);
	fs_chain_clear(&in.part[0]);
	return inline_store(h, dir, &in);
}

int fs_dir_inline_find(struct fs_inode *dir, struct fs_name name, ino_nr_t *ino, unsigned *type)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	struct place p;
	int err = fs_dir_inline_load(dir, &in);

	if (err)
		return err;
	p = find(&in, name);
	if (!p.chain)
		return -ENOENT;
	*ino = le32_get(dirent_at(&p)->inode);
	*type = dirent_at(&p)->file_type;
	return 0;
}

int fs_dir_inline_parent(struct fs_inode *dir, ino_nr_t *ino)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	int err = fs_dir_inline_load(dir, &in);

	if (!err)
		*ino = le32_get(*parent_of(&in));
	return err;
}

/* Makes the second chain as long as the inode has room for. */
static bool extend(struct fs_inode *dir, struct fs_dir_inline *in)
{
	const unsigned room = ALIGN_DOWN(fs_inline_max_bytes(dir), 4u), was = in->part[1].len;

	if (room > dir->fs->inode_bytes || room < in->len + DIRENT_MIN_BYTES)
		return false;
	memset(in->buf + in->len, 0, room - in->len);
	in->len = room;
	set_parts(in);
	fs_chain_extend(&in->part[1], was);
	return true;
}

static bool put(struct fs_dir_inline *in, struct fs_name name, ino_nr_t ino, unsigned type)
{
	for (unsigned i = 0; i < in->nr_parts; i++) {
		const unsigned gap = fs_chain_gap(&in->part[i], fs_dirent_bytes(name.len));

		if (gap != NO_OFF) {
			fs_chain_put(&in->part[i], gap, name, ino, type);
			return true;
		}
	}
	return false;
}

int fs_dir_inline_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	int err = fs_dir_inline_load(dir, &in);

	if (err)
		return err;
	if (!put(&in, name, ino, type) && !(extend(dir, &in) && put(&in, name, ino, type)))
		return -ENOSPC;
	return inline_store(h, dir, &in);
}

int fs_dir_inline_remove(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	struct place p;
	int err = fs_dir_inline_load(dir, &in);

	if (err)
		return err;
	p = find(&in, name);
	if (!p.chain)
		return -ENOENT;
	fs_chain_remove(p.chain, p.off, p.before);
	return inline_store(h, dir, &in);
}

int fs_dir_inline_set(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	struct place p;
	int err = fs_dir_inline_load(dir, &in);

	if (err)
		return err;
	if (fs_name_dots(name) == 2) {
		*parent_of(&in) = le32_of(ino);
		return inline_store(h, dir, &in);
	}
	p = find(&in, name);
	if (!p.chain)
		return -ENOENT;
	dirent_at(&p)->inode = le32_of(ino);
	dirent_at(&p)->file_type = (uint8_t)type;
	return inline_store(h, dir, &in);
}

int fs_dir_inline_is_empty(struct fs_inode *dir)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	struct ext_disk_dirent *de;
	unsigned off;
	int err = fs_dir_inline_load(dir, &in);

	if (err)
		return err;
	for (unsigned i = 0; i < in.nr_parts; i++)
		fs_chain_for_each(de, off, &in.part[i])
			if (de->inode.raw)
				return 0;
	return 1;
}

/* To a block -------------------------------------------------------------------------------------- */

static void fill_block(struct fs_inode *dir, struct cache_buf *b, const struct fs_dir_inline *in)
{
	const struct fs_chain chain = fs_dir_chain(dir, b);
	const unsigned start = 2 * DIR_DOT_BYTES;

	fs_dir_leaf_init(dir, b);
	fs_dir_put_dots(dir, &chain, le32_get(*parent_of(in)));
	((struct ext_disk_dirent *)(chain.p + DIR_DOT_BYTES))->rec_len = fs_dirent_rec_len_of(DIR_DOT_BYTES);
	memcpy(chain.p + start, in->buf + PARENT_BYTES, in->len - PARENT_BYTES);
	fs_chain_extend(&chain, start + in->len - PARENT_BYTES);
}

int fs_dir_inline_to_block(struct jnl_handle *h, struct fs_inode *dir)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	CLEANUP_BUF struct cache_buf *b = NULL;
	int err = fs_dir_inline_load(dir, &in);

	if (!err)
		err = fs_inline_drop(h, dir);
	if (err)
		return err;
	os_mutex_lock(&dir->meta);
	dir->size_bytes = 0;
	os_mutex_unlock(&dir->meta);
	err = fs_dir_grow(h, dir, 1, &b);
	if (!err) {
		fill_block(dir, b, &in);
		fs_dir_block_changed(h, dir, b);
		return fs_dir_touch(h, dir, false);
	}
	b = NULL;
	if (fs_inline_init(h, dir) || inline_store(h, dir, &in))
		return fs_dir_damaged(dir, 0, "its entries could not be put back into the inode");
	return err;
}
