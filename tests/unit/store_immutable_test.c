/* Immutability policies and legal holds: what they allow, and that nothing goes around them. */
#include "store_test.h"

#include "memory_engine.c"

#define HOUR_US 3600000000ll

static store_blob blob_of(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b));
    return b;
}

static err set_policy(fixture *f, slice name, store_immutable_mode mode, int64_t from_now_us) {
    store_blob b;
    store_immutability x = {
        .set_policy = true, .mode = mode, .until_us = clock_wall_us() + from_now_us};
    return store_blob_set_immutability(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &x, &b);
}

static err hold(fixture *f, slice name, bool on) {
    store_blob b;
    store_immutability x = {.set_hold = true, .hold = on};
    return store_blob_set_immutability(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &x, &b);
}

/* All that would change or remove the blob says `why`, and it stands as it did. */
static void assert_protected(fixture *f, slice name, err why, err container_why) {
    store_blob before = blob_of(f, name), b;
    pair meta = {S("a"), S("1")};
    store_http http = {.content_type = S("a/b")};
    store_expiry x = {.option = STORE_EXPIRE_FROM_NOW, .us = 1};
    slice data = get(f, name);
    assert_err(try_put(f, name, S("new"), NULL, &b), why);
    assert_err(try_put(f, name, content(f->c.arena, 9, 100000), NULL, &b), why);
    assert_ok(try_block(f, name, S("1"), S("1")));
    assert_err(try_commit(f, name, &LATEST("1"), 1, &b), why);
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, name, NULL, &meta, 1, &b), why);
    assert_err(store_blob_set_http(f->s, f->c, f->k, name, NULL, &http, &b), why);
    assert_err(store_blob_set_expiry(f->s, f->c, f->k, name, NULL, &x, &b), why);
    assert_err(store_blob_delete(f->s, f->c, f->k, name, NULL, NULL, NULL), why);
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL), container_why);
    assert_err(store_account_delete(f->s, f->c, S("acct")), container_why);
    fixture_assert_sound(f);
    b = blob_of(f, name);
    assert_true(b.etag == before.etag && b.modified_us == before.modified_us);
    assert_slice(get(f, name), data);
    /* what remains */
    bool later;
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &meta, 1));
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, name, STORE_CURRENT, NULL, NULL, 0));
    assert_ok(store_blob_set_tier(f->s, f->c, f->k, name, STORE_CURRENT, NULL, STORE_TIER_COOL,
                                  false, &later));
}

static void test_legal_hold(void **state) {
    fixture *f = *state;
    slice names[] = {S("small"), S("large")};
    put(f, names[0], S("abc"));
    put(f, names[1], content(f->c.arena, 1, 100000));
    for (int i = 0; i < 2; i++) {
        uint64_t etag = blob_of(f, names[i]).etag;
        assert_ok(hold(f, names[i], true));
        assert_true(blob_of(f, names[i]).legal_hold && blob_of(f, names[i]).etag == etag);
        assert_protected(f, names[i], ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD,
                         ERR_CONTAINER_HAS_LEGAL_HOLD);
        fixture_restart(f);
        assert_protected(f, names[i], ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD,
                         ERR_CONTAINER_HAS_LEGAL_HOLD);
        assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 1);
        assert_ok(hold(f, names[i], false));
        assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
        assert_ok(store_blob_delete(f->s, f->c, f->k, names[i], NULL, NULL, NULL));
    }
    assert_err(hold(f, names[0], true), ERR_BLOB_NOT_FOUND);
    reaper_run(f->s);
    fixture_assert_sound(f);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
}

static void test_unlocked_policy(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("abc"));
    assert_err(set_policy(f, S("x"), STORE_UNLOCKED, -1), ERR_INVALID_HEADER_VALUE);
    assert_ok(set_policy(f, S("x"), STORE_UNLOCKED, 2 * HOUR_US));
    assert_protected(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, ERR_CONTAINER_IMMUTABLE);
    assert_ok(set_policy(f, S("x"), STORE_UNLOCKED, HOUR_US)); /* shorter */
    assert_ok(set_policy(f, S("x"), STORE_UNLOCKED, 3 * HOUR_US));
    assert_ok(set_policy(f, S("x"), STORE_MUTABLE, 0));
    assert_true(blob_of(f, S("x")).immutable_until_us == STORE_TIME_NONE);
    put(f, S("x"), S("new"));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    fixture_assert_sound(f);
}

