/*
 * mkfs_write.c: writes what the layout says.
 *
 *   M3  The primary superblock goes last and is followed by a flush: before that,
 *       nothing recognises the volume as a filesystem.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/log.h"
#include "fs/ext_layout.h"
#include "mkfs_int.h"

struct writer {
	const struct mkfs_layout *l;
	struct blk_dev *volume;
	uint32_t seed;
	bool csum;
	uint8_t *block;		/* one block to build things in */
	uint8_t *gdt;		/* all descriptors */
};

static int write_blocks(struct writer *w, pblk_t pblk, const void *buf, uint32_t nr)
{
	const uint32_t bytes = w->l->block_bytes;
	const int err = blk_write(w->volume, pblk * bytes >> SECT_SHIFT, buf, (size_t)nr * bytes);

	if (err)
		log_error("%s: cannot write block %" PRIu64 ": %s", blk_name(w->volume), pblk, strerror(-err));
	return err;
}

static struct ext_disk_group *descriptor(struct writer *w, uint32_t group)
{
	return (struct ext_disk_group *)(w->gdt + (size_t)group * w->l->desc_bytes);
}

/* Inode tables must read as zeroes; a volume that is not known to be zero is made so there. */
static int zero_tables(struct writer *w, bool progress)
{
	const struct mkfs_layout *l = w->l;

	for (uint32_t g = 0; g < l->nr_groups; g++) {
		const sect_t per_block = l->block_bytes >> SECT_SHIFT;
		const int err = blk_zero(w->volume, l->groups[g].inode_table * per_block,
					 (uint64_t)l->itable_blocks * per_block);

		if (err) {
			log_error("%s: cannot zero the inode table of group %u: %s", blk_name(w->volume), g,
				  strerror(-err));
			return err;
		}
		if (progress && g % 64 == 0) {
			printf("\rClearing inode tables: %u/%u", g, l->nr_groups);
			fflush(stdout);
		}
	}
	if (progress)
		printf("\rClearing inode tables: done          \n");
	return 0;
}

static int write_bitmaps(struct writer *w, uint32_t g)
{
	const struct mkfs_layout *l = w->l;
	const struct mkfs_group *grp = &l->groups[g];
	struct ext_disk_group *gd = descriptor(w, g);
	const uint32_t used = l->inodes_per_group - grp->nr_free_inodes;
	int err = 0;

	if (grp->bitmap) {
		if (w->csum)
			gd->bg_block_bitmap_csum_lo =
				le16_of((uint16_t)crc32c(w->seed, grp->bitmap, l->blocks_per_group / 8));
		err = write_blocks(w, grp->block_bitmap, grp->bitmap, 1);
	}
	if (err || grp->flags & EXT_BG_INODE_UNINIT)
		return err;
	memset(w->block, 0xff, l->block_bytes);
	memset(w->block, 0, l->inodes_per_group / 8);
	for (uint32_t i = 0; i < used; i++)
		w->block[i >> 3] |= (uint8_t)(1 << (i & 7));
	if (w->csum)
		gd->bg_inode_bitmap_csum_lo = le16_of((uint16_t)crc32c(w->seed, w->block, l->inodes_per_group / 8));
	return write_blocks(w, grp->inode_bitmap, w->block, 1);
}

static void fill_descriptor(struct writer *w, uint32_t g)
{
	const struct mkfs_group *grp = &w->l->groups[g];
	struct ext_disk_group *gd = descriptor(w, g);

	gd->bg_block_bitmap_lo = le32_of((uint32_t)grp->block_bitmap);
	gd->bg_inode_bitmap_lo = le32_of((uint32_t)grp->inode_bitmap);
	gd->bg_inode_table_lo = le32_of((uint32_t)grp->inode_table);
	gd->bg_free_blocks_count_lo = le16_of((uint16_t)grp->nr_free_blocks);
	gd->bg_free_inodes_count_lo = le16_of((uint16_t)grp->nr_free_inodes);
	gd->bg_used_dirs_count_lo = le16_of((uint16_t)grp->nr_dirs);
	gd->bg_itable_unused_lo = le16_of((uint16_t)grp->itable_unused);
	gd->bg_flags = le16_of(grp->flags);
	gd->bg_checksum = le16_of(ext_group_csum(&w->l->super, w->seed, g, gd, w->l->desc_bytes));
}

/* Directories: the root, and lost+found with room for what fsck may find. */

