/*
 * jbd2_recover.c: replay after a crash.
 *
 *	scan    from s_start on: where the last whole transaction ends
 *	revoke  which blocks must not be replayed up to which transaction
 *	replay  checks every copy in the log, notes the newest of each block
 *	apply   brings those home, or into held frames of the cache (read-only)
 *
 * The log ends where Linux ends it: at the first block without a header of the transaction that
 * is due, at a commit block with a wrong checksum, and at a transaction older than the one before
 * it by its commit time whose checksums are wrong (left there by an earlier use of the blocks). A
 * wrong checksum inside a transaction that is committed is damage: nothing is replayed.
 *
 * Deliberately not done: replay of fast commits.
 */
#include <stdlib.h>

#include "base/log.h"
#include "journal/jbd2_file.h"
#include "journal/jbd2_map.h"

enum { REPLAY_BATCH_BYTES = 1 << 20, REPLAY_FLUSH_BLOCKS = 1024 };

struct replay {
	const struct jbd2_opts *opts;
	struct jbd2_file f;
	struct jbd2_recovery *stats;
	void *block;			/* of the log, being looked at */
	struct jbd2_map revoked;	/* block: newest transaction that revoked it */
	struct jbd2_map copies;		/* block: newest copy, as copy_of() */
	struct jbd2_tag *tags;		/* of one descriptor */
	uint8_t *batch;			/* blocks of the log */
	uint32_t batch_blocks;
};

/* A pass's place in the log. */
struct cursor {
	uint32_t lblk, seq;
	uint32_t nr_seen;		/* blocks, to notice a ring without an end */
};

static uint64_t copy_of(uint32_t lblk, bool escaped)
{
	return (uint64_t)lblk << 1 | escaped;
}

static struct cursor log_start(const struct replay *r)
{
	return (struct cursor){ .lblk = be32_get(r->f.sb.s_start), .seq = be32_get(r->f.sb.s_sequence) };
}

static int bad_block(const struct replay *r, const struct cursor *at, const char *what)
{
	log_error("%s: journal block %u, transaction %u: %s", blk_name(r->f.dev), at->lblk, at->seq, what);
	return -EUCLEAN;
}

static int read_block(struct replay *r, uint32_t lblk, void *data)
{
	const struct jbd2_piece piece = { lblk, data };

	return jbd2_file_io(&r->f, BLK_READ, 0, &piece, 1);
}

static int skip(struct replay *r, struct cursor *at, uint32_t nr)
{
	at->nr_seen += nr;
	if (nr > r->f.end - r->f.first || at->nr_seen > r->f.end - r->f.first)
		return bad_block(r, at, "the log has no end");
	at->lblk = jbd2_wrap(&r->f, (uint64_t)at->lblk + nr);
	return 0;
}

/* Tags of the descriptor in r->block; returns how many. */
static uint32_t load_tags(struct replay *r)
{
	const char *at = (const char *)r->block + sizeof(struct jnl_disk_header);
	const char *end = (const char *)r->block + r->f.block_bytes - r->f.tail_bytes;
	uint32_t nr = 0;

	while (at + r->f.tag_bytes <= end) {
		const struct jbd2_tag t = jbd2_tag_load(&r->f, at);

		r->tags[nr++] = t;
		at += r->f.tag_bytes;
		if (!(t.flags & JNL_TAG_SAME_UUID))
			at += JNL_UUID_BYTES;
		if (t.flags & JNL_TAG_LAST)
			break;
	}
	return nr;
}

/* Scan -------------------------------------------------------------------------------------- */

struct scan {
	struct cursor at;
	bool doubtful;			/* a checksum of the transaction is wrong: stale, or damaged? */
	uint64_t last_time;		/* of the commit before */
	uint32_t crc;			/* v1: of the transaction so far */
};

static int scan_sum_v1(struct replay *r, struct scan *s, uint32_t nr)
{
	int err = 0;

	s->crc = jbd2_crc32_be(s->crc, r->block, r->f.block_bytes);
	for (uint32_t i = 0; !err && i < nr; i++) {
		err = read_block(r, jbd2_wrap(&r->f, (uint64_t)s->at.lblk + 1 + i), r->batch);
		if (!err)
			s->crc = jbd2_crc32_be(s->crc, r->batch, r->f.block_bytes);
	}
	return err;
}

static int scan_descriptor(struct replay *r, struct scan *s)
{
	const uint32_t nr = load_tags(r);
	int err = 0;

	s->doubtful |= !jbd2_tail_ok(&r->f, r->block);
	if (nr > r->f.end - r->f.first)
		return bad_block(r, &s->at, "more blocks than the log has");
	if (r->f.v1)
		err = scan_sum_v1(r, s, nr);
	return err ? err : skip(r, &s->at, nr + 1);
}

