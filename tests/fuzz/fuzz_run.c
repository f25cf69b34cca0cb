/* fuzz_run.c: one input through a harness, and what counts as a failure. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "fuzz.h"

const struct fuzz_harness fuzz_harnesses[] = {
	{ "assemble", fuzz_assemble }, { "mount", fuzz_mount }, { "journal", fuzz_journal }, { "dir", fuzz_dir },
	{ "extent", fuzz_extent }, { "look", fuzz_look }, { "fsck", fuzz_fsck }, { "sick", fuzz_sick }, { NULL, NULL },
};

static atomic_uint nr_lines;

void fuzz_die(const char *where, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "fuzz: %s: ", where);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

void fuzz_check_err(int err, const char *call)
{
	/* -EINVAL, -ENOSPC and the like are answers; these are not. */
	if (err > 0 || err == -EFAULT || err == -ENOSYS)
		fuzz_fail("%s returned %d", call, err);
}

static void count_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	if (getenv("OSFS_FUZZ_LOG"))
		fprintf(stderr, "log: %s\n", line);
	if (atomic_fetch_add(&nr_lines, 1) > FUZZ_LOG_MAX)
		fuzz_fail("more than %d log lines, the last: %s", FUZZ_LOG_MAX, line);
}

const struct fuzz_harness *fuzz_harness_find(const char *name)
{
	for (const struct fuzz_harness *h = fuzz_harnesses; h->name; h++)
		if (!strcmp(h->name, name))
			return h;
	return NULL;
}

void fuzz_run(const struct fuzz_harness *h, const uint8_t *data, size_t size)
{
	atomic_store(&nr_lines, 0);
	log_set_sink(count_line, NULL);
	h->run(data, size);
}
