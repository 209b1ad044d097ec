/* A bounded cache of immutable snapshots with reference counts. A reader takes a shard's lock
 * shared, and only for as long as it takes to count one reference. */
#include "store/internal.h"

void cache_init(cache *c, size_t shards, size_t buckets, size_t max_cost) {
    *c = (cache){.shard_count = shards, .bucket_count = buckets, .shard_max = max_cost / shards};
    c->shards = aligned_alloc(64, shards * sizeof *c->shards);
    MUST(c->shards);
    for (size_t i = 0; i < shards; i++) {
        c->shards[i] = (cache_shard){.buckets = calloc(buckets, sizeof(snap *))};
        MUST(c->shards[i].buckets);
        MUST(pthread_rwlock_init(&c->shards[i].lock, NULL) == 0);
    }
}

void snap_ref(snap *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void snap_unref(snap *s) {
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) s->free(s);
}

static cache_shard *shard_of(cache *c, uint64_t hash) {
    return &c->shards[hash % c->shard_count];
}
static snap **bucket_of(cache *c, cache_shard *sh, uint64_t hash) {
    return &sh->buckets[hash / c->shard_count % c->bucket_count];
}

snap *cache_get(cache *c, slice key, uint64_t *ret_version) {
    uint64_t hash = slice_hash(key);
    cache_shard *sh = shard_of(c, hash);
    pthread_rwlock_rdlock(&sh->lock);
    snap *s = *bucket_of(c, sh, hash);
    while (s && !(s->hash == hash && slice_eq(s->key, key))) s = s->next;
    if (s) snap_ref(s);
    if (!s && ret_version) *ret_version = sh->version;
    pthread_rwlock_unlock(&sh->lock);
    if (s && !atomic_load_explicit(&s->used, memory_order_relaxed))
        atomic_store_explicit(&s->used, true, memory_order_relaxed);
    return s;
}

/* Unlinks entries that were not used since the hand last came by, until `cost` more fits. Returns
 * them, chained. */
static snap *evict(cache *c, cache_shard *sh, size_t cost) {
    snap *out = NULL;
    for (size_t step = 0; step <= 2 * c->bucket_count && sh->cost + cost > c->shard_max; step++) {
        snap **at = &sh->buckets[sh->hand++ % c->bucket_count];
        while (*at && sh->cost + cost > c->shard_max) {
            snap *s = *at;
            if (atomic_exchange_explicit(&s->used, false, memory_order_relaxed)) {
                at = &s->next;
                continue;
            }
            *at = s->next;
            sh->cost -= s->cost;
            s->next = out;
            out = s;
        }
    }
    return out;
}

static void unref_all(snap *s) {
    while (s) {
        snap *next = s->next;
        snap_unref(s);
        s = next;
    }
}

static bool may_add(cache *c, cache_shard *sh, const snap *s, uint64_t version) {
    if (sh->version != version || sh->changing || s->cost > c->shard_max) return false;
    for (const snap *o = *bucket_of(c, sh, s->hash); o; o = o->next)
        if (o->hash == s->hash && slice_eq(o->key, s->key)) return false;
    return true;
}

void cache_add(cache *c, snap *s, uint64_t version) {
    s->hash = slice_hash(s->key);
    cache_shard *sh = shard_of(c, s->hash);
    snap *old = NULL;
    pthread_rwlock_wrlock(&sh->lock);
    if (may_add(c, sh, s, version)) {
        old = evict(c, sh, s->cost);
        snap **bucket = bucket_of(c, sh, s->hash);
        snap_ref(s);
        s->next = *bucket;
        *bucket = s;
        sh->cost += s->cost;
    }
    pthread_rwlock_unlock(&sh->lock);
    unref_all(old);
}

/* Unlinks what matches from one bucket and chains it to *out. */
static void unlink_matching(cache_shard *sh, snap **at, slice key, bool prefix, snap **out) {
    while (*at) {
        snap *s = *at;
        if (prefix ? slice_starts(s->key, key) : slice_eq(s->key, key)) {
            *at = s->next;
            s->next = *out;
            *out = s;
            sh->cost -= s->cost;
        } else {
            at = &s->next;
        }
    }
}

static void drop(cache *c, slice key, int changing) {
    uint64_t hash = slice_hash(key);
    cache_shard *sh = shard_of(c, hash);
    snap *out = NULL;
    pthread_rwlock_wrlock(&sh->lock);
    sh->version++;
    sh->changing += (unsigned)changing;
    unlink_matching(sh, bucket_of(c, sh, hash), key, false, &out);
    pthread_rwlock_unlock(&sh->lock);
    unref_all(out);
}

void cache_drop(cache *c, slice key) {
    drop(c, key, 0);
}
void cache_hold(cache *c, slice key) {
    drop(c, key, 1);
}
void cache_release(cache *c, slice key) {
    drop(c, key, -1);
}

void cache_drop_all(cache *c, slice prefix) {
    for (size_t i = 0; i < c->shard_count; i++) {
        cache_shard *sh = &c->shards[i];
        snap *out = NULL;
        pthread_rwlock_wrlock(&sh->lock);
        sh->version++;
        for (size_t b = 0; b < c->bucket_count && sh->cost > 0; b++)
            unlink_matching(sh, &sh->buckets[b], prefix, true, &out);
        pthread_rwlock_unlock(&sh->lock);
        unref_all(out);
    }
}

void cache_done(cache *c) {
    if (!c->shards) return;
    cache_drop_all(c, SLICE_NONE);
    for (size_t i = 0; i < c->shard_count; i++) {
        pthread_rwlock_destroy(&c->shards[i].lock);
        free(c->shards[i].buckets);
    }
    free(c->shards);
    c->shards = NULL;
}
