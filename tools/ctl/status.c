/* status.c: the state of a mount for people, and waiting for it to be still. */
#include "config.h"
#include "ctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WAIT_NSEC = 200 * 1000 * 1000 };

int array_exit_status(const json_t *answer)
{
	const json_t *a = json_object_get(answer, "array");

	return get_bool(a, "failed") ? EXIT_FAILED : get_bool(a, "degraded") ? EXIT_DEGRADED : EXIT_GOOD;
}

/* As /proc/mdstat: recover = 12.6% (3704/29294) finish=1.5min speed=33440K/sec */
static void print_action(const json_t *a)
{
	const char *name = get_text(a, "name");

	if (!strcmp(name, "idle"))
		return;
	printf("  %-9s %.1f%% (%lld/%lld KiB) finish=", name, json_real_value(json_object_get(a, "percent")),
	       get_number(a, "done_bytes") / 1024, get_number(a, "all_bytes") / 1024);
	if (json_is_integer(json_object_get(a, "left_seconds")))
		printf("%.1fmin", (double)get_number(a, "left_seconds") / 60);
	else
		printf("unknown");
	printf(" speed=%lldK/sec\n", get_number(a, "speed_kib"));
}

static void print_last_scrub(const json_t *s)
{
	const char *last = get_text(s, "last");
	const json_t *p;
	size_t i;

	if (!*last)
		return;
	printf("  scrub     last %s: %lld sectors differ", last, get_number(s, "mismatch_sectors"));
	if (get_number(s, "repaired_sectors"))
		printf(", %lld repaired", get_number(s, "repaired_sectors"));
	putchar('\n');
	json_array_foreach(json_object_get(s, "places"), i, p) {
		printf("            byte %lld of the volume, %lld bytes: ", get_number(p, "volume_byte"), get_number(p, "bytes"));
		if (get_number(p, "slot") >= 0)
			printf("slot %lld is wrong%s\n", get_number(p, "slot"), get_bool(p, "repaired") ? ", repaired" : "");
		else
			printf("nothing tells which member is wrong%s\n", get_bool(p, "repaired") ? "; rewritten" : "");
	}
}

static void print_member(const json_t *m)
{
	const long long nr_read = get_number(m, "read_errors"), nr_write = get_number(m, "write_errors");

	if (get_number(m, "slot") >= 0)
		printf("  %4lld      ", get_number(m, "slot"));
	else
		printf("     -      ");
	printf("%-10s  %s", get_text(m, "state"), get_text(m, "name"));
	if (*get_text(m, "name"))
		printf("  events %lld", get_number(m, "events"));
	if (get_bool(m, "write_mostly"))
		printf(", write-mostly");
	if (get_bool(m, "replacement"))
		printf(", replaces slot %lld", get_number(m, "slot"));
	if (nr_read || nr_write || get_number(m, "corrected"))
		printf("  (%lld read errors, %lld corrected, %lld write errors)", nr_read, get_number(m, "corrected"), nr_write);
	if (get_number(m, "slow"))
		printf("  (%lld times slow)", get_number(m, "slow"));
	if (*get_text(m, "why"))
		printf("  %s", get_text(m, "why"));
	putchar('\n');
}

static void print_array(const json_t *a)
{
	const char *layout = get_text(a, "layout");
	const json_t *m, *b = json_object_get(a, "bitmap");
	char size[32];
	size_t i;

	printf("array       %s, %lld devices, %s", get_text(a, "level"), get_number(a, "raid_devices"),
	       size_text((double)get_number(a, "size_bytes"), size));
	if (get_number(a, "chunk_kib"))
		printf(", chunk %lldK", get_number(a, "chunk_kib"));
	if (*layout && strcmp(layout, "none"))
		printf(", layout %s", layout);
	printf("\n  uuid      %s%s%s\n  state     %s; %lld of %lld in sync, %lld spare, events %lld\n", get_text(a, "uuid"),
	       *get_text(a, "name") ? "  name " : "", get_text(a, "name"), get_text(a, "state"),
	       get_number(a, "active_devices"), get_number(a, "raid_devices"), get_number(a, "spare_devices"),
	       get_number(a, "events"));
	print_action(json_object_get(a, "action"));
	if (json_is_object(b))
		printf("  bitmap    %lld of %lld chunks of %s may differ\n", get_number(b, "dirty"), get_number(b, "bits"),
		       size_text((double)get_number(b, "chunk_bytes"), size));
	print_last_scrub(json_object_get(a, "scrub"));
	json_array_foreach(json_object_get(a, "members"), i, m)
		print_member(m);
}

