/* Tiers, rehydration and expiry. */
#include "store_test.h"

#include "memory_engine.c"

static store_blob blob_of(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b));
    return b;
}

static err set_tier(fixture *f, slice name, store_tier tier, bool high, bool *ret_later) {
    return store_blob_set_tier(f->s, f->c, f->k, name, STORE_CURRENT, NULL, tier, high, ret_later);
}

static err open_blob(fixture *f, slice name) {
    store_blob b;
    store_reader *r;
    err e = store_blob_open(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b, &r);
    if (e == OK) store_reader_free(r);
    return e;
}

static void rehydration_takes(fixture *f, const char *setting) {
    assert_ok(store_account_set(f->s, f->c, S("acct"), slice_str(setting)));
}

static void test_tier_is_no_state(void **state) {
    fixture *f = *state;
    bool later;
    store_blob before = put(f, S("x"), S("abc"));
    assert_int_equal(blob_of(f, S("x")).tier, STORE_TIER_INFERRED);
    assert_ok(set_tier(f, S("x"), STORE_TIER_COOL, false, &later));
    assert_false(later);
    store_blob b = blob_of(f, S("x"));
    assert_int_equal(b.tier, STORE_TIER_COOL);
    assert_true(b.etag == before.etag && b.modified_us == before.modified_us);
    assert_true(b.tier_changed_us != STORE_TIME_NONE);
    assert_slice(get(f, S("x")), S("abc"));
    assert_err(set_tier(f, S("none"), STORE_TIER_COOL, false, &later), ERR_BLOB_NOT_FOUND);
}

static void test_archive_closes(void **state) {
    fixture *f = *state;
    bool later;
    store_blob b;
    pair meta = {S("a"), S("1")};
    put(f, S("x"), S("abc"));
    get(f, S("x")), get(f, S("x")); /* into memory */
    put(f, S("big"), content(f->c.arena, 1, 100000));
    slice names[] = {S("x"), S("big")};
    for (size_t i = 0; i < 2; i++) {
        slice n = names[i];
        store_http http = {0};
        assert_ok(set_tier(f, n, STORE_TIER_ARCHIVE, false, &later));
        assert_false(later);
        assert_err(open_blob(f, n), ERR_BLOB_ARCHIVED);
        assert_err(try_put(f, n, S("new"), NULL, &b), ERR_BLOB_ARCHIVED);
        assert_ok(try_block(f, n, S("1"), S("1")));
        assert_err(try_commit(f, n, &LATEST("1"), 1, &b), ERR_BLOB_ARCHIVED);
        assert_err(store_blob_set_metadata(f->s, f->c, f->k, n, NULL, &meta, 1, &b),
                   ERR_BLOB_ARCHIVED);
        assert_err(store_blob_set_http(f->s, f->c, f->k, n, NULL, &http, &b), ERR_BLOB_ARCHIVED);
        /* a condition that is not met goes first */
        store_conditions cond = STORE_NO_CONDITIONS;
        cond.if_match = S("\"0x1\"");
        assert_err(try_put(f, n, S("new"), &cond, &b), ERR_CONDITION_NOT_MET);
        assert_ok(store_blob_set_tags(f->s, f->c, f->k, n, STORE_CURRENT, NULL, &meta, 1));
        assert_int_equal(blob_of(f, n).tier, STORE_TIER_ARCHIVE);
        assert_ok(store_blob_delete(f->s, f->c, f->k, n, NULL, NULL, NULL));
        put(f, n, S("again"));
    }
}

static void test_rehydration_at_once(void **state) {
    fixture *f = *state;
    bool later;
    put(f, S("x"), S("abc"));
    assert_ok(set_tier(f, S("x"), STORE_TIER_ARCHIVE, false, &later));
    assert_ok(set_tier(f, S("x"), STORE_TIER_COLD, false, &later));
    assert_true(later);
    store_blob b = blob_of(f, S("x"));
    assert_int_equal(b.tier, STORE_TIER_COLD);
    assert_int_equal(b.rehydrate_to, STORE_TIER_INFERRED);
    assert_slice(get(f, S("x")), S("abc"));
}

