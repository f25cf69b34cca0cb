/* test_alloc.c: both allocators against models, misuse that must be found, threads that come and go. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "alloc/alloc.h"
#include "base/list.h"
#include "base/log.h"
#include "base/rng.h"

#if defined(__SANITIZE_ADDRESS__)
enum { IS_ASAN = 1 };
#else
enum { IS_ASAN = 0 };
#endif
#if defined(__SANITIZE_THREAD__)
enum { IS_SLOW = 1 };
#else
enum { IS_SLOW = IS_ASAN };
#endif

enum { NR_SEEDS = 4, NR_THREADS = 4 };

static struct alloc *new_alloc(struct alloc_opts opts)
{
	struct alloc *a;

	ck_assert_int_eq(alloc_new(&opts, &a), 0);
	return a;
}

static void end_alloc(struct alloc *a)
{
	ck_assert_int_eq(alloc_check(a), 0);
	ck_assert_uint_eq(alloc_free(a), 0);
}

static struct alloc_stats stats(struct alloc *a)
{
	struct alloc_stats st;

	alloc_stats_get(a, &st);
	return st;
}

/* The numbers of one cache by name. */
static struct slab_stats slab_stats(struct alloc *a, const char *name)
{
	struct slab_stats all[64];
	unsigned nr = slab_stats_get(a, all, ARRAY_LEN(all));

	for (unsigned i = 0; i < nr && i < ARRAY_LEN(all); i++)
		if (!strcmp(all[i].name, name))
			return all[i];
	ck_abort_msg("no cache %s", name);
}

/* What was logged since catch_log(). */
struct caught {
	unsigned nr;
	char last[1024];
};

static void catch_line(void *arg, enum log_level level, const char *line)
{
	struct caught *c = arg;

	c->nr++;
	snprintf(c->last, sizeof(c->last), "%s", line);
}

static void catch_log(struct caught *c)
{
	memset(c, 0, sizeof(*c));
	log_set_sink(catch_line, c);
}

/* Each page of a run, or each object, is filled with a pattern of its own and checked before it goes back. */
static void fill(void *p, size_t len_bytes, uint64_t tag)
{
	uint64_t *w = p;

	for (size_t i = 0; i < len_bytes / 8; i++)
		w[i] = tag * 0x9e3779b97f4a7c15u + i;
}

static bool is_filled(const void *p, size_t len_bytes, uint64_t tag)
{
	const uint64_t *w = p;

	for (size_t i = 0; i < len_bytes / 8; i++)
		if (w[i] != tag * 0x9e3779b97f4a7c15u + i)
			return false;
	return true;
}

/* Large runs: both ends of each page are enough to notice an overlap. */
static void fill_pages(char *p, unsigned order, uint64_t tag)
{
	for (unsigned i = 0; i < 1u << order; i++, p += ALLOC_PAGE_BYTES) {
		fill(p, 16, tag + i);
		fill(p + ALLOC_PAGE_BYTES - 16, 16, tag + i);
	}
}

static bool pages_are_filled(const char *p, unsigned order, uint64_t tag)
{
	for (unsigned i = 0; i < 1u << order; i++, p += ALLOC_PAGE_BYTES)
		if (!is_filled(p, 16, tag + i) || !is_filled(p + ALLOC_PAGE_BYTES - 16, 16, tag + i))
			return false;
	return true;
}

/* ---- pages --------------------------------------------------------------- */

START_TEST(a_run_of_each_order_is_aligned_to_its_size)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });

	for (unsigned order = 0; order <= ALLOC_MAX_ORDER; order++) {
		void *p = alloc_pages(a, order), *q = alloc_pages(a, order);

		ck_assert_ptr_nonnull(p);
		ck_assert_ptr_nonnull(q);
		ck_assert_uint_eq((uintptr_t)p & (((uintptr_t)ALLOC_PAGE_BYTES << order) - 1), 0);
		ck_assert_uint_eq((uintptr_t)q & (((uintptr_t)ALLOC_PAGE_BYTES << order) - 1), 0);
		memset(p, 1, (size_t)ALLOC_PAGE_BYTES << order);
		alloc_pages_free(a, p, order);
		alloc_pages_free(a, q, order);
	}
	end_alloc(a);
}
END_TEST

