/* Where verifying all content has come to, kept over a restart; and reading all rows. Who verifies, and when, is
 * upkeep/'s matter. */
#include "store/internal.h"

static const uint8_t key[] = {KEY_SCRUB};

err store_scrub_get(store *s, store_call c, store_scrub *ret) {
    slice value;
    *ret = (store_scrub){.begun_us = STORE_TIME_NONE, .ended_us = STORE_TIME_NONE};
    err e = engine_get(s->engine, ENGINE_META, slice_of(key, sizeof key), c.arena, false, &value);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    return row_scrub_get(value, ret);
}

err store_scrub_put(store *s, store_call c, const store_scrub *v) {
    engine_txn *t;
    TRY(engine_txn_begin(s->engine, slice_of(key, sizeof key), &t));
    engine_txn_put(t, ENGINE_META, slice_of(key, sizeof key), ROW_ENCODE(scrub, c.arena, v));
    return engine_txn_commit(t);
}

err store_rows_read(store *s, store_call c, unsigned table, slice from, uint64_t max,
                    slice *ret_next, uint64_t *ret_bytes) {
    engine_cursor *cur;
    err e;
    MUST(table < STORE_TABLES);
    *ret_next = SLICE_NONE;
    *ret_bytes = 0;
    TRY(engine_scan(s->engine, (engine_table)table, from, SLICE_NONE, &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        if (*ret_bytes >= max) {
            *ret_next = arena_dup(c.arena, k);
            break;
        }
        *ret_bytes += k.len + v.len;
    }
out:
    engine_cursor_free(cur);
    return e;
}
