/* test_jbd2_recover.c: what recovery brings back after power cuts, from all formats, from damaged and foreign logs. */
#include "base/crc.h"
#include "test_jbd2.h"

static const struct format *const v3 = &formats[4];

static void what_is_committed_comes_back_and_nothing_else_in(const struct format *f)
{
	struct jbd2_recovery st;
	struct jnl_handle h;

	log_start(f);
	for (unsigned round = 1; round <= 5; round++) {
		must_begin(&h, 40);
		for (pblk_t p = 10 * round; p < 10 * round + 40; p++)
			put_block(&h, p, round);
		must_end(&h);
		must_commit();
	}
	change_block(11, 77);
	power_cut();
	ck_assert_int_eq(jbd2_needs_recovery(&lg.opts), 1);
	ck_assert_int_eq(recover(&st), 0);
	ck_assert_uint_eq(st.nr_transactions, 5);
	for (pblk_t p = 10; p < 90; p++) {
		const unsigned newest = (unsigned)MIN(p / 10, (pblk_t)5);

		must_be(on_disk(p), p, newest);
	}
	ck_assert_int_eq(jbd2_needs_recovery(&lg.opts), 0);
	/* Again: nothing to do. And the journal goes on from there. */
	must_recover(0);
	log_open();
	change_block(11, 78);
	must_commit();
	power_cut();
	must_recover(1);
	must_be(on_disk(11), 11, 78);
	log_stop();
}

START_TEST(what_is_committed_comes_back_and_nothing_else)
{
	for (int i = 0; i < nr_formats; i++)
		what_is_committed_comes_back_and_nothing_else_in(&formats[i]);
}
END_TEST

static void a_block_that_looks_like_the_log_is_escaped_in(const struct format *f)
{
	const be32 magic = be32_of(JNL_MAGIC);
	struct cache_buf *b;
	struct jnl_handle h;

	log_start(f);
	must_begin(&h, 1);
	b = must_get(11);
	ck_assert_int_eq(jnl_get_write(&h, b), 0);
	memset(b->data, 0x5a, BLOCK);
	memcpy(b->data, &magic, sizeof(magic));
	jnl_dirty(&h, b);
	cache_put(b);
	must_end(&h);
	must_commit();
	power_cut();
	must_recover(1);
	ck_assert_mem_eq(on_disk(11), &magic, sizeof(magic));
	ck_assert_uint_eq(((uint8_t *)on_disk(11))[4], 0x5a);
	ck_assert_uint_eq(((uint8_t *)on_disk(11))[BLOCK - 1], 0x5a);
	log_stop();
}

START_TEST(a_block_that_looks_like_the_log_is_escaped)
{
	for (int i = 0; i < nr_formats; i++)
		a_block_that_looks_like_the_log_is_escaped_in(&formats[i]);
}
END_TEST

/* A block is logged, freed, and then file data that is written at home: the old copy must not come back. */
static void a_revoked_block_is_not_replayed_in(const struct format *f)
{
	struct jbd2_recovery st;
	struct jnl_handle h;

	log_start(f);
	change_block(11, 1);
	must_commit();
	must_begin(&h, 1);
	put_block(&h, 12, 1);
	jnl_forget(&h, 11, 1);
	must_end(&h);
	must_commit();
	write_blocks(11, 1, 9);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_DATA), 0);
	must_be(on_disk(11), 11, 9);
	power_cut();
	ck_assert_int_eq(recover(&st), 0);
	ck_assert_uint_eq(st.nr_revoked, 1);
	must_be(on_disk(11), 11, 9);
	must_be(on_disk(12), 12, 1);
	log_stop();
}

START_TEST(a_revoked_block_is_not_replayed)
{
	for (int i = 0; i < nr_formats; i++)
		a_revoked_block_is_not_replayed_in(&formats[i]);
}
END_TEST

static void a_revoke_reaches_back_not_forward_in(const struct format *f)
{
	struct jnl_handle h;

	log_start(f);
	change_block(11, 1);
	must_commit();
	must_begin(&h, 1);
	put_block(&h, 12, 1);
	jnl_forget(&h, 11, 1);
	must_end(&h);
	must_commit();
	change_block(11, 3);
	must_commit();
	power_cut();
	must_recover(3);
	must_be(on_disk(11), 11, 3);
	log_stop();
}

START_TEST(a_revoke_reaches_back_not_forward)
{
	for (int i = 0; i < nr_formats; i++)
		a_revoke_reaches_back_not_forward_in(&formats[i]);
}
END_TEST

