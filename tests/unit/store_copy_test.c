/* Pending copies: their two rows, how they end, what they do not touch, and that a restart at any point
 * goes on with them. */
#include "store_test.h"

#include "memory_engine.c"

#define BIG 100000
#define ID  "11111111-2222-3333-4444-555555555555"
#define ID2 "11111111-2222-3333-4444-666666666666"

/* ---- a source elsewhere, made here ------------------------------------------------------------------ */

typedef struct far {
    slice content, url, etag; /* url, etag: as asked last, in `asked` */
    uint8_t asked[2][256];
    int break_after; /* reads until the stream fails once; -1: never */
    bool gone;
    int opens;
} far;
typedef struct far_stream {
    far *f;
    uint64_t at;
} far_stream;

/* What is asked stands in the caller's memory, which goes. */
static slice keep(uint8_t to[256], slice v) {
    assert_true(v.len <= 256);
    if (v.len) memcpy(to, v.p, v.len);
    return slice_of(to, v.len);
}

static err far_open(void *ctx, arena *a, slice url, slice etag, uint64_t offset, uint64_t count,
                    const atomic_bool *cancelled, void **ret) {
    far *f = ctx;
    (void)a, (void)cancelled;
    f->url = keep(f->asked[0], url);
    f->etag = keep(f->asked[1], etag);
    f->opens++;
    if (f->gone) return err_fail(ERR_COPY_SOURCE_NOT_FOUND, "the copy source answered 404");
    assert_int_equal(offset + count, f->content.len);
    far_stream *s = calloc(1, sizeof *s);
    *s = (far_stream){f, offset};
    *ret = s;
    return OK;
}

static err far_read(void *of, uint8_t *out, size_t cap, size_t *ret_n) {
    far_stream *s = of;
    if (s->f->break_after == 0) {
        s->f->break_after = -1;
        return err_fail(ERR_COPY_SOURCE_UNREACHABLE, "connection reset");
    }
    if (s->f->break_after > 0) s->f->break_after--;
    slice part = slice_take(slice_skip(s->f->content, (size_t)s->at), cap < 33333 ? cap : 33333);
    if (part.len) memcpy(out, part.p, part.len);
    s->at += part.len;
    *ret_n = part.len;
    return OK;
}

static void far_close(void *of) {
    free(of);
}

static far there;
static const store_remote remote = {&there, far_open, far_read, far_close};

/* ---- short forms ------------------------------------------------------------------------------------- */

static bool holding;

static err begin(fixture *f, slice name, const char *id, const store_copy_from *from,
                 uint64_t length, const store_conditions *cond, store_blob *ret) {
    store_copy copy = {.status = STORE_COPY_PENDING,
                       .id = slice_str(id),
                       .source = S("http://shown/"),
                       .total = length,
                       .completed_us = STORE_TIME_NONE};
    pair metadata = {S("a"), S("1")};
    store_put p = {.http = {.content_type = S("text/copied")},
                   .metadata = &metadata,
                   .metadata_count = 1,
                   .cond = cond,
                   .immutability = {.set_hold = holding, .hold = holding},
                   .copy = &copy};
    return store_copy_begin(f->s, f->c, f->k, name, &p, from, ret);
}

static store_copy_from here(const store_blob *b, fixture *f) {
    return (store_copy_from){.account = S("acct"),
                             .container = S("box"),
                             .blob = b->name,
                             .etag =
                                 arena_fmt(f->c.arena, "\"0x%llX\"", (unsigned long long)b->etag)};
}

static store_blob look(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b));
    return b;
}

static void count_defect(void *ctx, const char *what, const char *where) {
    print_error("%s: %s\n", where, what);
    ++*(size_t *)ctx;
}

static size_t defects(fixture *f) {
    size_t n = 0;
    store_check_progress p;
    reaper_run(f->s);
    assert_ok(store_check(f->s, count_defect, NULL, &n, &p));
    return n;
}

