/* The source of a copy: x-ms-copy-source, read from this server or from another one.
 *
 * A source on this server is never asked for over the network: its URL becomes a request inside this
 * one, which is routed and authorized as if it had come from outside — by the token in the URL, by
 * x-ms-copy-source-authorization, by the caller's own permission when it is of the same account, or as
 * an anonymous one. Any other source goes through fetch/, which reads from where the operator allows.
 *
 * Failures of a source are told as CannotVerifyCopySource with the status that the source answered
 * ("Put Block From URL": "the status code of the source is returned"; seen in the public SDK tests). */
#include "blob/internal.h"

#define PROBE_S 30 /* for the head of a source's answer */
/* A whole transfer: what a slow line needs, and some. */
#define TRANSFER_S       60
#define TRANSFER_BYTES_S ((uint64_t)256 << 10)

/* ---- where it is ----------------------------------------------------------------------------------- */

typedef struct place {
    slice authority, target; /* target: "/path?query" */
    bool tls;
} place;

static err parse_url(slice url, place *ret) {
    place p = {.tls = slice_starts_nocase(url, S("https://"))};
    ENSURE(p.tls || slice_starts_nocase(url, S("http://")), ERR_INVALID_HEADER_VALUE,
           "x-ms-copy-source is not an https:// or http:// URL");
    slice rest = slice_skip(url, p.tls ? 8 : 7);
    size_t end = 0;
    while (end < rest.len && rest.p[end] != '/' && rest.p[end] != '?') end++;
    p.authority = slice_take(rest, end);
    p.target = slice_skip(rest, end);
    for (size_t i = 0; i < url.len; i++)
        ENSURE(url.p[i] > ' ' && url.p[i] < 0x7F && url.p[i] != '#', ERR_INVALID_HEADER_VALUE,
               "x-ms-copy-source holds a character that must be percent-encoded");
    ENSURE(p.authority.len > 0 && slice_find(p.authority, 0, '@') == p.authority.len,
           ERR_INVALID_HEADER_VALUE, "x-ms-copy-source names no host, or a user");
    if (p.target.len == 0) p.target = S("/");
    *ret = p;
    return OK;
}

/* Host without port; *ret_port the scheme's when it names none, 0 when it is no port. */
static slice host_of(slice authority, bool tls, uint64_t *ret_port) {
    size_t at = authority.len;
    while (at > 0 && authority.p[at - 1] != ':' && authority.p[at - 1] != ']') at--;
    *ret_port = tls ? 443 : 80;
    if (at == 0 || authority.p[at - 1] == ']') return authority;
    if (slice_u64(slice_skip(authority, at), ret_port) != OK) *ret_port = 0;
    return slice_take(authority, at - 1);
}

static bool same_authority(slice a, bool a_tls, slice b, bool b_tls) {
    uint64_t a_port, b_port;
    if (slice_eq_nocase(a, b)) return true;
    slice a_host = host_of(a, a_tls, &a_port), b_host = host_of(b, b_tls, &b_port);
    return a_port == b_port && slice_eq_nocase(a_host, b_host);
}

/* Host style: ACCOUNT.SUFFIX, whatever the port. */
static bool under_suffix(slice authority, slice suffix) {
    uint64_t port;
    slice host = host_of(authority, true, &port);
    if (suffix.len == 0 || host.len < suffix.len + 2) return false;
    size_t at = host.len - suffix.len;
    return host.p[at - 1] == '.' && slice_eq_nocase(slice_skip(host, at), suffix);
}

/* By any name of this server: the one it was just called by, its endpoint, its listeners. */
static bool is_here(const ops_request *r, const place *p) {
    const blob_service *service = r->server->context;
    if (same_authority(p->authority, p->tls, ops_header(r, "Host"), r->tls)) return true;
    if (under_suffix(p->authority, r->server->host_suffix)) return true;
    for (size_t i = 0; service != NULL && i < service->self_count; i++)
        if (same_authority(p->authority, p->tls, service->self[i], p->tls)) return true;
    return false;
}

/* ---- what was asked -------------------------------------------------------------------------------- */

static err take_tag(const ops_request *r, const char *name, slice *ret) {
    *ret = ops_header(r, name);
    ENSURE(ret->len <= 256, ERR_INVALID_HEADER_VALUE, "%s is longer than 256 bytes", name);
    ENSURE(slice_find(*ret, 0, ',') == ret->len, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED,
           "%s names several entity tags", name);
    return OK;
}

