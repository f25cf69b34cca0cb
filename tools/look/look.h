/*
 * look.h: an ext2/3/4 filesystem for looking only, however damaged: for dump.osfs and explain.
 *
 * Nothing is written, nothing is cached but one block of each kind, nothing that was read is
 * believed: what is impossible is told to the fault function, in words, and passed by. Structures
 * are given as they are. Memory does not depend on what the disk says, but for what is stated.
 *
 *   LK1  Every block number is checked before it is read, every offset before it is followed.
 *   LK2  Every walk ends: a map block is entered at most once, a chain of entries only goes on.
 *
 * Threads: one look, one thread. Errors: 0 or -errno; damage is a fault, not an error, as long as
 * the rest can still be looked at.
 */
#ifndef OSFS_TOOLS_LOOK_LOOK_H
#define OSFS_TOOLS_LOOK_LOOK_H

#include "blk/blk.h"
#include "fs/ext_disk.h"
#include "fs/ext_layout.h"
#include "journal/jbd2_map.h"

/* Where the bytes come from: a device, or the cache of a mounted filesystem. */
struct look_source {
	/* off and len are multiples of 512. */
	int (*read)(void *arg, uint64_t off_bytes, void *buf, size_t len_bytes);
	void *arg;
	uint64_t nr_bytes;
	bool live;	/* it changes meanwhile: two blocks need not be of one moment */
};
struct look_source look_source_dev(struct blk_dev *d);

struct look {
	struct look_source src;
	void (*fault)(void *arg, const char *what);	/* never NULL */
	void *fault_arg;
	unsigned nr_faults;
	struct ext_disk_super super;
	bool usable;			/* what follows makes sense; else only super is there */
	uint32_t block_bytes, block_shift;
	uint64_t nr_blocks;		/* at most what the device has */
	uint32_t first_data_block, blocks_per_group, inodes_per_group, nr_groups, nr_inodes;
	uint32_t inode_bytes, desc_bytes, itable_blocks;
	uint32_t compat, incompat, ro_compat;
	uint32_t csum_seed;
	bool csum;			/* metadata_csum */
	uint64_t dir_blocks_left;	/* so many blocks of directories may be read; UINT64_MAX: any number */
	/* one block each */
	pblk_t desc_pblk, table_pblk, bitmap_pblk;	/* UINT64_MAX: none */
	uint8_t *desc, *table, *bitmap;
};

/* -EIO and the like; anything else is told. A look without a usable superblock is one, too. */
MUST_CHECK int look_open(struct look *l, struct look_source src, void (*fault)(void *arg, const char *what),
			 void *fault_arg);
