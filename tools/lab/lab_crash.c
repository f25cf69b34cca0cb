/* lab_crash.c: see lab_crash.h. */
#include "lab_crash.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "fsck/fsck.h"
#include "lab_check.h"

enum { MAX_CRASHES = 3 };

/* What a state's variant is. */
static const struct variant {
	enum lab_cut_mode mode;
	unsigned nr_again;		/* crashes during recovery */
	bool lose;			/* members */
} variants[] = {
	{ LAB_CUT_CERTAIN, 0, false }, { LAB_CUT_ALL, 0, false }, { LAB_CUT_UNDER_WAY, 0, false },
	{ LAB_CUT_SOME, 0, false }, { LAB_CUT_SOME, 0, false }, { LAB_CUT_TORN, 0, false }, { LAB_CUT_TORN, 0, false },
	{ LAB_CUT_SOME, 1, false }, { LAB_CUT_TORN, 2, false },
	/* arrays */
	{ LAB_CUT_ALL, 0, true }, { LAB_CUT_SOME, 0, true }, { LAB_CUT_TORN, 1, true },
};
enum { NR_SINGLE_VARIANTS = 9 };

static bool has_redundancy(const struct lab_config *cfg)
{
	return cfg->level != LAB_SINGLE && cfg->level != RAID_0;
}

static bool has_parity(const struct lab_config *cfg)
{
	return cfg->level == RAID_4 || cfg->level == RAID_5 || cfg->level == RAID_6;
}

unsigned lab_nr_variants(const struct lab_config *cfg)
{
	return has_redundancy(cfg) && !cfg->failing_member ? ARRAY_LEN(variants) : NR_SINGLE_VARIANTS;
}

struct state {
	uint64_t nr;
	size_t at;
	const struct variant *v;
	struct rng rng;			/* everything that is left to chance in it */
	uint32_t missing;
};

/* Members -------------------------------------------------------------------------------------------- */

/* A set of members that the level can do without. */
static uint32_t choose_lost(const struct lab_config *cfg, struct rng *rng)
{
	const uint32_t first = 1u << rng_below(rng, cfg->nr_members);
	uint32_t second;

	if (cfg->level != RAID_6 || rng_next(rng) & 1)
		return first;
	do
		second = 1u << rng_below(rng, cfg->nr_members);
	while (second == first);
	return first | second;
}

static void images_free(const struct lab_config *cfg, struct lab_image **images)
{
	for (unsigned i = 0; i < cfg->nr_members; i++) {
		lab_image_free(images[i]);
		images[i] = NULL;
	}
}

static int images_copy(const struct lab_config *cfg, struct lab_image *const *from, struct lab_image **to)
{
	int err = 0;

	for (unsigned i = 0; !err && i < cfg->nr_members; i++)
		err = lab_image_copy(from[i], &to[i]);
	return err;
}

/* Judges ------------------------------------------------------------------------------------------------ */

static int save_volume(struct blk_dev *volume, const char *path)
{
	struct lab_image *copy;
	uint8_t buf[PAGE_BYTES];
	int err = lab_image_new(blk_nr_sects(volume), false, &copy);

	for (sect_t sect = 0; !err && sect < blk_nr_sects(volume); sect += PAGE_BYTES >> SECT_SHIFT) {
		const uint64_t n = MIN((uint64_t)PAGE_BYTES >> SECT_SHIFT, blk_nr_sects(volume) - sect);

		err = blk_read(volume, sect, buf, (size_t)(n << SECT_SHIFT));
		if (!err)
			err = lab_image_write(copy, sect, buf, n);
	}
	if (!err)
		err = lab_image_save(copy, path);
	lab_image_free(copy);
	return err;
}

