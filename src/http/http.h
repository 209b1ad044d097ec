/* http: the libmicrohttpd adapter. Listeners, TLS, limits, request and response, streamed bodies,
 * the worker threads. The only code that sees libmicrohttpd; it knows nothing of blobs.
 *
 * A request: headers arrive on an event loop -> ops_begin (nowait) -> a body that is small is
 * gathered, a larger one streams through a bounded buffer with back-pressure (the connection is
 * suspended when it is full) -> rows marked OPS_FAST are tried on the loop, all others run on a
 * worker -> the answer goes out from memory, or is pulled from its source in pieces, first nowait
 * on the loop, else by a worker; a slow reader holds no thread.
 *
 * What it promises: memory per request is bounded whatever the body's size, and so is that of all
 * answers that wait for their readers; a refused request's body is not read; stopping finishes
 * requests in flight. What it needs from below: ops, base,
 * libmicrohttpd (GnuTLS inside). */
#pragma once

#include "ops/ops.h"

typedef struct http_server http_server;

typedef struct http_listener {
    const char *address; /* "127.0.0.1", "::"; NULL with unix_path */
    uint16_t port;
    const char *unix_path;                 /* a Unix socket (0600) instead of an address */
    const char *tls_certificate, *tls_key; /* PEM files; NULL: plain HTTP */
    ops_server *ops;
} http_listener;

typedef struct http_options {
    const http_listener *listeners;
    size_t listener_count;
    unsigned loops;           /* event loops a listener; 0: one a core */
    unsigned workers;         /* threads for handlers; 0: default (64) */
    unsigned upload_workers;  /* threads for streamed bodies; 0: default (64) */
    unsigned connections_max; /* per listener; 0: default (16,384) */
    unsigned idle_timeout_s;  /* 0: default (120) */
    uint64_t answers_max; /* bytes of large answers held in memory at once; 0: default (512 MiB) */
} http_options;

/* Binds and starts. ERR_IN_USE (port taken, with who could free it), ERR_CONFIG (certificate). */
err http_start(const http_options *o, http_server **ret) CHECKED;
/* The port that listener number i (of http_options) got: useful when it asked for port 0. */
uint16_t http_port(const http_server *s, size_t i);
/* Reads certificates again; the old ones stay when the new do not load (ERR_CONFIG). */
err http_reload_tls(http_server *s) CHECKED;
/* No new connections; requests in flight are finished, for at most grace_ms; then frees. */
void http_stop(http_server *s, unsigned grace_ms);

typedef struct http_stats {
    uint64_t connections, requests_active, workers_busy, upload_workers_busy, queued;
} http_stats;
void http_get_stats(const http_server *s, http_stats *ret);
