/* rows: what rows hold. Each record is one table of fields, from which its writer and its reader
 * are made (rows.c). Tags are never reused; a field a reader does not know is passed over.
 *
 *   N(tag, member)  a number, an enum or a bool; 0 is not written
 *   T(tag, member)  a time; STORE_TIME_NONE is not written
 *   B(tag, member)  bytes, borrowed from the row; empty is not written */
#pragma once

#include "store/store.h"

/* ---- pieces of content ---- */

/* A piece is what one upload brought: one sealed message under a key of its own. */
typedef enum row_where {
    ROW_EMPTY,  /* no bytes */
    ROW_INLINE, /* a CONTENT row */
    ROW_STREAM, /* an engine stream */
    ROW_LIST,   /* blobs only: the pieces of a block list */
    ROW_PAGES,  /* blobs only: a page map (pages.h) */
    ROW_WHERE_COUNT
} row_where;

typedef struct row_piece {
    uint64_t id, len, crc64;
    row_where where;
    slice wrapped; /* the piece's key under the container's; empty when ROW_EMPTY */
    slice ref;     /* ROW_STREAM */
} row_piece;

/* ---- META ---- */

typedef struct row_account {
    uint64_t id, slot; /* slot: of the account's wrapped key in the vault */
    int64_t created_us;
    slice keys[2]; /* shared keys, sealed under the account's key */
    store_settings settings;
} row_account;
#define ROW_ACCOUNT(N, T, B)                                                                       \
    N(1, id)                                                                                       \
    N(2, slot)                                                                                     \
    T(3, created_us)                                                                               \
    B(4, keys[0])                                                                                  \
    B(5, keys[1])                                                                                  \
    N(6, settings.versioning)                                                                      \
    N(7, settings.container_delete_days)                                                           \
    N(8, settings.rehydrate_seconds)                                                               \
    N(9, settings.last_access_tracking)                                                            \
    B(10, settings.purpose_key1) B(11, settings.purpose_key2)

typedef struct row_container {
    uint64_t id, slot, etag;
    int64_t created_us, modified_us;
    store_public public_access;
    slice metadata, policies;
    store_lease lease;
    store_guard guard;
    store_default_scope scope;
    /* Of a deleted one: when, until when it can be restored, and whose it is, for people. */
    int64_t deleted_us, purge_us;
    slice account;
} row_container;
#define ROW_CONTAINER(N, T, B)                                                                     \
    N(1, id)                                                                                       \
    N(2, slot)                                                                                     \
    N(3, etag)                                                                                     \
    T(4, created_us)                                                                               \
    T(5, modified_us)                                                                              \
    N(6, public_access)                                                                            \
    B(7, metadata)                                                                                 \
    B(8, policies)                                                                                 \
    B(9, lease.id)                                                                                 \
    N(10, lease.duration_s)                                                                        \
    N(11, lease.broken)                                                                            \
    T(12, lease.until_us)                                                                          \
    T(15, deleted_us)                                                                              \
    T(16, purge_us)                                                                                \
    B(17, account)                                                                                 \
    N(25, guard.days)                                                                              \
    N(26, guard.locked)                                                                            \
    N(27, guard.append)                                                                            \
    B(28, guard.holds)                                                                             \
    N(29, guard.purpose) N(30, guard.witnessed) B(20, scope.name) N(21, scope.deny_override)

/* An encryption scope. */
typedef struct row_scope {
    uint64_t id, slot; /* of its key in the vault, which the account's key wraps */
    int64_t created_us;
    store_scope_state state;
} row_scope;
#define ROW_SCOPE(N, T, B) N(1, id) N(2, slot) T(3, created_us) N(4, state)

#define ROW_OVERSEER(N, T, B)                                                                      \
    N(1, rights) N(2, disabled) T(3, created_us) T(4, expires_us) B(5, token_sha256) B(6, accounts)

#define ROW_POLICY(N, T, B)                                                                        \
    B(1, id)                                                                                       \
    N(2, has_start)                                                                                \
    N(3, has_expiry)                                                                               \
    N(4, has_permission)                                                                           \
    T(5, start_us)                                                                                 \
    T(6, expiry_us) B(7, start_text) B(8, expiry_text) B(9, permission)

