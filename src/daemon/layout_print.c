/* layout_print.c: the table of layout.h for people. */
#include "layout.h"

#include <string.h>

#include "json_get.h"

enum { COLUMN = 11 };

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static void print_head(const json_t *members, const char *what, const char *key, FILE *out)
{
	const json_t *m;
	size_t i;

	fprintf(out, "%-22s", what);
	json_array_foreach(members, i, m) {
		const char *text = base_name(get_text(m, key));

		fprintf(out, " %*.*s", COLUMN, COLUMN, *text ? text : "-");
	}
	putc('\n', out);
}

static void print_slots(const json_t *members, FILE *out)
{
	const json_t *m;
	size_t i;

	fprintf(out, "%-22s", "slot");
	json_array_foreach(members, i, m)
		fprintf(out, " %*lld", COLUMN, get_number(m, "slot"));
	putc('\n', out);
}

/* The cell of the chunk that was asked for, also its copies, stands in brackets. */
static bool is_chunk(const json_t *where, const char *cell)
{
	char chunk[32];
	const int len = snprintf(chunk, sizeof(chunk), "%lld", get_number(where, "chunk"));

	return where && !strncmp(cell, chunk, (size_t)len) && (cell[len] == '\0' || cell[len] == '\'');
}

static void print_row(const json_t *row, const json_t *where, bool has_chunks, FILE *out)
{
	const json_t *cell;
	char text[64];
	size_t i;

	snprintf(text, sizeof(text), "%s %-5lld +%lldK", has_chunks ? "stripe" : "row", get_number(row, "row"),
		 get_number(row, "offset") / 1024);
	fprintf(out, "%-22s", text);
	json_array_foreach(json_object_get(row, "cells"), i, cell) {
		const char *s = json_string_value(cell);

		snprintf(text, sizeof(text), is_chunk(where, s) ? "[%s]" : "%s", s);
		fprintf(out, " %*s", COLUMN, text);
	}
	putc('\n', out);
}

static void print_read(const json_t *read, FILE *out)
{
	const char *how = get_text(read, "how"), *parity = get_text(read, "parity");
	const json_t *slots = json_object_get(read, "slots"), *slot;
	size_t i;

	if (!strcmp(how, "lost")) {
		fputs("a read of it now fails: too few members can be read\n", out);
		return;
	}
	fprintf(out, "a read of it now takes slot%s", json_array_size(slots) == 1 ? "" : "s");
	json_array_foreach(slots, i, slot)
		fprintf(out, "%s %lld", !i ? "" : !strcmp(how, "copy") ? " or" : ",", (long long)json_integer_value(slot));
	if (!strcmp(how, "solve"))
		fprintf(out, ": the chunk is computed, with %s", !strcmp(parity, "PQ") ? "P and Q" : parity);
	putc('\n', out);
}

static void print_where(const json_t *where, FILE *out)
{
	const json_t *p;
	size_t i;

	fprintf(out, "byte %lld of the volume is in chunk %lld, stripe %lld\n", get_number(where, "volume_byte"),
		get_number(where, "chunk"), get_number(where, "row"));
	json_array_foreach(json_object_get(where, "places"), i, p)
		fprintf(out, "%s slot %lld, byte %lld of %s (%s)\n", i ? "    a copy lies on" : "    it lies on",
			get_number(p, "slot"), get_number(p, "image_byte"), *get_text(p, "name") ? get_text(p, "name") : "a missing member",
			get_text(p, "state"));
	fputs("    ", out);
	print_read(json_object_get(where, "read"), out);
}

void layout_print(const json_t *l, FILE *out)
{
	const json_t *members = json_object_get(l, "members"), *where = json_object_get(l, "where"), *o;
	const bool has_chunks = get_number(l, "chunk_kib") && strcmp(get_text(l, "level"), "linear");
	size_t i;

	fprintf(out, "%s, %zu devices", get_text(l, "level"), json_array_size(members));
	if (has_chunks)
		fprintf(out, ", chunk %lldK", get_number(l, "chunk_kib"));
	if (strcmp(get_text(l, "layout"), "none"))
		fprintf(out, ", %s", get_text(l, "layout"));
	fprintf(out, ", %lld bytes\n\n", get_number(l, "size_bytes"));
	print_slots(members, out);
	print_head(members, "member", "name", out);
	print_head(members, "state", "state", out);
	json_array_foreach(json_object_get(l, "rows"), i, o)
		print_row(o, where, has_chunks, out);
	json_array_foreach(json_object_get(l, "others"), i, o)
		fprintf(out, "%s: %s\n", get_text(o, "state"), get_text(o, "name"));
	if (!where)
		return;
	putc('\n', out);
	print_where(where, out);
}
