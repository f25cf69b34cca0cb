/*
 * alloc_debug.h: what helps to find misuse of memory, for both allocators.
 *
 * Faults (broken guard bytes, a write after free, a double or wrong free) are
 * logged with the cache's name and counted; the memory in question is left alone,
 * and alloc_check() fails from then on.
 *
 * mem_hide/mem_show tell AddressSanitizer which bytes nobody may touch; in other
 * builds they are nothing. Free memory is hidden, so a use after free or past the
 * end of an object stops an ASan build at the guilty instruction.
 */
#ifndef OSFS_ALLOC_DEBUG_H
#define OSFS_ALLOC_DEBUG_H

#include <stdatomic.h>

#include "base/types.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define mem_hide(p, len) ASAN_POISON_MEMORY_REGION(p, len)
#define mem_show(p, len) ASAN_UNPOISON_MEMORY_REGION(p, len)
#define mem_is_hidden(p) __asan_address_is_poisoned(p)
#define mem_root_add(p, len) __lsan_register_root_region(p, len)
#define mem_root_del(p, len) __lsan_unregister_root_region(p, len)
#else
#define mem_hide(p, len) ((void)(p), (void)(len))
#define mem_show(p, len) ((void)(p), (void)(len))
#define mem_is_hidden(p) ((void)(p), 0)
#define mem_root_add(p, len) ((void)(p), (void)(len))
#define mem_root_del(p, len) ((void)(p), (void)(len))
#endif

enum {
	POISON_FRESH = 0xa5,
	POISON_FREED = 0x6b,
	GUARD_BYTE = 0xbb,
	GUARD_BYTES = 16,	/* least guard behind an object */
};

struct alloc_debug {
	bool poison, redzone;			/* [const after alloc_new] */
	atomic_uint_fast64_t nr_faults;
};

/* Checks on: then every object passes the locked path, see magazine.h M3. */
static inline bool alloc_debug_is_on(const struct alloc_debug *g)
{
	return g->poison || g->redzone;
}

void alloc_debug_fault(struct alloc_debug *g, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Offset of the first byte that is not `byte`; len_bytes when all are. */
size_t alloc_debug_find_other(const void *p, uint8_t byte, size_t len_bytes);

#endif
