/*
 * mkfs_members.c: opens or creates the members and makes the array on them.
 *
 *   M1  Nothing is written to any member before every member has been looked at.
 *   M2  Images that were created are removed again when the making fails.
 */
#include <blkid/blkid.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "mkfs_int.h"

/* Where superblocks of arrays and filesystems can lie at the ends of a device. */
enum { WIPE_SECTS = (1 << 20) >> SECT_SHIFT };

static const char *probe_value(blkid_probe pr, const char *name)
{
	const char *value = NULL;

	return blkid_probe_lookup_value(pr, name, &value, NULL) == 0 ? value : NULL;
}

static void say_found(const char *path, blkid_probe pr)
{
	const char *type = probe_value(pr, "TYPE"), *label = probe_value(pr, "LABEL");
	const char *table = probe_value(pr, "PTTYPE");
	const bool array = type && !strcmp(type, "linux_raid_member");

	if (array)
		log_error("%s is a member of the array '%s'; -F overwrites it", path, label ? label : "");
	else if (type)
		log_error("%s contains a %s file system%s%s%s; -F overwrites it", path, type,
			  label ? " labelled '" : "", label ? label : "", label ? "'" : "");
	else
		log_error("%s contains a %s partition table; -F overwrites it", path, table ? table : "?");
}

/* Refuses what holds a filesystem, an array or a partition table. */
static int check_empty(const char *path)
{
	blkid_probe pr = blkid_new_probe_from_filename(path);
	int err = 0;

	if (!pr)
		return 0;	/* blk_open says what is the matter with it */
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
	blkid_probe_enable_partitions(pr, 1);
	/* 0: something found; 1: nothing; -2: several at once, which is also something. */
	switch (blkid_do_safeprobe(pr)) {
	case 0:
		say_found(path, pr);
		err = -EEXIST;
		break;
	case -2:
		log_error("%s contains traces of several file systems; -F overwrites them", path);
		err = -EEXIST;
		break;
	default:
		break;
	}
	blkid_free_probe(pr);
	return err;
}

static bool is_missing(const char *path)
{
	return !strcmp(path, "missing");
}

/* A backend's URI names no file that could be probed, created or doubled. */
static bool is_plain_path(const char *path)
{
	return !strchr(path, ':') || *path == '/' || *path == '.';
}

static int check_path(const struct mkfs_opts *o, const char *path)
{
	struct stat st;

	if (is_missing(path) || !is_plain_path(path))
		return 0;
	if (stat(path, &st)) {
		if (errno != ENOENT) {
			const int err = -errno;

			log_error("%s: %s", path, strerror(-err));
			return err;
		}
		if (!o->image_bytes) {
			log_error("%s does not exist; --size=SIZE creates it", path);
			return -ENOENT;
		}
		return 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		log_error("%s is neither an image file nor a block device", path);
		return -ENOTBLK;
	}
	if (S_ISREG(st.st_mode) && st.st_size == 0 && !o->image_bytes) {
		log_error("%s is empty; --size=SIZE gives it a size", path);
		return -EINVAL;
	}
	return o->force ? 0 : check_empty(path);
}

static int check_doubles(const struct mkfs_opts *o)
{
	struct stat a, b;

	for (unsigned i = 0; i < o->nr_members; i++) {
		if (is_missing(o->members[i]))
			continue;
		for (unsigned k = 0; k < i; k++) {
			const bool same_name = !strcmp(o->members[i], o->members[k]);
			const bool both = !stat(o->members[i], &a) && !stat(o->members[k], &b);

			if (same_name || (both && a.st_dev == b.st_dev && a.st_ino == b.st_ino)) {
				log_error("%s and %s are the same member", o->members[k], o->members[i]);
				return -EINVAL;
			}
		}
	}
	return 0;
}

static int check_missing(const struct mkfs_opts *o)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < o->nr_members; i++)
		nr += is_missing(o->members[i]);
	if (nr && !o->level_set) {
		log_error("a single image cannot be missing");
		return -EINVAL;
	}
	if (nr && nr == o->nr_members) {
		log_error("every member is missing");
		return -EINVAL;
	}
	return 0;
}

