/* Block blobs in blocks: Put Block, Put Block List, Get Block List. */
#include "blob/internal.h"

/* 50,000 blocks with ids of 64 bytes; 150,000 for Get Block List. */
#define PICKS_ARENA_MAX ((size_t)64 << 20)
/* Base64 of an id, and then some: the id itself is measured when it is decoded. */
#define ID_TEXT_MAX      ((size_t)4 * STORE_BLOCK_ID_MAX)
#define BLOCKS_ARENA_MAX ((size_t)128 << 20)

/* ---- Put Block ----------------------------------------------------------------------------------- */

err blob_block_id_read(ops_request *r, slice *ret) {
    slice v = ops_param(r, "blockid");
    ENSURE(v.len > 0, ERR_MISSING_REQUIRED_QUERY_PARAMETER, "blockid is missing");
    ENSURE(v.len <= ID_TEXT_MAX && base64_get(r->arena, v, ret) == OK,
           ERR_INVALID_QUERY_PARAMETER_VALUE,
           "blockid: '%.*s' is not base64 (in a URL, percent-encode '+', '/' and '=')",
           SLICE_ARG(slice_take(v, 96)));
    ENSURE(ret->len >= 1 && ret->len <= STORE_BLOCK_ID_MAX, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "blockid has %zu bytes before base64; 1 to %d are allowed", ret->len,
           STORE_BLOCK_ID_MAX);
    return OK;
}

static err empty_block(void) {
    return err_fail(ERR_INVALID_HEADER_VALUE, "Content-Length is 0; a block has at least one byte");
}

err blob_put_block(ops_request *r, ops_response *w) {
    slice id;
    blob_sums said;
    store_conditions cond;
    store *s = r->server->store;
    if (r->nowait && !store_upload_in_memory(s, r->content_length)) return ERR_WOULD_BLOCK;
    TRY(blob_enter(r));
    TRY(blob_block_id_read(r, &id));
    TRY(ops_conditions(r, &cond));
    TRY(blob_sums_read(r, &said));
    if (r->content_length == 0) return empty_block();
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_upload_new(r, k, r->content_length, STORE_BLOCK_LEN_MAX,
                        said.has_md5 ? STORE_UPLOAD_MD5 : 0, &u));
    TRY(blob_upload_body(r, u, &said));
    if (store_upload_len(u) == 0) return empty_block();
    uint64_t crc = store_upload_crc64(u);
    slice scope = arena_dup(r->arena, store_upload_scope(u));
    TRY(store_block_put(s, ops_call(r), k, r->blob, id, u, cond.lease_id));
    u = NULL; /* the store's now */
    w->status = 201;
    if (said.has_md5)
        blob_set_md5(r, w, "Content-MD5", said.md5);
    else
        blob_set_crc64(r, w, crc);
    blob_set_encrypted(r, w, scope);
    return OK;
}

/* ---- Put Block List ------------------------------------------------------------------------------ */

static bool source_of(slice name, store_block_source *ret) {
    if (slice_eq(name, S("Latest")))
        *ret = STORE_BLOCK_LATEST;
    else if (slice_eq(name, S("Committed")))
        *ret = STORE_BLOCK_COMMITTED;
    else if (slice_eq(name, S("Uncommitted")))
        *ret = STORE_BLOCK_UNCOMMITTED;
    else
        return false;
    return true;
}

static err picks_open(void *ctx, unsigned depth, slice name) {
    (void)ctx;
    store_block_source source;
    if (depth == 1) return slice_eq(name, S("BlockList")) ? OK : xml_unsupported(name);
    return depth == 2 && source_of(name, &source) ? OK : xml_unsupported(name);
}

static err picks_room(blob_picks *p) {
    if (p->count < p->room) return OK;
    ENSURE(p->count < STORE_COMMITTED_BLOCKS_MAX, ERR_BLOCK_LIST_TOO_LONG,
           "the list has more than %d blocks", STORE_COMMITTED_BLOCKS_MAX);
    size_t room = p->room ? p->room * 2 : 64;
    if (room > STORE_COMMITTED_BLOCKS_MAX) room = STORE_COMMITTED_BLOCKS_MAX;
    void *more =
        arena_grow_try(p->arena, p->pick, p->room * sizeof *p->pick, room * sizeof *p->pick);
    ENSURE(more != NULL, ERR_NO_MEMORY, "no room for %zu blocks of the list", room);
    p->pick = more;
    p->room = room;
    return OK;
}

static err picks_close(void *ctx, unsigned depth, slice name, slice text) {
    blob_picks *p = ctx;
    if (depth == 1) {
        ENSURE(text.len == 0, ERR_INVALID_XML_DOCUMENT, "BlockList holds elements, not text");
        return OK;
    }
    TRY(picks_room(p));
    store_block_pick *to = &p->pick[p->count];
    MUST(source_of(name, &to->source));
    ENSURE(text.len > 0 && text.len <= ID_TEXT_MAX && base64_get(p->arena, text, &to->id) == OK &&
               to->id.len >= 1 && to->id.len <= STORE_BLOCK_ID_MAX,
           ERR_INVALID_XML_NODE_VALUE,
           "block %zu of the list: '%.*s' is not the base64 of 1 to %d bytes", p->count + 1,
           SLICE_ARG(slice_take(text, 96)), STORE_BLOCK_ID_MAX);
    p->count++;
    return OK;
}

const xml_visitor blob_picks_visitor = {picks_open, picks_close};

typedef struct list_body {
    xml_reader *xml;
    crypto_md5_state *md5; /* NULL: not asked for */
    uint64_t crc;
    uint64_t len;
} list_body;

