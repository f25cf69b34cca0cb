/*
 * raid_map.c: see raid_map.h. The layouts are md's, as md(4) describes them;
 * RAID 0 and linear are in raid_zone.c.
 */
#include "raid/raid_map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "raid/raid_int.h"

/* md's further layout numbers of RAID 5 and 6. */
enum {
	LAYOUT_PARITY_FIRST	= 4,
	LAYOUT_PARITY_LAST	= 5,
	LAYOUT_RAID6_Q_LAST	= 16,	/* 16 to 20: RAID 5's 0 to 4 on all but the last disk, which has Q */
	LAYOUT_RAID6_Q_LAST_MAX	= 20,
};

static int geom_init_parity(struct raid_geom *g)
{
	unsigned least = g->level == RAID_6 ? 4 : 2;
	bool known = g->layout <= LAYOUT_PARITY_LAST ||
		     (g->level == RAID_6 && g->layout >= LAYOUT_RAID6_Q_LAST && g->layout <= LAYOUT_RAID6_Q_LAST_MAX);

	if (g->level != RAID_4 && !known) {
		log_error("layout %" PRIu32 " of %s is not supported", g->layout, raid_level_name(g->level));
		return -EINVAL;
	}
	g->nr_parity = g->level == RAID_6 ? 2 : 1;
	if (g->nr_disks < least || g->nr_disks - g->nr_parity > RAID_MAX_DATA_DISKS) {
		log_error("%s takes %u to %u disks, not %u", raid_level_name(g->level), least,
			  RAID_MAX_DATA_DISKS + g->nr_parity, g->nr_disks);
		return -EINVAL;
	}
	g->nr_data = g->nr_disks - g->nr_parity;
	g->member_sects = ALIGN_DOWN(g->member_sects, g->chunk_sects);
	g->array_sects = g->member_sects * g->nr_data;
	return 0;
}

static int geom_init_raid10(struct raid_geom *g)
{
	uint64_t rows, chunks;
	char text[32];

	g->near = g->layout & 0xff;
	g->far = g->layout >> 8 & 0xff;
	g->far_offset = g->layout >> 16 & 1;
	g->nr_copies = g->near * g->far;
	/* Bits above are md's "far sets". Near copies that wrap around a row and far copies collide. */
	if (g->layout >> 17 || !g->nr_copies || g->nr_copies > g->nr_disks ||
	    (g->near > 1 && g->far > 1 && g->nr_disks % g->near)) {
		log_error("layout 0x%" PRIx32 " (%s) of raid10 is not supported on %u disks", g->layout,
			  raid_layout_name(RAID_10, g->layout, text), g->nr_disks);
		return -EINVAL;
	}
	rows = (g->member_sects >> g->chunk_shift) / g->far;
	chunks = rows * g->nr_disks / g->near;
	g->array_sects = chunks << g->chunk_shift;
	g->far_stride = g->far_offset ? g->chunk_sects : DIV_UP(chunks * g->near, g->nr_disks) << g->chunk_shift;
	g->member_sects = ALIGN_DOWN(g->member_sects, g->chunk_sects);
	return 0;
}

static int geom_init_level(struct raid_geom *g, const uint64_t *member_sects)
{
	switch (g->level) {
	case RAID_LINEAR:
	case RAID_0:
		return raid_zones_init(g, member_sects);
	case RAID_1:
		g->nr_copies = g->nr_disks;
		g->array_sects = g->member_sects;
		return 0;
	case RAID_10:
		return geom_init_raid10(g);
	default:
		return geom_init_parity(g);
	}
}

