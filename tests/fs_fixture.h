/*
 * fs_fixture.h: a filesystem for a test: made by mke2fs in a private image file, opened by
 * fs_open on a device in memory (or on the file itself), judged by e2fsck and debugfs.
 *
 *	CLEANUP_FSX struct fsx *x = fsx_new("32m", FSX_EXT ",inline_data -b 1024");
 *	fsx_mount(x);
 *	... fs_*(x->fs, ...) ...
 *	fsx_unmount(x);			everything written back to the image, no leak
 *	fsx_fsck(x);			e2fsck -fn has no complaint
 *
 * Everything fails the test with the tool's output when it goes wrong. After a failed test the
 * image stays where the message says. Log lines are kept (fsx_log) and shown when OSFS_TEST_LOG is set.
 */
#ifndef OSFS_TEST_FS_FIXTURE_H
#define OSFS_TEST_FS_FIXTURE_H

#include <check.h>
#include <stdatomic.h>
#include <sys/statvfs.h>

#include "fs/fs.h"

/* What fsx_new takes for a filesystem that osfs can write. */
#define FSX_EXT "-O ^extent,^64bit,^has_journal,^orphan_file"	/* go on with ",inline_data -b 1024" and so on */

/* The same with files mapped by extents. */
#define FSX_EXTENTS "-O extent,^64bit,^has_journal,^orphan_file"

struct fsx {
	char *dir;		/* private directory with the image in it */
	char *image;
	struct alloc *alloc;
	struct blk_dev *dev;	/* NULL while not mounted */
	struct fs *fs;		/* NULL while not mounted */
	struct fs_opts opts;	/* for the next mount: change at will; alloc and clock are the fixture's */
	bool in_file;		/* the device is the image file, not a copy in memory */
	const char *filter;	/* NULL, or what to put before the device's name: "fault:RULES:" */
	atomic_uint_fast64_t now_nsec;	/* the clock: moves by a millisecond with each look */
};

/* size as blk_open has it for mem: ("32m"); mke2fs_opts in shell words. */
struct fsx *fsx_new(const char *size, const char *mke2fs_opts);
void fsx_free(struct fsx *x);
static inline void fsx_free_cleanup(struct fsx **x) { fsx_free(*x); }
#define CLEANUP_FSX __attribute__((cleanup(fsx_free_cleanup)))
/* To be called first in main: are mke2fs, e2fsck and debugfs there? Else the program ends with 77. */
void fsx_need_tools(void);

/* What fs_open says; after an error nothing is open. */
MUST_CHECK int fsx_try_mount(struct fsx *x);
void fsx_mount(struct fsx *x);
/* Closes and writes back; what fs_close said. */
int fsx_try_unmount(struct fsx *x);
void fsx_unmount(struct fsx *x);
/* The image is what the device has now, as after a power cut that lost nothing; memory is given back. Not in_file. */
void fsx_crash(struct fsx *x);
static inline void fsx_remount(struct fsx *x)
{
	fsx_unmount(x);
	fsx_mount(x);
}

/* Not mounted, for all below. */
void fsx_fsck(struct fsx *x);
/* fsx_unmount and fsx_fsck. */
void fsx_done(struct fsx *x);
/* Exit status of e2fsck with these options ("-fn", "-fyD"); *output is malloc'ed, NULL: not wanted. */
int fsx_fsck_status(struct fsx *x, const char *opts, char **output);
/* What a debugfs request prints, malloc'ed; write: opens the image for writing (-w). */
char *fsx_debugfs(struct fsx *x, const char *request);
void fsx_debugfs_write(struct fsx *x, const char *request);
/* The image's bytes. */
void fsx_peek(struct fsx *x, uint64_t off_bytes, void *buf, size_t len_bytes);
void fsx_poke(struct fsx *x, uint64_t off_bytes, const void *buf, size_t len_bytes);
/* A checksum of the whole image, to show that not one byte changed. */
uint32_t fsx_image_crc(struct fsx *x);
/* Output of a shell command (malloc'ed), *status its exit status; NULL: must be 0. */
char *fsx_shell(int *status, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Log lines since the start or the last fsx_log_clear, each ended by a newline. */
const char *fsx_log(void);
void fsx_log_clear(void);

#endif
