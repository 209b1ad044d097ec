/* The store on the local engine: what the tests in memory show, on files, across restarts. */
#include "store_test.h"

#include "memory_engine.c"

#include <ftw.h>

#include "engine/local/local.h"

typedef struct local {
    fixture f;
    char path[64];
} local;

static void local_open(local *l, bool create) {
    fixture *f = &l->f;
    engine *e;
    engine_local_options lo = {.path = l->path, .create = create, .cache_bytes = 32 << 20};
    assert_ok(engine_local_open(&lo, &e));
    store_options o = {.engine = e, .keys = test_keys_new(), .background = f->background};
    assert_ok(store_open(&o, &f->s));
    f->c = (store_call){.arena = arena_new(4096, 0)};
}

static void local_restart(local *l) {
    fixture_close(&l->f);
    local_open(l, false);
    fixture_get(&l->f);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *w) {
    (void)st, (void)kind, (void)w;
    return remove(path);
}

static int setup(void **state) {
    local *l = calloc(1, sizeof *l);
    snprintf(l->path, sizeof l->path, "/tmp/store-test-XXXXXX");
    assert_non_null(mkdtemp(l->path));
    assert_int_equal(rmdir(l->path), 0);
    local_open(l, true);
    fixture *f = &l->f;
    assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    *state = l;
    return 0;
}

static int teardown(void **state) {
    local *l = *state;
    fixture_close(&l->f);
    nftw(l->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(l);
    return 0;
}

static void report(void *ctx, const char *what, const char *where) {
    (void)ctx;
    print_error("%s: %s\n", where, what);
}

static void assert_sound(fixture *f) {
    store_check_progress p;
    assert_ok(store_check(f->s, report, NULL, NULL, &p));
    assert_int_equal(p.defects, 0);
}

/* An engine that was just opened may still be counting. */
static void assert_live_bytes(fixture *f, uint64_t expected) {
    engine_stats st;
    engine_get_stats(f->s->engine, &st);
    for (int i = 0; i < 500 && st.stream_bytes_live != expected; i++) {
        usleep(10000);
        engine_get_stats(f->s->engine, &st);
    }
    assert_int_equal(st.stream_bytes_live, expected);
}

static void test_everything_once(void **state) {
    local *l = *state;
    fixture *f = &l->f;
    static const size_t sizes[] = {0, 1, 5000, 32768, 32769, 65536, 1 << 20, 3000000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        put(f, arena_fmt(f->c.arena, "b%zu", sizes[i]), content(f->c.arena, i, sizes[i]));
    for (int i = 0; i < 40; i++)
        assert_ok(try_block(f, S("list"), arena_fmt(f->c.arena, "%03d", i),
                            content(f->c.arena, (uint64_t)i, (size_t)i * 5000)));
    store_block_pick picks[40];
    for (int i = 0; i < 40; i++)
        picks[i] = (store_block_pick){arena_fmt(f->c.arena, "%03d", 39 - i), STORE_BLOCK_LATEST};
    store_blob b;
    assert_ok(try_commit(f, S("list"), picks, 40, &b));
    assert_ok(try_block(f, S("list"), S("new"), content(f->c.arena, 77, 100000)));
    assert_sound(f);
    local_restart(l);
    assert_sound(f);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_slice(get(f, arena_fmt(f->c.arena, "b%zu", sizes[i])),
                     content(f->c.arena, i, sizes[i]));
    assert_int_equal(get(f, S("list")).len, 5000 * 39 * 40 / 2);
    store_block_pick some[] = {COMMITTED("003"), UNCOMMITTED("new"), COMMITTED("039")};
    assert_ok(try_commit(f, S("list"), some, 3, &b));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_ok(store_blob_delete(f->s, f->c, f->k, arena_fmt(f->c.arena, "b%zu", sizes[i]), NULL,
                                    NULL, NULL));
    assert_sound(f);
    local_restart(l); /* garbage is found again */
    reaper_run(f->s);
    assert_sound(f);
    assert_int_equal(get(f, S("list")).len, 15000 + 100000 + 39 * 5000);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    fixture_put_down(f);
    fixture_close(f);
    local_open(l, false);
    reaper_run(f->s);
    assert_live_bytes(f, 0);
    assert_sound(f);
}

static void test_aborted_upload_leaves_nothing(void **state) {
    local *l = *state;
    fixture *f = &l->f;
    store_upload *u = upload(f, content(f->c.arena, 1, 1 << 20), 1 << 20);
    store_upload_free(u);
    assert_ok(store_upload_new(f->s, f->k, 1 << 20, 1 << 20, 0, &u));
    assert_ok(store_upload_write(u, content(f->c.arena, 1, 700000)));
    store_upload_free(u);
    assert_live_bytes(f, 0);
    local_restart(l);
    assert_live_bytes(f, 0);
    assert_sound(f);
}

/* Overwritten while it is read, on extents whose space is given back. */
static void test_reader_during_overwrites(void **state) {
    local *l = *state;
    fixture *f = &l->f;
    slice first = content(f->c.arena, 1, 2000000);
    put(f, S("x"), first);
    store_blob b;
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &r));
    for (uint64_t i = 0; i < 20; i++) {
        put(f, S("x"), content(f->c.arena, 2 + i, 2000000));
        reaper_run(f->s);
    }
    assert_slice(read_all(f, r, first.len, 150000), first);
    store_reader_free(r);
    reaper_run(f->s);
    assert_live_bytes(f, crypto_sealed_len(2000000));
    assert_sound(f);
}

