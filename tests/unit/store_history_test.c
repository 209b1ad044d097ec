/* The history of a blob: what random sequences (store_model_test.c) do not reach. Many states in steps, what happens
 * when a step fails, readers of what was dropped, times, purges, and the check on a damaged history. */
#include "store_test.h"

#include "memory_engine.c"

#define BIG    100000
#define DAY_US (24ll * 3600 * 1000000)

static void keep(fixture *f, bool versioning, uint32_t days) {
    store_service v = {.delete_retention = {days > 0, days}, .delete_permanent = true};
    assert_ok(store_account_set(f->s, f->c, S("acct"),
                                versioning ? S("versioning=on") : S("versioning=off")));
    set_service(f, &v);
}

static store_blob snapshot_of(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, name, NULL, NULL, 0, &b));
    return b;
}

static store_pick snap_pick(const store_blob *b) {
    return (store_pick){.snapshot = b->snapshot};
}

static err state_exists(fixture *f, slice name, store_pick pick) {
    store_blob b;
    return store_blob_get(f->s, f->c, f->k, name, pick, NULL, &b);
}

static err delete_as(fixture *f, slice name, store_delete d) {
    return store_blob_delete(f->s, f->c, f->k, name, NULL, &d, NULL);
}

static err count_one(void *ctx, const store_blob *b, slice prefix) {
    (void)b;
    (void)prefix;
    ++*(size_t *)ctx;
    return OK;
}

static size_t count_states(fixture *f, bool deleted) {
    size_t n = 0;
    store_blob_list q = {.max = 5000, .snapshots = true, .versions = true, .deleted = deleted};
    do assert_ok(store_blob_scan(f->s, f->c, f->k, &q, count_one, &n, &q.marker));
    while (q.marker.len);
    return n;
}

static void report(void *ctx, const char *what, const char *where) {
    buf_fmt(ctx, "%s: %s\n", where, what);
}

/* What the check says; empty: the store is sound. */
static slice check(fixture *f) {
    buf *text = arena_alloc(f->c.arena, sizeof *text);
    store_check_progress p;
    buf_init_arena(text, f->c.arena, 1 << 20);
    assert_ok(store_check(f->s, report, NULL, text, &p));
    return buf_slice(text);
}

static void assert_sound(fixture *f) {
    assert_slice(check(f), S(""));
}

static void assert_nothing_left(fixture *f) {
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    for (int t = ENGINE_BLOB; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(f->disk, (engine_table)t), 0);
}

/* ---- in steps ---- */

#define MANY (2 * STORE_HISTORY_STEP + 500)

static void many_snapshots(fixture *f) {
    put(f, S("b"), content(f->c.arena, 1, BIG));
    for (int i = 0; i < MANY; i++) {
        arena *mine = f->c.arena;
        f->c.arena = arena_new(4096, 0);
        (void)snapshot_of(f, S("b"));
        f->c.arena = arena_free(f->c.arena);
        f->c.arena = mine;
    }
}

static void test_steps(void **state) {
    fixture *f = *state;
    keep(f, false, 7);
    many_snapshots(f);
    assert_int_equal(count_states(f, false), MANY + 1);
    assert_ok(delete_as(f, S("b"), (store_delete){.snapshots = STORE_SNAPSHOTS_INCLUDE}));
    assert_int_equal(count_states(f, false), 0);
    assert_int_equal(count_states(f, true), MANY + 1);
    assert_sound(f);
    assert_ok(store_blob_undelete(f->s, f->c, f->k, S("b")));
    assert_int_equal(count_states(f, false), MANY + 1);
    assert_slice(get(f, S("b")), content(f->c.arena, 1, BIG));
    keep(f, false, 0);
    assert_ok(delete_as(f, S("b"), (store_delete){.snapshots = STORE_SNAPSHOTS_ONLY}));
    assert_int_equal(count_states(f, true), 1);
    assert_ok(delete_as(f, S("b"), (store_delete){0}));
    clock_skew_us(8 * DAY_US);
    assert_ok(sweep_deleted(f->s, clock_wall_us()));
    assert_nothing_left(f);
    clock_skew_us(0);
}

