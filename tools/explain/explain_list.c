/* explain_list.c: lists of bad sectors: badblocks, ddrescue map files, ranges. See explain.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "explain/explain_int.h"

static int range_compare(const void *a, const void *b)
{
	const struct look_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

size_t explain_ranges_join(struct look_range *r, size_t nr)
{
	size_t n = 0;

	if (nr > 1)
		qsort(r, nr, sizeof(*r), range_compare);
	for (size_t i = 0; i < nr; i++) {
		if (n > 0 && r[i].first <= r[n - 1].first + r[n - 1].nr)
			r[n - 1].nr = MAX(r[n - 1].first + r[n - 1].nr, r[i].first + r[i].nr) - r[n - 1].first;
		else
			r[n++] = r[i];
	}
	return n;
}

struct list {
	struct look_range *r;
	size_t nr, cap;
	bool is_map;		/* of ddrescue */
	bool past_status;	/* its first line, which is no range, has been seen */
};

static int add(struct list *l, uint64_t first, uint64_t nr)
{
	if (!nr)
		return 0;
	if (l->nr == l->cap) {
		struct look_range *grown;

		l->cap = l->cap ? l->cap * 2 : 64;
		grown = realloc(l->r, l->cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->r = grown;
	}
	l->r[l->nr++] = (struct look_range){ first, nr };
	return 0;
}

/* "0x00012000  0x00000200  -": position, size in bytes, and a letter: + was read, all else was not (? not tried). */
static int take_map_line(struct list *l, const char *line)
{
	unsigned long long pos, size;
	char status;

	if (!l->past_status) {	/* current position and status */
		l->past_status = true;
		return 0;
	}
	if (sscanf(line, "%lli %lli %c", (long long *)&pos, (long long *)&size, &status) != 3 || pos + size < pos)
		return -EINVAL;
	if (!strchr("-*/", status))
		return strchr("+?", status) ? 0 : -EINVAL;
	return add(l, pos >> SECT_SHIFT, ((pos + size + SECT_BYTES - 1) >> SECT_SHIFT) - (pos >> SECT_SHIFT));
}

static int take_line(struct list *l, const char *line, unsigned unit)
{
	char *end;
	uint64_t first, last;

	line += strspn(line, " \t");
	if (*line == '#' && strstr(line, "ddrescue"))
		l->is_map = true;
	if (!*line || *line == '#' || *line == '\n')
		return 0;
	if (l->is_map)
		return take_map_line(l, line);
	errno = 0;
	first = last = strtoull(line, &end, 0);
	if (end == line || *line == '-' || errno)
		return -EINVAL;
	if (*end == '-') {
		line = end + 1;
		last = strtoull(line, &end, 0);
		if (end == line || errno)
			return -EINVAL;
	}
	end += strspn(end, " \t\r\n");
	if (*end || last < first || last > UINT64_MAX / unit - 1)
		return -EINVAL;
	return add(l, first * unit >> SECT_SHIFT, (last - first + 1) * unit >> SECT_SHIFT);
}

static int list_read(const char *path, unsigned unit, struct look_range **out, size_t *nr)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "r") : stdin;
	struct list l = { 0 };
	char line[256];
	unsigned n = 0;
	int err = 0;

	if (!f) {
		err = -errno;
		log_error("%s: %s", path, strerror(-err));
		return err;
	}
	while (!err && fgets(line, sizeof(line), f)) {
		n++;
		err = take_line(&l, line, unit);
	}
	if (err == -EINVAL)
		log_error("%s: line %u: neither a number, FROM-TO, nor of a ddrescue map", path, n);
	else if (!err && !l.nr)
		log_warn("%s: it names no sector", path);
	if (f != stdin)
		fclose(f);
	if (err) {
		free(l.r);
		return err;
	}
	*nr = explain_ranges_join(l.r, l.nr);
	*out = l.r;
	return 0;
}

/* "100-199,300-300" for r[at] on, up to cap bytes; the index behind what was taken. */
static size_t list_text(const struct look_range *r, size_t at, size_t nr, char *buf, size_t cap)
{
	enum { RANGE_TEXT = 48 };
	size_t n = strlen(buf);
	const char *comma = "";

	for (; at < nr && n + RANGE_TEXT < cap; at++, comma = ",")
		n += (size_t)snprintf(buf + n, cap - n, "%s%" PRIu64 "-%" PRIu64, comma, r[at].first, r[at].first + r[at].nr - 1);
	return at;
}

enum { WORDS_MAX = 32 };

/* The words without --list and --unit; where --sectors is to be put in *place. */
static int split_words(const char *const *words, unsigned nr, const char *out[WORDS_MAX], unsigned *nr_out, const char **list,
		       unsigned *unit, bool *of_member)
{
	char *end;

	*list = NULL;
	*unit = SECT_BYTES;
	*of_member = false;
	*nr_out = 0;
	for (unsigned i = 0; i < nr; i++) {
		if (!strncmp(words[i], "--list=", 7)) {
			*list = words[i] + 7;
		} else if (!strncmp(words[i], "--unit=", 7)) {
			*unit = (unsigned)strtoul(words[i] + 7, &end, 0);
			if (*end || *unit < SECT_BYTES || *unit % SECT_BYTES || *unit > 1 << 20) {
				log_error("--unit=%s: a multiple of 512 up to 1 MiB is needed", words[i] + 7);
				return -EINVAL;
			}
		} else if (*nr_out + 1 < WORDS_MAX) {
			*of_member |= !strncmp(words[i], "--member=", 9);
			out[(*nr_out)++] = words[i];
		}
	}
	return 0;
}

int explain_list_expand(const char *const *words, unsigned nr, size_t cap,
			int (*fn)(void *arg, const char *const *words, unsigned nr), void *arg)
{
	const char *out[WORDS_MAX], *path;
	struct look_range *r = NULL;
	unsigned nr_out, unit;
	bool of_member;
	size_t nr_ranges = 0, at = 0;
	char *text;
	int err = split_words(words, nr, out, &nr_out, &path, &unit, &of_member);

	if (err || !path)
		return err ? err : fn(arg, out, nr_out);
	err = list_read(path, unit, &r, &nr_ranges);
	text = err ? NULL : malloc(cap);
	if (!err && !text)
		err = -ENOMEM;
	while (!err && at < nr_ranges) {
		strcpy(text, of_member ? "--sectors=" : "--volume-sectors=");
		at = list_text(r, at, nr_ranges, text, cap);
		out[nr_out] = text;
		err = fn(arg, out, nr_out + 1);
	}
	free(text);
	free(r);
	return err;
}
