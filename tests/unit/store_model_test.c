/* Random operations against a model that is a few arrays: after each, the store says what the model says.
 * Commits fail now and then, the store is restarted, the reaper runs or does not, readers stay open across
 * changes, the check finds nothing. A failure prints its seed. */
#include "store_test.h"

#include "memory_engine.c"

#define NAMES      4
#define IDS        5
#define BLOCKS_MAX 8
#define READERS    3

typedef struct model_block {
    int id; /* -1: none */
    uint64_t seed;
    size_t len;
} model_block;

typedef struct model_blob {
    bool exists;
    uint64_t etag;
    bool listed;                    /* a block list */
    model_block blocks[BLOCKS_MAX]; /* put whole: one, with id -1 */
    size_t count;
    char meta[20];
    model_block staged[IDS];
} model_blob;

typedef struct model_reader {
    store_reader *r;
    slice expected;
    arena *mem;
} model_reader;

typedef struct model {
    fixture *f;
    rng random;
    model_blob blobs[NAMES];
    model_reader readers[READERS];
    uint64_t next_seed;
} model;

static const char *names[NAMES] = {"a", "a/b", "a\x01z", "z"};

static slice name_of(size_t i) {
    return slice_str(names[i]);
}

static slice id_of(model *m, int id) {
    return arena_fmt(m->f->c.arena, "id%d", id);
}

static size_t some_len(model *m) {
    static const size_t sizes[] = {0, 1, 300, 16384, 32768, 32769, 70000};
    return sizes[rng_below(&m->random, ARRAY_LEN(sizes))];
}

static slice whole(model *m, arena *a, const model_blob *b) {
    buf out;
    (void)m;
    buf_init_arena(&out, a, 1 << 30);
    for (size_t i = 0; i < b->count; i++)
        buf_put(&out, content(a, b->blocks[i].seed, b->blocks[i].len));
    return buf_slice(&out);
}

/* Now and then the next commit fails; true when it will. */
static bool arm(model *m) {
    bool fails = rng_below(&m->random, 8) == 0;
    if (fails) memory_disk_fail_commits(m->f->disk, 1, ERR_NO_SPACE);
    return fails;
}

static void disarm(model *m) {
    memory_disk_fail_commits(m->f->disk, 0, OK);
}

static void do_put(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    uint64_t seed = ++m->next_seed;
    size_t len = some_len(m);
    store_blob ret;
    bool fails = arm(m);
    err e = try_put(m->f, name_of(i), content(m->f->c.arena, seed, len), NULL, &ret);
    disarm(m);
    assert_err(e, fails ? ERR_NO_SPACE : OK);
    if (fails) return;
    assert_true(ret.etag > b->etag || !b->exists);
    *b = (model_blob){.exists = true, .etag = ret.etag, .count = 1};
    b->blocks[0] = (model_block){-1, seed, len};
    for (int j = 0; j < IDS; j++) b->staged[j].id = -1;
}

