/*
 * fs_dir_int.h: what the files of directories share.
 *
 *   fs_namei.c fs_create.c fs_unlink.c fs_rename.c     calls of fs.h: locks, handles, inodes
 *   fs_dir.c            fs_dir_*: picks the format; linear directories
 *   fs_readdir.c        listing, fs_dir_sort.c its order
 *   fs_dir_inline.c     entries within the inode
 *   fs_htree.c fs_htree_add.c    hashed directories: walk; split and grow
 *   fs_dir_block.c      blocks of entries: check, checksum, append
 *   fs_chain.c          a chain of entries in memory
 *
 *   D1  A chain's rec_len fields cover it from end to end; nothing but a chain, the checksum
 *       tail, and index entries is in a directory's blocks.
 *   D2  A block is sealed (checksum) in the handle that changed it, before jnl_dirty().
 *   D3  All blocks that an insertion needs are there before its first change: an insertion
 *       that fails for want of space has changed nothing.
 *   D4  Every leaf of a hashed directory is pointed to by exactly one index entry, and holds
 *       names with hashes from that entry's up to the next one's; only when the next one has
 *       bit 0 set may names of its very hash be in both.
 */
#ifndef OSFS_FS_FS_DIR_INT_H
#define OSFS_FS_FS_DIR_INT_H

#include "fs/fs_int.h"

/* fs_chain.c: entries one behind the other -------------------------------------------- */
enum {
	DIRENT_HEAD_BYTES = 8,
	DIRENT_MIN_BYTES = 12,
	DIRENT_MAX_BYTES = 264,
	DIR_DOT_BYTES = 12,		/* each of "." and ".." */
	DIR_TAIL_BYTES = 12,
};

struct fs_chain {
	uint8_t *p;
	unsigned len;
};

static inline unsigned fs_dirent_bytes(size_t name_len)
{
	return ALIGN_UP(DIRENT_HEAD_BYTES + (unsigned)name_len, 4u);
}
/* Lengths are multiples of 4 up to 65536; 16 bits on disk. */
static inline unsigned fs_dirent_rec_len(const struct ext_disk_dirent *de)
{
	const unsigned raw = le16_get(de->rec_len);

	return raw == 0 || raw == 65535 ? 65536 : raw;
}
static inline le16 fs_dirent_rec_len_of(unsigned len_bytes)
{
	return le16_of((uint16_t)MIN(len_bytes, 65535u));
}
/*
 * The entry at off; NULL at the end. The bounds are looked at although the block was checked
 * when it was read: on a damaged filesystem it may be part of something else as well, and change.
 */
static inline struct ext_disk_dirent *fs_chain_at(const struct fs_chain *c, unsigned off)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c->p + off);
	unsigned rec_len;

	if (off + DIRENT_HEAD_BYTES > c->len)
		return NULL;
	rec_len = fs_dirent_rec_len(de);
	if (unlikely(rec_len > c->len - off || rec_len < (unsigned)DIRENT_HEAD_BYTES + de->name_len || rec_len % 4))
		return NULL;
	return de;
}
#define fs_chain_for_each(de, off, c) \
	for (off = 0; (de = fs_chain_at(c, off)); off += fs_dirent_rec_len(de))

static inline struct fs_name fs_dirent_name(const struct ext_disk_dirent *de)
{
	return (struct fs_name){ de->name, de->name_len };
}
/* "." is 1, ".." is 2, everything else 0. */
static inline unsigned fs_name_dots(struct fs_name name)
{
	if (name.len == 0 || name.len > 2 || name.s[0] != '.')
		return 0;
	return name.len == 1 ? 1 : name.s[1] == '.' ? 2 : 0;
}

