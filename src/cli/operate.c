/* `strongroom account`, `container`, `scope`, `lifecycle`, `oversight` and `key`: to the running server through its socket, or on the
 * folder itself when no server runs. */
#include <unistd.h>

#include "audit/event.h"
#include "cli/cli.h"

/* What flags say. */
typedef struct operation {
    cli_folder folder;
    const char *endpoint, *key, *access, *prefix, *scope;
    const char *rights, *accounts, *expires;
    bool json, yes, dry, scope_only;
    slice file; /* WITH_FILE: what is in it */
} operation;

enum { /* flags a command knows beside those of every command */
       WITH_ENDPOINT = 1u << 0,
       WITH_YES = 1u << 1,
       WITH_KEY = 1u << 2,
       WITH_PUBLIC = 1u << 3,
       WITH_PREFIX = 1u << 4,
       WITH_SETTINGS = 1u << 5, /* no flag: its help lists the settings */
       WITH_FILE = 1u << 6,     /* no flag: the second word names a file, whose text is sent */
       WITH_DRY = 1u << 7,
       WITH_SCOPE = 1u << 10,
       WITH_RIGHTS = 1u << 11,
       SHOWS_KEY = 1u << 9,    /* no flag: its answer is one text, printed as it is */
       SHOWS_POLICY = 1u << 8, /* no flag: its answer is a document, printed as it is */
};

/* One command, in the program's words and in admin_call's. */
typedef struct command {
    const char *group, *name;
    const char *summary;
    const char *synopsis, *about;
    const char *fields[3]; /* names of its words in the request */
    unsigned with;
    int (*run)(int argc, char **argv); /* NULL: admin_call's; else a command of its own */
} command;

err cli_opened_open(arena *a, const cli_folder *f, cli_opened *ret) {
    *ret = (cli_opened){.region = SLICE_NONE};
    ret->deeds = audit_deeds(&ret->region);
    const cli_open how = {.cache_bytes = 32 << 20, .deeds = &ret->deeds};
    TRY(cli_folder_open(f, &how, &ret->store));
    const slice log = arena_fmt(a, "%s/log", f->data);
    ret->state =
        (admin_state){.store = ret->store, .records = true, .log_folder = arena_cstr(a, log)};
    err e = rules_start(ret->store, false, &ret->state.rules);
    if (e != OK) cli_opened_close(ret);
    return e;
}

void cli_opened_close(cli_opened *o) {
    if (!o->store) return;
    rules_stop(o->state.rules);
    store_close(o->store);
    o->store = NULL;
}

static err call_folder(arena *a, const cli_folder *f, slice request, slice *ret) {
    cli_opened o;
    TRY(cli_opened_open(a, f, &o));
    err e = admin_call(&o.state, a, request, ret);
    cli_opened_close(&o);
    return e;
}

err cli_operator_call(arena *a, const cli_folder *f, slice request, slice *ret) {
    const char *socket_path;
    bool running = false;
    TRY(cli_socket_path(a, f->data, &socket_path));
    TRY(cli_remote_call(a, socket_path, request, &running, ret));
    return running ? OK : call_folder(a, f, request, ret);
}

/* As it was given, to be changed and set again. */
static void show_policy(arena *a, slice response) {
    slice policy = admin_field(a, response, "policy"), run = admin_field(a, response, "last_run");
    (void)fwrite(policy.p, 1, policy.len, stdout); /* JSON, which holds no control characters */
    fprintf(stderr, "last run: %.*s\n", SLICE_ARG(run.p ? run : S("not yet")));
}

static void show(const operation *op, slice response) {
    buf out;
    buf_init(&out, (size_t)4 * ADMIN_RESPONSE_MAX); /* tables are padded */
    if (op->json) {
        buf_put(&out, response);
        buf_byte(&out, '\n');
    } else {
        admin_text(response, &out);
    }
    (void)fwrite(out.p, 1, out.len, stdout);
    crypto_wipe(out.p, out.len);
    buf_done(&out);
}

/* What cannot be undone is confirmed: the name typed again, or --yes. */
static err confirm(const operation *op, const char *what, const char *name) {
    char line[1100];
    if (op->yes) return OK;
    ENSURE(isatty(STDIN_FILENO), ERR_USAGE, "deleting %s '%s' cannot be undone; say --yes", what,
           name);
    fprintf(stderr,
            "Its key is destroyed: everything in %s '%s' becomes unreadable for good.\n"
            "Type the name to delete it: ",
            what, name);
    if (!fgets(line, sizeof line, stdin)) line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    ENSURE(strcmp(line, name) == 0, ERR_CANCELLED, "not deleted");
    return OK;
}

