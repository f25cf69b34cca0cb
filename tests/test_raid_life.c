/* test_raid_life.c: members that fail, come, are filled, replaced and scrubbed while the array runs. */
#include "test_raid.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raid/raid_int.h"

static const struct tconf confs[] = {
	{ .level = RAID_1, .nr_disks = 2, .rows = 60 },
	{ .level = RAID_1, .nr_disks = 3, .rows = 60, .bitmap_bytes = 4096 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 3, .chunk_sects = 8, .rows = 11 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 4, .chunk_sects = 16, .rows = 11, .bitmap_bytes = 4096 },
	{ .level = RAID_10, .layout = "f2", .nr_disks = 5, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_10, .layout = "o2", .nr_disks = 4, .chunk_sects = 16, .rows = 12, .bitmap_bytes = 8192 },
	{ .level = RAID_4, .nr_disks = 4, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_5, .nr_disks = 3, .chunk_sects = 8, .rows = 20, .bitmap_bytes = 4096 },
	{ .level = RAID_5, .layout = "ra", .nr_disks = 5, .chunk_sects = 128, .rows = 6 },
	{ .level = RAID_6, .nr_disks = 4, .chunk_sects = 16, .rows = 11, .bitmap_bytes = 4096 },
	{ .level = RAID_6, .nr_disks = 6, .chunk_sects = 8, .rows = 20 },
};
enum { NR_CONFS = ARRAY_LEN(confs) };

static void let_fail(struct tarray *t, unsigned disk)
{
	ck_assert_int_eq(raid_member_fail(t->r, tarray_nr_of(t, disk)), 0);
}

/* Steps with writes between them. */
static void fill_while_writing(struct tarray *t)
{
	while (raid_step(t->r, 1 + rng_below(&t->rng, 40)) == 1)
		tarray_write_random(t, 1);
}

static void must_be_whole(struct tarray *t)
{
	must_msg(!raid_is_degraded(t->r), "%s seed %ju: degraded", tconf_text(&t->conf), (uintmax_t)t->seed);
	tarray_compare(t);
	tarray_check_disks(t);
}

START_TEST(a_spare_is_filled_while_the_array_is_written)
{
	struct tarray *t = tarray_new(&confs[_i], 7000 + (uint64_t)_i);
	unsigned victim = (unsigned)rng_below(&t->rng, t->conf.nr_disks), spare;

	tarray_write_random(t, 20);
	let_fail(t, victim);
	ck_assert_int_eq(tarray_state_of(t, victim), RAID_FAULTY);
	tarray_write_random(t, 5);
	spare = tarray_disk_add(t);
	ck_assert_int_eq(tarray_join(t, spare, RAID_ADD_AUTO), 0);
	fill_while_writing(t);
	must_be_whole(t);
	ck_assert_int_eq(tarray_disk_of(t, victim), (int)spare);
	tarray_remove(t, victim);
	tarray_reassemble(t);
	must_be_whole(t);
	/* And it stands in for a further loss. */
	let_fail(t, victim ? 0 : 1);
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

START_TEST(a_rebuild_goes_on_where_it_was)
{
	struct tarray *t = tarray_new(&confs[_i], 7100 + (uint64_t)_i);
	unsigned victim = (unsigned)rng_below(&t->rng, t->conf.nr_disks), spare;
	bool crash = t->seed % 2;
	uint64_t was;

	tarray_write_random(t, 20);
	let_fail(t, victim);
	tarray_remove(t, victim);
	spare = tarray_disk_add(t);
	ck_assert_int_eq(tarray_join(t, spare, RAID_ADD_AUTO), 0);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(raid_step(t->r, 16), 1);
	tarray_write_random(t, 3);
	if (crash) {
		raid_idle(t->r);	/* something was written, ... */
		ck_assert_int_eq(raid_idle(t->r), 0);	/* ... is clean now */
		tarray_crash(t);
		ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	} else {
		tarray_reassemble(t);
	}
	was = tarray_info(t, spare).recovery_sect;
	must_msg(was > 0 && was < UINT64_MAX, "recovered %" PRIu64, was);
	tarray_compare(t);
	tarray_write_random(t, 3);
	ck_assert_int_eq(raid_step(t->r, 8), 1);
	must(atomic_load(&t->r->sync.pos) > was || atomic_load(&t->r->sync.action) == RAID_IDLE);
	fill_while_writing(t);
	must_be_whole(t);
	tarray_free(t);
}
END_TEST

START_TEST(a_member_is_replaced_while_it_serves)
{
	struct tarray *t = tarray_new(&confs[_i], 7200 + (uint64_t)_i);
	unsigned victim = (unsigned)rng_below(&t->rng, t->conf.nr_disks), spare = tarray_disk_add(t);

	tarray_write_random(t, 20);
	ck_assert_int_eq(raid_member_replace(t->r, tarray_nr_of(t, victim), -1), -ENOENT);
	ck_assert_int_eq(tarray_join(t, spare, RAID_ADD_AUTO), 0);
	ck_assert_int_eq(raid_member_replace(t->r, tarray_nr_of(t, victim), tarray_nr_of(t, spare)), 0);
	must(!raid_is_degraded(t->r));
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(raid_step(t->r, 8), 1);
		tarray_write_random(t, 1);
	}
	ck_assert_uint_ne(tarray_info(t, spare).feature_map & MD_FEATURE_REPLACEMENT, 0);
	ck_assert_int_eq(tarray_info(t, spare).role, (int)victim);
	/* Through an unmount, */
	if (_i % 2)
		tarray_reassemble(t);
	/* and, in one case, the death of the one that is copied. */
	if (_i % 3 == 0)
		t->disks[victim].fail_writes = true;
	fill_while_writing(t);
	t->disks[victim].fail_writes = false;
	must_be_whole(t);
	ck_assert_int_eq(tarray_disk_of(t, victim), (int)spare);
	ck_assert_int_eq(tarray_state_of(t, victim), RAID_FAULTY);
	ck_assert_uint_eq(tarray_info(t, spare).feature_map & MD_FEATURE_REPLACEMENT, 0);
	tarray_remove(t, victim);
	tarray_reassemble(t);
	must_be_whole(t);
	tarray_free(t);
}
END_TEST

