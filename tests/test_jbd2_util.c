/* test_jbd2_util.c: see test_jbd2.h. */
#include "test_jbd2.h"

const struct format formats[] = {
	{ "no checksums", 0 },
	{ "no checksums, 64bit", JNL_INCOMPAT_64BIT },
	{ "v2", JNL_INCOMPAT_CSUM_V2 },
	{ "v2, 64bit", JNL_INCOMPAT_CSUM_V2 | JNL_INCOMPAT_64BIT },
	{ "v3", JNL_INCOMPAT_CSUM_V3 },
	{ "v3, 64bit", JNL_INCOMPAT_CSUM_V3 | JNL_INCOMPAT_64BIT },
};
const int nr_formats = ARRAY_LEN(formats);

struct log lg;

static uint64_t tick(void *arg)
{
	(void)arg;
	return lg.now += 1000000;
}

void *log_block(uint32_t lblk)
{
	return on_disk(lblk < LOG_FIRST_PIECE ? LOG_AT + lblk : LOG_AT + LOG_GAP + lblk);
}

struct jnl_disk_sb *log_sb(void)
{
	return log_block(0);
}

void log_sb_seal(void)
{
	jbd2_sb_seal(log_sb());
}

static void bind(void)
{
	lg.opts = (struct jbd2_opts){
		.cache = fx.cache, .dev = &fx.dev->dev, .alloc = fx.mem, .runs = lg.runs, .nr_runs = ARRAY_LEN(lg.runs),
		.nr_pblks = LOG_AT, .data_mode = lg.opts.data_mode, .now_nsec = tick,
	};
}

void log_make(const struct format *f)
{
	uint8_t uuid[16];
	struct rng r = { 4711 };

	rng_fill(&r, uuid, sizeof(uuid));
	start((struct start_opts){ .size_bytes = 8 << 20, .nr_filled = LOG_AT });
	lg.runs[0] = (struct jbd2_run){ 0, LOG_AT, LOG_FIRST_PIECE };
	lg.runs[1] = (struct jbd2_run){ LOG_FIRST_PIECE, LOG_AT + LOG_FIRST_PIECE + LOG_GAP, LOG_BLOCKS - LOG_FIRST_PIECE };
	lg.now = 1000000000000000000u;
	bind();
	ck_assert_int_eq(jbd2_format(log_sb(), BLOCK, LOG_BLOCKS, uuid), 0);
	log_sb()->s_feature_incompat = be32_of(f->incompat);
	log_sb()->s_checksum_type = f->incompat & (JNL_INCOMPAT_CSUM_V2 | JNL_INCOMPAT_CSUM_V3) ? JNL_CRC32C : 0;
	log_sb_seal();
}

void log_open(void)
{
	ck_assert_int_eq(jbd2_open(&lg.opts, &lg.j), 0);
}

void log_start(const struct format *f)
{
	log_make(f);
	log_open();
}

void log_stop(void)
{
	if (lg.j)
		ck_assert_int_eq(jnl_free(lg.j), 0);
	lg.j = NULL;
	stop();
}

void power_cut_and(void (*spoil)(void))
{
	const size_t len = fx.nr_blocks * fx.block_bytes;

	jbd2_check_state(lg.j);
	lg.saved = malloc(len);
	memcpy(lg.saved, fx.dev->bytes, len);
	atomic_store(&fx.dev->fail_writes, 0);
	atomic_store(&fx.dev->fail_flushes, 0);
	(void)!jnl_free(lg.j);
	lg.j = NULL;
	stop();
	start((struct start_opts){ .size_bytes = 8 << 20, .nr_filled = 1 });
	memcpy(fx.dev->bytes, lg.saved, len);
	free(lg.saved);
	bind();
	if (spoil)
		spoil();
}

void power_cut(void)
{
	power_cut_and(NULL);
}

int recover(struct jbd2_recovery *st)
{
	struct jbd2_overlay *overlay;
	const int err = jbd2_recover(&lg.opts, st, &overlay);

	if (err || !lg.opts.read_only)
		ck_assert_ptr_null(overlay);
	jbd2_overlay_free(overlay);
	return err;
}

void must_recover(uint64_t nr_transactions)
{
	struct jbd2_recovery st;

	ck_assert_int_eq(recover(&st), 0);
	ck_assert_uint_eq(st.nr_transactions, nr_transactions);
	ck_assert_uint_eq(be32_get(log_sb()->s_start), 0);
}

void must_begin(struct jnl_handle *h, unsigned nr_credits)
{
	*h = (struct jnl_handle){ 0 };
	if (jnl_begin(lg.j, nr_credits, h))
		ck_abort_msg("begin failed");
}

void must_end(struct jnl_handle *h)
{
	if (jnl_end(h))
		ck_abort_msg("end failed");
}

void must_commit(void)
{
	ck_assert_int_eq(jnl_commit_wait(lg.j, 0), 0);
}

void put_block(struct jnl_handle *h, pblk_t pblk, unsigned version)
{
	struct cache_buf *b = must_get(pblk);

	if (jnl_get_write(h, b))
		ck_abort_msg("get_write failed");
	fill_pattern(b->data, pblk, version);
	jnl_dirty(h, b);
	cache_put(b);
}

void change_block(pblk_t pblk, unsigned version)
{
	struct jnl_handle h;

	must_begin(&h, 1);
	put_block(&h, pblk, version);
	must_end(&h);
}
