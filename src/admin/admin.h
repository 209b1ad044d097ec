/* admin: the operator's side. Health, readiness and metrics on the admin listener; accounts, containers
 * and keys on a Unix socket in the data folder (ADMIN_SOCKET), which the operator's commands use when a
 * server runs. When none runs the commands call admin_call themselves on the folder they opened: either
 * way the same code does it.
 *
 * What it needs from below: ops, store, base, jansson. */
#pragma once

#include "ops/ops.h"

#define ADMIN_SOCKET "admin.sock" /* under the data folder */

typedef struct admin_state {
    store *store;
    ops_metrics *metrics;
    bool ready;                        /* set when listeners are up; cleared when stopping */
    void (*extra_metrics)(void *ctx, buf *out); /* http's; may be NULL */
    void *extra_ctx;
} admin_state;

/* GET /healthz, /readyz, /metrics. Server context: admin_state. */
extern const ops_protocol admin_public_protocol;
/* POST /call with {"command": …}: the operator's commands. Only on the Unix socket. */
extern const ops_protocol admin_operator_protocol;

/* One operator's command as JSON in and out (jansson text):
 *   {"command":"account create","name":…}  -> {"name":…,"keys":[…]}
 *   account create|list|show|delete|rotate, container create|list|show|delete, key show
 * The errors are those of the store, ERR_INVALID_INPUT for what it does not understand. */
err admin_call(admin_state *st, arena *a, slice request, slice *ret_response) CHECKED;
