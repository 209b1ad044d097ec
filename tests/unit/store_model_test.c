/* Random operations against a model that is a few arrays: after each, the store says what the model says.
 * Snapshots, versions and soft delete go on and off, blobs are leased, states are held and protected by
 * policies, time passes. Commits fail now and then, the store is
 * restarted, the reaper runs or does not, readers stay open across changes, the check finds nothing. A failure
 * prints its seed. */
#include "store_test.h"

#include "memory_engine.c"

#define NAMES      4
#define IDS        5
#define BLOCKS_MAX 8
#define READERS    3
#define PAST_MAX   12 /* states kept of one blob; more are deleted */
#define DAY_US     (24ll * 3600 * 1000000)

typedef struct model_block {
    int id; /* -1: none */
    uint64_t seed;
    size_t len;
} model_block;

/* One state: the current one or one of the past. */
typedef struct model_state {
    bool exists;
    uint64_t etag, version;         /* version: 0, none */
    bool listed;                    /* a block list */
    model_block blocks[BLOCKS_MAX]; /* put whole: one, with id -1 */
    size_t count;
    char meta[20];
    bool hold;
    int64_t policy_us; /* until when a policy protects; 0: none */
    /* Of the past: */
    bool snapshot, base; /* neither: a version */
    uint64_t tick;
    int64_t until_us; /* soft-deleted until; 0: not */
} model_state;

