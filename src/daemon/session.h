/*
 * session.h: the connection with the kernel.
 */
#ifndef OSFS_DAEMON_SESSION_H
#define OSFS_DAEMON_SESSION_H

#include "daemon/daemon.h"

/* 0, or -errno after a message that names the mount point. Nothing is changed. */
MUST_CHECK int session_check_mountpoint(const char *path);
/* Mounts; requests queue up until the loop serves them. -errno after a message. */
MUST_CHECK int session_mount(struct daemon *d, const struct fuse_lowlevel_ops *ops);
/* What INIT settles; called by the init operation of both kinds of mount. */
void session_init(struct daemon *d, struct fuse_conn_info *conn);
/* After the end of the loop. */
void session_free(struct daemon *d);
/*
 * Takes the mount away while the workers still serve it, so that the kernel can
 * hand over what it holds. -EBUSY: somebody uses it; lazy takes it away all the same
 * and leaves the connection to those who have files open.
 */
int session_unmount(const char *mountpoint, bool lazy);

#endif