/* Exit status of e2fsck -fn; what it says goes to out when it is not 0. */
static int run_e2fsck(const char *path, FILE *out)
{
	char cmd[320], line[256];
	char *said = NULL;
	size_t len = 0;
	FILE *p, *keep;
	int status;

	snprintf(cmd, sizeof(cmd), "PATH=\"$PATH:/usr/sbin:/sbin\" LC_ALL=C e2fsck -fn '%s' 2>&1 </dev/null", path);
	p = popen(cmd, "r");
	keep = open_memstream(&said, &len);
	if (!p || !keep)
		return -errno;
	while (fgets(line, sizeof(line), p))
		fputs(line, keep);
	status = pclose(p);
	fclose(keep);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	if (status)
		fprintf(out, "e2fsck -fn: exit status %d\n%s", status, said);
	free(said);
	return status;
}

static enum lab_fault ask_e2fsck(struct lab_crash *c, struct blk_dev *volume, FILE *out)
{
	const char *dir = getenv("TMPDIR");
	char path[200];
	int fd, status;

	snprintf(path, sizeof(path), "%s/osfs-lab-XXXXXX", dir ? dir : access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	fd = mkstemp(path);
	if (fd < 0)
		return LAB_OK;
	close(fd);
	status = save_volume(volume, path) ? 127 : run_e2fsck(path, out);
	unlink(path);
	if (status == 127) {
		log_warn("e2fsck cannot be run; it is not asked any more");
		c->e2fsck_every = 0;
		return LAB_OK;
	}
	c->nr_e2fsck++;
	return status ? LAB_INCONSISTENT : LAB_OK;
}

static enum lab_fault ask_fsck(struct lab_crash *c, struct blk_dev *volume, FILE *out)
{
	struct fsck_opts o = { .mode = FSCK_NO, .force = true, .progress_fd = FSCK_PROGRESS_OFF, .nr_threads = 1 };
	char *said = NULL;
	size_t len = 0;
	int status;

	o.out = open_memstream(&said, &len);
	if (!o.out)
		return LAB_OK;
	status = fsck_check(volume, &o);
	fclose(o.out);
	if (status != FSCK_OK)
		fprintf(out, "fsck.osfs -fn: exit status %d\n%s", status, said);
	free(said);
	c->nr_fsck++;
	return status == FSCK_OK ? LAB_OK : LAB_INCONSISTENT;
}

/* Something new can be made and is there after a sync. */
static int try_writing(struct fs *fs)
{
	static const struct fs_cred root = { 0, 0 };
	struct fs_attr at;
	size_t written;
	int err;

	err = fs_mknod(fs, &root, 2, fs_name_of("after-the-crash"), S_IFREG | 0600, 0, &at);
	if (err)
		return err;
	err = fs_write(fs, at.ino, 0, "alive\n", 6, 0, &written);
	fs_forget(fs, at.ino, 1);
	return err ? err : fs_sync(fs);
}

static enum lab_fault judge_mounted(const struct lab_run *r, struct state *st, struct lab_stack *s, FILE *out)
{
	struct lab_tree found;
	enum lab_fault f = LAB_OK;
	char *where;
	int err;

	err = lab_tree_take(s->fs, &found, &where);
	if (err) {
		fprintf(out, "%s: cannot be read: %s\n", where ? where : "/", strerror(-err));
		f = LAB_NOT_READ;
	} else {
		f = lab_judge_tree(r, st->at, &found, out);
	}
	free(where);
	lab_tree_fini(&found);
	if (f == LAB_OK && rng_below(&st->rng, 4) == 0) {
		err = fs_is_read_only(s->fs) ? -EROFS : try_writing(s->fs);
		if (err) {
			fprintf(out, "a new file cannot be made: %s\n", strerror(-err));
			f = LAB_NOT_WRITABLE;
		}
	}
	return f;
}

/* After the resync that an unclean stop asks for, copies and parity are right everywhere. */
static enum lab_fault check_redundancy(struct lab_stack *s, FILE *out)
{
	struct raid_status *st = malloc(sizeof(*st));
	enum lab_fault f = LAB_OK;
	int err;

