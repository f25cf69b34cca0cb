/*
 * log.h: messages for people, each said once, where the fact is known.
 *
 * A message is one line without a newline at its end; it names the object and
 * the place (member file, sector, inode, block) and what was expected and found.
 * Whoever knows the fact logs it and returns -errno; callers pass the error on
 * in silence. The sink is the process's, set by main;
 * by default it is standard error with the program's name in front.
 */
#ifndef OSFS_BASE_LOG_H
#define OSFS_BASE_LOG_H

#include "base/types.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

typedef void log_sink(void *arg, enum log_level level, const char *line);

/* sink NULL: standard error. Messages above max_level are dropped. */
void log_set_sink(log_sink *sink, void *arg);
void log_set_level(enum log_level max_level);
/*
 * So many lines at once, and so many a second in the long run: a damaged image that is read again and again
 * does not fill a disk. What is left out is counted and told. 0, as at the start: no limit.
 */
void log_set_limit(unsigned burst, unsigned per_sec);
void log_set_program(const char *name);	/* kept, not copied */

void log_message(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * The messages of the calling thread go to sink as well, until it is NULL: for who has to tell somebody else why
 * a thing failed.
 */
void log_tap(log_sink *sink, void *arg);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_message(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
