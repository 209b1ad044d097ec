/* Dispatch: from a request to its row, its caller and its handler; errors; the end of a request. */
#include "base/base.h"
#include "ops/internal.h"

static err route(ops_request *r) {
    err e = ERR_INVALID_URI;
    const ops_protocol *const *p = r->server->protocols;
    for (; *p != NULL; p++) {
        r->protocol = *p;
        const ops_row *row = NULL;
        e = (*p)->route(r, &row);
        if (e == ERR_NOT_FOUND && p[1] != NULL) continue; /* not this protocol's: ask the next */
        if (e == OK) r->row = row;
        return e;
    }
    return e;
}

static err check_place(const ops_request *r) {
    bool writes = r->row->need.writes || (r->row->flags & OPS_NO_SECONDARY) != 0;
    ENSURE(!r->secondary || !writes, ERR_INSUFFICIENT_ACCOUNT_PERMISSIONS,
           "Write operations to the secondary location are not allowed.");
    ENSURE(r->secondary || (r->row->flags & OPS_SECONDARY_ONLY) == 0,
           ERR_INVALID_QUERY_PARAMETER_VALUE, "%s is answered by the secondary location only",
           r->row->name);
    return OK;
}

static auth_request as_auth_sees(const ops_request *r) {
    return (auth_request){
        .method = r->method_text,
        .path_raw = r->path_raw,
        .headers = r->headers,
        .header_count = r->header_count,
        .params = r->params,
        .param_count = r->param_count,
        .version = r->version,
        .account = r->account_name,
        .secondary = r->secondary,
        .container = r->container,
        .blob = r->blob,
        .tls = r->tls,
        .peer_ip = r->peer_ip,
        .development = r->server->development,
    };
}

static err authorize(ops_request *r) {
    const ops_server *s = r->server;
    r->caller = (auth_caller){.kind = AUTH_ANONYMOUS, .key_index = -1};
    if (!s->authenticate) return OK;
    err e = OK;
    if (r->account == NULL)
        e = store_account_get(s->store, ops_call(r), r->account_name, &r->account);
    if (e != OK && e != ERR_NOT_FOUND) return e;
    /* Without an account as well: the handler then finds nothing. */
    if (r->row->need.anonymous == AUTH_PUBLIC_ALWAYS) return OK;
    auth_request a = as_auth_sees(r);
    if (r->account == NULL) return auth_unknown_account(ops_call(r), &a, &r->row->need);
    TRY(auth_identify(s->store, ops_call(r), &a, r->account, &r->caller));
    return auth_permit(s->store, ops_call(r), &a, &r->caller, r->account, &r->row->need);
}

/* A request signed with a key must say its version, unless the account has a default ("Versioning
 * for Azure Storage"); others may leave it out. */
static err settle_version(ops_request *r) {
    if (r->version.len > 0) return OK;
    if (r->server->authenticate && r->caller.kind == AUTH_SHARED_KEY) {
        store_service service;
        TRY(store_service_get(r->server->store, ops_call(r), r->account, &service));
        ENSURE(service.default_version.len > 0, ERR_MISSING_REQUIRED_HEADER,
               "x-ms-version is missing, and the account has no default version");
        r->version = service.default_version;
        return OK;
    }
    r->version = OPS_VERSION_DEFAULT;
    return OK;
}

static err check_body(const ops_request *r) {
    uint64_t len = r->content_length;
    bool chunked = len == OPS_LEN_UNKNOWN;
    uint64_t max = OPS_BODY_IGNORED_MAX;
    if (r->row->flags & OPS_BODY_IN) {
        bool sends = r->method == OPS_PUT || r->method == OPS_POST || r->method == OPS_PATCH;
        ENSURE(chunked || r->has_length || !sends, ERR_MISSING_CONTENT_LENGTH_HEADER,
               "Content-Length is missing");
        max = r->row->body_max;
        if (!(r->row->flags & OPS_BODY_STREAMS) && max > OPS_BODY_SMALL_MAX)
            max = OPS_BODY_SMALL_MAX;
    }
    ENSURE(chunked || len <= max + ops_structured_extra(r), ERR_REQUEST_BODY_TOO_LARGE,
           "%s takes a body of at most %llu bytes, this one has %llu", r->row->name,
           (unsigned long long)max, (unsigned long long)len);
    return OK;
}