static int commits_left;
static void fail_later(void *ctx) {
    if (commits_left-- == 0) memory_disk_fail_commits(ctx, 1, ERR_NO_SPACE);
}

/* The second step fails: the first stands, the blob is still there, and asking again goes on. */
static void test_failed_step(void **state) {
    fixture *f = *state;
    keep(f, false, 7);
    many_snapshots(f);
    commits_left = 1;
    memory_disk_on_commit(f->disk, fail_later, f->disk);
    store_delete d = {.snapshots = STORE_SNAPSHOTS_INCLUDE};
    assert_err(delete_as(f, S("b"), d), ERR_NO_SPACE);
    memory_disk_on_commit(f->disk, NULL, NULL);
    assert_ok(exists(f, S("b")));
    assert_int_equal(count_states(f, false), MANY + 1 - STORE_HISTORY_STEP);
    assert_sound(f);
    assert_ok(delete_as(f, S("b"), d));
    assert_int_equal(count_states(f, false), 0);
    assert_int_equal(count_states(f, true), MANY + 1);
}

static void test_conditions_hold_in_the_first_step(void **state) {
    fixture *f = *state;
    many_snapshots(f);
    store_conditions cond = STORE_NO_CONDITIONS;
    cond.if_match = S("\"0x1\"");
    store_delete d = {.snapshots = STORE_SNAPSHOTS_INCLUDE};
    assert_err(store_blob_delete(f->s, f->c, f->k, S("b"), &cond, &d, NULL), ERR_CONDITION_NOT_MET);
    assert_int_equal(count_states(f, false), MANY + 1);
}

/* ---- content ---- */

/* Snapshots of one block list after another: each piece goes with the last state that has it. */
static void test_shared_blocks(void **state) {
    fixture *f = *state;
    store_blob b, taken[6];
    for (int i = 0; i < 6; i++) {
        slice id = arena_fmt(f->c.arena, "%02d", i), old = arena_fmt(f->c.arena, "%02d", i - 1);
        assert_ok(try_block(f, S("l"), id, content(f->c.arena, (uint64_t)i, BIG)));
        store_block_pick picks[2] = {{old, STORE_BLOCK_LATEST}, {id, STORE_BLOCK_LATEST}};
        assert_ok(i ? try_commit(f, S("l"), picks, 2, &b)
                    : try_commit(f, S("l"), picks + 1, 1, &b));
        taken[i] = snapshot_of(f, S("l"));
    }
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 6);
    static const int order[] = {2, 3, 0, 5, 1, 4};
    static const size_t left[] = {6, 5, 5, 5, 3, 2}; /* the current state has 4 and 5 */
    for (int i = 0; i < 6; i++) {
        assert_ok(delete_as(f, S("l"), (store_delete){.pick = snap_pick(&taken[order[i]])}));
        reaper_run(f->s);
        assert_int_equal(memory_disk_streams(f->disk), left[i]);
        assert_sound(f);
    }
    assert_ok(delete_as(f, S("l"), (store_delete){0}));
    assert_nothing_left(f);
}

