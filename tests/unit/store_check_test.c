/* The check: silent on a sound store, and on a damaged one it says what and where. */
#include "store_test.h"

#include "memory_engine.c"

typedef struct reports {
    buf text;
    size_t count;
} reports;

static void collect(void *ctx, const char *what, const char *where) {
    reports *r = ctx;
    buf_fmt(&r->text, "%s: %s\n", where, what);
    r->count++;
}

static reports check_store(fixture *f, store_check_progress *ret) {
    reports r = {0};
    store_check_progress p;
    buf_init_arena(&r.text, f->c.arena, 1 << 20);
    assert_ok(store_check(f->s, collect, NULL, &r, &p));
    assert_int_equal(p.defects, r.count);
    if (ret) *ret = p;
    return r;
}

static void assert_sound(fixture *f) {
    reports r = check_store(f, NULL);
    if (r.count) print_error("%.*s", SLICE_ARG(buf_slice(&r.text)));
    assert_int_equal(r.count, 0);
}

static void assert_reports(fixture *f, slice part) {
    reports r = check_store(f, NULL);
    slice text = buf_slice(&r.text);
    if (r.count == 0 || slice_find_slice(text, 0, part) == text.len) {
        print_error("reported: %.*s\n", SLICE_ARG(text));
        fail();
    }
}

#define BIG 100000

/* One of everything, and garbage that was not collected. */
static void fill(fixture *f) {
    store_blob b;
    store_service sv = {.log_read = true};
    set_service(f, &sv);
    put(f, S("empty"), S(""));
    put(f, S("small"), S("abc"));
    put(f, S("large"), content(f->c.arena, 1, BIG));
    put(f, S("dir/\x01odd"), content(f->c.arena, 2, BIG));
    for (int i = 0; i < 700; i++)
        assert_ok(try_block(f, S("list"), arena_fmt(f->c.arena, "%04d", i),
                            content(f->c.arena, (uint64_t)i, (size_t)i % 3)));
    assert_ok(try_block(f, S("list"), S("big1"), content(f->c.arena, 1, BIG)));
    store_block_pick *picks = arena_alloc(f->c.arena, 702 * sizeof *picks);
    for (int i = 0; i < 700; i++)
        picks[i] = (store_block_pick){arena_fmt(f->c.arena, "%04d", i), STORE_BLOCK_LATEST};
    picks[700] = picks[701] = LATEST("big1");
    assert_ok(try_commit(f, S("list"), picks, 702, &b));
    assert_ok(try_block(f, S("list"), S("more"), content(f->c.arena, 7, BIG)));
    assert_ok(try_block(f, S("staged"), S("one"), S("1")));
}

static void leave_garbage(fixture *f) {
    store_blob b;
    put(f, S("large"), content(f->c.arena, 3, BIG + 1));
    put(f, S("dir/\x01odd"), S("now small"));
    store_block_pick keep[] = {COMMITTED("0005"), COMMITTED("0001"), UNCOMMITTED("more")};
    assert_ok(try_commit(f, S("list"), keep, 3, &b));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("small"), NULL, NULL, NULL));
    assert_ok(try_block(f, S("gone"), S("1"), content(f->c.arena, 5, BIG)));
    put(f, S("gone"), S("whole"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("gone"), NULL, NULL, NULL));
}

static void test_sound(void **state) {
    fixture *f = *state;
    assert_sound(f);
    fill(f);
    assert_sound(f);
    leave_garbage(f);
    assert_sound(f); /* with all garbage still there */
    fixture_restart(f);
    assert_sound(f);
    reaper_run(f->s);
    assert_sound(f);
    store_check_progress p;
    (void)check_store(f, &p);
    assert_int_equal(p.blobs, 4);
    assert_true(p.bytes > 2 * BIG);
    assert_ok(store_account_create(f->s, f->c, S("other"), NULL));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    assert_sound(f); /* before the purge */
    fixture_put_down(f);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_sound(f);
    reaper_run(f->s);
    assert_sound(f);
}

static void test_account_going(void **state) {
    fixture *f = *state;
    fill(f);
    leave_garbage(f);
    fixture_put_down(f);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_sound(f);
    fixture_close(f);
    fixture_open(f);
    assert_sound(f);
    reaper_run(f->s);
    assert_sound(f);
    assert_int_equal(memory_disk_streams(f->disk), 0);
}

