/* blk_file_int.h: an image file or block device, shared by blk_file*.c. */
#ifndef OSFS_BLK_FILE_INT_H
#define OSFS_BLK_FILE_INT_H

#include "blk/blk.h"

struct blk_file {
	struct blk_dev dev;
	int fd;			/* through the page cache; also carries the lock */
	int direct_fd;		/* O_DIRECT, or -1 */
	uint32_t mem_align;	/* what direct_fd wants of memory, */
	uint32_t off_align;	/* and of positions and lengths; powers of two */
	bool is_block;
	bool ring_reads;	/* reads of a batch go through the ring, */
	bool ring_writes;	/* writes of a batch, */
	bool ring_syncs;	/* flushes and BLK_FUA writes of a batch */
	atomic_uint nr_failed;	/* I/O errors so far; says which of them are logged */
	/*
	 * Flushes that have nothing to flush are not issued. A change counts when it is complete, so that
	 * a flush that begins later covers it; what earlier users left in the page cache is the first.
	 */
	atomic_uint_fast64_t nr_changes;	/* completed writes (not BLK_FUA), zeroes and discards */
	atomic_uint_fast64_t nr_flushed;	/* of those, how many a flush has covered */
};

static inline struct blk_file *blk_file_of(struct blk_dev *d)
{
	return container_of(d, struct blk_file, dev);
}

/*
 * A part of a read or write: entries [idx, end) of its iovec without the first
 * skip bytes, at byte pos of the file.
 */
struct file_span {
	unsigned idx, end;
	size_t skip;
	uint64_t pos;
};

/* blk_file_io.c: plain calls ------------------------------------------------ */

static inline struct file_span file_span_all(const struct blk_io *io)
{
	return (struct file_span){ .end = io->nr_iov, .pos = io->sect << SECT_SHIFT };
}

/* Steps over n bytes; n is at most what is left. */
void file_span_advance(struct file_span *s, const struct iovec *iov, uint64_t n);
/* The descriptor that suits the alignment of io; -1: direct_fd, but memory needs a bounce. */
int file_fd_for(const struct blk_file *f, const struct blk_io *io);
/* What is left of the span, by preadv/pwritev; 0 or -errno, logged. */
int file_transfer(struct blk_file *f, int fd, const struct blk_io *io, struct file_span s);
/* READ or WRITE through an aligned buffer to direct_fd. */
int file_bounce(struct blk_file *f, const struct blk_io *io);
int file_sync(struct blk_file *f);
/* Completed changes so far, to be said before a flush begins; */
uint64_t file_changes(const struct blk_file *f);
/* and after it has succeeded. */
void file_flushed(struct blk_file *f, uint64_t nr_changes);
static inline bool file_needs_flush(const struct blk_file *f)
{
	return file_changes(f) != atomic_load(&f->nr_flushed);
}

/* A part of io, or all of it, is complete, with or without an error. */
static inline void file_changed(struct blk_file *f, const struct blk_io *io)
{
	if (io->op != BLK_READ && io->op != BLK_FLUSH && !(io->op == BLK_WRITE && io->flags & BLK_FUA))
		atomic_fetch_add(&f->nr_changes, 1);
}

int file_check(struct blk_file *f, bool thorough);	/* as blk_check() */
int file_discard(struct blk_file *f, const struct blk_io *io);
int file_zero(struct blk_file *f, const struct blk_io *io);
/*
 * Says once, twice, four times ... a device that io failed; at is the byte where. Returns err, or -EIO where err is another
 * name for a device that fails (-ENODATA for a bad sector, read directly, and so on).
 */
int file_failed(struct blk_file *f, enum blk_op op, uint64_t at, int err);

/* blk_file_ring.c: io_uring of the calling thread ---------------------------- */

#ifdef HAVE_LIBURING
/* Starts a READ, WRITE (on fd) or FLUSH; false: this thread has no ring, nothing was started. */
bool file_ring_start(struct blk_file *f, struct blk_io *io, int fd);
/* Waits for all that this thread started. */
void file_ring_reap(void);
#else
static inline bool file_ring_start(struct blk_file *f, struct blk_io *io, int fd) { return false; }
static inline void file_ring_reap(void) { }
#endif

/* blk_file_lock.c ------------------------------------------------------------ */

/* -EBUSY, with a message that says who, when another holds the image. */
int file_lock(int fd, const char *name, bool exclusive);
void file_unlock(int fd);

#endif
