/* HTTPS: handshakes, bodies, early answers, versions, and new certificates without a restart. */
#include "http_test.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/stat.h>

static fixture f;
static char folder[64], certificate[96], key[96];

static void write_file(const char *path, const gnutls_datum_t *d) {
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    assert_int_equal(fwrite(d->data, 1, d->size, to), d->size);
    fclose(to);
}

/* A self-signed certificate whose common name is `name`. */
static void make_certificate(const char *name, bool with_key) {
    gnutls_x509_privkey_t k;
    gnutls_x509_crt_t c;
    gnutls_datum_t pem;
    uint8_t serial = 1;
    assert_int_equal(gnutls_x509_privkey_init(&k), 0);
    assert_int_equal(gnutls_x509_privkey_generate(
                         k, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    assert_int_equal(gnutls_x509_crt_init(&c), 0);
    gnutls_x509_crt_set_version(c, 3);
    gnutls_x509_crt_set_serial(c, &serial, 1);
    gnutls_x509_crt_set_activation_time(c, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(c, time(NULL) + 86400);
    gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
    gnutls_x509_crt_set_key(c, k);
    assert_int_equal(gnutls_x509_crt_sign2(c, c, k, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(c, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_file(certificate, &pem);
    gnutls_free(pem.data);
    if (with_key) {
        assert_int_equal(gnutls_x509_privkey_export2(k, GNUTLS_X509_FMT_PEM, &pem), 0);
        write_file(key, &pem);
        gnutls_free(pem.data);
    }
    gnutls_x509_crt_deinit(c);
    gnutls_x509_privkey_deinit(k);
}

static int start(void **state) {
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/sr-http-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    make_certificate("first", true);
    fixture_start(&f, (http_listener){.tls_certificate = certificate, .tls_key = key},
                  (http_options){0});
    return 0;
}
static int stop(void **state) {
    (void)state;
    fixture_stop(&f);
    unlink(certificate);
    unlink(key);
    rmdir(folder);
    return 0;
}

/* ---- a client that speaks TLS ---- */

static gnutls_certificate_credentials_t credentials;

static ssize_t tls_send(client *c, const void *p, size_t n) {
    ssize_t k;
    do k = gnutls_record_send(c->tls, p, n);
    while (k == GNUTLS_E_AGAIN || k == GNUTLS_E_INTERRUPTED);
    return k;
}
static ssize_t tls_recv(client *c, void *p, size_t n) {
    ssize_t k;
    do k = gnutls_record_recv(c->tls, p, n);
    while (k == GNUTLS_E_AGAIN || k == GNUTLS_E_INTERRUPTED);
    return k;
}

static bool tls_open(client *c, const char *priorities) {
    client_open(c, f.port);
    gnutls_session_t s;
    if (credentials == NULL)
        assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(gnutls_init(&s, GNUTLS_CLIENT), 0);
    assert_int_equal(gnutls_priority_set_direct(s, priorities, NULL), 0);
    assert_int_equal(gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    gnutls_transport_set_int(s, c->fd);
    c->tls = s;
    c->send = tls_send;
    c->recv = tls_recv;
    int e;
    do e = gnutls_handshake(s);
    while (e < 0 && !gnutls_error_is_fatal(e));
    return e == 0;
}
static void tls_close(client *c) {
    gnutls_deinit(c->tls);
    client_close(c);
}
/* The common name that the server showed. */
static void shown_name(client *c, char *name, size_t cap) {
    unsigned n;
    const gnutls_datum_t *der = gnutls_certificate_get_peers(c->tls, &n);
    assert_non_null(der);
    gnutls_x509_crt_t x;
    assert_int_equal(gnutls_x509_crt_init(&x), 0);
    assert_int_equal(gnutls_x509_crt_import(x, der, GNUTLS_X509_FMT_DER), 0);
    assert_int_equal(
        gnutls_x509_crt_get_dn_by_oid(x, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &cap), 0);
    gnutls_x509_crt_deinit(x);
}

/* ---- tests ---- */

static void test_bodies(void **state) {
    (void)state;
    client c;
    assert_true(tls_open(&c, "NORMAL"));
    static const char *const paths[] = {"/mem?n=100000", "/worker?n=5", "/begin/mem?n=1",
                                        "/source?n=3000000&how=now", "/source?n=3000000&how=mix"};
    static const uint64_t sizes[] = {100000, 5, 1, 3000000, 3000000};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        reply r = client_get(&c, paths[i]);
        assert_content(&r, sizes[i]);
    }
    for (uint64_t n = 1; n < 3000000; n = n * 7 + 1) {
        client_say(&c, "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: %llu\r\n\r\n",
                   (unsigned long long)n);
        assert_true(client_try_content(&c, 0, n));
        reply r = client_reply(&c);
        assert_taken(&r, n);
    }
    tls_close(&c);
}

static void test_early_answer(void **state) {
    (void)state;
    client c;
    assert_true(tls_open(&c, "NORMAL"));
    client_say(&c, "PUT /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
    reply r = client_reply(&c);
    assert_int_equal(r.status, 403);
    assert_true(r.closes);
    tls_close(&c);
}

static void test_aborts(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        client c;
        assert_true(tls_open(&c, "NORMAL"));
        if (i % 2 == 0) {
            client_say(&c, "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n");
            assert_true(client_try_content(&c, 0, 700000));
            while (atomic_load(&handlers_running) == 0) usleep(100);
        } else {
            client_say(&c, "GET /source?n=90000000&how=block HTTP/1.1\r\nHost: x\r\n\r\n");
            while (client_rest(&c).len < 300000) assert_true(client_more(&c));
        }
        if (i >= 2) gnutls_bye(c.tls, GNUTLS_SHUT_WR); /* politely, or just gone */
        tls_close(&c);
        for (int k = 0; k < 20000 && atomic_load(&handlers_running) > 0; k++) usleep(1000);
        assert_int_equal(atomic_load(&handlers_running), 0);
    }
}

static void test_versions(void **state) {
    (void)state;
    client c;
    assert_true(tls_open(&c, "NORMAL:-VERS-ALL:+VERS-TLS1.3"));
    assert_int_equal(gnutls_protocol_get_version(c.tls), GNUTLS_TLS1_3);
    tls_close(&c);
    assert_true(tls_open(&c, "NORMAL:-VERS-ALL:+VERS-TLS1.2"));
    tls_close(&c);
    assert_false(tls_open(&c, "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0:%COMPAT"));
    tls_close(&c);
}

/* Plain HTTP on the TLS port is closed, and the server goes on. */
static void test_plain(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    client_say(&c, "GET /mem HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_closed(&c);
    client_close(&c);
    assert_true(tls_open(&c, "NORMAL"));
    reply r = client_get(&c, "/mem?n=5");
    assert_content(&r, 5);
    tls_close(&c);
}

static void test_reload(void **state) {
    (void)state;
    char name[64];
    client old, c;
    assert_true(tls_open(&old, "NORMAL"));
    shown_name(&old, name, sizeof(name));
    assert_string_equal(name, "first");
    for (int i = 0; i < 5; i++) {
        char want[32];
        snprintf(want, sizeof(want), "number%d", i);
        make_certificate(want, true);
        assert_int_equal(http_reload_tls(f.server), OK);
        assert_true(tls_open(&c, i % 2 ? "NORMAL" : "NORMAL:-VERS-ALL:+VERS-TLS1.2"));
        shown_name(&c, name, sizeof(name));
        assert_string_equal(name, want);
        reply r = client_get(&c, "/worker?n=5");
        assert_content(&r, 5);
        tls_close(&c);
    }
    reply r = client_get(&old, "/mem?n=5"); /* connections that stand go on */
    assert_content(&r, 5);
    tls_close(&old);
    /* What does not load leaves what is there: a certificate of another key, no certificate, none.
     */
    make_certificate("stranger", false);
    assert_int_equal(http_reload_tls(f.server), ERR_CONFIG);
    assert_non_null(strstr(err_detail(), "is not the key of"));
    write_file(certificate, &(gnutls_datum_t){(unsigned char *)folder, 4});
    assert_int_equal(http_reload_tls(f.server), ERR_CONFIG);
    unlink(certificate);
    assert_int_equal(http_reload_tls(f.server), ERR_CONFIG);
    assert_non_null(strstr(err_detail(), certificate));
    assert_true(tls_open(&c, "NORMAL"));
    shown_name(&c, name, sizeof(name));
    assert_string_equal(name, "number4");
    tls_close(&c);
}

static void *shake(void *arg) {
    _Atomic bool *going = arg;
    while (atomic_load(going)) {
        client c;
        if (tls_open(&c, "NORMAL")) {
            reply r = client_get(&c, "/worker?n=100");
            assert_content(&r, 100);
        }
        tls_close(&c);
    }
    return NULL;
}

static void test_reload_under_load(void **state) {
    (void)state;
    make_certificate("busy", true);
    _Atomic bool going = true;
    pthread_t t[4];
    client first;
    assert_true(tls_open(&first, "NORMAL")); /* allocates the credentials before the threads do */
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, shake, &going), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(http_reload_tls(f.server), OK);
        usleep(5000);
    }
    atomic_store(&going, false);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) pthread_join(t[i], NULL);
    tls_close(&first);
}

static void test_bad_files(void **state) {
    (void)state;
    ops_server ops = {.protocols = test_protocols};
    http_listener on = {.address = "127.0.0.1",
                        .port = (uint16_t)(f.port + 1),
                        .tls_certificate = "/nonexistent/cert.pem",
                        .tls_key = "/nonexistent/key.pem",
                        .ops = &ops};
    http_options o = {.listeners = &on, .listener_count = 1};
    http_server *s = NULL;
    assert_int_equal(http_start(&o, &s), ERR_CONFIG);
    assert_non_null(strstr(err_detail(), "/nonexistent/cert.pem"));
    on.tls_key = NULL;
    assert_int_equal(http_start(&o, &s), ERR_CONFIG);
    assert_null(s);
}

int main(void) {
    log_setup(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_DEBUG, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_aborts),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_under_load),
        cmocka_unit_test(test_bad_files),
    };
    int failed = cmocka_run_group_tests(tests, start, stop);
    gnutls_certificate_free_credentials(credentials);
    return failed;
}
