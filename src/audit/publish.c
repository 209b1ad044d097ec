/* The published folder: tiles, entry bundles and the checkpoint, as files that any web server can serve.
 *
 *   FOLDER/checkpoint             signed; names the rest, and is written last
 *   FOLDER/tile/L/N[.p/W]         hashes
 *   FOLDER/tile/entries/N[.p/W]   entries
 *   FOLDER/minimum-index          where the entries begin, once the first were removed (minimum.c)
 *   FOLDER/new                    a file in the making
 *
 * Invariants
 *   1. A file is written to FOLDER/new, synced, renamed to its place, and its folder is synced before a checkpoint
 *      that needs it is written. Files of a tree are never changed: a name's content is a function of the log.
 *   2. What is in memory is the right edge of the tree of `size` entries: the last tile of each level and the
 *      last bundle, as far as they are filled.
 *   3. After an error nothing more is written. Opening again goes on from the last checkpoint. */
#include <errno.h>
#include <fcntl.h>

#include "audit/internal.h"

#define SYNCS_MAX 64 /* folders whose entries are not durable yet */

typedef struct level {
    audit_hash hash[AUDIT_TILE_WIDTH];
    unsigned count;
    unsigned written; /* of its partial tile */
} level;

struct audit_publisher {
    const io *io;
    int dir;
    char *folder;
    audit_signer *signer; /* crypto_secret_new: it holds the seed */
    char *name;
    uint64_t size, published;
    uint64_t
        swept; /* up to there, full tiles have lost their partial ones; see drop_full_partials */
    audit_tree tree;
    level level[AUDIT_TILE_LEVELS];
    buf bundle;
    unsigned bundle_count, bundle_written;
    buf last; /* the last entry of the checkpoint when it was opened */
    bool failed;
    char sync[SYNCS_MAX][AUDIT_PATH_MAX];
    size_t sync_count;
};

/* ---- files ---- */

static err io_failed(audit_publisher *p, int r, const char *what) {
    p->failed = true;
    return err_fail_errno(ERR_IO, -r, "%s/%s", p->folder, what);
}

static err sync_folders(audit_publisher *p) {
    for (; p->sync_count > 0; p->sync_count--) {
        const char *path = p->sync[p->sync_count - 1];
        int fd = p->io->open(p->io, p->dir, path, O_RDONLY | O_DIRECTORY);
        int r = fd < 0 ? fd : p->io->fsync(p->io, fd);
        if (fd >= 0) p->io->close(p->io, fd);
        if (r < 0) return io_failed(p, r, path);
    }
    return OK;
}

static err sync_later(audit_publisher *p, const char *folder) {
    for (size_t i = 0; i < p->sync_count; i++)
        if (strcmp(p->sync[i], folder) == 0) return OK;
    if (p->sync_count == SYNCS_MAX) TRY(sync_folders(p));
    snprintf(p->sync[p->sync_count++], AUDIT_PATH_MAX, "%s", folder);
    return OK;
}

