/* The configuration file of `strongroom serve --config`. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "audit/audit.h"
#include "cli/cli.h"

void cli_settings_defaults(cli_settings *s) {
    *s = (cli_settings){
        .log_level = S("info"),
        .cache_bytes = 256ull << 20,
        .opened_bytes = 128ull << 20,
        .idle_timeout_ms = 120000,
        .shutdown_grace_ms = 30000,
        .scrub_rate = UPKEEP_RATE_DEFAULT,
        .scrub_pause_ms = UPKEEP_PAUSE_US / 1000,
        .sandbox = true,
        .record = true,
        .refused_rate = 20,
        .region = S("local"),
        .log_acknowledge = S("durable"),
        .log_acknowledge_wait_ms = 30000,
    };
}

void cli_settings_keys(cli_settings *s, config_key ret[CLI_SETTINGS_MAX]) {
    const config_key keys[] = {
        {"data", CONFIG_STRING, &s->data, .required = true, .help = "the data folder"},
        {"root_key", CONFIG_STRING, &s->root_key,
         .help = "file of the root key; default: root.key in the data folder"},
        {"listen", CONFIG_STRINGS, &s->listen, 1, CLI_LISTEN_MAX, .required = true,
         .help = "list of address:port; http:// before one: plain HTTP even with TLS configured"},
        {"tls.certificate", CONFIG_STRING, &s->tls_certificate,
         .help = "PEM file: certificate chain"},
        {"tls.key", CONFIG_STRING, &s->tls_key, .help = "PEM file: private key"},
        {"admin.listen", CONFIG_STRING, &s->admin_listen,
         .help = "address:port of the status page, /healthz, /readyz and /metrics; default: none"},
        {"host_suffix", CONFIG_STRING, &s->host_suffix,
         .help = "blob.example.org makes ACCOUNT.blob.example.org an address; default: paths only"},
        {"website_suffix", CONFIG_STRING, &s->website_suffix,
         .help = "web.example.org makes ACCOUNT.web.example.org the static website of an account; "
                 "default: "
                 "none"},
        {"endpoint", CONFIG_STRING, &s->endpoint,
         .help = "URL that printed connection strings name; default: the first of listen"},
        {"allow_plain_http", CONFIG_BOOL, &s->allow_plain_http,
         .help = "serve other machines without TLS (behind a proxy that ends it); default: false"},
        {"log.level", CONFIG_STRING, &s->log_level,
         .help = "debug, info, warn or error; default: info"},
        {"log.file", CONFIG_STRING, &s->log_file,
         .help = "append the log here, opened again on SIGHUP; default: standard error"},
        {"cache", CONFIG_SIZE, &s->cache_bytes, 16ull << 20, 1ull << 40,
         .help = "memory for caches and write buffers; default: 256MiB"},
        {"opened_cache", CONFIG_SIZE, &s->opened_bytes, 0, 1ull << 40,
         .help = "memory for large content kept decrypted, to be sent from; 0: none; default: "
                 "128MiB"},
        {"workers", CONFIG_U64, &s->workers, 1, 4096,
         .help = "threads that run requests; default: 64"},
        {"upload_workers", CONFIG_U64, &s->upload_workers, 1, 4096,
         .help = "threads that take in large bodies; default: 64"},
        {"connections_max", CONFIG_U64, &s->connections_max, 1, 1000000,
         .help = "connections a listener holds at once; default: 16384"},
        {"idle_timeout", CONFIG_DURATION, &s->idle_timeout_ms, 1000, 3600000,
         .help = "an idle connection is closed after this; default: 120s"},
        {"record", CONFIG_BOOL, &s->record,
         .help = "keep the record of every access; without it nobody can tell who looked; default: "
                 "true"},
        {"audit.listen", CONFIG_STRING, &s->log_listen,
         .help =
             "address:port where the public part of the record is served, at /log/; default: none"},
        {"oversight.listen", CONFIG_STRING, &s->oversight_listen,
         .help = "address:port where overseers look at the record, by token, at /oversight/v1/; "
                 "default: none"},
        {"audit.origin", CONFIG_STRING, &s->log_origin,
         .help = "the record's name in its checkpoints, as example.org/records; settled at the "
                 "first start; "
                 "default: made from its key"},
        {"audit.witnesses", CONFIG_STRING, &s->log_witnesses,
         .help = "policy file (C2SP tlog-policy): who must cosign the record's checkpoints before "
                 "they are published; default: none"},
        {"audit.witnesses_ca", CONFIG_STRING, &s->log_witnesses_ca,
         .help = "PEM file: authorities that sign for witnesses; default: the system's"},
        {"audit.acknowledge", CONFIG_STRING, &s->log_acknowledge,
         .help = "durable: an answer leaves when its record is on the disk; witnessed: when the "
                 "witnesses have cosigned it, too; default: durable"},
        {"audit.acknowledge_wait", CONFIG_DURATION, &s->log_acknowledge_wait_ms, 1000, 600000,
         .help = "how long an answer waits for the witnesses before it is an error; default: 30s"},
        {"audit.retention", CONFIG_DURATION, &s->log_retention_ms, 0, 36525ull * 24 * 3600 * 1000,
         .help =
             "how long entries of the record are kept, at least 30d; older ones are removed, which "
             "the record tells; 0: for ever (the default)"},
        {"refused_rate", CONFIG_U64, &s->refused_rate, 0, OPS_REFUSED_RATE_MAX,
         .help =
             "refusals a second that leave an entry each, of unknown callers in one network; what "
             "is "
             "beyond is answered 503 and counted in one entry a minute; 0: no bound; default: 20"},
        {"region", CONFIG_STRING, &s->region,
         .help = "what the record names as the place of this server; default: local"},
        {"scrub_rate", CONFIG_SIZE, &s->scrub_rate, 0, 1ull << 40,
         .help =
             "bytes a second at which all content is read and verified in the background; 0: it "
             "is not; default: 16MiB"},
        {"scrub_pause", CONFIG_DURATION, &s->scrub_pause_ms, 1000, 366ull * 24 * 3600 * 1000,
         .help = "from the end of a pass over everything to the next one; default: 7 days"},
        {"sandbox", CONFIG_BOOL, &s->sandbox,
         .help = "forbid itself all system calls that serving does not take; default: true"},
        {"shutdown_grace", CONFIG_DURATION, &s->shutdown_grace_ms, 0, 3600000,
         .help = "how long a stop waits for requests in flight; default: 30s"},
        {"copy_sources", CONFIG_STRINGS, &s->copy_sources, 0, FETCH_ENTRIES_MAX,
         .help = "list of servers that copies may read from: host, .end-of-host or URL prefix; "
                 "default: none but this one"},
        {"copy_sources_private", CONFIG_STRINGS, &s->copy_sources_private, 0, FETCH_ENTRIES_MAX,
         .help = "likewise, of servers at private, link-local or loopback addresses"},
        {"copy_sources_ca", CONFIG_STRING, &s->copy_sources_ca,
         .help = "PEM file: authorities that sign for copy sources; default: the system's"},
        {0},
    };
    _Static_assert(ARRAY_LEN(keys) <= CLI_SETTINGS_MAX, "room for every key");
    memcpy(ret, keys, sizeof keys);
}

static bool is_loopback(const char *host, bool *ret_loopback) {
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        *ret_loopback = (ntohl(v4.s_addr) >> 24) == 127;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        *ret_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
        return true;
    }
    return false;
}

err cli_address_parse(arena *a, const char *what, slice text, cli_address *ret) {
    cli_address out = {0};
    slice rest = text, host;
    if (slice_starts(rest, S("http://"))) {
        out.plain = true;
        rest = slice_skip(rest, sizeof "http://" - 1);
    }
    size_t colon = rest.len;
    while (colon > 0 && rest.p[colon - 1] != ':') colon--;
    ENSURE(colon > 1, ERR_CONFIG, "%s: '%.*s' is not address:port, as in 127.0.0.1:10000", what,
           SLICE_ARG(text));
    host = slice_take(rest, colon - 1);
    bool bracketed = host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']';
    if (bracketed)
        host = slice_of(host.p + 1, host.len - 2);
    else
        ENSURE(slice_find(host, 0, ':') == host.len, ERR_CONFIG,
               "%s: '%.*s': an IPv6 address stands in brackets, as in [::1]:10000", what,
               SLICE_ARG(text));
    uint64_t port;
    ENSURE(slice_u64(slice_skip(rest, colon), &port) == OK && port >= 1 && port <= 65535,
           ERR_CONFIG, "%s: '%.*s': the port must be a number from 1 to 65535", what,
           SLICE_ARG(text));
    out.port = (uint16_t)port;
    out.host = slice_eq(host, S("localhost")) ? "127.0.0.1" : arena_cstr(a, host);
    ENSURE(is_loopback(out.host, &out.loopback), ERR_CONFIG,
           "%s: '%.*s' is not an IP address; names are not looked up (0.0.0.0 and [::] mean every "
           "address of this machine)",
           what, SLICE_ARG(host));
    *ret = out;
    return OK;
}

/* Plain HTTP would show every record to whoever can see the network. */
static err check_plain(const cli_settings *s, const char *what, slice text,
                       const cli_address *address) {
    bool tls = !slice_empty(s->tls_certificate) && !address->plain;
    ENSURE(
        tls || address->loopback || s->allow_plain_http, ERR_CONFIG,
        "%s: '%.*s' would serve other machines over plain HTTP: set tls.certificate and tls.key, "
        "or allow_plain_http: true behind a proxy that ends TLS",
        what, SLICE_ARG(text));
    return OK;
}

