/*
 * slab.c: caches of objects of one size.
 *
 * A cache cuts runs of pages into slots; a bitmap in the run's header says which are
 * free. Headers lie apart from the objects (in a cache of their own, whose runs keep
 * their header in slot 0), so that objects of a power of two pack without loss and an
 * overflow does not hit a header. An address leads to its header by the page
 * descriptor of its run.
 *
 * S1  A run is in exactly one list: empty (no slot taken), full (none free), partial.
 * S2  A slot is taken from the moment refill hands it out until drain has it back;
 *     in between it belongs to a user or rests in a magazine.
 * S3  At most one empty run is kept; more go back to the buddy allocator.
 */
#include <assert.h>
#include <stdlib.h>

#include "alloc/alloc_int.h"
#include "base/log.h"

enum {
	MIN_LEN_BYTES = 8,
	MAX_LEN_BYTES = 64 << 10,
	MIN_ORDER = 2,			/* 16 KiB: several magazines full of small objects */
	MIN_SLOTS = 8,
	SMALL_ALIGN = 16,
	SELF_ALIGN_FROM = 512,		/* powers of two from here on are aligned to their size */
	/*
	 * Offsets are below 2^20 and strides at most 2^17, so the rounded inverse is exact
	 * (error below 2^37) and the product fits 64 bits (2^20 * 2^36).
	 */
	STRIDE_SHIFT = 40,
	MAG_OBJECTS = 128, MAG_BYTES = 128 << 10,	/* a magazine holds at most the smaller of the two */
};

/* ---- slots --------------------------------------------------------------- */

static struct slab *slab_of_class(struct mag_class *c)
{
	return container_of(c, struct slab, mags);
}

static bool map_test(const struct slab_run *r, unsigned slot)
{
	return r->free_map[slot / 64] >> slot % 64 & 1;
}

/* Slot whose bytes hold the one at this offset: a division by the stride, as a multiplication. */
static unsigned slot_of_offset(const struct slab *s, size_t off_bytes)
{
	return (unsigned)(off_bytes * s->stride_inverse >> STRIDE_SHIFT);
}

static void *slot_address(const struct slab_run *r, unsigned slot)
{
	return r->base + slot * r->slab->stride;
}

/* Up to nr free slots of a run into obj[]; returns how many. */
static unsigned run_take_slots(struct slab_run *r, void **obj, unsigned nr)
{
	unsigned done = 0;

	for (unsigned w = 0; w < SLAB_MAP_WORDS && done < nr; w++) {
		uint64_t map = r->free_map[w];

		for (; map && done < nr; map &= map - 1)
			obj[done++] = slot_address(r, w * 64 + (unsigned)__builtin_ctzll(map));
		r->free_map[w] = map;
	}
	r->nr_taken += done;
	return done;
}

/* ---- poison and guard bytes ---------------------------------------------- */

static void object_unpoison(struct slab *s, char *obj)
{
	struct alloc_debug *g = &s->mags.a->debug;
	size_t at;

	mem_show(obj, s->stride);
	if (g->poison) {
		at = alloc_debug_find_other(obj, POISON_FREED, s->len_bytes);
		if (at < s->len_bytes)
			alloc_debug_fault(g, "cache %s: object %p written after free, first at byte %zu",
					  s->name, (void *)obj, at);
		memset(obj, POISON_FRESH, s->len_bytes);
	}
	if (g->redzone)
		memset(obj + s->len_bytes, GUARD_BYTE, s->stride - s->len_bytes);
	mem_hide(obj, s->stride);
}

static void object_poison(struct slab *s, char *obj)
{
	struct alloc_debug *g = &s->mags.a->debug;
	size_t len_guard = s->stride - s->len_bytes, at;

	mem_show(obj, s->stride);
	if (g->redzone) {
		at = alloc_debug_find_other(obj + s->len_bytes, GUARD_BYTE, len_guard);
		if (at < len_guard)
			alloc_debug_fault(g, "cache %s: object %p of %zu bytes written beyond its end,"
					  " first at byte %zu", s->name, (void *)obj, s->len_bytes, s->len_bytes + at);
	}
	if (g->poison)
		memset(obj, POISON_FREED, s->len_bytes);
	mem_hide(obj, s->stride);
}

/* ---- runs ---------------------------------------------------------------- */

static struct slab_run *run_header_new(struct slab *s, void *base)
{
	struct slab *headers = s->mags.a->headers;
	void *p;

	if (s == headers) {
		mem_show(base, sizeof(struct slab_run));
		return base;
	}
	if (!headers->mags.refill(&headers->mags, &p, 1))
		return NULL;
	mem_show(p, sizeof(struct slab_run));
	return p;
}

static void run_header_free(struct slab *s, struct slab_run *r)
{
	struct slab *headers = s->mags.a->headers;
	void *p = r;

	mem_hide(r, sizeof(*r));
	if (s != headers)
		headers->mags.drain(&headers->mags, &p, 1);
}

