/* loop.c: the workers, the lead, the watchdog. The scheme and its invariants are in loop.h. */
#include "loop.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "loop_int.h"

enum {
	WATCHDOG_MSEC = 1,
	WATCHDOG_QUIET_TICKS = 100,	/* without a request: it sleeps until the next one */
	SHARE_EVERY = 8,		/* requests between two looks at the queue */
	SHARE_BYTES = 128 << 10,	/* requests that move so much always look */
	STACK_BYTES = 1 << 20,
	KICK_SIGNAL = SIGUSR2,		/* makes a read of the connection return */
	KICK_USEC = 20000,
};

static _Thread_local const struct fuse_in_header *the_request;
static _Thread_local struct worker *the_worker;

const struct fuse_in_header *loop_request(void)
{
	return the_request;
}

struct worker *loop_worker(void)
{
	return the_worker;
}

static void *worker_main(void *arg);

/* Parks at once, as a new worker has nothing to lead. Under the lock. */
static int worker_new(struct loop *l, struct worker **out)
{
	struct worker *w = calloc(1, sizeof(*w));
	pthread_attr_t attr;
	int err;

	*out = NULL;
	if (!w)
		return -ENOMEM;
	w->loop = l;
	os_cond_init(&w->wake);
	list_init(&w->parked);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&w->thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	if (err) {
		os_cond_fini(&w->wake);
		free(w);
		return -err;
	}
	l->workers[l->nr_workers++] = w;
	atomic_fetch_add(&l->nr_awake, 1);
	*out = w;
	return 0;
}

/* Under the lock: makes another worker the leader; false when there is none to be had. */
static bool lead_pass(struct loop *l)
{
	struct worker *next = list_first(&l->parked, struct worker, parked);

	if (atomic_load(&l->ending))
		return false;
	if (next) {
		list_del(&next->parked);
		atomic_fetch_add(&l->nr_awake, 1);
	} else if (l->nr_workers == l->max_threads || worker_new(l, &next)) {
		return false;
	}
	atomic_store(&l->leader, next);
	os_cond_signal(&next->wake);
	return true;
}

static void hand_over(struct worker *w)
{
	struct loop *l = w->loop;
	LOCK_GUARD(&l->lock);

	if (atomic_load(&l->leader) == w && lead_pass(l))
		atomic_fetch_add_explicit(&l->nr_handed_over, 1, memory_order_relaxed);
}

/* Waits to be made the leader; false at the end. */
static bool park(struct worker *w)
{
	struct loop *l = w->loop;
	LOCK_GUARD(&l->lock);

	if (atomic_load(&l->leader) == w)
		return true;
	list_add(&l->parked, &w->parked);
	atomic_fetch_sub(&l->nr_awake, 1);
	while (atomic_load(&l->leader) != w && !atomic_load(&l->ending))
		os_cond_wait(&w->wake, &l->lock);
	if (!list_is_empty(&w->parked)) {
		list_del(&w->parked);
		atomic_fetch_add(&l->nr_awake, 1);
	}
	return !atomic_load(&l->ending);
}

static bool queue_is_waiting(const struct loop *l)
{
	struct pollfd p = { .fd = fuse_session_fd(l->se), .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}

/* Another request waits, and one of nr_cpus for the thread that would take it. */
static bool can_share(const struct loop *l, unsigned nr_cpus)
{
	return atomic_load_explicit(&l->nr_awake, memory_order_relaxed) < nr_cpus && queue_is_waiting(l);
}

static bool is_large(const struct fuse_in_header *h, size_t len_bytes)
{
	if (h->opcode == FUSE_READ && len_bytes >= sizeof(*h) + sizeof(struct fuse_read_in))
		return ((const struct fuse_read_in *)(h + 1))->size >= SHARE_BYTES;
	return len_bytes >= SHARE_BYTES;
}

static bool should_hand_over(struct worker *w, const struct fuse_in_header *h, unsigned opcode, size_t len_bytes)
{
	struct loop *l = w->loop;

	if (l->max_threads == 1 || atomic_load_explicit(&l->leader, memory_order_relaxed) != w)
		return false;
	if (loop_kind_blocks(l, opcode))
		return true;
	if (is_large(h, len_bytes))
		return can_share(l, l->nr_cpus);
	/* Who asks for little at a time needs a CPU for itself. */
	return ++w->nr_served % SHARE_EVERY == 0 && can_share(l, l->nr_cpus - 1);
}

static void watchdog_wake(struct loop *l)
{
	LOCK_GUARD(&l->lock);

	atomic_store(&l->watchdog_sleeps, false);
	os_cond_signal(&l->watchdog_wake);
}

static void worker_serve(struct worker *w, size_t len_bytes)
{
	const struct fuse_in_header *h = w->buf.mem;
	const unsigned opcode = h->opcode < LOOP_NR_OPCODES ? h->opcode : 0;

	if (should_hand_over(w, h, opcode, len_bytes))
		hand_over(w);
	if (atomic_load_explicit(&w->loop->watchdog_sleeps, memory_order_relaxed))
		watchdog_wake(w->loop);
	the_request = h;
	loop_serve_measured(w, opcode);
	the_request = NULL;
}

static void loop_end(struct loop *l)
{
	const uint64_t one = 1;
	LOCK_GUARD(&l->lock);

	atomic_store(&l->ending, true);
	for (unsigned i = 0; i < l->nr_workers; i++)
		os_cond_signal(&l->workers[i]->wake);
	os_cond_signal(&l->watchdog_wake);
	if (write(l->end_fd, &one, sizeof(one)) < 0)
		return;	/* cannot be: the count does not overflow */
}

void loop_when_idle(unsigned opcode, void (*fn)(void *arg), void *arg)
{
	the_worker->ahead.fn = fn;
	the_worker->ahead.arg = arg;
	the_worker->ahead.opcode = opcode;
}

static bool may_work_ahead(struct loop *l, unsigned opcode)
{
	if (l->ahead != LOOP_AHEAD_AUTO)
		return l->ahead == LOOP_AHEAD_ALWAYS;
	return !loop_kind_blocks(l, opcode) && !queue_is_waiting(l);
}

static void work_ahead(struct worker *w)
{
	if (may_work_ahead(w->loop, w->ahead.opcode))
		loop_work_ahead_measured(w);
	w->ahead.fn = NULL;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct loop *l = w->loop;

	the_worker = w;
	while (!atomic_load_explicit(&l->ending, memory_order_relaxed)) {
		int got;

		if (atomic_load_explicit(&l->leader, memory_order_relaxed) != w && !park(w))
			break;
		got = fuse_session_receive_buf(l->se, &w->buf);
		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got <= 0) {
			if (got < 0)
				log_error("reading requests from the kernel: %s", strerror(-got));
			loop_end(l);
			break;
		}
		worker_serve(w, (size_t)got);
		if (w->ahead.fn)
			work_ahead(w);
	}
	atomic_store(&w->ended, true);
	return NULL;
}