/* More than one revoke block's worth. */
static void thousands_of_revokes_in(const struct format *f)
{
	enum { NR = 1500 };
	struct jbd2_recovery st;
	struct jnl_handle h;

	log_start(f);
	for (pblk_t p = 10; p < 10 + NR; p += 100) {
		must_begin(&h, 100);
		for (pblk_t k = p; k < p + 100; k++)
			put_block(&h, k, 1);
		must_end(&h);
	}
	must_begin(&h, 1);
	jnl_forget(&h, 10, NR);
	put_block(&h, 1900, 1);
	must_end(&h);
	must_commit();
	power_cut();
	ck_assert_int_eq(recover(&st), 0);
	ck_assert_uint_gt(st.nr_revoked, 0);
	must_be(on_disk(1900), 1900, 1);
	log_stop();
}

START_TEST(thousands_of_revokes)
{
	for (int i = 0; i < nr_formats; i++)
		thousands_of_revokes_in(&formats[i]);
}
END_TEST

static void sequence_numbers_wrap_in(const struct format *f)
{
	log_make(f);
	log_sb()->s_sequence = be32_of(0xfffffffau);
	log_sb_seal();
	log_open();
	for (unsigned round = 1; round <= 12; round++) {
		change_block(11, round);
		change_block(100 + round, round);
		must_commit();
	}
	power_cut();
	must_recover(12);
	must_be(on_disk(11), 11, 12);
	must_be(on_disk(112), 112, 12);
	must_be(on_disk(101), 101, 1);
	log_stop();
}

START_TEST(sequence_numbers_wrap)
{
	for (int i = 0; i < nr_formats; i++)
		sequence_numbers_wrap_in(&formats[i]);
}
END_TEST

/*
 * Random work, a ring that wraps many times, the power cut at a random moment: every block has the
 * version of its newest committed change.
 */
static void any_work_any_cut_in(const struct format *f)
{
	enum { NR = 600, CUTS = 12 };
	static unsigned newest[2000];
	const uint64_t seed = 1000 + (uint64_t)(f - formats);
	struct rng r = { seed };
	unsigned version = 0;

	memset(newest, 0, sizeof(newest));
	log_start(f);
	for (unsigned cut = 0; cut < CUTS; cut++) {
		const unsigned rounds = 5 + (unsigned)(rng_next(&r) % 40);

		for (unsigned k = 0; k < rounds; k++) {
			const unsigned nr = 1 + (unsigned)(rng_next(&r) % 50);
			const pblk_t from = 10 + rng_next(&r) % NR;
			struct jnl_handle h;

			must_begin(&h, nr);
			version++;
			for (unsigned i = 0; i < nr; i++) {
				put_block(&h, from + i, version);
				newest[from + i] = version;
			}
			must_end(&h);
			if (rng_next(&r) % 8 == 0)
				ck_assert_int_eq(cache_flush(fx.cache, CACHE_META), 0);
			must_commit();
		}
		change_block(11, 100000);	/* never committed */
		power_cut();
		ck_assert_int_eq(recover(&(struct jbd2_recovery){ 0 }), 0);
		for (pblk_t p = 10; p < 10 + NR + 50; p++)
			if (!block_is(on_disk(p), p, newest[p]))
				ck_abort_msg("seed %d, cut %u: block %" PRIu64 " is not its version %u", (int)seed, cut, p, newest[p]);
		log_open();
	}
	log_stop();
}

START_TEST(any_work_any_cut)
{
	for (int i = 0; i < nr_formats; i++)
		any_work_any_cut_in(&formats[i]);
}
END_TEST

/* Ends that are not whole ------------------------------------------------------------------- */

/* Two transactions of one block each: blocks 1 to 3 and 4 to 6 of the log. */
static void two_transactions(const struct format *f)
{
	log_start(f);
	change_block(11, 1);
	must_commit();
	change_block(12, 1);
	must_commit();
}

static void lose_the_last_record(void) { memset(log_block(6), 0, BLOCK); }
static void tear_the_last_record(void) { memset((uint8_t *)log_block(6) + 16, 0xff, 4); }
static void lose_the_last_descriptor(void) { memset(log_block(4), 0, BLOCK); }

static void a_transaction_without_its_record_did_not_happen_in(const struct format *f)
{
	two_transactions(f);
	power_cut_and(lose_the_last_record);
	must_recover(1);
	must_be(on_disk(11), 11, 1);
	must_be(on_disk(12), 12, 0);
	log_stop();
}

