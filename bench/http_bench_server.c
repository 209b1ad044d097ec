/* A trivial protocol behind the http adapter, to measure the adapter alone:
 *
 *   http_bench_server PORT [LOOPS [CERT KEY]]
 *
 *   GET /mem/N      N bytes from memory, on the loop
 *   GET /worker/N   the same, by a worker
 *   GET /source/N   N bytes pulled from a source that never blocks
 *   GET /blocking/N N bytes pulled from a source that always blocks
 *   PUT /put        swallows a body of any length, by a worker */
#include <signal.h>
#include <unistd.h>

#include "base/base.h"
#include "http/http.h"

#define SIZE_MAX_BYTES ((uint64_t)16 << 30)
#define MEMORY_BYTES   ((size_t)16 << 20)

static uint8_t *memory;

static uint64_t size_of(const ops_request *r) {
    slice path = r->path_raw;
    uint64_t n = 0;
    size_t at = slice_find(path, 1, '/');
    return slice_u64(slice_skip(path, at + 1), &n) == OK ? n : 4096;
}

static err get_memory(ops_request *r, ops_response *w) {
    uint64_t n = size_of(r);
    ENSURE(n <= MEMORY_BYTES, ERR_OUT_OF_RANGE_INPUT, "at most 16 MiB");
    ops_set(w, "Content-Type", S("application/octet-stream"));
    ops_set(w, "Last-Modified", S("Sun, 06 Nov 1994 08:49:37 GMT"));
    ops_set(w, "ETag", S("\"0x8DBB8BFA40F1C2A\""));
    ops_set(w, "Accept-Ranges", S("bytes"));
    ops_body(w, slice_of(memory, (size_t)n));
    return OK;
}

static err read_source(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                       size_t *ret_n) {
    (void)offset;
    if (ctx != NULL && nowait) return ERR_WOULD_BLOCK;
    size_t n = cap < MEMORY_BYTES ? cap : MEMORY_BYTES;
    memcpy(out, memory, n);
    *ret_n = n;
    return OK;
}

static err get_source(ops_request *r, ops_response *w) {
    w->kind = OPS_BODY_SOURCE;
    w->length = size_of(r);
    ENSURE(w->length <= SIZE_MAX_BYTES, ERR_OUT_OF_RANGE_INPUT, "at most 16 GiB");
    w->source_read = read_source;
    w->source_ctx = slice_starts(r->path_raw, S("/blocking")) ? memory : NULL;
    return OK;
}

static err put(ops_request *r, ops_response *w) {
    static _Thread_local uint8_t to[256u << 10];
    size_t n = 1;
    while (n > 0) TRY(r->body_read(r, to, sizeof(to), &n));
    w->status = 201;
    return OK;
}

#define ROW(row_name, row_method, row_flags, row_run)                                              \
    {                                                                                              \
        .name = row_name, .method = row_method, .flags = row_flags, .run = row_run,                \
        .body_max = SIZE_MAX_BYTES                                                                 \
    }
static const ops_row rows[] = {
    ROW("/mem", OPS_GET, OPS_FAST, get_memory),
    ROW("/worker", OPS_GET, 0, get_memory),
    ROW("/source", OPS_GET, OPS_FAST, get_source),
    ROW("/blocking", OPS_GET, OPS_FAST, get_source),
    ROW("/put", OPS_PUT, OPS_BODY_IN | OPS_BODY_STREAMS, put),
};

static err route(ops_request *r, const ops_row **ret) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!slice_starts(r->path_raw, slice_str(rows[i].name)) || r->method != rows[i].method)
            continue;
        *ret = &rows[i];
        return OK;
    }
    return err_fail(ERR_RESOURCE_NOT_FOUND, "no such path");
}

static void fail(ops_request *r, ops_response *w, err e, const char *detail) {
    (void)r, (void)e;
    ops_body(w, slice_str(detail));
}

static void decorate(ops_request *r, ops_response *w) {
    ops_set(w, "Server", S("Strongroom"));
    ops_set(w, "x-ms-request-id", r->id);
    ops_set(w, "x-ms-version", r->version);
}

int main(int argc, char **argv) {
    uint64_t port = 22090, loops = 0;
    if (argc > 1 && slice_u64(slice_str(argv[1]), &port) != OK) return 2;
    if (argc > 2 && slice_u64(slice_str(argv[2]), &loops) != OK) return 2;
    memory = malloc(MEMORY_BYTES);
    MUST(memory != NULL);
    for (size_t i = 0; i < MEMORY_BYTES; i++) memory[i] = (uint8_t)(i * 31 >> 3);
    static const ops_protocol protocol = {.name = "bench",
                                          .rows = rows,
                                          .row_count = ARRAY_LEN(rows),
                                          .route = route,
                                          .fail = fail,
                                          .decorate = decorate};
    static const ops_protocol *const protocols[] = {&protocol, NULL};
    ops_server ops = {.protocols = protocols, .metrics = ops_metrics_new()};
    http_listener on = {.address = "127.0.0.1",
                        .port = (uint16_t)port,
                        .tls_certificate = argc > 4 ? argv[3] : NULL,
                        .tls_key = argc > 4 ? argv[4] : NULL,
                        .ops = &ops};
    http_options o = {.listeners = &on, .listener_count = 1, .loops = (unsigned)loops};
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    http_server *s;
    if (http_start(&o, &s) != OK) {
        fprintf(stderr, "%s\n", err_detail());
        return 1;
    }
    int got;
    sigwait(&stop, &got);
    http_stop(s, 1000);
    ops_metrics_free(ops.metrics);
    free(memory);
    return 0;
}
