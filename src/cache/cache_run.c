/*
 * cache_run.c: many blocks at once.
 *
 * Frames are claimed shard by shard, 64 blocks to a lock. What is missing is entered as
 * BUSY and read in one batch afterwards; only then does the caller wait for frames that
 * others are reading or filling. In that order two callers never wait for each other.
 */
#include <stdlib.h>

#include "cache/cache_int.h"

enum { SMALL_RUN = 64, READAHEAD_BYTES = 4 << 20 };

/* Adjacent blocks become one request, adjacent memory one iovec entry. */
static unsigned build_reads(struct cache *c, struct frame **frames, unsigned nr, struct blk_io *ios, struct iovec *iov)
{
	unsigned nr_ios = 0;

	for (unsigned i = 0; i < nr; i++) {
		const bool joins = i > 0 && frames[i]->buf.pblk == frames[i - 1]->buf.pblk + 1;

		if (!joins)
			ios[nr_ios++] = (struct blk_io){ .dev = c->dev, .op = BLK_READ,
				.sect = block_sect(c, frames[i]->buf.pblk), .iov = &iov[i] };	/* room for all that may join */
		iov_append(&ios[nr_ios - 1], frames[i]->buf.data, c->block_bytes);
	}
	return nr_ios;
}

/* Reads the BUSY frames in one batch and marks them ready. No lock held. First error. */
static int read_frames(struct cache *c, struct frame **frames, unsigned nr)
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

/* Pins part blocks of one shard, locked. Returns how many; fewer: no memory. */
static uint32_t claim_part(struct cache *c, struct shard *s, pblk_t pblk, uint32_t part, struct cache_buf **bufs,
			   struct claim *cl)
{
	uint32_t nr_missing = 0, i;

	assert_held(&s->lock);
	for (i = 0; i < part; i++) {
		struct frame *f = frame_find(s, pblk + i);

		if (likely(f != NULL)) {
			frame_pin(s, f);
			cl->must_wait |= (f->flags & FRAME_BUSY) != 0;
		} else {
			f = frame_new(c, s, pblk + i);
			if (!f)
				break;
			cl->missing[cl->nr_missing++] = f;
			nr_missing++;
		}
		bufs[i] = &f->buf;
	}
	s->nr_misses += nr_missing;
	s->nr_hits += i - nr_missing;
	return i;
}

static uint32_t claim_run(struct cache *c, pblk_t pblk, uint32_t nr, struct cache_buf **bufs, struct claim *cl)
{
	uint32_t done = 0, part, taken = 0;

	for (part = 0; done < nr && taken == part; done += taken) {
		struct shard *s = shard_of(c, pblk + done);

		part = shard_run(pblk + done, nr - done);
		os_mutex_lock(&s->lock);
		taken = claim_part(c, s, pblk + done, part, bufs + done, cl);
		os_mutex_unlock(&s->lock);
	}
	return done;
}

/* After our own reads: the frames that others were reading or filling. */
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
		const int read_err = read_frames(c, cl->missing, cl->nr_missing);

		err = err ? err : read_err;
	}
	if (!err && cl->must_wait)
		err = wait_ready(c, bufs, nr);
	if (err)
		cache_put_many(bufs, nr);
	return err;
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
		const uint32_t taken = claim_run(c, runs[i].pblk, runs[i].nr, bufs + claimed, &cl);

		err = taken < runs[i].nr ? -ENOMEM : 0;
		claimed += taken;
	}
	err = finish_claim(c, &cl, bufs, claimed, err);
	if (cl.missing != missing_small)
		free(cl.missing);
	return err;
}

/* Of nr blocks the ones that are not there, pinned and BUSY; what others read or have is left to them. */
static unsigned claim_missing(struct cache *c, pblk_t pblk, uint32_t nr, struct frame **missing)
{
	unsigned nr_missing = 0;
	uint32_t done = 0;

	while (done < nr) {
		const uint32_t part = shard_run(pblk + done, nr - done);
		struct shard *s = shard_of(c, pblk + done);
		LOCK_GUARD(&s->lock);

		for (uint32_t i = 0; i < part; i++) {
			struct frame *f = frame_find(s, pblk + done + i) ? NULL : frame_new(c, s, pblk + done + i);

			if (f)
				missing[nr_missing++] = f;
		}
		done += part;
	}
	return nr_missing;
}

void cache_readahead(struct cache *c, pblk_t pblk, uint32_t nr)
{
	const uint64_t most = MIN((uint64_t)READAHEAD_BYTES / c->block_bytes, c->max_frames / 4);
	const uint64_t nr_blocks = blk_nr_sects(c->dev) / c->sects_per_block;
	struct frame *missing_small[SMALL_RUN], **missing = missing_small;
	unsigned nr_missing;

	if (pblk >= nr_blocks)
		return;
	nr = (uint32_t)MIN((uint64_t)nr, most);
	nr = (uint32_t)MIN((uint64_t)nr, nr_blocks - pblk);
	if (nr > SMALL_RUN)
		missing = malloc(nr * sizeof(*missing));
	if (!missing)
		return;
	nr_missing = claim_missing(c, pblk, nr, missing);
	if (nr_missing > 0)
		(void)read_frames(c, missing, nr_missing);
	for (unsigned i = 0; i < nr_missing; i++)
		cache_put(&missing[i]->buf);
	if (missing != missing_small)
		free(missing);
}
