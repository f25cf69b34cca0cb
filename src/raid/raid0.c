/* raid0.c: RAID 0 and linear: one copy, nothing may be missing. */
#include "raid/raid_io.h"
#include "raid/raid_levels.h"

static bool nothing_missing(const struct raid_geom *g, const bool *missing)
{
	for (unsigned i = 0; i < g->nr_disks; i++)
		if (missing[i])
			return false;
	return true;
}

static uint32_t optimal_bytes(const struct raid_geom *g)
{
	return g->level == RAID_LINEAR ? 0 : (g->chunk_sects << SECT_SHIFT) * g->nr_disks;
}

const struct raid_level raid_level_0 = {
	.level = RAID_0, .name = "raid0", .min_disks = 1,
	.can_run = nothing_missing, .optimal_bytes = optimal_bytes,
	.read = raid_read, .write = raid_copies_write, .zero = raid_copies_zero, .discard = raid_copies_discard,
	.mend = raid_copies_mend,
};

const struct raid_level raid_level_linear = {
	.level = RAID_LINEAR, .name = "linear", .min_disks = 1,
	.can_run = nothing_missing, .optimal_bytes = optimal_bytes,
	.read = raid_read, .write = raid_copies_write, .zero = raid_copies_zero, .discard = raid_copies_discard,
	.mend = raid_copies_mend,
};