START_TEST(free_neighbours_merge_until_the_arena_is_whole)
{
	enum { NR = 3000 };
	struct alloc *a = new_alloc((struct alloc_opts){ .poison = _i });
	struct alloc_stats before;
	void **p = calloc(NR, sizeof(*p));

	alloc_pages_free(a, alloc_pages(a, ALLOC_MAX_ORDER), ALLOC_MAX_ORDER);
	before = stats(a);
	for (unsigned i = 0; i < NR; i++)
		p[i] = alloc_pages(a, 0);
	ck_assert_uint_eq(stats(a).used_bytes, (uint64_t)NR * ALLOC_PAGE_BYTES);
	/* Every second page, then the others: nothing can merge before the end. */
	for (unsigned i = 0; i < NR; i += 2)
		alloc_pages_free(a, p[i], 0);
	ck_assert_int_eq(alloc_check(a), 0);
	for (unsigned i = 1; i < NR; i += 2)
		alloc_pages_free(a, p[i], 0);
	ck_assert_uint_eq(stats(a).used_bytes, 0);
	alloc_trim(a);
	alloc_pages_free(a, alloc_pages(a, ALLOC_MAX_ORDER), ALLOC_MAX_ORDER);
	ck_assert_mem_eq(stats(a).nr_free, before.nr_free, sizeof(before.nr_free));
	free(p);
	end_alloc(a);
}
END_TEST

START_TEST(trim_gives_free_arenas_back)
{
	enum { NR = 20 };
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	void *p[NR];

	for (unsigned i = 0; i < NR; i++) {
		p[i] = alloc_pages(a, ALLOC_MAX_ORDER);
		fill_pages(p[i], ALLOC_MAX_ORDER, i);
	}
	ck_assert_uint_ge(stats(a).arena_bytes, (uint64_t)NR * 4 << 20);
	for (unsigned i = 1; i < NR; i++)
		alloc_pages_free(a, p[i], ALLOC_MAX_ORDER);
	/* One spare arena may stay until it is asked for. */
	ck_assert_uint_le(stats(a).arena_bytes, 64 << 20);
	ck_assert_uint_ge(alloc_trim(a), 24 << 20);
	ck_assert_uint_le(stats(a).arena_bytes, 32 << 20);
	ck_assert_uint_eq(alloc_trim(a), 0);
	ck_assert(pages_are_filled(p[0], ALLOC_MAX_ORDER, 0));
	alloc_pages_free(a, p[0], ALLOC_MAX_ORDER);
	ck_assert_uint_ge(alloc_trim(a), 28 << 20);
	ck_assert_uint_eq(stats(a).arena_bytes, 0);
	end_alloc(a);
}
END_TEST

START_TEST(the_limit_is_kept_and_running_out_is_no_end)
{
	enum { MAX_BYTES = 40 << 20, MAX_PAGES = MAX_BYTES / ALLOC_PAGE_BYTES };
	struct alloc *a = new_alloc((struct alloc_opts){ .max_bytes = MAX_BYTES });
	void **p = calloc(MAX_PAGES, sizeof(*p));
	unsigned nr = 0;

	while (nr < MAX_PAGES && (p[nr] = alloc_pages(a, 0)))
		nr++;
	/* What is missing are the descriptors. */
	ck_assert_uint_lt(nr, MAX_PAGES);
	ck_assert_uint_gt(nr, MAX_PAGES - MAX_PAGES / 100);
	ck_assert_uint_le(stats(a).arena_bytes, MAX_BYTES);
	ck_assert_ptr_null(alloc_pages(a, 3));
	alloc_pages_free(a, p[--nr], 0);
	p[nr] = alloc_pages(a, 0);
	ck_assert_ptr_nonnull(p[nr]);
	nr++;
	ck_assert_int_eq(alloc_check(a), 0);
	while (nr--)
		alloc_pages_free(a, p[nr], 0);
	free(p);
	end_alloc(a);
}
END_TEST

START_TEST(a_limit_too_small_for_anything_gives_nothing)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .max_bytes = 64 << 10 });
	struct slab *s = slab_new(a, "thing", 64, 0);

	ck_assert_ptr_null(alloc_pages(a, 0));
	ck_assert_ptr_null(slab_alloc(s));
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

START_TEST(leaked_pages_are_counted_and_logged)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct caught c;

	ck_assert_ptr_nonnull(alloc_pages(a, 1));
	ck_assert_ptr_nonnull(alloc_pages(a, 0));
	catch_log(&c);
	ck_assert_uint_eq(alloc_free(a), 3);
	ck_assert_uint_eq(c.nr, 1);
	ck_assert_ptr_nonnull(strstr(c.last, "3 pages"));
}
END_TEST

