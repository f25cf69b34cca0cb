/* test_alloc.h: what the files of test_alloc share. */
#ifndef OSFS_TESTS_TEST_ALLOC_H
#define OSFS_TESTS_TEST_ALLOC_H

#include <check.h>
#include <stdlib.h>

#include "alloc/alloc.h"
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

/* For inner loops: ck_assert makes a system call each time, this only when it fails. */
#define must(cond, ...)						\
	do {							\
		if (!(cond))					\
			ck_abort_msg(__VA_ARGS__);		\
	} while (0)

static inline struct alloc *new_alloc(struct alloc_opts opts)
{
	struct alloc *a;

	ck_assert_int_eq(alloc_new(&opts, &a), 0);
	return a;
}

static inline void end_alloc(struct alloc *a)
{
	ck_assert_int_eq(alloc_check(a), 0);
	ck_assert_uint_eq(alloc_free(a), 0);
}

static inline struct alloc_stats stats(struct alloc *a)
{
	struct alloc_stats st;

	alloc_stats_get(a, &st);
	return st;
}

/* The numbers of one cache by name. */
static inline struct slab_stats slab_stats(struct alloc *a, const char *name)
{
	struct slab_stats all[64];
	unsigned nr = slab_stats_get(a, all, ARRAY_LEN(all));

	for (unsigned i = 0; i < nr && i < ARRAY_LEN(all); i++)
		if (!strcmp(all[i].name, name))
			return all[i];
	ck_abort_msg("no cache %s", name);
}

/* Each page of a run, or each object, is filled with a pattern of its own and checked before it goes back. */
static inline void fill(void *p, size_t len_bytes, uint64_t tag)
{
	uint64_t *w = p;

	for (size_t i = 0; i < len_bytes / 8; i++)
		w[i] = tag * 0x9e3779b97f4a7c15u + i;
}

static inline bool is_filled(const void *p, size_t len_bytes, uint64_t tag)
{
	const uint64_t *w = p;

	for (size_t i = 0; i < len_bytes / 8; i++)
		if (w[i] != tag * 0x9e3779b97f4a7c15u + i)
			return false;
	return true;
}

/* Large runs: both ends of each page are enough to notice an overlap. */
static inline void fill_pages(char *p, unsigned order, uint64_t tag)
{
	for (unsigned i = 0; i < 1u << order; i++, p += ALLOC_PAGE_BYTES) {
		fill(p, 16, tag + i);
		fill(p + ALLOC_PAGE_BYTES - 16, 16, tag + i);
	}
}

static inline bool pages_are_filled(const char *p, unsigned order, uint64_t tag)
{
	for (unsigned i = 0; i < 1u << order; i++, p += ALLOC_PAGE_BYTES)
		if (!is_filled(p, 16, tag + i) || !is_filled(p + ALLOC_PAGE_BYTES - 16, 16, tag + i))
			return false;
	return true;
}

/* test_alloc_model.c */
void add_model_tests(Suite *suite);

#endif
