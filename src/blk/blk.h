/*
 * blk.h: block devices. One interface; backends (file, mem) are leaves, filters
 * (fault, trace) sit on one lower device, and compound devices (arrays) turn a
 * request into requests to their members.
 *
 * The I/O model is structured batches, not callbacks: blk_run() starts every
 * request of an array of requests, returns when all are done, and each has its
 * error. All requests of a batch are in flight together, also through filters
 * and into all members of a compound device, so order between two requests
 * exists only when one blk_run() returned before the other began.
 *
 * Units: sect is a 512-byte sector; the length of a read or write is the sum of
 * its iovec, a multiple of 512. Memory alignment: none needed from the caller;
 * a `direct` file copies through an aligned buffer when it must.
 *
 * Promises:
 *   B1  A read or write moves all of its bytes or fails; short transfers do not exist.
 *   B2  When a BLK_FLUSH returns 0, every write, zero and discard that had
 *       completed before it was started is durable.
 *   B3  A request outside the device is -EINVAL, a write to a read-only device
 *       -EROFS; neither reaches the backend. A request of no bytes is done at once.
 *   B4  A request with BLK_FUA is durable when it completes.
 *
 * Threads: any number may call blk_run() on one device. The buffers of a write
 * must not change while it runs (parity is computed where the data lies).
 */
#ifndef OSFS_BLK_BLK_H
#define OSFS_BLK_BLK_H

#include <stdatomic.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/types.h"

struct blk_dev;

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,	/* no range */
	BLK_DISCARD,	/* contents undefined after (files: a hole, so zeroes) */
	BLK_ZERO,	/* contents zero after; a hole where the backend can */
	BLK_NR_OPS
};

enum {
	BLK_FUA = 1 << 0,	/* on BLK_WRITE, BLK_ZERO: see B4 */
};

struct blk_io {
	struct blk_dev *dev;
	enum blk_op op;
	unsigned flags;
	sect_t sect;
	uint64_t nr_sects;	/* DISCARD, ZERO: set by the caller. READ, WRITE: set by blk_run from the iovec */
	struct iovec *iov;	/* READ, WRITE; caller's, unchanged after */
	unsigned nr_iov;
	int err;		/* out: 0 or -errno */
};

/*
 * Runs all; returns 0 or the err of the first failed request in array order (so
 * also -EOPNOTSUPP of a discard, which is not counted as an error of the device).
 */
int blk_run(struct blk_io *ios, unsigned nr);

/* One request with one buffer. */
MUST_CHECK int blk_read(struct blk_dev *d, sect_t sect, void *buf, size_t len_bytes);
MUST_CHECK int blk_write(struct blk_dev *d, sect_t sect, const void *buf, size_t len_bytes);
MUST_CHECK int blk_flush(struct blk_dev *d);
/* -EOPNOTSUPP where the backend has none; callers treat that as done. */
int blk_discard(struct blk_dev *d, sect_t sect, uint64_t nr_sects);
/* Falls back to writing zeroes. */
MUST_CHECK int blk_zero(struct blk_dev *d, sect_t sect, uint64_t nr_sects);

uint64_t blk_nr_sects(const struct blk_dev *d);
/* For messages: the path or URI it was opened by; a filter has the name of what it sits on. */
const char *blk_name(const struct blk_dev *d);
bool blk_is_read_only(const struct blk_dev *d);
/* Best size and alignment of a write in bytes (chunk × data members for arrays), 0 unknown. */
uint32_t blk_optimal_bytes(const struct blk_dev *d);
void blk_set_optimal_bytes(struct blk_dev *d, uint32_t bytes);

struct blk_stats {
	uint64_t nr_ios[BLK_NR_OPS];
	uint64_t nr_bytes[BLK_NR_OPS];
	uint64_t nr_errors;
};
void blk_stats_get(const struct blk_dev *d, struct blk_stats *out);

/*
 * Whether what a device lies on is still as it was opened: 0; -ENODATA it has become
 * shorter; thorough: -ENOENT the file has no name any more, -EACCES nobody may read it.
 * No message. A device that cannot tell says 0.
 */
MUST_CHECK int blk_check(struct blk_dev *d, bool thorough);
bool blk_can_check(struct blk_dev *d);

/* Opening, by path or URI, through one registry ------------------------------
 *
 *   PATH or file:PATH[?direct]     image file or block device; ./mem:x for a file so named
 *   mem:SIZE                       zero-filled memory; SIZE takes k, m, g, t (powers of 1024)
 *   fault:RULES:SPEC               see blk_fault.h; SPEC is the lower device
 *   record:LOGFILE:SPEC            see blk_record.h; what is written, in a log of dm-log-writes' format
 *   trace:SPEC                     every request, with its time, in the trace ring
 */
