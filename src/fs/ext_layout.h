/*
 * ext_layout.h: pure arithmetic of the format on disk structs: where superblock copies
 * lie and what the checksums are. For src/fs, mkfs and fsck alike; no state, no I/O.
 * Facts: the kernel's "ext4 Data Structures and Algorithms", chapters block groups, checksums.
 */
#ifndef OSFS_FS_EXT_LAYOUT_H
#define OSFS_FS_EXT_LAYOUT_H

#include "fs/ext_disk.h"

/* Does this group begin with a copy of the superblock (and of the descriptors, without meta_bg)? */
bool ext_group_has_super(const struct ext_disk_super *sb, uint32_t group);
/* The seed of all metadata checksums: s_checksum_seed under csum_seed, else from the UUID. */
uint32_t ext_csum_seed(const struct ext_disk_super *sb);
uint32_t ext_super_csum(const struct ext_disk_super *sb);
/* bg_checksum as the features want it: metadata_csum, gdt_csum, or 0. The struct's own field is left out. */
uint16_t ext_group_csum(const struct ext_disk_super *sb, uint32_t seed, uint32_t group,
			const struct ext_disk_group *gd, unsigned desc_bytes);
/* Seed of everything that belongs to one inode. */
uint32_t ext_inode_csum_seed(uint32_t seed, ino_nr_t ino, uint32_t generation);
/* Over inode_bytes of raw with both checksum fields taken as 0; the upper half counts only where it exists. */
uint32_t ext_inode_csum(uint32_t inode_seed, const struct ext_disk_inode *raw, unsigned inode_bytes);
/* Does this inode's extra space hold the upper half of the checksum? */
bool ext_inode_has_csum_hi(const struct ext_disk_inode *raw, unsigned inode_bytes);

#endif
