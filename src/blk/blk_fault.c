/*
 * blk_fault.c: the fault filter. before() asks every rule about the request and
 * gathers a verdict; failing and dropping end the request there, slowness and
 * wrong data read are seen to in after().
 *
 *   T1  Whether a rule fires depends on the seed, the rule's id and how many
 *       requests matched it before, never on time or thread.
 *   T2  The caller's data of a write is not touched: wrong bits go out of a copy.
 *   T3  Requests of a batch are slow side by side, as on a slow disk with a queue.
 */
#include "blk/blk_fault_int.h"

#include <stdlib.h>
#include <time.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rng.h"

enum { MAX_FLIPS = 4 };		/* rules that flip in one request; further ones have no effect on it */

struct rule {
	struct list link;
	unsigned id;
	struct blk_fault_rule r;
	uint64_t nr_matched, nr_fired;
};

struct blk_fault {
	struct blk_dev dev;
	os_mutex lock;			/* RANK_BLK */
	uint64_t seed;			/* [lock] */
	struct list rules;		/* [lock] */
	unsigned next_id;		/* [lock] */
	uint64_t nr_fired;		/* [lock] */
	atomic_uint nr_rules;		/* [atomic] so that a filter without rules costs a load */
};

struct flip {
	uint64_t seed;
	unsigned nr_bits;
	uint64_t from, len;		/* bytes of the request */
};

struct verdict {
	int err;
	bool drop;
	unsigned delay_msec;
	unsigned nr_flips;
	struct flip flips[MAX_FLIPS];
};

/* What after() has to do for a request. */
struct sentence {
	struct verdict v;
	struct timespec until;
	struct iovec iov;		/* a write's wrong copy; iov_base NULL: none */
};

static const struct blk_ops fault_ops;

static struct blk_fault *blk_fault_of(struct blk_dev *d)
{
	return container_of(d, struct blk_fault, dev);
}

static bool matches(const struct blk_fault_rule *r, const struct blk_io *io)
{
	if (!(r->ops & 1u << io->op))
		return false;
	return !r->nr_sects || (io->sect < r->sect + r->nr_sects && r->sect < io->sect + io->nr_sects);
}

/* Random numbers for the n-th request of a rule (T1). */
static struct rng rng_of(const struct blk_fault *f, const struct rule *rule)
{
	struct rng r = { .state = f->seed ^ (uint64_t)rule->id << 48 };

	r.state = rng_next(&r) ^ rule->nr_matched;
	rng_next(&r);
	return r;
}

static bool fires(const struct rule *rule, struct rng *rng)
{
	const struct blk_fault_rule *r = &rule->r;

	if (r->times && rule->nr_fired >= r->times)
		return false;
	if (rule->nr_matched < r->from || (rule->nr_matched - r->from) % r->every)
		return false;
	return r->probability >= 1 || (double)(rng_next(rng) >> 11) * 0x1p-53 < r->probability;
}

/* The bytes of the request that lie in the rule's range. */
static struct flip flip_of(const struct blk_fault_rule *r, const struct blk_io *io, struct rng *rng)
{
	uint64_t from = io->sect, end = io->sect + io->nr_sects;

	if (r->nr_sects) {
		from = MAX(from, r->sect);
		end = MIN(end, r->sect + r->nr_sects);
	}
	return (struct flip){ .seed = rng_next(rng), .nr_bits = r->nr_bits,
			      .from = (from - io->sect) << SECT_SHIFT, .len = (end - from) << SECT_SHIFT };
}

static void apply_rule(struct blk_fault *f, struct rule *rule, const struct blk_io *io, struct verdict *v)
{
	const struct blk_fault_rule *r = &rule->r;
	struct rng rng;

	if (!matches(r, io))
		return;
	rule->nr_matched++;
	rng = rng_of(f, rule);
	if (!fires(rule, &rng))
		return;
	rule->nr_fired++;
	f->nr_fired++;
	switch (r->action) {
	case BLK_FAULT_FAIL:
		if (!v->err)
			v->err = r->err;
		break;
	case BLK_FAULT_DELAY:
		v->delay_msec = MIN(v->delay_msec + r->delay_msec, (unsigned)BLK_FAULT_MAX_DELAY_MSEC);
		break;
	case BLK_FAULT_FLIP:
		if (v->nr_flips < MAX_FLIPS)
			v->flips[v->nr_flips++] = flip_of(r, io, &rng);
		break;
	default:
		v->drop = true;
		break;
	}
}

