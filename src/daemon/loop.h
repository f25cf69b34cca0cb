/*
 * loop.h: the threads that serve requests.
 *
 * One worker leads: it reads a request, serves it, and reads the next, so that a single
 * client meets one hot thread and no thread hands work to another. The lead passes to a parked
 * worker (leader/followers) when that pays or must be:
 *   - before a request of a kind that has been seen to block (on a disk, on a lock);
 *   - before a large or every few requests, when another request is waiting already and a
 *     CPU is there for it;
 *   - by the watchdog, when the leader has been inside one request for over a millisecond.
 * A worker that finds itself without the lead after its request parks.
 *
 * L1  Some worker reads, or will read without waiting for another request to be served, unless
 *     all max_threads of them are inside requests.
 * L2  Requests wait for disks and for each other's locks, never for a request to come: so even
 *     with all workers inside, one comes back.
 */
#ifndef OSFS_DAEMON_LOOP_H
#define OSFS_DAEMON_LOOP_H

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>

#include "base/types.h"

struct loop;
struct fuse_in_header;

enum { LOOP_NR_OPCODES = 64, LOOP_MAX_THREADS = 64 };

/* When work that loop_when_idle() was told of is done. */
enum loop_ahead {
	LOOP_AHEAD_AUTO,	/* when no request waits and requests of its kind are not known to block */
	LOOP_AHEAD_ALWAYS,	/* whatever the machine does: for tests and measurements */
	LOOP_AHEAD_NEVER,
};

struct loop_how {
	unsigned max_threads;	/* 1: no watchdog, one worker */
	unsigned spin_usec;	/* how long the lead looks for a request before it sleeps; 0: not at all */
	enum loop_ahead ahead;
};

/* -ENOMEM, -EAGAIN after a message. */
MUST_CHECK int loop_start(struct fuse_session *se, const struct loop_how *how, struct loop **out);
/* Becomes readable when the connection has ended (unmounted, or an error after a message). */
int loop_end_fd(const struct loop *l);
/* Ends the workers, whatever the connection does; joins them; frees. NULL is fine. */
void loop_stop(struct loop *l);

/* The request that the calling worker serves, as it came; NULL in any other thread. */
const struct fuse_in_header *loop_request(void);

/*
 * While it serves a request, a worker is told to call fn(arg) once behind it: work done ahead, of the
 * kind of requests with that opcode. Whether it is called is enum loop_ahead's.
 */
void loop_when_idle(unsigned opcode, void (*fn)(void *arg), void *arg);

/*
 * One request from the connection, for libfuse to call: read(2)'s results and errors. fd must not
 * block. Waits in the way of loop_wait.c.
 */
ssize_t loop_receive(int fd, void *buf, size_t len_bytes);

struct loop_stats {
	unsigned nr_threads;
	uint64_t nr_handed_over;	/* times the lead passed on before a request */
	uint64_t nr_rescued;		/* times the watchdog passed it on */
	uint64_t nr_looks, nr_met;	/* times the lead looked for a request before it slept, and met one */
	uint64_t nr_ahead;		/* times that work was done ahead */
	struct {
		uint64_t nr, nsec;
		bool blocks;		/* taken for blocking now */
	} op[LOOP_NR_OPCODES];		/* by FUSE opcode */
};
void loop_stats_get(struct loop *l, struct loop_stats *out);
const char *loop_op_name(unsigned opcode);	/* "LOOKUP"; NULL for unknown */

#endif
