/* ops_attr.c: attributes of inodes and of the filesystem; the ioctls behind lsattr and chattr. */
#include <linux/fs.h>

#include "ops_int.h"

void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	struct fs_attr a;
	struct stat st;
	const int err = fs_getattr(d->fs, ops_ino(node), &a);

	if (err) {
		ops_reply_err(req, err);
		return;
	}
	ops_fill_stat(d, &a, &st);
	fuse_reply_attr(req, &st, OPS_CACHED_SECONDS);
}

/* What the request asks for, in the words of src/fs. */
static unsigned which_of(const struct daemon *d, int to_set)
{
	static const struct { int fuse; unsigned fs; } pairs[] = {
		{ FUSE_SET_ATTR_MODE, FS_SET_MODE }, { FUSE_SET_ATTR_UID, FS_SET_UID },
		{ FUSE_SET_ATTR_GID, FS_SET_GID }, { FUSE_SET_ATTR_SIZE, FS_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, FS_SET_ATIME }, { FUSE_SET_ATTR_MTIME, FS_SET_MTIME },
		{ FUSE_SET_ATTR_CTIME, FS_SET_CTIME }, { FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW },
	};
	const struct fuse_setattr_in *in = ops_raw_args();
	unsigned which = 0;

	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		if (to_set & pairs[i].fuse)
			which |= pairs[i].fs;
	if (which & FS_SET_ATIME_NOW)
		which &= ~(unsigned)FS_SET_ATIME;
	if (which & FS_SET_MTIME_NOW)
		which &= ~(unsigned)FS_SET_MTIME;
	if (d->kill_told ? in->valid & FATTR_KILL_SUIDGID : which & (FS_SET_UID | FS_SET_GID | FS_SET_SIZE))
		which |= FS_SET_KILL_PRIV;
	return which;
}

void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	const unsigned which = which_of(d, to_set);
	const struct fs_attr set = {
		.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid, .size_bytes = (uint64_t)st->st_size,
		.atime = st->st_atim, .mtime = st->st_mtim, .ctime = st->st_ctim,
	};
	struct fs_attr a;
	struct stat result;
	int err = 0;

	if (which & (FS_SET_UID | FS_SET_GID | FS_SET_SIZE))
		err = ops_drop_capability(d, ops_ino(node));
	if (!err)
		err = fs_setattr(d->fs, ops_ino(node), which, &set, &a);
	if (err) {
		ops_reply_err(req, err);
		return;
	}
	ops_fill_stat(d, &a, &result);
	fuse_reply_attr(req, &result, OPS_CACHED_SECONDS);
	if (!(which & ~(unsigned)(FS_SET_MTIME | FS_SET_CTIME)))
		ops_sync_times(d, a.ino);
}

void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct statvfs s;

	fs_statfs(ops_daemon(req)->fs, &s);
	fuse_reply_statfs(req, &s);
}

/* Inode flags as chattr(1) and as the calls common to all filesystems (FS_XFLAG_) have them. */
static const struct { uint32_t fl, xfl; } xflags[] = {
	{ FS_SYNC_FL, FS_XFLAG_SYNC }, { FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE },
	{ FS_APPEND_FL, FS_XFLAG_APPEND }, { FS_NODUMP_FL, FS_XFLAG_NODUMP },
	{ FS_NOATIME_FL, FS_XFLAG_NOATIME },
};

static void reply_flags(fuse_req_t req, unsigned cmd, const struct fs_attr *a)
{
	const uint32_t flags = a->flags;
	const long generation = (long)a->generation;
	struct fsxattr x = { 0 };

	if (cmd == FS_IOC_GETFLAGS) {
		fuse_reply_ioctl(req, 0, &flags, sizeof(flags));
		return;
	}
	if (cmd == FS_IOC_GETVERSION) {
		fuse_reply_ioctl(req, 0, &generation, sizeof(generation));
		return;
	}
	for (unsigned i = 0; i < ARRAY_LEN(xflags); i++)
		x.fsx_xflags |= flags & xflags[i].fl ? xflags[i].xfl : 0;
	fuse_reply_ioctl(req, 0, &x, sizeof(x));
}

/* The new flags of an inode that has old; -EOPNOTSUPP where FS_XFLAG_ has more than we do. */
static int flags_of(unsigned cmd, const void *in, uint32_t old, uint32_t *flags)
{
	struct fsxattr x;

	if (cmd == FS_IOC_SETFLAGS) {
		memcpy(flags, in, sizeof(*flags));
		return 0;
	}
	memcpy(&x, in, sizeof(x));
	*flags = old;
	for (unsigned i = 0; i < ARRAY_LEN(xflags); i++) {
		*flags = x.fsx_xflags & xflags[i].xfl ? *flags | xflags[i].fl : *flags & ~xflags[i].fl;
		x.fsx_xflags &= ~xflags[i].xfl;
	}
	return x.fsx_xflags || x.fsx_extsize || x.fsx_projid ? -EOPNOTSUPP : 0;
}

void op_ioctl(fuse_req_t req, fuse_ino_t node, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_len, size_t out_len)
{
	struct daemon *d = ops_daemon(req);
	const bool set = cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_FSSETXATTR;
	struct fs_attr a;
	int err;

	if (!set && cmd != FS_IOC_GETFLAGS && cmd != FS_IOC_FSGETXATTR && cmd != FS_IOC_GETVERSION)
		err = -ENOTTY;
	else if (set && in_len < (cmd == FS_IOC_SETFLAGS ? sizeof(uint32_t) : sizeof(struct fsxattr)))
		err = -EINVAL;
	else
		err = fs_getattr(d->fs, ops_ino(node), &a);
	if (!err && set)
		err = flags_of(cmd, in, a.flags, &a.flags);
	if (!err && set)
		err = fs_setattr(d->fs, ops_ino(node), FS_SET_FLAGS, &a, NULL);
	if (err)
		ops_reply_err(req, err);
	else if (set)
		fuse_reply_ioctl(req, 0, NULL, 0);
	else
		reply_flags(req, cmd, &a);
}
