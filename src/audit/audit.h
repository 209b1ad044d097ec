/* audit: the record of accesses as a transparency log that outsiders verify.
 *
 * The engine's log is the truth: entries in commit order (engine.h). What is published of it follows C2SP to the
 * letter: RFC 6962 hashing, tlog-tiles, tlog-checkpoint, signed-note, tlog-proof (https://c2sp.org). A folder of
 * static files (tiles, entry bundles, checkpoint) is all that a verifier needs; the program serves it, and so
 * can any web server.
 *
 * What it promises
 *  1. A checkpoint is signed only over tiles that are durable, of entries that are.
 *  2. No two checkpoints that disagree are signed: what is published is a function of the engine's log, and a
 *     folder that says otherwise (a restored backup, another log's files) stops the builder, loudly.
 *  3. Files are written aside, synced, renamed, and their folder is synced, before anything names them.
 *
 *  4. Entries go only by retention (retain.c): from the front, once they are published, announced by an entry, whole
 *     bundles. The tree stays as it is: all hashes, so every receipt, holds.
 *
 * What an entry says is record.h's matter. What it needs from below: store (the log's row), engine (the log), crypto,
 * base. */
#pragma once

#include "audit/record.h"
#include "store/store.h"

#define AUDIT_HASH_LEN       32
#define AUDIT_TILE_WIDTH     256
#define AUDIT_TILE_BYTES     ((size_t)AUDIT_TILE_WIDTH * AUDIT_HASH_LEN) /* of a full one */
#define AUDIT_TILE_LEVELS    8                                           /* 256^8 entries */
#define AUDIT_NAME_MAX       200                                         /* of a key or an origin */
#define AUDIT_NOTE_MAX       (64u << 10)
#define AUDIT_SIGNATURES_MAX 64
#define AUDIT_SIGNATURE_MAX  8192 /* ML-DSA-44 ones are long */
#define AUDIT_CHECKPOINT_MAX AUDIT_NOTE_MAX
#define AUDIT_BUNDLE_MAX     ((size_t)AUDIT_TILE_WIDTH * (2 + 65535))
#define AUDIT_PROOF_HASHES   64
#define AUDIT_PATH_MAX       96 /* of a tile */

typedef struct audit_hash {
    uint8_t b[AUDIT_HASH_LEN];
} audit_hash;

/* ---- signed notes (note.c; https://c2sp.org/signed-note) ---- */

enum { AUDIT_ED25519 = 0x01, AUDIT_COSIGNATURE_V1 = 0x04 };

typedef struct audit_verifier { /* a verifier key */
    slice name;
    uint8_t type; /* AUDIT_ED25519 or AUDIT_COSIGNATURE_V1 */
    uint32_t id;
    uint8_t key[CRYPTO_ED25519_LEN];
} audit_verifier;

typedef struct audit_signer {
    slice name;
    uint8_t seed[CRYPTO_ED25519_LEN]; /* secret */
} audit_signer;

/* A key's name: 1..AUDIT_NAME_MAX bytes of UTF-8 without spaces, control characters and '+'. */
bool audit_name_valid(slice name);
void audit_verifier_of(const audit_signer *s, audit_verifier *ret); /* the name is borrowed */
/* "NAME+hex8+base64". */
void audit_verifier_put(buf *out, const audit_verifier *v);
/* ret's name points into text. ERR_INVALID_INPUT with what is wrong. */
err audit_verifier_parse(slice text, audit_verifier *ret) CHECKED;

/* The note of a text that ends with a newline, with one Ed25519 signature. */
void audit_note_sign(buf *out, slice text, const audit_signer *s);
typedef struct audit_note {
    slice text; /* with its last newline */
    struct audit_signature {
        slice name;
        uint32_t id;
        slice line;      /* the whole line, with its newline */
        slice signature; /* without the id; in the arena */
    } signature[AUDIT_SIGNATURES_MAX];
    size_t count;
} audit_note;
/* Slices point into `in` and the arena. ERR_INVALID_INPUT. */
err audit_note_parse(arena *a, slice in, audit_note *ret) CHECKED;
/* Whether v signed it. ERR_NOT_FOUND: there is no signature of it; ERR_CORRUPT: one that does not verify.
 * ret_time (may be NULL): of a cosignature, in seconds. */
err audit_note_verify(const audit_note *n, const audit_verifier *v, uint64_t *ret_time) CHECKED;

/* ---- checkpoints (note.c; https://c2sp.org/tlog-checkpoint) ---- */

typedef struct audit_checkpoint {
    slice origin;
    uint64_t size;
    audit_hash root;
} audit_checkpoint;
void audit_checkpoint_put(buf *out, const audit_checkpoint *c); /* the text of its note */
/* Extension lines are passed over. ERR_INVALID_INPUT. */
err audit_checkpoint_parse(slice text, audit_checkpoint *ret) CHECKED;

