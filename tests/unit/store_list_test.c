/* Listing blobs: order, pages, prefixes, what is passed over. */
#include "store_test.h"

#include "memory_engine.c"

typedef struct listed {
    buf text;
    size_t room, metadata, count;
} listed;

static err collect(void *ctx, const store_blob *b, slice prefix) {
    listed *l = ctx;
    if (l->room-- == 0) return err_fail(ERR_TOO_LARGE, "full");
    if (b) {
        buf_put(&l->text, b->name);
        if (b->uncommitted) buf_str(&l->text, "?");
        l->metadata += b->metadata_count;
        assert_true(b->uncommitted ? b->length == 0 : b->etag != 0);
    } else {
        buf_put(&l->text, prefix);
        buf_str(&l->text, "*");
    }
    buf_byte(&l->text, ' ');
    l->count++;
    return OK;
}

static slice list_room(fixture *f, store_blob_list q, size_t room, slice *ret_next) {
    listed l = {.room = room};
    buf_init_arena(&l.text, f->c.arena, 1 << 20);
    assert_ok(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, ret_next));
    return buf_slice(&l.text);
}

/* All pages together; each at most q.max. */
static slice list_all(fixture *f, store_blob_list q) {
    listed l = {.room = SIZE_MAX};
    buf_init_arena(&l.text, f->c.arena, 1 << 20);
    do {
        size_t before = l.count;
        assert_ok(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &q.marker));
        assert_true(l.count - before <= q.max);
        if (q.marker.len) assert_true(l.count > before);
    } while (q.marker.len);
    return buf_slice(&l.text);
}

static void fill(fixture *f) {
    static const char *names[] = {"b/2", "a",     "b/1",   "c//x", "b0",
                                  "b",   "d/e/1", "d/e/2", "c/",   "z"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) put(f, slice_str(names[i]), S("x"));
}

/* A byte 01 takes two in a key: what is as long as a name may be and full of them has no room there.
 */
static void test_longest_bounds(void **state) {
    fixture *f = *state;
    uint8_t *ones = arena_alloc(f->c.arena, KEY_NAME_MAX + 1);
    memset(ones, 1, KEY_NAME_MAX + 1);
    slice name = slice_of(ones, STORE_BLOB_NAME_CHARS_MAX), next;
    put(f, name, S("x"));
    store_blob_list q = {.max = 10, .prefix = name, .start_from = name};
    assert_int_equal(list_room(f, q, 10, &next).len, name.len + 1);
    for (size_t len = KEY_NAME_MAX / 2 + 1; len <= KEY_NAME_MAX + 1; len += 767) {
        listed l = {.room = 1};
        q = (store_blob_list){.max = 10, .prefix = slice_of(ones, len)};
        assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next),
                   ERR_INVALID_QUERY_PARAMETER_VALUE);
        q = (store_blob_list){.max = 10, .start_from = slice_of(ones, len)};
        assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next),
                   ERR_INVALID_QUERY_PARAMETER_VALUE);
    }
}

static void test_flat(void **state) {
    fixture *f = *state;
    fill(f);
    slice next;
    store_blob_list q = {.max = 100};
    assert_slice(list_room(f, q, 100, &next), S("a b b/1 b/2 b0 c/ c//x d/e/1 d/e/2 z "));
    assert_int_equal(next.len, 0);
    for (q.max = 1; q.max < 12; q.max++)
        assert_slice(list_all(f, q), S("a b b/1 b/2 b0 c/ c//x d/e/1 d/e/2 z "));
    q = (store_blob_list){.max = 100, .prefix = S("b")};
    assert_slice(list_all(f, q), S("b b/1 b/2 b0 "));
    q.prefix = S("b/");
    assert_slice(list_all(f, q), S("b/1 b/2 "));
    q.prefix = S("bb");
    assert_slice(list_all(f, q), S(""));
    q = (store_blob_list){.max = 10};
    assert_slice(list_room(f, q, 100, &next), S("a b b/1 b/2 b0 c/ c//x d/e/1 d/e/2 z "));
    assert_int_equal(next.len, 0); /* full, and nothing follows */
    q.max = 9;
    (void)list_room(f, q, 100, &next);
    assert_true(next.len > 0);
}

