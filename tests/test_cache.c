/* test_cache.c: the page cache on memory devices; C1 to C6 of cache.h by name. */
#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "cache/cache_int.h"
#include "journal/jnl.h"

enum { BLOCK = 4096, NR_BLOCKS = 4096 };

/* A device over memory that can fail, and watches the bytes while a write runs. */
struct watched {
	struct blk_dev dev;
	uint8_t *bytes;
	atomic_int fail_reads, fail_writes;	/* -errno, or 0 */
	atomic_uint nr_ios, nr_unstable;
	atomic_uint nr_uneven;		/* writes whose first and last byte differ */
	unsigned delay_usec;
	bool (*intrude)(struct watched *w);	/* called in the middle of each write */
	void *arg;
};

static uint64_t sum_iov(const struct blk_io *io)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->nr_iov; i++)
		for (size_t k = 0; k < io->iov[i].iov_len; k += 8)
			sum = sum * 31 + *(volatile uint64_t *)((char *)io->iov[i].iov_base + k);
	return sum;
}

static void watched_one(struct watched *w, struct blk_io *io)
{
	uint8_t *at = w->bytes + io->sect * SECT_BYTES;

	io->err = io->op == BLK_READ ? atomic_load(&w->fail_reads) : io->op == BLK_WRITE ? atomic_load(&w->fail_writes) : 0;
	if (io->err || io->op > BLK_WRITE)
		return;
	atomic_fetch_add(&w->nr_ios, 1);
	if (io->op == BLK_WRITE) {
		const uint64_t before = sum_iov(io);

		if (w->delay_usec)
			usleep(w->delay_usec);
		if (w->intrude)
			w->intrude(w);
		atomic_fetch_add(&w->nr_unstable, before != sum_iov(io));
		atomic_fetch_add(&w->nr_uneven, *(uint8_t *)io->iov[0].iov_base !=
				 *((uint8_t *)io->iov[0].iov_base + io->iov[0].iov_len - 1));
	}
	for (unsigned i = 0; i < io->nr_iov; i++) {
		if (io->op == BLK_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static void watched_run(struct blk_dev *d, struct blk_io **ios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		watched_one(container_of(d, struct watched, dev), ios[i]);
}

static void watched_close(struct blk_dev *d)
{
	struct watched *w = container_of(d, struct watched, dev);

	blk_dev_fini(d);
	free(w->bytes);
	free(w);
}

static const struct blk_ops watched_ops = { .name = "watched", .run = watched_run, .close = watched_close };

static struct alloc *mem;
static struct watched *dev;
static struct cache *cache;
static uint32_t block_bytes = BLOCK;

static void fill_pattern(uint8_t *bytes, pblk_t pblk, unsigned version)
{
	struct rng r = { pblk * 7919 + version };

	rng_fill(&r, bytes, block_bytes);
}

static void start(uint64_t size_bytes, bool background)
{
	const struct alloc_opts ao = { .redzone = true };
	struct cache_opts co;

	ck_assert_int_eq(alloc_new(&ao, &mem), 0);
	dev = calloc(1, sizeof(*dev));
	dev->bytes = malloc((size_t)NR_BLOCKS * block_bytes);
	ck_assert_int_eq(blk_dev_init(&dev->dev, &watched_ops, "watched", (uint64_t)NR_BLOCKS * block_bytes / SECT_BYTES, false), 0);
	for (pblk_t p = 0; p < NR_BLOCKS; p++)
		fill_pattern(dev->bytes + p * block_bytes, p, 0);
	co = (struct cache_opts){ .alloc = mem, .dev = &dev->dev, .block_bytes = block_bytes, .size_bytes = size_bytes,
		.background = background, .writeback_msec = background ? 50 : 0 };
	ck_assert_int_eq(cache_new(&co, &cache), 0);
}

static void stop(void)
{
	ck_assert_int_eq(cache_check(cache), 0);
	cache_free(cache);
	blk_close(&dev->dev);
	ck_assert_uint_eq(alloc_free(mem), 0);
}

static struct cache_stats stats(void)
{
	struct cache_stats st;

	cache_stats_get(cache, &st);
	return st;
}

static bool block_is(const void *bytes, pblk_t pblk, unsigned version)
{
	uint8_t want[65536];

	fill_pattern(want, pblk, version);
	return memcmp(bytes, want, block_bytes) == 0;
}

static void must_be(const void *bytes, pblk_t pblk, unsigned version)
{
	if (!block_is(bytes, pblk, version))
		ck_abort_msg("block %" PRIu64 " is not its version %u", pblk, version);
}

static void write_blocks(pblk_t pblk, uint32_t nr, unsigned version)
{
	struct cache_buf *bufs[256];

	ck_assert_int_eq(cache_write_begin(cache, pblk, nr, CACHE_OVERWRITE, bufs), 0);
	for (uint32_t i = 0; i < nr; i++)
		fill_pattern(bufs[i]->data, pblk + i, version);
	cache_write_end(cache, bufs, nr);
}

START_TEST(a_block_is_read_once_and_then_hit)
{
	struct cache_buf *a, *b;

	start(1 << 20, false);
	ck_assert_int_eq(cache_get(cache, 7, NULL, NULL, &a), 0);
	must_be(a->data, 7, 0);
	ck_assert_int_eq(cache_get(cache, 7, NULL, NULL, &b), 0);
	ck_assert_ptr_eq(a, b);
	ck_assert_uint_eq(stats().nr_hits, 1);
	ck_assert_uint_eq(stats().nr_misses, 1);
	cache_put(a);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(every_block_size_works)
{
	struct cache_buf *b, *bufs[8];

	block_bytes = 1024u << _i;
	start(4 << 20, false);
	ck_assert_int_eq(cache_get(cache, 3, NULL, NULL, &b), 0);
	must_be(b->data, 3, 0);
	ck_assert_uint_eq((uintptr_t)b->data % MIN(block_bytes, 4096u), 0);
	cache_put(b);
	write_blocks(60, 8, 1);
	ck_assert_int_eq(cache_flush(cache, CACHE_META | CACHE_DATA), 0);
	for (pblk_t p = 60; p < 68; p++)
		must_be(dev->bytes + p * block_bytes, p, 1);
	ck_assert_int_eq(cache_get_runs(cache, &(struct cache_run){ 60, 8 }, 1, bufs), 0);
	cache_put_many(bufs, 8);
	stop();
}
END_TEST

START_TEST(runs_are_read_in_one_batch_of_long_requests)
{
	const struct cache_run runs[] = { { 10, 200 }, { 1000, 50 }, { 210, 6 } };
	struct cache_buf *bufs[256];

	start(8 << 20, false);
	ck_assert_int_eq(cache_get_runs(cache, runs, 3, bufs), 0);
	ck_assert_uint_eq(stats().nr_read_batches, 1);
	ck_assert_uint_eq(atomic_load(&dev->nr_ios), 3);
	for (unsigned i = 0; i < 200; i++)
		must_be(bufs[i]->data, 10 + i, 0);
	for (unsigned i = 0; i < 50; i++)
		must_be(bufs[200 + i]->data, 1000 + i, 0);
	cache_put_many(bufs, 256);
	ck_assert_int_eq(cache_get_runs(cache, runs, 3, bufs), 0);
	ck_assert_uint_eq(atomic_load(&dev->nr_ios), 3);
	cache_put_many(bufs, 256);
	stop();
}
END_TEST

START_TEST(a_failed_read_leaves_nothing_behind)
{
	struct cache_buf *b, *bufs[128];

	start(1 << 20, false);
	atomic_store(&dev->fail_reads, -EIO);
	ck_assert_int_eq(cache_get(cache, 5, NULL, NULL, &b), -EIO);
	ck_assert_int_eq(cache_get_runs(cache, &(struct cache_run){ 0, 128 }, 1, bufs), -EIO);
	ck_assert_uint_eq(stats().nr_pinned, 0);
	atomic_store(&dev->fail_reads, 0);
	ck_assert_int_eq(cache_get(cache, 5, NULL, NULL, &b), 0);
	must_be(b->data, 5, 0);
	cache_put(b);
	stop();
}
END_TEST

static int refuse_odd(void *owner, const struct cache_buf *b, const void *arg)
{
	(*(unsigned *)(uintptr_t)arg)++;
	return b->pblk & 1 ? -EUCLEAN : 0;
}
static const struct cache_kind even_kind = { "even", refuse_odd };
static const struct cache_kind other_kind = { "other", refuse_odd };

START_TEST(a_kind_is_checked_once_and_a_bad_block_is_not_given_out)
{
	unsigned checks = 0;
	struct cache_buf *b;

	start(1 << 20, false);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(cache_get(cache, 4, &even_kind, &checks, &b), 0);
		cache_put(b);
	}
	ck_assert_uint_eq(checks, 1);
	ck_assert_int_eq(cache_get(cache, 4, &other_kind, &checks, &b), 0);
	cache_put(b);
	ck_assert_uint_eq(checks, 2);
	ck_assert_int_eq(cache_get(cache, 5, &even_kind, &checks, &b), -EUCLEAN);
	ck_assert_int_eq(cache_get(cache, 5, NULL, NULL, &b), 0);	/* raw bytes can be looked at */
	cache_put(b);
	stop();
}
END_TEST

START_TEST(C2_pinned_and_dirty_frames_stay)
{
	struct cache_buf *pinned, *b, *bufs[256];

	start(1 << 20, false);
	ck_assert_int_eq(cache_get(cache, 1, NULL, NULL, &pinned), 0);
	write_blocks(2000, 64, 9);
	for (pblk_t p = 100; p < 1900; p += 100) {
		ck_assert_int_eq(cache_get_runs(cache, &(struct cache_run){ p, 100 }, 1, bufs), 0);
		cache_put_many(bufs, 100);
	}
	ck_assert_uint_gt(stats().nr_evictions, 900);
	must_be(pinned->data, 1, 0);
	cache_put(pinned);
	for (pblk_t p = 2000; p < 2064; p++) {
		ck_assert_int_eq(cache_get(cache, p, NULL, NULL, &b), 0);
		must_be(b->data, p, 9);
		cache_put(b);
	}
	stop();
}
END_TEST

/* C3: another thread wants to change the very frame that is being written. */
static void *rewriter(void *arg)
{
	write_blocks(50, 1, 2);
	return NULL;
}

static bool start_rewriter(struct watched *w)
{
	pthread_t *t = w->arg;

	if (*t)
		return false;
	pthread_create(t, NULL, rewriter, NULL);
	usleep(20000);
	return true;
}

START_TEST(C3_file_data_does_not_change_while_it_is_written)
{
	pthread_t t = 0;

	start(1 << 20, false);
	write_blocks(50, 1, 1);
	dev->intrude = start_rewriter;
	dev->arg = &t;
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), 0);
	ck_assert_uint_eq(atomic_load(&dev->nr_unstable), 0);
	must_be(dev->bytes + 50 * BLOCK, 50, 1);
	pthread_join(t, NULL);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), 0);
	must_be(dev->bytes + 50 * BLOCK, 50, 2);
	stop();
}
END_TEST

