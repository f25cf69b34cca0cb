/*
 * fsck_search.c: the inode table of the first group, when neither its descriptor nor a copy says
 * where it is (small filesystems have no copies). It is known by the root's inode: a
 * directory whose first block begins with "." and ".." that both lead to inode 2.
 */
#include <stdlib.h>

#include "fsck_int.h"

enum { SEARCH_BLOCKS = 256 };

static bool is_root(struct fsck *f, const struct ext_disk_inode *raw, uint8_t *block)
{
	ino_nr_t dotdot;
	pblk_t at;

	if (!S_ISDIR(le16_get(raw->i_mode)) || le16_get(raw->i_links_count) < 2 ||
	    !fsck_inode_csum_ok(f, EXT_ROOT_INO, raw))
		return false;
	if (le32_get(raw->i_flags) & EXT_FL_INLINE_DATA)
		return le32_get(raw->i_block[0]) == EXT_ROOT_INO;
	at = inode_first_block(raw);
	return at >= f->first_data_block && at < f->nr_blocks && !fsck_block_read(f, at, block) &&
	       fsck_has_dots(block, EXT_ROOT_INO, &dotdot) && dotdot == EXT_ROOT_INO;
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