void look_close(struct look *l);
void look_fault(struct look *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* LK1: -EUCLEAN (told) outside of the filesystem. */
MUST_CHECK int look_block(struct look *l, pblk_t pblk, void *buf);
static inline bool look_block_ok(const struct look *l, pblk_t pblk)
{
	return pblk >= l->first_data_block && pblk < l->nr_blocks;
}
static inline pblk_t look_group_first(const struct look *l, uint32_t group)
{
	return (pblk_t)group * l->blocks_per_group + l->first_data_block;
}

/* Groups ------------------------------------------------------------------------------- */
struct look_group {
	uint32_t nr;
	pblk_t first;			/* block */
	uint32_t nr_blocks;
	pblk_t desc_block;
	struct ext_group desc;
	uint16_t want_csum;
	bool has_super;
	uint32_t nr_desc_blocks, nr_reserved_blocks;	/* behind the place of the superblock, in this group */
	pblk_t first_desc_block;
};
/* Descriptor of a group, checksum told. An error leaves the part that needs no descriptor. */
MUST_CHECK int look_group(struct look *l, uint32_t nr, struct look_group *g);
/* The bitmap block of a group in *map (valid until the next call); made when it is not initialised. Checksum told. */
MUST_CHECK int look_bitmap(struct look *l, const struct look_group *g, bool inodes, const uint8_t **map);
static inline bool look_bit(const uint8_t *map, uint32_t bit)
{
	return map[bit / 8] >> bit % 8 & 1;
}

/* Inodes ------------------------------------------------------------------------------- */
struct look_inode {
	ino_nr_t ino;
	const struct ext_disk_inode *raw;	/* inode_bytes long */
	uint8_t *own;				/* to be freed, or NULL */
	uint16_t mode;
	uint32_t uid, gid, links, flags, generation, dtime, csum, want_csum, csum_seed;
	uint64_t size_bytes, nr_sects;
	pblk_t file_acl;
	unsigned extra_isize;			/* cut to what the record has */
	pblk_t table_block;			/* where it lies */
	uint32_t table_off;
};
/* From a record in memory. */
void look_inode_parse(const struct look *l, ino_nr_t ino, const void *raw, struct look_inode *out);
/* -EINVAL: no such number. Checksum is not told: csum against want_csum. */
MUST_CHECK int look_inode(struct look *l, ino_nr_t ino, struct look_inode *out);
void look_inode_done(struct look_inode *i);
/* Does it have a map of blocks, and is that one of extents? */
bool look_inode_has_map(const struct look *l, const struct look_inode *i);
static inline bool look_inode_has_inline(const struct look_inode *i) { return i->flags & EXT_FL_INLINE_DATA; }

/* The map of an inode, from the front, each map block before what it leads to. */
enum look_piece_kind { LOOK_DATA, LOOK_UNWRITTEN, LOOK_MAP };
struct look_piece {
	enum look_piece_kind kind;
	unsigned level;		/* MAP: 1 the lowest (its pointers are of data) */
	bool extents;		/* MAP: a node of an extent tree */
	lblk_t lblk;		/* first block of the file that it is about */
	uint64_t nr_lblks;	/* MAP: so many */
	pblk_t pblk;
	uint32_t nr;		/* MAP: 1 */
};
typedef bool look_piece_fn(void *arg, const struct look_piece *p);	/* false: stop */
/*
 * seen: the map blocks that were entered (LK2), or NULL: this inode's alone. Memory: 16 bytes a
 * map block.
 */
MUST_CHECK int look_map(struct look *l, const struct look_inode *i, struct jbd2_map *seen, look_piece_fn *fn, void *arg);
/* One block of a file; *pblk 0: a hole. */
MUST_CHECK int look_map_find(struct look *l, const struct look_inode *i, lblk_t lblk, pblk_t *pblk);

/* Contents within the inode: *len bytes at the start of buf (inode_bytes + 60). */
MUST_CHECK int look_inline(struct look *l, const struct look_inode *i, uint8_t *buf, unsigned *len);

/* Attributes: of the inode, then of its block. in_block: 0 in the inode. */
struct look_xattr {
	uint8_t index;
	const char *name;
	unsigned name_len;
	const uint8_t *value;
	uint32_t value_len;
	pblk_t in_block;
};
const char *look_xattr_prefix(uint8_t index);	/* "user.", "" … */
typedef void look_xattr_fn(void *arg, const struct look_xattr *x);
MUST_CHECK int look_xattrs(struct look *l, const struct look_inode *i, look_xattr_fn *fn, void *arg);

/* Directories -------------------------------------------------------------------------- */
struct look_entry {
	lblk_t lblk;		/* of the directory */
	pblk_t pblk;		/* 0: in the inode */
	unsigned off, rec_len;
	ino_nr_t ino;		/* 0: unused */
	unsigned type;
	const char *name;
	unsigned name_len;
};
typedef bool look_entry_fn(void *arg, const struct look_entry *e);
/*
 * All entries, as they lie ("." and ".." of a directory within its inode are none). Unused ones
 * too when all is set. Faults are told; a bad block ends where it is bad.
 */
MUST_CHECK int look_dir(struct look *l, const struct look_inode *dir, bool all, look_entry_fn *fn, void *arg);
/* Is this block of a directory one of its index? 0 no; 8 a node, 32 the root: where its entries begin. */
unsigned look_dx_off(const struct look *l, const struct look_inode *dir, lblk_t lblk, const uint8_t *block);
/* Checksum of an index block: told. */
void look_dx_check(struct look *l, const struct look_inode *dir, lblk_t lblk, pblk_t pblk, const uint8_t *block);
/* From "/a/b" to a number; symbolic links are not followed. -ENOENT, -ENOTDIR, -EUCLEAN. */
MUST_CHECK int look_path(struct look *l, const char *path, ino_nr_t *ino);

#endif
