/* The root key in a file: one line, "strongroom-root-key-1 " and 64 hex digits. */
#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYFILE_LABEL     "strongroom-root-key-1 "
#define KEYFILE_LABEL_LEN (sizeof KEYFILE_LABEL - 1)
#define KEYFILE_LINE_LEN  (KEYFILE_LABEL_LEN + 2 * (size_t)CRYPTO_KEY_LEN)

typedef struct keyfile {
    crypto_keyservice service; /* first: the service is the keyfile */
    crypto_key root;
} keyfile;

static err keyfile_wrap(crypto_keyservice *ks, const crypto_key *key, crypto_wrapped *ret) {
    return crypto_wrap(&((keyfile *)ks)->root, key, ret);
}

static err keyfile_unwrap(crypto_keyservice *ks, const crypto_wrapped *wrapped, crypto_key *ret) {
    err e = crypto_unwrap(&((keyfile *)ks)->root, wrapped, ret);
    if (e == ERR_CORRUPT)
        return err_fail(ERR_CORRUPT,
                        "an account's key does not open under this root key; is it the "
                        "root key that this data folder was made with?");
    return e;
}

static void keyfile_free(crypto_keyservice *ks) {
    (void)crypto_secret_free(ks);
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes by hand: no copy of the key may stay behind in an arena. */
static bool keyfile_parse(slice text, crypto_key *ret) {
    if (text.len == KEYFILE_LINE_LEN + 1 && text.p[KEYFILE_LINE_LEN] == '\n') text.len--;
    if (text.len != KEYFILE_LINE_LEN || !slice_starts(text, S(KEYFILE_LABEL))) return false;
    for (size_t i = 0; i < CRYPTO_KEY_LEN; i++) {
        int high = hex_digit(text.p[KEYFILE_LABEL_LEN + 2 * i]);
        int low = hex_digit(text.p[KEYFILE_LABEL_LEN + 2 * i + 1]);
        if (high < 0 || low < 0) return false;
        ret->b[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* What is wrong with the file as a keeper of secrets, said before a byte of it is read. */
static err keyfile_guarded(int fd, const char *path) {
    struct stat st;
    if (fstat(fd, &st) != 0) return err_fail_errno(ERR_KEY_UNREADABLE, errno, "%s", path);
    ENSURE(S_ISREG(st.st_mode), ERR_KEY_UNREADABLE, "root key %s is not a regular file", path);
    ENSURE(st.st_uid == geteuid(), ERR_KEY_UNREADABLE,
           "root key %s belongs to user %u, not to user %u who runs this program; mend it with: "
           "chown %u %s",
           path, (unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), path);
    ENSURE((st.st_mode & 077) == 0, ERR_KEY_UNREADABLE,
           "root key %s can be reached by others (mode %04o); mend it with: chmod 0400 %s", path,
           (unsigned)st.st_mode & 07777, path);
    return OK;
}

static err keyfile_read(int fd, const char *path, crypto_key *ret) {
    TRY(keyfile_guarded(fd, path));
    uint8_t line[KEYFILE_LINE_LEN + 2]; /* a newline, and one byte to notice a longer file */
    size_t have = 0;
    for (;;) {
        ssize_t n = read(fd, line + have, sizeof line - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_fail_errno(ERR_KEY_UNREADABLE, errno, "root key %s", path);
        have += (size_t)n;
        if (n == 0 || have == sizeof line) break;
    }
    bool good = keyfile_parse(slice_of(line, have), ret);
    crypto_wipe(line, sizeof line);
    ENSURE(good, ERR_KEY_UNREADABLE,
           "%s does not hold a root key (one line, 'strongroom-root-key-1 ' and 64 hex digits)",
           path);
    return OK;
}

err crypto_keyfile_open(const char *path, crypto_keyservice **ret) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ELOOP)
        return err_fail(ERR_KEY_UNREADABLE, "root key %s is a symbolic link; name the file itself",
                        path);
    if (fd < 0) return err_fail_errno(ERR_KEY_UNREADABLE, errno, "root key %s", path);
    keyfile *k = crypto_secret_new(sizeof *k);
    err e = keyfile_read(fd, path, &k->root);
    (void)close(fd);
    if (e != OK) {
        keyfile_free(&k->service);
        return e;
    }
    k->service = (crypto_keyservice){keyfile_wrap, keyfile_unwrap, keyfile_free};
    *ret = &k->service;
    return OK;
}

static err sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    MUST(dir != NULL);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) (void)close(fd);
    err e = failed ? err_fail_errno(ERR_IO, failed, "syncing folder %s", dir) : OK;
    free(dir);
    return e;
}

static err write_all(int fd, const char *path, slice data) {
    while (data.len > 0) {
        ssize_t n = write(fd, data.p, data.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return err_fail_errno(errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, errno, "writing %s",
                                  path);
        data = slice_skip(data, (size_t)n);
    }
    if (fsync(fd) != 0) return err_fail_errno(ERR_IO, errno, "syncing %s", path);
    return OK;
}

err crypto_keyfile_create(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
    if (fd < 0 && errno == EEXIST)
        return err_fail(ERR_IN_USE, "%s exists already; a root key is never overwritten", path);
    if (fd < 0) return err_fail_errno(ERR_IO, errno, "creating root key %s", path);
    static const char digits[] = "0123456789abcdef";
    uint8_t line[KEYFILE_LINE_LEN + 1];
    crypto_key k;
    crypto_key_random(&k);
    memcpy(line, KEYFILE_LABEL, KEYFILE_LABEL_LEN);
    for (size_t i = 0; i < CRYPTO_KEY_LEN; i++) {
        line[KEYFILE_LABEL_LEN + 2 * i] = (uint8_t)digits[k.b[i] >> 4];
        line[KEYFILE_LABEL_LEN + 2 * i + 1] = (uint8_t)digits[k.b[i] & 15];
    }
    line[KEYFILE_LINE_LEN] = '\n';
    crypto_key_wipe(&k);
    err e = write_all(fd, path, slice_of(line, sizeof line));
    crypto_wipe(line, sizeof line);
    if (close(fd) != 0 && e == OK) e = err_fail_errno(ERR_IO, errno, "closing %s", path);
    if (e == OK) e = sync_parent(path);
    if (e != OK) (void)unlink(path); /* half a key must not look like one */
    return e;
}
