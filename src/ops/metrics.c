/* Counters of every operation, Prometheus text.
 *
 * A row gets a series the first time it is counted; series stand in a table that is only ever added
 * to, by compare-and-swap, so that counting takes no lock. Each series is split into shards; a
 * thread adds to its own, a reader sums them: sums may lag what other threads do at that moment,
 * and never go back. */
#include <stdatomic.h>

#include "base/base.h"
#include "ops/internal.h"

#define SERIES_MAX 1024 /* a power of two; rows beyond it are counted as "other" */
#define SHARDS     8

static const int statuses[] = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405,
                               409, 411, 412, 413, 416, 500, 501, 503, 507, 0 /* any other */};
static const struct {
    int64_t us;
    const char *le;
} bounds[] = {
    {100, "0.0001"},  {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"},
    {5000, "0.005"},  {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},
    {250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},
    {10000000, "10"}, {30000000, "30"},
};

typedef _Atomic uint64_t counter;

typedef struct shard {
    _Alignas(64) counter status[ARRAY_LEN(statuses)];
    counter time[ARRAY_LEN(bounds) + 1];
    counter us, bytes_in, bytes_out, aborted;
} shard;

typedef struct series {
    const ops_row *row; /* NULL: no row */
    const char *protocol, *operation;
    shard shards[SHARDS];
} series;

struct ops_metrics {
    _Atomic(series *) table[SERIES_MAX];
    _Atomic size_t used;
    series *unknown, *other;
};

static series *series_new(const ops_row *row, const char *protocol, const char *operation) {
    series *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
    MUST(s != NULL);
    memset(s, 0, sizeof(*s));
    s->row = row;
    s->protocol = protocol;
    s->operation = operation;
    return s;
}

ops_metrics *ops_metrics_new(void) {
    ops_metrics *m = calloc(1, sizeof(*m));
    MUST(m != NULL);
    m->unknown = series_new(NULL, "none", "unknown");
    m->other = series_new(NULL, "none", "other");
    return m;
}

ops_metrics *ops_metrics_free(ops_metrics *m) {
    if (m == NULL) return NULL;
    for (size_t i = 0; i < SERIES_MAX; i++) free(atomic_load(&m->table[i]));
    free(m->unknown);
    free(m->other);
    free(m);
    return NULL;
}

static series *find(ops_metrics *m, const ops_request *r) {
    if (r->row == NULL) return m->unknown;
    size_t at = ((uintptr_t)r->row / sizeof(void *) * 0x9E3779B97F4A7C15u) >> 48;
    series *mine = NULL;
    for (size_t probe = 0; probe < SERIES_MAX; probe++) {
        _Atomic(series *) *slot = &m->table[(at + probe) % SERIES_MAX];
        series *s = atomic_load_explicit(slot, memory_order_acquire);
        if (s == NULL) {
            if (atomic_load(&m->used) >= SERIES_MAX / 2) break;
            if (mine == NULL) mine = series_new(r->row, r->protocol->name, r->row->name);
            if (atomic_compare_exchange_strong(slot, &s, mine)) {
                atomic_fetch_add(&m->used, 1);
                return mine;
            }
        }
        if (s->row == r->row) {
            free(mine);
            return s;
        }
    }
    free(mine);
    return m->other;
}

static size_t status_index(int status) {
    size_t i = 0;
    while (statuses[i] != 0 && statuses[i] != status) i++;
    return i;
}

static size_t time_index(int64_t us) {
    size_t i = 0;
    while (i < ARRAY_LEN(bounds) && us > bounds[i].us) i++;
    return i;
}

static size_t my_shard(void) {
    static _Atomic size_t next;
    static _Thread_local size_t mine; /* 0: not chosen yet */
    if (mine == 0) mine = 1 + atomic_fetch_add(&next, 1) % SHARDS;
    return mine - 1;
}

static void add(counter *c, uint64_t n) {
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

void ops_metrics_count(ops_metrics *m, const ops_request *r, int status, int64_t us, bool aborted) {
    shard *s = &find(m, r)->shards[my_shard()];
    add(&s->status[status_index(status)], 1);
    add(&s->time[time_index(us)], 1);
    add(&s->us, (uint64_t)us);
    if (r->bytes_in > 0) add(&s->bytes_in, r->bytes_in);
    if (r->bytes_out > 0) add(&s->bytes_out, r->bytes_out);
    if (aborted) add(&s->aborted, 1);
}

/* ---- rendering ---- */

/* The sum over shards of the counter `offset` bytes into each. */
static uint64_t total(const series *s, size_t offset) {
    uint64_t sum = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        const uint8_t *base = (const uint8_t *)&s->shards[i];
        sum += atomic_load_explicit((const counter *)(const void *)(base + offset),
                                    memory_order_relaxed);
    }
    return sum;
}
#define TOTAL(s, field) total((s), offsetof(shard, field))

static void put_labels(buf *out, const series *s) {
    buf_fmt(out, "{protocol=\"%s\",operation=\"%s\"", s->protocol, s->operation);
}

static void put_requests(buf *out, const series *s) {
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        uint64_t n = total(s, offsetof(shard, status) + i * sizeof(counter));
        if (n == 0) continue;
        buf_str(out, "strongroom_requests_total");
        put_labels(out, s);
        if (statuses[i] == 0)
            buf_str(out, ",status=\"other\"} ");
        else
            buf_fmt(out, ",status=\"%d\"} ", statuses[i]);
        buf_u64(out, n);
        buf_byte(out, '\n');
    }
}

