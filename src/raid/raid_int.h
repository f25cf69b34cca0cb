/*
 * raid_int.h: the inside of an array, for the files of src/raid.
 *
 *	raid.c            the device: requests by kind, clean and active, flush, stop
 *	raid_state.c      members' states; superblocks follow them
 *	raid_gate.c       requests against changes of the set of members
 *	raid_member.c     members that come and go
 *	raid_action.c     what runs beside requests: which of it, how far, how fast
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
	bool is_replacement, by_bitmap;	/* as the member is, for raid_sb_store() */
	unsigned max_devs;		/* roles it has room for */
	_Alignas(8) uint8_t raw[MD_SB_BYTES];	/* as on disk, so that fields osfs does not know stay */
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
/* Whether some device has the slot, by this superblock. */
bool raid_sb_has_slot(const struct raid_sb *sb, int slot);
/* Puts the state, sb->info.recovery_sect and the read errors into raw and info. */
void raid_sb_store(struct raid_sb *sb, const struct raid_sb_state *st, uint64_t nr_corrected_reads);
/* Where a superblock of this kind lies on a device; false when the device is too small for one. */
bool raid_sb_place(enum raid_metadata metadata, uint64_t dev_sects, sect_t *sect);
/*
 * A superblock for one more device of the array that like belongs to. -ENOSPC: too
 * small for one at all; data_sects says what room is left for data.
 */
MUST_CHECK int raid_sb_clone(const struct raid_sb *like, uint64_t dev_sects, int dev_nr, const uint8_t uuid[16],
			     struct raid_sb *out);
/* Old superblocks elsewhere on a device would be found instead of ours, or beside it. */
MUST_CHECK int raid_wipe_superblocks(struct blk_dev *d);
/* The array's UUID in md's own order of bytes, which bitmaps have. */
void raid_sb_uuid_raw(const struct raid_sb *sb, uint8_t out[16]);
/* raw of a new array from sb->info and max_devs. */
void raid_sb_new(struct raid_sb *sb);

/* The two versions; called by raid_sb.c only. -ENOENT: not this version. */
int raid_sb1_load(const char *name, uint64_t dev_sects, sect_t at, struct raid_sb *sb);
int raid_sb1_role(const struct raid_sb *sb, unsigned dev_nr);
void raid_sb1_store(struct raid_sb *sb, const struct raid_sb_state *st, uint64_t nr_corrected_reads);
void raid_sb1_new(struct raid_sb *sb);
void raid_sb1_clone(struct raid_sb *sb);	/* what of raw belongs to one device, from info */
int raid_sb090_load(const char *name, uint64_t dev_sects, sect_t at, struct raid_sb *sb);
int raid_sb090_role(const struct raid_sb *sb, unsigned dev_nr);
void raid_sb090_store(struct raid_sb *sb, const struct raid_sb_state *st);
void raid_sb090_new(struct raid_sb *sb);
void raid_sb090_uuid_raw(const struct raid_sb *sb, uint8_t out[16]);

/* Geometry: raid_zone.c ------------------------------------------------------- */

int raid_zones_init(struct raid_geom *g, const uint64_t *member_sects);
void raid_zones_map(const struct raid_geom *g, sect_t sect, struct raid_place *place, uint64_t *nr_sects);
void raid_zones_unmap(const struct raid_geom *g, unsigned slot, sect_t member_sect, struct raid_role *out);

/* Arrays ---------------------------------------------------------------------- */

/* Errors that are forgiven when they are few: half of them are forgotten each hour. */
struct raid_tally {
	unsigned level;
	uint64_t since_sec;
};

