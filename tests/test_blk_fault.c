/* test_blk_fault.c: the fault filter: rules, seeds, what each fault does. */
#include "test_blk.h"

#include <stdlib.h>

#include "blk/blk_fault.h"

/* A bit a request: which of n reads fail under these rules. */
static uint64_t failures(const char *spec, unsigned n)
{
	struct blk_dev *d = must_open(spec, NULL);
	uint64_t set = 0;
	char buf[512];

	for (unsigned i = 0; i < n; i++)
		if (blk_read(d, i % blk_nr_sects(d), buf, 512))
			set |= 1ull << i;
	blk_close(d);
	return set;
}

START_TEST(rules_count_the_requests_that_they_are_about)
{
	ck_assert_uint_eq(failures("fault:read,fail,nth=3:mem:64k", 10), 1 << 2);
	ck_assert_uint_eq(failures("fault:read,fail,every=4:mem:64k", 10), 1 << 3 | 1 << 7);
	ck_assert_uint_eq(failures("fault:read,fail,from=8:mem:64k", 10), 1 << 7 | 1 << 8 | 1 << 9);
	ck_assert_uint_eq(failures("fault:read,fail,from=2,every=5:mem:64k", 10), 1 << 1 | 1 << 6);
	ck_assert_uint_eq(failures("fault:read,fail,once:mem:64k", 10), 1);
	ck_assert_uint_eq(failures("fault:fail,from=2,times=2:mem:64k", 10), 1 << 1 | 1 << 2);
	ck_assert_uint_eq(failures("fault:read,fail,sects=4-5:mem:64k", 10), 1 << 4 | 1 << 5);
	ck_assert_uint_eq(failures("fault:read,fail,sects=4,every=1:mem:4k", 16), 1 << 4 | 1 << 12);
	ck_assert_uint_eq(failures("fault:write,fail:mem:64k", 10), 0);
	ck_assert_uint_eq(failures("fault:read,fail,nth=1+read,fail,nth=5:mem:64k", 10), 1 << 0 | 1 << 4);
	ck_assert_uint_eq(failures("fault::mem:64k", 10), 0);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_faults_and_another_one_others)
{
	uint64_t a = failures("fault:seed=5+read,fail,p=0.3:mem:64k", 64);

	ck_assert_uint_eq(failures("fault:seed=5+read,fail,p=0.3:mem:64k", 64), a);
	ck_assert_uint_ne(failures("fault:seed=6+read,fail,p=0.3:mem:64k", 64), a);
	ck_assert_int_gt(__builtin_popcountll(a), 5);
	ck_assert_int_lt(__builtin_popcountll(a), 40);
}
END_TEST

static unsigned nr_bits_apart(const uint8_t *a, const uint8_t *b, size_t len)
{
	unsigned nr = 0;

	for (size_t i = 0; i < len; i++)
		nr += (unsigned)__builtin_popcount(a[i] ^ b[i]);
	return nr;
}

START_TEST(a_flipped_read_is_wrong_once_and_right_on_the_medium)
{
	struct blk_dev *d = must_open("fault:read,flip,nth=2:mem:64k", NULL);
	uint8_t out[2048], in[2048];
	struct iovec iov[3] = { { in, 100 }, { in + 100, 0 }, { in + 100, 1948 } };
	struct blk_io io = { .dev = d, .op = BLK_READ, .sect = 8, .iov = iov, .nr_iov = 3 };
	static const unsigned wrong[] = { 0, 1, 0 };

	fill(out, sizeof(out), 1);
	ck_assert_int_eq(blk_write(d, 8, out, sizeof(out)), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(blk_run(&io, 1), 0);
		ck_assert_uint_eq(nr_bits_apart(in, out, sizeof(in)), wrong[i]);
	}
	blk_close(d);
}
END_TEST

