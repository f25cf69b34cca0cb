/* test_base_tell.c: the log and the trace ring. */
#include "test_base.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/trace.h"

/* ---- log ----------------------------------------------------------------- */

struct caught {
	unsigned nr;
	enum log_level level;
	char line[1024];
};

static void catch_line(void *arg, enum log_level level, const char *line)
{
	struct caught *c = arg;

	c->nr++;
	c->level = level;
	snprintf(c->line, sizeof(c->line), "%s", line);
}

START_TEST(a_sink_gets_the_line_and_its_level)
{
	struct caught c = { 0 };

	log_set_sink(catch_line, &c);
	log_warn("member %d: %s", 3, "gone");
	ck_assert_uint_eq(c.nr, 1);
	ck_assert_int_eq(c.level, LOG_LEVEL_WARN);
	ck_assert_str_eq(c.line, "member 3: gone");
}
END_TEST

START_TEST(messages_above_the_level_are_dropped)
{
	struct caught c = { 0 };

	log_set_sink(catch_line, &c);
	log_debug("quiet by default");
	ck_assert_uint_eq(c.nr, 0);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("said");
	ck_assert_uint_eq(c.nr, 1);
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("dropped");
	ck_assert_uint_eq(c.nr, 1);
	log_error("said");
	ck_assert_uint_eq(c.nr, 2);
}
END_TEST

START_TEST(a_limit_drops_lines_and_tells_how_many)
{
	struct caught c = { 0 };

	log_set_sink(catch_line, &c);
	log_set_limit(3, 0);	/* no second brings new ones */
	for (unsigned i = 0; i < 10; i++)
		log_warn("line %u", i);
	ck_assert_uint_eq(c.nr, 3);
	ck_assert_str_eq(c.line, "line 2");
	log_set_limit(3, 0);
	log_warn("one more");
	ck_assert_uint_eq(c.nr, 5);
	ck_assert_str_eq(c.line, "one more");
	log_set_limit(0, 0);
	for (unsigned i = 0; i < 10; i++)
		log_warn("line %u", i);
	ck_assert_uint_eq(c.nr, 15);
}
END_TEST

