/*
 * replay.c: inputs without libFuzzer: made from seeds, or read from files. Each batch runs in a
 * child; when it dies, the input is named and the rest goes on.
 *
 *	replay HARNESS --seeds=FROM-TO [--save=DIR]	runs them; keeps the inputs that fail
 *	replay HARNESS --seeds=FROM-TO --make=DIR	only makes them: what libFuzzer starts with
 *	replay HARNESS FILE...				--one: in this process, for a debugger
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "fuzz.h"

enum { INPUT_MAX = FUZZ_HEAD_BYTES + FUZZ_OPS_MAX * FUZZ_OP_BYTES, FAILURES_MAX = 20, MEMORY_MAX_KIB = 3 << 20 };

struct shared {
	uint64_t nr;		/* the input being run */
	uint64_t slowest_msec, slowest;
};

struct job {
	const struct fuzz_harness *h;
	struct shared *shared;
	char **files;		/* NULL: seeds */
	uint64_t end;
	const char *save;	/* a directory, or NULL */
};

/* Mostly few operations: each is to be met by code that finds the rest in order. */
static size_t make_input(uint64_t seed, uint8_t *buf)
{
	struct rng rng = { seed };
	const uint64_t many = rng_below(&rng, 8);
	const size_t nr_ops = many ? 1 + rng_below(&rng, 3) : 1 + rng_below(&rng, FUZZ_OPS_MAX), len = FUZZ_HEAD_BYTES + nr_ops * FUZZ_OP_BYTES;

	rng_fill(&rng, buf, len);
	return len;
}

static size_t read_input(const char *path, uint8_t *buf)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd < 0 ? -1 : read(fd, buf, INPUT_MAX);

	if (n < 0)
		fuzz_fail("%s: %s", path, strerror(errno));
	close(fd);
	return (size_t)n;
}

static void save_input(const struct job *j, uint64_t nr)
{
	uint8_t buf[INPUT_MAX];
	const size_t len = make_input(nr, buf);
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s-%" PRIu64, j->save, j->h->name, nr);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, buf, len) != (ssize_t)len)
		fuzz_fail("%s: %s", path, strerror(errno));
	close(fd);
}

static uint64_t now_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void run_from(struct job *j, uint64_t from)
{
	uint8_t buf[INPUT_MAX];
	struct rusage use;

	for (uint64_t nr = from; nr < j->end; nr++) {
		const size_t len = j->files ? read_input(j->files[nr], buf) : make_input(nr, buf);
		uint8_t *exact = malloc(len);	/* so that a read behind the end is seen */
		const uint64_t start = now_msec();

		if (!exact)
			fuzz_fail("no memory");
		memcpy(exact, buf, len);
		j->shared->nr = nr;
		alarm(FUZZ_TIME_SEC);
		fuzz_run(j->h, exact, len);
		alarm(0);
		free(exact);
		if (now_msec() - start > j->shared->slowest_msec) {
			j->shared->slowest_msec = now_msec() - start;
			j->shared->slowest = nr;
		}
		getrusage(RUSAGE_SELF, &use);
		if (use.ru_maxrss > MEMORY_MAX_KIB)
			fuzz_fail("%ld KiB of memory", use.ru_maxrss);
	}
}

static void tell(const struct job *j, uint64_t nr, int status)
{
	const char *what = WIFSIGNALED(status) ? (WTERMSIG(status) == SIGALRM ? "takes too long" : strsignal(WTERMSIG(status))) : "failed";

	if (j->files)
		printf("%s %s: %s\n", j->h->name, j->files[nr], what);
	else
		printf("%s --seeds=%" PRIu64 "-%" PRIu64 ": %s\n", j->h->name, nr, nr, what);
	fflush(stdout);
	if (j->save && !j->files)
		save_input(j, nr);
}

static unsigned run_all(struct job *j, uint64_t from)
{
	unsigned nr_failures = 0;

	while (from < j->end && nr_failures < FAILURES_MAX) {
		const pid_t pid = fork();
		int status;

		if (pid == 0) {
			run_from(j, from);
			exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			fuzz_fail("fork: %s", strerror(errno));
		if (status == 0)
			break;
		nr_failures++;
		tell(j, j->shared->nr, status);
		from = j->shared->nr + 1;
	}
	return nr_failures;
}

int main(int argc, char **argv)
{
	struct job j = { 0 };
	uint64_t from = 0;
	bool one = false, make = false;
	int at = 2;
	unsigned nr_failures = 0;

	j.h = argc > 2 ? fuzz_harness_find(argv[1]) : NULL;
	j.shared = mmap(NULL, sizeof(*j.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!j.h || j.shared == MAP_FAILED) {
		fprintf(stderr, "usage: replay HARNESS --seeds=FROM-TO [--save=DIR | --make=DIR] [--one] | FILE...\n");
		return 2;
	}
	for (; at < argc && argv[at][0] == '-'; at++) {
		if (sscanf(argv[at], "--seeds=%" SCNu64 "-%" SCNu64, &from, &j.end) == 2)
			j.end++;
		else if (!strncmp(argv[at], "--save=", 7))
			j.save = argv[at] + 7;
		else if (!strncmp(argv[at], "--make=", 7))
			make = (j.save = argv[at] + 7);
		else if (!strcmp(argv[at], "--one"))
			one = true;
	}
	if (at < argc) {
		j.files = argv + at;
		j.end = (uint64_t)(argc - at);
	}
	if (make) {
		for (uint64_t nr = from; nr < j.end; nr++)
			save_input(&j, nr);
		return 0;
	}
	if (one)
		run_from(&j, from);
	else
		nr_failures = run_all(&j, from);
	printf("%s: %" PRIu64 " inputs, %u failures, the slowest took %" PRIu64 " ms (%" PRIu64 ")\n", j.h->name, j.end - from, nr_failures,
	       j.shared->slowest_msec, j.shared->slowest);
	return nr_failures ? 1 : 0;
}
