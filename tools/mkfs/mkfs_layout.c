/*
 * mkfs_layout.c: from a size and the wishes to a superblock and a place for everything.
 * Nothing is written here.
 *
 * Groups are laid out flex group by flex group: the bitmaps and inode tables of its
 * groups lie together at its start, so that the data behind them is one long run. A
 * group that holds nothing but what the format implies keeps no bitmap on disk
 * (BLOCK_UNINIT), which makes a large filesystem as quick to make as a small one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uuid/uuid.h>

#include "base/log.h"
#include "fs/ext_layout.h"
#include "mkfs_int.h"

enum {
	SMALL_FS_BYTES = 512 << 20,	/* mke2fs's "small": more inodes per byte */
	TINY_FS_BYTES = 8 << 20,	/* below: 1 KiB blocks */
	LAST_GROUP_MIN_BLOCKS = 50,	/* beside its metadata, as mke2fs */
	DEFM_XATTR_USER_ACL = 0x000c,	/* s_default_mount_opts: user_xattr, acl */
	NEVER_BY_COUNT = 0xffff,	/* s_max_mnt_count */
};

static bool has_group_csum(const struct mkfs_layout *l)
{
	return le32_get(l->super.s_feature_ro_compat) & (EXT_RO_COMPAT_METADATA_CSUM | EXT_RO_COMPAT_GDT_CSUM);
}

static uint32_t flex_groups(const struct mkfs_layout *l)
{
	return le32_get(l->super.s_feature_incompat) & EXT_INCOMPAT_FLEX_BG ? MKFS_FLEX_GROUPS : 1;
}

static pblk_t group_first_block(const struct mkfs_layout *l, uint32_t group)
{
	return (pblk_t)group * l->blocks_per_group + l->first_data_block;
}

/* Bitmap bits */
static bool bit_get(const uint8_t *map, uint32_t bit)
{
	return map[bit >> 3] >> (bit & 7) & 1;
}

static void bits_set(uint8_t *map, uint32_t first, uint32_t nr)
{
	for (uint32_t i = first; i < first + nr; i++)
		map[i >> 3] |= (uint8_t)(1 << (i & 7));
}

/* Sizes ------------------------------------------------------------------------ */

static int settle_block_size(const struct mkfs_opts *o, uint64_t volume_bytes, struct mkfs_layout *l)
{
	l->block_bytes = o->block_bytes ? o->block_bytes : volume_bytes < TINY_FS_BYTES ? 1024 : 4096;
	l->inode_bytes = o->inode_bytes ? o->inode_bytes : 256;
	if (l->inode_bytes > l->block_bytes) {
		log_error("-I: inodes of %u bytes do not fit into blocks of %u", l->inode_bytes, l->block_bytes);
		return -EINVAL;
	}
	l->first_data_block = l->block_bytes == 1024;
	l->blocks_per_group = MIN(8 * l->block_bytes, 65528u);
	l->nr_blocks = volume_bytes / l->block_bytes;
	l->desc_bytes = EXT_DESC_BYTES_32;
	if (l->nr_blocks > UINT32_MAX) {
		log_error("%" PRIu64 " blocks of %u bytes are more than 2^32 - 1, the most without the 64bit feature; "
			  "larger blocks (-b) help", l->nr_blocks, l->block_bytes);
		return -EFBIG;
	}
	return 0;
}

static uint64_t wanted_inodes(const struct mkfs_opts *o, const struct mkfs_layout *l)
{
	const uint64_t bytes = l->nr_blocks * l->block_bytes;
	uint32_t ratio = o->inode_ratio;

	if (o->nr_inodes)
		return o->nr_inodes;
	if (!ratio)
		ratio = bytes < SMALL_FS_BYTES ? 4096 : 16384;
	ratio = MAX(ratio, l->block_bytes);
	return MAX(bytes / ratio, (uint64_t)16);
}

