/*
 * cache.h: filesystem blocks of one block device in memory, one copy per block,
 * clock eviction, write-back in block order.
 *
 * Use:      cache_get(c, pblk, kind, arg, &b); ... b->data ...; cache_put(b);
 *           Between get and put the block is pinned: not evicted, its address does not change.
 *           Metadata: change bytes only inside a journal handle, between jnl_get_write()
 *           and jnl_dirty(); the journal tells the cache.
 *           File data: cache_write_begin(), copy, cache_write_end(), under the inode's lock;
 *           in between the thread only fills what it began, and waits for nothing.
 * Threads:  any thread may call. Takes RANK_SHARD, and holds it for no I/O. cache_throttle and
 *           the flush calls may wait for I/O and for open handles: call them with no handle open.
 * Errors:   -EIO (or what the device said) read failed, -EUCLEAN a block failed its check,
 *           -ENOMEM.
 *
 * Promises:
 *   C1  One frame per block; it is found, read, checked or first filled by one thread, others
 *       wait for it. Nobody sees what was in a frame's memory before.
 *   C2  A pinned, dirty, or under-write-back frame is never evicted.
 *   C3  The bytes handed to the device do not change while a write runs: file data waits in
 *       cache_write_begin() for the write-back of that frame; metadata is copied first, while
 *       handles are frozen (no handle is open), so what goes out is between two operations.
 *   C4  A frame dirtied while it is written stays dirty.
 *   C5  A failed write-back keeps its frame dirty, is remembered (cache_error), logged once,
 *       and reported by every flush until a later write of that frame succeeds.
 *   C6  Getting a frame never waits for write-back: when nothing can be evicted the cache
 *       grows past its size for a while; cache_throttle() pays that back.
 *   C7  A held frame (cache_buf_hold) is not written and not evicted, whatever asks for it:
 *       its bytes belong to a transaction that is not committed.
 */
#ifndef OSFS_CACHE_CACHE_H
#define OSFS_CACHE_CACHE_H

#include <stdio.h>

#include "alloc/alloc.h"
#include "blk/blk.h"

struct cache;

/* A pinned block. Only the first two fields are for users; the rest is in cache_int.h. */
struct cache_buf {
	void *data;	/* block_bytes long, aligned to min(block_bytes, 4096) */
	pblk_t pblk;
	atomic_uint_fast64_t owner;	/* the journal's alone; 0 when the block comes into memory */
};

/*
 * What a block is to be. check() runs once, when the block is first got as this kind, before
 * anyone sees it as such: 0 or -EUCLEAN (it logs block, field, value). A block that fails is
 * read again next time, unless others hold it: theirs it stays. arg is from the caller of
 * cache_get (an inode for checksums, or NULL), owner from cache_opts. NULL kind: no check.
 */
struct cache_kind {
	const char *name;
	int (*check)(void *owner, const struct cache_buf *b, const void *arg);
};

struct cache_opts {
	struct alloc *alloc;		/* frames and headers */
	struct blk_dev *dev;		/* not owned */
	uint32_t block_bytes;		/* power of two, 1 KiB to 64 KiB */
	uint64_t size_bytes;		/* target for frames and their headers; at least 1 MiB is taken */
	bool background;		/* a write-back thread; without it everything happens in the caller */
	unsigned writeback_msec;	/* a dirty frame goes out at the latest about so much later (5000 when 0) */
	void *owner;			/* for checks */
};

MUST_CHECK int cache_new(const struct cache_opts *o, struct cache **out);
/* Stops the thread. Dirty frames are dropped (flush before). Asserts that nothing is pinned. */
void cache_free(struct cache *c);

/*
 * The journal registers how to stop handles while metadata is copied for write-back (C3);
 * NULL ends that. Waits for flushes that are under way: call it with no handle open.
 */
void cache_set_freezer(struct cache *c, void (*freeze)(void *arg), void (*thaw)(void *arg), void *arg);

/* One block, read and checked when it is not there. *out is NULL after an error. */
MUST_CHECK int cache_get(struct cache *c, pblk_t pblk, const struct cache_kind *kind, const void *arg,
			 struct cache_buf **out);
/* One block that is about to be initialised: not read, zeroed, taken as checked. */
MUST_CHECK int cache_get_new(struct cache *c, pblk_t pblk, const struct cache_kind *kind, struct cache_buf **out);
void cache_put(struct cache_buf *b);	/* NULL is fine */
static inline void cache_put_cleanup(struct cache_buf **b) { cache_put(*b); }
#define CLEANUP_BUF __attribute__((cleanup(cache_put_cleanup)))

