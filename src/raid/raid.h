/*
 * raid.h: Linux md arrays as block devices.
 *
 *	raid_create()    writes superblocks on members
 *	raid_examine()   says what one device is
 *	raid_assemble()  members in any order to an array
 *	raid_dev()       the array as a struct blk_dev (compound: one batch in, one batch to all members out)
 *	raid_free()      stops the array: flush, superblocks clean, members closed
 *
 *	raid_member_*()  members fail, go, come, are replaced while the array runs
 *	raid_action_*()  resync, rebuild and scrub: started, stopped, driven
 *
 * Formats: md superblock 1.2 (default), 1.0, 1.1 read and written; 0.90 read and
 * kept up to date. Source: linux/raid/md_p.h, md(4).
 *
 * Threads: any number may run requests on the array's device, and call the other
 * functions meanwhile. Partial-stripe writers of one stripe exclude each other
 * (RANK_STRIPE); the array's state and superblock updates are under RANK_RAID.
 * The set of members changes only between requests (raid_gate.c).
 */
#ifndef OSFS_RAID_RAID_H
#define OSFS_RAID_RAID_H

#include <stdio.h>

#include "alloc/alloc.h"
#include "blk/blk.h"

struct raid;

/* Values of md's level field. */
enum raid_level_nr {
	RAID_LINEAR = -1, RAID_0 = 0, RAID_1 = 1, RAID_4 = 4, RAID_5 = 5, RAID_6 = 6, RAID_10 = 10,
};

/* md's layout numbers of RAID 5 and 6. RAID 10: near | far << 8 | offset flag << 16. */
enum raid_layout_nr {
	RAID_LAYOUT_LA = 0, RAID_LAYOUT_RA = 1, RAID_LAYOUT_LS = 2, RAID_LAYOUT_RS = 3,
};

/* RAID 0 over members of different sizes, see raid_zone.c. */
enum { RAID_LAYOUT_0_ORIGINAL = 1, RAID_LAYOUT_0_ALTERNATE = 2 };

enum raid_metadata { RAID_META_090, RAID_META_10, RAID_META_11, RAID_META_12 };

enum { RAID_MAX_MEMBERS = 384, RAID_MAX_DATA_DISKS = 64, RAID_DEFAULT_CHUNK_SECTS = 256 };

/* Write-intent bitmap: after a crash or a re-add only regions written meanwhile are resynchronised. */
enum raid_bitmap_kind { RAID_BITMAP_DEFAULT, RAID_BITMAP_NONE, RAID_BITMAP_INTERNAL };

struct raid_params {
	int level;
	uint32_t layout;	/* raid_layout_parse() gives the default for NULL */
	uint32_t chunk_sects;	/* power of two, 4 KiB to 4 MiB; 0: default. RAID 1: 0 */
	unsigned nr_disks;	/* active slots, present or missing */
	enum raid_metadata metadata;
	uint8_t uuid[16];	/* all zero: a new random one */
	char name[33];		/* as mdadm --name; empty is fine */
	sect_t data_offset;	/* 0: chosen as mdadm does, at least 1 MiB on members that can spare it */
	uint64_t size_sects;	/* data per member; 0: as much as the smallest holds */
	enum raid_bitmap_kind bitmap;	/* default: internal where members have 100 GiB and more, as mdadm */
	uint32_t bitmap_chunk_bytes;	/* a bit stands for; power of two from 4 KiB; 0: chosen, at least 64 MiB */
};

/* "0" "raid5" "linear" … to the level; -EINVAL after a message. */
int raid_level_parse(const char *text, int *level);
/* "ls", "left-symmetric", "n2", "f2", "o3" …, NULL for the level's default. -EINVAL after a message. */
int raid_layout_parse(int level, const char *text, uint32_t *layout);
const char *raid_level_name(int level);				/* "raid5" */
const char *raid_layout_name(int level, uint32_t layout, char buf[static 32]);	/* "left-symmetric", "near=2" */
int raid_metadata_parse(const char *text, enum raid_metadata *out);
/* "01234567:89abcdef:..." as mdadm prints it. */
const char *raid_uuid_text(const uint8_t uuid[16], char buf[static 40]);

