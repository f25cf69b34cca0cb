/* cmd_crash.c: osfs-lab crash. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rng.h"
#include "lab.h"
#include "lab_crash.h"

static const char usage_text[] =
	"Usage: osfs-lab crash [OPTION]...\n"
	"Runs workloads on filesystems in memory, makes the states that a crash can leave at every\n"
	"write, recovers and judges them.\n"
	"  --level=LEVEL     single (default), 0, 1, 4, 5, 6 or 10\n"
	"  --data=MODE       ordered (default), journal, writeback, or none: without a journal\n"
	"  --block=BYTES     of the filesystem: 1024 (default), 2048 or 4096\n"
	"  --features=LIST   for mkfs.osfs -O\n"
	"  --bitmap          arrays: with a write-intent bitmap\n"
	"  --failing-member  one member takes no more writes from some time on\n"
	"  --workloads=SET   singles, scripts, pairs, or numbers: 12 or 3-40 (default: singles,scripts)\n"
	"  --sample=N        so many of the set, by seed (default: all)\n"
	"  --percent=P       so much of the states of each workload, by seed (default: 100)\n"
	"  --state=N         this state alone, told in full; -v also shows all that was written\n"
	"  --e2fsck=N        one in N states is shown to e2fsck as well (default: 50; 0: none)\n"
	"  --fsck=N          one in N to fsck.osfs (default: 10; 0: none)\n"
	"  --seed=N          (default: 1)\n"
	"  --keep=DIR        images of failed states go there\n"
	"  --reports=N       tell so many failures in full (default: 10)\n"
	"  -v                what the layers say, too\n"
	"Exit status: 0 all is well, 1 failures, 2 trouble.\n";

enum { OPT_LEVEL = 256, OPT_DATA, OPT_FAILING, OPT_BITMAP, OPT_BLOCK, OPT_FEATURES, OPT_WORKLOADS, OPT_SAMPLE, OPT_PERCENT,
       OPT_STATE, OPT_E2FSCK, OPT_FSCK, OPT_SEED, OPT_KEEP, OPT_REPORTS };

static const struct option long_options[] = {
	{ "level", required_argument, NULL, OPT_LEVEL },
	{ "data", required_argument, NULL, OPT_DATA },
	{ "failing-member", no_argument, NULL, OPT_FAILING },
	{ "block", required_argument, NULL, OPT_BLOCK },
	{ "features", required_argument, NULL, OPT_FEATURES },
	{ "bitmap", no_argument, NULL, OPT_BITMAP },
	{ "workloads", required_argument, NULL, OPT_WORKLOADS },
	{ "sample", required_argument, NULL, OPT_SAMPLE },
	{ "percent", required_argument, NULL, OPT_PERCENT },
	{ "state", required_argument, NULL, OPT_STATE },
	{ "e2fsck", required_argument, NULL, OPT_E2FSCK },
	{ "fsck", required_argument, NULL, OPT_FSCK },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "keep", required_argument, NULL, OPT_KEEP },
	{ "reports", required_argument, NULL, OPT_REPORTS },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct wishes {
	const char *level, *data, *workloads, *features;
	bool failing, bitmap, one_state;
	uint64_t sample, state;
	uint64_t block, percent, e2fsck, fsck, seed, reports;
	const char *keep;
	bool verbose;
};

static int parse_number(const char *option, const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*text >= '0' && *text <= '9' && !*end && !errno)
		return 0;
	log_error("--%s: '%s' is not a number", option, text);
	return -EINVAL;
}

/* 0; 1: helped; -EINVAL, said. */
static int parse(int argc, char **argv, struct wishes *w)
{
	int opt, index, err = 0;

	*w = (struct wishes){ .level = "single", .data = "ordered", .workloads = "singles,scripts", .block = 1024,
			      .percent = 100,
			      .e2fsck = 50, .fsck = 10, .seed = 1, .reports = 10 };
	optind = 0;
	while (!err && (opt = getopt_long(argc, argv, "hv", long_options, &index)) != -1) {
		switch (opt) {
		case OPT_LEVEL: w->level = optarg; break;
		case OPT_DATA: w->data = optarg; break;
		case OPT_FAILING: w->failing = true; break;
		case OPT_BLOCK: err = parse_number("block", optarg, &w->block); break;
		case OPT_FEATURES: w->features = optarg; break;
		case OPT_BITMAP: w->bitmap = true; break;
		case OPT_WORKLOADS: w->workloads = optarg; break;
		case OPT_SAMPLE: err = parse_number("sample", optarg, &w->sample); break;
		case OPT_PERCENT: err = parse_number("percent", optarg, &w->percent); break;
		case OPT_STATE: err = parse_number("state", optarg, &w->state); w->one_state = true; break;
		case OPT_E2FSCK: err = parse_number("e2fsck", optarg, &w->e2fsck); break;
		case OPT_FSCK: err = parse_number("fsck", optarg, &w->fsck); break;
		case OPT_SEED: err = parse_number("seed", optarg, &w->seed); break;
		case OPT_KEEP: w->keep = optarg; break;
		case OPT_REPORTS: err = parse_number("reports", optarg, &w->reports); break;
		case 'v': w->verbose = true; break;
		case 'h': fputs(usage_text, stdout); return 1;
		default: err = -EINVAL;
		}
	}
	if (!err && optind < argc) {
		log_error("crash: what is '%s'?", argv[optind]);
		err = -EINVAL;
	}
	return err;
}

