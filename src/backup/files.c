/* The backup's folder, its names, and files copied. */
#include "backup/internal.h"

#define MARKER_TEXT "strongroom backup 1\n"
#define DEPTH_MAX   3

err file_failed(int r, const char *what) {
    const bool full = r == -ENOSPC || r == -EDQUOT;
    return err_fail_errno(full           ? ERR_NO_SPACE
                          : r == -ENOENT ? ERR_NOT_FOUND
                                         : ERR_IO,
                          -r, "%s", what);
}

/* ---- names ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_add(names *n, const char *name) {
    if (n->count == n->room) {
        n->room = n->room ? 2 * n->room : 64;
        n->name = reallocarray(n->name, n->room, sizeof *n->name);
        MUST(n->name != NULL);
    }
    n->name[n->count] = strdup(name);
    MUST(n->name[n->count++] != NULL);
}

void names_sort(names *n) {
    if (n->count > 0) qsort(n->name, n->count, sizeof *n->name, by_name);
}

static void add_name(void *ctx, const char *name) {
    names_add(ctx, name);
}

err names_list(const io *sys, int dir, names *ret) {
    const int r = sys->list(sys, dir, add_name, ret);
    names_sort(ret);
    return r < 0 ? file_failed(r, "listing a folder") : OK;
}

bool names_has(const names *n, const char *name) {
    return n->count > 0 && bsearch(&name, n->name, n->count, sizeof *n->name, by_name) != NULL;
}

void names_done(names *n) {
    for (size_t i = 0; i < n->count; i++) free(n->name[i]);
    free(n->name);
    *n = (names){0};
}

/* ---- folders ---- */

err sync_dir(const io *sys, int dir, const char *what) {
    const int r = sys->fsync(sys, dir);
    return r < 0 ? file_failed(r, what) : OK;
}

err open_dir(const io *sys, int parent, const char *name, bool make, int *ret) {
    int r = make ? sys->mkdir(sys, parent, name) : -EEXIST;
    if (r < 0 && r != -EEXIST) return file_failed(r, name);
    if (r == 0 && parent != AT_FDCWD) TRY(sync_dir(sys, parent, name));
    r = sys->open(sys, parent, name, O_RDONLY | O_DIRECTORY);
    if (r < 0) return file_failed(r, name);
    *ret = r;
    return OK;
}

static void remove_within(const io *sys, int parent, const char *name, unsigned depth) {
    names all = {0};
    const int dir = sys->open(sys, parent, name, O_RDONLY | O_DIRECTORY);
    if (dir < 0) return;
    (void)!names_list(sys, dir, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (strcmp(all.name[i], "vault") == 0) (void)io_wipe(sys, dir, all.name[i]);
        if (sys->unlink(sys, dir, all.name[i]) < 0 && depth < DEPTH_MAX)
            remove_within(sys, dir, all.name[i], depth + 1);
    }
    names_done(&all);
    sys->close(sys, dir);
    (void)sys->rmdir(sys, parent, name);
}

void remove_folder(const io *sys, int parent, const char *name) {
    remove_within(sys, parent, name, 0);
}

/* ---- the place ---- */

/* A folder with anything in it and no marker is somebody else's. */
static err check_marker(place *p, bool create) {
    names all = {0};
    err e = names_list(p->io, p->dir, &all);
    const bool marked = names_has(&all, MARKER);
    /* A file system of its own has that folder in it. */
    const bool empty = all.count == 0 || (all.count == 1 && names_has(&all, "lost+found"));
    names_done(&all);
    TRY(e);
    if (marked) return OK;
    ENSURE(create, ERR_NOT_FOUND, "%s is no backup: it has no file " MARKER, p->path);
    ENSURE(empty, ERR_IN_USE,
           "%s is not empty and no backup (it has no file " MARKER "); name a new folder", p->path);
    TRY(write_file(p->io, p->dir, MARKER, S(MARKER_TEXT)));
    return sync_dir(p->io, p->dir, p->path);
}

/* While somebody reads, no point is removed. Not all file systems have such locks, and those that have none are read, too. */
static err share_points(const place *p) {
    const int r = p->io->share(p->io, p->points);
    ENSURE(r != -EWOULDBLOCK, ERR_IN_USE,
           "older points of %s are being removed; run the command again when that is done",
           p->path);
    return OK;
}

