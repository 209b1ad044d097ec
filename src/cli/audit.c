/* `strongroom audit verify`, `prove` and `check`: what anyone can do with a published record, without the server and
 * without trusting it. The operator's commands on it stand in operate.c. */
#include <curl/curl.h>
#include <unistd.h>

#include "audit/audit.h"
#include "cli/cli.h"

#define EXIT_NOT_GENUINE 1
#define EXIT_NOT_RUN     2
#define URL_TIMEOUT_S    60L
#define ARENA_MAX        (256u << 20)
#define RECEIPTS_MAX     ((size_t)16 << 20) /* bytes of a file with receipts */

/* ---- a log on a server ---- */

typedef struct remote {
    CURL *curl;
    const char *url; /* without its last slash */
} remote;

static size_t take(char *p, size_t size, size_t n, void *ctx) {
    buf *out = ctx;
    buf_put(out, slice_of(p, size * n));
    return out->failed ? 0 : size * n;
}

static err remote_get(void *ctx, arena *a, const char *path, size_t max, slice *ret) {
    remote *r = ctx;
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    buf body;
    buf_init_arena(&body, a, max);
    const slice url = arena_fmt(a, "%s/%s", r->url, path);
    (void)curl_easy_setopt(r->curl, CURLOPT_URL, arena_cstr(a, url));
    (void)curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(r->curl, CURLOPT_TIMEOUT, URL_TIMEOUT_S);
    (void)curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, (void *)&body);
    CURLcode code = curl_easy_perform(r->curl);
    (void)curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    /* What is said instead of a file may be longer than the file could be. */
    if (status == 404) return err_fail(ERR_NOT_FOUND, "%.*s is not there", SLICE_ARG(url));
    ENSURE(status == 0 || status == 200, ERR_IO, "%.*s: the server answers %ld", SLICE_ARG(url),
           status);
    ENSURE(!body.failed, ERR_CORRUPT, "%.*s is longer than any such file", SLICE_ARG(url));
    ENSURE(code == CURLE_OK, ERR_IO, "%.*s: %s", SLICE_ARG(url),
           *why ? why : curl_easy_strerror(code));
    *ret = buf_slice(&body);
    return OK;
}

/* ---- what the commands share ---- */

typedef struct auditing {
    arena *a;
    remote remote;
    const char *key, *policy; /* flags */
    audit_verifier verifier;
    audit_source source;
} auditing;

