/* ops: what an operation is. The table's row, the request and response that protocols see, dispatch,
 * and the metrics of both.
 *
 * A protocol (blob/, later dfs/; admin/) contributes rows and a few functions (ops_protocol). The http
 * adapter makes an ops_request of what came in, calls ops_begin, then ops_run, and sends the
 * ops_response. Handlers are straight-line code; they neither know threads nor sockets.
 *
 *   ops_begin   find the row (protocol's route), establish the caller, decide       loop or worker
 *   ops_run     the handler                                                          loop (fast rows) or worker
 *   ops_finish  count and log, once a request, after the last byte                   any thread
 *
 * A request may hold others (Blob Batch): its handler makes an ops_request of each and runs it through
 * the same functions, after ops_route has told which operation it is.
 *
 * Each of the first two with req->nowait set may say ERR_WOULD_BLOCK; then nothing was done and the
 * same call runs again on a worker with nowait false. Any other error has been rendered into the
 * response already when ops_fail was called for it.
 *
 * What it needs from below: auth, store, base. */
#pragma once

#include "audit/audit.h"
#include "auth/auth.h"

#define OPS_HEADERS_MAX          256 /* in a request; more: 400 */
#define OPS_PARAMS_MAX           64
#define OPS_TARGET_MAX           16384 /* bytes of the request target */
#define OPS_RESPONSE_HEADERS_MAX 288
#define OPS_BODY_SMALL_MAX       (64u << 10) /* bodies up to this are gathered before a worker starts */
#define OPS_RESPONSE_MAX         (16u << 20) /* a body rendered in memory */
#define OPS_LEN_UNKNOWN          UINT64_MAX

typedef struct ops_request ops_request;
typedef struct ops_response ops_response;
typedef struct ops_row ops_row;
typedef struct ops_protocol ops_protocol;
typedef struct ops_server ops_server;

typedef enum ops_method {
    OPS_GET,
    OPS_HEAD,
    OPS_PUT,
    OPS_POST,
    OPS_DELETE,
    OPS_PATCH,
    OPS_OPTIONS,
    OPS_OTHER
} ops_method;

typedef enum ops_level { OPS_SERVICE, OPS_CONTAINER, OPS_BLOB } ops_level;

/* What the record calls an operation (AUDIT: class). */
typedef enum ops_class {
    OPS_COLLECTION,
    OPS_ALTERATION,
    OPS_CONSULTATION,
    OPS_DISCLOSURE,
    OPS_COMBINATION,
    OPS_ERASURE,
    OPS_POLICY,
    OPS_KEY,
    OPS_ADMIN,
    OPS_OVERSIGHT
} ops_class;

enum {                             /* flags of a row */
       OPS_FAST = 1u << 0,         /* try on the event loop with nowait first */
       OPS_BODY_IN = 1u << 1,      /* takes a body; otherwise a body is refused */
       OPS_BODY_STREAMS = 1u << 2, /* the body may be larger than OPS_BODY_SMALL_MAX */
       OPS_NO_SECONDARY = 1u << 3, /* refused on the read-only secondary */
       OPS_SECONDARY_ONLY = 1u << 4,
       /* The handler makes one change, and nothing that can fail comes after it: the answer may be held
        * back until the change is durable while the thread goes on with other requests. */
       OPS_LATER = 1u << 5,
       OPS_SCOPE = 1u << 11,        /* writes under an encryption scope: x-ms-encryption-scope */
       OPS_CUSTOMER_KEY = 1u << 10, /* takes a customer's key: x-ms-encryption-key … */
       OPS_PICKS = 1u << 6,         /* also of a snapshot or a version: snapshot=, versionid= */
       OPS_STRUCTURED =
           1u << 7,        /* its body, in or out, may be a structured message (structured.c) */
       OPS_LONG = 1u << 8, /* may take minutes: runs among the large bodies */
       OPS_UNRECORDED =
           1u << 9, /* leaves no record: it touches no data and no settings, or records itself */
};
enum { /* conditional headers a row honours; others it is sent are refused or ignored as Azure does */
       OPS_IF_MATCH = 1u << 0,
       OPS_IF_NONE_MATCH = 1u << 1,
       OPS_IF_MODIFIED = 1u << 2,
       OPS_IF_UNMODIFIED = 1u << 3,
       OPS_IF_LEASE = 1u << 4,
       OPS_IF_TAGS = 1u << 5, /* x-ms-if-tags */
       OPS_IF_ALL = 63,
       OPS_IF_BLOB_NAMES = 1u << 6, /* the first four are named x-ms-blob-if-… */
};

