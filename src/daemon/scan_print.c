/* scan_print.c: what scan.c found, for people. */
#include "scan_int.h"

#include <string.h>

#include "base/types.h"
#include "probe.h"

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

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
	const char *path = text_of(m, "path");

	if (number_of(m, "slot") >= 0)
		fprintf(out, "  slot %-5lld", number_of(m, "slot"));
	else
		fprintf(out, "  %-10s", "-");
	fprintf(out, "  %-10s", text_of(m, "state"));
	if (*path)
		fprintf(out, "  events %-8lld %s", number_of(m, "events"), path);
	if (number_of(m, "behind") > 0)
		fprintf(out, " (%lld behind)", number_of(m, "behind"));
	if (*text_of(m, "why"))
		fprintf(out, ": %s", text_of(m, "why"));
	putc('\n', out);
}

static void print_array(const json_t *a, FILE *out)
{
	const json_t *contents = json_object_get(a, "contents"), *o;
	size_t i;

	fprintf(out, "array %s%s%s%s\n  %s, %lld devices", text_of(a, "uuid"), *text_of(a, "name") ? " '" : "",
		text_of(a, "name"), *text_of(a, "name") ? "'" : "", text_of(a, "level"), number_of(a, "raid_devices"));
	if (number_of(a, "chunk_kib"))
		fprintf(out, ", chunk %lldK", number_of(a, "chunk_kib"));
	if (*text_of(a, "layout"))
		fprintf(out, ", %s", text_of(a, "layout"));
	fprintf(out, ", metadata %s", text_of(a, "metadata"));
	if (number_of(a, "size_bytes"))
		fprintf(out, ", %lld bytes", number_of(a, "size_bytes"));
	if (*text_of(a, "in_use"))
		fprintf(out, "\n  in use by %s\n", text_of(a, "in_use"));
	else
		fprintf(out, "\n  %s\n", meaning_of(text_of(a, "verdict")));
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

	fprintf(out, "image %s: ", text_of(m, "path"));
	if (json_is_object(contents))
		probe_print(contents, out);
	else
		fputs("not usable", out);
	json_array_foreach(json_object_get(m, "why"), i, line)
		fprintf(out, "%s%s", i || json_is_object(contents) ? "; " : ": ", json_string_value(line));
	if (*text_of(m, "in_use"))
		fprintf(out, "; in use by %s", text_of(m, "in_use"));
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
