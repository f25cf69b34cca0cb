/*
 * lab_stack.h: a filesystem on an image, or on an array of images, all in memory: made, opened,
 * closed. Single-threaded, with a clock and a seed of its own: the same bytes every time (but for
 * the times that superblocks of arrays carry).
 */
#ifndef OSFS_TOOLS_LAB_STACK_H
#define OSFS_TOOLS_LAB_STACK_H

#include "blk/blk_record.h"
#include "fs/fs.h"
#include "journal/jnl.h"
#include "lab_image.h"
#include "raid/raid.h"

enum { LAB_MAX_MEMBERS = 8, LAB_SINGLE = -2 };

struct lab_config {
	int level;			/* LAB_SINGLE, or a level of raid.h */
	unsigned nr_members;
	uint64_t volume_bytes;
	uint32_t block_bytes;		/* lab_config_set_block() */
	const char *features;		/* for mkfs -O, or NULL */
	bool journal;
	enum jnl_data_mode data_mode;
	uint64_t seed;
	bool failing_member;		/* one member takes no more writes from some time on */
	bool bitmap;			/* arrays: with a write-intent bitmap */
};

/* "single", "0", "1", "5", "6", "10": level, members, and the defaults of everything else. -EINVAL after a message. */
int lab_config_init(struct lab_config *c, const char *level);
/* 1024, 2048 or 4096, and a volume that fits. -EINVAL after a message. */
int lab_config_set_block(struct lab_config *c, uint64_t block_bytes);
const char *lab_config_name(const struct lab_config *c, char buf[static 64]);

struct lab_stack {
	const struct lab_config *cfg;
	struct alloc *alloc;
	struct raid *raid;		/* NULL: single */
	struct blk_dev *volume;
	struct fs *fs;			/* NULL: only the volume */
	uint64_t now_nsec;
};

struct lab_stack_opts {
	struct blk_tape *tape;		/* every member's writes go there; NULL: nowhere */
	uint32_t missing;		/* set of members that are lost */
	const char *fault_rules;	/* of fault_member; NULL: none */
	unsigned fault_member;
	bool volume_only;
	bool quiet;			/* no line about the array */
};

/*
 * images of LAB_MAX_MEMBERS, of the caller. After an error nothing is open; *what says what failed
 * ("assemble", "mount").
 */
MUST_CHECK int lab_stack_open(const struct lab_config *cfg, struct alloc *alloc, struct lab_image *const *images,
			      const struct lab_stack_opts *o, struct lab_stack *s, const char **what);
/* The filesystem alone; the volume stays. */
int lab_stack_unmount(struct lab_stack *s);
/* What is still open. The first error. */
int lab_stack_close(struct lab_stack *s);

/*
 * New images with an empty filesystem in which every block that is not in use says that it is stale
 * (lab_is_stale). images[nr_members] belong to the caller.
 */
MUST_CHECK int lab_stack_make(const struct lab_config *cfg, struct alloc *alloc, struct lab_image **images);
static inline unsigned lab_config_nr_images(const struct lab_config *c)
{
	return c->nr_members;
}

#endif
