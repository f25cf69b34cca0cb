/* test_base.c: types and byte order, lists, checksums, generator. */
#include "test_base.h"

#include <stdlib.h>

#include "base/crc.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/size.h"
#include "base/types.h"

/* ---- types --------------------------------------------------------------- */

START_TEST(disk_integers_lie_in_their_byte_order)
{
	le16 l16 = le16_of(0x0102);
	le32 l32 = le32_of(0x01020304);
	le64 l64 = le64_of(0x0102030405060708);
	be16 b16 = be16_of(0x0102);
	be32 b32 = be32_of(0x01020304);
	be64 b64 = be64_of(0x0102030405060708);

	ck_assert_mem_eq(&l16, "\2\1", 2);
	ck_assert_mem_eq(&l32, "\4\3\2\1", 4);
	ck_assert_mem_eq(&l64, "\10\7\6\5\4\3\2\1", 8);
	ck_assert_mem_eq(&b16, "\1\2", 2);
	ck_assert_mem_eq(&b32, "\1\2\3\4", 4);
	ck_assert_mem_eq(&b64, "\1\2\3\4\5\6\7\10", 8);
}
END_TEST

START_TEST(disk_integers_come_back_as_they_went)
{
	struct rng r = { 1 };

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t v = rng_next(&r);

		ck_assert_uint_eq(le16_get(le16_of((uint16_t)v)), (uint16_t)v);
		ck_assert_uint_eq(le32_get(le32_of((uint32_t)v)), (uint32_t)v);
		ck_assert_uint_eq(le64_get(le64_of(v)), v);
		ck_assert_uint_eq(be16_get(be16_of((uint16_t)v)), (uint16_t)v);
		ck_assert_uint_eq(be32_get(be32_of((uint32_t)v)), (uint32_t)v);
		ck_assert_uint_eq(be64_get(be64_of(v)), v);
	}
}
END_TEST

START_TEST(rounding_keeps_the_width_of_its_operand)
{
	uint64_t big = 0x123456789abcd;

	ck_assert_uint_eq(ALIGN_UP(big, 4096), 0x123456789b000);
	ck_assert_uint_eq(ALIGN_DOWN(big, 4096ull), 0x123456789a000);
	ck_assert_uint_eq(ALIGN_UP(4096u, 4096), 4096);
	ck_assert_uint_eq(DIV_UP(big, big - 1), 2);
	ck_assert_uint_eq(DIV_UP(UINT64_MAX, (uint64_t)2), 1ull << 63);
	ck_assert_uint_eq(DIV_UP(0u, 5u), 0);
}
END_TEST

START_TEST(powers_of_two_are_known)
{
	ck_assert(!is_pow2(0));
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t n = 1ull << bit;

		ck_assert(is_pow2(n));
		ck_assert_uint_eq(log2_floor(n), bit);
		ck_assert_uint_eq(log2_floor(n | (n - 1)), bit);
		ck_assert(bit == 0 || !is_pow2(n | 1));
	}
}
END_TEST

/* ---- sizes --------------------------------------------------------------- */

