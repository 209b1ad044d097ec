/* Starting and stopping: sockets, loops, pools. */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "http/internal.h"

#define CONNECTIONS_DEFAULT 16384u
#define IDLE_DEFAULT_S      120u
#define WORKERS_DEFAULT     64u

/* ---- libmicrohttpd's smaller callbacks ---- */

/* The request line has arrived: `uri` is the target as sent, before anything was decoded. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *c) {
    http_loop_progress();
    return http_request_get(cls, c, slice_str(uri));
}

/* Signatures are over what was sent: nothing is unescaped. */
static size_t no_unescape(void *cls, struct MHD_Connection *c, char *s) {
    (void)cls, (void)c;
    return strlen(s);
}

static void name_peer(http_peer *peer, const struct sockaddr *a) {
    socklen_t len = a->sa_family == AF_INET6  ? sizeof(struct sockaddr_in6)
                    : a->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                              : 0;
    if (len == 0) return; /* a Unix socket has no address */
    if (getnameinfo(a, len, peer->text, sizeof(peer->text), NULL, 0, NI_NUMERICHOST) != 0) return;
    slice text = slice_str(peer->text), mapped = S("::ffff:");
    if (slice_starts_nocase(text, mapped) && slice_find(text, mapped.len, '.') < text.len) {
        text = slice_skip(text, mapped.len);
        memmove(peer->text, text.p, text.len);
    }
    peer->len = text.len;
}

/* What the kernel takes of an answer beyond what is on its way. Left to itself it takes megabytes for each reader that does
 * not read, and the copying holds up the loop's other clients for seconds (tests/load/attack.py). */
#define UNSENT_MAX ((1 << 20) + (64 << 10)) /* an answer of 1 MiB goes at once */
static void bound_queue(int fd) {
    const int max = UNSENT_MAX;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &max,
                     sizeof max); /* not of a Unix socket */
}

static void on_connection(void *cls, struct MHD_Connection *c, void **ctx,
                          enum MHD_ConnectionNotificationCode what) {
    http_on *on = cls;
    http_loop_progress();
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_sweep_remove(on->server->sweep, *ctx);
        free(*ctx);
        *ctx = NULL;
        atomic_fetch_sub(&on->server->connections, 1);
        return;
    }
    http_peer *peer = calloc(1, sizeof(*peer));
    MUST(peer != NULL);
    peer->on = on;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != NULL && info->client_addr != NULL) name_peer(peer, info->client_addr);
    info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    MUST(info != NULL);
    peer->fd = info->connect_fd;
    bound_queue(peer->fd);
    http_sweep_add(on->server->sweep, peer);
    *ctx = peer;
    atomic_fetch_add(&on->server->connections, 1);
}

/* What libmicrohttpd says is about clients that went away, but for one thing an operator must know.
 */
__attribute__((format(printf, 2, 0))) static void on_message(void *cls, const char *fmt,
                                                             va_list args) {
    (void)cls;
    bool limit = strstr(fmt, "resource limit") != NULL;
    if (!limit && !log_enabled(LOG_DEBUG)) return;
    char text[512];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    slice line = slice_trim(slice_of(text, len));
    if (line.len > 0 && line.p[line.len - 1] == '\n') line.len--;
    if (limit)
        LOG(LOG_WARN, "connections", LF_S("detail", line));
    else
        LOG(LOG_DEBUG, "libmicrohttpd", LF_S("detail", line));
}

static void on_panic(void *cls, const char *file, unsigned line, const char *reason) {
    (void)cls;
    LOG(LOG_ERROR, "libmicrohttpd panic", LF_C("file", file), LF_I("line", line),
        LF_C("reason", reason));
    abort();
}

/* ---- starting ---- */

static unsigned cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

/* As many descriptors as the system lets us have: each connection is one. */
static void raise_descriptors(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max) return;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r);
}

/* Connections leave descriptors to the store: one that cannot open its files would fail for good, and
 * idle connections, which anybody may open, must not bring that about. */