static void test_locked_policy(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("abc"));
    assert_ok(set_policy(f, S("x"), STORE_UNLOCKED, 2 * HOUR_US));
    assert_ok(set_policy(f, S("x"), STORE_LOCKED, HOUR_US));
    assert_err(set_policy(f, S("x"), STORE_MUTABLE, 0), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    assert_err(set_policy(f, S("x"), STORE_UNLOCKED, 9 * HOUR_US),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    assert_err(set_policy(f, S("x"), STORE_LOCKED, HOUR_US / 2), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    assert_protected(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, ERR_CONTAINER_IMMUTABLE);
    assert_ok(set_policy(f, S("x"), STORE_LOCKED, 2 * HOUR_US));
    int64_t until = blob_of(f, S("x")).immutable_until_us;
    assert_true(until > clock_wall_us() + HOUR_US);
    /* a hold beside it */
    assert_ok(hold(f, S("x"), true));
    assert_protected(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD, ERR_CONTAINER_HAS_LEGAL_HOLD);
    assert_ok(hold(f, S("x"), false));
    assert_protected(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, ERR_CONTAINER_IMMUTABLE);
    assert_true(blob_of(f, S("x")).immutable_until_us == until);
}

static void pass(int64_t us) {
    int64_t until = clock_wall_us() + us;
    while (clock_wall_us() <= until) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void test_a_policy_ends(void **state) {
    fixture *f = *state;
    store_blob b;
    put(f, S("x"), S("abc"));
    put(f, S("y"), S("abc"));
    assert_ok(set_policy(f, S("x"), STORE_LOCKED, 100000));
    assert_ok(set_policy(f, S("y"), STORE_LOCKED, 100000));
    assert_err(try_put(f, S("x"), S("new"), NULL, &b), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    pass(120000);
    assert_ok(try_put(f, S("x"), S("new"), NULL, &b));
    assert_int_equal(b.immutable_mode, STORE_MUTABLE);
    fixture_assert_sound(f);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL)); /* y is there still */
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
}

/* A blob that was to expire does not while it is protected. */
static void test_expiry_waits(void **state) {
    fixture *f = *state;
    store_blob b;
    store_expiry x = {.option = STORE_EXPIRE_FROM_NOW, .us = 50000};
    put(f, S("x"), S("abc"));
    assert_ok(store_blob_set_expiry(f->s, f->c, f->k, S("x"), NULL, &x, &b));
    assert_ok(hold(f, S("x"), true));
    pass(60000);
    assert_ok(sweep_expired(f->s));
    assert_protected(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD, ERR_CONTAINER_HAS_LEGAL_HOLD);
    assert_ok(hold(f, S("x"), false));
    assert_err(exists(f, S("x")), ERR_BLOB_NOT_FOUND);
    fixture_assert_sound(f);
    assert_ok(sweep_expired(f->s));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    fixture_assert_sound(f);
}

static void test_from_the_beginning(void **state) {
    fixture *f = *state;
    store_blob b;
    store_put p = {.immutability = {.set_policy = true,
                                    .mode = STORE_LOCKED,
                                    .until_us = clock_wall_us() + HOUR_US,
                                    .set_hold = true,
                                    .hold = true}};
    store_upload *u = upload(f, S("abc"), 3);
    assert_ok(store_blob_put(f->s, f->c, f->k, S("x"), u, &p, &b));
    assert_true(b.legal_hold && b.immutable_mode == STORE_LOCKED);
    assert_ok(try_block(f, S("y"), S("1"), S("1")));
    assert_ok(store_block_list_put(f->s, f->c, f->k, S("y"), &LATEST("1"), 1, &p, &b));
    assert_protected(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD, ERR_CONTAINER_HAS_LEGAL_HOLD);
    assert_protected(f, S("y"), ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD, ERR_CONTAINER_HAS_LEGAL_HOLD);
    p.immutability.until_us = 1;
    u = upload(f, S("abc"), 3);
    assert_err(store_blob_put(f->s, f->c, f->k, S("z"), u, &p, &b), ERR_INVALID_HEADER_VALUE);
    store_upload_free(u);
    assert_err(exists(f, S("z")), ERR_BLOB_NOT_FOUND);
    fixture_assert_sound(f);
}

/* With versions a protected state may be replaced, and stands as a version. */
static void test_versions(void **state) {
    fixture *f = *state;
    store_blob b, first;
    store_delete d = {0};
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("versioning=on")));
    put(f, S("x"), S("first"));
    assert_ok(hold(f, S("x"), true));
    first = blob_of(f, S("x"));
    assert_ok(try_put(f, S("x"), S("second"), NULL, &b));
    assert_false(b.legal_hold);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    for (int restarted = 0; restarted < 2; restarted++) {
        d.pick.version = first.version;
        assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &d, NULL),
                   ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD);
        assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL),
                   ERR_CONTAINER_HAS_LEGAL_HOLD);
        assert_ok(store_blob_get(f->s, f->c, f->k, S("x"), d.pick, NULL, &first));
        assert_true(first.legal_hold);
        fixture_assert_sound(f);
        fixture_restart(f);
    }
    /* the other version is free, and a current one with a hold of its own beside it */
    d.pick.version = b.version;
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &d, NULL));
    put(f, S("x"), S("third"));
    assert_ok(hold(f, S("x"), true));
    assert_ok(hold(f, S("x"), false));
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL),
               ERR_CONTAINER_HAS_LEGAL_HOLD);
    reaper_run(f->s);
    fixture_assert_sound(f);
}

