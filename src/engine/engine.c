/* The calls of engine/engine.h: arguments are checked once, here, for every engine. What these
 * checks find is a defect of the caller: names and sizes from the network were bounded long before.
 */
#include "engine/impl.h"

static void check_key(engine_table t, slice key) {
    MUST(t >= 0 && t < ENGINE_TABLE_COUNT);
    MUST(key.p != NULL && key.len >= 1 && key.len <= ENGINE_KEY_MAX);
    MUST(memchr(key.p, 0, key.len) == NULL);
}

/* A bound may be empty (no bound) and is otherwise held to what a key is. */
static void check_bound(slice key) {
    MUST(key.len <= ENGINE_KEY_MAX);
    MUST(key.len == 0 || (key.p != NULL && memchr(key.p, 0, key.len) == NULL));
}

void engine_close(engine *e) {
    if (e == NULL) return;
    e->v->close(e);
}

err engine_get(engine *e, engine_table t, slice key, arena *a, bool nowait, slice *ret) {
    check_key(t, key);
    return e->v->get(e, t, key, a, nowait, ret);
}

err engine_scan(engine *e, engine_table t, slice lower, slice upper, engine_cursor **ret) {
    MUST(t >= 0 && t < ENGINE_TABLE_COUNT);
    check_bound(lower);
    check_bound(upper);
    return e->v->scan(e, t, lower, upper, ret);
}

err engine_cursor_next(engine_cursor *c, slice *ret_key, slice *ret_value, bool *ret_more) {
    return c->e->v->cursor_next(c, ret_key, ret_value, ret_more);
}

err engine_cursor_seek(engine_cursor *c, slice key) {
    check_bound(key);
    return c->e->v->cursor_seek(c, key);
}

engine_cursor *engine_cursor_free(engine_cursor *c) {
    if (c != NULL) c->e->v->cursor_free(c);
    return NULL;
}

err engine_txn_begin(engine *e, slice shard, engine_txn **ret) {
    return e->v->txn_begin(e, shard, false, ret);
}

err engine_txn_try_begin(engine *e, slice shard, engine_txn **ret) {
    return e->v->txn_begin(e, shard, true, ret);
}

void engine_txn_put(engine_txn *t, engine_table table, slice key, slice value) {
    check_key(table, key);
    MUST(value.len <= ENGINE_VALUE_MAX && (value.len == 0 || value.p != NULL));
    t->e->v->txn_put(t, table, key, value);
}

void engine_txn_delete(engine_txn *t, engine_table table, slice key) {
    check_key(table, key);
    t->e->v->txn_delete(t, table, key);
}

void engine_txn_adopt(engine_txn *t, engine_stream *s) {
    MUST(t->e == s->e);
    t->e->v->txn_adopt(t, s);
}

void engine_txn_release(engine_txn *t, slice ref) {
    t->e->v->txn_release(t, ref);
}

void engine_txn_log(engine_txn *t, slice entry, slice private_part, uint64_t *ret_index) {
    MUST(entry.p != NULL && entry.len >= 1 && entry.len <= ENGINE_LOG_ENTRY_MAX);
    MUST(private_part.len <= ENGINE_LOG_PRIVATE_MAX);
    t->e->v->txn_log(t, entry, private_part, ret_index);
}

err engine_txn_commit(engine_txn *t) {
    return t->e->v->txn_commit(t);
}

void engine_txn_commit_later(engine_txn *t, engine_done *done, void *ctx) {
    MUST(done != NULL);
    t->e->v->txn_commit_later(t, done, ctx);
}

engine_txn *engine_txn_abort(engine_txn *t) {
    if (t != NULL) t->e->v->txn_abort(t);
    return NULL;
}

err engine_stream_create(engine *e, uint64_t len, engine_stream **ret) {
    return e->v->stream_create(e, len, ret);
}

err engine_stream_write(engine_stream *s, slice data) {
    MUST(data.len == 0 || data.p != NULL);
    while (data.len > 0) {
        uint8_t *p;
        size_t n;
        TRY(s->e->v->stream_room(s, &p, &n));
        MUST(n > 0); /* not longer than announced */
        const slice part = slice_take(data, n);
        memcpy(p, part.p, part.len);
        s->e->v->stream_filled(s, part.len);
        data = slice_skip(data, part.len);
    }
    return OK;
}

err engine_stream_room(engine_stream *s, uint8_t **ret, size_t *ret_len) {
    return s->e->v->stream_room(s, ret, ret_len);
}

void engine_stream_filled(engine_stream *s, size_t n) {
    s->e->v->stream_filled(s, n);
}

err engine_stream_sync(engine_stream *s, arena *a, slice *ret_ref) {
    return s->e->v->stream_sync(s, a, ret_ref);
}

engine_stream *engine_stream_abort(engine_stream *s) {
    if (s != NULL) s->e->v->stream_abort(s);
    return NULL;
}

err engine_stream_read(engine *e, slice ref, uint64_t offset, uint8_t *out, size_t len,
                       bool nowait) {
    MUST(len == 0 || out != NULL);
    return e->v->stream_read(e, ref, offset, out, len, nowait);
}

err engine_stream_len(engine *e, slice ref, uint64_t *ret) {
    return e->v->stream_len(e, ref, ret);
}

err engine_vault_put(engine *e, uint64_t id, slice secret, uint64_t *ret_slot) {
    MUST(secret.p != NULL && secret.len >= 1 && secret.len <= ENGINE_VAULT_SECRET_MAX);
    return e->v->vault_put(e, id, secret, ret_slot);
}

err engine_vault_get(engine *e, uint64_t id, uint64_t slot, arena *a, slice *ret) {
    return e->v->vault_get(e, id, slot, a, ret);
}

err engine_vault_destroy(engine *e, uint64_t id, uint64_t slot) {
    return e->v->vault_destroy(e, id, slot);
}

err engine_vault_each(engine *e, err (*each)(void *ctx, uint64_t id, uint64_t slot), void *ctx) {
    return e->v->vault_each(e, each, ctx);
}

err engine_log_read(engine *e, uint64_t from, uint64_t to, engine_log_each *each, void *ctx) {
    MUST(each != NULL);
    return e->v->log_read(e, from, to, each, ctx);
}

uint64_t engine_log_next(engine *e) {
    return e->v->log_next(e);
}

err engine_log_trim(engine *e, uint64_t before) {
    return e->v->log_trim(e, before);
}

err engine_point_begin(engine *e, int64_t lease_ms, uint64_t *ret_id) {
    MUST(lease_ms >= 0);
    ENSURE(e->v->point_begin != NULL, ERR_NOT_IMPLEMENTED, "this engine cannot hold a point");
    return e->v->point_begin(e, lease_ms, ret_id);
}

err engine_point_renew(engine *e, uint64_t id, int64_t lease_ms) {
    MUST(lease_ms >= 0);
    ENSURE(e->v->point_renew != NULL, ERR_NOT_FOUND, "this engine holds no point");
    return e->v->point_renew(e, id, lease_ms);
}

err engine_point_end(engine *e, uint64_t id) {
    ENSURE(e->v->point_end != NULL, ERR_NOT_FOUND, "this engine holds no point");
    return e->v->point_end(e, id);
}

err engine_check(engine *e, engine_report *report, void *ctx) {
    return e->v->check(e, report, ctx);
}

void engine_get_stats(engine *e, engine_stats *ret) {
    e->v->stats(e, ret);
}

uint64_t engine_new_id(engine *e) {
    return e->v->new_id(e);
}
