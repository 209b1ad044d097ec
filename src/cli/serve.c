/* `strongroom serve`: opens the folder, listens, waits for signals, stops.
 *
 *   starting --(listeners up)--> ready --SIGTERM, SIGINT--> stopping --(requests finished)--> gone
 *                                  \--SIGHUP--> ready (certificates and log file read again)
 *
 * Signals are blocked in every thread and taken by the main one with sigwait; there is no handler.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "audit/event.h"
#include "blob/blob.h"
#include "cli/cli.h"

#define LISTENERS_MAX (CLI_LISTEN_MAX + 4) /* admin, record, oversight, socket */

typedef struct serve {
    arena *arena;
    cli_plan *plan;
    int log_fd; /* of log.file, or -1 */
    const char *socket_path;

    store *store;
    rules *rules;
    upkeep *upkeep;
    ops_metrics *metrics;
    admin_state admin;
    blob_service copying;
    store_remote remote;
    store_deeds deeds;
    ops_server blobs, admin_public, admin_operator, log, oversight;
    const char *log_folder;
    audit_builder *builder;
    audit_witnesses *witnesses;
    ops_floods *floods; /* NULL: each refusal leaves an entry */
    http_listener listeners[LISTENERS_MAX];
    size_t listener_count;
    bool tls;
    _Atomic(http_server *) http;
} serve;

/* ---- log ---- */

static log_level level_of(slice name) {
    if (slice_eq(name, S("debug"))) return LOG_DEBUG;
    if (slice_eq(name, S("warn"))) return LOG_WARN;
    if (slice_eq(name, S("error"))) return LOG_ERROR;
    return LOG_INFO;
}

/* Opens log.file; when one is open already the new file takes over its descriptor, so that a thread
 * in the middle of a line writes to one of the two and never to a closed one. */
static err open_log(serve *s) {
    log_level level = level_of(s->plan->settings.log_level);
    if (slice_empty(s->plan->settings.log_file)) {
        log_setup(STDERR_FILENO, level, s->plan->development && isatty(STDERR_FILENO));
        return OK;
    }
    const char *path = arena_cstr(s->arena, s->plan->settings.log_file);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) return err_fail_errno(ERR_CONFIG, errno, "log file %s", path);
    if (s->log_fd >= 0) {
        int moved = dup3(fd, s->log_fd, O_CLOEXEC);
        int why = errno;
        (void)close(fd);
        return moved < 0 ? err_fail_errno(ERR_IO, why, "log file %s", path) : OK;
    }
    s->log_fd = fd;
    log_setup(fd, level, false);
    return OK;
}

/* ---- listeners ---- */

static void http_metrics(void *ctx, buf *out) {
    serve *s = ctx;
    http_stats h = {0};
    http_server *http = atomic_load(&s->http);
    if (!http) return;
    http_get_stats(http, &h);
    buf_fmt(out,
            "# HELP strongroom_http_connections Open connections.\n"
            "# TYPE strongroom_http_connections gauge\nstrongroom_http_connections %llu\n"
            "# HELP strongroom_http_requests_active Requests being served.\n"
            "# TYPE strongroom_http_requests_active gauge\nstrongroom_http_requests_active %llu\n"
            "# HELP strongroom_http_workers_busy Threads running a request.\n"
            "# TYPE strongroom_http_workers_busy gauge\nstrongroom_http_workers_busy %llu\n"
            "# HELP strongroom_http_upload_workers_busy Threads taking in a large body.\n"
            "# TYPE strongroom_http_upload_workers_busy gauge\n"
            "strongroom_http_upload_workers_busy %llu\n"
            "# HELP strongroom_http_queued Requests waiting for a thread.\n"
            "# TYPE strongroom_http_queued gauge\nstrongroom_http_queued %llu\n",
            (unsigned long long)h.connections, (unsigned long long)h.requests_active,
            (unsigned long long)h.workers_busy, (unsigned long long)h.upload_workers_busy,
            (unsigned long long)h.queued);
}

static void add_listener(serve *s, http_listener l) {
    MUST(s->listener_count < LISTENERS_MAX);
    s->tls = s->tls || l.tls_certificate;
    s->listeners[s->listener_count++] = l;
}

static void add_address(serve *s, const cli_address *at, bool tls, ops_server *ops) {
    http_listener l = {.address = at->host, .port = at->port, .ops = ops};
    if (tls) {
        l.tls_certificate = arena_cstr(s->arena, s->plan->settings.tls_certificate);
        l.tls_key = arena_cstr(s->arena, s->plan->settings.tls_key);
    }
    add_listener(s, l);
}

