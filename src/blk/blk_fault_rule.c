/* blk_fault_rule.c: rules of the fault filter: from text, to text, and which ones can be. */
#include "blk/blk_fault_int.h"

#include <stdlib.h>

#include "base/log.h"

enum { ALL_OPS = (1 << BLK_NR_OPS) - 1 };

static const char *const action_names[BLK_FAULT_NR_ACTIONS] = {
	[BLK_FAULT_FAIL] = "fail", [BLK_FAULT_DELAY] = "delay",
	[BLK_FAULT_FLIP] = "flip", [BLK_FAULT_DROP] = "drop",
};

static const struct {
	const char *name;
	int err;
} errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "ENODEV", ENODEV }, { "ENXIO", ENXIO }, { "ETIMEDOUT", ETIMEDOUT },
	{ "EROFS", EROFS }, { "EACCES", EACCES }, { "EILSEQ", EILSEQ }, { "ENOMEM", ENOMEM },
	{ "EREMOTEIO", EREMOTEIO }, { "EOPNOTSUPP", EOPNOTSUPP },
};

unsigned fault_ops_of(enum blk_fault_action action)
{
	switch (action) {
	case BLK_FAULT_FLIP:
		return 1 << BLK_READ | 1 << BLK_WRITE;
	case BLK_FAULT_DROP:
		return ALL_OPS & ~(1 << BLK_READ);
	default:
		return ALL_OPS;
	}
}

int fault_rule_normalise(struct blk_fault_rule *r)
{
	unsigned can;

	if ((unsigned)r->action >= BLK_FAULT_NR_ACTIONS)
		return -EINVAL;
	can = fault_ops_of(r->action);
	if (!r->ops)
		r->ops = r->nr_sects ? can & ~(1u << BLK_FLUSH) : can;
	if (!r->err)
		r->err = -EIO;
	if (!r->nr_bits)
		r->nr_bits = 1;
	if (!r->every)
		r->every = 1;
	else if (!r->from)
		r->from = r->every;
	if (!r->from)
		r->from = 1;
	if (r->probability == 0)
		r->probability = 1;

	if (r->ops & ~can || r->err > 0 || r->delay_msec > BLK_FAULT_MAX_DELAY_MSEC ||
	    r->nr_bits > BLK_FAULT_MAX_BITS || !(r->probability > 0 && r->probability <= 1))
		return -EINVAL;
	if (r->nr_sects && (r->ops & 1 << BLK_FLUSH || r->nr_sects > UINT64_MAX - r->sect))
		return -EINVAL;
	return 0;
}

/* All of text as a number of at least min. */
static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && !*end && *out >= min && *out <= max;
}

static bool parse_error(const char *text, int *err)
{
	if (!text)
		return true;	/* the default */
	for (unsigned i = 0; i < ARRAY_LEN(errors); i++) {
		if (!strcmp(text, errors[i].name)) {
			*err = -errors[i].err;
			return true;
		}
	}
	return false;
}

static bool parse_sects(char *text, struct blk_fault_rule *r)
{
	char *dash = text ? strchr(text, '-') : NULL;
	uint64_t last;

	if (dash)
		*dash = '\0';
	if (!parse_number(text, 0, UINT64_MAX - 1, &r->sect))
		return false;
	last = r->sect;
	if (dash && !parse_number(dash + 1, r->sect, UINT64_MAX - 1, &last))
		return false;
	r->nr_sects = last - r->sect + 1;
	return true;
}

static bool parse_probability(const char *text, double *out)
{
	char *end;

	if (!text || !*text)
		return false;
	*out = strtod(text, &end);
	return !*end && *out > 0 && *out <= 1;
}

/* The value of an action's word. */
static bool parse_action(enum blk_fault_action action, const char *value, struct blk_fault_rule *r)
{
	uint64_t n = 0;

	r->action = action;
	switch (action) {
	case BLK_FAULT_FAIL:
		return parse_error(value, &r->err);
	case BLK_FAULT_DELAY:
		if (!parse_number(value, 1, BLK_FAULT_MAX_DELAY_MSEC, &n))
			return false;
		r->delay_msec = (unsigned)n;
		return true;
	case BLK_FAULT_FLIP:
		if (value && !parse_number(value, 1, BLK_FAULT_MAX_BITS, &n))
			return false;
		r->nr_bits = (unsigned)n;
		return true;
	default:
		return !value;
	}
}

