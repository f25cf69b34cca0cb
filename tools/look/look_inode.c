/* look_inode.c: inodes, their maps, what is within them. See look.h. */
#include <assert.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/crc.h"
#include "look/look.h"

void look_inode_parse(const struct look *l, ino_nr_t ino, const void *record, struct look_inode *out)
{
	const struct ext_disk_inode *raw = record;
	const unsigned space = l->inode_bytes - EXT_GOOD_OLD_INODE_BYTES;

	*out = (struct look_inode){
		.ino = ino, .raw = raw, .mode = le16_get(raw->i_mode),
		.uid = le16_get(raw->i_uid_lo) | (uint32_t)le16_get(raw->i_uid_hi) << 16,
		.gid = le16_get(raw->i_gid_lo) | (uint32_t)le16_get(raw->i_gid_hi) << 16,
		.links = le16_get(raw->i_links_count), .flags = le32_get(raw->i_flags),
		.generation = le32_get(raw->i_generation), .dtime = le32_get(raw->i_dtime),
		.size_bytes = le32_get(raw->i_size_lo), .nr_sects = le32_get(raw->i_blocks_lo),
		.file_acl = le32_get(raw->i_file_acl_lo), .csum = le16_get(raw->i_checksum_lo),
	};
	if (S_ISREG(out->mode) || S_ISDIR(out->mode))
		out->size_bytes |= (uint64_t)le32_get(raw->i_size_hi) << 32;
	if (l->ro_compat & EXT_RO_COMPAT_HUGE_FILE)
		out->nr_sects |= (uint64_t)le16_get(raw->i_blocks_hi) << 32;
	if (out->flags & EXT_FL_HUGE_FILE)
		out->nr_sects <<= l->block_shift - SECT_SHIFT;
	if (l->incompat & EXT_INCOMPAT_64BIT)
		out->file_acl |= (uint64_t)le16_get(raw->i_file_acl_hi) << 32;
	if (space)
		out->extra_isize = MIN((unsigned)le16_get(raw->i_extra_isize), space);
	out->csum_seed = ext_inode_csum_seed(l->csum_seed, ino, out->generation);
	if (!l->csum) {
		out->want_csum = out->csum;
		return;
	}
	if (ext_inode_has_csum_hi(raw, l->inode_bytes))
		out->csum |= (uint32_t)le16_get(raw->i_checksum_hi) << 16;
	out->want_csum = ext_inode_csum(out->csum_seed, raw, l->inode_bytes);
}

int look_inode(struct look *l, ino_nr_t ino, struct look_inode *out)
{
	struct look_group g;
	uint64_t at;
	pblk_t pblk;
	uint8_t *own;
	int err;

	*out = (struct look_inode){ .ino = ino };
	if (ino == 0 || ino > l->nr_inodes) {
		look_fault(l, "no inode has the number %" PRIu32, ino);
		return -EINVAL;
	}
	err = look_group(l, (ino - 1) / l->inodes_per_group, &g);
	if (err)
		return err;
	at = (uint64_t)((ino - 1) % l->inodes_per_group) * l->inode_bytes;
	pblk = g.desc.inode_table + (at >> l->block_shift);
	if (pblk != l->table_pblk) {
		l->table_pblk = UINT64_MAX;
		err = look_block(l, pblk, l->table);
		if (err)
			return err;
		l->table_pblk = pblk;
	}
	own = malloc(MAX((size_t)l->inode_bytes, sizeof(struct ext_disk_inode)));
	if (!own)
		return -ENOMEM;
	memset(own, 0, sizeof(struct ext_disk_inode));
	memcpy(own, l->table + (at & (l->block_bytes - 1)), l->inode_bytes);
	look_inode_parse(l, ino, own, out);
	out->own = own;
	out->table_block = pblk;
	out->table_off = (uint32_t)(at & (l->block_bytes - 1));
	return 0;
}

void look_inode_done(struct look_inode *i)
{
	free(i->own);
	i->own = NULL;
}