static err hold_at(fixture *f, store_pick pick, bool on) {
    store_blob b;
    store_immutability x = {.set_hold = true, .hold = on};
    return store_blob_set_immutability(f->s, f->c, f->k, S("x"), pick, NULL, &x, &b);
}

/* A hold on one state of the history holds that one, and with it the container, also after a restart;
 * tags and tier of a state are its own. */
static void test_past_states(void **state) {
    fixture *f = *state;
    store_blob first, snapshot, b;
    pair tag = {S("k"), S("v")};
    bool later;
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("versioning=on")));
    assert_ok(try_put(f, S("x"), S("one"), NULL, &first));
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, S("x"), NULL, NULL, 0, &snapshot));
    put(f, S("x"), content(f->c.arena, 1, 100000));
    const store_pick picks[] = {{.version = first.version}, {.snapshot = snapshot.snapshot}};
    for (size_t i = 0; i < ARRAY_LEN(picks); i++) {
        store_delete d = {.pick = picks[i]};
        assert_ok(hold_at(f, picks[i], true));
        assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), picks[i], NULL, &tag, 1));
        assert_ok(store_blob_set_tier(f->s, f->c, f->k, S("x"), picks[i], NULL, STORE_TIER_COLD,
                                      false, &later));
        for (int restart = 0; restart < 2; restart++) {
            assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &d, NULL),
                       ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD);
            assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL),
                       ERR_CONTAINER_HAS_LEGAL_HOLD);
            assert_ok(store_blob_get(f->s, f->c, f->k, S("x"), picks[i], NULL, &b));
            assert_true(b.legal_hold && b.tag_count == 1 && b.tier == STORE_TIER_COLD);
            b = blob_of(f, S("x"));
            assert_true(!b.legal_hold && b.tag_count == 0 && b.tier == STORE_TIER_INFERRED);
            fixture_assert_sound(f);
            fixture_restart(f);
        }
        put(f, S("x"), S("another"));
        assert_ok(hold_at(f, picks[i], false));
    }
    for (size_t i = 0; i < ARRAY_LEN(picks); i++) {
        store_delete d = {.pick = picks[i]};
        assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &d, NULL));
        assert_err(hold_at(f, picks[i], true), ERR_BLOB_NOT_FOUND);
    }
    assert_err(hold_at(f, (store_pick){.version = 1}, true), ERR_BLOB_NOT_FOUND);
    reaper_run(f->s);
    fixture_assert_sound(f);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
}

/* ---- policies and holds of the container ---- */

#define DAY_US (24 * HOUR_US)

static err guard_set(fixture *f, const char *setting) {
    const store_container *k;
    err e = store_container_guard_set(f->s, f->c, f->a, S("box"), slice_str(setting), &k);
    if (e == OK) store_container_unref(k);
    return e;
}

