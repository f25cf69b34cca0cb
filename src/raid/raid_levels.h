/* raid_levels.h: the level descriptors; a new level is a file, a line here and a row in raid_levels.c. */
#ifndef OSFS_RAID_RAID_LEVELS_H
#define OSFS_RAID_RAID_LEVELS_H

#include "raid/raid_int.h"

extern const struct raid_level raid_level_linear, raid_level_0, raid_level_1, raid_level_10;
extern const struct raid_level raid_level_4, raid_level_5, raid_level_6;

#endif
