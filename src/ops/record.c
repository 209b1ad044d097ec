/* The record of a request: who asked for what, and what came of it. The request's first change carries it, or it
 * is written alone before the answer leaves. */
#include "ops/internal.h"

static const char *const class_names[] = {
    [OPS_COLLECTION] = "collection",
    [OPS_ALTERATION] = "alteration",
    [OPS_CONSULTATION] = "consultation",
    [OPS_DISCLOSURE] = "disclosure",
    [OPS_COMBINATION] = "combination",
    [OPS_ERASURE] = "erasure",
    [OPS_POLICY] = "policy",
    [OPS_KEY] = "key",
    [OPS_ADMIN] = "admin",
    [OPS_OVERSIGHT] = "oversight",
};

/* Bytes of the text that stands for who asked: the longest ends with the id of a policy, 64 characters. */
#define ACTOR_MAX 320

/* A token is told from others by its signature, of which the hash is kept. */
static void put_token(buf *b, const ops_request *r, const char *kind) {
    uint8_t digest[CRYPTO_SHA256_LEN];
    crypto_sha256(ops_param(r, "sig"), digest);
    buf_fmt(b, "%s ", kind);
    hex_put(b, slice_of(digest, 16));
    if (r->caller.policy_id.len > 0) buf_fmt(b, " %.*s", SLICE_ARG(r->caller.policy_id));
}

/* Who asked, in words that the opening keeps and the pseudonym stands for. Not yet known who: nobody. */
static slice actor_text(const ops_request *r, buf *b) {
    switch (r->caller.kind) {
    case AUTH_ANONYMOUS:
        return SLICE_NONE;
    case AUTH_SHARED_KEY:
        buf_fmt(b, "key %d of %.*s", r->caller.key_index + 1, SLICE_ARG(r->account_name));
        break;
    case AUTH_ACCOUNT_SAS:
        put_token(b, r, "account token");
        break;
    case AUTH_SERVICE_SAS:
        put_token(b, r, "service token");
        break;
    }
    return buf_slice(b);
}

static void tell_actor(audit_event *x, const ops_request *r, buf *room) {
    static const struct {
        const char *kind, *strength;
    } kinds[] = {
        [AUTH_ANONYMOUS] = {"anonymous", "none"},
        [AUTH_SHARED_KEY] = {"key", "shared secret"},
        [AUTH_ACCOUNT_SAS] = {"sas", "token of a shared secret"},
        [AUTH_SERVICE_SAS] = {"sas", "token of a shared secret"},
    };
    audit_event_actor(x, kinds[r->caller.kind].kind, kinds[r->caller.kind].strength,
                      actor_text(r, room));
    if (x->record.actor.len > 0) x->record.issuer = x->record.account;
}

/* What let the request in, or that nothing did. */
static const char *decision_of(const ops_request *r, char room[64]) {
    if (!r->authorized) return "refused";
    if (!r->server->authenticate) return "operator";
    switch (r->caller.kind) {
    case AUTH_ANONYMOUS:
        return "public access";
    case AUTH_SHARED_KEY:
        return "account key";
    case AUTH_ACCOUNT_SAS:
    case AUTH_SERVICE_SAS:
        snprintf(room, 64, "token, permissions %.*s",
                 SLICE_ARG(slice_take(r->caller.permissions, 32)));
        return room;
    }
    return "refused";
}

/* What nobody was allowed is a refusal whatever it was meant to be. */
static void tell_outcome(audit_event *x, const ops_request *r, char decision[64]) {
    const bool denied = r->outcome != OK && !r->authorized;
    audit_event_outcome(x, r->outcome);
    x->record.action = r->recorded_as ? r->recorded_as : r->row ? r->row->name : "unknown";
    x->record.audit_class = denied || !r->row ? "refused" : class_names[r->row->audit_class];
    x->record.recipient = !denied && r->row && r->row->audit_class == OPS_DISCLOSURE;
    x->record.status = r->status;
    x->record.decision = decision_of(r, decision);
}