/* A new run goes to the empty ones; NULL when out of memory. */
static struct slab_run *run_new(struct slab *s)
{
	struct alloc *a = s->mags.a;
	struct slab_run *r;
	void *base;

	assert_held(&s->lock);
	if (!buddy_take(&a->buddy, s->order, &base, 1))
		return NULL;
	r = run_header_new(s, base);
	if (!r) {
		buddy_give(&a->buddy, s->order, &base, 1);
		return NULL;
	}
	memset(r, 0, sizeof(*r));
	r->slab = s;
	r->base = base;
	for (unsigned slot = s->first_slot; slot < s->nr_slots; slot++) {
		r->free_map[slot / 64] |= 1ull << slot % 64;
		if (a->debug.poison) {
			mem_show(slot_address(r, slot), s->stride);
			memset(slot_address(r, slot), POISON_FREED, s->len_bytes);
			mem_hide(slot_address(r, slot), s->stride);
		}
	}
	*buddy_owner(base, s->order) = r;
	list_add(&s->empty, &r->link);
	s->nr_empty++;
	s->nr_runs++;
	return r;
}

static void run_free(struct slab *s, struct slab_run *r)
{
	void *base = r->base;

	assert_held(&s->lock);
	list_del(&r->link);
	s->nr_runs--;
	run_header_free(s, r);
	buddy_give(&s->mags.a->buddy, s->order, &base, 1);
}

/* Puts a run into the list that its count asks for (S1), giving up surplus empty ones (S3). */
static void run_sort(struct slab *s, struct slab_run *r, bool was_empty)
{
	list_del(&r->link);
	s->nr_empty -= was_empty;
	if (r->nr_taken == s->nr_slots - s->first_slot) {
		list_add(&s->full, &r->link);
	} else if (r->nr_taken) {
		list_add(&s->partial, &r->link);
	} else if (s->nr_empty) {
		run_free(s, r);
	} else {
		list_add(&s->empty, &r->link);
		s->nr_empty = 1;
	}
}

static struct slab_run *run_with_room(struct slab *s)
{
	struct slab_run *r = list_first(&s->partial, struct slab_run, link);

	if (!r)
		r = list_first(&s->empty, struct slab_run, link);
	return r ? r : run_new(s);
}

/* ---- refill and drain ---------------------------------------------------- */

static unsigned slab_refill(struct mag_class *c, void **obj, unsigned nr)
{
	struct slab *s = slab_of_class(c);
	unsigned done = 0;

	os_mutex_lock_key(&s->lock, s->lock_key);
	while (done < nr) {
		struct slab_run *r = run_with_room(s);
		bool was_empty;

		if (!r)
			break;
		was_empty = !r->nr_taken;
		done += run_take_slots(r, obj + done, nr - done);
		run_sort(s, r, was_empty);
	}
	s->nr_taken += done;
	if (alloc_debug_is_on(&c->a->debug))
		for (unsigned i = 0; i < done; i++)
			object_unpoison(s, obj[i]);
	os_mutex_unlock(&s->lock);
	return done;
}

/* The run that obj lies in; NULL when that is none of this cache. */
static struct slab_run *run_of_object(const struct slab *s, const void *obj)
{
	uint32_t page = arena_page_of(obj) & ~((1u << s->order) - 1);
	struct slab_run *r;

	if (!buddy_is_used(arena_page(arena_of(obj), page), s->order))
		return NULL;
	r = *buddy_owner(obj, s->order);
	return r && r->slab == s ? r : NULL;
}

/* Whether obj is a taken slot of the run, and which; a fault is reported. */
static bool run_find_slot(struct slab *s, const struct slab_run *r, char *obj, unsigned *slot)
{
	if (r)
		*slot = slot_of_offset(s, (size_t)(obj - r->base));
	if (!r || *slot >= s->nr_slots || obj != slot_address(r, *slot)) {
		alloc_debug_fault(&s->mags.a->debug, "cache %s: %p put back is no object of it",
				  s->name, (void *)obj);
		return false;
	}
	if (map_test(r, *slot)) {
		alloc_debug_fault(&s->mags.a->debug, "cache %s: object %p put back twice",
				  s->name, (void *)obj);
		return false;
	}
	return true;
}

static void slab_drain_one(struct slab *s, char *obj)
{
	struct slab_run *r = run_of_object(s, obj);
	unsigned slot;
	bool was_full;

	if (!run_find_slot(s, r, obj, &slot))
		return;
	if (alloc_debug_is_on(&s->mags.a->debug))
		object_poison(s, obj);
	was_full = r->nr_taken == s->nr_slots - s->first_slot;
	r->free_map[slot / 64] |= 1ull << slot % 64;
	r->nr_taken--;
	s->nr_taken--;
	if (was_full || !r->nr_taken)
		run_sort(s, r, false);
}

