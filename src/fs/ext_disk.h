/*
 * ext_disk.h: the ext2/3/4 format, nothing else. Little-endian.
 * Facts: the kernel's "ext4 Data Structures and Algorithms"; e2fsprogs' ext2_fs.h.
 */
#ifndef OSFS_FS_EXT_DISK_H
#define OSFS_FS_EXT_DISK_H

#include "base/types.h"

enum {
	EXT_MAGIC = 0xef53,
	EXT_SUPER_OFF_BYTES = 1024,
	EXT_SUPER_BYTES = 1024,
	EXT_BAD_INO = 1, EXT_ROOT_INO = 2, EXT_RESIZE_INO = 7, EXT_JOURNAL_INO = 8, EXT_FIRST_INO_DEFAULT = 11,
	EXT_GOOD_OLD_INODE_BYTES = 128,
	EXT_MIN_BLOCK_BYTES = 1024, EXT_MAX_BLOCK_BYTES = 65536,
	EXT_LINK_MAX = 65000,
	EXT_NAME_MAX = 255,
	EXT_DIND_BLOCK = 13, EXT_TIND_BLOCK = 14, EXT_IND_BLOCK = 12, EXT_NR_DIRECT = 12, EXT_NR_BLOCK = 15,
	EXT_INLINE_BYTES = 60,	/* of i_block */
};

/* s_state */
enum { EXT_STATE_VALID = 1, EXT_STATE_ERROR = 2, EXT_STATE_ORPHAN = 4 };
/* s_errors */
enum { EXT_ERRORS_CONTINUE = 1, EXT_ERRORS_RO = 2, EXT_ERRORS_PANIC = 3 };
/* s_flags */
enum { EXT_FLAGS_SIGNED_HASH = 1, EXT_FLAGS_UNSIGNED_HASH = 2 };
/* s_def_hash_version, dx root hash_version */
enum {
	EXT_HASH_LEGACY = 0, EXT_HASH_HALF_MD4 = 1, EXT_HASH_TEA = 2,
	EXT_HASH_LEGACY_UNSIGNED = 3, EXT_HASH_HALF_MD4_UNSIGNED = 4, EXT_HASH_TEA_UNSIGNED = 5,
	EXT_HASH_SIPHASH = 6,
};

enum ext_compat {
	EXT_COMPAT_DIR_PREALLOC = 0x1, EXT_COMPAT_IMAGIC_INODES = 0x2, EXT_COMPAT_HAS_JOURNAL = 0x4,
	EXT_COMPAT_EXT_ATTR = 0x8, EXT_COMPAT_RESIZE_INODE = 0x10, EXT_COMPAT_DIR_INDEX = 0x20,
	EXT_COMPAT_LAZY_BG = 0x40, EXT_COMPAT_EXCLUDE_BITMAP = 0x100, EXT_COMPAT_SPARSE_SUPER2 = 0x200,
	EXT_COMPAT_FAST_COMMIT = 0x400, EXT_COMPAT_STABLE_INODES = 0x800, EXT_COMPAT_ORPHAN_FILE = 0x1000,
};
enum ext_incompat {
	EXT_INCOMPAT_COMPRESSION = 0x1, EXT_INCOMPAT_FILETYPE = 0x2, EXT_INCOMPAT_RECOVER = 0x4,
	EXT_INCOMPAT_JOURNAL_DEV = 0x8, EXT_INCOMPAT_META_BG = 0x10, EXT_INCOMPAT_EXTENTS = 0x40,
	EXT_INCOMPAT_64BIT = 0x80, EXT_INCOMPAT_MMP = 0x100, EXT_INCOMPAT_FLEX_BG = 0x200,
	EXT_INCOMPAT_EA_INODE = 0x400, EXT_INCOMPAT_DIRDATA = 0x1000, EXT_INCOMPAT_CSUM_SEED = 0x2000,
	EXT_INCOMPAT_LARGEDIR = 0x4000, EXT_INCOMPAT_INLINE_DATA = 0x8000, EXT_INCOMPAT_ENCRYPT = 0x10000,
	EXT_INCOMPAT_CASEFOLD = 0x20000,
};
enum ext_ro_compat {
	EXT_RO_COMPAT_SPARSE_SUPER = 0x1, EXT_RO_COMPAT_LARGE_FILE = 0x2, EXT_RO_COMPAT_BTREE_DIR = 0x4,
	EXT_RO_COMPAT_HUGE_FILE = 0x8, EXT_RO_COMPAT_GDT_CSUM = 0x10, EXT_RO_COMPAT_DIR_NLINK = 0x20,
	EXT_RO_COMPAT_EXTRA_ISIZE = 0x40, EXT_RO_COMPAT_HAS_SNAPSHOT = 0x80, EXT_RO_COMPAT_QUOTA = 0x100,
	EXT_RO_COMPAT_BIGALLOC = 0x200, EXT_RO_COMPAT_METADATA_CSUM = 0x400, EXT_RO_COMPAT_REPLICA = 0x800,
	EXT_RO_COMPAT_READONLY = 0x1000, EXT_RO_COMPAT_PROJECT = 0x2000, EXT_RO_COMPAT_SHARED_BLOCKS = 0x4000,
	EXT_RO_COMPAT_VERITY = 0x8000, EXT_RO_COMPAT_ORPHAN_PRESENT = 0x10000,
};

