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

struct batch {
	struct cache *c;
	size_t cap, copies_cap;
	struct frame **frames;		/* claimed, in block order */
	void **data;			/* what is written: the frame's bytes, or a copy */
	struct iovec *iov;
	struct blk_io *ios;
	size_t nr;
	void **copies;			/* blocks for copies, not in use */
	size_t nr_copies;
};

static void batch_fini(struct batch *b)
{
	while (b->nr_copies > 0)
		block_free(b->c, b->copies[--b->nr_copies]);
	free(b->frames);
	free(b->data);
	free(b->iov);
	free(b->ios);
	free(b->copies);
}

static int batch_init(struct batch *b, struct cache *c, size_t nr)
{
	const size_t cap = MIN(nr, (size_t)CACHE_BATCH_BYTES / c->block_bytes);
	const size_t copies_cap = MIN(nr, (size_t)CACHE_COPY_BYTES / c->block_bytes);

	*b = (struct batch){
		.c = c,
		.cap = cap,
		.copies_cap = copies_cap,
		.frames = malloc(cap * sizeof(*b->frames)),
		.data = malloc(cap * sizeof(*b->data)),
		.iov = malloc(cap * sizeof(*b->iov)),
		.ios = malloc(cap * sizeof(*b->ios)),
		.copies = malloc(copies_cap * sizeof(*b->copies)),
	};
	if (b->frames && b->data && b->iov && b->ios && b->copies)
		return 0;
	batch_fini(b);
	return -ENOMEM;
}

/* How many keys the next batch takes: a whole number of stripes when more of the run follows. */
static size_t batch_length(const struct batch *b, const dirty_key *keys, size_t nr)
{
	const uint32_t stripe = b->c->optimal_blocks;
	size_t n = MIN(nr, b->cap);

	if (n == nr || stripe < 2)
		return n;
	for (size_t cut = n; cut > 1 && n - cut < stripe; cut--) {
		if (key_pblk(keys[cut - 1]) + 1 != key_pblk(keys[cut]))
			break;	/* the run that goes on behind the batch begins here */
		if (key_pblk(keys[cut]) % stripe == 0)
			return cut;
	}
	return n;
}

/*
 * Memory for the copies of the metadata among keys, taken before handles are frozen. Returns
 * how many of the keys the batch can take with that; 0: there is no memory for the first.
 */
static size_t batch_reserve(struct batch *b, const dirty_key *keys, size_t nr)
{
	size_t nr_meta = 0;

	for (size_t i = 0; i < nr; i++) {
		if (!key_is_meta(keys[i]) || nr_meta++ < b->nr_copies)
			continue;
		if (b->nr_copies == b->copies_cap)
			return i;
		b->copies[b->nr_copies] = block_alloc(b->c);
		if (!b->copies[b->nr_copies])
			return i;
		b->nr_copies++;
	}
	return nr;
}

/* May this frame be written now? Not while its bytes are changing, or another flush has it. */
static bool may_claim(const struct batch *b, const struct frame *f, bool frozen)
{
	if (!f || !(f->flags & FRAME_DIRTY) || f->flags & (FRAME_WRITEBACK | FRAME_BUSY) || f->nr_writers > 0)
		return false;
	/* One that became metadata since the snapshot waits for a turn with handles frozen. */
	return !(f->flags & FRAME_META) || (frozen && b->nr_copies > 0);
}

static void claim_frame(struct batch *b, struct shard *s, struct frame *f)
{
	void *data = f->buf.data;

	if (f->flags & FRAME_META) {
		data = b->copies[--b->nr_copies];
		memcpy(data, f->buf.data, b->c->block_bytes);
	} else {
		f->flags |= FRAME_INPLACE;
	}
	frame_clear_dirty(f);
	f->flags |= FRAME_WRITEBACK;
	list_add_tail(&s->writeback, &f->writeback_link);
	s->nr_writeback++;
	frame_pin(s, f);
	b->frames[b->nr] = f;
	b->data[b->nr++] = data;
}

