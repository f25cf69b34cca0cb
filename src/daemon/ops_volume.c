/*
 * ops_volume.c: the volume as a file: a directory that holds one file, "volume", whose bytes are
 * the assembled device's.
 *
 * Reads and writes need not keep to sectors: the sectors at the edges of a write are read first,
 * with volume_lock held exclusively, so that two writes into one sector do not lose each other.
 */
#include <stdlib.h>
#include <unistd.h>

#include "ops_int.h"
#include "session.h"

enum { VOLUME_NODE = 2, SECT_MASK = SECT_BYTES - 1 };

static const char volume_name[] = "volume";

static uint64_t volume_bytes(const struct daemon *d)
{
	return blk_nr_sects(d->members.dev) << SECT_SHIFT;
}

static void volume_init(void *userdata, struct fuse_conn_info *conn)
{
	session_init(userdata, conn);
}

static int fill(const struct daemon *d, fuse_ino_t node, struct stat *st)
{
	const bool root = node == FUSE_ROOT_ID;

	if (!root && node != VOLUME_NODE)
		return -ENOENT;
	*st = (struct stat){
		.st_ino = node,
		.st_mode = root ? S_IFDIR | 0755 : S_IFREG | (d->read_only ? 0400 : 0600),
		.st_nlink = root ? 2 : 1,
		.st_uid = getuid(),
		.st_gid = getgid(),
		.st_size = root ? 0 : (off_t)volume_bytes(d),
		.st_blocks = root ? 0 : (blkcnt_t)blk_nr_sects(d->members.dev),
		.st_blksize = (blksize_t)d->block_bytes,
		.st_atim = d->start,
		.st_mtim = d->start,
		.st_ctim = d->start,
	};
	return 0;
}

static void volume_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param e = { .ino = VOLUME_NODE, .attr_timeout = OPS_CACHED_SECONDS,
		.entry_timeout = OPS_CACHED_SECONDS };

	if (dir != FUSE_ROOT_ID || strcmp(name, volume_name)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill(ops_daemon(req), VOLUME_NODE, &e.attr);
	fuse_reply_entry(req, &e);
}

static void volume_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct stat st;
	const int err = fill(ops_daemon(req), node, &st);

	if (err)
		ops_reply_err(req, err);
	else
		fuse_reply_attr(req, &st, OPS_CACHED_SECONDS);
}

/* Times and owner are nobody's concern here; the size is the device's. */
static void volume_setattr(fuse_req_t req, fuse_ino_t node, struct stat *set, int to_set, struct fuse_file_info *fi)
{
	if (to_set & FUSE_SET_ATTR_SIZE && (uint64_t)set->st_size != volume_bytes(ops_daemon(req)))
		fuse_reply_err(req, EPERM);
	else
		volume_getattr(req, node, fi);
}

static void volume_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	static const struct {
		const char *name;
		fuse_ino_t node;
		mode_t type;
	} entries[] = {
		{ ".", FUSE_ROOT_ID, S_IFDIR }, { "..", FUSE_ROOT_ID, S_IFDIR }, { volume_name, VOLUME_NODE, S_IFREG },
	};
	char buf[512];
	size_t used = 0;

	for (unsigned i = (unsigned)MIN(off, (off_t)ARRAY_LEN(entries)); i < ARRAY_LEN(entries); i++) {
		const struct stat st = { .st_ino = entries[i].node, .st_mode = entries[i].type };
		const size_t cap = MIN(size, sizeof(buf)) - used;
		const size_t len = fuse_add_direntry(req, buf + used, cap, entries[i].name, &st, (off_t)i + 1);

		if (len > cap)
			break;
		used += len;
	}
	fuse_reply_buf(req, buf, used);
}

static void volume_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);

	if (node != VOLUME_NODE) {
		fuse_reply_err(req, EISDIR);
	} else if (d->read_only && (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
	} else {
		fi->keep_cache = 1;
		fuse_reply_open(req, fi);
	}
}

/* The bytes that are there of [off, off + *len). */
static void clip(const struct daemon *d, uint64_t off, size_t *len)
{
	const uint64_t size = volume_bytes(d);

	*len = off >= size ? 0 : (size_t)MIN((uint64_t)*len, size - off);
}

