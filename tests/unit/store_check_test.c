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

/* ---- repair ---- */

static store_check_progress repair(fixture *f) {
    reports r = {0};
    store_check_progress p;
    buf_init_arena(&r.text, f->c.arena, 1 << 20);
    assert_ok(store_repair(f->s, collect, NULL, &r, &p));
    return p;
}

static void no_more_damage(fixture *f, uint64_t found) {
    const store_check_progress p = repair(f);
    assert_int_equal(p.repaired, found);
    assert_int_equal(p.defects, 0);
    assert_sound(f);
}

/* Blobs with tags, with an expiry, with a hold: each has rows in the index. */
static void fill_index(fixture *f) {
    static const pair tags[] = {{{(const uint8_t *)"a", 1}, {(const uint8_t *)"1", 1}},
                                {{(const uint8_t *)"b", 1}, {(const uint8_t *)"2", 1}}};
    const store_expiry later = {.option = STORE_EXPIRE_FROM_NOW, .us = 3600000000};
    const store_immutability hold = {.set_hold = true, .hold = true};
    store_blob b;
    put(f, S("tagged"), S("x"));
    put(f, S("expires"), S("x"));
    put(f, S("held"), S("x"));
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("tagged"), STORE_CURRENT, NULL, tags, 2));
    assert_ok(store_blob_set_expiry(f->s, f->c, f->k, S("expires"), NULL, &later, &b));
    assert_ok(
        store_blob_set_immutability(f->s, f->c, f->k, S("held"), STORE_CURRENT, NULL, &hold, &b));
}

static void test_repair_makes_the_index_again(void **state) {
    fixture *f = *state;
    fill_index(f);
    const size_t rows = memory_disk_rows(f->disk, ENGINE_INDEX);
    assert_int_equal(rows, 2 * 2 + 1 + 1);
    no_more_damage(f, 0);
    for (size_t i = 0; i < rows; i++) {
        assert_true(memory_disk_lose_row(f->disk, ENGINE_INDEX, i));
        assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), rows - 1);
        no_more_damage(f, 1);
        assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), rows);
    }
    while (memory_disk_lose_row(f->disk, ENGINE_INDEX, 0)) continue;
    (void)repair(f);
    assert_sound(f);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), rows);
}

/* Rows that stand for nothing: of a blob that is not there. */
static void test_repair_removes_what_stands_for_nothing(void **state) {
    fixture *f = *state;
    fill_index(f);
    const size_t rows = memory_disk_rows(f->disk, ENGINE_INDEX);
    for (size_t i = 0; i < rows; i++) {
        const slice key = memory_disk_key(f->disk, ENGINE_INDEX, i);
        slice other = arena_dup(f->c.arena, key), value;
        assert_ok(engine_get(f->s->engine, ENGINE_INDEX, key, f->c.arena, false, &value));
        /* The blob's name ends the key, in that of an expiry before two bytes. */
        const size_t at = other.len - (other.p[0] == KEY_INDEX_EXPIRY ? 3 : 1);
        ((uint8_t *)(uintptr_t)other.p)[at] ^= 0x02;
        engine_txn *t;
        assert_ok(engine_txn_begin(f->s->engine, other, &t));
        engine_txn_put(t, ENGINE_INDEX, other, value);
        assert_ok(engine_txn_commit(t));
        no_more_damage(f, 1);
        assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), rows);
    }
}

static void test_repair_gives_slots_back(void **state) {
    fixture *f = *state;
    uint64_t slot;
    const size_t live = memory_disk_vault_live(f->disk);
    assert_ok(
        engine_vault_put(f->s->engine, engine_new_id(f->s->engine), S("key of nothing"), &slot));
    no_more_damage(f, 1);
    assert_int_equal(memory_disk_vault_live(f->disk), live);
}

/* ---- rows that count others ---- */

/* The row of JOB whose key begins with this letter, of the blob. */
static slice job_key(fixture *f, slice name, char letter) {
    blob_key k;
    key_blob(&k, f->k->id, name);
    return arena_dup(f->c.arena, letter == 'h' ? key_head(&k) : key_staging(&k));
}

static void put_job(fixture *f, slice key, slice value) {
    engine_txn *t;
    assert_ok(engine_txn_begin(f->s->engine, slice_skip(key, 1), &t));
    if (value.p)
        engine_txn_put(t, ENGINE_JOB, key, value);
    else
        engine_txn_delete(t, ENGINE_JOB, key);
    assert_ok(engine_txn_commit(t));
}

static row_head head_now(fixture *f, slice key) {
    slice value;
    row_head h;
    assert_ok(engine_get(f->s->engine, ENGINE_JOB, key, f->c.arena, false, &value));
    assert_ok(row_head_get(value, &h));
    return h;
}

