/* The two protocols of admin/: health and metrics for anyone who reaches the admin listener, and
 * the operator's calls on the Unix socket. */
#include "admin/internal.h"

static admin_state *state_of(const ops_request *r) {
    return r->server->context;
}

static slice path_of(const ops_request *r) {
    return slice_take(r->target, slice_find(r->target, 0, '?'));
}

static err text_answer(ops_response *w, int status, slice body) {
    w->status = status;
    ops_set(w, "Content-Type", S("text/plain; charset=utf-8"));
    ops_body(w, body);
    return OK;
}

static err run_healthz(ops_request *r, ops_response *w) {
    (void)r;
    return text_answer(w, 200, S("ok\n"));
}

static err run_readyz(ops_request *r, ops_response *w) {
    admin_state *st = state_of(r);
    if (!atomic_load(&st->ready))
        return text_answer(w, 503, S("not ready: starting or stopping\n"));
    engine_stats s = {0};
    engine_get_stats(store_engine(st->store), &s);
    if (s.failed)
        return text_answer(w, 503,
                           S("not ready: read-only after a failed write; restart the server\n"));
    return text_answer(w, 200, S("ready\n"));
}

static err run_metrics(ops_request *r, ops_response *w) {
    buf out;
    buf_init_arena(&out, r->arena, OPS_RESPONSE_MAX);
    admin_metrics_render(state_of(r), &out);
    TRY(buf_check(&out));
    w->status = 200;
    ops_set(w, "Content-Type", S("text/plain; version=0.0.4; charset=utf-8"));
    ops_body(w, buf_slice(&out));
    return OK;
}

/* Every operator's command that was understood or refused stands in the log, with what it was
 * about. */
static void log_call(ops_request *r, slice body, err e) {
    LOG(LOG_INFO, "operator", LF_S("id", r->id),
        LF_S("command", admin_field(r->arena, body, "command")),
        LF_S("account", admin_field(r->arena, body, "account")),
        LF_S("name", admin_field(r->arena, body, "name")),
        LF_C("error", e == OK ? "" : err_get(e)->name));
}

static void wipe_answer(void *ctx) {
    const slice *s = ctx;
    crypto_wipe((void *)(uintptr_t)s->p, s->len);
}

/* When it has been sent nothing of it lingers: it may hold keys. */
static void answer_once(ops_request *r, ops_response *w, slice response) {
    slice *kept = arena_alloc(r->arena, sizeof *kept);
    *kept = response;
    ops_body(w, response);
    w->source_ctx = kept;
    w->source_free = wipe_answer;
}

static err run_call(ops_request *r, ops_response *w) {
    slice body, response = SLICE_NONE;
    TRY(ops_body_all(r, ADMIN_REQUEST_MAX, &body));
    err e = admin_call(state_of(r), r->arena, body, &response);
    log_call(r, body, e);
    TRY(e);
    w->status = 200;
    ops_set(w, "Content-Type", S("application/json"));
    answer_once(r, w, response);
    return OK;
}

#define PUBLIC_ROW(title, handler)                                                                 \
    {                                                                                              \
        .name = (title), .method = OPS_GET,                                                        \
        .need = {.resource_type = 's', .anonymous = AUTH_PUBLIC_ALWAYS}, .audit_class = OPS_ADMIN, \
        .run = (handler)                                                                           \
    }

static const ops_row public_rows[] = {
    PUBLIC_ROW("Health", run_healthz),
    PUBLIC_ROW("Readiness", run_readyz),
    PUBLIC_ROW("Metrics", run_metrics),
    PUBLIC_ROW("Status", admin_status),
};
/* Where each row is found. */
static const char *const public_paths[] = {"/healthz", "/readyz", "/metrics", "/"};
_Static_assert(ARRAY_LEN(public_rows) == ARRAY_LEN(public_paths), "a path for each row");

static const ops_row operator_row = {
    .name = "Operator Call",
    .method = OPS_POST,
    .need = {.resource_type = 's', .anonymous = AUTH_PUBLIC_ALWAYS, .writes = true},
    .audit_class = OPS_ADMIN,
    .flags = OPS_BODY_IN | OPS_BODY_STREAMS | OPS_LONG | OPS_UNRECORDED,
    .body_max = ADMIN_REQUEST_MAX,
    .run = run_call};

static err public_route(ops_request *r, const ops_row **ret) {
    for (size_t i = 0; i < ARRAY_LEN(public_rows); i++) {
        if (!slice_eq(path_of(r), slice_str(public_paths[i]))) continue;
        ENSURE(r->method == OPS_GET || r->method == OPS_HEAD, ERR_UNSUPPORTED_HTTP_VERB,
               "%s answers GET and HEAD only", public_paths[i]);
        *ret = &public_rows[i];
        return OK;
    }
    return err_fail(ERR_RESOURCE_NOT_FOUND, "here are /, /healthz, /readyz and /metrics only");
}

static err operator_route(ops_request *r, const ops_row **ret) {
    ENSURE(slice_eq(path_of(r), S("/call")), ERR_RESOURCE_NOT_FOUND, "here is /call only");
    ENSURE(r->method == OPS_POST, ERR_UNSUPPORTED_HTTP_VERB, "/call answers POST only");
    *ret = &operator_row;
    return OK;
}

static int status_of(err e) {
    int status = err_get(e)->status;
    return status >= 400 ? status : 500;
}

void admin_text_fail(ops_request *r, ops_response *w, err e, const char *detail) {
    w->status = status_of(e);
    ops_set(w, "Content-Type", S("text/plain; charset=utf-8"));
    ops_body(w, arena_fmt(r->arena, "%s\n", detail && *detail ? detail : err_get(e)->message));
}

void admin_json_fail(ops_request *r, ops_response *w, err e, const char *detail) {
    buf out;
    buf_init_arena(&out, r->arena, 8192);
    buf_str(&out, "{\"error\":{\"code\":\"");
    json_put(&out, slice_str(err_get(e)->azure));
    buf_str(&out, "\",\"message\":\"");
    json_put(&out, slice_str(detail && *detail ? detail : err_get(e)->message));
    buf_str(&out, "\"}}");
    w->status = status_of(e);
    ops_set(w, "Content-Type", S("application/json"));
    ops_body(w, buf_slice(&out));
}

static void decorate(ops_request *r, ops_response *w) {
    (void)r;
    ops_set(w, "Cache-Control", S("no-store"));
}

const ops_protocol admin_public_protocol = {.name = "admin",
                                            .rows = public_rows,
                                            .row_count = ARRAY_LEN(public_rows),
                                            .route = public_route,
                                            .fail = admin_text_fail,
                                            .decorate = decorate};

const ops_protocol admin_operator_protocol = {.name = "operator",
                                              .rows = &operator_row,
                                              .row_count = 1,
                                              .route = operator_route,
                                              .fail = admin_json_fail,
                                              .decorate = decorate};
