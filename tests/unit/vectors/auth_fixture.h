/* What the auth tests share: a request built from text, an account with the development key, a
 * store that is two functions, and a signer of our own for tokens that no SDK would make. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth/auth_internal.h"

#define DEV_KEY                                                                                    \
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define NOW_US INT64_C(1796126400000000) /* 2026-12-01T12:00:00Z, the vectors' x-ms-date */

typedef struct auth_vector {
    const char *name, *method, *target, *headers, *container, *blob;
    bool secondary;
    auth_kind kind;
} auth_vector;

/* The store, as far as auth sees it. */
static store_container the_container;
static err the_container_error;

err store_container_get(store *s, store_call c, const store_account *a, slice name,
                        const store_container **ret) {
    (void)s, (void)c, (void)a, (void)name;
    if (the_container_error) return err_fail(the_container_error, "fake");
    *ret = &the_container;
    return OK;
}
const store_container *store_container_unref(const store_container *k) {
    (void)k;
    return NULL;
}

typedef struct fixture {
    arena *arena;
    store_account account;
    pair headers[64], params[64];
    auth_request r;
    auth_caller caller;
} fixture;

static inline void at_time(int64_t us) {
    clock_skew_us(0);
    clock_skew_us(us - clock_wall_us());
}

static inline int fixture_setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->arena = arena_new(64 << 10, 0);
    f->account.name = S("devstoreaccount1");
    assert_int_equal(base64_get(f->arena, S(DEV_KEY), &f->account.keys[0]), OK);
    f->account.keys[1] = S("another key, of 64 bytes, as they are: 0123456789abcdef012345678");
    f->account.key_set[0] = f->account.key_set[1] = true;
    the_container = (store_container){0};
    the_container_error = OK;
    at_time(NOW_US);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state) {
    fixture *f = *state;
    clock_skew_us(0);
    arena_free(f->arena);
    free(f);
    return 0;
}

static inline slice decoded(fixture *f, slice s) {
    slice out;
    assert_int_equal(percent_get(f->arena, s, false, &out), OK);
    return out;
}

/* target: path[?query]; headers: "name: value\n…". */
static inline void fixture_request(fixture *f, const char *method, const char *target,
                                   const char *headers, const char *container, const char *blob) {
    slice all = arena_dup(f->arena, slice_str(target));
    size_t q = slice_find(all, 0, '?');
    f->r = (auth_request){.method = slice_str(method),
                          .path_raw = slice_take(all, q),
                          .headers = f->headers,
                          .params = f->params,
                          .account = f->account.name,
                          .container = slice_str(container),
                          .blob = slice_str(blob),
                          .peer_ip = S("127.0.0.1"),
                          .development = true};
    slice rest = slice_skip(all, q + 1), part;
    while (q < all.len && slice_split(&rest, '&', &part)) {
        size_t eq = slice_find(part, 0, '=');
        f->params[f->r.param_count++] =
            (pair){decoded(f, slice_take(part, eq)), decoded(f, slice_skip(part, eq + 1))};
    }
    rest = arena_dup(f->arena, slice_str(headers));
    while (slice_split(&rest, '\n', &part)) {
        size_t colon = slice_find(part, 0, ':');
        if (!part.len) continue;
        f->headers[f->r.header_count++] =
            (pair){slice_take(part, colon), slice_trim(slice_skip(part, colon + 1))};
    }
}

static inline void fixture_vector(fixture *f, const auth_vector *v) {
    fixture_request(f, v->method, v->target, v->headers, v->container, v->blob);
    f->r.secondary = v->secondary;
}

static inline err identify(fixture *f) {
    err_clear();
    return auth_identify(NULL, (store_call){.arena = f->arena}, &f->r, &f->account, &f->caller);
}

static inline err permit(fixture *f, const auth_need *need) {
    err_clear();
    return auth_permit(NULL, (store_call){.arena = f->arena}, &f->r, &f->caller, &f->account, need);
}

static inline pair *param(fixture *f, const char *name) {
    for (size_t i = 0; i < f->r.param_count; i++)
        if (slice_eq(f->params[i].name, slice_str(name))) return &f->params[i];
    return NULL;
}

/* Signs what the query says, with our own layouts (the vectors prove those) and the account's key
 * `key`. */
static inline void sign_token(fixture *f, int key) {
    auth_sas sas;
    assert_int_equal(auth_sas_collect(&f->r, &sas), OK);
    slice text;
    if (sas.f[SAS_SS].p || sas.f[SAS_SRT].p) {
        text = auth_account_sas_text(f->arena, f->r.account, &sas);
    } else {
        bool of_blob = !slice_eq(sas.f[SAS_SR], S("c"));
        text = auth_service_sas_text(f->arena,
                                     arena_fmt(f->arena, "/blob/%.*s/%.*s%s%.*s",
                                               SLICE_ARG(f->r.account), SLICE_ARG(f->r.container),
                                               of_blob ? "/" : "", of_blob ? (int)f->r.blob.len : 0,
                                               (const char *)f->r.blob.p),
                                     &sas);
    }
    uint8_t mac[32];
    crypto_hmac_sha256(f->account.keys[key], text, mac);
    buf b;
    buf_init_arena(&b, f->arena, 64);
    base64_put(&b, slice_of(mac, sizeof mac));
    f->params[f->r.param_count++] = (pair){S("sig"), buf_slice(&b)};
}

/* A signed GET of records/dir/b with this token (no sig). */
static inline void token(fixture *f, const char *query) {
    fixture_request(f, "GET", "/devstoreaccount1/records/dir/b", "", "records", "dir/b");
    slice all = arena_fmt(f->arena, "%s", query), part;
    while (slice_split(&all, '&', &part)) {
        size_t eq = slice_find(part, 0, '=');
        f->params[f->r.param_count++] = (pair){slice_take(part, eq), slice_skip(part, eq + 1)};
    }
    sign_token(f, 0);
}

#define assert_err(got, want) assert_string_equal(err_get(got)->name, err_get(want)->name)
#define assert_detail(part)                                                                        \
    do {                                                                                           \
        if (!strstr(err_detail(), (part))) fail_msg("detail is '%s'", err_detail());               \
    } while (0)
