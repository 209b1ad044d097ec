#include "audit/event.h"

static slice pseudonym(const audit_event *e, slice name, uint8_t room[STORE_PSEUDONYM_LEN]) {
    if (name.len == 0) return SLICE_NONE;
    store_pseudonym(e->store, e->account, name, room);
    return slice_of(room, STORE_PSEUDONYM_LEN);
}

void audit_event_begin(audit_event *e, store *s, const store_account *a, slice region) {
    *e = (audit_event){.store = s, .account = a};
    e->record.time_us = clock_wall_us();
    e->record.region = region.len > 0 ? region : S("local");
    e->record.retain_us = STORE_TIME_NONE;
}

void audit_event_actor(audit_event *e, const char *kind, const char *strength, slice who) {
    e->record.actor_kind = kind;
    e->record.strength = strength;
    e->record.actor = pseudonym(e, who, e->actor);
    e->opening.actor = who;
}

static void tell_blob(audit_record *r, const store_touched *t) {
    r->has_object = true;
    r->bytes = t->length;
    r->etag = t->etag;
    r->snapshot = t->snapshot;
    r->version = t->version;
    r->hold = t->legal_hold;
    r->retain_us = t->immutable_until_us;
    r->has_md5 = t->has_md5;
    r->md5 = slice_of(t->md5, sizeof t->md5);
    r->has_crc64 = t->has_crc64;
    r->crc64 = t->crc64;
}

void audit_event_object(audit_event *e, slice account, slice container, slice blob,
                        const store_touched *t) {
    audit_opening *o = &e->opening;
    o->account = audit_text(account);
    o->container = audit_text(container);
    o->blob = audit_text(blob);
    e->record.account = pseudonym(e, o->account, e->in_account);
    e->record.container = pseudonym(e, o->container, e->in_container);
    if (o->blob.len > 0) {
        audit_commit(o->blob, e->name_salt, e->name);
        e->record.name = slice_of(e->name, sizeof e->name);
        o->name_salt = slice_of(e->name_salt, sizeof e->name_salt);
    }
    if (t) tell_blob(&e->record, t);
}

void audit_event_purpose(audit_event *e, slice code, slice reason) {
    e->record.purpose = code;
    if (reason.len == 0) return;
    audit_commit(reason, e->reason_salt, e->reason);
    e->record.reason = slice_of(e->reason, sizeof e->reason);
    e->opening.reason = reason;
    e->opening.reason_salt = slice_of(e->reason_salt, sizeof e->reason_salt);
}

void audit_event_asked(audit_event *e, slice asked) {
    MUST(asked.len <= AUDIT_ASKED_MAX);
    if (asked.len == 0) return;
    audit_commit(asked, e->asked_salt, e->asked);
    e->record.asked = slice_of(e->asked, sizeof e->asked);
    e->opening.asked = asked;
    e->opening.asked_salt = slice_of(e->asked_salt, sizeof e->asked_salt);
}

void audit_event_outcome(audit_event *e, err outcome) {
    const err_info *info = err_get(outcome);
    e->record.result = outcome == OK ? "ok" : info->status >= 500 ? "failed" : "refused";
    e->record.code = outcome == OK ? NULL : info->azure;
}

void audit_event_write(const audit_event *e, const store_container *k, buf *entry,
                       buf *private_part) {
    uint8_t room[AUDIT_OPENING_MAX];
    buf opening;
    audit_record_put(entry, &e->record);
    buf_init_fixed(&opening, room, sizeof room);
    audit_opening_put(&opening, &e->opening);
    MUST(buf_check(&opening) == OK); /* every part of it is bounded */
    store_opening_seal(e->store, e->account, k, buf_slice(&opening), private_part);
}
