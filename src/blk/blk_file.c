/*
 * blk_file.c: an image file or a block device as a leaf. Opening and closing it,
 * and the way that each request takes:
 *
 *	image in memory (tmpfs)		plain calls, always
 *	buffered			plain calls; reads and flushes of a batch through the ring
 *	direct				plain calls; a batch through the ring
 *
 * since a copy from or to memory is done sooner than handed over, and what waits
 * for a disk should wait together. F1 to F3 are what the layers above build on.
 *
 *   F1  Nothing is written to an image, its size included, before its lock is held.
 *   F2  A direct request that is not aligned goes through the page cache (position
 *       or length) or through an aligned buffer (memory); it does not fail for that.
 *   F3  A read behind the end of a truncated image is -EIO, a write brings the end back.
 */
#include "config.h"
#include "blk/blk_int.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"
#include "blk/blk_file_int.h"

static bool submit_transfer(struct blk_file *f, struct blk_io *io, bool alone)
{
	int fd = file_fd_for(f, io);
	bool ring;

	if (fd < 0) {
		io->err = file_bounce(f, io);
		return true;
	}
	if (io->op == BLK_READ)
		ring = f->ring_reads;
	else
		ring = (f->ring_writes && fd == f->direct_fd) || (f->ring_syncs && io->flags & BLK_FUA);
	if (!alone && ring && file_ring_start(f, io, fd))
		return false;
	io->err = file_transfer(f, fd, io, file_span_all(io));
	return true;
}

static bool submit_flush(struct blk_file *f, struct blk_io *io, bool alone)
{
	io->err = 0;
	if (!file_needs_flush(f))
		return true;
	if (!alone && f->ring_syncs && file_ring_start(f, io, f->fd))
		return false;
	io->err = file_sync(f);
	return true;
}

static bool file_submit(struct blk_dev *d, struct blk_io *io, bool alone)
{
	struct blk_file *f = blk_file_of(d);
	bool done = true;

	/* A write behind the end of a truncated image would make it grow again, with a hole that reads as zeroes. */
	if (io->op != BLK_READ && io->op != BLK_FLUSH && file_check(f, false)) {
		io->err = file_failed(f, io->op, io->sect << SECT_SHIFT, -EIO);
		return true;
	}
	switch (io->op) {
	case BLK_READ:
	case BLK_WRITE:
		done = submit_transfer(f, io, alone);
		break;
	case BLK_FLUSH:
		return submit_flush(f, io, alone);
	case BLK_DISCARD:
		io->err = file_discard(f, io);
		break;
	default:
		io->err = file_zero(f, io);
		break;
	}
	if (done)
		file_changed(f, io);
	return done;
}

static void file_reap(void)
{
	file_ring_reap();
}

static void file_close(struct blk_dev *d)
{
	struct blk_file *f = blk_file_of(d);

	if (f->direct_fd >= 0)
		close(f->direct_fd);
	if (f->fd >= 0) {
		file_unlock(f->fd);
		close(f->fd);
	}
	blk_dev_fini(d);
	free(f);
}

static int file_check_dev(struct blk_dev *d, bool thorough)
{
	return file_check(blk_file_of(d), thorough);
}

static const struct blk_ops file_ops = {
	.name = "file",
	.submit = file_submit,
	.reap = file_reap,
	.check = file_check_dev,
	.close = file_close,
};

/* -errno, logged. */
static int open_failed(const char *path, const char *what, int err)
{
	log_error("%s: %s%s", path, what, strerror(-err));
	return err;
}

/* Opens, or creates an empty file where create says so and there is none. */
static int open_path(const char *path, int flags, bool create, bool *created)
{
	int fd;

	*created = false;
	do {
		fd = open(path, flags);
		if (fd < 0 && errno == ENOENT && create) {
			fd = open(path, flags | O_CREAT | O_EXCL, 0666);
			*created = fd >= 0;
		}
	} while (fd < 0 && (errno == EINTR || (create && errno == EEXIST)));
	return fd < 0 ? -errno : fd;
}

/* Names what is no image, so that the message does not have to be guessed from an errno. */
static int check_kind(const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	log_error("%s: is %s, not an image or block device", path,
		  S_ISDIR(st->st_mode) ? "a directory" : "a special file");
	return -ENOTBLK;
}

