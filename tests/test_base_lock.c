/* test_base_lock.c: guards, conditions, and the lock-order check of debug builds. */
#include "test_base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

START_TEST(a_guard_holds_its_lock_to_the_end_of_the_block)
{
	os_rwlock rw;
	os_mutex mx;

	os_mutex_init(&mx, RANK_LEAF);
	os_rwlock_init(&rw, RANK_BLK);
	{
		WRLOCK_GUARD(&rw);
		LOCK_GUARD(&mx);

		assert_held(&mx);
		assert_held(&rw);
		ck_assert(!os_mutex_trylock(&mx));
		ck_assert_int_ne(pthread_rwlock_tryrdlock(&rw.l), 0);
	}
	ck_assert(os_mutex_trylock(&mx));
	os_mutex_unlock(&mx);
	{
		RDLOCK_GUARD(&rw);

		ck_assert_int_ne(pthread_rwlock_trywrlock(&rw.l), 0);
	}
	ck_assert_int_eq(pthread_rwlock_trywrlock(&rw.l), 0);
	pthread_rwlock_unlock(&rw.l);
	os_rwlock_fini(&rw);
	os_mutex_fini(&mx);
}
END_TEST

struct meeting {
	os_mutex lock;
	os_cond cond;
	bool is_set;		/* [lock] */
};

static void *meeting_set(void *arg)
{
	struct meeting *m = arg;

	LOCK_GUARD(&m->lock);
	m->is_set = true;
	os_cond_broadcast(&m->cond);
	return NULL;
}

START_TEST(a_waiter_wakes_for_a_signal_and_holds_the_lock_again)
{
	struct meeting m = { .is_set = false };
	pthread_t id;

	os_mutex_init(&m.lock, RANK_LEAF);
	os_cond_init(&m.cond);
	os_mutex_lock(&m.lock);
	ck_assert_int_eq(pthread_create(&id, NULL, meeting_set, &m), 0);
	while (!m.is_set) {
		if (_i)
			os_cond_wait(&m.cond, &m.lock);
		else
			os_cond_wait_msec(&m.cond, &m.lock, 100000);
		assert_held(&m.lock);
	}
	os_mutex_unlock(&m.lock);
	pthread_join(id, NULL);
	os_cond_fini(&m.cond);
	os_mutex_fini(&m.lock);
}
END_TEST

START_TEST(a_wait_without_a_signal_ends_in_false)
{
	os_cond cond;
	os_mutex mx;

	os_mutex_init(&mx, RANK_LEAF);
	os_cond_init(&cond);
	os_mutex_lock(&mx);
	/* A wake-up without a cause is allowed, but not for ever. */
	while (os_cond_wait_msec(&cond, &mx, 5))
		;
	assert_held(&mx);
	os_mutex_unlock(&mx);
	os_cond_fini(&cond);
	os_mutex_fini(&mx);
}
END_TEST

#ifdef OSFS_LOCK_DEBUG

