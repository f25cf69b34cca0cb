/*
 * cache_thread.c: when write-back happens by itself: the thread, and the throttle of writers.
 *
 * The thread looks four times in writeback_msec for what has become old, and at once when
 * more is dirty than the background limit: then all file data goes out, but for stripes that
 * are growing right now.
 */
#include "cache/cache_int.h"

static uint64_t nr_dirty(const struct cache *c, unsigned class)
{
	return atomic_load_explicit(&c->nr_dirty[class], memory_order_relaxed);
}

static uint64_t nr_dirty_all(const struct cache *c)
{
	return nr_dirty(c, DIRTY_META) + nr_dirty(c, DIRTY_DATA);
}

/* What is old; and, above the background limit, all file data (and metadata when that is what piles up). */
static int background_round(struct cache *c)
{
	const bool over = nr_dirty_all(c) > c->background_limit;
	const bool meta_over = nr_dirty(c, DIRTY_META) > c->background_limit;
	const uint32_t age = c->opts.writeback_msec;
	struct snapshot sn = { 0 };
	int err;

	err = snapshot_class(c, &sn, DIRTY_META, meta_over ? 0 : age);
	if (!err)
		err = snapshot_class(c, &sn, DIRTY_DATA, over ? 0 : age);
	if (!err) {
		snapshot_sort(&sn);
		if (nr_dirty_all(c) < c->dirty_limit)
			snapshot_defer_tails(&sn, c->optimal_blocks);
		err = cache_write_pass(c, &sn, NULL);
	}
	snapshot_fini(&sn);
	return err;
}

static void *flusher_main(void *arg)
{
	struct cache *c = arg;

	os_mutex_lock(&c->flusher_lock);
	while (!c->flusher_stop) {
		int err;

		if (!atomic_load(&c->flusher_kicked))
			os_cond_wait_msec(&c->flusher_wake, &c->flusher_lock, MAX(c->opts.writeback_msec / 4, 1u));
		if (c->flusher_stop)
			break;
		atomic_store(&c->flusher_kicked, false);
		os_mutex_unlock(&c->flusher_lock);
		err = background_round(c);
		os_mutex_lock(&c->flusher_lock);
		c->round_err = err;
		os_cond_broadcast(&c->flusher_done);
	}
	os_mutex_unlock(&c->flusher_lock);
	return NULL;
}

int cache_flusher_start(struct cache *c)
{
	return -pthread_create(&c->flusher, NULL, flusher_main, c);
}

void cache_flusher_stop(struct cache *c)
{
	os_mutex_lock(&c->flusher_lock);
	c->flusher_stop = true;
	os_cond_broadcast(&c->flusher_wake);
	os_mutex_unlock(&c->flusher_lock);
	pthread_join(c->flusher, NULL);
}

static void kick(struct cache *c)
{
	if (atomic_exchange(&c->flusher_kicked, true))
		return;
	os_mutex_lock(&c->flusher_lock);
	os_cond_signal(&c->flusher_wake);
	os_mutex_unlock(&c->flusher_lock);
}

void cache_dirtied(struct cache *c)
{
	if (c->opts.background && nr_dirty_all(c) > c->background_limit &&
	    !atomic_load_explicit(&c->flusher_kicked, memory_order_relaxed))
		kick(c);
}

void cache_tell_throttled(struct cache *c)
{
	LOCK_GUARD(&c->flusher_lock);

	os_cond_broadcast(&c->flusher_done);
}

void cache_throttle(struct cache *c)
{
	lock_dep_assert_below(RANK_HANDLE);
	if (likely(nr_dirty_all(c) <= c->dirty_limit))
		return;
	atomic_fetch_add_explicit(&c->nr_throttled, 1, memory_order_relaxed);
	if (!c->opts.background) {
		/* C5: an error is remembered for those who ask. */
		(void)!cache_flush(c, CACHE_META | CACHE_DATA);
		return;
	}
	while (nr_dirty_all(c) > c->dirty_limit) {
		kick(c);
		LOCK_GUARD(&c->flusher_lock);

		/* What cannot be written does not go away by waiting. */
		if (c->error || c->round_err)
			return;
		os_cond_wait_msec(&c->flusher_done, &c->flusher_lock, 20);
	}
}
