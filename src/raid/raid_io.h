/*
 * raid_io.h: from a batch of requests to an array to a batch of requests to members.
 *
 * A raid_batch is the requests of one kind in volume order. A cursor walks it as if
 * adjoining requests were one string of bytes and hands out pieces: ranges of the
 * volume that do not cross what the level cannot cross, with their memory as one
 * iovec, whether that comes from a part of a request or from fifty requests.
 *
 * A raid_run collects member requests and runs them together. It is one slab object
 * with all its arrays in it, so the data path allocates nothing else.
 */
#ifndef OSFS_RAID_RAID_IO_H
#define OSFS_RAID_RAID_IO_H

#include "raid/raid_int.h"

enum {
	RAID_RUN_IOS	= 400,	/* at least RAID_MAX_MEMBERS: one piece of RAID 1 goes to all */
	RAID_RUN_IOVS	= 1024,	/* in the run's own pool, and at most in one member request (IOV_MAX) */
	RAID_RUN_PIECES	= 400,
};

struct raid_batch {
	struct blk_io **ios;	/* rising by sect; iovecs in multiples of 512 bytes */
	unsigned nr;
	unsigned flags;		/* BLK_FUA if one of the requests has it */
};

struct raid_cur {
	unsigned io, iov;
	size_t off_bytes;	/* within the iovec */
	sect_t sect, end;	/* volume; end: behind the last adjoining request */
};

struct raid_piece {
	sect_t sect;
	uint32_t nr_sects;
	unsigned io;		/* first request of the batch that has a part in it */
	struct iovec *iov;
	unsigned nr_iov;
	uint16_t nr_written;
	bool bad;		/* read: has to be mended; write: not where it should be */
};

struct raid_run {
	struct raid *r;
	/* Called by raid_run_go() for each member request that failed. */
	void (*failed)(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag);
	unsigned nr_ios, nr_iovs, nr_pieces;
	struct blk_io ios[RAID_RUN_IOS];
	struct iovec one[RAID_RUN_IOS];		/* of requests with one buffer */
	void *tags[RAID_RUN_IOS];
	struct raid_member *members[RAID_RUN_IOS];
	struct iovec *pool;			/* of pieces made of parts; iovs, or a larger one */
	unsigned max_iovs;
	struct iovec iovs[RAID_RUN_IOVS];
	struct raid_piece pieces[RAID_RUN_PIECES];
};
_Static_assert(sizeof(struct raid_run) <= 64 << 10, "raid_run is a slab object");

void raid_cur_init(struct raid_cur *cur, const struct raid_batch *b);
static inline bool raid_cur_at_end(const struct raid_cur *cur, const struct raid_batch *b)
{
	return cur->io == b->nr;
}
/*
 * The next piece of up to max_sects; less where the adjoining requests end or the
 * pool is short. False: no room for a piece; the run must be gone through and reset.
 */
bool raid_piece_take(struct raid_run *run, const struct raid_batch *b, struct raid_cur *cur, uint64_t max_sects);
/* Every request that has a part in the range gets err, unless it has one. */
void raid_batch_fail(const struct raid_batch *b, unsigned first_io, sect_t sect, uint64_t nr_sects, int err);
static inline void raid_piece_fail(const struct raid_batch *b, const struct raid_piece *p, int err)
{
	raid_batch_fail(b, p->io, p->sect, p->nr_sects, err);
}

/* Every request of the batch gets err (0 too). */
void raid_batch_set(const struct raid_batch *b, int err);

struct raid_run *raid_run_new(struct raid *r);	/* NULL: no memory */
void raid_run_free(struct raid_run *run);
/* Pieces and pool empty again; no member request may be waiting. */
void raid_run_reset(struct raid_run *run);
/*
 * Adds a request at a member sector; when there is no room, runs what is there first.
 * What changes a slot goes to the member that is to replace its own as well.
 */
void raid_run_add(struct raid_run *run, unsigned slot, enum blk_op op, unsigned flags, sect_t member_sect,
		  uint64_t nr_sects, struct iovec *iov, unsigned nr_iov, void *tag);
void raid_run_add_member(struct raid_run *run, struct raid_member *m, enum blk_op op, unsigned flags,
			 sect_t member_sect, uint64_t nr_sects, struct iovec *iov, unsigned nr_iov, void *tag);
void raid_run_add_buf(struct raid_run *run, unsigned slot, enum blk_op op, unsigned flags, sect_t member_sect,
		      uint32_t nr_sects, void *buf, void *tag);
void raid_run_go(struct raid_run *run);

/* Copies len_bytes between buf and the bytes of an iovec from off_bytes on. */
void raid_iov_put(const struct iovec *iov, size_t off_bytes, const void *buf, size_t len_bytes);

/*
 * Memory of one run beside its arrays: parity, old data, plans. Given back at once.
 * 64-byte aligned, 4 KiB aligned from that size on. NULL: no memory.
 */
struct raid_arena {
	struct alloc *alloc;
	unsigned nr;
	size_t left_bytes;
	char *at;
	struct {
		void *pages;
		unsigned order;
	} blocks[80];
};

void raid_arena_init(struct raid_arena *a, struct alloc *alloc);
void *raid_arena_get(struct raid_arena *a, size_t len_bytes);
void raid_arena_fini(struct raid_arena *a);

/* raid_read.c: level->read where every sector has places of its own. */
void raid_read(struct raid *r, struct raid_batch *b);
/* Mends the bad pieces of a run; requests get their errors. No lock is held. */
void raid_mend_pieces(struct raid_run *run, const struct raid_batch *b);
const struct raid_place *raid_choose_nearest(struct raid *r, const struct raid_place *places, uint64_t nr_sects);
const struct raid_place *raid_choose_lowest(struct raid *r, const struct raid_place *places, uint64_t nr_sects);

/* raid_copies.c: levels of whole copies, one or more. */
void raid_copies_write(struct raid *r, struct raid_batch *b);
int raid_copies_zero(struct raid *r, sect_t sect, uint64_t nr_sects, unsigned flags);
int raid_copies_discard(struct raid *r, sect_t sect, uint64_t nr_sects);
/* The region is locked exclusively. */
int raid_copies_mend_locked(struct raid *r, sect_t sect, uint32_t nr_sects, void *buf);
int raid_copies_mend(struct raid *r, sect_t sect, uint32_t nr_sects, void *buf);

/* raid_copies_sync.c */
int raid_copies_sync(struct raid *r, struct raid_sync_piece *p);

#endif