static slice word(const cli_args *args, size_t i) {
    return slice_str(i < args->count ? args->arg[i] : NULL);
}

/* Sends the command and prints the answer; follows the pages of a list. */
static err run(arena *a, operation *op, const command *c, const cli_args *args) {
    const char *from_config = NULL;
    slice endpoint = SLICE_NONE, next = SLICE_NONE, response;
    TRY(cli_folder_resolve(a, &op->folder, &from_config));
    if (c->with & WITH_FILE) TRY(cli_read_file(a, args->arg[1], RULES_POLICY_MAX, &op->file));
    if (c->with & WITH_ENDPOINT) endpoint = slice_str(op->endpoint ? op->endpoint : from_config);
    slice name = arena_fmt(a, "%s %s", c->group, c->name);
    const char *request_name = arena_cstr(a, name);
    do {
        pair fields[] = {
            {slice_str(c->fields[0]), word(args, 0)},
            {slice_str(c->fields[1]), c->with & WITH_FILE ? op->file : word(args, 1)},
            {slice_str(c->fields[2]), word(args, 2)},
            {S("dry"), op->dry ? S("yes") : SLICE_NONE},
            {S("endpoint"), endpoint},
            {S("key"), slice_str(op->key)},
            {S("public"), slice_str(op->access)},
            {S("default_scope"), slice_str(op->scope)},
            {S("scope_only"), op->scope_only ? S("yes") : SLICE_NONE},
            {S("prefix"), slice_str(op->prefix)},
            {S("rights"), slice_str(op->rights)},
            {S("accounts"), slice_str(op->accounts)},
            {S("expires"), slice_str(op->expires)},
            {S("marker"), next},
        };
        TRY(cli_operator_call(
            a, &op->folder, admin_request(a, request_name, fields, ARRAY_LEN(fields)), &response));
        if (c->with & SHOWS_POLICY && !op->json)
            show_policy(a, response);
        else if (c->with & SHOWS_KEY && !op->json)
            printf("%.*s\n", SLICE_ARG(admin_field(a, response, "key")));
        else
            show(op, response);
        next = admin_field(a, response, "next");
    } while (!slice_empty(next));
    return OK;
}

static err check_words(const operation *op, const command *c, const cli_args *args) {
    if (c->with & WITH_KEY)
        ENSURE(op->key && (strcmp(op->key, "1") == 0 || strcmp(op->key, "2") == 0), ERR_USAGE,
               "say which key to replace: --key 1 or --key 2");
    if (c->with & WITH_YES) return confirm(op, c->group, args->arg[args->count - 1]);
    return OK;
}

static void add_flags(operation *op, const command *c, cli_flag *to) {
    *to++ = (cli_flag){"data", "DIR", &op->folder.data, NULL, "the data folder"};
    *to++ = (cli_flag){"config", "FILE", &op->folder.config, NULL,
                       "take data and root_key from this configuration"};
    *to++ = (cli_flag){"root-key", "FILE", &op->folder.root_key, NULL,
                       "the root key, if not DIR/root.key (needed when no server runs)"};
    *to++ = (cli_flag){"json", NULL, NULL, &op->json, "answer in JSON"};
    if (c->with & WITH_ENDPOINT)
        *to++ = (cli_flag){"endpoint", "URL", &op->endpoint, NULL,
                           "the server's address in the connection string"};
    if (c->with & WITH_KEY)
        *to++ = (cli_flag){"key", "1|2", &op->key, NULL, "which key to replace (required)"};
    if (c->with & WITH_PUBLIC)
        *to++ = (cli_flag){"public", "LEVEL", &op->access, NULL,
                           "private (the default), blob or container"};
    if (c->with & WITH_SCOPE) {
        *to++ = (cli_flag){"scope", "NAME", &op->scope, NULL,
                           "the encryption scope of blobs that name none; for good"};
        *to++ = (cli_flag){"scope-only", NULL, NULL, &op->scope_only, "and no other may be named"};
    }
    if (c->with & WITH_RIGHTS) {
        *to++ =
            (cli_flag){"rights", "WORD", &op->rights, NULL,
                       "entries (the default), or openings: with the names that they stand for"};
        *to++ = (cli_flag){"accounts", "NAMES", &op->accounts, NULL,
                           "only entries of these accounts, with commas between; default: of all"};
        *to++ = (cli_flag){"expires", "TIME", &op->expires, NULL,
                           "until then (UTC): 2027-01-31, 2027-01-31T18:00:00Z; default: for good"};
    }
    if (c->with & WITH_PREFIX)
        *to++ = (cli_flag){"prefix", "TEXT", &op->prefix, NULL, "only names that begin so"};
    if (c->with & WITH_DRY)
        *to++ =
            (cli_flag){"dry-run", NULL, NULL, &op->dry, "change nothing, show what would be done"};
    if (c->with & WITH_YES) *to++ = (cli_flag){"yes", NULL, NULL, &op->yes, "do not ask"};
    *to = (cli_flag){0};
}

