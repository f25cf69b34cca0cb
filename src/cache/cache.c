/* cache.c: a cache's life, single blocks, forgetting. Promises C1..C6: cache.h. */
#include <stdlib.h>

#include "cache/cache_int.h"

static int shard_init(struct cache *c, struct shard *s)
{
	uint64_t nr_buckets = 1u << CACHE_RUN_SHIFT;

	while (nr_buckets < c->max_frames / CACHE_NR_SHARDS)
		nr_buckets *= 2;
	s->hash = calloc(nr_buckets, sizeof(*s->hash));
	s->hash_mask = nr_buckets - 1;
	os_mutex_init(&s->lock, RANK_SHARD);
	os_cond_init(&s->changed);
	for (unsigned i = 0; i < NR_DIRTY_CLASSES; i++)
		list_init(&s->dirty[i]);
	list_init(&s->writeback);
	return s->hash ? 0 : -ENOMEM;
}

static bool any_frame(const struct clock_node *node)
{
	const struct frame *f = container_of(node, struct frame, clock);

	assert(f->nr_pins == 0);
	return true;
}

/* Every frame goes, dirty ones unwritten: the owner flushed, or could not. */
static void shard_fini(struct shard *s)
{
	os_mutex_lock(&s->lock);
	for (;;) {
		struct clock_node *node = clock_victim(&s->clock, any_frame, UINT64_MAX);
		struct frame *f;

		if (!node)
			break;
		f = container_of(node, struct frame, clock);
		frame_clear_dirty(f);
		frame_unhash(s, f);
	}
	os_mutex_unlock(&s->lock);
	os_mutex_fini(&s->lock);
	os_cond_fini(&s->changed);
	free(s->hash);
}

static void settle_sizes(struct cache *c)
{
	const uint64_t bytes = MAX(c->opts.size_bytes, (uint64_t)CACHE_MIN_BYTES);
	const uint64_t per_frame = c->block_bytes + sizeof(struct frame) + sizeof(struct frame *);

	c->sects_per_block = c->block_bytes >> SECT_SHIFT;
	c->block_order = c->block_bytes > ALLOC_PAGE_BYTES ? log2_floor(c->block_bytes / ALLOC_PAGE_BYTES) : 0;
	c->max_frames = MAX(bytes / per_frame, (uint64_t)CACHE_NR_SHARDS);
	c->dirty_limit = MAX(c->max_frames * CACHE_DIRTY_PERCENT / 100, (uint64_t)1);
	c->background_limit = c->max_frames * CACHE_BACKGROUND_PERCENT / 100;
	c->optimal_blocks = blk_optimal_bytes(c->dev) / c->block_bytes;
	if (!c->opts.writeback_msec)
		c->opts.writeback_msec = CACHE_WRITEBACK_MSEC;
}

int cache_new(const struct cache_opts *o, struct cache **out)
{
	struct cache *c;
	int err = -ENOMEM;

	if (!is_pow2(o->block_bytes) || o->block_bytes < 1024 || o->block_bytes > 65536)
		return -EINVAL;
	c = aligned_alloc(64, ALIGN_UP(sizeof(*c), 64));
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	c->opts = *o;
	c->dev = o->dev;
	c->alloc = o->alloc;
	c->block_bytes = o->block_bytes;
	settle_sizes(c);
	os_mutex_init(&c->flusher_lock, RANK_FLUSHER);
	os_cond_init(&c->flusher_wake);
	os_cond_init(&c->flusher_done);
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++)
		if (shard_init(c, &c->shards[i]))
			goto fail;
	c->frame_slab = slab_new(o->alloc, "cache frame", sizeof(struct frame), 0);
	if (c->block_bytes < ALLOC_PAGE_BYTES)
		c->block_slab = slab_new(o->alloc, "cache block", c->block_bytes, 0);
	if (!c->frame_slab || (c->block_bytes < ALLOC_PAGE_BYTES && !c->block_slab))
		goto fail;
	err = o->background ? cache_flusher_start(c) : 0;
	if (err)
		goto fail;
	*out = c;
	return 0;
