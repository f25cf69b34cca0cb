/*
 * cache_run.c: many blocks at once.
 *
 * Frames are claimed shard by shard, 64 blocks to a lock. What is missing is entered as
 * BUSY and read in one batch afterwards; only then does the caller wait for frames that
 * others are reading. In that order two callers never wait for each other.
 */
#include <stdlib.h>

#include "cache/cache_int.h"

enum { SMALL_RUN = 64 };

/* Adjacent blocks become one request, adjacent memory one iovec entry. */
static unsigned build_reads(struct cache *c, struct frame **frames, unsigned nr, struct blk_io *ios, struct iovec *iov)
{
	unsigned nr_ios = 0;

	for (unsigned i = 0; i < nr; i++) {
		const bool joins = i > 0 && frames[i]->buf.pblk == frames[i - 1]->buf.pblk + 1;

		if (!joins)
			ios[nr_ios++] = (struct blk_io){ .dev = c->dev, .op = BLK_READ,
				.sect = block_sect(c, frames[i]->buf.pblk), .iov = &iov[i] };
		iov[i] = (struct iovec){ frames[i]->buf.data, c->block_bytes };
		ios[nr_ios - 1].nr_iov++;
	}
	return nr_ios;
}

int cache_read_frames(struct cache *c, struct frame **frames, unsigned nr)
{
	struct iovec iov_small[SMALL_RUN], *iov = iov_small;
	struct blk_io ios_small[SMALL_RUN], *ios = ios_small;
	unsigned nr_ios, at = 0;
	int first_err = 0;

	if (nr > SMALL_RUN) {
		iov = malloc(nr * sizeof(*iov));
		ios = malloc(nr * sizeof(*ios));
	}
	if (iov && ios) {
		nr_ios = build_reads(c, frames, nr, ios, iov);
		blk_run(ios, nr_ios);
	} else {
		nr_ios = 0;
		first_err = -ENOMEM;
	}
	for (unsigned i = 0; i < nr; i++) {
		struct shard *s = shard_of(c, frames[i]->buf.pblk);
		int err = -ENOMEM;

		if (nr_ios > 0) {
			if (i > 0 && frames[i]->buf.pblk != frames[i - 1]->buf.pblk + 1)
				at++;
			err = ios[at].err;
		}
		first_err = first_err ? first_err : err;
		os_mutex_lock(&s->lock);
		frame_ready(s, frames[i], err);
		os_mutex_unlock(&s->lock);
	}
	atomic_fetch_add_explicit(&c->nr_blocks_read, nr, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->nr_read_batches, 1, memory_order_relaxed);
	if (iov != iov_small)
		free(iov);
	if (ios != ios_small)
		free(ios);
	return first_err;
}

/* What a claim found beside the frames themselves. */
struct claim {
	struct frame **missing;	/* ours to read */
	unsigned nr_missing;
	bool must_wait;		/* some are busy in another thread's hands */
};

static int claim_run(struct cache *c, pblk_t pblk, uint32_t nr, struct cache_buf **bufs, struct claim *cl)
{
	uint32_t done = 0;

	while (done < nr) {
		const uint32_t part = shard_run(pblk + done, nr - done);
		struct shard *s = shard_of(c, pblk + done);
		uint32_t nr_missing = 0;

		os_mutex_lock(&s->lock);
		for (uint32_t i = 0; i < part; i++) {
			struct frame *f = frame_find(s, pblk + done + i);

			if (likely(f != NULL)) {
				frame_pin(s, f);
				cl->must_wait |= f->flags & FRAME_BUSY;
			} else {
				f = frame_new(c, s, pblk + done + i);
				if (!f) {
					os_mutex_unlock(&s->lock);
					/* The caller undoes what is claimed so far. */
					bufs[done + i] = NULL;
					return -ENOMEM;
				}
				cl->missing[cl->nr_missing++] = f;
				nr_missing++;
			}
			bufs[done + i] = &f->buf;
		}
		s->nr_misses += nr_missing;
		s->nr_hits += part - nr_missing;
		os_mutex_unlock(&s->lock);
		done += part;
	}
	return 0;
}

/* After our own reads: the frames that others were reading. */
static int wait_ready(struct cache *c, struct cache_buf **bufs, unsigned nr)
{
	int err = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct frame *f = frame_of(bufs[i]);
		struct shard *s = shard_of(c, bufs[i]->pblk);

		os_mutex_lock(&s->lock);
		frame_wait(s, f, FRAME_BUSY);
		if (f->flags & FRAME_UNHASHED && f->err)
			err = err ? err : f->err;
		os_mutex_unlock(&s->lock);
	}
	return err;
}

void cache_put_many(struct cache_buf **bufs, unsigned nr)
{
	unsigned i = 0;

	while (i < nr) {
		struct shard *s = shard_of(frame_of(bufs[i])->cache, bufs[i]->pblk);
		struct cache *c = frame_of(bufs[i])->cache;

		os_mutex_lock(&s->lock);
		do
			frame_unpin(s, frame_of(bufs[i]));
		while (++i < nr && shard_of(c, bufs[i]->pblk) == s);
		os_mutex_unlock(&s->lock);
	}
}

/* What is claimed is read when someone has to, and waited for. On error nothing stays pinned. */
static int finish_claim(struct cache *c, struct claim *cl, struct cache_buf **bufs, unsigned nr, int err)
{
	if (cl->nr_missing > 0) {
		const int read_err = cache_read_frames(c, cl->missing, cl->nr_missing);

		err = err ? err : read_err;
	}
	if (!err && cl->must_wait)
		err = wait_ready(c, bufs, nr);
	if (err)
		cache_put_many(bufs, nr);
	return err;
}