/* The folder that a path's last part stands in: "." for a path of one part. */
static void parent_of(const char *path, char out[AUDIT_PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    snprintf(out, AUDIT_PATH_MAX, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
}

static err make_folders(audit_publisher *p, const char *path) {
    char part[AUDIT_PATH_MAX], parent[AUDIT_PATH_MAX];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        int r = p->io->mkdir(p->io, p->dir, part);
        if (r == -EEXIST) continue;
        if (r < 0) return io_failed(p, r, part);
        parent_of(part, parent);
        TRY(sync_later(p, parent));
    }
    return OK;
}

static err write_new(audit_publisher *p, slice data) {
    int fd = p->io->open(p->io, p->dir, "new", O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return io_failed(p, fd, "new");
    int r = p->io->pwrite(p->io, fd, data.p, data.len, 0);
    if (r >= 0) r = p->io->fsync(p->io, fd);
    p->io->close(p->io, fd);
    return r < 0 ? io_failed(p, r, "new") : OK;
}

static err write_file(audit_publisher *p, const char *path, slice data) {
    char parent[AUDIT_PATH_MAX];
    TRY(write_new(p, data));
    int r = p->io->rename(p->io, p->dir, "new", path);
    if (r == -ENOENT) { /* the first file of its folder */
        TRY(make_folders(p, path));
        r = p->io->rename(p->io, p->dir, "new", path);
    }
    if (r < 0) return io_failed(p, r, path);
    parent_of(path, parent);
    return sync_later(p, parent);
}

static err write_tile(audit_publisher *p, int at, uint64_t index, unsigned width, slice data) {
    char path[AUDIT_PATH_MAX];
    tile_name(&(audit_tile){at, index, width}, path);
    return write_file(p, path, data);
}

typedef struct sweep {
    audit_publisher *p;
    int dir;
} sweep;

static void sweep_one(void *ctx, const char *name) {
    const sweep *s = ctx;
    (void)s->p->io->unlink(s->p->io, s->dir, name);
}

/* The partial ones of a tile that is full and durable: nobody needs them any more. */
static void drop_partials(audit_publisher *p, int at, uint64_t index) {
    char path[AUDIT_PATH_MAX];
    tile_name(&(audit_tile){at, index, 1}, path);
    *strrchr(path, '/') = '\0'; /* "….p" */
    sweep s = {p, p->io->open(p->io, p->dir, path, O_RDONLY | O_DIRECTORY)};
    if (s.dir < 0) return;
    (void)p->io->list(p->io, s.dir, sweep_one, &s);
    p->io->close(p->io, s.dir);
    (void)p->io->rmdir(p->io, p->dir, path);
}

/* ---- adding ---- */

static slice level_bytes(const level *l) {
    return slice_of(l->hash, (size_t)l->count * AUDIT_HASH_LEN);
}

/* The number of level at's last tile that is not full, in a tree of `size`. */
static uint64_t tile_index(int at, uint64_t size) {
    for (int l = 0; l <= at; l++) size /= AUDIT_TILE_WIDTH;
    return size;
}

static err add_hash(audit_publisher *p, int at, const audit_hash *h) {
    MUST(at < AUDIT_TILE_LEVELS);
    level *l = &p->level[at];
    l->hash[l->count++] = *h;
    if (l->count < AUDIT_TILE_WIDTH) return OK;
    const uint64_t index = tile_index(at, p->size) - 1;
    audit_hash root;
    TRY(write_tile(p, at, index, AUDIT_TILE_WIDTH, level_bytes(l)));
    hashes_root(l->hash, AUDIT_TILE_WIDTH, &root);
    l->count = l->written = 0;
    return add_hash(p, at + 1, &root);
}

err audit_publisher_add(audit_publisher *p, slice entry) {
    ENSURE(!p->failed, ERR_IO, "%s: an earlier write failed", p->folder);
    MUST(entry.len >= 1 && entry.len <= 65535);
    audit_hash leaf;
    audit_leaf_hash(entry, &leaf);
    audit_tree_append(&p->tree, &leaf);
    p->size++;
    buf_be16(&p->bundle, (uint16_t)entry.len);
    buf_put(&p->bundle, entry);
    p->bundle_count++;
    if (p->bundle_count == AUDIT_TILE_WIDTH) {
        const uint64_t index = p->size / AUDIT_TILE_WIDTH - 1;
        TRY(write_tile(p, AUDIT_ENTRIES, index, AUDIT_TILE_WIDTH, buf_slice(&p->bundle)));
        buf_reset(&p->bundle);
        p->bundle_count = p->bundle_written = 0;
    }
    return add_hash(p, 0, &leaf);
}

/* ---- the checkpoint ---- */

static err write_partials(audit_publisher *p) {
    for (int at = 0; at < AUDIT_TILE_LEVELS; at++) {
        level *l = &p->level[at];
        if (l->count == 0 || l->count == l->written) continue;
        TRY(write_tile(p, at, tile_index(at, p->size), l->count, level_bytes(l)));
        l->written = l->count;
    }
    if (p->bundle_count > 0 && p->bundle_count != p->bundle_written) {
        TRY(write_tile(p, AUDIT_ENTRIES, p->size / AUDIT_TILE_WIDTH, p->bundle_count,
                       buf_slice(&p->bundle)));
        p->bundle_written = p->bundle_count;
    }
    return OK;
}

static void drop_tile_partials(audit_publisher *p, int at, uint64_t index) {
    drop_partials(p, at, index);
    if (at == 0) drop_partials(p, AUDIT_ENTRIES, index);
}

/* Those of tiles that became full since the last time: however long no checkpoint is published, they do not pile up.
 * What the published one names stays until the next one is. */
static void drop_full_partials(audit_publisher *p) {
    for (int at = 0; at < AUDIT_TILE_LEVELS; at++) {
        const uint64_t keep = tile_index(at, p->published), end = tile_index(at, p->size);
        uint64_t index = tile_index(at, p->swept);
        if (index == end) break; /* then those above are as they were, too */
        for (; index < end; index++)
            if (index != keep) drop_tile_partials(p, at, index);
    }
    p->swept = p->size;
}

static void drop_old_partials(audit_publisher *p, uint64_t before) {
    for (int at = 0; at < AUDIT_TILE_LEVELS; at++) {
        const uint64_t index = tile_index(at, before);
        if (index == tile_index(at, p->size)) break;
        drop_tile_partials(p, at, index);
    }
}

err audit_publisher_sign(audit_publisher *p, audit_checkpoint *ret, buf *note) {
    ENSURE(!p->failed, ERR_IO, "%s: an earlier write failed", p->folder);
    TRY(write_partials(p));
    TRY(sync_folders(p));
    drop_full_partials(p);
    *ret = (audit_checkpoint){.origin = p->signer->name, .size = p->size};
    audit_tree_root(&p->tree, &ret->root);
    buf text;
    buf_init(&text, AUDIT_CHECKPOINT_MAX);
    audit_checkpoint_put(&text, ret);
    audit_note_sign(note, buf_slice(&text), p->signer);
    buf_done(&text);
    return buf_check(note);
}

err audit_publisher_put(audit_publisher *p, slice note) {
    TRY(write_file(p, "checkpoint", note));
    TRY(sync_folders(p));
    drop_old_partials(p, p->published);
    p->published = p->size;
    return OK;
}

uint64_t audit_publisher_size(const audit_publisher *p) {
    return p->published;
}

uint64_t audit_publisher_added(const audit_publisher *p) {
    return p->size;
}

bool audit_publisher_ends_with(const audit_publisher *p, slice entry) {
    return p->published == 0 || slice_eq(buf_slice(&p->last), entry);
}

/* ---- removing ---- */

static err write_minimum(audit_publisher *p, uint64_t minimum) {
    char text[24];
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)minimum);
    TRY(write_file(p, "minimum-index", slice_str(text)));
    return sync_folders(p);
}

