/*
 * fsck_bad.c: -c: blocks that cannot be read, and the list of them, which is the map of inode 1.
 *
 * All blocks are read before the passes. The list is made once pass 1 knows what is in use; pass 1B
 * then takes its blocks away from who has them, saving what can be read (fsck_dup.c). Bitmaps move
 * away in pass 5. Other fixed metadata cannot: it is written again where pass 1 has lost it, which
 * is what makes most disks put another sector there.
 */
#include <stdlib.h>

#include "base/log.h"
#include "fsck_int.h"

enum {
	SCAN_BYTES = 1 << 20,
	MAX_BAD = 1 << 16,	/* more are no matter of a list */
};

/* Scan ---------------------------------------------------------------------------------------- */

static void scan_piece(struct fsck *f, pblk_t pblk, uint32_t nr, void *buf)
{
	int err = blk_read(f->dev, block_sect(f, pblk), buf, (size_t)nr << f->block_shift);

	for (uint32_t i = 0; err == -EIO && i < nr && !is_stopped(f); i++)
		if (blk_read(f->dev, block_sect(f, pblk + i), buf, f->block_bytes))
			array_push(f, &f->bad, pblk + i);
	if (err && err != -EIO)
		fsck_failed(f, err);
}

static void scan(struct fsck *f)
{
	const uint32_t step = MAX(1u, (uint32_t)SCAN_BYTES >> f->block_shift);
	void *buf = malloc(MAX((uint32_t)SCAN_BYTES, f->block_bytes));

	if (!buf)
		fsck_failed(f, -ENOMEM);
	for (pblk_t at = f->first_data_block; at < f->nr_blocks && !is_stopped(f); at += step) {
		scan_piece(f, at, (uint32_t)MIN((uint64_t)step, f->nr_blocks - at), buf);
		fsck_progress(f, 0, at, f->nr_blocks);
		if (f->bad.nr > MAX_BAD) {
			log_error("%s: over %d blocks cannot be read: copy what is left to another disk (ddrescue), and check that",
				  blk_name(f->dev), MAX_BAD);
			fsck_failed(f, -EIO);
		}
	}
	free(buf);
}

/* Where it may lie ----------------------------------------------------------------------------- */

/* A bitmap moves: its block is nobody's from now on. */
static bool bitmap_moves(struct fsck *f, pblk_t pblk)
{
	for (uint32_t g = 0; g < f->nr_groups; g++) {
		const bool blocks = group_block_bitmap(f, g) == pblk;

		if (!blocks && group_inode_bitmap(f, g) != pblk)
			continue;
		if (!fsck_fix(&f->main, P0_BAD_BITMAP, .group = g, .pblk = pblk, .str = blocks ? "block" : "inode"))
			return false;
		f->group_lost[g] |= blocks ? FSCK_LOST_BLOCK_BITMAP : FSCK_LOST_INODE_BITMAP;
		return true;
	}
	return false;
}

/* The resize inode's own block: it lies where it lies. */
static bool is_resize_map(struct fsck *f, pblk_t pblk)
{
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	const bool is = raw && has_compat(f, EXT_COMPAT_RESIZE_INODE) && !fsck_inode_read(f, EXT_RESIZE_INO, raw) &&
			le32_get(raw->i_block[EXT_DIND_BLOCK]) == pblk;

	free(raw);
	return is;
}

/* Leaves what a list can hold. */
static void drop_fixed(struct fsck *f)
{
	size_t nr = 0;
	bool moved = false;

	for (size_t i = 0; i < f->bad.nr; i++) {
		const pblk_t pblk = f->bad.v[i];
		const bool fixed = fsck_is_fixed(f, pblk, 1), moves = fixed && bitmap_moves(f, pblk);

		moved |= moves;
		if ((fixed && !moves) || is_resize_map(f, pblk))
			fsck_fate(f, "block %" PRIu64 " cannot be read, and holds metadata that has no other place", pblk);
		else if (pblk > UINT32_MAX)
			fsck_fate(f, "block %" PRIu64 " cannot be read, and its number is too large for the list", pblk);
		else
			f->bad.v[nr++] = pblk;
	}
	f->bad.nr = nr;
	if (moved) {
		const int err = fsck_groups_load_again(f);

		if (err)
			fsck_failed(f, err);
	}
}

