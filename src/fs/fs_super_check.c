/*
 * fs_super_check.c: the superblock, field by field, and the geometry that follows from it.
 * After fs_super_check() has passed, every field that fs_super_geometry() and the other files
 * of src/fs use is within the bounds that they count on.
 */
#include "fs/fs_int.h"

enum {
	MIN_DESC_BYTES_64 = 64, MAX_DESC_BYTES = 1024,
	EXTRA_ISIZE = sizeof(struct ext_disk_inode) - EXT_GOOD_OLD_INODE_BYTES,
	CSUM_TYPE_CRC32C = 1,
	OS_HURD = 1,
	MAX_LOG_BLOCK = 6,
	REV_DYNAMIC = 1,
};

static int bad(const char *name, const char *field, uint64_t value, const char *why)
{
	log_error("%s: superblock: %s is %" PRIu64 ": %s", name, field, value, why);
	return -EUCLEAN;
}

static uint64_t blocks_of(const struct ext_disk_super *sb, le32 lo, le32 hi)
{
	const bool wide = le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT;

	return le32_get(lo) | (wide ? (uint64_t)le32_get(hi) << 32 : 0);
}

/* Is it one of ours at all, and undamaged as a whole? */
static int check_identity(const struct ext_disk_super *sb, const char *name)
{
	uint32_t csum;

	if (le16_get(sb->s_magic) != EXT_MAGIC) {
		log_error("%s: no ext2, ext3 or ext4 filesystem is there", name);
		return -EINVAL;
	}
	if (le32_get(sb->s_rev_level) != REV_DYNAMIC) {
		log_error("%s: format revision %" PRIu32 " is not supported", name, le32_get(sb->s_rev_level));
		return -EOPNOTSUPP;
	}
	if (le32_get(sb->s_creator_os) == OS_HURD) {
		log_error("%s: filesystems of the Hurd are not supported", name);
		return -EOPNOTSUPP;
	}
	if (!(le32_get(sb->s_feature_ro_compat) & EXT_RO_COMPAT_METADATA_CSUM))
		return 0;
	if (sb->s_checksum_type != CSUM_TYPE_CRC32C)
		return bad(name, "s_checksum_type", sb->s_checksum_type, "only 1 (crc32c) exists");
	csum = ext_super_csum(sb);
	if (csum != le32_get(sb->s_checksum)) {
		log_error("%s: superblock: checksum is %#" PRIx32 ", should be %#" PRIx32, name,
			  le32_get(sb->s_checksum), csum);
		return -EUCLEAN;
	}
	return 0;
}

static int check_blocks(const struct ext_disk_super *sb, const char *name, uint64_t dev_bytes)
{
	const uint32_t log = le32_get(sb->s_log_block_size);
	const uint32_t block_bytes = EXT_MIN_BLOCK_BYTES << MIN(log, (uint32_t)MAX_LOG_BLOCK);
	const uint32_t first = le32_get(sb->s_first_data_block), per_group = le32_get(sb->s_blocks_per_group);
	const uint64_t nr = blocks_of(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);

	if (log > MAX_LOG_BLOCK)
		return bad(name, "s_log_block_size", log, "blocks have at most 64 KiB");
	if (le32_get(sb->s_log_cluster_size) != log)
		return bad(name, "s_log_cluster_size", le32_get(sb->s_log_cluster_size), "not that of blocks");
	if (first != (block_bytes == EXT_MIN_BLOCK_BYTES))
		return bad(name, "s_first_data_block", first, "does not fit the block size");
	if (per_group == 0 || per_group % 8 || per_group > block_bytes * 8)
		return bad(name, "s_blocks_per_group", per_group, "does not fit one bitmap block");
	if (le32_get(sb->s_clusters_per_group) != per_group)
		return bad(name, "s_clusters_per_group", le32_get(sb->s_clusters_per_group), "not that of blocks");
	if (nr <= first)
		return bad(name, "s_blocks_count", nr, "too few");
	if (nr > dev_bytes / block_bytes) {
		log_error("%s: the filesystem has %" PRIu64 " blocks of %" PRIu32 " bytes, the device only has %" PRIu64,
			  name, nr, block_bytes, dev_bytes / block_bytes);
		return -EUCLEAN;
	}
	if (DIV_UP(nr - first, (uint64_t)per_group) > UINT32_MAX)
		return bad(name, "s_blocks_count", nr, "makes too many groups");
	if (blocks_of(sb, sb->s_r_blocks_count_lo, sb->s_r_blocks_count_hi) > nr)
		return bad(name, "s_r_blocks_count", le32_get(sb->s_r_blocks_count_lo), "more than there are");
	return 0;
}

