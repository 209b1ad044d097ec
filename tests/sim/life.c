/* One life of a program, in a process of its own: it opens the folder, finds out what is there, works, and
 * ends: by closing, by being killed, by the power going, or because it may not go on. */
#include "sim.h"

#include <errno.h>

void sim_fail(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(S_->failure, sizeof S_->failure, fmt, args);
    va_end(args);
    _exit(LIFE_FAILED);
}

static void no_power(void) {
    _exit(LIFE_CUT);
}

/* ---- clock and chance ---- */

static int64_t sim_wall_us(const io *self) {
    (void)self;
    return atomic_fetch_add(&S_->clock_us, 1000) + 1000;
}

static int64_t sim_mono_us(const io *self) {
    (void)self;
    return (int64_t)atomic_fetch_add(&S_->chance, 1) + 1000000;
}

static void sim_random(const io *self, void *out, size_t n) {
    (void)self;
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)fault_mix(S_->seed, atomic_fetch_add(&S_->chance, 1));
}

static io sim_io;

static void use_the_seeds_chance(void) {
    sim_io = io_real;
    sim_io.wall_us = sim_wall_us;
    sim_io.mono_us = sim_mono_us;
    sim_io.random = sim_random;
    io_use(&sim_io);
    uint8_t left[128]; /* what random_fill still holds of the real chance */
    for (int i = 0; i < 5; i++) random_fill(left, sizeof left);
}

/* ---- opening ---- */

static err open_store(fixture *f, bool create) {
    engine *e;
    const engine_local_options lo = {
        .path = root_, .create = create, .cache_bytes = S_->busy ? 16 << 20 : 64 << 20};
    const local_tune tune = {.extent_bytes = 2 << 20,
                             .run_bytes_max = 256 << 10,
                             .run_step_first = 64 << 10,
                             .lanes = 1,
                             .write_bytes = S_->busy ? 128 << 10 : 0,
                             .quiet = !S_->busy};
    TRY(engine_local_open_tuned(&lo, &tune, &e));
    const store_options o = {
        .engine = e, .keys = test_keys_new(), .background = S_->busy && !S_->calm, .records = true};
    TRY(store_open(&o, &f->s));
    f->c = (store_call){.arena = arena_new(1 << 20, 0)};
    return OK;
}

static void fresh_arena(fixture *f) {
    arena_free(f->c.arena);
    f->c.arena = arena_new(1 << 20, 0);
}

static err begin(fixture *f) {
    TRY(open_store(f, false));
    TRY(store_account_get(f->s, f->c, S("acct"), &f->a));
    return store_container_get(f->s, f->c, f->a, S("box"), &f->k);
}

static err retention_on(void *ctx, store_service *v) {
    (void)ctx;
    v->delete_retention = (store_retention){true, 7};
    return OK;
}

static err ok_or(err e, err other) {
    return e == other ? OK : e;
}

static err make_store(fixture *f) {
    err e = open_store(f, true);
    if (e == ERR_IN_USE) e = open_store(f, false); /* an earlier try got so far that it counts */
    TRY(e);
    TRY(ok_or(store_account_create(f->s, f->c, S("acct"), NULL), ERR_ACCOUNT_ALREADY_EXISTS));
    if (S_->versioning) TRY(store_account_set(f->s, f->c, S("acct"), S("versioning=on")));
    TRY(store_account_get(f->s, f->c, S("acct"), &f->a));
    if (S_->soft) TRY(store_service_change(f->s, f->c, f->a, retention_on, NULL));
    e = store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k);
    return ok_or(e, ERR_CONTAINER_ALREADY_EXISTS);
}

static void give_up(const char *what, err e);

static _Noreturn void make_and_close(void) {
    fixture f = {0};
    err e = make_store(&f);
    if (e != OK) give_up("making", e);
    fixture_close(&f);
    _exit(LIFE_ENDED);
}

void sim_make(void) {
    use_the_seeds_chance();
    make_and_close();
}