bool look_inode_has_map(const struct look *l, const struct look_inode *i)
{
	const uint64_t acl_sects = i->file_acl ? l->block_bytes >> SECT_SHIFT : 0;

	if (look_inode_has_inline(i))
		return false;
	if (S_ISREG(i->mode) || S_ISDIR(i->mode) || i->ino == EXT_BAD_INO)
		return true;
	/* A short target is in i_block itself. */
	return S_ISLNK(i->mode) && ((i->flags & EXT_FL_EXTENTS) || i->size_bytes >= EXT_INLINE_BYTES || i->nr_sects > acl_sects);
}

/* Maps ----------------------------------------------------------------------------------- */

enum { IND_DEPTH = 3, EXTENT_DEPTH = 5, UNWRITTEN_ABOVE = 32768, RECORD_BYTES = 12 };

struct walk {
	struct look *l;
	const struct look_inode *i;
	struct jbd2_map *seen, own_seen;
	look_piece_fn *fn;
	void *arg;
	bool stopped;
	unsigned nr_told;		/* of this inode: a table of nonsense is told a few times only */
};
enum { TOLD_MAX = 16 };

#define walk_fault(w, fmt, ...)								\
	do {										\
		if ((w)->nr_told++ < TOLD_MAX)						\
			look_fault((w)->l, "inode %" PRIu32 ": " fmt, (w)->i->ino, __VA_ARGS__);	\
	} while (0)

static void give(struct walk *w, const struct look_piece *p)
{
	if (!w->stopped && !w->fn(w->arg, p))
		w->stopped = true;
}

/* A map block: may it be entered (LK2)? Read into buf. */
static int enter(struct walk *w, const struct look_piece *p, uint8_t *buf)
{
	if (!look_block_ok(w->l, p->pblk)) {
		walk_fault(w, "level %u, block %" PRIu64 " of the file: its map is at block %" PRIu64 ", which does not exist",
			   p->level, p->lblk, p->pblk);
		return -EUCLEAN;
	}
	give(w, p);
	if (w->stopped)
		return -EUCLEAN;
	if (jbd2_map_get(w->seen, p->pblk)) {
		walk_fault(w, "map block %" PRIu64 " is used twice", p->pblk);
		return -EUCLEAN;
	}
	if (jbd2_map_put(w->seen, p->pblk, 1))
		return -ENOMEM;
	return look_block(w->l, p->pblk, buf);
}

/* Pointers to data, in runs. */
static void ind_data(struct walk *w, const le32 *slots, unsigned nr, lblk_t lblk)
{
	for (unsigned k = 0, n; k < nr && !w->stopped; k += n) {
		struct look_piece p = { .kind = LOOK_DATA, .lblk = lblk + k, .pblk = le32_get(slots[k]) };

		n = 1;
		if (!p.pblk)
			continue;
		while (k + n < nr && le32_get(slots[k + n]) == p.pblk + n)
			n++;
		if (!look_block_ok(w->l, p.pblk) || n > w->l->nr_blocks - p.pblk) {
			walk_fault(w, "block %" PRIu64 " of the file is at block %" PRIu64 ", which does not exist", p.lblk, p.pblk);
			n = 1;
			if (!look_block_ok(w->l, p.pblk))
				continue;
		}
		p.nr = n;
		give(w, &p);
	}
}

static int ind_tree(struct walk *w, unsigned level, pblk_t pblk, lblk_t lblk)
{
	const unsigned shift = w->l->block_shift - 2, nr = 1u << shift;
	const struct look_piece p = { .kind = LOOK_MAP, .level = level, .lblk = lblk, .pblk = pblk, .nr = 1,
				      .nr_lblks = (uint64_t)1 << level * shift };
	uint8_t *buf;
	int err;

	if (!pblk || w->stopped)
		return 0;
	buf = malloc(w->l->block_bytes);
	if (!buf)
		return -ENOMEM;
	err = enter(w, &p, buf);
	if (!err && level == 1)
		ind_data(w, (const le32 *)buf, nr, lblk);
	for (unsigned k = 0; !err && level > 1 && k < nr; k++)
		err = ind_tree(w, level - 1, le32_get(((const le32 *)buf)[k]), lblk + ((lblk_t)k << (level - 1) * shift));
	free(buf);
	return err == -ENOMEM ? err : 0;
}

