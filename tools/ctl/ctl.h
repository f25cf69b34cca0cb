/*
 * ctl.h: what the files of osfsctl share.
 *
 *	osfsctl.c   the command line, one row a verb
 *	status.c    status, scrub, wait
 *	journal.c   journal, and its line in status
 *	layout.c    layout, of a mount or of members that nobody has mounted
 *	explain.c   explain: paths, lists of bad sectors
 */
#ifndef OSFS_TOOLS_CTL_CTL_H
#define OSFS_TOOLS_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "daemon/ctl_client.h"
#include "daemon/json_get.h"

/* The array's state is the exit status, as mdadm --detail --test has it. */
enum { EXIT_GOOD = 0, EXIT_DEGRADED = 1, EXIT_FAILED = 2, EXIT_ERROR = 4 };

/* The words behind the verb. */
struct request {
	const char *verb;
	const char **words;
	unsigned nr_words;
	bool json;
};

/* Asks the daemon of path; args are taken over. NULL after a message. */
json_t *ctl_request(const char *path, const char *verb, json_t *args);
/* "1.5 GiB" */
const char *size_text(double bytes, char buf[static 32]);
/* By the array of an answer, if there is one. */
int array_exit_status(const json_t *answer);

int print_status(const json_t *answer);
int print_journal(const json_t *answer);
void print_journal_line(const json_t *journal);	/* NULL: nothing */
int print_scrub(const json_t *answer);
int print_rates(const json_t *answer);
int run_wait(const struct request *r);
int run_layout(const struct request *r);

/* explain.c */
int run_explain(const struct request *r);

#endif
