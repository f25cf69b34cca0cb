/* cache_frame.c: frames: finding, making, evicting. Everything here runs under the shard's lock. */
#include <time.h>

#include "cache/cache_int.h"

uint32_t cache_now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

/* Neighbours in a run lie in neighbouring buckets: one cache line serves eight of them. */
static struct frame **bucket_of(struct shard *s, pblk_t pblk)
{
	const uint64_t low = pblk & ((1u << CACHE_RUN_SHIFT) - 1);

	return &s->hash[(run_hash(pblk) >> 36 << CACHE_RUN_SHIFT | low) & s->hash_mask];
}

struct frame *frame_find(struct shard *s, pblk_t pblk)
{
	struct frame *f = *bucket_of(s, pblk);

	while (f && f->buf.pblk != pblk)
		f = f->hash_next;
	return f;
}

static void hash_remove(struct shard *s, struct frame *f)
{
	struct frame **at = bucket_of(s, f->buf.pblk);

	while (*at != f)
		at = &(*at)->hash_next;
	*at = f->hash_next;
	f->hash_next = NULL;
}

void *block_alloc(struct cache *c)
{
	return c->block_slab ? slab_alloc(c->block_slab) : alloc_pages(c->alloc, c->block_order);
}

void block_free(struct cache *c, void *data)
{
	if (c->block_slab)
		slab_put(c->block_slab, data);
	else
		alloc_pages_free(c->alloc, data, c->block_order);
}

static void frame_free(struct frame *f)
{
	struct cache *c = f->cache;

	assert(f->nr_pins == 0 && !(f->flags & (FRAME_DIRTY | FRAME_WRITEBACK)));
	block_free(c, f->buf.data);
	slab_put(c->frame_slab, f);
	atomic_fetch_sub_explicit(&c->nr_frames, 1, memory_order_relaxed);
}

/* C2 */
static bool may_evict(const struct clock_node *node)
{
	const struct frame *f = container_of(node, struct frame, clock);

	return f->nr_pins == 0 && !(f->flags & (FRAME_DIRTY | FRAME_WRITEBACK | FRAME_BUSY));
}

/* A clean frame out of hash and ring, ready to be used again; NULL when every one is needed. */
static struct frame *take_victim(struct shard *s, uint64_t max_steps)
{
	struct clock_node *node = clock_victim(&s->clock, may_evict, max_steps);
	struct frame *f;

	if (!node)
		return NULL;
	f = container_of(node, struct frame, clock);
	hash_remove(s, f);
	clock_remove(&s->clock, &f->clock);
	s->nr_evictions++;
	return f;
}

uint64_t shard_evict(struct shard *s, uint64_t nr, uint64_t max_steps)
{
	uint64_t done = 0;
	struct frame *f;

	assert_held(&s->lock);
	while (done < nr && (f = take_victim(s, max_steps))) {
		frame_free(f);
		done++;
	}
	return done;
}

static struct frame *frame_fresh(struct cache *c)
{
	struct frame *f = slab_alloc(c->frame_slab);

	if (!f)
		return NULL;
	f->buf.data = block_alloc(c);
	if (!f->buf.data) {
		slab_put(c->frame_slab, f);
		return NULL;
	}
	f->cache = c;
	list_init(&f->dirty_link);
	list_init(&f->writeback_link);
	atomic_fetch_add_explicit(&c->nr_frames, 1, memory_order_relaxed);
	return f;
}

static uint64_t nr_frames(const struct cache *c)
{
	return atomic_load_explicit(&c->nr_frames, memory_order_relaxed);
}

/* Below its size the cache grows, at its size it reuses; when nothing can go it grows all the same (C6). */
static struct frame *frame_take(struct cache *c, struct shard *s)
{
	struct frame *f = NULL;

	if (nr_frames(c) >= c->max_frames)
		f = take_victim(s, CACHE_HAND_STEPS);
	if (!f)
		f = frame_fresh(c);
	return f ? f : take_victim(s, UINT64_MAX);	/* no memory: search harder */
}

