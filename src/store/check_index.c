/* The check of the index, from both sides: every tag and every expiry of a current blob has its rows,
 * and every row stands for one that its blob has. */
#include "store/check.h"

static bool row_says(const row_index *row, const row_blob *blob) {
    return row->tag_count == blob->pub.tag_count && slice_eq(row->tags, blob->tags) &&
           row->expires_us == index_expiry(blob);
}

static void look_at_blob(check *ck, blob_key *key, const row_blob *blob, arena *a) {
    pair tags[STORE_TAGS_MAX];
    if (row_tags_get(blob->tags, blob->pub.tag_count, tags) != OK ||
        store_tags_check(tags, blob->pub.tag_count) != OK) {
        check_defect(ck, "the blob's tags are damaged: %s", err_detail());
        return;
    }
    if (blob->pub.expires_us != STORE_TIME_NONE &&
        index_expect_expiry(ck->s, a, key, blob->pub.expires_us) != OK)
        check_defect(ck, "its expiry is not in the index");
    if (index_protected(blob) && index_expect_protected(ck->s, a, key, ck->k->id) != OK)
        check_defect(ck, "its protection is not in the index");
    for (uint32_t i = 0; i < blob->pub.tag_count; i++) {
        row_index one, two;
        err e = index_expect(ck->s, a, key, &tags[i], ck->k->account_id, ck->k->id, &one, &two);
        if (e == ERR_NOT_FOUND)
            check_defect(ck, "its tag '%.*s' is not in the index", SLICE_ARG(tags[i].name));
        else if (e != OK)
            check_defect(ck, "its tag '%.*s' in the index: %s", SLICE_ARG(tags[i].name),
                         err_detail());
        else if (!row_says(&one, blob) || !row_says(&two, blob) || one.account != ck->k->account_id)
            check_defect(ck, "its tag '%.*s' in the index says something else",
                         SLICE_ARG(tags[i].name));
    }
}

/* What was found is no defect any more. */
static void repaired(check *ck, uint64_t found) {
    ck->done.defects -= found;
    ck->done.repaired += found;
}

void index_check_blob(check *ck, blob_key *key, const row_blob *blob, arena *a) {
    const uint64_t before = ck->done.defects;
    pair tags[STORE_TAGS_MAX];
    look_at_blob(ck, key, blob, a);
    const uint64_t found = ck->done.defects - before;
    if (found == 0 || !ck->repair || row_tags_get(blob->tags, blob->pub.tag_count, tags) != OK ||
        store_tags_check(tags, blob->pub.tag_count) != OK)
        return;
    err e = index_restore(ck->s, a, ck->k->account_id, ck->k->id, ck->k->name, ck->name, blob);
    if (e == OK)
        repaired(ck, found);
    else
        check_defect(ck, "its rows of the index cannot be made again: %s", err_detail());
}

/* Whether the blob that a row names has the row's tag. */
static const char *against_blob(check *ck, const index_parts *p, arena *a) {
    blob_key key;
    row_blob blob;
    slice value;
    pair tags[STORE_TAGS_MAX];
    uint8_t *name = arena_alloc(a, p->escaped.len);
    slice plain = name_unescape(name, p->escaped);
    if (!store_blob_name_valid(plain)) return "it names no blob";
    key_blob(&key, p->container, plain);
    err e = engine_get(ck->s->engine, ENGINE_BLOB, key_state(&key), a, false, &value);
    if (e == ERR_NOT_FOUND) return "its blob is not there";
    if (e != OK || row_blob_get(value, &blob) != OK ||
        row_tags_get(blob.tags, blob.pub.tag_count, tags) != OK)
        return NULL; /* told where blobs are checked */
    for (uint32_t i = 0; i < blob.pub.tag_count; i++)
        if (slice_eq(tags[i].name, p->tag.name) && slice_eq(tags[i].value, p->tag.value))
            return NULL;
    return "its blob has no such tag";
}

static const char *check_expiry(check *ck, slice key, arena *a) {
    uint64_t expires_us, container;
    slice rest = slice_skip(key, 1), base, name, value;
    row_blob blob;
    if (id_take(&rest, &expires_us) != OK) return err_detail();
    base = rest;
    if (id_take(&rest, &container) != OK || name_take(&rest, &name) != OK) return err_detail();
    const checked_container *k = check_container(ck, container);
    if (rest.len || !k) return "its container is not there";
    if (k->purging) return NULL;
    buf state;
    buf_init_arena(&state, a, ENGINE_KEY_MAX);
    buf_put(&state, base);
    buf_byte(&state, KEY_STATE);
    err e = engine_get(ck->s->engine, ENGINE_BLOB, buf_slice(&state), a, false, &value);
    if (e == ERR_NOT_FOUND) return "its blob is not there";
    if (e != OK || row_blob_get(value, &blob) != OK) return NULL; /* told where blobs are checked */
    return blob.pub.expires_us == (int64_t)expires_us ? NULL : "its blob expires at another time";
}

static const char *check_protected(check *ck, slice key, arena *a) {
    uint64_t container;
    slice rest = slice_skip(key, 1), value;
    row_blob blob;
    blob_key bk;
    if (id_take(&rest, &container) != OK) return err_detail();
    const checked_container *k = check_container(ck, container);
    if (!k) return "its container is not there";
    if (k->purging) return NULL;
    slice name = name_unescape(arena_alloc(a, rest.len + 1), rest);
    if (!store_blob_name_valid(name)) return "it names no blob";
    key_blob(&bk, container, name);
    err e = engine_get(ck->s->engine, ENGINE_BLOB, key_state(&bk), a, false, &value);
    if (e != OK && e != ERR_NOT_FOUND) return NULL; /* told where blobs are checked */
    if (e == OK && (row_blob_get(value, &blob) != OK || index_protected(&blob))) return NULL;
    bool history = engine_get(ck->s->engine, ENGINE_JOB, key_head(&bk), a, false, &value) == OK;
    return history ? NULL : "its blob has no policy, no hold and no history";
}

static const char *check_row(check *ck, slice key, slice value, arena *a) {
    if (key.p[0] == KEY_INDEX_PROTECTED) return check_protected(ck, key, a);
    if (key.p[0] == KEY_INDEX_EXPIRY) return check_expiry(ck, key, a);
    index_parts p;
    row_index row;
    if (key_index_take(key, &p) != OK || row_index_get(value, &row) != OK) return err_detail();
    if ((p.kind == KEY_INDEX_CONTAINER) != (row.account != 0)) return "it is of the other kind";
    const checked_container *k = check_container(ck, p.container);
    if (!k) return "its container is not there";
    if (k->purging) return NULL;
    if (p.kind == KEY_INDEX_ACCOUNT && p.owner != k->account_id) return "it is of another account";
    return against_blob(ck, &p, a);
}

/* A row of the index that stands for nothing. */
static err remove_row(check *ck, slice key) {
    engine_txn *t;
    TRY(engine_txn_begin(ck->s->engine, key, &t));
    engine_txn_delete(t, ENGINE_INDEX, key);
    return engine_txn_commit(t);
}

void index_check_row(check *ck, slice key, slice value) {
    arena *a = arena_new(4096, 0);
    const char *what = check_row(ck, key, value, a);
    if (what) check_report_row(ck, "INDEX", key, what);
    if (what && ck->repair && remove_row(ck, key) == OK) repaired(ck, 1);
    arena_free(a);
}
