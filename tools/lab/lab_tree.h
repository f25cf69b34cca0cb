/*
 * lab_tree.h: everything that can be seen of a filesystem, as a value: paths in order, each with its
 * inode, attributes, extended attributes and contents. Times are left out.
 */
#ifndef OSFS_TOOLS_LAB_TREE_H
#define OSFS_TOOLS_LAB_TREE_H

#include <stdio.h>

#include "fs/fs.h"

struct lab_node {
	char *path;		/* "/" is the root */
	ino_nr_t ino;
	uint32_t generation;
	uint32_t mode, nlink, uid, gid;
	uint64_t rdev;
	uint64_t size_bytes;
	uint8_t *data;		/* regular files: size_bytes; symbolic links: the target */
	char *xattrs;		/* "name=value" lines, sorted; values in hexadecimal */
};

struct lab_tree {
	struct lab_node *nodes;	/* by path */
	size_t nr, cap;
};

/* Reads all of it. The first error, with *where (malloc'ed, or NULL) the path. */
MUST_CHECK int lab_tree_take(struct fs *fs, struct lab_tree *out, char **where);
void lab_tree_fini(struct lab_tree *t);
const struct lab_node *lab_tree_find(const struct lab_tree *t, const char *path);
/* The first node with this inode. */
const struct lab_node *lab_tree_find_inode(const struct lab_tree *t, ino_nr_t ino, uint32_t generation);
/* A line a node. */
void lab_tree_to_text(const struct lab_tree *t, FILE *out);
/* Looks a path up from the root, without references. */
MUST_CHECK int lab_path_ino(struct fs *fs, const char *path, ino_nr_t *ino);

#endif
