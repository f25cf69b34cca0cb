/* log.c: one line, one write, so that lines of several threads do not mix. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* [atomic] A daemon changes them when it leaves its terminal, with threads at work. The sink is set last and read first. */
static _Atomic(log_sink *) the_sink;
static _Atomic(void *) the_arg;
/* [const after start] */
static enum log_level the_level = LOG_LEVEL_INFO;
static const char *the_program = "osfs";

static _Thread_local log_sink *the_tap;
static _Thread_local void *the_tap_arg;

void log_set_sink(log_sink *sink, void *arg)
{
	atomic_store(&the_arg, arg);
	atomic_store(&the_sink, sink);
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

/* A bucket of lines that fills by the second. */
static struct {
	pthread_mutex_t lock;
	unsigned burst, per_sec;	/* [const after start] burst 0: no limit */
	uint64_t msec_lines;		/* [lock] thousandths of lines that may be said now */
	uint64_t last_msec;		/* [lock] */
	uint64_t nr_left_out;		/* [lock] */
} limit = { .lock = PTHREAD_MUTEX_INITIALIZER };

void log_set_limit(unsigned burst, unsigned per_sec)
{
	limit.burst = burst;
	limit.per_sec = per_sec;
	limit.msec_lines = (uint64_t)burst * 1000;
}

/* May a line be said now? *left_out: how many were not since the last one that was. */
static bool limit_pass(uint64_t *left_out)
{
	struct timespec ts;
	uint64_t now;
	bool pass;

	*left_out = 0;
	if (!limit.burst)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	pthread_mutex_lock(&limit.lock);
	if (limit.last_msec && now > limit.last_msec)
		limit.msec_lines = MIN(limit.msec_lines + (now - limit.last_msec) * limit.per_sec, (uint64_t)limit.burst * 1000);
	limit.last_msec = now;
	pass = limit.msec_lines >= 1000;
	if (pass) {
		limit.msec_lines -= 1000;
		*left_out = limit.nr_left_out;
		limit.nr_left_out = 0;
	} else {
		limit.nr_left_out++;
	}
	pthread_mutex_unlock(&limit.lock);
	return pass;
}

static void say(enum log_level level, const char *fmt, va_list ap)
{
	log_sink *const sink = atomic_load(&the_sink);
	char line[1024];
	size_t head = 0;
	int n;

	if (!sink)
		head = (size_t)snprintf(line, sizeof(line), "%.64s: ", the_program);
	n = vsnprintf(line + head, sizeof(line) - head, fmt, ap);
	if (n < 0)
		return;
	if (the_tap)
		the_tap(the_tap_arg, level, line + head);
	if (sink) {
		sink(atomic_load(&the_arg), level, line);
		return;
	}
	head = MIN(head + (size_t)n, sizeof(line) - 2);
	line[head++] = '\n';
	if (write(STDERR_FILENO, line, head) < 0)
		return;	/* nobody left to tell */
}

static void PRINTF_LIKE(2, 3) say_left_out(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(level, fmt, ap);
	va_end(ap);
}

void log_message(enum log_level level, const char *fmt, ...)
{
	uint64_t left_out;
	va_list ap;

	if (level > the_level)
		return;
	left_out = 0;
	if (!the_tap && !limit_pass(&left_out))	/* who taps waits for its line */
		return;
	if (left_out)
		say_left_out(LOG_LEVEL_WARN, "%" PRIu64 " lines left out: too many at once", left_out);
	va_start(ap, fmt);
	say(level, fmt, ap);
	va_end(ap);
}
