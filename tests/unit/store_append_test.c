/* Append blobs: what each append answers, conditions, batches that fail, readers among appends, limits. */
#include "store_test.h"

#include "memory_engine.c"

#include <pthread.h>

static err try_append(fixture *f, slice name, slice data, const store_append_if *when,
                      store_appended *ret) {
    store_upload *u = upload(f, data, data.len);
    err e = store_append_block(f->s, f->c, f->k, name, u, NULL, when, ret);
    if (e != OK) store_upload_free(u);
    return e;
}

static store_blob make(fixture *f, slice name) {
    store_blob b;
    store_put p = {.http = {.content_type = S("text/plain")}};
    assert_ok(store_append_create(f->s, f->c, f->k, name, &p, &b));
    return b;
}

static void report(void *ctx, const char *what, const char *where) {
    (void)ctx;
    print_error("%s: %s\n", where, what);
}

static void check_sound(fixture *f) {
    store_check_progress p;
    assert_ok(store_check(f->s, report, NULL, NULL, &p));
    assert_int_equal(p.defects, 0);
}

static void test_appends_add_up(void **state) {
    fixture *f = *state;
    static const size_t sizes[] = {1, 32768, 32769, 100000, 7, 7, 200000};
    make(f, S("log"));
    assert_slice(get(f, S("log")), S(""));
    buf whole;
    buf_init_arena(&whole, f->c.arena, 1 << 24);
    uint64_t etag = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        slice data = content(f->c.arena, i, sizes[i]);
        store_appended a;
        assert_ok(try_append(f, S("log"), data, NULL, &a));
        assert_true(a.offset == whole.len && a.block_count == i + 1 && a.etag > etag);
        etag = a.etag;
        buf_put(&whole, data);
        assert_slice(get_sized(f, S("log"), 1000 + i * 777), buf_slice(&whole));
    }
    fixture_restart(f);
    check_sound(f);
}

static void test_readers_see_a_prefix(void **state) {
    fixture *f = *state;
    make(f, S("log"));
    store_appended a;
    store_blob b;
    store_reader *r;
    for (int i = 0; i < 20; i++)
        assert_ok(try_append(f, S("log"), content(f->c.arena, i, 100), NULL, &a));
    slice before = get(f, S("log"));
    assert_ok(store_blob_open(f->s, f->c, f->k, S("log"), STORE_CURRENT, NULL, &b, &r));
    for (int i = 0; i < 20; i++)
        assert_ok(try_append(f, S("log"), content(f->c.arena, i, 50000), NULL, &a));
    assert_slice(read_all(f, r, b.length, 333), before);
    /* Also when the blob is replaced and the reaper runs. */
    put(f, S("log"), S("other"));
    reaper_run(f->s);
    assert_slice(read_all(f, r, b.length, 100000), before);
    store_reader_free(r);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOCK), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 1);
    check_sound(f);
}

static void test_conditions(void **state) {
    fixture *f = *state;
    store_appended a;
    store_append_if at = {.has_position = true, .position = 0},
                    max = {.has_length_max = true, .length_max = 5};
    assert_err(try_append(f, S("log"), S("x"), NULL, &a), ERR_BLOB_NOT_FOUND);
    put(f, S("log"), S("block"));
    assert_err(try_append(f, S("log"), S("x"), NULL, &a), ERR_INVALID_BLOB_TYPE);
    make(f, S("log"));
    assert_ok(try_append(f, S("log"), S("abc"), &at, &a));
    assert_err(try_append(f, S("log"), S("d"), &at, &a), ERR_APPEND_POSITION_CONDITION_NOT_MET);
    assert_err(try_append(f, S("log"), S("def"), &max, &a), ERR_MAX_BLOB_SIZE_CONDITION_NOT_MET);
    assert_ok(try_append(f, S("log"), S("de"), &max, &a));
    assert_slice(get(f, S("log")), S("abcde"));
    store_blob b;
    assert_ok(store_append_seal(f->s, f->c, f->k, S("log"), NULL, NULL, &b));
    assert_true(b.sealed && b.etag == a.etag);
    assert_err(try_append(f, S("log"), S("f"), NULL, &a), ERR_BLOB_IS_SEALED);
    assert_err(try_put(f, S("log"), S("f"), NULL, &b), ERR_BLOB_IS_SEALED);
    fixture_restart(f);
    assert_err(try_append(f, S("log"), S("f"), NULL, &a), ERR_BLOB_IS_SEALED);
    assert_slice(get(f, S("log")), S("abcde"));
    check_sound(f);
}

