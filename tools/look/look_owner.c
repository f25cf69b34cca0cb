/* look_owner.c: the table of runs and owners. See look_owner.h. */
#include "look/look_owner.h"

#include <stdlib.h>
#include <sys/stat.h>

enum {
	TABLE_READ_BYTES = 1 << 20,
	ENOUGH = 1 << 20,
	BAD_GROUPS_MAX = 1024,	/* one behind the other: the superblock claims more groups than there are */
};

struct gather {
	struct look *l;
	struct look_owners *w;
	struct jbd2_map seen;		/* map blocks */
	const struct look_inode *i;
	int err;
};

static int add(struct look_owners *w, const struct look_owner *o)
{
	struct look_owner *grown;

	if (w->nr >= w->max) {
		w->cut = true;
		return 0;
	}
	if (w->nr == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 256;
		grown = realloc(w->o, w->cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		w->o = grown;
	}
	w->o[w->nr++] = *o;
	return 0;
}

/* The first range that ends behind pblk. */
static size_t range_find(const struct look_owners *w, pblk_t pblk)
{
	size_t lo = 0, hi = w->nr_ranges;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (w->ranges[mid].first + w->ranges[mid].nr > pblk)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* The parts of o that are asked for. */
static int add_wanted(struct look_owners *w, const struct look_owner *o)
{
	const pblk_t end = o->first + o->nr_blocks;
	int err = 0;

	if (!w->nr_ranges)
		return add(w, o);
	for (size_t r = range_find(w, o->first); !err && r < w->nr_ranges && w->ranges[r].first < end; r++) {
		const pblk_t from = MAX(o->first, w->ranges[r].first), to = MIN(end, w->ranges[r].first + w->ranges[r].nr);
		struct look_owner part = *o;

		part.first = from;
		part.nr_blocks = to - from;
		if (o->kind == LOOK_OWN_DATA || o->kind == LOOK_OWN_ITABLE)
			part.lblk += from - o->first;
		err = add(w, &part);
	}
	return err;
}

/* Fixed metadata ------------------------------------------------------------------------- */

static int add_fixed(struct look_owners *w, uint32_t group, enum look_owner_kind kind, pblk_t first, uint64_t nr)
{
	const struct look_owner o = { .first = first, .nr_blocks = nr, .nr = group, .kind = kind };

	return nr ? add_wanted(w, &o) : 0;
}

/* What lies outside of the filesystem was told when the descriptor was read. */
static uint64_t inside(const struct look *l, pblk_t first, uint64_t nr)
{
	return look_block_ok(l, first) ? MIN(nr, l->nr_blocks - first) : 0;
}

static int add_group(struct look *l, struct look_owners *w, const struct look_group *g, bool has_desc)
{
	const pblk_t reserved = g->first_desc_block + g->nr_desc_blocks;
	int err = 0;

	if (g->has_super)
		err = add_fixed(w, g->nr, LOOK_OWN_SUPER, g->first, 1);
	if (!err)
		err = add_fixed(w, g->nr, LOOK_OWN_DESC, g->first_desc_block, inside(l, g->first_desc_block, g->nr_desc_blocks));
	if (!err)
		err = add_fixed(w, g->nr, LOOK_OWN_RESERVED_DESC, reserved, inside(l, reserved, g->nr_reserved_blocks));
	if (err || !has_desc)
		return err;
	err = add_fixed(w, g->nr, LOOK_OWN_BLOCK_BITMAP, g->desc.block_bitmap, inside(l, g->desc.block_bitmap, 1));
	if (!err)
		err = add_fixed(w, g->nr, LOOK_OWN_INODE_BITMAP, g->desc.inode_bitmap, inside(l, g->desc.inode_bitmap, 1));
	if (!err)
		err = add_fixed(w, g->nr, LOOK_OWN_ITABLE, g->desc.inode_table, inside(l, g->desc.inode_table, l->itable_blocks));
	return err;
}

/* Inodes ------------------------------------------------------------------------------------ */

static bool take_piece(void *arg, const struct look_piece *p)
{
	struct gather *g = arg;
	const struct look_owner o = {
		.first = p->pblk, .nr_blocks = p->nr, .lblk = p->lblk, .nr_lblks = p->nr_lblks, .nr = g->i->ino, .mode = g->i->mode,
		.kind = p->kind == LOOK_MAP ? LOOK_OWN_MAP : LOOK_OWN_DATA, .level = (uint8_t)p->level,
		.unwritten = p->kind == LOOK_UNWRITTEN, .extents = p->extents };

	g->err = add_wanted(g->w, &o);
	return !g->err && !g->w->cut;
}

static int add_dir(struct look_owners *w, ino_nr_t ino)
{
	if (w->nr_dirs == w->cap_dirs) {
		ino_nr_t *grown;

		w->cap_dirs = w->cap_dirs ? w->cap_dirs * 2 : 256;
		grown = realloc(w->dirs, w->cap_dirs * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		w->dirs = grown;
	}
	w->dirs[w->nr_dirs++] = ino;
	return 0;
}

static int take_inode(struct gather *g, const struct look_inode *i)
{
	const struct look_owner acl = { .first = i->file_acl, .nr_blocks = 1, .nr = i->ino, .mode = i->mode, .kind = LOOK_OWN_XATTR };
	int err;

	g->i = i;
	g->err = 0;
	err = look_map(g->l, i, &g->seen, take_piece, g);
	if (!err)
		err = g->err;
	if (!err && i->file_acl) {
		if (look_block_ok(g->l, i->file_acl))
			err = add_wanted(g->w, &acl);
		else
			look_fault(g->l, "inode %" PRIu32 ": attribute block %" PRIu64 " does not exist", i->ino, i->file_acl);
	}
	if (!err && S_ISDIR(i->mode))
		err = add_dir(g->w, i->ino);
	return err;
}

/* In use: it has a name, or (unlinked and open, reserved) the bitmap says so. used NULL: no bitmap. */
static bool is_in_use(const struct look_inode *i, const uint8_t *used, uint32_t bit)
{
	if (!i->mode)
		return i->ino == EXT_BAD_INO;
	return i->links > 0 || (used && look_bit(used, bit));
}

/* Inodes [from, to) of the group, whose records are at p. */
static int take_records(struct gather *g, const struct look_group *grp, const uint8_t *p, uint32_t from, uint32_t to,
			const uint8_t *used)
{
	struct look *l = g->l;
	int err = 0;

	for (uint32_t k = from; !err && k < to && !g->w->cut; k++, p += l->inode_bytes) {
		struct look_inode i;

		if (!le16_get(((const struct ext_disk_inode *)p)->i_mode) && grp->nr + k > 0)
			continue;
		look_inode_parse(l, grp->nr * l->inodes_per_group + k + 1, p, &i);
		if (is_in_use(&i, used, k))
			err = take_inode(g, &i);
	}
	return err;
}

/* The walk below needs l->bitmap for itself: a copy. */
static int copy_bitmap(struct look *l, const struct look_group *grp, uint8_t *to)
{
	const uint8_t *map;
	const int err = look_bitmap(l, grp, true, &map);

	if (!err)
		memcpy(to, map, l->block_bytes);
	return err;
}

static int take_table(struct gather *g, const struct look_group *grp, uint8_t *buf, uint8_t *used)
{
	struct look *l = g->l;
	const uint32_t per_block = l->block_bytes / l->inode_bytes, step = MAX(TABLE_READ_BYTES / l->block_bytes, 1u);
	const uint64_t nr_blocks = inside(l, grp->desc.inode_table, l->itable_blocks);
	uint32_t nr = l->inodes_per_group;
	bool has_bitmap;
	int err = 0;

	if (grp->desc.flags & EXT_BG_INODE_UNINIT && grp->desc.csum == grp->want_csum)
		return 0;
	if (grp->desc.csum == grp->want_csum)
		nr -= MIN(grp->desc.itable_unused, nr);
	has_bitmap = !copy_bitmap(l, grp, used);
	for (uint64_t b = 0; !err && b < nr_blocks && b * per_block < nr && !g->w->cut; b += step) {
		const uint64_t part = MIN(nr_blocks - b, (uint64_t)step);
		const uint32_t from = (uint32_t)(b * per_block);

		err = l->src.read(l->src.arg, (grp->desc.inode_table + b) << l->block_shift, buf, part << l->block_shift);
		if (err) {
			look_fault(l, "inode table of group %" PRIu32 ", block %" PRIu64 " on: cannot be read", grp->nr,
				   grp->desc.inode_table + b);
			err = 0;
			continue;
		}
		err = take_records(g, grp, buf, from, (uint32_t)MIN((uint64_t)nr, from + part * per_block), has_bitmap ? used : NULL);
	}
	return err;
}

static int owner_compare(const void *a, const void *b)
{
	const struct look_owner *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->nr != y->nr ? (x->nr < y->nr ? -1 : 1) : (x->lblk > y->lblk) - (x->lblk < y->lblk);
}

static int finish(struct look *l, struct look_owners *w)
{
	pblk_t end = 0;

	if (w->cut)
		look_fault(l, "more owners than blocks: only the first %zu are looked at", w->nr);
	if (!w->nr)
		return 0;
	qsort(w->o, w->nr, sizeof(*w->o), owner_compare);
	w->max_end = malloc(w->nr * sizeof(*w->max_end));
	if (!w->max_end)
		return -ENOMEM;
	for (size_t i = 0; i < w->nr; i++) {
		end = MAX(end, w->o[i].first + w->o[i].nr_blocks);
		w->max_end[i] = end;
	}
	return 0;
}

int look_owners_load(struct look *l, const struct look_range *ranges, size_t nr, struct look_owners *out)
{
	struct gather g = { .l = l, .w = out };
	uint8_t *buf = malloc(MAX((size_t)TABLE_READ_BYTES, (size_t)l->block_bytes)), *used = malloc(l->block_bytes);
	unsigned nr_bad = 0;
	int err = buf && used ? 0 : -ENOMEM;

	*out = (struct look_owners){ .ranges = ranges, .nr_ranges = nr, .max = l->nr_blocks * 4 + ENOUGH };
	for (uint32_t n = 0; !err && n < l->nr_groups && nr_bad < BAD_GROUPS_MAX; n++) {
		struct look_group grp;
		const bool has_desc = !look_group(l, n, &grp);

		nr_bad = has_desc && (inside(l, grp.desc.inode_table, 1) || inside(l, grp.desc.block_bitmap, 1)) ? 0 : nr_bad + 1;
		err = add_group(l, out, &grp, has_desc);
		if (!err && has_desc)
			err = take_table(&g, &grp, buf, used);
	}
	if (!err)
		err = finish(l, out);
	if (err)
		look_owners_free(out);
	jbd2_map_fini(&g.seen);
	free(buf);
	free(used);
	return err;
}

void look_owners_free(struct look_owners *w)
{
	free(w->o);
	free(w->max_end);
	free(w->dirs);
	*w = (struct look_owners){ 0 };
}

size_t look_owners_at(const struct look_owners *w, pblk_t pblk, const struct look_owner **out, size_t max, pblk_t *until)
{
	size_t lo = 0, hi = w->nr, nr = 0;

	*until = UINT64_MAX;
	while (lo < hi) {	/* the first that begins behind pblk */
		const size_t mid = lo + (hi - lo) / 2;

		if (w->o[mid].first > pblk)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo < w->nr)
		*until = w->o[lo].first;
	for (size_t i = lo; i-- > 0 && w->max_end[i] > pblk;) {
		const pblk_t end = w->o[i].first + w->o[i].nr_blocks;

		if (end <= pblk)
			continue;
		*until = MIN(*until, end);
		if (nr < max)
			out[nr++] = &w->o[i];
	}
	return nr;
}