static void put_seconds(buf *out, const series *s) {
    uint64_t below = 0;
    for (size_t i = 0; i <= ARRAY_LEN(bounds); i++) {
        below += total(s, offsetof(shard, time) + i * sizeof(counter));
        buf_str(out, "strongroom_request_seconds_bucket");
        put_labels(out, s);
        buf_fmt(out, ",le=\"%s\"} ", i < ARRAY_LEN(bounds) ? bounds[i].le : "+Inf");
        buf_u64(out, below);
        buf_byte(out, '\n');
    }
    uint64_t us = TOTAL(s, us);
    buf_str(out, "strongroom_request_seconds_sum");
    put_labels(out, s);
    buf_fmt(out, "} %llu.%06llu\n", (unsigned long long)(us / 1000000),
            (unsigned long long)(us % 1000000));
    buf_str(out, "strongroom_request_seconds_count");
    put_labels(out, s);
    buf_str(out, "} ");
    buf_u64(out, below);
    buf_byte(out, '\n');
}

static void put_total(buf *out, const series *s, const char *name, uint64_t n) {
    buf_str(out, name);
    put_labels(out, s);
    buf_str(out, "} ");
    buf_u64(out, n);
    buf_byte(out, '\n');
}
static void put_bytes_in(buf *out, const series *s) {
    put_total(out, s, "strongroom_request_bytes_in_total", TOTAL(s, bytes_in));
}
static void put_bytes_out(buf *out, const series *s) {
    put_total(out, s, "strongroom_request_bytes_out_total", TOTAL(s, bytes_out));
}
static void put_aborted(buf *out, const series *s) {
    put_total(out, s, "strongroom_requests_aborted_total", TOTAL(s, aborted));
}

static bool counted(const series *s) {
    uint64_t n = 0;
    for (size_t i = 0; i <= ARRAY_LEN(bounds); i++)
        n += total(s, offsetof(shard, time) + i * sizeof(counter));
    return n > 0;
}

static void each(const ops_metrics *m, buf *out, void (*put)(buf *, const series *)) {
    for (size_t i = 0; i < SERIES_MAX; i++) {
        const series *s = atomic_load_explicit(&m->table[i], memory_order_acquire);
        if (s != NULL) put(out, s);
    }
    if (counted(m->unknown)) put(out, m->unknown);
    if (counted(m->other)) put(out, m->other);
}

void ops_metrics_render(const ops_metrics *m, buf *out) {
    static const struct {
        const char *head;
        void (*put)(buf *, const series *);
    } families[] = {
        {"# HELP strongroom_requests_total Requests answered, by operation and status.\n"
         "# TYPE strongroom_requests_total counter\n",
         put_requests},
        {"# HELP strongroom_request_seconds Time from a request's headers to its last byte.\n"
         "# TYPE strongroom_request_seconds histogram\n",
         put_seconds},
        {"# HELP strongroom_request_bytes_in_total Bytes of request bodies.\n"
         "# TYPE strongroom_request_bytes_in_total counter\n",
         put_bytes_in},
        {"# HELP strongroom_request_bytes_out_total Bytes of response bodies.\n"
         "# TYPE strongroom_request_bytes_out_total counter\n",
         put_bytes_out},
        {"# HELP strongroom_requests_aborted_total Requests whose client went away.\n"
         "# TYPE strongroom_requests_aborted_total counter\n",
         put_aborted},
    };
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        buf_str(out, families[i].head);
        each(m, out, families[i].put);
    }
}
