/* Page blobs: Put Page, resize, sequence number. The map is in page_map.c.
 *
 * A write is one transaction. So is clearing, unless it meets more than PAGE_SPLICE_MAX runs: then it
 * goes from front to back in several, each of which is a state of the blob with an ETag of its own. */
#include "store/pages.h"

#define SEQUENCE_MAX INT64_MAX

err store_page_create(store *s, store_call c, const store_container *k, slice name,
                      const store_put *p, uint64_t length, uint64_t sequence, store_blob *ret) {
    blob_kind kind = {.type = STORE_PAGE_BLOB, .length = length, .sequence = sequence};
    MUST(length % STORE_PAGE_LEN == 0 && length <= STORE_PAGE_BLOB_LEN_MAX);
    return blob_put_kind(s, c, k, name, NULL, &kind, p, ret);
}

/* ---- what a change must meet ---- */

static err sequence_not_met(const char *relation, uint64_t wanted, uint64_t found) {
    return err_fail(ERR_SEQUENCE_NUMBER_CONDITION_NOT_MET,
                    "x-ms-if-sequence-number-%s is %llu, the blob's sequence number is %llu",
                    relation, (unsigned long long)wanted, (unsigned long long)found);
}

static err judge_sequence(const store_sequence_if *w, uint64_t n) {
    if (!w) return OK;
    if (w->has_le && n > w->le) return sequence_not_met("le", w->le, n);
    if (w->has_lt && n >= w->lt) return sequence_not_met("lt", w->lt, n);
    if (w->has_eq && n != w->eq) return sequence_not_met("eq", w->eq, n);
    return OK;
}

/* The blob's row, inside a change that was begun. */
static err page_blob(change *ch, const store_conditions *cond, const store_sequence_if *when,
                     row_blob *ret) {
    bool exists;
    TRY(change_blob(ch, ret, &exists));
    if (!exists) return blob_missing(ch->name);
    TRY(blob_of_type(ret, STORE_PAGE_BLOB));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(ret, true)));
    return judge_sequence(when, ret->pub.sequence);
}

static err range_fits(const row_blob *row, uint64_t begin, uint64_t end) {
    ENSURE(end <= row->pub.length, ERR_INVALID_PAGE_RANGE,
           "pages %llu to %llu: the blob has %llu bytes", (unsigned long long)begin,
           (unsigned long long)end - 1, (unsigned long long)row->pub.length);
    return OK;
}

static void touch(change *ch, row_blob *row) {
    store_now now = store_tick(ch->s, row->pub.etag);
    row->pub.etag = now.etag;
    row->pub.modified_us = now.us;
}

static err finish(change *ch, row_blob *row, store_blob *ret) {
    touch(ch, row);
    TRY(blob_result(ch, row, ret));
    change_put_blob(ch, row);
    return OK;
}

/* ---- Put Page ---- */

static err put_once(store *s, store_call c, const store_container *k, slice name, uint64_t offset,
                    store_upload *u, const store_conditions *cond, const store_sequence_if *when,
                    store_blob *ret) {
    change ch CLEANUP(change_done);
    row_blob row;
    uint64_t done, end = offset + u->len;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(page_blob(&ch, cond, when, &row));
    TRY(customer_match(row.pub.key_sha256, upload_key_sha256(u)));
    TRY(scope_match(row.pub.scope, store_upload_scope(u)));
    TRY(scope_check(s, c, container_of(k), row.pub.scope));
    TRY(range_fits(&row, offset, end));
    TRY(page_splice(&ch, &row, offset, end, &done));
    MUST(done == end);
    row_piece piece = upload_piece(u);
    page_put(&ch, &row, offset, &piece);
    TRY(finish(&ch, &row, ret));
    upload_give(u, &ch);
    return change_commit(&ch);
}

err store_page_put(store *s, store_call c, const store_container *k, slice name, uint64_t offset,
                   store_upload *u, const store_conditions *cond, const store_sequence_if *when,
                   store_blob *ret) {
    MUST(u->container == k->id && u->len > 0 && u->len <= STORE_PAGE_WRITE_MAX);
    MUST((offset | u->len) % STORE_PAGE_LEN == 0);
    if (c.nowait) return ERR_WOULD_BLOCK;
    if (!store_blob_name_valid(name)) return blob_missing(name);
    for (int try = 1;; try++) {
        err e = put_once(s, c, k, name, offset, u, cond, when, ret);
        if (e == ERR_CONFLICT && !u->taken && try < STORE_CONFLICT_TRIES) continue;
        if (e == OK) store_upload_free(u);
        return e;
    }
}

/* ---- clearing, in as many changes as it takes ---- */