static err check_acknowledge(const cli_settings *s, const char *path) {
    if (slice_eq(s->log_acknowledge, S("durable"))) return OK;
    ENSURE(slice_eq(s->log_acknowledge, S("witnessed")), ERR_CONFIG,
           "%s: audit.acknowledge '%.*s' must be durable or witnessed", path,
           SLICE_ARG(s->log_acknowledge));
    ENSURE(s->record && s->log_witnesses.len > 0, ERR_CONFIG,
           "%s: audit.acknowledge: witnessed needs the record and audit.witnesses, which says who "
           "must cosign",
           path);
    return OK;
}

static err check_settings(arena *a, const char *path, const cli_settings *s) {
    cli_address address;
    ENSURE(slice_empty(s->tls_certificate) == slice_empty(s->tls_key), ERR_CONFIG,
           "%s: tls.certificate and tls.key are set together or not at all", path);
    for (size_t i = 0; i < s->listen.count; i++) {
        TRY(cli_address_parse(a, "listen", s->listen.items[i], &address));
        TRY(check_plain(s, "listen", s->listen.items[i], &address));
    }
    if (!slice_empty(s->admin_listen)) {
        TRY(cli_address_parse(a, "admin.listen", s->admin_listen, &address));
        TRY(check_plain(s, "admin.listen", s->admin_listen, &address));
    }
    if (!slice_empty(s->log_listen)) {
        TRY(cli_address_parse(a, "audit.listen", s->log_listen, &address));
        TRY(check_plain(s, "audit.listen", s->log_listen, &address));
    }
    ENSURE(s->log_retention_ms == 0 || s->log_retention_ms >= CLI_RETENTION_MIN_MS, ERR_CONFIG,
           "%s: audit.retention is at least 30d, or 0 for ever: those who watch the record must "
           "have time to read it",
           path);
    TRY(check_acknowledge(s, path));
    if (!slice_empty(s->oversight_listen)) {
        TRY(cli_address_parse(a, "oversight.listen", s->oversight_listen, &address));
        TRY(check_plain(s, "oversight.listen", s->oversight_listen, &address));
    }
    ENSURE(audit_name_valid(s->region) && s->region.len <= CLI_REGION_MAX, ERR_CONFIG,
           "%s: region is 1 to %d characters without spaces and '+'", path, CLI_REGION_MAX);
    ENSURE(slice_empty(s->log_origin) || audit_name_valid(s->log_origin), ERR_CONFIG,
           "%s: audit.origin is 1 to %d characters without spaces and '+'", path, AUDIT_NAME_MAX);
    ENSURE(slice_empty(s->endpoint) || slice_starts(s->endpoint, S("http://")) ||
               slice_starts(s->endpoint, S("https://")),
           ERR_CONFIG, "%s: endpoint '%.*s' must begin with http:// or https://", path,
           SLICE_ARG(s->endpoint));
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        known = known || slice_eq(s->log_level, slice_str(levels[i]));
    ENSURE(known, ERR_CONFIG, "%s: log.level '%.*s' must be debug, info, warn or error", path,
           SLICE_ARG(s->log_level));
    return OK;
}

