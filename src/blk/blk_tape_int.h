/*
 * blk_tape_int.h: shared by blk_record.c (the filter), blk_tape.c (records in memory) and
 * blk_log.c (records in files).
 */
#ifndef OSFS_BLK_TAPE_INT_H
#define OSFS_BLK_TAPE_INT_H

#include "base/lock.h"
#include "blk/blk_int.h"
#include "blk/blk_record.h"

struct blk_tape_map {
	struct blk_tape_map *next;
	void *addr;
	size_t len;
};

struct blk_tape {
	os_mutex lock;			/* RANK_LEAF */
	struct blk_rec *recs;		/* [lock] */
	size_t nr, cap;			/* [lock] */
	atomic_uint_fast64_t next_seq;
	int err;			/* [lock] */
	struct blk_tape_map *maps;	/* files that data of records lies in */
};

/* Data of a loaded record lies in one of the tape's maps, that of the others was malloc'ed. */
bool blk_tape_owns(const struct blk_tape *t, const struct blk_rec *r);
/* Puts *r behind the others; its data, malloc'ed, belongs to the tape (freed when that fails). seq 0: the next one. */
int blk_tape_add(struct blk_tape *t, const struct blk_rec *r);
/* The bytes of a write as one piece, malloc'ed. NULL: no memory. */
uint8_t *blk_rec_copy(const struct blk_io *io);

/* A log file that is being written. */
struct blk_log;
MUST_CHECK int blk_log_create(const char *path, struct blk_log **out);
/* seq 0: by the clock. io: where the data is (NULL: r->data). An error ends the recording, with a message. */
void blk_log_add(struct blk_log *l, const struct blk_rec *r, const struct blk_io *io);
uint64_t blk_log_now(void);
/* The number of records goes in. Returns the first error. */
int blk_log_close(struct blk_log *l);

#endif
