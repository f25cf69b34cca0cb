/*
 * lab_ops.c: see lab_ops.h. Sizes are for blocks of 1 KiB: files end within blocks, `big` has an
 * indirect block, `hole` a hole. What is written says by which operation and for which place.
 */
#include "lab_ops.h"

#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "lab_tree.h"

enum { LINE = 64, MANY = 12 };
static const struct fs_cred root = { 0, 0 };

static void fill(char *buf, uint64_t off, size_t len, unsigned serial)
{
	char line[LINE + 1];

	for (size_t i = 0; i < len; i++) {
		const uint64_t at = off + i;

		if (i == 0 || at % LINE == 0) {
			const int n = snprintf(line, sizeof(line), "operation %05u at %010" PRIu64 " ", serial,
					       at / LINE * LINE);

			memset(line + n, '#', (size_t)(LINE - n));
		}
		buf[i] = line[at % LINE];
	}
}

/* Names -------------------------------------------------------------------------------------------- */

/* Splits a path; *dir is the parent's inode. */
static int parent_of(struct fs *fs, const char *path, ino_nr_t *dir, struct fs_name *name)
{
	const char *slash = strrchr(path, '/');
	char up[64];

	*name = fs_name_of(slash + 1);
	snprintf(up, sizeof(up), "%.*s", (int)(slash - path), path);
	return lab_path_ino(fs, up, dir);
}

static int make(struct fs *fs, const char *path, uint32_t mode, ino_nr_t *ino)
{
	struct fs_name name;
	struct fs_attr at;
	ino_nr_t dir;
	int err = parent_of(fs, path, &dir, &name);

	if (!err)
		err = S_ISDIR(mode) ? fs_mkdir(fs, &root, dir, name, mode & 07777, &at)
				    : fs_mknod(fs, &root, dir, name, mode, 0, &at);
	if (err)
		return err;
	fs_forget(fs, at.ino, 1);
	if (ino)
		*ino = at.ino;
	return 0;
}

static int write_at(struct lab_actor *a, const char *path, uint64_t off, size_t len, unsigned flags)
{
	char *buf = malloc(len);
	ino_nr_t ino;
	size_t written;
	struct fs_attr at;
	int err = buf ? lab_path_ino(a->fs, path, &ino) : -ENOMEM;

	if (!err && flags & FS_WRITE_APPEND) {
		err = fs_getattr(a->fs, ino, &at);
		off = err ? 0 : at.size_bytes;
	}
	if (!err) {
		fill(buf, off, len, a->serial);
		err = fs_write(a->fs, ino, off, buf, len, flags, &written);
		if (!err && written != len)
			err = -ENOSPC;
		fs_release(a->fs, ino);
	}
	free(buf);
	return err;
}

static int step(struct lab_actor *a)
{
	return a->step ? a->step(a->step_arg) : 0;
}

static int create(struct lab_actor *a, const char *path, size_t len)
{
	int err = make(a->fs, path, S_IFREG | 0644, NULL);

	if (!err && len)
		err = step(a);
	return err || !len ? err : write_at(a, path, 0, len, 0);
}

static int resize(struct lab_actor *a, const char *path, uint64_t size)
{
	const struct fs_attr set = { .size_bytes = size };
	ino_nr_t ino;
	const int err = lab_path_ino(a->fs, path, &ino);

	return err ? err : fs_setattr(a->fs, ino, FS_SET_SIZE, &set, NULL);
}

static int allocate(struct lab_actor *a, const char *path, int mode, uint64_t off, uint64_t len)
{
	ino_nr_t ino;
	const int err = lab_path_ino(a->fs, path, &ino);

	return err ? err : fs_fallocate(a->fs, ino, mode, off, len);
}

static int link_to(struct lab_actor *a, const char *from, const char *to)
{
	struct fs_name name;
	struct fs_attr at;
	ino_nr_t ino, dir;
	int err = lab_path_ino(a->fs, from, &ino);

	if (!err)
		err = parent_of(a->fs, to, &dir, &name);
	if (!err)
		err = fs_link(a->fs, ino, dir, name, &at);
	if (!err)
		fs_forget(a->fs, at.ino, 1);
	return err;
}

