/* test_cache_model.c: the cache against a model: one thread with a device that fails by rule, and several threads. */
#include "blk/blk_fault.h"
#include "test_cache.h"

enum { NR_MODEL = 700, NR_STEPS = 2000, MAX_RUN = 40 };

/* What each block must hold, and where the cache under test sits. */
struct model {
	struct alloc *mem;
	struct blk_dev *dev;
	struct cache *cache;
	uint64_t seed;
	uint8_t bytes[NR_MODEL][1024];	/* blocks of 1 KiB */
};

static void model_fail(const struct model *m, unsigned step, const char *what, pblk_t pblk)
{
	ck_abort_msg("seed %" PRIu64 " step %u: %s, block %" PRIu64, m->seed, step, what, pblk);
}

static void model_write(struct model *m, struct rng *r, unsigned step, pblk_t pblk, uint32_t nr,
			enum cache_write_mode mode)
{
	struct cache_buf *bufs[MAX_RUN];
	const int err = cache_write_begin(m->cache, pblk, nr, mode, bufs);

	if (err) {
		if (err != -EIO || mode != CACHE_UPDATE)
			model_fail(m, step, "write_begin failed", pblk);
		return;
	}
	for (uint32_t i = 0; i < nr; i++) {
		const size_t from = mode == CACHE_OVERWRITE ? 0 : rng_below(r, 1024);

		if (mode == CACHE_FRESH)
			memset(m->bytes[pblk + i], 0, 1024);
		rng_fill(r, m->bytes[pblk + i] + from, 1024 - from);
		memcpy((uint8_t *)bufs[i]->data + from, m->bytes[pblk + i] + from, 1024 - from);
	}
	cache_write_end(m->cache, bufs, nr);
}

static void model_read(struct model *m, unsigned step, pblk_t pblk, uint32_t nr)
{
	const struct cache_run runs[] = { { pblk, nr / 2 }, { pblk + nr / 2, nr - nr / 2 } };
	struct cache_buf *bufs[MAX_RUN];
	const int err = cache_get_runs(m->cache, runs, 2, bufs);

	if (err) {
		if (err != -EIO)
			model_fail(m, step, "read failed", pblk);
		return;
	}
	for (uint32_t i = 0; i < nr; i++)
		if (memcmp(bufs[i]->data, m->bytes[pblk + i], 1024) != 0)
			model_fail(m, step, "other bytes than written", pblk + i);
	cache_put_many(bufs, nr);
}

static void model_meta(struct model *m, struct rng *r, unsigned step, pblk_t pblk)
{
	struct cache_buf *b;
	const int err = rng_below(r, 2) ? cache_get(m->cache, pblk, NULL, NULL, &b) : cache_get_new(m->cache, pblk, NULL, &b);

	if (err) {
		if (err != -EIO)
			model_fail(m, step, "get failed", pblk);
		return;
	}
	rng_fill(r, m->bytes[pblk], 1024);
	memcpy(b->data, m->bytes[pblk], 1024);
	cache_mark_dirty(b);
	cache_put(b);
}

static void model_step(struct model *m, struct rng *r, unsigned step)
{
	const uint32_t nr = 1 + (uint32_t)rng_below(r, MAX_RUN);
	const pblk_t pblk = rng_below(r, NR_MODEL - nr);

	switch (rng_below(r, 10)) {
	case 0: case 1: case 2:
		model_write(m, r, step, pblk, nr, (enum cache_write_mode)rng_below(r, 3));
		break;
	case 3:
		model_meta(m, r, step, pblk);
		break;
	case 4:
		(void)!cache_flush_range(m->cache, pblk, nr);
		break;
	case 5:
		if (rng_below(r, 4) == 0)
			(void)!cache_flush(m->cache, 1 + (unsigned)rng_below(r, 3));
		else
			cache_throttle(m->cache);
		break;
	case 6:
		cache_readahead(m->cache, pblk, nr);
		if (rng_below(r, 8) == 0)
			cache_drop_clean(m->cache);
		break;
	case 7:	/* freed, and in use again */
		cache_forget(m->cache, pblk, 1);
		model_write(m, r, step, pblk, 1, rng_below(r, 2) ? CACHE_OVERWRITE : CACHE_FRESH);
		break;
	default:
		model_read(m, step, pblk, nr);
	}
	if (step % 64 == 0 && cache_check(m->cache))
		model_fail(m, step, "not sound", 0);
}