void sim_be_born(void) {
    use_the_seeds_chance();
    faults_begin(root_, plan_, no_power);
    memcpy(plan_->rules, S_->rules, sizeof S_->rules);
    make_and_close();
}

/* ---- working ---- */

/* An error that no injected fault explains is a failure. */
static void give_up(const char *what, err e) {
    if (plan_->injected == 0) sim_fail("%s: %s: %s", what, err_get(e)->name, err_detail());
    SAY("%s: %s: %s\n", what, err_get(e)->name, err_detail());
    _exit(LIFE_STOPPED);
}

static bool engine_failed(fixture *f) {
    engine_stats st;
    engine_get_stats(store_engine(f->s), &st);
    return st.failed;
}

/* The store shows the present world, or the next one when that may have been done. */
static void look(fixture *f, bool settle) {
    char why[500] = "", other[500] = "";
    bool same;
    fresh_arena(f);
    err e = sim_observe(f, &S_->now, &same, why);
    if (e != OK) give_up("looking", e);
    if (same) {
        if (settle) S_->in_flight = false;
        return;
    }
    if (!S_->in_flight) sim_fail("what was acknowledged is not there: %s", why);
    fresh_arena(f);
    e = sim_observe(f, &S_->next, &same, other);
    if (e != OK) give_up("looking", e);
    if (!same)
        sim_fail("neither before nor after what was on its way: before: %s; after: %s", why, other);
    if (!settle) return;
    S_->now = S_->next;
    S_->in_flight = false;
}

/* After a failure: reads go on, and nothing is ever written or synced again. */
static void stays_read_only(fixture *f) {
    /* RocksDB's own threads may be in the middle of a file; and when the disk was full RocksDB begins to
     * mend itself before it can be told not to (docs/decisions/0023-faults.md). */
    const bool others = S_->busy || S_->rules[0].error == ENOSPC || S_->rules[1].error == ENOSPC;
    const uint64_t changes = plan_->changes, syncs = plan_->syncs;
    const world now = S_->now, next = S_->next;
    memset(plan_->rules, 0, sizeof plan_->rules); /* the next call would succeed, and lie */
    look(f, false);
    for (int i = 0; i < 8; i++) {
        fresh_arena(f);
        err e = sim_step(f);
        const bool asked = memcmp(&S_->next, &S_->now, sizeof S_->now) != 0;
        if (e == OK && asked) sim_fail("a change was taken after the engine had failed");
        S_->now = now;
        S_->next = next;
    }
    S_->in_flight = true;
    if (!others && (plan_->changes != changes || plan_->syncs != syncs))
        sim_fail("the failed engine made %llu changes and %llu syncs",
                 (unsigned long long)(plan_->changes - changes),
                 (unsigned long long)(plan_->syncs - syncs));
    S_->readonly++;
}

static void step(fixture *f) {
    const uint64_t injected = plan_->injected;
    fresh_arena(f);
    S_->operations++;
    err e = sim_step(f);
    S_->digest = fault_mix(S_->digest ^ (uint64_t)e, plan_->changes);
    SAY("  after %llu changes\n", (unsigned long long)plan_->changes);
    if (e == OK) {
        S_->now = S_->next;
        S_->in_flight = false;
        S_->acknowledged++;
        if (plan_->rules[0].calls == 0 && S_->acknowledged % 8 == 0) look(f, true);
        return;
    }
    S_->refused++;
    if (plan_->injected == 0) sim_fail("an operation: %s: %s", err_get(e)->name, err_detail());
    if (engine_failed(f)) return;
    if (e == ERR_IO && (S_->rules[0].calls | S_->rules[1].calls) & FAULT_READ) {
        look(f, true); /* it may have been done, and could not be read again for the answer */
        return;
    }
    if (plan_->injected == injected)
        sim_fail("an operation, long after a fault: %s: %s", err_get(e)->name, err_detail());
    /* Refused by a store that goes on: nothing has changed. */
    S_->in_flight = false;
    look(f, true);
}

