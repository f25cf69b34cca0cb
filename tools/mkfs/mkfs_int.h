/*
 * mkfs_int.h: what the files of mkfs.osfs share.
 *
 *	mkfs_opts.c      the command line
 *	mkfs_members.c   opens or creates members, refuses to overwrite what is there, makes the array
 *	mkfs_layout.c    from a size and the wishes to a superblock and a place for everything
 *	mkfs_journal.c   the journal: how large, its blocks, its map
 *	mkfs_write.c     writes what the layout says
 *	mkfs_populate.c  -d DIR: fills the new filesystem through src/fs
 *	mkfs.c           the order of all that, and what is printed
 */
#ifndef OSFS_TOOLS_MKFS_MKFS_INT_H
#define OSFS_TOOLS_MKFS_MKFS_INT_H

#include "alloc/alloc.h"
#include "blk/blk.h"
#include "fs/ext_disk.h"
#include "raid/raid.h"

struct mkfs_opts {
	/* the array; level_set false: one image without an array */
	bool level_set;
	struct raid_params raid;
	const char *layout_text;
	unsigned nr_disks;		/* 0: all members but the spares */
	unsigned nr_spares;
	bool assume_clean;		/* members are not zeroed, redundancy is taken on trust */
	bool write_mostly[RAID_MAX_MEMBERS];	/* by member */
	uint64_t image_bytes;		/* --size: of members that do not exist yet; 0: not given */

	/* the filesystem */
	uint32_t block_bytes;		/* 0: chosen */
	uint32_t inode_ratio;		/* bytes per inode; 0: chosen */
	uint64_t nr_inodes;		/* 0: from the ratio */
	uint32_t inode_bytes;
	double reserved_percent;
	const char *label;
	uint8_t uuid[16];
	bool uuid_set;
	uint32_t compat, incompat, ro_compat;
	uint64_t journal_bytes;		/* -J size=; 0: by the size of the filesystem */
	uint32_t stride_blocks, stripe_width_blocks;	/* 0: from the array */
	uint32_t root_uid, root_gid;
	bool discard;
	const char *populate_dir;

	bool dry_run, quiet, force;
	char **members;
	unsigned nr_members;
};

/* 0; 1: said what is wrong, exit 1; 2: helped or told the version, exit 0. */
int mkfs_opts_parse(int argc, char **argv, struct mkfs_opts *o);

struct mkfs_members {
	struct blk_dev *dev[RAID_MAX_MEMBERS];	/* NULL: "missing" */
	bool created[RAID_MAX_MEMBERS];		/* by us just now: all zeroes, removed again on failure */
	char *path[RAID_MAX_MEMBERS];		/* as given; not owned */
	unsigned nr;
	unsigned nr_disks;			/* the first of them; the rest are spares */
	struct alloc *alloc;
	struct raid *raid;			/* NULL: one image */
	struct blk_dev *volume;			/* the array's device, or dev[0] */
	bool zeroed;				/* the volume is known to read as zeroes */
};

/* Checks every member before anything is written or created. 0 or -errno, said. */
int mkfs_members_open(const struct mkfs_opts *o, struct mkfs_members *m);
/* Superblocks on the members, volume assembled (nothing to do without an array). */
int mkfs_members_assemble(const struct mkfs_opts *o, struct mkfs_members *m);
/* What the size of a single image is or will be (-n). 0 for arrays: that takes making them. */
uint64_t mkfs_members_volume_sects(const struct mkfs_opts *o, const struct mkfs_members *m);
/* Closes all; failed: removes the images that were created. Returns the first error. */
int mkfs_members_close(struct mkfs_members *m, bool failed);

struct mkfs_group {
	pblk_t block_bitmap, inode_bitmap, inode_table;
	uint32_t nr_blocks, nr_free_blocks, nr_free_inodes, nr_dirs, itable_unused;
	uint16_t flags;
	uint8_t *bitmap;	/* blocks in use; NULL: only what ext_group_has_super() implies (BLOCK_UNINIT) */
};

/* Groups whose bitmaps and inode tables lie together. */
enum { MKFS_FLEX_GROUPS = 16 };
enum { MKFS_LPF_INO = EXT_FIRST_INO_DEFAULT, MKFS_LPF_BYTES = 16384 };

struct mkfs_run {
	pblk_t first;
	uint32_t nr;
};

struct mkfs_layout {
	struct ext_disk_super super;
	uint32_t block_bytes, inode_bytes, nr_groups, blocks_per_group, inodes_per_group;
	uint32_t first_data_block, gdt_blocks, itable_blocks, desc_bytes;
	uint64_t nr_blocks;
	struct mkfs_group *groups;
	pblk_t root_block;			/* the root directory's one block */
	pblk_t lpf_block;			/* first of the blocks of lost+found, all direct */
	uint32_t lpf_nr_blocks;
	uint32_t root_uid, root_gid;
	/* The journal; 0 blocks: none. Its runs hold the map blocks first. */
	uint32_t journal_blocks, journal_map_blocks;
	uint32_t journal_left;			/* not placed yet */
	uint32_t journal_group;			/* first group that it may lie in */
	struct mkfs_run *journal_runs;
	size_t nr_journal_runs;
};

/*
 * array: the array below, or NULL; optimal_bytes: its full stripe. volume_bytes: size of the
 * volume. Says what does not fit. 0 or -errno.
 */
int mkfs_layout_make(const struct mkfs_opts *o, const struct raid_info *array, uint32_t optimal_bytes,
		     uint64_t volume_bytes, struct mkfs_layout *l);
void mkfs_layout_free(struct mkfs_layout *l);
/* The lines that mke2fs prints: sizes, UUID, where the superblock copies are. */
void mkfs_layout_print(const struct mkfs_layout *l);

/* Size of the journal, and the feature taken away where there is room for none. Sizes and groups are settled. */
int mkfs_journal_size(const struct mkfs_opts *o, struct mkfs_layout *l);
/* These blocks are the journal's. */
int mkfs_journal_take(struct mkfs_layout *l, pblk_t first, uint32_t nr);
/* All is placed: number, size and map go to the superblock. */
int mkfs_journal_backup(struct mkfs_layout *l);
/* Fields of the journal's inode beside times and checksum. */
void mkfs_journal_inode(const struct mkfs_layout *l, struct ext_disk_inode *raw);
/* The log, made zero unless it is known to be, its map, its superblock. 0 or -errno, said. */
int mkfs_journal_write(const struct mkfs_layout *l, struct blk_dev *volume, bool zeroed);

/* zeroed: the volume reads as zeroes, inode tables need no writing. Superblock last. 0 or -errno, said. */
int mkfs_write(const struct mkfs_layout *l, struct blk_dev *volume, bool zeroed, bool progress);

/* Copies the tree below dir into the filesystem on volume. 0 or -errno, said with the path. */
int mkfs_populate(struct blk_dev *volume, struct alloc *alloc, const char *dir, bool progress);

/* Bits of base/feature names in "-O a,^b": changes the three sets. 0 or -EINVAL, said. */
int mkfs_features_parse(struct mkfs_opts *o, const char *list);

#endif
