/* ext_super.c: the superblock, field by field. See ext_layout.h. */
#include <stdio.h>

#include "fs/ext_layout.h"

enum {
	MIN_DESC_BYTES_64 = 64, MAX_DESC_BYTES = 1024,
	CSUM_TYPE_CRC32C = 1,
	OS_HURD = 1,
	MAX_LOG_BLOCK = 6,
	REV_DYNAMIC = 1,
};

static int bad(char *why, const char *field, uint64_t value, const char *what)
{
	snprintf(why, EXT_WHY_BYTES, "superblock: %s is %" PRIu64 ": %s", field, value, what);
	return -EUCLEAN;
}

uint64_t ext_super_blocks(const struct ext_disk_super *sb, le32 lo, le32 hi)
{
	const bool wide = le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT;

	return le32_get(lo) | (wide ? (uint64_t)le32_get(hi) << 32 : 0);
}

/* Is it one of ours at all? */
int ext_super_identify(const struct ext_disk_super *sb, char why[static EXT_WHY_BYTES])
{
	if (le16_get(sb->s_magic) != EXT_MAGIC) {
		snprintf(why, EXT_WHY_BYTES, "no ext2, ext3 or ext4 filesystem is there");
		return -EINVAL;
	}
	if (le32_get(sb->s_rev_level) != REV_DYNAMIC) {
		snprintf(why, EXT_WHY_BYTES, "format revision %" PRIu32 " is not supported", le32_get(sb->s_rev_level));
		return -EOPNOTSUPP;
	}
	if (le32_get(sb->s_creator_os) == OS_HURD) {
		snprintf(why, EXT_WHY_BYTES, "filesystems of the Hurd are not supported");
		return -EOPNOTSUPP;
	}
	return 0;
}

int ext_super_check_csum(const struct ext_disk_super *sb, char why[static EXT_WHY_BYTES])
{
	uint32_t csum;

	if (!(le32_get(sb->s_feature_ro_compat) & EXT_RO_COMPAT_METADATA_CSUM))
		return 0;
	if (sb->s_checksum_type != CSUM_TYPE_CRC32C)
		return bad(why, "s_checksum_type", sb->s_checksum_type, "only 1 (crc32c) exists");
	csum = ext_super_csum(sb);
	if (csum != le32_get(sb->s_checksum)) {
		snprintf(why, EXT_WHY_BYTES, "superblock: checksum is %#" PRIx32 ", should be %#" PRIx32,
			 le32_get(sb->s_checksum), csum);
		return -EUCLEAN;
	}
	return 0;
}

static int check_blocks(const struct ext_disk_super *sb, char *why, uint64_t dev_bytes)
{
	const uint32_t log = le32_get(sb->s_log_block_size);
	const uint32_t block_bytes = EXT_MIN_BLOCK_BYTES << MIN(log, (uint32_t)MAX_LOG_BLOCK);
	const uint32_t first = le32_get(sb->s_first_data_block), per_group = le32_get(sb->s_blocks_per_group);
	const uint64_t nr = ext_super_blocks(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);

	if (log > MAX_LOG_BLOCK)
		return bad(why, "s_log_block_size", log, "blocks have at most 64 KiB");
	if (le32_get(sb->s_log_cluster_size) != log)
		return bad(why, "s_log_cluster_size", le32_get(sb->s_log_cluster_size), "not that of blocks");
	if (first != (block_bytes == EXT_MIN_BLOCK_BYTES))
		return bad(why, "s_first_data_block", first, "does not fit the block size");
	if (per_group == 0 || per_group % 8 || per_group > block_bytes * 8)
		return bad(why, "s_blocks_per_group", per_group, "does not fit one bitmap block");
	if (le32_get(sb->s_clusters_per_group) != per_group)
		return bad(why, "s_clusters_per_group", le32_get(sb->s_clusters_per_group), "not that of blocks");
	if (nr <= first)
		return bad(why, "s_blocks_count", nr, "too few");
	if (nr > dev_bytes / block_bytes) {
		snprintf(why, EXT_WHY_BYTES, "the filesystem has %" PRIu64 " blocks of %" PRIu32
			 " bytes, the device only has %" PRIu64, nr, block_bytes, dev_bytes / block_bytes);
		return -EUCLEAN;
	}
	if (DIV_UP(nr - first, (uint64_t)per_group) > UINT32_MAX)
		return bad(why, "s_blocks_count", nr, "makes too many groups");
	if (ext_super_blocks(sb, sb->s_r_blocks_count_lo, sb->s_r_blocks_count_hi) > nr)
		return bad(why, "s_r_blocks_count", le32_get(sb->s_r_blocks_count_lo), "more than there are");
	return 0;
}

