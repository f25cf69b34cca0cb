/* test_lab.c: the crash lab: cuts mean what lab_cut.h says, the judge can say no, and a few thousand states. */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rng.h"
#include "lab_check.h"
#include "lab_crash.h"
#include "test_lab.h"

static void say_nothing(void *arg, enum log_level level, const char *line)
{
}

/* Cuts ------------------------------------------------------------------------------------------ */

enum { SECTS = 64, NR_DEVS = 2 };

struct bench {
	struct blk_tape *tape;
	struct lab_image *base[NR_DEVS], *live[NR_DEVS];
	struct blk_dev *dev[NR_DEVS];
	struct lab_tape lt;
};

static void bench_start(struct bench *b)
{
	*b = (struct bench){ 0 };
	ck_assert_int_eq(blk_tape_new(&b->tape), 0);
	for (unsigned i = 0; i < NR_DEVS; i++) {
		struct blk_dev *d;

		ck_assert_int_eq(lab_image_new(SECTS, false, &b->base[i]), 0);
		ck_assert_int_eq(lab_image_copy(b->base[i], &b->live[i]), 0);
		ck_assert_int_eq(lab_image_open(b->live[i], "disk", &d), 0);
		ck_assert_int_eq(blk_record_new(d, b->tape, i, &b->dev[i]), 0);
	}
}

static void bench_ready(struct bench *b)
{
	ck_assert_int_eq(lab_tape_init(&b->lt, b->tape), 0);
}

static void bench_end(struct bench *b)
{
	for (unsigned i = 0; i < NR_DEVS; i++) {
		blk_close(b->dev[i]);
		lab_image_free(b->live[i]);
		lab_image_free(b->base[i]);
	}
	lab_tape_fini(&b->lt);
	blk_tape_free(b->tape);
}

/* A sector that says c. */
static void put(struct blk_dev *d, sect_t sect, unsigned nr, char c, unsigned flags)
{
	char buf[8 * SECT_BYTES];
	struct iovec iov = { buf, nr * SECT_BYTES };
	struct blk_io io = { .dev = d, .op = BLK_WRITE, .sect = sect, .iov = &iov, .nr_iov = 1, .flags = flags };

	memset(buf, c, sizeof(buf));
	ck_assert_int_eq(blk_run(&io, 1), 0);
}

/* The first letters of a device's sectors after a cut, '.' for zero. */
static void look(struct bench *b, const struct lab_cut *c, unsigned dev, unsigned nr, char *out)
{
	struct lab_image *im[NR_DEVS];

	for (unsigned i = 0; i < NR_DEVS; i++)
		ck_assert_int_eq(lab_image_copy(b->base[i], &im[i]), 0);
	ck_assert_int_eq(lab_cut_apply(&b->lt, c, im, NR_DEVS), 0);
	for (unsigned i = 0; i < nr; i++) {
		char sector[SECT_BYTES];

		lab_image_read(im[dev], i, sector, 1);
		out[i] = sector[0] ? sector[0] : '.';
	}
	out[nr] = '\0';
	for (unsigned i = 0; i < NR_DEVS; i++)
		lab_image_free(im[i]);
}

static void must_look(struct bench *b, size_t at, enum lab_cut_mode mode, unsigned dev, const char *want)
{
	const struct lab_cut c = { .at = at, .mode = mode };
	char found[SECTS + 1];

	look(b, &c, dev, (unsigned)strlen(want), found);
	ck_assert_msg(!strcmp(found, want), "cut %zu, %s: found %s, not %s", at, lab_cut_mode_name(mode), found, want);
}

START_TEST(only_what_was_flushed_or_fua_is_certain)
{
	struct bench b;

	bench_start(&b);
	put(b.dev[0], 0, 1, 'a', 0);
	put(b.dev[0], 1, 1, 'b', BLK_FUA);
	put(b.dev[1], 2, 1, 'c', 0);
	ck_assert_int_eq(blk_flush(b.dev[0]), 0);
	put(b.dev[0], 3, 1, 'd', 0);
	bench_ready(&b);
	must_look(&b, 0, LAB_CUT_CERTAIN, 0, "....");
	must_look(&b, 1, LAB_CUT_CERTAIN, 0, "....");
	must_look(&b, 1, LAB_CUT_ALL, 0, "a...");
	must_look(&b, 1, LAB_CUT_UNDER_WAY, 0, "ab..");
	must_look(&b, 2, LAB_CUT_CERTAIN, 0, ".b..");
	must_look(&b, 4, LAB_CUT_CERTAIN, 0, "ab..");
	must_look(&b, 5, LAB_CUT_CERTAIN, 0, "ab..");
	must_look(&b, 5, LAB_CUT_ALL, 0, "ab.d");
	must_look(&b, 5, LAB_CUT_CERTAIN, 1, "....");	/* another device was flushed */
	must_look(&b, 5, LAB_CUT_ALL, 1, "..c.");
	bench_end(&b);
}
END_TEST

