/* test_jbd2.c: the running journal: J1 to J8 of src/journal/jbd2_int.h. Recovery: test_jbd2_recover.c. */
#include "test_jbd2.h"

static const struct format *const v3 = &formats[4];

/* Order and holding ---------------------------------------------------------------------- */

START_TEST(J1_nothing_goes_home_before_its_commit)
{
	log_start(v3);
	change_block(11, 1);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META | CACHE_DATA), 0);
	must_be(on_disk(11), 11, 0);
	must_commit();
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	must_be(on_disk(11), 11, 1);
	log_stop();
}
END_TEST

START_TEST(J1_a_block_that_is_changed_again_stays_until_that_commit)
{
	log_start(v3);
	change_block(11, 1);
	must_commit();
	change_block(11, 2);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
	must_be(on_disk(11), 11, 0);
	must_commit();
	ck_assert_int_eq(jbd2_empty(lg.j), 0);
	must_be(on_disk(11), 11, 2);
	ck_assert_uint_eq(be32_get(log_sb()->s_start), 0);
	log_stop();
}
END_TEST

/* When was this block written first, among the writes that the device saw? */
static unsigned seen_at(pblk_t pblk)
{
	for (unsigned i = 0; i < fx.dev->nr_seen; i++)
		if (pblk >= fx.dev->seen[i].pblk && pblk < fx.dev->seen[i].pblk + fx.dev->seen[i].nr)
			return i;
	ck_abort_msg("block %" PRIu64 " was not written", pblk);
	return 0;
}

static void write_new_data(enum jnl_data_mode mode)
{
	struct jnl_handle h;

	log_make(v3);
	lg.opts.data_mode = mode;
	log_open();
	must_begin(&h, 1);
	put_block(&h, 11, 1);
	ck_assert_int_eq(jnl_order_data(&h, 500, 8), 0);
	write_blocks(500, 8, 1);
	must_end(&h);
	must_commit();
}

START_TEST(J3_ordered_data_is_on_the_device_before_the_commit)
{
	write_new_data(JNL_DATA_ORDERED);
	for (pblk_t p = 500; p < 508; p++)
		must_be(on_disk(p), p, 1);
	/* Descriptor, copy, record: behind it. */
	ck_assert_uint_lt(seen_at(500), seen_at(LOG_AT + 1));
	ck_assert_uint_lt(seen_at(LOG_AT + 1), seen_at(LOG_AT + 3));
	ck_assert_uint_ge(atomic_load(&fx.dev->nr_flushes), 1);
	log_stop();
}
END_TEST

