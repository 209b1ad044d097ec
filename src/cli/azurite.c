/* Called as `azurite` or `azurite-blob` (or `strongroom azurite`): a drop-in for the Azurite emulator (github.com/Azure/Azurite,
 * README "Supported Command Line Options"). It takes its flags and AZURITE_ACCOUNTS, keeps its data
 * in a folder of its own below --location, and prints the lines that programs which start Azurite
 * wait for. What it cannot do it says in one line on standard error and goes on.
 *
 * What must hold: the well-known key is public, so a server that knows it listens on loopback only,
 * unless REMOTE_VARIABLE says that the network is private (a container's, say). */
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define AZURITE_VERSION   "3.36.0" /* whose flags these are */
#define FOLDER_NAME       "__strongroom__"
#define ACCOUNTS_VARIABLE "AZURITE_ACCOUNTS"
#define REMOTE_VARIABLE   "STRONGROOM_AZURITE_REMOTE"
#define ACCOUNTS_MAX      64
#define IDLE_MIN_S        120 /* the server's own; Azurite's default of 5 is shorter */
#define SHUTDOWN_GRACE_MS 5000

typedef struct account {
    slice name, keys[2];
} account;

typedef struct azurite {
    const char *name; /* as called */
    arena *arena;
    account accounts[ACCOUNTS_MAX];
    size_t count;
    bool only_blobs;           /* azurite-blob */
    const char *temporary;     /* the folder of --inMemoryPersistence, gone at the end */
    const char *shown_host;    /* as listeners are named */
    const char *const *values; /* of flags, by enum */
} azurite;

/* ---- flags ---- */

enum {
    BLOB_HOST,
    BLOB_PORT,
    BLOB_KEEP_ALIVE,
    LOCATION,
    SILENT,
    LOOSE,
    SKIP_VERSION,
    NO_PRODUCT_URL,
    OAUTH,
    CERT,
    KEY,
    PWD,
    IN_MEMORY,
    MEMORY_LIMIT,
    DEBUG,
    NO_TELEMETRY,
    QUEUE_HOST,
    QUEUE_PORT,
    QUEUE_KEEP_ALIVE,
    TABLE_HOST,
    TABLE_PORT,
    TABLE_KEEP_ALIVE,
    VERSION,
    HELP,
    FLAGS
};

typedef struct flag {
    const char *name, *value; /* value NULL: a switch */
    char letter;
    const char *help;
} flag;

static const flag flags[FLAGS] = {
    [BLOB_HOST] = {"blobHost", "ADDRESS", 0, "listen here; default 127.0.0.1"},
    [BLOB_PORT] = {"blobPort", "N", 0, "the port; default 10000; 0: any that is free"},
    [BLOB_KEEP_ALIVE] = {"blobKeepAliveTimeout", "SECONDS", 0,
                         "idle connections stay open as long, and never less than 120 s"},
    [LOCATION] = {"location", "DIR", 'l',
                  "data goes to DIR/" FOLDER_NAME "; default: the current folder"},
    [SILENT] = {"silent", NULL, 's', "only errors on standard error"},
    [LOOSE] = {"loose", NULL, 'L', "accepted: what Azure ignores is always ignored"},
    [SKIP_VERSION] = {"skipApiVersionCheck", NULL, 0, "accepted: every x-ms-version is served"},
    [NO_PRODUCT_URL] = {"disableProductStyleUrl", NULL, 0,
                        "the account is in the path, whatever the host"},
    [OAUTH] = {"oauth", "LEVEL", 0, "not supported: bearer tokens are refused"},
    [CERT] = {"cert", "FILE", 0, "serve HTTPS with this certificate (PEM)"},
    [KEY] = {"key", "FILE", 0, "its private key (PEM)"},
    [PWD] = {"pwd", "PASSWORD", 0, "not supported: it belongs to a PFX file"},
    [IN_MEMORY] = {"inMemoryPersistence", NULL, 0,
                   "keep data in a temporary folder that goes at the end"},
    [MEMORY_LIMIT] = {"extentMemoryLimit", "MEGABYTES", 0, "not supported: no limit is set"},
    [DEBUG] = {"debug", "FILE", 'd', "append a detailed log to FILE"},
    [NO_TELEMETRY] = {"disableTelemetry", NULL, 0, "accepted: none is ever sent"},
    [QUEUE_HOST] = {"queueHost", "ADDRESS", 0, "not supported, as all of the Queue service"},
    [QUEUE_PORT] = {"queuePort", "N", 0, "not supported"},
    [QUEUE_KEEP_ALIVE] = {"queueKeepAliveTimeout", "SECONDS", 0, "not supported"},
    [TABLE_HOST] = {"tableHost", "ADDRESS", 0, "not supported, as all of the Table service"},
    [TABLE_PORT] = {"tablePort", "N", 0, "not supported"},
    [TABLE_KEEP_ALIVE] = {"tableKeepAliveTimeout", "SECONDS", 0, "not supported"},
    [VERSION] = {"version", NULL, 'v', "print the version of Azurite whose flags these are"},
    [HELP] = {"help", NULL, 'h', "this page"},
};

