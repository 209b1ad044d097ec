/* Tags, and expressions over them. */
#include "store_test.h"

#include "memory_engine.c"

static void test_limits(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    uint8_t *long_text = arena_alloc(a, 300);
    memset(long_text, 'x', 300);
    pair many[11];
    for (int i = 0; i < 11; i++) many[i] = (pair){arena_fmt(a, "k%d", i), S("v")};
    assert_ok(store_tags_check(NULL, 0));
    assert_ok(store_tags_check(many, 10));
    assert_err(store_tags_check(many, 11), ERR_TAGS_TOO_LARGE);
    assert_ok(store_tags_check(&(pair){slice_of(long_text, 128), slice_of(long_text, 256)}, 1));
    assert_err(store_tags_check(&(pair){slice_of(long_text, 129), S("")}, 1), ERR_TAGS_TOO_LARGE);
    assert_err(store_tags_check(&(pair){S("k"), slice_of(long_text, 257)}, 1), ERR_TAGS_TOO_LARGE);
    assert_err(store_tags_check(&(pair){S(""), S("v")}, 1), ERR_EMPTY_TAG_NAME);
    assert_ok(store_tags_check(&(pair){S(" +-./:=_azAZ09"), S("")}, 1));
    static const char *const bad[] = {"\"", "'", "@", "&", "<", "*", "~", "\n", "\xc3\xa4"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_err(store_tags_check(&(pair){slice_str(bad[i]), S("v")}, 1), ERR_INVALID_TAG);
        assert_err(store_tags_check(&(pair){S("k"), slice_str(bad[i])}, 1), ERR_INVALID_TAG);
    }
    assert_err(store_tags_check(&(pair){S("k\0"), S("v")}, 1), ERR_INVALID_TAG);
    pair twice[] = {{S("a"), S("1")}, {S("b"), S("1")}, {S("a"), S("2")}};
    assert_err(store_tags_check(twice, 3), ERR_DUPLICATE_TAG_NAMES);
    arena_free(a);
}

static void test_packed_in_order(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    pair tags[] = {{S("b"), S("2")}, {S("a"), S("1")}, {S("B"), S("3")}}, out[STORE_TAGS_MAX];
    slice packed;
    assert_ok(tags_pack(tags, 3, a, &packed));
    assert_ok(row_tags_get(packed, 3, out));
    assert_slice(out[0].name, S("B"));
    assert_slice(out[1].name, S("a"));
    assert_slice(out[2].name, S("b"));
    assert_err(row_tags_get(packed, 2, out), ERR_CORRUPT);
    assert_err(row_tags_get(packed, 4, out), ERR_CORRUPT);
    assert_err(row_tags_get(packed, 11, out), ERR_CORRUPT);
    arena_free(a);
}

static const pair some[] = {{{(const uint8_t *)"Date", 4}, {(const uint8_t *)"2020-04-20", 10}},
                            {{(const uint8_t *)"Empty", 5}, {NULL, 0}},
                            {{(const uint8_t *)"Status", 6}, {(const uint8_t *)"Done", 4}},
                            {{(const uint8_t *)"a b", 3}, {(const uint8_t *)"x=y", 3}}};

typedef struct expression {
    const char *text;
    int expected; /* 0, 1; -1: refused */
} expression;

static void check(const expression *x, bool search) {
    arena *a = arena_new(4096, 1 << 20);
    const store_tag_query *q;
    slice text = slice_str(x->text);
    err e = search ? store_tag_where(a, text, &q) : store_tag_condition(a, text, &q);
    if (x->expected < 0) {
        if (e == OK) fail_msg("%s: was taken", x->text);
        if (search)
            assert_true(e == ERR_TAG_QUERY || e == ERR_TAG_QUERY_TAGS);
        else
            assert_int_equal(e, ERR_INVALID_HEADER_VALUE);
    } else {
        if (e != OK) fail_msg("%s: %s", x->text, err_detail());
        if (store_tag_query_true(q, some, ARRAY_LEN(some)) != x->expected)
            fail_msg("%s: is not %d", x->text, x->expected);
    }
    arena_free(a);
}