START_TEST(a_flush_does_not_cover_what_is_under_way_beside_it)
{
	struct bench b;
	char x[SECT_BYTES];
	struct iovec iov = { x, SECT_BYTES };
	struct blk_io ios[2];

	memset(x, 'x', sizeof(x));
	bench_start(&b);
	ios[0] = (struct blk_io){ .dev = b.dev[0], .op = BLK_WRITE, .sect = 1, .iov = &iov, .nr_iov = 1 };
	ios[1] = (struct blk_io){ .dev = b.dev[0], .op = BLK_FLUSH };
	put(b.dev[0], 0, 1, 'a', 0);
	ck_assert_int_eq(blk_run(ios, 2), 0);
	bench_ready(&b);
	must_look(&b, 3, LAB_CUT_CERTAIN, 0, "a.");
	must_look(&b, 3, LAB_CUT_ALL, 0, "ax");
	bench_end(&b);
}
END_TEST

START_TEST(an_older_write_never_comes_back_over_a_newer_one_that_is_certain)
{
	struct bench b;

	bench_start(&b);
	put(b.dev[0], 0, 1, 'a', 0);
	put(b.dev[0], 0, 1, 'b', BLK_FUA);
	bench_ready(&b);
	for (uint64_t seed = 0; seed < 64; seed++) {
		const struct lab_cut c = { .at = 2, .mode = seed & 1 ? LAB_CUT_SOME : LAB_CUT_TORN, .seed = seed };
		char found[2];

		look(&b, &c, 0, 1, found);
		ck_assert_str_eq(found, "b");
	}
	bench_end(&b);
}
END_TEST

START_TEST(every_subset_and_every_tear_comes_up_and_a_seed_gives_the_same_again)
{
	struct bench b;
	bool whole[4] = { false }, torn = false;

	bench_start(&b);
	put(b.dev[0], 0, 4, 'a', 0);
	put(b.dev[0], 4, 4, 'b', 0);
	bench_ready(&b);
	for (uint64_t seed = 0; seed < 200; seed++) {
		const struct lab_cut some = { .at = 2, .mode = LAB_CUT_SOME, .seed = seed };
		const struct lab_cut tear = { .at = 2, .mode = LAB_CUT_TORN, .seed = seed };
		char found[9], again[9];

		look(&b, &some, 0, 8, found);
		look(&b, &some, 0, 8, again);
		ck_assert_str_eq(found, again);
		ck_assert_msg(!strcmp(found, "........") || !strcmp(found, "aaaa....") || !strcmp(found, "....bbbb") ||
			      !strcmp(found, "aaaabbbb"), "%s", found);
		whole[(found[0] == 'a') + 2 * (found[4] == 'b')] = true;
		look(&b, &tear, 0, 8, found);
		torn |= found[0] != found[3];
	}
	ck_assert(whole[0] && whole[1] && whole[2] && whole[3] && torn);
	bench_end(&b);
}
END_TEST

/* The judge ----------------------------------------------------------------------------------------- */

static void crash_start(struct lab_crash *c, const char *level, unsigned percent)
{
	*c = (struct lab_crash){ .percent = LAB_TEST_PERCENT(percent), .fsck_every = 10, .max_reports = 5, .out = stderr };
	ck_assert_int_eq(lab_config_init(&c->cfg, level), 0);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	log_set_sink(say_nothing, NULL);
}

static void crash_run(struct lab_crash *c, uint64_t step)
{
	ck_assert_int_eq(lab_crash_init(c), 0);
	for (uint64_t w = c->cfg.seed % step; w < lab_nr_singles(); w += step)
		ck_assert_int_eq(lab_crash_workload(c, w), 0);
	for (uint64_t w = 0; w < lab_nr_scripts(); w++)
		ck_assert_int_eq(lab_crash_workload(c, LAB_SCRIPTS + w), 0);
	ck_assert_uint_eq(lab_crash_fini(c), 0);
	lab_crash_summary(c, stderr);
}

/* Without a journal a crash may leave anything: a judge that finds nothing there finds nothing anywhere. */
START_TEST(without_a_journal_crashes_are_seen)
{
	struct lab_crash c;

	crash_start(&c, "single", 10);
	c.cfg.journal = false;
	c.max_reports = 0;
	crash_run(&c, 10);
	ck_assert_uint_gt(c.nr_failures, c.nr_states / 20);
	ck_assert_uint_gt(c.nr_of[LAB_INCONSISTENT] + c.nr_of[LAB_MIXED] + c.nr_of[LAB_CONTENTS], 0);
}
END_TEST

