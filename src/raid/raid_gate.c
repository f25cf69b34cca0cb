/*
 * raid_gate.c: requests against changes of the set of members.
 *
 * S9   Members and slots change only while no request is under way: who changes them
 *      shuts the gate, waits until those inside have left, and opens it again.
 * S10  One exception: a slot's member that fails while it is being copied is followed
 *      in its slot by the copy at once, since the copy must not miss a write. slots is
 *      set before repls is cleared; who writes looks at repls first, so it sees the
 *      copy in one of the two. Nobody frees a member outside of S9.
 *
 * Entering costs one atomic operation on a lane that few threads share.
 */
#include "raid/raid_int.h"

void raid_gate_init(struct raid_gate *g)
{
	os_mutex_init(&g->lock, RANK_RAID_GATE);
	os_cond_init(&g->changed);
}

void raid_gate_fini(struct raid_gate *g)
{
	os_cond_fini(&g->changed);
	os_mutex_fini(&g->lock);
}

unsigned raid_gate_lane(void)
{
	/* Threads' descriptors lie apart by multiples of a page. */
	return (unsigned)((uintptr_t)pthread_self() / PAGE_BYTES * UINT32_C(0x9e3779b1) >> 20) % RAID_GATE_LANES;
}

unsigned raid_gate_enter_slow(struct raid_gate *g, unsigned lane)
{
	LOCK_GUARD(&g->lock);

	/* Whoever shut it while this thread counted may wait for the count. */
	atomic_fetch_sub(&g->lanes[lane].nr, 1);
	os_cond_broadcast(&g->changed);
	while (atomic_load(&g->shut))
		os_cond_wait(&g->changed, &g->lock);
	atomic_fetch_add(&g->lanes[lane].nr, 1);
	return lane;
}

void raid_gate_leave_slow(struct raid_gate *g)
{
	LOCK_GUARD(&g->lock);

	os_cond_broadcast(&g->changed);
}

static unsigned nr_inside(struct raid_gate *g)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < RAID_GATE_LANES; i++)
		nr += atomic_load(&g->lanes[i].nr);
	return nr;
}

void raid_gate_shut(struct raid_gate *g)
{
	LOCK_GUARD(&g->lock);

	while (atomic_load(&g->shut))
		os_cond_wait(&g->changed, &g->lock);
	atomic_store(&g->shut, true);
	while (nr_inside(g))
		os_cond_wait(&g->changed, &g->lock);
}

void raid_gate_open(struct raid_gate *g)
{
	LOCK_GUARD(&g->lock);

	atomic_store(&g->shut, false);
	os_cond_broadcast(&g->changed);
}
