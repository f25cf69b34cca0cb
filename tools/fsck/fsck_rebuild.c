/*
 * fsck_rebuild.c: a directory written anew from the entries that its blocks hold: dots first, leaves
 * packed, and an index over them when there are several and the filesystem has dir_index.
 * It gets the blocks that it needs: more are added, the others are given back.
 */
#include <stdlib.h>

#include "fs/fs_int.h"
#include "fsck_int.h"

enum { DIRENT_MIN = 12, DX_INFO_BYTES = 8 };

struct name {
	ino_nr_t ino;
	uint32_t hash, minor;
	uint8_t len, type;
	const char *s;		/* in texts */
};

struct rebuild {
	struct fsck *f;
	struct dir_view v;
	ARRAY_OF(struct name) names;
	char *texts;		/* all names, one behind the other */
	uint8_t version;
	bool hashed;
	ARRAY_OF(uint32_t) leaf_ends;	/* of each leaf: the name behind its last one */
	uint32_t fill_bytes;	/* of a leaf */
};

/* Gathering -------------------------------------------------------------------------------- */

static int gather_chain(struct rebuild *r, const struct dir_chain *c, size_t *text)
{
	uint32_t rec_len;

	for (uint32_t off = 0; off < c->len; off += rec_len) {
		const struct ext_disk_dirent *de = (const void *)(c->p + off);

		rec_len = fsck_rec_len(de, c->len - off);
		if (!rec_len)
			return 0;
		if (!de->inode.raw || fsck_name_is_dots(de->name, de->name_len))
			continue;
		memcpy(r->texts + *text, de->name, de->name_len);
		if (!array_push(r->f, &r->names, (struct name){ .ino = le32_get(de->inode), .len = de->name_len,
								 .type = de->file_type, .s = r->texts + *text }))
			return -ENOMEM;
		*text += de->name_len;
	}
	return 0;
}

static int gather(struct rebuild *r)
{
	size_t text = 0;
	int err = 0;

	r->texts = malloc(((size_t)r->v.nr << r->f->block_shift) + 1);
	if (!r->texts)
		return -ENOMEM;
	for (uint32_t i = 0; !err && i < r->v.nr; i++) {
		const struct dir_chain c = fsck_view_chain(r->f, &r->v, i);
		const unsigned kind = fsck_dir_block_kind(r->f, &r->v, i);

		if (c.p && (kind == DIR_LEAF || !r->v.d->is_hashed))
			err = gather_chain(r, &c, &text);
	}
	return err;
}

static int hash_compare(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return x->s < y->s ? -1 : x->s > y->s;
}

static void sort_by_hash(struct rebuild *r)
{
	for (size_t i = 0; i < r->names.nr; i++)
		fsck_hash(r->f, r->version, r->names.v[i].s, r->names.v[i].len, &r->names.v[i].hash, &r->names.v[i].minor);
	if (r->names.nr)
		qsort(r->names.v, r->names.nr, sizeof(*r->names.v), hash_compare);
}

/* Layout -------------------------------------------------------------------------------------- */

/* Cuts the names into leaves; the first one has the dots when there is no index. */
static int cut_leaves(struct rebuild *r)
{
	uint32_t used = r->hashed ? 0 : 2 * DIRENT_MIN;

	r->leaf_ends.nr = 0;
	for (size_t i = 0; i < r->names.nr; i++) {
		const uint32_t need = dirent_bytes(r->names.v[i].len);

		if (used && used + need > r->fill_bytes && used + need > 2 * DIRENT_MIN) {
			if (!array_push(r->f, &r->leaf_ends, (uint32_t)i))
				return -ENOMEM;
			used = 0;
		}
		used += need;
	}
	return array_push(r->f, &r->leaf_ends, (uint32_t)r->names.nr) ? 0 : -ENOMEM;
}

static uint32_t index_room(const struct rebuild *r, unsigned off)
{
	return (r->f->block_bytes - off - (has_csum(r->f) ? (uint32_t)sizeof(struct ext_disk_dx_tail) : 0)) /
	       (uint32_t)sizeof(struct ext_disk_dx_entry);
}