static int symlink_at(struct lab_actor *a, const char *path, size_t len)
{
	char target[200];
	struct fs_name name;
	struct fs_attr at;
	ino_nr_t dir;
	int err = parent_of(a->fs, path, &dir, &name);

	fill(target, 0, len, a->serial);
	if (!err)
		err = fs_symlink(a->fs, &root, dir, name, (struct fs_name){ target, len }, &at);
	if (!err)
		fs_forget(a->fs, at.ino, 1);
	return err;
}

static int rename_to(struct lab_actor *a, const char *from, const char *to, unsigned flags)
{
	struct fs_name name, new_name;
	ino_nr_t dir, new_dir;
	int err = parent_of(a->fs, from, &dir, &name);

	if (!err)
		err = parent_of(a->fs, to, &new_dir, &new_name);
	return err ? err : fs_rename(a->fs, dir, name, new_dir, new_name, flags);
}

static int remove_name(struct lab_actor *a, const char *path, bool is_dir)
{
	struct fs_name name;
	ino_nr_t dir;
	const int err = parent_of(a->fs, path, &dir, &name);

	if (err)
		return err;
	return is_dir ? fs_rmdir(a->fs, dir, name) : fs_unlink(a->fs, dir, name);
}

/* The file is "open" from now on. */
static int hold(struct lab_actor *a, const char *path)
{
	struct fs_name name;
	struct fs_attr at;
	ino_nr_t dir;
	int err = parent_of(a->fs, path, &dir, &name);

	if (!err)
		err = fs_lookup(a->fs, dir, name, &at);
	if (err)
		return err;
	if (a->nr_held == LAB_MAX_HELD)
		fs_forget(a->fs, at.ino, 1);
	else
		a->held[a->nr_held++] = at.ino;
	return 0;
}

void lab_actor_release(struct lab_actor *a)
{
	while (a->nr_held)
		fs_forget(a->fs, a->held[--a->nr_held], 1);
}

static int set_xattr(struct lab_actor *a, const char *path, const char *name, size_t len)
{
	char value[512];
	ino_nr_t ino;
	const int err = lab_path_ino(a->fs, path, &ino);

	fill(value, 0, len, a->serial);
	return err ? err : fs_setxattr(a->fs, ino, name, value, len, 0);
}

static int remove_xattr(struct lab_actor *a, const char *path, const char *name)
{
	ino_nr_t ino;
	const int err = lab_path_ino(a->fs, path, &ino);

	return err ? err : fs_removexattr(a->fs, ino, name);
}

static int change(struct lab_actor *a, const char *path, unsigned which)
{
	const struct fs_attr set = { .mode = 0600 + a->serial % 64, .uid = 1000 + a->serial, .gid = 100 };
	ino_nr_t ino;
	const int err = lab_path_ino(a->fs, path, &ino);

	return err ? err : fs_setattr(a->fs, ino, which, &set, NULL);
}

/* The operations -------------------------------------------------------------------------------------- */

