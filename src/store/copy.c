/* Copies that go on after their request was answered ("Copy Blob").
 *
 *   NONE --store_copy_begin--> PENDING --copy_commit--> SUCCESS
 *                                 \------store_copy_abort--> ABORTED
 *                                  \-----copy_fail---------> FAILED
 *
 * A pending copy is two rows of one blob, put and taken in the same transactions: the blob's, of no
 * length, that says PENDING and the copy's id; and one in JOB, that says where to read. Whoever ends the
 * copy deletes the second; who finds it gone, or of another id, has nothing more to do. So a copy goes on
 * after a restart, from its beginning, and is ended once.
 *
 * The destination has no content until all of it is there, as Azure's has ("Copy Blob": a copy that is
 * aborted or fails leaves a blob of no length with its metadata); but a page blob is filled page by page. */
#include "store/pages.h"

/* ---- the job's row ---------------------------------------------------------------------------------- */

/* A URL to elsewhere may hold a signature: it is sealed like content, under the container's key. */
static err seal_url(change *ch, const store_container *k, slice url, row_copy *row) {
    crypto_key key;
    crypto_wrapped wrapped;
    uint8_t context[STORE_PIECE_CONTEXT];
    buf sealed;
    row->url_id = engine_new_id(ch->s->engine);
    piece_context(context, ch->container, row->url_id);
    buf_init_arena(&sealed, ch->arena, crypto_sealed_len(url.len));
    crypto_key_random(&key);
    err e = crypto_wrap(&container_of(k)->secret->key, &key, &wrapped);
    if (e == OK) e = crypto_seal(&key, slice_of(context, sizeof context), url, &sealed);
    crypto_key_wipe(&key);
    TRY(e);
    row->url_len = url.len;
    row->url = buf_slice(&sealed);
    row->url_wrapped = arena_dup(ch->arena, slice_of(wrapped.b, sizeof wrapped.b));
    return buf_check(&sealed);
}

err copy_url_open(const crypto_key *key, uint64_t container, const row_copy *row, arena *a,
                  slice *ret) {
    const row_piece piece = {.id = row->url_id, .len = row->url_len, .wrapped = row->url_wrapped};
    buf plain;
    buf_init_arena(&plain, a, STORE_COPY_URL_MAX);
    TRY(piece_open_small(key, container, &piece, row->url, &plain));
    *ret = buf_slice(&plain);
    return OK;
}

static err find_job(change *ch, row_copy *ret, bool *ret_exists) {
    slice value;
    err e = engine_get(ch->s->engine, ENGINE_JOB, key_copy(&ch->key), ch->arena, false, &value);
    *ret_exists = e == OK;
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    return row_copy_get(value, ret);
}

/* ---- beginning --------------------------------------------------------------------------------------- */

err copy_put_job(change *ch, const store_container *k, const store_put *p,
                 const store_copy_from *from, slice scope) {
    row_copy row = {.id = p->copy->id,
                    .to_account = k->account,
                    .to_container = k->name,
                    .account = from->account,
                    .container = from->container,
                    .blob = from->blob,
                    .pick = from->pick,
                    .etag = from->etag,
                    .length = p->copy->total,
                    .archived = p->rehydrate,
                    .type = from->type,
                    .scope = scope,
                    .begun_us = clock_wall_us()};
    if (from->url.len > 0) TRY(seal_url(ch, k, from->url, &row));
    engine_txn_put(ch->txn, ENGINE_JOB, key_copy(&ch->key), ROW_ENCODE(copy, ch->arena, &row));
    return OK;
}

err store_copy_begin(store *s, store_call c, const store_container *k, slice name,
                     const store_put *p, const store_copy_from *from, store_blob *ret) {
    MUST(p->copy && p->copy->status == STORE_COPY_PENDING);
    ENSURE(from->url.len <= STORE_COPY_URL_MAX, ERR_INVALID_HEADER_VALUE,
           "the copy source is longer than %d bytes", STORE_COPY_URL_MAX);
    const blob_kind kind = {
        .type = from->type, .length = p->copy->total, .sequence = from->sequence, .from = from};
    err e = blob_put_kind(s, c, k, name, NULL, &kind, p, ret);
    if (e == OK) copier_submit(s, k->id, name, p->copy->id);
    return e;
}

/* ---- ending ------------------------------------------------------------------------------------------ */

/* The blob while its copy of that id is pending. ERR_NO_PENDING_COPY_OPERATION, ERR_COPY_ID_MISMATCH. */
static err pending_blob(change *ch, slice id, row_blob *ret) {
    bool exists;
    TRY(change_blob(ch, ret, &exists));
    if (!exists) return blob_missing(ch->name);
    ENSURE(ret->pub.copy.status == STORE_COPY_PENDING, ERR_NO_PENDING_COPY_OPERATION,
           "the blob's copy is not pending");
    ENSURE(slice_eq_nocase(ret->pub.copy.id, id), ERR_COPY_ID_MISMATCH,
           "copyid: the pending copy has another id");
    /* A hold or a policy that came with the copy is on what it makes: it does not stop the copy. */
    ch->protected_by = ch->guarded_put = OK;
    return OK;
}

