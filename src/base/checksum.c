/* CRC-64/NVME and CRC-32C: table kernels that run anywhere, and kernels of the processor's own
 * instructions chosen once at start.
 *
 * Polynomials are bit-reflected throughout: the lowest bit of the first byte is the highest power.
 * Inside, `state` is the register before the final inversion. */
#include <limits.h>

#include "base/base.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLY64 0x9A6C9329AC4BC9B5u
#define POLY32 0x82F63B78u

static uint64_t table64[8][256];
static uint32_t table32[8][256];
/* x to the power 2^k modulo the 64-bit polynomial, k = 0..63. */
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
#define NARROW __attribute__((target("pclmul,sse4.2")))
#define WIDE   __attribute__((target("pclmul,sse4.2,avx512f,avx512dq,vpclmulqdq")))

/* Folding: a 128-bit block B that stands d bits before another can be moved onto it as
 * low(B) * x^(d+64) + high(B) * x^d. The product of two reflected words comes out multiplied by x,
 * so the constants are one power less. A pair: that of the low word, that of the high one. */
typedef struct folds {
    uint64_t by_2048[2], by_512[2], by_128[2];
} folds;
static folds folds64, folds32;

/* What a long input comes to: sixteen bytes congruent to all of it. */
typedef struct residue {
    uint64_t low, high;
} residue;

/* x^exponent modulo the polynomial, in the place of a reflected word of 64 bits. */
static uint64_t power_of_x(uint64_t poly, unsigned width, unsigned exponent) {
    uint64_t v = (uint64_t)1 << (width - 1);
    for (; exponent > 0; exponent--) v = v >> 1 ^ (v & 1 ? poly : 0);
    return v << (64 - width);
}

static void folds_prepare(folds *f, uint64_t poly, unsigned width) {
    uint64_t *const pairs[] = {f->by_2048, f->by_512, f->by_128};
    static const unsigned distances[] = {2048, 512, 128};
    for (unsigned i = 0; i < 3; i++) {
        pairs[i][0] = power_of_x(poly, width, distances[i] + 63);
        pairs[i][1] = power_of_x(poly, width, distances[i] - 1);
    }
}

