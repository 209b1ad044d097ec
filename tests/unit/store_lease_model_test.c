/* Leases and deleted containers under random operations, against a model of a few numbers: leases of
 * blobs and containers, writes with and without their ids, time that passes, containers that are deleted,
 * restored, renamed; commits fail now and then, the store is restarted. A failure prints its seed. */
#include "store_test.h"

#include "memory_engine.c"

#define SEC    1000000ll
#define DAY    (86400 * SEC)
#define STEPS  60000
#define BLOBS  3
#define NAMES  3
#define KEPT   20
#define NO_END INT64_MAX

/* ---- the model ---- */

typedef struct model_lease {
    char id; /* 0: none; else all its bytes */
    int64_t duration, until;
    bool broken;
} model_lease;

typedef struct model_blob {
    bool exists;
    int value;
    model_lease lease;
} model_blob;

typedef struct model_box {
    bool exists;
    uint64_t id, version; /* version: of a deleted one */
    int name;
    int64_t purge;
    model_lease lease;
    model_blob blobs[BLOBS];
} model_box;

typedef struct model {
    fixture *f;
    rng random;
    int64_t skew; /* time that has been let pass */
    model_box boxes[NAMES];
    model_box kept[KEPT];
    size_t kept_count;
    int next_value;
    int counts[ERR_COUNT_]; /* outcomes */
} model;

static int64_t now_of(void) {
    return clock_wall_us();
}

static bool over(const model_lease *l) {
    return l->until != NO_END && now_of() >= l->until;
}

static bool locked(const model_lease *l) {
    return l->id && !over(l);
}

/* What reading (needed false) or writing with that id says. */
static err use_of(const model_lease *l, char id, bool needed, bool container) {
    if (!id) return locked(l) && needed ? ERR_LEASE_ID_MISSING : OK;
    if (!l->id)
        return container ? ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION
                         : ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION;
    if (!locked(l)) return ERR_LEASE_LOST;
    if (l->id == id) return OK;
    return container ? ERR_LEASE_ID_MISMATCH_WITH_CONTAINER_OPERATION
                     : ERR_LEASE_ID_MISMATCH_WITH_BLOB_OPERATION;
}

static void written(model_lease *l) {
    if (!locked(l)) *l = (model_lease){0};
}

static err model_acquire(model_lease *l, char id, int64_t seconds) {
    if (locked(l) && l->id != id) return ERR_LEASE_ALREADY_PRESENT;
    if (locked(l) && l->broken) return ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_ACQUIRED;
    *l = (model_lease){.id = id, .duration = seconds};
    l->until = seconds ? now_of() + seconds * SEC : NO_END;
    return OK;
}

static err model_renew(model_lease *l, char id) {
    if (l->id != id) return ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION;
    if (l->broken) return ERR_LEASE_IS_BROKEN_AND_CANNOT_BE_RENEWED;
    l->until = l->duration ? now_of() + l->duration * SEC : NO_END;
    return OK;
}

static err model_change(model_lease *l, char id, char proposed) {
    if (!locked(l)) return ERR_LEASE_NOT_PRESENT_WITH_LEASE_OPERATION;
    if (l->broken && l->id == id) return ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_CHANGED;
    if (l->broken || (l->id != id && l->id != proposed))
        return ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION;
    l->id = proposed;
    return OK;
}

static err model_release(model_lease *l, char id) {
    if (l->id != id) return ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION;
    *l = (model_lease){0};
    return OK;
}

static err model_break(model_lease *l, int64_t seconds) {
    if (!l->id) return ERR_LEASE_NOT_PRESENT_WITH_LEASE_OPERATION;
    int64_t end = l->until == NO_END ? now_of() : l->until;
    bool shorter = l->until == NO_END || now_of() + seconds * SEC < l->until;
    if (seconds >= 0 && shorter) end = now_of() + seconds * SEC;
    l->broken = true;
    l->until = end;
    return OK;
}

/* ---- the store beside it ---- */

static const char *const box_names[NAMES] = {"box", "box-two", "other"};
static const char *const blob_names[BLOBS] = {"a", "dir/b", "c"};

static slice id_bytes(model *m, char id) {
    if (!id) return SLICE_NONE;
    uint8_t *p = arena_alloc(m->f->c.arena, UUID_LEN);
    memset(p, id, UUID_LEN);
    return slice_of(p, UUID_LEN);
}

static char some_id(model *m) {
    return (char)('A' + rng_below(&m->random, 3));
}