fail:
	c->opts.background = false;
	cache_free(c);
	return err;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	if (c->opts.background)
		cache_flusher_stop(c);
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++)
		if (c->shards[i].hash)
			shard_fini(&c->shards[i]);
	slab_free(c->block_slab);
	slab_free(c->frame_slab);
	os_mutex_fini(&c->flusher_lock);
	os_cond_fini(&c->flusher_wake);
	os_cond_fini(&c->flusher_done);
	free(c);
}

void cache_set_freezer(struct cache *c, void (*freeze)(void *arg), void (*thaw)(void *arg), void *arg)
{
	LOCK_GUARD(&c->flusher_lock);

	while (c->nr_passes > 0)
		os_cond_wait(&c->flusher_done, &c->flusher_lock);
	c->freeze = freeze;
	c->thaw = thaw;
	c->freeze_arg = arg;
}

uint32_t cache_block_bytes(const struct cache *c)
{
	return c->block_bytes;
}

/* Single blocks -------------------------------------------------------------------- */

/*
 * A BUSY frame, no lock held: read when it is new, checked as kind, ready. One that fails its
 * check goes, so that the next one reads it again, unless others hold it: for them it stays
 * what it was.
 */
static int fill_frame(struct cache *c, struct shard *s, struct frame *f, bool read, const struct cache_kind *kind,
		      const void *arg)
{
	int err = 0, read_err = 0;
	bool drop;

	if (read) {
		struct iovec iov = { f->buf.data, c->block_bytes };
		struct blk_io io = { .dev = c->dev, .op = BLK_READ, .sect = block_sect(c, f->buf.pblk), .iov = &iov, .nr_iov = 1 };

		err = read_err = blk_run(&io, 1);
		atomic_fetch_add_explicit(&c->nr_blocks_read, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->nr_read_batches, 1, memory_order_relaxed);
	}
	if (!err && kind)
		err = kind->check(c->opts.owner, &f->buf, arg);
	os_mutex_lock(&s->lock);
	if (!err)
		f->kind = kind;
	drop = err && f->nr_pins == 1 && !(f->flags & (FRAME_DIRTY | FRAME_WRITEBACK));
	frame_ready(s, f, drop ? err : read_err);
	if (err)
		frame_unpin(s, f);
	os_mutex_unlock(&s->lock);
	return err;
}

int cache_get(struct cache *c, pblk_t pblk, const struct cache_kind *kind, const void *arg, struct cache_buf **out)
{
	struct shard *s = shard_of(c, pblk);
	struct frame *f;
	bool read = false;
	int err;

	os_mutex_lock(&s->lock);
	f = frame_find(s, pblk);
	if (likely(f && !(f->flags & FRAME_BUSY) && (!kind || f->kind == kind))) {
		frame_pin(s, f);
		s->nr_hits++;
		os_mutex_unlock(&s->lock);
		*out = &f->buf;
		return 0;
	}
	if (f) {
		frame_pin(s, f);
		frame_wait(s, f, FRAME_BUSY);
		s->nr_hits++;
		if (f->flags & FRAME_UNHASHED || !kind || f->kind == kind) {
			/* Whoever read it met an error, or also checked it for us. */
			err = f->flags & FRAME_UNHASHED ? f->err : 0;
			if (err)
				frame_unpin(s, f);
			os_mutex_unlock(&s->lock);
			*out = err ? NULL : &f->buf;
			return err;
		}
		f->flags |= FRAME_BUSY;	/* there, but never looked at as this kind */
	} else {
		f = frame_new(c, s, pblk);
		if (!f) {
			os_mutex_unlock(&s->lock);
			*out = NULL;
			return -ENOMEM;
		}
		s->nr_misses++;
		read = true;
	}
	os_mutex_unlock(&s->lock);
	err = fill_frame(c, s, f, read, kind, arg);
	*out = err ? NULL : &f->buf;
	return err;
}

