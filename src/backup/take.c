/* Taking a backup: the files of a held point, then the runs that its rows name.
 *
 *   points/NAME.part, manifest growing --all durable, finish() says the point was held--> points/NAME
 *
 * Invariants
 *   1. What the manifest of a point names is durable before the point has its name.
 *   2. The point in the data folder was held until finish() returned OK: so no run was given back while it was
 *      copied. A backup that copied from a point that had ended is never named.
 *   3. Files of earlier points are read, never written. */
#include "backup/internal.h"

#define PACK_BYTES  ((uint64_t)256 << 20) /* a pack is full from here on */
#define FLUSH_BYTES ((uint64_t)16 << 20)  /* of content, between two writes of the manifest */
#define PARTS_MAX   8
#define SAME_BYTES  4096 /* at both ends of a table, compared */

typedef struct take {
    const place *p;
    const backup_watch *w;
    backup_progress done;
    char name[BACKUP_NAME_MAX], part_name[BACKUP_NAME_MAX];
    int data, point, extents, part;
    manifest_writer m;
    earlier *earlier;
    names tables; /* that the backup has */
    names packs;  /* that the manifest names, in the order of their numbers */
    uint32_t pack_last;
    int out; /* the pack that is being written; -1: none */
    char out_name[NAME_MAX_];
    uint64_t out_at, flushed_at;
    unsigned out_count;
    int extent_fd; /* -1: none, or it is missing */
    uint32_t extent;
} take;

static err tick_copied(void *ctx, uint64_t bytes) {
    take *t = ctx;
    t->done.seen += bytes;
    t->done.copied += bytes;
    return t->w->progress(t->w->ctx, &t->done);
}

static err tick_kept(void *ctx, uint64_t bytes) {
    take *t = ctx;
    t->done.seen += bytes;
    return t->w->progress(t->w->ctx, &t->done);
}

/* ---- files ---- */

static err put_file(take *t, const char *name, uint64_t size, uint64_t crc) {
    line l = {.kind = LINE_FILE, .size = size, .crc = crc};
    snprintf(l.name, sizeof l.name, "%s", name);
    return manifest_put(&t->m, &l);
}

/* One of the point's own; name: as in a data folder. */
static err own_file(take *t, int from, const char *name) {
    const ticker tick = {t, tick_copied};
    uint64_t size, crc;
    TRY(copy_file(t->p->io, from, name, t->part, name, &tick, &size, &crc));
    return put_file(t, name, size, crc);
}

static bool same_end(const io *sys, int a, int b, uint64_t size, uint64_t at) {
    uint8_t x[SAME_BYTES], y[SAME_BYTES];
    const size_t n = size - at < SAME_BYTES ? (size_t)(size - at) : SAME_BYTES;
    return sys->pread(sys, a, x, n, at) == (int64_t)n &&
           sys->pread(sys, b, y, n, at) == (int64_t)n && memcmp(x, y, n) == 0;
}

/* Tables are written once, and those of two histories with the same number differ at their ends: RocksDB puts the
 * session that made one there, or what is in it is under other keys. */
static bool same_table(const io *sys, int a, int b, uint64_t *ret_size) {
    uint64_t size, other, allocated;
    if (a < 0 || b < 0 || sys->stat(sys, a, &size, &allocated) < 0 ||
        sys->stat(sys, b, &other, &allocated) < 0 || size != other)
        return false;
    *ret_size = size;
    return same_end(sys, a, b, size, 0) &&
           same_end(sys, a, b, size, size > SAME_BYTES ? size - SAME_BYTES : 0);
}

