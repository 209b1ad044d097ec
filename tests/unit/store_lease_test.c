/* Leases: the tables of "Lease Blob" and "Lease Container", cell by cell; and what a lease does to a
 * blob or container beside them. Time is set, not waited for. */
#include "store_test.h"

#include "memory_engine.c"

#define SEC 1000000ll

enum { AVAILABLE, LEASED, BREAKING, BROKEN, EXPIRED, STATES };
static const char *const state_names[] = {"available", "leased", "breaking", "broken", "expired"};
static const store_lease_state state_of_column[] = {STORE_LEASE_AVAILABLE, STORE_LEASE_LEASED,
                                                    STORE_LEASE_BREAKING, STORE_LEASE_BROKEN,
                                                    STORE_LEASE_EXPIRED};

#define A S("aaaaaaaaaaaaaaaa")
#define B S("bbbbbbbbbbbbbbbb")
#define C S("cccccccccccccccc")

/* What has a lease: a blob of the fixture's container, or a container. */
typedef struct thing {
    fixture *f;
    bool container;
    slice name;
} thing;

static err lease_if(const thing *t, store_lease_ask ask, const store_conditions *cond,
                    store_lease_answer *ret) {
    fixture *f = t->f;
    return t->container ? store_container_lease(f->s, f->c, f->a, t->name, cond, &ask, ret)
                        : store_blob_lease(f->s, f->c, f->k, t->name, cond, &ask, ret);
}

static err lease(const thing *t, store_lease_ask ask) {
    store_lease_answer a;
    return lease_if(t, ask, NULL, &a);
}

static store_lease lease_of(const thing *t) {
    fixture *f = t->f;
    store_blob b;
    const store_container *k;
    if (!t->container) {
        assert_ok(store_blob_get(f->s, f->c, f->k, t->name, STORE_CURRENT, NULL, &b));
        return b.lease;
    }
    assert_ok(store_container_get(f->s, f->c, f->a, t->name, &k));
    store_lease l = k->lease;
    l.id = arena_dup(f->c.arena, l.id);
    store_container_unref(k);
    return l;
}

static store_lease_state state_now(const thing *t) {
    store_lease l = lease_of(t);
    return store_lease_state_of(&l, clock_wall_us());
}

static store_lease_ask acquire(slice id, uint32_t seconds) {
    return (store_lease_ask){.action = STORE_LEASE_ACQUIRE, .proposed = id, .duration_s = seconds};
}
static store_lease_ask renew(slice id) {
    return (store_lease_ask){.action = STORE_LEASE_RENEW, .id = id};
}
static store_lease_ask change_to(slice id, slice proposed) {
    return (store_lease_ask){.action = STORE_LEASE_CHANGE, .id = id, .proposed = proposed};
}
static store_lease_ask release(slice id) {
    return (store_lease_ask){.action = STORE_LEASE_RELEASE, .id = id};
}
static store_lease_ask break_in(int seconds) {
    return (store_lease_ask){.action = STORE_LEASE_BREAK,
                             .has_break = seconds >= 0,
                             .break_s = seconds > 0 ? (uint32_t)seconds : 0};
}

/* A new thing whose lease (A) is in that state. */
static thing make(fixture *f, bool container, int column) {
    static int count;
    char name[32];
    snprintf(name, sizeof name, "thing%d", count++);
    thing t = {f, container, arena_dup(f->c.arena, slice_str(name))};
    if (container)
        assert_ok(store_container_create(f->s, f->c, f->a, t.name, STORE_PRIVATE, NULL, 0, NULL));
    else
        put(f, t.name, S("content"));
    clock_skew_us(0);
    if (column == AVAILABLE) return t;
    assert_ok(lease(&t, acquire(A, column == EXPIRED ? 15 : column == BROKEN ? 0 : 60)));
    if (column == BREAKING) assert_ok(lease(&t, break_in(30)));
    if (column == BROKEN) assert_ok(lease(&t, break_in(0)));
    if (column == EXPIRED) clock_skew_us(16 * SEC);
    assert_int_equal(state_now(&t), state_of_column[column]);
    return t;
}

/* ---- lease operations -------------------------------------------------------------------------- */

