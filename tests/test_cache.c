/* test_cache.c: finding, reading, checking, evicting; C1, C2 and C6 of cache.h by name. */
#include "test_cache.h"

START_TEST(a_block_is_read_once_and_then_hit)
{
	struct cache_buf *a, *b;

	start((struct start_opts){ 0 });
	a = must_get(7);
	must_be(a->data, 7, 0);
	b = must_get(7);
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

	start((struct start_opts){ .block_bytes = 1024u << _i, .size_bytes = 4 << 20 });
	b = must_get(3);
	must_be(b->data, 3, 0);
	ck_assert_uint_eq((uintptr_t)b->data % MIN(fx.block_bytes, 4096u), 0);
	cache_put(b);
	write_blocks(60, 8, 1);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META | CACHE_DATA), 0);
	for (pblk_t p = 60; p < 68; p++)
		must_be(on_disk(p), p, 1);
	ck_assert_int_eq(cache_get_runs(fx.cache, &(struct cache_run){ 60, 8 }, 1, bufs), 0);
	cache_put_many(bufs, 8);
	stop();
}
END_TEST

START_TEST(other_block_sizes_are_refused)
{
	static const uint32_t bad[] = { 0, 512, 3000, 131072 };
	struct cache_opts co;
	struct cache *c;

	start((struct start_opts){ 0 });
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		co = (struct cache_opts){ .alloc = fx.mem, .dev = &fx.dev->dev, .block_bytes = bad[i] };
		ck_assert_int_eq(cache_new(&co, &c), -EINVAL);
	}
	stop();
}
END_TEST

START_TEST(runs_are_read_in_one_batch_of_long_requests)
{
	const struct cache_run runs[] = { { 10, 200 }, { 1000, 50 }, { 210, 6 } };
	struct cache_buf *bufs[256];

	start((struct start_opts){ .size_bytes = 8 << 20 });
	ck_assert_int_eq(cache_get_runs(fx.cache, runs, 3, bufs), 0);
	ck_assert_uint_eq(stats().nr_read_batches, 1);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_reads), 3);
	for (unsigned i = 0; i < 200; i++)
		must_be(bufs[i]->data, 10 + i, 0);
	for (unsigned i = 0; i < 50; i++)
		must_be(bufs[200 + i]->data, 1000 + i, 0);
	cache_put_many(bufs, 256);
	ck_assert_int_eq(cache_get_runs(fx.cache, runs, 3, bufs), 0);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_reads), 3);
	cache_put_many(bufs, 256);
	stop();
}
END_TEST

START_TEST(readahead_reads_what_is_missing_and_pins_nothing)
{
	struct cache_buf *b;

	start((struct start_opts){ .size_bytes = 8 << 20 });
	cache_put(must_get(150));
	cache_readahead(fx.cache, 100, 100);
	ck_assert_uint_eq(stats().nr_pinned, 0);
	ck_assert_uint_eq(stats().nr_blocks_read, 100);
	ck_assert_uint_eq(stats().nr_read_batches, 2);
	b = must_get(199);
	must_be(b->data, 199, 0);
	cache_put(b);
	cache_readahead(fx.cache, NR_BLOCKS - 5, 100);	/* cut at the end of the device */
	cache_readahead(fx.cache, NR_BLOCKS + 5, 100);
	ck_assert_uint_eq(stats().nr_blocks_read, 105);
	atomic_store(&fx.dev->fail_reads, -EIO);
	cache_readahead(fx.cache, 500, 10);
	ck_assert_uint_eq(stats().nr_frames, 105);
	stop();
}
END_TEST

