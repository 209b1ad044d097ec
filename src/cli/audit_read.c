/* `strongroom audit search`, `watch`, `export` and `receipts`: entries of the record, for those who may open the data folder
 * or its socket, and with --url for overseers. What needs only the published record stands in audit.c. */
#include "cli/cli.h"

typedef struct reading {
    cli_folder folder;
    const char *from, *count, *format;
    const char *since, *until, *audit_class, *action, *result, *purpose;
    const char *account, *container, *blob, *actor;
    bool open, json;
    cli_overseer overseer; /* of another machine's server; url NULL: of this one's folder */
} reading;

#define FLAGS_MAX 28

static void add_flags(reading *r, cli_flag to[FLAGS_MAX]) {
    const cli_flag all[] = {
        {"data", "DIR", &r->folder.data, NULL, "the data folder"},
        {"config", "FILE", &r->folder.config, NULL,
         "take data and root_key from this configuration"},
        {"root-key", "FILE", &r->folder.root_key, NULL,
         "the root key, if not DIR/root.key (needed when no server runs)"},
        {"url", "URL", &r->overseer.url, NULL,
         "in place of a folder: the oversight listener of a server, as "
         "https://storage.example.org:10003"},
        {"token-file", "FILE", &r->overseer.token_file, NULL,
         "with --url: the token, from `strongroom oversight add`; default: the variable "
         "STRONGROOM_TOKEN"},
        {"ca", "FILE", &r->overseer.ca_file, NULL,
         "with --url: authorities that sign for it (PEM); default: the system's"},
        {"why", "TEXT", &r->overseer.why, NULL,
         "with --url: what you look for, as the record keeps it: \"REVIEW; complaint of 3 May\""},
        {"from", "N", &r->from, NULL, "the first entry to look at"},
        {"since", "TIME", &r->since, NULL,
         "not before this time (UTC): 2026-11-26, 2026-11-26T20:15:00Z"},
        {"until", "TIME", &r->until, NULL, "before this time"},
        {"class", "WORD", &r->audit_class, NULL,
         "collection, alteration, consultation, disclosure, combination, erasure, policy, key, "
         "admin, "
         "oversight or refused"},
        {"action", "NAME", &r->action, NULL, "an operation, as \"Get Blob\", or a command"},
        {"result", "WORD", &r->result, NULL, "ok, refused or failed"},
        {"purpose", "CODE", &r->purpose, NULL, "accesses for this purpose"},
        {"account", "NAME", &r->account, NULL, "what was done in this account"},
        {"container", "NAME", &r->container, NULL, "in this container of it"},
        {"blob", "NAME", &r->blob, NULL, "to this blob of it"},
        {"actor", "TEXT", &r->actor, NULL, "by whom, as openings have it: \"key 1 of records\""},
        {"open", NULL, NULL, &r->open,
         "with names, actors, addresses and reasons, as far as their keys are there"},
    };
    memcpy(to, all, sizeof all);
    to[ARRAY_LEN(all)] = (cli_flag){0};
}

/* A command's own flag, behind the others. */
static void add_flag(cli_flag flags[FLAGS_MAX], cli_flag one) {
    size_t n = 0;
    while (flags[n].name) n++;
    MUST(n + 1 < FLAGS_MAX);
    flags[n] = one;
    flags[n + 1] = (cli_flag){0};
}

/* One page. wait: of `audit watch`. */
static err ask(arena *a, const reading *r, const char *command, const char *from, bool wait,
               slice *ret) {
    const pair fields[] = {{S("from"), slice_str(from)},
                           {S("since"), slice_str(r->since)},
                           {S("until"), slice_str(r->until)},
                           {S("class"), slice_str(r->audit_class)},
                           {S("action"), slice_str(r->action)},
                           {S("result"), slice_str(r->result)},
                           {S("purpose"), slice_str(r->purpose)},
                           {S("account"), slice_str(r->account)},
                           {S("container"), slice_str(r->container)},
                           {S("blob"), slice_str(r->blob)},
                           {S("actor"), slice_str(r->actor)},
                           {S("count"), slice_str(r->count)},
                           {S("format"), slice_str(r->format)},
                           {S("open"), r->open ? S("yes") : SLICE_NONE},
                           {S("wait"), wait ? S("yes") : SLICE_NONE}};
    return cli_operator_call(a, &r->folder, admin_request(a, command, fields, ARRAY_LEN(fields)),
                             ret);
}

