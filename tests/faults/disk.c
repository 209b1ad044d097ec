/* The model of a disk; faults.h says what it promises.
 *
 * A file has two images, by pages: what is read (cached) and what is durable. Between them stand its pending
 * operations, each with the sectors as they were right after it: so a sector that is written back holds
 * all that was in the page then, and applying any later operation without an earlier one of the same
 * sector still gives a state that was once in memory.
 *
 * A name has two files likewise: the one it leads to, and the durable one. Pending changes of names stand in
 * one list, in their order; those of one folder survive as a beginning of it. */
#include <stdlib.h>
#include <string.h>

#include "faults.h"

typedef struct image {
    uint8_t **pages;
    size_t cap; /* pages */
    uint64_t size;
} image;

typedef struct op {
    struct op *next;
    uint64_t at, len, size_after; /* at and len: whole sectors */
    uint8_t *data;                /* NULL: zeros */
} op;

struct disk_file {
    disk_file *next;
    uint64_t id;
    bool folder, in_order; /* in_order: see disk_in_order */
    bool differs;          /* differs: what is read and is not pending is not all durable */
    unsigned names;        /* cached and durable, that lead to it */
    image cached, durable;
    op *first, **last;
    uint64_t ops;
};

typedef struct name {
    struct name *next;
    disk_file *cached, *durable;
    bool remake; /* the real file is not what it is to be */
    char text[FAULT_PATH_MAX];
} name;

typedef enum link_kind { LINK_MAKE, LINK_DROP, LINK_RENAME } link_kind;

typedef struct link_op {
    struct link_op *next;
    link_kind kind;
    disk_file *file;
    char from[FAULT_PATH_MAX], to[FAULT_PATH_MAX];
} link_op;

typedef struct disk {
    disk_file *files;
    name *names;
    link_op *links, **last_link;
    disk_file *root;
    uint64_t next_id, pending_bytes;
    char in_order[FAULT_PATH_MAX];
} disk;

static disk *d;

