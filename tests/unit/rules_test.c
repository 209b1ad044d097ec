/* Lifecycle policies: what is taken for one, what each filter, age and action says of a blob, and runs over a
 * store on a moved clock. */
#include "store_test.h"

#include "memory_engine.c"

#include "rules/internal.h"

#define DAY_US (24 * 3600 * 1000000ll)

/* A policy of one rule with these filters (after blobTypes) and actions. */
static slice policy(arena *a, const char *filters, const char *actions) {
    return arena_fmt(
        a,
        "{\"rules\":[{\"name\":\"r\",\"enabled\":true,\"type\":\"Lifecycle\",\"definition\":{"
        "\"filters\":{\"blobTypes\":[\"blockBlob\"]%s},\"actions\":{%s}}}]}",
        filters, actions);
}

#define DELETE_AFTER(n) "\"delete\":{\"daysAfterModificationGreaterThan\":" #n "}"

/* ---- the document ---- */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "1 to"},
        {"{", "not JSON: line 1"},
        {"[]", "a JSON object"},
        {"{}", "rules is missing"},
        {"{\"rules\":[]}", "rules must be a list of 1 to 100"},
        {"{\"rules\":[1]}", "rules[0] must be an object"},
        {"{\"rules\":[],\"x\":1}", "no member 'x'"},
        {"{\"rules\":[{\"name\":\"a\"}]}", "rules[0].type is missing"},
        {"{\"rules\":[{\"name\":\"\",\"type\":\"Lifecycle\"}]}", "rules[0].name"},
        {"{\"rules\":[{\"name\":\"a b\",\"type\":\"Lifecycle\"}]}", "rules[0].name"},
        {"{\"rules\":[{\"name\":\"a\",\"type\":\"Other\"}]}", "rules[0].type must be Lifecycle"},
        {"{\"rules\":[{\"name\":\"a\",\"type\":\"Lifecycle\",\"enabled\":1}]}", "rules[0].enabled"},
        {"{\"rules\":[{\"name\":\"a\",\"name\":\"b\"}]}", "not JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        arena *a = arena_new(4096, 0);
        lifecycle p;
        assert_err(lifecycle_parse(a, slice_str(bad[i].json), &p), ERR_INVALID_INPUT);
        if (!strstr(err_detail(), bad[i].says)) fail_msg("%s: %s", bad[i].json, err_detail());
        arena_free(a);
    }
}

