/*
 * raid_picture.h: an array's layout as a table of members × rows, and what a read of one
 * place takes. Pure arithmetic on a geometry, as raid_map.h.
 *
 * A row is one chunk of every member at the same place: a stripe of RAID 4/5/6. RAID 1 has
 * one row, the whole member; so has linear, where each member is numbered as a chunk.
 */
#ifndef OSFS_RAID_RAID_PICTURE_H
#define OSFS_RAID_RAID_PICTURE_H

#include "raid/raid_map.h"

enum { RAID_CELL_BYTES = 40 };

/* Member sectors from one row to the next; the longest member where there is one row only. */
uint64_t raid_row_sects(const struct raid_geom *g);
uint64_t raid_nr_rows(const struct raid_geom *g);
/* How many rows show all there is to see: a full turn of parity or copies. */
unsigned raid_rows_of_turn(const struct raid_geom *g);
/* "17": volume chunk 17; "17'": its second copy; "P", "Q"; "-": nothing of the volume. */
const char *raid_cell_text(const struct raid_geom *g, unsigned slot, uint64_t row, char buf[static RAID_CELL_BYTES]);
/* The number that raid_cell_text() gives the chunk of a volume sector. */
uint64_t raid_chunk_of(const struct raid_geom *g, sect_t sect);

enum raid_read_how {
	RAID_READ_PLACE,	/* from the one place it has */
	RAID_READ_COPY,		/* from any one of the slots */
	RAID_READ_SOLVE,	/* from all of the slots together */
	RAID_READ_LOST,		/* not at all */
};
struct raid_read_plan {
	enum raid_read_how how;
	unsigned nr_slots;
	uint16_t slots[RAID_MAX_MEMBERS];
	bool uses_p, uses_q;	/* SOLVE */
};
/* A read of volume sector sect when only slots with readable[slot] can be read there. */
void raid_plan_read(const struct raid_geom *g, const bool *readable, sect_t sect, struct raid_read_plan *out);

#endif
