/*
 * cache_int.h: what the files of src/cache share.
 *
 *	cache.c         a cache's life, single blocks, forgetting
 *	cache_frame.c   frames: hash, allocation, eviction
 *	cache_run.c     many blocks at once, read in one batch
 *	cache_write.c   file data: write_begin, write_end
 *	cache_collect.c which blocks are dirty
 *	cache_flush.c   write-back: claim, copy or take in place, write, release
 *	cache_thread.c  the write-back thread and the throttle
 *	cache_hold.c    frames that the journal keeps from going home
 *	cache_clock.c   the eviction policy alone
 *	cache_text.c    printing and checking
 *
 * A frame's states (all under its shard's lock):
 *
 *	absent --get--> BUSY --read, check--> valid --dirtied--> DIRTY --flush--> WRITEBACK --> valid
 *	                  |                                        ^                  |
 *	                  +--failed--> unhashed                    +---failed (C5)----+
 *	                     (freed at its last put)
 *
 * BUSY: its bytes are being read, checked or initialised; who wants them waits on the shard's
 * condition. A new frame of cache_write_begin() is BUSY until the write ends: nobody sees
 * what was in that memory before.
 * WRITEBACK: a write is under way, from a copy, or with INPLACE from the frame itself; only
 * then do those who want to change bytes wait (C3). A frame dirtied during WRITEBACK is DIRTY
 * and WRITEBACK at once (C4). A held frame is not DIRTY, whatever its bytes: the last release
 * makes it so (C7).
 *
 * Waits never form a circle: a thread that has made frames BUSY to read them, or WRITEBACK,
 * waits for nothing but the device until they are not. One that fills frames (BUSY until
 * cache_write_end) waits only for those two. Flushes wait for writers holding no frame.
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
	CACHE_COPY_BYTES = 2 << 20,	/* most metadata in it: it is copied while handles are frozen */
	CACHE_YOUNG_MSEC = 1000,	/* a growing stripe is left alone so long */
	CACHE_HAND_STEPS = 256,		/* the hand moves at most so far for one frame */
};

enum frame_flag {
	FRAME_BUSY	= 1 << 0,
	FRAME_DIRTY	= 1 << 1,
	FRAME_META	= 1 << 2,	/* class of a dirty frame: metadata, else file data */
	FRAME_WRITEBACK	= 1 << 3,
	FRAME_UNHASHED	= 1 << 4,	/* read or check failed, or forgotten while pinned */
	FRAME_WRITE_FAILED = 1 << 5,	/* C5 */
	FRAME_INPLACE	= 1 << 6,	/* the WRITEBACK under way reads the frame's own bytes */
};

/* What a hit touches comes first. */
struct frame {
	struct cache_buf buf;		/* what users see; first */
	struct frame *hash_next;	/* [shard] */
	struct cache *cache;		/* [const] */
	const struct cache_kind *kind;	/* [shard] checked as; NULL: not checked */
	uint32_t nr_pins;		/* [shard] */
	uint16_t nr_writers;		/* [shard] between cache_write_begin and _end */
	uint16_t nr_holds;		/* [shard] C7; each is a pin as well */
	uint16_t flags;			/* [shard] enum frame_flag */
	struct clock_node clock;	/* [shard] */
	struct list dirty_link;		/* [shard] in shard->dirty by time while FRAME_DIRTY */
	struct list writeback_link;	/* [shard] in shard->writeback while FRAME_WRITEBACK */
	uint32_t dirtied_msec;		/* [shard] when it became dirty; wraps */
	int err;			/* [shard] of an unhashed frame */
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
	struct list writeback;		/* [lock] */
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

	os_mutex flusher_lock;		/* RANK_FLUSHER */
	os_cond flusher_wake, flusher_done;
	bool flusher_stop;		/* [flusher_lock] */
	int round_err;			/* [flusher_lock] of the thread's last round */
	int error;			/* [flusher_lock] C5 */
	unsigned nr_passes;		/* [flusher_lock] that write now; the freezer changes when there is none */
	void (*freeze)(void *arg);	/* [const during a pass] */
	void (*thaw)(void *arg);
	void *freeze_arg;
	atomic_bool flusher_kicked;	/* there is work before the next tick */
	atomic_uint_fast64_t nr_failed;	/* frames with FRAME_WRITE_FAILED; changes under their shard's lock */
	pthread_t flusher;

	struct shard shards[CACHE_NR_SHARDS];
};

static inline struct frame *frame_of(struct cache_buf *b)
{
	return container_of(b, struct frame, buf);
}

/* Runs are scattered: group-sized strides would all meet in one shard otherwise. */
static inline uint64_t run_hash(pblk_t pblk)
{
	return (pblk >> CACHE_RUN_SHIFT) * 0x9e3779b97f4a7c15u;
}