static bool commit_v1_ok(const struct replay *r, const struct jnl_disk_commit *c, uint32_t crc)
{
	const uint32_t found = be32_get(c->h_chksum[0]);

	if (!r->f.v1)
		return true;
	if (c->h_chksum_type == 0 && c->h_chksum_size == 0 && found == 0)
		return true;	/* written by one that did not sum */
	return c->h_chksum_type == JNL_CRC32 && c->h_chksum_size == JNL_CRC32_BYTES && found == crc;
}

/* 1: the log goes on; 0: it ends before this transaction. */
static int scan_commit(struct replay *r, struct scan *s)
{
	struct jnl_disk_commit c;
	uint64_t time;
	int err;

	memcpy(&c, r->block, sizeof(c));
	time = be64_get(c.h_commit_sec) * 1000000000u + be32_get(c.h_commit_nsec);
	if (s->doubtful)
		return time < s->last_time ? 0 : bad_block(r, &s->at, "wrong checksum in a committed transaction");
	if (!jbd2_commit_ok(&r->f, r->block) || !commit_v1_ok(r, &c, s->crc))
		return 0;
	s->last_time = time;
	s->crc = ~0u;
	err = skip(r, &s->at, 1);
	s->at.seq++;
	return err ? err : 1;
}

/* 1: goes on, 0: ends, or an error. */
static int scan_block(struct replay *r, struct scan *s)
{
	int err = read_block(r, s->at.lblk, r->block);

	if (err)
		return err;
	switch (jbd2_header_type(r->block, s->at.seq)) {
	case JNL_DESCRIPTOR:
		err = scan_descriptor(r, s);
		return err ? err : 1;
	case JNL_REVOKE:
		s->doubtful |= !jbd2_tail_ok(&r->f, r->block);
		err = skip(r, &s->at, 1);
		return err ? err : 1;
	case JNL_COMMIT:
		return scan_commit(r, s);
	default:
		return 0;
	}
}

static int pass_scan(struct replay *r)
{
	struct scan s = { .at = log_start(r), .crc = ~0u };
	int more;

	do
		more = scan_block(r, &s);
	while (more == 1);
	r->stats->first_seq = be32_get(r->f.sb.s_sequence);
	r->stats->end_seq = s.at.seq;
	r->stats->nr_transactions = s.at.seq - r->stats->first_seq;
	return more;
}

/* Fast commits of the transaction that is due lie behind the ring. */
static int look_for_fast_commits(struct replay *r)
{
	const uint32_t maxlen = be32_get(r->f.sb.s_maxlen);
	struct jnl_disk_fc_head head;
	int err;

	for (uint32_t lblk = r->f.end; lblk < maxlen && lblk <= r->f.end + 1; lblk++) {
		err = read_block(r, lblk, r->block);
		if (err)
			return err;
		memcpy(&head, r->block, sizeof(head));
		if (le16_get(head.tag) == JNL_FC_TAG_HEAD && le32_get(head.tid) == r->stats->end_seq)
			r->stats->fast_commits = true;
	}
	if (!r->stats->fast_commits)
		return 0;
	if (r->opts->read_only) {
		log_warn("%s: the journal holds fast commits; they are not replayed, the newest changes are missing",
			 blk_name(r->f.dev));
		return 0;
	}
	log_error("%s: the journal holds fast commits, which osfs does not replay: mount it with Linux or run e2fsck first",
		  blk_name(r->f.dev));
	return -EOPNOTSUPP;
}

/* Revoke and replay ------------------------------------------------------------------------------ */

static int take_revokes(struct replay *r, const struct cursor *at)
{
	const char *p = r->block;
	struct jnl_disk_revoke h;
	uint32_t count;
	int err = 0;

	memcpy(&h, p, sizeof(h));
	count = be32_get(h.r_count);
	if (count > r->f.block_bytes - r->f.tail_bytes)
		return bad_block(r, at, "revoke block with more than it can hold");
	for (uint32_t off = sizeof(h); !err && off + r->f.revoke_bytes <= count; off += r->f.revoke_bytes) {
		const uint64_t *newest;
		be32 narrow;
		be64 wide;
		pblk_t pblk;

		memcpy(&wide, p + off, r->f.wide ? sizeof(wide) : 0);
		memcpy(&narrow, p + off, sizeof(narrow));
		pblk = r->f.wide ? be64_get(wide) : be32_get(narrow);
		if (pblk >= r->opts->nr_pblks)
			continue;	/* names no block */
		newest = jbd2_map_get(&r->revoked, pblk);
		if (!newest || seq_before((uint32_t)*newest, at->seq))
			err = jbd2_map_put(&r->revoked, pblk, at->seq);
	}
	return err;
}

static bool is_revoked(const struct replay *r, pblk_t pblk, uint32_t seq)
{
	const uint64_t *newest = jbd2_map_get(&r->revoked, pblk);

	return newest && !seq_before((uint32_t)*newest, seq);
}