/* Empty files get the size too; blk_open creates what is not there. */
/* An empty file is given the size; one that does not exist is created by blk_open. */
static int open_member(const struct mkfs_opts *o, struct mkfs_members *m, unsigned i)
{
	const char *path = o->members[i];
	struct blk_open_opts bo = { .read_only = o->dry_run };
	struct stat st;
	bool exists;
	int err;

	if (is_missing(path))
		return 0;
	exists = !is_plain_path(path) || !stat(path, &st);
	if (!exists && o->dry_run)
		return 0;
	if (exists && is_plain_path(path) && S_ISREG(st.st_mode) && st.st_size == 0 && !o->dry_run) {
		if (truncate(path, (off_t)o->image_bytes)) {
			err = -errno;
			log_error("%s: cannot set its size: %s", path, strerror(-err));
			return err;
		}
	}
	if (!exists)
		bo.create_bytes = o->image_bytes;
	err = blk_open(path, &bo, &m->dev[i]);
	if (err)
		return err;
	m->created[i] = !exists;
	return 0;
}

static bool all_created(const struct mkfs_members *m)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (m->dev[i] && !m->created[i])
			return false;
	return true;
}

int mkfs_members_open(const struct mkfs_opts *o, struct mkfs_members *m)
{
	int err;

	*m = (struct mkfs_members){ .nr = o->nr_members, .nr_disks = o->level_set ? o->nr_disks : 1 };
	err = check_missing(o);
	if (!err)
		err = check_doubles(o);
	for (unsigned i = 0; !err && i < o->nr_members; i++)
		err = check_path(o, o->members[i]);
	if (!err)
		err = alloc_new(&(struct alloc_opts){ 0 }, &m->alloc);
	for (unsigned i = 0; !err && i < o->nr_members; i++) {
		m->path[i] = o->members[i];
		err = open_member(o, m, i);
	}
	m->zeroed = all_created(m);
	return err;
}

/* Old superblocks would be found again: at both ends, wherever a format may keep one. */
static int wipe(struct blk_dev *d)
{
	const uint64_t nr = blk_nr_sects(d), end = MIN(nr, (uint64_t)WIPE_SECTS);
	int err = blk_zero(d, 0, end);

	if (!err && nr > end)
		err = blk_zero(d, nr - end, end);
	if (err)
		log_error("%s: cannot clear old contents: %s", blk_name(d), strerror(-err));
	return err;
}

int mkfs_members_assemble(const struct mkfs_opts *o, struct mkfs_members *m)
{
	struct blk_dev *present[RAID_MAX_MEMBERS];
	unsigned nr_present = 0;
	int err;

	for (unsigned i = 0; i < m->nr; i++) {
		if (!m->dev[i])
			continue;
		err = m->created[i] ? 0 : wipe(m->dev[i]);
		if (err)
			return err;
		present[nr_present++] = m->dev[i];
	}
	if (!o->level_set) {
		m->volume = m->dev[0];
		return 0;
	}
	err = raid_create(&o->raid, m->dev, m->dev + m->nr_disks, m->nr - m->nr_disks, m->zeroed || o->assume_clean);
	if (err)
		return err;
	/* Arrays with redundancy are zeroed when they are made, the others only when their members were new. */
	m->zeroed |= o->raid.level > RAID_0 && !o->assume_clean;
	err = raid_assemble(present, nr_present, &(struct raid_open_opts){ .alloc = m->alloc, .quiet = true }, &m->raid);
	if (err)
		return err;
	memset(m->dev, 0, sizeof(m->dev));	/* they are the array's now */
	m->volume = raid_dev(m->raid);
	for (unsigned i = 0; i < m->nr && !err; i++)
		if (o->write_mostly[i] && !is_missing(o->members[i]))
			err = raid_member_write_mostly(m->raid, (int)i, true);
	return err;
}

uint64_t mkfs_members_volume_sects(const struct mkfs_opts *o, const struct mkfs_members *m)
{
	uint64_t least = 0;

	for (unsigned i = 0; i < m->nr_disks; i++) {
		const uint64_t nr = m->dev[i] ? blk_nr_sects(m->dev[i]) : o->image_bytes >> SECT_SHIFT;

		if (nr && (!least || nr < least))
			least = nr;
	}
	return o->level_set ? 0 : least;
}

int mkfs_members_close(struct mkfs_members *m, bool failed)
{
	int err = 0;

	if (m->raid)
		err = raid_free(m->raid);
	for (unsigned i = 0; i < m->nr; i++) {
		if (m->dev[i]) {
			const int flush_err = failed || blk_is_read_only(m->dev[i]) ? 0 : blk_flush(m->dev[i]);

			err = err ? err : flush_err;
			blk_close(m->dev[i]);
		}
		if (failed && m->created[i])
			unlink(m->path[i]);
	}
	if (m->alloc)
		alloc_free(m->alloc);
	return err;
}
