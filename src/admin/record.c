/* The record of an operator's command: what it was, on which account and container, and what came of it. The
 * operator is whoever can open the data folder or its socket; the machine knows no more of them. */
#include "admin/internal.h"
#include "audit/event.h"

static slice name_in(const call *k, const char *field) {
    slice name;
    return call_field(k, field, false, &name) == OK ? name : SLICE_NONE;
}

/* An encryption scope stands where a blob's name does: it is not to look like a container of that name. */
static void tell_object(audit_event *x, const call *k) {
    const slice account = name_in(k, "account"), name = name_in(k, "name");
    const slice container = name_in(k, "container"), blob = name_in(k, "blob"),
                scope = name_in(k, "scope");
    if (account.len == 0) /* of which `name` is the name, then */
        audit_event_object(x, name, SLICE_NONE, SLICE_NONE, NULL);
    else
        audit_event_object(x, account, container.len > 0 ? container : name,
                           blob.len > 0 ? blob : scope, NULL);
}

/* What else the command was given, as far as no secret and no document stands there. Of JSON, so it is UTF-8. */
static void tell_asked(audit_event *x, const call *k, uint8_t room[AUDIT_ASKED_MAX]) {
    static const char *const fields[] = {
        "from",  "since", "until",  "class",   "action", "result",   "purpose",  "actor",
        "count", "open",  "format", "setting", "rights", "overseer", "accounts", "expires"};
    arena *a = arena_new(4096, 1 << 20);
    buf b;
    buf_init_arena(&b, a, ADMIN_REQUEST_MAX + 1024);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const slice value = name_in(k, fields[i]);
        if (value.len == 0) continue;
        buf_fmt(&b, "%s%s=", b.len > 0 ? "; " : "", fields[i]);
        buf_put(&b, value);
    }
    const slice text = slice_take_utf8(buf_slice(&b), AUDIT_ASKED_MAX);
    if (text.len > 0) memcpy(room, text.p, text.len);
    arena_free(a);
    audit_event_asked(x, slice_of(room, text.len));
}

static void tell_client(audit_event *x, const call *k, slice actor) {
    const call_client *c = k->client;
    const bool known = c->overseer.len > 0, denied = k->outcome != OK && !c->permitted;
    audit_event_actor(x, known ? "overseer" : "anonymous", known ? "token" : "none", actor);
    x->record.peer_ip = x->opening.address = c->address;
    x->record.request_id = c->request_id;
    x->record.status = k->outcome == OK ? 200 : err_get(k->outcome)->status;
    x->record.decision = denied ? "refused" : "oversight token";
    x->record.recipient = !denied && strcmp(k->audit_class, "disclosure") == 0;
    if (denied) x->record.audit_class = "refused";
    audit_event_purpose(x, c->purpose, c->reason);
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
    const store_account *account = account_of_call(k);
    uint8_t actor_room[STORE_OVERSEER_NAME_MAX + 16], asked_room[AUDIT_ASKED_MAX];
    buf actor;
    audit_event x;
    buf_init_fixed(&actor, actor_room, sizeof actor_room);
    audit_event_begin(&x, k->st->store, account, k->st->region);
    x.record.action = k->command;
    x.record.audit_class = k->audit_class;
    tell_object(&x, k);
    tell_asked(&x, k, asked_room);
    audit_event_outcome(&x, k->outcome);
    if (k->client && k->client->overseer.len > 0)
        buf_fmt(&actor, "overseer %.*s", SLICE_ARG(k->client->overseer));
    if (k->client) {
        tell_client(&x, k, buf_slice(&actor));
    } else {
        x.record.decision = "operator";
        audit_event_actor(&x, "operator", "local access", SLICE_NONE);
    }
    audit_event_write(&x, NULL, entry, private_part);
    store_account_unref(account);
}

void call_record_begin(call *k) {
    if (!k->st->records) return;
    k->recorder.make = make;
    k->c.record = &k->recorder;
}

err call_record_end(call *k, err e) {
    if (!k->c.record || (k->recorder.taken && e == OK)) return e;
    if (k->saw_nothing && e == OK) return OK;
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
