/*
 * explain_back.c: from sectors of a member, sectors of the volume or blocks to whose they are.
 *
 * What is asked for is cut into parts, each of one kind (data of the volume, parity, md's own);
 * the blocks of all parts are looked for in one walk; then every part gets its owners.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "explain/explain_int.h"

enum { PARTS_MAX = 1 << 20, OWNERS_MAX = 4, TABLE_NAMES_MAX = 16 };

struct part {
	int member;		/* index, -1: none */
	sect_t sect;		/* of the member's device */
	uint64_t nr_sects;
	const char *what;
	bool has_stripe, has_copy, has_volume;
	uint64_t stripe;
	unsigned copy;
	sect_t volume_sect;	/* P, Q: where the stripe begins */
};

struct back {
	struct explain *x;
	struct part *parts;
	size_t nr, cap;
	struct look_owners owners;
	struct look_names names;
	struct jbd2_map wanted;		/* inodes that need a name */
	struct look_range *ranges;
	size_t nr_ranges;
};

static bool goes_on(const struct part *a, const struct part *b)
{
	return a->member == b->member && a->what == b->what && a->has_volume == b->has_volume && a->has_stripe == b->has_stripe &&
	       a->stripe == b->stripe && a->copy == b->copy && (a->member < 0 || a->sect + a->nr_sects == b->sect) &&
	       (!a->has_volume || a->volume_sect + a->nr_sects == b->volume_sect);
}