static void print_help(const char *name) {
    printf("usage: %s [flags]\n\n"
           "Strongroom " CLI_VERSION ", called as Azurite: its Blob service, its flags and the\n"
           "variable " ACCOUNTS_VARIABLE "=name:key[:key2];… . The key of " CLI_DEV_ACCOUNT
           " is public:\nwith it only this machine is served, unless " REMOTE_VARIABLE "=true.\n\n",
           name);
    for (const flag *f = flags; f < flags + FLAGS; f++) {
        int n =
            f->letter ? printf("  -%c, --%s", f->letter, f->name) : printf("      --%s", f->name);
        if (f->value) n += printf(" %s", f->value);
        printf("%*s%s\n", n < 40 ? 40 - n : 1, "", f->help);
    }
}

static const flag *find_flag(slice word) {
    for (const flag *f = flags; f < flags + FLAGS; f++) {
        if (slice_eq(word, slice_str(f->name))) return f;
        if (f->letter && word.len == 1 && word.p[0] == (uint8_t)f->letter) return f;
    }
    return NULL;
}

static err unknown_flag(slice word) {
    const char *names[FLAGS + 1] = {NULL};
    char text[64];
    for (size_t i = 0; i < FLAGS; i++) names[i] = flags[i].name;
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(slice_take(word, 60)));
    const char *near = cli_nearest(text, names);
    if (!near) return err_fail(ERR_USAGE, "The option \"%s\" is unknown; see --help", text);
    return err_fail(ERR_USAGE, "The option \"%s\" is unknown. Did you mean --%s?", text, near);
}

/* Azurite's parser (mri): --name value, --name=value, -n value; the last one given wins; a switch
 * may have a value and is on with any; letters may stand together (-sl DIR). */
static err parse_word(int argc, char **argv, int *at, const char *values[FLAGS]) {
    const char *text = argv[*at];
    bool letters = text[0] == '-' && text[1] != '-' && text[1] != '\0';
    if (text[0] != '-' || text[1] == '\0') {
        bool shows = strcmp(text, "help") == 0 || strcmp(text, "version") == 0;
        if (shows) values[text[0] == 'h' ? HELP : VERSION] = "";
        ENSURE(shows, ERR_USAGE, "'%s' is no option; see --help", text);
        return OK;
    }
    const char *named = text + (letters ? 1 : 2);
    slice word = slice_of(named, strlen(named));
    size_t equals = slice_find(word, 0, '=');
    slice name = slice_take(word, equals);
    for (; letters && name.len > 1; name = slice_skip(name, 1)) {
        const flag *f = find_flag(slice_take(name, 1));
        if (!f) return unknown_flag(slice_take(name, 1));
        ENSURE(f->value == NULL, ERR_USAGE, "-%c needs a value", f->letter);
        values[f - flags] = "";
    }
    const flag *f = find_flag(name);
    if (!f) return unknown_flag(name);
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    const char *value = "";
    if (equals < word.len)
        value = named + equals + 1;
    else if (next && next[0] != '-')
        value = argv[++*at];
    ENSURE(f->value == NULL || *value, ERR_USAGE, "Must provide a value for parameter --%s (%s)",
           f->name, f->value);
    values[f - flags] = value;
    return OK;
}

static void say(const azurite *z, const char *what) {
    (void)fprintf(stderr, "%s: %s\n", z->name, what);
}

/* ---- accounts ---- */

static err take_key(azurite *z, slice name, slice text, slice *ret) {
    err e = base64_get(z->arena, text, ret);
    ENSURE(e == OK && ret->len > 0, ERR_CONFIG,
           ACCOUNTS_VARIABLE ": the key of account '%.*s' is not base64", SLICE_ARG(name));
    return OK;
}