static int ind_map(struct walk *w)
{
	const unsigned shift = w->l->block_shift - 2;
	const le32 *slots = w->i->raw->i_block;
	lblk_t lblk = EXT_NR_DIRECT;
	int err = 0;

	ind_data(w, slots, EXT_NR_DIRECT, 0);
	for (unsigned level = 1; !err && level <= IND_DEPTH; level++) {
		err = ind_tree(w, level, le32_get(slots[EXT_NR_DIRECT + level - 1]), lblk);
		lblk += (lblk_t)1 << level * shift;
	}
	return err;
}

static const char *node_fault(const uint8_t *bytes, size_t cap, int depth)
{
	const struct ext_disk_extent_header *h = (const void *)bytes;
	const unsigned max = le16_get(h->eh_max);

	if (le16_get(h->eh_magic) != EXT_EXTENT_MAGIC)
		return "no magic number";
	if (le16_get(h->eh_depth) > EXTENT_DEPTH || (depth >= 0 && le16_get(h->eh_depth) != depth))
		return "wrong depth";
	if (le16_get(h->eh_entries) > max || sizeof(*h) + (size_t)max * RECORD_BYTES > cap)
		return "more records than fit";
	return NULL;
}

static void extent_leaf(struct walk *w, const struct ext_disk_extent *e, lblk_t *next)
{
	const unsigned len = le16_get(e->ee_len);
	struct look_piece p = {
		.kind = len > UNWRITTEN_ABOVE ? LOOK_UNWRITTEN : LOOK_DATA, .lblk = le32_get(e->ee_block),
		.pblk = (pblk_t)le16_get(e->ee_start_hi) << 32 | le32_get(e->ee_start_lo),
		.nr = len > UNWRITTEN_ABOVE ? len - UNWRITTEN_ABOVE : len };

	if (p.lblk < *next || !p.nr)
		walk_fault(w, "extent at block %" PRIu64 " of the file: out of order, or empty", p.lblk);
	*next = p.lblk + p.nr;
	if (!look_block_ok(w->l, p.pblk) || p.nr > w->l->nr_blocks - p.pblk)
		walk_fault(w, "extent at block %" PRIu64 " of the file: blocks %" PRIu64 " on (%u) do not exist", p.lblk, p.pblk, p.nr);
	else if (p.nr)
		give(w, &p);
}

static void extent_csum(struct walk *w, const uint8_t *bytes, pblk_t pblk)
{
	const size_t at = sizeof(struct ext_disk_extent_header) +
			  (size_t)le16_get(((const struct ext_disk_extent_header *)bytes)->eh_max) * RECORD_BYTES;
	le32 found;

	if (!w->l->csum || at + sizeof(found) > w->l->block_bytes)
		return;
	memcpy(&found, bytes + at, sizeof(found));
	if (le32_get(found) != crc32c(w->i->csum_seed, bytes, at))
		walk_fault(w, "extent node at block %" PRIu64 ": checksum is %#" PRIx32 ", should be %#" PRIx32, pblk, le32_get(found),
			   crc32c(w->i->csum_seed, bytes, at));
}

/* depth -1: the root. next: the records' file blocks only rise. */
static int extent_node(struct walk *w, const uint8_t *bytes, size_t cap, int depth, pblk_t pblk, lblk_t *next)
{
	const struct ext_disk_extent_header *h = (const void *)bytes;
	const char *fault = node_fault(bytes, cap, depth);
	int err = 0;

	if (fault) {
		walk_fault(w, "extent node at block %" PRIu64 ": %s", pblk, fault);
		return 0;
	}
	depth = le16_get(h->eh_depth);
	for (unsigned k = 0; !err && !w->stopped && k < le16_get(h->eh_entries); k++) {
		const struct ext_disk_extent_idx *x = (const struct ext_disk_extent_idx *)(h + 1) + k;
		struct look_piece p = { .kind = LOOK_MAP, .extents = true, .level = (unsigned)depth, .lblk = le32_get(x->ei_block),
					.pblk = (pblk_t)le16_get(x->ei_leaf_hi) << 32 | le32_get(x->ei_leaf_lo), .nr = 1 };
		uint8_t *buf;

		if (depth == 0) {
			extent_leaf(w, (const struct ext_disk_extent *)x, next);
			continue;
		}
		p.nr_lblks = (k + 1 < le16_get(h->eh_entries) ? le32_get(x[1].ei_block) : (uint64_t)UINT32_MAX + 1) - p.lblk;
		buf = malloc(w->l->block_bytes);
		if (!buf)
			return -ENOMEM;
		err = enter(w, &p, buf);
		if (!err) {
			if (!node_fault(buf, w->l->block_bytes, depth - 1))
				extent_csum(w, buf, p.pblk);
			err = extent_node(w, buf, w->l->block_bytes, depth - 1, p.pblk, next);
		}
		free(buf);
		err = err == -ENOMEM ? err : 0;
	}
	return err;
}

