/* Blobs: properties, Put Blob, changes of properties. */
#include "store/internal.h"

err blob_missing(slice name) {
    return err_fail(ERR_BLOB_NOT_FOUND, "there is no blob '%.*s'",
                    SLICE_ARG(slice_take(name, 256)));
}

err blob_from_row(arena *a, slice name, const row_blob *r, store_blob *ret) {
    store_blob b = r->pub;
    pair *pairs;
    TRY(row_pairs_get(a, r->metadata, &pairs, &b.metadata_count));
    b.metadata = pairs;
    if (b.tag_count) {
        pairs = arena_alloc(a, STORE_TAGS_MAX * sizeof *pairs);
        TRY(row_tags_get(r->tags, b.tag_count, pairs));
        b.tags = pairs;
    }
    b.name = name;
    b.current = r->past == ROW_PAST_NONE;
    *ret = b;
    return OK;
}

err blob_of_type(const row_blob *r, store_blob_type type) {
    static const char *const names[] = {"block", "page", "append"};
    ENSURE(r->pub.type == type, ERR_INVALID_BLOB_TYPE, "it is %s %s blob, not %s %s blob",
           r->pub.type == STORE_APPEND_BLOB ? "an" : "a", names[r->pub.type],
           type == STORE_APPEND_BLOB ? "an" : "a", names[type]);
    return OK;
}

condition_target target_of(const row_blob *r, bool exists) {
    return (condition_target){.exists = exists,
                              .etag = r->pub.etag,
                              .modified_us = r->pub.modified_us,
                              .lease = r->past == ROW_PAST_NONE ? &r->pub.lease : NULL,
                              .tags = r->tags,
                              .copying = exists && r->pub.copy.status == STORE_COPY_PENDING,
                              .tag_count = r->pub.tag_count};
}

static err current_row(store *s, store_call c, slice name, blob_key *key, row_blob *ret) {
    slice value;
    err e = engine_get(s->engine, ENGINE_BLOB, key_state(key), c.arena, c.nowait, &value);
    if (e == ERR_NOT_FOUND) return blob_missing(name);
    TRY(e);
    TRY(row_blob_get(value, ret));
    return blob_expired(ret) ? blob_missing(name) : OK;
}

/* The current state first: a version goes from there to the history, never back. */
static err picked_row(store *s, store_call c, slice name, store_pick pick, blob_key *key,
                      row_blob *ret) {
    uint64_t tick;
    if (pick.version) {
        err e = current_row(s, c, name, key, ret);
        if (e == OK && ret->pub.version == pick.version) return OK;
        if (e != ERR_BLOB_NOT_FOUND) TRY(e);
    }
    err e = past_find(s, c, key, pick, ret, &tick);
    if (e == ERR_NOT_FOUND || (e == OK && row_deleted(ret)))
        return err_fail(ERR_BLOB_NOT_FOUND, "the blob '%.*s' has no such %s",
                        SLICE_ARG(slice_take(name, 256)), pick.snapshot ? "snapshot" : "version");
    return e;
}

err blob_read_row(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                  const store_conditions *cond, blob_key *key, row_blob *ret) {
    if (!store_blob_name_valid(name)) return blob_missing(name);
    key_blob(key, k->id, name);
    if (pick.snapshot || pick.version)
        TRY(picked_row(s, c, name, pick, key, ret));
    else
        TRY(current_row(s, c, name, key, ret));
    return conditions_check(cond, CONDITION_READ, target_of(ret, true));
}

err hot_find(store *s, store_call c, const store_container *k, slice name,
             const store_conditions *cond, blob_key *key, row_blob *ret, hot_blob **ret_hot,
             uint64_t *ret_version) {
    if (!store_blob_name_valid(name)) return blob_missing(name);
    key_blob(key, k->id, name);
    hot_blob *hot = hot_get(&s->hot, key_base(key), ret_version);
    if (hot) {
        err e = row_blob_get(arena_dup(c.arena, hot->row), ret);
        if (e == OK && blob_expired(ret)) e = blob_missing(name);
        if (e == OK) e = conditions_check(cond, CONDITION_READ, target_of(ret, true));
        if (e != OK) {
            snap_unref(&hot->snap);
            return e;
        }
    }
    *ret_hot = hot;
    return OK;
}

