/* Private to admin/. */
#pragma once

#include <jansson.h>

#include "admin/admin.h"

/* Prometheus text of everything that is not an operation: engine, store, process, and what the
 * state's extra_metrics adds. */
void admin_metrics_render(const admin_state *st, buf *out);
/* One metric with its HELP and TYPE lines. */
void admin_metric(buf *out, const char *name, const char *type, const char *help, uint64_t value);

/* An error as a line of text. */
void admin_text_fail(ops_request *r, ops_response *w, err e, const char *detail);

/* ---- call.c: one operator's command under way ---- */
typedef struct call {
    admin_state *st;
    store_call c;
    json_t *in, *out;
    const char *command, *audit_class; /* NULL: none was understood */
    store_recorder recorder;
    err outcome; /* for the record */
} call;
/* A string field of the request; empty when absent. ERR_INVALID_INPUT. */
err call_field(const call *k, const char *name, bool required, slice *ret) CHECKED;
void call_set(json_t *to, const char *name, slice v);
void call_set_time(arena *a, json_t *to, const char *name, int64_t us);
/* Calls `then` with the account that the request names. ERR_NOT_FOUND. */
err call_in_account(call *k, err (*then)(call *, const store_account *)) CHECKED;

/* ---- record.c: the record of a command ---- */
void call_record_begin(call *k);
/* e: how the command ended, which is returned once its record is durable; otherwise why it is not. */
err call_record_end(call *k, err e) CHECKED;

/* ---- log.c ---- */
err audit_key(call *k) CHECKED;
void log_metrics(const admin_state *st, buf *out);

/* ---- audit.c ---- */
err audit_list(call *k) CHECKED;

/* ---- lifecycle.c ---- */
err lifecycle_set(call *k) CHECKED;
err lifecycle_show(call *k) CHECKED;
err lifecycle_remove(call *k) CHECKED;
err lifecycle_run(call *k) CHECKED;
void lifecycle_metrics(rules *r, buf *out);
