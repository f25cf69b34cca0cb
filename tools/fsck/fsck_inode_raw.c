/*
 * fsck_inode_raw.c: the inode as it lies on disk: its fields that have halves, its place, its
 * checksum; which numbers are the system's.
 */
#include <stdlib.h>

#include "fsck_int.h"

/* Fields ------------------------------------------------------------------------------------- */

uint64_t inode_size(const struct ext_disk_inode *raw)
{
	const uint32_t mode = le16_get(raw->i_mode);

	return le32_get(raw->i_size_lo) |
	       (S_ISREG(mode) || S_ISDIR(mode) ? (uint64_t)le32_get(raw->i_size_hi) << 32 : 0);
}

void inode_set_size(struct ext_disk_inode *raw, uint64_t size)
{
	raw->i_size_lo = le32_of((uint32_t)size);
	if (S_ISREG(le16_get(raw->i_mode)) || S_ISDIR(le16_get(raw->i_mode)))
		raw->i_size_hi = le32_of((uint32_t)(size >> 32));
}

static bool counts_in_blocks(const struct fsck *f, const struct ext_disk_inode *raw)
{
	return has_ro_compat(f, EXT_RO_COMPAT_HUGE_FILE) && (le32_get(raw->i_flags) & EXT_FL_HUGE_FILE);
}

uint64_t inode_nr_sects(const struct fsck *f, const struct ext_disk_inode *raw)
{
	uint64_t nr = le32_get(raw->i_blocks_lo);

	if (has_ro_compat(f, EXT_RO_COMPAT_HUGE_FILE))
		nr |= (uint64_t)le16_get(raw->i_blocks_hi) << 32;
	return counts_in_blocks(f, raw) ? nr << (f->block_shift - SECT_SHIFT) : nr;
}

void inode_set_nr_sects(const struct fsck *f, struct ext_disk_inode *raw, uint64_t nr)
{
	if (counts_in_blocks(f, raw))
		nr >>= f->block_shift - SECT_SHIFT;
	raw->i_blocks_lo = le32_of((uint32_t)nr);
	if (has_ro_compat(f, EXT_RO_COMPAT_HUGE_FILE))
		raw->i_blocks_hi = le16_of((uint16_t)(nr >> 32));
}

pblk_t inode_file_acl(const struct fsck *f, const struct ext_disk_inode *raw)
{
	return le32_get(raw->i_file_acl_lo) |
	       (has_incompat(f, EXT_INCOMPAT_64BIT) ? (uint64_t)le16_get(raw->i_file_acl_hi) << 32 : 0);
}

void inode_set_file_acl(const struct fsck *f, struct ext_disk_inode *raw, pblk_t pblk)
{
	raw->i_file_acl_lo = le32_of((uint32_t)pblk);
	if (has_incompat(f, EXT_INCOMPAT_64BIT))
		raw->i_file_acl_hi = le16_of((uint16_t)(pblk >> 32));
}

unsigned fsck_ft_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return EXT_FT_REG;
	case S_IFDIR: return EXT_FT_DIR;
	case S_IFCHR: return EXT_FT_CHR;
	case S_IFBLK: return EXT_FT_BLK;
	case S_IFIFO: return EXT_FT_FIFO;
	case S_IFSOCK: return EXT_FT_SOCK;
	case S_IFLNK: return EXT_FT_SYMLINK;
	default: return 0;
	}
}

bool fsck_is_super_ino(const struct fsck *f, ino_nr_t ino)
{
	const struct ext_disk_super *sb = &f->sb;

	return (has_compat(f, EXT_COMPAT_HAS_JOURNAL) && ino == le32_get(sb->s_journal_inum)) ||
	       (has_compat(f, EXT_COMPAT_ORPHAN_FILE) && ino == le32_get(sb->s_orphan_file_inum)) ||
	       (has_ro_compat(f, EXT_RO_COMPAT_QUOTA) &&
		(ino == le32_get(sb->s_usr_quota_inum) || ino == le32_get(sb->s_grp_quota_inum) ||
		 ino == le32_get(sb->s_prj_quota_inum)));
}

bool fsck_is_system_ino(const struct fsck *f, ino_nr_t ino)
{
	return (ino < f->first_ino && ino != EXT_ROOT_INO) || fsck_is_super_ino(f, ino);
}

/* Reading and writing -------------------------------------------------------------------------- */