static const struct {
	const char *level;
	enum jnl_data_mode mode;
	bool failing, bitmap;
	unsigned percent, block;
	const char *features;
} configs[] = {
	{ "single", JNL_DATA_ORDERED, false, false, 10, 0, NULL },
	{ "single", JNL_DATA_JOURNAL, false, false, 5, 0, NULL },
	{ "single", JNL_DATA_WRITEBACK, false, false, 5, 0, NULL },
	{ "1", JNL_DATA_ORDERED, false, false, 2, 0, NULL },
	{ "5", JNL_DATA_ORDERED, false, false, 2, 0, NULL },
	{ "6", JNL_DATA_ORDERED, false, false, 1, 0, NULL },
	{ "10", JNL_DATA_ORDERED, false, false, 1, 0, NULL },
	{ "1", JNL_DATA_ORDERED, true, false, 2, 0, NULL },
	{ "10", JNL_DATA_ORDERED, true, false, 1, 0, NULL },
	{ "5", JNL_DATA_ORDERED, false, true, 1, 0, NULL },
	{ "1", JNL_DATA_ORDERED, true, true, 1, 0, NULL },
	{ "single", JNL_DATA_ORDERED, false, false, 2, 4096, "inline_data" },
	{ "single", JNL_DATA_ORDERED, false, false, 2, 1024, "^metadata_csum" },
};

START_TEST(no_state_breaks_a_promise)
{
	struct lab_crash c;

	crash_start(&c, configs[_i].level, configs[_i].percent);
	c.cfg.data_mode = configs[_i].mode;
	c.cfg.failing_member = configs[_i].failing;
	c.cfg.bitmap = configs[_i].bitmap;
	c.cfg.features = configs[_i].features;
	if (configs[_i].block)
		ck_assert_int_eq(lab_config_set_block(&c.cfg, configs[_i].block), 0);
	crash_run(&c, 7);
	ck_assert_uint_gt(c.nr_states, 10);
	ck_assert_msg(!c.nr_failures, "%" PRIu64 " of %" PRIu64 " states", c.nr_failures, c.nr_states);
}
END_TEST

START_TEST(a_state_is_the_same_each_time)
{
	char *text[2];

	for (unsigned i = 0; i < 2; i++) {
		struct lab_crash c;
		size_t len;

		crash_start(&c, "single", 0);
		c.cfg.journal = false;	/* so that there is something to tell */
		c.out = open_memstream(&text[i], &len);
		ck_assert_int_eq(lab_crash_init(&c), 0);
		for (unsigned at = 4; at < 12; at++)
			ck_assert_int_eq(lab_crash_state(&c, 4 * LAB_STATE_WORKLOAD + at * LAB_STATE_CUT + 6), 0);
		ck_assert_uint_eq(lab_crash_fini(&c), 0);
		fclose(c.out);
	}
	ck_assert_str_eq(text[0], text[1]);
	ck_assert_ptr_nonnull(strstr(text[0], "rerun: osfs-lab crash --state="));
	free(text[0]);
	free(text[1]);
}
END_TEST

/* Arrays ---------------------------------------------------------------------------------------------- */

/* Assembles what is on from and writes to it once; what was written is on *t. False: it cannot be assembled. */
static bool use_array(struct lab_crash *c, struct lab_image *const *from, struct blk_tape **t)
{
	struct lab_stack_opts o = { .volume_only = true };
	struct lab_image *work[LAB_MAX_MEMBERS] = { NULL };
	struct lab_stack s;
	char buf[4096] = "x";
	const char *what;
	bool ok;

	ck_assert_int_eq(blk_tape_new(&o.tape), 0);
	for (unsigned i = 0; i < c->cfg.nr_members; i++)
		ck_assert_int_eq(lab_image_copy(from[i], &work[i]), 0);
	ok = !lab_stack_open(&c->cfg, c->alloc, work, &o, &s, &what);
	if (ok) {
		ck_assert_int_eq(blk_write(s.volume, 64, buf, sizeof(buf)), 0);
		ck_assert_int_eq(lab_stack_close(&s), 0);
	}
	for (unsigned i = 0; i < c->cfg.nr_members; i++)
		lab_image_free(work[i]);
	*t = o.tape;
	return ok;
}

static void cut_all(const struct lab_config *cfg, struct blk_tape *t, size_t at, struct lab_image *const *from,
		    struct lab_image **to)
{
	const struct lab_cut cut = { .at = at, .mode = LAB_CUT_CERTAIN };
	struct lab_tape lt;

	ck_assert_int_eq(lab_tape_init(&lt, t), 0);
	for (unsigned i = 0; i < cfg->nr_members; i++)
		ck_assert_int_eq(lab_image_copy(from[i], &to[i]), 0);
	ck_assert_int_eq(lab_cut_apply(&lt, &cut, to, cfg->nr_members), 0);
	lab_tape_fini(&lt);
}

