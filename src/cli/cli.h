/* cli: the program `strongroom`. One file a subcommand; main.c holds the table of them.
 *
 * What it promises: an unknown command or flag is an error with the nearest known one; every
 * failure is one line `strongroom: <what>` on standard error and a non-zero exit code; secrets are
 * printed by `init`, `account create` and `key show` only. What it needs from below: everything,
 * and libcurl (to speak to a running server). */
#pragma once

#include "admin/admin.h"
#include "blob/blob.h"
#include "http/http.h"

#define CLI_VERSION "0.1.0"

#define CLI_EXIT_OK     0
#define CLI_EXIT_FAILED 1
#define CLI_EXIT_USAGE  2

#define CLI_CONFIG_DEFAULT "/etc/strongroom/strongroom.yaml"
#define CLI_ROOT_KEY       "root.key" /* in the data folder, unless it is elsewhere */
#define CLI_ARGS_MAX       3
#define CLI_ARENA_MAX      ((size_t)64 << 20)

/* ---- flags (options.c) ---- */

typedef struct cli_flag {
    const char *name;  /* "data": --data VALUE or --data=VALUE */
    const char *value; /* how help names the value; NULL: a switch without one */
    const char **text; /* where the value goes */
    bool *on;          /* where a switch goes */
    const char *help;
} cli_flag;

typedef struct cli_spec {
    const char *name;          /* "account create" */
    const char *synopsis;      /* "NAME [--data DIR]" */
    const char *about;         /* what it does, for a person; lines of at most 80 characters */
    const cli_flag *flags;     /* ended by {0} */
    size_t args_min, args_max; /* words that are not flags; at most CLI_ARGS_MAX */
} cli_spec;

typedef struct cli_args {
    const char *arg[CLI_ARGS_MAX];
    size_t count;
    bool help; /* --help was given, and has been printed */
} cli_args;

/* argv: without the command's own words. ERR_USAGE with what is wrong and what may have been meant.
 */
err cli_parse(const cli_spec *spec, int argc, char **argv, cli_args *ret) CHECKED;
/* The nearest of names to word, or NULL when none is near. names ended by NULL. */
const char *cli_nearest(const char *word, const char *const *names);
/* A decimal number between min and max. ERR_USAGE. */
err cli_number(const char *flag, const char *text, uint64_t min, uint64_t max,
               uint64_t *ret) CHECKED;

/* Prints `strongroom: <detail>` for e (and where help is, for ERR_USAGE); returns the exit code. */
int cli_fail(const char *command, err e);
/* Prints s with control characters as '?', so that data cannot steer a terminal. */
void cli_print(FILE *to, slice s);

/* ---- settings (settings.c): what `serve --config` reads ---- */

typedef struct cli_settings {
    slice data, root_key, host_suffix, endpoint;
    config_strings listen;
    slice admin_listen;
    slice tls_certificate, tls_key;
    slice log_level, log_file;
    bool allow_plain_http, sandbox, record;
    slice region, log_listen, oversight_listen, log_origin, log_witnesses, log_witnesses_ca,
        log_acknowledge, website_suffix;
    uint64_t cache_bytes, opened_bytes, workers, upload_workers, connections_max;
    uint64_t idle_timeout_ms, shutdown_grace_ms;
    uint64_t log_retention_ms; /* 0: for ever */
    uint64_t log_acknowledge_wait_ms;
    uint64_t scrub_rate, scrub_pause_ms, refused_rate;
    config_strings copy_sources, copy_sources_private; /* fetch_options says what an entry is */
    slice copy_sources_ca;
} cli_settings;

#define CLI_LISTEN_MAX       16
#define CLI_REGION_MAX       64
#define CLI_SETTINGS_MAX     52
#define CLI_RETENTION_MIN_MS (30ull * 24 * 3600 * 1000)

void cli_settings_defaults(cli_settings *s);
/* The keys of the file, bound to s; ended by {0}. */
void cli_settings_keys(cli_settings *s, config_key ret[CLI_SETTINGS_MAX]);
/* Reads and checks. Strings come from a. ERR_CONFIG. */
err cli_settings_read(arena *a, const char *path, cli_settings *ret) CHECKED;
/* What connection strings name: `endpoint`, or the first address of `listen`. */
const char *cli_settings_endpoint(arena *a, const cli_settings *s);
void cli_settings_help(FILE *to);
/* An example file, commented. */
void cli_settings_example(buf *out, slice data, slice root_key);

