/*
 * blk_record.h: a filter that records what a device is told to write: every write, zero, discard
 * and flush that succeeded, with its data, in the order of completion; and marks, which say in
 * words how far the one above has come. osfs-lab makes of it the states that a crash can leave.
 *
 *	record:LOGFILE:SPEC	into a new file in the format of dm-log-writes (blk_log_disk.h)
 *
 * or onto a tape in memory, which several devices may share: then one order goes over all of
 * them, so that a cut goes through the members of an array at one moment. Log files keep that
 * order as well (by the monotonic clock of the machine).
 *
 *   T1  Record i is certainly durable at a moment when it was complete and FUA, or when a flush
 *       of its device is complete whose began is above i's seq.
 *   T2  A record is on the tape before its request returns to the caller.
 *
 * Threads: any. A tape is read while nothing is recorded on it.
 */
#ifndef OSFS_BLK_RECORD_H
#define OSFS_BLK_RECORD_H

#include "blk/blk.h"
#include "blk/blk_log_disk.h"

struct blk_rec {
	uint64_t seq;		/* rises along the tape */
	uint64_t began;		/* what has a smaller seq was complete when this was started */
	unsigned dev;
	unsigned flags;		/* BLK_LOG_*; 0 is a plain write */
	sect_t sect;
	uint64_t nr_sects;	/* 0: flush, mark */
	const uint8_t *data;	/* writes: NULL is zeroes; marks: the text, with a NUL */
};

static inline bool blk_rec_is_write(const struct blk_rec *r)
{
	return !(r->flags & BLK_LOG_MARK) && r->nr_sects;	/* discards too */
}

struct blk_tape;
MUST_CHECK int blk_tape_new(struct blk_tape **out);
void blk_tape_free(struct blk_tape *t);		/* NULL is fine; no device records on it any more */
/* The text is cut at BLK_LOG_TEXT_MAX bytes. */
void blk_tape_mark(struct blk_tape *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t blk_tape_nr(const struct blk_tape *t);
const struct blk_rec *blk_tape_get(const struct blk_tape *t, size_t i);
/* -ENOMEM when a record was lost for want of memory; the tape is of no use then. */
int blk_tape_error(const struct blk_tape *t);

/* Owns lower on success; the tape is the caller's and outlives the filter. */
MUST_CHECK int blk_record_new(struct blk_dev *lower, struct blk_tape *t, unsigned dev, struct blk_dev **out);
/* Into a file that does not exist yet (-EEXIST). Owns lower on success. */
MUST_CHECK int blk_record_new_file(struct blk_dev *lower, const char *path, struct blk_dev **out);

/* The records of one device, and all marks, as a new file. */
MUST_CHECK int blk_tape_save(const struct blk_tape *t, unsigned dev, const char *path);
/*
 * Adds the records of a file, as those of device dev. A log of Linux has no order of its own: its
 * records count as done one after the other. Marks that another file of the tape has as well come
 * once. -EUCLEAN: not such a log, after a message with the place.
 */
MUST_CHECK int blk_tape_load(struct blk_tape *t, unsigned dev, const char *path);
/* One line, without a newline: number, device, what, where. */
void blk_rec_to_text(const struct blk_rec *r, FILE *out);

#endif
