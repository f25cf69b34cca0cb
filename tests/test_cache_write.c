/* test_cache_write.c: dirty frames and their way to the device; C3, C4 and C5 of cache.h by name. */
#include "journal/jnl.h"
#include "test_cache.h"

/* C3: another thread wants to change the very frame that is being written. */
static void *rewriter(void *arg)
{
	write_blocks(50, 1, 2);
	return NULL;
}

static void start_rewriter(struct watched *w)
{
	pthread_t *t = w->arg;

	w->intrude = NULL;
	start_thread(t, rewriter, NULL);
	usleep(20000);
}

START_TEST(C3_file_data_does_not_change_while_it_is_written)
{
	pthread_t t = 0;

	start((struct start_opts){ 0 });
	write_blocks(50, 1, 1);
	fx.dev->arg = &t;
	fx.dev->intrude = start_rewriter;
	ck_assert_int_eq(cache_flush_range(fx.cache, 50, 1), 0);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_unstable), 0);
	must_be(on_disk(50), 50, 1);
	pthread_join(t, NULL);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	must_be(on_disk(50), 50, 2);
	stop();
}
END_TEST

START_TEST(C3_metadata_goes_out_between_two_handles)
{
	struct jnl_handle h;
	struct cache_buf *b;
	struct jnl *j;

	start((struct start_opts){ .background = true, .writeback_msec = 20 });
	memset(on_disk(9), 0, BLOCK);
	ck_assert_int_eq(jnl_null_new(fx.cache, &fx.dev->dev, &j), 0);
	b = must_get(9);
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
	ck_assert_uint_eq(*(uint8_t *)on_disk(9), 39);
	ck_assert_uint_gt(atomic_load(&fx.dev->nr_writes), 1);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_uneven), 0);
	stop();
}
END_TEST

static void dirty_again(struct watched *w)
{
	struct cache_buf *b = w->arg;

	memset(b->data, 0x77, BLOCK);	/* the copy is what is written */
	cache_mark_dirty(b);
}

START_TEST(C4_dirtied_while_written_stays_dirty)
{
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	b = must_get(3);
	memset(b->data, 0x11, BLOCK);
	cache_mark_dirty(b);
	fx.dev->arg = b;
	fx.dev->intrude = dirty_again;
	ck_assert_int_eq(cache_flush_range(fx.cache, 3, 1), 0);
	fx.dev->intrude = NULL;
	ck_assert_uint_eq(*(uint8_t *)on_disk(3), 0x11);
	ck_assert_uint_eq(stats().nr_dirty, 1);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	ck_assert_uint_eq(*(uint8_t *)on_disk(3), 0x77);
	ck_assert_uint_eq(stats().nr_dirty, 0);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_unstable), 0);
	cache_put(b);
	stop();
}
END_TEST

static unsigned nr_told;

static void count_lines(void *arg, enum log_level level, const char *line)
{
	nr_told++;
	ck_assert_ptr_nonnull(strstr(line, "watched: write-back of block 10 failed: No space left on device"));
}

START_TEST(C5_a_failed_write_is_kept_told_once_and_tried_again)
{
	start((struct start_opts){ 0 });
	log_set_sink(count_lines, NULL);
	write_blocks(10, 4, 3);
	atomic_store(&fx.dev->fail_writes, -ENOSPC);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), -ENOSPC);
	ck_assert_int_eq(cache_flush_range(fx.cache, 12, 1), -ENOSPC);
	ck_assert_int_eq(cache_flush_range(fx.cache, 20, 1), 0);	/* nothing of theirs is missing */
	ck_assert_int_eq(cache_error(fx.cache), -ENOSPC);
	ck_assert_uint_eq(nr_told, 1);
	ck_assert_uint_eq(stats().nr_dirty, 4);
	atomic_store(&fx.dev->fail_writes, 0);
	ck_assert_int_eq(cache_flush_range(fx.cache, 10, 3), 0);
	ck_assert_int_eq(cache_error(fx.cache), -ENOSPC);	/* block 13 still stands */
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	ck_assert_int_eq(cache_error(fx.cache), 0);
	must_be(on_disk(12), 12, 3);
	stop();
}
END_TEST

START_TEST(C5_forgetting_the_failed_block_ends_its_error)
{
	start((struct start_opts){ 0 });
	log_set_sink(count_lines, NULL);
	write_blocks(10, 1, 3);
	atomic_store(&fx.dev->fail_writes, -ENOSPC);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), -ENOSPC);
	cache_forget(fx.cache, 10, 1);
	ck_assert_int_eq(cache_error(fx.cache), 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	stop();
}
END_TEST

