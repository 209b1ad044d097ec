/* Restoring: a data folder from a point. Verifying: the same, without the folder.
 *
 *   (none) --> rows, extents, vault, without FORMAT: no program opens it --all verified and durable--> FORMAT */
#include "backup/internal.h"

#define FORMAT_NEW "FORMAT.restored"

typedef struct restore {
    const place *p;
    const backup_watch *w;
    backup_progress done;
    const char *point;
    int data, extents; /* -1: none is made, all is only read */
    names packs;
    int pack_fd, extent_fd; /* -1: none */
    uint32_t pack, extent;
} restore;

static err tick(void *ctx, uint64_t bytes) {
    restore *r = ctx;
    r->done.seen += bytes;
    r->done.copied += bytes;
    return r->w->progress(r->w->ctx, &r->done);
}

static void say(restore *r, const char *what, const char *where) {
    r->done.damaged++;
    r->w->damaged(r->w->ctx, what, where);
}

/* ---- lines ---- */

static err put_file(restore *r, const line *l) {
    const io *sys = r->p->io;
    const ticker t = {r, tick};
    char path[PATH_MAX_];
    uint64_t size, crc;
    int dir;
    file_place(r->p, r->point, l, &dir, path);
    const char *to = strcmp(l->name, "FORMAT") == 0 ? FORMAT_NEW : l->name;
    err e = copy_file(sys, dir, path, r->data, to, &t, &size, &crc);
    if (e == ERR_NOT_FOUND) say(r, "a file of the backup is missing", path);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    if (size != l->size || crc != l->crc)
        say(r, "a file of the backup does not fit its CRC-64", path);
    return OK;
}

static err make_extent(restore *r, uint32_t id) {
    char name[16];
    if (r->extents < 0) return OK;
    engine_local_extent_name(id, name);
    const int fd = r->p->io->open(r->p->io, r->extents, name, O_WRONLY | O_CREAT);
    if (fd < 0) return file_failed(fd, name);
    r->p->io->close(r->p->io, fd);
    return OK;
}

static err leave_extent(restore *r) {
    if (r->extent_fd < 0) return OK;
    const int e = r->p->io->fsync(r->p->io, r->extent_fd);
    r->p->io->close(r->p->io, r->extent_fd);
    r->extent_fd = -1;
    return e < 0 ? file_failed(e, "extents") : OK;
}

static err enter_extent(restore *r, uint32_t id) {
    char name[16];
    if (r->extents < 0 || (r->extent_fd >= 0 && r->extent == id)) return OK;
    TRY(leave_extent(r));
    engine_local_extent_name(id, name);
    r->extent = id;
    r->extent_fd = r->p->io->open(r->p->io, r->extents, name, O_RDWR | O_CREAT);
    return r->extent_fd < 0 ? file_failed(r->extent_fd, name) : OK;
}

static err enter_pack(restore *r, uint32_t number) {
    const io *sys = r->p->io;
    ENSURE(number < r->packs.count, ERR_CORRUPT, "the manifest names no pack %lu",
           (unsigned long)number);
    if (r->pack_fd >= 0 && r->pack == number) return OK;
    if (r->pack_fd >= 0) sys->close(sys, r->pack_fd);
    r->pack = number;
    r->pack_fd = sys->open(sys, r->p->packs, r->packs.name[number], O_RDONLY);
    if (r->pack_fd < 0 && r->pack_fd != -ENOENT)
        return file_failed(r->pack_fd, r->packs.name[number]);
    return OK;
}

static err put_run(restore *r, const line *l) {
    char where[NAME_MAX_ + 64];
    bool whole;
    TRY(enter_pack(r, l->pack));
    TRY(enter_extent(r, l->run.extent));
    TRY(engine_local_run_copy(r->p->io, &l->run, r->pack_fd, l->at, r->extent_fd, l->run.offset,
                              &whole));
    r->done.runs++;
    if (!whole) {
        snprintf(where, sizeof where, "packs/%s, offset %llu", r->packs.name[l->pack],
                 (unsigned long long)l->at);
        say(r, r->pack_fd < 0 ? "a pack of the backup is missing" : "content does not verify",
            where);
    }
    return tick(r, l->run.disk_len);
}

static err put_line(void *ctx, const line *l) {
    restore *r = ctx;
    switch (l->kind) {
    case LINE_FILE:
        return put_file(r, l);
    case LINE_EXTENT:
        return make_extent(r, l->run.extent);
    case LINE_PACK:
        names_add(&r->packs, l->name);
        return OK;
    case LINE_RUN:
        return put_run(r, l);
    case LINE_END:
        break;
    }
    return OK;
}

/* ---- the folder ---- */

