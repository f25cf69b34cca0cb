/* fsck_main.c: the command line, the members, and the questions of fsck.osfs. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "alloc/alloc.h"
#include "base/log.h"
#include "fsck.h"
#include "raid/raid.h"

struct options {
	struct fsck_opts check;
	bool mode_set;
	char **members;
	unsigned nr_members;
};

struct volume {
	struct blk_dev **devs;	/* the array's, when there is one */
	unsigned nr;
	struct raid *raid;
	struct blk_dev *dev;
	struct alloc *alloc;
};

static volatile int stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int usage(FILE *out)
{
	fprintf(out, "Usage: fsck.osfs [-panyfvck] [-b SUPERBLOCK] [-B BLOCKSIZE] [-C FD] [-z UNDO-FILE] [--json] MEMBER...\n"
		"  -p, -a  repair what is safe, ask nothing     -n  change nothing, answer no\n"
		"  -y      answer yes                           -f  check also what is marked clean\n"
		"  -v      say more                             -C  progress: 0 a bar, else lines to FD\n"
		"  -b, -B  use the superblock in this block, of blocks of this size\n"
		"  -c      read all blocks; what cannot be read goes into the list of bad blocks\n"
		"  -k      with -c: what is in that list stays in it\n"
		"  -z      keep what is overwritten in a file for e2undo(8)\n"
		"  --json  one JSON object (with -n, -p or -y)\n");
	return FSCK_USAGE;
}

static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-') {
		log_error("'%s' is no number", text);
		return false;
	}
	return true;
}

static bool set_mode(struct options *o, enum fsck_mode mode)
{
	if (o->mode_set && o->check.mode != mode) {
		log_error("only one of -p (-a), -n and -y may be given");
		return false;
	}
	o->mode_set = true;
	o->check.mode = mode;
	return true;
}

static bool parse_block_size(struct options *o, const char *text)
{
	uint64_t n;

	if (!parse_number(text, &n))
		return false;
	if (!is_pow2(n) || n < 1024 || n > 65536) {
		log_error("-B %s: block sizes are powers of two from 1024 to 65536", text);
		return false;
	}
	o->check.block_bytes = (uint32_t)n;
	return true;
}

static bool parse_progress(struct options *o, const char *text)
{
	uint64_t n;

	if (!parse_number(text, &n) || n > INT32_MAX)
		return false;
	o->check.progress_fd = n == 0 && !isatty(STDOUT_FILENO) ? FSCK_PROGRESS_OFF : (int)n;
	return true;
}

static bool not_supported(int c)
{
	static const struct {
		int c;
		const char *what;
	} letters[] = {
		{ 'D', "-D (optimising directories)" }, { 'E', "-E (extended options)" },
		{ 'l', "-l (adding bad blocks)" }, { 'L', "-L (setting bad blocks)" }, { 'j', "-j (external journals)" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].c == c)
			log_error("%s is not supported", letters[i].what);
	return false;
}

static bool parse_letter(struct options *o, int c)
{
	switch (c) {
	case 'a': case 'p': return set_mode(o, FSCK_PREEN);
	case 'n': return set_mode(o, FSCK_NO);
	case 'y': return set_mode(o, FSCK_YES);
	case 'f': o->check.force = true; return true;
	case 'v': o->check.verbose = true; return true;
	case 'b': return parse_number(optarg, &o->check.super_block);
	case 'B': return parse_block_size(o, optarg);
	case 'C': return parse_progress(o, optarg);
	case 'c': o->check.find_bad = true; return true;
	case 'k': o->check.keep_bad = true; return true;
	case 'z': o->check.undo_path = optarg; return true;
	case 'J': o->check.json = true; return true;
	case '?': return false;
	default: return not_supported(c);
	}
}

/* 0, or an exit status. */
static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'J' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { 0 },
	};
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "panyfvb:B:C:z:cDE:kl:L:j:V", longs, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			exit(0);
		}
		if (c == 'V') {
			printf("fsck.osfs (osfs)\n");
			exit(0);
		}
		if (!parse_letter(o, c))
			return usage(stderr);
	}
	o->members = argv + optind;
	o->nr_members = (unsigned)(argc - optind);
	if (!o->nr_members)
		return usage(stderr);
	if (o->check.find_bad && o->check.mode == FSCK_NO && o->mode_set) {
		log_error("-n and -c are incompatible: the list of bad blocks is written");
		return FSCK_USAGE;
	}
	if (!o->mode_set) {
		o->check.mode = FSCK_ASK;
		if (o->check.json) {
			log_error("--json asks no questions: give -n, -p or -y");
			return FSCK_USAGE;
		}
		if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
			log_error("there is no terminal for questions: give -n, -p or -y");
			return FSCK_FAILED;
		}
	}
	return 0;
}

/* Members ------------------------------------------------------------------------------------ */

static int volume_open(struct volume *v, const struct options *o)
{
	const bool read_only = o->check.mode == FSCK_NO;
	const struct blk_open_opts bo = { .read_only = read_only };
	struct raid_info info;
	int err = alloc_new(&(struct alloc_opts){ 0 }, &v->alloc);

	v->devs = calloc(o->nr_members, sizeof(*v->devs));
	if (!v->devs)
		return -ENOMEM;
	for (; !err && v->nr < o->nr_members; v->nr += !err)
		err = blk_open(o->members[v->nr], &bo, &v->devs[v->nr]);
	if (!err && v->nr == 1) {
		err = raid_examine(v->devs[0], &info);
		if (err == -ENOENT) {
			v->dev = v->devs[0];
			return 0;
		}
	}
	if (!err)
		err = raid_assemble(v->devs, v->nr, &(struct raid_open_opts){ .alloc = v->alloc, .read_only = read_only },
				    &v->raid);
	if (!err)
		v->dev = raid_dev(v->raid);
	return err;
}

static int volume_close(struct volume *v)
{
	int err = 0;

	if (v->raid)
		err = raid_free(v->raid);
	for (unsigned i = 0; !v->raid && i < v->nr; i++)
		blk_close(v->devs[i]);
	free(v->devs);
	if (v->alloc)
		alloc_free(v->alloc);
	return err;
}

/* Questions ------------------------------------------------------------------------------------- */

static int ask(void *arg, const char *question)
{
	char line[64];

	(void)arg;
	for (;;) {
		printf("%s ('a' enables 'yes' to all) <y>? ", question);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return -ECANCELED;
		switch (line[0]) {
		case 'y': case 'Y': case '\n': return 1;
		case 'n': case 'N': return 0;
		case 'a': case 'A': return 2;
		default: break;
		}
	}
}

int fsck_main(int argc, char **argv)
{
	struct options o = { .check = { .progress_fd = FSCK_PROGRESS_OFF, .stop = &stop, .ask = ask } };
	const struct sigaction sa = { .sa_handler = on_signal };
	struct volume v = { 0 };
	int status = parse(&o, argc, argv);

	if (status)
		return status;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!o.check.json && o.check.progress_fd == FSCK_PROGRESS_OFF && o.check.mode != FSCK_PREEN && isatty(STDOUT_FILENO))
		o.check.progress_fd = FSCK_PROGRESS_BAR;
	if (volume_open(&v, &o)) {
		volume_close(&v);
		return FSCK_FAILED;
	}
	status = fsck_check(v.dev, &o.check);
	if (volume_close(&v))
		status |= FSCK_FAILED;
	return status;
}
