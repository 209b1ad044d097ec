/* store: the meaning of accounts, containers and blobs. Knows no HTTP and no XML.
 *
 * What it promises: a change that returned OK is durable and whole; one that failed changed
 * nothing (ERR_IO, when the disk fails: it is there whole or not at all). A reader sees one state of a blob from its first byte to its last, whatever is written
 * meanwhile. Conditions are evaluated in the same transaction as the change they guard. What it
 * needs from below: engine (rows, streams, vault) and crypto (content is sealed here, before the
 * engine sees it).
 *
 * Lifetime: results are allocated in the arena of the call. `store_account` and `store_container`
 * are shared, immutable snapshots with a reference count: get, use, unref. Times are wall
 * microseconds.
 *
 * Later: a call that carries `later` need not wait for the disk. When the function has returned OK and
 * later->taken is set, its change is decided and its results are what they will be, but it is not
 * durable yet and nobody else sees it; later->done is called once with the outcome. Only the last
 * change of a request may be left so. An error there means that nothing changed (ERR_CONFLICT: the
 * request may be done again).
 *
 * Threads: every function may be called from any thread; an upload or a reader is used by one
 * thread at a time. `nowait` calls answer from memory or say ERR_WOULD_BLOCK. */
#pragma once

#include <stdatomic.h>

#include "crypto/crypto.h"
#include "engine/engine.h"

#define STORE_BLOCK_LEN_MAX          (4000ull << 20)
#define STORE_PUT_BLOB_LEN_MAX       (5000ull << 20)
#define STORE_COMMITTED_BLOCKS_MAX   50000
#define STORE_UNCOMMITTED_BLOCKS_MAX 100000
#define STORE_BLOCK_ID_MAX           64 /* bytes before base64 */
#define STORE_APPEND_BLOCK_LEN_MAX   (100ull << 20)
#define STORE_PAGE_LEN               512
#define STORE_PAGE_WRITE_MAX         (4ull << 20)
#define STORE_PAGE_BLOB_LEN_MAX      (8ull << 40)
#define STORE_METADATA_MAX           8192 /* names and values together */
#define STORE_BLOB_NAME_CHARS_MAX    1024
#define STORE_POLICIES_MAX           5
#define STORE_CORS_RULES_MAX         5
#define STORE_LIST_MAX               5000
#define STORE_SNAPSHOTS_MAX          50000 /* of one blob */
#define STORE_HISTORY_STEP           2000  /* states that one transaction changes */
#define STORE_TIME_NONE              INT64_MIN

typedef struct store store;

/* Where the outcome of a change goes that is not waited for. done runs on a thread that others wait
 * for, perhaps before the store's function has returned; it must not block. */
typedef struct store_later {
    engine_done *done;
    void *ctx;
    bool taken; /* set by the store, before done can run */
} store_later;

/* A key that a client sends along ("Provide an encryption key on a request to Blob storage"). Secret:
 * it lives as long as its request, whose holder wipes it. */
typedef struct store_customer {
    crypto_key key;
    uint8_t sha256[CRYPTO_SHA256_LEN]; /* of the key: all that is kept of it */
} store_customer;

/* What a request came to see or to make of a blob, as far as its record tells it. */
typedef struct store_touched {
    bool known;
    uint64_t etag, length;
    uint64_t snapshot, version; /* ticks; 0: neither */
    bool has_md5, has_crc64;
    uint8_t md5[16];
    uint64_t crc64;
    bool legal_hold;
    int64_t immutable_until_us; /* STORE_TIME_NONE: no policy */
} store_touched;

#define STORE_ENTRY_MAX 4096 /* bytes of an entry as callers make them */

/* Who asks for the record of a request: an entry of the engine's log. The request's first change carries it
 * (both are durable or neither is), or store_record writes it alone. */
typedef struct store_recorder store_recorder;
struct store_recorder {
    /* Renders the entry (1..STORE_ENTRY_MAX bytes) and its private part. */
    void (*make)(store_recorder *r, buf *entry, buf *private_part);
    store_touched touched; /* the last blob that the request read or made */
    bool taken;            /* a change carries it */
    uint64_t index;        /* the entry's number, once it is durable */
};

/* What every call carries. */
typedef struct store_call {
    arena *arena;
    bool nowait;
    store_later *later;             /* NULL: changes are waited for */
    const store_customer *customer; /* NULL: the caller brings no key */
    slice scope;   /* the encryption scope that the caller names; empty: the container's default */
    bool archived; /* store_blob_open: of an archived blob too, for a copy that rehydrates it */
    /* store_account_get, store_blob_open: from the disk, and no access that last access tracking counts */
    bool verifies;
    store_recorder *record; /* NULL: its changes leave no entry in the log */
} store_call;

typedef struct store_account store_account;
typedef struct store_container store_container;

/* What the server does by itself: what a rule, a time or an earlier request led to (deed.c). */
typedef enum store_deed_kind {
    STORE_DEED_ERASES,
    STORE_DEED_ALTERS,
    STORE_DEED_COLLECTS
} store_deed_kind;
typedef struct store_deed {
    store_deed_kind kind;
    const char *action, *decision;    /* "Expire Blob", by "expiry time" */
    slice rule;                       /* of several, which one decided; empty: there is but one */
    const store_account *account;     /* borrowed */
    const store_container *container; /* NULL: the entry is to outlive its key */
    slice container_name, blob;       /* blob: empty, or its name */
    err outcome;
    store_recorder recorder;
    store *store;
} store_deed;
/* Who renders the entries of such deeds. */
typedef struct store_deeds {
    void *ctx;
    void (*make)(void *ctx, const store_deed *d, buf *entry, buf *private_part);
} store_deeds;

/* How the store reads what is on other servers; it knows no protocol. */
typedef struct store_remote {
    void *ctx;
    /* The source at url from offset on, count bytes, while its entity tag is etag (empty: whatever it
     * is). ERR_COPY_SOURCE_UNREACHABLE: worth another try. Ends with ERR_CANCELLED soon after
     * *cancelled. */
    err (*open)(void *ctx, arena *a, slice url, slice etag, uint64_t offset, uint64_t count,
                const atomic_bool *cancelled, void **ret);
    err (*read)(void *stream, uint8_t *out, size_t cap, size_t *ret_n);
    void (*close)(void *stream);
} store_remote;

typedef struct store_options {
    engine *engine;             /* the store owns it from here on, also when opening fails */
    crypto_keyservice *keys;    /* owned likewise */
    bool background;            /* run the reaper and sweeper threads (not for check) */
    bool records;               /* callers may bring recorders; false: they do not */
    uint64_t inline_max;        /* content up to this many bytes stands in rows; 0: the default */
    const store_remote *remote; /* NULL: copies read from this server only; outlives the store */
    const store_deeds
        *deeds;       /* NULL: what the store does by itself leaves no record; outlives it */
    uint64_t hot_max; /* bytes of small blobs kept opened in memory; 0: the default, 64 MiB */
    /* Bytes of large content kept opened in memory, with what is being sent from it; 0: the default,
     * 128 MiB. One answer takes up to a quarter of it, so with 1 there is none. */
    uint64_t opened_max;
} store_options;