#define OP(fn, call) static int fn(struct lab_actor *a) { return call; }
OP(op_create, create(a, "/n", 0))
OP(op_create_in_dir, create(a, "/d/n2", 0))
OP(op_create_write, create(a, "/nw", 1500))
OP(op_create_big, create(a, "/nb", 24000))
OP(op_mkfifo, make(a->fs, "/d/fifo", S_IFIFO | 0644, NULL))
OP(op_overwrite, write_at(a, "/a", 0, 1024, 0))
OP(op_overwrite_part, write_at(a, "/a", 300, 1500, 0))
OP(op_overwrite_big, write_at(a, "/big", 1024, 20000, 0))
OP(op_append_in_block, write_at(a, "/b", 0, 200, FS_WRITE_APPEND))
OP(op_append, write_at(a, "/a", 0, 5000, FS_WRITE_APPEND))
OP(op_append_indirect, write_at(a, "/c", 0, 16000, FS_WRITE_APPEND))
OP(op_write_beyond, write_at(a, "/b", 9000, 1000, 0))
OP(op_write_hole, write_at(a, "/hole", 5000, 3000, 0))
OP(op_truncate_zero, resize(a, "/a", 0))
OP(op_truncate_part, resize(a, "/a", 1200))
OP(op_truncate_big, resize(a, "/big", 3000))
OP(op_truncate_up, resize(a, "/b", 5000))
OP(op_falloc, allocate(a, "/b", 0, 0, 8192))
OP(op_falloc_keep, allocate(a, "/b", FALLOC_FL_KEEP_SIZE, 0, 8192))
OP(op_punch, allocate(a, "/big", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3000, 12000))
OP(op_zero_range, allocate(a, "/big", FALLOC_FL_ZERO_RANGE, 3000, 6000))
OP(op_link, link_to(a, "/a", "/d/la"))
OP(op_link_again, link_to(a, "/c", "/d2/lc"))
OP(op_symlink, symlink_at(a, "/s1", 20))
OP(op_symlink_long, symlink_at(a, "/d/s2", 150))
OP(op_rename, rename_to(a, "/a", "/r", 0))
OP(op_rename_away, rename_to(a, "/a", "/d/r2", 0))
OP(op_rename_over, rename_to(a, "/a", "/b", 0))
OP(op_rename_over_big, rename_to(a, "/b", "/big", 0))
OP(op_rename_dir, rename_to(a, "/d3/sub", "/d/sub2", 0))
OP(op_rename_dir_over, rename_to(a, "/d3", "/d2", 0))
OP(op_exchange, rename_to(a, "/a", "/d/e", FS_RENAME_EXCHANGE))
OP(op_unlink, remove_name(a, "/b", false))
OP(op_unlink_one_of_two, remove_name(a, "/d/c2", false))
OP(op_unlink_big, remove_name(a, "/big", false))
OP(op_unlink_symlink, remove_name(a, "/sl", false))
OP(op_unlink_xattr, remove_name(a, "/x", false))
OP(op_mkdir, make(a->fs, "/m", S_IFDIR | 0755, NULL))
OP(op_mkdir_in_dir, make(a->fs, "/d/m2", S_IFDIR | 0755, NULL))
OP(op_rmdir, remove_name(a, "/d2", true))
OP(op_rmdir_new, remove_name(a, "/m", true))
OP(op_setxattr, set_xattr(a, "/a", "user.small", 20))
OP(op_setxattr_large, set_xattr(a, "/b", "user.large", 400))
OP(op_setxattr_again, set_xattr(a, "/x", "user.large", 300))
OP(op_removexattr, remove_xattr(a, "/x", "user.large"))
OP(op_chmod, change(a, "/a", FS_SET_MODE))
OP(op_chown, change(a, "/a", FS_SET_UID | FS_SET_GID))
/* Fills what was just freed: of use behind an unlink or rmdir. */
OP(op_fill, create(a, "/fill", 60000))
OP(op_create_temp, create(a, "/tmp", 3000))
OP(op_rename_temp, rename_to(a, "/tmp", "/a", 0))
#undef OP

static int op_unlink_open(struct lab_actor *a)
{
	const int err = hold(a, "/big");

	return err ? err : remove_name(a, "/big", false);
}

static int op_rename_over_open(struct lab_actor *a)
{
	const int err = hold(a, "/b");

	return err ? err : rename_to(a, "/a", "/b", 0);
}

#define MANY_NAME "/d2/a-name-that-is-rather-long-so-that-few-fit-into-a-block-"
/* Enough names for a second block, so that the directory becomes a tree. */
static int op_create_many(struct lab_actor *a)
{
	char path[96];
	int err = 0;

	for (unsigned i = 0; !err && i < MANY; i++) {
		snprintf(path, sizeof(path), "%s%03u", MANY_NAME, i);
		err = i == 0 ? create(a, path, 0) : link_to(a, MANY_NAME "000", path);
		if (!err)
			err = step(a);
	}
	return err;
}

