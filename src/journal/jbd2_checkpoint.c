/*
 * jbd2_checkpoint.c: what is committed goes home, and its space in the log is used again (J5).
 *
 * j->home says of each block which committed transaction has its newest logged copy, as long as
 * that copy may not be home yet; older transactions have nothing to do with the block any more. A
 * block that the running transaction has changed again cannot go home (C7): that one has to be
 * committed first, and takes the block over.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "journal/jbd2_int.h"

enum { CHECKPOINT_BATCH_BLOCKS = 4096 };

uint32_t jbd2_free_blocks(const struct jbd2 *j)
{
	/* One stays free: a full ring would look like an empty one. */
	return j->nr_ring - 1 - j->nr_used;
}

bool jbd2_has_room(const struct jbd2 *j)
{
	const uint32_t one = j->nr_ring / JBD2_TXN_PART + j->slack;
	const bool unplaced = j->committing && j->committing->len == 0;

	return jbd2_free_blocks(j) >= (unplaced ? 2 * one : one);
}

bool jbd2_is_filling(const struct jbd2 *j)
{
	return jbd2_free_blocks(j) < j->nr_ring / 2;
}

int jbd2_store_tail(struct jbd2 *j, uint32_t start, uint32_t seq, unsigned flags)
{
	LOCK_GUARD(&j->sb_lock);

	if (jnl_is_aborted(&j->jnl))
		return -EROFS;		/* J8 */
	j->file.sb.s_start = be32_of(start);
	j->file.sb.s_sequence = be32_of(seq);
	return jbd2_file_store_sb(&j->file, flags);
}

/* Who brings which block home ------------------------------------------------------------------ */

static struct jbd2_txn *home_owner(const struct jbd2 *j, pblk_t pblk)
{
	const uint64_t *owner = jbd2_map_get(&j->home, pblk);

	return owner ? (struct jbd2_txn *)(uintptr_t)*owner : NULL;
}

static void home_del(struct jbd2 *j, pblk_t pblk)
{
	struct jbd2_txn *owner = home_owner(j, pblk);

	if (!owner)
		return;
	owner->nr_left--;
	jbd2_map_del(&j->home, pblk);
}

void jbd2_home_add(struct jbd2 *j, struct jbd2_txn *t)
{
	assert_held(&j->lock);
	for (size_t i = 0; i < t->nr; i++) {
		const struct jbd2_entry *e = &t->entries[i];

		home_del(j, e->pblk);
		if (e->state != ENTRY_LOGGED)
			continue;
		t->nr_left++;
		if (jbd2_map_put(&j->home, e->pblk, (uintptr_t)t))
			assert(!"room was reserved");
	}
}

/* One round ------------------------------------------------------------------------------------------ */

/* The oldest transactions that together make want blocks free, and what they have to bring home. */
struct round {
	pblk_t *pblks;
	size_t nr, cap;
	jnl_tid last;
};