err store_open(const store_options *o, store **ret) CHECKED;
store *store_close(store *s);   /* waits for background work; closes engine and key service */
engine *store_engine(store *s); /* for stats only */

/* ---- names ---- */
/* 3-24 lower-case letters and digits. */
bool store_account_name_valid(slice name);
/* 3-63 of a-z 0-9 and single '-' inside; also $root, $web, $logs, $blobchangefeed. */
bool store_container_name_valid(slice name);
/* 1-1,024 UTF-16 code units of valid UTF-8 without NUL; at most 254 path segments. */
bool store_blob_name_valid(slice name);

/* ---- settings of an account (in Azure: of its resource, not in the data API) ---- */
typedef struct store_settings {
    bool versioning;
    uint32_t container_delete_days; /* 0: a deleted container is gone at once */
    uint32_t rehydrate_seconds;     /* what rehydration from Archive takes */
    bool last_access_tracking;
    slice purpose_key1, purpose_key2; /* the purpose of who comes with that key and says none */
} store_settings;

typedef struct store_setting { /* what operators see of one */
    const char *name;
    enum { STORE_SETTING_SWITCH, STORE_SETTING_NUMBER, STORE_SETTING_CODE } kind;
    uint32_t max;  /* of a number; characters of a code */
    size_t offset; /* in store_settings */
    const char *about;
} store_setting;
const store_setting *store_setting_list(size_t *ret_count);
/* As it is written after the name; the arena's. */
slice store_setting_text(arena *a, const store_settings *v, const store_setting *which);
/* Changes v by "name=value" (on, off; a number; a code, which text holds from then on). ERR_INVALID_INPUT. */
err store_setting_parse(store_settings *v, slice text) CHECKED;

/* ---- accounts ---- */
typedef struct store_account {
    slice name;
    int64_t created_us;
    slice keys[2]; /* decoded shared keys, 64 bytes each; secret */
    bool key_set[2];
    uint64_t id;
    store_settings settings;
} store_account;

/* keys: decoded, or SLICE_NONE for a random one. ERR_ACCOUNT_ALREADY_EXISTS,
 * ERR_INVALID_RESOURCE_NAME. */
err store_account_create(store *s, store_call c, slice name, const slice keys[2]) CHECKED;
/* From memory after the first time. ERR_NOT_FOUND. */
err store_account_get(store *s, store_call c, slice name, const store_account **ret) CHECKED;
const store_account *store_account_unref(const store_account *a);
/* Replaces shared key 0 or 1: by `key` (decoded), or by a random one when that is SLICE_NONE. */
err store_account_set_key(store *s, store_call c, slice name, int which, slice key) CHECKED;
/* Replaces shared key 0 or 1 by a random one. */
err store_account_rotate(store *s, store_call c, slice name, int which) CHECKED;
/* Changes one setting, "name=value". What began before it may still go by the old value. */
err store_account_set(store *s, store_call c, slice name, slice setting) CHECKED;
/* Destroys the account's key: all it held is unreadable at once, and removed in the background. */
err store_account_delete(store *s, store_call c, slice name) CHECKED;
/* Calls each account's name in order. */
err store_account_list(store *s, store_call c, void (*each)(void *ctx, const store_account *a),
                       void *ctx) CHECKED;

/* ---- encryption scopes (scope.c) ---- */
#define STORE_SCOPES_MAX     10000 /* of one account */
#define STORE_SCOPE_NAME_MAX 63
#define STORE_ACCOUNT_SCOPE  S("$account-encryption-key") /* names no scope: the account's own key */
typedef enum store_scope_state {
    STORE_SCOPE_ENABLED,
    STORE_SCOPE_DISABLED, /* nothing is read or written under it */
    STORE_SCOPE_DESTROYED /* likewise, and its key is gone for good */
} store_scope_state;
typedef struct store_scope {
    slice name;
    int64_t created_us;
    store_scope_state state;
} store_scope;
/* 3-63 of a-z, 0-9 and single '-' inside. */
bool store_scope_name_valid(slice name);
/* ERR_INVALID_INPUT: not a name, taken, or too many. */
err store_scope_create(store *s, store_call c, const store_account *a, slice name) CHECKED;
/* In force for all that comes after, and for all that was not answered yet; what is being read is read
 * to its end. STORE_SCOPE_DESTROYED: all content under it is unreadable for good. Not while the account
 * has protected blobs or containers (the errors of deleting it). ERR_NOT_FOUND; ERR_INVALID_INPUT: its
 * key was destroyed. */
err store_scope_set(store *s, store_call c, const store_account *a, slice name,
                    store_scope_state state) CHECKED;
/* Calls each in order of names. */
err store_scope_list(store *s, store_call c, const store_account *a,
                     void (*each)(void *ctx, const store_scope *x), void *ctx) CHECKED;
/* The scope that what the call writes into the container goes under: the one it names, or else the
 * container's default; empty: none. Not whether it is there. ERR_FORBIDDEN_BY_ENCRYPTION_POLICY. */
err store_scope_of(store_call c, const store_container *k, slice *ret) CHECKED;

/* ---- service properties (Set Blob Service Properties) ---- */
typedef struct store_cors_rule {
    slice origins, methods, allowed_headers, exposed_headers; /* comma-separated, as given */
    uint64_t max_age_s;
} store_cors_rule;

typedef struct store_retention {
    bool enabled;
    uint32_t days;
} store_retention;

typedef struct store_service {
    bool log_delete, log_read, log_write;
    store_retention log_retention;
    struct store_metrics {
        bool enabled, include_apis;
        store_retention retention;
    } hour, minute;
    store_cors_rule cors[STORE_CORS_RULES_MAX];
    size_t cors_count;
    slice default_version; /* empty: not set */
    store_retention delete_retention;
    bool delete_permanent;
    bool website;
    slice website_index, website_error, website_default_path;
} store_service;

err store_service_get(store *s, store_call c, const store_account *a, store_service *ret) CHECKED;
/* Shows merge() what stands, and keeps what it makes of it: one after the other, so that nothing
 * that two change at once is lost. merge's error, and then nothing has changed. Its slices live
 * until this returns. */
err store_service_change(store *s, store_call c, const store_account *a,
                         err (*merge)(void *ctx, store_service *v), void *ctx) CHECKED;

/* ---- documents ---- */
/* Texts of an account that others act by (rules/); the store only keeps them. */
#define STORE_DOCUMENT_MAX (1 << 20)
typedef enum store_document_kind { STORE_LIFECYCLE = 'l' } store_document_kind;
typedef struct store_document {
    slice text;     /* empty: there is none */
    int64_t set_us; /* when it was put */
    int64_t run_us; /* when what it says was last done; STORE_TIME_NONE: not yet */
} store_document;
err store_document_get(store *s, store_call c, const store_account *a, store_document_kind kind,
                       store_document *ret) CHECKED;
/* Replaces it, or (empty text) removes it. ERR_INVALID_INPUT past STORE_DOCUMENT_MAX. */
err store_document_put(store *s, store_call c, const store_account *a, store_document_kind kind,
                       const store_document *d) CHECKED;
