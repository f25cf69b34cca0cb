/* test_alloc.c: what the allocators promise, one by one, and the misuse that they must find. */
#include "test_alloc.h"

#include "base/log.h"

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
#include <sanitizer/asan_interface.h>
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
	size_t len_bytes = object_sizes[_i];
	struct alloc *a = new_alloc((struct alloc_opts){ .redzone = true });
	struct slab *s = slab_new(a, "walrus", len_bytes, 0);
	char *obj = slab_alloc(s), *next = slab_alloc(s);
	struct caught c;

	catch_log(&c);
	scribble(obj + len_bytes);
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

#if defined(__SANITIZE_ADDRESS__)
START_TEST(asan_knows_which_memory_is_free)
{
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct slab *s = slab_new(a, "thing", 100, 0);
	char *obj = slab_alloc(s), *p = alloc_pages(a, 1);

	ck_assert(!__asan_region_is_poisoned(obj, 100));
	ck_assert(__asan_address_is_poisoned(obj + 100));
	ck_assert(!__asan_region_is_poisoned(p, 2 * ALLOC_PAGE_BYTES));
	slab_put(s, obj);
	alloc_pages_free(a, p, 1);
	for (unsigned i = 0; i < 100; i++)
		ck_assert(__asan_address_is_poisoned(obj + i));
	ck_assert(__asan_address_is_poisoned(p));
	ck_assert(__asan_address_is_poisoned(p + 2 * ALLOC_PAGE_BYTES - 1));
	slab_free(s);
	end_alloc(a);
}
END_TEST
#endif

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
	struct alloc *a = new_alloc((struct alloc_opts){ 0 });
	struct alloc *b = new_alloc((struct alloc_opts){ .poison = true });
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

int main(void)
{
	Suite *suite = suite_create("alloc");
	TCase *pages = tcase_create("pages"), *objects = tcase_create("objects");
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
	tcase_add_loop_test(objects, a_write_beyond_the_end_breaks_the_guard, 0, ARRAY_LEN(object_sizes));
	tcase_add_test(objects, a_write_after_free_is_reported_with_poison);
	tcase_add_test(objects, an_object_put_back_twice_or_to_another_cache_is_reported);
#if defined(__SANITIZE_ADDRESS__)
	tcase_add_test(objects, asan_knows_which_memory_is_free);
#endif
	tcase_add_test(objects, the_printer_names_orders_and_caches);
	tcase_add_test(objects, two_allocators_do_not_meet);
	tcase_add_test(objects, more_caches_than_magazine_slots_work);

	suite_add_tcase(suite, pages);
	suite_add_tcase(suite, objects);
	add_model_tests(suite);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	nr_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
