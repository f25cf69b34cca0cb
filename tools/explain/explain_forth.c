/* explain_forth.c: from a path to the sectors of the disks. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "explain/explain_int.h"

/* Places ------------------------------------------------------------------------------------ */

static const struct explain_member *member_of(const struct explain_array *a, unsigned slot)
{
	for (unsigned i = 0; i < a->nr; i++)
		if (a->members[i].slot == (int)slot && !a->members[i].is_missing)
			return &a->members[i];
	return NULL;
}

static json_t *place_json(const struct explain_array *a, unsigned slot, sect_t sect)
{
	const struct explain_member *m = member_of(a, slot);
	json_t *o = json_object();

	set_text(o, "member", m ? m->name : "missing");
	set_u64(o, "slot", slot);
	/* Without the member only the sector from where data begins can be said. */
	set_u64(o, m ? "sector" : "data_sector", sect + (m ? m->data_offset : 0));
	return o;
}

static void add_parity(json_t *place, const struct explain_array *a, const struct raid_place *at)
{
	const struct raid_geom *g = a->geom;
	const uint64_t stripe = at->sect >> g->chunk_shift;
	struct raid_stripe_map map;
	json_t *list = json_array();

	raid_map_stripe(g, stripe, &map);
	set_u64(place, "stripe", stripe);
	for (unsigned k = 0; k < g->nr_parity; k++) {
		json_t *o = place_json(a, k ? map.q : map.p, at->sect);

		set_text(o, "role", k ? "Q" : "P");
		json_array_append_new(list, o);
	}
	json_object_set_new(place, "parity", list);
}

json_t *explain_places(const struct explain *x, sect_t sect, uint64_t nr_sects)
{
	const struct explain_array *a = &x->array;
	json_t *list = json_array();

	if (!a->geom) {
		json_array_append_new(list, json_pack("{s:o,s:I,s:I}", "member", explain_text(a->volume_name), "sector",
						      (json_int_t)sect, "nr_sectors", (json_int_t)nr_sects));
		return list;
	}
	while (nr_sects > 0 && sect < a->geom->array_sects) {
		struct raid_place places[RAID_MAX_MEMBERS];
		uint64_t n;

		raid_map(a->geom, sect, places, &n);
		n = MIN(n, nr_sects);
		for (unsigned c = 0; c < a->geom->nr_copies; c++) {
			json_t *o = place_json(a, places[c].slot, places[c].sect);

			set_u64(o, "nr_sectors", n);
			set_u64(o, "volume_sector", sect);
			if (a->geom->nr_copies > 1)
				set_u64(o, "copy", c);
			if (a->geom->nr_parity)
				add_parity(o, a, &places[c]);
			json_array_append_new(list, o);
		}
		sect += n;
		nr_sects -= n;
	}
	return list;
}

/* Pieces -------------------------------------------------------------------------------------- */

struct pieces {
	struct explain *x;
	json_t *list;
	bool has_offset, found;
	uint64_t offset;
};

static void add_piece(struct pieces *p, const char *kind, lblk_t lblk, uint64_t nr_blocks, pblk_t pblk, sect_t skip, uint64_t nr_sects)
{
	const unsigned shift = p->x->look.block_shift - SECT_SHIFT;
	json_t *o = json_object();

	set_text(o, "kind", kind);
	set_u64(o, "lblk", lblk);
	set_u64(o, "nr_blocks", nr_blocks);
	if (pblk) {
		set_u64(o, "block", pblk);
		set_u64(o, "volume_sector", (pblk << shift) + skip);
		set_u64(o, "nr_sectors", nr_sects);
		json_object_set_new(o, "places", explain_places(p->x, (pblk << shift) + skip, nr_sects));
	}
	json_array_append_new(p->list, o);
}

static const char *map_kind(const struct look_piece *q)
{
	static const char *const names[] = { "", "indirect block", "double indirect block", "triple indirect block" };

	return q->extents ? "extent node" : names[MIN(q->level, 3u)];
}