START_TEST(a_member_that_comes_back_gets_only_what_it_missed)
{
	struct tarray *t = tarray_new(&confs[_i], 7300 + (uint64_t)_i);
	unsigned victim = (unsigned)rng_below(&t->rng, t->conf.nr_disks);
	struct raid_status st;

	tarray_write_random(t, 20);
	ck_assert_int_eq(raid_idle(t->r), 0);
	ck_assert_int_eq(raid_idle(t->r), 0);	/* clean: all bits are cleared */
	let_fail(t, victim);
	ck_assert_int_eq(tarray_write(t, 40, 3), 0);
	tarray_remove(t, victim);
	if (!t->conf.bitmap_bytes) {
		ck_assert_int_eq(tarray_join(t, victim, RAID_ADD_READD), -EINVAL);
		must(tlog_saw("there is no bitmap"));
		ck_assert_int_eq(tarray_join(t, victim, RAID_ADD_AUTO), 0);
		fill_while_writing(t);
		must_be_whole(t);
		tarray_free(t);
		return;
	}
	raid_status_get(t->r, &st);
	must(st.has_bitmap && st.bitmap_dirty > 0 && st.bitmap_dirty < st.bitmap_bits / 2);
	ck_assert_int_eq(tarray_join(t, victim, RAID_ADD_READD), 0);
	t->disks[victim].nr_data_sects = 0;
	t->disks[victim].data_offset = tarray_info(t, victim).data_offset;
	ck_assert_int_eq(tarray_finish(t), 0);
	must_msg(t->disks[victim].nr_data_sects <= st.bitmap_dirty * t->conf.bitmap_bytes / SECT_BYTES,
		 "%" PRIu64 " sectors for %" PRIu64 " dirty regions", t->disks[victim].nr_data_sects, st.bitmap_dirty);
	must_be_whole(t);
	ck_assert_int_eq(raid_idle(t->r), 0);
	ck_assert_int_eq(raid_idle(t->r), 0);
	raid_status_get(t->r, &st);
	ck_assert_uint_eq(st.bitmap_dirty, 0);
	tarray_free(t);
}
END_TEST

/* Returns how many sectors were spoilt. */
static unsigned spoil(struct tarray *t, unsigned disk, unsigned nr)
{
	struct raid_info info = tarray_info(t, disk);

	for (unsigned i = 0; i < nr; i++)
		t->disks[disk].mem[(info.data_offset + i * 9) * SECT_BYTES + rng_below(&t->rng, SECT_BYTES)] ^= 0x5a;
	return nr;
}

