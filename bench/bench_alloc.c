/*
 * bench_alloc.c: nanoseconds per allocate/free pair, beside malloc for the same sizes.
 *
 * "pair" frees each object before it takes the next; "batch" takes 100 and then frees
 * them. Both allocators run in alternating rounds; the medians and their ratio are
 * printed (below 1: faster than malloc). Batches of pages are where malloc as it comes
 * gives memory back to the system and faults it in again each time.
 *
 * Usage: bench_alloc [milliseconds per round]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "alloc/alloc.h"

enum { NR_ROUNDS = 7, NR_BATCH = 100, MAX_THREADS = 2 };

struct memory {
	struct alloc *a;
	struct slab *s;		/* NULL: pages of this order */
	unsigned order;
	size_t len_bytes;
};

typedef void *get_fn(const struct memory *m);
typedef void put_fn(const struct memory *m, void *p);

static void *get_slab(const struct memory *m) { return slab_alloc(m->s); }
static void put_slab(const struct memory *m, void *p) { slab_put(m->s, p); }
static void *get_pages(const struct memory *m) { return alloc_pages(m->a, m->order); }
static void put_pages(const struct memory *m, void *p) { alloc_pages_free(m->a, p, m->order); }
static void *get_malloc(const struct memory *m) { return malloc(m->len_bytes); }
static void put_malloc(const struct memory *m, void *p) { free(p); }

struct job {
	const struct memory *m;
	get_fn *get;
	put_fn *put;
	unsigned nr_batch;
	uint64_t round_nsec;
	pthread_barrier_t *start;
	double nsec_per_pair;		/* out */
};

static uint64_t now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void batch(const struct job *j)
{
	void *obj[NR_BATCH];

	for (unsigned i = 0; i < j->nr_batch; i++) {
		obj[i] = j->get(j->m);
		if (!obj[i])
			exit(EXIT_FAILURE);
		*(volatile char *)obj[i] = 1;
	}
	for (unsigned i = 0; i < j->nr_batch; i++)
		j->put(j->m, obj[i]);
}

static void *job_run(void *arg)
{
	struct job *j = arg;
	unsigned nr_repeats = 2000 / j->nr_batch;
	uint64_t start, now, nr = 0;

	batch(j);
	pthread_barrier_wait(j->start);
	start = now_nsec();
	do {
		for (unsigned i = 0; i < nr_repeats; i++)
			batch(j);
		nr += (uint64_t)nr_repeats * j->nr_batch;
		now = now_nsec();
	} while (now - start < j->round_nsec);
	j->nsec_per_pair = (double)(now - start) / (double)nr;
	return NULL;
}

/* One round by nr_threads threads; the mean of their nanoseconds per pair. */
static double round_run(const struct job *proto, unsigned nr_threads)
{
	struct job jobs[MAX_THREADS];
	pthread_t id[MAX_THREADS];
	pthread_barrier_t start;
	double sum = 0;

	pthread_barrier_init(&start, NULL, nr_threads);
	for (unsigned i = 0; i < nr_threads; i++) {
		jobs[i] = *proto;
		jobs[i].start = &start;
		if (pthread_create(&id[i], NULL, job_run, &jobs[i]))
			exit(EXIT_FAILURE);
	}
	for (unsigned i = 0; i < nr_threads; i++) {
		pthread_join(id[i], NULL);
		sum += jobs[i].nsec_per_pair;
	}
	pthread_barrier_destroy(&start);
	return sum / nr_threads;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, NR_ROUNDS, sizeof(*v), compare_doubles);
	return v[NR_ROUNDS / 2];
}

static void compare(const char *what, const struct memory *m, unsigned nr_batch, unsigned nr_threads,
		    uint64_t round_nsec)
{
	struct job ours = { .m = m, .nr_batch = nr_batch, .round_nsec = round_nsec }, theirs = ours;
	double ours_nsec[NR_ROUNDS], theirs_nsec[NR_ROUNDS], ours_median, theirs_median;

	ours.get = m->s ? get_slab : get_pages;
	ours.put = m->s ? put_slab : put_pages;
	theirs.get = get_malloc;
	theirs.put = put_malloc;
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		ours_nsec[i] = round_run(&ours, nr_threads);
		theirs_nsec[i] = round_run(&theirs, nr_threads);
	}
	ours_median = median(ours_nsec);
	theirs_median = median(theirs_nsec);
	printf("%-6s %6zu bytes  %-5s  %u thread%s  osfs %7.1f ns  malloc %7.1f ns  ratio %.2f\n",
	       what, m->len_bytes, nr_batch > 1 ? "batch" : "pair", nr_threads, nr_threads > 1 ? "s" : " ",
	       ours_median, theirs_median, ours_median / theirs_median);
	fflush(stdout);
}

static void compare_all(const char *what, const struct memory *m, uint64_t round_nsec)
{
	for (unsigned nr_threads = 1; nr_threads <= MAX_THREADS; nr_threads++) {
		compare(what, m, 1, nr_threads, round_nsec);
		compare(what, m, NR_BATCH, nr_threads, round_nsec);
	}
}

int main(int argc, char **argv)
{
	static const size_t object_sizes[] = { 64, 256, 1024 };
	static const unsigned orders[] = { 0, 4 };
	uint64_t round_nsec = (argc > 1 ? strtoul(argv[1], NULL, 10) : 20) * 1000000;
	struct alloc *a;

	if (alloc_new(&(struct alloc_opts){ 0 }, &a))
		return EXIT_FAILURE;
	for (unsigned i = 0; i < ARRAY_LEN(object_sizes); i++) {
		struct memory m = { .a = a, .len_bytes = object_sizes[i] };

		m.s = slab_new(a, "bench", m.len_bytes, 0);
		if (!m.s)
			return EXIT_FAILURE;
		compare_all("object", &m, round_nsec);
		slab_free(m.s);
	}
	for (unsigned i = 0; i < ARRAY_LEN(orders); i++)
		compare_all("pages",
			    &(struct memory){ .a = a, .order = orders[i],
					      .len_bytes = (size_t)ALLOC_PAGE_BYTES << orders[i] },
			    round_nsec);
	return alloc_free(a) ? EXIT_FAILURE : EXIT_SUCCESS;
}