static void test_hierarchy(void **state) {
    fixture *f = *state;
    fill(f);
    store_blob_list q = {.delimiter = S("/")};
    for (q.max = 1; q.max < 8; q.max++) assert_slice(list_all(f, q), S("a b b/* b0 c/* d/* z "));
    q.prefix = S("d/");
    assert_slice(list_all(f, q), S("d/e/* "));
    q.prefix = S("d/e/");
    assert_slice(list_all(f, q), S("d/e/1 d/e/2 "));
    q.prefix = S("c/");
    assert_slice(list_all(f, q), S("c/ c//* "));
    q = (store_blob_list){.max = 100, .delimiter = S("//")};
    assert_slice(list_all(f, q), S("a b b/1 b/2 b0 c/ c//* d/e/1 d/e/2 z "));
    q.delimiter = S("e/");
    assert_slice(list_all(f, q), S("a b b/1 b/2 b0 c/ c//x d/e/* z "));
}

static void test_start_from(void **state) {
    fixture *f = *state;
    fill(f);
    store_blob_list q = {.max = 3, .start_from = S("b/2")};
    assert_slice(list_all(f, q), S("b/2 b0 c/ c//x d/e/1 d/e/2 z "));
    q.start_from = S("b/15");
    assert_slice(list_all(f, q), S("b/2 b0 c/ c//x d/e/1 d/e/2 z "));
    q.prefix = S("b");
    assert_slice(list_all(f, q), S("b/2 b0 "));
    q.start_from = S("zz");
    assert_slice(list_all(f, q), S(""));
    q.start_from = S("a");
    assert_slice(list_all(f, q), S("b b/1 b/2 b0 "));
}

static void test_bad_questions(void **state) {
    fixture *f = *state;
    slice next;
    listed l = {0};
    store_blob_list q = {.max = 1, .marker = S("2YQ")};
    assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next), ERR_OUT_OF_RANGE_INPUT);
    q.marker = S("1");
    assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next), ERR_OUT_OF_RANGE_INPUT);
    q.marker = S("1!!");
    assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next), ERR_OUT_OF_RANGE_INPUT);
    q = (store_blob_list){.max = 0};
    assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next),
               ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE);
    q.max = 5001;
    assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next),
               ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE);
    q = (store_blob_list){.max = 1, .prefix = S("a\xff")};
    assert_err(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next),
               ERR_INVALID_QUERY_PARAMETER_VALUE);
}

/* Names in the order of their UTF-8 bytes, byte 01 among them; the pages do not lose any. */
static void test_order_of_bytes(void **state) {
    fixture *f = *state;
    slice names[] = {S("\x01"),
                     S("\x01\x01"),
                     S("a"),
                     S("a\x01"),
                     S("a\x01\x01"),
                     S("a\x01\x02"),
                     S("a\x01z"),
                     S("a\x02"),
                     S("a/"),
                     S("aa"),
                     S("\xc3\xa9"),
                     S("\xe2\x82\xac"),
                     S("\xf0\x9f\x98\x80")};
    buf expected;
    buf_init_arena(&expected, f->c.arena, 1000);
    for (size_t i = ARRAY_LEN(names); i-- > 0;) put(f, names[i], S("x"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_put(&expected, names[i]);
        buf_byte(&expected, ' ');
    }
    store_blob_list q = {0};
    for (q.max = 1; q.max < 15; q.max++) assert_slice(list_all(f, q), buf_slice(&expected));
    q.prefix = S("a\x01");
    assert_slice(list_all(f, q), S("a\x01 a\x01\x01 a\x01\x02 a\x01z "));
    q = (store_blob_list){.max = 2, .delimiter = S("\x01")};
    assert_slice(list_all(f, q),
                 S("\x01* a a\x01* a\x02 a/ aa \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 "));
}

static void test_uncommitted(void **state) {
    fixture *f = *state;
    put(f, S("b"), S("x"));
    assert_ok(try_block(f, S("a"), S("1"), S("x")));
    assert_ok(try_block(f, S("b"), S("1"), S("x")));
    assert_ok(try_block(f, S("c/d"), S("1"), S("x")));
    store_blob_list q = {0};
    for (q.max = 1; q.max < 5; q.max++) {
        q.uncommitted = true;
        assert_slice(list_all(f, q), S("a? b c/d? "));
        q.uncommitted = false;
        assert_slice(list_all(f, q), S("b "));
    }
    q.delimiter = S("/");
    assert_slice(list_all(f, q), S("b ")); /* a prefix that holds nothing to list is none */
    q.uncommitted = true;
    assert_slice(list_all(f, q), S("a? b c/* "));
    store_block_pick pick = LATEST("1");
    store_blob b;
    assert_ok(try_commit(f, S("a"), &pick, 1, &b));
    assert_slice(list_all(f, q), S("a b c/* "));
}

static void test_room_and_metadata(void **state) {
    fixture *f = *state;
    pair meta = {S("k"), S("v")};
    store_blob b;
    fill(f);
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("b"), NULL, &meta, 1, &b));
    slice next;
    store_blob_list q = {.max = 100};
    assert_slice(list_room(f, q, 3, &next), S("a b b/1 "));
    q.marker = next;
    assert_slice(list_room(f, q, 2, &next), S("b/2 b0 "));
    listed l = {.room = 100};
    buf_init_arena(&l.text, f->c.arena, 1 << 20);
    q = (store_blob_list){.max = 100};
    assert_ok(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next));
    assert_int_equal(l.metadata, 0);
    q.metadata = true;
    l.room = 100;
    assert_ok(store_blob_scan(f->s, f->c, f->k, &q, collect, &l, &next));
    assert_int_equal(l.metadata, 1);
    /* Another container has nothing of this one. */
    const store_container *k = f->k;
    assert_ok(store_container_create(f->s, f->c, f->a, S("empty"), STORE_PRIVATE, NULL, 0, &f->k));
    assert_slice(list_all(f, q), S(""));
    store_container_unref(f->k);
    f->k = k;
}