/* Notes that the document of set_us was done; nothing when another has taken its place. */
err store_document_ran(store *s, store_call c, const store_account *a, store_document_kind kind,
                       int64_t set_us, int64_t run_us) CHECKED;

/* ---- blob index tags ---- */
#define STORE_TAGS_MAX      10
#define STORE_TAG_KEY_MAX   128 /* characters, which are bytes: the alphabet is of ASCII */
#define STORE_TAG_VALUE_MAX 256
/* "Set Blob Tags": how many, how long, of which characters, and no key twice. ERR_TAGS_TOO_LARGE,
 * ERR_EMPTY_TAG_NAME, ERR_INVALID_TAG, ERR_DUPLICATE_TAG_NAMES. */
err store_tags_check(const pair *tags, size_t count) CHECKED;

/* An expression over the tags of a blob, read once (tagquery.c says which). */
typedef struct store_tag_query store_tag_query;
/* A condition (x-ms-if-tags): =, <>, <, <=, >, >=, AND, OR, parentheses. ERR_INVALID_HEADER_VALUE.
 */
err store_tag_condition(arena *a, slice text, const store_tag_query **ret) CHECKED;
/* What Find Blobs by Tags looks for: =, <, <=, >, >=, AND, @container. ERR_TAG_QUERY,
 * ERR_TAG_QUERY_TAGS. */
err store_tag_where(arena *a, slice text, const store_tag_query **ret) CHECKED;
/* Whether the tags satisfy it. A tag that is not there satisfies no comparison. */
bool store_tag_query_true(const store_tag_query *q, const pair *tags, size_t count);

/* ---- conditions ---- */
typedef struct store_conditions {
    slice if_match, if_none_match;                        /* header values as sent; empty: absent */
    int64_t if_modified_since_us, if_unmodified_since_us; /* STORE_TIME_NONE: absent */
    slice lease_id;                 /* x-ms-lease-id, the UUID_LEN bytes of it; empty: absent */
    const store_tag_query *if_tags; /* x-ms-if-tags; NULL: absent */
} store_conditions;
#define STORE_NO_CONDITIONS                                                                        \
    ((store_conditions){.if_modified_since_us = STORE_TIME_NONE,                                   \
                        .if_unmodified_since_us = STORE_TIME_NONE})

/* ---- leases ("Lease Blob", "Lease Container") ---- */
#define STORE_LEASE_S_MIN 15
#define STORE_LEASE_S_MAX 60
#define STORE_BREAK_S_MAX 60

typedef enum store_lease_state {
    STORE_LEASE_AVAILABLE,
    STORE_LEASE_LEASED,
    STORE_LEASE_EXPIRED,
    STORE_LEASE_BREAKING,
    STORE_LEASE_BROKEN
} store_lease_state;

/* A lease as it is kept. Time alone turns leased into expired and breaking into broken, so a state
 * is asked for, not stored. */
typedef struct store_lease {
    slice id;            /* UUID_LEN bytes; empty: none */
    uint32_t duration_s; /* 0: infinite */
    bool broken;         /* or breaking */
    int64_t until_us;    /* its end, or that of the break; STORE_TIME_NONE: never */
} store_lease;

store_lease_state store_lease_state_of(const store_lease *l, int64_t now_us);
/* Leased and breaking ones keep others out. */
bool store_lease_locked(store_lease_state state);

typedef enum store_lease_action {
    STORE_LEASE_ACQUIRE,
    STORE_LEASE_RENEW,
    STORE_LEASE_CHANGE,
    STORE_LEASE_RELEASE,
    STORE_LEASE_BREAK
} store_lease_action;

typedef struct store_lease_ask {
    store_lease_action action;
    slice id;            /* renew, change, release: x-ms-lease-id */
    slice proposed;      /* change; acquire: or empty, for a random one */
    uint32_t duration_s; /* acquire: 0 is infinite */
    bool has_break;
    uint32_t break_s; /* break: with has_break */
} store_lease_ask;

typedef struct store_lease_answer {
    uint64_t etag; /* of the blob or container: a lease changes neither this nor modified_us */
    int64_t modified_us;
    slice id;         /* in the arena; empty after release and break */
    uint32_t break_s; /* break: seconds until another may acquire */
} store_lease_answer;

/* ---- containers ---- */
typedef enum store_public { STORE_PRIVATE, STORE_PUBLIC_BLOB, STORE_PUBLIC_CONTAINER } store_public;

typedef struct store_policy { /* a stored access policy (SignedIdentifier) */
    slice id;                 /* 1-64 characters */
    bool has_start, has_expiry, has_permission;
    int64_t start_us, expiry_us;
    slice start_text, expiry_text; /* as the client sent them: echoed by Get Container ACL */
    slice permission;
} store_policy;

/* What protects all blobs of a container ("Time-based retention policies …" and "Legal holds …" of
 * container scope): a blob that is there is not changed; it is deleted only `days` after its last change, and
 * not at all while there is a hold. Snapshots are not taken, and the container is not deleted. */
#define STORE_GUARD_DAYS_MAX 146000
#define STORE_GUARD_HOLDS    10
typedef struct store_guard {
    uint32_t days; /* 0: no policy */
    bool locked;   /* the policy can be extended and nothing else */
    bool append;   /* append blobs still take blocks (allowProtectedAppendWrites) */
    slice holds;   /* names of legal holds, with commas between */
    bool purpose;  /* only accesses that say their purpose are let in; who lets in asks */
    bool
        witnessed; /* answers wait until the witnesses have cosigned their records; who answers does */
} store_guard;

/* Under which encryption scope blobs go that are put without naming one; for good. */
typedef struct store_default_scope {
    slice name;         /* empty: none, the account's key */
    bool deny_override; /* and no other may be named */
} store_default_scope;

typedef struct store_container {
    uint64_t id;
    slice account, name;
    uint64_t etag;
    int64_t created_us, modified_us;
    store_public public_access;
    pair *metadata;
    size_t metadata_count;
    store_policy policies[STORE_POLICIES_MAX];
    size_t policy_count;
    store_lease lease;
    store_guard guard;
    store_default_scope scope;
    bool deleted; /* in listings that ask for them; then: */
    uint64_t version;
    int64_t deleted_us, purge_us; /* restorable until purge_us */
} store_container;

/* ERR_CONTAINER_ALREADY_EXISTS, ERR_CONTAINER_BEING_DELETED never (names are free at once). In _under:
 * ERR_INVALID_HEADER_VALUE, ERR_ENCRYPTION_SCOPE_DISABLED; scope may be NULL. */
err store_container_create_under(store *s, store_call c, const store_account *a, slice name,
                                 store_public access, const store_default_scope *scope,
                                 const pair *metadata, size_t metadata_count,
                                 const store_container **ret) CHECKED;
err store_container_create(store *s, store_call c, const store_account *a, slice name,
                           store_public access, const pair *metadata, size_t metadata_count,
                           const store_container **ret) CHECKED;
