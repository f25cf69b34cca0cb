/* test_fs_dir.h: the parts of test_fs_dir. */
#ifndef OSFS_TEST_FS_DIR_H
#define OSFS_TEST_FS_DIR_H

#include "fs_tree.h"

TCase *dir_model_tests(void);
TCase *dir_big_tests(void);
TCase *dir_name_tests(void);
TCase *dir_damage_tests(void);
TCase *dir_thread_tests(void);

/* The formats of directories. */
struct dir_format {
	const char *name, *size, *mke2fs;
};
extern const struct dir_format dir_formats[];
enum { NR_DIR_FORMATS = 12 };

#endif