static void begin_once(ops_request *r) {
    if (r->started_us != 0) return;
    r->started_us = clock_mono_us();
    buf b;
    buf_init_fixed(&b, arena_alloc(r->arena, 36), 36);
    uuid_put(&b);
    r->id = buf_slice(&b);
    /* The last one is asked when no other knows the request: it speaks for what none does. */
    for (const ops_protocol *const *p = r->server->protocols; *p != NULL; p++) r->protocol = *p;
    ops_record_begin(r);
}

err ops_route(ops_request *r) {
    begin_once(r);
    if (r->row != NULL) return OK;
    TRY(ops_parse_target(r));
    TRY(ops_parse_version(r));
    return route(r);
}

static void default_purpose(ops_request *r) {
    if (r->purpose.len > 0 || r->account == NULL) return;
    const store_settings *v = &r->account->settings;
    if (r->caller.key_index == 0) r->purpose = v->purpose_key1;
    if (r->caller.key_index == 1) r->purpose = v->purpose_key2;
    r->purpose_default = r->purpose.len > 0;
}

/* Answers of this container wait for the witnesses, and so does that of the request it is asked for within. */
static err want_witnesses(ops_request *r) {
    ENSURE(r->server->builder != NULL, ERR_WITNESSES_REQUIRED, "container '%.*s' is one of these",
           SLICE_ARG(slice_take(r->container, 64)));
    for (ops_request *x = r; x != NULL; x = x->outer) x->witnessed = true;
    return OK;
}

/* A container may ask for a purpose of whoever comes (`container set … purpose=required`), and that the record of its
 * answers is witnessed (`acknowledge=witnessed`). One that is not there is the handler's matter. */
static err check_container(ops_request *r) {
    const store_container *k;
    if (!r->server->authenticate || r->account == NULL || r->container.len == 0) return OK;
    err e = store_container_get(r->server->store, ops_call(r), r->account, r->container, &k);
    if (e == ERR_WOULD_BLOCK) return e;
    if (e != OK) return OK;
    const bool purpose = k->guard.purpose, witnessed = k->guard.witnessed;
    store_container_unref(k);
    ENSURE(!purpose || r->purpose.len > 0, ERR_PURPOSE_REQUIRED, "container '%.*s' is one of these",
           SLICE_ARG(slice_take(r->container, 64)));
    return witnessed ? want_witnesses(r) : OK;
}

err ops_begin(ops_request *r) {
    err_clear();
    TRY(ops_route(r));
    TRY(check_place(r));
    TRY(ops_parse_purpose(r));
    TRY(authorize(r));
    default_purpose(r);
    TRY(check_container(r));
    TRY(settle_version(r));
    TRY(check_body(r));
    r->authorized = true;
    return OK;
}

/* A token is bound to what it was signed for: of another blob it says nothing, unless it is the
 * container's. */
static bool reaches(const ops_request *by, const ops_request *r) {
    if (by->caller.kind == AUTH_ANONYMOUS) return false;
    if (!slice_eq(by->account_name, r->account_name)) return false;
    if (by->caller.kind != AUTH_SERVICE_SAS) return true;
    return slice_eq(by->container, r->container) &&
           (slice_eq(by->caller.resource, S("c")) || slice_eq(by->blob, r->blob));
}

err ops_begin_as(ops_request *r, const ops_request *by) {
    TRY(ops_route(r));
    TRY(check_place(r));
    if (r->server->authenticate) {
        ENSURE(reaches(by, r), ERR_AUTHORIZATION_FAILURE,
               "what lets the request in does not reach to %.*s", SLICE_ARG(r->container));
        auth_request a = as_auth_sees(r);
        if (r->account == NULL)
            TRY(store_account_get(r->server->store, ops_call(r), r->account_name, &r->account));
        TRY(auth_permit(r->server->store, ops_call(r), &a, &by->caller, r->account, &r->row->need));
    }
    r->caller = by->caller;
    TRY(check_container(r));
    r->authorized = true;
    return OK;
}

static void drop_source(ops_response *w) {
    if (w->source_free != NULL) w->source_free(w->source_ctx);
    w->source_free = NULL;
    w->source_ctx = NULL;
}

static void clear(ops_response *w) {
    drop_source(w);
    w->status = 0;
    w->header_count = 0;
    w->kind = OPS_BODY_NONE;
    w->body = SLICE_NONE;
    w->parts = NULL;
    w->part_count = 0;
    w->length = 0;
    w->source_read = NULL;
    w->error = OK;
    w->detail = SLICE_NONE;
}