static void test_refused_definitions(void **state) {
    (void)state;
#define BASE(x) "\"baseBlob\":{" x "}"
    static const struct {
        const char *filters, *actions, *says;
    } bad[] = {
        {"", "", "actions names none"},
        {"", "\"all\":{}", "no member 'all'"},
        {"", BASE(""), "actions.baseBlob has no action"},
        {"", BASE("\"tierToHot\":{}"), "no member 'tierToHot'"},
        {"", BASE("\"delete\":{}"), "baseBlob.delete needs exactly one"},
        {"", BASE("\"delete\":{\"daysAfterModificationGreaterThan\":-1}"), "whole number from 0"},
        {"", BASE("\"delete\":{\"daysAfterModificationGreaterThan\":1.5}"), "whole number from 0"},
        {"", BASE("\"delete\":{\"daysAfterModificationGreaterThan\":100000}"), "whole number"},
        {"", BASE("\"delete\":{\"daysAfterModificationGreaterThan\":\"1\"}"), "whole number"},
        {"",
         BASE("\"delete\":{\"daysAfterModificationGreaterThan\":1,\"daysAfterCreationGreaterThan\":"
              "1}"),
         "exactly one"},
        {"", BASE("\"delete\":{\"daysAfterLastTierChangeGreaterThan\":1}"), "exactly one"},
        {"",
         BASE("\"delete\":{\"daysAfterCreationGreaterThan\":1,"
              "\"daysAfterLastTierChangeGreaterThan\":1}"),
         "is of tierToArchive"},
        {"", BASE(DELETE_AFTER(1) ",\"enableAutoTierToHotFromCool\":true"), "needs tierToCool"},
        {"", "\"snapshot\":{" DELETE_AFTER(1) "}", "needs daysAfterCreationGreaterThan"},
        {"", "\"version\":{\"enableAutoTierToHotFromCool\":true}", "no member"},
        {",\"prefixMatch\":[]", BASE(DELETE_AFTER(1)), "filters.prefixMatch must be a list"},
        {",\"prefixMatch\":[\"\"]", BASE(DELETE_AFTER(1)), "prefixMatch[0]"},
        {",\"prefixMatch\":\"a\"", BASE(DELETE_AFTER(1)), "prefixMatch must be a list"},
        {",\"blobIndexMatch\":[{\"name\":\"a\",\"op\":\"<\",\"value\":\"b\"}]",
         BASE(DELETE_AFTER(1)), "blobIndexMatch[0].op must be =="},
        {",\"blobIndexMatch\":[{\"name\":\"\",\"op\":\"==\",\"value\":\"b\"}]",
         BASE(DELETE_AFTER(1)), "blobIndexMatch[0] is no blob index tag"},
        {",\"blobIndexMatch\":[{\"name\":\"a\",\"value\":\"b\"}]", BASE(DELETE_AFTER(1)),
         ".op must be"},
        {",\"other\":1", BASE(DELETE_AFTER(1)), "filters has no member 'other'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        arena *a = arena_new(4096, 0);
        lifecycle p;
        assert_err(lifecycle_parse(a, policy(a, bad[i].filters, bad[i].actions), &p),
                   ERR_INVALID_INPUT);
        if (!strstr(err_detail(), bad[i].says)) fail_msg("%s: %s", bad[i].actions, err_detail());
        arena_free(a);
    }
}

static void test_limits(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    lifecycle p;
    for (int n = 100; n <= 101; n++) {
        buf b;
        buf_init(&b, 1 << 20);
        buf_str(&b, "{\"rules\":[");
        for (int i = 0; i < n; i++)
            buf_fmt(&b,
                    "%s{\"name\":\"r%d\",\"type\":\"Lifecycle\",\"definition\":{\"filters\":{"
                    "\"blobTypes\":"
                    "[\"appendBlob\"]},\"actions\":{\"baseBlob\":{" DELETE_AFTER(1) "}}}}",
                    i ? "," : "", i);
        buf_str(&b, "]}");
        assert_err(lifecycle_parse(a, buf_slice(&b), &p), n == 100 ? OK : ERR_INVALID_INPUT);
        buf_done(&b);
    }
    assert_int_equal(p.count, 100);
    assert_true(p.rules[99].append && !p.rules[99].block && p.rules[99].enabled);
    static const char twice[] = "{\"rules\":[{\"name\":\"a\",\"type\":\"Lifecycle\",\"definition\":"
                                "{\"filters\":{\"blobTypes\":"
                                "[\"blockBlob\"]},\"actions\":{\"baseBlob\":{" DELETE_AFTER(
                                    1) "}}}},{\"name\":\"a\",\"type\":"
                                       "\"Lifecycle\",\"definition\":{\"filters\":{\"blobTypes\":["
                                       "\"blockBlob\"]},\"actions\":"
                                       "{\"baseBlob\":{" DELETE_AFTER(1) "}}}}]}";
    assert_err(lifecycle_parse(a, slice_str(twice), &p), ERR_INVALID_INPUT);
    assert_non_null(strstr(err_detail(), "rules[1].name: 'a' is the name of rules[0]"));
    arena_free(a);
}

/* ---- one blob ---- */

static store_blob aged(int64_t days) {
    int64_t then = clock_wall_us() - days * DAY_US - 1000000;
    return (store_blob){.name = S("logs/a.txt"),
                        .created_us = then,
                        .modified_us = then,
                        .tier_changed_us = STORE_TIME_NONE,
                        .accessed_us = STORE_TIME_NONE,
                        .current = true};
}

static lifecycle_action decide(const char *filters, const char *actions, const store_blob *b) {
    arena *a = arena_new(4096, 0);
    lifecycle p;
    const lifecycle_rule *rule = NULL;
    assert_ok(lifecycle_parse(a, policy(a, filters, actions), &p));
    lifecycle_action x = lifecycle_decide(&p, S("box"), b, clock_wall_us(), &rule);
    assert_int_equal(rule != NULL, x != LIFECYCLE_NOTHING);
    arena_free(a);
    return x;
}

static void test_ages(void **state) {
    (void)state;
    store_blob b = aged(10), young = aged(9);
    assert_int_equal(decide("", BASE(DELETE_AFTER(10)), &b), LIFECYCLE_DELETE);
    assert_int_equal(decide("", BASE(DELETE_AFTER(10)), &young), LIFECYCLE_NOTHING);
    static const char created[] = BASE("\"delete\":{\"daysAfterCreationGreaterThan\":20}");
    b.modified_us = clock_wall_us();
    assert_int_equal(decide("", created, &b), LIFECYCLE_NOTHING);
    b.created_us -= 11 * DAY_US;
    assert_int_equal(decide("", created, &b), LIFECYCLE_DELETE);
    static const char read[] = BASE("\"tierToCool\":{\"daysAfterLastAccessTimeGreaterThan\":3}");
    b = aged(100);
    assert_int_equal(decide("", read, &b), LIFECYCLE_NOTHING); /* not known */
    b.accessed_us = clock_wall_us() - 4 * DAY_US;
    assert_int_equal(decide("", read, &b), LIFECYCLE_COOL);
    b.accessed_us = clock_wall_us() - 2 * DAY_US;
    assert_int_equal(decide("", read, &b), LIFECYCLE_NOTHING);
    static const char archive[] = BASE("\"tierToArchive\":{\"daysAfterModificationGreaterThan\":1,"
                                       "\"daysAfterLastTierChangeGreaterThan\":7}");
    b = aged(30);
    assert_int_equal(decide("", archive, &b), LIFECYCLE_ARCHIVE);
    b.tier_changed_us = clock_wall_us() - 6 * DAY_US;
    assert_int_equal(decide("", archive, &b), LIFECYCLE_NOTHING);
}

static void test_cheapest_wins_and_nothing_warms_up(void **state) {
    (void)state;
    static const char all[] = BASE("\"tierToCool\":{\"daysAfterModificationGreaterThan\":1},"
                                   "\"tierToCold\":{\"daysAfterModificationGreaterThan\":2},"
                                   "\"tierToArchive\":{\"daysAfterModificationGreaterThan\":3},"
                                   "\"delete\":{\"daysAfterModificationGreaterThan\":4}");
    for (int days = 0; days <= 4; days++) {
        store_blob b = aged(days);
        lifecycle_action expected =
            days ? (lifecycle_action)(LIFECYCLE_COOL + days - 1) : LIFECYCLE_NOTHING;
        assert_int_equal(decide("", all, &b), expected);
        b.tier = STORE_TIER_ARCHIVE;
        assert_int_equal(decide("", all, &b), days == 4 ? LIFECYCLE_DELETE : LIFECYCLE_NOTHING);
        b.tier = STORE_TIER_COLD;
        assert_int_equal(decide("", all, &b), days > 2 ? expected : LIFECYCLE_NOTHING);
    }
}

static void test_used_again(void **state) {
    (void)state;
    static const char actions[] = BASE("\"tierToCool\":{\"daysAfterLastAccessTimeGreaterThan\":5},"
                                       "\"enableAutoTierToHotFromCool\":true");
    store_blob b = aged(30);
    b.tier = STORE_TIER_COOL;
    b.tier_changed_us = clock_wall_us() - 10 * DAY_US;
    b.accessed_us = clock_wall_us() - 20 * DAY_US;
    assert_int_equal(decide("", actions, &b), LIFECYCLE_NOTHING);
    b.accessed_us = clock_wall_us() - DAY_US;
    assert_int_equal(decide("", actions, &b), LIFECYCLE_HOT);
    b.tier = STORE_TIER_COLD;
    assert_int_equal(decide("", actions, &b), LIFECYCLE_NOTHING);
}

static void test_filters(void **state) {
    (void)state;
    store_blob b = aged(10);
    const pair tags[] = {{S("a"), S("1")}, {S("b"), S("2")}};
    static const struct {
        const char *filter;
        bool fits;
    } cases[] = {
        {",\"prefixMatch\":[\"box\"]", true},
        {",\"prefixMatch\":[\"bo\"]", true},
        {",\"prefixMatch\":[\"box/\"]", true},
        {",\"prefixMatch\":[\"box/logs/a\"]", true},
        {",\"prefixMatch\":[\"box/b\"]", false},
        {",\"prefixMatch\":[\"bo/logs\"]", false},
        {",\"prefixMatch\":[\"x\",\"box/l\"]", true},
        {",\"blobIndexMatch\":[{\"name\":\"a\",\"op\":\"==\",\"value\":\"1\"}]", true},
        {",\"blobIndexMatch\":[{\"name\":\"a\",\"op\":\"==\",\"value\":\"2\"}]", false},
        {",\"blobIndexMatch\":[{\"name\":\"a\",\"op\":\"==\",\"value\":\"1\"},{\"name\":\"b\","
         "\"op\":\"==\","
         "\"value\":\"2\"}]",
         true},
        {",\"blobIndexMatch\":[{\"name\":\"a\",\"op\":\"==\",\"value\":\"1\"},{\"name\":\"c\","
         "\"op\":\"==\","
         "\"value\":\"2\"}]",
         false},
    };
    b.tags = tags;
    b.tag_count = 2;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(decide(cases[i].filter, BASE(DELETE_AFTER(1)), &b),
                         cases[i].fits ? LIFECYCLE_DELETE : LIFECYCLE_NOTHING);
    b.type = STORE_APPEND_BLOB;
    assert_int_equal(decide("", BASE(DELETE_AFTER(1)), &b), LIFECYCLE_NOTHING);
    b.type = STORE_PAGE_BLOB;
    assert_int_equal(decide("", BASE(DELETE_AFTER(1)), &b), LIFECYCLE_NOTHING);
}

static void test_where_to_look(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    lifecycle p;
    slice *list;
    assert_ok(lifecycle_parse(
        a,
        policy(a, ",\"prefixMatch\":[\"box/ab\",\"box/a\",\"box/c\",\"other/x\",\"ot\",\"box/c\"]",
               BASE(DELETE_AFTER(1))),
        &p));
    assert_int_equal(lifecycle_prefixes(&p, a, S("box"), &list), 2);
    assert_slice(list[0], S("a"));
    assert_slice(list[1], S("c"));
    assert_int_equal(lifecycle_prefixes(&p, a, S("other"), &list), 1);
    assert_int_equal(list[0].len, 0);
    assert_int_equal(lifecycle_prefixes(&p, a, S("third"), &list), 0);
    arena_free(a);
}

/* ---- runs ---- */

static rules_report run_now(fixture *f) {
    rules *r;
    rules_report p;
    assert_ok(rules_start(f->s, false, &r));
    assert_ok(rules_lifecycle_run(r, f->c, f->a, NULL, NULL, &p));
    rules_stop(r);
    fixture_assert_sound(f);
    return p;
}

static void set_policy(fixture *f, const char *filters, const char *actions) {
    rules *r;
    assert_ok(rules_start(f->s, false, &r));
    assert_ok(rules_lifecycle_set(r, f->c, f->a, policy(f->c.arena, filters, actions)));
    rules_stop(r);
}

static bool is_there(fixture *f, slice name, store_pick pick, store_blob *ret) {
    err e = store_blob_get(f->s, f->c, f->k, name, pick, NULL, ret);
    assert_true(e == OK || e == ERR_BLOB_NOT_FOUND);
    return e == OK;
}

static void test_a_run(void **state) {
    fixture *f = *state;
    store_blob b;
    for (int i = 0; i < 2500; i++) { /* more than a page */
        slice name = arena_fmt(f->c.arena, "%s/%04d", i % 2 ? "keep" : "old", i);
        put(f, name, S("x"));
    }
    set_policy(f, ",\"prefixMatch\":[\"box/old/\"]",
               BASE("\"tierToCool\":{\"daysAfterModificationGreaterThan\":5},"
                    "\"delete\":{\"daysAfterModificationGreaterThan\":10}"));
    rules_report p = run_now(f);
    assert_true(p.examined == 1250 && p.cool == 0 && p.deleted == 0);
    clock_skew_us(6 * DAY_US);
    p = run_now(f);
    assert_true(p.examined == 1250 && p.cool == 1250 && p.deleted == 0);
    assert_true(is_there(f, S("old/0000"), STORE_CURRENT, &b) && b.tier == STORE_TIER_COOL);
    assert_true(is_there(f, S("keep/0001"), STORE_CURRENT, &b) && b.tier == STORE_TIER_INFERRED);
    p = run_now(f);
    assert_true(p.cool == 0);
    put(f, S("old/0002"), S("new"));
    clock_skew_us(11 * DAY_US);
    p = run_now(f);
    assert_true(p.deleted == 1249 && p.cool == 1 && p.skipped == 0 && p.failed == 0);
    assert_true(!is_there(f, S("old/0000"), STORE_CURRENT, &b));
    assert_true(is_there(f, S("old/0002"), STORE_CURRENT, &b));
    clock_skew_us(0);
}

/* What stands in the way is left alone, counted, and done when it is gone. */
static void test_what_is_in_the_way(void **state) {
    fixture *f = *state;
    store_blob b;
    store_lease_answer lease;
    put(f, S("leased"), S("x"));
    put(f, S("held"), S("x"));
    put(f, S("locked"), S("x"));
    put(f, S("with-snapshot"), S("x"));
    put(f, S("free"), S("x"));
    const store_lease_ask ask = {.action = STORE_LEASE_ACQUIRE};
    assert_ok(store_blob_lease(f->s, f->c, f->k, S("leased"), NULL, &ask, &lease));
    const store_immutability hold = {.set_hold = true, .hold = true};
    assert_ok(
        store_blob_set_immutability(f->s, f->c, f->k, S("held"), STORE_CURRENT, NULL, &hold, &b));
    const store_immutability lock = {
        .set_policy = true, .mode = STORE_LOCKED, .until_us = clock_wall_us() + 100 * DAY_US};
    assert_ok(
        store_blob_set_immutability(f->s, f->c, f->k, S("locked"), STORE_CURRENT, NULL, &lock, &b));
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, S("with-snapshot"), NULL, NULL, 0, &b));
    set_policy(f, "", BASE(DELETE_AFTER(1)));
    clock_skew_us(2 * DAY_US);
    rules_report p = run_now(f);
    assert_true(p.examined == 5 && p.deleted == 1 && p.skipped == 4 && p.failed == 0);
    assert_true(!is_there(f, S("free"), STORE_CURRENT, &b));
    clock_skew_us(101 * DAY_US);
    p = run_now(f);
    assert_true(p.deleted == 1 && p.skipped == 3);
    assert_true(!is_there(f, S("locked"), STORE_CURRENT, &b));
    clock_skew_us(0);
}

