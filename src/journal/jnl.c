/* jnl.c: what all kinds of journals have in common: the gate, the abort, the checks. */
#include "journal/jnl_int.h"

void jnl_init(struct jnl *j, const struct jnl_ops *ops, struct cache *c, struct blk_dev *dev)
{
	j->ops = ops;
	j->cache = c;
	j->dev = dev;
	os_mutex_init(&j->gate.lock, RANK_JNL);
	os_cond_init(&j->gate.changed);
	lock_dep_init(&j->handle_dep, "journal handle", RANK_HANDLE);
	cache_set_freezer(c, jnl_freeze, jnl_thaw, j);
}

void jnl_fini(struct jnl *j)
{
	cache_set_freezer(j->cache, NULL, NULL, NULL);
	os_mutex_fini(&j->gate.lock);
	os_cond_fini(&j->gate.changed);
}

/* The gate ------------------------------------------------------------------------ */

/* Threads spread over the slots by where their thread-local storage lies. */
static unsigned gate_slot(void)
{
	static _Thread_local char here;

	return (unsigned)((uintptr_t)&here * 0x9e3779b97f4a7c15u >> 60) % JNL_GATE_SLOTS;
}

static void gate_leave(struct jnl_gate *g, unsigned slot)
{
	atomic_fetch_sub(&g->slots[slot].nr, 1);
	if (unlikely(atomic_load(&g->frozen))) {
		LOCK_GUARD(&g->lock);

		os_cond_broadcast(&g->changed);
	}
}

static void gate_enter(struct jnl_gate *g, unsigned slot)
{
	for (;;) {
		atomic_fetch_add(&g->slots[slot].nr, 1);	/* G2 */
		if (likely(!atomic_load(&g->frozen)))
			return;
		gate_leave(g, slot);
		os_mutex_lock(&g->lock);
		while (atomic_load(&g->frozen))
			os_cond_wait(&g->changed, &g->lock);
		os_mutex_unlock(&g->lock);
	}
}

static bool gate_is_empty(struct jnl_gate *g)
{
	for (unsigned i = 0; i < JNL_GATE_SLOTS; i++)
		if (atomic_load(&g->slots[i].nr))
			return false;
	return true;
}

void jnl_freeze(void *arg)
{
	struct jnl_gate *g = &((struct jnl *)arg)->gate;
	LOCK_GUARD(&g->lock);

	while (g->freezer)
		os_cond_wait(&g->changed, &g->lock);
	g->freezer = true;
	atomic_store(&g->frozen, true);
	while (!gate_is_empty(g))
		os_cond_wait(&g->changed, &g->lock);
}

void jnl_thaw(void *arg)
{
	struct jnl_gate *g = &((struct jnl *)arg)->gate;
	LOCK_GUARD(&g->lock);

	g->freezer = false;
	atomic_store(&g->frozen, false);
	os_cond_broadcast(&g->changed);
}

/* Debug builds remember what a handle touched ---------------------------------------- */
#ifdef OSFS_LOCK_DEBUG
static struct jnl_touched *touched_find(struct jnl_handle *h, pblk_t pblk)
{
	for (unsigned i = 0; i < h->nr_touched; i++)
		if (h->touched[i].pblk == pblk)
			return &h->touched[i];
	return NULL;
}

static void check_get_write(struct jnl_handle *h, const struct cache_buf *b)
{
	if (touched_find(h, b->pblk) || h->nr_touched == JNL_TOUCHED_MAX)
		return;
	h->touched[h->nr_touched++] = (struct jnl_touched){ b->pblk, false };
}

static void check_dirty(struct jnl_handle *h, const struct cache_buf *b)
{
	struct jnl_touched *t = touched_find(h, b->pblk);

	assert(t || h->nr_touched == JNL_TOUCHED_MAX);	/* jnl_get_write came first */
	if (!t || t->dirty)
		return;
	t->dirty = true;
	assert(h->nr_credits > 0);	/* the sum at jnl_begin() was too small */
	h->nr_credits--;
}

static void check_begin(struct jnl_handle *h)
{
	h->nr_touched = 0;
}
#else
static inline void check_get_write(struct jnl_handle *h, const struct cache_buf *b) { (void)h, (void)b; }
static inline void check_dirty(struct jnl_handle *h, const struct cache_buf *b) { (void)h, (void)b; }
static inline void check_begin(struct jnl_handle *h) { (void)h; }
#endif

/* Handles --------------------------------------------------------------------------------- */

