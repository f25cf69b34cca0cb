/* test_blk.c: the dispatcher, the registry and the device in memory. */
#include "test_blk.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/trace.h"
#include "blk/blk_fault.h"

START_TEST(a_request_outside_the_device_is_refused_and_does_not_reach_it)
{
	struct blk_dev *d = must_open("mem:64k", NULL);
	struct blk_stats st;
	char buf[1024];

	ck_assert_int_eq(blk_read(d, 127, buf, 1024), -EINVAL);
	ck_assert_int_eq(blk_write(d, 128, buf, 512), -EINVAL);
	ck_assert_int_eq(blk_read(d, UINT64_MAX, buf, 512), -EINVAL);
	ck_assert_int_eq(blk_read(d, UINT64_MAX - 1, buf, 1024), -EINVAL);
	ck_assert_int_eq(blk_discard(d, 1, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(blk_zero(d, 64, 65), -EINVAL);
	blk_stats_get(d, &st);
	for (unsigned op = 0; op < BLK_NR_OPS; op++)
		ck_assert_uint_eq(st.nr_ios[op], 0);
	ck_assert_int_eq(blk_read(d, 126, buf, 1024), 0);
	blk_close(d);
}
END_TEST

START_TEST(a_length_that_is_no_number_of_sectors_is_refused)
{
	struct blk_dev *d = must_open("mem:64k", NULL);
	char buf[1024];
	struct iovec odd[] = { { buf, 500 }, { buf, 500 } }, huge[] = { { buf, SIZE_MAX - 511 }, { buf, 1024 } };
	struct blk_io ios[] = {
		{ .dev = d, .op = BLK_READ, .iov = odd, .nr_iov = 2 },
		{ .dev = d, .op = BLK_READ, .iov = huge, .nr_iov = 2 },
	};

	ck_assert_int_eq(blk_run(ios, 2), -EINVAL);
	ck_assert_int_eq(ios[0].err, -EINVAL);
	ck_assert_int_eq(ios[1].err, -EINVAL);
	blk_close(d);
}
END_TEST

START_TEST(a_read_only_device_refuses_what_writes)
{
	struct blk_dev *d = must_open("trace:mem:64k", &(struct blk_open_opts){ .read_only = true });
	char buf[512];

	ck_assert(blk_is_read_only(d));
	ck_assert_int_eq(blk_write(d, 0, buf, 512), -EROFS);
	ck_assert_int_eq(blk_discard(d, 0, 1), -EROFS);
	ck_assert_int_eq(blk_zero(d, 0, 1), -EROFS);
	ck_assert_int_eq(blk_read(d, 0, buf, 512), 0);
	ck_assert_int_eq(blk_flush(d), 0);
	blk_close(d);
}
END_TEST

START_TEST(a_request_of_no_bytes_is_done_at_once)
{
	struct blk_dev *d = must_open("fault:fail:mem:64k", NULL);

	ck_assert_int_eq(blk_read(d, 128, NULL, 0), 0);
	ck_assert_int_eq(blk_discard(d, 0, 0), 0);
	blk_close(d);
}
END_TEST

START_TEST(the_first_error_in_array_order_is_returned)
{
	struct blk_dev *good = must_open("mem:64k", NULL);
	struct blk_dev *full = must_open("fault:fail=ENOSPC:mem:64k", NULL);
	struct blk_dev *broken = must_open("fault:fail:mem:64k", NULL);
	struct blk_io ios[] = {
		{ .dev = good, .op = BLK_FLUSH, .err = 1 },
		{ .dev = full, .op = BLK_FLUSH, .err = 1 },
		{ .dev = broken, .op = BLK_FLUSH, .err = 1 },
		{ .dev = good, .op = BLK_DISCARD, .nr_sects = 1, .err = 1 },
	};

	ck_assert_int_eq(blk_run(ios, 4), -ENOSPC);
	ck_assert_int_eq(ios[0].err, 0);
	ck_assert_int_eq(ios[1].err, -ENOSPC);
	ck_assert_int_eq(ios[2].err, -EIO);
	ck_assert_int_eq(ios[3].err, 0);
	blk_close(good);
	blk_close(full);
	blk_close(broken);
}
END_TEST

START_TEST(counters_count_requests_bytes_and_errors)
{
	struct blk_dev *d = must_open("fault:write,fail,nth=2:mem:64k", NULL);
	struct blk_stats st;
	char buf[1024] = "";

	ck_assert_int_eq(blk_write(d, 0, buf, 1024), 0);
	ck_assert_int_eq(blk_write(d, 0, buf, 512), -EIO);
	ck_assert_int_eq(blk_read(d, 0, buf, 512), 0);
	ck_assert_int_eq(blk_flush(d), 0);
	blk_stats_get(d, &st);
	ck_assert_uint_eq(st.nr_ios[BLK_WRITE], 2);
	ck_assert_uint_eq(st.nr_bytes[BLK_WRITE], 1024);
	ck_assert_uint_eq(st.nr_ios[BLK_READ], 1);
	ck_assert_uint_eq(st.nr_ios[BLK_FLUSH], 1);
	ck_assert_uint_eq(st.nr_errors, 1);
	blk_stats_get(d->lower, &st);
	ck_assert_uint_eq(st.nr_ios[BLK_WRITE], 1);
	ck_assert_uint_eq(st.nr_errors, 0);
	blk_close(d);
}
END_TEST

START_TEST(a_batch_over_memory_and_files_moves_every_byte)
{
	enum { NR = 100 };	/* more than fit on the dispatcher's stack */
	struct blk_open_opts opts = { .create_bytes = NR * 512 };
	char *disk = image_path(0), *tmpfs = image_path(1);
	struct blk_dev *devs[4] = { must_open("mem:64k", NULL), must_open("trace:mem:64k", NULL),
				    must_open(disk, &opts), must_open(tmpfs, &opts) };
	static char out[NR][512], in[NR][512];
	struct blk_io ios[NR];
	struct iovec iov[NR];

	fill(out, sizeof(out), 1);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ out[i], 512 };
		ios[i] = (struct blk_io){ .dev = devs[i % 4], .op = BLK_WRITE, .sect = NR - 1 - i, .iov = &iov[i],
					  .nr_iov = 1, .err = 1 };
	}
	ck_assert_int_eq(blk_run(ios, NR), 0);
	for (unsigned i = 0; i < NR; i++) {
		iov[i].iov_base = in[i];
		ios[i].op = BLK_READ;
	}
	ck_assert_int_eq(blk_run(ios, NR), 0);
	ck_assert_mem_eq(in, out, sizeof(out));
	for (unsigned i = 0; i < 4; i++)
		blk_close(devs[i]);
	image_remove(disk);
	image_remove(tmpfs);
}
END_TEST

