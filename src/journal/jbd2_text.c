/* jbd2_text.c: the ring as a picture, and J1 to J8 as assertions. */
#include "journal/jbd2_int.h"

enum { RING_CELLS = 64 };

static void paint(const struct jbd2 *j, char *cells, const struct jbd2_txn *t, char c)
{
	for (uint32_t i = 0; i < t->len; i++) {
		const uint32_t at = jbd2_wrap(&j->file, (uint64_t)t->start + i) - j->file.first;

		cells[(uint64_t)at * RING_CELLS / j->nr_ring] = c;
	}
}

static void txn_to_text(const struct jbd2_txn *t, const char *state, FILE *out)
{
	fprintf(out, "  %u %s: %zu blocks, %zu revoked", (uint32_t)t->tid, state, t->nr_logged, t->nr_revoked);
	if (t->len)
		fprintf(out, ", at %u, %u long, %zu to bring home", t->start, t->len, t->nr_left);
	fprintf(out, "\n");
}

static uint64_t list_to_text(const struct jbd2 *j, char *cells, FILE *out)
{
	enum { SHOWN = 8 };
	const struct jbd2_txn *t;
	uint64_t nr = 0;

	list_for_each(t, &j->logged, link) {
		paint(j, cells, t, '=');
		if (nr++ < SHOWN && out)
			txn_to_text(t, "committed", out);
	}
	if (nr > SHOWN && out)
		fprintf(out, "  ... and %" PRIu64 " more\n", nr - SHOWN);
	return nr;
}

static const char *mode_name(enum jnl_data_mode mode)
{
	static const char *const names[] = { "ordered", "journal", "writeback" };

	return names[mode];
}

void jbd2_to_text(struct jnl *jnl, FILE *out)
{
	struct jbd2 *j = jbd2_of(jnl);
	char cells[RING_CELLS + 1];
	const struct jbd2_txn *running;
	LOCK_GUARD(&j->lock);

	memset(cells, '.', RING_CELLS);
	cells[RING_CELLS] = '\0';
	list_to_text(j, cells, NULL);
	if (j->committing && j->committing->len)
		paint(j, cells, j->committing, '+');
	cells[(uint64_t)(j->head - j->file.first) * RING_CELLS / j->nr_ring] = '>';
	fprintf(out, "journal of %s: blocks %u to %u, %u used (%.1f %%), data=%s, checksum %s%s\n", blk_name(jnl->dev),
		j->file.first, j->file.end - 1, j->nr_used, 100.0 * j->nr_used / j->nr_ring, mode_name(jnl->data_mode),
		j->file.v3 ? "v3" : j->file.v2 ? "v2" : "none", jnl_is_aborted(jnl) ? ", ABORTED" : "");
	fprintf(out, "  [%s]  = committed, + being committed, > head at %u\n", cells, j->head);
	fprintf(out, "  %" PRIu64 " commits of %" PRIu64 " blocks, %" PRIu64 " checkpoints, %zu blocks to bring home\n",
		j->nr_commits, j->nr_blocks_logged, j->nr_checkpoints, j->home.nr);
	list_to_text(j, cells, out);
	if (j->committing)
		txn_to_text(j->committing, "committing", out);
	running = jbd2_running(j);
	if (running)
		txn_to_text(running, "running", out);
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
