/* TLS by GnuTLS: the certificate of a listener, read again on demand.
 *
 * A handshake is given pointers into the generation that is current when it asks; a generation that
 * was replaced stays until no handshake can be using it (they end within the idle timeout). */
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "base/base.h"
#include "http/internal.h"

#define CHAIN_MAX  16
#define RETIRED_US INT64_C(1800000000)

const char http_tls_priorities[] =
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

typedef struct generation {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned chain_len;
    gnutls_privkey_t key;
    int64_t retired_us;
    struct generation *older;
} generation;

struct http_tls {
    char *certificate, *key; /* paths */
    pthread_mutex_t lock;
    generation *newest;
};

static generation *generation_free(generation *g) {
    if (g == NULL) return NULL;
    for (unsigned i = 0; i < g->chain_len; i++) gnutls_pcert_deinit(&g->chain[i]);
    if (g->key != NULL) gnutls_privkey_deinit(g->key);
    free(g);
    return NULL;
}

static err tls_fail(const char *path, int code) {
    return err_fail(ERR_CONFIG, "%s: %s", path, gnutls_strerror(code));
}

static err load_chain(generation *g, const char *path) {
    gnutls_datum_t pem;
    int e = gnutls_load_file(path, &pem);
    if (e != 0) return tls_fail(path, e);
    unsigned n = CHAIN_MAX;
    e = gnutls_pcert_list_import_x509_raw(g->chain, &n, &pem, GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(pem.data);
    if (e != 0) return tls_fail(path, e);
    g->chain_len = n;
    ENSURE(n > 0, ERR_CONFIG, "%s holds no certificate", path);
    return OK;
}

static err load_key(generation *g, const char *path) {
    gnutls_datum_t pem;
    int e = gnutls_load_file(path, &pem);
    if (e != 0) return tls_fail(path, e);
    e = gnutls_privkey_init(&g->key);
    if (e == 0) e = gnutls_privkey_import_x509_raw(g->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    explicit_bzero(pem.data, pem.size);
    gnutls_free(pem.data);
    return e == 0 ? OK : tls_fail(path, e);
}

/* The key is the certificate's: found out now, not by the first client. */
static err check_pair(const generation *g, const char *certificate, const char *key) {
    uint8_t a[64], b[64];
    size_t a_len = sizeof(a), b_len = sizeof(b);
    gnutls_pubkey_t of_key;
    int e = gnutls_pubkey_init(&of_key);
    if (e != 0) return tls_fail(key, e);
    e = gnutls_pubkey_import_privkey(of_key, g->key, 0, 0);
    if (e == 0) e = gnutls_pubkey_get_key_id(of_key, GNUTLS_KEYID_USE_SHA256, a, &a_len);
    if (e == 0)
        e = gnutls_pubkey_get_key_id(g->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, b, &b_len);
    gnutls_pubkey_deinit(of_key);
    if (e != 0) return tls_fail(key, e);
    ENSURE(slice_eq(slice_of(a, a_len), slice_of(b, b_len)), ERR_CONFIG,
           "%s is not the key of the certificate in %s", key, certificate);
    return OK;
}

static err load(const http_tls *t, generation **ret) {
    generation *g = calloc(1, sizeof(*g));
    MUST(g != NULL);
    err e;
    TRY_TO(fail, load_chain(g, t->certificate));
    TRY_TO(fail, load_key(g, t->key));
    TRY_TO(fail, check_pair(g, t->certificate, t->key));
    *ret = g;
    return OK;
fail:
    generation_free(g);
    return e;
}

err http_tls_new(const char *certificate, const char *key, http_tls **ret) {
    http_tls *t = calloc(1, sizeof(*t));
    MUST(t != NULL && pthread_mutex_init(&t->lock, NULL) == 0);
    t->certificate = strdup(certificate);
    t->key = strdup(key);
    MUST(t->certificate != NULL && t->key != NULL);
    err e = load(t, &t->newest);
    if (e != OK) {
        http_tls_free(t);
        return e;
    }
    *ret = t;
    return OK;
}

err http_tls_reload(http_tls *t) {
    generation *g;
    TRY(load(t, &g));
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&t->lock);
    t->newest->retired_us = now;
    g->older = t->newest;
    t->newest = g;
    generation **p = &g->older;
    while (*p != NULL && now - (*p)->retired_us < RETIRED_US) p = &(*p)->older;
    generation *old = *p;
    *p = NULL;
    pthread_mutex_unlock(&t->lock);
    while (old != NULL) {
        generation *older = old->older;
        generation_free(old);
        old = older;
    }
    return OK;
}

http_tls *http_tls_free(http_tls *t) {
    if (t == NULL) return NULL;
    while (t->newest != NULL) {
        generation *older = t->newest->older;
        generation_free(t->newest);
        t->newest = older;
    }
    pthread_mutex_destroy(&t->lock);
    free(t->certificate);
    free(t->key);
    free(t);
    return NULL;
}

/* libmicrohttpd keeps its connection in the session's pointer, and we our peer in the connection.
 */
static int retrieve(gnutls_session_t session, const gnutls_datum_t *ca, int ca_count,
                    const gnutls_pk_algorithm_t *algos, int algo_count, gnutls_pcert_st **ret_chain,
                    unsigned *ret_len, gnutls_privkey_t *ret_key) {
    (void)ca, (void)ca_count, (void)algos, (void)algo_count;
    struct MHD_Connection *c = gnutls_session_get_ptr(session);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info == NULL || info->socket_context == NULL) return -1;
    const http_peer *peer = info->socket_context;
    http_tls *t = peer->on->tls;
    pthread_mutex_lock(&t->lock);
    generation *g = t->newest;
    pthread_mutex_unlock(&t->lock);
    *ret_chain = g->chain;
    *ret_len = g->chain_len;
    *ret_key = g->key;
    return 0;
}

void *http_tls_callback(void) {
    gnutls_certificate_retrieve_function2 *f = retrieve;
    void *p;
    memcpy(&p, &f, sizeof(p));
    return p;
}

bool http_tls_send(struct MHD_Connection *c, slice text) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == NULL || info->tls_session == NULL) return false;
    while (text.len > 0) {
        ssize_t n = gnutls_record_send(info->tls_session, text.p, text.len);
        if (n == GNUTLS_E_INTERRUPTED) continue;
        if (n <= 0) return false;
        text = slice_skip(text, (size_t)n);
    }
    return true;
}
