/* Arenas.
 *
 * Invariants: blocks form a list, newest first, that ends with `first`, which is part of the
 * arena's own allocation; `cur` is the block that small allocations come from; every pointer handed
 * out is 16-byte aligned; used <= max when there is a maximum. */
#include <stdarg.h>

#include "base/base.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN       ((size_t)16)
#define BLOCK_MIN   ((size_t)4096)
#define BLOCK_MAX   ((size_t)256 << 10)
#define ARENA_MAGIC 0xA7E4A001u

typedef struct block {
    struct block *older;
    size_t cap, len;
    _Alignas(16) uint8_t data[];
} block;

struct arena {
    uint32_t magic;
    size_t used, max, next_cap;
    block *newest, *cur;
    _Alignas(16) block first;
};

static inline size_t round_up(size_t n) {
    return (n + (ALIGN - 1)) & ~(ALIGN - 1);
}

arena *arena_new(size_t first_block, size_t max) {
    MUST(first_block <= SIZE_MAX / 4 && max <= SIZE_MAX / 4);
    size_t cap = round_up(first_block);
    arena *a = malloc(sizeof(*a) + cap);
    MUST(a != NULL);
    *a = (arena){.magic = ARENA_MAGIC, .max = round_up(max)};
    a->next_cap = cap * 2 < BLOCK_MIN ? BLOCK_MIN : cap * 2 > BLOCK_MAX ? BLOCK_MAX : cap * 2;
    a->first.cap = cap;
    a->newest = a->cur = &a->first;
    POISON(a->first.data, cap);
    return a;
}

static void free_blocks(arena *a) {
    while (a->newest != &a->first) {
        block *older = a->newest->older;
        UNPOISON(a->newest->data, a->newest->cap);
        free(a->newest);
        a->newest = older;
    }
}

arena *arena_free(arena *a) {
    if (a == NULL) return NULL;
    MUST(a->magic == ARENA_MAGIC);
    free_blocks(a);
    UNPOISON(a->first.data, a->first.cap);
    a->magic = 0;
    free(a);
    return NULL;
}

void arena_reset(arena *a) {
    MUST(a->magic == ARENA_MAGIC);
    free_blocks(a);
    a->cur = &a->first;
    a->first.len = 0;
    a->used = 0;
    POISON(a->first.data, a->first.cap);
}

static block *add_block(arena *a, size_t cap) {
    block *k = malloc(sizeof(block) + cap);
    MUST(k != NULL);
    *k = (block){.older = a->newest, .cap = cap};
    a->newest = k;
    POISON(k->data, cap);
    return k;
}

/* A block of its own for what is large beside a block, so that the rest of `cur` is not lost. */
static __attribute__((noinline)) block *block_for(arena *a, size_t n) {
    if (n > a->next_cap / 4) return add_block(a, n);
    a->cur = add_block(a, a->next_cap);
    if (a->next_cap < BLOCK_MAX) a->next_cap *= 2;
    return a->cur;
}

void *arena_try(arena *a, size_t n) {
    MUST(a->magic == ARENA_MAGIC);
    if (n > SIZE_MAX / 4) return NULL;
    size_t rounded = n == 0 ? ALIGN : round_up(n);
    if (a->max != 0 && rounded > a->max - a->used) return NULL;
    block *k = a->cur;
    if (rounded > k->cap - k->len) k = block_for(a, rounded);
    uint8_t *p = k->data + k->len;
    k->len += rounded;
    a->used += rounded;
    UNPOISON(p, n);
    return p;
}

/* The block whose last allocation is p; NULL when it is none of the two looked at. */
static block *block_ending_with(const arena *a, const uint8_t *p, size_t rounded) {
    block *look[2] = {a->cur, a->newest};
    for (size_t i = 0; i < 2; i++)
        if (look[i]->len >= rounded && look[i]->data + (look[i]->len - rounded) == p)
            return look[i];
    return NULL;
}

/* A large allocation alone in the newest block: the block itself grows. */
static uint8_t *grow_block(arena *a, size_t n) {
    block *k = a->newest;
    size_t cap = round_up(n);
    k = realloc(k, sizeof(block) + cap);
    MUST(k != NULL);
    a->used += cap - k->len;
    k->cap = k->len = cap;
    a->newest = k;
    return k->data;
}

void *arena_grow_try(arena *a, void *p, size_t old_n, size_t n) {
    MUST(a->magic == ARENA_MAGIC);
    if (p == NULL) return arena_try(a, n);
    if (n <= old_n) return p;
    if (n > SIZE_MAX / 4) return NULL;
    size_t had = old_n == 0 ? ALIGN : round_up(old_n), more = round_up(n) - had;
    block *k = block_ending_with(a, p, had);
    bool allowed = a->max == 0 || more <= a->max - a->used;
    if (k != NULL && allowed && more <= k->cap - k->len) {
        k->len += more;
        a->used += more;
        UNPOISON(p, n);
        return p;
    }
    if (k != NULL && allowed && k == a->newest && k != a->cur && k->len == had)
        return grow_block(a, n);
    void *moved = arena_try(a, n);
    if (moved != NULL && old_n > 0) memcpy(moved, p, old_n);
    return moved;
}

void *arena_alloc(arena *a, size_t n) {
    void *p = arena_try(a, n);
    MUST(p != NULL);
    return memset(p, 0, n);
}

slice arena_dup(arena *a, slice s) {
    uint8_t *p = arena_try(a, s.len);
    MUST(p != NULL);
    if (s.len > 0) memcpy(p, s.p, s.len);
    return (slice){p, s.len};
}

char *arena_cstr(arena *a, slice s) {
    char *p = arena_try(a, s.len + 1);
    MUST(p != NULL);
    if (s.len > 0) memcpy(p, s.p, s.len);
    p[s.len] = '\0';
    return p;
}

slice arena_fmt(arena *a, const char *fmt, ...) {
    char text[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    MUST(n >= 0);
    char *p = arena_try(a, (size_t)n + 1);
    MUST(p != NULL);
    if ((size_t)n < sizeof(text))
        memcpy(p, text, (size_t)n + 1);
    else
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return slice_of(p, (size_t)n);
}

size_t arena_used(const arena *a) {
    return a->used;
}
