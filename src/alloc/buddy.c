/*
 * buddy.c: split on the way out, merge on the way in. See buddy.h for B1 to B4.
 *
 * The buddy of a run is found by flipping one bit of its page number, and whether
 * it is free by one state byte; both ways cost at most ALLOC_MAX_ORDER steps.
 */
#include "alloc/buddy.h"

#include <sys/mman.h>

#include "base/trace.h"

/* ---- free lists ---------------------------------------------------------- */

static void free_add(struct buddy *b, struct arena *ar, uint32_t page, unsigned order, uint8_t untouched)
{
	/* PAGE_POISONED is the page's own and stays. */
	ar->state[page] = (uint8_t)((ar->state[page] & PAGE_POISONED) | PAGE_FREE | order | untouched);
	list_add(&b->free[order], &ar->desc[page].link);
	b->nr_free[order]++;
	b->free_orders |= 1u << order;
}

/* Takes a run off its list; returns PAGE_UNTOUCHED or 0. The state is left without a kind. */
static uint8_t free_del(struct buddy *b, struct arena *ar, uint32_t page, unsigned order)
{
	uint8_t untouched = ar->state[page] & PAGE_UNTOUCHED;

	list_del(&ar->desc[page].link);
	if (!--b->nr_free[order])
		b->free_orders &= ~(1u << order);
	ar->state[page] &= PAGE_POISONED;
	return untouched;
}

static bool is_free_run(const struct arena *ar, uint32_t page, unsigned order)
{
	return (ar->state[page] & PAGE_KIND_MASK) == (PAGE_FREE | order);
}

/* ---- arenas -------------------------------------------------------------- */

/* The largest aligned runs that tile the pages from `page` on: order of the first one. */
static unsigned tile_order(const struct arena *ar, uint32_t page)
{
	unsigned order = MIN((unsigned)__builtin_ctz(page), (unsigned)ALLOC_MAX_ORDER);

	while (page + (1u << order) > ar->nr_pages)
		order--;
	return order;
}

static int buddy_grow(struct buddy *b, unsigned order)
{
	struct arena *ar;

	assert_held(&b->lock);
	ar = arena_map(b->max_pages - b->nr_pages, order);
	if (!ar)
		return -ENOMEM;
	list_add_tail(&b->arenas, &ar->link);
	b->nr_pages += ar->nr_pages;
	ar->nr_free = ar->nr_pages - ar->first_page;
	b->nr_idle++;
	for (uint32_t page = ar->first_page; page < ar->nr_pages;) {
		unsigned o = tile_order(ar, page);

		free_add(b, ar, page, o, PAGE_UNTOUCHED);
		page += 1u << o;
	}
	TRACE(alloc, "arena %p mapped, %" PRIu32 " pages", (void *)ar, ar->nr_pages);
	return 0;
}

static bool is_idle(const struct arena *ar)
{
	return ar->nr_free == ar->nr_pages - ar->first_page;
}

/* Takes a wholly free arena out of all books; it goes to the list `gone`, to be unmapped without the lock. */
static void arena_detach(struct buddy *b, struct arena *ar, struct list *gone)
{
	assert_held(&b->lock);
	for (uint32_t page = ar->first_page; page < ar->nr_pages;) {
		unsigned o = ar->state[page] & PAGE_ORDER_MASK;

		free_del(b, ar, page, o);
		page += 1u << o;
	}
	b->nr_pages -= ar->nr_pages;
	b->nr_idle--;
	list_del(&ar->link);
	list_add(gone, &ar->link);
}

static uint64_t arenas_unmap(struct list *gone)
{
	struct arena *ar, *next;
	uint64_t bytes = 0;

	list_for_each_safe(ar, next, gone, link) {
		TRACE(alloc, "arena %p unmapped", (void *)ar);
		bytes += (uint64_t)ar->nr_pages * ALLOC_PAGE_BYTES;
		arena_unmap(ar);
	}
	return bytes;
}

/* ---- poison -------------------------------------------------------------- */

static void poison_run(struct arena *ar, uint32_t page, unsigned order)
{
	void *p = arena_page(ar, page);
	size_t len_bytes = (size_t)ALLOC_PAGE_BYTES << order;

	mem_show(p, len_bytes);
	memset(p, POISON_FREED, len_bytes);
	mem_hide(p, len_bytes);
	for (uint32_t i = 0; i < 1u << order; i++)
		ar->state[page + i] |= PAGE_POISONED;
}

/* Reports bytes that changed since poison_run(), and fills the run for its new user. */
static void unpoison_run(struct buddy *b, struct arena *ar, uint32_t page, unsigned order)
{
	char *p = arena_page(ar, page);

	mem_show(p, (size_t)ALLOC_PAGE_BYTES << order);
	for (uint32_t i = 0; i < 1u << order; i++, p += ALLOC_PAGE_BYTES) {
		size_t at;

		if (ar->state[page + i] & PAGE_POISONED) {
			at = alloc_debug_find_other(p, POISON_FREED, ALLOC_PAGE_BYTES);
			if (at < ALLOC_PAGE_BYTES)
				alloc_debug_fault(b->debug, "page %p written after free, first at byte %zu",
						  (void *)p, at);
		}
		ar->state[page + i] &= (uint8_t)~PAGE_POISONED;
		memset(p, POISON_FRESH, ALLOC_PAGE_BYTES);
	}
	mem_hide(arena_page(ar, page), (size_t)ALLOC_PAGE_BYTES << order);
}