	if (!st)
		return LAB_OK;
	raid_status_get(s->raid, st);
	if (!st->degraded) {
		err = raid_action_set(s->raid, RAID_CHECK, 0);
		while (!err && (err = raid_step(s->raid, 0)) == 1)
			err = 0;
		raid_status_get(s->raid, st);
		if (err || st->mismatch_sects) {
			fprintf(out, "array: %" PRIu64 " sectors do not agree (%s)\n", st->mismatch_sects, strerror(-err));
			f = LAB_PARITY;
		}
	}
	free(st);
	return f;
}

/* What is on images, recovered. */
static enum lab_fault judge_images(struct lab_crash *c, const struct lab_run *r, struct state *st,
				   struct lab_image *const *images, FILE *out)
{
	const struct lab_stack_opts o = { .missing = st->missing };
	const char *what;
	struct lab_stack s;
	enum lab_fault f;
	int err;

	err = lab_stack_open(&c->cfg, c->alloc, images, &o, &s, &what);
	if (err) {
		fprintf(out, "%s: %s\n", what, strerror(-err));
		return strcmp(what, "mount") ? LAB_NOT_ASSEMBLED : LAB_NOT_MOUNTED;
	}
	f = judge_mounted(r, st, &s, out);
	err = lab_stack_unmount(&s);
	if (f == LAB_OK && err) {
		fprintf(out, "unmount: %s\n", strerror(-err));
		f = LAB_NOT_WRITABLE;
	}
	if (f == LAB_OK && lab_check(s.volume, out))
		f = LAB_INCONSISTENT;
	if (f == LAB_OK && s.raid && has_redundancy(&c->cfg) && rng_below(&st->rng, 4) == 0)
		f = check_redundancy(&s, out);
	if (f == LAB_OK && c->fsck_every && rng_below(&st->rng, c->fsck_every) == 0)
		f = ask_fsck(c, s.volume, out);
	if (f == LAB_OK && c->e2fsck_every && rng_below(&st->rng, c->e2fsck_every) == 0)
		f = ask_e2fsck(c, s.volume, out);
	err = lab_stack_close(&s);
	if (f == LAB_OK && err) {
		fprintf(out, "stopping the array: %s\n", strerror(-err));
		f = LAB_NOT_WRITABLE;
	}
	return f;
}

/* Crashes --------------------------------------------------------------------------------------------------- */

/* Recovers what is on from, to the unmount, and cuts that off somewhere; to is what is left. */
static int crash_again(struct lab_crash *c, struct state *st, struct lab_image *const *from, struct lab_image **to)
{
	struct lab_image *work[LAB_MAX_MEMBERS] = { NULL };
	struct lab_stack_opts o = { .missing = st->missing };
	struct lab_cut cut = { .mode = rng_next(&st->rng) & 1 ? LAB_CUT_SOME : LAB_CUT_TORN };
	struct lab_tape lt = { .tape = NULL };
	struct lab_stack s;
	const char *what;
	int err;

	err = blk_tape_new(&o.tape);
	if (!err)
		err = images_copy(&c->cfg, from, work);
	/* That it cannot be mounted is found by who judges what is left. */
	if (!err && !lab_stack_open(&c->cfg, c->alloc, work, &o, &s, &what))
		lab_stack_close(&s);
	if (!err)
		err = lab_tape_init(&lt, o.tape);
	if (!err)
		err = images_copy(&c->cfg, from, to);
	if (!err) {
		cut.at = (size_t)rng_below(&st->rng, lt.nr + 1);
		cut.seed = rng_next(&st->rng);
		err = lab_cut_apply(&lt, &cut, to, c->cfg.nr_members);
		c->nr_again++;
	}
	lab_tape_fini(&lt);
	blk_tape_free(o.tape);
	images_free(&c->cfg, work);
	return err;
}

static void keep_images(const struct lab_crash *c, const struct state *st, struct lab_image *const *images)
{
	char path[512];

	for (unsigned i = 0; i < c->cfg.nr_members; i++) {
		snprintf(path, sizeof(path), "%s/state-%" PRIu64 "-disk%u", c->keep_dir, st->nr, i);
		if (!(st->missing & 1u << i) && lab_image_save(images[i], path))
			return;
	}
}

/* Makes the state and judges it. *fault is what was found. */
static int run_state(struct lab_crash *c, const struct lab_run *r, struct state *st, enum lab_fault *fault, FILE *out)
{
	struct lab_image *images[1 + MAX_CRASHES][LAB_MAX_MEMBERS] = { { NULL } };
	const struct lab_cut cut = { .at = st->at, .mode = st->v->mode, .seed = rng_next(&st->rng) };
	unsigned nr = 0;
	int err;

	err = images_copy(&c->cfg, r->base, images[0]);
	if (!err)
		err = lab_cut_apply(&r->lt, &cut, images[0], c->cfg.nr_members);
	if (st->v->lose) {
		st->missing = choose_lost(&c->cfg, &st->rng);
		c->nr_lost_members++;
	}
	for (; !err && nr < st->v->nr_again; nr++)
		err = crash_again(c, st, images[nr], images[nr + 1]);
	if (!err) {
		struct lab_image *work[LAB_MAX_MEMBERS] = { NULL };

		err = images_copy(&c->cfg, images[nr], work);
		if (!err)
			*fault = judge_images(c, r, st, work, out);
		images_free(&c->cfg, work);
	}
	if (!err && *fault != LAB_OK && c->keep_dir)
		keep_images(c, st, images[nr]);
	for (unsigned i = 0; i <= MAX_CRASHES; i++)
		images_free(&c->cfg, images[i]);
	return err;
}

/* Telling ------------------------------------------------------------------------------------------------------ */

static void tell(const struct lab_crash *c, const struct lab_run *r, const struct state *st, enum lab_fault f,
		 const char *said)
{
	char name[64];

	fprintf(c->out, "%s: state %" PRIu64 " (", lab_config_name(&c->cfg, name), st->nr);
	lab_workload_to_text(&r->workload, c->out);
	fprintf(c->out, "; cut after record %zu of %zu, %s", st->at, r->lt.nr, lab_cut_mode_name(st->v->mode));
	if (st->v->nr_again)
		fprintf(c->out, ", %u more in recovery", st->v->nr_again);
	if (st->missing)
		fprintf(c->out, ", lost members %x", st->missing);
	fprintf(c->out, "): %s\n", lab_fault_name(f));
	if (f == LAB_OK)
		return;
	fprintf(c->out, "%s  broke most likely: %s\n  rerun: osfs-lab crash%s --state=%" PRIu64 "\n", said,
		lab_fault_invariants(f), c->rerun ? c->rerun : "", st->nr);
}

static void count(struct lab_crash *c, const struct lab_run *r, const struct state *st, enum lab_fault f,
		  const char *said)
{
	const bool hole = has_parity(&c->cfg) && (st->v->lose || c->cfg.failing_member);

	c->nr_states++;
	c->nr_hole_states += hole;
	if (f == LAB_OK)
		return;
	if (hole) {	/* known to be open: measured, no failure */
		c->nr_of[LAB_WRONG_LOSS]++;
		return;
	}
	c->nr_of[f]++;
	if (c->nr_failures++ < c->max_reports)
		tell(c, r, st, f, said);
}

static int one_state(struct lab_crash *c, const struct lab_run *r, size_t at, unsigned variant, bool always_tell)
{
	struct state st = {
		.nr = r->workload.nr * LAB_STATE_WORKLOAD + at * LAB_STATE_CUT + variant, .at = at,
		.v = &variants[variant] };
	enum lab_fault f = LAB_OK;
	char *said = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&said, &len);
	int err;