struct raid_member {
	struct blk_dev *dev;		/* owned once the array is assembled */
	struct raid_sb sb;		/* [lock] of the array */
	sect_t data_offset;		/* [const] */
	atomic_int slot;		/* changes under [lock]; -1: spare, left out, or faulty and replaced */
	_Atomic(enum raid_member_state) state;
	atomic_uint_fast64_t recovered;	/* REBUILDING: member sectors below are in sync */
	uint64_t recovered_safe;	/* [lock] durably so: what its superblock says */
	bool by_bitmap;			/* [gate] REBUILDING: only regions that the bitmap names are old */
	atomic_bool is_replacement;	/* in repls, not in slots */
	atomic_bool write_mostly;	/* read from it only in need */
	bool is_left_out;		/* [const] at assembly; what the superblocks say of it stays as it is */
	const char *why;		/* [lock] left out or faulty because */
	struct raid_tally read_tally, slow_tally;	/* [lock] */
	atomic_uint_fast64_t nr_slow;
	atomic_uint nr_pending;		/* reads under way, for spreading them */
	atomic_uint_fast64_t next_sect;	/* behind the last read, for spreading them */
	atomic_uint_fast64_t nr_read_errors, nr_write_errors, nr_corrected;
};

struct raid_level;
struct raid_batch;
struct raid_bitmap;
struct raid_thread;
struct raid_sync_piece;

/* raid_action.c: what runs beside requests. */
enum { RAID_NR_MARKS = 11 };

struct raid_sync {
	enum raid_action action;	/* [lock] changes under [admin] too */
	unsigned flags;			/* [admin] */
	uint64_t from, end;		/* [admin] */
	atomic_uint_fast64_t pos;
	uint64_t saved_pos, saved_msec;	/* [admin] at the last checkpoint */
	unsigned told_percent;		/* [admin] last RebuildNN */
	unsigned nr_unsafe;		/* [admin] r->nr_unsafe when it began */
	atomic_bool stuck;		/* it cannot go on until something changes */
	enum raid_action last_scrub;	/* [lock] */
	uint64_t nr_mismatch, nr_repaired;	/* [lock] sectors */
	struct raid_place_found *places;	/* [lock] */
	unsigned nr_places;		/* [lock] */
	struct {
		uint64_t msec, pos;
	} marks[RAID_NR_MARKS];		/* [lock] some three seconds apart; the speed */
	unsigned first_mark, nr_marks;	/* [lock] */
	uint32_t speed_min_kib, speed_max_kib;	/* [lock] */
};

enum { RAID_NR_LOCKS = 256, RAID_DEFAULT_READ_ERRORS = 20 };

/* raid_gate.c: [gate] fields change only while it is shut, which is while no request is under way. */
enum { RAID_GATE_LANES = 16 };

struct raid_gate {
	struct {
		_Alignas(64) atomic_uint nr;
	} lanes[RAID_GATE_LANES];	/* requests under way; each thread counts in a lane of its own */
	atomic_bool shut;
	os_mutex lock;			/* RANK_RAID_GATE */
	os_cond changed;
};

void raid_gate_init(struct raid_gate *g);
void raid_gate_fini(struct raid_gate *g);
unsigned raid_gate_enter_slow(struct raid_gate *g, unsigned lane);
void raid_gate_leave_slow(struct raid_gate *g);
unsigned raid_gate_lane(void);

/* A request comes in; the result is for raid_gate_leave(). Waits while the gate is shut. */
static inline unsigned raid_gate_enter(struct raid_gate *g)
{
	unsigned lane = raid_gate_lane();

	atomic_fetch_add(&g->lanes[lane].nr, 1);
	return likely(!atomic_load(&g->shut)) ? lane : raid_gate_enter_slow(g, lane);
}

static inline void raid_gate_leave(struct raid_gate *g, unsigned lane)
{
	atomic_fetch_sub(&g->lanes[lane].nr, 1);
	if (unlikely(atomic_load(&g->shut)))
		raid_gate_leave_slow(g);
}

/* Waits until no request is under way, and keeps further ones out. Not from within a request. */
void raid_gate_shut(struct raid_gate *g);
void raid_gate_open(struct raid_gate *g);

