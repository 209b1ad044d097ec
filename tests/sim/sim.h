/* A seeded simulator: random operations of clients on a store, on a disk that fails and loses power.
 *
 *   world.c    what the store must hold: a model of a few blobs, and the operations that change it
 *   observe.c  whether a store holds that
 *   life.c     one life of a program: opens the folder, looks, works, ends
 *   main.c     seeds: lives one after another in processes of their own, power cuts, the last check
 *
 * Rules. An operation that was acknowledged is in the world. One that ended with an error, or whose
 * answer never came, is whole in it, with its entry in the record, or not at all; which, is found out when the folder is opened again, and
 * then it stays so. One that was refused while the engine goes on changed nothing.
 *
 * At the end rows that follow from others are spoiled, and `check --repair` must make them again.
 *
 * A seed replays exactly: one thread drives, the engine is quiet (engine/local/private.h), the clock and
 * chance come from the seed. RocksDB's own threads write tables on their own time where they are asked to
 * (flush), and remove files; so of every seed's lives the calls are counted, and `--twice` shows that they
 * are the same. One seed in eight (busy) runs the engine's and RocksDB's threads as in production, with a
 * small write buffer; such a seed repeats its operations and its faults, not the order of threads. */
#pragma once

#include "store_test.h"

#include "../faults/faults.h"
#include "engine/local/local.h"
#include "engine/local/private.h"

#define SIM_BLOBS  5
#define SIM_IDS    4
#define SIM_PIECES 8 /* of a content; pages of a page blob */
#define SIM_PAST   10

typedef struct piece {
    uint64_t seed; /* of a page: 0, zeros */
    uint32_t len;
    int32_t id; /* of the block; -1: none */
} piece;

typedef enum sim_kind { SIM_NONE, SIM_WHOLE, SIM_LIST, SIM_APPEND, SIM_PAGES } sim_kind;

typedef struct sim_state {
    sim_kind kind;
    uint32_t count;
    piece pieces[SIM_PIECES];
    uint64_t meta, tag;           /* 0: none */
    uint32_t scope;               /* its encryption scope's number; 0: none */
    bool snapshot, base, deleted; /* of the past; neither snapshot nor base: a version */
} sim_state;

typedef struct sim_blob {
    sim_state now;
    uint64_t lease; /* 0: none */
    piece staged[SIM_IDS];
    uint32_t staged_scope; /* of all of them */
    uint32_t past_count;
    sim_state past[SIM_PAST];
} sim_blob;

/* Encryption scopes, one behind the other in a slot: a new one comes when the last is destroyed. */
#define SIM_SCOPES 2
typedef struct sim_scope {
    uint32_t number; /* 0: there was none yet */
    store_scope_state state;
} sim_scope;

typedef struct world {
    sim_blob blobs[SIM_BLOBS];
    bool side; /* a second container, with one blob or none in it */
    piece side_blob;
    sim_scope scopes[SIM_SCOPES];
    uint32_t scope_count;           /* numbers given */
    uint64_t entries, entries_hash; /* of the record: one of each operation, in their order */
} world;

typedef enum life_end { LIFE_CLOSE, LIFE_KILL } life_end;

/* Shared by the process that watches and those that live. */
typedef struct sim {
    uint64_t seed;
    rng random;                          /* of operations */
    bool versioning, soft, busy, scoped; /* scoped: with encryption scopes */
    world now, next;
    bool in_flight; /* next may have been done */
    uint64_t content_seed, entry;
    atomic_llong clock_us;
    atomic_ullong chance;
    /* of this life */
    fault_rule rules[FAULT_RULES]; /* armed once it has looked, or at once */
    bool rules_at_once, calm;      /* calm: no faults, the last look */
    int steps;
    life_end end;
    /* what has happened */
    uint64_t operations, acknowledged, refused, readonly, spoiled;
    uint64_t digest; /* of the outcomes of operations, and of when they were */
    char doing[200], failure[1000];
} sim;

extern sim *S_;           /* the one */
extern const char *root_; /* the data folder */
extern fault_plan *plan_;
extern bool trace_;

#define SAY(...)                                                                                   \
    do {                                                                                           \
        if (trace_) fprintf(stderr, "    " __VA_ARGS__);                                           \
    } while (0)

/* Exit statuses of a life. */
enum { LIFE_ENDED = 0, LIFE_FAILED = 99, LIFE_STOPPED = 98, LIFE_CUT = 97, LIFE_KILLED = 137 };

_Noreturn void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- world.c ---- */
void world_init(world *w);
slice sim_name(size_t i);
slice sim_content(arena *a, const sim_state *s);
bool world_side_content(const world *w, arena *a, slice *ret);
slice sim_scope_name(arena *a, uint32_t number); /* 0: none */
/* What is under the scope can be read and changed. */
bool sim_scope_usable(const world *w, uint32_t number);
slice sim_lease(arena *a, uint64_t lease); /* 0: none */
/* One operation: the model's next, then the store. OK also when there was nothing to do. */
err sim_step(fixture *f);

/* ---- observe.c ---- */
/* Compares all that the store shows with a world. False: why says where. ERR: it could not be read. */
err sim_observe(fixture *f, const world *w, bool *ret_same, char why[500]);

/* ---- life.c ---- */
_Noreturn void
sim_make(void); /* a folder with an account and a container, on a disk without faults */
/* The same with faults. What a power cut left of an earlier try is taken up. */
_Noreturn void sim_be_born(void);
_Noreturn void sim_live(void);
