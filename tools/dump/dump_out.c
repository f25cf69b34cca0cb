/* dump_out.c: see dump_out.h. */
#include "dump/dump_out.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

enum { LABEL_COLUMNS = 26, INDENT = 2 };

void out_init(struct out *o, FILE *f, bool json)
{
	*o = (struct out){ .f = f, .json = json };
	if (json)
		o->stack[0] = json_object();
}

void out_done(struct out *o)
{
	if (!o->json)
		return;
	json_dumpf(o->stack[0], o->f, JSON_INDENT(1));
	fputc('\n', o->f);
	json_decref(o->stack[0]);
}

static json_t *top(const struct out *o)
{
	return o->stack[o->depth];
}

/* Into what is open: a field of an object, an element of a list. */
static void put(struct out *o, const char *key, json_t *v)
{
	if (json_is_array(top(o)))
		json_array_append_new(top(o), v);
	else
		json_object_set_new(top(o), key, v);
}

static void open_one(struct out *o, const char *key, const char *title, json_t *v)
{
	assert(o->depth + 1 < OUT_DEPTH_MAX);
	if (!o->json && title)
		fprintf(o->f, "%*s%s\n", (int)o->depth * INDENT, "", title);
	if (o->json)
		put(o, key, v);
	o->stack[++o->depth] = v;
}

void out_begin(struct out *o, const char *key, const char *title)
{
	open_one(o, key, title, o->json ? json_object() : NULL);
}

void out_list(struct out *o, const char *key, const char *title)
{
	open_one(o, key, title, o->json ? json_array() : NULL);
}

void out_end(struct out *o)
{
	assert(o->depth > 0);
	o->depth--;
}

static void print_label(struct out *o, const char *label)
{
	const int n = fprintf(o->f, "%*s%s:", (int)o->depth * INDENT, "", label);

	fprintf(o->f, "%*s", n < LABEL_COLUMNS ? LABEL_COLUMNS - n : 1, "");
}

void out_u64(struct out *o, const char *key, const char *label, uint64_t v)
{
	out_num(o, key, label, v, "%" PRIu64, v);
}

void out_hex(struct out *o, const char *key, const char *label, uint64_t v)
{
	out_num(o, key, label, v, "0x%08" PRIx64, v);
}

static void print_value(struct out *o, const char *label, const char *fmt, va_list ap)
{
	print_label(o, label);
	vfprintf(o->f, fmt, ap);
	fputc('\n', o->f);
}

void out_num(struct out *o, const char *key, const char *label, uint64_t v, const char *fmt, ...)
{
	va_list ap;

	if (o->json) {
		put(o, key, json_integer((json_int_t)v));
		return;
	}
	va_start(ap, fmt);
	print_value(o, label, fmt, ap);
	va_end(ap);
}

void out_text(struct out *o, const char *key, const char *label, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (o->json) {
		char *text;
		const int n = vasprintf(&text, fmt, ap);

		if (n >= 0) {
			put(o, key, out_bytes(text, (size_t)n));
			free(text);
		}
	} else {
		print_value(o, label, fmt, ap);
	}
	va_end(ap);
}

void out_time(struct out *o, const char *key, const char *label, int64_t sec)
{
	const time_t t = (time_t)sec;
	char text[64];
	struct tm tm;

	if (!sec || !localtime_r(&t, &tm) || !strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm))
		strcpy(text, "n/a");
	out_num(o, key, label, (uint64_t)sec, "%s", text);
}

/* What is no UTF-8 is taken as Latin-1, so that no byte is lost. */
json_t *out_bytes(const void *p, size_t len)
{
	const uint8_t *b = p;
	json_t *v = json_stringn(p, len);
	size_t n = 0;
	char *text;

	if (v)
		return v;
	text = malloc(2 * len + 1);
	for (size_t i = 0; text && i < len; i++) {
		if (b[i] >= 0x80)
			text[n++] = (char)(0xc0 | b[i] >> 6);
		text[n++] = (char)(b[i] >= 0x80 ? 0x80 | (b[i] & 0x3f) : b[i]);
	}
	v = text ? json_stringn(text, n) : NULL;
	free(text);
	return v ? v : json_null();
}

const char *out_quote(const void *p, size_t len, char *buf, size_t cap)
{
	const uint8_t *b = p;
	size_t n = 0;

	for (size_t i = 0; i < len && n + 5 < cap; i++) {
		if (b[i] >= 0x20 && b[i] != 0x7f && b[i] != '\\')
			buf[n++] = (char)b[i];
		else
			n += (size_t)snprintf(buf + n, cap - n, "\\%03o", b[i]);
	}
	buf[n] = '\0';
	return buf;
}

void out_row_json(struct out *o, json_t *row)
{
	put(o, "row", row ? row : json_null());
}

void out_line(struct out *o, const char *fmt, ...)
{
	va_list ap;

	if (o->json)
		return;
	fprintf(o->f, "%*s", (int)o->depth * INDENT, "");
	va_start(ap, fmt);
	vfprintf(o->f, fmt, ap);
	va_end(ap);
	fputc('\n', o->f);
}

void out_fault(void *arg, const char *what)
{
	struct out *o = arg;
	json_t *faults;
	unsigned at = o->depth;

	o->nr_faults++;
	if (!o->json) {
		fprintf(o->f, "%*s!! %s\n", (int)o->depth * INDENT, "", what);
		return;
	}
	while (at > 0 && !json_is_object(o->stack[at]))
		at--;
	faults = json_object_get(o->stack[at], "faults");
	if (!faults) {
		faults = json_array();
		json_object_set_new(o->stack[at], "faults", faults);
	}
	json_array_append_new(faults, out_bytes(what, strlen(what)));
}
