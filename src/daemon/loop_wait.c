/*
 * loop_wait.c: how the lead waits for the next request.
 *
 * A client that waits for each reply before it asks again is back within microseconds, and
 * waking a thread on another CPU (more so in a virtual machine) takes longer than serving the
 * request. So the lead looks for the next request for a moment before it sleeps, but
 *   - only after requests have been coming that fast (the score), and
 *   - only while nobody else of ours is at work: with several clients requests wait by
 *     themselves, and the CPU is better theirs;
 *   - it offers its CPU at every look.
 * An idle mount costs nothing: a look that comes to nothing lowers the score.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "loop_int.h"

enum {
	SHORT_SLEEP_LOOKS = 2,	/* slept less than so many looks: looking would most likely have met it */
	SCORE_MAX = 16,
	SCORE_MISS = 4,
};

static bool may_look(const struct worker *w)
{
	struct loop *l = w->loop;

	return w->wait_score > 0 && l->nr_cpus > 1 &&
	       atomic_load_explicit(&l->nr_awake, memory_order_relaxed) <= 1;
}

static void learn(struct worker *w, bool soon)
{
	w->wait_score = soon ? MIN(w->wait_score + 1, SCORE_MAX) : MAX(w->wait_score - SCORE_MISS, 0);
}

/* Looks for a while; -1 with EAGAIN: nothing came. */
static ssize_t look(struct worker *w, int fd, void *buf, size_t len)
{
	const uint64_t until = loop_now() + w->loop->look_nsec;
	ssize_t got;

	atomic_fetch_add_explicit(&w->loop->nr_looks, 1, memory_order_relaxed);
	do {
		sched_yield();
		got = read(fd, buf, len);
		if (got >= 0 || errno != EAGAIN) {
			atomic_fetch_add_explicit(&w->loop->nr_met, 1, memory_order_relaxed);
			learn(w, true);
			return got;
		}
	} while (loop_now() < until && !atomic_load_explicit(&w->loop->ending, memory_order_relaxed));
	learn(w, false);
	errno = EAGAIN;
	return -1;
}

static ssize_t sleep_and_read(struct worker *w, int fd, void *buf, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	const uint64_t start = loop_now();
	ssize_t got;

	do {
		if (poll(&p, 1, -1) < 0)
			return -1;	/* EINTR: the end, perhaps */
		got = read(fd, buf, len);
	} while (got < 0 && errno == EAGAIN);
	if (loop_now() - start < SHORT_SLEEP_LOOKS * w->loop->look_nsec)
		learn(w, true);
	return got;
}

ssize_t loop_receive(int fd, void *buf, size_t len_bytes)
{
	struct worker *w = loop_worker();
	ssize_t got = read(fd, buf, len_bytes);

	if (got >= 0 || errno != EAGAIN || !w)
		return got;
	if (may_look(w)) {
		got = look(w, fd, buf, len_bytes);
		if (got >= 0 || errno != EAGAIN)
			return got;
	}
	return sleep_and_read(w, fd, buf, len_bytes);
}
