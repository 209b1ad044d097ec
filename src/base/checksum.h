/* Checksums: not secret, not cryptographic (except MD5, which the protocol wants; see crypto/). */
#pragma once

#include "base/slice.h"

/* CRC-64/NVME: poly 0xAD93D23594C93659 (0x9A6C9329AC4BC9B5 reflected), init and xorout all ones.
 * "123456789" -> 0xAE8B14860A799888. On the wire: base64 of the little-endian bytes.
 * crc is the value of what came before (0 to start). */
uint64_t crc64(uint64_t crc, slice data);
/* The CRC of a||b from theirs: combining instead of reading again. */
uint64_t crc64_combine(uint64_t crc_a, uint64_t crc_b, uint64_t len_b);
/* CRC-32C (Castagnoli), for on-disk headers. crc: 0 to start. */
uint32_t crc32c(uint32_t crc, slice data);

/* For tests, before threads start: use at most these kernels (0 tables, 1 instructions of 128 bits, 2 of
 * 512 bits). Returns what is in use. */
unsigned checksum_kernels(unsigned most);
/* The portable kernels, whatever the processor has: for tests that compare. */
uint64_t crc64_table(uint64_t crc, slice data);
uint32_t crc32c_table(uint32_t crc, slice data);