/* "name:key[:key2]" */
static err take_account(azurite *z, slice entry) {
    slice rest = entry, part;
    account a = {.keys = {SLICE_NONE, SLICE_NONE}};
    ENSURE(z->count < ACCOUNTS_MAX, ERR_CONFIG, ACCOUNTS_VARIABLE " names more than %d accounts",
           ACCOUNTS_MAX);
    (void)slice_split(&rest, ':', &a.name);
    ENSURE(store_account_name_valid(a.name), ERR_CONFIG,
           ACCOUNTS_VARIABLE ": '%.*s' is no account's name: 3 to 24 lower-case letters and digits",
           SLICE_ARG(slice_take(a.name, 64)));
    size_t n = 0;
    for (; slice_split(&rest, ':', &part); n++) {
        ENSURE(n < 2, ERR_CONFIG, ACCOUNTS_VARIABLE ": account '%.*s' has more than two keys",
               SLICE_ARG(a.name));
        if (n == 0 || part.len > 0) TRY(take_key(z, a.name, part, &a.keys[n]));
    }
    ENSURE(n > 0, ERR_CONFIG,
           ACCOUNTS_VARIABLE ": account '%.*s' has no key; write name:key[:key2];name:key…",
           SLICE_ARG(a.name));
    z->accounts[z->count++] = a;
    return OK;
}

static err take_accounts(azurite *z) {
    const char *named = getenv(ACCOUNTS_VARIABLE);
    slice rest = slice_trim(slice_str(named ? named : "")), entry;
    if (rest.len == 0) return take_account(z, S(CLI_DEV_ACCOUNT ":" CLI_DEV_KEY));
    while (slice_split(&rest, ';', &entry))
        if (entry.len > 0) TRY(take_account(z, entry));
    ENSURE(z->count > 0, ERR_CONFIG, ACCOUNTS_VARIABLE " names no account");
    return OK;
}

static bool knows_public_key(const azurite *z) {
    slice public;
    MUST(base64_get(z->arena, S(CLI_DEV_KEY), &public) == OK);
    for (size_t i = 0; i < z->count; i++)
        if (slice_eq(z->accounts[i].keys[0], public) || slice_eq(z->accounts[i].keys[1], public))
            return true;
    return false;
}

static err set_keys(const store_call c, store *s, const account *wanted) {
    const store_account *found;
    err e = store_account_get(s, c, wanted->name, &found);
    if (e == ERR_NOT_FOUND) return store_account_create(s, c, wanted->name, wanted->keys);
    TRY(e);
    for (int i = 0; i < 2 && e == OK; i++)
        if (wanted->keys[i].len > 0 && !slice_eq_secret(found->keys[i], wanted->keys[i]))
            e = store_account_set_key(s, c, wanted->name, i, wanted->keys[i]);
    store_account_unref(found);
    return e;
}

typedef struct names {
    const azurite *z;
    arena *a;
    slice name[ACCOUNTS_MAX];
    size_t count;
} names;

static void note_unnamed(void *ctx, const store_account *a) {
    names *n = ctx;
    for (size_t i = 0; i < n->z->count; i++)
        if (slice_eq(a->name, n->z->accounts[i].name)) return;
    if (n->count < ACCOUNTS_MAX) n->name[n->count++] = arena_dup(n->a, a->name);
}

/* Accounts of an earlier start that are not named now are closed, as in Azurite: their keys become
 * random ones, until they are named again. */
static err prepare_accounts(cli_plan *plan, arena *a, store *s) {
    const azurite *z = plan->ctx;
    const store_call c = {.arena = a};
    names unnamed = {.z = z, .a = a};
    for (size_t i = 0; i < z->count; i++) TRY(set_keys(c, s, &z->accounts[i]));
    TRY(store_account_list(s, c, note_unnamed, &unnamed));
    for (size_t i = 0; i < unnamed.count; i++)
        for (int k = 0; k < 2; k++) TRY(store_account_rotate(s, c, unnamed.name[i], k));
    return OK;
}

/* ---- where ---- */

