/* Content: C2SP chunked-encryption (https://c2sp.org/chunked-encryption), instantiated as
 * Cobblestone-256.
 *
 *   key(32) || base nonce(12) || commitment(32) =
 *       HKDF-Expand-SHA-512(prk = input key,
 *           info = "c2sp.org/chunked-encryption@v1+" || "AEAD_AES_256_GCM" || 0x00 || salt || context)
 *   message = salt(24) || commitment(32) || chunk 0 || chunk 1 ...
 *   chunk n = AES-256-GCM(key, base nonce XOR n as a 96-bit big-endian integer, no AAD)
 *
 * What must hold: a (key, nonce) pair seals one chunk only. Keys come from a fresh random salt, and
 * the caller seals each index once (a message is written front to back and never rewritten). */
#include "crypto/internal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#define NONCE_LEN      12
#define CHUNKS_MAX     (1ull << 38)
#define PLAIN_LEN_MAX  (CHUNKS_MAX * CRYPTO_CHUNK_LEN - 1)
#define SEALED_LEN_MAX (CRYPTO_PREFIX_LEN + CHUNKS_MAX * CRYPTO_SEALED_CHUNK_LEN - 1)
#define MESSAGE_MAGIC  0x6d736731u

/* The base nonce is all that is kept beside OpenSSL's own state, which it wipes when freed. */
struct crypto_message {
    uint32_t magic;
    uint8_t base_nonce[NONCE_LEN];
    EVP_CIPHER_CTX *gcm;
};

/* What HKDF-Expand gives, in this order. */
typedef struct message_secrets {
    uint8_t key[CRYPTO_KEY_LEN];
    uint8_t base_nonce[NONCE_LEN];
    uint8_t commitment[CRYPTO_COMMITMENT_LEN];
} message_secrets;
_Static_assert(sizeof(message_secrets) == CRYPTO_KEY_LEN + NONCE_LEN + CRYPTO_COMMITMENT_LEN,
               "no padding: the derivation writes it whole");

static void derive(const crypto_key *key, slice context, const uint8_t salt[CRYPTO_SALT_LEN],
                   message_secrets *ret) {
    static const char label[] = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM"; /* and its NUL */
    const slice info[] = {slice_of(label, sizeof label), slice_of(salt, CRYPTO_SALT_LEN), context};
    crypto_hkdf_expand(key, info, ARRAY_LEN(info), (uint8_t *)ret, sizeof *ret);
}

static crypto_message *message_make(const message_secrets *secrets) {
    crypto_message *m = malloc(sizeof *m);
    MUST(m != NULL);
    m->magic = MESSAGE_MAGIC;
    memcpy(m->base_nonce, secrets->base_nonce, NONCE_LEN);
    m->gcm = EVP_CIPHER_CTX_new();
    MUST(m->gcm != NULL);
    MUST(EVP_EncryptInit_ex2(m->gcm, crypto_ciphers_get()->gcm, secrets->key, NULL, NULL) == 1);
    return m;
}

uint64_t crypto_sealed_len(uint64_t plain_len) {
    MUST(plain_len <= PLAIN_LEN_MAX);
    return CRYPTO_PREFIX_LEN + plain_len + (plain_len / CRYPTO_CHUNK_LEN + 1) * CRYPTO_TAG_LEN;
}

err crypto_plain_len(uint64_t sealed_len, uint64_t *ret) {
    ENSURE(sealed_len >= CRYPTO_PREFIX_LEN + CRYPTO_TAG_LEN && sealed_len <= SEALED_LEN_MAX,
           ERR_CORRUPT, "no sealed message is %llu bytes long", (unsigned long long)sealed_len);
    uint64_t full = (sealed_len - CRYPTO_PREFIX_LEN) / CRYPTO_SEALED_CHUNK_LEN;
    uint64_t last = (sealed_len - CRYPTO_PREFIX_LEN) % CRYPTO_SEALED_CHUNK_LEN;
    ENSURE(last >= CRYPTO_TAG_LEN, ERR_CORRUPT,
           "a sealed message of %llu bytes is truncated: its last chunk is missing",
           (unsigned long long)sealed_len);
    *ret = full * CRYPTO_CHUNK_LEN + last - CRYPTO_TAG_LEN;
    return OK;
}

err crypto_message_new(const crypto_key *key, slice context, uint8_t ret_prefix[CRYPTO_PREFIX_LEN],
                       crypto_message **ret) {
    message_secrets secrets;
    random_fill(ret_prefix, CRYPTO_SALT_LEN);
    derive(key, context, ret_prefix, &secrets);
    memcpy(ret_prefix + CRYPTO_SALT_LEN, secrets.commitment, CRYPTO_COMMITMENT_LEN);
    *ret = message_make(&secrets);
    OPENSSL_cleanse(&secrets, sizeof secrets);
    return OK;
}

err crypto_message_open(const crypto_key *key, slice context,
                        const uint8_t prefix[CRYPTO_PREFIX_LEN], crypto_message **ret) {
    message_secrets secrets;
    derive(key, context, prefix, &secrets);
    bool fits =
        CRYPTO_memcmp(prefix + CRYPTO_SALT_LEN, secrets.commitment, CRYPTO_COMMITMENT_LEN) == 0;
    if (fits) *ret = message_make(&secrets);
    OPENSSL_cleanse(&secrets, sizeof secrets);
    ENSURE(fits, ERR_CORRUPT, "sealed content was not made with this key for this place");
    return OK;
}

