/* Private to http/: the request object, the pools, and what the files here call of each other. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "http/http.h"

#define HTTP_STACK_BYTES  ((size_t)1 << 20)  /* of every thread started here */
#define HTTP_ARENA_FIRST  ((size_t)12 << 10) /* a request's first block; most need no other */
#define HTTP_ARENA_MAX    ((size_t)128 << 20)
#define HTTP_FREE_MAX     1024u              /* request objects kept for the next request */
#define HTTP_QUEUE_MAX    8192u              /* requests waiting for a worker; more: 503 */
#define HTTP_BLOCK        ((size_t)64 << 10) /* what a streamed answer hands to the socket at once */
#define HTTP_BUFFER_LARGE ((size_t)256 << 10)
#define HTTP_BUFFER_SMALL ((size_t)64 << 10)
#define HTTP_BUFFERS_MAX  256u /* large ones in use at once; beyond it small ones are given */
#define HTTP_BUFFERS_FREE 64u  /* large ones kept for reuse */
/* libmicrohttpd's memory of a connection, for the headers in and out. It clears all of it after each
 * request, so more is dear (docs/decisions/0004-http.md). Azure takes 16 KiB of headers. */
#define HTTP_CONN_MEMORY ((size_t)32 << 10)
/* Answers in memory above OPS_BODY_SMALL_MAX (listings, ranges with a checksum), all together: what
 * slow readers can hold. Beyond it they are answered 503. */
#define HTTP_ANSWERS_MAX ((uint64_t)512 << 20)
/* A refused body up to this length is read and dropped, and the connection lives on. */
#define HTTP_SKIP_MAX ((uint64_t)1 << 20)
/* After an answer that came before the body's end: how long the client may go on sending. */
#define HTTP_LINGER_US INT64_C(30000000)
/* A body that streams in must bring this much in each period of waiting, or it is given up. */
#define HTTP_PROGRESS_US    INT64_C(60000000)
#define HTTP_PROGRESS_BYTES ((uint64_t)64 << 10)

/* ---- pool.c: threads that may block ---- */

typedef struct http_job {
    struct http_job *next;
    void (*run)(struct http_job *j);
} http_job;

typedef struct http_pool http_pool;
http_pool *http_pool_new(const char *name, unsigned threads_max, size_t queue_max);
/* False when the queue is full (unless `always`) or the pool is closed: the job was not taken. */
bool http_pool_push(http_pool *p, http_job *j, bool always) CHECKED;
/* No new jobs; returns when those taken have run and the threads are gone. */
void http_pool_close(http_pool *p);
http_pool *http_pool_free(http_pool *p);
void http_pool_stats(http_pool *p, uint64_t *ret_busy, uint64_t *ret_queued);

/* ---- buffers.c: memory of bodies under way ---- */

typedef struct http_buffers http_buffers;
http_buffers *http_buffers_new(void);
http_buffers *http_buffers_free(http_buffers *b);
/* HTTP_BUFFER_LARGE bytes while the budget lasts, HTTP_BUFFER_SMALL beyond it. */
uint8_t *http_buffer_get(http_buffers *b, size_t *ret_cap);
void http_buffer_put(http_buffers *b, uint8_t *p, size_t cap);

/* ---- tls.c ---- */

typedef struct http_tls http_tls;
extern const char http_tls_priorities[];
/* ERR_CONFIG with the file that does not load. */
err http_tls_new(const char *certificate, const char *key, http_tls **ret) CHECKED;
/* New handshakes take the new certificate; on failure the old one stays. */
err http_tls_reload(http_tls *t) CHECKED;
http_tls *http_tls_free(http_tls *t);
/* The gnutls_certificate_retrieve_function2 of every daemon: asks the connection's listener. */
void *http_tls_callback(void);
/* Sends text at once over the connection's TLS session; false when it does not go out whole. */
bool http_tls_send(struct MHD_Connection *c, slice text);

/* ---- listen.c ---- */

err http_listen_tcp(const char *address, uint16_t port, int *ret_fd) CHECKED;
err http_listen_unix(const char *path, int *ret_fd) CHECKED;
/* ---- one listener, one connection, one request ---- */

