/*
 * buddy.h: runs of 2^order pages out of mmap'ed arenas. Private to src/alloc.
 *
 * An arena is 32 MiB of address space, aligned to its size, so that an address
 * leads to its arena by a mask. Its first pages hold one state byte and one
 * descriptor per page (0.4 %); nothing is ever written into a free page, hence
 * memory that was never used costs no RSS.
 *
 * B1  A run of order k begins at a page number (from the arena's start) that is a
 *     multiple of 2^k; its buddy's number differs in bit k only.
 * B2  Two free buddies of the same order below ALLOC_MAX_ORDER do not exist: they merge.
 * B3  state[] is not 0 only at the first page of a run (besides PAGE_POISONED), and
 *     a page's descriptor is linked exactly when its state says PAGE_FREE.
 * B4  At most one arena is wholly free: the next one goes back to the system at once.
 */
#ifndef OSFS_ALLOC_BUDDY_H
#define OSFS_ALLOC_BUDDY_H

#include "alloc/alloc.h"
#include "alloc/alloc_debug.h"
#include "base/list.h"
#include "base/lock.h"

enum {
	ARENA_BYTES = 32 << 20,
	ARENA_PAGES = ARENA_BYTES / ALLOC_PAGE_BYTES,
	NR_ORDERS = ALLOC_MAX_ORDER + 1,
};

/* One state byte a page: the order in the low bits, and what the page is. */
enum {
	PAGE_ORDER_MASK = 0x0f,
	PAGE_FREE = 0x10,	/* first page of a free run */
	PAGE_USED = 0x20,	/* first page of a run handed out */
	PAGE_UNTOUCHED = 0x40,	/* of a free run: not used since the system gave it */
	PAGE_POISONED = 0x80,	/* any free page: holds POISON_FREED */
	PAGE_KIND_MASK = PAGE_FREE | PAGE_USED | PAGE_ORDER_MASK,
};

union page_desc {
	struct list link;	/* PAGE_FREE: in buddy.free[order] */
	void *owner;		/* PAGE_USED: whatever the user of the run keeps here */
};

struct arena {
	struct list link;			/* in buddy.arenas */
	uint32_t nr_pages;			/* [const] may be less than ARENA_PAGES: limit */
	uint32_t first_page;			/* [const] first behind the descriptors */
	uint32_t nr_free;			/* [buddy.lock] pages */
	uint8_t state[ARENA_PAGES];		/* [buddy.lock] see B3 */
	union page_desc desc[ARENA_PAGES];	/* link: [buddy.lock]; owner: the user's */
};

struct buddy {
	os_mutex lock;			/* RANK_BUDDY */
	struct alloc_debug *debug;	/* [const] */
	uint64_t max_pages;		/* [const] */
	struct list arenas;		/* [lock] */
	struct list free[NR_ORDERS];	/* [lock] */
	uint64_t nr_free[NR_ORDERS];	/* [lock] length of free[] */
	uint32_t free_orders;		/* [lock] bit k: free[k] is not empty */
	uint64_t nr_pages;		/* [lock] of all arenas, descriptors included */
	uint64_t nr_used, nr_peak;	/* [lock] pages handed out, and the most ever */
	unsigned nr_idle;		/* [lock] arenas wholly free */
};

void buddy_init(struct buddy *b, uint64_t max_bytes, struct alloc_debug *debug);
/* Unmaps everything; returns the number of pages still in use. */
uint64_t buddy_fini(struct buddy *b);

/* Up to nr runs of one order under one lock; returns how many. They come hidden (mem_hide). */
unsigned buddy_take(struct buddy *b, unsigned order, void **runs, unsigned nr);
/* Gives hidden runs back. A pointer that is no run of this order is a fault, and left alone. */
void buddy_give(struct buddy *b, unsigned order, void **runs, unsigned nr);
/* Whether p is a run of this order that is handed out. Takes no lock: the caller must own p. */
bool buddy_is_used(const void *p, unsigned order);

uint64_t buddy_trim(struct buddy *b);
int buddy_check(struct buddy *b);

static inline struct arena *arena_of(const void *p)
{
	return (struct arena *)ALIGN_DOWN((uintptr_t)p, ARENA_BYTES);
}

static inline uint32_t arena_page_of(const void *p)
{
	return ((uintptr_t)p & (ARENA_BYTES - 1)) / ALLOC_PAGE_BYTES;
}

static inline void *arena_page(struct arena *ar, uint32_t page)
{
	return (char *)ar + (size_t)page * ALLOC_PAGE_BYTES;
}

/* The owner word of the run of this order that p lies in. */
static inline void **buddy_owner(const void *p, unsigned order)
{
	return &arena_of(p)->desc[arena_page_of(p) & ~((1u << order) - 1)].owner;
}

/* arena.c */

/* An arena of at most max_pages; NULL when that is too few for a run of this order, or mmap fails. */
struct arena *arena_map(uint64_t max_pages, unsigned order);
void arena_unmap(struct arena *ar);

#endif
