#include "store/keys.h"

static const char digits32[] = "0123456789abcdefghijklmnopqrstuv";
static const char digits16[] = "0123456789abcdef";

void id_put(uint8_t out[KEY_ID_LEN], uint64_t id) {
    for (int i = KEY_ID_LEN - 1; i >= 0; i--, id >>= 5) out[i] = (uint8_t)digits32[id & 31];
}

err id_take(slice *s, uint64_t *ret) {
    ENSURE(s->len >= KEY_ID_LEN, ERR_CORRUPT, "a key is too short for its id");
    uint64_t id = 0;
    for (int i = 0; i < KEY_ID_LEN; i++) {
        uint8_t c = s->p[i];
        unsigned v = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
        ENSURE(v < 32 && (c <= '9' || c >= 'a'), ERR_CORRUPT, "a key's id is malformed");
        ENSURE(i > 0 || v < 16, ERR_CORRUPT, "a key's id is malformed");
        id = id << 5 | v;
    }
    *s = slice_skip(*s, KEY_ID_LEN);
    *ret = id;
    return OK;
}

size_t name_escape(uint8_t *out, slice name) {
    if (name.len == 0) return 0;
    if (!memchr(name.p, 1, name.len)) {
        memcpy(out, name.p, name.len);
        return name.len;
    }
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        out[n++] = name.p[i];
        if (name.p[i] == 1) out[n++] = 2;
    }
    return n;
}

err name_take(slice *s, slice *ret_escaped) {
    const uint8_t *p = s->p, *end = s->p + s->len;
    while (p < end && (p = memchr(p, 1, (size_t)(end - p))) != NULL) {
        if (p + 1 == end) break;
        if (p[1] == 1) {
            *ret_escaped = slice_of(s->p, (size_t)(p - s->p));
            *s = slice_of(p + 2, (size_t)(end - p) - 2);
            return OK;
        }
        p += 2;
    }
    return err_fail(ERR_CORRUPT, "a key's name has no end");
}

slice name_unescape(uint8_t *out, slice escaped) {
    if (escaped.len == 0 || !memchr(escaped.p, 1, escaped.len)) return escaped;
    size_t n = 0;
    for (size_t i = 0; i < escaped.len; i++) {
        out[n++] = escaped.p[i];
        if (escaped.p[i] == 1) i++;
    }
    return slice_of(out, n);
}

static size_t put_hex(uint8_t *out, uint64_t v, int n) {
    for (int i = n - 1; i >= 0; i--, v >>= 4) out[i] = (uint8_t)digits16[v & 15];
    return (size_t)n;
}

err hex16_take(slice *s, uint64_t *ret) {
    ENSURE(s->len >= 16, ERR_CORRUPT, "a key is too short for its number");
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t c = s->p[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
        ENSURE(digit < 16 && (c <= '9' || c >= 'a'), ERR_CORRUPT, "a key's number is malformed");
        v = v << 4 | digit;
    }
    *s = slice_skip(*s, 16);
    *ret = v;
    return OK;
}

/* ---- keys of one blob ---- */

void key_blob(blob_key *k, uint64_t container, slice name) {
    MUST(name.len <= KEY_NAME_MAX);
    k->b[0] = KEY_JOB_STAGING;
    id_put(k->b + 1, container);
    size_t n = KEY_ID_LEN + name_escape(k->b + 1 + KEY_ID_LEN, name);
    MUST(n + 2 <= KEY_BASE_MAX);
    k->b[1 + n] = k->b[2 + n] = 1;
    k->base = n + 2;
}

slice key_base(const blob_key *k) {
    return slice_of(k->b + 1, k->base);
}

slice key_escaped(const blob_key *k) {
    return slice_of(k->b + 1 + KEY_ID_LEN, k->base - KEY_ID_LEN - 2);
}

/* Keys of JOB: one byte before BASE. */
static slice job_key(blob_key *k, char kind, size_t tail_len) {
    k->b[0] = (uint8_t)kind;
    return slice_of(k->b, 1 + k->base + tail_len);
}

slice key_staging(blob_key *k) {
    return job_key(k, KEY_JOB_STAGING, 0);
}

slice key_head(blob_key *k) {
    return job_key(k, KEY_JOB_HEAD, 0);
}

slice key_copy(blob_key *k) {
    return job_key(k, KEY_JOB_COPY, 0);
}

static uint8_t *tail(blob_key *k) {
    return k->b + 1 + k->base;
}

static slice whole(blob_key *k, size_t tail_len) {
    return slice_of(k->b + 1, k->base + tail_len);
}