int raid_geom_init(struct raid_geom *g, int level, uint32_t layout, uint32_t chunk_sects, unsigned nr_disks,
		   const uint64_t *member_sects)
{
	bool needs_chunk = level != RAID_1 && level != RAID_LINEAR;
	int err;

	*g = (struct raid_geom){
		.level = level, .layout = layout, .nr_disks = nr_disks, .nr_copies = 1,
		.chunk_sects = level == RAID_1 ? 0 : chunk_sects, .member_sects = member_sects[0],
	};
	if (!raid_level_find(level)) {
		log_error("RAID level %d is not supported", level);
		return -EINVAL;
	}
	if (nr_disks < 1 || nr_disks > RAID_MAX_MEMBERS) {
		log_error("%u disks: 1 to %u are possible", nr_disks, RAID_MAX_MEMBERS);
		return -EINVAL;
	}
	if ((needs_chunk || g->chunk_sects) &&
	    (!is_pow2(g->chunk_sects) || g->chunk_sects < 8 || g->chunk_sects > 8192)) {
		log_error("chunk of %" PRIu32 " sectors: a power of two from 4 KiB to 4 MiB is needed", chunk_sects);
		return -EINVAL;
	}
	g->chunk_shift = g->chunk_sects ? log2_floor(g->chunk_sects) : 0;
	err = geom_init_level(g, member_sects);
	if (!err && !g->array_sects) {
		log_error("members of %" PRIu64 " sectors are too small for one stripe", member_sects[0]);
		err = -EINVAL;
	}
	if (err)
		raid_geom_fini(g);
	return err;
}

void raid_geom_fini(struct raid_geom *g)
{
	for (unsigned i = 0; i < g->nr_zones; i++)
		free(g->zones[i].slots);
	free(g->zones);
	g->zones = NULL;
	g->nr_zones = 0;
}

/* P's slot in the RAID 5 layouts over nr_disks disks; RAID 6 moves P in the same way. */
static unsigned parity_slot(uint32_t layout, unsigned nr_disks, unsigned nr_data, uint64_t stripe)
{
	unsigned turn = (unsigned)(stripe % nr_disks);

	switch (layout) {
	case RAID_LAYOUT_LA:
	case RAID_LAYOUT_LS:
		return nr_disks - 1 - turn;
	case RAID_LAYOUT_RA:
	case RAID_LAYOUT_RS:
		return turn;
	case LAYOUT_PARITY_FIRST:
		return 0;
	default:
		return nr_data;
	}
}

void raid_map_stripe(const struct raid_geom *g, uint64_t stripe, struct raid_stripe_map *out)
{
	uint32_t layout = g->level == RAID_4 ? LAYOUT_PARITY_LAST : g->layout;
	unsigned nr_disks = g->nr_disks, nr_rotating = nr_disks;
	bool q_follows = g->nr_parity == 2, symmetric;
	unsigned slot, first_slot;

	if (g->level == RAID_6 && layout >= LAYOUT_RAID6_Q_LAST) {
		layout -= LAYOUT_RAID6_Q_LAST;
		q_follows = false;
		nr_rotating = nr_disks - 1;
	}
	symmetric = layout == RAID_LAYOUT_LS || layout == RAID_LAYOUT_RS;
	out->p = parity_slot(layout, nr_rotating, g->nr_data, stripe);
	out->q = q_follows ? (out->p + 1) % nr_disks : nr_disks - 1;
	/* e = 0 is the first data chunk behind Q, around the end. */
	first_slot = g->nr_parity == 2 && out->q + 1 < nr_disks ? out->q + 1 : 0;
	while (first_slot == out->p || (g->nr_parity == 2 && first_slot == out->q))
		first_slot++;

	/* Symmetric: data begins behind the parities and wraps. Else: slots in order, parities left out. */
	slot = symmetric ? (out->p + 1 + q_follows) % nr_rotating : 0;
	for (unsigned dd = 0; dd < g->nr_data; slot = slot + 1 < nr_rotating ? slot + 1 : 0) {
		if (slot == out->p || (g->nr_parity == 2 && slot == out->q))
			continue;
		if (slot == first_slot)
			out->first_dd = dd;
		out->data[dd++] = (uint16_t)slot;
	}
}

static void map_parity(const struct raid_geom *g, sect_t sect, struct raid_place *place, uint64_t *nr_sects)
{
	uint64_t chunk = sect >> g->chunk_shift;
	uint32_t in_chunk = (uint32_t)(sect & (g->chunk_sects - 1));
	struct raid_stripe_map m;

	raid_map_stripe(g, chunk / g->nr_data, &m);
	place->slot = m.data[chunk % g->nr_data];
	place->sect = (chunk / g->nr_data << g->chunk_shift) + in_chunk;
	*nr_sects = g->chunk_sects - in_chunk;
}

