/* Private to crypto/: the fetched ciphers and the HMAC-SHA-512 that key derivation uses. */
#pragma once

#include "crypto/crypto.h"

#include <openssl/evp.h>

/* Fetched once for the process: a fetch for each call costs more than the work itself. */
typedef struct crypto_ciphers {
    EVP_CIPHER *gcm; /* AES-256-GCM */
    EVP_CIPHER *ecb; /* AES-256-ECB: the bare block cipher, for key wrap */
} crypto_ciphers;
const crypto_ciphers *crypto_ciphers_get(void);

#define CRYPTO_SHA512_LEN 64

/* HKDF-Expand with SHA-512 (RFC 5869 2.3) for at most two blocks of output. */
void crypto_hkdf_expand(const crypto_key *prk, const slice *info, size_t info_count, uint8_t *ret,
                        size_t len);
