/* test_raid_assemble.c: which members make an array, and what an unclean stop leaves. */
#include "test_raid.h"

#include <stdio.h>
#include <stdlib.h>

#include "raid/raid_int.h"

static const struct tconf raid5 = { .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 12, .nr_spares = 1 };

static void superblock_edit(struct tarray *t, unsigned disk, void (*edit)(struct md_disk_sb1 *))
{
	struct raid_info info = tarray_info(t, disk);
	struct md_disk_sb1 *sb = (struct md_disk_sb1 *)(t->disks[disk].mem + (info.super_offset << SECT_SHIFT));
	uint64_t sum = 0;
	uint32_t *words = (uint32_t *)sb;

	edit(sb);
	sb->sb_csum = le32_of(0);
	for (unsigned i = 0; i < (256 + 2 * le32_get(sb->max_dev)) / 4; i++)
		sum += le32toh(words[i]);
	sb->sb_csum = le32_of((uint32_t)((sum & UINT32_MAX) + (sum >> 32)));
}

/* Whether no disk was written to. */
static uint64_t disks_hash(struct tarray *t)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < t->nr_devs; i++)
		for (uint64_t at = 0; at < t->disks[i].nr_sects << SECT_SHIFT; at += 8) {
			uint64_t v;

			memcpy(&v, t->disks[i].mem + at, 8);
			h = (h ^ v) * 0x9e3779b97f4a7c15u;
		}
	return h;
}

START_TEST(reading_does_not_change_a_byte)
{
	struct tarray *t = tarray_new(&raid5, 1);
	uint64_t hash;

	tarray_write_random(t, 10);
	tarray_stop(t);
	hash = disks_hash(t);
	tarray_reassemble(t);
	tarray_compare(t);
	tarray_stop(t);
	ck_assert_uint_eq(disks_hash(t), hash);
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .read_only = true }), 0);
	ck_assert_int_eq(tarray_write(t, 0, 1), -EROFS);
	tarray_stop(t);
	ck_assert_uint_eq(disks_hash(t), hash);
	tarray_free(t);
}
END_TEST

START_TEST(a_member_given_twice_is_refused_by_name)
{
	struct tarray *t = tarray_new(&raid5, 2);
	struct blk_dev *devs[3];
	struct raid *r;

	tarray_stop(t);
	devs[0] = tdisk_open(&t->disks[0], "a");
	devs[1] = tdisk_open(&t->disks[1], "b");
	devs[2] = tdisk_open(&t->disks[0], "again");
	ck_assert_int_eq(raid_assemble(devs, 3, &(struct raid_open_opts){ .alloc = t->alloc }, &r), -EINVAL);
	must(tlog_saw("a and again are the same member"));
	for (unsigned i = 0; i < 3; i++)
		blk_close(devs[i]);
	tarray_free(t);
}
END_TEST

START_TEST(a_member_of_another_array_is_refused_by_name)
{
	struct tarray *t = tarray_new(&raid5, 3), *other = tarray_new(&raid5, 4);
	struct blk_dev *devs[4];
	struct raid *r;

	tarray_stop(t);
	tarray_stop(other);
	for (unsigned i = 0; i < 4; i++)
		devs[i] = tdisk_open(i == 2 ? &other->disks[i] : &t->disks[i], i == 2 ? "foreign" : "own");
	ck_assert_int_eq(raid_assemble(devs, 4, &(struct raid_open_opts){ .alloc = t->alloc }, &r), -EINVAL);
	must(tlog_saw("foreign belongs to another array"));
	for (unsigned i = 0; i < 4; i++)
		blk_close(devs[i]);
	tarray_free(other);
	tarray_free(t);
}
END_TEST

START_TEST(a_device_without_superblock_is_refused_by_name)
{
	struct tarray *t = tarray_new(&raid5, 5);

	tarray_stop(t);
	memset(t->disks[1].mem, 0, t->disks[1].nr_sects << SECT_SHIFT);
	ck_assert_int_eq(tarray_assemble(t, NULL), -EINVAL);
	must(tlog_saw("disk1: no RAID superblock"));
	t->absent[1] = true;
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	tarray_free(t);
}
END_TEST

START_TEST(a_shortened_member_is_refused_with_numbers)
{
	struct tarray *t = tarray_new(&raid5, 6);
	uint64_t was = t->disks[2].nr_sects;

	tarray_stop(t);
	t->disks[2].nr_sects = 100;
	ck_assert_int_eq(tarray_assemble(t, NULL), -EINVAL);
	must(tlog_saw("disk2: too small: 100 sectors"));
	t->disks[2].nr_sects = was;
	tarray_free(t);
}
END_TEST

