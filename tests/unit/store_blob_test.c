/* Blobs put whole: sizes, properties, overwriting, deleting, readers. */
#include "store_test.h"

#include "memory_engine.c"

static void test_sizes(void **state) {
    fixture *f = *state;
    static const size_t sizes[] = {0,     1,     100,   16383, 16384,  16385,  32767,  32768,
                                   32769, 49152, 65536, 65537, 262144, 300000, 1048576};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        slice data = content(f->c.arena, i + 1, sizes[i]);
        slice name = arena_fmt(f->c.arena, "blob-%zu", sizes[i]);
        store_blob b = put(f, name, data), g;
        assert_int_equal(b.length, sizes[i]);
        assert_true(b.has_crc64 && b.crc64 == crc64(0, data));
        assert_ok(store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &g));
        assert_true(g.etag == b.etag && g.content_id == b.content_id && g.crc64 == b.crc64);
        assert_slice(g.http.content_type, S("text/plain"));
        assert_slice(get(f, name), data);
        assert_slice(get_sized(f, name, 16384), data);
        assert_slice(get_sized(f, name, 1000), data);
    }
    fixture_restart(f);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_slice(get(f, arena_fmt(f->c.arena, "blob-%zu", sizes[i])),
                     content(f->c.arena, i + 1, sizes[i]));
}

static void test_unknown_length(void **state) {
    fixture *f = *state;
    static const size_t sizes[] = {0, 1, 32768, 32769, 200000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        slice data = content(f->c.arena, i, sizes[i]);
        store_upload *u = upload(f, data, ENGINE_LEN_UNKNOWN);
        assert_int_equal(store_upload_len(u), sizes[i]);
        assert_true(store_upload_crc64(u) == crc64(0, data));
        uint8_t md5[16], expected[16];
        store_upload_md5(u, md5);
        crypto_md5(data, expected);
        assert_memory_equal(md5, expected, 16);
        store_blob b;
        store_put p = {0};
        assert_ok(store_blob_put(f->s, f->c, f->k, S("x"), u, &p, &b));
        assert_slice(get(f, S("x")), data);
    }
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
}

static void test_ranges(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 3, 400000);
    put(f, S("x"), data);
    store_blob b;
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &r));
    rng random = {5};
    static uint8_t out[300000];
    for (int i = 0; i < 300; i++) {
        uint64_t at = rng_below(&random, data.len + 10);
        size_t cap = 1 + rng_below(&random, i % 2 ? 300000 : 20000), n;
        assert_ok(store_reader_read(r, at, out, cap, i % 3 == 0, &n));
        if (at >= data.len) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_true(n > 0 && n <= cap && at + n <= data.len);
        assert_memory_equal(out, data.p + at, n);
    }
    store_reader_free(r);
}

static void test_upload_limits(void **state) {
    fixture *f = *state;
    store_upload *u;
    assert_err(store_upload_new(f->s, f->k, 101, 100, 0, &u), ERR_REQUEST_BODY_TOO_LARGE);
    assert_ok(store_upload_new(f->s, f->k, ENGINE_LEN_UNKNOWN, 100, 0, &u));
    assert_ok(store_upload_write(u, content(f->c.arena, 1, 100)));
    assert_err(store_upload_write(u, S("x")), ERR_REQUEST_BODY_TOO_LARGE);
    store_upload_free(u);
    assert_ok(store_upload_new(f->s, f->k, 50, 100, 0, &u));
    assert_ok(store_upload_write(u, content(f->c.arena, 1, 49)));
    assert_err(store_upload_finish(u), ERR_INVALID_INPUT); /* shorter than announced */
    store_upload_free(u);
    assert_ok(store_upload_new(f->s, f->k, 50000, 100000, 0, &u));
    assert_ok(store_upload_write(u, content(f->c.arena, 1, 50000)));
    assert_err(store_upload_write(u, S("x")), ERR_INVALID_INPUT); /* longer than announced */
    store_upload_free(u);
    store_stats st;
    store_get_stats(f->s, &st);
    assert_int_equal(st.uploads_open, 0);
    assert_int_equal(memory_disk_streams(f->disk), 0);
}

