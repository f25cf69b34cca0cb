/* test_cache.h: what the tests of cache and null journal share (test_cache*.c, test_jnl.c). */
#ifndef OSFS_TEST_CACHE_H
#define OSFS_TEST_CACHE_H

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "cache/cache_int.h"

enum { BLOCK = 4096, NR_BLOCKS = 4096, MAX_SEEN = 512 };

/* A device over memory that can fail, and watches the bytes while a write runs. */
struct watched {
	struct blk_dev dev;
	uint8_t *bytes;
	atomic_int fail_reads, fail_writes, fail_flushes;	/* -errno, or 0 */
	atomic_uint nr_reads, nr_writes, nr_flushes;		/* requests that were carried out */
	atomic_uint nr_unstable;	/* writes whose bytes changed meanwhile */
	atomic_uint nr_uneven;		/* writes whose first and last byte differ */
	unsigned write_usec, read_usec;	/* each takes so long */
	void (*intrude)(struct watched *w);	/* called in the middle of each write and flush */
	void *arg;
	os_mutex lock;
	unsigned nr_seen;		/* [lock] */
	struct { pblk_t pblk; uint64_t nr; } seen[MAX_SEEN];	/* [lock] the first writes, in order */
};

/* One cache on one such device. Tests run one at a time, each in its own process. */
struct fixture {
	struct alloc *mem;
	struct watched *dev;
	struct cache *cache;
	uint32_t block_bytes;
	pblk_t nr_blocks;	/* of the device: 16 MiB, NR_BLOCKS at most */
};
extern struct fixture fx;

/* Zero is the default: blocks of 4 KiB, 1 MiB, no thread, no limit. */
struct start_opts {
	uint32_t block_bytes;
	uint64_t size_bytes, max_memory;
	bool background;
	unsigned writeback_msec;
	uint32_t optimal_bytes;
	bool no_guards;		/* behind the slabs' objects */
	pblk_t nr_filled;	/* so many blocks have a version 0, the rest is zero; 0: all have one */
};
void start(struct start_opts o);
/* Checks that the cache is sound and that nothing leaks. */
void stop(void);

struct cache_stats stats(void);
void be_silent(void);	/* messages are expected */
/* The bytes that a block has in one of its versions; the device starts with version 0 of all. */
void fill_pattern(void *bytes, pblk_t pblk, unsigned version);
bool block_is(const void *bytes, pblk_t pblk, unsigned version);
void must_be(const void *bytes, pblk_t pblk, unsigned version);
void *on_disk(pblk_t pblk);
void write_blocks(pblk_t pblk, uint32_t nr, unsigned version);	/* through the cache; 256 at most */
struct cache_buf *must_get(pblk_t pblk);
void start_thread(pthread_t *t, void *(*fn)(void *arg), void *arg);

void add_write_tests(Suite *s);
void add_model_tests(Suite *s);

#endif