START_TEST(a_page_freed_twice_or_with_a_wrong_order_is_reported)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .poison = true });
	void *p = alloc_pages(a, 2);
	struct caught c;

	catch_log(&c);
	alloc_pages_free(a, p, 1);
	ck_assert_uint_eq(stats(a).nr_faults, 1);
	alloc_pages_free(a, p, 2);
	ck_assert_uint_eq(stats(a).nr_faults, 1);
	alloc_pages_free(a, p, 2);
	ck_assert_uint_eq(stats(a).nr_faults, 2);
	ck_assert_uint_eq(c.nr, 2);
	ck_assert_int_eq(alloc_check(a), -EUCLEAN);
	ck_assert_uint_eq(alloc_free(a), 0);
}
END_TEST

#if defined(__SANITIZE_ADDRESS__)
#define NO_ASAN __attribute__((no_sanitize_address))
#else
#define NO_ASAN
#endif

/* The bugs that the allocators are to find: where ASan would stop us first, it must not look. */
NO_ASAN static void scribble(volatile char *p)
{
	*p ^= 1;
}

START_TEST(a_write_to_a_free_page_is_reported_with_poison)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .poison = true });
	char *p = alloc_pages(a, 0);
	struct caught c;

	ck_assert_int_eq((uint8_t)p[100], 0xa5);
	alloc_pages_free(a, p, 0);
	scribble(p + 1234);
	catch_log(&c);
	ck_assert_ptr_eq(alloc_pages(a, 0), p);
	ck_assert_uint_eq(c.nr, 1);
	ck_assert_ptr_nonnull(strstr(c.last, "byte 1234"));
	alloc_pages_free(a, p, 0);
	ck_assert_uint_eq(alloc_free(a), 0);
}
END_TEST

/* ---- pages against a model ----------------------------------------------- */

struct run {
	char *p;
	unsigned order;
	uint64_t tag;
};

/* Small orders are common, as in life. */
static unsigned random_order(struct rng *r)
{
	unsigned order = (unsigned)__builtin_ctzll(rng_next(r) | 1ull << 20) / 2;

	return MIN(order, (unsigned)ALLOC_MAX_ORDER);
}

static void pages_against_model(struct alloc *a, uint64_t seed, unsigned nr_ops)
{
	enum { MAX_RUNS = 2000 };
	struct run *runs = calloc(MAX_RUNS, sizeof(*runs));
	struct rng r = { seed };
	uint64_t used_bytes = 0;
	unsigned nr = 0;

	for (unsigned op = 0; op < nr_ops; op++) {
		/* The bias turns now and then, so that it fills and empties. */
		bool grow = rng_below(&r, 100) < (op / 8192 % 2 ? 30u : 70u);

		if (nr < MAX_RUNS && (grow || !nr)) {
			struct run *x = &runs[nr];

			x->order = random_order(&r);
			x->tag = rng_next(&r);
			x->p = alloc_pages(a, x->order);
			ck_assert_msg(x->p, "seed %" PRIu64 " op %u: out of memory", seed, op);
			fill_pages(x->p, x->order, x->tag);
			used_bytes += (uint64_t)ALLOC_PAGE_BYTES << x->order;
			nr++;
		} else {
			unsigned i = (unsigned)rng_below(&r, nr);
			struct run x = runs[i];

			ck_assert_msg(pages_are_filled(x.p, x.order, x.tag), "seed %" PRIu64 " op %u: overwritten", seed, op);
			alloc_pages_free(a, x.p, x.order);
			used_bytes -= (uint64_t)ALLOC_PAGE_BYTES << x.order;
			runs[i] = runs[--nr];
		}
		if (op % 32768 == 0) {
			ck_assert_msg(!alloc_check(a), "seed %" PRIu64 " op %u", seed, op);
			ck_assert_uint_eq(stats(a).used_bytes, used_bytes);
			alloc_trim(a);
		}
	}
	while (nr--)
		alloc_pages_free(a, runs[nr].p, runs[nr].order);
	ck_assert_uint_eq(stats(a).used_bytes, 0);
	free(runs);
}

START_TEST(random_pages_behave_like_the_model)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });

	pages_against_model(a, 1000 + (unsigned)_i, IS_SLOW ? 40000 : 250000);
	alloc_trim(a);
	ck_assert_uint_eq(stats(a).arena_bytes, 0);
	end_alloc(a);
}
END_TEST