static void test_properties(void **state) {
    fixture *f = *state;
    pair meta[] = {{S("one"), S("1")}, {S("Two"), S("")}, {S("three"), S("\xc3\xa9")}};
    store_put p = {.http = {.content_type = S("a/b"),
                            .content_encoding = S("gzip"),
                            .content_language = S("de"),
                            .content_disposition = S("inline"),
                            .cache_control = S("no-store"),
                            .has_md5 = true,
                            .md5 = {1, 2, 3}},
                   .metadata = meta,
                   .metadata_count = 3,
                   .tier = STORE_TIER_COOL};
    store_upload *u = upload(f, S("hello"), 5);
    store_blob b;
    assert_ok(store_blob_put(f->s, f->c, f->k, S("p"), u, &p, &b));
    fixture_restart(f);
    assert_ok(store_blob_get(f->s, f->c, f->k, S("p"), STORE_CURRENT, NULL, &b));
    assert_slice(b.name, S("p"));
    assert_slice(b.http.content_type, S("a/b"));
    assert_slice(b.http.content_encoding, S("gzip"));
    assert_slice(b.http.content_language, S("de"));
    assert_slice(b.http.content_disposition, S("inline"));
    assert_slice(b.http.cache_control, S("no-store"));
    assert_true(b.http.has_md5 && b.http.md5[0] == 1 && b.http.md5[2] == 3 && b.http.md5[15] == 0);
    assert_int_equal(b.tier, STORE_TIER_COOL);
    assert_true(b.tier_changed_us == b.modified_us);
    assert_int_equal(b.metadata_count, 3);
    assert_slice(b.metadata[1].name, S("Two"));
    assert_slice(b.metadata[1].value, S(""));
    assert_slice(b.metadata[2].value, S("\xc3\xa9"));

    store_blob c;
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("p"), NULL, meta, 1, &c));
    assert_int_equal(c.metadata_count, 1);
    assert_true(c.etag > b.etag && c.created_us == b.created_us);
    assert_slice(c.http.content_type, S("a/b"));
    store_http http = {.content_language = S("fr")};
    assert_ok(store_blob_set_http(f->s, f->c, f->k, S("p"), NULL, &http, &b));
    assert_slice(b.http.content_type, S(""));
    assert_slice(b.http.content_language, S("fr"));
    assert_false(b.http.has_md5);
    assert_int_equal(b.metadata_count, 1);
    assert_slice(get(f, S("p")), S("hello"));

    static uint8_t big[STORE_METADATA_MAX];
    memset(big, 'x', sizeof big);
    pair edge = {S("k"), slice_of(big, sizeof big - 1)},
         over = {S("kk"), slice_of(big, sizeof big - 1)};
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("p"), NULL, &edge, 1, &b));
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, S("p"), NULL, &over, 1, &b),
               ERR_METADATA_TOO_LARGE);
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, S("none"), NULL, meta, 1, &b),
               ERR_BLOB_NOT_FOUND);
}

static void test_overwrite_and_delete(void **state) {
    fixture *f = *state;
    slice small = content(f->c.arena, 1, 1000), large = content(f->c.arena, 2, 100000);
    store_blob a = put(f, S("x"), small), b = put(f, S("x"), large), c = put(f, S("x"), small);
    assert_true(a.etag < b.etag && b.etag < c.etag);
    assert_true(a.content_id != b.content_id && b.content_id != c.content_id);
    assert_true(a.created_us == c.created_us);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 1);
    assert_int_equal(memory_disk_streams(f->disk), 1); /* the reaper has not run */
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
    assert_slice(get(f, S("x")), small);
    put(f, S("y"), large);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("y"), NULL, NULL, NULL));
    assert_err(store_blob_delete(f->s, f->c, f->k, S("y"), NULL, NULL, NULL), ERR_BLOB_NOT_FOUND);
    assert_err(exists(f, S("x")), ERR_BLOB_NOT_FOUND);
    /* Garbage outlives a restart. */
    assert_int_equal(memory_disk_streams(f->disk), 1);
    fixture_restart(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    for (int t = 1; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(f->disk, (engine_table)t), 0);
}