/* loop.c */
struct http_request;
typedef struct http_loop {
    struct MHD_Daemon *daemon;
    int epoll_fd; /* the daemon's */
    int wake_fd;
    pthread_t thread;
    bool started;
    _Atomic bool stop, quiesce;
    _Atomic bool woken; /* wake_fd has been written to, or is about to be */
    /* The loop's own: */
    unsigned held;     /* connections in HTTP_HELD */
    uint64_t progress; /* counts callbacks that did something */
} http_loop;

/* The loop of this thread; NULL on others. */
http_loop *http_loop_here(void);
/* Something happened in this run of the loop, so that another may find more. */
static inline void http_loop_progress(void) {
    http_loop *l = http_loop_here();
    if (l != NULL) l->progress++;
}
/* Any thread: the loop runs once more, from when this was called on. */
void http_loop_wake(http_loop *l);
/* Any thread: the suspended connection goes on. The caller has no part in the request from here on. */
void http_loop_resume(struct http_request *h);
/* With l->daemon and wake_fd -1. ERR_IO: no descriptor or thread was to be had; http_loop_end all the same. */
err http_loop_start(http_loop *l) CHECKED;
/* No new connections from now on; the listening socket stays open. */
void http_loop_quiesce(http_loop *l);
/* Ends thread and daemon. No connection may be suspended; those that are left are closed. */
void http_loop_end(http_loop *l);

#define HTTP_LOOPS_MAX 256u

typedef struct http_on { /* a listener that runs */
    http_server *server;
    ops_server *ops;
    http_loop *loops;
    unsigned loop_count;
    http_tls *tls;       /* NULL: plain */
    int fd;              /* listening; the loops share it, and leave it to us */
    char unix_path[108]; /* unlinked at the end; empty: TCP */
} http_on;

struct http_server {
    http_on *on;
    size_t on_count;
    http_pool *workers, *uploads;
    http_buffers *buffers;
    struct http_sweep *sweep;
    _Atomic bool stopping; /* answers say Connection: close */
    _Atomic bool aborting; /* uploads under way are given up */
    _Atomic uint64_t connections, active;
    _Atomic uint64_t held; /* bytes of large answers in memory */
    uint64_t held_max;
    _Atomic uint64_t laters; /* requests whose change or record may be under way without a thread */
    pthread_mutex_t free_lock;
    struct http_request *free; /* request objects to be used again */
    unsigned free_count;
};

typedef struct http_sweep http_sweep;

typedef struct http_peer { /* a connection's */
    http_on *on;
    size_t len;
    char text[48];
    int fd;
    _Atomic bool waits; /* for bytes of its client */
    _Atomic int64_t
        since_us;   /* since when something short is awaited, or a large answer held; 0: not */
    unsigned ended; /* sweep.c, as the rest */
    struct http_peer *next, *prev;
} http_peer;

/* The diagram stands in handler.c. */
typedef enum http_phase {
    HTTP_HEAD,
    HTTP_BEGINNING,
    HTTP_BEGUN,
    HTTP_REFUSED,
    HTTP_GATHER,
    HTTP_STREAM,
    HTTP_RUNNING,
    HTTP_HELD,
    HTTP_READY,
    HTTP_SKIP,
    HTTP_LINGER,
    HTTP_SENDING
} http_phase;

/* The body on its way in: a ring between the loop, which writes, and a worker, which reads.
 * [head, head+len) belongs to the reader, the rest to the writer; `lock` guards the numbers, the
 * copying happens outside it. */
typedef struct http_pipe {
    uint8_t *p;
    size_t cap, head, len;
    size_t lent; /* of len, from head on: the handler reads it where it is, until its next call */
    size_t want; /* the reader sleeps until this much is there; 0: it does not sleep */
    bool eof, cancelled;
    bool started;      /* a worker has been asked for */
    bool done;         /* the handler came to its end */
    bool suspended;    /* the loop waits for room, or for done */
    int64_t waited_us; /* for the client, in this period */
    uint64_t period_bytes;
} http_pipe;

/* The body on its way out, once the source had to block: two halves, filled by a worker ahead of
 * the loop that empties them. */
typedef struct http_feed {
    struct http_half {
        uint8_t *p;
        size_t cap, len, at;
        bool ready;
    } half[2];
    unsigned take, fill; /* which half is emptied, filled next */
    uint64_t next;       /* offset of the byte the worker reads next */
    bool on, filling, suspended, cancelled;
    bool over; /* the source of unknown length has come to its end */
    err error;
    slice detail;
} http_feed;