START_TEST(random_pages_behave_like_the_model_with_poison)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .poison = true });

	pages_against_model(a, 2000 + (unsigned)_i, 10000);
	end_alloc(a);
}
END_TEST

/* ---- objects ------------------------------------------------------------- */

static const size_t object_sizes[] = { 8, 16, 24, 40, 64, 104, 256, 512, 520, 1024, 3000, 4096, 20000, 65536 };

START_TEST(objects_of_each_size_are_aligned_and_apart)
{
	enum { NR = 300 };
	size_t len_bytes = object_sizes[_i];
	size_t align = is_pow2(len_bytes) && len_bytes >= 512 ? len_bytes : 16;
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s = slab_new(a, "thing", len_bytes, 0);
	char *obj[NR];

	for (unsigned i = 0; i < NR; i++) {
		obj[i] = slab_alloc(s);
		ck_assert_ptr_nonnull(obj[i]);
		ck_assert_uint_eq((uintptr_t)obj[i] & (align - 1), 0);
		fill(obj[i], len_bytes, i);
	}
	ck_assert_uint_eq(slab_stats(a, "thing").nr_used, NR);
	ck_assert_uint_eq(slab_stats(a, "thing").object_bytes, len_bytes);
	for (unsigned i = 0; i < NR; i++) {
		ck_assert(is_filled(obj[i], len_bytes, i));
		slab_put(s, obj[i]);
	}
	ck_assert_uint_eq(slab_stats(a, "thing").nr_used, 0);
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

START_TEST(a_zeroing_cache_gives_zeroes_also_on_reuse)
{
	static const char zeroes[200];
	struct alloc *a = new_alloc((struct alloc_opts){ .poison = _i });
	struct slab *s = slab_new(a, "thing", sizeof(zeroes), SLAB_ZERO);

	for (unsigned i = 0; i < 200; i++) {
		void *obj = slab_alloc(s);

		ck_assert_mem_eq(obj, zeroes, sizeof(zeroes));
		memset(obj, 0xff, sizeof(zeroes));
		slab_put(s, obj);
	}
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

START_TEST(shrink_gives_empty_slabs_back)
{
	enum { NR = 1000 };
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s = slab_new(a, "thing", 256, 0);
	void *obj[NR];

	for (unsigned i = 0; i < NR; i++)
		obj[i] = slab_alloc(s);
	for (unsigned i = 0; i < NR; i++)
		slab_put(s, obj[i]);
	ck_assert_uint_gt(slab_stats(a, "thing").nr_slabs, 0);
	slab_shrink(s);
	ck_assert_uint_eq(slab_stats(a, "thing").nr_slabs, 0);
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

START_TEST(powers_of_two_pack_without_loss)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s = slab_new(a, "thing", 4096, 0);
	void *obj = slab_alloc(s);
	struct slab_stats st = slab_stats(a, "thing");

	ck_assert_uint_eq(st.nr_slots * 4096, st.page_bytes);
	slab_put(s, obj);
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

START_TEST(leaked_objects_are_reported_by_the_name_of_their_cache)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .redzone = _i });
	struct slab *s = slab_new(a, "walrus", 64, 0), *t = slab_new(a, "clean", 64, 0);
	struct caught c;

	slab_put(t, slab_alloc(t));
	for (unsigned i = 0; i < 7; i++)
		ck_assert_ptr_nonnull(slab_alloc(s));
	catch_log(&c);
	ck_assert_uint_eq(slab_free(t), 0);
	ck_assert_uint_eq(c.nr, 0);
	ck_assert_uint_eq(slab_free(s), 7);
	ck_assert_uint_eq(c.nr, 1);
	ck_assert_ptr_nonnull(strstr(c.last, "walrus"));
	ck_assert_ptr_nonnull(strstr(c.last, "7 objects"));
	ck_assert_uint_eq(alloc_free(a), 0);
}
END_TEST

START_TEST(a_write_beyond_the_end_breaks_the_guard)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .redzone = true });
	struct slab *s = slab_new(a, "walrus", 100, 0);
	char *obj = slab_alloc(s), *next = slab_alloc(s);
	struct caught c;

	catch_log(&c);
	scribble(obj + 100);
	slab_put(s, next);
	ck_assert_uint_eq(c.nr, 0);
	slab_put(s, obj);
	ck_assert_uint_eq(c.nr, 1);
	ck_assert_ptr_nonnull(strstr(c.last, "walrus"));
	ck_assert_uint_eq(stats(a).nr_faults, 1);
	ck_assert_uint_eq(slab_free(s), 0);
	alloc_free(a);
}
END_TEST

