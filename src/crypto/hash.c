/* Hashes and MACs, on OpenSSL's block-level functions: they are deprecated in name only, need no
 * allocation and no provider look-up, and run the same assembly. For messages of a few hundred
 * bytes they take a quarter to two thirds of the time of EVP (docs/decisions/0002-encryption.md).
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/internal.h"

#include <openssl/crypto.h>
#include <openssl/md5.h>
#include <openssl/sha.h>

struct crypto_md5_state {
    MD5_CTX c;
};

void crypto_sha256_parts(const slice *parts, size_t count, uint8_t ret[32]) {
    SHA256_CTX c;
    MUST(SHA256_Init(&c) == 1);
    for (size_t i = 0; i < count; i++)
        if (parts[i].len > 0) MUST(SHA256_Update(&c, parts[i].p, parts[i].len) == 1);
    MUST(SHA256_Final(ret, &c) == 1);
}

void crypto_sha256(slice data, uint8_t ret[32]) {
    crypto_sha256_parts(&data, 1, ret);
}

/* RFC 2104: a key longer than a block is hashed first; pad is the key XORed with a constant. */
void crypto_hmac_sha256(slice key, slice data, uint8_t ret[32]) {
    uint8_t block[SHA256_CBLOCK] = {0}, inner[SHA256_DIGEST_LENGTH];
    SHA256_CTX c;
    if (key.len > sizeof block)
        crypto_sha256(key, block);
    else if (key.len > 0)
        memcpy(block, key.p, key.len);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36;
    MUST(SHA256_Init(&c) == 1 && SHA256_Update(&c, block, sizeof block) == 1);
    if (data.len > 0) MUST(SHA256_Update(&c, data.p, data.len) == 1);
    MUST(SHA256_Final(inner, &c) == 1);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5c;
    MUST(SHA256_Init(&c) == 1 && SHA256_Update(&c, block, sizeof block) == 1);
    MUST(SHA256_Update(&c, inner, sizeof inner) == 1 && SHA256_Final(ret, &c) == 1);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(inner, sizeof inner);
    OPENSSL_cleanse(&c, sizeof c);
}

/* T(n) of HKDF-Expand: HMAC(prk, previous || info || n), from the two states the key leaves behind.
 */
static void expand_block(const SHA512_CTX *inner, const SHA512_CTX *outer, slice previous,
                         const slice *info, size_t info_count, uint8_t n,
                         uint8_t ret[CRYPTO_SHA512_LEN]) {
    SHA512_CTX c = *inner;
    if (previous.len > 0) MUST(SHA512_Update(&c, previous.p, previous.len) == 1);
    for (size_t i = 0; i < info_count; i++)
        if (info[i].len > 0) MUST(SHA512_Update(&c, info[i].p, info[i].len) == 1);
    MUST(SHA512_Update(&c, &n, 1) == 1 && SHA512_Final(ret, &c) == 1);
    c = *outer;
    MUST(SHA512_Update(&c, ret, CRYPTO_SHA512_LEN) == 1 && SHA512_Final(ret, &c) == 1);
    OPENSSL_cleanse(&c, sizeof c);
}

void crypto_hkdf_expand(const crypto_key *prk, const slice *info, size_t info_count, uint8_t *ret,
                        size_t len) {
    uint8_t block[SHA512_CBLOCK] = {0}, out[2][CRYPTO_SHA512_LEN];
    SHA512_CTX inner, outer;
    MUST(len <= sizeof out);
    memcpy(block, prk->b, sizeof prk->b);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36;
    MUST(SHA512_Init(&inner) == 1 && SHA512_Update(&inner, block, sizeof block) == 1);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5c;
    MUST(SHA512_Init(&outer) == 1 && SHA512_Update(&outer, block, sizeof block) == 1);
    expand_block(&inner, &outer, SLICE_NONE, info, info_count, 1, out[0]);
    if (len > CRYPTO_SHA512_LEN)
        expand_block(&inner, &outer, slice_of(out[0], CRYPTO_SHA512_LEN), info, info_count, 2,
                     out[1]);
    memcpy(ret, out, len);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(out, sizeof out);
    OPENSSL_cleanse(&inner, sizeof inner);
    OPENSSL_cleanse(&outer, sizeof outer);
}

void crypto_derive(const crypto_key *from, slice label, crypto_key *ret) {
    crypto_hkdf_expand(from, &label, 1, ret->b, sizeof ret->b);
}

void crypto_md5(slice data, uint8_t ret[16]) {
    MD5_CTX c;
    MUST(MD5_Init(&c) == 1);
    if (data.len > 0) MUST(MD5_Update(&c, data.p, data.len) == 1);
    MUST(MD5_Final(ret, &c) == 1);
}

crypto_md5_state *crypto_md5_new(void) {
    crypto_md5_state *s = malloc(sizeof *s);
    MUST(s != NULL && MD5_Init(&s->c) == 1);
    return s;
}

void crypto_md5_update(crypto_md5_state *s, slice data) {
    if (data.len > 0) MUST(MD5_Update(&s->c, data.p, data.len) == 1);
}

void crypto_md5_final(crypto_md5_state *s, uint8_t ret[16]) {
    MUST(MD5_Final(ret, &s->c) == 1);
    crypto_md5_free(s);
}

crypto_md5_state *crypto_md5_free(crypto_md5_state *s) {
    free(s);
    return NULL;
}