START_TEST(a_check_counts_lists_and_writes_nothing)
{
	struct tarray *t = tarray_new(&confs[_i], 7400 + (uint64_t)_i);
	unsigned victim = (unsigned)rng_below(&t->rng, t->conf.nr_disks), before = 0, after = 0;
	struct raid_place_found places[RAID_MAX_PLACES];
	struct raid_status st;
	bool can_tell = t->conf.level == RAID_6 || (t->conf.level == RAID_1 && t->conf.nr_disks > 2);
	uint64_t nr = 0;

	tarray_write_random(t, 20);
	ck_assert_int_eq(raid_action_set(t->r, RAID_CHECK, 0), 0);
	ck_assert_int_eq(tarray_finish(t), 0);
	raid_status_get(t->r, &st);
	ck_assert_uint_eq(st.mismatch_sects, 0);
	ck_assert_uint_eq(raid_places_get(t->r, places, RAID_MAX_PLACES), 0);
	ck_assert_int_eq(st.last_scrub, RAID_CHECK);

	spoil(t, victim, 3);
	for (unsigned i = 0; i < t->nr_devs; i++)
		before += t->disks[i].nr_writes;
	ck_assert_int_eq(raid_action_set(t->r, RAID_CHECK, 0), 0);
	ck_assert_int_eq(tarray_finish(t), 0);
	for (unsigned i = 0; i < t->nr_devs; i++)
		after += t->disks[i].nr_writes;
	ck_assert_uint_eq(after, before);
	raid_status_get(t->r, &st);
	ck_assert_uint_eq(st.mismatch_sects, 24);	/* 3 × 4 KiB */
	ck_assert_uint_eq(st.repaired_sects, 0);
	ck_assert_uint_gt(st.nr_places, 0);
	raid_places_get(t->r, places, RAID_MAX_PLACES);
	for (unsigned i = 0; i < st.nr_places; i++) {
		nr += places[i].nr_sects;
		ck_assert_int_eq(places[i].slot, can_tell ? (int)victim : -1);
		must(!places[i].repaired);
	}
	ck_assert_uint_ge(nr, 3);

	/* A repair puts right what it can tell, and the rest only when told to. */
	ck_assert_int_eq(raid_action_set(t->r, RAID_REPAIR, 0), 0);
	ck_assert_int_eq(tarray_finish(t), 0);
	raid_status_get(t->r, &st);
	ck_assert_uint_eq(st.repaired_sects, can_tell ? 3 : 0);
	if (can_tell) {
		must_be_whole(t);
	} else {
		ck_assert_int_eq(raid_action_set(t->r, RAID_REPAIR, RAID_SCRUB_REWRITE), 0);
		ck_assert_int_eq(tarray_finish(t), 0);
		raid_status_get(t->r, &st);
		ck_assert_uint_eq(st.repaired_sects, 3);
		ck_assert_int_eq(blk_read(raid_dev(t->r), 0, t->flat, t->nr_sects << SECT_SHIFT), 0);
		tarray_check_disks(t);
	}
	tarray_free(t);
}
END_TEST

START_TEST(halves_that_were_both_written_are_refused)
{
	struct tarray *t = tarray_new(&confs[_i], 7500 + (uint64_t)_i);

	/* Mirrors of two. */
	tarray_write_random(t, 5);
	tarray_stop(t);
	t->absent[1] = true;
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	ck_assert_int_eq(tarray_write(t, 0, 1), 0);
	ck_assert_int_eq(tarray_write(t, 5, 1), 0);
	tarray_stop(t);
	t->absent[0] = true;
	t->absent[1] = false;
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	ck_assert_int_eq(tarray_write(t, 0, 1), 0);
	tarray_stop(t);
	t->absent[0] = false;
	ck_assert_int_eq(tarray_assemble(t, NULL), -EINVAL);
	must(tlog_saw("were both written to since they parted"));
	t->absent[1] = true;
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	ck_assert_int_eq(tarray_join(t, 1, RAID_ADD_AUTO), -EINVAL);
	ck_assert_int_eq(tarray_join(t, 1, RAID_ADD_SPARE), 0);
	/* The test's copy has the other half's write. */
	ck_assert_int_eq(blk_read(raid_dev(t->r), 0, t->flat, t->nr_sects << SECT_SHIFT), 0);
	fill_while_writing(t);
	must_be_whole(t);
	tarray_free(t);
}
END_TEST

