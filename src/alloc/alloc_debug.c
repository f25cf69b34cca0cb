/* alloc_debug.c: reports of misuse, and the search for bytes that changed. */
#include "alloc/alloc_debug.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

void alloc_debug_fault(struct alloc_debug *g, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	atomic_fetch_add_explicit(&g->nr_faults, 1, memory_order_relaxed);
	log_error("memory: %s", line);
}

size_t alloc_debug_find_other(const void *p, uint8_t byte, size_t len_bytes)
{
	const uint8_t *b = p;

	/* All are equal when the first is right and each equals its neighbour. */
	if (!len_bytes || (b[0] == byte && !memcmp(b, b + 1, len_bytes - 1)))
		return len_bytes;
	for (size_t i = 0; i < len_bytes; i++)
		if (b[i] != byte)
			return i;
	return len_bytes;
}
