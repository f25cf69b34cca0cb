/*
 * raid_stripe.h: what a batch of requests does to the stripes of a parity array.
 *
 * A window is as much of a batch as is worked on at once: its pieces, grouped into
 * stripes, cut into bands. A band is a range of rows (sectors within the chunk) in
 * which the same data chunks are covered by the batch from end to end, so one way
 * of computing parity fits all of it: a whole stripe is one band, a run of small
 * requests is a few narrow ones, and nothing beyond the touched rows is read.
 *
 * Chunks of a stripe by index: 0 to nr_data - 1 data (dd), then P, then Q.
 */
#ifndef OSFS_RAID_RAID_STRIPE_H
#define OSFS_RAID_RAID_STRIPE_H

#include "raid/raid_io.h"

enum {
	RAID_MAX_CHUNKS = RAID_MAX_DATA_DISKS + 2,
	WINDOW_STRIPES = 128,
	WINDOW_SECTS = 8192,		/* data, unless one stripe has more */
	WINDOW_TMP_BYTES = 12 << 20,	/* memory beside the data, likewise */
};

enum raid_plan {
	PLAN_WHOLE,	/* all data covered: nothing is read */
	PLAN_OTHERS,	/* reconstruct-write: the data that is not covered is read */
	PLAN_OLD,	/* read-modify-write: the old data and parity are read */
	PLAN_SOLVE,	/* neither will do: all that is left is read, the rest computed */
};

struct raid_band {
	uint32_t row, end;
	uint64_t covered;	/* bit dd */
	enum raid_plan plan;
	void **bufs;		/* by index; what was read, NULL where nothing was */
};

struct raid_stripe {
	uint64_t nr;
	sect_t base;			/* member sector of row 0 */
	struct raid_stripe_map map;
	struct raid_piece *pieces;
	unsigned nr_pieces;
	struct raid_band *bands;
	unsigned nr_bands;
	uint32_t row, end;		/* rows that the bands lie in */
	uint64_t lost;			/* bit dd: cannot be read */
	bool can_read[2], can_write[2];	/* P, Q */
	bool unsynced;			/* parity may not agree with the data */
	char *parity[2];		/* new, from row on; NULL where none is written */
	int err;
};

struct raid_window {
	struct raid *r;
	const struct raid_geom *g;
	struct raid_run *run;
	const struct raid_batch *b;
	struct raid_arena arena;
	struct raid_lock_set locks;
	unsigned nr_stripes;
	struct raid_stripe *stripes[WINDOW_STRIPES];
};

/* The bytes of the batch for one data chunk, row after row. */
struct raid_source {
	const struct raid_piece *next;
	const struct iovec *iov;
	size_t off_bytes, left_bytes;	/* in the current piece */
};

/* -ENOMEM */
MUST_CHECK int raid_window_init(struct raid_window *w, struct raid *r, const struct raid_batch *b);
void raid_window_fini(struct raid_window *w);
/* Takes the next pieces of the batch and locks their stripes. False: no memory for even one. */
bool raid_window_fill(struct raid_window *w, struct raid_cur *cur, bool exclusive);
/* Unlocks; ready to be filled again. */
void raid_window_empty(struct raid_window *w);

static inline unsigned raid_stripe_slot(const struct raid_geom *g, const struct raid_stripe_map *m, unsigned index)
{
	return index < g->nr_data ? m->data[index] : index == g->nr_data ? m->p : m->q;
}

static inline unsigned raid_piece_dd(const struct raid_geom *g, const struct raid_piece *p)
{
	return (unsigned)((p->sect >> g->chunk_shift) % g->nr_data);
}

static inline uint32_t raid_piece_row(const struct raid_geom *g, const struct raid_piece *p)
{
	return (uint32_t)(p->sect & (g->chunk_sects - 1));
}

/* NULL: no memory. One source for each dd, before its first byte. */
struct raid_source *raid_sources_new(struct raid_window *w, const struct raid_stripe *st);
/* To the first of the covered rows; bands are asked for in rising order. */
void raid_sources_begin(struct raid_source *src, uint64_t covered);
/* Bytes, up to len_bytes, that are in one place in all covered sources; their places. */
size_t raid_sources_step(const struct raid_source *src, uint64_t covered, size_t len_bytes);
static inline void *raid_source_at(const struct raid_source *s)
{
	return (char *)s->iov->iov_base + s->off_bytes;
}
void raid_sources_advance(struct raid_source *src, uint64_t covered, size_t len_bytes);

/*
 * Fills bufs (all indexes) with rows of a stripe as they are when every member is
 * there and good: reads what can be read, computes the rest, and rewrites what
 * failed to read. The stripe is locked exclusively, or the array is read-only.
 * -EIO: more is lost than the parities give back.
 */
MUST_CHECK int raid_stripe_fill(struct raid *r, const struct raid_stripe_map *m, sect_t member_sect,
				uint32_t nr_sects, void *const *bufs);
/*
 * The arithmetic of that: lost chunks (by index) out of the others, data and parity.
 * -EIO: too many. And new parity from all data; p, q may be NULL.
 */
MUST_CHECK int raid_rows_solve(const struct raid_geom *g, const struct raid_stripe_map *m, uint32_t nr_sects,
			       void *const *bufs, const bool *is_lost);
void raid_rows_parity(const struct raid_geom *g, const struct raid_stripe_map *m, uint32_t nr_sects,
		      void *const *bufs, void *p, void *q);
/* Buffers for that: nr_data + nr_parity of them, out of the arena. NULL: no memory. */
void **raid_stripe_bufs(struct raid_arena *a, const struct raid_geom *g, uint32_t nr_sects);

/* raid456_read.c, raid456_write.c, raid456_sync.c */
int raid456_sync(struct raid *r, struct raid_sync_piece *p);
void raid456_read(struct raid *r, struct raid_batch *b);
void raid456_write(struct raid *r, struct raid_batch *b);

#endif
