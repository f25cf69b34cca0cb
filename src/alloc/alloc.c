/* alloc.c: life of the whole, pages through magazines, and the numbers. */
#include "alloc/alloc.h"

#include <assert.h>
#include <stdlib.h>

#include "alloc/alloc_int.h"
#include "base/log.h"

/* A thread keeps at most this much of one order; larger runs go to the buddy allocator each time. */
enum { PAGE_MAG_BYTES = 128 << 10 };

/* ---- pages --------------------------------------------------------------- */

static unsigned pages_refill(struct mag_class *c, void **obj, unsigned nr)
{
	return buddy_take(&c->a->buddy, container_of(c, struct page_class, mags)->order, obj, nr);
}

static void pages_drain(struct mag_class *c, void **obj, unsigned nr)
{
	buddy_give(&c->a->buddy, container_of(c, struct page_class, mags)->order, obj, nr);
}

void *alloc_pages(struct alloc *a, unsigned order)
{
	void *p;

	assert(order <= ALLOC_MAX_ORDER);
	lock_dep_assert_below(RANK_SLAB);
	p = mag_get(&a->pages[order].mags, a->mt.key);
	if (likely(p))
		mem_show(p, (size_t)ALLOC_PAGE_BYTES << order);
	return p;
}

void alloc_pages_free(struct alloc *a, void *pages, unsigned order)
{
	assert(order <= ALLOC_MAX_ORDER);
	lock_dep_assert_below(RANK_SLAB);
	if (!buddy_is_used(pages, order) || mem_is_hidden(pages)) {
		alloc_debug_fault(&a->debug, "freed twice or never allocated: %p as a run of order %u",
				  pages, order);
		return;
	}
	mem_hide(pages, (size_t)ALLOC_PAGE_BYTES << order);
	mag_put(&a->pages[order].mags, a->mt.key, pages);
}

uint64_t alloc_trim(struct alloc *a)
{
	lock_dep_assert_below(RANK_SLAB);
	for (unsigned order = 0; order < NR_ORDERS; order++)
		mag_flush_mine(&a->pages[order].mags);
	return buddy_trim(&a->buddy);
}

/* ---- life ---------------------------------------------------------------- */

static void pages_init(struct alloc *a)
{
	for (unsigned order = 0; order < NR_ORDERS; order++) {
		struct page_class *pc = &a->pages[order];

		pc->order = order;
		mag_class_init(&pc->mags, a,
			       alloc_debug_is_on(&a->debug) ? 0 : PAGE_MAG_BYTES / (ALLOC_PAGE_BYTES << order),
			       pages_refill, pages_drain);
	}
}

int alloc_new(const struct alloc_opts *opts, struct alloc **out)
{
	struct alloc *a = calloc(1, sizeof(*a));
	int err;

	*out = NULL;
	if (!a)
		return -ENOMEM;
	err = mag_threads_init(&a->mt);
	if (err) {
		free(a);
		return err;
	}
	a->debug.poison = opts->poison;
	a->debug.redzone = opts->redzone;
	os_mutex_init(&a->lock, RANK_SLAB);
	list_init(&a->slabs);
	buddy_init(&a->buddy, opts->max_bytes, &a->debug);
	pages_init(a);
	err = slab_headers_init(a);
	if (err) {
		alloc_free(a);
		return err;
	}
	*out = a;
	return 0;
}

/* Caches that their makers forgot: reported, and freed all the same. */
static void slabs_free_forgotten(struct alloc *a)
{
	struct slab *s, *next;

	list_for_each_safe(s, next, &a->slabs, link)
		if (s != a->headers) {
			log_warn("memory: cache %s was not freed", s->name);
			slab_free(s);
		}
}

uint64_t alloc_free(struct alloc *a)
{
	uint64_t nr_leaked;

	if (!a)
		return 0;
	slabs_free_forgotten(a);
	slab_headers_fini(a);
	for (unsigned order = 0; order < NR_ORDERS; order++)
		mag_class_fini(&a->pages[order].mags);
	mag_threads_fini(&a->mt);
	nr_leaked = buddy_fini(&a->buddy);
	if (nr_leaked)
		log_warn("memory: %" PRIu64 " pages were never given back", nr_leaked);
	os_mutex_fini(&a->lock);
	free(a);
	return nr_leaked;
}

/* ---- numbers ------------------------------------------------------------- */

void alloc_stats_get(struct alloc *a, struct alloc_stats *out)
{
	struct buddy *b = &a->buddy;
	uint64_t nr_resting = 0;

	LOCK_GUARD(&a->lock);
	for (unsigned order = 0; order < NR_ORDERS; order++)
		nr_resting += mag_nr_resting_locked(&a->pages[order].mags) << order;
	os_mutex_lock(&b->lock);
	out->arena_bytes = b->nr_pages * ALLOC_PAGE_BYTES;
	/* Magazines move while we count: never below nothing. */
	out->used_bytes = (b->nr_used - MIN(nr_resting, b->nr_used)) * ALLOC_PAGE_BYTES;
	out->peak_bytes = b->nr_peak * ALLOC_PAGE_BYTES;
	memcpy(out->nr_free, b->nr_free, sizeof(out->nr_free));
	os_mutex_unlock(&b->lock);
	out->nr_faults = atomic_load_explicit(&a->debug.nr_faults, memory_order_relaxed);
}

static void slab_stats_of(struct slab *s, struct slab_stats *out)
{
	uint64_t nr_resting = mag_nr_resting_locked(&s->mags);

	os_mutex_lock_key(&s->lock, s->lock_key);
	out->name = s->name;
	out->object_bytes = s->len_bytes;
	out->nr_resting = MIN(nr_resting, s->nr_taken);
	out->nr_used = s->nr_taken - out->nr_resting;
	out->nr_slots = s->nr_runs * (s->nr_slots - s->first_slot);
	out->nr_slabs = s->nr_runs;
	out->page_bytes = s->nr_runs * (ALLOC_PAGE_BYTES << s->order);
	os_mutex_unlock(&s->lock);
}

unsigned slab_stats_get(struct alloc *a, struct slab_stats *out, unsigned max)
{
	unsigned nr = 0;
	struct slab *s;

	LOCK_GUARD(&a->lock);
	list_for_each(s, &a->slabs, link) {
		if (nr < max)
			slab_stats_of(s, &out[nr]);
		nr++;
	}
	return nr;
}
