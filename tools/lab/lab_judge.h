/*
 * lab_judge.h: what must, and what may, be seen after a crash.
 *
 * Names, attributes, sizes: those of the filesystem after one of the steps that had begun, not
 * before the newest one that was made durable. Wholly: every path from the same step (an operation
 * that writes may be cut off at a size in between).
 *
 * Contents, in sectors of 512 bytes:
 *	ordered		as after any step from the file's newest durable one on, and never of anything else
 *	journal		as after the very step that the names are of
 *	writeback	as ordered, but only of files whose newest step is durable
 */
#ifndef OSFS_TOOLS_LAB_JUDGE_H
#define OSFS_TOOLS_LAB_JUDGE_H

#include "lab_run.h"

enum lab_fault {
	LAB_OK,
	LAB_NOT_ASSEMBLED,	/* the array */
	LAB_NOT_MOUNTED,
	LAB_NOT_READ,		/* the tree cannot be read */
	LAB_LOST,		/* what was made durable is not there */
	LAB_MIXED,		/* no step has such a tree */
	LAB_CONTENTS,		/* wrong bytes */
	LAB_STALE,		/* bytes that nobody wrote: what was on the disk before */
	LAB_NOT_WRITABLE,	/* no new file can be made, or the unmount fails */
	LAB_INCONSISTENT,	/* lab_check() or e2fsck complains */
	LAB_PARITY,		/* copies or parity do not agree with the data after recovery */
	LAB_WRONG_LOSS,		/* parity arrays, crash and lost disk at once: one of the above */
	LAB_NR_FAULTS
};
const char *lab_fault_name(enum lab_fault f);
/* The invariants that this fault speaks of first, by number. */
const char *lab_fault_invariants(enum lab_fault f);

/* The tree that was found after a crash at a cut of the run. Says on out what is wrong. */
enum lab_fault lab_judge_tree(const struct lab_run *r, size_t at, const struct lab_tree *found, FILE *out);

#endif
