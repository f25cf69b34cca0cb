/* json_get.h: fields of answers, for those who print them: what is not there is empty or 0. */
#ifndef OSFS_DAEMON_JSON_GET_H
#define OSFS_DAEMON_JSON_GET_H

#include <jansson.h>

static inline const char *get_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static inline long long get_number(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static inline int get_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

#endif
