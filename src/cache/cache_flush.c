/*
 * cache_flush.c: write-back.
 *
 * A flush takes a snapshot of the numbers of dirty blocks, sorts it, and goes through it in
 * batches: claim the batch's frames (they become WRITEBACK), write them with one blk_run,
 * release them. Data goes out from the frames themselves, metadata from copies made while no
 * handle is open (C3). Nobody waits for anything while frames are claimed and not yet under
 * way, so flushes that meet do not wait for each other in a circle.
 */
#include <stdlib.h>

#include "cache/cache_int.h"

/* One dirty block: its number, and whether it is metadata. Sorts by block. */
typedef uint64_t dirty_key;

static dirty_key key_of(pblk_t pblk, bool meta)
{
	return pblk << 1 | meta;
}

static pblk_t key_pblk(dirty_key k)
{
	return k >> 1;
}

static bool key_is_meta(dirty_key k)
{
	return k & 1;
}

struct snapshot {
	dirty_key *keys;
	size_t nr, cap;
	dirty_key small[32];
};

static void snapshot_init(struct snapshot *sn)
{
	sn->keys = sn->small;
	sn->nr = 0;
	sn->cap = ARRAY_LEN(sn->small);
}

static void snapshot_fini(struct snapshot *sn)
{
	if (sn->keys != sn->small)
		free(sn->keys);
}

