/* raid_picture.c: see raid_picture.h. */
#include "raid/raid_picture.h"

#include <stdio.h>

static bool has_rows(const struct raid_geom *g)
{
	return g->level != RAID_1 && g->level != RAID_LINEAR;
}

/* Zones are one behind the other on the members that they have. */
static uint64_t longest_member(const struct raid_geom *g)
{
	uint64_t longest = g->member_sects;
	sect_t start = 0;

	for (unsigned i = 0; i < g->nr_zones; i++) {
		const struct raid_zone *z = &g->zones[i];

		longest = MAX(longest, z->member_start + (z->end - start) / z->nr_slots);
		start = z->end;
	}
	return longest;
}

uint64_t raid_row_sects(const struct raid_geom *g)
{
	return has_rows(g) ? g->chunk_sects : longest_member(g);
}

uint64_t raid_nr_rows(const struct raid_geom *g)
{
	return has_rows(g) ? longest_member(g) >> g->chunk_shift : 1;
}

unsigned raid_rows_of_turn(const struct raid_geom *g)
{
	if (!has_rows(g))
		return 1;
	if (g->level == RAID_10 && g->far_offset)
		return g->far * MIN(g->nr_disks, 4u);
	return g->level == RAID_0 || g->level == RAID_4 ? 4 : MAX(g->nr_disks, 4u);
}

static unsigned zone_of(const struct raid_geom *g, sect_t sect)
{
	unsigned i = 0;

	while (i + 1 < g->nr_zones && sect >= g->zones[i].end)
		i++;
	return i;
}

uint64_t raid_chunk_of(const struct raid_geom *g, sect_t sect)
{
	return g->level == RAID_1 ? 0 : g->level == RAID_LINEAR ? zone_of(g, sect) : sect >> g->chunk_shift;
}

const char *raid_cell_text(const struct raid_geom *g, unsigned slot, uint64_t row, char buf[static RAID_CELL_BYTES])
{
	struct raid_role role;
	int n;

	raid_unmap(g, slot, has_rows(g) ? row << g->chunk_shift : 0, &role);
	switch (role.kind) {
	case RAID_KIND_P:
		return strcpy(buf, "P");
	case RAID_KIND_Q:
		return strcpy(buf, "Q");
	case RAID_KIND_UNUSED:
		return strcpy(buf, "-");
	default:
		break;
	}
	n = snprintf(buf, RAID_CELL_BYTES, "%" PRIu64, raid_chunk_of(g, role.sect));
	/* Up to three copies get a stroke each; beyond that, a number. */
	if (role.copy > 3)
		snprintf(buf + n, RAID_CELL_BYTES - (size_t)n, "'%u", role.copy);
	else
		snprintf(buf + n, RAID_CELL_BYTES - (size_t)n, "%.*s", (int)role.copy, "'''");
	return buf;
}

/* ---- reading ----------------------------------------------------------------------- */

static void add_slot(struct raid_read_plan *p, unsigned slot)
{
	p->slots[p->nr_slots++] = (uint16_t)slot;
}

static void plan_copies(const struct raid_geom *g, const bool *readable, sect_t sect, struct raid_read_plan *out)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr_sects;

	raid_map(g, sect, places, &nr_sects);
	for (unsigned i = 0; i < g->nr_copies; i++)
		if (readable[places[i].slot])
			add_slot(out, places[i].slot);
	out->how = !out->nr_slots ? RAID_READ_LOST : g->nr_copies > 1 ? RAID_READ_COPY : RAID_READ_PLACE;
}

/* The data chunk's own slot cannot be read: one syndrome for it, one more for another lost data chunk. */
static void plan_solve(const struct raid_geom *g, const bool *readable, const struct raid_stripe_map *m,
		       struct raid_read_plan *out)
{
	unsigned nr_lost = 0, nr_syndromes = 0;

	for (unsigned dd = 0; dd < g->nr_data; dd++) {
		nr_lost += !readable[m->data[dd]];
		if (readable[m->data[dd]])
			add_slot(out, m->data[dd]);
	}
	out->uses_p = readable[m->p];
	nr_syndromes += out->uses_p;
	out->uses_q = g->nr_parity == 2 && readable[m->q] && nr_syndromes < nr_lost;
	nr_syndromes += out->uses_q;
	if (nr_syndromes < nr_lost) {
		*out = (struct raid_read_plan){ .how = RAID_READ_LOST };
		return;
	}
	if (out->uses_p)
		add_slot(out, m->p);
	if (out->uses_q)
		add_slot(out, m->q);
	out->how = RAID_READ_SOLVE;
}

void raid_plan_read(const struct raid_geom *g, const bool *readable, sect_t sect, struct raid_read_plan *out)
{
	struct raid_stripe_map m;
	struct raid_place place;
	uint64_t nr_sects;

	*out = (struct raid_read_plan){ .how = RAID_READ_PLACE };
	if (!g->nr_parity) {
		plan_copies(g, readable, sect, out);
		return;
	}
	raid_map(g, sect, &place, &nr_sects);
	if (readable[place.slot]) {
		add_slot(out, place.slot);
		return;
	}
	raid_map_stripe(g, place.sect >> g->chunk_shift, &m);
	plan_solve(g, readable, &m, out);
}
