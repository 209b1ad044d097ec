/* All that a store shows, compared with a world: current states with content, metadata, tags and lease; staged
 * blocks; every state of the past; the listing; the second container. */
#include "sim.h"

typedef struct watch {
    fixture *f;
    const world *w;
    size_t at; /* of blobs */
    bool same;
    char *why;
} watch;

__attribute__((format(printf, 2, 3))) static void differs(watch *o, const char *fmt, ...) {
    if (!o->same) return;
    o->same = false;
    int n = snprintf(o->why, 500, "blob %zu: ", o->at);
    va_list args;
    va_start(args, fmt);
    vsnprintf(o->why + n, (size_t)(500 - n), fmt, args);
    va_end(args);
}

static uint64_t hash_of(slice s) {
    return crc64(0, s) ^ s.len;
}

static err read_whole(watch *o, store_reader *r, uint64_t length, slice *ret) {
    uint8_t *p = arena_alloc(o->f->c.arena, (size_t)length + 1);
    for (uint64_t at = 0;;) {
        size_t n;
        TRY(store_reader_read(r, at, p + at, (size_t)(length + 1 - at), false, &n));
        at += n;
        if (n > 0) continue;
        *ret = slice_of(p, (size_t)at);
        return OK;
    }
}

static err content_of(watch *o, const store_container *k, slice name, store_pick pick,
                      store_blob *ret, slice *ret_data) {
    store_reader *r;
    TRY(store_blob_open(o->f->s, o->f->c, k, name, pick, NULL, ret, &r));
    err e = store_reader_prepare(r, o->f->c, 0);
    if (e == OK) e = read_whole(o, r, ret->length, ret_data);
    store_reader_free(r);
    return e;
}

/* ---- the current state ---- */

static bool text_is(const pair *p, size_t count, const char *key, uint64_t v, arena *a) {
    if (v == 0) return count == 0;
    return count == 1 && slice_eq(p->name, slice_str(key)) &&
           slice_eq(p->value, arena_fmt(a, "%llu", (unsigned long long)v));
}

static store_blob_type type_of(sim_kind kind) {
    return kind == SIM_APPEND  ? STORE_APPEND_BLOB
           : kind == SIM_PAGES ? STORE_PAGE_BLOB
                               : STORE_BLOCK_BLOB;
}

/* Content under a scope that is disabled or destroyed is refused, and only that. refused: told, one way or the other. */
static bool refused(watch *o, const sim_state *s, err e) {
    const bool shut = e == ERR_ENCRYPTION_SCOPE_DISABLED || e == ERR_KEY_DESTROYED;
    if (s->kind == SIM_NONE) return false;
    if (sim_scope_usable(o->w, s->scope)) {
        if (shut) differs(o, "it is refused, but its scope %u is not shut", s->scope);
        return shut;
    }
    if (!shut && e != ERR_BLOB_NOT_FOUND)
        differs(o, "scope %u is shut: %s", s->scope, err_get(e)->name);
    return e != ERR_BLOB_NOT_FOUND;
}

static err look_at_current(watch *o) {
    const sim_blob *b = &o->w->blobs[o->at];
    arena *a = o->f->c.arena;
    store_blob g;
    slice data;
    err e = content_of(o, o->f->k, sim_name(o->at), STORE_CURRENT, &g, &data);
    if (refused(o, &b->now, e)) return OK;
    if (e == ERR_BLOB_NOT_FOUND) {
        if (b->now.kind != SIM_NONE) differs(o, "it is not there");
        return OK;
    }
    TRY(e);
    if (b->now.kind == SIM_NONE)
        differs(o, "it is there, %llu bytes", (unsigned long long)g.length);
    else if (g.type != type_of(b->now.kind))
        differs(o, "it is of type %d", g.type);
    else if (!slice_eq(data, sim_content(a, &b->now)))
        differs(o, "its %zu bytes are not the %zu that it should have", data.len,
                sim_content(a, &b->now).len);
    else if (!text_is(g.metadata, g.metadata_count, "k", b->now.meta, a))
        differs(o, "its metadata");
    else if (!text_is(g.tags, g.tag_count, "t", b->now.tag, a))
        differs(o, "its tags");
    else if (!slice_eq(g.lease.id, sim_lease(a, b->lease)))
        differs(o, "its lease");
    return OK;
}