/* What an aborted or failed copy leaves is of no length ("Abort Copy Blob"). */
static void empty_pages(change *ch, row_blob *row) {
    if (row->where != ROW_PAGES) return;
    change_drop_content(ch, row);
    row->pub.content_id = engine_new_id(ch->s->engine);
    row->pub.length = 0;
    row->generation = 0;
}

static err end(change *ch, row_blob *row, store_copy_status status) {
    if (status != STORE_COPY_SUCCESS) empty_pages(ch, row);
    TRY(change_head(ch));
    store_now now = change_now(ch, row);
    row->pub.etag = now.etag;
    row->pub.modified_us = now.us;
    row->pub.copy.status = status;
    row->pub.copy.completed_us = now.us;
    change_put_blob(ch, row);
    engine_txn_delete(ch->txn, ENGINE_JOB, key_copy(&ch->key));
    return OK;
}

static err abort_once(store *s, store_call c, const store_container *k, slice name, slice id,
                      const store_conditions *cond) {
    if (!store_blob_name_valid(name)) return blob_missing(name);
    change ch CLEANUP(change_done);
    row_blob row;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(pending_blob(&ch, id, &row));
    condition_target t = target_of(&row, true);
    t.copying = false; /* that is what is to be ended */
    TRY(conditions_check(cond, CONDITION_WRITE, t));
    row.pub.copy.done = copier_progress(s, row.pub.copy.id);
    TRY(end(&ch, &row, STORE_COPY_ABORTED));
    return change_commit(&ch);
}

err store_copy_abort(store *s, store_call c, const store_container *k, slice name, slice id,
                     const store_conditions *cond) {
    for (int try = 1;; try++) {
        err e = abort_once(s, c, k, name, id, cond);
        if (e == ERR_CONFLICT && try < STORE_CONFLICT_TRIES) continue;
        if (e == OK) copier_cancel(s, id);
        return e;
    }
}

static err fail_once(store *s, store_call c, const store_container *k, slice name, slice id,
                     uint64_t done, slice why) {
    change ch CLEANUP(change_done);
    row_blob row;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(pending_blob(&ch, id, &row));
    row.pub.copy.done = done;
    row.pub.copy.description = why;
    TRY(end(&ch, &row, STORE_COPY_FAILED));
    return change_commit(&ch);
}

err copy_fail(store *s, store_call c, const store_container *k, slice name, slice id, uint64_t done,
              slice why) {
    for (int try = 1;; try++) {
        err e = fail_once(s, c, k, name, id, done, why);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}

static void fill(change *ch, row_blob *row, const row_piece *p) {
    row->pub.length = p->len;
    row->pub.has_crc64 = true;
    row->pub.crc64 = p->crc64;
    if (row->pub.type == STORE_APPEND_BLOB) {
        if (p->len > 0) append_first(ch, row, p);
        return;
    }
    row->pub.content_id = p->id;
    row->where = p->where;
    row->wrapped = p->wrapped;
    row->ref = p->ref;
}

static err commit_once(store *s, store_call c, const store_container *k, slice name, slice id,
                       store_upload *u) {
    change ch CLEANUP(change_done);
    row_blob row;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(pending_blob(&ch, id, &row));
    TRY(scope_check(s, c, container_of(k), row.pub.scope));
    if (u) {
        const row_piece piece = upload_piece(u);
        fill(&ch, &row, &piece);
    }
    row.pub.copy.done = row.pub.copy.total = row.pub.length;
    TRY(end(&ch, &row, STORE_COPY_SUCCESS));
    if (u) upload_give(u, &ch);
    return change_commit(&ch);
}

err copy_commit(store *s, store_call c, const store_container *k, slice name, slice id,
                store_upload *u) {
    for (int try = 1;; try++) {
        err e = commit_once(s, c, k, name, id, u);
        if (e == ERR_CONFLICT && !(u && u->taken) && try < STORE_CONFLICT_TRIES) continue;
        return e;
    }
}

static err put_pages_once(store *s, store_call c, const store_container *k, slice name, slice id,
                          uint64_t offset, store_upload *u) {
    change ch CLEANUP(change_done);
    row_blob row;
    uint64_t done, behind = offset + u->len;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(pending_blob(&ch, id, &row));
    TRY(scope_check(s, c, container_of(k), row.pub.scope));
    MUST(row.where == ROW_PAGES && behind <= row.pub.length);
    TRY(page_splice(&ch, &row, offset, behind, &done));
    MUST(done == behind);
    const row_piece piece = upload_piece(u);
    page_put(&ch, &row, offset, &piece);
    change_put_blob(&ch, &row);
    upload_give(u, &ch);
    return change_commit(&ch);
}

err copy_put_pages(store *s, store_call c, const store_container *k, slice name, slice id,
                   uint64_t offset, store_upload *u) {
    for (int try = 1;; try++) {
        err e = put_pages_once(s, c, k, name, id, offset, u);
        if (e == ERR_CONFLICT && !u->taken && try < STORE_CONFLICT_TRIES) continue;
        store_upload_free(u);
        return e;
    }
}

err copy_job(store *s, arena *a, uint64_t container, slice name, row_copy *ret, bool *ret_exists) {
    change ch CLEANUP(change_done);
    TRY(change_begin_unchecked(&ch, s, a, container, name));
    return find_job(&ch, ret, ret_exists);
}
