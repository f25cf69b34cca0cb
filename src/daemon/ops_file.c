/* ops_file.c: contents of files. */
#include "ops_int.h"

enum { COPY_STEP_BYTES = 1 << 20, COPY_MAX_BYTES = 16 << 20 };

void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	if (ops_daemon(req)->no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		fs_release(ops_daemon(req)->fs, ops_ino(node));
	fuse_reply_err(req, 0);
}

/* The reply goes out of the cache's frames, which stay pinned until it has. */
void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fs *fs = ops_daemon(req)->fs;
	struct fs_read_result r;
	const int err = fs_read(fs, ops_ino(node), (uint64_t)off, size, &r);

	if (err) {
		ops_reply_err(req, err);
		return;
	}
	fuse_reply_iov(req, r.iov, (int)r.nr_iov);
	fs_read_done(fs, &r);
}

static unsigned write_flags(const struct daemon *d)
{
	const struct fuse_write_in *in = ops_raw_args();
	unsigned flags = 0;

	if (!d->kill_told || in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		flags |= FS_WRITE_KILL_PRIV;
	/* What the kernel gathered was written earlier: it has the times, and sends them when they changed. */
	if (d->writeback && in->write_flags & FUSE_WRITE_CACHE)
		flags |= FS_WRITE_KEEP_TIMES;
	return flags;
}

void op_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	size_t written = 0;
	int err = ops_drop_capability(d, ops_ino(node));

	if (!err)
		err = fs_write(d->fs, ops_ino(node), (uint64_t)off, buf, size, write_flags(d), &written);
	if (err)
		ops_reply_err(req, err);
	else
		fuse_reply_write(req, written);
	if (!err)
		ops_sync_wrote(d, ops_ino(node), size);
}

void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	int err = ops_drop_capability(d, ops_ino(node));

	if (!err)
		err = fs_fallocate(d->fs, ops_ino(node), mode, (uint64_t)off, (uint64_t)len);
	ops_reply_err(req, err);
}

void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	uint64_t at;
	int err;

	/* What the kernel holds back would look like a hole; without us all is data to it. */
	if (d->writeback) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	err = fs_seek(d->fs, ops_ino(node), (uint64_t)off, whence, &at);
	if (err)
		ops_reply_err(req, err);
	else
		fuse_reply_lseek(req, (off_t)at);
}

/* One read out of the cache written into the cache; *done is what was copied. */
static int copy_step(struct fs *fs, ino_nr_t in, uint64_t off_in, ino_nr_t out, uint64_t off_out, size_t len,
		     size_t *done)
{
	struct fs_read_result r;
	int err = fs_read(fs, in, off_in, len, &r);

	*done = 0;
	if (err)
		return err;
	for (unsigned i = 0; i < r.nr_iov && !err; i++) {
		size_t written = 0;

		err = fs_write(fs, out, off_out + *done, r.iov[i].iov_base, r.iov[i].iov_len,
			       FS_WRITE_KILL_PRIV, &written);
		*done += written;
		if (written < r.iov[i].iov_len)
			break;
	}
	fs_read_done(fs, &r);
	return *done ? 0 : err;
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in,
			fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct daemon *d = ops_daemon(req);
	size_t done = 0, step;
	int err = ops_drop_capability(d, ops_ino(out));

	len = MIN(len, (size_t)COPY_MAX_BYTES);
	while (!err && done < len) {
		const size_t want = MIN(len - done, (size_t)COPY_STEP_BYTES);

		err = copy_step(d->fs, ops_ino(in), (uint64_t)off_in + done, ops_ino(out),
				(uint64_t)off_out + done, want, &step);
		done += step;
		if (step < want)
			break;
	}
	if (err && !done)
		ops_reply_err(req, err);
	else
		fuse_reply_write(req, done);
}
