/* ops_name.c: names: looking up, making, removing, renaming, forgetting. */
#include "ops_int.h"

#include <limits.h>

void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct daemon *d = ops_daemon(req);
	struct fs_attr a;
	int err;

	if (!strcmp(name, "."))		/* a file handle being opened: any kind of inode */
		err = fs_getattr_ref(d->fs, ops_ino(dir), &a);
	else
		err = fs_lookup(d->fs, ops_ino(dir), fs_name_of(name), &a);
	if (err == -ENOENT) {
		struct fuse_entry_param none = { .entry_timeout = OPS_CACHED_SECONDS };

		fuse_reply_entry(req, &none);
		return;
	}
	ops_reply_entry(req, err, &a);
}

void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t nr)
{
	fs_forget(ops_daemon(req)->fs, ops_ino(node), nr);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t nr, struct fuse_forget_data *f)
{
	struct daemon *d = ops_daemon(req);

	for (size_t i = 0; i < nr; i++)
		fs_forget(d->fs, ops_ino(f[i].ino), f[i].nlookup);
	fuse_reply_none(req);
}

static struct fs_cred cred_of(fuse_req_t req)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	return (struct fs_cred){ c->uid, c->gid };
}

void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	const struct fs_cred cred = cred_of(req);
	struct fs_attr a;
	const int err = fs_mknod(ops_daemon(req)->fs, &cred, ops_ino(dir), fs_name_of(name), mode, rdev, &a);

	ops_reply_entry(req, err, &a);
}

void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	const struct fs_cred cred = cred_of(req);
	struct fs_attr a;
	const int err = fs_mkdir(ops_daemon(req)->fs, &cred, ops_ino(dir), fs_name_of(name),
				 S_IFDIR | (mode & 07777), &a);

	ops_reply_entry(req, err, &a);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	const struct fs_cred cred = cred_of(req);
	struct fs_attr a;
	const int err = fs_symlink(ops_daemon(req)->fs, &cred, ops_ino(dir), fs_name_of(name),
				   fs_name_of(target), &a);

	ops_reply_entry(req, err, &a);
}

void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t dir, const char *name)
{
	struct fs_attr a;
	const int err = fs_link(ops_daemon(req)->fs, ops_ino(node), ops_ino(dir), fs_name_of(name), &a);

	ops_reply_entry(req, err, &a);
}

void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	ops_reply_err(req, fs_unlink(ops_daemon(req)->fs, ops_ino(dir), fs_name_of(name)));
}

void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	ops_reply_err(req, fs_rmdir(ops_daemon(req)->fs, ops_ino(dir), fs_name_of(name)));
}

void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir, const char *new_name,
	       unsigned flags)
{
	int err = -EINVAL;	/* RENAME_WHITEOUT and what may come */

	if (!(flags & ~(unsigned)(FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE)))
		err = fs_rename(ops_daemon(req)->fs, ops_ino(dir), fs_name_of(name), ops_ino(new_dir),
				fs_name_of(new_name), flags);
	ops_reply_err(req, err);
}

void op_readlink(fuse_req_t req, fuse_ino_t node)
{
	char target[PATH_MAX + 1];
	const int len = fs_readlink(ops_daemon(req)->fs, ops_ino(node), target, PATH_MAX);

	if (len < 0) {
		ops_reply_err(req, len);
		return;
	}
	target[len] = '\0';
	fuse_reply_readlink(req, target);
}