/* Through the gate and into a transaction that has room; waits for one outside of the gate. */
static int handle_enter(struct jnl *j, struct jnl_handle *h)
{
	for (;;) {
		int err;

		gate_enter(&j->gate, h->slot);
		err = j->ops->begin ? j->ops->begin(j, h) : 0;
		if (likely(!err))
			return 0;
		gate_leave(&j->gate, h->slot);
		if (err != -EAGAIN)
			return err;
		lock_dep_release(&j->handle_dep);
		err = j->ops->wait_room(j, h->nr_credits);
		lock_dep_acquire(&j->handle_dep, 0, false);
		if (err)
			return err;
	}
}

int jnl_begin(struct jnl *j, unsigned nr_credits, struct jnl_handle *h)
{
	int err;

	assert(!h->opened);
	if (unlikely(jnl_is_aborted(j)))
		return -EROFS;
	lock_dep_acquire(&j->handle_dep, 0, false);
	h->jnl = j;
	h->tid = 0;
	h->nr_credits = nr_credits;
	h->slot = gate_slot();
	check_begin(h);
	err = handle_enter(j, h);
	if (err) {
		lock_dep_release(&j->handle_dep);
		return err;
	}
	h->opened = true;
	return 0;
}

int jnl_extend(struct jnl_handle *h, unsigned nr_credits)
{
	const int err = h->jnl->ops->extend ? h->jnl->ops->extend(h, nr_credits) : 0;

	if (!err)
		h->nr_credits += nr_credits;
	return err;
}

int jnl_restart(struct jnl_handle *h, unsigned nr_credits)
{
	struct jnl *j = h->jnl;
	const int err = jnl_end(h);

	return err ? err : jnl_begin(j, nr_credits, h);
}

int jnl_end(struct jnl_handle *h)
{
	struct jnl *j = h->jnl;
	int err;

	assert(h->opened);
	h->opened = false;
	err = j->ops->end ? j->ops->end(h) : 0;
	gate_leave(&j->gate, h->slot);
	lock_dep_release(&j->handle_dep);
	return err;
}

int jnl_get_write(struct jnl_handle *h, struct cache_buf *b)
{
	assert(h->opened);
	check_get_write(h, b);
	return h->jnl->ops->get_write ? h->jnl->ops->get_write(h, b, false) : 0;
}

int jnl_get_create(struct jnl_handle *h, struct cache_buf *b)
{
	assert(h->opened);
	check_get_write(h, b);
	return h->jnl->ops->get_write ? h->jnl->ops->get_write(h, b, true) : 0;
}

void jnl_dirty(struct jnl_handle *h, struct cache_buf *b)
{
	assert(h->opened);
	check_dirty(h, b);
	h->jnl->ops->dirty(h, b);
}

void jnl_forget(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	assert(h->opened);
	h->jnl->ops->forget(h, pblk, nr);
}

void jnl_forget_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	assert(h->opened);
	if (h->jnl->ops->forget_data)
		h->jnl->ops->forget_data(h, pblk, nr);
	else
		cache_forget(h->jnl->cache, pblk, nr);
}

int jnl_order_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	assert(h->opened);
	return h->jnl->ops->order_data ? h->jnl->ops->order_data(h, pblk, nr) : 0;
}

int jnl_commit_wait(struct jnl *j, jnl_tid tid)
{
	lock_dep_assert_below(RANK_HANDLE);
	return jnl_is_aborted(j) ? -EROFS : j->ops->commit_wait(j, tid);
}

void jnl_abort(struct jnl *j, int err)
{
	int none = 0;

	if (!atomic_compare_exchange_strong(&j->abort_err, &none, err))
		return;
	log_error("%s: no more writes from now on: %s", blk_name(j->dev), strerror(-err));
	if (j->ops->aborted)
		j->ops->aborted(j, err);
	if (j->abort_hook)
		j->abort_hook(j->abort_arg, err);
}

bool jnl_is_aborted(const struct jnl *j)
{
	return atomic_load_explicit(&j->abort_err, memory_order_relaxed) != 0;
}

enum jnl_data_mode jnl_data_mode(const struct jnl *j)
{
	return j->data_mode;
}

bool jnl_is_committed(const struct jnl *j, jnl_tid tid)
{
	return !j->ops->is_committed || j->ops->is_committed(j, tid);
}

void jnl_set_commit_hook(struct jnl *j, void (*fn)(void *arg, jnl_tid tid), void *arg)
{
	j->commit_hook = fn;
	j->commit_arg = arg;
}

void jnl_set_abort_hook(struct jnl *j, void (*fn)(void *arg, int err), void *arg)
{
	j->abort_hook = fn;
	j->abort_arg = arg;
}

int jnl_free(struct jnl *j)
{
	return j ? j->ops->free(j) : 0;
}
