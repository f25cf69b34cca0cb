/* test_jnl.c: handles, the gate (G1), the null journal (N1, N2), J0. */
#include <signal.h>

#include "journal/jnl_int.h"
#include "test_cache.h"

static struct jnl *journal;

static void start_null(struct start_opts o)
{
	start(o);
	ck_assert_int_eq(jnl_null_new(fx.cache, &fx.dev->dev, &journal), 0);
}

static void stop_null(void)
{
	ck_assert_int_eq(jnl_free(journal), 0);
	stop();
}

static void must_begin(struct jnl_handle *h, unsigned nr_credits)
{
	*h = (struct jnl_handle){ 0 };
	if (jnl_begin(journal, nr_credits, h))
		ck_abort_msg("begin failed");
}

/* One handle that gives a block this version. */
static void change_block(pblk_t pblk, unsigned version)
{
	struct cache_buf *b = must_get(pblk);
	struct jnl_handle h;

	must_begin(&h, 1);
	if (jnl_get_write(&h, b))
		ck_abort_msg("get_write failed");
	fill_pattern(b->data, pblk, version);
	jnl_dirty(&h, b);
	if (jnl_end(&h))
		ck_abort_msg("end failed");
	cache_put(b);
}

START_TEST(a_committed_block_is_home_and_flushed)
{
	start_null((struct start_opts){ 0 });
	change_block(11, 1);
	must_be(on_disk(11), 11, 0);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	must_be(on_disk(11), 11, 1);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_flushes), 1);
	stop_null();
}
END_TEST

START_TEST(a_commit_does_not_write_file_data)
{
	start_null((struct start_opts){ 0 });
	write_blocks(20, 2, 1);
	change_block(11, 1);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	must_be(on_disk(20), 20, 0);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	stop_null();
}
END_TEST

START_TEST(freeing_the_journal_brings_everything_home)
{
	start_null((struct start_opts){ 0 });
	change_block(11, 1);
	ck_assert_int_eq(jnl_free(journal), 0);
	must_be(on_disk(11), 11, 1);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_flushes), 1);
	ck_assert_int_eq(jnl_free(NULL), 0);
	stop();
}
END_TEST

START_TEST(new_and_forgotten_blocks)
{
	struct jnl_handle h;
	struct cache_buf *b;

	start_null((struct start_opts){ 0 });
	must_begin(&h, 2);
	ck_assert_int_eq(cache_get_new(fx.cache, 30, NULL, &b), 0);
	ck_assert_int_eq(jnl_get_create(&h, b), 0);
	fill_pattern(b->data, 30, 4);
	jnl_dirty(&h, b);
	cache_put(b);
	ck_assert_int_eq(cache_get_new(fx.cache, 31, NULL, &b), 0);
	ck_assert_int_eq(jnl_get_create(&h, b), 0);
	jnl_dirty(&h, b);
	cache_put(b);
	jnl_forget(&h, 31, 1);
	ck_assert_int_eq(jnl_end(&h), 0);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	must_be(on_disk(30), 30, 4);
	must_be(on_disk(31), 31, 0);
	stop_null();
}
END_TEST

START_TEST(a_handle_that_goes_out_of_scope_is_ended)
{
	start_null((struct start_opts){ 0 });
	{
		CLEANUP_HANDLE struct jnl_handle h = { 0 };

		ck_assert_int_eq(jnl_begin(journal, 1, &h), 0);
	}
	jnl_freeze(journal);	/* would wait for it for ever */
	jnl_thaw(journal);
	stop_null();
}
END_TEST

/* The gate ------------------------------------------------------------------------- */

static atomic_int nr_inside;
static atomic_bool enough;

static void *busy_with_handles(void *arg)
{
	while (!atomic_load(&enough)) {
		struct jnl_handle h;

		must_begin(&h, 0);
		atomic_fetch_add(&nr_inside, 1);
		atomic_fetch_sub(&nr_inside, 1);
		jnl_end(&h);
	}
	return NULL;
}

START_TEST(G1_no_handle_is_open_while_frozen_and_the_freezer_gets_its_turn)
{
	pthread_t t[4];

	start_null((struct start_opts){ 0 });
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		start_thread(&t[i], busy_with_handles, NULL);
	for (unsigned round = 0; round < 200; round++) {
		jnl_freeze(journal);
		for (unsigned i = 0; i < 50; i++)
			ck_assert_int_eq(atomic_load(&nr_inside), 0);
		jnl_thaw(journal);
	}
	atomic_store(&enough, true);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	stop_null();
}
END_TEST

static void *freeze_often(void *arg)
{
	for (unsigned i = 0; i < 100; i++) {
		jnl_freeze(journal);
		ck_assert_int_eq(atomic_fetch_add(&nr_inside, 1), 0);
		atomic_fetch_sub(&nr_inside, 1);
		jnl_thaw(journal);
	}
	return NULL;
}

