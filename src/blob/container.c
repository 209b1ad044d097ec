/* Containers: create, properties, metadata, access control lists, delete. */
#include "blob/internal.h"

static slice access_name(store_public v) {
    return v == STORE_PUBLIC_BLOB ? S("blob") : S("container");
}

static err read_access(const ops_request *r, store_public *ret) {
    slice v = ops_header(r, "x-ms-blob-public-access");
    *ret = STORE_PRIVATE;
    if (v.len == 0) return OK;
    if (slice_eq(v, S("blob"))) {
        *ret = STORE_PUBLIC_BLOB;
        return OK;
    }
    ENSURE(slice_eq(v, S("container")), ERR_INVALID_HEADER_VALUE,
           "x-ms-blob-public-access: '%.*s' is neither blob nor container",
           SLICE_ARG(slice_take(v, 32)));
    *ret = STORE_PUBLIC_CONTAINER;
    return OK;
}

static void answer(ops_request *r, ops_response *w, int status, const store_container *k) {
    w->status = status;
    blob_set_state(r, w, k->etag, k->modified_us);
}

err blob_create_container(ops_request *r, ops_response *w) {
    store_public access;
    pair *metadata;
    size_t count;
    store_default_scope scope;
    TRY(blob_enter(r));
    TRY(read_access(r, &access));
    TRY(blob_default_scope_read(r, &scope));
    TRY(blob_metadata_read(r, &metadata, &count));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(store_container_create_under(r->server->store, ops_call(r), r->account, r->container,
                                     access, &scope, metadata, count, &k));
    answer(r, w, 201, k);
    return OK;
}

static err checked_container(ops_request *r, const store_container **ret) {
    store_conditions cond;
    const store_container *k;
    TRY(ops_conditions(r, &cond));
    TRY(blob_container(r, &k));
    err e = store_container_check(k, &cond);
    if (e != OK)
        store_container_unref(k);
    else
        *ret = k;
    return e;
}

/* The container's snapshot may go before the answer does. */
static void set_metadata(ops_request *r, ops_response *w, const store_container *k) {
    size_t first = w->header_count;
    blob_metadata_set(r, w, k->metadata, k->metadata_count);
    for (size_t i = first; i < w->header_count; i++)
        w->headers[i].value = arena_dup(r->arena, w->headers[i].value);
}

err blob_get_container(ops_request *r, ops_response *w) {
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_enter(r));
    TRY(checked_container(r, &k));
    answer(r, w, 200, k);
    set_metadata(r, w, k);
    blob_set_lease(w, &k->lease);
    if (k->public_access != STORE_PRIVATE)
        ops_set(w, "x-ms-blob-public-access", access_name(k->public_access));
    ops_set(w, "x-ms-has-immutability-policy", k->guard.days ? S("true") : S("false"));
    ops_set(w, "x-ms-has-legal-hold", k->guard.holds.len ? S("true") : S("false"));
    ops_set(w, "x-ms-immutable-storage-with-versioning-enabled", S("false"));
    ops_set(w, "x-ms-default-encryption-scope", arena_dup(r->arena, blob_default_scope_name(k)));
    ops_set(w, "x-ms-deny-encryption-scope-override",
            k->scope.deny_override ? S("true") : S("false"));
    return OK;
}

err blob_get_container_metadata(ops_request *r, ops_response *w) {
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_enter(r));
    TRY(checked_container(r, &k));
    answer(r, w, 200, k);
    set_metadata(r, w, k);
    return OK;
}

err blob_set_container_metadata(ops_request *r, ops_response *w) {
    store_conditions cond;
    pair *metadata;
    size_t count;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(blob_metadata_read(r, &metadata, &count));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(store_container_set_metadata(r->server->store, ops_call(r), r->account, r->container, &cond,
                                     metadata, count, &k));
    answer(r, w, 200, k);
    return OK;
}