static err production_listeners(serve *s) {
    const cli_settings *c = &s->plan->settings;
    cli_address at;
    bool tls = !slice_empty(c->tls_certificate);
    for (size_t i = 0; i < c->listen.count; i++) {
        TRY(cli_address_parse(s->arena, "listen", c->listen.items[i], &at));
        add_address(s, &at, tls && !at.plain, &s->blobs);
    }
    if (!slice_empty(c->log_listen)) {
        TRY(cli_address_parse(s->arena, "audit.listen", c->log_listen, &at));
        add_address(s, &at, tls && !at.loopback && !at.plain, &s->log);
    }
    if (!slice_empty(c->oversight_listen)) {
        TRY(cli_address_parse(s->arena, "oversight.listen", c->oversight_listen, &at));
        add_address(s, &at, tls && !at.loopback && !at.plain, &s->oversight);
    }
    if (slice_empty(c->admin_listen)) return OK;
    TRY(cli_address_parse(s->arena, "admin.listen", c->admin_listen, &at));
    add_address(s, &at, tls && !at.loopback && !at.plain, &s->admin_public);
    return OK;
}

static void development_listeners(serve *s) {
    const cli_address at = {.host = s->plan->host, .port = s->plan->port};
    const cli_address admin = {.host = s->plan->host, .port = (uint16_t)(s->plan->port + 1)};
    add_address(s, &at, !slice_empty(s->plan->settings.tls_certificate), &s->blobs);
    const cli_address log = {.host = s->plan->host, .port = (uint16_t)(s->plan->port + 2)};
    if (s->plan->admin) add_address(s, &admin, false, &s->admin_public);
    if (s->plan->admin && s->builder) add_address(s, &log, false, &s->log);
    const cli_address oversight = {.host = s->plan->host, .port = (uint16_t)(s->plan->port + 3)};
    if (s->plan->admin && s->builder) add_address(s, &oversight, false, &s->oversight);
}

static const ops_protocol *const blob_protocols[] = {&blob_web_protocol, &blob_protocol, NULL};
static const ops_protocol *const public_protocols[] = {&admin_public_protocol, NULL};
static const ops_protocol *const log_protocols[] = {&admin_log_protocol, NULL};
static const ops_protocol *const oversight_protocols[] = {&admin_oversight_protocol, NULL};
static const ops_protocol *const operator_protocols[] = {&admin_operator_protocol, NULL};

static bool is_witnessed(const serve *s) {
    return slice_eq(s->plan->settings.log_acknowledge, S("witnessed"));
}

static void prepare_servers(serve *s) {
    s->metrics = ops_metrics_new();
    s->admin.store = s->store;
    s->admin.rules = s->rules;
    s->admin.upkeep = s->upkeep;
    s->admin.metrics = s->metrics;
    s->admin.version = CLI_VERSION;
    s->admin.records = s->plan->settings.record;
    s->admin.region = s->plan->settings.region;
    s->admin.endpoint = s->plan->endpoint;
    s->admin.extra_metrics = http_metrics;
    s->admin.extra_ctx = s;
    s->admin.started_us = clock_wall_us();
    s->blobs = (ops_server){
        .store = s->store,
        .protocols = blob_protocols,
        .host_suffix = s->plan->settings.host_suffix,
        .website_suffix = s->plan->settings.website_suffix,
        .account_in_host = s->plan->account_in_host,
        .development = s->plan->development,
        .authenticate = true,
        .records = s->plan->settings.record,
        .builder = s->witnesses && audit_witnesses_demand(s->witnesses) ? s->builder : NULL,
        .witnessed = is_witnessed(s),
        .witnessed_wait_us = (int64_t)s->plan->settings.log_acknowledge_wait_ms * 1000,
        .region = s->plan->settings.region,
        .metrics = s->metrics,
        .context = &s->copying};
    s->admin_public = (ops_server){.store = s->store,
                                   .protocols = public_protocols,
                                   .metrics = s->metrics,
                                   .context = &s->admin};
    s->admin.log_folder = s->log_folder;
    s->admin.builder = s->builder;
    s->admin.witnesses = s->witnesses;
    s->admin.floods = s->blobs.floods = s->floods;
    s->log = s->admin_public;
    s->log.protocols = log_protocols;
    s->oversight = s->admin_public;
    s->oversight.protocols = oversight_protocols;
    s->oversight.records = s->plan->settings.record; /* of what comes to none of its rows */
    s->oversight.region = s->plan->settings.region;
    s->oversight.floods = s->floods;
    s->admin_operator = s->admin_public;
    s->admin_operator.protocols = operator_protocols;
}

