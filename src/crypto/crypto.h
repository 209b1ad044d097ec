/* crypto: keys and their wrapping, and the encryption of content. The only code that sees OpenSSL's
 * primitives.
 *
 * The hierarchy: a piece of content is encrypted under its own random key (crypto_key); that key is
 * wrapped by its container's key, the container's by its account's, the account's by the root key,
 * which a key service holds. Wrapping is AES-256 key wrap (RFC 3394): deterministic, authenticated,
 * no nonce that could repeat. Content follows C2SP chunked-encryption
 * (https://c2sp.org/chunked-encryption), Cobblestone-256: HKDF-Expand-SHA-512 and AES-256-GCM, 16
 * KiB chunks, the last always shorter.
 *
 * What it promises: key material is wiped when its holder is done; failure to authenticate is
 * ERR_CORRUPT and never bytes; nothing here logs.
 * What it needs from below: base, OpenSSL 3. */
#pragma once

#include "base/base.h"

#define CRYPTO_KEY_LEN          32
#define CRYPTO_WRAPPED_LEN      40 /* RFC 3394: key + 8 */
#define CRYPTO_CHUNK_LEN        16384
#define CRYPTO_TAG_LEN          16
#define CRYPTO_SALT_LEN         24
#define CRYPTO_COMMITMENT_LEN   32
#define CRYPTO_PREFIX_LEN       (CRYPTO_SALT_LEN + CRYPTO_COMMITMENT_LEN)
#define CRYPTO_SEALED_CHUNK_LEN (CRYPTO_CHUNK_LEN + CRYPTO_TAG_LEN)

typedef struct crypto_key {
    uint8_t b[CRYPTO_KEY_LEN];
} crypto_key;

typedef struct crypto_wrapped {
    uint8_t b[CRYPTO_WRAPPED_LEN];
} crypto_wrapped;

void crypto_key_random(crypto_key *ret);
void crypto_key_wipe(crypto_key *k);
void crypto_wipe(void *p, size_t n);
err crypto_wrap(const crypto_key *kek, const crypto_key *key, crypto_wrapped *ret) CHECKED;
/* ERR_CORRUPT when the wrapped key was not made under kek. */
err crypto_unwrap(const crypto_key *kek, const crypto_wrapped *wrapped, crypto_key *ret) CHECKED;

/* Memory for keys that live longer than a call: zeros at first, in no core dump, locked against swapping where
 * RLIMIT_MEMLOCK allows it, in 64 KiB steps. n: 1 to CRYPTO_SECRET_MAX bytes. Never NULL: without memory the
 * program ends. Any thread may call these. */
#define CRYPTO_SECRET_MAX 1024
void *crypto_secret_new(size_t n) CHECKED;
void *crypto_secret_free(void *p); /* wipes; NULL is allowed; returns NULL */
typedef struct crypto_secret_stats {
    size_t used;                       /* not freed yet */
    size_t mapped_bytes, locked_bytes; /* locked: of those mapped */
} crypto_secret_stats;
void crypto_secret_get_stats(crypto_secret_stats *ret);

/* Who holds the root key. A file at first; PKCS#11 and Vault transit later. Wraps account keys. */
typedef struct crypto_keyservice crypto_keyservice;
struct crypto_keyservice {
    err (*wrap)(crypto_keyservice *ks, const crypto_key *key, crypto_wrapped *ret) CHECKED;
    err (*unwrap)(crypto_keyservice *ks, const crypto_wrapped *wrapped, crypto_key *ret) CHECKED;
    void (*free)(crypto_keyservice *ks);
};
/* The root key in a file: one line, "strongroom-root-key-1 " and 64 hex digits. Refused unless it
 * is a regular file, owned by this user, with no permission for group and others:
 * ERR_KEY_UNREADABLE with the command that mends it. */
err crypto_keyfile_open(const char *path, crypto_keyservice **ret) CHECKED;
/* Makes a new root key file (0400, O_EXCL, synced with its folder). ERR_IN_USE when one is there.
 */