static void do_delete(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    bool fails = arm(m);
    err e = store_blob_delete(m->f->s, m->f->c, m->f->k, name_of(i), NULL);
    disarm(m);
    assert_err(e, !b->exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    *b = (model_blob){0};
    for (int j = 0; j < IDS; j++) b->staged[j].id = -1;
}

static void do_block(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    int id = (int)rng_below(&m->random, IDS);
    uint64_t seed = ++m->next_seed;
    size_t len = some_len(m);
    bool fails = arm(m);
    err e = try_block(m->f, name_of(i), id_of(m, id), content(m->f->c.arena, seed, len));
    disarm(m);
    assert_err(e, fails ? ERR_NO_SPACE : OK);
    if (e == OK) b->staged[id] = (model_block){id, seed, len};
}

static const model_block *find_committed(const model_blob *b, int id) {
    for (size_t i = 0; b->listed && i < b->count; i++)
        if (b->blocks[i].id == id) return &b->blocks[i];
    return NULL;
}

static const model_block *resolve(const model_blob *b, int id, store_block_source source) {
    if (source != STORE_BLOCK_COMMITTED && b->staged[id].id == id) return &b->staged[id];
    return source != STORE_BLOCK_UNCOMMITTED ? find_committed(b, id) : NULL;
}

static void do_commit(model *m, size_t i) {
    model_blob *b = &m->blobs[i], next = {.exists = true, .listed = true};
    store_block_pick picks[BLOCKS_MAX];
    bool there = true;
    next.count = rng_below(&m->random, BLOCKS_MAX);
    for (size_t j = 0; j < next.count; j++) {
        int id = (int)rng_below(&m->random, IDS);
        store_block_source source = (store_block_source)rng_below(&m->random, 3);
        const model_block *found = resolve(b, id, source);
        for (int k = 0; k < IDS && !found && rng_below(&m->random, 4); k++)
            found = resolve(b, id = k, source = STORE_BLOCK_LATEST);
        picks[j] = (store_block_pick){id_of(m, id), source};
        there = there && found;
        if (found) next.blocks[j] = *found;
    }
    store_blob ret;
    bool fails = arm(m);
    err e = try_commit(m->f, name_of(i), picks, next.count, &ret);
    disarm(m);
    assert_err(e, !there ? ERR_INVALID_BLOCK_LIST : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    next.etag = ret.etag;
    for (int j = 0; j < IDS; j++) next.staged[j].id = -1;
    *b = next;
}

static void do_metadata(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    char text[20];
    snprintf(text, sizeof text, "%llu", (unsigned long long)++m->next_seed);
    pair p = {S("k"), slice_str(text)};
    store_blob ret;
    bool fails = arm(m);
    err e = store_blob_set_metadata(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &p, 1, &ret);
    disarm(m);
    assert_err(e, !b->exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    memcpy(b->meta, text, sizeof text);
    b->etag = ret.etag;
}

static void check_blob(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    store_blob g;
    err e = store_blob_get(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &g);
    assert_err(e, b->exists ? OK : ERR_BLOB_NOT_FOUND);
    if (!b->exists) return;
    assert_true(g.etag == b->etag);
    assert_int_equal(g.metadata_count, b->meta[0] ? 1 : 0);
    if (b->meta[0]) assert_slice(g.metadata[0].value, slice_str(b->meta));
    assert_slice(get_sized(m->f, name_of(i), 1 + rng_below(&m->random, 100000)),
                 whole(m, m->f->c.arena, b));
}

static void check_blocks(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    store_blob g;
    store_block *c, *u;
    size_t cn, un, staged = 0;
    bool there;
    for (int j = 0; j < IDS; j++) staged += b->staged[j].id >= 0;
    err e = store_block_list_get(m->f->s, m->f->c, m->f->k, name_of(i), NULL, true, true, &g,
                                 &there, &c, &cn, &u, &un);
    assert_err(e, b->exists || staged ? OK : ERR_BLOB_NOT_FOUND);
    if (e != OK) return;
    assert_true(there == b->exists);
    assert_int_equal(cn, b->listed ? b->count : 0);
    for (size_t j = 0; j < cn; j++) {
        assert_slice(c[j].id, id_of(m, b->blocks[j].id));
        assert_int_equal(c[j].length, b->blocks[j].len);
    }
    assert_int_equal(un, staged);
    for (size_t j = 0, at = 0; j < IDS; j++) {
        if (b->staged[j].id < 0) continue;
        assert_slice(u[at].id, id_of(m, (int)j));
        assert_int_equal(u[at++].length, b->staged[j].len);
    }
}

static err collect(void *ctx, const store_blob *b, slice prefix) {
    (void)prefix;
    buf_put(ctx, b->name);
    buf_byte(ctx, b->uncommitted ? '?' : ' ');
    return OK;
}

static void check_listing(model *m) {
    buf expected, found;
    buf_init_arena(&expected, m->f->c.arena, 1000);
    buf_init_arena(&found, m->f->c.arena, 1000);
    static const size_t order[NAMES] = {0, 2, 1, 3}; /* 01 sorts before / */
    for (size_t i = 0; i < NAMES; i++) {
        const model_blob *b = &m->blobs[order[i]];
        bool staged = false;
        for (int j = 0; j < IDS; j++) staged |= b->staged[j].id >= 0;
        if (!b->exists && !staged) continue;
        buf_put(&expected, name_of(order[i]));
        buf_byte(&expected, b->exists ? ' ' : '?');
    }
    store_blob_list q = {.max = 1 + rng_below(&m->random, 4), .uncommitted = true};
    do assert_ok(store_blob_scan(m->f->s, m->f->c, m->f->k, &q, collect, &found, &q.marker));
    while (q.marker.len);
    assert_slice(buf_slice(&found), buf_slice(&expected));
}

/* Opens a reader and leaves it open, or reads one that was left open to its end. */
static void do_reader(model *m, size_t i) {
    model_reader *r = &m->readers[rng_below(&m->random, READERS)];
    if (r->r) {
        slice data = read_all(m->f, r->r, r->expected.len, 50000);
        assert_slice(data, r->expected);
        r->r = store_reader_free(r->r);
        r->mem = arena_free(r->mem);
        return;
    }
    store_blob b;
    if (!m->blobs[i].exists) return;
    assert_ok(store_blob_open(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &b, &r->r));
    r->mem = arena_new(4096, 0);
    r->expected = whole(m, r->mem, &m->blobs[i]);
}

static void close_readers(model *m) {
    for (size_t i = 0; i < READERS; i++) {
        if (!m->readers[i].r) continue;
        assert_slice(read_all(m->f, m->readers[i].r, m->readers[i].expected.len, 60000),
                     m->readers[i].expected);
        m->readers[i].r = store_reader_free(m->readers[i].r);
        m->readers[i].mem = arena_free(m->readers[i].mem);
    }
}

static void report(void *ctx, const char *what, const char *where) {
    (void)ctx;
    print_error("%s: %s\n", where, what);
}

static void check_sound(model *m) {
    store_check_progress p;
    assert_ok(store_check(m->f->s, report, NULL, NULL, &p));
    assert_int_equal(p.defects, 0);
}

static void clear(model *m) {
    memset(m->blobs, 0, sizeof m->blobs);
    for (size_t i = 0; i < NAMES; i++)
        for (int j = 0; j < IDS; j++) m->blobs[i].staged[j].id = -1;
}

static void do_container(model *m) {
    close_readers(m);
    assert_ok(store_container_delete(m->f->s, m->f->c, m->f->a, S("box"), NULL));
    store_container_unref(m->f->k);
    assert_ok(store_container_create(m->f->s, m->f->c, m->f->a, S("box"), STORE_PRIVATE, NULL, 0,
                                     &m->f->k));
    clear(m);
}

static void do_restart(model *m) {
    close_readers(m);
    fixture_restart(m->f);
}

static void step(model *m) {
    size_t i = rng_below(&m->random, NAMES);
    switch (rng_below(&m->random, 24)) {
    case 0 ... 2:
        do_put(m, i);
        break;
    case 3:
        do_delete(m, i);
        break;
    case 4 ... 9:
        do_block(m, i);
        break;
    case 10 ... 13:
        do_commit(m, i);
        break;
    case 14:
        do_metadata(m, i);
        break;
    case 15 ... 17:
        do_reader(m, i);
        break;
    case 18:
        reaper_run(m->f->s);
        break;
    case 19:
        check_listing(m);
        break;
    case 20:
        check_blocks(m, i);
        break;
    case 21:
        if (rng_below(&m->random, 6) == 0) do_restart(m);
        break;
    case 22:
        if (rng_below(&m->random, 10) == 0) do_container(m);
        break;
    default:
        check_sound(m);
    }
    check_blob(m, i);
}

/* What is there at the end is what the model says: nothing was lost, nothing was left behind. */
static void finish(model *m) {
    close_readers(m);
    reaper_run(m->f->s);
    check_sound(m);
    for (size_t i = 0; i < NAMES; i++) {
        check_blob(m, i);
        check_blocks(m, i);
    }
    for (size_t i = 0; i < NAMES; i++) {
        if (m->blobs[i].exists) do_delete(m, i);
        if (m->blobs[i].exists) do_delete(m, i); /* its commit was made to fail */
        do_put(m, i);
        while (!m->blobs[i].exists) do_put(m, i);
        while (m->blobs[i].exists) do_delete(m, i);
    }
    reaper_run(m->f->s);
    assert_int_equal(memory_disk_streams(m->f->disk), 0);
    for (int t = ENGINE_BLOB; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(m->f->disk, (engine_table)t), 0);
}

static void run(fixture *f, uint64_t seed, int steps) {
    model m = {.f = f, .random = {seed}};
    clear(&m);
    for (int i = 0; i < steps; i++) {
        arena_free(f->c.arena);
        f->c.arena = arena_new(64 << 10, 0);
        step(&m);
    }
    finish(&m);
}

static void test_model(void **state) {
    const char *one = getenv("MODEL_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : 25;
    fixture *f = *state;
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(f, seed, 300);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
