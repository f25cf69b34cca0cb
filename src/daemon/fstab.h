/*
 * fstab.h: where `osfs MOUNTPOINT` finds its members: a table like fstab's in
 * ~/.config/osfs/osfstab and /etc/osfstab (members as A:B:C, mount point, options), or the
 * default array, which is made when it is not there.
 */
#ifndef OSFS_DAEMON_FSTAB_H
#define OSFS_DAEMON_FSTAB_H

#include "daemon/opts.h"

/* Adds members and options for o->mountpoint. 0 or -errno after a message. */
MUST_CHECK int fstab_resolve(struct opts *o);

#endif
