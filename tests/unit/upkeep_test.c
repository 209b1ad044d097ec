/* The scrubber: it reads everything, names what is damaged, goes on where it was. */
#include <time.h>

#include "store_test.h"
#include "upkeep/upkeep.h"

#include "memory_engine.c"

#define HOUR_US ((int64_t)3600 * 1000000)
#define FAST    (1ull << 40)

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* One pass from wherever it is. */
static upkeep_stats one_pass(fixture *f) {
    upkeep *u;
    upkeep_stats s;
    assert_ok(upkeep_start(f->s, FAST, HOUR_US, &u));
    do {
        nap();
        upkeep_get_stats(u, &s);
    } while (s.passes == 0);
    assert_null(upkeep_stop(u));
    return s;
}

static void again(fixture *f) {
    store_scrub v = {.begun_us = STORE_TIME_NONE, .ended_us = STORE_TIME_NONE};
    assert_ok(store_scrub_put(f->s, f->c, &v));
}

static void snapshot(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, name, NULL, NULL, 0, &b));
}

static void everything_is_read(void **state) {
    fixture *f = *state;
    const store_container *k;
    assert_int_equal(one_pass(f).blobs, 0);
    put(f, S("large"), content(f->c.arena, 1, 3000000));
    put(f, S("small"), content(f->c.arena, 2, 3000));
    snapshot(f, S("small"));
    put(f, S("small"), content(f->c.arena, 3, 500));
    assert_ok(try_block(f, S("staged"), S("1"), content(f->c.arena, 4, 900)));
    assert_ok(store_container_create(f->s, f->c, f->a, S("another"), STORE_PRIVATE, NULL, 0, &k));
    store_container_unref(k);
    assert_ok(store_account_create(f->s, f->c, S("other"), NULL));
    again(f);
    const upkeep_stats s = one_pass(f);
    assert_int_equal(s.blobs, 3);
    assert_int_equal(s.damaged, 0);
    assert_true(s.bytes > 3000000 + 3000 + 500); /* and the rows */
    assert_true(s.ended_us != STORE_TIME_NONE && s.begun_us == STORE_TIME_NONE);
    fixture_assert_sound(f);
}

static void a_pass_is_over_until_it_is_due(void **state) {
    fixture *f = *state;
    upkeep *u;
    upkeep_stats s, later;
    s = one_pass(f);
    assert_ok(upkeep_start(f->s, FAST, HOUR_US, &u));
    for (int i = 0; i < 20; i++) nap();
    upkeep_get_stats(u, &later);
    assert_int_equal(later.passes, 0);
    assert_true(later.ended_us == s.ended_us);
    upkeep_stop(u);
    assert_ok(upkeep_start(f->s, FAST, 1000, &u)); /* a thousandth of a second */
    do {
        nap();
        upkeep_get_stats(u, &later);
    } while (later.passes < 3);
    upkeep_stop(u);
}

static void damage_is_counted_and_the_rest_is_read(void **state) {
    fixture *f = *state;
    put(f, S("a"), content(f->c.arena, 1, 3000000));
    put(f, S("b"), content(f->c.arena, 2, 3000));
    put(f, S("c"), content(f->c.arena, 3, 3000));
    assert_true(memory_disk_damage_stream(f->disk, 0));
    assert_true(memory_disk_damage_row(f->disk, ENGINE_CONTENT, 0));
    fixture_restart(f);
    const upkeep_stats s = one_pass(f);
    assert_int_equal(s.damaged, 2);
    assert_int_equal(s.blobs, 3);
    again(f); /* nothing was repaired by looking */
    assert_int_equal(one_pass(f).damaged, 2);
}

/* A blob's row: the rest of its container cannot be listed, other containers can. */
static void a_damaged_row_is_no_end(void **state) {
    fixture *f = *state;
    const store_container *k;
    put(f, S("a"), content(f->c.arena, 2, 3000));
    assert_ok(store_container_create(f->s, f->c, f->a, S("zoo"), STORE_PRIVATE, NULL, 0, &k));
    const store_container *box = f->k;
    f->k = k;
    put(f, S("b"), content(f->c.arena, 3, 3000));
    f->k = box;
    store_container_unref(k);
    blob_key key;
    engine_txn *t;
    key_blob(&key, f->k->id, S("a"));
    assert_ok(engine_txn_begin(f->s->engine, key_base(&key), &t));
    engine_txn_put(t, ENGINE_BLOB, key_state(&key), S("nonsense"));
    assert_ok(engine_txn_commit(t));
    fixture_restart(f);
    const upkeep_stats s = one_pass(f);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.blobs, 1); /* the one in the other */
}