/* From memory after the first time (bounded cache). ERR_CONTAINER_NOT_FOUND. */
err store_container_get(store *s, store_call c, const store_account *a, slice name,
                        const store_container **ret) CHECKED;
const store_container *store_container_unref(const store_container *k);
/* The container and all in it are gone at once for everyone. Where the account's settings keep
 * deleted containers it can be restored for so many days; otherwise, or after them, its key is
 * destroyed and its space given back in the background, also after a restart. */
err store_container_delete(store *s, store_call c, const store_account *a, slice name,
                           const store_conditions *cond) CHECKED;
/* ret (may be NULL): the container after the change. */
err store_container_set_metadata(store *s, store_call c, const store_account *a, slice name,
                                 const store_conditions *cond, const pair *metadata, size_t count,
                                 const store_container **ret) CHECKED;
err store_container_set_acl(store *s, store_call c, const store_account *a, slice name,
                            const store_conditions *cond, store_public access,
                            const store_policy *policies, size_t count,
                            const store_container **ret) CHECKED;
/* Brings a deleted container back, under its own or another name. ERR_CONTAINER_ALREADY_EXISTS;
 * ERR_CONTAINER_NOT_FOUND: none of that name and version can be restored. */
err store_container_restore(store *s, store_call c, const store_account *a, slice name,
                            slice deleted_name, uint64_t version) CHECKED;
/* Another name for a container and all in it. Who holds a lease on it must say so. Deleted ones of
 * the old name keep it. ERR_CONTAINER_ALREADY_EXISTS, ERR_CONTAINER_NOT_FOUND, ERR_LEASE_…. */
err store_container_rename(store *s, store_call c, const store_account *a, slice name, slice source,
                           slice source_lease_id) CHECKED;
/* A lease on a container stands in the way of its deletion only. Errors as store_blob_lease. */
err store_container_lease(store *s, store_call c, const store_account *a, slice name,
                          const store_conditions *cond, const store_lease_ask *ask,
                          store_lease_answer *ret) CHECKED;
/* One setting of what protects the container's blobs:
 *   immutable_days=N      0 removes the policy; a locked one only grows
 *   immutable_append=on|off
 *   immutable_lock=on     for good
 *   hold=NAME, release=NAME
 * In force for all that comes after, and for all that was not answered yet. ERR_INVALID_INPUT, also for a
 * container that has blobs with an expiry; then nothing has changed. */
err store_container_guard_set(store *s, store_call c, const store_account *a, slice name,
                              slice setting, const store_container **ret) CHECKED;
/* Reading conditions against a container. */
err store_container_check(const store_container *k, const store_conditions *cond) CHECKED;

typedef struct store_container_list {
    slice prefix, marker; /* marker: from an earlier page, or empty */
    size_t max;           /* 1..STORE_LIST_MAX */
    bool metadata;
    bool system;  /* with those the service keeps for itself: $logs, $blobchangefeed */
    bool deleted; /* with those that can be restored, after the one that has their name now */
} store_container_list;
/* Calls each container of the page, by name; ret_next: the marker of the next page, or empty. The
 * container lives only during the call. ERR_OUT_OF_RANGE_INPUT for a marker no listing gave. */
err store_container_scan(store *s, store_call c, const store_account *a,
                         const store_container_list *q,
                         err (*each)(void *ctx, const store_container *k), void *ctx,
                         slice *ret_next) CHECKED;

/* ---- records of accesses (entry.c) ---- */
/* The entry of a request that no change carries: of a read, or of a refusal. done is called once when it is
 * durable, or with what came in the way; it must not block. */
void store_record_later(store *s, store_recorder *r, engine_done *done, void *ctx);
/* The same, waiting. */
err store_record(store *s, store_recorder *r) CHECKED;

/* The call whose first change carries the deed's entry. d and what it names outlive the call. */
store_call store_deed_call(store *s, store_call c, store_deed *d);

#define STORE_PSEUDONYM_LEN 16
/* What stands for a name in records: always the same for the same name of one account, and of use to nobody
 * without the account's key. a: NULL for what belongs to no account. */
void store_pseudonym(store *s, const store_account *a, slice name,
                     uint8_t ret[STORE_PSEUDONYM_LEN]);
/* The private part of a record, sealed under a key that goes with the container (k may be NULL), or else with
 * the account (NULL: with the whole store). Appends to out. */
void store_opening_seal(store *s, const store_account *a, const store_container *k, slice plain,
                        buf *out);
/* Opens one. ERR_KEY_DESTROYED when its container or account is gone for good; ERR_CORRUPT. */
err store_opening_open(store *s, store_call c, slice sealed, buf *out) CHECKED;

/* Secrets of the log itself, made with the store, under the root key. */
typedef struct store_log_keys {
    uint8_t signing_seed[32]; /* Ed25519 */
} store_log_keys;
void store_log_keys_get(const store *s, store_log_keys *ret);
#define STORE_ORIGIN_MAX 200
/* The log's name, settled for good the first time: as wanted, or (wanted empty) as `otherwise`. In the arena.
 * ERR_CONFIG when another than the settled one is wanted. */
err store_log_origin(store *s, store_call c, slice wanted, slice otherwise, slice *ret) CHECKED;

/* Retention of the log (audit/retain.c). Entries below `minimum` are removed, or about to be; nothing brings it back. */
typedef struct store_log_retention {
    uint64_t minimum;
    uint64_t swept; /* those below it are gone */
    int64_t
        removed_us; /* the newest of what was removed is older than that; STORE_TIME_NONE: nothing was */
    uint64_t keep_s; /* how long entries are kept, as it was told last; 0: for ever */
    slice edge; /* of the tree of the first `minimum` entries: what it takes to go on from there */
} store_log_retention;
#define STORE_LOG_EDGE_MAX (256u << 10)
/* edge: in the call's arena. All 0 for a store without a log. */
err store_log_retention_get(store *s, store_call c, store_log_retention *ret) CHECKED;
/* Durable with the entry of c.record. minimum and swept never go back. */
err store_log_retention_set(store *s, store_call c, const store_log_retention *v) CHECKED;

/* ---- who may look at the record from another machine (overseer.c) ---- */

#define STORE_OVERSEER_NAME_MAX     64
#define STORE_OVERSEERS_MAX         256
#define STORE_OVERSEER_ACCOUNTS_LEN 1024
enum { /* rights */
       STORE_SEES_ENTRIES = 1u << 0,
       STORE_SEES_OPENINGS = 1u << 1, /* what the entries' pseudonyms and commitments stand for */
       STORE_OVERSEER_RIGHTS = STORE_SEES_ENTRIES | STORE_SEES_OPENINGS,
};
typedef struct store_overseer {
    slice name;
    slice token_sha256;             /* of the secret part of the token, which stands nowhere */
    int64_t created_us, expires_us; /* STORE_TIME_NONE: it does not end */
    unsigned rights;
    bool disabled;
    slice accounts; /* whose entries they see: names with commas between; empty: all */
} store_overseer;
/* 1 to 64 of a-z, 0-9, '-' and '_'. */
bool store_overseer_name_valid(slice name);
/* ERR_INVALID_INPUT: not a name, taken, or too many. */
err store_overseer_add(store *s, store_call c, const store_overseer *o) CHECKED;
/* In force for all that is asked after it returns. ERR_NOT_FOUND. */
err store_overseer_disable(store *s, store_call c, slice name, bool disabled) CHECKED;
err store_overseer_remove(store *s, store_call c, slice name) CHECKED;
/* In the arena. ERR_NOT_FOUND. */
err store_overseer_get(store *s, store_call c, slice name, store_overseer *ret) CHECKED;
/* Calls each in order of names. */
err store_overseer_list(store *s, store_call c, void (*each)(void *ctx, const store_overseer *o),
                        void *ctx) CHECKED;

