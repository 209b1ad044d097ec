/* Blob Batch: up to 256 requests in one, each authorized, run, counted and logged on its own, as if it
 * had come alone ("Blob Batch"). The answer is 202, whatever became of each of them.
 *
 * A batch that cannot be understood, or that asks for anything but Delete Blob or Set Blob Tier, is
 * refused as a whole before any of it is done. */
#include "blob/internal.h"

#define REQUEST_ARENA_MAX ((size_t)4 << 20)

typedef struct batch {
    ops_request *outer;
    slice boundary, body;
    blob_batch_part part;
    /* One after the other in the same memory. */
    ops_request *r;
    ops_response *w;
    arena *mem;
    buf out;
} batch;

/* ---- one request --------------------------------------------------------------------------------- */

static ops_method method_of(slice text) {
    if (slice_eq(text, S("DELETE"))) return OPS_DELETE;
    if (slice_eq(text, S("PUT"))) return OPS_PUT;
    return slice_eq(text, S("GET"))    ? OPS_GET
           : slice_eq(text, S("HEAD")) ? OPS_HEAD
           : slice_eq(text, S("POST")) ? OPS_POST
                                       : OPS_OTHER;
}

/* Host is the outer request's, so that both are addressed alike; so is x-ms-version ("This version will
 * be used for all subrequests"). */
static void take_headers(const batch *b) {
    ops_request *r = b->r;
    const blob_batch_part *p = &b->part;
    r->outer = b->outer;
    r->headers[r->header_count++] = (pair){S("Host"), ops_header(b->outer, "Host")};
    for (size_t i = 0; i < p->header_count; i++)
        if (!slice_eq_nocase(p->headers[i].name, S("Host")))
            r->headers[r->header_count++] = p->headers[i];
}

static err no_body(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n) {
    (void)r, (void)out, (void)cap;
    *ret_n = 0;
    return OK;
}

/* b->part as a request of its own, and its row. */
static err open_request(batch *b) {
    const ops_request *o = b->outer;
    ops_request *r = b->r;
    arena_reset(b->mem);
    *r = (ops_request){.server = o->server,
                       .arena = b->mem,
                       .method = method_of(b->part.method),
                       .method_text = b->part.method,
                       .tls = o->tls,
                       .peer_ip = o->peer_ip,
                       .has_length = true,
                       .body_read = no_body};
    *b->w = (ops_response){0};
    bool absolute = b->part.target.p[0] == '/';
    r->target = absolute ? b->part.target : arena_fmt(b->mem, "/%.*s", SLICE_ARG(b->part.target));
    take_headers(b);
    err e = ops_route(r);
    r->purpose = o->purpose; /* unless it says another */
    r->reason = o->reason;
    r->purpose_default = o->purpose_default;
    r->version = o->version;
    return e;
}

/* ---- before any of it is done -------------------------------------------------------------------- */

static bool may_stand_in_batch(const ops_row *row) {
    return strcmp(row->name, "Delete Blob") == 0 || strcmp(row->name, "Set Blob Tier") == 0;
}

/* What has no row for another reason than its operation is answered in its own part. */
static err check_part(batch *b, const ops_row **first) {
    err e = open_request(b);
    const ops_request *r = b->r;
    ENSURE(e == OK || r->method == OPS_DELETE || r->method == OPS_PUT, ERR_INVALID_INPUT,
           "request %u of the batch is neither Delete Blob nor Set Blob Tier", b->part.number);
    if (e != OK) return OK;
    ENSURE(may_stand_in_batch(r->row), ERR_INVALID_INPUT,
           "request %u of the batch is %s; a batch holds Delete Blob or Set Blob Tier",
           b->part.number, r->row->name);
    ENSURE(slice_eq(r->account_name, b->outer->account_name), ERR_INVALID_INPUT,
           "request %u of the batch is addressed to another account", b->part.number);
    ENSURE(*first == NULL || *first == r->row, ERR_ALL_BATCH_SUBREQUESTS_SHOULD_BE_SAME_API,
           "request %u of the batch is %s, those before it are %s", b->part.number, r->row->name,
           (*first)->name);
    *first = r->row;
    return OK;
}

