/*
 * alloc_check.c: walks every structure and asks for B1 to B4 (buddy.h) and S1 to S3
 * (slab.c). Other threads may run meanwhile; what rests in their magazines is theirs
 * (M1) and is looked at when it is drained.
 */
#include "alloc/alloc_int.h"
#include "base/log.h"

#define damaged(...) (log_error("memory: " __VA_ARGS__), -EUCLEAN)

/* ---- buddy --------------------------------------------------------------- */

struct totals {
	uint64_t nr_pages, nr_used, nr_free[NR_ORDERS];
	unsigned nr_idle;
};

static int check_inside_of_run(const struct arena *ar, uint32_t page, unsigned order)
{
	for (uint32_t i = 1; i < 1u << order; i++)
		if (ar->state[page + i] & ~PAGE_POISONED)
			return damaged("arena %p page %" PRIu32 ": state %#x inside a run of order %u (B3)",
				       (const void *)ar, page + i, ar->state[page + i], order);
	return 0;
}

static int check_run(const struct arena *ar, uint32_t page)
{
	uint8_t state = ar->state[page];
	unsigned order = state & PAGE_ORDER_MASK;
	uint32_t buddy = page ^ (1u << order);
	bool is_free = state & PAGE_FREE;

	if (is_free == !!(state & PAGE_USED) || order > ALLOC_MAX_ORDER)
		return damaged("arena %p page %" PRIu32 ": state %#x is no run", (const void *)ar, page, state);
	if (page & ((1u << order) - 1) || page + (1u << order) > ar->nr_pages)
		return damaged("arena %p page %" PRIu32 ": misplaced run of order %u (B1)",
			       (const void *)ar, page, order);
	if (is_free && order < ALLOC_MAX_ORDER && buddy < ar->nr_pages &&
	    (ar->state[buddy] & PAGE_KIND_MASK) == (PAGE_FREE | order))
		return damaged("arena %p page %" PRIu32 ": free beside its free buddy, order %u (B2)",
			       (const void *)ar, page, order);
	return check_inside_of_run(ar, page, order);
}

static int check_arena(const struct arena *ar, struct totals *t)
{
	uint32_t nr_free = 0;

	for (uint32_t page = ar->first_page; page < ar->nr_pages;) {
		unsigned order = ar->state[page] & PAGE_ORDER_MASK;
		int err = check_run(ar, page);

		if (err)
			return err;
		if (ar->state[page] & PAGE_FREE) {
			t->nr_free[order]++;
			nr_free += 1u << order;
		} else {
			t->nr_used += 1u << order;
		}
		page += 1u << order;
	}
	if (nr_free != ar->nr_free)
		return damaged("arena %p: %" PRIu32 " pages free, the count says %" PRIu32,
			       (const void *)ar, nr_free, ar->nr_free);
	t->nr_pages += ar->nr_pages;
	t->nr_idle += nr_free == ar->nr_pages - ar->first_page;
	return 0;
}

static int check_free_list(const struct buddy *b, unsigned order, uint64_t nr_found)
{
	const union page_desc *d;
	uint64_t nr = 0;

	list_for_each(d, &b->free[order], link) {
		const struct arena *ar = arena_of(d);

		if ((ar->state[d - ar->desc] & PAGE_KIND_MASK) != (PAGE_FREE | order))
			return damaged("free list of order %u: page %td of arena %p has state %#x (B3)",
				       order, d - ar->desc, (const void *)ar, ar->state[d - ar->desc]);
		nr++;
	}
	if (nr != nr_found || nr != b->nr_free[order] || (nr != 0) != (b->free_orders >> order & 1))
		return damaged("free list of order %u: %" PRIu64 " runs listed, %" PRIu64 " found, %" PRIu64
			       " counted", order, nr, nr_found, b->nr_free[order]);
	return 0;
}

