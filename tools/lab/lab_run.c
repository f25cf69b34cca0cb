/* lab_run.c: see lab_run.h. */
#include "lab_run.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/rng.h"

/* Workloads ------------------------------------------------------------------------------------------ */

struct script_step {
	const char *op;
	enum lab_persist persist;
};

/* Sequences that pairs do not reach. */
static const struct script_step scripts[][LAB_MAX_STEPS] = {
	/* a block of a directory becomes one of a file while the log still has it */
	{ { "mkdir", LAB_PERSIST_SYNC }, { "rmdir-new", LAB_PERSIST_SYNC }, { "fill", LAB_PERSIST_FSYNC },
	  { "chmod", LAB_PERSIST_FSYNC } },
	{ { "create-big", LAB_PERSIST_SYNC }, { "unlink-big", LAB_PERSIST_SYNC }, { "fill", LAB_PERSIST_FSYNC } },
	{ { "setxattr-large", LAB_PERSIST_SYNC }, { "unlink", LAB_PERSIST_SYNC }, { "fill", LAB_PERSIST_FDATASYNC } },
	{ { "create-many", LAB_PERSIST_SYNC }, { "unlink-big", LAB_PERSIST_NONE }, { "fill", LAB_PERSIST_FSYNC } },
	/* replaced as careful programs do it, and as careless ones */
	{ { "create-temp", LAB_PERSIST_FSYNC }, { "rename-temp", LAB_PERSIST_NONE } },
	{ { "create-temp", LAB_PERSIST_FDATASYNC }, { "rename-temp", LAB_PERSIST_FSYNC_DIR } },
	{ { "create-temp", LAB_PERSIST_NONE }, { "rename-temp", LAB_PERSIST_WRITEBACK } },
	/* open files that have no name any more */
	{ { "unlink-open", LAB_PERSIST_SYNC }, { "rename-over-open", LAB_PERSIST_SYNC }, { "create", LAB_PERSIST_FSYNC } },
	{ { "truncate-big", LAB_PERSIST_WRITEBACK }, { "unlink-open", LAB_PERSIST_SYNC }, { "fill", LAB_PERSIST_SYNC } },
	/* many transactions */
	{ { "append", LAB_PERSIST_FSYNC }, { "append", LAB_PERSIST_FSYNC }, { "append", LAB_PERSIST_FSYNC },
	  { "append", LAB_PERSIST_FSYNC }, { "truncate-zero", LAB_PERSIST_FSYNC }, { "append", LAB_PERSIST_FSYNC } },
	/* the log wraps */
	{ { "create-many", LAB_PERSIST_WRITEBACK }, { "unlink-open", LAB_PERSIST_NONE }, { "wrap-log", LAB_PERSIST_NONE },
	  { "create-big", LAB_PERSIST_FSYNC }, { "rename-over", LAB_PERSIST_SYNC } },
};

unsigned lab_nr_singles(void)
{
	return lab_nr_ops * LAB_NR_PERSIST;
}

unsigned lab_nr_scripts(void)
{
	return ARRAY_LEN(scripts);
}

static int add_single(struct lab_workload *w, uint64_t nr)
{
	struct lab_step *s = &w->steps[w->nr_steps];

	if (nr >= lab_nr_singles())
		return -EINVAL;
	s->op = &lab_ops[nr / LAB_NR_PERSIST];
	s->persist = (enum lab_persist)(nr % LAB_NR_PERSIST);
	if (!lab_persist_fits(s->op, s->persist) || s->op->flags & LAB_OP_SCRIPT)
		return -EINVAL;
	w->nr_steps++;
	return 0;
}

static int add_script(struct lab_workload *w, uint64_t nr)
{
	if (nr >= ARRAY_LEN(scripts))
		return -EINVAL;
	for (unsigned i = 0; i < LAB_MAX_STEPS && scripts[nr][i].op; i++) {
		const struct lab_op *op = lab_op_find(scripts[nr][i].op);

		if (!op || !lab_persist_fits(op, scripts[nr][i].persist))
			return -EINVAL;
		w->steps[w->nr_steps++] = (struct lab_step){ op, scripts[nr][i].persist };
	}
	return 0;
}

