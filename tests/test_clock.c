/* test_clock.c: the clock alone, driven by the classic reference strings, beside models of FIFO, LRU and OPT. */
#include <check.h>
#include <stdlib.h>

#include "cache/cache_clock.h"

enum { MAX_PAGES = 16, MAX_FRAMES = 8 };

struct page {
	struct clock_node node;
	int nr;
};

static bool always(const struct clock_node *node)
{
	return true;
}

static unsigned clock_faults(const int *refs, unsigned nr, unsigned nr_frames)
{
	struct clock_ring ring = { 0 };
	struct page pages[MAX_PAGES] = { 0 };
	unsigned faults = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct page *p = &pages[refs[i]];

		if (p->node.next) {
			clock_touch(&p->node);
			continue;
		}
		faults++;
		if (ring.nr_nodes == nr_frames)
			clock_remove(&ring, clock_victim(&ring, always, UINT64_MAX));
		clock_insert(&ring, &p->node);
	}
	return faults;
}

/* The models keep frames as a list of page numbers, the next to go first. */
enum policy { FIFO, LRU, OPT };

static unsigned next_use(const int *refs, unsigned nr, unsigned from, int page)
{
	while (from < nr && refs[from] != page)
		from++;
	return from;
}

static unsigned model_faults(enum policy policy, const int *refs, unsigned nr, unsigned nr_frames)
{
	int frames[MAX_FRAMES];
	unsigned used = 0, faults = 0;

	for (unsigned i = 0; i < nr; i++) {
		unsigned at = 0;

		while (at < used && frames[at] != refs[i])
			at++;
		if (at == used) {
			faults++;
			at = 0;
			if (used < nr_frames)
				at = used++;
			else if (policy == OPT)
				for (unsigned k = 1; k < used; k++)
					if (next_use(refs, nr, i, frames[k]) > next_use(refs, nr, i, frames[at]))
						at = k;
		} else if (policy != LRU) {
			continue;
		}
		/* to the end of the list */
		for (; at + 1 < used; at++)
			frames[at] = frames[at + 1];
		frames[used - 1] = refs[i];
	}
	return faults;
}

static const int belady[] = { 1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5 };
static const int second_chance[] = { 1, 2, 3, 4, 5, 2, 3, 1, 2, 3 };

START_TEST(clock_gives_a_second_chance)
{
	ck_assert_uint_eq(clock_faults(second_chance, ARRAY_LEN(second_chance), 4), 6);
}
END_TEST

START_TEST(clock_on_beladys_string)
{
	/* Every page comes in referenced, so on this string the clock does what FIFO does. */
	ck_assert_uint_eq(clock_faults(belady, ARRAY_LEN(belady), 3), 9);
	ck_assert_uint_eq(clock_faults(belady, ARRAY_LEN(belady), 4), 10);
}
END_TEST

START_TEST(fifo_shows_beladys_anomaly)
{
	ck_assert_uint_eq(model_faults(FIFO, belady, ARRAY_LEN(belady), 3), 9);
	ck_assert_uint_eq(model_faults(FIFO, belady, ARRAY_LEN(belady), 4), 10);
}
END_TEST

START_TEST(lru_and_opt_do_better_with_four_frames)
{
	ck_assert_uint_eq(model_faults(LRU, belady, ARRAY_LEN(belady), 4), 8);
	ck_assert_uint_eq(model_faults(OPT, belady, ARRAY_LEN(belady), 4), 6);
}
END_TEST

START_TEST(no_policy_beats_opt_and_the_clock_keeps_its_ring)
{
	unsigned seed = 20261124;
	int refs[400];

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < ARRAY_LEN(refs); i++)
			refs[i] = rand_r(&seed) % MAX_PAGES;
		for (unsigned n = 1; n <= MAX_FRAMES; n++) {
			const unsigned opt = model_faults(OPT, refs, ARRAY_LEN(refs), n);

			ck_assert_uint_le(opt, clock_faults(refs, ARRAY_LEN(refs), n));
			ck_assert_uint_le(opt, model_faults(LRU, refs, ARRAY_LEN(refs), n));
			ck_assert_uint_le(opt, model_faults(FIFO, refs, ARRAY_LEN(refs), n));
		}
	}
}
END_TEST

static bool odd(const struct clock_node *node)
{
	return container_of(node, struct page, node)->nr & 1;
}

START_TEST(the_hand_passes_over_what_may_not_go)
{
	struct clock_ring ring = { 0 };
	struct page pages[4] = { { .nr = 0 }, { .nr = 2 }, { .nr = 3 }, { .nr = 4 } };

	for (unsigned i = 0; i < 4; i++)
		clock_insert(&ring, &pages[i].node);
	ck_assert_ptr_eq(clock_victim(&ring, odd, UINT64_MAX), &pages[2].node);
	clock_remove(&ring, &pages[2].node);
	ck_assert_ptr_null(clock_victim(&ring, odd, UINT64_MAX));
	ck_assert(pages[0].node.referenced);	/* not their turn: they keep their bit */
}
END_TEST

START_TEST(the_hand_stops_when_it_was_told_to)
{
	struct clock_ring ring = { 0 };
	struct page pages[4] = { 0 };

	for (unsigned i = 0; i < 4; i++)
		clock_insert(&ring, &pages[i].node);
	ck_assert_ptr_null(clock_victim(&ring, always, 3));
	ck_assert_uint_eq(ring.nr_steps, 3);
	ck_assert(!pages[2].node.referenced && pages[3].node.referenced);
	/* It goes on where it stood. */
	ck_assert_ptr_eq(clock_victim(&ring, always, 3), &pages[0].node);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("clock");
	TCase *tc = tcase_create("clock");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, clock_gives_a_second_chance);
	tcase_add_test(tc, clock_on_beladys_string);
	tcase_add_test(tc, fifo_shows_beladys_anomaly);
	tcase_add_test(tc, lru_and_opt_do_better_with_four_frames);
	tcase_add_test(tc, no_policy_beats_opt_and_the_clock_keeps_its_ring);
	tcase_add_test(tc, the_hand_passes_over_what_may_not_go);
	tcase_add_test(tc, the_hand_stops_when_it_was_told_to);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
