/* test_fs_file.h: the parts of test_fs_file. */
#ifndef OSFS_TEST_FS_FILE_H
#define OSFS_TEST_FS_FILE_H

#include <check.h>

TCase *file_model_tests(void);
TCase *file_inline_tests(void);
TCase *file_error_tests(void);

#endif
