/*
 * raid.h: Linux md arrays as block devices.
 *
 *	raid_create()    writes superblocks on members
 *	raid_examine()   says what one device is
 *	raid_assemble()  members in any order to an array
 *	raid_dev()       the array as a struct blk_dev (compound: one batch in, one batch to all members out)
 *	raid_free()      stops the array: flush, superblocks clean, members closed
 *
 * Formats: md superblock 1.2 (default), 1.0, 1.1 read and written; 0.90 read and
 * kept up to date. Source: linux/raid/md_p.h, md(4).
 *
 * Threads: any number may run requests on the array's device. Partial-stripe
 * writers of one stripe exclude each other (RANK_STRIPE); the array's state and
 * superblock updates are under RANK_RAID.
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
};

/* "0" "raid5" "linear" … to the level; -EINVAL after a message. */
int raid_level_parse(const char *text, int *level);
/* "ls", "left-symmetric", "n2", "f2", "o3" …, NULL for the level's default. -EINVAL after a message. */
int raid_layout_parse(int level, const char *text, uint32_t *layout);
const char *raid_level_name(int level);				/* "raid5" */
const char *raid_layout_name(int level, uint32_t layout, char buf[static 32]);	/* "left-symmetric", "near=2" */
int raid_metadata_parse(const char *text, enum raid_metadata *out);

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
	uint8_t uuid[16];
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
 * 0 and *out filled; -ENOENT: no md superblock here; -EUCLEAN: one that is damaged
 * (checksum, impossible values), logged with the field; I/O errors.
 */
MUST_CHECK int raid_examine(struct blk_dev *d, struct raid_info *out);

struct raid_open_opts {
	struct alloc *alloc;		/* stripes and requests live here; required */
	bool read_only;			/* nothing is written, no superblock either */
	bool no_degraded;		/* -EROFS unless every slot is there */
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
 * resynchronised before they are handed out writable.
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

enum raid_member_state { RAID_IN_SYNC, RAID_FAULTY, RAID_SPARE, RAID_REBUILDING, RAID_MISSING };
struct raid_member_status {
	const char *name;		/* NULL when missing */
	enum raid_member_state state;
	int slot;			/* -1 for a spare */
	uint64_t events;
	uint64_t nr_read_errors, nr_write_errors;
};
struct raid_status {
	struct raid_info array;
	unsigned nr_active, nr_spares;
	uint64_t array_sects;
	bool degraded, failed, dirty;
	unsigned nr_members;
	struct raid_member_status members[RAID_MAX_MEMBERS];
};
void raid_status_get(struct raid *r, struct raid_status *out);
void raid_to_text(struct raid *r, FILE *out);

#endif
