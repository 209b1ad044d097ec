/* What a point consists of: a text file, read and written line by line. */
#include "backup/internal.h"

#define HEAD      "strongroom backup 1\n"
#define TEXT_MAX  ((size_t)64 << 10)
#define LINE_MAX_ 512

bool is_table(const char *name) {
    const slice s = slice_str(name);
    return slice_starts(s, S("rows/")) && (slice_ends(s, S(".sst")) || slice_ends(s, S(".blob")));
}

void file_place(const place *p, const char *point, const line *l, int *ret_dir, char *out) {
    const bool table = is_table(l->name);
    *ret_dir = table ? p->tables : p->points;
    if (table)
        snprintf(out, PATH_MAX_, "%s.%016llx", l->name + 5, (unsigned long long)l->crc);
    else
        snprintf(out, PATH_MAX_, "%s/%s", point, l->name);
}

/* ---- writing ---- */

err manifest_create(const io *sys, int dir, manifest_writer *ret) {
    const int fd = sys->open(sys, dir, MANIFEST, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return file_failed(fd, MANIFEST);
    *ret = (manifest_writer){.io = sys, .fd = fd};
    buf_init(&ret->text, 2 * TEXT_MAX);
    buf_str(&ret->text, HEAD);
    return OK;
}

err manifest_flush(manifest_writer *w) {
    if (w->text.len == 0) return OK;
    TRY(buf_check(&w->text));
    const int r = w->io->pwrite(w->io, w->fd, w->text.p, w->text.len, w->at);
    if (r < 0) return file_failed(r, MANIFEST);
    w->crc = crc64(w->crc, buf_slice(&w->text));
    w->at += w->text.len;
    buf_reset(&w->text);
    return OK;
}

err manifest_put(manifest_writer *w, const line *l) {
    const engine_local_run *r = &l->run;
    if (l->kind == LINE_FILE)
        buf_fmt(&w->text, "file %s %llu %016llx\n", l->name, (unsigned long long)l->size,
                (unsigned long long)l->crc);
    else if (l->kind == LINE_EXTENT)
        buf_fmt(&w->text, "extent %lu\n", (unsigned long)r->extent);
    else if (l->kind == LINE_PACK)
        buf_fmt(&w->text, "pack %s\n", l->name);
    else
        buf_fmt(&w->text, "run %lu %llu %llu %llu %lu %llu\n", (unsigned long)r->extent,
                (unsigned long long)r->offset, (unsigned long long)r->data_len,
                (unsigned long long)r->stream, (unsigned long)l->pack, (unsigned long long)l->at);
    w->lines++;
    return w->text.len < TEXT_MAX ? OK : manifest_flush(w);
}

err manifest_end(manifest_writer *w) {
    TRY(manifest_flush(w));
    buf_fmt(&w->text, "end %llu %016llx\n", (unsigned long long)w->lines,
            (unsigned long long)w->crc);
    TRY(manifest_flush(w));
    const int r = w->io->fsync(w->io, w->fd);
    return r < 0 ? file_failed(r, MANIFEST) : OK;
}

void manifest_writer_done(manifest_writer *w) {
    if (!w->io) return;
    w->io->close(w->io, w->fd);
    buf_done(&w->text);
    w->io = NULL;
}

/* ---- reading ---- */

static err damaged(const manifest_reader *r) {
    return err_fail(ERR_CORRUPT, "the manifest is damaged or ends early, at line %llu",
                    (unsigned long long)r->lines + 2);
}

/* The next line with its end, or as much as there is. */
static err take_line(manifest_reader *r, slice *ret) {
    MUST(r->text != NULL); /* since it was opened */
    for (;;) {
        const slice have = slice_of(r->text + r->used, r->len - r->used);
        const size_t end = slice_find(have, 0, '\n');
        if (end < have.len) {
            *ret = slice_take(have, end + 1);
            r->used += end + 1;
            return OK;
        }
        memmove(r->text, r->text + r->used, have.len);
        r->len = have.len;
        r->used = 0;
        if (have.len >= LINE_MAX_) return damaged(r);
        const int64_t n = r->io->pread(r->io, r->fd, r->text + r->len, TEXT_MAX - r->len, r->at);
        if (n < 0) return file_failed((int)n, MANIFEST);
        if (n == 0) return damaged(r);
        r->at += (uint64_t)n;
        r->len += (size_t)n;
    }
}

err manifest_open(const io *sys, int points, const char *point, manifest_reader *ret) {
    char path[PATH_MAX_];
    slice head = SLICE_NONE;
    snprintf(path, sizeof path, "%s/" MANIFEST, point);
    const int fd = sys->open(sys, points, path, O_RDONLY);
    if (fd < 0) return file_failed(fd, path);
    *ret = (manifest_reader){.io = sys, .fd = fd, .text = malloc(TEXT_MAX)};
    MUST(ret->text != NULL);
    err e = take_line(ret, &head);
    if (e == OK && !slice_eq(head, S(HEAD))) e = damaged(ret);
    if (e != OK) {
        manifest_close(ret);
        return e;
    }
    ret->crc = crc64(0, head);
    return OK;
}

static bool number(slice *rest, uint64_t max, uint64_t *ret) {
    slice word;
    return slice_split(rest, ' ', &word) && slice_u64(word, ret) == OK && *ret <= max;
}

/* A name is one that this program makes: it leads nowhere else. */
static bool name(slice *rest, char out[NAME_MAX_]) {
    slice word;
    if (!slice_split(rest, ' ', &word) || word.len == 0 || word.len >= NAME_MAX_) return false;
    const slice last = slice_starts(word, S("rows/")) ? slice_skip(word, 5) : word;
    if (!slice_is_code(last) || last.len == 0 || last.p[0] == '.') return false;
    snprintf(out, NAME_MAX_, "%.*s", SLICE_ARG(word));
    return true;
}

static bool hex64(slice *rest, uint64_t *ret) {
    slice word;
    return slice_split(rest, ' ', &word) && hex64_get(word, ret) == OK;
}

static bool parse_run(slice rest, line *l) {
    uint64_t extent, pack;
    engine_local_run *r = &l->run;
    if (!number(&rest, UINT32_MAX, &extent) || !number(&rest, INT64_MAX, &r->offset) ||
        !number(&rest, UINT32_MAX, &r->data_len) || !number(&rest, UINT64_MAX, &r->stream) ||
        !number(&rest, UINT32_MAX, &pack) || !number(&rest, INT64_MAX, &l->at))
        return false;
    r->extent = (uint32_t)extent;
    l->pack = (uint32_t)pack;
    r->disk_len = engine_local_run_len(r->data_len);
    return r->data_len > 0 && rest.p == NULL;
}

static bool parse(slice text, line *ret) {
    slice rest = text, word;
    uint64_t id;
    *ret = (line){0};
    if (!slice_split(&rest, ' ', &word)) return false;
    if (slice_eq(word, S("file"))) {
        ret->kind = LINE_FILE;
        return name(&rest, ret->name) && number(&rest, INT64_MAX, &ret->size) &&
               hex64(&rest, &ret->crc) && rest.p == NULL;
    }
    if (slice_eq(word, S("extent"))) {
        ret->kind = LINE_EXTENT;
        if (!number(&rest, UINT32_MAX, &id)) return false;
        ret->run.extent = (uint32_t)id;
        return rest.p == NULL;
    }
    if (slice_eq(word, S("pack"))) {
        ret->kind = LINE_PACK;
        return name(&rest, ret->name) && rest.p == NULL;
    }
    if (slice_eq(word, S("run"))) {
        ret->kind = LINE_RUN;
        return parse_run(rest, ret);
    }
    ret->kind = LINE_END;
    return slice_eq(word, S("end")) && number(&rest, UINT64_MAX, &ret->size) &&
           hex64(&rest, &ret->crc) && rest.p == NULL;
}

err manifest_next(manifest_reader *r, line *ret) {
    slice text = SLICE_NONE;
    TRY(take_line(r, &text));
    if (!parse(slice_take(text, text.len - 1), ret)) return damaged(r);
    if (ret->kind == LINE_END) return ret->size == r->lines && ret->crc == r->crc ? OK : damaged(r);
    r->crc = crc64(r->crc, text);
    r->lines++;
    return OK;
}

void manifest_close(manifest_reader *r) {
    if (!r->io) return;
    r->io->close(r->io, r->fd);
    free(r->text);
    r->io = NULL;
}

err manifest_each(const io *sys, int points, const char *point,
                  err (*each)(void *ctx, const line *l), void *ctx) {
    manifest_reader r = {0};
    line l;
    TRY(manifest_open(sys, points, point, &r));
    err e;
    do {
        e = manifest_next(&r, &l);
        if (e == OK && l.kind != LINE_END) e = each(ctx, &l);
    } while (e == OK && l.kind != LINE_END);
    manifest_close(&r);
    return e;
}