static int settle_inodes(const struct mkfs_opts *o, struct mkfs_layout *l)
{
	const uint32_t per_block = l->block_bytes / l->inode_bytes;
	const uint32_t step = per_block % 8 == 0 ? per_block : 8 * per_block / (per_block & -per_block);
	const uint32_t most = ALIGN_DOWN(MIN(8 * l->block_bytes, 65528u), 8u) / step * step;
	uint64_t per_group = DIV_UP(wanted_inodes(o, l), (uint64_t)l->nr_groups);

	per_group = DIV_UP(MAX(per_group, (uint64_t)16), (uint64_t)step) * step;
	if (per_group > most) {
		if (o->nr_inodes) {
			log_error("-N: %" PRIu64 " inodes are too many: %" PRIu64 " is the most for this size", o->nr_inodes,
				  (uint64_t)most * l->nr_groups);
			return -EINVAL;
		}
		per_group = most;
	}
	if (per_group * l->nr_groups > UINT32_MAX)
		per_group = UINT32_MAX / l->nr_groups / step * step;
	l->inodes_per_group = (uint32_t)per_group;
	l->itable_blocks = DIV_UP(l->inodes_per_group * l->inode_bytes, l->block_bytes);
	return 0;
}

/* Number of groups and descriptors; a last group too short for its own metadata is cut off. */
static int settle_groups(const struct mkfs_opts *o, struct mkfs_layout *l)
{
	for (;;) {
		const uint64_t nr = l->nr_blocks - l->first_data_block;
		uint32_t last, overhead;
		int err;

		l->nr_groups = (uint32_t)DIV_UP(nr, (uint64_t)l->blocks_per_group);
		l->gdt_blocks = DIV_UP(l->nr_groups * l->desc_bytes, l->block_bytes);
		err = settle_inodes(o, l);
		if (err)
			return err;
		last = (uint32_t)(nr - (uint64_t)(l->nr_groups - 1) * l->blocks_per_group);
		overhead = 2 + l->itable_blocks;
		if (ext_group_has_super(&l->super, l->nr_groups - 1))
			overhead += 1 + l->gdt_blocks;
		if (last >= overhead + LAST_GROUP_MIN_BLOCKS)
			return 0;
		if (l->nr_groups == 1) {
			log_error("%" PRIu64 " blocks of %u bytes are too few for a file system", l->nr_blocks,
				  l->block_bytes);
			return -ENOSPC;
		}
		l->nr_blocks -= last;
	}
}

/* Places ------------------------------------------------------------------------ */

static int window_start(struct mkfs_layout *l, uint32_t first, uint32_t nr)
{
	for (uint32_t g = first; g < first + nr; g++) {
		struct mkfs_group *grp = &l->groups[g];
		const uint64_t left = l->nr_blocks - group_first_block(l, g);

		grp->nr_blocks = (uint32_t)MIN(left, (uint64_t)l->blocks_per_group);
		grp->bitmap = calloc(1, l->block_bytes);
		if (!grp->bitmap)
			return -ENOMEM;
		if (ext_group_has_super(&l->super, g))
			bits_set(grp->bitmap, 0, 1 + l->gdt_blocks);
		bits_set(grp->bitmap, grp->nr_blocks, 8 * l->block_bytes - grp->nr_blocks);
	}
	return 0;
}

/* First run of nr free blocks in the groups of a window, marked used; 0 when there is none. */
static pblk_t window_take(struct mkfs_layout *l, uint32_t first, uint32_t nr_groups, uint32_t nr)
{
	for (uint32_t g = first; g < first + nr_groups; g++) {
		struct mkfs_group *grp = &l->groups[g];
		uint32_t run = 0;

		for (uint32_t bit = 0; bit < grp->nr_blocks; bit++) {
			run = bit_get(grp->bitmap, bit) ? 0 : run + 1;
			if (run == nr) {
				bits_set(grp->bitmap, bit + 1 - nr, nr);
				return group_first_block(l, g) + bit + 1 - nr;
			}
		}
	}
	return 0;
}