static void *sector_buffer(size_t len_bytes)
{
	return aligned_alloc(4096, ALIGN_UP(len_bytes, 4096));
}

static void volume_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off_in, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	const uint64_t off = (uint64_t)off_in, from = off & ~(uint64_t)SECT_MASK;
	size_t len = size;
	uint8_t *buf;
	int err;

	clip(d, off, &len);
	if (len == 0) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	size = (size_t)(ALIGN_UP(off + len, SECT_BYTES) - from);
	buf = sector_buffer(size);
	err = buf ? blk_read(d->members.dev, from >> SECT_SHIFT, buf, size) : -ENOMEM;
	if (err)
		ops_reply_err(req, err);
	else
		fuse_reply_buf(req, (char *)buf + (off - from), len);
	free(buf);
}

/* What shares its first or last sector with bytes that stay: both sectors are read, then all is written. */
static int write_edges(struct daemon *d, uint64_t off, const char *data, size_t len)
{
	const uint64_t from = off & ~(uint64_t)SECT_MASK, to = ALIGN_UP(off + len, SECT_BYTES);
	const size_t size = (size_t)(to - from);
	uint8_t *buf = sector_buffer(size);
	int err;

	if (!buf)
		return -ENOMEM;
	os_rwlock_wrlock(&d->volume_lock);
	err = blk_read(d->members.dev, from >> SECT_SHIFT, buf, SECT_BYTES);
	if (!err && size > SECT_BYTES)
		err = blk_read(d->members.dev, (to >> SECT_SHIFT) - 1, buf + size - SECT_BYTES, SECT_BYTES);
	if (!err) {
		memcpy(buf + (off - from), data, len);
		err = blk_write(d->members.dev, from >> SECT_SHIFT, buf, size);
	}
	os_rwlock_unlock(&d->volume_lock);
	free(buf);
	return err;
}

static void volume_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off_in,
			 struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	const uint64_t off = (uint64_t)off_in;
	size_t len = size;
	int err;

	clip(d, off, &len);
	if (len == 0) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	if ((off | len) & SECT_MASK) {
		err = write_edges(d, off, data, len);
	} else {
		os_rwlock_rdlock(&d->volume_lock);
		err = blk_write(d->members.dev, off >> SECT_SHIFT, data, len);
		os_rwlock_unlock(&d->volume_lock);
	}
	if (err)
		ops_reply_err(req, err);
	else
		fuse_reply_write(req, len);
}

static void volume_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);

	ops_reply_err(req, d->read_only ? 0 : blk_flush(d->members.dev));
}

/* mke2fs and blkdiscard punch holes into what they do not need. */
static void volume_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	const bool zeroes = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
			    mode == FALLOC_FL_ZERO_RANGE || mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	int err;

	if (!zeroes || ((uint64_t)off | (uint64_t)len) & SECT_MASK || (uint64_t)off + (uint64_t)len > volume_bytes(d)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	os_rwlock_rdlock(&d->volume_lock);
	err = blk_zero(d->members.dev, (uint64_t)off >> SECT_SHIFT, (uint64_t)len >> SECT_SHIFT);
	os_rwlock_unlock(&d->volume_lock);
	ops_reply_err(req, err);
}

static void volume_statfs(fuse_req_t req, fuse_ino_t node)
{
	const struct daemon *d = ops_daemon(req);
	const struct statvfs st = { .f_bsize = SECT_BYTES, .f_frsize = SECT_BYTES, .f_blocks = blk_nr_sects(d->members.dev),
		.f_files = 2, .f_namemax = sizeof(volume_name) - 1 };

	fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops ops_volume = {
	.init = volume_init,
	.lookup = volume_lookup,
	.getattr = volume_getattr,
	.setattr = volume_setattr,
	.readdir = volume_readdir,
	.open = volume_open,
	.read = volume_read,
	.write = volume_write,
	.fsync = volume_fsync,
	.fallocate = volume_fallocate,
	.statfs = volume_statfs,
};