int look_map(struct look *l, const struct look_inode *i, struct jbd2_map *seen, look_piece_fn *fn, void *arg)
{
	struct walk w = { .l = l, .i = i, .fn = fn, .arg = arg };
	lblk_t next = 0;
	int err;

	w.seen = seen ? seen : &w.own_seen;
	if (!look_inode_has_map(l, i))
		return 0;
	if (i->flags & EXT_FL_EXTENTS)
		err = extent_node(&w, (const uint8_t *)i->raw->i_block, EXT_INLINE_BYTES, -1, i->table_block, &next);
	else
		err = ind_map(&w);
	if (w.nr_told > TOLD_MAX)
		look_fault(l, "inode %" PRIu32 ": and %u more of this kind", i->ino, w.nr_told - TOLD_MAX);
	jbd2_map_fini(&w.own_seen);
	return err;
}

struct find {
	lblk_t lblk;
	pblk_t pblk;
};

static bool find_piece(void *arg, const struct look_piece *p)
{
	struct find *f = arg;

	if (p->kind == LOOK_MAP)
		return true;
	if (f->lblk >= p->lblk && f->lblk - p->lblk < p->nr)
		f->pblk = p->pblk + (f->lblk - p->lblk);
	return !f->pblk && p->lblk <= f->lblk;
}

int look_map_find(struct look *l, const struct look_inode *i, lblk_t lblk, pblk_t *pblk)
{
	struct find f = { .lblk = lblk };
	const int err = look_map(l, i, NULL, find_piece, &f);

	*pblk = f.pblk;
	return err;
}

/* Attributes ----------------------------------------------------------------------------- */

enum { LAST_BYTES = 4 };

const char *look_xattr_prefix(uint8_t index)
{
	switch (index) {
	case EXT_XATTR_USER: return "user.";
	case EXT_XATTR_POSIX_ACL_ACCESS: return "system.posix_acl_access";
	case EXT_XATTR_POSIX_ACL_DEFAULT: return "system.posix_acl_default";
	case EXT_XATTR_TRUSTED: return "trusted.";
	case EXT_XATTR_SECURITY: return "security.";
	case EXT_XATTR_SYSTEM: return "system.";
	default: return "";
	}
}

/* Entries from first on; values count from base; all below end. */
static void area(struct look *l, const struct look_inode *i, const uint8_t *base, const uint8_t *first, const uint8_t *end,
		 pblk_t in_block, look_xattr_fn *fn, void *arg)
{
	const size_t cap = (size_t)(end - base);
	const uint8_t *p = first;
	uint32_t word;

	for (;;) {
		const struct ext_disk_xattr_entry *e = (const void *)p;
		struct look_xattr x = { .in_block = in_block };
		size_t len;

		if ((size_t)(end - p) < LAST_BYTES)
			break;
		memcpy(&word, p, sizeof(word));
		if (!word)
			return;
		if ((size_t)(end - p) < sizeof(*e))
			break;
		len = sizeof(*e) + ALIGN_UP((size_t)e->e_name_len, 4);
		if ((size_t)(end - p) < len)
			break;
		x.index = e->e_name_index;
		x.name = e->e_name;
		x.name_len = e->e_name_len;
		x.value_len = le32_get(e->e_value_size);
		x.value = base + le16_get(e->e_value_offs);
		if (x.value_len > cap || le16_get(e->e_value_offs) > cap - x.value_len || e->e_value_inum.raw) {
			look_fault(l, "inode %" PRIu32 ": attribute %s%.*s: its value lies outside", i->ino, look_xattr_prefix(x.index),
				   (int)x.name_len, x.name);
			x.value = NULL;
			x.value_len = 0;
		}
		fn(arg, &x);
		p += len;
	}
	look_fault(l, "inode %" PRIu32 ": attributes without end", i->ino);
}