/*
 * Writes superblocks on members[0..nr_disks-1] (NULL: slot left missing) and on
 * spares[0..nr_spares-1]. Every byte of the members' data areas must read as zero
 * or the caller passes zeroed = false, and they are zeroed (holes where possible),
 * so that parity is right from the start and no resync is needed. Members stay
 * the caller's. Names sizes and members in its messages. -EINVAL, -ENOSPC (too small), I/O errors.
 */
MUST_CHECK int raid_create(const struct raid_params *p, struct blk_dev **members, struct blk_dev **spares,
			   unsigned nr_spares, bool zeroed);

/* What a superblock says of the device it is on. */
struct raid_info {
	enum raid_metadata metadata;
	int level;
	uint32_t layout, chunk_sects;
	unsigned nr_disks;
	uint8_t uuid[16];		/* digits in the order in which they are written */
	char name[33];
	uint64_t ctime_sec, utime_sec;
	uint64_t events;
	uint64_t size_sects;		/* used on each member */
	sect_t data_offset, super_offset;
	uint64_t data_sects;		/* there on this member */
	uint64_t resync_sect;		/* UINT64_MAX: array was clean */
	uint64_t recovery_sect;		/* UINT64_MAX: this member is in sync */
	uint32_t feature_map;
	uint8_t dev_uuid[16];
	int dev_nr;			/* md's number of this device */
	int role;			/* slot, or one of RAID_ROLE_* */
	bool write_mostly;
};
enum { RAID_ROLE_SPARE = -1, RAID_ROLE_FAULTY = -2, RAID_ROLE_JOURNAL = -3 };

/*
 * 0 and *out filled; -ENOENT: no md superblock here (places that cannot be read are told
 * and passed by); -EUCLEAN: one that is damaged (checksum, impossible values), logged with
 * the field; other errors of the device.
 */
MUST_CHECK int raid_examine(struct blk_dev *d, struct raid_info *out);

/*
 * Something happened. name is one of mdadm --monitor's: Fail, FailSpare, SpareActive,
 * RebuildStarted, Rebuild20 (…40, 60, 80), RebuildFinished, DegradedArray; rebuilding,
 * resync, check and repair are all "Rebuild" there. Text is valid during the call.
 */
struct raid_event {
	const char *name;
	const char *array;		/* blk_name() of the array's device */
	const char *member;		/* blk_name() of the member that it is about, or NULL */
	const char *detail;		/* in words, or NULL: "mismatches found: 8 sectors" */
};

/* Who does the work that an array has beside requests: resync, rebuild, scrub. */
enum raid_work {
	RAID_WORK_AT_ONCE,	/* resync before raid_assemble() returns; the rest only by raid_step(), when asked for */
	RAID_WORK_STEPS,	/* raid_step() does all of it, resync and spares that start by themselves included */
	RAID_WORK_THREAD,	/* a thread of the array */
};

struct raid_open_opts {
	struct alloc *alloc;		/* stripes and requests live here; required */
	enum raid_work work;
	/*
	 * Called with no lock of the array held and outside of requests: by the array's
	 * thread, else by the raid_member_* function, raid_step() or raid_idle() that
	 * runs when there is something to tell. May ask for the status, may not change members.
	 */
	void (*on_event)(void *arg, const struct raid_event *ev);
	void *event_arg;
	unsigned max_read_errors;	/* a member with more within an hour is set faulty; 0: md's 20 */
	unsigned slow_msec;		/* a member's batch that takes longer counts as slow; 0: no limit */
	unsigned max_slow;		/* with more slow ones within an hour it is set faulty; 0: 10 */
	uint32_t speed_min_kib, speed_max_kib;	/* as raid_speed_set(); 0: md's 1000 and 200000 */
	bool read_only;			/* nothing is written, no superblock either */
	bool no_degraded;		/* -EROFS unless every slot is there */
	/*
	 * Asked, before anything is written, when a slot of an array that is to be written is not
	 * there; false: it comes up read-only. NULL: it is written.
	 */
	bool (*write_degraded)(void *arg, const char *array);
	void *degraded_arg;
	bool force;			/* dirty and degraded parity array: take it for writing all the same */
	bool quiet;			/* no line about the assembly when all is well */
};

