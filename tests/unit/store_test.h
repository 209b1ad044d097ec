/* What the tests of store/ share: a store on an engine in memory, or on a folder; a few short
 * forms. */
#pragma once

#include "base_test.h"

#include <stdlib.h>

#include "memory_engine.h"

#include "store/internal.h"

/* A key service whose root key is known. */
typedef struct test_keys {
    crypto_keyservice ks;
    crypto_key root;
} test_keys;

static inline err test_keys_wrap(crypto_keyservice *ks, const crypto_key *key,
                                 crypto_wrapped *ret) {
    return crypto_wrap(&((test_keys *)ks)->root, key, ret);
}
static inline err test_keys_unwrap(crypto_keyservice *ks, const crypto_wrapped *w,
                                   crypto_key *ret) {
    return crypto_unwrap(&((test_keys *)ks)->root, w, ret);
}
static inline void test_keys_free(crypto_keyservice *ks) {
    free(ks);
}
static inline crypto_keyservice *test_keys_new(void) {
    test_keys *k = calloc(1, sizeof *k);
    k->ks = (crypto_keyservice){test_keys_wrap, test_keys_unwrap, test_keys_free};
    memset(k->root.b, 7, sizeof k->root.b);
    return &k->ks;
}

typedef struct fixture {
    memory_disk *disk;
    store *s;
    store_call c;
    const store_account *a;
    const store_container *k;
    bool background;
} fixture;

static inline void fixture_open(fixture *f) {
    store_options o = {.engine = memory_engine_open(f->disk),
                       .keys = test_keys_new(),
                       .background = f->background};
    assert_ok(store_open(&o, &f->s));
    f->c = (store_call){.arena = arena_new(4096, 0)};
}

static inline void fixture_get(fixture *f) {
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_get(f->s, f->c, f->a, S("box"), &f->k));
}

static inline void fixture_put_down(fixture *f) {
    f->k = store_container_unref(f->k);
    f->a = store_account_unref(f->a);
}

static inline void fixture_close(fixture *f) {
    fixture_put_down(f);
    f->s = store_close(f->s);
    f->c.arena = arena_free(f->c.arena);
}

static inline void fixture_no_defect(void *ctx, const char *what, const char *where) {
    (void)ctx;
    fail_msg("%s: %s", where, what);
}

/* `check` finds nothing. */
static inline void fixture_assert_sound(fixture *f) {
    store_check_progress p;
    assert_ok(store_check(f->s, fixture_no_defect, NULL, NULL, &p));
}

static inline void fixture_note_defect(void *ctx, const char *what, const char *where) {
    (void)where;
    buf_put(ctx, slice_str(what));
}

/* `check`, and what it reports. */
static inline store_check_progress fixture_check(fixture *f, slice *ret_reports) {
    store_check_progress p;
    buf text;
    buf_init_arena(&text, f->c.arena, 1 << 16);
    assert_ok(store_check(f->s, fixture_note_defect, NULL, &text, &p));
    *ret_reports = buf_slice(&text);
    return p;
}

/* `check` finds nothing; what it counted. */
static inline store_check_progress fixture_sound(fixture *f) {
    slice reports;
    store_check_progress p = fixture_check(f, &reports);
    assert_slice(reports, S(""));
    return p;
}

/* The store again, as after a restart. */
static inline void fixture_restart(fixture *f) {
    fixture_close(f);
    fixture_open(f);
    fixture_get(f);
}

static inline int fixture_setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->disk = memory_disk_new();
    fixture_open(f);
    assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state) {
    fixture *f = *state;
    fixture_close(f);
    memory_disk_free(f->disk);
    free(f);
    return 0;
}

/* n bytes that depend on seed. */
static inline slice content(arena *a, uint64_t seed, size_t n) {
    uint8_t *p = arena_alloc(a, n ? n : 1);
    rng r = {seed};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v = rng_next(&r);
        memcpy(p + i, &v, 8);
    }
    for (; i < n; i++) p[i] = (uint8_t)rng_next(&r);
    return slice_of(p, n);
}

static inline store_upload *upload(fixture *f, slice data, uint64_t announced) {
    store_upload *u;
    assert_ok(
        store_upload_new(f->s, f->k, announced, STORE_PUT_BLOB_LEN_MAX, STORE_UPLOAD_MD5, &u));
    for (size_t at = 0; at < data.len;) { /* in uneven pieces */
        slice part = slice_take(slice_skip(data, at), 1 + (at * 7 + 5000) % 70000);
        assert_ok(store_upload_write(u, part));
        at += part.len;
    }
    assert_ok(store_upload_finish(u));
    return u;
}

static inline err try_put(fixture *f, slice name, slice data, const store_conditions *cond,
                          store_blob *ret) {
    store_upload *u = upload(f, data, data.len);
    store_put p = {.http = {.content_type = S("text/plain")}, .cond = cond};
    err e = store_blob_put(f->s, f->c, f->k, name, u, &p, ret);
    if (e != OK) store_upload_free(u);
    return e;
}

static inline store_blob put(fixture *f, slice name, slice data) {
    store_blob b;
    assert_ok(try_put(f, name, data, NULL, &b));
    return b;
}

static inline err try_block(fixture *f, slice name, slice id, slice data) {
    store_upload *u = upload(f, data, data.len);
    err e = store_block_put(f->s, f->c, f->k, name, id, u, SLICE_NONE);
    if (e != OK) store_upload_free(u);
    return e;
}

static inline err try_commit(fixture *f, slice name, const store_block_pick *picks, size_t n,
                             store_blob *ret) {
    store_put p = {0};
    return store_block_list_put(f->s, f->c, f->k, name, picks, n, &p, ret);
}

#define LATEST(id)      ((store_block_pick){S(id), STORE_BLOCK_LATEST})
#define COMMITTED(id)   ((store_block_pick){S(id), STORE_BLOCK_COMMITTED})
#define UNCOMMITTED(id) ((store_block_pick){S(id), STORE_BLOCK_UNCOMMITTED})

/* All of a reader, in reads of `cap` bytes. */
static inline slice read_all(fixture *f, store_reader *r, uint64_t length, size_t cap) {
    uint8_t *p = arena_alloc(f->c.arena, (size_t)length + 1);
    uint64_t at = 0;
    for (;;) {
        size_t n, room = (size_t)(length + 1 - at);
        assert_ok(store_reader_read(r, at, p + at, room < cap ? room : cap, false, &n));
        if (n == 0) break;
        at += n;
        assert_true(at <= length);
    }
    return slice_of(p, (size_t)at);
}

static inline slice get_sized(fixture *f, slice name, size_t cap) {
    store_blob b;
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b, &r));
    slice data = read_all(f, r, b.length, cap);
    assert_int_equal(data.len, b.length);
    if (b.has_crc64) assert_true(crc64(0, data) == b.crc64);
    store_reader_free(r);
    return data;
}

static inline slice get(fixture *f, slice name) {
    return get_sized(f, name, 100000);
}

static inline err service_becomes(void *ctx, store_service *v) {
    *v = *(const store_service *)ctx;
    return OK;
}

static inline void set_service(fixture *f, store_service *v) {
    assert_ok(store_service_change(f->s, f->c, f->a, service_becomes, v));
}

static inline err exists(fixture *f, slice name) {
    store_blob b;
    return store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b);
}
