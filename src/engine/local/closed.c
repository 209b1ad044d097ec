/* CLOSED: what RocksDB's MANIFEST was when the engine was closed in order.
 *
 * RocksDB takes a MANIFEST whose last record is damaged for one that was being written when the power went: it
 * forgets that record, and with it tables whose log is gone, without a word. So a folder at rest says how long
 * its MANIFEST is and what checksum it has, and one that is otherwise is refused. It says so only while it is
 * closed: opening for changes removes the file, durably, before RocksDB writes anything. After a crash there is none,
 * and then RocksDB's own judgement is all there is.
 *
 *   strongroom closed 1
 *   MANIFEST-000005 1234 0123456789abcdef          its name, bytes and CRC-64 */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

#define HEAD          "strongroom closed 1\n"
#define NAME          "CLOSED"
#define FORMAT_SINCE  4
#define TEXT_MAX      128
#define MANIFEST_NAME 64
#define PIECE         ((size_t)64 << 10)

static err failed(const local *l, int r, const char *what) {
    return err_fail_errno(ERR_IO, -r, "%s/%s", l->path, what);
}

/* The name of the MANIFEST in use, as rows/CURRENT has it. ERR_CORRUPT: it has none. */
static err current_manifest(local *l, int rows_fd, char out[MANIFEST_NAME]) {
    int fd = l->io->open(l->io, rows_fd, "CURRENT", O_RDONLY);
    if (fd < 0) return failed(l, fd, "rows/CURRENT");
    const int64_t n = l->io->pread(l->io, fd, out, MANIFEST_NAME - 1, 0);
    l->io->close(l->io, fd);
    if (n < 0) return failed(l, (int)n, "rows/CURRENT");
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    ENSURE(strncmp(out, "MANIFEST-", 9) == 0 && !strchr(out, '/'), ERR_CORRUPT,
           "%s/rows/CURRENT names no MANIFEST", l->path);
    return OK;
}

static err checksum(local *l, int fd, uint64_t *ret_len, uint64_t *ret_crc) {
    uint8_t *p = malloc(PIECE);
    int64_t n;
    MUST(p != NULL);
    *ret_len = *ret_crc = 0;
    while ((n = l->io->pread(l->io, fd, p, PIECE, *ret_len)) > 0) {
        *ret_crc = crc64(*ret_crc, slice_of(p, (size_t)n));
        *ret_len += (uint64_t)n;
    }
    free(p);
    return n < 0 ? failed(l, (int)n, "rows/MANIFEST") : OK;
}

/* The file's text for the folder as it is. */
static err describe(local *l, char out[TEXT_MAX]) {
    char name[MANIFEST_NAME];
    uint64_t len = 0, crc = 0;
    int rows_fd = l->io->open(l->io, l->dir_fd, "rows", O_RDONLY | O_DIRECTORY);
    if (rows_fd < 0) return failed(l, rows_fd, "rows");
    err e = current_manifest(l, rows_fd, name);
    int fd = e == OK ? l->io->open(l->io, rows_fd, name, O_RDONLY) : -1;
    if (e == OK && fd < 0) e = failed(l, fd, "rows/MANIFEST");
    if (e == OK) {
        const int r = l->read_only ? 0 : l->io->fsync(l->io, fd); /* what is described is durable */
        e = r < 0 ? failed(l, r, "rows/MANIFEST") : checksum(l, fd, &len, &crc);
    }
    if (fd >= 0) l->io->close(l->io, fd);
    l->io->close(l->io, rows_fd);
    TRY(e);
    snprintf(out, TEXT_MAX, HEAD "%s %llu %016llx\n", name, (unsigned long long)len,
             (unsigned long long)crc);
    return OK;
}

void closed_write(local *l) {
    char text[TEXT_MAX];
    const io *sys = l->io;
    if (describe(l, text) != OK) return;
    int fd = sys->open(sys, l->dir_fd, NAME ".new", O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return;
    int r = sys->pwrite(sys, fd, text, strlen(text), 0);
    if (r == 0) r = sys->fsync(sys, fd);
    sys->close(sys, fd);
    if (r == 0) r = sys->rename(sys, l->dir_fd, NAME ".new", NAME);
    if (r == 0) r = sys->fsync(sys, l->dir_fd);
    if (r < 0) (void)sys->unlink(sys, l->dir_fd, NAME ".new"); /* then nothing is compared */
}

static err forget(local *l) {
    int r = l->io->unlink(l->io, l->dir_fd, NAME);
    if (r == 0) r = l->io->fsync(l->io, l->dir_fd);
    return r < 0 ? failed(l, r, NAME) : OK;
}

err closed_check(local *l) {
    char said[TEXT_MAX], now[TEXT_MAX];
    int fd = l->io->open(l->io, l->dir_fd, NAME, O_RDONLY);
    if (fd == -ENOENT) return OK;
    if (fd < 0) return failed(l, fd, NAME);
    if (l->format < FORMAT_SINCE) { /* which has no such file: it says nothing */
        l->io->close(l->io, fd);
        return l->read_only ? OK : forget(l);
    }
    const int64_t n = l->io->pread(l->io, fd, said, sizeof said - 1, 0);
    l->io->close(l->io, fd);
    if (n < 0) return failed(l, (int)n, NAME);
    said[n] = '\0';
    TRY(describe(l, now));
    ENSURE(strcmp(said, now) == 0, ERR_CORRUPT,
           "%s/rows: its MANIFEST is not the one that was there when the folder was closed: it or "
           "%s/" NAME " is damaged, or they are of different times. Opened like this, the folder "
           "could lose what was acknowledged: restore it from a backup. If there is none, copy the "
           "folder, remove " NAME " and see what `strongroom check` finds",
           l->path, l->path);
    return l->read_only ? OK : forget(l);
}
