/*
 * ctl_raid.c: verbs about the array and its members. An action on a disk is one row of the
 * table and one function.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"
#include "blk/blk_fault.h"
#include "ctl.h"
#include "layout.h"

enum { MAX_WORDS = 8 };

/* err, and why. */
static int refuse(char **error_text, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(char **error_text, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(error_text, fmt, ap) < 0)
		*error_text = NULL;
	va_end(ap);
	return err;
}

static int answer(json_t **result, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int answer(json_t **result, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	*result = json_pack("{s:s+}", "text", text ? text : "", "\n");
	free(text);
	return *result ? 0 : -ENOMEM;
}

static bool parse_u64(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && !*end && *out <= max;
}

/* Layout ---------------------------------------------------------------------------------- */

/* Where in the volume the answer is wanted: a byte of it, or of a file. */
static int layout_place(struct daemon *d, const json_t *o, struct layout_ask *ask, char **error_text)
{
	const json_int_t offset = json_integer_value(json_object_get(o, "offset"));
	const json_t *ino = json_object_get(o, "ino");
	int err;

	ask->has_offset = json_object_get(o, "offset") != NULL;
	ask->offset_bytes = (uint64_t)offset;
	if (offset < 0)
		return refuse(error_text, -EINVAL, "the offset is negative");
	if (!ino)
		return 0;
	if (!d->fs)
		return refuse(error_text, -EINVAL, "the volume is mounted as a file; give --offset");
	err = fs_where(d->fs, (ino_nr_t)json_integer_value(ino), (uint64_t)offset, &ask->offset_bytes);
	switch (err) {
	case -ENXIO:
		return refuse(error_text, err, "byte %lld is behind the end of the file", (long long)offset);
	case -ENODATA:
		return refuse(error_text, err, "byte %lld lies in a hole of the file", (long long)offset);
	case -EOPNOTSUPP:
		return refuse(error_text, err, "the file's contents lie in its inode");
	default:
		return err;
	}
}

int ctl_verb_layout(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	const json_t *o = json_array_get(args, 0);
	struct layout_ask ask = { .nr_rows = (unsigned)json_integer_value(json_object_get(o, "rows")) };
	int err;

	if (!d->members.raid)
		return refuse(error_text, -EINVAL, "a single image has no layout");
	err = layout_place(d, o, &ask, error_text);
	if (err)
		return err;
	err = layout_json(d->members.raid, &ask, result);
	return err == -EINVAL ? refuse(error_text, err, "byte %" PRIu64 " is behind the end of the volume", ask.offset_bytes)
			      : err;
}

/* Disks ----------------------------------------------------------------------------------- */

struct call {
	struct daemon *d;
	const char *words[MAX_WORDS];	/* behind the action: the disk, and what follows */
	unsigned nr_words;
	bool writes, spare;		/* --write, --spare */
	const char *probability;	/* --p=P */
	struct raid_member_status m;	/* of words[0] */
	struct blk_dev *dev;		/* of words[0]; has a fault filter */
	json_t **result;
	char **error_text;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* By slot, by the name it was opened with, or the last part of that. */
static bool is_member(const struct raid_member_status *m, const char *word, bool by_slot, uint64_t slot)
{
	if (!m->name)
		return false;
	if (by_slot)
		return m->slot >= 0 && (uint64_t)m->slot == slot && !m->replacement;
	return !strcmp(m->name, word) || !strcmp(base_name(m->name), word);
}

static int find_member(struct call *c, const char *word, struct raid_member_status *out)
{
	struct raid_status *st = malloc(sizeof(*st));
	uint64_t slot = 0;
	const bool by_slot = parse_u64(word, RAID_MAX_MEMBERS, &slot);
	unsigned nr = 0;

	if (!st)
		return -ENOMEM;
	raid_status_get(c->d->members.raid, st);
	for (unsigned i = 0; i < st->nr_members; i++)
		if (is_member(&st->members[i], word, by_slot, slot) && !nr++)
			*out = st->members[i];
	free(st);
	if (nr == 1)
		return 0;
	if (nr)
		return refuse(c->error_text, -EINVAL, "%s could be %u members: give the whole name", word, nr);
	return refuse(c->error_text, -ENOENT, by_slot ? "slot %s has no member" : "%s is no member of the array", word);
}

static int add_rule(struct call *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int add_rule(struct call *c, const char *fmt, ...)
{
	struct blk_fault_rule rule;
	char text[200];
	va_list ap;
	int n, err;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= 0 && c->probability)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ",p=%s", c->probability);
	if (n < 0 || (size_t)n >= sizeof(text))
		return refuse(c->error_text, -EINVAL, "the rule is too long");
	err = blk_fault_parse(text, &rule);
	return err ? err : blk_fault_add(c->dev, &rule, NULL);
}

static int disk_kill(struct call *c)
{
	const int err = add_rule(c, "fail=EIO");

	return err ? err : answer(c->result, "%s: every request fails from now on; osfsctl disk return ends that", c->m.name);
}

static int disk_slow(struct call *c)
{
	uint64_t msec;
	int err;

	if (!parse_u64(c->words[1], BLK_FAULT_MAX_DELAY_MSEC, &msec) || !msec)
		return refuse(c->error_text, -EINVAL, "slow: how many milliseconds, 1 to %d?", BLK_FAULT_MAX_DELAY_MSEC);
	err = add_rule(c, "delay=%" PRIu64, msec);
	return err ? err : answer(c->result, "%s: every request takes %" PRIu64 " ms longer", c->m.name, msec);
}

static int disk_flip(struct call *c)
{
	uint64_t times = 1;
	int err;

	if (c->nr_words > 1 && (!parse_u64(c->words[1], UINT64_MAX - 1, &times) || !times))
		return refuse(c->error_text, -EINVAL, "flip: how many times?");
	err = add_rule(c, "%s,flip,times=%" PRIu64, c->writes ? "write" : "read", times);
	return err ? err : answer(c->result, "%s: a bit of the next %" PRIu64 " %s is wrong", c->m.name, times,
				  c->writes ? "writes" : "reads");
}

static int disk_fault(struct call *c)
{
	int err;

	if (c->nr_words < 2)
		return refuse(c->error_text, -EINVAL, "fault: which rule? such as read,fail=EIO,p=0.01");
	err = add_rule(c, "%s", c->words[1]);
	return err ? err : answer(c->result, "%s: %s", c->m.name, c->words[1]);
}

/* The disk does what it should again; one that was set faulty comes back as what it is: old. */
static int disk_return(struct call *c)
{
	int err, dev_nr = c->m.dev_nr;

	blk_fault_clear(c->dev);
	if (!c->d->members.raid || c->m.state != RAID_FAULTY)
		return answer(c->result, "%s: works as it should", c->m.name);
	err = members_return(&c->d->members, &dev_nr, c->spare ? RAID_ADD_SPARE : RAID_ADD_AUTO);
	return err ? err : answer(c->result, "%s: works as it should, and is back in the array", blk_name(c->dev));
}

static int disk_fail(struct call *c)
{
	const int err = raid_member_fail(c->d->members.raid, c->m.dev_nr);

	return err ? err : answer(c->result, "%s: set faulty", c->m.name);
}

static int disk_remove(struct call *c)
{
	char *name = strdup(c->m.name);
	int err = name ? members_remove(&c->d->members, c->m.dev_nr) : -ENOMEM;

	if (!err)
		err = answer(c->result, "%s: removed", name);
	free(name);
	return err;
}

static int add(struct call *c, enum raid_add how)
{
	int dev_nr, err;

	if (!c->nr_words)
		return refuse(c->error_text, -EINVAL, "which image?");
	err = members_add(&c->d->members, c->words[0], how, &dev_nr);
	return err ? err : answer(c->result, "%s: added as device %d", c->words[0], dev_nr);
}

static int disk_add(struct call *c)
{
	return add(c, c->spare ? RAID_ADD_SPARE : RAID_ADD_AUTO);
}

/* A member that is still here as faulty, or an image that was taken away. */
static int disk_readd(struct call *c)
{
	struct raid_member_status m;
	int err, dev_nr;

	if (!c->nr_words)
		return refuse(c->error_text, -EINVAL, "which image?");
	err = find_member(c, c->words[0], &m);
	if (err) {
		free(*c->error_text);
		*c->error_text = NULL;
		return add(c, RAID_ADD_READD);
	}
	dev_nr = m.dev_nr;
	err = members_return(&c->d->members, &dev_nr, RAID_ADD_READD);
	return err ? err : answer(c->result, "%s: back in the array", c->words[0]);
}

static int disk_replace(struct call *c)
{
	struct raid_member_status spare = { .dev_nr = -1 };
	int err = c->nr_words > 1 ? find_member(c, c->words[1], &spare) : 0;

	if (!err)
		err = raid_member_replace(c->d->members.raid, c->m.dev_nr, spare.dev_nr);
	return err ? err : answer(c->result, "%s: is copied to %s while it serves", c->m.name, spare.name ? spare.name : "a spare");
}

static int disk_write_mostly(struct call *c)
{
	const char *word = c->nr_words > 1 ? c->words[1] : "on";
	const bool on = !strcmp(word, "on");
	int err;

	if (!on && strcmp(word, "off"))
		return refuse(c->error_text, -EINVAL, "write-mostly: on or off?");
	err = raid_member_write_mostly(c->d->members.raid, c->m.dev_nr, on);
	return err ? err : answer(c->result, "%s: read %s", c->m.name, on ? "only in need" : "as the others");
}

static const struct action {
	const char *name;
	int (*run)(struct call *c);
	bool takes_member;	/* words[0] is a member */
	bool needs_array;	/* makes sense for members of arrays only */
} actions[] = {
	{ "kill", disk_kill, true, false },
	{ "slow", disk_slow, true, false },
	{ "flip", disk_flip, true, false },
	{ "fault", disk_fault, true, false },
	{ "return", disk_return, true, false },
	{ "fail", disk_fail, true, true },
	{ "remove", disk_remove, true, true },
	{ "add", disk_add, false, true },
	{ "re-add", disk_readd, false, true },
	{ "replace", disk_replace, true, true },
	{ "write-mostly", disk_write_mostly, true, true },
};

/* Options go to their fields, the rest to words. */
static int take_words(struct call *c, const json_t *args, uint64_t *seed, bool *seed_set)
{
	for (size_t i = 1; i < json_array_size(args); i++) {
		const char *word = json_string_value(json_array_get(args, i));

		if (!word)
			return refuse(c->error_text, -EINVAL, "arguments are words");
		if (!strncmp(word, "--seed=", 7)) {
			*seed_set = true;
			if (!parse_u64(word + 7, UINT64_MAX - 1, seed))
				return refuse(c->error_text, -EINVAL, "%s: a number is wanted", word);
		} else if (!strncmp(word, "--p=", 4)) {
			c->probability = word + 4;
		} else if (!strcmp(word, "--write")) {
			c->writes = true;
		} else if (!strcmp(word, "--spare")) {
			c->spare = true;
		} else if (!strncmp(word, "--", 2)) {
			return refuse(c->error_text, -EINVAL, "unknown option %s", word);
		} else if (c->nr_words < MAX_WORDS) {
			c->words[c->nr_words++] = word;
		}
	}
	return 0;
}

static const struct action *find_action(const char *name)
{
	for (unsigned i = 0; name && i < ARRAY_LEN(actions); i++)
		if (!strcmp(actions[i].name, name))
			return &actions[i];
	return NULL;
}

/* A single image is disk 0. */
static int find_disk(struct call *c)
{
	struct members *m = &c->d->members;
	int err = 0;

	if (!c->nr_words)
		return refuse(c->error_text, -EINVAL, "which disk? A slot, or the name of its image");
	if (m->raid)
		err = find_member(c, c->words[0], &c->m);
	else if (!strcmp(c->words[0], "0") || !strcmp(c->words[0], blk_name(m->devs[0])))
		c->m = (struct raid_member_status){ .name = blk_name(m->devs[0]) };
	else
		err = refuse(c->error_text, -ENOENT, "the only disk is 0, %s", blk_name(m->devs[0]));
	if (err)
		return err;
	c->dev = members_dev(m, c->m.name);
	return c->dev ? 0 : refuse(c->error_text, -ENOENT, "%s is not open", c->m.name);
}

int ctl_verb_disk(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	const char *name = json_string_value(json_array_get(args, 0));
	struct call c = { .d = d, .result = result, .error_text = error_text };
	const struct action *a = find_action(name);
	bool seed_set = false;
	uint64_t seed = 0;
	int err;

	if (!a)
		return refuse(error_text, -EINVAL, "disk: kill, slow, flip, fault, return, fail, remove, add, re-add, replace or "
			      "write-mostly?");
	err = take_words(&c, args, &seed, &seed_set);
	if (!err && a->needs_array && !d->members.raid)
		err = refuse(error_text, -EINVAL, "%s: a single image is no array", name);
	if (!err && a->takes_member)
		err = find_disk(&c);
	if (!err && seed_set && c.dev)
		blk_fault_set_seed(c.dev, seed);
	return err ? err : a->run(&c);
}

/* Scrub and rebuild ------------------------------------------------------------------------- */

int ctl_verb_scrub(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	const char *what = json_string_value(json_array_get(args, 0));
	const char *option = json_string_value(json_array_get(args, 1));
	unsigned flags = 0;
	int err = 0;

	if (!d->members.raid)
		return refuse(error_text, -EINVAL, "a single image has nothing to compare");
	if (option && strcmp(option, "--rewrite"))
		return refuse(error_text, -EINVAL, "unknown option %s", option);
	if (option)
		flags |= RAID_SCRUB_REWRITE;
	if (!what || !strcmp(what, "status"))
		;
	else if (!strcmp(what, "check"))
		err = raid_action_set(d->members.raid, RAID_CHECK, 0);
	else if (!strcmp(what, "repair"))
		err = raid_action_set(d->members.raid, RAID_REPAIR, flags);
	else if (!strcmp(what, "idle"))
		err = raid_action_set(d->members.raid, RAID_IDLE, 0);
	else
		return refuse(error_text, -EINVAL, "scrub: check, repair, idle or status?");
	if (!err)
		*result = json_pack("{s:o}", "array", ctl_array_json(d->members.raid));
	return err;
}

/* [MIN [MAX]] in KiB/s; 0 leaves a limit as it is. */
int ctl_verb_rebuild(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	uint64_t limits[2] = { 0, 0 };

	if (!d->members.raid)
		return refuse(error_text, -EINVAL, "a single image is not rebuilt");
	for (size_t i = 0; i < json_array_size(args); i++)
		if (i >= 2 || !parse_u64(json_string_value(json_array_get(args, i)), UINT32_MAX, &limits[i]))
			return refuse(error_text, -EINVAL, "rebuild: the least and the largest speed, in KiB/s");
	if (limits[0] && limits[1] && limits[0] > limits[1])
		return refuse(error_text, -EINVAL, "rebuild: %" PRIu64 " KiB/s at least, but %" PRIu64 " at most", limits[0], limits[1]);
	raid_speed_set(d->members.raid, (uint32_t)limits[0], (uint32_t)limits[1]);
	*result = json_pack("{s:o}", "array", ctl_array_json(d->members.raid));
	return 0;
}
