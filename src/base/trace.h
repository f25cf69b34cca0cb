/*
 * trace.h: a ring of recent events, for osfsctl and for post-mortems.
 *
 *   TRACE(blk, "%s sect=%" PRIu64, name, sect);
 *
 * Off by default and then one relaxed load and a branch. trace_enable("blk,raid")
 * switches layers on by name ("all" for every one). Each event is formatted into
 * a slot of a fixed ring (the newest TRACE_SLOTS are kept) with a time and a thread.
 */
#ifndef OSFS_BASE_TRACE_H
#define OSFS_BASE_TRACE_H

#include <stdatomic.h>
#include <stdio.h>

#include "base/types.h"

enum trace_layer {
	TRACE_alloc, TRACE_blk, TRACE_raid, TRACE_cache, TRACE_journal, TRACE_fs, TRACE_daemon,
	TRACE_NR_LAYERS
};

enum { TRACE_SLOTS = 4096, TRACE_TEXT_BYTES = 112 };

extern atomic_uint trace_mask;

/* -EINVAL when a name in the comma-separated list is unknown; nothing is changed then. */
int trace_enable(const char *layers);
void trace_add(enum trace_layer layer, const char *fmt, ...) PRINTF_LIKE(2, 3);
void trace_to_text(FILE *out);	/* oldest first */

#define TRACE(layer, ...)								\
	do {										\
		if (unlikely(atomic_load_explicit(&trace_mask, memory_order_relaxed) &	\
			     (1u << TRACE_##layer)))					\
			trace_add(TRACE_##layer, __VA_ARGS__);				\
	} while (0)

#endif
