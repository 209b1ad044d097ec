/* Keys and rows: their order, their round trip, and what damage does to them. */
#include "store_test.h"

#include "memory_engine.c"

static void test_ids(void **state) {
    (void)state;
    uint64_t ids[] = {0, 1, 31, 32, 1023, 1ull << 32, UINT64_MAX - 1, UINT64_MAX}, back;
    uint8_t a[KEY_ID_LEN], b[KEY_ID_LEN];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        id_put(a, ids[i]);
        slice s = slice_of(a, sizeof a);
        assert_ok(id_take(&s, &back));
        assert_true(back == ids[i] && s.len == 0);
        if (i) assert_true(memcmp(b, a, sizeof a) < 0);
        memcpy(b, a, sizeof a);
    }
    static const char *bad[] = {"",
                                "000000000000",
                                "00000000000 0",
                                "g000000000000",
                                "000000000000w",
                                "000000000000A",
                                "00000000000:0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        slice s = slice_str(bad[i]);
        assert_err(id_take(&s, &back), ERR_CORRUPT);
    }
}

/* The keys of two blobs never mix, and sort as the names do. */
static void test_names(void **state) {
    (void)state;
    rng r = {3};
    static const char alphabet[] = "ab\x01\x02\x7f\xc3";
    for (int i = 0; i < 20000; i++) {
        uint8_t x[8], y[8], out[16];
        slice a = slice_of(x, 1 + rng_below(&r, 7)), b = slice_of(y, 1 + rng_below(&r, 7));
        for (size_t j = 0; j < 8; j++) {
            x[j] = (uint8_t)alphabet[rng_below(&r, 6)];
            y[j] = (uint8_t)alphabet[rng_below(&r, 6)];
        }
        blob_key ka, kb;
        key_blob(&ka, 7, a);
        key_blob(&kb, 7, b);
        int names = slice_cmp(a, b), keys = slice_cmp(key_state(&ka), key_state(&kb));
        assert_true((names < 0) == (keys < 0) && (names == 0) == (keys == 0));
        if (names) {
            assert_false(slice_starts(key_base(&ka), key_base(&kb)));
            assert_true((slice_cmp(key_marker(&ka), key_state(&kb)) < 0) == (names < 0));
        }
        slice rest = slice_skip(key_manifest(&ka, 5, 6, 7), KEY_ID_LEN), escaped;
        assert_ok(name_take(&rest, &escaped));
        assert_slice(name_unescape(out, escaped), a);
        assert_int_equal(rest.p[0], KEY_MANIFEST);
        assert_null(memchr(ka.b, 0, 1 + ka.base));
    }
    slice escaped, no_end = S("abc\x01\x02"), cut = S("abc\x01");
    assert_err(name_take(&no_end, &escaped), ERR_CORRUPT);
    assert_err(name_take(&cut, &escaped), ERR_CORRUPT);
}

static void test_manifest_order(void **state) {
    (void)state;
    blob_key a, b;
    key_blob(&a, 1, S("x"));
    key_blob(&b, 1, S("x"));
    uint64_t ends[] = {0, 1, 15, 16, 255, 1ull << 40, UINT64_MAX};
    for (size_t i = 1; i < ARRAY_LEN(ends); i++)
        assert_true(
            slice_cmp(key_manifest(&a, 9, ends[i - 1], 97), key_manifest(&b, 9, ends[i], 0)) < 0);
    assert_true(slice_cmp(key_manifest(&a, 9, 5, 1), key_manifest(&b, 9, 5, 2)) < 0);
    /* Bytes of ids that are NUL or FF are written as digits. */
    uint8_t id[64];
    memset(id, 0xff, sizeof id);
    slice k = key_staged(&a, UINT64_MAX, slice_of(id, sizeof id));
    assert_true(k.len <= ENGINE_KEY_MAX && !memchr(k.p, 0xff, k.len));
    assert_true(slice_starts(k, key_staged_all(&b, UINT64_MAX)));
}

static slice some(arena *a, rng *r, size_t max) {
    return content(a, rng_next(r), rng_below(r, max));
}

static row_blob random_blob(arena *a, rng *r) {
    row_blob b = {
        .pub = {.content_id = rng_next(r) | 1,
                .etag = rng_next(r),
                .created_us = (int64_t)(rng_next(r) >> 12),
                .modified_us = (int64_t)(rng_next(r) >> 12),
                .has_crc64 = rng_below(r, 2),
                .crc64 = rng_next(r),
                .tier = (store_tier)rng_below(r, 6),
                .tier_changed_us = rng_below(r, 2) ? STORE_TIME_NONE : 77,
                .http = {.content_type = some(a, r, 300), .cache_control = some(a, r, 20)}},
        .where = (row_where)rng_below(r, ROW_WHERE_COUNT),
        .metadata = some(a, r, 200)};
    if (rng_below(r, 2)) b.md5 = content(a, 5, 16);
    if (b.where != ROW_EMPTY) b.pub.length = 1 + rng_next(r) / 2;
    if (b.where == ROW_INLINE || b.where == ROW_STREAM) b.wrapped = content(a, 1, 40);
    if (b.where == ROW_STREAM) b.ref = content(a, 2, 1 + rng_below(r, 100));
    b.pub.type = b.where == ROW_PAGES ? STORE_PAGE_BLOB
                 : rng_below(r, 2)    ? STORE_APPEND_BLOB
                                      : STORE_BLOCK_BLOB;
    b.pub.sealed = b.pub.type == STORE_APPEND_BLOB && rng_below(r, 2);
    if (b.where == ROW_PAGES) {
        b.pub.length -= b.pub.length % STORE_PAGE_LEN;
        b.pub.sequence = rng_next(r);
        b.generation = rng_next(r);
    }
    return b;
}