static slice about_settings(arena *a, slice about) {
    static const char *const kinds[] = {[STORE_SETTING_SWITCH] = "on|off",
                                        [STORE_SETTING_NUMBER] = "NUMBER",
                                        [STORE_SETTING_CODE] = "CODE"};
    size_t n;
    const store_setting *list = store_setting_list(&n);
    buf b;
    buf_init_arena(&b, a, 64 << 10);
    buf_put(&b, about);
    buf_str(&b, "\n\nSettings:\n");
    for (size_t i = 0; i < n; i++)
        buf_fmt(&b, "  %s=%s\n      %s\n", list[i].name, kinds[list[i].kind], list[i].about);
    return buf_slice(&b);
}

static int run_command(const command *c, int argc, char **argv) {
    operation op = {0};
    cli_flag flags[16];
    cli_args args;
    arena *a = arena_new(4096, CLI_ARENA_MAX);
    slice name = arena_fmt(a, "%s %s", c->group, c->name);
    slice about = arena_fmt(a,
                            "%s\n\nSpeaks to the running server through DIR/" ADMIN_SOCKET
                            "; when none runs, opens the folder\n"
                            "itself. Without --data and --config, " CLI_CONFIG_DEFAULT " is read.",
                            c->about);
    if (c->with & WITH_SETTINGS) about = about_settings(a, about);
    size_t words = 0;
    while (words < ARRAY_LEN(c->fields) && c->fields[words]) words++;
    const cli_spec spec = {
        arena_cstr(a, name), c->synopsis, arena_cstr(a, about), flags, words, words};
    add_flags(&op, c, flags);
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) e = check_words(&op, c, &args);
    if (e == OK && !args.help) e = run(a, &op, c, &args);
    int code = e == OK ? CLI_EXIT_OK : cli_fail(spec.name, e);
    arena_free(a);
    return code;
}

/* ---- the table ---- */

#define ROTATE_ABOUT                                                                               \
    "Replaces one of an account's two shared keys by a random one. What was signed with the\n"     \
    "old key is refused from then on; clients that use the other key do not notice.\n"             \
    "`strongroom key show ACCOUNT` prints the new one."

