/* life.h: from the command line to the end of the mount. */
#ifndef OSFS_DAEMON_LIFE_H
#define OSFS_DAEMON_LIFE_H

#include "daemon/daemon.h"

/* Exit status, with the bits of mount(8). */
enum { EXIT_DONE = 0, EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

/* Mounts what o says and serves it; returns in the foreground process, with its exit status. Takes o over. */
int life_mount(struct opts *o);
/* osfs umount MOUNTPOINT. */
int life_umount(const char *mountpoint);

#endif