struct ops_row {
    const char *name; /* Azure's: "Put Blob" */
    ops_method method;
    ops_level level;
    const char *restype,
        *comp; /* query parameters that must be there with this value; NULL: must be absent */
    const char *header,
        *header_value; /* headers that must be there (NULL: none), with commas between; the last has
                          this value, in any case (NULL: any) */
    auth_need need;
    const char *action; /* role action, "…/containers/blobs/read" */
    ops_class audit_class;
    unsigned conditions; /* OPS_IF_… */
    unsigned flags;
    uint64_t body_max; /* bytes; larger: 413 before the body is read */
    err (*run)(ops_request *r, ops_response *w);
    const char *param; /* a query parameter that must be there, whatever its value; NULL: none */
};

struct ops_request {
    /* From the adapter. */
    ops_server *server;
    arena *arena;
    ops_method method;
    slice method_text;
    slice target; /* request target as sent: path[?query] */
    pair headers[OPS_HEADERS_MAX];
    size_t header_count;
    bool tls;
    slice peer_ip;
    uint64_t content_length; /* OPS_LEN_UNKNOWN: chunked; 0: no body */
    bool has_length;         /* Content-Length was sent */
    bool nowait;
    /* Blocking read of the body, up to cap bytes; ret_n 0 at its end. ERR_CANCELLED when the client is
     * gone. Only on a worker. */
    err (*body_read)(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n);
    /* The same without a copy: what comes next, valid until the next call; empty at the end. */
    err (*body_take)(ops_request *r, slice *ret);
    /* The whole body when it was gathered (content_length <= OPS_BODY_SMALL_MAX), else SLICE_NONE; reading it
     * with body_read works as well. */
    slice body;
    /* Set by an adapter that can hold an answer back until a change is durable (OPS_LATER). */
    store_later *later;
    void *adapter;

    /* From ops_begin. */
    slice id;           /* x-ms-request-id: a UUID */
    int64_t started_us; /* monotonic */
    slice path_raw, query_raw;
    pair params[OPS_PARAMS_MAX]; /* decoded */
    size_t param_count;
    slice version; /* x-ms-version, or sv, or the default; echoed */
    const ops_protocol *protocol;
    const ops_row *row; /* NULL until routed */
    slice account_name; /* without -secondary */
    bool secondary;
    bool path_style;
    slice container, blob; /* decoded */
    const store_account
        *account; /* reference owned by the request; NULL: no such one, in a row that
                                     everyone may ask (AUTH_PUBLIC_ALWAYS) */
    auth_caller caller;
    store_customer *customer; /* the key that it brings, from the handler on; wiped at its end */
    slice scope; /* the encryption scope that it names, from the handler on; empty: none */
    uint64_t bytes_in, bytes_out;
    bool authorized; /* ops_begin came to its end */
    bool witnessed;  /* its container's answers wait for the witnesses */
    ops_request
        *outer;   /* the one that it is inside of, and whose answer waits with it; NULL: none */
    bool counted; /* its refusal is told with others' (flood.c), in no entry of its own */

    store_recorder recorder;  /* of its record (record.c) */
    store_recorder *record;   /* that; NULL: the server keeps none */
    engine_done *record_done; /* of ops_record_later */
    void *record_ctx;
    audit_wait wait;
    slice purpose, reason;   /* x-ms-purpose, once it was read */
    bool purpose_default;    /* the purpose is its key's, which the account's settings name */
    const char *recorded_as; /* the record's action, when it is not the row's; NULL: it is */
    err outcome;             /* what the record says of it; OK while the handler runs */
    int status;              /* likewise; 0: not known yet */

    struct ops_unwrap *unwrap; /* of ops_run: the body is taken out of a structured message */
};

typedef enum ops_body_kind {
    OPS_BODY_NONE,
    OPS_BODY_BYTES,
    OPS_BODY_PARTS,
    OPS_BODY_SOURCE
} ops_body_kind;

