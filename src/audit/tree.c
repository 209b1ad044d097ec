/* The Merkle tree of RFC 6962, 2.1: hashes, the growing edge, proofs. */
#include "audit/internal.h"

void audit_leaf_hash(slice entry, audit_hash *ret) {
    const slice parts[] = {slice_of("\0", 1), entry};
    crypto_sha256_parts(parts, ARRAY_LEN(parts), ret->b);
}

void audit_node_hash(const audit_hash *left, const audit_hash *right, audit_hash *ret) {
    const slice parts[] = {slice_of("\1", 1), slice_of(left->b, sizeof left->b),
                           slice_of(right->b, sizeof right->b)};
    crypto_sha256_parts(parts, ARRAY_LEN(parts), ret->b);
}

/* ---- the edge ---- */

void audit_tree_append(audit_tree *t, const audit_hash *leaf) {
    audit_hash h = *leaf;
    unsigned level = 0;
    for (uint64_t n = t->size; n & 1; n >>= 1, level++) audit_node_hash(&t->edge[level], &h, &h);
    t->edge[level] = h;
    t->size++;
}

void audit_tree_root(const audit_tree *t, audit_hash *ret) {
    bool any = false;
    audit_hash h;
    if (t->size == 0) {
        crypto_sha256(SLICE_NONE, ret->b);
        return;
    }
    for (unsigned level = 0; level < 64; level++) {
        if ((t->size >> level & 1) == 0) continue;
        if (any)
            audit_node_hash(&t->edge[level], &h, &h);
        else
            h = t->edge[level];
        any = true;
    }
    *ret = h;
}

void hashes_root(const audit_hash *h, size_t n, audit_hash *ret) {
    audit_tree t = {0};
    for (size_t i = 0; i < n; i++) audit_tree_append(&t, &h[i]);
    audit_tree_root(&t, ret);
}

/* ---- proofs ---- */

/* The largest power of two below n (n > 1). */
static uint64_t split_of(uint64_t n) {
    return 1ull << (63 - __builtin_clzll(n - 1));
}

/* MTH(D[low:high]) out of complete subtrees. low is a multiple of the largest power of two below
 * high - low, so the left halves are complete and aligned. */
static err range_hash(const audit_hashes *h, uint64_t low, uint64_t high, audit_hash *ret) {
    const uint64_t n = high - low;
    if ((n & (n - 1)) == 0) {
        const unsigned height = (unsigned)__builtin_ctzll(n);
        return h->get(h->ctx, height, low >> height, ret);
    }
    const uint64_t k = split_of(n);
    audit_hash left, right;
    TRY(range_hash(h, low, low + k, &left));
    TRY(range_hash(h, low + k, high, &right));
    audit_node_hash(&left, &right, ret);
    return OK;
}

typedef struct proving {
    const audit_hashes *h;
    audit_hash *out;
    size_t count;
} proving;

static err add_range(proving *p, uint64_t low, uint64_t high) {
    MUST(p->count < AUDIT_PROOF_HASHES);
    TRY(range_hash(p->h, low, high, &p->out[p->count]));
    p->count++;
    return OK;
}

/* PATH(m, D[low:high]) of RFC 6962, 2.1.1: the sibling of each step down, the deepest first. */
static err add_path(proving *p, uint64_t index, uint64_t low, uint64_t high) {
    if (high - low == 1) return OK;
    const uint64_t middle = low + split_of(high - low);
    if (index < middle) {
        TRY(add_path(p, index, low, middle));
        return add_range(p, middle, high);
    }
    TRY(add_path(p, index, middle, high));
    return add_range(p, low, middle);
}

err audit_prove_inclusion(const audit_hashes *h, uint64_t index, uint64_t size, audit_hash *ret,
                          size_t *ret_count) {
    MUST(index < size);
    proving p = {.h = h, .out = ret};
    TRY(add_path(&p, index, 0, size));
    *ret_count = p.count;
    return OK;
}

/* SUBPROOF(m, D[low:high], whole) of RFC 6962, 2.1.2. */
static err add_subproof(proving *p, uint64_t old_size, uint64_t low, uint64_t high, bool whole) {
    if (old_size == high) return whole ? OK : add_range(p, low, high);
    const uint64_t middle = low + split_of(high - low);
    if (old_size <= middle) {
        TRY(add_subproof(p, old_size, low, middle, whole));
        return add_range(p, middle, high);
    }
    TRY(add_subproof(p, old_size, middle, high, false));
    return add_range(p, low, middle);
}

err audit_prove_consistency(const audit_hashes *h, uint64_t old_size, uint64_t size,
                            audit_hash *ret, size_t *ret_count) {
    MUST(old_size > 0 && old_size <= size);
    proving p = {.h = h, .out = ret};
    TRY(add_subproof(&p, old_size, 0, size, true));
    *ret_count = p.count;
    return OK;
}

/* RFC 9162, 2.1.3.2. */
bool audit_inclusion_holds(const audit_hash *leaf, uint64_t index, uint64_t size,
                           const audit_hash *proof, size_t count, const audit_hash *root) {
    if (index >= size) return false;
    uint64_t fn = index, sn = size - 1;
    audit_hash r = *leaf;
    for (size_t i = 0; i < count; i++) {
        if (sn == 0) return false;
        if ((fn & 1) != 0 || fn == sn) {
            audit_node_hash(&proof[i], &r, &r);
            while ((fn & 1) == 0 && fn != 0) fn >>= 1, sn >>= 1;
        } else {
            audit_node_hash(&r, &proof[i], &r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(r.b, root->b, sizeof r.b) == 0;
}
