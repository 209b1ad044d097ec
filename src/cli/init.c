/* `strongroom init`: a production data folder, its root key and a first account. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define ACCOUNT_DEFAULT "records"

typedef struct init {
    cli_folder folder;
    const char *account, *config, *endpoint;
} init;

static err write_config(arena *a, const init *in) {
    buf out;
    buf_init_arena(&out, a, 1 << 16);
    char *data = realpath(in->folder.data, NULL), *key = realpath(in->folder.root_key, NULL);
    cli_settings_example(&out, slice_str(data ? data : in->folder.data),
                         slice_str(key ? key : in->folder.root_key));
    free(data);
    free(key);
    TRY(buf_check(&out));
    int fd = open(in->config, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0 && errno == EEXIST)
        return err_fail(ERR_IN_USE, "%s exists already and was left as it is", in->config);
    if (fd < 0) return err_fail_errno(ERR_IO, errno, "writing %s", in->config);
    ssize_t n = write(fd, out.p, out.len);
    bool good = n == (ssize_t)out.len && fsync(fd) == 0;
    int why = errno;
    good = close(fd) == 0 && good;
    if (!good) return err_fail_errno(ERR_IO, why, "writing %s", in->config);
    return OK;
}

static err first_account(arena *a, const init *in, store *s) {
    admin_state state = {.store = s, .endpoint = in->endpoint};
    pair fields[] = {{S("name"), slice_str(in->account)}};
    slice response;
    TRY(admin_call(&state, a, admin_request(a, "account create", fields, 1), &response));
    slice line = admin_field(a, response, "connection_string");
    printf("Data folder  %s\nRoot key     %s\nAccount      %s\n\n"
           "Connection string (a secret; `strongroom key show %s` prints it again):\n%.*s\n\n",
           in->folder.data, in->folder.root_key, in->account, in->account, SLICE_ARG(line));
    return OK;
}

static void print_advice(const init *in) {
    printf("Keep a copy of the root key elsewhere: without it nothing in the data folder can be "
           "read,\n"
           "by anyone.");
    size_t n = strlen(in->folder.data);
    if (strncmp(in->folder.root_key, in->folder.data, n) == 0 && in->folder.root_key[n] == '/')
        printf(" It now stands inside the folder; a copy of the folder carries its key\n"
               "with it. For production keep it outside: --root-key FILE.");
    printf("\n");
    if (in->config) printf("\nStart it with: strongroom serve --config %s\n", in->config);
}

/* The root key comes first: a folder whose key was never written would be of no use. */
static err run_init(arena *a, init *in) {
    const char *endpoint = NULL;
    cli_folder without_config = in->folder;
    ENSURE(in->folder.data != NULL, ERR_USAGE, "say where: --data DIR");
    ENSURE(store_account_name_valid(slice_str(in->account)), ERR_USAGE,
           "account name '%s' must be 3 to 24 lower-case letters and digits", in->account);
    TRY(cli_folder_resolve(a, &without_config, &endpoint));
    in->folder.root_key = without_config.root_key;
    slice format = arena_fmt(a, "%s/FORMAT", in->folder.data);
    ENSURE(access(arena_cstr(a, format), F_OK) != 0, ERR_IN_USE,
           "%s is a data folder already and was left as it is", in->folder.data);
    TRY(cli_folder_vacant(in->folder.data));
    if (mkdir(in->folder.data, 0700) != 0 && errno != EEXIST)
        return err_fail_errno(ERR_IO, errno, "making data folder %s", in->folder.data);
    TRY(crypto_keyfile_create(in->folder.root_key));
    store *s;
    const cli_open how = {.create = true, .cache_bytes = 32 << 20};
    err e = cli_folder_open(&in->folder, &how, &s);
    if (e != OK) {
        cli_folder_unmake(&in->folder);
        return e;
    }
    e = first_account(a, in, s);
    store_close(s);
    TRY(e);
    if (in->config) TRY(write_config(a, in));
    print_advice(in);
    return OK;
}

int cli_init(int argc, char **argv) {
    init in = {0};
    const cli_flag flags[] = {
        {"data", "DIR", &in.folder.data, NULL, "the data folder to make (required)"},
        {"root-key", "FILE", &in.folder.root_key, NULL,
         "where the root key goes; default: DIR/root.key"},
        {"account", "NAME", &in.account, NULL, "the first account; default: " ACCOUNT_DEFAULT},
        {"config", "FILE", &in.config, NULL, "also write an example configuration"},
        {"endpoint", "URL", &in.endpoint, NULL, "the server's address in the connection string"},
        {0}};
    const cli_spec spec = {
        "init",
        "--data DIR [flags]",
        "Makes a data folder, its root key (mode 0400) and a first account with random\n"
        "keys, and prints the account's connection string. Nothing that exists is\n"
        "overwritten.",
        flags,
        0,
        0};
    cli_args args;
    arena *a = arena_new(4096, CLI_ARENA_MAX);
    err e = cli_parse(&spec, argc, argv, &args);
    if (!in.account) in.account = ACCOUNT_DEFAULT;
    if (e == OK && !args.help) e = run_init(a, &in);
    int code = e == OK ? CLI_EXIT_OK : cli_fail(spec.name, e);
    arena_free(a);
    return code;
}