static uint32_t count_claimed(struct cache_buf **bufs, uint32_t nr)
{
	uint32_t n = 0;

	while (n < nr && bufs[n])
		n++;
	return n;
}

int cache_get_runs(struct cache *c, const struct cache_run *runs, unsigned nr_runs, struct cache_buf **bufs)
{
	struct frame *missing_small[SMALL_RUN];
	struct claim cl = { .missing = missing_small };
	unsigned nr = 0, claimed = 0;
	int err = 0;

	for (unsigned i = 0; i < nr_runs; i++)
		nr += runs[i].nr;
	if (nr > SMALL_RUN) {
		cl.missing = malloc(nr * sizeof(*cl.missing));
		if (!cl.missing)
			return -ENOMEM;
	}
	for (unsigned i = 0; !err && i < nr_runs; i++) {
		err = claim_run(c, runs[i].pblk, runs[i].nr, bufs + claimed, &cl);
		claimed += err ? count_claimed(bufs + claimed, runs[i].nr) : runs[i].nr;
	}
	err = finish_claim(c, &cl, bufs, claimed, err);
	if (cl.missing != missing_small)
		free(cl.missing);
	return err;
}

void cache_readahead(struct cache *c, pblk_t pblk, uint32_t nr)
{
	struct cache_buf *bufs[SMALL_RUN];

	while (nr > 0) {
		const struct cache_run run = { pblk, MIN(nr, (uint32_t)SMALL_RUN) };

		if (cache_get_runs(c, &run, 1, bufs) == 0)
			cache_put_many(bufs, run.nr);
		pblk += run.nr;
		nr -= run.nr;
	}
}

/* Writing ----------------------------------------------------------------------------- */

/* Frames that need no reading are taken at once: the caller, or a memset here, fills them. */
static int begin_part(struct cache *c, struct shard *s, pblk_t pblk, uint32_t nr, enum cache_write_mode mode,
		      struct cache_buf **bufs)
{
	assert_held(&s->lock);
	for (uint32_t i = 0; i < nr; i++) {
		struct frame *f;

		while ((f = frame_find(s, pblk + i))) {
			frame_pin(s, f);
			frame_wait(s, f, FRAME_BUSY | FRAME_WRITEBACK);
			if (!(f->flags & FRAME_UNHASHED))
				break;
			frame_unpin(s, f);
		}
		if (f) {
			s->nr_hits++;
		} else {
			f = frame_new(c, s, pblk + i);
			if (!f) {
				bufs[i] = NULL;
				return -ENOMEM;
			}
			s->nr_misses++;
			f->flags &= ~FRAME_BUSY;
		}
		f->kind = NULL;
		f->nr_writers++;
		bufs[i] = &f->buf;
		if (mode == CACHE_FRESH)
			memset(f->buf.data, 0, c->block_bytes);
	}
	return 0;
}

static void undo_begin(struct cache *c, struct cache_buf **bufs, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		struct shard *s = shard_of(c, bufs[i]->pblk);

		os_mutex_lock(&s->lock);
		frame_of(bufs[i])->nr_writers--;
		shard_wake(s);
		frame_unpin(s, frame_of(bufs[i]));
		os_mutex_unlock(&s->lock);
	}
}

/* Part of each block will stay: read first, then the write-back in flight is waited for. */
static int begin_update(struct cache *c, pblk_t pblk, uint32_t nr, struct cache_buf **bufs)
{
	const struct cache_run run = { pblk, nr };
	const int err = cache_get_runs(c, &run, 1, bufs);

	if (err)
		return err;
	for (uint32_t i = 0; i < nr; i++) {
		struct shard *s = shard_of(c, pblk + i);
		struct frame *f = frame_of(bufs[i]);

		os_mutex_lock(&s->lock);
		frame_wait(s, f, FRAME_WRITEBACK);
		f->kind = NULL;
		f->nr_writers++;
		os_mutex_unlock(&s->lock);
	}
	return 0;
}

int cache_write_begin(struct cache *c, pblk_t pblk, uint32_t nr, enum cache_write_mode mode, struct cache_buf **bufs)
{
	uint32_t done = 0;

	if (mode == CACHE_UPDATE)
		return begin_update(c, pblk, nr, bufs);
	while (done < nr) {
		const uint32_t part = shard_run(pblk + done, nr - done);
		struct shard *s = shard_of(c, pblk + done);
		int err;

		os_mutex_lock(&s->lock);
		err = begin_part(c, s, pblk + done, part, mode, bufs + done);
		os_mutex_unlock(&s->lock);
		if (err) {
			undo_begin(c, bufs, done + count_claimed(bufs + done, part));
			return err;
		}
		done += part;
	}
	return 0;
}

void cache_write_end(struct cache *c, struct cache_buf **bufs, unsigned nr)
{
	unsigned i = 0;

	while (i < nr) {
		struct shard *s = shard_of(c, bufs[i]->pblk);

		os_mutex_lock(&s->lock);
		do {
			struct frame *f = frame_of(bufs[i]);

			f->nr_writers--;
			if (likely(!(f->flags & FRAME_UNHASHED)))
				frame_set_dirty(s, f, false);
			frame_unpin(s, f);
		} while (++i < nr && shard_of(c, bufs[i]->pblk) == s);
		shard_wake(s);
		os_mutex_unlock(&s->lock);
	}
	cache_dirtied(c);
}
