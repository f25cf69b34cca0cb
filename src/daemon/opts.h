/*
 * opts.h: what the command line of osfs asks for, checked as far as it can be
 * without looking at the members.
 *
 *	osfs [OPTIONS] [MEMBER...] MOUNTPOINT
 *	osfs [OPTIONS] A:B:C MOUNTPOINT		as mount.fuse3 passes an fstab line
 *	osfs [OPTIONS] -d DIR MOUNTPOINT
 *	osfs volume [OPTIONS] MEMBER... MOUNTPOINT
 *	osfs umount MOUNTPOINT
 *	osfs scan [--json] [PATH...]
 *
 * Errors are one line in the log; options that osfs does not know are refused by name.
 */
#ifndef OSFS_DAEMON_OPTS_H
#define OSFS_DAEMON_OPTS_H

#include "base/types.h"
#include "fs/fs.h"
#include "loop.h"

enum opts_verb {
	OPTS_MOUNT,	/* the filesystem on the volume */
	OPTS_VOLUME,	/* the volume as one file */
	OPTS_UMOUNT,
	OPTS_SCAN,	/* say what the paths are */
	OPTS_HELP,
	OPTS_VERSION,
};

/* A member so named is not there: its slot stays empty. An image of that name is written ./missing. */
#define OPTS_MISSING "missing"

struct opts {
	enum opts_verb verb;
	char **members;		/* owned, as given, A:B:C taken apart */
	unsigned nr_members;
	char *mountpoint;	/* owned; absolute where it exists */
	const char *dir;	/* -d, or NULL */
	const char *pid_file;	/* or NULL */
	bool foreground;
	bool single_thread;
	bool json;		/* scan */

	bool read_only;
	bool allow_other;
	bool fakeroot;
	bool nofail;
	bool degraded;		/* an array that comes up degraded is written to */
	bool force;		/* also one that was not stopped cleanly */
	bool direct;
	bool sync_mount, dirsync;
	bool dev, suid, noexec;
	bool uid_set, gid_set, umask_set;
	uint32_t uid, gid, umask;
	uint64_t cache_bytes;
	uint32_t max_threads;
	uint32_t spin_usec;	/* how long a worker looks for the next request before it sleeps; 0: not at all */
	enum loop_ahead ahead;
	uint32_t slow_msec;	/* a member that often takes longer is set faulty; 0: no limit */
	uint32_t max_slow;	/* within an hour; 0: 10 */
	uint32_t max_read_errors;	/* within an hour; 0: md's 20 */
	char *on_event;		/* owned; a program, or NULL */
	bool writeback;		/* the kernel may gather small writes */
	enum fs_atime atime;
	enum fs_errors errors;
	enum fs_data data;
	uint32_t commit_sec;
	bool norecovery;
};

void opts_init(struct opts *o);
void opts_fini(struct opts *o);
/* 0, or -EINVAL after a message; -ENOMEM. Texts that o points to belong to argv. */
MUST_CHECK int opts_parse(int argc, char **argv, struct opts *o);
/* A comma-separated list as -o has it. */
MUST_CHECK int opts_parse_list(const char *list, struct opts *o);
/*
 * Members in the form of fstab's first field: A:B:C, "\:" for a colon within a name; a
 * field that names an existing file, or a piece that begins with a scheme, stays whole.
 */
MUST_CHECK int opts_add_members(struct opts *o, const char *field);
MUST_CHECK int opts_add_member(struct opts *o, const char *name, size_t len);
void opts_print_help(void);
void opts_print_version(void);

#endif
