/* Conditional headers, as a table and through the calls that honour them. */
#include "store_test.h"

#include "memory_engine.c"

#define TAG  0x8DD0123456789ABull
#define TIME 1700000000500000ll /* half a second past */
#define NONE STORE_TIME_NONE
#define SEC  1000000ll

typedef struct row_of {
    condition_kind kind;
    bool exists;
    const char *match, *none;
    int64_t modified_since, unmodified_since;
    err expected;
} row_of;

static const row_of table_of[] = {
    /* no condition */
    {CONDITION_READ, true, "", "", NONE, NONE, OK},
    {CONDITION_CREATE, false, "", "", NONE, NONE, OK},
    /* If-Match: quoted, not quoted, weak, in capitals, in a list, star */
    {CONDITION_READ, true, "\"0x8DD0123456789AB\"", "", NONE, NONE, OK},
    {CONDITION_READ, true, "0x8dd0123456789ab", "", NONE, NONE, OK},
    {CONDITION_READ, true, "W/\"0X8DD0123456789AB\"", "", NONE, NONE, OK},
    {CONDITION_READ, true, "\"0x1\", \"0x8DD0123456789AB\"", "", NONE, NONE, OK},
    {CONDITION_READ, true, "*", "", NONE, NONE, OK},
    {CONDITION_READ, true, "\"0x1\"", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "\"0x8DD0123456789AB", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "0x", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "0x10000000000000000", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "garbage", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_WRITE, true, "0x8DD0123456789AB", "", NONE, NONE, OK},
    {CONDITION_WRITE, true, "0x8DD0123456789AC", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_CREATE, true, "*", "", NONE, NONE, OK},
    {CONDITION_CREATE, false, "*", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_CREATE, false, "0x1", "", NONE, NONE, ERR_CONDITION_NOT_MET},
    /* If-None-Match */
    {CONDITION_READ, true, "", "0x8DD0123456789AB", NONE, NONE, ERR_NOT_MODIFIED},
    {CONDITION_READ, true, "", "0x1,\"0x8DD0123456789AB\"", NONE, NONE, ERR_NOT_MODIFIED},
    {CONDITION_READ, true, "", "*", NONE, NONE, ERR_UNSATISFIABLE_CONDITION},
    {CONDITION_READ, true, "", "0x1", NONE, NONE, OK},
    {CONDITION_WRITE, true, "", "0x8DD0123456789AB", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_WRITE, true, "", "*", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_WRITE, true, "", "0x1", NONE, NONE, OK},
    {CONDITION_CREATE, true, "", "*", NONE, NONE, ERR_BLOB_ALREADY_EXISTS},
    {CONDITION_CREATE, true, "", " * ", NONE, NONE, ERR_BLOB_ALREADY_EXISTS},
    {CONDITION_CREATE, true, "", "0x8DD0123456789AB", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_CREATE, false, "", "*", NONE, NONE, OK},
    /* times count in whole seconds */
    {CONDITION_READ, true, "", "", TIME, NONE, ERR_NOT_MODIFIED},
    {CONDITION_READ, true, "", "", TIME - TIME % SEC, NONE, ERR_NOT_MODIFIED},
    {CONDITION_READ, true, "", "", TIME - SEC, NONE, OK},
    {CONDITION_READ, true, "", "", TIME + SEC, NONE, ERR_NOT_MODIFIED},
    {CONDITION_WRITE, true, "", "", TIME, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_WRITE, true, "", "", TIME - SEC, NONE, OK},
    {CONDITION_READ, true, "", "", NONE, TIME - TIME % SEC, OK},
    {CONDITION_READ, true, "", "", NONE, TIME - SEC, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "", "", NONE, TIME + SEC, OK},
    {CONDITION_WRITE, true, "", "", NONE, TIME - SEC, ERR_CONDITION_NOT_MET},
    {CONDITION_CREATE, false, "", "", TIME, NONE, OK},
    {CONDITION_CREATE, false, "", "", NONE, 0, OK},
    /* reads: If-Match && If-Unmodified-Since && (If-None-Match || If-Modified-Since) */
    {CONDITION_READ, true, "*", "", NONE, TIME - SEC, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "0x1", "", NONE, TIME, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "*", "", NONE, TIME, OK},
    {CONDITION_READ, true, "", "0x1", TIME, NONE, OK},
    {CONDITION_READ, true, "", "0x8DD0123456789AB", TIME - SEC, NONE, OK},
    {CONDITION_READ, true, "", "0x8DD0123456789AB", TIME, NONE, ERR_NOT_MODIFIED},
    {CONDITION_READ, true, "0x1", "0x8DD0123456789AB", NONE, NONE, ERR_CONDITION_NOT_MET},
    {CONDITION_READ, true, "*", "0x8DD0123456789AB", NONE, TIME, ERR_NOT_MODIFIED},
    /* writes: the ETag alone counts; other combinations and lists are refused */
    {CONDITION_WRITE, true, "*", "", NONE, TIME - SEC, OK},
    {CONDITION_WRITE, true, "", "0x1", TIME, NONE, OK},
    {CONDITION_WRITE, true, "*", "0x1", NONE, NONE, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
    {CONDITION_WRITE, true, "*", "", TIME, NONE, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
    {CONDITION_WRITE, true, "", "0x1", NONE, TIME, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
    {CONDITION_WRITE, true, "", "", TIME, TIME, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
    {CONDITION_CREATE, false, "*", "*", NONE, NONE, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
    {CONDITION_CREATE, true, "0x1,0x2", "", NONE, NONE,
     ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
};

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table_of); i++) {
        const row_of *r = &table_of[i];
        store_conditions c = {.if_match = slice_str(r->match),
                              .if_none_match = slice_str(r->none),
                              .if_modified_since_us = r->modified_since,
                              .if_unmodified_since_us = r->unmodified_since};
        condition_target t = {.exists = r->exists, .etag = TAG, .modified_us = TIME};
        err e = conditions_check(&c, r->kind, t);
        if (e != r->expected) print_error("row %zu: ", i);
        assert_err(e, r->expected);
    }
    assert_ok(conditions_check(NULL, CONDITION_READ, (condition_target){0}));
}

static void test_put(void **state) {
    fixture *f = *state;
    store_blob b, first;
    store_conditions absent = STORE_NO_CONDITIONS, same = STORE_NO_CONDITIONS, any = same;
    absent.if_none_match = S("*");
    any.if_match = S("*");
    assert_err(try_put(f, S("x"), S("0"), &any, &b), ERR_CONDITION_NOT_MET);
    assert_ok(try_put(f, S("x"), S("1"), &absent, &first));
    assert_err(try_put(f, S("x"), S("2"), &absent, &b), ERR_BLOB_ALREADY_EXISTS);
    same.if_match = arena_fmt(f->c.arena, "\"0x%llX\"", (unsigned long long)first.etag);
    assert_ok(try_put(f, S("x"), S("3"), &same, &b));
    assert_err(try_put(f, S("x"), S("4"), &same, &b), ERR_CONDITION_NOT_MET);
    assert_slice(get(f, S("x")), S("3"));
    store_put p = {.cond = &absent};
    assert_err(store_block_list_put(f->s, f->c, f->k, S("x"), NULL, 0, &p, &b),
               ERR_BLOB_ALREADY_EXISTS);
    p.cond = &same;
    assert_err(store_block_list_put(f->s, f->c, f->k, S("x"), NULL, 0, &p, &b),
               ERR_CONDITION_NOT_MET);
    assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), &same, NULL, NULL),
               ERR_CONDITION_NOT_MET);
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, S("x"), &same, NULL, 0, &b),
               ERR_CONDITION_NOT_MET);
    assert_err(store_blob_delete(f->s, f->c, f->k, S("none"), &same, NULL, NULL),
               ERR_BLOB_NOT_FOUND);
    store_reader *r;
    assert_err(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, &same, &b, &r),
               ERR_CONDITION_NOT_MET);
    assert_err(store_blob_get(f->s, f->c, f->k, S("none"), STORE_CURRENT, &same, &b),
               ERR_BLOB_NOT_FOUND);
    assert_slice(get(f, S("x")), S("3"));
}

static void test_lease(void **state) {
    fixture *f = *state;
    store_blob b;
    store_conditions lease = STORE_NO_CONDITIONS;
    lease.lease_id = S("0123456789abcdef");
    assert_err(try_put(f, S("x"), S("1"), &lease, &b), ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION);
    put(f, S("x"), S("1"));
    assert_err(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &lease, &b),
               ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION);
    assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), &lease, NULL, NULL),
               ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        cmocka_unit_test(test_table),
        T(test_put),
        T(test_lease),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