START_TEST(a_failed_read_leaves_nothing_behind)
{
	struct cache_buf *b, *bufs[128];

	start((struct start_opts){ 0 });
	atomic_store(&fx.dev->fail_reads, -EIO);
	ck_assert_int_eq(cache_get(fx.cache, 5, NULL, NULL, &b), -EIO);
	ck_assert_int_eq(cache_get_runs(fx.cache, &(struct cache_run){ 0, 128 }, 1, bufs), -EIO);
	ck_assert_int_eq(cache_write_begin(fx.cache, 9, 2, CACHE_UPDATE, bufs), -EIO);
	ck_assert_uint_eq(stats().nr_frames, 0);
	atomic_store(&fx.dev->fail_reads, 0);
	b = must_get(5);
	must_be(b->data, 5, 0);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(blocks_behind_the_device_are_an_error)
{
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	ck_assert_int_eq(cache_get(fx.cache, NR_BLOCKS, NULL, NULL, &b), -EINVAL);
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

	start((struct start_opts){ 0 });
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(cache_get(fx.cache, 4, &even_kind, &checks, &b), 0);
		cache_put(b);
	}
	ck_assert_uint_eq(checks, 1);
	ck_assert_int_eq(cache_get(fx.cache, 4, &other_kind, &checks, &b), 0);
	cache_put(b);
	ck_assert_uint_eq(checks, 2);
	ck_assert_int_eq(cache_get(fx.cache, 5, &even_kind, &checks, &b), -EUCLEAN);
	ck_assert_uint_eq(stats().nr_frames, 1);
	cache_put(must_get(5));		/* its raw bytes can be looked at */
	stop();
}
END_TEST

START_TEST(a_failed_check_does_not_take_a_block_from_who_holds_it)
{
	struct cache_buf *mine, *b;
	unsigned checks = 0;

	start((struct start_opts){ 0 });
	mine = must_get(5);
	ck_assert_int_eq(cache_get(fx.cache, 5, &even_kind, &checks, &b), -EUCLEAN);
	b = must_get(5);
	ck_assert_ptr_eq(mine, b);
	cache_put(b);
	fill_pattern(mine->data, 5, 8);
	cache_mark_dirty(mine);
	ck_assert_int_eq(cache_get(fx.cache, 5, &even_kind, &checks, &b), -EUCLEAN);
	cache_put(mine);
	ck_assert_int_eq(cache_get(fx.cache, 5, &even_kind, &checks, &b), -EUCLEAN);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	must_be(on_disk(5), 5, 8);
	stop();
}
END_TEST

START_TEST(a_new_block_is_zeroed_checked_and_not_read)
{
	unsigned checks = 0;
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	for (unsigned round = 0; round < 2; round++) {	/* absent, then there with other bytes */
		ck_assert_int_eq(cache_get_new(fx.cache, 6, &even_kind, &b), 0);
		for (unsigned i = 0; i < BLOCK; i++)
			if (((uint8_t *)b->data)[i])
				ck_abort_msg("byte %u is not zero", i);
		memset(b->data, 0x55, BLOCK);
		cache_put(b);
	}
	ck_assert_int_eq(cache_get(fx.cache, 6, &even_kind, &checks, &b), 0);
	cache_put(b);
	ck_assert_uint_eq(checks, 0);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_reads), 0);
	stop();
}
END_TEST

static void *get_block_9(void *arg)
{
	struct cache_buf *b = must_get(9);

	must_be(b->data, 9, 0);
	cache_put(b);
	return NULL;
}

START_TEST(C1_threads_that_want_one_block_read_it_once)
{
	pthread_t t[6];

	start((struct start_opts){ 0 });
	fx.dev->read_usec = 20000;
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		start_thread(&t[i], get_block_9, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_reads), 1);
	ck_assert_uint_eq(stats().nr_frames, 1);
	stop();
}
END_TEST

static void *read_new_blocks(void *arg)
{
	struct cache_buf *bufs[8];

	if (cache_get_runs(fx.cache, &(struct cache_run){ 100, 8 }, 1, bufs))
		ck_abort_msg("read failed");
	for (unsigned i = 0; i < 8; i++)
		must_be(bufs[i]->data, 100 + i, 1);
	cache_put_many(bufs, 8);
	return NULL;
}