/* ---- witnesses: who must cosign (policy.c; https://c2sp.org/tlog-policy) ---- */

#define AUDIT_POLICY_MAX 32 /* logs, witnesses and groups, of each */
#define AUDIT_POLICY_LEN (64u << 10)

typedef struct audit_policy_witness {
    slice name; /* in the policy */
    audit_verifier key;
    slice url; /* its submission prefix; empty: it is only checked */
} audit_policy_witness;

typedef struct audit_policy {
    audit_verifier log[AUDIT_POLICY_MAX];
    audit_policy_witness witness[AUDIT_POLICY_MAX];
    struct audit_policy_group {
        slice name;
        unsigned need, members;
        unsigned member[2 * AUDIT_POLICY_MAX]; /* witnesses; from AUDIT_POLICY_MAX on groups */
    } group[AUDIT_POLICY_MAX];
    unsigned logs, witnesses, groups;
    bool member[2 * AUDIT_POLICY_MAX]; /* who is a member of a group */
    bool has_quorum, demands;          /* demands: the quorum is not "none" */
    unsigned quorum;
} audit_policy;
/* ret's slices point into text. ERR_INVALID_INPUT, which names the line and what is wrong in it. */
err audit_policy_parse(slice text, audit_policy *ret) CHECKED;
/* Whether these witnesses are enough. */
bool audit_policy_met(const audit_policy *p, const bool cosigned[AUDIT_POLICY_MAX]);
/* Whether the note, a checkpoint, is one that the policy takes: signed by one of its logs, when it lists any, and
 * cosigned by enough. ERR_CORRUPT: it is not, or a cosignature does not verify. ERR_INVALID_INPUT: no checkpoint. */
err audit_policy_check(const audit_policy *p, const audit_note *n) CHECKED;

/* ---- the tree (tree.c; RFC 6962, 2.1) ---- */

void audit_leaf_hash(slice entry, audit_hash *ret);
void audit_node_hash(const audit_hash *left, const audit_hash *right, audit_hash *ret);

/* A tree of which only the right edge is kept: enough to append and to know the root. */
typedef struct audit_tree {
    uint64_t size;
    audit_hash
        edge[64]; /* of the complete subtrees that size's bits stand for, at the bit's number */
} audit_tree;
void audit_tree_append(audit_tree *t, const audit_hash *leaf);
void audit_tree_root(const audit_tree *t,
                     audit_hash *ret); /* of an empty tree: SHA-256 of nothing */

/* Where a proof gets hashes from: the root of the complete subtree of 2^height leaves that begins at leaf
 * index << height. */
typedef struct audit_hashes {
    void *ctx;
    err (*get)(void *ctx, unsigned height, uint64_t index, audit_hash *ret) CHECKED;
} audit_hashes;
/* index < size. ret has room for AUDIT_PROOF_HASHES. */
err audit_prove_inclusion(const audit_hashes *h, uint64_t index, uint64_t size, audit_hash *ret,
                          size_t *ret_count) CHECKED;
/* 0 < old_size <= size; ret is empty when they are the same. */
err audit_prove_consistency(const audit_hashes *h, uint64_t old_size, uint64_t size,
                            audit_hash *ret, size_t *ret_count) CHECKED;
bool audit_inclusion_holds(const audit_hash *leaf, uint64_t index, uint64_t size,
                           const audit_hash *proof, size_t count, const audit_hash *root);

/* ---- tiles (tile.c; https://c2sp.org/tlog-tiles) ---- */

#define AUDIT_ENTRIES (-1) /* as a level: the entry bundles */

typedef struct audit_tile {
    int level; /* AUDIT_ENTRIES or 0..63 */
    uint64_t index;
    unsigned width; /* 1..256; 256: full */
} audit_tile;
/* "tile/0/x001/234.p/5". */
void audit_tile_path(buf *out, const audit_tile *t);
size_t audit_tile_max(int level); /* bytes of the longest file of that level */
/* ERR_INVALID_INPUT for anything but what audit_tile_path writes. */
err audit_tile_parse(slice path, audit_tile *ret) CHECKED;
/* How wide tile `index` of a level is in a tree of `size`: 0 when it is not there. */
unsigned audit_tile_width(int level, uint64_t index, uint64_t size);

/* ---- a published log: reading (source.c, verify.c, proof.c) ---- */

typedef struct audit_source { /* a folder, or a server */
    void *ctx;
    /* The file of that path below the log, at most max bytes, in the arena. ERR_NOT_FOUND. */
    err (*get)(void *ctx, arena *a, const char *path, size_t max, slice *ret) CHECKED;
} audit_source;
/* A folder's. path is borrowed. */
audit_source audit_folder(const char *path);

