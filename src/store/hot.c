/* Small blobs that are read again and again, ready to send: their row and their opened content. The
 * bytes are in this process's memory only and are wiped when they leave the cache. */
#include "store/internal.h"

#define HOT_SHARDS  256
#define HOT_BUCKETS 64

void hot_init(hot_cache *h, uint64_t max_bytes) {
    cache_init(&h->cache, HOT_SHARDS, HOT_BUCKETS, max_bytes);
}

static void hot_free(snap *s) {
    hot_blob *b = (hot_blob *)s;
    crypto_wipe(b->plain, b->plain_len);
    free(b);
}

hot_blob *hot_get(hot_cache *h, slice base, uint64_t *ret_version) {
    return (hot_blob *)cache_get(&h->cache, base, ret_version);
}

bool hot_wants(hot_cache *h, slice base) {
    uint64_t hash = slice_hash(base);
    _Atomic uint16_t *slot = &h->seen[(hash >> 16) % HOT_SEEN];
    uint16_t tag = (uint16_t)hash;
    if (atomic_load_explicit(slot, memory_order_relaxed) == tag) return true;
    atomic_store_explicit(slot, tag, memory_order_relaxed);
    return false;
}

void hot_add(hot_cache *h, slice base, slice row, slice plain, uint64_t version) {
    size_t size = sizeof(hot_blob) + base.len + row.len + plain.len;
    hot_blob *b = malloc(size);
    MUST(b);
    *b = (hot_blob){.snap = {.cost = size, .free = hot_free}};
    atomic_init(&b->snap.refs, 1);
    uint8_t *p = (uint8_t *)(b + 1);
    memcpy(p, base.p, base.len);
    b->snap.key = slice_of(p, base.len);
    memcpy(p += base.len, row.p, row.len);
    b->row = slice_of(p, row.len);
    b->plain = p + row.len;
    b->plain_len = plain.len;
    if (plain.len) memcpy(b->plain, plain.p, plain.len);
    cache_add(&h->cache, &b->snap, version);
    snap_unref(&b->snap);
}
