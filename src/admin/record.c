/* The record of an operator's command: what it was, on which account and container, and what came of it. The
 * operator is whoever can open the data folder or its socket; the machine knows no more of them. */
#include "audit/record.h"
#include "admin/internal.h"

typedef struct making {
    uint8_t account[STORE_PSEUDONYM_LEN], container[STORE_PSEUDONYM_LEN];
    audit_record record;
    audit_opening opening;
} making;

static slice pseudonym(store *s, const store_account *a, slice name,
                       uint8_t room[STORE_PSEUDONYM_LEN]) {
    if (name.len == 0) return SLICE_NONE;
    store_pseudonym(s, a, name, room);
    return slice_of(room, STORE_PSEUDONYM_LEN);
}

static void tell_object(const call *k, const store_account *a, making *m) {
    slice name, account;
    store *s = k->st->store;
    if (call_field(k, "name", false, &name) != OK) name = SLICE_NONE;
    if (call_field(k, "account", false, &account) != OK) account = SLICE_NONE;
    const bool of_container = account.len > 0; /* then `name` is the container's */
    m->opening.account = audit_text(of_container ? account : name);
    m->opening.container = audit_text(of_container ? name : SLICE_NONE);
    m->record.account = pseudonym(s, a, m->opening.account, m->account);
    m->record.container = pseudonym(s, a, m->opening.container, m->container);
    m->record.retain_us = INT64_MIN;
}

static void tell_outcome(const call *k, making *m) {
    const err_info *info = err_get(k->outcome);
    m->record.result = k->outcome == OK ? "ok" : info->status >= 500 ? "failed" : "refused";
    m->record.code = k->outcome == OK ? NULL : info->azure;
}

static const store_account *account_of_call(const call *k) {
    const store_account *a = NULL;
    slice name;
    const char *field = json_object_get(k->in, "account") ? "account" : "name";
    if (call_field(k, field, false, &name) != OK || name.len == 0) return NULL;
    const store_call c = {.arena = k->c.arena, .nowait = true};
    return store_account_get(k->st->store, c, name, &a) == OK ? a : NULL;
}

static void make(store_recorder *r, buf *entry, buf *private_part) {
    const call *k = (call *)((uintptr_t)r - offsetof(call, recorder));
    making m = {.record = {.time_us = clock_wall_us(),
                           .region = k->st->region.len > 0 ? k->st->region : S("local"),
                           .action = k->command,
                           .audit_class = k->audit_class,
                           .actor_kind = "operator",
                           .strength = "local access",
                           .decision = "operator"}};
    const store_account *account = account_of_call(k);
    tell_object(k, account, &m);
    tell_outcome(k, &m);
    audit_record_put(entry, &m.record);
    uint8_t room[AUDIT_OPENING_MAX];
    buf opening;
    buf_init_fixed(&opening, room, sizeof room);
    audit_opening_put(&opening, &m.opening);
    MUST(buf_check(&opening) == OK);
    store_opening_seal(k->st->store, account, NULL, buf_slice(&opening), private_part);
    store_account_unref(account);
}

void call_record_begin(call *k) {
    if (!k->st->records) return;
    k->recorder.make = make;
    k->c.record = &k->recorder;
}

err call_record_end(call *k, err e) {
    if (!k->c.record || (k->recorder.taken && e == OK)) return e;
    char why[512];
    snprintf(why, sizeof why, "%s", err_detail());
    k->outcome = e;
    err failed = store_record(k->st->store, &k->recorder);
    if (failed != OK)
        return err_fail(failed, "the command cannot be recorded, so it has no answer: %s",
                        err_detail());
    err_note("%s", why);
    return e;
}
