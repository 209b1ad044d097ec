/* Reading a published log: from where, whether all of it fits, and a receipt for one entry. */
#include <errno.h>
#include <fcntl.h>

#include "audit/audit.h"

#define PROGRESS_STEP  4096 /* entries */
#define NOTE_ARENA     (256u << 10)
#define STEP_ARENA     (4u << 20)
#define STEP_ARENA_MAX (40u << 20) /* a bundle and a tile */

/* ---- a folder ---- */

static err read_all(const io *f, int fd, arena *a, size_t max, slice *ret) {
    uint64_t size, allocated;
    int r = f->stat(f, fd, &size, &allocated);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "stat");
    ENSURE(size <= max, ERR_CORRUPT, "it has %llu bytes, more than any such file",
           (unsigned long long)size);
    uint8_t *p = arena_alloc(a, size > 0 ? size : 1);
    int64_t n = f->pread(f, fd, p, size, 0);
    if (n < 0) return err_fail_errno(ERR_IO, (int)-n, "read");
    *ret = slice_of(p, (size_t)n);
    return OK;
}

static err folder_get(void *ctx, arena *a, const char *path, size_t max, slice *ret) {
    const io *f = io_in_use();
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", (const char *)ctx, path);
    int fd = f->open(f, AT_FDCWD, full, O_RDONLY);
    if (fd == -ENOENT || fd == -ENOTDIR) return err_fail(ERR_NOT_FOUND, "%s is not there", full);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s", full);
    err e = read_all(f, fd, a, max, ret);
    f->close(f, fd);
    if (e == OK) return OK;
    char why[256];
    snprintf(why, sizeof why, "%s", err_detail());
    return err_fail(e, "%s: %s", full, why);
}

audit_source audit_folder(const char *path) {
    union {
        const char *in;
        void *out;
    } u = {.in = path}; /* folder_get only reads it */
    return (audit_source){.ctx = u.out, .get = folder_get};
}

static err get_tile(const audit_source *s, arena *a, const audit_tile *t, slice *ret) {
    char path[AUDIT_PATH_MAX];
    buf b;
    buf_init_fixed(&b, path, sizeof path - 1);
    audit_tile_path(&b, t);
    path[b.len] = '\0';
    const size_t max = t->level == AUDIT_ENTRIES ? AUDIT_BUNDLE_MAX : AUDIT_TILE_BYTES;
    err e = s->get(s->ctx, a, path, max, ret);
    if (e == ERR_NOT_FOUND &&
        t->width < AUDIT_TILE_WIDTH) { /* the full one may have taken its place */
        const audit_tile full = {t->level, t->index, AUDIT_TILE_WIDTH};
        return get_tile(s, a, &full, ret);
    }
    if (e == ERR_NOT_FOUND) return err_fail(ERR_CORRUPT, "%s is missing", path);
    return e;
}

/* ---- the checkpoint ---- */

err audit_read_checkpoint(const audit_source *s, arena *a, const audit_verifier *v,
                          audit_checkpoint *ret, slice *ret_note) {
    slice raw;
    TRY(s->get(s->ctx, a, "checkpoint", AUDIT_CHECKPOINT_MAX, &raw));
    audit_note *n = arena_alloc(a, sizeof *n);
    char why[400];
    err e = audit_note_parse(a, raw, n);
    if (e == OK) e = audit_checkpoint_parse(n->text, ret);
    if (e == OK) e = audit_note_verify(n, v, NULL);
    if (e != OK) {
        snprintf(why, sizeof why, "%s", err_detail());
        return err_fail(ERR_CORRUPT, "the checkpoint is not to be trusted: %s", why);
    }
    ENSURE(slice_eq(ret->origin, v->name), ERR_CORRUPT,
           "the checkpoint is of the log '%.*s', not of '%.*s'", SLICE_ARG(ret->origin),
           SLICE_ARG(v->name));
    *ret_note = raw;
    return OK;
}

/* ---- all of it ---- */

typedef struct verifying {
    const audit_source *s;
    const audit_checkpoint *c;
    void (*progress)(void *ctx, uint64_t done);
    engine_log_each *each;
    void *ctx;
    audit_report *report;
    audit_tree tree;
    /* The hashes of full tiles that the level above is made of. */
    audit_hash above[AUDIT_TILE_LEVELS][AUDIT_TILE_WIDTH];
    unsigned above_count[AUDIT_TILE_LEVELS];
    uint64_t above_index[AUDIT_TILE_LEVELS];
} verifying;

static err tile_misfit(const audit_tile *t, const char *what) {
    char path[AUDIT_PATH_MAX];
    buf b;
    buf_init_fixed(&b, path, sizeof path - 1);
    audit_tile_path(&b, t);
    path[b.len] = '\0';
    return err_fail(ERR_CORRUPT, "%s %s", path, what);
}

static void hashes_root(const audit_hash *h, unsigned n, audit_hash *ret) {
    audit_tree t = {0};
    for (unsigned i = 0; i < n; i++) audit_tree_append(&t, &h[i]);
    audit_tree_root(&t, ret);
}

