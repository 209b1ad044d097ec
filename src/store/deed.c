/* What the server does by itself leaves entries as requests do: blobs expire, their retention ends, copies come
 * to their end. */
#include "store/internal.h"

static void make(store_recorder *r, buf *entry, buf *private_part) {
    const store_deed *d = (const store_deed *)((uintptr_t)r - offsetof(store_deed, recorder));
    const store_deeds *to = d->store->deeds;
    to->make(to->ctx, d, entry, private_part);
}

store_call store_deed_call(store *s, store_call c, store_deed *d) {
    if (!s->deeds) return c;
    d->store = s;
    d->recorder.make = make;
    c.record = &d->recorder;
    return c;
}

err deed_begin(store *s, arena *a, uint64_t container, store_deed *d, store_recorder **ret) {
    const store_call c = {.arena = a};
    *ret = NULL;
    if (!s->deeds) return OK;
    err e = id_container(s, c, container, &d->account, &d->container);
    if (e == ERR_NOT_FOUND || e == ERR_CONTAINER_NOT_FOUND || e == ERR_KEY_DESTROYED)
        return OK; /* it was deleted, and has its entry for that */
    TRY(e);
    d->container_name = d->container->name;
    *ret = store_deed_call(s, c, d).record;
    return OK;
}

void deed_end(store_deed *d) {
    store_container_unref(d->container);
    store_account_unref(d->account);
}
