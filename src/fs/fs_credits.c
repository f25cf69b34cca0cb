/* fs_credits.c: how many metadata blocks an operation may dirty, as sums in words. */
#include "fs/fs_int.h"

unsigned fs_credits_fill(const struct fs_inode *inode, uint32_t nr)
{
	/* Each new map block: itself and its allocation; the data's allocation; the inode. */
	const unsigned nr_map = inode->map ? inode->map->fill_credits(inode, nr) : 0;
	const unsigned once = nr_map * (1 + FS_CREDITS_ALLOC) + FS_CREDITS_ALLOC + FS_CREDITS_INODE;

	return 2 * once;	/* and all of it back again, when the bytes cannot be had */
}

unsigned fs_credits_punch_step(const struct fs_inode *inode)
{
	const struct fs *fs = inode->fs;
	/* One run out of a table of pointers or an extent: the groups that this can touch; the map; the inode. */
	const unsigned nr_groups = 2 + (1u << fs->ptrs_per_block_shift) / fs->blocks_per_group;
	const unsigned nr_map = inode->map ? inode->map->punch_credits(inode) : 0;
	/* Where data is logged, every block is revoked: 8 bytes each, a table's worth of 4-byte pointers. */
	const unsigned revokes = fs_logs_data(fs) ? 3 : 0;

	return nr_groups * FS_CREDITS_FREE_GROUP + nr_map + FS_CREDITS_INODE + revokes;
}

unsigned fs_credits_dir_add(const struct fs_inode *dir)
{
	enum { LEVELS = 3 };
	/* A leaf and every level of the index may split: each is changed and gets a new block beside it. */
	return (LEVELS + 1) * (1 + 1 + fs_credits_fill(dir, 1)) + FS_CREDITS_INODE;
}

unsigned fs_credits_dir_remove(const struct fs_inode *dir)
{
	(void)dir;
	return 1 + FS_CREDITS_INODE;	/* the block, the directory */
}

unsigned fs_credits_inode_alloc(const struct fs *fs)
{
	(void)fs;
	/* Inode bitmap and descriptor; a fresh block of the inode table; the inode; an attribute block for ACLs. */
	return 2 + 1 + FS_CREDITS_INODE + fs_credits_xattr(fs);
}

unsigned fs_credits_xattr(const struct fs *fs)
{
	(void)fs;
	/* A new attribute block, the old one released, the inode, the superblock (a feature bit). */
	return 1 + FS_CREDITS_ALLOC + 1 + FS_CREDITS_FREE_GROUP + FS_CREDITS_INODE + 1;
}
