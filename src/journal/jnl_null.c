/*
 * jnl_null.c: the null journal of filesystems without one. Dirty metadata is the cache's to
 * write back; a commit writes what is dirty and flushes the device. Commits that are asked for
 * while one runs share the next one.
 *
 *   N1  A commit that begins after a handle ended covers that handle.
 *   N2  Who waits for a commit learns of every error from that commit on.
 */
#include <stdlib.h>

#include "journal/jnl_int.h"

struct jnl_null {
	struct jnl jnl;			/* first */
	os_mutex lock;			/* RANK_JNL */
	os_cond done;
	bool running;			/* [lock] a commit is under way */
	uint64_t nr_begun, nr_done;	/* [lock] commits */
	uint64_t failed;		/* [lock] the last one that failed; 0: none */
	int err;			/* [lock] of that one */
};

static struct jnl_null *null_of(struct jnl *j)
{
	return container_of(j, struct jnl_null, jnl);
}

static void null_dirty(struct jnl_handle *h, struct cache_buf *b)
{
	(void)h;
	cache_mark_dirty(b);
}

static void null_forget(struct jnl_handle *h, pblk_t pblk, uint32_t nr)
{
	cache_forget(h->jnl->cache, pblk, nr);
}

static int commit(struct jnl *j)
{
	const int err = cache_flush(j->cache, CACHE_META);

	return err ? err : blk_flush(j->dev);
}

static int null_commit_wait(struct jnl *j, jnl_tid tid)
{
	struct jnl_null *n = null_of(j);
	uint64_t wanted;
	int err;

	(void)tid;	/* every commit covers all that ended */
	os_mutex_lock(&n->lock);
	wanted = n->nr_begun + 1;	/* N1: one that is running may have begun too early for us */
	while (n->nr_done < wanted) {
		if (n->running) {
			os_cond_wait(&n->done, &n->lock);
			continue;
		}
		n->running = true;
		n->nr_begun++;
		os_mutex_unlock(&n->lock);
		err = commit(j);
		os_mutex_lock(&n->lock);
		n->running = false;
		n->nr_done = n->nr_begun;
		if (err) {
			n->failed = n->nr_done;
			n->err = err;
		}
		os_cond_broadcast(&n->done);
	}
	err = n->failed >= wanted ? n->err : 0;
	os_mutex_unlock(&n->lock);
	return err;
}

static int null_free(struct jnl *j)
{
	struct jnl_null *n = null_of(j);
	const int err = null_commit_wait(j, 0);

	jnl_fini(j);
	os_mutex_fini(&n->lock);
	os_cond_fini(&n->done);
	free(n);
	return err;
}

static const struct jnl_ops null_ops = {
	.name = "null",
	.dirty = null_dirty,
	.forget = null_forget,
	.commit_wait = null_commit_wait,
	.free = null_free,
};

int jnl_null_new(struct cache *c, struct blk_dev *dev, struct jnl **out)
{
	struct jnl_null *n = aligned_alloc(64, ALIGN_UP(sizeof(*n), 64));

	if (!n)
		return -ENOMEM;
	memset(n, 0, sizeof(*n));
	jnl_init(&n->jnl, &null_ops, c, dev);
	os_mutex_init(&n->lock, RANK_JNL);
	os_cond_init(&n->done);
	*out = &n->jnl;
	return 0;
}
