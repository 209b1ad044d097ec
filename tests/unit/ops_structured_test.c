/* Structured messages as bytes: made, taken apart in any pieces, and each way of being wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "ops/internal.h"

static uint8_t content[100];
static uint8_t message[4096];

/* With segments of at most `most` bytes, unlike structured_out's, which are large. */
static slice make(size_t len, size_t most, uint32_t segments) {
    uint8_t *p = message;
    uint64_t whole = structured_len(len, segments), crc = 0;
    *p++ = 1;
    for (int i = 0; i < 8; i++) *p++ = (uint8_t)(whole >> 8 * i);
    *p++ = STRUCTURED_FLAG_CRC64, *p++ = 0;
    *p++ = (uint8_t)segments, *p++ = (uint8_t)(segments >> 8);
    size_t at = 0;
    for (uint32_t n = 1; n <= segments; n++) {
        size_t part = len - at < most ? len - at : most;
        uint64_t of_part = crc64(0, slice_of(content + at, part));
        *p++ = (uint8_t)n, *p++ = (uint8_t)(n >> 8);
        for (int i = 0; i < 8; i++) *p++ = (uint8_t)((uint64_t)part >> 8 * i);
        memcpy(p, content + at, part);
        p += part;
        for (int i = 0; i < 8; i++) *p++ = (uint8_t)(of_part >> 8 * i);
        at += part;
    }
    crc = crc64(0, slice_of(content, len));
    for (int i = 0; i < 8; i++) *p++ = (uint8_t)(crc >> 8 * i);
    return slice_of(message, (size_t)(p - message));
}

/* Fed `step` bytes at a time; what comes out, in `out`. */
static err take(slice whole, uint64_t announced, uint64_t len, size_t step, buf *out) {
    structured_in d;
    structured_in_init(&d, announced, len);
    for (slice rest = whole; rest.len > 0;) {
        slice piece = slice_take(rest, step), part;
        rest = slice_skip(rest, step);
        do {
            TRY(structured_in_next(&d, &piece, &part));
            buf_put(out, part);
        } while (part.len > 0);
    }
    return structured_in_end(&d);
}

static void assert_refused(slice whole, uint64_t len, err wanted, const char *says) {
    buf out;
    buf_init(&out, 8192);
    for (size_t step = 1; step < 200; step += 66) {
        buf_reset(&out);
        err e = take(whole, whole.len, len, step, &out);
        if (e != wanted || !strstr(err_detail(), says))
            fail_msg("%s: '%s' is not %s with '%s'", err_get(e)->name, err_detail(),
                     err_get(wanted)->name, says);
    }
    buf_done(&out);
}

static void test_in(void **state) {
    (void)state;
    static const size_t cases[][3] = {{0, 1, 0},    {0, 1, 1},     {1, 1, 1},    {100, 100, 1},
                                      {100, 64, 2}, {100, 1, 100}, {100, 7, 15}, {50, 50, 3}};
    buf out;
    buf_init(&out, 8192);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        slice whole = make(cases[i][0], cases[i][1], (uint32_t)cases[i][2]);
        for (size_t step = 1; step <= whole.len; step++) {
            buf_reset(&out);
            assert_int_equal(
                take(whole, step & 1 ? whole.len : OPS_LEN_UNKNOWN, cases[i][0], step, &out), OK);
            assert_true(slice_eq(buf_slice(&out), slice_of(content, cases[i][0])));
        }
    }
    buf_done(&out);
}

static slice with(slice whole, size_t at, uint8_t value) {
    message[at] = value;
    return whole;
}