START_TEST(without_order_data_is_left_to_the_cache)
{
	write_new_data(JNL_DATA_WRITEBACK);
	must_be(on_disk(500), 500, 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	log_stop();
}
END_TEST

/* Freeing ------------------------------------------------------------------------------------ */

START_TEST(J6_a_freed_block_never_goes_home)
{
	struct jnl_handle h;

	log_start(v3);
	change_block(11, 1);
	must_commit();
	must_begin(&h, 2);
	put_block(&h, 12, 1);
	jnl_forget(&h, 11, 1);
	must_end(&h);
	ck_assert(!jnl_is_committed(lg.j, h.tid));
	must_commit();
	ck_assert(jnl_is_committed(lg.j, h.tid));
	ck_assert_int_eq(jbd2_empty(lg.j), 0);
	must_be(on_disk(11), 11, 0);
	must_be(on_disk(12), 12, 1);
	log_stop();
}
END_TEST

START_TEST(a_block_that_is_made_and_freed_in_one_transaction_leaves_no_copy)
{
	struct jnl_handle h;

	log_start(v3);
	must_begin(&h, 2);
	put_block(&h, 11, 1);
	put_block(&h, 12, 1);
	jnl_forget(&h, 11, 1);
	must_end(&h);
	jbd2_check_state(lg.j);
	must_commit();
	power_cut();
	must_recover(1);
	must_be(on_disk(11), 11, 0);
	must_be(on_disk(12), 12, 1);
	log_stop();
}
END_TEST

START_TEST(a_freed_block_comes_back_to_life_in_the_same_transaction)
{
	struct jnl_handle h;

	log_start(v3);
	must_begin(&h, 3);
	put_block(&h, 11, 1);
	jnl_forget(&h, 11, 1);
	put_block(&h, 11, 2);
	must_end(&h);
	jbd2_check_state(lg.j);
	must_commit();
	power_cut();
	must_recover(1);
	must_be(on_disk(11), 11, 2);
	log_stop();
}
END_TEST

/* Data that an older commit still has to write is not thrown away by a younger transaction that frees it. */
static void *free_data(void *arg)
{
	struct jnl_handle h;

	(void)arg;
	must_begin(&h, 1);
	put_block(&h, 12, 1);
	jnl_forget_data(&h, 501, 1);
	must_end(&h);
	return NULL;
}

static pthread_t freer;

static void call_freer(struct watched *w)
{
	w->intrude = NULL;
	start_thread(&freer, free_data, NULL);
	pthread_join(freer, NULL);
}

START_TEST(data_of_a_pending_commit_outlives_its_freeing)
{
	struct jnl_handle h;

	log_start(v3);
	must_begin(&h, 1);
	put_block(&h, 11, 1);
	ck_assert_int_eq(jnl_order_data(&h, 500, 1), 0);
	ck_assert_int_eq(jnl_order_data(&h, 501, 1), 0);
	write_blocks(500, 2, 1);
	must_end(&h);
	/* In the middle of the write of the data. */
	fx.dev->intrude = call_freer;
	must_commit();
	must_be(on_disk(501), 501, 1);
	must_commit();
	log_stop();
}
END_TEST

/* Credits ------------------------------------------------------------------------------------- */

START_TEST(more_credits_than_a_log_can_give_are_refused)
{
	struct jnl_handle h = { 0 };

	log_start(v3);
	be_silent();
	ck_assert_int_eq(jnl_begin(lg.j, LOG_BLOCKS / 4, &h), -ENOSPC);
	ck_assert(!h.opened);
	must_begin(&h, LOG_BLOCKS / 4 - 4);
	ck_assert_int_eq(jnl_extend(&h, 10), -ENOSPC);
	put_block(&h, 11, 1);
	ck_assert_int_eq(jnl_restart(&h, 10), 0);
	ck_assert_int_eq(jnl_extend(&h, 10), 0);
	put_block(&h, 12, 1);
	must_end(&h);
	log_stop();
}
END_TEST

START_TEST(handles_that_do_not_fit_together_go_into_two_transactions)
{
	struct jnl_handle h;
	jnl_tid first;

	log_start(v3);
	must_begin(&h, 10);
	first = h.tid;
	for (pblk_t p = 10; p < 20; p++)
		put_block(&h, p, 1);
	must_end(&h);
	must_begin(&h, 240);
	ck_assert_uint_eq(h.tid, first);
	must_end(&h);	/* gives back what it did not use */
	must_begin(&h, 240);
	for (pblk_t p = 100; p < 340; p++)
		put_block(&h, p, 1);
	must_end(&h);
	must_begin(&h, 10);
	ck_assert_uint_eq(h.tid, first + 1);
	ck_assert(jnl_is_committed(lg.j, first));
	must_end(&h);
	log_stop();
}
END_TEST

/* A full log ----------------------------------------------------------------------------------- */

START_TEST(J5_a_log_that_is_used_many_times_over_stays_sound)
{
	struct rng r = { 99 };

	log_start(&formats[_i]);
	for (unsigned round = 1; round <= 400; round++) {
		struct jnl_handle h;
		const unsigned nr = 1 + (unsigned)(rng_next(&r) % 60);
		const pblk_t from = 10 + rng_next(&r) % 1000;

		must_begin(&h, nr);
		for (unsigned i = 0; i < nr; i++)
			put_block(&h, from + i, round);
		must_end(&h);
		if (rng_next(&r) % 3 == 0)
			must_commit();
		jbd2_check_state(lg.j);
	}
	log_stop();
}
END_TEST

static void committed(void *arg, jnl_tid tid)
{
	jnl_tid *last = arg;

	ck_assert_uint_gt(tid, *last);
	ck_assert(jnl_is_committed(lg.j, tid));
	*last = tid;
}

START_TEST(the_hook_is_called_in_order)
{
	jnl_tid last = 0;

	log_start(v3);
	jnl_set_commit_hook(lg.j, committed, &last);
	for (unsigned i = 1; i < 10; i++) {
		change_block(11, i);
		must_commit();
	}
	ck_assert_uint_ne(last, 0);
	log_stop();
}
END_TEST

START_TEST(a_commit_of_nothing_flushes_and_writes_nothing)
{
	unsigned nr_writes, nr_flushes;

	log_start(v3);
	change_block(11, 1);
	must_commit();
	nr_writes = atomic_load(&fx.dev->nr_writes);
	nr_flushes = atomic_load(&fx.dev->nr_flushes);
	must_commit();
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_writes), nr_writes);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_flushes), nr_flushes + 1);
	log_stop();
}
END_TEST