/* The container that the opening goes with, when its key is at hand: this never waits. */
static const store_container *container_of_record(const ops_request *r) {
    const store_container *k = NULL;
    if (r->account == NULL || r->container.len == 0) return NULL;
    const store_call c = {.arena = r->arena, .nowait = true};
    return store_container_get(r->server->store, c, r->account, r->container, &k) == OK ? k : NULL;
}

static void make(store_recorder *s, buf *entry, buf *private_part) {
    const ops_request *r = (ops_request *)((uintptr_t)s - offsetof(ops_request, recorder));
    const store_touched *t = s->touched.known && r->outcome == OK ? &s->touched : NULL;
    audit_event x;
    uint8_t actor_room[ACTOR_MAX];
    char decision[64];
    buf actor;
    buf_init_fixed(&actor, actor_room, sizeof actor_room);
    audit_event_begin(&x, r->server->store, r->account, r->server->region);
    x.record.peer_ip = r->peer_ip;
    x.record.request_id = r->id;
    x.opening.address = r->peer_ip;
    audit_event_object(&x, r->account_name, r->container, r->blob, t);
    tell_actor(&x, r, &actor);
    audit_event_purpose(&x, r->purpose, r->reason);
    x.record.purpose_default = r->purpose_default;
    tell_outcome(&x, r, decision);
    const store_container *k = container_of_record(r);
    audit_event_write(&x, k, entry, private_part);
    store_container_unref(k);
}

void ops_record_begin(ops_request *r) {
    if (!r->server->records) return;
    r->recorder.make = make;
    r->record = &r->recorder;
}

err ops_parse_purpose(ops_request *r) {
    const slice text = ops_header(r, "x-ms-purpose");
    if (text.p == NULL || !r->server->authenticate) return OK;
    r->purpose_default = false;
    return audit_purpose_parse(text, &r->purpose, &r->reason);
}

static bool entry_due(const ops_request *r, const ops_response *w) {
    if (r->record == NULL || r->counted) return false;
    if (r->row != NULL && (r->row->flags & OPS_UNRECORDED) != 0) return false;
    return !r->recorder.taken || (w->error != OK && r->outcome == OK);
}

bool ops_witness_due(const ops_request *r) {
    const bool wanted = r->server->witnessed || r->witnessed;
    return r->server->builder != NULL && wanted && r->record != NULL && r->authorized;
}

bool ops_record_due(const ops_request *r, const ops_response *w) {
    return entry_due(r, w) || ops_witness_due(r);
}

static void note_outcome(ops_request *r, const ops_response *w) {
    r->outcome = w->error;
    r->status = w->status;
}

static void await_witnesses(ops_request *r) {
    r->wait = (audit_wait){.done = r->record_done, .ctx = r->record_ctx};
    audit_builder_await(r->server->builder, &r->wait, r->server->witnessed_wait_us);
}

static err not_recorded(err e) {
    return err_fail(e, "the access cannot be recorded: %s", err_detail());
}

static void recorded(void *ctx, err e) {
    ops_request *r = ctx;
    if (e == OK && ops_witness_due(r))
        await_witnesses(r);
    else
        r->record_done(r->record_ctx, e == OK ? OK : not_recorded(e));
}

void ops_record_later(ops_request *r, const ops_response *w, engine_done *done, void *ctx) {
    r->record_done = done;
    r->record_ctx = ctx;
    if (!entry_due(r, w)) {
        await_witnesses(r);
        return;
    }
    note_outcome(r, w);
    store_record_later(r->server->store, &r->recorder, recorded, r);
}

void ops_record(ops_request *r, ops_response *w) {
    if (!entry_due(r, w)) return;
    note_outcome(r, w);
    err e = store_record(r->server->store, &r->recorder);
    if (e != OK) ops_fail(r, w, not_recorded(e));
}