START_TEST(freezers_take_turns)
{
	pthread_t t[3];

	start_null((struct start_opts){ 0 });
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		start_thread(&t[i], freeze_often, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	stop_null();
}
END_TEST

static void *freeze_once(void *arg)
{
	jnl_freeze(journal);
	atomic_store(&enough, true);
	jnl_thaw(journal);
	return NULL;
}

START_TEST(a_restart_lets_a_freezer_through)
{
	struct jnl_handle h;
	pthread_t t;

	start_null((struct start_opts){ 0 });
	must_begin(&h, 1);
	start_thread(&t, freeze_once, NULL);
	while (!atomic_load(&journal->gate.frozen))
		usleep(1000);
	ck_assert(!atomic_load(&enough));
	ck_assert_int_eq(jnl_restart(&h, 3), 0);	/* comes back when the freezer is done */
	ck_assert(atomic_load(&enough));
	ck_assert_int_eq(jnl_end(&h), 0);
	pthread_join(t, NULL);
	stop_null();
}
END_TEST

/* Commits that meet, and errors ------------------------------------------------------ */

enum { NR_CALLERS = 6 };
static pthread_t callers[NR_CALLERS];

static void *commit_once(void *arg)
{
	change_block(40 + (uintptr_t)arg, 1);
	return (void *)(intptr_t)jnl_commit_wait(journal, 0);
}

/* In the middle of the first commit's flush many others want one. */
static void call_others(struct watched *w)
{
	w->intrude = NULL;
	for (uintptr_t i = 0; i < NR_CALLERS; i++)
		start_thread(&callers[i], commit_once, (void *)i);
	usleep(200000);
}

START_TEST(N1_callers_that_come_together_share_a_later_commit)
{
	void *err;

	start_null((struct start_opts){ 0 });
	fx.dev->intrude = call_others;
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	for (unsigned i = 0; i < NR_CALLERS; i++) {
		pthread_join(callers[i], &err);
		ck_assert_ptr_null(err);
		must_be(on_disk(40 + i), 40 + i, 1);
	}
	ck_assert_uint_ge(atomic_load(&fx.dev->nr_flushes), 2);
	ck_assert_uint_lt(atomic_load(&fx.dev->nr_flushes), 1 + NR_CALLERS);
	stop_null();
}
END_TEST

/* The commit that the first caller is in goes well; the one the others share does not. */
static void call_others_and_fail(struct watched *w)
{
	w->intrude = NULL;
	for (uintptr_t i = 0; i < NR_CALLERS; i++)
		start_thread(&callers[i], commit_once, (void *)i);
	usleep(200000);
	atomic_store(&w->fail_writes, -EIO);
}

START_TEST(N2_everyone_who_waited_learns_of_the_error)
{
	void *err;

	start_null((struct start_opts){ 0 });
	be_silent();
	fx.dev->intrude = call_others_and_fail;
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	for (unsigned i = 0; i < NR_CALLERS; i++) {
		pthread_join(callers[i], &err);
		ck_assert_int_eq((int)(intptr_t)err, -EIO);
	}
	atomic_store(&fx.dev->fail_writes, 0);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	must_be(on_disk(40), 40, 1);
	stop_null();
}
END_TEST

START_TEST(a_failed_flush_fails_the_commit)
{
	start_null((struct start_opts){ 0 });
	atomic_store(&fx.dev->fail_flushes, -EIO);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), -EIO);
	atomic_store(&fx.dev->fail_flushes, 0);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	stop_null();
}
END_TEST

static unsigned nr_told;

static void count_lines(void *arg, enum log_level level, const char *line)
{
	nr_told++;
	ck_assert_ptr_nonnull(strstr(line, "watched: no more writes from now on: Input/output error"));
}

START_TEST(an_abort_is_for_good_and_told_once)
{
	struct jnl_handle open, h = { 0 };

	start_null((struct start_opts){ 0 });
	log_set_sink(count_lines, NULL);
	must_begin(&open, 1);
	ck_assert(!jnl_is_aborted(journal));
	jnl_abort(journal, -EIO);
	jnl_abort(journal, -ENOSPC);
	ck_assert_uint_eq(nr_told, 1);
	ck_assert(jnl_is_aborted(journal));
	ck_assert_int_eq(jnl_end(&open), 0);
	ck_assert_int_eq(jnl_begin(journal, 1, &h), -EROFS);
	ck_assert(!h.opened);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), -EROFS);
	cache_put(must_get(3));		/* reads go on */
	stop_null();
}
END_TEST

/* Threads change pairs of blocks alike; a copy of the device taken between handles has them alike too. */
enum { NR_PAIRS = 8 };

