/*
 * lab_check.h: is a filesystem that was closed wholly consistent? In the lab's own words, so that
 * thousands of states can be asked in a second; e2fsck is asked about a sample of them.
 */
#ifndef OSFS_TOOLS_LAB_CHECK_H
#define OSFS_TOOLS_LAB_CHECK_H

#include <stdio.h>

#include "blk/blk.h"

/*
 * 0, or -EUCLEAN after a line for each fault on out (16 at most). Looks at: state and features of the
 * superblock (clean, nothing to recover, no orphans), block and inode bitmaps against what inodes
 * use, blocks used twice, counts of groups and superblock, i_blocks, link counts, unreachable
 * inodes, directories' form. Not at checksums and hash trees: e2fsck does.
 */
MUST_CHECK int lab_check(struct blk_dev *volume, FILE *out);

#endif