enum { NO_OFF = UINT32_MAX };
/* Offset of the entry, and of the one before it (NO_OFF: it is the first). NO_OFF: not there. */
unsigned fs_chain_find(const struct fs_chain *c, struct fs_name name, unsigned *before);
/* Where an entry of this size fits; NO_OFF: nowhere. */
unsigned fs_chain_gap(const struct fs_chain *c, unsigned need_bytes);
/* Puts an entry into what fs_chain_gap() found. */
void fs_chain_put(const struct fs_chain *c, unsigned off, struct fs_name name, ino_nr_t ino, unsigned type);
void fs_chain_remove(const struct fs_chain *c, unsigned off, unsigned before);
/* One unused entry over all of it. */
void fs_chain_clear(const struct fs_chain *c);
/* The last entry reaches to the end of a chain that has become longer. was_len: before. */
void fs_chain_extend(const struct fs_chain *c, unsigned was_len);
/* NULL, or what is wrong, at *off. */
const char *fs_chain_fault(const struct fs_chain *c, uint32_t nr_inodes, unsigned *off);

/* fs_dir_block.c: blocks of a directory --------------------------------------------------- */
extern const struct cache_kind fs_dir_kind_leaf;	/* a block with a chain; as such every block can be read */
extern const struct cache_kind fs_dir_kind_index;	/* root or node of the hash tree */

static inline lblk_t fs_dir_nr_blocks(const struct fs_inode *dir)
{
	return dir->size_bytes >> dir->fs->block_shift;
}
static inline bool fs_dir_is_hashed(const struct fs_inode *dir)
{
	return dir->flags & EXT_FL_INDEX;
}
/* The entries of a block, without its checksum tail; an index block has none, its entries cover all of it. */
struct fs_chain fs_dir_chain(const struct fs_inode *dir, const struct cache_buf *b);
/* A hole or a block that fails its check is -EUCLEAN (logged). *out is NULL after an error. */
MUST_CHECK int fs_dir_block_get(struct fs_inode *dir, lblk_t lblk, const struct cache_kind *kind,
				struct cache_buf **out);
/*
 * All blocks from lblk on as chains. Damage is passed by and left in bad; holes at one go, and only so
 * much of it: a directory that is nothing but damage must not keep anybody for long.
 */
struct fs_dir_scan {
	struct fs_inode *dir;
	lblk_t lblk;		/* next */
	unsigned nr_bad;
	int bad;		/* 0, or the last error */
};
/* False: the end. The block is the caller's to put. */
bool fs_dir_scan_next(struct fs_dir_scan *s, lblk_t *lblk, struct cache_buf **out);
/* Reads ahead the blocks from lblk on, as far as is reasonable. */
void fs_dir_readahead(struct fs_inode *dir, lblk_t lblk);
/* Checksum and jnl_dirty (D2). */
void fs_dir_block_changed(struct jnl_handle *h, struct fs_inode *dir, struct cache_buf *b);
/* A new leaf without entries, ready to be filled. */
void fs_dir_leaf_init(struct fs_inode *dir, struct cache_buf *b);
/* "." and "..", the latter up to the chain's end. */
void fs_dir_put_dots(const struct fs_inode *dir, const struct fs_chain *c, ino_nr_t parent);
/*
 * Appends nr zeroed blocks, writable in h; the size grows and dir is to be stored. All or nothing.
 * The caller initialises them, seals them and puts them.
 */
enum { DIR_GROW_MAX = 4 };
MUST_CHECK int fs_dir_grow(struct jnl_handle *h, struct fs_inode *dir, unsigned nr, struct cache_buf **bufs);
/* The directory's own inode after a change: mtime and ctime (or ctime only), stored. */
MUST_CHECK int fs_dir_touch(struct jnl_handle *h, struct fs_inode *dir, bool mtime);
/* Logs that dir is damaged and notes it in the superblock; returns -EUCLEAN. */
int fs_dir_damaged(struct fs_inode *dir, pblk_t pblk, const char *fmt, ...) PRINTF_LIKE(3, 4);

static inline void fs_dir_bufs_put(struct cache_buf **bufs, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		cache_put(bufs[i]);
}

