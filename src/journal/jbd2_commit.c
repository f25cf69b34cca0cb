/*
 * jbd2_commit.c: commits. Whoever needs one and finds none under way makes it (no hand-over to a
 * thread on the way of an fsync); the others wait and find theirs done, or make the next one
 * together: that is the group commit.
 *
 *	freeze    no handle is open; the running transaction becomes the committing one
 *	copy      its blocks, in memory (without memory for that: handles wait until the log is written)
 *	thaw      the next transaction begins
 *	data      file data in blocks that the transaction allocated
 *	log       revoke blocks, descriptors, copies: one batch
 *	flush     all that is durable (J3)
 *	record    the commit block, durable by itself: committed
 *	finish    frames may go home, freed blocks' frames go, the hook is called
 */
#include <stdlib.h>

#include "base/plant.h"
#include "journal/jbd2_int.h"

/* Freeze and copy ------------------------------------------------------------------------------ */

static void *copy_alloc(struct jbd2 *j)
{
	return j->nr_copies ? j->copies[--j->nr_copies] : jbd2_block_alloc(j);
}

static void copy_free(struct jbd2 *j, void *copy)
{
	if (j->nr_copies < JBD2_KEEP_COPIES)
		j->copies[j->nr_copies++] = copy;
	else
		jbd2_block_free(j, copy);
}

static void free_copies(struct jbd2 *j, struct jbd2_txn *t)
{
	for (size_t i = 0; i < t->nr; i++) {
		if (t->entries[i].copy)
			copy_free(j, t->entries[i].copy);
		t->entries[i].copy = NULL;
	}
}

/* False: memory ended on the way. */
static bool copy_blocks(struct jbd2 *j, struct jbd2_txn *t)
{
	for (size_t i = 0; i < t->nr; i++) {
		struct jbd2_entry *e = &t->entries[i];

		if (e->state != ENTRY_LOGGED)
			continue;
		e->copy = copy_alloc(j);
		if (!e->copy)
			return false;
		memcpy(e->copy, e->buf->data, j->file.block_bytes);
	}
	return true;
}

/* With handles frozen: NULL when there is nothing to commit. */
static struct jbd2_txn *take_running(struct jbd2 *j)
{
	struct jbd2_txn *t;
	LOCK_GUARD(&j->lock);

	t = jbd2_running(j);
	if (!t || jbd2_txn_is_empty(t))
		return NULL;
	assert(!j->committing);
	atomic_store_explicit(&j->running, NULL, memory_order_release);
	j->committing = t;
	j->data_pending = t->ordered.nr > 0;
	return t;
}

/* Log ---------------------------------------------------------------------------------------------- */

/* A device that does not take the data is the file's trouble: its fsync hears of it (C5). */
static int write_ordered(struct jbd2 *j, struct jbd2_txn *t)
{
	const bool any = t->ordered.nr && !PLANTED(PLANT_NO_ORDERED_DATA);
	const int err = any ? cache_flush_runs(j->jnl.cache, t->ordered.runs, t->ordered.nr) : 0;
	LOCK_GUARD(&j->lock);

	j->data_pending = false;
	return err == -ENOMEM ? err : 0;
}

/* Takes t's place in the log; makes room when revoke records went beyond what was kept free. */
static int take_place(struct jbd2 *j, struct jbd2_txn *t)
{
	const uint32_t len = jbd2_layout_len(j, t);
	int err = 0;

	os_mutex_lock(&j->lock);
	err = jbd2_map_reserve(&j->home, t->nr_logged);
	if (!err && jbd2_free_blocks(j) < len) {
		os_mutex_unlock(&j->lock);
		err = jbd2_checkpoint(j, len, false);
		os_mutex_lock(&j->lock);
	}
	if (!err && jbd2_free_blocks(j) < len)
		err = -ENOSPC;
	if (!err) {
		t->start = j->head;
		t->len = len;
		j->head = jbd2_wrap(&j->file, (uint64_t)t->start + len);
		j->nr_used += len;
	}
	os_mutex_unlock(&j->lock);
	return err;
}

static int write_log(struct jbd2 *j, struct jbd2_txn *t)
{
	struct jbd2_layout l;
	int err = 0;

	if (j->log_empty)
		err = jbd2_store_tail(j, t->start, (uint32_t)t->tid, 0);
	if (!err)
		err = jbd2_layout_build(j, t, &l);
	if (err)
		return err;
	err = jbd2_file_io(&j->file, BLK_WRITE, 0, l.pieces, l.nr);
	jbd2_layout_free(j, &l);
	return err;
}

/* Counted, so that those who wait for this commit know whether it covered their data. */
static int flush_log(struct jbd2 *j)
{
	uint64_t nr;
	int err;

	os_mutex_lock(&j->lock);
	nr = ++j->nr_flushes_begun;
	os_mutex_unlock(&j->lock);
	err = blk_flush(j->jnl.dev);
	os_mutex_lock(&j->lock);
	if (!err)
		j->nr_flushed = nr;
	os_mutex_unlock(&j->lock);
	return err;
}

