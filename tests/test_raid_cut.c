/*
 * test_raid_cut.c: the process dies after every single write of a life: while stripes are
 * written, a member is set faulty, a spare is seated, filled and noted, a member replaced,
 * the array marked clean. Whatever arrived is all there is; then the array has to assemble,
 * hold what had been acknowledged, and come to agree with itself.
 */
#include "test_raid.h"

#include <stdlib.h>

#include "raid/raid_int.h"

static const struct tconf confs[] = {
	{ .level = RAID_1, .nr_disks = 2, .rows = 30, .bitmap_bytes = 4096 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 4, .chunk_sects = 8, .rows = 8 },
	{ .level = RAID_5, .nr_disks = 3, .chunk_sects = 8, .rows = 12, .bitmap_bytes = 4096 },
	{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 8 },
	{ .level = RAID_6, .nr_disks = 5, .chunk_sects = 8, .rows = 10, .bitmap_bytes = 4096 },
	{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 8, .rows = 8, .has_metadata = true,
	  .metadata = RAID_META_090 },
};
enum { NR_CONFS = ARRAY_LEN(confs), MAX_WRITE_SECTS = 24 };

struct life {
	struct tarray *t;
	unsigned spares[2];
	/* The write that was under way when the process died: its range may be old or new. */
	sect_t sect;
	uint32_t nr_sects;
	uint8_t *before;		/* of the whole volume, when it began */
	bool is_degraded;		/* then: the rest of the stripe is not certain either */
};

/* False: the process is dead. */
static bool life_write(struct life *l)
{
	struct tarray *t = l->t;
	sect_t sect = rng_below(&t->rng, t->nr_sects - MAX_WRITE_SECTS);
	uint32_t nr = 1 + (uint32_t)rng_below(&t->rng, MAX_WRITE_SECTS);
	bool is_degraded = raid_is_degraded(t->r);

	memcpy(l->before, t->flat, t->nr_sects << SECT_SHIFT);
	if (tarray_write(t, sect, nr))
		abort();
	if (!t->cut.is_done)
		return true;
	l->sect = sect;
	l->nr_sects = nr;
	l->is_degraded = is_degraded;
	return false;
}

static bool life_steps(struct life *l, unsigned nr)
{
	while (nr-- && !l->t->cut.is_done && raid_step(l->t->r, 24) == 1)
		;
	return !l->t->cut.is_done;
}

static bool life_fail(struct life *l, unsigned slot)
{
	struct tarray *t = l->t;

	if (raid_member_fail(t->r, tarray_nr_of(t, (unsigned)tarray_disk_of(t, slot))))
		abort();
	return !t->cut.is_done;
}

/* Its writes begin to fail, and the array finds out by writing to it. */
static bool life_break(struct life *l, unsigned slot)
{
	struct tarray *t = l->t;
	unsigned disk = (unsigned)tarray_disk_of(t, slot);

	t->disks[disk].fail_writes = true;
	while (tarray_state_of(t, disk) == RAID_IN_SYNC)
		if (!life_write(l))
			return false;
	t->disks[disk].fail_writes = false;
	return true;
}

/* The slot's disk leaves, misses something, and comes back. */
static bool life_return(struct life *l, unsigned slot)
{
	struct tarray *t = l->t;
	unsigned disk = (unsigned)tarray_disk_of(t, slot);

	if (!t->conf.bitmap_bytes)
		return true;
	if (!life_fail(l, slot) || !life_write(l))
		return false;
	tarray_remove(t, disk);
	return !t->cut.is_done && tarray_join(t, disk, RAID_ADD_READD) == 0 && life_steps(l, 1) && life_write(l) &&
	       life_steps(l, 1000);
}

static bool life_join(struct life *l, unsigned disk)
{
	return tarray_join(l->t, disk, RAID_ADD_SPARE) == 0 && !l->t->cut.is_done;
}

static bool life_replace(struct life *l, unsigned slot)
{
	struct tarray *t = l->t;

	return raid_member_replace(t->r, tarray_nr_of(t, (unsigned)tarray_disk_of(t, slot)), -1) == 0 &&
	       !t->cut.is_done;
}

static bool life_rest(struct life *l)
{
	return raid_idle(l->t->r) == 0 && raid_idle(l->t->r) == 0 && !l->t->cut.is_done;
}

/* True: it lived to the end. */
static bool live(struct life *l)
{
	bool has_repl = l->t->conf.metadata != RAID_META_090;

	return life_write(l) && life_write(l) && (l->t->seed % 2 ? life_fail(l, 1) : life_break(l, 1)) && life_write(l) && life_rest(l) &&
	       life_join(l, l->spares[0]) && life_steps(l, 2) && life_write(l) && life_steps(l, 1000) &&
	       life_write(l) && life_rest(l) && life_write(l) &&
	       (!has_repl || (life_join(l, l->spares[1]) && life_replace(l, 0) && life_steps(l, 1) && life_write(l) &&
			      life_steps(l, 1000))) &&
	       life_write(l) && life_return(l, 1) && life_write(l) && life_rest(l);
}