/* Folders of the bundles' numbers that are empty now. */
static err drop_folders(audit_publisher *p, char path[AUDIT_PATH_MAX]) {
    TRY(sync_folders(p)); /* of files in what may go */
    for (;;) {
        char parent[AUDIT_PATH_MAX];
        parent_of(path, parent);
        if (strcmp(parent, "tile/entries") == 0) return OK;
        if (p->io->rmdir(p->io, p->dir, parent) < 0) return OK; /* there is more in it */
        memcpy(path, parent, AUDIT_PATH_MAX);
        parent_of(path, parent);
        TRY(sync_later(p, parent));
    }
}

static err drop_bundle(audit_publisher *p, uint64_t index) {
    char path[AUDIT_PATH_MAX], parent[AUDIT_PATH_MAX];
    drop_partials(p, AUDIT_ENTRIES, index);
    tile_name(&(audit_tile){AUDIT_ENTRIES, index, AUDIT_TILE_WIDTH}, path);
    int r = p->io->unlink(p->io, p->dir, path);
    if (r < 0 && r != -ENOENT) return io_failed(p, r, path);
    parent_of(path, parent);
    if (r == -ENOENT) { /* gone before, perhaps not yet for good */
        int fd = p->io->open(p->io, p->dir, parent, O_RDONLY | O_DIRECTORY);
        if (fd < 0) return OK;
        p->io->close(p->io, fd);
    }
    TRY(sync_later(p, parent));
    return index % 1000 == 999 ? drop_folders(p, path) : OK;
}