/* ---- blobs ---- */
typedef enum store_blob_type {
    STORE_BLOCK_BLOB,
    STORE_PAGE_BLOB,
    STORE_APPEND_BLOB
} store_blob_type;
typedef enum store_tier {
    STORE_TIER_INFERRED, /* Hot, and x-ms-access-tier-inferred */
    STORE_TIER_HOT,
    STORE_TIER_COOL,
    STORE_TIER_COLD,
    STORE_TIER_ARCHIVE,
    STORE_TIER_PREMIUM
} store_tier;

/* A blob is protected while it has a legal hold, or a policy whose date has not come: whatever would
 * give it a new ETag, or delete it, its container or its account, says
 * ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD, ERR_BLOB_IMMUTABLE_DUE_TO_POLICY (or
 * ERR_CONTAINER_HAS_LEGAL_HOLD, ERR_CONTAINER_IMMUTABLE). */
typedef enum store_immutable_mode {
    STORE_MUTABLE,
    STORE_UNLOCKED,
    STORE_LOCKED
} store_immutable_mode;
typedef struct store_immutability { /* what is to change */
    bool set_policy, set_hold, hold;
    store_immutable_mode mode; /* STORE_MUTABLE: the policy is deleted */
    int64_t until_us;
} store_immutability;

typedef struct store_http { /* what the client says about the content; each may be empty */
    slice content_type, content_encoding, content_language, content_disposition, cache_control;
    bool has_md5;
    uint8_t md5[16]; /* as stored: x-ms-blob-content-md5, or computed by Put Blob */
} store_http;

/* The copy that made a blob's content, or is making it ("Copy Blob": x-ms-copy-…). */
typedef enum store_copy_status {
    STORE_COPY_NONE,
    STORE_COPY_PENDING,
    STORE_COPY_SUCCESS,
    STORE_COPY_ABORTED,
    STORE_COPY_FAILED
} store_copy_status;
typedef struct store_copy {
    store_copy_status status;
    slice id;             /* a UUID */
    slice source;         /* its URL, without a signature */
    slice description;    /* why it failed */
    uint64_t done, total; /* bytes */
    int64_t completed_us; /* STORE_TIME_NONE: not yet */
} store_copy;
#define STORE_NO_COPY ((store_copy){.completed_us = STORE_TIME_NONE})

typedef struct store_blob {
    slice name;
    store_blob_type type;
    uint64_t content_id; /* changes with the content */
    uint64_t length, etag;
    int64_t created_us, modified_us;
    store_http http;
    bool has_crc64;
    uint64_t crc64; /* of the whole content */
    store_tier tier;
    int64_t tier_changed_us; /* STORE_TIME_NONE: never set */
    store_tier rehydrate_to; /* of an archived blob that is on its way; STORE_TIER_INFERRED: none */
    bool rehydrate_high;
    int64_t rehydrate_due_us;
    int64_t expires_us;  /* STORE_TIME_NONE: never */
    int64_t accessed_us; /* STORE_TIME_NONE: not tracked */
    store_immutable_mode immutable_mode;
    int64_t immutable_until_us; /* STORE_TIME_NONE: no policy */
    bool legal_hold;
    const pair *metadata;
    size_t metadata_count;
    const pair *tags; /* in order of keys; in listings only when they are asked for */
    uint32_t tag_count;
    bool uncommitted;     /* only in listings with uncommitted: length 0, no etag */
    uint32_t block_count; /* committed blocks; 0 when put whole */
    store_lease lease;
    bool sealed;       /* an append blob that takes no more */
    uint64_t sequence; /* a page blob's sequence number */
    store_copy copy;
    slice key_sha256; /* of the customer's key that its content is under; empty: none */
    slice scope;      /* the encryption scope that it is under; empty: none */
    /* Which of the blob's states this is: the current one, a snapshot, or an earlier version. */
    uint64_t snapshot; /* the snapshot's tick; 0: none */
    uint64_t version;  /* the version's tick; 0: not a version */
    bool current;
    int64_t deleted_us, until_us; /* soft-deleted, and kept until; STORE_TIME_NONE: it is not */
    bool versions_only; /* only in listings: it has no current state, this is its newest version */
} store_blob;

/* Which state of a blob is meant: a snapshot or a version, by its tick (base/clock.h); none: the
 * current one. Never both. */
typedef struct store_pick {
    uint64_t snapshot, version;
} store_pick;
#define STORE_CURRENT ((store_pick){0})

/* Properties. ERR_BLOB_NOT_FOUND, ERR_CONDITION_NOT_MET; ERR_NOT_MODIFIED, and then ret has the
 * blob's etag and modified_us, as from store_blob_open. */
err store_blob_get(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                   const store_conditions *cond, store_blob *ret) CHECKED;

/* Whether the caller's key (NULL: none) is the one that content is under. Constant time. What shows
 * or changes content or metadata asks; store_blob_get does not: what needs no key (tags, leases)
 * reads through it too. ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION,
 * ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH,
 * ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION. */
err store_customer_check(slice key_sha256, const store_customer *customer) CHECKED;

/* store_customer_check of the blob, and whether its encryption scope is enabled.
 * ERR_ENCRYPTION_SCOPE_DISABLED, ERR_WOULD_BLOCK. */
err store_encryption_check(store *s, store_call c, const store_container *k,
                           const store_blob *b) CHECKED;

/* A reader holds the content of one state of a blob until it is freed. */
typedef struct store_reader store_reader;
err store_blob_open(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                    const store_conditions *cond, store_blob *ret,
                    store_reader **ret_reader) CHECKED;
/* Up to cap bytes from offset; ret_n 0 only at the end. Opens whole chunks: fastest with cap >= 64
 * KiB and increasing offsets. */
err store_reader_read(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                      size_t *ret_n) CHECKED;
/* Makes ready to read from offset on. Of a page blob, whose pages may change while it is read: the
 * pages from there on (as many as PAGE_WINDOW_RUNS runs hold) are then those of the state that was
 * opened, later ones may be newer, none is torn. ERR_CONFLICT: they have changed already; open
 * again. */
err store_reader_prepare(store_reader *r, store_call c, uint64_t offset) CHECKED;
/* Content that stands in memory already (inline): no copy needed. False for streams. */
bool store_reader_inline(const store_reader *r, slice *ret);
/* Large content as it stands opened in memory, opening what is missing: no copy needed. Parts hold
 * together `count` bytes from `first` on (inside the content) and live as long as the reader, which
 * is used for nothing else afterwards. ret_count 0: not this way (too much, too little of what would
 * have to be opened is asked for, no room): store_reader_read gives it. */
