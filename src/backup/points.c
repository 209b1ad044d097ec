/* The points of a backup: which there are, and removing them with what only they name. */
#include "backup/internal.h"

err points_list(const place *p, bool parts, names *ret) {
    names all = {0};
    err e = names_list(p->io, p->points, &all);
    for (size_t i = 0; e == OK && i < all.count; i++)
        if (slice_ends(slice_str(all.name[i]), S(PART)) == parts) names_add(ret, all.name[i]);
    names_done(&all);
    return e;
}

static err count_bytes(void *ctx, const line *l) {
    backup_point *p = ctx;
    if (l->kind == LINE_FILE) p->bytes += l->size;
    if (l->kind == LINE_RUN) p->bytes += l->run.disk_len;
    return OK;
}

err backup_each(const char *folder, void (*each)(void *ctx, const backup_point *p), void *ctx) {
    place p;
    names points = {0};
    TRY(place_open(folder, false, false, &p));
    err e = points_list(&p, false, &points);
    for (size_t i = 0; e == OK && i < points.count; i++) {
        backup_point one = {0};
        one.intact = manifest_each(p.io, p.points, points.name[i], count_bytes, &one) == OK;
        if (!one.intact) one.bytes = 0;
        snprintf(one.name, sizeof one.name, "%s", points.name[i]);
        each(ctx, &one);
    }
    names_done(&points);
    place_close(&p);
    return e;
}

/* ---- removing ---- */

/* What manifests name, of files that points share. */
typedef struct named {
    const place *p;
    names tables, packs;
} named;

static err take_named(void *ctx, const line *l) {
    named *n = ctx;
    char path[PATH_MAX_];
    int dir;
    if (l->kind == LINE_PACK) names_add(&n->packs, l->name);
    if (l->kind != LINE_FILE || !is_table(l->name)) return OK;
    file_place(n->p, "", l, &dir, path);
    names_add(&n->tables, path);
    return OK;
}

static err sweep(const place *p, int dir, const names *keep, const char *what) {
    names all = {0};
    err e = names_list(p->io, dir, &all);
    for (size_t i = 0; e == OK && i < all.count; i++)
        if (!names_has(keep, all.name[i])) (void)p->io->unlink(p->io, dir, all.name[i]);
    names_done(&all);
    return e == OK ? sync_dir(p->io, dir, what) : e;
}

/* From here on it is no point: what is left of it after a crash goes with the next one. */
static err retire(const place *p, const char *point) {
    char part[PATH_MAX_];
    snprintf(part, sizeof part, "%s" PART, point);
    const int r = p->io->rename(p->io, p->points, point, part);
    return r < 0 ? file_failed(r, point) : OK;
}

static err remove_parts(const place *p) {
    names parts = {0};
    err e = sync_dir(p->io, p->points, "points");
    if (e == OK) e = points_list(p, true, &parts);
    for (size_t i = 0; e == OK && i < parts.count; i++)
        remove_folder(p->io, p->points, parts.name[i]);
    names_done(&parts);
    return e == OK ? sync_dir(p->io, p->points, "points") : e;
}

static err lock_points(const place *p) {
    const int r = p->io->lock(p->io, p->points);
    ENSURE(r != -EWOULDBLOCK, ERR_IN_USE,
           "older points stay in %s while a restore or a verification reads there; they go with "
           "the next --keep",
           p->path);
    return OK; /* or this file system has no locks */
}

err tidy(const place *p, uint64_t keep, uint64_t *ret_removed) {
    names points = {0};
    named n = {.p = p};
    err e = points_list(p, false, &points);
    const size_t gone = keep > 0 && points.count > keep ? points.count - (size_t)keep : 0;
    for (size_t i = gone; e == OK && i < points.count; i++)
        e = manifest_each(p->io, p->points, points.name[i], take_named, &n);
    if (e == OK && gone > 0) e = lock_points(p);
    for (size_t i = 0; e == OK && i < gone; i++) e = retire(p, points.name[i]);
    if (e == OK) e = remove_parts(p);
    names_sort(&n.tables);
    names_sort(&n.packs);
    if (e == OK) e = sweep(p, p->tables, &n.tables, "tables");
    if (e == OK) e = sweep(p, p->packs, &n.packs, "packs");
    *ret_removed = gone;
    names_done(&points);
    names_done(&n.tables);
    names_done(&n.packs);
    return e;
}

err backup_tidy(const char *folder, uint64_t keep, uint64_t *ret_removed) {
    place p;
    TRY(place_open(folder, false, true, &p));
    err e = tidy(&p, keep, ret_removed);
    place_close(&p);
    return e;
}
