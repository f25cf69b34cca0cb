/*
 * test_lab.h: how much the tests of the lab do. Sanitizers are several times slower, and the states the
 * same; ThreadSanitizer has nothing to find in one thread.
 */
#ifndef OSFS_TEST_LAB_H
#define OSFS_TEST_LAB_H

#if defined(__SANITIZE_THREAD__)
#define LAB_TEST_PERCENT(percent) (((percent) + 9) / 10)
#elif defined(__SANITIZE_ADDRESS__)
#define LAB_TEST_PERCENT(percent) (((percent) + 1) / 2)
#else
#define LAB_TEST_PERCENT(percent) (percent)
#endif

#endif
