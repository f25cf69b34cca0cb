/* raid_action.c: what an array does beside requests: resync, rebuild, scrub. */
#include "base/log.h"
#include "raid/raid_int.h"

const char *raid_action_name(enum raid_action a)
{
	static const char *const names[] = {
		[RAID_IDLE] = "idle", [RAID_RESYNC] = "resync", [RAID_RECOVER] = "recover",
		[RAID_CHECK] = "check", [RAID_REPAIR] = "repair",
	};

	return names[a];
}

int raid_action_set(struct raid *r, enum raid_action a, unsigned flags)
{
	log_error("array %s: %s is not supported yet", blk_name(&r->dev), raid_action_name(a));
	return -EOPNOTSUPP;
}

int raid_step(struct raid *r, uint64_t max_sects)
{
	return 0;
}

int raid_wait(struct raid *r, unsigned msec)
{
	return 0;
}

void raid_speed_set(struct raid *r, uint32_t min_kib, uint32_t max_kib)
{
}

unsigned raid_places_get(struct raid *r, struct raid_place_found *out, unsigned max)
{
	return 0;
}
