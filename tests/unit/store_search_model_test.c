/* Random tags, holds, policies, tiers and searches in two containers against a model that is an array:
 * a search finds what a look at every blob finds, page by page; protected blobs stand; the check finds
 * nothing; commits fail now and then, the store is restarted. A failure prints its seed. */
#include "store_test.h"

#include "memory_engine.c"

#define BOXES 2
#define NAMES 6
#define KEYS  3
#define HOUR  3600000000ll

typedef struct model_blob {
    bool exists, held, locked, archived;
    uint64_t etag;
    int value[KEYS]; /* of each key; -1: no such tag */
} model_blob;

typedef struct model {
    fixture *f;
    rng random;
    const store_container *boxes[BOXES];
    model_blob blobs[BOXES][NAMES];
} model;

static const char *const box_names[BOXES] = {"box", "other"};
static const char *const names[NAMES] = {"a", "a/b", "a\x01z", "b", "z", "zz"};
static const char *const keys[KEYS] = {"k", "k ", "kk"};
static const char *const values[] = {"", " ", "1", "1 ", "10", "2", "a"}; /* in their order */
#define VALUES ((int)ARRAY_LEN(values))

static int pick(model *m, int n) {
    return (int)rng_below(&m->random, (uint64_t)n);
}

static bool arm(model *m) {
    bool fails = pick(m, 8) == 0;
    if (fails) memory_disk_fail_commits(m->f->disk, 1, ERR_NO_SPACE);
    return fails;
}

static void disarm(model *m) {
    memory_disk_fail_commits(m->f->disk, 0, OK);
}

static void open_boxes(model *m) {
    for (int i = 0; i < BOXES; i++) {
        err e =
            store_container_get(m->f->s, m->f->c, m->f->a, slice_str(box_names[i]), &m->boxes[i]);
        if (e == ERR_CONTAINER_NOT_FOUND)
            e = store_container_create(m->f->s, m->f->c, m->f->a, slice_str(box_names[i]),
                                       STORE_PRIVATE, NULL, 0, &m->boxes[i]);
        assert_ok(e);
    }
}

static void close_boxes(model *m) {
    for (int i = 0; i < BOXES; i++) m->boxes[i] = store_container_unref(m->boxes[i]);
}

static size_t some_tags(model *m, int chosen[KEYS], pair tags[KEYS]) {
    size_t n = 0;
    for (int i = 0; i < KEYS; i++) {
        chosen[i] = pick(m, 2) ? pick(m, VALUES) : -1;
        if (chosen[i] >= 0) tags[n++] = (pair){slice_str(keys[i]), slice_str(values[chosen[i]])};
    }
    return n;
}

/* What a change of content or a deletion says. */
static err refusal(const model_blob *b, bool content) {
    if (!b->exists) return OK;
    if (content && b->archived) return ERR_BLOB_ARCHIVED;
    return b->held     ? ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD
           : b->locked ? ERR_BLOB_IMMUTABLE_DUE_TO_POLICY
                       : OK;
}

static void do_put(model *m, int box, int i) {
    model_blob *b = &m->blobs[box][i];
    store_upload *u;
    store_blob ret;
    pair tags[KEYS];
    int chosen[KEYS];
    store_put p = {.tags = tags, .tag_count = some_tags(m, chosen, tags)};
    slice data = content(m->f->c.arena, m->random.state, pick(m, 2) ? 10 : 70000);
    assert_ok(store_upload_new(m->f->s, m->boxes[box], data.len, data.len, 0, &u));
    assert_ok(store_upload_write(u, data));
    assert_ok(store_upload_finish(u));
    err no = refusal(b, true);
    bool fails = arm(m);
    err e = store_blob_put(m->f->s, m->f->c, m->boxes[box], slice_str(names[i]), u, &p, &ret);
    disarm(m);
    assert_err(e, no != OK ? no : fails ? ERR_NO_SPACE : OK);
    if (e != OK) {
        store_upload_free(u);
        return;
    }
    *b = (model_blob){.exists = true, .etag = ret.etag};
    memcpy(b->value, chosen, sizeof chosen);
}

static void do_delete(model *m, int box, int i) {
    model_blob *b = &m->blobs[box][i];
    err no = b->exists ? refusal(b, false) : ERR_BLOB_NOT_FOUND;
    bool fails = arm(m);
    err e =
        store_blob_delete(m->f->s, m->f->c, m->boxes[box], slice_str(names[i]), NULL, NULL, NULL);
    disarm(m);
    assert_err(e, no != OK ? no : fails ? ERR_NO_SPACE : OK);
    if (e == OK) *b = (model_blob){0};
}

