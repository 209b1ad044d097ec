/* Overseers' rows: names, states, limits, and that check reads them. */
#include "store_test.h"

static const uint8_t digest[CRYPTO_SHA256_LEN] = {1, 2, 3};

static store_overseer overseer(slice name) {
    return (store_overseer){.name = name,
                            .token_sha256 = slice_of(digest, sizeof digest),
                            .created_us = 5,
                            .expires_us = STORE_TIME_NONE,
                            .rights = STORE_SEES_ENTRIES};
}

static void names(void **state) {
    (void)state;
    char longest[STORE_OVERSEER_NAME_MAX + 1];
    memset(longest, 'a', sizeof longest);
    const slice good[] = {S("a"), S("9"), S("data-protection_2"),
                          slice_of(longest, STORE_OVERSEER_NAME_MAX)};
    const slice bad[] = {S(""),    S("A"),    S("a b"), S("a.b"),
                         S("a\0"), S("\x7f"), S("é"),   slice_of(longest, sizeof longest)};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) assert_true(store_overseer_name_valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(store_overseer_name_valid(bad[i]));
}

static void added_disabled_removed(void **state) {
    fixture *f = *state;
    store_overseer o = overseer(S("auditor")), found;
    o.rights = STORE_OVERSEER_RIGHTS;
    o.accounts = S("acct,other");
    o.expires_us = 77;
    assert_ok(store_overseer_add(f->s, f->c, &o));
    assert_int_equal(store_overseer_add(f->s, f->c, &o), ERR_INVALID_INPUT);
    fixture_restart(f);
    assert_ok(store_overseer_get(f->s, f->c, S("auditor"), &found));
    assert_slice(found.name, S("auditor"));
    assert_slice(found.token_sha256, slice_of(digest, sizeof digest));
    assert_slice(found.accounts, S("acct,other"));
    assert_int_equal(found.rights, STORE_OVERSEER_RIGHTS);
    assert_int_equal(found.created_us, 5);
    assert_int_equal(found.expires_us, 77);
    assert_false(found.disabled);
    assert_ok(store_overseer_disable(f->s, f->c, S("auditor"), true));
    assert_ok(store_overseer_get(f->s, f->c, S("auditor"), &found));
    assert_true(found.disabled);
    assert_slice(found.accounts, S("acct,other"));
    assert_ok(store_overseer_disable(f->s, f->c, S("auditor"), false));
    assert_ok(store_overseer_get(f->s, f->c, S("auditor"), &found));
    assert_false(found.disabled);
    fixture_assert_sound(f);
    assert_ok(store_overseer_remove(f->s, f->c, S("auditor")));
    assert_int_equal(store_overseer_get(f->s, f->c, S("auditor"), &found), ERR_NOT_FOUND);
    assert_int_equal(store_overseer_remove(f->s, f->c, S("auditor")), ERR_NOT_FOUND);
    assert_int_equal(store_overseer_disable(f->s, f->c, S("auditor"), true), ERR_NOT_FOUND);
}

static void what_cannot_be(void **state) {
    fixture *f = *state;
    store_overseer o = overseer(S("Auditor")), found;
    char long_list[STORE_OVERSEER_ACCOUNTS_LEN + 1];
    store_call nowait = f->c;
    nowait.nowait = true;
    assert_int_equal(store_overseer_add(f->s, f->c, &o), ERR_INVALID_INPUT);
    o = overseer(S("auditor"));
    assert_int_equal(store_overseer_add(f->s, nowait, &o), ERR_WOULD_BLOCK);
    o.rights = 0;
    assert_int_equal(store_overseer_add(f->s, f->c, &o), ERR_INVALID_INPUT);
    o.rights = 8;
    assert_int_equal(store_overseer_add(f->s, f->c, &o), ERR_INVALID_INPUT);
    o = overseer(S("auditor"));
    memset(long_list, 'a', sizeof long_list);
    o.accounts = slice_of(long_list, sizeof long_list);
    assert_int_equal(store_overseer_add(f->s, f->c, &o), ERR_INVALID_INPUT);
    assert_int_equal(store_overseer_get(f->s, f->c, S("auditor"), &found), ERR_NOT_FOUND);
    assert_int_equal(store_overseer_get(f->s, f->c, S("../x"), &found), ERR_NOT_FOUND);
}

typedef struct seen {
    char last[STORE_OVERSEER_NAME_MAX + 1];
    size_t count;
} seen;

static void see(void *ctx, const store_overseer *o) {
    seen *x = ctx;
    char name[STORE_OVERSEER_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", SLICE_ARG(o->name));
    assert_true(strcmp(x->last, name) < 0);
    memcpy(x->last, name, sizeof name);
    x->count++;
}

static void listed_in_order_and_so_many_at_most(void **state) {
    fixture *f = *state;
    seen x = {.count = 0};
    for (int i = STORE_OVERSEERS_MAX; i > 0; i--) {
        const store_overseer o = overseer(arena_fmt(f->c.arena, "o%04d", i));
        assert_ok(store_overseer_add(f->s, f->c, &o));
    }
    const store_overseer more = overseer(S("one-more"));
    assert_int_equal(store_overseer_add(f->s, f->c, &more), ERR_INVALID_INPUT);
    assert_ok(store_overseer_list(f->s, f->c, see, &x));
    assert_int_equal(x.count, STORE_OVERSEERS_MAX);
}

static void damage_is_found(void **state) {
    fixture *f = *state;
    slice reports;
    short_key k;
    engine_txn *t;
    key_overseer(&k, S("auditor"));
    assert_ok(engine_txn_begin(f->s->engine, key_slice(&k), &t));
    engine_txn_put(t, ENGINE_META, key_slice(&k), S("\1nonsense"));
    assert_ok(engine_txn_commit(t));
    (void)fixture_check(f, &reports);
    assert_true(reports.len > 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names), TEST(added_disabled_removed), TEST(what_cannot_be),
        TEST(listed_in_order_and_so_many_at_most), TEST(damage_is_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
