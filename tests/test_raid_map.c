/*
 * test_raid_map.c: addresses against a model that lays the chunks out one by one, the
 * way md(4) describes the layouts, on a board of slots and rows.
 */
#include "test_raid.h"

#include <stdlib.h>

enum { ROWS = 60, SLOTS = 8, EMPTY = -1, P = -2, Q = -3 };

struct board {
	int at[SLOTS][ROWS];
};

static void board_clear(struct board *b)
{
	for (unsigned s = 0; s < SLOTS; s++)
		for (unsigned row = 0; row < ROWS; row++)
			b->at[s][row] = EMPTY;
}

/* Parity starts at one end and moves to the other, one step a row. */
static void board_parity(struct board *b, unsigned n, unsigned nr_parity, bool left, bool symmetric)
{
	int chunk = 0;
	unsigned p = left ? n - 1 : 0;

	for (unsigned row = 0; row < ROWS; row++) {
		unsigned slot = symmetric ? (p + nr_parity) % n : 0;

		b->at[p][row] = P;
		if (nr_parity == 2)
			b->at[(p + 1) % n][row] = Q;
		for (unsigned k = 0; k < n; k++, slot = (slot + 1) % n)
			if (b->at[slot][row] == EMPTY)
				b->at[slot][row] = chunk++;
		p = left ? (p + n - 1) % n : (p + 1) % n;
	}
}

/* Copies of a chunk fill the rows from left to right. */
static void board_near(struct board *b, unsigned n, unsigned copies)
{
	for (unsigned i = 0; i < n * ROWS / copies * copies; i++)
		b->at[i % n][i / n] = (int)(i / copies);
}

/* The whole array as RAID 0, then again further down, moved by one slot. */
static void board_far(struct board *b, unsigned n, unsigned copies)
{
	unsigned rows = ROWS / copies;

	for (unsigned copy = 0; copy < copies; copy++)
		for (unsigned i = 0; i < n * rows; i++)
			b->at[(i + copy) % n][copy * rows + i / n] = (int)i;
}

/* Each row is repeated below itself, moved by one slot. */
static void board_offset(struct board *b, unsigned n, unsigned copies)
{
	for (unsigned copy = 0; copy < copies; copy++)
		for (unsigned i = 0; i < n * (ROWS / copies); i++)
			b->at[(i + copy) % n][i / n * copies + copy] = (int)i;
}

static void compare(const struct board *b, const struct raid_geom *g)
{
	uint64_t nr_chunks = g->array_sects >> g->chunk_shift;
	struct raid_place places[RAID_MAX_MEMBERS];
	unsigned nr_found = 0;

	for (unsigned slot = 0; slot < g->nr_disks; slot++)
		for (unsigned row = 0; row < ROWS; row++) {
			sect_t in_chunk = (slot + row) % g->chunk_sects, sect = row * g->chunk_sects + in_chunk;
			int want = b->at[slot][row];
			struct raid_role role;
			bool found = false;
			uint64_t nr;

			raid_unmap(g, slot, sect, &role);
			if (want == P || want == Q) {
				must(role.kind == (want == P ? RAID_KIND_P : RAID_KIND_Q));
				continue;
			}
			if (want == EMPTY || (uint64_t)want >= nr_chunks) {
				must(role.kind == RAID_KIND_UNUSED);
				continue;
			}
			nr_found++;
			must(role.kind == RAID_KIND_DATA);
			must(role.sect == (uint64_t)want * g->chunk_sects + in_chunk);
			raid_map(g, role.sect, places, &nr);
			must(nr == g->chunk_sects - in_chunk);
			for (unsigned i = 0; i < g->nr_copies; i++)
				if (places[i].slot == slot && places[i].sect == sect) {
					found = true;
					must(role.copy == i);
				}
			must_msg(found, "slot %u row %u: chunk %d maps elsewhere", slot, row, want);
		}
	ck_assert_uint_eq(nr_found, nr_chunks * g->nr_copies);
}

static void geom(struct raid_geom *g, int level, const char *layout, unsigned n, uint32_t chunk_sects)
{
	uint64_t sects[SLOTS];
	uint32_t nr;

	for (unsigned i = 0; i < SLOTS; i++)
		sects[i] = (uint64_t)ROWS * chunk_sects;
	ck_assert_int_eq(raid_layout_parse(level, layout, &nr), 0);
	ck_assert_int_eq(raid_geom_init(g, level, nr, chunk_sects, n, sects), 0);
}

START_TEST(raid5_and_6_lay_chunks_as_md_does)
{
	static const struct {
		const char *layout;
		bool left, symmetric;
	} layouts[] = { { "la", true, false }, { "ra", false, false }, { "ls", true, true }, { "rs", false, true } };

	for (int level = RAID_5; level <= RAID_6; level++)
		for (unsigned n = level == RAID_6 ? 4 : 2; n <= SLOTS; n++)
			for (unsigned i = 0; i < ARRAY_LEN(layouts); i++) {
				struct raid_geom g;
				struct board b;

				board_clear(&b);
				board_parity(&b, n, (unsigned)level - 4, layouts[i].left, layouts[i].symmetric);
				geom(&g, level, layouts[i].layout, n, 8u << n % 3);
				compare(&b, &g);
				raid_geom_fini(&g);
			}
}
END_TEST

