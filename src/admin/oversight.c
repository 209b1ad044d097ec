/* The record for those who oversee, from other machines: GET /oversight/v1/entries, export, receipts, watch and
 * witnesses, each the operator's command of that kind (call.c) asked with a token in place of the data folder.
 *
 * What holds
 *  1. Who asks is known by a token, which is compared by its hash in constant time. What it does not permit is refused.
 *  2. Whatever is asked leaves an entry, durable before the first byte of the answer; refusals as well. Watching that
 *     shows nothing is the exception (audit.c).
 *  3. Answers are made a page at a time, as they are read: an answer holds one page and no more, at most READS_MAX
 *     answers are under way. One ends with what was in the record when it began, so each has an end.
 *
 * Entries and receipts are lines of JSON; the last line of an answer is {"after":N,"more":…,"size":…}: what to give as
 * `after` to go on, and whether `limit` ended it. An answer without it was cut short. */
#include "admin/internal.h"

#define PREFIX    S("/oversight/v1/")
#define READS_MAX 16
#define OUT_MAX   ((size_t)4 * ADMIN_RESPONSE_MAX) /* of a page */

enum { /* what an endpoint takes beside what it looks for */
       LOOKS = 1u << 0,
       LIMITS = 1u << 1,
       OPENS = 1u << 2,    /* openings=true */
       OPENED = 1u << 3,   /* always with openings */
       FORMATS = 1u << 4,  /* format=…, without the last line */
       WATCHES = 1u << 5,  /* one page */
       NO_PAGES = 1u << 6, /* one object */
};

typedef struct endpoint {
    const char *name, *command, *audit_class;
    err (*run)(call *k);
    unsigned takes;
} endpoint;

static const endpoint endpoints[] = {
    {"entries", "audit search", "oversight", audit_search, LOOKS | LIMITS | OPENS},
    {"export", "audit export", "disclosure", audit_export, LOOKS | OPENS | FORMATS},
    {"receipts", "audit receipts", "disclosure", audit_receipts, LOOKS | OPENED},
    {"watch", "audit watch", "oversight", audit_watch, LOOKS | OPENS | WATCHES},
    {"witnesses", "audit witnesses", "consultation", audit_witnesses_show, NO_PAGES},
};

/* One answer under way. */
typedef struct answer {
    call k;
    bool permitted; /* counted among those under way */
    call_client client;
    const endpoint *what;
    arena *kept, *page;
    buf out; /* of the page, from `at` on still to be sent */
    size_t at;
    uint64_t end; /* of the record when the answer began */
    uint64_t left, next, later;
    bool begun, over;
} answer;

static answer *answer_free(answer *x) {
    if (!x) return NULL;
    if (x->permitted) atomic_fetch_sub(&x->k.st->overseen, 1);
    json_decref(x->k.in);
    json_decref(x->k.out);
    crypto_wipe(x->out.p, x->out.len);
    buf_done(&x->out);
    arena_free(x->page);
    arena_free(x->kept);
    free(x);
    return NULL;
}

static answer *answer_new(const ops_request *r, const endpoint *what) {
    answer *x = calloc(1, sizeof *x);
    MUST(x);
    x->what = what;
    x->kept = arena_new(4096, 1 << 20);
    x->page = arena_new(64 << 10, 0);
    x->left = UINT64_MAX;
    x->client = (call_client){.address = r->peer_ip, .request_id = r->id};
    x->k = (call){.st = r->server->context,
                  .c = {.arena = x->page},
                  .in = json_object(),
                  .out = json_object(),
                  .command = what->command,
                  .audit_class = what->audit_class,
                  .client = &x->client};
    MUST(x->k.in && x->k.out);
    buf_init(&x->out, OUT_MAX);
    call_record_begin(&x->k);
    return x;
}

/* ---- what is asked ---- */

static bool is_field(const endpoint *what, slice name) {
    static const char *const looks[] = {"since",   "until",   "class",     "action", "result",
                                        "purpose", "account", "container", "blob",   "actor"};
    if (slice_eq(name, S("format"))) return (what->takes & FORMATS) != 0;
    for (size_t i = 0; i < ARRAY_LEN(looks); i++)
        if (slice_eq(name, slice_str(looks[i]))) return (what->takes & LOOKS) != 0;
    return false;
}

static err set_number(answer *x, const char *field, uint64_t v) {
    call_set(x->k.in, field, arena_fmt(x->kept, "%llu", (unsigned long long)v));
    return OK;
}

static err take_after(answer *x, slice value) {
    uint64_t after;
    ENSURE(slice_u64(value, &after) == OK && after < UINT64_MAX, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "after is the number of an entry");
    if (x->what->takes & WATCHES) call_set(x->k.in, "wait", S("yes"));
    return set_number(x, "from", after + 1);
}