/*
 * Assembles members given in any order; each is one device, foreign, doubled,
 * stale, too small, or mixed members are refused by name. The array is usable
 * when the level can do without the missing ones. On success the members belong
 * to the array (closed by raid_free); on failure they stay the caller's.
 * A writable array is marked active in all superblocks before the first write
 * and clean again by raid_free and raid_idle; an array that is only read is not
 * changed by a byte. Dirty (not cleanly stopped) arrays with redundancy are
 * resynchronised, the regions that a bitmap names or all of them: see raid_work.
 * Halves of an array that were both written since they parted are refused (-EINVAL).
 *
 * Errors, each after a message: -ENODEV too few members; -EINVAL members that do not
 * belong together, doubled, or too small; -EUCLEAN damaged superblock, or dirty and
 * degraded without force; -EOPNOTSUPP a feature osfs does not have; -EROFS; I/O errors.
 */
MUST_CHECK int raid_assemble(struct blk_dev **members, unsigned nr, const struct raid_open_opts *opts,
			     struct raid **out);
struct blk_dev *raid_dev(struct raid *r);	/* not to be closed; lives as long as r */
/*
 * To be called about once a second: marks the array clean when nothing was written
 * since the last call. Returns I/O errors of that.
 */
int raid_idle(struct raid *r);
/* Flushes, marks clean, closes members. Returns the first error of that. */
int raid_free(struct raid *r);

/* ---- members while the array runs ----------------------------------------------------
 *
 * A member is named by md's device number, see raid_member_status.dev_nr. Each
 * change is in the superblocks before the function returns 0. Errors, each after a
 * message: -ENOENT no such member; -EBUSY the array needs it (or it is in use);
 * -EINVAL it does not fit, with numbers; -EROFS; -EIO no superblock can be written.
 */

/* Set faulty as if a write had failed. -EBUSY: the array cannot do without it. */
MUST_CHECK int raid_member_fail(struct raid *r, int dev_nr);
/* A spare or faulty member leaves. *dev, still open, is the caller's. */
MUST_CHECK int raid_member_remove(struct raid *r, int dev_nr, struct blk_dev **dev);

enum raid_add {
	RAID_ADD_AUTO,		/* re-add where it is possible, else as a spare */
	RAID_ADD_READD,		/* only regions written since it left are copied; -EINVAL where that cannot be known */
	RAID_ADD_SPARE,		/* what it held does not count */
};
/*
 * A device joins; it is the array's on success. An md superblock of another array, or
 * of this one on a device whose place is taken, is refused (-EEXIST) unless RAID_ADD_SPARE.
 * -ENOSPC: too small, with numbers. *dev_nr: its number.
 */
MUST_CHECK int raid_member_add(struct raid *r, struct blk_dev *dev, enum raid_add how, int *dev_nr);
/*
 * The member is copied to a spare (spare_nr, or -1 for any) while it serves, and
 * set faulty when the copy is whole. -ENOENT: no spare.
 */
MUST_CHECK int raid_member_replace(struct raid *r, int dev_nr, int spare_nr);
/* Read only in need; kept in its superblock. */
MUST_CHECK int raid_member_write_mostly(struct raid *r, int dev_nr, bool on);

/* ---- resync, rebuild, scrub ------------------------------------------------------------
 *
 * One at a time, by urgency: recover (a spare or returned member is filled, or a
 * member replaced), resync (after an unclean stop), check or repair (when asked for).
 */
enum raid_action { RAID_IDLE, RAID_RESYNC, RAID_RECOVER, RAID_CHECK, RAID_REPAIR };
const char *raid_action_name(enum raid_action a);	/* md's words: "idle", "resync", ... */