/* The list ------------------------------------------------------------------------------------- */

struct old_list {
	ARRAY_OF(uint64_t) blocks;
};

static enum walk_act old_ptr(struct walk *wk, struct visit *v)
{
	struct old_list *old = wk->arg;

	for (uint32_t i = 0; v->level == 0 && i < v->nr; i++)
		if (fsck_data_ok(wk->w->f, v->pblk + i, 1))
			array_push(wk->w->f, &old->blocks, v->pblk + i);
	return WALK_KEEP;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_unique(uint64_t *v, size_t *nr)
{
	size_t n = 0;

	if (*nr)
		qsort(v, *nr, sizeof(*v), compare);
	for (size_t i = 0; i < *nr; i++)
		if (i == 0 || v[i] != v[i - 1])
			v[n++] = v[i];
	*nr = n;
}

/* With -k what is in the list stays there. */
static void compare_lists(struct fsck *f, struct ext_disk_inode *raw)
{
	struct old_list old = { 0 };
	struct walk wk = { .w = &f->main, .ino = EXT_BAD_INO, .raw = raw, .ptr = old_ptr, .arg = &old };
	bool same;

	fsck_walk(&wk);
	for (size_t i = 0; f->opts.keep_bad && i < old.blocks.nr; i++)
		array_push(f, &f->bad, old.blocks.v[i]);
	sort_unique(old.blocks.v, &old.blocks.nr);
	sort_unique(f->bad.v, &f->bad.nr);
	same = old.blocks.nr == f->bad.nr;
	for (size_t i = 0; same && i < f->bad.nr; i++)
		same = old.blocks.v[i] == f->bad.v[i];
	if (!same && fsck_fix(&f->main, P0_BAD_LIST, .num = old.blocks.nr, .num2 = f->bad.nr)) {
		memset(raw, 0, f->inode_bytes);
		fsck_inode_write(f, EXT_BAD_INO, raw);
		f->bad_pending = true;
	}
	array_free(&old.blocks);
}

void fsck_bad_scan(struct fsck *f)
{
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	int err;

	fsck_say(f, "Checking for bad blocks (read-only test)\n");
	scan(f);
	fsck_progress_clear(f);
	if (!is_stopped(f))
		drop_fixed(f);
	err = raw ? fsck_inode_read_or_lose(f, EXT_BAD_INO, raw) : -ENOMEM;
	if (err)
		fsck_failed(f, err);
	if (!is_stopped(f))
		compare_lists(f, raw);
	free(raw);
}

void fsck_bad_store(struct fsck *f)
{
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	int err = raw ? 0 : -ENOMEM;

	f->bad_pending = false;
	for (size_t i = 0; i < f->bad.nr; i++)	/* before any block is taken for the map */
		fsck_claim(f, f->bad.v[i], 1);
	for (size_t i = 0; !err && i < f->bad.nr; i++)
		err = fsck_map_put(f, EXT_BAD_INO, raw, i, f->bad.v[i]);
	if (err) {
		fsck_failed(f, err);
	} else {
		inode_set_size(raw, (uint64_t)f->bad.nr << f->block_shift);
		raw->i_atime = raw->i_mtime = raw->i_ctime = le32_of(f->now);
		fsck_inode_write(f, EXT_BAD_INO, raw);
	}
	free(raw);
}

void fsck_block_salvage(struct fsck *f, pblk_t pblk, void *buf)
{
	uint8_t *at = buf;

	for (uint32_t i = 0; i < f->block_bytes >> SECT_SHIFT; i++, at += SECT_BYTES)
		if (blk_read(f->dev, block_sect(f, pblk) + i, at, SECT_BYTES))
			memset(at, 0, SECT_BYTES);
}
