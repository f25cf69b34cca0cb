/*
 * fs_files.h: files in a test filesystem, in words of one line. Everything that goes wrong fails the test.
 */
#ifndef OSFS_TEST_FS_FILES_H
#define OSFS_TEST_FS_FILES_H

#include "fs/ext_disk.h"
#include "fs_fixture.h"

/* A new regular file in the root directory; its inode stays referenced. */
static inline ino_nr_t file_new(struct fsx *x, const char *name)
{
	const struct fs_cred root = {0};
	struct fs_attr a;

	ck_assert_int_eq(fs_mknod(x->fs, &root, EXT_ROOT_INO, fs_name_of(name), S_IFREG | 0644, 0, &a), 0);
	return a.ino;
}

static inline ino_nr_t file_find(struct fsx *x, const char *name)
{
	struct fs_attr a;

	ck_assert_int_eq(fs_lookup(x->fs, EXT_ROOT_INO, fs_name_of(name), &a), 0);
	return a.ino;
}

static inline void file_write(struct fsx *x, ino_nr_t ino, uint64_t off, const void *buf, size_t len)
{
	size_t written;

	ck_assert_int_eq(fs_write(x->fs, ino, off, buf, len, 0, &written), 0);
	ck_assert_uint_eq(written, len);
}

/* Reads up to len bytes; what came. */
static inline size_t file_read(struct fsx *x, ino_nr_t ino, uint64_t off, void *buf, size_t len)
{
	struct fs_read_result r;
	size_t done = 0;

	ck_assert_int_eq(fs_read(x->fs, ino, off, len, &r), 0);
	for (unsigned i = 0; i < r.nr_iov; i++) {
		memcpy((uint8_t *)buf + done, r.iov[i].iov_base, r.iov[i].iov_len);
		done += r.iov[i].iov_len;
	}
	ck_assert_uint_eq(done, r.len_bytes);
	fs_read_done(x->fs, &r);
	return done;
}

static inline int file_read_err(struct fsx *x, ino_nr_t ino, uint64_t off, size_t len)
{
	struct fs_read_result r;
	const int err = fs_read(x->fs, ino, off, len, &r);

	if (!err)
		fs_read_done(x->fs, &r);
	return err;
}

static inline struct fs_attr file_attr(struct fsx *x, ino_nr_t ino)
{
	struct fs_attr a;

	ck_assert_int_eq(fs_getattr(x->fs, ino, &a), 0);
	return a;
}

static inline int file_truncate(struct fsx *x, ino_nr_t ino, uint64_t size)
{
	const struct fs_attr set = { .size_bytes = size };

	return fs_setattr(x->fs, ino, FS_SET_SIZE, &set, NULL);
}

static inline uint64_t file_seek(struct fsx *x, ino_nr_t ino, uint64_t off, int whence)
{
	uint64_t at;

	ck_assert_int_eq(fs_seek(x->fs, ino, off, whence, &at), 0);
	return at;
}

static inline uint64_t nr_free_blocks(struct fsx *x)
{
	struct statvfs st;

	fs_statfs(x->fs, &st);
	return st.f_bfree;
}

#endif