START_TEST(a_compound_gets_all_its_requests_in_one_call_also_through_filters)
{
	struct blk_dev *a = must_open("mem:64k", NULL), *b = must_open("mem:64k", NULL), *fault;
	struct mirror m;
	char buf[4][512], in[512];
	struct iovec iov[4];
	struct blk_io ios[4];

	mirror_init(&m, a, b);
	ck_assert_int_eq(blk_fault_new_rules(&m.dev, "write,flip,from=9", &fault), 0);
	fill(buf, sizeof(buf), 2);
	for (unsigned i = 0; i < 4; i++) {
		iov[i] = (struct iovec){ buf[i], 512 };
		ios[i] = (struct blk_io){ .dev = i % 2 ? fault : &m.dev, .op = BLK_WRITE, .sect = i, .iov = &iov[i],
					  .nr_iov = 1, .err = 1 };
	}
	ck_assert_int_eq(blk_run(ios, 4), 0);
	ck_assert_uint_eq(m.nr_runs, 1);
	ck_assert_uint_eq(m.nr_requests, 4);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(blk_read(b, i, in, 512), 0);
		ck_assert_mem_eq(in, buf[i], 512);
	}
	blk_close(fault);
	blk_close(a);
	blk_close(b);
}
END_TEST

/* A filter that shifts requests by a sector and writes down when it was called. */
struct shift {
	struct blk_dev dev;
	char name;
	char **log;
};

static bool shift_before(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	struct shift *s = container_of(d, struct shift, dev);

	ck_assert_ptr_null(state->ptr);
	state->u64 = io->sect + 1;
	*(*s->log)++ = s->name;
	io->sect++;
	return false;
}

static void shift_after(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	struct shift *s = container_of(d, struct shift, dev);

	ck_assert_uint_eq(state->u64, io->sect + 1);	/* as it was given, not as it was changed */
	ck_assert_ptr_eq(io->dev, d);
	*(*s->log)++ = (char)(s->name | 0x20);
	if (io->err == -EINVAL)
		io->err = -ERANGE;
}

static void shift_close(struct blk_dev *d)
{
	blk_dev_fini(d);
}

static const struct blk_ops shift_ops = { .name = "shift", .before = shift_before, .after = shift_after,
					  .close = shift_close };

