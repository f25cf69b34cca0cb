/*
 * scan.h: osfs scan: what images are, which arrays they make up, and whether those could be
 * mounted. Opens everything read-only and without locks; changes nothing.
 *
 * An array is judged by assembling it read-only, so that the answer is the one that a mount
 * would get, with the same words.
 */
#ifndef OSFS_DAEMON_SCAN_H
#define OSFS_DAEMON_SCAN_H

#include "daemon/opts.h"

/* The worst that was found. */
enum {
	SCAN_GOOD = 0,		/* every array and filesystem can be mounted whole */
	SCAN_DEGRADED = 1,	/* an array can be mounted, but not with all of its members */
	SCAN_UNUSABLE = 2,	/* the members of an array do not make one that can be mounted */
	SCAN_ERROR = 4,		/* a path cannot be looked at, or nothing that osfs can use was found */
};

/* Prints to standard output; returns one of the above. Paths are o->members; none: the current directory. */
int scan_run(const struct opts *o);

#endif