START_TEST(raid4_keeps_parity_on_the_last_member)
{
	for (unsigned n = 2; n <= SLOTS; n++) {
		struct raid_geom g;
		struct board b;
		int chunk = 0;

		board_clear(&b);
		for (unsigned row = 0; row < ROWS; row++) {
			for (unsigned slot = 0; slot + 1 < n; slot++)
				b.at[slot][row] = chunk++;
			b.at[n - 1][row] = P;
		}
		geom(&g, RAID_4, NULL, n, 8);
		compare(&b, &g);
		raid_geom_fini(&g);
	}
}
END_TEST

START_TEST(raid10_lays_copies_as_md_does)
{
	static void (*const lay[])(struct board *, unsigned, unsigned) = { board_near, board_far, board_offset };

	for (unsigned kind = 0; kind < ARRAY_LEN(lay); kind++)
		for (unsigned n = 2; n <= SLOTS; n++)
			for (unsigned copies = 2; copies <= MIN(n, 4u); copies++) {
				char layout[] = { "nfo"[kind], (char)('0' + copies), '\0' };
				struct raid_geom g;
				struct board b;

				board_clear(&b);
				lay[kind](&b, n, copies);
				geom(&g, RAID_10, layout, n, 8u << n % 2);
				compare(&b, &g);
				raid_geom_fini(&g);
			}
}
END_TEST

START_TEST(q_counts_data_from_behind_itself)
{
	static const char *const layouts[] = { "ls", "la", "rs", "ra", "parity-first", "parity-last",
					       "left-symmetric-6", "right-symmetric-6", "left-asymmetric-6" };

	for (unsigned n = 4; n <= SLOTS; n++)
		for (unsigned i = 0; i < ARRAY_LEN(layouts); i++) {
			struct raid_geom g;

			geom(&g, RAID_6, layouts[i], n, 8);
			for (unsigned row = 0; row < 2 * n; row++) {
				struct raid_stripe_map m;
				unsigned e = 0;

				raid_map_stripe(&g, row, &m);
				for (unsigned step = 1; step < n; step++) {
					unsigned slot = (m.q + step) % n;

					if (slot == m.p)
						continue;
					must(m.data[raid_stripe_dd(&g, &m, e)] == slot);
					must(raid_stripe_exponent(&g, &m, raid_stripe_dd(&g, &m, e)) == e);
					e++;
				}
			}
			raid_geom_fini(&g);
		}
}
END_TEST

/* Zones of RAID 0 over members of 3, 7, 5 and 7 chunks: rows of 4, then 3, then 2 members. */
START_TEST(raid0_over_uneven_members_goes_on_over_the_larger_ones)
{
	static const uint64_t sects[] = { 3 * 8 + 5, 7 * 8, 5 * 8 + 1, 7 * 8 + 7 };
	static const unsigned slots_of[][4] = { { 0, 1, 2, 3 }, { 1, 2, 3 }, { 1, 3 } };
	static const unsigned rows_of[] = { 3, 2, 2 }, widths[] = { 4, 3, 2 };

	for (uint32_t layout = RAID_LAYOUT_0_ORIGINAL; layout <= RAID_LAYOUT_0_ALTERNATE; layout++) {
		struct raid_geom g;
		uint64_t chunk = 0, row = 0;

		ck_assert_int_eq(raid_geom_init(&g, RAID_0, layout, 8, 4, sects), 0);
		ck_assert_uint_eq(g.array_sects, (12 + 6 + 4) * 8);
		for (unsigned zone = 0; zone < 3; zone++) {
			uint64_t first = chunk;

			for (unsigned i = 0; i < rows_of[zone] * widths[zone]; i++, chunk++) {
				uint64_t turn = layout == RAID_LAYOUT_0_ORIGINAL ? chunk : chunk - first;
				struct raid_place place;
				struct raid_role role;
				uint64_t nr;

				raid_map(&g, chunk * 8 + 3, &place, &nr);
				must(place.slot == slots_of[zone][turn % widths[zone]]);
				must(place.sect == (row + i / widths[zone]) * 8 + 3);
				must(nr == 5);
				raid_unmap(&g, place.slot, place.sect, &role);
				must(role.kind == RAID_KIND_DATA);
				must(role.sect == chunk * 8 + 3);
			}
			row += rows_of[zone];
		}
		raid_geom_fini(&g);
	}
}
END_TEST

