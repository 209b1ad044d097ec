#include "memory_engine.h"

#include <pthread.h>
#include <stdatomic.h>

#include "engine/impl.h"

typedef struct row {
    _Atomic int refs;
    slice key, value;
    uint8_t bytes[];
} row;

typedef struct table {
    row **rows;
    size_t count, room;
} table;

typedef struct stream {
    buf data;
    bool adopted, released;
} stream;

typedef struct log_entry {
    slice entry, private_part;
    uint8_t bytes[];
} log_entry;

typedef struct vault_slot {
    uint64_t id;
    uint8_t secret[ENGINE_VAULT_SECRET_MAX];
    size_t len;
    bool destroyed;
} vault_slot;

struct memory_disk {
    pthread_mutex_t lock; /* all of the below */
    table tables[ENGINE_TABLE_COUNT];
    stream **streams;
    size_t stream_count, stream_room;
    vault_slot *vault;
    size_t vault_count;
    log_entry **log;
    uint64_t log_first, log_count, log_room;
    uint64_t last_id, commits;
    int failures;
    err failure;
    atomic_bool cold;
    void (*on_commit)(void *);
    void *on_commit_ctx;
    struct memory_txn *open; /* transactions, each with its shard */
    pthread_cond_t closed;
};

typedef struct memory_engine {
    engine base;
    memory_disk *disk;
} memory_engine;

typedef struct txn_op {
    enum { OP_PUT, OP_DELETE, OP_ADOPT, OP_RELEASE } kind;
    engine_table table;
    row *row; /* key and value; OP_RELEASE: the reference as key */
    size_t stream;
} txn_op;

typedef struct memory_txn {
    engine_txn base;
    memory_disk *disk;
    buf shard;
    struct memory_txn *next;
    txn_op *ops;
    size_t count, room;
    log_entry *entry;
    uint64_t *ret_index;
} memory_txn;

typedef struct memory_cursor {
    engine_cursor base;
    row **rows;
    size_t count, at;
} memory_cursor;

typedef struct memory_stream {
    engine_stream base;
    memory_disk *disk;
    size_t index;
    uint64_t announced;
    bool synced;
    unsigned turn;
    uint8_t room[20000];
} memory_stream;

static __thread bool in_txn;

static memory_disk *disk_of(engine *e) {
    return ((memory_engine *)e)->disk;
}

static row *row_new(slice key, slice value) {
    row *r = malloc(sizeof *r + key.len + value.len);
    MUST(r);
    r->refs = 1;
    if (key.len) memcpy(r->bytes, key.p, key.len);
    if (value.len) memcpy(r->bytes + key.len, value.p, value.len);
    r->key = slice_of(r->bytes, key.len);
    r->value = slice_of(r->bytes + key.len, value.len);
    return r;
}

static void row_unref(row *r) {
    if (r && --r->refs == 0) free(r);
}

