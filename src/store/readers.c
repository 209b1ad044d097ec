/* Who reads what, so that nothing is released under a reader (invariant 4).
 *
 * One number, seq, orders the registrations of readers and the commits of garbage. A reader takes
 * its number before it reads the blob's row; garbage gets its number after its commit. So a reader
 * with a higher number read a row that is no older than that commit, which does not name the
 * garbage; only readers of the same blob with a lower number can be using it. A reader takes its
 * number and enters its bucket under one lock: who looks into the bucket afterwards finds all lower
 * numbers that are open, in order. */
#include "store/internal.h"

void readers_init(readers *r) {
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < READER_BUCKETS; i++)
        MUST(pthread_mutex_init(&r->buckets[i].lock, NULL) == 0);
}

void readers_done(readers *r) {
    for (size_t i = 0; i < READER_BUCKETS; i++) {
        for (job *j = r->buckets[i].waiting, *next; j; j = next) {
            next = j->next;
            job_free(j);
        }
        pthread_mutex_destroy(&r->buckets[i].lock);
    }
}

static struct reader_bucket *bucket_of(readers *r, uint64_t hash) {
    return &r->buckets[hash % READER_BUCKETS];
}

void readers_enter(readers *r, reader_pin *p, uint64_t container, uint64_t hash) {
    struct reader_bucket *b = bucket_of(r, hash);
    *p = (reader_pin){.container = container, .hash = hash, .held = true};
    pthread_mutex_lock(&b->lock);
    p->seq = atomic_fetch_add(&r->seq, 1);
    p->prev = b->last;
    *(b->last ? &b->last->next : &b->first) = p;
    b->last = p;
    pthread_mutex_unlock(&b->lock);
    atomic_fetch_add(&r->open, 1);
}

/* The first of a blob's readers has the lowest number. */
static bool blocked(const struct reader_bucket *b, const job *j) {
    for (const reader_pin *p = b->first; p && p->seq < j->seq; p = p->next)
        if (p->hash == j->hash) return true;
    return false;
}

job *readers_leave(readers *r, reader_pin *p) {
    if (!p->held) return NULL;
    struct reader_bucket *b = bucket_of(r, p->hash);
    job *ready = NULL;
    pthread_mutex_lock(&b->lock);
    *(p->prev ? &p->prev->next : &b->first) = p->next;
    *(p->next ? &p->next->prev : &b->last) = p->prev;
    for (job **at = &b->waiting; *at;) {
        job *j = *at;
        if (j->hash == p->hash && !blocked(b, j)) {
            *at = j->next;
            j->next = ready;
            ready = j;
        } else {
            at = &j->next;
        }
    }
    pthread_mutex_unlock(&b->lock);
    p->held = false;
    atomic_fetch_sub(&r->open, 1);
    return ready;
}

bool readers_admit(readers *r, job *j) {
    struct reader_bucket *b = bucket_of(r, j->hash);
    pthread_mutex_lock(&b->lock);
    bool wait = blocked(b, j);
    if (wait) {
        j->next = b->waiting;
        b->waiting = j;
    }
    pthread_mutex_unlock(&b->lock);
    return !wait;
}

bool readers_quiet(readers *r, uint64_t container, uint64_t seq) {
    bool quiet = true;
    for (size_t i = 0; i < READER_BUCKETS && quiet; i++) {
        struct reader_bucket *b = &r->buckets[i];
        pthread_mutex_lock(&b->lock);
        for (reader_pin *p = b->first; p && p->seq < seq && quiet; p = p->next)
            quiet = p->container != container;
        pthread_mutex_unlock(&b->lock);
    }
    return quiet;
}
