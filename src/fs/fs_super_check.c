/*
 * fs_super_check.c: the superblock (ext_super.c says what is wrong with it), and the geometry that
 * follows from it. After fs_super_check() has passed, every field that the other files of src/fs
 * use is within the bounds that they count on.
 */
#include "fs/fs_int.h"

enum {
	EXTRA_ISIZE = sizeof(struct ext_disk_inode) - EXT_GOOD_OLD_INODE_BYTES,
};

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
	fs->nr_blocks = ext_super_blocks(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);
	fs->nr_reserved_blocks = ext_super_blocks(sb, sb->s_r_blocks_count_lo, sb->s_r_blocks_count_hi);
	fs->first_data_block = le32_get(sb->s_first_data_block);
	fs->blocks_per_group = le32_get(sb->s_blocks_per_group);
	fs->inodes_per_group = le32_get(sb->s_inodes_per_group);
	fs->nr_groups = ext_nr_groups(sb);
	fs->nr_inodes = le32_get(sb->s_inodes_count);
	fs->first_ino = le32_get(sb->s_first_ino);
	fs->inode_bytes = le16_get(sb->s_inode_size);
	fs->itable_blocks = (uint32_t)DIV_UP((uint64_t)fs->inodes_per_group * fs->inode_bytes,
					     (uint64_t)fs->block_bytes);
	fs->desc_bytes = ext_desc_bytes(sb);
	if (fs_has_incompat(fs, EXT_INCOMPAT_FLEX_BG))
		fs->groups_per_flex_shift = sb->s_log_groups_per_flex;
	fs->csum_seed = ext_csum_seed(sb);
	for (unsigned i = 0; i < ARRAY_LEN(fs->hash_seed); i++)
		fs->hash_seed[i] = le32_get(sb->s_hash_seed[i]);
	fs->hash_version = hash_version(sb);
	fs->max_file_bytes = max_file_bytes(fs);
	inode_geometry(fs);
}

static int tell(const struct fs *fs, int err, const char *why)
{
	if (err)
		log_error("%s: %s", blk_name(fs->dev), why);
	return err;
}

/* A torn superblock is mended by the replay of the journal, if at all. */
static int check_csum(const struct fs *fs, bool before_replay)
{
	const struct ext_disk_super *sb = &fs->super;
	char why[EXT_WHY_BYTES];
	const int err = ext_super_check_csum(sb, why);

	if (before_replay && le32_get(sb->s_feature_compat) & EXT_COMPAT_HAS_JOURNAL)
		return 0;
	return tell(fs, err, why);
}

int fs_super_check(struct fs *fs, bool before_replay)
{
	const struct ext_disk_super *sb = &fs->super;
	char why[EXT_WHY_BYTES];
	bool read_only = false;
	int err;

	if ((err = tell(fs, ext_super_identify(sb, why), why)) ||
	    (err = check_csum(fs, before_replay)) ||
	    (err = fs_features_check(sb, blk_name(fs->dev), !fs->read_only, &read_only)) ||
	    (err = tell(fs, ext_super_check_fields(sb, blk_nr_sects(fs->dev) << SECT_SHIFT, why), why)))
		return err;
	if (read_only)
		fs->read_only = true;
	super_geometry(fs);
	fs->overhead_blocks = fs->first_data_block;	/* what the groups have comes with them */
	return 0;
}
