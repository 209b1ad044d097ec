/* Random bytes and UUIDs. */
#include "base/base.h"

#define POOL_BYTES 512

static void from_system(void *p, size_t n) {
    const io *t = io_in_use();
    t->random(t, p, n);
}

/* Small requests come out of a block that each thread keeps, wiped as it is used, so that a UUID is
 * not a system call. */
void random_fill(void *p, size_t n) {
    static _Thread_local uint8_t pool[POOL_BYTES];
    static _Thread_local size_t left;
    if (n > POOL_BYTES / 4) {
        from_system(p, n);
        return;
    }
    if (n > left) {
        from_system(pool, POOL_BYTES);
        left = POOL_BYTES;
    }
    if (n == 0) return;
    left -= n;
    memcpy(p, pool + left, n);
    explicit_bzero(pool + left, n);
}

void uuid_random(uint8_t out[UUID_LEN]) {
    random_fill(out, UUID_LEN);
    out[6] = (out[6] & 0x0F) | 0x40;
    out[8] = (out[8] & 0x3F) | 0x80;
}

void uuid_text(buf *b, slice raw) {
    MUST(raw.len == UUID_LEN);
    static const uint8_t groups[] = {4, 2, 2, 2, 6};
    for (size_t i = 0, at = 0; i < sizeof groups; at += groups[i++]) {
        if (i > 0) buf_byte(b, '-');
        hex_put(b, slice_of(raw.p + at, groups[i]));
    }
}

static bool hyphen_at(size_t i) {
    return i == 8 || i == 13 || i == 18 || i == 23;
}

err uuid_get(slice text, uint8_t ret[UUID_LEN]) {
    if (text.len == 38) {
        bool braces = text.p[0] == '{' && text.p[37] == '}';
        bool parentheses = text.p[0] == '(' && text.p[37] == ')';
        ENSURE(braces || parentheses, ERR_INVALID_ENCODING, "a GUID's brackets do not match");
        text = slice_of(text.p + 1, 36);
    }
    ENSURE(text.len == 36 || text.len == 32, ERR_INVALID_ENCODING,
           "a GUID has 32 hexadecimal digits");
    uint8_t raw[UUID_LEN] = {0};
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i], low = c | 0x20;
        if (text.len == 36 && hyphen_at(i)) {
            ENSURE(c == '-', ERR_INVALID_ENCODING, "a GUID's hyphens are misplaced");
            continue;
        }
        bool decimal = c >= '0' && c <= '9';
        ENSURE(decimal || (low >= 'a' && low <= 'f'), ERR_INVALID_ENCODING,
               "a GUID has 32 hexadecimal digits");
        unsigned v = decimal ? (unsigned)(c - '0') : (unsigned)(low - 'a' + 10);
        raw[digits / 2] = (uint8_t)(raw[digits / 2] << 4 | v);
        digits++;
    }
    memcpy(ret, raw, sizeof raw);
    return OK;
}

void uuid7_put(buf *b, int64_t wall_us) {
    uint8_t raw[UUID_LEN];
    const uint64_t ms = (uint64_t)wall_us / 1000;
    for (int i = 0; i < 6; i++) raw[i] = (uint8_t)(ms >> (40 - 8 * i));
    random_fill(raw + 6, UUID_LEN - 6);
    raw[6] = (raw[6] & 0x0F) | 0x70;
    raw[8] = (raw[8] & 0x3F) | 0x80;
    uuid_text(b, slice_of(raw, sizeof raw));
}

void uuid_put(buf *b) {
    uint8_t raw[UUID_LEN];
    uuid_random(raw);
    uuid_text(b, slice_of(raw, sizeof raw));
}
