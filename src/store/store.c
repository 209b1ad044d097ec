#include <unistd.h>

#include "store/internal.h"

#define ACCOUNTS_CACHED   1000
#define CONTAINERS_CACHED 10000
#define SCOPES_CACHED     10000
#define CACHE_SHARDS      64
#define CACHE_BUCKETS     64
#define HOT_DEFAULT       (64u << 20)
#define OPENED_DEFAULT    (128u << 20)

err store_open(const store_options *o, store **ret) {
    store *s = calloc(1, sizeof *s);
    MUST(s);
    s->secret = crypto_secret_new(sizeof *s->secret);
    s->engine = o->engine;
    s->keys = o->keys;
    s->background = o->background;
    s->remote = o->remote;
    s->makes_records = o->records;
    s->deeds = o->deeds;
    s->inline_max = o->inline_max ? o->inline_max : STORE_INLINE_DEFAULT;
    if (s->inline_max > STORE_INLINE_MAX) s->inline_max = STORE_INLINE_MAX;
    cache_init(&s->accounts, CACHE_SHARDS, CACHE_BUCKETS, ACCOUNTS_CACHED);
    cache_init(&s->containers, CACHE_SHARDS, CACHE_BUCKETS, CONTAINERS_CACHED);
    cache_init(&s->scopes, CACHE_SHARDS, CACHE_BUCKETS, SCOPES_CACHED);
    hot_init(&s->hot, o->hot_max ? o->hot_max : HOT_DEFAULT);
    opened_init(&s->opened, o->opened_max ? o->opened_max : OPENED_DEFAULT);
    if (o->background) s->first_id = engine_new_id(s->engine);
    gate_init(&s->gate);
    MUST(pthread_rwlock_init(&s->protecting, NULL) == 0);
    readers_init(&s->readers);
    append_lanes_init(s->appends);
    ids_init(s);
    err e = entry_open(s);
    if (e == OK) e = copier_start(s);
    if (e == OK) e = reaper_start(s);
    if (e != OK) {
        store_close(s);
        return e;
    }
    *ret = s;
    return OK;
}

store *store_close(store *s) {
    if (!s) return NULL;
    copier_stop(s);
    while (atomic_load(&s->changes_later) > 0) usleep(500);
    reaper_stop(s);
    cache_done(&s->hot.cache);
    opened_done(&s->opened);
    cache_done(&s->scopes);
    cache_done(&s->containers);
    cache_done(&s->accounts);
    append_lanes_done(s->appends);
    ids_done(s);
    readers_done(&s->readers);
    gate_done(&s->gate);
    pthread_rwlock_destroy(&s->protecting);
    s->secret = crypto_secret_free(s->secret);
    engine_close(s->engine);
    s->keys->free(s->keys);
    free(s);
    return NULL;
}

engine *store_engine(store *s) {
    return s->engine;
}

void store_get_stats(store *s, store_stats *ret) {
    *ret = (store_stats){.garbage_pending = atomic_load(&s->garbage_pending),
                         .jobs_failing = atomic_load(&s->jobs_failing),
                         .readers_open = atomic_load(&s->readers.open),
                         .uploads_open = atomic_load(&s->uploads_open)};
    opened_get_stats(&s->opened, &ret->opened);
}

/* ETags are ticks, and look as Azure's do. */
store_now store_tick(store *s, uint64_t previous) {
    int64_t us = clock_wall_us();
    uint64_t tick = (uint64_t)us * 10 + TIME_TICKS_TO_1970;
    uint64_t last = atomic_load(&s->last_tick), next;
    do {
        next = tick > last ? tick : last + 1;
        if (next <= previous) next = previous + 1;
    } while (!atomic_compare_exchange_weak(&s->last_tick, &last, next));
    return (store_now){next, us};
}

void piece_context(uint8_t out[STORE_PIECE_CONTEXT], uint64_t container, uint64_t piece) {
    for (int i = 7; i >= 0; i--, container >>= 8, piece >>= 8) {
        out[i] = (uint8_t)container;
        out[8 + i] = (uint8_t)piece;
    }
}

void vault_forget(store *s, uint64_t id, uint64_t slot) {
    err e = engine_vault_destroy(s->engine, id, slot);
    if (e != OK) LOG(LOG_WARN, "vault_slot_left", LF_C("error", err_get(e)->name));
}
