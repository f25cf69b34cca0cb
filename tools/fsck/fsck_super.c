/*
 * fsck_super.c: the superblock: the first one, or a copy when that is damaged; what follows from
 * it; its end. The checks are those of ext_super.c.
 */
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "fs/fs.h"
#include "fs/fs_int.h"
#include "fsck_int.h"

/* Features whose structures fsck does not know. */
static const uint32_t no_incompat = ~(uint32_t)(
	EXT_INCOMPAT_FILETYPE | EXT_INCOMPAT_RECOVER | EXT_INCOMPAT_META_BG | EXT_INCOMPAT_EXTENTS | EXT_INCOMPAT_64BIT |
	EXT_INCOMPAT_FLEX_BG | EXT_INCOMPAT_CSUM_SEED | EXT_INCOMPAT_LARGEDIR | EXT_INCOMPAT_INLINE_DATA);
static const uint32_t no_ro_compat = ~(uint32_t)(
	EXT_RO_COMPAT_SPARSE_SUPER | EXT_RO_COMPAT_LARGE_FILE | EXT_RO_COMPAT_HUGE_FILE | EXT_RO_COMPAT_GDT_CSUM |
	EXT_RO_COMPAT_DIR_NLINK | EXT_RO_COMPAT_EXTRA_ISIZE | EXT_RO_COMPAT_QUOTA | EXT_RO_COMPAT_METADATA_CSUM |
	EXT_RO_COMPAT_PROJECT | EXT_RO_COMPAT_READONLY | EXT_RO_COMPAT_ORPHAN_PRESENT);

static void refuse(const struct fsck *f, char set, uint32_t bits)
{
	for (uint32_t bit = 1; bit; bit <<= 1)
		if (bits & bit)
			log_error("%s: feature %s (bit %#" PRIx32 ") is not supported by fsck.osfs", blk_name(f->dev),
				  fs_feature_name(set, bit) ? fs_feature_name(set, bit) : "unknown", bit);
}

static bool features_known(const struct ext_disk_super *sb)
{
	return !(le32_get(sb->s_feature_incompat) & no_incompat) && !(le32_get(sb->s_feature_ro_compat) & no_ro_compat);
}

static int features_check(struct fsck *f, const struct ext_disk_super *sb)
{
	const uint32_t i = le32_get(sb->s_feature_incompat) & no_incompat;
	const uint32_t r = le32_get(sb->s_feature_ro_compat) & no_ro_compat;

	refuse(f, 'i', i);
	refuse(f, 'r', r);
	return i || r ? -EOPNOTSUPP : 0;
}

static uint64_t dev_bytes(const struct fsck *f)
{
	return blk_nr_sects(f->dev) << SECT_SHIFT;
}

/* Where a superblock lies that begins in this block of the filesystem. */
static uint64_t super_off(uint64_t block, uint32_t block_bytes)
{
	return block == 0 ? EXT_SUPER_OFF_BYTES : block * block_bytes;
}

static int super_read(struct fsck *f, uint64_t off, struct ext_disk_super *sb)
{
	if (off % SECT_BYTES || off > dev_bytes(f) || dev_bytes(f) - off < sizeof(*sb))
		return -ENXIO;
	return blk_read(f->dev, off >> SECT_SHIFT, sb, sizeof(*sb));
}

/* 0, or what keeps it from being used (why). */
static int super_judge(struct fsck *f, const struct ext_disk_super *sb, char *why)
{
	int err;

	if ((err = ext_super_identify(sb, why)) || (err = ext_super_check_csum(sb, why)))
		return err;
	return ext_super_check_fields(sb, dev_bytes(f), why);
}

/* A whole copy in this block, for this block size. */
static bool copy_read(struct fsck *f, uint64_t block, uint32_t block_bytes, struct ext_disk_super *sb)
{
	char why[EXT_WHY_BYTES];

	return !super_read(f, super_off(block, block_bytes), sb) && !super_judge(f, sb, why) &&
	       (uint32_t)EXT_MIN_BLOCK_BYTES << le32_get(sb->s_log_block_size) == block_bytes;
}

static bool copy_search(struct fsck *f, uint32_t block_bytes, struct ext_disk_super *sb, uint64_t *block)
{
	static const uint8_t groups[] = { 1, 3, 5, 7, 9, 25, 27, 49 };

	for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
		*block = (uint64_t)groups[i] * block_bytes * 8 + (block_bytes == EXT_MIN_BLOCK_BYTES);
		if (copy_read(f, *block, block_bytes, sb) && le16_get(sb->s_block_group_nr) == groups[i])
			return true;
	}
	return false;
}

