/*
 * cmd_replay.c: osfs-lab replay: images as a crash at some place of recorded logs can have left them;
 * one place, or all of them, with a command that judges each.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/rng.h"
#include "lab.h"
#include "lab_cut.h"

static const char usage_text[] =
	"Usage: osfs-lab replay [OPTION]... LOG... \n"
	"Makes of base images and logs what a crash can have left. The n-th LOG is that of the n-th --base.\n"
	"  --base=IMAGE   as it was when the log began (once for each log)\n"
	"  --out=DIR      the images go there, as disk0, disk1 ...\n"
	"  --at=N         so many records were complete (default: all; see osfs-lab log)\n"
	"  --mark=TEXT    as --at, at the first mark that begins with TEXT\n"
	"  --cut=MODE     all (default), certain, underway, some or torn: what of the rest is there\n"
	"  --seed=N       for some and torn (default: 1)\n"
	"  --every=N      at every N-th record, from --at (default: 0) on; --judge says what to do\n"
	"  --judge=CMD    a shell command to run for each state; the images are $DISK0, $DISK1 ...;\n"
	"                 a status other than 0 is counted, and the state told\n";

enum { OPT_BASE = 256, OPT_OUT, OPT_AT, OPT_MARK, OPT_CUT, OPT_SEED, OPT_EVERY, OPT_JUDGE, MAX_DISKS = 32 };

static const struct option long_options[] = {
	{ "base", required_argument, NULL, OPT_BASE },
	{ "out", required_argument, NULL, OPT_OUT },
	{ "at", required_argument, NULL, OPT_AT },
	{ "mark", required_argument, NULL, OPT_MARK },
	{ "cut", required_argument, NULL, OPT_CUT },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "every", required_argument, NULL, OPT_EVERY },
	{ "judge", required_argument, NULL, OPT_JUDGE },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct replay {
	const char *bases[MAX_DISKS], *out, *mark, *judge;
	unsigned nr_bases;
	bool at_set;
	uint64_t at, seed, every;
	enum lab_cut_mode mode;
	struct blk_tape *tape;
	struct lab_tape lt;
	struct lab_image *base[MAX_DISKS];
	uint64_t nr_states, nr_failed;
};

static int parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*text >= '0' && *text <= '9' && !*end && !errno)
		return 0;
	log_error("replay: '%s' is not a number", text);
	return -EINVAL;
}

static int parse_option(struct replay *r, int opt)
{
	switch (opt) {
	case OPT_BASE:
		if (r->nr_bases == MAX_DISKS)
			return -EINVAL;
		r->bases[r->nr_bases++] = optarg;
		return 0;
	case OPT_OUT: r->out = optarg; return 0;
	case OPT_AT: r->at_set = true; return parse_number(optarg, &r->at);
	case OPT_MARK: r->mark = optarg; return 0;
	case OPT_SEED: return parse_number(optarg, &r->seed);
	case OPT_EVERY: return parse_number(optarg, &r->every);
	case OPT_JUDGE: r->judge = optarg; return 0;
	case OPT_CUT:
		if (!lab_cut_mode_parse(optarg, &r->mode))
			return 0;
		log_error("--cut: all, certain, underway, some or torn, not '%s'", optarg);
		return -EINVAL;
	default:
		return -EINVAL;
	}
}

/* 0; 1: helped; -EINVAL, said. */
static int parse(int argc, char **argv, struct replay *r)
{
	int opt, err = 0;

	optind = 0;
	while (!err && (opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage_text, stdout);
			return 1;
		}
		err = parse_option(r, opt);
	}
	if (err)
		return err;
	if (!r->out || optind == argc || (unsigned)(argc - optind) != r->nr_bases) {
		log_error("replay: wanted --out=DIR, logs, and a --base=IMAGE for each (--help says more)");
		return -EINVAL;
	}
	if (r->every && !r->judge) {
		log_error("replay: --every takes a --judge");
		return -EINVAL;
	}
	return 0;
}

static int load_base(struct replay *r, unsigned i)
{
	struct stat st;
	int err;

	if (stat(r->bases[i], &st)) {
		log_error("%s: %s", r->bases[i], strerror(errno));
		return -errno;
	}
	err = lab_image_new((uint64_t)st.st_size >> SECT_SHIFT, false, &r->base[i]);
	return err ? err : lab_image_load(r->base[i], r->bases[i]);
}