static void ibody(struct look *l, const struct look_inode *i, look_xattr_fn *fn, void *arg)
{
	const size_t off = (size_t)EXT_GOOD_OLD_INODE_BYTES + i->extra_isize;
	const uint8_t *raw = (const uint8_t *)i->raw;
	le32 magic;

	if (!i->extra_isize || i->extra_isize % 4 || off + sizeof(magic) + LAST_BYTES > l->inode_bytes)
		return;
	memcpy(&magic, raw + off, sizeof(magic));
	if (le32_get(magic) == EXT_XATTR_MAGIC)
		area(l, i, raw + off + 4, raw + off + 4, raw + l->inode_bytes, 0, fn, arg);
}

static void block_check(struct look *l, const struct look_inode *i, const uint8_t *buf)
{
	const struct ext_disk_xattr_header *h = (const void *)buf;
	uint32_t crc;

	if (le32_get(h->h_blocks) != 1 || !le32_get(h->h_refcount))
		look_fault(l, "inode %" PRIu32 ": attribute block %" PRIu64 ": a count that cannot be", i->ino, i->file_acl);
	if (!l->csum)
		return;
	crc = ext_xattr_block_csum(l->csum_seed, i->file_acl, buf, l->block_bytes);
	if (crc != le32_get(h->h_checksum))
		look_fault(l, "inode %" PRIu32 ": attribute block %" PRIu64 ": checksum is %#" PRIx32 ", should be %#" PRIx32, i->ino,
			   i->file_acl, le32_get(h->h_checksum), crc);
}

int look_xattrs(struct look *l, const struct look_inode *i, look_xattr_fn *fn, void *arg)
{
	uint8_t *buf;
	int err;

	ibody(l, i, fn, arg);
	if (!i->file_acl)
		return 0;
	buf = malloc(l->block_bytes);
	if (!buf)
		return -ENOMEM;
	err = look_block(l, i->file_acl, buf);
	if (!err && le32_get(((const struct ext_disk_xattr_header *)buf)->h_magic) != EXT_XATTR_MAGIC) {
		look_fault(l, "inode %" PRIu32 ": attribute block %" PRIu64 ": no magic number", i->ino, i->file_acl);
	} else if (!err) {
		block_check(l, i, buf);
		area(l, i, buf, buf + sizeof(struct ext_disk_xattr_header), buf + l->block_bytes, i->file_acl, fn, arg);
	}
	free(buf);
	return err == -EUCLEAN ? 0 : err;
}

/* Contents in the inode -------------------------------------------------------------------- */

struct inline_arg {
	uint8_t *to;
	unsigned len;
	bool found;
};

static void inline_value(void *arg, const struct look_xattr *x)
{
	struct inline_arg *a = arg;

	if (x->in_block || x->index != EXT_XATTR_SYSTEM || x->name_len != 4 || memcmp(x->name, "data", 4) || a->found)
		return;
	a->found = true;
	a->len = x->value_len;
	if (x->value_len)
		memcpy(a->to, x->value, x->value_len);
}

int look_inline(struct look *l, const struct look_inode *i, uint8_t *buf, unsigned *len)
{
	struct inline_arg a = { .to = buf + EXT_INLINE_BYTES };

	memcpy(buf, i->raw->i_block, EXT_INLINE_BYTES);
	ibody(l, i, inline_value, &a);
	if (!a.found)
		look_fault(l, "inode %" PRIu32 ": contents in the inode without the attribute system.data", i->ino);
	*len = EXT_INLINE_BYTES + a.len;
	if (i->size_bytes > *len)
		look_fault(l, "inode %" PRIu32 ": size is %" PRIu64 ", the inode holds %u bytes", i->ino, i->size_bytes, *len);
	*len = (unsigned)MIN(i->size_bytes, (uint64_t)*len);
	return 0;
}
