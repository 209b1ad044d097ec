/* Page blobs against an array of pages: writes, clears, resizes, frozen states, readers, restarts, failing
 * commits; nothing is torn, nothing is lost, nothing is left. */
#include "store_test.h"

#include "store/pages.h"

#include "memory_engine.c"

#define PAGES  96
#define FROZEN 4

static err try_page(fixture *f, slice name, uint64_t offset, slice data,
                    const store_sequence_if *when, store_blob *ret) {
    store_upload *u = upload(f, data, data.len);
    err e = store_page_put(f->s, f->c, f->k, name, offset, u, NULL, when, ret);
    if (e != OK) store_upload_free(u);
    return e;
}

static store_blob make(fixture *f, slice name, uint64_t pages) {
    store_blob b;
    store_put p = {0};
    assert_ok(store_page_create(f->s, f->c, f->k, name, &p, pages * STORE_PAGE_LEN, 0, &b));
    return b;
}

static void report(void *ctx, const char *what, const char *where) {
    (void)ctx;
    print_error("%s: %s\n", where, what);
}

static void check_sound(fixture *f) {
    store_check_progress p;
    assert_ok(store_check(f->s, report, NULL, NULL, &p));
    assert_int_equal(p.defects, 0);
}

static void assert_nothing_left(fixture *f) {
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    for (int t = ENGINE_BLOB; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(f->disk, (engine_table)t), 0);
}

/* ---- by hand ---- */

static void test_zeros_and_pages(void **state) {
    fixture *f = *state;
    store_blob b = make(f, S("disk"), 8);
    assert_true(b.type == STORE_PAGE_BLOB && b.length == 4096 && !b.has_crc64);
    uint8_t zeros[4096] = {0};
    assert_slice(get(f, S("disk")), slice_of(zeros, 4096));
    slice page = content(f->c.arena, 1, 512);
    assert_ok(try_page(f, S("disk"), 1024, page, NULL, &b));
    memcpy(zeros + 1024, page.p, 512);
    for (size_t cap = 1; cap < 5000; cap = cap * 3 + 1)
        assert_slice(get_sized(f, S("disk"), cap), slice_of(zeros, 4096));
    assert_err(try_page(f, S("disk"), 4096, page, NULL, &b), ERR_INVALID_PAGE_RANGE);
    assert_err(try_page(f, S("none"), 0, page, NULL, &b), ERR_BLOB_NOT_FOUND);
    put(f, S("block"), S("x"));
    assert_err(try_page(f, S("block"), 0, page, NULL, &b), ERR_INVALID_BLOB_TYPE);
    check_sound(f);
}

/* An 8 TiB blob with one page is a page. */
static void test_sparse(void **state) {
    fixture *f = *state;
    store_blob b;
    store_put p = {0};
    uint64_t last = STORE_PAGE_BLOB_LEN_MAX - 512;
    assert_ok(store_page_create(f->s, f->c, f->k, S("disk"), &p, STORE_PAGE_BLOB_LEN_MAX, 7, &b));
    assert_int_equal(b.sequence, 7);
    slice page = content(f->c.arena, 1, 512);
    assert_ok(try_page(f, S("disk"), last, page, NULL, &b));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOCK), 2);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 1);
    uint8_t out[1024], zeros[512] = {0};
    store_reader *r;
    size_t n;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("disk"), STORE_CURRENT, NULL, &b, &r));
    assert_ok(store_reader_prepare(r, f->c, last - 512));
    assert_ok(store_reader_read(r, last - 512, out, sizeof out, false, &n));
    assert_int_equal(n, 1024);
    assert_memory_equal(out, zeros, 512);
    assert_memory_equal(out + 512, page.p, 512);
    store_reader_free(r);
    assert_ok(
        store_page_clear(f->s, f->c, f->k, S("disk"), 0, STORE_PAGE_BLOB_LEN_MAX, NULL, NULL, &b));
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOCK), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 0);
}