START_TEST(a_write_after_free_is_reported_with_poison)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .poison = true });
	struct slab *s = slab_new(a, "walrus", 100, 0);
	char *obj = slab_alloc(s);
	struct caught c;

	ck_assert_int_eq((uint8_t)obj[99], 0xa5);
	slab_put(s, obj);
	scribble(obj + 42);
	catch_log(&c);
	ck_assert_ptr_eq(slab_alloc(s), obj);
	ck_assert_uint_eq(c.nr, 1);
	ck_assert_ptr_nonnull(strstr(c.last, "walrus"));
	ck_assert_ptr_nonnull(strstr(c.last, "byte 42"));
	slab_put(s, obj);
	ck_assert_uint_eq(slab_free(s), 0);
	alloc_free(a);
}
END_TEST

START_TEST(an_object_put_back_twice_or_to_another_cache_is_reported)
{
	struct alloc *a = new_alloc((struct alloc_opts){ .redzone = true });
	struct slab *s = slab_new(a, "walrus", 64, 0), *t = slab_new(a, "penguin", 64, 0);
	void *obj = slab_alloc(s), *other = slab_alloc(s);
	struct caught c;

	catch_log(&c);
	slab_put(s, obj);
	slab_put(s, obj);
	ck_assert_uint_eq(stats(a).nr_faults, 1);
	slab_put(t, other);
	ck_assert_uint_eq(stats(a).nr_faults, 2);
	ck_assert_ptr_nonnull(strstr(c.last, "penguin"));
	if (!IS_ASAN)	/* there the failed put has hidden it */
		slab_put(s, other);
	slab_free(s);
	slab_free(t);
	alloc_free(a);
}
END_TEST

START_TEST(the_printer_names_orders_and_caches)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s = slab_new(a, "walrus", 64, 0);
	void *obj = slab_alloc(s);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	alloc_to_text(a, f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "walrus"));
	ck_assert_ptr_nonnull(strstr(text, "4096 KiB"));
	free(text);
	slab_put(s, obj);
	slab_free(s);
	end_alloc(a);
}
END_TEST

START_TEST(two_allocators_do_not_meet)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 }), *b = new_alloc((struct alloc_opts){ .poison = true });
	struct slab *s = slab_new(a, "thing", 64, 0), *t = slab_new(b, "thing", 64, 0);
	void *x = slab_alloc(s), *y = slab_alloc(t), *p = alloc_pages(a, 0);

	ck_assert_uint_eq(slab_stats(a, "thing").nr_used, 1);
	ck_assert_uint_eq(slab_stats(b, "thing").nr_used, 1);
	slab_put(t, y);
	ck_assert_uint_eq(slab_free(t), 0);
	end_alloc(b);
	slab_put(s, x);
	alloc_pages_free(a, p, 0);
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

START_TEST(more_caches_than_magazine_slots_work)
{
	enum { NR = 200 };
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s[NR];
	void *obj[NR];

	for (unsigned i = 0; i < NR; i++) {
		s[i] = slab_new(a, "thing", 64, 0);
		obj[i] = slab_alloc(s[i]);
		ck_assert_ptr_nonnull(obj[i]);
	}
	for (unsigned i = 0; i < NR; i++) {
		slab_put(s[i], obj[i]);
		ck_assert_uint_eq(slab_free(s[i]), 0);
	}
	end_alloc(a);
}
END_TEST

/* ---- objects and pages, by several threads, against a model -------------- */

struct item {
	void *p;
	uint64_t tag;
	unsigned kind;		/* index of a cache, or NR_CACHES + order */
};

enum { NR_CACHES = 6, NR_PAGE_ORDERS = 6, MAX_ITEMS = 1500, MAX_SHARED = 256 };
static const size_t cache_sizes[NR_CACHES] = { 24, 64, 256, 1000, 4096, 20000 };

struct world {
	struct alloc *a;
	struct slab *s[NR_CACHES];
	pthread_mutex_t lock;
	struct item shared[MAX_SHARED];	/* [lock] given away by one thread, freed by another */
	unsigned nr_shared;		/* [lock] */
};