static void test_reader_outlives_overwrite(void **state) {
    fixture *f = *state;
    slice old = content(f->c.arena, 1, 200000), new = content(f->c.arena, 2, 200000);
    put(f, S("x"), old);
    store_blob b;
    store_reader *first, *second;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &first));
    put(f, S("x"), new);
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &second));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 2);
    assert_slice(read_all(f, first, old.len, 50000), old);
    assert_slice(read_all(f, second, new.len, 50000), new);
    store_reader_free(first);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_slice(read_all(f, second, new.len, 50000), new);
    store_reader_free(second);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    store_stats st;
    store_get_stats(f->s, &st);
    assert_int_equal(st.readers_open, 0);
    assert_int_equal(st.garbage_pending, 0);
}

/* A reader that opens after an overwrite does not hold back what was overwritten before. */
static void test_later_reader_blocks_nothing(void **state) {
    fixture *f = *state;
    put(f, S("x"), content(f->c.arena, 1, 100000));
    put(f, S("x"), content(f->c.arena, 2, 100000));
    store_blob b;
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &r));
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    store_reader_free(r);
}

static void test_nowait(void **state) {
    fixture *f = *state;
    slice large = content(f->c.arena, 2, 100000);
    put(f, S("small"), S("abc"));
    put(f, S("large"), large);
    store_call c = {.arena = f->c.arena, .nowait = true};
    store_blob b;
    store_reader *r;
    slice data;
    assert_ok(store_blob_open(f->s, c, f->k, S("small"), STORE_CURRENT, NULL, &b, &r));
    assert_true(store_reader_inline(r, &data));
    assert_slice(data, S("abc"));
    store_reader_free(r);
    memory_disk_set_cold(f->disk, true);
    assert_err(store_blob_open(f->s, c, f->k, S("small"), STORE_CURRENT, NULL, &b, &r),
               ERR_WOULD_BLOCK);
    assert_err(store_blob_get(f->s, c, f->k, S("small"), STORE_CURRENT, NULL, &b), ERR_WOULD_BLOCK);
    assert_ok(store_blob_open(f->s, f->c, f->k, S("large"), STORE_CURRENT, NULL, &b, &r));
    assert_false(store_reader_inline(r, &data));
    uint8_t out[1000];
    size_t n;
    assert_err(store_reader_read(r, 20000, out, sizeof out, true, &n), ERR_WOULD_BLOCK);
    assert_ok(store_reader_read(r, 20000, out, sizeof out, false, &n));
    assert_memory_equal(out, large.p + 20000, n);
    store_reader_free(r);
    memory_disk_set_cold(f->disk, false);
    assert_err(store_blob_delete(f->s, c, f->k, S("small"), NULL, NULL, NULL), ERR_WOULD_BLOCK);
    /* The caches of accounts and containers answer at once, or not at all. */
    const store_account *a;
    const store_container *k;
    assert_ok(store_account_get(f->s, c, S("acct"), &a));
    assert_ok(store_container_get(f->s, c, a, S("box"), &k));
    store_container_unref(k);
    store_account_unref(a);
    assert_err(store_account_get(f->s, c, S("other"), &a), ERR_WOULD_BLOCK);
    assert_err(store_container_get(f->s, c, f->a, S("other"), &k), ERR_WOULD_BLOCK);
}

typedef struct outcome {
    int told;
    err e;
} outcome;

static void tell(void *ctx, err e) {
    outcome *o = ctx;
    o->told++;
    o->e = e;
}