err cli_settings_read(arena *a, const char *path, cli_settings *ret) {
    config_key keys[CLI_SETTINGS_MAX];
    cli_settings s;
    cli_settings_defaults(&s);
    cli_settings_keys(&s, keys);
    TRY(config_read(a, path, keys));
    TRY(check_settings(a, path, &s));
    *ret = s;
    return OK;
}

const char *cli_settings_endpoint(arena *a, const cli_settings *s) {
    if (!slice_empty(s->endpoint)) return arena_cstr(a, s->endpoint);
    slice first = s->listen.items[0];
    bool plain = slice_starts(first, S("http://"));
    if (plain) first = slice_skip(first, sizeof "http://" - 1);
    const char *scheme = plain || slice_empty(s->tls_certificate) ? "http" : "https";
    slice url = arena_fmt(a, "%s://%.*s", scheme, SLICE_ARG(first));
    return arena_cstr(a, url);
}

void cli_settings_help(FILE *to) {
    config_key keys[CLI_SETTINGS_MAX];
    cli_settings s;
    cli_settings_keys(&s, keys);
    fprintf(to,
            "The configuration file is YAML; `strongroom init --config FILE` writes an example.\n"
            "A dotted name is a map: tls.key is 'key:' under 'tls:'.\n\n");
    for (const config_key *k = keys; k->name; k++)
        fprintf(to, "  %-22s%s%s\n", k->name, k->help, k->required ? " (required)" : "");
}