static void print_filesystem(const json_t *f)
{
	const double block = (double)get_number(f, "block_bytes");
	char size[32], free_size[32];
	const json_t *name;
	size_t i;

	printf("filesystem  %s, %s free of %s, %lld inodes free of %lld%s%s\n", get_text(f, "uuid"),
	       size_text(block * (double)get_number(f, "free_blocks"), free_size),
	       size_text(block * (double)get_number(f, "blocks"), size), get_number(f, "free_inodes"), get_number(f, "inodes"),
	       get_bool(f, "read_only") ? ", read-only" : "", *get_text(f, "error") ? ", with errors" : "");
	if (*get_text(f, "label"))
		printf("  label     %s\n", get_text(f, "label"));
	printf("  features ");
	json_array_foreach(json_object_get(f, "features"), i, name)
		printf(" %s", json_string_value(name));
	printf("\n  inodes    %lld in memory, %lld known to the kernel\n", get_number(f, "cached_inodes"),
	       get_number(f, "referenced_inodes"));
}

static void print_cache(const json_t *c)
{
	const double block = (double)get_number(c, "block_bytes");
	char used[32], size[32], dirty[32];

	printf("cache       %s of %s, %s dirty, hit rate %.1f %% (%lld hits, %lld misses)\n",
	       size_text(block * (double)get_number(c, "frames"), used), size_text((double)get_number(c, "size_bytes"), size),
	       size_text(block * (double)get_number(c, "dirty"), dirty), json_real_value(json_object_get(c, "hit_percent")),
	       get_number(c, "hits"), get_number(c, "misses"));
}

static void print_memory(const json_t *m)
{
	char used[32], arenas[32];

	printf("memory      %s used of %s in arenas\n", size_text((double)get_number(m, "used_bytes"), used),
	       size_text((double)get_number(m, "arena_bytes"), arenas));
}

int print_status(const json_t *answer)
{
	const json_t *a = json_object_get(answer, "array"), *f = json_object_get(answer, "filesystem");
	const json_t *c = json_object_get(answer, "cache");

	printf("mounted at  %s\n", get_text(answer, "mountpoint"));
	if (a)
		print_array(a);
	else
		printf("image       %s\n", get_text(answer, "source"));
	if (f)
		print_filesystem(f);
	print_journal_line(json_object_get(answer, "journal"));
	if (c)
		print_cache(c);
	print_memory(json_object_get(answer, "memory"));
	return array_exit_status(answer);
}

int print_scrub(const json_t *answer)
{
	const json_t *a = json_object_get(answer, "array");

	if (!strcmp(get_text(json_object_get(a, "action"), "name"), "idle") && !*get_text(json_object_get(a, "scrub"), "last"))
		puts("  no scrub has been run since the array was mounted");
	print_action(json_object_get(a, "action"));
	print_last_scrub(json_object_get(a, "scrub"));
	return array_exit_status(answer);
}

int print_rates(const json_t *answer)
{
	const json_t *a = json_object_get(json_object_get(answer, "array"), "action");

	printf("  rebuilds, resyncs and scrubs run at %lld to %lld KiB/s on each member\n", get_number(a, "speed_min_kib"),
	       get_number(a, "speed_max_kib"));
	print_action(a);
	return array_exit_status(answer);
}

/* Until nothing runs any more: also not right after, when the next spare is about to be filled. */
int run_wait(const struct request *r)
{
	const struct timespec pause = { .tv_nsec = WAIT_NSEC };
	const char *path = r->nr_words ? r->words[0] : ".";
	unsigned nr_idle = 0;

	for (;;) {
		json_t *answer = ctl_request(path, "status", NULL);
		const json_t *action = json_object_get(json_object_get(answer, "array"), "action");
		const bool idle = !action || !strcmp(get_text(action, "name"), "idle");
		const int status = answer ? array_exit_status(answer) : EXIT_ERROR;

		json_decref(answer);
		nr_idle = idle ? nr_idle + 1 : 0;
		if (nr_idle == 2 || status == EXIT_ERROR)
			return status;
		nanosleep(&pause, NULL);
	}
}
