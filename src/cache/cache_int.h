/*
 * cache_int.h: what the files of src/cache share.
 *
 *	cache.c         a cache's life, single blocks, forgetting
 *	cache_frame.c   frames: hash, allocation, eviction
 *	cache_run.c     many blocks at once: reads in one batch, file writes
 *	cache_flush.c   write-back: collect, sort, write; throttle; the thread
 *	cache_clock.c   the eviction policy alone
 *	cache_text.c    printing and checking
 *
 * A frame's states (all under its shard's lock):
 *
 *	absent --get--> BUSY --read, check--> valid --dirtied--> DIRTY --flush--> WRITEBACK --> valid
 *	                  |                     ^                  ^                  |
 *	                  +--failed--> unhashed |                  +---failed (C5)----+
 *	                     (freed at its last put)
 *
 * BUSY: one thread reads, checks or initialises it; the others wait on the shard's condition.
 * A frame dirtied during WRITEBACK is DIRTY and WRITEBACK at once (C4).
 */
#ifndef OSFS_CACHE_CACHE_INT_H
#define OSFS_CACHE_CACHE_INT_H

#include <assert.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/trace.h"
#include "cache/cache.h"
#include "cache/cache_clock.h"

enum {
	CACHE_NR_SHARDS = 16,
	CACHE_RUN_SHIFT = 6,		/* 64 consecutive blocks share a shard: a run takes few locks */
	CACHE_MIN_BYTES = 1 << 20,
	CACHE_DIRTY_PERCENT = 40,	/* writers are throttled above */
	CACHE_BACKGROUND_PERCENT = 10,	/* the thread starts writing above */
	CACHE_WRITEBACK_MSEC = 5000,
	CACHE_BATCH_BYTES = 8 << 20,	/* most that one write batch carries */
};

enum frame_flag {
	FRAME_BUSY	= 1 << 0,
	FRAME_DIRTY	= 1 << 1,
	FRAME_META	= 1 << 2,	/* class of a dirty frame: metadata, else file data */
	FRAME_WRITEBACK	= 1 << 3,
	FRAME_UNHASHED	= 1 << 4,	/* read or check failed, or forgotten while pinned */
	FRAME_WRITE_FAILED = 1 << 5,	/* C5 */
};

struct frame {
	struct cache_buf buf;		/* what users see; first */
	struct cache *cache;		/* [const] */
	struct frame *hash_next;	/* [shard] */
	struct clock_node clock;	/* [shard] */
	struct list dirty_link;		/* [shard] in shard->dirty by time while FRAME_DIRTY */
	const struct cache_kind *kind;	/* [shard] checked as; NULL: not checked */
	uint32_t nr_pins;		/* [shard] */
	uint16_t nr_writers;		/* [shard] between cache_write_begin and _end */
	uint16_t flags;			/* [shard] enum frame_flag */
	int err;			/* [shard] of an unhashed frame */
	uint32_t dirtied_msec;		/* [shard] when it became dirty; wraps */
};

enum { DIRTY_META, DIRTY_DATA, NR_DIRTY_CLASSES };

struct shard {
	os_mutex lock;			/* RANK_SHARD, one at a time */
	os_cond changed;		/* a frame here stopped being busy, written, or written back */
	unsigned nr_waiting;		/* [lock] for changed */
	struct frame **hash;		/* [lock] */
	uint64_t hash_mask;		/* [const] */
	struct clock_ring clock;	/* [lock] */
	struct list dirty[NR_DIRTY_CLASSES];	/* [lock] oldest first */
	uint64_t nr_hits, nr_misses, nr_evictions, nr_pinned, nr_writeback;	/* [lock] */
} __attribute__((aligned(64)));

