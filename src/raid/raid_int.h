/*
 * raid_int.h: the inside of an array, for the files of src/raid.
 *
 *	raid.c            the device: requests by kind, clean and active, flush, stop
 *	raid_state.c      members' states; superblocks follow them
 *	raid_io.c         batches of requests, and batches of member requests built from them
 *	raid_read.c       reading where every sector lies on some member
 *	raid_copies.c     writing, mending, resync for levels of whole copies (0, 1, 10, linear)
 *	raid456.c         the same for levels with parity, on raid_stripe.c and raid456_write.c
 *	raid0.c, ...      one descriptor a level
 *
 * Who may read which member is asked under the lock of the region (raid_lock.c), so
 * that the answer holds while the region is worked on.
 */
#ifndef OSFS_RAID_RAID_INT_H
#define OSFS_RAID_RAID_INT_H

#include <stdatomic.h>

#include "base/lock.h"
#include "raid/raid.h"
#include "raid/raid_disk.h"
#include "raid/raid_map.h"

/* Superblocks: raid_sb.c, raid_sb1.c, raid_sb090.c ---------------------------- */

struct raid_sb {
	struct raid_info info;
	int32_t bitmap_offset;		/* sectors from the superblock; 0: no bitmap */
	unsigned max_devs;		/* roles it has room for */
	uint8_t raw[MD_SB_BYTES];	/* as on disk, so that fields osfs does not know stay */
};

/* What changes in the superblocks while an array runs. */
struct raid_sb_state {
	uint64_t events;
	uint64_t utime_sec;
	uint64_t resync_sect;		/* UINT64_MAX: clean */
	unsigned nr_devs;
	const int16_t *roles;		/* by md's device number: slot or RAID_ROLE_* */
	const bool *present;		/* by device number: on a device that osfs has (0.90 counts them) */
};

/* 0, -ENOENT, -EUCLEAN, I/O errors: as raid_examine(). */
MUST_CHECK int raid_sb_load(struct blk_dev *d, struct raid_sb *out);
/* What the superblock says of another device of its array. */
int raid_sb_role(const struct raid_sb *sb, unsigned dev_nr);
/* Puts the state, sb->info.recovery_sect and the read errors into raw and info. */
void raid_sb_store(struct raid_sb *sb, const struct raid_sb_state *st, uint64_t nr_corrected_reads);
/* Where a superblock of this kind lies on a device; false when the device is too small for one. */
bool raid_sb_place(enum raid_metadata metadata, uint64_t dev_sects, sect_t *sect);
/* raw of a new array from sb->info and max_devs. */
void raid_sb_new(struct raid_sb *sb);

/* The two versions; called by raid_sb.c only. -ENOENT: not this version. */
int raid_sb1_load(const char *name, uint64_t dev_sects, sect_t at, struct raid_sb *sb);
int raid_sb1_role(const struct raid_sb *sb, unsigned dev_nr);
void raid_sb1_store(struct raid_sb *sb, const struct raid_sb_state *st, uint64_t nr_corrected_reads);
void raid_sb1_new(struct raid_sb *sb);
int raid_sb090_load(const char *name, uint64_t dev_sects, sect_t at, struct raid_sb *sb);
int raid_sb090_role(const struct raid_sb *sb, unsigned dev_nr);
void raid_sb090_store(struct raid_sb *sb, const struct raid_sb_state *st);
void raid_sb090_new(struct raid_sb *sb);

/* Geometry: raid_zone.c ------------------------------------------------------- */

int raid_zones_init(struct raid_geom *g, const uint64_t *member_sects);
void raid_zones_map(const struct raid_geom *g, sect_t sect, struct raid_place *place, uint64_t *nr_sects);
void raid_zones_unmap(const struct raid_geom *g, unsigned slot, sect_t member_sect, struct raid_role *out);

/* Arrays ---------------------------------------------------------------------- */

