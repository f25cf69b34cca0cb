/*
 * dir_ahead.h: the next pieces of long listings, made while their clients work on the last ones. A
 * piece is good as long as its directory has the version that it had before the piece was made.
 */
#ifndef OSFS_DAEMON_DIR_AHEAD_H
#define OSFS_DAEMON_DIR_AHEAD_H

#include "base/types.h"

struct dir_ahead;

struct dir_piece {
	ino_nr_t ino;		/* of the directory */
	uint64_t cookie;	/* where the piece begins */
	uint64_t version;	/* of the directory, before it was read (fs_attr) */
	uint32_t generation;	/* of the number's owner */
	size_t cap, used;	/* bytes: asked for, and there */
	uint64_t next_cookie;
	bool is_full;		/* entries are left behind it */
	_Alignas(uint64_t) char buf[];
};

MUST_CHECK int dir_ahead_new(struct dir_ahead **out);	/* -ENOMEM */
void dir_ahead_free(struct dir_ahead *a);		/* NULL is fine */

/* For a request for cap bytes at cookie; the caller frees it. NULL: there is none. */
struct dir_piece *dir_ahead_take(struct dir_ahead *a, ino_nr_t ino, uint64_t cookie, size_t cap);
/* The caller's piece becomes a's; the oldest one goes. */
void dir_ahead_put(struct dir_ahead *a, struct dir_piece *p);

#endif
