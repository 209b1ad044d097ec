/* Rows of META by their ids: of accounts ('a'), containers ('c') and deleted containers ('d'). They stand there
 * by name, and there is no index of ids, which are seldom asked for; where one stood last is remembered and
 * looked at first. */
#include "store/internal.h"

void ids_init(store *s) {
    MUST(pthread_mutex_init(&s->ids.lock, NULL) == 0);
    s->ids.places = calloc(ID_PLACES, sizeof *s->ids.places);
    MUST(s->ids.places);
}

void ids_done(store *s) {
    free(s->ids.places);
    pthread_mutex_destroy(&s->ids.lock);
}

static err id_of_row(slice key, slice value, uint64_t *ret) {
    row_account account;
    row_container container;
    if (key.p[0] == 'a') {
        TRY(row_account_get(value, &account));
        *ret = account.id;
        return OK;
    }
    TRY(row_container_get(value, &container));
    *ret = container.id;
    return OK;
}

static id_place *place_of(store *s, uint64_t id) {
    return &s->ids.places[id % ID_PLACES];
}

static void remember(store *s, uint64_t id, slice key) {
    if (key.len > sizeof place_of(s, id)->key) return;
    pthread_mutex_lock(&s->ids.lock);
    id_place *p = place_of(s, id);
    p->id = id;
    p->len = (uint8_t)key.len;
    memcpy(p->key, key.p, key.len);
    pthread_mutex_unlock(&s->ids.lock);
}

static slice remembered(store *s, arena *a, char kind, uint64_t id) {
    slice key = SLICE_NONE;
    pthread_mutex_lock(&s->ids.lock);
    const id_place *p = place_of(s, id);
    if (p->len > 0 && p->id == id && p->key[0] == (uint8_t)kind)
        key = arena_dup(a, slice_of(p->key, p->len));
    pthread_mutex_unlock(&s->ids.lock);
    return key;
}

/* Whether the row is still where it was. */
static err look(store *s, arena *a, slice key, uint64_t id, slice *ret_value) {
    uint64_t found;
    TRY(engine_get(s->engine, ENGINE_META, key, a, false, ret_value));
    TRY(id_of_row(key, *ret_value, &found));
    return found == id ? OK : ERR_NOT_FOUND;
}

static err search(store *s, arena *a, char kind, uint64_t id, slice *ret_key, slice *ret_value) {
    engine_cursor *cur;
    const uint8_t lower[] = {(uint8_t)kind}, upper[] = {(uint8_t)(kind + 1)};
    err e;
    TRY(engine_scan(s->engine, ENGINE_META, slice_of(lower, 1), slice_of(upper, 1), &cur));
    for (;;) {
        slice key, value;
        uint64_t found;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &key, &value, &more));
        if (!more) TRY_TO(out, ERR_NOT_FOUND);
        TRY_TO(out, id_of_row(key, value, &found));
        if (found != id) continue;
        *ret_key = arena_dup(a, key);
        *ret_value = arena_dup(a, value);
        break;
    }
out:
    engine_cursor_free(cur);
    return e;
}

err id_row(store *s, arena *a, char kind, uint64_t id, slice *ret_key, slice *ret_value) {
    *ret_key = remembered(s, a, kind, id);
    err e = ret_key->len > 0 ? look(s, a, *ret_key, id, ret_value) : ERR_NOT_FOUND;
    if (e != ERR_NOT_FOUND) return e;
    TRY(search(s, a, kind, id, ret_key, ret_value));
    remember(s, id, *ret_key);
    return OK;
}

err id_account(store *s, store_call c, uint64_t id, const store_account **ret) {
    slice key, value;
    TRY(id_row(s, c.arena, 'a', id, &key, &value));
    return store_account_get(s, c, slice_skip(key, 1), ret);
}

err id_container(store *s, store_call c, uint64_t id, const store_account **ret_account,
                 const store_container **ret) {
    slice key, value;
    uint64_t account;
    TRY(id_row(s, c.arena, 'c', id, &key, &value));
    slice name = slice_skip(key, 1);
    TRY(id_take(&name, &account));
    TRY(id_account(s, c, account, ret_account));
    err e = store_container_get(s, c, *ret_account, name, ret);
    if (e != OK) store_account_unref(*ret_account);
    return e;
}