/* In conditions and searches. */
static const expression both[] = {
    {"Status='Done'", 1},
    {"\"Status\" = 'Done'", 1},
    {"  Status\t=  'Done'  ", 1},
    {"Status='done'", 0},
    {"status='Done'", 0},
    {"Missing='Done'", 0},
    {"Missing<'Done'", 0},
    {"Status>'Do'", 1},
    {"Status>'Done'", 0},
    {"Status>='Done'", 1},
    {"Status<'Donf'", 1},
    {"Status<'Done'", 0},
    {"Status<='Done'", 1},
    {"Empty=''", 1},
    {"Empty<'a'", 1},
    {"\"a b\"='x=y'", 1},
    {"Date >= '2020-04-20' AND Date < '2020-04-21'", 1},
    {"Date>'2020-04-20'and Date<'2020-04-21'", 0},
    {"Status='Done' aNd Date>'2019'", 1},
    {"(Status='Done')", 1},
    {"((Status='Done') AND (Date='2020-04-20'))", 1},
    {"Status='Done' AND Missing='x'", 0},
    /* refused */
    {"", -1},
    {" ", -1},
    {"Status", -1},
    {"Status=", -1},
    {"Status='Done", -1},
    {"Status=\"Done\"", -1},
    {"'Status'='Done'", -1},
    {"Status==Done", -1},
    {"Status=='Done'", -1},
    {"a b='x=y'", -1},
    {"a-b='x'", -1},
    {"\"\"='x'", -1},
    {"\"a@\"='x'", -1},
    {"Status='a''b'", -1},
    {"Status='a%'", -1},
    {"Status='\xc3\xa4'", -1},
    {"Status='Done' AND", -1},
    {"AND Status='Done'", -1},
    {"Status='Done' Date='x'", -1},
    {"Status='Done' XOR Date='x'", -1},
    {"Status='Done' ANDDate='x'", -1},
    {"(Status='Done'", -1},
    {"Status='Done')", -1},
    {"()", -1},
    {"NOT Status='Done'", -1},
    {"Status LIKE 'Done'", -1},
    {"Status='Done';", -1},
    {"@other='x'", -1},
    {"((((((((((((((((( Status='Done' )))))))))))))))))", -1},
};

static const expression conditions[] = {
    {"Status<>'Open'", 1},
    {"Status <> 'Done'", 0},
    {"Missing<>'x'", 0}, /* no value to compare */
    {"Status='Open' OR Date='2020-04-20'", 1},
    {"Status='Open' OR Missing='x'", 0},
    /* AND binds closer */
    {"Status='Done' OR Missing='x' AND Missing='y'", 1},
    {"(Status='Done' OR Missing='x') AND Missing='y'", 0},
    {"Missing='y' AND Missing='x' OR Status='Done'", 1},
    {"Missing='y' AND (Missing='x' OR Status='Done')", 0},
    {"Status='Done' AND (Missing='x' OR (Date>'2020' AND (Empty='' OR Missing='')))", 1},
    {"Status='Done' AND Status='Open'", 0},
    {"Status<>'a' and Status<>'b'and Status<>'c'", 1},
    {"@container='box'", -1},
};

static const expression searches[] = {
    {"@container='box' AND Status='Done'", 1},
    {"Status='Done' AND @container = 'box'", 1},
    {"Status<>'Open'", -1},
    {"Status='Open' OR Date='x'", -1},
    {"@container='box'", -1},
    {"@container>'box' AND Status='Done'", -1},
    {"@container='a' AND @container='b' AND Status='Done'", -1},
    {"Status='Done' AND Status='Open'", -1},
    {"Status='Done' AND Status<'Open'", -1},
    {"Date>'1' AND Date>='2'", -1},
    {"Date<'1' AND Date<='2'", -1},
    {"Date>'1' AND Date<'2' AND Date<'3'", -1},
};