/* fs_dir_inline.c: fs_dir_* of directories within the inode ------------------------------- */
struct fs_dir_inline {
	struct alloc *alloc;
	uint8_t *buf;		/* the whole contents: parent, entries of i_block, entries behind the inode */
	unsigned len, order;
	struct fs_chain part[2];
	unsigned nr_parts;
};
/* A copy of the contents, checked. */
MUST_CHECK int fs_dir_inline_load(struct fs_inode *dir, struct fs_dir_inline *out);
void fs_dir_inline_done(struct fs_dir_inline *in);
#define CLEANUP_DIR_INLINE __attribute__((cleanup(fs_dir_inline_done)))
/* Cookies of inline entries: their place in the block that the directory would become. */
unsigned fs_dir_inline_block_off(const struct fs_dir_inline *in, unsigned part);
MUST_CHECK int fs_dir_inline_init(struct jnl_handle *h, struct fs_inode *dir, ino_nr_t parent);
MUST_CHECK int fs_dir_inline_find(struct fs_inode *dir, struct fs_name name, ino_nr_t *ino, unsigned *type);
MUST_CHECK int fs_dir_inline_parent(struct fs_inode *dir, ino_nr_t *ino);
/* -ENOSPC: no room; fs_dir_inline_to_block() makes some. */
MUST_CHECK int fs_dir_inline_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino,
				 unsigned type);
MUST_CHECK int fs_dir_inline_to_block(struct jnl_handle *h, struct fs_inode *dir);
MUST_CHECK int fs_dir_inline_remove(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name);
/* name may be "..". */
MUST_CHECK int fs_dir_inline_set(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino,
				 unsigned type);
MUST_CHECK int fs_dir_inline_is_empty(struct fs_inode *dir);

/* fs_htree.c: the index of a hashed directory -------------------------------------------------- */
enum { HTREE_MAX_LEVELS = 3, HTREE_ENTRY_BYTES = 8 };

struct fs_htree_frame {
	struct cache_buf *b;
	struct ext_disk_dx_entry *entries;	/* [0] is fs_htree_count/limit and the first child */
	unsigned at;				/* the entry that was followed */
};
/* A way from the root to a leaf. */
struct fs_htree {
	struct fs_inode *dir;
	uint8_t version;		/* EXT_HASH_* with signedness */
	unsigned nr_levels;		/* index blocks on the way; the last points to leaves */
	struct fs_htree_frame frame[HTREE_MAX_LEVELS];
};
#define CLEANUP_HTREE __attribute__((cleanup(fs_htree_close)))

static inline unsigned fs_htree_count(const struct ext_disk_dx_entry *entries)
{
	return le16_get(((const struct ext_disk_dx_countlimit *)entries)->count);
}
static inline unsigned fs_htree_limit(const struct ext_disk_dx_entry *entries)
{
	return le16_get(((const struct ext_disk_dx_countlimit *)entries)->limit);
}
static inline void fs_htree_set_count(struct ext_disk_dx_entry *entries, unsigned count)
{
	((struct ext_disk_dx_countlimit *)entries)->count = le16_of((uint16_t)count);
}
static inline void fs_htree_set_limit(struct ext_disk_dx_entry *entries, unsigned limit)
{
	((struct ext_disk_dx_countlimit *)entries)->limit = le16_of((uint16_t)limit);
}
enum { HTREE_BLOCK_MASK = 0x0fffffff, HTREE_ROOT_ENTRIES_OFF = EXT_DX_ROOT_OFF, HTREE_NODE_ENTRIES_OFF = EXT_DX_NODE_OFF };
static inline lblk_t fs_htree_block(const struct ext_disk_dx_entry *e)
{
	return le32_get(e->block) & HTREE_BLOCK_MASK;
}
/* Entries that a block has room for. */
static inline unsigned fs_htree_room(const struct fs *fs, unsigned entries_off)
{
	return (fs->block_bytes - entries_off - (fs_has_csum(fs) ? sizeof(struct ext_disk_dx_tail) : 0)) /
	       HTREE_ENTRY_BYTES;
}
/* Levels of index blocks that the format allows here. */
static inline unsigned fs_htree_max_levels(const struct fs *fs)
{
	return fs_has_incompat(fs, EXT_INCOMPAT_LARGEDIR) ? 3 : 2;
}
/* Where the index entries of a block begin; 0: it does not look like an index block. */
unsigned fs_htree_entries_off(const struct fs *fs, const void *block);
/* Check and checksum, for fs_dir_block.c. The block looks like an index block. */
int fs_htree_check(struct fs_inode *dir, const struct cache_buf *b);
bool fs_htree_csum_ok(const struct fs_inode *dir, const void *block);
void fs_htree_seal(const struct fs_inode *dir, void *block);