static void report(void *ctx, const char *what, const char *where) {
    (void)ctx;
    SAY("check: %s: %s\n", where, what);
    snprintf(S_->failure, sizeof S_->failure, "check: %s: %s", where, what);
}

static void check_is_quiet(fixture *f) {
    store_check_progress p;
    err e = store_check(f->s, report, NULL, NULL, &p);
    if (e != OK) sim_fail("check: %s: %s", err_get(e)->name, err_detail());
    if (p.defects != 0) _exit(LIFE_FAILED);
}

/* ---- rows that follow from others are lost or wrong, and made again ---- */

#define MEND_ROWS_MAX 200

typedef struct row_found {
    slice key, value;
} row_found;

static size_t rows_of(fixture *f, engine_table table, slice from, slice to, row_found *ret) {
    engine_cursor *cur;
    size_t n = 0;
    err e = engine_scan(store_engine(f->s), table, from, to, &cur);
    if (e != OK) sim_fail("scanning: %s", err_detail());
    for (bool more = true; n < MEND_ROWS_MAX; n++) {
        slice key, value;
        e = engine_cursor_next(cur, &key, &value, &more);
        if (e != OK) sim_fail("scanning: %s", err_detail());
        if (!more) break;
        ret[n] = (row_found){arena_dup(f->c.arena, key), arena_dup(f->c.arena, value)};
    }
    engine_cursor_free(cur);
    return n;
}

/* value.p NULL: without the row. */
static void set_row(fixture *f, engine_table table, slice key, slice value) {
    engine_txn *t;
    err e = engine_txn_begin(store_engine(f->s), key, &t);
    if (e == OK) {
        if (value.p)
            engine_txn_put(t, table, key, value);
        else
            engine_txn_delete(t, table, key);
        e = engine_txn_commit(t);
    }
    if (e != OK) sim_fail("damaging a row: %s", err_detail());
}

/* A row of the index goes. */
static bool lose_index(fixture *f, rng *r) {
    row_found met[MEND_ROWS_MAX];
    const size_t n = rows_of(f, ENGINE_INDEX, SLICE_NONE, SLICE_NONE, met);
    if (n > 0) set_row(f, ENGINE_INDEX, met[rng_below(r, n)].key, SLICE_NONE);
    return n > 0;
}

/* One comes that stands for nothing: for another value of a tag. */
static bool invent_index(fixture *f, rng *r) {
    row_found met[MEND_ROWS_MAX];
    const size_t n = rows_of(f, ENGINE_INDEX, SLICE_NONE, SLICE_NONE, met);
    if (n == 0) return false;
    const row_found *x = &met[rng_below(r, n)];
    uint8_t *key = (uint8_t *)(uintptr_t)arena_dup(f->c.arena, x->key).p;
    key[x->key.len - 1] ^= 0x02; /* of the blob's name */
    set_row(f, ENGINE_INDEX, slice_of(key, x->key.len), x->value);
    return true;
}

/* A head of a history is lost, damaged, or counts wrongly; never more states than there are. */
static bool spoil_head(fixture *f, rng *r) {
    row_found met[MEND_ROWS_MAX];
    row_head h;
    const size_t n = rows_of(f, ENGINE_JOB, S("h"), S("i"), met);
    if (n == 0) return false;
    const row_found *x = &met[rng_below(r, n)];
    if (row_head_get(x->value, &h) != OK) return false; /* spoiled already */
    switch (rng_below(r, 5)) {
    case 0:
        set_row(f, ENGINE_JOB, x->key, SLICE_NONE);
        return true;
    case 1:
        set_row(f, ENGINE_JOB, x->key, S("no row"));
        return true;
    case 2:
        h.states -= h.states > 1;
        h.snapshots++;
        break;
    case 3:
        h.versions += 3;
        break;
    default:
        h.newest = 1;
        break;
    }
    set_row(f, ENGINE_JOB, x->key, ROW_ENCODE(head, f->c.arena, &h));
    return true;
}

