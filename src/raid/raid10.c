/* raid10.c: chunks striped over the members, each on near × far of them. */
#include "raid/raid_io.h"
#include "raid/raid_levels.h"

/* The members of a chunk depend on the chunk's number modulo the number of members. */
static bool every_chunk_is_there(const struct raid_geom *g, const bool *missing)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr;

	for (unsigned chunk = 0; chunk < g->nr_disks; chunk++) {
		sect_t sect = (sect_t)chunk << g->chunk_shift;
		bool there = false;

		if (sect >= g->array_sects)
			break;
		raid_map(g, sect, places, &nr);
		for (unsigned i = 0; i < g->nr_copies; i++)
			there |= !missing[places[i].slot];
		if (!there)
			return false;
	}
	return true;
}

static uint32_t optimal_bytes(const struct raid_geom *g)
{
	return (g->chunk_sects << SECT_SHIFT) * MAX(g->nr_disks / g->near, 1u);
}

/* Far copies: the first one of each chunk is striped over the outer half as in RAID 0. */
static const struct raid_place *choose(struct raid *r, const struct raid_place *places, uint64_t nr_sects)
{
	return r->geom.far > 1 && !r->geom.far_offset ? raid_choose_lowest(r, places, nr_sects)
						      : raid_choose_nearest(r, places, nr_sects);
}

const struct raid_level raid_level_10 = {
	.level = RAID_10, .name = "raid10", .min_disks = 2, .redundant = true,
	.can_run = every_chunk_is_there, .optimal_bytes = optimal_bytes,
	.read = raid_read, .write = raid_copies_write, .zero = raid_copies_zero, .discard = raid_copies_discard,
	.choose = choose, .mend = raid_copies_mend,
	.sync = raid_copies_sync,
};