/* Runs a function in a child; its standard error goes to text. True when it aborted. */
static bool aborts(void (*function)(void), char *text, size_t size)
{
	int fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		dup2(fds[1], STDERR_FILENO);
		function();
		_exit(0);
	}
	close(fds[1]);
	while (len < size - 1 && (n = read(fds[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void take_in_order(void)
{
	os_mutex inode, shard, member;

	os_mutex_init(&inode, RANK_INODE);
	os_mutex_init(&shard, RANK_SHARD);
	os_mutex_init(&member, RANK_MEMBER);
	os_mutex_lock(&inode);
	os_mutex_lock(&shard);
	os_mutex_lock(&member);
	/* Released in any order. */
	os_mutex_unlock(&shard);
	os_mutex_unlock(&member);
	os_mutex_lock(&shard);
	os_mutex_unlock(&shard);
	os_mutex_unlock(&inode);
	lock_dep_assert_below(RANK_DAEMON);
}

static void take_against_order(void)
{
	os_mutex inode, shard;

	os_mutex_init(&inode, RANK_INODE);
	os_mutex_init(&shard, RANK_SHARD);
	os_mutex_lock(&shard);
	os_mutex_lock(&inode);
}

static void read_lock_against_order(void)
{
	os_rwlock inode;
	os_mutex shard;

	os_rwlock_init(&inode, RANK_INODE);
	os_mutex_init(&shard, RANK_SHARD);
	os_mutex_lock(&shard);
	os_rwlock_rdlock(&inode);
}

static void try_against_order(void)
{
	os_mutex inode, shard;

	os_mutex_init(&inode, RANK_INODE);
	os_mutex_init(&shard, RANK_SHARD);
	os_mutex_lock(&shard);
	if (!os_mutex_trylock(&inode))
		abort();
	os_mutex_unlock(&inode);
	os_mutex_unlock(&shard);
}

static void take_two_by_rising_key(void)
{
	os_mutex five, nine;

	os_mutex_init(&five, RANK_INODE);
	os_mutex_init(&nine, RANK_INODE);
	os_mutex_lock_key(&five, 5);
	os_mutex_lock_key(&nine, 9);
	os_mutex_unlock(&nine);
	os_mutex_unlock(&five);
}

static void take_two_by_falling_key(void)
{
	os_mutex five, nine;

	os_mutex_init(&five, RANK_INODE);
	os_mutex_init(&nine, RANK_INODE);
	os_mutex_lock_key(&nine, 9);
	os_mutex_lock_key(&five, 5);
}

static void take_two_without_keys(void)
{
	os_mutex one, two;

	os_mutex_init(&one, RANK_INODE);
	os_mutex_init(&two, RANK_INODE);
	os_mutex_lock(&one);
	os_mutex_lock(&two);
}

static void take_twice(void)
{
	os_mutex mx;

	os_mutex_init(&mx, RANK_INODE);
	os_mutex_lock(&mx);
	os_mutex_lock(&mx);
}

static void release_what_is_not_held(void)
{
	os_mutex mx;

	os_mutex_init(&mx, RANK_INODE);
	os_mutex_unlock(&mx);
}

static void assert_what_is_not_held(void)
{
	os_mutex mx;

	os_mutex_init(&mx, RANK_INODE);
	assert_held(&mx);
}

static void *assert_held_thread(void *arg)
{
	os_mutex *mx = arg;

	assert_held(mx);
	return NULL;
}

static void assert_what_another_thread_holds(void)
{
	pthread_t id;
	os_mutex mx;

	os_mutex_init(&mx, RANK_INODE);
	os_mutex_lock(&mx);
	pthread_create(&id, NULL, assert_held_thread, &mx);
	pthread_join(id, NULL);
}

static void assert_below_while_above(void)
{
	os_mutex mx;

	os_mutex_init(&mx, RANK_SHARD);
	os_mutex_lock(&mx);
	lock_dep_assert_below(RANK_SHARD);
}

static void assert_below_while_below(void)
{
	os_mutex mx;

	os_mutex_init(&mx, RANK_SHARD);
	os_mutex_lock(&mx);
	lock_dep_assert_below(RANK_STRIPE);
	os_mutex_unlock(&mx);
}

static const struct {
	void (*function)(void);
	bool aborts;
	const char *says;	/* on standard error */
} lock_cases[] = {
	{ take_in_order, false, "" },
	{ try_against_order, false, "" },
	{ take_two_by_rising_key, false, "" },
	{ assert_below_while_below, false, "" },
	{ take_against_order, true, "out of order: &inode" },
	{ take_against_order, true, "held: &shard" },
	{ read_lock_against_order, true, "out of order: &inode" },
	{ take_two_by_falling_key, true, "out of order: &five" },
	{ take_two_without_keys, true, "out of order: &two" },
	{ take_twice, true, "taken twice: &mx" },
	{ release_what_is_not_held, true, "released but not held: &mx" },
	{ assert_what_is_not_held, true, "not held: &mx" },
	{ assert_what_another_thread_holds, true, "not held: &mx" },
	{ assert_below_while_above, true, "&mx" },
};

START_TEST(the_lock_check_stops_what_breaks_the_order_and_nothing_else)
{
	char text[4096];

	ck_assert_int_eq(aborts(lock_cases[_i].function, text, sizeof(text)), lock_cases[_i].aborts);
	if (lock_cases[_i].aborts)
		ck_assert_msg(strstr(text, lock_cases[_i].says), "\"%s\" is not in \"%s\"",
			      lock_cases[_i].says, text);
	else
		ck_assert_str_eq(text, "");
}
END_TEST

#endif

void add_lock_tests(Suite *suite)
{
	TCase *locks = tcase_create("locks");

	tcase_add_test(locks, a_guard_holds_its_lock_to_the_end_of_the_block);
	tcase_add_loop_test(locks, a_waiter_wakes_for_a_signal_and_holds_the_lock_again, 0, 2);
	tcase_add_test(locks, a_wait_without_a_signal_ends_in_false);
#ifdef OSFS_LOCK_DEBUG
	tcase_add_loop_test(locks, the_lock_check_stops_what_breaks_the_order_and_nothing_else, 0,
			    ARRAY_LEN(lock_cases));
#endif
	suite_add_tcase(suite, locks);
}
