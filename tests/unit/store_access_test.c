/* Last access times. */
#include "store_test.h"

#include "memory_engine.c"

#define DAY_US (24ll * 3600 * 1000000)

static store_blob blob_of(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b));
    return b;
}

static void track(fixture *f, bool on) {
    assert_ok(store_account_set(f->s, f->c, S("acct"),
                                on ? S("last_access_tracking=on") : S("last_access_tracking=off")));
    fixture_put_down(f);
    fixture_get(f);
}

static uint64_t commits(fixture *f) {
    engine_stats st;
    engine_get_stats(f->s->engine, &st);
    return st.commits;
}

/* As if it had been read then. */
static void backdate(fixture *f, slice name, int64_t us) {
    change ch;
    row_blob state;
    bool exists;
    assert_ok(change_begin(&ch, f->s, f->c, f->k, name));
    assert_ok(change_blob(&ch, &state, &exists));
    state.pub.accessed_us = us;
    change_put_row(&ch, &state);
    assert_ok(change_commit(&ch));
}

static void test_off(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("abc"));
    get(f, S("x"));
    reaper_run(f->s);
    assert_true(blob_of(f, S("x")).accessed_us == STORE_TIME_NONE);
}

static void test_once_a_day(void **state) {
    fixture *f = *state;
    slice names[] = {S("small"), S("large"), S("list")};
    store_blob b;
    put(f, names[0], S("abc"));
    put(f, names[1], content(f->c.arena, 1, 100000));
    assert_ok(try_block(f, names[2], S("1"), content(f->c.arena, 2, 100000)));
    assert_ok(try_commit(f, names[2], &LATEST("1"), 1, &b));
    reaper_run(f->s);
    track(f, true);
    for (int i = 0; i < 3; i++) {
        uint64_t etag = blob_of(f, names[i]).etag;
        reaper_run(f->s); /* reading properties is no access */
        assert_true(blob_of(f, names[i]).accessed_us == STORE_TIME_NONE);
        for (int n = 0; n < 5; n++) get(f, names[i]);
        uint64_t before = commits(f);
        reaper_run(f->s);
        assert_int_equal(commits(f) - before, 1);
        b = blob_of(f, names[i]);
        assert_true(clock_wall_us() - b.accessed_us < 60000000);
        assert_true(b.etag == etag);
        /* not again today */
        int64_t at = b.accessed_us;
        for (int n = 0; n < 5; n++) get(f, names[i]);
        reaper_run(f->s);
        assert_int_equal(commits(f) - before, 1);
        assert_true(blob_of(f, names[i]).accessed_us == at);
        /* but tomorrow */
        backdate(f, names[i], at - DAY_US);
        get(f, names[i]);
        reaper_run(f->s);
        assert_true(blob_of(f, names[i]).accessed_us >= at);
        assert_slice(get(f, names[0]), S("abc"));
    }
    track(f, false);
    backdate(f, names[0], 1);
    get(f, names[0]);
    reaper_run(f->s);
    assert_true(blob_of(f, names[0]).accessed_us == 1);
}

static void test_writing_is_an_access(void **state) {
    fixture *f = *state;
    track(f, true);
    store_blob b = put(f, S("x"), S("abc"));
    assert_true(b.accessed_us == b.modified_us);
    uint64_t before = commits(f);
    get(f, S("x"));
    reaper_run(f->s);
    assert_int_equal(commits(f), before);
}

/* What goes meanwhile is no harm; a protected blob is noted too. */
static void test_beside_others(void **state) {
    fixture *f = *state;
    store_blob b;
    store_immutability x = {.set_hold = true, .hold = true};
    put(f, S("gone"), S("abc"));
    put(f, S("held"), S("abc"));
    assert_ok(
        store_blob_set_immutability(f->s, f->c, f->k, S("held"), STORE_CURRENT, NULL, &x, &b));
    track(f, true);
    get(f, S("gone")), get(f, S("held"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("gone"), NULL, NULL, NULL));
    reaper_run(f->s);
    assert_err(exists(f, S("gone")), ERR_BLOB_NOT_FOUND);
    assert_true(blob_of(f, S("held")).accessed_us != STORE_TIME_NONE);
    assert_int_equal(atomic_load(&f->s->access_pending), 0);
    /* notes that nobody took are no leak */
    put(f, S("late"), S("abc"));
    backdate(f, S("late"), 1);
    get(f, S("late"));
    assert_int_equal(atomic_load(&f->s->access_pending), 1);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_off),
        STORE_TEST(test_once_a_day),
        STORE_TEST(test_writing_is_an_access),
        STORE_TEST(test_beside_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
