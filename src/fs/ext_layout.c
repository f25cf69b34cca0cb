/* ext_layout.c: see ext_layout.h. */
#include "fs/ext_layout.h"

#include "base/crc.h"

static uint32_t block_bytes_of(const struct ext_disk_super *sb)
{
	return EXT_MIN_BLOCK_BYTES << le32_get(sb->s_log_block_size);
}

uint32_t ext_nr_groups(const struct ext_disk_super *sb)
{
	const uint64_t nr = ext_super_blocks(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi);

	return (uint32_t)DIV_UP(nr - le32_get(sb->s_first_data_block), (uint64_t)le32_get(sb->s_blocks_per_group));
}

uint32_t ext_desc_bytes(const struct ext_disk_super *sb)
{
	return le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT ? le16_get(sb->s_desc_size) : EXT_DESC_BYTES_32;
}

static bool has_meta_bg(const struct ext_disk_super *sb)
{
	return le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_META_BG;
}

pblk_t ext_group_desc_block(const struct ext_disk_super *sb, uint32_t group, uint32_t *off_bytes)
{
	const uint32_t per_block = block_bytes_of(sb) / ext_desc_bytes(sb), nr = group / per_block;
	const uint32_t leader = nr * per_block;

	*off_bytes = group % per_block * ext_desc_bytes(sb);
	if (!has_meta_bg(sb) || nr < le32_get(sb->s_first_meta_bg))
		return (pblk_t)le32_get(sb->s_first_data_block) + 1 + nr;
	return (pblk_t)leader * le32_get(sb->s_blocks_per_group) + le32_get(sb->s_first_data_block) +
	       ext_group_has_super(sb, leader);
}

uint32_t ext_group_nr_desc_blocks(const struct ext_disk_super *sb, uint32_t group)
{
	const uint32_t per_block = block_bytes_of(sb) / ext_desc_bytes(sb);
	const uint32_t first_meta_bg = le32_get(sb->s_first_meta_bg);
	const uint32_t metagroup = group / per_block, nr = group % per_block;

	if (!has_meta_bg(sb)) {
		if (!ext_group_has_super(sb, group))
			return 0;
		return DIV_UP(ext_nr_groups(sb), per_block) + le16_get(sb->s_reserved_gdt_blocks);
	}
	if (metagroup < first_meta_bg)
		return ext_group_has_super(sb, group) ? first_meta_bg : 0;
	return nr == 0 || nr == 1 || nr == per_block - 1;
}

static bool is_power_of(uint32_t n, uint32_t base)
{
	while (n > base && n % base == 0)
		n /= base;
	return n == base;
}

bool ext_group_has_super(const struct ext_disk_super *sb, uint32_t group)
{
	if (group == 0)
		return true;
	if (le32_get(sb->s_feature_compat) & EXT_COMPAT_SPARSE_SUPER2)
		return group == le32_get(sb->s_backup_bgs[0]) || group == le32_get(sb->s_backup_bgs[1]);
	if (group == 1 || !(le32_get(sb->s_feature_ro_compat) & EXT_RO_COMPAT_SPARSE_SUPER))
		return true;
	return is_power_of(group, 3) || is_power_of(group, 5) || is_power_of(group, 7);
}

uint32_t ext_csum_seed(const struct ext_disk_super *sb)
{
	if (le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_CSUM_SEED)
		return le32_get(sb->s_checksum_seed);
	return crc32c(~0u, sb->s_uuid, sizeof(sb->s_uuid));
}

uint32_t ext_super_csum(const struct ext_disk_super *sb)
{
	return crc32c(~0u, sb, offsetof(struct ext_disk_super, s_checksum));
}

