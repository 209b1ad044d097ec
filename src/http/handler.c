/* What happens to a request, on the loop's thread: libmicrohttpd's access callback, as a state
 * machine.
 *
 * libmicrohttpd calls http_on_access when the headers are there ("first", again each time the
 * connection is resumed before it returned without suspending), for each piece of the body, and
 * when all has arrived ("last", again after each resume). An answer queued in the first call closes
 * the connection, so answers are queued in the last.
 *
 *            first                                              last
 *   HEAD ---------------> ops_begin ok -----> GATHER or STREAM
 *    |  would block: suspend
 *    v
 *   BEGINNING --worker--> BEGUN ------------> GATHER or STREAM           (there is a body)
 *                     \-> READY ------------------------------> SENDING  (none: handler ran)
 *                     \-> REFUSED ----------> READY, SKIP or LINGER
 *
 *   GATHER   body up to OPS_BODY_SMALL_MAX, or none    last: fast row tried here --ok--> SENDING
 *                                                       else suspend, RUNNING --worker--> READY
 *            a change that is not waited for (OPS_LATER): RUNNING, resumed when it is durable --> READY
 *            the record of a read: HELD, asked again on each run of the loop (loop.c), durable --> SENDING
 *   STREAM   body through the ring (pipe.c) to an upload worker; suspended while the ring is full
 *            last: suspend until the handler is done --> SENDING
 *            handler done before the body's end: success or little left --> SKIP, else --> LINGER
 *   SKIP     the answer is known, the rest of the body is dropped      last: --> SENDING
 *   LINGER   the answer has been written by us (answer.c); what still comes is dropped until the
 *            client closes, the body ends or time is up; then the connection closes
 *   SENDING  the answer is libmicrohttpd's; streamed bodies by feed.c
 *
 * Suspending and resuming: the loop suspends *before* it gives the request to a worker (or under
 * the lock that the worker takes before it resumes), so that no resume can come before its suspend.
 * In BEGINNING and RUNNING the worker owns the request until it calls MHD_resume_connection, the
 * last thing it does.
 *
 * Changes not waited for: the handler comes to its end on the loop or on a worker, the change to its
 * own on a thread of the engine, in any order. Each counts itself in `later_ends`; the second of the two
 * owns the request from then on and resumes it.
 *
 * Records: an answer whose record no change carries waits until that is durable; nothing of it leaves before. One that
 * is known in libmicrohttpd's last call waits in HELD (answer_last), all others suspended in RUNNING (record_then_go), and
 * so do those that wait for witnesses.
 * The engine owns nothing of a request in HELD: it marks it, and gives back its reference. */
#include "base/base.h"
#include "http/internal.h"

static http_request *of_job(http_job *j) {
    return (http_request *)(void *)((uint8_t *)j - offsetof(http_request, job));
}

static void fail(http_request *h, err e) {
    ops_fail(&h->req, &h->res, e);
}

/* Suspends, then hands over. When no worker takes it, the request goes on with `busy`. */
static enum MHD_Result hand_over(http_request *h, http_phase phase, void (*run)(http_job *),
                                 http_phase busy) {
    h->phase = phase;
    h->job.run = run;
    h->parked = true;
    http_peer_busy(h->peer); /* before the worker may resume it */
    MHD_suspend_connection(h->conn);
    bool is_long = phase == HTTP_RUNNING && (h->req.row->flags & OPS_LONG) != 0;
    http_server *server = h->on->server;
    if (!http_pool_push(is_long ? server->uploads : server->workers, &h->job, false)) {
        err_note("too many requests are waiting");
        fail(h, ERR_SERVER_BUSY);
        h->phase = busy;
        http_loop_resume(h);
    }
    return MHD_YES;
}

/* ---- the record ---- */

static bool must_record(http_request *h) {
    if (h->recorded || !ops_record_due(&h->req, &h->res)) return false;
    h->recorded = true;
    return true;
}

/* The record is durable, or cannot be had; the connection is suspended. */
static void record_done(void *ctx, err e) {
    http_request *h = ctx;
    http_server *s = h->on->server;
    if (e != OK) fail(h, e);
    h->phase = HTTP_READY;
    if (h->early && !http_answer_early(h)) h->linger_until_us = 0; /* nobody is there any more */
    h->early = false;
    http_loop_resume(h);
    atomic_fetch_sub(&s->laters, 1);
}