START_TEST(write_back_goes_in_block_order_and_long_requests)
{
	start((struct start_opts){ .size_bytes = 8 << 20 });
	write_blocks(2000, 10, 1);
	for (unsigned i = 0; i < 300; i++)
		write_blocks((i * 7) % 300, 1, 1);	/* every block of 0..299 once, scattered */
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	ck_assert_uint_eq(fx.dev->nr_seen, 2);
	ck_assert_uint_eq(fx.dev->seen[0].pblk, 0);
	ck_assert_uint_eq(fx.dev->seen[0].nr, 300);
	ck_assert_uint_eq(fx.dev->seen[1].pblk, 2000);
	ck_assert_uint_eq(stats().nr_write_batches, 1);
	stop();
}
END_TEST

START_TEST(batches_end_where_stripes_do)
{
	enum { STRIPE = 24 };

	start((struct start_opts){ .size_bytes = 64 << 20, .optimal_bytes = STRIPE * BLOCK });
	for (pblk_t p = 5; p < 4000; p += 85)
		write_blocks(p, 85, 1);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	ck_assert_uint_gt(fx.dev->nr_seen, 1);
	for (unsigned i = 0; i + 1 < fx.dev->nr_seen; i++) {
		ck_assert_uint_eq((fx.dev->seen[i].pblk + fx.dev->seen[i].nr) % STRIPE, 0);
		ck_assert_uint_ge(fx.dev->seen[i].nr * BLOCK, CACHE_BATCH_BYTES - STRIPE * BLOCK);
	}
	stop();
}
END_TEST

START_TEST(growing_stripes_are_put_off)
{
	struct snapshot sn = { 0 };
	static const struct { pblk_t from; unsigned nr; bool young; } runs[] = {
		{ 3, 30, true },	/* ends in the middle of a stripe of 8, at 33: 1 put off */
		{ 40, 24, true },	/* ends with a stripe */
		{ 100, 7, true },	/* short: random writes */
		{ 200, 13, false },	/* has waited long enough */
	};

	for (unsigned i = 0; i < ARRAY_LEN(runs); i++)
		for (unsigned k = 0; k < runs[i].nr; k++)
			ck_assert_int_eq(snapshot_add(&sn, key_of(runs[i].from + k, runs[i].young, false)), 0);
	snapshot_defer_tails(&sn, 8);
	ck_assert_uint_eq(sn.nr, 30 + 24 + 7 + 13 - 1);
	ck_assert_uint_eq(key_pblk(sn.keys[28]), 31);
	ck_assert_uint_eq(key_pblk(sn.keys[29]), 40);
	snapshot_fini(&sn);
}
END_TEST