static store_blob begin_here(fixture *f, slice data) {
    store_blob src = put(f, S("src"), data), dst;
    store_copy_from from = here(&src, f);
    assert_ok(begin(f, S("dst"), ID, &from, data.len, NULL, &dst));
    return dst;
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void test_success(void **state) {
    fixture *f = *state;
    static const size_t sizes[] = {0, 1, 1000, BIG, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        slice data = content(f->c.arena, i + 1, sizes[i]);
        put(f, S("dst"), content(f->c.arena, 99, BIG));         /* is replaced */
        assert_ok(try_block(f, S("dst"), S("1"), S("staged"))); /* is discarded */
        store_blob dst = begin_here(f, data);
        assert_int_equal(dst.copy.status, STORE_COPY_PENDING);
        assert_int_equal(look(f, S("dst")).length, 0);
        assert_int_equal(get(f, S("dst")).len, 0);
        assert_int_equal(defects(f), 0);
        copier_run(f->s);
        store_blob after = look(f, S("dst"));
        assert_int_equal(after.copy.status, STORE_COPY_SUCCESS);
        assert_true(after.copy.done == data.len && after.copy.total == data.len);
        assert_true(after.copy.completed_us == after.modified_us && after.etag > dst.etag);
        assert_slice(after.copy.id, S(ID));
        assert_slice(after.http.content_type, S("text/copied"));
        assert_int_equal(after.metadata_count, 1);
        assert_slice(get(f, S("dst")), data);
        assert_int_equal(defects(f), 0);
        assert_ok(store_blob_delete(f->s, f->c, f->k, S("dst"), NULL, NULL, NULL));
        assert_slice(get(f, S("src")), data); /* nothing was shared */
    }
}

static void test_restart(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 5, BIG);
    begin_here(f, data);
    fixture_restart(f);
    assert_int_equal(look(f, S("dst")).copy.status, STORE_COPY_PENDING);
    copier_run(f->s);
    assert_int_equal(look(f, S("dst")).copy.status, STORE_COPY_SUCCESS);
    fixture_restart(f);
    copier_run(f->s);
    assert_slice(get(f, S("dst")), content(f->c.arena, 5, BIG));
    assert_int_equal(defects(f), 0);
}

static void test_abort(void **state) {
    fixture *f = *state;
    assert_err(store_copy_abort(f->s, f->c, f->k, S("dst"), S(ID), NULL), ERR_BLOB_NOT_FOUND);
    begin_here(f, content(f->c.arena, 5, BIG));
    assert_err(store_copy_abort(f->s, f->c, f->k, S("dst"), S(ID2), NULL), ERR_COPY_ID_MISMATCH);
    assert_err(store_copy_abort(f->s, f->c, f->k, S("src"), S(ID), NULL),
               ERR_NO_PENDING_COPY_OPERATION);
    assert_ok(store_copy_abort(f->s, f->c, f->k, S("dst"), S(ID), NULL));
    assert_err(store_copy_abort(f->s, f->c, f->k, S("dst"), S(ID), NULL),
               ERR_NO_PENDING_COPY_OPERATION);
    copier_run(f->s);
    store_blob after = look(f, S("dst"));
    assert_int_equal(after.copy.status, STORE_COPY_ABORTED);
    assert_int_equal(after.length, 0);
    assert_int_equal(defects(f), 0);
    put(f, S("dst"), S("free again"));
}

static void test_nothing_else_changes_a_pending_one(void **state) {
    fixture *f = *state;
    store_blob dst = begin_here(f, content(f->c.arena, 5, BIG)), b;
    store_http http = {0};
    store_copy_from from = here(&dst, f);
    assert_err(try_put(f, S("dst"), S("x"), NULL, &b), ERR_PENDING_COPY_OPERATION);
    assert_err(try_block(f, S("dst"), S("1"), S("x")), ERR_PENDING_COPY_OPERATION);
    assert_err(try_commit(f, S("dst"), NULL, 0, &b), ERR_PENDING_COPY_OPERATION);
    assert_err(store_blob_delete(f->s, f->c, f->k, S("dst"), NULL, NULL, NULL),
               ERR_PENDING_COPY_OPERATION);
    assert_err(store_blob_set_http(f->s, f->c, f->k, S("dst"), NULL, &http, &b),
               ERR_PENDING_COPY_OPERATION);
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, S("dst"), NULL, NULL, 0, &b),
               ERR_PENDING_COPY_OPERATION);
    assert_err(begin(f, S("dst"), ID2, &from, 1, NULL, &b), ERR_PENDING_COPY_OPERATION);
    assert_int_equal(look(f, S("dst")).etag, dst.etag);
    copier_run(f->s);
    assert_int_equal(look(f, S("dst")).copy.status, STORE_COPY_SUCCESS);
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("dst"), NULL, NULL, 0, &b));
    assert_int_equal(look(f, S("dst")).copy.status, STORE_COPY_SUCCESS);
    assert_ok(store_blob_set_http(f->s, f->c, f->k, S("dst"), NULL, &http, &b));
    assert_int_equal(look(f, S("dst")).copy.status, STORE_COPY_NONE);
}

