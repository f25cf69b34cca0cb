/*
 * fs_dir.c: entries of a directory, whatever its format: in the inode, in blocks one after the
 * other, or in blocks behind an index. An index that is damaged is left alone: names are then
 * looked for in all blocks, and new ones are refused until e2fsck has made a new one.
 */
#include "fs/fs_dir_int.h"

/* Where an entry in a block is. */
struct slot {
	struct cache_buf *b;
	lblk_t lblk;
	unsigned off, before;
};

static void slot_done(struct slot *s)
{
	cache_put(s->b);
}
#define CLEANUP_SLOT __attribute__((cleanup(slot_done)))

static struct ext_disk_dirent *slot_dirent(const struct slot *s)
{
	return (struct ext_disk_dirent *)((uint8_t *)s->b->data + s->off);
}

unsigned fs_dir_type_of(const struct fs *fs, uint32_t mode)
{
	if (!fs_has_filetype(fs))
		return EXT_FT_UNKNOWN;
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT_FT_REG;
	case S_IFDIR:
		return EXT_FT_DIR;
	case S_IFCHR:
		return EXT_FT_CHR;
	case S_IFBLK:
		return EXT_FT_BLK;
	case S_IFIFO:
		return EXT_FT_FIFO;
	case S_IFSOCK:
		return EXT_FT_SOCK;
	case S_IFLNK:
		return EXT_FT_SYMLINK;
	default:
		return EXT_FT_UNKNOWN;
	}
}

/* Look-up in blocks ----------------------------------------------------------------------------- */

/* Is name in this block? Then the slot has it; else the block is put. */
static bool block_find(struct fs_inode *dir, struct cache_buf *b, lblk_t lblk, struct fs_name name, struct slot *s)
{
	const struct fs_chain chain = fs_dir_chain(dir, b);

	s->off = fs_chain_find(&chain, name, &s->before);
	if (s->off == NO_OFF) {
		cache_put(b);
		return false;
	}
	s->b = b;
	s->lblk = lblk;
	return true;
}

/* A bad block does not keep us from the others; but then "not there" cannot be said. */
static int linear_find(struct fs_inode *dir, struct fs_name name, struct slot *s)
{
	struct fs_dir_scan scan = { .dir = dir };
	struct cache_buf *b;
	lblk_t lblk;

	while (fs_dir_scan_next(&scan, &lblk, &b))
		if (block_find(dir, b, lblk, name, s))
			return 0;
	return scan.bad ? scan.bad : -ENOENT;
}

/* *tree_bad: the index is damaged, which says nothing about the leaves. */
static int hashed_find(struct fs_inode *dir, struct fs_name name, struct slot *s, bool *tree_bad)
{
	CLEANUP_HTREE struct fs_htree t = { 0 };
	uint32_t major, minor, end_hash;
	int err = fs_htree_open(dir, &t);

	if (!err)
		err = fs_htree_hash(dir, t.version, name, &major, &minor);
	if (!err)
		err = fs_htree_walk(&t, major);
	while (!err) {
		struct cache_buf *b;

		err = fs_htree_leaf_get(&t, &b);
		if (err)
			return err;
		if (block_find(dir, b, fs_htree_leaf(&t), name, s))
			return 0;
		if (!fs_htree_end_hash(&t, &end_hash) || (end_hash & ~1u) != major)
			return -ENOENT;
		err = MIN(fs_htree_next(&t), 0);
	}
	*tree_bad = err == -EUCLEAN;
	return err;
}

static bool has_index(const struct fs_inode *dir)
{
	return fs_dir_is_hashed(dir) && fs_has_compat(dir->fs, EXT_COMPAT_DIR_INDEX);
}

/* "." and ".." are in the first block, which in a hashed directory is no leaf. */
static int block_locate(struct fs_inode *dir, struct fs_name name, struct slot *s)
{
	bool tree_bad = false;
	int err;

	if (has_index(dir) && !fs_name_dots(name)) {
		err = hashed_find(dir, name, s, &tree_bad);
		if (!tree_bad)
			return err;
	}
	return linear_find(dir, name, s);
}