static const command commands[] = {
    {"account",
     "create",
     "a new account with random keys",
     "NAME [flags]",
     "Makes an account with two random keys and prints them. A name is 3 to 24 lower-case\n"
     "letters and digits.",
     {"name"},
     WITH_ENDPOINT},
    {"account", "list", "all accounts", "[flags]", "Lists the accounts.", {NULL}, 0},
    {"account",
     "show",
     "one account",
     "NAME [flags]",
     "Shows an account, without its keys (for those: `strongroom key show`).",
     {"name"},
     0},
    {"account",
     "set",
     "one setting of an account",
     "NAME SETTING=VALUE [flags]",
     "Changes a setting; `strongroom account show NAME` shows all.",
     {"name", "setting"},
     WITH_SETTINGS},
    {"account",
     "delete",
     "an account and all it holds, for good",
     "NAME [--yes] [flags]",
     "Deletes an account with all its containers. Its key is destroyed, so that nothing it\n"
     "held can be read again, by anyone; the space is given back in the background. Asks for\n"
     "the name again unless --yes is given.",
     {"name"},
     WITH_YES},
    {"account",
     "rotate",
     "a new random key in place of one of the two",
     "NAME --key 1|2 [flags]",
     ROTATE_ABOUT,
     {"name"},
     WITH_KEY},
    {"container",
     "create",
     "a new container",
     "ACCOUNT NAME [flags]",
     "Makes a container. With --public blob anyone who can reach the server may read its\n"
     "blobs without a key; with --public container they may also list them.",
     {"account", "name"},
     WITH_PUBLIC | WITH_SCOPE},
    {"container",
     "list",
     "an account's containers",
     "ACCOUNT [flags]",
     "Lists an account's containers.",
     {"account"},
     WITH_PREFIX},
    {"container",
     "show",
     "one container",
     "ACCOUNT NAME [flags]",
     "Shows a container, its metadata and the names of its access policies.",
     {"account", "name"},
     0},
    {"container",
     "set",
     "retention policy, legal holds, and what is asked of every access",
     "ACCOUNT NAME SETTING=VALUE [flags]",
     "Sets what holds for all blobs of a container, whoever asks:\n"
     "  immutable_days=N         no blob is changed, and none deleted before N days after its "
     "last\n"
     "                           change; 0 removes the policy\n"
     "  immutable_append=on|off  append blobs still take blocks\n"
     "  immutable_lock=on        from then on N can become more, and nothing else; for good\n"
     "  hold=NAME, release=NAME  a legal hold: nothing is changed or deleted until it is released\n"
     "  purpose=required|optional  only accesses with a purpose are let in (x-ms-purpose, or the "
     "default\n"
     "                           of their key: account set … purpose_key1=CODE)\n"
     "  acknowledge=witnessed|durable  answers wait until the record's witnesses have cosigned "
     "what they tell\n"
     "                           (audit.witnesses; without any, nobody is let in)\n"
     "A container with a policy or a hold is not deleted.",
     {"account", "name", "setting"},
     0},
    {"container",
     "delete",
     "a container and all it holds, for good",
     "ACCOUNT NAME [--yes] [flags]",
     "Deletes a container and all in it. Its key is destroyed, so that nothing it held can be\n"
     "read again, by anyone; the space is given back in the background. Asks for the name\n"
     "again unless --yes is given.",
     {"account", "name"},
     WITH_YES},
    {"scope",
     "create",
     "a new encryption scope: a key that blobs can be put under",
     "ACCOUNT NAME [flags]",
     "Makes an encryption scope with a random key, enabled. Blobs go under it when a request\n"
     "names it (x-ms-encryption-scope, ses of a SAS), or when their container was made with it\n"
     "as default. A name is 3 to 63 of a-z, 0-9 and single '-' inside, and is never used again.",
     {"account", "scope"},
     0},
    {"scope",
     "list",
     "an account's encryption scopes",
     "ACCOUNT [flags]",
     "Lists an account's encryption scopes and whether they are enabled.",
     {"account"},
     0},
    {"scope",
     "disable",
     "nothing is read or written under it, until it is enabled",
     "ACCOUNT NAME [flags]",
     "Refuses all reads and writes of content and metadata under the scope (403). Listings still\n"
     "show its blobs, and they can be deleted.",
     {"account", "scope"},
     0},
    {"scope",
     "enable",
     "a disabled scope is used again",
     "ACCOUNT NAME [flags]",
     "Enables a scope that was disabled.",
     {"account", "scope"},
     0},
    {"scope",
     "destroy",
     "destroy its key: what is under it is unreadable, for good",
     "ACCOUNT NAME [--yes] [flags]",
     "Destroys the scope's key, so that no content under it can be read again, by anyone. Its\n"
     "blobs stay listed until they are deleted. Refused while the account has anything under a\n"
     "retention policy or a legal hold. Asks for the name again unless --yes is given.",
     {"account", "scope"},
     WITH_YES},
    {"audit",
     "key",
     "the verifier key of this server's record",
     "[flags]",
     "Prints the key that the record's checkpoints are signed with, for whoever verifies them:\n"
     "give it to them by another way than the record.",
     {NULL},
     SHOWS_KEY},
    {"audit",
     "status",
     "how much there is of the record, and from where on",
     "[flags]",
     "Shows how many entries there are and are kept, the oldest one's time, what retention has\n"
     "removed, and the bytes of the record's rows on the disk (entries and openings, compressed).",
     {NULL},
     0},
    {.group = "audit",
     .name = "verify",
     .summary = "a whole record, from a folder or a server",
     .run = cli_audit_verify},
    {.group = "audit",
     .name = "prove",
     .summary = "a receipt for one entry",
     .run = cli_audit_prove},
    {.group = "audit", .name = "check", .summary = "a receipt, offline", .run = cli_audit_check},
    {.group = "audit",
     .name = "search",
     .summary = "entries of the record: who did what",
     .run = cli_audit_search},
    {.group = "audit", .name = "watch", .summary = "entries as they come", .run = cli_audit_watch},
    {.group = "audit",
     .name = "receipts",
     .summary = "receipts for a blob's history, with its names",
     .run = cli_audit_receipts},
    {.group = "audit",
     .name = "export",
     .summary = "entries as Azure, FHIR, PREMIS or CSV write them",
     .run = cli_audit_export},
    {"oversight",
     "add",
     "somebody who may look at the record from another machine",
     "NAME [flags]",
     "Makes a token for an overseer and prints it, once: the server keeps its hash only. With it "
     "they\n"
     "look at the record at https://SERVER/oversight/v1/ (oversight.listen in the configuration); "
     "each\n"
     "look leaves an entry that names them. A name is 1 to 64 of a-z, 0-9, '-' and '_'.",
     {"overseer"},
     WITH_RIGHTS},
    {"oversight",
     "list",
     "who may look",
     "[flags]",
     "Lists the overseers, what they may see and until when.",
     {NULL},
     0},
    {"oversight",
     "disable",
     "not until it is enabled again",
     "NAME [flags]",
     "Refuses the overseer's token from now on, and keeps it for `oversight enable`.",
     {"overseer"},
     0},
    {"oversight",
     "enable",
     "a disabled one may look again",
     "NAME [flags]",
     "Lets an overseer that was disabled look again, with the same token.",
     {"overseer"},
     0},
    {"oversight",
     "remove",
     "not any more",
     "NAME [flags]",
     "Removes an overseer and their token. What they looked at stays in the record, with their "
     "name.",
     {"overseer"},
     0},
    {"lifecycle",
     "set",
     "rules by which an account's blobs change tier or are deleted",
     "ACCOUNT FILE [flags]",
     "Replaces the account's lifecycle policy by the one in FILE (-: standard input): Azure's\n"
     "JSON, {\"rules\": […]}. It runs a day from now, then once a day.",
     {"account", "policy"},
     WITH_FILE},
    {"lifecycle",
     "show",
     "an account's rules",
     "ACCOUNT [flags]",
     "Prints the account's lifecycle policy as it was set.",
     {"account"},
     SHOWS_POLICY},
    {"lifecycle",
     "run",
     "run the rules now, or show what they would do",
     "ACCOUNT [--dry-run] [flags]",
     "Runs the account's lifecycle policy at once and says what it did. With --dry-run nothing\n"
     "is changed: it counts what would be done, and shows the first 100.",
     {"account"},
     WITH_DRY},
    {"lifecycle",
     "remove",
     "no rules any more",
     "ACCOUNT [flags]",
     "Removes the account's lifecycle policy. What it has done stays done.",
     {"account"},
     0},
    {"key",
     "show",
     "an account's keys and connection string",
     "ACCOUNT [flags]",
     "Prints an account's shared keys and its connection string. They are secrets: whoever has\n"
     "one can read, change and delete everything in the account.",
     {"name"},
     WITH_ENDPOINT},
    {"key",
     "rotate",
     "a new random key in place of one of the two",
     "ACCOUNT --key 1|2 [flags]",
     ROTATE_ABOUT,
     {"name"},
     WITH_KEY},
};