/* So many transactions that the log wraps, and has to be checkpointed on the way. */
static int op_wrap_log(struct lab_actor *a)
{
	enum { COMMITS = 260 };
	int err = 0;

	for (unsigned i = 0; !err && i < COMMITS; i++) {
		err = i % 2 ? rename_to(a, "/d/f2", "/d/f", 0) : rename_to(a, "/d/f", "/d/f2", 0);
		if (!err && i == 0)
			err = step(a);
		if (!err)
			err = fs_sync(a->fs);
	}
	return err;
}

enum { N = LAB_OP_NAMES, S = LAB_OP_SIZE, G = LAB_OP_GROWS, C = LAB_OP_CUTS };

const struct lab_op lab_ops[] = {
	{ "create", op_create, "/n", "/", N },
	{ "create-in-dir", op_create_in_dir, "/d/n2", "/d", N },
	{ "create-write", op_create_write, "/nw", "/", N | S | G },
	{ "create-big", op_create_big, "/nb", "/", N | S | G },
	{ "mkfifo", op_mkfifo, NULL, "/d", N },
	{ "overwrite", op_overwrite, "/a", "/", 0 },
	{ "overwrite-part", op_overwrite_part, "/a", "/", 0 },
	{ "overwrite-big", op_overwrite_big, "/big", "/", 0 },
	{ "append-in-block", op_append_in_block, "/b", "/", S },
	{ "append", op_append, "/a", "/", S | G },
	{ "append-indirect", op_append_indirect, "/c", "/", S | G },
	{ "write-beyond", op_write_beyond, "/b", "/", S | G },
	{ "write-hole", op_write_hole, "/hole", "/", S },
	{ "truncate-zero", op_truncate_zero, "/a", "/", S },
	{ "truncate-part", op_truncate_part, "/a", "/", S | C },
	{ "truncate-big", op_truncate_big, "/big", "/", S | C },
	{ "truncate-up", op_truncate_up, "/b", "/", S },
	{ "fallocate", op_falloc, "/b", "/", S | G },
	{ "fallocate-keep", op_falloc_keep, "/b", "/", S },
	{ "punch", op_punch, "/big", "/", S },
	{ "zero-range", op_zero_range, "/big", "/", S },
	{ "link", op_link, "/d/la", "/d", N },
	{ "link-again", op_link_again, "/d2/lc", "/d2", N },
	{ "symlink", op_symlink, NULL, "/", N },
	{ "symlink-long", op_symlink_long, NULL, "/d", N },
	{ "rename", op_rename, "/r", "/", N },
	{ "rename-away", op_rename_away, "/d/r2", "/d", N },
	{ "rename-over", op_rename_over, "/b", "/", N },
	{ "rename-over-big", op_rename_over_big, "/big", "/", N },
	{ "rename-over-open", op_rename_over_open, "/b", "/", N },
	{ "rename-dir", op_rename_dir, NULL, "/d", N },
	{ "rename-dir-over", op_rename_dir_over, NULL, "/", N },
	{ "exchange", op_exchange, "/a", "/", N },
	{ "unlink", op_unlink, NULL, "/", N },
	{ "unlink-one-of-two", op_unlink_one_of_two, "/c", "/d", N },
	{ "unlink-big", op_unlink_big, NULL, "/", N },
	{ "unlink-open", op_unlink_open, NULL, "/", N },
	{ "unlink-symlink", op_unlink_symlink, NULL, "/", N },
	{ "unlink-xattr", op_unlink_xattr, NULL, "/", N },
	{ "mkdir", op_mkdir, NULL, "/", N },
	{ "mkdir-in-dir", op_mkdir_in_dir, NULL, "/d", N },
	{ "rmdir", op_rmdir, NULL, "/", N },
	{ "create-many", op_create_many, NULL, "/d2", N },
	{ "setxattr", op_setxattr, "/a", "/", 0 },
	{ "setxattr-large", op_setxattr_large, "/b", "/", 0 },
	{ "setxattr-again", op_setxattr_again, "/x", "/", 0 },
	{ "removexattr", op_removexattr, "/x", "/", 0 },
	{ "chmod", op_chmod, "/a", "/", 0 },
	{ "chown", op_chown, "/a", "/", 0 },
	{ "fill", op_fill, "/fill", "/", N | S | G },
	/* for scripts */
	{ "rmdir-new", op_rmdir_new, NULL, "/", N | LAB_OP_SCRIPT },
	{ "create-temp", op_create_temp, "/tmp", "/", N | S | G },
	{ "rename-temp", op_rename_temp, "/a", "/", N },
	{ "wrap-log", op_wrap_log, NULL, "/d", N | LAB_OP_SCRIPT },
};
const unsigned lab_nr_ops = ARRAY_LEN(lab_ops);

