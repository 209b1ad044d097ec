/* upkeep: what the server does so that nothing it holds is lost unnoticed. Scrubbing: all content and all rows are
 * read and verified, at a steady pace, over and over.
 *
 * What is read: the content of every current blob, snapshot and version (the rows of those that are soft-deleted
 * or staged, and of content under customers' keys, which only `strongroom check` reads whole). What does not
 * verify is named in the log and counted; nothing is changed.
 *
 * What it needs from below: store, base. */
#pragma once

#include "store/store.h"

#define UPKEEP_RATE_DEFAULT ((uint64_t)16 << 20)        /* bytes a second */
#define UPKEEP_PAUSE_US     (7ll * 24 * 3600 * 1000000) /* between two passes */

typedef struct upkeep upkeep;

typedef struct upkeep_stats {
    uint64_t bytes, blobs, damaged; /* of the pass under way, or else of the last */
    uint64_t passes;                /* that came to their end since the start */
    int64_t begun_us, ended_us;     /* of the pass under way, of the last; STORE_TIME_NONE: none */
} upkeep_stats;

/* rate: bytes a second, on the average; 0: nothing is read, and no thread runs. pause_us: from the end of a pass to
 * the next one's beginning. A pass goes on where it was when the server stopped. ERR_NO_MEMORY. */
err upkeep_start(store *s, uint64_t rate, int64_t pause_us, upkeep **ret) CHECKED;
/* Soon. NULL is allowed; returns NULL. */
upkeep *upkeep_stop(upkeep *u);
void upkeep_get_stats(upkeep *u, upkeep_stats *ret);
