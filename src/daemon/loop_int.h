/* loop_int.h: the state behind loop.h, shared by loop.c, loop_stat.c and loop_wait.c. */
#ifndef OSFS_DAEMON_LOOP_INT_H
#define OSFS_DAEMON_LOOP_INT_H

#include <linux/fuse.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "loop.h"

struct worker {
	struct loop *loop;
	pthread_t thread;
	struct fuse_buf buf;			/* the request; grown by libfuse */
	os_cond wake;
	struct list parked;			/* [lock] in loop->parked, or on no list */
	atomic_uint_fast64_t busy_since;	/* [atomic] nanoseconds; 0: not inside a request */
	atomic_bool ended;			/* [atomic] has left worker_main */
	unsigned nr_served;			/* own */
	int wait_score;				/* own; above 0: requests have been coming fast */
	struct {				/* own: what loop_when_idle() was told */
		void (*fn)(void *arg);		/* NULL: nothing */
		void *arg;
		unsigned opcode;
	} ahead;
	struct {
		atomic_uint_fast64_t nr, nsec;	/* [atomic] written by the worker alone */
	} op[LOOP_NR_OPCODES];
};

/* What is known of a kind of request; racing updates lose a sample, no more. */
struct op_kind {
	atomic_uint wall_usec16;	/* [atomic] mean duration in 1/16 us */
	atomic_uint blocked256;		/* [atomic] share of the suspects that gave up the CPU, 0 to 256 */
};

struct loop {
	struct fuse_session *se;	/* [const after start] */
	unsigned max_threads;		/* [const after start] */
	unsigned nr_cpus;		/* [const after start] */
	enum loop_ahead ahead;		/* [const after start] */
	uint64_t look_nsec;		/* [const after start] see loop_wait.c; 0: sleep at once */
	int end_fd;			/* [const after start] eventfd */
	os_mutex lock;			/* RANK_DAEMON */
	_Atomic(struct worker *) leader;	/* written under lock */
	struct worker *workers[LOOP_MAX_THREADS];	/* [lock]; entries stay */
	unsigned nr_workers;		/* [lock] */
	struct list parked;		/* [lock] last parked first: its caches are warm */
	atomic_uint nr_awake;		/* written under lock: workers that are not parked */
	atomic_bool ending;
	struct op_kind kinds[LOOP_NR_OPCODES];

	pthread_t watchdog;
	bool has_watchdog;		/* [const after start] */
	os_cond watchdog_wake;		/* with lock */
	atomic_bool watchdog_sleeps;	/* written under lock */
	atomic_uint_fast64_t nr_handed_over, nr_rescued, nr_looks, nr_met, nr_ahead;
};

uint64_t loop_now(void);	/* CLOCK_MONOTONIC in nanoseconds */
/* Are requests of this kind taken for blocking? */
bool loop_kind_blocks(struct loop *l, unsigned opcode);
/* Serves the worker's request, or calls what it has to do ahead, and learns how long that took. */
void loop_serve_measured(struct worker *w, unsigned opcode);
void loop_work_ahead_measured(struct worker *w);
/* The calling thread's; NULL in any other. */
struct worker *loop_worker(void);

#endif
