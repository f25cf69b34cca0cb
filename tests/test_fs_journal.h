/*
 * test_fs_journal.h: a filesystem with a journal, its power cuts, and what a tree looks like.
 */
#ifndef OSFS_TEST_FS_JOURNAL_H
#define OSFS_TEST_FS_JOURNAL_H

#include "fs/ext_disk.h"
#include "fs_files.h"
#include "fs_tree.h"

#define FSX_JOURNAL "-O ^extent,^64bit,has_journal,^orphan_file"

/* Every name below the root with number, type, mode, links, size, target or contents' checksum; malloc'ed. Mounted. */
char *tree_manifest(struct fsx *x);
/* The same of the image as e2fsck -fy leaves a copy of it; only counts in the superblock may have been wrong. Not mounted. */
char *manifest_by_e2fsck(struct fsx *x);
/* The same by our own replay; the image is then clean for e2fsck. Not mounted, before and after. */
char *manifest_by_replay(struct fsx *x);
/* Random work on names and contents, some of it made durable; from seed. */
void random_work(struct fsx *x, uint64_t seed, unsigned nr_steps);
uint16_t super_state(struct fsx *x);
uint32_t super_incompat(struct fsx *x);

Suite *journal_crash_tests(void);

#endif