static store_conditions with_id(model *m, char id) {
    store_conditions c = STORE_NO_CONDITIONS;
    c.lease_id = id_bytes(m, id);
    return c;
}

/* Mostly the right one. */
static char likely_id(model *m, const model_lease *l) {
    return l->id && rng_below(&m->random, 3) ? l->id : some_id(m);
}

/* One in ten commits fails; then nothing has happened. */
static bool arm(model *m) {
    bool fails = rng_below(&m->random, 10) == 0;
    if (fails) memory_disk_fail_commits(m->f->disk, 1, ERR_NO_SPACE);
    return fails;
}

/* The outcome: what the model expects, unless the commit failed. True: it took place. */
static bool outcome(model *m, bool failing, err found, err expected) {
    m->counts[found]++;
    memory_disk_fail_commits(m->f->disk, 0, OK);
    if (failing && found == ERR_NO_SPACE) {
        assert_int_equal(expected, OK);
        return false;
    }
    assert_err(found, expected);
    return expected == OK;
}

static bool enter(model *m, int box) {
    m->f->k = store_container_unref(m->f->k);
    err e = store_container_get(m->f->s, m->f->c, m->f->a, slice_str(box_names[box]), &m->f->k);
    assert_err(e, m->boxes[box].exists ? OK : ERR_CONTAINER_NOT_FOUND);
    if (e == OK) assert_true(m->f->k->id == m->boxes[box].id);
    return e == OK;
}

static void do_lease(model *m, int box, int blob) {
    fixture *f = m->f;
    model_blob none = {0}, *b = blob < 0 ? &none : &m->boxes[box].blobs[blob];
    model_lease *l = blob < 0 ? &m->boxes[box].lease : &b->lease, after = *l;
    char id = likely_id(m, l), proposed = likely_id(m, l);
    int64_t seconds = rng_below(&m->random, 3) ? 15 + (int64_t)rng_below(&m->random, 46) : 0;
    int64_t period = rng_below(&m->random, 4) ? (int64_t)rng_below(&m->random, 61) : -1;
    store_lease_ask ask = {.action = (store_lease_action)rng_below(&m->random, 5),
                           .id = id_bytes(m, id),
                           .proposed = id_bytes(m, proposed),
                           .duration_s = (uint32_t)seconds,
                           .has_break = period >= 0,
                           .break_s = period > 0 ? (uint32_t)period : 0};
    err expected = ask.action == STORE_LEASE_ACQUIRE   ? model_acquire(&after, proposed, seconds)
                   : ask.action == STORE_LEASE_RENEW   ? model_renew(&after, id)
                   : ask.action == STORE_LEASE_CHANGE  ? model_change(&after, id, proposed)
                   : ask.action == STORE_LEASE_RELEASE ? model_release(&after, id)
                                                       : model_break(&after, period);
    if (blob >= 0 && !b->exists) expected = ERR_BLOB_NOT_FOUND;
    store_lease_answer a;
    bool failing = arm(m);
    err e = blob < 0
                ? store_container_lease(f->s, f->c, f->a, slice_str(box_names[box]), NULL, &ask, &a)
                : store_blob_lease(f->s, f->c, f->k, slice_str(blob_names[blob]), NULL, &ask, &a);
    if (outcome(m, failing, e, expected)) *l = after;
}

static void do_write(model *m, int box, int blob) {
    fixture *f = m->f;
    model_blob *b = &m->boxes[box].blobs[blob];
    char id = locked(&b->lease) || !rng_below(&m->random, 3) ? likely_id(m, &b->lease) : 0;
    if (rng_below(&m->random, 4) == 0) id = 0;
    store_conditions cond = with_id(m, id);
    slice name = slice_str(blob_names[blob]);
    store_blob out;
    err expected = use_of(&b->lease, id, true, false), e;
    size_t how = rng_below(&m->random, 8);
    bool failing = arm(m);
    if (how < 3) {
        int value = ++m->next_value;
        e = try_put(f, name, arena_fmt(f->c.arena, "%d", value), &cond, &out);
        if (!outcome(m, failing, e, expected)) return;
        b->exists = true;
        b->value = value;
    } else if (how < 5) {
        pair meta = {S("k"), S("v")};
        e = store_blob_set_metadata(f->s, f->c, f->k, name, &cond, &meta, 1, &out);
        if (!outcome(m, failing, e, b->exists ? expected : ERR_BLOB_NOT_FOUND)) return;
    } else if (how < 7) {
        store_upload *u = upload(f, S("x"), 1);
        e = store_block_put(f->s, f->c, f->k, name, S("1"), u, cond.lease_id);
        if (e != OK) store_upload_free(u);
        (void)outcome(m, failing, e, expected);
        return; /* changes no blob */
    } else {
        e = store_blob_delete(f->s, f->c, f->k, name, &cond, NULL, NULL);
        if (!outcome(m, failing, e, b->exists ? expected : ERR_BLOB_NOT_FOUND)) return;
        *b = (model_blob){0};
        return;
    }
    written(&b->lease);
}

