/* Binary as text: base64, hexadecimal, percent-encoding. */
#include "base/base.h"

static const char alphabet64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet64url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#define BAD 0xFF

static uint8_t value64[256], value64url[256], value16[256];
static char pair16[256][2];
static bool unreserved[256]; /* RFC 3986 2.3 */

__attribute__((constructor)) static void prepare(void) {
    static const char digits[] = "0123456789abcdef", upper[] = "ABCDEF";
    memset(value64, BAD, sizeof(value64));
    memset(value64url, BAD, sizeof(value64url));
    memset(value16, BAD, sizeof(value16));
    for (uint8_t i = 0; i < 64; i++) {
        value64[(uint8_t)alphabet64[i]] = i;
        value64url[(uint8_t)alphabet64url[i]] = i;
        unreserved[(uint8_t)alphabet64url[i]] = true;
    }
    for (uint8_t i = 0; i < 16; i++) value16[(uint8_t)digits[i]] = i;
    for (uint8_t i = 0; i < 6; i++) value16[(uint8_t)upper[i]] = i + 10;
    unreserved['.'] = unreserved['~'] = true;
    for (unsigned i = 0; i < 256; i++) {
        pair16[i][0] = digits[i >> 4];
        pair16[i][1] = digits[i & 15];
    }
}

/* --- base64 -------------------------------------------------------------------------------- */

static void put64(buf *b, slice in, const char *alphabet, bool pad) {
    if (in.len > SIZE_MAX / 2) {
        b->failed = true;
        return;
    }
    size_t whole = in.len / 3, rest = in.len % 3;
    size_t tail = rest == 0 ? 0 : pad ? 4 : rest + 1;
    uint8_t *out = buf_reserve(b, whole * 4 + tail);
    if (out == NULL) return;
    const uint8_t *p = in.p;
    for (size_t i = 0; i < whole; i++, p += 3, out += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        out[0] = (uint8_t)alphabet[v >> 18];
        out[1] = (uint8_t)alphabet[v >> 12 & 63];
        out[2] = (uint8_t)alphabet[v >> 6 & 63];
        out[3] = (uint8_t)alphabet[v & 63];
    }
    if (rest > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (rest == 2 ? (uint32_t)p[1] << 8 : 0);
        out[0] = (uint8_t)alphabet[v >> 18];
        out[1] = (uint8_t)alphabet[v >> 12 & 63];
        if (rest == 2) out[2] = (uint8_t)alphabet[v >> 6 & 63];
        if (pad) memset(out + rest + 1, '=', 3 - rest);
    }
    buf_advance(b, whole * 4 + tail);
}

void base64_put(buf *b, slice in) {
    put64(b, in, alphabet64, true);
}

void base64url_put(buf *b, slice in) {
    put64(b, in, alphabet64url, false);
}

/* in: without padding. */
static err get64(arena *a, slice in, const uint8_t *value, slice *ret) {
    size_t whole = in.len / 4, rest = in.len % 4;
    ENSURE(rest != 1, ERR_INVALID_ENCODING, "base64 cannot have %zu characters", in.len);
    size_t len = whole * 3 + (rest ? rest - 1 : 0);
    uint8_t *out = arena_try(a, len), *to = out;
    ENSURE(out != NULL, ERR_NO_MEMORY, "no room for %zu bytes of base64", len);
    const uint8_t *p = in.p;
    uint8_t seen = 0; /* BAD has the top bit, values do not */
    for (size_t i = 0; i < whole; i++, p += 4, to += 3) {
        uint8_t c0 = value[p[0]], c1 = value[p[1]], c2 = value[p[2]], c3 = value[p[3]];
        seen |= c0 | c1 | c2 | c3;
        to[0] = (uint8_t)(c0 << 2 | c1 >> 4);
        to[1] = (uint8_t)(c1 << 4 | c2 >> 2);
        to[2] = (uint8_t)(c2 << 6 | c3);
    }
    if (rest > 0) {
        uint8_t c0 = value[p[0]], c1 = value[p[1]], c2 = rest == 3 ? value[p[2]] : 0;
        seen |= c0 | c1 | c2;
        to[0] = (uint8_t)(c0 << 2 | c1 >> 4);
        if (rest == 3) to[1] = (uint8_t)(c1 << 4 | c2 >> 2);
        uint8_t stray = rest == 3 ? c2 & 3 : c1 & 15;
        ENSURE(stray == 0 || seen >= 0x80, ERR_INVALID_ENCODING, "base64 ends with stray bits");
    }
    ENSURE(seen < 0x80, ERR_INVALID_ENCODING, "a character is not of the base64 alphabet");
    *ret = (slice){out, len};
    return OK;
}

