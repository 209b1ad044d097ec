/* Content on its way in. Up to inline_max bytes wait in memory and are sealed at once when the
 * upload is finished; of a longer one every full chunk is sealed as soon as it is there, straight
 * into the memory that its stream is written from. Memory: one chunk (or inline_max) of plain bytes, one
 * sealed chunk for where the stream's memory ends in the middle of one, and what the engine takes
 * for a stream. */
#include "store/internal.h"

static size_t plain_max(const store *s) {
    return s->inline_max > CRYPTO_CHUNK_LEN ? s->inline_max : CRYPTO_CHUNK_LEN;
}

bool store_upload_in_memory(const store *s, uint64_t len) {
    return len <= s->inline_max;
}

err store_upload_new(store *s, const store_container *k, uint64_t len, uint64_t len_max,
                     unsigned flags, store_upload **ret) {
    ENSURE(len == ENGINE_LEN_UNKNOWN || len <= len_max, ERR_REQUEST_BODY_TOO_LARGE,
           "the body has %llu bytes, more than %llu", (unsigned long long)len,
           (unsigned long long)len_max);
    store_upload *u = calloc(1, sizeof *u);
    MUST(u);
    u->store = s;
    u->container = k->id;
    u->id = engine_new_id(s->engine);
    u->len_announced = len;
    u->len_max = len_max;
    if (flags & STORE_UPLOAD_MD5) u->md5_state = crypto_md5_new();
    atomic_fetch_add(&s->uploads_open, 1);
    crypto_key_random(&u->key);
    err e = crypto_wrap(&container_of(k)->secret->key, &u->key, &u->wrapped);
    if (e != OK) {
        store_upload_free(u);
        return e;
    }
    *ret = u;
    return OK;
}

static err wrap_anew(store_upload *u, crypto_key *kek) {
    err e = crypto_wrap(kek, &u->key, &u->wrapped);
    crypto_key_wipe(kek);
    return e;
}

err upload_under_scope(store_upload *u, store_call c, const store_container *k, slice name) {
    if (name.len == 0) return OK;
    MUST(u->len == 0 && !u->finished && u->container == k->id && name.len <= sizeof u->scope);
    const scope_place place = scope_place_of(container_of(k));
    crypto_key kek;
    TRY(scope_kek(u->store, c, &place, name, false, &kek));
    TRY(wrap_anew(u, &kek));
    memcpy(u->scope, name.p, name.len);
    u->scope_len = name.len;
    return OK;
}

err store_upload_under(store_upload *u, store_call c, const store_container *k) {
    slice scope;
    TRY(store_scope_of(c, k, &scope));
    if (!c.customer) return upload_under_scope(u, c, k, scope);
    MUST(u->len == 0 && !u->finished && u->container == k->id);
    crypto_key kek;
    customer_kek(&container_of(k)->secret->key, c.customer, &kek);
    TRY(wrap_anew(u, &kek));
    u->has_customer = true;
    memcpy(u->key_sha256, c.customer->sha256, sizeof u->key_sha256);
    return OK;
}

slice store_upload_scope(const store_upload *u) {
    return slice_of(u->scope, u->scope_len);
}

static err seal_chunk(store_upload *u, slice plain) {
    const size_t len = plain.len + CRYPTO_TAG_LEN;
    uint8_t *room;
    size_t room_len;
    TRY(engine_stream_room(u->stream, &room, &room_len));
    const bool fits = room_len >= len;
    TRY(crypto_chunk_seal(u->message, u->next_chunk, plain, fits ? room : u->sealed));
    u->next_chunk++;
    if (!fits) return engine_stream_write(u->stream, slice_of(u->sealed, len));
    engine_stream_filled(u->stream, len);
    return OK;
}

/* Turns to a stream: from here on chunks are sealed as they fill. */
static err start_stream(store_upload *u) {
    uint8_t context[STORE_PIECE_CONTEXT], prefix[CRYPTO_PREFIX_LEN];
    piece_context(context, u->container, u->id);
    u->sealed = malloc(CRYPTO_SEALED_CHUNK_LEN);
    MUST(u->sealed);
    TRY(crypto_message_new(&u->key, slice_of(context, sizeof context), prefix, &u->message));
    uint64_t len = u->len_announced == ENGINE_LEN_UNKNOWN ? ENGINE_LEN_UNKNOWN
                                                          : crypto_sealed_len(u->len_announced);
    TRY(engine_stream_create(u->store->engine, len, &u->stream));
    return engine_stream_write(u->stream, slice_of(prefix, sizeof prefix));
}

/* Seals the full chunks of what waits in memory; the rest moves to the front. */
static err seal_waiting(store_upload *u) {
    slice rest = slice_of(u->plain, u->plain_len);
    while (rest.len >= CRYPTO_CHUNK_LEN) {
        TRY(seal_chunk(u, slice_take(rest, CRYPTO_CHUNK_LEN)));
        rest = slice_skip(rest, CRYPTO_CHUNK_LEN);
    }
    memmove(u->plain, rest.p, rest.len);
    u->plain_len = rest.len;
    return OK;
}

static err write_small(store_upload *u, slice data) {
    if (!u->plain) {
        bool known = u->len_announced != ENGINE_LEN_UNKNOWN;
        size_t n = known && u->len_announced < CRYPTO_CHUNK_LEN ? (size_t)u->len_announced
                                                                : plain_max(u->store);
        u->plain = malloc(n ? n : 1);
        MUST(u->plain);
    }
    memcpy(u->plain + u->plain_len, data.p, data.len);
    u->plain_len += data.len;
    return OK;
}

