/*
 * fs.h: an ext2/3/4 filesystem on a block device: what the daemon and the tools call.
 * Knows nothing of FUSE, of arrays, or of processes.
 *
 * Inodes are named by number. A call that gives out an inode to be remembered
 * (fs_lookup, fs_mknod, fs_mkdir, fs_symlink, fs_link, fs_readdir with attributes)
 * adds one reference, which fs_forget() gives back: an inode with references keeps
 * its number and, unlinked, its contents. Calls on an inode without references
 * work as well (it is read from disk), but a freed one is -ESTALE.
 *
 * Threads: any thread may call anything but fs_close().
 * Errors:  0 or -errno as the system call of that name has it; -EUCLEAN: the
 *          filesystem is damaged there (logged with inode and block); -EROFS.
 * Permissions: the caller checks (the daemon leaves it to the kernel: default_permissions).
 *          What the kernel leaves to filesystems is done here: ownership and mode of
 *          new inodes, setgid directories, dropping set-id bits, immutable/append flags.
 */
#ifndef OSFS_FS_FS_H
#define OSFS_FS_FS_H

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "alloc/alloc.h"
#include "blk/blk.h"
#include "cache/cache.h"

struct fs;

enum fs_atime { FS_RELATIME, FS_NOATIME, FS_STRICTATIME };
enum fs_errors { FS_ERRORS_DEFAULT /* as the superblock says */, FS_ERRORS_CONTINUE, FS_ERRORS_RO, FS_ERRORS_PANIC };
/* What a journal promises of file data; FS_DATA_DEFAULT: as the superblock says, else ordered. */
enum fs_data { FS_DATA_DEFAULT, FS_DATA_ORDERED, FS_DATA_JOURNAL, FS_DATA_WRITEBACK };

struct fs_opts {
	struct alloc *alloc;
	uint64_t cache_bytes;
	bool background;	/* write-back thread; false: single-threaded and deterministic */
	bool read_only;
	enum fs_atime atime;
	enum fs_errors errors;
	enum fs_data data;	/* asked for without a journal: -EINVAL */
	unsigned commit_sec;	/* most seconds until a change is committed; 0: 5 */
	bool norecovery;	/* the journal is neither replayed nor used */
	void (*panic)(void *arg);	/* errors=panic: called once, after the filesystem became read-only; or NULL */
	void *panic_arg;
	bool use_reserved;	/* all writers may use the blocks reserved for root */
	const char *last_mounted;	/* for s_last_mounted, or NULL */
	/* The clock; NULL is the system's. Deterministic tests and mkfs give their own. */
	struct timespec (*now)(void *arg);
	void *now_arg;
	uint64_t seed;		/* for generations and directory spreading; 0: from the system */
};

/*
 * Opens the filesystem on dev (not owned, closed by the caller after fs_close).
 * -EINVAL: no ext2/3/4 there; -EOPNOTSUPP: features that osfs does not have, named;
 * -EUCLEAN: damaged, with the field. With features that are safe to read only, the
 * filesystem is opened read-only with a message (see fs_is_read_only).
 * A journal that is not empty is replayed; read-only into memory, and not a byte is written.
 */
MUST_CHECK int fs_open(struct blk_dev *dev, const struct fs_opts *o, struct fs **out);
/* Everything written, superblock marked clean. Returns the first write-back error. References are void. */
int fs_close(struct fs *fs);
/* Everything done so far is durable. */
MUST_CHECK int fs_sync(struct fs *fs);
bool fs_is_read_only(const struct fs *fs);
struct cache *fs_cache(struct fs *fs);

struct fs_attr {
	ino_nr_t ino;
	uint32_t generation;
	uint32_t mode;		/* type and permissions */
	uint32_t nlink, uid, gid;
	uint32_t flags;		/* EXT_FL_*, for lsattr */
	uint64_t rdev;		/* as dev_t */
	uint64_t size_bytes;
	uint64_t nr_sects;	/* st_blocks */
	uint64_t version;	/* another one after each change of contents, names or attributes (not of atime) */
	struct timespec atime, mtime, ctime, btime;
};

struct fs_cred {
	uint32_t uid, gid;
};

struct fs_name {		/* not NUL-terminated */
	const char *s;
	size_t len;
};
static inline struct fs_name fs_name_of(const char *s)
{
	return (struct fs_name){ s, strlen(s) };
}