typedef struct model_blob {
    model_state now;
    model_block staged[IDS];
    char lease[UUID_LEN + 1];       /* of the current state; empty: not leased */
    model_state past[2 * PAST_MAX]; /* in the order of ticks */
    size_t past_count;
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
    bool versioning, soft;
    int64_t skew_us;
    size_t check_every;
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

static slice whole(model *m, arena *a, const model_state *b) {
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

/* ---- the model's history: what Azure's reference says, in a few lines ---- */

static void forget(model_blob *b, size_t at) {
    memmove(&b->past[at], &b->past[at + 1], (b->past_count - at - 1) * sizeof b->past[0]);
    b->past_count--;
}

static void remember(model_blob *b, const model_state *p) {
    size_t at = b->past_count;
    assert_true(b->past_count < ARRAY_LEN(b->past));
    for (; at > 0 && b->past[at - 1].tick > p->tick; at--) b->past[at] = b->past[at - 1];
    b->past[at] = *p;
    b->past_count++;
}

static bool is_deleted(const model_state *p) {
    return p->until_us != 0;
}

static bool is_over(const model_state *p) {
    return is_deleted(p) && p->until_us <= clock_wall_us();
}

/* What refuses to change or delete the state; OK: nothing. */
static err protection(const model_state *p) {
    if (p->hold) return ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD;
    return p->policy_us > clock_wall_us() ? ERR_BLOB_IMMUTABLE_DUE_TO_POLICY : OK;
}

static void unprotect(model_state *p) {
    p->hold = false;
    p->policy_us = 0;
}

/* What a change of the current state says that leaves no version of it. */
static err protection_of_current(const model *m, const model_blob *b, bool deleting) {
    bool kept = m->versioning || (b->now.version && !deleting);
    return b->now.exists && !kept ? protection(&b->now) : OK;
}

/* Conditions with the lease's id, with none or with a wrong one; and what they are answered. */
static const char wrong_lease[] = "not a lease here"; /* UUID_LEN bytes, as all ids */
static store_conditions some_lease(model *m, const model_blob *b, err *ret) {
    store_conditions c = STORE_NO_CONDITIONS;
    bool leased = b->now.exists && b->lease[0];
    size_t kind = rng_below(&m->random, 12);
    if (kind == 0)
        c.lease_id = S(wrong_lease);
    else if (kind > 2 && leased)
        c.lease_id = slice_str(b->lease);
    if (!b->now.exists)
        *ret = OK; /* each operation's own matter */
    else if (leased)
        *ret = kind == 0  ? ERR_LEASE_ID_MISMATCH_WITH_BLOB_OPERATION
               : kind > 2 ? OK
                          : ERR_LEASE_ID_MISSING;
    else
        *ret = kind == 0 ? ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION : OK;
    return c;
}

static void soften(model *m, model_state *p) {
    p->until_us = clock_wall_us() + 7 * DAY_US;
    (void)m;
}

/* The current state gives way; the model learns the tick of what is kept from the store (ret). */
static void gives_way(model *m, model_blob *b, bool deleting, uint64_t before) {
    model_state p = b->now;
    if (!p.exists) return;
    if (m->versioning || (p.version && !deleting)) {
        if (!p.version) p.version = p.etag;
        p.tick = p.version;
        remember(b, &p);
    } else if (m->soft) {
        p.snapshot = !deleting;
        p.base = deleting;
        p.version = p.base ? p.version : 0;
        unprotect(&p);
        p.tick = before; /* unknown; later than all: found out by look_up */
        soften(m, &p);
        remember(b, &p);
    }
}

/* A blob made anew leaves the deleted one behind as a snapshot. */
static void supersede(model_blob *b) {
    for (size_t i = 0; i < b->past_count; i++)
        if (b->past[i].base)
            b->past[i].base = false, b->past[i].snapshot = true, b->past[i].version = 0;
}

static size_t live_snapshots(const model_blob *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->past_count; i++) n += b->past[i].snapshot && !is_deleted(&b->past[i]);
    return n;
}

static void do_put(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    uint64_t seed = ++m->next_seed;
    size_t len = some_len(m);
    store_blob ret;
    err refused;
    store_conditions cond = some_lease(m, b, &refused);
    if (!b->now.exists && cond.lease_id.len) cond.lease_id = SLICE_NONE;
    if (refused == OK) refused = protection_of_current(m, b, false);
    bool fails = arm(m);
    err e = try_put(m->f, name_of(i), content(m->f->c.arena, seed, len), &cond, &ret);
    disarm(m);
    assert_err(e, refused != OK ? refused : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    assert_true(ret.etag > b->now.etag || !b->now.exists);
    if (!b->now.exists) supersede(b);
    gives_way(m, b, false, ret.etag - 1);
    b->now = (model_state){.exists = true, .etag = ret.etag, .version = ret.version, .count = 1};
    assert_true((ret.version != 0) == m->versioning);
    b->now.blocks[0] = (model_block){-1, seed, len};
    for (int j = 0; j < IDS; j++) b->staged[j].id = -1;
}

static void drop_snapshots(model *m, model_blob *b) {
    for (size_t i = b->past_count; i-- > 0;) {
        if (!b->past[i].snapshot || is_deleted(&b->past[i])) continue;
        if (m->soft)
            soften(m, &b->past[i]);
        else
            forget(b, i);
    }
}

/* Of the first that is protected. */
static err protection_of_snapshots(const model_blob *b) {
    for (size_t i = 0; i < b->past_count; i++)
        if (b->past[i].snapshot && !is_deleted(&b->past[i]) && protection(&b->past[i]) != OK)
            return protection(&b->past[i]);
    return OK;
}

static void do_delete(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    store_delete d = {.snapshots = (store_snapshots)rng_below(&m->random, 3)};
    err leased;
    store_conditions cond = some_lease(m, b, &leased);
    bool fails = arm(m), permanent, only = d.snapshots == STORE_SNAPSHOTS_ONLY;
    err e = store_blob_delete(m->f->s, m->f->c, m->f->k, name_of(i), &cond, &d, &permanent);
    disarm(m);
    bool refused = d.snapshots == STORE_SNAPSHOTS_REFUSE && live_snapshots(b);
    err held = protection_of_snapshots(b);
    if (held == OK && !only) held = protection_of_current(m, b, true);
    assert_err(e, !b->now.exists ? ERR_BLOB_NOT_FOUND
                  : leased != OK ? leased
                  : refused      ? ERR_SNAPSHOTS_PRESENT
                  : held != OK   ? held
                  : fails        ? ERR_NO_SPACE
                                 : OK);
    if (e != OK) return;
    assert_true(permanent == (!m->soft && (only || !m->versioning)));
    drop_snapshots(m, b);
    if (only) return;
    gives_way(m, b, true, UINT64_MAX);
    b->now = (model_state){0};
    b->lease[0] = '\0';
    for (int j = 0; j < IDS; j++) b->staged[j].id = -1;
}

static void do_snapshot(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    store_blob ret;
    bool fails = arm(m);
    err e = store_blob_snapshot(m->f->s, m->f->c, m->f->k, name_of(i), NULL, NULL, 0, &ret);
    disarm(m);
    assert_err(e, !b->now.exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    model_state p = b->now;
    if (m->versioning) gives_way(m, b, false, 0);
    p.snapshot = true;
    p.version = 0;
    unprotect(&p);
    p.tick = ret.snapshot;
    remember(b, &p);
    b->now.version = ret.version;
    assert_true(!m->versioning || ret.version > ret.snapshot);
}

static store_pick pick_of(const model_state *p) {
    return (store_pick){.snapshot = p->snapshot ? p->tick : 0,
                        .version = p->snapshot ? 0 : p->tick};
}

/* Deletes one of the past, now and then for good. */
static void do_delete_past(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    if (!b->past_count) return;
    size_t at = rng_below(&m->random, b->past_count);
    model_state *p = &b->past[at];
    store_delete d = {.pick = pick_of(p), .permanent = rng_below(&m->random, 3) == 0};
    if (p->base) return;
    bool fails = arm(m), permanent;
    err e = store_blob_delete(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &d, &permanent);
    disarm(m);
    assert_err(e, is_deleted(p) && !d.permanent   ? ERR_BLOB_NOT_FOUND
                  : d.permanent && !m->soft       ? ERR_PERMANENT_DELETE_NOT_ENABLED
                  : d.permanent && !is_deleted(p) ? ERR_BLOB_SNAPSHOT_NOT_SOFT_DELETED
                  : protection(p) != OK           ? protection(p)
                  : fails                         ? ERR_NO_SPACE
                                                  : OK);
    if (e != OK) return;
    assert_true(permanent == (d.permanent || !m->soft));
    if (permanent)
        forget(b, at);
    else
        soften(m, p);
}

static void do_undelete(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    size_t left = b->now.exists, count = 0;
    for (size_t j = 0; j < b->past_count; j++) {
        left += !is_deleted(&b->past[j]);
        count += is_deleted(&b->past[j]) && !is_over(&b->past[j]);
    }
    bool fails = arm(m);
    err e = store_blob_undelete(m->f->s, m->f->c, m->f->k, name_of(i));
    disarm(m);
    /* A commit that changes nothing does not fail. */
    assert_true(!left && !count ? e == ERR_BLOB_NOT_FOUND
                : fails         ? e == ERR_NO_SPACE || e == OK
                                : e == OK);
    if (e != OK) return;
    for (size_t j = b->past_count; j-- > 0;) {
        model_state *p = &b->past[j];
        if (!is_deleted(p) || is_over(p)) continue;
        p->until_us = 0;
        if (!p->base) continue;
        b->now = *p;
        b->now.base = false;
        b->now.tick = 0;
        forget(b, j);
    }
}

/* Time passes: some retentions are over. */
static void advance(model *m, int64_t us) {
    m->skew_us += us;
    clock_skew_us(m->skew_us);
    assert_ok(sweep_deleted(m->f->s, clock_wall_us()));
    for (size_t i = 0; i < NAMES; i++) {
        model_blob *b = &m->blobs[i];
        for (size_t j = b->past_count; j-- > 0;)
            if (is_over(&b->past[j])) forget(b, j);
    }
}

static void do_time(model *m) {
    advance(m, (int64_t)rng_below(&m->random, 4) * DAY_US);
}

/* Hold and policy of a state, as asked for. */
static err set_protection(model *m, size_t i, store_pick pick, bool hold, int64_t policy_us) {
    store_blob ret;
    const store_immutability x = {.set_hold = true,
                                  .hold = hold,
                                  .set_policy = true,
                                  .mode = policy_us ? STORE_UNLOCKED : STORE_MUTABLE,
                                  .until_us = policy_us};
    return store_blob_set_immutability(m->f->s, m->f->c, m->f->k, name_of(i), pick, NULL, &x, &ret);
}

/* Of the current state, or of one of the past. */
static void do_protect(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    model_state *p = &b->now;
    store_pick pick = STORE_CURRENT;
    if (b->past_count && rng_below(&m->random, 2)) {
        p = &b->past[rng_below(&m->random, b->past_count)];
        if (p->base) return;
        pick = pick_of(p);
    }
    bool hold = rng_below(&m->random, 3) == 0, policy = rng_below(&m->random, 3) == 0;
    int64_t until = policy ? clock_wall_us() + (1 + (int64_t)rng_below(&m->random, 3)) * DAY_US : 0;
    bool fails = arm(m);
    err e = set_protection(m, i, pick, hold, until);
    disarm(m);
    assert_err(e, !p->exists || is_deleted(p) ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    p->hold = hold;
    p->policy_us = until;
}

static void release_protection(model *m, size_t i, model_state *p, store_pick pick) {
    if (protection(p) != OK) assert_ok(set_protection(m, i, pick, false, 0));
    unprotect(p);
}

/* Acquires a lease without end, or releases it. */
static void do_lease(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    store_lease_answer ret;
    char id[UUID_LEN + 1];
    snprintf(id, sizeof id, "lease %010llu", (unsigned long long)++m->next_seed);
    bool acquire = !b->lease[0];
    const store_lease_ask ask = {.action = acquire ? STORE_LEASE_ACQUIRE : STORE_LEASE_RELEASE,
                                 .id = acquire ? SLICE_NONE : slice_str(b->lease),
                                 .proposed = acquire ? slice_str(id) : SLICE_NONE};
    bool fails = arm(m);
    err e = store_blob_lease(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &ask, &ret);
    disarm(m);
    assert_err(e, !b->now.exists ? ERR_BLOB_NOT_FOUND : fails ? ERR_NO_SPACE : OK);
    if (e != OK) return;
    assert_true(ret.etag == b->now.etag);
    memcpy(b->lease, acquire ? id : "", acquire ? sizeof id : 1);
}

/* So many states that the arrays would overflow: away with some, softly or for good. */
static void trim(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    while (b->past_count > PAST_MAX) {
        size_t at = 0;
        while (at < b->past_count && (b->past[at].base || (is_deleted(&b->past[at]) && !m->soft)))
            at++;
        if (at == b->past_count) {
            advance(m, 8 * DAY_US);
            continue;
        }
        model_state *p = &b->past[at];
        store_delete d = {.pick = pick_of(p), .permanent = is_deleted(p)};
        release_protection(m, i, p, d.pick);
        assert_ok(store_blob_delete(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &d, NULL));
        if (d.permanent || !m->soft)
            forget(b, at);
        else
            soften(m, p);
    }
}

static void set(model *m, bool versioning, bool soft) {
    m->versioning = versioning;
    m->soft = soft;
    store_service v = {.delete_retention = {m->soft, 7}, .delete_permanent = true};
    assert_ok(store_account_set(m->f->s, m->f->c, S("acct"),
                                m->versioning ? S("versioning=on") : S("versioning=off")));
    set_service(m->f, &v);
}

static void do_settings(model *m) {
    set(m, rng_below(&m->random, 2), rng_below(&m->random, 2));
}

static void do_block(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    int id = (int)rng_below(&m->random, IDS);
    uint64_t seed = ++m->next_seed;
    size_t len = some_len(m);
    err refused;
    store_conditions cond = some_lease(m, b, &refused);
    if (!b->now.exists) cond.lease_id = SLICE_NONE;
    slice data = content(m->f->c.arena, seed, len);
    store_upload *u = upload(m->f, data, data.len);
    bool fails = arm(m);
    err e = store_block_put(m->f->s, m->f->c, m->f->k, name_of(i), id_of(m, id), u, cond.lease_id);
    disarm(m);
    if (e != OK) store_upload_free(u);
    assert_err(e, refused != OK ? refused : fails ? ERR_NO_SPACE : OK);
    if (e == OK) b->staged[id] = (model_block){id, seed, len};
}

static const model_block *find_committed(const model_blob *b, int id) {
    const model_state *s = &b->now;
    for (size_t i = 0; s->listed && i < s->count; i++)
        if (s->blocks[i].id == id) return &s->blocks[i];
    return NULL;
}

static const model_block *resolve(const model_blob *b, int id, store_block_source source) {
    if (source != STORE_BLOCK_COMMITTED && b->staged[id].id == id) return &b->staged[id];
    return source != STORE_BLOCK_UNCOMMITTED ? find_committed(b, id) : NULL;
}

static void do_commit(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    model_state next = {.exists = true, .listed = true};
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
    err leased, held = protection_of_current(m, b, false);
    store_conditions cond = some_lease(m, b, &leased);
    if (!b->now.exists) cond.lease_id = SLICE_NONE;
    const store_put put = {.cond = &cond};
    bool fails = arm(m);
    err e =
        store_block_list_put(m->f->s, m->f->c, m->f->k, name_of(i), picks, next.count, &put, &ret);
    disarm(m);
    assert_err(e, leased != OK ? leased
                  : !there     ? ERR_INVALID_BLOCK_LIST
                  : held != OK ? held
                  : fails      ? ERR_NO_SPACE
                               : OK);
    if (e != OK) return;
    next.etag = ret.etag;
    next.version = ret.version;
    if (!b->now.exists) supersede(b);
    gives_way(m, b, false, ret.etag - 1);
    for (int j = 0; j < IDS; j++) b->staged[j].id = -1;
    b->now = next;
}

static void do_metadata(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    char text[20];
    snprintf(text, sizeof text, "%llu", (unsigned long long)++m->next_seed);
    pair p = {S("k"), slice_str(text)};
    store_blob ret;
    err leased, held = protection_of_current(m, b, false);
    store_conditions cond = some_lease(m, b, &leased);
    bool fails = arm(m);
    err e = store_blob_set_metadata(m->f->s, m->f->c, m->f->k, name_of(i), &cond, &p, 1, &ret);
    disarm(m);
    assert_err(e, !b->now.exists ? ERR_BLOB_NOT_FOUND
                  : leased != OK ? leased
                  : held != OK   ? held
                  : fails        ? ERR_NO_SPACE
                                 : OK);
    if (e != OK) return;
    if (m->versioning || b->now.version) gives_way(m, b, false, 0);
    memcpy(b->now.meta, text, sizeof text);
    b->now.etag = ret.etag;
    b->now.version = ret.version;
}

static void check_state(model *m, size_t i, store_pick pick, const model_state *b) {
    store_blob g;
    store_reader *r;
    err e = store_blob_open(m->f->s, m->f->c, m->f->k, name_of(i), pick, NULL, &g, &r);
    assert_err(e, b->exists && !is_deleted(b) ? OK : ERR_BLOB_NOT_FOUND);
    if (e != OK) return;
    assert_true(g.etag == b->etag && g.version == b->version);
    assert_true(g.legal_hold == b->hold);
    assert_true((g.immutable_mode != STORE_MUTABLE) == (b->policy_us != 0));
    if (b->policy_us) assert_true(g.immutable_until_us == b->policy_us);
    assert_int_equal(g.metadata_count, b->meta[0] ? 1 : 0);
    if (b->meta[0]) assert_slice(g.metadata[0].value, slice_str(b->meta));
    slice data = read_all(m->f, r, g.length, 1 + rng_below(&m->random, 100000));
    assert_slice(data, whole(m, m->f->c.arena, b));
    store_reader_free(r);
}

/* Ticks of soft-deleted states are the store's own: they are learned from a listing, where the states
 * stand in the model's order. */
typedef struct learning {
    model_blob *b;
    slice name;
    size_t at;
    bool current;
} learning;

static err learn(void *ctx, const store_blob *g, slice prefix) {
    (void)prefix;
    learning *l = ctx;
    if (!slice_eq(g->name, l->name)) return OK;
    if (g->current || g->versions_only) {
        l->current = g->current;
        if (g->current) assert_true(g->etag == l->b->now.etag);
        return OK;
    }
    assert_true(l->at < l->b->past_count);
    model_state *p = &l->b->past[l->at++];
    assert_true(g->etag == p->etag && (g->until_us > 0) == is_deleted(p));
    assert_true(p->snapshot == (g->snapshot != 0) && g->version == p->version);
    if (p->snapshot) p->tick = g->snapshot;
    return OK;
}

/* The listing, page by page, says what the model says; and so does a state of the past. */
static void check_past(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    learning l = {.b = b, .name = name_of(i)};
    store_blob_list q = {.prefix = name_of(i),
                         .max = 1 + rng_below(&m->random, 8),
                         .snapshots = true,
                         .versions = true,
                         .deleted = true,
                         .deleted_with_versions = rng_below(&m->random, 2)};
    do assert_ok(store_blob_scan(m->f->s, m->f->c, m->f->k, &q, learn, &l, &q.marker));
    while (q.marker.len);
    assert_int_equal(l.at, b->past_count);
    assert_true(l.current == b->now.exists);
    if (!b->past_count) return;
    const model_state *p = &b->past[rng_below(&m->random, b->past_count)];
    if (!p->base) check_state(m, i, pick_of(p), p);
}

static void check_blob(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    check_state(m, i, STORE_CURRENT, &b->now);
    store_blob g;
    if (b->now.exists) {
        assert_ok(store_blob_get(m->f->s, m->f->c, m->f->k, name_of(i), STORE_CURRENT, NULL, &g));
        assert_slice(g.lease.id, slice_str(b->lease));
    }
    if (b->now.exists && b->now.version)
        check_state(m, i, (store_pick){.version = b->now.version}, &b->now);
}

static void check_blocks(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    store_blob g;
    store_block *c, *u;
    size_t cn, un, staged = 0;
    bool there;
    for (int j = 0; j < IDS; j++) staged += b->staged[j].id >= 0;
    err e = store_block_list_get(m->f->s, m->f->c, m->f->k, name_of(i), STORE_CURRENT, NULL, true,
                                 true, &g, &there, &c, &cn, &u, &un);
    assert_err(e, b->now.exists || staged ? OK : ERR_BLOB_NOT_FOUND);
    if (e != OK) return;
    assert_true(there == b->now.exists);
    assert_int_equal(cn, b->now.listed ? b->now.count : 0);
    for (size_t j = 0; j < cn; j++) {
        assert_slice(c[j].id, id_of(m, b->now.blocks[j].id));
        assert_int_equal(c[j].length, b->now.blocks[j].len);
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
        if (!b->now.exists && !staged) continue;
        buf_put(&expected, name_of(order[i]));
        buf_byte(&expected, b->now.exists ? ' ' : '?');
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
    model_blob *of = &m->blobs[i];
    const model_state *p = &of->now;
    store_pick pick = STORE_CURRENT;
    if (of->past_count && rng_below(&m->random, 2)) {
        p = &of->past[rng_below(&m->random, of->past_count)];
        pick = pick_of(p);
    }
    if (!p->exists || p->base || is_deleted(p)) return;
    assert_ok(store_blob_open(m->f->s, m->f->c, m->f->k, name_of(i), pick, NULL, &b, &r->r));
    r->mem = arena_new(4096, 0);
    r->expected = whole(m, r->mem, p);
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
    bool held = false;
    for (size_t i = 0; i < NAMES; i++) {
        const model_blob *b = &m->blobs[i];
        held |= b->now.exists && protection(&b->now) != OK;
        for (size_t j = 0; j < b->past_count; j++) held |= protection(&b->past[j]) != OK;
    }
    close_readers(m);
    err e = store_container_delete(m->f->s, m->f->c, m->f->a, S("box"), NULL);
    assert_true(held ? e == ERR_CONTAINER_HAS_LEGAL_HOLD || e == ERR_CONTAINER_IMMUTABLE : e == OK);
    if (held) return;
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
    switch (rng_below(&m->random, 40)) {
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
    case 23 ... 26:
        do_snapshot(m, i);
        break;
    case 27 ... 29:
        do_delete_past(m, i);
        break;
    case 30 ... 31:
        do_undelete(m, i);
        break;
    case 32:
        if (rng_below(&m->random, 4) == 0) do_settings(m);
        break;
    case 34 ... 35:
        do_lease(m, i);
        break;
    case 36 ... 37:
        do_protect(m, i);
        break;
    case 33:
        if (rng_below(&m->random, 4) == 0) do_time(m);
        break;
    default:
        if (rng_below(&m->random, m->check_every) == 0) check_sound(m);
    }
    check_blob(m, i);
    check_past(m, i);
    trim(m, i);
}

/* Everything deleted, and all retentions over. */
static void clean(model *m, size_t i) {
    model_blob *b = &m->blobs[i];
    for (size_t j = 0; j < b->past_count; j++)
        if (!b->past[j].base) release_protection(m, i, &b->past[j], pick_of(&b->past[j]));
    if (b->now.exists) release_protection(m, i, &b->now, STORE_CURRENT);
    while (b->now.exists) do_delete(m, i);
    for (size_t j = b->past_count; j-- > 0;) {
        store_delete d = {.pick = pick_of(&b->past[j])};
        assert_ok(store_blob_delete(m->f->s, m->f->c, m->f->k, name_of(i), NULL, &d, NULL));
        forget(b, j);
    }
}

/* What is there at the end is what the model says: nothing was lost, nothing was left behind. */
static void finish(model *m) {
    close_readers(m);
    reaper_run(m->f->s);
    check_sound(m);
    for (size_t i = 0; i < NAMES; i++) {
        check_blob(m, i);
        check_past(m, i);
        check_blocks(m, i);
    }
    set(m, false, false);
    advance(m, 8 * DAY_US);
    for (size_t i = 0; i < NAMES; i++) {
        do_put(m, i); /* its commit may be made to fail */
        while (!m->blobs[i].now.exists) do_put(m, i);
        check_past(m, i);
        clean(m, i);
    }
    reaper_run(m->f->s);
    assert_int_equal(memory_disk_streams(m->f->disk), 0);
    for (int t = ENGINE_BLOB; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(m->f->disk, (engine_table)t), 0);
}

static int64_t run(fixture *f, uint64_t seed, int steps, int64_t skew_us, size_t check_every) {
    model m = {.f = f, .random = {seed}, .skew_us = skew_us, .check_every = check_every};
    clear(&m);
    set(&m, rng_below(&m.random, 2), rng_below(&m.random, 2));
    for (int i = 0; i < steps; i++) {
        arena_free(f->c.arena);
        f->c.arena = arena_new(64 << 10, 0);
        step(&m);
    }
    finish(&m);
    return m.skew_us;
}

/* MODEL_SEED=n runs one seed, MODEL_STEPS=n so many steps of it. */
static void test_model(void **state) {
    const char *one = getenv("MODEL_SEED"), *more = getenv("MODEL_STEPS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : 25;
    int steps = more ? (int)strtol(more, NULL, 10) : 300;
    fixture *f = *state;
    int64_t skew_us = 0; /* time goes on from one to the next */
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        skew_us = run(f, seed, steps, skew_us, steps > 1000 ? 100 : 1);
    }
    clock_skew_us(0);
}

/* Far from the beginning: the check looks less often, the model after every step. */
static void test_long(void **state) {
    if (getenv("MODEL_SEED")) return;
    (void)run(*state, 26, 100000, 0, 100);
    clock_skew_us(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_long, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