static void test_sequence_numbers(void **state) {
    fixture *f = *state;
    store_blob b;
    slice page = content(f->c.arena, 1, 512);
    make(f, S("disk"), 2);
    store_page_set set = {.action = STORE_SEQUENCE_UPDATE, .sequence = 10};
    assert_ok(store_page_set_properties(f->s, f->c, f->k, S("disk"), NULL, &set, &b));
    static const struct {
        store_sequence_if when;
        bool met;
    } cases[] = {
        {{.has_le = true, .le = 10}, true},
        {{.has_le = true, .le = 9}, false},
        {{.has_lt = true, .lt = 11}, true},
        {{.has_lt = true, .lt = 10}, false},
        {{.has_eq = true, .eq = 10}, true},
        {{.has_eq = true, .eq = 11}, false},
        {{.has_le = true, .le = 10, .has_eq = true, .eq = 9}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_err(try_page(f, S("disk"), 0, page, &cases[i].when, &b),
                   cases[i].met ? OK : ERR_SEQUENCE_NUMBER_CONDITION_NOT_MET);
    set = (store_page_set){.action = STORE_SEQUENCE_MAX, .sequence = 5};
    assert_ok(store_page_set_properties(f->s, f->c, f->k, S("disk"), NULL, &set, &b));
    assert_int_equal(b.sequence, 10);
    set = (store_page_set){.action = STORE_SEQUENCE_INCREMENT};
    assert_ok(store_page_set_properties(f->s, f->c, f->k, S("disk"), NULL, &set, &b));
    assert_int_equal(b.sequence, 11);
    set = (store_page_set){.action = STORE_SEQUENCE_UPDATE, .sequence = INT64_MAX};
    assert_ok(store_page_set_properties(f->s, f->c, f->k, S("disk"), NULL, &set, &b));
    set = (store_page_set){.action = STORE_SEQUENCE_INCREMENT, .resize = true, .length = 0};
    assert_err(store_page_set_properties(f->s, f->c, f->k, S("disk"), NULL, &set, &b),
               ERR_SEQUENCE_NUMBER_INCREMENT_TOO_LARGE);
    assert_int_equal(get(f, S("disk")).len, 1024);
}

/* A large write over as many runs as there can be, and back. */
static void test_many_runs(void **state) {
    fixture *f = *state;
    store_blob b;
    uint64_t n = PAGE_SPLICE_MAX;
    make(f, S("disk"), 2 * n);
    slice whole = content(f->c.arena, 1, STORE_PAGE_WRITE_MAX);
    assert_ok(try_page(f, S("disk"), 0, whole, NULL, &b));
    assert_ok(try_page(f, S("disk"), STORE_PAGE_WRITE_MAX, whole, NULL, &b));
    uint8_t *expected = malloc(2 * STORE_PAGE_WRITE_MAX);
    memcpy(expected, whole.p, whole.len);
    memcpy(expected + whole.len, whole.p, whole.len);
    for (uint64_t i = 0; i < 2 * n; i += 2) {
        arena_reset(f->c.arena);
        slice page = content(f->c.arena, 100 + i, 512);
        assert_ok(try_page(f, S("disk"), i * 512, page, NULL, &b));
        memcpy(expected + i * 512, page.p, 512);
    }
    slice all = slice_of(expected, 2 * STORE_PAGE_WRITE_MAX);
    assert_slice(get(f, S("disk")), all);
    check_sound(f);
    /* More than one change takes. */
    assert_ok(store_page_clear(f->s, f->c, f->k, S("disk"), 512, 2 * STORE_PAGE_WRITE_MAX - 1024,
                               NULL, NULL, &b));
    memset(expected + 512, 0, 2 * STORE_PAGE_WRITE_MAX - 1024);
    assert_slice(get(f, S("disk")), all);
    whole = content(f->c.arena, 1, STORE_PAGE_WRITE_MAX);
    assert_ok(try_page(f, S("disk"), 0, whole, NULL, &b));
    reaper_run(f->s);
    check_sound(f);
    free(expected);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("disk"), NULL, &(store_delete){0}, NULL));
    assert_nothing_left(f);
}

/* ---- against a model ---- */

typedef struct view {
    uint64_t pages[PAGES]; /* seed of each page's content; 0: zeros */
    uint64_t length;       /* pages */
} view;

typedef struct model {
    fixture *f;
    rng random;
    bool exists;
    view now;
    uint64_t next_seed;
    struct {
        bool used;
        view v;
        uint64_t content, generation;
    } frozen[FROZEN];
    struct {
        store_reader *r;
        uint64_t length;
        view v; /* when it was opened */
        bool untouched;
    } reader;
} model;

