/* Private to audit/: removing what is kept no longer (retain.c). */
#pragma once

#include "audit/internal.h"

typedef struct retainer {
    store *store; /* NULL: nothing is ever removed */
    slice region;
    store_log_retention now; /* as it is durable; edge in the arena */
    arena *arena;
    uint64_t announced; /* the checkpoint that tells of now.minimum has that many entries */
    int64_t next_us,
        looked_us; /* when to look again, and when it was done; of the monotonic clock */
    uint64_t removed;
} retainer;

/* Takes up what was left undone. A setting that differs from the one before is recorded, and holds when that is
 * durable. */
err retain_open(retainer *r, const audit_builder_options *o) CHECKED;
void retain_close(retainer *r);
/* The next piece of work, if any, of bounded length. */
err retain_step(retainer *r, audit_publisher *p) CHECKED;