static void life_begin(struct life *l, const struct tconf *conf, uint64_t seed)
{
	*l = (struct life){ .t = tarray_new(conf, seed) };
	tarray_write_random(l->t, 10);
	for (unsigned i = 0; i < 2; i++)
		l->spares[i] = tarray_disk_add(l->t);
	l->before = malloc(l->t->nr_sects << SECT_SHIFT);
	ck_assert_ptr_nonnull(l->before);
}

static void life_end(struct life *l)
{
	free(l->before);
	tarray_free(l->t);
}

/* Sectors that may be old or new. */
static bool is_in_doubt(const struct life *l, sect_t sect)
{
	const struct raid_geom *g = &l->t->r->geom;
	uint64_t stripe_sects = (uint64_t)g->chunk_sects * g->nr_data;

	if (!l->nr_sects)
		return false;
	if (g->nr_parity && l->is_degraded)
		return sect / stripe_sects >= l->sect / stripe_sects &&
		       sect / stripe_sects <= (l->sect + l->nr_sects - 1) / stripe_sects;
	return sect >= l->sect && sect < l->sect + l->nr_sects;
}

static void must_hold(struct life *l, uint64_t cut)
{
	struct tarray *t = l->t;
	uint8_t *now = malloc(t->nr_sects << SECT_SHIFT);

	must(now && blk_read(raid_dev(t->r), 0, now, t->nr_sects << SECT_SHIFT) == 0);
	for (sect_t s = 0; s < t->nr_sects; s++) {
		size_t at = s << SECT_SHIFT;
		bool doubt = is_in_doubt(l, s);

		must_msg(doubt || !memcmp(now + at, t->flat + at, SECT_BYTES), "%s cut %ju: sector %ju differs",
			 tconf_text(&t->conf), (uintmax_t)cut, (uintmax_t)s);
		/* In a whole array nothing but the old and the new can be there. */
		must_msg(!doubt || l->is_degraded || !memcmp(now + at, t->flat + at, SECT_BYTES) ||
				 !memcmp(now + at, l->before + at, SECT_BYTES),
			 "%s cut %ju: sector %ju is neither old nor new", tconf_text(&t->conf), (uintmax_t)cut, (uintmax_t)s);
	}
	/* From here on it is what it is. */
	memcpy(t->flat, now, t->nr_sects << SECT_SHIFT);
	free(now);
}

START_TEST(after_a_death_at_any_write_the_array_agrees_with_what_was_acknowledged)
{
	const char *tier = getenv("OSFS_TEST_TIER");
	uint64_t stride = tier && !strcmp(tier, "night") ? 1 : 5, nr_cuts = 0;
	bool lived = false;

	for (uint64_t cut = (uint64_t)_i % stride; !lived; cut += stride) {
		struct life l;

		life_begin(&l, &confs[_i], 8000 + (uint64_t)_i);
		l.t->cut = (struct tcut){ .is_armed = true, .left = cut };
		lived = live(&l);
		nr_cuts++;
		for (unsigned i = 0; i < l.t->nr_devs; i++)
			if (tarray_nr_of(l.t, i) < 0)
				l.t->absent[i] = true;
		tarray_crash(l.t);
		for (unsigned i = 0; i < l.t->nr_devs; i++)
			l.t->disks[i].fail_writes = false;
		/* A spare that had not got its superblock is none. */
		for (unsigned i = 0; i < 2; i++) {
			struct blk_dev *d = tdisk_open(&l.t->disks[l.spares[i]], "spare");
			struct raid_info info;

			l.t->absent[l.spares[i]] |= raid_examine(d, &info) != 0;
			blk_close(d);
		}
		l.t->opts = (struct raid_open_opts){ .force = true, .work = cut % 2 ? RAID_WORK_STEPS : RAID_WORK_AT_ONCE };
		must_msg(tarray_assemble(l.t, NULL) == 0, "%s cut %ju: does not assemble", tconf_text(&confs[_i]),
			 (uintmax_t)cut);
		must_hold(&l, cut);
		tarray_write_random(l.t, 1);
		must_msg(tarray_finish(l.t) == 0, "%s cut %ju: cannot go on", tconf_text(&confs[_i]), (uintmax_t)cut);
		tarray_compare(l.t);
		tarray_check_disks(l.t);
		life_end(&l);
	}
	ck_assert_uint_gt(nr_cuts, 10);
}
END_TEST

Suite *raid_cut_suite(void)
{
	Suite *s = suite_create("raid_cut");
	TCase *tc = tcase_create("cut");

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, after_a_death_at_any_write_the_array_agrees_with_what_was_acknowledged, 0, NR_CONFS);
	suite_add_tcase(s, tc);
	return s;
}