static slice page_bytes(arena *a, uint64_t seed) {
    return seed ? content(a, seed, 512) : slice_of(arena_alloc(a, 512), 512);
}

static slice view_bytes(arena *a, const view *v) {
    buf b;
    buf_init_arena(&b, a, 1 << 20);
    for (uint64_t i = 0; i < v->length; i++) buf_put(&b, page_bytes(a, v->pages[i]));
    return buf_slice(&b);
}

static bool arm(model *m) {
    bool fails = rng_below(&m->random, 8) == 0;
    if (fails) memory_disk_fail_commits(m->f->disk, 1, ERR_NO_SPACE);
    return fails;
}

static void disarm(model *m) {
    memory_disk_fail_commits(m->f->disk, 0, OK);
}

static void some_range(model *m, uint64_t *at, uint64_t *n) {
    *at = rng_below(&m->random, PAGES);
    *n = 1 + rng_below(&m->random, rng_below(&m->random, 3) ? 8 : PAGES - *at);
    if (*n > PAGES - *at) *n = PAGES - *at;
}

static err expected_of(const model *m, uint64_t end, bool fails) {
    return !m->exists            ? ERR_BLOB_NOT_FOUND
           : end > m->now.length ? ERR_INVALID_PAGE_RANGE
           : fails               ? ERR_NO_SPACE
                                 : OK;
}

static void do_write(model *m) {
    uint64_t at, n;
    store_blob b;
    some_range(m, &at, &n);
    buf data;
    buf_init_arena(&data, m->f->c.arena, 1 << 20);
    for (uint64_t i = 0; i < n; i++)
        buf_put(&data, content(m->f->c.arena, m->next_seed + i + 1, 512));
    bool fails = arm(m);
    err e = try_page(m->f, S("disk"), at * 512, buf_slice(&data), NULL, &b);
    disarm(m);
    assert_err(e, expected_of(m, at + n, fails));
    for (uint64_t i = 0; e == OK && i < n; i++) m->now.pages[at + i] = m->next_seed + i + 1;
    m->next_seed += n;
    m->reader.untouched &= e != OK;
}

static void do_clear(model *m) {
    uint64_t at, n;
    store_blob b;
    some_range(m, &at, &n);
    bool fails = arm(m);
    err e =
        store_page_clear(m->f->s, m->f->c, m->f->k, S("disk"), at * 512, n * 512, NULL, NULL, &b);
    disarm(m);
    assert_err(e, expected_of(m, at + n, fails));
    if (e == OK) memset(&m->now.pages[at], 0, n * sizeof *m->now.pages);
    m->reader.untouched &= e != OK;
}

static void do_resize(model *m) {
    store_blob b;
    store_page_set set = {.resize = true, .length = rng_below(&m->random, PAGES + 1) * 512};
    bool fails = arm(m);
    err e = store_page_set_properties(m->f->s, m->f->c, m->f->k, S("disk"), NULL, &set, &b);
    disarm(m);
    assert_err(e, expected_of(m, 0, fails));
    if (e != OK) return;
    m->now.length = set.length / 512;
    for (uint64_t i = m->now.length; i < PAGES; i++) m->now.pages[i] = 0;
    m->reader.untouched = false;
}

static void do_create(model *m) {
    make(m->f, S("disk"), PAGES);
    m->exists = true;
    m->now = (view){.length = PAGES};
}

static void do_delete(model *m) {
    bool fails = arm(m);
    err e = store_blob_delete(m->f->s, m->f->c, m->f->k, S("disk"), NULL, &(store_delete){0}, NULL);
    disarm(m);
    assert_err(e, expected_of(m, 0, fails));
    if (e == OK) m->exists = false;
}