static err start_listeners(serve *s) {
    TRY(cli_socket_path(s->arena, s->plan->folder.data, &s->socket_path));
    if (s->plan->development)
        development_listeners(s);
    else
        TRY(production_listeners(s));
    cli_copy_self(s->arena, &s->plan->settings, s->listeners, s->listener_count, &s->copying);
    (void)unlink(s->socket_path); /* the folder's lock is ours: whoever made it is gone */
    add_listener(s, (http_listener){.unix_path = s->socket_path, .ops = &s->admin_operator});
    const http_options o = {.listeners = s->listeners,
                            .listener_count = s->listener_count,
                            .workers = (unsigned)s->plan->settings.workers,
                            .upload_workers = (unsigned)s->plan->settings.upload_workers,
                            .connections_max = (unsigned)s->plan->settings.connections_max,
                            .idle_timeout_s = (unsigned)(s->plan->settings.idle_timeout_ms / 1000)};
    http_server *http;
    TRY(http_start(&o, &http));
    atomic_store(&s->http, http);
    return OK;
}

/* ---- life ---- */

/* Those who cosign the record, when there is a policy that names them. */
static err start_witnesses(serve *s, const audit_signer *signer) {
    const cli_settings *c = &s->plan->settings;
    slice policy;
    audit_verifier v;
    if (c->log_witnesses.len == 0) return OK;
    const char *path = arena_cstr(s->arena, c->log_witnesses);
    const char *ca = c->log_witnesses_ca.len > 0 ? arena_cstr(s->arena, c->log_witnesses_ca) : NULL;
    TRY(cli_read_file(s->arena, path, AUDIT_POLICY_LEN, &policy));
    audit_verifier_of(signer, &v);
    if (audit_witnesses_start(policy, s->log_folder, &v, ca, &s->witnesses) == OK) {
        ENSURE(!is_witnessed(s) || audit_witnesses_demand(s->witnesses), ERR_CONFIG,
               "%s: its quorum is none, so audit.acknowledge: witnessed would wait for nobody",
               path);
        return OK;
    }
    char why[256];
    snprintf(why, sizeof why, "%s", err_detail());
    return err_fail(ERR_CONFIG, "%s: %s", path, why);
}

/* The record's published folder, and who fills it. */
static err start_builder(serve *s) {
    if (!s->plan->settings.record) return OK;
    audit_builder_options o = {.engine = store_engine(s->store),
                               .store = s->store,
                               .keep_s = s->plan->settings.log_retention_ms / 1000,
                               .region = s->plan->settings.region};
    const slice folder = arena_fmt(s->arena, "%s/log", s->plan->folder.data);
    o.folder = s->log_folder = arena_cstr(s->arena, folder);
    TRY(admin_log_signer(s->store, s->arena, s->plan->settings.log_origin, &o.signer));
    err e = start_witnesses(s, &o.signer);
    o.witnesses = s->witnesses;
    if (e == OK) e = audit_builder_start(&o, &s->builder);
    crypto_wipe(o.signer.seed, sizeof o.signer.seed);
    return e;
}

static err open_folder(serve *s) {
    const cli_settings *c = &s->plan->settings;
    TRY(cli_copy_sources(s->arena, c, &s->copying.fetch));
    s->remote = blob_remote(s->copying.fetch);
    const cli_open how = {.background = true,
                          .cache_bytes = c->cache_bytes,
                          .opened_bytes = c->opened_bytes ? c->opened_bytes : 1,
                          .remote = s->copying.fetch ? &s->remote : NULL,
                          .deeds = c->record ? &s->deeds : NULL};
    s->deeds = audit_deeds(&s->plan->settings.region);
    if (s->plan->development) TRY(cli_dev_prepare(s->arena, &s->plan->folder));
    TRY(cli_folder_open(&s->plan->folder, &how, &s->store));
    TRY(s->plan->accounts(s->plan, s->arena, s->store));
    TRY(start_builder(s));
    if (c->record && c->refused_rate > 0)
        TRY(ops_floods_start(s->store, s->plan->settings.region, c->refused_rate, &s->floods));
    TRY(rules_start(s->store, true, &s->rules));
    if (s->plan->development || c->scrub_rate == 0) return OK;
    return upkeep_start(s->store, c->scrub_rate, (int64_t)c->scrub_pause_ms * 1000, &s->upkeep);
}

static void reload(serve *s) {
    cli_notify("RELOADING=1");
    err e = open_log(s);
    if (e == OK && s->tls) e = http_reload_tls(atomic_load(&s->http));
    if (e == OK)
        LOG(LOG_INFO, "reloaded", LF_B("tls", s->tls));
    else
        LOG(LOG_ERROR, "reload_failed", LF_C("detail", err_detail()));
    cli_notify("READY=1");
}

