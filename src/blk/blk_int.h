/*
 * blk_int.h: between the files of the block layer. A kind of device has a line here
 * and a row in blk_registry.c.
 */
#ifndef OSFS_BLK_INT_H
#define OSFS_BLK_INT_H

#include "blk/blk.h"

static inline bool blk_is_filter(const struct blk_dev *d)
{
	return d->ops->before || d->ops->after;
}

MUST_CHECK int blk_file_open(const char *path, const struct blk_open_opts *opts, struct blk_dev **out);
/* name is for messages. */
MUST_CHECK int blk_mem_open(const char *name, uint64_t nr_sects, bool read_only, struct blk_dev **out);
/* Owns lower on success. */
MUST_CHECK int blk_trace_new(struct blk_dev *lower, struct blk_dev **out);

#endif
