/*
 * fsck_resize.c: the resize inode. Its map has one double indirect block; that names the reserved
 * descriptor blocks of the first group, each of which names its own copies in the other groups.
 * All of them but the first block are fixed metadata already.
 */
#include <stdlib.h>

#include "fsck_int.h"

struct resize {
	struct fsck *f;
	uint32_t nr_reserved, nr_desc, per_block;
	le32 *dind, *ind, *want;	/* one block each */
};

static pblk_t reserved_block(const struct resize *r, uint32_t i)
{
	return (pblk_t)r->f->first_data_block + 1 + r->nr_desc + i;
}

/* What reserved block i is to hold: its copies in the groups with superblock copies. */
static void want_copies(const struct resize *r, uint32_t i)
{
	uint32_t nr = 0;

	memset(r->want, 0, r->f->block_bytes);
	for (uint32_t g = 1; g < r->f->nr_groups && nr < r->per_block; g++)
		if (ext_group_has_super(&r->f->sb, g))
			r->want[nr++] = le32_of((uint32_t)(reserved_block(r, i) + (pblk_t)g * r->f->blocks_per_group));
}

static bool blocks_ok(struct resize *r)
{
	for (uint32_t i = 0; i < r->nr_reserved; i++) {
		const uint32_t at = (r->nr_desc + i) % r->per_block;

		if (le32_get(r->dind[at]) != reserved_block(r, i) || fsck_block_read(r->f, reserved_block(r, i), r->ind))
			return false;
		want_copies(r, i);
		if (memcmp(r->ind, r->want, r->f->block_bytes))
			return false;
	}
	return true;
}

static bool inode_ok(struct resize *r, const struct ext_disk_inode *raw)
{
	const pblk_t dind = le32_get(raw->i_block[EXT_DIND_BLOCK]);

	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		if (i != EXT_DIND_BLOCK && raw->i_block[i].raw)
			return false;
	return S_ISREG(le16_get(raw->i_mode)) && le16_get(raw->i_links_count) && fsck_data_ok(r->f, dind, 1) &&
	       !(le32_get(raw->i_flags) & (EXT_FL_EXTENTS | EXT_FL_INLINE_DATA)) &&
	       !fsck_block_read(r->f, dind, r->dind) && blocks_ok(r);
}

static uint64_t nr_sects(const struct resize *r)
{
	uint64_t copies = 0;

	for (uint32_t g = 1; g < r->f->nr_groups && copies < r->per_block; g++)
		copies += ext_group_has_super(&r->f->sb, g);
	return (1 + r->nr_reserved * (1 + copies)) << (r->f->block_shift - SECT_SHIFT);
}

static void make(struct resize *r, struct ext_disk_inode *raw)
{
	struct fsck *f = r->f;
	pblk_t dind = le32_get(raw->i_block[EXT_DIND_BLOCK]);

	if (!fsck_data_ok(f, dind, 1) || fsck_is_used(f, dind))
		dind = fsck_block_alloc(f, f->first_data_block);
	else
		fsck_claim(f, dind, 1);
	if (!dind || dind > UINT32_MAX) {
		fsck_failed(f, -ENOSPC);
		return;
	}
	memset(r->dind, 0, f->block_bytes);
	for (uint32_t i = 0; i < r->nr_reserved; i++) {
		r->dind[(r->nr_desc + i) % r->per_block] = le32_of((uint32_t)reserved_block(r, i));
		want_copies(r, i);
		fsck_block_write(f, reserved_block(r, i), r->want);
	}
	fsck_block_write(f, dind, r->dind);
	memset(raw, 0, f->inode_bytes);
	raw->i_mode = le16_of(S_IFREG | 0600);
	raw->i_links_count = le16_of(1);
	raw->i_atime = raw->i_ctime = raw->i_mtime = le32_of(f->now);
	raw->i_block[EXT_DIND_BLOCK] = le32_of((uint32_t)dind);
	inode_set_size(raw, (uint64_t)f->block_bytes * (EXT_NR_DIRECT + r->per_block + (uint64_t)r->per_block * r->per_block));
	inode_set_nr_sects(f, raw, nr_sects(r));
	fsck_inode_write(f, EXT_RESIZE_INO, raw);
}

void fsck_resize_check(struct fsck *f)
{
	struct resize r = { .f = f, .nr_reserved = le16_get(f->sb.s_reserved_gdt_blocks),
			    .per_block = f->block_bytes / sizeof(le32) };
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	uint8_t *bufs = malloc((size_t)f->block_bytes * 3);

	r.nr_desc = DIV_UP(f->nr_groups, f->block_bytes / f->desc_bytes);
	if (!has_compat(f, EXT_COMPAT_RESIZE_INODE) || has_incompat(f, EXT_INCOMPAT_META_BG)) {
		;
	} else if (!raw || !bufs || fsck_inode_read(f, EXT_RESIZE_INO, raw)) {
		fsck_failed(f, -ENOMEM);
	} else {
		const pblk_t dind = le32_get(raw->i_block[EXT_DIND_BLOCK]);

		r.dind = (le32 *)bufs;
		r.ind = (le32 *)(bufs + f->block_bytes);
		r.want = (le32 *)(bufs + (size_t)f->block_bytes * 2);
		if (inode_ok(&r, raw) && !fsck_is_used(f, dind))
			fsck_claim(f, dind, 1);
		else if (fsck_fix(&f->main, P0_RESIZE_INODE, .ino = EXT_RESIZE_INO))
			make(&r, raw);
	}
	free(bufs);
	free(raw);
}