struct raid {
	struct blk_dev dev;
	const struct raid_level *level;
	struct raid_geom geom;
	struct alloc *alloc;
	struct slab *runs;		/* struct raid_run */
	unsigned nr_members;		/* [gate, lock] */
	struct raid_member **members;	/* [gate, lock] room for RAID_MAX_MEMBERS */
	_Atomic(struct raid_member *) *slots;	/* [gate, lock] NULL: missing; S10 */
	_Atomic(struct raid_member *) *repls;	/* likewise: what a slot's member is being copied to */
	bool read_only;
	struct raid_open_opts opts;	/* [const] */

	struct raid_sync sync;
	struct raid_bitmap *bitmap;	/* [const] NULL: none */
	atomic_uint_fast64_t resync_pos;	/* in units of RESYNC: redundancy above may not agree; UINT64_MAX */

	os_mutex admin;			/* RANK_RAID_ADMIN: members come and go, pieces of actions; one at a time */
	atomic_uint nr_admins_waiting;
	struct raid_gate gate;
	struct raid_thread *thread;	/* [const] NULL: none */

	os_rwlock region_locks[RAID_NR_LOCKS];	/* RANK_STRIPE, key: index */
	unsigned region_shift;		/* member sectors (parity) or volume sectors a region has, log2 */

	atomic_bool active;		/* superblocks say that writes may be under way */
	atomic_bool failed;		/* beyond the level's tolerance: no more writes */
	atomic_bool updating;		/* states have changed that superblocks do not say yet (S7) */
	atomic_uint_fast64_t nr_writes;	/* ever begun */
	atomic_uint epoch;		/* 0 or 1: writers that begin count themselves there; changes under [lock] */
	atomic_uint nr_writers[2];	/* under way, by epoch */

	struct raid_events *events_waiting;	/* [lock] NULL: none yet */

	os_mutex lock;			/* RANK_RAID */
	uint64_t events;		/* [lock] */
	bool sb_active;			/* [lock] what superblocks say; active is what writers may take for granted */
	uint64_t resync_sect;		/* [lock] what superblocks say of resync_pos once clean */
	unsigned nr_unsafe;		/* [lock] writes that failed on members that could not be dropped */
	uint64_t nr_writes_seen;	/* [lock] by the last raid_idle() */
	unsigned nr_idles;		/* [lock] */
	atomic_bool is_slow;		/* a batch took longer than the limit */
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
	/*
	 * A piece of background work. RECOVER counts member sectors; the others count what
	 * bitmaps and region locks do: member sectors on levels with parity, else volume sectors.
	 */
	int (*sync)(struct raid *r, struct raid_sync_piece *p);
};

struct raid_sync_piece {
	enum raid_action action;
	bool rewrite;			/* RAID_SCRUB_REWRITE */
	uint64_t pos, end;		/* in: from where, at most to where; out: end is how far it came */
	uint64_t nr_changed;		/* out: sectors rewritten */
};

/* Of an action on this array, in its units. */
static inline uint64_t raid_sync_end(const struct raid *r, enum raid_action a)
{
	return a == RAID_RECOVER || r->geom.nr_parity ? r->geom.member_sects : r->geom.array_sects;
}

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

/* How far, at most nr_sects, a slot's sectors from member_sect on are alike: all readable, or none. */
static inline uint64_t raid_alike(const struct raid *r, unsigned slot, sect_t member_sect, uint64_t nr_sects)
{
	const struct raid_member *m = r->slots[slot];
	uint64_t recovered = m ? atomic_load(&m->recovered) : 0;

	if (!m || atomic_load(&m->state) != RAID_REBUILDING || recovered <= member_sect)
		return nr_sects;
	return MIN(nr_sects, recovered - member_sect);
}

static inline bool raid_member_takes_writes(const struct raid_member *m)
{
	enum raid_member_state state = atomic_load_explicit(&m->state, memory_order_acquire);

	return state == RAID_IN_SYNC || state == RAID_REBUILDING;
}

static inline bool raid_can_write(const struct raid *r, unsigned slot)
{
	const struct raid_member *m = r->slots[slot];

	return m && raid_member_takes_writes(m);
}