#define PRESENT   ERR_LEASE_ALREADY_PRESENT
#define MISMATCH  ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION
#define NONE_HERE ERR_LEASE_NOT_PRESENT_WITH_LEASE_OPERATION
#define NOT_AGAIN ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_ACQUIRED
#define NO_CHANGE ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_CHANGED
#define NO_RENEW  ERR_LEASE_IS_BROKEN_AND_CANNOT_BE_RENEWED

/* An error, or OK and the state and id afterwards. */
typedef struct cell {
    err e;
    int column;
    char id;
} cell;
#define TO(column, id)                                                                             \
    { OK, (column), (id) }
#define E(code)                                                                                    \
    { (code), 0, 0 }

static void test_operations(void **state) {
    fixture *f = *state;
    const struct {
        const char *what;
        store_lease_ask ask;
        cell cells[STATES]; /* available, leased, breaking, broken, expired */
    } rows[] = {
        {"acquire",
         acquire(SLICE_NONE, 60),
         {TO(LEASED, 'X'), E(PRESENT), E(PRESENT), TO(LEASED, 'X'), TO(LEASED, 'X')}},
        {"acquire A",
         acquire(A, 20),
         {TO(LEASED, 'A'), TO(LEASED, 'A'), E(NOT_AGAIN), TO(LEASED, 'A'), TO(LEASED, 'A')}},
        {"acquire B",
         acquire(B, 0),
         {TO(LEASED, 'B'), E(PRESENT), E(PRESENT), TO(LEASED, 'B'), TO(LEASED, 'B')}},
        {"break 0",
         break_in(0),
         {E(NONE_HERE), TO(BROKEN, 'A'), TO(BROKEN, 'A'), TO(BROKEN, 'A'), TO(BROKEN, 'A')}},
        {"break 10",
         break_in(10),
         {E(NONE_HERE), TO(BREAKING, 'A'), TO(BREAKING, 'A'), TO(BROKEN, 'A'), TO(BROKEN, 'A')}},
        {"break",
         break_in(-1),
         {E(NONE_HERE), TO(BREAKING, 'A'), TO(BREAKING, 'A'), TO(BROKEN, 'A'), TO(BROKEN, 'A')}},
        {"change A to B",
         change_to(A, B),
         {E(NONE_HERE), TO(LEASED, 'B'), E(NO_CHANGE), E(NONE_HERE), E(NONE_HERE)}},
        {"change B to A",
         change_to(B, A),
         {E(NONE_HERE), TO(LEASED, 'A'), E(MISMATCH), E(NONE_HERE), E(NONE_HERE)}},
        {"change B to C",
         change_to(B, C),
         {E(NONE_HERE), E(MISMATCH), E(MISMATCH), E(NONE_HERE), E(NONE_HERE)}},
        {"renew A",
         renew(A),
         {E(MISMATCH), TO(LEASED, 'A'), E(NO_RENEW), E(NO_RENEW), TO(LEASED, 'A')}},
        {"renew B", renew(B), {E(MISMATCH), E(MISMATCH), E(MISMATCH), E(MISMATCH), E(MISMATCH)}},
        {"release A",
         release(A),
         {E(MISMATCH), TO(AVAILABLE, 0), TO(AVAILABLE, 0), TO(AVAILABLE, 0), TO(AVAILABLE, 0)}},
        {"release B",
         release(B),
         {E(MISMATCH), E(MISMATCH), E(MISMATCH), E(MISMATCH), E(MISMATCH)}},
    };
    for (int container = 0; container < 2; container++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            for (int column = 0; column < STATES; column++) {
                thing t = make(f, container, column);
                store_lease before = lease_of(&t);
                const cell *c = &rows[i].cells[column];
                err e = lease(&t, rows[i].ask);
                store_lease after = lease_of(&t);
                store_lease_state found = state_now(&t);
                store_lease_state wanted = state_of_column[e == OK ? c->column : column];
                bool same = slice_eq(before.id, after.id) && before.until_us == after.until_us;
                if (e != c->e || found != wanted || (e != OK && !same))
                    print_error("%s when %s: %s, then %s\n", rows[i].what, state_names[column],
                                err_get(e)->name, state_names[found]);
                assert_err(e, c->e);
                assert_int_equal(found, wanted);
                if (e != OK) assert_true(same);
                if (e != OK || c->id == 0) continue;
                assert_int_equal(after.id.len, UUID_LEN);
                if (c->id != 'X') assert_int_equal(after.id.p[0] & 0xDF, c->id);
            }
    clock_skew_us(0);
}

/* ---- use attempts ------------------------------------------------------------------------------ */

static err read_with(const thing *t, const store_conditions *cond) {
    fixture *f = t->f;
    store_blob b;
    const store_container *k;
    if (!t->container) return store_blob_get(f->s, f->c, f->k, t->name, STORE_CURRENT, cond, &b);
    assert_ok(store_container_get(f->s, f->c, f->a, t->name, &k));
    err e = store_container_check(k, cond);
    store_container_unref(k);
    return e;
}

static err set_with(const thing *t, const store_conditions *cond) {
    fixture *f = t->f;
    store_blob b;
    pair m = {S("k"), S("v")};
    return t->container ? store_container_set_metadata(f->s, f->c, f->a, t->name, cond, &m, 1, NULL)
                        : store_blob_set_metadata(f->s, f->c, f->k, t->name, cond, &m, 1, &b);
}

static err put_with(const thing *t, const store_conditions *cond) {
    store_blob b;
    return t->container ? set_with(t, cond) : try_put(t->f, t->name, S("more"), cond, &b);
}

static err block_with(const thing *t, const store_conditions *cond) {
    fixture *f = t->f;
    if (t->container) return set_with(t, cond);
    store_upload *u = upload(f, S("x"), 1);
    err e = store_block_put(f->s, f->c, f->k, t->name, S("1"), u, cond->lease_id);
    if (e != OK) store_upload_free(u);
    return e;
}

static err delete_with(const thing *t, const store_conditions *cond) {
    fixture *f = t->f;
    return t->container ? store_container_delete(f->s, f->c, f->a, t->name, cond)
                        : store_blob_delete(f->s, f->c, f->k, t->name, cond, NULL, NULL);
}

static void try_use(fixture *f, bool container, err (*use)(const thing *, const store_conditions *),
                    const slice ids[3], const err expected[3][STATES]) {
    for (int column = 0; column < STATES; column++)
        for (int i = 0; i < 3; i++) {
            thing t = make(f, container, column);
            store_conditions cond = STORE_NO_CONDITIONS;
            cond.lease_id = ids[i];
            err e = use(&t, &cond);
            if (e != expected[i][column])
                print_error("%s, lease id %c, when %s: %s\n", container ? "container" : "blob",
                            ids[i].len ? ids[i].p[0] : '-', state_names[column], err_get(e)->name);
            assert_err(e, expected[i][column]);
        }
    clock_skew_us(0);
}

#define LOST    ERR_LEASE_LOST
#define MISSING ERR_LEASE_ID_MISSING
#define NO_B    ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION
#define NO_C    ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION
#define BAD_B   ERR_LEASE_ID_MISMATCH_WITH_BLOB_OPERATION
#define BAD_C   ERR_LEASE_ID_MISMATCH_WITH_CONTAINER_OPERATION

static void test_use(void **state) {
    fixture *f = *state;
    const slice ids[3] = {A, B, SLICE_NONE};
    static const err blob_write[3][STATES] = {{NO_B, OK, OK, LOST, LOST},
                                              {NO_B, BAD_B, BAD_B, LOST, LOST},
                                              {OK, MISSING, MISSING, OK, OK}};
    static const err blob_read[3][STATES] = {
        {NO_B, OK, OK, LOST, LOST}, {NO_B, BAD_B, BAD_B, LOST, LOST}, {OK, OK, OK, OK, OK}};
    static const err container_delete[3][STATES] = {{NO_C, OK, OK, LOST, LOST},
                                                    {NO_C, BAD_C, BAD_C, LOST, LOST},
                                                    {OK, MISSING, MISSING, OK, OK}};
    static const err container_other[3][STATES] = {
        {NO_C, OK, OK, LOST, LOST}, {NO_C, BAD_C, BAD_C, LOST, LOST}, {OK, OK, OK, OK, OK}};
    try_use(f, false, put_with, ids, blob_write);
    try_use(f, false, block_with, ids, blob_write);
    try_use(f, false, set_with, ids, blob_write);
    try_use(f, false, delete_with, ids, blob_write);
    try_use(f, false, read_with, ids, blob_read);
    try_use(f, true, delete_with, ids, container_delete);
    try_use(f, true, set_with, ids, container_other);
    try_use(f, true, read_with, ids, container_other);
}

/* ---- times ------------------------------------------------------------------------------------- */

static uint32_t seconds_of_break(const thing *t, int period) {
    store_lease_answer a;
    assert_ok(lease_if(t, break_in(period), NULL, &a));
    assert_int_equal(a.id.len, 0);
    return a.break_s;
}

static void test_break_periods(void **state) {
    fixture *f = *state;
    thing t = make(f, false, AVAILABLE);
    assert_ok(lease(&t, acquire(A, 0))); /* infinite: at once, or as long as asked */
    assert_int_equal(seconds_of_break(&t, -1), 0);
    assert_int_equal(state_now(&t), STORE_LEASE_BROKEN);
    assert_ok(lease(&t, acquire(A, 0)));
    assert_int_equal(seconds_of_break(&t, 60), 60);
    assert_int_equal(state_now(&t), STORE_LEASE_BREAKING);
    clock_skew_us(20 * SEC);
    assert_in_range(seconds_of_break(&t, -1), 39, 40); /* what is left */
    assert_in_range(seconds_of_break(&t, 50), 39, 40); /* never longer */
    assert_int_equal(seconds_of_break(&t, 5), 5);      /* but shorter */
    clock_skew_us(26 * SEC);
    assert_int_equal(state_now(&t), STORE_LEASE_BROKEN);
    assert_int_equal(seconds_of_break(&t, 30), 0);
    clock_skew_us(0);
    t = make(f, false, AVAILABLE);
    assert_ok(lease(&t, acquire(A, 40))); /* fixed: its own end is the limit */
    clock_skew_us(10 * SEC);
    assert_in_range(seconds_of_break(&t, 60), 29, 30);
    assert_ok(lease(&t, release(A)));
    assert_ok(lease(&t, acquire(A, 40)));
    assert_in_range(seconds_of_break(&t, -1), 39, 40);
    assert_ok(lease(&t, release(A)));
    assert_ok(lease(&t, acquire(A, 40)));
    clock_skew_us(60 * SEC);
    assert_int_equal(seconds_of_break(&t, 60), 0); /* it had expired */
    assert_int_equal(state_now(&t), STORE_LEASE_BROKEN);
    assert_err(lease(&t, break_in(61)), ERR_INVALID_HEADER_VALUE);
    assert_ok(lease(&t, acquire(A, 15)));
    assert_err(lease(&t, break_in(61)), ERR_INVALID_HEADER_VALUE);
    assert_err(lease(&t, acquire(A, 14)), ERR_INVALID_HEADER_VALUE);
    assert_err(lease(&t, acquire(A, 61)), ERR_INVALID_HEADER_VALUE);
    clock_skew_us(0);
}

static void test_renewal_resets_the_clock(void **state) {
    fixture *f = *state;
    thing t = make(f, false, AVAILABLE);
    assert_ok(lease(&t, acquire(A, 15)));
    clock_skew_us(14 * SEC);
    assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    assert_ok(lease(&t, renew(A)));
    clock_skew_us(28 * SEC);
    assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    clock_skew_us(30 * SEC);
    assert_int_equal(state_now(&t), STORE_LEASE_EXPIRED);
    assert_ok(lease(&t, renew(A)));
    assert_ok(lease(&t, acquire(A, 0))); /* "you can specify a new duration" */
    clock_skew_us(3600 * SEC);
    assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    assert_ok(lease(&t, renew(A)));
    assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    assert_ok(lease(&t, change_to(A, B))); /* keeps its end */
    clock_skew_us(7200 * SEC);
    assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    clock_skew_us(0);
}

/* ---- what a lease leaves alone, and what becomes of it ------------------------------------------- */

static void test_state_of_its_thing_stays(void **state) {
    fixture *f = *state;
    for (int container = 0; container < 2; container++) {
        thing t = make(f, container, AVAILABLE);
        store_lease_answer first, a;
        assert_ok(lease_if(&t, acquire(A, 15), NULL, &first));
        clock_skew_us(5 * SEC);
        assert_ok(lease_if(&t, renew(A), NULL, &a));
        assert_true(a.etag == first.etag && a.modified_us == first.modified_us);
        assert_slice(a.id, A);
        assert_ok(lease_if(&t, change_to(A, B), NULL, &a));
        assert_slice(a.id, B);
        assert_ok(lease_if(&t, break_in(0), NULL, &a));
        assert_ok(lease_if(&t, release(B), NULL, &a));
        assert_true(a.etag == first.etag && a.modified_us == first.modified_us);
        assert_int_equal(a.id.len, 0);
        clock_skew_us(0);
        store_conditions past = STORE_NO_CONDITIONS;
        past.if_unmodified_since_us = first.modified_us - 5 * SEC;
        assert_err(lease_if(&t, acquire(A, 15), &past, &a), ERR_CONDITION_NOT_MET);
        assert_int_equal(state_now(&t), STORE_LEASE_AVAILABLE);
    }
}

static err tag_with(const thing *t, const store_conditions *c) {
    const pair tag = {S("k"), S("v")};
    return store_blob_set_tags(t->f->s, t->f->c, t->f->k, t->name, STORE_CURRENT, c, &tag, 1);
}

static err tier_with(const thing *t, const store_conditions *c) {
    bool later;
    return store_blob_set_tier(t->f->s, t->f->c, t->f->k, t->name, STORE_CURRENT, c,
                               STORE_TIER_COOL, false, &later);
}

static void test_writes_keep_it_or_clear_it(void **state) {
    fixture *f = *state;
    err (*const writes[])(const thing *, const store_conditions *) = {put_with, set_with, tag_with,
                                                                      tier_with};
    store_conditions mine = STORE_NO_CONDITIONS, none = STORE_NO_CONDITIONS;
    mine.lease_id = A;
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        thing t = make(f, false, LEASED);
        assert_ok(writes[i](&t, &mine));
        assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
        t = make(f, false, BREAKING);
        assert_ok(writes[i](&t, &mine));
        assert_int_equal(state_now(&t), STORE_LEASE_BREAKING);
        for (int column = BROKEN; column <= EXPIRED; column++) {
            t = make(f, false, column);
            assert_ok(writes[i](&t, &none));
            assert_int_equal(state_now(&t), STORE_LEASE_AVAILABLE);
            assert_err(lease(&t, renew(A)), MISMATCH);
        }
    }
    /* Reads and staged blocks change no blob, so its lease can still be renewed. */
    thing t = make(f, false, EXPIRED);
    assert_slice(get(f, t.name), S("content"));
    assert_ok(block_with(&t, &none));
    assert_ok(lease(&t, renew(A)));
    clock_skew_us(0);
    /* Nor does a change of a container end its lease. */
    for (int column = BROKEN; column <= EXPIRED; column++) {
        t = make(f, true, column);
        assert_ok(set_with(&t, &none));
        assert_int_equal(state_now(&t), state_of_column[column]);
    }
    clock_skew_us(0);
}

