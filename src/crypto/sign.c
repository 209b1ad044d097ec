/* Ed25519 (RFC 8032): signatures of the log. */
#include "crypto/crypto.h"

#include <openssl/evp.h>

static EVP_PKEY *private_key(const uint8_t seed[CRYPTO_ED25519_LEN]) {
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CRYPTO_ED25519_LEN);
    MUST(k != NULL);
    return k;
}

void crypto_ed25519_public(const uint8_t seed[CRYPTO_ED25519_LEN],
                           uint8_t ret[CRYPTO_ED25519_LEN]) {
    EVP_PKEY *k = private_key(seed);
    size_t len = CRYPTO_ED25519_LEN;
    MUST(EVP_PKEY_get_raw_public_key(k, ret, &len) == 1 && len == CRYPTO_ED25519_LEN);
    EVP_PKEY_free(k);
}

void crypto_ed25519_sign(const uint8_t seed[CRYPTO_ED25519_LEN], slice message,
                         uint8_t ret[CRYPTO_ED25519_SIGNATURE_LEN]) {
    EVP_PKEY *k = private_key(seed);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t len = CRYPTO_ED25519_SIGNATURE_LEN;
    MUST(c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, k) == 1);
    MUST(EVP_DigestSign(c, ret, &len, message.p, message.len) == 1);
    MUST(len == CRYPTO_ED25519_SIGNATURE_LEN);
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(k);
}

bool crypto_ed25519_verify(const uint8_t key[CRYPTO_ED25519_LEN], slice message, slice signature) {
    if (signature.len != CRYPTO_ED25519_SIGNATURE_LEN) return false;
    EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, CRYPTO_ED25519_LEN);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    MUST(c != NULL);
    bool good = k != NULL && EVP_DigestVerifyInit(c, NULL, NULL, NULL, k) == 1 &&
                EVP_DigestVerify(c, signature.p, signature.len, message.p, message.len) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(k);
    return good;
}