START_TEST(a_transaction_without_its_record_did_not_happen)
{
	for (int i = 0; i < nr_formats; i++)
		a_transaction_without_its_record_did_not_happen_in(&formats[i]);
}
END_TEST

static void a_torn_record_ends_the_log_in(const struct format *f)
{
	two_transactions(f);
	power_cut_and(tear_the_last_record);
	must_recover(1);
	must_be(on_disk(12), 12, 0);
	log_stop();
}

START_TEST(a_torn_record_ends_the_log)
{
	for (int i = 2; i < nr_formats; i++)
		a_torn_record_ends_the_log_in(&formats[i]);
}
END_TEST

static void a_lost_descriptor_ends_the_log_in(const struct format *f)
{
	two_transactions(f);
	power_cut_and(lose_the_last_descriptor);
	must_recover(1);
	must_be(on_disk(12), 12, 0);
	log_stop();
}

START_TEST(a_lost_descriptor_ends_the_log)
{
	for (int i = 0; i < nr_formats; i++)
		a_lost_descriptor_ends_the_log_in(&formats[i]);
}
END_TEST

static void flip_a_copy(void) { ((uint8_t *)log_block(5))[100] ^= 1; }
static void flip_a_descriptor(void) { ((uint8_t *)log_block(4))[600] ^= 1; }

/* With checksums of blocks: what was committed and is damaged is not passed over. */
START_TEST(damage_in_a_committed_transaction_stops_the_mount)
{
	struct jbd2_recovery st;

	be_silent();
	two_transactions(v3);
	power_cut_and(_i ? flip_a_descriptor : flip_a_copy);
	be_silent();
	ck_assert_int_eq(recover(&st), -EUCLEAN);
	ck_assert_uint_ne(be32_get(log_sb()->s_start), 0);
	must_be(on_disk(11), 11, 0);
	log_stop();
}
END_TEST

/* A transaction of an earlier use of the blocks: the right number, older, its descriptor half overwritten. */
static void make_the_last_one_older(void)
{
	struct jnl_disk_commit *c = log_block(6);
	be32 zero = be32_of(0), crc;
	uint32_t sum;

	c->h_commit_sec = be64_of(1);
	c->h_chksum[0] = zero;
	sum = crc32c(crc32c(~0u, log_sb()->s_uuid, 16), c, BLOCK);
	crc = be32_of(sum);
	c->h_chksum[0] = crc;
	flip_a_descriptor();
}

START_TEST(an_older_transaction_behind_the_end_is_not_damage)
{
	two_transactions(v3);
	power_cut_and(make_the_last_one_older);
	must_recover(1);
	must_be(on_disk(11), 11, 1);
	must_be(on_disk(12), 12, 0);
	log_stop();
}
END_TEST

/* Checksum v1: one CRC-32 over the transaction's descriptor and copies, in its record. */
static void make_it_v1(void)
{
	for (uint32_t at = 1; at <= 4; at += 3) {
		struct jnl_disk_commit *c = log_block(at + 2);
		uint32_t crc = jbd2_crc32_be(~0u, log_block(at), BLOCK);

		crc = jbd2_crc32_be(crc, log_block(at + 1), BLOCK);
		c->h_chksum_type = JNL_CRC32;
		c->h_chksum_size = JNL_CRC32_BYTES;
		c->h_chksum[0] = be32_of(crc);
	}
	log_sb()->s_feature_compat = be32_of(JNL_COMPAT_CHECKSUM);
}

static void make_it_v1_and_flip(void)
{
	make_it_v1();
	flip_a_copy();
}

START_TEST(checksum_v1_of_old_kernels)
{
	two_transactions(&formats[0]);
	power_cut_and(_i ? make_it_v1_and_flip : make_it_v1);
	must_recover(_i ? 1 : 2);
	must_be(on_disk(11), 11, 1);
	must_be(on_disk(12), 12, !_i);
	log_stop();
}
END_TEST

/* Read-only ----------------------------------------------------------------------------------- */

