/* The manifest of a backup: a file that may be anything is refused or read, no name in it leads out of the backup, and
 * what is read whole is what would be written. fuzz-folders: base crypto engine backup */
#include <sys/mman.h>
#include <unistd.h>

#include "backup/internal.h"
#include "fuzz.h"

static int fds[2]; /* what is read, what is written */
static io faked;

static int open_faked(const io *s, int dir, const char *name, int flags) {
    (void)s, (void)dir, (void)name;
    return dup(fds[(flags & O_ACCMODE) != O_RDONLY]);
}

static void check_name(const char *name) {
    const slice s = slice_str(name);
    const slice last = slice_starts(s, S("rows/")) ? slice_skip(s, 5) : s;
    MUST(last.len > 0 && last.p[0] != '.' && slice_is_code(last));
}

/* ret: it was read to its end. */
static bool read_all(slice text, manifest_writer *again) {
    manifest_reader r;
    line l;
    if (manifest_open(&faked, 0, "point", &r) != OK) return false;
    err e;
    while ((e = manifest_next(&r, &l)) == OK && l.kind != LINE_END) {
        if (l.kind == LINE_FILE || l.kind == LINE_PACK) check_name(l.name);
        if (l.kind == LINE_RUN) MUST(l.run.data_len > 0 && l.run.disk_len > l.run.data_len);
        MUST(manifest_put(again, &l) == OK);
    }
    MUST(e == OK || e == ERR_CORRUPT);
    MUST(r.lines < text.len);
    manifest_close(&r);
    return e == OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    manifest_writer w;
    faked = io_real;
    faked.open = open_faked;
    for (int i = 0; i < 2; i++) MUST((fds[i] = memfd_create("manifest", MFD_CLOEXEC)) >= 0);
    MUST(io_real.pwrite(&io_real, fds[0], p, n, 0) >= 0);
    MUST(manifest_create(&faked, 0, &w) == OK);
    const bool whole = read_all(slice_of(p, n), &w);
    MUST(manifest_end(&w) == OK);
    if (whole && w.at <= n) { /* numbers may have been written with more zeros */
        uint8_t *back = malloc(w.at);
        MUST(back != NULL && io_real.pread(&io_real, fds[1], back, w.at, 0) == (int64_t)w.at);
        MUST(w.at < n || memcmp(back, p, n) == 0);
        free(back);
    }
    manifest_writer_done(&w);
    for (int i = 0; i < 2; i++) close(fds[i]);
    return 0;
}
