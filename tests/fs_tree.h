/*
 * fs_tree.h: names in a test filesystem: short words for the namespace calls, and listings
 * that check themselves.
 */
#ifndef OSFS_TEST_FS_TREE_H
#define OSFS_TEST_FS_TREE_H

#include "fs/ext_disk.h"
#include "fs_fixture.h"

/* The number of the new inode (no reference is kept), or -errno. */
int64_t tree_file(struct fsx *x, ino_nr_t dir, const char *name);
int64_t tree_dir(struct fsx *x, ino_nr_t dir, const char *name);
int64_t tree_symlink(struct fsx *x, ino_nr_t dir, const char *name, const char *target);
int tree_link(struct fsx *x, ino_nr_t ino, ino_nr_t dir, const char *name);
int tree_unlink(struct fsx *x, ino_nr_t dir, const char *name);
int tree_rmdir(struct fsx *x, ino_nr_t dir, const char *name);
int tree_rename(struct fsx *x, ino_nr_t dir, const char *name, ino_nr_t new_dir, const char *new_name, unsigned flags);
/* The inode's number, or -errno. */
int64_t tree_find(struct fsx *x, ino_nr_t dir, const char *name);
struct fs_attr tree_attr(struct fsx *x, ino_nr_t ino);

/* These must succeed. */
ino_nr_t tree_must_file(struct fsx *x, ino_nr_t dir, const char *name);
ino_nr_t tree_must_dir(struct fsx *x, ino_nr_t dir, const char *name);

/* A listing, with at most per_call entries a call. */
struct tree_list {
	struct tree_name {
		char *name;
		ino_nr_t ino;
		unsigned type;
	} *names;		/* as they came, "." and ".." left out */
	unsigned nr, max;
	uint64_t cookie;	/* where the next call goes on */
	bool at_end;
};
/* The next call of a listing that begins as {0}. */
void tree_list_more(struct fsx *x, ino_nr_t dir, struct tree_list *l, unsigned per_call);
/* All of it. Names must come once each. */
struct tree_list tree_list_all(struct fsx *x, ino_nr_t dir, unsigned per_call);
/* How often a name came. */
unsigned tree_list_count(const struct tree_list *l, const char *name);
void tree_list_sort(struct tree_list *l);
void tree_list_free(struct tree_list *l);

/* The same names with debugfs's ls (not mounted), sorted. */
struct tree_list tree_debugfs_ls(struct fsx *x, const char *path);
void tree_lists_equal(struct tree_list *a, struct tree_list *b);

#endif
