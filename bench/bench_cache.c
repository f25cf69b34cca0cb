/*
 * bench_cache.c: nanoseconds per block of what the filesystem does on a cache hit: one block
 * got and put, 256 blocks got and put (a read of 1 MiB), 256 blocks taken for writing and
 * made dirty (a write of 1 MiB, without its copy). Blocks are 4 KiB, on a memory device, all
 * in the cache; each thread works on its own half of them. Medians of several rounds.
 *
 * "clean" writes meet frames that were written back before, "dirty" ones frames that are
 * still dirty. The write-back itself is not timed.
 *
 * Usage: bench_cache [MiB of cached blocks]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cache/cache.h"

enum { BLOCK_BYTES = 4096, RUN = 256, NR_ROUNDS = 7, MAX_THREADS = 2 };

struct job;
typedef void pass_fn(const struct job *j);

struct job {
	struct cache *c;
	pass_fn *pass;
	pblk_t from, to;
	pthread_barrier_t *start;
	double nsec_per_block;		/* out */
};

static void must(int err)
{
	if (err) {
		fprintf(stderr, "bench_cache: %s\n", strerror(-err));
		exit(EXIT_FAILURE);
	}
}

static void pass_get(const struct job *j)
{
	for (pblk_t p = j->from; p < j->to; p++) {
		struct cache_buf *b;

		must(cache_get(j->c, p, NULL, NULL, &b));
		cache_put(b);
	}
}

/* The same number of blocks, in an order that no prefetcher knows. */
static void pass_get_scattered(const struct job *j)
{
	const pblk_t nr = j->to - j->from;
	pblk_t at = 0;

	for (pblk_t i = 0; i < nr; i++) {
		struct cache_buf *b;

		at = (at + 5003) % nr;
		must(cache_get(j->c, j->from + at, NULL, NULL, &b));
		cache_put(b);
	}
}

static void pass_runs(const struct job *j)
{
	struct cache_buf *bufs[RUN];

	for (pblk_t p = j->from; p < j->to; p += RUN) {
		must(cache_get_runs(j->c, &(struct cache_run){ p, RUN }, 1, bufs));
		cache_put_many(bufs, RUN);
	}
}

static void pass_write(const struct job *j)
{
	struct cache_buf *bufs[RUN];

	for (pblk_t p = j->from; p < j->to; p += RUN) {
		must(cache_write_begin(j->c, p, RUN, CACHE_OVERWRITE, bufs));
		cache_write_end(j->c, bufs, RUN);
	}
}

static double now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *job_run(void *arg)
{
	struct job *j = arg;
	double start;

	pthread_barrier_wait(j->start);
	start = now_nsec();
	j->pass(j);
	j->nsec_per_block = (now_nsec() - start) / (double)(j->to - j->from);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double one_round(struct cache *c, pass_fn *pass, pblk_t nr_blocks, unsigned nr_threads)
{
	const pblk_t part = ALIGN_DOWN(nr_blocks / MAX_THREADS, RUN);
	pthread_barrier_t start;
	pthread_t threads[MAX_THREADS];
	struct job jobs[MAX_THREADS];
	double sum = 0;

	pthread_barrier_init(&start, NULL, nr_threads);
	for (unsigned i = 0; i < nr_threads; i++) {
		jobs[i] = (struct job){ c, pass, i * part, (i + 1) * part, &start, 0 };
		if (pthread_create(&threads[i], NULL, job_run, &jobs[i]))
			must(-EAGAIN);
	}
	for (unsigned i = 0; i < nr_threads; i++) {
		pthread_join(threads[i], NULL);
		sum += jobs[i].nsec_per_block;
	}
	pthread_barrier_destroy(&start);
	return sum / nr_threads;
}

static void measure(struct cache *c, const char *what, pass_fn *pass, pblk_t nr_blocks, bool clean)
{
	printf("%-28s", what);
	for (unsigned nr_threads = 1; nr_threads <= MAX_THREADS; nr_threads++) {
		double nsec[NR_ROUNDS];

		one_round(c, pass, nr_blocks, nr_threads);
		for (unsigned i = 0; i < NR_ROUNDS; i++) {
			if (clean)
				must(cache_flush(c, CACHE_META | CACHE_DATA));
			nsec[i] = one_round(c, pass, nr_blocks, nr_threads);
		}
		qsort(nsec, NR_ROUNDS, sizeof(nsec[0]), compare);
		printf("  %u thread%s %6.1f ns/block", nr_threads, nr_threads > 1 ? "s" : " ", nsec[NR_ROUNDS / 2]);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	const uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 64;
	const pblk_t nr_blocks = mib * ((1 << 20) / BLOCK_BYTES);
	const struct alloc_opts ao = { 0 };
	struct cache_opts co = { .block_bytes = BLOCK_BYTES, .size_bytes = (mib + mib / 8 + 8) << 20 };
	struct cache *c;

	if (nr_blocks < MAX_THREADS * RUN)
		must(-EINVAL);
	must(alloc_new(&ao, &co.alloc));
	must(blk_mem_new(nr_blocks * (BLOCK_BYTES >> SECT_SHIFT), &co.dev));
	must(cache_new(&co, &c));
	one_round(c, pass_runs, nr_blocks, MAX_THREADS);
	measure(c, "cache_get, in order", pass_get, nr_blocks, false);
	measure(c, "cache_get, scattered", pass_get_scattered, nr_blocks, false);
	measure(c, "cache_get_runs of 256", pass_runs, nr_blocks, false);
	measure(c, "cache_write of 256, clean", pass_write, nr_blocks, true);
	measure(c, "cache_write of 256, dirty", pass_write, nr_blocks, false);
	cache_free(c);
	blk_close(co.dev);
	return alloc_free(co.alloc) ? EXIT_FAILURE : EXIT_SUCCESS;
}