/* Reads what is missing of nr blocks (4 MiB at most) in one batch, pins nothing, ignores errors. */
void cache_readahead(struct cache *c, pblk_t pblk, uint32_t nr);

/* File data, in runs. bufs has room for all blocks of all runs, in order. */
struct cache_run {
	pblk_t pblk;
	uint32_t nr;
};
/* Pins all blocks of all runs; the missing ones are read in one batch. All or nothing. */
MUST_CHECK int cache_get_runs(struct cache *c, const struct cache_run *runs, unsigned nr_runs,
			      struct cache_buf **bufs);
void cache_put_many(struct cache_buf **bufs, unsigned nr);

enum cache_write_mode {
	CACHE_OVERWRITE,	/* the caller overwrites every byte: not read, not zeroed */
	CACHE_UPDATE,		/* part will be overwritten: read first when missing */
	CACHE_FRESH,		/* newly allocated block, part will be written: zeroed */
};
/*
 * Pins nr blocks for writing; waits while they are being written out; until the end they are
 * not. Who gets a block that was not there before waits until the end. All or nothing.
 */
MUST_CHECK int cache_write_begin(struct cache *c, pblk_t pblk, uint32_t nr, enum cache_write_mode mode,
				 struct cache_buf **bufs);
/* The bytes are there: frames are dirty file data and unpinned. */
void cache_write_end(struct cache *c, struct cache_buf **bufs, unsigned nr);

/* Metadata has changed (called by the journal only). Does not unpin. */
void cache_mark_dirty(struct cache_buf *b);

/*
 * The blocks were freed: their frames are dropped with their contents, unwritten.
 * Waits for a write-back that is under way. Pinned frames are only made clean.
 */
void cache_forget(struct cache *c, pblk_t pblk, uint64_t nr);

/* Writes dirty frames of the range and waits; others may go along. 0 or the first error (C5). */
MUST_CHECK int cache_flush_range(struct cache *c, pblk_t pblk, uint64_t nr);
/* The same for the blocks of several runs, in one go. */
MUST_CHECK int cache_flush_runs(struct cache *c, const struct cache_run *runs, size_t nr_runs);
/*
 * The same for single blocks, for the journal: on return pblks[0 .. *nr_held) are those of them
 * that are held and so may not be home yet; the others are, or were not in memory.
 */
MUST_CHECK int cache_flush_blocks(struct cache *c, pblk_t *pblks, size_t nr, size_t *nr_held);
enum { CACHE_META = 1, CACHE_DATA = 2 };
/* Writes everything of these classes that was dirty at the call, and waits. No blk_flush. */
MUST_CHECK int cache_flush(struct cache *c, unsigned classes);
/*
 * Waits while more is dirty than the limit. Call before an operation that dirties, with no handle
 * open. Does not wait while write-back fails: look at cache_error() before dirtying more.
 */
void cache_throttle(struct cache *c);
/*
 * Holding, for the journal (C7). A hold pins, and takes the frame from the dirty ones; holds
 * add up. The last release makes the frame dirty metadata when dirty says so.
 */
void cache_buf_hold(struct cache_buf *b);
void cache_buf_release(struct cache_buf *b, bool dirty);
/*
 * A metadata block was freed. When memory has a newer copy than its home, the frame comes back
 * held; else its frame is dropped as by cache_forget, and the result is NULL.
 */
struct cache_buf *cache_hold_unwritten(struct cache *c, pblk_t pblk);

/* The oldest write-back error that still stands, or 0. */
int cache_error(struct cache *c);
/* Drops every clean unpinned frame (tests, osfsctl). */
void cache_drop_clean(struct cache *c);

struct cache_stats {
	uint64_t size_bytes, nr_frames, nr_dirty, nr_pinned, nr_writeback;
	uint64_t nr_hits, nr_misses, nr_evictions, nr_hand_steps;
	uint64_t nr_blocks_read, nr_blocks_written, nr_read_batches, nr_write_batches, nr_throttled;
	uint32_t block_bytes;
};
void cache_stats_get(struct cache *c, struct cache_stats *out);
uint32_t cache_block_bytes(const struct cache *c);
void cache_to_text(struct cache *c, FILE *out);
/* Walks every structure; 0, or -EUCLEAN after logging what is wrong where. */
int cache_check(struct cache *c);

#endif
