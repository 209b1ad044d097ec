/* The public part of the record: GET /log/checkpoint and /log/tile/…, from the published folder. Anyone may read
 * it; that is what it is for. Any web server that serves the folder's files does as well. */
#include "admin/internal.h"

#define CHECKPOINT S("checkpoint")

/* The path below /log/, or an empty slice. */
static slice path_of(const ops_request *r) {
    return slice_starts(r->path_raw, S("/log/")) ? slice_skip(r->path_raw, 5) : SLICE_NONE;
}

static err get(ops_request *r, const char *path, size_t max, slice *ret) {
    const admin_state *st = r->server->context;
    const audit_source s = audit_folder(st->log_folder);
    err e = s.get(s.ctx, r->arena, path, max, ret);
    if (e == ERR_NOT_FOUND) return err_fail(ERR_RESOURCE_NOT_FOUND, "%s is not there", path);
    return e;
}

static err send(ops_request *r, ops_response *w, const char *path, size_t max, const char *type,
                const char *caching) {
    slice data;
    if (r->nowait) return ERR_WOULD_BLOCK;
    TRY(get(r, path, max, &data));
    ops_set(w, "Content-Type", slice_str(type));
    ops_set(w, "Cache-Control", slice_str(caching));
    ops_set(w, "Access-Control-Allow-Origin", S("*"));
    ops_body(w, data);
    return OK;
}

static err run_checkpoint(ops_request *r, ops_response *w) {
    return send(r, w, "checkpoint", AUDIT_CHECKPOINT_MAX, "text/plain; charset=utf-8", "no-cache");
}

static err run_minimum(ops_request *r, ops_response *w) {
    return send(r, w, "minimum-index", 64, "text/plain; charset=utf-8", "no-cache");
}

static err run_tile(ops_request *r, ops_response *w) {
    audit_tile t;
    if (audit_tile_parse(path_of(r), &t) != OK)
        return err_fail(ERR_RESOURCE_NOT_FOUND, "here are /log/checkpoint and /log/tile/… only");
    return send(r, w, arena_cstr(r->arena, path_of(r)), audit_tile_max(t.level),
                "application/octet-stream", "max-age=31536000, immutable");
}

#define LOG_ROW(name_, run_)                                                                       \
    {                                                                                              \
        .name = (name_), .method = OPS_GET, .level = OPS_SERVICE,                                  \
        .need = {.resource_type = 's', .anonymous = AUTH_PUBLIC_ALWAYS},                           \
        .audit_class = OPS_OVERSIGHT, .flags = OPS_UNRECORDED, .run = (run_)                       \
    }
static const ops_row rows[] = {LOG_ROW("Log Checkpoint", run_checkpoint),
                               LOG_ROW("Log Tile", run_tile),
                               LOG_ROW("Log Minimum Index", run_minimum)};

static err route(ops_request *r, const ops_row **ret) {
    const slice path = path_of(r);
    ENSURE(r->method == OPS_GET || r->method == OPS_HEAD, ERR_UNSUPPORTED_HTTP_VERB,
           "the record is read only");
    ENSURE(path.len > 0, ERR_RESOURCE_NOT_FOUND, "here are /log/checkpoint and /log/tile/… only");
    *ret = slice_eq(path, CHECKPOINT)           ? &rows[0]
           : slice_eq(path, S("minimum-index")) ? &rows[2]
                                                : &rows[1];
    return OK;
}

const ops_protocol admin_log_protocol = {.name = "log",
                                         .rows = rows,
                                         .row_count = ARRAY_LEN(rows),
                                         .route = route,
                                         .fail = admin_text_fail};

/* ---- the log's identity ---- */

err admin_log_signer(store *s, arena *a, slice wanted_origin, audit_signer *ret) {
    store_log_keys keys;
    uint8_t public_key[CRYPTO_ED25519_LEN], digest[CRYPTO_SHA256_LEN];
    store_log_keys_get(s, &keys);
    memcpy(ret->seed, keys.signing_seed, sizeof ret->seed);
    crypto_wipe(&keys, sizeof keys);
    crypto_ed25519_public(ret->seed, public_key);
    crypto_sha256(slice_of(public_key, sizeof public_key), digest);
    buf name;
    buf_init_arena(&name, a, 64);
    buf_str(&name, "strongroom/");
    hex_put(&name, slice_of(digest, 8));
    return store_log_origin(s, (store_call){.arena = a}, wanted_origin, buf_slice(&name),
                            &ret->name);
}

err audit_key(call *k) {
    audit_signer signer;
    audit_verifier v;
    buf out;
    TRY(admin_log_signer(k->st->store, k->c.arena, SLICE_NONE, &signer));
    audit_verifier_of(&signer, &v);
    crypto_wipe(signer.seed, sizeof signer.seed);
    buf_init_arena(&out, k->c.arena, 512);
    audit_verifier_put(&out, &v);
    call_set(k->out, "key", buf_slice(&out));
    return OK;
}

typedef struct first_seen {
    uint64_t index;
    slice time; /* in the call's arena */
    arena *a;
} first_seen;

