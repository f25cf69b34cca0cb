/*
 * fsck.h: checking and repairing an ext2/3/4 filesystem on a block device.
 *
 * fsck_check() is what fsck.osfs, the tests and the fuzz harness call. It trusts nothing that it
 * reads. With FSCK_NO not one byte is written to the device.
 *
 * Memory: one bit per block of the filesystem (two once a block is found to be claimed twice),
 * 5 bytes per inode of groups in use, 32 bytes a directory and 16 a block of a directory, one
 * window of directory blocks a thread (FSCK_WINDOW_BYTES; three times the size of a directory that is larger,
 * up to FSCK_DIR_MAX_BYTES), one piece of an inode table a thread, and changed blocks up to FSCK_DIRTY_BYTES.
 */
#ifndef OSFS_TOOLS_FSCK_FSCK_H
#define OSFS_TOOLS_FSCK_FSCK_H

#include <stdio.h>

#include "blk/blk.h"

enum fsck_mode {
	FSCK_NO,	/* -n: every answer is no, the device is not written */
	FSCK_YES,	/* -y */
	FSCK_PREEN,	/* -p: what is safe is repaired, anything else ends the run */
	FSCK_ASK,	/* opts.ask decides */
};

/* Exit bits, as fsck(8) has them. */
enum {
	FSCK_OK = 0, FSCK_FIXED = 1, FSCK_REBOOT = 2, FSCK_LEFT = 4, FSCK_FAILED = 8, FSCK_USAGE = 16,
	FSCK_CANCELLED = 32,
};

enum { FSCK_PROGRESS_OFF = -1, FSCK_PROGRESS_BAR = 0 };

struct fsck_opts {
	enum fsck_mode mode;
	bool force;		/* -f: also when it is marked clean */
	bool find_bad;		/* -c: blocks that cannot be read go into the list of bad blocks; not with FSCK_NO */
	bool keep_bad;		/* -k: beside those that are in it */
	bool verbose;		/* -v: statistics at the end */
	bool json;		/* one JSON object on out instead of text */
	int progress_fd;	/* FSCK_PROGRESS_OFF, FSCK_PROGRESS_BAR, or a descriptor that gets "pass now max" lines */
	uint64_t super_block;	/* -b: where the superblock to use lies, in blocks; 0: the first one */
	uint32_t block_bytes;	/* -B: 0 tries all sizes */
	const char *undo_path;	/* -z: before-images for e2undo(8); NULL: none */
	unsigned nr_threads;	/* 0: as many as there are processors, at most 8 */
	FILE *out;		/* what is said; NULL: stdout */
	/* FSCK_ASK: 1 yes, 0 no, 2 yes to this and all that follow, -errno: end the run. */
	int (*ask)(void *arg, const char *question);
	void *ask_arg;
	const volatile int *stop;	/* becomes non-zero: end the run (FSCK_CANCELLED). NULL: never */
	int64_t now_sec;	/* the clock; 0: the system's */
};

/* Exit bits. Messages go to opts->out. The device stays the caller's, flushed when it was written. */
int fsck_check(struct blk_dev *dev, const struct fsck_opts *opts);

/* argv as main's; returns the exit status. Not reentrant (getopt). */
int fsck_main(int argc, char **argv);

#endif
