/*
 * life.c: from the command line to the end of the mount.
 *
 *	open members, open filesystem, mount, serve ... unmount, close filesystem, close members
 *
 * As a daemon the process forks first and does all of that in the child; the parent waits for
 * word that the mount is served, or for what went wrong. The main thread does no work while
 * requests are served: it waits for signals and for the end of the connection.
 *
 *   LI1  What is reported as mounted is served; what is reported as unmounted is on the images.
 *   LI2  A mount that fails has changed no image.
 */
#include "life.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl.h"
#include "ctl_client.h"
#include "dir_ahead.h"
#include "fstab.h"
#include "loop.h"
#include "ops.h"
#include "session.h"

enum {
	IDLE_TICK_MSEC = 1000,
	LINGER_TICKS = 10,	/* after a lazy unmount: so long for those who still have files open */
};

/* errors=panic ----------------------------------------------------------------------------- */

/*
 * The process ends where it is, as a machine would: not a byte more is written. A child that has
 * nothing of it but a name waits for that and takes the dead mount away.
 */
static void panic_end(void *arg)
{
	const struct daemon *d = arg;
	int fds[2];
	char byte;

	log_error("%s: errors=panic: the daemon ends here", d->o.mountpoint);
	if (!pipe2(fds, 0) && fork() == 0) {
		dup2(fds[0], STDIN_FILENO);
		close_range(STDERR_FILENO + 1, ~0u, 0);
		if (read(STDIN_FILENO, &byte, 1) == 0)
			session_unmount(d->o.mountpoint, true);
		_exit(0);
	}
	_exit(EXIT_SYSTEM);
}

/* Opening and closing ------------------------------------------------------------------ */

/*
 * The whole daemon stays within cache_size and 32 MiB: inodes, threads and what requests of the
 * moment need are more than those 32 with many clients, so that the cache gives up a part.
 */
static uint64_t cache_part(uint64_t cache_bytes)
{
	enum { OTHERS_PART = 16, OTHERS_MAX_BYTES = 16 << 20 };

	return cache_bytes - MIN(cache_bytes / OTHERS_PART, (uint64_t)OTHERS_MAX_BYTES);
}

static int open_fs(struct daemon *d)
{
	const struct opts *o = &d->o;
	const struct fs_opts fo = {
		.alloc = d->alloc, .cache_bytes = cache_part(o->cache_bytes), .background = true, .read_only = d->read_only,
		.atime = o->atime, .errors = o->errors, .last_mounted = o->mountpoint,
		.data = o->data, .commit_sec = o->commit_sec, .norecovery = o->norecovery,
		.panic = panic_end, .panic_arg = d,
		.use_reserved = getuid() == 0,
	};
	struct statvfs st;
	int err = fs_open(d->members.dev, &fo, &d->fs);

	if (!err)
		err = dir_ahead_new(&d->dir_ahead);
	if (err)
		return err;
	fs_statfs(d->fs, &st);
	d->block_bytes = (uint32_t)st.f_bsize;
	d->read_only = fs_is_read_only(d->fs);
	return 0;
}

static int open_all(struct daemon *d)
{
	int err = alloc_new(&(struct alloc_opts){ 0 }, &d->alloc);

	if (!err && d->o.on_event)
		err = events_start(d->o.on_event, d->o.mountpoint, &d->events);
	if (!err)
		err = members_open(&d->members, &d->o, d->alloc, d->events);
	if (err)
		return err;
	d->block_bytes = 4096;
	d->read_only = d->o.read_only || blk_is_read_only(d->members.dev);
	return d->o.verb == OPTS_VOLUME ? 0 : open_fs(d);
}

/* The first error of writing what was still held. */
static int close_all(struct daemon *d)
{
	int err = 0, close_err = 0;

	dir_ahead_free(d->dir_ahead);
	d->dir_ahead = NULL;
	if (d->fs)
		err = fs_close(d->fs);
	d->fs = NULL;
	if (d->members.dev)
		close_err = members_close(&d->members);
	events_stop(d->events);
	d->events = NULL;
	if (d->alloc)
		alloc_free(d->alloc);
	d->alloc = NULL;
	return err ? err : close_err;
}

/* Serving ----------------------------------------------------------------------------------- */

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* A busy mount is taken away all the same; those who have files open keep the connection a while. */
static bool unmount_by_signal(struct daemon *d)
{
	if (!session_unmount(d->o.mountpoint, false))
		return false;
	log_warn("%s is busy: it goes away lazily", d->o.mountpoint);
	session_unmount(d->o.mountpoint, true);
	return true;
}