static void test_expressions(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        check(&both[i], false);
        check(&both[i], true);
    }
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) check(&conditions[i], false);
    for (size_t i = 0; i < ARRAY_LEN(searches); i++) check(&searches[i], true);
    /* A byte 00 ends nothing. */
    arena *a = arena_new(4096, 0);
    const store_tag_query *q;
    assert_err(store_tag_condition(a, S("a='b'\0x"), &q), ERR_INVALID_HEADER_VALUE);
    arena_free(a);
}

static slice repeat(arena *a, const char *format, const char *between, int n) {
    buf b;
    buf_init_arena(&b, a, 1 << 20);
    for (int i = 0; i < n; i++) {
        if (i > 0) buf_str(&b, between);
        buf_put(&b, arena_fmt(a, "%s%d='v'", format, i));
    }
    assert_ok(buf_check(&b));
    return buf_slice(&b);
}

static void test_expression_limits(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    const store_tag_query *q;
    assert_ok(store_tag_condition(a, repeat(a, "k", " AND ", 1024), &q));
    assert_false(store_tag_query_true(q, some, ARRAY_LEN(some)));
    assert_err(store_tag_condition(a, repeat(a, "k", " AND ", 1025), &q), ERR_INVALID_HEADER_VALUE);
    assert_ok(store_tag_condition(a, repeat(a, "k", " OR ", 1024), &q));
    assert_ok(store_tag_where(a, repeat(a, "k", " AND ", 10), &q));
    assert_err(store_tag_where(a, repeat(a, "k", " AND ", 11), &q), ERR_TAG_QUERY_TAGS);
    /* Too long for a tag: a condition that nothing meets, a search that means nothing. */
    uint8_t *x = arena_alloc(a, 257);
    memset(x, 'x', 257);
    assert_ok(store_tag_condition(a, arena_fmt(a, "%.129s='v'", x), &q));
    assert_ok(store_tag_condition(a, arena_fmt(a, "k<>'%.257s'", x), &q));
    assert_ok(store_tag_where(a, arena_fmt(a, "%.128s='%.256s'", x, x), &q));
    assert_err(store_tag_where(a, arena_fmt(a, "%.129s='v'", x), &q), ERR_TAG_QUERY);
    assert_err(store_tag_where(a, arena_fmt(a, "k='%.257s'", x), &q), ERR_TAG_QUERY);
    arena_free(a);
}

/* ---- through the store ---- */

static err put_tagged(fixture *f, slice name, const pair *tags, size_t count,
                      const store_conditions *cond, store_blob *ret) {
    slice data = S("content");
    store_upload *u = upload(f, data, data.len);
    store_put p = {.tags = tags, .tag_count = count, .cond = cond};
    err e = store_blob_put(f->s, f->c, f->k, name, u, &p, ret);
    if (e != OK) store_upload_free(u);
    return e;
}

static store_blob blob_of(fixture *f, slice name) {
    store_blob b;
    assert_ok(store_blob_get(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b));
    return b;
}

static store_conditions when(fixture *f, const char *text) {
    store_conditions cond = STORE_NO_CONDITIONS;
    assert_ok(store_tag_condition(f->c.arena, slice_str(text), &cond.if_tags));
    return cond;
}