static bool is_wildcard(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* A wildcard holds loopback: what starts us here and connects to 127.0.0.1 finds us. */
static err take_host(azurite *z, cli_plan *plan) {
    const char *host = z->values[BLOB_HOST] ? z->values[BLOB_HOST] : "127.0.0.1";
    uint64_t port = 10000;
    cli_address at;
    if (z->values[BLOB_PORT]) TRY(cli_number("blobPort", z->values[BLOB_PORT], 0, 65535, &port));
    bool bare_six = strchr(host, ':') && host[0] != '[';
    slice text = arena_fmt(z->arena, bare_six ? "[%s]:1" : "%s:1", host);
    TRY(cli_address_parse(z->arena, "--blobHost", text, &at));
    const char *remote = getenv(REMOTE_VARIABLE);
    bool allowed = remote && strcmp(remote, "true") == 0;
    if (!at.loopback && !allowed && knows_public_key(z)) {
        ENSURE(
            is_wildcard(at.host), ERR_CONFIG,
            "--blobHost %s: the account's key is public, so whoever reaches that address can read "
            "and delete everything; give accounts keys of your own in " ACCOUNTS_VARIABLE
            ", or set " REMOTE_VARIABLE "=true if the network is private",
            host);
        say(z, "the account's key is public, so only this machine is served (127.0.0.1); "
               "for others give accounts keys of your own in " ACCOUNTS_VARIABLE
               ", or set " REMOTE_VARIABLE "=true if the network is private");
        at.host = strcmp(at.host, "::") == 0 ? "::1" : "127.0.0.1";
        at.loopback = true;
    }
    if (!at.loopback && !z->values[CERT])
        say(z, "other machines are served over plain HTTP; --cert and --key make it HTTPS");
    plan->host = at.host;
    plan->port = (uint16_t)port;
    slice shown = arena_fmt(z->arena, strchr(at.host, ':') ? "[%s]" : "%s", at.host);
    z->shown_host = arena_cstr(z->arena, shown);
    return OK;
}

static err make_folder(const char *path) {
    struct stat st;
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        ENSURE(stat(path, &st) == 0 && S_ISDIR(st.st_mode), ERR_CONFIG, "%s is not a folder", path);
        return OK;
    }
    return err_fail_errno(ERR_IO, errno, "making folder %s", path);
}

/* Azurite makes the whole path of --location. */
static err make_folders(arena *a, const char *path) {
    slice whole = slice_str(path);
    for (size_t at = slice_find(whole, 1, '/'); at < whole.len; at = slice_find(whole, at + 1, '/'))
        TRY(make_folder(arena_cstr(a, slice_take(whole, at))));
    return make_folder(path);
}

/* The folder of --debug FILE is made as well. */
static err make_parent(arena *a, const char *file) {
    const char *slash = strrchr(file, '/');
    if (!slash || slash == file) return OK;
    return make_folders(a, arena_cstr(a, slice_of(file, (size_t)(slash - file))));
}

