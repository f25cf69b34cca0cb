/* cache_collect.c: which blocks are dirty, as a sorted list of numbers. */
#include <stdlib.h>

#include "cache/cache_int.h"

enum { SNAPSHOT_MIN = 64 };

void snapshot_fini(struct snapshot *sn)
{
	free(sn->keys);
	*sn = (struct snapshot){ 0 };
}

int snapshot_add(struct snapshot *sn, dirty_key k)
{
	if (sn->nr == sn->cap) {
		const size_t cap = sn->cap ? 2 * sn->cap : SNAPSHOT_MIN;
		dirty_key *grown = realloc(sn->keys, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		sn->keys = grown;
		sn->cap = cap;
	}
	sn->keys[sn->nr++] = k;
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const dirty_key x = *(const dirty_key *)a, y = *(const dirty_key *)b;

	return x < y ? -1 : x > y;
}

void snapshot_sort(struct snapshot *sn)
{
	if (sn->nr > 1)
		qsort(sn->keys, sn->nr, sizeof(sn->keys[0]), compare_keys);
}

void snapshot_defer_tails(struct snapshot *sn, uint32_t stripe_blocks)
{
	size_t kept = 0, run = 0;

	if (stripe_blocks < 2)
		return;
	for (size_t i = 0; i < sn->nr; i++) {
		const pblk_t next = key_pblk(sn->keys[i]) + 1;

		sn->keys[kept++] = sn->keys[i];
		run++;
		if (i + 1 < sn->nr && key_pblk(sn->keys[i + 1]) == next)
			continue;
		if (run > stripe_blocks && key_is_young(sn->keys[i]))
			kept -= next % stripe_blocks;
		run = 0;
	}
	sn->nr = kept;
}

int snapshot_class(struct cache *c, struct snapshot *sn, unsigned class, uint32_t min_age_msec)
{
	const uint32_t now = cache_now_msec(), young = MIN(c->opts.writeback_msec, (uint32_t)CACHE_YOUNG_MSEC);
	int err = 0;

	for (unsigned i = 0; !err && i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		struct frame *f;
		LOCK_GUARD(&s->lock);

		list_for_each(f, &s->dirty[class], dirty_link) {
			const uint32_t age = now - f->dirtied_msec;

			if (min_age_msec && age < min_age_msec)
				break;	/* oldest first: the rest is younger */
			err = snapshot_add(sn, key_of(f->buf.pblk, age < young, class == DIRTY_META));
			if (err)
				break;
		}
	}
	return err;
}

int snapshot_writeback(struct cache *c, struct snapshot *sn)
{
	int err = 0;

	for (unsigned i = 0; !err && i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		struct frame *f;
		LOCK_GUARD(&s->lock);

		list_for_each(f, &s->writeback, writeback_link) {
			err = snapshot_add(sn, key_of(f->buf.pblk, false, f->flags & FRAME_META));
			if (err)
				break;
		}
	}
	return err;
}

int snapshot_range(struct cache *c, struct snapshot *sn, pblk_t pblk, uint64_t nr)
{
	int err = 0;

	while (!err && nr > 0) {
		const uint32_t run = shard_run(pblk, nr);
		struct shard *s = shard_of(c, pblk);
		LOCK_GUARD(&s->lock);

		for (uint32_t i = 0; !err && i < run; i++) {
			const struct frame *f = frame_find(s, pblk + i);

			if (f && f->flags & (FRAME_DIRTY | FRAME_WRITEBACK))
				err = snapshot_add(sn, key_of(pblk + i, false, f->flags & FRAME_META));
		}
		pblk += run;
		nr -= run;
	}
	return err;
}
