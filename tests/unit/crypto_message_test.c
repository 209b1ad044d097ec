/* Sealed content: against the answers of another implementation, and against everything that
 * someone with the disk in their hands could do to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "vectors/cobblestone.h"

static void fill(uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)(i * 7 + (i >> 8) * 13);
}

static crypto_key key_of(const char *bytes) {
    crypto_key k;
    memcpy(k.b, bytes, sizeof k.b);
    return k;
}

/* Seals with a salt of our choosing: opened from the known prefix, then sealed chunk by chunk. */
static void seal_known(const struct cobblestone_vector *v, slice plain, buf *out) {
    crypto_key key = key_of(v->key);
    uint8_t prefix[CRYPTO_PREFIX_LEN];
    crypto_message *m = NULL;
    memcpy(prefix, v->salt, CRYPTO_SALT_LEN);
    memcpy(prefix + CRYPTO_SALT_LEN, v->commitment, CRYPTO_COMMITMENT_LEN);
    assert_int_equal(crypto_message_open(&key, slice_of(v->context, v->context_len), prefix, &m),
                     OK);
    buf_put(out, slice_of(prefix, sizeof prefix));
    for (uint64_t i = 0; i <= plain.len / CRYPTO_CHUNK_LEN; i++) {
        slice chunk = slice_take(slice_skip(plain, i * CRYPTO_CHUNK_LEN), CRYPTO_CHUNK_LEN);
        uint8_t *p = buf_reserve(out, chunk.len + CRYPTO_TAG_LEN);
        assert_int_equal(crypto_chunk_seal(m, i, chunk, p), OK);
        buf_advance(out, chunk.len + CRYPTO_TAG_LEN);
    }
    crypto_message_free(m);
}

static void test_known_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cobblestone_vectors); i++) {
        const struct cobblestone_vector *v = &cobblestone_vectors[i];
        crypto_key key = key_of(v->key);
        uint8_t *plain = malloc(v->plain_len + 1), digest[32];
        buf sealed, opened;
        uint64_t plain_len = 0;
        fill(plain, v->plain_len);
        buf_init(&sealed, 1 << 20);
        buf_init(&opened, 1 << 20);
        seal_known(v, slice_of(plain, v->plain_len), &sealed);
        assert_int_equal(sealed.len, crypto_sealed_len(v->plain_len));
        assert_int_equal(crypto_plain_len(sealed.len, &plain_len), OK);
        assert_int_equal(plain_len, v->plain_len);
        crypto_sha256(buf_slice(&sealed), digest);
        assert_memory_equal(digest, v->sealed_sha256, 32);
        assert_memory_equal(sealed.p + sealed.len - 16, v->last_tag, 16);
        assert_int_equal(
            crypto_open(&key, slice_of(v->context, v->context_len), buf_slice(&sealed), &opened),
            OK);
        assert_true(slice_eq(buf_slice(&opened), slice_of(plain, v->plain_len)));
        buf_done(&sealed);
        buf_done(&opened);
        free(plain);
    }
}

/* The counter is XORed in as a 96-bit big-endian integer, and ends at 2^38. */
static void test_high_chunks(void **state) {
    (void)state;
    crypto_key key;
    uint8_t prefix[CRYPTO_PREFIX_LEN], out[64];
    crypto_message *m = NULL;
    for (unsigned i = 0; i < 32; i++) key.b[i] = (uint8_t)i;
    for (unsigned i = 0; i < 24; i++) prefix[i] = (uint8_t)(100 + i);
    memcpy(prefix + CRYPTO_SALT_LEN, cobblestone_commitment, CRYPTO_COMMITMENT_LEN);
    assert_int_equal(crypto_message_open(&key, SLICE_NONE, prefix, &m), OK);
    assert_int_equal(crypto_chunk_seal(m, (1ull << 38) - 1, S("the end"), out), OK);
    assert_memory_equal(out, cobblestone_chunk_last, 7 + 16);
    assert_int_equal(crypto_chunk_seal(m, 0x1234567890ull, S("somewhere"), out), OK);
    assert_memory_equal(out, cobblestone_chunk_high, 9 + 16);
    assert_int_equal(crypto_chunk_seal(m, 1ull << 38, S("too far"), out), ERR_TOO_LARGE);
    assert_int_equal(crypto_chunk_open(m, 1ull << 38, slice_of(out, 25), out), ERR_CORRUPT);
    assert_int_equal(crypto_chunk_open(m, UINT64_MAX, slice_of(out, 25), out), ERR_CORRUPT);
    crypto_message_free(m);
}