/* A log of a larger device than the base would write behind its end. */
static int check_ranges(const struct replay *r)
{
	for (size_t i = 0; i < r->lt.nr; i++) {
		const struct blk_rec *rec = blk_tape_get(r->tape, i);
		const uint64_t end = blk_rec_is_write(rec) ? lab_image_nr_sects(r->base[rec->dev]) : 0;

		if (blk_rec_is_write(rec) && (rec->sect > end || rec->nr_sects > end - rec->sect)) {
			log_error("replay: record %zu lies behind the end of %s", i, r->bases[rec->dev]);
			return -EINVAL;
		}
	}
	return 0;
}

static int find_place(struct replay *r)
{
	const size_t len = r->mark ? strlen(r->mark) : 0;

	if (!r->mark) {
		if (!r->at_set)
			r->at = r->every ? 0 : r->lt.nr;
		if (r->at <= r->lt.nr)
			return 0;
		log_error("replay: there are %zu records only", r->lt.nr);
		return -EINVAL;
	}
	for (size_t i = 0; i < r->lt.nr; i++) {
		const struct blk_rec *rec = blk_tape_get(r->tape, i);

		if (rec->flags & BLK_LOG_MARK && !strncmp((const char *)rec->data, r->mark, len)) {
			r->at = i + 1;
			return 0;
		}
	}
	log_error("replay: no mark begins with '%s'", r->mark);
	return -ENOENT;
}

static int load(struct replay *r, char **logs)
{
	int err = blk_tape_new(&r->tape);

	for (unsigned i = 0; !err && i < r->nr_bases; i++) {
		err = blk_tape_load(r->tape, i, logs[i]);
		if (!err)
			err = load_base(r, i);
	}
	if (!err)
		err = lab_tape_init(&r->lt, r->tape);
	if (!err)
		err = check_ranges(r);
	return err ? err : find_place(r);
}

static int save(const struct replay *r, struct lab_image **images)
{
	int err = 0;

	for (unsigned i = 0; !err && i < r->nr_bases; i++) {
		char path[512], var[16];

		snprintf(path, sizeof(path), "%s/disk%u", r->out, i);
		snprintf(var, sizeof(var), "DISK%u", i);
		setenv(var, path, 1);
		err = lab_image_save(images[i], path);
	}
	return err;
}

static void judge(struct replay *r, const struct lab_cut *cut)
{
	const int status = system(r->judge);

	r->nr_states++;
	if (status == 0)
		return;
	r->nr_failed++;
	printf("state --at=%zu --cut=%s --seed=%" PRIu64 ": the judge's status is %d\n", cut->at,
	       lab_cut_mode_name(cut->mode), cut->seed, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
}

static int one_state(struct replay *r, size_t at, uint64_t seed)
{
	const struct lab_cut cut = { .at = at, .mode = r->mode, .seed = seed };
	struct lab_image *images[MAX_DISKS] = { NULL };
	int err = 0;

	for (unsigned i = 0; !err && i < r->nr_bases; i++)
		err = lab_image_copy(r->base[i], &images[i]);
	if (!err)
		err = lab_cut_apply(&r->lt, &cut, images, r->nr_bases);
	if (!err)
		err = save(r, images);
	if (!err && r->judge)
		judge(r, &cut);
	for (unsigned i = 0; i < r->nr_bases; i++)
		lab_image_free(images[i]);
	return err;
}

static int run(struct replay *r)
{
	int err = 0;

	if (!r->every)
		return one_state(r, (size_t)r->at, r->seed);
	for (uint64_t at = r->at; !err && at <= r->lt.nr; at += r->every)
		err = one_state(r, (size_t)at, r->seed + at);
	return err;
}

int lab_cmd_replay(int argc, char **argv)
{
	struct replay r = { .seed = 1 };
	int err = parse(argc, argv, &r);

	if (err)
		return err > 0 ? 0 : 2;
	err = load(&r, argv + optind);
	if (!err)
		err = run(&r);
	if (!err && r.judge)
		printf("%" PRIu64 " states, %" PRIu64 " failed\n", r.nr_states, r.nr_failed);
	for (unsigned i = 0; i < r.nr_bases; i++)
		lab_image_free(r.base[i]);
	lab_tape_fini(&r.lt);
	blk_tape_free(r.tape);
	return err ? 2 : r.nr_failed ? 1 : 0;
}