	if (!out)
		return -ENOMEM;
	st.rng.state = c->cfg.seed ^ st.nr * 0x2545f4914f6cdd1du;
	err = run_state(c, r, &st, &f, out);
	fclose(out);
	if (!err && always_tell) {
		tell(c, r, &st, f, said);
		c->max_reports = 0;
	}
	if (!err)
		count(c, r, &st, f, said);
	free(said);
	return err;
}

/* Workloads ------------------------------------------------------------------------------------------------------ */

static int prepare(struct lab_crash *c, uint64_t workload, struct lab_run *r)
{
	struct lab_workload w;
	int err = lab_workload_get(workload, &w);

	if (err)
		return err;
	err = lab_run_record(r, &c->cfg, c->alloc, c->base, &w);
	if (err)
		lab_run_fini(r);
	return r->not_applicable ? -EOPNOTSUPP : err;
}

int lab_crash_workload(struct lab_crash *c, uint64_t workload)
{
	struct rng sample = { .state = c->cfg.seed * 31 + workload };
	struct lab_run r;
	int err = prepare(c, workload, &r);

	if (err == -EINVAL || err == -EOPNOTSUPP) {
		c->nr_skipped++;
		return 0;
	}
	if (err)
		return err;
	for (size_t at = 0; !err && at <= r.lt.nr; at++)
		for (unsigned v = 0; !err && v < lab_nr_variants(&c->cfg); v++)
			if (rng_below(&sample, 100) < c->percent)
				err = one_state(c, &r, at, v, false);
	c->nr_workloads++;
	lab_run_fini(&r);
	return err;
}

