/* The ring between the loop that receives a body and the worker that reads it.
 *
 * What holds: 0 <= len <= cap; the reader alone moves head; len grows by the loop and shrinks by
 * the reader, under the lock; `suspended` is set by the loop in the same critical section in which
 * it suspends the connection, and cleared by whoever resumes it, so that it is resumed exactly
 * once. The worker is asked for when the ring is half full or the body has come to its end: a
 * client that dribbles costs memory, not a thread. */
#include <errno.h>
#include <time.h>

#include "base/base.h"
#include "http/internal.h"

#define TICK_US INT64_C(250000) /* how often a sleeping reader looks whether the server stops */

static void suspend(http_request *h) {
    h->pipe.suspended = h->parked = true;
    http_peer_busy(h->peer);
    MHD_suspend_connection(h->conn);
}

static void resume(http_request *h) {
    if (!h->pipe.suspended) return;
    h->pipe.suspended = false;
    http_loop_resume(h);
}

static void run_handler(http_job *j) {
    http_request *h = (http_request *)(void *)((uint8_t *)j - offsetof(http_request, job));
    h->req.nowait = false;
    err e = ops_run(&h->req, &h->res);
    if (e != OK) ops_fail(&h->req, &h->res, e);
    http_pipe_done(h);
    http_request_unref(h);
}

/* Under the lock. The worker has a reference of its own: the client may go away under it. */
static void start(http_request *h) {
    if (h->pipe.started) return;
    h->pipe.started = true;
    h->job.run = run_handler;
    atomic_fetch_add(&h->refs, 1);
    if (http_pool_push(h->on->server->uploads, &h->job, false)) return;
    atomic_fetch_sub(&h->refs, 1);
    err_note("no thread is free for another upload");
    ops_fail(&h->req, &h->res, ERR_SERVER_BUSY);
    h->pipe.done = true;
}

static void copy_in(http_pipe *k, size_t at, const uint8_t *data, size_t n) {
    size_t first = k->cap - at < n ? k->cap - at : n;
    memcpy(k->p + at, data, first);
    memcpy(k->p, data + first, n - first);
}

bool http_pipe_write(http_request *h, const uint8_t *data, size_t n, size_t *ret_taken) {
    http_pipe *k = &h->pipe;
    size_t taken = 0;
    if (k->p == NULL) k->p = http_buffer_get(h->on->server->buffers, &k->cap);
    pthread_mutex_lock(&h->lock);
    while (taken < n && !k->done) {
        size_t room = k->cap - k->len, at = (k->head + k->len) % k->cap;
        if (room == 0) {
            suspend(h);
            break;
        }
        size_t step = n - taken < room ? n - taken : room;
        pthread_mutex_unlock(&h->lock);
        copy_in(k, at, data + taken, step);
        pthread_mutex_lock(&h->lock);
        k->len += step;
        k->period_bytes += step;
        taken += step;
        if (k->len >= k->cap / 2) start(h);
        if (k->want > 0 && k->len >= k->want) pthread_cond_signal(&h->readable);
    }
    bool done = k->done;
    pthread_mutex_unlock(&h->lock);
    *ret_taken = taken;
    return !done;
}

bool http_pipe_end(http_request *h) {
    pthread_mutex_lock(&h->lock);
    h->pipe.eof = true;
    start(h);
    pthread_cond_signal(&h->readable);
    bool done = h->pipe.done;
    if (!done) suspend(h);
    pthread_mutex_unlock(&h->lock);
    return done;
}

void http_pipe_cancel(http_request *h) {
    if (!h->pipe.started && !h->feed.on) return; /* no worker has seen this request's body */
    pthread_mutex_lock(&h->lock);
    h->pipe.cancelled = true;
    h->feed.cancelled = true;
    pthread_cond_signal(&h->readable);
    pthread_mutex_unlock(&h->lock);
}

void http_pipe_done(http_request *h) {
    pthread_mutex_lock(&h->lock);
    h->pipe.done = true;
    resume(h);
    pthread_mutex_unlock(&h->lock);
}

/* Only time spent waiting for the client counts, not what the handler needs between reads. */
static bool too_slow(http_pipe *k) {
    if (k->waited_us < HTTP_PROGRESS_US) return false;
    bool slow = k->period_bytes < HTTP_PROGRESS_BYTES;
    k->waited_us = 0;
    k->period_bytes = 0;
    return slow;
}

/* Under the lock: until `want` bytes are there, or no more will come. */
static err wait_for(http_request *h, size_t want) {
    http_pipe *k = &h->pipe;
    while (k->len < want && !k->eof) {
        ENSURE(!k->cancelled, ERR_CANCELLED, "the client went away");
        ENSURE(!atomic_load(&h->on->server->aborting), ERR_CANCELLED, "the server is stopping");
        ENSURE(!too_slow(k), ERR_CANCELLED, "the body came too slowly");
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + TICK_US * 1000;
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        k->want = want;
        int64_t before = clock_mono_us();
        pthread_cond_timedwait(&h->readable, &h->lock, &until);
        k->waited_us += clock_mono_us() - before;
        k->want = 0;
    }
    /* Cut off in the middle is not an end. */
    ENSURE(!k->cancelled || k->eof, ERR_CANCELLED, "the client went away");
    return OK;
}

/* What the handler was given of a body that was gathered. */
static slice take_gathered(http_request *h, size_t cap) {
    if (h->req.body.len == 0) return SLICE_NONE;
    slice part = slice_take(slice_skip(h->req.body, h->body_at), cap);
    h->body_at += part.len;
    return part;
}

/* Under the lock: room again for what was lent. The loop is not woken for a few bytes, but for half a ring at
 * least; at eof it waits for the handler's end, not for room. */
static void give_back(http_request *h) {
    http_pipe *k = &h->pipe;
    if (k->lent == 0) return;
    k->head = (k->head + k->lent) % k->cap;
    k->len -= k->lent;
    k->lent = 0;
    if (!k->eof && k->cap - k->len >= k->cap / 2) resume(h);
}

/* Lends up to cap bytes in one piece, once that many are there, or half a ring. */
static err lend(http_request *h, size_t cap, slice *ret) {
    http_pipe *k = &h->pipe;
    const size_t half = k->cap / 2;
    pthread_mutex_lock(&h->lock);
    give_back(h);
    err e = wait_for(h, cap < half ? cap : half);
    size_t n = e != OK ? 0 : k->len < cap ? k->len : cap;
    if (n > k->cap - k->head) n = k->cap - k->head;
    k->lent = n;
    *ret = n == 0 ? SLICE_NONE : slice_of(k->p + k->head, n); /* there may be no ring at all */
    pthread_mutex_unlock(&h->lock);
    return e;
}

err http_pipe_read(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n) {
    http_request *h = r->adapter;
    slice part = SLICE_NONE;
    const bool ring = h->pipe.started;
    if (!ring)
        part = take_gathered(h, cap);
    else if (cap > 0)
        TRY(lend(h, cap, &part));
    if (part.len > 0) memcpy(out, part.p, part.len);
    *ret_n = part.len;
    if (!ring) return OK;
    pthread_mutex_lock(&h->lock);
    give_back(h);
    pthread_mutex_unlock(&h->lock);
    return OK;
}

err http_pipe_take(ops_request *r, slice *ret) {
    http_request *h = r->adapter;
    if (h->pipe.started) return lend(h, h->pipe.cap / 2, ret);
    *ret = take_gathered(h, SIZE_MAX);
    return OK;
}