static int check_inodes(const struct ext_disk_super *sb, char *why)
{
	const uint32_t block_bytes = EXT_MIN_BLOCK_BYTES << le32_get(sb->s_log_block_size);
	const uint64_t nr_blocks = ext_super_blocks(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);
	const uint64_t nr_groups = DIV_UP(nr_blocks - le32_get(sb->s_first_data_block),
					  (uint64_t)le32_get(sb->s_blocks_per_group));
	const uint32_t size = le16_get(sb->s_inode_size), per_group = le32_get(sb->s_inodes_per_group);
	const uint32_t nr = le32_get(sb->s_inodes_count), first = le32_get(sb->s_first_ino);

	if (!is_pow2(size) || size < EXT_GOOD_OLD_INODE_BYTES || size > block_bytes)
		return bad(why, "s_inode_size", size, "no power of two from 128 to the block size");
	if (per_group % 8 || per_group < block_bytes / size || per_group > block_bytes * 8)
		return bad(why, "s_inodes_per_group", per_group, "does not fit one bitmap block");
	if (DIV_UP((uint64_t)per_group * size, (uint64_t)block_bytes) + 2 >= le32_get(sb->s_blocks_per_group))
		return bad(why, "s_inodes_per_group", per_group, "leaves no room for blocks");
	if (nr != nr_groups * per_group)
		return bad(why, "s_inodes_count", nr, "not that of all groups");
	if (first < EXT_FIRST_INO_DEFAULT || first > nr)
		return bad(why, "s_first_ino", first, "out of range");
	return 0;
}

static int check_rest(const struct ext_disk_super *sb, char *why)
{
	const uint32_t incompat = le32_get(sb->s_feature_incompat);
	const uint32_t block_bytes = EXT_MIN_BLOCK_BYTES << le32_get(sb->s_log_block_size);
	const uint32_t desc = le16_get(sb->s_desc_size), reserved = le16_get(sb->s_reserved_gdt_blocks);

	if ((incompat & EXT_INCOMPAT_64BIT) &&
	    (!is_pow2(desc) || desc < MIN_DESC_BYTES_64 || desc > MAX_DESC_BYTES))
		return bad(why, "s_desc_size", desc, "no power of two from 64 to 1024");
	if (reserved > block_bytes / sizeof(le32))
		return bad(why, "s_reserved_gdt_blocks", reserved, "more than one block can name");
	if ((incompat & EXT_INCOMPAT_FLEX_BG) && sb->s_log_groups_per_flex > 31)
		return bad(why, "s_log_groups_per_flex", sb->s_log_groups_per_flex, "more than 31");
	if (sb->s_def_hash_version > EXT_HASH_TEA)
		return bad(why, "s_def_hash_version", sb->s_def_hash_version, "no known hash");
	if ((incompat & EXT_INCOMPAT_META_BG) &&
	    le32_get(sb->s_first_meta_bg) > DIV_UP(ext_nr_groups(sb), block_bytes / ext_desc_bytes(sb)))
		return bad(why, "s_first_meta_bg", le32_get(sb->s_first_meta_bg), "behind the last descriptor block");
	return 0;
}

int ext_super_check_fields(const struct ext_disk_super *sb, uint64_t dev_bytes, char why[static EXT_WHY_BYTES])
{
	int err;

	if ((err = check_blocks(sb, why, dev_bytes)) || (err = check_inodes(sb, why)))
		return err;
	return check_rest(sb, why);
}