/* Writes the entries of a page; what cannot be written ends the command. */
static err show_page(const reading *r, slice response) {
    buf out;
    buf_init(&out, (size_t)4 * ADMIN_RESPONSE_MAX);
    if (r->json) {
        buf_put(&out, response);
        buf_byte(&out, '\n');
    } else {
        admin_lines(response, "entries", &out);
    }
    const size_t len = out.len;
    const bool written = (len == 0 || fwrite(out.p, 1, len, stdout) == len) && fflush(stdout) == 0;
    crypto_wipe(out.p, out.len);
    buf_done(&out);
    ENSURE(written, ERR_IO, "standard output takes no more");
    return OK;
}

static err show_text(arena *a, slice response, const char *field) {
    const slice text = admin_field(a, response, field);
    ENSURE(fwrite(text.p ? (const char *)text.p : "", 1, text.len, stdout) == text.len, ERR_IO,
           "standard output takes no more");
    return OK;
}

/* That the record does not begin at its beginning. */
static void note_removed(slice response) {
    uint64_t before;
    if (admin_count(response, "removed_before", &before))
        fprintf(stderr, "entries before %llu were removed by retention\n",
                (unsigned long long)before);
}

/* Page after page. The arena is of one page: `from` is kept outside of it. */
static err all_pages(arena *a, const reading *r, const char *command) {
    char from[24] = "";
    slice response, next;
    bool first = true;
    if (r->from) snprintf(from, sizeof from, "%s", r->from);
    do {
        arena_reset(a);
        TRY(ask(a, r, command, from, false, &response));
        if (first) note_removed(response);
        if (first && r->format) TRY(show_text(a, response, "head"));
        first = false;
        TRY(show_page(r, response));
        next = admin_field(a, response, "next");
        snprintf(from, sizeof from, "%.*s", SLICE_ARG(next));
    } while (next.len > 0 && !r->count);
    return r->format ? show_text(a, response, "tail") : OK;
}

static err follow(arena *a, const reading *r) {
    char from[24] = "";
    slice response;
    TRY(ask(a, r, "audit watch", r->from, false, &response));
    for (;;) {
        const slice next = admin_field(a, response, "next");
        snprintf(from, sizeof from, "%.*s", SLICE_ARG(next));
        TRY(show_page(r, response));
        arena_reset(a);
        TRY(ask(a, r, "audit watch", from, true, &response));
    }
}

/* ---- from another machine ---- */

static err ask_there(arena *a, const reading *r, const char *what, slice after,
                     uint64_t *ret_after) {
    const pair fields[] = {{S("after"), after},
                           {S("since"), slice_str(r->since)},
                           {S("until"), slice_str(r->until)},
                           {S("class"), slice_str(r->audit_class)},
                           {S("action"), slice_str(r->action)},
                           {S("result"), slice_str(r->result)},
                           {S("purpose"), slice_str(r->purpose)},
                           {S("account"), slice_str(r->account)},
                           {S("container"), slice_str(r->container)},
                           {S("blob"), slice_str(r->blob)},
                           {S("actor"), slice_str(r->actor)},
                           {S("limit"), slice_str(r->count)},
                           {S("format"), slice_str(r->format)},
                           {S("openings"), r->open ? S("true") : SLICE_NONE}};
    return cli_overseer_get(a, &r->overseer, what, fields, ARRAY_LEN(fields), ret_after);
}

static err watch_there(arena *a, const reading *r, slice after) {
    for (;;) {
        char next[24];
        uint64_t last;
        TRY(ask_there(a, r, "watch", after, &last));
        snprintf(next, sizeof next, "%llu", (unsigned long long)last);
        arena_reset(a);
        after = arena_dup(a, slice_str(next));
    }
}

static err run_there(arena *a, reading *r, const char *command) {
    uint64_t from = 0;
    const char *what = command + sizeof "audit " - 1;
    ENSURE(!r->folder.data && !r->folder.config && !r->folder.root_key && !r->json, ERR_USAGE,
           "--url goes with neither --data, --config, --root-key nor --json");
    if (r->from) TRY(cli_number("from", r->from, 0, UINT64_MAX, &from));
    const slice after =
        from > 0 ? arena_fmt(a, "%llu", (unsigned long long)(from - 1)) : SLICE_NONE;
    if (strcmp(what, "watch") == 0) return watch_there(a, r, after);
    return ask_there(a, r, strcmp(what, "search") == 0 ? "entries" : what, after, NULL);
}

