#include "store/check.h"

void *check_grow(void *array, size_t count, size_t *room, size_t size) {
    if (count < *room) return array;
    *room = *room ? 2 * *room : 64;
    void *p = realloc(array, *room * size);
    MUST(p);
    return p;
}

void content_count(check *ck, const row_piece *p, bool len_known) {
    uint64_t len;
    if (p->where != ROW_STREAM) return;
    if (engine_stream_len(ck->s->engine, p->ref, &len) != OK) {
        check_defect(ck, "content %llu: its stream is missing: %s", (unsigned long long)p->id,
                     err_detail());
        return;
    }
    ck->stream_bytes += len;
    if (len_known && len != crypto_sealed_len(p->len))
        check_defect(ck, "content %llu: its stream has %llu bytes instead of %llu",
                     (unsigned long long)p->id, (unsigned long long)len,
                     (unsigned long long)crypto_sealed_len(p->len));
}

/* Opens n sealed chunks from index `first`. */
static err open_chunks(check *ck, crypto_message *m, uint64_t first, slice sealed, uint64_t *crc,
                       uint64_t *len) {
    for (uint64_t i = first; sealed.len > 0; i++) {
        slice one = slice_take(sealed, CRYPTO_SEALED_CHUNK_LEN);
        sealed = slice_skip(sealed, one.len);
        ENSURE(one.len >= CRYPTO_TAG_LEN, ERR_CORRUPT, "chunk %llu is too short",
               (unsigned long long)i);
        TRY(crypto_chunk_open(m, i, one, ck->plain));
        slice plain = slice_of(ck->plain, one.len - CRYPTO_TAG_LEN);
        *crc = crc64(*crc, plain);
        *len += plain.len;
    }
    return OK;
}

static err open_stream(check *ck, const crypto_key *kek, const row_piece *p, uint64_t *crc,
                       uint64_t *len) {
    engine *en = ck->s->engine;
    uint64_t total = crypto_sealed_len(p->len), at = CRYPTO_PREFIX_LEN;
    crypto_message *m;
    uint8_t prefix[CRYPTO_PREFIX_LEN];
    TRY(engine_stream_read(en, p->ref, 0, prefix, sizeof prefix, false));
    TRY(piece_open_message(kek, ck->container, p, prefix, &m));
    err e = OK;
    for (uint64_t chunk = 0; at < total && e == OK; chunk += CHECK_CHUNKS) {
        uint64_t n = total - at;
        if (n > CHECK_SEALED_MAX) n = CHECK_SEALED_MAX;
        e = engine_stream_read(en, p->ref, at, ck->sealed, (size_t)n, false);
        if (e == OK) e = open_chunks(ck, m, chunk, slice_of(ck->sealed, (size_t)n), crc, len);
        at += n;
    }
    crypto_message_free(m);
    return e;
}

static err open_small(check *ck, const crypto_key *kek, blob_key *key, const row_piece *p,
                      uint64_t *crc, uint64_t *len) {
    arena *a = arena_new(1024, 0);
    buf plain;
    slice sealed;
    buf_init(&plain, STORE_INLINE_MAX);
    err e = engine_get(ck->s->engine, ENGINE_CONTENT, key_content(key, p->id), a, false, &sealed);
    if (e == ERR_NOT_FOUND) e = err_fail(ERR_CORRUPT, "its row is missing");
    if (e == OK) e = piece_open_small(kek, ck->container, p, sealed, &plain);
    *crc = crc64(0, buf_slice(&plain));
    *len = plain.len;
    buf_done(&plain);
    arena_free(a);
    return e;
}

static err kek_of(check *ck, slice scope, crypto_key *ret) {
    const checked_container *k = ck->k;
    *ret = k->key;
    if (scope.len == 0) return OK;
    arena *a = arena_new(1024, 0);
    const scope_place place = {
        .account = k->account, .account_id = k->account_id, .container = &k->key};
    err e = scope_kek(ck->s, (store_call){.arena = a}, &place, scope, true, ret);
    arena_free(a);
    return e;
}

err content_check(check *ck, blob_key *key, const row_piece *p, slice scope) {
    uint64_t crc = 0, len = 0;
    crypto_key kek;
    if (p->where == ROW_EMPTY || !ck->k || !ck->k->has_key) return OK;
    err e = kek_of(ck, scope, &kek);
    if (e == ERR_KEY_DESTROYED) return content_look(ck, key, p);
    if (e == OK)
        e = p->where == ROW_INLINE ? open_small(ck, &kek, key, p, &crc, &len)
                                   : open_stream(ck, &kek, p, &crc, &len);
    crypto_key_wipe(&kek);
    if (e == ERR_IO) return e;
    if (e != OK)
        check_defect(ck, "content %llu does not open after %llu of %llu bytes: %s",
                     (unsigned long long)p->id, (unsigned long long)len, (unsigned long long)p->len,
                     err_detail());
    else if (len != p->len || crc != p->crc64)
        check_defect(ck, "content %llu has another length or checksum than its row says",
                     (unsigned long long)p->id);
    ck->done.bytes += len;
    return OK;
}

/* ---- under keys that are not there ---- */

static err look_at_stream(check *ck, const row_piece *p, uint64_t *len) {
    const uint64_t total = crypto_sealed_len(p->len);
    for (uint64_t n; *len < total; *len += n) {
        n = total - *len < CHECK_SEALED_MAX ? total - *len : CHECK_SEALED_MAX;
        TRY(engine_stream_read(ck->s->engine, p->ref, *len, ck->sealed, (size_t)n, false));
    }
    return OK;
}

static err look_at_small(check *ck, blob_key *key, const row_piece *p, uint64_t *len) {
    arena *a = arena_new(1024, 0);
    slice sealed = SLICE_NONE;
    err e = engine_get(ck->s->engine, ENGINE_CONTENT, key_content(key, p->id), a, false, &sealed);
    if (e == ERR_NOT_FOUND) e = err_fail(ERR_CORRUPT, "its row is missing");
    *len = sealed.len;
    arena_free(a);
    return e;
}

err content_look(check *ck, blob_key *key, const row_piece *p) {
    uint64_t len = 0;
    if (p->where == ROW_EMPTY) return OK;
    err e = p->where == ROW_INLINE ? look_at_small(ck, key, p, &len) : look_at_stream(ck, p, &len);
    if (e == ERR_IO) return e;
    if (e != OK)
        check_defect(ck, "content %llu cannot be read: %s", (unsigned long long)p->id,
                     err_detail());
    else if (len != crypto_sealed_len(p->len))
        check_defect(ck, "content %llu has %llu bytes instead of %llu", (unsigned long long)p->id,
                     (unsigned long long)len, (unsigned long long)crypto_sealed_len(p->len));
    ck->done.unopened++;
    return OK;
}
