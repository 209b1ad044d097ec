/* Retention of the log itself: entries and openings older than the setting go from the store's log, and their bundles
 * from the published folder, from the front. Hashes stay.
 *
 *   KEPT --entries old enough, published: minimum moves, with the entry that tells so, in one transaction-->
 *   ANNOUNCED --a published checkpoint covers that entry--> minimum-index and bundles, then the store's rows
 *   --swept = minimum--> KEPT
 *
 * Invariants
 *   1. swept <= minimum <= what is published. Both are durable before what follows from them, and never go back.
 *   2. Nothing is removed before a published checkpoint (cosigned, when there is a policy) covers the entry that says
 *      so: whoever misses entries finds it.
 *   3. All that is removed is older than the setting, and so is all before it: the first entry that is younger, by its
 *      own time, ends what is removed, also when clocks were set back.
 *   4. A crash at any point leaves one of the two states; every step can be done again. */
#include "audit/retain.h"

#include "audit/event.h"

#define STEP_ENTRIES  (uint64_t)262144 /* of one removal */
#define PERIOD_PARTS  100              /* of how long entries are kept, between two removals */
#define PERIOD_MIN_US INT64_C(1000000)
#define PERIOD_MAX_US (INT64_C(24) * 3600 * 1000000)
#define FULL_PAUSE_US INT64_C(60000000)
#define ARENA_MAX     (64u << 20)

/* ---- its own entries ---- */

typedef struct telling {
    store_recorder recorder;
    const retainer *r;
    const char *action, *audit_class, *decision;
    struct audit_retained what;
} telling;

static void make(store_recorder *recorder, buf *entry, buf *private_part) {
    const telling *t = (telling *)((uintptr_t)recorder - offsetof(telling, recorder));
    audit_event x;
    audit_event_begin(&x, t->r->store, NULL, t->r->region);
    x.record.action = t->action;
    x.record.audit_class = t->audit_class;
    x.record.decision = t->decision;
    x.record.retained = &t->what;
    audit_event_actor(&x, "server", "none", SLICE_NONE);
    audit_event_outcome(&x, OK);
    audit_event_write(&x, NULL, entry, private_part);
}

static err set(retainer *r, arena *a, const store_log_retention *v, telling *t) {
    store_call c = {.arena = a};
    if (t) {
        t->r = r;
        t->recorder.make = make;
        c.record = &t->recorder;
    }
    TRY(store_log_retention_set(r->store, c, v));
    r->now = *v;
    return OK;
}

/* ---- the setting ---- */

/* Shortened or lengthened, it is told. */
static err take_setting(retainer *r, uint64_t keep_s) {
    if (r->now.keep_s == keep_s) return OK;
    store_log_retention v = r->now;
    telling t = {
        .action = "Set Record Retention", .audit_class = "policy", .decision = "configuration"};
    t.what.keep_s = v.keep_s = keep_s;
    t.what.was_s = r->now.keep_s;
    arena *a = arena_new(64 << 10, ARENA_MAX);
    err e = set(r, a, &v, &t);
    arena_free(a);
    if (e == OK)
        LOG(LOG_WARN, "audit.retention_set", LF_I("keep_s", keep_s), LF_I("was_s", t.what.was_s));
    return e;
}

err retain_open(retainer *r, const audit_builder_options *o) {
    *r = (retainer){.store = o->store, .region = o->region};
    if (!r->store) return OK;
    r->arena = arena_new(64 << 10, ARENA_MAX);
    TRY(store_log_retention_get(r->store, (store_call){.arena = r->arena}, &r->now));
    TRY(take_setting(r, o->keep_s));
    r->announced = engine_log_next(o->engine); /* or earlier: it is not known any more */
    return OK;
}

void retain_close(retainer *r) {
    r->arena = arena_free(r->arena);
}

/* ---- what is old ---- */

typedef struct looking {
    int64_t before_us;
    uint64_t end; /* all before it are older */
} looking;

static bool entry_time(slice entry, int64_t *ret_us) {
    const slice before = S("\"time\":\"");
    size_t at = entry.len, from = 0;
    for (size_t i; (i = slice_find_slice(entry, from, before)) < entry.len; from = i + 1) at = i;
    if (at == entry.len) return false; /* the last one is the entry's own */
    const slice text = slice_skip(entry, at + before.len);
    return time_parse_iso(slice_take(text, slice_find(text, 0, '"')), ret_us) == OK;
}