/* The first row with a key >= key. */
static size_t lower_bound(const table *t, slice key) {
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (slice_cmp(t->rows[mid]->key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_at(const table *t, size_t i, slice key) {
    return i < t->count && slice_eq(t->rows[i]->key, key);
}

static void table_put(table *t, row *r) {
    size_t i = lower_bound(t, r->key);
    if (is_at(t, i, r->key)) {
        row_unref(t->rows[i]);
        t->rows[i] = r;
        return;
    }
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->rows = realloc(t->rows, t->room * sizeof *t->rows);
        MUST(t->rows);
    }
    memmove(t->rows + i + 1, t->rows + i, (t->count - i) * sizeof *t->rows);
    t->rows[i] = r;
    t->count++;
}

static void table_delete(table *t, slice key) {
    size_t i = lower_bound(t, key);
    if (!is_at(t, i, key)) return;
    row_unref(t->rows[i]);
    t->count--;
    memmove(t->rows + i, t->rows + i + 1, (t->count - i) * sizeof *t->rows);
}

static void key_rules(slice key) {
    MUST(key.len >= 1 && key.len <= ENGINE_KEY_MAX);
    MUST(!memchr(key.p, 0, key.len));
}

/* ---- rows ---- */

static err mem_get(engine *e, engine_table t, slice key, arena *a, bool nowait, slice *ret) {
    memory_disk *d = disk_of(e);
    key_rules(key);
    if (nowait && d->cold) return ERR_WOULD_BLOCK;
    pthread_mutex_lock(&d->lock);
    size_t i = lower_bound(&d->tables[t], key);
    bool found = is_at(&d->tables[t], i, key);
    row *r = found ? d->tables[t].rows[i] : NULL;
    if (r) r->refs++;
    pthread_mutex_unlock(&d->lock);
    if (!found) return ERR_NOT_FOUND;
    *ret = arena_dup(a, r->value);
    row_unref(r);
    return OK;
}

static err mem_scan(engine *e, engine_table t, slice lower, slice upper, engine_cursor **ret) {
    memory_disk *d = disk_of(e);
    memory_cursor *c = calloc(1, sizeof *c);
    MUST(c);
    c->base.e = e;
    pthread_mutex_lock(&d->lock);
    size_t low = lower_bound(&d->tables[t], lower);
    size_t high = upper.len ? lower_bound(&d->tables[t], upper) : d->tables[t].count;
    c->count = high > low ? high - low : 0;
    c->rows = malloc((c->count + 1) * sizeof *c->rows);
    MUST(c->rows);
    for (size_t i = 0; i < c->count; i++) {
        c->rows[i] = d->tables[t].rows[low + i];
        c->rows[i]->refs++;
    }
    pthread_mutex_unlock(&d->lock);
    *ret = &c->base;
    return OK;
}

static err mem_cursor_next(engine_cursor *base, slice *ret_key, slice *ret_value, bool *ret_more) {
    memory_cursor *c = (memory_cursor *)base;
    *ret_more = c->at < c->count;
    if (!*ret_more) return OK;
    *ret_key = c->rows[c->at]->key;
    *ret_value = c->rows[c->at]->value;
    c->at++;
    return OK;
}

static err mem_cursor_seek(engine_cursor *base, slice key) {
    memory_cursor *c = (memory_cursor *)base;
    table rest = {.rows = c->rows + c->at, .count = c->count - c->at};
    c->at += lower_bound(&rest, key);
    return OK;
}

static void mem_cursor_free(engine_cursor *base) {
    memory_cursor *c = (memory_cursor *)base;
    for (size_t i = 0; i < c->count; i++) row_unref(c->rows[i]);
    free(c->rows);
    free(c);
}

/* ---- transactions ---- */

static bool shard_taken(const memory_disk *d, slice shard) {
    for (const memory_txn *t = d->open; t && shard.len > 0; t = t->next)
        if (slice_eq(buf_slice(&t->shard), shard)) return true;
    return false;
}

static err mem_txn_begin(engine *e, slice shard, bool nowait, engine_txn **ret) {
    memory_disk *d = disk_of(e);
    MUST(!in_txn);
    memory_txn *t = calloc(1, sizeof *t);
    MUST(t);
    t->base.e = e;
    t->disk = d;
    buf_init(&t->shard, ENGINE_KEY_MAX);
    buf_put(&t->shard, shard);
    pthread_mutex_lock(&d->lock);
    if (nowait && shard_taken(d, shard)) {
        pthread_mutex_unlock(&d->lock);
        buf_done(&t->shard);
        free(t);
        return ERR_WOULD_BLOCK;
    }
    while (shard_taken(d, shard)) pthread_cond_wait(&d->closed, &d->lock);
    t->next = d->open;
    d->open = t;
    pthread_mutex_unlock(&d->lock);
    in_txn = true;
    *ret = &t->base;
    return OK;
}

static void add_op(engine_txn *base, txn_op op) {
    memory_txn *t = (memory_txn *)base;
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 8;
        t->ops = realloc(t->ops, t->room * sizeof *t->ops);
        MUST(t->ops);
    }
    t->ops[t->count++] = op;
}

static void mem_txn_put(engine_txn *t, engine_table table_, slice key, slice value) {
    key_rules(key);
    MUST(value.len <= ENGINE_VALUE_MAX);
    add_op(t, (txn_op){OP_PUT, table_, row_new(key, value), 0});
}

static void mem_txn_delete(engine_txn *t, engine_table table_, slice key) {
    key_rules(key);
    add_op(t, (txn_op){OP_DELETE, table_, row_new(key, SLICE_NONE), 0});
}

static void mem_txn_adopt(engine_txn *t, engine_stream *base) {
    memory_stream *s = (memory_stream *)base;
    MUST(s->synced);
    add_op(t, (txn_op){OP_ADOPT, 0, NULL, s->index});
    free(s);
}

static void mem_txn_release(engine_txn *t, slice ref) {
    add_op(t, (txn_op){OP_RELEASE, 0, row_new(ref, SLICE_NONE), 0});
}

static void mem_txn_log(engine_txn *base, slice entry, slice private_part, uint64_t *ret_index) {
    memory_txn *t = (memory_txn *)base;
    MUST(!t->entry);
    log_entry *l = malloc(sizeof *l + entry.len + private_part.len);
    MUST(l);
    memcpy(l->bytes, entry.p, entry.len);
    if (private_part.len) memcpy(l->bytes + entry.len, private_part.p, private_part.len);
    l->entry = slice_of(l->bytes, entry.len);
    l->private_part = slice_of(l->bytes + entry.len, private_part.len);
    t->entry = l;
    t->ret_index = ret_index;
}

static void log_append(memory_disk *d, memory_txn *t) {
    if (!t->entry) return;
    if (d->log_count == d->log_room) {
        d->log_room = d->log_room ? 2 * d->log_room : 64;
        d->log = realloc(d->log, d->log_room * sizeof(log_entry *));
        MUST(d->log);
    }
    if (t->ret_index) *t->ret_index = d->log_count;
    d->log[d->log_count++] = t->entry;
    t->entry = NULL;
}

static stream *stream_of(memory_disk *d, slice ref) {
    uint64_t n = 0;
    if (ref.len != 17 || ref.p[0] != 's') return NULL;
    for (size_t i = 1; i < 17; i++) {
        if (ref.p[i] < '0' || ref.p[i] > '9') return NULL;
        n = n * 10 + (uint64_t)(ref.p[i] - '0');
    }
    return n < d->stream_count ? d->streams[n] : NULL;
}

static void drop_stream(stream *s) {
    buf_done(&s->data);
    s->released = true;
}

static void apply(memory_disk *d, txn_op *op) {
    switch (op->kind) {
    case OP_PUT:
        table_put(&d->tables[op->table], op->row);
        op->row = NULL;
        break;
    case OP_DELETE:
        table_delete(&d->tables[op->table], op->row->key);
        break;
    case OP_ADOPT:
        MUST(!d->streams[op->stream]->adopted && !d->streams[op->stream]->released);
        d->streams[op->stream]->adopted = true;
        break;
    case OP_RELEASE: {
        stream *s = stream_of(d, op->row->key);
        MUST(s && s->adopted && !s->released); /* released once, and only what was adopted */
        drop_stream(s);
        break;
    }
    }
}

static void mem_txn_free(memory_txn *t) {
    for (size_t i = 0; i < t->count; i++) row_unref(t->ops[i].row);
    free(t->ops);
    free(t->entry);
    pthread_mutex_lock(&t->disk->lock);
    memory_txn **at = &t->disk->open;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    pthread_cond_broadcast(&t->disk->closed);
    pthread_mutex_unlock(&t->disk->lock);
    buf_done(&t->shard);
    in_txn = false;
    free(t);
}

static void drop_adopted(memory_txn *t) {
    for (size_t i = 0; i < t->count; i++)
        if (t->ops[i].kind == OP_ADOPT) drop_stream(t->disk->streams[t->ops[i].stream]);
}

static err mem_txn_commit(engine_txn *base) {
    memory_txn *t = (memory_txn *)base;
    memory_disk *d = t->disk;
    err e = OK;
    if (d->on_commit) d->on_commit(d->on_commit_ctx);
    pthread_mutex_lock(&d->lock);
    if (d->failures > 0) {
        d->failures--;
        e = d->failure;
        drop_adopted(t);
    } else {
        for (size_t i = 0; i < t->count; i++) apply(d, &t->ops[i]);
        log_append(d, t);
        d->commits++;
    }
    pthread_mutex_unlock(&d->lock);
    mem_txn_free(t);
    return e;
}

static void mem_txn_commit_later(engine_txn *base, engine_done *done, void *ctx) {
    done(ctx, mem_txn_commit(base));
}

static void mem_txn_abort(engine_txn *base) {
    memory_txn *t = (memory_txn *)base;
    pthread_mutex_lock(&t->disk->lock);
    drop_adopted(t);
    pthread_mutex_unlock(&t->disk->lock);
    mem_txn_free(t);
}

/* ---- streams ---- */

static err mem_stream_create(engine *e, uint64_t len, engine_stream **ret) {
    memory_disk *d = disk_of(e);
    memory_stream *s = calloc(1, sizeof *s);
    stream *data = calloc(1, sizeof *data);
    MUST(s && data);
    buf_init(&data->data, SIZE_MAX / 2);
    s->base.e = e;
    s->disk = d;
    s->announced = len;
    pthread_mutex_lock(&d->lock);
    if (d->stream_count == d->stream_room) {
        d->stream_room = d->stream_room ? 2 * d->stream_room : 64;
        d->streams = realloc(d->streams, d->stream_room * sizeof *d->streams);
        MUST(d->streams);
    }
    s->index = d->stream_count;
    d->streams[d->stream_count++] = data;
    pthread_mutex_unlock(&d->lock);
    *ret = &s->base;
    return OK;
}

static stream *data_of(memory_stream *s) {
    pthread_mutex_lock(&s->disk->lock);
    stream *data = s->disk->streams[s->index];
    pthread_mutex_unlock(&s->disk->lock);
    return data;
}

/* Uneven pieces of memory: what is put there must not lean on their size. */
static err mem_stream_room(engine_stream *base, uint8_t **ret, size_t *ret_len) {
    static const size_t rooms[] = {20000, 1, 16400, 300, 16399, 40};
    memory_stream *s = (memory_stream *)base;
    MUST(!s->synced);
    const uint64_t left = s->announced - data_of(s)->data.len;
    *ret_len = rooms[s->turn++ % ARRAY_LEN(rooms)];
    if (left < *ret_len) *ret_len = left;
    *ret = s->room;
    return OK;
}

static void mem_stream_filled(engine_stream *base, size_t n) {
    memory_stream *s = (memory_stream *)base;
    stream *to = data_of(s);
    buf_put(&to->data, slice_of(s->room, n));
    MUST(s->announced == ENGINE_LEN_UNKNOWN || to->data.len <= s->announced);
}

static err mem_stream_sync(engine_stream *base, arena *a, slice *ret_ref) {
    memory_stream *s = (memory_stream *)base;
    MUST(s->announced == ENGINE_LEN_UNKNOWN || data_of(s)->data.len == s->announced);
    s->synced = true;
    *ret_ref = arena_fmt(a, "s%016llu", (unsigned long long)s->index);
    return OK;
}

static void mem_stream_abort(engine_stream *base) {
    memory_stream *s = (memory_stream *)base;
    pthread_mutex_lock(&s->disk->lock);
    drop_stream(s->disk->streams[s->index]);
    pthread_mutex_unlock(&s->disk->lock);
    free(s);
}

static err mem_stream_read(engine *e, slice ref, uint64_t offset, uint8_t *out, size_t len,
                           bool nowait) {
    memory_disk *d = disk_of(e);
    if (nowait && d->cold) return ERR_WOULD_BLOCK;
    err r = OK;
    pthread_mutex_lock(&d->lock);
    stream *s = stream_of(d, ref);
    if (!s || !s->adopted || s->released || offset > s->data.len || len > s->data.len - offset)
        r = err_fail(ERR_CORRUPT, "there is no such stream, or it is shorter");
    else if (len)
        memcpy(out, s->data.p + offset, len);
    pthread_mutex_unlock(&d->lock);
    return r;
}

static err mem_stream_len(engine *e, slice ref, uint64_t *ret) {
    memory_disk *d = disk_of(e);
    err r = OK;
    pthread_mutex_lock(&d->lock);
    stream *s = stream_of(d, ref);
    if (!s || !s->adopted || s->released)
        r = err_fail(ERR_CORRUPT, "there is no such stream");
    else
        *ret = s->data.len;
    pthread_mutex_unlock(&d->lock);
    return r;
}

/* ---- vault, the rest ---- */

static err mem_vault_put(engine *e, uint64_t id, slice secret, uint64_t *ret_slot) {
    memory_disk *d = disk_of(e);
    MUST(secret.len >= 1 && secret.len <= ENGINE_VAULT_SECRET_MAX);
    pthread_mutex_lock(&d->lock);
    d->vault = realloc(d->vault, (d->vault_count + 1) * sizeof *d->vault);
    MUST(d->vault);
    vault_slot *s = &d->vault[d->vault_count];
    *s = (vault_slot){.id = id, .len = secret.len};
    memcpy(s->secret, secret.p, secret.len);
    *ret_slot = d->vault_count++;
    pthread_mutex_unlock(&d->lock);
    return OK;
}

static err mem_vault_get(engine *e, uint64_t id, uint64_t slot, arena *a, slice *ret) {
    memory_disk *d = disk_of(e);
    err r = OK;
    pthread_mutex_lock(&d->lock);
    if (slot >= d->vault_count || d->vault[slot].id != id)
        r = err_fail(ERR_CORRUPT, "the slot holds another id");
    else if (d->vault[slot].destroyed)
        r = err_fail(ERR_KEY_DESTROYED, "the key was destroyed");
    else
        *ret = arena_dup(a, slice_of(d->vault[slot].secret, d->vault[slot].len));
    pthread_mutex_unlock(&d->lock);
    return r;
}

static err mem_vault_destroy(engine *e, uint64_t id, uint64_t slot) {
    memory_disk *d = disk_of(e);
    err r = OK;
    pthread_mutex_lock(&d->lock);
    if (slot >= d->vault_count || d->vault[slot].id != id) {
        r = err_fail(ERR_CORRUPT, "the slot holds another id");
    } else {
        memset(d->vault[slot].secret, 0, sizeof d->vault[slot].secret);
        d->vault[slot].destroyed = true;
    }
    pthread_mutex_unlock(&d->lock);
    return r;
}

static err mem_vault_each(engine *e, err (*each)(void *ctx, uint64_t id, uint64_t slot),
                          void *ctx) {
    memory_disk *d = disk_of(e);
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&d->lock);
        bool more = i < d->vault_count, used = more && !d->vault[i].destroyed;
        uint64_t id = more ? d->vault[i].id : 0;
        pthread_mutex_unlock(&d->lock);
        if (!more) return OK;
        if (used) TRY(each(ctx, id, i));
    }
}

