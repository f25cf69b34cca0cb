/* members.c: opening and closing what makes the volume. */
#include "members.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "blk/blk_fault.h"

static void close_devs(struct members *m)
{
	for (unsigned i = 0; i < m->nr; i++)
		blk_close(m->devs[i]);
	free(m->devs);
	*m = (struct members){ 0 };
}

static int open_dev(const char *name, const struct blk_open_opts *how, struct blk_dev **out)
{
	struct blk_dev *image;
	int err = blk_open(name, how, &image);

	if (err)
		return err;
	err = blk_fault_new(image, 0, out);
	if (err)
		blk_close(image);
	return err;
}

static int open_devs(struct members *m, const struct opts *o)
{
	int err;

	m->how = (struct blk_open_opts){ .read_only = o->read_only, .direct = o->direct };

	m->devs = calloc(o->nr_members, sizeof(struct blk_dev *));
	if (!m->devs)
		return -ENOMEM;
	for (unsigned i = 0; i < o->nr_members; i++) {
		if (!strcmp(o->members[i], OPTS_MISSING))
			continue;
		err = open_dev(o->members[i], &m->how, &m->devs[m->nr]);
		if (err)
			return err;
		m->nr++;
	}
	if (m->nr)
		return 0;
	log_error("every member is missing");
	return -ENODEV;
}

/*
 * Degraded, an array loses data with the next member that fails, so writing to it is somebody's
 * decision: -o degraded, or a yes on the terminal. Without it the mount is read-only.
 */
static bool may_write_degraded(void *arg, const char *array)
{
	const struct opts *o = arg;
	char answer[16] = "";

	if (o->degraded)
		return true;
	if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
		fprintf(stderr, "osfs: array %s is degraded: write to it all the same? [y/N] ", array);
		if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
			return true;
	}
	log_warn("array %s is degraded: mounted read-only; for writing mount it with -o degraded", array);
	return false;
}

static void on_event(void *arg, const struct raid_event *ev)
{
	events_post(arg, ev->name, ev->member);
}

static int assemble(struct members *m, const struct opts *o, struct alloc *a, struct events *ev)
{
	const struct raid_open_opts ro = {
		.alloc = a, .read_only = o->read_only, .force = o->force, .write_degraded = may_write_degraded,
		.degraded_arg = (void *)(uintptr_t)o, .on_event = ev ? on_event : NULL, .event_arg = ev,
		.work = RAID_WORK_THREAD, .slow_msec = o->slow_msec, .max_slow = o->max_slow,
		.max_read_errors = o->max_read_errors,
	};
	struct raid_info info;
	int err;

	if (m->nr == 1) {
		err = raid_examine(m->devs[0], &info);
		if (err == -ENOENT && o->nr_members > 1) {
			log_error("%s is not a member of an array: nothing can be missing", blk_name(m->devs[0]));
			return -EINVAL;
		}
		if (err == -ENOENT) {
			m->dev = m->devs[0];
			return 0;
		}
		if (err)
			return err;
	}
	err = raid_assemble(m->devs, m->nr, &ro, &m->raid);
	if (err)
		return err;
	m->dev = raid_dev(m->raid);
	return 0;
}

int members_open(struct members *m, const struct opts *o, struct alloc *a, struct events *ev)
{
	int err;

	*m = (struct members){ 0 };
	err = open_devs(m, o);
	if (!err)
		err = assemble(m, o, a, ev);
	if (err)
		close_devs(m);
	return err;
}

int members_close(struct members *m)
{
	int err = 0;

	if (m->raid) {
		err = raid_free(m->raid);
		m->nr = 0;	/* they went with it */
	} else if (m->dev && !blk_is_read_only(m->dev)) {
		err = blk_flush(m->dev);
	}
	close_devs(m);
	return err;
}

/* Coming and going --------------------------------------------------------------------- */

struct blk_dev *members_dev(const struct members *m, const char *name)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (!strcmp(blk_name(m->devs[i]), name))
			return m->devs[i];
	return NULL;
}

int members_add(struct members *m, const char *path, enum raid_add how, int *dev_nr)
{
	struct blk_dev **more = realloc(m->devs, (m->nr + 1) * sizeof(struct blk_dev *));
	struct blk_dev *dev;
	int err;

	if (!more)
		return -ENOMEM;
	m->devs = more;
	err = open_dev(path, &m->how, &dev);
	if (err)
		return err;
	err = raid_member_add(m->raid, dev, how, dev_nr);
	if (err)
		blk_close(dev);
	else
		m->devs[m->nr++] = dev;
	return err;
}

static void forget_dev(struct members *m, const struct blk_dev *dev)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nr; i++)
		if (m->devs[i] != dev)
			m->devs[n++] = m->devs[i];
	m->nr = n;
}

int members_remove(struct members *m, int dev_nr)
{
	struct blk_dev *dev;
	const int err = raid_member_remove(m->raid, dev_nr, &dev);

	if (err)
		return err;
	forget_dev(m, dev);
	blk_close(dev);
	return 0;
}

int members_return(struct members *m, int *dev_nr, enum raid_add how)
{
	struct blk_dev *dev;
	int err = raid_member_remove(m->raid, *dev_nr, &dev);

	if (err)
		return err;
	err = raid_member_add(m->raid, dev, how, dev_nr);
	if (err) {
		forget_dev(m, dev);
		blk_close(dev);
	}
	return err;
}

/* The array that path is a member of: 0 and *info; -ENOENT when it is of none. */
static int examine_path(const char *path, struct raid_info *info)
{
	static const struct blk_open_opts look = { .read_only = true, .no_lock = true };
	struct blk_dev *d;
	struct stat st;
	int err;

	if (stat(path, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) ||
	    (S_ISREG(st.st_mode) && !st.st_size))
		return -ENOENT;
	err = blk_open(path, &look, &d);
	if (err)
		return err;
	err = raid_examine(d, info);
	blk_close(d);
	return err;
}

static int find_one(struct opts *o, const char *path, struct raid_info *first, char **first_path)
{
	struct raid_info info;
	const int err = examine_path(path, &info);

	if (err)
		return err == -ENOENT || err == -EUCLEAN ? 0 : err;	/* damaged: told, and left out */
	if (!*first_path) {
		*first_path = strdup(path);
		if (!*first_path)
			return -ENOMEM;
		*first = info;
	} else if (memcmp(first->uuid, info.uuid, sizeof(info.uuid))) {
		log_error("%s and %s are members of different arrays; name the members", *first_path, path);
		return -EINVAL;
	}
	return opts_add_member(o, path, strlen(path));
}

static int not_dot(const struct dirent *de)
{
	return de->d_name[0] != '.';
}

int members_find(struct opts *o, const char *dir)
{
	struct raid_info first;
	char *first_path = NULL, path[4096];
	struct dirent **names;
	const int nr = scandir(dir, &names, not_dot, alphasort);
	int err = 0;

	if (nr < 0) {
		err = -errno;
		log_error("%s: %s", dir, strerror(-err));
		return err;
	}
	for (int i = 0; i < nr; i++) {
		if (!err && (size_t)snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name) < sizeof(path))
			err = find_one(o, path, &first, &first_path);
		free(names[i]);
	}
	free(names);
	free(first_path);
	if (!err && !o->nr_members) {
		log_error("%s: no member of an array lies there", dir);
		err = -ENODEV;
	}
	return err;
}
