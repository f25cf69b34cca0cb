/*
 * jbd2_map.h: block numbers to 64-bit values: open addressing, linear probing. The caller locks.
 */
#ifndef OSFS_JOURNAL_JBD2_MAP_H
#define OSFS_JOURNAL_JBD2_MAP_H

#include "base/types.h"

struct jbd2_slot {
	pblk_t key;
	uint64_t value;
};

/* Start with { 0 }. */
struct jbd2_map {
	struct jbd2_slot *slots;
	size_t nr, cap;		/* cap is 0 or a power of two, at most 3/4 full */
};

#define JBD2_MAP_NONE UINT64_MAX	/* key of a free slot */

/* NULL: not there. Valid until the next put or del. */
uint64_t *jbd2_map_get(const struct jbd2_map *m, pblk_t key);
/* Adds or replaces. -ENOMEM: unchanged. */
MUST_CHECK int jbd2_map_put(struct jbd2_map *m, pblk_t key, uint64_t value);
void jbd2_map_del(struct jbd2_map *m, pblk_t key);
/* The next `more` puts of new keys cannot fail. */
MUST_CHECK int jbd2_map_reserve(struct jbd2_map *m, size_t more);
/* Empty; a large table is given back. */
void jbd2_map_clear(struct jbd2_map *m);
void jbd2_map_fini(struct jbd2_map *m);

#endif