static err mem_log_read(engine *e, uint64_t from, uint64_t to, engine_log_each *each, void *ctx) {
    memory_disk *d = disk_of(e);
    for (uint64_t i = from; i < to; i++) {
        pthread_mutex_lock(&d->lock);
        bool more = i < d->log_count, kept = i >= d->log_first;
        const log_entry *l = more ? d->log[i] : NULL;
        pthread_mutex_unlock(&d->lock);
        if (!more) return OK;
        if (!kept) return err_fail(ERR_NOT_FOUND, "log: entry %llu", (unsigned long long)i);
        TRY(each(ctx, i, l->entry, l->private_part));
    }
    return OK;
}

static uint64_t mem_log_next(engine *e) {
    memory_disk *d = disk_of(e);
    pthread_mutex_lock(&d->lock);
    uint64_t n = d->log_count;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static err mem_log_trim(engine *e, uint64_t before) {
    memory_disk *d = disk_of(e);
    pthread_mutex_lock(&d->lock);
    if (before > d->log_first) d->log_first = before < d->log_count ? before : d->log_count;
    pthread_mutex_unlock(&d->lock);
    return OK;
}

static err mem_check(engine *e, engine_report *report, void *ctx) {
    (void)e, (void)report, (void)ctx;
    return OK;
}

static void mem_stats(engine *e, engine_stats *ret) {
    memory_disk *d = disk_of(e);
    *ret = (engine_stats){0};
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->stream_count; i++)
        if (d->streams[i]->adopted && !d->streams[i]->released)
            ret->stream_bytes_live += d->streams[i]->data.len;
    ret->stream_bytes_disk = ret->stream_bytes_live;
    ret->log_first = d->log_first;
    ret->log_next = d->log_count;
    ret->commits = ret->commit_batches = d->commits;
    pthread_mutex_unlock(&d->lock);
}

