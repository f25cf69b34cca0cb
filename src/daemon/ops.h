/*
 * ops.h: FUSE requests turned into calls of src/fs and their results into replies.
 *
 * O1  Nothing is held when the reply goes out, but for the pins of a read: the kernel may
 *     forget the inode at once.
 * O2  Lookup counts balance: each reply that carries an entry stands for one reference of
 *     src/fs; where the reply could not be sent, the reference is given back.
 * O3  The sign of errors turns here and nowhere else.
 */
#ifndef OSFS_DAEMON_OPS_H
#define OSFS_DAEMON_OPS_H

#include "daemon/daemon.h"

extern const struct fuse_lowlevel_ops ops_fs;		/* the filesystem on the volume */
extern const struct fuse_lowlevel_ops ops_volume;	/* the volume as a file */

#endif
