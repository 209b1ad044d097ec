/* Streams: written once through a buffer or two into runs, read by reference.
 *
 * Invariants
 *   1. A run's bytes are written once each, in order, into space that only this stream holds; so
 *      a crash at any point leaves other streams as they were.
 *   2. stream_sync returns OK only after every run's data, table and frame are durable
 *      (syncer.c).
 *   3. A run is pinned from its allocation until its row is durable or its space is given back,
 *      and an extent with pins is never sealed: whatever is in it without a row is removed by
 *      recovery.
 *   4. Every write is whole blocks at a block of the file, from memory that begins at a block, the
 *      last one of a run with its zeros, table and frame behind the data: so any of them may
 *      bypass the page cache (O_DIRECT).
 *
 *   WRITING --local_stream_sync--> SYNCED --stream_committed--> gone; runs adopted
 *      |                             |
 *      |                             +------stream_forget-----> gone; runs stay pinned
 *      |                             |                          (nobody knows the outcome)
 *      +--local_stream_abort---------+------------------------> gone; runs given back */
#include <errno.h>

#include "engine/local/private.h"

#define WRITEBACK_BYTES (1u << 20)

struct local_stream {
    engine_stream base;
    uint64_t id, declared, written;
    bool synced;
    run *runs;
    extent **homes; /* of each run */
    uint32_t count, cap;

    bool open;        /* the last of runs is being written */
    bool direct;      /* past the page cache */
    uint64_t room;    /* data bytes it has room for */
    uint64_t put;     /* data bytes of it handed to the kernel: whole blocks */
    uint64_t started; /* and of those, up to where writeback was started */
    uint64_t step;    /* next reservation, for an unknown length */
    stream_buffer buffer;
    size_t fill;           /* data that follows, in the buffer */
    stream_buffer writing; /* what `job` writes from, or wrote; p NULL: there is none yet */
    write_job job;
    uint32_t crc, *table; /* of the present segment; of those before it in this run */
    uint32_t table_cap;
    local_stream *in_txn; /* next of the transaction's adopted */
};

static local *stream_local(local_stream *s) {
    return local_of(s->base.e);
}

err local_stream_create(engine *e, uint64_t len, engine_stream **ret) {
    local *l = local_of(e);
    TRY(local_writable(l));
    local_stream *s = calloc(1, sizeof *s);
    MUST(s != NULL);
    s->base.e = e;
    s->id = e->v->new_id(e);
    s->declared = len;
    s->step = l->ext.run_step_first;
    s->buffer = stream_buffer_get(l, len);
    s->direct = s->buffer.large && len >= STREAM_DIRECT_MIN; /* also when it is not known */
    pthread_cond_init(&s->job.ended, NULL);
    *ret = &s->base;
    return OK;
}

static void stream_free(local_stream *s) {
    MUST(!s->job.busy);
    pthread_cond_destroy(&s->job.ended);
    stream_buffer_put(stream_local(s), s->buffer);
    if (s->writing.p != NULL) stream_buffer_put(stream_local(s), s->writing);
    free(s->runs);
    free(s->homes);
    free(s->table);
    free(s);
}

/* ---- writing ---- */

/* A write into space that is ours: a full disk harms nothing, anything else does. */
static err write_error(local *l, extent *x, int r) {
    char name[16];
    extent_name(x->id, name);
    if (r == -ENOSPC || r == -EDQUOT)
        return err_fail_errno(ERR_NO_SPACE, -r, "extents/%s: write", name);
    return local_fail(l, err_fail_errno(ERR_IO, -r, "extents/%s: write", name));
}