START_TEST(stacked_filters_are_passed_downwards_and_back_in_reverse)
{
	char text[8] = "", *end = text, buf[512] = "x";
	struct shift a = { .name = 'A', .log = &end }, b = { .name = 'B', .log = &end };
	struct blk_dev *mem = must_open("mem:4k", NULL);

	ck_assert_int_eq(blk_filter_init(&b.dev, &shift_ops, mem), 0);
	ck_assert_int_eq(blk_filter_init(&a.dev, &shift_ops, &b.dev), 0);
	ck_assert_int_eq(blk_write(&a.dev, 1, buf, 512), 0);
	ck_assert_str_eq(text, "ABba");
	buf[0] = 0;
	ck_assert_int_eq(blk_read(mem, 3, buf, 512), 0);
	ck_assert_int_eq(buf[0], 'x');
	/* Sector 6 is 8 at the bottom, outside: the range is checked there again, and both filters hear of it. */
	end = text;
	ck_assert_int_eq(blk_read(&a.dev, 6, buf, 512), -ERANGE);
	ck_assert_str_eq(text, "ABba");
	blk_close(&a.dev);
}
END_TEST

START_TEST(zeroing_falls_back_to_writing_zeroes)
{
	enum { SECTS = 5000 };		/* of more than one iovec */
	struct blk_dev *d = must_open("fault:zero,fail=EOPNOTSUPP:mem:3m", NULL);
	char *buf = malloc((SECTS + 2) * 512);
	struct blk_stats st;

	memset(buf, 7, (SECTS + 2) * 512);
	ck_assert_int_eq(blk_write(d, 0, buf, (SECTS + 2) * 512), 0);
	ck_assert_int_eq(blk_zero(d, 1, SECTS), 0);
	ck_assert_int_eq(blk_read(d, 0, buf, (SECTS + 2) * 512), 0);
	ck_assert_int_eq(buf[511], 7);
	ck_assert_int_eq(buf[(SECTS + 1) * 512], 7);
	for (unsigned i = 512; i < (SECTS + 1) * 512; i++)
		ck_assert(!buf[i]);
	blk_stats_get(d, &st);
	ck_assert_uint_eq(st.nr_errors, 0);	/* not supported is no error of the device */
	free(buf);
	blk_close(d);
}
END_TEST

START_TEST(the_trace_filter_writes_requests_down)
{
	struct blk_dev *d = must_open("trace:mem:64k", NULL);
	char buf[512], *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	ck_assert_int_eq(blk_read(d, 5, buf, 512), 0);
	ck_assert_int_eq(blk_flush(d), 0);
	trace_to_text(out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "mem:64k read sect=5 n=1 err=0"));
	ck_assert_ptr_nonnull(strstr(text, "mem:64k flush sect=0 n=0 err=0"));
	free(text);
	blk_close(d);
}
END_TEST

START_TEST(a_tebibyte_of_memory_costs_what_is_written)
{
	struct blk_dev *d = must_open("mem:1t", NULL);
	uint64_t last = blk_nr_sects(d) - 1;
	char buf[1024], out[1024];

	ck_assert_uint_eq(last + 1, 1ull << 31);
	fill(out, sizeof(out), 3);
	ck_assert_int_eq(blk_write(d, last, out, 512), 0);
	ck_assert_int_eq(blk_write(d, 127, out, 1024), 0);		/* over the end of a piece */
	ck_assert_int_eq(blk_read(d, last - 1, buf, 1024), 0);
	ck_assert_int_eq(buf[0], 0);
	ck_assert_mem_eq(buf + 512, out, 512);
	ck_assert_int_eq(blk_read(d, 127, buf, 1024), 0);
	ck_assert_mem_eq(buf, out, 1024);
	ck_assert_int_eq(blk_discard(d, 0, last), 0);
	ck_assert_int_eq(blk_read(d, 127, buf, 1024), 0);
	ck_assert_int_eq(buf[0] | buf[600], 0);
	ck_assert_int_eq(blk_read(d, last, buf, 512), 0);
	ck_assert_mem_eq(buf, out, 512);
	blk_close(d);
}
END_TEST

START_TEST(memory_agrees_with_a_model)
{
	uint64_t seed = 100 + (uint64_t)_i;
	struct blk_dev *d = must_open(_i % 2 ? "mem:300k" : "trace:fault:read,fail,nth=99999999:mem:300k", NULL);
	struct rng r = { seed };
	struct model m;

	model_init(&m, d);
	for (unsigned n = 0; n < 300; n++)
		model_step(&m, &r, 0, blk_nr_sects(d), seed);
	model_compare(&m, seed);
	model_fini(&m);
	blk_close(d);
}
END_TEST

struct worker {
	struct model *model;
	uint64_t seed;
	sect_t sect;
	uint64_t nr_sects;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct rng r = { w->seed };

	for (unsigned n = 0; n < 150; n++)
		model_step(w->model, &r, w->sect, w->nr_sects, w->seed);
	return NULL;
}