void ext_super_seal(struct ext_disk_super *sb)
{
	enum { ROOM_BYTES = 4 };
	char *room = sb->s_last_mounted + sizeof(sb->s_last_mounted) - ROOM_BYTES;
	const size_t from_room = offsetof(struct ext_disk_super, s_checksum) - (size_t)(room - (char *)sb);
	le32 diff;

	if (memchr(sb->s_last_mounted, '\0', sizeof(sb->s_last_mounted) - ROOM_BYTES)) {
		memset(room, 0, ROOM_BYTES);
		diff = le32_of(crc32c_rewind(ext_super_csum(sb) ^ le32_get(sb->s_checksum), from_room));
		memcpy(room, &diff, ROOM_BYTES);
	}
	sb->s_checksum = le32_of(ext_super_csum(sb));
}

uint16_t ext_group_csum(const struct ext_disk_super *sb, uint32_t seed, uint32_t group,
			const struct ext_disk_group *gd, unsigned desc_bytes)
{
	const uint32_t ro_compat = le32_get(sb->s_feature_ro_compat);
	const size_t csum_off = offsetof(struct ext_disk_group, bg_checksum);
	const size_t rest_off = csum_off + sizeof(gd->bg_checksum);
	const le32 nr = le32_of(group);
	const uint8_t *bytes = (const uint8_t *)gd;

	if (ro_compat & EXT_RO_COMPAT_METADATA_CSUM) {
		const le16 zero = le16_of(0);
		uint32_t crc = crc32c(seed, &nr, sizeof(nr));

		crc = crc32c(crc, bytes, csum_off);
		crc = crc32c(crc, &zero, sizeof(zero));
		if (desc_bytes > rest_off)
			crc = crc32c(crc, bytes + rest_off, desc_bytes - rest_off);
		return (uint16_t)crc;
	}
	if (ro_compat & EXT_RO_COMPAT_GDT_CSUM) {
		uint16_t crc = crc16(0xffff, sb->s_uuid, sizeof(sb->s_uuid));

		crc = crc16(crc, &nr, sizeof(nr));
		crc = crc16(crc, bytes, csum_off);
		if (desc_bytes > rest_off)
			crc = crc16(crc, bytes + rest_off, desc_bytes - rest_off);
		return crc;
	}
	return 0;
}

