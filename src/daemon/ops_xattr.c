/* ops_xattr.c: extended attributes. */
#include <stdlib.h>
#include <linux/limits.h>

#include "ops_int.h"

void op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags)
{
	ops_reply_err(req, fs_setxattr(ops_daemon(req)->fs, ops_ino(node), name, value, size, flags));
}

void op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	ops_reply_err(req, fs_removexattr(ops_daemon(req)->fs, ops_ino(node), name));
}

/* A value (name given) or the list of names. size 0 asks for the length. */
static void reply_value(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	struct fs *fs = ops_daemon(req)->fs;
	char small[256], *buf = small;
	int len;

	size = MIN(size, (size_t)XATTR_SIZE_MAX);
	if (size > sizeof(small)) {
		buf = malloc(size);
		if (!buf) {
			fuse_reply_err(req, ENOMEM);
			return;
		}
	}
	len = name ? fs_getxattr(fs, ops_ino(node), name, buf, size) : fs_listxattr(fs, ops_ino(node), buf, size);
	if (len < 0)
		ops_reply_err(req, len);
	else if (!size)
		fuse_reply_xattr(req, (size_t)len);
	else
		fuse_reply_buf(req, buf, (size_t)len);
	if (buf != small)
		free(buf);
}

void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	reply_value(req, node, name, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
	reply_value(req, node, NULL, size);
}