static void test_background(void **state) {
    local *l = *state;
    fixture *f = &l->f;
    f->background = true;
    local_restart(l);
    for (uint64_t i = 0; i < 30; i++) put(f, S("x"), content(f->c.arena, i, 100000));
    store_stats st = {.garbage_pending = 1};
    for (int i = 0; i < 1000 && st.garbage_pending; i++) {
        usleep(10000);
        store_get_stats(f->s, &st);
    }
    assert_live_bytes(f, crypto_sealed_len(100000));
    f->background = false;
    local_restart(l);
    assert_sound(f);
}

static err count(void *ctx, const store_blob *b, slice prefix) {
    (void)b, (void)prefix;
    ++*(size_t *)ctx;
    return OK;
}

static void test_listing_pages(void **state) {
    local *l = *state;
    fixture *f = &l->f;
    for (int i = 0; i < 700; i++) {
        arena *kept = f->c.arena;
        f->c.arena = arena_new(4096, 0);
        put(f, arena_fmt(f->c.arena, "d%d/%d", i % 7, i), S("x"));
        arena_free(f->c.arena);
        f->c.arena = kept;
    }
    size_t n = 0;
    store_blob_list q = {.max = 33};
    do assert_ok(store_blob_scan(f->s, f->c, f->k, &q, count, &n, &q.marker));
    while (q.marker.len);
    assert_int_equal(n, 700);
    q = (store_blob_list){.max = 3, .delimiter = S("/")};
    n = 0;
    do assert_ok(store_blob_scan(f->s, f->c, f->k, &q, count, &n, &q.marker));
    while (q.marker.len);
    assert_int_equal(n, 7);
}

/* A reference that does not verify cannot be released: the job stays, is counted, and is tried again
 * less and less often; check tells of it. */
static void test_damaged_reference(void **state) {
    local *l = *state;
    fixture *f = &l->f;
    put(f, S("b"), content(f->c.arena, 1, 100000));
    row_piece p = {.id = 7, .where = ROW_STREAM, .ref = S("no reference")};
    row_garbage garbage = {.name = S("b")};
    buf pieces;
    buf_init_arena(&pieces, f->c.arena, 1024);
    row_waste_put(&pieces, &p);
    garbage.pieces = buf_slice(&pieces);
    short_key k;
    engine_txn *t;
    engine *en = store_engine(f->s);
    key_garbage(&k, f->k->id, engine_new_id(en));
    assert_ok(engine_txn_begin(en, key_slice(&k), &t));
    engine_txn_put(t, ENGINE_JOB, key_slice(&k), ROW_ENCODE(garbage, f->c.arena, &garbage));
    assert_ok(engine_txn_commit(t));
    local_restart(l);
    put(f, S("b"), S("new")); /* its old content goes, whatever else fails */
    store_stats st;
    for (int i = 0; i < 3; i++) {
        reaper_run(f->s);
        store_get_stats(f->s, &st);
        assert_int_equal(st.jobs_failing, 1);
        assert_int_equal(st.garbage_pending, 1);
    }
    store_check_progress checked;
    assert_ok(store_check(f->s, report, NULL, NULL, &checked));
    assert_int_equal(checked.defects, 1);
    assert_ok(engine_txn_begin(store_engine(f->s), key_slice(&k), &t));
    engine_txn_delete(t, ENGINE_JOB, key_slice(&k));
    assert_ok(engine_txn_commit(t));
    reaper_run(f->s);
    store_get_stats(f->s, &st);
    assert_true(st.jobs_failing == 0 && st.garbage_pending == 0);
}

static void test_retries_back_off(void **state) {
    (void)state;
    assert_true(job_retry_us(1) == 10 * 1000000ll && job_retry_us(2) == 20 * 1000000ll);
    for (unsigned i = 2; i < 200; i++) {
        assert_true(job_retry_us(i) >= job_retry_us(i - 1));
        assert_true(job_retry_us(i) <= 3600 * 1000000ll);
    }
    assert_true(job_retry_us(UINT32_MAX) == 3600 * 1000000ll);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_everything_once),
        T(test_aborted_upload_leaves_nothing),
        T(test_reader_during_overwrites),
        T(test_background),
        T(test_listing_pages),
        T(test_damaged_reference),
        cmocka_unit_test(test_retries_back_off),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
