/* Slices: comparing, searching, splitting, numbers, UTF-8. */
#include "base/base.h"
#include "base/utf8.h"

static uint64_t hash_seed[2];

__attribute__((constructor)) static void seed_hash(void) {
    random_fill(hash_seed, sizeof hash_seed);
}

static inline uint8_t lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static bool equal_nocase(const uint8_t *a, const uint8_t *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && lower(a[i]) != lower(b[i])) return false;
    return true;
}

bool slice_eq_nocase(slice a, slice b) {
    return a.len == b.len && equal_nocase(a.p, b.p, a.len);
}

bool slice_starts_nocase(slice s, slice prefix) {
    return s.len >= prefix.len && equal_nocase(s.p, prefix.p, prefix.len);
}

bool slice_ends(slice s, slice suffix) {
    if (suffix.len == 0) return true;
    return s.len >= suffix.len && memcmp(s.p + (s.len - suffix.len), suffix.p, suffix.len) == 0;
}

int slice_cmp(slice a, slice b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);
    if (c != 0) return c < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

slice slice_trim(slice s) {
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.len--;
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t')) s.len--;
    return s;
}

size_t slice_find(slice s, size_t from, uint8_t c) {
    if (from >= s.len) return s.len;
    const uint8_t *at = memchr(s.p + from, c, s.len - from);
    return at ? (size_t)(at - s.p) : s.len;
}

size_t slice_find_slice(slice s, size_t from, slice needle) {
    if (from >= s.len) return s.len;
    if (needle.len == 0) return from;
    const uint8_t *at = memmem(s.p + from, s.len - from, needle.p, needle.len);
    return at ? (size_t)(at - s.p) : s.len;
}

bool slice_split(slice *rest, uint8_t sep, slice *ret_part) {
    if (rest->p == NULL) return false;
    size_t at = slice_find(*rest, 0, sep);
    *ret_part = (slice){rest->p, at};
    *rest = at < rest->len ? (slice){rest->p + at + 1, rest->len - at - 1} : SLICE_NONE;
    return true;
}

bool slice_eq_secret(slice a, slice b) {
    if (a.len != b.len) return false;
    volatile uint8_t differ = 0;
    for (size_t i = 0; i < a.len; i++) differ |= a.p[i] ^ b.p[i];
    return differ == 0;
}

/* Hashing: multiply two words to 128 bits and fold the halves, sixteen bytes a step. */
static inline uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

uint64_t slice_hash(slice s) {
    const uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD6E8FEB86659FD93u;
    uint64_t h = hash_seed[0] ^ (s.len * k0);
    uint64_t a = 0, b = 0;
    const uint8_t *p = s.p;
    size_t n = s.len;
    while (n > 16) {
        h = mix(load64(p) ^ hash_seed[1] ^ k0, load64(p + 8) ^ h);
        p += 16;
        n -= 16;
    }
    /* The last 0 to 16 bytes, as two words that overlap when there are fewer. */
    if (n >= 8) {
        a = load64(p);
        b = load64(p + n - 8);
    } else if (n >= 4) {
        a = load32(p);
        b = load32(p + n - 4);
    } else if (n > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
    }
    return mix(mix(a ^ hash_seed[1] ^ k1, b ^ h) ^ k0, h ^ k1);
}

err slice_u64(slice s, uint64_t *ret) {
    ENSURE(s.len >= 1 && s.len <= 20, ERR_INVALID_NUMBER, "a number has 1 to 20 digits, not %zu",
           s.len);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t digit = (uint8_t)(s.p[i] - '0');
        ENSURE(digit <= 9, ERR_INVALID_NUMBER, "'%.*s' is not a number", SLICE_ARG(s));
        bool over = __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v);
        ENSURE(!over, ERR_INVALID_NUMBER, "'%.*s' is too large", SLICE_ARG(s));
    }
    *ret = v;
    return OK;
}

bool slice_is_code(slice s) {
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.p[i], low = c | 0x20;
        const bool letter = low >= 'a' && low <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-') return false;
    }
    return true;
}

slice slice_take_utf8(slice s, size_t max) {
    return s.len <= max ? s : slice_take(s, utf8_cut(s.p, max));
}

bool slice_utf8_valid(slice s) {
    const uint8_t *p = s.p, *end = s.p + s.len;
    while (p < end) {
        if (end - p >= 8 && (load64(p) & 0x8080808080808080u) == 0) {
            p += 8;
            continue;
        }
        size_t n = utf8_len(p, end);
        if (n == 0) return false;
        p += n;
    }
    return true;
}