static void test_failed_commit_changes_nothing(void **state) {
    fixture *f = *state;
    store_appended a;
    make(f, S("log"));
    assert_ok(try_append(f, S("log"), S("one"), NULL, &a));
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_err(try_append(f, S("log"), content(f->c.arena, 1, 50000), NULL, &a), ERR_NO_SPACE);
    memory_disk_fail_commits(f->disk, 2, ERR_CONFLICT);
    assert_ok(try_append(f, S("log"), S("two"), NULL, &a));
    assert_int_equal(a.block_count, 2);
    assert_slice(get(f, S("log")), S("onetwo"));
    check_sound(f);
    assert_int_equal(memory_disk_streams(f->disk), 0);
}

static void test_limit_of_blocks(void **state) {
    fixture *f = *state;
    store_appended a = {0};
    make(f, S("log"));
    for (int i = 0; i < STORE_COMMITTED_BLOCKS_MAX; i++) {
        arena_reset(f->c.arena);
        assert_ok(try_append(f, S("log"), S("x"), NULL, &a));
    }
    assert_int_equal(a.block_count, STORE_COMMITTED_BLOCKS_MAX);
    assert_err(try_append(f, S("log"), S("x"), NULL, &a), ERR_COMMITTED_BLOCK_COUNT_EXCEEDS_LIMIT);
    assert_int_equal(get(f, S("log")).len, STORE_COMMITTED_BLOCKS_MAX);
    check_sound(f);
}

/* ---- many at once ---- */

#define WRITERS 8
#define EACH    40

typedef struct writer {
    fixture *f;
    int number;
    pthread_t thread;
    uint64_t offsets[EACH];
    err outcomes[EACH];
} writer;

static slice line(arena *a, int number, int i) {
    /* Every tenth is a stream. */
    return content(a, (uint64_t)(number * EACH + i), i % 10 == 9 ? 40000 : 20 + (size_t)i);
}

static void *write_all(void *arg) {
    writer *w = arg;
    fixture mine = *w->f;
    mine.c.arena = arena_new(4096, 0);
    store_append_if never = {.has_position = true, .position = 1};
    for (int i = 0; i < EACH; i++) {
        store_appended a = {0};
        slice data = line(mine.c.arena, w->number, i);
        w->outcomes[i] = try_append(&mine, S("log"), data, i % 7 == 3 ? &never : NULL, &a);
        w->offsets[i] = a.offset;
        arena_reset(mine.c.arena);
    }
    arena_free(mine.c.arena);
    return NULL;
}

/* Commits that take a while, so that appends meet; now and then one fails. */
static void slow_commit(void *ctx) {
    static _Atomic int n;
    memory_disk *d = ctx;
    struct timespec t = {.tv_nsec = 300000};
    nanosleep(&t, NULL);
    if (atomic_fetch_add(&n, 1) % 29 == 28) memory_disk_fail_commits(d, 1, ERR_NO_SPACE);
}

static void test_many_at_once(void **state) {
    fixture *f = *state;
    writer w[WRITERS];
    make(f, S("log"));
    memory_disk_on_commit(f->disk, slow_commit, f->disk);
    for (int i = 0; i < WRITERS; i++) {
        w[i] = (writer){.f = f, .number = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, write_all, &w[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(w[i].thread, NULL);
    memory_disk_on_commit(f->disk, NULL, NULL);
    memory_disk_fail_commits(f->disk, 0, OK);
    slice whole = get(f, S("log"));
    size_t total = 0, failed = 0;
    for (int i = 0; i < WRITERS; i++) {
        for (int j = 0; j < EACH; j++) {
            slice data = line(f->c.arena, i, j);
            if (w[i].outcomes[j] == OK) {
                assert_true(j % 7 != 3 && w[i].offsets[j] + data.len <= whole.len);
                assert_slice(slice_of(whole.p + w[i].offsets[j], data.len), data);
                total += data.len;
            } else if (j % 7 == 3) {
                assert_err(w[i].outcomes[j], ERR_APPEND_POSITION_CONDITION_NOT_MET);
            } else {
                assert_err(w[i].outcomes[j], ERR_NO_SPACE);
                failed++;
            }
        }
    }
    assert_true(failed > 0);
    assert_int_equal(total, whole.len);
    check_sound(f);
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_appends_add_up),  TEST(test_readers_see_a_prefix),
        TEST(test_conditions),      TEST(test_failed_commit_changes_nothing),
        TEST(test_limit_of_blocks), TEST(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
