/* Deleted containers that are kept: listed, restored, renamed, purged when their days are over. */
#include "store_test.h"

#include "memory_engine.c"

#define DAY (86400ll * 1000000)

typedef struct entry {
    slice name;
    bool deleted;
    uint64_t version;
} entry;

typedef struct entries {
    arena *arena;
    entry e[64];
    size_t count, room; /* room: the page has no more */
} entries;

static err take(void *ctx, const store_container *k) {
    entries *es = ctx;
    if (es->count == es->room) return ERR_TOO_LARGE;
    assert_true(es->count < ARRAY_LEN(es->e));
    es->e[es->count++] = (entry){arena_dup(es->arena, k->name), k->deleted, k->version};
    return OK;
}

/* All pages, each of at most max. */
static entries list(fixture *f, store_container_list q) {
    entries es = {.arena = f->c.arena, .room = SIZE_MAX};
    do {
        slice next;
        size_t before = es.count;
        assert_ok(store_container_scan(f->s, f->c, f->a, &q, take, &es, &next));
        assert_true(es.count - before <= q.max);
        q.marker = next;
    } while (q.marker.len);
    return es;
}

static const store_container_list with_deleted = {.max = 1000, .deleted = true};
static const store_container_list without = {.max = 1000};

static void create(fixture *f, slice name) {
    assert_ok(store_container_create(f->s, f->c, f->a, name, STORE_PRIVATE, NULL, 0, NULL));
}

static err delete_box(fixture *f, slice name) {
    return store_container_delete(f->s, f->c, f->a, name, NULL);
}

/* The version of the only deleted container of that name. */
static uint64_t version_of(fixture *f, slice name) {
    entries es = list(f, with_deleted);
    uint64_t v = 0;
    for (size_t i = 0; i < es.count; i++)
        if (es.e[i].deleted && slice_eq(es.e[i].name, name)) {
            assert_true(v == 0);
            v = es.e[i].version;
        }
    return v;
}

static void keep_for(fixture *f, const char *days) {
    assert_ok(store_account_set(f->s, f->c, S("acct"),
                                arena_fmt(f->c.arena, "container_delete_days=%s", days)));
    f->a = store_account_unref(f->a);
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
}

static err restore(fixture *f, slice to, slice name, uint64_t version) {
    return store_container_restore(f->s, f->c, f->a, to, name, version);
}

static void check_clean(fixture *f);

static void use(fixture *f, slice name) {
    store_container_unref(f->k);
    f->k = NULL;
    assert_ok(store_container_get(f->s, f->c, f->a, name, &f->k));
}

static void test_restore(void **state) {
    fixture *f = *state;
    keep_for(f, "7");
    pair m = {S("k"), S("v")};
    assert_ok(store_container_set_metadata(f->s, f->c, f->a, S("box"), NULL, &m, 1, NULL));
    put(f, S("small"), S("content"));
    put(f, S("large"), content(f->c.arena, 1, 100000));
    assert_ok(try_block(f, S("staged"), S("1"), S("x")));
    uint64_t id = f->k->id, etag;
    use(f, S("box"));
    etag = f->k->etag;
    assert_ok(delete_box(f, S("box")));
    reaper_run(f->s);
    const store_container *k;
    store_blob b;
    assert_err(store_container_get(f->s, f->c, f->a, S("box"), &k), ERR_CONTAINER_NOT_FOUND);
    assert_err(try_put(f, S("late"), S("1"), NULL, &b), ERR_CONTAINER_NOT_FOUND);
    assert_int_equal(list(f, without).count, 0);
    uint64_t v = version_of(f, S("box"));
    assert_true(v != 0);
    check_clean(f);
    assert_err(restore(f, S("box"), S("box"), v + 1), ERR_CONTAINER_NOT_FOUND);
    assert_err(restore(f, S("box"), S("bux"), v), ERR_CONTAINER_NOT_FOUND);
    assert_err(restore(f, S("box"), S("BAD/../name"), v), ERR_CONTAINER_NOT_FOUND);
    assert_err(restore(f, S("Box"), S("box"), v), ERR_INVALID_RESOURCE_NAME);
    fixture_put_down(f);
    f->s = store_close(f->s);
    f->c.arena = arena_free(f->c.arena);
    fixture_open(f); /* as after a restart */
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(restore(f, S("box"), S("box"), v));
    assert_err(restore(f, S("box"), S("box"), v), ERR_CONTAINER_ALREADY_EXISTS);
    assert_err(restore(f, S("other"), S("box"), v), ERR_CONTAINER_NOT_FOUND);
    use(f, S("box"));
    assert_true(f->k->id == id && f->k->etag == etag && !f->k->deleted);
    assert_int_equal(f->k->metadata_count, 1);
    assert_slice(get(f, S("small")), S("content"));
    assert_slice(get(f, S("large")), content(f->c.arena, 1, 100000));
    store_block_pick pick = LATEST("1");
    assert_ok(try_commit(f, S("staged"), &pick, 1, &b));
    assert_int_equal(version_of(f, S("box")), 0);
    check_clean(f);
}