static pblk_t inode_place(const struct fsck *f, ino_nr_t ino, uint32_t *off)
{
	const uint32_t g = (ino - 1) / f->inodes_per_group;
	const uint64_t at = (uint64_t)((ino - 1) % f->inodes_per_group) * f->inode_bytes;

	*off = (uint32_t)(at & (f->block_bytes - 1));
	return group_inode_table(f, g) + (at >> f->block_shift);
}

int fsck_inode_read(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	uint8_t *block = malloc(f->block_bytes);
	uint32_t off;
	const pblk_t at = inode_place(f, ino, &off);
	int err = block ? fsck_block_read(f, at, block) : -ENOMEM;

	if (!err)
		memcpy(raw, block + off, f->inode_bytes);
	free(block);
	return err;
}

void fsck_inode_block_lost(struct fsck *f, uint32_t group, pblk_t pblk)
{
	uint8_t *block = calloc(1, f->block_bytes);

	if (!block)
		fsck_failed(f, -ENOMEM);
	else if (fsck_fix(&f->main, P1_READ, .group = group, .pblk = pblk))
		fsck_block_write(f, pblk, block);
	free(block);
}

int fsck_inode_read_or_lose(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	const int err = fsck_inode_read(f, ino, raw);
	uint32_t off;

	if (err != -EIO)
		return err;
	fsck_inode_block_lost(f, (ino - 1) / f->inodes_per_group, inode_place(f, ino, &off));
	memset(raw, 0, f->inode_bytes);
	return 0;
}

void fsck_inode_seal(const struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	uint32_t csum;

	if (!has_csum(f))
		return;
	csum = ext_inode_csum(inode_seed(f, ino, raw), raw, f->inode_bytes);
	raw->i_checksum_lo = le16_of((uint16_t)csum);
	if (ext_inode_has_csum_hi(raw, f->inode_bytes))
		raw->i_checksum_hi = le16_of((uint16_t)(csum >> 16));
}

bool fsck_is_zero(const void *p, size_t len)
{
	const uint8_t *bytes = p;

	return len == 0 || (!bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
}

bool fsck_inode_csum_ok(const struct fsck *f, ino_nr_t ino, const struct ext_disk_inode *raw)
{
	uint32_t found;

	if (!has_csum(f))
		return true;
	found = le16_get(raw->i_checksum_lo);
	if (ext_inode_has_csum_hi(raw, f->inode_bytes))
		found |= (uint32_t)le16_get(raw->i_checksum_hi) << 16;
	return found == ext_inode_csum(inode_seed(f, ino, raw), raw, f->inode_bytes) || fsck_is_zero(raw, f->inode_bytes);
}

void fsck_inode_write(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	uint8_t *block = malloc(f->block_bytes);
	uint32_t off;
	const pblk_t at = inode_place(f, ino, &off);
	int err;

	fsck_inode_seal(f, ino, raw);
	err = block ? fsck_block_read(f, at, block) : -ENOMEM;
	if (err == -EIO) {
		memset(block, 0, f->block_bytes);
		err = 0;
	}
	if (err) {
		fsck_failed(f, err);
	} else {
		memcpy(block + off, raw, f->inode_bytes);
		fsck_block_write(f, at, block);
	}
	free(block);
}

void fsck_inode_clear(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	raw->i_links_count = le16_of(0);
	raw->i_dtime = le32_of(f->now);
	fsck_inode_write(f, ino, raw);
	f->itype[ino] = 0;
}

pblk_t inode_first_block(const struct ext_disk_inode *raw)
{
	const struct ext_disk_extent_header *h = (const void *)raw->i_block;
	const struct ext_disk_extent *e = (const void *)(h + 1);

	if (!(le32_get(raw->i_flags) & EXT_FL_EXTENTS))
		return le32_get(raw->i_block[0]);
	return le16_get(h->eh_magic) == EXT_EXTENT_MAGIC && !le16_get(h->eh_depth)
		? (pblk_t)le16_get(e->ee_start_hi) << 32 | le32_get(e->ee_start_lo) : 0;
}

bool fsck_has_dots(const uint8_t *block, ino_nr_t ino, ino_nr_t *dotdot)
{
	const struct ext_disk_dirent *one = (const void *)block, *two = (const void *)(block + 12);

	*dotdot = le32_get(two->inode);
	return le32_get(one->inode) == ino && le16_get(one->rec_len) == 12 && one->name_len == 1 && one->name[0] == '.' &&
	       two->name_len == 2 && !memcmp(two->name, "..", 2);
}
