/*
 * opts_list.c: the names behind -o. A name is one row of the table: those of
 * fuse2fs and of mount(8), and a few of our own.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/size.h"
#include "opts.h"

enum opt_kind {
	OPT_TOLERATED,	/* means something to mount(8), nothing to us */
	OPT_BOOL,	/* the bool at offset becomes value */
	OPT_ENUM,	/* the int-sized enum at offset becomes value */
	OPT_REFUSED,	/* known, and not to be had */
	OPT_VALUE,	/* name=...: parse() */
};

struct opt_row {
	const char *name;
	enum opt_kind kind;
	size_t offset;
	int value;
	int (*parse)(struct opts *o, const char *value);
};

static int parse_u32(const char *text, int base, uint32_t max, uint32_t *out)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, base);
	if (errno || *end || n > max)
		return -EINVAL;
	*out = (uint32_t)n;
	return 0;
}

static int parse_uid(struct opts *o, const char *value)
{
	o->uid_set = true;
	return parse_u32(value, 10, UINT32_MAX - 1, &o->uid);
}

static int parse_gid(struct opts *o, const char *value)
{
	o->gid_set = true;
	return parse_u32(value, 10, UINT32_MAX - 1, &o->gid);
}

static int parse_umask(struct opts *o, const char *value)
{
	o->umask_set = true;
	return parse_u32(value, 8, 0777, &o->umask);
}

static int parse_cache_size(struct opts *o, const char *value)
{
	return size_parse(value, &o->cache_bytes);
}

static int parse_threads(struct opts *o, const char *value)
{
	const int err = parse_u32(value, 10, 64, &o->max_threads);

	return err || !o->max_threads ? -EINVAL : 0;
}

static int parse_spin(struct opts *o, const char *value)
{
	enum { MAX_USEC = 10000 };

	return parse_u32(value, 10, MAX_USEC, &o->spin_usec);
}

struct word {
	const char *text;
	unsigned value;
};

/* One of nr words; *out, an enum's, becomes its value. */
static int parse_word(const char *text, const struct word *words, unsigned nr, unsigned *out)
{
	for (unsigned i = 0; i < nr; i++)
		if (!strcmp(words[i].text, text)) {
			*out = words[i].value;
			return 0;
		}
	return -EINVAL;
}

static int parse_ahead(struct opts *o, const char *value)
{
	static const struct word words[] = {
		{ "auto", LOOP_AHEAD_AUTO }, { "always", LOOP_AHEAD_ALWAYS }, { "never", LOOP_AHEAD_NEVER } };

	return parse_word(value, words, ARRAY_LEN(words), &o->ahead);
}

static int parse_errors(struct opts *o, const char *value)
{
	static const struct word words[] = {
		{ "continue", FS_ERRORS_CONTINUE }, { "remount-ro", FS_ERRORS_RO }, { "panic", FS_ERRORS_PANIC } };

	return parse_word(value, words, ARRAY_LEN(words), &o->errors);
}

static int parse_data(struct opts *o, const char *value)
{
	static const struct word words[] = {
		{ "ordered", FS_DATA_ORDERED }, { "journal", FS_DATA_JOURNAL }, { "writeback", FS_DATA_WRITEBACK } };

	return parse_word(value, words, ARRAY_LEN(words), &o->data);
}

/* A path is made absolute, since the daemon leaves the current directory; a plain name is looked up in PATH. */
static int parse_on_event(struct opts *o, const char *value)
{
	if (!*value)
		return -EINVAL;
	free(o->on_event);
	o->on_event = strchr(value, '/') ? realpath(value, NULL) : strdup(value);
	if (!o->on_event)
		return -errno;
	return 0;
}

static int parse_slow_msec(struct opts *o, const char *value)
{
	return parse_u32(value, 10, 600000, &o->slow_msec);
}

static int parse_max_slow(struct opts *o, const char *value)
{
	return parse_u32(value, 10, UINT32_MAX, &o->max_slow);
}

static int parse_max_read_errors(struct opts *o, const char *value)
{
	return parse_u32(value, 10, UINT32_MAX, &o->max_read_errors);
}

/* 0 is the default's name, as for ext4. */
static int parse_commit(struct opts *o, const char *value)
{
	enum { MAX_SEC = 3600 };

	return parse_u32(value, 10, MAX_SEC, &o->commit_sec);
}

#define BOOL(text, field, val) { text, OPT_BOOL, offsetof(struct opts, field), val, NULL }
#define ENUM(text, field, val) { text, OPT_ENUM, offsetof(struct opts, field), val, NULL }
#define VALUE(text, fn) { text, OPT_VALUE, 0, 0, fn }
#define TOLERATED(text) { text, OPT_TOLERATED, 0, 0, NULL }
#define REFUSED(text) { text, OPT_REFUSED, 0, 0, NULL }