static struct verdict judge(struct blk_fault *f, const struct blk_io *io)
{
	struct verdict v = { .err = 0 };
	struct rule *rule;

	LOCK_GUARD(&f->lock);
	list_for_each(rule, &f->rules, link)
		apply_rule(f, rule, io, &v);
	return v;
}

static void sleep_until(const struct timespec *t)
{
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, t, NULL) == EINTR)
		;
}

static struct timespec in_msec(unsigned msec)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += msec / 1000;
	t.tv_nsec += (long)(msec % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}

static void flip_bit(const struct iovec *iov, unsigned nr_iov, uint64_t byte, unsigned bit)
{
	for (unsigned i = 0; i < nr_iov; i++) {
		if (byte < iov[i].iov_len) {
			((uint8_t *)iov[i].iov_base)[byte] ^= (uint8_t)(1 << bit);
			return;
		}
		byte -= iov[i].iov_len;
	}
}

static void flip_bits(const struct verdict *v, const struct iovec *iov, unsigned nr_iov)
{
	for (unsigned i = 0; i < v->nr_flips; i++) {
		const struct flip *fl = &v->flips[i];
		struct rng rng = { .state = fl->seed };

		for (unsigned n = 0; n < fl->nr_bits; n++) {
			uint64_t at = rng_below(&rng, fl->len * 8);

			flip_bit(iov, nr_iov, fl->from + at / 8, at % 8);
		}
	}
}

/* Puts a wrong copy in place of the data of a write (T2). */
static int spoil_write(struct sentence *s, struct blk_io *io)
{
	size_t len = (size_t)(io->nr_sects << SECT_SHIFT);
	uint8_t *p = malloc(len);

	if (!p)
		return -ENOMEM;
	s->iov = (struct iovec){ .iov_base = p, .iov_len = len };
	for (unsigned i = 0; i < io->nr_iov; i++) {
		if (io->iov[i].iov_len)
			memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
		p += io->iov[i].iov_len;
	}
	flip_bits(&s->v, &s->iov, 1);
	io->iov = &s->iov;
	io->nr_iov = 1;
	return 0;
}

static bool fault_before(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	struct blk_fault *f = blk_fault_of(d);
	struct sentence *s;
	struct verdict v;

	if (!atomic_load_explicit(&f->nr_rules, memory_order_relaxed))
		return false;
	v = judge(f, io);
	if (v.err || v.drop) {
		struct timespec until = in_msec(v.delay_msec);

		if (v.delay_msec)
			sleep_until(&until);
		io->err = v.err;
		return true;
	}
	if (!v.delay_msec && !v.nr_flips)
		return false;

	s = calloc(1, sizeof(*s));
	io->err = s ? 0 : -ENOMEM;
	if (!s)
		return true;
	s->v = v;
	s->until = in_msec(v.delay_msec);
	if (v.nr_flips && io->op == BLK_WRITE)
		io->err = spoil_write(s, io);
	if (io->err) {
		free(s);
		return true;
	}
	state->ptr = s;
	return false;
}

static void fault_after(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	struct sentence *s = state->ptr;

	if (!s)
		return;
	if (io->op == BLK_READ && !io->err)
		flip_bits(&s->v, io->iov, io->nr_iov);
	if (s->v.delay_msec)
		sleep_until(&s->until);
	free(s->iov.iov_base);
	free(s);
}

static void fault_close(struct blk_dev *d)
{
	struct blk_fault *f = blk_fault_of(d);

	blk_fault_clear(d);
	os_mutex_fini(&f->lock);
	blk_dev_fini(d);
	free(f);
}

static const struct blk_ops fault_ops = {
	.name = "fault",
	.before = fault_before,
	.after = fault_after,
	.close = fault_close,
};

