/* Development mode: a folder that makes itself, the well-known account, and what is printed at the
 * start.
 *
 * What must hold: the well-known key is public, so it works on loopback only, and never in a folder
 * that holds anyone's real account. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/local/local.h"

#define SAS_VERSION "2022-11-02"
#define SAS_DAYS    7

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* The key is written before the engine makes its files: a start that was interrupted between the
 * two is finished by the next. */
err cli_dev_prepare(arena *a, cli_folder *f) {
    slice format = arena_fmt(a, "%s/FORMAT", f->data);
    if (!f->root_key) {
        slice key = arena_fmt(a, "%s/" CLI_ROOT_KEY, f->data);
        f->root_key = arena_cstr(a, key);
    }
    if (exists(arena_cstr(a, format))) return OK;
    TRY(cli_folder_vacant(f->data));
    if (mkdir(f->data, 0700) != 0 && errno != EEXIST)
        return err_fail_errno(ERR_IO, errno, "making data folder %s", f->data);
    if (!exists(f->root_key)) TRY(crypto_keyfile_create(f->root_key));
    store *s;
    const cli_open how = {.create = true, .cache_bytes = 32 << 20};
    TRY(cli_folder_open(f, &how, &s));
    store_close(s);
    return OK;
}

static void count_account(void *ctx, const store_account *account) {
    (void)account;
    ++*(size_t *)ctx;
}

err cli_dev_account(arena *a, store *s) {
    const store_call c = {.arena = a};
    const store_account *account;
    size_t others = 0;
    err e = store_account_get(s, c, S(CLI_DEV_ACCOUNT), &account);
    if (e == OK) store_account_unref(account);
    if (e != ERR_NOT_FOUND) return e;
    TRY(store_account_list(s, c, count_account, &others));
    ENSURE(
        others == 0, ERR_IN_USE,
        "this data folder holds accounts of its own: development mode would open it with a public "
        "key; name another folder, or serve this one with --config");
    slice keys[2] = {SLICE_NONE, SLICE_NONE};
    TRY(base64_get(a, S(CLI_DEV_KEY), &keys[0]));
    return store_account_create(s, c, S(CLI_DEV_ACCOUNT), keys);
}

err cli_dev_account_absent(arena *a, store *s) {
    const store_account *account;
    err e = store_account_get(s, (store_call){.arena = a}, S(CLI_DEV_ACCOUNT), &account);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    store_account_unref(account);
    return err_fail(
        ERR_CONFIG,
        "this data folder was made by development mode: the key of its account " CLI_DEV_ACCOUNT
        " is public; make another with `strongroom init`, or delete "
        "the account (strongroom account delete " CLI_DEV_ACCOUNT " --data DIR)");
}

/* An account SAS that may read and list (Azure: "Create an account SAS"), for the curl line. */
static slice read_sas(arena *a) {
    buf expiry, to_sign, out;
    slice key;
    uint8_t mac[32];
    buf_init_arena(&expiry, a, 64);
    time_put_iso_s(&expiry, clock_wall_us() + SAS_DAYS * 86400ll * 1000000);
    slice se = buf_slice(&expiry);
    buf_init_arena(&to_sign, a, 1024);
    buf_fmt(&to_sign, CLI_DEV_ACCOUNT "\nrl\nb\nsco\n\n%.*s\n\n\n" SAS_VERSION "\n\n",
            SLICE_ARG(se));
    MUST(base64_get(a, S(CLI_DEV_KEY), &key) == OK);
    crypto_hmac_sha256(key, buf_slice(&to_sign), mac);
    buf sig;
    buf_init_arena(&sig, a, 64);
    base64_put(&sig, slice_of(mac, sizeof mac));
    buf_init_arena(&out, a, 1024);
    buf_str(&out, "sv=" SAS_VERSION "&ss=b&srt=sco&sp=rl&se=");
    percent_put(&out, se, "");
    buf_str(&out, "&sig=");
    percent_put(&out, buf_slice(&sig), "");
    return buf_slice(&out);
}

void cli_dev_banner(arena *a, const char *host, uint16_t port, const char *data) {
    bool v6 = strchr(host, ':') != NULL;
    slice authority = arena_fmt(a, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)port);
    slice admin = arena_fmt(a, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)port + 1);
    slice url = arena_fmt(a, "http://%.*s/" CLI_DEV_ACCOUNT, SLICE_ARG(authority));
    slice sas = read_sas(a);
    printf("Strongroom " CLI_VERSION
           " in development mode: loopback only, and the account's key is "
           "public.\nKeep no real records here.\n\n"
           "  blobs   %.*s\n  admin   http://%.*s/metrics\n  data    %s\n\n"
           "Connection string:\n"
           "DefaultEndpointsProtocol=http;AccountName=" CLI_DEV_ACCOUNT ";AccountKey=" CLI_DEV_KEY
           ";BlobEndpoint=%.*s;\n\n",
           SLICE_ARG(url), SLICE_ARG(admin), data, SLICE_ARG(url));
    printf("Try (with CS set to the connection string):\n"
           "  az storage container create --name demo --connection-string \"$CS\"\n"
           "  python3 -c 'import sys; from azure.storage.blob import BlobServiceClient as B; "
           "print(B.from_connection_string(sys.argv[1]).get_container_client(\"demo\")"
           ".upload_blob(\"hello\", b\"hello\", overwrite=True).url)' \"$CS\"\n"
           "  curl '%.*s?comp=list&%.*s'\n\n"
           "Ctrl-C stops it.\n",
           SLICE_ARG(url), SLICE_ARG(sas));
    (void)fflush(stdout);
}