err blob_delete_container(ops_request *r, ops_response *w) {
    store_conditions cond;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(store_container_delete(r->server->store, ops_call(r), r->account, r->container, &cond));
    w->status = 202;
    return OK;
}

/* ---- Restore Container, Rename Container --------------------------------------------------------- */

static err required(const ops_request *r, const char *name, slice *ret) {
    *ret = ops_header(r, name);
    ENSURE(ret->len > 0, ERR_MISSING_REQUIRED_HEADER, "%s is missing", name);
    return OK;
}

/* As List Containers shows it: 16 hexadecimal digits. */
static err read_deleted_version(const ops_request *r, uint64_t *ret) {
    static const char name[] = "x-ms-deleted-container-version";
    slice text, raw;
    TRY(required(r, name, &text));
    ENSURE(text.len == 16 && hex_get(r->arena, text, &raw) == OK, ERR_INVALID_HEADER_VALUE,
           "%s: '%.*s' is not a Version of List Containers with include=deleted", name,
           SLICE_ARG(slice_take(text, 32)));
    return cur_be64(&raw, ret);
}

err blob_restore_container(ops_request *r, ops_response *w) {
    slice name;
    uint64_t version;
    TRY(blob_enter(r));
    TRY(required(r, "x-ms-deleted-container-name", &name));
    TRY(read_deleted_version(r, &version));
    TRY(store_container_restore(r->server->store, ops_call(r), r->account, r->container, name,
                                version));
    w->status = 201;
    return OK;
}

err blob_rename_container(ops_request *r, ops_response *w) {
    slice source, lease;
    TRY(blob_enter(r));
    TRY(required(r, "x-ms-source-container-name", &source));
    TRY(ops_guid(r, "x-ms-source-lease-id", &lease));
    TRY(store_container_rename(r->server->store, ops_call(r), r->account, r->container, source,
                               lease));
    w->status = 200;
    return OK;
}

/* ---- Get Container ACL, Set Container ACL -------------------------------------------------------- */

static void put_policy(buf *b, const store_policy *p) {
    buf_put(b, S("<SignedIdentifier>"));
    xml_element(b, "Id", p->id);
    buf_put(b, S("<AccessPolicy>"));
    if (p->has_start) xml_element(b, "Start", p->start_text);
    if (p->has_expiry) xml_element(b, "Expiry", p->expiry_text);
    if (p->has_permission) xml_element(b, "Permission", p->permission);
    buf_put(b, S("</AccessPolicy></SignedIdentifier>"));
}

err blob_get_acl(ops_request *r, ops_response *w) {
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_enter(r));
    TRY(checked_container(r, &k));
    answer(r, w, 200, k);
    if (k->public_access != STORE_PRIVATE)
        ops_set(w, "x-ms-blob-public-access", access_name(k->public_access));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<SignedIdentifiers>"));
    for (size_t i = 0; i < k->policy_count; i++) put_policy(&b, &k->policies[i]);
    buf_put(&b, S("</SignedIdentifiers>"));
    return xml_answer(w, &b);
}

typedef struct acl_parse {
    arena *arena;
    store_policy *out;
    size_t count;
    bool inside; /* of AccessPolicy */
} acl_parse;

static err acl_open(void *ctx, unsigned depth, slice name) {
    acl_parse *p = ctx;
    if (depth == 1) return slice_eq(name, S("SignedIdentifiers")) ? OK : xml_unsupported(name);
    if (depth == 2) {
        if (!slice_eq(name, S("SignedIdentifier"))) return xml_unsupported(name);
        ENSURE(p->count < STORE_POLICIES_MAX, ERR_INVALID_XML_DOCUMENT,
               "at most %d stored access policies", STORE_POLICIES_MAX);
        p->out[p->count++] = (store_policy){0};
    }
    if (depth == 3) p->inside = slice_eq(name, S("AccessPolicy"));
    return OK;
}

static size_t characters(slice s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += (s.p[i] & 0xC0) != 0x80;
    return n;
}

