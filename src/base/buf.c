/* Growing buffers, fixed-width integers and varints, and the cursors that read them back.
 *
 * Invariants: len <= cap <= max; a buffer that failed stays as it was
 * at the failure. */
#include <stdarg.h>

#include "base/base.h"

#define FIRST_CAP 256

void buf_init(buf *b, size_t max) {
    *b = (buf){.max = max};
}

void buf_init_arena(buf *b, arena *a, size_t max) {
    *b = (buf){.max = max, .arena = a};
}

void buf_init_fixed(buf *b, void *memory, size_t cap) {
    *b = (buf){.p = memory, .cap = cap, .max = cap, .fixed = true};
}

void buf_done(buf *b) {
    if (b == NULL) return;
    if (b->arena == NULL && !b->fixed) free(b->p);
    *b = (buf){.max = b->fixed ? 0 : b->max, .arena = b->arena};
}

void buf_reset(buf *b) {
    b->len = 0;
    b->failed = false;
}

uint8_t *buf_grow(buf *b, size_t n) {
    if (b->failed || b->fixed || b->len > b->max || n > b->max - b->len) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->len + n;
    size_t cap = b->cap > SIZE_MAX / 2 ? need : b->cap * 2;
    if (cap < FIRST_CAP) cap = FIRST_CAP;
    if (cap < need) cap = need;
    if (cap > b->max) cap = b->max;
    /* One byte for an empty buffer that may hold none: NULL means failure. */
    size_t bytes = cap > 0 ? cap : 1;
    uint8_t *p;
    if (b->arena) {
        p = arena_grow_try(b->arena, b->p, b->cap, bytes);
        if (p == NULL) {
            b->failed = true;
            return NULL;
        }
    } else {
        p = realloc(b->p, bytes);
        MUST(p != NULL);
    }
    b->p = p;
    b->cap = cap;
    return p + b->len;
}

void buf_str(buf *b, const char *s) {
    buf_put(b, slice_str(s));
}

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233"
    "34353637383940414243444546474849505152535455565758596061626364656667"
    "6869707172737475767778798081828384858687888990919293949596979899";

void buf_u64(buf *b, uint64_t v) {
    char text[20];
    char *p = text + sizeof(text);
    while (v >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + (v % 100) * 2, 2);
        v /= 100;
    }
    if (v >= 10) {
        p -= 2;
        memcpy(p, digit_pairs + v * 2, 2);
    } else {
        *--p = (char)('0' + v);
    }
    buf_put(b, slice_of(p, (size_t)(text + sizeof(text) - p)));
}

void buf_fmt(buf *b, const char *fmt, ...) {
    char text[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    MUST(n >= 0);
    if ((size_t)n < sizeof(text)) {
        buf_put(b, slice_of(text, (size_t)n));
    } else if (b->failed || (size_t)n > b->max - b->len) {
        b->failed = true;
    } else {
        char *large = malloc((size_t)n + 1);
        MUST(large != NULL);
        vsnprintf(large, (size_t)n + 1, fmt, again);
        buf_put(b, slice_of(large, (size_t)n));
        free(large);
    }
    va_end(again);
    va_end(args);
}

err buf_check(const buf *b) {
    ENSURE(!b->failed, ERR_TOO_LARGE, "the result is larger than the %zu bytes allowed", b->max);
    return OK;
}

void buf_be16(buf *b, uint16_t v) {
    v = __builtin_bswap16(v);
    buf_put(b, slice_of(&v, sizeof(v)));
}

void buf_be32(buf *b, uint32_t v) {
    v = __builtin_bswap32(v);
    buf_put(b, slice_of(&v, sizeof(v)));
}

void buf_be64(buf *b, uint64_t v) {
    v = __builtin_bswap64(v);
    buf_put(b, slice_of(&v, sizeof(v)));
}

void buf_varint(buf *b, uint64_t v) {
    uint8_t text[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) text[n++] = (uint8_t)(v | 0x80);
    text[n++] = (uint8_t)v;
    buf_put(b, slice_of(text, n));
}

err cur_take(slice *s, size_t n, slice *ret) {
    ENSURE(s->len >= n, ERR_CORRUPT, "%zu bytes expected, %zu left", n, s->len);
    *ret = (slice){s->p, n};
    if (n > 0) *s = (slice){s->p + n, s->len - n};
    return OK;
}

err cur_u8(slice *s, uint8_t *ret) {
    slice part;
    TRY(cur_take(s, 1, &part));
    *ret = part.p[0];
    return OK;
}

err cur_be16(slice *s, uint16_t *ret) {
    slice part;
    uint16_t v;
    TRY(cur_take(s, sizeof(v), &part));
    memcpy(&v, part.p, sizeof(v));
    *ret = __builtin_bswap16(v);
    return OK;
}

err cur_be32(slice *s, uint32_t *ret) {
    slice part;
    uint32_t v;
    TRY(cur_take(s, sizeof(v), &part));
    memcpy(&v, part.p, sizeof(v));
    *ret = __builtin_bswap32(v);
    return OK;
}

err cur_be64(slice *s, uint64_t *ret) {
    slice part;
    uint64_t v;
    TRY(cur_take(s, sizeof(v), &part));
    memcpy(&v, part.p, sizeof(v));
    *ret = __builtin_bswap64(v);
    return OK;
}

/* One way only to write each number: a varint with needless bytes is damage. */
err cur_varint(slice *s, uint64_t *ret) {
    uint64_t v = 0;
    size_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        ENSURE(n < s->len, ERR_CORRUPT, "a number ends after %zu bytes", n);
        uint8_t c = s->p[n++];
        ENSURE(shift < 63 || c <= 1, ERR_CORRUPT, "a number has more than 64 bits");
        v |= (uint64_t)(c & 0x7F) << shift;
        if (c >= 0x80) continue;
        ENSURE(c != 0 || n == 1, ERR_CORRUPT, "a number has needless bytes");
        break;
    }
    *s = (slice){s->p + n, s->len - n};
    *ret = v;
    return OK;
}
