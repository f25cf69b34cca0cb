/* test_raid_io.c: healthy arrays: contents, parity on the disks, and what requests cost. */
#include "test_raid.h"

#include <pthread.h>
#include <stdlib.h>

#include "raid/parity.h"

START_TEST(random_batches_read_back_and_parity_is_right)
{
	struct tarray *t = tarray_new(&tconfs[_i], 1000 + (uint64_t)_i);

	for (unsigned round = 0; round < 3; round++) {
		tarray_write_random(t, 12);
		tarray_compare(t);
		tarray_check_disks(t);
	}
	tarray_reassemble(t);
	tarray_compare(t);
	tarray_free(t);
}
END_TEST

START_TEST(zeroes_and_discards_keep_parity_right)
{
	struct tarray *t = tarray_new(&tconfs[_i], 2000 + (uint64_t)_i);

	for (unsigned round = 0; round < 8; round++) {
		sect_t sect = rng_below(&t->rng, t->nr_sects);
		uint64_t nr = 1 + rng_below(&t->rng, t->nr_sects - sect);

		tarray_write_random(t, 3);
		if (round % 2) {
			ck_assert_int_eq(blk_zero(raid_dev(t->r), sect, nr), 0);
			memset(t->flat + sect * SECT_BYTES, 0, nr * SECT_BYTES);
			tarray_compare(t);
		} else {
			ck_assert_int_eq(blk_discard(raid_dev(t->r), sect, nr), 0);
			ck_assert_int_eq(blk_read(raid_dev(t->r), sect, t->flat + sect * SECT_BYTES, nr * SECT_BYTES), 0);
		}
		if (t->conf.level >= RAID_4 && t->conf.level <= RAID_6)
			tarray_check_disks(t);
	}
	tarray_free(t);
}
END_TEST

static const struct tconf raid5 = { .level = RAID_5, .nr_disks = 5, .chunk_sects = 64, .rows = 20 };
static const struct tconf raid6 = { .level = RAID_6, .nr_disks = 6, .chunk_sects = 64, .rows = 20 };

static void count(struct tarray *t, unsigned *nr_reads, unsigned *nr_writes)
{
	*nr_reads = *nr_writes = 0;
	for (unsigned i = 0; i < t->nr_devs; i++) {
		*nr_reads += t->disks[i].nr_reads;
		*nr_writes += t->disks[i].nr_writes;
		t->disks[i].nr_reads = t->disks[i].nr_writes = 0;
	}
}

/* Stripes written by small requests, as the cache's write-back hands them over. */
START_TEST(whole_stripes_of_small_requests_are_written_without_reading)
{
	struct tarray *t = tarray_new(_i ? &raid6 : &raid5, 1);
	enum { NR = 4 * 64 * 3 / 8 };
	static uint8_t data[NR][4096];
	struct iovec iov[NR];
	struct blk_io ios[NR];
	unsigned nr_reads, nr_writes;

	ck_assert_int_eq(tarray_write(t, 0, 1), 0);	/* the array is active now */
	count(t, &nr_reads, &nr_writes);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ data[i], sizeof(data[i]) };
		ios[i] = (struct blk_io){ .dev = raid_dev(t->r), .op = BLK_WRITE, .sect = 4 * 64 + i * 8, .iov = &iov[i],
					  .nr_iov = 1 };
		rng_fill(&t->rng, data[i], sizeof(data[i]));
		memcpy(t->flat + ios[i].sect * SECT_BYTES, data[i], sizeof(data[i]));
	}
	ck_assert_int_eq(blk_run(ios, NR), 0);
	count(t, &nr_reads, &nr_writes);
	ck_assert_uint_eq(nr_reads, 0);
	ck_assert_uint_eq(nr_writes, 3 * t->nr_devs);
	tarray_compare(t);
	tarray_check_disks(t);
	tarray_free(t);
}
END_TEST

