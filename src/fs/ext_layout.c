/* ext_layout.c: see ext_layout.h. */
#include "fs/ext_layout.h"

#include "base/crc.h"

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