static err run_begin(local_stream *s) {
    local *l = stream_local(s);
    ENSURE(s->count < RUNS_MAX, ERR_NO_SPACE,
           "the disk is too full to hold this content in one piece");
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 2 : s->cap * 2;
        s->runs = reallocarray(s->runs, s->cap, sizeof *s->runs);
        s->homes = reallocarray(s->homes, s->cap, sizeof(extent *));
        MUST(s->runs != NULL && s->homes != NULL);
    }
    uint64_t want = s->step, least;
    if (s->declared != ENGINE_LEN_UNKNOWN) {
        const uint64_t left = s->declared - s->written;
        want = l->ext.run_bytes_max;
        if (left < want) want = (uint64_t)run_blocks_for(left) * EXTENT_BLOCK;
        if (want > l->ext.run_bytes_max) want = l->ext.run_bytes_max;
    }
    least = want < RUN_STEP_FIRST ? want : RUN_STEP_FIRST;
    TRY(extent_alloc(l, want, least, &s->runs[s->count], &s->homes[s->count]));
    s->room = run_data_max(run_disk_len(&s->runs[s->count]));
    s->put = s->started = 0;
    s->crc = 0;
    s->count++;
    s->open = true;
    if (s->step * 2 <= l->ext.run_bytes_max) s->step *= 2;
    return OK;
}

/* The segment table goes on with data that stands `at` bytes into the run. */
static void table_add(local_stream *s, uint64_t at, slice data) {
    while (data.len > 0) {
        const slice part = slice_take(data, SEGMENT_BYTES - at % SEGMENT_BYTES);
        s->crc = crc32c(at % SEGMENT_BYTES == 0 ? 0 : s->crc, part);
        const uint32_t segment = (uint32_t)(at / SEGMENT_BYTES);
        if (segment >= s->table_cap) {
            s->table_cap = segment * 2 + 16;
            s->table = reallocarray(s->table, s->table_cap, sizeof *s->table);
            MUST(s->table != NULL);
        }
        s->table[segment] = s->crc;
        at += part.len;
        data = slice_skip(data, part.len);
    }
}

/* Waits for the write that is under way, if one is. */
static err job_end(local_stream *s) {
    if (!s->job.busy) return OK;
    const int e = write_wait(stream_local(s), &s->job);
    if (!s->job.direct) s->direct = false;
    return e < 0 ? write_error(stream_local(s), s->job.x, e) : OK;
}

/* Starts what went through the page cache on its way to the disk, so that the sync has little left to wait
 * for. */
static void start_writeback(local_stream *s) {
    local *l = stream_local(s);
    const run *r = &s->runs[s->count - 1];
    const uint64_t whole = s->put / WRITEBACK_BYTES * WRITEBACK_BYTES;
    if (s->direct || whole <= s->started) return;
    (void)l->io->writeback(l->io, s->homes[s->count - 1]->fd, r->offset + s->started,
                           whole - s->started);
    s->started = whole;
}

/* Writes the first n bytes of the buffer, whole blocks, behind what the run has already; and waits for what
 * was under way. */
static err put_blocks(local_stream *s, size_t n) {
    local *l = stream_local(s);
    const run *r = &s->runs[s->count - 1];
    extent *x = s->homes[s->count - 1];
    MUST(n % EXTENT_BLOCK == 0 && s->put % EXTENT_BLOCK == 0);
    const int e = extent_write(l, x, &s->direct, s->buffer.p, n, r->offset + s->put);
    TRY(job_end(s));
    if (e < 0) return write_error(l, x, e);
    s->put += n;
    start_writeback(s);
    return OK;
}

/* The buffer is full of whole blocks. A stream that passes the page cache goes on in the other
 * buffer meanwhile. */
static err buffer_flush(local_stream *s) {
    local *l = stream_local(s);
    MUST(s->fill % EXTENT_BLOCK == 0 && s->put % EXTENT_BLOCK == 0);
    TRY(job_end(s));
    const bool two = s->direct && (s->writing.p != NULL || stream_buffer_large(l, &s->writing));
    s->job.x = s->homes[s->count - 1];
    s->job.p = s->buffer.p;
    s->job.n = s->fill;
    s->job.at = s->runs[s->count - 1].offset + s->put;
    s->job.direct = s->direct;
    if (!two || !write_begin(l, &s->job)) {
        TRY(put_blocks(s, s->fill));
        s->fill = 0;
        return OK;
    }
    const stream_buffer full = s->buffer;
    s->buffer = s->writing;
    s->writing = full;
    s->put += s->fill;
    s->fill = 0;
    return OK;
}

