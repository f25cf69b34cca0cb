/*
 * fsck_htree.c: the index of a hashed directory: form of its blocks, order, and whether every leaf
 * is named once and holds only names of its range. Any fault has one repair: the directory is
 * written anew from its entries.
 */
#include <stdlib.h>

#include "fs/fs_int.h"
#include "fsck_int.h"

struct tree {
	struct worker *w;
	struct fsck *f;
	struct dir_view *v;
	uint8_t version;
	unsigned nr_levels;	/* of index blocks */
	uint8_t *seen;		/* blocks that an entry names */
	const char *fault;
	uint32_t at;		/* block with the fault */
};

bool fsck_hash(const struct fsck *f, uint8_t version, const char *name, unsigned len, uint32_t *major, uint32_t *minor)
{
	if (version > EXT_HASH_TEA)
		return false;
	if (f->hash_unsigned)
		version += EXT_HASH_LEGACY_UNSIGNED;
	return !fs_hash_name(f->hash_seed, version, (struct fs_name){ name, len }, major, minor);
}

static void fault(struct tree *t, uint32_t at, const char *what)
{
	if (t->fault)
		return;
	t->fault = what;
	t->at = at;
}

/* Names of a leaf lie in [lo, hi); of hi itself when it is marked as going on from here. */
static void check_leaf(struct tree *t, uint32_t i, uint32_t lo, uint32_t hi, bool is_last)
{
	const struct dir_chain c = fsck_view_chain(t->f, t->v, i);
	uint32_t rec_len, major, minor;

	if (!c.p) {
		fault(t, i, "a leaf is missing");
		return;
	}
	for (uint32_t off = 0; off < c.len && !t->fault; off += rec_len) {
		const struct ext_disk_dirent *de = (const void *)(c.p + off);

		rec_len = fsck_rec_len(de, c.len - off);
		if (!rec_len)
			return;
		if (!de->inode.raw)
			continue;
		if (!fsck_hash(t->f, t->version, de->name, de->name_len, &major, &minor))
			fault(t, i, "unknown hash");
		else if (major < (lo & ~1u))
			fault(t, i, "a name that hashes below its leaf");
		else if (!is_last && major >= (hi & ~1u) && !((hi & 1) && major == (hi & ~1u)))
			fault(t, i, "a name that hashes above its leaf");
	}
}

static bool csum_ok(const struct tree *t, const uint8_t *block, unsigned off, unsigned limit, unsigned count)
{
	const struct ext_disk_dx_tail *tail = (const void *)(block + off + (size_t)limit * sizeof(struct ext_disk_dx_entry));

	return !has_csum(t->f) || le32_get(tail->checksum) == ext_dx_csum(t->v->d->seed, block, off, count, tail);
}

static bool enter_block(struct tree *t, uint32_t from, lblk_t to)
{
	if (to == 0 || to >= t->v->nr)
		fault(t, from, "an index entry to no block");
	else if (t->seen[to])
		fault(t, (uint32_t)to, "a block that is named twice");
	else
		t->seen[to] = 1;
	return !t->fault;
}

static void check_index(struct tree *t, uint32_t i, unsigned level, uint32_t lo, uint32_t hi, bool is_last)
{
	const unsigned off = i == 0 ? EXT_DX_ROOT_OFF : EXT_DX_NODE_OFF;
	const uint8_t *block = t->v->blocks[i].data;
	const struct ext_disk_dx_entry *e = (const void *)(block + off);
	const struct ext_disk_dx_countlimit *cl = (const void *)e;
	const unsigned limit = le16_get(cl->limit), count = le16_get(cl->count);
	const unsigned room = (t->f->block_bytes - off - (has_csum(t->f) ? sizeof(struct ext_disk_dx_tail) : 0)) / sizeof(*e);

	if (fsck_dir_block_kind(t->f, t->v, i) != (i == 0 ? DIR_DX_ROOT : DIR_DX_NODE))
		fault(t, i, "no index block");
	else if (limit != room || count == 0 || count > limit)
		fault(t, i, "numbers of entries that cannot be");
	else if (!csum_ok(t, block, off, limit, count))
		fault(t, i, "a wrong checksum");
	for (unsigned k = 0; k < count && !t->fault; k++) {
		const uint32_t from = k == 0 ? lo : le32_get(e[k].hash);
		const bool last = k + 1 == count;
		const uint32_t to = last ? hi : le32_get(e[k + 1].hash);
		const lblk_t lblk = le32_get(e[k].block) & 0x0fffffff;

		if ((k > 0 && from < lo) || (!(last && is_last) && to < from))
			fault(t, i, "hashes out of order");
		else if (!enter_block(t, i, lblk))
			;
		else if (level + 1 < t->nr_levels)
			check_index(t, (uint32_t)lblk, level + 1, from, to, is_last && last);
		else
			check_leaf(t, (uint32_t)lblk, from, to, is_last && last);
	}
}

static void check_root(struct tree *t)
{
	const struct ext_disk_dx_root_info *info;
	const unsigned max = has_incompat(t->f, EXT_INCOMPAT_LARGEDIR) ? 3 : 2;

	if (t->v->nr == 0 || !t->v->blocks[0].pblk || fsck_dir_block_kind(t->f, t->v, 0) != DIR_DX_ROOT) {
		fault(t, 0, "no root");
		return;
	}
	info = (const void *)(t->v->blocks[0].data + 24);
	if (info->hash_version > EXT_HASH_TEA)
		fault(t, 0, "unknown hash");
	else if (info->unused_flags & 1)
		fault(t, 0, "unknown flags");
	else if (info->indirect_levels >= max)
		fault(t, 0, "too many levels");
	t->version = info->hash_version;
	t->nr_levels = info->indirect_levels + 1u;
}

void fsck_htree_check(struct worker *w, struct dir_view *v)
{
	struct tree t = { .w = w, .f = w->f, .v = v, .seen = calloc(v->nr + 1, 1) };

	if (!t.seen) {
		atomic_store(&w->f->any_err, true);
		return;
	}
	check_root(&t);
	if (!t.fault)
		check_index(&t, 0, 0, 0, 0, true);
	for (uint32_t i = 1; i < v->nr && !t.fault; i++)
		if (!t.seen[i])
			fault(&t, i, "a block that nothing names");
	free(t.seen);
	if (t.fault && fsck_fix(w, P2_HTREE, .dir = v->d->ino, .str = t.fault, .lblk = t.at))
		v->rebuild = true;
}