static int round_add(struct round *r, pblk_t pblk)
{
	if (r->nr == r->cap) {
		const size_t cap = r->cap ? 2 * r->cap : 256;
		pblk_t *grown = realloc(r->pblks, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->pblks = grown;
		r->cap = cap;
	}
	r->pblks[r->nr++] = pblk;
	return 0;
}

static int round_collect(struct jbd2 *j, uint32_t want, struct round *r)
{
	uint64_t free_then = jbd2_free_blocks(j);
	const struct jbd2_txn *t;
	int err = 0;

	list_for_each(t, &j->logged, link) {
		if (free_then >= want || r->nr >= CHECKPOINT_BATCH_BLOCKS)
			break;
		for (size_t i = 0; !err && i < t->nr; i++)
			if (t->entries[i].state == ENTRY_LOGGED && home_owner(j, t->entries[i].pblk) == t)
				err = round_add(r, t->entries[i].pblk);
		if (err)
			break;
		r->last = t->tid;
		free_then += t->len;
	}
	return err;
}

static int compare_pblks(const void *a, const void *b)
{
	const pblk_t x = *(const pblk_t *)a, y = *(const pblk_t *)b;

	return x < y ? -1 : x > y;
}

/* All of r's blocks but the held ones are home: nobody has to care for them, unless they were logged again meanwhile. */
static void round_settle(struct jbd2 *j, const struct round *r, const pblk_t *held, size_t nr_held)
{
	size_t h = 0;

	for (size_t i = 0; i < r->nr; i++) {
		const struct jbd2_txn *owner = home_owner(j, r->pblks[i]);

		if (h < nr_held && held[h] == r->pblks[i]) {
			h++;
			continue;
		}
		if (owner && owner->tid <= r->last)
			home_del(j, r->pblks[i]);
	}
}

/* lock held, is dropped for the writes. */
static int bring_home(struct jbd2 *j, struct round *r)
{
	pblk_t *held = malloc(MAX(r->nr, (size_t)1) * sizeof(*held));
	size_t nr_held = 0;
	int err;

	if (!held)
		return -ENOMEM;
	if (r->nr) {	/* else there is no array */
		qsort(r->pblks, r->nr, sizeof(r->pblks[0]), compare_pblks);
		memcpy(held, r->pblks, r->nr * sizeof(*held));
	}
	os_mutex_unlock(&j->lock);
	err = cache_flush_blocks(j->jnl.cache, held, r->nr, &nr_held);
	os_mutex_lock(&j->lock);
	if (!err)
		round_settle(j, r, held, nr_held);
	free(held);
	return err;
}

/* Moves the tail over the oldest transactions with nothing left. lock held, is dropped for the writes. */
static int advance_tail(struct jbd2 *j)
{
	uint32_t nr_gained = 0, start = 0;
	struct jbd2_txn *t, *next;
	struct list done;
	jnl_tid tid = 0;
	int err;

	list_init(&done);
	list_for_each_safe(t, next, &j->logged, link) {
		if (t->nr_left > 0)
			break;
		list_del(&t->link);
		list_add_tail(&done, &t->link);
		nr_gained += t->len;
		start = jbd2_wrap(&j->file, (uint64_t)t->start + t->len);
		tid = t->tid + 1;
	}
	if (nr_gained == 0)
		return 0;
	os_mutex_unlock(&j->lock);
	err = PLANTED(PLANT_NO_TAIL_FLUSH) ? 0 : blk_flush(j->jnl.dev);		/* J5: home before the tail */
	if (!err)
		err = jbd2_store_tail(j, start, (uint32_t)tid, BLK_FUA);
	os_mutex_lock(&j->lock);
	if (!err)
		j->nr_used -= nr_gained;
	list_for_each_safe(t, next, &done, link) {
		list_del(&t->link);
		jbd2_txn_recycle(j, t);
	}
	return err;
}

/* lock held, is dropped meanwhile. */
static int one_round(struct jbd2 *j, uint32_t want)
{
	struct round r = { 0 };
	int err = round_collect(j, want, &r);

	if (!err)
		err = bring_home(j, &r);
	free(r.pblks);
	if (!err)
		err = advance_tail(j);
	j->nr_checkpoints++;
	return err;
}

int jbd2_checkpoint(struct jbd2 *j, uint32_t want, bool may_commit)
{
	int err = 0;

	os_mutex_lock(&j->lock);
	while (!err && !jnl_is_aborted(&j->jnl) && jbd2_free_blocks(j) < want && j->nr_used > 0) {
		const uint32_t nr_used = j->nr_used;

		if (j->checkpointing) {
			os_cond_wait(&j->changed, &j->lock);
			continue;
		}
		j->checkpointing = true;
		err = one_round(j, want);
		j->checkpointing = false;
		os_cond_broadcast(&j->changed);
		if (err || j->nr_used < nr_used)
			continue;
		/* What is in the way is held, or not committed yet. */
		if (!may_commit)
			break;
		jbd2_commit_some(j);
	}
	os_mutex_unlock(&j->lock);
	if (err)
		jnl_abort(&j->jnl, err);
	return jnl_is_aborted(&j->jnl) ? -EROFS : err;
}
