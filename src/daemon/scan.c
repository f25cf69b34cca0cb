/* scan.c: see scan.h. Finds out and gathers as JSON; scan_print.c turns that into text for people. */
#include "scan.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "probe.h"
#include "raid/raid.h"
#include "scan_int.h"

enum { MAX_LINES = 32 };

struct item {
	char *path;
	dev_t dev;
	ino_t ino;
	bool named;		/* given by the user, not found in a directory */
	struct raid_info info;
	bool is_member, is_done;
	char *in_use;		/* by whom; NULL: by nobody */
};

struct scan {
	struct alloc *alloc;
	struct item *items;
	unsigned nr_items;
	char *lines[MAX_LINES];	/* messages since lines_clear() */
	unsigned nr_lines;
	json_t *arrays, *images;
	bool error;		/* a path that the user named could not be looked at */
};

/* Messages of the layers below belong to what is being looked at, not to the log. ------------------ */

static void keep_line(void *arg, enum log_level level, const char *line)
{
	struct scan *s = arg;

	if (level <= LOG_LEVEL_WARN && s->nr_lines < MAX_LINES && (s->lines[s->nr_lines] = strdup(line)))
		s->nr_lines++;
}

static void lines_clear(struct scan *s)
{
	while (s->nr_lines > 0)
		free(s->lines[--s->nr_lines]);
}

/* The lines as a list, "PATH: " taken off where path is not NULL. */
static json_t *lines_take(struct scan *s, const char *path)
{
	json_t *list = json_array();
	const size_t len = path ? strlen(path) : 0;

	for (unsigned i = 0; i < s->nr_lines; i++) {
		const char *line = s->lines[i];

		if (len && !strncmp(line, path, len) && line[len] == ':' && line[len + 1] == ' ')
			line += len + 2;
		json_array_append_new(list, json_string(line));
	}
	lines_clear(s);
	return list;
}

/* Paths ---------------------------------------------------------------------------------------------- */

static bool is_known(const struct scan *s, const struct stat *st)
{
	for (unsigned i = 0; i < s->nr_items; i++)
		if (s->items[i].dev == st->st_dev && s->items[i].ino == st->st_ino)
			return true;
	return false;
}