/* Signedness is not in the tree but a property of the filesystem. */
uint8_t fs_htree_version(const struct fs *fs, uint8_t disk_version);
MUST_CHECK int fs_htree_hash(const struct fs_inode *dir, uint8_t version, struct fs_name name, uint32_t *major,
			     uint32_t *minor);
/* The root, no way yet. -EUCLEAN: no usable tree (logged). */
MUST_CHECK int fs_htree_open(struct fs_inode *dir, struct fs_htree *t);
/* From the root to the leaf for a hash. */
MUST_CHECK int fs_htree_walk(struct fs_htree *t, uint32_t major);
/* To the leaf behind. 1: there is one, 0: the end, or -errno. */
MUST_CHECK int fs_htree_next(struct fs_htree *t);
void fs_htree_close(struct fs_htree *t);
static inline lblk_t fs_htree_leaf(const struct fs_htree *t)
{
	const struct fs_htree_frame *f = &t->frame[t->nr_levels - 1];

	return fs_htree_block(&f->entries[f->at]);
}
/* The hash where the next leaf begins (bit 0: names of it may be in this leaf too); false: this is the last leaf. */
bool fs_htree_end_hash(const struct fs_htree *t, uint32_t *hash);
/* The hash where this leaf begins. */
uint32_t fs_htree_start_hash(const struct fs_htree *t);
MUST_CHECK int fs_htree_leaf_get(const struct fs_htree *t, struct cache_buf **out);

/* fs_htree_add.c --------------------------------------------------------------------------------- */
MUST_CHECK int fs_htree_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino,
			    unsigned type);
/*
 * A directory of one block becomes a tree with one leaf. 1: done; 0: its block has not the
 * form that a tree needs ("." and ".." first); it stays linear.
 */
MUST_CHECK int fs_htree_make(struct jnl_handle *h, struct fs_inode *dir);

/* fs_dir.c ------------------------------------------------------------------------------------------ */
/* What ".." says. */
MUST_CHECK int fs_dir_parent(struct fs_inode *dir, ino_nr_t *ino);
unsigned fs_dir_type_of(const struct fs *fs, uint32_t mode);

/* fs_namei.c: what the calls share -------------------------------------------------------------------- */
/* -ENAMETOOLONG, -EINVAL, -ENOENT for the empty one. */
MUST_CHECK int fs_name_check(struct fs_name name);
/* A directory that is not deleted. */
MUST_CHECK int fs_get_dir(struct fs *fs, ino_nr_t ino, struct fs_inode **out);
/* May entries be added to / taken from it? dir->lock held. */
MUST_CHECK int fs_dir_may_add(const struct fs_inode *dir);
MUST_CHECK int fs_dir_may_remove(const struct fs_inode *dir);
/* May this inode lose (or move) a name? */
MUST_CHECK int fs_child_may_remove(struct fs_inode *child);
/* fs_dir_find and fs_iget; an entry that leads to no inode is damage. dir->lock held. */
MUST_CHECK int fs_dir_child(struct fs_inode *dir, struct fs_name name, struct fs_inode **out);
/* As fs_dir_child, with dir->lock taken for the look-up only: the caller looks again under its locks. */
MUST_CHECK int fs_dir_child_unlocked(struct fs_inode *dir, struct fs_name name, struct fs_inode **out);
/* Is name still (or still not, child NULL) child's? dir->lock held. 1 yes, 0 no. */
MUST_CHECK int fs_dir_child_is(struct fs_inode *dir, struct fs_name name, const struct fs_inode *child);
/* A subdirectory came (by > 0) or went: the link of its "..". Stores dir. dir->lock held. */
MUST_CHECK int fs_dir_count_subdir(struct jnl_handle *h, struct fs_inode *dir, int by);
MUST_CHECK int fs_dir_may_add_subdir(const struct fs_inode *dir);
/* The inode loses one name, or a directory its only one; without names it goes to the orphan list. Stores it. */
MUST_CHECK int fs_inode_drop_link(struct jnl_handle *h, struct fs_inode *inode);

#endif