slice key_state(blob_key *k) {
    *tail(k) = KEY_STATE;
    return whole(k, 1);
}

slice key_marker(blob_key *k) {
    *tail(k) = KEY_MARKER;
    return whole(k, 1);
}

slice key_content(blob_key *k, uint64_t piece) {
    id_put(tail(k), piece);
    return whole(k, KEY_ID_LEN);
}

slice key_manifest_all(blob_key *k, uint64_t content) {
    *tail(k) = KEY_MANIFEST;
    id_put(tail(k) + 1, content);
    return whole(k, 1 + KEY_ID_LEN);
}

slice key_manifest(blob_key *k, uint64_t content, uint64_t end, unsigned n) {
    (void)key_manifest_all(k, content);
    uint8_t *p = tail(k) + 1 + KEY_ID_LEN;
    put_hex(p, end, 16);
    put_hex(p + 16, n, 4);
    return whole(k, 1 + KEY_ID_LEN + 20);
}

slice key_past(blob_key *k, uint64_t tick) {
    put_hex(tail(k), tick, 16);
    return whole(k, 16);
}

slice key_dropped(blob_key *k, uint64_t tick) {
    put_hex(tail(k), tick, 16);
    return job_key(k, KEY_JOB_DROPPED, 16);
}

slice key_dropped_all(blob_key *k) {
    return job_key(k, KEY_JOB_DROPPED, 0);
}

slice key_staged_all(blob_key *k, uint64_t session) {
    *tail(k) = KEY_STAGED;
    id_put(tail(k) + 1, session);
    return whole(k, 1 + KEY_ID_LEN);
}

slice key_staged(blob_key *k, uint64_t session, slice id) {
    MUST(id.len <= 64);
    (void)key_staged_all(k, session);
    uint8_t *p = tail(k) + 1 + KEY_ID_LEN;
    for (size_t i = 0; i < id.len; i++) p += put_hex(p, id.p[i], 2);
    return whole(k, 1 + KEY_ID_LEN + 2 * id.len);
}

/* ---- keys of the index over tags ---- */

void key_index_byte(index_key *k, uint8_t c) {
    MUST(k->len < sizeof k->b);
    k->b[k->len++] = c;
}

void key_index_add(index_key *k, slice s) {
    MUST(s.len <= sizeof k->b - k->len);
    if (s.len) memcpy(k->b + k->len, s.p, s.len);
    k->len += s.len;
}

void key_index_id(index_key *k, uint64_t id) {
    MUST(KEY_ID_LEN <= sizeof k->b - k->len);
    id_put(k->b + k->len, id);
    k->len += KEY_ID_LEN;
}

void key_index(index_key *k, char kind, uint64_t owner) {
    k->len = 0;
    key_index_byte(k, (uint8_t)kind);
    key_index_id(k, owner);
}

static err take_part(slice *s, slice *ret) {
    size_t end = slice_find(*s, 0, KEY_TAG_END);
    ENSURE(end < s->len, ERR_CORRUPT, "a key of the index has no end of its tag");
    *ret = slice_take(*s, end);
    *s = slice_skip(*s, end + 1);
    return OK;
}

err key_index_take(slice key, index_parts *ret) {
    ENSURE(key.len > 1 && (key.p[0] == KEY_INDEX_CONTAINER || key.p[0] == KEY_INDEX_ACCOUNT),
           ERR_CORRUPT, "a key of the index is of unknown kind");
    index_parts p = {.kind = key.p[0]};
    slice rest = slice_skip(key, 1);
    TRY(id_take(&rest, &p.owner));
    TRY(take_part(&rest, &p.tag.name));
    TRY(take_part(&rest, &p.tag.value));
    p.container = p.owner;
    if (p.kind == KEY_INDEX_ACCOUNT) TRY(id_take(&rest, &p.container));
    ENSURE(rest.len >= 1 && rest.len <= KEY_NAME_MAX, ERR_CORRUPT,
           "a key of the index has no name, or one too long");
    p.escaped = rest;
    *ret = p;
    return OK;
}

slice key_pages(blob_key *k, char kind, uint64_t content) {
    *tail(k) = (uint8_t)kind;
    id_put(tail(k) + 1, content);
    return whole(k, 1 + KEY_ID_LEN);
}

slice key_run(blob_key *k, uint64_t content, uint64_t end) {
    (void)key_pages(k, KEY_RUN, content);
    put_hex(tail(k) + 1 + KEY_ID_LEN, end, 16);
    return whole(k, 1 + KEY_ID_LEN + 16);
}

