/* What the files of the check share. check.c walks the tables, check_blob.c the rows of blobs,
 * check_content.c opens content. */
#pragma once

#include "store/pages.h"

typedef struct checked_container {
    uint64_t id, account_id;
    slice account, name;
    crypto_key key;
    bool has_key, purging; /* purging: a deleted one, whose rows are on their way out */
} checked_container;

typedef struct checked_account {
    uint64_t id;
    slice name;
} checked_account;

/* Garbage of the container that is being walked. */
typedef struct checked_garbage {
    row_garbage row;
    struct checked_garbage *next;
} checked_garbage;

#define GARBAGE_BUCKETS  4096
#define CHECK_CHUNKS     ((size_t)16) /* read at once */
#define CHECK_SEALED_MAX (CHECK_CHUNKS * CRYPTO_SEALED_CHUNK_LEN)

typedef struct check {
    store *s;
    engine_report *report;
    void (*progress)(void *, store_check_progress);
    void *ctx;
    store_check_progress done;
    bool repair;
    uint64_t next_progress; /* bytes and rows until progress is told again */
    uint64_t stream_bytes;  /* of all streams that rows own */
    arena *mem;             /* lives as long as the check */
    checked_container *containers;
    size_t container_count, container_room;
    checked_account *accounts;
    size_t account_count, account_room, account_last;
    id_set purged_accounts;
    id_set expiries; /* of the container that is being walked: check_expiry_id */
    /* Where the walk stands. */
    const checked_container *k; /* NULL: of an unknown container */
    uint64_t container;
    bool container_known;
    slice name;
    arena *garbage_mem;
    checked_garbage *garbage[GARBAGE_BUCKETS];
    uint8_t *sealed, *plain; /* for content_check */
    arena *group_mem;        /* of the blob where the walk stands */
} check;

/* What garbage of a blob says of a block list or a session. */
typedef enum check_ownership {
    CHECK_OWNED_BY_NOBODY,
    CHECK_ROWS_ONLY,
    CHECK_ROWS_AND_PIECES
} check_ownership;

/* All rows of blobs. */
err check_blobs(check *ck) CHECKED;
/* The walk comes to another container: its garbage and its expiries are read. */
err check_enter_container(check *ck, uint64_t id) CHECKED;
check_ownership check_garbage_owns(const check *ck, uint64_t manifest, uint64_t session);
/* Whether garbage of the blob names what stands at this offset of a list, or a map's generation. */
bool check_garbage_tail(const check *ck, uint64_t manifest, uint64_t at);
bool check_garbage_map(const check *ck, uint64_t content, uint64_t generation);
/* CONTENT rows that garbage of the blob names one by one. */
void check_own_garbage(const check *ck, id_set *owned);
uint64_t check_expiry_id(slice name, uint64_t tick, int64_t until_us);
void check_report_row(check *ck, const char *table, slice key, const char *what);
void check_tell_progress(check *ck);
/* ---- check_pages.c ---- */

typedef struct page_tally {
    uint64_t piece, pages;
    bool met; /* its row */
} page_tally;
/* Of the blob where the walk stands. */
typedef struct page_check {
    uint64_t content, last_end;
    char kind;
    page_states states;
    page_tally *slots;
    size_t count, room;
} page_check;
/* current: the blob's row, or NULL. Errors only when the check cannot go on. */
err pages_run(check *ck, page_check *pc, blob_key *key, char kind, slice rest, slice value,
              const row_blob *current) CHECKED;
/* After all runs. ret: the row; no pages when it is damaged, or garbage names it. */
void pages_piece(check *ck, page_check *pc, slice rest, slice value, row_page_piece *ret);
void pages_end(check *ck, page_check *pc);

/* ---- check.c, check_content.c ---- */

/* Room for one more element of an array. */
void *check_grow(void *array, size_t count, size_t *room, size_t size);
const checked_container *check_container(const check *ck, uint64_t id); /* or NULL */
void check_report_row(check *ck, const char *table, slice key, const char *what);
/* A current blob's tags against the index; a row of the index against its blob (check_index.c). */
void index_check_blob(check *ck, blob_key *key, const row_blob *blob, arena *a);
void index_check_row(check *ck, slice key, slice value);
/* Reports a defect at the blob where the walk stands. */
void check_defect(check *ck, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Opens all of a piece and compares its length and checksum; reports what is wrong. Errors only
 * when the check cannot go on. scope: that it is under; of one whose key was destroyed as content_look. */
err content_check(check *ck, blob_key *key, const row_piece *p, slice scope) CHECKED;
/* The same of a piece under a customer's key, as far as it goes without: all of it is there and can
 * be read, and it has its length. */
err content_look(check *ck, blob_key *key, const row_piece *p) CHECKED;
/* Adds the stream to the account of stream_bytes; reports when it is not there. */
void content_count(check *ck, const row_piece *p, bool len_known);