static err get_row(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                   const store_conditions *cond, row_blob *ret) {
    blob_key key;
    hot_blob *hot = NULL;
    uint64_t version;
    if (!pick.snapshot && !pick.version)
        TRY(hot_find(s, c, k, name, cond, &key, ret, &hot, &version));
    if (!hot) return blob_read_row(s, c, k, name, pick, cond, &key, ret);
    snap_unref(&hot->snap);
    return OK;
}

err store_blob_get(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                   const store_conditions *cond, store_blob *ret) {
    row_blob row;
    err e = get_row(s, c, k, name, pick, cond, &row);
    if (e == OK) e = blob_from_row(c.arena, name, &row, ret);
    if (e == OK) copy_note_progress(s, ret);
    if (e == OK) entry_touch(c.record, ret);
    if (e == OK) return OK;
    if (e == ERR_NOT_MODIFIED) *ret = blob_unmodified(name, &row);
    return e;
}

store_blob blob_unmodified(slice name, const row_blob *row) {
    return (store_blob){.name = name, .etag = row->pub.etag, .modified_us = row->pub.modified_us};
}

/* ---- Put Blob ---- */

err metadata_pack(const pair *metadata, size_t count, arena *a, slice *ret) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += metadata[i].name.len + metadata[i].value.len;
    ENSURE(size <= STORE_METADATA_MAX, ERR_METADATA_TOO_LARGE,
           "metadata has %zu bytes, more than %d", size, STORE_METADATA_MAX);
    buf b;
    buf_init_arena(&b, a, (size_t)16 * STORE_METADATA_MAX);
    row_pairs_put(&b, metadata, count);
    TRY(buf_check(&b));
    *ret = buf_slice(&b);
    return OK;
}

err blob_new_version(change *ch, row_blob *r) {
    keeping p;
    TRY(change_keeping(ch, &p));
    r->pub.version = p.versioning ? r->pub.etag : 0;
    return OK;
}

err blob_new_row(change *ch, const store_put *p, const row_blob *old, row_blob *ret,
                 bool *ret_kept) {
    *ret_kept = false;
    TRY(change_head(ch));
    if (old->pub.content_id)
        TRY(change_retire(ch, old, RETIRE_OVERWRITE, ret_kept));
    else
        TRY(change_supersede_base(ch));
    store_now now = change_now(ch, old);
    row_blob r = {
        .pub = {.type = STORE_BLOCK_BLOB,
                .copy = p->copy ? *p->copy : STORE_NO_COPY,
                .etag = now.etag,
                .created_us = old->pub.content_id ? old->pub.created_us : now.us,
                .modified_us = now.us,
                .http = p->http,
                .tier = p->tier,
                .tier_changed_us = p->tier == STORE_TIER_INFERRED ? STORE_TIME_NONE : now.us,
                .lease = old->pub.lease,
                .rehydrate_due_us = STORE_TIME_NONE,
                .expires_us = STORE_TIME_NONE,
                .accessed_us = ch->track_access ? now.us : STORE_TIME_NONE,
                .immutable_until_us = STORE_TIME_NONE}};
    if (p->http.has_md5) r.md5 = arena_dup(ch->arena, slice_of(p->http.md5, 16));
    TRY(metadata_pack(p->metadata, p->metadata_count, ch->arena, &r.metadata));
    TRY(tags_pack(p->tags, p->tag_count, ch->arena, &r.tags));
    r.pub.tag_count = (uint32_t)p->tag_count;
    TRY(immutable_new(&r, &p->immutability));
    TRY(expiry_of(&p->expiry, &r, &r.pub.expires_us));
    if (r.pub.expires_us != STORE_TIME_NONE) TRY(change_refuse_guarded(ch));
    if (p->rehydrate) TRY(tier_rehydrate_new(ch, &r, p->rehydrate_high));
    TRY(blob_new_version(ch, &r));
    *ret = r;
    return OK;
}

