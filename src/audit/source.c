/* Where a published log is read from, and what is in it: a folder of files, its tiles, its checkpoint. */
#include <errno.h>
#include <fcntl.h>

#include "audit/internal.h"

/* ---- a folder ---- */

static err read_all(const io *f, int fd, arena *a, size_t max, slice *ret) {
    uint64_t size, allocated;
    int r = f->stat(f, fd, &size, &allocated);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "stat");
    ENSURE(size <= max, ERR_CORRUPT, "it has %llu bytes, more than any such file",
           (unsigned long long)size);
    uint8_t *p = arena_alloc(a, size > 0 ? size : 1);
    int64_t n = f->pread(f, fd, p, size, 0);
    if (n < 0) return err_fail_errno(ERR_IO, (int)-n, "read");
    *ret = slice_of(p, (size_t)n);
    return OK;
}

static err folder_get(void *ctx, arena *a, const char *path, size_t max, slice *ret) {
    const io *f = io_in_use();
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", (const char *)ctx, path);
    int fd = f->open(f, AT_FDCWD, full, O_RDONLY);
    if (fd == -ENOENT || fd == -ENOTDIR) return err_fail(ERR_NOT_FOUND, "%s is not there", full);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s", full);
    err e = read_all(f, fd, a, max, ret);
    f->close(f, fd);
    if (e == OK) return OK;
    char why[256];
    snprintf(why, sizeof why, "%s", err_detail());
    return err_fail(e, "%s: %s", full, why);
}

audit_source audit_folder(const char *path) {
    union {
        const char *in;
        void *out;
    } u = {.in = path}; /* folder_get only reads it */
    return (audit_source){.ctx = u.out, .get = folder_get};
}

/* ---- what is in it ---- */

err tile_read(const audit_source *s, arena *a, const audit_tile *t, slice *ret) {
    char path[AUDIT_PATH_MAX];
    tile_name(t, path);
    err e = s->get(s->ctx, a, path, audit_tile_max(t->level), ret);
    if (e == ERR_NOT_FOUND &&
        t->width < AUDIT_TILE_WIDTH) { /* the full one may have taken its place */
        const audit_tile full = {t->level, t->index, AUDIT_TILE_WIDTH};
        return tile_read(s, a, &full, ret);
    }
    return e == ERR_NOT_FOUND ? tile_misfit(t, "is missing") : e;
}

err audit_read_checkpoint(const audit_source *s, arena *a, const audit_verifier *v,
                          audit_checkpoint *ret, slice *ret_note) {
    slice raw;
    TRY(s->get(s->ctx, a, "checkpoint", AUDIT_CHECKPOINT_MAX, &raw));
    audit_note *n = arena_alloc(a, sizeof *n);
    char why[400];
    err e = audit_note_parse(a, raw, n);
    if (e == OK) e = audit_checkpoint_parse(n->text, ret);
    if (e == OK) e = audit_note_verify(n, v, NULL);
    if (e != OK) {
        snprintf(why, sizeof why, "%s", err_detail());
        return err_fail(ERR_CORRUPT, "the checkpoint is not to be trusted: %s", why);
    }
    ENSURE(slice_eq(ret->origin, v->name), ERR_CORRUPT,
           "the checkpoint is of the log '%.*s', not of '%.*s'", SLICE_ARG(ret->origin),
           SLICE_ARG(v->name));
    *ret_note = raw;
    return OK;
}