START_TEST(what_does_not_fit_is_refused_with_numbers)
{
	struct tarray *t = tarray_new(&(struct tconf){ .level = RAID_5, .nr_disks = 3, .chunk_sects = 16, .rows = 20 }, 1);
	struct tarray *other = tarray_new(&confs[0], 2);
	unsigned extra = tarray_disk_add(t);
	struct blk_dev *d;
	int dev_nr;

	t->disks[extra].nr_sects -= 400;
	ck_assert_int_eq(tarray_join(t, extra, RAID_ADD_AUTO), -ENOSPC);
	must(tlog_saw("needs 5"));
	t->disks[extra].nr_sects += 400;
	d = tdisk_open(&t->disks[1], "again");
	ck_assert_int_eq(raid_member_add(t->r, d, RAID_ADD_AUTO, &dev_nr), -EEXIST);
	must(tlog_saw("again: is device 1 of array test, which has it already: disk1, in sync, slot 1"));
	ck_assert_int_eq(raid_member_add(t->r, d, RAID_ADD_SPARE, &dev_nr), -EEXIST);
	blk_close(d);
	tarray_stop(other);
	d = tdisk_open(&other->disks[0], "foreign");
	ck_assert_int_eq(raid_member_add(t->r, d, RAID_ADD_AUTO, &dev_nr), -EEXIST);
	must(tlog_saw("foreign: belongs to another array"));
	blk_close(d);
	ck_assert_int_eq(raid_member_remove(t->r, 1, &d), -EBUSY);
	ck_assert_int_eq(raid_member_fail(t->r, 7), -ENOENT);
	ck_assert_int_eq(raid_member_fail(t->r, 1), 0);
	ck_assert_int_eq(raid_member_fail(t->r, 0), -EBUSY);
	must(tlog_saw("cannot do without slot 0"));
	tarray_free(other);
	tarray_free(t);
}
END_TEST

START_TEST(a_member_with_too_many_read_errors_is_set_faulty)
{
	/* Disk 0 has data only. */
	struct tarray *t = tarray_new(&(struct tconf){ .level = RAID_4, .nr_disks = 3, .chunk_sects = 16, .rows = 20 }, 1);
	struct raid_status st;

	tarray_stop(t);
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .max_read_errors = 3 }), 0);
	for (unsigned i = 0; i < 5; i++) {
		raid_status_get(t->r, &st);
		must(st.degraded == (i > 3));
		t->disks[0].bad_sect = tarray_info(t, 0).data_offset + i * 8;
		t->disks[0].bad_end = t->disks[0].bad_sect + 1;
		for (unsigned k = 0; k < 5 && t->disks[0].bad_end > t->disks[0].bad_sect; k++)
			tarray_compare(t);
		t->disks[0].bad_end = t->disks[0].bad_sect;
	}
	must(tlog_saw("4 read errors within about an hour are too many"));
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

/* Arrays on image files, and what can be done to those. */
static struct raid *files_assemble(struct alloc *a, char paths[4][64], const struct raid_open_opts *opts)
{
	struct raid_params p = { .level = RAID_5, .layout = 2, .nr_disks = 4, .chunk_sects = 16, .metadata = RAID_META_12 };
	struct raid_open_opts o = *opts;
	struct blk_dev *devs[4];
	struct raid *r;

	o.alloc = a;
	for (unsigned i = 0; i < 4; i++) {
		int fd;

		snprintf(paths[i], 64, "/tmp/test_raid.XXXXXX");
		fd = mkstemp(paths[i]);
		must(fd >= 0 && !ftruncate(fd, 4 << 20) && !close(fd));
		must(blk_open(paths[i], NULL, &devs[i]) == 0);
	}
	must(raid_create(&p, devs, NULL, 0, true) == 0);
	must(raid_assemble(devs, 4, &o, &r) == 0);
	return r;
}

static void overwrite(const char *path)
{
	FILE *f = fopen(path, "r+");

	must(f);
	for (unsigned i = 0; i < 4 << 20; i++)
		putc(0xaa, f);
	fclose(f);
}