static err check_all(batch *b) {
    blob_batch_reader in;
    const ops_row *first = NULL;
    bool more;
    TRY(blob_batch_begin(&in, b->boundary, b->body));
    for (;;) {
        TRY(blob_batch_next(&in, &b->part, &more));
        if (!more) break;
        TRY(check_part(b, &first));
    }
    ENSURE(in.count > 0, ERR_INVALID_INPUT, "the batch holds no request");
    return OK;
}

/* ---- doing it ------------------------------------------------------------------------------------ */

/* The reason phrase of a failure is its message, as Azure writes it; SDKs show it. */
static slice reason(const ops_response *w) {
    if (w->error != OK) return slice_str(err_get(w->error)->message);
    return w->status == 202 ? S("Accepted") : w->status == 201 ? S("Created") : S("OK");
}

static void render_part(batch *b) {
    buf *out = &b->out;
    const ops_response *w = b->w;
    buf_fmt(out, "--batchresponse_%.*s\r\nContent-Type: application/http\r\n",
            SLICE_ARG(b->outer->id));
    if (b->part.content_id.p != NULL)
        buf_fmt(out, "Content-ID: %.*s\r\n", SLICE_ARG(b->part.content_id));
    buf_fmt(out, "\r\nHTTP/1.1 %d %.*s\r\n", w->status, SLICE_ARG(reason(w)));
    for (size_t i = 0; i < w->header_count; i++) {
        buf_put(out, w->headers[i].name);
        buf_str(out, ": ");
        buf_put(out, w->headers[i].value);
        buf_str(out, "\r\n");
    }
    bool has_body = w->kind == OPS_BODY_BYTES && w->body.len > 0;
    if (has_body) buf_fmt(out, "Content-Length: %zu\r\n", w->body.len);
    buf_str(out, "\r\n");
    if (has_body) {
        buf_put(out, w->body);
        buf_str(out, "\r\n");
    }
}

/* A batch sent to a container holds what is in it. */
static err check_container(const batch *b) {
    ENSURE(b->outer->container.len == 0 || slice_eq(b->r->container, b->outer->container),
           ERR_INVALID_INPUT,
           "it is addressed to another container; send the batch to the account");
    return OK;
}

static void run_part(batch *b) {
    err e = open_request(b);
    if (e == OK) e = check_container(b);
    if (e == OK) e = ops_begin(b->r);
    if (e == OK) e = ops_run(b->r, b->w);
    if (e != OK) ops_fail(b->r, b->w, e);
    ops_record(b->r, b->w);
    ops_decorate(b->r, b->w);
    render_part(b);
    b->r->bytes_out = b->w->length;
    ops_finish(b->r, b->w, false);
}

static err run_all(batch *b) {
    blob_batch_reader in;
    bool more;
    TRY(blob_batch_begin(&in, b->boundary, b->body));
    for (;;) {
        TRY(blob_batch_next(&in, &b->part, &more));
        if (!more) break;
        run_part(b);
    }
    buf_fmt(&b->out, "--batchresponse_%.*s--\r\n", SLICE_ARG(b->outer->id));
    return OK;
}

static void batch_done(batch *b) {
    buf_done(&b->out);
    arena_free(b->mem);
    free(b->r);
    free(b->w);
}

err blob_batch(ops_request *r, ops_response *w) {
    batch b CLEANUP(batch_done) = {.outer = r};
    TRY(blob_enter(r));
    TRY(blob_batch_boundary(ops_header(r, "Content-Type"), &b.boundary));
    TRY(ops_body_all(r, BLOB_BATCH_BODY_MAX, &b.body));
    b.r = malloc(sizeof *b.r);
    b.w = malloc(sizeof *b.w);
    MUST(b.r != NULL && b.w != NULL);
    b.mem = arena_new(16 << 10, REQUEST_ARENA_MAX);
    buf_init(&b.out, BLOB_BODY_MAX);
    TRY(check_all(&b));
    TRY(run_all(&b));
    w->status = 202;
    return blob_answer(
        w, &b.out,
        arena_fmt(r->arena, "multipart/mixed; boundary=batchresponse_%.*s", SLICE_ARG(r->id)));
}