static err open_source(auditing *x, const char *where) {
    slice at = slice_str(where);
    while (at.len > 1 && at.p[at.len - 1] == '/') at.len--;
    const char *path = arena_cstr(x->a, at);
    x->source = audit_folder(path);
    if (!slice_starts(at, S("http://")) && !slice_starts(at, S("https://"))) return OK;
    MUST(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    x->remote = (remote){.curl = curl_easy_init(), .url = path};
    MUST(x->remote.curl != NULL);
    x->source = (audit_source){&x->remote, remote_get};
    return OK;
}

static void close_source(auditing *x) {
    if (!x->remote.curl) return;
    curl_easy_cleanup(x->remote.curl);
    curl_global_cleanup();
}

static err take_key(auditing *x) {
    ENSURE(x->key != NULL, ERR_USAGE,
           "say whose record it must be: --key NAME+HASH+KEY, as `strongroom audit key` prints it, "
           "got from "
           "someone you trust and not from the record itself");
    return audit_verifier_parse(slice_str(x->key), &x->verifier);
}

/* The witnesses that --policy demands have cosigned it. */
static err check_policy(auditing *x, slice note) {
    slice text;
    if (!x->policy) return OK;
    audit_policy *p = arena_alloc(x->a, sizeof *p);
    audit_note *n = arena_alloc(x->a, sizeof *n);
    TRY(cli_read_file(x->a, x->policy, AUDIT_POLICY_LEN, &text));
    if (audit_policy_parse(text, p) != OK) {
        char why[256];
        snprintf(why, sizeof why, "%s", err_detail());
        return err_fail(ERR_USAGE, "%s: %s", x->policy, why);
    }
    TRY(audit_note_parse(x->a, note, n));
    return audit_policy_check(p, n);
}

/* The checkpoint, or where it may be instead. */
static err read_checkpoint(auditing *x, const char *where, audit_checkpoint *ret, slice *ret_note) {
    err e = audit_read_checkpoint(&x->source, x->a, &x->verifier, ret, ret_note);
    if (e != ERR_NOT_FOUND) return e;
    return err_fail(
        e,
        x->remote.curl
            ? "no record is published at %s: its address ends in /log, on the listener "
              "of audit.listen, as http://127.0.0.1:10002/log"
            : "no record is published in %s: say the folder log/ of a data folder, or a copy of it",
        where);
}

/* ---- verify ---- */

typedef struct verifying {
    cli_bar bar;
    uint64_t all; /* entries */
} verifying;

static void draw(void *ctx, uint64_t done) {
    verifying *v = ctx;
    if (v->all == 0 || !cli_bar_due(&v->bar)) return;
    cli_bar_part((double)done / (double)v->all);
    fprintf(stderr, "%llu entries  %.0f/s\033[K", (unsigned long long)done,
            cli_bar_rate(&v->bar, (double)done));
}

static err verify(auditing *x, const char *where) {
    audit_checkpoint c;
    audit_report report;
    slice note;
    TRY(take_key(x));
    TRY(open_source(x, where));
    TRY(read_checkpoint(x, where, &c, &note));
    TRY(check_policy(x, note));
    verifying v = {.all = c.size};
    cli_bar_start(&v.bar);
    err e = audit_verify(&x->source, &c, draw, NULL, &v, &report);
    cli_bar_clear(&v.bar);
    TRY(e);
    const double rate = cli_bar_rate(&v.bar, (double)report.entries);
    buf root;
    buf_init_arena(&root, x->a, 64);
    base64_put(&root, slice_of(c.root.b, sizeof c.root.b));
    printf("genuine: %llu entries (%.1f MiB, %llu bundles, %llu tiles), %.0f entries/s\n"
           "log      %.*s\nroot     %.*s\n",
           (unsigned long long)report.entries, (double)report.bytes / (1 << 20),
           (unsigned long long)report.bundles, (unsigned long long)report.tiles, rate,
           SLICE_ARG(c.origin), SLICE_ARG(buf_slice(&root)));
    if (report.minimum > 0)
        printf("removed  entries before %llu, by retention, as the record tells\n",
               (unsigned long long)report.minimum);
    return OK;
}

/* ---- prove and check ---- */

static err prove(auditing *x, const char *where, const char *number) {
    audit_checkpoint c;
    slice note;
    uint64_t index;
    TRY(take_key(x));
    ENSURE(slice_u64(slice_str(number), &index) == OK, ERR_USAGE,
           "INDEX is the number of an entry, as 1234, not '%.32s'", number);
    TRY(open_source(x, where));
    TRY(read_checkpoint(x, where, &c, &note));
    buf out;
    buf_init_arena(&out, x->a, (size_t)4 * AUDIT_NOTE_MAX);
    TRY(audit_prove(&x->source, x->a, index, &c, note, &out));
    (void)fwrite(out.p, 1, out.len, stdout);
    return OK;
}

/* The entry is genuine. */
static err check_one(auditing *x, slice receipt, slice entry, audit_proof *ret,
                     audit_checkpoint *ret_c) {
    TRY(audit_proof_parse(x->a, receipt, ret));
    if (entry.len == 0) entry = ret->entry;
    ENSURE(entry.len > 0, ERR_USAGE, "the receipt does not hold its entry: say --entry FILE");
    ret->entry = entry;
    TRY(audit_proof_check(x->a, ret, entry, &x->verifier, ret_c));
    return check_policy(x, ret->note);
}

static void show_name(slice name, const char *before) {
    if (name.len == 0) return;
    fputs(before, stdout);
    cli_print(stdout, name);
}

/* What `audit receipts` writes: each entry, and that its names open it. */
static err check_lines(auditing *x, slice lines) {
    slice line;
    size_t n = 0;
    while (slice_split(&lines, '\n', &line)) {
        slice receipt;
        audit_opening o;
        audit_proof p;
        audit_checkpoint c;
        if (line.len == 0) continue;
        TRY(admin_receipt(x->a, line, &receipt, &o));
        TRY(check_one(x, receipt, SLICE_NONE, &p, &c));
        ENSURE(o.account.len == 0 || audit_opening_fits(&o, p.entry), ERR_CORRUPT,
               "entry %llu: the names that stand with it are not those that it commits to",
               (unsigned long long)p.index);
        cli_print(stdout, p.entry);
        show_name(o.account, "  ");
        show_name(o.container, "/");
        show_name(o.blob, "/");
        fputs("\n", stdout);
        n++;
    }
    fprintf(stderr, "genuine: %zu entries of the log %.*s\n", n, SLICE_ARG(x->verifier.name));
    return OK;
}

static err check_receipt(auditing *x, const char *file, const char *entry_file) {
    audit_proof p;
    audit_checkpoint c;
    slice in, entry = SLICE_NONE;
    TRY(take_key(x));
    TRY(cli_read_file(x->a, file, RECEIPTS_MAX, &in));
    if (slice_starts(in, S("{"))) return check_lines(x, in);
    if (entry_file) TRY(cli_read_file(x->a, entry_file, ENGINE_LOG_ENTRY_MAX, &entry));
    TRY(check_one(x, in, entry, &p, &c));
    fprintf(stderr, "genuine: entry %llu of %llu in the log %.*s\n", (unsigned long long)p.index,
            (unsigned long long)c.size, SLICE_ARG(c.origin));
    cli_print(stdout, p.entry);
    fputs("\n", stdout);
    return OK;
}

/* ---- the command line ---- */

#define KEY_FLAG(x)                                                                                \
    { "key", "VKEY", &(x)->key, NULL, "the log's verifier key (required)" }

#define POLICY_FLAG(x)                                                                             \
    {                                                                                              \
        "policy", "FILE", &(x)->policy, NULL,                                                      \
            "who must have cosigned (C2SP tlog-policy), beside the log itself"                     \
    }

static int finish(const char *name, auditing *x, err e) {
    close_source(x);
    x->a = arena_free(x->a);
    if (e == OK) return CLI_EXIT_OK;
    if (e == ERR_CORRUPT) {
        char why[512];
        snprintf(why, sizeof why, "%s", err_detail());
        e = err_fail(e, "not genuine: %s", why);
    }
    (void)cli_fail(name, e);
    return e == ERR_CORRUPT ? EXIT_NOT_GENUINE : EXIT_NOT_RUN;
}

#define EXIT_ABOUT "\nExit code: 0 genuine, 1 not genuine, 2 it could not be told."

int cli_audit_verify(int argc, char **argv) {
    auditing x = {.a = arena_new(64 << 10, ARENA_MAX)};
    const cli_flag flags[] = {KEY_FLAG(&x), POLICY_FLAG(&x), {0}};
    const cli_spec spec = {
        "audit verify",
        "DIR|URL --key VKEY [--policy FILE]",
        "Verifies a whole published record: every entry against its tile, every tile against the "
        "one\n"
        "above, the root against the signed checkpoint. DIR is the folder log/ of a data folder or "
        "a copy\n"
        "of it; URL is where it is served, as http://127.0.0.1:10002/log." EXIT_ABOUT,
        flags,
        1,
        1};
    cli_args args;
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) e = verify(&x, args.arg[0]);
    return finish(spec.name, &x, e);
}