uint64_t fault_mix(uint64_t a, uint64_t b) {
    uint64_t x = a + 0x9E3779B97F4A7C15ull * (b + 1);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

/* ---- images ---- */

static uint8_t *page_of(image *m, uint64_t page, bool make) {
    if (page >= m->cap) {
        if (!make) return NULL;
        size_t cap = m->cap ? m->cap : 16;
        while (cap <= page) cap *= 2;
        uint8_t **pages = region_take(cap * sizeof *pages);
        if (m->cap) memcpy(pages, m->pages, m->cap * sizeof *pages);
        region_give(m->pages, m->cap * sizeof *pages);
        m->pages = pages;
        m->cap = cap;
    }
    if (m->pages[page] == NULL && make) m->pages[page] = region_take(FAULT_PAGE);
    return m->pages[page];
}

/* p NULL: zeros. */
static void image_put(image *m, uint64_t at, const uint8_t *p, uint64_t n) {
    while (n > 0) {
        const uint64_t off = at % FAULT_PAGE;
        const uint64_t part = n < FAULT_PAGE - off ? n : FAULT_PAGE - off;
        uint8_t *page = page_of(m, at / FAULT_PAGE, p != NULL);
        if (p != NULL) {
            memcpy(page + off, p, part);
            p += part;
        } else if (page != NULL && part == FAULT_PAGE) {
            region_give(page, FAULT_PAGE);
            m->pages[at / FAULT_PAGE] = NULL;
        } else if (page != NULL) {
            memset(page + off, 0, part);
        } else if (at / FAULT_PAGE >= m->cap) {
            return; /* zeros from here on */
        }
        at += part;
        n -= part;
    }
}

static void image_get(image *m, uint64_t at, uint8_t *out, uint64_t n) {
    while (n > 0) {
        const uint64_t off = at % FAULT_PAGE;
        const uint64_t part = n < FAULT_PAGE - off ? n : FAULT_PAGE - off;
        const uint8_t *page = page_of(m, at / FAULT_PAGE, false);
        if (page != NULL)
            memcpy(out, page + off, part);
        else
            memset(out, 0, part);
        out += part;
        at += part;
        n -= part;
    }
}

/* What lies behind a file's end is zeros, should it grow again. */
static void image_resize(image *m, uint64_t size) {
    const uint64_t held = m->cap * (uint64_t)FAULT_PAGE;
    if (size < m->size && size < held) image_put(m, size, NULL, held - size);
    m->size = size;
}

static void image_free(image *m) {
    image_put(m, 0, NULL, m->cap * (uint64_t)FAULT_PAGE);
    region_give(m->pages, m->cap * sizeof *m->pages);
    *m = (image){0};
}

static void image_copy(image *to, const image *from) {
    image_free(to);
    for (uint64_t i = 0; i < from->cap; i++)
        if (from->pages[i] != NULL) image_put(to, i * FAULT_PAGE, from->pages[i], FAULT_PAGE);
    to->size = from->size;
}

/* ---- files ---- */

static disk_file *file_new(bool folder) {
    disk_file *f = region_take(sizeof *f);
    f->id = d->next_id++;
    f->folder = folder;
    f->last = &f->first;
    f->next = d->files;
    d->files = f;
    return f;
}

static void drop_ops(disk_file *f) {
    for (op *o = f->first, *next; o != NULL; o = next) {
        next = o->next;
        d->pending_bytes -= o->data != NULL ? o->len : 0;
        if (o->data != NULL) region_give(o->data, o->len);
        region_give(o, sizeof *o);
    }
    f->first = NULL;
    f->last = &f->first;
    f->ops = 0;
}

static void add_op(disk_file *f, uint64_t at, uint64_t len, bool zeros) {
    op *o = region_take(sizeof *o);
    const uint64_t end = (at + len + FAULT_SECTOR - 1) / FAULT_SECTOR * FAULT_SECTOR;
    o->at = at / FAULT_SECTOR * FAULT_SECTOR;
    o->len = end - o->at;
    if (len == 0) o->len = 0;
    o->size_after = f->cached.size;
    if (!zeros && o->len > 0) {
        o->data = region_take(o->len);
        image_get(&f->cached, o->at, o->data, o->len);
        d->pending_bytes += o->len;
    }
    *f->last = o;
    f->last = &o->next;
    f->ops++;
}

static void file_free(disk_file *f) {
    drop_ops(f);
    image_free(&f->cached);
    image_free(&f->durable);
    disk_file **at = &d->files;
    while (*at != f) at = &(*at)->next;
    *at = f->next;
    region_give(f, sizeof *f);
}

bool disk_is_folder(const disk_file *f) {
    return f->folder;
}

uint64_t disk_size(const disk_file *f) {
    return f->cached.size;
}

void disk_write(disk_file *f, uint64_t at, const void *p, size_t n) {
    image_put(&f->cached, at, p, n);
    if (at + n > f->cached.size) f->cached.size = at + n;
    add_op(f, at, n, false);
}

/* Zeros in the cached image, and an operation for it: the sectors at the edges as they are then. */
static void zero_range(disk_file *f, uint64_t at, uint64_t n) {
    const uint64_t head = at / FAULT_SECTOR * FAULT_SECTOR;
    image_put(&f->cached, at, NULL, n);
    if (at > head) {
        add_op(f, head, FAULT_SECTOR, false);
        n -= n < head + FAULT_SECTOR - at ? n : head + FAULT_SECTOR - at;
        at = head + FAULT_SECTOR;
    }
    if (n > 0) add_op(f, at, n, true);
}

void disk_truncate(disk_file *f, uint64_t size) {
    const uint64_t old = f->cached.size;
    f->cached.size = size;
    if (size < old)
        zero_range(f, size, old - size);
    else
        add_op(f, size, 0, true);
}

void disk_punch(disk_file *f, uint64_t at, uint64_t n) {
    zero_range(f, at, n);
}

uint64_t disk_unsynced(void) {
    return d->pending_bytes;
}

/* ---- names ---- */

static name *name_of(const char *text, bool make) {
    for (name *n = d->names; n != NULL; n = n->next)
        if (strcmp(n->text, text) == 0) return n;
    if (!make) return NULL;
    name *n = region_take(sizeof *n);
    fault_copy(n->text, text);
    n->next = d->names;
    d->names = n;
    return n;
}

static void point(disk_file **at, disk_file *to) {
    disk_file *old = *at;
    if (to != NULL) to->names++;
    *at = to;
    if (old != NULL && --old->names == 0) file_free(old);
}

disk_file *disk_find(const char *text) {
    if (text[0] == 0) return d->root;
    const name *n = name_of(text, false);
    return n != NULL ? n->cached : NULL;
}

static void add_link(link_kind kind, disk_file *file, const char *from, const char *to) {
    link_op *l = region_take(sizeof *l);
    l->kind = kind;
    point(&l->file, file);
    fault_copy(l->from, from);
    fault_copy(l->to, to);
    *d->last_link = l;
    d->last_link = &l->next;
}

disk_file *disk_make(const char *text, bool folder) {
    disk_file *f = file_new(folder);
    f->in_order = d->in_order[0] != 0 && strstr(text, d->in_order) != NULL;
    point(&name_of(text, true)->cached, f);
    add_link(LINK_MAKE, f, "", text);
    return f;
}

void disk_in_order(const char *match) {
    fault_copy(d->in_order, match);
}

void disk_unlink(const char *text) {
    name *n = name_of(text, false);
    if (n == NULL || n->cached == NULL) return;
    add_link(LINK_DROP, NULL, text, text);
    point(&n->cached, NULL);
}

void disk_rename(const char *from, const char *to) {
    name *a = name_of(from, false);
    if (a == NULL || a->cached == NULL) return;
    disk_file *f = a->cached;
    add_link(LINK_RENAME, f, from, to);
    point(&name_of(to, true)->cached, f);
    point(&a->cached, NULL);
}

void disk_link(const char *from, const char *to) {
    disk_file *f = disk_find(from);
    if (f == NULL) return;
    add_link(LINK_MAKE, f, "", to);
    point(&name_of(to, true)->cached, f);
}

/* ---- durable ---- */

static bool in_folder(const char *text, const char *folder) {
    const size_t n = strlen(folder);
    if (n == 0) return strchr(text, '/') == NULL;
    return strncmp(text, folder, n) == 0 && text[n] == '/' && strchr(text + n + 1, '/') == NULL;
}

static void link_apply(const link_op *l) {
    if (l->kind != LINK_MAKE) point(&name_of(l->from, true)->durable, NULL);
    if (l->kind != LINK_DROP) point(&name_of(l->to, true)->durable, l->file);
}

static void link_free(link_op *l) {
    point(&l->file, NULL);
    region_give(l, sizeof *l);
}

/* The first `count` pending changes of names in a folder stand; `rest`: all others of it are gone. */
static void settle_folder(const char *folder, uint64_t count, bool rest) {
    link_op **at = &d->links;
    while (*at != NULL) {
        link_op *l = *at;
        if (!in_folder(l->to, folder) || (count == 0 && !rest)) {
            at = &l->next;
            continue;
        }
        if (count > 0) {
            link_apply(l);
            count--;
        }
        *at = l->next;
        link_free(l);
    }
    d->last_link = at;
}

static const char *text_of(const disk_file *f) {
    if (f == d->root) return "";
    for (const name *n = d->names; n != NULL; n = n->next)
        if (n->cached == f) return n->text;
    return NULL;
}

void disk_sync(disk_file *f) {
    if (f->folder) {
        const char *text = text_of(f);
        if (text != NULL) settle_folder(text, UINT64_MAX, false);
        return;
    }
    for (const op *o = f->first; o != NULL; o = o->next)
        image_put(&f->durable, o->at, o->data, o->len);
    if (f->first != NULL) image_resize(&f->durable, f->cached.size);
    drop_ops(f);
}

/* Whether operation i of n survives in the sector at `at`. */
static bool survives(const disk_file *f, uint64_t seed, disk_cut kind, uint64_t i, uint64_t at) {
    const uint64_t n = f->ops;
    if (f->in_order && kind > CUT_PREFIX) kind = CUT_PREFIX;
    switch (kind) {
    case CUT_ALL:
        return true;
    case CUT_PREFIX:
        return i < fault_mix(seed, f->id) % (n + 1);
    case CUT_SECTORS:
        return i < fault_mix(fault_mix(seed, f->id), at / FAULT_SECTOR) % (n + 1);
    case CUT_PAGES:
        return i < fault_mix(fault_mix(seed, f->id), at / FAULT_PAGE) % (n + 1);
    case CUT_SOME:
        return fault_mix(fault_mix(seed, f->id), i) & 1;
    default:
        return false;
    }
}

static uint64_t size_that_survives(const disk_file *f, uint64_t seed, disk_cut kind) {
    uint64_t count = fault_mix(seed, f->id) % (f->ops + 1), size = f->durable.size;
    if (kind == CUT_NONE) count = 0;
    if (kind == CUT_ALL) count = f->ops;
    for (const op *o = f->first; o != NULL && count > 0; o = o->next, count--) size = o->size_after;
    return size;
}

/* Some of the pending operations become durable, the others are gone. */
static void file_survives(disk_file *f, uint64_t seed, disk_cut kind) {
    const uint64_t size = size_that_survives(f, seed, kind);
    uint64_t i = 0;
    for (const op *o = f->first; o != NULL; o = o->next, i++)
        for (uint64_t at = 0; at < o->len; at += FAULT_SECTOR)
            if (survives(f, seed, kind, i, o->at + at))
                image_put(&f->durable, o->at + at, o->data != NULL ? o->data + at : NULL,
                          FAULT_SECTOR);
    f->durable.size = UINT64_MAX; /* what lies behind the end is not there */
    image_resize(&f->durable, size);
    drop_ops(f);
    f->differs = true;
}

void disk_sync_failed(disk_file *f, uint64_t seed) {
    if (f->folder) return; /* its changes stay pending: a journal either has them or not */
    file_survives(f, seed, (disk_cut)(fault_mix(seed, 7) % CUT_KINDS));
}

static uint64_t links_in(const char *folder) {
    uint64_t n = 0;
    for (const link_op *l = d->links; l != NULL; l = l->next) n += in_folder(l->to, folder);
    return n;
}

static void folder_survives(const char *folder, uint64_t seed, disk_cut kind) {
    const uint64_t n = links_in(folder);
    uint64_t count = fault_mix(seed, n) % (n + 1);
    if (kind == CUT_NONE) count = 0;
    if (kind == CUT_ALL) count = n;
    settle_folder(folder, count, true);
}

/* A name under a folder that is not there is not there either. */
static bool reachable(const name *n) {
    const char *slash = strrchr(n->text, '/');
    if (slash == NULL) return n->durable != NULL;
    char folder[FAULT_PATH_MAX] = {0};
    memcpy(folder, n->text, (size_t)(slash - n->text));
    const name *above = name_of(folder, false);
    return n->durable != NULL && above != NULL && above->durable != NULL;
}

/* The cached state is the durable one. */
static void take_durable(void) {
    for (name *n = d->names; n != NULL; n = n->next)
        if (!reachable(n)) point(&n->durable, NULL);
    for (name *n = d->names; n != NULL; n = n->next) {
        n->remake = n->cached != n->durable || (n->durable != NULL && n->durable->differs);
        point(&n->cached, n->durable);
    }
    for (disk_file *f = d->files; f != NULL; f = f->next) {
        if (f->differs) image_copy(&f->cached, &f->durable);
        f->differs = false;
    }
}

void disk_power_cut(uint64_t seed, disk_cut kind) {
    for (disk_file *f = d->files; f != NULL; f = f->next)
        if (!f->folder && f->first != NULL) file_survives(f, seed, kind);
    folder_survives("", seed, kind);
    for (const name *n = d->names; n != NULL; n = n->next)
        if (n->cached != NULL && n->cached->folder)
            folder_survives(n->text, fault_mix(seed, n->cached->id), kind);
    take_durable();
}

void disk_each_name(disk_name *each, void *ctx) {
    for (const name *n = d->names; n != NULL; n = n->next) each(ctx, n->text, n->cached, n->remake);
}

void disk_restored(void) {
    for (name *n = d->names; n != NULL; n = n->next) n->remake = false;
}

void disk_each_page(const disk_file *f, disk_page *each, void *ctx) {
    for (uint64_t i = 0; i < f->cached.cap && i * FAULT_PAGE < f->cached.size; i++) {
        const uint64_t left = f->cached.size - i * FAULT_PAGE;
        if (f->cached.pages[i] != NULL)
            each(ctx, i * FAULT_PAGE, f->cached.pages[i], left < FAULT_PAGE ? left : FAULT_PAGE);
    }
}

void disk_all_durable(void) {
    for (disk_file *f = d->files; f != NULL; f = f->next)
        if (!f->folder) disk_sync(f);
    settle_folder("", UINT64_MAX, false);
    for (const name *n = d->names; n != NULL; n = n->next)
        if (n->cached != NULL && n->cached->folder) settle_folder(n->text, UINT64_MAX, false);
}

uint64_t disk_digest(void) {
    uint64_t sum = 0;
    for (const name *n = d->names; n != NULL; n = n->next) {
        const bool of_rows = in_folder(n->text, "rows") && strstr(n->text, ".log") == NULL;
        const bool of_others = of_rows || strcmp(n->text, "CLOSED") == 0; /* which describes rows */
        if (n->durable == NULL || of_others || strcmp(n->text, "LOCK") == 0) continue;
        uint64_t h = n->durable->durable.size;
        for (const char *c = n->text; *c; c++) h = fault_mix(h, (uint64_t)*c);
        for (uint64_t i = 0; i < n->durable->durable.cap; i++) {
            const uint8_t *p = n->durable->durable.pages[i];
            for (size_t b = 0; p != NULL && b < FAULT_PAGE; b += 8) {
                uint64_t v;
                memcpy(&v, p + b, 8);
                if (v != 0) h = fault_mix(h ^ v, i * FAULT_PAGE + b);
            }
        }
        sum += h; /* in any order */
    }
    return sum;
}

void disk_open(void) {
    d = region_take(sizeof *d);
    d->last_link = &d->links;
    d->root = file_new(true);
    d->root->names = 1;
}