static void print_group(const char *group) {
    printf("usage: strongroom %s COMMAND\n\n", group);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].group, group) == 0)
            printf("  strongroom %s %-8s %s\n", group, commands[i].name, commands[i].summary);
    printf("\n`strongroom help %s COMMAND` says more.\n", group);
}

static int run_group(const char *group, int argc, char **argv) {
    const char *names[ARRAY_LEN(commands) + 1];
    size_t n = 0;
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        print_group(group);
        return argc == 0 ? CLI_EXIT_USAGE : CLI_EXIT_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].group, group) != 0) continue;
        if (strcmp(commands[i].name, argv[0]) == 0 && commands[i].run != NULL)
            return commands[i].run(argc - 1, argv + 1);
        if (strcmp(commands[i].name, argv[0]) == 0)
            return run_command(&commands[i], argc - 1, argv + 1);
        names[n++] = commands[i].name;
    }
    names[n] = NULL;
    const char *near = cli_nearest(argv[0], names);
    err e = near ? err_fail(ERR_USAGE, "'%s' has no command '%.64s'; did you mean '%s'?", group,
                            argv[0], near)
                 : err_fail(ERR_USAGE, "'%s' has no command '%.64s'", group, argv[0]);
    return cli_fail(group, e);
}

int cli_account(int argc, char **argv) {
    return run_group("account", argc, argv);
}
int cli_container(int argc, char **argv) {
    return run_group("container", argc, argv);
}
int cli_scope(int argc, char **argv) {
    return run_group("scope", argc, argv);
}
int cli_oversight(int argc, char **argv) {
    return run_group("oversight", argc, argv);
}
int cli_lifecycle(int argc, char **argv) {
    return run_group("lifecycle", argc, argv);
}
int cli_audit(int argc, char **argv) {
    return run_group("audit", argc, argv);
}
int cli_key(int argc, char **argv) {
    return run_group("key", argc, argv);
}