static err take_piece(list_body *b, slice piece) {
    b->len += piece.len;
    ENSURE(b->len <= BLOB_BLOCK_LIST_MAX, ERR_REQUEST_BODY_TOO_LARGE,
           "a block list has at most %llu bytes", (unsigned long long)BLOB_BLOCK_LIST_MAX);
    b->crc = crc64(b->crc, piece);
    if (b->md5 != NULL) crypto_md5_update(b->md5, piece);
    return xml_reader_feed(b->xml, piece);
}

static err take_body(ops_request *r, list_body *b) {
    if (r->body.p != NULL || r->content_length == 0) {
        if (r->body.len > 0) TRY(take_piece(b, r->body));
        return xml_reader_end(b->xml);
    }
    for (slice piece;;) {
        TRY(r->body_take(r, &piece));
        if (piece.len == 0) return xml_reader_end(b->xml);
        TRY(take_piece(b, piece));
    }
}

/* The document, and its checksums as sent with it. */
static err read_list(ops_request *r, const blob_sums *said, blob_picks *picks, uint64_t *ret_crc) {
    list_body b = {.xml = xml_reader_new(&blob_picks_visitor, picks)};
    uint8_t md5[16];
    if (said->has_md5) b.md5 = crypto_md5_new();
    err e = take_body(r, &b);
    xml_reader_free(b.xml);
    if (e == OK && b.md5 != NULL) {
        crypto_md5_final(b.md5, md5);
    } else {
        crypto_md5_free(b.md5);
    }
    TRY(e);
    *ret_crc = b.crc;
    return blob_sums_check(said, md5, b.crc);
}

static void free_arena(arena **a) {
    arena_free(*a);
}

err blob_put_block_list(ops_request *r, ops_response *w) {
    blob_put_asks a;
    store_blob b;
    uint64_t crc;
    TRY(blob_enter(r));
    TRY(blob_put_asks_read(r, false, &a));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    arena *mem CLEANUP(free_arena) = arena_new(16 << 10, PICKS_ARENA_MAX);
    blob_picks picks = {.arena = mem};
    TRY(read_list(r, &a.said, &picks, &crc));
    err e = store_block_list_put(r->server->store, ops_call(r), k, r->blob, picks.pick, picks.count,
                                 &a.put, &b);
    TRY(blob_overwrite_error(e, a.forced));
    w->status = 201;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_version(r, w, &b);
    if (a.said.has_md5) /* of the list, as everything here about the body */
        blob_set_md5(r, w, "Content-MD5", a.said.md5);
    else
        blob_set_crc64(r, w, crc);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}

/* ---- Get Block List ------------------------------------------------------------------------------ */

static err read_type(const ops_request *r, bool *ret_committed, bool *ret_uncommitted) {
    slice v = ops_param(r, "blocklisttype");
    bool all = slice_eq_nocase(v, S("all"));
    *ret_committed = all || v.len == 0 || slice_eq_nocase(v, S("committed"));
    *ret_uncommitted = all || slice_eq_nocase(v, S("uncommitted"));
    ENSURE(*ret_committed || *ret_uncommitted, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "blocklisttype: '%.*s' is not committed, uncommitted or all",
           SLICE_ARG(slice_take(v, 32)));
    /* Public access shows what is committed ("Get Block List"). */
    ENSURE(!*ret_uncommitted || r->caller.kind != AUTH_ANONYMOUS || !r->server->authenticate,
           ERR_NO_AUTHENTICATION_INFORMATION,
           "uncommitted blocks are shown to signed requests only");
    return OK;
}

static void put_blocks(buf *b, slice name, const store_block *blocks, size_t count) {
    buf_byte(b, '<');
    buf_put(b, name);
    if (count == 0) {
        buf_put(b, S(" />"));
        return;
    }
    buf_byte(b, '>');
    for (size_t i = 0; i < count; i++) {
        buf_put(b, S("<Block><Name>"));
        base64_put(b, blocks[i].id);
        buf_put(b, S("</Name><Size>"));
        buf_u64(b, blocks[i].length);
        buf_put(b, S("</Size></Block>"));
    }
    buf_put(b, S("</"));
    buf_put(b, name);
    buf_byte(b, '>');
}

typedef struct block_lists {
    store_blob blob;
    bool exists;
    store_block *committed, *uncommitted;
    size_t committed_count, uncommitted_count;
} block_lists;

static err answer_lists(ops_request *r, ops_response *w, const block_lists *l, bool committed,
                        bool uncommitted) {
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<BlockList>"));
    if (committed) put_blocks(&b, S("CommittedBlocks"), l->committed, l->committed_count);
    if (uncommitted) put_blocks(&b, S("UncommittedBlocks"), l->uncommitted, l->uncommitted_count);
    buf_put(&b, S("</BlockList>"));
    w->status = 200;
    if (l->exists) {
        blob_set_state(r, w, l->blob.etag, l->blob.modified_us);
        ops_set_u64(r, w, "x-ms-blob-content-length", l->blob.length);
    }
    return xml_answer(w, &b);
}

err blob_get_block_list(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_pick pick;
    bool committed, uncommitted;
    block_lists l = {0};
    TRY(blob_enter(r));
    TRY(blob_pick_read(r, &pick));
    TRY(ops_conditions(r, &cond));
    TRY(read_type(r, &committed, &uncommitted));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    /* Up to 150,000 blocks: in memory of their own, which goes before the answer does. */
    arena *mem CLEANUP(free_arena) = arena_new(16 << 10, BLOCKS_ARENA_MAX);
    store_call c = {.arena = mem, .nowait = r->nowait};
    TRY(store_block_list_get(r->server->store, c, k, r->blob, pick, &cond, committed, uncommitted,
                             &l.blob, &l.exists, &l.committed, &l.committed_count, &l.uncommitted,
                             &l.uncommitted_count));
    return answer_lists(r, w, &l, committed, uncommitted);
}