/* S14: cut while superblocks are being written, and again when they are written for the next time. */
START_TEST(an_array_comes_up_after_any_two_crashes)
{
	static const char *const levels[] = { "1", "5", "10" };
	struct blk_tape *first, *second, *third;
	struct lab_crash c;

	crash_start(&c, levels[_i], 0);
	ck_assert_int_eq(lab_crash_init(&c), 0);
	ck_assert(use_array(&c, c.base, &first));
	for (size_t at = 0; at <= blk_tape_nr(first); at++) {
		struct lab_image *once[LAB_MAX_MEMBERS], *twice[LAB_MAX_MEMBERS];

		cut_all(&c.cfg, first, at, c.base, once);
		ck_assert_msg(use_array(&c, once, &second), "cut at %zu", at);
		for (size_t again = 0; again <= blk_tape_nr(second); again++) {
			cut_all(&c.cfg, second, again, once, twice);
			ck_assert_msg(use_array(&c, twice, &third), "cut at %zu, then at %zu", at, again);
			blk_tape_free(third);
			for (unsigned i = 0; i < c.cfg.nr_members; i++)
				lab_image_free(twice[i]);
		}
		blk_tape_free(second);
		for (unsigned i = 0; i < c.cfg.nr_members; i++)
			lab_image_free(once[i]);
	}
	blk_tape_free(first);
	ck_assert_uint_eq(lab_crash_fini(&c), 0);
}
END_TEST

/* lab_check --------------------------------------------------------------------------------------------- */

static int check_with(struct lab_crash *c, sect_t sect, unsigned byte, uint8_t xor, char **said)
{
	const struct lab_stack_opts o = { .volume_only = true };
	struct lab_image *im[LAB_MAX_MEMBERS] = { NULL };
	struct lab_stack s;
	uint8_t sector[SECT_BYTES];
	const char *what;
	size_t len;
	FILE *out;
	int err;

	ck_assert_int_eq(lab_image_copy(c->base[0], &im[0]), 0);
	lab_image_read(im[0], sect, sector, 1);
	sector[byte] ^= xor;
	ck_assert_int_eq(lab_image_write(im[0], sect, sector, 1), 0);
	ck_assert_int_eq(lab_stack_open(&c->cfg, c->alloc, im, &o, &s, &what), 0);
	out = open_memstream(said, &len);
	err = lab_check(s.volume, out);
	fclose(out);
	ck_assert_int_eq(lab_stack_close(&s), 0);
	lab_image_free(im[0]);
	return err;
}

START_TEST(the_check_sees_what_is_wrong)
{
	static const struct { sect_t sect; unsigned byte; uint8_t xor; const char *said; } cases[] = {
		{ 2, 0x0c, 1, "superblock counts" }, { 2, 0x10, 1, "free inodes" }, { 2, 0x3a, 1, "not clean" },
		{ 2, 0x60, 4, "not empty" }, { 2, 0xe8, 20, "orphan list" }, { 4, 0x0c, 1, "group 0: counts" },
		{ 4, 0x10, 1, "directories" },
	};
	struct lab_crash c;
	char *said;

	crash_start(&c, "single", 0);
	ck_assert_int_eq(lab_crash_init(&c), 0);
	ck_assert_int_eq(check_with(&c, 2, 0, 0, &said), 0);
	ck_assert_str_eq(said, "");
	free(said);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(check_with(&c, cases[i].sect, cases[i].byte, cases[i].xor, &said), -EUCLEAN);
		ck_assert_msg(strstr(said, cases[i].said), "%u: said %s", i, said);
		free(said);
	}
	ck_assert_uint_eq(lab_crash_fini(&c), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lab");
	TCase *tc = tcase_create("cut");
	SRunner *sr;
	int nr_failed;

	tcase_add_test(tc, only_what_was_flushed_or_fua_is_certain);
	tcase_add_test(tc, a_flush_does_not_cover_what_is_under_way_beside_it);
	tcase_add_test(tc, an_older_write_never_comes_back_over_a_newer_one_that_is_certain);
	tcase_add_test(tc, every_subset_and_every_tear_comes_up_and_a_seed_gives_the_same_again);
	suite_add_tcase(s, tc);
	tc = tcase_create("judge");
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, without_a_journal_crashes_are_seen);
	tcase_add_loop_test(tc, no_state_breaks_a_promise, 0, ARRAY_LEN(configs));
	tcase_add_test(tc, a_state_is_the_same_each_time);
	tcase_add_loop_test(tc, an_array_comes_up_after_any_two_crashes, 0, 3);
	tcase_add_test(tc, the_check_sees_what_is_wrong);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	nr_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return nr_failed ? 1 : 0;
}