struct ops_response {
    int status;
    pair headers[OPS_RESPONSE_HEADERS_MAX]; /* values in the request's arena or static */
    size_t header_count;
    ops_body_kind kind;
    slice body; /* OPS_BODY_BYTES: in the arena or in memory that `source_ctx` keeps alive */
    /* OPS_BODY_PARTS: one after the other, `length` together; in memory that `source_ctx` keeps alive,
     * and whose amount whoever owns it bounds. */
    const slice *parts;
    size_t part_count;
    uint64_t length; /* bytes of the body; on HEAD: what GET would send */
    /* OPS_BODY_SOURCE: called with rising offsets by the loop (nowait) or a worker. With a length of
     * OPS_LEN_UNKNOWN the body ends when it gives nothing. */
    err (*source_read)(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                       size_t *ret_n);
    void (*source_free)(void *ctx); /* called once in every case when not NULL, with any kind */
    void *source_ctx;
    err error;    /* what went wrong, OK if nothing; for the log */
    slice detail; /* and why, for the log; set by ops_fail */
    bool close;   /* close the connection after this answer */
};

struct ops_protocol {
    const char *name; /* "blob" */
    const ops_row *rows;
    size_t row_count;
    /* Fills account_name … blob of r from target and Host, and returns the row. ERR_INVALID_URI,
     * ERR_UNSUPPORTED_HTTP_VERB, ERR_INVALID_QUERY_PARAMETER_VALUE …; ERR_NOT_FOUND: not a request of
     * this protocol, the next one is asked. */
    err (*route)(ops_request *r, const ops_row **ret) CHECKED;
    /* Renders an error: status, code header, body. May be called before r is routed. */
    void (*fail)(ops_request *r, ops_response *w, err e, const char *detail);
    /* Adds what every answer carries (x-ms-request-id, x-ms-version, CORS headers …). */
    void (*decorate)(ops_request *r, ops_response *w);
};

/* What a listener serves. */
struct ops_server {
    store *store;
    const ops_protocol *const
        *protocols;    /* NULL-terminated; the first whose route knows the request, and the last for
                          what is refused before that */
    slice host_suffix; /* "blob.example.org": ACCOUNT.host_suffix is host style; empty: path only */
    slice website_suffix; /* ACCOUNT.website_suffix is its website; empty: there are none */
    bool
        account_in_host; /* a Host with a dot that is no address begins with the account (Azurite) */
    bool development;
    bool authenticate; /* false: admin listener and socket; route only */
    bool records;      /* requests leave records (store_options.records) */
    audit_builder
        *builder;   /* where answers wait for the witnesses; NULL: there are none to wait for */
    bool witnessed; /* all answers do; otherwise those of containers that ask for it */
    int64_t witnessed_wait_us; /* at most so long */
    slice region;              /* what records name as the place */
    struct ops_floods *floods; /* NULL: each refusal leaves an entry */
    struct ops_metrics *metrics;
    void *context; /* the protocol's own (admin: its state) */
};

/* Only finds the row: for a request inside another one (a batch), whose x-ms-version the caller sets
 * before ops_begin. ops_begin goes on from there. */
err ops_route(ops_request *r) CHECKED;
/* Route, identify, permit. On an error other than ERR_WOULD_BLOCK call ops_fail. */
err ops_begin(ops_request *r) CHECKED;
/* Instead of ops_begin, for a request that another one leads to (the source of a copy): permits it as
 * the caller of `by`, whose account it must be in; nothing but what `by` was let in with counts. */
err ops_begin_as(ops_request *r, const ops_request *by) CHECKED;
/* Runs the handler. On an error other than ERR_WOULD_BLOCK call ops_fail. */
err ops_run(ops_request *r, ops_response *w) CHECKED;
/* Replaces whatever w held by the protocol's rendering of e (with this thread's err_detail). */
void ops_fail(ops_request *r, ops_response *w, err e);
/* Whether the answer w may leave only after ops_record_later: a record of its own is due, since no change carries it
 * (refusals and failures after a change have one as well), or its record is not witnessed yet. */
