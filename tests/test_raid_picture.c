/*
 * test_raid_picture.c: the table of a layout beside md(4)'s, and the plan of a read beside
 * what erasure codes allow: any nr_data of a stripe's chunks give all of it, fewer do not.
 */
#include <check.h>
#include <stdlib.h>

#include "raid/raid_picture.h"

enum { CHUNK = 8, MEMBER = 40 * CHUNK };

static struct raid_geom geom_of(int level, uint32_t layout, unsigned nr_disks)
{
	uint64_t sects[RAID_MAX_MEMBERS];
	struct raid_geom g;

	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++)
		sects[i] = MEMBER;
	ck_assert_int_eq(raid_geom_init(&g, level, layout, CHUNK, nr_disks, sects), 0);
	return g;
}

static void check_row(const struct raid_geom *g, uint64_t row, const char *expect)
{
	char line[200] = "", cell[RAID_CELL_BYTES];

	for (unsigned slot = 0; slot < g->nr_disks; slot++) {
		strcat(line, slot ? " " : "");
		strcat(line, raid_cell_text(g, slot, row, cell));
	}
	ck_assert_str_eq(line, expect);
}

START_TEST(tables_are_those_of_md)
{
	static const struct {
		int level;
		uint32_t layout;
		unsigned nr_disks;
		const char *rows[4];
	} cases[] = {
		{ RAID_0, RAID_LAYOUT_0_ORIGINAL, 3, { "0 1 2", "3 4 5" } },
		{ RAID_1, 0, 3, { "0 0' 0''" } },
		{ RAID_4, 0, 3, { "0 1 P", "2 3 P" } },
		{ RAID_5, RAID_LAYOUT_LS, 4, { "0 1 2 P", "4 5 P 3", "8 P 6 7", "P 9 10 11" } },
		{ RAID_5, RAID_LAYOUT_LA, 4, { "0 1 2 P", "3 4 P 5", "6 P 7 8", "P 9 10 11" } },
		{ RAID_5, RAID_LAYOUT_RS, 3, { "P 0 1", "3 P 2", "4 5 P" } },
		{ RAID_6, RAID_LAYOUT_LS, 4, { "Q 0 1 P", "2 3 P Q", "5 P Q 4", "P Q 6 7" } },
		{ RAID_10, 0x102, 4, { "0 0' 1 1'", "2 2' 3 3'" } },
		{ RAID_10, 0x102, 3, { "0 0' 1", "1' 2 2'" } },
		{ RAID_10, 0x10201, 3, { "0 1 2", "2' 0' 1'", "3 4 5", "5' 3' 4'" } },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct raid_geom g = geom_of(cases[i].level, cases[i].layout, cases[i].nr_disks);

		for (unsigned row = 0; row < 4 && cases[i].rows[row]; row++)
			check_row(&g, row, cases[i].rows[row]);
		raid_geom_fini(&g);
	}
}
END_TEST

START_TEST(far_copies_lie_half_way_down)
{
	struct raid_geom g = geom_of(RAID_10, 0x201, 3);
	const uint64_t half = g.far_stride / CHUNK;

	check_row(&g, 0, "0 1 2");
	check_row(&g, half, "2' 0' 1'");
	ck_assert_uint_eq(raid_nr_rows(&g), 40);
	raid_geom_fini(&g);
}
END_TEST

START_TEST(linear_numbers_its_members)
{
	struct raid_geom g = geom_of(RAID_LINEAR, 0, 3);

	check_row(&g, 0, "0 1 2");
	ck_assert_uint_eq(raid_chunk_of(&g, MEMBER + 1), 1);
	ck_assert_uint_eq(raid_nr_rows(&g), 1);
	ck_assert_uint_eq(raid_row_sects(&g), MEMBER);
	raid_geom_fini(&g);
}
END_TEST

/* Slots of the stripe or of the copies of sect that may be needed. */
static void check_plan(const struct raid_geom *g, const bool *readable, sect_t sect)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	struct raid_read_plan p;
	unsigned nr_readable = 0;
	uint64_t nr_sects;

	raid_plan_read(g, readable, sect, &p);
	raid_map(g, sect, places, &nr_sects);
	for (unsigned i = 0; i < p.nr_slots; i++)
		ck_assert(readable[p.slots[i]]);
	if (!g->nr_parity) {
		for (unsigned i = 0; i < g->nr_copies; i++)
			nr_readable += readable[places[i].slot];
		ck_assert_uint_eq(p.nr_slots, nr_readable);
		ck_assert_int_eq(p.how == RAID_READ_LOST, nr_readable == 0);
		return;
	}
	for (unsigned slot = 0; slot < g->nr_disks; slot++)
		nr_readable += readable[slot];
	if (readable[places[0].slot]) {
		ck_assert_int_eq(p.how, RAID_READ_PLACE);
		ck_assert_uint_eq(p.nr_slots, 1);
		ck_assert_uint_eq(p.slots[0], places[0].slot);
	} else if (nr_readable >= g->nr_data) {
		ck_assert_int_eq(p.how, RAID_READ_SOLVE);
		ck_assert_uint_eq(p.nr_slots, g->nr_data);
		for (unsigned i = 0; i < p.nr_slots; i++)
			for (unsigned j = 0; j < i; j++)
				ck_assert_uint_ne(p.slots[i], p.slots[j]);
	} else {
		ck_assert_int_eq(p.how, RAID_READ_LOST);
		ck_assert_uint_eq(p.nr_slots, 0);
	}
}

START_TEST(reads_are_planned_for_every_loss)
{
	static const struct {
		int level;
		uint32_t layout;
	} levels[] = {
		{ RAID_0, RAID_LAYOUT_0_ORIGINAL }, { RAID_1, 0 }, { RAID_4, 0 }, { RAID_5, RAID_LAYOUT_LS },
		{ RAID_6, RAID_LAYOUT_LS }, { RAID_6, RAID_LAYOUT_RA }, { RAID_10, 0x102 }, { RAID_10, 0x201 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(levels); i++)
		for (unsigned nr = 4; nr <= 6; nr++) {
			struct raid_geom g = geom_of(levels[i].level, levels[i].layout, nr);

			for (unsigned lost = 0; lost < 1u << nr; lost++) {
				bool readable[RAID_MAX_MEMBERS];

				for (unsigned slot = 0; slot < nr; slot++)
					readable[slot] = !(lost & 1u << slot);
				for (sect_t sect = 0; sect < MIN(g.array_sects, (uint64_t)nr * nr * CHUNK); sect += 3)
					check_plan(&g, readable, sect);
			}
			raid_geom_fini(&g);
		}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("raid_picture");
	TCase *tc = tcase_create("picture");
	SRunner *r = srunner_create(s);
	int nr_failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, tables_are_those_of_md);
	tcase_add_test(tc, far_copies_lie_half_way_down);
	tcase_add_test(tc, linear_numbers_its_members);
	tcase_add_test(tc, reads_are_planned_for_every_loss);
	srunner_run_all(r, CK_NORMAL);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