START_TEST(a_damaged_superblock_is_refused_with_both_checksums)
{
	struct tarray *t = tarray_new(&raid5, 7);

	tarray_stop(t);
	t->disks[2].mem[4096 + 0x50] ^= 1;
	ck_assert_int_eq(tarray_assemble(t, NULL), -EUCLEAN);
	must(tlog_saw("disk2: md superblock at sector 8: checksum is"));
	tarray_free(t);
}
END_TEST

START_TEST(too_few_members_are_refused_by_slot)
{
	struct tarray *t = tarray_new(&raid5, 8);

	tarray_stop(t);
	t->absent[1] = t->absent[3] = true;
	ck_assert_int_eq(tarray_assemble(t, NULL), -ENODEV);
	must(tlog_saw("without one: 1 3"));
	tarray_free(t);
}
END_TEST

START_TEST(a_degraded_array_is_refused_where_that_was_asked_for)
{
	struct tarray *t = tarray_new(&raid5, 9);

	tarray_stop(t);
	t->absent[0] = true;
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .no_degraded = true }), -EROFS);
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	tarray_free(t);
}
END_TEST

static void feature_reshape(struct md_disk_sb1 *sb) { sb->feature_map = le32_of(4); }
static void feature_journal(struct md_disk_sb1 *sb) { sb->feature_map = le32_of(512); }
static void feature_ppl(struct md_disk_sb1 *sb) { sb->feature_map = le32_of(1024); }
static void feature_bad_blocks(struct md_disk_sb1 *sb) { sb->feature_map = le32_of(8); }
static void feature_unknown(struct md_disk_sb1 *sb) { sb->feature_map = le32_of(1 << 20); }
static void level_multipath(struct md_disk_sb1 *sb) { sb->level = le32_of((uint32_t)-4); }

START_TEST(what_osfs_does_not_have_is_refused_by_name)
{
	static const struct {
		void (*edit)(struct md_disk_sb1 *);
		const char *says;
	} cases[] = {
		{ feature_reshape, "a reshape under way" }, { feature_journal, "a write journal" },
		{ feature_ppl, "a partial parity log" }, { feature_bad_blocks, "bad blocks" },
		{ feature_unknown, "unknown features 0x100000" }, { level_multipath, "level -4" },
	};
	struct tarray *t = tarray_new(&raid5, 10);

	tarray_stop(t);
	for (unsigned i = 0; i < t->nr_devs; i++)
		superblock_edit(t, i, cases[_i].edit);
	ck_assert_int_eq(tarray_assemble(t, NULL), -EOPNOTSUPP);
	must_msg(tlog_saw(cases[_i].says), "%s", cases[_i].says);
	tarray_free(t);
}
END_TEST

