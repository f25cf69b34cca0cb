/*
 * daemon.h: one mount. What the FUSE requests, the control socket and the life
 * cycle share; there is no other state.
 *
 *	kernel ── session.c ── loop.c ── ops_*.c ── src/fs ── src/cache ── members.c (src/raid, src/blk)
 *	osfsctl ── ctl_socket.c ── ctl_verbs.c ──┘
 */
#ifndef OSFS_DAEMON_DAEMON_H
#define OSFS_DAEMON_DAEMON_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 312
#endif
#include <fuse3/fuse_lowlevel.h>
#include <stdatomic.h>
#include <time.h>

#include "alloc/alloc.h"
#include "base/lock.h"
#include "base/types.h"
#include "daemon/members.h"
#include "daemon/opts.h"
#include "fs/fs.h"

struct loop;
struct ctl;
struct dir_ahead;

struct daemon {
	struct opts o;			/* [const after start] */
	struct alloc *alloc;		/* [const after start] */
	struct members members;		/* [const after start] */
	struct fs *fs;			/* [const after start] NULL: the volume is served as a file */
	struct dir_ahead *dir_ahead;	/* [const after start] NULL without fs */
	struct fuse_session *se;	/* [const after start] */
	struct loop *loop;		/* [const after start] */
	struct events *events;		/* [const after start] NULL: nobody wants to be told */
	struct ctl *ctl;		/* [const after start] NULL: no socket could be made */
	char *source;			/* [const after start] what /proc/mounts shows */
	uint32_t block_bytes;		/* [const after start] st_blksize */
	uint32_t max_read;		/* [const after start] */
	bool read_only;			/* [const after start] */
	struct timespec start;		/* [const after start] */

	/* Settled by the INIT request, before any other is served. */
	bool writeback;			/* the kernel gathers writes */
	bool no_open;			/* it need not ask before open */
	bool kill_told;			/* it says which writes drop set-id bits */
	uint64_t init_unique;		/* the request whose reply session.c completes */

	os_rwlock volume_lock;		/* the volume as a file: [rd] whole sectors, [wr] parts of sectors */
};

#endif
