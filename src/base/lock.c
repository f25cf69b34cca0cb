/* lock.c: conditions on the monotonic clock, and the lock-order check of debug builds. */
#include "base/lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void os_cond_init(os_cond *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->c, &attr);
	pthread_condattr_destroy(&attr);
}

void os_cond_wait(os_cond *c, os_mutex *mx)
{
	lock_dep_release(&mx->dep);
	pthread_cond_wait(&c->c, &mx->m);
	lock_dep_acquire(&mx->dep, 0, true);
}

bool os_cond_wait_msec(os_cond *c, os_mutex *mx, unsigned msec)
{
	struct timespec until;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += msec / 1000;
	until.tv_nsec += (long)(msec % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	lock_dep_release(&mx->dep);
	err = pthread_cond_timedwait(&c->c, &mx->m, &until);
	lock_dep_acquire(&mx->dep, 0, true);
	return err == 0;
}

#ifdef OSFS_LOCK_DEBUG

/* What the calling thread holds, in the order it was taken. */
enum { HELD_MAX = 64 };
static _Thread_local struct {
	struct lock_dep *dep;
	uint64_t key;
} held[HELD_MAX];
static _Thread_local unsigned nr_held;

static void lock_dep_die(const char *what, const struct lock_dep *d, uint64_t key)
{
	fprintf(stderr, "lock order: %s: %s (rank %d, key %" PRIu64 "), held:", what, d->name, d->rank, key);
	for (unsigned i = 0; i < nr_held; i++)
		fprintf(stderr, " %s (%d, %" PRIu64 ")", held[i].dep->name, held[i].dep->rank, held[i].key);
	fputc('\n', stderr);
	abort();
}

void lock_dep_init(struct lock_dep *d, const char *name, int rank)
{
	d->name = name;
	d->rank = rank;
}

void lock_dep_acquire(struct lock_dep *d, uint64_t key, bool try_only)
{
	for (unsigned i = 0; i < nr_held; i++) {
		const struct lock_dep *h = held[i].dep;

		if (h == d)
			lock_dep_die("taken twice", d, key);
		/* A lock that was only tried for cannot deadlock. */
		if (try_only)
			continue;
		if (h->rank > d->rank || (h->rank == d->rank && held[i].key >= key))
			lock_dep_die("taken out of order", d, key);
	}
	if (nr_held == HELD_MAX)
		lock_dep_die("too many held", d, key);
	held[nr_held].dep = d;
	held[nr_held++].key = key;
}

void lock_dep_release(struct lock_dep *d)
{
	for (unsigned i = nr_held; i-- > 0;)
		if (held[i].dep == d) {
			nr_held--;
			memmove(held + i, held + i + 1, (nr_held - i) * sizeof(held[0]));
			return;
		}
	lock_dep_die("released but not held", d, 0);
}

void lock_dep_assert_held(const struct lock_dep *d)
{
	for (unsigned i = 0; i < nr_held; i++)
		if (held[i].dep == d)
			return;
	lock_dep_die("not held", d, 0);
}

void lock_dep_assert_below(int rank)
{
	for (unsigned i = 0; i < nr_held; i++)
		if (held[i].dep->rank >= rank)
			lock_dep_die("held where only lower ranks may be", held[i].dep, held[i].key);
}

#endif
