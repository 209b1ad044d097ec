/* Overseers: people and bodies who may look at the record from another machine, each with a token of their own. A row
 * keeps the hash of the token's secret part, which is random and long enough that the hash tells nothing of it.
 *
 * All rows belong to one shard: names are taken one after the other. */
#include "store/internal.h"

bool store_overseer_name_valid(slice name) {
    if (name.len == 0 || name.len > STORE_OVERSEER_NAME_MAX) return false;
    for (size_t i = 0; i < name.len; i++) {
        const uint8_t c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return true;
}

err store_overseer_get(store *s, store_call c, slice name, store_overseer *ret) {
    short_key k;
    slice value;
    if (c.nowait) return ERR_WOULD_BLOCK;
    if (!store_overseer_name_valid(name)) return ERR_NOT_FOUND;
    key_overseer(&k, name);
    TRY(engine_get(s->engine, ENGINE_META, key_slice(&k), c.arena, false, &value));
    TRY(row_overseer_get(value, ret));
    ret->name = arena_dup(c.arena, name);
    return OK;
}

err store_overseer_list(store *s, store_call c, void (*each)(void *ctx, const store_overseer *o),
                        void *ctx) {
    short_key low, high;
    engine_cursor *cur;
    err e;
    if (c.nowait) return ERR_WOULD_BLOCK;
    key_overseer(&low, SLICE_NONE);
    high = low;
    key_end(&high);
    TRY(engine_scan(s->engine, ENGINE_META, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        store_overseer o;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, row_overseer_get(v, &o));
        o.name = slice_skip(k, low.len);
        each(ctx, &o);
    }
out:
    engine_cursor_free(cur);
    return e;
}

/* ---- changes ---- */

typedef enum change_kind { ADD, SET_DISABLED, REMOVE } change_kind;

typedef struct overseer_change {
    change_kind kind;
    const store_overseer *o; /* ADD */
    bool disabled;
} overseer_change;

static void count_one(void *ctx, const store_overseer *o) {
    (void)o;
    ++*(size_t *)ctx;
}

static err may_add(store *s, store_call c, err found, slice name) {
    size_t count = 0;
    ENSURE(found != OK, ERR_INVALID_INPUT, "there is an overseer '%.*s' already", SLICE_ARG(name));
    if (found != ERR_NOT_FOUND) return found;
    TRY(store_overseer_list(s, c, count_one, &count));
    ENSURE(count < STORE_OVERSEERS_MAX, ERR_INVALID_INPUT, "there are at most %d overseers",
           STORE_OVERSEERS_MAX);
    return OK;
}

static err change_in(store *s, store_call c, slice name, const overseer_change *x, engine_txn *t) {
    short_key k;
    store_overseer o;
    key_overseer(&k, name);
    err e = store_overseer_get(s, c, name, &o);
    if (x->kind == ADD) {
        TRY(may_add(s, c, e, name));
        o = *x->o;
    } else {
        ENSURE(e != ERR_NOT_FOUND, ERR_NOT_FOUND, "there is no overseer '%.*s'",
               SLICE_ARG(slice_take(name, STORE_OVERSEER_NAME_MAX)));
        TRY(e);
        o.disabled = x->disabled;
    }
    if (x->kind == REMOVE)
        engine_txn_delete(t, ENGINE_META, key_slice(&k));
    else
        engine_txn_put(t, ENGINE_META, key_slice(&k), ROW_ENCODE(overseer, c.arena, &o));
    return OK;
}

static err change_overseer(store *s, store_call c, slice name, const overseer_change *x) {
    static const uint8_t shard[] = {KEY_OVERSEER};
    engine_txn *t;
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(store_overseer_name_valid(name), ERR_INVALID_INPUT,
           "'%.*s' is no name of an overseer: 1 to %d of a-z, 0-9, '-' and '_'",
           SLICE_ARG(slice_take(name, STORE_OVERSEER_NAME_MAX)), STORE_OVERSEER_NAME_MAX);
    TRY(engine_txn_begin(s->engine, slice_of(shard, sizeof shard), &t));
    err e = change_in(s, c, name, x, t);
    if (e == OK) return entry_commit(c, t);
    engine_txn_abort(t);
    return e;
}

err store_overseer_add(store *s, store_call c, const store_overseer *o) {
    ENSURE(o->rights != 0 && (o->rights & ~STORE_OVERSEER_RIGHTS) == 0, ERR_INVALID_INPUT,
           "an overseer has rights: entries, or entries and openings");
    ENSURE(o->accounts.len <= STORE_OVERSEER_ACCOUNTS_LEN, ERR_INVALID_INPUT,
           "names of accounts are %d bytes together at most", STORE_OVERSEER_ACCOUNTS_LEN);
    return change_overseer(s, c, o->name, &(overseer_change){.kind = ADD, .o = o});
}

err store_overseer_disable(store *s, store_call c, slice name, bool disabled) {
    return change_overseer(s, c, name,
                           &(overseer_change){.kind = SET_DISABLED, .disabled = disabled});
}

err store_overseer_remove(store *s, store_call c, slice name) {
    return change_overseer(s, c, name, &(overseer_change){.kind = REMOVE});
}