static void do_tags(model *m, int box, int i) {
    model_blob *b = &m->blobs[box][i];
    pair tags[KEYS];
    int chosen[KEYS];
    size_t n = some_tags(m, chosen, tags);
    bool fails = arm(m);
    err e = store_blob_set_tags(m->f->s, m->f->c, m->boxes[box], slice_str(names[i]), STORE_CURRENT,
                                NULL, tags, n);
    disarm(m);
    assert_err(e, !b->exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e == OK) memcpy(b->value, chosen, sizeof chosen);
}

static void do_protect(model *m, int box, int i) {
    model_blob *b = &m->blobs[box][i];
    store_blob ret;
    bool on = pick(m, 2), hold = pick(m, 2);
    store_immutability x = {.set_policy = !hold,
                            .mode = on ? STORE_UNLOCKED : STORE_MUTABLE,
                            .until_us = clock_wall_us() + HOUR,
                            .set_hold = hold,
                            .hold = on};
    bool fails = arm(m);
    err e = store_blob_set_immutability(m->f->s, m->f->c, m->boxes[box], slice_str(names[i]),
                                        STORE_CURRENT, NULL, &x, &ret);
    disarm(m);
    assert_err(e, !b->exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e == OK) *(hold ? &b->held : &b->locked) = on;
}

static void do_tier(model *m, int box, int i) {
    model_blob *b = &m->blobs[box][i];
    bool archive = pick(m, 2), later;
    bool fails = arm(m);
    err e = store_blob_set_tier(m->f->s, m->f->c, m->boxes[box], slice_str(names[i]), STORE_CURRENT,
                                NULL, archive ? STORE_TIER_ARCHIVE : STORE_TIER_HOT, false, &later);
    disarm(m);
    assert_err(e, !b->exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e == OK) b->archived = archive;
}

static void do_container(model *m, int box) {
    bool held = false, locked = false;
    for (int i = 0; i < NAMES; i++) {
        held |= m->blobs[box][i].held;
        locked |= m->blobs[box][i].locked;
    }
    err e = store_container_delete(m->f->s, m->f->c, m->f->a, slice_str(box_names[box]), NULL);
    if (held || locked) {
        assert_true((e == ERR_CONTAINER_HAS_LEGAL_HOLD && held) ||
                    (e == ERR_CONTAINER_IMMUTABLE && locked));
        return;
    }
    assert_ok(e);
    memset(m->blobs[box], 0, sizeof m->blobs[box]);
    close_boxes(m);
    open_boxes(m);
}

/* ---- searches ---- */

typedef struct clause {
    int key, op, value;
} clause;
static const char *const ops[] = {"=", "<", "<=", ">", ">="};

static bool holds(const model_blob *b, const clause *c) {
    int v = b->value[c->key];
    if (v < 0) return false;
    return c->op == 0   ? v == c->value
           : c->op == 1 ? v < c->value
           : c->op == 2 ? v <= c->value
           : c->op == 3 ? v > c->value
                        : v >= c->value;
}

/* Clauses of different keys, now and then both ends of a range. */
static size_t some_clauses(model *m, clause out[2 * KEYS], slice *ret_where) {
    buf b;
    buf_init_arena(&b, m->f->c.arena, 1000);
    size_t n = 0;
    for (int i = 0; i < KEYS; i++) {
        if (pick(m, 3) && (n > 0 || i < KEYS - 1)) continue;
        bool range = pick(m, 3) == 0;
        out[n++] = (clause){i, range ? 1 + pick(m, 2) : pick(m, 5), pick(m, VALUES)};
        if (range) out[n++] = (clause){i, 3 + pick(m, 2), pick(m, VALUES)};
    }
    for (size_t i = 0; i < n; i++)
        buf_fmt(&b, "%s\"%s\" %s '%s'", i ? " AND " : "", keys[out[i].key], ops[out[i].op],
                values[out[i].value]);
    *ret_where = buf_slice(&b);
    return n;
}

typedef struct seen {
    model *m;
    bool found[BOXES][NAMES];
} seen;