static void do_read(model *m, int box, int blob) {
    fixture *f = m->f;
    const model_blob *b = &m->boxes[box].blobs[blob];
    char id = rng_below(&m->random, 2) ? likely_id(m, &b->lease) : 0;
    store_conditions cond = with_id(m, id);
    store_blob out;
    err expected = b->exists ? use_of(&b->lease, id, false, false) : ERR_BLOB_NOT_FOUND;
    assert_err(
        store_blob_get(f->s, f->c, f->k, slice_str(blob_names[blob]), STORE_CURRENT, &cond, &out),
        expected);
    if (expected != OK) return;
    store_lease_state state = store_lease_state_of(&out.lease, now_of());
    assert_int_equal(store_lease_locked(state), locked(&b->lease));
    assert_int_equal(out.lease.id.len ? out.lease.id.p[0] : 0, b->lease.id);
    assert_int_equal(out.lease.broken, b->lease.broken);
    if (rng_below(&m->random, 3)) return;
    assert_slice(get(f, slice_str(blob_names[blob])), arena_fmt(f->c.arena, "%d", b->value));
}

/* ---- containers ---- */

static void do_create(model *m, int box) {
    fixture *f = m->f;
    bool failing = arm(m);
    err e = store_container_create(f->s, f->c, f->a, slice_str(box_names[box]), STORE_PRIVATE, NULL,
                                   0, NULL);
    if (!outcome(m, failing, e, m->boxes[box].exists ? ERR_CONTAINER_ALREADY_EXISTS : OK)) return;
    const store_container *k;
    assert_ok(store_container_get(f->s, f->c, f->a, slice_str(box_names[box]), &k));
    m->boxes[box] = (model_box){.exists = true, .id = k->id};
    store_container_unref(k);
}

static err take_version(void *ctx, const store_container *k) {
    model_box *box = ctx;
    if (k->deleted && k->id == box->id) box->version = k->version;
    return OK;
}

static void do_delete(model *m, int box) {
    fixture *f = m->f;
    model_box *b = &m->boxes[box];
    char id = rng_below(&m->random, 2) ? likely_id(m, &b->lease) : 0;
    store_conditions cond = with_id(m, id);
    if (m->kept_count == KEPT) return;
    bool failing = arm(m);
    err e = store_container_delete(f->s, f->c, f->a, slice_str(box_names[box]), &cond);
    err expected = b->exists ? use_of(&b->lease, id, true, true) : ERR_CONTAINER_NOT_FOUND;
    int64_t purge = now_of() + 2 * DAY;
    if (!outcome(m, failing, e, expected)) return;
    b->name = box;
    b->purge = purge;
    store_container_list q = {.max = 1000, .deleted = true};
    slice next;
    assert_ok(store_container_scan(f->s, f->c, f->a, &q, take_version, b, &next));
    assert_true(b->version != 0);
    m->kept[m->kept_count++] = *b;
    *b = (model_box){0};
}

static void do_restore(model *m, int box) {
    fixture *f = m->f;
    if (m->kept_count == 0) return;
    size_t which = rng_below(&m->random, m->kept_count);
    model_box *from = &m->kept[which];
    bool failing = arm(m);
    err e = store_container_restore(f->s, f->c, f->a, slice_str(box_names[box]),
                                    slice_str(box_names[from->name]), from->version);
    err expected = m->boxes[box].exists ? ERR_CONTAINER_ALREADY_EXISTS : OK;
    if (!outcome(m, failing, e, expected)) return;
    m->boxes[box] = *from;
    m->boxes[box].version = 0;
    *from = m->kept[--m->kept_count];
}