/* The keys from the first on that lie in its shard; returns how many. */
static size_t claim_part(struct batch *b, const dirty_key *keys, size_t nr, bool frozen, struct snapshot *left, int *err)
{
	struct shard *s = shard_of(b->c, key_pblk(keys[0]));
	size_t i = 0;
	LOCK_GUARD(&s->lock);

	do {
		struct frame *f = frame_find(s, key_pblk(keys[i]));

		if (may_claim(b, f, frozen))
			claim_frame(b, s, f);
		else if (left && f && f->flags & (FRAME_DIRTY | FRAME_WRITEBACK) && !*err)
			*err = snapshot_add(left, key_of(f->buf.pblk, false, f->flags & FRAME_META));
	} while (++i < nr && shard_of(b->c, key_pblk(keys[i])) == s);
	return i;
}

/* Claims what it can of keys; what is dirty all the same goes to left. */
static int batch_claim(struct batch *b, const dirty_key *keys, size_t nr, struct snapshot *left)
{
	struct cache *c = b->c;
	bool meta = false;
	int err = 0;

	for (size_t i = 0; i < nr && !meta; i++)
		meta = key_is_meta(keys[i]);
	if (meta && c->freeze)
		c->freeze(c->freeze_arg);
	for (size_t i = 0; i < nr;)
		i += claim_part(b, keys + i, nr - i, meta, left, &err);
	if (meta && c->freeze)
		c->thaw(c->freeze_arg);
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
		iov_append(&b->ios[nr_ios - 1], b->data[i], b->c->block_bytes);
	}
	return nr_ios;
}

/* C5: remembered while a frame that failed is still dirty. */
static void note_error(struct cache *c, pblk_t pblk, int err)
{
	LOCK_GUARD(&c->flusher_lock);

	if (c->error || atomic_load(&c->nr_failed) == 0)
		return;
	c->error = err;
	log_error("%s: write-back of block %" PRIu64 " failed: %s; kept in memory", blk_name(c->dev), pblk,
		  strerror(-err));
}

void cache_clear_error(struct cache *c)
{
	LOCK_GUARD(&c->flusher_lock);

	if (atomic_load(&c->nr_failed) == 0)
		c->error = 0;
}

/* The end of a frame's write-back. */
static void release_frame(struct cache *c, struct frame *f, int err)
{
	const pblk_t pblk = f->buf.pblk;
	struct shard *s = shard_of(c, pblk);
	bool had_failed, meta;

	os_mutex_lock(&s->lock);
	meta = f->flags & FRAME_META;
	had_failed = f->flags & FRAME_WRITE_FAILED;
	f->flags &= ~(FRAME_WRITEBACK | FRAME_INPLACE | FRAME_WRITE_FAILED);
	list_del(&f->writeback_link);
	s->nr_writeback--;
	if (err && !(f->flags & FRAME_DIRTY))
		dirty_counted(c, meta, frame_set_dirty(s, f, meta, cache_now_msec()));
	if (err)
		f->flags |= FRAME_WRITE_FAILED;
	if (had_failed != !!err)
		atomic_fetch_add(&c->nr_failed, err ? 1 : -1);
	shard_wake(s);
	frame_unpin(s, f);
	os_mutex_unlock(&s->lock);
	if (err)
		note_error(c, pblk, err);
	else if (had_failed)
		cache_clear_error(c);
}

/* Writes what is claimed and releases it. First error. */
static int batch_write(struct batch *b)
{
	struct cache *c = b->c;
	const unsigned nr_ios = batch_build(b);
	const int err = nr_ios ? blk_run(b->ios, nr_ios) : 0;
	pblk_t next = 0;
	unsigned io = 0;

	for (size_t i = 0; i < b->nr; i++) {
		struct frame *f = b->frames[i];

		if (i > 0 && f->buf.pblk != next)
			io++;
		next = f->buf.pblk + 1;
		if (b->data[i] != f->buf.data)
			b->copies[b->nr_copies++] = b->data[i];
		release_frame(c, f, b->ios[io].err);
	}
	if (nr_ios) {
		atomic_fetch_add_explicit(&c->nr_blocks_written, b->nr, memory_order_relaxed);
		atomic_fetch_add_explicit(&c->nr_write_batches, 1, memory_order_relaxed);
		cache_tell_throttled(c);
	}
	b->nr = 0;
	return err;
}