/*
 * A read of a member failed: count and log it; too many and it is set faulty. A write
 * or flush failed: it is set faulty where the level can do so, and when this returns
 * the other members' superblocks say so. member_sect is as in a request to the member's
 * device: its data offset is taken off here.
 */
void raid_read_failed(struct raid *r, struct raid_member *m, sect_t dev_sect, int err);
void raid_write_failed(struct raid *r, struct raid_member *m, sect_t dev_sect, int err);
/* Writes to a slot's member (and to what replaces it) outside of a run; failures are accounted for. */
void raid_slot_write(struct raid *r, unsigned slot, sect_t member_sect, const void *buf, size_t len_bytes);
/* The same for what could not be read and was found from redundancy. */
void raid_slot_mend(struct raid *r, unsigned slot, sect_t member_sect, const void *buf, size_t len_bytes);
/* Every slot missing or not in sync, for level->can_run(); missing has nr_disks entries. */
void raid_missing_get(const struct raid *r, bool *missing);
bool raid_is_degraded(const struct raid *r);
/* Writes all superblocks from the array's state. Error: no member could be written. */
MUST_CHECK int raid_sb_update_locked(struct raid *r);
/*
 * Between these the array is active. No result is given out before the end (S7).
 * -EIO: it has failed; what was written meanwhile cannot be relied on either.
 */
MUST_CHECK int raid_write_begin(struct raid *r, unsigned *epoch);
MUST_CHECK int raid_write_end(struct raid *r, unsigned epoch);
/* Superblocks clean when no write is under way; flushes first. */
int raid_mark_clean(struct raid *r);
/* Every member that takes writes. Error: one failed that could not be dropped. [lock] */
MUST_CHECK int raid_flush_locked(struct raid *r);

/*
 * Sets a member faulty, with all that follows: superblocks, event, the copy that was
 * made of it takes its place. False: the array cannot do without it and it was kept.
 * log: what happened, for people; why: the same in few words, static.
 */
bool raid_member_fail_locked(struct raid *r, struct raid_member *m, const char *log, const char *why);
/* Whether the array would run without the slot. */
bool raid_can_lose(const struct raid *r, unsigned slot);

/* For what counts over time: a member that the array cannot do without is kept, whatever the level. */
void raid_member_over_limit(struct raid *r, struct raid_member *m, const char *log, const char *why);
/* Counts one more; true when it is one too many. [lock] */
bool raid_tally_add(struct raid_tally *t, unsigned most);

/* raid_watch.c: what has happened to a member's image, by an error of blk_check(). */
const char *raid_watch_text(int err);

/* raid_event.c: told later, with no lock held. member may be NULL, detail too; both are copied. [lock] */
void raid_event_add(struct raid *r, const char *name, const struct raid_member *member, const char *detail);
void raid_events_tell(struct raid *r);
void raid_events_fini(struct raid *r);

/* raid_bitmap.c ---------------------------------------------------------------- */

/*
 * Reads it from the members, at assembly: none, one, or the union of all. -EUCLEAN,
 * -EOPNOTSUPP after a message when it is one that osfs cannot keep.
 */
MUST_CHECK int raid_bitmap_load(struct raid *r);
void raid_bitmap_free(struct raid_bitmap *b);
/* Before the superblocks, so that a bitmap never looks older than the array. [lock] */
void raid_bitmap_head_write(struct raid *r);
/* All of it to a member that begins to be filled. [gate, lock] */
void raid_bitmap_copy(struct raid *r, const struct raid_member *m);
/* A writer of the epoch is going to write this range of the volume (S12). */
MUST_CHECK int raid_bitmap_begin(struct raid *r, unsigned epoch, sect_t sect, uint64_t nr_sects);
/* Now and then: clears bits of regions that have come to rest (S13). */
MUST_CHECK int raid_bitmap_sweep(struct raid *r);
/* No writer is there, all was flushed: clears all bits, if the array is whole. [lock] */
MUST_CHECK int raid_bitmap_clean(struct raid *r);
/*
 * In units of RESYNC: how far from sect on, at most to end, regions are alike; *dirty:
 * they may not be in sync. Without a bitmap all are dirty.
 */