struct actor {
	struct world *w;
	uint64_t seed;
	unsigned nr_ops;
	struct item *items;
	unsigned nr;
};

static size_t item_bytes(const struct item *x)
{
	/* Of a run of pages the first 64 bytes are enough here. */
	return x->kind < NR_CACHES ? cache_sizes[x->kind] : 64;
}

static void item_get(struct world *w, struct item *x, struct rng *r)
{
	/* Small kinds more often than large ones. */
	x->kind = (unsigned)MIN(rng_below(r, NR_CACHES + NR_PAGE_ORDERS), rng_below(r, NR_CACHES + NR_PAGE_ORDERS));
	x->tag = rng_next(r);
	x->p = x->kind < NR_CACHES ? slab_alloc(w->s[x->kind]) : alloc_pages(w->a, x->kind - NR_CACHES);
	ck_assert_ptr_nonnull(x->p);
	fill(x->p, item_bytes(x), x->tag);
}

static void item_put(struct world *w, const struct item *x)
{
	ck_assert_msg(is_filled(x->p, item_bytes(x), x->tag), "object of kind %u overwritten", x->kind);
	if (x->kind < NR_CACHES)
		slab_put(w->s[x->kind], x->p);
	else
		alloc_pages_free(w->a, x->p, x->kind - NR_CACHES);
}

/* Swaps one of ours for one that another thread left. */
static void item_swap(struct world *w, struct item *x, struct rng *r)
{
	pthread_mutex_lock(&w->lock);
	if (w->nr_shared < MAX_SHARED) {
		w->shared[w->nr_shared++] = *x;
		x->p = NULL;
	} else {
		unsigned i = (unsigned)rng_below(r, MAX_SHARED);
		struct item other = w->shared[i];

		w->shared[i] = *x;
		*x = other;
	}
	pthread_mutex_unlock(&w->lock);
}

static void *actor_run(void *arg)
{
	struct actor *t = arg;
	struct rng r = { t->seed };

	for (unsigned op = 0; op < t->nr_ops; op++) {
		bool grow = rng_below(&r, 100) < (op / 4096 % 2 ? 35u : 65u);
		unsigned i;

		if (t->nr < MAX_ITEMS && (grow || !t->nr)) {
			item_get(t->w, &t->items[t->nr++], &r);
			continue;
		}
		i = (unsigned)rng_below(&r, t->nr);
		if (op % 4 == 0)
			item_swap(t->w, &t->items[i], &r);
		if (t->items[i].p)
			item_put(t->w, &t->items[i]);
		t->items[i] = t->items[--t->nr];
		if (op % 8192 == 1)
			ck_assert_int_eq(alloc_check(t->w->a), 0);
	}
	return NULL;
}

static void world_init(struct world *w, struct alloc_opts opts)
{
	memset(w, 0, sizeof(*w));
	w->a = new_alloc(opts);
	pthread_mutex_init(&w->lock, NULL);
	for (unsigned i = 0; i < NR_CACHES; i++)
		w->s[i] = slab_new(w->a, "thing", cache_sizes[i], 0);
}

/* The model's count of what is live must be the allocator's. */
static void world_compare(struct world *w, const struct actor *actors, unsigned nr_actors)
{
	uint64_t nr_used[NR_CACHES] = { 0 }, all_bytes = 0;
	struct slab_stats st[NR_CACHES + 1];

	for (unsigned a = 0; a < nr_actors; a++)
		for (unsigned i = 0; i < actors[a].nr; i++) {
			const struct item *x = &actors[a].items[i];

			if (x->kind < NR_CACHES)
				nr_used[x->kind]++;
			else
				all_bytes += (uint64_t)ALLOC_PAGE_BYTES << (x->kind - NR_CACHES);
		}
	for (unsigned i = 0; i < w->nr_shared; i++) {
		if (w->shared[i].kind < NR_CACHES)
			nr_used[w->shared[i].kind]++;
		else
			all_bytes += (uint64_t)ALLOC_PAGE_BYTES << (w->shared[i].kind - NR_CACHES);
	}
	ck_assert_uint_eq(slab_stats_get(w->a, st, ARRAY_LEN(st)), NR_CACHES + 1);
	/* st[0] is the cache of run headers */
	for (unsigned i = 0; i < NR_CACHES; i++) {
		ck_assert_uint_eq(st[i + 1].object_bytes, cache_sizes[i]);
		ck_assert_uint_eq(st[i + 1].nr_used, nr_used[i]);
		ck_assert_uint_le(st[i + 1].nr_used + st[i + 1].nr_resting, st[i + 1].nr_slots);
	}
	for (unsigned i = 0; i < NR_CACHES + 1; i++)
		all_bytes += st[i].page_bytes;
	ck_assert_uint_eq(stats(w->a).used_bytes, all_bytes);
}