static void test_damaged_stream(void **state) {
    fixture *f = *state;
    put(f, S("large"), content(f->c.arena, 1, BIG));
    assert_true(memory_disk_damage_stream(f->disk, 0));
    assert_reports(f, S("acct/box/large: content "));
    assert_reports(f, S("does not open after "));
    store_blob b;
    store_reader *r;
    static uint8_t out[BIG];
    size_t n;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("large"), STORE_CURRENT, NULL, &b, &r));
    err e = OK;
    for (uint64_t at = 0; at < b.length && e == OK; at += n)
        e = store_reader_read(r, at, out, sizeof out, false, &n);
    assert_err(e, ERR_CORRUPT); /* and no reader gets its bytes */
    store_reader_free(r);
}

static void test_damaged_content_row(void **state) {
    fixture *f = *state;
    put(f, S("a b"), content(f->c.arena, 1, 2000));
    assert_true(memory_disk_damage_row(f->disk, ENGINE_CONTENT, 0));
    assert_reports(f, S("acct/box/a b: content "));
    store_blob b;
    store_reader *r;
    assert_err(store_blob_open(f->s, f->c, f->k, S("a b"), STORE_CURRENT, NULL, &b, &r),
               ERR_CORRUPT);
}

static void test_lost_rows(void **state) {
    fixture *f = *state;
    put(f, S("a"), S("1"));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_CONTENT, 0));
    assert_reports(f, S("its row is missing"));
    store_blob b;
    store_reader *r;
    assert_err(store_blob_open(f->s, f->c, f->k, S("a"), STORE_CURRENT, NULL, &b, &r), ERR_CORRUPT);
    put(f, S("b"), S("1"));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_BLOB, 1));
    assert_reports(f, S("acct/box/b: content "));
    assert_reports(f, S("belongs to no blob and no block"));
}

static void test_lost_stream_owner(void **state) {
    fixture *f = *state;
    put(f, S("a"), content(f->c.arena, 1, BIG));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_BLOB, 0));
    assert_reports(f, S("rows own 0 of them"));
}

static void test_lost_list_part(void **state) {
    fixture *f = *state;
    fill(f);
    assert_true(memory_disk_lose_row(f->disk, ENGINE_BLOCK, 0));
    assert_reports(f, S("acct/box/list: its block list has a gap"));
}

static void test_lost_staged(void **state) {
    fixture *f = *state;
    assert_ok(try_block(f, S("x"), S("1"), S("one")));
    assert_ok(try_block(f, S("x"), S("2"), S("two")));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_BLOCK, 0));
    assert_reports(f, S("1 blocks are staged; their session says 2"));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_JOB, 0));
    assert_reports(f, S("which is not there"));
    assert_reports(f, S("a marker without its session"));
}

static void test_lost_container(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("1"));
    slice first = memory_disk_key(f->disk, ENGINE_META, 1);
    assert_int_equal(first.p[0], 'c');
    assert_true(memory_disk_lose_row(f->disk, ENGINE_META, 1));
    assert_reports(f, S("rows of a container that is not there"));
}

static void test_lost_account(void **state) {
    fixture *f = *state;
    assert_true(memory_disk_lose_row(f->disk, ENGINE_META, 0));
    assert_reports(f, S("the container's account is not there"));
}

/* Every single flipped bit in any row of META, BLOB or BLOCK is either reported or harmless to
 * read; the check never stops on one. */
static void test_any_damage(void **state) {
    fixture *f = *state;
    fill(f);
    leave_garbage(f);
    fixture_put_down(f);
    for (int t = 0; t < ENGINE_TABLE_COUNT; t++) {
        size_t rows = memory_disk_rows(f->disk, (engine_table)t);
        for (size_t i = 0; i < rows; i += 1 + rows / 20) {
            if (!memory_disk_damage_row(f->disk, (engine_table)t, i)) continue;
            fixture_close(f);
            fixture_open(f);
            (void)check_store(f, NULL);
            assert_true(memory_disk_damage_row(f->disk, (engine_table)t, i)); /* back again */
        }
    }
    fixture_close(f);
    fixture_open(f);
    assert_sound(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_sound),          T(test_account_going),
        T(test_damaged_stream), T(test_damaged_content_row),
        T(test_lost_rows),      T(test_lost_stream_owner),
        T(test_lost_list_part), T(test_lost_staged),
        T(test_lost_container), T(test_lost_account),
        T(test_any_damage),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