/* "127.0.0.1:10000", "[::1]:10000", "localhost:10000"; with "http://" before it: plain even when
 * TLS is configured. */
typedef struct cli_address {
    const char *host; /* without brackets; a literal address */
    uint16_t port;
    bool loopback, plain;
} cli_address;
err cli_address_parse(arena *a, const char *what, slice text, cli_address *ret) CHECKED;

/* copying.c: what copies may read of other servers; NULL: nothing. ERR_CONFIG. */
err cli_copy_sources(arena *a, const cli_settings *s, fetch **ret) CHECKED;
/* The names by which this server is reached, in the arena. */
void cli_copy_self(arena *a, const cli_settings *s, const http_listener *listeners, size_t count,
                   blob_service *ret);

/* ---- the data folder (folder.c) ---- */

typedef struct cli_folder {
    const char *data, *root_key, *config; /* as flags give them; NULL: not given */
} cli_folder;

/* Fills data and root_key from the configuration file when flags do not name them. config may stay
 * NULL when data is given. endpoint (may be NULL): the configuration's, or NULL. ERR_USAGE,
 * ERR_CONFIG. */
err cli_folder_resolve(arena *a, cli_folder *f, const char **ret_endpoint) CHECKED;
typedef struct cli_open {
    bool create, read_only, background;
    uint64_t cache_bytes;
    uint64_t opened_bytes;      /* store_options.opened_max: 0: the default */
    const store_remote *remote; /* for pending copies; NULL: none from elsewhere */
    const store_deeds *deeds;   /* store_options.deeds */
} cli_open;
/* Opens engine, key service and store. Errors: those of the layers below, with their details. */
err cli_folder_open(const cli_folder *f, const cli_open *o, store **ret) CHECKED;
/* ERR_IN_USE unless the folder is missing, empty, or one whose making was interrupted at its
 * beginning. */
err cli_folder_vacant(const char *data) CHECKED;
/* Takes back root key and key check of a folder whose making failed; nothing is sealed under them
 * yet. */
void cli_folder_unmake(const cli_folder *f);
/* Path of the operator's socket; through /proc/self/fd where it would be too long for a socket
 * address (a descriptor of the folder then stays open). */
err cli_socket_path(arena *a, const char *data, const char **ret) CHECKED;

/* A file's bytes, or standard input's for "-" (input.c). ERR_USAGE: it cannot be read, is empty, or longer. */
err cli_read_file(arena *a, const char *path, size_t max, slice *ret) CHECKED;

/* Progress on standard error, when that is a terminal (bar.c). */
typedef struct cli_bar {
    bool on, drawn;
    int64_t started_us, drawn_us;
} cli_bar;
void cli_bar_start(cli_bar *b);
/* Is it time to draw it? Then its line has begun. What is written next is to end with "\033[K". */
bool cli_bar_due(cli_bar *b);
void cli_bar_part(double part); /* 0 to 1 */
void cli_bar_clear(cli_bar *b);
double cli_bar_seconds(const cli_bar *b);
double cli_bar_rate(const cli_bar *b, double done); /* a second */
/* Says on standard output what does not verify. */
void cli_bar_damaged(cli_bar *b, const char *what, const char *where);

/* record.c: leaves an entry of class admin for what the operator did. */
err cli_record(store *s, const char *action, err outcome) CHECKED;
/* The same for a folder that was restored from a backup, when that is not recorded yet. */
err cli_record_restored(store *s, const char *data) CHECKED;

/* A command to the running server, or to the folder itself when none runs (operate.c). */
err cli_operator_call(arena *a, const cli_folder *f, slice request, slice *ret) CHECKED;
/* The folder, open for commands when no server runs. */
typedef struct cli_opened {
    store *store; /* NULL: not open */
    admin_state state;
    slice region;
    store_deeds deeds;
} cli_opened;
err cli_opened_open(arena *a, const cli_folder *f, cli_opened *ret) CHECKED;
void cli_opened_close(cli_opened *o);

/* One call to a running server. ret_running false when no server listens there. */
err cli_remote_call(arena *a, const char *socket_path, slice request, bool *ret_running,
                    slice *ret_response) CHECKED;