static uint64_t mem_new_id(engine *e) {
    memory_disk *d = disk_of(e);
    pthread_mutex_lock(&d->lock);
    uint64_t id = ++d->last_id;
    pthread_mutex_unlock(&d->lock);
    return id;
}

static void mem_close_engine(engine *e) {
    free(e);
}

static const engine_vtable memory_vtable = {
    .close = mem_close_engine,
    .get = mem_get,
    .scan = mem_scan,
    .cursor_next = mem_cursor_next,
    .cursor_seek = mem_cursor_seek,
    .cursor_free = mem_cursor_free,
    .txn_begin = mem_txn_begin,
    .txn_put = mem_txn_put,
    .txn_delete = mem_txn_delete,
    .txn_adopt = mem_txn_adopt,
    .txn_release = mem_txn_release,
    .txn_log = mem_txn_log,
    .txn_commit = mem_txn_commit,
    .txn_commit_later = mem_txn_commit_later,
    .txn_abort = mem_txn_abort,
    .stream_create = mem_stream_create,
    .stream_room = mem_stream_room,
    .stream_filled = mem_stream_filled,
    .stream_sync = mem_stream_sync,
    .stream_abort = mem_stream_abort,
    .stream_read = mem_stream_read,
    .stream_len = mem_stream_len,
    .vault_put = mem_vault_put,
    .vault_get = mem_vault_get,
    .vault_destroy = mem_vault_destroy,
    .vault_each = mem_vault_each,
    .log_read = mem_log_read,
    .log_next = mem_log_next,
    .log_trim = mem_log_trim,
    .check = mem_check,
    .stats = mem_stats,
    .new_id = mem_new_id,
};