/* The first of the backup's tables that does not stand before `name`. */
static size_t tables_from(const take *t, const char *name) {
    size_t low = 0, high = t->tables.count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (strcmp(t->tables.name[mid], name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Does the backup have it? Its name there ends with its CRC. */
static bool have_table(const take *t, const char *file, uint64_t *ret_size, uint64_t *ret_crc) {
    const io *sys = t->p->io;
    const size_t len = strlen(file);
    bool have = false;
    for (size_t i = tables_from(t, file);
         i < t->tables.count && !have && strncmp(t->tables.name[i], file, len) == 0; i++) {
        const char *name = t->tables.name[i];
        if (name[len] != '.' || strlen(name) != len + 17) continue;
        char path[PATH_MAX_];
        snprintf(path, sizeof path, "rows/%s", file);
        const int a = sys->open(sys, t->point, path, O_RDONLY);
        const int b = sys->open(sys, t->p->tables, name, O_RDONLY);
        have = same_table(sys, a, b, ret_size);
        *ret_crc = strtoull(name + len + 1, NULL, 16);
        if (a >= 0) sys->close(sys, a);
        if (b >= 0) sys->close(sys, b);
    }
    return have;
}

static err table(take *t, const char *name) {
    const io *sys = t->p->io;
    line l = {.kind = LINE_FILE};
    char path[PATH_MAX_];
    int dir;
    snprintf(l.name, sizeof l.name, "%s", name);
    if (have_table(t, name + 5, &l.size, &l.crc)) {
        TRY(tick_kept(t, l.size));
        return manifest_put(&t->m, &l);
    }
    const ticker tick = {t, tick_copied};
    TRY(copy_file(sys, t->point, name, t->p->tables, "new", &tick, &l.size, &l.crc));
    file_place(t->p, t->part_name, &l, &dir, path);
    const int r = sys->rename(sys, dir, "new", path);
    if (r < 0) return file_failed(r, path);
    return manifest_put(&t->m, &l);
}

static err rows(take *t) {
    const io *sys = t->p->io;
    names all = {0};
    int dir, own;
    TRY(open_dir(sys, t->part, "rows", true, &own));
    sys->close(sys, own);
    err e = names_list(sys, t->p->tables, &t->tables);
    if (e == OK) e = open_dir(sys, t->point, "rows", false, &dir);
    TRY(e);
    e = names_list(sys, dir, &all);
    for (size_t i = 0; e == OK && i < all.count; i++) {
        char name[NAME_MAX_];
        snprintf(name, sizeof name, "rows/%.100s", all.name[i]);
        e = is_table(name) ? table(t, name) : own_file(t, t->point, name);
    }
    names_done(&all);
    sys->close(sys, dir);
    return e;
}

/* ---- runs ---- */

static err close_pack(take *t) {
    if (t->out < 0) return OK;
    const int r = t->p->io->fsync(t->p->io, t->out);
    t->p->io->close(t->p->io, t->out);
    t->out = -1;
    return r < 0 ? file_failed(r, t->out_name) : OK;
}

static err next_pack(take *t) {
    if (t->out >= 0 && t->out_at < PACK_BYTES) return OK;
    TRY(close_pack(t));
    do {
        snprintf(t->out_name, sizeof t->out_name, "%s-%u", t->name, ++t->out_count);
        t->out = t->p->io->open(t->p->io, t->p->packs, t->out_name, O_RDWR | O_CREAT | O_EXCL);
    } while (t->out == -EEXIST);
    t->out_at = t->flushed_at = 0;
    return t->out < 0 ? file_failed(t->out, t->out_name) : OK;
}

/* A pack's number in the manifest, which it gets with the first run in it. */
static err pack_number(take *t, const char *name, uint32_t *ret) {
    if (t->pack_last >= t->packs.count || strcmp(t->packs.name[t->pack_last], name) != 0) {
        t->pack_last = 0;
        while (t->pack_last < t->packs.count && strcmp(t->packs.name[t->pack_last], name) != 0)
            t->pack_last++;
    }
    *ret = t->pack_last;
    if (t->pack_last < t->packs.count) return OK;
    line l = {.kind = LINE_PACK};
    snprintf(l.name, sizeof l.name, "%s", name);
    names_add(&t->packs, name);
    return manifest_put(&t->m, &l);
}

static void say_damaged(take *t, const engine_local_run *r) {
    char where[64], name[16];
    engine_local_extent_name(r->extent, name);
    snprintf(where, sizeof where, "extents/%s, offset %llu", name, (unsigned long long)r->offset);
    t->done.damaged++;
    t->w->damaged(t->w->ctx, "content does not verify", where);
}

static err copy_run(take *t, const engine_local_run *r, line *l) {
    bool whole;
    TRY(next_pack(t));
    l->at = t->out_at;
    TRY(engine_local_run_copy(t->p->io, r, t->extent_fd, r->offset, t->out, t->out_at, &whole));
    if (!whole) say_damaged(t, r);
    t->out_at += r->disk_len;
    TRY(pack_number(t, t->out_name, &l->pack));
    TRY(manifest_put(&t->m, l));
    if (t->out_at - t->flushed_at >= FLUSH_BYTES) {
        t->flushed_at = t->out_at;
        TRY(manifest_flush(&t->m));
    }
    return tick_copied(t, r->disk_len);
}

static err each_run(void *ctx, const engine_local_run *r) {
    take *t = ctx;
    const io *sys = t->p->io;
    if (r->extent != t->extent) {
        char name[16];
        if (t->extent_fd >= 0) sys->close(sys, t->extent_fd);
        engine_local_extent_name(r->extent, name);
        t->extent = r->extent;
        t->extent_fd = sys->open(sys, t->extents, name, O_RDONLY);
    }
    line l = {.kind = LINE_RUN, .run = *r};
    char pack[NAME_MAX_];
    bool found = false;
    t->done.runs++;
    if (t->extent_fd >= 0) TRY(earlier_find(t->earlier, r, t->extent_fd, &found, pack, &l.at));
    if (!found) return copy_run(t, r, &l);
    TRY(pack_number(t, pack, &l.pack));
    TRY(manifest_put(&t->m, &l));
    return tick_kept(t, r->disk_len);
}

static err each_extent(void *ctx, uint32_t id) {
    take *t = ctx;
    const line l = {.kind = LINE_EXTENT, .run = {.extent = id}};
    return manifest_put(&t->m, &l);
}

static err contents(take *t, const char *data) {
    char path[4096];
    const engine_local_each each = {t, each_extent, each_run};
    snprintf(path, sizeof path, "%s/" ENGINE_LOCAL_POINT "/rows", data);
    TRY(engine_local_contents(path, &each));
    return close_pack(t);
}

/* ---- the whole ---- */

/* The name that sorts last, of points and of what was interrupted. */
static err last_name(const take *t, char out[BACKUP_NAME_MAX]) {
    names all = {0};
    err e = names_list(t->p->io, t->p->points, &all);
    out[0] = '\0';
    for (size_t i = 0; e == OK && i < all.count; i++) {
        char *part = strstr(all.name[i], PART);
        if (part) *part = '\0';
        if (strcmp(all.name[i], out) > 0) snprintf(out, BACKUP_NAME_MAX, "%s", all.name[i]);
    }
    names_done(&all);
    return e;
}

/* Points are named by their time, and each after all that there are, whatever the clock says: with a number
 * behind it if need be. */
static err name_point(take *t) {
    buf b;
    char text[BACKUP_NAME_MAX] = "", last[BACKUP_NAME_MAX];
    buf_init_fixed(&b, text, sizeof text - 1);
    time_put_iso_s(&b, clock_wall_us());
    for (size_t i = 0; i < b.len; i++)
        if (text[i] == ':') text[i] = '-';
    TRY(last_name(t, last));
    if (strncmp(text, last, b.len) < 0) snprintf(text, sizeof text, "%.*s", (int)b.len, last);
    snprintf(t->name, sizeof t->name, "%s", text);
    for (unsigned n = 2; strcmp(t->name, last) <= 0 && n < 1000; n++)
        snprintf(t->name, sizeof t->name, "%.*s-%03u", (int)b.len, text, n);
    ENSURE(strcmp(t->name, last) > 0, ERR_IN_USE,
           "%s: the clock stands behind its points, the last of which is %s", t->p->path, last);
    snprintf(t->part_name, sizeof t->part_name, "%.*s" PART, BACKUP_NAME_MAX - 8, t->name);
    return OK;
}

/* Another root key, another store: its points would be taken for this one's. */
static err check_store(const take *t) {
    const io *sys = t->p->io;
    names points = {0};
    err e = points_list(t->p, false, &points);
    if (e == OK && points.count > 0) {
        char path[PATH_MAX_], here[256] = "", there[256] = "";
        snprintf(path, sizeof path, "%s/ROOT", points.name[points.count - 1]);
        const int a = sys->open(sys, t->data, "ROOT", O_RDONLY);
        const int b = sys->open(sys, t->p->points, path, O_RDONLY);
        const bool both = a >= 0 && b >= 0 && sys->pread(sys, a, here, sizeof here, 0) >= 0 &&
                          sys->pread(sys, b, there, sizeof there, 0) >= 0;
        if (both && memcmp(here, there, sizeof here) != 0)
            e = err_fail(ERR_IN_USE, "%s holds backups of another data folder; name a new one",
                         t->p->path);
        if (a >= 0) sys->close(sys, a);
        if (b >= 0) sys->close(sys, b);
    }
    names_done(&points);
    return e;
}

/* So many interrupted backups are gone on with; what was only in older ones is copied again. */
static err forget_old_parts(const take *t) {
    names parts = {0};
    err e = points_list(t->p, true, &parts);
    for (size_t i = 0; e == OK && i + PARTS_MAX < parts.count; i++)
        remove_folder(t->p->io, t->p->points, parts.name[i]);
    names_done(&parts);
    return e;
}

static err begin(take *t, const char *data) {
    const io *sys = t->p->io;
    TRY(open_dir(sys, AT_FDCWD, data, false, &t->data));
    TRY(open_dir(sys, t->data, ENGINE_LOCAL_POINT, false, &t->point));
    TRY(open_dir(sys, t->data, "extents", false, &t->extents));
    TRY(check_store(t));
    TRY(forget_old_parts(t));
    TRY(earlier_open(t->p, &t->earlier));
    TRY(name_point(t));
    TRY(open_dir(sys, t->p->points, t->part_name, true, &t->part));
    return manifest_create(sys, t->part, &t->m);
}

static err copy_all(take *t, const char *data) {
    TRY(own_file(t, t->data, "FORMAT"));
    err e = own_file(t, t->data, "ROOT");
    if (e != ERR_NOT_FOUND) TRY(e); /* a folder may have none (cli/folder.c) */
    TRY(own_file(t, t->point, "vault"));
    TRY(rows(t));
    return contents(t, data);
}

/* Invariant 1. */
static err make_durable(take *t) {
    int own_rows;
    const io *sys = t->p->io;
    TRY(manifest_end(&t->m));
    TRY(open_dir(sys, t->part, "rows", false, &own_rows));
    err e = sync_dir(sys, own_rows, "rows");
    sys->close(sys, own_rows);
    TRY(e);
    TRY(sync_dir(sys, t->part, t->part_name));
    TRY(sync_dir(sys, t->p->tables, "tables"));
    TRY(sync_dir(sys, t->p->packs, "packs"));
    return sync_dir(sys, t->p->points, "points");
}

static err give_name(take *t) {
    const int r = t->p->io->rename(t->p->io, t->p->points, t->part_name, t->name);
    if (r < 0) return file_failed(r, t->name);
    return sync_dir(t->p->io, t->p->points, "points");
}

static void take_done(take *t) {
    const int all[] = {t->data, t->point, t->extents, t->part, t->out, t->extent_fd};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] >= 0) t->p->io->close(t->p->io, all[i]);
    if (t->m.io) (void)!manifest_flush(&t->m); /* for the next one to go on with */
    manifest_writer_done(&t->m);
    earlier_close(t->earlier);
    names_done(&t->tables);
    names_done(&t->packs);
}

err backup_take(const char *data, const char *to, const backup_watch *w, err (*finish)(void *ctx),
                backup_point *ret, backup_progress *ret_done) {
    place p;
    TRY(place_open(to, true, true, &p));
    take t = {.p = &p,
              .w = w,
              .data = -1,
              .point = -1,
              .extents = -1,
              .part = -1,
              .out = -1,
              .extent_fd = -1};
    err e = begin(&t, data);
    if (e == OK) e = copy_all(&t, data);
    if (e == OK) e = make_durable(&t);
    if (e == OK) e = finish(w->ctx);
    if (e == OK) e = give_name(&t);
    take_done(&t);
    uint64_t none;
    if (e == OK) {
        *ret = (backup_point){.bytes = t.done.seen, .intact = true};
        snprintf(ret->name, sizeof ret->name, "%s", t.name);
        *ret_done = t.done;
        /* What was interrupted was gone on with. A manifest that does not verify is told by whoever looks
         * at the points. */
        (void)!tidy(&p, 0, &none);
    }
    place_close(&p);
    return e;
}