slice key_old_run(blob_key *k, uint64_t content, uint64_t end, uint64_t born) {
    (void)key_pages(k, KEY_OLD_RUN, content);
    put_hex(tail(k) + 1 + KEY_ID_LEN, end, 16);
    put_hex(tail(k) + 1 + KEY_ID_LEN + 16, born, 16);
    return whole(k, 1 + KEY_ID_LEN + 32);
}

slice key_page_piece(blob_key *k, uint64_t content, uint64_t piece) {
    (void)key_pages(k, KEY_PAGE_PIECE, content);
    id_put(tail(k) + 1 + KEY_ID_LEN, piece);
    return whole(k, 1 + 2 * KEY_ID_LEN);
}

slice key_frozen(blob_key *k, uint64_t content, uint64_t generation) {
    (void)key_pages(k, KEY_FROZEN, content);
    put_hex(tail(k) + 1 + KEY_ID_LEN, UINT64_MAX - generation, 16);
    return whole(k, 1 + KEY_ID_LEN + 16);
}

/* ---- short keys ---- */

static void put_byte(short_key *k, uint8_t c) {
    MUST(k->len < sizeof k->b);
    k->b[k->len++] = c;
}

static void put_id(short_key *k, uint64_t id) {
    MUST(k->len + KEY_ID_LEN <= sizeof k->b);
    id_put(k->b + k->len, id);
    k->len += KEY_ID_LEN;
}

static void put_name(short_key *k, slice name) {
    MUST(k->len + name.len < sizeof k->b);
    if (name.len) memcpy(k->b + k->len, name.p, name.len);
    k->len += name.len;
}

void key_account(short_key *k, slice name) {
    k->len = 0;
    put_byte(k, 'a');
    put_name(k, name);
}

void key_container(short_key *k, uint64_t account, slice name) {
    k->len = 0;
    put_byte(k, 'c');
    put_id(k, account);
    put_name(k, name);
}

#define DELETED_END 0x01 /* of the name: below all that names hold */

void key_deleted(short_key *k, uint64_t account, slice name, uint64_t version) {
    k->len = 0;
    put_byte(k, 'd');
    put_id(k, account);
    put_name(k, name);
    if (version == 0) return;
    put_byte(k, DELETED_END);
    MUST(k->len + 16 <= sizeof k->b);
    k->len += put_hex(k->b + k->len, version, 16);
}

err key_deleted_take(slice rest, slice *ret_name, uint64_t *ret_version) {
    size_t end = slice_find(rest, 0, DELETED_END);
    slice hex = slice_skip(rest, end + 1);
    uint64_t v = 0;
    ENSURE(end < rest.len && hex.len == 16, ERR_CORRUPT, "a deleted container's key is damaged");
    for (size_t i = 0; i < hex.len; i++) {
        uint8_t c = hex.p[i];
        bool digit = c >= '0' && c <= '9';
        ENSURE(digit || (c >= 'a' && c <= 'f'), ERR_CORRUPT,
               "a deleted container's key is damaged");
        v = v << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    *ret_name = slice_take(rest, end);
    *ret_version = v;
    return OK;
}

static void kind_and_id(short_key *k, char kind, uint64_t id) {
    k->len = 0;
    put_byte(k, (uint8_t)kind);
    put_id(k, id);
}

void key_service(short_key *k, uint64_t account) {
    kind_and_id(k, 's', account);
}

void key_scope(short_key *k, uint64_t account, slice name) {
    kind_and_id(k, KEY_SCOPE, account);
    put_name(k, name);
}

void key_document(short_key *k, uint64_t account, char kind) {
    kind_and_id(k, kind, account);
}

void key_overseer(short_key *k, slice name) {
    k->len = 0;
    put_byte(k, KEY_OVERSEER);
    put_name(k, name);
}

void key_garbage(short_key *k, uint64_t container, uint64_t id) {
    key_job(k, KEY_JOB_GARBAGE, container);
    put_id(k, id);
}

void key_expiry(short_key *k, uint64_t container, int64_t until_us, uint64_t id) {
    key_job(k, KEY_JOB_EXPIRY, container);
    MUST(k->len + 16 <= sizeof k->b);
    k->len += put_hex(k->b + k->len, (uint64_t)until_us, 16);
    put_id(k, id);
}

void key_job(short_key *k, char kind, uint64_t id) {
    kind_and_id(k, kind, id);
}

void key_id(short_key *k, uint64_t id) {
    k->len = 0;
    put_id(k, id);
}

void key_end(short_key *k) {
    put_byte(k, 0xff);
}