static void test_lengths(void **state) {
    (void)state;
    uint64_t n = 77;
    assert_int_equal(crypto_sealed_len(0), 72);
    assert_int_equal(crypto_sealed_len(1), 73);
    assert_int_equal(crypto_sealed_len(CRYPTO_CHUNK_LEN - 1), 56 + 16383 + 16);
    assert_int_equal(crypto_sealed_len(CRYPTO_CHUNK_LEN), 56 + 16400 + 16);
    assert_int_equal(crypto_sealed_len((1ull << 52) - 1), 56 + (1ull << 52) - 1 + (16ull << 38));
    const uint64_t none[] = {0,          55,
                             56,         71,
                             56 + 16400, 56 + 16415,
                             56 + 32800, 56 + (1ull << 52) + (16ull << 38),
                             UINT64_MAX, UINT64_MAX - 1};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_int_equal(crypto_plain_len(none[i], &n), ERR_CORRUPT);
        assert_int_equal(n, 77);
    }
    const uint64_t lengths[] = {0, 1, 16383, 16384, 16385, 32768, 1 << 20, (1ull << 52) - 1};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_int_equal(crypto_plain_len(crypto_sealed_len(lengths[i]), &n), OK);
        assert_int_equal(n, lengths[i]);
    }
}

static void assert_not_opened(const crypto_key *key, slice context, slice sealed) {
    buf out;
    buf_init(&out, 1 << 20);
    buf_str(&out, "before");
    assert_int_equal(crypto_open(key, context, sealed, &out), ERR_CORRUPT);
    assert_int_equal(out.len, 6);
    buf_done(&out);
}

static void test_tampering(void **state) {
    (void)state;
    uint8_t plain[40000];
    crypto_key key, other;
    buf sealed, work;
    fill(plain, sizeof plain);
    crypto_key_random(&key);
    crypto_key_random(&other);
    buf_init(&sealed, 1 << 20);
    buf_init(&work, 1 << 20);
    const slice context = S("container 7, content 9");
    assert_int_equal(crypto_seal(&key, context, slice_of(plain, sizeof plain), &sealed), OK);

    assert_not_opened(&other, context, buf_slice(&sealed));
    assert_not_opened(&key, S("container 7, content 8"), buf_slice(&sealed));
    assert_not_opened(&key, SLICE_NONE, buf_slice(&sealed));
    for (size_t at = 0; at < sealed.len; at += at < 80 ? 1 : 997) { /* any byte changed */
        sealed.p[at] ^= 0x10;
        assert_not_opened(&key, context, buf_slice(&sealed));
        sealed.p[at] ^= 0x10;
    }
    const size_t cuts[] = {
        0, 1, 55, 56, 57, 71, 72, 56 + 16400, 56 + 16400 + 16, 56 + 32800, 56 + 32800 + 16};
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) /* truncated, at chunk boundaries too */
        assert_not_opened(&key, context, slice_take(buf_slice(&sealed), cuts[i]));
    assert_not_opened(&key, context, slice_take(buf_slice(&sealed), sealed.len - 1));
    buf_put(&work, slice_take(buf_slice(&sealed), 56)); /* chunks 0 and 1 exchanged */
    buf_put(&work, slice_take(slice_skip(buf_slice(&sealed), 56 + 16400), 16400));
    buf_put(&work, slice_take(slice_skip(buf_slice(&sealed), 56), 16400));
    buf_put(&work, slice_skip(buf_slice(&sealed), 56 + 32800));
    assert_int_equal(work.len, sealed.len);
    assert_not_opened(&key, context, buf_slice(&work));
    buf_reset(&work); /* chunk 1 dropped */
    buf_put(&work, slice_take(buf_slice(&sealed), 56 + 16400));
    buf_put(&work, slice_skip(buf_slice(&sealed), 56 + 32800));
    assert_not_opened(&key, context, buf_slice(&work));
    buf_reset(&work); /* the last chunk twice */
    buf_put(&work, buf_slice(&sealed));
    buf_put(&work, slice_skip(buf_slice(&sealed), 56 + 32800));
    assert_not_opened(&key, context, buf_slice(&work));
    buf_reset(&work); /* the content of another message under the same key */
    assert_int_equal(crypto_seal(&key, context, slice_of(plain, sizeof plain), &work), OK);
    memcpy(work.p, sealed.p, 56);
    assert_not_opened(&key, context, buf_slice(&work));

    buf_reset(&work);
    assert_int_equal(crypto_open(&key, context, buf_slice(&sealed), &work), OK);
    assert_true(slice_eq(buf_slice(&work), slice_of(plain, sizeof plain)));
    buf_done(&sealed);
    buf_done(&work);
}

