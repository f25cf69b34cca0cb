/* test_lab.h: how much the tests of the lab do. Sanitizers are several times slower, and the states the same. */
#ifndef OSFS_TEST_LAB_H
#define OSFS_TEST_LAB_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LAB_TEST_PERCENT(percent) (((percent) + 1) / 2)
#else
#define LAB_TEST_PERCENT(percent) (percent)
#endif

#endif