#define STORE_PARTS_MAX 17
err store_reader_opened(store_reader *r, uint64_t first, uint64_t count, bool nowait,
                        slice ret_parts[STORE_PARTS_MAX], size_t *ret_count) CHECKED;
store_reader *store_reader_free(store_reader *r);

/* An upload: bytes on their way in, sealed as they come. Small ones stay in memory, larger ones go
 * to a stream. Counts, and computes what `flags` ask for. */
typedef struct store_upload store_upload;
#define STORE_UPLOAD_MD5 1u
/* len: the length announced, or ENGINE_LEN_UNKNOWN; len_max: the limit of the operation. */
err store_upload_new(store *s, const store_container *k, uint64_t len, uint64_t len_max,
                     unsigned flags, store_upload **ret) CHECKED;
/* Puts what is uploaded under the call's customer's key, or else under the encryption scope that it
 * names or the container has: before the first byte. The errors of store_scope_of;
 * ERR_INVALID_HEADER_VALUE: there is no such scope; ERR_ENCRYPTION_SCOPE_DISABLED; ERR_WOULD_BLOCK. */
err store_upload_under(store_upload *u, store_call c, const store_container *k) CHECKED;
/* The scope that it is under; empty: none. Lives as long as u. */
slice store_upload_scope(const store_upload *u);
/* ERR_REQUEST_BODY_TOO_LARGE past len_max. */
err store_upload_write(store_upload *u, slice data) CHECKED;
/* No more bytes: durable after this (streams). Then the checksums and the length can be asked. */
err store_upload_finish(store_upload *u) CHECKED;
/* True when an upload of that length is kept in memory until it is committed: nothing it does
 * blocks. */
bool store_upload_in_memory(const store *s, uint64_t len);
uint64_t store_upload_len(const store_upload *u);
uint64_t store_upload_crc64(const store_upload *u);
/* Only with STORE_UPLOAD_MD5. */
void store_upload_md5(const store_upload *u, uint8_t ret[16]);
store_upload *store_upload_free(store_upload *u); /* drops what was not committed; NULL allowed */

typedef struct store_expiry {
    enum {
        STORE_NEVER_EXPIRE,
        STORE_EXPIRE_ABSOLUTE,
        STORE_EXPIRE_AFTER_CREATION,
        STORE_EXPIRE_FROM_NOW
    } option;
    int64_t us; /* a time, or how long after it */
} store_expiry;

typedef struct store_put {
    store_http http;
    const pair *metadata;
    size_t metadata_count;
    const pair *tags;
    size_t tag_count;
    store_immutability immutability; /* of the new blob */
    store_expiry expiry;
    store_tier tier;
    bool rehydrate, rehydrate_high; /* it is made of an archived blob: the tier comes later */
    const store_conditions *cond;
    const store_copy *copy; /* NULL: its content is no copy */
} store_put;

/* Commits a finished upload as the blob's content (Put Blob); discards uncommitted blocks. Consumes
 * the upload on success. ret: the blob as committed. ERR_BLOB_ALREADY_EXISTS (If-None-Match: *),
 * ERR_CONDITION_NOT_MET. */
err store_blob_put(store *s, store_call c, const store_container *k, slice name, store_upload *u,
                   const store_put *p, store_blob *ret) CHECKED;
#define STORE_COPY_URL_MAX 8192
typedef struct store_copy_from { /* where a copy reads: a blob here, or a URL elsewhere */
    slice account, container, blob;
    store_pick pick;
    slice url;
    slice etag; /* as of now: a source that changes ends the copy */
    store_blob_type type;
    uint64_t sequence; /* of a page blob */
    bool seal;         /* of an append blob: what is made takes no more */
} store_copy_from;
/* Makes the blob the destination of a pending copy (p->copy: id, source, total), done in the
 * background, also after a restart. Until then nothing else changes it; it is empty, or (a page blob) of its
 * length and filled page by page. A copied append blob is one block. The errors of store_blob_put;
 * ERR_INVALID_BLOB_TYPE: a blob of another type stands there. */
err store_copy_begin(store *s, store_call c, const store_container *k, slice name,
                     const store_put *p, const store_copy_from *from, store_blob *ret) CHECKED;
/* Returns when that copy has ended, or after so long. */
void store_copy_wait(store *s, slice id, unsigned ms);
/* ERR_NO_PENDING_COPY_OPERATION, ERR_COPY_ID_MISMATCH, ERR_BLOB_NOT_FOUND, and those of conditions. */
err store_copy_abort(store *s, store_call c, const store_container *k, slice name, slice id,
                     const store_conditions *cond) CHECKED;
/* Stages a block (Put Block). id: decoded. ERR_INVALID_BLOB_OR_BLOCK (length of id differs from the
 * others'), ERR_BLOCK_COUNT_EXCEEDS_LIMIT. */
err store_block_put(store *s, store_call c, const store_container *k, slice name, slice id,
                    store_upload *u, slice lease_id) CHECKED;

typedef enum store_block_source {
    STORE_BLOCK_COMMITTED,
    STORE_BLOCK_UNCOMMITTED,
    STORE_BLOCK_LATEST
} store_block_source;
typedef struct store_block_pick {
    slice id;
    store_block_source source;
} store_block_pick;
/* Commits a block list. ERR_INVALID_BLOCK_LIST (a block is not there), ERR_BLOCK_LIST_TOO_LONG. */
err store_block_list_put(store *s, store_call c, const store_container *k, slice name,
                         const store_block_pick *picks, size_t count, const store_put *p,
                         store_blob *ret) CHECKED;

typedef struct store_block {
    slice id;
    uint64_t length;
} store_block;
/* Blocks in order: committed in list order, uncommitted by id. ret_exists false when only
 * uncommitted blocks are there. ERR_BLOB_NOT_FOUND when neither is. Snapshots and versions have
 * committed blocks only. */
err store_block_list_get(store *s, store_call c, const store_container *k, slice name,
                         store_pick pick, const store_conditions *cond, bool committed,
                         bool uncommitted, store_blob *ret, bool *ret_exists,
                         store_block **ret_committed, size_t *ret_committed_count,
                         store_block **ret_uncommitted, size_t *ret_uncommitted_count) CHECKED;

/* ---- append blobs (append.c) ---- */

/* An empty append blob in the place of whatever stood there. Errors of store_blob_put. */
err store_append_create(store *s, store_call c, const store_container *k, slice name,
                        const store_put *p, store_blob *ret) CHECKED;
typedef struct store_append_if { /* x-ms-blob-condition-appendpos and -maxsize */
    bool has_position, has_length_max;
    uint64_t position, length_max;
} store_append_if;
typedef struct store_appended {
    uint64_t etag, offset; /* offset: where the block stands */
    int64_t modified_us;
    uint32_t block_count;
} store_appended;
/* Commits a finished upload as the blob's last block; consumes it on success. Blocks of appenders
 * that meet are committed together, each under its own conditions. cond, when: may be NULL.
 * ERR_BLOB_NOT_FOUND, ERR_INVALID_BLOB_TYPE, ERR_BLOB_IS_SEALED, ERR_CONDITION_NOT_MET,
 * ERR_APPEND_POSITION_CONDITION_NOT_MET, ERR_MAX_BLOB_SIZE_CONDITION_NOT_MET,
 * ERR_COMMITTED_BLOCK_COUNT_EXCEEDS_LIMIT. */