static err look_at(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)private_part;
    looking *l = ctx;
    int64_t us;
    if (!entry_time(entry, &us) || us >= l->before_us) return ERR_CANCELLED; /* ends the reading */
    l->end = index + 1;
    return OK;
}

/* The minimum index that the setting asks for now; the one that is there: nothing to remove. */
static err wanted(const retainer *r, uint64_t published, int64_t before_us, uint64_t *ret) {
    const uint64_t from = r->now.minimum;
    looking l = {.before_us = before_us, .end = from};
    *ret = from;
    if (published <= from + AUDIT_TILE_WIDTH) return OK;
    uint64_t to = published - 1; /* one is left that a proof of the tree can be about */
    if (to - from > STEP_ENTRIES) to = from + STEP_ENTRIES;
    err e = engine_log_read(store_engine(r->store), from, to, look_at, &l);
    if (e != ERR_CANCELLED) TRY(e);
    *ret = l.end / AUDIT_TILE_WIDTH * AUDIT_TILE_WIDTH;
    return OK;
}

/* ---- removing ---- */

static int64_t period_us(const retainer *r) {
    const int64_t us = (int64_t)(r->now.keep_s * 1000000 / PERIOD_PARTS);
    return us < PERIOD_MIN_US ? PERIOD_MIN_US : us > PERIOD_MAX_US ? PERIOD_MAX_US : us;
}

static err announce(retainer *r, const audit_publisher *p, uint64_t minimum, int64_t before_us) {
    store_log_retention v = r->now;
    telling t = {.action = REMOVE_ACTION, .audit_class = "erasure", .decision = "retention"};
    t.what = (struct audit_retained){
        .before = minimum, .count = minimum - v.minimum, .until_us = before_us, .keep_s = v.keep_s};
    arena *a = arena_new(64 << 10, ARENA_MAX);
    v.minimum = minimum;
    v.removed_us = before_us;
    err e = audit_publisher_edge(p, a, minimum, &v.edge);
    if (e == OK) e = set(r, a, &v, &t);
    if (e != OK) {
        arena_free(a);
        return e;
    }
    arena_free(r->arena);
    r->arena = a;
    r->announced = t.recorder.index + 1;
    r->looked_us = clock_mono_us();
    return OK;
}

static err sweep(retainer *r, audit_publisher *p) {
    store_log_retention v = r->now;
    const uint64_t count = v.minimum - v.swept;
    TRY(audit_publisher_remove(p, v.swept, v.minimum));
    TRY(engine_log_trim(store_engine(r->store), v.minimum));
    v.swept = v.minimum;
    arena *a = arena_new(64 << 10, ARENA_MAX);
    err e = set(r, a, &v, NULL);
    arena_free(a);
    TRY(e);
    r->removed += count;
    r->next_us = r->looked_us + period_us(r);
    if (count >= STEP_ENTRIES) r->next_us = 0; /* there may be more */
    LOG(LOG_INFO, "audit.removed", LF_I("before", v.minimum), LF_I("entries", count));
    return OK;
}

static err step(retainer *r, audit_publisher *p, int64_t now_us) {
    const uint64_t published = audit_publisher_size(p);
    if (r->now.swept < r->now.minimum) return published >= r->announced ? sweep(r, p) : OK;
    if (r->now.keep_s == 0) return OK;
    const int64_t before_us = clock_wall_us() - (int64_t)(r->now.keep_s * 1000000);
    uint64_t minimum;
    TRY(wanted(r, published, before_us, &minimum));
    if (minimum > r->now.minimum) return announce(r, p, minimum, before_us);
    r->next_us = now_us + period_us(r);
    return OK;
}

/* A full disk is no reason to sign nothing more: what has to go waits until there is room to tell of it. */
err retain_step(retainer *r, audit_publisher *p) {
    const int64_t now_us = clock_mono_us();
    if (!r->store || now_us < r->next_us) return OK;
    err e = step(r, p, now_us);
    if (e != ERR_NO_SPACE) return e;
    LOG(LOG_WARN, "audit.not_removed", LF_C("detail", err_detail()));
    r->next_us = now_us + FULL_PAUSE_US;
    return OK;
}
