/* Memory for keys that live long: never in core dumps, locked against swapping as far as the system's limit
 * goes, wiped when it is given back.
 *
 * Regions of REGION bytes at multiples of it, each cut into slots of one size; free slots of a size are
 * chained through themselves. Regions are never given back: what is held at once is bounded by those who hold
 * keys (the store's caches), and a region that stays is one that stays locked.
 *
 * What holds
 *  1. A free slot is all zeros but for the link at its beginning.
 *  2. A region's first slot is its head; no other slot holds anything but secrets and links. */
#include "crypto/crypto.h"

#include <pthread.h>
#include <sys/mman.h>

#define REGION ((size_t)64 << 10)

typedef struct region {
    size_t slot; /* bytes of each */
} region;
typedef struct free_slot {
    struct free_slot *next;
} free_slot;

/* Two keys, and what an account has. */
static const size_t sizes[] = {64, CRYPTO_SECRET_MAX};

static struct {
    pthread_mutex_t lock;
    free_slot *free[ARRAY_LEN(sizes)];
    crypto_secret_stats stats;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t class_of(size_t n) {
    MUST(n > 0 && n <= CRYPTO_SECRET_MAX);
    size_t c = 0;
    while (sizes[c] < n) c++;
    return c;
}

/* REGION bytes at a multiple of it: of twice as many, what lies around is given back. */
static uint8_t *map_region(void) {
    uint8_t *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED);
    const size_t before = (REGION - (uintptr_t)p % REGION) % REGION;
    if (before > 0) MUST(munmap(p, before) == 0);
    MUST(munmap(p + before + REGION, REGION - before) == 0);
    return p + before;
}

static void add_region_locked(size_t class) {
    uint8_t *p = map_region();
    MUST(madvise(p, REGION, MADV_DONTDUMP) == 0);
    const bool locked = mlock(p, REGION) == 0;
    all.stats.mapped_bytes += REGION;
    if (locked) all.stats.locked_bytes += REGION;
    *(region *)(void *)p = (region){.slot = sizes[class]};
    for (size_t at = REGION - sizes[class]; at >= sizes[class]; at -= sizes[class]) {
        free_slot *f = (free_slot *)(void *)(p + at);
        f->next = all.free[class];
        all.free[class] = f;
    }
}

void *crypto_secret_new(size_t n) {
    const size_t class = class_of(n);
    MUST(pthread_mutex_lock(&all.lock) == 0);
    if (all.free[class] == NULL) add_region_locked(class);
    free_slot *f = all.free[class];
    all.free[class] = f->next;
    all.stats.used++;
    MUST(pthread_mutex_unlock(&all.lock) == 0);
    f->next = NULL;
    return f;
}

void *crypto_secret_free(void *p) {
    if (p == NULL) return NULL;
    const region *r = (const region *)((uintptr_t)p & ~(uintptr_t)(REGION - 1));
    crypto_wipe(p, r->slot);
    const size_t class = class_of(r->slot);
    free_slot *f = p;
    MUST(pthread_mutex_lock(&all.lock) == 0);
    f->next = all.free[class];
    all.free[class] = f;
    all.stats.used--;
    MUST(pthread_mutex_unlock(&all.lock) == 0);
    return NULL;
}

void crypto_secret_get_stats(crypto_secret_stats *ret) {
    MUST(pthread_mutex_lock(&all.lock) == 0);
    *ret = all.stats;
    MUST(pthread_mutex_unlock(&all.lock) == 0);
}