#define DESCRIPTORS_KEPT 2048
static unsigned connections_that_fit(unsigned wanted) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY) return wanted;
    rlim_t room =
        r.rlim_cur > (rlim_t)2 * DESCRIPTORS_KEPT ? r.rlim_cur - DESCRIPTORS_KEPT : r.rlim_cur / 2;
    return room < wanted ? (unsigned)room : wanted;
}

static err open_listener(http_on *on, const http_listener *l) {
    on->fd = -1;
    on->ops = l->ops;
    if (l->tls_certificate != NULL) {
        ENSURE(l->tls_key != NULL, ERR_CONFIG, "%s has no key", l->tls_certificate);
        TRY(http_tls_new(l->tls_certificate, l->tls_key, &on->tls));
    }
    if (l->unix_path == NULL) return http_listen_tcp(l->address, l->port, &on->fd);
    TRY(http_listen_unix(l->unix_path, &on->fd));
    size_t len = strlen(l->unix_path);
    MUST(len < sizeof(on->unix_path)); /* it has been bound */
    memcpy(on->unix_path, l->unix_path, len + 1);
    return OK;
}

static err start_loop(http_on *on, const http_options *o, http_loop *l) {
    unsigned max =
        connections_that_fit(o->connections_max != 0 ? o->connections_max : CONNECTIONS_DEFAULT);
    unsigned idle = o->idle_timeout_s != 0 ? o->idle_timeout_s : IDLE_DEFAULT_S;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG;
    if (on->tls != NULL) flags |= MHD_USE_TLS;
    struct MHD_OptionItem some[8] = {{MHD_OPTION_END, 0, NULL}};
    size_t n = 0;
    if (on->tls != NULL) {
        char *priorities;
        const char *from = http_tls_priorities;
        memcpy(&priorities, &from, sizeof(priorities)); /* only read */
        some[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, priorities};
        some[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, http_tls_callback()};
    }
    some[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    l->wake_fd = -1;
    l->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_access, on, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
        MHD_OPTION_LISTEN_SOCKET, on->fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, on,
        MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, on, MHD_OPTION_NOTIFY_CONNECTION, on_connection, on,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_CONN_MEMORY,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)4096, MHD_OPTION_CONNECTION_LIMIT,
        max / on->loop_count > 0 ? max / on->loop_count : 1, MHD_OPTION_CONNECTION_TIMEOUT, idle,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY,
        some, MHD_OPTION_END);
    ENSURE(l->daemon != NULL, ERR_CONFIG, "the HTTP library could not start a listener");
    return http_loop_start(l);
}

static err start_loops(http_on *on, const http_options *o) {
    unsigned count = on->unix_path[0] != '\0' ? 1 : o->loops != 0 ? o->loops : cores();
    if (count > HTTP_LOOPS_MAX) count = HTTP_LOOPS_MAX;
    http_loop *loops = calloc(count, sizeof *loops);
    MUST(loops != NULL);
    on->loops = loops;
    on->loop_count = count;
    for (unsigned i = 0; i < on->loop_count; i++) TRY(start_loop(on, o, &on->loops[i]));
    return OK;
}

static void end_loops(http_on *on) {
    for (unsigned i = 0; i < on->loop_count; i++)
        if (on->loops[i].daemon != NULL) http_loop_end(&on->loops[i]);
    free(on->loops);
}

static void free_server(http_server *s) {
    for (size_t i = 0; i < s->on_count; i++) {
        http_on *on = &s->on[i];
        end_loops(on);
        if (on->fd >= 0) close(on->fd);
        if (on->unix_path[0] != '\0') unlink(on->unix_path);
        http_tls_free(on->tls);
    }
    http_sweep_free(s->sweep);
    http_pool_free(s->workers);
    http_pool_free(s->uploads);
    http_request_drain_free(s);
    http_buffers_free(s->buffers);
    pthread_mutex_destroy(&s->free_lock);
    free(s->on);
    free(s);
}