/* Nothing of what is there changes; new blobs come; leases, tags and tiers go on. */
static void assert_guarded(fixture *f, slice name, err why, err gone) {
    store_blob before = blob_of(f, name), b;
    pair meta = {S("a"), S("1")};
    store_http http = {.content_type = S("a/b")};
    store_expiry x = {.option = STORE_EXPIRE_FROM_NOW, .us = HOUR_US};
    slice data = get(f, name);
    bool later;
    assert_err(try_put(f, name, S("new"), NULL, &b), why);
    assert_ok(try_block(f, name, S("1"), S("1")));
    assert_err(try_commit(f, name, &LATEST("1"), 1, &b), why);
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, name, NULL, &meta, 1, &b), why);
    assert_err(store_blob_set_http(f->s, f->c, f->k, name, NULL, &http, &b), why);
    assert_err(store_blob_set_expiry(f->s, f->c, f->k, name, NULL, &x, &b), why);
    assert_err(store_blob_snapshot(f->s, f->c, f->k, name, NULL, NULL, 0, &b), why);
    if (gone != OK) assert_err(store_blob_delete(f->s, f->c, f->k, name, NULL, NULL, NULL), gone);
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &meta, 1));
    assert_ok(store_blob_set_tier(f->s, f->c, f->k, name, STORE_CURRENT, NULL, STORE_TIER_COOL,
                                  false, &later));
    err container = why == ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD ? ERR_CONTAINER_HAS_LEGAL_HOLD
                                                                : ERR_CONTAINER_IMMUTABLE;
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL), container);
    assert_err(store_account_delete(f->s, f->c, S("acct")), container);
    b = blob_of(f, name);
    assert_true(b.etag == before.etag && b.modified_us == before.modified_us);
    assert_slice(get(f, name), data);
    slice fresh = arena_fmt(f->c.arena, "new-%llu", (unsigned long long)clock_wall_us());
    put(f, fresh, S("new"));
    fixture_assert_sound(f);
}

static void test_container_policy(void **state) {
    fixture *f = *state;
    put(f, S("x"), S("abc"));
    assert_ok(guard_set(f, "immutable_days=10"));
    for (int restart = 0; restart < 2; restart++) {
        assert_guarded(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY,
                       ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
        fixture_restart(f);
    }
    assert_ok(guard_set(f, "immutable_days=5")); /* not locked: shorter, too */
    assert_ok(guard_set(f, "immutable_days=10"));
    assert_ok(guard_set(f, "immutable_lock=on"));
    assert_err(guard_set(f, "immutable_days=9"), ERR_INVALID_INPUT);
    assert_err(guard_set(f, "immutable_days=0"), ERR_INVALID_INPUT);
    assert_err(guard_set(f, "immutable_append=on"), ERR_INVALID_INPUT);
    assert_ok(guard_set(f, "immutable_days=20"));
    clock_skew_us(19 * DAY_US);
    assert_guarded(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    clock_skew_us(21 * DAY_US); /* it may be deleted, and nothing else */
    assert_guarded(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, OK);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    put(f, S("x"), S("again"));
    assert_err(try_put(f, S("x"), S("no"), NULL, &(store_blob){0}),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    clock_skew_us(0);
}

static void test_container_hold(void **state) {
    fixture *f = *state;
    put(f, S("x"), content(f->c.arena, 1, 100000));
    assert_ok(guard_set(f, "hold=Case17"));
    assert_ok(guard_set(f, "hold=audit"));
    clock_skew_us(1000 * DAY_US);
    assert_guarded(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD,
                   ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD);
    assert_ok(guard_set(f, "release=Case17"));
    assert_guarded(f, S("x"), ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD,
                   ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD);
    assert_ok(guard_set(f, "release=audit"));
    put(f, S("x"), S("new"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    clock_skew_us(0);
}

/* Versions and snapshots from before are guarded as well, and versioning is no way around. */
static void test_container_guard_and_history(void **state) {
    fixture *f = *state;
    store_blob first, snapshot;
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("versioning=on")));
    assert_ok(try_put(f, S("x"), S("one"), NULL, &first));
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, S("x"), NULL, NULL, 0, &snapshot));
    put(f, S("x"), S("two"));
    assert_ok(guard_set(f, "immutable_days=10"));
    assert_err(try_put(f, S("x"), S("three"), NULL, &(store_blob){0}),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    const store_delete past[] = {{.pick.version = first.version},
                                 {.pick.snapshot = snapshot.snapshot},
                                 {.snapshots = STORE_SNAPSHOTS_ONLY}};
    for (size_t i = 0; i < ARRAY_LEN(past); i++)
        assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &past[i], NULL),
                   ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    clock_skew_us(11 * DAY_US);
    for (size_t i = 0; i < ARRAY_LEN(past); i++)
        assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &past[i], NULL));
    reaper_run(f->s);
    fixture_assert_sound(f);
    clock_skew_us(0);
}