static err look_at_staged(watch *o) {
    const sim_blob *b = &o->w->blobs[o->at];
    store_blob g;
    store_block *c, *u;
    size_t cn, un = 0, staged = 0;
    bool there;
    if (b->now.kind == SIM_APPEND || b->now.kind == SIM_PAGES) return OK;
    for (size_t i = 0; i < SIM_IDS; i++) staged += b->staged[i].id >= 0;
    err e = store_block_list_get(o->f->s, o->f->c, o->f->k, sim_name(o->at), STORE_CURRENT, NULL,
                                 true, true, &g, &there, &c, &cn, &u, &un);
    if (e == ERR_INVALID_BLOB_TYPE || e == ERR_BLOB_NOT_FOUND)
        un = 0;
    else
        TRY(e);
    if (un != staged) {
        differs(o, "%zu blocks are staged, not %zu", un, staged);
        return OK;
    }
    for (size_t i = 0, at = 0; i < SIM_IDS; i++) {
        if (b->staged[i].id < 0) continue;
        if (u[at].length != b->staged[i].len ||
            !slice_eq(u[at].id, arena_fmt(o->f->c.arena, "id%zu", i)))
            differs(o, "staged block %zu is another", i);
        at++;
    }
    return OK;
}

/* ---- the past: its states in no order, each as one number ---- */

#define LISTED_MAX 64
#define SHUT       0x5c09e /* in the place of the hash of content that nobody may read */

typedef struct listed {
    watch *o;
    uint64_t keys[LISTED_MAX];
    store_pick picks[LISTED_MAX]; /* of those that can be read */
    bool readable[LISTED_MAX];
    size_t count;
    bool current;
} listed;

static uint64_t past_key(char kind, bool deleted, uint64_t length, uint64_t meta) {
    return fault_mix(fault_mix((uint64_t)kind * 2 + deleted, length), meta);
}

static err list_one(void *ctx, const store_blob *g, slice prefix) {
    (void)prefix;
    listed *l = ctx;
    if (!slice_eq(g->name, sim_name(l->o->at))) return OK;
    if (g->current) {
        l->current = true;
        return OK;
    }
    if (l->count == LISTED_MAX) return OK;
    uint64_t meta = 0;
    if (g->metadata_count == 1) (void)!slice_u64(g->metadata[0].value, &meta);
    const bool deleted = g->until_us != STORE_TIME_NONE;
    const char kind = g->snapshot ? 's' : g->version ? 'v' : 'b';
    l->readable[l->count] = !deleted;
    l->picks[l->count] =
        (store_pick){.snapshot = g->snapshot, .version = g->snapshot ? 0 : g->version};
    l->keys[l->count++] = past_key(kind, deleted, g->length, meta);
    return OK;
}

