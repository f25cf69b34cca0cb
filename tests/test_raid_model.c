/*
 * test_raid_model.c: arrays of every level against a flat copy of what they should hold,
 * single-threaded and by seed: reads, writes, zeroes, flushes, failures within tolerance,
 * bad sectors, members that go and come, spares, replacements, rebuild steps, scrubs,
 * clean stops and crashes, in any order. A failure prints configuration, seed and step;
 * OSFS_TEST_SEED runs that seed, OSFS_TEST_STEPS that many steps.
 */
#include "test_raid.h"

#include <stdio.h>
#include <stdlib.h>

#include "raid/raid_int.h"

static const struct tconf confs[] = {
	{ .level = RAID_LINEAR, .nr_disks = 3, .rows = 9, .uneven = true },
	{ .level = RAID_0, .nr_disks = 3, .chunk_sects = 8, .rows = 9, .uneven = true },
	{ .level = RAID_1, .nr_disks = 2, .rows = 30, .bitmap_bytes = 4096 },
	{ .level = RAID_1, .nr_disks = 4, .rows = 30 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 4, .chunk_sects = 8, .rows = 12, .bitmap_bytes = 8192 },
	{ .level = RAID_10, .layout = "n3", .nr_disks = 5, .chunk_sects = 16, .rows = 7 },
	{ .level = RAID_10, .layout = "f2", .nr_disks = 3, .chunk_sects = 8, .rows = 12, .bitmap_bytes = 4096 },
	{ .level = RAID_10, .layout = "o2", .nr_disks = 4, .chunk_sects = 8, .rows = 12, .bitmap_bytes = 4096 },
	{ .level = RAID_4, .nr_disks = 4, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 3, .chunk_sects = 16, .rows = 12, .bitmap_bytes = 4096 },
	{ .level = RAID_5, .layout = "ra", .nr_disks = 5, .chunk_sects = 8, .rows = 16 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 4, .chunk_sects = 8, .rows = 12, .has_metadata = true,
	  .metadata = RAID_META_10, .bitmap_bytes = 4096 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 4, .chunk_sects = 8, .rows = 12, .has_metadata = true,
	  .metadata = RAID_META_090 },
	{ .level = RAID_6, .layout = "ls", .nr_disks = 4, .chunk_sects = 8, .rows = 12, .bitmap_bytes = 4096 },
	{ .level = RAID_6, .layout = "rs", .nr_disks = 6, .chunk_sects = 16, .rows = 9 },
	{ .level = RAID_6, .layout = "left-symmetric-6", .nr_disks = 5, .chunk_sects = 8, .rows = 12,
	  .bitmap_bytes = 16384 },
};
enum { NR_CONFS = ARRAY_LEN(confs), NR_EXTRA = 2 };

struct model {
	struct tarray *t;
	unsigned step;
	const char *what;
	bool was_faulty[TDISKS_MAX];
};

