/* What each step of encryption costs on one core: the figures of docs/decisions/0002-encryption.md.
 */
#include "crypto/crypto.h"

#define ROUND_US 150000 /* each row is measured at least this long */

typedef struct bench {
    crypto_key kek, key;
    crypto_wrapped wrapped;
    uint8_t prefix[CRYPTO_PREFIX_LEN];
    crypto_message *m;
    uint8_t *plain, *sealed, *out;
    uint8_t sealed_4k[4096 + CRYPTO_TAG_LEN];
    uint64_t index;
} bench;

static const slice context = {(const uint8_t *)"container:content", 16};

static void run_wrap(bench *b) {
    MUST(crypto_wrap(&b->kek, &b->key, &b->wrapped) == OK);
}
static void run_unwrap(bench *b) {
    MUST(crypto_unwrap(&b->kek, &b->wrapped, &b->key) == OK);
}
static void run_random(bench *b) {
    (void)b;
    crypto_key k;
    crypto_key_random(&k);
}
static void run_open(bench *b) {
    crypto_message *m;
    MUST(crypto_message_open(&b->key, context, b->prefix, &m) == OK);
    crypto_message_free(m);
}
static void run_get_4k(bench *b) {
    crypto_message *m;
    run_unwrap(b);
    MUST(crypto_message_open(&b->key, context, b->prefix, &m) == OK);
    MUST(crypto_chunk_open(m, 0, slice_of(b->sealed_4k, sizeof b->sealed_4k), b->out) == OK);
    crypto_message_free(m);
}
static void run_put_4k(bench *b) {
    crypto_key key;
    crypto_wrapped wrapped;
    crypto_message *m;
    uint8_t prefix[CRYPTO_PREFIX_LEN];
    crypto_key_random(&key);
    MUST(crypto_wrap(&b->kek, &key, &wrapped) == OK);
    MUST(crypto_message_new(&key, context, prefix, &m) == OK);
    MUST(crypto_chunk_seal(m, 0, slice_of(b->plain, 4096), b->out) == OK);
    crypto_message_free(m);
}
static void run_open_4k(bench *b) {
    MUST(crypto_chunk_open(b->m, 0, slice_of(b->sealed_4k, sizeof b->sealed_4k), b->out) == OK);
}
static void run_seal_16k(bench *b) {
    MUST(crypto_chunk_seal(b->m, ++b->index, slice_of(b->plain, CRYPTO_CHUNK_LEN), b->out) == OK);
}
static void run_open_16k(bench *b) {
    MUST(crypto_chunk_open(b->m, 1, slice_of(b->sealed, CRYPTO_SEALED_CHUNK_LEN), b->out) == OK);
}
static void run_hmac(bench *b) {
    uint8_t mac[32];
    crypto_hmac_sha256(slice_of(b->plain, 64), slice_of(b->plain, 300), mac);
}
static void run_sha256(bench *b) {
    uint8_t digest[32];
    crypto_sha256(slice_of(b->plain, CRYPTO_CHUNK_LEN), digest);
}
static void run_md5(bench *b) {
    uint8_t digest[16];
    crypto_md5(slice_of(b->plain, CRYPTO_CHUNK_LEN), digest);
}

static void measure(const char *name, void (*run)(bench *), bench *b, size_t bytes) {
    uint64_t n = 0;
    int64_t start = clock_mono_us(), spent;
    do {
        for (int i = 0; i < 200; i++) run(b);
        n += 200;
    } while ((spent = clock_mono_us() - start) < ROUND_US);
    double ns = (double)spent * 1000.0 / (double)n;
    printf("%-44s %8.0f ns", name, ns);
    if (bytes > 0) printf("  %6.2f GB/s", (double)bytes / ns);
    printf("\n");
}

int main(void) {
    bench b = {.plain = calloc(1, CRYPTO_CHUNK_LEN),
               .sealed = calloc(1, CRYPTO_SEALED_CHUNK_LEN),
               .out = calloc(1, CRYPTO_SEALED_CHUNK_LEN)};
    MUST(b.plain != NULL && b.sealed != NULL && b.out != NULL);
    crypto_key_random(&b.kek);
    crypto_key_random(&b.key);
    run_wrap(&b);
    MUST(crypto_message_new(&b.key, context, b.prefix, &b.m) == OK);
    MUST(crypto_chunk_seal(b.m, 0, slice_of(b.plain, 4096), b.sealed_4k) == OK);
    MUST(crypto_chunk_seal(b.m, 1, slice_of(b.plain, CRYPTO_CHUNK_LEN), b.sealed) == OK);
    b.index = 1;
    measure("random key", run_random, &b, 0);
    measure("wrap", run_wrap, &b, 0);
    measure("unwrap", run_unwrap, &b, 0);
    measure("message_open and free", run_open, &b, 0);
    measure("chunk_open of 4 KiB", run_open_4k, &b, 4096);
    measure("GET 4 KiB: unwrap, open, one chunk", run_get_4k, &b, 4096);
    measure("PUT 4 KiB: random, wrap, new, one chunk", run_put_4k, &b, 4096);
    measure("chunk_seal of 16 KiB", run_seal_16k, &b, CRYPTO_CHUNK_LEN);
    measure("chunk_open of 16 KiB", run_open_16k, &b, CRYPTO_CHUNK_LEN);
    measure("hmac_sha256 of 300 bytes, 64-byte key", run_hmac, &b, 0);
    measure("sha256 of 16 KiB", run_sha256, &b, CRYPTO_CHUNK_LEN);
    measure("md5 of 16 KiB", run_md5, &b, CRYPTO_CHUNK_LEN);
    crypto_message_free(b.m);
    free(b.plain);
    free(b.sealed);
    free(b.out);
    return 0;
}
