/*
 * lab_ops.h: the operations that workloads are made of, on one small tree of files that each
 * workload begins with, and what makes them durable.
 */
#ifndef OSFS_TOOLS_LAB_OPS_H
#define OSFS_TOOLS_LAB_OPS_H

#include "fs/fs.h"

enum { LAB_MAX_HELD = 8 };

/* Who carries them out. */
struct lab_actor {
	struct fs *fs;
	unsigned serial;		/* of the operation: in the bytes it writes */
	ino_nr_t held[LAB_MAX_HELD];	/* inodes that are "open" */
	unsigned nr_held;
	/* Called where an operation of several steps is between two of them; NULL: nobody cares. */
	int (*step)(void *arg);
	void *step_arg;
};
void lab_actor_release(struct lab_actor *a);	/* the open files are closed */

enum {
	LAB_OP_NAMES = 1,	/* changes a directory: what fsync of it promises */
	LAB_OP_SIZE = 2,	/* changes sizes or maps: what fdatasync promises */
	LAB_OP_GROWS = 4,	/* may come in parts: a size between old and new is right */
	LAB_OP_CUTS = 8,	/* zeroes the rest of the last block that is kept: that may be seen before the new size */
	LAB_OP_SCRIPT = 16,	/* long, or of no use alone: for scripts only */
};

struct lab_op {
	const char *name;
	int (*run)(struct lab_actor *a);	/* 0, -errno; -EOPNOTSUPP: not for this filesystem */
	const char *file;	/* what it changes, by its name afterwards; NULL: nothing that fsync can be asked for */
	const char *dir;	/* the directory it changes or the file is in */
	unsigned flags;
};
extern const struct lab_op lab_ops[];
extern const unsigned lab_nr_ops;
const struct lab_op *lab_op_find(const char *name);

enum lab_persist {
	LAB_PERSIST_NONE,
	LAB_PERSIST_FSYNC,	/* the file */
	LAB_PERSIST_FDATASYNC,
	LAB_PERSIST_FSYNC_DIR,
	LAB_PERSIST_SYNC,
	LAB_PERSIST_WRITEBACK,	/* none, but the cache writes out what it may: as its thread does after a while */
	LAB_NR_PERSIST
};
const char *lab_persist_name(enum lab_persist p);
/* Has this operation what that kind is asked for? */
bool lab_persist_fits(const struct lab_op *op, enum lab_persist p);
MUST_CHECK int lab_persist_run(struct fs *fs, const struct lab_op *op, enum lab_persist p);

/* The tree that workloads begin with, into an empty filesystem. */
MUST_CHECK int lab_base_fill(struct fs *fs);

#endif
