/* admin: the operator's side. Health, readiness and metrics on the admin listener; accounts,
 * containers and keys on a Unix socket in the data folder (ADMIN_SOCKET), which the operator's
 * commands use when a server runs. When none runs the commands call admin_call themselves on the
 * folder they opened: either way the same code does it.
 *
 * What it needs from below: ops, store, base, jansson. */
#pragma once

#include <stdatomic.h>

#include "audit/audit.h"
#include "ops/ops.h"
#include "rules/rules.h"
#include "upkeep/upkeep.h"

#define ADMIN_SOCKET           "admin.sock" /* under the data folder */
#define ADMIN_REQUEST_MAX      (512u << 10)
#define ADMIN_RESPONSE_MAX     (8u << 20)
#define ADMIN_PAGE_MAX         1000 /* containers in one answer */
#define ADMIN_ENDPOINT_DEFAULT "http://127.0.0.1:10000"

typedef struct admin_state {
    store *store;
    rules *rules;
    upkeep *upkeep; /* NULL: nothing is scrubbed */
    ops_metrics *metrics;
    atomic_bool ready; /* set when listeners are up; cleared when stopping */
    const char
        *endpoint;       /* what connection strings name, "https://blob.example.org"; may be NULL */
    const char *version; /* of the program; may be NULL */
    bool records;        /* commands leave records (store_options.records) */
    slice region;        /* what they name as the place */
    const char *log_folder;                     /* of the published record; NULL: none */
    audit_builder *builder;                     /* NULL: none */
    audit_witnesses *witnesses;                 /* likewise */
    int64_t started_us;                         /* wall clock; 0: not known */
    ops_floods *floods;                         /* NULL: none */
    atomic_uint overseen;                       /* answers to overseers under way */
    void (*extra_metrics)(void *ctx, buf *out); /* http's; may be NULL */
    void *extra_ctx;
} admin_state;

/* GET / (a page for people), /healthz (the process answers), /readyz (503 until ready, while stopping and after the engine
 * failed), /metrics (Prometheus text). Server context: admin_state. */
extern const ops_protocol admin_public_protocol;
/* POST /call with {"command": …}: the operator's commands. Only on the Unix socket. */
extern const ops_protocol admin_operator_protocol;

/* GET /log/…: the published record. Server context: admin_state with log_folder. */
extern const ops_protocol admin_log_protocol;
/* GET /oversight/v1/…: the record for those who oversee, by token. Server context: admin_state. */
extern const ops_protocol admin_oversight_protocol;
/* Who signs the record: the store's key, and its name, settled for good the first time (wanted, or when that is
 * empty one made from the key). The seed is secret. ERR_CONFIG: it has another name already. */
err admin_log_signer(store *s, arena *a, slice wanted_origin, audit_signer *ret) CHECKED;

/* One operator's command as JSON in and out (jansson text):
 *   account create {name, keys: [base64, …] (optional)}  account list|show|delete|rotate {name,
 * key: 1|2} account set {name, setting: "name=value"} container create {account, name, public: "blob"|"container", default_scope, scope_only: "yes" (optional)} container list
 * {account, prefix, marker}  container show|delete {account, name} container set {account, name, setting: "name=value"} key show|rotate {name, key}
 *   scope create|enable|disable|destroy {account, scope}  scope list {account}
 *   lifecycle set {account, policy: text}  lifecycle show|remove {account}  lifecycle run {account, dry: "yes"}
 *   audit key {}  audit status {}
 *   audit search {from, count, open: "yes", and what entries must say: since, until, class, action, result,
 *   purpose, account, container, blob, actor}  audit export {the same without count, format}
 *   audit watch {the same without count, wait: "yes"}  audit receipts {what entries must say}
 *   audit witnesses {}: the record's state, its witnesses and what is wrong
 *   oversight add {overseer, rights: "entries"|"openings" (optional), accounts: "a,b" (optional), expires: time
 *   (optional)}: {overseer, token}  oversight list {}  oversight enable|disable|remove {overseer}
 *   backup begin {}: {id, bytes}  backup renew {id}  backup end {id}  backup abandon {id}: the point that
 *   `strongroom backup` copies
 * "endpoint" may be given wherever a connection string is answered. Shared keys are in the answers
 * of `account create` and `key show` only. The errors are those of the store, ERR_INVALID_INPUT for
 * what it does not understand. */
err admin_call(admin_state *st, arena *a, slice request, slice *ret_response) CHECKED;

/* ---- for the command line, which holds no JSON of its own ---- */
/* The request of a command; pairs with an empty value are left out. */
slice admin_request(arena *a, const char *command, const pair *fields, size_t count);
/* What the socket answered: the response, or the server's error as ERR_INVALID_INPUT with its
 * message. */
err admin_reply(arena *a, int status, slice body, slice *ret_response) CHECKED;
/* A response as a person reads it: lines of "name: value", lists as tables. */
void admin_text(slice response, buf *out);
/* The elements of a list in a response, each as one line: of JSON, or the text that it is. */
void admin_lines(slice response, const char *list, buf *out);
/* A line of `audit receipts`: the receipt, and what opens its entry (nothing when it could not be opened). In the
 * arena. ERR_INVALID_INPUT. */
err admin_receipt(arena *a, slice line, slice *ret_receipt, audit_opening *ret) CHECKED;
/* Whether a field of a response is a count, and which. */
bool admin_count(slice response, const char *name, uint64_t *ret);
/* The text value of a field of a response; p NULL when it has none. */
slice admin_field(arena *a, slice response, const char *name);