struct raid_member {
	struct blk_dev *dev;		/* owned once the array is assembled */
	struct raid_sb sb;		/* [lock] of the array */
	sect_t data_offset;		/* [const] */
	int slot;			/* [const] -1: spare or left out */
	_Atomic(enum raid_member_state) state;
	atomic_uint_fast64_t recovered;	/* REBUILDING: member sectors below are in sync */
	bool write_mostly;		/* [const] read from it only in need */
	atomic_uint nr_pending;		/* reads under way, for spreading them */
	atomic_uint_fast64_t next_sect;	/* behind the last read, for spreading them */
	atomic_uint_fast64_t nr_read_errors, nr_write_errors, nr_corrected;
};

struct raid_level;
struct raid_batch;

enum { RAID_NR_LOCKS = 256 };

struct raid {
	struct blk_dev dev;
	const struct raid_level *level;
	struct raid_geom geom;
	struct alloc *alloc;
	struct slab *runs;		/* struct raid_run */
	unsigned nr_members;
	struct raid_member *members;
	struct raid_member **slots;	/* [const] NULL: missing */
	bool read_only;

	os_rwlock region_locks[RAID_NR_LOCKS];	/* RANK_STRIPE, key: index */
	unsigned region_shift;		/* member sectors (parity) or volume sectors a region has, log2 */

	atomic_bool active;		/* superblocks say that writes may be under way */
	atomic_bool failed;		/* beyond the level's tolerance: no more writes */
	atomic_bool updating;		/* states have changed that superblocks do not say yet (S7) */
	atomic_uint_fast64_t nr_writes;	/* ever begun */
	atomic_uint nr_writers;		/* under way */

	os_mutex lock;			/* RANK_RAID */
	uint64_t events;		/* [lock] */
	bool sb_active;			/* [lock] what superblocks say; active is what writers may take for granted */
	uint64_t resync_sect;		/* [lock] UINT64_MAX: in sync apart from writes under way */
	uint64_t nr_writes_seen;	/* [lock] by the last raid_idle() */
	struct blk_io *sb_ios;		/* [lock] one a member */
	struct iovec *sb_iovs;		/* [lock] */
	int16_t *roles;			/* [lock] by device number */
	bool *present;			/* [lock] by device number */
	unsigned nr_devs;		/* [const] */
};

/* One level. raid.c and raid_read.c know no level by number. */
struct raid_level {
	int level;
	const char *name;
	unsigned min_disks;
	bool redundant;			/* members can be missing; clean and active are kept in superblocks */
	/*
	 * A member whose write failed is set faulty even when that is beyond the tolerance,
	 * since what is rebuilt from it would be wrong. Else the last copy stays readable.
	 */
	bool drops_last;

	/* Whether every sector can be had without the missing slots. */
	bool (*can_run)(const struct raid_geom *g, const bool *missing);
	uint32_t (*optimal_bytes)(const struct raid_geom *g);
	/* Batches in volume order; each request gets its err. Write: the array is active. */
	void (*read)(struct raid *r, struct raid_batch *b);
	void (*write)(struct raid *r, struct raid_batch *b);
	/* BLK_ZERO and BLK_DISCARD, one request. */
	int (*zero)(struct raid *r, sect_t sect, uint64_t nr_sects, unsigned flags);
	int (*discard)(struct raid *r, sect_t sect, uint64_t nr_sects);
	/* NULL: every place is as good. Which readable place to read from. */
	const struct raid_place *(*choose)(struct raid *r, const struct raid_place *places, uint64_t nr_sects);
	/*
	 * A sector that could not be read where it was tried: find its bytes anyhow, write
	 * them where they could not be read. Up to RAID_MEND_SECTS within one chunk.
	 */
	int (*mend)(struct raid *r, sect_t sect, uint32_t nr_sects, void *buf);
	/* Make redundancy agree from *pos on for a piece; moves *pos. In units of resync_end(). */
	int (*resync)(struct raid *r, uint64_t *pos, uint64_t *nr_changed);
	uint64_t (*resync_end)(const struct raid_geom *g);
};