/* A blob with three snapshots; the key of its head. */
static slice fill_history(fixture *f) {
    store_blob b;
    put(f, S("past"), S("x"));
    for (int i = 0; i < 3; i++)
        assert_ok(store_blob_snapshot(f->s, f->c, f->k, S("past"), NULL, NULL, 0, &b));
    return job_key(f, S("past"), 'h');
}

static void test_repair_counts_histories_again(void **state) {
    fixture *f = *state;
    const slice key = fill_history(f);
    const row_head right = head_now(f, key);
    assert_int_equal(right.states, 3);
    row_head wrong[] = {right, right, right, right, right};
    wrong[0].states = 1;
    wrong[1].snapshots = 7;
    wrong[2].versions = 1;
    wrong[3].base = 12345;
    wrong[4].newest = 1;
    for (size_t i = 0; i < ARRAY_LEN(wrong) + 2; i++) {
        const bool gone = i == ARRAY_LEN(wrong);
        put_job(f, key,
                gone                   ? SLICE_NONE
                : i > ARRAY_LEN(wrong) ? S("no row")
                                       : ROW_ENCODE(head, f->c.arena, &wrong[i]));
        no_more_damage(f, 1);
        const row_head now = head_now(f, key);
        assert_memory_equal(&now, &right, sizeof now);
    }
}

/* A head that counts more than there is, is all that tells that something is lost. */
static void test_repair_hides_no_loss(void **state) {
    fixture *f = *state;
    const slice key = fill_history(f);
    row_head more = head_now(f, key);
    more.states++;
    put_job(f, key, ROW_ENCODE(head, f->c.arena, &more));
    store_check_progress p = repair(f);
    assert_int_equal(p.repaired, 0);
    assert_int_equal(p.defects, 1);
    const row_head now = head_now(f, key);
    assert_memory_equal(&now, &more, sizeof now);
    more.states--;
    put_job(f, key, ROW_ENCODE(head, f->c.arena, &more));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_HISTORY, 1));
    p = repair(f);
    assert_int_equal(p.repaired, 0);
    assert_true(p.defects > 0);
}

static void test_repair_counts_staged_blocks_again(void **state) {
    fixture *f = *state;
    slice value;
    row_staging right;
    for (int i = 0; i < 3; i++)
        assert_ok(try_block(f, S("staged"), arena_fmt(f->c.arena, "%04d", i), S("abc")));
    const slice key = job_key(f, S("staged"), 's');
    assert_ok(engine_get(f->s->engine, ENGINE_JOB, key, f->c.arena, false, &value));
    assert_ok(row_staging_get(value, &right));
    assert_int_equal(right.count, 3);
    for (uint32_t said = 1; said < 5; said++) { /* no row says 0 */
        row_staging wrong = right;
        wrong.count = said;
        put_job(f, key, ROW_ENCODE(staging, f->c.arena, &wrong));
        if (said <= 3) {
            no_more_damage(f, said < 3);
            continue;
        }
        const store_check_progress p = repair(f); /* one is lost */
        assert_int_equal(p.repaired, 0);
        assert_int_equal(p.defects, 1);
    }
}

/* What is lost stays reported, and nothing else is touched for it. */
static void test_repair_leaves_what_it_cannot_make(void **state) {
    fixture *f = *state;
    uint64_t slot;
    fill(f);
    fill_index(f);
    assert_true(memory_disk_damage_stream(f->disk, 0));
    assert_true(memory_disk_lose_row(f->disk, ENGINE_INDEX, 0));
    assert_ok(
        engine_vault_put(f->s->engine, engine_new_id(f->s->engine), S("key of nothing"), &slot));
    const size_t live = memory_disk_vault_live(f->disk);
    const store_check_progress p = repair(f);
    assert_int_equal(p.repaired, 1);
    assert_int_equal(p.defects, 1);
    assert_int_equal(memory_disk_vault_live(f->disk), live); /* no keys are destroyed on a guess */
    assert_reports(f, S("does not open after "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_sound),
        T(test_account_going),
        T(test_damaged_stream),
        T(test_damaged_content_row),
        T(test_lost_rows),
        T(test_lost_stream_owner),
        T(test_lost_list_part),
        T(test_lost_staged),
        T(test_lost_container),
        T(test_lost_account),
        T(test_any_damage),
        T(test_repair_makes_the_index_again),
        T(test_repair_removes_what_stands_for_nothing),
        T(test_repair_gives_slots_back),
        T(test_repair_leaves_what_it_cannot_make),
        T(test_repair_counts_histories_again),
        T(test_repair_hides_no_loss),
        T(test_repair_counts_staged_blocks_again),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
