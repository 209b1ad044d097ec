/* Customer-provided keys in headers ("Provide an encryption key on a request to Blob storage"). */
#include "blob/internal.h"

#define KEY_TEXT_LEN 44 /* base64 of 32 bytes */

static const char *const names[] = {"x-ms-encryption-key", "x-ms-encryption-key-sha256",
                                    "x-ms-encryption-algorithm"};

static err take_32(ops_request *r, const char *name, uint8_t ret[32]) {
    slice v = ops_header(r, name), raw;
    /* The value may be the key itself: no message quotes it. */
    ENSURE(v.len == KEY_TEXT_LEN && base64_get(r->arena, v, &raw) == OK && raw.len == 32,
           ERR_INVALID_HEADER_VALUE, "%s is not the base64 of 32 bytes", name);
    memcpy(ret, raw.p, 32);
    crypto_wipe((uint8_t *)(uintptr_t)raw.p, raw.len); /* the decoder's copy, in the arena */
    return OK;
}

/* "If you specify one of the headers … for a write operation, then you must specify all of them";
 * reads may leave the algorithm out. */
static err check_set(const ops_request *r) {
    const size_t needed = r->row->need.writes ? 3 : 2;
    for (size_t i = 0; i < needed; i++)
        ENSURE(ops_header(r, names[i]).p != NULL, ERR_MISSING_REQUIRED_HEADER,
               "%s is missing: a customer-provided key is sent with %s, %s and %s", names[i],
               names[0], names[1], names[2]);
    slice algorithm = ops_header(r, names[2]);
    ENSURE(algorithm.p == NULL || slice_eq(algorithm, S("AES256")), ERR_INVALID_HEADER_VALUE,
           "%s: '%.*s' is not AES256", names[2], SLICE_ARG(slice_take(algorithm, 32)));
    return OK;
}

/* "A client must establish a secure connection": who listens would have the key. */
static err check_place(const ops_request *r) {
    ENSURE(r->row->flags & OPS_CUSTOMER_KEY, ERR_UNSUPPORTED_HEADER,
           "a customer-provided key (x-ms-encryption-…) does not go with %s", r->row->name);
    ENSURE(r->tls || r->server->development, ERR_UNSUPPORTED_HEADER,
           "a customer-provided key is taken over https only (in development mode over http too)");
    return OK;
}

err blob_customer_read(ops_request *r) {
    bool some = false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) some |= ops_header(r, names[i]).p != NULL;
    if (!some || r->customer != NULL) return OK;
    TRY(check_place(r));
    TRY(check_set(r));
    uint8_t said[CRYPTO_SHA256_LEN];
    store_customer *c = arena_alloc(r->arena, sizeof *c);
    r->customer = c; /* from here on wiped at the request's end, whatever happens */
    TRY(take_32(r, names[0], c->key.b));
    TRY(take_32(r, names[1], said));
    crypto_sha256(slice_of(c->key.b, sizeof c->key.b), c->sha256);
    ENSURE(crypto_same(c->sha256, said, sizeof said), ERR_INVALID_HEADER_VALUE,
           "%s is not the SHA-256 of the key in %s", names[1], names[0]);
    return OK;
}

/* ---- answers ------------------------------------------------------------------------------------- */

void blob_set_key_sha256(ops_request *r, ops_response *w, slice key_sha256) {
    if (key_sha256.len == 0) return;
    buf b;
    buf_init_fixed(&b, arena_alloc(r->arena, KEY_TEXT_LEN), KEY_TEXT_LEN);
    base64_put(&b, key_sha256);
    ops_set(w, "x-ms-encryption-key-sha256", buf_slice(&b));
}

void blob_set_encrypted(ops_request *r, ops_response *w, slice scope) {
    ops_set(w, "x-ms-request-server-encrypted", S("true"));
    blob_set_scope(r, w, scope);
    if (r->customer != NULL)
        blob_set_key_sha256(r, w, slice_of(r->customer->sha256, sizeof r->customer->sha256));
}

/* ---- uploads ------------------------------------------------------------------------------------- */

err blob_upload_new(ops_request *r, const store_container *k, uint64_t len, uint64_t len_max,
                    unsigned flags, store_upload **ret) {
    store_upload *u;
    TRY(store_upload_new(r->server->store, k, len, len_max, flags, &u));
    err e = store_upload_under(u, ops_call(r), k);
    if (e != OK) {
        store_upload_free(u);
        return e;
    }
    *ret = u;
    return OK;
}
