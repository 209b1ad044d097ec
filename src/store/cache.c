/* A bounded cache of immutable snapshots with reference counts. A reader takes a shard's lock
 * shared, and only for as long as it takes to count one reference. */
#include "store/internal.h"

void cache_init(cache *c, size_t max) {
    *c = (cache){.shard_max = max / CACHE_SHARDS ? max / CACHE_SHARDS : 1};
    for (size_t i = 0; i < CACHE_SHARDS; i++)
        MUST(pthread_rwlock_init(&c->shards[i].lock, NULL) == 0);
}

void snap_ref(snap *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void snap_unref(snap *s) {
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) s->free(s);
}

static cache_shard *shard_of(cache *c, uint64_t hash) {
    return &c->shards[hash % CACHE_SHARDS];
}
static snap **bucket_of(cache_shard *sh, uint64_t hash) {
    return &sh->buckets[hash / CACHE_SHARDS % CACHE_BUCKETS];
}

snap *cache_get(cache *c, slice key) {
    uint64_t hash = slice_hash(key);
    cache_shard *sh = shard_of(c, hash);
    pthread_rwlock_rdlock(&sh->lock);
    snap *s = *bucket_of(sh, hash);
    while (s && !(s->hash == hash && slice_eq(s->key, key))) s = s->next;
    if (s) snap_ref(s);
    pthread_rwlock_unlock(&sh->lock);
    if (s && !atomic_load_explicit(&s->used, memory_order_relaxed))
        atomic_store_explicit(&s->used, true, memory_order_relaxed);
    return s;
}

uint64_t cache_version(cache *c, slice key) {
    cache_shard *sh = shard_of(c, slice_hash(key));
    pthread_rwlock_rdlock(&sh->lock);
    uint64_t v = sh->version;
    pthread_rwlock_unlock(&sh->lock);
    return v;
}

/* Unlinks and returns the first entry that was not used since the hand last came by. */
static snap *evict(cache_shard *sh) {
    for (size_t step = 0; step <= 2 * CACHE_BUCKETS; step++) {
        snap **at = &sh->buckets[sh->hand++ % CACHE_BUCKETS];
        for (; *at; at = &(*at)->next) {
            snap *s = *at;
            if (atomic_exchange_explicit(&s->used, false, memory_order_relaxed)) continue;
            *at = s->next;
            sh->count--;
            return s;
        }
    }
    return NULL;
}

void cache_add(cache *c, snap *s, uint64_t version) {
    s->hash = slice_hash(s->key);
    cache_shard *sh = shard_of(c, s->hash);
    snap *old = NULL;
    pthread_rwlock_wrlock(&sh->lock);
    snap **bucket = bucket_of(sh, s->hash);
    bool there = sh->version != version;
    for (snap *o = *bucket; o && !there; o = o->next)
        there = o->hash == s->hash && slice_eq(o->key, s->key);
    if (!there) {
        if (sh->count >= c->shard_max) old = evict(sh);
        snap_ref(s);
        s->next = *bucket;
        *bucket = s;
        sh->count++;
    }
    pthread_rwlock_unlock(&sh->lock);
    snap_unref(old);
}

/* Unlinks what matches from one bucket and chains it to *out. */
static void unlink_matching(cache_shard *sh, snap **at, slice key, bool prefix, snap **out) {
    while (*at) {
        snap *s = *at;
        if (prefix ? slice_starts(s->key, key) : slice_eq(s->key, key)) {
            *at = s->next;
            s->next = *out;
            *out = s;
            sh->count--;
        } else {
            at = &s->next;
        }
    }
}

static void unref_all(snap *s) {
    while (s) {
        snap *next = s->next;
        snap_unref(s);
        s = next;
    }
}

void cache_drop(cache *c, slice key) {
    uint64_t hash = slice_hash(key);
    cache_shard *sh = shard_of(c, hash);
    snap *out = NULL;
    pthread_rwlock_wrlock(&sh->lock);
    sh->version++;
    unlink_matching(sh, bucket_of(sh, hash), key, false, &out);
    pthread_rwlock_unlock(&sh->lock);
    unref_all(out);
}

void cache_drop_all(cache *c, slice prefix) {
    for (size_t i = 0; i < CACHE_SHARDS; i++) {
        cache_shard *sh = &c->shards[i];
        snap *out = NULL;
        pthread_rwlock_wrlock(&sh->lock);
        sh->version++;
        for (size_t b = 0; b < CACHE_BUCKETS; b++)
            unlink_matching(sh, &sh->buckets[b], prefix, true, &out);
        pthread_rwlock_unlock(&sh->lock);
        unref_all(out);
    }
}

void cache_done(cache *c) {
    cache_drop_all(c, SLICE_NONE);
    for (size_t i = 0; i < CACHE_SHARDS; i++) pthread_rwlock_destroy(&c->shards[i].lock);
}