/* Index nodes between root and leaves; UINT32_MAX: two levels do not hold them. */
static uint32_t nr_nodes(const struct rebuild *r)
{
	const uint32_t leaves = (uint32_t)r->leaf_ends.nr;
	uint32_t nodes;

	if (!r->hashed || leaves <= index_room(r, EXT_DX_ROOT_OFF))
		return 0;
	nodes = DIV_UP(leaves, index_room(r, EXT_DX_NODE_OFF));
	return nodes <= index_room(r, EXT_DX_ROOT_OFF) ? nodes : UINT32_MAX;
}

static int plan(struct rebuild *r, bool linear)
{
	int err;

	r->hashed = false;
	r->fill_bytes = leaf_bytes(r->f);
	err = cut_leaves(r);
	if (err || linear || r->leaf_ends.nr < 2 || !has_compat(r->f, EXT_COMPAT_DIR_INDEX) ||
	    r->f->sb.s_def_hash_version > EXT_HASH_TEA)
		return err;
	r->hashed = true;
	r->version = r->f->sb.s_def_hash_version;
	sort_by_hash(r);
	r->fill_bytes = leaf_bytes(r->f) / 4 * 3;	/* room for more */
	err = cut_leaves(r);
	if (!err && nr_nodes(r) == UINT32_MAX) {
		r->hashed = false;
		r->fill_bytes = leaf_bytes(r->f);
		err = cut_leaves(r);
	}
	return err;
}

/* Writing ---------------------------------------------------------------------------------------- */

static struct ext_disk_dirent *put_entry(const struct rebuild *r, uint8_t *block, uint32_t *off, const char *name,
					 unsigned len, ino_nr_t ino, uint8_t type)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)(block + *off);
	const uint32_t bytes = dirent_bytes(len);

	memset(de, 0, bytes);
	de->inode = le32_of(ino);
	de->rec_len = fsck_rec_len_of(bytes);
	de->name_len = (uint8_t)len;
	de->file_type = type;
	memcpy(de->name, name, len);
	*off += bytes;
	(void)r;
	return de;
}

static ino_nr_t parent_of(const struct rebuild *r)
{
	const struct fsck_dir *d = r->v.d;

	if (d->ino == EXT_ROOT_INO)
		return EXT_ROOT_INO;
	return atomic_load(&d->parent) ? atomic_load(&d->parent) : d->dotdot ? d->dotdot : EXT_ROOT_INO;
}

static struct ext_disk_dirent *put_dots(const struct rebuild *r, uint8_t *block, uint32_t *off)
{
	const uint8_t type = dirent_type(r->f, EXT_FT_DIR);

	put_entry(r, block, off, ".", 1, r->v.d->ino, type);
	return put_entry(r, block, off, "..", 2, parent_of(r), type);
}

/* Leaf nr into a block of the directory. */
static void write_leaf(struct rebuild *r, uint32_t nr, uint32_t lblk)
{
	uint8_t *block = r->v.blocks[lblk].data;
	const uint32_t from = nr ? r->leaf_ends.v[nr - 1] : 0;
	struct ext_disk_dirent *last = NULL;
	uint32_t off = 0;

	fsck_leaf_init(r->f, block);
	if (lblk == 0)
		last = put_dots(r, block, &off);
	for (uint32_t i = from; i < r->leaf_ends.v[nr]; i++) {
		const struct name *n = &r->names.v[i];

		last = put_entry(r, block, &off, n->s, n->len, n->ino, n->type);
	}
	if (last)
		last->rec_len = fsck_rec_len_of((uint32_t)(block + leaf_bytes(r->f) - (uint8_t *)last));
	r->v.blocks[lblk].dirty = true;
}

/* Hash from which leaf nr counts: bit 0 when its first name has the same one as the last before. */
static uint32_t leaf_hash(const struct rebuild *r, uint32_t nr)
{
	const uint32_t first = nr ? r->leaf_ends.v[nr - 1] : 0;
	const uint32_t hash = r->names.v[first].hash;

	return nr && r->names.v[first - 1].hash == hash ? hash | 1 : hash;
}