typedef struct row_service {
    store_service pub;
    slice cors;
} row_service;
#define ROW_SERVICE(N, T, B)                                                                       \
    N(1, pub.log_delete)                                                                           \
    N(2, pub.log_read)                                                                             \
    N(3, pub.log_write)                                                                            \
    N(4, pub.log_retention.enabled)                                                                \
    N(5, pub.log_retention.days)                                                                   \
    N(6, pub.hour.enabled)                                                                         \
    N(7, pub.hour.include_apis)                                                                    \
    N(8, pub.hour.retention.enabled)                                                               \
    N(9, pub.hour.retention.days)                                                                  \
    N(10, pub.minute.enabled)                                                                      \
    N(11, pub.minute.include_apis)                                                                 \
    N(12, pub.minute.retention.enabled)                                                            \
    N(13, pub.minute.retention.days)                                                               \
    B(14, cors)                                                                                    \
    B(15, pub.default_version)                                                                     \
    N(16, pub.delete_retention.enabled)                                                            \
    N(17, pub.delete_retention.days)                                                               \
    N(18, pub.delete_permanent)                                                                    \
    N(19, pub.website)                                                                             \
    B(20, pub.website_index) B(21, pub.website_error) B(22, pub.website_default_path)

#define ROW_CORS(N, T, B)                                                                          \
    B(1, origins) B(2, methods) B(3, allowed_headers) B(4, exposed_headers) N(5, max_age_s)

#define ROW_DOCUMENT(N, T, B) B(1, text) T(2, set_us) T(3, run_us)

/* ---- BLOB ---- */

/* What a state of HISTORY is. */
typedef enum row_past {
    ROW_PAST_NONE, /* the current state, in BLOB; or one that is only to be given back */
    ROW_PAST_SNAPSHOT,
    ROW_PAST_VERSION,
    ROW_PAST_BASE, /* the blob itself, soft-deleted: Undelete makes it the current state */
    ROW_PAST_COUNT
} row_past;

typedef struct row_blob {
    store_blob
        pub; /* name and metadata pairs are not here: the key and row_blob.metadata hold them */
    row_where where;
    uint32_t id_len; /* length of the ids of its committed blocks; 0: append blobs have none */
    slice md5, metadata, wrapped, ref;
    uint64_t generation; /* of its page map, that this state shows */
    slice tags;          /* pairs, as metadata; in order of keys */
    row_past past;       /* rows of HISTORY, and dropped states */
} row_blob;
#define ROW_BLOB(N, T, B)                                                                          \
    N(1, pub.type)                                                                                 \
    N(2, pub.content_id)                                                                           \
    N(3, pub.length)                                                                               \
    N(4, pub.etag)                                                                                 \
    T(5, pub.created_us)                                                                           \
    T(6, pub.modified_us)                                                                          \
    B(7, pub.http.content_type)                                                                    \
    B(8, pub.http.content_encoding)                                                                \
    B(9, pub.http.content_language)                                                                \
    B(10, pub.http.content_disposition)                                                            \
    B(11, pub.http.cache_control)                                                                  \
    B(12, md5)                                                                                     \
    N(13, pub.has_crc64)                                                                           \
    N(14, pub.crc64)                                                                               \
    N(15, pub.tier)                                                                                \
    T(16, pub.tier_changed_us)                                                                     \
    B(17, metadata)                                                                                \
    N(18, where)                                                                                   \
    B(19, wrapped)                                                                                 \
    B(20, ref)                                                                                     \
    N(21, pub.block_count)                                                                         \
    N(22, id_len)                                                                                  \
    N(50, pub.copy.status)                                                                         \
    B(51, pub.copy.id)                                                                             \
    B(52, pub.copy.source)                                                                         \
    B(53, pub.copy.description)                                                                    \
    N(54, pub.copy.done)                                                                           \
    N(55, pub.copy.total)                                                                          \
    T(56, pub.copy.completed_us)                                                                   \
    B(23, pub.lease.id)                                                                            \
    N(24, pub.lease.duration_s)                                                                    \
    N(25, pub.lease.broken)                                                                        \
    T(26, pub.lease.until_us)                                                                      \
    N(30, pub.version)                                                                             \
    N(31, past)                                                                                    \
    T(32, pub.deleted_us)                                                                          \
    T(33, pub.until_us)                                                                            \
    N(40, pub.sealed)                                                                              \
    N(41, pub.sequence)                                                                            \
    N(42, generation)                                                                              \
    B(60, tags)                                                                                    \
    N(61, pub.tag_count)                                                                           \
    N(62, pub.rehydrate_to)                                                                        \
    N(63, pub.rehydrate_high)                                                                      \
    T(64, pub.rehydrate_due_us)                                                                    \
    T(65, pub.expires_us)                                                                          \
    T(66, pub.accessed_us)                                                                         \
    N(67, pub.immutable_mode)                                                                      \
    T(68, pub.immutable_until_us) N(69, pub.legal_hold) B(70, pub.key_sha256) B(71, pub.scope)

/* ---- BLOCK ---- */

typedef struct row_staged {
    row_piece piece;
    int64_t staged_us;
    slice key_sha256; /* of the customer's key that it is under; empty: none */
    slice scope;      /* the encryption scope that it is under; empty: none */
} row_staged;
#define ROW_STAGED(N, T, B)                                                                        \
    N(1, piece.id)                                                                                 \
    N(2, piece.len)                                                                                \
    N(3, piece.crc64)                                                                              \
    N(4, piece.where)                                                                              \
    B(5, piece.wrapped) B(6, piece.ref) T(7, staged_us) B(8, key_sha256) B(9, scope)