static void slab_drain(struct mag_class *c, void **obj, unsigned nr)
{
	struct slab *s = slab_of_class(c);

	os_mutex_lock_key(&s->lock, s->lock_key);
	for (unsigned i = 0; i < nr; i++)
		slab_drain_one(s, obj[i]);
	os_mutex_unlock(&s->lock);
}

/* ---- life of a cache ----------------------------------------------------- */

static void slab_set_geometry(struct slab *s, size_t len_bytes)
{
	size_t align = SMALL_ALIGN;

	if (is_pow2(len_bytes) && len_bytes >= SELF_ALIGN_FROM)
		align = len_bytes;
	s->len_bytes = len_bytes;
	s->stride = ALIGN_UP(len_bytes + (s->mags.a->debug.redzone ? GUARD_BYTES : 0), align);
	s->stride_inverse = ((1ull << STRIDE_SHIFT) + s->stride - 1) / s->stride;
	s->order = MIN_ORDER;
	while (((size_t)ALLOC_PAGE_BYTES << s->order) / s->stride < MIN_SLOTS)
		s->order++;
	while (s->order && ((size_t)ALLOC_PAGE_BYTES << s->order) / s->stride > SLAB_MAX_SLOTS)
		s->order--;
	s->nr_slots = (unsigned)(((size_t)ALLOC_PAGE_BYTES << s->order) / s->stride);
}

static struct slab *slab_new_cap(struct alloc *a, const char *name, size_t len_bytes, unsigned flags,
				 unsigned cap)
{
	struct slab *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	mag_class_init(&s->mags, a, alloc_debug_is_on(&a->debug) ? 0 : cap, slab_refill, slab_drain);
	s->name = name;
	s->flags = flags;
	slab_set_geometry(s, len_bytes);
	s->lock_key = SLAB_KEY;
	os_mutex_init(&s->lock, RANK_SLAB);
	list_init(&s->partial);
	list_init(&s->full);
	list_init(&s->empty);
	os_mutex_lock(&a->lock);
	list_add_tail(&a->slabs, &s->link);
	os_mutex_unlock(&a->lock);
	return s;
}

struct slab *slab_new(struct alloc *a, const char *name, size_t len_bytes, unsigned flags)
{
	assert(len_bytes >= MIN_LEN_BYTES && len_bytes <= MAX_LEN_BYTES);
	return slab_new_cap(a, name, len_bytes, flags,
			    (unsigned)MIN(MAG_BYTES / len_bytes, (size_t)MAG_OBJECTS));
}

static void runs_free(struct slab *s, struct list *runs)
{
	struct slab_run *r, *next;

	list_for_each_safe(r, next, runs, link)
		run_free(s, r);
}

uint64_t slab_free(struct slab *s)
{
	uint64_t nr_leaked;
	struct alloc *a;

	if (!s)
		return 0;
	a = s->mags.a;
	mag_class_fini(&s->mags);
	os_mutex_lock(&a->lock);
	list_del(&s->link);
	os_mutex_unlock(&a->lock);

	os_mutex_lock_key(&s->lock, s->lock_key);
	nr_leaked = s->nr_taken;
	if (nr_leaked)
		log_warn("memory: cache %s: %" PRIu64 " objects of %zu bytes were never put back",
			 s->name, nr_leaked, s->len_bytes);
	runs_free(s, &s->partial);
	runs_free(s, &s->full);
	runs_free(s, &s->empty);
	os_mutex_unlock(&s->lock);
	os_mutex_fini(&s->lock);
	free(s);
	return nr_leaked;
}

void slab_shrink(struct slab *s)
{
	mag_flush_mine(&s->mags);
	os_mutex_lock_key(&s->lock, s->lock_key);
	runs_free(s, &s->empty);
	s->nr_empty = 0;
	os_mutex_unlock(&s->lock);
}

int slab_headers_init(struct alloc *a)
{
	struct slab *s = slab_new_cap(a, "slab-run", sizeof(struct slab_run), 0, 0);

	if (!s)
		return -ENOMEM;
	s->lock_key = SLAB_KEY_HEADERS;
	s->first_slot = 1;
	a->headers = s;
	return 0;
}

void slab_headers_fini(struct alloc *a)
{
	slab_free(a->headers);
}

/* ---- objects ------------------------------------------------------------- */

void *slab_alloc(struct slab *s)
{
	void *obj;

	lock_dep_assert_below(RANK_SLAB);
	obj = mag_get(&s->mags, s->mags.a->mt.key);
	if (unlikely(!obj))
		return NULL;
	mem_show(obj, s->len_bytes);
	if (s->flags & SLAB_ZERO)
		memset(obj, 0, s->len_bytes);
	return obj;
}

void slab_put(struct slab *s, void *obj)
{
	lock_dep_assert_below(RANK_SLAB);
	if (mem_is_hidden(obj)) {
		alloc_debug_fault(&s->mags.a->debug, "cache %s: object %p put back twice", s->name, obj);
		return;
	}
	mem_hide(obj, s->stride);
	mag_put(&s->mags, s->mags.a->mt.key, obj);
}
