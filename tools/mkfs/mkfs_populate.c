/*
 * mkfs_populate.c: fills the new filesystem with the tree below a directory, through
 * the same calls that the daemon makes. Kept: types, modes, owners, times, hard links,
 * holes, extended attributes, device numbers. Not followed: symbolic links. Not kept:
 * inode numbers and change times.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/log.h"
#include "fs/fs.h"
#include "mkfs_int.h"

enum { COPY_BYTES = 1 << 20, CACHE_BYTES = 64 << 20, LINK_BUCKETS = 4096 };

/* A file with several names: where its first name put it. */
struct linked {
	struct linked *next;
	dev_t dev;
	ino_t host_ino;
	ino_nr_t ino;
};

struct filler {
	struct fs *fs;
	char path[PATH_MAX];	/* of the host's file in hand */
	size_t path_len;
	uint8_t *buf;		/* COPY_BYTES */
	struct linked *links[LINK_BUCKETS];
	uint64_t nr_files;
	bool progress;
};

static int fail(const struct filler *f, const char *what, int err)
{
	log_error("%s: %s: %s", f->path, what, strerror(-err));
	return err;
}

static struct linked **link_bucket(struct filler *f, const struct stat *st)
{
	return &f->links[(st->st_ino ^ st->st_dev * 31) % LINK_BUCKETS];
}

static ino_nr_t link_find(struct filler *f, const struct stat *st)
{
	for (const struct linked *l = *link_bucket(f, st); l; l = l->next)
		if (l->dev == st->st_dev && l->host_ino == st->st_ino)
			return l->ino;
	return 0;
}

static int link_remember(struct filler *f, const struct stat *st, ino_nr_t ino)
{
	struct linked **bucket = link_bucket(f, st), *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct linked){ *bucket, st->st_dev, st->st_ino, ino };
	*bucket = l;
	return 0;
}

static void links_free(struct filler *f)
{
	for (unsigned i = 0; i < LINK_BUCKETS; i++)
		while (f->links[i]) {
			struct linked *l = f->links[i];

			f->links[i] = l->next;
			free(l);
		}
}

static int copy_range(struct filler *f, int fd, ino_nr_t ino, uint64_t off, uint64_t end)
{
	while (off < end) {
		const ssize_t got = pread(fd, f->buf, (size_t)MIN((uint64_t)COPY_BYTES, end - off), (off_t)off);
		size_t written;
		int err;

		if (got < 0)
			return fail(f, "read", -errno);
		if (got == 0)
			return 0;	/* it shrank while we looked */
		err = fs_write(f->fs, ino, off, f->buf, (size_t)got, 0, &written);
		if (!err && written < (size_t)got)
			err = -ENOSPC;
		if (err)
			return fail(f, "cannot copy its contents", err);
		off += (uint64_t)got;
	}
	return 0;
}

/* Data where the host has data; the rest stays holes. */
static int copy_contents(struct filler *f, ino_nr_t ino, const struct stat *st)
{
	const struct fs_attr size = { .size_bytes = (uint64_t)st->st_size };
	const int fd = open(f->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	off_t data = 0, hole;
	int err = 0;

	if (fd < 0)
		return fail(f, "open", -errno);
	while (!err && data < st->st_size) {
		data = lseek(fd, data, SEEK_DATA);
		if (data < 0)
			break;	/* ENXIO: the rest is a hole */
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			hole = st->st_size;
		err = copy_range(f, fd, ino, (uint64_t)data, (uint64_t)hole);
		data = hole;
	}
	close(fd);
	if (!err && st->st_size > 0) {
		err = fs_setattr(f->fs, ino, FS_SET_SIZE, &size, NULL);
		if (err)
			fail(f, "cannot set its size", err);
	}
	fs_release(f->fs, ino);
	return err;
}

static int copy_xattrs(struct filler *f, ino_nr_t ino)
{
	char names[65536], value[65536];
	const ssize_t len = llistxattr(f->path, names, sizeof(names));

	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
		const char *name = names + at;
		const ssize_t n = lgetxattr(f->path, name, value, sizeof(value));
		int err;

		if (n < 0)
			continue;
		err = fs_setxattr(f->fs, ino, name, value, (size_t)n, 0);
		if (err == -EOPNOTSUPP)
			continue;	/* a namespace that ext4 does not have */
		if (err)
			return fail(f, name, err);
	}
	return 0;
}

/* Owner, mode and times, last of all: making contents changed them. */
static int copy_attr(struct filler *f, ino_nr_t ino, const struct stat *st)
{
	const struct fs_attr attr = {
		.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid, .atime = st->st_atim, .mtime = st->st_mtim,
	};
	unsigned which = FS_SET_UID | FS_SET_GID | FS_SET_ATIME | FS_SET_MTIME;
	int err;

	if (!S_ISLNK(st->st_mode))
		which |= FS_SET_MODE;
	err = fs_setattr(f->fs, ino, which & ~(unsigned)FS_SET_MODE, &attr, NULL);
	/* After the owner: changing that drops set-id bits. */
	if (!err && which & FS_SET_MODE)
		err = fs_setattr(f->fs, ino, FS_SET_MODE, &attr, NULL);
	return err ? fail(f, "cannot set its attributes", err) : 0;
}