/* Part of a block list: up to ROW_CHUNK_BLOCKS blocks; of an append blob one. */
#define ROW_CHUNK_BLOCKS 512
typedef struct row_chunk {
    uint64_t start; /* offset of its first block in the blob */
    uint32_t count;
    slice blocks;     /* read with row_block_take */
    slice key_sha256; /* of the customer's key that its pieces are under; empty: none */
    slice scope;      /* likewise */
} row_chunk;
#define ROW_CHUNK(N, T, B) N(1, start) N(2, count) B(3, blocks) B(4, key_sha256) B(5, scope)

typedef struct row_block {
    slice id;
    row_piece piece;
    bool repeat; /* its piece stands earlier in the same list already, and is owned there */
    slice key_sha256, scope; /* of the row that it was found in; not written with it */
} row_block;
void row_block_put(buf *b, const row_block *r);
err row_block_take(slice *s, row_block *ret) CHECKED;

/* ---- INDEX ---- */

/* What a search needs of a blob, so that it reads no other row: all its tags, as in the blob's row. */
typedef struct row_index {
    slice tags;
    uint32_t tag_count;
    uint64_t account; /* in rows of a container: where the account's row is */
    slice container;  /* in rows of an account: the container's name when the row was written */
    int64_t expires_us;
} row_index;
#define ROW_INDEX(N, T, B) B(1, tags) N(2, tag_count) N(3, account) B(4, container) T(5, expires_us)

/* Pages of a page blob; their end is in the key. */
typedef struct row_run {
    uint64_t start, piece, skip; /* skip: where they begin in the piece */
    uint64_t born, died; /* generations; of old runs `born` is in the key; died 0: current */
} row_run;
#define ROW_RUN(N, T, B) N(1, start) N(2, piece) N(3, skip) N(4, born) N(5, died)

typedef struct row_page_piece {
    row_piece piece;  /* its id is in the key */
    uint64_t pages;   /* that runs still name; 0: garbage names the piece */
    slice key_sha256; /* of the customer's key that it is under; empty: none */
    slice scope;      /* likewise */
} row_page_piece;
#define ROW_PAGE_PIECE(N, T, B)                                                                    \
    N(1, piece.len)                                                                                \
    N(2, piece.crc64)                                                                              \
    N(3, piece.where) B(4, piece.wrapped) B(5, piece.ref) N(6, pages) B(7, key_sha256) B(8, scope)

/* ---- JOB ---- */

typedef struct row_staging {
    uint64_t session;
    uint32_t count, id_len;
    int64_t changed_us;
} row_staging;
#define ROW_STAGING(N, T, B) N(1, session) N(2, count) N(3, id_len) T(4, changed_us)

/* The head of a blob's history. It is there as long as any state of HISTORY, or a dropped one. */
typedef struct row_head {
    uint32_t states;              /* rows of HISTORY, and dropped states */
    uint32_t snapshots, versions; /* of HISTORY, those that are not soft-deleted */
    uint64_t base;   /* tick of its ROW_PAST_BASE, of which there is at most one; 0: none */
    uint64_t newest; /* no tick of a state was higher */
} row_head;
#define ROW_HEAD(N, T, B) N(1, states) N(2, snapshots) N(3, versions) N(4, base) N(5, newest)

/* A soft-deleted state that will have to go: the key says when. */
typedef struct row_expiry {
    slice name;
    uint64_t tick;
} row_expiry;
#define ROW_EXPIRY(N, T, B) B(1, name) N(2, tick)

/* A pending copy to a blob: its source is a blob here, or a URL elsewhere. */
typedef struct row_copy {
    slice id, to_account, to_container; /* names of the destination's; its own is in the key */
    slice account, container, blob;
    store_pick pick;        /* of its states */
    slice url, url_wrapped; /* sealed as a small piece of content of that id and length */
    uint64_t url_id, url_len;
    slice etag; /* the source's, when the copy began */
    uint64_t length;
    int64_t begun_us;
    bool archived; /* its source may be */
    store_blob_type type;
    slice scope; /* the encryption scope that the destination's content goes under */
} row_copy;
#define ROW_COPY(N, T, B)                                                                          \
    B(1, id)                                                                                       \
    B(2, to_account)                                                                               \
    B(3, to_container)                                                                             \
    B(4, account)                                                                                  \
    B(5, container)                                                                                \
    B(6, blob)                                                                                     \
    N(7, pick.snapshot)                                                                            \
    B(8, url)                                                                                      \
    B(9, url_wrapped)                                                                              \
    N(10, url_id)                                                                                  \
    N(11, url_len)                                                                                 \
    B(12, etag)                                                                                    \
    N(13, length) T(14, begun_us) N(15, pick.version) N(16, archived) N(17, type) B(18, scope)

