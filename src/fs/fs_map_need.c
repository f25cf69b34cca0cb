/* fs_map_need.c: blocks for a map that grows: where they should lie, and having all that are needed before anything is linked. */
#include <assert.h>

#include "fs/fs_map.h"

int fs_map_need_free(struct jnl_handle *h, struct fs_inode *inode, struct fs_map_need *need, bool touched)
{
	int err = 0;

	for (; need->used < need->nr; need->used++) {
		const pblk_t pblk = need->blocks[need->used];
		const int e = touched ? fs_blocks_free(h, inode, pblk, 1, true) : fs_blocks_give_back(h, inode, pblk, 1);

		err = err ? err : e;
	}
	return err;
}

int fs_map_need_alloc(struct jnl_handle *h, struct fs_inode *inode, pblk_t goal, unsigned count,
		      struct fs_map_need *need)
{
	pblk_t pblk;
	uint32_t got;
	int err;

	assert(count <= FS_MAP_NEED_MAX);
	need->nr = need->used = 0;
	while (need->nr < count) {
		err = fs_blocks_alloc(h, inode, goal, count - need->nr, false, &pblk, &got);
		if (err) {
			const int free_err = fs_map_need_free(h, inode, need, false);

			return free_err ? free_err : err;
		}
		for (uint32_t i = 0; i < got; i++)
			need->blocks[need->nr++] = pblk + i;
		goal = pblk + got;
	}
	return 0;
}

pblk_t fs_map_goal(struct fs_inode *inode, lblk_t lblk)
{
	struct fs_extent e;

	os_mutex_lock(&inode->meta);
	e = inode->last_map;
	os_mutex_unlock(&inode->meta);
	if (e.nr && e.lblk + e.nr == lblk)
		return e.pblk + e.nr;
	if (lblk > 0 && inode->map->find(inode, lblk - 1, 1, &e) == 0 && e.pblk)
		return e.pblk + 1;
	return fs_blocks_goal(inode);
}