START_TEST(linear_is_one_member_after_the_other)
{
	static const uint64_t sects[] = { 100, 7, 30 };
	struct raid_geom g;
	sect_t sect = 0;

	ck_assert_int_eq(raid_geom_init(&g, RAID_LINEAR, 0, 0, 3, sects), 0);
	ck_assert_uint_eq(g.array_sects, 137);
	for (unsigned slot = 0; slot < 3; slot++)
		for (sect_t at = 0; at < sects[slot]; at++, sect++) {
			struct raid_place place;
			struct raid_role role;
			uint64_t nr;

			raid_map(&g, sect, &place, &nr);
			must(place.slot == slot && place.sect == at && nr == sects[slot] - at);
			raid_unmap(&g, slot, at, &role);
			must(role.kind == RAID_KIND_DATA && role.sect == sect);
		}
	raid_geom_fini(&g);
}
END_TEST

START_TEST(impossible_geometries_are_refused_by_name)
{
	static const struct {
		int level;
		uint32_t layout, chunk_sects;
		unsigned nr_disks;
		const char *says;
	} bad[] = {
		{ 7, 0, 8, 4, "level 7" },
		{ RAID_5, 2, 24, 4, "chunk" },
		{ RAID_5, 2, 4, 4, "chunk" },
		{ RAID_5, 2, 16384, 4, "chunk" },
		{ RAID_5, 6, 8, 4, "layout 6" },
		{ RAID_5, 16, 8, 4, "layout 16" },
		{ RAID_6, 8, 8, 4, "layout 8" },
		{ RAID_6, 2, 8, 3, "4 to 66 disks" },
		{ RAID_5, 2, 8, 66, "2 to 65 disks" },
		{ RAID_10, 0x104, 8, 3, "not supported on 3" },
		{ RAID_10, 0x20102, 8, 4, "not supported" },
		{ RAID_10, 0x100, 8, 4, "not supported" },
		{ RAID_1, 0, 0, 385, "385 disks" },
	};
	static const uint64_t sects[1] = { 4096 };

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct raid_geom g;

		tlog_quiet();
		ck_assert_int_eq(raid_geom_init(&g, bad[i].level, bad[i].layout, bad[i].chunk_sects, bad[i].nr_disks, sects),
				 -EINVAL);
		must_msg(tlog_saw(bad[i].says), "%s", bad[i].says);
	}
}
END_TEST

START_TEST(names_of_levels_and_layouts_go_both_ways)
{
	static const struct {
		int level;
		const char *text, *name;
	} layouts[] = {
		{ RAID_5, "ls", "left-symmetric" }, { RAID_6, "right-asymmetric", "right-asymmetric" },
		{ RAID_10, "n2", "near=2" }, { RAID_10, "f3", "far=3" }, { RAID_10, "o2", "offset=2" },
		{ RAID_10, "offset=4", "offset=4" }, { RAID_0, "alternate", "alternate" }, { RAID_5, NULL, "left-symmetric" },
	};
	char buf[32];
	uint32_t layout;
	int level;

	tlog_quiet();
	for (unsigned i = 0; i < ARRAY_LEN(layouts); i++) {
		ck_assert_int_eq(raid_layout_parse(layouts[i].level, layouts[i].text, &layout), 0);
		ck_assert_str_eq(raid_layout_name(layouts[i].level, layout, buf), layouts[i].name);
	}
	ck_assert_int_eq(raid_level_parse("5", &level), 0);
	ck_assert_int_eq(level, RAID_5);
	ck_assert_int_eq(raid_level_parse("RAID10", &level), 0);
	ck_assert_int_eq(level, RAID_10);
	ck_assert_int_eq(raid_level_parse("linear", &level), 0);
	ck_assert_int_eq(level, RAID_LINEAR);
	ck_assert_int_eq(raid_level_parse("7", &level), -EINVAL);
	ck_assert_int_eq(raid_layout_parse(RAID_10, "x2", &layout), -EINVAL);
	ck_assert_int_eq(raid_layout_parse(RAID_10, "n", &layout), -EINVAL);
	ck_assert_int_eq(raid_layout_parse(RAID_5, "n2", &layout), -EINVAL);
	ck_assert_int_eq(raid_layout_parse(RAID_1, "ls", &layout), -EINVAL);
}
END_TEST

Suite *raid_map_suite(void)
{
	Suite *s = suite_create("raid_map");
	TCase *tc = tcase_create("map");

	tcase_add_test(tc, raid5_and_6_lay_chunks_as_md_does);
	tcase_add_test(tc, raid4_keeps_parity_on_the_last_member);
	tcase_add_test(tc, raid10_lays_copies_as_md_does);
	tcase_add_test(tc, q_counts_data_from_behind_itself);
	tcase_add_test(tc, raid0_over_uneven_members_goes_on_over_the_larger_ones);
	tcase_add_test(tc, linear_is_one_member_after_the_other);
	tcase_add_test(tc, impossible_geometries_are_refused_by_name);
	tcase_add_test(tc, names_of_levels_and_layouts_go_both_ways);
	suite_add_tcase(s, tc);
	return s;
}
