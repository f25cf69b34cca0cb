/*
 * blk_log_disk.h: the log of dm-log-writes, nothing else. Little-endian.
 * Facts: Linux, Documentation/admin-guide/device-mapper/log-writes.rst.
 *
 * Sector 0 holds the super block. Then, one after the other, each record: one sector with its head
 * (a mark's text follows the head there), and for writes the data.
 */
#ifndef OSFS_BLK_LOG_DISK_H
#define OSFS_BLK_LOG_DISK_H

#include "base/types.h"

#define BLK_LOG_MAGIC 0x6a736677736872u
enum { BLK_LOG_VERSION = 1 };

struct blk_log_disk_super {
/*00*/	le64	magic;
/*08*/	le64	version;
/*10*/	le64	nr_entries;
/*18*/	le32	sectorsize;	/* unit of all numbers of sectors, and of records */
/*1c*/	le32	pad;
};
DISK_SIZE(struct blk_log_disk_super, 32);

enum {	/* flags */
	BLK_LOG_FLUSH = 1,	/* with data: flush first, then this write */
	BLK_LOG_FUA = 2,
	BLK_LOG_DISCARD = 4,	/* no data follows */
	BLK_LOG_MARK = 8,	/* data_len bytes of text behind the head */
	BLK_LOG_METADATA = 16,
};

/*
 * Linux leaves the rest of a head's sector unused and does not look at it. osfs keeps there in which
 * order the records of several logs were completed, and which of them were under way together.
 */
struct blk_log_disk_entry {
/*00*/	le64	sector;
/*08*/	le64	nr_sectors;
/*10*/	le64	flags;
/*18*/	le64	data_len;	/* of a mark */
};
DISK_SIZE(struct blk_log_disk_entry, 32);

enum { BLK_LOG_ORDER_OFF = 448, BLK_LOG_TEXT_MAX = BLK_LOG_ORDER_OFF - 32 };
struct blk_log_disk_order {
/*00*/	char	magic[8];	/* BLK_LOG_ORDER_MAGIC */
/*08*/	le64	seq;		/* rises with completion, over all logs of one run */
/*10*/	le64	began;		/* what has a smaller seq was complete when this was started */
/*18*/	uint8_t	pad[40];
};
DISK_SIZE(struct blk_log_disk_order, 64);
#define BLK_LOG_ORDER_MAGIC "osfsordr"

#endif
