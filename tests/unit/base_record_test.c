#include "base_test.h"

static void nothing_is_handled(void **state) {
    (void)state;
    record_reader r;
    record_field f;
    bool more = true;
    buf b;
    buf_init(&b, 100);
    assert_err(record_open(&r, SLICE_NONE, 1), ERR_CORRUPT);
    record_begin(&b, 1);
    record_num(&b, 1, 0);
    record_bytes(&b, 2, SLICE_NONE);
    assert_int_equal(b.len, 1);
    assert_err(record_open(&r, buf_slice(&b), 2), ERR_CORRUPT);
    assert_ok(record_open(&r, buf_slice(&b), 1));
    assert_ok(record_next(&r, &f, &more));
    assert_false(more);
    assert_ok(record_next(&r, &f, &more));
    assert_false(more);
    buf_done(&b);
}

static void fields_round_trip(void **state) {
    (void)state;
    rng r = {14};
    for (int i = 0; i < 5000; i++) {
        struct {
            uint32_t tag;
            uint64_t num;
            uint8_t bytes[40];
            size_t len;
            bool is_bytes;
        } fields[10];
        size_t n = rng_below(&r, ARRAY_LEN(fields) + 1);
        buf b;
        buf_init(&b, 4096);
        record_begin(&b, (uint8_t)i);
        for (size_t k = 0; k < n; k++) {
            fields[k].tag = (uint32_t)(rng_next(&r) >> (32 + rng_below(&r, 32)));
            fields[k].num = 1 | rng_next(&r) >> rng_below(&r, 64);
            fields[k].len = 1 + rng_below(&r, sizeof(fields[k].bytes));
            fields[k].is_bytes = rng_below(&r, 2);
            rng_bytes(&r, fields[k].bytes, fields[k].len);
            if (fields[k].is_bytes)
                record_bytes(&b, fields[k].tag, slice_of(fields[k].bytes, fields[k].len));
            else
                record_num(&b, fields[k].tag, fields[k].num);
        }
        record_reader reader;
        record_field f;
        bool more;
        assert_ok(record_open(&reader, buf_slice(&b), (uint8_t)i));
        for (size_t k = 0; k < n; k++) {
            assert_ok(record_next(&reader, &f, &more));
            assert_true(more);
            assert_int_equal(f.tag, fields[k].tag);
            assert_int_equal(f.is_bytes, fields[k].is_bytes);
            assert_int_equal(f.num, f.is_bytes ? 0 : fields[k].num);
            assert_slice(f.bytes,
                         f.is_bytes ? slice_of(fields[k].bytes, fields[k].len) : SLICE_NONE);
        }
        assert_ok(record_next(&reader, &f, &more));
        assert_false(more);
        buf_done(&b);
    }
}

static void damage_is_found(void **state) {
    (void)state;
    static const slice bad[] = {
        {(const uint8_t *)"\x02", 1}, /* a tag without its number */
        {(const uint8_t *)"\x80", 1}, /* half a tag */
        {(const uint8_t *)"\x03\x05"
                          "abcd",
         6}, /* four bytes of five */
        {(const uint8_t *)"\x03\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11}, /* 2^64 - 1 bytes */
        {(const uint8_t *)"\x82\x80\x80\x80\x20\x01", 6}, /* a tag of 33 bits */
        {(const uint8_t *)"\x82\x00\x01", 3},             /* a tag with a needless byte */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf b;
        record_reader r;
        record_field f = {.tag = 99};
        bool more = true;
        buf_init(&b, 100);
        record_begin(&b, 1);
        buf_put(&b, bad[i]);
        assert_ok(record_open(&r, buf_slice(&b), 1));
        assert_err(record_next(&r, &f, &more), ERR_CORRUPT);
        assert_int_equal(f.tag, 99);
        assert_true(more);
        buf_done(&b);
    }
}

/* Any bytes at all: the reader ends, and every field lies inside. */
static void random_bytes_are_bounded(void **state) {
    (void)state;
    rng r = {15};
    for (int i = 0; i < 50000; i++) {
        size_t n = 1 + rng_below(&r, 40);
        uint8_t *text = malloc(n);
        rng_bytes(&r, text, n);
        text[0] = 1;
        for (size_t k = 1; k < n; k++)
            if (rng_below(&r, 2)) text[k] &= 0x07;
        record_reader reader;
        record_field f;
        bool more = true;
        assert_ok(record_open(&reader, slice_of(text, n), 1));
        for (size_t steps = 0; more && record_next(&reader, &f, &more) == OK; steps++) {
            assert_true(steps < n);
            if (!more || !f.is_bytes) continue;
            assert_true(f.bytes.p >= text && f.bytes.p + f.bytes.len <= text + n);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(fields_round_trip),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(random_bytes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
