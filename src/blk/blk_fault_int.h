/* blk_fault_int.h: shared by blk_fault.c (the filter) and blk_fault_rule.c (rules as text). */
#ifndef OSFS_BLK_FAULT_INT_H
#define OSFS_BLK_FAULT_INT_H

#include "blk/blk_fault.h"

#define BLK_FAULT_NEVER_AGAIN UINT64_MAX	/* as every: nth=N */

/* The requests that an action can be done to. */
unsigned fault_ops_of(enum blk_fault_action action);
/* Fills in defaults; -EINVAL when the rule cannot be. */
int fault_rule_normalise(struct blk_fault_rule *r);
/* A rule that was normalised, as its text. */
void fault_rule_to_text(const struct blk_fault_rule *r, FILE *out);

#endif