static void test_rehydration_takes_time(void **state) {
    fixture *f = *state;
    bool later;
    store_blob b;
    put(f, S("x"), S("abc"));
    assert_ok(set_tier(f, S("x"), STORE_TIER_ARCHIVE, false, &later));
    rehydration_takes(f, "rehydrate_seconds=1000");
    assert_ok(set_tier(f, S("x"), STORE_TIER_HOT, false, &later));
    assert_true(later);
    b = blob_of(f, S("x"));
    assert_int_equal(b.tier, STORE_TIER_ARCHIVE);
    assert_int_equal(b.rehydrate_to, STORE_TIER_HOT);
    assert_false(b.rehydrate_high);
    assert_err(open_blob(f, S("x")), ERR_BLOB_ARCHIVED);
    /* not to another tier, nor back; the priority only rises */
    assert_err(set_tier(f, S("x"), STORE_TIER_COOL, false, &later), ERR_BLOB_BEING_REHYDRATED);
    assert_err(set_tier(f, S("x"), STORE_TIER_ARCHIVE, false, &later), ERR_BLOB_BEING_REHYDRATED);
    int64_t due = b.rehydrate_due_us;
    assert_ok(set_tier(f, S("x"), STORE_TIER_HOT, true, &later));
    assert_true(later);
    b = blob_of(f, S("x"));
    assert_true(b.rehydrate_high && b.rehydrate_due_us == due);
    assert_err(set_tier(f, S("x"), STORE_TIER_HOT, false, &later), ERR_BLOB_BEING_REHYDRATED);
    fixture_restart(f);
    assert_int_equal(blob_of(f, S("x")).rehydrate_to, STORE_TIER_HOT);
    /* the next one is quicker */
    put(f, S("y"), content(f->c.arena, 1, 100000));
    assert_ok(set_tier(f, S("y"), STORE_TIER_ARCHIVE, false, &later));
    rehydration_takes(f, "rehydrate_seconds=1");
    assert_ok(set_tier(f, S("y"), STORE_TIER_COOL, false, &later));
    due = blob_of(f, S("y")).rehydrate_due_us;
    fixture_restart(f); /* nobody waits for it */
    while (clock_wall_us() <= due) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    b = blob_of(f, S("y"));
    assert_int_equal(b.tier, STORE_TIER_COOL);
    assert_true(b.tier_changed_us == due && b.rehydrate_to == STORE_TIER_INFERRED);
    assert_ok(open_blob(f, S("y")));
    assert_int_equal(blob_of(f, S("x")).tier, STORE_TIER_ARCHIVE);
}

/* ---- expiry ---- */

static err expire(fixture *f, slice name, int option, int64_t us) {
    store_blob b;
    store_expiry x = {.option = option, .us = us};
    return store_blob_set_expiry(f->s, f->c, f->k, name, NULL, &x, &b);
}

