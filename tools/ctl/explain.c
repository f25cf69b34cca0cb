/* explain.c: explain: paths and lists are this side's, the rest is the daemon's. */
#include "ctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "explain/explain.h"

enum { LIST_BYTES = 48 << 10 };	/* below CTL_MAX_LINE_BYTES */

struct ask {
	const struct request *r;
	const char *mountpoint;
};

static int answer(void *arg, const char *const *words, unsigned nr)
{
	const struct ask *a = arg;
	json_t *args = json_array(), *reply;

	for (unsigned i = 0; i < nr; i++)
		json_array_append_new(args, json_string(words[i]));
	reply = ctl_request(a->mountpoint, "explain", args);
	if (!reply)
		return -EIO;
	if (a->r->json) {
		json_dumpf(reply, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		explain_print(reply, stdout);
	}
	json_decref(reply);
	return 0;
}

/* A path of the mount as seen from here becomes one within the filesystem; malloc'ed. */
static char *inner_path(const char *mountpoint, const char *word)
{
	char top[PATH_MAX], path[PATH_MAX], *copy = strdup(word), *at = copy ? strrchr(copy, '@') : NULL, *out = NULL;
	const char *offset = "";
	bool found;

	if (!copy)
		return NULL;
	found = realpath(word, path);
	if (!found && at) {
		*at = '\0';
		offset = word + (at - copy);
		found = realpath(copy, path);
	}
	if (found && realpath(mountpoint, top)) {
		const size_t len = strlen(top);

		if (!strncmp(path, top, len) && (path[len] == '/' || !path[len]) &&
		    asprintf(&out, "%s%s", path[len] ? path + len : "/", offset) < 0)
			out = NULL;
	}
	free(copy);
	return out ? out : strdup(word);
}

int run_explain(const struct request *r)
{
	struct ask a = { .r = r };
	const char **words;
	char *path = NULL;
	int err;

	if (r->nr_words < 2) {
		log_error("explain: a mount point, and what is to be explained (osfsctl --help)");
		return EXIT_ERROR;
	}
	a.mountpoint = r->words[0];
	words = r->words + 1;
	if (r->nr_words == 2 && strncmp(words[0], "--", 2)) {
		path = inner_path(a.mountpoint, words[0]);
		if (path)
			words[0] = path;
	}
	err = explain_list_expand(words, r->nr_words - 1, LIST_BYTES, answer, &a);
	free(path);
	return err ? EXIT_ERROR : EXIT_GOOD;
}