engine *memory_engine_open(memory_disk *d) {
    memory_engine *e = calloc(1, sizeof *e);
    MUST(e);
    e->base.v = &memory_vtable;
    e->disk = d;
    for (size_t i = 0; i < d->stream_count; i++) /* recovery: what nobody adopted is gone */
        if (!d->streams[i]->adopted && !d->streams[i]->released) drop_stream(d->streams[i]);
    return &e->base;
}

memory_disk *memory_disk_new(void) {
    memory_disk *d = calloc(1, sizeof *d);
    MUST(d);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->closed, NULL);
    return d;
}

void memory_disk_free(memory_disk *d) {
    for (size_t t = 0; t < ENGINE_TABLE_COUNT; t++) {
        for (size_t i = 0; i < d->tables[t].count; i++) row_unref(d->tables[t].rows[i]);
        free(d->tables[t].rows);
    }
    for (size_t i = 0; i < d->stream_count; i++) {
        buf_done(&d->streams[i]->data);
        free(d->streams[i]);
    }
    free(d->streams);
    free(d->vault);
    for (uint64_t i = 0; i < d->log_count; i++) free(d->log[i]);
    free(d->log);
    free(d);
}

/* ---- for tests ---- */

void memory_disk_fail_commits(memory_disk *d, int n, err e) {
    d->failures = n;
    d->failure = e;
}

