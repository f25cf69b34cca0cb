/*
 * lab_cut.h: what a crash can leave of what was recorded.
 *
 * A cut is a place on the tape: the power went when that many records were complete. On the media
 * is then, for each device:
 *
 *	certainly	what was FUA, or complete before a flush that is complete began (T1)
 *	perhaps		the other complete writes, and those that were under way: each whole, not at all,
 *			or torn: some of its sectors
 *	certainly not	what had not begun
 */
#ifndef OSFS_TOOLS_LAB_CUT_H
#define OSFS_TOOLS_LAB_CUT_H

#include "blk/blk_record.h"
#include "lab_image.h"

enum lab_cut_mode {
	LAB_CUT_ALL,		/* every complete write is there, nothing that was under way */
	LAB_CUT_CERTAIN,	/* only what is certain */
	LAB_CUT_UNDER_WAY,	/* everything, also what was under way */
	LAB_CUT_SOME,		/* by seed: of what is only perhaps there, some, whole */
	LAB_CUT_TORN,		/* by seed: some, some of them torn */
	LAB_CUT_NR_MODES
};

struct lab_cut {
	size_t at;			/* records complete */
	enum lab_cut_mode mode;
	uint64_t seed;
};

/* A tape with what has to be worked out once. */
struct lab_tape {
	struct blk_tape *tape;		/* not owned */
	size_t nr;
	size_t *safe_at;		/* for each record: certain from the cut after this record on; SIZE_MAX never */
};
MUST_CHECK int lab_tape_init(struct lab_tape *lt, struct blk_tape *t);
void lab_tape_fini(struct lab_tape *lt);

/* Does to images[dev] what the cut leaves; images as they were when the recording began. -ENOMEM. */
MUST_CHECK int lab_cut_apply(const struct lab_tape *lt, const struct lab_cut *c, struct lab_image **images, unsigned nr);
/* "all", "certain", ... */
const char *lab_cut_mode_name(enum lab_cut_mode mode);
int lab_cut_mode_parse(const char *text, enum lab_cut_mode *out);	/* -EINVAL */

#endif