int buddy_check(struct buddy *b)
{
	struct totals t = { 0 };
	struct arena *ar;
	int err;

	LOCK_GUARD(&b->lock);
	list_for_each(ar, &b->arenas, link) {
		err = check_arena(ar, &t);
		if (err)
			return err;
	}
	for (unsigned order = 0; order < NR_ORDERS; order++) {
		err = check_free_list(b, order, t.nr_free[order]);
		if (err)
			return err;
	}
	if (t.nr_pages != b->nr_pages || t.nr_used != b->nr_used || t.nr_idle != b->nr_idle || t.nr_idle > 1)
		return damaged("%" PRIu64 " pages, %" PRIu64 " used, %u arenas idle; the counts say %" PRIu64
			       ", %" PRIu64 ", %u (B4)",
			       t.nr_pages, t.nr_used, t.nr_idle, b->nr_pages, b->nr_used, b->nr_idle);
	return 0;
}

/* ---- slabs --------------------------------------------------------------- */

static int check_slab_run(const struct slab *s, const struct slab_run *r)
{
	unsigned nr_free = 0, nr_slots = s->nr_slots - s->first_slot;

	for (unsigned w = 0; w < SLAB_MAP_WORDS; w++)
		nr_free += (unsigned)__builtin_popcountll(r->free_map[w]);
	if (r->slab != s || !buddy_is_used(r->base, s->order) || *buddy_owner(r->base, s->order) != r)
		return damaged("cache %s: run at %p is not ours", s->name, (void *)r->base);
	if (nr_free + r->nr_taken != nr_slots)
		return damaged("cache %s: run at %p has %u free slots and %" PRIu32 " taken of %u",
			       s->name, (void *)r->base, nr_free, r->nr_taken, nr_slots);
	return 0;
}

/* All runs of one list have between min and max taken slots (S1). */
static int check_slab_list(const struct slab *s, const struct list *runs, unsigned min, unsigned max,
			   uint64_t *nr_runs, uint64_t *nr_taken)
{
	const struct slab_run *r;

	list_for_each(r, runs, link) {
		int err = check_slab_run(s, r);

		if (err)
			return err;
		if (r->nr_taken < min || r->nr_taken > max)
			return damaged("cache %s: run at %p with %" PRIu32 " taken slots is in the wrong list (S1)",
				       s->name, (void *)r->base, r->nr_taken);
		++*nr_runs;
		*nr_taken += r->nr_taken;
	}
	return 0;
}

static int slab_check(struct slab *s)
{
	unsigned nr_slots = s->nr_slots - s->first_slot;
	uint64_t nr_empty = 0, nr_runs, nr_taken = 0;
	int err;

	os_mutex_lock_key(&s->lock, s->lock_key);
	err = check_slab_list(s, &s->empty, 0, 0, &nr_empty, &nr_taken);
	nr_runs = nr_empty;
	if (!err)
		err = check_slab_list(s, &s->partial, 1, nr_slots - 1, &nr_runs, &nr_taken);
	if (!err)
		err = check_slab_list(s, &s->full, nr_slots, nr_slots, &nr_runs, &nr_taken);
	if (!err && (nr_runs != s->nr_runs || nr_taken != s->nr_taken || nr_empty != s->nr_empty ||
		     nr_empty > 1))
		err = damaged("cache %s: %" PRIu64 " runs, %" PRIu64 " empty, %" PRIu64 " slots taken; the counts say"
			      " %" PRIu64 ", %" PRIu64 ", %" PRIu64 " (S3)",
			      s->name, nr_runs, nr_empty, nr_taken, s->nr_runs, s->nr_empty, s->nr_taken);
	os_mutex_unlock(&s->lock);
	return err;
}

int alloc_check(struct alloc *a)
{
	uint64_t nr_faults = atomic_load_explicit(&a->debug.nr_faults, memory_order_relaxed);
	struct slab *s;
	int err;

	if (nr_faults)
		return damaged("%" PRIu64 " faults were reported before", nr_faults);
	LOCK_GUARD(&a->lock);
	list_for_each(s, &a->slabs, link) {
		err = slab_check(s);
		if (err)
			return err;
	}
	return buddy_check(&a->buddy);
}
