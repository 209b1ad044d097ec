/* Receipts for one entry (https://c2sp.org/tlog-proof): made of a published log, read, checked. */
#include "audit/internal.h"

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
    TRY(tile_read(h->s, h->a, &t, &data));
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
    TRY(tile_read(s, a, &t, &bundle));
    for (uint64_t i = 0; i <= index % AUDIT_TILE_WIDTH; i++) {
        if (bundle_next(&bundle, ret) != OK) return tile_misfit(&t, "is cut short");
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
    uint64_t minimum;
    TRY(audit_read_minimum(s, a, c, &minimum));
    ENSURE(index >= minimum, ERR_NOT_FOUND,
           "entry %llu was removed by retention: the record begins at entry %llu",
           (unsigned long long)index, (unsigned long long)minimum);
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

err audit_prove_growth(const audit_source *s, arena *a, uint64_t old_size, uint64_t size,
                       audit_hash *ret, size_t *ret_count) {
    tile_hashes t = {.s = s, .size = size, .a = a};
    const audit_hashes h = {&t, hash_from_tile};
    return audit_prove_consistency(&h, old_size, size, ret, ret_count);
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

/* ---- reading one ---- */

static err take_proof_line(slice *in, slice *ret) {
    const size_t at = slice_find(*in, 0, '\n');
    ENSURE(at < in->len, ERR_INVALID_INPUT, "the receipt ends in the middle");
    *ret = slice_take(*in, at);
    *in = slice_skip(*in, at + 1);
    return OK;
}

err audit_proof_parse(arena *a, slice in, audit_proof *ret) {
    slice line;
    *ret = (audit_proof){0};
    TRY(take_proof_line(&in, &line));
    ENSURE(slice_eq(line, S("c2sp.org/tlog-proof@v1")), ERR_INVALID_INPUT,
           "a receipt begins with c2sp.org/tlog-proof@v1");
    TRY(take_proof_line(&in, &line));
    if (slice_starts(line, S("extra "))) {
        ENSURE(base64_get(a, slice_skip(line, 6), &ret->entry) == OK, ERR_INVALID_INPUT,
               "the receipt's extra data is not base64");
        TRY(take_proof_line(&in, &line));
    }
    ENSURE(slice_starts(line, S("index ")), ERR_INVALID_INPUT, "the receipt names no index");
    TRY(text_number(slice_skip(line, 6), &ret->index));
    for (;;) {
        TRY(take_proof_line(&in, &line));
        if (line.len == 0) break;
        ENSURE(ret->count < AUDIT_PROOF_HASHES, ERR_INVALID_INPUT,
               "the receipt has too many hashes");
        TRY(text_hash(line, &ret->hash[ret->count]));
        ret->count++;
    }
    ret->note = in;
    return OK;
}