int lab_workload_get(uint64_t nr, struct lab_workload *out)
{
	int err;

	*out = (struct lab_workload){ .nr = nr };
	if (nr >= LAB_PAIRS) {
		err = add_single(out, (nr - LAB_PAIRS) / 1000);
		return err ? err : add_single(out, (nr - LAB_PAIRS) % 1000);
	}
	return nr >= LAB_SCRIPTS ? add_script(out, nr - LAB_SCRIPTS) : add_single(out, nr);
}

void lab_workload_to_text(const struct lab_workload *w, FILE *out)
{
	for (unsigned i = 0; i < w->nr_steps; i++) {
		fprintf(out, "%s%s", i ? ", " : "", w->steps[i].op->name);
		if (w->steps[i].persist != LAB_PERSIST_NONE)
			fprintf(out, " %s", lab_persist_name(w->steps[i].persist));
	}
}

/* Recording ------------------------------------------------------------------------------------------- */

static int add_tree(struct lab_run *r, struct fs *fs, const struct lab_op *maker)
{
	char *where = NULL;
	int err;

	if (r->nr_trees == r->cap_trees) {
		const size_t cap = MAX(r->cap_trees * 2, (size_t)8);
		struct lab_tree *trees = realloc(r->trees, cap * sizeof(*trees));
		const struct lab_op **makers;

		if (!trees)
			return -ENOMEM;
		r->trees = trees;
		makers = realloc(r->makers, cap * sizeof(*makers));
		if (!makers)
			return -ENOMEM;
		r->makers = makers;
		r->cap_trees = cap;
	}
	err = lab_tree_take(fs, &r->trees[r->nr_trees], &where);
	if (err)
		log_error("%s: the running filesystem cannot be read: %s", where ? where : "/", strerror(-err));
	free(where);
	if (err) {
		lab_tree_fini(&r->trees[r->nr_trees]);
		return err;
	}
	r->makers[r->nr_trees++] = maker;
	return 0;
}

static int add_event(struct lab_run *r, const struct lab_event *e)
{
	if (r->nr_events == r->cap_events) {
		const size_t cap = MAX(r->cap_events * 2, (size_t)16);
		struct lab_event *events = realloc(r->events, cap * sizeof(*events));

		if (!events)
			return -ENOMEM;
		r->events = events;
		r->cap_events = cap;
	}
	r->events[r->nr_events] = *e;
	r->events[r->nr_events++].at = blk_tape_nr(r->tape);
	return 0;
}

struct recording {
	struct lab_run *r;
	struct lab_actor actor;
	const struct lab_op *op;
};

static int between_steps(void *arg)
{
	struct recording *rec = arg;

	return add_tree(rec->r, rec->actor.fs, rec->op);
}

static int persist(struct recording *rec, const struct lab_step *s)
{
	struct lab_run *r = rec->r;
	struct lab_event e = { .kind = LAB_EVENT_PERSIST, .tree = r->nr_trees - 1, .op = s->op, .persist = s->persist };
	struct fs_attr at;
	int err;

	if (s->persist == LAB_PERSIST_FSYNC || s->persist == LAB_PERSIST_FDATASYNC) {
		err = lab_path_ino(rec->actor.fs, s->op->file, &e.ino);
		if (!err)
			err = fs_getattr(rec->actor.fs, e.ino, &at);
		if (err)
			return err;
		e.generation = at.generation;
	}
	err = lab_persist_run(rec->actor.fs, s->op, s->persist);
	if (err || s->persist == LAB_PERSIST_NONE || s->persist == LAB_PERSIST_WRITEBACK)
		return err;
	blk_tape_mark(r->tape, "%s of %s returned", lab_persist_name(s->persist), s->op->name);
	return add_event(r, &e);
}