/* YAML's single-quoted form, in which only the quote itself is special. */
static void put_quoted(buf *out, slice s) {
    buf_byte(out, '\'');
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '\'') buf_byte(out, '\'');
        buf_byte(out, s.p[i]);
    }
    buf_byte(out, '\'');
}

void cli_settings_example(buf *out, slice data, slice root_key) {
    buf_str(out, "# Strongroom. `strongroom help config` lists every key.\n\ndata: ");
    put_quoted(out, data);
    buf_str(out,
            "\n# Without this file nothing in the data folder can be read. Keep a copy elsewhere.\n"
            "root_key: ");
    put_quoted(out, root_key);
    buf_str(
        out,
        "\n\nlisten:\n  - 127.0.0.1:10000\n"
        "# Other machines need TLS (systemctl reload reads new certificates):\n"
        "#  - 0.0.0.0:443\n"
        "#tls:\n"
        "#  certificate: /etc/strongroom/tls.crt\n"
        "#  key: /etc/strongroom/tls.key\n\n"
        "# A page for people, /healthz, /readyz and /metrics\n"
        "admin:\n  listen: 127.0.0.1:10001\n\n"
        "# The record, for everyone to verify, and for overseers (strongroom oversight add):\n"
        "#audit:\n#  listen: 0.0.0.0:10002\n#oversight:\n#  listen: 0.0.0.0:10003\n\n"
        "#endpoint: https://storage.example.org\n"
        "#host_suffix: blob.example.org\n"
        "#log:\n#  level: info\n#  file: /var/log/strongroom/strongroom.log\n"
        "#cache: 256MiB\n#opened_cache: 128MiB\n#workers: 64\n#upload_workers: "
        "64\n#connections_max: 16384\n"
        "#idle_timeout: 120s\n#shutdown_grace: 30s\n\n"
        "# Servers that copies may read from, beside this one:\n"
        "#copy_sources:\n#  - .blob.core.windows.net\n#  - https://records.example.org/public/\n");
}