static void wait_for_stop(serve *s, const sigset_t *signals) {
    for (;;) {
        int signal_number = 0;
        if (sigwait(signals, &signal_number) != 0) continue;
        if (signal_number == SIGHUP) {
            reload(s);
            continue;
        }
        LOG(LOG_INFO, "stopping", LF_C("signal", signal_number == SIGINT ? "SIGINT" : "SIGTERM"));
        return;
    }
}

/* Ctrl-C a second time ends the program where it stands; what was acknowledged is durable anyway.
 * Only with a person at a terminal: timeout(1) and others send their signal twice. */
static void stop_at_once_when_asked_again(const serve *s) {
    sigset_t interrupt;
    if (!s->plan->development || !isatty(STDIN_FILENO)) return;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    MUST(pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL) == 0);
}

static void stop(serve *s) {
    http_server *http = atomic_load(&s->http);
    atomic_store(&s->admin.ready, false);
    if (s->copying.fetch) fetch_cancel(s->copying.fetch);
    audit_builder_hurry(s->builder, (int64_t)s->plan->settings.shutdown_grace_ms * 1000);
    if (http) {
        http_stop(http, (unsigned)s->plan->settings.shutdown_grace_ms);
        atomic_store(&s->http, NULL);
        (void)unlink(s->socket_path);
    }
    s->rules = rules_stop(s->rules);
    s->upkeep = upkeep_stop(s->upkeep);
    s->floods = ops_floods_stop(s->floods);
    s->builder = audit_builder_stop(s->builder);
    s->witnesses = audit_witnesses_stop(s->witnesses);
    if (s->store) s->store = store_close(s->store);
    s->copying.fetch = fetch_free(s->copying.fetch);
    s->metrics = ops_metrics_free(s->metrics);
}

/* In development mode a kernel without filters is no reason not to start. */
static err enter_sandbox(const serve *s) {
    bool on = false;
    err e = s->plan->settings.sandbox ? cli_sandbox(&on) : OK;
    if (e != OK && !s->plan->development) return e;
    if (!on) LOG(LOG_WARN, "not_sandboxed", LF_C("detail", e == OK ? "" : err_detail()));
    return OK;
}

static err run(serve *s) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    MUST(pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0);
    MUST(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    cli_raise_files();
    if (!s->plan->development) cli_no_dumps();
    TRY(open_log(s));
    TRY(open_folder(s));
    prepare_servers(s);
    TRY(start_listeners(s));
    TRY(enter_sandbox(s));
    if (!s->plan->development && geteuid() == 0) LOG(LOG_WARN, "running_as_root");
    atomic_store(&s->admin.ready, true);
    LOG(LOG_INFO, "ready", LF_C("version", CLI_VERSION), LF_C("data", s->plan->folder.data),
        LF_B("development", s->plan->development), LF_B("tls", s->tls));
    if (s->plan->port == 0) s->plan->port = http_port(atomic_load(&s->http), 0);
    if (s->plan->ready) s->plan->ready(s->plan, s->arena);
    cli_notify("READY=1");
    wait_for_stop(s, &signals);
    cli_notify("STOPPING=1");
    if (s->plan->stopping) s->plan->stopping(s->plan);
    stop_at_once_when_asked_again(s);
    return OK;
}

err cli_plan_run(cli_plan *plan) {
    serve s = {.arena = arena_new(4096, CLI_ARENA_MAX), .plan = plan, .log_fd = -1};
    err e = run(&s);
    slice why = arena_dup(s.arena, slice_str(err_detail()));
    plan->folder_open = s.store != NULL;
    stop(&s);
    if (e == OK) LOG(LOG_INFO, "stopped");
    if (s.log_fd >= 0) (void)close(s.log_fd);
    if (e != OK) err_note("%.*s", SLICE_ARG(why)); /* stopping may have had errors of its own */
    arena_free(s.arena);
    return e;
}

/* ---- command line ---- */

typedef struct serve_flags {
    bool dev, no_record;
    const char *data, *port, *host, *config, *log_level, *retention;
} serve_flags;

static err development_accounts(cli_plan *plan, arena *a, store *s) {
    (void)plan;
    return cli_dev_account(a, s);
}

static err production_accounts(cli_plan *plan, arena *a, store *s) {
    (void)plan;
    return cli_dev_account_absent(a, s);
}

static void development_ready(const cli_plan *plan, arena *a) {
    cli_dev_banner(a, plan->host, plan->port, plan->folder.data);
}

