#include "store/rows.h"

#include "store/keys.h"

#define ROW_VERSION   1
#define ROW_PAIRS_MAX STORE_METADATA_MAX /* a pair has at least one byte */

/* A number of up to 9 bytes; false for all that cur_varint has to look at. */
static inline bool plain_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret) {
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 63; shift += 7) {
        uint8_t c = *(*p)++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c >= 0x80) continue;
        *ret = v;
        return c != 0 || shift == 0;
    }
    return false;
}

/* record_next, with the plain cases (nearly all) in line: listings decode a million rows a second.
 */
static inline err next_field(record_reader *r, record_field *ret, bool *ret_more) {
    const uint8_t *p = r->rest.p, *end = p + r->rest.len;
    uint64_t n;
    if (r->rest.len < 2 || *p >= 0x80) return record_next(r, ret, ret_more);
    uint8_t head = *p++;
    if (!plain_varint(&p, end, &n)) return record_next(r, ret, ret_more);
    record_field f = {.tag = head >> 1, .is_bytes = head & 1};
    if (f.is_bytes) {
        if (n > (uint64_t)(end - p)) return record_next(r, ret, ret_more);
        f.bytes = slice_of(p, (size_t)n);
        p += n;
    } else {
        f.num = n;
    }
    r->rest = slice_of(p, (size_t)(end - p));
    *ret = f;
    *ret_more = true;
    return OK;
}

#define PUT_N(tag, member) record_num(b, tag, (uint64_t)r->member);
#define PUT_T(tag, member)                                                                         \
    record_num(b, tag, r->member == STORE_TIME_NONE ? 0 : (uint64_t)r->member);
#define PUT_B(tag, member) record_bytes(b, tag, r->member);

#define INIT_N(tag, member)
#define INIT_T(tag, member) r->member = STORE_TIME_NONE;
#define INIT_B(tag, member)

#define GET_N(tag, member)                                                                         \
    case tag:                                                                                      \
        r->member = (__typeof__(r->member))f.num;                                                  \
        ENSURE(!f.is_bytes && (uint64_t)r->member == f.num, ERR_CORRUPT, "field %d is damaged",    \
               tag);                                                                               \
        break;
#define GET_T(tag, member) GET_N(tag, member)
#define GET_B(tag, member)                                                                         \
    case tag:                                                                                      \
        ENSURE(f.is_bytes, ERR_CORRUPT, "field %d is damaged", tag);                               \
        r->member = f.bytes;                                                                       \
        break;

#define ROW_DEFINE(scope, name, type, table, valid)                                                \
    scope void row_##name##_put(buf *b, const type *r) {                                           \
        record_begin(b, ROW_VERSION);                                                              \
        table(PUT_N, PUT_T, PUT_B)                                                                 \
    }                                                                                              \
    scope err row_##name##_get(slice v, type *r) {                                                 \
        record_reader rd;                                                                          \
        TRY(record_open(&rd, v, ROW_VERSION));                                                     \
        *r = (type){0};                                                                            \
        table(INIT_N, INIT_T, INIT_B) for (;;) {                                                   \
            record_field f;                                                                        \
            bool more;                                                                             \
            TRY(next_field(&rd, &f, &more));                                                       \
            if (!more) break;                                                                      \
            switch (f.tag) { table(GET_N, GET_T, GET_B) default : break; }                         \
        }                                                                                          \
        return valid(r);                                                                           \
    }

/* ---- what must hold of each record ---- */

static err piece_valid(const row_piece *p) {
    ENSURE(p->where < ROW_LIST, ERR_CORRUPT, "a piece is of unknown kind %u", (unsigned)p->where);
    bool some = p->where != ROW_EMPTY;
    ENSURE(some == (p->len > 0), ERR_CORRUPT, "a piece's length and kind contradict each other");
    ENSURE(p->wrapped.len == (some ? CRYPTO_WRAPPED_LEN : 0), ERR_CORRUPT,
           "a piece's key has a wrong length");
    ENSURE((p->ref.len > 0) == (p->where == ROW_STREAM), ERR_CORRUPT,
           "a piece's reference and kind contradict each other");
    return OK;
}

/* The SHA-256 of a customer's key, or none. */
static err document_valid(const store_document *d) {
    ENSURE(d->text.len <= STORE_DOCUMENT_MAX, ERR_CORRUPT, "a document has %zu bytes", d->text.len);
    return OK;
}