enum {
	/* RAID_REPAIR: where nothing tells which member is wrong, the data counts and parity is rewritten
	 * (mirrors: the first copy counts). Without this such places are listed only. */
	RAID_SCRUB_REWRITE = 1 << 0,
};
/*
 * Starts RAID_CHECK (writes nothing but sectors that could not be read, as any read
 * does) or RAID_REPAIR, or with RAID_IDLE stops one. RAID_RESYNC, RAID_RECOVER: what
 * could not go on tries again. -EBUSY: something else runs; -EINVAL: no redundancy; -EROFS.
 */
MUST_CHECK int raid_action_set(struct raid *r, enum raid_action a, unsigned flags);
/*
 * Does a piece of what there is to do, of about max_sects on each member (0: as much
 * as goes well together); does not sleep for speed limits. 1: there is more to do;
 * 0: nothing; -errno: it cannot go on (told).
 */
MUST_CHECK int raid_step(struct raid *r, uint64_t max_sects);
/* Waits until nothing is under way; -ETIMEDOUT after msec. With RAID_WORK_THREAD only. */
MUST_CHECK int raid_wait(struct raid *r, unsigned msec);
/* KiB/s on each member: no slower than min while others use the array, never above max. 0: leave as it is. */
void raid_speed_set(struct raid *r, uint32_t min_kib, uint32_t max_kib);

/* A stretch of the volume in which scrub found members that do not agree. */
struct raid_place_found {
	sect_t sect;			/* volume */
	uint64_t nr_sects;
	int slot;			/* the member that is wrong, -1: nothing tells */
	bool repaired;
};
enum { RAID_MAX_PLACES = 256 };		/* what is found beyond is counted only */
/* Of the last check or repair: copies up to max, returns how many there are. */
unsigned raid_places_get(struct raid *r, struct raid_place_found *out, unsigned max);

/* ---- what there is to see ----------------------------------------------------------------- */

enum raid_member_state { RAID_IN_SYNC, RAID_FAULTY, RAID_SPARE, RAID_REBUILDING, RAID_MISSING };
const char *raid_member_state_name(enum raid_member_state s);	/* "in sync", "faulty", ... */

struct raid_member_status {
	const char *name;		/* NULL when missing; valid until the member is removed */
	enum raid_member_state state;
	int dev_nr;			/* md's number, names it in raid_member_*(); -1: missing */
	int slot;			/* -1: a spare, or faulty and out of its slot */
	bool replacement;		/* a copy of the slot's member is made on it */
	bool write_mostly;
	const char *why;		/* left out at assembly, set faulty: in words; else NULL */
	sect_t data_offset;
	uint64_t recovered_sects;	/* REBUILDING: how far it is in sync */
	uint64_t events;
	uint64_t nr_read_errors, nr_write_errors, nr_slow;
	uint64_t nr_corrected;		/* read errors that were rewritten */
};
struct raid_status {
	struct raid_info array;
	unsigned nr_active, nr_spares;	/* in sync; spares */
	uint64_t array_sects;
	bool degraded, failed, dirty;

	enum raid_action action;
	uint64_t sync_sects, sync_end;	/* of the action: done, of; member sectors or volume sectors */
	uint32_t speed_kib;		/* KiB/s, of the last half minute */
	uint64_t left_sec;		/* at that speed; UINT64_MAX: cannot be said */
	uint64_t mismatch_sects;	/* md's mismatch_cnt of the last or running check or repair */
	uint64_t repaired_sects;
	unsigned nr_places;		/* see raid_places_get() */
	enum raid_action last_scrub;	/* RAID_IDLE: none since assembly */
	uint64_t unsynced_sects;	/* not cleanly stopped: to be resynchronised still */
	uint32_t speed_min_kib, speed_max_kib;

	bool has_bitmap;
	uint32_t bitmap_chunk_bytes;
	uint64_t bitmap_bits, bitmap_dirty;

	unsigned nr_members;
	struct raid_member_status members[RAID_MAX_MEMBERS];
};
void raid_status_get(struct raid *r, struct raid_status *out);
void raid_to_text(struct raid *r, FILE *out);
/* For raid_map.h; lives as long as r. */
struct raid_geom;
const struct raid_geom *raid_geometry(const struct raid *r);

#endif