static bool copy_find(struct fsck *f, struct ext_disk_super *sb, uint64_t *block)
{
	for (uint32_t bytes = EXT_MIN_BLOCK_BYTES; bytes <= EXT_MAX_BLOCK_BYTES; bytes *= 2) {
		if (f->opts.block_bytes && f->opts.block_bytes != bytes)
			continue;
		if (f->opts.super_block) {
			*block = f->opts.super_block;
			if (copy_read(f, *block, bytes, sb))
				return true;
		} else if (copy_search(f, bytes, sb, block)) {
			return true;
		}
	}
	return false;
}

/* Do both describe the same filesystem? Everything that the others are checked by. */
static bool same_geometry(const struct ext_disk_super *a, const struct ext_disk_super *b)
{
#define SAME(field) (!memcmp(&a->field, &b->field, sizeof(a->field)))
	return SAME(s_inodes_count) && SAME(s_blocks_count_lo) && SAME(s_blocks_count_hi) && SAME(s_first_data_block) &&
	       SAME(s_log_block_size) && SAME(s_blocks_per_group) && SAME(s_inodes_per_group) && SAME(s_inode_size) &&
	       SAME(s_first_ino) && SAME(s_feature_compat) && SAME(s_feature_incompat) && SAME(s_feature_ro_compat) &&
	       SAME(s_uuid) && SAME(s_hash_seed) && SAME(s_desc_size) && SAME(s_checksum_seed) &&
	       SAME(s_reserved_gdt_blocks) && SAME(s_first_meta_bg) && SAME(s_flags) && SAME(s_backup_bgs);
#undef SAME
}

/* Fields whose damage harms nobody else: put right, if that is all. True: now it passes. */
static bool mend(struct fsck *f, struct ext_disk_super *sb)
{
	const uint64_t nr = ext_super_blocks(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);
	const uint64_t reserved = ext_super_blocks(sb, sb->s_r_blocks_count_lo, sb->s_r_blocks_count_hi);
	struct ext_disk_super t = *sb;
	char why[EXT_WHY_BYTES];

	if (reserved > nr) {
		t.s_r_blocks_count_lo = le32_of((uint32_t)(nr / 20));
		t.s_r_blocks_count_hi = le32_of(0);
	}
	if (sb->s_def_hash_version > EXT_HASH_TEA)
		t.s_def_hash_version = EXT_HASH_HALF_MD4;
	if (ext_super_identify(&t, why) || ext_super_check_fields(&t, dev_bytes(f), why))
		return false;
	if (reserved > nr && !fsck_fix(&f->main, P0_SB_RESERVED, .num = reserved) && f->opts.mode != FSCK_NO)
		return false;
	if (sb->s_def_hash_version > EXT_HASH_TEA &&
	    !fsck_fix(&f->main, P0_SB_HINT, .str = "s_def_hash_version", .num = sb->s_def_hash_version) &&
	    f->opts.mode != FSCK_NO)
		return false;
	f->sb_dirty |= memcmp(sb, &t, sizeof(t)) != 0;
	*sb = t;
	return true;
}

/* The first superblock has a fault: another one, or this one with its checksum made right. */
static int super_rescue(struct fsck *f, const char *why, int fault)
{
	struct ext_disk_super copy;
	char why2[EXT_WHY_BYTES];
	uint64_t block;
	const bool found = copy_find(f, &copy, &block);
	bool usable = !ext_super_identify(&f->sb, why2) && !ext_super_check_fields(&f->sb, dev_bytes(f), why2);

	if (!found && !usable)
		usable = mend(f, &f->sb);
	if (usable && (!found || same_geometry(&f->sb, &copy))) {
		const bool wrong = ext_super_check_csum(&f->sb, why2) && !f->sb_dirty;

		if (wrong && !fsck_fix(&f->main, P0_SB_CSUM, .ino = 0) && f->opts.mode != FSCK_NO)
			return -ECANCELED;
		f->sb_dirty = true;
		return 0;
	}
	if (!found) {
		log_error("%s: %s", blk_name(f->dev), why);
		log_error("%s: no copy of the superblock was found; -b BLOCK -B BYTES names one", blk_name(f->dev));
		return fault;
	}
	if (!fsck_fix(&f->main, P0_SB_BAD, .str = why, .pblk = block) && f->opts.mode != FSCK_NO)
		return -ECANCELED;
	f->sb = copy;
	f->sb_from = block;
	f->sb.s_block_group_nr = le16_of(0);
	f->sb.s_state = le16_of(le16_get(copy.s_state) & (uint16_t)~EXT_STATE_VALID);
	f->sb_dirty = f->copies_dirty = true;
	return 0;
}

