/* size.h: sizes as people write them. */
#ifndef OSFS_BASE_SIZE_H
#define OSFS_BASE_SIZE_H

#include "base/types.h"

/* "64m": a number of bytes, or of k, m, g, t, which are powers of 1024. -EINVAL */
MUST_CHECK int size_parse(const char *text, uint64_t *bytes);
/* As mke2fs reads them: "s" counts sectors, too, and a number alone counts units of `plain` bytes. -EINVAL */
MUST_CHECK int size_parse_in(const char *text, uint64_t plain, uint64_t *bytes);

#endif
