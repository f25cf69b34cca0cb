/* fs_map_punch.c: the steps of a punch, whatever the map is. See fs_map.h. */
#include "fs/fs_map.h"

/* So much damage in one call is no accident: a map of blocks that point to each other has no end. */
enum { DAMAGES_MAX = 32 };

int fs_punch_step(struct fs_punch *pu)
{
	int err;

	if (pu->nr_steps++ < pu->inode->map->punch_steps)
		return 0;
	os_mutex_lock(&pu->inode->meta);
	err = fs_inode_store(pu->h, pu->inode);
	os_mutex_unlock(&pu->inode->meta);
	if (err)
		return err;
	pu->nr_steps = 1;
	return jnl_restart(pu->h, fs_credits_punch(pu->inode));
}

int fs_punch_damage(struct fs_punch *pu)
{
	return ++pu->nr_damages < DAMAGES_MAX ? 0 : -EUCLEAN;
}

int fs_punch_free(struct fs_punch *pu, pblk_t pblk, uint32_t nr, bool meta)
{
	const int err = fs_blocks_free(pu->h, pu->inode, pblk, nr, meta);

	return err == -EUCLEAN ? fs_punch_damage(pu) : err;
}