START_TEST(C3_metadata_goes_out_between_two_handles)
{
	struct jnl_handle h = { 0 };
	struct cache_buf *b;
	struct jnl *j;

	start(1 << 20, true);
	memset(dev->bytes + 9 * BLOCK, 0, BLOCK);
	ck_assert_int_eq(jnl_null_new(cache, &dev->dev, &j), 0);
	ck_assert_int_eq(cache_get(cache, 9, NULL, NULL, &b), 0);
	for (unsigned round = 1; round < 40; round++) {
		h = (struct jnl_handle){ 0 };
		ck_assert_int_eq(jnl_begin(j, 1, &h), 0);
		ck_assert_int_eq(jnl_get_write(&h, b), 0);
		memset(b->data, (int)round, BLOCK / 2);
		jnl_dirty(&h, b);
		usleep(3000);	/* time enough for the thread to write half of it, if it could */
		memset((char *)b->data + BLOCK / 2, (int)round, BLOCK / 2);
		jnl_end(&h);
	}
	cache_put(b);
	ck_assert_int_eq(jnl_free(j), 0);
	ck_assert_uint_eq(dev->bytes[9 * BLOCK], 39);
	ck_assert_uint_gt(atomic_load(&dev->nr_ios), 1);
	ck_assert_uint_eq(atomic_load(&dev->nr_uneven), 0);
	stop();
}
END_TEST