START_TEST(a_read_only_replay_writes_nothing_and_is_seen)
{
	struct jbd2_overlay *overlay;
	struct jbd2_recovery st;
	struct cache_buf *b;
	uint32_t before;
	unsigned nr_writes;

	two_transactions(v3);
	power_cut();
	lg.opts.read_only = true;
	before = crc32c(~0u, fx.dev->bytes, fx.nr_blocks * BLOCK);
	nr_writes = atomic_load(&fx.dev->nr_writes);
	b = must_get(12);	/* someone has the old contents in hand */
	ck_assert_int_eq(jbd2_recover(&lg.opts, &st, &overlay), 0);
	ck_assert_ptr_nonnull(overlay);
	must_be(b->data, 12, 1);
	cache_put(b);
	cache_drop_clean(fx.cache);
	ck_assert_int_eq(cache_flush(fx.cache, CACHE_META | CACHE_DATA), 0);
	b = must_get(11);
	must_be(b->data, 11, 1);
	cache_put(b);
	ck_assert_uint_eq(crc32c(~0u, fx.dev->bytes, fx.nr_blocks * BLOCK), before);
	ck_assert_uint_eq(atomic_load(&fx.dev->nr_writes), nr_writes);
	jbd2_overlay_free(overlay);
	log_stop();
}
END_TEST

/* Foreign and damaged superblocks ---------------------------------------------------------------- */

static void set_magic(struct jnl_disk_sb *s) { s->s_header.h_magic = be32_of(1); }
static void set_type(struct jnl_disk_sb *s) { s->s_header.h_blocktype = be32_of(JNL_COMMIT); }
static void set_block_size(struct jnl_disk_sb *s) { s->s_blocksize = be32_of(1024); }
static void set_long(struct jnl_disk_sb *s) { s->s_maxlen = be32_of(LOG_BLOCKS + 1); }
static void set_short(struct jnl_disk_sb *s) { s->s_maxlen = be32_of(1023); }
static void set_first(struct jnl_disk_sb *s) { s->s_first = be32_of(0); }
static void set_late_first(struct jnl_disk_sb *s) { s->s_first = be32_of(LOG_BLOCKS); }
static void set_start(struct jnl_disk_sb *s) { s->s_start = be32_of(LOG_BLOCKS); }
static void set_csum_type(struct jnl_disk_sb *s) { s->s_checksum_type = JNL_CRC32; }
static void set_two_csums(struct jnl_disk_sb *s) { s->s_feature_incompat = be32_of(JNL_INCOMPAT_CSUM_V2 | JNL_INCOMPAT_CSUM_V3); }
static void set_unknown(struct jnl_disk_sb *s) { s->s_feature_incompat = be32_of(0x4000 | JNL_INCOMPAT_CSUM_V3); }
static void set_fc(struct jnl_disk_sb *s)
{
	s->s_feature_incompat = be32_of(JNL_INCOMPAT_CSUM_V3 | JNL_INCOMPAT_FAST_COMMIT);
	s->s_num_fc_blks = be32_of(500);
}

static const struct {
	void (*set)(struct jnl_disk_sb *s);
	int err;
} bad_superblocks[] = {
	{ set_magic, -EUCLEAN }, { set_type, -EUCLEAN }, { set_block_size, -EUCLEAN }, { set_long, -EUCLEAN },
	{ set_short, -EUCLEAN }, { set_first, -EUCLEAN }, { set_late_first, -EUCLEAN }, { set_start, -EUCLEAN },
	{ set_csum_type, -EUCLEAN }, { set_two_csums, -EUCLEAN }, { set_unknown, -EOPNOTSUPP }, { set_fc, -EUCLEAN },
};

START_TEST(superblocks_that_cannot_be)
{
	struct jbd2_recovery st;

	be_silent();
	for (unsigned i = 0; i < ARRAY_LEN(bad_superblocks); i++) {
		log_make(v3);
		bad_superblocks[i].set(log_sb());
		log_sb_seal();
		ck_assert_int_eq(recover(&st), bad_superblocks[i].err);
		ck_assert_int_eq(jbd2_open(&lg.opts, &lg.j), bad_superblocks[i].err);
		log_stop();
	}
}
END_TEST

START_TEST(a_wrong_checksum_of_the_superblock)
{
	struct jbd2_recovery st;

	log_make(v3);
	be_silent();
	log_sb()->s_errno = be32_of(5);
	ck_assert_int_eq(recover(&st), -EUCLEAN);
	log_stop();
}
END_TEST

START_TEST(maps_with_holes)
{
	struct jbd2_recovery st;

	log_make(v3);
	be_silent();
	lg.runs[1].lblk++;
	ck_assert_int_eq(recover(&st), -EUCLEAN);
	lg.opts.nr_runs = 0;
	ck_assert_int_eq(recover(&st), -EUCLEAN);
	log_stop();
}
END_TEST