static void test_chunk_failure_leaves_zeros(void **state) {
    (void)state;
    crypto_key key;
    uint8_t prefix[CRYPTO_PREFIX_LEN], plain[4096], sealed[4096 + 16], out[4097];
    crypto_message *m = NULL;
    crypto_key_random(&key);
    fill(plain, sizeof plain);
    assert_int_equal(crypto_message_new(&key, S("here"), prefix, &m), OK);
    assert_int_equal(crypto_chunk_seal(m, 3, slice_of(plain, sizeof plain), sealed), OK);
    memset(out, 0xee, sizeof out);
    assert_int_equal(crypto_chunk_open(m, 4, slice_of(sealed, sizeof sealed), out), ERR_CORRUPT);
    for (size_t i = 0; i < 4096; i++) assert_int_equal(out[i], 0);
    assert_int_equal(out[4096], 0xee);
    for (size_t len = 0; len < 16; len++)
        assert_int_equal(crypto_chunk_open(m, 3, slice_of(sealed, len), out), ERR_CORRUPT);
    assert_int_equal(crypto_chunk_open(m, 3, slice_of(sealed, sizeof sealed), out), OK);
    assert_memory_equal(out, plain, sizeof plain);
    assert_null(crypto_message_free(m));
    assert_null(crypto_message_free(NULL));
}

/* An empty message is a real one: its tag is checked though there is nothing to write. */
static void test_empty(void **state) {
    (void)state;
    crypto_key key;
    buf sealed, out, none;
    crypto_key_random(&key);
    buf_init(&sealed, 1024);
    buf_init(&out, 1024);
    buf_init(&none, 0);
    assert_int_equal(crypto_seal(&key, SLICE_NONE, SLICE_NONE, &sealed), OK);
    assert_int_equal(sealed.len, 72);
    assert_int_equal(crypto_open(&key, SLICE_NONE, buf_slice(&sealed), &out), OK);
    assert_int_equal(crypto_open(&key, SLICE_NONE, buf_slice(&sealed), &none), OK);
    assert_int_equal(out.len, 0);
    sealed.p[71] ^= 1;
    assert_int_equal(crypto_open(&key, SLICE_NONE, buf_slice(&sealed), &out), ERR_CORRUPT);
    assert_int_equal(crypto_open(&key, SLICE_NONE, buf_slice(&sealed), &none), ERR_CORRUPT);
    buf_done(&sealed);
    buf_done(&out);
    buf_done(&none);
}

static void test_buffer_maximum(void **state) {
    (void)state;
    crypto_key key;
    buf sealed, out;
    crypto_key_random(&key);
    buf_init(&sealed, 72 + 99);
    buf_init(&out, 9);
    uint8_t plain[100] = {0};
    assert_int_equal(crypto_seal(&key, SLICE_NONE, slice_of(plain, 100), &sealed), ERR_TOO_LARGE);
    buf_done(&sealed);
    buf_init(&sealed, 1024);
    assert_int_equal(crypto_seal(&key, SLICE_NONE, slice_of(plain, 10), &sealed), OK);
    assert_int_equal(crypto_open(&key, SLICE_NONE, buf_slice(&sealed), &out), ERR_TOO_LARGE);
    buf_done(&sealed);
    buf_done(&out);
}

static void test_salts_differ(void **state) {
    (void)state;
    crypto_key key;
    uint8_t a[CRYPTO_PREFIX_LEN], b[CRYPTO_PREFIX_LEN];
    crypto_message *m = NULL, *n = NULL;
    crypto_key_random(&key);
    assert_int_equal(crypto_message_new(&key, SLICE_NONE, a, &m), OK);
    assert_int_equal(crypto_message_new(&key, SLICE_NONE, b, &n), OK);
    assert_memory_not_equal(a, b, CRYPTO_SALT_LEN);
    assert_memory_not_equal(a + CRYPTO_SALT_LEN, b + CRYPTO_SALT_LEN, CRYPTO_COMMITMENT_LEN);
    crypto_message_free(m);
    crypto_message_free(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_high_chunks),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_chunk_failure_leaves_zeros),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_buffer_maximum),
        cmocka_unit_test(test_salts_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
