/* Who asks, and whether they may: the two entries, and what both kinds of signature share. */
#include "auth/auth_internal.h"

slice auth_header(const auth_request *r, slice name) {
    for (size_t i = 0; i < r->header_count; i++)
        if (slice_eq_nocase(r->headers[i].name, name)) return r->headers[i].value;
    return SLICE_NONE;
}

slice auth_param(const auth_request *r, slice name) {
    for (size_t i = 0; i < r->param_count; i++)
        if (slice_eq(r->params[i].name, name)) return r->params[i].value;
    return SLICE_NONE;
}

bool auth_has_letter(slice letters, char c) {
    return letters.len && memchr(letters.p, c, letters.len) != NULL;
}

int auth_key_of(const store_account *account, slice text, slice mac) {
    for (int i = 0; i < 2; i++) {
        if (!account->key_set[i]) continue;
        uint8_t computed[AUTH_MAC_LEN];
        crypto_hmac_sha256(account->keys[i], text, computed);
        if (slice_eq_secret(slice_of(computed, sizeof computed), mac)) return i;
    }
    return -1;
}

err auth_identify(store *s, store_call c, const auth_request *r, const store_account *account,
                  auth_caller *ret) {
    MUST(account && r && ret && c.arena);
    auth_caller who = {.kind = AUTH_ANONYMOUS, .key_index = -1};
    /* Authorization wins over a SAS, as on Azure: a client that follows a redirect to a SAS URL
     * with its old Authorization header is refused there too. */
    slice authorization = auth_header(r, S("authorization"));
    if (authorization.p) {
        TRY(auth_by_shared_key(c.arena, r, account, authorization, &who));
        *ret = who;
        return OK;
    }
    auth_sas sas;
    TRY(auth_sas_collect(r, &sas));
    if (sas.f[SAS_SIG].p) {
        TRY(auth_by_sas(s, c, r, account, &sas, &who));
    } else {
        /* Most likely a token cut short on its way; as an anonymous request it would be a 404. */
        ENSURE(
            !sas.f[SAS_SP].p && !sas.f[SAS_SE].p && !sas.f[SAS_SV].p, ERR_AUTHENTICATION_FAILED,
            "Signature fields not well formed: the query has fields of a shared access signature "
            "but no sig. Send the whole token.");
    }
    *ret = who;
    return OK;
}

/* ---- may they? ---- */

static err may_be_anonymous(const auth_request *r, const auth_need *need) {
    ENSURE(
        need->anonymous != AUTH_PUBLIC_NEVER && r->container.len, ERR_NO_AUTHENTICATION_INFORMATION,
        "This operation needs a signature: an Authorization header (SharedKey) or a shared access "
        "signature in the query.");
    return OK;
}

/* One answer for private and missing: an anonymous caller learns of no container. */
static err not_public(void) {
    return err_fail(ERR_RESOURCE_NOT_FOUND,
                    "The request is not signed, and no public container has this name.");
}

static err permit_anonymous(store *s, store_call c, const auth_request *r,
                            const store_account *account, const auth_need *need) {
    if (need->anonymous == AUTH_PUBLIC_ALWAYS) return OK;
    TRY(may_be_anonymous(r, need));
    const store_container *k = NULL;
    err e = store_container_get(s, c, account, r->container, &k);
    if (e == ERR_CONTAINER_NOT_FOUND || e == ERR_NOT_FOUND) return not_public();
    TRY(e);
    store_public access = k->public_access;
    store_container_unref(k);
    bool open = access == STORE_PUBLIC_CONTAINER ||
                (access == STORE_PUBLIC_BLOB && need->anonymous == AUTH_PUBLIC_BLOB);
    return open ? OK : not_public();
}

static err permit_letters(slice have, const char *any) {
    ENSURE(any, ERR_AUTHORIZATION_FAILURE,
           "No shared access signature of this kind allows this operation.");
    for (const char *p = any; *p; p++)
        if (auth_has_letter(have, *p)) return OK;
    return err_fail(ERR_AUTHORIZATION_PERMISSION_MISMATCH,
                    "The shared access signature allows '%.*s'; this operation needs %s'%s'.",
                    SLICE_ARG(have), any[1] ? "one of " : "", any);
}

static err permit_account_sas(const auth_caller *who, const auth_need *need) {
    ENSURE(auth_has_letter(who->services, 'b'), ERR_AUTHORIZATION_SERVICE_MISMATCH,
           "ss is '%.*s'; the Blob service needs 'b'.", SLICE_ARG(who->services));
    ENSURE(need->resource_type == '*' || auth_has_letter(who->types, need->resource_type),
           ERR_AUTHORIZATION_RESOURCE_TYPE_MISMATCH, "srt is '%.*s'; this operation needs '%c'.",
           SLICE_ARG(who->types), need->resource_type);
    return permit_letters(who->permissions, need->account_any);
}

static err permit_service_sas(const auth_request *r, const auth_caller *who,
                              const auth_need *need) {
    /* Identifying has bound the signature to what is addressed; this holds even if it had not. */
    bool wide = slice_eq(who->resource, S("c")) || slice_eq(who->resource, S("d"));
    ENSURE(r->container.len && (wide || r->blob.len), ERR_AUTHORIZATION_FAILURE,
           "sr is '%.*s'; this operation is on a level above it.", SLICE_ARG(who->resource));
    return permit_letters(who->permissions, need->service_any);
}

err auth_permit(store *s, store_call c, const auth_request *r, const auth_caller *who,
                const store_account *account, const auth_need *need) {
    MUST(r && who && account && need);
    switch (who->kind) {
    case AUTH_ANONYMOUS:
        TRY(permit_anonymous(s, c, r, account, need));
        break;
    case AUTH_ACCOUNT_SAS:
        TRY(permit_account_sas(who, need));
        break;
    case AUTH_SERVICE_SAS:
        TRY(permit_service_sas(r, who, need));
        break;
    case AUTH_SHARED_KEY:
        break;
    }
    ENSURE(!(need->writes && r->secondary), ERR_INSUFFICIENT_ACCOUNT_PERMISSIONS,
           "The secondary address is read-only; send writes to the primary.");
    return OK;
}

err auth_unknown_account(store_call c, const auth_request *r, const auth_need *need) {
    static const store_account nobody; /* has no keys: no signature is found right */
    auth_caller who;
    TRY(auth_identify(NULL, c, r, &nobody, &who)); /* asks the store only after that */
    MUST(who.kind == AUTH_ANONYMOUS);
    TRY(may_be_anonymous(r, need));
    return not_public();
}

static bool may(const auth_caller *who, char letter) {
    switch (who->kind) {
    case AUTH_SHARED_KEY:
        return true;
    case AUTH_ACCOUNT_SAS:
    case AUTH_SERVICE_SAS:
        return auth_has_letter(who->permissions, letter);
    case AUTH_ANONYMOUS:
        break;
    }
    return false;
}

bool auth_may_overwrite(const auth_caller *who) {
    return may(who, 'w');
}

bool auth_may_tag(const auth_caller *who) {
    return may(who, 't');
}

bool auth_may_protect(const auth_caller *who) {
    return may(who, 'i');
}
