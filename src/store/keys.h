/* keys: how rows are named. The whole key layout of the store stands here;
 * docs/decisions/0003-rows.md says why it is so.
 *
 * Parts of keys
 *   ID      a 64-bit id as 13 characters of base32hex in lower case (0-9a-v): sorts as the number does
 *   NAME    a blob's name, UTF-8: byte 01 is written 01 02, the end is 01 01. Names hold no NUL; keys
 *           neither, and sort as the names' UTF-8 bytes do, a name before those it is a prefix of
 *   BASE    ID of the container, NAME
 *   HEX16   a 64-bit number as 16 hexadecimal digits
 *
 * META     'a' account name                    an account
 *          'c' ID(account) container name      a container
 *          's' ID(account)                     the properties of an account's blob service
 *          'l' ID(account)                     its lifecycle policy
 *          'e' ID(account) scope name          an encryption scope
 *          'L'                                 the log's key
 *          'o' name                            who may look at the record from elsewhere
 *          'd' ID(account) container name 01 HEX16(version)
 *                                              a deleted container that can be restored
 *          All rows of an account's containers belong to the shard ID(account): names move between them.
 * BLOB     BASE '0'                            the current state of a blob
 *          BASE '1'                            a marker: blocks are staged under this name (for listings)
 * BLOCK    BASE 'm' ID(content) HEX16(end) HEX4(n)
 *                                              chunk n of a block list, which ends before offset `end`: the
 *                                              first such key past offset+1 holds the block with `offset`
 *          BASE 'u' ID(session) hex(id)        a staged block
 *          BASE 'p' ID(content) HEX16(end)     pages of a page blob, which end before offset `end`
 *          BASE 'o' ID(content) HEX16(end) HEX16(born)
 *                                              pages that only an earlier state shows (pages.h)
 *          BASE 'q' ID(content) ID(piece)      a piece that holds pages
 *          BASE 'x' ID(content) HEX16(~generation)
 *                                              a generation of the pages that a state other than the
 *                                              current one shows; the newest sorts first
 * CONTENT  BASE ID(piece)                      sealed bytes of a small piece of content
 * HISTORY  BASE HEX16(tick)                    a state of the blob beside its current one: snapshot,
 *                                              version, or what a soft delete keeps
 * INDEX    'c' ID(container) TAG NAME          a current blob of the container that has the tag
 *          'a' ID(account) TAG ID(container) NAME
 *                                              the same, for searches through the account. TAG is the tag's key, 01,
 *                                              its value, 01: tags hold no byte below a space, so these sort by key,
 *                                              then value. NAME without its end
 *          'w' ID(container) NAME              a blob with an immutability policy or a legal hold
 *          'e' ID(time) BASE                   a blob that is gone at that time (microseconds)
 * JOB      's' BASE                            staging session of a blob: which, how many, since when
 *          'h' BASE                            the head of a blob's history, as long as it has one
 *          'd' BASE HEX16(tick)                a dropped state: nobody sees it, its content is still to
 *                                              be given back
 *          'e' ID(container) HEX16(us) ID      a soft-deleted state, and until when it is kept
 *          'k' BASE                            a pending copy to a blob: from where
 *          'g' ID(container) ID                garbage: content to be given back
 *          'p' ID(container)                   a deleted container, to be purged
 *          'P' ID(account)                     a deleted account, to be purged
 *
 * A tick is a point in time, 100 ns since year 1 (base/clock.h); ticks of one blob's rows are never
 * used twice and rise with the order of its states (history.c).
 *
 * All rows of one blob belong to the shard BASE. A piece of content is named by an id that is never
 * used again, so rows under different pieces, contents and sessions never meet. */
#pragma once

#include "base/base.h"

#define KEY_ID_LEN   13
#define KEY_NAME_MAX (3 * (size_t)1024) /* bytes of an escaped name, without its end */
#define KEY_BASE_MAX (KEY_ID_LEN + KEY_NAME_MAX + 2)

#define KEY_STATE      '0'
#define KEY_MARKER     '1'
#define KEY_MANIFEST   'm'
#define KEY_STAGED     'u'
#define KEY_RUN        'p'
#define KEY_OLD_RUN    'o'
#define KEY_PAGE_PIECE 'q'
#define KEY_FROZEN     'x'

#define KEY_LOG      'L'
#define KEY_OVERSEER 'o'
#define KEY_SCOPE    'e'
#define KEY_SCRUB    'S'

#define KEY_JOB_STAGING       's'
#define KEY_JOB_HEAD          'h'
#define KEY_JOB_DROPPED       'd'
#define KEY_JOB_EXPIRY        'e'
#define KEY_JOB_COPY          'k'
#define KEY_JOB_GARBAGE       'g'
#define KEY_JOB_PURGE         'p'
#define KEY_JOB_PURGE_ACCOUNT 'P'

/* The keys of one blob: BASE is written once, each key_… writes its own end behind it and is valid
 * until the next call. */