err store_append_block(store *s, store_call c, const store_container *k, slice name,
                       store_upload *u, const store_conditions *cond, const store_append_if *when,
                       store_appended *ret) CHECKED;
/* No more appends from here on; sealing again is OK. ETag and time stay ("Append Blob Seal"). */
err store_append_seal(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_append_if *when,
                      store_blob *ret) CHECKED;

/* ---- page blobs (page.c) ---- */

/* A page blob of zeros in the place of whatever stood there. length: whole pages, up to
 * STORE_PAGE_BLOB_LEN_MAX; sequence up to INT64_MAX. Errors of store_blob_put. */
err store_page_create(store *s, store_call c, const store_container *k, slice name,
                      const store_put *p, uint64_t length, uint64_t sequence,
                      store_blob *ret) CHECKED;
typedef struct store_sequence_if { /* x-ms-if-sequence-number-…: the blob's number is … this */
    bool has_le, has_lt, has_eq;
    uint64_t le, lt, eq;
} store_sequence_if;
/* Writes a finished upload (whole pages, up to STORE_PAGE_WRITE_MAX) at offset; consumes it on
 * success. cond, when: may be NULL. ERR_BLOB_NOT_FOUND, ERR_INVALID_BLOB_TYPE,
 * ERR_CONDITION_NOT_MET, ERR_SEQUENCE_NUMBER_CONDITION_NOT_MET, ERR_INVALID_PAGE_RANGE (past the
 * end). */
err store_page_put(store *s, store_call c, const store_container *k, slice name, uint64_t offset,
                   store_upload *u, const store_conditions *cond, const store_sequence_if *when,
                   store_blob *ret) CHECKED;
/* Whole pages to zeros, and their space back. Where that takes more than one change (page.c), an
 * error after the first leaves what was cleared. */
err store_page_clear(store *s, store_call c, const store_container *k, slice name, uint64_t offset,
                     uint64_t length, const store_conditions *cond, const store_sequence_if *when,
                     store_blob *ret) CHECKED;
typedef enum store_sequence_action {
    STORE_SEQUENCE_KEEP,
    STORE_SEQUENCE_MAX,
    STORE_SEQUENCE_UPDATE,
    STORE_SEQUENCE_INCREMENT
} store_sequence_action;
typedef struct store_page_set {
    const store_http *http; /* NULL: they stay */
    bool resize;
    uint64_t length; /* pages behind it are gone, also when the blob grows again */
    store_sequence_action action;
    uint64_t sequence;
} store_page_set;
/* Also ERR_SEQUENCE_NUMBER_INCREMENT_TOO_LARGE. */
err store_page_set_properties(store *s, store_call c, const store_container *k, slice name,
                              const store_conditions *cond, const store_page_set *set,
                              store_blob *ret) CHECKED;
typedef struct store_page_range {
    uint64_t start, end; /* end: behind it */
    bool cleared;
} store_page_range;
typedef struct store_page_query {
    uint64_t offset, length; /* whole pages */
    size_t max;
    bool whole; /* offset may lie at or behind the end */
    store_pick pick;
    uint64_t since; /* a snapshot: only what has changed since then; 0: all that was written */
} store_page_query;
/* Calls each range of pages that were written, in order, adjacent ones joined; all of one state.
 * ret_next: the offset to go on from, or 0. ERR_INVALID_RANGE, ERR_INVALID_BLOB_TYPE,
 * ERR_PREVIOUS_SNAPSHOT_NOT_FOUND, ERR_PREVIOUS_SNAPSHOT_CANNOT_BE_NEWER, ERR_BLOB_OVERWRITTEN. */
err store_page_ranges(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_page_query *q, store_blob *ret,
                      err (*each)(void *ctx, store_page_range r), void *ctx,
                      uint64_t *ret_next) CHECKED;

err store_blob_set_http(store *s, store_call c, const store_container *k, slice name,
                        const store_conditions *cond, const store_http *http,
                        store_blob *ret) CHECKED;
err store_blob_set_metadata(store *s, store_call c, const store_container *k, slice name,
                            const store_conditions *cond, const pair *metadata, size_t count,
                            store_blob *ret) CHECKED;
/* Replaces all tags. They are no part of the blob's state: ETag and time of change stay. The errors
 * of store_tags_check. */
err store_blob_set_tags(store *s, store_call c, const store_container *k, slice name,
                        store_pick pick, const store_conditions *cond, const pair *tags,
                        size_t count) CHECKED;
/* Set Blob Tier: Hot, Cool, Cold or Archive; ETag and time of change stay. ret_later: it is
 * rehydrated from Archive, at the given priority, which takes a while; until then it is archived.
 * ERR_ACCESS_TIER_NOT_SUPPORTED_FOR_BLOB_TYPE, ERR_BLOB_BEING_REHYDRATED (to another tier, or at a
 * higher priority). */
err store_blob_set_tier(store *s, store_call c, const store_container *k, slice name,
                        store_pick pick, const store_conditions *cond, store_tier tier, bool high,
                        bool *ret_later) CHECKED;
/* Set and Delete Blob Immutability Policy, Set Blob Legal Hold; ETag and time of change stay. A locked
 * policy can only be extended (ERR_BLOB_IMMUTABLE_DUE_TO_POLICY). ERR_INVALID_HEADER_VALUE for a
 * date that has passed. */
err store_blob_set_immutability(store *s, store_call c, const store_container *k, slice name,
                                store_pick pick, const store_conditions *cond,
                                const store_immutability *x, store_blob *ret) CHECKED;
/* From that moment on the blob is not there; its space is given back in the background.
 * ERR_INVALID_HEADER_VALUE for a time that has passed. */
err store_blob_set_expiry(store *s, store_call c, const store_container *k, slice name,
                          const store_conditions *cond, const store_expiry *x,
                          store_blob *ret) CHECKED;

typedef enum store_snapshots {
    STORE_SNAPSHOTS_REFUSE,  /* ERR_SNAPSHOTS_PRESENT when the blob has any */
    STORE_SNAPSHOTS_INCLUDE, /* the blob and its snapshots */
    STORE_SNAPSHOTS_ONLY     /* its snapshots only */
} store_snapshots;
typedef struct store_delete {
    store_pick pick;
    store_snapshots snapshots; /* of the current state */
    bool permanent;            /* a soft-deleted snapshot or version, for good */
} store_delete;
/* d NULL: the current state, unless it has snapshots. ret_permanent (may be NULL): false when what
 * was deleted is kept, soft-deleted or as a version. Of more than STORE_HISTORY_STEP snapshots,
 * so many go at a time, oldest first: each step is whole, and a crash between two leaves the rest.
 * ERR_SNAPSHOTS_PRESENT; ERR_OPERATION_NOT_ALLOWED_ON_ROOT_BLOB: the version is the current one;
 * ERR_BLOB_SNAPSHOT_NOT_SOFT_DELETED, ERR_PERMANENT_DELETE_NOT_ENABLED (d->permanent). */
