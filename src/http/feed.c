/* A streamed body on its way out.
 *
 * As long as the source answers without blocking (nowait), the loop reads straight into
 * libmicrohttpd's block. The first time it would block, a worker takes over for the rest of the
 * body: it fills one half while the loop empties the other, and ends when both are full, so that a
 * slow reader holds memory but no thread.
 *
 * A body of unknown length (OPS_LEN_UNKNOWN, sent in chunks) ends when its source gives nothing.
 *
 * What holds: half[i].ready says whose it is (the loop's when ready, else the worker's); at most
 * one worker fills at a time (`filling`), with a reference of its own; `suspended` is set in the
 * critical section that suspends the connection and cleared by who resumes it. */
#include <sys/socket.h>

#include "base/base.h"
#include "http/internal.h"

static void fill(http_job *j);

/* The half to fill next, or NULL when there is nothing to do. Under the lock. */
static struct http_half *next_half(http_request *h) {
    http_feed *f = &h->feed;
    struct http_half *k = &f->half[f->fill];
    bool over = f->cancelled || f->over || f->error != OK || f->next >= h->res.length;
    return over || k->ready ? NULL : k;
}

/* Under the lock. False when there is nothing to fill or no worker can be had (the server stops).
 */
static bool start(http_request *h) {
    if (h->feed.filling) return true;
    if (next_half(h) == NULL) return false;
    h->feed.filling = true;
    h->job.run = fill;
    atomic_fetch_add(&h->refs, 1);
    if (http_pool_push(h->on->server->workers, &h->job, true)) return true;
    atomic_fetch_sub(&h->refs, 1);
    h->feed.filling = false;
    return false;
}

static bool ends_when_empty(const http_request *h) {
    return h->res.length == OPS_LEN_UNKNOWN;
}

static err read_source(http_request *h, struct http_half *k) {
    uint64_t left = h->res.length - h->feed.next;
    size_t want = left < k->cap ? (size_t)left : k->cap, n = 0;
    err_clear();
    TRY(h->res.source_read(h->res.source_ctx, h->feed.next, k->p, want, false, &n));
    ENSURE((n > 0 || ends_when_empty(h)) && n <= want, ERR_CORRUPT,
           "the content ends before its length");
    k->len = n;
    return OK;
}

static void fill(http_job *j) {
    http_request *h = (http_request *)(void *)((uint8_t *)j - offsetof(http_request, job));
    http_feed *f = &h->feed;
    pthread_mutex_lock(&h->lock);
    for (struct http_half *k; (k = next_half(h)) != NULL;) {
        pthread_mutex_unlock(&h->lock);
        if (k->p == NULL) k->p = http_buffer_get(h->on->server->buffers, &k->cap);
        err e = read_source(h, k);
        if (e != OK) f->detail = arena_dup(h->req.arena, slice_str(err_detail()));
        pthread_mutex_lock(&h->lock);
        f->error = e;
        if (e == OK && k->len == 0) {
            f->over = true;
        } else if (e == OK) {
            f->next += k->len;
            k->at = 0;
            k->ready = true;
            f->fill ^= 1;
        }
        if (f->suspended) {
            f->suspended = false;
            http_loop_resume(h);
        }
    }
    f->filling = false;
    pthread_mutex_unlock(&h->lock);
    http_request_unref(h);
}

/* The answer is cut short and the connection closes. libmicrohttpd 0.9.75 marks it closed and cleans up at
 * the socket's next event, which a client that waits for the rest never causes: shutting the socket
 * down does. */
static ssize_t give_up(http_request *h, err e, slice detail) {
    h->res.error = e;
    h->res.detail = detail;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(h->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL) (void)shutdown(info->connect_fd, SHUT_RDWR);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Under the lock: from the half that is ready; 0 when the connection was suspended. */
static ssize_t take(http_request *h, char *out, size_t max) {
    http_feed *f = &h->feed;
    struct http_half *k = &f->half[f->take];
    if (k->ready) {
        size_t n = k->len - k->at < max ? k->len - k->at : max;
        memcpy(out, k->p + k->at, n);
        k->at += n;
        if (k->at == k->len) {
            k->ready = false;
            f->take ^= 1;
            (void)start(h); /* when it cannot, the next call finds out */
        }
        return (ssize_t)n;
    }
    if (f->error != OK) return give_up(h, f->error, f->detail);
    if (f->over) return MHD_CONTENT_READER_END_OF_STREAM;
    if (!start(h)) return give_up(h, ERR_CANCELLED, S("the server is stopping"));
    f->suspended = true;
    MHD_suspend_connection(h->conn);
    return 0;
}

ssize_t http_feed_read(void *cls, uint64_t pos, char *out, size_t max) {
    http_request *h = cls;
    http_feed *f = &h->feed;
    ssize_t n = 0;
    http_loop_progress();
    if (!f->on) {
        size_t got = 0;
        err_clear();
        err e = h->res.source_read(h->res.source_ctx, pos, (uint8_t *)out, max, true, &got);
        if (e == OK && got > 0 && got <= max) {
            h->req.bytes_out += got;
            return (ssize_t)got;
        }
        if (e == OK && got == 0 && ends_when_empty(h)) return MHD_CONTENT_READER_END_OF_STREAM;
        if (e == OK) return give_up(h, ERR_CORRUPT, S("the content ends before its length"));
        if (e != ERR_WOULD_BLOCK)
            return give_up(h, e, arena_dup(h->req.arena, slice_str(err_detail())));
        f->on = true;
        f->next = pos;
    }
    pthread_mutex_lock(&h->lock);
    n = take(h, out, max);
    pthread_mutex_unlock(&h->lock);
    if (n > 0) h->req.bytes_out += (uint64_t)n;
    return n;
}

void http_feed_done(http_request *h) {
    for (size_t i = 0; i < 2; i++)
        http_buffer_put(h->on->server->buffers, h->feed.half[i].p, h->feed.half[i].cap);
}