static err take_conditions(const ops_request *r, store_conditions *ret) {
    *ret = STORE_NO_CONDITIONS;
    TRY(take_tag(r, "x-ms-source-if-match", &ret->if_match));
    TRY(take_tag(r, "x-ms-source-if-none-match", &ret->if_none_match));
    TRY(ops_header_time(r, "x-ms-source-if-modified-since", &ret->if_modified_since_us));
    TRY(ops_header_time(r, "x-ms-source-if-unmodified-since", &ret->if_unmodified_since_us));
    TRY(ops_guid(r, "x-ms-source-lease-id", &ret->lease_id));
    slice tags = ops_header(r, "x-ms-source-if-tags");
    return tags.p == NULL ? OK : store_tag_condition(r->arena, tags, &ret->if_tags);
}

static err take_sums(ops_request *r, blob_sums *ret) {
    *ret = (blob_sums){0};
    TRY(blob_md5_read(r, "x-ms-source-content-md5", &ret->has_md5, ret->md5));
    TRY(blob_crc64_read(r, "x-ms-source-content-crc64", &ret->has_crc64, &ret->crc64));
    ENSURE(!(ret->has_md5 && ret->has_crc64), ERR_BOTH_CRC64_AND_MD5,
           "x-ms-source-content-md5 and x-ms-source-content-crc64 cannot be sent together");
    return OK;
}

static err take_range(const ops_request *r, blob_range *ret) {
    slice v = ops_header(r, "x-ms-source-range");
    *ret = (blob_range){0};
    if (v.p == NULL) return OK;
    ENSURE(blob_range_parse(v, ret) == OK && !ret->suffix, ERR_INVALID_HEADER_VALUE,
           "x-ms-source-range: '%.*s' is not bytes=first- or bytes=first-last",
           SLICE_ARG(slice_take(v, 64)));
    return OK;
}

err blob_source_asks_read(ops_request *r, blob_source_asks *ret) {
    blob_source_asks a = {.url = ops_header(r, "x-ms-copy-source")};
    ENSURE(a.url.len > 0, ERR_MISSING_REQUIRED_HEADER, "x-ms-copy-source is missing");
    ENSURE(a.url.len <= BLOB_SOURCE_URL_MAX, ERR_INVALID_HEADER_VALUE,
           "x-ms-copy-source is longer than %d bytes", BLOB_SOURCE_URL_MAX);
    /* "The value of this header must be set to zero" ("Put Block From URL" and the others). */
    ENSURE(r->content_length == 0, ERR_INVALID_HEADER_VALUE,
           "Content-Length must be 0: the content comes from x-ms-copy-source");
    a.authorization = ops_header(r, "x-ms-copy-source-authorization");
    TRY(take_conditions(r, &a.cond));
    TRY(take_sums(r, &a.said));
    TRY(take_range(r, &a.range));
    *ret = a;
    return OK;
}

/* ---- what went wrong ------------------------------------------------------------------------------- */

/* The detail stays this thread's. */
static err failure(err e) {
    int status = err_get(e)->status;
    if (e == ERR_NOT_MODIFIED)
        return err_fail(ERR_SOURCE_CONDITION_NOT_MET,
                        "the source is not as x-ms-source-if-… demands");
    if (e == ERR_CONDITION_NOT_MET) return ERR_SOURCE_CONDITION_NOT_MET;
    if (e == ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION)
        return err_fail(ERR_COPY_SOURCE_CONFLICT,
                        "the source is under a customer-provided key: send it in "
                        "x-ms-source-encryption-key, -key-sha256 and -algorithm");
    if (e == ERR_INVALID_RANGE || status >= 500) return e;
    switch (status) {
    case 401:
        return ERR_COPY_SOURCE_UNAUTHENTICATED;
    case 403:
        return ERR_COPY_SOURCE_FORBIDDEN;
    case 404:
        return ERR_COPY_SOURCE_NOT_FOUND;
    case 409:
        return ERR_COPY_SOURCE_CONFLICT;
    default:
        return ERR_COPY_SOURCE_INVALID;
    }
}

/* ---- a source on this server ----------------------------------------------------------------------- */

static bool has_param(const ops_request *r, const char *name) {
    return ops_param(r, name).p != NULL;
}

/* A customer's key of the source: on this server the key of the request that the source becomes, elsewhere
 * sent along. */
static const struct {
    const char *name, *there;
} source_key[] = {{"x-ms-source-encryption-key", "x-ms-encryption-key"},
                  {"x-ms-source-encryption-key-sha256", "x-ms-encryption-key-sha256"},
                  {"x-ms-source-encryption-algorithm", "x-ms-encryption-algorithm"}};

static void add(pair *list, size_t *n, const char *name, slice value) {
    if (value.p != NULL) list[(*n)++] = (pair){slice_str(name), value};
}