static void pass(int64_t us) {
    int64_t until = clock_wall_us() + us;
    while (clock_wall_us() <= until) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static err count(void *ctx, const store_blob *b, slice prefix) {
    (void)b, (void)prefix;
    ++*(int *)ctx;
    return OK;
}

static int listed(fixture *f) {
    int n = 0;
    slice next;
    assert_ok(store_blob_scan(f->s, f->c, f->k, &(store_blob_list){.max = 100}, count, &n, &next));
    return n;
}

static err found(void *ctx, const store_found *b) {
    (void)b;
    ++*(int *)ctx;
    return OK;
}

static int searched(fixture *f) {
    int n = 0;
    slice next;
    store_find q = {.max = 100};
    assert_ok(store_tag_where(f->c.arena, S("a='1'"), &q.query));
    assert_ok(store_blob_find(f->s, f->c, f->a, NULL, &q, found, &n, &next, NULL));
    return n;
}

static void test_expiry_is_checked(void **state) {
    fixture *f = *state;
    store_blob before = put(f, S("x"), S("abc"));
    int64_t now = clock_wall_us();
    assert_err(expire(f, S("x"), STORE_EXPIRE_ABSOLUTE, now - 1000000), ERR_INVALID_HEADER_VALUE);
    assert_err(expire(f, S("x"), STORE_EXPIRE_AFTER_CREATION, 0), ERR_INVALID_HEADER_VALUE);
    assert_err(expire(f, S("x"), STORE_EXPIRE_FROM_NOW, INT64_MAX), ERR_INVALID_HEADER_VALUE);
    assert_err(expire(f, S("none"), STORE_NEVER_EXPIRE, 0), ERR_BLOB_NOT_FOUND);
    assert_true(blob_of(f, S("x")).expires_us == STORE_TIME_NONE);
    assert_ok(expire(f, S("x"), STORE_EXPIRE_ABSOLUTE, now + 5000000));
    assert_true(blob_of(f, S("x")).expires_us == now + 5000000);
    assert_ok(expire(f, S("x"), STORE_EXPIRE_AFTER_CREATION, 9000000));
    assert_true(blob_of(f, S("x")).expires_us == before.created_us + 9000000);
    assert_true(blob_of(f, S("x")).etag != before.etag);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 1);
    fixture_assert_sound(f);
    assert_ok(expire(f, S("x"), STORE_NEVER_EXPIRE, 0));
    assert_true(blob_of(f, S("x")).expires_us == STORE_TIME_NONE);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    assert_ok(expire(f, S("x"), STORE_EXPIRE_FROM_NOW, 5000000));
    put(f, S("x"), S("new")); /* new content has no expiry */
    assert_true(blob_of(f, S("x")).expires_us == STORE_TIME_NONE);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    fixture_assert_sound(f);
}

static void test_expired_is_not_there(void **state) {
    fixture *f = *state;
    store_blob b;
    pair tag = {S("a"), S("1")};
    slice names[] = {S("small"), S("large"), S("list"), S("stays")};
    put(f, names[0], S("abc"));
    get(f, names[0]), get(f, names[0]); /* into memory */
    put(f, names[1], content(f->c.arena, 1, 100000));
    assert_ok(try_block(f, names[2], S("1"), content(f->c.arena, 2, 100000)));
    assert_ok(try_commit(f, names[2], &LATEST("1"), 1, &b));
    put(f, names[3], S("x"));
    for (size_t i = 0; i < 4; i++)
        assert_ok(store_blob_set_tags(f->s, f->c, f->k, names[i], STORE_CURRENT, NULL, &tag, 1));
    for (size_t i = 0; i < 4; i++)
        assert_ok(expire(f, names[i], STORE_EXPIRE_FROM_NOW, i == 3 ? 3600000000 : 100000));
    assert_int_equal(searched(f), 4);
    pass(150000);
    for (size_t i = 0; i < 3; i++) {
        assert_err(exists(f, names[i]), ERR_BLOB_NOT_FOUND);
        assert_err(open_blob(f, names[i]), ERR_BLOB_NOT_FOUND);
        assert_err(store_blob_delete(f->s, f->c, f->k, names[i], NULL, NULL, NULL),
                   ERR_BLOB_NOT_FOUND);
        assert_err(store_blob_set_tags(f->s, f->c, f->k, names[i], STORE_CURRENT, NULL, &tag, 1),
                   ERR_BLOB_NOT_FOUND);
    }
    assert_int_equal(listed(f), 1);
    assert_int_equal(searched(f), 1);
    fixture_assert_sound(f);
    /* its name is free: If-None-Match: * */
    store_conditions cond = STORE_NO_CONDITIONS;
    cond.if_none_match = S("*");
    assert_ok(try_put(f, names[1], S("new"), &cond, &b));
    assert_true(b.created_us > clock_wall_us() - 10000000);
    fixture_assert_sound(f);
    /* the sweeper removes the others, with all they held */
    assert_ok(sweep_expired(f->s));
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 2);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 2);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 2 + 1);
    fixture_assert_sound(f);
    assert_ok(sweep_expired(f->s));
    assert_slice(get(f, names[1]), S("new"));
    /* a container takes the rows along */
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_tier_is_no_state),    STORE_TEST(test_archive_closes),
        STORE_TEST(test_rehydration_at_once), STORE_TEST(test_rehydration_takes_time),
        STORE_TEST(test_expiry_is_checked),   STORE_TEST(test_expired_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
