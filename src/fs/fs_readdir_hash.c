/*
 * fs_readdir_hash.c: a listing in the order of hashes.
 *
 * A name's place in the listing is (major hash, minor hash), 63 bits that depend on the name
 * alone: splits and conversions, from the inode to a block to a tree, move entries but not their
 * places. One leaf of the tree (with those that go on with its last hash) is taken at a time;
 * where there is no tree, or a damaged one, all blocks are.
 *
 * A leaf's names are collected and given smallest first. There is room for NR_PLACES; when
 * there are more, the larger ones wait for another round.
 *
 *   RH1  Names with all 63 bits in common are given in one call or, when fn stops between them,
 *        the rest is left out: a listing ends even where names were made to collide.
 *   RH2  In a leaf of a damaged tree, a hash outside of the leaf's range is taken as the nearest
 *        within, so that the way to a cookie leads to the leaf that it came from.
 */
#include <stdlib.h>

#include "base/crc.h"
#include "fs/fs_readdir_int.h"

enum {
	PLACES_ORDER = 4,
	NR_PLACES = (ALLOC_PAGE_BYTES << PLACES_ORDER) / 16,
	COOKIE_BASE = COOKIE_ENTRIES,
	NO_BLOCK = UINT32_MAX,		/* in the inode */
};

struct place {
	uint64_t key;
	uint32_t lblk, off;
};
_Static_assert(sizeof(struct place) * NR_PLACES <= (size_t)ALLOC_PAGE_BYTES << PLACES_ORDER, "places fit");

struct hash_list {
	struct fs_reader *r;
	uint8_t version;
	uint64_t floor;			/* keys below are given already */
	bool is_cut;			/* there was no room for keys from cut_key on */
	uint64_t cut_key;
	unsigned nr;
	struct place *places;		/* NR_PLACES */
	struct cache_buf *b;		/* the block that was used last */
	uint32_t b_lblk;
	struct fs_dir_inline *in;	/* or NULL */
};

static uint64_t key_of(uint32_t major, uint32_t minor)
{
	return (uint64_t)(major >> 1) << 32 | minor;
}
static uint32_t major_of(uint64_t key)
{
	return (uint32_t)(key >> 32) << 1;
}

bool fs_readdir_is_by_hash(const struct fs_inode *dir)
{
	return fs_has_compat(dir->fs, EXT_COMPAT_DIR_INDEX) && dir->fs->hash_version <= EXT_HASH_TEA_UNSIGNED &&
	       (fs_dir_is_hashed(dir) || fs_inode_has_inline(dir) || fs_dir_nr_blocks(dir) <= 1);
}

/* Collecting ---------------------------------------------------------------------------------- */

static int place_compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->lblk != y->lblk ? (x->lblk < y->lblk ? -1 : 1) : x->off < y->off ? -1 : x->off > y->off;
}

/* No room: the larger half goes, and what is as large from now on. */
static void cut(struct hash_list *l)
{
	unsigned keep = NR_PLACES / 2;

	qsort(l->places, l->nr, sizeof(*l->places), place_compare);
	l->is_cut = true;
	l->cut_key = l->places[keep].key;
	while (keep > 0 && l->places[keep - 1].key == l->cut_key)
		keep--;
	if (keep == 0) {	/* RH1: nobody has room for so many */
		l->cut_key++;
		keep = NR_PLACES / 2;
	}
	l->nr = keep;
}

/* The names of one chain; majors are brought into [lo, hi] (RH2). */
static int collect(struct hash_list *l, const struct fs_chain *c, uint32_t lblk, unsigned base, uint32_t lo, uint32_t hi)
{
	struct ext_disk_dirent *de;
	unsigned off;

	fs_chain_for_each(de, off, c) {
		const struct fs_name name = fs_dirent_name(de);
		uint32_t major, minor;
		uint64_t key;
		int err;

		if (!de->inode.raw || fs_name_dots(name))
			continue;
		err = fs_htree_hash(l->r->dir, l->version, name, &major, &minor);
		if (err)
			return err;
		if (l->version == EXT_HASH_LEGACY || l->version == EXT_HASH_LEGACY_UNSIGNED)
			minor = crc32c(~0u, name.s, name.len);	/* it has none of its own */
		major = MAX(major, lo);
		key = key_of(MIN(major, hi), minor);
		if (key < l->floor || (l->is_cut && key >= l->cut_key))
			continue;
		if (l->nr == NR_PLACES)
			cut(l);
		if (!l->is_cut || key < l->cut_key)
			l->places[l->nr++] = (struct place){ key, lblk, base + off };
	}
	return 0;
}

static int collect_block(struct hash_list *l, struct cache_buf *b, lblk_t lblk, uint32_t lo, uint32_t hi)
{
	const struct fs_chain chain = fs_dir_chain(l->r->dir, b);

	cache_put(l->b);
	l->b = b;
	l->b_lblk = (uint32_t)lblk;
	return collect(l, &chain, (uint32_t)lblk, 0, lo, hi);
}

static int collect_inline(struct hash_list *l)
{
	int err = 0;

	for (unsigned i = 0; !err && i < l->in->nr_parts; i++)
		err = collect(l, &l->in->part[i], NO_BLOCK, (unsigned)(l->in->part[i].p - l->in->buf), 0, UINT32_MAX - 1);
	return err;
}

static int collect_all(struct hash_list *l)
{
	struct fs_dir_scan scan = { .dir = l->r->dir };
	struct cache_buf *b;
	lblk_t lblk;
	int err = 0;

	if (l->in)
		return collect_inline(l);
	while (!err && fs_dir_scan_next(&scan, &lblk, &b))
		err = collect_block(l, b, lblk, 0, UINT32_MAX - 1);
	if (scan.bad)
		l->r->bad = scan.bad;
	return err;
}

