/* Find Blobs by Tags: what is found, what it costs, and that the index follows every change. */
#include "store_test.h"

#include "memory_engine.c"

static void put_in(fixture *f, const store_container *k, slice name, const pair *tags,
                   size_t count) {
    store_upload *u;
    store_blob b;
    assert_ok(store_upload_new(f->s, k, 1, 1, 0, &u));
    assert_ok(store_upload_write(u, S("x")));
    assert_ok(store_upload_finish(u));
    store_put p = {.tags = tags, .tag_count = count};
    assert_ok(store_blob_put(f->s, f->c, k, name, u, &p, &b));
}

static void put_tag(fixture *f, slice name, slice key, slice value) {
    put_in(f, f->k, name, &(pair){key, value}, 1);
}

static const store_container *container(fixture *f, slice name) {
    const store_container *k;
    assert_ok(store_container_create(f->s, f->c, f->a, name, STORE_PRIVATE, NULL, 0, &k));
    return k;
}

typedef struct found {
    buf text; /* "container/name[key=value,…] …" */
    size_t count;
    size_t room; /* 0: no end */
} found;

static err note(void *ctx, const store_found *b) {
    found *x = ctx;
    if (x->room && x->count == x->room) return ERR_TOO_LARGE;
    buf_fmt(&x->text, "%s%.*s/%.*s[", x->count++ ? " " : "", SLICE_ARG(b->container),
            SLICE_ARG(b->name));
    for (size_t i = 0; i < b->tag_count; i++)
        buf_fmt(&x->text, "%s%.*s=%.*s", i ? "," : "", SLICE_ARG(b->tags[i].name),
                SLICE_ARG(b->tags[i].value));
    buf_byte(&x->text, ']');
    return OK;
}

/* One page. */
static found find_page(fixture *f, const store_container *k, const char *where, size_t max,
                       slice marker, size_t room, slice *ret_next, size_t *ret_visited) {
    found x = {.room = room};
    buf_init_arena(&x.text, f->c.arena, 1 << 20);
    store_find q = {.max = max, .marker = marker};
    assert_ok(store_tag_where(f->c.arena, slice_str(where), &q.query));
    assert_ok(store_blob_find(f->s, f->c, f->a, k, &q, note, &x, ret_next, ret_visited));
    return x;
}

static void assert_finds(fixture *f, const store_container *k, const char *where,
                         const char *expected) {
    slice next;
    found x = find_page(f, k, where, 5000, SLICE_NONE, 0, &next, NULL);
    assert_slice(buf_slice(&x.text), slice_str(expected));
    assert_int_equal(next.len, 0);
}

static size_t visited(fixture *f, const store_container *k, const char *where, size_t count) {
    slice next;
    size_t n;
    found x = find_page(f, k, where, 5000, SLICE_NONE, 0, &next, &n);
    assert_int_equal(x.count, count);
    return n;
}

