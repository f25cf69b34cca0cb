/* raid1.c: mirrors: one member is enough. */
#include "raid/raid_io.h"
#include "raid/raid_levels.h"

static bool one_is_there(const struct raid_geom *g, const bool *missing)
{
	for (unsigned i = 0; i < g->nr_disks; i++)
		if (!missing[i])
			return true;
	return false;
}

static uint32_t optimal_bytes(const struct raid_geom *g)
{
	return 0;
}

const struct raid_level raid_level_1 = {
	.level = RAID_1, .name = "raid1", .min_disks = 1, .redundant = true,
	.can_run = one_is_there, .optimal_bytes = optimal_bytes,
	.read = raid_read, .write = raid_copies_write, .zero = raid_copies_zero, .discard = raid_copies_discard,
	.choose = raid_choose_nearest, .mend = raid_copies_mend,
	.sync = raid_copies_sync,
};
