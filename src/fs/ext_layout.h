/*
 * ext_layout.h: pure arithmetic of the format on disk structs: where superblock copies
 * lie and what the checksums are. For src/fs, mkfs and fsck alike; no state, no I/O.
 * Facts: the kernel's "ext4 Data Structures and Algorithms", chapters block groups, checksums.
 */
#ifndef OSFS_FS_EXT_LAYOUT_H
#define OSFS_FS_EXT_LAYOUT_H

#include "fs/ext_disk.h"

/*
 * The superblock, field by field (ext_super.c). 0, or -errno and the reason as a line in why:
 * identify: is it one of ours at all (-EINVAL, -EOPNOTSUPP); check_csum: -EUCLEAN; check_fields:
 * every size and count that others compute with is in bounds (-EUCLEAN). Features are not looked at.
 */
enum { EXT_WHY_BYTES = 160 };
MUST_CHECK int ext_super_identify(const struct ext_disk_super *sb, char why[static EXT_WHY_BYTES]);
MUST_CHECK int ext_super_check_csum(const struct ext_disk_super *sb, char why[static EXT_WHY_BYTES]);
MUST_CHECK int ext_super_check_fields(const struct ext_disk_super *sb, uint64_t dev_bytes,
				      char why[static EXT_WHY_BYTES]);
/* A count of blocks in two halves; the upper one counts with 64bit only. */
uint64_t ext_super_blocks(const struct ext_disk_super *sb, le32 lo, le32 hi);

/* What follows takes a superblock that has passed ext_super_check_fields(). */
uint32_t ext_nr_groups(const struct ext_disk_super *sb);
uint32_t ext_desc_bytes(const struct ext_disk_super *sb);
/* The block that holds a group's descriptor, and the place in it. */
pblk_t ext_group_desc_block(const struct ext_disk_super *sb, uint32_t group, uint32_t *off_bytes);
/* Descriptor blocks (copies and reserved ones too) right behind the place of the superblock in a group. */
uint32_t ext_group_nr_desc_blocks(const struct ext_disk_super *sb, uint32_t group);
/* Does this group begin with a copy of the superblock (and of the descriptors, without meta_bg)? */
bool ext_group_has_super(const struct ext_disk_super *sb, uint32_t group);
/* The seed of all metadata checksums: s_checksum_seed under csum_seed, else from the UUID. */
uint32_t ext_csum_seed(const struct ext_disk_super *sb);
uint32_t ext_super_csum(const struct ext_disk_super *sb);
/*
 * Makes the checksum right, and where it can so that it stays what it is: the last four bytes of
 * s_last_mounted, behind its end, take the difference. All that changes while a filesystem is used
 * lies in the first 512 bytes, so that one sector changes, which a device writes wholly or not.
 */
void ext_super_seal(struct ext_disk_super *sb);
/* bg_checksum as the features want it: metadata_csum, gdt_csum, or 0. The struct's own field is left out. */
uint16_t ext_group_csum(const struct ext_disk_super *sb, uint32_t seed, uint32_t group,
			const struct ext_disk_group *gd, unsigned desc_bytes);
/* A group descriptor with the halves of its fields together. */
struct ext_group {
	pblk_t block_bitmap, inode_bitmap, inode_table;
	uint32_t free_blocks, free_inodes, used_dirs;
	uint32_t block_bitmap_csum, inode_bitmap_csum;
	uint32_t itable_unused;		/* 0 where descriptors have no checksums: it says nothing then, */
	uint16_t flags;			/* nor do the flags */
	uint16_t csum;
};
struct ext_group ext_group_decode(const struct ext_disk_super *sb, const struct ext_disk_group *gd, unsigned desc_bytes);
/* Of a bitmap of nr_bits; as much of it as descriptors of this size keep. */
uint32_t ext_bitmap_csum(uint32_t seed, const void *map, uint32_t nr_bits, unsigned desc_bytes);
/* Of an attribute block. */
uint32_t ext_xattr_block_csum(uint32_t seed, pblk_t pblk, const void *block, uint32_t block_bytes);
/*
 * Where the index entries of a block of a hashed directory begin; 0: it does not look like an
 * index block. And its checksum, over count entries and the tail.
 */
enum { EXT_DX_ROOT_OFF = 32, EXT_DX_NODE_OFF = 8 };
unsigned ext_dx_entries_off(const void *block, uint32_t block_bytes);
uint32_t ext_dx_csum(uint32_t inode_seed, const void *block, unsigned entries_off, unsigned count,
		     const struct ext_disk_dx_tail *tail);
/* Seed of everything that belongs to one inode. */
uint32_t ext_inode_csum_seed(uint32_t seed, ino_nr_t ino, uint32_t generation);
/* Over inode_bytes of raw with both checksum fields taken as 0; the upper half counts only where it exists. */
uint32_t ext_inode_csum(uint32_t inode_seed, const struct ext_disk_inode *raw, unsigned inode_bytes);
/* Does this inode's extra space hold the upper half of the checksum? */
bool ext_inode_has_csum_hi(const struct ext_disk_inode *raw, unsigned inode_bytes);

#endif
