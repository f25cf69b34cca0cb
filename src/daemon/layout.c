/* layout.c: see layout.h. The arithmetic is src/raid/raid_picture.c's; here states and names are put to it. */
#include "layout.h"

#include <stdlib.h>

#include "raid/raid_picture.h"

enum { MAX_ROWS = 256 };

struct picture {
	const struct raid_geom *g;
	const struct raid_status *st;
	const struct raid_member_status *slots[RAID_MAX_MEMBERS];	/* NULL: nothing is there */
};

static void picture_init(struct picture *p, const struct raid_geom *g, const struct raid_status *st)
{
	*p = (struct picture){ .g = g, .st = st };
	for (unsigned i = 0; i < st->nr_members; i++) {
		const struct raid_member_status *m = &st->members[i];

		if (m->slot >= 0 && (unsigned)m->slot < g->nr_disks && !m->replacement && m->name)
			p->slots[m->slot] = m;
	}
}

static bool readable(const struct picture *p, unsigned slot, sect_t member_sect)
{
	const struct raid_member_status *m = p->slots[slot];

	return m && (m->state == RAID_IN_SYNC || (m->state == RAID_REBUILDING && member_sect < m->recovered_sects));
}

static json_t *name_json(const struct raid_member_status *m)
{
	return m && m->name ? json_string(m->name) : json_null();
}

static json_t *member_json(int slot, const struct raid_member_status *m)
{
	json_t *o = json_object();

	json_object_set_new(o, "slot", json_integer(slot));
	json_object_set_new(o, "name", name_json(m));
	json_object_set_new(o, "state", json_string(raid_member_state_name(m ? m->state : RAID_MISSING)));
	if (m)
		json_object_set_new(o, "data_offset", json_integer((json_int_t)(m->data_offset << SECT_SHIFT)));
	return o;
}

static void add_members(const struct picture *p, json_t *o)
{
	json_t *slots = json_array(), *others = json_array();

	for (unsigned slot = 0; slot < p->g->nr_disks; slot++)
		json_array_append_new(slots, member_json((int)slot, p->slots[slot]));
	for (unsigned i = 0; i < p->st->nr_members; i++) {
		const struct raid_member_status *m = &p->st->members[i];

		if (m->name && (m->slot < 0 || p->slots[m->slot] != m))
			json_array_append_new(others, member_json(-1, m));
	}
	json_object_set_new(o, "members", slots);
	json_object_set_new(o, "others", others);
}

static json_t *row_json(const struct raid_geom *g, uint64_t row)
{
	json_t *cells = json_array();
	char cell[RAID_CELL_BYTES];

	for (unsigned slot = 0; slot < g->nr_disks; slot++)
		json_array_append_new(cells, json_string(raid_cell_text(g, slot, row, cell)));
	return json_pack("{s:I,s:I,s:o}", "row", (json_int_t)row, "offset",
			 (json_int_t)((row * raid_row_sects(g)) << SECT_SHIFT), "cells", cells);
}

static void add_rows(json_t *list, const struct raid_geom *g, uint64_t first, unsigned nr)
{
	const uint64_t end = MIN(first + nr, raid_nr_rows(g));

	for (uint64_t row = first; row < end; row++)
		json_array_append_new(list, row_json(g, row));
}

/* From around a row on; far copies lie a stride further down. */
static json_t *rows_json(const struct raid_geom *g, uint64_t around, unsigned nr)
{
	const uint64_t stride = g->level == RAID_10 && !g->far_offset ? g->far_stride >> g->chunk_shift : 0;
	const uint64_t row = stride ? around % stride : around;
	const uint64_t first = row - MIN(row, (uint64_t)nr / 2);
	json_t *list = json_array();

	for (unsigned far = 0; far < (stride ? g->far : 1); far++)
		add_rows(list, g, first + far * stride, stride ? (unsigned)MIN((uint64_t)nr, stride - first) : nr);
	return list;
}

