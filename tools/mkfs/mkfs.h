/* mkfs.h: mkfs.osfs as a call; the daemon makes the default array with it. */
#ifndef OSFS_TOOLS_MKFS_MKFS_H
#define OSFS_TOOLS_MKFS_MKFS_H

/* argv as main's; returns the exit status (0 done, 1 not done, with a message). Not reentrant (getopt). */
int mkfs_main(int argc, char **argv);

#endif