START_TEST(a_small_write_takes_the_cheaper_way)
{
	static const struct {
		uint32_t row, nr_sects;
		unsigned nr_reads[2], nr_writes[2];	/* RAID 5 of 4 + 1, RAID 6 of 4 + 2 */
	} cases[] = {
		{ 0, 8, { 2, 3 }, { 2, 3 } },		/* one of four: its old data and parity; for Q the others are as good */
		{ 60, 8, { 4, 6 }, { 4, 6 } },		/* two chunks, but in rows of their own */
		{ 0, 128, { 2, 2 }, { 3, 4 } },		/* two of four */
		{ 0, 192, { 1, 1 }, { 4, 5 } },		/* three of four: the fourth */
		{ 0, 256, { 0, 0 }, { 5, 6 } },
	};

	for (unsigned level = 0; level < 2; level++) {
		struct tarray *t = tarray_new(level ? &raid6 : &raid5, 2);

		ck_assert_int_eq(tarray_write(t, 0, 1), 0);
		for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
			unsigned nr_reads, nr_writes;

			count(t, &nr_reads, &nr_writes);
			ck_assert_int_eq(tarray_write(t, 4 * 64 * 2 + cases[i].row, cases[i].nr_sects), 0);
			count(t, &nr_reads, &nr_writes);
			must_msg(nr_reads == cases[i].nr_reads[level] && nr_writes == cases[i].nr_writes[level],
				      "level %d case %u: %u reads, %u writes", t->conf.level, i, nr_reads, nr_writes);
		}
		tarray_compare(t);
		tarray_check_disks(t);
		tarray_free(t);
	}
}
END_TEST

START_TEST(mirrors_share_reads_and_a_sequential_reader_stays_on_one)
{
	struct tarray *t = tarray_new(&(struct tconf){ .level = RAID_1, .nr_disks = 2, .rows = 1000 }, 3);
	static uint8_t buf[1 << 20];
	unsigned first;

	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(blk_read(raid_dev(t->r), i * 8, buf, 4096), 0);
	first = t->disks[0].nr_reads > t->disks[1].nr_reads ? 0 : 1;
	ck_assert_uint_ge(t->disks[first].nr_reads, 20);
	ck_assert_uint_lt(t->disks[!first].nr_reads, 10);	/* the superblock */
	t->disks[0].nr_reads = t->disks[1].nr_reads = 0;
	ck_assert_int_eq(blk_read(raid_dev(t->r), 0, buf, sizeof(buf)), 0);
	ck_assert_uint_gt(t->disks[0].nr_reads, 0);
	ck_assert_uint_gt(t->disks[1].nr_reads, 0);
	tarray_free(t);
}
END_TEST

START_TEST(a_flush_reaches_every_member)
{
	struct tarray *t = tarray_new(&tconfs[_i], 4);

	for (unsigned i = 0; i < t->nr_devs; i++)
		t->disks[i].nr_flushes = 0;
	ck_assert_int_eq(blk_flush(raid_dev(t->r)), 0);
	for (unsigned i = 0; i < t->nr_devs; i++)
		ck_assert_uint_eq(t->disks[i].nr_flushes, 1);
	tarray_free(t);
}
END_TEST

/* Four threads write interleaved sectors of the same stripes; a fifth reads. */
struct writer {
	struct tarray *t;
	unsigned nr;
	struct rng rng;
};

static void *write_interleaved(void *arg)
{
	struct writer *w = arg;
	uint8_t buf[SECT_BYTES * 3];

	for (unsigned i = 0; i < 150; i++) {
		sect_t sect = rng_below(&w->rng, w->t->nr_sects / 16) * 16 + w->nr * 4;
		uint32_t nr = 1 + (uint32_t)rng_below(&w->rng, 3);

		if (sect + nr > w->t->nr_sects)
			continue;
		rng_fill(&w->rng, buf, nr * SECT_BYTES);
		memcpy(w->t->flat + sect * SECT_BYTES, buf, nr * SECT_BYTES);
		if (blk_write(raid_dev(w->t->r), sect, buf, nr * SECT_BYTES))
			abort();
		if (i % 16 == 0 && blk_flush(raid_dev(w->t->r)))
			abort();
	}
	return NULL;
}

START_TEST(writers_of_the_same_stripes_leave_parity_right)
{
	static const struct tconf confs[] = {
		{ .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 9 },
		{ .level = RAID_6, .nr_disks = 5, .chunk_sects = 8, .rows = 9 },
		{ .level = RAID_10, .nr_disks = 4, .chunk_sects = 8, .rows = 9 },
	};
	struct tarray *t = tarray_new(&confs[_i], 5);
	struct writer w[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++) {
		w[i] = (struct writer){ .t = t, .nr = i, .rng = { 100 + i } };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_interleaved, &w[i]), 0);
	}
	for (unsigned i = 0; i < 50; i++)
		ck_assert_int_eq(raid_idle(t->r), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	tarray_compare(t);
	tarray_check_disks(t);
	tarray_free(t);
}
END_TEST

