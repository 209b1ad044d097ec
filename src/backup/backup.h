/* backup: a data folder at one point, copied to another folder, and back.
 *
 * It copies what engine/local holds as a point (engine_point_begin): it does not open the store, needs no key,
 * and what it copies stays sealed. Whoever holds the point decides when; the copying is the caller's process's.
 *
 *   FOLDER/STRONGROOM-BACKUP   what this folder is; locked while something is written
 *   FOLDER/points/NAME/        a point: its manifest, the files that are its own (MANIFEST, log, vault, FORMAT, ROOT)
 *   FOLDER/points/NAME.part/   one in the making, or interrupted
 *   FOLDER/tables/FILE.CRC     RocksDB's tables, shared by all points that name them
 *   FOLDER/packs/NAME-N        runs of content, one behind the other; made by the point NAME, shared by later ones
 *
 * Nothing here is ever changed: files are made, synced, and named by a manifest; those that no manifest names any
 * more are removed. What a backup was interrupted in, the next one goes on with.
 *
 * What it needs from below: engine/local's files (local.h) and base. */
#pragma once

#include "engine/local/local.h"

#define BACKUP_NAME_MAX 64
#define BACKUP_RESTORED                                                                            \
    "RESTORED" /* a file in a data folder that a restore made, until that is recorded */

typedef struct backup_progress {
    uint64_t seen;    /* bytes of the point that are in the backup by now */
    uint64_t copied;  /* of these, bytes that were written now */
    uint64_t runs;    /* of content */
    uint64_t damaged; /* what does not verify */
} backup_progress;

typedef struct backup_watch {
    void *ctx;
    /* Called at least once a run or MiB; its error ends the work. */
    err (*progress)(void *ctx, const backup_progress *p);
    /* Something does not verify. */
    engine_report *damaged;
} backup_watch;

typedef struct backup_point {
    char name[BACKUP_NAME_MAX];
    uint64_t bytes; /* of what it names */
    bool intact;    /* its manifest verifies; otherwise bytes is 0 */
} backup_point;

/* Copies the point that is held in the folder `data` to the folder `to`, which is made when it is not there.
 * finish: called when all is copied and durable, before the point counts as made; its error undoes that.
 * ERR_IN_USE: `to` is another kind of folder, of another store, or being written; ERR_NO_SPACE, ERR_IO,
 * ERR_CORRUPT. Damaged content is reported and copied as it is. */
err backup_take(const char *data, const char *to, const backup_watch *w, err (*finish)(void *ctx),
                backup_point *ret, backup_progress *ret_done) CHECKED;

/* Makes the data folder `data`, which must be missing or empty (but for a root key), from a point; name NULL: the
 * newest. All is verified. Damage is reported; then the folder stays unfinished (ERR_CORRUPT) unless
 * accept_damage. ERR_NOT_FOUND: there is no such point. */
err backup_restore(const char *from, const char *name, const char *data, bool accept_damage,
                   const backup_watch *w, backup_point *ret, backup_progress *ret_done) CHECKED;

/* Reads all that a point names, as a restore would; name NULL: the newest. Damage is reported: ERR_CORRUPT. */
err backup_verify(const char *from, const char *name, const backup_watch *w, backup_point *ret,
                  backup_progress *ret_done) CHECKED;

/* Removes all but the newest `keep` points (0: none), what was interrupted, and what no point names any more. Nothing
 * is removed while a manifest does not verify: ERR_CORRUPT. No point is removed while one is read: ERR_IN_USE. */
err backup_tidy(const char *folder, uint64_t keep, uint64_t *ret_removed) CHECKED;

/* Calls each point, oldest first. ERR_NOT_FOUND: this is no backup. */
err backup_each(const char *folder, void (*each)(void *ctx, const backup_point *p),
                void *ctx) CHECKED;