static err take_limit(answer *x, slice value) {
    ENSURE(slice_u64(value, &x->left) == OK && x->left > 0, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "limit is how many entries at most: a number from 1 on");
    return set_number(x, "count", x->left);
}

static err take_openings(answer *x, slice value) {
    ENSURE(slice_eq(value, S("true")) || slice_eq(value, S("false")),
           ERR_INVALID_QUERY_PARAMETER_VALUE, "openings is true or false");
    if (slice_eq(value, S("true"))) call_set(x->k.in, "open", S("yes"));
    return OK;
}

static err take_field(answer *x, const pair *p) {
    char name[16];
    ENSURE(slice_utf8_valid(p->value), ERR_INVALID_QUERY_PARAMETER_VALUE,
           "the value of %.*s is not UTF-8", SLICE_ARG(p->name));
    MUST(p->name.len < sizeof name); /* it is one of ours */
    snprintf(name, sizeof name, "%.*s", SLICE_ARG(p->name));
    call_set(x->k.in, name, p->value);
    return OK;
}

static err take_param(answer *x, const pair *p) {
    const unsigned takes = x->what->takes;
    if (slice_eq(p->name, S("after")) && takes & LOOKS) return take_after(x, p->value);
    if (slice_eq(p->name, S("limit")) && takes & LIMITS) return take_limit(x, p->value);
    if (slice_eq(p->name, S("openings")) && takes & OPENS) return take_openings(x, p->value);
    ENSURE(is_field(x->what, p->name), ERR_UNSUPPORTED_QUERY_PARAMETER,
           "%s takes no parameter '%.*s'", x->what->name, SLICE_ARG(slice_take(p->name, 32)));
    return take_field(x, p);
}

static err take_query(answer *x, const ops_request *r) {
    for (size_t i = 0; i < r->param_count; i++) {
        for (size_t j = 0; j < i; j++)
            ENSURE(!slice_eq(r->params[i].name, r->params[j].name),
                   ERR_INVALID_QUERY_PARAMETER_VALUE, "'%.*s' is given twice",
                   SLICE_ARG(slice_take(r->params[i].name, 32)));
        TRY(take_param(x, &r->params[i]));
    }
    return OK;
}

static err take_purpose(answer *x, const ops_request *r) {
    const slice text = ops_header(r, "x-ms-purpose");
    return text.p ? audit_purpose_parse(text, &x->client.purpose, &x->client.reason) : OK;
}

/* ---- who asks ---- */

static err token_of(const ops_request *r, slice *ret_name, slice *ret_secret) {
    const slice header = ops_header(r, "authorization");
    ENSURE(
        slice_starts_nocase(header, S("bearer ")), ERR_NO_AUTHENTICATION_INFORMATION,
        "say who asks: Authorization: Bearer TOKEN, with a token that `strongroom oversight add` "
        "printed");
    const slice token = slice_trim(slice_skip(header, sizeof "bearer " - 1));
    const size_t dot = slice_find(token, 0, '.');
    *ret_name = slice_take(token, dot);
    *ret_secret = slice_skip(token, dot + 1);
    return OK;
}

/* A name that is not there takes the same way as one that is. */
static err identify(answer *x, const ops_request *r, store_overseer *ret) {
    static const uint8_t none[CRYPTO_SHA256_LEN];
    uint8_t digest[CRYPTO_SHA256_LEN];
    slice name, secret;
    TRY(token_of(r, &name, &secret));
    crypto_sha256(secret, digest);
    err e = store_overseer_get(x->k.st->store, (store_call){.arena = x->kept}, name, ret);
    if (e != OK && e != ERR_NOT_FOUND) return e;
    const bool same =
        crypto_same(e == OK ? ret->token_sha256.p : none, digest, sizeof digest) && e == OK;
    ENSURE(same, ERR_AUTHENTICATION_FAILED, "the token is none that this server gave out");
    x->client.overseer = ret->name;
    ENSURE(!ret->disabled, ERR_AUTHORIZATION_FAILURE, "this token has been disabled");
    ENSURE(ret->expires_us == STORE_TIME_NONE || ret->expires_us > clock_wall_us(),
           ERR_AUTHORIZATION_FAILURE, "this token has expired");
    return OK;
}

static bool has_field(const answer *x, const char *name) {
    return json_object_get(x->k.in, name) != NULL;
}

/* Names of blobs and actors stand in openings only: who looks for one learns which entries have it. */
static err check_rights(const answer *x, const store_overseer *o) {
    const bool opens = (x->what->takes & OPENED) != 0 || has_field(x, "open") ||
                       has_field(x, "blob") || has_field(x, "actor");
    ENSURE(o->rights & STORE_SEES_ENTRIES, ERR_AUTHORIZATION_FAILURE,
           "this token does not permit to see entries");
    ENSURE(!opens || o->rights & STORE_SEES_OPENINGS, ERR_AUTHORIZATION_FAILURE,
           "this token permits to see entries, and not what they stand for: openings, receipts, "
           "blob and actor are not for it");
    return OK;
}