static void test_snapshots_and_versions(void **state) {
    fixture *f = *state;
    store_blob first, snapshot, b;
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("versioning=on")));
    first = put(f, S("x"), S("one"));
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, S("x"), NULL, NULL, 0, &snapshot));
    put(f, S("x"), S("two"));
    const store_pick version = {.version = first.version}, taken = {.snapshot = snapshot.snapshot};
    set_policy(f, "",
               "\"snapshot\":{\"delete\":{\"daysAfterCreationGreaterThan\":10}},"
               "\"version\":{\"tierToCold\":{\"daysAfterCreationGreaterThan\":5}}");
    clock_skew_us(6 * DAY_US);
    rules_report p = run_now(f);
    assert_true(p.cold == 2 && p.deleted == 0); /* the snapshot made a version as well */
    assert_true(is_there(f, S("x"), version, &b) && b.tier == STORE_TIER_COLD);
    assert_true(is_there(f, S("x"), taken, &b) && b.tier == STORE_TIER_INFERRED);
    clock_skew_us(11 * DAY_US);
    p = run_now(f);
    assert_true(p.deleted == 1 && p.cold == 0);
    assert_true(!is_there(f, S("x"), taken, &b) && is_there(f, S("x"), version, &b));
    assert_true(is_there(f, S("x"), STORE_CURRENT, &b) && b.tier == STORE_TIER_INFERRED);
    clock_skew_us(0);
}

