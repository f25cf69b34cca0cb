/* test_alloc_model.c: random operations against models, by one thread and by four; threads that come and go. */
#include "test_alloc.h"

#include <pthread.h>
#include <stdatomic.h>

enum { NR_SEEDS = 4, NR_THREADS = 4 };

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
			must(x->p, "seed %" PRIu64 " op %u: out of memory", seed, op);
			fill_pages(x->p, x->order, x->tag);
			used_bytes += (uint64_t)ALLOC_PAGE_BYTES << x->order;
			nr++;
		} else {
			unsigned i = (unsigned)rng_below(&r, nr);
			struct run x = runs[i];

			must(pages_are_filled(x.p, x.order, x.tag),
			     "seed %" PRIu64 " op %u: overwritten", seed, op);
			alloc_pages_free(a, x.p, x.order);
			used_bytes -= (uint64_t)ALLOC_PAGE_BYTES << x.order;
			runs[i] = runs[--nr];
		}
		if (op % 32768 == 0) {
			must(!alloc_check(a), "seed %" PRIu64 " op %u", seed, op);
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

	pages_against_model(a, 1000 + (unsigned)_i, IS_SLOW ? 40000 : 600000);
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
	x->kind = (unsigned)MIN(rng_below(r, NR_CACHES + NR_PAGE_ORDERS),
				rng_below(r, NR_CACHES + NR_PAGE_ORDERS));
	x->tag = rng_next(r);
	x->p = x->kind < NR_CACHES ? slab_alloc(w->s[x->kind]) : alloc_pages(w->a, x->kind - NR_CACHES);
	must(x->p, "out of memory for kind %u", x->kind);
	fill(x->p, item_bytes(x), x->tag);
}

static void item_put(struct world *w, const struct item *x)
{
	must(is_filled(x->p, item_bytes(x), x->tag), "object of kind %u overwritten", x->kind);
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
			must(!alloc_check(t->w->a), "seed %" PRIu64 " op %u", t->seed, op);
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

static void run_actors(struct alloc_opts opts, uint64_t seed, unsigned nr_actors, unsigned nr_rounds,
		       unsigned nr_ops)
{
	struct actor actors[NR_THREADS];
	struct world w;

	world_init(&w, opts);
	for (unsigned i = 0; i < nr_actors; i++)
		actors[i] = (struct actor){ &w, seed * 100 + i, nr_ops,
					   calloc(MAX_ITEMS, sizeof(struct item)), 0 };
	/* Threads end and new ones go on with their objects. */
	for (unsigned round = 0; round < nr_rounds; round++) {
		pthread_t id[NR_THREADS];

		for (unsigned i = 0; i < nr_actors; i++)
			ck_assert_int_eq(pthread_create(&id[i], NULL, actor_run, &actors[i]), 0);
		for (unsigned i = 0; i < nr_actors; i++) {
			pthread_join(id[i], NULL);
			actors[i].seed += 1000000;
		}
		must(!alloc_check(w.a), "seed %" PRIu64 " round %u", seed, round);
		world_compare(&w, actors, nr_actors);
	}
	world_end(&w, actors, nr_actors);
}

START_TEST(random_objects_of_one_thread_behave_like_the_model)
{
	run_actors((struct alloc_opts){ 0 }, 10 + (unsigned)_i, 1, 3, IS_SLOW ? 20000 : 300000);
}
END_TEST

START_TEST(random_objects_of_four_threads_behave_like_the_model)
{
	run_actors((struct alloc_opts){ 0 }, 20 + (unsigned)_i, NR_THREADS, 4, IS_SLOW ? 8000 : 100000);
}
END_TEST

START_TEST(random_objects_behave_like_the_model_with_poison_and_redzone)
{
	run_actors((struct alloc_opts){ .poison = true, .redzone = true }, 30 + (unsigned)_i,
		   NR_THREADS, 2, 5000);
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

struct busy {
	struct slab *s;
	atomic_bool stop;
};

static void *keep_busy(void *arg)
{
	struct busy *b = arg;

	while (!atomic_load(&b->stop))
		put_ten_back(b->s);
	return NULL;
}

START_TEST(caches_come_and_go_while_threads_use_another)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct busy b = { .s = slab_new(a, "busy", 64, 0) };
	pthread_t id[2], short_lived;

	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		ck_assert_int_eq(pthread_create(&id[i], NULL, keep_busy, &b), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct slab *s = slab_new(a, "guest", 256, 0);

		ck_assert_int_eq(pthread_create(&short_lived, NULL, put_ten_back, s), 0);
		put_ten_back(s);
		must(!alloc_check(a), "round %u", i);
		pthread_join(short_lived, NULL);
		must(!slab_free(s), "round %u", i);
	}
	atomic_store(&b.stop, true);
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		pthread_join(id[i], NULL);
	ck_assert_uint_eq(slab_free(b.s), 0);
	end_alloc(a);
}
END_TEST

void add_model_tests(Suite *suite)
{
	TCase *models = tcase_create("models"), *threads = tcase_create("threads");

	tcase_set_timeout(models, 120);
	tcase_add_loop_test(models, random_pages_behave_like_the_model, 0, NR_SEEDS);
	tcase_add_loop_test(models, random_pages_behave_like_the_model_with_poison, 0, 2);
	tcase_add_loop_test(models, random_objects_of_one_thread_behave_like_the_model, 0, NR_SEEDS);
	tcase_add_loop_test(models, random_objects_of_four_threads_behave_like_the_model, 0, NR_SEEDS);
	tcase_add_loop_test(models, random_objects_behave_like_the_model_with_poison_and_redzone, 0, 2);

	tcase_add_test(threads, what_rests_in_a_magazine_returns_when_its_thread_ends);
	tcase_add_test(threads, a_thread_may_outlive_the_cache_and_the_allocator_it_used);
	tcase_add_test(threads, caches_come_and_go_while_threads_use_another);
	tcase_add_test(threads, a_new_cache_does_not_see_the_magazines_of_an_old_one);

	suite_add_tcase(suite, models);
	suite_add_tcase(suite, threads);
}
