/* Key wrap against RFC 3394 and against OpenSSL's own, and the root key file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/crypto.h"

/* RFC 3394 4.6: 256 bits of key data with a 256-bit key. */
static const crypto_key rfc_kek = {{0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                                    0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
                                    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                    0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}};
static const crypto_key rfc_key = {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
                                    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                                    0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f}};
static const crypto_wrapped rfc_wrapped = {
    {0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4, 0xcb, 0xcc, 0xb3, 0x5c, 0xfb, 0x87,
     0xf8, 0x26, 0x3f, 0x57, 0x86, 0xe2, 0xd8, 0x0e, 0xd3, 0x26, 0xcb, 0xc7, 0xf0, 0xe7,
     0x1a, 0x99, 0xf4, 0x3b, 0xfb, 0x98, 0x8b, 0x9b, 0x7a, 0x02, 0xdd, 0x21}};

static void test_rfc3394(void **state) {
    (void)state;
    crypto_wrapped w;
    crypto_key k;
    assert_int_equal(crypto_wrap(&rfc_kek, &rfc_key, &w), OK);
    assert_memory_equal(&w, &rfc_wrapped, sizeof w);
    assert_int_equal(crypto_unwrap(&rfc_kek, &rfc_wrapped, &k), OK);
    assert_memory_equal(&k, &rfc_key, sizeof k);
}

static void test_wrap_as_openssl(void **state) {
    (void)state;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    for (int i = 0; i < 50; i++) {
        crypto_key kek, key, back;
        crypto_wrapped ours;
        uint8_t theirs[64];
        int n;
        crypto_key_random(&kek);
        crypto_key_random(&key);
        assert_int_equal(crypto_wrap(&kek, &key, &ours), OK);
        assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_256_wrap(), NULL, kek.b, NULL), 1);
        EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        assert_int_equal(EVP_EncryptUpdate(c, theirs, &n, key.b, sizeof key.b), 1);
        assert_int_equal(n, CRYPTO_WRAPPED_LEN);
        assert_memory_equal(ours.b, theirs, CRYPTO_WRAPPED_LEN);
        assert_int_equal(crypto_unwrap(&kek, &ours, &back), OK);
        assert_memory_equal(&back, &key, sizeof key);
    }
    EVP_CIPHER_CTX_free(c);
}

static void test_unwrap_refuses(void **state) {
    (void)state;
    crypto_key before, k;
    memset(&before, 0x5a, sizeof before);
    for (unsigned bit = 0; bit < CRYPTO_WRAPPED_LEN * 8; bit++) {
        crypto_wrapped w = rfc_wrapped;
        w.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        k = before;
        assert_int_equal(crypto_unwrap(&rfc_kek, &w, &k), ERR_CORRUPT);
        assert_memory_equal(&k, &before, sizeof k); /* untouched on failure */
    }
    crypto_key other = rfc_kek;
    other.b[31] ^= 1;
    assert_int_equal(crypto_unwrap(&other, &rfc_wrapped, &k), ERR_CORRUPT);
}

static void test_wipe(void **state) {
    (void)state;
    crypto_key k, zero = {{0}};
    crypto_key_random(&k);
    assert_memory_not_equal(&k, &zero, sizeof k);
    crypto_key_wipe(&k);
    assert_memory_equal(&k, &zero, sizeof k);
    crypto_key_wipe(NULL);
    crypto_wipe(NULL, 0);
}

static void *wrap_many(void *arg) {
    bool *ok = arg;
    for (int i = 0; i < 200; i++) {
        crypto_wrapped w;
        crypto_key k;
        if (crypto_wrap(&rfc_kek, &rfc_key, &w) != OK) return NULL;
        if (memcmp(&w, &rfc_wrapped, sizeof w) != 0) return NULL;
        if (crypto_unwrap(&rfc_kek, &w, &k) != OK) return NULL;
    }
    *ok = true;
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t t[4];
    bool ok[4] = {false};
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, wrap_many, &ok[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        assert_true(ok[i]);
    }
}

/* ---- the root key file ---- */

static char folder[64], path[96];