int fs_dir_parent(struct fs_inode *dir, ino_nr_t *ino)
{
	unsigned type;

	return fs_dir_find(dir, fs_name_of(".."), ino, &type);
}

int fs_dir_find(struct fs_inode *dir, struct fs_name name, ino_nr_t *ino, unsigned *type)
{
	CLEANUP_SLOT struct slot s = { 0 };
	const unsigned dots = fs_name_dots(name);
	int err;

	if (dots == 1 || (dots == 2 && fs_inode_has_inline(dir))) {
		*type = EXT_FT_DIR;
		*ino = dir->ino;
		return dots == 1 ? 0 : fs_dir_inline_parent(dir, ino);
	}
	if (fs_inode_has_inline(dir))
		return fs_dir_inline_find(dir, name, ino, type);
	err = block_locate(dir, name, &s);
	if (err)
		return err;
	*ino = le32_get(slot_dirent(&s)->inode);
	*type = slot_dirent(&s)->file_type;
	return 0;
}

int fs_dir_is_empty(struct fs_inode *dir)
{
	const lblk_t end = fs_dir_nr_blocks(dir);

	if (fs_inode_has_inline(dir))
		return fs_dir_inline_is_empty(dir);
	for (lblk_t lblk = 0; lblk < end; lblk++) {
		CLEANUP_BUF struct cache_buf *b = NULL;
		struct ext_disk_dirent *de;
		struct fs_chain chain;
		unsigned off;
		int err = fs_dir_block_get(dir, lblk, &fs_dir_kind_leaf, &b);

		if (err)
			return err;
		chain = fs_dir_chain(dir, b);
		fs_chain_for_each(de, off, &chain)
			if (de->inode.raw && !fs_name_dots(fs_dirent_name(de)))
				return 0;
	}
	return 1;
}

/* Insertion --------------------------------------------------------------------------------------- */

static int put_in_block(struct jnl_handle *h, struct fs_inode *dir, struct cache_buf *b, struct fs_name name,
			ino_nr_t ino, unsigned type)
{
	const struct fs_chain chain = fs_dir_chain(dir, b);
	const unsigned gap = fs_chain_gap(&chain, fs_dirent_bytes(name.len));
	int err;

	if (gap == NO_OFF)
		return -ENOSPC;
	err = jnl_get_write(h, b);
	if (err)
		return err;
	fs_chain_put(&chain, gap, name, ino, type);
	fs_dir_block_changed(h, dir, b);
	return 0;
}

static int append_block(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct fs_chain chain;
	int err = fs_dir_grow(h, dir, 1, &b);

	if (err) {
		b = NULL;
		return err;
	}
	fs_dir_leaf_init(dir, b);
	chain = fs_dir_chain(dir, b);
	fs_chain_put(&chain, 0, name, ino, type);
	fs_dir_block_changed(h, dir, b);
	return 0;
}

/*
 * Blocks before dir_hint had no room for the last name and lost none since. -ENOSPC: the
 * directory has no room in its blocks. A bad block is passed by.
 */
static int linear_put(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	struct fs_dir_scan scan = { .dir = dir, .lblk = MIN(dir->dir_hint, fs_dir_nr_blocks(dir)) };
	struct cache_buf *b;
	lblk_t lblk;

	while (fs_dir_scan_next(&scan, &lblk, &b)) {
		const int err = put_in_block(h, dir, b, name, ino, type);

		cache_put(b);
		if (err != -ENOSPC) {
			dir->dir_hint = lblk;
			return err;
		}
	}
	return scan.bad && scan.bad != -EUCLEAN ? scan.bad : -ENOSPC;
}

static bool may_become_hashed(const struct fs_inode *dir)
{
	return fs_has_compat(dir->fs, EXT_COMPAT_DIR_INDEX) && dir->fs->hash_version <= EXT_HASH_TEA_UNSIGNED &&
	       fs_dir_nr_blocks(dir) == 1;
}

