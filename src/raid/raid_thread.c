/*
 * raid_thread.c: the thread that does an array's background work, and how fast.
 *
 * Between two pieces it sleeps as long as the speed limits want: never faster than the
 * upper one; while others use the array at most a third of the time, but no slower than
 * the lower one. Whatever makes work kicks it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "raid/raid_int.h"

enum { IDLE_MSEC = 1000, SHARE_OF_OTHERS = 2 };

struct raid_thread {
	pthread_t id;
	os_mutex lock;			/* RANK_LEAF */
	os_cond changed;
	bool stop;			/* [lock] */
	bool kicked;			/* [lock] there may be something to do */
	bool idle;			/* [lock] there was nothing when it last looked */
	int last;			/* [lock] what the last step returned */
};

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t nr_requests(struct raid *r)
{
	return atomic_load(&r->dev.stats.ios[BLK_READ]) + atomic_load(&r->dev.stats.ios[BLK_WRITE]);
}

struct pace {
	uint64_t begin_msec;		/* of the piece */
	uint64_t pos;			/* before it */
	uint64_t nr_requests;
};

/* How long to sleep after the piece that began at p. */
static unsigned pace_msec(struct raid *r, const struct pace *p)
{
	uint64_t pos = atomic_load(&r->sync.pos), kib = pos > p->pos ? (pos - p->pos) / 2 : 0;
	uint64_t took = now_msec() - p->begin_msec, least, wait;
	uint32_t min_kib, max_kib;

	os_mutex_lock(&r->lock);
	min_kib = r->sync.speed_min_kib;
	max_kib = r->sync.speed_max_kib;
	os_mutex_unlock(&r->lock);
	least = kib * 1000 / MAX(max_kib, 1u);
	wait = least > took ? least - took : 0;
	if (nr_requests(r) != p->nr_requests) {
		uint64_t most = kib * 1000 / MAX(min_kib, 1u), share = SHARE_OF_OTHERS * (took + 1);

		most = most > took ? most - took : 0;
		share = MIN(share, most);
		wait = MAX(wait, share);
	}
	return (unsigned)MIN(wait, (uint64_t)IDLE_MSEC);
}

/* False: it is over. */
static bool thread_sleep(struct raid_thread *t, int rc, unsigned msec)
{
	LOCK_GUARD(&t->lock);

	t->last = rc;
	if (rc != 1 && !t->kicked && !t->idle) {
		t->idle = true;
		os_cond_broadcast(&t->changed);
	}
	if (!t->stop && !t->kicked && msec)
		os_cond_wait_msec(&t->changed, &t->lock, msec);
	t->kicked = false;
	return !t->stop;
}

static void *thread_main(void *arg)
{
	struct raid *r = arg;
	struct raid_thread *t = r->thread;
	unsigned msec;
	int rc;

	do {
		struct pace p = {
			.begin_msec = now_msec(), .pos = atomic_load(&r->sync.pos), .nr_requests = nr_requests(r) };

		rc = raid_step(r, 0);
		msec = rc == 1 ? pace_msec(r, &p) : (unsigned)IDLE_MSEC;
		/* Who wants to change members goes first. */
		while (atomic_load(&r->nr_admins_waiting))
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	} while (thread_sleep(t, rc, msec));
	return NULL;
}

int raid_thread_start(struct raid *r)
{
	struct raid_thread *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	os_mutex_init(&t->lock, RANK_LEAF);
	os_cond_init(&t->changed);
	r->thread = t;
	err = -pthread_create(&t->id, NULL, thread_main, r);
	if (!err)
		return 0;
	log_error("array %s: no thread for its background work: %s", blk_name(&r->dev), strerror(-err));
	os_cond_fini(&t->changed);
	os_mutex_fini(&t->lock);
	free(t);
	r->thread = NULL;
	return err;
}

void raid_thread_stop(struct raid *r)
{
	struct raid_thread *t = r->thread;

	if (!t)
		return;
	os_mutex_lock(&t->lock);
	t->stop = true;
	os_cond_broadcast(&t->changed);
	os_mutex_unlock(&t->lock);
	pthread_join(t->id, NULL);
	os_cond_fini(&t->changed);
	os_mutex_fini(&t->lock);
	free(t);
	r->thread = NULL;
}

void raid_thread_kick(struct raid *r)
{
	struct raid_thread *t = r->thread;

	if (!t)
		return;
	LOCK_GUARD(&t->lock);
	t->kicked = true;
	t->idle = false;
	os_cond_broadcast(&t->changed);
}

int raid_wait(struct raid *r, unsigned msec)
{
	struct raid_thread *t = r->thread;
	uint64_t until = now_msec() + msec, now;

	if (!t)
		return -EOPNOTSUPP;
	LOCK_GUARD(&t->lock);
	while (!t->idle) {
		now = now_msec();
		if (now >= until)
			return -ETIMEDOUT;
		os_cond_wait_msec(&t->changed, &t->lock, (unsigned)(until - now));
	}
	return t->last < 0 ? t->last : 0;
}
