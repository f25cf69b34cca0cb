/* explain_print.c: answers as lines. */
#include "explain/explain_int.h"

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static unsigned long long number_of(const json_t *o, const char *key)
{
	return (unsigned long long)json_integer_value(json_object_get(o, key));
}

static bool has(const json_t *o, const char *key)
{
	return json_object_get(o, key) != NULL;
}

/* "12", "12-15" */
static void print_span(FILE *f, unsigned long long first, unsigned long long nr)
{
	if (nr > 1)
		fprintf(f, "%llu-%llu", first, first + nr - 1);
	else
		fprintf(f, "%llu", first);
}

static void print_place(FILE *f, const json_t *p)
{
	const char *key = has(p, "sector") ? "sector" : "data_sector";
	const json_t *q;
	size_t i;

	fprintf(f, "    %s", text_of(p, "member"));
	if (has(p, "slot"))
		fprintf(f, " (slot %llu)", number_of(p, "slot"));
	fprintf(f, ", %s ", number_of(p, "nr_sectors") > 1 ? "sectors" : "sector");
	print_span(f, number_of(p, key), number_of(p, "nr_sectors"));
	fprintf(f, "%s", key[0] == 'd' ? " of its data" : "");
	if (has(p, "copy"))
		fprintf(f, ", copy %llu", number_of(p, "copy"));
	if (has(p, "stripe"))
		fprintf(f, "; stripe %llu", number_of(p, "stripe"));
	json_array_foreach(json_object_get(p, "parity"), i, q)
		fprintf(f, ", %s on %s at %llu%s", text_of(q, "role"), text_of(q, "member"),
			number_of(q, has(q, "sector") ? "sector" : "data_sector"), has(q, "sector") ? "" : " of its data");
	fputc('\n', f);
}

static void print_piece(FILE *f, const json_t *p)
{
	const bool of_file = !strcmp(text_of(p, "kind"), "data") || !strcmp(text_of(p, "kind"), "unwritten") ||
			     !strcmp(text_of(p, "kind"), "hole");
	const json_t *place;
	size_t i;

	fprintf(f, "  %s", text_of(p, "kind"));
	if (of_file) {
		fprintf(f, ": file block ");
		print_span(f, number_of(p, "lblk"), number_of(p, "nr_blocks"));
	}
	if (has(p, "block")) {
		fprintf(f, "%s block ", of_file ? ", filesystem" : ": filesystem");
		print_span(f, number_of(p, "block"), number_of(p, "nr_blocks"));
		fprintf(f, ", volume sector ");
		print_span(f, number_of(p, "volume_sector"), number_of(p, "nr_sectors"));
	}
	fputc('\n', f);
	json_array_foreach(json_object_get(p, "places"), i, place)
		print_place(f, place);
}

static void print_path(FILE *f, const json_t *o)
{
	const json_t *p;
	size_t i;

	fprintf(f, "%s: inode %llu, %s, %llu bytes", text_of(o, "path"), number_of(o, "inode"), text_of(o, "type"), number_of(o, "size"));
	if (has(o, "offset"))
		fprintf(f, "; byte %llu", number_of(o, "offset"));
	fputc('\n', f);
	json_array_foreach(json_object_get(o, "pieces"), i, p)
		print_piece(f, p);
}

static void print_name(FILE *f, const json_t *o)
{
	if (has(o, "path"))
		fprintf(f, "%s", text_of(o, "path"));
	else if (has(o, "special"))
		fprintf(f, "%s", text_of(o, "special"));
	else
		fprintf(f, "a file without a name");
	fprintf(f, " (inode %llu%s)", number_of(o, "inode"), has(o, "more_names") ? ", has more names" : "");
}

static void print_table(FILE *f, const json_t *o)
{
	const json_t *file;
	size_t i;

	fprintf(f, ", inodes %llu-%llu", number_of(o, "first_inode"), number_of(o, "last_inode"));
	json_array_foreach(json_object_get(o, "files"), i, file) {
		fprintf(f, "%s", i ? ", " : ": ");
		print_name(f, file);
	}
	if (number_of(o, "nr_files") > i)
		fprintf(f, " and %llu more", number_of(o, "nr_files") - i);
}

static void print_owner(FILE *f, const json_t *o)
{
	fprintf(f, "    ");
	if (has(o, "block")) {
		fprintf(f, "block ");
		print_span(f, number_of(o, "block"), number_of(o, "nr_blocks"));
		fprintf(f, ": ");
	}
	fprintf(f, "%s", text_of(o, "owner"));
	if (has(o, "group"))
		fprintf(f, " of group %llu", number_of(o, "group"));
	if (has(o, "inode")) {
		fprintf(f, has(o, "offset") ? " " : " of ");
		print_name(f, o);
	}
	if (has(o, "offset"))
		fprintf(f, ", bytes %llu-%llu", number_of(o, "offset"), number_of(o, "offset") + number_of(o, "bytes") - 1);
	else if (has(o, "nr_lblks"))
		fprintf(f, ", of its blocks %llu-%llu", number_of(o, "lblk"), number_of(o, "lblk") + number_of(o, "nr_lblks") - 1);
	if (has(o, "first_inode"))
		print_table(f, o);
	fputc('\n', f);
}

static void print_answer(FILE *f, const json_t *o)
{
	const json_t *owner;
	size_t i;

	if (has(o, "member")) {
		fprintf(f, "%s", text_of(o, "member"));
		if (json_integer_value(json_object_get(o, "slot")) >= 0)
			fprintf(f, " (slot %llu)", number_of(o, "slot"));
		fprintf(f, ", sector ");
		print_span(f, number_of(o, "sector"), number_of(o, "nr_sectors"));
		fprintf(f, ": %s", text_of(o, "what"));
		if (has(o, "stripe"))
			fprintf(f, " of stripe %llu", number_of(o, "stripe"));
		if (has(o, "copy"))
			fprintf(f, ", copy %llu", number_of(o, "copy"));
	}
	if (has(o, "volume_sector") && !has(o, "member"))
		fprintf(f, "volume sector ");
	else if (has(o, "volume_sector"))
		fprintf(f, ", volume sector ");
	if (has(o, "volume_sector") && !strcmp(text_of(o, "what"), "data"))
		print_span(f, number_of(o, "volume_sector"), number_of(o, "nr_sectors"));
	else if (has(o, "volume_sector"))
		fprintf(f, "%llu on", number_of(o, "volume_sector"));
	fputc('\n', f);
	json_array_foreach(json_object_get(o, "owners"), i, owner)
		print_owner(f, owner);
}

void explain_print(const json_t *answer, FILE *f)
{
	const json_t *v;
	size_t i;

	if (has(answer, "pieces"))
		print_path(f, answer);
	json_array_foreach(json_object_get(answer, "answers"), i, v)
		print_answer(f, v);
	json_array_foreach(json_object_get(answer, "faults"), i, v)
		fprintf(f, "!! %s\n", json_string_value(v));
	if (number_of(answer, "nr_faults") > json_array_size(json_object_get(answer, "faults")))
		fprintf(f, "!! and %llu more\n", number_of(answer, "nr_faults") - json_array_size(json_object_get(answer, "faults")));
}