err audit_publisher_remove(audit_publisher *p, uint64_t from, uint64_t minimum) {
    ENSURE(!p->failed, ERR_IO, "%s: an earlier write failed", p->folder);
    MUST(minimum % AUDIT_TILE_WIDTH == 0 && minimum < p->published);
    TRY(write_minimum(p, minimum));
    for (uint64_t i = from / AUDIT_TILE_WIDTH; i < minimum / AUDIT_TILE_WIDTH; i++)
        TRY(drop_bundle(p, i));
    return sync_folders(p);
}

/* That the edge is the checkpoint's: an entry's path to the root goes by what is left of it. */
err audit_publisher_edge(const audit_publisher *p, arena *a, uint64_t minimum, slice *ret) {
    const audit_source s = audit_folder(p->folder);
    audit_verifier v;
    audit_checkpoint c;
    slice note;
    buf proof, out;
    MUST(minimum % AUDIT_TILE_WIDTH == 0 && minimum < p->published);
    audit_verifier_of(p->signer, &v);
    TRY(audit_read_checkpoint(&s, a, &v, &c, &note));
    buf_init_arena(&proof, a, (size_t)4 * AUDIT_NOTE_MAX);
    TRY(audit_prove(&s, a, minimum, &c, note, &proof));
    tree_edge *e = arena_alloc(a, sizeof *e);
    TRY(edge_read(&s, a, minimum, c.size, e));
    buf_init_arena(&out, a, STORE_LOG_EDGE_MAX);
    edge_put(&out, e);
    *ret = buf_slice(&out);
    return buf_check(&out);
}

/* ---- opening ---- */

static err damaged(const audit_publisher *p, const char *what) {
    return err_fail(ERR_CORRUPT,
                    "%s: %s; move the folder aside, and it is made again from the store's own log",
                    p->folder, what);
}

static err load_level(audit_publisher *p, arena *a, int at) {
    const uint64_t index = tile_index(at, p->size);
    const unsigned width = audit_tile_width(at, index, p->size);
    slice data;
    if (width == 0) return OK;
    const audit_source s = audit_folder(p->folder);
    const audit_tile last = {at, index, width};
    if (tile_read(&s, a, &last, &data) != OK || data.len < (size_t)width * AUDIT_HASH_LEN)
        return damaged(p, "a tile that its checkpoint needs is missing");
    level *l = &p->level[at];
    memcpy(l->hash, data.p, (size_t)width * AUDIT_HASH_LEN);
    l->count = l->written = width;
    audit_tree part = {0};
    for (unsigned i = 0; i < width; i++) audit_tree_append(&part, &l->hash[i]);
    for (unsigned bit = 0; bit < 8; bit++)
        if (width >> bit & 1) p->tree.edge[8 * (unsigned)at + bit] = part.edge[bit];
    return OK;
}

/* The last bundle's entries, as far as the checkpoint covers them; those of a partial one stay in memory. */
static err load_bundle(audit_publisher *p, arena *a) {
    const unsigned rest = (unsigned)(p->size % AUDIT_TILE_WIDTH);
    const unsigned width = rest > 0 ? rest : AUDIT_TILE_WIDTH;
    const uint64_t index = (p->size - 1) / AUDIT_TILE_WIDTH;
    slice data, entry = SLICE_NONE;
    const audit_source s = audit_folder(p->folder);
    const audit_tile last = {AUDIT_ENTRIES, index, width};
    if (tile_read(&s, a, &last, &data) != OK)
        return damaged(p, "the last entries that its checkpoint covers are missing");
    for (unsigned i = 0; i < width; i++) {
        audit_hash leaf;
        if (bundle_next(&data, &entry) != OK) return damaged(p, "the last bundle is cut short");
        audit_leaf_hash(entry, &leaf);
        if (rest == 0) continue;
        if (memcmp(leaf.b, p->level[0].hash[i].b, sizeof leaf.b) != 0)
            return damaged(p, "the last entries are not those of their tile");
        buf_be16(&p->bundle, (uint16_t)entry.len);
        buf_put(&p->bundle, entry);
    }
    buf_put(&p->last, entry);
    p->bundle_count = p->bundle_written = rest;
    return OK;
}

