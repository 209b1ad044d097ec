/* Keys in the vault that no row names: a crash came between keeping a key and committing its row. They
 * are found once, after the store was opened, and destroyed, so that their slots are used again.
 *
 * Safe beside everything that goes on: only ids that were handed out before the store was opened are
 * looked at, so a row that is still to be committed is not missed. Slots are read first, then the
 * tables in the order in which a row may move between them (META, then JOB), each as it stands when it
 * is opened: an owner that moves meanwhile is seen in one of them, or its key is destroyed already. */
#include "store/check.h"

typedef struct slot_of {
    uint64_t id, slot;
} slot_of;

typedef struct orphans {
    store *s;
    uint64_t before_id;
    slot_of *slots;
    size_t count, room;
    id_set owners;
} orphans;

static err take_slot(void *ctx, uint64_t id, uint64_t slot) {
    orphans *o = ctx;
    if (id >= o->before_id) return OK;
    o->slots = check_grow(o->slots, o->count, &o->room, sizeof *o->slots);
    o->slots[o->count++] = (slot_of){id, slot};
    return OK;
}

static err owner_of_meta(slice key, slice value, uint64_t *ret) {
    row_account account;
    row_container container;
    row_scope scope;
    *ret = 0;
    if (key.p[0] == 'a') {
        TRY(row_account_get(value, &account));
        *ret = account.id;
    } else if (key.p[0] == KEY_LOG) {
        row_log log;
        TRY(row_log_get(value, &log));
        *ret = log.id;
    } else if (key.p[0] == KEY_SCOPE) { /* a destroyed one owns nothing */
        TRY(row_scope_get(value, &scope));
        if (scope.state != STORE_SCOPE_DESTROYED) *ret = scope.id;
    } else if (key.p[0] == 'c' || key.p[0] == 'd') {
        TRY(row_container_get(value, &container));
        *ret = container.id;
    }
    return OK;
}

static err owner_of_job(slice key, uint64_t *ret) {
    slice rest = slice_skip(key, 1);
    *ret = 0;
    bool purge = key.p[0] == KEY_JOB_PURGE || key.p[0] == KEY_JOB_PURGE_ACCOUNT;
    return purge ? id_take(&rest, ret) : OK;
}

static err take_owners(orphans *o, engine_table t, slice lower, slice upper) {
    engine_cursor *cur;
    err e;
    TRY(engine_scan(o->s->engine, t, lower, upper, &cur));
    for (;;) {
        slice k, v;
        bool more;
        uint64_t id;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, t == ENGINE_META ? owner_of_meta(k, v, &id) : owner_of_job(k, &id));
        if (id) id_set_add(&o->owners, id);
        if (o->s->background && atomic_load(&o->s->stopping)) TRY_TO(out, ERR_CANCELLED);
    }
out:
    engine_cursor_free(cur);
    return e;
}

static err find(orphans *o) {
    TRY(engine_vault_each(o->s->engine, take_slot, o));
    TRY(take_owners(o, ENGINE_META, SLICE_NONE, SLICE_NONE));
    TRY(take_owners(o, ENGINE_JOB, S("P"), S("Q")));
    return take_owners(o, ENGINE_JOB, S("p"), S("q"));
}

/* A row that cannot be read may own any of them: then nothing is destroyed. */
err orphans_destroy(store *s, uint64_t before_id, uint64_t *ret_count) {
    orphans o = {.s = s, .before_id = before_id};
    uint64_t n = 0;
    err e = find(&o);
    for (size_t i = 0; i < o.count && e == OK; i++) {
        if (id_set_has(&o.owners, o.slots[i].id)) continue;
        e = engine_vault_destroy(s->engine, o.slots[i].id, o.slots[i].slot);
        n++;
    }
    id_set_clear(&o.owners);
    free(o.slots);
    if (e == OK) *ret_count = n;
    return e;
}
