/*
 * fs_balloc.c: which blocks a file gets, and giving them back.
 *
 * The best place is at the goal: behind the file's last block. Then, in the goal's group and
 * the ones behind it, the first free run as long as wanted; then any run; at last also what is
 * reserved for others. A file that grows in sequence has the blocks behind it reserved, in
 * memory only, twice as many each time.
 *
 *   BA1  longest_run of a group is never less than its longest free run; a look that does
 *        not find more makes it smaller, a freeing makes it large again.
 *   BA2  block_hint: no free bit lies before it. (Both: no bit that may be given out, F5.)
 *   BA3  Frames of freed blocks are forgotten before their bits are cleared: who gets the
 *        blocks next has frames of its own.
 */
#include <assert.h>

#include "fs/fs_bits.h"
#include "fs/fs_int.h"

enum {
	AHEAD_MIN_BLOCKS = 8,
	AHEAD_MAX_BYTES = 8 << 20,
	MAX_RESERVATIONS = 32,	/* of a group: every search goes through them */
};

/* How far a search may go for what it wants. */
enum effort {
	WHOLE,		/* a run of the wanted length, none of others' reservations */
	UNRESERVED,	/* any run outside others' reservations */
	ANYTHING,
	NR_EFFORTS
};

struct search {
	struct fs *fs;
	struct fs_inode *inode;
	uint32_t want;
	enum effort effort;
	/* What was found, in bits of the group. */
	uint32_t first, nr;
};

pblk_t fs_blocks_goal(struct fs_inode *inode)
{
	return fs_group_first_block(inode->fs, fs_group_of_inode(inode->fs, inode->ino)->nr);
}

/* Free bits ----------------------------------------------------------------------------- */

/* The first bit of [bit, end) that is free, and was not freed just now (F5). */
static uint32_t next_free(const struct fs_group *g, const void *map, uint32_t bit, uint32_t end)
{
	bit = fs_bits_next_zero(map, bit, end);
	while (g->pending && bit < end && fs_bits_test(g->pending, bit)) {
		bit = fs_bits_next_zero(g->pending, bit, end);
		bit = fs_bits_next_zero(map, bit, end);
	}
	return bit;
}

/* Where the free run from bit on ends. */
static uint32_t free_end(const struct fs_group *g, const void *map, uint32_t bit, uint32_t end)
{
	end = fs_bits_next_one(map, bit, end);
	return g->pending ? fs_bits_next_one(g->pending, bit, end) : end;
}

/* Reservations ----------------------------------------------------------------------------- */

static uint32_t bit_of(const struct fs *fs, const struct fs_group *g, pblk_t pblk)
{
	return (uint32_t)(pblk - fs_group_first_block(fs, g->nr));
}

static void resv_clear(struct fs_group *g, struct fs_reservation *r)
{
	assert_held(&g->lock);
	if (!r->nr)
		return;
	list_del(&r->link);
	g->nr_reservations--;
	r->nr = 0;
}

static void resv_set(struct fs_group *g, struct fs_reservation *r, pblk_t first, uint32_t nr)
{
	assert_held(&g->lock);
	if (g->nr_reservations == MAX_RESERVATIONS)
		resv_clear(g, list_first(&g->reservations, struct fs_reservation, link));
	r->first = first;
	r->nr = nr;
	list_add_tail(&g->reservations, &r->link);
	g->nr_reservations++;
}

void fs_reservation_drop(struct fs_inode *inode)
{
	struct fs_reservation *r = &inode->resv;
	struct fs_group *g;

	r->ahead = 0;
	if (!r->nr)
		return;
	g = fs_group_of_block(inode->fs, r->first);
	os_mutex_lock_key(&g->lock, g->nr);
	resv_clear(g, r);
	os_mutex_unlock(&g->lock);
}

/*
 * The free run from bit on is cut where somebody else's reservation begins. Returns the end;
 * bit itself when it lies in one, and then *skip is where that one ends.
 */