/* Superblocks are written one after the other: a crash in between is no reason to drop a member. */
START_TEST(a_member_one_event_behind_takes_part)
{
	struct tarray *t = tarray_new(&raid5, 11);
	struct raid_info info = tarray_info(t, 2);
	uint8_t old[4096];

	memcpy(old, t->disks[2].mem + (info.super_offset << SECT_SHIFT), sizeof(old));
	ck_assert_int_eq(tarray_write(t, 0, 64), 0);
	tarray_crash(t);
	memcpy(t->disks[2].mem + (info.super_offset << SECT_SHIFT), old, sizeof(old));
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	must(!raid_is_degraded(t->r));
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

START_TEST(a_member_that_was_away_is_left_out_and_told)
{
	struct tarray *t = tarray_new(&raid5, 12);

	tarray_write_random(t, 5);
	t->absent[1] = true;
	tarray_reassemble(t);
	tarray_write_random(t, 5);
	tarray_stop(t);
	t->absent[1] = false;
	tlog_quiet();
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	must(tlog_saw("disk1: left out: it is stale") || tlog_saw("disk1: left out: it was removed"));
	must(raid_is_degraded(t->r));
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

START_TEST(members_are_active_while_written_and_clean_after_idling_and_stopping)
{
	struct tarray *t = tarray_new(&raid5, 13);

	ck_assert_uint_eq(tarray_info(t, 0).resync_sect, UINT64_MAX);
	ck_assert_int_eq(tarray_write(t, 5, 3), 0);
	for (unsigned i = 0; i < t->nr_devs; i++)
		ck_assert_uint_eq(tarray_info(t, i).resync_sect, 0);
	ck_assert_int_eq(raid_idle(t->r), 0);	/* something was written since the last time */
	ck_assert_uint_eq(tarray_info(t, 0).resync_sect, 0);
	ck_assert_int_eq(raid_idle(t->r), 0);
	for (unsigned i = 0; i < t->nr_devs; i++)
		ck_assert_uint_eq(tarray_info(t, i).resync_sect, UINT64_MAX);
	ck_assert_int_eq(tarray_write(t, 5, 3), 0);
	ck_assert_uint_eq(tarray_info(t, 0).resync_sect, 0);
	tarray_stop(t);
	ck_assert_uint_eq(tarray_info(t, 0).resync_sect, UINT64_MAX);
	tarray_free(t);
}
END_TEST

static const struct tconf redundant[] = {
	{ .level = RAID_1, .nr_disks = 3, .rows = 60 },
	{ .level = RAID_10, .layout = "f2", .nr_disks = 3, .chunk_sects = 16, .rows = 12 },
	{ .level = RAID_4, .nr_disks = 3, .chunk_sects = 512, .rows = 3 },
	{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 11 },
	{ .level = RAID_6, .nr_disks = 5, .chunk_sects = 8, .rows = 11 },
	{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 11, .has_metadata = true,
	  .metadata = RAID_META_090 },
};

/* A crash in the middle of a write: what one member has of it, another has not. */
START_TEST(an_unclean_stop_is_followed_by_a_resync)
{
	struct tarray *t = tarray_new(&redundant[_i], 5000 + (uint64_t)_i);
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr;

	tarray_write_random(t, 20);
	for (sect_t sect = 3; sect < t->nr_sects; sect += 37) {
		struct tdisk *d;

		raid_map(&t->r->geom, sect, places, &nr);
		d = &t->disks[places[0].slot];
		d->mem[(t->r->slots[places[0].slot]->data_offset + places[0].sect) << SECT_SHIFT] ^= 0x55;
		t->flat[sect << SECT_SHIFT] ^= 0x55;
	}
	tarray_crash(t);
	tlog_quiet();
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	must(tlog_saw("not stopped cleanly") && tlog_saw("resynchronised"));
	/* Mirrors: any of the copies may have won, but all have to agree. */
	ck_assert_int_eq(blk_read(raid_dev(t->r), 0, t->flat, t->nr_sects << SECT_SHIFT), 0);
	tarray_check_disks(t);
	tarray_reassemble(t);
	ck_assert_uint_eq(tarray_info(t, 0).resync_sect, UINT64_MAX);
	tarray_free(t);
}
END_TEST

START_TEST(a_dirty_and_degraded_parity_array_needs_force)
{
	struct tarray *t = tarray_new(&raid5, 14);

	tarray_write_random(t, 5);
	tarray_crash(t);
	t->absent[2] = true;
	ck_assert_int_eq(tarray_assemble(t, NULL), -EUCLEAN);
	must(tlog_saw("not stopped cleanly and is degraded"));
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .read_only = true }), 0);
	tarray_compare(t);
	tarray_stop(t);
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .force = true }), 0);
	tarray_compare(t);
	tarray_write_random(t, 5);
	tarray_compare(t);
	tarray_check_disks(t);
	tarray_reassemble(t);
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

/* A superblock as md leaves it in the middle of a rebuild: good below the offset, anything above. */
static sect_t rebuilt_to;
static void rebuilding(struct md_disk_sb1 *sb)
{
	sb->feature_map = le32_of(MD_FEATURE_RECOVERY_OFFSET);
	sb->recovery_offset = le64_of(rebuilt_to);
}