typedef struct http_request {
    ops_request req;
    ops_response res;
    http_job job;
    http_on *on;
    http_loop *loop;
    struct MHD_Connection *conn;
    http_peer *peer;
    http_phase phase;
    _Atomic int
        refs;       /* libmicrohttpd's, and a worker's while it may outlive the connection's use */
    bool begun;     /* counted in server->active; ops_begin was called */
    bool head_done; /* libmicrohttpd's first call returned: an answer may keep the connection */
    bool expects;   /* Expect: 100-continue */
    bool discard;   /* the row takes no body */
    bool parked;    /* this call of libmicrohttpd suspended the connection */
    bool answered;  /* by http_answer_early: what follows is dropped */
    bool aborted;
    bool recorded;     /* its record has been asked for */
    bool early;        /* http_answer_early is next, once the record is there */
    uint8_t *gathered; /* HTTP_GATHER */
    size_t gathered_cap, body_at;
    uint64_t body_len; /* as announced */
    uint64_t skipped;
    int64_t linger_until_us;
    uint64_t held; /* of the server's */
    store_later later;
    _Atomic int later_ends; /* of two: the handler's, and the change's */
    _Atomic bool durable;   /* HTTP_HELD: the record is, or later_error says why it is not */
    err later_error;
    char *later_detail;
    pthread_mutex_t lock; /* pipe and feed */
    pthread_cond_t readable;
    http_pipe pipe;
    http_feed feed;
    struct http_request *next_free;
} http_request;

/* sweep.c */
http_sweep *http_sweep_new(unsigned idle_s);
http_sweep *http_sweep_free(http_sweep *s);
void http_sweep_add(http_sweep *s, http_peer *p);
void http_sweep_remove(http_sweep *s, http_peer *p);
/* The loop: an answer of n bytes is held in memory until its reader has it, for a time bounded by n. */
void http_sweep_reads(const http_sweep *s, http_peer *p, uint64_t n);
/* The loop: the connection waits for its client; timed: for something short, since it was last busy. */
static inline void http_peer_waits(http_peer *p, bool timed) {
    int64_t since = atomic_load_explicit(&p->since_us, memory_order_relaxed);
    if (!timed)
        atomic_store_explicit(&p->since_us, 0, memory_order_relaxed);
    else if (since == 0)
        atomic_store_explicit(&p->since_us, clock_mono_us(), memory_order_relaxed);
    atomic_store_explicit(&p->waits, true, memory_order_relaxed);
}
static inline void http_peer_busy(http_peer *p) {
    atomic_store_explicit(&p->since_us, 0, memory_order_relaxed);
    atomic_store_explicit(&p->waits, false, memory_order_relaxed);
}
/* request.c */
http_request *http_request_get(http_on *on, struct MHD_Connection *conn, slice target);
void http_request_unref(http_request *h);
void http_request_drain_free(http_server *s);
/* Method, headers, lengths from libmicrohttpd into h->req. ERR_INVALID_HEADER_VALUE when the
 * framing is not plain: the connection must not be used again. */
err http_request_read_head(http_request *h, const char *method) CHECKED;

/* handler.c: libmicrohttpd's callbacks */
enum MHD_Result http_on_access(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **con_cls);
void http_on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                       enum MHD_RequestTerminationCode why);

/* pipe.c */
/* The loop: takes what fits of the n bytes; suspends the connection when something is left.
 * false: the handler came to its end, nothing was taken. */
bool http_pipe_write(http_request *h, const uint8_t *data, size_t n, size_t *ret_taken);
/* The loop: no more bytes. True when the handler is done, else the connection is suspended. */
bool http_pipe_end(http_request *h);
/* The loop: the client is gone; ends the upload's reads and the feed. */
void http_pipe_cancel(http_request *h);
void http_pipe_done(http_request *h);
err http_pipe_read(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n);
err http_pipe_take(ops_request *r, slice *ret);

/* feed.c */
ssize_t http_feed_read(void *cls, uint64_t pos, char *out, size_t max);
void http_feed_done(http_request *h);

/* answer.c */
/* The handler came to its end: counts a large answer. ERR_SERVER_BUSY when there are too many. */
err http_hold(http_request *h) CHECKED;
/* Sends h->res by libmicrohttpd. */
enum MHD_Result http_answer(http_request *h);
/* Sends h->res on the socket itself, before the request's body has come to its end. */
bool http_answer_early(http_request *h);
