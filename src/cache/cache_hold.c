/*
 * cache_hold.c: frames that the journal keeps from going home (C7), and flushes of exactly the
 * blocks that it names.
 */
#include "cache/cache_int.h"

void cache_buf_hold(struct cache_buf *b)
{
	struct frame *f = frame_of(b);
	struct shard *s = shard_of(f->cache, b->pblk);
	LOCK_GUARD(&s->lock);

	assert(f->nr_pins > 0);
	frame_clear_dirty(f);
	frame_pin(s, f);
	f->nr_holds++;
}

void cache_buf_release(struct cache_buf *b, bool dirty)
{
	struct frame *f = frame_of(b);
	struct cache *c = f->cache;
	struct shard *s = shard_of(c, b->pblk);

	os_mutex_lock(&s->lock);
	assert(f->nr_holds > 0);
	f->nr_holds--;
	if (dirty && !(f->flags & FRAME_UNHASHED))
		dirty_counted(c, true, frame_set_dirty(s, f, true, cache_now_msec()));
	frame_unpin(s, f);
	os_mutex_unlock(&s->lock);
	if (dirty)
		cache_dirtied(c);
}

/* Does memory have what its home has not? A failed write keeps its frame dirty, so it is covered. */
static bool is_unwritten_meta(const struct frame *f)
{
	return f->nr_holds > 0 || (f->flags & FRAME_META && f->flags & (FRAME_DIRTY | FRAME_WRITEBACK));
}

struct cache_buf *cache_hold_unwritten(struct cache *c, pblk_t pblk)
{
	struct shard *s = shard_of(c, pblk);
	struct frame *f;
	LOCK_GUARD(&s->lock);

	f = frame_find(s, pblk);
	if (!f)
		return NULL;
	if (!is_unwritten_meta(f)) {
		forget_frame(c, s, f);
		return NULL;
	}
	frame_clear_dirty(f);
	frame_pin(s, f);
	f->nr_holds++;
	return &f->buf;
}

int cache_flush_runs(struct cache *c, const struct cache_run *runs, size_t nr_runs)
{
	struct snapshot sn = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < nr_runs; i++)
		err = snapshot_range(c, &sn, runs[i].pblk, runs[i].nr);
	if (!err)
		return cache_flush_snapshot(c, &sn);
	snapshot_fini(&sn);
	return err;
}

/* Moves the held ones to the front; returns how many there are. */
static size_t keep_held(struct cache *c, pblk_t *pblks, size_t nr)
{
	size_t nr_held = 0;

	for (size_t i = 0; i < nr; i++) {
		struct shard *s = shard_of(c, pblks[i]);
		const struct frame *f;
		LOCK_GUARD(&s->lock);

		f = frame_find(s, pblks[i]);
		if (f && f->nr_holds > 0)
			pblks[nr_held++] = pblks[i];
	}
	return nr_held;
}

int cache_flush_blocks(struct cache *c, pblk_t *pblks, size_t nr, size_t *nr_held)
{
	struct snapshot sn = { 0 };
	int err = 0;

	*nr_held = 0;
	for (size_t i = 0; !err && i < nr; i++)
		err = snapshot_range(c, &sn, pblks[i], 1);
	if (err)
		snapshot_fini(&sn);
	else
		err = cache_flush_snapshot(c, &sn);
	/* Looked at after the writes: one that was held meanwhile may have been passed over. */
	if (!err)
		*nr_held = keep_held(c, pblks, nr);
	return err;
}