static err check_vacant(restore *r, const char *data) {
    names all = {0};
    err e = names_list(r->p->io, r->data, &all);
    for (size_t i = 0; e == OK && i < all.count; i++)
        if (strcmp(all.name[i], "root.key") != 0 && strcmp(all.name[i], "lost+found") != 0)
            e = err_fail(ERR_IN_USE, "%s is not empty ('%s' is in it); restore to a new folder",
                         data, all.name[i]);
    names_done(&all);
    return e;
}

static err begin(restore *r, const char *data) {
    const io *sys = r->p->io;
    int rows;
    TRY(open_dir(sys, AT_FDCWD, data, true, &r->data));
    TRY(check_vacant(r, data));
    TRY(open_dir(sys, r->data, "rows", true, &rows));
    sys->close(sys, rows);
    return open_dir(sys, r->data, "extents", true, &r->extents);
}

/* What the next program that opens the folder records (cli/folder.c). */
static err note_restored(const restore *r) {
    char text[BACKUP_NAME_MAX + 1];
    const int n = snprintf(text, sizeof text, "%s\n", r->point);
    return write_file(r->p->io, r->data, BACKUP_RESTORED, slice_of(text, (size_t)n));
}

static err finish(restore *r) {
    const io *sys = r->p->io;
    int rows, above;
    TRY(leave_extent(r));
    TRY(note_restored(r));
    TRY(open_dir(sys, r->data, "rows", false, &rows));
    err e = sync_dir(sys, rows, "rows");
    sys->close(sys, rows);
    TRY(e);
    TRY(sync_dir(sys, r->extents, "extents"));
    TRY(sync_dir(sys, r->data, "the data folder"));
    const int n = sys->rename(sys, r->data, FORMAT_NEW, "FORMAT");
    if (n < 0) return file_failed(n, FORMAT_NEW);
    TRY(sync_dir(sys, r->data, "the data folder"));
    TRY(open_dir(sys, r->data, "..", false, &above));
    e = sync_dir(sys, above, "the folder above");
    sys->close(sys, above);
    return e;
}

/* name NULL: the newest. */
static err choose(const place *p, const char *name, char out[BACKUP_NAME_MAX]) {
    names points = {0};
    err e = points_list(p, false, &points);
    if (e == OK && !name && points.count > 0) name = points.name[points.count - 1];
    if (e == OK && !name) e = err_fail(ERR_NOT_FOUND, "%s holds no finished backup", p->path);
    if (e == OK && !names_has(&points, name))
        e = err_fail(ERR_NOT_FOUND, "%s has no point '%.64s'", p->path, name);
    if (e == OK) snprintf(out, BACKUP_NAME_MAX, "%s", name);
    names_done(&points);
    return e;
}

static err verify(restore *r) {
    TRY(manifest_each(r->p->io, r->p->points, r->point, put_line, r));
    ENSURE(r->done.damaged == 0, ERR_CORRUPT,
           "the point %s is damaged: what does not verify in it is not copied again by itself. "
           "Back up to a new folder, and keep this one for what is whole in it",
           r->point);
    return OK;
}

static err run(restore *r, const char *data, bool accept_damage) {
    TRY(begin(r, data));
    TRY(manifest_each(r->p->io, r->p->points, r->point, put_line, r));
    ENSURE(r->done.damaged == 0 || accept_damage, ERR_CORRUPT,
           "the backup is damaged: %s is left unfinished; restore another point, or this one with "
           "what is "
           "damaged in it by --accept-damage, to another folder",
           data);
    return finish(r);
}

/* data NULL: none. */
static err read_point(const char *from, const char *name, const char *data, bool accept_damage,
                      const backup_watch *w, backup_point *ret, backup_progress *ret_done) {
    place p;
    char point[BACKUP_NAME_MAX];
    TRY(place_open(from, false, false, &p));
    restore r = {
        .p = &p, .w = w, .point = point, .data = -1, .extents = -1, .pack_fd = -1, .extent_fd = -1};
    err e = choose(&p, name, point);
    if (e == OK) e = data ? run(&r, data, accept_damage) : verify(&r);
    const int all[] = {r.data, r.extents, r.pack_fd, r.extent_fd};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] >= 0) p.io->close(p.io, all[i]);
    names_done(&r.packs);
    place_close(&p);
    *ret = (backup_point){.bytes = r.done.seen, .intact = r.done.damaged == 0};
    if (e == OK) snprintf(ret->name, sizeof ret->name, "%s", point);
    *ret_done = r.done;
    return e;
}

err backup_restore(const char *from, const char *name, const char *data, bool accept_damage,
                   const backup_watch *w, backup_point *ret, backup_progress *ret_done) {
    return read_point(from, name, data, accept_damage, w, ret, ret_done);
}

err backup_verify(const char *from, const char *name, const backup_watch *w, backup_point *ret,
                  backup_progress *ret_done) {
    return read_point(from, name, NULL, false, w, ret, ret_done);
}