static err take_folder(azurite *z, cli_plan *plan) {
    const char *location = z->values[LOCATION] ? z->values[LOCATION] : ".";
    ENSURE(!z->values[IN_MEMORY] || !z->values[LOCATION], ERR_CONFIG,
           "The --inMemoryPersistence option is not supported when the --location option is set.");
    ENSURE(z->values[IN_MEMORY] || !z->values[MEMORY_LIMIT], ERR_CONFIG,
           "The --extentMemoryLimit option is only supported when the --inMemoryPersistence option "
           "is set.");
    if (z->values[IN_MEMORY]) {
        const char *base = getenv("TMPDIR");
        slice pattern = arena_fmt(z->arena, "%s/strongroom-azurite-XXXXXX", base ? base : "/tmp");
        char *path = arena_alloc(z->arena, pattern.len + 1);
        memcpy(path, arena_cstr(z->arena, pattern), pattern.len + 1);
        if (!mkdtemp(path)) return err_fail_errno(ERR_IO, errno, "making folder %s", path);
        z->temporary = location = path;
    } else {
        TRY(make_folders(z->arena, location));
    }
    slice data = arena_fmt(z->arena, "%s/" FOLDER_NAME, location);
    plan->folder.data = arena_cstr(z->arena, data);
    return OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* ---- how ---- */

static err take_tls(azurite *z, cli_settings *to) {
    const char *cert = z->values[CERT], *key = z->values[KEY];
    ENSURE(!z->values[PWD], ERR_CONFIG,
           "--pwd: PFX files are not supported; make a PEM file of it (openssl pkcs12 -in FILE "
           "-nodes -out FILE.pem) and give it as --cert and as --key");
    ENSURE(!cert == !key, ERR_CONFIG, "--cert and --key are given together or not at all");
    if (!cert) return OK;
    to->tls_certificate = slice_str(cert);
    to->tls_key = slice_str(key);
    return OK;
}

static err take_settings(azurite *z, cli_settings *to) {
    uint64_t keep_alive_s = 0;
    cli_settings_defaults(to);
    to->refused_rate = 0;
    TRY(take_tls(z, to));
    to->log_level = z->values[DEBUG] ? S("debug") : z->values[SILENT] ? S("error") : S("info");
    if (z->values[DEBUG]) {
        TRY(make_parent(z->arena, z->values[DEBUG]));
        to->log_file = slice_str(z->values[DEBUG]);
    }
    if (z->values[BLOB_KEEP_ALIVE])
        TRY(cli_number("blobKeepAliveTimeout", z->values[BLOB_KEEP_ALIVE], 0, 3600, &keep_alive_s));
    to->idle_timeout_ms = 1000 * (keep_alive_s > IDLE_MIN_S ? keep_alive_s : IDLE_MIN_S);
    to->shutdown_grace_ms = SHUTDOWN_GRACE_MS;
    return OK;
}

static void say_what_is_not_done(const azurite *z) {
    if (!z->only_blobs)
        say(z, "the Queue and Table services are not part of Strongroom: only blobs are served");
    if (z->values[OAUTH]) say(z, "--oauth is not supported: bearer tokens are refused");
    if (z->values[MEMORY_LIMIT]) say(z, "--extentMemoryLimit is not supported: no limit is set");
    if (getenv("AZURITE_DB"))
        say(z, "AZURITE_DB is not supported: data is kept in the folder of --location");
}

/* ---- life ---- */

static const char *scheme(const cli_plan *plan) {
    return slice_empty(plan->settings.tls_certificate) ? "http" : "https";
}

/* The two programs of Azurite word their lines differently, and both are waited for. */
static void print_starting(const azurite *z, const cli_plan *plan) {
    if (z->only_blobs)
        printf("Azurite Blob service is starting on %s:%u\n", z->shown_host, plan->port);
    else
        printf("Azurite Blob service is starting at %s://%s:%u\n", scheme(plan), z->shown_host,
               plan->port);
    (void)fflush(stdout);
}

static void print_ready(const cli_plan *plan, arena *a) {
    const azurite *z = plan->ctx;
    (void)a;
    printf("Azurite Blob service %s %s://%s:%u\n",
           z->only_blobs ? "successfully listens on" : "is successfully listening at", scheme(plan),
           z->shown_host, plan->port);
    (void)fflush(stdout);
}

static void print_stopping(const cli_plan *plan) {
    (void)plan;
    printf("Azurite Blob service is closing...\n");
    (void)fflush(stdout);
}

static int fail(const azurite *z, const cli_plan *plan, err e) {
    (void)fflush(stdout);
    (void)fputs("Exit due to unhandled error: ", stderr);
    if (e == ERR_IN_USE && plan->folder_open) /* as Node says it, for whoever looks for that word */
        (void)fprintf(stderr, "listen EADDRINUSE: address already in use %s:%u: ", z->shown_host,
                      plan->port);
    cli_print(stderr, slice_str(*err_detail() ? err_detail() : err_get(e)->message));
    (void)fputs("\n", stderr);
    return CLI_EXIT_FAILED;
}

static err serve(azurite *z, cli_plan *plan) {
    TRY(take_accounts(z));
    TRY(take_settings(z, &plan->settings));
    TRY(take_host(z, plan));
    TRY(take_folder(z, plan));
    say_what_is_not_done(z);
    print_starting(z, plan);
    return cli_plan_run(plan);
}

static int run(azurite *z) {
    cli_plan plan = {.development = true,
                     .account_in_host = z->values[NO_PRODUCT_URL] == NULL,
                     .accounts = prepare_accounts,
                     .ready = print_ready,
                     .stopping = print_stopping,
                     .ctx = z};
    err e = serve(z, &plan);
    int code = e == OK ? CLI_EXIT_OK : fail(z, &plan, e);
    if (z->temporary) (void)nftw(z->temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (e == OK) printf("Azurite Blob service successfully closed\n");
    return code;
}

int cli_azurite(const char *name, int argc, char **argv) {
    const char *values[FLAGS] = {NULL};
    azurite z = {.name = name, .values = values, .only_blobs = strcmp(name, "azurite-blob") == 0};
    err e = OK;
    if (!z.only_blobs && strcmp(name, "azurite") != 0) {
        say(&z, "only the Blob service is part of Strongroom: call it as azurite or azurite-blob");
        return CLI_EXIT_FAILED;
    }
    for (int i = 0; e == OK && i < argc; i++) e = parse_word(argc, argv, &i, values);
    if (e != OK) {
        say(&z, err_detail());
        return CLI_EXIT_FAILED;
    }
    if (values[HELP]) {
        print_help(name);
        return CLI_EXIT_OK;
    }
    if (values[VERSION]) {
        printf(AZURITE_VERSION "\n");
        say(&z, "this is Strongroom " CLI_VERSION ", which takes the flags of that version");
        return CLI_EXIT_OK;
    }
    z.arena = arena_new(4096, CLI_ARENA_MAX);
    int code = run(&z);
    arena_free(z.arena);
    return code;
}
