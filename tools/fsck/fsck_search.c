/*
 * fsck_search.c: the inode table of the first group, when neither its descriptor nor a copy says
 * where it is (small filesystems have no copies). It is known by the root's inode: a
 * directory whose first block begins with "." and ".." that both lead to inode 2.
 */
#include <stdlib.h>

#include "fsck_int.h"

enum { SEARCH_BLOCKS = 256 };

static bool is_root_block(const uint8_t *block)
{
	const struct ext_disk_dirent *dot = (const void *)block, *dotdot = (const void *)(block + 12);

	return le32_get(dot->inode) == EXT_ROOT_INO && dot->name_len == 1 && dot->name[0] == '.' &&
	       le32_get(dotdot->inode) == EXT_ROOT_INO && dotdot->name_len == 2 && !memcmp(dotdot->name, "..", 2);
}

/* Where the inode's first block of data lies, as far as that can be seen without following anything. */
static pblk_t first_block(const struct ext_disk_inode *raw)
{
	const struct ext_disk_extent_header *h = (const void *)raw->i_block;
	const struct ext_disk_extent *e = (const void *)(h + 1);

	if (!(le32_get(raw->i_flags) & EXT_FL_EXTENTS))
		return le32_get(raw->i_block[0]);
	return le16_get(h->eh_magic) == EXT_EXTENT_MAGIC && !le16_get(h->eh_depth)
		? (pblk_t)le16_get(e->ee_start_hi) << 32 | le32_get(e->ee_start_lo) : 0;
}

static bool is_root(struct fsck *f, const struct ext_disk_inode *raw, uint8_t *block)
{
	pblk_t at;

	if (!S_ISDIR(le16_get(raw->i_mode)) || le16_get(raw->i_links_count) < 2 ||
	    !fsck_inode_csum_ok(f, EXT_ROOT_INO, raw))
		return false;
	if (le32_get(raw->i_flags) & EXT_FL_INLINE_DATA)
		return le32_get(raw->i_block[0]) == EXT_ROOT_INO;
	at = first_block(raw);
	return at >= f->first_data_block && at < f->nr_blocks && !fsck_block_read(f, at, block) && is_root_block(block);
}

pblk_t fsck_search_itable(struct fsck *f)
{
	uint8_t *buf = malloc((size_t)SEARCH_BLOCKS << f->block_shift), *block = malloc(f->block_bytes);
	const pblk_t end = f->nr_blocks > f->itable_blocks ? f->nr_blocks - f->itable_blocks : 0;
	pblk_t found = 0;

	for (pblk_t at = f->first_data_block + 1; buf && block && !found && at < end && !is_stopped(f); at += SEARCH_BLOCKS) {
		const uint32_t nr = (uint32_t)MIN((pblk_t)SEARCH_BLOCKS, end - at);

		if (2 * f->inode_bytes > f->block_bytes || fsck_blocks_read(f, at, nr, buf))
			continue;
		for (uint32_t i = 0; i < nr && !found; i++)
			if (is_root(f, (const void *)(buf + ((size_t)i << f->block_shift) + f->inode_bytes), block))
				found = at + i;
	}
	free(buf);
	free(block);
	return found;
}
