/* test_cache_util.c: see test_cache.h. */
#include "test_cache.h"

struct fixture fx;

static uint64_t sum_iov(const struct blk_io *io)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->nr_iov; i++)
		for (size_t k = 0; k < io->iov[i].iov_len; k += 8)
			sum = sum * 31 + *(volatile uint64_t *)((char *)io->iov[i].iov_base + k);
	return sum;
}

static void note_write(struct watched *w, const struct blk_io *io)
{
	const uint32_t sects = fx.block_bytes / SECT_BYTES;
	LOCK_GUARD(&w->lock);

	if (w->nr_seen == MAX_SEEN)
		return;
	w->seen[w->nr_seen].pblk = io->sect / sects;
	w->seen[w->nr_seen++].nr = io->nr_sects / sects;
}

static void watch_write(struct watched *w, const struct blk_io *io)
{
	const uint64_t before = sum_iov(io);
	const struct iovec *last = &io->iov[io->nr_iov - 1];

	note_write(w, io);
	if (w->write_usec)
		usleep(w->write_usec);
	if (w->intrude)
		w->intrude(w);
	atomic_fetch_add(&w->nr_unstable, before != sum_iov(io));
	atomic_fetch_add(&w->nr_uneven, *(uint8_t *)io->iov[0].iov_base != *((uint8_t *)last->iov_base + last->iov_len - 1));
}

static void move_bytes(struct watched *w, const struct blk_io *io)
{
	uint8_t *at = w->bytes + io->sect * SECT_BYTES;

	for (unsigned i = 0; i < io->nr_iov; i++) {
		if (io->op == BLK_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static void watched_one(struct watched *w, struct blk_io *io)
{
	switch (io->op) {
	case BLK_READ:
		io->err = atomic_load(&w->fail_reads);
		if (io->err)
			return;
		atomic_fetch_add(&w->nr_reads, 1);
		if (w->read_usec)
			usleep(w->read_usec);
		move_bytes(w, io);
		return;
	case BLK_WRITE:
		io->err = atomic_load(&w->fail_writes);
		if (io->err)
			return;
		watch_write(w, io);
		atomic_fetch_add(&w->nr_writes, 1);
		move_bytes(w, io);
		return;
	case BLK_FLUSH:
		if (w->intrude)
			w->intrude(w);
		io->err = atomic_load(&w->fail_flushes);
		atomic_fetch_add(&w->nr_flushes, !io->err);
		return;
	default:
		io->err = -EOPNOTSUPP;
	}
}

static void watched_run(struct blk_dev *d, struct blk_io **ios, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		watched_one(container_of(d, struct watched, dev), ios[i]);
}

static void watched_close(struct blk_dev *d)
{
	struct watched *w = container_of(d, struct watched, dev);

	blk_dev_fini(d);
	os_mutex_fini(&w->lock);
	free(w->bytes);
	free(w);
}

static const struct blk_ops watched_ops = { .name = "watched", .run = watched_run, .close = watched_close };

static void make_device(uint32_t optimal_bytes, pblk_t nr_filled)
{
	struct watched *w = calloc(1, sizeof(*w));

	fx.nr_blocks = MIN((pblk_t)NR_BLOCKS, (pblk_t)(16 << 20) / fx.block_bytes);
	w->bytes = calloc(fx.nr_blocks, fx.block_bytes);
	os_mutex_init(&w->lock, RANK_LEAF);
	ck_assert_int_eq(blk_dev_init(&w->dev, &watched_ops, "watched", fx.nr_blocks * fx.block_bytes / SECT_BYTES, false), 0);
	blk_set_optimal_bytes(&w->dev, optimal_bytes);
	for (pblk_t p = 0; p < (nr_filled ? nr_filled : fx.nr_blocks); p++)
		fill_pattern(w->bytes + p * fx.block_bytes, p, 0);
	fx.dev = w;
}

void start(struct start_opts o)
{
	/* Guard bytes switch magazines off: then memory that is given back is there for others. */
	const struct alloc_opts ao = { .redzone = !o.no_guards, .max_bytes = o.max_memory };
	struct cache_opts co = { .size_bytes = o.size_bytes, .background = o.background, .writeback_msec = o.writeback_msec };

	fx.block_bytes = o.block_bytes ? o.block_bytes : BLOCK;
	ck_assert_int_eq(alloc_new(&ao, &fx.mem), 0);
	make_device(o.optimal_bytes, o.nr_filled);
	co.alloc = fx.mem;
	co.dev = &fx.dev->dev;
	co.block_bytes = fx.block_bytes;
	ck_assert_int_eq(cache_new(&co, &fx.cache), 0);
}

void stop(void)
{
	ck_assert_int_eq(cache_check(fx.cache), 0);
	ck_assert_uint_eq(stats().nr_pinned, 0);
	cache_free(fx.cache);
	blk_close(&fx.dev->dev);
	ck_assert_uint_eq(alloc_free(fx.mem), 0);
}

static void silent(void *arg, enum log_level level, const char *line)
{
}

void be_silent(void)
{
	log_set_sink(silent, NULL);
}

struct cache_stats stats(void)
{
	struct cache_stats st;

	cache_stats_get(fx.cache, &st);
	return st;
}

void fill_pattern(void *bytes, pblk_t pblk, unsigned version)
{
	struct rng r = { pblk * 7919 + version };

	rng_fill(&r, bytes, fx.block_bytes);
}

bool block_is(const void *bytes, pblk_t pblk, unsigned version)
{
	uint8_t want[65536];

	fill_pattern(want, pblk, version);
	return memcmp(bytes, want, fx.block_bytes) == 0;
}

void must_be(const void *bytes, pblk_t pblk, unsigned version)
{
	if (!block_is(bytes, pblk, version))
		ck_abort_msg("block %" PRIu64 " is not its version %u", pblk, version);
}

void *on_disk(pblk_t pblk)
{
	return fx.dev->bytes + pblk * fx.block_bytes;
}

void write_blocks(pblk_t pblk, uint32_t nr, unsigned version)
{
	struct cache_buf *bufs[256];

	if (cache_write_begin(fx.cache, pblk, nr, CACHE_OVERWRITE, bufs))
		ck_abort_msg("block %" PRIu64 ": write_begin failed", pblk);
	for (uint32_t i = 0; i < nr; i++)
		fill_pattern(bufs[i]->data, pblk + i, version);
	cache_write_end(fx.cache, bufs, nr);
}

struct cache_buf *must_get(pblk_t pblk)
{
	struct cache_buf *b;

	if (cache_get(fx.cache, pblk, NULL, NULL, &b))
		ck_abort_msg("block %" PRIu64 ": get failed", pblk);
	return b;
}

void start_thread(pthread_t *t, void *(*fn)(void *arg), void *arg)
{
	if (pthread_create(t, NULL, fn, arg))
		ck_abort_msg("no thread");
}