static void world_end(struct world *w, struct actor *actors, unsigned nr_actors)
{
	for (unsigned a = 0; a < nr_actors; a++) {
		while (actors[a].nr)
			item_put(w, &actors[a].items[--actors[a].nr]);
		free(actors[a].items);
	}
	while (w->nr_shared)
		item_put(w, &w->shared[--w->nr_shared]);
	for (unsigned i = 0; i < NR_CACHES; i++)
		ck_assert_uint_eq(slab_free(w->s[i]), 0);
	pthread_mutex_destroy(&w->lock);
	end_alloc(w->a);
}

static void run_actors(struct alloc_opts opts, uint64_t seed, unsigned nr_actors, unsigned nr_rounds, unsigned nr_ops)
{
	struct actor actors[NR_THREADS];
	struct world w;

	world_init(&w, opts);
	for (unsigned i = 0; i < nr_actors; i++)
		actors[i] = (struct actor){ &w, seed * 100 + i, nr_ops, calloc(MAX_ITEMS, sizeof(struct item)), 0 };
	/* Threads end and new ones go on with their objects. */
	for (unsigned round = 0; round < nr_rounds; round++) {
		pthread_t id[NR_THREADS];

		for (unsigned i = 0; i < nr_actors; i++)
			ck_assert_int_eq(pthread_create(&id[i], NULL, actor_run, &actors[i]), 0);
		for (unsigned i = 0; i < nr_actors; i++) {
			pthread_join(id[i], NULL);
			actors[i].seed += 1000000;
		}
		ck_assert_msg(!alloc_check(w.a), "seed %" PRIu64 " round %u", seed, round);
		world_compare(&w, actors, nr_actors);
	}
	world_end(&w, actors, nr_actors);
}

START_TEST(random_objects_of_one_thread_behave_like_the_model)
{
	run_actors((struct alloc_opts){ 0 }, 10 + (unsigned)_i, 1, 3, IS_SLOW ? 20000 : 100000);
}
END_TEST

START_TEST(random_objects_of_four_threads_behave_like_the_model)
{
	run_actors((struct alloc_opts){ 0 }, 20 + (unsigned)_i, NR_THREADS, 4, IS_SLOW ? 8000 : 40000);
}
END_TEST

START_TEST(random_objects_behave_like_the_model_with_poison_and_redzone)
{
	run_actors((struct alloc_opts){ .poison = true, .redzone = true }, 30 + (unsigned)_i, NR_THREADS, 2, 5000);
}
END_TEST

/* ---- threads ------------------------------------------------------------- */

static void *put_ten_back(void *arg)
{
	struct slab *s = arg;
	void *obj[10];

	for (unsigned i = 0; i < ARRAY_LEN(obj); i++)
		obj[i] = slab_alloc(s);
	for (unsigned i = 0; i < ARRAY_LEN(obj); i++)
		slab_put(s, obj[i]);
	return NULL;
}

START_TEST(what_rests_in_a_magazine_returns_when_its_thread_ends)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s = slab_new(a, "thing", 64, 0);
	pthread_t id;

	for (unsigned i = 0; i < 50; i++) {
		ck_assert_int_eq(pthread_create(&id, NULL, put_ten_back, s), 0);
		pthread_join(id, NULL);
		ck_assert_uint_eq(slab_stats(a, "thing").nr_resting, 0);
		ck_assert_uint_eq(slab_stats(a, "thing").nr_used, 0);
	}
	slab_shrink(s);
	ck_assert_uint_eq(slab_stats(a, "thing").nr_slabs, 0);
	ck_assert_uint_eq(slab_free(s), 0);
	end_alloc(a);
}
END_TEST

struct outliving {
	struct alloc *a;
	struct slab *s;
	pthread_barrier_t barrier;
};

static void *outlive(void *arg)
{
	struct outliving *o = arg;

	put_ten_back(o->s);
	alloc_pages_free(o->a, alloc_pages(o->a, 0), 0);
	pthread_barrier_wait(&o->barrier);
	pthread_barrier_wait(&o->barrier);
	return NULL;
}