/* Sets f->fd. The caller closes f, also after an error. */
static int open_image(struct blk_file *f, const char *path, const struct blk_open_opts *opts, struct stat *st,
		      bool *created)
{
	/* NONBLOCK: not to hang on a FIFO; it must not stay, io_uring heeds it on files too. */
	int flags = (opts->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int err;

	f->fd = open_path(path, flags, opts->create_bytes && !opts->read_only, created);
	if (f->fd == -EISDIR || f->fd == -ENXIO) {
		if (stat(path, st) < 0 || !check_kind(path, st))
			return open_failed(path, "", f->fd);
		return -ENOTBLK;
	}
	if (f->fd < 0)
		return open_failed(path, "", f->fd);
	if (fstat(f->fd, st) < 0)
		return open_failed(path, "", -errno);
	err = check_kind(path, st);
	if (err)
		return err;
	/* NOATIME is for an image's owner alone. */
	flags &= ~O_NONBLOCK;
	if (fcntl(f->fd, F_SETFL, flags | O_NOATIME) < 0 && fcntl(f->fd, F_SETFL, flags) < 0)
		return open_failed(path, "", -errno);
	f->is_block = S_ISBLK(st->st_mode);
	return 0;
}

/*
 * A block device that is mounted, swapped on or part of an array is held
 * exclusively. To write we hold it so ourselves; to read we only look, since
 * readers may be several.
 */
static int claim_block(struct blk_file *f, const char *path, bool read_only)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_EXCL);
	struct stat mine, other;

	if (fd < 0 && errno == EBUSY) {
		log_error("%s: in use (mounted, swapped on or part of another device)", path);
		return -EBUSY;
	}
	if (fd < 0)
		return open_failed(path, "", -errno);
	if (fstat(f->fd, &mine) < 0 || fstat(fd, &other) < 0 || mine.st_rdev != other.st_rdev) {
		close(fd);
		log_error("%s: is replaced by another device just now", path);
		return -EBUSY;
	}
	if (read_only) {
		close(fd);
	} else {
		close(f->fd);
		f->fd = fd;
	}
	return 0;
}

static int hold(struct blk_file *f, const char *path, const struct blk_open_opts *opts)
{
	int err = 0;

	if (opts->no_lock)
		return 0;
	if (f->is_block)
		err = claim_block(f, path, opts->read_only);
	return err ? err : file_lock(f->fd, path, !opts->read_only);
}

static int size_of(struct blk_file *f, const char *path, uint64_t *bytes)
{
	struct stat st;

	if (f->is_block)
		return ioctl(f->fd, BLKGETSIZE64, bytes) < 0 ? open_failed(path, "size: ", -errno) : 0;
	if (fstat(f->fd, &st) < 0)
		return open_failed(path, "", -errno);
	*bytes = (uint64_t)st.st_size;
	return 0;
}

/* What O_DIRECT wants; where nobody says, a page for both, or a device's logical sectors. */
static void ask_alignment(struct blk_file *f)
{
	int sector_bytes = 0;

	f->mem_align = f->off_align = PAGE_BYTES;
	if (f->is_block && !ioctl(f->fd, BLKSSZGET, &sector_bytes) && is_pow2((uint64_t)sector_bytes)) {
		f->off_align = MAX((uint32_t)sector_bytes, (uint32_t)SECT_BYTES);
		f->mem_align = f->off_align;
	}
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN &&
	    is_pow2(sx.stx_dio_mem_align) && is_pow2(sx.stx_dio_offset_align)) {
		f->mem_align = sx.stx_dio_mem_align;
		f->off_align = MAX(sx.stx_dio_offset_align, (uint32_t)SECT_BYTES);
	}
#endif
}

static void open_direct(struct blk_file *f, const char *path, bool read_only)
{
	char by_fd[64];

	/* Through /proc it is surely the file that we hold. */
	snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", f->fd);
	f->direct_fd = open(by_fd, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_DIRECT);
	if (f->direct_fd < 0)
		log_warn("%s: no direct I/O here (%s); it goes through the page cache", path, strerror(errno));
	else
		ask_alignment(f);
}

static void choose_ways(struct blk_file *f)
{
	struct statfs fs;
	bool in_memory = !f->is_block && !fstatfs(f->fd, &fs) &&
			 (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);

	f->ring_reads = f->ring_syncs = !in_memory;
	f->ring_writes = !in_memory && f->direct_fd >= 0;
}

/* The phases of opening; f is closed by the caller after an error. */
static int open_phases(struct blk_file *f, const char *path, const struct blk_open_opts *opts, bool *created)
{
	uint64_t bytes = 0;
	struct stat st;
	int err;

	err = open_image(f, path, opts, &st, created);
	if (err)
		return err;
	err = hold(f, path, opts);
	if (err)
		return err;
	if (*created && ftruncate(f->fd, (off_t)opts->create_bytes) < 0)
		return open_failed(path, "cannot be made that large: ", -errno);
	err = size_of(f, path, &bytes);
	if (err)
		return err;
	if (opts->direct)
		open_direct(f, path, opts->read_only);
	choose_ways(f);
	return blk_dev_init(&f->dev, &file_ops, path, bytes >> SECT_SHIFT, opts->read_only);
}

int blk_file_open(const char *path, const struct blk_open_opts *opts, struct blk_dev **out)
{
	struct blk_file *f;
	bool created = false;
	int err;

	*out = NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->fd = f->direct_fd = -1;
	atomic_init(&f->nr_changes, 1);
	err = open_phases(f, path, opts, &created);
	if (err) {
		if (created)
			unlink(path);
		file_close(&f->dev);
		return err;
	}
	*out = &f->dev;
	return 0;
}
