/* ops_int.h: what the files of operations share. */
#ifndef OSFS_DAEMON_OPS_INT_H
#define OSFS_DAEMON_OPS_INT_H

#include <linux/fuse.h>

#include "loop.h"
#include "ops.h"

/* Only the kernel's own requests change what it has cached. */
#define OPS_CACHED_SECONDS (30 * 86400.0)

/* FUSE's root is node 1, ext's is inode 2; ext's inode 1 (bad blocks) has no name anywhere. */
enum { EXT_BAD_INO = 1, EXT_ROOT_INO_NR = 2 };

static inline ino_nr_t ops_ino(fuse_ino_t node)
{
	return node == FUSE_ROOT_ID ? EXT_ROOT_INO_NR : (ino_nr_t)node;
}

static inline fuse_ino_t ops_node(ino_nr_t ino)
{
	return ino == EXT_ROOT_INO_NR ? FUSE_ROOT_ID : ino;
}

static inline struct daemon *ops_daemon(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* O3. err is 0 or -errno. */
static inline void ops_reply_err(fuse_req_t req, int err)
{
	fuse_reply_err(req, -err);
}

/* The arguments of the request as the kernel wrote them, for what libfuse does not pass on. */
static inline const void *ops_raw_args(void)
{
	return loop_request() + 1;
}

void ops_fill_stat(const struct daemon *d, const struct fs_attr *a, struct stat *st);
void ops_fill_entry(const struct daemon *d, const struct fs_attr *a, struct fuse_entry_param *e);
/* Ends a request that makes or finds a name; on err 0 *a carries one reference (O2). */
void ops_reply_entry(fuse_req_t req, int err, const struct fs_attr *a);
/* After a write: set-id bits are src/fs' part, the capabilities of an executable ours. */
int ops_drop_capability(struct daemon *d, ino_nr_t ino);

/*
 * ops_sync.c: told after the replies to a WRITE and to a SETATTR of nothing but the times that the kernel
 * keeps itself. Plans work for when the worker is idle.
 */
void ops_sync_wrote(struct daemon *d, ino_nr_t ino, size_t len_bytes);
void ops_sync_times(struct daemon *d, ino_nr_t ino);

/* ops_attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int to_set, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t node);
void op_ioctl(fuse_req_t req, fuse_ino_t node, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_len, size_t out_len);
/* ops_name.c */
void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t nr);
void op_forget_multi(fuse_req_t req, size_t nr, struct fuse_forget_data *f);
void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name);
void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t dir, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir, const char *new_name,
	       unsigned flags);
void op_readlink(fuse_req_t req, fuse_ino_t node);
/* ops_dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi);
/* ops_file.c */
void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in,
			fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags);
/* ops_sync.c */
void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi);
/* ops_xattr.c */
void op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name);

#endif