static int by_number(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static err look_at_past(watch *o) {
    const sim_blob *b = &o->w->blobs[o->at];
    listed l = {.o = o};
    uint64_t wanted[SIM_PAST];
    store_blob_list q = {.prefix = sim_name(o->at),
                         .max = 100,
                         .snapshots = true,
                         .versions = true,
                         .deleted = true,
                         .metadata = true};
    do TRY(store_blob_scan(o->f->s, o->f->c, o->f->k, &q, list_one, &l, &q.marker));
    while (q.marker.len);
    if (l.current != (b->now.kind != SIM_NONE))
        differs(o, "the listing says otherwise whether it is there");
    for (size_t i = 0; i < l.count; i++) {
        store_blob g;
        slice data;
        if (!l.readable[i]) continue;
        err e = content_of(o, o->f->k, sim_name(o->at), l.picks[i], &g, &data);
        if (e == ERR_ENCRYPTION_SCOPE_DISABLED || e == ERR_KEY_DESTROYED) {
            l.keys[i] = fault_mix(l.keys[i], SHUT);
            continue;
        }
        TRY(e);
        l.keys[i] = fault_mix(l.keys[i], hash_of(data));
    }
    for (uint32_t i = 0; i < b->past_count; i++) {
        const sim_state *p = &b->past[i];
        const slice data = sim_content(o->f->c.arena, p);
        const uint64_t key = past_key(p->snapshot ? 's'
                                      : p->base   ? 'b'
                                                  : 'v',
                                      p->deleted, data.len, p->meta);
        const bool shut = !sim_scope_usable(o->w, p->scope);
        wanted[i] = p->deleted ? key : fault_mix(key, shut ? SHUT : hash_of(data));
    }
    if (l.count != b->past_count) {
        differs(o, "%zu states of the past, not %u", l.count, b->past_count);
        return OK;
    }
    qsort(l.keys, l.count, sizeof l.keys[0], by_number);
    qsort(wanted, l.count, sizeof wanted[0], by_number);
    if (l.count != 0 && memcmp(l.keys, wanted, l.count * sizeof wanted[0]) != 0)
        differs(o, "its past is another");
    return OK;
}

/* ---- encryption scopes ---- */

typedef struct scopes_met {
    watch *o;
    uint32_t count;
} scopes_met;

static void meet_scope(void *ctx, const store_scope *x) {
    scopes_met *m = ctx;
    const world *w = m->o->w;
    store_scope_state wanted = STORE_SCOPE_DESTROYED;
    uint64_t number = 0;
    m->count++;
    if (slice_u64(slice_skip(x->name, sizeof "scope-" - 1), &number) != OK || number == 0 ||
        number > w->scope_count)
        differs(m->o, "scope %.*s is there", SLICE_ARG(x->name));
    for (size_t i = 0; i < SIM_SCOPES; i++)
        if (w->scopes[i].number == number) wanted = w->scopes[i].state;
    if (x->state != wanted)
        differs(m->o, "scope %.*s is in state %d, not %d", SLICE_ARG(x->name), x->state, wanted);
}

static err look_at_scopes(watch *o) {
    scopes_met m = {.o = o};
    TRY(store_scope_list(o->f->s, o->f->c, o->f->a, meet_scope, &m));
    if (m.count != o->w->scope_count) differs(o, "%u scopes, not %u", m.count, o->w->scope_count);
    return OK;
}

/* ---- the second container ---- */

static err look_at_side(watch *o) {
    const store_container *k;
    err e = store_container_get(o->f->s, o->f->c, o->f->a, S("side"), &k);
    if (e == ERR_CONTAINER_NOT_FOUND) {
        if (o->w->side) differs(o, "the side container is not there");
        return OK;
    }
    TRY(e);
    store_blob g;
    slice data = SLICE_NONE, wanted = SLICE_NONE;
    const bool there = world_side_content(o->w, o->f->c.arena, &wanted);
    e = content_of(o, k, S("x"), STORE_CURRENT, &g, &data);
    store_container_unref(k);
    if (!o->w->side)
        differs(o, "the side container is there");
    else if (e == ERR_BLOB_NOT_FOUND ? there : e == OK && (!there || !slice_eq(data, wanted)))
        differs(o, "the side container holds something else");
    return e == ERR_BLOB_NOT_FOUND ? OK : e;
}

/* ---- the record: an entry of each operation that was done, and of no other ---- */

typedef struct entries {
    uint64_t count, hash;
} entries;

static err count_entry(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)private_part;
    entries *n = ctx;
    uint64_t number;
    TRY(slice_u64(entry, &number));
    ENSURE(index == n->count, ERR_CORRUPT, "entry %llu follows %llu", (unsigned long long)index,
           (unsigned long long)n->count);
    n->count++;
    n->hash = fault_mix(n->hash, number);
    return OK;
}

static err look_at_record(watch *o) {
    entries n = {0};
    engine *e = store_engine(o->f->s);
    TRY(engine_log_read(e, 0, engine_log_next(e), count_entry, &n));
    if (n.count != o->w->entries)
        differs(o, "%llu entries, not %llu", (unsigned long long)n.count,
                (unsigned long long)o->w->entries);
    else if (n.hash != o->w->entries_hash)
        differs(o, "the record is another");
    return OK;
}

err sim_observe(fixture *f, const world *w, bool *ret_same, char why[500]) {
    watch o = {.f = f, .w = w, .same = true, .why = why};
    for (o.at = 0; o.at < SIM_BLOBS && o.same; o.at++) {
        TRY(look_at_current(&o));
        TRY(look_at_staged(&o));
        TRY(look_at_past(&o));
    }
    if (o.same) TRY(look_at_scopes(&o));
    if (o.same) TRY(look_at_side(&o));
    if (o.same) TRY(look_at_record(&o));
    *ret_same = o.same;
    return OK;
}
