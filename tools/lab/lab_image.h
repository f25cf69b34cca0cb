/*
 * lab_image.h: devices in memory that are copies of each other at no cost: an image shares every
 * page with its parent until it is written to. The parent must not change while it has children.
 */
#ifndef OSFS_TOOLS_LAB_IMAGE_H
#define OSFS_TOOLS_LAB_IMAGE_H

#include "blk/blk.h"

struct lab_image;

/* nr_sects of zeroes, or with `stale` of sectors that say they are stale (lab_is_stale). */
MUST_CHECK int lab_image_new(uint64_t nr_sects, bool stale, struct lab_image **out);
MUST_CHECK int lab_image_copy(const struct lab_image *parent, struct lab_image **out);
void lab_image_free(struct lab_image *im);	/* NULL is fine */
uint64_t lab_image_nr_sects(const struct lab_image *im);

/* data NULL: zeroes. -ENOMEM. */
MUST_CHECK int lab_image_write(struct lab_image *im, sect_t sect, const void *data, uint64_t nr_sects);
void lab_image_read(const struct lab_image *im, sect_t sect, void *data, uint64_t nr_sects);
/* Every byte, as a sparse file that replaces what was there. */
MUST_CHECK int lab_image_save(const struct lab_image *im, const char *path);
MUST_CHECK int lab_image_load(struct lab_image *im, const char *path);

/* A device on im, which stays the caller's and outlives it. */
MUST_CHECK int lab_image_open(struct lab_image *im, const char *name, struct blk_dev **out);

void lab_stale_fill(void *sector, sect_t sect);
bool lab_is_stale(const void *sector);

#endif