static int add_part(struct back *k, const struct part *p)
{
	if (k->nr > 0 && goes_on(&k->parts[k->nr - 1], p)) {
		k->parts[k->nr - 1].nr_sects += p->nr_sects;
		return 0;
	}
	if (k->nr == PARTS_MAX)
		return -E2BIG;
	if (k->nr == k->cap) {
		struct part *grown;

		k->cap = k->cap ? k->cap * 2 : 256;
		grown = realloc(k->parts, k->cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		k->parts = grown;
	}
	k->parts[k->nr++] = *p;
	return 0;
}

/* Parts of a member --------------------------------------------------------------------------- */

/* How far the role of a member sector goes on at most. */
static uint64_t same_role(const struct raid_geom *g, unsigned slot, sect_t sect)
{
	uint64_t end = UINT64_MAX;

	if (g->level == RAID_1)
		end = sect < g->array_sects ? g->array_sects : end;
	else if (g->level == RAID_LINEAR)
		end = g->zones[slot].end - (slot ? g->zones[slot - 1].end : 0);
	else
		end = sect - (sect & (g->chunk_sects - 1)) + g->chunk_sects;
	return sect < end ? end - sect : UINT64_MAX;
}

static int add_data(struct back *k, unsigned member, sect_t sect, uint64_t nr)
{
	const struct explain_member *m = &k->x->array.members[member];
	const struct raid_geom *g = k->x->array.geom;
	int err = 0;

	if (m->slot < 0) {
		const struct part p = { .member = (int)member, .sect = sect, .nr_sects = nr, .what = "spare: nothing of the volume" };

		return add_part(k, &p);
	}
	for (uint64_t n; !err && nr > 0; sect += n, nr -= n) {
		const sect_t at = sect - m->data_offset;
		struct part p = { .member = (int)member, .sect = sect };
		struct raid_role role;

		n = MIN(nr, same_role(g, (unsigned)m->slot, at));
		raid_unmap(g, (unsigned)m->slot, at, &role);
		p.nr_sects = n;
		p.has_stripe = g->nr_parity && role.kind != RAID_KIND_UNUSED;
		p.stripe = p.has_stripe ? role.stripe : 0;
		p.has_copy = g->nr_copies > 1 && role.kind == RAID_KIND_DATA;
		p.copy = p.has_copy ? role.copy : 0;
		p.volume_sect = role.sect;
		p.has_volume = role.kind == RAID_KIND_DATA;
		p.what = role.kind == RAID_KIND_DATA ? "data" : role.kind == RAID_KIND_P ? "P" : role.kind == RAID_KIND_Q ? "Q" :
			 "not used by the array";
		err = add_part(k, &p);
	}
	return err;
}

struct area {
	sect_t first;
	uint64_t nr;
	const char *what;
};

/* The area that sect lies in, and how far; what NULL: data. */
static const char *area_at(const struct explain_member *m, sect_t sect, uint64_t *nr)
{
	const struct area areas[] = {
		{ m->super_sect, m->nr_super, "md superblock" }, { m->bitmap_sect, m->nr_bitmap, "write-intent bitmap" },
		{ m->bblog_sect, m->nr_bblog, "bad-block log" },
	};

	if (sect < m->data_offset)
		*nr = MIN(*nr, m->data_offset - sect);
	for (unsigned i = 0; i < ARRAY_LEN(areas); i++) {
		if (sect >= areas[i].first && sect - areas[i].first < areas[i].nr) {
			*nr = MIN(*nr, areas[i].nr - (sect - areas[i].first));
			return areas[i].what;
		}
		if (areas[i].nr && sect < areas[i].first)
			*nr = MIN(*nr, areas[i].first - sect);
	}
	if (sect >= m->data_offset)
		return NULL;
	return m->nr_sects ? "in front of the data, not in use" : "in front of the data: md's superblock and bitmap, or not in use";
}

static int add_member_sects(struct back *k, const struct explain_ask *ask, char **error_text)
{
	const struct explain_member *m = &k->x->array.members[ask->member];
	sect_t sect = ask->first;
	int err = 0;

	if (m->is_missing)
		return explain_fail(error_text, -EINVAL, "the member of slot %d is missing", m->slot);
	if (m->nr_sects && (ask->first >= m->nr_sects || ask->nr > m->nr_sects - ask->first))
		return explain_fail(error_text, -EINVAL, "%s has %" PRIu64 " sectors", m->name, m->nr_sects);
	for (uint64_t left = ask->nr, n; !err && left > 0; sect += n, left -= n) {
		struct part p = { .member = (int)ask->member, .sect = sect };

		n = left;
		p.what = area_at(m, sect, &n);
		p.nr_sects = n;
		err = p.what ? add_part(k, &p) : add_data(k, ask->member, sect, n);
	}
	return err;
}

static int add_ask(struct back *k, const struct explain_ask *ask, char **error_text)
{
	const struct look *l = &k->x->look;
	struct part p = { .member = -1, .what = "data", .has_volume = true, .volume_sect = ask->first, .nr_sects = ask->nr };
	const unsigned shift = l->block_shift - SECT_SHIFT;

	if (ask->space == EXPLAIN_MEMBER)
		return add_member_sects(k, ask, error_text);
	if (ask->space == EXPLAIN_BLOCKS) {
		if (!l->usable)
			return explain_fail(error_text, -EUCLEAN, "%s: no filesystem that can be looked into", k->x->array.volume_name);
		if (ask->first >= l->nr_blocks || ask->nr > l->nr_blocks - ask->first)
			return explain_fail(error_text, -EINVAL, "the filesystem has %" PRIu64 " blocks", l->nr_blocks);
		p.volume_sect = ask->first << shift;
		p.nr_sects = ask->nr << shift;
	} else if (ask->first >= l->src.nr_bytes >> SECT_SHIFT || ask->nr > (l->src.nr_bytes >> SECT_SHIFT) - ask->first) {
		return explain_fail(error_text, -EINVAL, "the volume has %" PRIu64 " sectors", l->src.nr_bytes >> SECT_SHIFT);
	}
	return add_part(k, &p);
}

/* Owners ---------------------------------------------------------------------------------------- */

/* Blocks of the filesystem that a part is about. */
static uint64_t part_blocks(const struct look *l, const struct part *p, pblk_t *first)
{
	const unsigned shift = l->block_shift - SECT_SHIFT;
	pblk_t end;

	if (!p->has_volume || !l->usable)
		return 0;
	*first = p->volume_sect >> shift;
	end = MIN((p->volume_sect + p->nr_sects - 1) >> shift, l->nr_blocks - 1) + 1;
	return *first < end ? end - *first : 0;
}

/* The inodes whose records lie in a run of a table, as numbers [*from, *to). */
static void table_inodes(const struct look *l, const struct look_owner *o, uint64_t from_byte, uint64_t to_byte, ino_nr_t *from, ino_nr_t *to)
{
	const uint64_t first = (uint64_t)o->nr * l->inodes_per_group + 1;

	*from = (ino_nr_t)(first + MIN(from_byte / l->inode_bytes, (uint64_t)l->inodes_per_group));
	*to = (ino_nr_t)(first + MIN((to_byte + l->inode_bytes - 1) / l->inode_bytes, (uint64_t)l->inodes_per_group));
}

static int want_names(struct back *k)
{
	const struct look *l = &k->x->look;
	int err = 0;

	for (size_t i = 0; !err && i < k->owners.nr; i++) {
		const struct look_owner *o = &k->owners.o[i];
		ino_nr_t from, to;

		if (o->kind >= LOOK_OWN_DATA) {
			err = jbd2_map_put(&k->wanted, o->nr, 1);
		} else if (o->kind == LOOK_OWN_ITABLE) {
			table_inodes(l, o, o->lblk << l->block_shift, (o->lblk + o->nr_blocks) << l->block_shift, &from, &to);
			for (; !err && from < to; from++)
				err = jbd2_map_put(&k->wanted, from, 1);
		}
	}
	return err;
}

static int load_owners(struct back *k)
{
	struct look *l = &k->x->look;
	int err;

	k->ranges = malloc(MAX(k->nr, (size_t)1) * sizeof(*k->ranges));
	if (!k->ranges)
		return -ENOMEM;
	for (size_t i = 0; i < k->nr; i++) {
		pblk_t first;
		const uint64_t nr = part_blocks(l, &k->parts[i], &first);

		if (nr)
			k->ranges[k->nr_ranges++] = (struct look_range){ first, nr };
	}
	if (!k->nr_ranges)
		return 0;
	k->nr_ranges = explain_ranges_join(k->ranges, k->nr_ranges);
	err = look_owners_load(l, k->ranges, k->nr_ranges, &k->owners);
	if (!err)
		err = want_names(k);
	if (!err && k->wanted.nr)
		err = look_names_load(l, &k->owners, &k->wanted, &k->names);
	return err;
}

static const char *special_name(const struct look *l, uint32_t ino)
{
	if (ino == le32_get(l->super.s_journal_inum) && l->compat & EXT_COMPAT_HAS_JOURNAL)
		return "the journal";
	if (ino == le32_get(l->super.s_orphan_file_inum) && l->compat & EXT_COMPAT_ORPHAN_FILE)
		return "the orphan file";
	switch (ino) {
	case EXT_BAD_INO: return "the list of bad blocks";
	case EXT_RESIZE_INO: return "the resize inode";
	case 3: case 4: return "quotas";
	default: return NULL;
	}
}

static void set_path(const struct back *k, json_t *o, uint32_t ino)
{
	const char *special = ino < EXT_FIRST_INO_DEFAULT || ino == le32_get(k->x->look.super.s_orphan_file_inum) ?
			      special_name(&k->x->look, ino) : NULL;
	uint32_t nr_more = 0;
	char *path = look_names_path(&k->names, ino, &nr_more);

	set_u64(o, "inode", ino);
	if (path)
		set_text(o, "path", path);
	else if (special)
		set_text(o, "special", special);
	if (nr_more)
		set_u64(o, "more_names", nr_more);
	free(path);
}

static const char *owner_name(const struct look_owner *o)
{
	static const char *const fixed[] = {
		[LOOK_OWN_SUPER] = "superblock", [LOOK_OWN_DESC] = "group descriptors",
		[LOOK_OWN_RESERVED_DESC] = "reserved group descriptors", [LOOK_OWN_BLOCK_BITMAP] = "block bitmap",
		[LOOK_OWN_INODE_BITMAP] = "inode bitmap", [LOOK_OWN_ITABLE] = "inode table",
	};
	static const char *const maps[] = { "", "indirect block", "double indirect block", "triple indirect block" };

	switch (o->kind) {
	case LOOK_OWN_MAP: return o->extents ? "extent node" : maps[MIN(o->level, 3)];
	case LOOK_OWN_XATTR: return "attributes";
	case LOOK_OWN_DATA:
		if (S_ISDIR(o->mode))
			return "directory";
		if (S_ISLNK(o->mode))
			return "symbolic link";
		return o->unwritten ? "file, unwritten" : "file";
	default: return fixed[o->kind];
	}
}

/* One owner of the sectors [from, to) of the volume. */
static json_t *owner_json(const struct back *k, const struct look_owner *o, sect_t from, sect_t to)
{
	const struct look *l = &k->x->look;
	const unsigned shift = l->block_shift - SECT_SHIFT;
	const uint64_t into = (from - (o->first << shift)) << SECT_SHIFT, bytes = (to - from) << SECT_SHIFT;
	json_t *j = json_object();
	ino_nr_t first, end;

	set_text(j, "owner", owner_name(o));
	switch (o->kind) {
	case LOOK_OWN_DATA:
		set_path(k, j, o->nr);
		set_u64(j, "lblk", o->lblk + (from >> shift) - o->first);
		set_u64(j, "offset", (o->lblk << l->block_shift) + into);
		set_u64(j, "bytes", bytes);
		break;
	case LOOK_OWN_MAP:
		set_path(k, j, o->nr);
		set_u64(j, "level", o->level);
		set_u64(j, "lblk", o->lblk);
		set_u64(j, "nr_lblks", o->nr_lblks);
		break;
	case LOOK_OWN_XATTR:
		set_path(k, j, o->nr);
		break;
	case LOOK_OWN_ITABLE:
		set_u64(j, "group", o->nr);
		table_inodes(l, o, (o->lblk << l->block_shift) + into, (o->lblk << l->block_shift) + into + bytes, &first, &end);
		set_u64(j, "first_inode", first);
		set_u64(j, "last_inode", end - 1);
		break;
	default:
		set_u64(j, "group", o->nr);
	}
	return j;
}

/* The files whose inodes lie in that piece of a table. */
static void add_table_files(const struct back *k, json_t *j)
{
	json_t *files = json_array();
	ino_nr_t ino = (ino_nr_t)json_integer_value(json_object_get(j, "first_inode"));
	const ino_nr_t last = (ino_nr_t)json_integer_value(json_object_get(j, "last_inode"));
	uint64_t nr_files = 0;

	for (; ino <= last; ino++) {
		json_t *f;

		if (!jbd2_map_get(&k->names.by_ino, ino) && ino != EXT_ROOT_INO)
			continue;
		if (nr_files++ >= TABLE_NAMES_MAX)
			continue;
		f = json_object();
		set_path(k, f, ino);
		json_array_append_new(files, f);
	}
	json_object_set_new(j, "files", files);
	set_u64(j, "nr_files", nr_files);
}

/* Free, or not: what the bitmap says of a block without owner, and up to where. */
static const char *bitmap_says(struct look *l, pblk_t pblk, pblk_t *until)
{
	struct look_group g;
	const uint8_t *map;
	uint32_t bit;
	bool used;

	if (pblk < l->first_data_block) {
		*until = l->first_data_block;
		return "boot block";
	}
	if (look_group(l, (uint32_t)((pblk - l->first_data_block) / l->blocks_per_group), &g) || look_bitmap(l, &g, false, &map)) {
		*until = MIN(*until, g.first + g.nr_blocks);
		return "unknown: the block bitmap cannot be read";
	}
	bit = (uint32_t)(pblk - g.first);
	used = look_bit(map, bit);
	while (bit < g.nr_blocks && look_bit(map, bit) == used)
		bit++;
	*until = MIN(*until, g.first + bit);
	return used ? "in use, by nothing that was found" : "free";
}

static void add_owners(struct back *k, const struct part *p, json_t *list)
{
	struct look *l = &k->x->look;
	const unsigned shift = l->block_shift - SECT_SHIFT;
	const sect_t end = p->volume_sect + p->nr_sects;
	pblk_t pblk;
	uint64_t nr = part_blocks(l, p, &pblk);

	for (pblk_t until; nr > 0; nr -= until - pblk, pblk = until) {
		const struct look_owner *owners[OWNERS_MAX];
		const size_t n = look_owners_at(&k->owners, pblk, owners, OWNERS_MAX, &until);
		const sect_t from = MAX(pblk << shift, p->volume_sect);
		const char *none = NULL;

		until = MIN(until, pblk + nr);
		if (n == 0)
			none = bitmap_says(l, pblk, &until);
		for (size_t i = 0; i < MAX(n, (size_t)1); i++) {
			json_t *j = none ? json_pack("{s:s}", "owner", none) : owner_json(k, owners[i], from, MIN(until << shift, end));

			if (!none && owners[i]->kind == LOOK_OWN_ITABLE)
				add_table_files(k, j);
			set_u64(j, "block", pblk);
			set_u64(j, "nr_blocks", until - pblk);
			json_array_append_new(list, j);
		}
	}
}

static json_t *part_json(struct back *k, const struct part *p)
{
	const struct look *l = &k->x->look;
	const unsigned shift = l->usable ? l->block_shift - SECT_SHIFT : 0;
	json_t *o = json_object(), *owners = json_array();

	if (p->member >= 0) {
		set_text(o, "member", k->x->array.members[p->member].name);
		json_object_set_new(o, "slot", json_integer(k->x->array.members[p->member].slot));
		set_u64(o, "sector", p->sect);
	}
	set_u64(o, "nr_sectors", p->nr_sects);
	set_text(o, "what", p->what);
	if (p->has_stripe)
		set_u64(o, "stripe", p->stripe);
	if (p->has_copy)
		set_u64(o, "copy", p->copy);
	if (p->has_volume || p->has_stripe)
		set_u64(o, "volume_sector", p->volume_sect);
	add_owners(k, p, owners);
	if (p->has_volume && l->usable && (p->volume_sect + p->nr_sects) > l->nr_blocks << shift)
		json_array_append_new(owners, json_pack("{s:s}", "owner", "behind the filesystem"));
	if (p->has_volume && !l->usable)
		json_array_append_new(owners, json_pack("{s:s}", "owner", "no filesystem that can be looked into"));
	json_object_set_new(o, "owners", owners);
	return o;
}

int explain_asks(struct explain *x, const struct explain_ask *asks, size_t nr, json_t **out, char **error_text)
{
	struct back k = { .x = x };
	int err = 0;

	for (size_t i = 0; !err && i < nr; i++)
		err = add_ask(&k, &asks[i], error_text);
	if (err == -E2BIG)
		explain_fail(error_text, err, "more than %d parts: ask for less at a time", PARTS_MAX);
	if (!err)
		err = load_owners(&k);
	if (!err) {
		json_t *list = json_array();

		for (size_t i = 0; i < k.nr; i++)
			json_array_append_new(list, part_json(&k, &k.parts[i]));
		*out = json_pack("{s:o,s:I}", "answers", list, "block_bytes", (json_int_t)(x->look.usable ? x->look.block_bytes : 0));
	}
	look_owners_free(&k.owners);
	look_names_free(&k.names);
	jbd2_map_fini(&k.wanted);
	free(k.ranges);
	free(k.parts);
	return err;
}