static int make_symlink(struct filler *f, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name,
			struct fs_attr *out)
{
	char target[PATH_MAX];
	const ssize_t len = readlink(f->path, target, sizeof(target));

	if (len < 0)
		return -errno;
	return fs_symlink(f->fs, cred, dir, name, (struct fs_name){ target, (size_t)len }, out);
}

static int copy_dir(struct filler *f, ino_nr_t dir);

/* f->path is the host's file, name its last component. */
static int copy_entry(struct filler *f, ino_nr_t dir, struct fs_name name)
{
	struct fs_cred cred;
	struct fs_attr made;
	struct stat st;
	ino_nr_t first;
	int err;

	if (lstat(f->path, &st))
		return fail(f, "stat", -errno);
	cred = (struct fs_cred){ st.st_uid, st.st_gid };
	first = !S_ISDIR(st.st_mode) && st.st_nlink > 1 ? link_find(f, &st) : 0;
	if (first)
		err = fs_link(f->fs, first, dir, name, &made);
	else if (S_ISDIR(st.st_mode))
		err = fs_mkdir(f->fs, &cred, dir, name, st.st_mode & 07777, &made);
	else if (S_ISLNK(st.st_mode))
		err = make_symlink(f, &cred, dir, name, &made);
	else
		err = fs_mknod(f->fs, &cred, dir, name, st.st_mode, st.st_rdev, &made);
	if (err)
		return fail(f, "cannot make it", err);
	if (!first) {
		if (S_ISREG(st.st_mode))
			err = copy_contents(f, made.ino, &st);
		else if (S_ISDIR(st.st_mode))
			err = copy_dir(f, made.ino);
		if (!err)
			err = copy_xattrs(f, made.ino);
		if (!err)
			err = copy_attr(f, made.ino, &st);
		if (!err && !S_ISDIR(st.st_mode) && st.st_nlink > 1)
			err = link_remember(f, &st, made.ino);
	}
	fs_forget(f->fs, made.ino, 1);
	if (f->progress && ++f->nr_files % 1000 == 0) {
		printf("\rCopying files: %" PRIu64, f->nr_files);
		fflush(stdout);
	}
	return err;
}

static int skip_dots(const struct dirent *de)
{
	return strcmp(de->d_name, ".") && strcmp(de->d_name, "..");
}

/* Everything in the directory f->path; in sorted order, so that the same tree gives the same layout. */
static int copy_dir(struct filler *f, ino_nr_t dir)
{
	const size_t len = f->path_len;
	struct dirent **names;
	int err = 0;
	const int nr = scandir(f->path, &names, skip_dots, alphasort);

	if (nr < 0)
		return fail(f, "cannot list it", -errno);
	for (int i = 0; i < nr; i++) {
		const char *name = names[i]->d_name;
		const size_t name_len = strlen(name);

		/* The root's own lost+found stands already. */
		if (!err && len + 1 + name_len >= sizeof(f->path)) {
			err = fail(f, name, -ENAMETOOLONG);
		} else if (!err && !(dir == EXT_ROOT_INO && !strcmp(name, "lost+found"))) {
			f->path[len] = '/';
			memcpy(f->path + len + 1, name, name_len + 1);
			f->path_len = len + 1 + name_len;
			err = copy_entry(f, dir, fs_name_of(name));
			f->path_len = len;
			f->path[len] = 0;
		}
		free(names[i]);
	}
	free(names);
	return err;
}

int mkfs_populate(struct blk_dev *volume, struct alloc *alloc, const char *dir, bool progress)
{
	const struct fs_opts fo = { .alloc = alloc, .cache_bytes = CACHE_BYTES, .background = true, .atime = FS_NOATIME,
		.norecovery = true /* nothing is to be saved from a half-filled one: no log */ };
	struct filler *f = calloc(1, sizeof(*f));
	struct stat st;
	int err, close_err;

	if (!f)
		return -ENOMEM;
	f->progress = progress;
	f->path_len = (size_t)snprintf(f->path, sizeof(f->path), "%s", dir);
	f->buf = malloc(COPY_BYTES);
	if (!f->buf || f->path_len >= sizeof(f->path)) {
		err = f->buf ? -ENAMETOOLONG : -ENOMEM;
		goto out;
	}
	err = fs_open(volume, &fo, &f->fs);
	if (err)
		goto out;
	err = copy_dir(f, EXT_ROOT_INO);
	if (!err && !stat(dir, &st))
		err = copy_attr(f, EXT_ROOT_INO, &st);
	close_err = fs_close(f->fs);
	if (progress)
		printf("\rCopying files: %s          \n", err ? "failed" : "done");
	err = err ? err : close_err;
out:
	links_free(f);
	free(f->buf);
	free(f);
	return err;
}
