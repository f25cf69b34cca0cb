/*
 * alloc_int.h: the inside of struct alloc. Private to src/alloc.
 *
 *   alloc_pages --> magazines --.
 *                                 >--> buddy --> arenas (mmap)
 *   slab_alloc --> magazines --> slab runs --'
 *
 * Locks, in the order they are taken: alloc.lock (RANK_SLAB, key 0), one cache's
 * slab.lock (RANK_SLAB, key 1), the lock of the cache of run headers (RANK_SLAB,
 * key 2), buddy.lock (RANK_BUDDY).
 */
#ifndef OSFS_ALLOC_ALLOC_INT_H
#define OSFS_ALLOC_ALLOC_INT_H

#include "alloc/alloc.h"
#include "alloc/alloc_debug.h"
#include "alloc/buddy.h"
#include "alloc/magazine.h"
#include "base/lock.h"

enum { SLAB_KEY = 1, SLAB_KEY_HEADERS = 2 };

/* Runs of one order, as things that rest in magazines. */
struct page_class {
	struct mag_class mags;
	unsigned order;
};

struct alloc {
	struct alloc_debug debug;
	struct buddy buddy;
	os_mutex lock;				/* RANK_SLAB, key 0 */
	struct mag_threads mt;
	struct page_class pages[NR_ORDERS];
	struct list slabs;			/* [lock] struct slab */
	struct slab *headers;			/* objects: struct slab_run */
};

struct slab {
	struct mag_class mags;
	const char *name;
	size_t len_bytes, stride;	/* [const] of an object; from one to the next */
	uint64_t stride_inverse;	/* [const] 2^40 / stride, rounded up */
	unsigned flags, order;		/* [const] of slab_new; of a run */
	unsigned first_slot, nr_slots;	/* [const] slot 0 of the header cache's runs is their own header */
	uint64_t lock_key;		/* [const] */
	struct list link;		/* [alloc.lock] in alloc.slabs */
	os_mutex lock;			/* RANK_SLAB, lock_key */
	struct list partial, full, empty;	/* [lock] runs */
	uint64_t nr_runs, nr_empty;	/* [lock] */
	uint64_t nr_taken;		/* [lock] objects in use or in magazines */
};

enum { SLAB_MAX_SLOTS = 512, SLAB_MAP_WORDS = SLAB_MAX_SLOTS / 64 };

/* A run of pages cut into slots. */
struct slab_run {
	struct list link;		/* [slab.lock] in partial, full or empty */
	struct slab *slab;
	char *base;
	uint32_t nr_taken;		/* [slab.lock] */
	uint64_t free_map[SLAB_MAP_WORDS];	/* [slab.lock] bit set: slot is free */
};

/* slab.c: alloc_new and alloc_free end with the cache of headers. */
MUST_CHECK int slab_headers_init(struct alloc *a);
void slab_headers_fini(struct alloc *a);

#endif