int cli_audit_prove(int argc, char **argv) {
    auditing x = {.a = arena_new(64 << 10, ARENA_MAX)};
    const cli_flag flags[] = {KEY_FLAG(&x), {0}};
    const cli_spec spec = {"audit prove",
                           "DIR|URL INDEX --key VKEY",
                           "Writes a receipt for one entry of a published record (C2SP "
                           "tlog-proof), with the entry in it:\n"
                           "whoever has the key can check it offline, for good. A request's answer "
                           "names its entry in\n"
                           "x-strongroom-record." EXIT_ABOUT,
                           flags,
                           2,
                           2};
    cli_args args;
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) e = prove(&x, args.arg[0], args.arg[1]);
    return finish(spec.name, &x, e);
}

int cli_audit_check(int argc, char **argv) {
    auditing x = {.a = arena_new(64 << 10, ARENA_MAX)};
    const char *entry = NULL;
    const cli_flag flags[] = {
        KEY_FLAG(&x),
        POLICY_FLAG(&x),
        {"entry", "FILE", &entry, NULL, "the entry; default: the one that the receipt holds"},
        {0}};
    const cli_spec spec = {"audit check",
                           "RECEIPT --key VKEY [--policy FILE] [--entry FILE]",
                           "Checks a receipt, or all that `audit receipts` wrote, offline, and "
                           "prints the entries that "
                           "they are\n"
                           "for (-: standard input)." EXIT_ABOUT,
                           flags,
                           1,
                           1};
    cli_args args;
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) e = check_receipt(&x, args.arg[0], entry);
    return finish(spec.name, &x, e);
}
