/* osfsctl.c: asks the daemon of a mount, prints what it says for people or as JSON. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/ctl_client.h"

/* As issue and mdadm have them: the array's state is the exit status. */
enum { EXIT_GOOD = 0, EXIT_DEGRADED = 1, EXIT_FAILED = 2, EXIT_ERROR = 4 };

static const char usage_text[] =
	"Usage: osfsctl VERB MOUNTPOINT [ARGUMENT...] [--json]\n"
	"  status MNT         array, members, filesystem, cache, memory\n"
	"  stats MNT          counters of every layer\n"
	"  trace MNT [LAYERS] the recent events; with LAYERS (raid,cache ... all, off) switches what is traced\n"
	"  drop-caches MNT    drops clean pages, gives memory back\n"
	"Exit status: 0 good, 1 degraded, 2 failed, 4 error.\n";

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

/* "1.5 GiB" */
static const char *size_text(double bytes, char buf[static 32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	unsigned u = 0;

	while (bytes >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
	return buf;
}

static void print_array(const json_t *a)
{
	const char *layout = text_of(a, "layout");
	char size[32];
	const json_t *m;
	size_t i;

	printf("array       %s, %lld devices, %s", text_of(a, "level"), number_of(a, "raid_devices"),
	       size_text((double)number_of(a, "size_bytes"), size));
	if (number_of(a, "chunk_kib"))
		printf(", chunk %lldK", number_of(a, "chunk_kib"));
	if (*layout)
		printf(", layout %s", layout);
	printf("\n  uuid      %s%s%s\n  state     %s, %lld active, events %lld\n", text_of(a, "uuid"),
	       *text_of(a, "name") ? "  name " : "", text_of(a, "name"), text_of(a, "state"), number_of(a, "active_devices"),
	       number_of(a, "events"));
	json_array_foreach(json_object_get(a, "members"), i, m) {
		printf("  %4lld      %-10s  %s", number_of(m, "slot"), text_of(m, "state"), text_of(m, "name"));
		if (number_of(m, "read_errors") || number_of(m, "write_errors"))
			printf("  (%lld read errors, %lld write errors)", number_of(m, "read_errors"),
			       number_of(m, "write_errors"));
		putchar('\n');
	}
}

static void print_filesystem(const json_t *f)
{
	const double block = (double)number_of(f, "block_bytes");
	char size[32], free_size[32];
	const json_t *name;
	size_t i;

	printf("filesystem  %s, %s free of %s, %lld inodes free of %lld%s%s\n", text_of(f, "uuid"),
	       size_text(block * (double)number_of(f, "free_blocks"), free_size),
	       size_text(block * (double)number_of(f, "blocks"), size), number_of(f, "free_inodes"), number_of(f, "inodes"),
	       json_is_true(json_object_get(f, "read_only")) ? ", read-only" : "",
	       *text_of(f, "error") ? ", with errors" : "");
	if (*text_of(f, "label"))
		printf("  label     %s\n", text_of(f, "label"));
	printf("  features ");
	json_array_foreach(json_object_get(f, "features"), i, name)
		printf(" %s", json_string_value(name));
	printf("\n  inodes    %lld in memory, %lld known to the kernel\n", number_of(f, "cached_inodes"),
	       number_of(f, "referenced_inodes"));
}

static void print_cache(const json_t *c)
{
	const double block = (double)number_of(c, "block_bytes");
	char used[32], size[32], dirty[32];

	printf("cache       %s of %s, %s dirty, hit rate %.1f %% (%lld hits, %lld misses)\n",
	       size_text(block * (double)number_of(c, "frames"), used), size_text((double)number_of(c, "size_bytes"), size),
	       size_text(block * (double)number_of(c, "dirty"), dirty), json_real_value(json_object_get(c, "hit_percent")),
	       number_of(c, "hits"), number_of(c, "misses"));
}

static void print_memory(const json_t *m)
{
	char used[32], arenas[32];

	printf("memory      %s used of %s in arenas\n", size_text((double)number_of(m, "used_bytes"), used),
	       size_text((double)number_of(m, "arena_bytes"), arenas));
}

static int print_status(const json_t *r)
{
	const json_t *a = json_object_get(r, "array"), *f = json_object_get(r, "filesystem");
	const json_t *c = json_object_get(r, "cache");
	const char *state = text_of(a, "state");

	printf("mounted at  %s\n", text_of(r, "mountpoint"));
	if (a)
		print_array(a);
	else
		printf("image       %s\n", text_of(r, "source"));
	if (f)
		print_filesystem(f);
	if (c)
		print_cache(c);
	print_memory(json_object_get(r, "memory"));
	return !strcmp(state, "failed") ? EXIT_FAILED : !strcmp(state, "degraded") ? EXIT_DEGRADED : EXIT_GOOD;
}

/* Objects as indented names, numbers and words behind them. */
static void print_tree(const json_t *o, int depth)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_array(o)) {
		json_array_foreach((json_t *)(uintptr_t)o, i, v)
			print_tree(v, depth);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)o, key, v) {
		printf("%*s%-*s", depth * 2, "", 20 - depth * 2, key);
		if (json_is_object(v) || json_is_array(v)) {
			putchar('\n');
			print_tree(v, depth + 1);
		} else if (json_is_string(v)) {
			printf(" %s\n", json_string_value(v));
		} else if (json_is_real(v)) {
			printf(" %.1f\n", json_real_value(v));
		} else if (json_is_boolean(v)) {
			printf(" %s\n", json_is_true(v) ? "yes" : "no");
		} else {
			printf(" %lld\n", (long long)json_integer_value(v));
		}
	}
}

static int print_stats(const json_t *r)
{
	print_tree(r, 0);
	return EXIT_GOOD;
}

static int print_text(const json_t *r)
{
	fputs(text_of(r, "text"), stdout);
	return EXIT_GOOD;
}

static const struct verb {
	const char *name;
	int (*print)(const json_t *result);
} verbs[] = {
	{ "status", print_status }, { "stats", print_stats }, { "trace", print_text }, { "drop-caches", print_text },
	{ NULL, NULL },
};

static int run(const struct verb *v, const char *path, json_t *args, bool json)
{
	json_t *result = NULL;
	const int err = ctl_ask(path, v->name, args, &result);
	int status;

	if (err == -ENOENT)
		log_error("%s: no osfs serves it", path);
	if (err)
		return EXIT_ERROR;
	status = json ? EXIT_GOOD : v->print(result);
	if (json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(result);
	return status;
}

int main(int argc, char **argv)
{
	const char *words[16];
	const struct verb *v = verbs;
	json_t *args = json_array();
	unsigned nr = 0;
	bool json = false;

	log_set_program("osfsctl");
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			fputs(usage_text, stdout);
			return EXIT_GOOD;
		} else if (!strcmp(argv[i], "-V") || !strcmp(argv[i], "--version")) {
			printf("osfsctl %s\n", PACKAGE_VERSION);
			return EXIT_GOOD;
		} else if (nr < ARRAY_LEN(words)) {
			words[nr++] = argv[i];
		}
	}
	while (nr > 0 && v->name && strcmp(v->name, words[0]))
		v++;
	if (nr < 2 || !v->name) {
		if (nr > 0 && !v->name)
			log_error("unknown verb '%s'", words[0]);
		fputs(usage_text, stderr);
		return EXIT_ERROR;
	}
	for (unsigned i = 2; i < nr; i++)
		json_array_append_new(args, json_string(words[i]));
	return run(v, words[1], args, json);
}