/* How much data the buffer takes before it is written. What is left of a known length may use the
 * slack, so that no short write follows. */
static size_t buffer_limit(const local_stream *s) {
    const uint64_t whole = s->fill + (s->declared - s->written);
    const bool last = s->declared != ENGINE_LEN_UNKNOWN && whole <= s->buffer.cap + s->buffer.slack;
    return last ? s->buffer.cap + s->buffer.slack : s->buffer.cap;
}

static void tail_encode(const local_stream *s, const run *r, uint8_t *tail) {
    const uint32_t segments = run_segments(r->data_len);
    const size_t table_len = 4 * (size_t)segments;
    for (uint32_t i = 0; i < segments; i++)
        for (int j = 0; j < 4; j++)
            tail[4 * i + (uint32_t)j] = (uint8_t)(s->table[i] >> (24 - 8 * j));
    frame f = {.extent = r->extent,
               .index = s->count - 1,
               .offset = r->offset,
               .data_len = r->data_len,
               .disk_len = run_disk_len(r),
               .stream = s->id,
               .table_crc = crc32c(0, slice_of(tail, table_len))};
    frame_encode(&f, tail + table_len);
}

/* Ends the run: gives back what it does not need, writes the rest of the data with zeros, table and frame
 * behind it. */
static err run_end(local_stream *s) {
    local *l = stream_local(s);
    run *r = &s->runs[s->count - 1];
    r->data_len = s->put + s->fill;
    MUST(r->data_len > 0 && r->data_len <= s->room);
    extent_trim(l, s->homes[s->count - 1], r, run_blocks_for(r->data_len));
    const size_t tail_len = 4 * (size_t)run_segments(r->data_len) + FRAME_BYTES;
    const size_t n = (size_t)(run_disk_len(r) - s->put);
    MUST(n >= s->fill + tail_len && n <= s->fill + STREAM_TAIL_MAX);
    memset(s->buffer.p + s->fill, 0, n - tail_len - s->fill);
    tail_encode(s, r, s->buffer.p + n - tail_len);
    s->open = false;
    s->fill = 0;
    return put_blocks(s, n);
}

/* The run is at its end: longer in place when its length is not known, or another one. */
static err run_more(local_stream *s) {
    local *l = stream_local(s);
    if (s->open) {
        run *r = &s->runs[s->count - 1];
        if (s->declared == ENGINE_LEN_UNKNOWN &&
            extent_extend(l, s->homes[s->count - 1], r, s->step)) {
            s->room = run_data_max(run_disk_len(r));
            if (s->step * 2 <= l->ext.run_bytes_max) s->step *= 2;
            return OK;
        }
        TRY(run_end(s));
    }
    return run_begin(s);
}

err local_stream_room(engine_stream *base, uint8_t **ret, size_t *ret_len) {
    local_stream *s = (local_stream *)base;
    MUST(!s->synced);
    uint64_t len = s->declared - s->written; /* much, when it is not known */
    if (len > 0 && (!s->open || s->put + s->fill == s->room)) TRY(run_more(s));
    size_t limit = buffer_limit(s);
    if (len > 0 && s->fill == limit) {
        TRY(buffer_flush(s));
        limit = buffer_limit(s);
    }
    if (len > limit - s->fill) len = limit - s->fill;
    if (len > s->room - s->put - s->fill) len = s->room - s->put - s->fill;
    *ret = s->buffer.p + s->fill;
    *ret_len = (size_t)len;
    return OK;
}

