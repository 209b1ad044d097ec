/* What the tests of blob/ share: requests made by hand, run through ops against a store in memory. */
#pragma once

#include "store_test.h"

#include "blob/internal.h"

/* A request with its answer. */
typedef struct call {
    ops_server server;
    ops_request r;
    ops_response w;
    slice body; /* what body_read and body_take give, in uneven pieces */
    size_t at, piece;
    err e; /* of ops_begin or ops_run */
} call;

static const ops_protocol *const call_protocols[] = {&blob_protocol, NULL};

static inline err call_read(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n) {
    call *c = r->adapter;
    slice part = slice_take(slice_skip(c->body, c->at), c->piece < cap ? c->piece : cap);
    if (part.len > 0) memcpy(out, part.p, part.len);
    c->at += part.len;
    c->piece = c->piece * 7 % 5003 + 1;
    *ret_n = part.len;
    return OK;
}

static inline err call_take(ops_request *r, slice *ret) {
    call *c = r->adapter;
    *ret = slice_take(slice_skip(c->body, c->at), c->piece);
    c->at += ret->len;
    c->piece = c->piece * 7 % 5003 + 1;
    return OK;
}

static inline ops_method method_of(const char *name) {
    static const char *const names[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0) return (ops_method)i;
    return OPS_OTHER;
}

/* headers: "name: value" lines. */
static inline call *call_new(store *s, const char *method, const char *target, const char *headers,
                             slice body) {
    call *c = calloc(1, sizeof *c);
    c->server = (ops_server){.store = s, .protocols = call_protocols};
    c->body = body;
    c->piece = 1;
    ops_request *r = &c->r;
    r->server = &c->server;
    r->arena = arena_new(4096, 0);
    r->method = method_of(method);
    r->method_text = slice_str(method);
    r->target = slice_str(target);
    r->peer_ip = S("127.0.0.1");
    r->adapter = c;
    r->body_read = call_read;
    r->body_take = call_take;
    r->content_length = body.len;
    r->has_length = true;
    r->headers[r->header_count++] = (pair){S("Host"), S("127.0.0.1:10000")};
    slice rest = slice_str(headers), line;
    while (headers != NULL && slice_split(&rest, '\n', &line)) {
        if (line.len == 0) continue;
        size_t colon = slice_find(line, 0, ':');
        r->headers[r->header_count++] =
            (pair){slice_take(line, colon), slice_trim(slice_skip(line, colon + 1))};
    }
    return c;
}

/* The account is given: these tests ask for no signature. */
static inline void call_run(call *c, const store_account *a) {
    ops_request *r = &c->r;
    r->account = a;
    r->caller = (auth_caller){.kind = AUTH_SHARED_KEY};
    c->e = ops_begin(r);
    r->caller.kind = AUTH_SHARED_KEY;
    if (c->e == OK) c->e = ops_run(r, &c->w);
    if (c->e != OK) ops_fail(r, &c->w, c->e);
    ops_decorate(r, &c->w);
}

static inline void call_free(call *c) {
    c->r.account = NULL; /* the fixture's */
    ops_finish(&c->r, &c->w, false);
    arena_free(c->r.arena);
    free(c);
}

static inline slice answer_header(const call *c, const char *name) {
    for (size_t i = 0; i < c->w.header_count; i++)
        if (slice_eq_nocase(c->w.headers[i].name, slice_str(name))) return c->w.headers[i].value;
    return SLICE_NONE;
}

/* The answer's body, from memory, in parts or from its source. */
static inline slice answer_body(call *c) {
    if (c->w.kind == OPS_BODY_BYTES) return c->w.body;
    if (c->w.kind == OPS_BODY_NONE) return S("");
    uint8_t *p = arena_alloc(c->r.arena, (size_t)c->w.length + 1);
    size_t at = 0, n = 0;
    if (c->w.kind == OPS_BODY_PARTS) {
        for (size_t i = 0; i < c->w.part_count; at += c->w.parts[i++].len) {
            assert_true(c->w.parts[i].len <= c->w.length - at);
            memcpy(p + at, c->w.parts[i].p, c->w.parts[i].len);
        }
        assert_int_equal(at, c->w.length);
        return slice_of(p, at);
    }
    do {
        assert_ok(
            c->w.source_read(c->w.source_ctx, at, p + at, (size_t)c->w.length + 1 - at, false, &n));
        at += n;
    } while (n > 0);
    assert_int_equal(at, c->w.length);
    return slice_of(p, at);
}

static inline bool contains(slice text, const char *what) {
    return slice_find_slice(text, 0, slice_str(what)) < text.len;
}

#define assert_contains(text, what)                                                                \
    do {                                                                                           \
        slice in_ = (text);                                                                        \
        if (!contains(in_, what)) {                                                                \
            print_error("\"%s\" is not in \"%.*s\"\n", what, SLICE_ARG(in_));                      \
            fail();                                                                                \
        }                                                                                          \
    } while (0)