/* The answer: the row as written, with bytes that live in the arena. */
err blob_result(change *ch, const row_blob *r, store_blob *ret) {
    row_blob copy;
    TRY(row_blob_get(ROW_ENCODE(blob, ch->arena, r), &copy));
    return blob_from_row(ch->arena, ch->name, &copy, ret);
}

/* What the new content goes under: the upload is there already; what is filled later goes by the call. */
static err scope_of_new(store *s, store_call c, const store_container *k, const store_upload *u,
                        slice *ret) {
    if (u)
        *ret = store_upload_scope(u);
    else
        TRY(store_scope_of(c, k, ret));
    return scope_check(s, c, container_of(k), *ret);
}

static void fill_new(change *ch, const blob_kind *kind, const store_upload *u,
                     const store_customer *customer, slice scope, row_blob *row) {
    row_piece piece =
        u ? upload_piece(u) : (row_piece){.id = engine_new_id(ch->s->engine), .where = ROW_EMPTY};
    bool pages = kind->type == STORE_PAGE_BLOB;
    if (pages) piece.where = ROW_PAGES;
    row->pub.type = kind->type;
    row->pub.content_id = piece.id;
    row->pub.length = pages ? kind->length : piece.len;
    row->pub.sequence = kind->sequence;
    row->pub.sealed = kind->from && kind->from->seal;
    row->pub.has_crc64 = !pages;
    row->pub.crc64 = piece.crc64;
    row->where = piece.where;
    row->wrapped = piece.wrapped;
    row->ref = piece.ref;
    row->pub.key_sha256 = u ? upload_key_sha256(u) : customer_sha256(customer);
    row->pub.scope = scope;
}

static err put_once(store *s, store_call c, const store_container *k, slice name, store_upload *u,
                    const blob_kind *kind, const store_put *p, store_blob *ret) {
    change ch CLEANUP(change_done);
    row_blob old, row;
    row_staging staging;
    slice scope;
    bool exists, staged, kept;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(scope_of_new(s, c, k, u, &scope));
    TRY(change_blob(&ch, &old, &exists));
    TRY(conditions_check(p->cond, CONDITION_CREATE, target_of(&old, exists)));
    if (exists) TRY(blob_online(&old));
    /* "The destination … can be an existing blob of the same blob type" ("Copy Blob"). */
    if (exists && p->copy) TRY(blob_of_type(&old, kind->type));
    ENSURE(!old.pub.sealed, ERR_BLOB_IS_SEALED, "delete it first");
    TRY(change_staging(&ch, &staging, &staged));
    TRY(blob_new_row(&ch, p, &old, &row, &kept));
    fill_new(&ch, kind, u, c.customer, scope, &row);
    TRY(blob_result(&ch, &row, ret));
    if (exists && !kept) change_drop_content(&ch, &old);
    if (staged) change_drop_staging(&ch, &staging, true);
    change_put_blob(&ch, &row);
    if (kind->from) TRY(copy_put_job(&ch, k, p, kind->from, scope));
    if (u) upload_give(u, &ch);
    return change_commit(&ch);
}

static err put_tries(store *s, store_call c, const store_container *k, slice name, store_upload *u,
                     const blob_kind *kind, const store_put *p, store_blob *ret) {
    for (int try = 1;; try++) {
        err e = put_once(s, c, k, name, u, kind, p, ret);
        if (e == ERR_CONFLICT && !(u && u->taken) && try < STORE_CONFLICT_TRIES) continue;
        if (e == OK) store_upload_free(u);
        return e;
    }
}

err blob_put_kind(store *s, store_call c, const store_container *k, slice name, store_upload *u,
                  const blob_kind *kind, const store_put *p, store_blob *ret) {
    MUST(!u || u->container == k->id);
    if (!immutable_asked(&p->immutability)) return put_tries(s, c, k, name, u, kind, p, ret);
    if (c.nowait) return ERR_WOULD_BLOCK;
    c.later = NULL; /* what protects is waited for */
    immutable_enter(s);
    err e = put_tries(s, c, k, name, u, kind, p, ret);
    immutable_leave(s);
    return e;
}

