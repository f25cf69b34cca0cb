/* size.c: see size.h. */
#include "base/size.h"

#include <stdlib.h>

/* Bytes of a unit; 0: there is none of that letter. */
static uint64_t unit_bytes(char letter)
{
	switch (letter) {
	case 's': case 'S': return SECT_BYTES;
	case 'k': case 'K': return 1ull << 10;
	case 'm': case 'M': return 1ull << 20;
	case 'g': case 'G': return 1ull << 30;
	case 't': case 'T': return 1ull << 40;
	default: return 0;
	}
}

int size_parse_in(const char *text, uint64_t plain, uint64_t *bytes)
{
	uint64_t n, unit = plain;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end)
		unit = unit_bytes(*end++);
	if (!unit || *end || n > UINT64_MAX / unit)
		return -EINVAL;
	*bytes = n * unit;
	return 0;
}

int size_parse(const char *text, uint64_t *bytes)
{
	return strpbrk(text, "sS") ? -EINVAL : size_parse_in(text, 1, bytes);
}
