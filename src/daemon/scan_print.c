/* scan_print.c: what scan.c found, for people. */
#include "scan_int.h"

#include <string.h>

#include "base/types.h"
#include "json_get.h"
#include "probe.h"

/* By verdict: what it means, and how to get at it. */
static const struct {
	const char *verdict, *text;
} meanings[] = {
	{ "clean", "clean" },
	{ "dirty", "not stopped cleanly; it is resynchronised when it is mounted for writing" },
	{ "degraded", "degraded; mounts read-only, or for writing with -o degraded" },
	{ "dirty degraded",
	  "degraded and not stopped cleanly; mounts read-only, or for writing with -o degraded --force, at the risk that "
	  "what was being written last reads as garbage" },
	{ "too few", "too few members" },
	{ "unusable", "cannot be assembled" },
};

static const char *meaning_of(const char *verdict)
{
	for (unsigned i = 0; i < ARRAY_LEN(meanings); i++)
		if (!strcmp(meanings[i].verdict, verdict))
			return meanings[i].text;
	return verdict;
}

static void print_member(const json_t *m, FILE *out)
{
	const char *path = get_text(m, "path");

	if (get_number(m, "slot") >= 0)
		fprintf(out, "  slot %-5lld", get_number(m, "slot"));
	else
		fprintf(out, "  %-10s", "-");
	fprintf(out, "  %-10s", get_text(m, "state"));
	if (*path)
		fprintf(out, "  events %-8lld %s", get_number(m, "events"), path);
	if (get_number(m, "behind") > 0)
		fprintf(out, " (%lld behind)", get_number(m, "behind"));
	if (*get_text(m, "why"))
		fprintf(out, ": %s", get_text(m, "why"));
	putc('\n', out);
}

static void print_array(const json_t *a, FILE *out)
{
	const json_t *contents = json_object_get(a, "contents"), *o;
	size_t i;

	fprintf(out, "array %s%s%s%s\n  %s, %lld devices", get_text(a, "uuid"), *get_text(a, "name") ? " '" : "",
		get_text(a, "name"), *get_text(a, "name") ? "'" : "", get_text(a, "level"), get_number(a, "raid_devices"));
	if (get_number(a, "chunk_kib"))
		fprintf(out, ", chunk %lldK", get_number(a, "chunk_kib"));
	if (*get_text(a, "layout"))
		fprintf(out, ", %s", get_text(a, "layout"));
	fprintf(out, ", metadata %s", get_text(a, "metadata"));
	if (get_number(a, "size_bytes"))
		fprintf(out, ", %lld bytes", get_number(a, "size_bytes"));
	if (*get_text(a, "in_use"))
		fprintf(out, "\n  in use by %s\n", get_text(a, "in_use"));
	else
		fprintf(out, "\n  %s\n", meaning_of(get_text(a, "verdict")));
	json_array_foreach(json_object_get(a, "why"), i, o)
		fprintf(out, "    %s\n", json_string_value(o));
	json_array_foreach(json_object_get(a, "members"), i, o)
		print_member(o, out);
	if (json_is_object(contents)) {
		fputs("  contains  ", out);
		probe_print(contents, out);
		putc('\n', out);
	}
}

static void print_image(const json_t *m, FILE *out)
{
	const json_t *contents = json_object_get(m, "contents"), *line;
	size_t i;

	fprintf(out, "image %s: ", get_text(m, "path"));
	if (json_is_object(contents))
		probe_print(contents, out);
	else
		fputs("not usable", out);
	json_array_foreach(json_object_get(m, "why"), i, line)
		fprintf(out, "%s%s", i || json_is_object(contents) ? "; " : ": ", json_string_value(line));
	if (*get_text(m, "in_use"))
		fprintf(out, "; in use by %s", get_text(m, "in_use"));
	putc('\n', out);
}

void scan_print(const json_t *result, FILE *out)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(result, "arrays"), i, o)
		print_array(o, out);
	json_array_foreach(json_object_get(result, "images"), i, o)
		print_image(o, out);
	if (!json_array_size(json_object_get(result, "arrays")) && !json_array_size(json_object_get(result, "images")))
		fputs("no images found\n", out);
}
