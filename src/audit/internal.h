/* Private to audit/. */
#pragma once

#include "audit/audit.h"

/* ---- note.c ---- */
/* Decimal without leading zeros; 32 bytes in base64. ERR_INVALID_INPUT. */
err text_number(slice s, uint64_t *ret) CHECKED;
err text_hash(slice text, audit_hash *ret) CHECKED;

/* ---- tree.c ---- */
/* The root of a tree of these leaves, or of the nodes of one level. */
void hashes_root(const audit_hash *h, size_t n, audit_hash *ret);

/* ---- tile.c ---- */
void tile_name(const audit_tile *t, char out[AUDIT_PATH_MAX]); /* audit_tile_path, ended by NUL */
/* ERR_CORRUPT that names the tile. */
err tile_misfit(const audit_tile *t, const char *what) CHECKED;
/* Takes the next entry off a bundle. ERR_CORRUPT when it is cut short. */
err bundle_next(slice *bundle, slice *ret_entry) CHECKED;

/* ---- source.c ---- */
/* A tile or bundle of at least its width: of a partial one, the full one may have taken its place.
 * ERR_CORRUPT when neither is there. */
err tile_read(const audit_source *s, arena *a, const audit_tile *t, slice *ret) CHECKED;

/* ---- minimum.c ---- */
#define REMOVE_ACTION "Remove Record Entries"
/* Whether the entry tells that those below `minimum` were removed. */
bool announces_minimum(slice entry, uint64_t minimum);
/* What the tiles and the tree above are made of, of the first `size` entries, a multiple of 256: for each level its
 * hashes in the last tile that is not full. */
typedef struct tree_edge {
    uint64_t size;
    unsigned count[AUDIT_TILE_LEVELS];
    audit_hash hash[AUDIT_TILE_LEVELS][AUDIT_TILE_WIDTH];
} tree_edge;
/* From the tiles of a log of `size` entries, at least `minimum`. */
err edge_read(const audit_source *s, arena *a, uint64_t minimum, uint64_t size,
              tree_edge *ret) CHECKED;
void edge_put(buf *out, const tree_edge *e);
/* ERR_CORRUPT. */
err edge_parse(slice in, uint64_t minimum, tree_edge *ret) CHECKED;
void edge_tree(const tree_edge *e, audit_tree *ret);