static void assert_same_blob(const row_blob *a, const row_blob *b) {
    assert_true(a->pub.content_id == b->pub.content_id && a->pub.etag == b->pub.etag);
    assert_true(a->pub.length == b->pub.length && a->pub.crc64 == b->pub.crc64);
    assert_true(a->pub.created_us == b->pub.created_us && a->pub.modified_us == b->pub.modified_us);
    assert_true(a->pub.tier == b->pub.tier && a->pub.tier_changed_us == b->pub.tier_changed_us);
    assert_true(a->pub.type == b->pub.type && a->pub.sealed == b->pub.sealed);
    assert_true(a->pub.sequence == b->pub.sequence && a->generation == b->generation);
    assert_true(a->where == b->where && a->pub.has_crc64 == b->pub.has_crc64);
    assert_slice(a->pub.http.content_type, b->pub.http.content_type);
    assert_slice(a->pub.http.cache_control, b->pub.http.cache_control);
    assert_slice(a->md5, b->md5);
    assert_slice(a->metadata, b->metadata);
    assert_slice(a->wrapped, b->wrapped);
    assert_slice(a->ref, b->ref);
}

static void test_blob_row(void **state) {
    (void)state;
    rng r = {17};
    arena *a = arena_new(4096, 0);
    for (int i = 0; i < 2000; i++) {
        arena_reset(a);
        row_blob b = random_blob(a, &r), c;
        slice v = ROW_ENCODE(blob, a, &b);
        assert_ok(row_blob_get(v, &c));
        assert_same_blob(&b, &c);
        /* Cut or changed at any place: an error or a row, never more. */
        for (int j = 0; j < 20; j++) {
            uint8_t *p = arena_alloc(a, v.len);
            memcpy(p, v.p, v.len);
            p[rng_below(&r, v.len)] ^= (uint8_t)(1u << rng_below(&r, 8));
            err e = row_blob_get(slice_of(p, rng_below(&r, 4) ? v.len : rng_below(&r, v.len)), &c);
            assert_true(e == OK || e == ERR_CORRUPT);
        }
    }
    arena_free(a);
}

/* A field that this program does not know is passed over. */
static void test_unknown_fields(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    row_staging st = {.session = 5, .count = 6, .id_len = 7, .changed_us = 8}, back;
    buf b;
    buf_init_arena(&b, a, 1000);
    row_staging_put(&b, &st);
    record_num(&b, 1000, 77);
    record_bytes(&b, 63, S("later"));
    record_bytes(&b, 64, S("later"));
    record_num(&b, 60, UINT64_MAX);
    assert_ok(row_staging_get(buf_slice(&b), &back));
    assert_true(back.session == 5 && back.count == 6 && back.id_len == 7 && back.changed_us == 8);
    b.p[0] = 2; /* another version */
    assert_err(row_staging_get(buf_slice(&b), &back), ERR_CORRUPT);
    /* Numbers that do not fit their members, and the wrong kind of field. */
    buf_reset(&b);
    record_begin(&b, 1);
    record_num(&b, 1, 5);
    record_num(&b, 2, 1ull << 32);
    record_num(&b, 3, 1);
    assert_err(row_staging_get(buf_slice(&b), &back), ERR_CORRUPT);
    buf_reset(&b);
    record_begin(&b, 1);
    record_bytes(&b, 1, S("5"));
    assert_err(row_staging_get(buf_slice(&b), &back), ERR_CORRUPT);
    arena_free(a);
}

static void test_blocks_and_waste(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    buf b;
    buf_init_arena(&b, a, 10000);
    row_block blocks[] = {
        {.id = S("a")},
        {.id = S("bb"),
         .piece =
             {.id = 5, .len = 10, .crc64 = 3, .where = ROW_INLINE, .wrapped = content(a, 1, 40)},
         .repeat = true},
        {.id = S("\0\xff"),
         .piece = {.id = UINT64_MAX,
                   .len = 1ull << 40,
                   .crc64 = UINT64_MAX,
                   .where = ROW_STREAM,
                   .wrapped = content(a, 2, 40),
                   .ref = S("ref")}}};
    for (size_t i = 0; i < 3; i++) row_block_put(&b, &blocks[i]);
    slice s = buf_slice(&b);
    for (size_t i = 0; i < 3; i++) {
        row_block r;
        assert_ok(row_block_take(&s, &r));
        assert_slice(r.id, blocks[i].id);
        assert_true(r.piece.id == blocks[i].piece.id && r.piece.len == blocks[i].piece.len);
        assert_true(r.piece.crc64 == blocks[i].piece.crc64 && r.repeat == blocks[i].repeat);
        assert_slice(r.piece.ref, blocks[i].piece.ref);
        assert_slice(r.piece.wrapped, blocks[i].piece.wrapped);
    }
    assert_int_equal(s.len, 0);
    for (size_t n = 0; n < b.len; n++) { /* cut anywhere */
        row_block r;
        s = slice_take(buf_slice(&b), n);
        while (s.len && row_block_take(&s, &r) == OK) continue;
    }
    buf_reset(&b);
    row_waste_put(&b, &blocks[1].piece);
    row_waste_put(&b, &blocks[2].piece);
    s = buf_slice(&b);
    row_piece p;
    assert_ok(row_waste_take(&s, &p));
    assert_true(p.where == ROW_INLINE && p.id == 5);
    assert_ok(row_waste_take(&s, &p));
    assert_slice(p.ref, S("ref"));
    s = S("\x00\x01\x00");
    assert_err(row_waste_take(&s, &p), ERR_CORRUPT);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_manifest_order),
        cmocka_unit_test(test_blob_row),
        cmocka_unit_test(test_unknown_fields),
        cmocka_unit_test(test_blocks_and_waste),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
