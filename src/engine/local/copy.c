/* What a backup copies of a point: its rows are read here, without the engine that holds it, and runs are copied with
 * their checksums verified. */
#include <errno.h>

#include "engine/local/private.h"

#define PIECE ((size_t)4 * SEGMENT_BYTES)

void engine_local_extent_name(uint32_t id, char out[16]) {
    extent_name(id, out);
}

uint64_t engine_local_run_len(uint64_t data_len) {
    return (uint64_t)run_blocks_for(data_len) * EXTENT_BLOCK;
}

/* ---- rows ---- */

static err tell_row(const engine_local_each *each, slice key, slice value) {
    if (key.p[0] == 'E') {
        uint32_t id;
        TRY(system_key_parse(key, 'E', &id, NULL));
        return each->extent(each->ctx, id);
    }
    run r;
    uint64_t stream;
    TRY(run_row_parse(key, value, 'R', &r, &stream));
    const engine_local_run out = {.extent = r.extent,
                                  .offset = r.offset,
                                  .disk_len = run_disk_len(&r),
                                  .data_len = r.data_len,
                                  .stream = stream};
    return each->run(each->ctx, &out);
}

static err tell_kind(rocksdb_iterator_t *it, char kind, const engine_local_each *each) {
    for (rocksdb_iter_seek(it, &kind, 1); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        if (key_len == 0 || key[0] != kind) break;
        const char *value = rocksdb_iter_value(it, &value_len);
        TRY(tell_row(each, slice_of(key, key_len), slice_of(value, value_len)));
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    return text != NULL ? rows_error(text, "read") : OK;
}

err engine_local_contents(const char *path, const engine_local_each *each) {
    rocksdb_t *db = NULL;
    rocksdb_column_family_handle_t *cf[2];
    TRY(rows_open_system(path, &db, cf));
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(o, 1);
    rocksdb_readoptions_set_fill_cache(o, 0);
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(db, o, cf[0]);
    err e = tell_kind(it, 'E', each);
    if (e == OK) e = tell_kind(it, 'R', each);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(o);
    for (size_t i = 0; i < ARRAY_LEN(cf); i++) rocksdb_column_family_handle_destroy(cf[i]);
    rocksdb_close(db);
    return e;
}

/* ---- runs ---- */

typedef struct copying {
    const io *io;
    int from, to;
    uint64_t from_at, to_at; /* where the run begins in each */
    bool whole;
} copying;

/* Part of a run: n bytes at `at` in it. What cannot be read is not whole, and not copied. */
static err copy_part(copying *c, uint64_t at, uint8_t *p, size_t n) {
    const int64_t got = c->io->pread(c->io, c->from, p, n, c->from_at + at);
    if (got != (int64_t)n) {
        c->whole = false;
        memset(p, 0, n);
        return OK;
    }
    const int r = c->to < 0 ? 0 : c->io->pwrite(c->io, c->to, p, n, c->to_at + at);
    if (r == -ENOSPC || r == -EDQUOT) return err_fail_errno(ERR_NO_SPACE, -r, "copying content");
    return r < 0 ? err_fail_errno(ERR_IO, -r, "copying content") : OK;
}

static err copy_data(copying *c, const engine_local_run *r, slice table, uint8_t *piece) {
    for (uint64_t at = 0; at < r->data_len; at += PIECE) {
        const uint64_t left = r->data_len - at;
        const size_t n = left < PIECE ? (size_t)left : PIECE;
        TRY(copy_part(c, at, piece, n));
        for (size_t i = 0; i < n; i += SEGMENT_BYTES) {
            uint32_t want;
            TRY(cur_be32(&table, &want));
            const slice part = slice_take(slice_of(piece + i, n - i), SEGMENT_BYTES);
            if (crc32c(0, part) != want) c->whole = false;
        }
    }
    return OK;
}

static bool frame_fits(const engine_local_run *r, const uint8_t in[FRAME_BYTES], frame *ret) {
    const run x = {.extent = r->extent,
                   .offset = r->offset,
                   .blocks = (uint32_t)(r->disk_len / EXTENT_BLOCK),
                   .data_len = r->data_len};
    return frame_decode(in, ret) == OK && frame_is_of(ret, &x, r->stream);
}

err engine_local_run_copy(const io *sys, const engine_local_run *r, int from, uint64_t from_at,
                          int to, uint64_t to_at, bool *ret_whole) {
    const size_t table_len = 4 * (size_t)run_segments(r->data_len), tail = table_len + FRAME_BYTES;
    copying c = {sys, from, to, from_at, to_at, true};
    uint8_t *p = malloc(PIECE + tail);
    frame f;
    MUST(p != NULL && r->disk_len >= r->data_len + tail);
    err e = copy_part(&c, r->disk_len - tail, p + PIECE, tail);
    const slice table = slice_of(p + PIECE, table_len);
    if (e == OK && (!frame_fits(r, p + PIECE + table_len, &f) || f.table_crc != crc32c(0, table)))
        c.whole = false;
    if (e == OK) e = copy_data(&c, r, table, p);
    free(p);
    *ret_whole = c.whole;
    return e;
}

err engine_local_run_frame(const io *sys, const engine_local_run *r, int fd, uint64_t at,
                           uint8_t ret[ENGINE_LOCAL_FRAME], bool *ret_fits) {
    _Static_assert(ENGINE_LOCAL_FRAME == FRAME_BYTES, "a run ends with a frame");
    frame f;
    const int64_t n = sys->pread(sys, fd, ret, FRAME_BYTES, at + r->disk_len - FRAME_BYTES);
    if (n < 0) return err_fail_errno(ERR_IO, (int)-n, "reading a frame");
    *ret_fits = n == FRAME_BYTES && frame_fits(r, ret, &f);
    return OK;
}