/* Content of one blob to be given back: single pieces, a block list, a staging session; of the last
 * two the rows only, or (…_all) the pieces with them. */
typedef struct row_garbage {
    slice name;
    uint64_t manifest, session;
    uint64_t manifest_from; /* of the list only what stands there and behind */
    bool manifest_all, session_all;
    slice pieces;                 /* read with row_waste_take */
    uint64_t pages;               /* the page map that `pieces` held pages of; 0: none */
    uint64_t map, map_generation; /* a page map that is shown no more under this generation */
} row_garbage;
#define ROW_GARBAGE(N, T, B)                                                                       \
    B(1, name)                                                                                     \
    N(2, manifest)                                                                                 \
    N(3, manifest_all)                                                                             \
    N(4, session)                                                                                  \
    N(5, session_all) B(6, pieces) N(7, pages) N(8, map) N(9, map_generation) N(10, manifest_from)

void row_waste_put(buf *b, const row_piece *p);
/* Fills where, id and ref. */
err row_waste_take(slice *s, row_piece *ret) CHECKED;

typedef struct row_purge {
    slice account, container; /* names, for people */
    uint64_t slot;
    int64_t deleted_us;
} row_purge;
#define ROW_PURGE(N, T, B) B(1, account) B(2, container) N(3, slot) T(4, deleted_us)

typedef struct row_log {
    uint64_t id, slot; /* of the log's wrapped key in the vault */
    int64_t created_us;
    slice origin; /* empty: not settled yet */
    /* store_log_retention */
    uint64_t minimum, swept;
    int64_t removed_us;
    uint64_t keep_s;
    slice edge;
} row_log;
#define ROW_LOG(N, T, B)                                                                           \
    N(1, id)                                                                                       \
    N(2, slot)                                                                                     \
    T(3, created_us) B(4, origin) N(5, minimum) N(6, swept) T(7, removed_us) N(8, keep_s) B(9, edge)

#define ROW_SCRUB(N, T, B)                                                                         \
    B(1, account)                                                                                  \
    B(2, container) B(3, marker) T(4, begun_us) T(5, ended_us) N(6, bytes) N(7, blobs) N(8, damaged)

/* ---- made from the tables ---- */
#define ROW_DECLARE(name, type)                                                                    \
    void row_##name##_put(buf *b, const type *r);                                                  \
    /* ERR_CORRUPT. Slices point into v. */                                                        \
    err row_##name##_get(slice v, type *r) CHECKED;
ROW_DECLARE(account, row_account)
ROW_DECLARE(container, row_container)
ROW_DECLARE(scope, row_scope)
ROW_DECLARE(service, row_service)
ROW_DECLARE(document, store_document)
ROW_DECLARE(log, row_log)
ROW_DECLARE(scrub, store_scrub)
ROW_DECLARE(overseer, store_overseer)
ROW_DECLARE(blob, row_blob)
ROW_DECLARE(staged, row_staged)
ROW_DECLARE(chunk, row_chunk)
ROW_DECLARE(index, row_index)
ROW_DECLARE(run, row_run)
ROW_DECLARE(page_piece, row_page_piece)
ROW_DECLARE(staging, row_staging)
ROW_DECLARE(head, row_head)
ROW_DECLARE(expiry, row_expiry)
ROW_DECLARE(copy, row_copy)
ROW_DECLARE(garbage, row_garbage)
ROW_DECLARE(purge, row_purge)

/* Soft-deleted: nobody sees it, unless asked for; until pub.until_us it can be restored. */
static inline bool row_deleted(const row_blob *r) {
    return r->pub.until_us > 0;
}

/* The piece of a blob that was put whole. */
row_piece row_blob_piece(const row_blob *r);

/* Pairs and lists inside a field. Results come from the arena, their bytes from v. */
void row_pairs_put(buf *b, const pair *pairs, size_t count);
err row_pairs_get(arena *a, slice v, pair **ret, size_t *ret_count) CHECKED;
/* ERR_CORRUPT unless v holds `count` tags. */
err row_tags_get(slice v, size_t count, pair ret[STORE_TAGS_MAX]) CHECKED;
void row_policies_put(buf *b, const store_policy *policies, size_t count);
err row_policies_get(slice v, store_policy ret[STORE_POLICIES_MAX], size_t *ret_count) CHECKED;
void row_cors_put(buf *b, const store_cors_rule *rules, size_t count);
err row_cors_get(slice v, store_cors_rule ret[STORE_CORS_RULES_MAX], size_t *ret_count) CHECKED;