static err take_development(arena *a, const serve_flags *f, cli_plan *plan) {
    cli_address at;
    uint64_t port = 10000;
    ENSURE(f->data != NULL, ERR_USAGE, "say where: strongroom serve --dev --data DIR");
    ENSURE(f->config == NULL, ERR_USAGE, "--dev and --config exclude each other");
    if (f->port) TRY(cli_number("port", f->port, 1, 65534, &port));
    const char *host = f->host ? f->host : "127.0.0.1";
    slice text =
        arena_fmt(a, strchr(host, ':') ? "[%s]:%llu" : "%s:%llu", host, (unsigned long long)port);
    TRY(cli_address_parse(a, "--host", text, &at));
    ENSURE(at.loopback, ERR_USAGE,
           "development mode listens on loopback only, not on %s: the key of its account is "
           "public, so whoever can reach it can read and delete everything; for other machines "
           "make a folder with `strongroom init` and serve it with --config",
           host);
    plan->development = plan->admin = true;
    plan->host = at.host;
    plan->port = at.port;
    plan->folder.data = f->data;
    slice endpoint = arena_fmt(a, "http://%.*s", SLICE_ARG(text));
    plan->endpoint = arena_cstr(a, endpoint);
    plan->accounts = development_accounts;
    plan->ready = development_ready;
    cli_settings_defaults(&plan->settings);
    plan->settings.record = !f->no_record;
    plan->settings.refused_rate = 0; /* tests are refused often */
    plan->settings.website_suffix = S("web.localhost");
    if (f->log_level) plan->settings.log_level = slice_str(f->log_level);
    uint64_t keep_s = 0;
    if (f->retention) TRY(cli_number("--retention", f->retention, 1, UINT32_MAX, &keep_s));
    plan->settings.log_retention_ms = keep_s * 1000;
    return OK;
}

static err take_production(arena *a, const serve_flags *f, cli_plan *plan) {
    ENSURE(f->config != NULL, ERR_USAGE,
           "say --config FILE for production, or --dev --data DIR to try it");
    ENSURE(!f->data && !f->port && !f->host && !f->no_record && !f->retention, ERR_USAGE,
           "--data, --port, --host, --no-record and --retention belong to --dev; in production the "
           "configuration says them");
    TRY(cli_settings_read(a, f->config, &plan->settings));
    if (f->log_level) plan->settings.log_level = slice_str(f->log_level);
    plan->folder.data = arena_cstr(a, plan->settings.data);
    if (!slice_empty(plan->settings.root_key))
        plan->folder.root_key = arena_cstr(a, plan->settings.root_key);
    plan->endpoint = cli_settings_endpoint(a, &plan->settings);
    plan->accounts = production_accounts;
    return cli_folder_resolve(a, &plan->folder, NULL);
}

int cli_serve(int argc, char **argv) {
    serve_flags f = {0};
    const cli_flag flags[] = {
        {"dev", NULL, NULL, &f.dev, "development mode: loopback, well-known account"},
        {"data", "DIR", &f.data, NULL, "development: the data folder, made when it is not there"},
        {"port", "N", &f.port, NULL,
         "development: the port; default 10000. Admin: N+1, record: N+2, oversight: N+3"},
        {"host", "ADDRESS", &f.host, NULL, "development: a loopback address; default 127.0.0.1"},
        {"no-record", NULL, NULL, &f.no_record,
         "development: keep no record of accesses, to measure what it costs"},
        {"retention", "SECONDS", &f.retention, NULL,
         "development: remove entries of the record that are older; default: none"},
        {"config", "FILE", &f.config, NULL,
         "production: the configuration (strongroom help config)"},
        {"log-level", "LEVEL", &f.log_level, NULL, "debug, info, warn or error"},
        {0}};
    const cli_spec spec = {
        "serve",
        "--dev --data DIR [--port N] | --config FILE",
        "Runs the server until SIGTERM or SIGINT, which finish the requests in flight first.\n"
        "SIGHUP reads TLS certificates again and opens the log file again.\n\n"
        "With --dev: a server to develop and test against, ready when it prints its\n"
        "connection string. Its account's key is public, so it listens on loopback only.",
        flags,
        0,
        0};
    cli_args args;
    cli_plan plan = {0};
    arena *a = arena_new(4096, CLI_ARENA_MAX);
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) {
        e = f.dev ? take_development(a, &f, &plan) : take_production(a, &f, &plan);
        if (e == OK) e = cli_plan_run(&plan);
    }
    arena_free(a);
    return e == OK ? CLI_EXIT_OK : cli_fail(spec.name, e);
}