static void test_kept_with_the_blob(void **state) {
    fixture *f = *state;
    pair tags[] = {{S("b"), S("2")}, {S("a"), S("1")}};
    store_blob b, again;
    assert_ok(put_tagged(f, S("x"), tags, 2, NULL, &b));
    assert_int_equal(b.tag_count, 2);
    assert_slice(b.tags[0].name, S("a"));
    /* They are no part of the state: no new ETag, no new time. */
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, tags, 1));
    again = blob_of(f, S("x"));
    assert_true(again.etag == b.etag && again.modified_us == b.modified_us);
    assert_int_equal(again.tag_count, 1);
    assert_slice(again.tags[0].value, S("2"));
    /* A change of metadata keeps them, new content does not. */
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("x"), NULL, tags, 2, &b));
    assert_int_equal(b.tag_count, 1);
    fixture_restart(f);
    assert_int_equal(blob_of(f, S("x")).tag_count, 1);
    put(f, S("x"), S("new"));
    assert_int_equal(blob_of(f, S("x")).tag_count, 0);
    /* None at all is fine too. */
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, tags, 2));
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, NULL, 0));
    assert_int_equal(blob_of(f, S("x")).tag_count, 0);
    assert_err(store_blob_set_tags(f->s, f->c, f->k, S("nothing"), STORE_CURRENT, NULL, tags, 2),
               ERR_BLOB_NOT_FOUND);
    pair wrong = {S("a*"), S("")};
    assert_err(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &wrong, 1),
               ERR_INVALID_TAG);
}

static void test_conditions(void **state) {
    fixture *f = *state;
    pair tags[] = {{S("a"), S("1")}};
    store_blob b;
    store_conditions met = when(f, "a='1'"), not_met = when(f, "a<>'1'");
    /* What is not there has no tags. */
    assert_err(put_tagged(f, S("x"), NULL, 0, &met, &b), ERR_CONDITION_NOT_MET);
    assert_ok(put_tagged(f, S("x"), tags, 1, NULL, &b));
    assert_ok(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &met, &b));
    assert_err(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &not_met, &b),
               ERR_CONDITION_NOT_MET);
    get(f, S("x")), get(f, S("x")); /* and from memory */
    assert_ok(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &met, &b));
    assert_err(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &not_met, &b),
               ERR_CONDITION_NOT_MET);
    assert_err(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, &not_met, NULL, 0),
               ERR_CONDITION_NOT_MET);
    assert_err(store_blob_delete(f->s, f->c, f->k, S("x"), &not_met, NULL, NULL),
               ERR_CONDITION_NOT_MET);
    assert_err(put_tagged(f, S("x"), NULL, 0, &not_met, &b), ERR_CONDITION_NOT_MET);
    /* With the others: all must hold. */
    met.if_match = S("\"0x1\"");
    assert_err(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &met, &b),
               ERR_CONDITION_NOT_MET);
    met.if_match = S("*");
    assert_ok(put_tagged(f, S("x"), NULL, 0, &met, &b));
}

typedef struct listed {
    int blobs, tags, counted;
} listed;

static err count_tags(void *ctx, const store_blob *b, slice prefix) {
    (void)prefix;
    listed *l = ctx;
    l->blobs++;
    l->counted += (int)b->tag_count;
    for (uint32_t i = 0; b->tags && i < b->tag_count; i++) l->tags += b->tags[i].value.len > 0;
    return OK;
}

static void test_listed_when_asked_for(void **state) {
    fixture *f = *state;
    pair tags[] = {{S("a"), S("1")}, {S("b"), S("1")}};
    store_blob b;
    slice next;
    assert_ok(put_tagged(f, S("x"), tags, 2, NULL, &b));
    assert_ok(put_tagged(f, S("y"), NULL, 0, NULL, &b));
    for (int asked = 0; asked < 2; asked++) {
        listed l = {0};
        store_blob_list q = {.max = 10, .tags = asked};
        assert_ok(store_blob_scan(f->s, f->c, f->k, &q, count_tags, &l, &next));
        assert_int_equal(l.blobs, 2);
        assert_int_equal(l.counted, 2);
        assert_int_equal(l.tags, asked ? 2 : 0);
    }
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_packed_in_order),
        cmocka_unit_test(test_expressions),     cmocka_unit_test(test_expression_limits),
        STORE_TEST(test_kept_with_the_blob),    STORE_TEST(test_conditions),
        STORE_TEST(test_listed_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