/* One copy as it stands in the log. */
static int take_copy(struct replay *r, const struct cursor *at, const struct jbd2_tag *t, uint32_t lblk, const void *data)
{
	if (is_revoked(r, t->pblk, at->seq)) {
		r->stats->nr_revoked++;
		return 0;
	}
	if (t->pblk >= r->opts->nr_pblks)
		return bad_block(r, at, "a block beyond the filesystem");
	if (jbd2_tag_checksum(&r->f, at->seq, data) != t->checksum && (r->f.v2 || r->f.v3)) {
		log_error("%s: journal block %u: copy of block %" PRIu64 " has a wrong checksum", blk_name(r->f.dev), lblk,
			  t->pblk);
		return -EUCLEAN;
	}
	return jbd2_map_put(&r->copies, t->pblk, copy_of(lblk, t->flags & JNL_TAG_ESCAPE));
}

/* nr blocks of the log from lblk on into r->batch. */
static int read_batch(struct replay *r, uint32_t lblk, uint32_t nr)
{
	struct jbd2_piece *pieces = malloc(nr * sizeof(*pieces));
	int err;

	if (!pieces)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++)
		pieces[i] = (struct jbd2_piece){ jbd2_wrap(&r->f, (uint64_t)lblk + i),
						 r->batch + (size_t)i * r->f.block_bytes };
	err = jbd2_file_io(&r->f, BLK_READ, 0, pieces, nr);
	free(pieces);
	return err;
}

static int take_copies(struct replay *r, const struct cursor *at, uint32_t nr)
{
	int err = 0;

	for (uint32_t done = 0; !err && done < nr; done += r->batch_blocks) {
		const uint32_t part = MIN(nr - done, r->batch_blocks);
		const uint32_t lblk = jbd2_wrap(&r->f, (uint64_t)at->lblk + 1 + done);

		err = read_batch(r, lblk, part);
		for (uint32_t i = 0; !err && i < part; i++)
			err = take_copy(r, at, &r->tags[done + i], jbd2_wrap(&r->f, (uint64_t)lblk + i),
					r->batch + (size_t)i * r->f.block_bytes);
	}
	return err;
}

/* Once more over what the scan found whole, for the revoke records or for the copies. */
static int pass_take(struct replay *r, bool revokes)
{
	struct cursor at = log_start(r);
	int err = 0;

	while (!err && at.seq != r->stats->end_seq) {
		uint32_t nr;

		err = read_block(r, at.lblk, r->block);
		if (err)
			return err;
		switch (jbd2_header_type(r->block, at.seq)) {
		case JNL_DESCRIPTOR:
			nr = load_tags(r);
			err = revokes ? 0 : take_copies(r, &at, nr);
			err = err ? err : skip(r, &at, nr + 1);
			break;
		case JNL_REVOKE:
			err = revokes ? take_revokes(r, &at) : 0;
			err = err ? err : skip(r, &at, 1);
			break;
		case JNL_COMMIT:
			err = skip(r, &at, 1);
			at.seq++;
			break;
		default:
			err = bad_block(r, &at, "it changed while it was read");
		}
	}
	return err;
}

/* Apply ---------------------------------------------------------------------------------------------- */

struct jbd2_overlay {
	size_t nr;
	struct cache_buf *bufs[];
};

void jbd2_overlay_free(struct jbd2_overlay *overlay)
{
	if (!overlay)
		return;
	for (size_t i = 0; i < overlay->nr; i++)
		cache_buf_release(overlay->bufs[i], false);
	free(overlay);
}

static int apply_block(struct replay *r, const struct jbd2_slot *copy, const void *data, struct jbd2_overlay *overlay)
{
	const be32 magic = be32_of(JNL_MAGIC);
	struct cache_buf *b;
	const int err = cache_get_new(r->opts->cache, copy->key, NULL, &b);

	if (err)
		return err;
	memcpy(b->data, data, r->f.block_bytes);
	if (copy->value & 1)
		memcpy(b->data, &magic, sizeof(magic));
	if (overlay) {
		cache_buf_hold(b);
		overlay->bufs[overlay->nr++] = b;
	} else {
		cache_mark_dirty(b);
	}
	cache_put(b);
	r->stats->nr_blocks++;
	return 0;
}