void fsck_set_features(struct fsck *f, uint32_t compat, uint32_t incompat)
{
	f->sb.s_feature_compat = le32_of(compat);
	f->sb.s_feature_incompat = le32_of(incompat);
	f->sb_dirty = true;
	f->copies_dirty |= compat != f->compat;
	f->compat = compat;
	f->incompat = incompat;
}

/* A feature that is not known may be a bit that has flipped: the copy has not got it then. */
static bool feature_flipped(struct fsck *f)
{
	struct ext_disk_super copy;
	uint64_t block;

	return !features_known(&f->sb) && copy_find(f, &copy, &block) && features_known(&copy) &&
	       !memcmp(copy.s_uuid, f->sb.s_uuid, sizeof(copy.s_uuid));
}

static int named_super(struct fsck *f)
{
	uint64_t block;

	if (!copy_find(f, &f->sb, &block)) {
		log_error("%s: no superblock in block %" PRIu64 "%s", blk_name(f->dev), f->opts.super_block,
			  f->opts.block_bytes ? "" : " for any block size; -B names one");
		return -EINVAL;
	}
	f->sb_from = block;
	f->sb.s_block_group_nr = le16_of(0);
	f->sb.s_state = le16_of(le16_get(f->sb.s_state) & (uint16_t)~EXT_STATE_VALID);
	f->sb_dirty = f->copies_dirty = true;
	return 0;
}

void fsck_super_geometry(struct fsck *f)
{
	const struct ext_disk_super *sb = &f->sb;

	f->compat = le32_get(sb->s_feature_compat);
	f->incompat = le32_get(sb->s_feature_incompat);
	f->ro_compat = le32_get(sb->s_feature_ro_compat);
	f->block_shift = 10 + le32_get(sb->s_log_block_size);
	f->block_bytes = 1u << f->block_shift;
	f->nr_blocks = ext_super_blocks(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);
	f->first_data_block = le32_get(sb->s_first_data_block);
	f->blocks_per_group = le32_get(sb->s_blocks_per_group);
	f->inodes_per_group = le32_get(sb->s_inodes_per_group);
	f->nr_groups = ext_nr_groups(sb);
	f->nr_inodes = le32_get(sb->s_inodes_count);
	f->first_ino = le32_get(sb->s_first_ino);
	f->inode_bytes = le16_get(sb->s_inode_size);
	f->desc_bytes = ext_desc_bytes(sb);
	f->itable_blocks = (uint32_t)DIV_UP((uint64_t)f->inodes_per_group * f->inode_bytes, (uint64_t)f->block_bytes);
	f->csum_seed = ext_csum_seed(sb);
	for (unsigned i = 0; i < ARRAY_LEN(f->hash_seed); i++)
		f->hash_seed[i] = le32_get(sb->s_hash_seed[i]);
	f->hash_unsigned = le32_get(sb->s_flags) & EXT_FLAGS_UNSIGNED_HASH;
}

int fsck_super_load(struct fsck *f)
{
	char why[EXT_WHY_BYTES] = "superblock cannot be read";
	int err;

	if (f->opts.super_block) {
		err = named_super(f);
	} else {
		err = super_read(f, EXT_SUPER_OFF_BYTES, &f->sb);
		if (!err)
			err = super_judge(f, &f->sb, why);
		if (!err && feature_flipped(f)) {
			snprintf(why, sizeof(why), "an unknown feature");
			err = -EUCLEAN;
		}
		if (err == -EOPNOTSUPP || err == -EINVAL || err == -EUCLEAN || err == -EIO)
			err = super_rescue(f, why, err);
	}
	if (!err)
		err = features_check(f, &f->sb);
	if (!err)
		fsck_super_geometry(f);
	return err;
}

void fsck_super_checks(struct fsck *f)
{
	struct ext_disk_super *sb = &f->sb;
	const uint64_t free_blocks = ext_super_blocks(sb, sb->s_free_blocks_count_lo, sb->s_free_blocks_count_hi);

	if (free_blocks > f->nr_blocks &&
	    fsck_fix(&f->main, P0_SB_FREE_TOO_MANY, .str = "blocks", .num = free_blocks)) {
		sb->s_free_blocks_count_lo = sb->s_free_blocks_count_hi = le32_of(0);
		f->sb_dirty = true;
	}
	if (le32_get(sb->s_free_inodes_count) > f->nr_inodes &&
	    fsck_fix(&f->main, P0_SB_FREE_TOO_MANY, .str = "inodes", .num = le32_get(sb->s_free_inodes_count))) {
		sb->s_free_inodes_count = le32_of(0);
		f->sb_dirty = true;
	}
}