static err write_large(store_upload *u, slice data) {
    if (u->plain_len) { /* fill the chunk that was begun */
        slice part = slice_take(data, CRYPTO_CHUNK_LEN - u->plain_len);
        memcpy(u->plain + u->plain_len, part.p, part.len);
        u->plain_len += part.len;
        data = slice_skip(data, part.len);
        if (u->plain_len < CRYPTO_CHUNK_LEN) return OK;
        u->plain_len = 0;
        TRY(seal_chunk(u, slice_of(u->plain, CRYPTO_CHUNK_LEN)));
    }
    while (data.len >= CRYPTO_CHUNK_LEN) { /* straight from the caller's memory */
        TRY(seal_chunk(u, slice_take(data, CRYPTO_CHUNK_LEN)));
        data = slice_skip(data, CRYPTO_CHUNK_LEN);
    }
    if (data.len) memcpy(u->plain, data.p, data.len);
    u->plain_len = data.len;
    return OK;
}

static err begin_large(store_upload *u) {
    if (!u->plain) {
        u->plain = malloc(CRYPTO_CHUNK_LEN);
        MUST(u->plain);
    } else if (u->len_announced != ENGINE_LEN_UNKNOWN && u->len_announced < CRYPTO_CHUNK_LEN) {
        u->plain = realloc(u->plain, CRYPTO_CHUNK_LEN); /* smaller inline_max than a chunk */
        MUST(u->plain);
    }
    TRY(start_stream(u));
    return seal_waiting(u);
}

err store_upload_write(store_upload *u, slice data) {
    MUST(!u->finished);
    if (data.len == 0) return OK;
    ENSURE(data.len <= u->len_max && u->len <= u->len_max - data.len, ERR_REQUEST_BODY_TOO_LARGE,
           "the body has more than %llu bytes", (unsigned long long)u->len_max);
    ENSURE(u->len_announced == ENGINE_LEN_UNKNOWN || u->len + data.len <= u->len_announced,
           ERR_INVALID_INPUT, "the body is longer than the %llu bytes announced",
           (unsigned long long)u->len_announced);
    u->crc64 = crc64(u->crc64, data);
    if (u->md5_state) crypto_md5_update(u->md5_state, data);
    bool announced_large =
        u->len_announced != ENGINE_LEN_UNKNOWN && u->len_announced > u->store->inline_max;
    if (!u->stream && (announced_large || u->len + data.len > u->store->inline_max))
        TRY(begin_large(u));
    TRY(u->stream ? write_large(u, data) : write_small(u, data));
    u->len += data.len;
    return OK;
}

static err finish_stream(store_upload *u) {
    TRY(seal_chunk(u, slice_of(u->plain, u->plain_len))); /* the last: shorter, even empty */
    u->mem = arena_new(256, 64 << 10);
    return engine_stream_sync(u->stream, u->mem, &u->ref);
}

static err finish_small(store_upload *u) {
    uint8_t context[STORE_PIECE_CONTEXT];
    piece_context(context, u->container, u->id);
    buf_init(&u->small, crypto_sealed_len(u->len));
    TRY(crypto_seal(&u->key, slice_of(context, sizeof context), slice_of(u->plain, u->plain_len),
                    &u->small));
    return buf_check(&u->small);
}

static void drop_plain(store_upload *u) {
    if (u->plain) crypto_wipe(u->plain, u->plain_len);
    free(u->plain);
    free(u->sealed);
    u->plain = u->sealed = NULL;
    u->message = crypto_message_free(u->message);
    crypto_key_wipe(&u->key);
}

err store_upload_finish(store_upload *u) {
    MUST(!u->finished);
    ENSURE(u->len_announced == ENGINE_LEN_UNKNOWN || u->len == u->len_announced, ERR_INVALID_INPUT,
           "the body ended after %llu of %llu bytes", (unsigned long long)u->len,
           (unsigned long long)u->len_announced);
    if (u->stream)
        TRY(finish_stream(u));
    else if (u->len > 0)
        TRY(finish_small(u));
    if (u->md5_state) {
        crypto_md5_final(u->md5_state, u->md5);
        u->md5_state = NULL;
        u->has_md5 = true;
    }
    drop_plain(u);
    u->finished = true;
    return OK;
}

uint64_t store_upload_len(const store_upload *u) {
    return u->len;
}
uint64_t store_upload_crc64(const store_upload *u) {
    return u->crc64;
}
void store_upload_md5(const store_upload *u, uint8_t ret[16]) {
    MUST(u->has_md5);
    memcpy(ret, u->md5, 16);
}

store_upload *store_upload_free(store_upload *u) {
    if (!u) return NULL;
    engine_stream_abort(u->stream);
    drop_plain(u);
    crypto_md5_free(u->md5_state);
    buf_done(&u->small);
    arena_free(u->mem);
    atomic_fetch_sub(&u->store->uploads_open, 1);
    free(u);
    return NULL;
}

row_piece upload_piece(const store_upload *u) {
    MUST(u->finished && !u->taken);
    row_piece p = {.id = u->id, .len = u->len, .crc64 = u->crc64};
    if (u->len == 0) return p;
    p.wrapped = slice_of(u->wrapped.b, sizeof u->wrapped.b);
    p.where = u->stream ? ROW_STREAM : ROW_INLINE;
    p.ref = u->ref;
    return p;
}

slice upload_key_sha256(const store_upload *u) {
    return u->has_customer ? slice_of(u->key_sha256, sizeof u->key_sha256) : SLICE_NONE;
}

void upload_give(store_upload *u, change *ch) {
    if (u->stream) {
        engine_txn_adopt(ch->txn, u->stream);
        u->stream = NULL;
        u->taken = true;
    } else if (u->len > 0) {
        engine_txn_put(ch->txn, ENGINE_CONTENT, key_content(&ch->key, u->id), buf_slice(&u->small));
    }
}
