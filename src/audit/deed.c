/* Entries of what the server does by itself. */
#include "audit/event.h"

static const char *const class_names[] = {[STORE_DEED_ERASES] = "erasure",
                                          [STORE_DEED_ALTERS] = "alteration",
                                          [STORE_DEED_COLLECTS] = "collection"};

static slice account_name(const store_deed *d) {
    return d->account ? d->account->name : SLICE_NONE;
}

static void make(void *ctx, const store_deed *d, buf *entry, buf *private_part) {
    const slice *region = ctx;
    const store_touched *t = &d->recorder.touched;
    audit_event e;
    audit_event_begin(&e, d->store, d->account, *region);
    e.record.action = d->action;
    e.record.audit_class = class_names[d->kind];
    e.record.decision = d->decision;
    audit_event_actor(&e, "server", "none", d->rule);
    audit_event_object(&e, account_name(d), d->container_name, d->blob, t->known ? t : NULL);
    audit_event_outcome(&e, d->outcome);
    audit_event_write(&e, d->container, entry, private_part);
}

store_deeds audit_deeds(slice *region) {
    return (store_deeds){region, make};
}
