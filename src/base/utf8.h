/* One UTF-8 character at a time (RFC 3629): no surrogates, no over-long forms, <= U+10FFFF.
 * Private to base/. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline int utf8_is_tail(uint8_t c) {
    return (c & 0xC0) == 0x80;
}

/* The length of the character at p (p < end), or 0 when it is not valid. */
static inline size_t utf8_len(const uint8_t *p, const uint8_t *end) {
    uint8_t c = p[0];
    size_t room = (size_t)(end - p);
    if (c < 0x80) return 1;
    if (c < 0xC2) return 0;
    if (c < 0xE0) return room >= 2 && utf8_is_tail(p[1]) ? 2 : 0;
    if (c < 0xF0) {
        if (room < 3 || !utf8_is_tail(p[1]) || !utf8_is_tail(p[2])) return 0;
        if (c == 0xE0 && p[1] < 0xA0) return 0;  /* over-long */
        if (c == 0xED && p[1] >= 0xA0) return 0; /* surrogate */
        return 3;
    }
    if (c > 0xF4 || room < 4) return 0;
    if (!utf8_is_tail(p[1]) || !utf8_is_tail(p[2]) || !utf8_is_tail(p[3])) return 0;
    if (c == 0xF0 && p[1] < 0x90) return 0;  /* over-long */
    if (c == 0xF4 && p[1] >= 0x90) return 0; /* above U+10FFFF */
    return 4;
}

/* The length of p[0..len) without a character that was cut off at its end. */
static inline size_t utf8_cut(const uint8_t *p, size_t len) {
    size_t at = len;
    while (at > 0 && len - at < 3 && utf8_is_tail(p[at - 1])) at--;
    if (at == 0) return len;
    uint8_t lead = p[at - 1];
    size_t whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return len - (at - 1) < whole ? at - 1 : len;
}