static const struct opt_row rows[] = {
	BOOL("ro", read_only, true),
	BOOL("rw", read_only, false),
	BOOL("allow_other", allow_other, true),
	BOOL("fakeroot", fakeroot, true),
	BOOL("nofail", nofail, true),
	BOOL("degraded", degraded, true),
	BOOL("force", force, true),
	BOOL("direct", direct, true),
	BOOL("directio", direct, true),
	BOOL("dev", dev, true),
	BOOL("nodev", dev, false),
	BOOL("suid", suid, true),
	BOOL("nosuid", suid, false),
	BOOL("exec", noexec, false),
	BOOL("noexec", noexec, true),
	BOOL("sync", sync_mount, true),
	BOOL("async", sync_mount, false),
	BOOL("dirsync", dirsync, true),
	ENUM("noatime", atime, FS_NOATIME),
	ENUM("relatime", atime, FS_RELATIME),
	ENUM("atime", atime, FS_RELATIME),
	ENUM("strictatime", atime, FS_STRICTATIME),
	BOOL("writeback_cache", writeback, true),
	BOOL("no_writeback_cache", writeback, false),
	VALUE("uid", parse_uid),
	VALUE("gid", parse_gid),
	VALUE("umask", parse_umask),
	VALUE("cache_size", parse_cache_size),
	VALUE("max_threads", parse_threads),
	VALUE("spin", parse_spin),
	VALUE("ahead", parse_ahead),
	VALUE("errors", parse_errors),
	VALUE("on-event", parse_on_event),
	VALUE("slow_msec", parse_slow_msec),
	VALUE("max_slow", parse_max_slow),
	VALUE("max_read_errors", parse_max_read_errors),
	VALUE("data", parse_data),
	VALUE("commit", parse_commit),
	BOOL("norecovery", norecovery, true),
	BOOL("noload", norecovery, true),
	TOLERATED("default_permissions"),	/* always so, but for fakeroot */
	TOLERATED("no_default_opts"),		/* there are none */
	TOLERATED("minixdf"),
	TOLERATED("bsddf"),
	TOLERATED("acl"),
	TOLERATED("noacl"),
	TOLERATED("user_xattr"),
	TOLERATED("defaults"),
	TOLERATED("auto"),
	TOLERATED("noauto"),
	TOLERATED("user"),
	TOLERATED("nouser"),
	TOLERATED("users"),
	TOLERATED("owner"),
	TOLERATED("group"),
	TOLERATED("_netdev"),
	TOLERATED("norelatime"),
	TOLERATED("nostrictatime"),
	TOLERATED("diratime"),
	TOLERATED("nodiratime"),
	TOLERATED("lazytime"),
	TOLERATED("nolazytime"),
	TOLERATED("mand"),
	TOLERATED("nomand"),
	TOLERATED("iversion"),
	TOLERATED("noiversion"),
	TOLERATED("silent"),
	TOLERATED("loud"),
	TOLERATED("symfollow"),
	REFUSED("remount"),
	REFUSED("nosymfollow"),
};

static const struct opt_row *row_find(const char *name, size_t len)
{
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (strlen(rows[i].name) == len && !strncmp(rows[i].name, name, len))
			return &rows[i];
	return NULL;
}

/* Comments for other programs: x-systemd.automount, X-mount.mkdir, comment=... */
static bool is_comment(const char *text)
{
	return !strncmp(text, "x-", 2) || !strncmp(text, "X-", 2) || !strncmp(text, "comment=", 8);
}

static int row_apply(const struct opt_row *row, struct opts *o, const char *text, const char *value)
{
	char *at = (char *)o + row->offset;
	int err;

	if ((row->kind == OPT_VALUE) != (value != NULL)) {
		log_error(value ? "option %s takes no value" : "option %s needs a value", row->name);
		return -EINVAL;
	}
	switch (row->kind) {
	case OPT_TOLERATED:
		return 0;
	case OPT_REFUSED:
		log_error("option %s is not supported", row->name);
		return -EINVAL;
	case OPT_BOOL:
		*(bool *)at = row->value;
		return 0;
	case OPT_ENUM:
		*(unsigned *)at = (unsigned)row->value;
		return 0;
	case OPT_VALUE:
		err = row->parse(o, value);
		if (err)
			log_error("option %s: %s is not a value it can have", row->name, value);
		return err;
	}
	return -EINVAL;
}
_Static_assert(sizeof(enum fs_atime) == sizeof(unsigned), "OPT_ENUM");

static int apply_one(const char *text, struct opts *o)
{
	const char *eq = strchr(text, '=');
	const struct opt_row *row = row_find(text, eq ? (size_t)(eq - text) : strlen(text));

	if (is_comment(text))
		return 0;
	if (!row) {
		log_error("unknown mount option %s", text);
		return -EINVAL;
	}
	return row_apply(row, o, text, eq ? eq + 1 : NULL);
}

int opts_parse_list(const char *list, struct opts *o)
{
	char *copy = strdup(list), *rest = copy, *text;
	int err = 0;

	if (!copy)
		return -ENOMEM;
	while (!err && (text = strsep(&rest, ",")))
		if (*text)
			err = apply_one(text, o);
	free(copy);
	return err;
}