static err open_parts(place *p, bool create, bool write) {
    TRY(check_marker(p, create));
    p->lock = p->io->open(p->io, p->dir, MARKER, write ? O_RDWR : O_RDONLY);
    if (p->lock < 0) return file_failed(p->lock, MARKER);
    const int r = write ? p->io->lock(p->io, p->lock) : 0;
    ENSURE(r != -EWOULDBLOCK, ERR_IN_USE, "another backup is being written to %s", p->path);
    if (r < 0) return file_failed(r, MARKER);
    char text[sizeof MARKER_TEXT] = "";
    const int64_t n = p->io->pread(p->io, p->lock, text, sizeof text, 0);
    ENSURE(n == sizeof MARKER_TEXT - 1 && memcmp(text, MARKER_TEXT, (size_t)n) == 0,
           ERR_FORMAT_VERSION,
           "%s/" MARKER " is not one that this program writes: take the newer strongroom", p->path);
    TRY(open_dir(p->io, p->dir, "points", create, &p->points));
    if (!write) TRY(share_points(p));
    TRY(open_dir(p->io, p->dir, "tables", create, &p->tables));
    return open_dir(p->io, p->dir, "packs", create, &p->packs);
}

err place_open(const char *path, bool create, bool write, place *ret) {
    place p = {.io = io_in_use(), .path = path, -1, -1, -1, -1, -1};
    err e = open_dir(p.io, AT_FDCWD, path, create, &p.dir);
    if (e == ERR_NOT_FOUND) return err_fail(e, "there is no folder %s", path);
    if (e == OK) e = open_parts(&p, create, write);
    if (e != OK)
        place_close(&p);
    else
        *ret = p;
    return e;
}

void place_close(place *p) {
    const int all[] = {p->packs, p->tables, p->points, p->lock, p->dir};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] >= 0) p->io->close(p->io, all[i]);
}

/* ---- files ---- */

err write_file(const io *sys, int dir, const char *name, slice text) {
    const int fd = sys->open(sys, dir, name, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return file_failed(fd, name);
    int r = sys->pwrite(sys, fd, text.p, text.len, 0);
    if (r >= 0) r = sys->fsync(sys, fd);
    sys->close(sys, fd);
    return r < 0 ? file_failed(r, name) : OK;
}

static err copy_pieces(const io *sys, int from, int to, const char *name, const ticker *t,
                       uint64_t *ret_size, uint64_t *ret_crc) {
    uint8_t *p = malloc(PIECE);
    uint64_t at = 0, crc = 0;
    err e = OK;
    MUST(p != NULL);
    for (;;) {
        const int64_t n = sys->pread(sys, from, p, PIECE, at);
        if (n < 0) e = file_failed((int)n, name);
        if (n <= 0) break;
        crc = crc64(crc, slice_of(p, (size_t)n));
        const int r = to < 0 ? 0 : sys->pwrite(sys, to, p, (size_t)n, at);
        if (r < 0) TRY_TO(out, file_failed(r, name));
        at += (uint64_t)n;
        TRY_TO(out, t->tick(t->ctx, (uint64_t)n));
    }
    if (e == OK && to >= 0) {
        const int r = sys->fsync(sys, to);
        if (r < 0) e = file_failed(r, name);
    }
    *ret_size = at;
    *ret_crc = crc;
out:
    explicit_bzero(p, PIECE); /* the vault is copied so, too */
    free(p);
    return e;
}

err copy_file(const io *sys, int from, const char *from_name, int to, const char *to_name,
              const ticker *t, uint64_t *ret_size, uint64_t *ret_crc) {
    const int in = sys->open(sys, from, from_name, O_RDONLY);
    if (in < 0) return file_failed(in, from_name);
    int out = to < 0 ? -1 : sys->open(sys, to, to_name, O_WRONLY | O_CREAT | O_TRUNC);
    err e = to >= 0 && out < 0 ? file_failed(out, to_name) : OK;
    if (e == OK) e = copy_pieces(sys, in, out, from_name, t, ret_size, ret_crc);
    if (out >= 0) sys->close(sys, out);
    sys->close(sys, in);
    return e;
}