/* Until the connection ends. */
static void wait_for_end(struct daemon *d, const sigset_t *signals)
{
	const int sig_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	struct pollfd fds[] = { { .fd = loop_end_fd(d->loop), .events = POLLIN }, { .fd = sig_fd, .events = POLLIN } };
	unsigned linger = 0;

	for (;;) {
		struct signalfd_siginfo info;

		if (poll(fds, ARRAY_LEN(fds), IDLE_TICK_MSEC) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (fds[1].revents && read(sig_fd, &info, sizeof(info)) == sizeof(info) && unmount_by_signal(d))
			linger = LINGER_TICKS;
		if (linger > 0 && --linger == 0)
			break;
		if (d->members.raid)
			raid_idle(d->members.raid);	/* what fails is told there, and again at the next write */
	}
	close(sig_fd);
}

static void pid_file_write(const struct opts *o)
{
	FILE *f = o->pid_file ? fopen(o->pid_file, "w") : NULL;

	if (!o->pid_file)
		return;
	if (!f || fprintf(f, "%d\n", (int)getpid()) < 0)
		log_warn("%s: cannot write the process id: %s", o->pid_file, strerror(errno));
	if (f)
		fclose(f);
}

/* The device number names the control socket; asking for it is the first request that is served. */
static void start_ctl(struct daemon *d)
{
	struct stat st;

	if (!stat(d->o.mountpoint, &st))
		d->ctl = ctl_start(d, st.st_dev);
}

/* served() is called once requests are answered. Returns the exit status. */
static int serve(struct daemon *d, void (*served)(void *arg), void *arg)
{
	const struct loop_how how = { .max_threads = d->o.single_thread ? 1 : d->o.max_threads,
				      .spin_usec = d->o.spin_usec, .ahead = d->o.ahead };
	sigset_t signals;
	int err;

	block_signals(&signals);
	clock_gettime(CLOCK_REALTIME, &d->start);
	os_rwlock_init(&d->volume_lock, RANK_DAEMON);
	err = open_all(d);
	if (!err)
		err = session_mount(d, d->fs ? &ops_fs : &ops_volume);
	if (!err)
		err = loop_start(d->se, &how, &d->loop);
	if (!err) {
		pid_file_write(&d->o);
		start_ctl(d);
		served(arg);
		wait_for_end(d, &signals);
	}
	ctl_stop(d->ctl);
	loop_stop(d->loop);
	session_free(d);
	const int close_err = close_all(d);

	if (close_err)
		log_error("%s: not everything could be written: %s", d->o.mountpoint, strerror(-close_err));
	ctl_free(d->ctl, close_err);
	if (!err && d->o.pid_file)
		unlink(d->o.pid_file);
	os_rwlock_fini(&d->volume_lock);
	return err ? EXIT_MOUNT : close_err ? EXIT_SYSTEM : EXIT_DONE;
}

/* In the background -------------------------------------------------------------------------- */

static void to_syslog(void *arg, enum log_level level, const char *line)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

	syslog(priorities[level], "%s", line);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* The parent may go: from here on there is no terminal to talk to. */
static void tell_parent(void *arg)
{
	const int *fd = arg;
	const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char ok = EXIT_DONE;

	openlog("osfs", LOG_PID, LOG_DAEMON);
	log_set_sink(to_syslog, NULL);
	if (chdir("/"))
		log_warn("cannot leave the current directory");
	for (int i = 0; i < 3 && null_fd >= 0; i++)
		dup2(null_fd, i);
	if (write(*fd, &ok, 1) == 1)
		close(*fd);
}

static int run_in_background(struct daemon *d)
{
	int pipe_fds[2], status;
	char word;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC)) {
		log_error("pipe: %s", strerror(errno));
		return EXIT_SYSTEM;
	}
	pid = fork();
	if (pid < 0) {
		log_error("fork: %s", strerror(errno));
		return EXIT_SYSTEM;
	}
	if (pid == 0) {
		close(pipe_fds[0]);
		setsid();
		return serve(d, tell_parent, &pipe_fds[1]);
	}
	close(pipe_fds[1]);
	if (read(pipe_fds[0], &word, 1) == 1)
		return word;
	/* It ended before it served: its exit status says how, its messages are out. */
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("the daemon died before it served the mount");
	return EXIT_MOUNT;
}

/* nofail: a member that does not exist is no failure. */
static bool may_be_left_out(const struct opts *o)
{
	for (unsigned i = 0; o->nofail && i < o->nr_members; i++)
		if (strcmp(o->members[i], OPTS_MISSING) && access(o->members[i], F_OK) && errno == ENOENT) {
			log_warn("%s does not exist; not mounted, as nofail asks for", o->members[i]);
			return true;
		}
	return false;
}

int life_mount(struct opts *o)
{
	struct daemon d = { .o = *o };
	int status, err = session_check_mountpoint(d.o.mountpoint);

	*o = (struct opts){ 0 };
	if (!err && d.o.dir)
		err = members_find(&d.o, d.o.dir);
	if (!err && !d.o.nr_members)
		err = fstab_resolve(&d.o);
	if (err)
		status = EXIT_MOUNT;
	else if (may_be_left_out(&d.o))
		status = EXIT_DONE;
	else
		status = d.o.foreground ? serve(&d, nothing, NULL) : run_in_background(&d);
	opts_fini(&d.o);
	return status;
}

int life_umount(const char *mountpoint)
{
	json_t *result = NULL;
	int err = ctl_ask(mountpoint, "umount", NULL, &result);

	json_decref(result);
	if (err == -ENOENT) {
		log_error("%s: no osfs serves it", mountpoint);
		return EXIT_USAGE;
	}
	return err ? EXIT_MOUNT : EXIT_DONE;
}