static err see_first(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)private_part;
    first_seen *f = ctx;
    json_t *e = json_loadb((const char *)entry.p, entry.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *t = json_object_get(e, "time");
    f->index = index;
    if (json_is_string(t))
        f->time = arena_dup(f->a, slice_of(json_string_value(t), json_string_length(t)));
    json_decref(e);
    return ERR_CANCELLED; /* one is enough */
}

static void set_count(call *k, const char *name, uint64_t v) {
    MUST(json_object_set_new(k->out, name, json_integer((json_int_t)v)) == 0);
}

/* How much there is of the record, from where on, and what is kept. */
err audit_status(call *k) {
    engine_stats e;
    store_log_retention kept;
    engine *g = store_engine(k->st->store);
    first_seen first = {.a = k->c.arena};
    engine_get_stats(g, &e);
    TRY(store_log_retention_get(k->st->store, k->c, &kept));
    const uint64_t from = kept.minimum > e.log_first ? kept.minimum : e.log_first;
    err read = engine_log_read(g, from, e.log_next, see_first, &first);
    if (read != ERR_CANCELLED) TRY(read);
    set_count(k, "entries", e.log_next);
    set_count(k, "kept", e.log_next - from);
    if (first.time.len > 0) call_set(k->out, "oldest", first.time);
    if (kept.minimum > 0) {
        set_count(k, "removed_before", kept.minimum);
        call_set_time(k->c.arena, k->out, "removed_until", kept.removed_us);
    }
    call_set(k->out, "retention",
             kept.keep_s == 0 ? S("for ever")
                              : arena_fmt(k->c.arena, "%llu s", (unsigned long long)kept.keep_s));
    set_count(k, "row_bytes", e.log_bytes_disk);
    if (!k->st->builder) return OK;
    audit_builder_stats b;
    audit_builder_get_stats(k->st->builder, &b);
    set_count(k, "published", b.published);
    if (b.stopped) call_set(k->out, "stopped", S("the server's log says why"));
    return OK;
}

/* One line a witness. */
static void witness_metric(buf *out, const char *name, const char *type, const char *help,
                           const audit_witness_stats *w, size_t count, size_t offset) {
    buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const uint8_t *)&w[i] + offset, sizeof value);
        buf_fmt(out, "%s{witness=\"", name);
        json_put(out, w[i].name);
        buf_fmt(out, "\"} %llu\n", (unsigned long long)value);
    }
}

static void witness_metrics(audit_witnesses *all, buf *out) {
    audit_witness_stats w[AUDIT_POLICY_MAX];
    const size_t n = audit_witnesses_stats(all, w);
#define EACH(name, type, help, member)                                                             \
    witness_metric(out, "strongroom_audit_witness_" name, type, help, w, n,                        \
                   offsetof(audit_witness_stats, member))
    EACH("entries", "gauge", "Entries under the last checkpoint that it cosigned.", size);
    EACH("cosignatures_total", "counter", "Checkpoints that it cosigned since the start.",
         cosignatures);
    EACH("failures_total", "counter", "Questions that it did not answer with a cosignature.",
         failures);
    EACH("cosigned_seconds", "gauge", "When it cosigned last, in seconds since 1970; 0: not yet.",
         cosigned_s);
    EACH("refuses", "gauge",
         "1 when what it has cosigned contradicts this server's record: the log says how.",
         refuses);
#undef EACH
}

void log_metrics(const admin_state *st, buf *out) {
    engine_stats e;
    engine_get_stats(store_engine(st->store), &e);
    admin_metric(out, "strongroom_audit_entries_total", "counter", "Entries in the record.",
                 e.log_next);
    admin_metric(out, "strongroom_audit_first_entry", "gauge",
                 "The first entry that the store holds: those before were removed by retention.",
                 e.log_first);
    admin_metric(out, "strongroom_audit_row_bytes", "gauge",
                 "Bytes of the record's rows on the disk, entries and openings, compressed.",
                 e.log_bytes_disk);
    if (st->witnesses) witness_metrics(st->witnesses, out);
    if (!st->builder) return;
    audit_builder_stats b;
    audit_builder_get_stats(st->builder, &b);
    admin_metric(out, "strongroom_audit_published_total", "counter",
                 "Entries under the last checkpoint.", b.published);
    admin_metric(out, "strongroom_audit_checkpoints_total", "counter",
                 "Checkpoints signed since the start.", b.checkpoints);
    admin_metric(out, "strongroom_audit_removed_total", "counter",
                 "Entries removed by retention since the start.", b.removed);
    admin_metric(out, "strongroom_audit_answers_waiting", "gauge",
                 "Answers that wait for the witnesses (audit.acknowledge: witnessed).", b.waiting);
    admin_metric(out, "strongroom_audit_unwitnessed_total", "counter",
                 "Answers that became an error since the witnesses did not cosign in time.",
                 b.in_vain);
    admin_metric(
        out, "strongroom_audit_stopped", "gauge",
        "1 when publishing stopped: folder and store contradict each other, or a write failed.",
        b.stopped);
}
