/* test_raid_loss.c: members that are missing, fail, or cannot read in places. */
#include "test_raid.h"

#include <stdlib.h>

#include "raid/raid_int.h"

static bool is_night(void)
{
	const char *tier = getenv("OSFS_TEST_TIER");

	return tier && !strcmp(tier, "night");
}

static bool survives(const struct tarray *t)
{
	return t->r->level->can_run(&t->r->geom, t->absent);
}

/* The lost disks come back empty and are filled, with writes in between. */
static void rebuild(struct tarray *t)
{
	for (unsigned i = 0; i < t->conf.nr_disks; i++) {
		if (!t->absent[i])
			continue;
		memset(t->disks[i].mem, 0, t->disks[i].nr_sects << SECT_SHIFT);
		ck_assert_int_eq(tarray_join(t, i, RAID_ADD_AUTO), 0);
	}
	for (unsigned n = 0; raid_step(t->r, 1 + rng_below(&t->rng, 100)) == 1; n++)
		if (n % 4 == 0)
			tarray_write_random(t, 1);
	must_msg(!raid_is_degraded(t->r), "%s seed %ju: still degraded", tconf_text(&t->conf), (uintmax_t)t->seed);
	tarray_check_disks(t);
	tarray_compare(t);
}

static void lose_and_use(struct tarray *t, unsigned nr_writes)
{
	if (!survives(t)) {
		tarray_stop(t);
		ck_assert_int_eq(tarray_assemble(t, NULL), -ENODEV);
		memset(t->absent, 0, sizeof(t->absent));
		tarray_reassemble(t);
		return;
	}
	tarray_reassemble(t);
	tarray_write_random(t, nr_writes);
	tarray_compare(t);
	tarray_check_disks(t);
	/* By day, half of them are rebuilt, from a new assembly. */
	if (!is_night() && rng_below(&t->rng, 2))
		return;
	tarray_reassemble(t);
	rebuild(t);
}

/*
 * Every single and every pair of members. The disks are put back as they were each
 * time, since a member that was away is stale.
 */
static void lose_each_and_all_pairs(struct tarray *t, unsigned nr_writes)
{
	uint8_t *saved[TDISKS_MAX], *flat = malloc(t->nr_sects << SECT_SHIFT);
	unsigned n = t->conf.nr_disks;

	tarray_write_random(t, 5 * nr_writes);
	tarray_stop(t);
	memcpy(flat, t->flat, t->nr_sects << SECT_SHIFT);
	for (unsigned i = 0; i < n; i++) {
		saved[i] = malloc(t->disks[i].nr_sects << SECT_SHIFT);
		memcpy(saved[i], t->disks[i].mem, t->disks[i].nr_sects << SECT_SHIFT);
	}
	for (unsigned x = 0; x < n; x++)
		for (unsigned y = x; y < n; y++) {
			ck_assert_int_eq(tarray_assemble(t, NULL), 0);
			t->absent[x] = t->absent[y] = true;
			if (n > (x == y ? 1 : 2))
				lose_and_use(t, nr_writes);
			tarray_stop(t);
			memset(t->absent, 0, sizeof(t->absent));
			memcpy(t->flat, flat, t->nr_sects << SECT_SHIFT);
			for (unsigned i = 0; i < n; i++)
				memcpy(t->disks[i].mem, saved[i], t->disks[i].nr_sects << SECT_SHIFT);
		}
	for (unsigned i = 0; i < n; i++)
		free(saved[i]);
	free(flat);
}

START_TEST(any_loss_within_tolerance_reads_writes_reassembles_and_is_rebuilt)
{
	struct tarray *t = tarray_new(&tconfs[_i], 3000 + (uint64_t)_i);

	lose_each_and_all_pairs(t, 3);
	tarray_free(t);
}
END_TEST

/* The same of small arrays, for all levels and layouts × 3 to 8 members × chunk sizes. */
static const struct {
	int level;
	const char *layout;
} layouts[] = {
	{ RAID_1, NULL }, { RAID_4, NULL }, { RAID_5, "ls" }, { RAID_5, "la" }, { RAID_5, "rs" }, { RAID_5, "ra" },
	{ RAID_5, "parity-first" }, { RAID_5, "parity-last" }, { RAID_6, "ls" }, { RAID_6, "la" }, { RAID_6, "rs" },
	{ RAID_6, "ra" }, { RAID_6, "left-symmetric-6" }, { RAID_6, "parity-first-6" }, { RAID_10, "n2" },
	{ RAID_10, "n3" }, { RAID_10, "f2" }, { RAID_10, "f3" }, { RAID_10, "o2" }, { RAID_10, "o3" },
};
static const uint32_t chunks[] = { 8, 16, 64, 256 };