static int snapshot_add(struct snapshot *sn, dirty_key k)
{
	dirty_key *grown;

	if (sn->nr == sn->cap) {
		grown = malloc(2 * sn->cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		memcpy(grown, sn->keys, sn->nr * sizeof(*grown));
		if (sn->keys != sn->small)
			free(sn->keys);
		sn->keys = grown;
		sn->cap *= 2;
	}
	sn->keys[sn->nr++] = k;
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const dirty_key x = *(const dirty_key *)a, y = *(const dirty_key *)b;

	return x < y ? -1 : x > y;
}

static void snapshot_sort(struct snapshot *sn)
{
	qsort(sn->keys, sn->nr, sizeof(sn->keys[0]), compare_keys);
}

/* Blocks of [from, to) dirty since min_age_msec or longer. Under write-back counts: it has to be waited for. */
static int snapshot_class(struct cache *c, struct snapshot *sn, unsigned class, pblk_t from, pblk_t to,
			  uint32_t min_age_msec)
{
	const uint32_t now = cache_now_msec();
	int err = 0;

	for (unsigned i = 0; !err && i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		struct frame *f;
		LOCK_GUARD(&s->lock);

		list_for_each(f, &s->dirty[class], dirty_link) {
			if (min_age_msec && now - f->dirtied_msec < min_age_msec)
				break;	/* oldest first: the rest is younger */
			if (f->buf.pblk >= from && f->buf.pblk < to)
				err = snapshot_add(sn, key_of(f->buf.pblk, class == DIRTY_META));
			if (err)
				break;
		}
	}
	return err;
}

/* The same for a range small enough to look at each block; also finds what is only under write-back. */
static int snapshot_range(struct cache *c, struct snapshot *sn, pblk_t pblk, uint64_t nr)
{
	int err = 0;

	while (!err && nr > 0) {
		const uint32_t run = shard_run(pblk, nr);
		struct shard *s = shard_of(c, pblk);
		LOCK_GUARD(&s->lock);

		for (uint32_t i = 0; !err && i < run; i++) {
			const struct frame *f = frame_find(s, pblk + i);

			if (f && f->flags & (FRAME_DIRTY | FRAME_WRITEBACK))
				err = snapshot_add(sn, key_of(pblk + i, f->flags & FRAME_META));
		}
		pblk += run;
		nr -= run;
	}
	return err;
}

/* Frames under write-back that are no longer dirty are on no list: a full flush must wait for them too. */
static int snapshot_writeback(struct cache *c, struct snapshot *sn)
{
	int err = 0;

	for (unsigned i = 0; !err && i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		struct clock_node *node;
		LOCK_GUARD(&s->lock);

		if (!s->nr_writeback)
			continue;
		node = s->clock.hand;
		for (uint64_t n = 0; !err && n < s->clock.nr_nodes; n++, node = node->next) {
			const struct frame *f = container_of(node, struct frame, clock);

			if ((f->flags & (FRAME_WRITEBACK | FRAME_DIRTY)) == FRAME_WRITEBACK)
				err = snapshot_add(sn, key_of(f->buf.pblk, f->flags & FRAME_META));
		}
	}
	return err;
}

/* Batches --------------------------------------------------------------------------------- */

struct batch {
	struct cache *c;
	size_t cap;
	struct frame **frames;		/* claimed, in block order */
	void **data;			/* what is written: the frame's bytes, or a copy */
	struct iovec *iov;
	struct blk_io *ios;
	size_t nr;
};

static void batch_fini(struct batch *b)
{
	free(b->frames);
	free(b->data);
	free(b->iov);
	free(b->ios);
}

static int batch_init(struct batch *b, struct cache *c, size_t nr)
{
	const size_t cap = MIN(nr, (size_t)CACHE_BATCH_BYTES / c->block_bytes);

	*b = (struct batch){
		.c = c,
		.cap = cap,
		.frames = malloc(cap * sizeof(*b->frames)),
		.data = malloc(cap * sizeof(*b->data)),
		.iov = malloc(cap * sizeof(*b->iov)),
		.ios = malloc(cap * sizeof(*b->ios)),
	};
	if (b->frames && b->data && b->iov && b->ios)
		return 0;
	batch_fini(b);
	return -ENOMEM;
}

/* How many keys the next batch takes: a whole number of stripes when more of the run follows. */
static size_t batch_length(const struct batch *b, const dirty_key *keys, size_t nr)
{
	const uint32_t stripe = b->c->optimal_blocks;
	size_t n = MIN(nr, b->cap);

	if (n == nr || stripe < 2 || key_pblk(keys[n]) != key_pblk(keys[n - 1]) + 1)
		return n;
	for (size_t cut = n; cut > 1 && n - cut < stripe; cut--) {
		if (key_pblk(keys[cut - 1]) + 1 != key_pblk(keys[cut]))
			break;
		if (key_pblk(keys[cut]) % stripe == 0)
			return cut;
	}
	return n;
}

/* May this frame be written now? Not while a writer is in it, or another flush has it. */
static bool may_claim(const struct frame *f)
{
	return f && f->flags & FRAME_DIRTY && !(f->flags & FRAME_WRITEBACK) && f->nr_writers == 0;
}

static bool claim_frame(struct batch *b, struct shard *s, struct frame *f)
{
	void *data = f->buf.data;

	if (f->flags & FRAME_META) {
		data = block_alloc(b->c);
		if (!data)
			return false;
		memcpy(data, f->buf.data, b->c->block_bytes);
	}
	frame_clear_dirty(f);
	f->flags |= FRAME_WRITEBACK;
	s->nr_writeback++;
	frame_pin(s, f);
	b->frames[b->nr] = f;
	b->data[b->nr++] = data;
	return true;
}

/* Claims what it can of keys; the rest goes to left. */
static int batch_claim(struct batch *b, const dirty_key *keys, size_t nr, struct snapshot *left)
{
	bool meta = false;
	int err = 0;
	size_t i = 0;

	for (size_t k = 0; k < nr; k++)
		meta |= key_is_meta(keys[k]);
	meta = meta && b->c->freeze;
	if (meta)
		b->c->freeze(b->c->freeze_arg);
	while (i < nr) {
		struct shard *s = shard_of(b->c, key_pblk(keys[i]));

		os_mutex_lock(&s->lock);
		do {
			struct frame *f = frame_find(s, key_pblk(keys[i]));
			const bool busy = f && f->flags & (FRAME_DIRTY | FRAME_WRITEBACK);

			/* A block that became metadata since the snapshot waits for a turn with handles frozen. */
			const bool ours = may_claim(f) && (meta || !b->c->freeze || !(f->flags & FRAME_META));

			if ((!ours || !claim_frame(b, s, f)) && busy && left && !err)
				err = snapshot_add(left, key_of(key_pblk(keys[i]), f->flags & FRAME_META));
		} while (++i < nr && shard_of(b->c, key_pblk(keys[i])) == s);
		os_mutex_unlock(&s->lock);
	}
	if (meta)
		b->c->thaw(b->c->freeze_arg);
	return err;
}

static unsigned batch_build(struct batch *b)
{
	unsigned nr_ios = 0;

	for (size_t i = 0; i < b->nr; i++) {
		const pblk_t pblk = b->frames[i]->buf.pblk;

		if (i == 0 || pblk != b->frames[i - 1]->buf.pblk + 1)
			b->ios[nr_ios++] = (struct blk_io){ .dev = b->c->dev, .op = BLK_WRITE,
				.sect = block_sect(b->c, pblk), .iov = &b->iov[i] };
		b->iov[i] = (struct iovec){ b->data[i], b->c->block_bytes };
		b->ios[nr_ios - 1].nr_iov++;
	}
	return nr_ios;
}

static void note_error(struct cache *c, const struct frame *f, int err)
{
	LOCK_GUARD(&c->flusher_lock);

	if (!c->error) {
		c->error = err;
		log_error("%s: write-back of block %" PRIu64 " failed: %s; kept in memory", blk_name(c->dev), f->buf.pblk,
			  strerror(-err));
	}
}

/* The last failed frame was written after all: the error no longer stands. */
static void clear_error(struct cache *c)
{
	LOCK_GUARD(&c->flusher_lock);

	if (atomic_load(&c->nr_failed) == 0)
		c->error = 0;
}

/* The end of a frame's write-back. It is unpinned last, so that its number can still be told. */
static void release_frame(struct cache *c, struct frame *f, int err)
{
	struct shard *s = shard_of(c, f->buf.pblk);
	bool had_failed;

	os_mutex_lock(&s->lock);
	had_failed = f->flags & FRAME_WRITE_FAILED;
	f->flags &= ~(FRAME_WRITEBACK | FRAME_WRITE_FAILED);
	s->nr_writeback--;
	if (err) {
		frame_set_dirty(s, f, f->flags & FRAME_META);
		f->flags |= FRAME_WRITE_FAILED;
	}
	shard_wake(s);
	if (!err)
		frame_unpin(s, f);
	os_mutex_unlock(&s->lock);
	if (err) {
		if (!had_failed)
			atomic_fetch_add(&c->nr_failed, 1);
		note_error(c, f, err);
		cache_put(&f->buf);
	} else if (had_failed && atomic_fetch_sub(&c->nr_failed, 1) == 1) {
		clear_error(c);
	}
}

static int batch_write(struct batch *b)
{
	struct cache *c = b->c;
	const unsigned nr_ios = batch_build(b);
	const int err = nr_ios ? blk_run(b->ios, nr_ios) : 0;
	pblk_t next = b->nr ? b->frames[0]->buf.pblk : 0;
	unsigned io = 0;

	for (size_t i = 0; i < b->nr; i++) {
		/* Frames already released may be another block's by now: only this one's number counts. */
		if (b->frames[i]->buf.pblk != next)
			io++;
		next = b->frames[i]->buf.pblk + 1;
		if (b->data[i] != b->frames[i]->buf.data)
			block_free(c, b->data[i]);
		release_frame(c, b->frames[i], b->ios[io].err);
	}
	if (nr_ios) {
		atomic_fetch_add_explicit(&c->nr_blocks_written, b->nr, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->nr_write_batches, 1, memory_order_relaxed);
		os_cond_broadcast(&c->flusher_done);	/* those who are throttled look again */
	}
	b->nr = 0;
	return err;
}

/* One pass over a sorted snapshot. What could not be claimed goes to left (may be NULL). First error. */
static int write_pass(struct cache *c, const struct snapshot *sn, struct snapshot *left)
{
	struct batch b;
	int err, first_err = 0;

	if (sn->nr == 0)
		return 0;
	err = batch_init(&b, c, sn->nr);
	if (err)
		return err;
	for (size_t at = 0; at < sn->nr;) {
		const size_t n = batch_length(&b, sn->keys + at, sn->nr - at);

		err = batch_claim(&b, sn->keys + at, n, left);
		first_err = first_err ? first_err : err;
		err = batch_write(&b);
		first_err = first_err ? first_err : err;
		at += n;
	}
	batch_fini(&b);
	return first_err;
}

/* Until no writer and no other flush has the frames; what is then still dirty can be claimed. */
static void wait_claimable(struct cache *c, const struct snapshot *sn)
{
	for (size_t i = 0; i < sn->nr; i++) {
		struct shard *s = shard_of(c, key_pblk(sn->keys[i]));
		struct frame *f;

		os_mutex_lock(&s->lock);
		f = frame_find(s, key_pblk(sn->keys[i]));
		if (f) {
			frame_pin(s, f);
			while (f->flags & FRAME_WRITEBACK || f->nr_writers > 0) {
				s->nr_waiting++;
				os_cond_wait(&s->changed, &s->lock);
				s->nr_waiting--;
			}
			frame_unpin(s, f);
		}
		os_mutex_unlock(&s->lock);
	}
}

/* Writes all of the snapshot and waits for what others have in hand. The snapshot is used up. */
static int flush_snapshot(struct cache *c, struct snapshot *sn)
{
	int first_err = 0;

	lock_dep_assert_below(RANK_HANDLE);
	while (sn->nr > 0 && !first_err) {
		struct snapshot left;

		snapshot_init(&left);
		snapshot_sort(sn);
		first_err = write_pass(c, sn, &left);
		snapshot_fini(sn);
		wait_claimable(c, &left);
		*sn = left;
		if (left.keys == left.small)
			sn->keys = sn->small;
	}
	snapshot_fini(sn);
	return first_err;
}

int cache_flush(struct cache *c, unsigned classes)
{
	struct snapshot sn;
	int err = 0;

	snapshot_init(&sn);
	if (classes & CACHE_META)
		err = snapshot_class(c, &sn, DIRTY_META, 0, UINT64_MAX, 0);
	if (!err && classes & CACHE_DATA)
		err = snapshot_class(c, &sn, DIRTY_DATA, 0, UINT64_MAX, 0);
	if (!err)
		err = snapshot_writeback(c, &sn);
	if (err) {
		snapshot_fini(&sn);
		return err;
	}
	return flush_snapshot(c, &sn);
}

int cache_flush_range(struct cache *c, pblk_t pblk, uint64_t nr)
{
	struct snapshot sn;
	int err;

	snapshot_init(&sn);
	err = snapshot_range(c, &sn, pblk, nr);
	if (err) {
		snapshot_fini(&sn);
		return err;
	}
	return flush_snapshot(c, &sn);
}

/* The thread and the throttle ------------------------------------------------------------------ */

static uint64_t nr_dirty(struct cache *c)
{
	return atomic_load_explicit(&c->nr_dirty[DIRTY_META], memory_order_relaxed) +
	       atomic_load_explicit(&c->nr_dirty[DIRTY_DATA], memory_order_relaxed);
}

/*
 * Takes the last, still growing stripe of each long run out of a sorted snapshot: its
 * other blocks are likely to come soon, and whole stripes are written without reading.
 */
static void defer_tails(struct cache *c, struct snapshot *sn)
{
	const uint32_t stripe = c->optimal_blocks;
	size_t kept = 0, run = 0;

	if (stripe < 2)
		return;
	for (size_t i = 0; i < sn->nr; i++) {
		const bool ends = i + 1 == sn->nr || key_pblk(sn->keys[i + 1]) != key_pblk(sn->keys[i]) + 1;

		sn->keys[kept++] = sn->keys[i];
		run++;
		if (!ends)
			continue;
		if (run > stripe)
			kept -= (key_pblk(sn->keys[i]) + 1) % stripe;
		run = 0;
	}
	sn->nr = kept;
}

/* What is old; and, above the background limit, all file data (and metadata when that is what piles up). */
static int background_round(struct cache *c)
{
	const bool over = nr_dirty(c) > c->background_limit;
	const bool meta_over = atomic_load_explicit(&c->nr_dirty[DIRTY_META], memory_order_relaxed) > c->background_limit;
	const uint32_t age = c->opts.writeback_msec;
	struct snapshot sn;
	int err;

	snapshot_init(&sn);
	err = snapshot_class(c, &sn, DIRTY_META, 0, UINT64_MAX, meta_over ? 0 : age);
	if (!err)
		err = snapshot_class(c, &sn, DIRTY_DATA, 0, UINT64_MAX, over ? 0 : age);
	if (!err) {
		snapshot_sort(&sn);
		if (over && nr_dirty(c) < c->dirty_limit)
			defer_tails(c, &sn);
		err = write_pass(c, &sn, NULL);
	}
	snapshot_fini(&sn);
	return err;
}

static void *flusher_main(void *arg)
{
	struct cache *c = arg;

	os_mutex_lock(&c->flusher_lock);
	while (!c->flusher_stop) {
		if (!atomic_load(&c->flusher_kicked))
			os_cond_wait_msec(&c->flusher_wake, &c->flusher_lock, MAX(c->opts.writeback_msec / 4, 1u));
		if (c->flusher_stop)
			break;
		atomic_store(&c->flusher_kicked, false);
		os_mutex_unlock(&c->flusher_lock);
		background_round(c);
		os_mutex_lock(&c->flusher_lock);
		os_cond_broadcast(&c->flusher_done);
	}
	os_mutex_unlock(&c->flusher_lock);
	return NULL;
}

int cache_flusher_start(struct cache *c)
{
	return -pthread_create(&c->flusher, NULL, flusher_main, c);
}

void cache_flusher_stop(struct cache *c)
{
	os_mutex_lock(&c->flusher_lock);
	c->flusher_stop = true;
	os_cond_broadcast(&c->flusher_wake);
	os_mutex_unlock(&c->flusher_lock);
	pthread_join(c->flusher, NULL);
}

static void kick(struct cache *c)
{
	if (atomic_exchange(&c->flusher_kicked, true))
		return;
	os_mutex_lock(&c->flusher_lock);
	os_cond_signal(&c->flusher_wake);
	os_mutex_unlock(&c->flusher_lock);
}

void cache_dirtied(struct cache *c)
{
	if (c->opts.background && nr_dirty(c) > c->background_limit &&
	    !atomic_load_explicit(&c->flusher_kicked, memory_order_relaxed))
		kick(c);
}

void cache_throttle(struct cache *c)
{
	if (likely(nr_dirty(c) <= c->dirty_limit))
		return;
	lock_dep_assert_below(RANK_HANDLE);
	atomic_fetch_add_explicit(&c->nr_throttled, 1, memory_order_relaxed);
	if (!c->opts.background) {
		/* C5: an error is remembered for those who ask. */
		(void)!cache_flush(c, CACHE_META | CACHE_DATA);
		return;
	}
	while (nr_dirty(c) > c->dirty_limit) {
		kick(c);
		os_mutex_lock(&c->flusher_lock);
		/* Frames that cannot be written do not go away by waiting. */
		if (c->error) {
			os_mutex_unlock(&c->flusher_lock);
			return;
		}
		os_cond_wait_msec(&c->flusher_done, &c->flusher_lock, 20);
		os_mutex_unlock(&c->flusher_lock);
	}
}