static void test_block_lists(void **state) {
    fixture *f = *state;
    thing t = make(f, false, LEASED);
    store_conditions mine = STORE_NO_CONDITIONS, other = STORE_NO_CONDITIONS;
    store_blob b;
    mine.lease_id = A;
    other.lease_id = B;
    assert_ok(block_with(&t, &mine));
    store_block_pick pick = LATEST("1");
    store_put p = {.cond = &other};
    assert_err(store_block_list_put(f->s, f->c, f->k, t.name, &pick, 1, &p, &b), BAD_B);
    p.cond = NULL; /* no conditions, no id either */
    assert_err(store_block_list_put(f->s, f->c, f->k, t.name, &pick, 1, &p, &b), MISSING);
    p.cond = &mine;
    assert_ok(store_block_list_put(f->s, f->c, f->k, t.name, &pick, 1, &p, &b));
    assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    assert_slice(get(f, t.name), S("x"));
}

/* A blob put anew under the name of one that was deleted has no lease; nor has one without a row. */
static void test_of_one_blob_only(void **state) {
    fixture *f = *state;
    thing t = make(f, false, LEASED), gone = {f, false, S("none")};
    store_conditions mine = STORE_NO_CONDITIONS;
    mine.lease_id = A;
    assert_ok(delete_with(&t, &mine));
    assert_err(lease(&t, renew(A)), ERR_BLOB_NOT_FOUND);
    put(f, t.name, S("new"));
    assert_int_equal(state_now(&t), STORE_LEASE_AVAILABLE);
    assert_err(lease(&gone, acquire(A, 15)), ERR_BLOB_NOT_FOUND);
    assert_ok(try_block(f, S("none"), S("1"), S("x")));
    assert_err(lease(&gone, acquire(A, 15)), ERR_BLOB_NOT_FOUND);
    gone = (thing){f, true, S("no-such-box")};
    assert_err(lease(&gone, acquire(A, 15)), ERR_CONTAINER_NOT_FOUND);
    gone.name = S("NO");
    assert_err(lease(&gone, acquire(A, 15)), ERR_CONTAINER_NOT_FOUND);
}