static void do_rename(model *m, int from, int to) {
    fixture *f = m->f;
    model_box *b = &m->boxes[from];
    char id = rng_below(&m->random, 2) ? likely_id(m, &b->lease) : 0;
    bool failing = arm(m);
    err e = store_container_rename(f->s, f->c, f->a, slice_str(box_names[to]),
                                   slice_str(box_names[from]), id_bytes(m, id));
    err expected = b->exists ? use_of(&b->lease, id, true, true) : ERR_CONTAINER_NOT_FOUND;
    if (expected == OK && m->boxes[to].exists) expected = ERR_CONTAINER_ALREADY_EXISTS;
    if (!outcome(m, failing, e, expected)) return;
    m->boxes[to] = *b;
    *b = (model_box){0};
}

static void do_time(model *m) {
    m->skew += (int64_t)rng_below(&m->random, 20) * SEC;
    if (rng_below(&m->random, 100) == 0) m->skew += DAY;
    clock_skew_us(m->skew);
}

static void count_defects(void *ctx, const char *what, const char *where) {
    print_error("%s: %s\n", where, what);
    ++*(int *)ctx;
}

static void do_housekeeping(model *m) {
    fixture *f = m->f;
    if (rng_below(&m->random, 3) == 0) {
        f->k = store_container_unref(f->k);
        f->a = store_account_unref(f->a);
        f->s = store_close(f->s);
        f->c.arena = arena_free(f->c.arena);
        fixture_open(f);
        assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    }
    int64_t now = now_of();
    assert_ok(sweep_containers(f->s, now));
    reaper_run(f->s);
    for (size_t i = 0; i < m->kept_count;) {
        if (m->kept[i].purge <= now)
            m->kept[i] = m->kept[--m->kept_count];
        else
            i++;
    }
    int defects = 0;
    store_check_progress p;
    assert_ok(store_check(f->s, count_defects, NULL, &defects, &p));
    assert_int_equal(defects, 0);
    f->c.arena = arena_free(f->c.arena);
    f->c.arena = arena_new(4096, 0);
}

static void step(model *m) {
    int box = (int)rng_below(&m->random, NAMES), blob = (int)rng_below(&m->random, BLOBS);
    size_t what = rng_below(&m->random, 100);
    if (what < 3)
        do_create(m, box);
    else if (what < 5)
        do_delete(m, box);
    else if (what < 8)
        do_restore(m, box);
    else if (what < 11)
        do_rename(m, box, (int)rng_below(&m->random, NAMES));
    else if (what < 20)
        do_time(m);
    else if (what < 22)
        do_housekeeping(m);
    else if (!enter(m, box))
        return;
    else if (what < 50)
        do_lease(m, box, rng_below(&m->random, 4) ? blob : -1);
    else if (what < 80)
        do_write(m, box, blob);
    else
        do_read(m, box, blob);
}

static const err expected_once[] = {
    ERR_NO_SPACE,
    ERR_BLOB_NOT_FOUND,
    ERR_CONTAINER_ALREADY_EXISTS,
    ERR_CONTAINER_NOT_FOUND,
    ERR_LEASE_ALREADY_PRESENT,
    ERR_LEASE_ID_MISMATCH_WITH_BLOB_OPERATION,
    ERR_LEASE_ID_MISMATCH_WITH_CONTAINER_OPERATION,
    ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION,
    ERR_LEASE_ID_MISSING,
    ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_ACQUIRED,
    ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_CHANGED,
    ERR_LEASE_IS_BROKEN_AND_CANNOT_BE_RENEWED,
    ERR_LEASE_LOST,
    ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION,
    ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION,
    ERR_LEASE_NOT_PRESENT_WITH_LEASE_OPERATION,
};

static uint64_t seed_now;
static void test_model(void **state) {
    fixture *f = *state;
    model *m = calloc(1, sizeof *m);
    const char *given = getenv("SEED");
    seed_now = given ? strtoull(given, NULL, 10) : 1;
    m->f = f;
    m->random = (rng){seed_now};
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("container_delete_days=2")));
    f->a = store_account_unref(f->a);
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    m->boxes[0] = (model_box){.exists = true, .id = f->k->id};
    for (int i = 0; i < STEPS; i++) step(m);
    do_housekeeping(m);
    for (size_t i = 0; i < ARRAY_LEN(expected_once) && !given; i++) {
        if (m->counts[expected_once[i]] == 0)
            print_error("%s was never met\n", err_get(expected_once[i])->name);
        assert_true(m->counts[expected_once[i]] > 0);
    }
    clock_skew_us(0);
    free(m);
}

static int tell_seed(void **state) {
    if (seed_now > 1) print_error("SEED=%llu\n", (unsigned long long)seed_now);
    return fixture_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, fixture_setup, tell_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