static int window_place(struct mkfs_layout *l, uint32_t first, uint32_t nr)
{
	bool ok = true;

	for (uint32_t g = first; g < first + nr; g++)
		ok &= (l->groups[g].block_bitmap = window_take(l, first, nr, 1)) != 0;
	for (uint32_t g = first; g < first + nr; g++)
		ok &= (l->groups[g].inode_bitmap = window_take(l, first, nr, 1)) != 0;
	for (uint32_t g = first; g < first + nr; g++)
		ok &= (l->groups[g].inode_table = window_take(l, first, nr, l->itable_blocks)) != 0;
	if (ok && first == 0) {
		l->lpf_nr_blocks = MAX(MKFS_LPF_BYTES / l->block_bytes, 2u);
		l->lpf_nr_blocks = MIN(l->lpf_nr_blocks, (uint32_t)EXT_NR_DIRECT);
		ok &= (l->root_block = window_take(l, first, nr, 1)) != 0;
		ok &= (l->lpf_block = window_take(l, first, nr, l->lpf_nr_blocks)) != 0;
	}
	if (ok)
		return 0;
	log_error("block group %u has no room for its inode tables: fewer inodes (-N, -i) or a larger size help", first);
	return -ENOSPC;
}

/* Free blocks of the window for what is left of the journal. */
static int window_take_journal(struct mkfs_layout *l, uint32_t first, uint32_t nr_groups)
{
	for (uint32_t g = MAX(first, l->journal_group); g < first + nr_groups; g++) {
		struct mkfs_group *grp = &l->groups[g];
		uint32_t bit = 0;

		while (l->journal_left > 0 && bit < grp->nr_blocks) {
			uint32_t nr = 0;
			int err;

			while (bit + nr < grp->nr_blocks && nr < l->journal_left && !bit_get(grp->bitmap, bit + nr))
				nr++;
			if (nr > 0) {
				bits_set(grp->bitmap, bit, nr);
				err = mkfs_journal_take(l, group_first_block(l, g) + bit, nr);
				if (err)
					return err;
			}
			bit += MAX(nr, 1u);
		}
	}
	return 0;
}

/* Counts, flags, and dropping the bitmaps that the format implies. */
static void window_finish(struct mkfs_layout *l, uint32_t first, uint32_t nr)
{
	for (uint32_t g = first; g < first + nr; g++) {
		struct mkfs_group *grp = &l->groups[g];
		const uint32_t implied = ext_group_has_super(&l->super, g) ? 1 + l->gdt_blocks : 0;
		const bool last = g == l->nr_groups - 1;

		for (uint32_t bit = 0; bit < grp->nr_blocks; bit++)
			grp->nr_free_blocks += !bit_get(grp->bitmap, bit);
		grp->nr_free_inodes = l->inodes_per_group - (g == 0 ? MKFS_LPF_INO : 0);
		grp->nr_dirs = g == 0 ? 2 : 0;
		if (!has_group_csum(l))
			continue;
		grp->itable_unused = grp->nr_free_inodes;
		grp->flags = EXT_BG_INODE_ZEROED | (g == 0 ? 0 : EXT_BG_INODE_UNINIT);
		if (g != 0 && !last && grp->nr_free_blocks + implied == grp->nr_blocks) {
			grp->flags |= EXT_BG_BLOCK_UNINIT;
			free(grp->bitmap);
			grp->bitmap = NULL;
		}
	}
}