static void test_survives_a_restart(void **state) {
    fixture *f = *state;
    thing blob = make(f, false, BREAKING), box = make(f, true, LEASED);
    char names[2][32];
    snprintf(names[0], 32, "%.*s", SLICE_ARG(blob.name));
    snprintf(names[1], 32, "%.*s", SLICE_ARG(box.name));
    fixture_restart(f);
    blob.name = slice_str(names[0]);
    box.name = slice_str(names[1]);
    assert_int_equal(state_now(&blob), STORE_LEASE_BREAKING);
    assert_int_equal(state_now(&box), STORE_LEASE_LEASED);
    assert_slice(lease_of(&box).id, A);
    assert_ok(lease(&box, renew(A)));
    clock_skew_us(31 * SEC);
    assert_int_equal(state_now(&blob), STORE_LEASE_BROKEN);
    clock_skew_us(0);
}

static err take_state(void *ctx, const store_blob *b, slice prefix) {
    (void)prefix;
    *(store_lease_state *)ctx = store_lease_state_of(&b->lease, clock_wall_us());
    return OK;
}

/* A listing, and what small blobs are kept in memory as, show the lease of the moment. */
static void test_is_seen_everywhere(void **state) {
    fixture *f = *state;
    thing t = make(f, false, AVAILABLE);
    for (int i = 0; i < 5; i++) get(f, t.name);
    assert_ok(lease(&t, acquire(A, 15)));
    for (int i = 0; i < 5; i++) assert_int_equal(state_now(&t), STORE_LEASE_LEASED);
    store_blob_list q = {.prefix = t.name, .max = 1};
    store_lease_state seen;
    slice next;
    assert_ok(store_blob_scan(f->s, f->c, f->k, &q, take_state, &seen, &next));
    assert_int_equal(seen, STORE_LEASE_LEASED);
    clock_skew_us(15 * SEC);
    assert_ok(store_blob_scan(f->s, f->c, f->k, &q, take_state, &seen, &next));
    assert_int_equal(seen, STORE_LEASE_EXPIRED);
    clock_skew_us(0);
}

