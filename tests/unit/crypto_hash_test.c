/* Hashes and MACs against the vectors of their own specifications. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto/crypto.h"

static void assert_hex(const uint8_t *p, size_t len, const char *hex) {
    buf b;
    buf_init(&b, 1024);
    hex_put(&b, slice_of(p, len));
    assert_int_equal(b.len, strlen(hex));
    assert_memory_equal(b.p, hex, b.len);
    buf_done(&b);
}

static void test_sha256(void **state) {
    (void)state;
    uint8_t out[32];
    crypto_sha256(SLICE_NONE, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256(S("abc"), out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(S("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), out);
    assert_hex(out, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* RFC 4231 4.2, 4.3, 4.4, 4.7 (a key longer than a block), 4.8. */
static void test_hmac_sha256(void **state) {
    (void)state;
    uint8_t out[32], key[131], data[50];
    memset(key, 0x0b, sizeof key);
    crypto_hmac_sha256(slice_of(key, 20), S("Hi There"), out);
    assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    crypto_hmac_sha256(S("Jefe"), S("what do ya want for nothing?"), out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    crypto_hmac_sha256(slice_of(key, 20), slice_of(data, 50), out);
    assert_hex(out, 32, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    crypto_hmac_sha256(slice_of(key, 131),
                       S("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    crypto_hmac_sha256(
        slice_of(key, 131),
        S("This is a test using a larger than block-size key and a larger than block-size data. "
          "The key needs to be hashed before being used by the HMAC algorithm."),
        out);
    assert_hex(out, 32, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    crypto_hmac_sha256(SLICE_NONE, SLICE_NONE, out);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_md5(void **state) {
    (void)state;
    uint8_t out[16];
    crypto_md5(SLICE_NONE, out);
    assert_hex(out, 16, "d41d8cd98f00b204e9800998ecf8427e");
    crypto_md5(S("message digest"), out);
    assert_hex(out, 16, "f96b697d7cb7938d525a2f31aaf161d0");
    crypto_md5_state *s = crypto_md5_new();
    crypto_md5_update(s, S("message"));
    crypto_md5_update(s, SLICE_NONE);
    crypto_md5_update(s, S(" digest"));
    crypto_md5_final(s, out);
    assert_hex(out, 16, "f96b697d7cb7938d525a2f31aaf161d0");
    assert_null(crypto_md5_free(crypto_md5_new()));
    assert_null(crypto_md5_free(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac_sha256),
        cmocka_unit_test(test_md5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
