/*
 * cache_write.c: file data on its way into frames.
 *
 * Between begin and end a frame has a writer and is not written out. A new frame whose old
 * bytes nobody needs is not read but stays BUSY until the end: readers wait for the writer,
 * a second writer does not.
 */
#include "cache/cache_int.h"

/* Pinned, with its bytes at rest: not being read, not under an in-place write. NULL: not there. */
static struct frame *pin_existing(struct shard *s, pblk_t pblk)
{
	struct frame *f;

	while ((f = frame_find(s, pblk))) {
		frame_pin(s, f);
		while (f->flags & FRAME_INPLACE || (f->flags & FRAME_BUSY && f->nr_writers == 0))
			shard_wait(s);
		if (!(f->flags & FRAME_UNHASHED))
			return f;
		frame_unpin(s, f);	/* gone meanwhile: look again */
	}
	return NULL;
}

/* nr blocks of one shard, locked. Returns how many were taken; fewer than nr: no memory. */
static uint32_t begin_part(struct cache *c, struct shard *s, pblk_t pblk, uint32_t nr, struct cache_buf **bufs)
{
	uint32_t nr_missing = 0, i;

	assert_held(&s->lock);
	for (i = 0; i < nr; i++) {
		struct frame *f = pin_existing(s, pblk + i);

		if (!f) {
			f = frame_new(c, s, pblk + i);
			if (!f)
				break;
			nr_missing++;
		}
		f->kind = NULL;
		f->nr_writers++;
		bufs[i] = &f->buf;
	}
	s->nr_misses += nr_missing;
	s->nr_hits += i - nr_missing;
	return i;
}

/* As if it had never begun: new frames vanish, with what was in their memory before. */
static void undo_begin(struct cache *c, struct cache_buf **bufs, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		struct frame *f = frame_of(bufs[i]);
		struct shard *s = shard_of(c, bufs[i]->pblk);

		os_mutex_lock(&s->lock);
		f->nr_writers--;
		if (f->flags & FRAME_BUSY && f->nr_writers == 0)
			frame_ready(s, f, -ENOMEM);
		shard_wake(s);
		frame_unpin(s, f);
		os_mutex_unlock(&s->lock);
	}
}

/* Part of each block will stay: read first, then an in-place write under way is waited for. */
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
		frame_wait(s, f, FRAME_INPLACE);
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
		uint32_t taken;

		os_mutex_lock(&s->lock);
		taken = begin_part(c, s, pblk + done, part, bufs + done);
		os_mutex_unlock(&s->lock);
		done += taken;
		if (taken < part) {
			undo_begin(c, bufs, done);
			return -ENOMEM;
		}
	}
	if (mode == CACHE_FRESH)
		for (uint32_t i = 0; i < nr; i++)
			memset(bufs[i]->data, 0, c->block_bytes);
	return 0;
}

/* Frames of one shard from bufs[0] on, at most nr; returns how many. */
static unsigned end_part(struct cache *c, struct cache_buf **bufs, unsigned nr, uint32_t now_msec)
{
	struct shard *s = shard_of(c, bufs[0]->pblk);
	unsigned nr_dirtied = 0, i = 0;
	LOCK_GUARD(&s->lock);

	do {
		struct frame *f = frame_of(bufs[i]);

		assert(f->nr_writers > 0);
		f->nr_writers--;
		if (likely(!(f->flags & FRAME_UNHASHED))) {
			f->flags &= ~FRAME_BUSY;
			nr_dirtied += frame_set_dirty(s, f, false, now_msec);
		}
		frame_unpin(s, f);
	} while (++i < nr && shard_of(c, bufs[i]->pblk) == s);
	dirty_counted(c, false, nr_dirtied);
	shard_wake(s);
	return i;
}

void cache_write_end(struct cache *c, struct cache_buf **bufs, unsigned nr)
{
	const uint32_t now_msec = cache_now_msec();

	for (unsigned i = 0; i < nr;)
		i += end_part(c, bufs + i, nr - i, now_msec);
	cache_dirtied(c);
}