static err key_sha256_valid(slice s) {
    ENSURE(s.len == 0 || s.len == CRYPTO_SHA256_LEN, ERR_CORRUPT,
           "the hash of a customer's key has %zu bytes", s.len);
    return OK;
}

static err scope_valid(slice s) {
    ENSURE(s.len <= STORE_SCOPE_NAME_MAX, ERR_CORRUPT, "an encryption scope's name has %zu bytes",
           s.len);
    return OK;
}

static err scope_row_valid(const row_scope *r) {
    ENSURE(r->id != 0 && r->state <= STORE_SCOPE_DESTROYED, ERR_CORRUPT,
           "an encryption scope is damaged");
    return OK;
}

static err overseer_valid(const store_overseer *r) {
    ENSURE(r->token_sha256.len == CRYPTO_SHA256_LEN && (r->rights & ~STORE_OVERSEER_RIGHTS) == 0 &&
               r->accounts.len <= STORE_OVERSEER_ACCOUNTS_LEN,
           ERR_CORRUPT, "an overseer's row is damaged");
    return OK;
}

static err account_valid(const row_account *r) {
    ENSURE(r->id != 0, ERR_CORRUPT, "an account has no id");
    return OK;
}

static err lease_valid(const store_lease *l) {
    ENSURE(l->id.len == 0 || l->id.len == UUID_LEN, ERR_CORRUPT, "a lease's id is damaged");
    ENSURE(l->duration_s <= STORE_LEASE_S_MAX, ERR_CORRUPT, "a lease's duration is damaged");
    bool ends = l->id.len > 0 && (l->broken || l->duration_s > 0);
    ENSURE(ends == (l->until_us != STORE_TIME_NONE), ERR_CORRUPT, "a lease's end is damaged");
    return OK;
}

static err container_valid(const row_container *r) {
    ENSURE(r->id != 0, ERR_CORRUPT, "a container has no id");
    TRY(lease_valid(&r->lease));
    bool deleted = r->deleted_us != STORE_TIME_NONE;
    ENSURE(deleted == (r->purge_us != STORE_TIME_NONE) && deleted == (r->account.len > 0),
           ERR_CORRUPT, "what a container keeps of its deletion is damaged");
    ENSURE(r->public_access <= STORE_PUBLIC_CONTAINER, ERR_CORRUPT,
           "a container's public access is damaged");
    return OK;
}

static err policy_valid(const store_policy *r) {
    ENSURE(r->id.len > 0, ERR_CORRUPT, "a policy has no id");
    return OK;
}

static err service_valid(const row_service *r) {
    (void)r;
    return OK;
}

static err cors_valid(const store_cors_rule *r) {
    (void)r;
    return OK;
}

row_piece row_blob_piece(const row_blob *r) {
    return (row_piece){.id = r->pub.content_id,
                       .len = r->pub.length,
                       .crc64 = r->pub.crc64,
                       .where = r->where,
                       .wrapped = r->wrapped,
                       .ref = r->ref};
}

/* A tier that was to come, and has: see tier.c. */
static void settle_tier(store_blob *b) {
    if (clock_wall_us() < b->rehydrate_due_us) return;
    b->tier = b->rehydrate_to;
    b->tier_changed_us = b->rehydrate_due_us;
    b->rehydrate_to = STORE_TIER_INFERRED;
    b->rehydrate_high = false;
    b->rehydrate_due_us = STORE_TIME_NONE;
}

