/* One access on its way into the record: what is known of it in plain words becomes the entry, which names nobody,
 * and the opening, which does and is sealed.
 *
 *   audit_event_begin, then what is known, in any order, then audit_event_write.
 *
 * What it needs from below: store (pseudonyms, keys of openings), record.h. */
#pragma once

#include "audit/record.h"
#include "store/store.h"

typedef struct audit_event {
    store *store;
    const store_account *account;
    audit_record record;
    audit_opening opening;
    uint8_t actor[STORE_PSEUDONYM_LEN], in_account[STORE_PSEUDONYM_LEN],
        in_container[STORE_PSEUDONYM_LEN];
    uint8_t name_salt[AUDIT_SALT_LEN], name[AUDIT_COMMITMENT_LEN];
    uint8_t reason_salt[AUDIT_SALT_LEN], reason[AUDIT_COMMITMENT_LEN];
    uint8_t asked_salt[AUDIT_SALT_LEN], asked[AUDIT_COMMITMENT_LEN];
} audit_event; /* points into itself: it is not moved */

/* It happens now. a: NULL when it is of no account that is known; region: empty for "local". All that is given here
 * and below is borrowed until the event is written. */
void audit_event_begin(audit_event *e, store *s, const store_account *a, slice region);
/* who: in words that only the opening keeps; empty: nobody that is known. */
void audit_event_actor(audit_event *e, const char *kind, const char *strength, slice who);
/* Names as they were asked for; empty: none. t: the blob as it was found or made, or NULL. */
void audit_event_object(audit_event *e, slice account, slice container, slice blob,
                        const store_touched *t);
void audit_event_purpose(audit_event *e, slice code, slice reason);
/* What else was asked for, in words that only the opening keeps: UTF-8, at most AUDIT_ASKED_MAX bytes. */
void audit_event_asked(audit_event *e, slice asked);
/* "ok", "refused" or "failed", and the code of the error. */
void audit_event_outcome(audit_event *e, err outcome);
/* k: the container whose key the opening goes with; NULL: the account's, or the log's own. */
void audit_event_write(const audit_event *e, const store_container *k, buf *entry,
                       buf *private_part);

/* Renders the entries of what the server does by itself. region: named as the place; outlives the store. */
store_deeds audit_deeds(slice *region);