static err run(arena *a, arena *kept, reading *r, const char *command) {
    if (strcmp(command, "audit export") == 0 && !r->format) r->format = "azure";
    if (r->overseer.url) return run_there(a, r, command);
    ENSURE(!r->overseer.token_file && !r->overseer.ca_file && !r->overseer.why, ERR_USAGE,
           "--token-file, --ca and --why go with --url");
    TRY(cli_folder_resolve(kept, &r->folder, NULL));
    return strcmp(command, "audit watch") == 0 ? follow(a, r) : all_pages(a, r, command);
}

static int finish(reading *r, const cli_spec *spec, int argc, char **argv) {
    arena *a = arena_new(64 << 10, CLI_ARENA_MAX), *kept = arena_new(4096, CLI_ARENA_MAX);
    cli_args args;
    err e = cli_parse(spec, argc, argv, &args);
    if (e == OK && !args.help) e = run(a, kept, r, spec->name);
    arena_free(kept);
    arena_free(a);
    return e == OK ? CLI_EXIT_OK : cli_fail(spec->name, e);
}

#define WHO_LOOKS "\nWhoever looks leaves an entry too."

int cli_audit_search(int argc, char **argv) {
    reading r = {0};
    cli_flag flags[FLAGS_MAX];
    add_flags(&r, flags);
    add_flag(flags, (cli_flag){"count", "N", &r.count, NULL, "how many, up to 1000; default: all"});
    add_flag(flags, (cli_flag){"json", NULL, NULL, &r.json, "answers as the server gives them"});
    const cli_spec spec = {
        "audit search",
        "[flags]",
        "Shows the entries of the record that have all that is asked for, one line of JSON each. "
        "With\n"
        "--open each stands with what its pseudonyms and commitments stand for." WHO_LOOKS,
        flags,
        0,
        0};
    return finish(&r, &spec, argc, argv);
}

int cli_audit_watch(int argc, char **argv) {
    reading r = {0};
    cli_flag flags[FLAGS_MAX];
    add_flags(&r, flags);
    const cli_spec spec = {
        "audit watch",
        "[flags]",
        "Shows entries as they come, from now on or from --from N on, until it is interrupted.\n"
        "Entries of watching itself are left out." WHO_LOOKS,
        flags,
        0,
        0};
    return finish(&r, &spec, argc, argv);
}

int cli_audit_export(int argc, char **argv) {
    reading r = {0};
    cli_flag flags[FLAGS_MAX];
    add_flags(&r, flags);
    add_flag(flags, (cli_flag){"format", "NAME", &r.format, NULL,
                               "azure (the default), fhir, premis or csv"});
    const cli_spec spec = {
        "audit export",
        "[flags]",
        "Writes entries of the record in the form of others:\n"
        "  azure   Azure Monitor's resource logs (StorageBlobLogs), a line of JSON each\n"
        "  fhir    FHIR R4 AuditEvent after IHE BALP, a line of JSON each\n"
        "  premis  PREMIS 3.0 events, one XML document\n"
        "  csv     RFC 4180; what a spreadsheet would take for a formula begins with '\n"
        "Names, actors and addresses stand there with --open, else what stands for them in the\n"
        "record." WHO_LOOKS,
        flags,
        0,
        0};
    return finish(&r, &spec, argc, argv);
}

int cli_audit_receipts(int argc, char **argv) {
    reading r = {0};
    cli_flag flags[FLAGS_MAX];
    add_flags(&r, flags);
    const cli_spec spec = {"audit receipts",
                           "--account NAME --container NAME --blob NAME [flags]",
                           "Writes a receipt (C2SP tlog-proof) for each published entry that has "
                           "what is asked for, with what\n"
                           "opens it, a line of JSON each: the history of a blob, or with --class "
                           "erasure that it is gone.\n"
                           "Whoever has the log's key checks them offline with `strongroom audit "
                           "check`. They hold names:\n"
                           "give them to nobody but those whom the blob concerns." WHO_LOOKS,
                           flags,
                           0,
                           0};
    return finish(&r, &spec, argc, argv);
}
