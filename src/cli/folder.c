/* The data folder: which one is meant, opening it, and the operator's socket in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/local/local.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static err resolve_from_config(arena *a, cli_folder *f, const char *path,
                               const char **ret_endpoint) {
    cli_settings s;
    TRY(cli_settings_read(a, path, &s));
    if (!f->data) f->data = arena_cstr(a, s.data);
    if (!f->root_key && !slice_empty(s.root_key)) f->root_key = arena_cstr(a, s.root_key);
    *ret_endpoint = cli_settings_endpoint(a, &s);
    return OK;
}

err cli_folder_resolve(arena *a, cli_folder *f, const char **ret_endpoint) {
    const char *endpoint = NULL;
    const char *config = f->config;
    if (!config && !f->data && access(CLI_CONFIG_DEFAULT, F_OK) == 0) config = CLI_CONFIG_DEFAULT;
    if (config) TRY(resolve_from_config(a, f, config, &endpoint));
    ENSURE(f->data != NULL, ERR_USAGE,
           "which data folder? Say --data DIR or --config FILE (there is no " CLI_CONFIG_DEFAULT
           ")");
    if (!f->root_key) {
        slice path = arena_fmt(a, "%s/" CLI_ROOT_KEY, f->data);
        f->root_key = arena_cstr(a, path);
    }
    if (ret_endpoint) *ret_endpoint = endpoint;
    return OK;
}

/* ---- which root key a folder belongs to
 * --------------------------------------------------------------
 *
 * ROOT in the data folder holds a constant wrapped by the root key: it tells a wrong root key
 * before anything else is touched, and tells nothing about the right one. */

#define ROOT_CHECK     "ROOT"
#define ROOT_LABEL     "strongroom-root-check-1 "
#define ROOT_LABEL_LEN (sizeof ROOT_LABEL - 1)
#define ROOT_LINE_LEN  (ROOT_LABEL_LEN + 2 * (size_t)CRYPTO_WRAPPED_LEN + 1)

static const crypto_key root_constant = {"strongroom root key check value"};

static err root_line(arena *a, crypto_keyservice *keys, slice *ret) {
    crypto_wrapped w;
    buf b;
    TRY(keys->wrap(keys, &root_constant, &w));
    buf_init_arena(&b, a, ROOT_LINE_LEN);
    buf_str(&b, ROOT_LABEL);
    hex_put(&b, slice_of(w.b, sizeof w.b));
    buf_byte(&b, '\n');
    *ret = buf_slice(&b);
    return buf_check(&b);
}

static err write_root_check(const char *path, slice line) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (fd < 0) return err_fail_errno(ERR_IO, errno, "making %s", path);
    bool good = write(fd, line.p, line.len) == (ssize_t)line.len && fsync(fd) == 0;
    int why = errno;
    good = close(fd) == 0 && good;
    if (good) return OK;
    (void)unlink(path);
    return err_fail_errno(ERR_IO, why, "writing %s", path);
}

