/*
 * blk_file_io.c: transfers to an image by plain system calls, on the calling thread.
 *
 * The whole of a request or an error (B1): short transfers go on where they
 * stopped, iovecs of more than IOV_MAX entries in pieces. A read that meets the
 * end of a file is -EIO: somebody has truncated the image. Memory is never mapped,
 * so a truncated image costs an error and no signal.
 */
#include "config.h"
#include "blk/blk_file_int.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum {
	BOUNCE_BYTES = 1 << 20,
	MAX_AGAIN = 1000,	/* times 1 ms; a blocking descriptor says EAGAIN only when memory is short */
};

/* What block devices call a sector, a target or a path that fails (block/blk-core.c of Linux) is all -EIO to who asked. */
static int as_io_error(int err)
{
	switch (-err) {
	case ENODATA: case EREMOTEIO: case ENOLINK: case ETIMEDOUT: case EILSEQ: case EBADE: case ENODEV: case ENXIO:
		return -EIO;
	default:
		return err;
	}
}

int file_failed(struct blk_file *f, enum blk_op op, uint64_t at, int err)
{
	unsigned nr = atomic_fetch_add(&f->nr_failed, 1) + 1;
	struct stat st;

	if (!is_pow2(nr))
		return as_io_error(err);
	if (err == -EIO && op != BLK_FLUSH && !f->is_block && !fstat(f->fd, &st) &&
	    (uint64_t)st.st_size >> SECT_SHIFT < f->dev.nr_sects)
		log_error("%s: %s at sector %" PRIu64 ": the image ends at sector %" PRIu64 " of %" PRIu64
			  ", it has been truncated", f->dev.name, blk_op_name(op), at >> SECT_SHIFT,
			  (uint64_t)st.st_size >> SECT_SHIFT, f->dev.nr_sects);
	else if (op == BLK_FLUSH)
		log_error("%s: flush: %s", f->dev.name, strerror(-err));
	else
		log_error("%s: %s at sector %" PRIu64 ": %s", f->dev.name, blk_op_name(op), at >> SECT_SHIFT,
			  strerror(-err));
	return as_io_error(err);
}

void file_span_advance(struct file_span *s, const struct iovec *iov, uint64_t n)
{
	s->pos += n;
	n += s->skip;
	while (s->idx < s->end && n >= iov[s->idx].iov_len)
		n -= iov[s->idx++].iov_len;
	s->skip = n;
}

int file_fd_for(const struct blk_file *f, const struct blk_io *io)
{
	uintptr_t mem = 0;

	if (f->direct_fd < 0)
		return f->fd;
	if (((io->sect | io->nr_sects) << SECT_SHIFT) & (f->off_align - 1))
		return f->fd;	/* the kernel keeps its page cache and direct transfers coherent */
	for (unsigned i = 0; i < io->nr_iov; i++) {
		mem |= (uintptr_t)io->iov[i].iov_base & (f->mem_align - 1);
		mem |= io->iov[i].iov_len & (f->off_align - 1);
	}
	return mem ? -1 : f->direct_fd;
}

