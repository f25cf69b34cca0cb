/* fstab.c: see fstab.h. */
#include "fstab.h"

#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "mkfs/mkfs.h"

enum { PATH_BYTES = 4096, DEFAULT_DISKS = 4 };
#define DEFAULT_DISK_SIZE "4g"

static const char *home(void)
{
	const char *h = getenv("HOME");

	return h && *h ? h : "/";
}

/* 1: found and taken over; 0: not in this table. */
static int look_in(const char *table, struct opts *o)
{
	FILE *f = setmntent(table, "r");
	struct mntent *m;
	int err = 0, found = 0;

	if (!f)
		return 0;
	while (!err && !found && (m = getmntent(f))) {
		char *dir = realpath(m->mnt_dir, NULL);

		if (strcmp(m->mnt_dir, o->mountpoint) && !(dir && !strcmp(dir, o->mountpoint))) {
			free(dir);
			continue;
		}
		free(dir);
		found = 1;
		err = opts_add_members(o, m->mnt_fsname);
		if (!err)
			err = opts_parse_list(m->mnt_type, o);	/* osfstab has no type: its third field are the options */
	}
	endmntent(f);
	return err ? err : found;
}

static int data_dir(char *dir, size_t cap)
{
	const char *data = getenv("XDG_DATA_HOME");
	const int n = data && *data == '/' ? snprintf(dir, cap, "%s/osfs/default", data)
					   : snprintf(dir, cap, "%s/.local/share/osfs/default", home());

	return n < (int)cap ? 0 : -ENAMETOOLONG;
}

static int make_path(char *path)
{
	for (char *p = path + 1;; p++) {
		const char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) && errno != EEXIST) {
			const int err = -errno;

			log_error("%s: %s", path, strerror(-err));
			return err;
		}
		*p = c;
		if (c == '\0')
			return 0;
	}
}

static int make_default(char disks[DEFAULT_DISKS][PATH_BYTES])
{
	char owner[64];
	char *argv[] = { (char *)"mkfs.osfs", (char *)"-q", (char *)"--level=5", (char *)"--size=" DEFAULT_DISK_SIZE,
		(char *)"-E", owner, disks[0], disks[1], disks[2], disks[3], NULL };

	snprintf(owner, sizeof(owner), "root_owner=%u:%u", (unsigned)getuid(), (unsigned)getgid());
	log_info("making the default array: RAID 5 over four sparse images of %s each", DEFAULT_DISK_SIZE);
	return mkfs_main((int)ARRAY_LEN(argv) - 1, argv) ? -EIO : 0;
}

/* Four images in the user's data directory; made when none of them is there. */
static int use_default(struct opts *o)
{
	char dir[PATH_BYTES - 16], disks[DEFAULT_DISKS][PATH_BYTES];
	unsigned nr_there = 0;
	int err = data_dir(dir, sizeof(dir));

	if (!err)
		err = make_path(dir);
	if (err)
		return err;
	for (unsigned i = 0; i < DEFAULT_DISKS; i++) {
		snprintf(disks[i], sizeof(disks[i]), "%s/disk%u", dir, i);
		nr_there += access(disks[i], F_OK) == 0;
	}
	if (nr_there == 0)
		err = make_default(disks);
	for (unsigned i = 0; !err && i < DEFAULT_DISKS; i++)
		if (access(disks[i], F_OK) == 0)
			err = opts_add_member(o, disks[i], strlen(disks[i]));
	if (!err)
		log_info("the default array in %s", dir);
	return err;
}

int fstab_resolve(struct opts *o)
{
	const char *config = getenv("XDG_CONFIG_HOME");
	char table[PATH_BYTES];
	int found;

	if (config && *config == '/')
		snprintf(table, sizeof(table), "%s/osfs/osfstab", config);
	else
		snprintf(table, sizeof(table), "%s/.config/osfs/osfstab", home());
	found = look_in(table, o);
	if (!found)
		found = look_in("/etc/osfstab", o);
	if (found)
		return found < 0 ? found : 0;
	return use_default(o);
}