static void *change_pairs(void *arg)
{
	struct rng r = { (uintptr_t)arg + 1 };

	for (unsigned step = 0; step < 200; step++) {
		const pblk_t pblk = 100 + 2 * ((uintptr_t)arg * NR_PAIRS + rng_below(&r, NR_PAIRS));
		const int byte = (int)rng_below(&r, 256);
		struct jnl_handle h;

		must_begin(&h, 2);
		for (unsigned i = 0; i < 2; i++) {
			struct cache_buf *b = must_get(pblk + i);

			if (jnl_get_write(&h, b))
				ck_abort_msg("get_write failed");
			memset(b->data, byte, BLOCK);
			jnl_dirty(&h, b);
			cache_put(b);
		}
		jnl_end(&h);
		if (step % 16 == 0 && jnl_commit_wait(journal, 0))
			ck_abort_msg("commit failed");
	}
	return NULL;
}

START_TEST(J0_what_goes_out_in_one_write_is_between_two_handles)
{
	pthread_t t[3];

	start_null((struct start_opts){ .background = true, .writeback_msec = 10 });
	memset(on_disk(100), 0, (size_t)2 * NR_PAIRS * ARRAY_LEN(t) * BLOCK);
	for (uintptr_t i = 0; i < ARRAY_LEN(t); i++)
		start_thread(&t[i], change_pairs, (void *)i);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(jnl_commit_wait(journal, 0), 0);
	for (pblk_t p = 100; p < 100 + 2 * NR_PAIRS * ARRAY_LEN(t); p += 2)
		ck_assert_mem_eq(on_disk(p), on_disk(p + 1), BLOCK);
	stop_null();
}
END_TEST

/* What debug builds stop at ------------------------------------------------------------ */
#ifdef OSFS_LOCK_DEBUG

static void open_handle(struct jnl_handle *h, unsigned nr_credits)
{
	start_null((struct start_opts){ 0 });
	must_begin(h, nr_credits);
	if (!freopen("/dev/null", "w", stderr))
		ck_abort_msg("no /dev/null");
}

START_TEST(a_second_handle_in_one_thread_aborts)
{
	struct jnl_handle h, second = { 0 };

	open_handle(&h, 1);
	(void)!jnl_begin(journal, 1, &second);
}
END_TEST

START_TEST(dirty_without_get_write_aborts)
{
	struct jnl_handle h;

	open_handle(&h, 1);
	jnl_dirty(&h, must_get(5));
}
END_TEST

START_TEST(more_blocks_than_credits_abort)
{
	struct jnl_handle h;

	open_handle(&h, 1);
	ck_assert_int_eq(jnl_extend(&h, 1), 0);
	for (pblk_t p = 5; p < 8; p++) {
		struct cache_buf *b = must_get(p);

		ck_assert_int_eq(jnl_get_write(&h, b), 0);
		jnl_dirty(&h, b);
		jnl_dirty(&h, b);	/* the same block costs once */
		ck_assert_uint_lt(p, 7);
	}
}
END_TEST

START_TEST(a_flush_inside_a_handle_aborts)
{
	struct jnl_handle h;

	open_handle(&h, 1);
	(void)!cache_flush(fx.cache, CACHE_META);
}
END_TEST

START_TEST(a_throttle_inside_a_handle_aborts)
{
	struct jnl_handle h;

	open_handle(&h, 1);
	cache_throttle(fx.cache);
}
END_TEST

START_TEST(a_commit_inside_a_handle_aborts)
{
	struct jnl_handle h;

	open_handle(&h, 1);
	(void)!jnl_commit_wait(journal, 0);
}
END_TEST

static void add_debug_tests(TCase *tc)
{
	tcase_add_test_raise_signal(tc, a_second_handle_in_one_thread_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, dirty_without_get_write_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, more_blocks_than_credits_abort, SIGABRT);
	tcase_add_test_raise_signal(tc, a_flush_inside_a_handle_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, a_throttle_inside_a_handle_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, a_commit_inside_a_handle_aborts, SIGABRT);
}
#else
static void add_debug_tests(TCase *tc) { (void)tc; }
#endif

int main(void)
{
	Suite *s = suite_create("journal");
	TCase *tc = tcase_create("null");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_committed_block_is_home_and_flushed);
	tcase_add_test(tc, a_commit_does_not_write_file_data);
	tcase_add_test(tc, freeing_the_journal_brings_everything_home);
	tcase_add_test(tc, new_and_forgotten_blocks);
	tcase_add_test(tc, a_handle_that_goes_out_of_scope_is_ended);
	tcase_add_test(tc, G1_no_handle_is_open_while_frozen_and_the_freezer_gets_its_turn);
	tcase_add_test(tc, freezers_take_turns);
	tcase_add_test(tc, a_restart_lets_a_freezer_through);
	tcase_add_test(tc, N1_callers_that_come_together_share_a_later_commit);
	tcase_add_test(tc, N2_everyone_who_waited_learns_of_the_error);
	tcase_add_test(tc, a_failed_flush_fails_the_commit);
	tcase_add_test(tc, an_abort_is_for_good_and_told_once);
	tcase_add_test(tc, J0_what_goes_out_in_one_write_is_between_two_handles);
	add_debug_tests(tc);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