static int run_step(struct recording *rec, const struct lab_step *s)
{
	struct lab_run *r = rec->r;
	struct lab_event e = { .kind = LAB_EVENT_BEGIN, .op = s->op };
	const size_t slot = r->nr_events;
	int err;

	rec->op = s->op;
	rec->actor.serial++;
	blk_tape_mark(r->tape, "%s begins", s->op->name);
	err = add_event(r, &e);
	if (!err)
		err = s->op->run(&rec->actor);
	if (!err)
		err = add_tree(r, rec->actor.fs, s->op);
	if (err)
		return err;
	r->events[slot].tree = r->nr_trees - 1;
	return persist(rec, s);
}

/* Not for this filesystem, or not behind what was done before. */
static bool makes_no_sense(int err)
{
	return err == -EOPNOTSUPP || err == -ENOENT || err == -EEXIST || err == -ENOTEMPTY || err == -ENOTDIR ||
	       err == -EISDIR || err == -ENODATA;
}

static int run_steps(struct lab_run *r, struct fs *fs)
{
	struct recording rec = { .r = r, .actor = { .fs = fs, .step = between_steps, .step_arg = &rec } };
	int err = add_tree(r, fs, NULL);

	for (unsigned i = 0; !err && i < r->workload.nr_steps; i++) {
		const struct lab_step *s = &r->workload.steps[i];

		err = run_step(&rec, s);
		if (makes_no_sense(err))
			r->not_applicable = true;
		else if (err)
			log_error("workload %" PRIu64 ": %s (%s): %s", r->workload.nr, s->op->name,
				  lab_persist_name(s->persist), strerror(-err));
	}
	blk_tape_mark(r->tape, "unmount begins");
	lab_actor_release(&rec.actor);
	return err;
}

/* One member is refused its writes from some request on, by the number of the workload. */
static void choose_fault(const struct lab_config *cfg, const struct lab_workload *w, char rules[static 32],
			 struct lab_stack_opts *o)
{
	struct rng rng = { .state = cfg->seed ^ w->nr << 20 };

	o->fault_member = (unsigned)rng_below(&rng, cfg->nr_members);
	snprintf(rules, 32, "write,fail,from=%u", 2 + (unsigned)rng_below(&rng, 24));
	o->fault_rules = rules;
}

static int record(struct lab_run *r, struct lab_image **images)
{
	struct lab_stack_opts o = { .tape = r->tape };
	struct lab_stack s;
	const char *what;
	char rules[32];
	int err, end;

	if (r->cfg->failing_member)
		choose_fault(r->cfg, &r->workload, rules, &o);
	err = lab_stack_open(r->cfg, r->alloc, images, &o, &s, &what);
	if (err) {
		log_error("workload %" PRIu64 ": %s: %s", r->workload.nr, what, strerror(-err));
		return err;
	}
	err = run_steps(r, s.fs);
	end = lab_stack_close(&s);
	if (!err && end) {
		log_error("workload %" PRIu64 ": unmount: %s", r->workload.nr, strerror(-end));
		err = end;
	}
	blk_tape_mark(r->tape, "unmounted");
	return err ? err : blk_tape_error(r->tape);
}

int lab_run_record(struct lab_run *r, const struct lab_config *cfg, struct alloc *alloc, struct lab_image *const *base,
		   const struct lab_workload *w)
{
	struct lab_image *images[LAB_MAX_MEMBERS] = { NULL };
	int err;

	*r = (struct lab_run){ .cfg = cfg, .alloc = alloc, .base = base, .workload = *w };
	err = blk_tape_new(&r->tape);
	for (unsigned i = 0; !err && i < cfg->nr_members; i++)
		err = lab_image_copy(base[i], &images[i]);
	if (!err)
		err = record(r, images);
	if (!err)
		err = lab_tape_init(&r->lt, r->tape);
	for (unsigned i = 0; i < cfg->nr_members; i++)
		lab_image_free(images[i]);
	return err;
}

void lab_run_fini(struct lab_run *r)
{
	for (size_t i = 0; i < r->nr_trees; i++)
		lab_tree_fini(&r->trees[i]);
	free(r->trees);
	free(r->makers);
	free(r->events);
	lab_tape_fini(&r->lt);
	blk_tape_free(r->tape);
}
