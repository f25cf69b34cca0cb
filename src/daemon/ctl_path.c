/* ctl_path.c: where the control socket of a mount lies; for the daemon and osfsctl. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ctl.h"

static int socket_dir(char *dir, size_t cap)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (getuid() == 0)
		n = snprintf(dir, cap, "/run/osfs");
	else if (runtime && *runtime == '/')
		n = snprintf(dir, cap, "%s/osfs", runtime);
	else
		n = snprintf(dir, cap, "/tmp/osfs-%u", (unsigned)getuid());
	return n < (int)cap ? 0 : -ENAMETOOLONG;
}

/* Somebody else's directory by that name is no place for it. */
static int make_dir(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	if (lstat(dir, &st))
		return -errno;
	return S_ISDIR(st.st_mode) && st.st_uid == getuid() ? 0 : -EPERM;
}

int ctl_path(dev_t dev, bool make, char path[static CTL_PATH_BYTES])
{
	char dir[CTL_PATH_BYTES];
	int err = socket_dir(dir, sizeof(dir));

	if (!err && make)
		err = make_dir(dir);
	if (err)
		return err;
	return snprintf(path, CTL_PATH_BYTES, "%s/%u-%u", dir, major(dev), minor(dev)) < CTL_PATH_BYTES ? 0 : -ENAMETOOLONG;
}