static json_t *places_json(const struct picture *p, const struct raid_place *places)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->g->nr_copies; i++) {
		const struct raid_member_status *m = p->slots[places[i].slot];
		const sect_t data_offset = m ? m->data_offset : p->st->array.data_offset;
		json_t *o = member_json((int)places[i].slot, m);

		json_object_set_new(o, "readable", json_boolean(readable(p, places[i].slot, places[i].sect)));
		json_object_set_new(o, "image_byte", json_integer((json_int_t)((data_offset + places[i].sect) << SECT_SHIFT)));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *read_json(const struct picture *p, const struct raid_place *places, sect_t sect)
{
	static const char *const words[] = {
		[RAID_READ_PLACE] = "direct", [RAID_READ_COPY] = "copy", [RAID_READ_SOLVE] = "solve",
		[RAID_READ_LOST] = "lost",
	};
	bool can[RAID_MAX_MEMBERS];
	struct raid_read_plan plan;
	json_t *slots = json_array();

	/* Chunks of a stripe lie at the same sector of every member; copies each at their own. */
	for (unsigned slot = 0; slot < p->g->nr_disks; slot++)
		can[slot] = readable(p, slot, places[0].sect);
	for (unsigned i = 0; i < p->g->nr_copies; i++)
		can[places[i].slot] = readable(p, places[i].slot, places[i].sect);
	raid_plan_read(p->g, can, sect, &plan);
	for (unsigned i = 0; i < plan.nr_slots; i++)
		json_array_append_new(slots, json_integer(plan.slots[i]));
	return json_pack("{s:s,s:o,s:s}", "how", words[plan.how], "slots", slots, "parity",
			 plan.uses_p && plan.uses_q ? "PQ" : plan.uses_p ? "P" : plan.uses_q ? "Q" : "");
}

static uint64_t row_of(const struct raid_geom *g, sect_t member_sect)
{
	return raid_nr_rows(g) > 1 ? member_sect / raid_row_sects(g) : 0;
}

static json_t *where_json(const struct picture *p, uint64_t byte, uint64_t *row)
{
	const sect_t sect = byte >> SECT_SHIFT;
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr_sects;
	json_t *o = json_object(), *list;
	size_t i;
	json_t *place;

	raid_map(p->g, sect, places, &nr_sects);
	*row = row_of(p->g, places[0].sect);
	list = places_json(p, places);
	json_array_foreach(list, i, place)
		json_object_set_new(place, "image_byte",
				    json_integer(json_integer_value(json_object_get(place, "image_byte")) +
						 (json_int_t)(byte % SECT_BYTES)));
	json_object_set_new(o, "volume_byte", json_integer((json_int_t)byte));
	json_object_set_new(o, "chunk", json_integer((json_int_t)raid_chunk_of(p->g, sect)));
	json_object_set_new(o, "row", json_integer((json_int_t)*row));
	json_object_set_new(o, "places", list);
	json_object_set_new(o, "read", read_json(p, places, sect));
	return o;
}

static json_t *picture_json(const struct picture *p, const struct layout_ask *ask)
{
	const struct raid_geom *g = p->g;
	json_t *o = json_object();
	uint64_t around = 0;
	char text[32];

	json_object_set_new(o, "level", json_string(raid_level_name(g->level)));
	json_object_set_new(o, "layout", json_string(raid_layout_name(g->level, g->layout, text)));
	json_object_set_new(o, "chunk_kib", json_integer(g->chunk_sects / 2));
	json_object_set_new(o, "size_bytes", json_integer((json_int_t)(g->array_sects << SECT_SHIFT)));
	add_members(p, o);
	if (ask->has_offset)
		json_object_set_new(o, "where", where_json(p, ask->offset_bytes, &around));
	json_object_set_new(o, "rows", rows_json(g, around, ask->nr_rows ? MIN(ask->nr_rows, (unsigned)MAX_ROWS)
									 : raid_rows_of_turn(g)));
	return o;
}

int layout_json(struct raid *r, const struct layout_ask *ask, json_t **out)
{
	const struct raid_geom *g = raid_geometry(r);
	struct raid_status *st;
	struct picture p;

	if (ask->has_offset && ask->offset_bytes >> SECT_SHIFT >= g->array_sects)
		return -EINVAL;
	st = malloc(sizeof(*st));
	if (!st)
		return -ENOMEM;
	raid_status_get(r, st);
	picture_init(&p, g, st);
	*out = picture_json(&p, ask);
	free(st);
	return *out ? 0 : -ENOMEM;
}