static void test_operators(void **state) {
    fixture *f = *state;
    static const char *const values[] = {"", " ", "1", "10", "1 0", "2", "A", "a", "a1", "b"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        put_tag(f, arena_fmt(f->c.arena, "n%zu", i), S("k"), slice_str(values[i]));
    /* keys beside it, and a container beside this one */
    put_tag(f, S("other"), S("k "), S("1"));
    put_tag(f, S("other2"), S("kk"), S("1"));
    put_tag(f, S("other3"), S("j"), S("1"));
    const store_container *box2 = container(f, S("box2"));
    put_in(f, box2, S("z"), &(pair){S("k"), S("1")}, 1);
    static const struct {
        const char *op, *value, *expected; /* numbers of values, in order of values */
    } cases[] = {
        {"=", "1", "2"},         {"=", "", "0"},      {"=", "3", ""},        {">", "a", "89"},
        {">=", "a", "789"},      {"<", "1", "01"},    {"<=", "1", "012"},    {">", "1", "4356789"},
        {">=", "1", "24356789"}, {"<", "", ""},       {"<=", "", "0"},       {">", "b", ""},
        {">", "1 ", "4356789"},  {"<", "1 0", "012"}, {"<=", "1 0", "0124"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        buf_init_arena(&b, f->c.arena, 4096);
        for (const char *c = cases[i].expected; *c; c++)
            buf_fmt(&b, "%sbox/n%c[k=%s]", c == cases[i].expected ? "" : " ", *c, values[*c - '0']);
        buf_byte(&b, 0);
        slice where = arena_fmt(f->c.arena, "k %s '%s'", cases[i].op, cases[i].value);
        assert_finds(f, f->k, arena_cstr(f->c.arena, where), (const char *)b.p);
        where =
            arena_fmt(f->c.arena, "@container = 'box' AND k %s '%s'", cases[i].op, cases[i].value);
        assert_finds(f, NULL, arena_cstr(f->c.arena, where), (const char *)b.p);
    }
    assert_finds(f, f->k, "k > '1' AND k <= 'A'",
                 "box/n4[k=1 0] box/n3[k=10] box/n5[k=2] box/n6[k=A]");
    assert_finds(f, f->k, "k > 'b' AND k < 'a'", "");
    assert_finds(f, NULL, "k = '1'", "box/n2[k=1] box2/z[k=1]");
    assert_finds(f, box2, "k >= ''", "box2/z[k=1]");
    assert_finds(f, f->k, "@container = 'box' AND k = '1'", "box/n2[k=1]");
    assert_finds(f, f->k, "@container = 'box2' AND k = '1'", "");
    assert_finds(f, NULL, "@container = 'nothing' AND k = '1'", "");
    assert_finds(f, NULL, "missing > ''", "");
    store_container_unref(box2);
    fixture_assert_sound(f);
}

static void test_several_tags(void **state) {
    fixture *f = *state;
    pair tags[] = {{S("a"), S("1")}, {S("b"), S("2")}, {S("c"), S("3")}};
    put_in(f, f->k, S("all"), tags, 3);
    put_in(f, f->k, S("two"), tags, 2);
    put_in(f, f->k, S("one"), tags, 1);
    put_in(f, f->k, S("none"), NULL, 0);
    put_in(f, f->k, S("a\x01 b"), tags + 2, 1);
    assert_finds(f, f->k, "a='1'", "box/all[a=1] box/one[a=1] box/two[a=1]");
    assert_finds(f, f->k, "a='1' AND b='2'", "box/all[a=1,b=2] box/two[a=1,b=2]");
    assert_finds(f, NULL, "b>'1' AND c>'1' AND a>'0'", "box/all[a=1,b=2,c=3]");
    assert_finds(f, NULL, "a='1' AND b='3'", "");
    assert_finds(f, NULL, "c='3'", "box/a\x01 b[c=3] box/all[c=3]");
    fixture_assert_sound(f);
}

static void test_the_index_follows(void **state) {
    fixture *f = *state;
    pair tags[] = {{S("a"), S("1")}, {S("b"), S("2")}}, other = {S("a"), S("9")};
    store_blob b;
    put_in(f, f->k, S("x"), tags, 2);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 4);
    /* other tags, the same, none */
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &other, 1));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 2);
    assert_finds(f, f->k, "a='1'", "");
    assert_finds(f, NULL, "a='9'", "box/x[a=9]");
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &other, 1));
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("x"), NULL, NULL, 0, &b));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 2);
    fixture_assert_sound(f);
    assert_ok(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, NULL, 0));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    /* new content brings its own */
    put_in(f, f->k, S("x"), tags, 2);
    put_in(f, f->k, S("x"), tags + 1, 1);
    assert_finds(f, f->k, "a>=''", "");
    assert_finds(f, f->k, "b>=''", "box/x[b=2]");
    fixture_assert_sound(f);
    assert_ok(try_block(f, S("x"), S("1"), S("1")));
    store_put p = {.tags = tags, .tag_count = 1};
    assert_ok(store_block_list_put(f->s, f->c, f->k, S("x"), &LATEST("1"), 1, &p, &b));
    assert_finds(f, f->k, "b>=''", "");
    assert_finds(f, f->k, "a>=''", "box/x[a=1]");
    /* what fails changes nothing */
    store_conditions cond = STORE_NO_CONDITIONS;
    cond.if_match = S("\"0x1\"");
    assert_err(store_blob_set_tags(f->s, f->c, f->k, S("x"), STORE_CURRENT, &cond, NULL, 0),
               ERR_CONDITION_NOT_MET);
    assert_finds(f, f->k, "a>=''", "box/x[a=1]");
    fixture_restart(f);
    assert_finds(f, NULL, "a>=''", "box/x[a=1]");
    fixture_assert_sound(f);
    /* and nothing is left behind */
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
}