uint64_t raid_bitmap_stretch(struct raid *r, sect_t sect, uint64_t end, bool *dirty);
uint64_t raid_bitmap_events_cleared(struct raid *r);
uint64_t raid_bitmap_nr_dirty(const struct raid *r);	/* [lock], or before the array is used */
void raid_bitmap_status(const struct raid *r, struct raid_status *out);	/* [lock] */
bool raid_bitmap_fits(const struct raid_sb *sb, uint64_t dev_sects, size_t len_bytes);
/* An empty one on a member of a new array; chunk_bytes 0: chosen. -ENOSPC after a message. */
MUST_CHECK int raid_bitmap_create(struct blk_dev *d, const struct raid_sb *sb, uint64_t sync_sects, size_t room_bytes,
				  uint32_t chunk_bytes);

/* raid_action.c ----------------------------------------------------------------- */

void raid_sync_init(struct raid *r);
void raid_sync_fini(struct raid *r);
/* An action from where it has come to to its end, before the array is handed out. */
MUST_CHECK int raid_action_run(struct raid *r, enum raid_action a);
/* What has been done so far is made durable and noted in the superblocks. [admin] */
void raid_sync_save(struct raid *r);
bool raid_sync_is_unsaved(const struct raid *r);	/* [admin] */
/* Found by a check or repair, in volume sectors; neighbours become one place. */
void raid_place_add(struct raid *r, sect_t sect, uint64_t nr_sects, int slot, bool repaired);
/* nr mismatching sectors of redundancy, of which nr_repaired were rewritten. */
void raid_mismatch_add(struct raid *r, uint64_t nr_sects, uint64_t nr_repaired);
void raid_status_sync(struct raid *r, struct raid_status *out);	/* [lock] */

static inline void raid_admin_lock(struct raid *r)
{
	atomic_fetch_add(&r->nr_admins_waiting, 1);
	os_mutex_lock(&r->admin);
	atomic_fetch_sub(&r->nr_admins_waiting, 1);
}

/* raid_thread.c: all three do nothing without a thread. */
MUST_CHECK int raid_thread_start(struct raid *r);
void raid_thread_stop(struct raid *r);
void raid_thread_kick(struct raid *r);

/* raid_member.c ----------------------------------------------------------------- */

/* Who is filled at a place of a recovery. */
struct raid_targets {
	unsigned nr;
	bool by_bitmap;			/* all of them lack only what the bitmap names */
	bool only_copies;		/* all of them are copied from their slots' members */
	struct raid_member *members[RAID_MAX_MEMBERS];
};

/* *end is brought down to where the set changes. In the gate. */
void raid_targets_get(struct raid *r, sect_t pos, uint64_t *end, struct raid_targets *t);
/* Those that still take part are in sync below pos. */
void raid_targets_advance(const struct raid_targets *t, sect_t pos);

/* raid_member.c: spares take the slots that need one; true: there is something to recover. [admin] */
bool raid_spares_start(struct raid *r);
/* Members that are recovered become in sync. [admin] */
MUST_CHECK int raid_recovered(struct raid *r);
/* -EROFS, -EINVAL after a message: its members cannot change. */
MUST_CHECK int raid_check_changeable(const struct raid *r);
/* Between these [gate] fields may change, and [lock] ones; [admin] is held. */
void raid_change_begin(struct raid *r);
void raid_change_done(struct raid *r);
/* Done, and the new state of things is in the superblocks when this returns 0. */
MUST_CHECK int raid_change_end(struct raid *r);
/* The member begins to be filled in the slot; the slot's member, if any, is out of it. [gate, lock] */
void raid_seat(struct raid *r, unsigned slot, struct raid_member *m, bool by_bitmap);
/* Out of the array, but not freed. [gate, lock] */
void raid_member_unlink(struct raid *r, struct raid_member *m);

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