/* Reading a server's record from another machine (overseer.c), as an overseer. */
typedef struct cli_overseer {
    const char *url;           /* where its oversight listener is: https://host:port */
    const char *token_file;    /* NULL: the token stands in STRONGROOM_TOKEN */
    const char *ca_file, *why; /* authorities, x-ms-purpose; may be NULL */
} cli_overseer;
/* Writes what the endpoint answers to standard output. Fields without a value are left out. ret_after (may be NULL; not of
 * "export"): the last entry that was looked at. ERR_USAGE, ERR_IO; ERR_INVALID_INPUT with what the server says. */
err cli_overseer_get(arena *a, const cli_overseer *o, const char *what, const pair *fields,
                     size_t count, uint64_t *ret_after) CHECKED;

/* ---- the process (process.c) ---- */
void cli_raise_files(void); /* open files: soft limit to the hard limit */
void cli_no_dumps(void);    /* no core files, not traceable by other processes of this user */
/* sandbox.c: from here on no thread may ask the kernel for more than serving takes. ret_on: false in
 * builds with a sanitizer, whose runtime needs more. ERR_CONFIG: the kernel has no such filters. */
err cli_sandbox(bool *ret_on) CHECKED;
/* Tells systemd (NOTIFY_SOCKET), if it listens: "READY=1". */
void cli_notify(const char *state);

/* ---- a server from its start to its end (serve.c) ---- */

/* What ways of starting a server differ in: `serve --config`, `serve --dev`, `azurite`. */
typedef struct cli_plan {
    cli_folder folder;
    cli_settings settings;
    const char *endpoint; /* what the admin listener's connection strings name */
    /* Development, and Azurite's: the folder makes itself, and one address is listened on (with TLS
     * when the settings have a certificate). Otherwise settings.listen says where. */
    bool development;
    const char *host;
    uint16_t port; /* 0: any that is free; it is here before `ready` */
    bool admin;    /* development: health and metrics at port + 1 */
    bool account_in_host;
    /* Called in this order. What must be so of the accounts before anyone is served. */
    err (*accounts)(struct cli_plan *p, arena *a, store *s);
    void (*ready)(const struct cli_plan *p, arena *a); /* may be NULL */
    void (*stopping)(const struct cli_plan *p);        /* may be NULL */
    void *ctx;
    bool folder_open; /* set when it could be opened: what failed then was listening */
} cli_plan;
/* Serves until SIGTERM or SIGINT. */
err cli_plan_run(cli_plan *plan) CHECKED;

/* ---- development mode (dev.c) ---- */
#define CLI_DEV_ACCOUNT "devstoreaccount1"
#define CLI_DEV_KEY                                                                                \
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
/* Makes the folder, its root key and the well-known account when they are not there. */
err cli_dev_prepare(arena *a, cli_folder *f) CHECKED;
err cli_dev_account(arena *a, store *s) CHECKED;
/* Refuses a folder with the well-known account. */
err cli_dev_account_absent(arena *a, store *s) CHECKED;
void cli_dev_banner(arena *a, const char *host, uint16_t port, const char *data);

/* ---- the commands ---- */
typedef struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv without the program's and the command's name */
    const char *summary;
    bool serves;
} cli_command;

int cli_serve(int argc, char **argv);
int cli_init(int argc, char **argv);
int cli_account(int argc, char **argv);
int cli_container(int argc, char **argv);
int cli_audit(int argc, char **argv);
int cli_audit_verify(int argc, char **argv); /* audit.c, as the next two */
int cli_audit_prove(int argc, char **argv);
int cli_audit_check(int argc, char **argv);
int cli_audit_search(int argc, char **argv); /* audit_read.c, as the next three */
int cli_audit_watch(int argc, char **argv);
int cli_audit_export(int argc, char **argv);
int cli_audit_receipts(int argc, char **argv);
int cli_oversight(int argc, char **argv);
int cli_scope(int argc, char **argv);
int cli_lifecycle(int argc, char **argv);
int cli_key(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_backup(int argc, char **argv);
int cli_restore(int argc, char **argv);
/* As Azurite is called; name: the program's name as it was called. */
int cli_azurite(const char *name, int argc, char **argv);
/* The operation table as a page of Markdown (docs/operations.md). */
void cli_operations_help(void);