/* A tile of a level above the leaves, whose hashes were computed from what is below it. */
static err check_upper(verifying *v, arena *a, int at) {
    const unsigned width = v->above_count[at];
    const audit_tile t = {at, v->above_index[at], width};
    slice data;
    TRY(get_tile(v->s, a, &t, &data));
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
    uint16_t len;
    slice entry;
    if (cur_be16(bundle, &len) != OK || cur_take(bundle, len, &entry) != OK)
        return err_fail(ERR_CORRUPT, "entry %llu is missing: its bundle is cut short",
                        (unsigned long long)index);
    audit_leaf_hash(entry, ret);
    ENSURE(memcmp(ret->b, want, sizeof ret->b) == 0, ERR_CORRUPT,
           "entry %llu is not the one that was logged: its hash is not that of its tile",
           (unsigned long long)index);
    audit_tree_append(&v->tree, ret);
    return v->each ? v->each(v->ctx, index, entry, SLICE_NONE) : OK;
}

/* Bundle and leaf tile of one number, `width` wide. */
static err check_leaves(verifying *v, arena *a, uint64_t index, unsigned width) {
    const audit_tile hashes = {0, index, width}, entries = {AUDIT_ENTRIES, index, width};
    slice tile, bundle;
    TRY(get_tile(v->s, a, &hashes, &tile));
    TRY(get_tile(v->s, a, &entries, &bundle));
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

static err check_all(verifying *v, arena *a) {
    const uint64_t size = v->c->size;
    for (uint64_t done = 0; done < size; done += AUDIT_TILE_WIDTH) {
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

/* ---- receipts ---- */

typedef struct tile_hashes {
    const audit_source *s;
    uint64_t size;
    arena *a;
} tile_hashes;

/* The root of 2^(height % 8) neighbours in a tile of level height / 8. */
static err hash_from_tile(void *ctx, unsigned height, uint64_t index, audit_hash *ret) {
    const tile_hashes *h = ctx;
    const int at = (int)(height / 8);
    const unsigned count = 1u << (height % 8);
    const uint64_t first = index << (height % 8);
    const audit_tile t = {at, first / AUDIT_TILE_WIDTH,
                          audit_tile_width(at, first / AUDIT_TILE_WIDTH, h->size)};
    const size_t offset = (size_t)(first % AUDIT_TILE_WIDTH) * AUDIT_HASH_LEN;
    slice data;
    TRY(get_tile(h->s, h->a, &t, &data));
    if (data.len < offset + (size_t)count * AUDIT_HASH_LEN) return tile_misfit(&t, "is cut short");
    audit_hash hashes[AUDIT_TILE_WIDTH];
    memcpy(hashes, data.p + offset, (size_t)count * AUDIT_HASH_LEN);
    hashes_root(hashes, count, ret);
    return OK;
}

static err entry_at(const audit_source *s, arena *a, uint64_t index, uint64_t size, slice *ret) {
    const audit_tile t = {AUDIT_ENTRIES, index / AUDIT_TILE_WIDTH,
                          audit_tile_width(0, index / AUDIT_TILE_WIDTH, size)};
    slice bundle;
    TRY(get_tile(s, a, &t, &bundle));
    for (uint64_t i = 0; i <= index % AUDIT_TILE_WIDTH; i++) {
        uint16_t len;
        if (cur_be16(&bundle, &len) != OK || cur_take(&bundle, len, ret) != OK)
            return tile_misfit(&t, "is cut short");
    }
    return OK;
}

err audit_prove(const audit_source *s, arena *a, uint64_t index, const audit_checkpoint *c,
                slice note, buf *out) {
    ENSURE(index < c->size, ERR_NOT_FOUND,
           "entry %llu is not in the log: its checkpoint covers %llu entries",
           (unsigned long long)index, (unsigned long long)c->size);
    tile_hashes t = {.s = s, .size = c->size, .a = a};
    const audit_hashes h = {&t, hash_from_tile};
    audit_hash proof[AUDIT_PROOF_HASHES], leaf;
    size_t count;
    slice entry;
    TRY(entry_at(s, a, index, c->size, &entry));
    TRY(audit_prove_inclusion(&h, index, c->size, proof, &count));
    audit_leaf_hash(entry, &leaf);
    ENSURE(audit_inclusion_holds(&leaf, index, c->size, proof, count, &c->root), ERR_CORRUPT,
           "entry %llu and its tiles do not lead to the checkpoint: verify the log",
           (unsigned long long)index);
    buf_str(out, "c2sp.org/tlog-proof@v1\nextra ");
    base64_put(out, entry);
    buf_fmt(out, "\nindex %llu\n", (unsigned long long)index);
    for (size_t i = 0; i < count; i++) {
        base64_put(out, slice_of(proof[i].b, sizeof proof[i].b));
        buf_byte(out, '\n');
    }
    buf_byte(out, '\n');
    buf_put(out, note);
    return buf_check(out);
}

err audit_proof_check(arena *a, const audit_proof *p, slice entry, const audit_verifier *v,
                      audit_checkpoint *ret) {
    audit_note *n = arena_alloc(a, sizeof *n);
    audit_hash leaf;
    TRY(audit_note_parse(a, p->note, n));
    err e = audit_note_verify(n, v, NULL);
    if (e == ERR_NOT_FOUND)
        return err_fail(ERR_CORRUPT, "the receipt is not signed by %.*s", SLICE_ARG(v->name));
    TRY(e);
    TRY(audit_checkpoint_parse(n->text, ret));
    ENSURE(slice_eq(ret->origin, v->name), ERR_CORRUPT, "the receipt is of the log '%.*s'",
           SLICE_ARG(ret->origin));
    audit_leaf_hash(entry, &leaf);
    ENSURE(
        audit_inclusion_holds(&leaf, p->index, ret->size, p->hash, p->count, &ret->root),
        ERR_CORRUPT,
        "the entry is not in the log that was signed: its proof does not lead to the checkpoint");
    return OK;
}