/* Giving: the places are a heap with the smallest on top -------------------------------------------- */

static void heap_sink(struct place *places, unsigned nr, unsigned at)
{
	const struct place sinking = places[at];

	for (unsigned child; (child = 2 * at + 1) < nr; at = child) {
		if (child + 1 < nr && place_compare(&places[child + 1], &places[child]) < 0)
			child++;
		if (place_compare(&sinking, &places[child]) <= 0)
			break;
		places[at] = places[child];
	}
	places[at] = sinking;
}

static struct place heap_pop(struct hash_list *l)
{
	const struct place top = l->places[0];

	l->places[0] = l->places[--l->nr];
	if (l->nr)
		heap_sink(l->places, l->nr, 0);
	return top;
}

static int dirent_at(struct hash_list *l, const struct place *p, const struct ext_disk_dirent **out)
{
	const uint8_t *base;

	if (p->lblk == NO_BLOCK) {
		base = l->in->buf;
	} else {
		if (!l->b || l->b_lblk != p->lblk) {
			int err;

			cache_put(l->b);
			err = fs_dir_block_get(l->r->dir, p->lblk, &fs_dir_kind_leaf, &l->b);
			if (err)
				return err;
			l->b_lblk = p->lblk;
		}
		base = l->b->data;
	}
	*out = (const struct ext_disk_dirent *)(base + p->off);
	return 0;
}

/* All that was collected, or until fn has no more room. floor follows. */
static int give_collected(struct hash_list *l)
{
	for (unsigned at = l->nr / 2; at-- > 0;)
		heap_sink(l->places, l->nr, at);
	while (l->nr && !l->r->is_full) {
		const struct place p = heap_pop(l);
		const struct ext_disk_dirent *de;
		int err = dirent_at(l, &p, &de);

		if (err)
			return err;
		if (fs_reader_give(l->r, de, p.key + 1 + COOKIE_BASE))
			l->floor = p.key + 1;
	}
	return 0;
}

/* Ways through a directory --------------------------------------------------------------------------- */

static int list_all(struct hash_list *l)
{
	do {
		int err;

		l->nr = 0;
		l->is_cut = false;
		err = collect_all(l);
		if (!err)
			err = give_collected(l);
		if (err)
			return err;
		l->floor = l->is_cut ? l->cut_key : l->floor;
	} while (l->is_cut && !l->r->is_full);
	return 0;
}

/* This leaf, and the ones that go on with its last hash. -EUCLEAN: the index is damaged. */
static int collect_leaves(struct hash_list *l, struct fs_htree *t)
{
	for (;;) {
		const uint32_t lo = fs_htree_start_hash(t) & ~1u;
		uint32_t end_hash = UINT32_MAX, hi;
		const bool has_next = fs_htree_end_hash(t, &end_hash);
		const bool goes_on = has_next && end_hash & 1;
		struct cache_buf *b;
		int err = fs_htree_leaf_get(t, &b);

		hi = goes_on || !has_next ? end_hash & ~1u : end_hash - MIN(end_hash, 2u);
		if (err)
			l->r->bad = err;	/* a bad leaf is passed by */
		else if ((err = collect_block(l, b, fs_htree_leaf(t), lo, MAX(lo, hi))))
			return err;
		if (!goes_on)
			return 0;
		err = fs_htree_next(t);
		if (err <= 0)
			return err;
	}
}

static int list_tree(struct hash_list *l, struct fs_htree *t)
{
	int more = fs_htree_walk(t, major_of(l->floor));

	while (more >= 0 && !l->r->is_full) {
		int err;

		l->nr = 0;
		l->is_cut = false;
		err = collect_leaves(l, t);
		if (!err)
			err = give_collected(l);
		if (err || l->r->is_full)
			return err;
		if (l->is_cut) {
			l->floor = l->cut_key;
			more = fs_htree_walk(t, major_of(l->floor));
			continue;
		}
		more = fs_htree_next(t);
		if (more == 0)
			return 0;
	}
	return MIN(more, 0);
}

static int list_hashed(struct hash_list *l)
{
	CLEANUP_HTREE struct fs_htree t = { 0 };
	int err = fs_htree_open(l->r->dir, &t);

	if (!err) {
		l->version = t.version;
		err = list_tree(l, &t);
	}
	if (err != -EUCLEAN)
		return err;
	l->r->bad = err;
	return list_all(l);
}

static int list_inline(struct hash_list *l)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	int err = fs_dir_inline_load(l->r->dir, &in);

	l->in = &in;
	return err ? err : list_all(l);
}

int fs_readdir_by_hash(struct fs_reader *r, uint64_t cookie)
{
	struct fs_inode *dir = r->dir;
	struct hash_list l = { .r = r, .version = dir->fs->hash_version, .floor = cookie - COOKIE_BASE };
	int err;

	if (l.floor >> 63)
		return 0;	/* not a cookie of ours; nothing comes after it */
	l.places = alloc_pages(dir->fs->alloc, PLACES_ORDER);
	if (!l.places)
		return -ENOMEM;
	if (cookie == COOKIE_ENTRIES && !fs_inode_has_inline(dir))
		fs_dir_readahead(dir, 0);
	if (fs_inode_has_inline(dir))
		err = list_inline(&l);
	else
		err = fs_dir_is_hashed(dir) ? list_hashed(&l) : list_all(&l);
	cache_put(l.b);
	alloc_pages_free(dir->fs->alloc, l.places, PLACES_ORDER);
	return err;
}
