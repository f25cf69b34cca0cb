/* jbd2_text.c: the ring as numbers and as a picture, and J1 to J8 as assertions. */
#include "journal/jbd2_int.h"

/* What a transaction looks like from outside. lock held. */
static void list_txn(struct jbd2_status *st, const struct jbd2_txn *t, enum jbd2_txn_state state)
{
	st->nr_txns++;
	/* The last places are for the committing and the running one. */
	if (st->nr_listed >= JBD2_STATUS_TXNS - (state == JBD2_TXN_COMMITTED ? 2u : 0u))
		return;
	st->txns[st->nr_listed++] = (struct jbd2_txn_status){
		.seq = (uint32_t)t->tid, .state = state, .start = t->start, .len = t->len, .nr_blocks = t->nr_logged,
		.nr_revoked = t->nr_revoked, .nr_left = t->nr_left,
	};
}

static void paint(const struct jbd2 *j, struct jbd2_status *st, const struct jbd2_txn *t, char c)
{
	const uint64_t nr_revoke_blocks = DIV_UP(t->nr_revoked, (size_t)j->revokes_per_block);

	for (uint32_t i = 0; i < t->len; i++) {
		const uint32_t at = jbd2_wrap(&j->file, (uint64_t)t->start + i) - j->file.first;

		st->picture[(uint64_t)at * JBD2_STATUS_CELLS / j->nr_ring] = c;
	}
	if (!t->len)
		return;
	st->nr_revoke_blocks += nr_revoke_blocks;
	st->nr_copies += t->nr_logged;
	st->nr_records++;
	st->nr_descriptors += t->len - 1 - t->nr_logged - nr_revoke_blocks;
}

static void get_txns(struct jbd2 *j, struct jbd2_status *st)
{
	const struct jbd2_txn *t;

	st->tail = j->head;
	list_for_each(t, &j->logged, link) {
		if (st->nr_txns == 0)
			st->tail = t->start;
		paint(j, st, t, '=');
		list_txn(st, t, JBD2_TXN_COMMITTED);
	}
	t = j->committing;
	if (t) {
		if (st->nr_txns == 0 && t->len)
			st->tail = t->start;
		paint(j, st, t, '+');
		list_txn(st, t, JBD2_TXN_COMMITTING);
	}
	t = jbd2_running(j);
	if (t)
		list_txn(st, t, JBD2_TXN_RUNNING);
}

void jbd2_status_get(struct jnl *jnl, struct jbd2_status *st)
{
	struct jbd2 *j = jbd2_of(jnl);
	LOCK_GUARD(&j->lock);

	*st = (struct jbd2_status){
		.first = j->file.first, .end = j->file.end, .head = j->head, .nr_used = j->nr_used, .max_txn = j->max_txn,
		.nr_to_bring_home = j->home.nr, .nr_commits = j->nr_commits, .nr_logged = j->nr_blocks_logged,
		.nr_checkpoints = j->nr_checkpoints, .data_mode = jnl->data_mode, .commit_msec = j->commit_msec,
		.checksum = j->file.v3 ? 3 : j->file.v2 ? 2 : 0, .abort_err = atomic_load(&jnl->abort_err),
	};
	memset(st->picture, '.', JBD2_STATUS_CELLS);
	get_txns(j, st);
	st->picture[(uint64_t)(j->head - j->file.first) * JBD2_STATUS_CELLS / j->nr_ring] = '>';
}

const char *jnl_data_mode_name(enum jnl_data_mode mode)
{
	static const char *const names[] = { "ordered", "journal", "writeback" };

	return names[mode];
}

void jbd2_to_text(struct jnl *jnl, FILE *out)
{
	static const char *const states[] = { "committed", "committing", "running" };
	struct jbd2_status st;

	jbd2_status_get(jnl, &st);
	fprintf(out, "journal of %s: blocks %u to %u, %u used (%.1f %%), data=%s, checksum v%u%s\n", blk_name(jnl->dev),
		st.first, st.end - 1, st.nr_used, 100.0 * st.nr_used / (st.end - st.first), jnl_data_mode_name(st.data_mode),
		st.checksum, st.abort_err ? ", ABORTED" : "");
	fprintf(out, "  [%s]  tail %u, head %u\n", st.picture, st.tail, st.head);
	fprintf(out, "  %" PRIu64 " commits of %" PRIu64 " blocks, %" PRIu64 " checkpoints, %" PRIu64 " blocks to bring home\n",
		st.nr_commits, st.nr_logged, st.nr_checkpoints, st.nr_to_bring_home);
	for (unsigned i = 0; i < st.nr_listed; i++)
		fprintf(out, "  %u %s: %" PRIu64 " blocks, %" PRIu64 " revoked, at %u, %u long, %" PRIu64 " to bring home\n",
			st.txns[i].seq, states[st.txns[i].state], st.txns[i].nr_blocks, st.txns[i].nr_revoked, st.txns[i].start,
			st.txns[i].len, st.txns[i].nr_left);
}

/* Checking -------------------------------------------------------------------------------------------- */

static void check_txn(const struct jbd2_txn *t)
{
	size_t nr_logged = 0;

	assert(t->map.nr == t->nr);
	for (size_t i = 0; i < t->nr; i++) {
		const struct jbd2_entry *e = &t->entries[i];
		const uint64_t *at = jbd2_map_get(&t->map, e->pblk);

		assert(at && *at == i);
		assert(!e->buf || e->buf->pblk == e->pblk);
		nr_logged += e->state == ENTRY_LOGGED;
		/* J1: held (the entry has the frame) and marked as this transaction's. */
		assert(e->state != ENTRY_LOGGED || (e->buf && atomic_load(&e->buf->owner) == t->tid));
	}
	assert(nr_logged == t->nr_logged && t->nr == t->nr_logged + t->nr_revoked);
}

/* J7, and the counts. Not while a checkpoint has transactions in hand. */
static void check_ring(const struct jbd2 *j)
{
	const struct jbd2_txn *t, *before = NULL;
	uint64_t nr_used = 0, nr_left = 0;

	list_for_each(t, &j->logged, link) {
		if (before) {
			assert(t->tid == before->tid + 1);
			assert(t->start == jbd2_wrap(&j->file, (uint64_t)before->start + before->len));
		}
		nr_used += t->len;
		nr_left += t->nr_left;
		before = t;
	}
	t = j->committing;
	if (t && t->len) {
		assert(!before || t->tid == before->tid + 1);
		nr_used += t->len;
		nr_left += t->nr_left;
		before = t;
	}
	assert(!before || j->head == jbd2_wrap(&j->file, (uint64_t)before->start + before->len));
	assert(nr_used == j->nr_used && nr_left == j->home.nr);
}

void jbd2_check_state(struct jnl *jnl)
{
	struct jbd2 *j = jbd2_of(jnl);
	const struct jbd2_txn *running;
	LOCK_GUARD(&j->lock);

	running = jbd2_running(j);
	if (running) {
		assert(running->tid + 1 == j->next_tid);
		assert(!running->len);
		check_txn(running);
	}
	/* J4 */
	assert(!j->committing || j->busy || jnl_is_aborted(jnl));
	assert(!j->committing || j->committing->tid == atomic_load(&j->committed) + 1);
	assert(j->head >= j->file.first && j->head < j->file.end && j->nr_used < j->nr_ring);
	if (!j->checkpointing)
		check_ring(j);
}