static uint32_t cut_by_others(const struct search *s, const struct fs_group *g, uint32_t bit, uint32_t end, uint32_t *skip)
{
	struct fs_reservation *r;

	list_for_each(r, &g->reservations, link) {
		const uint32_t from = bit_of(s->fs, g, r->first);

		if (r == &s->inode->resv)
			continue;
		if (bit >= from && bit < from + r->nr) {
			*skip = from + r->nr;
			return bit;
		}
		if (from > bit && from < end)
			end = from;
	}
	return end;
}

/*
 * Behind what was just taken, blocks are set aside: none after a first allocation, since most
 * files are small; then more and more while the file grows in sequence.
 */
static void reserve_ahead(struct search *s, struct fs_group *g, const void *map, bool sequential)
{
	struct fs_reservation *r = &s->inode->resv;
	const uint32_t most = MAX((uint32_t)AHEAD_MAX_BYTES >> s->fs->block_shift, (uint32_t)AHEAD_MIN_BLOCKS);
	const uint32_t from = s->first + s->nr;
	uint32_t skip, end;

	resv_clear(g, r);
	if (!sequential) {
		r->ahead = 1;
		return;
	}
	r->ahead = r->ahead < AHEAD_MIN_BLOCKS ? AHEAD_MIN_BLOCKS : r->ahead * 2;
	r->ahead = MIN(r->ahead, most);
	end = MIN(from + r->ahead, g->nr_blocks);
	if (from >= end)
		return;
	end = free_end(g, map, from, end);
	end = cut_by_others(s, g, from, end, &skip);
	if (end == from)
		return;
	resv_set(g, r, fs_group_first_block(s->fs, g->nr) + from, end - from);
}

/* Searching ---------------------------------------------------------------------------------- */

/* The next free run of [*bit, end) that this effort may have: 0 none, else its length, *bit its start. */
static uint32_t next_run(const struct search *s, const struct fs_group *g, const void *map, uint32_t *bit, uint32_t end)
{
	while (*bit < end) {
		uint32_t skip = 0, stop;

		*bit = next_free(g, map, *bit, end);
		if (*bit == end)
			return 0;
		stop = free_end(g, map, *bit, MIN(end, *bit + s->want));
		/* One that is no gain is not worth a look at whose it is. */
		if (s->effort < ANYTHING && stop - *bit > s->nr)
			stop = cut_by_others(s, g, *bit, stop, &skip);
		if (stop > *bit)
			return stop - *bit;
		*bit = skip;
	}
	return 0;
}

/* The first run of the wanted length in [from, to). The longest seen so far is kept in s. */
static bool look_through(struct search *s, const struct fs_group *g, const void *map, uint32_t from, uint32_t to)
{
	uint32_t n;

	for (uint32_t bit = from; (n = next_run(s, g, map, &bit, to)); bit += n) {
		if (n > s->nr) {
			s->first = bit;
			s->nr = n;
		}
		if (n == s->want)
			return true;
	}
	return false;
}

static bool find_in_group(struct search *s, struct fs_group *g, const void *map, uint32_t goal)
{
	uint32_t bit = goal;

	s->nr = 0;
	/* At the goal itself whatever is there will do: it continues the file. */
	if (goal > 0 && goal < g->nr_blocks && !fs_bits_test(map, goal)) {
		const uint32_t n = next_run(s, g, map, &bit, g->nr_blocks);

		if (n && bit == goal) {
			s->first = goal;
			s->nr = n;
			return true;
		}
	}
	goal = MAX(goal, g->block_hint);
	if (look_through(s, g, map, MIN(goal, g->nr_blocks), g->nr_blocks) ||
	    look_through(s, g, map, g->block_hint, MIN(goal, g->nr_blocks)))
		return true;
	if (s->effort == ANYTHING || list_is_empty(&g->reservations))
		atomic_store(&g->longest_run, s->nr);	/* BA1 */
	return s->effort != WHOLE && s->nr > 0;
}

/* Taking --------------------------------------------------------------------------------------- */

