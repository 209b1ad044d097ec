/* CRC-64/NVME and CRC-32C: table kernels that run anywhere, and kernels of the processor's own
 * instructions chosen once at start.
 *
 * Polynomials are bit-reflected throughout: the lowest bit of the first byte is the highest power.
 * Inside, `state` is the register before the final inversion. */
#include "base/base.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLY64 0x9A6C9329AC4BC9B5u
#define POLY32 0x82F63B78u

static uint64_t table64[8][256];
static uint32_t table32[8][256];
/* x to the power 2^k modulo the polynomial, k = 0..63. */
static uint64_t power64[64];

static uint64_t state64_table(uint64_t state, const uint8_t *p, size_t n);
static uint32_t state32_table(uint32_t state, const uint8_t *p, size_t n);
static uint64_t multiply64_bits(uint64_t a, uint64_t b);

static uint64_t (*state64)(uint64_t, const uint8_t *, size_t) = state64_table;
static uint32_t (*state32)(uint32_t, const uint8_t *, size_t) = state32_table;
static uint64_t (*multiply64)(uint64_t, uint64_t) = multiply64_bits;

static inline uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Eight bytes at once: w * x^64 modulo the polynomial. */
static inline uint64_t step64(uint64_t w) {
    return table64[7][w & 0xFF] ^ table64[6][w >> 8 & 0xFF] ^ table64[5][w >> 16 & 0xFF] ^
           table64[4][w >> 24 & 0xFF] ^ table64[3][w >> 32 & 0xFF] ^ table64[2][w >> 40 & 0xFF] ^
           table64[1][w >> 48 & 0xFF] ^ table64[0][w >> 56];
}

static uint64_t state64_table(uint64_t state, const uint8_t *p, size_t n) {
    for (; n >= 8; p += 8, n -= 8) state = step64(state ^ load64(p));
    for (; n > 0; p++, n--) state = table64[0][(state ^ *p) & 0xFF] ^ state >> 8;
    return state;
}

static uint32_t state32_table(uint32_t state, const uint8_t *p, size_t n) {
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w = load64(p) ^ state;
        state = table32[7][w & 0xFF] ^ table32[6][w >> 8 & 0xFF] ^ table32[5][w >> 16 & 0xFF] ^
                table32[4][w >> 24 & 0xFF] ^ table32[3][w >> 32 & 0xFF] ^
                table32[2][w >> 40 & 0xFF] ^ table32[1][w >> 48 & 0xFF] ^ table32[0][w >> 56];
    }
    for (; n > 0; p++, n--) state = table32[0][(state ^ *p) & 0xFF] ^ state >> 8;
    return state;
}

/* a * b modulo the polynomial, one bit of b a step. */
static uint64_t multiply64_bits(uint64_t a, uint64_t b) {
    uint64_t product = 0;
    for (uint64_t bit = (uint64_t)1 << 63; bit != 0; bit >>= 1) {
        if (b & bit) product ^= a;
        a = a >> 1 ^ (a & 1 ? POLY64 : 0);
    }
    return product;
}

#if defined(__x86_64__)
/* Folding: a 128-bit block B that stands d bits before another can be moved onto it as
 * low(B) * x^(d+64) + high(B) * x^d. The product of two reflected words comes out multiplied by x,
 * so the constants are one power less. */
#define FOLD_512 _mm_set_epi64x((long long)0x62242240ACE5045Au, (long long)0x0C32CDB31E18A84Au)
#define FOLD_128 _mm_set_epi64x((long long)0x21E9761E252621ACu, (long long)0xEADC41FD2BA3D420u)

__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(__m128i b, __m128i by,
                                                                    __m128i onto) {
    __m128i low = _mm_clmulepi64_si128(b, by, 0x00);
    __m128i high = _mm_clmulepi64_si128(b, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

__attribute__((target("pclmul,sse4.1"))) static inline __m128i load128(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i_u *)(const void *)p);
}

