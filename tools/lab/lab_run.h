/*
 * lab_run.h: workloads, and the recording of one: what was written, in which order, and what the
 * filesystem looked like after each step.
 *
 * Workloads have numbers:
 *	operation * LAB_NR_PERSIST + persistence		one operation
 *	900 + n							the n-th script (lab_run.c)
 *	1000 + first * 1000 + second				a pair of such single ones
 */
#ifndef OSFS_TOOLS_LAB_RUN_H
#define OSFS_TOOLS_LAB_RUN_H

#include "lab_cut.h"
#include "lab_ops.h"
#include "lab_stack.h"
#include "lab_tree.h"

enum { LAB_MAX_STEPS = 8, LAB_SCRIPTS = 900, LAB_PAIRS = 1000 };

struct lab_step {
	const struct lab_op *op;
	enum lab_persist persist;
};

struct lab_workload {
	uint64_t nr;
	struct lab_step steps[LAB_MAX_STEPS];
	unsigned nr_steps;
};
/* -EINVAL: there is no workload of this number, or it makes no sense (fsync of what has no file). */
MUST_CHECK int lab_workload_get(uint64_t nr, struct lab_workload *out);
unsigned lab_nr_singles(void);		/* numbers 0 to this - 1, those that make no sense included */
unsigned lab_nr_scripts(void);
void lab_workload_to_text(const struct lab_workload *w, FILE *out);

/* Something that happened, as seen on the tape: when so many records were complete. */
struct lab_event {
	size_t at;
	enum { LAB_EVENT_BEGIN, LAB_EVENT_PERSIST } kind;
	size_t tree;			/* BEGIN: the newest it leads to; PERSIST: the newest that is safe */
	const struct lab_op *op;
	enum lab_persist persist;
	ino_nr_t ino;			/* PERSIST of one file */
	uint32_t generation;
};

struct lab_run {
	const struct lab_config *cfg;
	struct alloc *alloc;
	struct lab_image *const *base;	/* what it began with; not owned */
	struct lab_workload workload;
	struct blk_tape *tape;
	struct lab_tape lt;
	struct lab_tree *trees;		/* 0: the beginning */
	const struct lab_op **makers;	/* of each tree */
	size_t nr_trees, cap_trees;
	struct lab_event *events;
	size_t nr_events, cap_events;
	bool not_applicable;		/* an operation makes no sense there */
};

/* Runs it to the end, with the unmount. Errors of operations end it, after a message. */
MUST_CHECK int lab_run_record(struct lab_run *r, const struct lab_config *cfg, struct alloc *alloc,
			      struct lab_image *const *base, const struct lab_workload *w);
void lab_run_fini(struct lab_run *r);

#endif