START_TEST(what_is_done_to_an_image_fails_its_member)
{
	static const char *const says[] = { "has been truncated", "has been deleted", "made unreadable", "written over" };
	struct alloc *a;
	struct raid *r;
	struct raid_status st;
	char paths[4][64];
	static char buf[64 << 10], back[64 << 10];

	tlog_quiet();
	must(alloc_new(&(struct alloc_opts){ .poison = true }, &a) == 0);
	r = files_assemble(a, paths, &(struct raid_open_opts){ .quiet = true });
	memset(buf, 0x33, sizeof(buf));
	for (sect_t at = 0; at < 4096; at += sizeof(buf) >> SECT_SHIFT)
		must(blk_write(raid_dev(r), at, buf, sizeof(buf)) == 0);
	switch (_i) {
	case 0:
		must(truncate(paths[2], 1 << 20) == 0);
		break;
	case 1:
		must(unlink(paths[2]) == 0);
		break;
	case 2:
		must(chmod(paths[2], 0) == 0);
		break;
	default:
		overwrite(paths[2]);
		break;
	}
	/* A truncated one must not even begin to grow again. */
	if (_i)
		ck_assert_int_eq(raid_idle(r), 0);
	memset(buf, 0x44, sizeof(buf));
	must(blk_write(raid_dev(r), 4000, buf, 8 * SECT_BYTES) == 0);
	raid_status_get(r, &st);
	must(st.degraded && !st.failed);
	must_msg(tlog_saw(says[_i]), "%s", says[_i]);
	memset(buf, 0x33, sizeof(buf));
	for (sect_t at = 0; at + 128 < 4000; at += sizeof(buf) >> SECT_SHIFT) {
		must(blk_read(raid_dev(r), at, back, sizeof(back)) == 0);
		must(!memcmp(buf, back, sizeof(buf)));
	}
	ck_assert_int_eq(raid_free(r), 0);
	ck_assert_uint_eq(alloc_free(a), 0);
	for (unsigned i = 0; i < 4; i++)
		unlink(paths[i]);
}
END_TEST

/* A disk that takes its time is found out, and dropped when that goes on. */
START_TEST(a_member_slower_than_the_limit_is_set_faulty)
{
	struct tarray *t = tarray_new(&(struct tconf){ .level = RAID_5, .nr_disks = 3, .chunk_sects = 16, .rows = 20 }, 1);
	struct raid_status st;

	tarray_stop(t);
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .slow_msec = 5, .max_slow = 3 }), 0);
	t->disks[1].delay_msec = 8;
	for (unsigned i = 0; i < 4; i++) {
		raid_status_get(t->r, &st);
		must(!st.degraded);
		ck_assert_int_eq(tarray_write(t, 0, 64), 0);
		ck_assert_int_eq(raid_idle(t->r), 0);
	}
	raid_status_get(t->r, &st);
	must(st.degraded);
	ck_assert_int_eq(tarray_state_of(t, 1), RAID_FAULTY);
	must(tlog_saw("slower than 5 ms, 4 times"));
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

/* What the callback was told, as text. */
struct told {
	struct tarray *t;
	char text[1024];
};

static void tell(void *arg, const struct raid_event *ev)
{
	struct told *told = arg;
	struct raid_status *st = malloc(sizeof(*st));

	/* No lock is held: the array may be asked. */
	if (told->t->r)
		raid_status_get(told->t->r, st);
	free(st);
	strcat(told->text, ev->name);
	if (ev->member)
		strcat(strcat(told->text, " "), ev->member);
	strcat(told->text, "\n");
}

START_TEST(events_are_told_in_order_and_by_mds_names)
{
	struct tarray *t = tarray_new(&(struct tconf){
		.level = RAID_5, .nr_disks = 3, .chunk_sects = 16, .rows = 20, .nr_spares = 1 }, 1);
	struct told told = { .t = t };

	tarray_stop(t);
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .on_event = tell, .event_arg = &told }), 0);
	t->disks[1].fail_writes = true;
	tarray_write_random(t, 3);
	ck_assert_str_eq(told.text, "");
	while (raid_step(t->r, 32) == 1)
		;
	ck_assert_str_eq(told.text, "Fail disk1\nRebuildStarted\nRebuild20\nRebuild40\nRebuild60\nRebuild80\n"
				    "SpareActive disk3\nRebuildFinished\n");
	told.text[0] = '\0';
	let_fail(t, 0);
	tarray_stop(t);
	told.text[0] = '\0';
	t->absent[1] = t->absent[0] = true;
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .on_event = tell, .event_arg = &told }), 0);
	ck_assert_str_eq(told.text, "DegradedArray\n");
	tarray_free(t);
}
END_TEST

/* Threads write and read while members fail and the array's thread fills spares. */
struct user {
	struct tarray *t;
	unsigned nr;
	struct rng rng;
	atomic_bool *stop;
};