static void put_entry(uint8_t *block, unsigned off, unsigned rec_len, ino_nr_t ino,
					 const char *name, bool filetype)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)(block + off);

	de->inode = le32_of(ino);
	/* A record that fills a 64 KiB block does not fit its field; 65535 stands for it. */
	de->rec_len = le16_of((uint16_t)MIN(rec_len, 65535u));
	de->name_len = (uint8_t)strlen(name);
	de->file_type = ino && filetype ? EXT_FT_DIR : 0;
	memcpy(de->name, name, strlen(name));
}

static void seal_dir_block(struct writer *w, ino_nr_t ino)
{
	const uint32_t end = w->l->block_bytes - sizeof(struct ext_disk_dir_tail);
	struct ext_disk_dir_tail *tail = (struct ext_disk_dir_tail *)(w->block + end);

	if (!w->csum)
		return;
	tail->rec_len = le16_of(sizeof(*tail));
	tail->fake_type = EXT_FT_DIR_CSUM;
	tail->checksum = le32_of(crc32c(ext_inode_csum_seed(w->seed, ino, 0), w->block, end));
}

static int write_directories(struct writer *w)
{
	const struct mkfs_layout *l = w->l;
	const uint32_t end = l->block_bytes - (w->csum ? sizeof(struct ext_disk_dir_tail) : 0);
	const bool ft = le32_get(l->super.s_feature_incompat) & EXT_INCOMPAT_FILETYPE;
	int err;

	memset(w->block, 0, l->block_bytes);
	put_entry(w->block, 0, 12, EXT_ROOT_INO, ".", ft);
	put_entry(w->block, 12, 12, EXT_ROOT_INO, "..", ft);
	put_entry(w->block, 24, end - 24, MKFS_LPF_INO, "lost+found", ft);
	seal_dir_block(w, EXT_ROOT_INO);
	err = write_blocks(w, l->root_block, w->block, 1);
	for (uint32_t i = 0; !err && i < l->lpf_nr_blocks; i++) {
		memset(w->block, 0, l->block_bytes);
		if (i == 0) {
			put_entry(w->block, 0, 12, MKFS_LPF_INO, ".", ft);
			put_entry(w->block, 12, end - 12, EXT_ROOT_INO, "..", ft);
		} else {
			put_entry(w->block, 0, end, 0, "", ft);
		}
		seal_dir_block(w, MKFS_LPF_INO);
		err = write_blocks(w, l->lpf_block + i, w->block, 1);
	}
	return err;
}

/* Times, extra fields, links; then the checksum over it all. The rest is there. */
static void finish_inode(struct writer *w, struct ext_disk_inode *raw, ino_nr_t ino, unsigned nlink)
{
	const struct mkfs_layout *l = w->l;
	const le32 now = l->super.s_mkfs_time;
	const uint32_t inode_seed = ext_inode_csum_seed(w->seed, ino, 0);

	raw->i_atime = raw->i_ctime = raw->i_mtime = now;
	raw->i_links_count = le16_of((uint16_t)nlink);
	if (l->inode_bytes > EXT_GOOD_OLD_INODE_BYTES) {
		raw->i_extra_isize = l->super.s_want_extra_isize;
		raw->i_crtime = now;
	}
	if (w->csum) {
		const uint32_t crc = ext_inode_csum(inode_seed, raw, l->inode_bytes);

		raw->i_checksum_lo = le16_of((uint16_t)crc);
		if (ext_inode_has_csum_hi(raw, l->inode_bytes))
			raw->i_checksum_hi = le16_of((uint16_t)(crc >> 16));
	}
}

static void fill_directory(struct writer *w, void *at, ino_nr_t ino, uint32_t mode, unsigned nlink, pblk_t first,
			   uint32_t nr_blocks)
{
	const struct mkfs_layout *l = w->l;
	struct ext_disk_inode *raw = at;
	const uint32_t uid = ino == EXT_ROOT_INO ? l->root_uid : 0, gid = ino == EXT_ROOT_INO ? l->root_gid : 0;

	raw->i_mode = le16_of((uint16_t)mode);
	raw->i_uid_lo = le16_of((uint16_t)uid);
	raw->i_uid_hi = le16_of((uint16_t)(uid >> 16));
	raw->i_gid_lo = le16_of((uint16_t)gid);
	raw->i_gid_hi = le16_of((uint16_t)(gid >> 16));
	raw->i_size_lo = le32_of(nr_blocks * l->block_bytes);
	raw->i_blocks_lo = le32_of(nr_blocks * (l->block_bytes >> SECT_SHIFT));
	for (uint32_t i = 0; i < nr_blocks; i++)
		raw->i_block[i] = le32_of((uint32_t)first + i);
	finish_inode(w, raw, ino, nlink);
}