err crypto_keyfile_create(const char *path) CHECKED;

/* ---- Content: sealing and opening of one message ---- */

/* Sealed length of a message of plain_len bytes, prefix and all tags included. */
uint64_t crypto_sealed_len(uint64_t plain_len);
/* Plain length of a message of sealed_len bytes; ERR_CORRUPT for a length no message has. */
err crypto_plain_len(uint64_t sealed_len, uint64_t *ret) CHECKED;

/* A message key: derived once, then used for every chunk. Holds OpenSSL state; not shared between
 * threads. */
typedef struct crypto_message crypto_message;

/* New message under key, bound to context; ret_prefix receives salt and commitment, which must
 * stand before the chunks. */
err crypto_message_new(const crypto_key *key, slice context, uint8_t ret_prefix[CRYPTO_PREFIX_LEN],
                       crypto_message **ret) CHECKED;
/* Existing message: checks the commitment in constant time. ERR_CORRUPT if it does not fit. */
err crypto_message_open(const crypto_key *key, slice context,
                        const uint8_t prefix[CRYPTO_PREFIX_LEN], crypto_message **ret) CHECKED;
crypto_message *crypto_message_free(crypto_message *m);
/* Chunk `index`: plain at most CRYPTO_CHUNK_LEN; every chunk but the last is exactly that, the last
 * is shorter. out has room for plain.len + CRYPTO_TAG_LEN. May not work in place. */
err crypto_chunk_seal(crypto_message *m, uint64_t index, slice plain, uint8_t *out) CHECKED;
/* ERR_CORRUPT when the tag does not fit; out then holds zeros. */
err crypto_chunk_open(crypto_message *m, uint64_t index, slice sealed, uint8_t *out) CHECKED;

/* Whole small messages at once. */
err crypto_seal(const crypto_key *key, slice context, slice plain, buf *out) CHECKED;
err crypto_open(const crypto_key *key, slice context, slice sealed, buf *out) CHECKED;

/* ---- Signatures (Ed25519, RFC 8032) ---- */
#define CRYPTO_ED25519_LEN           32 /* of a seed, and of a public key */
#define CRYPTO_ED25519_SIGNATURE_LEN 64
void crypto_ed25519_public(const uint8_t seed[CRYPTO_ED25519_LEN], uint8_t ret[CRYPTO_ED25519_LEN]);
void crypto_ed25519_sign(const uint8_t seed[CRYPTO_ED25519_LEN], slice message,
                         uint8_t ret[CRYPTO_ED25519_SIGNATURE_LEN]);
bool crypto_ed25519_verify(const uint8_t key[CRYPTO_ED25519_LEN], slice message, slice signature);

/* ---- Hashes and MACs ---- */
#define CRYPTO_SHA256_LEN 32
/* Whether n secret bytes are the same; takes as long when they are not. */
bool crypto_same(const uint8_t *a, const uint8_t *b, size_t n);
void crypto_sha256(slice data, uint8_t ret[32]);
/* Of several parts, one behind the other. */
void crypto_sha256_parts(const slice *parts, size_t count, uint8_t ret[32]);
void crypto_hmac_sha256(slice key, slice data, uint8_t ret[32]);
/* A key for one purpose out of another: HKDF-Expand-SHA-512 (RFC 5869) with the label as info. */
void crypto_derive(const crypto_key *from, slice label, crypto_key *ret);
void crypto_md5(slice data, uint8_t ret[16]);
typedef struct crypto_md5_state crypto_md5_state; /* streaming; Content-MD5 of bodies */
crypto_md5_state *crypto_md5_new(void);
void crypto_md5_update(crypto_md5_state *s, slice data);
/* Frees s. */
void crypto_md5_final(crypto_md5_state *s, uint8_t ret[16]);
crypto_md5_state *crypto_md5_free(crypto_md5_state *s);