struct ext_group ext_group_decode(const struct ext_disk_super *sb, const struct ext_disk_group *gd, unsigned desc_bytes)
{
	const bool hi = desc_bytes >= EXT_DESC_BYTES_64;
	const bool has_csum = le32_get(sb->s_feature_ro_compat) & (EXT_RO_COMPAT_METADATA_CSUM | EXT_RO_COMPAT_GDT_CSUM);

#define LO_HI(field, shift) \
	(le##shift##_get(gd->field##_lo) | (hi ? (uint64_t)le##shift##_get(gd->field##_hi) << shift : 0))
	return (struct ext_group){
		.block_bitmap = LO_HI(bg_block_bitmap, 32),
		.inode_bitmap = LO_HI(bg_inode_bitmap, 32),
		.inode_table = LO_HI(bg_inode_table, 32),
		.free_blocks = (uint32_t)LO_HI(bg_free_blocks_count, 16),
		.free_inodes = (uint32_t)LO_HI(bg_free_inodes_count, 16),
		.used_dirs = (uint32_t)LO_HI(bg_used_dirs_count, 16),
		.block_bitmap_csum = (uint32_t)LO_HI(bg_block_bitmap_csum, 16),
		.inode_bitmap_csum = (uint32_t)LO_HI(bg_inode_bitmap_csum, 16),
		.itable_unused = has_csum ? (uint32_t)LO_HI(bg_itable_unused, 16) : 0,
		.flags = has_csum ? le16_get(gd->bg_flags) : 0,
		.csum = le16_get(gd->bg_checksum),
	};
#undef LO_HI
}

uint32_t ext_bitmap_csum(uint32_t seed, const void *map, uint32_t nr_bits, unsigned desc_bytes)
{
	const uint32_t csum = crc32c(seed, map, nr_bits / 8);

	return desc_bytes >= EXT_DESC_BYTES_64 ? csum : csum & 0xffff;
}

/* Over block number and contents with the checksum taken as 0. */
uint32_t ext_xattr_block_csum(uint32_t seed, pblk_t pblk, const void *block, uint32_t block_bytes)
{
	const size_t at = offsetof(struct ext_disk_xattr_header, h_checksum);
	const le64 nr = le64_of(pblk);
	const le32 zero = le32_of(0);
	uint32_t crc = crc32c(seed, &nr, sizeof(nr));

	crc = crc32c(crc, block, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, (const uint8_t *)block + at + sizeof(zero), block_bytes - at - sizeof(zero));
}

static unsigned rec_len_of(const struct ext_disk_dirent *de)
{
	const unsigned raw = le16_get(de->rec_len);

	return raw == 0 || raw == 65535 ? 65536 : raw;
}

unsigned ext_dx_entries_off(const void *block, uint32_t block_bytes)
{
	enum { DOT_BYTES = 12 };
	const struct ext_disk_dirent *first = block;
	const struct ext_disk_dirent *second = (const void *)((const uint8_t *)block + DOT_BYTES);
	const struct ext_disk_dx_root_info *info = (const void *)((const uint8_t *)block + 2 * DOT_BYTES);

	if (rec_len_of(first) == block_bytes && !first->inode.raw)
		return EXT_DX_NODE_OFF;
	if (rec_len_of(first) == DOT_BYTES && rec_len_of(second) == block_bytes - DOT_BYTES &&
	    !info->zero.raw && info->info_length == sizeof(*info))
		return EXT_DX_ROOT_OFF;
	return 0;
}

/* Over what is in use, then over the tail with its checksum as 0. */
uint32_t ext_dx_csum(uint32_t inode_seed, const void *block, unsigned entries_off, unsigned count,
		     const struct ext_disk_dx_tail *tail)
{
	const le32 zero = le32_of(0);
	uint32_t crc = crc32c(inode_seed, block, entries_off + (size_t)count * sizeof(struct ext_disk_dx_entry));

	crc = crc32c(crc, &tail->reserved, sizeof(tail->reserved));
	return crc32c(crc, &zero, sizeof(zero));
}

uint32_t ext_inode_csum_seed(uint32_t seed, ino_nr_t ino, uint32_t generation)
{
	const le32 nr = le32_of(ino), gen = le32_of(generation);

	return crc32c(crc32c(seed, &nr, sizeof(nr)), &gen, sizeof(gen));
}

bool ext_inode_has_csum_hi(const struct ext_disk_inode *raw, unsigned inode_bytes)
{
	const size_t end = offsetof(struct ext_disk_inode, i_checksum_hi) + sizeof(raw->i_checksum_hi);

	return inode_bytes > EXT_GOOD_OLD_INODE_BYTES &&
	       (size_t)EXT_GOOD_OLD_INODE_BYTES + le16_get(raw->i_extra_isize) >= end;
}

uint32_t ext_inode_csum(uint32_t inode_seed, const struct ext_disk_inode *raw, unsigned inode_bytes)
{
	const size_t lo_off = offsetof(struct ext_disk_inode, i_checksum_lo);
	const size_t hi_off = offsetof(struct ext_disk_inode, i_checksum_hi);
	const uint8_t *bytes = (const uint8_t *)raw;
	const le16 zero = le16_of(0);
	size_t at = lo_off + sizeof(zero);
	uint32_t crc = crc32c(inode_seed, bytes, lo_off);

	crc = crc32c(crc, &zero, sizeof(zero));
	if (ext_inode_has_csum_hi(raw, inode_bytes)) {
		crc = crc32c(crc, bytes + at, hi_off - at);
		crc = crc32c(crc, &zero, sizeof(zero));
		at = hi_off + sizeof(zero);
	}
	crc = crc32c(crc, bytes + at, inode_bytes - at);
	return ext_inode_has_csum_hi(raw, inode_bytes) ? crc : crc & 0xffff;
}
