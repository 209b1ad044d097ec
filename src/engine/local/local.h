/* engine/local: the engine on one machine. RocksDB rows, extent files, a key vault, one folder.
 *
 *   FORMAT    "strongroom 5\n": the format version; read before anything else
 *   LOCK      held while open (flock); a second program is refused with ERR_IN_USE
 *   rows/     RocksDB, one column family a table, and one for extents
 *   extents/  NNNNNNNN.ext, append-only, 256 MiB
 *   vault     slots of 128 bytes, overwritten in place
 *   CLOSED    while it is closed in order: what rows/MANIFEST is
 *   point/    while a point is held: rows/ and vault as they were
 *
 * See engine/engine.h for what it promises. */
#pragma once

#include "engine/engine.h"

#define ENGINE_LOCAL_FORMAT 5
/* 5: rows that older programs would take for damage (scopes, overseers, the record's retention); the files are as in 4.
 * Whoever adds a kind of rows that an older program must not meet raises it. */
#define ENGINE_LOCAL_FORMAT_OLDEST 1 /* upgraded when opened for writing */

typedef struct engine_local_options {
    const char *path;     /* the data folder */
    bool create;          /* make a new one; ERR_IN_USE when one is there */
    bool read_only;       /* for check: nothing is written, recovery is reported, not done */
    uint64_t cache_bytes; /* block cache, blob cache and write buffers together; default 256 MiB */
} engine_local_options;

/* ERR_IN_USE (locked, or create over an existing folder), ERR_FORMAT_VERSION, ERR_NOT_FOUND (no such
 * folder), ERR_IO, ERR_CORRUPT; each with a detail that says what to do. */
err engine_local_open(const engine_local_options *o, engine **ret) CHECKED;

/* ---- what a backup copies of a point: point/rows, point/vault, and the runs in extents/ that its rows name ---- */

#define ENGINE_LOCAL_POINT "point"
#define ENGINE_LOCAL_FRAME 64

/* One contiguous piece of content: disk_len bytes at offset of an extent's file. They never change, and tell
 * themselves whether they are whole; extent, offset and stream together name no other. */
typedef struct engine_local_run {
    uint32_t extent;
    uint64_t offset, disk_len, data_len, stream;
} engine_local_run;

typedef struct engine_local_each {
    void *ctx;
    err (*extent)(void *ctx, uint32_t id); /* every extent there is, before the first run */
    err (*run)(void *ctx, const engine_local_run *r);
} engine_local_each;

/* Calls what the rows in a folder (a point's) name, each kind in order of its place. Ends with each's error. */
err engine_local_contents(const char *rows, const engine_local_each *each) CHECKED;
/* disk_len of a run with so much data. */
uint64_t engine_local_run_len(uint64_t data_len);
/* The end of a run that begins at `at` of fd; ret_fits: it says that it is of this run. */
err engine_local_run_frame(const io *sys, const engine_local_run *r, int fd, uint64_t at,
                           uint8_t ret[ENGINE_LOCAL_FRAME], bool *ret_fits) CHECKED;
/* Copies a run from one file to a place of another that holds zeros so far (to -1: reads it only). ret_whole: its
 * checksums fit; a damaged one is copied as it is. */
err engine_local_run_copy(const io *sys, const engine_local_run *r, int from, uint64_t from_at,
                          int to, uint64_t to_at, bool *ret_whole) CHECKED;
/* The name of an extent's file under extents/. */
void engine_local_extent_name(uint32_t id, char out[16]);
