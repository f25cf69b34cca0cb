/* osfsctl.c: asks the daemon of a mount, prints what it says for people or as JSON. A verb is one row. */
#include "config.h"
#include "ctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static const char usage_text[] =
	"Usage: osfsctl VERB MOUNTPOINT [ARGUMENT...] [--json]\n"
	"  status MNT               array, members, filesystem, cache, memory\n"
	"  journal MNT              the journal's ring: transactions, head, tail, how full\n"
	"  wait [MNT]               until no rebuild, resync or scrub runs\n"
	"  layout MNT [PATH [OFFSET]] | layout MEMBER...   [--offset=BYTE] [--rows=N]\n"
	"                           the array as a table; where a byte lies, and what a read of it takes now\n"
	"  explain MNT PATH[@OFFSET]                      where a file or a byte of it lies\n"
	"  explain MNT --member=N --sectors=FROM[-TO]     whose sectors these are; also --volume-sectors=, --blocks=,\n"
	"          --list=FILE [--unit=BYTES]             bad sectors of badblocks, ddrescue   --scrub  what scrub found\n"
	"  disk kill MNT N          disk N (a slot, or an image's name) fails every request   [--p=P] [--seed=N]\n"
	"  disk slow MNT N MSEC     takes longer        disk flip MNT N [TIMES] [--write]   a bit is wrong\n"
	"  disk fault MNT N RULE    see osfsctl(8)      disk return MNT N    all that ends; the member comes back\n"
	"  disk fail MNT N          is set faulty       disk remove MNT N    leaves the array\n"
	"  disk add MNT IMAGE       joins [--spare]     disk re-add MNT IMAGE   comes back; only what changed is copied\n"
	"  disk replace MNT N [SPARE]                   disk write-mostly MNT N on|off\n"
	"  scrub check|repair|idle|status MNT [--rewrite]   compares what is redundant\n"
	"  rebuild MNT [MIN [MAX]]  speed limits in KiB/s\n"
	"  stats MNT                counters of every layer\n"
	"  trace MNT [LAYERS]       the recent events; with LAYERS (raid,cache ... all, off) switches what is traced\n"
	"  drop-caches MNT          drops clean pages, gives memory back\n"
	"Exit status: 0 good, 1 the array is degraded, 2 failed, 4 error.\n";

const char *size_text(double bytes, char buf[static 32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	unsigned u = 0;

	while (bytes >= 1024 && u + 1 < ARRAY_LEN(units)) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
	return buf;
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
		} else if (json_is_null(v)) {
			puts(" -");
		} else {
			printf(" %lld\n", (long long)json_integer_value(v));
		}
	}
}

static int print_stats(const json_t *answer)
{
	print_tree(answer, 0);
	return EXIT_GOOD;
}

static int print_text(const json_t *answer)
{
	fputs(get_text(answer, "text"), stdout);
	return EXIT_GOOD;
}

json_t *ctl_request(const char *path, const char *verb, json_t *args)
{
	json_t *answer = NULL;
	const int err = ctl_ask(path, verb, args, &answer);

	if (err == -ENOENT)
		log_error("%s: no osfs serves it", path);
	return err ? NULL : answer;
}

/* ---- verbs ------------------------------------------------------------------------------- */

static const struct verb {
	const char *name;
	int (*print)(const json_t *answer);	/* the daemon is asked, and this prints what it says */
	bool action_first;			/* VERB ACTION MNT instead of VERB MNT */
	bool has_state;				/* the exit status is the array's */
	int (*run)(const struct request *r);	/* instead of print: does it all */
} verbs[] = {
	{ "status", print_status, false, true, NULL },
	{ "stats", print_stats, false, false, NULL },
	{ "journal", print_journal, false, false, NULL },
	{ "trace", print_text, false, false, NULL },
	{ "drop-caches", print_text, false, false, NULL },
	{ "disk", print_text, true, false, NULL },
	{ "scrub", print_scrub, true, true, NULL },
	{ "rebuild", print_rates, false, true, NULL },
	{ "wait", NULL, false, false, run_wait },
	{ "layout", NULL, false, false, run_layout },
	{ "explain", NULL, false, false, run_explain },
};

static const struct verb *find_verb(const char *name)
{
	for (unsigned i = 0; name && i < ARRAY_LEN(verbs); i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

/* A word that is an image here means the same to the daemon, which is somewhere else. */
static json_t *word_json(const char *word, bool may_be_path)
{
	char path[PATH_MAX];

	if (may_be_path && !access(word, F_OK) && realpath(word, path))
		return json_string(path);
	return json_string(word);
}

static int ask(const struct verb *v, const struct request *r)
{
	const unsigned at = v->action_first ? 1 : 0;	/* of the mount point */
	json_t *args = json_array(), *answer;
	int status;

	if (r->nr_words <= at) {
		log_error("%s: the mount point is missing (osfsctl --help)", v->name);
		json_decref(args);
		return EXIT_ERROR;
	}
	if (v->action_first)
		json_array_append_new(args, json_string(r->words[0]));
	for (unsigned i = at + 1; i < r->nr_words; i++) {
		const bool joins = v->action_first && (!strcmp(r->words[0], "add") || !strcmp(r->words[0], "re-add"));

		json_array_append_new(args, word_json(r->words[i], joins && i == at + 1));
	}
	answer = ctl_request(r->words[at], v->name, args);
	if (!answer)
		return EXIT_ERROR;
	if (r->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
		status = v->has_state ? array_exit_status(answer) : EXIT_GOOD;
	} else {
		status = v->print(answer);
	}
	json_decref(answer);
	return status;
}

int main(int argc, char **argv)
{
	struct request r = { .words = calloc((size_t)argc, sizeof(char *)) };
	const struct verb *v;
	int status;

	log_set_program("osfsctl");
	for (int i = 1; i < argc && r.words; i++) {
		if (!strcmp(argv[i], "--json")) {
			r.json = true;
		} else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			fputs(usage_text, stdout);
			return EXIT_GOOD;
		} else if (!strcmp(argv[i], "-V") || !strcmp(argv[i], "--version")) {
			printf("osfsctl %s\n", PACKAGE_VERSION);
			return EXIT_GOOD;
		} else if (!r.verb) {
			r.verb = argv[i];
		} else {
			r.words[r.nr_words++] = argv[i];
		}
	}
	v = find_verb(r.verb);
	if (!v) {
		if (r.verb)
			log_error("unknown verb '%s'", r.verb);
		fputs(usage_text, stderr);
		free(r.words);
		return EXIT_ERROR;
	}
	status = v->run ? v->run(&r) : ask(v, &r);
	free(r.words);
	return status;
}