static int check_inodes(const struct ext_disk_super *sb, const char *name)
{
	const uint32_t block_bytes = EXT_MIN_BLOCK_BYTES << le32_get(sb->s_log_block_size);
	const uint64_t nr_blocks = blocks_of(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);
	const uint64_t nr_groups = DIV_UP(nr_blocks - le32_get(sb->s_first_data_block),
					  (uint64_t)le32_get(sb->s_blocks_per_group));
	const uint32_t size = le16_get(sb->s_inode_size), per_group = le32_get(sb->s_inodes_per_group);
	const uint32_t nr = le32_get(sb->s_inodes_count), first = le32_get(sb->s_first_ino);

	if (!is_pow2(size) || size < EXT_GOOD_OLD_INODE_BYTES || size > block_bytes)
		return bad(name, "s_inode_size", size, "no power of two from 128 to the block size");
	if (per_group % 8 || per_group < block_bytes / size || per_group > block_bytes * 8)
		return bad(name, "s_inodes_per_group", per_group, "does not fit one bitmap block");
	if (DIV_UP((uint64_t)per_group * size, (uint64_t)block_bytes) + 2 >= le32_get(sb->s_blocks_per_group))
		return bad(name, "s_inodes_per_group", per_group, "leaves no room for blocks");
	if (nr != nr_groups * per_group)
		return bad(name, "s_inodes_count", nr, "not that of all groups");
	if (first < EXT_FIRST_INO_DEFAULT || first > nr)
		return bad(name, "s_first_ino", first, "out of range");
	return 0;
}

static int check_rest(const struct ext_disk_super *sb, const char *name)
{
	const uint32_t incompat = le32_get(sb->s_feature_incompat);
	const uint32_t block_bytes = EXT_MIN_BLOCK_BYTES << le32_get(sb->s_log_block_size);
	const uint32_t desc = le16_get(sb->s_desc_size), reserved = le16_get(sb->s_reserved_gdt_blocks);

	if ((incompat & EXT_INCOMPAT_64BIT) &&
	    (!is_pow2(desc) || desc < MIN_DESC_BYTES_64 || desc > MAX_DESC_BYTES))
		return bad(name, "s_desc_size", desc, "no power of two from 64 to 1024");
	if (reserved > block_bytes / sizeof(le32))
		return bad(name, "s_reserved_gdt_blocks", reserved, "more than one block can name");
	if ((incompat & EXT_INCOMPAT_FLEX_BG) && sb->s_log_groups_per_flex > 31)
		return bad(name, "s_log_groups_per_flex", sb->s_log_groups_per_flex, "more than 31");
	if (sb->s_def_hash_version > EXT_HASH_TEA)
		return bad(name, "s_def_hash_version", sb->s_def_hash_version, "no known hash");
	return 0;
}

static int check_meta_bg(const struct ext_disk_super *sb, const char *name, const struct fs *fs)
{
	const uint32_t nr_desc_blocks = DIV_UP(fs->nr_groups, fs->block_bytes / fs->desc_bytes);

	if (fs_has_incompat(fs, EXT_INCOMPAT_META_BG) && le32_get(sb->s_first_meta_bg) > nr_desc_blocks)
		return bad(name, "s_first_meta_bg", le32_get(sb->s_first_meta_bg), "behind the last descriptor block");
	return 0;
}

/* The largest file of an indirect map: its pointers, its count of blocks, and 32-bit block numbers. */
static uint64_t max_file_bytes(const struct fs *fs)
{
	const uint64_t per = 1ull << fs->ptrs_per_block_shift;
	const uint64_t by_map = EXT_NR_DIRECT + per + per * per + per * per * per;
	uint64_t by_count = UINT32_MAX;

	if (!fs_has_ro_compat(fs, EXT_RO_COMPAT_HUGE_FILE)) {
		by_count = UINT32_MAX >> (fs->block_shift - SECT_SHIFT);
		/* Map blocks count, too: at most one for per data blocks, and a few above. */
		by_count -= by_count / per + by_count / per / per + 3;
	}
	return MIN(by_map, by_count) << fs->block_shift;
}

