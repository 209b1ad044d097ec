/* Listing containers: a walk over those that are there and, where they are asked for, beside it one
 * over those that were deleted. */
#include "store/internal.h"

/* Where a page begins: a name, and among the containers of that name a deleted one (version), or
 * the one that has it now (0). Markers are NAME or NAME/VERSION. */
typedef struct place {
    slice name;
    uint64_t version;
} place;

typedef struct lane {
    engine_cursor *cur; /* NULL: not asked for */
    slice value;
    place at;
    bool more;
} lane;

typedef struct page {
    store *s;
    store_call c;
    const store_account *a;
    const store_container_list *q;
    lane lanes[2]; /* those there, those deleted */
    arena *scratch;
} page;

/* No name is longer than 63 bytes. */
static bool could_begin_name(slice s) {
    return s.len == 0 || (s.len <= 63 && slice_find(s, 0, 0) == s.len);
}

static err marker_read(slice marker, place *ret) {
    size_t slash = slice_find(marker, 0, '/');
    slice hex = slice_skip(marker, slash + 1);
    uint64_t v = 0;
    bool fine =
        could_begin_name(slice_take(marker, slash)) && (slash == marker.len || hex.len == 16);
    for (size_t i = 0; fine && i < hex.len; i++) {
        uint8_t c = hex.p[i];
        fine = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'A' + 10);
    }
    ENSURE(fine, ERR_OUT_OF_RANGE_INPUT, "marker is not one that a listing gave");
    *ret = (place){slice_take(marker, slash), v};
    return OK;
}

static slice marker_write(arena *a, place at) {
    return at.version
               ? arena_fmt(a, "%.*s/%016llX", SLICE_ARG(at.name), (unsigned long long)at.version)
               : arena_dup(a, at.name);
}

static bool is_system(slice name) {
    return slice_eq(name, S("$logs")) || slice_eq(name, S("$blobchangefeed"));
}

static err lane_next(const page *p, lane *l) {
    for (;;) {
        slice key;
        TRY(engine_cursor_next(l->cur, &key, &l->value, &l->more));
        if (!l->more) return OK;
        slice rest = slice_skip(key, 1 + KEY_ID_LEN);
        l->at = (place){rest, 0};
        if (key.p[0] == 'd') TRY(key_deleted_take(rest, &l->at.name, &l->at.version));
        if (p->q->system || !is_system(l->at.name)) return OK;
    }
}

static err lane_open(page *p, lane *l, const short_key *lower, short_key *upper) {
    key_end(upper);
    TRY(engine_scan(p->s->engine, ENGINE_META, key_slice(lower), key_slice(upper), &l->cur));
    return lane_next(p, l);
}

static err open_lanes(page *p, place from) {
    uint64_t id = p->a->id;
    short_key lower, upper;
    if (slice_cmp(from.name, p->q->prefix) < 0) from = (place){p->q->prefix, 0};
    key_container(&upper, id, p->q->prefix);
    key_container(&lower, id, from.name);
    /* Behind the one that has the name: no name goes on with this byte. */
    if (from.version) lower.b[lower.len++] = 0x01;
    TRY(lane_open(p, &p->lanes[0], &lower, &upper));
    if (!p->q->deleted) return OK;
    key_deleted(&upper, id, p->q->prefix, 0);
    key_deleted(&lower, id, from.name, from.version);
    return lane_open(p, &p->lanes[1], &lower, &upper);
}

/* The lane whose entry comes first; NULL at the end. */
static lane *first_lane(page *p) {
    lane *now = &p->lanes[0], *gone = &p->lanes[1];
    if (!now->more || !gone->more) return now->more ? now : gone->more ? gone : NULL;
    return slice_cmp(now->at.name, gone->at.name) <= 0 ? now : gone;
}

static err list_one(page *p, const lane *l, err (*each)(void *ctx, const store_container *k),
                    void *ctx) {
    arena_reset(p->scratch);
    store_container k;
    row_container row;
    TRY(container_decode(p->scratch, p->a->name, l->at.name, l->value, &k, &row));
    k.version = l->at.version;
    if (!p->q->metadata) k.metadata_count = 0;
    return each(ctx, &k);
}

static err walk(page *p, err (*each)(void *ctx, const store_container *k), void *ctx,
                slice *ret_next) {
    for (size_t n = 0;; n++) {
        lane *l = first_lane(p);
        if (!l) return OK;
        err e = n < p->q->max ? list_one(p, l, each, ctx) : ERR_TOO_LARGE;
        if (e == ERR_TOO_LARGE) {
            *ret_next = marker_write(p->c.arena, l->at);
            return OK;
        }
        TRY(e);
        TRY(lane_next(p, l));
    }
}

err store_container_scan(store *s, store_call c, const store_account *a,
                         const store_container_list *q,
                         err (*each)(void *ctx, const store_container *k), void *ctx,
                         slice *ret_next) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(q->max >= 1 && q->max <= STORE_LIST_MAX, ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE,
           "maxresults is 1 to %d", STORE_LIST_MAX);
    *ret_next = SLICE_NONE;
    if (!could_begin_name(q->prefix)) return OK;
    place from;
    TRY(marker_read(q->marker, &from));
    page p = {.s = s, .c = c, .a = a, .q = q, .scratch = arena_new(4096, 1 << 20)};
    err e = open_lanes(&p, from);
    if (e == OK) e = walk(&p, each, ctx, ret_next);
    for (size_t i = 0; i < ARRAY_LEN(p.lanes); i++) engine_cursor_free(p.lanes[i].cur);
    arena_free(p.scratch);
    return e;
}
