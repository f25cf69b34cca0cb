/*
 * test_lab_plant.c: the crash lab finds bugs. One after the other is switched on (base/plant.h) in
 * copies of the files that this program compiles for itself, and each must be caught; with none of
 * them the same states are all well.
 */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/plant.h"
#include "lab_crash.h"

enum plant plant_now;

/* Where to look for each: a configuration, and the workloads in which it can show. */
static const struct hunt {
	enum plant bug;
	const char *name, *level, *features;
	bool failing_member, bitmap;
	const char *ops[6];		/* single operations, each with each persistence */
	unsigned scripts, nr_scripts;	/* from, so many */
	unsigned percent;
} hunts[] = {
	{ PLANT_NO_ORPHAN, "no orphan list", "single", NULL, false, false, { "unlink-open", "truncate-big" }, 0, 0, 10 },
	{ PLANT_NO_ORDERED_DATA, "no ordered data", "single", NULL, false, false, { "create-write", "append" }, 0, 0, 20 },
#ifndef __SANITIZE_THREAD__		/* one thread: there is nothing for it to find */
	{ PLANT_NO_EVENTS, "no events before the acknowledgement", "1", NULL, true, false,
	  { "create-write", "append", "overwrite", "rename" }, 0, 0, 10 },
	{ PLANT_NO_BITMAP, "no bits before the write", "5", NULL, false, true, { "overwrite", "append" }, 0, 0, 10 },
	{ PLANT_NO_REVOKE, "no revoke", "single", NULL, false, false, { NULL }, 0, 4, 80 },
	{ PLANT_NO_TAIL_FLUSH, "no flush before the tail moves", "single", NULL, false, false, { NULL }, 10, 1, 25 },
	{ PLANT_NO_COMMIT_FLUSH, "no flush before the commit record", "single", "^metadata_csum", false, false,
	  { "create-write", "append" }, 0, 0, 60 },
#endif
};

static void say_nothing(void *arg, enum log_level level, const char *line)
{
}

static void run(struct lab_crash *c, const struct hunt *h)
{
	*c = (struct lab_crash){ .percent = h->percent, .out = stderr };
	ck_assert_int_eq(lab_config_init(&c->cfg, h->level), 0);
	c->cfg.failing_member = h->failing_member;
	c->cfg.bitmap = h->bitmap;
	c->cfg.features = h->features;
	ck_assert_int_eq(lab_crash_init(c), 0);
	for (unsigned i = 0; i < ARRAY_LEN(h->ops) && h->ops[i]; i++) {
		const struct lab_op *op = lab_op_find(h->ops[i]);

		ck_assert_ptr_nonnull(op);
		for (unsigned p = 0; p < LAB_NR_PERSIST; p++)
			ck_assert_int_eq(lab_crash_workload(c, (uint64_t)(op - lab_ops) * LAB_NR_PERSIST + p), 0);
	}
	for (unsigned i = 0; i < h->nr_scripts; i++)
		ck_assert_int_eq(lab_crash_workload(c, LAB_SCRIPTS + h->scripts + i), 0);
	lab_crash_fini(c);		/* bugs may leak */
}

START_TEST(each_bug_is_caught)
{
	const struct hunt *h = &hunts[_i];
	struct lab_crash well, ill;

	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	log_set_sink(say_nothing, NULL);
	run(&well, h);
	plant_now = h->bug;
	run(&ill, h);
	plant_now = PLANT_NONE;
	fprintf(stderr, "%s: caught in %" PRIu64 " of %" PRIu64 " states\n", h->name, ill.nr_failures, ill.nr_states);
	for (unsigned f = 1; f < LAB_NR_FAULTS; f++)
		if (ill.nr_of[f])
			fprintf(stderr, "  %s: %" PRIu64 " (%s)\n", lab_fault_name(f), ill.nr_of[f], lab_fault_invariants(f));
	ck_assert_uint_gt(well.nr_states, 50);
	ck_assert_uint_eq(well.nr_failures, 0);
	ck_assert_uint_gt(ill.nr_failures, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("planted bugs");
	TCase *tc = tcase_create("bugs");
	SRunner *sr;
	int nr_failed;

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, each_bug_is_caught, 0, ARRAY_LEN(hunts));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	nr_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return nr_failed ? 1 : 0;
}
