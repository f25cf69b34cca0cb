/*
 * cache_clock.h: the clock (second chance) as a policy of its own. It knows links, a hand
 * and a reference bit; not frames, not devices. A trace can drive it (tests/test_clock.c).
 *
 * A ring of nodes; the hand points at the next one to look at. A node comes in just behind
 * the hand, with its bit set, so that it is looked at last. clock_victim() moves the hand:
 * a set bit is cleared and the node passed over, the first clear one is the victim.
 *
 * The caller locks.
 */
#ifndef OSFS_CACHE_CACHE_CLOCK_H
#define OSFS_CACHE_CACHE_CLOCK_H

#include "base/types.h"

struct clock_node {
	struct clock_node *next, *prev;	/* NULL: not in a ring */
	bool referenced;
};

struct clock_ring {
	struct clock_node *hand;	/* NULL: empty */
	uint64_t nr_nodes;
	uint64_t nr_steps;		/* of the hand, ever */
};

void clock_insert(struct clock_ring *ring, struct clock_node *node);
void clock_remove(struct clock_ring *ring, struct clock_node *node);

static inline void clock_touch(struct clock_node *node)
{
	if (!node->referenced)
		node->referenced = true;
}

/*
 * The next victim, still in the ring, or NULL when two rounds, or max_steps of the hand, found
 * none. may_evict says whether a node can go; one that cannot is passed over and keeps its bit.
 */
struct clock_node *clock_victim(struct clock_ring *ring, bool (*may_evict)(const struct clock_node *node),
				uint64_t max_steps);

#endif