/* Attributes ------------------------------------------------------------------ */
MUST_CHECK int fs_getattr(struct fs *fs, ino_nr_t ino, struct fs_attr *out);

enum {
	FS_SET_MODE = 1 << 0, FS_SET_UID = 1 << 1, FS_SET_GID = 1 << 2, FS_SET_SIZE = 1 << 3,
	FS_SET_ATIME = 1 << 4, FS_SET_MTIME = 1 << 5, FS_SET_CTIME = 1 << 6,
	FS_SET_ATIME_NOW = 1 << 7, FS_SET_MTIME_NOW = 1 << 8,
	FS_SET_KILL_PRIV = 1 << 9,	/* drop setuid, and setgid of group-executable files */
	FS_SET_FLAGS = 1 << 10,
};
/* which: FS_SET_*, the fields of *set to take. *out (may be NULL) gets the result. */
MUST_CHECK int fs_setattr(struct fs *fs, ino_nr_t ino, unsigned which, const struct fs_attr *set,
			  struct fs_attr *out);
void fs_statfs(struct fs *fs, struct statvfs *out);

/* Names ----------------------------------------------------------------------- */
MUST_CHECK int fs_lookup(struct fs *fs, ino_nr_t dir, struct fs_name name, struct fs_attr *out);
void fs_forget(struct fs *fs, ino_nr_t ino, uint64_t nr_refs);
/*
 * One more reference to an inode that is in memory and has some, for work on it that no request stands
 * behind; false: there is no such inode any more.
 */
MUST_CHECK bool fs_hold(struct fs *fs, ino_nr_t ino);
/* Regular files, devices, FIFOs, sockets: by the type in mode. */
MUST_CHECK int fs_mknod(struct fs *fs, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name,
			uint32_t mode, uint64_t rdev, struct fs_attr *out);
MUST_CHECK int fs_mkdir(struct fs *fs, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name,
			uint32_t mode, struct fs_attr *out);
MUST_CHECK int fs_symlink(struct fs *fs, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name,
			  struct fs_name target, struct fs_attr *out);
MUST_CHECK int fs_link(struct fs *fs, ino_nr_t ino, ino_nr_t dir, struct fs_name name, struct fs_attr *out);
MUST_CHECK int fs_unlink(struct fs *fs, ino_nr_t dir, struct fs_name name);
MUST_CHECK int fs_rmdir(struct fs *fs, ino_nr_t dir, struct fs_name name);
enum { FS_RENAME_NOREPLACE = 1, FS_RENAME_EXCHANGE = 2 };	/* as RENAME_* of rename(2) */
MUST_CHECK int fs_rename(struct fs *fs, ino_nr_t dir, struct fs_name name, ino_nr_t new_dir,
			 struct fs_name new_name, unsigned flags);
/* Target of a symbolic link into buf (no NUL); returns its length. */
MUST_CHECK int fs_readlink(struct fs *fs, ino_nr_t ino, char *buf, size_t cap);

/*
 * Entries from cookie on (0: the start; else a cookie that fn was given). fn gets the
 * cookie of the NEXT entry; it returns false when it has no room for this one, which ends
 * the call and leaves the entry for the next. "." and ".." are included. An entry that
 * exists during the whole iteration is given exactly once, whatever else is
 * added or removed meanwhile. fn runs with the directory locked for reading: it must not
 * call back into the namespace (fs_getattr_ref below is allowed).
 */
struct fs_dirent {
	ino_nr_t ino;
	struct fs_name name;
	unsigned type;		/* DT_* */
	uint64_t next_cookie;
};
typedef bool fs_dirent_fn(void *arg, const struct fs_dirent *de);
MUST_CHECK int fs_readdir(struct fs *fs, ino_nr_t dir, uint64_t cookie, fs_dirent_fn *fn, void *arg);
/* Attributes plus one reference, for readdirplus; allowed inside fn. */
MUST_CHECK int fs_getattr_ref(struct fs *fs, ino_nr_t ino, struct fs_attr *out);

/* Contents -------------------------------------------------------------------- */
/*
 * A read gives out pinned cache memory: iov[0..nr_iov-1], len_bytes in all (short at the
 * end of the file), valid until fs_read_done(). No copy is made; holes point to zeroes.
 */
