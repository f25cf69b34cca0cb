/* raid_levels.c: the table of levels. */
#include "raid/raid_levels.h"

const struct raid_level *raid_level_find(int level)
{
	static const struct raid_level *const levels[] = {
		&raid_level_linear, &raid_level_0, &raid_level_1, &raid_level_10,
		&raid_level_4, &raid_level_5, &raid_level_6,
	};

	for (unsigned i = 0; i < ARRAY_LEN(levels); i++)
		if (levels[i]->level == level)
			return levels[i];
	return NULL;
}
