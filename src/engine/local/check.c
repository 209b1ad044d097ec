/* Verification of everything the engine keeps, without keys: RocksDB's checksums, the extents
 * against the rows (frames, segment CRCs, overlaps, files missing or left over, bytes nobody owns),
 * vault slots.
 *
 * It runs on a stopped folder opened read-only, and beside a working engine. In the latter a run
 * may be released while it is being read: damage is reported only if its row still stands. */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

#define PIECE (1u << 20)

typedef struct checker {
    local *l;
    engine_report *report;
    void *ctx;
    uint8_t *piece;
    uint32_t extent; /* present one */
    int fd;          /* -1: none, or missing */
    uint64_t size;   /* of the file */
    uint64_t end;    /* of the last run seen */
    bool known, sealed;
} checker;

static void say(checker *c, uint32_t id, uint64_t offset, const char *what) {
    char where[64], name[16];
    extent_name(id, name);
    snprintf(where, sizeof where, "extents/%s, offset %llu", name, (unsigned long long)offset);
    c->report(c->ctx, what, where);
}

/* Does the run's row still stand? Reports only then. */
static void say_of_run(checker *c, const run *r, uint64_t at, const char *what) {
    const system_key key = system_key_of('R', r->extent, (uint32_t)(r->offset / EXTENT_BLOCK));
    arena *a = arena_new(256, 0);
    slice value;
    const err e = rows_get(c->l, ROWS_SYSTEM, system_key_slice(&key), a, false, &value);
    arena_free(a);
    if (e != ERR_NOT_FOUND) say(c, r->extent, r->offset + at, what);
}

/* ---- one run ---- */

static err check_segments(checker *c, const run *r, const uint8_t *table) {
    const io *sys = c->l->io;
    for (uint64_t at = 0; at < r->data_len; at += PIECE) {
        const uint64_t left = r->data_len - at;
        const size_t n = left < PIECE ? (size_t)left : PIECE;
        int64_t got = sys->pread(sys, c->fd, c->piece, n, r->offset + at);
        if (got != (int64_t)n) {
            say_of_run(c, r, at,
                       got < 0 ? "the disk cannot read this part" : "the file ends early");
            continue;
        }
        for (size_t i = 0; i < n; i += SEGMENT_BYTES) {
            const slice part = slice_take(slice_of(c->piece + i, n - i), SEGMENT_BYTES);
            slice entry = slice_of(table + 4 * ((at + i) / SEGMENT_BYTES), 4);
            uint32_t want;
            TRY(cur_be32(&entry, &want));
            if (crc32c(0, part) != want)
                say_of_run(c, r, at + i, "64 KiB of content do not fit their CRC-32C");
        }
    }
    return OK;
}

static err check_run(checker *c, const run *r, uint64_t stream) {
    const uint64_t end = r->offset + run_disk_len(r);
    if (r->offset < c->end) say_of_run(c, r, 0, "this run overlaps the one before it");
    if (end > c->end) c->end = end;
    if (c->fd < 0) return OK; /* reported with the file */
    if (end > c->size) {
        say_of_run(c, r, 0, "the file ends inside this run");
        return OK;
    }
    const size_t table_len = 4 * (size_t)run_segments(r->data_len);
    uint8_t *tail = malloc(table_len + FRAME_BYTES);
    MUST(tail != NULL);
    const io *sys = c->l->io;
    const uint64_t at = end - FRAME_BYTES - table_len;
    err e = OK;
    frame f;
    if (sys->pread(sys, c->fd, tail, table_len + FRAME_BYTES, at) !=
        (int64_t)(table_len + FRAME_BYTES))
        say_of_run(c, r, at - r->offset, "the disk cannot read this run's frame");
    else if (frame_decode(tail + table_len, &f) != OK)
        say_of_run(c, r, end - FRAME_BYTES - r->offset, "the frame of this run does not verify");
    else if (!frame_is_of(&f, r, stream))
        say_of_run(c, r, end - FRAME_BYTES - r->offset, "the frame of this run belongs to another");
    else if (crc32c(0, slice_of(tail, table_len)) != f.table_crc)
        say_of_run(c, r, at - r->offset, "the CRC table of this run does not verify");
    else
        e = check_segments(c, r, tail);
    free(tail);
    return e;
}

/* ---- one extent ---- */

/* Bytes in a sealed extent that no row owns. Zeros are none: large blocks may keep them. */
static void check_hole(checker *c, uint64_t from, uint64_t to) {
    uint64_t at;
    if (io_first_data(c->l->io, c->fd, from, to, &at) == 1)
        say(c, c->extent, at, "there is data here that nothing refers to");
}

/* Pending rows of the extent: ranges that are being given back, so not to be wondered at. */
static bool pending_in(checker *c) {
    const system_key prefix = system_key_extent('P', c->extent);
    rocksdb_iterator_t *it = rows_system_iter(c->l, NULL);
    rocksdb_iter_seek(it, (const char *)prefix.b, prefix.len);
    size_t len = 0;
    const char *key = rocksdb_iter_valid(it) ? rocksdb_iter_key(it, &len) : "";
    const bool any = slice_starts(slice_of(key, len), system_key_slice(&prefix));
    rocksdb_iter_destroy(it);
    return any;
}

