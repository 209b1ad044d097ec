/* Cross-origin resource sharing. "Cross-Origin Resource Sharing (CORS) support for Azure Storage",
 * "Preflight Blob Request". Rules are tried in their order; the first that allows the request
 * decides. */
#include "blob/internal.h"

#define ORIGINS_MAX   64
#define VALUE_MAX     256
#define HEADERS_MAX   64
#define PREFIXES_MAX  2
#define EXPOSED_BYTES ((size_t)16 << 10)

static bool next(slice *rest, slice *ret) {
    if (!slice_split(rest, ',', ret)) return false;
    *ret = slice_trim(*ret);
    return true;
}

/* A star may stand for the first labels of the host, with or without a scheme before it. The host's
 * letters are alike in either case then; an origin without a star must be the same. */
static bool origin_is(slice pattern, slice origin) {
    if (slice_eq(pattern, S("*")) || slice_eq(pattern, origin)) return true;
    size_t star = slice_find_slice(pattern, 0, S("*."));
    slice head = slice_take(pattern, star), tail = slice_skip(pattern, star + 1);
    if (star == pattern.len || !(head.len == 0 || slice_ends(head, S("://")))) return false;
    return origin.len > head.len + tail.len && slice_starts(origin, head) &&
           slice_eq_nocase(slice_skip(origin, origin.len - tail.len), tail);
}

bool blob_cors_origin_matches(slice patterns, slice origin) {
    slice part;
    while (next(&patterns, &part))
        if (part.len > 0 && origin_is(part, origin)) return true;
    return false;
}

static bool has_star(slice s) {
    return s.len > 0 && s.p[s.len - 1] == '*';
}

static bool header_is(slice pattern, slice name) {
    if (!has_star(pattern)) return slice_eq_nocase(pattern, name);
    return slice_starts_nocase(name, slice_take(pattern, pattern.len - 1));
}

bool blob_cors_header_matches(slice patterns, slice name) {
    slice part;
    while (next(&patterns, &part))
        if (part.len > 0 && header_is(part, name)) return true;
    return false;
}

static bool lists(slice list, slice word) {
    slice part;
    while (next(&list, &part))
        if (slice_eq_nocase(part, word)) return true;
    return false;
}

/* ---- rules that come in -------------------------------------------------------------------------- */

static err check_count(const char *what, slice list, size_t max, size_t prefixes_max) {
    size_t literal = 0, prefixes = 0;
    slice part;
    while (next(&list, &part)) {
        if (part.len == 0) continue;
        ENSURE(part.len <= VALUE_MAX, ERR_INVALID_XML_NODE_VALUE, "%s: a value is longer than %d",
               what, VALUE_MAX);
        bool prefix = has_star(part) && part.len > 1;
        *(prefix ? &prefixes : &literal) += 1;
    }
    ENSURE(literal <= max && prefixes <= prefixes_max, ERR_INVALID_XML_NODE_VALUE,
           "%s: at most %zu values, and %zu that end in '*'", what, max, prefixes_max);
    return OK;
}

static err check_methods(slice methods) {
    slice part;
    while (next(&methods, &part))
        ENSURE(lists(S("DELETE,GET,HEAD,MERGE,POST,OPTIONS,PUT,PATCH"), part) && part.len > 0,
               ERR_INVALID_XML_NODE_VALUE, "AllowedMethods: '%.*s' is not a method",
               SLICE_ARG(slice_take(part, 32)));
    return OK;
}

err blob_cors_rule_check(const store_cors_rule *rule) {
    ENSURE(rule->origins.len > 0 && rule->methods.len > 0, ERR_MISSING_REQUIRED_XML_NODE,
           "a CorsRule needs AllowedOrigins and AllowedMethods");
    TRY(check_count("AllowedOrigins", rule->origins, ORIGINS_MAX, ORIGINS_MAX));
    TRY(check_methods(rule->methods));
    TRY(check_count("AllowedHeaders", rule->allowed_headers, HEADERS_MAX, PREFIXES_MAX));
    return check_count("ExposedHeaders", rule->exposed_headers, HEADERS_MAX, PREFIXES_MAX);
}

/* ---- preflight ----------------------------------------------------------------------------------- */

static bool allows_all(slice patterns, slice names) {
    slice name;
    while (next(&names, &name))
        if (name.len > 0 && !blob_cors_header_matches(patterns, name)) return false;
    return true;
}