START_TEST(a_thread_may_outlive_the_cache_and_the_allocator_it_used)
{
	struct outliving o = { .a = new_alloc((struct alloc_opts){ 0 }) };
	pthread_t id;

	o.s = slab_new(o.a, "thing", 64, 0);
	pthread_barrier_init(&o.barrier, NULL, 2);
	ck_assert_int_eq(pthread_create(&id, NULL, outlive, &o), 0);
	pthread_barrier_wait(&o.barrier);
	ck_assert_uint_gt(slab_stats(o.a, "thing").nr_resting, 0);
	ck_assert_uint_eq(slab_free(o.s), 0);
	end_alloc(o.a);
	pthread_barrier_wait(&o.barrier);
	pthread_join(id, NULL);
	pthread_barrier_destroy(&o.barrier);
}
END_TEST

START_TEST(a_new_cache_does_not_see_the_magazines_of_an_old_one)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });

	for (unsigned i = 0; i < 300; i++) {
		struct slab *s = slab_new(a, "thing", i % 2 ? 64 : 1024, 0);
		void *obj = slab_alloc(s);

		memset(obj, 1, i % 2 ? 64 : 1024);
		slab_put(s, obj);
		ck_assert_uint_eq(slab_free(s), 0);
	}
	end_alloc(a);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("alloc");
	TCase *pages = tcase_create("pages"), *objects = tcase_create("objects"), *models = tcase_create("models");
	TCase *threads = tcase_create("threads");
	SRunner *runner;
	int nr_failed;

	tcase_add_test(pages, a_run_of_each_order_is_aligned_to_its_size);
	tcase_add_loop_test(pages, free_neighbours_merge_until_the_arena_is_whole, 0, 2);
	tcase_add_test(pages, trim_gives_free_arenas_back);
	tcase_add_test(pages, the_limit_is_kept_and_running_out_is_no_end);
	tcase_add_test(pages, a_limit_too_small_for_anything_gives_nothing);
	tcase_add_test(pages, leaked_pages_are_counted_and_logged);
	tcase_add_test(pages, a_page_freed_twice_or_with_a_wrong_order_is_reported);
	tcase_add_test(pages, a_write_to_a_free_page_is_reported_with_poison);

	tcase_add_loop_test(objects, objects_of_each_size_are_aligned_and_apart, 0, ARRAY_LEN(object_sizes));
	tcase_add_loop_test(objects, a_zeroing_cache_gives_zeroes_also_on_reuse, 0, 2);
	tcase_add_test(objects, shrink_gives_empty_slabs_back);
	tcase_add_test(objects, powers_of_two_pack_without_loss);
	tcase_add_loop_test(objects, leaked_objects_are_reported_by_the_name_of_their_cache, 0, 2);
	tcase_add_test(objects, a_write_beyond_the_end_breaks_the_guard);
	tcase_add_test(objects, a_write_after_free_is_reported_with_poison);
	tcase_add_test(objects, an_object_put_back_twice_or_to_another_cache_is_reported);
	tcase_add_test(objects, the_printer_names_orders_and_caches);
	tcase_add_test(objects, two_allocators_do_not_meet);
	tcase_add_test(objects, more_caches_than_magazine_slots_work);

	tcase_set_timeout(models, 120);
	tcase_add_loop_test(models, random_pages_behave_like_the_model, 0, NR_SEEDS);
	tcase_add_loop_test(models, random_pages_behave_like_the_model_with_poison, 0, 2);
	tcase_add_loop_test(models, random_objects_of_one_thread_behave_like_the_model, 0, NR_SEEDS);
	tcase_add_loop_test(models, random_objects_of_four_threads_behave_like_the_model, 0, NR_SEEDS);
	tcase_add_loop_test(models, random_objects_behave_like_the_model_with_poison_and_redzone, 0, 2);

	tcase_add_test(threads, what_rests_in_a_magazine_returns_when_its_thread_ends);
	tcase_add_test(threads, a_thread_may_outlive_the_cache_and_the_allocator_it_used);
	tcase_add_test(threads, a_new_cache_does_not_see_the_magazines_of_an_old_one);

	suite_add_tcase(suite, pages);
	suite_add_tcase(suite, objects);
	suite_add_tcase(suite, models);
	suite_add_tcase(suite, threads);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	nr_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
