/*
 * blk_file_ring.c: transfers to images through an io_uring of the calling thread.
 *
 * A thread makes its ring at its first batch and loses it when it ends; a child
 * of fork() makes its own. Where the kernel refuses one (none built in, seccomp,
 * limits), or OSFS_IO=plain is in the environment, the thread uses plain calls.
 *
 * Each part of a request in flight (IOV_MAX entries at most) holds a slot. What
 * comes back short, interrupted or not supported is finished by plain calls in
 * reap, so that the ring itself needs no second round.
 *
 * Why not always: a request that only copies memory is done by preadv/pwritev in
 * less time than its hand-over takes; NOTES.md has the figures.
 */
#include "config.h"
#include "blk/blk_file_int.h"

#ifdef HAVE_LIBURING

#include <assert.h>
#include <liburing.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"

enum { NR_SLOTS = 128 };

struct slot {
	struct blk_io *io;
	struct file_span span;
	uint64_t len;		/* bytes of the span; 0: a flush */
	uint64_t nr_changes;	/* of a flush: what it covers */
	int fd;
};

struct ring {
	struct io_uring uring;
	bool is_there;		/* false: this thread has none and will not try again */
	unsigned nr_free;
	unsigned free_slots[NR_SLOTS];
	struct slot slots[NR_SLOTS];
};

/* The ring of this thread; NULL before its first batch. The key only frees it with the thread. */
static _Thread_local struct ring *my_ring;
static pthread_key_t ring_key;
static pthread_once_t ring_once = PTHREAD_ONCE_INIT;
static bool ring_key_made;	/* [const after ring_once] */

static void ring_free(void *arg)
{
	struct ring *r = arg;

	if (r->is_there)
		io_uring_queue_exit(&r->uring);
	free(r);
	my_ring = NULL;
}

/* The parent's ring works for the parent only. */
static void ring_after_fork(void)
{
	if (!my_ring)
		return;
	ring_free(my_ring);
	pthread_setspecific(ring_key, NULL);
}

static void ring_prepare_process(void)
{
	ring_key_made = !pthread_key_create(&ring_key, ring_free) &&
			!pthread_atfork(NULL, NULL, ring_after_fork);
}

static bool ring_init(struct ring *r)
{
	/* What saves wake-ups, where the kernel is new enough. */
	static const unsigned flag_sets[] = {
#if defined(IORING_SETUP_SINGLE_ISSUER) && defined(IORING_SETUP_DEFER_TASKRUN)
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
#endif
		0,
	};
	const char *mode = getenv("OSFS_IO");

	if (mode && !strcmp(mode, "plain"))
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(flag_sets); i++)
		if (!io_uring_queue_init(NR_SLOTS, &r->uring, flag_sets[i]))
			return true;
	return false;
}

/* The ring of this thread, made at the first call; NULL: plain calls. */
static struct ring *ring_get(void)
{
	struct ring *r = my_ring;

	if (likely(r != NULL))
		return r->is_there ? r : NULL;
	pthread_once(&ring_once, ring_prepare_process);
	if (!ring_key_made)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	if (pthread_setspecific(ring_key, r)) {
		free(r);
		return NULL;
	}
	r->is_there = ring_init(r);
	r->nr_free = NR_SLOTS;
	for (unsigned i = 0; i < NR_SLOTS; i++)
		r->free_slots[i] = i;
	my_ring = r;
	return r->is_there ? r : NULL;
}

static bool can_finish_plainly(int res)
{
	return res == -EINTR || res == -EAGAIN || res == -EINVAL || res == -EOPNOTSUPP;
}

/* A request is many parts: the first error stays. */
static void slot_complete(const struct slot *s, int res)
{
	struct blk_file *f = blk_file_of(s->io->dev);
	struct file_span rest = s->span;
	int err;

	if (res >= 0 && (uint64_t)res == s->len) {
		if (s->io->op == BLK_FLUSH)
			file_flushed(f, s->nr_changes);
		else
			file_changed(f, s->io);
		return;
	}
	if (res < 0 && !can_finish_plainly(res)) {
		err = file_failed(f, s->io->op, s->span.pos, res);
	} else if (s->io->op == BLK_FLUSH) {
		err = file_sync(f);
	} else {
		file_span_advance(&rest, s->io->iov, res > 0 ? (uint64_t)res : 0);
		err = file_transfer(f, res > 0 ? f->fd : s->fd, s->io, rest);
	}
	file_changed(f, s->io);
	if (!s->io->err)
		s->io->err = err;
}