static inline struct shard *shard_of(struct cache *c, pblk_t pblk)
{
	return &c->shards[(run_hash(pblk) >> 32) % CACHE_NR_SHARDS];
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

/* One more block at the end of io; memory that goes on where the last entry ends joins it. */
static inline void iov_append(struct blk_io *io, void *data, uint32_t len_bytes)
{
	struct iovec *last = io->nr_iov ? &io->iov[io->nr_iov - 1] : NULL;

	if (last && (char *)last->iov_base + last->iov_len == data)
		last->iov_len += len_bytes;
	else
		io->iov[io->nr_iov++] = (struct iovec){ data, len_bytes };
}

uint32_t cache_now_msec(void);

/* cache.c; shard locked. Waits, makes the frame clean, drops it unless it is pinned. True: its write had failed. */
bool forget_frame(struct cache *c, struct shard *s, struct frame *f);

/* cache_frame.c; shard locked unless said otherwise ------------------------------- */
struct frame *frame_find(struct shard *s, pblk_t pblk);
/* A new BUSY frame in the hash, pinned once. Drops and retakes nothing. NULL: no memory. */
struct frame *frame_new(struct cache *c, struct shard *s, pblk_t pblk);
void frame_pin(struct shard *s, struct frame *f);
/* The last put of an unhashed frame frees it. */
void frame_unpin(struct shard *s, struct frame *f);
/* No longer found; freed now when it is not pinned, else at its last put. Not dirty, not in write-back. */
void frame_unhash(struct shard *s, struct frame *f);
/* Nothing happens to a held frame. True when it was not dirty before: the caller counts it (dirty_counted) before it unlocks. */
bool frame_set_dirty(struct shard *s, struct frame *f, bool meta, uint32_t now_msec);
void dirty_counted(struct cache *c, bool meta, unsigned nr);
void frame_clear_dirty(struct frame *f);
/* Waits until none of flags is set. The frame must be pinned. */
void frame_wait(struct shard *s, struct frame *f, unsigned flags);
/* BUSY ends: well (err 0), or the frame is unhashed with err. Wakes waiters. */
void frame_ready(struct shard *s, struct frame *f, int err);
void shard_wait(struct shard *s);	/* for any change; spurious wake-ups */
void shard_wake(struct shard *s);
/* Evicts up to nr clean frames of the shard and frees them; returns how many. The hand moves max_steps at most for each. */
uint64_t shard_evict(struct shard *s, uint64_t nr, uint64_t max_steps);
/* A block's memory outside any frame (a copy of metadata). No lock needed. NULL: none. */
void *block_alloc(struct cache *c);
void block_free(struct cache *c, void *data);

/* cache_collect.c ---------------------------------------------------------------------- */

/* One dirty block: its number, whether it became dirty just now, whether it is metadata. Sorts by block. */
typedef uint64_t dirty_key;

static inline dirty_key key_of(pblk_t pblk, bool young, bool meta) { return pblk << 2 | young << 1 | meta; }
static inline pblk_t key_pblk(dirty_key k) { return k >> 2; }
static inline bool key_is_young(dirty_key k) { return k & 2; }
static inline bool key_is_meta(dirty_key k) { return k & 1; }

/* Numbers of blocks that were dirty at one time. They may be clean, or gone, when they are come to. */
struct snapshot {
	dirty_key *keys;
	size_t nr, cap;
};

/* Start with { 0 }. */
MUST_CHECK int snapshot_add(struct snapshot *sn, dirty_key k);
void snapshot_sort(struct snapshot *sn);
void snapshot_fini(struct snapshot *sn);
/*
 * Takes the last, still growing stripe of each long run out of a sorted snapshot: its other
 * blocks are likely to come soon, and whole stripes are written without reading.
 */
void snapshot_defer_tails(struct snapshot *sn, uint32_t stripe_blocks);
/* Blocks of a class, dirty since min_age_msec or longer. */
MUST_CHECK int snapshot_class(struct cache *c, struct snapshot *sn, unsigned class, uint32_t min_age_msec);
/* Blocks under write-back: a flush has to wait for them. */
MUST_CHECK int snapshot_writeback(struct cache *c, struct snapshot *sn);
/* Both of a range. */
MUST_CHECK int snapshot_range(struct cache *c, struct snapshot *sn, pblk_t pblk, uint64_t nr);

/* cache_flush.c ------------------------------------------------------------------------ */
/* Writes all of the snapshot and waits for what others have in hand. The snapshot is used up. */
MUST_CHECK int cache_flush_snapshot(struct cache *c, struct snapshot *sn);
/* One pass over a sorted snapshot. What could not be written now goes to left (may be NULL). First error. */
int cache_write_pass(struct cache *c, const struct snapshot *sn, struct snapshot *left);
/* The error of write-back is over when no frame stands that failed. No lock held. */
void cache_clear_error(struct cache *c);

/* cache_thread.c ------------------------------------------------------------------------ */
int cache_flusher_start(struct cache *c);
void cache_flusher_stop(struct cache *c);
/* Tells the thread when there is enough to write. No lock held. */
void cache_dirtied(struct cache *c);
/* Those who are throttled look again. */
void cache_tell_throttled(struct cache *c);

#endif
