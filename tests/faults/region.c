/* Memory of the model: one mapping, a bump pointer and lists of what was given back by power of two. It
 * uses no malloc, so it can be called from any call of libc, and its pointers hold in every process that was
 * forked from the one that made it. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "faults.h"

#define CLASSES 40
#define MIN_LOG 6

typedef struct region_head {
    uint8_t *end;
    size_t used;
    void *spare[CLASSES];
} region_head;

static region_head *r;

void region_open(size_t bytes, bool shared) {
    r = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
             (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r == MAP_FAILED) abort();
    r->end = (uint8_t *)r + bytes;
    r->used = (sizeof *r + 63) & ~(size_t)63;
}

static unsigned class_of(size_t n) {
    unsigned c = MIN_LOG;
    while (((size_t)1 << c) < n) c++;
    return c;
}

void *region_take(size_t n) {
    const unsigned c = class_of(n);
    void *p = r->spare[c];
    if (p != NULL) {
        memcpy(&r->spare[c], p, sizeof p);
        memset(p, 0, n);
        return p;
    }
    p = (uint8_t *)r + r->used;
    r->used += (size_t)1 << c;
    if ((uint8_t *)r + r->used > r->end) abort();
    memset(p, 0, n); /* after region_load it is not */
    return p;
}

void region_give(void *p, size_t n) {
    if (p == NULL) return;
    const unsigned c = class_of(n);
    memcpy(p, &r->spare[c], sizeof p);
    r->spare[c] = p;
}

size_t region_used(void) {
    return r->used;
}

void region_save(void *to) {
    memcpy(to, r, r->used);
}

void region_load(const void *from, size_t n) {
    memcpy(r, from, n);
}