struct cache {
	struct cache_opts opts;		/* [const] */
	struct blk_dev *dev;
	struct alloc *alloc;
	uint32_t block_bytes;
	uint32_t sects_per_block;
	unsigned block_order;		/* of alloc_pages; blocks below a page come from block_slab */
	struct slab *frame_slab, *block_slab;
	uint64_t max_frames, dirty_limit, background_limit;	/* [const] */
	uint32_t optimal_blocks;	/* full stripe of the device in blocks; 0: none */
	atomic_uint_fast64_t nr_frames, nr_dirty[NR_DIRTY_CLASSES];
	atomic_uint_fast64_t nr_blocks_read, nr_read_batches, nr_blocks_written, nr_write_batches, nr_throttled;

	void (*freeze)(void *arg);	/* [const after cache_set_freezer] */
	void (*thaw)(void *arg);
	void *freeze_arg;

	os_mutex flusher_lock;		/* RANK_FLUSHER */
	os_cond flusher_wake, flusher_done;
	bool flusher_stop;		/* [flusher_lock] */
	atomic_bool flusher_kicked;	/* there is work before the next tick */
	pthread_t flusher;
	int error;			/* [flusher_lock] C5 */
	atomic_uint_fast64_t nr_failed;	/* frames with FRAME_WRITE_FAILED */

	struct shard shards[CACHE_NR_SHARDS];
};

static inline struct frame *frame_of(struct cache_buf *b)
{
	return container_of(b, struct frame, buf);
}

static inline struct shard *shard_of(struct cache *c, pblk_t pblk)
{
	return &c->shards[(pblk >> CACHE_RUN_SHIFT) % CACHE_NR_SHARDS];
}

/* How many blocks from pblk on, at most nr, lie in pblk's shard in one piece. */
static inline uint32_t shard_run(pblk_t pblk, uint64_t nr)
{
	const uint32_t left = (1u << CACHE_RUN_SHIFT) - (uint32_t)(pblk & ((1u << CACHE_RUN_SHIFT) - 1));

	return (uint32_t)MIN((uint64_t)left, nr);
}

static inline sect_t block_sect(const struct cache *c, pblk_t pblk)
{
	return pblk * c->sects_per_block;
}

uint32_t cache_now_msec(void);

/* cache_frame.c; shard locked unless said otherwise ------------------------------- */
struct frame *frame_find(struct shard *s, pblk_t pblk);
/* A new BUSY frame in the hash, pinned once. Drops and retakes nothing. NULL: no memory. */
struct frame *frame_new(struct cache *c, struct shard *s, pblk_t pblk);
void frame_pin(struct shard *s, struct frame *f);
/* The last put of an unhashed frame frees it. */
void frame_unpin(struct shard *s, struct frame *f);
/* No longer found; freed now when it is not pinned, else at its last put. Not dirty, not in write-back. */
void frame_unhash(struct shard *s, struct frame *f);
void frame_set_dirty(struct shard *s, struct frame *f, bool meta);
void frame_clear_dirty(struct frame *f);
/* Waits until none of flags is set. The frame must be pinned. */
void frame_wait(struct shard *s, struct frame *f, unsigned flags);
/* BUSY ends: well (err 0), or the frame is unhashed with err. Wakes waiters. */
void frame_ready(struct shard *s, struct frame *f, int err);
void shard_wake(struct shard *s);
/* Evicts up to nr clean frames of the shard and frees them; returns how many. */
uint64_t shard_evict(struct shard *s, uint64_t nr);
/* A block's memory outside any frame (bounce of a metadata copy). No lock needed. NULL: none. */
void *block_alloc(struct cache *c);
void block_free(struct cache *c, void *data);

/* cache_run.c ------------------------------------------------------------------------ */
/* Reads the BUSY frames, sorted by block, in one batch and marks them ready. No lock held. First error. */
int cache_read_frames(struct cache *c, struct frame **frames, unsigned nr);

/* cache_flush.c ------------------------------------------------------------------------ */
int cache_flusher_start(struct cache *c);
void cache_flusher_stop(struct cache *c);
/* Tells the thread when there is enough to write. No lock held. */
void cache_dirtied(struct cache *c);

#endif