static void add_source_key(const ops_request *r, pair *list, size_t *n) {
    for (size_t i = 0; i < ARRAY_LEN(source_key); i++)
        add(list, n, source_key[i].there, ops_header(r, source_key[i].name));
}

/* The source as a request of its own, allowed in. */
static err admit_local(ops_request *r, const blob_source_asks *a, const place *p, ops_request *n) {
    n->server = r->server;
    n->outer = r;
    n->arena = r->arena;
    n->method = OPS_HEAD;
    n->method_text = S("HEAD");
    n->tls = r->tls;
    n->peer_ip = r->peer_ip;
    n->has_length = true;
    n->target = p->target;
    n->headers[n->header_count++] = (pair){S("Host"), p->authority};
    if (a->authorization.len > 0)
        n->headers[n->header_count++] = (pair){S("Authorization"), a->authorization};
    add_source_key(r, n->headers, &n->header_count);
    TRY(ops_route(n));
    n->version = r->version;
    n->purpose = r->purpose;
    n->reason = r->reason;
    n->purpose_default = r->purpose_default;
    ENSURE(strcmp(n->row->name, "Get Blob Properties") == 0, ERR_INVALID_INPUT,
           "x-ms-copy-source does not name a blob");
    TRY(blob_names_check(n));
    bool bare = !has_param(n, "sig") && a->authorization.len == 0;
    err e = bare ? ops_begin_as(n, r) : ERR_AUTHORIZATION_FAILURE;
    if (e == OK || e == ERR_PURPOSE_REQUIRED || e == ERR_WITNESSES_REQUIRED) return e;
    return ops_begin(n);
}

static err open_here(ops_request *r, const blob_source_asks *a, blob_source *s) {
    ops_request *n = s->here;
    TRY(blob_enter(n));
    TRY(blob_pick_read(n, &s->pick));
    ENSURE(a->cond.if_tags == NULL || ops_may_tag(n), ERR_AUTHORIZATION_PERMISSION_MISMATCH,
           "x-ms-source-if-tags needs the permission to read the source's tags (t)");
    store *st = r->server->store;
    store_call c = ops_call(r);
    c.customer = n->customer;
    c.record = ops_call(n).record;
    c.archived = a->archived && slice_eq(n->account_name, r->account_name);
    TRY(store_container_get(st, c, n->account, n->container, &s->container));
    TRY(store_blob_open(st, c, s->container, n->blob, s->pick, &a->cond, &s->blob, &s->reader));
    s->length = s->blob.length;
    s->etag = arena_fmt(r->arena, "\"0x%llX\"", (unsigned long long)s->blob.etag);
    s->first = 0;
    s->count = s->length;
    return a->range.asked ? blob_range_apply(&a->range, s->length, &s->first, &s->count) : OK;
}

/* The read of a source has a record of its own, beside that of the request that copies it. */
static err record_read(ops_request *n, err e) {
    ops_response w = {.status = err_get(e)->status, .error = e};
    n->recorded_as = "Get Blob";
    ops_record(n, &w);
    return w.error;
}

static err open_local(ops_request *r, const blob_source_asks *a, const place *p, blob_source *s) {
    s->here = calloc(1, sizeof *s->here);
    MUST(s->here != NULL);
    err e = admit_local(r, a, p, s->here);
    if (e == OK) e = open_here(r, a, s);
    e = record_read(s->here, e);
    bool own = slice_eq(s->here->account_name, r->account_name);
    return e == OK || (e == ERR_BLOB_ARCHIVED && own) ? e : failure(e);
}

/* ---- a source elsewhere ---------------------------------------------------------------------------- */

static err refused(int status, const fetch_answer *f) {
    slice code = slice_take(fetch_header(f, "x-ms-error-code"), 64);
    err e = status == 304 || status == 412  ? ERR_SOURCE_CONDITION_NOT_MET
            : status == 416                 ? ERR_INVALID_RANGE
            : status >= 300 && status < 400 ? ERR_COPY_SOURCE_REFUSED
            : status == 401                 ? ERR_COPY_SOURCE_UNAUTHENTICATED
            : status == 403                 ? ERR_COPY_SOURCE_FORBIDDEN
            : status == 404                 ? ERR_COPY_SOURCE_NOT_FOUND
            : status == 409                 ? ERR_COPY_SOURCE_CONFLICT
            : status >= 500                 ? ERR_COPY_SOURCE_UNREACHABLE
                                            : ERR_COPY_SOURCE_INVALID;
    return err_fail(e, "the copy source answered %d %.*s%s", status, SLICE_ARG(code),
                    e == ERR_COPY_SOURCE_REFUSED ? ": redirects are not followed" : "");
}