err store_blob_delete(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_delete *d,
                      bool *ret_permanent) CHECKED;

/* Restores all that is soft-deleted of the blob: the blob itself when it has no current state, its
 * snapshots and its versions; no version becomes current. In steps, as store_blob_delete.
 * ERR_BLOB_NOT_FOUND: neither the blob nor anything deleted is there. */
err store_blob_undelete(store *s, store_call c, const store_container *k, slice name) CHECKED;

/* A snapshot of the current state; metadata (may be NULL): its own, instead of the blob's. ret: the
 * snapshot; its version is the current state's, which versioning makes anew.
 * ERR_SNAPSHOT_COUNT_EXCEEDED. */
err store_blob_snapshot(store *s, store_call c, const store_container *k, slice name,
                        const store_conditions *cond, const pair *metadata, size_t metadata_count,
                        store_blob *ret) CHECKED;
/* cond: without lease_id. ERR_LEASE_ALREADY_PRESENT, ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION,
 * ERR_LEASE_NOT_PRESENT_WITH_LEASE_OPERATION, ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_ACQUIRED,
 * ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_CHANGED, ERR_LEASE_IS_BROKEN_AND_CANNOT_BE_RENEWED. */
err store_blob_lease(store *s, store_call c, const store_container *k, slice name,
                     const store_conditions *cond, const store_lease_ask *ask,
                     store_lease_answer *ret) CHECKED;

typedef struct store_blob_list {
    slice prefix;
    slice delimiter;  /* empty: flat; may be several bytes */
    slice marker;     /* position from an earlier page, or empty */
    slice start_from; /* first name to list, inclusive; empty: from the beginning */
    size_t max;       /* 1..STORE_LIST_MAX: blobs and prefixes together */
    bool uncommitted; /* include blobs that have only uncommitted blocks */
    bool snapshots, versions, deleted; /* include those states */
    bool deleted_with_versions; /* include names without a current state that have versions */
    bool metadata;              /* decode metadata: without it, metadata_count is 0 */
    bool tags; /* decode tags: without it, `tags` is NULL; tag_count is right either way */
    bool copy; /* what a copy says is asked for as well; the store gives it in any case */
} store_blob_list;
/* Calls each entry in order of names (UTF-8 bytewise): a blob, or (blob NULL) a common prefix. Of
 * one name the states come oldest first, the current one last. The
 * blob lives only during the call. When each says ERR_TOO_LARGE the page ends before that entry.
 * ret_next: opaque marker of the next page (arena), or empty.
 * ERR_OUT_OF_RANGE_INPUT for a marker this store did not make. Cost is that of the page, wherever
 * it lies. */
err store_blob_scan(store *s, store_call c, const store_container *k, const store_blob_list *q,
                    err (*each)(void *ctx, const store_blob *b, slice prefix), void *ctx,
                    slice *ret_next) CHECKED;

/* ---- where verifying all content has come to (scrub.c) ---- */
typedef struct store_scrub {
    slice account, container, marker; /* what is next; empty: a pass is about to begin */
    int64_t begun_us, ended_us; /* of the pass under way, of the last one; STORE_TIME_NONE: none */
    uint64_t bytes, blobs, damaged; /* of the pass under way, or else of the last */
} store_scrub;
/* In the arena; all empty at first. */
err store_scrub_get(store *s, store_call c, store_scrub *ret) CHECKED;
err store_scrub_put(store *s, store_call c, const store_scrub *v) CHECKED;
#define STORE_TABLES ENGINE_TABLE_COUNT
/* Reads rows of a table (0 to STORE_TABLES - 1) with their checksums, from a key on (empty: all), until there were
 * max bytes of them. ret_next: the key to go on from, in the arena; empty: that was all. ERR_CORRUPT. */
err store_rows_read(store *s, store_call c, unsigned table, slice from, uint64_t max,
                    slice *ret_next, uint64_t *ret_bytes) CHECKED;

/* ---- Find Blobs by Tags ---- */
typedef struct store_find {
    const store_tag_query *query; /* of store_tag_where */
    slice marker;                 /* position from an earlier page, or empty */
    size_t max;                   /* 1..STORE_LIST_MAX */
    bool unstated; /* without a purpose: nothing of containers that ask for one is found */
} store_find;
typedef struct store_found {
    slice container, name;
    const pair *tags; /* those that the query names */
    size_t tag_count;
} store_found;
/* Calls each current blob whose tags satisfy the query, in all containers of the account or (k not
 * NULL) in one. When each says ERR_TOO_LARGE the page ends before that blob. A page also ends after
 * 100,000 rows of the index, so it may hold fewer than max, even none, and have a next.
 *
 * Cost: that of the smallest set of rows that one of the query's tags leaves (all of its
 * comparisons together), once to find out which it is; never that of the container.
 * ret_visited: rows of the index that were read; may be NULL. ERR_OUT_OF_RANGE_INPUT for a marker
 * this store did not make. */
err store_blob_find(store *s, store_call c, const store_account *a, const store_container *k,
                    const store_find *q, err (*each)(void *ctx, const store_found *b), void *ctx,
                    slice *ret_next, size_t *ret_visited) CHECKED;

/* ---- check ---- */
typedef struct store_check_progress {
    uint64_t blobs, blocks, bytes; /* verified so far */
    uint64_t
        unopened; /* pieces under customers' keys, and under scopes whose key was destroyed: of them
                          length and place are verified */
    uint64_t defects;  /* that there are still */
    uint64_t repaired; /* by store_repair */
} store_check_progress;
/* Verifies every row, every stream's framing and every tag; reports each defect with account,
 * container and blob. progress (may be NULL) is called now and then. */
err store_check(store *s, engine_report *report, void (*progress)(void *, store_check_progress),
                void *ctx, store_check_progress *ret) CHECKED;

/* The same, and makes again what follows from other rows: the index of tags, expiry and protection; counters of
 * histories and of staged blocks, unless they count more than is there; slots of the vault that no row names are
 * given back. What cannot be made again (content, rows of blobs) is reported as by
 * store_check. Of a store without background work, that nobody else uses. */
err store_repair(store *s, engine_report *report, void (*progress)(void *, store_check_progress),
                 void *ctx, store_check_progress *ret) CHECKED;

/* Counters for metrics, kept while running. */
typedef struct store_opened_stats {
    uint64_t hits, misses; /* segments that were there, that had to be opened */
    uint64_t bytes, bytes_max, bytes_locked;
} store_opened_stats;
typedef struct store_stats {
    store_opened_stats opened;
    uint64_t garbage_pending; /* contents waiting for the reaper */
    uint64_t jobs_failing;    /* of the reaper's: failed, and tried again later */
    uint64_t readers_open, uploads_open;
} store_stats;
void store_get_stats(store *s, store_stats *ret);