START_TEST(iovecs_that_end_within_sectors_work)
{
	struct tarray *t = tarray_new(&raid5, 6);
	uint8_t a[700], b[324 + 1024], c[2048];
	struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) } };
	struct blk_io io = { .dev = raid_dev(t->r), .op = BLK_WRITE, .sect = 9, .iov = iov, .nr_iov = 2 };

	rng_fill(&t->rng, a, sizeof(a));
	rng_fill(&t->rng, b, sizeof(b));
	ck_assert_int_eq(blk_run(&io, 1), 0);
	ck_assert_int_eq(blk_read(raid_dev(t->r), 9, c, sizeof(c)), 0);
	must(!memcmp(c, a, sizeof(a)) && !memcmp(c + sizeof(a), b, sizeof(b)));
	memset(a, 0, sizeof(a));
	io.op = BLK_READ;
	ck_assert_int_eq(blk_run(&io, 1), 0);
	must(!memcmp(c, a, sizeof(a)) && !memcmp(c + sizeof(a), b, sizeof(b)));
	tarray_free(t);
}
END_TEST

/* The bytes of one position, by the definition. */
static uint8_t mul(uint8_t a, uint8_t b)
{
	uint8_t v = 0;

	for (; b; b >>= 1, a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1d : 0)))
		v ^= b & 1 ? a : 0;
	return v;
}

START_TEST(every_loss_is_recovered_from_what_is_left)
{
	enum { LEN = 512, MAX = 10 };
	static _Alignas(64) uint8_t data[MAX + 2][LEN + 64], out[2][LEN];
	struct rng rng = { 77 };

	for (unsigned nr_data = 2; nr_data <= MAX; nr_data++) {
		unsigned shift = nr_data % 2 ? 1 : 0;	/* odd counts at odd addresses */
		void *src[MAX + 2];

		for (unsigned i = 0; i < nr_data + 2; i++)
			src[i] = data[i] + shift;
		for (unsigned i = 0; i < nr_data; i++)
			rng_fill(&rng, src[i], LEN);
		parity_gen(LEN, nr_data, src, src[nr_data], src[nr_data + 1]);
		for (unsigned at = 0; at < LEN; at++) {
			uint8_t p = 0, q = 0;

			for (unsigned e = 0; e < nr_data; e++) {
				uint8_t d = ((uint8_t *)src[e])[at];

				p ^= d;
				q ^= mul(parity_power(e), d);
			}
			must(((uint8_t *)src[nr_data])[at] == p && ((uint8_t *)src[nr_data + 1])[at] == q);
		}
		for (unsigned x = 0; x < nr_data; x++)
			for (unsigned y = x; y < nr_data; y++)
				for (unsigned have_p = 0; have_p < 2; have_p++) {
					unsigned lost[] = { x, y }, nr_lost = x == y ? 1 : 2;
					void *dst[] = { out[0], out[1] };
					uint8_t coefs[2 * (MAX + 2)];
					struct parity_matrix m;

					if (nr_lost == 2 && !have_p)
						continue;
					parity_recover(nr_data, nr_lost, lost, have_p, coefs);
					must(coefs[x] == 0 && coefs[y] == 0);
					parity_matrix_init(&m, nr_data + 2, nr_lost, coefs);
					parity_combine(&m, LEN, src, dst);
					must(!memcmp(out[0], src[x], LEN));
					must(nr_lost == 1 || !memcmp(out[1], src[y], LEN));
				}
	}
}
END_TEST

Suite *raid_io_suite(void)
{
	Suite *s = suite_create("raid_io");
	TCase *tc = tcase_create("io");

	tcase_set_tags(tc, "threads");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, every_loss_is_recovered_from_what_is_left);
	tcase_add_loop_test(tc, random_batches_read_back_and_parity_is_right, 0, (int)nr_tconfs);
	tcase_add_loop_test(tc, zeroes_and_discards_keep_parity_right, 0, (int)nr_tconfs);
	tcase_add_loop_test(tc, whole_stripes_of_small_requests_are_written_without_reading, 0, 2);
	tcase_add_test(tc, a_small_write_takes_the_cheaper_way);
	tcase_add_test(tc, mirrors_share_reads_and_a_sequential_reader_stays_on_one);
	tcase_add_loop_test(tc, a_flush_reaches_every_member, 0, (int)nr_tconfs);
	tcase_add_loop_test(tc, writers_of_the_same_stripes_leave_parity_right, 0, 3);
	tcase_add_test(tc, iovecs_that_end_within_sectors_work);
	suite_add_tcase(s, tc);
	return s;
}