typedef struct clearing {
    uint64_t begin, end; /* end: what to clear up to; begin moves on */
    bool to_the_end;     /* of the blob, however long it is */
    uint64_t content;    /* of the blob when it began; 0: not begun */
    const store_conditions *cond;
    const store_sequence_if *when;
    const store_page_set *set; /* resizing: what else is changed, by the last change */
} clearing;

static err apply_set(const store_page_set *set, row_blob *row);

/* Another blob of this name took the place of the one that was being cleared: what was asked for was
 * done before it. */
static bool replaced(const clearing *w, const row_blob *row) {
    return w->content && row->pub.content_id != w->content;
}

static err clear_once(store *s, store_call c, const store_container *k, slice name, clearing *w,
                      store_blob *ret, bool *ret_more) {
    change ch CLEANUP(change_done);
    row_blob row;
    bool first = w->content == 0;
    store_conditions lease =
        STORE_NO_CONDITIONS; /* what a change after the first must still meet */
    if (w->cond) lease.lease_id = w->cond->lease_id;
    *ret_more = false;
    TRY(change_begin(&ch, s, c, k, name));
    err e = page_blob(&ch, first ? w->cond : &lease, first ? w->when : NULL, &row);
    if (!first && (e == ERR_BLOB_NOT_FOUND || e == ERR_INVALID_BLOB_TYPE)) return OK;
    TRY(e);
    if (replaced(w, &row)) return OK;
    /* Put Page asks for the key; Set Blob Properties may come without. */
    if (first && !w->set)
        TRY(encryption_writes(s, c, k, &row.pub));
    else if (first && c.customer)
        TRY(store_customer_check(row.pub.key_sha256, c.customer));
    row_blob after = row;
    if (w->set) TRY(apply_set(w->set, &after)); /* also before the first batch: it may be refused */
    uint64_t end = w->to_the_end ? row.pub.length : w->end, done = end;
    if (!w->set && first) TRY(range_fits(&row, w->begin, end));
    if (end > row.pub.length) end = done = row.pub.length; /* it was made shorter meanwhile */
    if (w->begin < end) TRY(page_splice(&ch, &row, w->begin, end, &done));
    *ret_more = done < end;
    if (!*ret_more) row = after;
    TRY(finish(&ch, &row, ret));
    TRY(change_commit(&ch));
    w->content = row.pub.content_id;
    w->begin = done;
    return OK;
}

static err clear_all(store *s, store_call c, const store_container *k, slice name, clearing *w,
                     store_blob *ret) {
    bool more = true;
    if (c.nowait) return ERR_WOULD_BLOCK;
    if (!store_blob_name_valid(name)) return blob_missing(name);
    c.later = NULL; /* each change but the last is followed by another */
    for (int try = 1; more; try++) {
        err e = clear_once(s, c, k, name, w, ret, &more);
        if (e == ERR_CONFLICT && try < STORE_CONFLICT_TRIES) {
            more = true;
            continue;
        }
        TRY(e);
        try = 1;
    }
    return OK;
}

err store_page_clear(store *s, store_call c, const store_container *k, slice name, uint64_t offset,
                     uint64_t length, const store_conditions *cond, const store_sequence_if *when,
                     store_blob *ret) {
    MUST(length > 0 && (offset | length) % STORE_PAGE_LEN == 0);
    clearing w = {.begin = offset, .end = offset + length, .cond = cond, .when = when};
    return clear_all(s, c, k, name, &w, ret);
}

/* ---- Set Blob Properties of a page blob ---- */

static err apply_set(const store_page_set *set, row_blob *row) {
    uint64_t *n = &row->pub.sequence;
    switch (set->action) {
    case STORE_SEQUENCE_KEEP:
        break;
    case STORE_SEQUENCE_MAX:
        if (set->sequence > *n) *n = set->sequence;
        break;
    case STORE_SEQUENCE_UPDATE:
        *n = set->sequence;
        break;
    case STORE_SEQUENCE_INCREMENT:
        ENSURE(*n < SEQUENCE_MAX, ERR_SEQUENCE_NUMBER_INCREMENT_TOO_LARGE,
               "it is the largest there is");
        ++*n;
        break;
    }
    if (set->resize) row->pub.length = set->length;
    if (!set->http) return OK;
    row->pub.http = *set->http;
    row->md5 = set->http->has_md5 ? slice_of(set->http->md5, 16) : SLICE_NONE;
    return OK;
}

err store_page_set_properties(store *s, store_call c, const store_container *k, slice name,
                              const store_conditions *cond, const store_page_set *set,
                              store_blob *ret) {
    MUST(!set->resize ||
         (set->length % STORE_PAGE_LEN == 0 && set->length <= STORE_PAGE_BLOB_LEN_MAX));
    clearing w = {.begin = set->resize ? set->length : UINT64_MAX,
                  .to_the_end = true,
                  .cond = cond,
                  .set = set};
    return clear_all(s, c, k, name, &w, ret);
}