START_TEST(forgotten_blocks_are_never_written)
{
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	write_blocks(20, 10, 5);
	cache_forget(fx.cache, 22, 4);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA | CACHE_META), 0);
	must_be(on_disk(21), 21, 5);
	must_be(on_disk(22), 22, 0);
	must_be(on_disk(26), 26, 5);
	b = must_get(22);
	must_be(b->data, 22, 0);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(a_pinned_block_that_is_forgotten_becomes_clean)
{
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	b = must_get(7);
	memset(b->data, 1, BLOCK);
	cache_mark_dirty(b);
	cache_forget(fx.cache, 7, 1);
	ck_assert_uint_eq(stats().nr_dirty, 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	must_be(on_disk(7), 7, 0);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(a_block_may_change_from_metadata_to_data_and_back)
{
	struct cache_buf *b;

	start((struct start_opts){ 0 });
	b = must_get(7);
	cache_mark_dirty(b);
	write_blocks(7, 1, 1);
	ck_assert_uint_eq(stats().nr_dirty, 1);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	must_be(on_disk(7), 7, 0);
	write_blocks(7, 1, 2);
	cache_mark_dirty(b);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	must_be(on_disk(7), 7, 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	must_be(on_disk(7), 7, 2);
	cache_put(b);
	stop();
}
END_TEST

START_TEST(partial_writes_keep_or_zero_the_rest)
{
	struct cache_buf *b[2];

	start((struct start_opts){ 0 });
	ck_assert_int_eq(cache_write_begin(fx.cache, 30, 2, CACHE_UPDATE, b), 0);
	must_be(b[1]->data, 31, 0);
	memset(b[0]->data, 1, 10);
	cache_write_end(fx.cache, b, 2);
	write_blocks(40, 1, 3);
	for (pblk_t p = 40; p < 42; p++) {	/* one that is there, one that is not */
		ck_assert_int_eq(cache_write_begin(fx.cache, p, 1, CACHE_FRESH, b), 0);
		for (unsigned i = 0; i < BLOCK; i++)
			if (((uint8_t *)b[0]->data)[i])
				ck_abort_msg("a fresh block has an old byte at %u", i);
		cache_write_end(fx.cache, b, 1);
	}
	ck_assert_uint_eq(stats().nr_blocks_read, 2);
	stop();
}
END_TEST

START_TEST(metadata_goes_out_when_memory_is_short)
{
	struct cache_buf *bufs[NR_BLOCKS], *b;
	unsigned nr = 0;

	start((struct start_opts){ .size_bytes = 64 << 20, .max_memory = 8 << 20 });
	b = must_get(NR_BLOCKS - 1);
	memset(b->data, 0x42, BLOCK);
	cache_mark_dirty(b);
	while (nr + 64 < NR_BLOCKS && cache_get_runs(fx.cache, &(struct cache_run){ nr, 64 }, 1, bufs + nr) == 0)
		nr += 64;
	cache_drop_clean(fx.cache);
	while (alloc_pages(fx.mem, 0))		/* never given back: the arena goes with it */
		;
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), -ENOMEM);
	ck_assert_uint_eq(stats().nr_dirty, 1);
	cache_put_many(bufs, nr);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	ck_assert_uint_eq(*(uint8_t *)on_disk(NR_BLOCKS - 1), 0x42);
	cache_put(b);
	cache_free(fx.cache);
	blk_close(&fx.dev->dev);
	be_silent();
	ck_assert_uint_gt(alloc_free(fx.mem), 0);
}
END_TEST

START_TEST(without_a_thread_the_throttled_writer_writes)
{
	start((struct start_opts){ .size_bytes = 2 << 20 });
	for (unsigned i = 0; i < 1000; i += 50) {
		cache_throttle(fx.cache);
		ck_assert_uint_le(stats().nr_dirty, stats().size_bytes / BLOCK * CACHE_DIRTY_PERCENT / 100);
		write_blocks(i, 50, 1);
	}
	ck_assert_uint_gt(stats().nr_throttled, 0);
	ck_assert_uint_gt(stats().nr_blocks_written, 0);
	stop();
}
END_TEST

START_TEST(writers_are_throttled_and_the_thread_writes)
{
	start((struct start_opts){ .size_bytes = 2 << 20, .background = true, .writeback_msec = 50 });
	fx.dev->write_usec = 2000;
	for (unsigned i = 0; i < 3000; i += 50) {
		cache_throttle(fx.cache);
		write_blocks(i, 50, 1);
		ck_assert_uint_le(stats().nr_dirty, stats().size_bytes / BLOCK * CACHE_DIRTY_PERCENT / 100 + 50);
	}
	ck_assert_uint_gt(stats().nr_throttled, 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	for (pblk_t p = 0; p < 3000; p++)
		must_be(on_disk(p), p, 1);
	stop();
}
END_TEST

START_TEST(the_throttle_does_not_wait_for_a_device_that_fails)
{
	start((struct start_opts){ .background = true, .writeback_msec = 20 });
	be_silent();
	atomic_store(&fx.dev->fail_writes, -EIO);
	for (unsigned i = 0; i < 4; i++)
		write_blocks(i * 64, 64, 1);
	cache_throttle(fx.cache);
	ck_assert_int_eq(cache_error(fx.cache), -EIO);
	atomic_store(&fx.dev->fail_writes, 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	ck_assert_int_eq(cache_error(fx.cache), 0);
	stop();
}
END_TEST

START_TEST(what_is_old_goes_out_by_itself)
{
	start((struct start_opts){ .background = true, .writeback_msec = 20 });
	write_blocks(10, 3, 1);
	while (stats().nr_dirty + stats().nr_writeback > 0)
		usleep(5000);
	must_be(on_disk(12), 12, 1);
	stop();
}
END_TEST

void add_write_tests(Suite *s)
{
	TCase *tc = tcase_create("writing");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, C3_file_data_does_not_change_while_it_is_written);
	tcase_add_test(tc, C3_metadata_goes_out_between_two_handles);
	tcase_add_test(tc, C4_dirtied_while_written_stays_dirty);
	tcase_add_test(tc, C5_a_failed_write_is_kept_told_once_and_tried_again);
	tcase_add_test(tc, C5_forgetting_the_failed_block_ends_its_error);
	tcase_add_test(tc, write_back_goes_in_block_order_and_long_requests);
	tcase_add_test(tc, batches_end_where_stripes_do);
	tcase_add_test(tc, growing_stripes_are_put_off);
	tcase_add_test(tc, forgotten_blocks_are_never_written);
	tcase_add_test(tc, a_pinned_block_that_is_forgotten_becomes_clean);
	tcase_add_test(tc, a_block_may_change_from_metadata_to_data_and_back);
	tcase_add_test(tc, partial_writes_keep_or_zero_the_rest);
	tcase_add_test(tc, metadata_goes_out_when_memory_is_short);
	tcase_add_test(tc, without_a_thread_the_throttled_writer_writes);
	tcase_add_test(tc, writers_are_throttled_and_the_thread_writes);
	tcase_add_test(tc, the_throttle_does_not_wait_for_a_device_that_fails);
	tcase_add_test(tc, what_is_old_goes_out_by_itself);
	suite_add_tcase(s, tc);
}