START_TEST(a_half_rebuilt_member_is_read_below_its_offset_and_kept_up_to_date)
{
	struct tarray *t = tarray_new(&redundant[_i], 5100 + (uint64_t)_i);
	struct raid_info info = tarray_info(t, 1);

	tarray_write_random(t, 20);
	tarray_stop(t);
	rebuilt_to = t->conf.chunk_sects ? t->conf.chunk_sects * 2 : 20;
	superblock_edit(t, 1, rebuilding);
	memset(t->disks[1].mem + ((info.data_offset + rebuilt_to) << SECT_SHIFT), 0xee,
	       (t->disks[1].nr_sects - info.data_offset - rebuilt_to) << SECT_SHIFT);
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	tarray_compare(t);
	tarray_write_random(t, 20);
	tarray_compare(t);
	tarray_reassemble(t);
	ck_assert_uint_eq(tarray_info(t, 1).recovery_sect, rebuilt_to);
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

START_TEST(status_and_text_name_every_member)
{
	struct tarray *t = tarray_new(&raid5, 15);
	struct raid_status st;
	char text[2048] = "";
	FILE *out;

	t->absent[3] = true;
	tarray_reassemble(t);
	raid_status_get(t->r, &st);
	ck_assert_uint_eq(st.nr_active, 3);
	ck_assert_uint_eq(st.nr_spares, 1);
	ck_assert_uint_eq(st.nr_members, 5);
	must(st.degraded && !st.failed && !st.dirty);
	ck_assert_uint_eq(st.array_sects, t->nr_sects);
	out = fmemopen(text, sizeof(text), "w");
	raid_to_text(t->r, out);
	fclose(out);
	must(strstr(text, "raid5, 4 disks, chunk 8 KiB, layout left-symmetric"));
	must(strstr(text, "slot 3: -, missing") && strstr(text, "no slot: disk4, spare"));
	tarray_free(t);
}
END_TEST

START_TEST(what_cannot_be_created_is_refused_with_numbers)
{
	struct tdisk disks[2];
	struct blk_dev *devs[4] = { NULL };
	struct raid_params p = { .level = RAID_5, .layout = 2, .nr_disks = 2, .metadata = RAID_META_12 };

	tlog_quiet();
	tdisk_init(&disks[0], 4096);
	tdisk_init(&disks[1], 100);
	devs[0] = tdisk_open(&disks[0], "large");
	devs[1] = tdisk_open(&disks[1], "tiny");
	ck_assert_int_eq(raid_create(&p, devs, NULL, 0, true), -ENOSPC);
	must(tlog_saw("tiny: 100 sectors are too few"));
	p.nr_disks = 1;
	ck_assert_int_eq(raid_create(&p, devs, NULL, 0, true), -EINVAL);
	p.nr_disks = 4;
	blk_close(devs[1]);
	devs[1] = NULL;
	ck_assert_int_eq(raid_create(&p, devs, NULL, 0, true), -EINVAL);
	must(tlog_saw("cannot do without that many members"));
	p.level = RAID_0;
	ck_assert_int_eq(raid_create(&p, devs, NULL, 0, true), -EINVAL);
	must(tlog_saw("raid0 cannot do without a member"));
	blk_close(devs[0]);
	tdisk_fini(&disks[0]);
	tdisk_fini(&disks[1]);
}
END_TEST

Suite *raid_assemble_suite(void)
{
	Suite *s = suite_create("raid_assemble");
	TCase *tc = tcase_create("assemble");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, reading_does_not_change_a_byte);
	tcase_add_test(tc, a_member_given_twice_is_refused_by_name);
	tcase_add_test(tc, a_member_of_another_array_is_refused_by_name);
	tcase_add_test(tc, a_device_without_superblock_is_refused_by_name);
	tcase_add_test(tc, a_shortened_member_is_refused_with_numbers);
	tcase_add_test(tc, a_damaged_superblock_is_refused_with_both_checksums);
	tcase_add_test(tc, too_few_members_are_refused_by_slot);
	tcase_add_test(tc, a_degraded_array_is_refused_where_that_was_asked_for);
	tcase_add_loop_test(tc, what_osfs_does_not_have_is_refused_by_name, 0, 6);
	tcase_add_test(tc, a_member_one_event_behind_takes_part);
	tcase_add_test(tc, a_member_that_was_away_is_left_out_and_told);
	tcase_add_test(tc, members_are_active_while_written_and_clean_after_idling_and_stopping);
	tcase_add_loop_test(tc, an_unclean_stop_is_followed_by_a_resync, 0, ARRAY_LEN(redundant));
	tcase_add_test(tc, a_dirty_and_degraded_parity_array_needs_force);
	tcase_add_loop_test(tc, a_half_rebuilt_member_is_read_below_its_offset_and_kept_up_to_date, 0,
			    ARRAY_LEN(redundant) - 1);
	tcase_add_test(tc, status_and_text_name_every_member);
	tcase_add_test(tc, what_cannot_be_created_is_refused_with_numbers);
	suite_add_tcase(s, tc);
	return s;
}