/* The connection is suspended, and goes on as READY, or as LINGER after an early answer. */
static void record_then_go(http_request *h) {
    atomic_fetch_add(&h->on->server->laters, 1);
    ops_record_later(&h->req, &h->res, record_done, h);
}

static void suspend_for_record(http_request *h) {
    h->phase = HTTP_RUNNING;
    h->parked = true;
    http_peer_busy(h->peer);
    MHD_suspend_connection(h->conn);
    record_then_go(h);
}

static enum MHD_Result answer(http_request *h) {
    if (!must_record(h)) return http_answer(h);
    suspend_for_record(h);
    return MHD_YES;
}

/* A thread of the engine, of a held request. The client may have gone, and the connection with it. */
static void held_done(void *ctx, err e) {
    http_request *h = ctx;
    http_server *s = h->on->server;
    h->later_error = e;
    if (e != OK) h->later_detail = strdup(err_detail());
    atomic_store(&h->durable, true);
    http_loop_wake(h->loop);
    http_request_unref(h);
    atomic_fetch_sub(&s->laters, 1);
}

/* In the last call only: libmicrohttpd makes it again on each run until there is an answer (loop.c). */
static enum MHD_Result answer_last(http_request *h) {
    if (!must_record(h)) return http_answer(h);
    if (ops_witness_due(&h->req)) { /* too long for the loop to ask all the time */
        suspend_for_record(h);
        return MHD_YES;
    }
    h->phase = HTTP_HELD;
    h->loop->held++;
    free(h->later_detail);
    h->later_detail = NULL;
    atomic_store_explicit(&h->durable, false, memory_order_relaxed);
    atomic_fetch_add(&h->refs, 1); /* held_done's */
    atomic_fetch_add(&h->on->server->laters, 1);
    ops_record_later(&h->req, &h->res, held_done, h);
    return MHD_YES;
}

static enum MHD_Result let_go(http_request *h) {
    h->loop->held--;
    if (h->later_error != OK)
        fail(h, err_fail(h->later_error, "%s", h->later_detail ? h->later_detail : ""));
    return http_answer(h);
}

/* On a worker, or on a thread of the engine: the answer is known. */
static void go_on(http_request *h) {
    if (must_record(h)) {
        record_then_go(h);
        return;
    }
    h->phase = HTTP_READY;
    http_loop_resume(h);
}

/* ---- changes that are not waited for ---- */

static void job_run_waiting(http_job *j);

/* Both ends have come; the connection is suspended. */
static void come_to_end(http_request *h) {
    http_server *s = h->on->server;
    if (h->later_error == ERR_CONFLICT) { /* the engine asks to do it again: with a thread, then */
        h->req.recorder.taken = false;
        h->phase = HTTP_RUNNING;
        h->job.run = job_run_waiting;
        if (http_pool_push(s->workers, &h->job, true)) {
            atomic_fetch_sub(&s->laters, 1);
            return;
        }
    }
    if (h->later_error != OK)
        fail(h, err_fail(h->later_error, "%s", h->later_detail ? h->later_detail : ""));
    go_on(h);
    atomic_fetch_sub(&s->laters, 1);
}

static void change_done(void *ctx, err e) {
    http_request *h = ctx;
    h->later_error = e;
    if (e != OK) h->later_detail = strdup(err_detail()); /* the arena may be in use */
    if (atomic_fetch_add(&h->later_ends, 1) == 1) come_to_end(h);
}

static void handler_done(http_request *h) {
    if (atomic_fetch_add(&h->later_ends, 1) == 1) come_to_end(h);
}

/* From here on the handler may leave its change under way, unless the server is about to stop. */
static void allow_later(http_request *h) {
    http_server *s = h->on->server;
    h->req.later = NULL;
    if ((h->req.row->flags & OPS_LATER) == 0) return;
    atomic_fetch_add(&s->laters, 1);
    if (atomic_load(&s->aborting)) {
        atomic_fetch_sub(&s->laters, 1);
        return;
    }
    free(h->later_detail);
    h->later_detail = NULL;
    atomic_store_explicit(&h->later_ends, 0, memory_order_relaxed);
    h->later = (store_later){.done = change_done, .ctx = h};
    h->req.later = &h->later;
}

/* The handler has returned: is its change under way? */
static bool is_later(http_request *h) {
    if (h->req.later == NULL) return false;
    h->req.later = NULL;
    if (h->later.taken) return true;
    atomic_fetch_sub(&h->on->server->laters, 1);
    return false;
}

/* ---- the handler ---- */

