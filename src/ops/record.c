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

typedef struct pseudonym {
    uint8_t b[STORE_PSEUDONYM_LEN];
} pseudonym;

/* All that one record is made of, while it is made. */
typedef struct making {
    const ops_request *r;
    audit_record record;
    audit_opening opening;
    pseudonym actor, account, container;
    uint8_t name_salt[AUDIT_SALT_LEN], name[AUDIT_COMMITMENT_LEN];
    uint8_t reason_salt[AUDIT_SALT_LEN], reason[AUDIT_COMMITMENT_LEN];
    char decision[64];
    char actor_room[ACTOR_MAX];
} making;

static slice pseudonym_of(const ops_request *r, slice name, pseudonym *room) {
    if (name.len == 0) return SLICE_NONE;
    store_pseudonym(r->server->store, r->account, name, room->b);
    return slice_of(room->b, sizeof room->b);
}

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

static void tell_actor(making *m) {
    static const struct {
        const char *kind, *strength;
    } kinds[] = {
        [AUTH_ANONYMOUS] = {"anonymous", "none"},
        [AUTH_SHARED_KEY] = {"key", "shared secret"},
        [AUTH_ACCOUNT_SAS] = {"sas", "token of a shared secret"},
        [AUTH_SERVICE_SAS] = {"sas", "token of a shared secret"},
    };
    const ops_request *r = m->r;
    buf text;
    buf_init_fixed(&text, m->actor_room, sizeof m->actor_room);
    m->record.actor_kind = kinds[r->caller.kind].kind;
    m->record.strength = kinds[r->caller.kind].strength;
    m->opening.actor = actor_text(r, &text);
    m->record.actor = pseudonym_of(r, m->opening.actor, &m->actor);
}

static void tell_object(making *m) {
    const ops_request *r = m->r;
    const store_touched *t = &r->recorder.touched;
    m->opening.account = audit_text(r->account_name);
    m->opening.container = audit_text(r->container);
    m->opening.blob = audit_text(r->blob);
    m->record.account = pseudonym_of(r, m->opening.account, &m->account);
    m->record.issuer = m->record.actor.len > 0 ? m->record.account : SLICE_NONE;
    m->record.container = pseudonym_of(r, m->opening.container, &m->container);
    if (m->opening.blob.len > 0) {
        audit_commit(m->opening.blob, m->name_salt, m->name);
        m->record.name = slice_of(m->name, sizeof m->name);
        m->opening.name_salt = slice_of(m->name_salt, sizeof m->name_salt);
    }
    m->record.retain_us = INT64_MIN;
    if (!t->known || r->outcome != OK) return;
    m->record.has_object = true;
    m->record.bytes = t->length;
    m->record.etag = t->etag;
    m->record.snapshot = t->snapshot;
    m->record.version = t->version;
    m->record.hold = t->legal_hold;
    m->record.retain_us = t->immutable_until_us;
    m->record.has_md5 = t->has_md5;
    m->record.md5 = slice_of(t->md5, sizeof t->md5);
    m->record.has_crc64 = t->has_crc64;
    m->record.crc64 = t->crc64;
}

static void tell_purpose(making *m) {
    const ops_request *r = m->r;
    m->record.purpose = r->purpose;
    if (r->reason.len == 0) return;
    audit_commit(r->reason, m->reason_salt, m->reason);
    m->record.reason = slice_of(m->reason, sizeof m->reason);
    m->opening.reason = r->reason;
    m->opening.reason_salt = slice_of(m->reason_salt, sizeof m->reason_salt);
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
static void tell_outcome(making *m) {
    const ops_request *r = m->r;
    const err_info *info = err_get(r->outcome);
    audit_record *x = &m->record;
    const bool denied = r->outcome != OK && !r->authorized;
    x->action = r->recorded_as != NULL ? r->recorded_as : r->row != NULL ? r->row->name : "unknown";
    x->audit_class = denied || r->row == NULL ? "refused" : class_names[r->row->audit_class];
    x->recipient = !denied && r->row != NULL && r->row->audit_class == OPS_DISCLOSURE;
    x->result = r->outcome == OK ? "ok" : info->status >= 500 ? "failed" : "refused";
    x->code = r->outcome == OK ? NULL : info->azure;
    x->status = r->status;
    x->decision = decision_of(r, m->decision);
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
    making m = {.r = r,
                .record = {.time_us = clock_wall_us(),
                           .region = r->server->region.len > 0 ? r->server->region : S("local"),
                           .peer_ip = r->peer_ip,
                           .request_id = r->id},
                .opening = {.address = r->peer_ip}};
    tell_actor(&m);
    tell_object(&m);
    tell_purpose(&m);
    tell_outcome(&m);
    audit_record_put(entry, &m.record);
    uint8_t room[AUDIT_OPENING_MAX];
    buf opening;
    buf_init_fixed(&opening, room, sizeof room);
    audit_opening_put(&opening, &m.opening);
    MUST(buf_check(&opening) == OK);
    const store_container *k = container_of_record(r);
    store_opening_seal(r->server->store, r->account, k, buf_slice(&opening), private_part);
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
    return audit_purpose_parse(text, &r->purpose, &r->reason);
}

bool ops_record_due(const ops_request *r, const ops_response *w) {
    if (r->record == NULL) return false;
    if (r->row != NULL && (r->row->flags & OPS_UNRECORDED) != 0) return false;
    return !r->recorder.taken || (w->error != OK && r->outcome == OK);
}

static void note_outcome(ops_request *r, const ops_response *w) {
    r->outcome = w->error;
    r->status = w->status;
}

void ops_record_later(ops_request *r, const ops_response *w, engine_done *done, void *ctx) {
    note_outcome(r, w);
    store_record_later(r->server->store, &r->recorder, done, ctx);
}

void ops_record(ops_request *r, ops_response *w) {
    if (!ops_record_due(r, w)) return;
    note_outcome(r, w);
    err e = store_record(r->server->store, &r->recorder);
    if (e != OK) ops_fail(r, w, e);
}
