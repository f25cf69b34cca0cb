/*
 * blk_registry.c: names of devices. "KIND:REST" with a KIND of the table goes to
 * that row, anything else is the path of an image.
 */
#include "blk/blk_int.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/size.h"
#include "blk/blk_fault.h"
#include "blk/blk_record.h"

/* What a row gets: spec is "KIND:" and rest. */
struct open_args {
	const char *spec, *rest;
	const struct blk_open_opts *opts;
	unsigned depth;		/* filters above */
};

static int open_spec(const char *spec, const struct blk_open_opts *opts, unsigned depth, struct blk_dev **out);

static int open_file(const struct open_args *a, struct blk_dev **out)
{
	static const char suffix[] = "?direct";
	struct blk_open_opts opts = *a->opts;
	size_t len = strlen(a->rest);
	char *path;
	int err;

	if (len >= sizeof(suffix) - 1 && !strcmp(a->rest + len - (sizeof(suffix) - 1), suffix)) {
		opts.direct = true;
		len -= sizeof(suffix) - 1;
	}
	path = strndup(a->rest, len);
	if (!path)
		return -ENOMEM;
	err = blk_file_open(path, &opts, out);
	free(path);
	return err;
}

static int open_mem(const struct open_args *a, struct blk_dev **out)
{
	uint64_t bytes;

	if (size_parse(a->rest, &bytes) || !bytes || bytes % SECT_BYTES) {
		log_error("%s: wanted mem:SIZE, bytes or with k, m, g or t, a multiple of %d", a->spec, SECT_BYTES);
		return -EINVAL;
	}
	return blk_mem_open(a->spec, bytes >> SECT_SHIFT, a->opts->read_only, out);
}

static int open_trace(const struct open_args *a, struct blk_dev **out)
{
	struct blk_dev *lower;
	int err;

	err = open_spec(a->rest, a->opts, a->depth + 1, &lower);
	if (err)
		return err;
	err = blk_trace_new(lower, out);
	if (err)
		blk_close(lower);
	return err;
}

/* "WORD:DEVICE": the lower device is opened, make() puts the filter that WORD describes on it. */
static int open_filter(const struct open_args *a, const char *word_name,
		       int (*make)(struct blk_dev *lower, const char *word, struct blk_dev **out), struct blk_dev **out)
{
	const char *colon = strchr(a->rest, ':');
	struct blk_dev *lower;
	char *word;
	int err;

	if (!colon) {
		log_error("%s: wanted %.*s%s:DEVICE", a->spec, (int)(a->rest - a->spec), a->spec, word_name);
		return -EINVAL;
	}
	word = strndup(a->rest, (size_t)(colon - a->rest));
	if (!word)
		return -ENOMEM;
	err = open_spec(colon + 1, a->opts, a->depth + 1, &lower);
	if (!err) {
		err = make(lower, word, out);
		if (err)
			blk_close(lower);
	}
	free(word);
	return err;
}

static int open_fault(const struct open_args *a, struct blk_dev **out)
{
	return open_filter(a, "RULES", blk_fault_new_rules, out);
}

static int open_record(const struct open_args *a, struct blk_dev **out)
{
	return open_filter(a, "LOGFILE", blk_record_new_file, out);
}

static const struct {
	const char *kind;
	int (*open)(const struct open_args *a, struct blk_dev **out);
} kinds[] = {
	{ "file", open_file },
	{ "mem", open_mem },
	{ "fault", open_fault },
	{ "record", open_record },
	{ "trace", open_trace },
};

static int open_spec(const char *spec, const struct blk_open_opts *opts, unsigned depth, struct blk_dev **out)
{
	size_t len = strcspn(spec, ":");

	if (depth > BLK_MAX_FILTERS) {
		log_error("%s: more than %d filters on top of each other", spec, BLK_MAX_FILTERS);
		return -EINVAL;
	}
	if (!*spec) {
		log_error("the name of a device is missing");
		return -EINVAL;
	}
	for (unsigned i = 0; spec[len] && i < ARRAY_LEN(kinds); i++)
		if (strlen(kinds[i].kind) == len && !memcmp(kinds[i].kind, spec, len))
			return kinds[i].open(&(struct open_args){ spec, spec + len + 1, opts, depth }, out);
	if (!strncmp(spec + len, "://", 3)) {
		log_error("%s: no kind of device is called %.*s", spec, (int)len, spec);
		return -EINVAL;
	}
	return blk_file_open(spec, opts, out);
}

int blk_open(const char *spec, const struct blk_open_opts *opts, struct blk_dev **out)
{
	static const struct blk_open_opts none;

	int err;

	*out = NULL;
	err = open_spec(spec, opts ? opts : &none, 0, out);
	if (err == -ENOMEM)
		log_error("%s: not enough memory to open it", spec);
	return err;
}
