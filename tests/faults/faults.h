/* A disk that loses what was not synced, below everything that writes to a data folder.
 *
 * How it comes below: calls.c defines libc's file calls (open, pwrite, fdatasync, renameat, …). Linked
 * into an executable, or preloaded into one, these take the place of libc's for the program itself and for
 * every library it loads, RocksDB among them, since Debian's RocksDB offers no other way in from C. What
 * concerns files under one root is told to a model of a disk (disk.c); all else goes to the kernel.
 *
 * The real files are the page cache: what the program reads is what it wrote. The model holds what a
 * power cut would leave: durable bytes, and the operations that are yet to be synced. On a power cut some of
 * those survive, sector by sector, as the seed says, and the real files are made alike.
 *
 *   write, ftruncate, …   real files at once; the model's pending list
 *   fsync, fdatasync      the pending list becomes durable (nothing is asked of the real disk)
 *   a failed sync         some of the list becomes durable, the rest is clean and lost: it is read
 *                         until the power goes, and no later sync brings it to the disk
 *   create, rename, …     pending in their folder until that is synced
 *   power cut             of each file every sector keeps some moment of its history since the last sync;
 *                         of each folder a beginning of its operations stands
 *
 * Everything stands in one region of memory (region.c), which processes may share: so a child can die
 * at any call, and its parent knows what was on the disk.
 *
 * Not modelled: bytes written through mmap, and streams of stdio whose writes libc makes itself
 * (RocksDB's text log, which is left alone). Sectors are written whole or not at all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FAULT_PATH_MAX 256u
#define FAULT_SECTOR   512u
#define FAULT_PAGE     4096u

/* ---- region.c: memory, at the same place in all who share it ---- */
void region_open(size_t bytes, bool shared); /* reserved, not used, until it is */
void *region_take(size_t n);                 /* zeroed; aborts at the end of the region */
void region_give(void *p, size_t n);
size_t region_used(void);
void region_save(void *to);                   /* region_used() bytes */
void region_load(const void *from, size_t n); /* the region as it was */

/* ---- disk.c: what is on the disk, and what is on its way there ---- */
typedef struct disk_file disk_file;

typedef enum disk_cut {
    CUT_NONE,    /* nothing that was not synced survives */
    CUT_ALL,     /* all does */
    CUT_PREFIX,  /* of each file a beginning of its operations */
    CUT_SECTORS, /* of each sector its own moment */
    CUT_PAGES,   /* the same by pages of 4 KiB */
    CUT_SOME,    /* any subset of operations */
    CUT_KINDS
} disk_cut;

void disk_open(void); /* empty; in the region */
/* Files with this in their name, made from now on: of what is not synced a beginning survives, as on file
 * systems that write data before they lengthen a file. */
void disk_in_order(const char *match);
/* Names are relative to the root: "" is the root, "rows/CURRENT" a file of a folder of it. */
disk_file *disk_find(const char *name);
disk_file *disk_make(const char *name, bool folder);
void disk_unlink(const char *name);
void disk_rename(const char *from, const char *to);
void disk_link(const char *from, const char *to);
bool disk_is_folder(const disk_file *f);
uint64_t disk_size(const disk_file *f);
void disk_write(disk_file *f, uint64_t at, const void *p, size_t n);
void disk_truncate(disk_file *f, uint64_t size);
void disk_punch(disk_file *f, uint64_t at, uint64_t n);
void disk_sync(disk_file *f);
void disk_sync_failed(disk_file *f, uint64_t seed);
uint64_t disk_unsynced(void); /* bytes on their way */
/* The model becomes what survived, as read and as durable. disk_restore makes the real files alike. */
void disk_power_cut(uint64_t seed, disk_cut kind);
void disk_all_durable(void);
/* Each name there ever was: the file it leads to, or NULL; remake: the real one is another, since a
 * power cut, until disk_restored. */
typedef void disk_name(void *ctx, const char *text, const disk_file *f, bool remake);
void disk_each_name(disk_name *each, void *ctx);
void disk_restored(void);
typedef void disk_page(void *ctx, uint64_t at, const uint8_t *p, size_t n);
void disk_each_page(const disk_file *f, disk_page *each, void *ctx); /* that is not zeros */
/* ---- files.c: between the model and the real files under a root ---- */
void disk_restore(const char *root, bool all); /* all: also those that did not change */
void disk_load(const char *root); /* what is there now, as durable; the model is empty */
/* Of all that is durable but RocksDB's tables and manifests, in which it writes times and UUIDs, and LOCK, which
 * names a process. */
uint64_t disk_digest(void);

/* ---- calls.c: the calls, and what is to happen to them ---- */
enum {
    FAULT_OPEN = 1 << 0, /* that makes a file */
    FAULT_WRITE = 1 << 1,
    FAULT_SYNC = 1 << 2,
    FAULT_TRUNCATE = 1 << 3,
    FAULT_ALLOCATE = 1 << 4,
    FAULT_PUNCH = 1 << 5,
    FAULT_RENAME = 1 << 6,
    FAULT_UNLINK = 1 << 7,
    FAULT_MKDIR = 1 << 8,
    FAULT_READ = 1 << 9,
};
#define FAULT_CHANGES 0x1ffu
#define FAULT_RULES   4
/* In place of an errno: the write is cut short, as the kernel may. */
#define FAULT_SHORT 4095

typedef struct fault_rule {
    uint64_t countdown; /* the how-manieth matching call fails; 0: none */
    uint32_t calls;     /* FAULT_… */
    int32_t error;      /* an errno, or FAULT_SHORT */
    uint32_t sticky;    /* and all after it */
    char match[44];     /* a part of the name; empty: any */
} fault_rule;

/* In memory that others may map: tests/faults/preload.c says how. All numbers are the machine's. */
typedef struct fault_plan {
    uint32_t magic;
    uint32_t cut_now; /* 1: the power goes at once */
    uint64_t seed;
    uint64_t cut_at; /* the how-manieth changing call it goes at; 0: never */
    uint32_t cut_kind;
    uint32_t
        lie; /* a planted fault for tests of this layer: syncs of names with `lie_about` do nothing */
    char lie_about[48];
    uint32_t tell; /* 1: each call, on standard error */
    /* 1: ENOSPC of a sync is answered as EIO, where this layer stands in place of engine/local/nospace.c */
    uint32_t no_space_is_io;
    fault_rule rules[FAULT_RULES];
    /* What has happened: */
    uint64_t calls, changes, syncs, injected, cuts, unsynced;
    uint32_t is_cut; /* the power is gone: the process ends */
} fault_plan;
#define FAULT_MAGIC 0x46415554u

/* From here on calls under root are seen. at_cut runs where the power goes, under the lock, and does
 * not return. */
void faults_begin(const char *root, fault_plan *plan, void (*at_cut)(void));
void faults_end(void);
bool fault_left_alone(const char *text); /* RocksDB's log for people, which is written by stdio */
/* Under the lock: no call is half done. NULL: leaves at once, as kill -9 does. */
void faults_stop_here(void (*fn)(void));
/* Reproducible numbers. */
uint64_t fault_mix(uint64_t a, uint64_t b);
static inline void fault_copy(char out[FAULT_PATH_MAX], const char *text) {
    const size_t n = strnlen(text, FAULT_PATH_MAX - 1);
    memcpy(out, text, n);
    out[n] = 0;
}