static void test_damaged_rows(void **state) {
    fixture *f = *state;
    static const store_lease bad[] = {
        {.id = {(const uint8_t *)"short", 5}, .until_us = STORE_TIME_NONE},
        {.id = {(const uint8_t *)"aaaaaaaaaaaaaaaa", 16}, .duration_s = 61, .until_us = 5},
        {.id = {(const uint8_t *)"aaaaaaaaaaaaaaaa", 16},
         .duration_s = 15,
         .until_us = STORE_TIME_NONE},
        {.id = {(const uint8_t *)"aaaaaaaaaaaaaaaa", 16}, .until_us = 5},
        {.broken = true, .until_us = 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        row_container box = {.id = 1, .lease = bad[i]};
        row_blob blob = {.pub = {.content_id = 1, .lease = bad[i]}};
        assert_err(row_container_get(ROW_ENCODE(container, f->c.arena, &box), &box), ERR_CORRUPT);
        assert_err(row_blob_get(ROW_ENCODE(blob, f->c.arena, &blob), &blob), ERR_CORRUPT);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_operations),
        T(test_use),
        T(test_break_periods),
        T(test_renewal_resets_the_clock),
        T(test_state_of_its_thing_stays),
        T(test_writes_keep_it_or_clear_it),
        T(test_block_lists),
        T(test_of_one_blob_only),
        T(test_survives_a_restart),
        T(test_is_seen_everywhere),
        T(test_damaged_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
