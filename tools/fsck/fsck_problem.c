/* fsck_problem.c: what is said and asked, and what came of it. See fsck_problems.h. */
#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#include "fsck_int.h"

enum { PREEN = 1, LOSS = 2, NOTE = 4 };

struct row {
	const char *id, *text, *question;
	unsigned flags;
};

static const struct row rows[NR_PROBLEMS] = {
#define PROBLEM(id, flags, text, question) [id] = { #id, text, question, flags },
#include "fsck_problems.h"
#undef PROBLEM
};

struct fsck_report {
	uint32_t fixed[NR_PROBLEMS], left[NR_PROBLEMS];
	uint64_t nr_fixed, nr_left, nr_lossy;
	bool gave_up;		/* preen met what it may not decide */
	bool all_yes;
	ARRAY_OF(char *) fates;
	json_t *list;		/* with --json */
};

static struct fsck_report *report_of(struct fsck *f)
{
	if (!f->report) {
		f->report = calloc(1, sizeof(*f->report));
		if (f->report && f->opts.json)
			f->report->list = json_array();
	}
	return f->report;
}

/* Text ---------------------------------------------------------------------------------- */

static void put_name(FILE *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)s[i];

		if (isprint(c) && c != '\\')
			putc(c, out);
		else
			fprintf(out, "\\x%02x", c);
	}
}

static void put_field(FILE *out, char field, const struct fsck_args *a)
{
	switch (field) {
	case 'i': fprintf(out, "%" PRIu32, a->ino); break;
	case 'd': fprintf(out, "%" PRIu32, a->dir); break;
	case 'b': fprintf(out, "%" PRIu64, a->pblk); break;
	case 'l': fprintf(out, "%" PRIu64, a->lblk); break;
	case 'g': fprintf(out, "%" PRIu32, a->group); break;
	case 'n': fprintf(out, "%" PRIu64, a->num); break;
	case 'm': fprintf(out, "%" PRIu64, a->num2); break;
	case 's':
		if (a->str)
			put_name(out, a->str, a->str_len ? a->str_len : strlen(a->str));
		break;
	default: break;
	}
}

/* Owned by the caller; NULL: no memory. */
static char *expand(const char *text, const struct fsck_args *a)
{
	char *line = NULL;
	size_t len;
	FILE *out = open_memstream(&line, &len);

	if (!out)
		return NULL;
	for (; *text; text++) {
		if (*text == '%' && text[1])
			put_field(out, *++text, a);
		else
			putc(*text, out);
	}
	return fclose(out) ? NULL : line;
}

void fsck_say(struct fsck *f, const char *fmt, ...)
{
	va_list ap;

	if (f->opts.json)
		return;
	fsck_progress_clear(f);
	va_start(ap, fmt);
	vfprintf(f->opts.out, fmt, ap);
	va_end(ap);
}

void fsck_fate(struct fsck *f, const char *fmt, ...)
{
	struct fsck_report *r = report_of(f);
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		line = NULL;
	va_end(ap);
	if (line && (!r || !array_push(f, &r->fates, line)))
		free(line);
}

/* Decision -------------------------------------------------------------------------------- */

static bool ask(struct fsck *f, struct fsck_report *r, const char *question)
{
	int answer;

	if (r->all_yes || !f->opts.ask)
		return r->all_yes;
	answer = f->opts.ask(f->opts.ask_arg, question);
	if (answer < 0)
		fsck_failed(f, answer);
	r->all_yes = answer == 2;
	return answer > 0;
}

/* "p: text  FIXED." is how -p speaks: one line, with the name. */
static bool preen(struct fsck *f, struct fsck_report *r, const struct row *row, const char *line)
{
	const bool may = row->flags & PREEN;

	fsck_say(f, "%s: %s%s\n", blk_name(f->dev), line, may ? "  FIXED." : "");
	if (may)
		return true;
	fsck_say(f, "\n%s: UNEXPECTED INCONSISTENCY; RUN fsck.osfs MANUALLY.\n\t(i.e., without -a or -p options)\n",
		 blk_name(f->dev));
	r->gave_up = true;
	fsck_failed(f, -ECANCELED);
	return false;
}

static bool decide(struct fsck *f, struct fsck_report *r, const struct row *row, const char *line)
{
	bool yes = false;

	if (is_stopped(f))
		return false;
	switch (f->opts.mode) {
	case FSCK_PREEN:
		return preen(f, r, row, line);
	case FSCK_ASK:
		fsck_say(f, "%s\n", line);
		return ask(f, r, row->question);
	case FSCK_YES:
		yes = true;
		break;
	case FSCK_NO:
		break;
	}
	fsck_say(f, "%s  %s? %s\n", line, row->question, yes ? "yes" : "no");
	return yes;
}

