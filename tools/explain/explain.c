/* explain.c: what is asked for, in words. See explain.h. */
#include "explain/explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "explain/explain_int.h"

enum { FAULTS_MAX = 16 };

json_t *explain_text(const char *s)
{
	const size_t len = strlen(s);
	json_t *v = json_stringn(s, len);
	char *text;
	size_t n = 0;

	if (v)
		return v;
	text = malloc(2 * len + 1);
	for (size_t i = 0; text && i < len; i++) {
		const uint8_t b = (uint8_t)s[i];

		if (b >= 0x80)
			text[n++] = (char)(0xc0 | b >> 6);
		text[n++] = (char)(b >= 0x80 ? 0x80 | (b & 0x3f) : b);
	}
	v = text ? json_stringn(text, n) : NULL;
	free(text);
	return v ? v : json_null();
}

int explain_fail(char **error_text, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(error_text, fmt, ap) < 0)
		*error_text = NULL;
	va_end(ap);
	return err;
}

static void take_fault(void *arg, const char *what)
{
	struct explain *x = arg;

	if (x->nr_faults++ < FAULTS_MAX)
		json_array_append_new(x->faults, explain_text(what));
}

int explain_open(struct explain *x, struct raid *r, struct blk_dev *volume, struct look_source src)
{
	int err;

	*x = (struct explain){ .faults = json_array() };
	err = x->faults ? explain_array_load(r, volume, &x->array) : -ENOMEM;
	if (!err)
		err = look_open(&x->look, src, take_fault, x);
	if (err)
		explain_close(x);
	return err;
}

void explain_close(struct explain *x)
{
	look_close(&x->look);
	explain_array_free(&x->array);
	json_decref(x->faults);
	*x = (struct explain){ 0 };
}

/* Words ------------------------------------------------------------------------------------ */

struct parse {
	struct explain *x;
	struct explain_ask *asks;
	size_t nr, cap;
	bool has_member;
	unsigned member;
	char **error_text;
};

static int add_ask(struct parse *p, const struct explain_ask *ask)
{
	if (p->nr == p->cap) {
		struct explain_ask *grown;

		p->cap = p->cap ? p->cap * 2 : 64;
		grown = realloc(p->asks, p->cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		p->asks = grown;
	}
	p->asks[p->nr++] = *ask;
	return 0;
}

/* "FROM", "FROM-TO" (both included), separated by commas. */
static int take_ranges(struct parse *p, enum explain_space space, const char *text)
{
	const char *at = text;
	int err;

	do {
		struct explain_ask ask = { .space = space, .member = p->member };
		char *end;
		uint64_t last;

		errno = 0;
		last = ask.first = strtoull(at, &end, 0);
		if (end == at || *at == '-' || errno)
			return explain_fail(p->error_text, -EINVAL, "'%s' is no range: give FROM or FROM-TO", text);
		if (*end == '-') {
			at = end + 1;
			last = strtoull(at, &end, 0);
			if (end == at || *at == '-' || errno)
				return explain_fail(p->error_text, -EINVAL, "'%s' is no range: give FROM or FROM-TO", text);
		}
		if (last < ask.first || (*end && *end != ',') || last == UINT64_MAX)
			return explain_fail(p->error_text, -EINVAL, "'%s' is no range: give FROM or FROM-TO", text);
		ask.nr = last - ask.first + 1;
		err = add_ask(p, &ask);
		at = end + 1;
		if (!*end)
			break;
	} while (!err);
	return err;
}

/* A slot's number, or the member's name or the end of it. */
static int take_member(struct parse *p, const char *text)
{
	const struct explain_array *a = &p->x->array;
	char *end;
	const long slot = strtol(text, &end, 10);

	p->has_member = true;
	for (p->member = 0; p->member < a->nr; p->member++) {
		const struct explain_member *m = &a->members[p->member];
		const size_t len = strlen(m->name), want = strlen(text);

		if (end != text && !*end ? m->slot == slot : !strcmp(m->name, text))
			return 0;
		if (*end && len > want && m->name[len - want - 1] == '/' && !strcmp(m->name + len - want, text))
			return 0;
	}
	if (!a->geom)
		return explain_fail(p->error_text, -EINVAL, "%s is no array: it has no members", a->volume_name);
	return explain_fail(p->error_text, -EINVAL, "no member '%s'", text);
}

static int take_word(struct parse *p, const char *word)
{
	static const struct {
		const char *name;
		enum explain_space space;
	} options[] = {
		{ "--sectors=", EXPLAIN_MEMBER }, { "--volume-sectors=", EXPLAIN_VOLUME }, { "--volume-sector=", EXPLAIN_VOLUME },
		{ "--blocks=", EXPLAIN_BLOCKS }, { "--block=", EXPLAIN_BLOCKS },
	};

	if (!strncmp(word, "--member=", 9))
		return take_member(p, word + 9);
	for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
		const size_t len = strlen(options[i].name);
		enum explain_space space = options[i].space;

		if (strncmp(word, options[i].name, len))
			continue;
		if (space == EXPLAIN_MEMBER && !p->x->array.geom)
			space = EXPLAIN_VOLUME;	/* the one device is the volume */
		else if (space == EXPLAIN_MEMBER && !p->has_member)
			return explain_fail(p->error_text, -EINVAL, "sectors of which member? Give --member=N before");
		return take_ranges(p, space, word + len);
	}
	return explain_fail(p->error_text, -EINVAL, "unknown option '%s'", word);
}

int explain_words(struct explain *x, const char *const *words, unsigned nr, json_t **out, char **error_text)
{
	struct parse p = { .x = x, .error_text = error_text };
	int err = 0;

	*out = NULL;
	*error_text = NULL;
	if (nr == 0)
		return explain_fail(error_text, -EINVAL, "say what: a path, or --member=N --sectors=FROM-TO, or --blocks=FROM-TO");
	if (nr == 1 && strncmp(words[0], "--", 2)) {
		err = explain_path(x, words[0], out, error_text);
	} else {
		for (unsigned i = 0; !err && i < nr; i++)
			err = take_word(&p, words[i]);
		if (!err)
			err = explain_asks(x, p.asks, p.nr, out, error_text);
	}
	free(p.asks);
	if (!err && json_array_size(x->faults)) {
		json_object_set(*out, "faults", x->faults);
		json_object_set_new(*out, "nr_faults", json_integer((json_int_t)x->nr_faults));
	}
	return err;
}
