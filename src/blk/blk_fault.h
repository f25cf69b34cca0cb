/*
 * blk_fault.h: a filter that makes a device fail, slow, forgetful or wrong, by rule
 * and by seed. The same seed, rules and sequence of requests give the same faults.
 *
 *	fault:seed=7+write,fail=ENOSPC,from=100:disk.img
 *	fault:read,flip,p=0.001+read,delay=20,every=10:mem:64m
 *
 * RULES is rules joined by "+"; a rule is words joined by ",": what it does (one), to
 * which requests, and when.
 *
 *	fail[=EIO]	the request fails with this error and is not carried out
 *	delay=MSEC	it takes so much longer
 *	flip[=BITS]	so many bits (1) of the data are wrong: as read, or as written
 *	drop		it reports success and is not carried out: lost write, lying flush
 *
 *	read write flush discard zero	which requests; default all that the rule can do it to
 *	sects=A-B	that touch sectors A to B; flip flips there
 *
 *	nth=N		the N-th such request only
 *	from=N		the N-th and later
 *	every=N		every N-th (with from: counted from that one)
 *	p=P		with probability P, 0 to 1
 *	times=N, once	at most N times, once
 *	default		always
 *
 * "seed=N" stands as a rule of its own; without it the seed is 0.
 *
 * Threads: rules may be added and removed while requests run. A request that has
 * begun keeps what it met.
 */
#ifndef OSFS_BLK_FAULT_H
#define OSFS_BLK_FAULT_H

#include "blk/blk.h"

enum blk_fault_action { BLK_FAULT_FAIL, BLK_FAULT_DELAY, BLK_FAULT_FLIP, BLK_FAULT_DROP, BLK_FAULT_NR_ACTIONS };

enum { BLK_FAULT_MAX_DELAY_MSEC = 600000, BLK_FAULT_MAX_BITS = 4096 };

/* Zero means the default in every field but action. */
struct blk_fault_rule {
	enum blk_fault_action action;
	unsigned ops;		/* set of 1 << enum blk_op */
	int err;		/* FAIL: a negative errno; default -EIO */
	unsigned delay_msec;	/* DELAY */
	unsigned nr_bits;	/* FLIP; default 1 */
	sect_t sect;		/* with nr_sects: the range */
	uint64_t nr_sects;	/* default: the whole device, and requests without a range */
	uint64_t from;		/* counts matching requests from 1 */
	uint64_t every;
	uint64_t times;		/* default: no limit */
	double probability;	/* default 1 */
};

/* No rules at first. Owns lower on success. */
MUST_CHECK int blk_fault_new(struct blk_dev *lower, uint64_t seed, struct blk_dev **out);
/* For what is random from now on. */
void blk_fault_set_seed(struct blk_dev *d, uint64_t seed);
/* With RULES as above; -EINVAL after a message that names the word. */
MUST_CHECK int blk_fault_new_rules(struct blk_dev *lower, const char *rules, struct blk_dev **out);
/* The first fault filter from d downwards, NULL when there is none. */
struct blk_dev *blk_fault_find(struct blk_dev *d);

/*
 * d is a fault filter here and below. *id (may be NULL) is for blk_fault_remove().
 * -EINVAL (a rule that cannot be), -ENOMEM.
 */
MUST_CHECK int blk_fault_add(struct blk_dev *d, const struct blk_fault_rule *rule, unsigned *id);
/* One rule as text; -EINVAL after a message that names the word. */
MUST_CHECK int blk_fault_parse(const char *text, struct blk_fault_rule *out);
int blk_fault_remove(struct blk_dev *d, unsigned id);	/* -ENOENT */
void blk_fault_clear(struct blk_dev *d);
uint64_t blk_fault_nr_fired(struct blk_dev *d);		/* faults since it was opened */
/* A line a rule: id, rule, requests that matched, times it fired. */
void blk_fault_to_text(struct blk_dev *d, FILE *out);

#endif