static void note(struct fsck *f, const struct row *row, const char *line)
{
	if (f->opts.mode != FSCK_PREEN || (row->flags & PREEN))
		fsck_say(f, f->opts.mode == FSCK_PREEN ? "%2$s: %1$s\n" : "%s\n", line, blk_name(f->dev));
}

static void json_add(struct fsck_report *r, const struct row *row, const char *line, const struct fsck_args *a,
		     bool fixed)
{
	json_t *o;

	if (!r->list || !row->question)
		return;
	o = json_pack("{s:s, s:s, s:b}", "id", row->id, "text", line, "fixed", fixed);
	if (!o)
		return;
	if (a->ino)
		json_object_set_new(o, "inode", json_integer(a->ino));
	if (a->dir)
		json_object_set_new(o, "directory", json_integer(a->dir));
	if (a->pblk)
		json_object_set_new(o, "block", json_integer((json_int_t)a->pblk));
	if (strstr(row->text, "%g"))
		json_object_set_new(o, "group", json_integer(a->group));
	json_array_append_new(r->list, o);
}

bool fsck_fix_args(struct worker *w, enum problem pr, const struct fsck_args *a)
{
	const struct row *row = &rows[pr];
	struct fsck_report *r;
	char *line;
	bool yes = true;

	if (w->dry) {
		w->suspect = true;
		return false;
	}
	r = report_of(w->f);
	line = r ? expand(row->text, a) : NULL;
	if (!line) {
		fsck_failed(w->f, -ENOMEM);
		return false;
	}
	if (!row->question) {
		note(w->f, row, line);
	} else {
		yes = decide(w->f, r, row, line);
		r->fixed[pr] += yes;
		r->left[pr] += !yes;
		r->nr_fixed += yes;
		r->nr_left += !yes;
		r->nr_lossy += yes && (row->flags & LOSS);
		json_add(r, row, line, a, yes);
	}
	free(line);
	return yes;
}

/* The end ------------------------------------------------------------------------------------ */

int fsck_problems_status(struct fsck *f)
{
	const struct fsck_report *r = f->report;
	int status = 0;

	if (r && r->nr_fixed)
		status |= FSCK_FIXED;
	if (r && (r->nr_left || r->gave_up))
		status |= FSCK_LEFT;
	return status;
}

static void end_json(struct fsck *f, struct fsck_report *r, int status)
{
	json_t *fates = json_array(), *o;

	for (size_t i = 0; i < r->fates.nr; i++)
		json_array_append_new(fates, json_string(r->fates.v[i]));
	o = json_pack("{s:s, s:i, s:b, s:I, s:I, s:O, s:o}", "volume", blk_name(f->dev), "status", status, "clean",
		      !r->nr_fixed && !r->nr_left && !(status & ~FSCK_FIXED), "fixed", (json_int_t)r->nr_fixed, "left",
		      (json_int_t)r->nr_left, "problems", r->list, "fates", fates);
	if (o)
		json_dumpf(o, f->opts.out, JSON_INDENT(1));
	putc('\n', f->opts.out);
	json_decref(o);
}

static void end_text(struct fsck *f, struct fsck_report *r)
{
	if (f->opts.mode == FSCK_PREEN || (!r->nr_fixed && !r->nr_left))
		return;
	fsck_say(f, "\nRepaired: %" PRIu64 " (%" PRIu64 " with loss)   Left: %" PRIu64 "\n", r->nr_fixed, r->nr_lossy,
		 r->nr_left);
	for (unsigned i = 0; i < NR_PROBLEMS; i++)
		if (r->fixed[i] || r->left[i])
			fsck_say(f, "  %-22s %6" PRIu32 " repaired %6" PRIu32 " left%s\n", rows[i].id, r->fixed[i], r->left[i],
				 (rows[i].flags & LOSS) && r->fixed[i] ? "  (loss)" : "");
	for (size_t i = 0; i < r->fates.nr; i++)
		fsck_say(f, "  %s\n", r->fates.v[i]);
}

void fsck_problems_end(struct fsck *f, int status)
{
	struct fsck_report *r = report_of(f);

	if (!r)
		return;
	if (f->opts.json)
		end_json(f, r, status);
	else
		end_text(f, r);
}

void fsck_problems_free(struct fsck *f)
{
	struct fsck_report *r = f->report;

	if (!r)
		return;
	for (size_t i = 0; i < r->fates.nr; i++)
		free(r->fates.v[i]);
	array_free(&r->fates);
	json_decref(r->list);
	free(r);
	f->report = NULL;
}
