/*
 * fs_pending.c: freed blocks wait for their transaction (F5).
 *
 * Until the transaction that frees them is committed, a crash gives the blocks back to the file
 * that had them: they must not be written. Their bits in the bitmap are clear from the start, since
 * that is what the transaction says. A second bitmap in memory keeps them from being given out, and a
 * list in the order of transactions tells when that ends.
 */
#include <stdlib.h>

#include "fs/fs_bits.h"
#include "fs/fs_int.h"

static unsigned bitmap_order(const struct fs *fs)
{
	unsigned order = 0;

	while ((size_t)ALLOC_PAGE_BYTES << order < fs->blocks_per_group / 8)
		order++;
	return order;
}

static int list_add_freed(struct fs *fs, const struct fs_freed *f)
{
	struct fs_freed *last;
	LOCK_GUARD(&fs->freed_lock);

	last = fs->nr_freed ? &fs->freed[fs->nr_freed - 1] : NULL;
	/* Of one group all the same: a group's last block and the next one's first are apart in a list by groups. */
	if (last && last->tid == f->tid && last->first + last->nr == f->first &&
	    fs_group_of_block(fs, last->first) == fs_group_of_block(fs, f->first)) {
		last->nr += f->nr;
		return 0;
	}
	if (fs->nr_freed == fs->freed_cap) {
		const size_t cap = fs->freed_cap ? 2 * fs->freed_cap : 64;
		struct fs_freed *grown = realloc(fs->freed, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		fs->freed = grown;
		fs->freed_cap = cap;
	}
	fs->freed[fs->nr_freed++] = *f;
	return 0;
}

int fs_pending_add(struct jnl_handle *h, struct fs *fs, struct fs_group *g, uint32_t from, uint32_t nr)
{
	const struct fs_freed f = { .tid = h->tid, .first = fs_group_first_block(fs, g->nr) + from, .nr = nr };
	int err;

	assert_held(&g->lock);
	if (!g->pending) {
		g->pending = alloc_pages(fs->alloc, bitmap_order(fs));
		if (!g->pending)
			return -ENOMEM;
		memset(g->pending, 0, (size_t)ALLOC_PAGE_BYTES << bitmap_order(fs));
	}
	err = list_add_freed(fs, &f);
	if (err)
		return err;
	fs_bits_set(g->pending, from, from + nr);
	g->nr_pending += nr;
	atomic_fetch_add(&fs->nr_pending, nr);
	return 0;
}

static void pending_free(struct fs *fs, struct fs_group *g)
{
	if (g->pending)
		alloc_pages_free(fs->alloc, g->pending, bitmap_order(fs));
	g->pending = NULL;
	g->nr_pending = 0;
}

static void release(struct fs *fs, const struct fs_freed *f)
{
	struct fs_group *g = fs_group_of_block(fs, f->first);
	const uint32_t from = (uint32_t)(f->first - fs_group_first_block(fs, g->nr));

	os_mutex_lock_key(&g->lock, g->nr);
	fs_bits_clear(g->pending, from, from + f->nr);
	g->nr_pending -= f->nr;
	atomic_store(&g->longest_run, g->nr_blocks);		/* BA1 */
	g->block_hint = MIN(g->block_hint, from);		/* BA2 */
	if (g->nr_pending == 0)
		pending_free(fs, g);
	os_mutex_unlock(&g->lock);
	atomic_fetch_sub(&fs->nr_pending, f->nr);
}

/* Those at the front of the list whose transaction is done, in a list of their own. */
static struct fs_freed *take_done(struct fs *fs, size_t *nr)
{
	struct fs_freed *done, *rest = NULL;
	size_t n = 0;
	LOCK_GUARD(&fs->freed_lock);

	while (n < fs->nr_freed && jnl_is_committed(fs->jnl, fs->freed[n].tid))
		n++;
	*nr = n;
	if (n == 0)
		return NULL;
	if (n < fs->nr_freed) {
		rest = malloc((fs->nr_freed - n) * sizeof(*rest));
		if (!rest) {	/* they wait for the next commit */
			*nr = 0;
			return NULL;
		}
		memcpy(rest, fs->freed + n, (fs->nr_freed - n) * sizeof(*rest));
	}
	done = fs->freed;
	fs->freed = rest;
	fs->freed_cap = fs->nr_freed = fs->nr_freed - n;
	return done;
}

void fs_pending_release(void *arg, jnl_tid tid)
{
	struct fs *fs = arg;
	struct fs_freed *done;
	size_t nr;
	LOCK_GUARD(&fs->release_lock);

	(void)tid;
	done = take_done(fs, &nr);
	for (size_t i = 0; i < nr; i++)
		release(fs, &done[i]);
	free(done);
}

/* After an abort some are left. */
void fs_pending_fini(struct fs *fs)
{
	for (uint32_t i = 0; fs->groups && i < fs->nr_groups; i++)
		pending_free(fs, &fs->groups[i]);
	free(fs->freed);
	fs->freed = NULL;
	fs->nr_freed = fs->freed_cap = 0;
}

bool fs_nospc_retry(struct fs *fs, int err, unsigned *nr_tries)
{
	enum { TRIES_MAX = 3 };

	if (err != -ENOSPC || (*nr_tries)++ >= TRIES_MAX || atomic_load(&fs->nr_pending) == 0 ||
	    jnl_commit_wait(fs->jnl, 0))
		return false;
	fs_pending_release(fs, 0);	/* whoever committed may not have come to it yet */
	return true;
}