struct fs_read_result {
	struct iovec *iov;
	unsigned nr_iov;
	size_t len_bytes;
	/* private to fs_read/fs_read_done */
	struct cache_buf **bufs;
	unsigned nr_bufs;
	struct iovec iov_small[8];
	struct cache_buf *bufs_small[8];
	void *mem;
};
MUST_CHECK int fs_read(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, size_t len_bytes,
		       struct fs_read_result *out);
void fs_read_done(struct fs *fs, struct fs_read_result *r);
/*
 * Writes len_bytes from buf, one copy, into the cache. Returns 0 and *written (short only
 * when the disk filled up or an error came after the first block), or -errno with nothing written.
 */
enum {
	FS_WRITE_KILL_PRIV = 1,
	FS_WRITE_APPEND = 2,		/* at the end, whatever off_bytes says */
	FS_WRITE_KEEP_TIMES = 4,	/* the caller keeps them, and sets them by fs_setattr */
};
MUST_CHECK int fs_write(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, const void *buf, size_t len_bytes,
			unsigned flags, size_t *written);
/* mode: FALLOC_FL_* of fallocate(2); what the format cannot do is -EOPNOTSUPP. */
MUST_CHECK int fs_fallocate(struct fs *fs, ino_nr_t ino, int mode, uint64_t off_bytes, uint64_t len_bytes);
/* SEEK_DATA, SEEK_HOLE; -ENXIO past the end. */
MUST_CHECK int fs_seek(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, int whence, uint64_t *out);
/*
 * Byte of the device that holds a byte of a file or directory. -ENXIO past the end, -ENODATA a hole,
 * -EOPNOTSUPP it lies within the inode.
 */
MUST_CHECK int fs_where(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, uint64_t *out);
/* The file's data and what is needed to reach it are durable; datasync as fdatasync(2). */
MUST_CHECK int fs_fsync(struct fs *fs, ino_nr_t ino, bool datasync);
/* Writes out what an fsync would have to, without making it durable; an error is met again by the fsync. */
void fs_write_out(struct fs *fs, ino_nr_t ino);
/* The last writer closed the file: what was reserved for its growth is given back. */
void fs_release(struct fs *fs, ino_nr_t ino);

/* Extended attributes: names with their prefix ("user.x") --------------------- */
/* Length of the value; cap 0 asks for the length only; -ERANGE too small, -ENODATA none. */
MUST_CHECK int fs_getxattr(struct fs *fs, ino_nr_t ino, const char *name, void *buf, size_t cap);
/* NUL-separated names; length, cap as above. */
MUST_CHECK int fs_listxattr(struct fs *fs, ino_nr_t ino, char *buf, size_t cap);
/* flags: XATTR_CREATE, XATTR_REPLACE. */
MUST_CHECK int fs_setxattr(struct fs *fs, ino_nr_t ino, const char *name, const void *buf, size_t len_bytes,
			   int flags);
MUST_CHECK int fs_removexattr(struct fs *fs, ino_nr_t ino, const char *name);

/*
 * Bytes of the device as the mounted filesystem has them now, dirty ones too: metadata between two
 * operations. For looking only. -EINVAL outside of the filesystem.
 */
MUST_CHECK int fs_peek(struct fs *fs, uint64_t off_bytes, void *buf, size_t len_bytes);

struct fs_status {
	char label[17];
	uint8_t uuid[16];
	uint32_t block_bytes, inode_bytes, nr_groups;
	uint64_t nr_blocks, nr_free_blocks, nr_reserved_blocks, nr_inodes, nr_free_inodes;
	uint32_t compat, incompat, ro_compat;
	uint64_t nr_cached_inodes, nr_referenced_inodes;
	bool read_only, has_journal;
	int error;		/* first error met since the mount, or 0 */
};
void fs_status_get(struct fs *fs, struct fs_status *out);
/* The journal's ring (journal/jbd2.h). False: none is in use. */
struct jbd2_status;
bool fs_journal_status_get(struct fs *fs, struct jbd2_status *out);
void fs_to_text(struct fs *fs, FILE *out);
/* "has_journal", "extents" …: the name mke2fs has for one feature bit; NULL when it has none. */
const char *fs_feature_name(char set /* 'c' compat, 'i' incompat, 'r' ro_compat */, uint32_t bit);

#endif