err base64_get(arena *a, slice in, slice *ret) {
    ENSURE(in.len % 4 == 0, ERR_INVALID_ENCODING,
           "base64 has a multiple of four characters, not %zu", in.len);
    for (int i = 0; i < 2 && in.len > 0 && in.p[in.len - 1] == '='; i++) in.len--;
    return get64(a, in, value64, ret);
}

err base64url_get(arena *a, slice in, slice *ret) {
    return get64(a, in, value64url, ret);
}

/* --- hexadecimal --------------------------------------------------------------------------- */

void hex_put(buf *b, slice in) {
    if (in.len > SIZE_MAX / 2) {
        b->failed = true;
        return;
    }
    uint8_t *out = buf_reserve(b, in.len * 2);
    if (out == NULL) return;
    for (size_t i = 0; i < in.len; i++) memcpy(out + i * 2, pair16[in.p[i]], 2);
    buf_advance(b, in.len * 2);
}

err hex_get(arena *a, slice in, slice *ret) {
    ENSURE(in.len % 2 == 0, ERR_INVALID_ENCODING, "hexadecimal has an even number of digits");
    size_t len = in.len / 2;
    uint8_t *out = arena_try(a, len);
    ENSURE(out != NULL, ERR_NO_MEMORY, "no room for %zu bytes of hexadecimal", len);
    uint8_t seen = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t high = value16[in.p[i * 2]], low = value16[in.p[i * 2 + 1]];
        seen |= high | low;
        out[i] = (uint8_t)(high << 4 | low);
    }
    ENSURE(seen < 0x80, ERR_INVALID_ENCODING, "a character is not a hexadecimal digit");
    *ret = (slice){out, len};
    return OK;
}

err hex64_get(slice in, uint64_t *ret) {
    uint64_t v = 0;
    ENSURE(in.len == 16, ERR_INVALID_ENCODING, "a number has 16 hexadecimal digits");
    for (size_t i = 0; i < in.len; i++) {
        const uint8_t c = in.p[i];
        const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        ENSURE(digit || letter, ERR_INVALID_ENCODING, "a character is not a hexadecimal digit");
        v = v << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    *ret = v;
    return OK;
}

/* --- percent-encoding ---------------------------------------------------------------------- */

err percent_get(arena *a, slice in, bool plus_is_space, slice *ret) {
    uint8_t *out = arena_try(a, in.len), *to = out;
    ENSURE(out != NULL, ERR_NO_MEMORY, "no room for %zu bytes", in.len);
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.p[i];
        if (c == '%') {
            ENSURE(in.len - i > 2, ERR_INVALID_ENCODING, "a %% ends the text");
            uint8_t high = value16[in.p[i + 1]], low = value16[in.p[i + 2]];
            ENSURE((high | low) < 0x80, ERR_INVALID_ENCODING,
                   "a %% without two hexadecimal digits");
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        *to++ = c;
    }
    *ret = (slice){out, (size_t)(to - out)};
    return OK;
}

void percent_put(buf *b, slice in, const char *keep) {
    bool plain[256];
    memcpy(plain, unreserved, sizeof(plain));
    for (; keep != NULL && *keep; keep++) plain[(uint8_t)*keep] = true;
    static const char upper[] = "0123456789ABCDEF";
    const uint8_t *p = in.p, *end = in.p + in.len;
    while (p < end) {
        const uint8_t *run = p;
        while (p < end && plain[*p]) p++;
        buf_put(b, slice_of(run, (size_t)(p - run)));
        for (; p < end && !plain[*p]; p++) {
            uint8_t *out = buf_reserve(b, 3);
            if (out == NULL) return;
            out[0] = '%';
            out[1] = (uint8_t)upper[*p >> 4];
            out[2] = (uint8_t)upper[*p & 15];
            buf_advance(b, 3);
        }
    }
}
