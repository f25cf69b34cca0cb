/*
 * raid_zone.c: RAID 0 and linear as zones.
 *
 * RAID 0 stripes over all members as far as the smallest goes (zone 0), then over
 * the larger ones as far as the smallest of those goes (zone 1), and so on. Linux
 * has had two ways to choose the member of a chunk in zones behind the first:
 * "original" counts chunks from the start of the array, "alternate" from the start
 * of the zone; the superblock says which. Linear is one zone a member.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "raid/raid_int.h"
#include "raid/raid_map.h"

static int zone_add(struct raid_geom *g, sect_t member_start, sect_t member_end, const uint64_t *member_sects)
{
	struct raid_zone *z = &g->zones[g->nr_zones];

	*z = (struct raid_zone){ .member_start = member_start, .slots = calloc(g->nr_disks, sizeof(*z->slots)) };
	if (!z->slots)
		return -ENOMEM;
	g->nr_zones++;
	for (unsigned slot = 0; slot < g->nr_disks; slot++)
		if (member_sects[slot] > member_start)
			z->slots[z->nr_slots++] = (uint16_t)slot;
	g->array_sects += (member_end - member_start) * z->nr_slots;
	z->end = g->array_sects;
	return 0;
}

static int zones_init_raid0(struct raid_geom *g, const uint64_t *sects)
{
	sect_t start = 0;

	for (;;) {
		sect_t end = UINT64_MAX;
		int err;

		for (unsigned slot = 0; slot < g->nr_disks; slot++)
			if (sects[slot] > start)
				end = MIN(end, sects[slot]);
		if (end == UINT64_MAX)
			break;
		err = zone_add(g, start, end, sects);
		if (err)
			return err;
		start = end;
	}
	if (g->nr_zones > 1 && g->zones[1].nr_slots > 1 &&
	    g->layout != RAID_LAYOUT_0_ORIGINAL && g->layout != RAID_LAYOUT_0_ALTERNATE) {
		log_error("raid0 over members of different sizes needs to say its layout (original or alternate), "
			  "this one says %" PRIu32, g->layout);
		return -EINVAL;
	}
	return 0;
}

static int zones_init_linear(struct raid_geom *g, const uint64_t *sects)
{
	for (unsigned slot = 0; slot < g->nr_disks; slot++) {
		struct raid_zone *z = &g->zones[slot];

		z->slots = calloc(1, sizeof(*z->slots));
		if (!z->slots)
			return -ENOMEM;
		g->nr_zones++;
		z->nr_slots = 1;
		z->slots[0] = (uint16_t)slot;
		g->array_sects += sects[slot];
		z->end = g->array_sects;
	}
	return 0;
}

int raid_zones_init(struct raid_geom *g, const uint64_t *member_sects)
{
	uint64_t *sects = calloc(g->nr_disks, sizeof(*sects));
	int err = 0;

	g->member_sects = 0;
	g->zones = calloc(g->nr_disks, sizeof(*g->zones));
	if (!sects || !g->zones)
		err = -ENOMEM;
	for (unsigned slot = 0; !err && slot < g->nr_disks; slot++) {
		sects[slot] = g->chunk_sects ? ALIGN_DOWN(member_sects[slot], g->chunk_sects) : member_sects[slot];
		if (!sects[slot]) {
			log_error("member %u of %s is too small for one chunk", slot, raid_level_name(g->level));
			err = -EINVAL;
		}
	}
	if (!err)
		err = g->level == RAID_LINEAR ? zones_init_linear(g, sects) : zones_init_raid0(g, sects);
	free(sects);
	return err;
}

static sect_t zone_start(const struct raid_geom *g, unsigned zone)
{
	return zone ? g->zones[zone - 1].end : 0;
}

/* Chunks that are counted before the zone's first one when its members are chosen. */
static uint64_t zone_chunk_base(const struct raid_geom *g, unsigned zone)
{
	return g->layout == RAID_LAYOUT_0_ALTERNATE ? 0 : zone_start(g, zone) >> g->chunk_shift;
}

void raid_zones_map(const struct raid_geom *g, sect_t sect, struct raid_place *place, uint64_t *nr_sects)
{
	unsigned zone = 0;
	const struct raid_zone *z;
	uint64_t chunk;
	uint32_t in_chunk;

	while (sect >= g->zones[zone].end)
		zone++;
	z = &g->zones[zone];
	if (g->level == RAID_LINEAR) {
		*place = (struct raid_place){ .slot = z->slots[0], .sect = sect - zone_start(g, zone) };
		*nr_sects = z->end - sect;
		return;
	}
	chunk = (sect - zone_start(g, zone)) >> g->chunk_shift;
	in_chunk = (uint32_t)(sect & (g->chunk_sects - 1));
	*place = (struct raid_place){
		.slot = z->slots[(chunk + zone_chunk_base(g, zone)) % z->nr_slots],
		.sect = z->member_start + (chunk / z->nr_slots << g->chunk_shift) + in_chunk };
	*nr_sects = g->chunk_sects - in_chunk;
}

/* The chunk of the row that the slot holds. */
static bool zone_chunk_in_row(const struct raid_geom *g, unsigned zone, uint64_t row, unsigned slot, uint64_t *chunk)
{
	const struct raid_zone *z = &g->zones[zone];

	for (unsigned i = 0; i < z->nr_slots; i++) {
		*chunk = row * z->nr_slots + i;
		if (z->slots[(*chunk + zone_chunk_base(g, zone)) % z->nr_slots] == slot)
			return true;
	}
	return false;
}

void raid_zones_unmap(const struct raid_geom *g, unsigned slot, sect_t member_sect, struct raid_role *out)
{
	for (unsigned zone = 0; zone < g->nr_zones; zone++) {
		const struct raid_zone *z = &g->zones[zone];
		uint64_t len = (z->end - zone_start(g, zone)) / z->nr_slots, chunk;

		if (member_sect < z->member_start || member_sect - z->member_start >= len)
			continue;
		if (g->level == RAID_LINEAR) {
			if (z->slots[0] != slot)
				continue;
			out->sect = zone_start(g, zone) + member_sect;
		} else {
			if (!zone_chunk_in_row(g, zone, (member_sect - z->member_start) >> g->chunk_shift, slot, &chunk))
				continue;
			out->sect = zone_start(g, zone) + (chunk << g->chunk_shift) +
				    (member_sect & (g->chunk_sects - 1));
		}
		out->kind = RAID_KIND_DATA;
		return;
	}
}