/* Regions end within pieces and pages, so that neighbours meet there. */
START_TEST(four_threads_on_one_device_do_not_disturb_each_other)
{
	enum { NR_THREADS = 4, SECTS = 201 };
	struct blk_open_opts opts = { .create_bytes = NR_THREADS * SECTS * 512, .direct = _i == 3 };
	char *path = _i ? image_path(_i == 2) : NULL;
	struct blk_dev *d = must_open(path ? path : "mem:402k", &opts);
	struct worker w[NR_THREADS];
	pthread_t threads[NR_THREADS];
	struct model m;

	model_init(&m, d);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		w[i] = (struct worker){ &m, 200 + i, i * SECTS, SECTS };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	model_compare(&m, 200);
	model_fini(&m);
	blk_close(d);
	if (path)
		image_remove(path);
}
END_TEST

START_TEST(bad_names_are_refused_with_a_message)
{
	static const struct {
		const char *spec, *said;
		int err;
	} bad[] = {
		{ "", "missing", -EINVAL },
		{ "mem:", "mem:SIZE", -EINVAL },
		{ "mem:0", "mem:SIZE", -EINVAL },
		{ "mem:100", "mem:SIZE", -EINVAL },
		{ "mem:-1k", "mem:SIZE", -EINVAL },
		{ "mem:1kk", "mem:SIZE", -EINVAL },
		{ "mem:1x", "mem:SIZE", -EINVAL },
		{ "mem:99999999999t", "mem:SIZE", -EINVAL },
		{ "nfs://host/disk", "called nfs", -EINVAL },
		{ "fault:mem", "fault:RULES:DEVICE", -EINVAL },
		{ "fault:fail,bang:mem:1m", "\"bang\"", -EINVAL },
		{ "trace:trace:trace:trace:trace:trace:trace:trace:trace:mem:1m", "filters", -EINVAL },
		{ "/nonexistent/image", "/nonexistent/image: No such file", -ENOENT },
		{ "file:/nonexistent/image?direct", "/nonexistent/image: No such file", -ENOENT },
		{ "unheard:of", "unheard:of: No such file", -ENOENT },
		{ "/dev", "directory", -ENOTBLK },
		{ "/dev/null", "special file", -ENOTBLK },
	};

	capture_log();
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct blk_dev *d = (void *)1;

		ck_assert_msg(blk_open(bad[i].spec, NULL, &d) == bad[i].err, "%s", bad[i].spec);
		ck_assert_ptr_null(d);
		ck_assert_msg(strstr(last_message, bad[i].said), "%s: said %s", bad[i].spec, last_message);
	}
}
END_TEST

START_TEST(sizes_take_units_and_names_are_kept)
{
	struct blk_dev *d = must_open("trace:mem:3M", NULL);

	ck_assert_uint_eq(blk_nr_sects(d), 6144);
	ck_assert_str_eq(blk_name(d), "mem:3M");
	blk_set_optimal_bytes(d, 65536);
	ck_assert_uint_eq(blk_optimal_bytes(d), 65536);
	blk_close(d);
	blk_close(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blk");
	TCase *tc = tcase_create("dispatcher");
	SRunner *sr;
	int nr_failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_request_outside_the_device_is_refused_and_does_not_reach_it);
	tcase_add_test(tc, a_length_that_is_no_number_of_sectors_is_refused);
	tcase_add_test(tc, a_read_only_device_refuses_what_writes);
	tcase_add_test(tc, a_request_of_no_bytes_is_done_at_once);
	tcase_add_test(tc, the_first_error_in_array_order_is_returned);
	tcase_add_test(tc, counters_count_requests_bytes_and_errors);
	tcase_add_test(tc, a_batch_over_memory_and_files_moves_every_byte);
	tcase_add_test(tc, a_compound_gets_all_its_requests_in_one_call_also_through_filters);
	tcase_add_test(tc, stacked_filters_are_passed_downwards_and_back_in_reverse);
	tcase_add_test(tc, zeroing_falls_back_to_writing_zeroes);
	tcase_add_test(tc, the_trace_filter_writes_requests_down);
	tcase_add_test(tc, a_tebibyte_of_memory_costs_what_is_written);
	tcase_add_loop_test(tc, memory_agrees_with_a_model, 0, 4);
	tcase_add_loop_test(tc, four_threads_on_one_device_do_not_disturb_each_other, 0, 4);
	tcase_add_test(tc, bad_names_are_refused_with_a_message);
	tcase_add_test(tc, sizes_take_units_and_names_are_kept);
	suite_add_tcase(s, tc);
	add_file_tests(s);
	add_fault_tests(s);
	add_record_tests(s);

	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	nr_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return nr_failed != 0;
}