__attribute__((target("pclmul,sse4.1"))) static uint64_t state64_clmul(uint64_t state,
                                                                       const uint8_t *p, size_t n) {
    if (n < 128) return state64_table(state, p, n);
    __m128i a = _mm_xor_si128(load128(p), _mm_set_epi64x(0, (long long)state));
    __m128i b = load128(p + 16), c = load128(p + 32), d = load128(p + 48);
    for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
        a = fold(a, FOLD_512, load128(p));
        b = fold(b, FOLD_512, load128(p + 16));
        c = fold(c, FOLD_512, load128(p + 32));
        d = fold(d, FOLD_512, load128(p + 48));
    }
    a = fold(fold(fold(a, FOLD_128, b), FOLD_128, c), FOLD_128, d);
    for (; n >= 16; p += 16, n -= 16) a = fold(a, FOLD_128, load128(p));
    /* What is left is congruent to all that was read: sixteen bytes, from an empty register. */
    state = step64(step64((uint64_t)_mm_cvtsi128_si64(a)) ^ (uint64_t)_mm_extract_epi64(a, 1));
    return state64_table(state, p, n);
}

__attribute__((target("pclmul,sse4.1"))) static uint64_t multiply64_clmul(uint64_t a, uint64_t b) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)a),
                                           _mm_set_epi64x(0, (long long)b), 0x00);
    uint64_t low = (uint64_t)_mm_cvtsi128_si64(product);
    uint64_t high = (uint64_t)_mm_extract_epi64(product, 1);
    /* Divided by the x too many, then the upper half of the powers brought down. */
    return step64(low << 1) ^ (high << 1 | low >> 63);
}

__attribute__((target("sse4.2"))) static uint32_t state32_sse42(uint32_t state, const uint8_t *p,
                                                                size_t n) {
    uint64_t wide = state;
    for (; n >= 8; p += 8, n -= 8) wide = _mm_crc32_u64(wide, load64(p));
    state = (uint32_t)wide;
    for (; n > 0; p++, n--) state = _mm_crc32_u8(state, *p);
    return state;
}
#endif

__attribute__((constructor)) static void prepare(void) {
    for (unsigned i = 0; i < 256; i++) {
        uint64_t wide = i;
        uint32_t narrow = i;
        for (int bit = 0; bit < 8; bit++) {
            wide = wide >> 1 ^ (wide & 1 ? POLY64 : 0);
            narrow = narrow >> 1 ^ (narrow & 1 ? POLY32 : 0);
        }
        table64[0][i] = wide;
        table32[0][i] = narrow;
    }
    for (unsigned k = 1; k < 8; k++) {
        for (unsigned i = 0; i < 256; i++) {
            uint64_t wide = table64[k - 1][i];
            uint32_t narrow = table32[k - 1][i];
            table64[k][i] = table64[0][wide & 0xFF] ^ wide >> 8;
            table32[k][i] = table32[0][narrow & 0xFF] ^ narrow >> 8;
        }
    }
    power64[0] = (uint64_t)1 << 62;
    for (unsigned k = 1; k < 64; k++) power64[k] = multiply64_bits(power64[k - 1], power64[k - 1]);
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        state64 = state64_clmul;
        multiply64 = multiply64_clmul;
    }
    if (__builtin_cpu_supports("sse4.2")) state32 = state32_sse42;
#endif
}

uint64_t crc64(uint64_t crc, slice data) {
    return ~state64(~crc, data.p, data.len);
}

uint64_t crc64_table(uint64_t crc, slice data) {
    return ~state64_table(~crc, data.p, data.len);
}

/* crc_a * x^(8 * len_b) + crc_b: the inversions before and after cancel out. */
uint64_t crc64_combine(uint64_t crc_a, uint64_t crc_b, uint64_t len_b) {
    /* The exponent has up to 67 bits: past the table's last power, squaring goes on. */
    uint64_t shifted = crc_a;
    for (unsigned k = 3; len_b != 0 && k < 64; k++, len_b >>= 1)
        if (len_b & 1) shifted = multiply64(shifted, power64[k]);
    uint64_t power = power64[63];
    for (; len_b != 0; len_b >>= 1) {
        power = multiply64(power, power);
        if (len_b & 1) shifted = multiply64(shifted, power);
    }
    return shifted ^ crc_b;
}

uint32_t crc32c(uint32_t crc, slice data) {
    return ~state32(~crc, data.p, data.len);
}

uint32_t crc32c_table(uint32_t crc, slice data) {
    return ~state32_table(~crc, data.p, data.len);
}
