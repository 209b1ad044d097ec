#include "base_test.h"

/* The definitions, a bit at a time. */
static uint64_t crc64_by_bits(uint64_t crc, slice s) {
    crc = ~crc;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x9A6C9329AC4BC9B5u : 0);
    }
    return ~crc;
}

static uint32_t crc32c_by_bits(uint32_t crc, slice s) {
    crc = ~crc;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void nothing_is_handled(void **state) {
    (void)state;
    assert_int_equal(crc64(0, SLICE_NONE), 0);
    assert_int_equal(crc64_table(0, SLICE_NONE), 0);
    assert_int_equal(crc64(77, SLICE_NONE), 77);
    assert_int_equal(crc32c(0, SLICE_NONE), 0);
    assert_int_equal(crc32c(77, SLICE_NONE), 77);
    assert_int_equal(crc64_combine(0, 0, 0), 0);
    assert_int_equal(crc64_combine(77, 0, 0), 77);
    assert_int_equal(crc64_combine(0, 77, 123456), 77);
}

static void known_values(void **state) {
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], up[32];
    memset(ones, 0xFF, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) up[i] = i;
    assert_int_equal(crc64(0, S("123456789")), 0xAE8B14860A799888u);
    assert_int_equal(crc64_table(0, S("123456789")), 0xAE8B14860A799888u);
    /* RFC 3720 B.4 */
    assert_int_equal(crc32c(0, S("123456789")), 0xE3069283u);
    assert_int_equal(crc32c(0, slice_of(zeros, 32)), 0x8A9136AAu);
    assert_int_equal(crc32c(0, slice_of(ones, 32)), 0x62A8AB43u);
    assert_int_equal(crc32c(0, slice_of(up, 32)), 0x46DD794Eu);
}

static void agree_with_definition(void) {
    static uint8_t data[6000];
    rng r = {8};
    rng_bytes(&r, data, sizeof(data));
    for (size_t n = 0; n < 1500; n++) {
        slice s = slice_of(data + n % 65, n);
        uint64_t before = n & 1 ? rng_next(&r) : 0;
        uint64_t by_bits = crc64_by_bits(before, s);
        assert_true(crc64(before, s) == by_bits);
        assert_true(crc64_table(before, s) == by_bits);
        uint32_t by_bits32 = crc32c_by_bits((uint32_t)before, s);
        assert_int_equal(crc32c((uint32_t)before, s), by_bits32);
        assert_int_equal(crc32c_table((uint32_t)before, s), by_bits32);
    }
    for (int i = 0; i < 3000; i++) {
        size_t at = rng_below(&r, sizeof(data)), n = rng_below(&r, sizeof(data) - at + 1);
        slice s = slice_of(data + at, n);
        uint64_t before = rng_next(&r);
        assert_true(crc64(before, s) == crc64_table(before, s));
        assert_int_equal(crc32c((uint32_t)before, s), crc32c_table((uint32_t)before, s));
    }
}

/* Every kernel that this processor has. */
static void kernels_agree(void **state) {
    (void)state;
    const unsigned best = checksum_kernels(2);
    for (unsigned level = 0; level <= best; level++) {
        assert_int_equal(checksum_kernels(level), level);
        agree_with_definition();
    }
    assert_int_equal(checksum_kernels(2), best);
}

/* Read in pieces, or combined from the pieces' own: the same. */
static void pieces_make_the_whole(void **state) {
    (void)state;
    static uint8_t data[20000];
    rng r = {9};
    rng_bytes(&r, data, sizeof(data));
    for (int i = 0; i < 300; i++) {
        slice rest = slice_of(data, rng_below(&r, sizeof(data) + 1)), whole = rest;
        uint64_t running = 0, combined = 0;
        uint32_t running32 = 0;
        while (rest.len > 0) {
            slice piece = slice_take(rest, 1 + rng_below(&r, rest.len));
            running = crc64(running, piece);
            running32 = crc32c(running32, piece);
            combined = crc64_combine(combined, crc64(0, piece), piece.len);
            rest = slice_skip(rest, piece.len);
        }
        assert_true(running == crc64(0, whole));
        assert_true(combined == running);
        assert_int_equal(running32, crc32c(0, whole));
    }
}

/* Lengths that no test could read: combining is associative. */
static void combining_great_lengths(void **state) {
    (void)state;
    rng r = {10};
    for (int i = 0; i < 2000; i++) {
        uint64_t a = rng_next(&r), b = rng_next(&r), c = rng_next(&r);
        uint64_t len_b = rng_next(&r) >> (1 + rng_below(&r, 60));
        uint64_t len_c = rng_next(&r) >> (1 + rng_below(&r, 60));
        uint64_t left = crc64_combine(crc64_combine(a, b, len_b), c, len_c);
        uint64_t right = crc64_combine(a, crc64_combine(b, c, len_c), len_b + len_c);
        assert_true(left == right);
    }
    /* All ones as a length, against a step at a time. */
    uint64_t a = rng_next(&r), stepped = a;
    for (unsigned k = 0; k < 64; k++) stepped = crc64_combine(stepped, 0, (uint64_t)1 << k);
    assert_true(crc64_combine(a, 0, UINT64_MAX) == stepped);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),      cmocka_unit_test(known_values),
        cmocka_unit_test(kernels_agree),           cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(combining_great_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