/* A change that nobody waits for: without blocking, with its outcome told once. */
static void test_later(void **state) {
    fixture *f = *state;
    outcome o = {0};
    store_later later = {.done = tell, .ctx = &o};
    store_call c = {.arena = f->c.arena, .nowait = true, .later = &later};
    store_blob b, before = put(f, S("x"), S("old"));
    store_upload *u;
    store_put p = {.cond = NULL};
    const pair m = {S("k"), S("v")};
    assert_ok(store_blob_set_metadata(f->s, c, f->k, S("x"), NULL, &m, 1, &b));
    assert_true(later.taken && o.told == 1 && o.e == OK);
    assert_true(b.etag != before.etag);
    /* One call leaves one change. */
    assert_err(store_blob_delete(f->s, c, f->k, S("x"), NULL, NULL, NULL), ERR_WOULD_BLOCK);
    assert_int_equal(o.told, 1);
    later.taken = false;
    assert_ok(store_upload_new(f->s, f->k, 3, 100, 0, &u));
    assert_ok(store_upload_write(u, S("new")));
    assert_ok(store_upload_finish(u));
    assert_ok(store_blob_put(f->s, c, f->k, S("x"), u, &p, &b));
    assert_true(later.taken && o.told == 2 && o.e == OK);
    assert_slice(get(f, S("x")), S("new"));
    /* Refused before it is left: told by the call alone. */
    later.taken = false;
    assert_err(store_blob_delete(f->s, c, f->k, S("absent"), NULL, NULL, NULL), ERR_BLOB_NOT_FOUND);
    assert_true(!later.taken && o.told == 2);
    memory_disk_set_cold(f->disk, true);
    assert_err(store_blob_delete(f->s, c, f->k, S("x"), NULL, NULL, NULL), ERR_WOULD_BLOCK);
    memory_disk_set_cold(f->disk, false);
    assert_true(!later.taken && o.told == 2);
    /* A commit that fails is told, and changed nothing, in memory neither. */
    assert_slice(get(f, S("x")), S("new"));
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_ok(store_blob_delete(f->s, c, f->k, S("x"), NULL, NULL, NULL));
    assert_true(later.taken && o.told == 3 && o.e == ERR_NO_SPACE);
    assert_slice(get(f, S("x")), S("new"));
    later.taken = false;
    assert_ok(store_blob_delete(f->s, c, f->k, S("x"), NULL, NULL, NULL));
    assert_true(later.taken && o.told == 4 && o.e == OK);
    assert_err(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b),
               ERR_BLOB_NOT_FOUND);
}

static void test_failed_commit_changes_nothing(void **state) {
    fixture *f = *state;
    slice old = content(f->c.arena, 1, 1000), large = content(f->c.arena, 2, 100000);
    store_blob b, before = put(f, S("x"), old);
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_err(try_put(f, S("x"), large, NULL, &b), ERR_NO_SPACE);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_slice(get(f, S("x")), old);
    memory_disk_fail_commits(f->disk, 3, ERR_CONFLICT); /* tried again */
    assert_ok(try_put(f, S("x"), S("new"), NULL, &b));
    assert_slice(get(f, S("x")), S("new"));
    memory_disk_fail_commits(f->disk, 1000, ERR_CONFLICT); /* but not for ever */
    assert_err(try_put(f, S("x"), S("newer"), NULL, &b), ERR_CONFLICT);
    memory_disk_fail_commits(f->disk, 1, ERR_CONFLICT); /* a stream went with its transaction */
    assert_err(try_put(f, S("x"), large, NULL, &b), ERR_CONFLICT);
    memory_disk_fail_commits(f->disk, 0, OK);
    assert_slice(get(f, S("x")), S("new"));
    assert_true(b.etag != before.etag);
    assert_int_equal(memory_disk_streams(f->disk), 0);
}

