/* Inside backup/. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "backup/backup.h"

#define MARKER    "STRONGROOM-BACKUP"
#define MANIFEST  "manifest"
#define PART      ".part"
#define NAME_MAX_ 128 /* of a file, as a manifest has it */
#define PATH_MAX_ 512
#define PIECE     ((size_t)1 << 20)

/* ---- files.c ---- */

typedef struct place {
    const io *io;
    const char *path;
    int dir, points, tables, packs, lock; /* -1: not open */
} place;

/* Opens a backup folder, for writing locked, for reading so that no point is removed; create: makes it when there is
 * none. */
err place_open(const char *path, bool create, bool write, place *ret) CHECKED;
void place_close(place *p);

/* Names, sorted. */
typedef struct names {
    char **name;
    size_t count, room;
} names;
void names_add(names *n, const char *name);
err names_list(const io *sys, int dir, names *ret) CHECKED; /* of a folder */
bool names_has(const names *n, const char *name);           /* sorted */
void names_sort(names *n);
void names_done(names *n);

/* Told of bytes as they are copied. */
typedef struct ticker {
    void *ctx;
    err (*tick)(void *ctx, uint64_t bytes);
} ticker;

/* Copies a file to a new one, synced; to -1: reads it only. */
err copy_file(const io *sys, int from, const char *from_name, int to, const char *to_name,
              const ticker *t, uint64_t *ret_size, uint64_t *ret_crc) CHECKED;
err write_file(const io *sys, int dir, const char *name, slice text) CHECKED; /* synced */
err sync_dir(const io *sys, int dir, const char *what) CHECKED;
err open_dir(const io *sys, int parent, const char *name, bool make, int *ret) CHECKED;
/* A folder with its files and theirs; wipes a file "vault" in it first. Goes on after an error. */
void remove_folder(const io *sys, int parent, const char *name);
err file_failed(int r, const char *what) CHECKED;

/* ---- manifest.c ---- */

/* The lines of a manifest, after "strongroom backup 1":
 *   file NAME SIZE CRC-64            of the data folder; a table's stands in tables/, others in the point's folder
 *   extent ID
 *   pack NAME                        numbered from 0
 *   run EXTENT OFFSET LENGTH STREAM PACK AT
 *   end LINES CRC-64                 of all that stands above */
typedef enum line_kind { LINE_FILE, LINE_EXTENT, LINE_PACK, LINE_RUN, LINE_END } line_kind;

typedef struct line {
    line_kind kind;
    char name[NAME_MAX_];
    uint64_t size, crc;
    engine_local_run run; /* LINE_EXTENT: extent only */
    uint32_t pack;
    uint64_t at;
} line;

typedef struct manifest_writer {
    const io *io;
    int fd;
    uint64_t at, lines, crc;
    buf text;
} manifest_writer;

err manifest_create(const io *sys, int dir, manifest_writer *ret) CHECKED;
err manifest_put(manifest_writer *w, const line *l) CHECKED;
err manifest_flush(manifest_writer *w) CHECKED;
err manifest_end(manifest_writer *w) CHECKED; /* synced */
void manifest_writer_done(manifest_writer *w);

typedef struct manifest_reader {
    const io *io;
    int fd;
    uint64_t at, lines, crc;
    uint8_t *text;
    size_t len, used;
} manifest_reader;

/* ERR_NOT_FOUND, ERR_CORRUPT. */
err manifest_open(const io *sys, int points, const char *point, manifest_reader *ret) CHECKED;
/* The last line is LINE_END; it has been verified. ERR_CORRUPT, also where an interrupted one ends. */
err manifest_next(manifest_reader *r, line *ret) CHECKED;
void manifest_close(manifest_reader *r);

/* Calls each line of a whole manifest. */
err manifest_each(const io *sys, int points, const char *point,
                  err (*each)(void *ctx, const line *l), void *ctx) CHECKED;

/* Where a file of a manifest stands. out: PATH_MAX_ bytes. */
bool is_table(const char *name);
void file_place(const place *p, const char *point, const line *l, int *ret_dir, char *out);

/* ---- points.c ---- */
err points_list(const place *p, bool parts, names *ret) CHECKED; /* sorted, with or without PART */
/* As backup_tidy, of an open place. */
err tidy(const place *p, uint64_t keep, uint64_t *ret_removed) CHECKED;

/* ---- earlier.c: what earlier backups have already ---- */
typedef struct earlier earlier;
err earlier_open(const place *p, earlier **ret) CHECKED;
earlier *earlier_close(earlier *e);
/* Runs are asked for in order. ret_found: it is in a pack, whole. fd: of the extent that holds it. */
err earlier_find(earlier *e, const engine_local_run *r, int fd, bool *ret_found,
                 char pack[NAME_MAX_], uint64_t *ret_at) CHECKED;