/* One call for the head of the span; bytes moved or -errno. */
static ssize_t transfer_some(int fd, const struct blk_io *io, const struct file_span *s, int rw_flags)
{
	const struct iovec *iov = &io->iov[s->idx];
	unsigned nr = MIN(s->end - s->idx, (unsigned)IOV_MAX);
	struct iovec head;
	ssize_t n;

	if (s->skip) {
		head.iov_base = (char *)iov->iov_base + s->skip;
		head.iov_len = iov->iov_len - s->skip;
		iov = &head;
		nr = 1;
	}
	if (io->op == BLK_READ)
		n = nr == 1 ? pread(fd, iov->iov_base, iov->iov_len, (off_t)s->pos) :
			      preadv(fd, iov, (int)nr, (off_t)s->pos);
	else if (rw_flags)
		n = pwritev2(fd, iov, (int)nr, (off_t)s->pos, rw_flags);
	else
		n = nr == 1 ? pwrite(fd, iov->iov_base, iov->iov_len, (off_t)s->pos) :
			      pwritev(fd, iov, (int)nr, (off_t)s->pos);
	return n < 0 ? -errno : n;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

int file_transfer(struct blk_file *f, int fd, const struct blk_io *io, struct file_span s)
{
	int rw_flags = io->op == BLK_WRITE && io->flags & BLK_FUA ? RWF_DSYNC : 0;
	bool sync_after = false;
	unsigned nr_again = 0;

	while (s.idx < s.end) {
		ssize_t n;

		if (io->iov[s.idx].iov_len == s.skip) {		/* empty entry */
			s.idx++;
			s.skip = 0;
			continue;
		}
		n = transfer_some(fd, io, &s, rw_flags);
		if (n > 0) {
			file_span_advance(&s, io->iov, (uint64_t)n);
			if (s.idx < s.end && fd == f->direct_fd)
				fd = f->fd;		/* the rest may be aligned to nothing */
		} else if (n == -EINTR) {
			continue;
		} else if (n == -EAGAIN && nr_again++ < MAX_AGAIN) {
			nap();
		} else if (n == -EINVAL && fd == f->direct_fd) {
			fd = f->fd;			/* stricter than it told us */
		} else if (n == -EOPNOTSUPP && rw_flags) {
			rw_flags = 0;
			sync_after = true;
		} else {
			return file_failed(f, io->op, s.pos, n && n != -EAGAIN ? (int)n : -EIO);
		}
	}
	return sync_after ? file_sync(f) : 0;
}

/* The next len bytes of the iovec from or to buf. */
static void span_copy(struct file_span *s, const struct iovec *iov, char *buf, size_t len, bool to_buf)
{
	while (len) {
		char *mem = (char *)iov[s->idx].iov_base + s->skip;
		size_t n = MIN(len, iov[s->idx].iov_len - s->skip);

		if (n && to_buf)
			memcpy(buf, mem, n);
		else if (n)
			memcpy(mem, buf, n);
		buf += n;
		len -= n;
		file_span_advance(s, iov, n);
	}
}

int file_bounce(struct blk_file *f, const struct blk_io *io)
{
	uint64_t left = io->nr_sects << SECT_SHIFT;
	struct file_span s = file_span_all(io);
	size_t size = (size_t)MIN(left, (uint64_t)BOUNCE_BYTES);
	void *buf;
	int err = 0;

	if (posix_memalign(&buf, MAX((size_t)f->mem_align, sizeof(void *)), size))
		return -ENOMEM;
	for (size_t n; left && !err; left -= n) {
		struct iovec iov = { .iov_base = buf };
		struct blk_io part = *io;
		uint64_t pos = s.pos;

		n = (size_t)MIN(left, (uint64_t)size);
		iov.iov_len = n;
		part.iov = &iov;
		part.nr_iov = 1;
		if (io->op == BLK_WRITE)
			span_copy(&s, io->iov, buf, n, true);
		err = file_transfer(f, f->direct_fd, &part, (struct file_span){ .end = 1, .pos = pos });
		if (io->op == BLK_READ && !err)
			span_copy(&s, io->iov, buf, n, false);
	}
	free(buf);
	return err;
}

uint64_t file_changes(const struct blk_file *f)
{
	return atomic_load(&f->nr_changes);
}

void file_flushed(struct blk_file *f, uint64_t nr_changes)
{
	uint_fast64_t old = atomic_load(&f->nr_flushed);

	while (old < nr_changes && !atomic_compare_exchange_weak(&f->nr_flushed, &old, nr_changes))
		;
}

int file_sync(struct blk_file *f)
{
	const uint64_t nr_changes = file_changes(f);
	int ret;

	do
		ret = fdatasync(f->fd);
	while (ret < 0 && errno == EINTR);
	if (ret < 0 && errno != EINVAL && errno != EROFS)	/* those two: nothing there to sync */
		return file_failed(f, BLK_FLUSH, 0, -errno);
	file_flushed(f, nr_changes);
	return 0;
}

/* fallocate until it is not interrupted. */
static int fallocate_range(struct blk_file *f, int mode, const struct blk_io *io)
{
	int ret;

	do
		ret = fallocate(f->fd, mode, (off_t)(io->sect << SECT_SHIFT), (off_t)(io->nr_sects << SECT_SHIFT));
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int ioctl_range(struct blk_file *f, unsigned long request, const struct blk_io *io)
{
	uint64_t range[2] = { io->sect << SECT_SHIFT, io->nr_sects << SECT_SHIFT };

	return ioctl(f->fd, request, range) < 0 ? -errno : 0;
}

static bool is_unsupported(int err)
{
	return err == -EOPNOTSUPP || err == -ENOSYS || err == -ENOTTY || err == -EINVAL || err == -EPERM;
}

int file_discard(struct blk_file *f, const struct blk_io *io)
{
	int err = f->is_block ? ioctl_range(f, BLKDISCARD, io) :
				fallocate_range(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, io);

	if (!err)
		return 0;
	return is_unsupported(err) ? -EOPNOTSUPP : file_failed(f, BLK_DISCARD, io->sect << SECT_SHIFT, err);
}

static int write_zeroes(struct blk_file *f, const struct blk_io *io)
{
	static const uint8_t zeroes[16384];
	uint64_t left = io->nr_sects << SECT_SHIFT;
	uint64_t pos = io->sect << SECT_SHIFT;
	struct iovec iov[64];

	while (left) {
		struct blk_io part = { .dev = io->dev, .op = BLK_WRITE, .iov = iov };
		uint64_t len = 0;
		int err;

		while (left > len && part.nr_iov < ARRAY_LEN(iov)) {
			size_t n = (size_t)MIN(left - len, (uint64_t)sizeof(zeroes));

			iov[part.nr_iov++] = (struct iovec){ (void *)(uintptr_t)zeroes, n };
			len += n;
		}
		err = file_transfer(f, f->fd, &part, (struct file_span){ .end = part.nr_iov, .pos = pos });
		if (err)
			return err;
		left -= len;
		pos += len;
	}
	return 0;
}

static int zero_image(struct blk_file *f, const struct blk_io *io)
{
	int err = fallocate_range(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, io);

	return is_unsupported(err) ? fallocate_range(f, FALLOC_FL_ZERO_RANGE, io) : err;
}

int file_zero(struct blk_file *f, const struct blk_io *io)
{
	int err = f->is_block ? ioctl_range(f, BLKZEROOUT, io) : zero_image(f, io);

	if (is_unsupported(err))
		err = write_zeroes(f, io);
	else if (err)
		err = file_failed(f, BLK_ZERO, io->sect << SECT_SHIFT, err);
	if (!err && io->flags & BLK_FUA)
		err = file_sync(f);
	return err;
}

/*
 * Only for what is needed: whoever asks for a file's times makes the kernel give the next change of it
 * a time of its own, that write a new inode, and everything else in the system newer times, too.
 */
int file_check(struct blk_file *f, bool thorough)
{
	struct statx sx;

	if (f->is_block)
		return 0;
	if (statx(f->fd, "", AT_EMPTY_PATH, thorough ? STATX_SIZE | STATX_NLINK | STATX_MODE : STATX_SIZE, &sx) < 0)
		return -errno;
	if (sx.stx_size >> SECT_SHIFT < f->dev.nr_sects)
		return -ENODATA;
	if (thorough && !sx.stx_nlink)
		return -ENOENT;
	return thorough && !(sx.stx_mode & 0444) ? -EACCES : 0;
}