void memory_disk_set_cold(memory_disk *d, bool on) {
    d->cold = on;
}

void memory_disk_on_commit(memory_disk *d, void (*fn)(void *ctx), void *ctx) {
    d->on_commit = fn;
    d->on_commit_ctx = ctx;
}

size_t memory_disk_rows(memory_disk *d, engine_table t) {
    pthread_mutex_lock(&d->lock);
    size_t n = d->tables[t].count;
    pthread_mutex_unlock(&d->lock);
    return n;
}

size_t memory_disk_streams(memory_disk *d) {
    pthread_mutex_lock(&d->lock);
    size_t n = 0;
    for (size_t i = 0; i < d->stream_count; i++)
        n += d->streams[i]->adopted && !d->streams[i]->released;
    pthread_mutex_unlock(&d->lock);
    return n;
}

void memory_disk_damage_slot(memory_disk *d, size_t slot) {
    pthread_mutex_lock(&d->lock);
    MUST(slot < d->vault_count);
    d->vault[slot].secret[0] ^= 1;
    pthread_mutex_unlock(&d->lock);
}

size_t memory_disk_vault_live(memory_disk *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->vault_count; i++) n += !d->vault[i].destroyed;
    return n;
}

bool memory_disk_damage_row(memory_disk *d, engine_table t, size_t n) {
    if (d->tables[t].count == 0) return false;
    row *r = d->tables[t].rows[n % d->tables[t].count];
    if (r->value.len == 0) return false;
    r->bytes[r->key.len + r->value.len / 2] ^= 0x10;
    return true;
}

bool memory_disk_damage_stream(memory_disk *d, size_t n) {
    for (size_t i = 0; i < d->stream_count; i++) {
        stream *s = d->streams[(i + n) % d->stream_count];
        if (!s->adopted || s->released) continue;
        s->data.p[s->data.len / 2] ^= 1;
        return true;
    }
    return false;
}

bool memory_disk_lose_row(memory_disk *d, engine_table t, size_t n) {
    if (d->tables[t].count == 0) return false;
    table_delete(&d->tables[t], d->tables[t].rows[n % d->tables[t].count]->key);
    return true;
}

slice memory_disk_key(memory_disk *d, engine_table t, size_t n) {
    return n < d->tables[t].count ? d->tables[t].rows[n]->key : SLICE_NONE;
}