crypto_message *crypto_message_free(crypto_message *m) {
    if (!m) return NULL;
    MUST(m->magic == MESSAGE_MAGIC);
    EVP_CIPHER_CTX_free(m->gcm); /* wipes the key schedule */
    OPENSSL_cleanse(m, sizeof *m);
    free(m);
    return NULL;
}

static void chunk_nonce(const crypto_message *m, uint64_t index, uint8_t ret[NONCE_LEN]) {
    memcpy(ret, m->base_nonce, NONCE_LEN);
    for (unsigned i = 0; i < 8; i++) ret[NONCE_LEN - 1 - i] ^= (uint8_t)(index >> (8 * i));
}

err crypto_chunk_seal(crypto_message *m, uint64_t index, slice plain, uint8_t *out) {
    MUST(m->magic == MESSAGE_MAGIC);
    ENSURE(index < CHUNKS_MAX, ERR_TOO_LARGE, "a sealed message has at most 2^38 chunks");
    MUST(plain.len <= CRYPTO_CHUNK_LEN);
    uint8_t nonce[NONCE_LEN];
    int n = 0, rest = 0;
    chunk_nonce(m, index, nonce);
    MUST(EVP_EncryptInit_ex2(m->gcm, NULL, NULL, nonce, NULL) == 1);
    if (plain.len > 0) MUST(EVP_EncryptUpdate(m->gcm, out, &n, plain.p, (int)plain.len) == 1);
    MUST(EVP_EncryptFinal_ex(m->gcm, out + n, &rest) == 1);
    MUST((size_t)(n + rest) == plain.len);
    MUST(EVP_CIPHER_CTX_ctrl(m->gcm, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_LEN, out + plain.len) == 1);
    return OK;
}

err crypto_chunk_open(crypto_message *m, uint64_t index, slice sealed, uint8_t *out) {
    MUST(m->magic == MESSAGE_MAGIC);
    ENSURE(index < CHUNKS_MAX, ERR_CORRUPT, "a sealed message has at most 2^38 chunks");
    ENSURE(sealed.len >= CRYPTO_TAG_LEN && sealed.len <= CRYPTO_SEALED_CHUNK_LEN, ERR_CORRUPT,
           "no sealed chunk is %zu bytes long", sealed.len);
    size_t len = sealed.len - CRYPTO_TAG_LEN;
    uint8_t nonce[NONCE_LEN], tag[CRYPTO_TAG_LEN], none[1];
    int n = 0, rest = 0;
    memcpy(tag, sealed.p + len, sizeof tag); /* the control call wants it writable */
    chunk_nonce(m, index, nonce);
    MUST(EVP_DecryptInit_ex2(m->gcm, NULL, NULL, nonce, NULL) == 1);
    MUST(EVP_CIPHER_CTX_ctrl(m->gcm, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_LEN, tag) == 1);
    if (len > 0) MUST(EVP_DecryptUpdate(m->gcm, out, &n, sealed.p, (int)len) == 1);
    if (EVP_DecryptFinal_ex(m->gcm, len > 0 ? out + n : none, &rest) != 1) {
        if (len > 0) OPENSSL_cleanse(out, len);
        ERR_clear_error();
        return err_fail(ERR_CORRUPT, "chunk %llu of sealed content fails authentication",
                        (unsigned long long)index);
    }
    MUST((size_t)(n + rest) == len);
    return OK;
}

err crypto_seal(const crypto_key *key, slice context, slice plain, buf *out) {
    ENSURE(plain.len <= PLAIN_LEN_MAX, ERR_TOO_LARGE, "a sealed message holds at most 4 PiB - 1");
    size_t sealed_len = crypto_sealed_len(plain.len);
    uint8_t *p = buf_reserve(out, sealed_len);
    TRY(buf_check(out));
    crypto_message *m;
    TRY(crypto_message_new(key, context, p, &m));
    p += CRYPTO_PREFIX_LEN;
    err e = OK;
    for (uint64_t i = 0; e == OK && i <= plain.len / CRYPTO_CHUNK_LEN; i++) {
        slice chunk = slice_take(slice_skip(plain, i * CRYPTO_CHUNK_LEN), CRYPTO_CHUNK_LEN);
        e = crypto_chunk_seal(m, i, chunk, p);
        p += chunk.len + CRYPTO_TAG_LEN;
    }
    crypto_message_free(m);
    if (e == OK) buf_advance(out, sealed_len);
    return e;
}

err crypto_open(const crypto_key *key, slice context, slice sealed, buf *out) {
    uint64_t plain_len;
    TRY(crypto_plain_len(sealed.len, &plain_len));
    uint8_t *p = buf_reserve(out, plain_len); /* may be NULL for nothing at all */
    TRY(buf_check(out));
    crypto_message *m;
    TRY(crypto_message_open(key, context, sealed.p, &m));
    slice rest = slice_skip(sealed, CRYPTO_PREFIX_LEN);
    err e = OK;
    for (uint64_t i = 0; e == OK && i <= plain_len / CRYPTO_CHUNK_LEN; i++) {
        e = crypto_chunk_open(m, i, slice_take(rest, CRYPTO_SEALED_CHUNK_LEN),
                              p + i * CRYPTO_CHUNK_LEN);
        rest = slice_skip(rest, CRYPTO_SEALED_CHUNK_LEN);
    }
    crypto_message_free(m);
    if (e == OK)
        buf_advance(out, plain_len);
    else if (plain_len > 0)
        OPENSSL_cleanse(p, plain_len); /* earlier chunks were genuine, the message is not */
    return e;
}