START_TEST(C1_readers_wait_for_the_writer_of_a_new_block)
{
	struct cache_buf *bufs[8];
	pthread_t t;

	start((struct start_opts){ 0 });
	ck_assert_int_eq(cache_write_begin(fx.cache, 100, 8, CACHE_OVERWRITE, bufs), 0);
	start_thread(&t, read_new_blocks, NULL);
	usleep(20000);
	for (unsigned i = 0; i < 8; i++)
		fill_pattern(bufs[i]->data, 100 + i, 1);
	cache_write_end(fx.cache, bufs, 8);
	pthread_join(t, NULL);
	stop();
}
END_TEST

START_TEST(C1_a_write_that_cannot_begin_leaves_no_old_memory_visible)
{
	struct cache_buf *bufs[NR_BLOCKS], *more[256];
	unsigned nr = 0;

	start((struct start_opts){ .size_bytes = 64 << 20, .max_memory = 8 << 20 });
	while (nr + 64 < NR_BLOCKS && cache_get_runs(fx.cache, &(struct cache_run){ nr, 64 }, 1, bufs + nr) == 0)
		nr += 64;
	ck_assert_uint_lt(nr + 256, NR_BLOCKS);		/* memory is short, and all of it pinned */
	cache_put_many(bufs, 32);			/* but for a part of what comes next */
	ck_assert_int_eq(cache_write_begin(fx.cache, nr, 256, CACHE_OVERWRITE, more), -ENOMEM);
	cache_put_many(bufs + 32, nr - 32);
	for (unsigned i = 0; i < 256; i++) {
		struct cache_buf *b = must_get(nr + i);

		must_be(b->data, nr + i, 0);
		cache_put(b);
	}
	ck_assert_uint_eq(stats().nr_dirty, 0);
	stop();
}
END_TEST

START_TEST(C2_pinned_and_dirty_frames_stay)
{
	struct cache_buf *pinned, *b, *bufs[256];

	start((struct start_opts){ 0 });
	pinned = must_get(1);
	write_blocks(2000, 64, 9);
	for (pblk_t p = 100; p < 1900; p += 100) {
		ck_assert_int_eq(cache_get_runs(fx.cache, &(struct cache_run){ p, 100 }, 1, bufs), 0);
		cache_put_many(bufs, 100);
	}
	ck_assert_uint_gt(stats().nr_evictions, 900);
	must_be(pinned->data, 1, 0);
	cache_put(pinned);
	for (pblk_t p = 2000; p < 2064; p++) {
		b = must_get(p);
		must_be(b->data, p, 9);
		cache_put(b);
	}
	stop();
}
END_TEST

START_TEST(C6_the_cache_grows_when_nothing_can_go_and_shrinks_again)
{
	struct cache_buf *bufs[1024], *more[256];
	uint64_t size;

	start((struct start_opts){ 0 });
	size = stats().size_bytes / BLOCK;
	ck_assert_int_eq(cache_get_runs(fx.cache, &(struct cache_run){ 0, 1024 }, 1, bufs), 0);
	ck_assert_uint_gt(stats().nr_frames, size);
	cache_put_many(bufs, 1024);
	ck_assert_uint_le(stats().nr_frames, size);
	for (unsigned round = 0; round < 12; round++) {
		ck_assert_int_eq(cache_get_runs(fx.cache, &(struct cache_run){ 1024 + 256 * round, 256 }, 1, more), 0);
		cache_put_many(more, 256);
		ck_assert_uint_le(stats().nr_frames, size);
	}
	stop();
}
END_TEST

START_TEST(memory_stays_within_the_size)
{
	const uint64_t size_bytes = 4 << 20;
	struct alloc_stats as;

	start((struct start_opts){ .block_bytes = 1024u << _i, .size_bytes = size_bytes, .no_guards = true });
	for (pblk_t p = 0; p < fx.nr_blocks; p++)
		cache_put(must_get(p));
	alloc_stats_get(fx.mem, &as);
	ck_assert_uint_gt(as.used_bytes, size_bytes * 3 / 4);
	/* Slabs are not full to the last slot. */
	ck_assert_uint_le(as.used_bytes, size_bytes + size_bytes / 16);
	cache_drop_clean(fx.cache);
	ck_assert_uint_eq(stats().nr_frames, 0);
	alloc_stats_get(fx.mem, &as);
	ck_assert_uint_lt(as.used_bytes, size_bytes / 8);
	stop();
}
END_TEST

