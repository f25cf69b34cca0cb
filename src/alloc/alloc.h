/*
 * alloc.h: memory of a running volume: pages from a buddy allocator over mmap'ed
 * arenas, objects from slab caches on top of it.
 *
 * Use:     struct alloc *a; alloc_new(&opts, &a); p = alloc_pages(a, 0); ... alloc_pages_free(a, p, 0);
 *          s = slab_new(a, "inode", sizeof(struct x), 0); x = slab_alloc(s); ... slab_put(s, x);
 * Threads: any thread may call. slab_alloc/slab_put take no lock while the calling
 *          thread's magazine serves them; otherwise RANK_SLAB, then RANK_BUDDY. The
 *          same holds for alloc_pages up to order 4. What one thread got another
 *          may give back; a thread that ends gives back what its magazines hold.
 * Errors:  NULL means out of memory (the limit, or mmap failed). Magazines of other
 *          threads may then still hold 128 KiB per order and cache each: leave the
 *          limit some room.
 * Memory:  not zeroed. With poison, fresh objects are 0xa5, freed ones 0x6b, and a
 *          write after free is reported at the next allocation with the cache's name.
 *          Misuse is logged, counted (nr_faults) and makes alloc_check fail; the
 *          memory in question is left alone. Poison and redzone switch magazines off.
 *          ASan builds stop at the access itself, in every mode.
 *
 * Both allocators check themselves (alloc_check), print themselves (alloc_to_text)
 * and report what was not given back, by cache name, when they are freed.
 */
#ifndef OSFS_ALLOC_ALLOC_H
#define OSFS_ALLOC_ALLOC_H

#include <stdio.h>

#include "base/types.h"

enum {
	ALLOC_PAGE_BYTES = 4096,
	ALLOC_MAX_ORDER = 10,	/* largest run: 4 KiB << 10 = 4 MiB */
};

struct alloc;
struct slab;

struct alloc_opts {
	uint64_t max_bytes;	/* most that arenas may take from the system; 0: no limit */
	bool poison;		/* fill fresh and freed memory, check on reuse */
	bool redzone;		/* guard bytes behind each slab object, checked when it comes back */
};

MUST_CHECK int alloc_new(const struct alloc_opts *opts, struct alloc **out);
/*
 * Frees everything. Every slab must have been freed before; no thread may be in a
 * call, and one that used the allocator and has ended must have been joined. Returns
 * the number of leaked pages (0 is good) and says so in the log. a may be NULL.
 */
uint64_t alloc_free(struct alloc *a);

/* 2^order contiguous pages, aligned to their size; order 0 to ALLOC_MAX_ORDER. */
void *alloc_pages(struct alloc *a, unsigned order);
void alloc_pages_free(struct alloc *a, void *pages, unsigned order);
/*
 * Gives arenas that are wholly free, and the memory behind free runs of 2 MiB and
 * more, back to the system; returns the bytes given back.
 */
uint64_t alloc_trim(struct alloc *a);

enum {
	SLAB_ZERO = 1 << 0,	/* objects come zeroed */
};

/*
 * A cache of objects of len_bytes (8 bytes to 64 KiB), aligned to 16, or to the
 * size when that is a power of two of at least 512. name is kept, not copied.
 * NULL when out of memory.
 */
struct slab *slab_new(struct alloc *a, const char *name, size_t len_bytes, unsigned flags);
/*
 * Returns the number of leaked objects (0 is good) and says so in the log. Threads
 * that used s may go on, but not with s. s may be NULL.
 */
uint64_t slab_free(struct slab *s);
void *slab_alloc(struct slab *s);
void slab_put(struct slab *s, void *object);
/* Empties the calling thread's magazines and gives empty slabs back. */
void slab_shrink(struct slab *s);

struct alloc_stats {
	uint64_t arena_bytes;	/* taken from the system */
	uint64_t used_bytes;	/* in pages handed out (slabs' pages count) */
	uint64_t peak_bytes;	/* most ever used, with what rests in magazines */
	uint64_t nr_free[ALLOC_MAX_ORDER + 1];	/* free runs per order */
	uint64_t nr_faults;	/* misuse found: double frees, broken guard bytes, writes after free */
};
void alloc_stats_get(struct alloc *a, struct alloc_stats *out);

struct slab_stats {
	const char *name;
	size_t object_bytes;
	uint64_t nr_used, nr_slots, nr_slabs;
	uint64_t nr_resting;	/* free, in threads' magazines; not in nr_used */
	uint64_t page_bytes;
};
/* Fills up to max entries, returns how many caches there are. */
unsigned slab_stats_get(struct alloc *a, struct slab_stats *out, unsigned max);

/* Walks every structure; 0, or -EUCLEAN after logging what is wrong where. */
int alloc_check(struct alloc *a);
/* Free lists per order, and a row per slab cache. */
void alloc_to_text(struct alloc *a, FILE *out);

#endif