static int take(struct jnl_handle *h, struct search *s, struct fs_group *g, struct cache_buf *map)
{
	int err = jnl_get_write(h, map);

	if (err)
		return err;
	fs_bits_set(map->data, s->first, s->first + s->nr);
	atomic_fetch_sub(&g->free_blocks, s->nr);
	atomic_fetch_sub(&s->fs->free_blocks, s->nr);
	if (s->first == g->block_hint)
		g->block_hint = s->first + s->nr;
	return fs_group_block_bitmap_dirty(h, s->fs, g, map);
}

/* 1: taken; 0: nothing here for this effort. */
static int try_group(struct jnl_handle *h, struct search *s, struct fs_group *g, uint32_t goal, bool for_data)
{
	CLEANUP_BUF struct cache_buf *map = NULL;
	int err;

	if (!atomic_load(&g->free_blocks) || (s->effort == WHOLE && atomic_load(&g->longest_run) < s->want))
		return 0;
	os_mutex_lock_key(&g->lock, g->nr);
	err = fs_group_block_bitmap(s->fs, g, &map);
	if (!err && find_in_group(s, g, map->data, goal)) {
		err = take(h, s, g, map);
		if (!err && for_data)
			reserve_ahead(s, g, map->data, goal > 0 && s->first == goal && s->inode->resv.ahead > 0);
		err = err ? err : 1;
	}
	os_mutex_unlock(&g->lock);
	return err == -EUCLEAN ? 0 : err;	/* a damaged group is passed over */
}

/* An own reservation in another group than the one that is searched is no use any more. */
static void leave_old_reservation(struct fs_inode *inode, pblk_t goal)
{
	const struct fs_reservation *r = &inode->resv;

	if (r->nr && (!goal || fs_group_of_block(inode->fs, r->first) != fs_group_of_block(inode->fs, goal))) {
		const uint32_t ahead = r->ahead;

		fs_reservation_drop(inode);
		inode->resv.ahead = ahead;
	}
}

static int search_groups(struct jnl_handle *h, struct search *s, pblk_t goal, bool for_data, struct fs_group **found)
{
	struct fs *fs = s->fs;
	const struct fs_group *first = fs_group_of_block(fs, goal);
	const uint32_t goal_bit = bit_of(fs, first, goal);

	for (s->effort = WHOLE; s->effort < NR_EFFORTS; s->effort++)
		for (uint32_t i = 0; i < fs->nr_groups; i++) {
			struct fs_group *g = &fs->groups[(first->nr + i) % fs->nr_groups];
			int got;

			if (i > 0 && for_data)
				leave_old_reservation(s->inode, 0);
			got = try_group(h, s, g, i == 0 ? goal_bit : 0, for_data);
			if (got < 0)
				return got;
			if (got > 0) {
				*found = g;
				return 0;
			}
		}
	return -ENOSPC;
}

int fs_blocks_alloc(struct jnl_handle *h, struct fs_inode *inode, pblk_t goal, uint32_t want, bool for_data,
		    pblk_t *pblk, uint32_t *got)
{
	struct fs *fs = inode->fs;
	const uint64_t free = atomic_load(&fs->free_blocks);
	const uint64_t kept = fs->opts.use_reserved ? 0 : fs->nr_reserved_blocks;
	struct search s = { .fs = fs, .inode = inode };
	struct fs_group *group;
	int err;

	assert(want > 0);
	if (free <= kept)
		return -ENOSPC;
	s.want = (uint32_t)MIN((uint64_t)want, free - kept);
	if (goal < fs->first_data_block || goal >= fs->nr_blocks)
		goal = fs_blocks_goal(inode);
	if (for_data)
		leave_old_reservation(inode, goal);
	err = search_groups(h, &s, goal, for_data, &group);
	if (err)
		return err;
	*pblk = fs_group_first_block(fs, group->nr) + s.first;
	*got = s.nr;
	LOCK_GUARD(&inode->meta);
	inode->nr_sects += (uint64_t)s.nr << (fs->block_shift - SECT_SHIFT);
	return 0;
}