const struct lab_op *lab_op_find(const char *name)
{
	for (unsigned i = 0; i < lab_nr_ops; i++)
		if (!strcmp(lab_ops[i].name, name))
			return &lab_ops[i];
	return NULL;
}

/* Durability ---------------------------------------------------------------------------------------------- */

const char *lab_persist_name(enum lab_persist p)
{
	static const char *const names[LAB_NR_PERSIST] = { "none", "fsync", "fdatasync", "fsync-dir", "sync",
							   "writeback" };

	return names[p];
}

bool lab_persist_fits(const struct lab_op *op, enum lab_persist p)
{
	return op->file || (p != LAB_PERSIST_FSYNC && p != LAB_PERSIST_FDATASYNC);
}

int lab_persist_run(struct fs *fs, const struct lab_op *op, enum lab_persist p)
{
	ino_nr_t ino;
	int err;

	switch (p) {
	case LAB_PERSIST_NONE:
		return 0;
	case LAB_PERSIST_SYNC:
		return fs_sync(fs);
	case LAB_PERSIST_WRITEBACK:
		return cache_flush(fs_cache(fs), CACHE_META | CACHE_DATA);
	default:
		err = lab_path_ino(fs, p == LAB_PERSIST_FSYNC_DIR ? op->dir : op->file, &ino);
		return err ? err : fs_fsync(fs, ino, p == LAB_PERSIST_FDATASYNC);
	}
}

/* The tree ------------------------------------------------------------------------------------------------- */

static int fill_dirs(struct lab_actor *a)
{
	static const char *const dirs[] = { "/d", "/d2", "/d3", "/d3/sub" };
	int err = 0;

	for (unsigned i = 0; !err && i < ARRAY_LEN(dirs); i++)
		err = make(a->fs, dirs[i], S_IFDIR | 0755, NULL);
	return err;
}

static int fill_files(struct lab_actor *a)
{
	static const struct { const char *path; size_t len; } files[] = {
		{ "/a", 2500 }, { "/b", 700 }, { "/c", 5 * 1024 }, { "/big", 40000 }, { "/hole", 100 }, { "/x", 300 },
		{ "/d/e", 1024 }, { "/d/f", 0 }, { "/d3/sub/g", 2000 },
	};
	int err = 0;

	for (unsigned i = 0; !err && i < ARRAY_LEN(files); i++)
		err = create(a, files[i].path, files[i].len);
	if (!err)
		err = write_at(a, "/hole", 20 * 1024, 1024, 0);
	if (!err)
		err = link_to(a, "/c", "/d/c2");
	if (!err)
		err = symlink_at(a, "/sl", 10);
	if (!err)
		err = set_xattr(a, "/x", "user.large", 350);
	return err ? err : set_xattr(a, "/x", "user.small", 10);
}

int lab_base_fill(struct fs *fs)
{
	struct lab_actor a = { .fs = fs };
	const int err = fill_dirs(&a);

	return err ? err : fill_files(&a);
}