/* ERR_COPY_SOURCE_UNREACHABLE: it may answer later. */
err blob_source_answer_check(const fetch_answer *f, uint64_t offset, uint64_t count) {
    if (f->status != 200 && f->status != 206) return refused(f->status, f);
    ENSURE(f->status == (offset > 0 ? 206 : 200) && f->length == count, ERR_COPY_SOURCE_INVALID,
           "the copy source has another length than it had, or does not know ranges");
    return OK;
}

/* "bytes 0-9/100": the length of the whole. */
static bool total_of(slice content_range, uint64_t *ret) {
    size_t slash = slice_find(content_range, 0, '/');
    return slash < content_range.len && slice_u64(slice_skip(content_range, slash + 1), ret) == OK;
}

static void take_md5(arena *a, slice v, store_http *h) {
    slice raw;
    h->has_md5 = v.len == 24 && base64_get(a, v, &raw) == OK && raw.len == 16;
    if (h->has_md5) memcpy(h->md5, raw.p, 16);
}

static slice plain(slice v) {
    return v.len <= BLOB_HEADER_VALUE_MAX && slice_utf8_valid(v) ? v : SLICE_NONE;
}

/* What the answer says of the blob; of servers that are no blob service, what HTTP says. */
static err describe(arena *a, const fetch_answer *f, blob_source *s) {
    store_blob *b = &s->blob;
    slice type = fetch_header(f, "x-ms-blob-type");
    *b = (store_blob){.length = s->length,
                      .modified_us = STORE_TIME_NONE,
                      .http = {.content_type = plain(fetch_header(f, "Content-Type")),
                               .content_encoding = plain(fetch_header(f, "Content-Encoding")),
                               .content_language = plain(fetch_header(f, "Content-Language")),
                               .content_disposition = plain(fetch_header(f, "Content-Disposition")),
                               .cache_control = plain(fetch_header(f, "Cache-Control"))}};
    slice whole = fetch_header(f, "x-ms-blob-content-md5");
    take_md5(a, whole.p != NULL || f->status == 206 ? whole : fetch_header(f, "Content-MD5"),
             &b->http);
    b->type = slice_eq(type, S("PageBlob"))     ? STORE_PAGE_BLOB
              : slice_eq(type, S("AppendBlob")) ? STORE_APPEND_BLOB
                                                : STORE_BLOCK_BLOB;
    slice sequence = fetch_header(f, "x-ms-blob-sequence-number");
    if (slice_u64(sequence, &b->sequence) != OK || b->sequence > INT64_MAX) b->sequence = 0;
    s->etag = plain(fetch_header(f, "ETag"));
    pair *list = arena_alloc(a, (f->header_count + 1) * sizeof *list);
    for (size_t i = 0; i < f->header_count; i++)
        if (slice_starts_nocase(f->headers[i].name, S("x-ms-meta-")))
            list[b->metadata_count++] =
                (pair){slice_skip(f->headers[i].name, 10), f->headers[i].value};
    b->metadata = list;
    return OK;
}

static err measure(const blob_source_asks *a, const fetch_answer *f, blob_source *s) {
    ENSURE(f->length != FETCH_LEN_UNKNOWN, ERR_COPY_SOURCE_INVALID,
           "the copy source does not say its length");
    s->length = s->count = f->length;
    s->first = a->range.asked ? a->range.first : 0;
    if (f->status == 206)
        ENSURE(total_of(fetch_header(f, "Content-Range"), &s->length), ERR_COPY_SOURCE_INVALID,
               "the copy source does not say the length of the whole");
    if (!a->range.asked) return OK;
    bool all = f->status == 200 && a->range.first == 0 && a->range.last >= f->length - 1;
    ENSURE(f->status == 206 || all, ERR_COPY_SOURCE_INVALID,
           "the copy source does not know ranges; it answered with all of it");
    return OK;
}