static err blob_valid(row_blob *r) {
    ENSURE(r->pub.rehydrate_to == STORE_TIER_INFERRED ||
               (r->pub.tier == STORE_TIER_ARCHIVE && r->pub.rehydrate_to < STORE_TIER_ARCHIVE),
           ERR_CORRUPT, "a blob's rehydration is damaged");
    if (r->pub.rehydrate_to) settle_tier(&r->pub);
    ENSURE(r->pub.immutable_mode <= STORE_LOCKED &&
               (r->pub.immutable_mode != STORE_MUTABLE) ==
                   (r->pub.immutable_until_us != STORE_TIME_NONE),
           ERR_CORRUPT, "a blob's immutability policy is damaged");
    ENSURE(r->pub.content_id != 0, ERR_CORRUPT, "a blob has no content id");
    ENSURE(r->pub.type <= STORE_APPEND_BLOB, ERR_CORRUPT, "a blob's type is damaged");
    ENSURE(r->pub.tier <= STORE_TIER_PREMIUM, ERR_CORRUPT, "a blob's tier is damaged");
    ENSURE(!r->pub.sealed || r->pub.type == STORE_APPEND_BLOB, ERR_CORRUPT,
           "a blob is sealed and no append blob");
    ENSURE(r->md5.len == 0 || r->md5.len == 16, ERR_CORRUPT, "a blob's MD5 is damaged");
    TRY(lease_valid(&r->pub.lease));
    TRY(key_sha256_valid(r->pub.key_sha256));
    TRY(scope_valid(r->pub.scope));
    ENSURE(r->pub.tag_count <= STORE_TAGS_MAX && (r->tags.len > 0) == (r->pub.tag_count > 0),
           ERR_CORRUPT, "a blob's tags are damaged");
    if (r->md5.len) {
        r->pub.http.has_md5 = true;
        memcpy(r->pub.http.md5, r->md5.p, 16);
    }
    ENSURE(r->past < ROW_PAST_COUNT, ERR_CORRUPT, "a state is of unknown kind %u",
           (unsigned)r->past);
    ENSURE((r->where == ROW_PAGES) == (r->pub.type == STORE_PAGE_BLOB), ERR_CORRUPT,
           "a blob's type and the kind of its content contradict each other");
    if (r->where == ROW_LIST || r->where == ROW_PAGES) {
        ENSURE(r->wrapped.len == 0 && r->ref.len == 0, ERR_CORRUPT,
               "a block list or page map has a key or a stream of its own");
        ENSURE(r->where == ROW_LIST || r->pub.length % STORE_PAGE_LEN == 0, ERR_CORRUPT,
               "a page blob's length is no whole pages");
        return OK;
    }
    row_piece p = row_blob_piece(r);
    return piece_valid(&p);
}

static err staged_valid(const row_staged *r) {
    ENSURE(r->piece.id != 0, ERR_CORRUPT, "a staged block has no id");
    TRY(key_sha256_valid(r->key_sha256));
    TRY(scope_valid(r->scope));
    return piece_valid(&r->piece);
}

static err chunk_valid(const row_chunk *r) {
    ENSURE(r->count >= 1 && r->count <= ROW_CHUNK_BLOCKS, ERR_CORRUPT,
           "a part of a block list holds %u blocks", r->count);
    TRY(scope_valid(r->scope));
    return key_sha256_valid(r->key_sha256);
}

static err index_valid(const row_index *r) {
    ENSURE(r->tag_count >= 1 && r->tag_count <= STORE_TAGS_MAX && r->tags.len > 0, ERR_CORRUPT,
           "a row of the index has no tags");
    ENSURE((r->account != 0) != (r->container.len > 0), ERR_CORRUPT,
           "a row of the index is of an account and of a container");
    return OK;
}

static err run_valid(const row_run *r) {
    ENSURE(r->piece != 0, ERR_CORRUPT, "a run of pages has no piece");
    return OK;
}

static err page_piece_valid(const row_page_piece *r) {
    ENSURE(r->piece.len > 0 && r->piece.len <= STORE_PAGE_WRITE_MAX &&
               r->pages <= r->piece.len / STORE_PAGE_LEN,
           ERR_CORRUPT, "a piece of pages is damaged");
    TRY(key_sha256_valid(r->key_sha256));
    TRY(scope_valid(r->scope));
    return piece_valid(&r->piece);
}

static err staging_valid(const row_staging *r) {
    ENSURE(r->session != 0 && r->count >= 1 && r->id_len >= 1, ERR_CORRUPT,
           "a staging session is damaged");
    return OK;
}

static err head_valid(const row_head *r) {
    ENSURE(r->states >= 1 && r->newest != 0 && r->base <= r->newest, ERR_CORRUPT,
           "the head of a history is damaged");
    return OK;
}

static err expiry_valid(const row_expiry *r) {
    ENSURE(store_blob_name_valid(r->name) && r->tick != 0, ERR_CORRUPT, "an expiry names no blob");
    return OK;
}