/* They are not replayed: said, and never written over. */
START_TEST(fast_commits_are_refused_by_name)
{
	struct jbd2_recovery st;

	/* A ring of 1024 blocks and the area behind it do not fit: the log of the test is grown for it. */
	log_make(v3);
	be_silent();
	lg.runs[1].nr += 256;
	log_sb()->s_feature_incompat = be32_of(JNL_INCOMPAT_CSUM_V3 | JNL_INCOMPAT_FAST_COMMIT);
	log_sb()->s_maxlen = be32_of(LOG_BLOCKS + 256);
	log_sb_seal();
	log_open();
	change_block(11, 1);
	must_commit();
	change_block(12, 1);
	must_commit();
	power_cut();
	be_silent();
	if (_i) {
		const struct jnl_disk_fc_head head = { le16_of(JNL_FC_TAG_HEAD), le16_of(8), le32_of(0),
			le32_of(be32_get(log_sb()->s_sequence) + 2) };

		memcpy(log_block(LOG_BLOCKS), &head, sizeof(head));
		ck_assert_int_eq(recover(&st), -EOPNOTSUPP);
		must_be(on_disk(11), 11, 0);
		lg.opts.read_only = true;
		ck_assert_int_eq(recover(&st), 0);
		ck_assert(st.fast_commits);
	} else {
		must_recover(2);	/* an area without any of them */
	}
	log_stop();
}
END_TEST

/* Anything may stand in a log: no crash, no block beyond the filesystem. */
static void rubbish_in(int seed)
{
	struct rng r = { 77 + (uint64_t)seed };
	struct jbd2_recovery st;
	int err;

	log_start(&formats[seed % nr_formats]);
	for (unsigned k = 1; k < 12; k++) {
		struct jnl_handle h;

		must_begin(&h, 31);
		for (pblk_t p = 20 * k; p < 20 * k + 30; p++)
			put_block(&h, p, k);
		if (k % 3 == 0)
			jnl_forget(&h, 20 * k - 5, 4);
		must_end(&h);
		must_commit();
	}
	power_cut();
	be_silent();
	for (unsigned n = 1 + (unsigned)(rng_next(&r) % 40); n > 0; n--) {
		uint8_t *block = log_block(1 + (uint32_t)(rng_next(&r) % 400));

		/* Half of it where headers and tags are. */
		block[rng_next(&r) % (rng_next(&r) % 2 ? 64 : BLOCK)] = (uint8_t)rng_next(&r);
	}
	err = recover(&st);
	ck_assert_msg(err == 0 || err == -EUCLEAN, "seed %d: %d", seed, err);
	for (pblk_t p = LOG_AT - 1; p >= 1990; p--)
		must_be(on_disk(p), p, 0);
	log_stop();
}

START_TEST(logs_full_of_rubbish)
{
	for (int seed = 0; seed < 24; seed++)
		rubbish_in(seed);
}
END_TEST

START_TEST(journals_that_cannot_be_made)
{
	uint8_t sb[JNL_SB_BYTES], uuid[16] = { 0 };

	ck_assert_int_eq(jbd2_format(sb, 4096, 1023, uuid), -EINVAL);
	ck_assert_int_eq(jbd2_format(sb, 4096, 1024, uuid), 0);
}
END_TEST

void add_recover_tests(Suite *s)
{
	TCase *t = tcase_create("recovery");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, what_is_committed_comes_back_and_nothing_else);
	tcase_add_test(t, a_block_that_looks_like_the_log_is_escaped);
	tcase_add_test(t, a_revoked_block_is_not_replayed);
	tcase_add_test(t, a_revoke_reaches_back_not_forward);
	tcase_add_test(t, thousands_of_revokes);
	tcase_add_test(t, sequence_numbers_wrap);
	tcase_add_test(t, any_work_any_cut);
	tcase_add_test(t, a_transaction_without_its_record_did_not_happen);
	tcase_add_test(t, a_torn_record_ends_the_log);
	tcase_add_test(t, a_lost_descriptor_ends_the_log);
	tcase_add_loop_test(t, damage_in_a_committed_transaction_stops_the_mount, 0, 2);
	tcase_add_test(t, an_older_transaction_behind_the_end_is_not_damage);
	tcase_add_loop_test(t, checksum_v1_of_old_kernels, 0, 2);
	tcase_add_test(t, a_read_only_replay_writes_nothing_and_is_seen);
	tcase_add_test(t, superblocks_that_cannot_be);
	tcase_add_test(t, a_wrong_checksum_of_the_superblock);
	tcase_add_test(t, maps_with_holes);
	tcase_add_loop_test(t, fast_commits_are_refused_by_name, 0, 2);
	tcase_add_test(t, logs_full_of_rubbish);
	tcase_add_test(t, journals_that_cannot_be_made);
	suite_add_tcase(s, t);
}