static int folder_make(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/crypto_keys_test.XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/root.key", folder);
    return 0;
}

static int folder_remove(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text, mode_t mode) {
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static void test_keyfile(void **state) {
    (void)state;
    struct stat st;
    crypto_keyservice *ks = NULL, *again = NULL;
    crypto_key key, back;
    crypto_wrapped w;
    assert_int_equal(crypto_keyfile_create(path), OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_size, 22 + 64 + 1);
    assert_int_equal(crypto_keyfile_create(path), ERR_IN_USE);
    assert_int_equal(crypto_keyfile_open(path, &ks), OK);
    assert_int_equal(crypto_keyfile_open(path, &again), OK);
    crypto_key_random(&key);
    assert_int_equal(ks->wrap(ks, &key, &w), OK);
    assert_int_equal(again->unwrap(again, &w, &back), OK);
    assert_memory_equal(&key, &back, sizeof key);
    w.b[3] ^= 1;
    assert_int_equal(again->unwrap(again, &w, &back), ERR_CORRUPT);
    ks->free(ks);
    again->free(again);
}

static void test_keyfile_known(void **state) {
    (void)state;
    crypto_keyservice *ks;
    crypto_wrapped w;
    const char *good[] = {"strongroom-root-key-1 " DIGITS "\n", "strongroom-root-key-1 " DIGITS};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        write_file(good[i], 0400);
        assert_int_equal(crypto_keyfile_open(path, &ks), OK);
        assert_int_equal(ks->wrap(ks, &rfc_key, &w), OK);
        assert_memory_equal(&w, &rfc_wrapped, sizeof w);
        ks->free(ks);
    }
}

static void assert_refused(const char *file, const char *detail_has) {
    crypto_keyservice *ks = NULL;
    err_clear();
    assert_int_equal(crypto_keyfile_open(file, &ks), ERR_KEY_UNREADABLE);
    assert_null(ks);
    if (!strstr(err_detail(), detail_has)) fail_msg("'%s' lacks '%s'", err_detail(), detail_has);
    assert_null(strstr(err_detail(), "0a0b0c0d")); /* never the key */
}

static void test_keyfile_refuses(void **state) {
    (void)state;
    const mode_t open_modes[] = {0440, 0404, 0420, 0401, 0644, 0777};
    for (size_t i = 0; i < ARRAY_LEN(open_modes); i++) {
        write_file("strongroom-root-key-1 " DIGITS "\n", open_modes[i]);
        assert_refused(path, "chmod 0400");
    }
    const char *bad[] = {
        "",
        "\n",
        "strongroom-root-key-1 ",
        "strongroom-root-key-2 " DIGITS "\n",
        "strongroom-root-key-1 " DIGITS "0",
        "strongroom-root-key-1 " DIGITS "\n\n",
        "strongroom-root-key-1 " DIGITS "\r\n",
        "strongroom-root-key-1  0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n",
        "strongroom-root-key-1 g00102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_file(bad[i], 0600);
        assert_refused(path, "does not hold a root key");
    }
    (void)unlink(path);
    assert_refused(path, "No such file");
    assert_refused(folder, "not a regular file");
    assert_refused("/dev/null", "not a regular file");
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_refused(path, "symbolic link");
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0400), 0); /* must not hang */
    assert_refused(path, "not a regular file");
    (void)unlink(path);
    if (geteuid() == 0) {
        write_file("strongroom-root-key-1 " DIGITS "\n", 0400);
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_refused(path, "chown");
    }
}

static void test_keyfile_create_fails(void **state) {
    (void)state;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/missing/root.key", folder);
    assert_int_equal(crypto_keyfile_create(deep), ERR_IO);
    (void)unlink(path);
    assert_int_equal(symlink("elsewhere", path), 0); /* a dangling link is not followed */
    assert_int_equal(crypto_keyfile_create(path), ERR_IN_USE);
}

/* ---- memory for keys that live long ---- */