START_TEST(without_a_sink_lines_go_to_standard_error_whole)
{
	char buf[4096], name[200];
	int fds[2], old = dup(STDERR_FILENO);
	ssize_t n;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	ck_assert_int_eq(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	log_set_program("mkfs.osfs");
	log_error("one");
	/* Longer than a line may be: cut, and still ended. */
	for (unsigned i = 0; i < 2; i++)
		log_error("%s%s%s%s%s%s%s", name, name, name, name, name, name, name);
	dup2(old, STDERR_FILENO);
	n = read(fds[0], buf, sizeof(buf));
	ck_assert_int_gt(n, 100);
	ck_assert_int_eq(strncmp(buf, "mkfs.osfs: one\nmkfs.osfs: xxx", 29), 0);
	ck_assert_int_eq(buf[n - 1], '\n');
	ck_assert_ptr_null(memchr(buf, 0, (size_t)n));
}
END_TEST

/* ---- trace --------------------------------------------------------------- */

static char *trace_text(void)
{
	enum { SIZE = TRACE_SLOTS * (TRACE_TEXT_BYTES + 80) };	/* 80: time, thread, layer */
	char *text = calloc(1, SIZE);
	FILE *f = fmemopen(text, SIZE, "w");

	ck_assert_ptr_nonnull(f);
	trace_to_text(f);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static unsigned nr_lines(const char *text)
{
	unsigned nr = 0;

	for (; *text; text++)
		nr += *text == '\n';
	return nr;
}

START_TEST(a_layer_traces_only_when_it_is_on)
{
	char *text;

	TRACE(blk, "before");
	ck_assert_int_eq(trace_enable("raid,blk"), 0);
	TRACE(blk, "sect=%d", 17);
	TRACE(raid, "stripe");
	TRACE(cache, "not asked for");
	text = trace_text();
	ck_assert_uint_eq(nr_lines(text), 2);
	ck_assert_ptr_nonnull(strstr(text, " blk sect=17\n"));
	ck_assert_ptr_nonnull(strstr(text, " raid stripe\n"));
	free(text);
	ck_assert_int_eq(trace_enable(""), 0);
	TRACE(blk, "after");
	text = trace_text();
	ck_assert_uint_eq(nr_lines(text), 2);
	free(text);
}
END_TEST

START_TEST(all_layers_can_be_switched_on_by_one_word)
{
	char *text;

	ck_assert_int_eq(trace_enable("all"), 0);
	TRACE(alloc, "a");
	TRACE(journal, "j");
	TRACE(fs, "f");
	TRACE(daemon, "d");
	text = trace_text();
	ck_assert_uint_eq(nr_lines(text), 4);
	free(text);
}
END_TEST

START_TEST(an_unknown_layer_changes_nothing)
{
	static const char *const bad[] = { "blk,nonsense", "bl", "blkk", "blk,,raid", " blk" };
	unsigned mask;

	ck_assert_int_eq(trace_enable("fs"), 0);
	mask = atomic_load(&trace_mask);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(trace_enable(bad[i]), -EINVAL);
		ck_assert_uint_eq(atomic_load(&trace_mask), mask);
	}
}
END_TEST

START_TEST(the_ring_keeps_the_newest_events_in_order)
{
	enum { NR = TRACE_SLOTS + 1234 };
	const char *line;
	char *text;
	unsigned nr = NR - TRACE_SLOTS;

	ck_assert_int_eq(trace_enable("fs"), 0);
	for (unsigned i = 0; i < NR; i++)
		TRACE(fs, "n=%u", i);
	text = trace_text();
	ck_assert_uint_eq(nr_lines(text), TRACE_SLOTS);
	for (line = text; *line; line = strchr(line, '\n') + 1)
		ck_assert_uint_eq(strtoul(strstr(line, "n=") + 2, NULL, 10), nr++);
	free(text);
}
END_TEST

START_TEST(a_long_event_is_cut)
{
	char *text, *event;
	char longer[300];

	memset(longer, 'y', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	ck_assert_int_eq(trace_enable("fs"), 0);
	TRACE(fs, "%s", longer);
	text = trace_text();
	event = strstr(text, " fs ") + 4;
	ck_assert_uint_eq(strspn(event, "y"), TRACE_TEXT_BYTES - 1);
	free(text);
}
END_TEST

static void *trace_many(void *arg)
{
	for (unsigned i = 0; i < 500; i++)
		TRACE(fs, "thread");
	return NULL;
}

START_TEST(threads_trace_into_one_ring)
{
	pthread_t id[4];
	char *text;

	ck_assert_int_eq(trace_enable("fs"), 0);
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		ck_assert_int_eq(pthread_create(&id[i], NULL, trace_many, NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		pthread_join(id[i], NULL);
	text = trace_text();
	ck_assert_uint_eq(nr_lines(text), 2000);
	free(text);
}
END_TEST

void add_tell_tests(Suite *suite)
{
	TCase *telling = tcase_create("telling");

	tcase_add_test(telling, a_sink_gets_the_line_and_its_level);
	tcase_add_test(telling, messages_above_the_level_are_dropped);
	tcase_add_test(telling, a_limit_drops_lines_and_tells_how_many);
	tcase_add_test(telling, without_a_sink_lines_go_to_standard_error_whole);
	tcase_add_test(telling, a_layer_traces_only_when_it_is_on);
	tcase_add_test(telling, all_layers_can_be_switched_on_by_one_word);
	tcase_add_test(telling, an_unknown_layer_changes_nothing);
	tcase_add_test(telling, the_ring_keeps_the_newest_events_in_order);
	tcase_add_test(telling, a_long_event_is_cut);
	tcase_add_test(telling, threads_trace_into_one_ring);
	suite_add_tcase(suite, telling);
}