typedef struct seen {
    size_t n;
    bool deletes;
} seen;
static void see(void *ctx, const rules_example *x) {
    seen *s = ctx;
    s->n++;
    s->deletes = strcmp(x->action, "delete") == 0 && strcmp(x->what, "blob") == 0;
    assert_slice(x->rule, S("r"));
    assert_slice(x->container, S("box"));
}

static void test_dry(void **state) {
    fixture *f = *state;
    rules *r;
    rules_report p;
    seen s = {0};
    for (int i = 0; i < 150; i++) put(f, arena_fmt(f->c.arena, "%d", i), S("x"));
    set_policy(f, "", BASE(DELETE_AFTER(1)));
    clock_skew_us(2 * DAY_US);
    assert_ok(rules_start(f->s, false, &r));
    assert_ok(rules_lifecycle_run(r, f->c, f->a, see, &s, &p));
    assert_true(s.n == RULES_EXAMPLES_MAX && s.deletes && p.deleted == 150);
    rules_stats stats;
    rules_get_stats(r, &stats);
    assert_true(stats.runs == 0 && stats.total.deleted == 0);
    rules_stop(r);
    assert_true(run_now(f).deleted == 150);
    clock_skew_us(0);
}

/* A day after it was set, then a day after it ran; also after a restart. */
static void test_when_it_is_due(void **state) {
    fixture *f = *state;
    rules *r;
    store_blob b;
    slice json;
    int64_t run_us;
    put(f, S("x"), S("x"));
    set_policy(f, "",
               BASE("\"tierToCool\":{\"daysAfterModificationGreaterThan\":0},"
                    "\"delete\":{\"daysAfterModificationGreaterThan\":1}"));
    fixture_restart(f);
    assert_ok(rules_start(f->s, false, &r));
    clock_skew_us(DAY_US - 60000000);
    rules_look(r);
    assert_true(is_there(f, S("x"), STORE_CURRENT, &b) && b.tier == STORE_TIER_INFERRED);
    assert_ok(rules_lifecycle_get(r, f->c, f->a, &json, &run_us));
    assert_true(run_us == STORE_TIME_NONE);
    put(f, S("y"), S("y"));
    clock_skew_us(DAY_US);
    rules_look(r);
    assert_true(!is_there(f, S("x"), STORE_CURRENT, &b));
    assert_true(is_there(f, S("y"), STORE_CURRENT, &b) && b.tier == STORE_TIER_COOL);
    put(f, S("z"), S("z"));
    rules_look(r);
    assert_true(is_there(f, S("z"), STORE_CURRENT, &b) && b.tier == STORE_TIER_INFERRED);
    assert_ok(rules_lifecycle_get(r, f->c, f->a, &json, &run_us));
    assert_true(run_us >= clock_wall_us() - 60000000);
    assert_ok(rules_lifecycle_remove(r, f->c, f->a));
    clock_skew_us(3 * DAY_US);
    rules_look(r);
    assert_true(is_there(f, S("z"), STORE_CURRENT, &b));
    rules_report p;
    assert_err(rules_lifecycle_run(r, f->c, f->a, NULL, NULL, &p), ERR_NOT_FOUND);
    rules_stop(r);
    clock_skew_us(0);
}

/* The policy goes with its account. */
static void test_account_deleted(void **state) {
    fixture *f = *state;
    set_policy(f, "", BASE(DELETE_AFTER(1)));
    fixture_put_down(f);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    reaper_run(f->s);
    fixture_assert_sound(f);
    assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    store_document d;
    assert_ok(store_document_get(f->s, f->c, f->a, STORE_LIFECYCLE, &d));
    assert_int_equal(d.text.len, 0);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_definitions),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_cheapest_wins_and_nothing_warms_up),
        cmocka_unit_test(test_used_again),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_where_to_look),
        STORE_TEST(test_a_run),
        STORE_TEST(test_what_is_in_the_way),
        STORE_TEST(test_snapshots_and_versions),
        STORE_TEST(test_dry),
        STORE_TEST(test_when_it_is_due),
        STORE_TEST(test_account_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
