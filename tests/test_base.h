/* test_base.h: the files of test_base. */
#ifndef OSFS_TESTS_TEST_BASE_H
#define OSFS_TESTS_TEST_BASE_H

#include <check.h>

void add_lock_tests(Suite *suite);	/* test_base_lock.c */
void add_tell_tests(Suite *suite);	/* test_base_tell.c */

#endif