int blk_fault_new(struct blk_dev *lower, uint64_t seed, struct blk_dev **out)
{
	struct blk_fault *f;
	int err;

	*out = NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	err = blk_filter_init(&f->dev, &fault_ops, lower);
	if (err) {
		free(f);
		return err;
	}
	f->seed = seed;
	f->next_id = 1;
	list_init(&f->rules);
	os_mutex_init(&f->lock, RANK_BLK);
	*out = &f->dev;
	return 0;
}

void blk_fault_set_seed(struct blk_dev *d, uint64_t seed)
{
	struct blk_fault *f = blk_fault_of(d);

	LOCK_GUARD(&f->lock);
	f->seed = seed;
}

/* One part of RULES: a rule to f, or its seed. */
static int add_part(struct blk_fault *f, const char *part)
{
	struct blk_fault_rule rule;
	char *end;
	int err;

	if (!strncmp(part, "seed=", 5)) {
		errno = 0;
		f->seed = strtoull(part + 5, &end, 0);
		if (part[5] >= '0' && part[5] <= '9' && !*end && !errno)
			return 0;
		log_error("fault rule \"%s\": the seed is a number", part);
		return -EINVAL;
	}
	err = blk_fault_parse(part, &rule);
	return err ? err : blk_fault_add(&f->dev, &rule, NULL);
}

int blk_fault_new_rules(struct blk_dev *lower, const char *rules, struct blk_dev **out)
{
	struct blk_dev *d;
	char *copy, *rest, *part;
	int err;

	*out = NULL;
	err = blk_fault_new(lower, 0, &d);
	if (err)
		return err;
	copy = rest = strdup(rules);
	err = copy ? 0 : -ENOMEM;
	while (!err && *rules && (part = strsep(&rest, "+")))
		err = add_part(blk_fault_of(d), part);
	free(copy);
	if (err) {
		fault_close(d);		/* lower stays the caller's */
		return err;
	}
	*out = d;
	return 0;
}

struct blk_dev *blk_fault_find(struct blk_dev *d)
{
	while (d && d->ops != &fault_ops)
		d = d->lower;
	return d;
}

int blk_fault_add(struct blk_dev *d, const struct blk_fault_rule *r, unsigned *id)
{
	struct blk_fault *f = blk_fault_of(d);
	struct rule *rule;
	int err;

	rule = calloc(1, sizeof(*rule));
	if (!rule)
		return -ENOMEM;
	rule->r = *r;
	err = fault_rule_normalise(&rule->r);
	if (err) {
		free(rule);
		return err;
	}

	LOCK_GUARD(&f->lock);
	rule->id = f->next_id++;
	list_add_tail(&f->rules, &rule->link);
	atomic_fetch_add(&f->nr_rules, 1);
	if (id)
		*id = rule->id;
	return 0;
}

static void rule_drop(struct blk_fault *f, struct rule *rule)
{
	assert_held(&f->lock);
	list_del(&rule->link);
	atomic_fetch_sub(&f->nr_rules, 1);
	free(rule);
}

int blk_fault_remove(struct blk_dev *d, unsigned id)
{
	struct blk_fault *f = blk_fault_of(d);
	struct rule *rule, *next;

	LOCK_GUARD(&f->lock);
	list_for_each_safe(rule, next, &f->rules, link) {
		if (rule->id == id) {
			rule_drop(f, rule);
			return 0;
		}
	}
	return -ENOENT;
}

void blk_fault_clear(struct blk_dev *d)
{
	struct blk_fault *f = blk_fault_of(d);
	struct rule *rule, *next;

	LOCK_GUARD(&f->lock);
	list_for_each_safe(rule, next, &f->rules, link)
		rule_drop(f, rule);
}

uint64_t blk_fault_nr_fired(struct blk_dev *d)
{
	struct blk_fault *f = blk_fault_of(d);

	LOCK_GUARD(&f->lock);
	return f->nr_fired;
}

void blk_fault_to_text(struct blk_dev *d, FILE *out)
{
	struct blk_fault *f = blk_fault_of(d);
	struct rule *rule;

	LOCK_GUARD(&f->lock);
	list_for_each(rule, &f->rules, link) {
		fprintf(out, "%u ", rule->id);
		fault_rule_to_text(&rule->r, out);
		fprintf(out, " matched %" PRIu64 " fired %" PRIu64 "\n", rule->nr_matched, rule->nr_fired);
	}
}