START_TEST(a_flipped_write_is_wrong_on_the_medium_and_leaves_the_callers_data_alone)
{
	struct blk_dev *d = must_open("fault:write,flip=3,sects=10-10:mem:64k", NULL);
	uint8_t out[2048], copy[2048], in[2048];

	fill(out, sizeof(out), 1);
	memcpy(copy, out, sizeof(out));
	ck_assert_int_eq(blk_write(d, 8, out, sizeof(out)), 0);
	ck_assert_mem_eq(out, copy, sizeof(out));
	ck_assert_int_eq(blk_read(d, 8, in, sizeof(in)), 0);
	ck_assert_uint_gt(nr_bits_apart(in, out, sizeof(in)), 0);
	ck_assert_mem_eq(in, out, 1024);			/* only sector 10 */
	ck_assert_mem_eq(in + 1536, out + 1536, 512);
	blk_close(d);
}
END_TEST

START_TEST(flips_of_stacked_filters_add_up)
{
	struct blk_dev *d = must_open("fault:seed=1+write,flip:fault:seed=2+write,flip:mem:64k", NULL);
	uint8_t out[512], in[512];

	fill(out, sizeof(out), 1);
	ck_assert_int_eq(blk_write(d, 0, out, 512), 0);
	ck_assert_int_eq(blk_read(d, 0, in, 512), 0);
	ck_assert_uint_eq(nr_bits_apart(in, out, 512), 2);
	blk_close(d);
}
END_TEST

START_TEST(a_dropped_write_or_flush_reports_success_and_does_nothing)
{
	struct blk_fault_rule lying = { .action = BLK_FAULT_DROP, .ops = 1 << BLK_FLUSH };
	struct blk_dev *d = must_open("fault:drop,nth=2:mem:64k", NULL);
	char one[512] = "one", two[512] = "two", in[512];
	struct blk_stats st;

	ck_assert_int_eq(blk_write(d, 0, one, 512), 0);
	ck_assert_int_eq(blk_write(d, 0, two, 512), 0);
	ck_assert_int_eq(blk_read(d, 0, in, 512), 0);
	ck_assert_str_eq(in, "one");
	ck_assert_int_eq(blk_fault_add(d, &lying, NULL), 0);
	ck_assert_int_eq(blk_flush(d), 0);
	blk_stats_get(d->lower, &st);
	ck_assert_uint_eq(st.nr_ios[BLK_FLUSH], 0);
	blk_close(d);
}
END_TEST

START_TEST(slow_requests_are_right_in_the_end)
{
	struct blk_dev *d = must_open("fault:delay=2+write,flip,nth=1000:mem:64k", NULL);
	struct rng r = { 9 };
	struct model m;

	model_init(&m, d);
	for (unsigned n = 0; n < 20; n++)
		model_step(&m, &r, 0, blk_nr_sects(d), 9);
	model_compare(&m, 9);
	model_fini(&m);
	blk_close(d);
}
END_TEST

START_TEST(rules_come_and_go_while_the_device_is_open)
{
	struct blk_dev *d = must_open("trace:fault::mem:64k", NULL), *f = blk_fault_find(d);
	struct blk_fault_rule kill = { .action = BLK_FAULT_FAIL, .err = -ENXIO };
	struct blk_fault_rule slow = { .action = BLK_FAULT_DELAY, .delay_msec = 1 };
	unsigned kill_id, slow_id;
	char buf[512];

	ck_assert_ptr_eq(f, d->lower);
	ck_assert_ptr_null(blk_fault_find(f->lower));
	ck_assert_int_eq(blk_read(d, 0, buf, 512), 0);
	ck_assert_int_eq(blk_fault_add(f, &kill, &kill_id), 0);
	ck_assert_int_eq(blk_fault_add(f, &slow, &slow_id), 0);
	ck_assert_int_eq(blk_read(d, 0, buf, 512), -ENXIO);
	ck_assert_int_eq(blk_flush(d), -ENXIO);
	ck_assert_int_eq(blk_fault_remove(f, kill_id), 0);
	ck_assert_int_eq(blk_fault_remove(f, kill_id), -ENOENT);
	ck_assert_int_eq(blk_read(d, 0, buf, 512), 0);
	ck_assert_uint_eq(blk_fault_nr_fired(f), 5);
	blk_fault_clear(f);
	ck_assert_int_eq(blk_fault_remove(f, slow_id), -ENOENT);
	ck_assert_int_eq(blk_read(d, 0, buf, 512), 0);
	ck_assert_uint_eq(blk_fault_nr_fired(f), 5);
	blk_close(d);
}
END_TEST