/* Freeing ------------------------------------------------------------------------------------------ */

/* What is freed, and whether others may have it at once (F5). */
struct freeing {
	struct jnl_handle *h;
	struct fs *fs;
	bool at_once;
};

/* Clears the bits that are set, and adds how many to *nr_freed. */
static int clear_bits(const struct freeing *f, struct fs_group *g, void *map, uint32_t from, uint32_t to,
		      uint32_t *nr_freed)
{
	if (f->at_once) {
		atomic_store(&g->longest_run, g->nr_blocks);	/* BA1 */
		g->block_hint = MIN(g->block_hint, from);	/* BA2 */
	}
	while (from < to) {
		const uint32_t one = fs_bits_next_one(map, from, to);
		const uint32_t zero = one < to ? fs_bits_next_zero(map, one, to) : to;
		const int err = f->at_once || one == zero ? 0 : fs_pending_add(f->h, f->fs, g, one, zero - one);

		if (err)
			return err;
		fs_bits_clear(map, one, zero);
		*nr_freed += zero - one;
		from = zero;
	}
	return 0;
}

static int free_in_group(const struct freeing *f, struct fs_group *g, uint32_t from, uint32_t nr, uint32_t *nr_freed)
{
	CLEANUP_BUF struct cache_buf *map = NULL;
	int err = fs_group_block_bitmap(f->fs, g, &map), clear_err;

	if (!err)
		err = jnl_get_write(f->h, map);
	if (err)
		return err;
	clear_err = clear_bits(f, g, map->data, from, from + nr, nr_freed);
	atomic_fetch_add(&g->free_blocks, *nr_freed);
	atomic_fetch_add(&f->fs->free_blocks, *nr_freed);
	err = fs_group_block_bitmap_dirty(f->h, f->fs, g, map);
	return clear_err ? clear_err : err;
}

/* All in data blocks. Takes them off nr_sects. */
static int free_blocks(const struct freeing *f, struct fs_inode *inode, pblk_t pblk, uint32_t nr)
{
	struct fs *fs = f->fs;
	uint64_t total = 0;
	int err = 0;

	while (!err && nr > 0) {
		struct fs_group *g = fs_group_of_block(fs, pblk);
		const uint32_t from = bit_of(fs, g, pblk);
		const uint32_t n = MIN(nr, g->nr_blocks - from);
		uint32_t freed = 0;

		os_mutex_lock_key(&g->lock, g->nr);
		err = free_in_group(f, g, from, n, &freed);
		os_mutex_unlock(&g->lock);
		if (!err && freed < n) {
			log_error("%s: inode %" PRIu32 ": of its blocks %" PRIu64 " to %" PRIu64 ", %" PRIu32
				  " were free already", blk_name(fs->dev), inode->ino, pblk, pblk + n - 1, n - freed);
			err = fs_damaged(fs, inode->ino, pblk, -EUCLEAN);
		}
		total += n;
		pblk += n;
		nr -= n;
	}
	LOCK_GUARD(&inode->meta);
	inode->nr_sects -= MIN(inode->nr_sects, total << (fs->block_shift - SECT_SHIFT));
	return err;
}

int fs_blocks_free(struct jnl_handle *h, struct fs_inode *inode, pblk_t pblk, uint32_t nr, bool metadata)
{
	struct fs *fs = inode->fs;
	const struct freeing f = { h, fs, jnl_is_committed(fs->jnl, h->tid) };

	if (!fs_data_blocks_ok(fs, pblk, nr))
		return -EUCLEAN;
	if (metadata)	/* BA3 */
		jnl_forget(h, pblk, nr);
	else
		jnl_forget_data(h, pblk, nr);
	return free_blocks(&f, inode, pblk, nr);
}

int fs_blocks_give_back(struct jnl_handle *h, struct fs_inode *inode, pblk_t pblk, uint32_t nr)
{
	const struct freeing f = { h, inode->fs, true };

	return free_blocks(&f, inode, pblk, nr);
}