static void test_under_another_name(void **state) {
    fixture *f = *state;
    keep_for(f, "7");
    put(f, S("b"), S("first"));
    assert_ok(delete_box(f, S("box")));
    uint64_t v = version_of(f, S("box"));
    create(f, S("box")); /* the name is free at once */
    use(f, S("box"));
    put(f, S("b"), S("second"));
    assert_err(restore(f, S("box"), S("box"), v), ERR_CONTAINER_ALREADY_EXISTS);
    assert_ok(restore(f, S("box-again"), S("box"), v));
    assert_slice(get(f, S("b")), S("second"));
    use(f, S("box-again"));
    assert_slice(get(f, S("b")), S("first"));
    check_clean(f);
}

static void test_listing(void **state) {
    fixture *f = *state;
    keep_for(f, "3");
    static const char *const names[] = {"box-a", "boxa", "box", "$web", "$root"};
    for (int i = 0; i < 3; i++) assert_ok(delete_box(f, S("box"))), create(f, S("box"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (i != 2) create(f, slice_str(names[i]));
    assert_ok(delete_box(f, S("boxa")));
    create(f, S("$logs"));
    static const struct {
        const char *name;
        bool deleted;
    } all[] = {{"$root", false}, {"$web", false}, {"box", false},   {"box", true},
               {"box", true},    {"box", true},   {"box-a", false}, {"boxa", true}};
    for (size_t max = 1; max < 10; max++) {
        store_container_list q = {.max = max, .deleted = true};
        entries es = list(f, q);
        assert_int_equal(es.count, ARRAY_LEN(all));
        for (size_t i = 0; i < es.count; i++) {
            assert_slice(es.e[i].name, slice_str(all[i].name));
            assert_int_equal(es.e[i].deleted, all[i].deleted);
            assert_true(es.e[i].deleted == (es.e[i].version != 0));
            if (i && es.e[i].version && es.e[i - 1].version && i < 6)
                assert_true(es.e[i].version > es.e[i - 1].version);
        }
        q.deleted = false;
        assert_int_equal(list(f, q).count, 4);
        q = (store_container_list){.max = max, .deleted = true, .prefix = S("box")};
        assert_int_equal(list(f, q).count, 6);
        q.prefix = S("boxa");
        assert_int_equal(list(f, q).count, 1);
        q = (store_container_list){.max = max, .system = true};
        assert_int_equal(list(f, q).count, 5);
    }
    /* A marker before the prefix adds nothing to it. */
    store_container_list before = {
        .max = 9, .deleted = true, .prefix = S("boxa"), .marker = S("$root/08DE2C0000000000")};
    assert_int_equal(list(f, before).count, 1);
    before.marker = S("a");
    assert_int_equal(list(f, before).count, 1);
    static const char *const bad[] = {"box/", "box/08DE", "box/08de2c0000000000",
                                      "box/08DE2C000000000G", "box/08DE2C00000000000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        entries es = {.arena = f->c.arena, .room = SIZE_MAX};
        store_container_list q = {.max = 1, .marker = slice_str(bad[i])};
        slice next;
        assert_err(store_container_scan(f->s, f->c, f->a, &q, take, &es, &next),
                   ERR_OUT_OF_RANGE_INPUT);
    }
    check_clean(f);
}

/* When the caller has no room, the page ends before a deleted one and goes on with it. */
static void test_page_that_is_full(void **state) {
    fixture *f = *state;
    keep_for(f, "3");
    assert_ok(delete_box(f, S("box")));
    create(f, S("box"));
    entries es = {.arena = f->c.arena, .room = 1};
    store_container_list q = with_deleted;
    slice next;
    assert_ok(store_container_scan(f->s, f->c, f->a, &q, take, &es, &next));
    assert_true(es.count == 1 && !es.e[0].deleted && next.len > 3);
    es.room = 2;
    q.marker = next;
    assert_ok(store_container_scan(f->s, f->c, f->a, &q, take, &es, &next));
    assert_true(es.count == 2 && es.e[1].deleted && next.len == 0);
}

static void test_retention_ends(void **state) {
    fixture *f = *state;
    keep_for(f, "2");
    put(f, S("large"), content(f->c.arena, 1, 100000));
    put(f, S("small"), S("x"));
    assert_ok(delete_box(f, S("box")));
    uint64_t v = version_of(f, S("box"));
    keep_for(f, "0"); /* concerns what is deleted from now on */
    int64_t now = clock_wall_us();
    assert_ok(sweep_containers(f->s, now + 2 * DAY - 60000000));
    reaper_run(f->s);
    assert_true(version_of(f, S("box")) == v);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_ok(sweep_containers(f->s, now + 2 * DAY + 60000000));
    reaper_run(f->s);
    assert_int_equal(version_of(f, S("box")), 0);
    assert_err(restore(f, S("box"), S("box"), v), ERR_CONTAINER_NOT_FOUND);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
    create(f, S("box"));
    assert_ok(delete_box(f, S("box")));
    assert_int_equal(version_of(f, S("box")), 0);
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
    check_clean(f);
}

static void test_account_goes(void **state) {
    fixture *f = *state;
    keep_for(f, "2");
    put(f, S("large"), content(f->c.arena, 1, 100000));
    assert_ok(delete_box(f, S("box")));
    create(f, S("box"));
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_META), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
}

/* ---- rename ---- */

static err rename_box(fixture *f, slice to, slice from, slice lease) {
    return store_container_rename(f->s, f->c, f->a, to, from, lease);
}

static void test_rename(void **state) {
    fixture *f = *state;
    keep_for(f, "2");
    put(f, S("b"), S("content"));
    for (int i = 0; i < 5; i++) get(f, S("b")); /* into memory */
    create(f, S("taken"));
    uint64_t etag = f->k->etag;
    store_blob b;
    assert_err(rename_box(f, S("taken"), S("box"), SLICE_NONE), ERR_CONTAINER_ALREADY_EXISTS);
    assert_err(rename_box(f, S("box"), S("box"), SLICE_NONE), ERR_CONTAINER_ALREADY_EXISTS);
    assert_err(rename_box(f, S("new"), S("none"), SLICE_NONE), ERR_CONTAINER_NOT_FOUND);
    assert_err(rename_box(f, S("NEW"), S("box"), SLICE_NONE), ERR_INVALID_RESOURCE_NAME);
    assert_err(rename_box(f, S("new"), S("BOX"), SLICE_NONE), ERR_CONTAINER_NOT_FOUND);
    assert_ok(rename_box(f, S("new"), S("box"), SLICE_NONE));
    /* Who still holds the old name finds it gone. */
    assert_err(try_put(f, S("late"), S("1"), NULL, &b), ERR_CONTAINER_NOT_FOUND);
    const store_container *k;
    assert_err(store_container_get(f->s, f->c, f->a, S("box"), &k), ERR_CONTAINER_NOT_FOUND);
    use(f, S("new"));
    assert_true(f->k->etag == etag);
    assert_slice(f->k->name, S("new"));
    assert_slice(get(f, S("b")), S("content"));
    put(f, S("c"), S("more"));
    create(f, S("box")); /* another container under the old name */
    use(f, S("box"));
    assert_err(exists(f, S("b")), ERR_BLOB_NOT_FOUND);
    check_clean(f);
}

static void test_rename_of_a_leased_one(void **state) {
    fixture *f = *state;
    store_lease_answer a;
    store_lease_ask ask = {.action = STORE_LEASE_ACQUIRE, .proposed = S("aaaaaaaaaaaaaaaa")};
    assert_err(rename_box(f, S("new"), S("box"), S("aaaaaaaaaaaaaaaa")),
               ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION);
    assert_ok(store_container_lease(f->s, f->c, f->a, S("box"), NULL, &ask, &a));
    assert_err(rename_box(f, S("new"), S("box"), SLICE_NONE), ERR_LEASE_ID_MISSING);
    assert_err(rename_box(f, S("new"), S("box"), S("bbbbbbbbbbbbbbbb")),
               ERR_LEASE_ID_MISMATCH_WITH_CONTAINER_OPERATION);
    assert_ok(rename_box(f, S("new"), S("box"), S("aaaaaaaaaaaaaaaa")));
    use(f, S("new"));
    assert_true(store_lease_state_of(&f->k->lease, clock_wall_us()) == STORE_LEASE_LEASED);
}

/* ---- check ---- */

static void count(void *ctx, const char *what, const char *where) {
    print_error("%s: %s\n", where, what);
    ++*(int *)ctx;
}

static int defects(fixture *f) {
    int n = 0;
    store_check_progress p;
    assert_ok(store_check(f->s, count, NULL, &n, &p));
    assert_int_equal(n, p.defects);
    return n;
}

static void check_clean(fixture *f) {
    reaper_run(f->s);
    assert_int_equal(defects(f), 0);
}

static void put_meta(fixture *f, const short_key *k, slice value) {
    engine_txn *t;
    assert_ok(engine_txn_begin(store_engine(f->s), key_slice(k), &t));
    engine_txn_put(t, ENGINE_META, key_slice(k), value);
    assert_ok(engine_txn_commit(t));
}

static void test_check(void **state) {
    fixture *f = *state;
    keep_for(f, "7");
    put(f, S("b"), S("content"));
    assert_ok(delete_box(f, S("box")));
    uint64_t v = version_of(f, S("box")), account = f->a->id;
    check_clean(f);
    /* The row of the deleted one under the name as well, its deletion forgotten, and damaged. */
    short_key there, gone;
    slice value;
    row_container kept;
    key_container(&there, account, S("box"));
    key_deleted(&gone, account, S("box"), v);
    assert_ok(
        engine_get(store_engine(f->s), ENGINE_META, key_slice(&gone), f->c.arena, false, &value));
    put_meta(f, &there, value);
    assert_int_equal(defects(f), 2); /* twice, and one says that it is deleted */
    assert_ok(row_container_get(value, &kept));
    kept.deleted_us = kept.purge_us = STORE_TIME_NONE;
    kept.account = SLICE_NONE;
    put_meta(f, &there, ROW_ENCODE(container, f->c.arena, &kept));
    assert_int_equal(defects(f), 1); /* twice */
    engine_txn *t;
    assert_ok(engine_txn_begin(store_engine(f->s), key_slice(&there), &t));
    engine_txn_delete(t, ENGINE_META, key_slice(&there));
    assert_ok(engine_txn_commit(t));
    put_meta(f, &gone, S("\x01\x00"));
    assert_true(defects(f) > 0);
    kept.purge_us = 5;
    put_meta(f, &gone, ROW_ENCODE(container, f->c.arena, &kept));
    assert_true(defects(f) > 0);
    put_meta(f, &gone, value);
    gone.len--;
    put_meta(f, &gone, value);
    assert_true(defects(f) > 0);
    assert_ok(sweep_containers(f->s, INT64_MAX)); /* the one that is whole does not wait for it */
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 0);
}

static void test_deleted_keys(void **state) {
    (void)state;
    short_key k;
    slice name;
    uint64_t version;
    key_deleted(&k, 5, S("box"), 0x08DE2C0000000001);
    assert_null(memchr(k.b, 0, k.len));
    assert_ok(key_deleted_take(slice_skip(key_slice(&k), 1 + KEY_ID_LEN), &name, &version));
    assert_slice(name, S("box"));
    assert_true(version == 0x08DE2C0000000001);
    static const char *const bad[] = {"",
                                      "box",
                                      "box\x01",
                                      "box\x01"
                                      "08de2c000000000",
                                      "box\x01"
                                      "08DE2C0000000001",
                                      "box\x01"
                                      "08de2c00000000010"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_err(key_deleted_take(slice_str(bad[i]), &name, &version), ERR_CORRUPT);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_restore),        T(test_under_another_name),
        T(test_listing),        T(test_page_that_is_full),
        T(test_retention_ends), T(test_account_goes),
        T(test_rename),         T(test_rename_of_a_leased_one),
        T(test_check),          cmocka_unit_test(test_deleted_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