/*
 * The flag on a filesystem without dir_index: the index would go stale with the first new
 * name. Its blocks can be taken as empty linear ones, unless they need a checksum's place.
 */
static int give_up_index(struct fs_inode *dir)
{
	if (fs_has_csum(dir->fs))
		return fs_dir_damaged(dir, 0, "it has an index, and the filesystem has not: run e2fsck");
	LOCK_GUARD(&dir->meta);

	dir->flags &= ~(uint32_t)EXT_FL_INDEX;
	return 0;
}

static int linear_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	int err = linear_put(h, dir, name, ino, type);

	if (err != -ENOSPC)
		return err;
	if (may_become_hashed(dir)) {
		err = fs_htree_make(h, dir);
		if (err)
			return err < 0 ? err : fs_htree_add(h, dir, name, ino, type);
	}
	return append_block(h, dir, name, ino, type);
}

static int block_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	int err;

	if (has_index(dir))
		return fs_htree_add(h, dir, name, ino, type);
	err = fs_dir_is_hashed(dir) ? give_up_index(dir) : 0;
	return err ? err : linear_add(h, dir, name, ino, type);
}

int fs_dir_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	int err, store_err;

	if (fs_inode_has_inline(dir)) {
		err = fs_dir_inline_add(h, dir, name, ino, type);
		if (!err)
			return fs_dir_touch(h, dir, true);
		if (err == -ENOSPC)
			err = fs_dir_inline_to_block(h, dir);
		if (err)
			return err;
	}
	err = block_add(h, dir, name, ino, type);
	/* Stored after an error as well: the directory may have become a block or a tree on the way. */
	store_err = fs_dir_touch(h, dir, !err);
	return err ? err : store_err;
}

/* Removal and change ----------------------------------------------------------------------------- */

int fs_dir_remove(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name)
{
	CLEANUP_SLOT struct slot s = { 0 };
	struct fs_chain chain;
	int err;

	if (fs_inode_has_inline(dir)) {
		err = fs_dir_inline_remove(h, dir, name);
		return err ? err : fs_dir_touch(h, dir, true);
	}
	err = block_locate(dir, name, &s);
	if (!err)
		err = jnl_get_write(h, s.b);
	if (err)
		return err;
	chain = fs_dir_chain(dir, s.b);
	fs_chain_remove(&chain, s.off, s.before);
	fs_dir_block_changed(h, dir, s.b);
	dir->dir_hint = MIN(dir->dir_hint, s.lblk);
	return fs_dir_touch(h, dir, true);
}

int fs_dir_set(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	CLEANUP_SLOT struct slot s = { 0 };
	const bool is_own = fs_name_dots(name) == 0;	/* a new ".." is no change of the contents */
	int err;

	if (fs_inode_has_inline(dir)) {
		err = fs_dir_inline_set(h, dir, name, ino, type);
		return err ? err : fs_dir_touch(h, dir, is_own);
	}
	err = block_locate(dir, name, &s);
	if (!err)
		err = jnl_get_write(h, s.b);
	if (err)
		return err;
	slot_dirent(&s)->inode = le32_of(ino);
	slot_dirent(&s)->file_type = (uint8_t)type;
	fs_dir_block_changed(h, dir, s.b);
	return fs_dir_touch(h, dir, is_own);
}

int fs_dir_init(struct jnl_handle *h, struct fs_inode *dir, ino_nr_t parent)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct fs_chain chain;
	int err;

	if (fs_has_incompat(dir->fs, EXT_INCOMPAT_INLINE_DATA)) {
		err = fs_dir_inline_init(h, dir, parent);
		if (err != -ENOSPC)
			return err;
	}
	err = fs_dir_grow(h, dir, 1, &b);
	if (err) {
		b = NULL;
		return err;
	}
	fs_dir_leaf_init(dir, b);
	chain = fs_dir_chain(dir, b);
	fs_dir_put_dots(dir, &chain, parent);
	fs_dir_block_changed(h, dir, b);
	return fs_dir_touch(h, dir, true);
}