static err copy_valid(const row_copy *r) {
    bool here = r->account.len && r->container.len && r->blob.len, elsewhere = r->url.len;
    ENSURE(r->id.len && r->to_account.len && r->to_container.len, ERR_CORRUPT,
           "a pending copy has no id or no destination");
    ENSURE(here != elsewhere && elsewhere == (r->url_wrapped.len > 0), ERR_CORRUPT,
           "a pending copy has no source");
    return OK;
}

static err garbage_valid(const row_garbage *r) {
    /* Also what makes it fit a key when it is escaped. */
    ENSURE(store_blob_name_valid(r->name), ERR_CORRUPT, "garbage names no blob");
    return OK;
}

static err purge_valid(const row_purge *r) {
    ENSURE(r->account.len > 0, ERR_CORRUPT, "a purge names no account");
    return OK;
}

static err scrub_valid(const store_scrub *r) {
    (void)r;
    return OK;
}

static err log_valid(const row_log *r) {
    ENSURE(r->id != 0, ERR_CORRUPT, "the log's row names no key");
    return OK;
}

ROW_DEFINE(, account, row_account, ROW_ACCOUNT, account_valid)
ROW_DEFINE(, container, row_container, ROW_CONTAINER, container_valid)
ROW_DEFINE(static, policy, store_policy, ROW_POLICY, policy_valid)
ROW_DEFINE(, scope, row_scope, ROW_SCOPE, scope_row_valid)
ROW_DEFINE(, service, row_service, ROW_SERVICE, service_valid)
ROW_DEFINE(, document, store_document, ROW_DOCUMENT, document_valid)
ROW_DEFINE(, log, row_log, ROW_LOG, log_valid)
ROW_DEFINE(, scrub, store_scrub, ROW_SCRUB, scrub_valid)
ROW_DEFINE(, overseer, store_overseer, ROW_OVERSEER, overseer_valid)
ROW_DEFINE(static, cors_rule, store_cors_rule, ROW_CORS, cors_valid)
ROW_DEFINE(, blob, row_blob, ROW_BLOB, blob_valid)
ROW_DEFINE(, staged, row_staged, ROW_STAGED, staged_valid)
ROW_DEFINE(, chunk, row_chunk, ROW_CHUNK, chunk_valid)
ROW_DEFINE(, index, row_index, ROW_INDEX, index_valid)
ROW_DEFINE(, run, row_run, ROW_RUN, run_valid)
ROW_DEFINE(, page_piece, row_page_piece, ROW_PAGE_PIECE, page_piece_valid)
ROW_DEFINE(, staging, row_staging, ROW_STAGING, staging_valid)
ROW_DEFINE(, head, row_head, ROW_HEAD, head_valid)
ROW_DEFINE(, expiry, row_expiry, ROW_EXPIRY, expiry_valid)
ROW_DEFINE(, copy, row_copy, ROW_COPY, copy_valid)
ROW_DEFINE(, garbage, row_garbage, ROW_GARBAGE, garbage_valid)
ROW_DEFINE(, purge, row_purge, ROW_PURGE, purge_valid)

/* ---- lists inside a field ---- */

static void put_sized(buf *b, slice s) {
    buf_varint(b, s.len);
    buf_put(b, s);
}

static err take_sized(slice *s, slice *ret) {
    uint64_t n;
    TRY(cur_varint(s, &n));
    ENSURE(n <= s->len, ERR_CORRUPT, "a field ends too early");
    return cur_take(s, (size_t)n, ret);
}

void row_block_put(buf *b, const row_block *r) {
    const row_piece *p = &r->piece;
    put_sized(b, r->id);
    buf_byte(b, (uint8_t)((unsigned)p->where | (r->repeat ? 8u : 0)));
    buf_varint(b, p->len);
    buf_be64(b, p->id);
    buf_be64(b, p->crc64);
    buf_put(b, p->wrapped);
    put_sized(b, p->ref);
}

