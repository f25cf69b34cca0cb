/*
 * types.h: the types every layer speaks, and byte order in the type.
 *
 * Address spaces have a type and a name each:
 *   sect_t  a 512-byte sector of a block device
 *   pblk_t  a filesystem block on the device (1 to 64 KiB each)
 *   lblk_t  a block within a file
 *
 * Errors are 0 or -errno everywhere below src/daemon; positive results are counts.
 */
#ifndef OSFS_BASE_TYPES_H
#define OSFS_BASE_TYPES_H

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t sect_t;
typedef uint64_t pblk_t;
typedef uint64_t lblk_t;
typedef uint32_t ino_nr_t;	/* inode number on disk; 0 is none */

enum { SECT_SHIFT = 9, SECT_BYTES = 512, PAGE_BYTES = 4096 };

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ({ typeof(a) a_ = (a); typeof(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define MAX(a, b) ({ typeof(a) a_ = (a); typeof(b) b_ = (b); a_ > b_ ? a_ : b_; })
#define DIV_UP(n, d) ({ typeof(n) n_ = (n); typeof(d) d_ = (d); n_ / d_ + (n_ % d_ != 0); })
/* Powers of two only. */
#define ALIGN_UP(n, a) (((n) + ((typeof(n))(a) - 1)) & ~((typeof(n))(a) - 1))
#define ALIGN_DOWN(n, a) ((n) & ~((typeof(n))(a) - 1))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

static inline bool is_pow2(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* Floor of the base-2 logarithm; n must not be 0. */
static inline unsigned log2_floor(uint64_t n)
{
	return 63 - (unsigned)__builtin_clzll(n);
}

/*
 * Disk integers are one-member structs, so that a missing conversion does not
 * compile. le*: ext2/3/4 and md v1; be*: JBD2. Unaligned use is the caller's
 * matter: disk structs are laid out naturally aligned.
 */
#define DISK_INT(name, bits, to_host, to_disk)						\
	typedef struct { uint##bits##_t raw; } name;					\
	static inline uint##bits##_t name##_get(name v) { return to_host(v.raw); }	\
	static inline name name##_of(uint##bits##_t v) { return (name){ to_disk(v) }; }

DISK_INT(le16, 16, le16toh, htole16)
DISK_INT(le32, 32, le32toh, htole32)
DISK_INT(le64, 64, le64toh, htole64)
DISK_INT(be16, 16, be16toh, htobe16)
DISK_INT(be32, 32, be32toh, htobe32)
DISK_INT(be64, 64, be64toh, htobe64)
#undef DISK_INT

#define DISK_SIZE(type, n) _Static_assert(sizeof(type) == (n), #type " size")
#define DISK_OFFSET(type, field, n) _Static_assert(offsetof(type, field) == (n), #type "." #field)

#endif