START_TEST(rules_are_printed_as_they_can_be_read_again)
{
	static const char *const texts[] = {
		"fail=ENOSPC,write,from=3,every=2", "delay=20,read,write,flush,discard,zero,p=0.25",
		"flip=7,read,sects=100-199,times=4", "drop,flush,nth=9",
	};

	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		struct blk_dev *d = must_open("fault::mem:64k", NULL);
		struct blk_fault_rule r;
		char *text, want[128];
		size_t len;
		FILE *out = open_memstream(&text, &len);

		ck_assert_int_eq(blk_fault_parse(texts[i], &r), 0);
		ck_assert_int_eq(blk_fault_add(d, &r, NULL), 0);
		blk_fault_to_text(d, out);
		fclose(out);
		snprintf(want, sizeof(want), "1 %s matched 0 fired 0\n", texts[i]);
		ck_assert_str_eq(text, want);
		free(text);
		blk_close(d);
	}
}
END_TEST

START_TEST(rules_that_make_no_sense_are_refused_and_the_word_is_named)
{
	static const char *const bad[][2] = {
		{ "", "what is \"\"" }, { "read", "wanted one of" }, { "fail,drop", "wanted one of" },
		{ "fail=EWHAT", "\"fail=EWHAT\"" }, { "delay", "\"delay\"" }, { "delay=x", "\"delay=x\"" },
		{ "delay=9999999", "\"delay=9999999\"" }, { "fail,nth=0", "\"nth=0\"" }, { "fail,p=1.5", "\"p=1.5\"" },
		{ "fail,p=nan", "\"p=nan\"" }, { "fail,sects=5-4", "\"sects=5-4\"" }, { "fail,every=-1", "\"every=-1\"" },
		{ "fail,read=1", "\"read=1\"" }, { "fail,once=2", "\"once=2\"" }, { "flip=0", "\"flip=0\"" },
		{ "fail,,read", "what is \"\"" }, { "read,drop", "cannot be done" }, { "flush,flip", "cannot be done" },
		{ "fail,flush,sects=1-2", "cannot be done" },
	};
	struct blk_fault_rule r;

	capture_log();
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(blk_fault_parse(bad[i][0], &r) == -EINVAL, "%s", bad[i][0]);
		ck_assert_msg(strstr(last_message, bad[i][1]), "%s: said %s", bad[i][0], last_message);
	}
}
END_TEST

void add_fault_tests(Suite *s)
{
	TCase *tc = tcase_create("fault");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rules_count_the_requests_that_they_are_about);
	tcase_add_test(tc, the_same_seed_gives_the_same_faults_and_another_one_others);
	tcase_add_test(tc, a_flipped_read_is_wrong_once_and_right_on_the_medium);
	tcase_add_test(tc, a_flipped_write_is_wrong_on_the_medium_and_leaves_the_callers_data_alone);
	tcase_add_test(tc, flips_of_stacked_filters_add_up);
	tcase_add_test(tc, a_dropped_write_or_flush_reports_success_and_does_nothing);
	tcase_add_test(tc, slow_requests_are_right_in_the_end);
	tcase_add_test(tc, rules_come_and_go_while_the_device_is_open);
	tcase_add_test(tc, rules_are_printed_as_they_can_be_read_again);
	tcase_add_test(tc, rules_that_make_no_sense_are_refused_and_the_word_is_named);
	suite_add_tcase(s, tc);
}