int cache_get_new(struct cache *c, pblk_t pblk, const struct cache_kind *kind, struct cache_buf **out)
{
	struct shard *s = shard_of(c, pblk);
	struct frame *f;

	os_mutex_lock(&s->lock);
	while ((f = frame_find(s, pblk))) {
		frame_pin(s, f);
		frame_wait(s, f, FRAME_BUSY | FRAME_INPLACE);
		if (!(f->flags & FRAME_UNHASHED))
			break;
		frame_unpin(s, f);	/* gone meanwhile: look again */
	}
	if (f)
		f->flags |= FRAME_BUSY;
	else
		f = frame_new(c, s, pblk);
	os_mutex_unlock(&s->lock);
	*out = NULL;
	if (!f)
		return -ENOMEM;
	memset(f->buf.data, 0, c->block_bytes);
	os_mutex_lock(&s->lock);
	f->kind = kind;
	frame_ready(s, f, 0);
	os_mutex_unlock(&s->lock);
	*out = &f->buf;
	return 0;
}

void cache_put(struct cache_buf *b)
{
	struct frame *f;
	struct shard *s;

	if (!b)
		return;
	f = frame_of(b);
	s = shard_of(f->cache, b->pblk);
	os_mutex_lock(&s->lock);
	frame_unpin(s, f);
	os_mutex_unlock(&s->lock);
}

void cache_mark_dirty(struct cache_buf *b)
{
	struct frame *f = frame_of(b);
	struct shard *s = shard_of(f->cache, b->pblk);

	os_mutex_lock(&s->lock);
	assert(f->nr_pins > 0);
	/* One that was forgotten while pinned has no place on the device any more. */
	if (!(f->flags & FRAME_UNHASHED))
		dirty_counted(f->cache, true, frame_set_dirty(s, f, true, cache_now_msec()));
	os_mutex_unlock(&s->lock);
	cache_dirtied(f->cache);
}

/* Forgetting ------------------------------------------------------------------------- */

bool forget_frame(struct cache *c, struct shard *s, struct frame *f)
{
	bool had_failed;

	frame_pin(s, f);
	frame_wait(s, f, FRAME_BUSY | FRAME_WRITEBACK);
	had_failed = f->flags & FRAME_WRITE_FAILED;
	if (had_failed) {
		f->flags &= ~FRAME_WRITE_FAILED;
		atomic_fetch_sub(&c->nr_failed, 1);
	}
	frame_clear_dirty(f);
	/* Our pin is the only one: drop it. Others keep a clean frame. */
	if (f->nr_pins == 1 && !(f->flags & FRAME_UNHASHED))
		frame_unhash(s, f);
	frame_unpin(s, f);
	return had_failed;
}

void cache_forget(struct cache *c, pblk_t pblk, uint64_t nr)
{
	bool had_failed = false;

	while (nr > 0) {
		const uint32_t run = shard_run(pblk, nr);
		struct shard *s = shard_of(c, pblk);

		os_mutex_lock(&s->lock);
		for (uint32_t i = 0; i < run; i++) {
			struct frame *f = frame_find(s, pblk + i);

			if (f)
				had_failed |= forget_frame(c, s, f);
		}
		os_mutex_unlock(&s->lock);
		pblk += run;
		nr -= run;
	}
	if (had_failed)
		cache_clear_error(c);
}

void cache_drop_clean(struct cache *c)
{
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++) {
		LOCK_GUARD(&c->shards[i].lock);

		/* The first round clears reference bits, the second takes what the first spared. */
		shard_evict(&c->shards[i], UINT64_MAX, UINT64_MAX);
	}
}

int cache_error(struct cache *c)
{
	LOCK_GUARD(&c->flusher_lock);

	return c->error;
}
