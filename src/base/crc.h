/*
 * crc.h: the checksums of the formats, in the convention of the kernel's helpers:
 * the running value goes in and comes out raw, without a final inversion.
 */
#ifndef OSFS_BASE_CRC_H
#define OSFS_BASE_CRC_H

#include "base/types.h"

/* CRC32C (Castagnoli), reflected. ext4 and JBD2 start with ~0 or a seed. From ISA-L. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len_bytes);
/*
 * The value from which len_bytes of zeroes lead to crc. Since CRCs are linear, four bytes that
 * make a checksum d differ by d are this of d, over those four and what follows them.
 */
uint32_t crc32c_rewind(uint32_t crc, size_t len_bytes);
/* CRC16 (polynomial 0x8005, reflected) of the group descriptors under gdt_csum; starts with ~0. */
uint16_t crc16(uint16_t crc, const void *buf, size_t len_bytes);

#endif