static int add_item(struct scan *s, const char *path, const struct stat *st, bool named)
{
	struct item *more;

	if (is_known(s, st))
		return 0;
	more = realloc(s->items, (s->nr_items + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->items = more;
	more[s->nr_items] = (struct item){
		.path = strdup(path), .dev = st->st_dev, .ino = st->st_ino, .named = named };
	return more[s->nr_items++].path ? 0 : -ENOMEM;
}

static int not_dot(const struct dirent *de)
{
	return de->d_name[0] != '.';
}

/* Images and block devices that lie in dir itself. */
static int add_dir(struct scan *s, const char *dir)
{
	struct dirent **names;
	const int nr = scandir(dir, &names, not_dot, alphasort);
	const bool here = !strcmp(dir, ".");
	int err = 0;

	if (nr < 0)
		return -errno;
	for (int i = 0; i < nr; i++) {
		char path[4096];
		struct stat st;
		const int n = snprintf(path, sizeof(path), "%s%s%s", here ? "" : dir, here ? "" : "/", names[i]->d_name);

		if (!err && n < (int)sizeof(path) && !stat(path, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
			err = add_item(s, path, &st, false);
		free(names[i]);
	}
	free(names);
	return err;
}

static void add_path(struct scan *s, const char *path)
{
	struct stat st;
	int err;

	if (!strcmp(path, OPTS_MISSING))
		return;
	err = stat(path, &st) ? -errno : S_ISDIR(st.st_mode) ? add_dir(s, path) : add_item(s, path, &st, true);
	if (!err)
		return;
	log_error("%s: %s", path, strerror(-err));
	s->error = true;
}

/* Also used to sort slots; what has none comes last. */
static int compare_slots(const void *a, const void *b)
{
	const json_t *const *x = a, *const *y = b;
	const unsigned sx = (unsigned)json_integer_value(json_object_get(*x, "slot"));
	const unsigned sy = (unsigned)json_integer_value(json_object_get(*y, "slot"));

	return sx < sy ? -1 : sx > sy;
}

/* Images ---------------------------------------------------------------------------------------------- */

static int open_item(const struct item *it, struct blk_dev **out)
{
	return blk_open(it->path, &(struct blk_open_opts){ .read_only = true, .no_lock = true }, out);
}

/* With a lock for reading, for this moment; without one where somebody has the image. */
static int open_and_ask(struct scan *s, struct item *it, struct blk_dev **out)
{
	static const char words[] = ": in use by ";
	const char *by;
	int err = blk_open(it->path, &(struct blk_open_opts){ .read_only = true }, out);

	if (err != -EBUSY)
		return err;
	by = s->nr_lines ? strstr(s->lines[0], words) : NULL;
	it->in_use = strdup(by ? by + sizeof(words) - 1 : "another process");
	lines_clear(s);
	return open_item(it, out);
}

static void add_image(struct scan *s, const struct item *it, struct blk_dev *d, json_t *contents)
{
	json_t *o = json_object(), *why = lines_take(s, it->path);
	const bool usable = contents && probe_is_ext(contents);

	if (!it->named && !usable && contents && !probe_knows(contents)) {
		json_decref(contents);	/* any other file */
		json_decref(why);
		json_decref(o);
		return;
	}
	json_object_set_new(o, "path", json_string(it->path));
	if (d)
		json_object_set_new(o, "size_bytes", json_integer((json_int_t)(blk_nr_sects(d) << SECT_SHIFT)));
	json_object_set_new(o, "in_use", it->in_use ? json_string(it->in_use) : json_null());
	json_object_set_new(o, "usable", json_boolean(usable));
	json_object_set_new(o, "contents", contents ? contents : json_null());
	if (json_array_size(why))
		json_object_set(o, "why", why);
	json_decref(why);
	json_array_append_new(s->images, o);
	s->error |= it->named && !contents;
}

/* A member is left for its array; what else it is, is told here. */
static void look_at(struct scan *s, struct item *it)
{
	struct blk_dev *d = NULL;
	int err = open_and_ask(s, it, &d);

	if (!err)
		err = raid_examine(d, &it->info);
	it->is_member = !err;
	if (err)
		add_image(s, it, d, err == -ENOENT && d ? probe_device(d) : NULL);
	blk_close(d);
	lines_clear(s);
}

/* Arrays ---------------------------------------------------------------------------------------------- */

static unsigned take_group(struct scan *s, unsigned first, struct item **group)
{
	unsigned nr = 0;

	for (unsigned i = first; i < s->nr_items && nr < RAID_MAX_MEMBERS; i++) {
		struct item *it = &s->items[i];

		if (!it->is_member || it->is_done || memcmp(it->info.uuid, s->items[first].info.uuid, sizeof(it->info.uuid)))
			continue;
		it->is_done = true;
		group[nr++] = it;
	}
	return nr;
}

static const struct raid_info *freshest(struct item *const *group, unsigned nr)
{
	const struct raid_info *best = &group[0]->info;

	for (unsigned i = 1; i < nr; i++)
		if (group[i]->info.events > best->events)
			best = &group[i]->info;
	return best;
}

/* What a member says of itself, for an array that cannot be assembled; one that is behind is not believed. */
static const char *own_state(const struct raid_info *info, uint64_t events)
{
	if (info->events + 1 < events)
		return "stale";
	switch (info->role) {
	case RAID_ROLE_SPARE: return "spare";
	case RAID_ROLE_FAULTY: return "faulty";
	case RAID_ROLE_JOURNAL: return "journal";
	default: return info->recovery_sect == UINT64_MAX ? "in sync" : "rebuilding";
	}
}

static json_t *member_json(const struct item *it, const struct raid_info *ref)
{
	json_t *o = json_object();

	json_object_set_new(o, "path", json_string(it->path));
	json_object_set_new(o, "slot", json_integer(it->info.role >= 0 ? it->info.role : -1));
	json_object_set_new(o, "device", json_integer(it->info.dev_nr));
	json_object_set_new(o, "events", json_integer((json_int_t)it->info.events));
	json_object_set_new(o, "behind", json_integer((json_int_t)(ref->events - it->info.events)));
	json_object_set_new(o, "state", json_string(own_state(&it->info, ref->events)));
	return o;
}

/* The states as the assembled array sees them; slots that nothing is there for. */
static json_t *members_json(struct item *const *group, unsigned nr, const struct raid_info *ref,
			    const struct raid_status *st)
{
	json_t *list = json_array(), *found[2 * RAID_MAX_MEMBERS];
	unsigned nr_found = 0;

	for (unsigned k = 0; st && k < st->nr_members; k++)
		if (st->members[k].state == RAID_MISSING)
			found[nr_found++] = json_pack("{s:n,s:i,s:s}", "path", "slot", st->members[k].slot,
						      "state", "missing");
	for (unsigned i = 0; i < nr; i++) {
		json_t *o = member_json(group[i], ref);

		for (unsigned k = 0; st && k < st->nr_members; k++) {
			const struct raid_member_status *m = &st->members[k];

			if (!m->name || strcmp(m->name, group[i]->path))
				continue;
			json_object_set_new(o, "slot", json_integer(m->slot));
			json_object_set_new(o, "state", json_string(raid_member_state_name(m->state)));
			json_object_set_new(o, "why", m->why ? json_string(m->why) : json_null());
		}
		found[nr_found++] = o;
	}
	qsort(found, nr_found, sizeof(json_t *), compare_slots);
	for (unsigned i = 0; i < nr_found; i++)
		json_array_append_new(list, found[i]);
	return list;
}

static json_t *layout_json(const struct raid_info *info)
{
	char text[32];
	const char *name = raid_layout_name(info->level, info->layout, text);

	return strcmp(name, "none") ? json_string(name) : json_null();
}

static json_t *geometry_json(const struct raid_info *ref)
{
	static const char *const versions[] = { "0.90", "1.0", "1.1", "1.2" };
	json_t *o = json_object();
	char text[40];

	json_object_set_new(o, "uuid", json_string(raid_uuid_text(ref->uuid, text)));
	json_object_set_new(o, "name", json_string(ref->name));
	json_object_set_new(o, "level", json_string(raid_level_name(ref->level)));
	json_object_set_new(o, "layout", layout_json(ref));
	json_object_set_new(o, "chunk_kib", json_integer(ref->chunk_sects / 2));
	json_object_set_new(o, "raid_devices", json_integer(ref->nr_disks));
	json_object_set_new(o, "metadata", json_string(versions[ref->metadata]));
	json_object_set_new(o, "events", json_integer((json_int_t)ref->events));
	json_object_set_new(o, "update_time", json_integer((json_int_t)ref->utime_sec));
	return o;
}

static const char *verdict_of(int err, const struct raid_status *st)
{
	if (err == -ENODEV)
		return "too few";
	if (err)
		return "unusable";
	if (!st->degraded)
		return st->dirty ? "dirty" : "clean";
	/* As raid_assemble() decides it for writing. */
	return st->dirty && st->array.level >= RAID_4 && st->array.level <= RAID_6 ? "dirty degraded" : "degraded";
}

static void look_at_array(struct scan *s, struct item **group, unsigned nr)
{
	const struct raid_open_opts ro = { .alloc = s->alloc, .read_only = true, .quiet = true };
	const struct raid_info *ref = freshest(group, nr);
	struct raid_status *st = malloc(sizeof(*st));
	struct blk_dev *devs[RAID_MAX_MEMBERS] = { NULL };
	json_t *o = geometry_json(ref), *contents = NULL;
	struct raid *r = NULL;
	int err = st ? 0 : -ENOMEM;

	for (unsigned i = 0; !err && i < nr; i++)
		err = open_item(group[i], &devs[i]);
	for (unsigned i = 0; i < nr && !json_object_get(o, "in_use"); i++)
		if (group[i]->in_use)
			json_object_set_new(o, "in_use", json_string(group[i]->in_use));
	if (!err)
		err = raid_assemble(devs, nr, &ro, &r);
	if (err)	/* else the members say it */
		json_object_set_new(o, "why", lines_take(s, NULL));
	if (!err) {
		raid_status_get(r, st);
		json_object_set_new(o, "size_bytes", json_integer((json_int_t)(st->array_sects << SECT_SHIFT)));
		json_object_set_new(o, "active_devices", json_integer(st->nr_active));
		contents = probe_device(raid_dev(r));
	}
	json_object_set_new(o, "verdict", json_string(verdict_of(err, st)));
	json_object_set_new(o, "contents", contents ? contents : json_null());
	json_object_set_new(o, "members", members_json(group, nr, ref, err ? NULL : st));
	json_array_append_new(s->arrays, o);
	if (r)
		err = raid_free(r);
	else
		for (unsigned i = 0; i < nr; i++)
			blk_close(devs[i]);
	lines_clear(s);
	free(st);
}

/* ------------------------------------------------------------------------------------------------------- */

static int exit_status(const struct scan *s)
{
	int status = SCAN_GOOD;
	bool found = json_array_size(s->arrays) > 0;
	const json_t *o;
	size_t i;

	json_array_foreach(s->arrays, i, o) {
		const char *verdict = json_string_value(json_object_get(o, "verdict"));

		if (!strcmp(verdict, "too few") || !strcmp(verdict, "unusable"))
			status = MAX(status, (int)SCAN_UNUSABLE);
		else if (strstr(verdict, "degraded"))
			status = MAX(status, (int)SCAN_DEGRADED);
	}
	json_array_foreach(s->images, i, o)
		found |= json_is_true(json_object_get(o, "usable"));
	return s->error || !found ? SCAN_ERROR : status;
}

static void scan_all(struct scan *s)
{
	struct item *group[RAID_MAX_MEMBERS];

	log_set_sink(keep_line, s);
	for (unsigned i = 0; i < s->nr_items; i++)
		look_at(s, &s->items[i]);
	for (unsigned i = 0; i < s->nr_items; i++) {
		const unsigned nr = take_group(s, i, group);

		if (nr)
			look_at_array(s, group, nr);
	}
	log_set_sink(NULL, NULL);
}

int scan_run(const struct opts *o)
{
	struct scan s = { .arrays = json_array(), .images = json_array() };
	json_t *result;
	int status;

	if (alloc_new(&(struct alloc_opts){ 0 }, &s.alloc)) {
		log_error("not enough memory");
		return SCAN_ERROR;
	}
	for (unsigned i = 0; i < o->nr_members; i++)
		add_path(&s, o->members[i]);
	if (!o->nr_members)
		add_path(&s, ".");
	scan_all(&s);
	status = exit_status(&s);
	result = json_pack("{s:O,s:O}", "arrays", s.arrays, "images", s.images);
	if (o->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		scan_print(result, stdout);
	}
	json_decref(result);
	json_decref(s.arrays);
	json_decref(s.images);
	for (unsigned i = 0; i < s.nr_items; i++) {
		free(s.items[i].path);
		free(s.items[i].in_use);
	}
	free(s.items);
	alloc_free(s.alloc);
	return status;
}