bool ops_record_due(const ops_request *r, const ops_response *w);
/* Whether the answer waits for the witnesses: the server's all do, or its container's, or that of a request inside it.
 * Only what was allowed does, a refusal tells nothing of what is kept. */
bool ops_witness_due(const ops_request *r);
/* Writes the record that is due; done is called once, when it is durable, and witnessed where that is due, or with an
 * error: then ops_fail(r, w, error), and that is what may leave. done must not block. */
void ops_record_later(ops_request *r, const ops_response *w, engine_done *done, void *ctx);
/* The same, waiting, when a record is due; an error is rendered into w. For requests inside others, whose answer is the
 * one that waits for the witnesses. */
void ops_record(ops_request *r, ops_response *w);
/* Decorates w: call once, before headers are sent. */
void ops_decorate(ops_request *r, ops_response *w);
/* Counts and logs, drops references. aborted: the client went away before the end. */
void ops_finish(ops_request *r, ops_response *w, bool aborted);

/* ---- refusals of nobody that is known, beyond a rate (flood.c) ---- */
typedef struct ops_floods ops_floods;
#define OPS_REFUSED_RATE_MAX 100000
#define OPS_REFUSALS         "refusals" /* the action of the entries that count them */
/* rate: refusals a second that leave an entry each, of a network; ten times that of all. region: outlives it. */
err ops_floods_start(store *s, slice region, uint64_t rate, ops_floods **ret) CHECKED;
/* Tells what has been counted. NULL is allowed; returns NULL. */
ops_floods *ops_floods_stop(ops_floods *f);
/* Somebody at this address, whom nobody knows, is refused. True: beyond the rate; it has been counted and leaves no entry of
 * its own, and the answer is ERR_SERVER_BUSY. f: NULL allowed. */
bool ops_flooded(ops_floods *f, slice peer_ip);
typedef struct ops_floods_stats {
    uint64_t counted, summaries; /* refusals, and the entries that told them */
} ops_floods_stats;
void ops_floods_get_stats(ops_floods *f, ops_floods_stats *ret);

/* ---- for handlers ---- */
/* First header of that name (case-insensitive), trimmed; SLICE_NONE (p NULL) when absent. */
slice ops_header(const ops_request *r, const char *name);
/* The HTTP date in a header; ret_us is left alone when it is absent. ERR_INVALID_HEADER_VALUE. */
err ops_header_time(const ops_request *r, const char *name, int64_t *ret_us) CHECKED;
slice ops_header_named(const ops_request *r, slice name);
slice ops_param(const ops_request *r,
                const char *name); /* case-sensitive name; p NULL when absent */
store_call ops_call(const ops_request *r);
void ops_set(ops_response *w, const char *name,
             slice value); /* value must live as long as the request */
void ops_set_u64(ops_request *r, ops_response *w, const char *name, uint64_t v);
void ops_set_time(ops_request *r, ops_response *w, const char *name, int64_t us); /* HTTP date */
void ops_set_etag(ops_request *r, ops_response *w, uint64_t etag); /* ETag: "0x8D…" */
void ops_body(ops_response *w, slice body);
/* Gathers a body of at most max bytes into the arena (XML documents). ERR_REQUEST_BODY_TOO_LARGE. */
err ops_body_all(ops_request *r, size_t max, slice *ret) CHECKED;
/* A header that holds a GUID, as UUID_LEN bytes; empty when absent. ERR_INVALID_HEADER_VALUE. */
err ops_guid(const ops_request *r, const char *name, slice *ret) CHECKED;
/* Reads the conditional headers that the row honours. ERR_INVALID_HEADER_VALUE;
 * ERR_AUTHORIZATION_PERMISSION_MISMATCH for x-ms-if-tags of who may not read tags. */
err ops_conditions(const ops_request *r, store_conditions *ret) CHECKED;

/* auth_may_tag of the caller; true where nobody is asked who they are. */
bool ops_may_tag(const ops_request *r);

/* ---- metrics ---- */
typedef struct ops_metrics ops_metrics;
ops_metrics *ops_metrics_new(void);
ops_metrics *ops_metrics_free(ops_metrics *m);
/* Prometheus text: requests by operation and status, seconds (histogram), bytes in and out. */
void ops_metrics_render(const ops_metrics *m, buf *out);