/* The kernel's flags of the mapping that p is in (proc(5), VmFlags), "" when it is in none. */
static void mapping_flags(const void *p, char ret[256]) {
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool in = false;
    ret[0] = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            in = (uintptr_t)p >= from && (uintptr_t)p < to;
        else if (in && strncmp(line, "VmFlags:", 8) == 0)
            assert_true(snprintf(ret, 256, "%s", line + 8) < 256);
    }
    (void)fclose(f);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKS false /* their runtimes leave mlock out */
#else
#define LOCKS true
#endif

static void assert_zeros(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
}

static void test_secret_memory(void **state) {
    (void)state;
    static const size_t lengths[] = {1, 32, 64, 65, 576, CRYPTO_SECRET_MAX};
    crypto_secret_stats before, now;
    char flags[256];
    crypto_secret_get_stats(&before);
    assert_null(crypto_secret_free(NULL));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        uint8_t *p = crypto_secret_new(lengths[i]);
        assert_zeros(p, lengths[i]);
        memset(p, 0xa5, lengths[i]);
        mapping_flags(p, flags);
        assert_non_null(strstr(flags, " dd")); /* not in a dump */
        crypto_secret_get_stats(&now);
        assert_int_equal(now.used, before.used + 1);
        if (LOCKS && now.locked_bytes == now.mapped_bytes) assert_non_null(strstr(flags, " lo"));
        assert_null(crypto_secret_free(p));
        if (lengths[i] > sizeof(void *))
            assert_zeros(p + sizeof(void *), lengths[i] - sizeof(void *)); /* all but the link */
        uint8_t *again = crypto_secret_new(lengths[i]);
        assert_ptr_equal(again, p);
        assert_zeros(again, lengths[i]);
        assert_null(crypto_secret_free(again));
    }
    crypto_secret_get_stats(&now);
    assert_int_equal(now.used, before.used);
    static uint8_t other[100];
    mapping_flags(other, flags); /* the test can tell: other memory is dumped */
    assert_true(flags[0] != 0);
    assert_null(strstr(flags, " dd"));
}

#define SECRETS 3000 /* of 64 bytes: three regions */

static void test_secret_many(void **state) {
    (void)state;
    static uint8_t *p[SECRETS];
    crypto_secret_stats first, full, again;
    crypto_secret_get_stats(&first);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < SECRETS; i++) {
            p[i] = crypto_secret_new(i % 10 ? 64 : 1000);
            assert_zeros(p[i], 64);
            memset(p[i], (int)(i % 251 + 1), i % 10 ? 64 : 1000);
        }
        for (size_t i = 0; i < SECRETS; i++)
            for (size_t j = 0; j < (i % 10 ? 64 : 1000); j++)
                assert_int_equal(p[i][j], i % 251 + 1); /* nobody else's */
        crypto_secret_get_stats(round ? &again : &full);
        for (size_t i = 0; i < SECRETS; i++) (void)crypto_secret_free(p[i]);
    }
    assert_int_equal(full.used, first.used + SECRETS);
    assert_int_equal(again.mapped_bytes, full.mapped_bytes); /* what was freed is used again */
    assert_true(full.locked_bytes <= full.mapped_bytes);
    crypto_secret_get_stats(&again);
    assert_int_equal(again.used, first.used);
}

static void *secret_thread(void *ctx) {
    (void)ctx;
    for (int i = 0; i < 2000; i++) {
        uint8_t *p = crypto_secret_new(64);
        for (size_t j = 0; j < 64; j++) MUST(p[j] == 0);
        memset(p, 0xff, 64);
        (void)crypto_secret_free(p);
    }
    return NULL;
}

static void test_secret_threads(void **state) {
    (void)state;
    pthread_t t[4];
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, secret_thread, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) assert_int_equal(pthread_join(t[i], NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc3394),
        cmocka_unit_test(test_wrap_as_openssl),
        cmocka_unit_test(test_unwrap_refuses),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_secret_memory),
        cmocka_unit_test(test_secret_many),
        cmocka_unit_test(test_secret_threads),
        cmocka_unit_test_setup_teardown(test_keyfile, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_keyfile_known, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_keyfile_refuses, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_keyfile_create_fails, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