struct ext_disk_super {
/*000*/	le32 s_inodes_count, s_blocks_count_lo, s_r_blocks_count_lo, s_free_blocks_count_lo;
/*010*/	le32 s_free_inodes_count, s_first_data_block, s_log_block_size, s_log_cluster_size;
/*020*/	le32 s_blocks_per_group, s_clusters_per_group, s_inodes_per_group, s_mtime;
/*030*/	le32 s_wtime;
	le16 s_mnt_count, s_max_mnt_count, s_magic, s_state, s_errors, s_minor_rev_level;
/*040*/	le32 s_lastcheck, s_checkinterval, s_creator_os, s_rev_level;
/*050*/	le16 s_def_resuid, s_def_resgid;
	le32 s_first_ino;
	le16 s_inode_size, s_block_group_nr;
	le32 s_feature_compat;
/*060*/	le32 s_feature_incompat, s_feature_ro_compat;
	uint8_t s_uuid[16];
/*078*/	char s_volume_name[16];
/*088*/	char s_last_mounted[64];
/*0c8*/	le32 s_algorithm_usage_bitmap;
	uint8_t s_prealloc_blocks, s_prealloc_dir_blocks;
	le16 s_reserved_gdt_blocks;
/*0d0*/	uint8_t s_journal_uuid[16];
/*0e0*/	le32 s_journal_inum, s_journal_dev, s_last_orphan, s_hash_seed[4];
/*0fc*/	uint8_t s_def_hash_version, s_jnl_backup_type;
	le16 s_desc_size;
/*100*/	le32 s_default_mount_opts, s_first_meta_bg, s_mkfs_time, s_jnl_blocks[17];
/*150*/	le32 s_blocks_count_hi, s_r_blocks_count_hi, s_free_blocks_count_hi;
	le16 s_min_extra_isize, s_want_extra_isize;
/*160*/	le32 s_flags;
	le16 s_raid_stride, s_mmp_interval;
	le64 s_mmp_block;
/*170*/	le32 s_raid_stripe_width;
	uint8_t s_log_groups_per_flex, s_checksum_type;
	uint8_t s_encryption_level, s_reserved_pad;
	le64 s_kbytes_written;
/*180*/	le32 s_snapshot_inum, s_snapshot_id;
	le64 s_snapshot_r_blocks_count;
/*190*/	le32 s_snapshot_list, s_error_count, s_first_error_time, s_first_error_ino;
/*1a0*/	le64 s_first_error_block;
	uint8_t s_first_error_func[32];
/*1c8*/	le32 s_first_error_line, s_last_error_time;
/*1d0*/	le32 s_last_error_ino, s_last_error_line;
	le64 s_last_error_block;
/*1e0*/	uint8_t s_last_error_func[32];
/*200*/	uint8_t s_mount_opts[64];
/*240*/	le32 s_usr_quota_inum, s_grp_quota_inum, s_overhead_blocks, s_backup_bgs[2];
/*254*/	uint8_t s_encrypt_algos[4], s_encrypt_pw_salt[16];
/*268*/	le32 s_lpf_ino, s_prj_quota_inum, s_checksum_seed;
/*274*/	uint8_t s_wtime_hi, s_mtime_hi, s_mkfs_time_hi, s_lastcheck_hi, s_first_error_time_hi,
		s_last_error_time_hi, s_first_error_errcode, s_last_error_errcode;
/*27c*/	le16 s_encoding, s_encoding_flags;
/*280*/	le32 s_orphan_file_inum, s_reserved[94];
/*3fc*/	le32 s_checksum;	/* crc32c(~0, all before) */
};
DISK_SIZE(struct ext_disk_super, 1024);
DISK_OFFSET(struct ext_disk_super, s_magic, 0x38);
DISK_OFFSET(struct ext_disk_super, s_uuid, 0x68);
DISK_OFFSET(struct ext_disk_super, s_journal_inum, 0xe0);
DISK_OFFSET(struct ext_disk_super, s_blocks_count_hi, 0x150);
DISK_OFFSET(struct ext_disk_super, s_raid_stripe_width, 0x170);
DISK_OFFSET(struct ext_disk_super, s_mount_opts, 0x200);
DISK_OFFSET(struct ext_disk_super, s_checksum_seed, 0x270);
DISK_OFFSET(struct ext_disk_super, s_orphan_file_inum, 0x280);
DISK_OFFSET(struct ext_disk_super, s_checksum, 0x3fc);