static void test_container_guard_and_appends(void **state) {
    fixture *f = *state;
    store_blob b;
    store_appended ret;
    const store_put p = {0};
    assert_ok(store_append_create(f->s, f->c, f->k, S("log"), &p, &b));
    assert_ok(guard_set(f, "immutable_days=10"));
    store_upload *u = upload(f, S("one"), 3);
    assert_err(store_append_block(f->s, f->c, f->k, S("log"), u, NULL, NULL, &ret),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    assert_ok(guard_set(f, "immutable_append=on"));
    assert_ok(store_append_block(f->s, f->c, f->k, S("log"), u, NULL, NULL, &ret));
    assert_err(store_blob_delete(f->s, f->c, f->k, S("log"), NULL, NULL, NULL),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    assert_err(store_append_create(f->s, f->c, f->k, S("log"), &p, &b),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    assert_ok(guard_set(f, "hold=audit"));
    u = upload(f, S("two"), 3);
    assert_err(store_append_block(f->s, f->c, f->k, S("log"), u, NULL, NULL, &ret),
               ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD);
    store_upload_free(u);
    assert_slice(get(f, S("log")), S("one"));
}

static void test_container_guard_and_expiry(void **state) {
    fixture *f = *state;
    store_blob b;
    store_expiry x = {.option = STORE_EXPIRE_FROM_NOW, .us = HOUR_US}, never = {0};
    put(f, S("x"), S("abc"));
    assert_ok(store_blob_set_expiry(f->s, f->c, f->k, S("x"), NULL, &x, &b));
    assert_err(guard_set(f, "immutable_days=10"), ERR_INVALID_INPUT);
    assert_non_null(strstr(err_detail(), "'x' has an expiry"));
    put(f, S("y"), S("1"));
    put(f, S("y"), S("2")); /* nothing was changed */
    assert_ok(store_blob_set_expiry(f->s, f->c, f->k, S("x"), NULL, &never, &b));
    assert_ok(guard_set(f, "immutable_days=10"));
    store_upload *u = upload(f, S("z"), 1);
    const store_put p = {.expiry = x};
    assert_err(store_blob_put(f->s, f->c, f->k, S("z"), u, &p, &b),
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY);
    store_upload_free(u);
}

static void test_container_settings_refused(void **state) {
    fixture *f = *state;
    static const char *const bad[] = {"",
                                      "immutable_days",
                                      "immutable_days=x",
                                      "immutable_days=146001",
                                      "immutable_lock=on",
                                      "immutable_lock=off",
                                      "immutable_append=on",
                                      "immutable_append=x",
                                      "hold=ab",
                                      "hold=with space",
                                      "hold=abcdefghijklmnopqrstuvwx",
                                      "release=nothing",
                                      "other=1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_err(guard_set(f, bad[i]), ERR_INVALID_INPUT);
    for (int i = 0; i < STORE_GUARD_HOLDS; i++)
        assert_ok(guard_set(f, arena_cstr(f->c.arena, arena_fmt(f->c.arena, "hold=case%d", i))));
    assert_ok(guard_set(f, "hold=case3")); /* it is there */
    assert_err(guard_set(f, "hold=onemore"), ERR_INVALID_INPUT);
    const store_container *k;
    assert_err(store_container_guard_set(f->s, f->c, f->a, S("nosuchbox"), S("hold=case"), &k),
               ERR_CONTAINER_NOT_FOUND);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_legal_hold),
        STORE_TEST(test_unlocked_policy),
        STORE_TEST(test_locked_policy),
        STORE_TEST(test_a_policy_ends),
        STORE_TEST(test_versions),
        STORE_TEST(test_expiry_waits),
        STORE_TEST(test_from_the_beginning),
        STORE_TEST(test_past_states),
        STORE_TEST(test_container_policy),
        STORE_TEST(test_container_hold),
        STORE_TEST(test_container_guard_and_history),
        STORE_TEST(test_container_guard_and_appends),
        STORE_TEST(test_container_guard_and_expiry),
        STORE_TEST(test_container_settings_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
