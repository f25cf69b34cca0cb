/* mkfs.c: mkfs.osfs, in the order of its steps. */
#include "mkfs.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "mkfs_int.h"

static void print_array(const struct mkfs_opts *o)
{
	char layout[32];

	printf("Creating %s array of %u devices", raid_level_name(o->raid.level), o->nr_disks);
	if (o->raid.level != RAID_1 && o->raid.level != RAID_LINEAR)
		printf(", chunk %uK", (o->raid.chunk_sects ? o->raid.chunk_sects : RAID_DEFAULT_CHUNK_SECTS) / 2);
	if (*raid_layout_name(o->raid.level, o->raid.layout, layout))
		printf(", layout %s", layout);
	if (o->nr_spares)
		printf(", %u spare%s", o->nr_spares, o->nr_spares == 1 ? "" : "s");
	putchar('\n');
}

static int check_populate_dir(const struct mkfs_opts *o)
{
	struct stat st;

	if (!o->populate_dir)
		return 0;
	if (stat(o->populate_dir, &st) || !S_ISDIR(st.st_mode)) {
		log_error("-d: %s is not a directory", o->populate_dir);
		return -ENOTDIR;
	}
	return 0;
}

/* What cannot be made is found out before anything is written, where the size is known without an array. */
static int check_layout(const struct mkfs_opts *o, const struct mkfs_members *m)
{
	const uint64_t sects = mkfs_members_volume_sects(o, m);
	struct mkfs_layout l;
	int err;

	if (!sects)
		return 0;
	err = mkfs_layout_make(o, NULL, 0, sects << SECT_SHIFT, &l);
	mkfs_layout_free(&l);
	return err;
}

/* -n: what would be made, as far as it can be told without making the array. */
static int show_only(const struct mkfs_opts *o, const struct mkfs_members *m)
{
	const uint64_t sects = mkfs_members_volume_sects(o, m);
	struct mkfs_layout l;
	int err;

	if (o->level_set)
		print_array(o);
	if (!sects)
		return 0;
	err = mkfs_layout_make(o, NULL, 0, sects << SECT_SHIFT, &l);
	if (!err)
		mkfs_layout_print(&l);
	mkfs_layout_free(&l);
	return err;
}

static int make_filesystem(const struct mkfs_opts *o, struct mkfs_members *m, bool progress)
{
	static struct raid_status status;	/* large; mkfs_main is not reentrant anyhow */
	struct mkfs_layout l;
	int err;

	if (m->raid)
		raid_status_get(m->raid, &status);
	err = mkfs_layout_make(o, m->raid ? &status.array : NULL, blk_optimal_bytes(m->volume),
			       blk_nr_sects(m->volume) << SECT_SHIFT, &l);
	if (!err && !o->quiet)
		mkfs_layout_print(&l);
	if (!err && !m->zeroed && o->discard)
		blk_discard(m->volume, 0, blk_nr_sects(m->volume));
	if (!err)
		err = mkfs_write(&l, m->volume, m->zeroed, progress);
	mkfs_layout_free(&l);
	return err;
}

static int make(const struct mkfs_opts *o, struct mkfs_members *m)
{
	const bool progress = !o->quiet && isatty(STDOUT_FILENO);
	int err = mkfs_members_open(o, m);

	if (err)
		return err;
	if (o->dry_run)
		return show_only(o, m);
	err = check_layout(o, m);
	if (err)
		return err;
	if (o->level_set && !o->quiet)
		print_array(o);
	err = mkfs_members_assemble(o, m);
	if (!err)
		err = make_filesystem(o, m, progress);
	if (!err && o->populate_dir)
		err = mkfs_populate(m->volume, m->alloc, o->populate_dir, progress);
	return err;
}

int mkfs_main(int argc, char **argv)
{
	static struct mkfs_members m;
	struct mkfs_opts o;
	const int parsed = mkfs_opts_parse(argc, argv, &o);
	int err, close_err;

	if (parsed)
		return parsed == 2 ? 0 : 1;
	if (check_populate_dir(&o))
		return 1;
	err = make(&o, &m);
	close_err = mkfs_members_close(&m, err != 0);
	if (!err && close_err)
		log_error("cannot finish: %s", strerror(-close_err));
	return err || close_err ? 1 : 0;
}