static err load(audit_publisher *p, arena *a, bool *ret_found) {
    const audit_source s = audit_folder(p->folder);
    audit_verifier v;
    audit_checkpoint c;
    audit_hash root;
    slice note;
    *ret_found = false;
    audit_verifier_of(p->signer, &v);
    err e = audit_read_checkpoint(&s, a, &v, &c, &note);
    if (e == ERR_NOT_FOUND) return OK; /* nothing was published yet */
    TRY(e);
    *ret_found = true;
    p->size = p->published = p->swept = p->tree.size = c.size;
    for (int at = 0; at < AUDIT_TILE_LEVELS; at++) TRY(load_level(p, a, at));
    audit_tree_root(&p->tree, &root);
    if (memcmp(root.b, c.root.b, sizeof root.b) != 0)
        return damaged(p, "its tiles are not those of its checkpoint");
    return c.size > 0 ? load_bundle(p, a) : OK;
}

/* A folder that is new, of a log whose first entries are gone: the tiles above them are made of their hashes. */
static err begin_at(audit_publisher *p, arena *a, const audit_base *base) {
    tree_edge *e = arena_alloc(a, sizeof *e);
    TRY(edge_parse(base->edge, base->minimum, e));
    edge_tree(e, &p->tree);
    p->size = p->swept = base->minimum;
    for (int at = 1; at < AUDIT_TILE_LEVELS; at++) {
        memcpy(p->level[at].hash, e->hash[at], sizeof p->level[at].hash);
        p->level[at].count = e->count[at];
    }
    return write_minimum(p, base->minimum);
}

static err load_or_begin(audit_publisher *p, const audit_base *base) {
    bool found;
    arena *a = arena_new(64 << 10, 64 << 20);
    err e = load(p, a, &found);
    if (e == OK && !found && base && base->minimum > 0) e = begin_at(p, a, base);
    arena_free(a);
    return e;
}

err audit_publisher_open(const char *folder, const audit_signer *signer, const audit_base *base,
                         audit_publisher **ret) {
    audit_publisher *p = calloc(1, sizeof *p);
    MUST(p != NULL);
    p->io = io_in_use();
    p->dir = -1;
    p->folder = strdup(folder);
    p->name = strndup((const char *)signer->name.p, signer->name.len);
    MUST(p->folder != NULL && p->name != NULL);
    p->signer = crypto_secret_new(sizeof *p->signer);
    *p->signer = *signer;
    p->signer->name = slice_str(p->name);
    buf_init(&p->bundle, AUDIT_BUNDLE_MAX);
    buf_init(&p->last, 65535);
    int r = p->io->mkdir(p->io, AT_FDCWD, folder);
    if (r == 0 || r == -EEXIST)
        r = p->dir = p->io->open(p->io, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    err e = r < 0 ? err_fail_errno(ERR_IO, -r, "%s", folder) : load_or_begin(p, base);
    if (e != OK) {
        audit_publisher_close(p);
        return e;
    }
    *ret = p;
    return OK;
}

audit_publisher *audit_publisher_close(audit_publisher *p) {
    if (!p) return NULL;
    if (p->dir >= 0) p->io->close(p->io, p->dir);
    buf_done(&p->bundle);
    buf_done(&p->last);
    p->signer = crypto_secret_free(p->signer);
    free(p->folder);
    free(p->name);
    free(p);
    return NULL;
}
