/* explain_int.h: what the files of tools/explain share. */
#ifndef OSFS_TOOLS_EXPLAIN_EXPLAIN_INT_H
#define OSFS_TOOLS_EXPLAIN_EXPLAIN_INT_H

#include "explain/explain.h"

static inline void set_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}
/* Text that need not be UTF-8: bytes above 127 that are none are taken as Latin-1. */
json_t *explain_text(const char *s);
static inline void set_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, explain_text(v));
}
int explain_fail(char **error_text, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* explain_forth.c: where [sect, sect + nr) of the volume lies, all copies, with the parities that cover it. */
json_t *explain_places(const struct explain *x, sect_t sect, uint64_t nr_sects);
MUST_CHECK int explain_path(struct explain *x, const char *path, json_t **out, char **error_text);

/* explain_back.c */
enum explain_space { EXPLAIN_MEMBER, EXPLAIN_VOLUME, EXPLAIN_BLOCKS };
struct explain_ask {
	enum explain_space space;
	unsigned member;		/* index in array.members */
	uint64_t first, nr;		/* sectors of the device, of the volume; blocks */
};
MUST_CHECK int explain_asks(struct explain *x, const struct explain_ask *asks, size_t nr, json_t **out, char **error_text);

#endif
