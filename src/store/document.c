/* Documents of an account: texts that say what the server is to do with its blobs, kept as they were given.
 * What they mean is not the store's business. */
#include "store/internal.h"

err store_document_get(store *s, store_call c, const store_account *a, store_document_kind kind,
                       store_document *ret) {
    short_key k;
    slice value;
    key_document(&k, a->id, (char)kind);
    *ret = (store_document){.set_us = STORE_TIME_NONE, .run_us = STORE_TIME_NONE};
    err e = engine_get(s->engine, ENGINE_META, key_slice(&k), c.arena, c.nowait, &value);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    return row_document_get(value, ret);
}

typedef struct document_change {
    const store_document *put; /* NULL: it ran */
    int64_t set_us, run_us;
} document_change;

static err change_in(store *s, store_call c, const store_account *a, store_document_kind kind,
                     const document_change *x, engine_txn *txn) {
    short_key k;
    store_document d;
    key_document(&k, a->id, (char)kind);
    TRY(account_current(s, c.arena, false, a->name, a->id));
    TRY(store_document_get(s, c, a, kind, &d));
    if (x->put)
        d = *x->put;
    else if (d.text.len == 0 || d.set_us != x->set_us)
        return ERR_NOT_FOUND; /* another one by now: that has not run */
    else
        d.run_us = x->run_us;
    if (d.text.len == 0)
        engine_txn_delete(txn, ENGINE_META, key_slice(&k));
    else
        engine_txn_put(txn, ENGINE_META, key_slice(&k), ROW_ENCODE(document, c.arena, &d));
    return OK;
}

static err change_document(store *s, store_call c, const store_account *a, store_document_kind kind,
                           const document_change *x) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    short_key k;
    key_document(&k, a->id, (char)kind);
    engine_txn *txn = NULL;
    gate_token t = gate_enter(&s->gate);
    err e = engine_txn_begin(s->engine, key_slice(&k), &txn);
    if (e == OK) e = change_in(s, c, a, kind, x, txn);
    if (e == OK)
        e = entry_commit(c, txn);
    else
        engine_txn_abort(txn);
    gate_leave(&s->gate, t);
    return e;
}

err store_document_put(store *s, store_call c, const store_account *a, store_document_kind kind,
                       const store_document *d) {
    ENSURE(d->text.len <= STORE_DOCUMENT_MAX, ERR_INVALID_INPUT, "more than %d bytes",
           STORE_DOCUMENT_MAX);
    return change_document(s, c, a, kind, &(document_change){.put = d});
}

err store_document_ran(store *s, store_call c, const store_account *a, store_document_kind kind,
                       int64_t set_us, int64_t run_us) {
    err e = change_document(s, c, a, kind, &(document_change){.set_us = set_us, .run_us = run_us});
    return e == ERR_NOT_FOUND ? OK : e;
}