static err check_account(answer *x, const store_overseer *o) {
    slice asked, rest = o->accounts, one;
    if (o->accounts.len == 0 || (x->what->takes & LOOKS) == 0) return OK;
    TRY(call_field(&x->k, "account", false, &asked));
    if (asked.len == 0 && slice_find(rest, 0, ',') == rest.len) {
        call_set(x->k.in, "account", rest);
        return OK;
    }
    while (asked.len > 0 && slice_split(&rest, ',', &one))
        if (slice_eq(one, asked)) return OK;
    return err_fail(ERR_AUTHORIZATION_FAILURE,
                    "this token is for some accounts only: say which one with account=%.*s",
                    SLICE_ARG(slice_take(o->accounts, 200)));
}

static err permit(answer *x, const ops_request *r) {
    store_overseer o;
    /* What was asked stands in the record of a refusal as well; who does not say who they are learns of that only. */
    err asked = take_purpose(x, r);
    if (asked == OK) asked = take_query(x, r);
    const slice why = arena_dup(x->kept, slice_str(err_detail()));
    TRY(identify(x, r, &o));
    if (asked != OK) return err_fail(asked, "%.*s", SLICE_ARG(why));
    TRY(check_rights(x, &o));
    TRY(check_account(x, &o));
    x->client.permitted = x->permitted = true;
    ENSURE(atomic_fetch_add(&x->k.st->overseen, 1) < READS_MAX, ERR_SERVER_BUSY,
           "%d answers to overseers are under way already", READS_MAX);
    return OK;
}

/* ---- what is answered ---- */

static uint64_t number_in(const answer *x, const char *name) {
    return (uint64_t)json_integer_value(json_object_get(x->k.out, name));
}

static void put_end(answer *x) {
    buf_str(&x->out, "{");
    if (x->next > 0) buf_fmt(&x->out, "\"after\":%llu,", (unsigned long long)(x->next - 1));
    if (x->what->takes & OPENED) buf_fmt(&x->out, "\"later\":%llu,", (unsigned long long)x->later);
    buf_fmt(&x->out, "\"more\":%s,\"size\":%llu}\n", x->next < x->end ? "true" : "false",
            (unsigned long long)x->end);
}

/* What ends the answer: the record's end, or as many as were asked for. */
static void settle(answer *x) {
    const json_t *list = json_object_get(x->k.out, "entries");
    const char *next = json_string_value(json_object_get(x->k.out, "next"));
    const size_t n = json_array_size(list);
    if (!x->begun) x->end = number_in(x, "size");
    x->left -= n < x->left ? n : x->left;
    x->later += number_in(x, "later");
    x->next = x->end;
    if (next) MUST(slice_u64(slice_str(next), &x->next) == OK);
    x->over = x->next >= x->end || x->left == 0 || (x->what->takes & WATCHES) != 0;
}

static void put_text(answer *x, const char *name) {
    const char *text = json_string_value(json_object_get(x->k.out, name));
    if (text) buf_str(&x->out, text);
}

static err next_page(answer *x) {
    buf_reset(&x->out);
    arena_reset(x->page);
    x->at = 0;
    json_decref(x->k.out);
    x->k.out = json_object();
    MUST(x->k.out);
    if (x->begun) TRY(set_number(x, "from", x->next));
    if (x->begun && x->left < UINT64_MAX) TRY(set_number(x, "count", x->left));
    TRY(x->what->run(&x->k));
    settle(x);
    if (!x->begun) put_text(x, "head");
    admin_put_lines(json_object_get(x->k.out, "entries"), &x->out);
    if (x->over && x->what->takes & FORMATS)
        put_text(x, "tail");
    else if (x->over)
        put_end(x);
    x->begun = true;
    return buf_check(&x->out);
}

static err one_object(answer *x) {
    TRY(x->what->run(&x->k));
    char *text = json_dumps(x->k.out, JSON_COMPACT | JSON_PRESERVE_ORDER);
    MUST(text);
    buf_str(&x->out, text);
    buf_byte(&x->out, '\n');
    free(text);
    x->over = true;
    return buf_check(&x->out);
}

static err read_answer(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                       size_t *ret_n) {
    answer *x = ctx;
    (void)offset; /* rising, without gaps */
    while (x->at == x->out.len && !x->over) {
        if (nowait) return ERR_WOULD_BLOCK;
        ENSURE(atomic_load(&x->k.st->ready), ERR_CANCELLED, "the server is stopping");
        TRY(next_page(x));
    }
    const size_t left = x->out.len - x->at, n = left < cap ? left : cap;
    if (n > 0) memcpy(out, x->out.p + x->at, n);
    x->at += n;
    *ret_n = n;
    return OK;
}

