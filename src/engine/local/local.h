/* engine/local: the engine on one machine. RocksDB rows, extent files, a key vault, one folder.
 *
 *   FORMAT    "strongroom 4\n": the format version; read before anything else
 *   LOCK      held while open (flock); a second program is refused with ERR_IN_USE
 *   rows/     RocksDB, one column family a table, and one for extents
 *   extents/  NNNNNNNN.ext, append-only, 256 MiB
 *   vault     slots of 128 bytes, overwritten in place
 *   CLOSED    while it is closed in order: what rows/MANIFEST is
 *
 * See engine/engine.h for what it promises. */
#pragma once

#include "engine/engine.h"

#define ENGINE_LOCAL_FORMAT        4
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
