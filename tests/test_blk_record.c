/* test_blk_record.c: the recording filter: what it keeps, in which order, in which format. */
#include "test_blk.h"

#include <stdlib.h>
#include <unistd.h>

#include "blk/blk_record.h"

static struct blk_dev *recorded(struct blk_tape *t, unsigned dev, const char *lower)
{
	struct blk_dev *d;

	ck_assert_int_eq(blk_record_new(must_open(lower, NULL), t, dev, &d), 0);
	return d;
}

static struct blk_tape *new_tape(void)
{
	struct blk_tape *t;

	ck_assert_int_eq(blk_tape_new(&t), 0);
	return t;
}

/* The tape as text, a line a record; malloc'ed. */
static char *tape_text(const struct blk_tape *t)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = 0; i < blk_tape_nr(t); i++) {
		blk_rec_to_text(blk_tape_get(t, i), out);
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

/* Carries out what the tape says of one device. */
static void replay(const struct blk_tape *t, unsigned dev, uint8_t *to)
{
	for (size_t i = 0; i < blk_tape_nr(t); i++) {
		const struct blk_rec *r = blk_tape_get(t, i);

		if (r->dev != dev || !blk_rec_is_write(r))
			continue;
		if (r->data)
			memcpy(to + (r->sect << SECT_SHIFT), r->data, r->nr_sects << SECT_SHIFT);
		else
			memset(to + (r->sect << SECT_SHIFT), 0, r->nr_sects << SECT_SHIFT);
	}
}

START_TEST(the_order_goes_over_all_devices_of_a_tape)
{
	struct blk_tape *t = new_tape();
	struct blk_dev *a = recorded(t, 0, "mem:64k"), *b = recorded(t, 1, "mem:64k");
	char buf[1024] = "x", *text;

	ck_assert_int_eq(blk_write(a, 4, buf, 1024), 0);
	ck_assert_int_eq(blk_write(b, 5, buf, 512), 0);
	ck_assert_int_eq(blk_read(b, 5, buf, 512), 0);
	blk_tape_mark(t, "fsync of %s", "x");
	ck_assert_int_eq(blk_flush(a), 0);
	ck_assert_int_eq(blk_discard(b, 8, 2), 0);
	ck_assert_int_eq(blk_zero(b, 9, 1), 0);
	ck_assert_int_eq(blk_write(b, 128, buf, 512), -EINVAL);
	text = tape_text(t);
	ck_assert_str_eq(text, "1 dev 0 write sect=4 n=2\n2 dev 1 write sect=5 n=1\n3 mark \"fsync of x\"\n"
			 "4 dev 0 flush\n5 dev 1 discard sect=8 n=2\n6 dev 1 zero sect=9 n=1\n");
	free(text);
	blk_close(a);
	blk_close(b);
	ck_assert_int_eq(blk_tape_error(t), 0);
	blk_tape_free(t);
}
END_TEST

/* T1: a flush says nothing of the writes that were under way beside it. */
START_TEST(requests_of_one_batch_are_known_to_have_been_under_way_together)
{
	struct blk_tape *t = new_tape();
	struct blk_dev *d = recorded(t, 0, "mem:64k");
	char buf[512] = "x";
	struct iovec iov = { buf, 512 };
	struct blk_io ios[] = {
		{ .dev = d, .op = BLK_WRITE, .sect = 1, .iov = &iov, .nr_iov = 1 },
		{ .dev = d, .op = BLK_WRITE, .sect = 2, .iov = &iov, .nr_iov = 1, .flags = BLK_FUA },
		{ .dev = d, .op = BLK_FLUSH },
	};

	ck_assert_int_eq(blk_write(d, 0, buf, 512), 0);
	ck_assert_int_eq(blk_run(ios, 3), 0);
	ck_assert_uint_eq(blk_tape_nr(t), 4);
	for (size_t i = 1; i < 4; i++)
		ck_assert_uint_eq(blk_tape_get(t, i)->began, 2);
	ck_assert_uint_lt(blk_tape_get(t, 0)->seq, 2);
	ck_assert_uint_ge(blk_tape_get(t, 1)->seq, 2);
	ck_assert_uint_eq(blk_tape_get(t, 2)->flags, BLK_LOG_FUA);
	blk_close(d);
	blk_tape_free(t);
}
END_TEST

START_TEST(what_failed_is_not_recorded)
{
	struct blk_tape *t = new_tape();
	struct blk_dev *d = recorded(t, 0, "fault:write,fail,nth=2:mem:64k");
	char buf[512] = "x";

	ck_assert_int_eq(blk_write(d, 0, buf, 512), 0);
	ck_assert_int_eq(blk_write(d, 1, buf, 512), -EIO);
	ck_assert_int_eq(blk_write(d, 2, buf, 512), 0);
	ck_assert_uint_eq(blk_tape_nr(t), 2);
	blk_close(d);
	blk_tape_free(t);
}
END_TEST

START_TEST(replaying_a_tape_gives_the_device)
{
	struct blk_tape *t = new_tape();
	struct blk_dev *d = recorded(t, 3, "mem:1m");
	struct rng r = { 11 };
	uint8_t *copy = calloc(1, 1 << 20);
	struct model m;

	model_init(&m, d);
	for (unsigned i = 0; i < 200; i++)
		model_step(&m, &r, 0, blk_nr_sects(d), 11);
	replay(t, 3, copy);
	ck_assert(!memcmp(copy, m.ref, 1 << 20));
	model_fini(&m);
	blk_close(d);
	blk_tape_free(t);
	free(copy);
}
END_TEST

START_TEST(a_tape_that_was_saved_and_loaded_says_the_same)
{
	struct blk_tape *t = new_tape(), *again = new_tape();
	struct blk_dev *a = recorded(t, 0, "mem:64k"), *b = recorded(t, 1, "mem:64k");
	char *path[2] = { image_path(0), image_path(0) }, *text[2];
	uint8_t buf[4096];

	for (unsigned i = 0; i < 40; i++) {
		fill(buf, sizeof(buf), i);
		ck_assert_int_eq(blk_write(i % 3 ? a : b, i, buf, (1 + i % 8) * 512), 0);
		if (i % 7 == 0)
			blk_tape_mark(t, "mark %u", i);
		if (i % 5 == 0)
			ck_assert_int_eq(blk_flush(i % 2 ? a : b), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(blk_tape_save(t, i, path[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(blk_tape_load(again, i, path[i]), 0);
	text[0] = tape_text(t);
	text[1] = tape_text(again);
	ck_assert_str_eq(text[0], text[1]);
	for (size_t i = 0; i < blk_tape_nr(t); i++) {
		const struct blk_rec *x = blk_tape_get(t, i), *y = blk_tape_get(again, i);

		ck_assert(!x->nr_sects || !memcmp(x->data, y->data, x->nr_sects << SECT_SHIFT));
	}
	capture_log();
	ck_assert_int_eq(blk_tape_save(t, 0, path[0]), -EEXIST);
	for (unsigned i = 0; i < 2; i++) {
		free(text[i]);
		image_remove(path[i]);
	}
	blk_close(a);
	blk_close(b);
	blk_tape_free(t);
	blk_tape_free(again);
}
END_TEST

/* Byte for byte what Linux's dm-log-writes would have written, where that writes something. */
START_TEST(a_log_file_has_the_format_of_dm_log_writes)
{
	char *path = image_path(0), spec[256];
	uint8_t buf[1024], log[6 * 512];
	struct blk_dev *d;
	FILE *f;

	snprintf(spec, sizeof(spec), "record:%s:mem:64k", path);
	d = must_open(spec, NULL);
	fill(buf, sizeof(buf), 1);
	ck_assert_int_eq(blk_write(d, 7, buf, 1024), 0);
	ck_assert_int_eq(blk_flush(d), 0);
	ck_assert_int_eq(blk_discard(d, 16, 8), 0);
	blk_close(d);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fread(log, 1, sizeof(log), f), sizeof(log));
	ck_assert_int_eq(fgetc(f), EOF);
	fclose(f);
	ck_assert(!memcmp(log, "rhswfsj\0" "\1\0\0\0\0\0\0\0" "\3\0\0\0\0\0\0\0" "\0\2\0\0", 28));
	ck_assert(!memcmp(log + 512, "\7\0\0\0\0\0\0\0" "\2\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0", 32));
	ck_assert(!memcmp(log + 1024, buf, 1024));
	ck_assert(!memcmp(log + 2048, "\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\1\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0", 32));
	ck_assert(!memcmp(log + 2560, "\20\0\0\0\0\0\0\0" "\10\0\0\0\0\0\0\0" "\4\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0", 32));
	image_remove(path);
}
END_TEST

/* As the kernel writes them: nothing behind the heads, flush and FUA on one request. */
START_TEST(a_log_of_linux_is_read)
{
	static const uint8_t log[4 * 512] = {
		[0] = 'r', 'h', 's', 'w', 'f', 's', 'j', 0, 1, [16] = 2, [25] = 2,
		[512] = 9, [520] = 1, [528] = BLK_LOG_FLUSH | BLK_LOG_FUA | BLK_LOG_METADATA, [1024] = 'd',
		[1536] = 0, [1552] = BLK_LOG_MARK, [1560] = 4, [1568] = 'm', 'a', 'r', 'k',
	};
	char *path = image_path(0), *text;
	struct blk_tape *t = new_tape();
	FILE *f = fopen(path, "w");

	ck_assert_uint_eq(fwrite(log, 1, sizeof(log), f), sizeof(log));
	fclose(f);
	ck_assert_int_eq(blk_tape_load(t, 0, path), 0);
	text = tape_text(t);
	ck_assert_str_eq(text, "1 dev 0 flush\n1 dev 0 write+fua sect=9 n=1\n2 mark \"mark\"\n");
	ck_assert_int_eq(blk_tape_get(t, 1)->data[0], 'd');
	free(text);
	blk_tape_free(t);
	image_remove(path);
}
END_TEST

START_TEST(what_is_no_log_is_refused_with_the_place)
{
	static const struct { unsigned at; uint8_t value; const char *said; } cases[] = {
		{ 0, 'x', "magic" }, { 8, 2, "version" }, { 24, 1, "size of a sector" }, { 16, 3, "the log ends too early" },
		{ 527, 0xff, "record 0: impossible" }, { 520, 200, "record 0: the log ends within" },
	};
	uint8_t good[3 * 512] = { 'r', 'h', 's', 'w', 'f', 's', 'j', 0, 1, [16] = 1, [25] = 2, [512] = 1, [520] = 1 };

	capture_log();
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		char *path = image_path(0);
		struct blk_tape *t = new_tape();
		uint8_t log[sizeof(good)];
		FILE *f = fopen(path, "w");

		memcpy(log, good, sizeof(log));
		log[cases[i].at] = cases[i].value;
		ck_assert_uint_eq(fwrite(log, 1, sizeof(log), f), sizeof(log));
		fclose(f);
		ck_assert_int_eq(blk_tape_load(t, 0, path), -EUCLEAN);
		ck_assert_msg(strstr(last_message, cases[i].said), "%u: said %s", i, last_message);
		blk_tape_free(t);
		image_remove(path);
	}
}
END_TEST

START_TEST(a_log_that_exists_is_not_overwritten)
{
	char *path = image_path(0), spec[256];
	struct blk_dev *d;

	snprintf(spec, sizeof(spec), "record:%s:mem:64k", path);
	blk_close(must_open(spec, NULL));
	capture_log();
	ck_assert_int_eq(blk_open(spec, NULL, &d), -EEXIST);
	ck_assert_ptr_null(d);
	ck_assert_int_eq(blk_open("record:only", NULL, &d), -EINVAL);
	ck_assert_str_eq(last_message, "record:only: wanted record:LOGFILE:DEVICE");
	image_remove(path);
}
END_TEST

void add_record_tests(Suite *s)
{
	TCase *tc = tcase_create("record");

	tcase_add_test(tc, the_order_goes_over_all_devices_of_a_tape);
	tcase_add_test(tc, requests_of_one_batch_are_known_to_have_been_under_way_together);
	tcase_add_test(tc, what_failed_is_not_recorded);
	tcase_add_test(tc, replaying_a_tape_gives_the_device);
	tcase_add_test(tc, a_tape_that_was_saved_and_loaded_says_the_same);
	tcase_add_test(tc, a_log_file_has_the_format_of_dm_log_writes);
	tcase_add_test(tc, a_log_of_linux_is_read);
	tcase_add_test(tc, what_is_no_log_is_refused_with_the_place);
	tcase_add_test(tc, a_log_that_exists_is_not_overwritten);
	suite_add_tcase(s, tc);
}
