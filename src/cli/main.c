/* The program: finds the command and runs it. */
#include <malloc.h>
#include <sys/stat.h>

#include "cli/cli.h"

static int run_help(int argc, char **argv);
static int run_version(int argc, char **argv);
static int run_azurite(int argc, char **argv);

static const cli_command commands[] = {
    {"serve", cli_serve, "run the server", true},
    {"init", cli_init, "make a production data folder"},
    {"account", cli_account, "create, list, show, set, delete accounts"},
    {"container", cli_container, "create, list, show, set, delete containers"},
    {"scope", cli_scope, "create, list, disable, enable, destroy encryption scopes"},
    {"audit", cli_audit, "the record of every access"},
    {"oversight", cli_oversight, "who may look at the record from another machine"},
    {"lifecycle", cli_lifecycle, "rules by which blobs change tier or are deleted"},
    {"key", cli_key, "show or rotate an account's keys"},
    {"check", cli_check, "verify a stopped data folder"},
    {"backup", cli_backup, "copy a data folder, while the server runs"},
    {"restore", cli_restore, "make a data folder from a backup"},
    {"azurite", run_azurite, "run a server as the Azurite emulator is run", true},
    {"help", run_help, "this page, or more about a command"},
    {"version", run_version, "the program's version"},
};

static const cli_command *find_command(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static void print_commands(FILE *to) {
    fprintf(to,
            "Strongroom: a storage server for sensitive records that speaks the Azure Blob API.\n\n"
            "usage: strongroom COMMAND [flags]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\nTo try it:           strongroom serve --dev --data ./data\n"
                "For production:      strongroom help init\n"
                "About one command:   strongroom help COMMAND\n"
                "Configuration keys:  strongroom help config\n"
                "Blob operations:     strongroom help operations\n");
}

static int unknown_command(const char *word) {
    const char *names[ARRAY_LEN(commands) + 3];
    size_t n = 0;
    for (; n < ARRAY_LEN(commands); n++) names[n] = commands[n].name;
    names[n++] = "config";
    names[n++] = "operations";
    names[n] = NULL;
    const char *near = cli_nearest(word, names);
    err e = near
                ? err_fail(ERR_USAGE, "there is no command '%.64s'; did you mean '%s'?", word, near)
                : err_fail(ERR_USAGE, "there is no command '%.64s'", word);
    return cli_fail("", e);
}

/* help COMMAND [SUBCOMMAND] is COMMAND [SUBCOMMAND] --help. */
static int run_help(int argc, char **argv) {
    static char flag[] = "--help";
    char *words[3];
    int n = 0;
    if (argc == 0 || strcmp(argv[0], "help") == 0 || argv[0][0] == '-') {
        print_commands(stdout);
        return CLI_EXIT_OK;
    }
    if (strcmp(argv[0], "config") == 0) {
        cli_settings_help(stdout);
        return CLI_EXIT_OK;
    }
    if (strcmp(argv[0], "operations") == 0) {
        cli_operations_help();
        return CLI_EXIT_OK;
    }
    const cli_command *c = find_command(argv[0]);
    if (!c) return unknown_command(argv[0]);
    if (c->run == run_version) return run_version(0, NULL);
    if (argc > 1) words[n++] = argv[1];
    words[n++] = flag;
    words[n] = NULL;
    return c->run(n, words);
}

static int run_version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    printf("strongroom %s\n", CLI_VERSION);
    return CLI_EXIT_OK;
}

static int run_azurite(int argc, char **argv) {
    return cli_azurite("azurite", argc, argv);
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Bytes of memory that threads give back before the system gets them: returning what a request held, to ask for
 * it again with the next one, costs a quarter of a small read (docs/decisions/0007). */
#define TRIM_THRESHOLD (64 << 20)

int main(int argc, char **argv) {
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
    int code;
    umask(077); /* whatever this program makes is its user's alone */
    const char *called = argc > 0 ? last_part(argv[0]) : "";
    if (strncmp(called, "azurite", sizeof "azurite" - 1) == 0) {
        code = cli_azurite(called, argc - 1, argv + 1);
        (void)fflush(stdout); /* nobody may be reading any more */
        return code;
    }
    if (argc < 2) {
        print_commands(stderr);
        return CLI_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
    if (strcmp(word, "--version") == 0) word = "version";
    const cli_command *c = find_command(word);
    if (c && !c->serves)
        cli_no_dumps(); /* most open keys; those that serve decide for themselves */
    code = c ? c->run(argc - 2, argv + 2) : unknown_command(word);
    if (fflush(stdout) != 0 && code == CLI_EXIT_OK) code = CLI_EXIT_FAILED;
    return code;
}