static bool spoil_staging(fixture *f, rng *r) {
    row_found met[MEND_ROWS_MAX];
    row_staging st;
    const size_t n = rows_of(f, ENGINE_JOB, S("s"), S("t"), met);
    if (n == 0) return false;
    const row_found *x = &met[rng_below(r, n)];
    if (row_staging_get(x->value, &st) != OK || st.count < 2) return false;
    st.count--;
    set_row(f, ENGINE_JOB, x->key, ROW_ENCODE(staging, f->c.arena, &st));
    return true;
}

static bool leave_slot(fixture *f, rng *r) {
    uint64_t slot;
    engine *e = store_engine(f->s);
    (void)r;
    if (engine_vault_put(e, engine_new_id(e), S("key of nothing"), &slot) != OK)
        sim_fail("the vault: %s", err_detail());
    return true;
}

static void ignore(void *ctx, const char *what, const char *where) {
    (void)ctx;
    SAY("repair: %s: %s\n", where, what);
}

/* `check --repair` makes again what can be, and nothing that clients see is another after it. */
static void spoil_and_repair(fixture *f) {
    static bool (*const ways[])(fixture * f, rng * r) = {lose_index, invent_index, spoil_head,
                                                         spoil_staging, leave_slot};
    rng r = {fault_mix(S_->seed, S_->operations)};
    uint64_t spoiled = 0;
    store_check_progress p;
    if (rng_below(&r, 2)) return;
    fresh_arena(f);
    for (size_t i = rng_below(&r, 6) + 1; i-- > 0;)
        spoiled += ways[rng_below(&r, ARRAY_LEN(ways))](f, &r);
    err e = store_repair(f->s, ignore, NULL, NULL, &p);
    if (e != OK) sim_fail("repair: %s: %s", err_get(e)->name, err_detail());
    if (p.defects != 0)
        sim_fail("repair left %llu defects of %llu rows that were spoiled",
                 (unsigned long long)p.defects, (unsigned long long)spoiled);
    if ((spoiled != 0) != (p.repaired != 0))
        sim_fail("repair: %llu rows were spoiled and %llu mended", (unsigned long long)spoiled,
                 (unsigned long long)p.repaired);
    SAY("%llu rows spoiled, %llu mended\n", (unsigned long long)spoiled,
        (unsigned long long)p.repaired);
    S_->spoiled += spoiled;
    check_is_quiet(f);
}

/* All that is left to the background, done; then the check must find nothing, neither what is missing nor
 * what nobody owns. */
static void last_look(fixture *f) {
    uint64_t n;
    reaper_run(f->s);
    err e = orphans_destroy(f->s, engine_new_id(store_engine(f->s)), &n);
    if (e != OK) sim_fail("orphans: %s", err_detail());
    if (!S_->busy) reclaim_now(local_of(store_engine(f->s)));
    check_is_quiet(f);
    look(f, true);
    spoil_and_repair(f);
    if (!S_->busy) reclaim_now(local_of(store_engine(f->s)));
    look(f, true);
}

void sim_live(void) {
    fixture f = {0};
    use_the_seeds_chance();
    faults_begin(root_, plan_, no_power);
    if (S_->rules_at_once) memcpy(plan_->rules, S_->rules, sizeof S_->rules);
    err e = begin(&f);
    if (e != OK) give_up("opening", e);
    if (!S_->busy) copier_run(f.s);
    look(&f, true);
    if (!S_->rules_at_once) memcpy(plan_->rules, S_->rules, sizeof S_->rules);
    for (int i = 0; i < S_->steps && !engine_failed(&f); i++) step(&f);
    if (engine_failed(&f)) stays_read_only(&f);
    if (S_->calm) last_look(&f);
    if (S_->end == LIFE_KILL) faults_stop_here(NULL);
    fixture_close(&f);
    _exit(LIFE_ENDED);
}