bool fsck_super_is_clean(struct fsck *f, const char **why)
{
	const struct ext_disk_super *sb = &f->sb;
	const uint16_t state = le16_get(sb->s_state), max = le16_get(sb->s_max_mnt_count);
	const uint32_t interval = le32_get(sb->s_checkinterval);

	*why = NULL;
	if (state & EXT_STATE_ERROR)
		*why = "contains a file system with errors";
	else if (!(state & EXT_STATE_VALID))
		*why = "was not cleanly unmounted";
	else if (max != 0 && max != 0xffff && le16_get(sb->s_mnt_count) >= max)
		*why = "has been mounted often without being checked";
	else if (interval && f->now >= le32_get(sb->s_lastcheck) && f->now - le32_get(sb->s_lastcheck) >= interval)
		*why = "has gone long without being checked";
	return !*why && !le32_get(sb->s_last_orphan) && !has_incompat(f, EXT_INCOMPAT_RECOVER) &&
	       !has_ro_compat(f, EXT_RO_COMPAT_ORPHAN_PRESENT);
}

static void clear_errors(struct ext_disk_super *sb)
{
	sb->s_error_count = le32_of(0);
	memset(&sb->s_first_error_time, 0,
	       offsetof(struct ext_disk_super, s_mount_opts) - offsetof(struct ext_disk_super, s_first_error_time));
	sb->s_first_error_time_hi = sb->s_last_error_time_hi = 0;
	sb->s_first_error_errcode = sb->s_last_error_errcode = 0;
}

/* Copies: what pass 5 and the mount change in the first one only is of no matter there. */
static int copies_store(struct fsck *f, struct ext_disk_super sb)
{
	int err = 0;

	for (uint32_t g = 1; !err && g < f->nr_groups; g++) {
		if (!ext_group_has_super(&f->sb, g))
			continue;
		sb.s_block_group_nr = le16_of((uint16_t)g);
		if (has_csum(f))
			sb.s_checksum = le32_of(ext_super_csum(&sb));
		err = fsck_bytes_write(f, group_first(f, g) << f->block_shift, &sb, sizeof(sb));
	}
	return err;
}

/* Does some copy describe another filesystem than the first one? */
static bool copies_differ(struct fsck *f)
{
	struct ext_disk_super sb;

	for (uint32_t g = 1; g < f->nr_groups; g++) {
		char why[EXT_WHY_BYTES];

		if (!ext_group_has_super(&f->sb, g))
			continue;
		if (super_read(f, group_first(f, g) << f->block_shift, &sb) || super_judge(f, &sb, why) ||
		    !same_geometry(&sb, &f->sb)) {
			fsck_say(f, "Superblock copy in group %" PRIu32 " is written anew.\n", g);
			return true;
		}
	}
	return false;
}

int fsck_super_store_flags(struct fsck *f)
{
	struct ext_disk_super *sb = &f->sb;

	if (has_csum(f))
		sb->s_checksum = le32_of(ext_super_csum(sb));
	return fsck_bytes_write(f, EXT_SUPER_OFF_BYTES, sb, sizeof(*sb));
}

int fsck_super_store(struct fsck *f, bool clean)
{
	struct ext_disk_super *sb = &f->sb;
	uint16_t state = le16_get(sb->s_state);
	int err;

	if (clean) {
		state = (uint16_t)((state | EXT_STATE_VALID) & ~EXT_STATE_ERROR);
		sb->s_lastcheck = le32_of(f->now);
		sb->s_lastcheck_hi = 0;
		sb->s_mnt_count = le16_of(0);
		clear_errors(sb);
	} else {
		state &= (uint16_t)~EXT_STATE_VALID;
	}
	sb->s_state = le16_of(state);
	sb->s_wtime = le32_of(f->now);
	if (has_csum(f)) {
		sb->s_checksum_type = 1;	/* crc32c: there is no other */
		sb->s_checksum = le32_of(ext_super_csum(sb));
	}
	f->copies_dirty |= copies_differ(f);
	err = f->copies_dirty ? copies_store(f, *sb) : 0;
	return err ? err : fsck_bytes_write(f, EXT_SUPER_OFF_BYTES, sb, sizeof(*sb));
}