/* What was dropped and not given back yet still counts as a neighbour. */
static void test_overwrite_before_the_reaper(void **state) {
    fixture *f = *state;
    put(f, S("b"), content(f->c.arena, 1, BIG));
    store_blob one = snapshot_of(f, S("b"));
    assert_ok(delete_as(f, S("b"), (store_delete){.pick = snap_pick(&one)}));
    put(f, S("b"), content(f->c.arena, 2, BIG)); /* the first content: only in dropped states now */
    assert_sound(f);
    fixture_restart(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_slice(get(f, S("b")), content(f->c.arena, 2, BIG));
    assert_ok(delete_as(f, S("b"), (store_delete){0}));
    assert_nothing_left(f);
}

static void test_reader_of_a_dropped_state(void **state) {
    fixture *f = *state;
    store_reader *r;
    store_blob b;
    put(f, S("b"), content(f->c.arena, 1, BIG));
    store_blob one = snapshot_of(f, S("b"));
    put(f, S("b"), S("small"));
    assert_ok(store_blob_open(f->s, f->c, f->k, S("b"), snap_pick(&one), NULL, &b, &r));
    assert_ok(delete_as(f, S("b"), (store_delete){.snapshots = STORE_SNAPSHOTS_INCLUDE}));
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_slice(read_all(f, r, b.length, 10000), content(f->c.arena, 1, BIG));
    assert_err(state_exists(f, S("b"), snap_pick(&one)), ERR_BLOB_NOT_FOUND);
    store_reader_free(r);
    assert_nothing_left(f);
}

static void test_purge(void **state) {
    fixture *f = *state;
    keep(f, true, 7);
    store_blob b;
    for (uint64_t i = 0; i < 200; i++) put(f, S("whole"), content(f->c.arena, i, BIG));
    for (int i = 0; i < 5; i++) {
        slice id = arena_fmt(f->c.arena, "%02d", i);
        assert_ok(try_block(f, S("l"), id, content(f->c.arena, (uint64_t)i, i % 2 ? BIG : 100)));
        store_block_pick picks[2] = {{S("00"), STORE_BLOCK_LATEST}, {id, STORE_BLOCK_LATEST}};
        assert_ok(try_commit(f, S("l"), picks, i ? 2 : 1, &b));
    }
    (void)snapshot_of(f, S("whole"));
    assert_ok(delete_as(f, S("whole"), (store_delete){.snapshots = STORE_SNAPSHOTS_INCLUDE}));
    keep(f, false, 0);
    put(f, S("l"), S("dropped"));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    assert_sound(f);
    fixture_put_down(f);
    fixture_close(f); /* with all of it still to do */
    fixture_open(f);
    assert_nothing_left(f);
    assert_sound(f);
}

/* ---- times ---- */

static void test_times(void **state) {
    fixture *f = *state;
    keep(f, false, 3);
    put(f, S("b"), S("one"));
    assert_ok(delete_as(f, S("b"), (store_delete){0}));
    keep(f, false, 30); /* what is deleted keeps its time */
    clock_skew_us(2 * DAY_US);
    assert_ok(sweep_deleted(f->s, clock_wall_us()));
    assert_int_equal(count_states(f, true), 1);
    /* Restored and deleted again: the first time says nothing any more. */
    assert_ok(store_blob_undelete(f->s, f->c, f->k, S("b")));
    assert_ok(delete_as(f, S("b"), (store_delete){0}));
    clock_skew_us(4 * DAY_US);
    assert_ok(sweep_deleted(f->s, clock_wall_us()));
    assert_int_equal(count_states(f, true), 1);
    assert_sound(f);
    /* Over, and not swept yet: nobody sees it, nobody restores it. */
    clock_skew_us(33 * DAY_US);
    assert_int_equal(count_states(f, true), 0);
    assert_err(store_blob_undelete(f->s, f->c, f->k, S("b")), ERR_BLOB_NOT_FOUND);
    put(f, S("b"), S("two"));
    assert_ok(store_blob_undelete(f->s, f->c, f->k, S("b")));
    assert_int_equal(count_states(f, true), 1);
    assert_slice(get(f, S("b")), S("two"));
    assert_ok(sweep_deleted(f->s, clock_wall_us()));
    assert_ok(delete_as(f, S("b"), (store_delete){0}));
    clock_skew_us(90 * DAY_US);
    assert_ok(sweep_deleted(f->s, clock_wall_us()));
    assert_nothing_left(f);
    clock_skew_us(0);
}

/* The clock goes back: ticks do not. */
static void test_clock_goes_back(void **state) {
    fixture *f = *state;
    keep(f, true, 0);
    clock_skew_us(10 * DAY_US);
    store_blob one = put(f, S("b"), content(f->c.arena, 1, BIG)), s1 = snapshot_of(f, S("b"));
    clock_skew_us(0);
    fixture_restart(f);
    store_blob two = put(f, S("b"), content(f->c.arena, 2, BIG)), s2 = snapshot_of(f, S("b"));
    assert_true(one.version < s1.snapshot && s1.snapshot < two.version &&
                two.version < s2.snapshot);
    assert_int_equal(count_states(f, false), 6); /* a snapshot makes a version too */
    assert_sound(f);
}

/* A blob that expires leaves its snapshots, and what they share with it. */
static void test_expired_blob(void **state) {
    fixture *f = *state;
    store_blob b;
    put(f, S("b"), content(f->c.arena, 1, BIG));
    store_blob one = snapshot_of(f, S("b"));
    store_expiry x = {.option = STORE_EXPIRE_FROM_NOW, .us = DAY_US};
    assert_ok(store_blob_set_expiry(f->s, f->c, f->k, S("b"), NULL, &x, &b));
    store_blob two = snapshot_of(f, S("b"));
    assert_ok(delete_as(f, S("b"), (store_delete){.pick = snap_pick(&two)}));
    clock_skew_us(2 * DAY_US);
    assert_err(exists(f, S("b")), ERR_BLOB_NOT_FOUND);
    assert_int_equal(count_states(f, true), 1);
    assert_sound(f);
    assert_ok(sweep_expired(f->s));
    assert_sound(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_ok(state_exists(f, S("b"), snap_pick(&one)));
    assert_ok(delete_as(f, S("b"), (store_delete){.pick = snap_pick(&one)}));
    assert_nothing_left(f);
    clock_skew_us(0);
}

/* ---- the check ---- */

static void some_history(fixture *f) {
    keep(f, false, 7);
    put(f, S("b"), S("one"));
    (void)snapshot_of(f, S("b"));
    put(f, S("b"), S("two"));
    keep(f, true, 7);
    put(f, S("b"), content(f->c.arena, 3, BIG));
    put(f, S("gone"), S("x"));
    keep(f, false, 0);
    put(f, S("b"), S("version stays"));
    put(f, S("b"), S("dropped"));
    put(f, S("b"), S("now"));
    assert_sound(f);
}

/* Whichever row of a history is lost, the check tells. */
static void test_lost_rows(void **state) {
    fixture *f = *state;
    some_history(f);
    size_t history = memory_disk_rows(f->disk, ENGINE_HISTORY);
    size_t jobs = memory_disk_rows(f->disk, ENGINE_JOB);
    assert_true(history >= 3 && jobs >= 3);
    for (size_t i = 0; i < history + jobs; i++) {
        fixture_put_down(f);
        (void)fixture_teardown(state);
        (void)fixture_setup(state);
        f = *state;
        some_history(f);
        bool past = i < history;
        assert_true(memory_disk_lose_row(f->disk, past ? ENGINE_HISTORY : ENGINE_JOB,
                                         past ? i : i - history));
        assert_true(check(f).len > 0);
    }
}

static void test_wrong_head(void **state) {
    fixture *f = *state;
    put(f, S("b"), S("one"));
    (void)snapshot_of(f, S("b"));
    change ch;
    assert_ok(change_begin(&ch, f->s, f->c, f->k, S("b")));
    assert_ok(change_head(&ch));
    ch.head.snapshots = 7;
    ch.head_changed = true;
    assert_ok(change_commit(&ch));
    slice said = check(f);
    assert_true(slice_find_slice(said, 0, S("acct/box/b: its history has 1 states")) < said.len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_steps),
        T(test_failed_step),
        T(test_conditions_hold_in_the_first_step),
        T(test_shared_blocks),
        T(test_overwrite_before_the_reaper),
        T(test_reader_of_a_dropped_state),
        T(test_purge),
        T(test_times),
        T(test_clock_goes_back),
        T(test_expired_blob),
        T(test_lost_rows),
        T(test_wrong_head),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