/* Threads ------------------------------------------------------------------------------------------ */

enum { NR_WRITERS = 4, NR_ROUNDS = 60, SPAN = 40 };

/* Each has blocks of its own, and one that all change. */
static void *write_and_commit(void *arg)
{
	const uintptr_t me = (uintptr_t)arg;

	for (unsigned round = 1; round <= NR_ROUNDS; round++) {
		struct jnl_handle h;

		must_begin(&h, 3);
		put_block(&h, 100 * (me + 1) + round % SPAN, round);
		ck_assert_int_eq(jnl_order_data(&h, 1000 + 100 * me + round % SPAN, 1), 0);
		write_blocks(1000 + 100 * me + round % SPAN, 1, round);
		must_end(&h);
		if (round % 4 == 0 && jnl_commit_wait(lg.j, h.tid))
			ck_abort_msg("commit failed");
		if (round % 4 == 0 && !jnl_is_committed(lg.j, h.tid))
			ck_abort_msg("not committed after the wait for it");
	}
	return NULL;
}

static void run_writers(bool background)
{
	pthread_t t[NR_WRITERS];

	log_make(v3);
	lg.opts.background = background;
	lg.opts.commit_sec = 1;
	log_open();
	for (uintptr_t i = 0; i < NR_WRITERS; i++)
		start_thread(&t[i], write_and_commit, (void *)i);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		pthread_join(t[i], NULL);
	jbd2_check_state(lg.j);
	must_commit();
	power_cut();
	ck_assert_int_eq(recover(&(struct jbd2_recovery){ 0 }), 0);
	for (unsigned i = 0; i < NR_WRITERS; i++)
		for (unsigned k = 0; k < SPAN; k++) {
			const unsigned version = k <= NR_ROUNDS % SPAN ? (k ? SPAN + k : SPAN) : k;

			must_be(on_disk(100 * (i + 1) + k), 100 * (i + 1) + k, version);
			must_be(on_disk(1000 + 100 * i + k), 1000 + 100 * i + k, version);
		}
	log_stop();
}

START_TEST(J4_many_writers_share_commits_and_lose_nothing)
{
	run_writers(_i);
}
END_TEST

enum { NR_CALLERS = 6 };
static pthread_t callers[NR_CALLERS];

static void *commit_once(void *arg)
{
	const pblk_t pblk = 40 + (uintptr_t)arg;
	struct jnl_handle h;

	must_begin(&h, 1);
	put_block(&h, pblk, 1);
	must_end(&h);
	return (void *)(intptr_t)jnl_commit_wait(lg.j, h.tid);
}

/* In the middle of the first commit's flush many others want one. */
static void call_others(struct watched *w)
{
	w->intrude = NULL;
	for (uintptr_t i = 0; i < NR_CALLERS; i++)
		start_thread(&callers[i], commit_once, (void *)i);
	usleep(200000);
}

START_TEST(callers_that_come_together_share_a_commit)
{
	unsigned nr_flushes;
	void *err;

	log_start(v3);
	change_block(11, 1);
	must_commit();
	nr_flushes = atomic_load(&fx.dev->nr_flushes);
	change_block(11, 2);
	fx.dev->intrude = call_others;
	must_commit();
	for (unsigned i = 0; i < NR_CALLERS; i++) {
		pthread_join(callers[i], &err);
		ck_assert_ptr_null(err);
	}
	/* Two commits in all: each flushes before and makes its record durable. */
	ck_assert_uint_le(atomic_load(&fx.dev->nr_flushes) - nr_flushes, 4);
	log_stop();
}
END_TEST

/* Errors --------------------------------------------------------------------------------------------- */

static int told_err;
static unsigned nr_told;

static void aborted(void *arg, int err)
{
	(void)arg;
	told_err = err;
	nr_told++;
}