struct blk_open_opts {
	bool read_only;
	bool direct;		/* O_DIRECT for files (also ?direct) */
	bool no_lock;		/* take no lock on the image (tools that only look) */
	uint64_t create_bytes;	/* != 0: create a sparse file of this size where none exists */
};

/*
 * Opens a device. An image is locked: shared for read-only, exclusive else; when
 * another process has it the message says which, and the result is -EBUSY.
 * Errors are logged with the name. -ENOENT, -EACCES, -EBUSY, -EINVAL (bad spec),
 * -ENOTBLK (a directory or other thing), -ENOMEM, or what open(2) said. opts may
 * be NULL: all false. *out is NULL after an error.
 */
MUST_CHECK int blk_open(const char *spec, const struct blk_open_opts *opts, struct blk_dev **out);
/* Closes the device and, for filters, its lower ones. No request may be running. */
void blk_close(struct blk_dev *d);

MUST_CHECK int blk_mem_new(uint64_t nr_sects, struct blk_dev **out);

/* What implements a device ---------------------------------------------------
 *
 * Exactly one of the three groups is filled in. Only blk.c calls through it;
 * range, write protection, counters and trace are done there once.
 */
union blk_state {
	void *ptr;
	uint64_t u64;
};

enum { BLK_MAX_FILTERS = 8 };	/* on top of each other */

struct blk_ops {
	const char *name;	/* "file", "mem", "fault", "raid" */

	/*
	 * Leaf. submit() starts a request or does it at once: true when it is done
	 * (io->err set), false when it is under way on the calling thread's queue.
	 * alone: the batch is this one request, so there is nothing to overlap with.
	 * reap() waits until all that this thread has submitted to devices of these
	 * ops is done and their io->err are set. NULL when submit() is always done.
	 */
	bool (*submit)(struct blk_dev *d, struct blk_io *io, bool alone);
	void (*reap)(void);

	/*
	 * Filter on one lower device. before() gets a copy of the request that it
	 * may change (not what iov points to) and that then runs on lower, where the
	 * range is checked again; or it finishes the request: true, io->err set, and
	 * its own after() is not called. after() gets the request as before() was
	 * given it, with the err of what ran below, and may change err or, for a
	 * read, the data. *state is zero before before() and belongs to the filter,
	 * for this request, until after() has returned. One of the two may be NULL.
	 * A filter that needs requests of its own to lower (to hold writes back, to
	 * read before it writes) is a compound that has a lower.
	 */
	bool (*before)(struct blk_dev *d, struct blk_io *io, union blk_state *state);
	void (*after)(struct blk_dev *d, struct blk_io *io, union blk_state *state);

	/* Compound. Does a batch of requests to this one device; returns when all have their err. */
	void (*run)(struct blk_dev *d, struct blk_io **ios, unsigned nr);

	int (*check)(struct blk_dev *d, bool thorough);	/* leaves; optional, see blk_check() */
	void (*close)(struct blk_dev *d);	/* frees d and what is inside, not d->lower */
};

/* The head of every device struct; embedded first or found by container_of. */
struct blk_dev {
	const struct blk_ops *ops;
	char *name;			/* owned; freed by blk_dev_fini */
	uint64_t nr_sects;		/* [const after open] */
	bool read_only;			/* [const after open] */
	uint32_t optimal_bytes;		/* [const after open] */
	struct blk_dev *lower;		/* filters: owned; else NULL */
	struct {
		atomic_uint_fast64_t ios[BLK_NR_OPS], bytes[BLK_NR_OPS], errors;
	} stats;			/* [atomic] */
};

const char *blk_op_name(enum blk_op op);	/* "read", "write", ... */

/* For implementations: name is copied. -ENOMEM. */
MUST_CHECK int blk_dev_init(struct blk_dev *d, const struct blk_ops *ops, const char *name, uint64_t nr_sects,
			    bool read_only);
void blk_dev_fini(struct blk_dev *d);
/*
 * As blk_dev_init, for a filter: name, size, protection and optimal size are those
 * of lower, which it owns on success. -EINVAL: more than BLK_MAX_FILTERS.
 */
MUST_CHECK int blk_filter_init(struct blk_dev *d, const struct blk_ops *ops, struct blk_dev *lower);

#endif