/* An index block over nr children that begin with leaf `leaf`, each of step leaves, at blocks lblk, lblk + 1 ... */
static void put_index(struct rebuild *r, uint8_t *block, unsigned off, uint32_t nr, uint32_t leaf, uint32_t step,
		      uint32_t lblk)
{
	struct ext_disk_dx_entry *e = (struct ext_disk_dx_entry *)(block + off);
	struct ext_disk_dx_countlimit *cl = (struct ext_disk_dx_countlimit *)e;

	for (uint32_t i = 0; i < nr; i++) {
		e[i].block = le32_of(lblk + i);
		if (i > 0)
			e[i].hash = le32_of(leaf_hash(r, leaf + i * step));
	}
	cl->limit = le16_of((uint16_t)index_room(r, off));
	cl->count = le16_of((uint16_t)nr);
}

static void write_root(struct rebuild *r, uint32_t nodes)
{
	uint8_t *block = r->v.blocks[0].data;
	struct ext_disk_dx_root_info *info = (struct ext_disk_dx_root_info *)(block + 2 * DIRENT_MIN);
	const uint32_t leaves = (uint32_t)r->leaf_ends.nr;
	uint32_t off = 0;

	memset(block, 0, r->f->block_bytes);
	put_dots(r, block, &off)->rec_len = fsck_rec_len_of(r->f->block_bytes - DIRENT_MIN);
	info->hash_version = r->version;
	info->info_length = DX_INFO_BYTES;
	info->indirect_levels = nodes ? 1 : 0;
	put_index(r, block, EXT_DX_ROOT_OFF, nodes ? nodes : leaves, 0, nodes ? index_room(r, EXT_DX_NODE_OFF) : 1, 1);
	r->v.blocks[0].dirty = true;
}

static void write_nodes(struct rebuild *r, uint32_t nodes)
{
	const uint32_t room = index_room(r, EXT_DX_NODE_OFF), leaves = (uint32_t)r->leaf_ends.nr;

	for (uint32_t i = 0; i < nodes; i++) {
		uint8_t *block = r->v.blocks[1 + i].data;

		memset(block, 0, r->f->block_bytes);
		((struct ext_disk_dirent *)block)->rec_len = fsck_rec_len_of(r->f->block_bytes);
		put_index(r, block, EXT_DX_NODE_OFF, MIN(room, leaves - i * room), i * room, 1, 1 + nodes + i * room);
		r->v.blocks[1 + i].dirty = true;
	}
}

static int resize(struct rebuild *r, uint32_t nr)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < MIN(nr, r->v.nr); i++)
		if (!r->v.blocks[i].pblk)
			err = fsck_view_fill(r->f, &r->v, i);
	while (!err && r->v.nr < nr)
		err = fsck_view_grow(r->f, &r->v);
	if (!err)
		fsck_view_shrink(r->f, &r->v, nr);
	return err;
}

static int write_all(struct rebuild *r)
{
	const uint32_t nodes = nr_nodes(r), first = r->hashed ? 1 + nodes : 0;
	const uint32_t flags = le32_get(r->v.raw->i_flags);
	const int err = resize(r, first + (uint32_t)r->leaf_ends.nr);

	if (err)
		return err;
	r->v.raw->i_flags = le32_of(r->hashed ? flags | EXT_FL_INDEX : flags & ~(uint32_t)EXT_FL_INDEX);
	r->v.raw_dirty = true;
	r->v.d->is_hashed = r->hashed;
	for (uint32_t i = 0; i < r->leaf_ends.nr; i++)
		write_leaf(r, i, first + i);
	if (r->hashed) {
		write_root(r, nodes);
		write_nodes(r, nodes);
	}
	return 0;
}

int fsck_dir_rebuild(struct fsck *f, struct fsck_dir *d, bool linear)
{
	struct rebuild r = { .f = f };
	int err;

	if (d->is_inline) {
		d->rebuild = false;
		return 0;
	}
	err = fsck_view_open(f, d, &r.v);
	if (!err)
		err = gather(&r);
	if (!err)
		err = plan(&r, linear);
	if (!err)
		err = write_all(&r);
	fsck_view_close(f, &r.v);
	array_free(&r.names);
	array_free(&r.leaf_ends);
	free(r.texts);
	d->rebuild = false;
	return err;
}