/* A folder without ROOT (made by other means) passes; its accounts are tried later. */
static err check_root_file(const cli_folder *f, bool create, crypto_keyservice *keys) {
    uint8_t found[ROOT_LINE_LEN + 1];
    slice expected, path;
    arena *a = arena_new(1024, 1 << 16);
    err e = root_line(a, keys, &expected);
    path = arena_fmt(a, "%s/" ROOT_CHECK, f->data);
    const char *name = arena_cstr(a, path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (e == OK && fd < 0 && create) {
        e = write_root_check(name, expected);
    } else if (e == OK && fd >= 0) {
        ssize_t n = read(fd, found, sizeof found);
        if (n < 0 || !slice_eq(slice_of(found, (size_t)n), expected))
            e = err_fail(ERR_KEY_UNREADABLE,
                         "root key %s is not the one that data folder %s was made with",
                         f->root_key, f->data);
    }
    if (fd >= 0) (void)close(fd);
    arena_free(a);
    return e;
}

err cli_folder_vacant(const char *data) {
    static const char *const ours[] = {".", "..", CLI_ROOT_KEY, ROOT_CHECK, "LOCK"};
    DIR *d = opendir(data);
    if (!d && errno == ENOENT) return OK;
    if (!d) return err_fail_errno(ERR_IO, errno, "data folder %s", data);
    const struct dirent *entry;
    bool foreign = false;
    char name[256] = "";
    while (!foreign && (entry = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): d is ours */
        foreign = true;
        for (size_t i = 0; i < ARRAY_LEN(ours); i++)
            if (strcmp(entry->d_name, ours[i]) == 0) foreign = false;
        snprintf(name, sizeof name, "%s", entry->d_name);
    }
    (void)closedir(d);
    ENSURE(!foreign, ERR_IN_USE,
           "%s is no data folder and is not empty ('%s' is in it); name a new or an empty folder",
           data, name);
    return OK;
}

void cli_folder_unmake(const cli_folder *f) {
    arena *a = arena_new(1024, 1 << 16);
    slice path = arena_fmt(a, "%s/" ROOT_CHECK, f->data);
    (void)unlink(arena_cstr(a, path));
    (void)unlink(f->root_key);
    arena_free(a);
}

#define PROBE_MAX 16 /* accounts that are tried */

typedef struct probe {
    arena *a;
    slice names[PROBE_MAX];
    size_t count;
} probe;

static void probe_name(void *ctx, const store_account *account) {
    probe *p = ctx;
    if (p->count < PROBE_MAX) p->names[p->count++] = arena_dup(p->a, account->name);
}

/* A folder none of whose accounts opens was given the wrong root key; new accounts under that key
 * would be lost with the next start. One damaged account among others does not stop a server. */
static err check_root_key(store *s) {
    arena *a = arena_new(4096, CLI_ARENA_MAX);
    const store_call c = {.arena = a};
    probe p = {.a = a};
    err e = store_account_list(s, c, probe_name, &p);
    for (size_t i = 0; e == OK && i < p.count; i++) {
        const store_account *account;
        e = store_account_get(s, c, p.names[i], &account);
        if (e == OK) {
            store_account_unref(account);
            break;
        }
        if (i + 1 < p.count) e = OK;
    }
    arena_free(a);
    return e;
}

err cli_folder_open(const cli_folder *f, const cli_open *o, store **ret) {
    struct stat st;
    if (!o->create && stat(f->data, &st) != 0)
        return err_fail_errno(ERR_NOT_FOUND, errno,
                              "data folder %s (make one with: strongroom init --data %s)", f->data,
                              f->data);
    crypto_keyservice *keys;
    TRY(crypto_keyfile_open(f->root_key, &keys));
    engine *opened = NULL;
    const engine_local_options local = {.path = f->data,
                                        .create = o->create,
                                        .read_only = o->read_only,
                                        .cache_bytes = o->cache_bytes};
    err e = check_root_file(f, o->create, keys);
    if (e == OK) e = engine_local_open(&local, &opened);
    if (e != OK) {
        keys->free(keys);
        return e;
    }
    const store_options so = {.engine = opened,
                              .keys = keys,
                              .background = o->background,
                              .records = !o->read_only,
                              .opened_max = o->opened_bytes,
                              .remote = o->remote,
                              .deeds = o->deeds};
    store *s;
    TRY(store_open(&so, &s));
    e = o->read_only ? OK : check_root_key(s); /* `check` reports each account that does not open */
    if (e == OK && !o->read_only) e = cli_record_restored(s, f->data);
    if (e != OK) {
        store_close(s);
        return e;
    }
    *ret = s;
    return OK;
}

err cli_socket_path(arena *a, const char *data, const char **ret) {
    slice path = arena_fmt(a, "%s/" ADMIN_SOCKET, data);
    if (path.len > SOCKET_PATH_MAX) {
        int fd = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return err_fail_errno(ERR_NOT_FOUND, errno, "data folder %s", data);
        path = arena_fmt(a, "/proc/self/fd/%d/" ADMIN_SOCKET, fd);
    }
    *ret = arena_cstr(a, path);
    return OK;
}