static bool dirty_again(struct watched *w)
{
	struct cache_buf *b = w->arg;

	memset(b->data, 0x77, BLOCK);	/* the copy is what is written */
	cache_mark_dirty(b);
	return true;
}

START_TEST(C4_dirtied_while_written_stays_dirty)
{
	struct cache_buf *b;

	start(1 << 20, false);
	ck_assert_int_eq(cache_get(cache, 3, NULL, NULL, &b), 0);
	memset(b->data, 0x11, BLOCK);
	cache_mark_dirty(b);
	dev->intrude = dirty_again;
	dev->arg = b;
	ck_assert_int_eq(cache_flush_range(cache, 3, 1), 0);
	dev->intrude = NULL;
	ck_assert_uint_eq(dev->bytes[3 * BLOCK], 0x11);
	ck_assert_uint_eq(stats().nr_dirty, 1);
	ck_assert_int_eq(cache_flush(cache, CACHE_META), 0);
	ck_assert_uint_eq(dev->bytes[3 * BLOCK], 0x77);
	ck_assert_uint_eq(stats().nr_dirty, 0);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(C5_a_failed_write_is_kept_told_and_tried_again)
{
	start(1 << 20, false);
	write_blocks(10, 4, 3);
	atomic_store(&dev->fail_writes, -ENOSPC);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), -ENOSPC);
	ck_assert_int_eq(cache_flush_range(cache, 12, 1), -ENOSPC);
	ck_assert_int_eq(cache_error(cache), -ENOSPC);
	ck_assert_uint_eq(stats().nr_dirty, 4);
	atomic_store(&dev->fail_writes, 0);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), 0);
	ck_assert_int_eq(cache_error(cache), 0);
	must_be(dev->bytes + 12 * BLOCK, 12, 3);
	stop();
}
END_TEST