static void ring_drain(struct ring *r)
{
	struct io_uring_cqe *cqes[32];
	unsigned nr;

	while ((nr = io_uring_peek_batch_cqe(&r->uring, cqes, ARRAY_LEN(cqes)))) {
		for (unsigned i = 0; i < nr; i++) {
			unsigned idx = (unsigned)io_uring_cqe_get_data64(cqes[i]);

			slot_complete(&r->slots[idx], cqes[i]->res);
			r->free_slots[r->nr_free++] = idx;
		}
		io_uring_cq_advance(&r->uring, nr);
	}
}

/* Until at least nr_free slots are free. The kernel has our buffers, so there is no giving up. */
static void ring_wait(struct ring *r, unsigned nr_free)
{
	bool told = false;

	while (r->nr_free < nr_free) {
		int ret = io_uring_submit_and_wait(&r->uring, nr_free - r->nr_free);

		ring_drain(r);
		if (ret >= 0 || ret == -EINTR)
			continue;
		if (ret != -EAGAIN && ret != -EBUSY && !told) {
			log_error("io_uring: %s; trying on", strerror(-ret));
			told = true;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

/* An entry with its slot, filled in but for the operation. */
static struct io_uring_sqe *ring_entry(struct ring *r, struct blk_io *io, int fd, struct slot **slot)
{
	struct io_uring_sqe *sqe;
	unsigned idx;

	if (!r->nr_free)
		ring_wait(r, NR_SLOTS / 4);
	sqe = io_uring_get_sqe(&r->uring);
	assert(sqe);		/* as many entries as slots */
	idx = r->free_slots[--r->nr_free];
	*slot = &r->slots[idx];
	**slot = (struct slot){ .io = io, .fd = fd };
	return sqe;
}

static void start_part(struct ring *r, struct blk_io *io, int fd, const struct file_span *span, uint64_t len)
{
	struct io_uring_sqe *sqe;
	struct slot *slot;

	sqe = ring_entry(r, io, fd, &slot);
	slot->span = *span;
	slot->len = len;
	if (io->op == BLK_READ)
		io_uring_prep_readv(sqe, fd, &io->iov[span->idx], span->end - span->idx, span->pos);
	else
		io_uring_prep_writev2(sqe, fd, &io->iov[span->idx], span->end - span->idx, span->pos,
				      io->flags & BLK_FUA ? RWF_DSYNC : 0);
	io_uring_sqe_set_data64(sqe, (uint64_t)(slot - r->slots));
}

static void start_sync(struct ring *r, struct blk_io *io, int fd)
{
	struct io_uring_sqe *sqe;
	struct slot *slot;

	sqe = ring_entry(r, io, fd, &slot);
	slot->nr_changes = file_changes(blk_file_of(io->dev));
	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data64(sqe, (uint64_t)(slot - r->slots));
}

bool file_ring_start(struct blk_file *f, struct blk_io *io, int fd)
{
	struct ring *r = ring_get();
	struct file_span span;

	if (!r)
		return false;
	io->err = 0;
	if (io->op == BLK_FLUSH) {
		start_sync(r, io, f->fd);
		return true;
	}
	span = file_span_all(io);
	while (span.idx < io->nr_iov) {
		uint64_t len = 0;

		span.end = MIN(span.idx + (unsigned)IOV_MAX, io->nr_iov);
		for (unsigned i = span.idx; i < span.end; i++)
			len += io->iov[i].iov_len;
		if (len)
			start_part(r, io, fd, &span, len);
		span.pos += len;
		span.idx = span.end;
	}
	return true;
}

void file_ring_reap(void)
{
	if (my_ring && my_ring->is_there)
		ring_wait(my_ring, NR_SLOTS);
}

#endif