static err open_remote(ops_request *r, const blob_source_asks *a, blob_source *s) {
    const blob_service *service = r->server->context;
    ENSURE(service != NULL && service->fetch != NULL, ERR_COPY_SOURCE_REFUSED,
           "the copy source is not on this server, and no others are listed in copy_sources");
    uint64_t limit =
        a->length_max < STORE_PUT_BLOB_LEN_MAX ? a->length_max : STORE_PUT_BLOB_LEN_MAX;
    pair headers[8 + ARRAY_LEN(source_key)];
    size_t n = 0;
    add(headers, &n, "x-ms-version", r->version);
    add(headers, &n, "Authorization", a->authorization);
    add(headers, &n, "x-ms-if-tags", ops_header(r, "x-ms-source-if-tags"));
    add(headers, &n, "x-ms-lease-id", ops_header(r, "x-ms-source-lease-id"));
    add(headers, &n, "If-Match", a->cond.if_match);
    add(headers, &n, "If-None-Match", a->cond.if_none_match);
    add(headers, &n, "If-Modified-Since", ops_header(r, "x-ms-source-if-modified-since"));
    add(headers, &n, "If-Unmodified-Since", ops_header(r, "x-ms-source-if-unmodified-since"));
    ENSURE(ops_header(r, source_key[0].name).p == NULL ||
               slice_starts_nocase(a->url, S("https://")),
           ERR_INVALID_HEADER_VALUE, "%s is sent to sources at https:// only", source_key[0].name);
    add_source_key(r, headers, &n);
    fetch_ask ask = {.url = a->url,
                     .ranged = a->range.asked,
                     .first = a->range.first,
                     .last = a->range.last,
                     .headers = headers,
                     .header_count = n,
                     .total_s = TRANSFER_S + (unsigned)(limit / TRANSFER_BYTES_S)};
    fetch_answer f;
    TRY(fetch_open(service->fetch, r->arena, &ask, &f, &s->stream));
    if (f.status != 200 && f.status != 206) return refused(f.status, &f);
    TRY(measure(a, &f, s));
    return describe(r->arena, &f, s);
}

/* ---- for the operations ------------------------------------------------------------------------------ */

err blob_source_open(ops_request *r, const blob_source_asks *a, blob_source *ret) {
    place p;
    *ret = (blob_source){0};
    TRY(parse_url(a->url, &p));
    err e = is_here(r, &p) ? open_local(r, a, &p, ret) : open_remote(r, a, ret);
    if (e == OK && ret->count > a->length_max)
        e = err_fail(ERR_REQUEST_BODY_TOO_LARGE,
                     "the copy source has %llu bytes, at most %llu are copied",
                     (unsigned long long)ret->count, (unsigned long long)a->length_max);
    if (e != OK) blob_source_done(ret);
    return e;
}

err blob_source_read(blob_source *s, uint8_t *out, size_t cap, size_t *ret_n) {
    uint64_t left = s->count - s->at;
    if (left < cap) cap = (size_t)left;
    *ret_n = 0;
    if (cap == 0) return OK;
    if (s->stream != NULL)
        TRY(fetch_read(s->stream, out, cap, ret_n));
    else
        TRY(store_reader_read(s->reader, s->first + s->at, out, cap, false, ret_n));
    s->at += *ret_n;
    ENSURE(*ret_n > 0, ERR_COPY_SOURCE_UNREACHABLE,
           "the copy source ended after %llu of %llu bytes", (unsigned long long)s->at,
           (unsigned long long)s->count);
    return OK;
}

void blob_source_done(blob_source *s) {
    store_reader_free(s->reader);
    fetch_close(s->stream);
    if (s->container != NULL) store_container_unref(s->container);
    if (s->here != NULL && s->here->account != NULL) store_account_unref(s->here->account);
    if (s->here != NULL && s->here->customer != NULL)
        crypto_wipe(s->here->customer, sizeof *s->here->customer);
    free(s->here);
    *s = (blob_source){0};
}

#define PIECE ((size_t)256 << 10)

err blob_source_upload(blob_source *s, store_upload *u, const blob_sums *said) {
    uint8_t md5[16], *p = malloc(PIECE);
    MUST(p != NULL);
    err e = OK;
    for (size_t n = 1; e == OK;) {
        e = blob_source_read(s, p, PIECE, &n);
        if (e != OK || n == 0) break;
        e = store_upload_write(u, slice_of(p, n));
    }
    free(p);
    TRY(e);
    TRY(store_upload_finish(u));
    if (said->has_md5) store_upload_md5(u, md5);
    return blob_sums_check(said, md5, store_upload_crc64(u));
}

err blob_source_bring(ops_request *r, const store_container *k, const blob_source_asks *a,
                      store_upload **ret) {
    blob_source source CLEANUP(blob_source_done) = {0};
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_source_open(r, a, &source));
    ENSURE(source.count > 0, ERR_INVALID_INPUT,
           "the copy source has no bytes; a block has at least one");
    TRY(blob_upload_new(r, k, source.count, a->length_max, a->said.has_md5 ? STORE_UPLOAD_MD5 : 0,
                        &u));
    TRY(blob_source_upload(&source, u, &a->said));
    *ret = u;
    u = NULL;
    return OK;
}
