/*
 * session.c: mounting, INIT, unmounting.
 *
 * Which parts of the protocol are used, and why (NOTES beside the figures in bench/README):
 *   - OPEN, FLUSH and CREATE are answered with ENOSYS once, and the kernel asks no more: a file
 *     costs no request to open or close. It keeps an unlinked file until FORGET. OPENDIR is
 *     answered, since that is where the kernel learns whether to keep a listing (ops_dir.c).
 *   - Entries, their absence, attributes, symbolic links and short listings are cached for good:
 *     only the kernel's own requests change them.
 *   - HANDLE_KILLPRIV_V2: otherwise each write asks for security.capability first. libfuse 3.14
 *     does not know it, so the flag is put into the INIT reply on its way out.
 *   - WRITEBACK_CACHE: the kernel gathers small writes of an open file and hands them over at its
 *     close, and the last page of a file need not be read back after it was written. The price
 *     is a GETATTR at the first stat after a close (of blocks, which the kernel does not keep), and
 *     that holes cannot be asked for (see op_lseek). Off with no_writeback_cache.
 *   - Splicing is off: a request is read into the worker's buffer and copied once into the
 *     cache; replies go out of the cache's frames.
 */
#include "session.h"

#include <fcntl.h>
#include <fuse3/fuse_log.h>
#include <linux/fuse.h>
#include <linux/magic.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "loop.h"

extern char **environ;

enum {
	MAX_TRANSFER_BYTES = 1 << 20,
	MAX_READ_PIECES = 512,	/* iovecs of one reply; writev takes 1024 */
	MAX_BACKGROUND = 64,
	MAX_SOURCE_BYTES = 1000,	/* mount data is one page in all */
};

int session_check_mountpoint(const char *path)
{
	struct stat st;
	struct statfs sf;
	char up[4096];
	struct stat parent;

	if (stat(path, &st)) {
		if (errno == ENOTCONN)
			log_error("mount point %s is the rest of a dead mount; fusermount3 -u %s first", path, path);
		else
			log_error("mount point %s: %s", path, strerror(errno));
		return -errno;
	}
	if (!S_ISDIR(st.st_mode)) {
		log_error("mount point %s is not a directory", path);
		return -ENOTDIR;
	}
	snprintf(up, sizeof(up), "%s/..", path);
	if (!statfs(path, &sf) && (unsigned)sf.f_type == FUSE_SUPER_MAGIC &&
	    !stat(up, &parent) && parent.st_dev != st.st_dev) {
		log_error("mount point %s is busy: something is mounted there already", path);
		return -EBUSY;
	}
	return 0;
}

/* Mounting ---------------------------------------------------------------- */

static void log_from_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[512];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	n = MIN(n, (int)sizeof(line) - 1);
	while (n > 0 && line[n - 1] == '\n')
		line[--n] = '\0';
	if (n > 0)
		log_message(level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "%s", line);
}

/* The members as /proc/mounts shows them: A:B:C. */
static int make_source(struct daemon *d)
{
	size_t len = 0;
	FILE *f = open_memstream(&d->source, &len);

	if (!f)
		return -ENOMEM;
	for (unsigned i = 0; i < d->o.nr_members; i++)
		fprintf(f, "%s%s", i ? ":" : "", d->o.members[i]);
	if (fclose(f))
		return -ENOMEM;
	if (len > MAX_SOURCE_BYTES)
		strcpy(d->source + MAX_SOURCE_BYTES - 4, "...");
	return 0;
}