static bool take_piece(void *arg, const struct look_piece *q)
{
	struct pieces *p = arg;
	const unsigned shift = p->x->look.block_shift - SECT_SHIFT;
	const char *kind = q->kind == LOOK_MAP ? map_kind(q) : q->kind == LOOK_UNWRITTEN ? "unwritten" : "data";
	const lblk_t lblk = p->offset >> p->x->look.block_shift;
	const sect_t skip = p->offset >> SECT_SHIFT & ((1u << shift) - 1);

	if (!p->has_offset) {
		add_piece(p, kind, q->lblk, q->kind == LOOK_MAP ? 1 : q->nr, q->pblk, 0, (uint64_t)q->nr << shift);
	} else if (q->kind != LOOK_MAP && lblk >= q->lblk && lblk - q->lblk < q->nr) {
		add_piece(p, kind, lblk, 1, q->pblk + (lblk - q->lblk), skip, 1);
		p->found = true;
	}
	return !p->found;
}

/* The sectors that hold the inode's own record. */
static void add_inode(struct pieces *p, const struct look_inode *i, const char *kind)
{
	add_piece(p, kind, 0, 1, i->table_block, i->table_off >> SECT_SHIFT,
		  MAX(p->x->look.inode_bytes >> SECT_SHIFT, 1u));
}

static int add_pieces(struct pieces *p, const struct look_inode *i)
{
	struct look *l = &p->x->look;
	int err = 0;

	if (!p->has_offset)
		add_inode(p, i, "inode");
	if (look_inode_has_map(l, i))
		err = look_map(l, i, NULL, take_piece, p);
	else if (p->has_offset)
		add_inode(p, i, "in the inode");
	if (!err && p->has_offset && look_inode_has_map(l, i) && !p->found)
		add_piece(p, "hole", p->offset >> l->block_shift, 1, 0, 0, 0);
	if (!p->has_offset && i->file_acl && look_block_ok(l, i->file_acl))
		add_piece(p, "attributes", 0, 1, i->file_acl, 0, l->block_bytes >> SECT_SHIFT);
	return err;
}

static const char *type_name(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "directory";
	case S_IFLNK: return "symbolic link";
	default: return "special file";
	}
}

/* PATH, or PATH@OFFSET when no file has that very name. */
static int find(struct explain *x, const char *path, char **name, bool *has_offset, uint64_t *offset, ino_nr_t *ino)
{
	char *at, *end;
	int err;

	*name = strdup(path);
	*has_offset = false;
	if (!*name)
		return -ENOMEM;
	err = look_path(&x->look, path, ino);
	at = strrchr(*name, '@');
	if (err != -ENOENT || !at || !at[1] || at[1] == '-')
		return err;
	errno = 0;
	*offset = strtoull(at + 1, &end, 0);
	if (*end || errno)
		return err;
	*at = '\0';
	*has_offset = true;
	return look_path(&x->look, *name, ino);
}

static int path_json(struct explain *x, const char *name, bool has_offset, uint64_t offset, ino_nr_t ino, json_t **out,
		     char **error_text)
{
	struct pieces p = { .x = x, .has_offset = has_offset, .offset = offset };
	struct look_inode i;
	json_t *o;
	int err = look_inode(&x->look, ino, &i);

	if (err)
		return explain_fail(error_text, -EUCLEAN, "%s: inode %" PRIu32 " cannot be read", name, ino);
	if (has_offset && offset >= i.size_bytes) {
		err = explain_fail(error_text, -EINVAL, "%s has %" PRIu64 " bytes", name, i.size_bytes);
		look_inode_done(&i);
		return err;
	}
	p.list = json_array();
	err = add_pieces(&p, &i);
	o = json_object();
	set_text(o, "path", name);
	set_u64(o, "inode", ino);
	set_text(o, "type", type_name(i.mode));
	set_u64(o, "size", i.size_bytes);
	set_u64(o, "block_bytes", x->look.block_bytes);
	if (has_offset)
		set_u64(o, "offset", offset);
	json_object_set_new(o, "pieces", p.list);
	look_inode_done(&i);
	*out = o;
	return err;
}

int explain_path(struct explain *x, const char *path, json_t **out, char **error_text)
{
	bool has_offset;
	uint64_t offset = 0;
	ino_nr_t ino;
	char *name;
	int err;

	if (!x->look.usable)
		return explain_fail(error_text, -EUCLEAN, "%s: no filesystem that can be looked into", x->array.volume_name);
	err = find(x, path, &name, &has_offset, &offset, &ino);
	if (err)
		err = explain_fail(error_text, err, "%s: %s", name ? name : path, strerror(-err));
	else
		err = path_json(x, name, has_offset, offset, ino, out, error_text);
	free(name);
	return err;
}