/* The blocks of the first inode table that hold inodes 1 to 11. The reserved ones are empty but sealed. */
static int write_inodes(struct writer *w)
{
	const struct mkfs_layout *l = w->l;
	const uint32_t per_block = l->block_bytes / l->inode_bytes;
	const uint32_t nr_blocks = DIV_UP((uint32_t)MKFS_LPF_INO, per_block);
	uint8_t *table = calloc(nr_blocks, l->block_bytes);
	struct ext_disk_inode *journal;
	int err;

	if (!table)
		return -ENOMEM;
	journal = (struct ext_disk_inode *)(table + (EXT_JOURNAL_INO - 1) * l->inode_bytes);
	fill_directory(w, table + (EXT_ROOT_INO - 1) * l->inode_bytes, EXT_ROOT_INO, S_IFDIR | 0755, 3, l->root_block, 1);
	fill_directory(w, table + (MKFS_LPF_INO - 1) * l->inode_bytes, MKFS_LPF_INO, S_IFDIR | 0700, 2, l->lpf_block,
		       l->lpf_nr_blocks);
	if (l->journal_blocks) {
		mkfs_journal_inode(l, journal);
		finish_inode(w, journal, EXT_JOURNAL_INO, 1);
	}
	err = write_blocks(w, l->groups[0].inode_table, table, nr_blocks);
	free(table);
	return err;
}

/* Superblock and descriptors of one group's copy; group 0 is the primary. */
static int write_super_copy(struct writer *w, uint32_t group)
{
	const struct mkfs_layout *l = w->l;
	const pblk_t first = (pblk_t)group * l->blocks_per_group + l->first_data_block;
	struct ext_disk_super sb = l->super;
	/* The primary is at byte 1024, copies at the start of their group's first block. */
	const uint64_t at = group ? first * l->block_bytes : EXT_SUPER_OFF_BYTES;
	int err = write_blocks(w, first + 1, w->gdt, l->gdt_blocks);

	if (err)
		return err;
	sb.s_block_group_nr = le16_of((uint16_t)MIN(group, 65535u));
	if (w->csum)
		sb.s_checksum = le32_of(ext_super_csum(&sb));
	if (group == 0) {
		err = blk_flush(w->volume);
		if (err)
			return err;
	}
	err = blk_write(w->volume, at >> SECT_SHIFT, &sb, sizeof(sb));
	if (err)
		log_error("%s: cannot write the superblock at block %" PRIu64 ": %s", blk_name(w->volume), first,
			  strerror(-err));
	return err;
}

static int write_all(struct writer *w, bool zeroed, bool progress)
{
	const struct mkfs_layout *l = w->l;
	int err = zeroed ? 0 : zero_tables(w, progress);

	for (uint32_t g = 0; !err && g < l->nr_groups; g++) {
		err = write_bitmaps(w, g);
		fill_descriptor(w, g);
	}
	if (!err && l->journal_blocks)
		err = mkfs_journal_write(l, w->volume, zeroed);
	if (!err)
		err = write_directories(w);
	if (!err)
		err = write_inodes(w);
	for (uint32_t g = l->nr_groups; !err && g-- > 0;)
		if (ext_group_has_super(&l->super, g))
			err = write_super_copy(w, g);
	return err ? err : blk_flush(w->volume);
}

int mkfs_write(const struct mkfs_layout *l, struct blk_dev *volume, bool zeroed, bool progress)
{
	const uint32_t ro_compat = le32_get(l->super.s_feature_ro_compat);
	struct writer w = {
		.l = l,
		.volume = volume,
		.seed = ext_csum_seed(&l->super),
		.csum = ro_compat & EXT_RO_COMPAT_METADATA_CSUM,
		.block = malloc(l->block_bytes),
		.gdt = calloc(l->gdt_blocks, l->block_bytes),
	};
	const int err = w.block && w.gdt ? write_all(&w, zeroed, progress) : -ENOMEM;

	free(w.block);
	free(w.gdt);
	return err;
}
