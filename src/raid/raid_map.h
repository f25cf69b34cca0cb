/*
 * raid_map.h: where a sector of an array lies, and what a sector of a member is.
 *
 * Pure arithmetic on a geometry: no device, no state. The levels, the picture of
 * the layout, explain and the tests use the same functions.
 *
 * Two address spaces: a volume sector counts in the array; a member sector counts
 * from the start of a member's data area (its data_offset is added by who does I/O).
 *
 * RAID 4/5/6: a stripe is the row of chunks at one place of all members. Its data
 * chunks are numbered by dd, 0 to nr_data - 1, in volume order. Q's coefficient of
 * a data chunk is 2^e; e counts the data chunks from behind Q around (md's order),
 * which is a rotation of dd.
 */
#ifndef OSFS_RAID_RAID_MAP_H
#define OSFS_RAID_RAID_MAP_H

#include "base/types.h"
#include "raid/raid.h"

/* RAID 0 and linear: a range of the volume that lies on the same members. */
struct raid_zone {
	sect_t end;		/* volume sector behind the zone */
	sect_t member_start;	/* where the zone begins on its members */
	unsigned nr_slots;
	uint16_t *slots;
};

struct raid_geom {
	int level;
	uint32_t layout;
	unsigned nr_disks;
	uint32_t chunk_sects;	/* power of two; 0: none (RAID 1, linear) */
	unsigned chunk_shift;
	uint64_t member_sects;	/* used on each member; 0 for RAID 0 and linear, see zones */
	uint64_t array_sects;
	unsigned nr_copies;	/* places of each data sector */
	unsigned nr_data;	/* RAID 4/5/6: data chunks of a stripe */
	unsigned nr_parity;	/* RAID 4/5: 1, RAID 6: 2, else 0 */
	unsigned near, far;	/* RAID 10 */
	bool far_offset;
	uint64_t far_stride;	/* member sectors from one far copy to the next */
	unsigned nr_zones;
	struct raid_zone *zones;
};

/*
 * member_sects[slot]: data sectors that the member of the slot offers. RAID 0 and
 * linear use each member's own; the others take member_sects[0] for all slots.
 * Rounds to chunks as md does. -EINVAL after a message that names the value;
 * -ENOMEM. On success the caller ends with raid_geom_fini().
 */
MUST_CHECK int raid_geom_init(struct raid_geom *g, int level, uint32_t layout, uint32_t chunk_sects,
			      unsigned nr_disks, const uint64_t *member_sects);
void raid_geom_fini(struct raid_geom *g);

struct raid_place {
	unsigned slot;
	sect_t sect;		/* member sector */
};

/*
 * Places of the data at a volume sector, g->nr_copies of them; *nr_sects says how
 * far each goes on without a break. sect < g->array_sects.
 */
void raid_map(const struct raid_geom *g, sect_t sect, struct raid_place *places, uint64_t *nr_sects);

/* RAID 4/5/6. */
struct raid_stripe_map {
	unsigned p, q;		/* slots; q only with two parities */
	unsigned first_dd;	/* the data chunk with e = 0 */
	uint16_t data[RAID_MAX_DATA_DISKS];	/* slot of dd */
};

void raid_map_stripe(const struct raid_geom *g, uint64_t stripe, struct raid_stripe_map *out);

/* Exponent of data chunk dd in Q, and its inverse. */
static inline unsigned raid_stripe_exponent(const struct raid_geom *g, const struct raid_stripe_map *m,
					    unsigned dd)
{
	return dd >= m->first_dd ? dd - m->first_dd : dd + g->nr_data - m->first_dd;
}

static inline unsigned raid_stripe_dd(const struct raid_geom *g, const struct raid_stripe_map *m, unsigned e)
{
	return e + m->first_dd < g->nr_data ? e + m->first_dd : e + m->first_dd - g->nr_data;
}

enum raid_role_kind { RAID_KIND_DATA, RAID_KIND_P, RAID_KIND_Q, RAID_KIND_UNUSED };

/* What a member sector is. */
struct raid_role {
	enum raid_role_kind kind;
	sect_t sect;		/* DATA: volume sector; P, Q: first volume sector of the stripe */
	unsigned copy;		/* DATA: which of the copies, in the order of raid_map() */
	uint64_t stripe;	/* row of chunks on the member; 0 without chunks */
};

void raid_unmap(const struct raid_geom *g, unsigned slot, sect_t member_sect, struct raid_role *out);

#endif