/* L1 when a request blocks that was not known to: the lead goes to another worker. */
static bool rescue(struct loop *l, uint64_t now)
{
	struct worker *w = atomic_load(&l->leader);
	const uint64_t since = atomic_load_explicit(&w->busy_since, memory_order_relaxed);

	if (!since || since + WATCHDOG_MSEC * 1000000u > now)
		return since != 0;
	if (lead_pass(l))
		atomic_fetch_add_explicit(&l->nr_rescued, 1, memory_order_relaxed);
	return true;
}

static uint64_t nr_requests(struct loop *l)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < l->nr_workers; i++)
		for (unsigned op = 0; op < LOOP_NR_OPCODES; op++)
			n += atomic_load_explicit(&l->workers[i]->op[op].nr, memory_order_relaxed);
	return n;
}

static void *watchdog_main(void *arg)
{
	struct loop *l = arg;
	unsigned nr_quiet = 0;
	uint64_t nr_seen = 0;
	LOCK_GUARD(&l->lock);

	while (!atomic_load(&l->ending)) {
		bool busy = rescue(l, loop_now());

		if (++nr_quiet >= WATCHDOG_QUIET_TICKS) {
			const uint64_t nr = nr_requests(l);

			busy = busy || nr != nr_seen;
			nr_seen = nr;
			if (busy)
				nr_quiet = 0;
			else
				atomic_store(&l->watchdog_sleeps, true);
		}
		if (!atomic_load(&l->watchdog_sleeps)) {
			os_cond_wait_msec(&l->watchdog_wake, &l->lock, WATCHDOG_MSEC);
			continue;
		}
		while (atomic_load(&l->watchdog_sleeps) && !atomic_load(&l->ending))
			os_cond_wait(&l->watchdog_wake, &l->lock);
		nr_quiet = 0;
	}
	return NULL;
}

static void on_kick(int sig)
{
	(void)sig;	/* its coming is all: read() returns with EINTR */
}

int loop_start(struct fuse_session *se, const struct loop_how *how, struct loop **out)
{
	struct sigaction kick = { .sa_handler = on_kick };
	struct loop *l = calloc(1, sizeof(*l));
	struct worker *first;
	int err;

	*out = NULL;
	if (!l)
		return -ENOMEM;
	l->se = se;
	l->max_threads = MIN(how->max_threads, (unsigned)LOOP_MAX_THREADS);
	l->look_nsec = (uint64_t)how->spin_usec * 1000;
	l->ahead = how->ahead;
	l->nr_cpus = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	os_mutex_init(&l->lock, RANK_DAEMON);
	os_cond_init(&l->watchdog_wake);
	list_init(&l->parked);
	sigaction(KICK_SIGNAL, &kick, NULL);
	l->end_fd = eventfd(0, EFD_CLOEXEC);
	if (l->end_fd < 0) {
		err = -errno;
		goto fail;
	}
	os_mutex_lock(&l->lock);
	err = worker_new(l, &first);
	if (!err) {
		atomic_store(&l->leader, first);
		os_cond_signal(&first->wake);
	}
	os_mutex_unlock(&l->lock);
	if (!err && l->max_threads > 1) {
		err = -pthread_create(&l->watchdog, NULL, watchdog_main, l);
		l->has_watchdog = !err;
	}
	if (err)
		goto fail;
	*out = l;
	return 0;
fail:
	log_error("cannot start the worker threads: %s", strerror(-err));
	loop_stop(l);
	return err;
}

int loop_end_fd(const struct loop *l)
{
	return l->end_fd;
}

/* A worker may be just before its read when the signal comes, so it is sent until it has left. */
static void worker_free(struct worker *w)
{
	while (!atomic_load(&w->ended)) {
		pthread_kill(w->thread, KICK_SIGNAL);
		usleep(atomic_load(&w->busy_since) ? KICK_USEC : KICK_USEC / 20);
	}
	pthread_join(w->thread, NULL);
	os_cond_fini(&w->wake);
	free(w->buf.mem);
	free(w);
}

void loop_stop(struct loop *l)
{
	if (!l)
		return;
	fuse_session_exit(l->se);
	loop_end(l);
	if (l->has_watchdog)
		pthread_join(l->watchdog, NULL);
	for (unsigned i = 0; i < l->nr_workers; i++)
		worker_free(l->workers[i]);
	if (l->end_fd >= 0)
		close(l->end_fd);
	os_cond_fini(&l->watchdog_wake);
	os_mutex_fini(&l->lock);
	free(l);
}