static err extent_begin(checker *c, uint32_t id) {
    local *l = c->l;
    *c = (checker){
        .l = l, .report = c->report, .ctx = c->ctx, .piece = c->piece, .extent = id, .fd = -1};
    const system_key key = system_key_extent('E', id);
    arena *a = arena_new(256, 0);
    slice value;
    err e = rows_get(l, ROWS_SYSTEM, system_key_slice(&key), a, false, &value);
    c->known = e == OK;
    if (e == OK && extent_row_parse(value, &c->sealed, &c->size) != OK)
        say(c, id, 0, "the row of this extent is damaged");
    arena_free(a);
    if (e != OK && e != ERR_NOT_FOUND) return e;
    char name[16];
    extent_name(id, name);
    c->fd = l->io->open(l->io, l->extents_fd, name, O_RDONLY);
    uint64_t allocated;
    if (c->fd >= 0 && l->io->stat(l->io, c->fd, &c->size, &allocated) == 0) return OK;
    return OK;
}

/* The runs of one extent, in order; *it stands on the first row after them when it returns. */
static err check_extent(checker *c, uint32_t id, rocksdb_iterator_t *it) {
    TRY(extent_begin(c, id));
    const bool whole = c->sealed && !pending_in(c);
    size_t runs = 0;
    err e = OK;
    for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        const char *value = rocksdb_iter_value(it, &value_len);
        uint32_t owner, block;
        if (key_len == 0 || key[0] != 'R') break;
        if (system_key_parse(slice_of(key, key_len), 'R', &owner, &block) != OK) {
            c->report(c->ctx, "a run row with a malformed key", "rows, table system");
            continue;
        }
        if (owner != id) break;
        if (runs++ == 0 && !c->known) say(c, id, 0, "content refers to an extent that has no row");
        if (runs == 1 && c->fd < 0) say(c, id, 0, "the file is missing; all content in it is lost");
        run r;
        uint64_t stream;
        if (run_row_parse(slice_of(key, key_len), slice_of(value, value_len), 'R', &r, &stream) !=
            OK) {
            say(c, id, (uint64_t)block * EXTENT_BLOCK, "the row of this run is damaged");
            continue;
        }
        if (whole && c->fd >= 0 && r.offset > c->end) check_hole(c, c->end, r.offset);
        TRY_TO(out, check_run(c, &r, stream));
    }
    if (whole && c->fd >= 0 && c->size > c->end && runs > 0) check_hole(c, c->end, c->size);
out:
    if (c->fd >= 0) c->l->io->close(c->l->io, c->fd);
    c->fd = -1;
    return e;
}

static err check_extents(checker *c) {
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(o, 1);
    rocksdb_readoptions_set_fill_cache(o, 0);
    rocksdb_iterator_t *it = rows_system_iter(c->l, o);
    err e = OK;
    rocksdb_iter_seek(it, "R", 1);
    while (rocksdb_iter_valid(it)) {
        size_t len;
        const char *key = rocksdb_iter_key(it, &len);
        if (len == 0 || key[0] != 'R') break;
        uint32_t id = 0, block;
        if (system_key_parse(slice_of(key, len), 'R', &id, &block) != OK) {
            c->report(c->ctx, "a run row with a malformed key", "rows, table system");
            rocksdb_iter_next(it);
            continue;
        }
        TRY_TO(out, check_extent(c, id, it));
    }
out:
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(o);
    return e;
}

/* A file that no row knows, and that is not empty: opening removes those that are. */
static void check_stray(void *ctx, const char *name) {
    checker *c = ctx;
    uint32_t id;
    if (!extent_name_parse(name, &id)) return;
    const system_key key = system_key_extent('E', id);
    arena *a = arena_new(256, 0);
    slice value;
    if (rows_get(c->l, ROWS_SYSTEM, system_key_slice(&key), a, false, &value) == ERR_NOT_FOUND) {
        int fd = c->l->io->open(c->l->io, c->l->extents_fd, name, O_RDONLY);
        uint64_t at;
        if (fd >= 0 && io_first_data(c->l->io, fd, 0, UINT64_MAX, &at) == 1)
            say(c, id, at, "the file holds data and no row knows it");
        if (fd >= 0) c->l->io->close(c->l->io, fd);
    }
    arena_free(a);
}

err local_check(engine *e, engine_report *report, void *ctx) {
    local *l = local_of(e);
    TRY(rows_check(l, report, ctx));
    TRY(log_check(l, report, ctx));
    TRY(vault_check(l, report, ctx));
    checker c = {.l = l, .report = report, .ctx = ctx, .piece = malloc(PIECE), .fd = -1};
    MUST(c.piece != NULL);
    err er = check_extents(&c);
    if (er == OK) {
        int r = l->io->list(l->io, l->extents_fd, check_stray, &c);
        if (r < 0) er = err_fail_errno(ERR_IO, -r, "%s/extents: list", l->path);
    }
    free(c.piece);
    return er;
}