static int compare_copies(const void *a, const void *b)
{
	const struct jbd2_slot *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

/* The newest copies in the order in which they lie in the log; malloc'ed. */
static struct jbd2_slot *list_copies(const struct replay *r)
{
	struct jbd2_slot *list = malloc(MAX(r->copies.nr, (size_t)1) * sizeof(*list));
	size_t nr = 0;

	for (size_t i = 0; list && i < r->copies.cap; i++)
		if (r->copies.slots[i].key != JBD2_MAP_NONE)
			list[nr++] = r->copies.slots[i];
	if (list)
		qsort(list, nr, sizeof(*list), compare_copies);
	return list;
}

static int apply_list(struct replay *r, const struct jbd2_slot *list, struct jbd2_overlay *overlay)
{
	struct jbd2_piece *pieces = malloc(r->batch_blocks * sizeof(*pieces));
	size_t since_flush = 0;
	int err = pieces ? 0 : -ENOMEM;

	for (size_t done = 0; !err && done < r->copies.nr; done += r->batch_blocks) {
		const size_t part = MIN(r->copies.nr - done, (size_t)r->batch_blocks);

		for (size_t i = 0; i < part; i++)
			pieces[i] = (struct jbd2_piece){ (uint32_t)(list[done + i].value >> 1),
							 r->batch + i * r->f.block_bytes };
		err = jbd2_file_io(&r->f, BLK_READ, 0, pieces, part);
		for (size_t i = 0; !err && i < part; i++)
			err = apply_block(r, &list[done + i], pieces[i].data, overlay);
		since_flush += part;
		if (!err && !overlay && since_flush >= REPLAY_FLUSH_BLOCKS) {
			err = cache_flush(r->opts->cache, CACHE_META);
			since_flush = 0;
		}
	}
	free(pieces);
	return err;
}

/* Home copies durable first, then the log is empty. The transaction that was torn keeps its number for itself. */
static int finish_home(struct replay *r)
{
	int err = cache_flush(r->opts->cache, CACHE_META);

	if (!err)
		err = blk_flush(r->f.dev);
	if (err)
		return err;
	r->f.sb.s_start = be32_of(0);
	r->f.sb.s_head = be32_of(0);
	r->f.sb.s_sequence = be32_of(r->stats->end_seq + 1);
	return jbd2_file_store_sb(&r->f, BLK_FUA);
}

static int apply(struct replay *r, struct jbd2_overlay **out)
{
	struct jbd2_slot *list = list_copies(r);
	struct jbd2_overlay *overlay = NULL;
	int err = list ? 0 : -ENOMEM;

	if (!err && r->opts->read_only) {
		overlay = malloc(sizeof(*overlay) + r->copies.nr * sizeof(overlay->bufs[0]));
		err = overlay ? 0 : -ENOMEM;
		if (overlay)
			overlay->nr = 0;
	}
	if (!err)
		err = apply_list(r, list, overlay);
	if (!err && !r->opts->read_only)
		err = finish_home(r);
	free(list);
	if (err)
		jbd2_overlay_free(overlay);
	else
		*out = overlay;
	return err;
}

/* All together ------------------------------------------------------------------------------------------ */

static int replay_init(struct replay *r)
{
	const uint32_t block_bytes = r->f.block_bytes;

	r->batch_blocks = MAX(REPLAY_BATCH_BYTES / block_bytes, 1u);
	r->block = malloc(block_bytes);
	r->batch = malloc((size_t)r->batch_blocks * block_bytes);
	r->tags = malloc(block_bytes / r->f.tag_bytes * sizeof(*r->tags));
	return r->block && r->batch && r->tags ? 0 : -ENOMEM;
}

static void replay_fini(struct replay *r)
{
	free(r->block);
	free(r->batch);
	free(r->tags);
	jbd2_map_fini(&r->revoked);
	jbd2_map_fini(&r->copies);
	jbd2_file_close(&r->f);
}

static int replay(struct replay *r, struct jbd2_overlay **overlay)
{
	int err = replay_init(r);

	if (!err)
		err = pass_scan(r);
	if (!err && jbd2_has_incompat(&r->f, JNL_INCOMPAT_FAST_COMMIT))
		err = look_for_fast_commits(r);
	if (!err)
		err = pass_take(r, true);
	if (!err)
		err = pass_take(r, false);
	return err ? err : apply(r, overlay);
}

int jbd2_recover(const struct jbd2_opts *o, struct jbd2_recovery *out, struct jbd2_overlay **overlay)
{
	struct replay r = { .opts = o, .stats = out };
	int err;

	*overlay = NULL;
	*out = (struct jbd2_recovery){ 0 };
	err = jbd2_file_open(&r.f, o);
	if (err)
		return err;
	if (be32_get(r.f.sb.s_start) == 0) {
		out->first_seq = out->end_seq = be32_get(r.f.sb.s_sequence);
	} else {
		err = replay(&r, overlay);
		if (!err)
			log_info("%s: journal replayed%s: %" PRIu64 " transactions, %" PRIu64 " blocks, %" PRIu64 " revoked",
				 blk_name(o->dev), o->read_only ? " into memory" : "", out->nr_transactions,
				 out->nr_blocks, out->nr_revoked);
	}
	replay_fini(&r);
	return err;
}