static void run_blocking(http_request *h) {
    h->req.nowait = false;
    err e = ops_run(&h->req, &h->res);
    if (e == OK) e = http_hold(h);
    if (e != OK) fail(h, e);
}

static void job_run(http_job *j) {
    http_request *h = of_job(j);
    allow_later(h);
    run_blocking(h);
    if (is_later(h))
        handler_done(h);
    else
        go_on(h);
}

static void job_run_waiting(http_job *j) {
    http_request *h = of_job(j);
    run_blocking(h);
    go_on(h);
}

static void job_begin(http_job *j) {
    http_request *h = of_job(j);
    h->req.nowait = false;
    err e = ops_begin(&h->req);
    if (e != OK) {
        fail(h, e);
        h->phase = HTTP_REFUSED;
    } else if (h->req.content_length == 0) {
        run_blocking(h);
        go_on(h);
        return;
    } else {
        h->phase = HTTP_BEGUN;
    }
    http_loop_resume(h);
}

static enum MHD_Result wait_for_change(http_request *h) {
    h->phase = HTTP_RUNNING;
    h->parked = true;
    http_peer_busy(h->peer);
    MHD_suspend_connection(h->conn);
    handler_done(h);
    return MHD_YES;
}

/* All of a small body is there, or there is none. */
static enum MHD_Result run(http_request *h) {
    if (h->gathered != NULL) h->req.body = slice_of(h->gathered, h->body_at);
    h->body_at = 0; /* from here on: how far body_read has read */
    if (h->req.row->flags & OPS_FAST) {
        h->req.nowait = true;
        allow_later(h);
        err e = ops_run(&h->req, &h->res);
        if (e == OK) e = http_hold(h);
        if (is_later(h)) return wait_for_change(h);
        if (e != ERR_WOULD_BLOCK) {
            if (e != OK) fail(h, e);
            return answer_last(h);
        }
    }
    return hand_over(h, HTTP_RUNNING, job_run, HTTP_READY);
}

/* ---- the body ---- */

/* How much of the body is still to come, as far as it says; req.content_length is the handler's, for whom
 * a structured message is shorter. */
static uint64_t left_of_body(const http_request *h) {
    uint64_t len = h->body_len;
    return len == OPS_LEN_UNKNOWN ? OPS_LEN_UNKNOWN : len - h->req.bytes_in;
}

static enum MHD_Result early(http_request *h) {
    if (must_record(h)) {
        h->early = true;
        suspend_for_record(h);
        return MHD_YES;
    }
    return http_answer_early(h) ? MHD_YES : MHD_NO;
}

/* The answer is known while the body is under way. */
static enum MHD_Result stop_taking(http_request *h) {
    if (h->res.error == OK || left_of_body(h) <= HTTP_SKIP_MAX) {
        h->phase = HTTP_SKIP;
        h->linger_until_us = clock_mono_us() + HTTP_LINGER_US;
        return MHD_YES;
    }
    return early(h);
}

static enum MHD_Result open_body(http_request *h) {
    const ops_request *r = &h->req;
    bool chunked = r->content_length == OPS_LEN_UNKNOWN;
    h->head_done = true;
    h->phase = HTTP_GATHER;
    if (r->content_length == 0) return MHD_YES;
    if (!(r->row->flags & OPS_BODY_IN)) {
        h->discard = true;
    } else if ((chunked || r->content_length > OPS_BODY_SMALL_MAX) &&
               (r->row->flags & OPS_BODY_STREAMS)) {
        h->phase = HTTP_STREAM;
    } else {
        h->gathered_cap = chunked ? OPS_BODY_SMALL_MAX : (size_t)r->content_length;
        h->gathered = arena_try(r->arena, h->gathered_cap);
        MUST(h->gathered != NULL);
    }
    return MHD_YES;
}

static enum MHD_Result gather(http_request *h, const uint8_t *data, size_t n) {
    size_t cap = h->discard ? OPS_BODY_SMALL_MAX : h->gathered_cap;
    if (n > cap - h->body_at) {
        err_note("the body is larger than %zu bytes", cap);
        fail(h, ERR_REQUEST_BODY_TOO_LARGE);
        return stop_taking(h);
    }
    if (!h->discard) memcpy(h->gathered + h->body_at, data, n);
    h->body_at += n;
    return MHD_YES;
}

static enum MHD_Result drop(http_request *h, size_t n) {
    h->skipped += n;
    if (clock_mono_us() < h->linger_until_us) return MHD_YES;
    return MHD_NO; /* time is up */
}