static int place_all(struct mkfs_layout *l)
{
	const uint32_t step = flex_groups(l);
	int err = 0;

	l->groups = calloc(l->nr_groups, sizeof(*l->groups));
	if (!l->groups)
		return -ENOMEM;
	for (uint32_t g = 0; !err && g < l->nr_groups; g += step) {
		const uint32_t nr = MIN(step, l->nr_groups - g);

		err = window_start(l, g, nr);
		if (!err)
			err = window_place(l, g, nr);
		if (!err)
			err = window_take_journal(l, g, nr);
		if (!err)
			window_finish(l, g, nr);
	}
	if (!err && l->journal_left) {
		log_error("there is no room for a journal of %u blocks: a smaller one (-J size=), none (-O ^has_journal), "
			  "or a larger size help", l->journal_blocks);
		err = -ENOSPC;
	}
	return err;
}

/* The superblock ------------------------------------------------------------------ */

static void fill_features(const struct mkfs_opts *o, struct ext_disk_super *sb)
{
	sb->s_feature_compat = le32_of(o->compat);
	sb->s_feature_incompat = le32_of(o->incompat);
	sb->s_feature_ro_compat = le32_of(o->ro_compat);
}

static void fill_identity(const struct mkfs_opts *o, struct ext_disk_super *sb)
{
	uuid_t seed;

	if (o->uuid_set)
		memcpy(sb->s_uuid, o->uuid, 16);
	else
		uuid_generate(sb->s_uuid);
	uuid_generate(seed);
	memcpy(sb->s_hash_seed, seed, 16);
	if (o->label)
		memcpy(sb->s_volume_name, o->label, MIN(strlen(o->label), sizeof(sb->s_volume_name)));
	if (o->incompat & EXT_INCOMPAT_CSUM_SEED) {
		/* Computed as if the feature were not there, then kept when the UUID changes. */
		struct ext_disk_super plain = *sb;

		plain.s_feature_incompat = le32_of(0);
		sb->s_checksum_seed = le32_of(ext_csum_seed(&plain));
	}
	if (o->ro_compat & EXT_RO_COMPAT_METADATA_CSUM)
		sb->s_checksum_type = 1;	/* crc32c */
}

static void fill_raid(const struct mkfs_opts *o, const struct raid_info *array, uint32_t optimal_bytes,
		      struct mkfs_layout *l)
{
	uint32_t stride = o->stride_blocks, width = o->stripe_width_blocks;

	if (array && array->chunk_sects) {
		const uint32_t chunk_blocks = array->chunk_sects / (l->block_bytes >> SECT_SHIFT);

		stride = stride ? stride : chunk_blocks;
		width = width ? width : optimal_bytes / l->block_bytes;
	}
	l->super.s_raid_stride = le16_of((uint16_t)MIN(stride, (uint32_t)UINT16_MAX));
	l->super.s_raid_stripe_width = le32_of(width);
}