/* One -o for libfuse; commas and backslashes of the source are escaped. */
static char *make_mount_options(const struct daemon *d)
{
	const struct opts *o = &d->o;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fputs("-ofsname=", f);
	for (const char *s = d->source; *s; s++) {
		if (*s == ',' || *s == '\\')
			fputc('\\', f);
		fputc(*s, f);
	}
	fprintf(f, ",subtype=osfs,max_read=%u", d->max_read);
	fputs(d->read_only ? ",ro" : ",rw", f);
	fputs(o->allow_other ? ",allow_other" : "", f);
	fputs(o->fakeroot ? "" : ",default_permissions", f);
	fputs(o->dev ? ",dev" : ",nodev", f);
	fputs(o->suid ? ",suid" : ",nosuid", f);
	fputs(o->noexec ? ",noexec" : "", f);
	fputs(o->sync_mount ? ",sync" : "", f);
	fputs(o->dirsync ? ",dirsync" : "", f);
	fputs(o->atime == FS_NOATIME ? ",noatime" : "", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/*
 * libfuse gives the reply to INIT before it knows of flags newer than itself; bits 12 bytes
 * into its body are the flags. The first reply with that number is the one.
 */
static ssize_t send_reply(int fd, struct iovec *iov, int nr_iov, void *userdata)
{
	struct daemon *d = userdata;

	if (unlikely(d->init_unique) && nr_iov >= 2) {
		const struct fuse_out_header *head = iov[0].iov_base;
		struct fuse_init_out *out = iov[1].iov_base;

		if (head->unique == d->init_unique) {
			d->init_unique = 0;
			if (!head->error && iov[1].iov_len >= 24 && d->kill_told)
				out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		}
	}
	return writev(fd, iov, nr_iov);
}

static ssize_t receive_request(int fd, void *buf, size_t len, void *userdata)
{
	return loop_receive(fd, buf, len);
}

int session_mount(struct daemon *d, const struct fuse_lowlevel_ops *ops)
{
	static const struct fuse_custom_io io = { .writev = send_reply, .read = receive_request };
	char *options = NULL;
	int err;

	fuse_set_log_func(log_from_libfuse);
	d->max_read = (uint32_t)MIN((uint64_t)MAX_TRANSFER_BYTES, (uint64_t)d->block_bytes * MAX_READ_PIECES);
	err = make_source(d);
	if (!err && !(options = make_mount_options(d)))
		err = -ENOMEM;
	if (!err) {
		char *argv[] = { (char *)"osfs", options, NULL };
		struct fuse_args args = FUSE_ARGS_INIT(2, argv);

		d->se = fuse_session_new(&args, ops, sizeof(*ops), d);
		if (!d->se)
			err = -EINVAL;
		fuse_opt_free_args(&args);
	}
	free(options);
	if (!err && fuse_session_mount(d->se, d->o.mountpoint))
		err = -EPERM;	/* fusermount3 or libfuse said why */
	if (!err)
		err = fuse_session_custom_io(d->se, &io, fuse_session_fd(d->se));
	if (!err && fcntl(fuse_session_fd(d->se), F_SETFL, O_RDWR | O_NONBLOCK))
		err = -errno;
	if (err)
		log_error("cannot mount at %s", d->o.mountpoint);
	return err;
}

void session_free(struct daemon *d)
{
	if (d->se) {
		fuse_session_unmount(d->se);
		fuse_session_destroy(d->se);
	}
	d->se = NULL;
	free(d->source);
	d->source = NULL;
}

/* INIT -------------------------------------------------------------------- */

/* With the writeback cache the kernel keeps times itself: no finer than the inodes can. */
static unsigned time_gran_nsec(const struct daemon *d)
{
	enum { SECONDS_ONLY_INODE_BYTES = 128 };
	struct fs_status st;

	if (!d->fs)
		return 1;
	fs_status_get(d->fs, &st);
	return st.inode_bytes == SECONDS_ONLY_INODE_BYTES ? 1000000000 : 1;
}

void session_init(struct daemon *d, struct fuse_conn_info *conn)
{
	const struct fuse_in_header *raw = loop_request();
	const struct fuse_init_in *in = (const struct fuse_init_in *)(raw + 1);

	conn->max_write = MAX_TRANSFER_BYTES;
	conn->max_read = d->max_read;
	conn->max_readahead = MAX_TRANSFER_BYTES;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	conn->time_gran = time_gran_nsec(d);

	/* O_TRUNC comes as SETATTR, so that opening needs no request. */
	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
				  FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV);
	conn->want |= conn->capable & (FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
				       FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_ASYNC_READ |
				       FUSE_CAP_ASYNC_DIO | FUSE_CAP_IOCTL_DIR);
	d->writeback = d->o.writeback && !d->read_only && conn->capable & FUSE_CAP_WRITEBACK_CACHE;
	if (d->writeback)
		conn->want |= FUSE_CAP_WRITEBACK_CACHE;
	d->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	d->kill_told = in->flags & FUSE_HANDLE_KILLPRIV_V2;
	if (!d->kill_told)
		conn->want |= conn->capable & FUSE_CAP_HANDLE_KILLPRIV;
	d->init_unique = raw->unique;
}

/* Unmounting -------------------------------------------------------------- */

static int run_fusermount(const char *mountpoint, bool lazy)
{
	char *argv[] = { (char *)"fusermount3", (char *)"-u", (char *)(lazy ? "-qz" : "-q"), (char *)"--",
			 (char *)mountpoint, NULL };
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		return -ENOENT;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EBUSY;
}

int session_unmount(const char *mountpoint, bool lazy)
{
	if (!umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return 0;
	if (errno != EPERM)
		return -errno;
	return run_fusermount(mountpoint, lazy);
}