static uint8_t hash_version(const struct ext_disk_super *sb)
{
	const bool is_unsigned = le32_get(sb->s_flags) & EXT_FLAGS_UNSIGNED_HASH;

	return sb->s_def_hash_version + (is_unsigned ? EXT_HASH_LEGACY_UNSIGNED : 0);
}

/* As the kernel counts it: what the fixed metadata takes, copies and reserved descriptors included. */
static uint64_t overhead_blocks(const struct fs *fs)
{
	uint64_t nr = fs->first_data_block;

	for (uint32_t i = 0; i < fs->nr_groups; i++)
		nr += fs_group_has_super(fs, i) + fs_group_nr_desc_blocks(fs, i) + fs->itable_blocks + 2;
	return nr;
}

static void inode_geometry(struct fs *fs)
{
	const struct ext_disk_super *sb = &fs->super;
	const uint32_t space = fs->inode_bytes - EXT_GOOD_OLD_INODE_BYTES;
	const uint32_t wanted = MAX(le16_get(sb->s_want_extra_isize), le16_get(sb->s_min_extra_isize));

	fs->want_extra_isize = space ? EXTRA_ISIZE : 0;
	if (fs_has_ro_compat(fs, EXT_RO_COMPAT_EXTRA_ISIZE) && wanted % 4 == 0 && wanted > EXTRA_ISIZE &&
	    wanted <= space)
		fs->want_extra_isize = wanted;
}

static void super_geometry(struct fs *fs)
{
	const struct ext_disk_super *sb = &fs->super;

	fs->compat = le32_get(sb->s_feature_compat);
	fs->incompat = le32_get(sb->s_feature_incompat);
	fs->ro_compat = le32_get(sb->s_feature_ro_compat);
	fs->block_shift = 10 + le32_get(sb->s_log_block_size);
	fs->block_bytes = 1u << fs->block_shift;
	fs->ptrs_per_block_shift = fs->block_shift - 2;
	fs->nr_blocks = blocks_of(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);
	fs->nr_reserved_blocks = blocks_of(sb, sb->s_r_blocks_count_lo, sb->s_r_blocks_count_hi);
	fs->first_data_block = le32_get(sb->s_first_data_block);
	fs->blocks_per_group = le32_get(sb->s_blocks_per_group);
	fs->inodes_per_group = le32_get(sb->s_inodes_per_group);
	fs->nr_groups = (uint32_t)DIV_UP(fs->nr_blocks - fs->first_data_block, (uint64_t)fs->blocks_per_group);
	fs->nr_inodes = le32_get(sb->s_inodes_count);
	fs->first_ino = le32_get(sb->s_first_ino);
	fs->inode_bytes = le16_get(sb->s_inode_size);
	fs->itable_blocks = (uint32_t)DIV_UP((uint64_t)fs->inodes_per_group * fs->inode_bytes,
					     (uint64_t)fs->block_bytes);
	fs->desc_bytes = fs_has_incompat(fs, EXT_INCOMPAT_64BIT) ? le16_get(sb->s_desc_size) : EXT_DESC_BYTES_32;
	if (fs_has_incompat(fs, EXT_INCOMPAT_FLEX_BG))
		fs->groups_per_flex_shift = sb->s_log_groups_per_flex;
	fs->csum_seed = ext_csum_seed(sb);
	for (unsigned i = 0; i < ARRAY_LEN(fs->hash_seed); i++)
		fs->hash_seed[i] = le32_get(sb->s_hash_seed[i]);
	fs->hash_version = hash_version(sb);
	fs->max_file_bytes = max_file_bytes(fs);
	inode_geometry(fs);
}

int fs_super_check(struct fs *fs)
{
	const struct ext_disk_super *sb = &fs->super;
	const char *name = blk_name(fs->dev);
	bool read_only = false;
	int err;

	if ((err = check_identity(sb, name)) ||
	    (err = fs_features_check(sb, name, !fs->read_only, &read_only)) ||
	    (err = check_blocks(sb, name, blk_nr_sects(fs->dev) << SECT_SHIFT)) ||
	    (err = check_inodes(sb, name)) || (err = check_rest(sb, name)))
		return err;
	if (read_only)
		fs->read_only = true;
	super_geometry(fs);
	err = check_meta_bg(sb, name, fs);
	if (err)
		return err;
	fs->overhead_blocks = overhead_blocks(fs);
	return 0;
}