NARROW static inline __m128i fold(__m128i b, __m128i by, __m128i onto) {
    __m128i low = _mm_clmulepi64_si128(b, by, 0x00);
    __m128i high = _mm_clmulepi64_si128(b, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

NARROW static inline __m128i load128(const void *p) {
    return _mm_loadu_si128((const __m128i_u *)p);
}

/* Folds the four blocks onto the last, then what whole blocks follow. */
NARROW static inline residue fold_rest(const folds *f, __m128i a, __m128i b, __m128i c, __m128i d,
                                       const uint8_t **p, size_t *n) {
    const __m128i by = load128(f->by_128);
    a = fold(fold(fold(a, by, b), by, c), by, d);
    for (; *n >= 16; *p += 16, *n -= 16) a = fold(a, by, load128(*p));
    return (residue){(uint64_t)_mm_cvtsi128_si64(a), (uint64_t)_mm_extract_epi64(a, 1)};
}

/* At least 64 bytes; state is the register before them. Fewer than 16 are left. */
NARROW static residue fold_narrow(const folds *f, uint64_t state, const uint8_t **p, size_t *n) {
    const __m128i by = load128(f->by_512);
    const uint8_t *q = *p;
    size_t left = *n - 64;
    __m128i a = _mm_xor_si128(load128(q), _mm_set_epi64x(0, (long long)state));
    __m128i b = load128(q + 16), c = load128(q + 32), d = load128(q + 48);
    for (q += 64; left >= 64; q += 64, left -= 64) {
        a = fold(a, by, load128(q));
        b = fold(b, by, load128(q + 16));
        c = fold(c, by, load128(q + 32));
        d = fold(d, by, load128(q + 48));
    }
    *p = q;
    *n = left;
    return fold_rest(f, a, b, c, d, p, n);
}

WIDE static inline __m512i fold_4(__m512i b, __m512i by, __m512i onto) {
    __m512i low = _mm512_clmulepi64_epi128(b, by, 0x00);
    __m512i high = _mm512_clmulepi64_epi128(b, by, 0x11);
    return _mm512_ternarylogic_epi64(low, high, onto, 0x96); /* exclusive or of the three */
}

/* The same for at least 256 bytes, with sixteen blocks under way. */
WIDE static residue fold_wide(const folds *f, uint64_t state, const uint8_t **p, size_t *n) {
    __m512i by = _mm512_broadcast_i64x2(load128(f->by_2048));
    const uint8_t *q = *p;
    size_t left = *n - 256;
    __m512i a = _mm512_xor_si512(_mm512_loadu_si512(q),
                                 _mm512_zextsi128_si512(_mm_set_epi64x(0, (long long)state)));
    __m512i b = _mm512_loadu_si512(q + 64), c = _mm512_loadu_si512(q + 128);
    __m512i d = _mm512_loadu_si512(q + 192);
    for (q += 256; left >= 256; q += 256, left -= 256) {
        a = fold_4(a, by, _mm512_loadu_si512(q));
        b = fold_4(b, by, _mm512_loadu_si512(q + 64));
        c = fold_4(c, by, _mm512_loadu_si512(q + 128));
        d = fold_4(d, by, _mm512_loadu_si512(q + 192));
    }
    by = _mm512_broadcast_i64x2(load128(f->by_512));
    a = fold_4(fold_4(fold_4(a, by, b), by, c), by, d);
    *p = q;
    *n = left;
    return fold_rest(f, _mm512_castsi512_si128(a), _mm512_extracti64x2_epi64(a, 1),
                     _mm512_extracti64x2_epi64(a, 2), _mm512_extracti64x2_epi64(a, 3), p, n);
}

/* The residue, read from an empty register, and then the bytes that are left. */
static uint64_t state64_end(residue r, const uint8_t *p, size_t n) {
    return state64_table(step64(step64(r.low) ^ r.high), p, n);
}

static uint64_t state64_clmul(uint64_t state, const uint8_t *p, size_t n) {
    if (n < 128) return state64_table(state, p, n);
    residue r = fold_narrow(&folds64, state, &p, &n);
    return state64_end(r, p, n);
}

static uint64_t state64_wide(uint64_t state, const uint8_t *p, size_t n) {
    if (n < 512) return state64_clmul(state, p, n);
    residue r = fold_wide(&folds64, state, &p, &n);
    return state64_end(r, p, n);
}

NARROW static uint64_t multiply64_clmul(uint64_t a, uint64_t b) {
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)a),
                                           _mm_set_epi64x(0, (long long)b), 0x00);
    uint64_t low = (uint64_t)_mm_cvtsi128_si64(product);
    uint64_t high = (uint64_t)_mm_extract_epi64(product, 1);
    /* Divided by the x too many, then the upper half of the powers brought down. */
    return step64(low << 1) ^ (high << 1 | low >> 63);
}

NARROW static uint32_t state32_sse42(uint32_t state, const uint8_t *p, size_t n) {
    uint64_t wide = state;
    for (; n >= 8; p += 8, n -= 8) wide = _mm_crc32_u64(wide, load64(p));
    state = (uint32_t)wide;
    for (; n > 0; p++, n--) state = _mm_crc32_u8(state, *p);
    return state;
}

NARROW static uint32_t state32_end(residue r, const uint8_t *p, size_t n) {
    return state32_sse42((uint32_t)_mm_crc32_u64(_mm_crc32_u64(0, r.low), r.high), p, n);
}

static uint32_t state32_clmul(uint32_t state, const uint8_t *p, size_t n) {
    if (n < 512) return state32_sse42(state, p, n);
    residue r = fold_narrow(&folds32, state, &p, &n);
    return state32_end(r, p, n);
}

static uint32_t state32_wide(uint32_t state, const uint8_t *p, size_t n) {
    if (n < 512) return state32_sse42(state, p, n);
    residue r = fold_wide(&folds32, state, &p, &n);
    return state32_end(r, p, n);
}

static unsigned kernels_there(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.2")) return 0;
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("vpclmulqdq");
    return wide ? 2 : 1;
}

unsigned checksum_kernels(unsigned most) {
    static uint64_t (*const of64[])(uint64_t, const uint8_t *,
                                    size_t) = {state64_table, state64_clmul, state64_wide};
    static uint32_t (*const of32[])(uint32_t, const uint8_t *,
                                    size_t) = {state32_table, state32_clmul, state32_wide};
    unsigned level = kernels_there();
    if (level > most) level = most;
    state64 = of64[level];
    state32 = of32[level];
    multiply64 = level > 0 ? multiply64_clmul : multiply64_bits;
    return level;
}
#else
unsigned checksum_kernels(unsigned most) {
    (void)most;
    return 0;
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
    folds_prepare(&folds64, POLY64, 64);
    folds_prepare(&folds32, POLY32, 32);
#endif
    checksum_kernels(UINT_MAX);
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
