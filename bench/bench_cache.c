/*
 * bench_cache: what the cache's hit path costs, in nanoseconds a block: single gets, runs of
 * 256 blocks, writes of 256 blocks (without copying anything), on one and two threads.
 * A memcpy of one block stands beside them: what a hit saves.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cache/cache.h"

enum { BLOCK = 4096, RUN = 256, NR_BLOCKS = 8192, ROUNDS = 400 };

static struct cache *cache;

static double now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(int err)
{
	if (err) {
		fprintf(stderr, "bench_cache: %s\n", strerror(-err));
		exit(1);
	}
}

static void single_gets(pblk_t base)
{
	struct cache_buf *b;

	for (unsigned i = 0; i < RUN; i++) {
		must(cache_get(cache, base + i, NULL, NULL, &b));
		cache_put(b);
	}
}

static void run_gets(pblk_t base)
{
	struct cache_buf *bufs[RUN];

	must(cache_get_runs(cache, &(struct cache_run){ base, RUN }, 1, bufs));
	cache_put_many(bufs, RUN);
}

static void run_writes(pblk_t base)
{
	struct cache_buf *bufs[RUN];

	must(cache_write_begin(cache, base, RUN, CACHE_OVERWRITE, bufs));
	cache_write_end(cache, bufs, RUN);
}

static void copies(pblk_t base)
{
	static _Thread_local char to[BLOCK];
	struct cache_buf *bufs[RUN];

	must(cache_get_runs(cache, &(struct cache_run){ base, RUN }, 1, bufs));
	for (unsigned i = 0; i < RUN; i++) {
		memcpy(to, bufs[i]->data, BLOCK);
		__asm__ volatile("" ::"r"(to) : "memory");
	}
	cache_put_many(bufs, RUN);
}

static const struct work {
	const char *name;
	void (*fn)(pblk_t base);
} works[] = {
	{ "get, put", single_gets }, { "get 256", run_gets }, { "write 256", run_writes }, { "get 256 and copy", copies },
};

struct job {
	const struct work *work;
	pblk_t base;
};

static void *job_main(void *arg)
{
	const struct job *j = arg;

	for (unsigned i = 0; i < ROUNDS; i++)
		j->work->fn(j->base + i * RUN % (NR_BLOCKS / 2));
	return NULL;
}

static double measure(const struct work *w, unsigned nr_threads)
{
	struct job jobs[2] = { { w, 0 }, { w, NR_BLOCKS / 2 } };
	pthread_t t[2];
	double start;

	job_main(&jobs[0]);	/* warm */
	job_main(&jobs[1]);
	start = now_nsec();
	for (unsigned i = 0; i < nr_threads; i++)
		must(-pthread_create(&t[i], NULL, job_main, &jobs[i]));
	for (unsigned i = 0; i < nr_threads; i++)
		pthread_join(t[i], NULL);
	return (now_nsec() - start) / ROUNDS / RUN;
}

int main(void)
{
	struct cache_opts co = { .block_bytes = BLOCK, .size_bytes = 64 << 20 };
	struct blk_dev *dev;

	must(alloc_new(&(struct alloc_opts){ 0 }, &co.alloc));
	must(blk_mem_new((uint64_t)NR_BLOCKS * BLOCK / SECT_BYTES, &dev));
	co.dev = dev;
	must(cache_new(&co, &cache));
	printf("%-18s %10s %10s   (ns a block)\n", "", "1 thread", "2 threads");
	for (unsigned i = 0; i < ARRAY_LEN(works); i++)
		printf("%-18s %10.1f %10.1f\n", works[i].name, measure(&works[i], 1), measure(&works[i], 2));
	must(cache_flush(cache, CACHE_DATA));
	cache_free(cache);
	blk_close(dev);
	alloc_free(co.alloc);
	return 0;
}
