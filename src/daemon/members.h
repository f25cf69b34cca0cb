/*
 * members.h: from names of images to one block device: the array they are
 * members of, or the image itself; and members that come and go while it is mounted.
 *
 * Over every image lies a fault filter without rules, so that osfsctl can make a disk
 * fail at any time.
 */
#ifndef OSFS_DAEMON_MEMBERS_H
#define OSFS_DAEMON_MEMBERS_H

#include "alloc/alloc.h"
#include "blk/blk.h"
#include "daemon/event.h"
#include "daemon/opts.h"
#include "raid/raid.h"

struct members {
	struct blk_dev **devs;	/* as opened, with the filter; they belong to raid where there is one */
	unsigned nr;
	struct blk_open_opts how;	/* images are opened so */
	struct raid *raid;	/* NULL: a single image */
	struct blk_dev *dev;	/* the volume */
};

/*
 * Opens what o names and assembles it. 0 or -errno after a message; then nothing
 * is open, and no image has changed. -ENOENT: a member does not exist (for nofail).
 * What happens to the array is posted to ev, which may be NULL.
 */
MUST_CHECK int members_open(struct members *m, const struct opts *o, struct alloc *a, struct events *ev);
/* Flushes, marks the array clean, closes. The first error of that. */
int members_close(struct members *m);
/*
 * While it is mounted, by one thread at a time. Messages and errors as raid_member_add() and
 * raid_member_remove() have them.
 */
MUST_CHECK int members_add(struct members *m, const char *path, enum raid_add how, int *dev_nr);
MUST_CHECK int members_remove(struct members *m, int dev_nr);
/* Out and in again, with the same open device. */
MUST_CHECK int members_return(struct members *m, int *dev_nr, enum raid_add how);
/* The device with this name; NULL. */
struct blk_dev *members_dev(const struct members *m, const char *name);
/* -d DIR: adds the images in DIR that are members of the one array there. */
MUST_CHECK int members_find(struct opts *o, const char *dir);

#endif
