/* How many refusals of callers whom nobody knows leave an entry of their own. Whoever can reach the port can be refused as
 * often as they like; without a bound, each refusal would make the record longer for good.
 *
 * Each network (/24, /48: what an entry tells of an address) has a bucket of refusals: a minute's worth at first, filled
 * again at the rate. All networks together have one of ten times that. What finds either empty is answered 503, counted, and
 * told by one entry for its network and minute, with the count and the times of the first and the last.
 *
 * What holds
 *  1. A refusal leaves an entry, or is counted in one: also when the server stops. A crash loses the counts of the minute
 *     before it.
 *  2. Memory is that of SLOTS networks. One that finds no slot shares one, which names no network, with its like. */
#include <arpa/inet.h>
#include <pthread.h>

#include "ops/internal.h"

#define SLOTS      4096
#define PROBES     8
#define MINUTE_US  60000000ll
#define ALL_FACTOR 10

typedef struct slot {
    uint64_t network; /* 0: nobody's */
    int64_t left_us;  /* time's worth of refusals in the bucket, at most MINUTE_US */
    int64_t filled_us;
    uint64_t count;                 /* not told yet */
    int64_t began_us;               /* of these the first, by the steady clock */
    int64_t first_us, last_us;      /* by the wall clock */
    char address[INET6_ADDRSTRLEN]; /* one of the network's; empty: of several networks */
} slot;

struct ops_floods {
    store *store;
    slice region; /* borrowed */
    int64_t cost_us;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t stopping;
    bool stop;
    slot slots[SLOTS], rest;
    int64_t all_left_us, all_filled_us;
    ops_floods_stats stats;
};

/* ---- networks ---- */

static void take_address(slice ip, char out[INET6_ADDRSTRLEN]) {
    const size_t n = ip.len < INET6_ADDRSTRLEN ? ip.len : 0;
    if (n > 0) memcpy(out, ip.p, n);
    out[n] = '\0';
}

/* Never 0. What is no address is a network of its own. */
static uint64_t network_of(const char *address) {
    struct in_addr four;
    struct in6_addr six;
    uint64_t v = 0;
    if (inet_pton(AF_INET, address, &four) == 1) return 1ull << 56 | ntohl(four.s_addr) >> 8;
    if (inet_pton(AF_INET6, address, &six) != 1) return 3ull << 56;
    for (int i = 0; i < 6; i++) v = v << 8 | six.s6_addr[i];
    return 2ull << 56 | v;
}

static void fill(int64_t *left_us, int64_t *filled_us, int64_t now, int64_t max) {
    *left_us += now - *filled_us;
    if (*left_us > max) *left_us = max;
    *filled_us = now;
}

static bool is_idle(const slot *s, int64_t now) {
    return s->network == 0 || (s->count == 0 && s->left_us + (now - s->filled_us) >= MINUTE_US);
}

static slot *slot_of(ops_floods *f, uint64_t network, const char *address, int64_t now) {
    const uint64_t at = network * 0x9E3779B97F4A7C15ull >> 32;
    slot *idle = NULL;
    for (unsigned i = 0; i < PROBES; i++) {
        slot *s = &f->slots[(at + i) % SLOTS];
        if (s->network == network) return s;
        if (!idle && is_idle(s, now)) idle = s;
    }
    if (!idle) return &f->rest;
    *idle = (slot){.network = network, .left_us = MINUTE_US, .filled_us = now};
    memcpy(idle->address, address, sizeof idle->address);
    return idle;
}

/* ---- counting ---- */

static bool spend(ops_floods *f, slot *s, int64_t now) {
    fill(&s->left_us, &s->filled_us, now, MINUTE_US);
    fill(&f->all_left_us, &f->all_filled_us, now, ALL_FACTOR * MINUTE_US);
    if (s->left_us < f->cost_us || f->all_left_us < f->cost_us) return false;
    s->left_us -= f->cost_us;
    f->all_left_us -= f->cost_us;
    return true;
}

static void count(ops_floods *f, slot *s, int64_t now) {
    s->last_us = clock_wall_us();
    if (s->count++ == 0) {
        s->began_us = now;
        s->first_us = s->last_us;
    }
    f->stats.counted++;
}

