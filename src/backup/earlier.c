/* What earlier backups have: the runs of the newest point, and those of backups that were interrupted.
 *
 * Manifests have runs in the order of their places, and runs are asked for in that order: so each manifest is read
 * once, beside the new one. A run is found when place, length and stream are the same and its frame, with the
 * checksum of its checksums, is the same in the pack and in the extent. A point's runs were verified or durable before
 * the point was made; an interrupted backup's are read and verified now. */
#include "backup/internal.h"

/* Runs in a pack of which less than that part is still used are copied again: so that the pack goes with
 * the older points, and its space comes back. */
#define USED_PART 2

typedef struct source {
    manifest_reader r;
    line at; /* the run that was read last; LINE_END: there are no more */
    names packs;
    uint64_t *used; /* bytes of each pack that the manifest names; NULL: not known */
    bool verify;
    int pack_fd;
    uint32_t pack; /* that pack_fd is of */
} source;

struct earlier {
    const place *p;
    source *sources;
    size_t count;
};

/* ---- reading on ---- */

static err read_on(source *s) {
    do {
        err e = manifest_next(&s->r, &s->at);
        if (e == ERR_CORRUPT) s->at.kind = LINE_END; /* as an interrupted one ends */
        if (e == ERR_CORRUPT) return OK;
        TRY(e);
        if (s->at.kind == LINE_PACK) names_add(&s->packs, s->at.name);
    } while (s->at.kind != LINE_RUN && s->at.kind != LINE_END);
    if (s->at.kind == LINE_RUN && s->at.pack >= s->packs.count) s->at.kind = LINE_END;
    return OK;
}

static bool before(const engine_local_run *a, const engine_local_run *b) {
    return a->extent != b->extent ? a->extent < b->extent : a->offset < b->offset;
}

static bool same(const engine_local_run *a, const engine_local_run *b) {
    return a->extent == b->extent && a->offset == b->offset && a->data_len == b->data_len &&
           a->stream == b->stream;
}

/* ---- packs ---- */

static bool open_pack(const earlier *e, source *s) {
    const io *sys = e->p->io;
    if (s->pack_fd >= 0 && s->pack == s->at.pack) return true;
    if (s->pack_fd >= 0) sys->close(sys, s->pack_fd);
    s->pack = s->at.pack;
    s->pack_fd = sys->open(sys, e->p->packs, s->packs.name[s->pack], O_RDONLY);
    return s->pack_fd >= 0;
}

static bool mostly_used(const earlier *e, const source *s) {
    uint64_t size = 0, allocated;
    if (!s->used || e->p->io->stat(e->p->io, s->pack_fd, &size, &allocated) < 0) return true;
    return s->used[s->pack] >= size / USED_PART;
}

static err found_in(const earlier *e, source *s, const engine_local_run *r, int fd, bool *ret) {
    uint8_t here[ENGINE_LOCAL_FRAME], there[ENGINE_LOCAL_FRAME];
    bool fits_here, fits_there;
    *ret = false;
    if (!open_pack(e, s) || !mostly_used(e, s)) return OK;
    TRY(engine_local_run_frame(e->p->io, r, fd, r->offset, here, &fits_here));
    TRY(engine_local_run_frame(e->p->io, r, s->pack_fd, s->at.at, there, &fits_there));
    if (!fits_here || !fits_there || memcmp(here, there, sizeof here) != 0) return OK;
    *ret = true;
    if (!s->verify) return OK;
    return engine_local_run_copy(e->p->io, r, s->pack_fd, s->at.at, -1, 0, ret);
}

err earlier_find(earlier *e, const engine_local_run *r, int fd, bool *ret_found,
                 char pack[NAME_MAX_], uint64_t *ret_at) {
    *ret_found = false;
    for (size_t i = 0; i < e->count && !*ret_found; i++) {
        source *s = &e->sources[i];
        while (s->at.kind == LINE_RUN && before(&s->at.run, r)) TRY(read_on(s));
        if (s->at.kind != LINE_RUN || !same(&s->at.run, r)) continue;
        TRY(found_in(e, s, r, fd, ret_found));
        if (!*ret_found) continue;
        snprintf(pack, NAME_MAX_, "%s", s->packs.name[s->at.pack]);
        *ret_at = s->at.at;
    }
    return OK;
}

/* ---- opening ---- */

typedef struct count {
    uint64_t *used;
    size_t packs;
} count;

static err count_line(void *ctx, const line *l) {
    count *c = ctx;
    if (l->kind == LINE_PACK) {
        c->used = reallocarray(c->used, ++c->packs, sizeof *c->used);
        MUST(c->used != NULL);
        c->used[c->packs - 1] = 0;
    }
    if (l->kind != LINE_RUN) return OK;
    ENSURE(l->pack < c->packs, ERR_CORRUPT, "a manifest names no pack %lu", (unsigned long)l->pack);
    c->used[l->pack] += l->run.disk_len;
    return OK;
}

/* A manifest that cannot be read is passed over: then more is copied. */
static err add_source(earlier *e, const char *point, bool whole) {
    source s = {.verify = !whole, .pack_fd = -1};
    count c = {0};
    if (whole && manifest_each(e->p->io, e->p->points, point, count_line, &c) != OK) {
        free(c.used);
        return OK;
    }
    s.used = c.used;
    if (manifest_open(e->p->io, e->p->points, point, &s.r) != OK) {
        free(s.used);
        return OK;
    }
    e->sources = reallocarray(e->sources, e->count + 1, sizeof *e->sources);
    MUST(e->sources != NULL);
    e->sources[e->count++] = s;
    return read_on(&e->sources[e->count - 1]);
}

err earlier_open(const place *p, earlier **ret) {
    earlier *e = calloc(1, sizeof *e);
    names points = {0}, parts = {0};
    MUST(e != NULL);
    e->p = p;
    err er = points_list(p, false, &points);
    if (er == OK) er = points_list(p, true, &parts);
    if (er == OK && points.count > 0) er = add_source(e, points.name[points.count - 1], true);
    for (size_t i = 0; er == OK && i < parts.count; i++) er = add_source(e, parts.name[i], false);
    names_done(&points);
    names_done(&parts);
    if (er != OK)
        earlier_close(e);
    else
        *ret = e;
    return er;
}

earlier *earlier_close(earlier *e) {
    if (!e) return NULL;
    for (size_t i = 0; i < e->count; i++) {
        source *s = &e->sources[i];
        if (s->pack_fd >= 0) e->p->io->close(e->p->io, s->pack_fd);
        manifest_close(&s->r);
        names_done(&s->packs);
        free(s->used);
    }
    free(e->sources);
    free(e);
    return NULL;
}