static err take_id(acl_parse *p, store_policy *to, slice text) {
    size_t n = characters(text);
    ENSURE(n >= 1 && n <= 64, ERR_INVALID_XML_NODE_VALUE, "Id has 1 to 64 characters, not %zu", n);
    for (size_t i = 0; i + 1 < p->count; i++)
        ENSURE(!slice_eq(p->out[i].id, text), ERR_INVALID_XML_NODE_VALUE,
               "Id '%.*s' is there twice", SLICE_ARG(text));
    to->id = arena_dup(p->arena, text);
    return OK;
}

static err take_time(acl_parse *p, slice name, slice text, bool *has, int64_t *us, slice *kept) {
    if (text.len == 0) return OK;
    ENSURE(time_parse_iso(text, us) == OK, ERR_INVALID_XML_NODE_VALUE,
           "%.*s: '%.*s' is not a time like 2026-11-23T20:40:24Z", SLICE_ARG(name),
           SLICE_ARG(slice_take(text, 40)));
    *has = true;
    *kept = arena_dup(p->arena, text);
    return OK;
}

/* The letters of service SAS of containers, in any order, each once. */
static err take_permission(acl_parse *p, store_policy *to, slice text) {
    static const char letters[] = "racwdxyltmeopif";
    for (size_t i = 0; i < text.len; i++) {
        bool known = memchr(letters, text.p[i], sizeof letters - 1) != NULL;
        ENSURE(known && memchr(text.p, text.p[i], i) == NULL, ERR_INVALID_XML_NODE_VALUE,
               "Permission: '%.*s' is not made of the letters %s, each once",
               SLICE_ARG(slice_take(text, 32)), letters);
    }
    to->has_permission = text.len > 0;
    to->permission = arena_dup(p->arena, text);
    return OK;
}

static err acl_close(void *ctx, unsigned depth, slice name, slice text) {
    acl_parse *p = ctx;
    ENSURE(depth > 2 || text.len == 0, ERR_INVALID_XML_DOCUMENT,
           "there is text where elements belong");
    if (depth == 1) return OK;
    MUST(p->count > 0);
    store_policy *to = &p->out[p->count - 1];
    if (depth == 2) {
        ENSURE(to->id.len > 0, ERR_MISSING_REQUIRED_XML_NODE, "a SignedIdentifier needs an Id");
        return OK;
    }
    if (depth == 3 && slice_eq(name, S("Id"))) return take_id(p, to, text);
    if (depth == 3 && p->inside && slice_eq(name, S("AccessPolicy"))) {
        ENSURE(text.len == 0, ERR_INVALID_XML_DOCUMENT, "AccessPolicy holds elements, not text");
        return OK;
    }
    if (depth != 4 || !p->inside) return xml_unsupported(name);
    if (slice_eq(name, S("Start")))
        return take_time(p, name, text, &to->has_start, &to->start_us, &to->start_text);
    if (slice_eq(name, S("Expiry")))
        return take_time(p, name, text, &to->has_expiry, &to->expiry_us, &to->expiry_text);
    if (slice_eq(name, S("Permission"))) return take_permission(p, to, text);
    return xml_unsupported(name);
}

err blob_acl_parse(slice document, arena *a, store_policy out[STORE_POLICIES_MAX],
                   size_t *ret_count) {
    static const xml_visitor visitor = {acl_open, acl_close};
    acl_parse p = {.arena = a, .out = out};
    if (document.len > 0) TRY(xml_read(document, &visitor, &p)); /* none: all policies go */
    *ret_count = p.count;
    return OK;
}

err blob_set_acl(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_public access;
    store_policy policies[STORE_POLICIES_MAX];
    size_t count;
    slice body;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_access(r, &access));
    TRY(blob_body_read(r, BLOB_DOCUMENT_MAX, &body));
    TRY(blob_acl_parse(body, r->arena, policies, &count));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(store_container_set_acl(r->server->store, ops_call(r), r->account, r->container, &cond,
                                access, policies, count, &k));
    answer(r, w, 200, k);
    return OK;
}