START_TEST(the_same_for_every_level_layout_count_and_chunk_size)
{
	bool all = is_night();

	/* By day one count of members for each layout, another for each. */
	for (unsigned n = 3; n <= 8; n++)
		for (unsigned c = 0; c < (all ? ARRAY_LEN(chunks) : 1); c++) {
			struct tconf conf = {
				.level = layouts[_i].level, .layout = layouts[_i].layout, .nr_disks = n,
				.chunk_sects = layouts[_i].level == RAID_1 ? 0 : chunks[c], .rows = 6 };
			struct tarray *t;

			if ((conf.level == RAID_6 && n < 4) || (!all && n != 3 + (unsigned)_i % 5 + (conf.level == RAID_6)))
				continue;
			t = tarray_new(&conf, 3500 + (uint64_t)_i * 100 + n * 10 + c);
			lose_each_and_all_pairs(t, 1);
			tarray_free(t);
		}
}
END_TEST

static const struct tconf redundant[] = {
	{ .level = RAID_1, .nr_disks = 3, .rows = 60 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 4, .chunk_sects = 16, .rows = 11 },
	{ .level = RAID_10, .layout = "f2", .nr_disks = 5, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 11 },
	{ .level = RAID_5, .nr_disks = 5, .chunk_sects = 128, .rows = 6 },
	{ .level = RAID_6, .nr_disks = 6, .chunk_sects = 16, .rows = 11 },
};

START_TEST(a_bad_sector_is_answered_from_the_others_and_rewritten)
{
	struct tarray *t = tarray_new(&redundant[_i], 4000 + (uint64_t)_i);
	unsigned nr_mended = 0;

	tarray_write_random(t, 20);
	for (unsigned i = 0; i < t->nr_devs; i++) {
		sect_t data = tarray_info(t, i).data_offset;

		/* RAID 1 and 10 read each sector from one place only: all disks in turn. */
		t->disks[i].bad_sect = data + 16 + rng_below(&t->rng, 30);
		t->disks[i].bad_end = t->disks[i].bad_sect + 1;
		for (unsigned n = 0; n < 40 && t->disks[i].bad_end > t->disks[i].bad_sect; n++)
			tarray_compare(t);
		nr_mended += t->disks[i].bad_end == t->disks[i].bad_sect;
		t->disks[i].bad_end = t->disks[i].bad_sect;
	}
	/* A parity is not read until it is needed. */
	ck_assert_uint_ge(nr_mended, 1);
	must(tlog_saw("rewritten from redundancy"));
	must(!raid_is_degraded(t->r));
	tarray_check_disks(t);
	tarray_free(t);
}
END_TEST

START_TEST(bad_sectors_met_by_a_write_do_not_spoil_parity)
{
	struct tarray *t = tarray_new(&redundant[_i], 4100 + (uint64_t)_i);

	tarray_write_random(t, 20);
	for (unsigned round = 0; round < 60; round++) {
		struct tdisk *d = &t->disks[rng_below(&t->rng, t->nr_devs)];

		d->bad_sect = tarray_info(t, (unsigned)(d - t->disks)).data_offset + rng_below(&t->rng, 60);
		d->bad_end = d->bad_sect + 1 + rng_below(&t->rng, 4);
		tarray_write_random(t, 1);
		d->bad_end = d->bad_sect;
	}
	tarray_compare(t);
	tarray_check_disks(t);
	tarray_free(t);
}
END_TEST

/* Two members of RAID 6 with bad sectors in one stripe, but in different 4 KiB. */
START_TEST(bad_sectors_in_different_places_of_two_members_are_both_mended)
{
	struct tarray *t = tarray_new(&(struct tconf){ .level = RAID_5, .nr_disks = 4, .chunk_sects = 64, .rows = 8 }, 5);

	tarray_write_random(t, 20);
	for (unsigned i = 0; i < 4; i++) {
		t->disks[i].bad_sect = tarray_info(t, i).data_offset + 64 + i * 16;
		t->disks[i].bad_end = t->disks[i].bad_sect + 8;
	}
	tarray_compare(t);
	must(!raid_is_degraded(t->r));
	tarray_free(t);
}
END_TEST

START_TEST(beyond_redundancy_a_bad_sector_costs_only_its_block)
{
	static const struct tconf confs[] = {
		{ .level = RAID_0, .nr_disks = 3, .chunk_sects = 64, .rows = 8 },
		{ .level = RAID_1, .nr_disks = 1, .rows = 100 },
		{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 64, .rows = 8 },
	};
	struct tarray *t = tarray_new(&confs[_i], 6);
	unsigned nr_bad = 0;

	tarray_write_random(t, 20);
	for (unsigned i = 0; i < MIN(t->nr_devs, 2u); i++) {
		t->disks[i].bad_sect = tarray_info(t, i).data_offset + 8;
		t->disks[i].bad_end = t->disks[i].bad_sect + 8;
	}
	for (sect_t sect = 0; sect + 8 <= t->nr_sects; sect += 8) {
		uint8_t buf[4096];
		int err = blk_read(raid_dev(t->r), sect, buf, sizeof(buf));

		nr_bad += err != 0;
		must(err || !memcmp(buf, t->flat + sect * SECT_BYTES, sizeof(buf)));
	}
	ck_assert_uint_ge(nr_bad, 1);
	ck_assert_uint_le(nr_bad, 2);
	tarray_free(t);
}
END_TEST