static int write_record(struct jbd2 *j, struct jbd2_txn *t)
{
	const uint64_t now = j->now_nsec(j->now_arg);
	struct jnl_disk_commit c = {
		.h_commit_sec = be64_of(now / 1000000000u),
		.h_commit_nsec = be32_of((uint32_t)(now % 1000000000u)),
	};
	struct jbd2_piece piece = { jbd2_wrap(&j->file, (uint64_t)t->start + t->len - 1), jbd2_block_alloc(j) };
	int err;

	if (!piece.data)
		return -ENOMEM;
	jbd2_header_store(&c, JNL_COMMIT, (uint32_t)t->tid);
	memset(piece.data, 0, j->file.block_bytes);
	memcpy(piece.data, &c, sizeof(c));
	jbd2_commit_seal(&j->file, piece.data);
	err = jbd2_file_io(&j->file, BLK_WRITE, BLK_FUA, &piece, 1);
	jbd2_block_free(j, piece.data);
	return err;
}

/* Finish ---------------------------------------------------------------------------------------------- */

static void release_frames(struct jbd2 *j, struct jbd2_txn *t)
{
	struct cache *c = j->jnl.cache;

	for (size_t i = 0; i < t->nr; i++) {
		struct jbd2_entry *e = &t->entries[i];

		if (e->buf)
			cache_buf_release(e->buf, e->state == ENTRY_LOGGED);
		if (e->state == ENTRY_REVOKED)
			cache_forget(c, e->pblk, 1);	/* J6 */
		e->buf = NULL;
	}
	for (size_t i = 0; i < t->late.nr; i++)
		cache_forget(c, t->late.runs[i].pblk, t->late.runs[i].nr);
}

/* What only the running and the committing transaction need. */
static void slim_down(struct jbd2_txn *t)
{
	struct jbd2_entry *shrunk = t->nr ? realloc(t->entries, t->nr * sizeof(*shrunk)) : NULL;

	if (shrunk) {
		t->entries = shrunk;
		t->cap = t->nr;
	}
	jbd2_map_fini(&t->map);
	free(t->ordered.runs);
	free(t->late.runs);
	t->ordered = t->late = (struct jbd2_ranges){ 0 };
}

static void finish(struct jbd2 *j, struct jbd2_txn *t)
{
	const jnl_tid tid = t->tid;

	os_mutex_lock(&j->lock);
	j->log_empty = false;
	jbd2_home_add(j, t);
	j->nr_commits++;
	j->nr_blocks_logged += t->nr_logged;
	os_mutex_unlock(&j->lock);
	release_frames(j, t);
	slim_down(t);
	os_mutex_lock(&j->lock);
	list_add_tail(&j->logged, &t->link);
	j->committing = NULL;
	atomic_store(&j->committed, tid);
	os_mutex_unlock(&j->lock);
	if (j->jnl.commit_hook)
		j->jnl.commit_hook(j->jnl.commit_arg, tid);
}

/* All together -------------------------------------------------------------------------------------------- */

/* busy is ours. An error is the journal's end. */
static int commit(struct jbd2 *j)
{
	struct jbd2_txn *t;
	bool frozen = true;
	int err;

	jnl_freeze(&j->jnl);
	t = take_running(j);
	if (t && copy_blocks(j, t))
		frozen = false;
	if (!t || !frozen)
		jnl_thaw(&j->jnl);
	if (!t)
		return 0;
	err = write_ordered(j, t);
	if (!err)
		err = take_place(j, t);
	if (!err)
		err = write_log(j, t);
	if (frozen)
		jnl_thaw(&j->jnl);
	if (!err && !PLANTED(PLANT_NO_COMMIT_FLUSH))
		err = flush_log(j);
	if (!err)
		err = write_record(j, t);
	free_copies(j, t);
	if (!err)
		finish(j, t);
	TRACE(journal, "commit %" PRIu64 " at %u+%u: %d", t->tid, t->start, t->len, err);
	return err;
}

void jbd2_commit_some(struct jbd2 *j)
{
	int err;

	assert_held(&j->lock);
	if (j->busy) {
		os_cond_wait(&j->changed, &j->lock);
		return;
	}
	if (jnl_is_aborted(&j->jnl))
		return;		/* J8 */
	j->busy = true;
	os_mutex_unlock(&j->lock);
	err = commit(j);
	if (err)
		jnl_abort(&j->jnl, err);
	os_mutex_lock(&j->lock);
	j->busy = false;
	os_cond_broadcast(&j->changed);
	if (jbd2_is_filling(j))
		jbd2_kick(j);
}

bool jbd2_is_committed(const struct jnl *jnl, jnl_tid tid)
{
	return atomic_load(&jbd2_of((struct jnl *)(uintptr_t)jnl)->committed) >= tid;
}

/* What a caller has to wait for. lock held. */
static jnl_tid wanted(struct jbd2 *j, jnl_tid tid)
{
	const struct jbd2_txn *t = jbd2_running(j);
	const jnl_tid newest = t && !jbd2_txn_is_empty(t) ? t->tid : j->committing ? j->committing->tid : 0;

	return tid == 0 ? newest : MIN(tid, newest);
}

int jbd2_commit_wait(struct jnl *jnl, jnl_tid tid)
{
	struct jbd2 *j = jbd2_of(jnl);
	uint64_t nr_flushes;
	bool covered;

	if (jnl_is_aborted(jnl))
		return -EROFS;
	os_mutex_lock(&j->lock);
	nr_flushes = j->nr_flushes_begun;
	tid = wanted(j, tid);
	while (atomic_load(&j->committed) < tid && !jnl_is_aborted(jnl))
		jbd2_commit_some(j);
	covered = j->nr_flushed > nr_flushes;
	os_mutex_unlock(&j->lock);
	if (jnl_is_aborted(jnl))
		return atomic_load(&jnl->abort_err);
	return covered ? 0 : blk_flush(jnl->dev);
}