static int config_of(const struct wishes *w, struct lab_config *cfg)
{
	static const char *const modes[] = { "ordered", "journal", "writeback" };
	int err = lab_config_init(cfg, w->level);

	if (err)
		return err;
	cfg->seed = w->seed;
	cfg->failing_member = w->failing;
	cfg->bitmap = w->bitmap;
	cfg->features = w->features;
	err = lab_config_set_block(cfg, w->block);
	if (err)
		return err;
	if ((w->failing || w->bitmap) && (cfg->level == LAB_SINGLE || cfg->level == RAID_0)) {
		log_error("--failing-member and --bitmap take an array with redundancy");
		return -EINVAL;
	}
	if (!strcmp(w->data, "none")) {
		cfg->journal = false;
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		if (!strcmp(w->data, modes[i])) {
			cfg->data_mode = (enum jnl_data_mode)i;
			return 0;
		}
	}
	log_error("--data: ordered, journal, writeback or none, not '%s'", w->data);
	return -EINVAL;
}

/* The options that make a number mean the same state. */
static char *rerun_text(const struct wishes *w)
{
	char *text;

	if (asprintf(&text, " --level=%s --data=%s --block=%" PRIu64 "%s%s%s%s --seed=%" PRIu64, w->level, w->data,
		     w->block, w->features ? " --features=" : "", w->features ? w->features : "",
		     w->bitmap ? " --bitmap" : "", w->failing ? " --failing-member" : "", w->seed) < 0)
		return NULL;
	return text;
}

/* Sets of workloads ------------------------------------------------------------------------------------ */

struct range {
	uint64_t first, nr;
};

static int range_of(const char *word, struct range *out)
{
	char *end;

	if (!strcmp(word, "singles")) {
		*out = (struct range){ 0, lab_nr_singles() };
	} else if (!strcmp(word, "scripts")) {
		*out = (struct range){ LAB_SCRIPTS, lab_nr_scripts() };
	} else if (!strcmp(word, "pairs")) {
		*out = (struct range){ LAB_PAIRS, (uint64_t)lab_nr_singles() * 1000 };
	} else {
		out->first = strtoull(word, &end, 10);
		out->nr = 1;
		if (*end == '-')
			out->nr = strtoull(end + 1, &end, 10) - out->first + 1;
		if (*word < '0' || *word > '9' || *end || out->nr > UINT32_MAX) {
			log_error("--workloads: what is '%s'?", word);
			return -EINVAL;
		}
	}
	return 0;
}

static int run_range(struct lab_crash *c, const struct range *r, uint64_t sample)
{
	struct rng rng = { .state = c->cfg.seed + r->first };
	int err = 0;

	if (!sample) {
		for (uint64_t i = 0; !err && i < r->nr; i++)
			err = lab_crash_workload(c, r->first + i);
		return err;
	}
	for (uint64_t want = c->nr_workloads + sample; !err && c->nr_workloads < want; )
		err = lab_crash_workload(c, r->first + rng_below(&rng, r->nr));
	return err;
}

static int run_sets(struct lab_crash *c, const struct wishes *w)
{
	char *copy = strdup(w->workloads), *rest = copy, *word;
	int err = copy ? 0 : -ENOMEM;

	while (!err && (word = strsep(&rest, ","))) {
		struct range r;

		err = range_of(word, &r);
		if (!err)
			err = run_range(c, &r, w->sample);
	}
	free(copy);
	return err;
}

static void say_nothing(void *arg, enum log_level level, const char *line)
{
}

int lab_cmd_crash(int argc, char **argv)
{
	struct lab_crash c = { .out = stdout };
	struct wishes w;
	char *rerun = NULL;
	size_t leaked;
	int err = parse(argc, argv, &w);

	if (err)
		return err > 0 ? 0 : 2;
	c.percent = (unsigned)MIN(w.percent, (uint64_t)100);
	c.e2fsck_every = (unsigned)w.e2fsck;
	c.fsck_every = (unsigned)w.fsck;
	c.max_reports = (unsigned)w.reports;
	c.verbose = w.verbose;
	c.keep_dir = w.keep;
	err = config_of(&w, &c.cfg);
	if (err)
		return 2;
	c.rerun = rerun = rerun_text(&w);
	if (!w.verbose)
		log_set_level(LOG_LEVEL_ERROR);
	/* Each state takes and frees a few MiB: the kernel need not see that. */
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	err = lab_crash_init(&c);
	if (!err && !w.verbose && !w.one_state)
		log_set_sink(say_nothing, NULL);	/* what the layers say of damaged states is said by the judge */
	if (!err)
		err = w.one_state ? lab_crash_state(&c, w.state) : run_sets(&c, &w);
	log_set_sink(NULL, NULL);
	if (err)
		log_error("crash: %s", strerror(-err));
	else
		lab_crash_summary(&c, stdout);
	leaked = lab_crash_fini(&c);
	if (leaked)
		log_error("crash: %zu objects leaked", leaked);
	free(rerun);
	return err || leaked ? 2 : c.nr_failures ? 1 : 0;
}