/* The source's checkpoint, signed by v. ret's origin points into the arena. ERR_CORRUPT with what is wrong. */
err audit_read_checkpoint(const audit_source *s, arena *a, const audit_verifier *v,
                          audit_checkpoint *ret, slice *ret_note) CHECKED;

/* The log's minimum index (tlog-tiles, Pruning): entries below it were removed by retention. 0 when the source has no
 * file minimum-index; else a multiple of 256 below the checkpoint's size. ERR_CORRUPT. */
err audit_read_minimum(const audit_source *s, arena *a, const audit_checkpoint *c,
                       uint64_t *ret) CHECKED;

typedef struct audit_report {
    uint64_t minimum; /* the first entry that is there */
    uint64_t entries, tiles, bundles, bytes;
} audit_report;
/* Reads the whole log from its minimum index on: each bundle's entries against its tile, each tile against the one
 * above, the root against the checkpoint; and that an entry tells of the removal of those below the minimum.
 * ERR_CORRUPT with the first entry or tile that does not fit. progress (may be NULL) is called now
 * and then. each (may be NULL): every entry, once it is known to be in the tree. */
err audit_verify(const audit_source *s, const audit_checkpoint *c,
                 void (*progress)(void *ctx, uint64_t done), engine_log_each *each, void *ctx,
                 audit_report *ret) CHECKED;

/* A receipt for one entry (https://c2sp.org/tlog-proof), with the entry itself as its extra data. The note is the
 * source's checkpoint. ERR_NOT_FOUND for an entry that it does not cover, or that retention removed. */
err audit_prove(const audit_source *s, arena *a, uint64_t index, const audit_checkpoint *c,
                slice note, buf *out) CHECKED;
/* That the tree of `size` entries begins with that of old_size, from the source's tiles; 0 < old_size <= size.
 * ret has room for AUDIT_PROOF_HASHES. */
err audit_prove_growth(const audit_source *s, arena *a, uint64_t old_size, uint64_t size,
                       audit_hash *ret, size_t *ret_count) CHECKED;
typedef struct audit_proof {
    uint64_t index;
    slice entry; /* the extra data; empty: none */
    audit_hash hash[AUDIT_PROOF_HASHES];
    size_t count;
    slice note;
} audit_proof;
/* Slices point into `in` and the arena. ERR_INVALID_INPUT. */
err audit_proof_parse(arena *a, slice in, audit_proof *ret) CHECKED;
/* Whether the receipt holds for `entry` under v's key. ERR_CORRUPT with what does not. */
err audit_proof_check(arena *a, const audit_proof *p, slice entry, const audit_verifier *v,
                      audit_checkpoint *ret) CHECKED;

/* ---- witnesses: asking them (witness.c; https://c2sp.org/tlog-witness) ---- */

typedef struct audit_witnesses audit_witnesses;
/* A thread for each witness of the policy that has a URL. folder: the published log. policy_text and folder are
 * copied. ca_file: authorities for https instead of the system's, or NULL. ERR_INVALID_INPUT: the policy, as
 * audit_policy_parse; it has logs and not this one's key; the quorum cannot be met by those with URLs. */
err audit_witnesses_start(slice policy_text, const char *folder, const audit_verifier *log,
                          const char *ca_file, audit_witnesses **ret) CHECKED;
audit_witnesses *audit_witnesses_stop(audit_witnesses *w);
/* Whether the policy wants any cosignature at all (its quorum is not "none"). */
bool audit_witnesses_demand(const audit_witnesses *w);
/* Asks all for cosignatures of a checkpoint, whose tiles are durable, and appends those that came to out, one a
 * witness, after the note itself. held: entries in the store, at least the checkpoint's; a witness that has cosigned
 * more contradicts it, one that has cosigned more than this checkpoint only waits for a later one. Returns whether
 * the policy is met. Waits until all have answered, soon after the policy is met, and AUDIT_WITNESS_WAIT_US at most. */
bool audit_witnesses_collect(audit_witnesses *w, const audit_checkpoint *c, uint64_t held,
                             slice note, buf *out);
/* Ends a collect under way, and makes those after it short. */
void audit_witnesses_hurry(audit_witnesses *w);
#define AUDIT_WITNESS_WAIT_US 10000000

#define AUDIT_WITNESS_ANSWER 320
typedef struct audit_witness_stats {
    slice name;          /* the witnesses' */
    uint64_t size;       /* the largest checkpoint that it cosigned */
    uint64_t cosigned_s; /* when, in seconds since 1970; 0: not yet */
    uint64_t cosignatures, failures;
    uint64_t refuses; /* 1: what it says contradicts the log: the server's log says how */
    char answer
        [AUDIT_WITNESS_ANSWER]; /* ASCII: what came of the last question; empty: none was put */
    uint64_t answered_s;        /* when */
    bool fails;                 /* that was no cosignature */
} audit_witness_stats;
size_t audit_witnesses_stats(audit_witnesses *w, audit_witness_stats ret[AUDIT_POLICY_MAX]);

