/*
 * raid_disk.h: md's superblocks and write-intent bitmap on disk (linux/raid/md_p.h, md(4)).
 *
 * Version 1 is little-endian everywhere. Version 0.90 is in the byte order of the
 * machine that made it; osfs takes it as little-endian.
 */
#ifndef OSFS_RAID_RAID_DISK_H
#define OSFS_RAID_RAID_DISK_H

#include "base/types.h"

enum {
	MD_SB_BYTES		= 4096,	/* what is read and written at once; both versions fit */
	MD_1_FIXED_BYTES	= 256,
	MD_1_MAX_DEVS		= (MD_SB_BYTES - MD_1_FIXED_BYTES) / 2,
	MD_090_MAX_DEVS		= 27,
	MD_090_RESERVED_SECTS	= 128,
};
#define MD_MAGIC_U32 0xa92b4efcu

/* feature_map of version 1 */
enum {
	MD_FEATURE_BITMAP_OFFSET	= 1 << 0,
	MD_FEATURE_RECOVERY_OFFSET	= 1 << 1,
	MD_FEATURE_RESHAPE_ACTIVE	= 1 << 2,
	MD_FEATURE_BAD_BLOCKS		= 1 << 3,
	MD_FEATURE_REPLACEMENT		= 1 << 4,
	MD_FEATURE_RESHAPE_BACKWARDS	= 1 << 5,
	MD_FEATURE_NEW_OFFSET		= 1 << 6,
	MD_FEATURE_RECOVERY_BITMAP	= 1 << 7,
	MD_FEATURE_CLUSTERED		= 1 << 8,
	MD_FEATURE_JOURNAL		= 1 << 9,
	MD_FEATURE_PPL			= 1 << 10,
	MD_FEATURE_MULTIPLE_PPLS	= 1 << 11,
	MD_FEATURE_RAID0_LAYOUT		= 1 << 12,
};

/* dev_roles of version 1 */
enum { MD_ROLE_SPARE = 0xffff, MD_ROLE_FAULTY = 0xfffe, MD_ROLE_JOURNAL = 0xfffd, MD_ROLE_MAX = 0xff00 };

enum { MD_DEVFLAG_WRITE_MOSTLY = 1 << 0 };

#define MD_SECT_MAX UINT64_MAX	/* resync_offset, recovery_offset: all of it */

struct md_disk_sb1 {
/*000*/	le32	magic;
	le32	major_version;
	le32	feature_map;
	le32	pad0;
/*010*/	uint8_t	set_uuid[16];
	char	set_name[32];
/*040*/	le64	ctime;		/* low 40 bits seconds, high 24 microseconds */
	le32	level;
	le32	layout;
	le64	size;		/* sectors used on each member */
/*058*/	le32	chunksize;	/* sectors */
	le32	raid_disks;
	le32	bitmap_offset;	/* signed sectors from this superblock */
	le32	new_level;
	le64	reshape_position;
	le32	delta_disks;
	le32	new_layout;
	le32	new_chunk;
	le32	new_offset;
/*080*/	le64	data_offset;
	le64	data_size;
	le64	super_offset;
	le64	recovery_offset;
/*0a0*/	le32	dev_number;
	le32	cnt_corrected_read;
	uint8_t	device_uuid[16];
	uint8_t	devflags;
	uint8_t	bblog_shift;
	le16	bblog_size;
	le32	bblog_offset;	/* signed sectors from this superblock */
/*0c0*/	le64	utime;
	le64	events;
	le64	resync_offset;
	le32	sb_csum;
	le32	max_dev;
	uint8_t	pad3[32];
/*100*/	le16	dev_roles[];
};
DISK_SIZE(struct md_disk_sb1, 256);
DISK_OFFSET(struct md_disk_sb1, ctime, 0x40);
DISK_OFFSET(struct md_disk_sb1, chunksize, 0x58);
DISK_OFFSET(struct md_disk_sb1, data_offset, 0x80);
DISK_OFFSET(struct md_disk_sb1, dev_number, 0xa0);
DISK_OFFSET(struct md_disk_sb1, utime, 0xc0);
DISK_OFFSET(struct md_disk_sb1, dev_roles, 0x100);

/* state of a version 0.90 device */
enum {
	MD_DISK_FAULTY		= 1 << 0,
	MD_DISK_ACTIVE		= 1 << 1,
	MD_DISK_SYNC		= 1 << 2,
	MD_DISK_REMOVED		= 1 << 3,
	MD_DISK_WRITE_MOSTLY	= 1 << 9,
};
/* state of a version 0.90 array */
enum { MD_STATE_CLEAN = 1 << 0, MD_STATE_BITMAP = 1 << 8 };
/* minor version of an array that is being reshaped */
enum { MD_090_MINOR = 90, MD_090_MINOR_RESHAPE = 91 };

struct md_disk_dev090 {
	le32	number;
	le32	major, minor;
	le32	raid_disk;
	le32	state;
	le32	reserved[27];
};
DISK_SIZE(struct md_disk_dev090, 128);

struct md_disk_sb090 {
/*000*/	le32	magic;
	le32	major_version, minor_version, patch_version;
	le32	gvalid_words;
	le32	set_uuid0;
	le32	ctime;
	le32	level;
/*020*/	le32	size;		/* KiB used on each member */
	le32	nr_disks, raid_disks;
	le32	md_minor;
	le32	not_persistent;
	le32	set_uuid1, set_uuid2, set_uuid3;
/*040*/	le32	gstate_creserved[16];
/*080*/	le32	utime;
	le32	state;
	le32	active_disks, working_disks, failed_disks, spare_disks;
	le32	sb_csum;
	le32	events_lo, events_hi;
	le32	cp_events_lo, cp_events_hi;
	le32	recovery_cp;	/* sectors */
	le32	reshape[6];
	le32	gstate_sreserved[14];
/*100*/	le32	layout;
	le32	chunk_size;	/* bytes */
	le32	root_pv, root_block;
	le32	pstate_reserved[60];
/*200*/	struct md_disk_dev090 disks[MD_090_MAX_DEVS];
/*f80*/	struct md_disk_dev090 this_disk;
};
DISK_SIZE(struct md_disk_sb090, 4096);
DISK_OFFSET(struct md_disk_sb090, utime, 0x80);
DISK_OFFSET(struct md_disk_sb090, layout, 0x100);
DISK_OFFSET(struct md_disk_sb090, disks, 0x200);
DISK_OFFSET(struct md_disk_sb090, this_disk, 0xf80);

/* Internal write-intent bitmap: this, then one bit a chunk, lowest bit first. */
#define MD_BITMAP_MAGIC_U32 0x6d746962u
enum { MD_BITMAP_VERSION = 4 };

struct md_disk_bitmap {
/*00*/	le32	magic;
	le32	version;
	uint8_t	uuid[16];
/*18*/	le64	events;		/* of the array when the bitmap was last written */
	le64	events_cleared;	/* of the array when bits were last cleared */
	le64	sync_size;	/* sectors that the bits cover */
/*30*/	le32	state;
	le32	chunksize;	/* bytes a bit stands for */
	le32	daemon_sleep;
	le32	write_behind;
	le32	sectors_reserved;
	uint8_t	rest[188];
};
DISK_SIZE(struct md_disk_bitmap, 256);
DISK_OFFSET(struct md_disk_bitmap, events, 0x18);
DISK_OFFSET(struct md_disk_bitmap, chunksize, 0x34);

#endif