START_TEST(C6_the_cache_grows_when_nothing_can_go_and_shrinks_again)
{
	struct cache_buf *bufs[1024], *more[256];
	uint64_t size;

	start(1 << 20, false);
	size = stats().size_bytes / BLOCK;
	ck_assert_int_eq(cache_get_runs(cache, &(struct cache_run){ 0, 1024 }, 1, bufs), 0);
	ck_assert_uint_gt(stats().nr_frames, size);
	cache_put_many(bufs, 1024);
	ck_assert_uint_le(stats().nr_frames, size);
	for (unsigned round = 0; round < 12; round++) {
		ck_assert_int_eq(cache_get_runs(cache, &(struct cache_run){ 1024 + 256 * round, 256 }, 1, more), 0);
		cache_put_many(more, 256);
		ck_assert_uint_le(stats().nr_frames, size);
	}
	stop();
}
END_TEST

START_TEST(write_back_goes_in_block_order_and_long_requests)
{
	start(8 << 20, false);
	for (unsigned i = 0; i < 300; i++)
		write_blocks((i * 7) % 300, 1, 1);	/* every block of 0..299 once, scattered */
	write_blocks(2000, 10, 1);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), 0);
	ck_assert_uint_eq(atomic_load(&dev->nr_ios), 2);
	stop();
}
END_TEST

