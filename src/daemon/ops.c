/* ops.c: the table of operations, and what they share. */
#include "ops.h"

#include "ops_int.h"
#include "session.h"

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	session_init(userdata, conn);
}

/*
 * CREATE is left out: the kernel then sends MKNOD, and needs no RELEASE for the file. FLUSH is
 * left out: nothing happens at a close.
 */
const struct fuse_lowlevel_ops ops_fs = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsync,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.ioctl = op_ioctl,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
};

void ops_fill_stat(const struct daemon *d, const struct fs_attr *a, struct stat *st)
{
	const struct opts *o = &d->o;

	*st = (struct stat){
		.st_ino = a->ino,
		.st_mode = o->umask_set ? (a->mode & S_IFMT) | (0777 & ~o->umask) : a->mode,
		.st_nlink = a->nlink,
		.st_uid = o->uid_set ? o->uid : a->uid,
		.st_gid = o->gid_set ? o->gid : a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)a->size_bytes,
		.st_blocks = (blkcnt_t)a->nr_sects,
		.st_blksize = (blksize_t)d->block_bytes,
		.st_atim = a->atime,
		.st_mtim = a->mtime,
		.st_ctim = a->ctime,
	};
}

void ops_fill_entry(const struct daemon *d, const struct fs_attr *a, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){
		.ino = ops_node(a->ino),
		.generation = a->generation,
		.attr_timeout = OPS_CACHED_SECONDS,
		.entry_timeout = OPS_CACHED_SECONDS,
	};
	ops_fill_stat(d, a, &e->attr);
}

void ops_reply_entry(fuse_req_t req, int err, const struct fs_attr *a)
{
	struct daemon *d = ops_daemon(req);
	struct fuse_entry_param e;

	if (!err && a->ino == EXT_BAD_INO) {	/* its number would name FUSE's root */
		fs_forget(d->fs, a->ino, 1);
		err = -EUCLEAN;
	}
	if (err) {
		ops_reply_err(req, err);
		return;
	}
	ops_fill_entry(d, a, &e);
	if (fuse_reply_entry(req, &e))
		fs_forget(d->fs, a->ino, 1);
}

int ops_drop_capability(struct daemon *d, ino_nr_t ino)
{
	static const char name[] = "security.capability";
	int err;

	if (fs_getxattr(d->fs, ino, name, NULL, 0) < 0)
		return 0;
	err = fs_removexattr(d->fs, ino, name);
	return err == -ENODATA ? 0 : err;	/* another thread's write was first */
}
