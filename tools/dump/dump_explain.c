/* dump_explain.c: explain, of members that nobody has mounted. */
#include <stdlib.h>

#include "base/log.h"
#include "dump/dump.h"
#include "explain/explain.h"

enum { LIST_BYTES = 1 << 20 };

struct arg {
	struct dump *d;
	struct explain *x;
};

/* JSON: what is new goes to what is there, since a long list has several answers. */
static void take_json(json_t *all, json_t *answer)
{
	json_t *had = json_object_get(all, "answers");

	if (had)
		json_array_extend(had, json_object_get(answer, "answers"));
	else
		json_object_update(all, answer);
}

static int answer(void *p, const char *const *words, unsigned nr)
{
	struct arg *a = p;
	char *text = NULL;
	json_t *json;
	const int err = explain_words(a->x, words, nr, &json, &text);

	if (err) {
		log_error("%s", text ? text : strerror(-err));
	} else if (a->d->out.json) {
		take_json(a->d->out.stack[0], json);
	} else {
		explain_print(json, a->d->out.f);
	}
	a->d->out.nr_faults += (unsigned)json_array_size(a->x->faults);
	json_array_clear(a->x->faults);
	if (!err)
		json_decref(json);
	free(text);
	return err;
}

int dump_explain(struct dump *d)
{
	struct explain x;
	struct arg a = { d, &x };
	int err = explain_open(&x, d->raid, d->volume, look_source_dev(d->volume));

	if (err)
		return err;
	err = explain_list_expand(d->args, d->nr_args, LIST_BYTES, answer, &a);
	explain_close(&x);
	return err;
}
