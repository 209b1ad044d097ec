/* Keys of pieces of content, and opening what they seal. */
#include "store/internal.h"

#define LABEL_MAX 8

void joined_kek(const crypto_key *container, slice label, const crypto_key *second,
                crypto_key *ret) {
    uint8_t text[LABEL_MAX + CRYPTO_KEY_LEN];
    MUST(label.len <= LABEL_MAX);
    memcpy(text, label.p, label.len);
    memcpy(text + label.len, second->b, CRYPTO_KEY_LEN);
    crypto_hmac_sha256(slice_of(container->b, sizeof container->b),
                       slice_of(text, label.len + CRYPTO_KEY_LEN), ret->b);
    crypto_wipe(text, sizeof text);
}

err piece_key(const crypto_key *kek, const row_piece *p, crypto_key *ret) {
    ENSURE(p->wrapped.len == CRYPTO_WRAPPED_LEN, ERR_CORRUPT, "content has no key");
    crypto_wrapped w;
    memcpy(w.b, p->wrapped.p, sizeof w.b);
    return crypto_unwrap(kek, &w, ret);
}

err piece_open_small(const crypto_key *kek, uint64_t container, const row_piece *p, slice sealed,
                     buf *out) {
    crypto_key k;
    uint8_t context[STORE_PIECE_CONTEXT];
    piece_context(context, container, p->id);
    size_t before = out->len;
    TRY(piece_key(kek, p, &k));
    err e = crypto_open(&k, slice_of(context, sizeof context), sealed, out);
    crypto_key_wipe(&k);
    TRY(e);
    ENSURE(out->len - before == p->len, ERR_CORRUPT, "content has %zu bytes instead of %llu",
           out->len - before, (unsigned long long)p->len);
    return OK;
}

err piece_open_message(const crypto_key *kek, uint64_t container, const row_piece *p,
                       const uint8_t prefix[CRYPTO_PREFIX_LEN], crypto_message **ret) {
    crypto_key k;
    uint8_t context[STORE_PIECE_CONTEXT];
    piece_context(context, container, p->id);
    TRY(piece_key(kek, p, &k));
    err e = crypto_message_open(&k, slice_of(context, sizeof context), prefix, ret);
    crypto_key_wipe(&k);
    return e;
}
