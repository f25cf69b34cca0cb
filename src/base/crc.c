/* crc.c: ISA-L behind one name; CRC16 by bits, it is only used on group descriptors. */
#include "base/crc.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *buf, size_t len_bytes)
{
	const unsigned char *p = buf;

	/* ISA-L takes an int length and a pointer that it does not write through. */
	while (len_bytes > 0) {
		int n = (int)MIN(len_bytes, (size_t)1 << 30);

		crc = crc32_iscsi((unsigned char *)(uintptr_t)p, n, crc);
		p += n;
		len_bytes -= (size_t)n;
	}
	return crc;
}

uint32_t crc32c_rewind(uint32_t crc, size_t len_bytes)
{
	const uint32_t poly = 0x82f63b78, top = 0x80000000;

	for (size_t bits = 8 * len_bytes; bits > 0; bits--)
		crc = crc & top ? (crc ^ poly) << 1 | 1 : crc << 1;
	return crc;
}

uint16_t crc16(uint16_t crc, const void *buf, size_t len_bytes)
{
	const uint8_t *p = buf;

	while (len_bytes--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc >> 1 ^ (crc & 1 ? 0xa001 : 0));
	}
	return crc;
}