enum { RAID_MEND_SECTS = 8 };

const struct raid_level *raid_level_find(int level);	/* NULL: none */

extern const struct blk_ops raid_dev_ops;
/* Frees the array and what it has, but not the members' devices. */
void raid_release(struct raid *r);

/* raid_state.c ---------------------------------------------------------------- */

/* member sectors up to end may be read from the slot now. */
static inline bool raid_can_read(const struct raid *r, unsigned slot, sect_t end)
{
	const struct raid_member *m = r->slots[slot];
	enum raid_member_state state;

	if (!m)
		return false;
	state = atomic_load_explicit(&m->state, memory_order_acquire);
	return state == RAID_IN_SYNC ||
	       (state == RAID_REBUILDING && end <= atomic_load_explicit(&m->recovered, memory_order_acquire));
}

static inline bool raid_can_write(const struct raid *r, unsigned slot)
{
	const struct raid_member *m = r->slots[slot];
	enum raid_member_state state;

	if (!m)
		return false;
	state = atomic_load_explicit(&m->state, memory_order_acquire);
	return state == RAID_IN_SYNC || state == RAID_REBUILDING;
}

/*
 * A read of the slot failed: count and log it. A write or flush failed: beside that
 * the member is set faulty where the level can do so, and when this returns the
 * other members' superblocks say so.
 */
void raid_read_failed(struct raid *r, unsigned slot, sect_t member_sect, int err);
void raid_write_failed(struct raid *r, unsigned slot, sect_t member_sect, int err);
/* What could not be read was written anew from redundancy. */
void raid_mended(struct raid *r, unsigned slot, sect_t member_sect);
/* Every slot missing or not in sync, for level->can_run(); missing has nr_disks entries. */
void raid_missing_get(const struct raid *r, bool *missing);
bool raid_is_degraded(const struct raid *r);
/* Writes all superblocks from the array's state. Error: no member could be written. */
MUST_CHECK int raid_sb_update_locked(struct raid *r);
/*
 * Between these the array is active. No result is given out before the end (S7).
 * -EIO: it has failed; what was written meanwhile cannot be relied on either.
 */
MUST_CHECK int raid_write_begin(struct raid *r);
MUST_CHECK int raid_write_end(struct raid *r);
/* Superblocks clean when no write is under way; flushes first. */
int raid_mark_clean(struct raid *r);

/* raid_bitmap.c ---------------------------------------------------------------- */

/* -EUCLEAN, -EOPNOTSUPP after a message when the member's bitmap is one osfs cannot keep. */
MUST_CHECK int raid_bitmap_check(const struct raid_member *m);
/* All bits set (dirty) or cleared, with the events, where the member has a bitmap. */
MUST_CHECK int raid_bitmap_mark(const struct raid_member *m, bool dirty, uint64_t events);

/* raid_resync.c: from r->resync_sect to the end; then the array is in sync. */
MUST_CHECK int raid_resync(struct raid *r);

/* raid_lock.c ------------------------------------------------------------------ */

/* Regions to be locked together, taken in rising order. */
struct raid_lock_set {
	uint64_t bits[RAID_NR_LOCKS / 64];
	unsigned nr;
};

enum { RAID_LOCKS_AT_ONCE = 32 };

void raid_regions_init(struct raid *r);
void raid_regions_shift(struct raid *r);	/* once the geometry is known */
void raid_regions_fini(struct raid *r);
/*
 * Parity: member sectors; copies: volume sectors. Returns how many of them the set
 * has room for: lock what there is, work, unlock, and come back for the rest.
 */
uint64_t raid_lock_add(const struct raid *r, struct raid_lock_set *set, sect_t sect, uint64_t nr_sects);
void raid_lock(struct raid *r, struct raid_lock_set *set, bool exclusive);
void raid_unlock(struct raid *r, struct raid_lock_set *set);	/* empties the set */

#endif