static void free_answer(void *ctx) {
    answer_free(ctx);
}

static slice type_of(const answer *x) {
    slice format = SLICE_NONE;
    if (x->what->takes & NO_PAGES) return S("application/json");
    if ((x->what->takes & FORMATS) == 0 || call_field(&x->k, "format", false, &format) != OK)
        return S("application/x-ndjson");
    if (slice_eq(format, S("csv"))) return S("text/csv; charset=utf-8");
    if (slice_eq(format, S("premis"))) return S("application/xml");
    return S("application/x-ndjson");
}

/* Its first page, and then its record: what cannot be answered is recorded as such. */
static err begin(answer *x, ops_request *r) {
    err e = permit(x, r);
    if (e == OK) e = x->what->takes & NO_PAGES ? one_object(x) : next_page(x);
    const bool nobody = e != OK && x->client.overseer.len == 0 && x->k.c.record;
    r->counted = nobody && ops_flooded(r->server->floods, r->peer_ip);
    if (r->counted)
        return err_fail(ERR_SERVER_BUSY, "too many requests of this network were refused");
    e = call_record_end(&x->k, e);
    x->k.c.record = NULL;
    return e;
}

static err run(ops_request *r, ops_response *w) {
    const slice name = slice_skip(r->path_raw, PREFIX.len);
    const endpoint *what = endpoints;
    if (r->nowait) return ERR_WOULD_BLOCK;
    while (!slice_eq(name, slice_str(what->name))) what++; /* route has found it */
    answer *x = answer_new(r, what);
    err e = begin(x, r);
    if (e != OK) {
        answer_free(x);
        return e;
    }
    x->client = (call_client){0}; /* the request's, and nobody asks for it any more */
    w->kind = OPS_BODY_SOURCE;
    w->length = OPS_LEN_UNKNOWN;
    w->source_read = read_answer;
    w->source_free = free_answer;
    w->source_ctx = x;
    ops_set(w, "Content-Type", type_of(x));
    if (x->k.recorder.taken) ops_set_u64(r, w, "x-strongroom-record", x->k.recorder.index);
    return OK;
}

/* ---- the protocol ---- */

#define ROW(title_, class_)                                                                        \
    {                                                                                              \
        .name = (title_), .method = OPS_GET,                                                       \
        .need = {.resource_type = 's', .anonymous = AUTH_PUBLIC_ALWAYS}, .audit_class = (class_),  \
        .flags = OPS_UNRECORDED | OPS_LONG, .run = run                                             \
    }
static const ops_row rows[] = {
    ROW("Oversight Entries", OPS_OVERSIGHT), ROW("Oversight Export", OPS_DISCLOSURE),
    ROW("Oversight Receipts", OPS_DISCLOSURE), ROW("Oversight Watch", OPS_OVERSIGHT),
    ROW("Oversight Witnesses", OPS_CONSULTATION)};
_Static_assert(ARRAY_LEN(rows) == ARRAY_LEN(endpoints), "a row for each endpoint, in their order");

/* What is refused here has no row, and is recorded by ops/; all else records itself. */
static err route(ops_request *r, const ops_row **ret) {
    ENSURE(slice_starts(r->path_raw, PREFIX), ERR_RESOURCE_NOT_FOUND,
           "here are /oversight/v1/entries, export, receipts, watch and witnesses only");
    ENSURE(r->method == OPS_GET, ERR_UNSUPPORTED_HTTP_VERB, "the record is read only, with GET");
    ENSURE(r->content_length == 0, ERR_INVALID_INPUT, "a request for the record has no body");
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        if (!slice_eq(slice_skip(r->path_raw, PREFIX.len), slice_str(endpoints[i].name))) continue;
        *ret = &rows[i];
        return OK;
    }
    return err_fail(ERR_RESOURCE_NOT_FOUND,
                    "here are /oversight/v1/entries, export, receipts, watch and witnesses only");
}

static void decorate(ops_request *r, ops_response *w) {
    ops_set(w, "Cache-Control", S("no-store"));
    ops_set(w, "X-Content-Type-Options", S("nosniff"));
    if (w->status == 503 && !r->counted) ops_set(w, "Retry-After", S("1"));
    if (w->status == 401) ops_set(w, "WWW-Authenticate", S("Bearer"));
}

const ops_protocol admin_oversight_protocol = {.name = "oversight",
                                               .rows = rows,
                                               .row_count = ARRAY_LEN(rows),
                                               .route = route,
                                               .fail = admin_json_fail,
                                               .decorate = decorate};
