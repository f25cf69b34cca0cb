/* log.c: one line, one write, so that lines of several threads do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* [const after start] */
static log_sink *the_sink;
static void *the_arg;
static enum log_level the_level = LOG_LEVEL_INFO;
static const char *the_program = "osfs";

static _Thread_local log_sink *the_tap;
static _Thread_local void *the_tap_arg;

void log_set_sink(log_sink *sink, void *arg)
{
	the_sink = sink;
	the_arg = arg;
}

void log_set_level(enum log_level max_level)
{
	the_level = max_level;
}

void log_set_program(const char *name)
{
	the_program = name;
}

void log_tap(log_sink *sink, void *arg)
{
	the_tap = sink;
	the_tap_arg = arg;
}

void log_message(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	size_t head = 0;
	va_list ap;
	int n;

	if (level > the_level)
		return;
	if (!the_sink)
		head = (size_t)snprintf(line, sizeof(line), "%.64s: ", the_program);
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - head, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if (the_tap)
		the_tap(the_tap_arg, level, line + head);
	if (the_sink) {
		the_sink(the_arg, level, line);
		return;
	}
	head = MIN(head + (size_t)n, sizeof(line) - 2);
	line[head++] = '\n';
	if (write(STDERR_FILENO, line, head) < 0)
		return;	/* nobody left to tell */
}
