/* Private to admin/. */
#pragma once

#include <jansson.h>

#include "admin/admin.h"
#include "audit/record.h"

/* Prometheus text of everything that is not an operation: engine, store, process, and what the
 * state's extra_metrics adds. */
void admin_metrics_render(const admin_state *st, buf *out);
/* One metric with its HELP and TYPE lines. */
void admin_metric(buf *out, const char *name, const char *type, const char *help, uint64_t value);

/* An error as a line of text. */
void admin_text_fail(ops_request *r, ops_response *w, err e, const char *detail);

/* status.c: GET / */
err admin_status(ops_request *r, ops_response *w) CHECKED;

/* ---- call.c: one operator's command under way ---- */

/* Who asks from another machine (oversight.c). Borrowed until the call has been recorded. */
typedef struct call_client {
    slice overseer; /* empty: nobody that is known */
    bool permitted;
    slice address, request_id, purpose, reason;
} call_client;

typedef struct call {
    admin_state *st;
    store_call c;
    json_t *in, *out;
    const char *command, *audit_class; /* NULL: none was understood */
    store_recorder recorder;
    const call_client *client; /* NULL: the operator, on this machine */
    err outcome;               /* for the record */
    bool saw_nothing;          /* it leaves no record */
} call;
/* A string field of the request; empty when absent. ERR_INVALID_INPUT. */
err call_field(const call *k, const char *name, bool required, slice *ret) CHECKED;
/* A number in a string field; `otherwise` when it is absent. ERR_INVALID_INPUT. */
err call_number(const call *k, const char *name, uint64_t otherwise, uint64_t *ret) CHECKED;
void call_set(json_t *to, const char *name, slice v);
void call_set_time(arena *a, json_t *to, const char *name, int64_t us);
/* Calls `then` with the account that the request names. ERR_NOT_FOUND. */
err call_in_account(call *k, err (*then)(call *, const store_account *)) CHECKED;

/* The elements of a list, each as one line: of JSON, or the text that it is. */
void admin_put_lines(const json_t *list, buf *out);
/* {"error":{"code":…,"message":…}} */
void admin_json_fail(ops_request *r, ops_response *w, err e, const char *detail);

/* ---- record.c: the record of a command ---- */
void call_record_begin(call *k);
/* e: how the command ended, which is returned once its record is durable; otherwise why it is not. */
err call_record_end(call *k, err e) CHECKED;

/* ---- log.c ---- */
err audit_key(call *k) CHECKED;
err audit_status(call *k) CHECKED;
void log_metrics(const admin_state *st, buf *out);

/* ---- search.c: entries of the record ---- */
typedef struct audit_opened {
    bool known;
    audit_opening opening;
    slice why; /* not known: why not */
} audit_opened;
typedef struct audit_seeker {
    void *ctx;
    /* An entry that is asked for. o: NULL unless `opens`. All of it lives until this returns. */
    void (*found)(void *ctx, uint64_t index, json_t *entry, const audit_opened *o);
    bool opens;
    size_t max;    /* entries of one answer */
    uint64_t next; /* where to go on */
} audit_seeker;
/* Calls each entry that has what the request's fields ask for, in order, and answers with the record's size and,
 * when there may be more, with where to go on. ERR_INVALID_INPUT; ERR_NOT_FOUND for entries no longer kept. */
err audit_seek(call *k, audit_seeker *to) CHECKED;
/* When an entry was made. An error for what is none. */
err audit_entry_time(slice entry, int64_t *ret_us) CHECKED;

/* ---- audit.c ---- */
err audit_search(call *k) CHECKED;
err audit_watch(call *k) CHECKED;
err audit_export(call *k) CHECKED;

/* The member "opening" of an entry's row. */
void call_add_opening(json_t *row, const audit_opened *opened);

/* ---- receipts.c ---- */
err audit_receipts(call *k) CHECKED;

/* ---- export.c: entries as others write them ---- */
typedef struct audit_exported {
    uint64_t index;
    const json_t *entry;
    const audit_opening *o; /* empty when it cannot be opened */
    const char *endpoint;   /* of the server, for addresses of blobs */
} audit_exported;
typedef struct audit_format {
    const char *name, *head, *tail; /* what stands before and behind all entries */
    void (*put)(buf *out, const audit_exported *x);
} audit_format;
/* ERR_INVALID_INPUT, which names those there are. */
err audit_format_find(slice name, const audit_format **ret) CHECKED;

/* ---- overseer.c: who may look from another machine ---- */
err overseer_add(call *k) CHECKED;
err overseer_list(call *k) CHECKED;
err overseer_enable(call *k) CHECKED;
err overseer_disable(call *k) CHECKED;
err overseer_remove(call *k) CHECKED;

/* ---- alarms.c: what somebody must look after ---- */
#define ADMIN_ALARMS_MAX (AUDIT_POLICY_MAX + 8)
typedef struct admin_alarm {
    bool grave;         /* what is promised does not hold while it is so */
    slice what, action; /* what is wrong, and what to do; in the arena or static */
} admin_alarm;
/* The grave ones first. */
size_t admin_alarms(const admin_state *st, arena *a, admin_alarm ret[ADMIN_ALARMS_MAX]);
/* When the last checkpoint was published, in seconds since 1970; 0: not known. */
int64_t admin_published_s(const admin_state *st);
/* "audit witnesses": the record's state, its witnesses, and the alarms. */
err audit_witnesses_show(call *k) CHECKED;

/* ---- scope.c ---- */
err scope_create(call *k) CHECKED;
err scope_list(call *k) CHECKED;
err scope_enable(call *k) CHECKED;
err scope_disable(call *k) CHECKED;
err scope_destroy(call *k) CHECKED;

/* ---- backup.c ---- */
err backup_begin(call *k) CHECKED;
err backup_renew(call *k) CHECKED;
err backup_end(call *k) CHECKED;

/* ---- lifecycle.c ---- */
err lifecycle_set(call *k) CHECKED;
err lifecycle_show(call *k) CHECKED;
err lifecycle_remove(call *k) CHECKED;
err lifecycle_run(call *k) CHECKED;
void lifecycle_metrics(rules *r, buf *out);