int lab_crash_state(struct lab_crash *c, uint64_t state)
{
	const size_t at = (size_t)(state / LAB_STATE_CUT % (LAB_STATE_WORKLOAD / LAB_STATE_CUT));
	const unsigned variant = (unsigned)(state % LAB_STATE_CUT);
	struct lab_run r;
	int err = prepare(c, state / LAB_STATE_WORKLOAD, &r);

	if (!err && (at > r.lt.nr || variant >= lab_nr_variants(&c->cfg))) {
		lab_run_fini(&r);
		err = -EINVAL;
	}
	if (err) {
		log_error("there is no state %" PRIu64 ": %s", state, strerror(-err));
		return err;
	}
	if (c->verbose) {
		for (size_t i = 0; i < r.lt.nr; i++) {
			fputs(i == at ? "---- cut ----\n" : "", c->out);
			blk_rec_to_text(blk_tape_get(r.tape, i), c->out);
			fputc('\n', c->out);
		}
	}
	err = one_state(c, &r, at, variant, true);
	lab_run_fini(&r);
	return err;
}

/* Beginning and end ------------------------------------------------------------------------------------------------ */

int lab_crash_init(struct lab_crash *c)
{
	const struct lab_stack_opts none = { 0 };
	struct lab_stack s;
	const char *what;
	int err, end;

	err = alloc_new(&(struct alloc_opts){ 0 }, &c->alloc);
	if (!err)
		err = lab_stack_make(&c->cfg, c->alloc, c->base);
	if (!err)
		err = lab_stack_open(&c->cfg, c->alloc, c->base, &none, &s, &what);
	if (err)
		return err;
	err = lab_base_fill(s.fs);
	end = lab_stack_close(&s);
	return err ? err : end;
}

size_t lab_crash_fini(struct lab_crash *c)
{
	images_free(&c->cfg, c->base);
	return c->alloc ? alloc_free(c->alloc) : 0;
}

void lab_crash_summary(const struct lab_crash *c, FILE *out)
{
	char name[64];

	fprintf(out, "%s: %" PRIu64 " workloads, %" PRIu64 " states", lab_config_name(&c->cfg, name), c->nr_workloads,
		c->nr_states);
	if (c->nr_again)
		fprintf(out, ", %" PRIu64 " crashes in recovery", c->nr_again);
	if (c->nr_lost_members)
		fprintf(out, ", %" PRIu64 " with lost members", c->nr_lost_members);
	fprintf(out, ", %" PRIu64 " shown to fsck.osfs, %" PRIu64 " to e2fsck: %" PRIu64 " failures\n", c->nr_fsck,
		c->nr_e2fsck, c->nr_failures);
	for (unsigned f = 1; f < LAB_NR_FAULTS; f++)
		if (c->nr_of[f] && f != LAB_WRONG_LOSS)
			fprintf(out, "  %s: %" PRIu64 " (%s)\n", lab_fault_name(f), c->nr_of[f], lab_fault_invariants(f));
	if (c->nr_hole_states)
		fprintf(out, "  write hole: %" PRIu64 " of %" PRIu64
			" states with a crash and a lost member at once are wrong\n",
			c->nr_of[LAB_WRONG_LOSS], c->nr_hole_states);
}