static void test_conditions(void **state) {
    fixture *f = *state;
    store_blob src = put(f, S("src"), S("abc")), b;
    store_copy_from from = here(&src, f);
    store_conditions none = STORE_NO_CONDITIONS;
    none.if_none_match = S("*");
    assert_err(begin(f, S("src"), ID, &from, 3, &none, &b), ERR_BLOB_ALREADY_EXISTS);
    assert_slice(get(f, S("src")), S("abc"));
    assert_ok(begin(f, S("dst"), ID, &from, 3, &none, &b));
    copier_run(f->s);
    assert_slice(get(f, S("dst")), S("abc"));
}

static void failed(fixture *f, const char *says) {
    copier_run(f->s);
    store_blob b = look(f, S("dst"));
    assert_int_equal(b.copy.status, STORE_COPY_FAILED);
    slice text = b.copy.description;
    if (slice_find_slice(text, 0, slice_str(says)) == text.len)
        fail_msg("'%.*s' does not say %s", SLICE_ARG(text), says);
    assert_int_equal(b.length, 0);
    assert_int_equal(b.metadata_count, 1);
    assert_int_equal(defects(f), 0);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("dst"), NULL, NULL, NULL));
}

static void test_a_source_that_changes_fails_it(void **state) {
    fixture *f = *state;
    begin_here(f, content(f->c.arena, 5, BIG));
    put(f, S("src"), content(f->c.arena, 6, BIG));
    failed(f, "412 ConditionNotMet");
    begin_here(f, content(f->c.arena, 5, BIG));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("src"), NULL, NULL, NULL));
    failed(f, "404 BlobNotFound");
}

static void test_its_container_is_deleted(void **state) {
    fixture *f = *state;
    begin_here(f, content(f->c.arena, 5, BIG));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    copier_run(f->s);
    fixture_put_down(f);
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    assert_int_equal(defects(f), 0); /* its rows are gone with it */
}

static void open_with_remote(fixture *f) {
    fixture_close(f);
    store_options o = {
        .engine = memory_engine_open(f->disk), .keys = test_keys_new(), .remote = &remote};
    assert_ok(store_open(&o, &f->s));
    f->c = (store_call){.arena = arena_new(4096, 0)};
    fixture_get(f);
}

#define URL "https://elsewhere/blob?sv=1&sig=VerySecretSignature"

static void begin_far(fixture *f) {
    store_blob b;
    store_copy_from from = {.url = S(URL), .etag = S("\"one\"")};
    there = (far){.content = content(f->c.arena, 8, BIG), .break_after = -1};
    assert_ok(begin(f, S("dst"), ID, &from, BIG, NULL, &b));
}

static void test_elsewhere(void **state) {
    fixture *f = *state;
    open_with_remote(f);
    begin_far(f);
    there.break_after = 2;
    assert_int_equal(defects(f), 0);
    copier_run(f->s);
    assert_int_equal(there.opens, 2); /* once more after it broke off */
    assert_slice(get(f, S("dst")), there.content);
    assert_int_equal(defects(f), 0);
}

static void test_elsewhere_gone(void **state) {
    fixture *f = *state;
    open_with_remote(f);
    begin_far(f);
    there.gone = true;
    failed(f, "404 CannotVerifyCopySource");
    assert_int_equal(there.opens, 1); /* it said so: not asked again */
}

/* A program whose configuration no longer allows others. */
static void test_elsewhere_not_allowed_any_more(void **state) {
    fixture *f = *state;
    open_with_remote(f);
    begin_far(f);
    fixture_restart(f);
    failed(f, "403 CannotVerifyCopySource");
}