/* bg_flags */
enum { EXT_BG_INODE_UNINIT = 1, EXT_BG_BLOCK_UNINIT = 2, EXT_BG_INODE_ZEROED = 4 };

struct ext_disk_group {
/*00*/	le32 bg_block_bitmap_lo, bg_inode_bitmap_lo, bg_inode_table_lo;
/*0c*/	le16 bg_free_blocks_count_lo, bg_free_inodes_count_lo, bg_used_dirs_count_lo, bg_flags;
/*14*/	le32 bg_exclude_bitmap_lo;
	le16 bg_block_bitmap_csum_lo, bg_inode_bitmap_csum_lo, bg_itable_unused_lo, bg_checksum;
/* the upper half is there when s_desc_size >= 64 (64bit) */
/*20*/	le32 bg_block_bitmap_hi, bg_inode_bitmap_hi, bg_inode_table_hi;
/*2c*/	le16 bg_free_blocks_count_hi, bg_free_inodes_count_hi, bg_used_dirs_count_hi, bg_itable_unused_hi;
/*34*/	le32 bg_exclude_bitmap_hi;
	le16 bg_block_bitmap_csum_hi, bg_inode_bitmap_csum_hi;
	le32 bg_reserved;
};
DISK_SIZE(struct ext_disk_group, 64);
DISK_OFFSET(struct ext_disk_group, bg_checksum, 0x1e);
enum { EXT_DESC_BYTES_32 = 32, EXT_DESC_BYTES_64 = 64 };

/* i_flags */
enum {
	EXT_FL_SECRM = 0x1, EXT_FL_SYNC = 0x8, EXT_FL_IMMUTABLE = 0x10, EXT_FL_APPEND = 0x20, EXT_FL_NODUMP = 0x40,
	EXT_FL_NOATIME = 0x80, EXT_FL_ENCRYPT = 0x800, EXT_FL_INDEX = 0x1000, EXT_FL_JOURNAL_DATA = 0x4000,
	EXT_FL_DIRSYNC = 0x10000, EXT_FL_TOPDIR = 0x20000, EXT_FL_HUGE_FILE = 0x40000, EXT_FL_EXTENTS = 0x80000,
	EXT_FL_VERITY = 0x100000, EXT_FL_EA_INODE = 0x200000, EXT_FL_INLINE_DATA = 0x10000000,
	EXT_FL_PROJINHERIT = 0x20000000, EXT_FL_CASEFOLD = 0x40000000,
};