static const store_cors_rule *find_rule(const store_service *v, slice origin, slice method,
                                        slice headers) {
    for (size_t i = 0; i < v->cors_count; i++) {
        const store_cors_rule *rule = &v->cors[i];
        if (blob_cors_origin_matches(rule->origins, origin) && lists(rule->methods, method) &&
            allows_all(rule->allowed_headers, headers))
            return rule;
    }
    return NULL;
}

static void set_origin(ops_response *w, const store_cors_rule *rule, slice origin) {
    bool any = lists(rule->origins, S("*"));
    ops_set(w, "Access-Control-Allow-Origin", any ? S("*") : origin);
    if (!any) {
        ops_set(w, "Access-Control-Allow-Credentials", S("true"));
        ops_set(w, "Vary", S("Origin"));
    }
}

err blob_preflight(ops_request *r, ops_response *w) {
    slice origin = ops_header(r, "Origin");
    slice method = ops_header(r, "Access-Control-Request-Method");
    slice headers = ops_header(r, "Access-Control-Request-Headers");
    ENSURE(origin.len > 0, ERR_MISSING_REQUIRED_HEADER,
           "A required CORS header is not present. It is Origin");
    ENSURE(method.len > 0, ERR_MISSING_REQUIRED_HEADER,
           "A required CORS header is not present. It is Access-Control-Request-Method");
    store_service v = {0};
    if (r->account != NULL) TRY(store_service_get(r->server->store, ops_call(r), r->account, &v));
    const store_cors_rule *rule = find_rule(&v, origin, method, headers);
    ENSURE(rule != NULL, ERR_CORS_PREFLIGHT_FAILURE,
           "no CORS rule of the account allows %.*s from %.*s with these headers",
           SLICE_ARG(slice_take(method, 32)), SLICE_ARG(slice_take(origin, 128)));
    w->status = 200;
    set_origin(w, rule, origin);
    ops_set(w, "Access-Control-Allow-Methods", method);
    if (headers.len > 0) ops_set(w, "Access-Control-Allow-Headers", headers);
    ops_set_u64(r, w, "Access-Control-Max-Age", rule->max_age_s);
    return OK;
}

/* ---- actual requests ----------------------------------------------------------------------------- */

static void add_name(buf *b, slice name) {
    if (b->len > 0) buf_byte(b, ',');
    buf_put(b, name);
}

/* Names without a star as the rule has them; for a star the headers of this answer that it means.
 */
static slice exposed(ops_request *r, const ops_response *w, slice patterns) {
    buf b;
    buf_init_arena(&b, r->arena, EXPOSED_BYTES);
    slice rest = patterns, part;
    bool starred = false;
    while (next(&rest, &part)) {
        starred |= has_star(part);
        if (part.len > 0 && !has_star(part)) add_name(&b, part);
    }
    for (size_t i = 0; starred && i < w->header_count; i++) {
        slice name = w->headers[i].name;
        bool found = blob_cors_header_matches(patterns, name) &&
                     !slice_starts_nocase(name, S("Access-Control-")) &&
                     !lists(buf_slice(&b), name);
        if (found) add_name(&b, name);
    }
    return b.failed ? SLICE_NONE : buf_slice(&b);
}

/* The rules: one small row, in the cache of the engine as a rule. This runs where the answer is
 * sent; when the row has to be read after all, the read is short, and only requests with an Origin
 * wait for it. */
static err rules(const ops_request *r, store_service *ret) {
    store_call c = {.arena = r->arena, .nowait = true};
    err e = store_service_get(r->server->store, c, r->account, ret);
    if (e != ERR_WOULD_BLOCK) return e;
    c.nowait = false;
    return store_service_get(r->server->store, c, r->account, ret);
}

void blob_cors_decorate(ops_request *r, ops_response *w) {
    slice origin = ops_header(r, "Origin");
    if (origin.len == 0 || r->account == NULL || r->method == OPS_OPTIONS) return;
    store_service v;
    if (rules(r, &v) != OK) return;
    const store_cors_rule *rule = find_rule(&v, origin, r->method_text, SLICE_NONE);
    if (rule == NULL) {
        /* Another origin may be answered otherwise: caches must not mix them up. */
        if (v.cors_count > 0) ops_set(w, "Vary", S("Origin"));
        return;
    }
    slice names = exposed(r, w, rule->exposed_headers);
    set_origin(w, rule, origin);
    if (names.len > 0) ops_set(w, "Access-Control-Expose-Headers", names);
}