START_TEST(sizes_are_numbers_with_a_unit)
{
	static const struct {
		const char *text;
		uint64_t bytes, in_kib;		/* 0: refused */
	} sizes[] = {
		{ "7", 7, 7 << 10 }, { "64k", 64 << 10, 64 << 10 }, { "3M", 3 << 20, 3 << 20 }, { "2g", 2ull << 30, 2ull << 30 },
		{ "16777215T", 16777215ull << 40, 16777215ull << 40 }, { "16777216t", 0, 0 }, { "8s", 0, 4096 },
		{ "18446744073709551615", UINT64_MAX, 0 }, { "18446744073709551616", 0, 0 }, { "", 0, 0 }, { "k", 0, 0 },
		{ "-1", 0, 0 }, { " 1", 0, 0 }, { "+1", 0, 0 }, { "1kk", 0, 0 }, { "1ks", 0, 0 }, { "1x", 0, 0 }, { "1 ", 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t n = 0;

		ck_assert_int_eq(size_parse(sizes[i].text, &n), sizes[i].bytes ? 0 : -EINVAL);
		ck_assert_uint_eq(n, sizes[i].bytes);
		n = 0;
		ck_assert_int_eq(size_parse_in(sizes[i].text, 1024, &n), sizes[i].in_kib ? 0 : -EINVAL);
		ck_assert_uint_eq(n, sizes[i].in_kib);
	}
}
END_TEST

/* ---- lists --------------------------------------------------------------- */

struct item {
	int nr;
	struct list link;
};

static void ck_list(struct list *head, const char *want)
{
	char text[32] = "";
	struct item *it;

	list_for_each(it, head, link) {
		size_t len = strlen(text);

		ck_assert_uint_lt(len, sizeof(text) - 1);
		text[len] = (char)('0' + it->nr);
		ck_assert_ptr_eq(it->link.next->prev, &it->link);
	}
	ck_assert_str_eq(text, want);
}

static void items_add(struct list *head, struct item *items, int nr)
{
	list_init(head);
	for (int i = 0; i < nr; i++) {
		items[i].nr = i;
		list_add_tail(head, &items[i].link);
	}
}

START_TEST(a_list_keeps_the_order_of_both_ends)
{
	struct item a = { .nr = 1 }, b = { .nr = 2 }, c = { .nr = 3 };
	struct list head;

	list_init(&head);
	ck_assert(list_is_empty(&head));
	ck_assert_ptr_null(list_first(&head, struct item, link));
	list_add(&head, &b.link);
	list_add(&head, &a.link);
	list_add_tail(&head, &c.link);
	ck_list(&head, "123");
	ck_assert_ptr_eq(list_first(&head, struct item, link), &a);
}
END_TEST

START_TEST(a_link_taken_off_may_be_taken_off_again)
{
	struct item items[3];
	struct list head;

	items_add(&head, items, 3);
	list_del(&items[1].link);
	ck_list(&head, "02");
	ck_assert(list_is_empty(&items[1].link));
	list_del(&items[1].link);
	ck_list(&head, "02");
	list_add_tail(&head, &items[1].link);
	ck_list(&head, "021");
}
END_TEST

START_TEST(the_safe_walk_survives_taking_all_off)
{
	struct item items[5], *it, *next;
	struct list head;
	int seen = 0;

	items_add(&head, items, 5);
	list_for_each_safe(it, next, &head, link) {
		ck_assert_int_eq(it->nr, seen++);
		list_del(&it->link);
	}
	ck_assert_int_eq(seen, 5);
	ck_assert(list_is_empty(&head));
}
END_TEST

START_TEST(splicing_moves_all_in_order)
{
	struct item a[2], b[3];
	struct list to, from, empty;

	items_add(&to, a, 2);
	items_add(&from, b, 3);
	list_init(&empty);
	list_splice_tail(&to, &from);
	ck_list(&to, "01012");
	ck_assert(list_is_empty(&from));
	list_splice_tail(&to, &empty);
	ck_list(&to, "01012");
	list_splice_tail(&empty, &to);
	ck_list(&empty, "01012");
	ck_assert(list_is_empty(&to));
}
END_TEST

/* ---- checksums ----------------------------------------------------------- */

/* The definition: reflected, one bit at a time. */
static uint32_t crc32c_by_bits(uint32_t crc, const uint8_t *p, size_t len_bytes)
{
	while (len_bytes--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

START_TEST(crc32c_goes_back_over_zeroes_and_meets_any_value)
{
	uint8_t buf[300] = { 0 };
	struct rng r = { 7 };

	for (unsigned n = 0; n < 300; n += 37) {
		const uint32_t crc = (uint32_t)rng_next(&r);

		memset(buf, 0, sizeof(buf));
		ck_assert_uint_eq(crc32c(crc32c_rewind(crc, n), buf, n), crc);
	}
	for (unsigned at = 0; at < 296; at += 41) {	/* four bytes at will */
		const uint32_t want = (uint32_t)rng_next(&r);
		le32 diff;

		rng_fill(&r, buf, sizeof(buf));
		memset(buf + at, 0, 4);
		diff = le32_of(crc32c_rewind(crc32c(~0u, buf, sizeof(buf)) ^ want, sizeof(buf) - at));
		memcpy(buf + at, &diff, 4);
		ck_assert_uint_eq(crc32c(~0u, buf, sizeof(buf)), want);
	}
}
END_TEST

START_TEST(crc32c_gives_the_known_values)
{
	uint8_t buf[32];

	ck_assert_uint_eq(crc32c(~0u, "123456789", 9), 0x1cf96d7c);
	ck_assert_uint_eq(~crc32c(~0u, "123456789", 9), 0xe3069283);
	/* RFC 3720, B.4 */
	memset(buf, 0, sizeof(buf));
	ck_assert_uint_eq(~crc32c(~0u, buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	ck_assert_uint_eq(~crc32c(~0u, buf, sizeof(buf)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	ck_assert_uint_eq(~crc32c(~0u, buf, sizeof(buf)), 0x46dd794e);
	ck_assert_uint_eq(crc32c(0x12345678, buf, 0), 0x12345678);
}
END_TEST

START_TEST(crc32c_equals_its_definition_at_any_place_and_length)
{
	struct rng r = { 7 };
	uint8_t buf[600];

	rng_fill(&r, buf, sizeof(buf));
	for (size_t len = 0; len < 512; len++) {
		size_t at = rng_below(&r, sizeof(buf) - len);
		uint32_t seed = (uint32_t)rng_next(&r);

		ck_assert_uint_eq(crc32c(seed, buf + at, len), crc32c_by_bits(seed, buf + at, len));
	}
}
END_TEST

START_TEST(checksums_go_on_where_they_stopped)
{
	struct rng r = { 8 };
	uint8_t buf[100];

	rng_fill(&r, buf, sizeof(buf));
	for (size_t cut = 0; cut <= sizeof(buf); cut++) {
		ck_assert_uint_eq(crc32c(crc32c(~0u, buf, cut), buf + cut, sizeof(buf) - cut),
				  crc32c(~0u, buf, sizeof(buf)));
		ck_assert_uint_eq(crc16(crc16(0xffff, buf, cut), buf + cut, sizeof(buf) - cut),
				  crc16(0xffff, buf, sizeof(buf)));
	}
}
END_TEST

START_TEST(crc16_gives_the_known_values)
{
	ck_assert_uint_eq(crc16(0xffff, "123456789", 9), 0x4b37);	/* as in MODBUS */
	ck_assert_uint_eq(crc16(0, "123456789", 9), 0xbb3d);		/* as in ARC */
	ck_assert_uint_eq(crc16(0x1234, "", 0), 0x1234);
}
END_TEST

/* ---- generator ----------------------------------------------------------- */

START_TEST(the_generator_is_splitmix64)
{
	struct rng r = { 0 };

	ck_assert_uint_eq(rng_next(&r), 0xe220a8397b1dcdaf);
	ck_assert_uint_eq(rng_next(&r), 0x6e789e6aa1b965f4);
	r = (struct rng){ 1234567 };
	ck_assert_uint_eq(rng_next(&r), 6457827717110365317u);
}
END_TEST

START_TEST(filling_writes_the_asked_bytes_only)
{
	for (size_t len = 0; len < 40; len++) {
		struct rng r = { 3 }, again = { 3 };
		uint8_t buf[64], want[64];

		memset(buf, 0xee, sizeof(buf));
		memset(want, 0xee, sizeof(want));
		rng_fill(&r, buf, len);
		for (size_t i = 0; i < len; i += 8) {
			uint64_t v = rng_next(&again);

			memcpy(want + i, &v, MIN((size_t)8, len - i));
		}
		ck_assert_mem_eq(buf, want, sizeof(buf));
	}
}
END_TEST

static Suite *base_suite(void)
{
	Suite *suite = suite_create("base");
	TCase *data = tcase_create("data");

	tcase_add_test(data, disk_integers_lie_in_their_byte_order);
	tcase_add_test(data, disk_integers_come_back_as_they_went);
	tcase_add_test(data, rounding_keeps_the_width_of_its_operand);
	tcase_add_test(data, powers_of_two_are_known);
	tcase_add_test(data, sizes_are_numbers_with_a_unit);
	tcase_add_test(data, a_list_keeps_the_order_of_both_ends);
	tcase_add_test(data, a_link_taken_off_may_be_taken_off_again);
	tcase_add_test(data, the_safe_walk_survives_taking_all_off);
	tcase_add_test(data, splicing_moves_all_in_order);
	tcase_add_test(data, crc32c_gives_the_known_values);
	tcase_add_test(data, crc32c_goes_back_over_zeroes_and_meets_any_value);
	tcase_add_test(data, crc32c_equals_its_definition_at_any_place_and_length);
	tcase_add_test(data, checksums_go_on_where_they_stopped);
	tcase_add_test(data, crc16_gives_the_known_values);
	tcase_add_test(data, the_generator_is_splitmix64);
	tcase_add_test(data, filling_writes_the_asked_bytes_only);

	suite_add_tcase(suite, data);
	add_lock_tests(suite);
	add_tell_tests(suite);
	return suite;
}

int main(void)
{
	SRunner *runner = srunner_create(base_suite());
	int nr_failed;

	srunner_run_all(runner, CK_ENV);
	nr_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