bool ops_flooded(ops_floods *f, slice peer_ip) {
    char address[INET6_ADDRSTRLEN];
    if (!f) return false;
    take_address(peer_ip, address);
    const uint64_t network = network_of(address);
    pthread_mutex_lock(&f->lock);
    const int64_t now = clock_mono_us();
    slot *s = slot_of(f, network, address, now);
    const bool spent = !spend(f, s, now);
    if (spent) count(f, s, now);
    pthread_mutex_unlock(&f->lock);
    return spent;
}

void ops_floods_get_stats(ops_floods *f, ops_floods_stats *ret) {
    pthread_mutex_lock(&f->lock);
    *ret = f->stats;
    pthread_mutex_unlock(&f->lock);
}

/* ---- telling ---- */

typedef struct summary {
    store_recorder recorder;
    const ops_floods *floods;
    slot what;
} summary;

static void make(store_recorder *r, buf *entry, buf *private_part) {
    const summary *s = (const summary *)((uintptr_t)r - offsetof(summary, recorder));
    audit_event x;
    audit_event_begin(&x, s->floods->store, NULL, s->floods->region);
    x.record.action = OPS_REFUSALS;
    x.record.audit_class = "refused";
    x.record.decision = "refused";
    x.record.peer_ip = slice_str(s->what.address);
    x.record.status = err_get(ERR_SERVER_BUSY)->status;
    x.record.refusals = s->what.count;
    x.record.first_us = s->what.first_us;
    x.record.last_us = s->what.last_us;
    audit_event_actor(&x, "anonymous", "none", SLICE_NONE);
    audit_event_outcome(&x, ERR_SERVER_BUSY);
    x.record.result = "refused"; /* which it was, before it was told to come later */
    audit_event_write(&x, NULL, entry, private_part);
}

/* Under the lock, which is left while it is written. */
static void tell(ops_floods *f, slot *s) {
    summary one = {.recorder = {.make = make}, .floods = f, .what = *s};
    s->count = 0;
    pthread_mutex_unlock(&f->lock);
    err e = store_record(f->store, &one.recorder);
    if (e != OK)
        LOG(LOG_ERROR, "audit.refusals_not_recorded", LF_I("count", one.what.count),
            LF_C("detail", err_detail()));
    pthread_mutex_lock(&f->lock);
    if (e == OK) f->stats.summaries++;
}

static void tell_due(ops_floods *f) {
    for (size_t i = 0; i <= SLOTS; i++) {
        slot *s = i < SLOTS ? &f->slots[i] : &f->rest;
        if (s->count > 0 && (f->stop || clock_mono_us() - s->began_us >= MINUTE_US)) tell(f, s);
    }
}

static void *run(void *arg) {
    ops_floods *f = arg;
    pthread_setname_np(pthread_self(), "refusals");
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        const int64_t until = clock_mono_us() + 1000000;
        const struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
        (void)pthread_cond_timedwait(&f->stopping, &f->lock, &at);
        tell_due(f);
    }
    tell_due(f); /* what came while others were told */
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

err ops_floods_start(store *s, slice region, uint64_t rate, ops_floods **ret) {
    pthread_condattr_t attr;
    MUST(rate > 0 && rate <= OPS_REFUSED_RATE_MAX);
    ops_floods *f = calloc(1, sizeof *f);
    ENSURE(f, ERR_NO_MEMORY, "no memory to count refusals in");
    f->store = s;
    f->region = region;
    f->cost_us = 1000000 / (int64_t)rate;
    f->rest.left_us = MINUTE_US;
    f->all_left_us = ALL_FACTOR * MINUTE_US;
    f->rest.filled_us = f->all_filled_us = clock_mono_us();
    MUST(pthread_condattr_init(&attr) == 0);
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MUST(pthread_mutex_init(&f->lock, NULL) == 0 && pthread_cond_init(&f->stopping, &attr) == 0);
    pthread_condattr_destroy(&attr);
    MUST(pthread_create(&f->thread, NULL, run, f) == 0);
    *ret = f;
    return OK;
}

ops_floods *ops_floods_stop(ops_floods *f) {
    if (!f) return NULL;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->stopping);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    pthread_cond_destroy(&f->stopping);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}