typedef struct blob_key {
    size_t base; /* length of BASE */
    uint8_t b[1 + KEY_BASE_MAX + 160];
} blob_key;

/* name: valid (store_blob_name_valid). */
void key_blob(blob_key *k, uint64_t container, slice name);
slice key_base(const blob_key *k);    /* also the shard */
slice key_escaped(const blob_key *k); /* the name in BASE, without its end */
slice key_state(blob_key *k);
slice key_marker(blob_key *k);
slice key_content(blob_key *k, uint64_t piece);
slice key_manifest(blob_key *k, uint64_t content, uint64_t end, unsigned n);
slice key_manifest_all(blob_key *k, uint64_t content);
slice key_staged(blob_key *k, uint64_t session, slice id);
slice key_staged_all(blob_key *k, uint64_t session);
slice key_staging(blob_key *k);
slice key_head(blob_key *k);
slice key_past(blob_key *k, uint64_t tick);
slice key_dropped(blob_key *k, uint64_t tick);
slice key_dropped_all(blob_key *k);
/* What the keys of one kind (KEY_RUN …) of a page map begin with. */
slice key_pages(blob_key *k, char kind, uint64_t content);
slice key_run(blob_key *k, uint64_t content, uint64_t end);
slice key_old_run(blob_key *k, uint64_t content, uint64_t end, uint64_t born);
slice key_page_piece(blob_key *k, uint64_t content, uint64_t piece);
slice key_frozen(blob_key *k, uint64_t content, uint64_t generation);
slice key_copy(blob_key *k);

/* Keys of the index over tags. */
typedef struct index_key {
    size_t len;
    uint8_t b[1 + 2 * KEY_ID_LEN + 512 + KEY_NAME_MAX];
} index_key;
#define KEY_INDEX_CONTAINER 'c'
#define KEY_INDEX_ACCOUNT   'a'
#define KEY_INDEX_EXPIRY    'e'
#define KEY_INDEX_PROTECTED 'w'
#define KEY_TAG_END         1 /* after a tag's key and after its value */
/* kind, ID: what all rows of an owner begin with. */
void key_index(index_key *k, char kind, uint64_t owner);
void key_index_add(index_key *k, slice s); /* MUST fit */
void key_index_byte(index_key *k, uint8_t c);
void key_index_id(index_key *k, uint64_t id);
static inline slice key_index_slice(const index_key *k) {
    return (slice){k->b, k->len};
}
/* Splits a row's key: its owner, tag, container (of a container's row: the owner), and the name as
 * escaped. ERR_CORRUPT. */
typedef struct index_parts {
    uint8_t kind;
    uint64_t owner, container;
    pair tag;
    slice escaped;
} index_parts;
err key_index_take(slice key, index_parts *ret) CHECKED;

/* Short keys. */
typedef struct short_key {
    size_t len;
    uint8_t b[128];
} short_key;

static inline slice key_slice(const short_key *k) {
    return (slice){k->b, k->len};
}
void key_account(short_key *k, slice name);
void key_container(short_key *k, uint64_t account, slice name);
void key_service(short_key *k, uint64_t account);
/* name empty: what all scopes of the account begin with. */
void key_scope(short_key *k, uint64_t account, slice name);
void key_document(short_key *k, uint64_t account, char kind);
/* name empty: what all of them begin with. */
void key_overseer(short_key *k, slice name);
/* name alone (version 0): where the deleted containers of that name, and later names, begin. */
void key_deleted(short_key *k, uint64_t account, slice name, uint64_t version);
/* Splits what follows the account's id. ERR_CORRUPT. */
err key_deleted_take(slice rest, slice *ret_name, uint64_t *ret_version) CHECKED;
void key_garbage(short_key *k, uint64_t container, uint64_t id);
void key_expiry(short_key *k, uint64_t container, int64_t until_us, uint64_t id);
/* kind, ID: purge jobs, or what all garbage of a container begins with. */
void key_job(short_key *k, char kind, uint64_t id);
/* ID alone: what all rows of a container in BLOB, BLOCK and CONTENT begin with. */
void key_id(short_key *k, uint64_t id);
/* The end of the range of keys that begin with k: k and FF, which no key holds. */
void key_end(short_key *k);

void id_put(uint8_t out[KEY_ID_LEN], uint64_t id);
/* ERR_CORRUPT unless s begins with an id; moves s on. */
err id_take(slice *s, uint64_t *ret) CHECKED;

/* ERR_CORRUPT unless s begins with 16 hexadecimal digits; moves s on. */
err hex16_take(slice *s, uint64_t *ret) CHECKED;

/* Writes name escaped, without its end; out has room for 2 * name.len. Returns the length. */
size_t name_escape(uint8_t *out, slice name);
/* Splits a key behind its container id: the name as escaped (without its end), and what follows the
 * end. ERR_CORRUPT when there is no end. */
err name_take(slice *s, slice *ret_escaped) CHECKED;
/* The name itself; out has room for escaped.len. Returns escaped itself when nothing is escaped. */
slice name_unescape(uint8_t *out, slice escaped);