/* ---- a published log: writing (publish.c, build.c) ---- */

typedef struct audit_publisher audit_publisher;
/* Where a log begins whose first `minimum` entries are gone: a multiple of 256, and the hashes of the tree of those
 * entries that the tiles above need (store_log_retention.edge). */
typedef struct audit_base {
    uint64_t minimum;
    slice edge;
} audit_base;
/* Opens the folder, made when it is not there, and goes on after what its checkpoint covers; without a checkpoint,
 * from the base on (borrowed; NULL: from 0). ERR_CORRUPT: what is there is not this key's, or damaged. */
err audit_publisher_open(const char *folder, const audit_signer *signer, const audit_base *base,
                         audit_publisher **ret) CHECKED;
audit_publisher *audit_publisher_close(audit_publisher *p);
uint64_t audit_publisher_size(const audit_publisher *p); /* of its checkpoint */
/* Whether the last bundle of the checkpoint ends with this entry, its last. True for an empty log. */
bool audit_publisher_ends_with(const audit_publisher *p, slice entry);
/* The next entry; full tiles and bundles are written as they fill up. ERR_IO, and then nothing more is taken. */
err audit_publisher_add(audit_publisher *p, slice entry) CHECKED;
uint64_t audit_publisher_added(const audit_publisher *p); /* of what was added */
/* Makes all that was added durable, then signs its checkpoint. ret's origin is the publisher's. */
err audit_publisher_sign(audit_publisher *p, audit_checkpoint *ret, buf *note) CHECKED;
/* Writes the checkpoint that was signed last, perhaps with more signatures. */
err audit_publisher_put(audit_publisher *p, slice note) CHECKED;
/* Makes `minimum` the folder's minimum index, then removes the bundles of [from, minimum), multiples of 256 under its
 * checkpoint. Durable when it returns OK; what it was interrupted in can be done again. ERR_IO as above. */
err audit_publisher_remove(audit_publisher *p, uint64_t from, uint64_t minimum) CHECKED;
/* For audit_base: the hashes of the tree of the first `minimum` entries, a multiple of 256 under its checkpoint, known to
 * lead to that. In the arena. ERR_CORRUPT. */
err audit_publisher_edge(const audit_publisher *p, arena *a, uint64_t minimum, slice *ret) CHECKED;

typedef struct audit_builder audit_builder;
typedef struct audit_builder_options {
    engine *engine;
    const char *folder;
    audit_signer signer;
    audit_witnesses *witnesses; /* outlive it; NULL: none */
    /* Retention: whose log it is (NULL: of a bare engine, whose entries are kept for ever), how long entries are kept in
     * seconds (0: for ever), and what they name as the place (outlives it). */
    store *store;
    uint64_t keep_s;
    slice region;
} audit_builder_options;
typedef struct audit_builder_stats {
    uint64_t published; /* entries under the checkpoint */
    uint64_t checkpoints;
    uint64_t removed; /* entries that retention removed since the start */
    uint64_t waiting; /* audit_builder_await: now */
    uint64_t in_vain; /* and those that ended without, since the start */
    bool stopped;     /* it found what must not be, and signs nothing more; the log says what */
} audit_builder_stats;
/* A thread that publishes what the engine's log holds, at least once a second while there is something new.
 * ERR_CORRUPT when folder and log do not belong together. */
err audit_builder_start(const audit_builder_options *o, audit_builder **ret) CHECKED;
/* Publishes what is there, and ends. */
audit_builder *audit_builder_stop(audit_builder *b);

/* Somebody who waits until what is in the record now is under a published checkpoint, with the cosignatures that the
 * policy demands. In memory of the caller, until done is called. */
typedef struct audit_wait {
    engine_done *done;
    void *ctx;
    /* the builder's */
    uint64_t size;
    int64_t until_us;
    struct audit_wait *next;
} audit_wait;
/* done and ctx are set. done is called once, by any thread, also by this one; it must not block. ERR_NOT_WITNESSED:
 * it has not come to that within wait_us, or no more is published. Between two looks at the time a witness may be asked
 * (AUDIT_WITNESS_WAIT_US). */
void audit_builder_await(audit_builder *b, audit_wait *w, int64_t wait_us);
/* Waits end in at most wait_us from now on. */
void audit_builder_hurry(audit_builder *b, int64_t wait_us);
void audit_builder_get_stats(audit_builder *b, audit_builder_stats *ret);