START_TEST(blocks_at_group_strides_spread_over_all_shards)
{
	unsigned nr[CACHE_NR_SHARDS] = { 0 };

	start((struct start_opts){ 0 });
	for (pblk_t group = 0; group < 1024; group++)
		nr[shard_of(fx.cache, (group * 8192) << _i) - fx.cache->shards]++;
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++)
		ck_assert_uint_le(nr[i], 2 * 1024 / CACHE_NR_SHARDS);
	stop();
}
END_TEST

START_TEST(the_printer_tells_frames_hits_and_shards)
{
	char text[4096] = { 0 };
	FILE *out;

	start((struct start_opts){ 0 });
	cache_put(must_get(7));
	cache_put(must_get(7));
	write_blocks(8, 2, 1);
	out = fmemopen(text, sizeof(text) - 1, "w");
	cache_to_text(fx.cache, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "cache of watched: 3 of "));
	ck_assert_ptr_nonnull(strstr(text, "2 dirty"));
	ck_assert_ptr_nonnull(strstr(text, "hits 1 misses 3"));
	ck_assert_ptr_nonnull(strstr(text, "shard 15"));
	stop();
}
END_TEST

START_TEST(the_check_finds_what_does_not_fit)
{
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	be_silent();
	b = must_get(7);
	ck_assert_int_eq(cache_check(fx.cache), 0);
	frame_of(b)->flags |= FRAME_DIRTY;
	ck_assert_int_eq(cache_check(fx.cache), -EUCLEAN);
	frame_of(b)->flags &= ~FRAME_DIRTY;
	b->pblk = 8;
	ck_assert_int_eq(cache_check(fx.cache), -EUCLEAN);
	b->pblk = 7;
	cache_put(b);
	stop();
}
END_TEST

static void add_frame_tests(Suite *s)
{
	TCase *tc = tcase_create("frames");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_block_is_read_once_and_then_hit);
	tcase_add_loop_test(tc, every_block_size_works, 0, 7);
	tcase_add_test(tc, other_block_sizes_are_refused);
	tcase_add_test(tc, runs_are_read_in_one_batch_of_long_requests);
	tcase_add_test(tc, readahead_reads_what_is_missing_and_pins_nothing);
	tcase_add_test(tc, a_failed_read_leaves_nothing_behind);
	tcase_add_test(tc, blocks_behind_the_device_are_an_error);
	tcase_add_test(tc, a_kind_is_checked_once_and_a_bad_block_is_not_given_out);
	tcase_add_test(tc, a_failed_check_does_not_take_a_block_from_who_holds_it);
	tcase_add_test(tc, a_new_block_is_zeroed_checked_and_not_read);
	tcase_add_test(tc, C1_threads_that_want_one_block_read_it_once);
	tcase_add_test(tc, C1_readers_wait_for_the_writer_of_a_new_block);
	tcase_add_test(tc, C1_a_write_that_cannot_begin_leaves_no_old_memory_visible);
	tcase_add_test(tc, C2_pinned_and_dirty_frames_stay);
	tcase_add_test(tc, C6_the_cache_grows_when_nothing_can_go_and_shrinks_again);
	tcase_add_loop_test(tc, memory_stays_within_the_size, 0, 7);
	tcase_add_loop_test(tc, blocks_at_group_strides_spread_over_all_shards, 0, 4);
	tcase_add_test(tc, the_printer_tells_frames_hits_and_shards);
	tcase_add_test(tc, the_check_finds_what_does_not_fit);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("cache");
	SRunner *sr = srunner_create(s);
	int failed;

	add_frame_tests(s);
	add_write_tests(s);
	add_model_tests(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