static void test_refused(void **state) {
    (void)state;
    const size_t first = STRUCTURED_HEADER_LEN, second = first + 10 + 64 + 8;
#define M make(100, 64, 2)
    assert_refused(with(M, 0, 2), 100, ERR_INVALID_INPUT, "version 2 is not 1");
    assert_refused(with(M, 9, 0), 100, ERR_INVALID_INPUT, "flags are 0");
    assert_refused(with(M, 9, 3), 100, ERR_INVALID_INPUT, "flags are 3");
    assert_refused(with(M, 10, 1), 100, ERR_INVALID_INPUT, "flags are 257");
    assert_refused(with(M, 1, 1), 100, ERR_INVALID_INPUT, "Content-Length says");
    assert_refused(with(M, 11, 3), 100, ERR_INVALID_INPUT, "100 bytes of content in 3 segments");
    assert_refused(with(M, 11, 0), 100, ERR_INVALID_INPUT, "do not make a message");
    assert_refused(M, 101, ERR_INVALID_INPUT, "101 bytes of content");
    assert_refused(M, 99, ERR_INVALID_INPUT, "99 bytes of content");
    assert_refused(M, UINT64_MAX - 20, ERR_INVALID_INPUT, "do not make a message");
    assert_refused(with(M, first, 2), 100, ERR_INVALID_INPUT, "segment 2 stands where segment 1");
    assert_refused(with(M, second, 1), 100, ERR_INVALID_INPUT, "segment 1 stands where segment 2");
    assert_refused(with(M, first + 2, 101), 100, ERR_INVALID_INPUT, "segment 1 has 101 bytes, 100");
    assert_refused(with(M, first + 9, 255), 100, ERR_INVALID_INPUT, "segment 1 has ");
    assert_refused(with(M, second + 2, 35), 100, ERR_INVALID_INPUT, "segment 2 has 35 bytes, 36");
    assert_refused(with(M, first + 12, 0xFF), 100, ERR_CRC64_MISMATCH, "segment 1 does not have");
    assert_refused(with(M, second - 1, 0xFF), 100, ERR_CRC64_MISMATCH, "segment 1 does not have");
    assert_refused(with(M, second + 12, 0xFF), 100, ERR_CRC64_MISMATCH, "segment 2 does not have");
    slice whole = M;
    assert_refused(with(whole, whole.len - 1, (uint8_t)~message[whole.len - 1]), 100,
                   ERR_CRC64_MISMATCH, "at its end");
    buf out;
    buf_init(&out, 8192);
    whole = M;
    for (size_t cut = 0; cut < whole.len; cut++)
        assert_int_equal(take(slice_take(whole, cut), whole.len, 100, 13, &out), ERR_INVALID_INPUT);
    message[whole.len] = 0;
    assert_int_equal(take(slice_of(message, whole.len + 1), whole.len, 100, 13, &out),
                     ERR_INVALID_INPUT);
    assert_non_null(strstr(err_detail(), "goes on after its end"));
    buf_done(&out);
#undef M
}

/* What goes out comes in again, whatever pieces it is asked for in. */
static void assert_round_trip(const uint8_t *p, size_t len, size_t step) {
    structured_out o;
    buf whole, back;
    buf_init(&whole, len + 4096);
    buf_init(&back, len + 4096);
    structured_out_init(&o, len);
    for (;;) {
        slice meta = structured_out_meta(&o, step);
        if (meta.len > 0) {
            buf_put(&whole, meta);
            continue;
        }
        if (o.segment_left == 0) break;
        size_t n = o.segment_left < step ? (size_t)o.segment_left : step;
        slice part = slice_of(p + o.content_done, n);
        buf_put(&whole, part);
        structured_out_content(&o, part);
    }
    assert_int_equal(whole.len, structured_len(len, o.segments));
    assert_int_equal(take(buf_slice(&whole), whole.len, len, step, &back), OK);
    assert_true(slice_eq(buf_slice(&back), slice_of(p, len)));
    buf_done(&whole);
    buf_done(&back);
}

static void test_out(void **state) {
    (void)state;
    static const size_t segment = (size_t)STRUCTURED_SEGMENT_LEN_OUT;
    static const size_t lens[] = {0, 1, 5, 100};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++)
        for (size_t step = 1; step < 40; step++) assert_round_trip(content, lens[i], step);
    uint8_t *large = malloc(2 * segment + 1);
    MUST(large);
    for (size_t i = 0; i < 2 * segment + 1; i++) large[i] = (uint8_t)(i * 2654435761u >> 13);
    static const size_t edges[] = {4194303, 4194304, 4194305, 8388608, 8388609};
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) assert_round_trip(large, edges[i], 65537);
    free(large);
}

/* Their number has two bytes. */
static void test_segments_grow(void **state) {
    (void)state;
    static const uint64_t lens[] = {STRUCTURED_SEGMENT_LEN_OUT * STRUCTURED_SEGMENTS_MAX,
                                    STRUCTURED_SEGMENT_LEN_OUT * STRUCTURED_SEGMENTS_MAX + 1,
                                    (uint64_t)190 << 40, (uint64_t)8 << 40};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        structured_out o;
        structured_out_init(&o, lens[i]);
        assert_true(o.segments <= STRUCTURED_SEGMENTS_MAX);
        assert_true(o.segment_max * o.segments >= lens[i]);
        assert_true(o.segment_max * (o.segments - 1) < lens[i]);
    }
}

int main(void) {
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)(7 * i + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_out),
        cmocka_unit_test(test_segments_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