err row_block_take(slice *s, row_block *ret) {
    row_block r = {0};
    uint8_t kind;
    TRY(take_sized(s, &r.id));
    TRY(cur_u8(s, &kind));
    TRY(cur_varint(s, &r.piece.len));
    TRY(cur_be64(s, &r.piece.id));
    TRY(cur_be64(s, &r.piece.crc64));
    r.piece.where = (row_where)(kind & 7u);
    r.repeat = kind & 8u;
    if (r.piece.where != ROW_EMPTY) TRY(cur_take(s, CRYPTO_WRAPPED_LEN, &r.piece.wrapped));
    TRY(take_sized(s, &r.piece.ref));
    ENSURE(r.id.len <= STORE_BLOCK_ID_MAX && kind < 16, ERR_CORRUPT,
           "a block of a list is damaged");
    TRY(piece_valid(&r.piece));
    *ret = r;
    return OK;
}

void row_waste_put(buf *b, const row_piece *p) {
    buf_byte(b, (uint8_t)p->where);
    buf_varint(b, p->id);
    put_sized(b, p->ref);
}

err row_waste_take(slice *s, row_piece *ret) {
    uint8_t where;
    row_piece p = {0};
    TRY(cur_u8(s, &where));
    TRY(cur_varint(s, &p.id));
    TRY(take_sized(s, &p.ref));
    p.where = (row_where)where;
    ENSURE(where == ROW_INLINE || where == ROW_STREAM, ERR_CORRUPT, "garbage is of unknown kind %u",
           (unsigned)where);
    ENSURE((p.ref.len > 0) == (where == ROW_STREAM), ERR_CORRUPT, "garbage has no reference");
    *ret = p;
    return OK;
}

void row_pairs_put(buf *b, const pair *pairs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        put_sized(b, pairs[i].name);
        put_sized(b, pairs[i].value);
    }
}

err row_pairs_get(arena *a, slice v, pair **ret, size_t *ret_count) {
    size_t n = 0;
    for (slice s = v; s.len > 0; n++) {
        slice skip;
        ENSURE(n < ROW_PAIRS_MAX, ERR_CORRUPT, "too many pairs in a field");
        TRY(take_sized(&s, &skip));
        TRY(take_sized(&s, &skip));
    }
    pair *p = n ? arena_alloc(a, n * sizeof *p) : NULL;
    for (size_t i = 0; i < n; i++) {
        TRY(take_sized(&v, &p[i].name));
        TRY(take_sized(&v, &p[i].value));
    }
    *ret = p;
    *ret_count = n;
    return OK;
}

err row_tags_get(slice v, size_t count, pair ret[STORE_TAGS_MAX]) {
    ENSURE(count <= STORE_TAGS_MAX, ERR_CORRUPT, "a blob has %zu tags", count);
    for (size_t i = 0; i < count; i++) {
        TRY(take_sized(&v, &ret[i].name));
        TRY(take_sized(&v, &ret[i].value));
    }
    ENSURE(v.len == 0, ERR_CORRUPT, "a blob has more tags than it says");
    return OK;
}

void row_policies_put(buf *b, const store_policy *policies, size_t count) {
    for (size_t i = 0; i < count; i++) {
        buf one;
        buf_init(&one, 4096);
        row_policy_put(&one, &policies[i]);
        put_sized(b, buf_slice(&one));
        b->failed |= one.failed;
        buf_done(&one);
    }
}

err row_policies_get(slice v, store_policy ret[STORE_POLICIES_MAX], size_t *ret_count) {
    size_t n = 0;
    for (; v.len > 0; n++) {
        slice one;
        ENSURE(n < STORE_POLICIES_MAX, ERR_CORRUPT, "a container has too many policies");
        TRY(take_sized(&v, &one));
        TRY(row_policy_get(one, &ret[n]));
    }
    *ret_count = n;
    return OK;
}

void row_cors_put(buf *b, const store_cors_rule *rules, size_t count) {
    for (size_t i = 0; i < count; i++) {
        buf one;
        buf_init(&one, 1 << 20);
        row_cors_rule_put(&one, &rules[i]);
        put_sized(b, buf_slice(&one));
        b->failed |= one.failed;
        buf_done(&one);
    }
}

err row_cors_get(slice v, store_cors_rule ret[STORE_CORS_RULES_MAX], size_t *ret_count) {
    size_t n = 0;
    for (; v.len > 0; n++) {
        slice one;
        ENSURE(n < STORE_CORS_RULES_MAX, ERR_CORRUPT, "a service has too many CORS rules");
        TRY(take_sized(&v, &one));
        TRY(row_cors_rule_get(one, &ret[n]));
    }
    *ret_count = n;
    return OK;
}