START_TEST(forgotten_blocks_are_never_written)
{
	struct cache_buf *b;

	start(1 << 20, false);
	write_blocks(20, 10, 5);
	cache_forget(cache, 22, 4);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA | CACHE_META), 0);
	must_be(dev->bytes + 21 * BLOCK, 21, 5);
	must_be(dev->bytes + 22 * BLOCK, 22, 0);
	must_be(dev->bytes + 26 * BLOCK, 26, 5);
	ck_assert_int_eq(cache_get(cache, 22, NULL, NULL, &b), 0);
	must_be(b->data, 22, 0);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(partial_writes_keep_or_zero_the_rest)
{
	struct cache_buf *b[2];

	start(1 << 20, false);
	ck_assert_int_eq(cache_write_begin(cache, 30, 2, CACHE_UPDATE, b), 0);
	must_be(b[1]->data, 31, 0);
	memset(b[0]->data, 1, 10);
	cache_write_end(cache, b, 2);
	ck_assert_int_eq(cache_write_begin(cache, 40, 1, CACHE_FRESH, b), 0);
	for (unsigned i = 0; i < BLOCK; i++)
		if (((uint8_t *)b[0]->data)[i])
			ck_abort_msg("a fresh block has an old byte at %u", i);
	cache_write_end(cache, b, 1);
	stop();
}
END_TEST

START_TEST(writers_are_throttled_and_the_thread_writes)
{
	start(2 << 20, true);
	dev->delay_usec = 100000;	/* far slower than the writer, whatever the machine */
	for (unsigned i = 0; i < 1500; i += 50) {
		cache_throttle(cache);
		write_blocks(i, 50, 1);
		ck_assert_uint_le(stats().nr_dirty, stats().size_bytes / BLOCK * CACHE_DIRTY_PERCENT / 100 + 50);
	}
	ck_assert_uint_gt(stats().nr_throttled, 0);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), 0);
	for (pblk_t p = 0; p < 1500; p++)
		must_be(dev->bytes + p * BLOCK, p, 1);
	stop();
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

	for (unsigned step = 0; step < 1500; step++) {
		const unsigned at = (unsigned)rng_below(&r, RANGE - 64), nr = 1 + (unsigned)rng_below(&r, 64);

		switch (rng_below(&r, 5)) {
		case 0:
			cache_throttle(cache);
			write_blocks(base + at, nr, step + 1);
			for (unsigned i = at; i < at + nr; i++)
				version[i] = step + 1;
			break;
		case 1:
			if (cache_flush_range(cache, base + at, nr))
				ck_abort_msg("flush failed");
			break;
		case 2:
			if (cache_get_runs(cache, &(struct cache_run){ rng_below(&r, 900), nr }, 1, bufs))
				ck_abort_msg("shared read failed");
			cache_put_many(bufs, nr);
			break;
		default:
			if (cache_get_runs(cache, &(struct cache_run){ base + at, nr }, 1, bufs))
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

	start(2 << 20, true);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&t[i], NULL, worker, (void *)i);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(cache_flush(cache, CACHE_DATA), 0);
	ck_assert_uint_eq(stats().nr_dirty, 0);
	ck_assert_uint_eq(atomic_load(&dev->nr_unstable), 0);
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cache");
	TCase *tc = tcase_create("cache");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_block_is_read_once_and_then_hit);
	tcase_add_loop_test(tc, every_block_size_works, 0, 7);
	tcase_add_test(tc, runs_are_read_in_one_batch_of_long_requests);
	tcase_add_test(tc, a_failed_read_leaves_nothing_behind);
	tcase_add_test(tc, a_kind_is_checked_once_and_a_bad_block_is_not_given_out);
	tcase_add_test(tc, C2_pinned_and_dirty_frames_stay);
	tcase_add_test(tc, C3_file_data_does_not_change_while_it_is_written);
	tcase_add_test(tc, C3_metadata_goes_out_between_two_handles);
	tcase_add_test(tc, C4_dirtied_while_written_stays_dirty);
	tcase_add_test(tc, C5_a_failed_write_is_kept_told_and_tried_again);
	tcase_add_test(tc, C6_the_cache_grows_when_nothing_can_go_and_shrinks_again);
	tcase_add_test(tc, write_back_goes_in_block_order_and_long_requests);
	tcase_add_test(tc, forgotten_blocks_are_never_written);
	tcase_add_test(tc, partial_writes_keep_or_zero_the_rest);
	tcase_add_test(tc, writers_are_throttled_and_the_thread_writes);
	tcase_add_test(tc, threads_see_what_they_wrote);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