static void test_containers_come_and_go(void **state) {
    fixture *f = *state;
    pair tags[] = {{S("a"), S("1")}, {S("b"), S("2")}};
    const store_container *box2 = container(f, S("box2"));
    for (int i = 0; i < 400; i++) put_in(f, box2, arena_fmt(f->c.arena, "n%d", i), tags, 2);
    put_in(f, f->k, S("stays"), tags, 2);
    store_container_unref(box2);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box2"), NULL));
    assert_finds(f, NULL, "a='1'", "box/stays[a=1]"); /* before the purge */
    /* a container of the same name is another one */
    const store_container *again = container(f, S("box2"));
    assert_finds(f, NULL, "a='1'", "box/stays[a=1]");
    assert_finds(f, again, "a='1'", "");
    store_container_unref(again);
    fixture_assert_sound(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 4);
    fixture_assert_sound(f);
    fixture_put_down(f);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    fixture_assert_sound(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    f->k = container(f, S("box"));
}

/* The number of rows read is that of the matches, not of the container, of the account, or of those
 * that the other tags would leave. */
static void test_cost(void **state) {
    fixture *f = *state;
    arena *a = f->c.arena;
    enum { ALL = 3000, FEW = 7, BOXES = 20 };
    for (int i = 0; i < ALL; i++) {
        pair tags[] = {{S("kind"), S("scan")},
                       {S("day"), arena_fmt(a, "%04d", i)},
                       {S("rare"), i % (ALL / FEW) == 5 ? S("yes") : S("no")}};
        put_in(f, f->k, arena_fmt(a, "n%04d", i), tags, 3);
    }
    for (int i = 0; i < BOXES; i++) { /* other containers, with the same tags */
        const store_container *k = container(f, arena_fmt(a, "other%d", i));
        put_in(f, k, S("x"), &(pair){S("kind"), S("scan")}, 1);
        put_in(f, k, S("y"), &(pair){S("day"), S("0100")}, 1);
        store_container_unref(k);
    }
    for (int account = 0; account < 2; account++) {
        const store_container *k = account ? NULL : f->k;
        size_t more = account ? BOXES : 0;
        assert_int_equal(visited(f, k, "rare='yes'", FEW), FEW);
        assert_int_equal(visited(f, k, "missing='x'", 0), 0);
        assert_int_equal(visited(f, k, "day='0100'", 1 + more), 1 + more);
        assert_int_equal(visited(f, k, "day>='0100' AND day<'0110'", 10 + more), 10 + more);
        /* With a tag that nearly all have: its range is walked only as far as the other one goes. */
        assert_true(visited(f, k, "kind='scan' AND rare='yes'", FEW) <= 3 * FEW + 2);
        assert_true(visited(f, k, "rare='yes' AND kind='scan'", FEW) <= 3 * FEW + 2);
        assert_true(visited(f, k, "kind='scan' AND day>='0100' AND day<'0110'", 10) <=
                    3 * (10 + more) + 2);
        assert_int_equal(visited(f, k, "kind='scan' AND missing>''", 0), 0 + 1);
        /* in one container, asked for through the account */
        assert_int_equal(visited(f, k, "@container='box' AND day='0100'", 1), 1);
    }
}

static void test_pages(void **state) {
    fixture *f = *state;
    arena *a = f->c.arena;
    const store_container *box2 = container(f, S("box2"));
    pair tags[] = {{S("k"), S("v")}, {S("n"), SLICE_NONE}};
    for (int i = 0; i < 50; i++) {
        tags[1].value = arena_fmt(a, "%02d", i);
        put_in(f, i % 2 ? f->k : box2, arena_fmt(a, "b%02d", i), tags, 2);
    }
    for (int query = 0; query < 3; query++) {
        const char *where = query == 0   ? "k='v'"
                            : query == 1 ? "k='v' AND n>='10' AND n<'40'"
                                         : "n<'30' AND k>'u'";
        size_t expected = query == 0 ? 50 : 30;
        for (size_t max = 1; max < 60; max += 7) {
            slice next = SLICE_NONE, all[64];
            size_t total = 0, pages = 0;
            do {
                /* also pages that end because the caller has no room */
                found x = find_page(f, NULL, where, max, next, max > 20 ? 13 : 0, &next, NULL);
                assert_true(x.count <= max && (x.count > 0 || next.len == 0));
                slice rest = buf_slice(&x.text), part;
                while (x.count > 0 && slice_split(&rest, ' ', &part)) all[total++] = part;
                pages++;
            } while (next.len > 0);
            assert_int_equal(total, expected);
            assert_true(pages >= expected / max);
            for (size_t i = 0; i < total; i++)
                for (size_t j = 0; j < i; j++) assert_false(slice_eq(all[i], all[j]));
        }
    }
    store_container_unref(box2);
    /* markers that this search did not give */
    static const char *const wrong[] = {"x", "1", "1AQ", "2AWE", "1!!", "1CWE", "1AAE"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        store_find q = {.max = 10, .marker = slice_str(wrong[i])};
        slice next;
        found x = {0};
        assert_ok(store_tag_where(a, S("k='v'"), &q.query));
        assert_err(store_blob_find(f->s, f->c, f->a, f->k, &q, note, &x, &next, NULL),
                   ERR_OUT_OF_RANGE_INPUT);
    }
    /* one of another place begins there, and shows nothing beside the range */
    slice next;
    found x = find_page(f, f->k, "k='v'", 5, S("1AWE"), 0, &next, NULL);
    assert_int_equal(x.count, 5);
    x = find_page(f, f->k, "k='v'", 5, S("1AXo"), 0, &next, NULL);
    assert_int_equal(x.count, 0);
    for (int max = 0; max < 2; max++) {
        store_find q = {.max = max ? STORE_LIST_MAX + 1 : 0};
        assert_ok(store_tag_where(a, S("k='v'"), &q.query));
        assert_err(store_blob_find(f->s, f->c, f->a, f->k, &q, note, &x, &next, NULL),
                   ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE);
    }
}

/* ---- the check sees damage on both sides ---- */

static void raw(fixture *f, slice key, const slice *value) {
    engine_txn *t;
    assert_ok(engine_txn_begin(f->s->engine, S("test"), &t));
    if (value)
        engine_txn_put(t, ENGINE_INDEX, key, *value);
    else
        engine_txn_delete(t, ENGINE_INDEX, key);
    assert_ok(engine_txn_commit(t));
}

static void collect(void *ctx, const char *what, const char *where) {
    buf_fmt(ctx, "%s: %s\n", where, what);
}

static size_t defects(fixture *f, const char *says) {
    store_check_progress p;
    buf text;
    buf_init_arena(&text, f->c.arena, 1 << 20);
    assert_ok(store_check(f->s, collect, NULL, &text, &p));
    if (p.defects && slice_find_slice(buf_slice(&text), 0, slice_str(says)) == text.len)
        fail_msg("reported: %.*s", SLICE_ARG(buf_slice(&text)));
    return p.defects;
}

static void test_damage(void **state) {
    fixture *f = *state;
    put_tag(f, S("x"), S("a"), S("1"));
    engine_cursor *cur;
    slice k, v;
    bool more;
    for (int which = 0; which < 2; which++) {
        /* each of its two rows gone, changed, and one too many */
        assert_ok(engine_scan(f->s->engine, ENGINE_INDEX, SLICE_NONE, SLICE_NONE, &cur));
        for (int i = 0; i <= which; i++) assert_ok(engine_cursor_next(cur, &k, &v, &more));
        assert_true(more);
        slice key = arena_dup(f->c.arena, k), value = arena_dup(f->c.arena, v);
        engine_cursor_free(cur);
        assert_int_equal(defects(f, ""), 0);
        raw(f, key, NULL);
        assert_int_equal(defects(f, "box/x: its tag 'a' is not in the index"), 1);
        raw(f, key, &S("\1junk"));
        assert_true(defects(f, "row of INDEX") >= 1);
        row_index entry;
        assert_ok(row_index_get(value, &entry));
        pair other = {S("a"), S("2")};
        assert_ok(tags_pack(&other, 1, f->c.arena, &entry.tags));
        slice changed = ROW_ENCODE(index, f->c.arena, &entry);
        raw(f, key, &changed);
        assert_int_equal(defects(f, "says something else"), 1);
        raw(f, key, &value);
        buf wrong;
        buf_init_arena(&wrong, f->c.arena, ENGINE_KEY_MAX);
        buf_put(&wrong, key);
        buf_byte(&wrong, 'y'); /* of a blob "xy" */
        raw(f, buf_slice(&wrong), &value);
        assert_int_equal(defects(f, "its blob is not there"), 1);
        put(f, S("xy"), S("untagged"));
        assert_int_equal(defects(f, "its blob has no such tag"), 1);
        raw(f, buf_slice(&wrong), NULL);
        assert_ok(store_blob_delete(f->s, f->c, f->k, S("xy"), NULL, NULL, NULL));
        assert_int_equal(defects(f, ""), 0);
    }
    raw(f, S("?"), &S("x"));
    assert_int_equal(defects(f, "unknown kind"), 1);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_operators),
        STORE_TEST(test_several_tags),
        STORE_TEST(test_the_index_follows),
        STORE_TEST(test_containers_come_and_go),
        STORE_TEST(test_cost),
        STORE_TEST(test_pages),
        STORE_TEST(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
