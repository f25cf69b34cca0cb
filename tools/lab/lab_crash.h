/*
 * lab_crash.h: crash states: numbered, made, recovered, judged.
 *
 * A state has a number: workload * 10^7 + cut * 100 + variant. With the same configuration and seed
 * the number gives the same bytes. A variant says what of the writes since the last flush is on the
 * media (lab_cut.h), whether the power goes again during recovery, and which members are lost.
 */
#ifndef OSFS_TOOLS_LAB_CRASH_H
#define OSFS_TOOLS_LAB_CRASH_H

#include "lab_judge.h"

enum { LAB_STATE_CUT = 100, LAB_STATE_WORKLOAD = 10000000 };

struct lab_crash {
	struct lab_config cfg;
	struct alloc *alloc;
	struct lab_image *base[LAB_MAX_MEMBERS];	/* what workloads begin with */
	/* Wishes. */
	unsigned percent;		/* of the states of a workload, by seed; 100: all */
	unsigned e2fsck_every;		/* one in so many states that are well is shown to e2fsck; 0: none */
	unsigned fsck_every;		/* the same for fsck.osfs, in this process */
	unsigned max_reports;		/* so many failures are told in full */
	bool verbose;			/* also what the layers say */
	const char *keep_dir;		/* images of a failed state go there; NULL: nowhere */
	FILE *out;
	const char *rerun;		/* options to say in the line that reruns a state */
	/* What happened. */
	uint64_t nr_workloads, nr_skipped, nr_states, nr_again, nr_lost_members, nr_e2fsck, nr_fsck;
	uint64_t nr_failures, nr_of[LAB_NR_FAULTS];
	uint64_t nr_hole_states;	/* parity arrays: crash and lost member at once */
};

/* cfg and wishes are set; makes the images. Free after an error as well. */
MUST_CHECK int lab_crash_init(struct lab_crash *c);
/* Returns how much memory has leaked (0). */
size_t lab_crash_fini(struct lab_crash *c);

/* All states of a workload, or the wanted share of them. Faults are counted; an error is one of the lab itself. */
MUST_CHECK int lab_crash_workload(struct lab_crash *c, uint64_t workload);
/* One state; it is told in full. */
MUST_CHECK int lab_crash_state(struct lab_crash *c, uint64_t state);
void lab_crash_summary(const struct lab_crash *c, FILE *out);
/* How many variants a configuration has. */
unsigned lab_nr_variants(const struct lab_config *cfg);

#endif