/* ---- runs ---------------------------------------------------------------- */

static void *buddy_take_one(struct buddy *b, unsigned order)
{
	uint32_t orders = b->free_orders & (~0u << order);
	union page_desc *d;
	struct arena *ar;
	uint8_t untouched;
	uint32_t page;
	unsigned o;

	assert_held(&b->lock);
	if (!orders) {
		if (buddy_grow(b, order))
			return NULL;
		orders = b->free_orders & (~0u << order);
	}
	o = (unsigned)__builtin_ctz(orders);
	d = list_first(&b->free[o], union page_desc, link);
	ar = arena_of(d);
	page = (uint32_t)(d - ar->desc);
	untouched = free_del(b, ar, page, o);
	while (o > order) {
		o--;
		free_add(b, ar, page + (1u << o), o, untouched);
	}
	ar->state[page] |= (uint8_t)(PAGE_USED | order);
	if (is_idle(ar))
		b->nr_idle--;
	ar->nr_free -= 1u << order;
	b->nr_used += 1u << order;
	if (b->debug->poison)
		unpoison_run(b, ar, page, order);
	return arena_page(ar, page);
}

unsigned buddy_take(struct buddy *b, unsigned order, void **runs, unsigned nr)
{
	unsigned i;

	LOCK_GUARD(&b->lock);
	for (i = 0; i < nr; i++) {
		runs[i] = buddy_take_one(b, order);
		if (!runs[i])
			break;
	}
	b->nr_peak = MAX(b->nr_peak, b->nr_used);
	return i;
}

bool buddy_is_used(const void *p, unsigned order)
{
	const struct arena *ar = arena_of(p);

	return !((uintptr_t)p & (ALLOC_PAGE_BYTES - 1)) &&
	       (ar->state[arena_page_of(p)] & PAGE_KIND_MASK) == (PAGE_USED | order);
}

static void buddy_give_one(struct buddy *b, void *p, unsigned order, struct list *gone)
{
	struct arena *ar = arena_of(p);
	uint32_t page = arena_page_of(p);

	assert_held(&b->lock);
	if (!buddy_is_used(p, order)) {
		alloc_debug_fault(b->debug, "freed twice or never allocated: %p as a run of order %u",
				  p, order);
		return;
	}
	ar->state[page] = 0;
	if (b->debug->poison)
		poison_run(ar, page, order);
	ar->nr_free += 1u << order;
	b->nr_used -= 1u << order;
	for (; order < ALLOC_MAX_ORDER; order++) {
		uint32_t buddy = page ^ (1u << order);

		if (buddy >= ar->nr_pages || !is_free_run(ar, buddy, order))
			break;
		free_del(b, ar, buddy, order);
		page &= buddy;
	}
	free_add(b, ar, page, order, 0);
	if (is_idle(ar) && ++b->nr_idle > 1)
		arena_detach(b, ar, gone);
}

void buddy_give(struct buddy *b, unsigned order, void **runs, unsigned nr)
{
	struct list gone;

	list_init(&gone);
	os_mutex_lock(&b->lock);
	for (unsigned i = 0; i < nr; i++)
		buddy_give_one(b, runs[i], order, &gone);
	os_mutex_unlock(&b->lock);
	arenas_unmap(&gone);
}

/* ---- life ---------------------------------------------------------------- */

void buddy_init(struct buddy *b, uint64_t max_bytes, struct alloc_debug *debug)
{
	memset(b, 0, sizeof(*b));
	os_mutex_init(&b->lock, RANK_BUDDY);
	b->debug = debug;
	b->max_pages = max_bytes ? max_bytes / ALLOC_PAGE_BYTES : UINT64_MAX;
	list_init(&b->arenas);
	for (unsigned o = 0; o < NR_ORDERS; o++)
		list_init(&b->free[o]);
}

uint64_t buddy_fini(struct buddy *b)
{
	arenas_unmap(&b->arenas);
	os_mutex_fini(&b->lock);
	return b->nr_used;
}

/* Gives the memory behind a large free run back and keeps its addresses. */
static uint64_t trim_run(struct arena *ar, uint32_t page, unsigned order)
{
	size_t len_bytes = (size_t)ALLOC_PAGE_BYTES << order;

	if (ar->state[page] & PAGE_UNTOUCHED || madvise(arena_page(ar, page), len_bytes, MADV_DONTNEED))
		return 0;
	for (uint32_t i = 0; i < 1u << order; i++)
		ar->state[page + i] &= (uint8_t)~PAGE_POISONED;
	ar->state[page] |= PAGE_UNTOUCHED;
	return len_bytes;
}

uint64_t buddy_trim(struct buddy *b)
{
	enum { ORDER_HUGE = 9 };	/* 2 MiB: smaller holes would only tear huge pages apart */
	struct arena *ar, *next;
	uint64_t bytes = 0;
	struct list gone;

	list_init(&gone);
	os_mutex_lock(&b->lock);
	list_for_each_safe(ar, next, &b->arenas, link)
		if (is_idle(ar))
			arena_detach(b, ar, &gone);
	for (unsigned o = ORDER_HUGE; o < NR_ORDERS; o++) {
		union page_desc *d;

		list_for_each(d, &b->free[o], link) {
			ar = arena_of(d);
			bytes += trim_run(ar, (uint32_t)(d - ar->desc), o);
		}
	}
	os_mutex_unlock(&b->lock);
	return bytes + arenas_unmap(&gone);
}