#define model_must(m, cond)								\
	must_msg(cond, "%s seed %ju step %u (%s): %s", tconf_text(&(m)->t->conf),		\
		 (uintmax_t)(m)->t->seed, (m)->step, (m)->what, #cond)

static unsigned below(struct model *m, unsigned n)
{
	return (unsigned)rng_below(&m->t->rng, n);
}

static bool is_redundant(const struct model *m)
{
	return m->t->r->level->redundant;
}

/* A disk that the array can lose now; -1: none. */
static int expendable(struct model *m)
{
	unsigned n = m->t->conf.nr_disks, first = below(m, n);

	for (unsigned i = 0; i < n && is_redundant(m); i++) {
		unsigned slot = (first + i) % n;
		int disk = tarray_disk_of(m->t, slot);

		if (disk >= 0 && tarray_state_of(m->t, (unsigned)disk) == RAID_IN_SYNC && raid_can_lose(m->t->r, slot))
			return disk;
	}
	return -1;
}

/* A disk in a state; -1: none. */
static int any_in(struct model *m, enum raid_member_state state)
{
	unsigned n = m->t->nr_devs, first = below(m, n);

	for (unsigned i = 0; i < n; i++)
		if (tarray_state_of(m->t, (first + i) % n) == state)
			return (int)((first + i) % n);
	return -1;
}

/* ---- what is done ------------------------------------------------------------------------ */

static void do_write(struct model *m)
{
	tarray_write_random(m->t, 1);
}

static void do_read(struct model *m)
{
	struct tarray *t = m->t;
	sect_t sect = rng_below(&t->rng, t->nr_sects);
	uint32_t nr = 1 + (uint32_t)rng_below(&t->rng, MIN(t->nr_sects - sect, UINT64_C(64)));
	uint8_t buf[64 * SECT_BYTES];

	model_must(m, blk_read(raid_dev(t->r), sect, buf, nr * SECT_BYTES) == 0);
	model_must(m, !memcmp(buf, t->flat + sect * SECT_BYTES, nr * SECT_BYTES));
}

static void do_zero(struct model *m)
{
	struct tarray *t = m->t;
	sect_t sect = rng_below(&t->rng, t->nr_sects);
	uint64_t nr = 1 + rng_below(&t->rng, MIN(t->nr_sects - sect, UINT64_C(200)));

	model_must(m, blk_zero(raid_dev(t->r), sect, nr) == 0);
	memset(t->flat + sect * SECT_BYTES, 0, nr * SECT_BYTES);
}

static void do_flush(struct model *m)
{
	model_must(m, blk_flush(raid_dev(m->t->r)) == 0);
}

static void do_idle(struct model *m)
{
	model_must(m, raid_idle(m->t->r) == 0);
}

static void do_step(struct model *m)
{
	model_must(m, raid_step(m->t->r, rng_below(&m->t->rng, 4) ? 1 + rng_below(&m->t->rng, 40) : 0) >= 0);
}

static void do_fail(struct model *m)
{
	int disk = expendable(m);

	if (disk < 0)
		return;
	model_must(m, raid_member_fail(m->t->r, tarray_nr_of(m->t, (unsigned)disk)) == 0);
	model_must(m, tarray_state_of(m->t, (unsigned)disk) == RAID_FAULTY);
}

/* Writes to a disk begin to fail, in service, as a spare or while it is filled. */
static void do_break(struct model *m)
{
	int disk = below(m, 2) ? expendable(m) : any_in(m, RAID_REBUILDING);

	if (disk < 0)
		return;
	m->t->disks[disk].fail_writes = true;
	do_write(m);
	do_flush(m);
	model_must(m, tarray_state_of(m->t, (unsigned)disk) == RAID_FAULTY);
	m->t->disks[disk].fail_writes = false;
}

/* Some sectors of a disk cannot be read for the time of an operation. */
static void do_with_bad_sectors(struct model *m)
{
	int disk = expendable(m);
	struct tdisk *d;

	if (disk < 0)
		return;
	d = &m->t->disks[disk];
	d->bad_sect = 100 + rng_below(&m->t->rng, d->nr_sects - 100);
	d->bad_end = d->bad_sect + 1 + rng_below(&m->t->rng, 12);
	d->bad_end = MIN(d->bad_end, d->nr_sects);
	switch (below(m, 4)) {
	case 0:
		do_write(m);
		break;
	case 1:
		do_step(m);
		break;
	default:
		do_read(m);
		break;
	}
	d->bad_end = d->bad_sect;
}

static void do_remove(struct model *m)
{
	int disk = any_in(m, below(m, 8) ? RAID_FAULTY : RAID_SPARE);

	if (disk >= 0 && is_redundant(m))
		tarray_remove(m->t, (unsigned)disk);
}

/* A disk comes, back or new. */
static void do_join(struct model *m)
{
	struct tarray *t = m->t;
	int disk = any_in(m, RAID_MISSING);
	unsigned how = below(m, 4);
	int err;

	if (disk < 0 || !is_redundant(m))
		return;
	if (how == 0)
		memset(t->disks[disk].mem, 0xaa, t->disks[disk].nr_sects * SECT_BYTES);
	err = tarray_join(t, (unsigned)disk, how == 1 ? RAID_ADD_READD : how == 2 ? RAID_ADD_SPARE : RAID_ADD_AUTO);
	/* One that cannot be re-added, or knows nobody, is told to be; as a spare anything is taken. */
	model_must(m, !err || (err == -EINVAL && how));
	if (err)
		err = tarray_join(t, (unsigned)disk, RAID_ADD_SPARE);
	model_must(m, !err);
}

static void do_replace(struct model *m)
{
	struct tarray *t = m->t;
	int disk = tarray_disk_of(t, below(m, t->conf.nr_disks)), spare = any_in(m, RAID_SPARE), err;

	if (disk < 0 || spare < 0 || !is_redundant(m))
		return;
	err = raid_member_replace(t->r, tarray_nr_of(t, (unsigned)disk), tarray_nr_of(t, (unsigned)spare));
	model_must(m, !err || err == -EBUSY || (err == -EOPNOTSUPP && t->conf.metadata == RAID_META_090));
}

static bool is_settled(struct model *m)
{
	return is_redundant(m) && !raid_is_degraded(m->t->r) && any_in(m, RAID_REBUILDING) < 0 &&
	       atomic_load(&m->t->r->resync_pos) == UINT64_MAX;
}

static void scrub(struct model *m, enum raid_action a, struct raid_status *st)
{
	struct tarray *t = m->t;
	int err = raid_action_set(t->r, RAID_IDLE, 0);

	model_must(m, !err);
	/* What has precedence first. */
	model_must(m, tarray_finish(t) == 0);
	err = raid_action_set(t->r, a, 0);
	model_must(m, !err);
	model_must(m, tarray_finish(t) == 0);
	raid_status_get(t->r, st);
}

/* A bit that is wrong on one disk is found, and put right where it can be told. */
static void do_flip(struct model *m)
{
	struct tarray *t = m->t;
	bool can_tell = t->conf.level == RAID_6 || t->r->geom.nr_copies > 2;
	unsigned slot = below(m, t->conf.nr_disks);
	struct raid_place_found place;
	struct raid_status *st;
	struct raid_role role;
	uint8_t *at, was;
	sect_t sect;

	if (!is_settled(m) || !(st = malloc(sizeof(*st))))
		return;
	scrub(m, RAID_CHECK, st);
	model_must(m, st->mismatch_sects == 0);
	sect = rng_below(&t->rng, t->r->geom.member_sects);
	raid_unmap(&t->r->geom, slot, sect, &role);
	at = tarray_at(t, slot, sect) + below(m, SECT_BYTES);
	was = *at;
	*at ^= (uint8_t)(1 << below(m, 8));
	scrub(m, RAID_REPAIR, st);
	if (role.kind == RAID_KIND_UNUSED) {
		model_must(m, st->mismatch_sects == 0);
	} else {
		model_must(m, st->mismatch_sects > 0 && st->mismatch_sects <= 8 && st->nr_places > 0);
		raid_places_get(t->r, &place, 1);
		model_must(m, place.slot == (can_tell ? (int)slot : -1) && place.repaired == can_tell);
		model_must(m, (*at == was) == can_tell);
	}
	*at = was;
	free(st);
}

/* ---- the life of the whole --------------------------------------------------------------- */

static void assemble(struct model *m)
{
	m->t->opts.work = below(m, 2) ? RAID_WORK_STEPS : RAID_WORK_AT_ONCE;
	tlog_quiet();
	if (tarray_assemble(m->t, NULL) == 0)
		return;
	/*
	 * A disk that was set faulty long ago may look like half of an array, since of those
	 * that it knew none is left: it is refused by name, and out it stays.
	 */
	model_must(m, tlog_saw("were both written to since they parted"));
	for (unsigned i = 0; i < m->t->nr_devs; i++)
		m->t->absent[i] |= m->was_faulty[i];
	model_must(m, tarray_assemble(m->t, NULL) == 0);
}

static void note_faulty(struct model *m)
{
	for (unsigned i = 0; i < m->t->nr_devs; i++)
		m->was_faulty[i] = tarray_state_of(m->t, i) == RAID_FAULTY;
}

static void do_stop(struct model *m)
{
	note_faulty(m);
	tarray_stop(m->t);
	assemble(m);
}

static void do_crash(struct model *m)
{
	note_faulty(m);
	tarray_crash(m->t);
	assemble(m);
}

/*
 * A crash in the middle of a write: one member has it, the others have not. Afterwards any
 * of the two contents is right, but all readers see the same one, and redundancy agrees
 * with it once the resync is through; what is written meanwhile counts at once.
 */
static void do_torn_crash(struct model *m)
{
	struct tarray *t = m->t;
	struct raid_place places[RAID_MAX_MEMBERS];
	sect_t sect = rng_below(&t->rng, t->nr_sects);
	uint8_t *flat = t->flat + sect * SECT_BYTES, now[SECT_BYTES];
	uint64_t nr;

	if (!is_settled(m))
		return;
	model_must(m, tarray_write(t, sect, 1) == 0);
	raid_map(&t->r->geom, sect, places, &nr);
	nr = below(m, t->r->geom.nr_copies);
	rng_fill(&t->rng, tarray_at(t, places[nr].slot, places[nr].sect), SECT_BYTES);
	memcpy(now, tarray_at(t, places[nr].slot, places[nr].sect), SECT_BYTES);
	tarray_crash(t);
	t->opts.work = below(m, 4) ? RAID_WORK_STEPS : RAID_WORK_AT_ONCE;
	model_must(m, tarray_assemble(t, NULL) == 0);
	if (t->r->geom.nr_parity)
		memcpy(flat, now, SECT_BYTES);
	else if (blk_read(raid_dev(t->r), sect, flat, SECT_BYTES))
		model_must(m, false);
	while (atomic_load(&t->r->resync_pos) != UINT64_MAX) {
		do_read(m);
		do_write(m);
		model_must(m, raid_step(t->r, 1 + rng_below(&t->rng, 60)) >= 0);
	}
	model_must(m, !blk_read(raid_dev(t->r), sect, now, SECT_BYTES) && !memcmp(now, flat, SECT_BYTES));
	tarray_check_disks(t);
}

static void do_compare(struct model *m)
{
	tarray_compare(m->t);
	if (atomic_load(&m->t->r->resync_pos) == UINT64_MAX)
		tarray_check_disks(m->t);
}

static const struct {
	void (*run)(struct model *m);
	const char *what;
	unsigned weight;
} deeds[] = {
	{ do_write, "write", 300 }, { do_read, "read", 250 }, { do_step, "step", 250 }, { do_zero, "zero", 20 },
	{ do_flush, "flush", 20 }, { do_idle, "idle", 30 }, { do_with_bad_sectors, "bad sectors", 40 },
	{ do_fail, "fail", 10 }, { do_break, "break", 6 }, { do_remove, "remove", 20 }, { do_join, "join", 20 },
	{ do_replace, "replace", 10 }, { do_flip, "flip", 3 }, { do_stop, "stop", 4 }, { do_crash, "crash", 4 },
	{ do_torn_crash, "torn crash", 3 },
	{ do_compare, "compare", 4 },
};

static void model_step(struct model *m)
{
	unsigned sum = 0, at;

	for (unsigned i = 0; i < ARRAY_LEN(deeds); i++)
		sum += deeds[i].weight;
	at = below(m, sum);
	for (unsigned i = 0; i < ARRAY_LEN(deeds); i++) {
		if (at < deeds[i].weight) {
			m->what = deeds[i].what;
			deeds[i].run(m);
			return;
		}
		at -= deeds[i].weight;
	}
}

/* By day so many a level, at night a configuration. Sanitizers look at fewer. */
static unsigned nr_steps(int level)
{
	enum { STEPS = 100000, STEPS_SANITIZED = 1200 };
	const char *tier = getenv("OSFS_TEST_TIER"), *steps = getenv("OSFS_TEST_STEPS");

	if (steps)
		return (unsigned)strtoul(steps, NULL, 0);
	if (tier && !strcmp(tier, "night"))
		return STEPS;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return STEPS_SANITIZED;
#else
	unsigned nr_confs = 0;

	for (unsigned i = 0; i < NR_CONFS; i++)
		nr_confs += confs[i].level == level;
	return STEPS / nr_confs;
#endif
}

START_TEST(an_array_holds_what_was_written_whatever_happens_to_it)
{
	const char *seed = getenv("OSFS_TEST_SEED");
	struct model m = { .t = tarray_new(&confs[_i], seed ? strtoull(seed, NULL, 0) : 9000 + (uint64_t)_i) };
	unsigned n = nr_steps(confs[_i].level);

	m.t->opts.force = true;		/* dirty and degraded: nothing was under way here */
	for (unsigned i = 0; i < NR_EXTRA; i++)
		tarray_disk_add(m.t);
	for (m.step = 0; m.step < n; m.step++)
		model_step(&m);
	m.what = "end";
	do_compare(&m);
	tarray_free(m.t);
}
END_TEST

Suite *raid_model_suite(void)
{
	Suite *s = suite_create("raid_model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 1800);
	tcase_add_loop_test(tc, an_array_holds_what_was_written_whatever_happens_to_it, 0, NR_CONFS);
	suite_add_tcase(s, tc);
	return s;
}
