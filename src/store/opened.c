/* Opened content of large blobs, ready to send, in memory that is this process's alone: never on
 * disk, not in dumps, locked against swapping as far as the system's limit goes, wiped when it goes.
 *
 * Content is held in segments of OPENED_LEN at multiples of it, each in neighbouring memory so that
 * one call hands it to a socket. Whoever reads one that is not there fills it and sends from it, so
 * it costs no copy more. What is asked for again soon is linked, and found by others; memory of the
 * rest is used again at once, for the next that is read.
 *
 *   room ---> filled --(asked for again soon)--> linked --(hand comes by, or dropped)--+
 *                \                                                                      |
 *                 \--(last reference goes)--> spare --(room, or dropped)--> wiped <-----+
 *
 * What holds
 *  1. `used` counts the memory of every segment that is mapped, linked or not, and is never above
 *     `max`: what slow readers hold is counted, and when nothing can be driven out there is no room.
 *  2. A segment belongs to one content id, which never names other bytes: those at an offset never
 *     change, there may only come more behind them.
 *  3. Content that a change drops leaves links and spares after its commit and before it returns. A
 *     segment that was read under an older state enters neither after that: `versions` tells.
 *  4. The cache counts as one of a linked segment's references. References are taken under the lock,
 *     so one that is linked with a single reference is nobody else's. */
#include <errno.h>
#include <sys/mman.h>

#include "store/internal.h"

#define UNIT                                                                                       \
    ((size_t)64 << 10) /* memory comes in multiples: segments of about one size take over
                                   each other's */

void opened_init(opened_cache *o, uint64_t max_bytes) {
    memset(o, 0, sizeof *o);
    o->max = (size_t)max_bytes;
    MUST(pthread_mutex_init(&o->lock, NULL) == 0);
}

/* ---- memory ---- */

static void lock_memory(opened_cache *o, opened_segment *s) {
    if (atomic_load_explicit(&o->no_lock, memory_order_relaxed)) return;
    s->locked = mlock(s->p, s->cap) == 0;
    if (s->locked) {
        atomic_fetch_add(&o->locked, s->cap);
    } else if (!atomic_exchange(&o->no_lock, true)) {
        int why = errno;
        LOG(LOG_INFO, "opened_not_locked", LF_I("locked_bytes", atomic_load(&o->locked)),
            LF_I("errno", why),
            LF_C("detail",
                 "more opened content than RLIMIT_MEMLOCK allows may be swapped out: raise "
                 "LimitMEMLOCK, or swap to an encrypted device or not at all"));
    }
}

