/* Whether all of a published log fits together. */
#include "audit/internal.h"

#define PROGRESS_STEP  4096 /* entries */
#define STEP_ARENA     (4u << 20)
#define STEP_ARENA_MAX (40u << 20) /* a bundle and a tile */

typedef struct verifying {
    const audit_source *s;
    const audit_checkpoint *c;
    void (*progress)(void *ctx, uint64_t done);
    engine_log_each *each;
    void *ctx;
    audit_report *report;
    audit_tree tree;
    bool announced; /* an entry tells of the removal of what is not there */
    /* The hashes of full tiles that the level above is made of. */
    audit_hash above[AUDIT_TILE_LEVELS][AUDIT_TILE_WIDTH];
    unsigned above_count[AUDIT_TILE_LEVELS];
    uint64_t above_index[AUDIT_TILE_LEVELS];
} verifying;

/* A tile of a level above the leaves, whose hashes were computed from what is below it. */
static err check_upper(verifying *v, arena *a, int at) {
    const unsigned width = v->above_count[at];
    const audit_tile t = {at, v->above_index[at], width};
    slice data;
    TRY(tile_read(v->s, a, &t, &data));
    if (data.len < (size_t)width * AUDIT_HASH_LEN ||
        memcmp(data.p, v->above[at], (size_t)width * AUDIT_HASH_LEN) != 0)
        return tile_misfit(&t, "is not made of the tiles below it");
    v->report->tiles++;
    v->report->bytes += data.len;
    return OK;
}

static err add_above(verifying *v, arena *a, int at, const audit_hash *h) {
    MUST(at < AUDIT_TILE_LEVELS);
    v->above[at][v->above_count[at]++] = *h;
    if (v->above_count[at] < AUDIT_TILE_WIDTH) return OK;
    audit_hash root;
    TRY(check_upper(v, a, at));
    hashes_root(v->above[at], AUDIT_TILE_WIDTH, &root);
    v->above_count[at] = 0;
    v->above_index[at]++;
    return add_above(v, a, at + 1, &root);
}

static err check_entry(verifying *v, uint64_t index, slice *bundle, const uint8_t *want,
                       audit_hash *ret) {
    slice entry;
    if (bundle_next(bundle, &entry) != OK)
        return err_fail(ERR_CORRUPT, "entry %llu is missing: its bundle is cut short",
                        (unsigned long long)index);
    audit_leaf_hash(entry, ret);
    ENSURE(memcmp(ret->b, want, sizeof ret->b) == 0, ERR_CORRUPT,
           "entry %llu is not the one that was logged: its hash is not that of its tile",
           (unsigned long long)index);
    audit_tree_append(&v->tree, ret);
    if (!v->announced) v->announced = announces_minimum(entry, v->report->minimum);
    return v->each ? v->each(v->ctx, index, entry, SLICE_NONE) : OK;
}

/* Bundle and leaf tile of one number, `width` wide. */
static err check_leaves(verifying *v, arena *a, uint64_t index, unsigned width) {
    const audit_tile hashes = {0, index, width}, entries = {AUDIT_ENTRIES, index, width};
    slice tile, bundle;
    TRY(tile_read(v->s, a, &hashes, &tile));
    TRY(tile_read(v->s, a, &entries, &bundle));
    if (tile.len < (size_t)width * AUDIT_HASH_LEN) return tile_misfit(&hashes, "is cut short");
    v->report->bytes += tile.len + bundle.len;
    audit_hash leaf, *all = arena_alloc(a, width * sizeof *all);
    for (unsigned i = 0; i < width; i++) {
        TRY(check_entry(v, index * AUDIT_TILE_WIDTH + i, &bundle,
                        tile.p + (size_t)i * AUDIT_HASH_LEN, &leaf));
        all[i] = leaf;
    }
    if (width == AUDIT_TILE_WIDTH && (bundle.len > 0 || tile.len > (size_t)width * AUDIT_HASH_LEN))
        return tile_misfit(&entries, "holds more than its entries");
    v->report->tiles++;
    v->report->bundles++;
    v->report->entries += width;
    if (width < AUDIT_TILE_WIDTH) return OK;
    audit_hash root;
    hashes_root(all, width, &root);
    return add_above(v, a, 1, &root);
}

/* Goes on from the tree of what was removed. Its hashes are believed for now: only the right ones lead to the root. */
static err begin_at_minimum(verifying *v, arena *a) {
    const uint64_t minimum = v->report->minimum;
    v->announced = minimum == 0;
    if (minimum == 0) return OK;
    tree_edge *e = arena_alloc(a, sizeof *e);
    TRY(edge_read(v->s, a, minimum, v->c->size, e));
    edge_tree(e, &v->tree);
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++) {
        memcpy(v->above[at], e->hash[at], sizeof v->above[at]);
        v->above_count[at] = e->count[at];
        v->above_index[at] = at + 1 < AUDIT_TILE_LEVELS ? minimum >> (8 * (at + 1)) : 0;
    }
    return OK;
}

static err check_all(verifying *v, arena *a) {
    const uint64_t size = v->c->size;
    TRY(audit_read_minimum(v->s, a, v->c, &v->report->minimum));
    TRY(begin_at_minimum(v, a));
    for (uint64_t done = v->report->minimum; done < size; done += AUDIT_TILE_WIDTH) {
        const uint64_t index = done / AUDIT_TILE_WIDTH;
        arena_reset(a);
        TRY(check_leaves(v, a, index, audit_tile_width(0, index, size)));
        if (v->progress && done % PROGRESS_STEP == 0) v->progress(v->ctx, done);
    }
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++) {
        arena_reset(a);
        if (v->above_count[at] > 0) TRY(check_upper(v, a, at));
    }
    audit_hash root;
    audit_tree_root(&v->tree, &root);
    ENSURE(memcmp(root.b, v->c->root.b, sizeof root.b) == 0, ERR_CORRUPT,
           "the log's entries and tiles fit together, but the checkpoint was signed over others");
    ENSURE(v->announced, ERR_CORRUPT,
           "entries before %llu are not there, and no entry tells that retention removed them",
           (unsigned long long)v->report->minimum);
    if (v->progress) v->progress(v->ctx, size);
    return OK;
}

err audit_verify(const audit_source *s, const audit_checkpoint *c,
                 void (*progress)(void *ctx, uint64_t done), engine_log_each *each, void *ctx,
                 audit_report *ret) {
    verifying *v = calloc(1, sizeof *v);
    MUST(v != NULL);
    *ret = (audit_report){0};
    v->s = s;
    v->c = c;
    v->progress = progress;
    v->each = each;
    v->ctx = ctx;
    v->report = ret;
    arena *a = arena_new(STEP_ARENA, STEP_ARENA_MAX);
    err e = check_all(v, a);
    arena_free(a);
    free(v);
    return e;
}