struct ext_disk_inode {
/*00*/	le16 i_mode, i_uid_lo;
	le32 i_size_lo, i_atime, i_ctime;
/*10*/	le32 i_mtime, i_dtime;
	le16 i_gid_lo, i_links_count;
	le32 i_blocks_lo;
/*20*/	le32 i_flags, i_version_lo;
/*28*/	le32 i_block[EXT_NR_BLOCK];
/*64*/	le32 i_generation, i_file_acl_lo, i_size_hi, i_obso_faddr;
/*74*/	le16 i_blocks_hi, i_file_acl_hi, i_uid_hi, i_gid_hi, i_checksum_lo, i_reserved;
/*80*/	le16 i_extra_isize, i_checksum_hi;	/* from here on: within i_extra_isize only */
	le32 i_ctime_extra, i_mtime_extra, i_atime_extra;
/*90*/	le32 i_crtime, i_crtime_extra, i_version_hi, i_projid;
};
DISK_SIZE(struct ext_disk_inode, 160);
DISK_OFFSET(struct ext_disk_inode, i_block, 0x28);
DISK_OFFSET(struct ext_disk_inode, i_checksum_lo, 0x7c);
DISK_OFFSET(struct ext_disk_inode, i_checksum_hi, 0x82);
DISK_OFFSET(struct ext_disk_inode, i_projid, 0x9c);

/* file types in directory entries */
enum {
	EXT_FT_UNKNOWN = 0, EXT_FT_REG = 1, EXT_FT_DIR = 2, EXT_FT_CHR = 3, EXT_FT_BLK = 4, EXT_FT_FIFO = 5,
	EXT_FT_SOCK = 6, EXT_FT_SYMLINK = 7, EXT_FT_DIR_CSUM = 0xde,
};

struct ext_disk_dirent {
/*0*/	le32 inode;
	le16 rec_len;		/* 64 KiB blocks: 65535 or 0 means 65536, see ext_rec_len() */
	uint8_t name_len, file_type;
	char name[];
};
DISK_SIZE(struct ext_disk_dirent, 8);

/* The last 12 bytes of a directory leaf under metadata_csum look like an unused entry. */
struct ext_disk_dir_tail {
	le32 zero1;
	le16 rec_len;		/* 12 */
	uint8_t zero2, fake_type;	/* EXT_FT_DIR_CSUM */
	le32 checksum;		/* crc32c(inode seed, block up to here) */
};
DISK_SIZE(struct ext_disk_dir_tail, 12);

/* Hash tree. The root block begins with the entries "." and "..", the latter filling the block. */
struct ext_disk_dx_root_info {
	le32 zero;
	uint8_t hash_version, info_length /* 8 */, indirect_levels, unused_flags;
};
DISK_SIZE(struct ext_disk_dx_root_info, 8);
struct ext_disk_dx_entry {
	le32 hash, block;
};
/* In the place of the first entry's hash. */
struct ext_disk_dx_countlimit {
	le16 limit, count;
};
/* Behind the last possible entry under metadata_csum. */
struct ext_disk_dx_tail {
	le32 reserved, checksum;
};
DISK_SIZE(struct ext_disk_dx_tail, 8);

/* Extended attributes */
enum { EXT_XATTR_MAGIC = 0xea020000u };
struct ext_disk_xattr_header {	/* of an attribute block */
	le32 h_magic, h_refcount, h_blocks, h_hash, h_checksum, h_reserved[3];
};
DISK_SIZE(struct ext_disk_xattr_header, 32);
struct ext_disk_xattr_entry {
	uint8_t e_name_len, e_name_index;
	le16 e_value_offs;
	le32 e_value_inum, e_value_size, e_hash;
	char e_name[];
};
DISK_SIZE(struct ext_disk_xattr_entry, 16);
enum {
	EXT_XATTR_USER = 1, EXT_XATTR_POSIX_ACL_ACCESS = 2, EXT_XATTR_POSIX_ACL_DEFAULT = 3, EXT_XATTR_TRUSTED = 4,
	EXT_XATTR_SECURITY = 6, EXT_XATTR_SYSTEM = 7,
};

/* Extents (i_block under EXT_FL_EXTENTS, and tree blocks) */
enum { EXT_EXTENT_MAGIC = 0xf30a };
struct ext_disk_extent_header {
	le16 eh_magic, eh_entries, eh_max, eh_depth;
	le32 eh_generation;
};
struct ext_disk_extent {
	le32 ee_block;
	le16 ee_len, ee_start_hi;	/* length above 32768: unwritten, minus 32768 */
	le32 ee_start_lo;
};
struct ext_disk_extent_idx {
	le32 ei_block, ei_leaf_lo;
	le16 ei_leaf_hi, ei_unused;
};
DISK_SIZE(struct ext_disk_extent_header, 12);
DISK_SIZE(struct ext_disk_extent, 12);
DISK_SIZE(struct ext_disk_extent_idx, 12);

#endif
