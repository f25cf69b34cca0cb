/*
 * jbd2_txn.c: handles and what they bring into the running transaction.
 *
 * While a handle is open the running transaction stays the running one: a commit closes the gate
 * and waits before it takes it. So a frame whose owner is h->tid is in, and that one comparison is
 * the whole of jnl_get_write for a block that has been changed before.
 */
#include <stdlib.h>
#include <time.h>

#include "journal/jbd2_int.h"

uint64_t jbd2_now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Transactions ------------------------------------------------------------------------------- */

static void txn_fini(struct jbd2_txn *t)
{
	free(t->entries);
	free(t->ordered.runs);
	free(t->late.runs);
	jbd2_map_fini(&t->map);
}

void jbd2_txn_free(struct jbd2_txn *t)
{
	if (!t)
		return;
	txn_fini(t);
	free(t);
}

void jbd2_txn_recycle(struct jbd2 *j, struct jbd2_txn *t)
{
	assert_held(&j->lock);
	if (j->spare) {
		jbd2_txn_free(t);
		return;
	}
	txn_fini(t);
	*t = (struct jbd2_txn){ 0 };
	j->spare = t;
}

bool jbd2_txn_is_empty(const struct jbd2_txn *t)
{
	return t->nr == 0 && t->ordered.nr == 0 && t->late.nr == 0;
}

/* The running one, begun when there is room. -EAGAIN: there is none, -ENOMEM. */
static int txn_get(struct jbd2 *j, struct jbd2_txn **out)
{
	LOCK_GUARD(&j->lock);

	*out = jbd2_running(j);
	if (*out)
		return 0;
	if (!jbd2_has_room(j))
		return -EAGAIN;
	*out = j->spare ? j->spare : calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	j->spare = NULL;
	(*out)->tid = j->next_tid++;
	(*out)->begun_msec = jbd2_now_msec();
	list_init(&(*out)->link);
	atomic_store_explicit(&j->running, *out, memory_order_release);
	return 0;
}

/* Handles ---------------------------------------------------------------------------------------- */

static int reserve(struct jbd2 *j, struct jbd2_txn *t, unsigned nr)
{
	if (likely(atomic_fetch_add(&t->nr_reserved, nr) + nr <= j->max_txn))
		return 0;
	atomic_fetch_sub(&t->nr_reserved, nr);
	return -EAGAIN;
}

int jbd2_begin(struct jnl *jnl, struct jnl_handle *h)
{
	struct jbd2 *j = jbd2_of(jnl);
	struct jbd2_txn *t = jbd2_running(j);
	int err;

	if (unlikely(jnl_is_aborted(jnl)))
		return -EROFS;
	if (unlikely(h->nr_credits > j->max_txn)) {
		log_error("%s: an operation needs %u blocks of the journal at once, a transaction takes %u", blk_name(jnl->dev),
			  h->nr_credits, j->max_txn);
		return -ENOSPC;
	}
	err = likely(t) ? 0 : txn_get(j, &t);
	if (!err)
		err = reserve(j, t, h->nr_credits);
	if (err)
		return err;
	h->tid = t->tid;
	h->nr_reserved = h->nr_credits;
	h->nr_used = 0;
	return 0;
}

int jbd2_extend(struct jnl_handle *h, unsigned nr_credits)
{
	struct jbd2 *j = jbd2_of(h->jnl);

	if (reserve(j, jbd2_running(j), nr_credits))
		return -ENOSPC;
	h->nr_reserved += nr_credits;
	return 0;
}

int jbd2_wait_room(struct jnl *jnl, unsigned nr_credits)
{
	struct jbd2 *j = jbd2_of(jnl);
	int err = 0;

	os_mutex_lock(&j->lock);
	while (!err && !jnl_is_aborted(jnl)) {
		const struct jbd2_txn *t = jbd2_running(j);

		if (t && atomic_load(&t->nr_reserved) + nr_credits > j->max_txn) {
			jbd2_commit_some(j);
		} else if (t || jbd2_has_room(j)) {
			break;
		} else if (jbd2_free_blocks(j) >= j->nr_ring / 2) {
			jbd2_commit_some(j);	/* one that has not taken its place in the log is in the way */
		} else {
			os_mutex_unlock(&j->lock);
			err = jbd2_checkpoint(j, j->nr_ring / 2, true);
			os_mutex_lock(&j->lock);
		}
	}
	os_mutex_unlock(&j->lock);
	return jnl_is_aborted(jnl) ? -EROFS : err;
}

void jbd2_kick(struct jbd2 *j)
{
	if (j->background && !atomic_exchange(&j->kicked, true))
		os_cond_signal(&j->wanted);
}

/* The commit begins before the next handle has to wait for it. */
static void kick_early(struct jbd2 *j)
{
	LOCK_GUARD(&j->lock);

	jbd2_kick(j);
}

int jbd2_end(struct jnl_handle *h)
{
	struct jbd2 *j = jbd2_of(h->jnl);
	const unsigned more = h->nr_used - h->nr_reserved;	/* modulo 2^32: most give back */
	const unsigned now = atomic_fetch_add(&jbd2_running(j)->nr_reserved, more) + more;

	assert(h->nr_used <= h->nr_reserved);	/* the credits were a true sum */
	if (unlikely(now > j->max_txn / 4 * 3) && !atomic_load_explicit(&j->kicked, memory_order_relaxed))
		kick_early(j);
	return jnl_is_aborted(&j->jnl) ? -EROFS : 0;
}

/* Blocks ---------------------------------------------------------------------------------------------- */

static struct jbd2_entry *entry_find(struct jbd2_txn *t, pblk_t pblk)
{
	const uint64_t *at = jbd2_map_get(&t->map, pblk);