static void map_raid10(const struct raid_geom *g, sect_t sect, struct raid_place *places, uint64_t *nr_sects)
{
	uint32_t in_chunk = (uint32_t)(sect & (g->chunk_sects - 1));
	uint64_t at = (sect >> g->chunk_shift) * g->near;	/* place in rows of nr_disks chunks */
	unsigned n = 0;

	for (unsigned near = 0; near < g->near; near++, at++) {
		uint64_t row = at / g->nr_disks * (g->far_offset ? g->far : 1);
		unsigned slot = (unsigned)(at % g->nr_disks);

		for (unsigned far = 0; far < g->far; far++)
			places[n++] = (struct raid_place){
				.slot = (slot + far * g->near) % g->nr_disks,
				.sect = (row << g->chunk_shift) + far * g->far_stride + in_chunk };
	}
	*nr_sects = g->chunk_sects - in_chunk;
}

void raid_map(const struct raid_geom *g, sect_t sect, struct raid_place *places, uint64_t *nr_sects)
{
	assert(sect < g->array_sects);
	switch (g->level) {
	case RAID_LINEAR:
	case RAID_0:
		raid_zones_map(g, sect, places, nr_sects);
		break;
	case RAID_1:
		for (unsigned i = 0; i < g->nr_disks; i++)
			places[i] = (struct raid_place){ .slot = i, .sect = sect };
		*nr_sects = g->array_sects - sect;
		break;
	case RAID_10:
		map_raid10(g, sect, places, nr_sects);
		break;
	default:
		map_parity(g, sect, places, nr_sects);
		break;
	}
}

static void unmap_parity(const struct raid_geom *g, unsigned slot, sect_t sect, struct raid_role *out)
{
	uint64_t first_chunk = out->stripe * g->nr_data;
	struct raid_stripe_map m;

	if (sect >= g->member_sects)
		return;
	raid_map_stripe(g, out->stripe, &m);
	out->sect = first_chunk << g->chunk_shift;
	if (slot == m.p) {
		out->kind = RAID_KIND_P;
	} else if (g->nr_parity == 2 && slot == m.q) {
		out->kind = RAID_KIND_Q;
	} else {
		for (unsigned dd = 0; dd < g->nr_data; dd++)
			if (m.data[dd] == slot)
				out->sect = ((first_chunk + dd) << g->chunk_shift) + (sect & (g->chunk_sects - 1));
		out->kind = RAID_KIND_DATA;
	}
}

static void unmap_raid10(const struct raid_geom *g, unsigned slot, sect_t sect, struct raid_role *out)
{
	uint64_t row = sect >> g->chunk_shift, at;
	unsigned far;

	if (g->far_offset) {
		far = (unsigned)(row % g->far);
		row /= g->far;
	} else {
		uint64_t rows = g->far_stride >> g->chunk_shift;

		if (row / rows >= g->far)
			return;
		far = (unsigned)(row / rows);
		row %= rows;
	}
	at = row * g->nr_disks + (slot + g->nr_disks - far * g->near % g->nr_disks) % g->nr_disks;
	out->sect = (at / g->near << g->chunk_shift) + (sect & (g->chunk_sects - 1));
	out->copy = (unsigned)(at % g->near) * g->far + far;
	if (out->sect < g->array_sects)
		out->kind = RAID_KIND_DATA;
}

void raid_unmap(const struct raid_geom *g, unsigned slot, sect_t member_sect, struct raid_role *out)
{
	*out = (struct raid_role){
		.kind = RAID_KIND_UNUSED, .stripe = g->chunk_sects ? member_sect >> g->chunk_shift : 0 };
	switch (g->level) {
	case RAID_LINEAR:
	case RAID_0:
		raid_zones_unmap(g, slot, member_sect, out);
		break;
	case RAID_1:
		if (member_sect >= g->array_sects)
			break;
		out->kind = RAID_KIND_DATA;
		out->sect = member_sect;
		out->copy = slot;
		break;
	case RAID_10:
		unmap_raid10(g, slot, member_sect, out);
		break;
	default:
		unmap_parity(g, slot, member_sect, out);
		break;
	}
}