static void *use(void *arg)
{
	struct user *u = arg;
	uint8_t buf[SECT_BYTES * 3], *flat = u->t->flat;

	while (!atomic_load(u->stop)) {
		sect_t sect = rng_below(&u->rng, u->t->nr_sects / 16) * 16 + u->nr * 4;
		uint32_t nr = 1 + (uint32_t)rng_below(&u->rng, 3);

		if (sect + nr > u->t->nr_sects)
			continue;
		if (rng_below(&u->rng, 2)) {
			rng_fill(&u->rng, buf, nr * SECT_BYTES);
			memcpy(flat + sect * SECT_BYTES, buf, nr * SECT_BYTES);
			if (blk_write(raid_dev(u->t->r), sect, buf, nr * SECT_BYTES))
				abort();
		} else {
			if (blk_read(raid_dev(u->t->r), sect, buf, nr * SECT_BYTES) ||
			    memcmp(buf, flat + sect * SECT_BYTES, nr * SECT_BYTES))
				abort();
		}
	}
	return NULL;
}

START_TEST(members_change_under_threads_that_use_the_array)
{
	static const struct tconf threaded[] = {
		{ .level = RAID_1, .nr_disks = 3, .rows = 100, .nr_spares = 1, .bitmap_bytes = 4096 },
		{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 40, .nr_spares = 1, .bitmap_bytes = 4096 },
		{ .level = RAID_6, .nr_disks = 5, .chunk_sects = 8, .rows = 40, .nr_spares = 1 },
		{ .level = RAID_10, .nr_disks = 4, .chunk_sects = 8, .rows = 40, .nr_spares = 1 },
	};
	struct tarray *t = tarray_new(&threaded[_i], 9);
	atomic_bool stop = false;
	struct user users[3];
	pthread_t threads[3];

	tarray_stop(t);
	t->opts = (struct raid_open_opts){ .work = RAID_WORK_THREAD, .speed_min_kib = 1 << 20 };
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		users[i] = (struct user){ .t = t, .nr = i, .rng = { 100 + i }, .stop = &stop };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, use, &users[i]), 0);
	}
	for (unsigned round = 0; round < 6; round++) {
		int victim = tarray_disk_of(t, round % t->conf.nr_disks);

		if (round % 3 == 2) {
			ck_assert_int_eq(raid_member_replace(t->r, tarray_nr_of(t, (unsigned)victim), -1), 0);
		} else {
			let_fail(t, (unsigned)victim);
		}
		ck_assert_int_eq(raid_wait(t->r, 60000), 0);
		tarray_remove(t, (unsigned)victim);
		ck_assert_int_eq(tarray_join(t, (unsigned)victim, RAID_ADD_SPARE), 0);
		ck_assert_int_eq(raid_idle(t->r), 0);
	}
	ck_assert_int_eq(raid_action_set(t->r, RAID_CHECK, 0), 0);
	ck_assert_int_eq(raid_wait(t->r, 60000), 0);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(t->r->sync.nr_mismatch, 0);
	must_be_whole(t);
	tarray_free(t);
}
END_TEST

Suite *raid_life_suite(void)
{
	Suite *s = suite_create("raid_life");
	TCase *tc = tcase_create("life");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_spare_is_filled_while_the_array_is_written, 0, NR_CONFS);
	tcase_add_loop_test(tc, a_rebuild_goes_on_where_it_was, 0, NR_CONFS);
	tcase_add_loop_test(tc, a_member_is_replaced_while_it_serves, 0, NR_CONFS);
	tcase_add_loop_test(tc, a_member_that_comes_back_gets_only_what_it_missed, 0, NR_CONFS);
	tcase_add_loop_test(tc, a_check_counts_lists_and_writes_nothing, 0, NR_CONFS);
	tcase_add_loop_test(tc, halves_that_were_both_written_are_refused, 0, 1);
	tcase_add_test(tc, what_does_not_fit_is_refused_with_numbers);
	tcase_add_test(tc, a_member_with_too_many_read_errors_is_set_faulty);
	tcase_add_loop_test(tc, what_is_done_to_an_image_fails_its_member, 0, 4);
	tcase_add_test(tc, a_member_slower_than_the_limit_is_set_faulty);
	tcase_add_test(tc, events_are_told_in_order_and_by_mds_names);
	suite_add_tcase(s, tc);
	tc = tcase_create("life_threads");
	tcase_set_tags(tc, "threads");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, members_change_under_threads_that_use_the_array, 0, 4);
	suite_add_tcase(s, tc);
	return s;
}
