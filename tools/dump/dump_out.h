/*
 * dump_out.h: one description, printed as lines for people or as JSON.
 *
 * A description is objects in each other. A field has a key (JSON) and a label (text); a row of a
 * list is a JSON object, or a line. What is wrong is said where it was met.
 */
#ifndef OSFS_TOOLS_DUMP_DUMP_OUT_H
#define OSFS_TOOLS_DUMP_DUMP_OUT_H

#include <jansson.h>
#include <stdio.h>

#include "base/types.h"

enum { OUT_DEPTH_MAX = 8 };

struct out {
	FILE *f;
	bool json;
	unsigned nr_faults;
	json_t *stack[OUT_DEPTH_MAX];	/* objects and lists that are open; [0] is the whole */
	unsigned depth;
};

void out_init(struct out *o, FILE *f, bool json);
void out_done(struct out *o);		/* prints the JSON */
/* title NULL: none is printed. */
void out_begin(struct out *o, const char *key, const char *title);
void out_list(struct out *o, const char *key, const char *title);
void out_end(struct out *o);

void out_u64(struct out *o, const char *key, const char *label, uint64_t v);
void out_hex(struct out *o, const char *key, const char *label, uint64_t v);	/* a number in JSON */
void out_text(struct out *o, const char *key, const char *label, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A number in JSON, words in text. */
void out_num(struct out *o, const char *key, const char *label, uint64_t v, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* "Sat Nov 28 08:00:00 2026"; n/a for 0. Seconds in JSON. */
void out_time(struct out *o, const char *key, const char *label, int64_t sec);
/* Bytes that need not be text; quoted and cut in text. */
json_t *out_bytes(const void *p, size_t len);
const char *out_quote(const void *p, size_t len, char *buf, size_t cap);

/* row: an expression for a json_t *, made only when JSON is wanted. */
#define out_row(o, row, ...) \
	((o)->json ? out_row_json(o, row) : out_line(o, __VA_ARGS__))
void out_row_json(struct out *o, json_t *row);
void out_line(struct out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);	/* indented; nothing in JSON */
/* For look.h. */
void out_fault(void *o, const char *what);

#endif