/* Against a sorted array: random names, prefixes, delimiters and page sizes. */
static int by_bytes(const void *a, const void *b) {
    return slice_cmp(*(const slice *)a, *(const slice *)b);
}

static slice expect(fixture *f, const slice *names, size_t n, const store_blob_list *q) {
    buf b;
    slice last = SLICE_NONE;
    buf_init_arena(&b, f->c.arena, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        if (i && slice_eq(names[i], names[i - 1])) continue;
        if (!slice_starts(names[i], q->prefix) || slice_cmp(names[i], q->start_from) < 0) continue;
        size_t at = q->delimiter.len ? slice_find_slice(names[i], q->prefix.len, q->delimiter)
                                     : names[i].len;
        if (at == names[i].len) {
            buf_put(&b, names[i]);
        } else {
            slice prefix = slice_take(names[i], at + q->delimiter.len);
            if (slice_eq(prefix, last)) continue;
            last = prefix;
            buf_put(&b, prefix);
            buf_byte(&b, '*');
        }
        buf_byte(&b, ' ');
    }
    return buf_slice(&b);
}

static slice random_text(fixture *f, rng *r, size_t max) {
    static const char alphabet[] = "ab/\x01\x02";
    size_t n = rng_below(r, max + 1);
    uint8_t *p = arena_alloc(f->c.arena, n + 1);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)alphabet[rng_below(r, 5)];
    return slice_of(p, n);
}

static void test_random(void **state) {
    fixture *f = *state;
    rng r = {11};
    slice names[300];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        do names[i] = random_text(f, &r, 8);
        while (names[i].len == 0);
        put(f, names[i], S("x"));
    }
    qsort(names, ARRAY_LEN(names), sizeof *names, by_bytes);
    for (int i = 0; i < 300; i++) {
        store_blob_list q = {.max = 1 + rng_below(&r, 40),
                             .prefix = random_text(f, &r, 2),
                             .delimiter = random_text(f, &r, 2),
                             .start_from = rng_below(&r, 2) ? random_text(f, &r, 5) : SLICE_NONE};
        /* With a delimiter, start_from may stand inside a prefix: what follows is still listed. */
        assert_slice(list_all(f, q), expect(f, names, ARRAY_LEN(names), &q));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_longest_bounds), T(test_flat),
        T(test_hierarchy),      T(test_start_from),
        T(test_bad_questions),  T(test_order_of_bytes),
        T(test_uncommitted),    T(test_room_and_metadata),
        T(test_random),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