err store_blob_put(store *s, store_call c, const store_container *k, slice name, store_upload *u,
                   const store_put *p, store_blob *ret) {
    return blob_put_kind(s, c, k, name, u, &(blob_kind){.type = STORE_BLOCK_BLOB}, p, ret);
}

/* ---- changes of properties ---- */

typedef struct property_change {
    const store_http *http; /* one of the two is set */
    const slice *metadata;
} property_change;

static err change_properties_once(store *s, store_call c, const store_container *k, slice name,
                                  const store_conditions *cond, const property_change *what,
                                  store_blob *ret) {
    change ch CLEANUP(change_done);
    row_blob row;
    bool kept;
    TRY(change_begin_existing(&ch, s, c, k, name, &row));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(&row, true)));
    TRY(blob_online(&row));
    /* Set Blob Properties may come without the key: SDKs do not send it there. */
    if (what->metadata)
        TRY(encryption_writes(s, c, k, &row.pub));
    else if (c.customer)
        TRY(store_customer_check(row.pub.key_sha256, c.customer));
    TRY(change_head(&ch));
    /* "Versioning on write operations": Set Blob Metadata makes a version, Set Blob Properties none. */
    if (what->metadata) TRY(change_retire(&ch, &row, RETIRE_PROPERTIES, &kept));
    store_now now = change_now(&ch, &row);
    row.pub.etag = now.etag;
    row.pub.modified_us = now.us;
    if (what->metadata) TRY(blob_new_version(&ch, &row));
    if (what->http) {
        row.pub.copy = STORE_NO_COPY; /* "Get Blob Properties": gone with Set Blob Properties */
        row.pub.http = *what->http;
        row.md5 = what->http->has_md5 ? slice_of(what->http->md5, 16) : SLICE_NONE;
    }
    if (what->metadata) row.metadata = *what->metadata;
    TRY(blob_result(&ch, &row, ret));
    change_put_blob(&ch, &row);
    return change_commit(&ch);
}

static err change_properties(store *s, store_call c, const store_container *k, slice name,
                             const store_conditions *cond, const property_change *what,
                             store_blob *ret) {
    for (int try = 1;; try++) {
        err e = change_properties_once(s, c, k, name, cond, what, ret);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}

err store_blob_set_http(store *s, store_call c, const store_container *k, slice name,
                        const store_conditions *cond, const store_http *http, store_blob *ret) {
    return change_properties(s, c, k, name, cond, &(property_change){.http = http}, ret);
}

err store_blob_set_metadata(store *s, store_call c, const store_container *k, slice name,
                            const store_conditions *cond, const pair *metadata, size_t count,
                            store_blob *ret) {
    slice packed;
    TRY(metadata_pack(metadata, count, c.arena, &packed));
    return change_properties(s, c, k, name, cond, &(property_change){.metadata = &packed}, ret);
}

/* ---- tags ---- */

static err set_tags_once(store *s, store_call c, const store_container *k, slice name,
                         store_pick pick, const store_conditions *cond, slice packed,
                         size_t count) {
    change ch CLEANUP(change_done);
    picked_state p;
    TRY(change_begin_picked(&ch, s, c, k, name, pick, &p));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(&p.row, true)));
    p.row.tags = packed;
    p.row.pub.tag_count = (uint32_t)count;
    change_put_picked(&ch, &p);
    return change_commit(&ch);
}

err store_blob_set_tags(store *s, store_call c, const store_container *k, slice name,
                        store_pick pick, const store_conditions *cond, const pair *tags,
                        size_t count) {
    slice packed;
    TRY(tags_pack(tags, count, c.arena, &packed));
    for (int try = 1;; try++) {
        err e = set_tags_once(s, c, k, name, pick, cond, packed, count);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}
