/*
 * blk_file_lock.c: the lock on an image, and who has it when we do not get it.
 *
 * flock(2): one owner for writing or any number for reading, gone with the last
 * descriptor even when its process is killed, kept over the fork of a daemon.
 *
 * The kernel's own references to a descriptor (requests of a ring that is torn down in the
 * background) can outlive close() and even the process for a moment. So closing unlocks
 * by name, and a lock that no process has is waited for a little.
 */
#include "config.h"
#include "blk/blk_file_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum {
	COMM_BYTES = 64,
	ORPHAN_TRIES = 40,	/* of a lock whose process has gone */
	ORPHAN_WAIT_NSEC = 50 * 1000 * 1000,
};

/* The name of a process; false when there is none of that number. */
static bool process_name(int pid, char comm[static COMM_BYTES])
{
	char path[64];
	bool ok;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	in = fopen(path, "re");
	if (!in)
		return false;
	ok = fgets(comm, COMM_BYTES, in) != NULL;
	fclose(in);
	comm[ok ? strcspn(comm, "\n") : 0] = '\0';
	return ok;
}

/*
 * The line of a flock on the image in /proc/locks or /proc/PID/fdinfo/FD (where it
 * has "lock:" in front): its process, 0 when the kernel does not say, -1 no such line.
 */
static int flock_line(const char *line, const struct stat *st)
{
	unsigned int major_nr, minor_nr;
	unsigned long inode;
	char kind[16];
	int pid;

	if (!strncmp(line, "lock:", 5))
		line += 5;
	if (sscanf(line, "%*d: %15s %*s %*s %d %x:%x:%lu", kind, &pid, &major_nr, &minor_nr, &inode) != 5)
		return -1;
	if (strcmp(kind, "FLOCK") || inode != st->st_ino)
		return -1;
	return MAX(pid, 0);
}

/* By /proc/locks, which names who took the lock, if that process is still there; else 0. */
static int holder_in_locks(const struct stat *st)
{
	char comm[COMM_BYTES], line[256], dev[32];
	int found = 0;
	FILE *in;

	in = fopen("/proc/locks", "re");
	if (!in)
		return 0;
	snprintf(dev, sizeof(dev), " %02x:%02x:", major(st->st_dev), minor(st->st_dev));
	while (!found && fgets(line, sizeof(line), in)) {
		int pid = flock_line(line, st);

		if (pid > 0 && strstr(line, dev) && process_name(pid, comm))
			found = pid;
	}
	fclose(in);
	return found;
}

static bool fd_has_flock(const char *pid, const char *fd, const struct stat *st)
{
	char path[640], line[256];
	bool found = false;
	struct stat other;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, fd);
	if (stat(path, &other) < 0 || other.st_dev != st->st_dev || other.st_ino != st->st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	in = fopen(path, "re");
	if (!in)
		return false;
	while (!found && fgets(line, sizeof(line), in))
		found = flock_line(line, st) >= 0;
	fclose(in);
	return found;
}

static bool process_has_flock(const char *pid, const struct stat *st)
{
	char path[300];
	bool found = false;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (e = readdir(dir)))
		found = e->d_name[0] != '.' && fd_has_flock(pid, e->d_name, st);
	closedir(dir);
	return found;
}

/* By the descriptors of the processes we may look into: finds a daemon whose parent took the lock. 0: none. */
static int holder_in_descriptors(const struct stat *st)
{
	struct dirent *e;
	int found = 0;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return 0;
	while (!found && (e = readdir(dir)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && process_has_flock(e->d_name, st))
			found = atoi(e->d_name);
	closedir(dir);
	return found;
}

/* 0: none that we may see. */
static int holder_of(int fd)
{
	struct stat st;
	int pid;

	if (fstat(fd, &st))
		return 0;
	pid = holder_in_locks(&st);
	return pid ? pid : holder_in_descriptors(&st);
}

static void tell_holder(int pid, const char *name)
{
	char comm[COMM_BYTES];

	if (pid == getpid())
		log_error("%s: already open in this process: was it named twice?", name);
	else if (pid && process_name(pid, comm))
		log_error("%s: in use by %s (process %d)", name, comm, pid);
	else
		log_error("%s: in use by another process", name);
}

static int try_lock(int fd, bool exclusive)
{
	int ret;

	do
		ret = flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

int file_lock(int fd, const char *name, bool exclusive)
{
	const struct timespec pause = { .tv_nsec = ORPHAN_WAIT_NSEC };
	int pid = 0, err = try_lock(fd, exclusive);

	for (unsigned i = 0; err == -EWOULDBLOCK && !(pid = holder_of(fd)) && i < ORPHAN_TRIES; i++) {
		nanosleep(&pause, NULL);
		err = try_lock(fd, exclusive);
	}
	if (err == -EWOULDBLOCK) {
		tell_holder(pid, name);
		return -EBUSY;
	}
	if (err)
		log_warn("%s: cannot be locked here (%s); nothing else may use it meanwhile", name, strerror(-err));
	return 0;
}

void file_unlock(int fd)
{
	flock(fd, LOCK_UN);	/* nothing to do where there was no lock */
}
