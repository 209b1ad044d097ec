/* A slice: pointer and length, passed by value, owned by someone else. Not NUL-terminated. */
#pragma once

#include <string.h>

#include "base/err.h"

typedef struct slice {
    const uint8_t *p;
    size_t len;
} slice;

/* One name and one value: a header, a query parameter, a metadata pair. */
typedef struct pair {
    slice name;
    slice value;
} pair;

#define S(literal) ((slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define SLICE_NONE ((slice){NULL, 0})
/* For printf: "%.*s" with SLICE_ARG(s). */
#define SLICE_ARG(s) (int)(s).len, (const char *)(s).p

static inline slice slice_of(const void *p, size_t len) {
    return (slice){p, len};
}
static inline slice slice_str(const char *s) {
    return s ? (slice){(const uint8_t *)s, strlen(s)} : SLICE_NONE;
}
static inline bool slice_empty(slice s) {
    return s.len == 0;
}
static inline bool slice_eq(slice a, slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
static inline bool slice_starts(slice s, slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}
static inline slice slice_skip(slice s, size_t n) {
    return n >= s.len ? (slice){s.p + s.len, 0} : (slice){s.p + n, s.len - n};
}
static inline slice slice_take(slice s, size_t n) {
    return (slice){s.p, n < s.len ? n : s.len};
}

bool slice_eq_nocase(slice a, slice b); /* ASCII case folding only */
bool slice_starts_nocase(slice s, slice prefix);
bool slice_ends(slice s, slice suffix);
int slice_cmp(slice a, slice b); /* bytewise, shorter first */
slice slice_trim(slice s);       /* without leading and trailing SP and HTAB */
/* Index of the first c at or after `from`, or s.len. */
size_t slice_find(slice s, size_t from, uint8_t c);
/* Index of the first occurrence of needle at or after `from`, or s.len. */
size_t slice_find_slice(slice s, size_t from, slice needle);
/* Splits off what stands before the next sep; false when *rest is exhausted (rest->p == NULL).
 * Start with *rest = the whole; an empty whole yields one empty part. */
bool slice_split(slice *rest, uint8_t sep, slice *ret_part);
/* Equal in time that depends on the lengths only. For signatures and other secrets. */
bool slice_eq_secret(slice a, slice b);
uint64_t slice_hash(slice s); /* non-cryptographic, seeded per process (table use only) */

/* Decimal, digits only, no sign, no leading '+', at most 20 digits. ERR_INVALID_NUMBER otherwise.
 */
err slice_u64(slice s, uint64_t *ret) CHECKED;
/* The first max bytes of text, or less where that would cut a character of UTF-8. */
slice slice_take_utf8(slice s, size_t max);
/* Nothing but ASCII letters, digits, '.', '_' and '-'. */
bool slice_is_code(slice s);
bool slice_utf8_valid(slice s); /* RFC 3629: no surrogates, no over-long forms, <= U+10FFFF */