/* An account's key, while the account is in memory: what is in other accounts is read all the same. */
static void a_damaged_key_is_no_end(void **state) {
    fixture *f = *state;
    const store_account *a;
    const store_container *k, *box = f->k;
    put(f, S("a"), content(f->c.arena, 2, 3000));
    assert_ok(store_account_create(f->s, f->c, S("other"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("other"), &a));
    assert_ok(store_container_create(f->s, f->c, a, S("zoo"), STORE_PRIVATE, NULL, 0, &k));
    f->k = k;
    put(f, S("b"), content(f->c.arena, 3, 3000));
    f->k = box;
    memory_disk_damage_slot(f->disk, account_of(f->a)->slot);
    const upkeep_stats s = one_pass(f);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.blobs, 1); /* the other's */
    store_container_unref(k);
    store_account_unref(a);
}

static void it_goes_on_where_it_was(void **state) {
    fixture *f = *state;
    upkeep *u;
    upkeep_stats s;
    store_scrub v;
    enum { BLOBS = 900, LEN = 20000 };
    for (int i = 0; i < BLOBS; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%04d", i);
        put(f, slice_str(name), content(f->c.arena, (uint64_t)i, LEN));
    }
    assert_ok(upkeep_start(f->s, (uint64_t)BLOBS * LEN, HOUR_US, &u)); /* about a second */
    do {
        nap();
        upkeep_get_stats(u, &s);
    } while (s.blobs < 450);
    upkeep_stop(u);
    assert_ok(store_scrub_get(f->s, f->c, &v));
    assert_slice(v.account, S("acct"));
    assert_slice(v.container, S("box"));
    assert_true(v.marker.len > 0 && v.begun_us != STORE_TIME_NONE);
    assert_true(v.blobs >= 450 && v.blobs < BLOBS);
    fixture_assert_sound(f);
    fixture_restart(f);
    s = one_pass(f);
    assert_true(s.blobs >= BLOBS && s.blobs <= BLOBS + 200); /* a page may be read twice */
    assert_int_equal(s.damaged, 0);
}

/* Blobs come, change and go under it; what is gone is no damage. */
static void changes_under_it_are_no_damage(void **state) {
    fixture *f = *state;
    upkeep *u;
    upkeep_stats s;
    f->background = true; /* space is given back under it, too */
    fixture_restart(f);
    const slice data = content(f->c.arena, 9, 200000);
    assert_ok(upkeep_start(f->s, FAST, 1000, &u));
    for (int round = 0; round < 300; round++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", round % 7);
        put(f, slice_str(name), slice_take(data, (size_t)(round * 661 % 200000)));
        if (round % 3 == 0)
            assert_ok(store_blob_delete(f->s, f->c, f->k, slice_str(name), NULL, NULL, NULL));
    }
    upkeep_get_stats(u, &s);
    upkeep_stop(u);
    assert_int_equal(s.damaged, 0);
}

static void nothing_runs_when_it_is_off(void **state) {
    fixture *f = *state;
    upkeep *u;
    upkeep_stats s;
    assert_ok(upkeep_start(f->s, 0, HOUR_US, &u));
    nap();
    upkeep_get_stats(u, &s);
    assert_int_equal(s.passes, 0);
    upkeep_stop(u);
    assert_null(upkeep_stop(NULL));
}

int main(void) {
    log_setup(2, LOG_ERROR, false);
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(everything_is_read),
        T(a_pass_is_over_until_it_is_due),
        T(damage_is_counted_and_the_rest_is_read),
        T(a_damaged_row_is_no_end),
        T(a_damaged_key_is_no_end),
        T(it_goes_on_where_it_was),
        T(changes_under_it_are_no_damage),
        T(nothing_runs_when_it_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