static bool map(opened_cache *o, opened_segment *s) {
    void *p = mmap(NULL, s->cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (p == MAP_FAILED) return false;
    (void)madvise(p, s->cap, MADV_DONTDUMP);
    s->p = p;
    lock_memory(o, s);
    return true;
}

/* Without its memory when another segment has taken it over. */
static void segment_free(opened_cache *o, opened_segment *s) {
    if (s->p) {
        crypto_wipe(s->p, s->len);
        if (s->locked) atomic_fetch_sub(&o->locked, s->cap);
        MUST(munmap(s->p, s->cap) == 0);
    }
    free(s);
}

/* Under the lock: nobody has s. */
static bool keep_spare(opened_cache *o, opened_segment *s) {
    if (!s->p || o->spare_count == OPENED_SPARE) return false;
    if (opened_version(o, s->blob) != s->version) return false; /* dropped meanwhile */
    s->next = o->spare;
    o->spare = s;
    o->spare_count++;
    return true;
}

void opened_unref(opened_cache *o, opened_segment *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    size_t cap = s->cap;
    pthread_mutex_lock(&o->lock);
    bool kept = keep_spare(o, s);
    pthread_mutex_unlock(&o->lock);
    if (kept) return;
    segment_free(o, s);
    pthread_mutex_lock(&o->lock);
    o->used -= cap;
    pthread_mutex_unlock(&o->lock);
}

/* ---- links, all under the lock ---- */

static opened_segment **bucket_of(opened_cache *o, uint64_t blob) {
    return &o->buckets[blob % OPENED_BUCKETS];
}

static void queue_remove(opened_cache *o, opened_segment *s) {
    *(s->newer ? &s->newer->older : &o->newest) = s->older;
    *(s->older ? &s->older->newer : &o->oldest) = s->newer;
    s->newer = s->older = NULL;
}

static void queue_put(opened_cache *o, opened_segment *s) {
    s->older = o->newest;
    if (o->newest) o->newest->newer = s;
    o->newest = s;
    if (!o->oldest) o->oldest = s;
}

/* Out of bucket and queue, chained to *out with the cache's reference. at: what points to it. */
static void unlink_segment(opened_cache *o, opened_segment **at, opened_segment **out) {
    opened_segment *s = *at;
    *at = s->next;
    queue_remove(o, s);
    o->count--;
    s->next = *out;
    *out = s;
}

/* Out of the spares, and out of the account. */
static void take_spare(opened_cache *o, opened_segment **at, opened_segment **out) {
    opened_segment *s = *at;
    *at = s->next;
    o->spare_count--;
    o->used -= s->cap;
    s->next = *out;
    *out = s;
}

static opened_segment **find(opened_cache *o, uint64_t blob, uint64_t content, uint64_t index) {
    opened_segment **at = bucket_of(o, blob);
    while (*at && !((*at)->blob == blob && (*at)->content == content && (*at)->index == index))
        at = &(*at)->next;
    return at;
}

static opened_segment **place_of(opened_cache *o, opened_segment *s) {
    opened_segment **at = bucket_of(o, s->blob);
    while (*at != s) at = &(*at)->next;
    return at;
}

static void unref_all(opened_cache *o, opened_segment *s) {
    while (s) {
        opened_segment *next = s->next;
        opened_unref(o, s);
        s = next;
    }
}

/* ---- looking up, making room, adding ---- */

uint64_t opened_version(opened_cache *o, uint64_t blob) {
    return atomic_load(&o->versions[blob % OPENED_STRIPES]);
}

opened_segment *opened_get(opened_cache *o, uint64_t blob, uint64_t content, uint64_t index,
                           size_t len) {
    pthread_mutex_lock(&o->lock);
    opened_segment *s = *find(o, blob, content, index);
    if (s && s->len < len) s = NULL; /* of an earlier state, which ended here */
    if (s) {
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        s->used = true;
    }
    pthread_mutex_unlock(&o->lock);
    return s;
}

/* Takes spares, then what is linked and was not asked for since the hand last came by and nobody
 * holds, until cap more fits. */
static bool make_room(opened_cache *o, size_t cap, opened_segment **out) {
    while (o->used + cap > o->max && o->spare) take_spare(o, &o->spare, out);
    for (size_t left = 2 * o->count; o->used + cap > o->max && left > 0; left--) {
        opened_segment *s = o->oldest;
        /* acquire: what others read from it happened before they dropped their references */
        if (s->used || atomic_load_explicit(&s->refs, memory_order_acquire) > 1) {
            s->used = false;
            queue_remove(o, s);
            queue_put(o, s);
            continue;
        }
        o->used -= s->cap;
        unlink_segment(o, place_of(o, s), out);
    }
    return o->used + cap <= o->max;
}

/* s gets the memory of one of those driven out, if one has as much; frees them all. */
static void take_over(opened_cache *o, opened_segment *s, opened_segment *gone) {
    for (opened_segment *next; gone; gone = next) {
        next = gone->next;
        if (s && !s->p && gone->cap == s->cap) {
            s->p = gone->p;
            s->locked = gone->locked;
            gone->p = NULL;
            if (gone->len > s->len) crypto_wipe(s->p + s->len, gone->len - s->len);
        }
        segment_free(o, gone);
    }
}

opened_segment *opened_room(opened_cache *o, const opened_segment *name) {
    MUST(name->len > 0 && name->len <= OPENED_LEN);
    size_t cap = (name->len + UNIT - 1) / UNIT * UNIT;
    opened_segment *gone = NULL, *s = NULL;
    pthread_mutex_lock(&o->lock);
    for (opened_segment **at = &o->spare; *at && !gone;) {
        if ((*at)->cap == cap)
            take_spare(o, at, &gone);
        else
            at = &(*at)->next;
    }
    bool fits = make_room(o, cap, &gone);
    if (fits) o->used += cap;
    pthread_mutex_unlock(&o->lock);
    if (fits) {
        s = malloc(sizeof *s);
        MUST(s);
        *s = *name;
        s->cap = cap;
        atomic_init(&s->refs, 1);
    }
    take_over(o, s, gone);
    if (!s || s->p || map(o, s)) return s;
    opened_unref(o, s);
    return NULL;
}

/* True when the segment was asked for before, and not more than about twice what fits here ago. Of a
 * set that is larger, most would be driven out before it is asked for again. */
static bool wanted(opened_cache *o, const opened_segment *s) {
    uint64_t hash = (s->content * 0x9e3779b97f4a7c15u) ^ (s->index * 0xc2b2ae3d27d4eb4fu);
    hash ^= hash >> 29;
    _Atomic uint64_t *slot = &o->seen[hash % OPENED_SEEN];
    uint64_t now = atomic_fetch_add_explicit(&o->clock, 1, memory_order_relaxed) + 1;
    uint64_t old = atomic_exchange_explicit(slot, (hash & 0xffffffff00000000u) | (uint32_t)now,
                                            memory_order_relaxed);
    uint64_t fit = o->max / OPENED_LEN > o->count ? o->max / OPENED_LEN : o->count;
    return (old ^ hash) >> 32 == 0 && (uint32_t)(now - old) <= 2 * fit;
}

void opened_add(opened_cache *o, opened_segment *s) {
    opened_segment *gone = NULL;
    pthread_mutex_lock(&o->lock);
    opened_segment **at = find(o, s->blob, s->content, s->index);
    bool add =
        wanted(o, s) && opened_version(o, s->blob) == s->version && (!*at || (*at)->len < s->len);
    if (add) {
        if (*at) unlink_segment(o, at, &gone);
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        s->next = *bucket_of(o, s->blob);
        *bucket_of(o, s->blob) = s;
        queue_put(o, s);
        o->count++;
    }
    pthread_mutex_unlock(&o->lock);
    unref_all(o, gone);
}

/* ---- what must go ---- */

/* Under the lock: the spares of a blob (0: of all), of a container (0: of all). */
static void drop_spares(opened_cache *o, uint64_t blob, uint64_t container, opened_segment **out) {
    for (opened_segment **at = &o->spare; *at;) {
        if ((blob == 0 || (*at)->blob == blob) && (container == 0 || (*at)->container == container))
            take_spare(o, at, out);
        else
            at = &(*at)->next;
    }
}

void opened_drop_blob(opened_cache *o, uint64_t blob) {
    opened_segment *gone = NULL, *spare = NULL;
    pthread_mutex_lock(&o->lock);
    atomic_fetch_add(&o->versions[blob % OPENED_STRIPES], 1);
    for (opened_segment **at = bucket_of(o, blob); *at;) {
        if ((*at)->blob == blob)
            unlink_segment(o, at, &gone);
        else
            at = &(*at)->next;
    }
    drop_spares(o, blob, 0, &spare);
    pthread_mutex_unlock(&o->lock);
    unref_all(o, gone);
    take_over(o, NULL, spare);
}

void opened_drop_container(opened_cache *o, uint64_t container) {
    opened_segment *gone = NULL, *spare = NULL;
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < OPENED_STRIPES; i++) atomic_fetch_add(&o->versions[i], 1);
    for (opened_segment *s = o->oldest, *newer; s; s = newer) {
        newer = s->newer;
        if (container == 0 || s->container == container) unlink_segment(o, place_of(o, s), &gone);
    }
    drop_spares(o, 0, container, &spare);
    pthread_mutex_unlock(&o->lock);
    unref_all(o, gone);
    take_over(o, NULL, spare);
}

void opened_count(opened_cache *o, size_t hits, size_t misses) {
    atomic_fetch_add_explicit(&o->hits, hits, memory_order_relaxed);
    atomic_fetch_add_explicit(&o->misses, misses, memory_order_relaxed);
}

void opened_get_stats(opened_cache *o, store_opened_stats *ret) {
    pthread_mutex_lock(&o->lock);
    *ret = (store_opened_stats){.hits = atomic_load(&o->hits),
                                .misses = atomic_load(&o->misses),
                                .bytes = o->used,
                                .bytes_max = o->max,
                                .bytes_locked = atomic_load(&o->locked)};
    pthread_mutex_unlock(&o->lock);
}

void opened_done(opened_cache *o) {
    opened_drop_container(o, 0);
    MUST(o->used == 0 && o->count == 0); /* every reader was closed */
    pthread_mutex_destroy(&o->lock);
}