err ops_run(ops_request *r, ops_response *w) {
    MUST(r->authorized);
    err_clear();
    clear(w);
    slice structured;
    TRY(ops_structured_before(r, &structured));
    TRY(r->row->run(r, w));
    if (w->status == 0) w->status = 200;
    ops_structured_after(r, w, structured);
    return OK;
}

/* Beyond a rate the refusal of whom nobody knows is counted only, and they are told to come later. */
static err bounded(ops_request *r, err e) {
    const int status = err_get(e)->status;
    const bool unrecorded = r->row != NULL && (r->row->flags & OPS_UNRECORDED) != 0;
    if (r->record == NULL || r->counted || unrecorded || r->recorder.taken) return e;
    if (r->caller.kind != AUTH_ANONYMOUS || status < 400 || status >= 500) return e;
    r->counted = ops_flooded(r->server->floods, r->peer_ip);
    return r->counted ? err_fail(ERR_SERVER_BUSY, "too many requests of this network were refused")
                      : e;
}

void ops_fail(ops_request *r, ops_response *w, err e) {
    clear(w);
    begin_once(r); /* a head that is not even HTTP has an id and a protocol as well */
    e = bounded(r, e);
    slice detail = slice_str(err_detail());
    if (detail.len > 0) w->detail = arena_dup(r->arena, detail);
    if (r->version.len == 0) r->version = OPS_VERSION_DEFAULT;
    const char *text = detail.len > 0 ? arena_cstr(r->arena, detail) : "";
    w->status = err_get(e)->status;
    if (r->protocol != NULL && r->protocol->fail != NULL) r->protocol->fail(r, w, e, text);
    if (w->status == 0) w->status = 500;
    if (r->counted) ops_set(w, "Retry-After", S("1"));
    w->error = e;
}

void ops_decorate(ops_request *r, ops_response *w) {
    if (r->protocol != NULL && r->protocol->decorate != NULL) r->protocol->decorate(r, w);
    if (r->recorder.taken) ops_set_u64(r, w, "x-strongroom-record", r->recorder.index);
}

static const char *caller_kind(const ops_request *r) {
    switch (r->caller.kind) {
    case AUTH_ANONYMOUS:
        return "anonymous";
    case AUTH_SHARED_KEY:
        return "key";
    case AUTH_ACCOUNT_SAS:
        return "account_sas";
    case AUTH_SERVICE_SAS:
        return "service_sas";
    }
    return "unknown";
}

/* A refused signature tells its sender the string to sign: headers and parameters of the request,
 * among them names of blobs and metadata. The log does not keep those.
 */
static slice without_request(slice detail) {
    slice mark = S("tring to sign");
    size_t at = slice_find_slice(detail, 0, mark);
    return at == detail.len ? detail : slice_take(detail, at + mark.len);
}

/* The one line of a request. Never the query string: it may hold a signature. */
static void log_request(const ops_request *r, const ops_response *w, int64_t us, bool aborted) {
    static const log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR};
    const err_info *info = err_get(w->error);
    log_level level =
        r->counted ? LOG_DEBUG : levels[info->level]; /* the log is not flooded either */
    if (!log_enabled(level)) return;
    LOG(level, "request", LF_S("id", r->id), LF_C("operation", r->row ? r->row->name : "unknown"),
        LF_S("account", r->account_name), LF_S("container", r->container),
        LF_I("status", w->status), LF_C("error", w->error == OK ? "" : info->name),
        LF_S("detail", without_request(w->detail)), LF_I("bytes_in", r->bytes_in),
        LF_I("bytes_out", r->bytes_out), LF_I("ms", us / 1000), LF_C("caller", caller_kind(r)),
        LF_B("aborted", aborted));
}

void ops_finish(ops_request *r, ops_response *w, bool aborted) {
    int64_t us = r->started_us == 0 ? 0 : clock_mono_us() - r->started_us;
    if (r->server->metrics != NULL)
        ops_metrics_count(r->server->metrics, r, w->status, us, aborted);
    log_request(r, w, us, aborted);
    drop_source(w);
    if (r->customer != NULL) crypto_wipe(r->customer, sizeof *r->customer);
    r->customer = NULL;
    if (r->account != NULL) store_account_unref(r->account);
    r->account = NULL;
}