START_TEST(a_failed_write_is_in_the_other_superblocks_before_it_is_acknowledged)
{
	struct tarray *t = tarray_new(&redundant[_i], 4200 + (uint64_t)_i);
	unsigned victim = (unsigned)rng_below(&t->rng, t->nr_devs);
	uint64_t events = 0;
	struct raid_status st;

	tarray_write_random(t, 5);
	t->disks[victim].fail_writes = true;
	for (sect_t sect = 0; sect < t->nr_sects; sect++) {
		ck_assert_int_eq(tarray_write(t, sect, 1), 0);
		raid_status_get(t->r, &st);
		if (st.degraded)
			break;
	}
	must(st.degraded && !st.failed);
	for (unsigned i = 0; i < t->nr_devs; i++)
		if (i != victim)
			events = tarray_info(t, i).events;
	for (unsigned i = 0; i < t->nr_devs; i++) {
		if (i == victim) {
			ck_assert_uint_lt(tarray_info(t, i).events, events);
			continue;
		}
		ck_assert_uint_eq(tarray_info(t, i).events, events);
	}
	/* A new assembly leaves it out although it works again. */
	t->disks[victim].fail_writes = false;
	tarray_write_random(t, 5);
	tarray_compare(t);
	tarray_reassemble(t);
	must(tlog_saw("left out"));
	raid_status_get(t->r, &st);
	must(st.degraded);
	tarray_compare(t);
	t->absent[victim] = true;
	tarray_check_disks(t);
	tarray_free(t);
}
END_TEST

START_TEST(beyond_the_tolerance_writes_fail_and_reads_are_never_wrong)
{
	struct tarray *t = tarray_new(&redundant[_i], 4300 + (uint64_t)_i);
	unsigned nr_lost = 0, nr_failed = 0;
	uint8_t *before = malloc(t->nr_sects << SECT_SHIFT);

	tarray_write_random(t, 20);
	for (; nr_lost < t->nr_devs; nr_lost++) {
		t->disks[nr_lost].fail_writes = true;
		memcpy(before, t->flat, t->nr_sects << SECT_SHIFT);
		for (sect_t sect = 0; sect + 3 <= t->nr_sects; sect += 3)
			nr_failed += tarray_write(t, sect, 3) != 0;
		if (nr_failed)
			break;
	}
	ck_assert_uint_gt(nr_failed, 0);
	for (sect_t sect = 0; sect < t->nr_sects; sect++) {
		uint8_t buf[SECT_BYTES];

		if (blk_read(raid_dev(t->r), sect, buf, sizeof(buf)))
			continue;
		must_msg(!memcmp(buf, t->flat + sect * SECT_BYTES, SECT_BYTES) ||
			      !memcmp(buf, before + sect * SECT_BYTES, SECT_BYTES),
			      "%s: sector %ju is neither old nor new", tconf_text(&t->conf), (uintmax_t)sect);
	}
	free(before);
	for (unsigned i = 0; i < t->nr_devs; i++)
		t->disks[i].fail_writes = false;
	tarray_free(t);
}
END_TEST

START_TEST(a_dead_member_is_dropped_and_everything_stays_readable)
{
	struct tarray *t = tarray_new(&redundant[_i], 4400 + (uint64_t)_i);

	tarray_write_random(t, 20);
	t->disks[1].dead = true;
	tarray_compare(t);
	tarray_write_random(t, 20);
	tarray_compare(t);
	must(raid_is_degraded(t->r));
	t->absent[1] = true;
	t->disks[1].dead = false;
	tarray_check_disks(t);
	tarray_reassemble(t);
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

Suite *raid_loss_suite(void)
{
	Suite *s = suite_create("raid_loss");
	TCase *tc = tcase_create("loss");
	int nr = ARRAY_LEN(redundant);

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, any_loss_within_tolerance_reads_writes_reassembles_and_is_rebuilt, 0, (int)nr_tconfs);
	tcase_add_loop_test(tc, the_same_for_every_level_layout_count_and_chunk_size, 0, ARRAY_LEN(layouts));
	tcase_add_loop_test(tc, a_bad_sector_is_answered_from_the_others_and_rewritten, 0, nr);
	tcase_add_loop_test(tc, bad_sectors_met_by_a_write_do_not_spoil_parity, 0, nr);
	tcase_add_test(tc, bad_sectors_in_different_places_of_two_members_are_both_mended);
	tcase_add_loop_test(tc, beyond_redundancy_a_bad_sector_costs_only_its_block, 0, 3);
	tcase_add_loop_test(tc, a_failed_write_is_in_the_other_superblocks_before_it_is_acknowledged, 0, nr);
	tcase_add_loop_test(tc, beyond_the_tolerance_writes_fail_and_reads_are_never_wrong, 0, nr);
	tcase_add_loop_test(tc, a_dead_member_is_dropped_and_everything_stays_readable, 0, nr);
	suite_add_tcase(s, tc);
	return s;
}
