/* test_blk.h: helpers of the block layer's tests (test_blk*.c). */
#ifndef OSFS_TEST_BLK_H
#define OSFS_TEST_BLK_H

#include <check.h>

#include "base/rng.h"
#include "blk/blk.h"

/*
 * A path in a new directory on a disk (0) or in memory (1), where the machine has
 * these; image_remove() removes both.
 */
char *image_path(unsigned where);
void image_remove(char *path);

/* From now on messages go here; the last one said. */
void capture_log(void);
extern char last_message[512];

/* Opens or fails the test. */
struct blk_dev *must_open(const char *spec, const struct blk_open_opts *opts);
void fill(void *buf, size_t len, uint64_t seed);

/* A device and what must be on it. */
struct model {
	struct blk_dev *dev;
	uint8_t *ref;
};

void model_init(struct model *m, struct blk_dev *dev);	/* dev must read as zeroes */
void model_fini(struct model *m);
/* One batch of random requests within the given sectors; checks what was read. */
void model_step(struct model *m, struct rng *r, sect_t sect, uint64_t nr_sects, uint64_t seed);
void model_compare(const struct model *m, uint64_t seed);

/* A compound for tests: writes go to both, reads come from the first. Members stay the caller's. */
struct mirror {
	struct blk_dev dev;
	struct blk_dev *members[2];
	unsigned nr_runs, nr_requests;
};

void mirror_init(struct mirror *m, struct blk_dev *a, struct blk_dev *b);

void add_file_tests(Suite *s);
void add_fault_tests(Suite *s);
void add_record_tests(Suite *s);

#endif
