/*
 * fs_ialloc.c: which group a new inode goes to, and what it is born with. The bits are
 * fs_ialloc_group.c's.
 *
 * Directories are spread, so that the files in them, which lie in their directory's group, have
 * room to grow: those at the top level over all groups, deeper ones near their parent while its
 * group is no fuller than average.
 */
#include "fs/fs_ialloc.h"

enum {
	/* Flags that a new inode takes from its directory. */
	INHERITED = EXT_FL_SECRM | EXT_FL_SYNC | EXT_FL_NODUMP | EXT_FL_NOATIME | EXT_FL_JOURNAL_DATA | EXT_FL_DIRSYNC,
	INHERITED_BY_FILES = INHERITED & ~EXT_FL_DIRSYNC,
	INHERITED_BY_OTHERS = EXT_FL_NODUMP | EXT_FL_NOATIME,
};

struct average {
	uint32_t free_inodes, free_blocks;
};

static bool has_room(const struct fs_group *g)
{
	return atomic_load(&g->free_inodes) > 0;
}

static bool is_roomy(const struct fs_group *g, const struct average *avg)
{
	return has_room(g) && atomic_load(&g->free_inodes) >= avg->free_inodes &&
	       atomic_load(&g->free_blocks) >= avg->free_blocks;
}

/* The roomy group with the fewest directories, looked for from a random start. */
static uint32_t spread_group(struct fs *fs, const struct average *avg, uint32_t fallback)
{
	const uint32_t start = fs_random(fs) % fs->nr_groups;
	uint32_t best = fallback, best_dirs = UINT32_MAX;

	for (uint32_t i = 0; i < fs->nr_groups; i++) {
		const struct fs_group *g = &fs->groups[(start + i) % fs->nr_groups];
		const uint32_t dirs = atomic_load(&g->used_dirs);

		if (dirs < best_dirs && is_roomy(g, avg)) {
			best = g->nr;
			best_dirs = dirs;
			if (dirs == 0)
				break;
		}
	}
	return best;
}

static uint32_t dir_group(struct fs *fs, const struct fs_inode *parent)
{
	const struct average avg = { (uint32_t)(fs->free_inodes / fs->nr_groups), (uint32_t)(fs->free_blocks / fs->nr_groups) };
	/* Near the parent a group may be three quarters as empty as the average one. */
	const struct average near = { avg.free_inodes - avg.free_inodes / 4, avg.free_blocks - avg.free_blocks / 4 };
	const uint32_t own = fs_group_of_inode(fs, parent->ino)->nr;

	if (parent->ino == EXT_ROOT_INO || parent->flags & EXT_FL_TOPDIR)
		return spread_group(fs, &avg, own);
	for (uint32_t i = 0; i < fs->nr_groups; i++) {
		const uint32_t nr = (own + i) % fs->nr_groups;

		if (is_roomy(&fs->groups[nr], &near))
			return nr;
	}
	return own;
}

/* Tries the groups from the chosen one on. */
static int take_number(struct jnl_handle *h, struct fs *fs, uint32_t start, bool is_dir, ino_nr_t *ino)
{
	for (uint32_t i = 0; i < fs->nr_groups; i++) {
		struct fs_group *g = &fs->groups[(start + i) % fs->nr_groups];
		int err;

		if (!has_room(g))
			continue;
		err = fs_ialloc_take(h, fs, g, is_dir, ino);
		if (err != -ENOSPC && err != -EUCLEAN)
			return err;
	}
	return -ENOSPC;
}

static void be_born(struct fs_inode *inode, const struct fs_inode *dir, const struct fs_cred *cred, uint32_t mode)
{
	struct fs *fs = inode->fs;

	inode->uid = cred->uid;
	inode->gid = cred->gid;
	if (dir->mode & S_ISGID) {
		inode->gid = dir->gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	inode->mode = (uint16_t)mode;
	inode->flags = dir->flags & (uint32_t)(S_ISDIR(mode) ? INHERITED : S_ISREG(mode) ? INHERITED_BY_FILES : INHERITED_BY_OTHERS);
	inode->generation = fs_random(fs);
	inode->csum_seed = ext_inode_csum_seed(fs->csum_seed, inode->ino, inode->generation);
	inode->extra_isize = (uint16_t)fs->want_extra_isize;
	inode->crtime = inode->atime = inode->mtime = inode->ctime = fs_now(fs);
	inode->version = 1;
	fs_map_new(inode);
}

int fs_inode_alloc(struct jnl_handle *h, struct fs_inode *dir, const struct fs_cred *cred, uint32_t mode,
		   struct fs_inode **out)
{
	struct fs *fs = dir->fs;
	const uint32_t start = S_ISDIR(mode) ? dir_group(fs, dir) : fs_group_of_inode(fs, dir->ino)->nr;
	ino_nr_t ino;
	int err = take_number(h, fs, start, S_ISDIR(mode), &ino);

	*out = NULL;
	if (err)
		return err;
	err = fs_icache_new(fs, ino, out);
	if (!err) {
		os_mutex_lock(&(*out)->meta);
		be_born(*out, dir, cred, mode);
		err = fs_ialloc_clear(h, *out);
		if (!err)
			err = fs_map_init(*out);
		os_mutex_unlock(&(*out)->meta);
	}
	if (err) {
		const int undo_err = fs_ialloc_give_back(h, fs, ino, S_ISDIR(mode));

		err = undo_err ? undo_err : err;
		fs_icache_abandon(*out);
		*out = NULL;
	}
	return err;
}

int fs_inode_free(struct jnl_handle *h, struct fs_inode *inode)
{
	struct fs *fs = inode->fs;
	int err;

	os_mutex_lock(&inode->meta);
	inode->dtime = (uint32_t)fs_now(fs).tv_sec;
	inode->nlink = 0;
	inode->size_bytes = 0;
	err = fs_inode_store(h, inode);
	os_mutex_unlock(&inode->meta);
	return err ? err : fs_ialloc_give_back(h, fs, inode->ino, S_ISDIR(inode->mode));
}