static err find_secret(void *ctx, slice key, slice value) {
    (void)ctx;
    assert_int_equal(slice_find_slice(value, 0, S("VerySecret")), value.len);
    assert_int_equal(slice_find_slice(key, 0, S("VerySecret")), key.len);
    return OK;
}

static void test_signatures_are_sealed(void **state) {
    fixture *f = *state;
    open_with_remote(f);
    begin_far(f);
    for (int t = 0; t < ENGINE_TABLE_COUNT; t++) {
        engine_cursor *cur;
        bool more = true;
        assert_ok(engine_scan(f->s->engine, (engine_table)t, SLICE_NONE, SLICE_NONE, &cur));
        while (more) {
            slice k, v;
            assert_ok(engine_cursor_next(cur, &k, &v, &more));
            if (more) assert_ok(find_secret(NULL, k, v));
        }
        engine_cursor_free(cur);
    }
    copier_run(f->s);
    assert_slice(there.url, S(URL)); /* and opened again */
    assert_slice(there.etag, S("\"one\""));
}

/* A hold that comes with the copy is on what the copy makes. */
static void test_a_hold_does_not_stop_it(void **state) {
    fixture *f = *state;
    holding = true;
    begin_here(f, content(f->c.arena, 5, BIG));
    holding = false;
    copier_run(f->s);
    assert_slice(get(f, S("dst")), content(f->c.arena, 5, BIG));
    assert_err(store_blob_delete(f->s, f->c, f->k, S("dst"), NULL, NULL, NULL),
               ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD);
}

/* ---- the check ---- */

static void with_job_row(fixture *f, void (*change_it)(engine_txn *t, slice key, buf *value)) {
    blob_key key;
    slice value;
    engine_txn *t;
    key_blob(&key, f->k->id, S("dst"));
    assert_ok(engine_get(f->s->engine, ENGINE_JOB, key_copy(&key), f->c.arena, false, &value));
    buf copy;
    buf_init(&copy, 1 << 16);
    buf_put(&copy, value);
    blob_key shard = key;
    assert_ok(engine_txn_begin(f->s->engine, key_base(&shard), &t));
    change_it(t, key_copy(&key), &copy);
    assert_ok(engine_txn_commit(t));
    buf_done(&copy);
}

static void drop_row(engine_txn *t, slice key, buf *value) {
    (void)value;
    engine_txn_delete(t, ENGINE_JOB, key);
}
static void cut_row(engine_txn *t, slice key, buf *value) {
    engine_txn_put(t, ENGINE_JOB, key, slice_take(buf_slice(value), value->len / 2));
}
static void bend_row(engine_txn *t, slice key, buf *value) {
    slice v = buf_slice(value);
    size_t at = slice_find_slice(v, 0, S(ID));
    assert_true(at < v.len);
    value->p[at] ^= 1;
    engine_txn_put(t, ENGINE_JOB, key, buf_slice(value));
}

static void test_check_finds_damage(void **state) {
    fixture *f = *state;
    static void (*const damages[])(engine_txn *, slice, buf *) = {drop_row, cut_row, bend_row};
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        store_blob b;
        store_copy_from from = {.account = S("acct"), .container = S("box"), .blob = S("src")};
        put(f, S("src"), S("abc"));
        assert_ok(begin(f, S("dst"), ID, &from, 3, NULL, &b));
        assert_int_equal(defects(f), 0);
        with_job_row(f, damages[i]);
        assert_true(defects(f) > 0);
        fixture_close(f);
        memory_disk_free(f->disk);
        f->disk = memory_disk_new();
        fixture_open(f);
        assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
        assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
        assert_ok(
            store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void) {
    log_setup(2, LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        TEST(test_success),
        TEST(test_restart),
        TEST(test_abort),
        TEST(test_nothing_else_changes_a_pending_one),
        TEST(test_conditions),
        TEST(test_a_source_that_changes_fails_it),
        TEST(test_its_container_is_deleted),
        TEST(test_a_hold_does_not_stop_it),
        TEST(test_elsewhere),
        TEST(test_elsewhere_gone),
        TEST(test_elsewhere_not_allowed_any_more),
        TEST(test_signatures_are_sealed),
        TEST(test_check_finds_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
