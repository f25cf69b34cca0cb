/* test_event.c: programs that are told of events: in order, with mdadm's arguments, without anybody waiting for them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/event.h"

static char dir[64], prog[80], out_path[80];
static unsigned nr_warnings;

static void count_warning(void *arg, enum log_level level, const char *line)
{
	nr_warnings += level <= LOG_LEVEL_WARN;
}

static void write_prog(const char *body)
{
	FILE *f = fopen(prog, "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/sh\n%s\n", body);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(prog, 0700), 0);
}

static void setup(void)
{
	char body[200];

	strcpy(dir, "/tmp/test_event.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(prog, sizeof(prog), "%s/prog", dir);
	snprintf(out_path, sizeof(out_path), "%s/out", dir);
	snprintf(body, sizeof(body), "echo \"$#:$*\" >>%s", out_path);
	write_prog(body);
	nr_warnings = 0;
	log_set_sink(count_warning, NULL);
}

static void teardown(void)
{
	log_set_sink(NULL, NULL);
	unlink(prog);
	unlink(out_path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct events *start(const char *name)
{
	struct events *e;

	ck_assert_int_eq(events_start(name, "/mnt/point", &e), 0);
	return e;
}

static void check_line(FILE *f, const char *expect)
{
	char line[200];

	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	line[strcspn(line, "\n")] = '\0';
	ck_assert_str_eq(line, expect);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

START_TEST(events_are_told_in_order_as_mdadm_does)
{
	struct events *e = start(prog);
	char name[32], expect[64];
	FILE *f;

	events_post(e, "Fail", "/some where/disk1");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "Rebuild%u", i);
		events_post(e, name, NULL);
	}
	events_stop(e);
	f = fopen(out_path, "r");
	ck_assert_ptr_nonnull(f);
	check_line(f, "3:Fail /mnt/point /some where/disk1");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(expect, sizeof(expect), "2:Rebuild%u /mnt/point", i);
		check_line(f, expect);
	}
	ck_assert_int_eq(fgetc(f), EOF);
	fclose(f);
	ck_assert_uint_eq(nr_warnings, 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);	/* no zombie is left */
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(nobody_waits_for_a_program_that_hangs)
{
	const double begin = now();
	struct events *e;

	write_prog("exec sleep 100");
	e = start(prog);
	for (unsigned i = 0; i < 1000; i++)
		events_post(e, "Fail", "disk");
	ck_assert(now() - begin < 1);
	ck_assert_uint_gt(nr_warnings, 700);	/* what there is no room for is said */
	events_stop(e);
	ck_assert(now() - begin < 20);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(a_program_that_fails_is_told_of_and_changes_nothing)
{
	struct events *e = start("/nonexistent/program");

	events_post(e, "Fail", "disk");
	events_stop(e);
	ck_assert_uint_eq(nr_warnings, 1);
	write_prog("exit 3");
	e = start(prog);
	events_post(e, "Fail", "disk");
	events_post(e, "SpareActive", "disk");
	events_stop(e);
	ck_assert_uint_eq(nr_warnings, 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("event");
	TCase *tc = tcase_create("event");
	SRunner *r = srunner_create(s);
	int nr_failed;

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, events_are_told_in_order_as_mdadm_does);
	tcase_add_test(tc, nobody_waits_for_a_program_that_hangs);
	tcase_add_test(tc, a_program_that_fails_is_told_of_and_changes_nothing);
	srunner_run_all(r, CK_ENV);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