START_TEST(J8_a_failed_commit_ends_the_journal)
{
	struct jnl_handle h = { 0 };
	struct cache_buf *b;

	log_start(v3);
	be_silent();
	jnl_set_abort_hook(lg.j, aborted, NULL);
	change_block(11, 1);
	must_commit();
	change_block(12, 1);
	if (_i)
		atomic_store(&fx.dev->fail_flushes, -EIO);
	else
		atomic_store(&fx.dev->fail_writes, -EIO);
	ck_assert_int_eq(jnl_commit_wait(lg.j, 0), -EIO);
	ck_assert(jnl_is_aborted(lg.j));
	ck_assert_uint_eq(nr_told, 1);
	ck_assert_int_eq(told_err, -EIO);
	ck_assert_int_eq(jnl_begin(lg.j, 1, &h), -EROFS);
	ck_assert_int_eq(jnl_commit_wait(lg.j, 0), -EROFS);
	b = must_get(12);	/* reads go on, and see what was there */
	must_be(b->data, 12, 1);
	cache_put(b);
	jnl_abort(lg.j, -ENOMEM);
	ck_assert_uint_eq(nr_told, 1);
	if (_i)	/* the superblock could be written, if not flushed */
		ck_assert_int_eq((int)be32_get(log_sb()->s_errno), -EIO);
	power_cut();
	must_recover(1);
	must_be(on_disk(11), 11, 1);
	must_be(on_disk(12), 12, 0);
	log_open();
	ck_assert_int_eq(jbd2_errno(lg.j), _i ? -EIO : 0);
	ck_assert_int_eq(jbd2_clear_errno(lg.j), 0);
	ck_assert_int_eq((int)be32_get(log_sb()->s_errno), 0);
	log_stop();
}
END_TEST

START_TEST(an_abort_with_a_handle_open_leaves_what_was_committed)
{
	struct jnl_handle h;

	log_start(v3);
	be_silent();
	change_block(11, 1);
	must_commit();
	must_begin(&h, 1);
	put_block(&h, 11, 2);
	jnl_abort(lg.j, -EUCLEAN);
	ck_assert_int_eq(jnl_end(&h), -EROFS);
	ck_assert_int_eq((int)be32_get(log_sb()->s_errno), -EUCLEAN);
	ck_assert_int_eq(jnl_free(lg.j), -EUCLEAN);
	lg.j = NULL;
	must_recover(1);
	must_be(on_disk(11), 11, 1);
	log_stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("jbd2");
	TCase *t = tcase_create("running");
	SRunner *r;
	int nr_failed;

	log_set_level(LOG_LEVEL_ERROR);

	tcase_set_timeout(t, 120);
	tcase_add_test(t, J1_nothing_goes_home_before_its_commit);
	tcase_add_test(t, J1_a_block_that_is_changed_again_stays_until_that_commit);
	tcase_add_test(t, J3_ordered_data_is_on_the_device_before_the_commit);
	tcase_add_test(t, without_order_data_is_left_to_the_cache);
	tcase_add_test(t, J6_a_freed_block_never_goes_home);
	tcase_add_test(t, a_block_that_is_made_and_freed_in_one_transaction_leaves_no_copy);
	tcase_add_test(t, a_freed_block_comes_back_to_life_in_the_same_transaction);
	tcase_add_test(t, data_of_a_pending_commit_outlives_its_freeing);
	tcase_add_test(t, more_credits_than_a_log_can_give_are_refused);
	tcase_add_test(t, handles_that_do_not_fit_together_go_into_two_transactions);
	tcase_add_loop_test(t, J5_a_log_that_is_used_many_times_over_stays_sound, 3, 5);
	tcase_add_test(t, the_hook_is_called_in_order);
	tcase_add_test(t, a_commit_of_nothing_flushes_and_writes_nothing);
	tcase_add_loop_test(t, J4_many_writers_share_commits_and_lose_nothing, 0, 2);
	tcase_add_test(t, callers_that_come_together_share_a_commit);
	tcase_add_loop_test(t, J8_a_failed_commit_ends_the_journal, 0, 2);
	tcase_add_test(t, an_abort_with_a_handle_open_leaves_what_was_committed);
	suite_add_tcase(s, t);
	add_recover_tests(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed != 0;
}