/* A word that says when, or to what sectors. */
static bool parse_condition(const char *word, char *value, struct blk_fault_rule *r)
{
	const uint64_t max = UINT64_MAX - 1;

	if (!strcmp(word, "sects"))
		return parse_sects(value, r);
	if (!strcmp(word, "nth")) {
		r->every = BLK_FAULT_NEVER_AGAIN;
		return parse_number(value, 1, max, &r->from);
	}
	if (!strcmp(word, "from"))
		return parse_number(value, 1, max, &r->from);
	if (!strcmp(word, "every"))
		return parse_number(value, 1, max, &r->every);
	if (!strcmp(word, "times"))
		return parse_number(value, 1, max, &r->times);
	if (!strcmp(word, "p"))
		return parse_probability(value, &r->probability);
	if (!strcmp(word, "once")) {
		r->times = 1;
		return !value;
	}
	return false;
}

static bool parse_op(const char *word, struct blk_fault_rule *r)
{
	for (unsigned op = 0; op < BLK_NR_OPS; op++) {
		if (!strcmp(word, blk_op_name(op))) {
			r->ops |= 1u << op;
			return true;
		}
	}
	return false;
}

/* Cuts value off word and takes it; *nr_actions counts words that say what to do. */
static bool parse_word(char *word, struct blk_fault_rule *r, unsigned *nr_actions)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	for (unsigned i = 0; i < BLK_FAULT_NR_ACTIONS; i++) {
		if (!strcmp(word, action_names[i])) {
			(*nr_actions)++;
			return parse_action(i, value, r);
		}
	}
	return (!value && parse_op(word, r)) || parse_condition(word, value, r);
}

static int parse_words(char *copy, const char *text, struct blk_fault_rule *r)
{
	unsigned nr_actions = 0;
	char *word;

	while ((word = strsep(&copy, ","))) {
		char said[64];	/* parse_word() cuts it up */

		snprintf(said, sizeof(said), "%s", word);
		if (!parse_word(word, r, &nr_actions)) {
			log_error("fault rule \"%s\": what is \"%s\"?", text, said);
			return -EINVAL;
		}
	}
	if (nr_actions != 1) {
		log_error("fault rule \"%s\": wanted one of fail, delay=, flip, drop", text);
		return -EINVAL;
	}
	return 0;
}

int blk_fault_parse(const char *text, struct blk_fault_rule *out)
{
	struct blk_fault_rule r = { .ops = 0 }, check;
	char *copy;
	int err;

	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	err = parse_words(copy, text, &r);
	free(copy);
	if (err)
		return err;
	check = r;
	if (fault_rule_normalise(&check)) {
		log_error("fault rule \"%s\": %s cannot be done to such requests", text, action_names[r.action]);
		return -EINVAL;
	}
	*out = r;
	return 0;
}

static void action_to_text(const struct blk_fault_rule *r, FILE *out)
{
	fputs(action_names[r->action], out);
	switch (r->action) {
	case BLK_FAULT_FAIL:
		for (unsigned i = 0; i < ARRAY_LEN(errors); i++)
			if (errors[i].err == -r->err)
				fprintf(out, "=%s", errors[i].name);
		break;
	case BLK_FAULT_DELAY:
		fprintf(out, "=%u", r->delay_msec);
		break;
	case BLK_FAULT_FLIP:
		fprintf(out, "=%u", r->nr_bits);
		break;
	default:
		break;
	}
}

void fault_rule_to_text(const struct blk_fault_rule *r, FILE *out)
{
	action_to_text(r, out);
	for (unsigned op = 0; op < BLK_NR_OPS; op++)
		if (r->ops & 1u << op)
			fprintf(out, ",%s", blk_op_name(op));
	if (r->nr_sects)
		fprintf(out, ",sects=%" PRIu64 "-%" PRIu64, r->sect, r->sect + r->nr_sects - 1);
	if (r->every == BLK_FAULT_NEVER_AGAIN)
		fprintf(out, ",nth=%" PRIu64, r->from);
	else if (r->from > 1 || r->every > 1)
		fprintf(out, ",from=%" PRIu64 ",every=%" PRIu64, r->from, r->every);
	if (r->probability < 1)
		fprintf(out, ",p=%g", r->probability);
	if (r->times)
		fprintf(out, ",times=%" PRIu64, r->times);
}
