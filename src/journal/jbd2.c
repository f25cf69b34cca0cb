/* jbd2.c: a journal's life: opening, the thread, emptying, closing. Invariants: jbd2_int.h. */
#include <stdlib.h>
#include <time.h>

#include "journal/jbd2_int.h"

static uint64_t system_now(void *arg)
{
	struct timespec now;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The thread: commits by time, checkpoints before anyone has to wait for them ------------------- */

static bool commit_is_due(struct jbd2 *j, uint64_t now)
{
	const struct jbd2_txn *t = jbd2_running(j);

	if (!t || jbd2_txn_is_empty(t))
		return false;
	return now - t->begun_msec >= j->commit_msec || atomic_load(&t->nr_reserved) > j->max_txn / 4 * 3;
}

static void *thread_main(void *arg)
{
	struct jbd2 *j = arg;

	os_mutex_lock(&j->lock);
	while (!j->stop) {
		if (jnl_is_aborted(&j->jnl)) {
			os_cond_wait(&j->wanted, &j->lock);
			continue;
		}
		atomic_store(&j->kicked, false);
		if (commit_is_due(j, jbd2_now_msec())) {
			jbd2_commit_some(j);
			continue;
		}
		if (jbd2_is_filling(j) && !j->checkpointing) {
			os_mutex_unlock(&j->lock);
			(void)!jbd2_checkpoint(j, j->nr_ring / 4 * 3, true);	/* an error has aborted */
			os_mutex_lock(&j->lock);
			continue;
		}
		os_cond_wait_msec(&j->wanted, &j->lock, MAX(j->commit_msec / 4, 1u));
	}
	os_mutex_unlock(&j->lock);
	return NULL;
}

static void thread_stop(struct jbd2 *j)
{
	if (!j->background)
		return;
	os_mutex_lock(&j->lock);
	j->stop = true;
	os_cond_signal(&j->wanted);
	os_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	j->background = false;
}

/* Emptying and closing ------------------------------------------------------------------------------ */

/* s_start 0: nothing to replay. With the right to commit, so that nobody does meanwhile. */
static int store_empty(struct jbd2 *j)
{
	bool has_nothing;
	int err = 0;

	os_mutex_lock(&j->lock);
	while (j->busy)
		os_cond_wait(&j->changed, &j->lock);
	j->busy = true;
	has_nothing = j->nr_used == 0;
	os_mutex_unlock(&j->lock);
	if (has_nothing && !j->log_empty) {
		err = jbd2_store_tail(j, 0, (uint32_t)(atomic_load(&j->committed) + 1), BLK_FUA);
		j->log_empty = !err;
	}
	os_mutex_lock(&j->lock);
	j->busy = false;
	os_cond_broadcast(&j->changed);
	os_mutex_unlock(&j->lock);
	return err;
}

int jbd2_empty(struct jnl *jnl)
{
	struct jbd2 *j = jbd2_of(jnl);
	int err = jbd2_commit_wait(jnl, 0);

	if (!err)
		err = jbd2_checkpoint(j, UINT32_MAX, true);
	return err ? err : store_empty(j);
}

/* After an abort: what was never committed goes no further. */
static void txn_drop(struct jbd2_txn *t)
{
	for (size_t i = 0; t && i < t->nr; i++)
		if (t->entries[i].buf)
			cache_buf_release(t->entries[i].buf, false);
	jbd2_txn_free(t);
}

static void journal_fini(struct jbd2 *j)
{
	struct jbd2_txn *t, *next;

	txn_drop(jbd2_running(j));
	txn_drop(j->committing);
	list_for_each_safe(t, next, &j->logged, link)
		jbd2_txn_free(t);
	jbd2_txn_free(j->spare);
	jbd2_map_fini(&j->home);
	while (j->nr_copies > 0)
		jbd2_block_free(j, j->copies[--j->nr_copies]);
	slab_free(j->block_slab);
	jbd2_file_close(&j->file);
	os_mutex_fini(&j->lock);
	os_mutex_fini(&j->sb_lock);
	os_cond_fini(&j->changed);
	os_cond_fini(&j->wanted);
	jnl_fini(&j->jnl);
	free(j);
}

static int jbd2_free(struct jnl *jnl)
{
	struct jbd2 *j = jbd2_of(jnl);
	int err;

	thread_stop(j);
	err = jnl_is_aborted(jnl) ? atomic_load(&jnl->abort_err) : jbd2_empty(jnl);
	journal_fini(j);
	return err;
}

/* Errors ------------------------------------------------------------------------------------------------ */

static void jbd2_aborted(struct jnl *jnl, int err)
{
	struct jbd2 *j = jbd2_of(jnl);
	LOCK_GUARD(&j->sb_lock);

	j->file.sb.s_errno = be32_of((uint32_t)err);
	if (jbd2_file_store_sb(&j->file, BLK_FUA))
		log_error("%s: the error could not be noted in the journal either", blk_name(jnl->dev));
}

int jbd2_errno(struct jnl *jnl)
{
	struct jbd2 *j = jbd2_of(jnl);
	LOCK_GUARD(&j->sb_lock);

	return (int)be32_get(j->file.sb.s_errno);
}

int jbd2_clear_errno(struct jnl *jnl)
{
	struct jbd2 *j = jbd2_of(jnl);
	LOCK_GUARD(&j->sb_lock);

	if (jnl_is_aborted(jnl))
		return -EROFS;
	j->file.sb.s_errno = be32_of(0);
	return jbd2_file_store_sb(&j->file, BLK_FUA);
}

/* Opening ------------------------------------------------------------------------------------------------ */

static const struct jnl_ops jbd2_ops = {
	.name = "jbd2",
	.begin = jbd2_begin,
	.wait_room = jbd2_wait_room,
	.extend = jbd2_extend,
	.get_write = jbd2_get_write,
	.dirty = jbd2_dirty,
	.forget = jbd2_forget,
	.forget_data = jbd2_forget_data,
	.order_data = jbd2_order_data,
	.end = jbd2_end,
	.commit_wait = jbd2_commit_wait,
	.is_committed = jbd2_is_committed,
	.aborted = jbd2_aborted,
	.free = jbd2_free,
};

/* The log is empty, so its format may change; the superblock goes out with the first commit. */
static void choose_features(struct jbd2_file *f, const struct jbd2_opts *o)
{
	uint32_t incompat = be32_get(f->sb.s_feature_incompat) | JNL_INCOMPAT_REVOKE;

	incompat &= ~(uint32_t)JNL_INCOMPAT_ASYNC_COMMIT;
	if (o->nr_pblks > UINT32_MAX)
		incompat |= JNL_INCOMPAT_64BIT;
	if (o->checksum) {
		incompat = (incompat & ~(uint32_t)JNL_INCOMPAT_CSUM_V2) | JNL_INCOMPAT_CSUM_V3;
		f->sb.s_checksum_type = JNL_CRC32C;
	}
	f->sb.s_feature_incompat = be32_of(incompat);
	f->sb.s_feature_compat = be32_of(be32_get(f->sb.s_feature_compat) & ~(uint32_t)JNL_COMPAT_CHECKSUM);
	jbd2_file_settle(f);
}

static int check_usable(const struct jbd2_file *f, const struct jbd2_opts *o)
{
	if (o->read_only)
		return -EROFS;
	if (be32_get(f->sb.s_header.h_blocktype) != JNL_SB_V2) {
		log_error("%s: journal superblock version 1 can be replayed, not written", blk_name(o->dev));
		return -EOPNOTSUPP;
	}
	if (be32_get(f->sb.s_start) != 0) {
		log_error("%s: the journal is not empty: it needs recovery first", blk_name(o->dev));
		return -EUCLEAN;
	}
	return 0;
}

/* The blocks of a transaction stay in memory until it is committed, twice while that goes on. */
static uint32_t most_in_memory(struct cache *c)
{
	struct cache_stats st;
	uint64_t nr;

	cache_stats_get(c, &st);
	nr = MAX(st.size_bytes / st.block_bytes / JBD2_CACHE_PART, (uint64_t)JBD2_TXN_LEAST);
	return (uint32_t)MIN(nr, (uint64_t)UINT32_MAX);
}

static void settle_sizes(struct jbd2 *j)
{
	const struct jbd2_file *f = &j->file;
	const uint32_t body = f->block_bytes - f->tail_bytes;
	uint32_t part;

	j->nr_ring = f->end - f->first;
	j->tags_per_block = (body - (uint32_t)sizeof(struct jnl_disk_header) - JNL_UUID_BYTES) / f->tag_bytes;
	j->revokes_per_block = (body - (uint32_t)sizeof(struct jnl_disk_revoke)) / f->revoke_bytes;
	part = MIN(j->nr_ring / JBD2_TXN_PART, most_in_memory(j->jnl.cache));
	j->max_txn = part - DIV_UP(part, j->tags_per_block) - 1;
	j->slack = j->nr_ring / JBD2_SLACK_PART;
	j->head = f->first;
	j->log_empty = true;
}

static int journal_init(struct jbd2 *j, const struct jbd2_opts *o)
{
	j->alloc = o->alloc;
	j->now_nsec = o->now_nsec ? o->now_nsec : system_now;
	j->now_arg = o->now_arg;
	j->commit_msec = (o->commit_sec ? MIN(o->commit_sec, 3600u) : JBD2_COMMIT_SEC) * 1000;
	j->jnl.data_mode = o->data_mode;
	/* As Linux goes on from an empty log; the high half keeps numbers rising where the low one wraps. */
	j->next_tid = (1ull << 32) + be32_get(j->file.sb.s_sequence) + 1;
	atomic_store(&j->committed, j->next_tid - 1);
	list_init(&j->logged);
	os_mutex_init(&j->lock, RANK_JNL);
	os_mutex_init(&j->sb_lock, RANK_JBD2_SB);
	os_cond_init(&j->changed);
	os_cond_init(&j->wanted);
	jnl_init(&j->jnl, &jbd2_ops, o->cache, o->dev);
	settle_sizes(j);
	cache_set_freezer(o->cache, NULL, NULL, NULL);	/* frames in use are held: the cache copies others at any time */
	if (j->file.block_bytes < ALLOC_PAGE_BYTES)
		j->block_slab = slab_new(o->alloc, "journal block", j->file.block_bytes, 0);
	else
		j->block_order = log2_floor(j->file.block_bytes / ALLOC_PAGE_BYTES);
	return j->file.block_bytes >= ALLOC_PAGE_BYTES || j->block_slab ? 0 : -ENOMEM;
}

int jbd2_open(const struct jbd2_opts *o, struct jnl **out)
{
	struct jbd2 *j = aligned_alloc(64, ALIGN_UP(sizeof(*j), 64));
	int err;

	if (!j)
		return -ENOMEM;
	memset(j, 0, sizeof(*j));
	err = jbd2_file_open(&j->file, o);
	if (err)
		goto fail;
	err = check_usable(&j->file, o);
	if (err)
		goto fail;
	choose_features(&j->file, o);
	err = journal_init(j, o);
	if (!err && o->background) {
		err = -pthread_create(&j->thread, NULL, thread_main, j);
		j->background = !err;
	}
	if (err) {
		journal_fini(j);
		return err;
	}
	*out = &j->jnl;
	return 0;
fail:
	jbd2_file_close(&j->file);
	free(j);
	return err;
}