/* What a snapshot does to the map, and what its end does. */
static void do_freeze(model *m) {
    size_t i = rng_below(&m->random, FROZEN);
    change ch;
    row_blob was, live;
    bool exists;
    assert_ok(change_begin(&ch, m->f->s, m->f->c, m->f->k, S("disk")));
    if (m->frozen[i].used) {
        was = (row_blob){.where = ROW_PAGES, .generation = m->frozen[i].generation};
        was.pub.content_id = m->frozen[i].content;
        change_drop_content(&ch, &was);
        m->frozen[i].used = false;
    } else {
        assert_ok(change_blob(&ch, &was, &exists));
        if (!exists) {
            change_done(&ch);
            return;
        }
        live = was;
        change_freeze(&ch, &was);
        change_put_blob(&ch, &live);
        m->frozen[i].used = true;
        m->frozen[i].v = m->now;
        m->frozen[i].content = was.pub.content_id;
        m->frozen[i].generation = was.generation;
    }
    assert_ok(change_commit(&ch));
}

static slice read_frozen(model *m, size_t i) {
    const view *v = &m->frozen[i].v;
    uint8_t *out = arena_alloc(m->f->c.arena, PAGES * 512);
    blob_key key;
    page_iter it;
    page_run r;
    bool more;
    key_blob(&key, m->f->k->id, S("disk"));
    assert_ok(page_iter_open(&it, m->f->s->engine, &key, m->frozen[i].content,
                             m->frozen[i].generation, 0));
    for (;;) {
        assert_ok(page_iter_next(&it, &r, &more));
        if (!more) break;
        row_page_piece p;
        slice sealed;
        buf plain;
        buf_init_arena(&plain, m->f->c.arena, 1 << 20);
        assert_ok(page_piece_get(m->f->s->engine, m->f->c.arena, &key, m->frozen[i].content,
                                 r.piece, &p));
        if (p.piece.where == ROW_STREAM) {
            size_t n = (size_t)crypto_sealed_len(p.piece.len);
            uint8_t *bytes = arena_alloc(m->f->c.arena, n);
            assert_ok(engine_stream_read(m->f->s->engine, p.piece.ref, 0, bytes, n, false));
            sealed = slice_of(bytes, n);
        } else {
            assert_ok(engine_get(m->f->s->engine, ENGINE_CONTENT, key_content(&key, r.piece),
                                 m->f->c.arena, false, &sealed));
        }
        assert_ok(piece_open_small(&container_of(m->f->k)->secret->key, m->f->k->id, &p.piece,
                                   sealed, &plain));
        memcpy(out + r.start, plain.p + r.skip, r.end - r.start);
    }
    page_iter_done(&it);
    return slice_of(out, v->length * 512);
}

static void do_reader(model *m) {
    store_blob b;
    if (m->reader.r) {
        slice data = read_all(m->f, m->reader.r, m->reader.length, 1 + rng_below(&m->random, 3000));
        /* Pages are those of the state that was opened, or later ones; never a mixture. */
        if (m->reader.untouched) assert_slice(data, view_bytes(m->f->c.arena, &m->reader.v));
        m->reader.r = store_reader_free(m->reader.r);
        return;
    }
    if (!m->exists) return;
    assert_ok(store_blob_open(m->f->s, m->f->c, m->f->k, S("disk"), STORE_CURRENT, NULL, &b,
                              &m->reader.r));
    assert_ok(store_reader_prepare(m->reader.r, m->f->c, 0));
    m->reader.length = b.length;
    m->reader.v = m->now;
    m->reader.untouched = true; /* its window holds all there is */
}

typedef struct found {
    const model *m;
    uint64_t at;
} found;

static err see_range(void *ctx, store_page_range r) {
    found *w = ctx;
    for (; w->at < r.start / 512; w->at++) assert_true(w->m->now.pages[w->at] == 0);
    for (; w->at < r.end / 512; w->at++) assert_true(w->m->now.pages[w->at] != 0);
    return OK;
}

static void check_ranges(model *m) {
    store_page_query q = {.length = UINT64_MAX, .max = 1 + rng_below(&m->random, 6), .whole = true};
    found w = {.m = m};
    store_blob b;
    do {
        uint64_t next;
        assert_ok(store_page_ranges(m->f->s, m->f->c, m->f->k, S("disk"), NULL, &q, &b, see_range,
                                    &w, &next));
        q.offset = next;
    } while (q.offset);
    for (; w.at < m->now.length; w.at++) assert_true(m->now.pages[w.at] == 0);
}