static void fill_super(const struct mkfs_opts *o, struct mkfs_layout *l)
{
	struct ext_disk_super *sb = &l->super;
	const uint32_t log_block = log2_floor(l->block_bytes) - 10;
	const uint32_t now = (uint32_t)time(NULL);
	uint64_t free_blocks = 0, free_inodes = 0;

	for (uint32_t g = 0; g < l->nr_groups; g++) {
		free_blocks += l->groups[g].nr_free_blocks;
		free_inodes += l->groups[g].nr_free_inodes;
	}
	sb->s_inodes_count = le32_of(l->inodes_per_group * l->nr_groups);
	sb->s_blocks_count_lo = le32_of((uint32_t)l->nr_blocks);
	sb->s_r_blocks_count_lo = le32_of((uint32_t)((double)l->nr_blocks * o->reserved_percent / 100));
	sb->s_free_blocks_count_lo = le32_of((uint32_t)free_blocks);
	sb->s_free_inodes_count = le32_of((uint32_t)free_inodes);
	sb->s_first_data_block = le32_of(l->first_data_block);
	sb->s_log_block_size = sb->s_log_cluster_size = le32_of(log_block);
	sb->s_blocks_per_group = sb->s_clusters_per_group = le32_of(l->blocks_per_group);
	sb->s_inodes_per_group = le32_of(l->inodes_per_group);
	sb->s_wtime = sb->s_lastcheck = sb->s_mkfs_time = le32_of(now);
	sb->s_max_mnt_count = le16_of(NEVER_BY_COUNT);
	sb->s_magic = le16_of(EXT_MAGIC);
	sb->s_state = le16_of(EXT_STATE_VALID);
	sb->s_errors = le16_of(EXT_ERRORS_CONTINUE);
	sb->s_rev_level = le32_of(1);
	sb->s_first_ino = le32_of(EXT_FIRST_INO_DEFAULT);
	sb->s_inode_size = le16_of((uint16_t)l->inode_bytes);
	sb->s_def_hash_version = EXT_HASH_HALF_MD4;
	/* Linux on this processor compares file names as its char does; the flag says which. */
	sb->s_flags = le32_of((char)-1 < 0 ? EXT_FLAGS_SIGNED_HASH : EXT_FLAGS_UNSIGNED_HASH);
	sb->s_default_mount_opts = le32_of(DEFM_XATTR_USER_ACL);
	if (l->inode_bytes > EXT_GOOD_OLD_INODE_BYTES) {
		const uint16_t extra = sizeof(struct ext_disk_inode) - EXT_GOOD_OLD_INODE_BYTES;

		sb->s_min_extra_isize = sb->s_want_extra_isize = le16_of(extra);
	}
	if (flex_groups(l) > 1)
		sb->s_log_groups_per_flex = (uint8_t)log2_floor(MKFS_FLEX_GROUPS);
	/* s_overhead_blocks stays 0: the kernel then works it out. */
}

int mkfs_layout_make(const struct mkfs_opts *o, const struct raid_info *array, uint32_t optimal_bytes,
		     uint64_t volume_bytes, struct mkfs_layout *l)
{
	int err;

	*l = (struct mkfs_layout){ .root_uid = o->root_uid, .root_gid = o->root_gid };
	fill_features(o, &l->super);
	err = settle_block_size(o, volume_bytes, l);
	if (!err && l->nr_blocks < 64) {
		log_error("%" PRIu64 " bytes are too few for a file system", volume_bytes);
		err = -ENOSPC;
	}
	if (!err)
		err = settle_groups(o, l);
	if (!err)
		err = mkfs_journal_size(o, l);
	if (!err)
		err = place_all(l);
	if (!err)
		err = mkfs_journal_backup(l);
	if (err)
		return err;
	fill_identity(o, &l->super);
	fill_super(o, l);
	fill_raid(o, array, optimal_bytes, l);
	return 0;
}

void mkfs_layout_free(struct mkfs_layout *l)
{
	for (uint32_t g = 0; l->groups && g < l->nr_groups; g++)
		free(l->groups[g].bitmap);
	free(l->groups);
	free(l->journal_runs);
	l->groups = NULL;
	l->journal_runs = NULL;
}

void mkfs_layout_print(const struct mkfs_layout *l)
{
	char uuid[37];
	unsigned nr = 0;

	uuid_unparse(l->super.s_uuid, uuid);
	printf("Creating filesystem with %" PRIu64 " %uk blocks and %u inodes\nFilesystem UUID: %s\n", l->nr_blocks,
	       l->block_bytes / 1024, le32_get(l->super.s_inodes_count), uuid);
	for (uint32_t g = 1; g < l->nr_groups; g++) {
		if (!ext_group_has_super(&l->super, g))
			continue;
		if (nr == 0)
			printf("Superblock backups stored on blocks: ");
		printf("%s%" PRIu64, nr == 0 ? "\n\t" : nr % 8 ? ", " : ",\n\t", group_first_block(l, g));
		nr++;
	}
	printf("%s\n", nr ? "\n" : "");
	if (l->journal_blocks)
		printf("Journal: %u blocks\n\n", l->journal_blocks);
}