static enum MHD_Result on_body(http_request *h, const uint8_t *data, size_t *size) {
    size_t n = *size, taken = n;
    enum MHD_Result go = MHD_YES;
    switch (h->phase) {
    case HTTP_GATHER:
        h->req.bytes_in += n;
        go = gather(h, data, n);
        break;
    case HTTP_STREAM:
        if (http_pipe_write(h, data, n, &taken)) {
            h->req.bytes_in += taken;
        } else {
            taken = n;
            h->req.bytes_in += n;
            go = stop_taking(h);
        }
        break;
    case HTTP_SKIP:
    case HTTP_LINGER:
        h->req.bytes_in += n;
        go = drop(h, n);
        break;
    default:
        return MHD_NO;
    }
    *size -= taken;
    return go;
}

/* ---- first and last calls ---- */

/* ops_begin said no; the error is rendered. */
static enum MHD_Result refuse(http_request *h) {
    h->head_done = true;
    h->phase = HTTP_READY;
    if (h->req.content_length == 0) return MHD_YES;   /* answered in the last call */
    if (h->expects || h->res.close) return answer(h); /* no body has been sent: closes */
    return stop_taking(h);
}

static enum MHD_Result on_head(http_request *h, const char *method) {
    h->begun = true;
    http_peer_busy(h->peer);
    atomic_fetch_add(&h->on->server->active, 1);
    err e = http_request_read_head(h, method);
    if (e != OK) {
        fail(h, e);
        h->res.close = true;
        return answer(h);
    }
    h->body_len = h->req.content_length;
    h->req.nowait = true;
    e = ops_begin(&h->req);
    if (e == OK) return open_body(h);
    if (e == ERR_WOULD_BLOCK) return hand_over(h, HTTP_BEGINNING, job_begin, HTTP_REFUSED);
    fail(h, e);
    return refuse(h);
}

static enum MHD_Result on_ready(http_request *h) {
    if (h->head_done) return answer_last(h);
    if (h->res.close) return answer(h);
    h->head_done = true;
    return MHD_YES;
}

static enum MHD_Result step(http_request *h, const char *method) {
    switch (h->phase) {
    case HTTP_HEAD:
        return on_head(h, method);
    case HTTP_BEGUN:
        return open_body(h);
    case HTTP_REFUSED:
        return refuse(h);
    case HTTP_GATHER:
        return run(h);
    case HTTP_STREAM:
        return http_pipe_end(h) ? answer_last(h) : MHD_YES;
    case HTTP_READY:
        return on_ready(h);
    case HTTP_SKIP:
        return answer_last(h);
    case HTTP_HELD:
        return let_go(h);
    case HTTP_BEGINNING:
    case HTTP_RUNNING:
    case HTTP_LINGER:
    case HTTP_SENDING:
        break;
    }
    return MHD_NO;
}

/* Does the connection now wait for bytes of its client? */
static void tell_peer(http_request *h) {
    bool body = h->phase == HTTP_GATHER || h->phase == HTTP_STREAM || h->phase == HTTP_SKIP ||
                h->phase == HTTP_LINGER;
    if (body)
        http_peer_waits(h->peer, h->phase != HTTP_STREAM);
    else if (h->phase == HTTP_SENDING && h->held > 0)
        http_sweep_reads(h->on->server->sweep, h->peer, h->res.body.len);
    else
        http_peer_busy(h->peer);
}

enum MHD_Result http_on_access(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **con_cls) {
    (void)cls, (void)c, (void)url, (void)version;
    http_request *h = *con_cls;
    if (h == NULL) return MHD_NO;
    if (h->phase == HTTP_HELD && !atomic_load(&h->durable)) return MHD_YES;
    http_loop_progress();
    h->parked = false;
    enum MHD_Result go = *size > 0 ? on_body(h, (const uint8_t *)data, size) : step(h, method);
    if (!h->parked) tell_peer(h);
    return go;
}

void http_on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                       enum MHD_RequestTerminationCode why) {
    (void)cls, (void)c;
    http_request *h = *con_cls;
    if (h == NULL) return;
    *con_cls = NULL;
    http_loop_progress();
    if (h->phase == HTTP_HELD) h->loop->held--; /* its client has gone, or time is up */
    h->aborted = why != MHD_REQUEST_TERMINATED_COMPLETED_OK && !h->answered;
    http_peer_busy(h->peer);
    http_peer_waits(h->peer, true); /* from now on, for the next head */
    http_pipe_cancel(h);
    http_request_unref(h);
}
