/* journal.c: osfsctl journal, and the journal's line in osfsctl status. */
#include "ctl.h"

#include <stdio.h>

void print_journal_line(const json_t *j)
{
	if (!j)
		return;
	printf("journal     data=%s, %.1f %% of %lld blocks in use, %lld commits, %lld blocks to bring home%s%s\n", get_text(j, "data"),
	       json_real_value(json_object_get(j, "used_percent")), get_number(j, "blocks"), get_number(j, "commits"),
	       get_number(j, "to_bring_home"), *get_text(j, "error") ? ", ABORTED: " : "", get_text(j, "error"));
}

static void print_txn(const json_t *t)
{
	printf("  %10lld  %-10s  %6lld blocks, %lld revoked", get_number(t, "sequence"), get_text(t, "state"), get_number(t, "blocks"),
	       get_number(t, "revoked"));
	if (get_number(t, "length"))
		printf(", blocks %lld+%lld of the log, %lld to bring home", get_number(t, "start"), get_number(t, "length"),
		       get_number(t, "to_bring_home"));
	putchar('\n');
}

int print_journal(const json_t *j)
{
	const json_t *by = json_object_get(j, "used_by"), *list = json_object_get(j, "transactions"), *t;
	const long long more = get_number(j, "nr_transactions") - (long long)json_array_size(list);
	size_t i;

	print_journal_line(j);
	printf("  ring      blocks %lld to %lld, tail %lld, head %lld; a transaction takes at most %lld\n", get_number(j, "first"),
	       get_number(j, "end") - 1, get_number(j, "tail"), get_number(j, "head"), get_number(j, "largest_transaction"));
	printf("  [%s]  = committed, + being committed, > head\n", get_text(j, "picture"));
	printf("  in use    %lld blocks: %lld descriptors, %lld copies, %lld revokes, %lld commits\n", get_number(j, "used_blocks"),
	       get_number(by, "descriptors"), get_number(by, "copies"), get_number(by, "revokes"), get_number(by, "commits"));
	printf("  so far    %lld commits of %lld blocks, %lld checkpoints; every %g s, checksum v%lld\n", get_number(j, "commits"),
	       get_number(j, "logged_blocks"), get_number(j, "checkpoints"), json_real_value(json_object_get(j, "commit_seconds")),
	       get_number(j, "checksum"));
	json_array_foreach(list, i, t)
		print_txn(t);
	if (more > 0)
		printf("  ... and %lld more\n", more);
	return *get_text(j, "error") ? EXIT_FAILED : EXIT_GOOD;
}
