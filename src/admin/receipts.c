/* Receipts for all entries that a search finds, with what opens each: the history of one blob, or that it was erased,
 * for somebody who has the log's key and nothing else of ours. One line of JSON each:
 *
 *   {"index":N,"receipt":"c2sp.org/tlog-proof@v1\\n…","opening":{"account":…,"blob":…,"name_salt":HEX,…}} */
#include "admin/internal.h"

typedef struct receipts {
    call *k;
    json_t *rows;
    audit_source log;
    audit_checkpoint c;
    slice note;
    uint64_t later; /* entries that the checkpoint does not cover yet */
    err failed;
} receipts;

static err make_receipt(const receipts *x, arena *a, uint64_t index, buf *out) {
    TRY(audit_prove(&x->log, a, index, &x->c, x->note, out));
    return buf_check(out);
}

static void add_receipt(void *ctx, uint64_t index, json_t *entry, const audit_opened *o) {
    receipts *x = ctx;
    (void)entry;
    if (x->failed != OK) return;
    if (index >= x->c.size) {
        x->later++;
        return;
    }
    arena *a = arena_new(64 << 10, 32 << 20);
    buf out;
    buf_init_arena(&out, a, (size_t)4 * AUDIT_NOTE_MAX);
    x->failed = make_receipt(x, a, index, &out);
    if (x->failed == OK) {
        json_t *row = json_object();
        MUST(json_object_set_new(row, "index", json_integer((json_int_t)index)) == 0);
        call_set(row, "receipt", buf_slice(&out));
        call_add_opening(row, o);
        MUST(json_array_append_new(x->rows, row) == 0);
    }
    arena_free(a);
}

err audit_receipts(call *k) {
    audit_signer signer;
    audit_verifier v;
    receipts x = {.k = k, .rows = json_array()};
    audit_seeker to = {.ctx = &x, .found = add_receipt, .opens = true, .max = 200};
    MUST(json_object_set_new(k->out, "entries", x.rows) == 0);
    ENSURE(k->st->log_folder, ERR_NOT_FOUND, "this server publishes no record");
    TRY(admin_log_signer(k->st->store, k->c.arena, SLICE_NONE, &signer));
    audit_verifier_of(&signer, &v);
    crypto_wipe(signer.seed, sizeof signer.seed);
    x.log = audit_folder(k->st->log_folder);
    TRY(audit_read_checkpoint(&x.log, k->c.arena, &v, &x.c, &x.note));
    TRY(audit_seek(k, &to));
    TRY(x.failed);
    MUST(json_object_set_new(k->out, "later", json_integer((json_int_t)x.later)) == 0);
    return OK;
}

/* ---- reading one, for the command line ---- */

static slice text_at(arena *a, const json_t *from, const char *name) {
    const json_t *v = json_object_get(from, name);
    return json_is_string(v) ? arena_dup(a, slice_of(json_string_value(v), json_string_length(v)))
                             : SLICE_NONE;
}

static err salt_at(arena *a, const json_t *from, const char *name, slice *ret) {
    const slice hex = text_at(a, from, name);
    *ret = SLICE_NONE;
    if (hex.len == 0) return OK;
    ENSURE(hex_get(a, hex, ret) == OK, ERR_INVALID_INPUT, "'%s' is not hexadecimal", name);
    return OK;
}

err admin_receipt(arena *a, slice line, slice *ret_receipt, audit_opening *ret) {
    json_t *v = json_loadb((const char *)line.p, line.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *o = json_object_get(v, "opening");
    *ret = (audit_opening){0};
    *ret_receipt = text_at(a, v, "receipt");
    err e = ret_receipt->len > 0 ? OK : err_fail(ERR_INVALID_INPUT, "a line holds no receipt");
    if (e == OK && json_is_object(o)) {
        ret->account = text_at(a, o, "account");
        ret->container = text_at(a, o, "container");
        ret->blob = text_at(a, o, "blob");
        ret->actor = text_at(a, o, "actor");
        ret->reason = text_at(a, o, "reason");
        ret->asked = text_at(a, o, "asked");
        e = salt_at(a, o, "name_salt", &ret->name_salt);
        if (e == OK) e = salt_at(a, o, "reason_salt", &ret->reason_salt);
        if (e == OK) e = salt_at(a, o, "asked_salt", &ret->asked_salt);
    }
    json_decref(v);
    return e;
}