static void model_start(struct model *m, uint64_t seed)
{
	const struct alloc_opts ao = { .poison = true };
	struct cache_opts co = { .block_bytes = 1024, .size_bytes = 1 << 20 };
	struct blk_dev *lower;

	m->seed = seed;
	memset(m->bytes, 0, sizeof(m->bytes));
	ck_assert_int_eq(alloc_new(&ao, &m->mem), 0);
	ck_assert_int_eq(blk_mem_new(NR_MODEL * 2, &lower), 0);
	ck_assert_int_eq(blk_fault_new_rules(lower, "seed=3+read,fail,p=0.05+write,fail=ENOSPC,p=0.1", &m->dev), 0);
	co.alloc = m->mem;
	co.dev = m->dev;
	ck_assert_int_eq(cache_new(&co, &m->cache), 0);
	m->cache->max_frames = 300;	/* smaller than any size that can be asked for */
	m->cache->dirty_limit = 120;
}

static void model_stop(struct model *m)
{
	struct blk_stats st;
	uint8_t buf[1024];

	blk_fault_clear(m->dev);
	ck_assert_int_eq(cache_flush(m->cache, CACHE_META | CACHE_DATA), 0);
	ck_assert_int_eq(cache_error(m->cache), 0);
	blk_stats_get(m->dev, &st);
	ck_assert_uint_gt(st.nr_errors, 0);
	cache_free(m->cache);
	for (pblk_t p = 0; p < NR_MODEL; p++) {
		ck_assert_int_eq(blk_read(m->dev, p * 2, buf, 1024), 0);
		if (memcmp(buf, m->bytes[p], 1024) != 0)
			model_fail(m, NR_STEPS, "the device holds other bytes", p);
	}
	blk_close(m->dev);
	ck_assert_uint_eq(alloc_free(m->mem), 0);
}

START_TEST(random_work_on_a_failing_device_agrees_with_the_model)
{
	struct model *m = malloc(sizeof(*m));
	struct rng r = { (uint64_t)_i + 1 };

	be_silent();
	model_start(m, (uint64_t)_i + 1);
	for (unsigned step = 0; step < NR_STEPS; step++)
		model_step(m, &r, step);
	model_stop(m);
	free(m);
}
END_TEST

START_TEST(without_a_thread_the_same_seed_gives_the_same_requests)
{
	struct model *m = malloc(sizeof(*m));
	struct blk_stats st[2];

	be_silent();
	for (unsigned round = 0; round < 2; round++) {
		struct rng r = { 77 };

		model_start(m, 77);
		for (unsigned step = 0; step < 500; step++)
			model_step(m, &r, step);
		blk_stats_get(m->dev, &st[round]);
		model_stop(m);
	}
	ck_assert_mem_eq(&st[0], &st[1], sizeof(st[0]));
	free(m);
}
END_TEST

/* Threads with a range each, and a range they all read; the cache is far too small for it all. */
enum { NR_THREADS = 4, RANGE = 600 };

static void *worker(void *arg)
{
	const unsigned me = (unsigned)(uintptr_t)arg;
	const pblk_t base = 1000 + me * RANGE;
	unsigned version[RANGE] = { 0 };
	struct rng r = { me + 1 };
	struct cache_buf *bufs[64];

	for (unsigned step = 0; step < 600; step++) {
		const unsigned at = (unsigned)rng_below(&r, RANGE - 64), nr = 1 + (unsigned)rng_below(&r, 64);

		switch (rng_below(&r, 5)) {
		case 0:
			cache_throttle(fx.cache);
			write_blocks(base + at, nr, step + 1);
			for (unsigned i = at; i < at + nr; i++)
				version[i] = step + 1;
			break;
		case 1:
			if (cache_flush_range(fx.cache, base + at, nr))
				ck_abort_msg("flush failed");
			break;
		case 2:
			if (cache_get_runs(fx.cache, &(struct cache_run){ rng_below(&r, 900), nr }, 1, bufs))
				ck_abort_msg("shared read failed");
			cache_put_many(bufs, nr);
			break;
		default:
			if (cache_get_runs(fx.cache, &(struct cache_run){ base + at, nr }, 1, bufs))
				ck_abort_msg("read failed");
			for (unsigned i = 0; i < nr; i++)
				must_be(bufs[i]->data, base + at + i, version[at + i]);
			cache_put_many(bufs, nr);
		}
	}
	return NULL;
}

START_TEST(threads_see_what_they_wrote)
{
	pthread_t t[NR_THREADS];

	start((struct start_opts){ .size_bytes = 2 << 20, .background = true, .writeback_msec = 50 });
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		start_thread(&t[i], worker, (void *)i);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	ck_assert_uint_eq(stats().nr_dirty, 0);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_unstable), 0);
	stop();
}
END_TEST

void add_model_tests(Suite *s)
{
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, random_work_on_a_failing_device_agrees_with_the_model, 0, 6);
	tcase_add_test(tc, without_a_thread_the_same_seed_gives_the_same_requests);
	tcase_add_test(tc, threads_see_what_they_wrote);
	suite_add_tcase(s, tc);
}
