/* Encryption scopes in headers and shared access signatures ("Encryption scopes for Blob storage"). */
#include "blob/internal.h"

#define HEADER  "x-ms-encryption-scope"
#define DEFAULT "x-ms-default-encryption-scope"
#define DENY    "x-ms-deny-encryption-scope-override"

static err check_name(const char *what, slice name) {
    ENSURE(store_scope_name_valid(name) || slice_eq(name, STORE_ACCOUNT_SCOPE),
           ERR_INVALID_HEADER_VALUE, "%s: '%.*s' is not the name of an encryption scope", what,
           SLICE_ARG(slice_take(name, 64)));
    return OK;
}

/* Only a container that is made takes a default; elsewhere a header that asks for nothing does no harm. */
static err refuse_default(const ops_request *r) {
    slice name = ops_header(r, DEFAULT), deny = ops_header(r, DENY);
    bool makes = strcmp(r->row->name, "Create Container") == 0;
    ENSURE(makes || name.p == NULL || slice_eq(name, STORE_ACCOUNT_SCOPE), ERR_UNSUPPORTED_HEADER,
           "%s does not go with %s: it is set when the container is made", DEFAULT, r->row->name);
    ENSURE(makes || deny.p == NULL || slice_eq_nocase(deny, S("false")), ERR_UNSUPPORTED_HEADER,
           "%s does not go with %s: it is set when the container is made", DENY, r->row->name);
    return OK;
}

/* "If the x-ms-encryption-scope header and the ses query parameter are both provided in the PUT request and
 * there's a mismatch, the service returns error response code 400" ("Create a service SAS"). */
err blob_scope_read(ops_request *r) {
    slice header = ops_header(r, HEADER), ses = r->caller.encryption_scope;
    const bool takes = r->row->flags & OPS_SCOPE;
    TRY(refuse_default(r));
    ENSURE(takes || header.p == NULL, ERR_UNSUPPORTED_HEADER, HEADER " does not go with %s",
           r->row->name);
    if (!takes) return OK;
    ENSURE(header.p == NULL || ses.len == 0 || slice_eq(header, ses), ERR_INVALID_HEADER_VALUE,
           HEADER " is '%.*s', the token's ses '%.*s'", SLICE_ARG(slice_take(header, 64)),
           SLICE_ARG(slice_take(ses, 64)));
    slice name = header.p != NULL ? header : ses;
    if (name.p == NULL || (header.p == NULL && name.len == 0)) return OK;
    TRY(check_name(header.p != NULL ? HEADER : "ses", name));
    ENSURE(r->customer == NULL, ERR_INVALID_HEADER_VALUE,
           "an encryption scope and a customer-provided key cannot be sent together");
    r->scope = name;
    return OK;
}

/* "x-ms-default-encryption-scope and x-ms-deny-encryption-scope-override are required", each with the other;
 * and ses goes for both: "a mismatch between the ses query parameter and the x-ms-default-encryption-scope
 * header, and the x-ms-deny-encryption-scope-override header is set to true … 403" ("Create a service SAS"). */
err blob_default_scope_read(const ops_request *r, store_default_scope *ret) {
    slice name = ops_header(r, DEFAULT), ses = r->caller.encryption_scope;
    store_default_scope d = {0};
    ENSURE((name.p != NULL) == (ops_header(r, DENY).p != NULL), ERR_MISSING_REQUIRED_HEADER,
           DEFAULT " and " DENY " are sent together");
    TRY(blob_flag_read(r, DENY, &d.deny_override));
    if (name.p != NULL) TRY(check_name(DEFAULT, name));
    ENSURE(ses.len == 0 || !d.deny_override || slice_eq(name, ses),
           ERR_FORBIDDEN_BY_ENCRYPTION_POLICY, "the token's ses is '%.*s'",
           SLICE_ARG(slice_take(ses, 64)));
    if (!slice_eq(name, STORE_ACCOUNT_SCOPE)) d.name = name;
    *ret = d;
    return OK;
}

slice blob_default_scope_name(const store_container *k) {
    return k->scope.name.len > 0 ? k->scope.name : STORE_ACCOUNT_SCOPE;
}

void blob_set_scope(ops_request *r, ops_response *w, slice scope) {
    if (scope.len > 0) ops_set(w, HEADER, arena_dup(r->arena, scope));
}
