/* A growing byte buffer with a stated maximum. After the first failure (maximum reached) the buffer
 * is `failed`, later appends do nothing, and buf_check reports it: so that a renderer can append
 * without looking and check once at the end. Memory exhaustion aborts (MUST). */
#pragma once

#include "base/arena.h"
#include "base/slice.h"

typedef struct buf {
    uint8_t *p;
    size_t len, cap, max;
    arena *arena; /* memory comes from here; NULL: malloc, freed by buf_done */
    bool failed;
    bool fixed; /* p is the caller's memory: never grows, never freed */
} buf;

void buf_init(buf *b, size_t max);
void buf_init_arena(buf *b, arena *a, size_t max);
/* Over memory of the caller's, cap bytes, that outlives it: never allocates. */
void buf_init_fixed(buf *b, void *memory, size_t cap);
void buf_done(buf *b);  /* frees (wiping nothing), leaves an empty buf */
void buf_reset(buf *b); /* empty again, memory kept, failed cleared */

uint8_t *buf_grow(buf *b, size_t n); /* the slow half of buf_reserve */
/* Room for n more bytes at the end, or NULL (failed). Follow with buf_advance. */
static inline uint8_t *buf_reserve(buf *b, size_t n) {
    if (__builtin_expect(n <= b->cap - b->len && b->p != NULL && !b->failed, 1))
        return b->p + b->len;
    return buf_grow(b, n);
}
static inline void buf_advance(buf *b, size_t n) {
    MUST(n <= b->cap - b->len);
    b->len += n;
}
/* Inline, so that a literal is one or two stores. */
static inline void buf_put(buf *b, slice s) {
    if (s.len == 0) return;
    uint8_t *p = buf_reserve(b, s.len);
    if (p == NULL) return;
    memcpy(p, s.p, s.len);
    b->len += s.len;
}
static inline void buf_byte(buf *b, uint8_t c) {
    uint8_t *p = buf_reserve(b, 1);
    if (p == NULL) return;
    *p = c;
    b->len++;
}
void buf_str(buf *b, const char *s);
void buf_u64(buf *b, uint64_t v); /* decimal */
void buf_fmt(buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline slice buf_slice(const buf *b) {
    return (slice){b->p, b->len};
}
err buf_check(const buf *b) CHECKED; /* ERR_TOO_LARGE when the maximum was passed */

/* Big-endian fixed width, and LEB128 varints. */
void buf_be16(buf *b, uint16_t v);
void buf_be32(buf *b, uint32_t v);
void buf_be64(buf *b, uint64_t v);
void buf_varint(buf *b, uint64_t v);

/* Cursors: read from the front of *s and move it on. ERR_CORRUPT when too short. */
err cur_u8(slice *s, uint8_t *ret) CHECKED;
err cur_be16(slice *s, uint16_t *ret) CHECKED;
err cur_be32(slice *s, uint32_t *ret) CHECKED;
err cur_be64(slice *s, uint64_t *ret) CHECKED;
err cur_varint(slice *s, uint64_t *ret) CHECKED;
err cur_take(slice *s, size_t n, slice *ret) CHECKED;
