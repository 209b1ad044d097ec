/* Where a log begins whose first entries were removed (https://c2sp.org/tlog-tiles, Pruning): the minimum index, what
 * of the tree before it is needed to go on, and the entry that tells of the removal.
 *
 * The specification names no place for the minimum index yet; ours is the file minimum-index beside the checkpoint: the
 * number and a newline. It is not signed and need not be: what it says must be told by an entry of the log, too. */
#include "audit/internal.h"

#define NUMBER_MAX 24

err audit_read_minimum(const audit_source *s, arena *a, const audit_checkpoint *c, uint64_t *ret) {
    slice text;
    uint64_t n;
    *ret = 0;
    err e = s->get(s->ctx, a, "minimum-index", NUMBER_MAX, &text);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    ENSURE(slice_ends(text, S("\n")) && text_number(slice_take(text, text.len - 1), &n) == OK &&
               n % AUDIT_TILE_WIDTH == 0 && (n == 0 || n < c->size),
           ERR_CORRUPT, "minimum-index is not the number of an entry where a bundle begins");
    *ret = n;
    return OK;
}

bool announces_minimum(slice entry, uint64_t minimum) {
    char want[64];
    snprintf(want, sizeof want, "\"retention\":{\"before\":%llu,", (unsigned long long)minimum);
    return slice_starts(entry, S("{\"action\":\"" REMOVE_ACTION "\",")) &&
           slice_find_slice(entry, 0, slice_str(want)) < entry.len;
}

/* ---- the edge ---- */

/* How many hashes of level `at` stand in its last tile that is not full, in a tree of `size`; ret_index: that tile. */
static unsigned edge_width(int at, uint64_t size, uint64_t *ret_index) {
    const unsigned bits = 8 * (unsigned)at;
    *ret_index = bits + 8 < 64 ? size >> (bits + 8) : 0;
    return (unsigned)(size >> bits & (AUDIT_TILE_WIDTH - 1));
}

err edge_read(const audit_source *s, arena *a, uint64_t minimum, uint64_t size, tree_edge *ret) {
    *ret = (tree_edge){.size = minimum};
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++) {
        audit_tile t = {.level = at};
        ret->count[at] = edge_width(at, minimum, &t.index);
        if (ret->count[at] == 0) continue;
        const size_t want = (size_t)ret->count[at] * AUDIT_HASH_LEN;
        slice data;
        t.width = audit_tile_width(at, t.index, size);
        MUST(t.width >= ret->count[at]);
        TRY(tile_read(s, a, &t, &data));
        if (data.len < want) return tile_misfit(&t, "is cut short");
        memcpy(ret->hash[at], data.p, want);
    }
    return OK;
}

void edge_put(buf *out, const tree_edge *e) {
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++)
        buf_put(out, slice_of(e->hash[at], (size_t)e->count[at] * AUDIT_HASH_LEN));
}

err edge_parse(slice in, uint64_t minimum, tree_edge *ret) {
    uint64_t index;
    *ret = (tree_edge){.size = minimum};
    ENSURE(minimum % AUDIT_TILE_WIDTH == 0, ERR_CORRUPT, "the record's edge: %llu entries",
           (unsigned long long)minimum);
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++) {
        slice hashes;
        ret->count[at] = edge_width(at, minimum, &index);
        TRY(cur_take(&in, (size_t)ret->count[at] * AUDIT_HASH_LEN, &hashes));
        if (hashes.len > 0) memcpy(ret->hash[at], hashes.p, hashes.len);
    }
    ENSURE(in.len == 0, ERR_CORRUPT, "the record's edge is too long");
    return OK;
}

void edge_tree(const tree_edge *e, audit_tree *ret) {
    *ret = (audit_tree){.size = e->size};
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++) {
        audit_tree part = {0};
        for (unsigned i = 0; i < e->count[at]; i++) audit_tree_append(&part, &e->hash[at][i]);
        for (unsigned bit = 0; bit < 8; bit++)
            if (e->count[at] >> bit & 1) ret->edge[8 * (unsigned)at + bit] = part.edge[bit];
    }
}