static bool any_frozen(const model *m) {
    for (size_t i = 0; i < FROZEN; i++)
        if (m->frozen[i].used) return true;
    return false;
}

static void check_model(model *m) {
    store_blob b;
    err e = store_blob_get(m->f->s, m->f->c, m->f->k, S("disk"), STORE_CURRENT, NULL, &b);
    assert_err(e, m->exists ? OK : ERR_BLOB_NOT_FOUND);
    if (!m->exists) return;
    assert_int_equal(b.length, m->now.length * 512);
    assert_slice(get_sized(m->f, S("disk"), 1 + rng_below(&m->random, 60000)),
                 view_bytes(m->f->c.arena, &m->now));
    for (size_t i = 0; i < FROZEN; i++)
        if (m->frozen[i].used)
            assert_slice(read_frozen(m, i), view_bytes(m->f->c.arena, &m->frozen[i].v));
}

static void step(model *m) {
    switch (rng_below(&m->random, 24)) {
    case 0 ... 8:
        do_write(m);
        break;
    case 9 ... 12:
        do_clear(m);
        break;
    case 13:
        if (rng_below(&m->random, 3) == 0) do_resize(m);
        break;
    case 14 ... 15:
        do_freeze(m);
        break;
    case 16 ... 17:
        do_reader(m);
        break;
    case 18:
        reaper_run(m->f->s);
        break;
    case 19:
        if (!m->exists || rng_below(&m->random, 5) == 0) do_create(m);
        break;
    case 20:
        if (rng_below(&m->random, 5) == 0) do_delete(m);
        break;
    case 21:
        if (m->exists) check_ranges(m);
        break;
    case 22:
        if (rng_below(&m->random, 6) == 0 && !m->reader.r) fixture_restart(m->f);
        break;
    default:
        if (!any_frozen(m)) check_sound(m->f);
    }
    check_model(m);
}

static void finish(model *m) {
    m->reader.r = store_reader_free(m->reader.r);
    for (size_t i = 0; i < FROZEN; i++) {
        if (!m->frozen[i].used) continue;
        change ch;
        row_blob was = {.where = ROW_PAGES, .generation = m->frozen[i].generation};
        was.pub.content_id = m->frozen[i].content;
        assert_ok(change_begin(&ch, m->f->s, m->f->c, m->f->k, S("disk")));
        change_drop_content(&ch, &was);
        assert_ok(change_commit(&ch));
        m->frozen[i].used = false;
        if (rng_below(&m->random, 2)) reaper_run(m->f->s);
    }
    reaper_run(m->f->s);
    check_model(m);
    check_sound(m->f);
    if (m->exists)
        assert_ok(store_blob_delete(m->f->s, m->f->c, m->f->k, S("disk"), NULL, &(store_delete){0},
                                    NULL));
    assert_nothing_left(m->f);
}

static void test_model(void **state) {
    const char *one = getenv("MODEL_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : 40;
    for (uint64_t seed = first; seed <= last; seed++) {
        model m = {.f = *state, .random = {seed}};
        print_message("seed %llu\n", (unsigned long long)seed);
        for (int i = 0; i < 250; i++) {
            arena_free(m.f->c.arena);
            m.f->c.arena = arena_new(64 << 10, 0);
            step(&m);
        }
        finish(&m);
    }
}

/* A deleted container's pages go, with their streams, whatever runs name them. */
static void test_purge(void **state) {
    fixture *f = *state;
    store_blob b;
    make(f, S("disk"), 1000);
    assert_ok(try_page(f, S("disk"), 0, content(f->c.arena, 1, 500 * 512), NULL, &b));
    assert_ok(try_page(f, S("disk"), 100 * 512, content(f->c.arena, 2, 100 * 512), NULL, &b));
    assert_ok(try_page(f, S("disk"), 900 * 512, content(f->c.arena, 2, 512), NULL, &b));
    assert_ok(try_page(f, S("disk"), 900 * 512, content(f->c.arena, 3, 512), NULL, &b));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    f->k = store_container_unref(f->k);
    assert_nothing_left(f);
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_zeros_and_pages), TEST(test_sparse), TEST(test_sequence_numbers),
        TEST(test_many_runs),       TEST(test_model),  TEST(test_purge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