struct frame *frame_new(struct cache *c, struct shard *s, pblk_t pblk)
{
	struct frame **bucket = bucket_of(s, pblk), *f;

	assert_held(&s->lock);
	f = frame_take(c, s);
	if (!f)
		return NULL;
	f->buf.pblk = pblk;
	f->kind = NULL;
	f->nr_pins = 1;
	f->nr_writers = 0;
	f->nr_holds = 0;
	atomic_store_explicit(&f->buf.owner, 0, memory_order_relaxed);
	f->flags = FRAME_BUSY;
	f->err = 0;
	f->hash_next = *bucket;
	*bucket = f;
	clock_insert(&s->clock, &f->clock);
	s->nr_pinned++;
	return f;
}

void frame_pin(struct shard *s, struct frame *f)
{
	if (f->nr_pins++ == 0)
		s->nr_pinned++;
	clock_touch(&f->clock);
}

void frame_unpin(struct shard *s, struct frame *f)
{
	struct cache *c = f->cache;

	assert(f->nr_pins > 0);
	if (--f->nr_pins > 0)
		return;
	s->nr_pinned--;
	if (f->flags & FRAME_UNHASHED)
		frame_free(f);
	/* What the cache grew beyond its size (C6) it gives back as soon as frames can go again. */
	if (unlikely(nr_frames(c) > c->max_frames))
		shard_evict(s, 1, CACHE_HAND_STEPS);
}

void frame_unhash(struct shard *s, struct frame *f)
{
	assert_held(&s->lock);
	assert(!(f->flags & (FRAME_DIRTY | FRAME_WRITEBACK | FRAME_UNHASHED)));
	hash_remove(s, f);
	clock_remove(&s->clock, &f->clock);
	f->flags |= FRAME_UNHASHED;
	if (f->nr_pins == 0)
		frame_free(f);
}

bool frame_set_dirty(struct shard *s, struct frame *f, bool meta, uint32_t now_msec)
{
	assert_held(&s->lock);
	if (f->nr_holds > 0)
		return false;		/* C7: the last release does it */
	if (f->flags & FRAME_DIRTY) {
		if (!meta == !(f->flags & FRAME_META))
			return false;
		frame_clear_dirty(f);	/* the block changed its use */
	}
	f->flags |= FRAME_DIRTY;
	f->flags = meta ? f->flags | FRAME_META : f->flags & ~FRAME_META;
	f->dirtied_msec = now_msec;
	list_add_tail(&s->dirty[meta ? DIRTY_META : DIRTY_DATA], &f->dirty_link);
	return true;
}

void dirty_counted(struct cache *c, bool meta, unsigned nr)
{
	if (nr)
		atomic_fetch_add_explicit(&c->nr_dirty[meta ? DIRTY_META : DIRTY_DATA], nr, memory_order_relaxed);
}

void frame_clear_dirty(struct frame *f)
{
	if (!(f->flags & FRAME_DIRTY))
		return;
	list_del(&f->dirty_link);
	atomic_fetch_sub_explicit(&f->cache->nr_dirty[f->flags & FRAME_META ? DIRTY_META : DIRTY_DATA], 1,
				  memory_order_relaxed);
	f->flags &= ~FRAME_DIRTY;
}

void frame_wait(struct shard *s, struct frame *f, unsigned flags)
{
	assert(f->nr_pins > 0);
	while (f->flags & flags)
		shard_wait(s);
}

void shard_wait(struct shard *s)
{
	s->nr_waiting++;
	os_cond_wait(&s->changed, &s->lock);
	s->nr_waiting--;
}

void shard_wake(struct shard *s)
{
	if (s->nr_waiting)
		os_cond_broadcast(&s->changed);
}

void frame_ready(struct shard *s, struct frame *f, int err)
{
	assert_held(&s->lock);
	f->flags &= ~FRAME_BUSY;
	if (err) {
		f->err = err;
		frame_unhash(s, f);
	}
	shard_wake(s);
}