static void pass_begin(struct cache *c)
{
	LOCK_GUARD(&c->flusher_lock);

	c->nr_passes++;
}

static void pass_end(struct cache *c)
{
	LOCK_GUARD(&c->flusher_lock);

	if (--c->nr_passes == 0)
		os_cond_broadcast(&c->flusher_done);
}

/* No memory for a copy: clean frames make room. */
static void make_room(struct cache *c)
{
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++) {
		LOCK_GUARD(&c->shards[i].lock);

		shard_evict(&c->shards[i], 4, UINT64_MAX);
	}
}

int cache_write_pass(struct cache *c, const struct snapshot *sn, struct snapshot *left)
{
	bool made_room = false;
	struct batch b;
	int err, first_err;

	if (sn->nr == 0)
		return 0;
	first_err = batch_init(&b, c, sn->nr);
	if (first_err)
		return first_err;
	pass_begin(c);
	for (size_t at = 0; at < sn->nr;) {
		size_t n = batch_length(&b, sn->keys + at, sn->nr - at);

		n = batch_reserve(&b, sn->keys + at, n);
		if (n == 0 && !made_room) {
			make_room(c);
			made_room = true;
			continue;
		}
		err = n ? batch_claim(&b, sn->keys + at, n, left) : -ENOMEM;
		first_err = first_err ? first_err : err;
		err = batch_write(&b);
		first_err = first_err ? first_err : err;
		at += MAX(n, (size_t)1);
	}
	pass_end(c);
	batch_fini(&b);
	return first_err;
}

/* Until nobody is in the frames; what is then still dirty can be claimed. */
static void wait_claimable(struct cache *c, const struct snapshot *sn)
{
	for (size_t i = 0; i < sn->nr; i++) {
		struct shard *s = shard_of(c, key_pblk(sn->keys[i]));
		struct frame *f;
		LOCK_GUARD(&s->lock);

		f = frame_find(s, key_pblk(sn->keys[i]));
		if (!f)
			continue;
		frame_pin(s, f);
		while (f->flags & (FRAME_WRITEBACK | FRAME_BUSY) || f->nr_writers > 0)
			shard_wait(s);
		frame_unpin(s, f);
	}
}

int cache_flush_snapshot(struct cache *c, struct snapshot *sn)
{
	int first_err = 0;

	lock_dep_assert_below(RANK_HANDLE);
	while (sn->nr > 0 && !first_err) {
		struct snapshot left = { 0 };

		snapshot_sort(sn);
		first_err = cache_write_pass(c, sn, &left);
		snapshot_fini(sn);
		wait_claimable(c, &left);
		*sn = left;
	}
	snapshot_fini(sn);
	return first_err;
}

int cache_flush(struct cache *c, unsigned classes)
{
	struct snapshot sn = { 0 };
	int err = 0;

	if (classes & CACHE_META)
		err = snapshot_class(c, &sn, DIRTY_META, 0);
	if (!err && classes & CACHE_DATA)
		err = snapshot_class(c, &sn, DIRTY_DATA, 0);
	if (!err)
		err = snapshot_writeback(c, &sn);
	if (!err)
		return cache_flush_snapshot(c, &sn);
	snapshot_fini(&sn);
	return err;
}

int cache_flush_range(struct cache *c, pblk_t pblk, uint64_t nr)
{
	struct snapshot sn = { 0 };
	const int err = snapshot_range(c, &sn, pblk, nr);

	if (!err)
		return cache_flush_snapshot(c, &sn);
	snapshot_fini(&sn);
	return err;
}