static http_server *server_new(const http_options *o) {
    http_server *s = calloc(1, sizeof(*s));
    MUST(s != NULL && pthread_mutex_init(&s->free_lock, NULL) == 0);
    s->on = calloc(o->listener_count, sizeof(*s->on));
    MUST(s->on != NULL);
    s->on_count = o->listener_count;
    for (size_t i = 0; i < s->on_count; i++) s->on[i] = (http_on){.server = s, .fd = -1};
    s->held_max = o->answers_max ? o->answers_max : HTTP_ANSWERS_MAX;
    s->buffers = http_buffers_new();
    s->sweep = http_sweep_new(o->idle_timeout_s ? o->idle_timeout_s : IDLE_DEFAULT_S);
    s->workers =
        http_pool_new("http-worker", o->workers ? o->workers : WORKERS_DEFAULT, HTTP_QUEUE_MAX);
    s->uploads = http_pool_new(
        "http-upload", o->upload_workers ? o->upload_workers : WORKERS_DEFAULT, HTTP_QUEUE_MAX);
    return s;
}

static void quiesce(http_server *s) {
    for (size_t i = 0; i < s->on_count; i++)
        for (unsigned k = 0; k < s->on[i].loop_count; k++) http_loop_quiesce(&s->on[i].loops[k]);
}

err http_start(const http_options *o, http_server **ret) {
    ENSURE(o->listener_count > 0, ERR_CONFIG, "there is nothing to listen on");
    MHD_set_panic_func(on_panic, NULL);
    raise_descriptors();
    http_server *s = server_new(o);
    err e = OK;
    /* All sockets first: a port that is taken is found before anything is served. */
    for (size_t i = 0; i < s->on_count && e == OK; i++)
        e = open_listener(&s->on[i], &o->listeners[i]);
    for (size_t i = 0; i < s->on_count && e == OK; i++) e = start_loops(&s->on[i], o);
    if (e != OK) {
        free_server(s);
        return e;
    }
    *ret = s;
    return OK;
}

uint16_t http_port(const http_server *s, size_t i) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(at);
    MUST(i < s->on_count);
    if (getsockname(s->on[i].fd, &at.any, &len) != 0) return 0;
    if (at.any.sa_family == AF_INET) return ntohs(at.v4.sin_port);
    return at.any.sa_family == AF_INET6 ? ntohs(at.v6.sin6_port) : 0;
}

err http_reload_tls(http_server *s) {
    err e = OK;
    for (size_t i = 0; i < s->on_count && e == OK; i++)
        if (s->on[i].tls != NULL) e = http_tls_reload(s->on[i].tls);
    return e;
}

/* ---- stopping ---- */

static void wait_idle(const http_server *s, unsigned grace_ms) {
    int64_t until = clock_mono_us() + (int64_t)grace_ms * 1000;
    while (atomic_load(&s->active) > 0 && clock_mono_us() < until) usleep(2000);
}

/* Every suspended connection has a worker, a job in a queue, or a change under way (`laters`) that will
 * resume it: once the pools are closed and empty and no change is under way none is left, which
 * libmicrohttpd demands before it stops. Requests that come meanwhile find the pools closed and are
 * answered 503; they leave no change under way, since `aborting` is set. */
void http_stop(http_server *s, unsigned grace_ms) {
    if (s == NULL) return;
    atomic_store(&s->stopping, true);
    quiesce(s);
    wait_idle(s, grace_ms);
    atomic_store(&s->aborting, true);
    http_pool_close(s->uploads);
    http_pool_close(s->workers);
    while (atomic_load(&s->laters) > 0) usleep(500);
    free_server(s);
}

void http_get_stats(const http_server *s, http_stats *ret) {
    uint64_t waiting, uploads_waiting;
    *ret = (http_stats){.connections = atomic_load(&s->connections),
                        .requests_active = atomic_load(&s->active)};
    http_pool_stats(s->workers, &ret->workers_busy, &waiting);
    http_pool_stats(s->uploads, &ret->upload_workers_busy, &uploads_waiting);
    ret->queued = waiting + uploads_waiting;
}