void local_stream_filled(engine_stream *base, size_t n) {
    local_stream *s = (local_stream *)base;
    MUST(n <= buffer_limit(s) - s->fill && n <= s->declared - s->written);
    MUST(n == 0 || (s->open && n <= s->room - s->put - s->fill));
    table_add(s, s->put + s->fill, slice_of(s->buffer.p + s->fill, n));
    s->fill += n;
    s->written += n;
}

err local_stream_sync(engine_stream *base, arena *a, slice *ret_ref) {
    local_stream *s = (local_stream *)base;
    local *l = stream_local(s);
    TRY(local_writable(l));
    if (s->open) TRY(run_end(s));
    TRY(job_end(s));
    for (uint32_t i = 0; i < s->count; i++) {
        extent *x = s->homes[i];
        if (i + 1 < s->count && s->homes[i + 1] == x) continue; /* once, after its last run */
        char what[32], name[16];
        extent_name(x->id, name);
        snprintf(what, sizeof what, "extents/%s", name);
        TRY(syncer_wait(&x->sync, l, x->fd, what));
    }
    s->synced = true;
    return ref_encode(s->id, s->runs, s->count, a, ret_ref);
}

/* ---- its end ---- */

void local_stream_abort(engine_stream *base) {
    local_stream *s = (local_stream *)base;
    (void)!job_end(s); /* nothing may be written to what is given back */
    for (uint32_t i = 0; i < s->count; i++) extent_abandoned(stream_local(s), &s->runs[i]);
    stream_free(s);
}

local_stream **stream_txn_link(local_stream *s) {
    return &s->in_txn;
}

void stream_put_rows(local_stream *s, local_txn *t) {
    MUST(s->synced);
    for (uint32_t i = 0; i < s->count; i++) {
        const run *r = &s->runs[i];
        const system_key key = system_key_of('R', r->extent, (uint32_t)(r->offset / EXTENT_BLOCK));
        buf b;
        buf_init(&b, 64);
        txn_system_put(t, &key, run_row(&b, r->data_len, s->id));
        buf_done(&b);
    }
}

void stream_committed(local_stream *s) {
    for (uint32_t i = 0; i < s->count; i++) extent_adopted(stream_local(s), &s->runs[i]);
    stream_free(s);
}

void stream_forget(local_stream *s) {
    stream_free(s);
}

/* ---- reading ---- */

static err read_run(local *l, const run *r, uint64_t at, uint8_t *out, size_t len, bool nowait) {
    fd_lease f;
    TRY(fds_get(l, r->extent, nowait, &f));
    int64_t got = nowait ? l->io->pread_nowait(l->io, f.fd, out, len, r->offset + at)
                         : l->io->pread(l->io, f.fd, out, len, r->offset + at);
    fds_put(l, f);
    if (got == (int64_t)len) return OK;
    if (nowait) return ERR_WOULD_BLOCK; /* also a short answer: a worker reads it whole */
    char name[16];
    extent_name(r->extent, name);
    if (got < 0) return err_fail_errno(ERR_IO, (int)-got, "extents/%s: read", name);
    return err_fail(ERR_CORRUPT, "extents/%s ends before byte %llu", name,
                    (unsigned long long)(r->offset + at + len));
}

err local_stream_read(engine *e, slice in, uint64_t offset, uint8_t *out, size_t len, bool nowait) {
    local *l = local_of(e);
    while (len > 0) {
        run r;
        uint64_t at;
        TRY(ref_find(in, offset, &r, &at));
        size_t part = len;
        if (part > r.data_len - at) part = (size_t)(r.data_len - at);
        TRY(read_run(l, &r, at, out, part, nowait));
        out += part;
        offset += part;
        len -= part;
    }
    return OK;
}

err local_stream_len(engine *e, slice in, uint64_t *ret) {
    (void)local_of(e);
    return ref_decode_len(in, ret);
}