	return at ? &t->entries[*at] : NULL;
}

static int entry_add(struct jbd2_txn *t, pblk_t pblk, struct cache_buf *b, enum entry_state state)
{
	int err;

	if (t->nr == t->cap) {
		const size_t cap = t->cap ? 2 * t->cap : 16;
		struct jbd2_entry *grown = realloc(t->entries, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		t->entries = grown;
		t->cap = cap;
	}
	err = jbd2_map_put(&t->map, pblk, t->nr);
	if (!err)
		t->entries[t->nr++] = (struct jbd2_entry){ .pblk = pblk, .buf = b, .state = state };
	return err;
}

/* A block that was freed in this transaction comes back to life: its revoke record is not written. */
static void entry_revive(struct jbd2_txn *t, struct jbd2_entry *e, struct cache_buf *b)
{
	if (!e->buf) {
		cache_buf_hold(b);
		e->buf = b;
	}
	assert(e->buf == b);
	e->state = ENTRY_LOGGED;
	t->nr_revoked--;
	t->nr_logged++;
}

int jbd2_get_write(struct jnl_handle *h, struct cache_buf *b, bool fresh)
{
	struct jbd2 *j = jbd2_of(h->jnl);
	struct jbd2_txn *t;
	struct jbd2_entry *e;
	int err;

	(void)fresh;
	if (likely(atomic_load_explicit(&b->owner, memory_order_acquire) == h->tid))
		return 0;
	LOCK_GUARD(&j->lock);

	t = jbd2_running(j);
	e = entry_find(t, b->pblk);
	if (e && e->state == ENTRY_LOGGED)
		return 0;	/* someone was faster */
	if (e) {
		entry_revive(t, e, b);
	} else {
		err = entry_add(t, b->pblk, b, ENTRY_LOGGED);
		if (err)
			return err;
		cache_buf_hold(b);	/* J1 */
		t->nr_logged++;
	}
	h->nr_used++;
	atomic_store_explicit(&b->owner, h->tid, memory_order_release);
	return 0;
}

void jbd2_dirty(struct jnl_handle *h, struct cache_buf *b)
{
	/* All was done by jbd2_get_write. */
	assert(atomic_load_explicit(&b->owner, memory_order_relaxed) == h->tid);
	(void)h, (void)b;
}

/* lock held. unwritten: held, or NULL; becomes the entry's. */
static int entry_forget(struct jbd2 *j, struct jbd2_txn *t, pblk_t pblk, struct cache_buf *unwritten)
{
	struct jbd2_entry *e = entry_find(t, pblk);
	int err = 0;

	if (e && e->buf && unwritten)
		cache_buf_release(unwritten, false);	/* held already */
	else if (e && unwritten)
		e->buf = unwritten;
	if (e && e->state == ENTRY_REVOKED)
		return 0;
	if (e) {
		e->state = ENTRY_REVOKED;
		t->nr_logged--;
		atomic_fetch_sub(&t->nr_reserved, 1);
		atomic_store_explicit(&e->buf->owner, 0, memory_order_relaxed);
	} else {
		err = entry_add(t, pblk, unwritten, ENTRY_REVOKED);
		if (err)
			return err;
	}
	if (t->nr_revoked++ % j->revokes_per_block == 0)
		atomic_fetch_add(&t->nr_reserved, 1);	/* one more revoke block */
	return 0;
}

/* J6 */
void jbd2_forget(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	struct jbd2 *j = jbd2_of(h->jnl);
	int err = 0;

	for (uint32_t i = 0; !err && i < nr; i++) {
		struct cache_buf *unwritten = cache_hold_unwritten(j->jnl.cache, pblk + i);
		LOCK_GUARD(&j->lock);

		err = entry_forget(j, jbd2_running(j), pblk + i, unwritten);
		if (err && unwritten)
			cache_buf_release(unwritten, true);
	}
	if (err)
		jnl_abort(h->jnl, err);
}

/* File data ---------------------------------------------------------------------------------------------- */

static int ranges_add(struct jbd2_ranges *r, pblk_t pblk, uint32_t nr)
{
	struct cache_run *last = r->nr ? &r->runs[r->nr - 1] : NULL;

	if (last && last->pblk + last->nr == pblk && last->nr <= UINT32_MAX - nr) {
		last->nr += nr;
		return 0;
	}
	if (r->nr == r->cap) {
		const size_t cap = r->cap ? 2 * r->cap : 8;
		struct cache_run *grown = realloc(r->runs, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->runs = grown;
		r->cap = cap;
	}
	r->runs[r->nr++] = (struct cache_run){ pblk, nr };
	return 0;
}

int jbd2_order_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	struct jbd2 *j = jbd2_of(h->jnl);

	if (h->jnl->data_mode != JNL_DATA_ORDERED)
		return 0;
	LOCK_GUARD(&j->lock);

	return ranges_add(&jbd2_running(j)->ordered, pblk, nr);
}

/*
 * A commit that still has to write ordered data makes these blocks visible in a file once more, until
 * the transaction that frees them commits: then their data has to stay until then.
 */
void jbd2_forget_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	struct jbd2 *j = jbd2_of(h->jnl);
	bool pending;
	int err = 0;

	if (h->jnl->data_mode == JNL_DATA_JOURNAL) {
		jbd2_forget(h, pblk, nr);
		return;
	}
	os_mutex_lock(&j->lock);
	pending = j->data_pending;
	if (pending)
		err = ranges_add(&jbd2_running(j)->late, pblk, nr);
	os_mutex_unlock(&j->lock);
	if (!pending)
		cache_forget(j->jnl.cache, pblk, nr);
	if (err)
		jnl_abort(h->jnl, err);
}