static err note(void *ctx, const store_found *f) {
    seen *s = ctx;
    for (int box = 0; box < BOXES; box++)
        for (int i = 0; i < NAMES; i++)
            if (slice_eq(f->container, slice_str(box_names[box])) &&
                slice_eq(f->name, slice_str(names[i]))) {
                assert_false(s->found[box][i]);
                s->found[box][i] = true;
                return OK;
            }
    fail_msg("found a blob that never was");
    return OK;
}

static void check_search(model *m) {
    clause clauses[2 * KEYS];
    slice where;
    size_t n = some_clauses(m, clauses, &where);
    int box = pick(m, BOXES + 1); /* BOXES: the account */
    seen s = {.m = m};
    store_find q = {.max = 1 + (size_t)pick(m, 4)};
    assert_ok(store_tag_where(m->f->c.arena, where, &q.query));
    do
        assert_ok(store_blob_find(m->f->s, m->f->c, m->f->a, box < BOXES ? m->boxes[box] : NULL, &q,
                                  note, &s, &q.marker, NULL));
    while (q.marker.len);
    for (int k = 0; k < BOXES; k++)
        for (int i = 0; i < NAMES; i++) {
            bool expected = m->blobs[k][i].exists && (box == BOXES || box == k);
            for (size_t j = 0; j < n; j++)
                expected = expected && holds(&m->blobs[k][i], &clauses[j]);
            if (expected != s.found[k][i])
                fail_msg("%.*s: %s/%s was %sfound", SLICE_ARG(where), box_names[k], names[i],
                         s.found[k][i] ? "" : "not ");
        }
}

static void check_blob(model *m, int box, int i) {
    model_blob *b = &m->blobs[box][i];
    store_blob g;
    err e = store_blob_get(m->f->s, m->f->c, m->boxes[box], slice_str(names[i]), STORE_CURRENT,
                           NULL, &g);
    assert_err(e, b->exists ? OK : ERR_BLOB_NOT_FOUND);
    if (!b->exists) return;
    assert_true(g.etag == b->etag && g.legal_hold == b->held);
    assert_true((g.immutable_mode != STORE_MUTABLE) == b->locked);
    assert_true((g.tier == STORE_TIER_ARCHIVE) == b->archived);
    for (size_t k = 0, at = 0; k < KEYS; k++) {
        size_t order[KEYS] = {0, 1, 2}; /* "k", "k ", "kk" sort so */
        int v = b->value[order[k]];
        if (v < 0) continue;
        assert_true(at < g.tag_count);
        assert_slice(g.tags[at++].value, slice_str(values[v]));
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

static void step(model *m) {
    int box = pick(m, BOXES), i = pick(m, NAMES), what = pick(m, 40);
    if (what < 10)
        do_put(m, box, i);
    else if (what < 13)
        do_delete(m, box, i);
    else if (what < 20)
        do_tags(m, box, i);
    else if (what < 24)
        do_protect(m, box, i);
    else if (what < 26)
        do_tier(m, box, i);
    else if (what < 36)
        check_search(m);
    else if (what == 36)
        do_container(m, box);
    else if (what == 37)
        reaper_run(m->f->s);
    else if (what == 38)
        check_sound(m);
    else if (pick(m, 5) == 0) {
        close_boxes(m);
        fixture_restart(m->f);
        open_boxes(m);
    }
    check_blob(m, box, i);
}

static void run(fixture *f, uint64_t seed, int steps) {
    model m = {.f = f, .random = {seed}};
    open_boxes(&m);
    for (int i = 0; i < steps; i++) {
        arena_free(f->c.arena);
        f->c.arena = arena_new(64 << 10, 0);
        step(&m);
    }
    /* Nothing is left behind. */
    for (int box = 0; box < BOXES; box++)
        for (int i = 0; i < NAMES; i++) {
            store_immutability off = {.set_policy = true, .set_hold = true};
            store_blob ret;
            if (!m.blobs[box][i].exists) continue;
            assert_ok(store_blob_set_immutability(f->s, f->c, m.boxes[box], slice_str(names[i]),
                                                  STORE_CURRENT, NULL, &off, &ret));
            assert_ok(
                store_blob_delete(f->s, f->c, m.boxes[box], slice_str(names[i]), NULL, NULL, NULL));
        }
    close_boxes(&m);
    reaper_run(f->s);
    check_sound(&m);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_INDEX), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 0);
}

static void test_model(void **state) {
    const char *one = getenv("MODEL_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : 15;
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(*state, seed, 600);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
