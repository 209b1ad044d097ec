/* Small blobs kept in memory: what is read again comes from there, what changes never does. */
#include "store_test.h"

#include "memory_engine.c"

static size_t held(fixture *f) {
    size_t n = 0;
    for (size_t i = 0; i < f->s->hot.cache.shard_count; i++) n += f->s->hot.cache.shards[i].cost;
    return n;
}

/* Read until it is in memory. */
static void warm(fixture *f, slice name, slice expected) {
    for (int i = 0; i < 3; i++) assert_slice(get(f, name), expected);
}

static void test_served_from_memory(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("hello"));
    assert_slice(get(f, S("x")), S("hello"));
    assert_int_equal(held(f), 0); /* once is not enough */
    warm(f, S("x"), S("hello"));
    assert_true(held(f) > 0);
    memory_disk_set_cold(f->disk, true);
    store_call c = {.arena = f->c.arena, .nowait = true};
    store_blob b, g;
    store_reader *r;
    slice data;
    uint8_t out[10];
    size_t n;
    assert_ok(store_blob_get(f->s, c, f->k, S("x"), STORE_CURRENT, NULL, &g));
    assert_ok(store_blob_open(f->s, c, f->k, S("x"), STORE_CURRENT, NULL, &b, &r));
    assert_true(b.etag == g.etag && b.length == 5);
    assert_slice(b.http.content_type, S("text/plain"));
    assert_true(store_reader_inline(r, &data));
    assert_slice(data, S("hello"));
    assert_ok(store_reader_read(r, 2, out, 10, true, &n));
    assert_slice(slice_of(out, n), S("llo"));
    assert_ok(store_reader_read(r, 5, out, 10, true, &n));
    assert_int_equal(n, 0);
    memory_disk_set_cold(f->disk, false);
    /* Conditions count here too. */
    store_conditions same = STORE_NO_CONDITIONS;
    same.if_modified_since_us = g.modified_us;
    store_reader *none;
    assert_err(store_blob_open(f->s, c, f->k, S("x"), STORE_CURRENT, &same, &b, &none),
               ERR_NOT_MODIFIED);
    /* A reader keeps what it has; others see the change. */
    put(f, S("x"), S("second"));
    assert_true(store_reader_inline(r, &data));
    assert_slice(data, S("hello"));
    store_reader_free(r);
    warm(f, S("x"), S("second"));
}

static void test_changes_are_seen(void **state) {
    fixture *f = *state;
    store_blob b, g;
    pair meta = {S("k"), S("v")};
    put(f, S("x"), S("1"));
    warm(f, S("x"), S("1"));
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("x"), NULL, &meta, 1, &b));
    assert_ok(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &g));
    assert_true(g.etag == b.etag && g.metadata_count == 1);
    warm(f, S("x"), S("1"));
    store_block_pick pick = LATEST("1");
    assert_ok(try_block(f, S("x"), S("1"), S("block")));
    assert_slice(get(f, S("x")), S("1"));
    assert_ok(try_commit(f, S("x"), &pick, 1, &b));
    assert_slice(get(f, S("x")), S("block"));
    put(f, S("x"), S("2"));
    warm(f, S("x"), S("2"));
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL), ERR_NO_SPACE);
    warm(f, S("x"), S("2"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_err(exists(f, S("x")), ERR_BLOB_NOT_FOUND);
    assert_int_equal(held(f), 0);
}

/* While a commit is under way nothing is found or added. */
static void read_meanwhile(void *ctx) {
    fixture *f = ctx;
    memory_disk_on_commit(f->disk, NULL, NULL);
    warm(f, S("x"), S("old"));
    assert_int_equal(held(f), 0);
}

static void test_commit_under_way(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("old"));
    warm(f, S("x"), S("old"));
    store_upload *u = upload(f, S("new"), 3);
    memory_disk_on_commit(f->disk, read_meanwhile, f);
    store_put p = {0};
    store_blob b;
    assert_ok(store_blob_put(f->s, f->c, f->k, S("x"), u, &p, &b));
    warm(f, S("x"), S("new"));
    assert_true(held(f) > 0);
}

static void test_deleted_container_leaves_nothing(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("1"));
    warm(f, S("x"), S("1"));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    assert_int_equal(held(f), 0);
    /* One who still holds the container reads rows that are not purged yet, and keeps nothing. */
    warm(f, S("x"), S("1"));
    assert_int_equal(held(f), 0);
}

static void test_bounded(void **state) {
    fixture *f = *state;
    cache *c = &f->s->hot.cache;
    c->shard_max = 20000;
    for (int i = 0; i < 3000; i++) {
        slice name = arena_fmt(f->c.arena, "%d", i);
        slice data = content(f->c.arena, (uint64_t)i, (size_t)i * 10 % 25000);
        put(f, name, data);
        warm(f, name, data);
    }
    for (size_t i = 0; i < c->shard_count; i++) assert_true(c->shards[i].cost <= 20000);
    assert_true(held(f) > 1000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_served_from_memory),
        T(test_changes_are_seen),
        T(test_commit_under_way),
        T(test_deleted_container_leaves_nothing),
        T(test_bounded),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