static void test_names(void **state) {
    fixture *f = *state;
    (void)f;
    assert_true(store_account_name_valid(S("abc")));
    assert_true(store_account_name_valid(S("abcdefghijkl012345678901")));
    assert_false(store_account_name_valid(S("abcdefghijkl0123456789012")));
    assert_false(store_account_name_valid(S("ab")));
    assert_false(store_account_name_valid(S("Abc")));
    assert_false(store_account_name_valid(S("a-c")));
    assert_true(store_container_name_valid(S("a-b-c")));
    assert_true(store_container_name_valid(S("$root")));
    assert_true(store_container_name_valid(S("$web")));
    assert_false(store_container_name_valid(S("$other")));
    assert_false(store_container_name_valid(S("a--b")));
    assert_false(store_container_name_valid(S("-ab")));
    assert_false(store_container_name_valid(S("ab-")));
    assert_false(store_container_name_valid(S("aB-c")));
    assert_false(store_container_name_valid(S("ab")));
    static uint8_t many[4000];
    memset(many, 'x', sizeof many);
    assert_true(store_container_name_valid(slice_of(many, 63)));
    assert_false(store_container_name_valid(slice_of(many, 64)));
    assert_true(store_blob_name_valid(slice_of(many, 1024)));
    assert_false(store_blob_name_valid(slice_of(many, 1025)));
    assert_false(store_blob_name_valid(S("")));
    assert_false(store_blob_name_valid(slice_of("a\0b", 3)));
    assert_false(store_blob_name_valid(S("a\xff")));
    for (int i = 0; i < 1024; i++) memcpy(many + 3 * i, "\xe2\x82\xac", 3); /* the euro sign */
    assert_true(store_blob_name_valid(slice_of(many, 3072)));
    for (int i = 0; i < 513; i++) memcpy(many + 4 * i, "\xf0\x9f\x98\x80", 4); /* two units each */
    assert_true(store_blob_name_valid(slice_of(many, 4 * 512)));
    assert_false(store_blob_name_valid(slice_of(many, 4 * 513)));
    for (int i = 0; i < 255; i++) memcpy(many + 2 * i, "a/", 2);
    assert_true(store_blob_name_valid(slice_of(many, 2 * 254 - 1)));
    assert_false(store_blob_name_valid(slice_of(many, 2 * 254)));
}

static void test_strange_names(void **state) {
    fixture *f = *state;
    static uint8_t ones[1024], euros[3072];
    memset(ones, 1, sizeof ones);
    for (size_t i = 0; i < sizeof euros; i += 3) memcpy(euros + i, "\xe2\x82\xac", 3);
    slice names[] = {S("a"),
                     S("a\x01"),
                     S("a\x01\x01"),
                     S("a\x01\x02"),
                     S("a\x02"),
                     S("a/"),
                     S("ab"),
                     S("\xf0\x9f\x98\x80"),
                     S("\x01"),
                     S("\x7f"),
                     S("%41&<>"),
                     slice_of(ones, sizeof ones),
                     slice_of(euros, sizeof euros)};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) put(f, names[i], content(f->c.arena, i, 100 + i));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_slice(get(f, names[i]), content(f->c.arena, i, 100 + i));
}

static void test_clock_set_back(void **state) {
    fixture *f = *state;
    store_blob a = put(f, S("x"), S("1"));
    clock_skew_us(-3600 * 1000000ll);
    store_blob b = put(f, S("x"), S("2"));
    assert_true(b.etag > a.etag);
    assert_true(b.modified_us < a.modified_us);
    fixture_restart(f);
    store_blob c = put(f, S("x"), S("3")), d;
    assert_true(c.etag != b.etag && c.etag != a.etag);
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("x"), NULL, NULL, 0, &d));
    assert_true(d.etag > c.etag);
    clock_skew_us(0);
}

/* What ended before a change began has nothing to end. */
static void test_changes_of_no_name(void **state) {
    fixture *f = *state;
    store_blob b;
    const slice none = S("");
    for (int i = 0; i < 2; i++) {
        volatile uint8_t dirt[32 << 10]; /* what the next frames find on the stack */
        for (size_t at = 0; at < sizeof dirt; at++) dirt[at] = 0xa5;
        assert_int_equal(dirt[100], 0xa5);
        assert_err(store_blob_delete(f->s, f->c, f->k, none, NULL, NULL, NULL), ERR_BLOB_NOT_FOUND);
        assert_err(store_blob_set_metadata(f->s, f->c, f->k, none, NULL, NULL, 0, &b),
                   ERR_BLOB_NOT_FOUND);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_sizes),
        T(test_unknown_length),
        T(test_ranges),
        T(test_upload_limits),
        T(test_properties),
        T(test_overwrite_and_delete),
        T(test_reader_outlives_overwrite),
        T(test_later_reader_blocks_nothing),
        T(test_nowait),
        T(test_later),
        T(test_failed_commit_changes_nothing),
        T(test_names),
        T(test_strange_names),
        T(test_clock_set_back),
        T(test_changes_of_no_name),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
