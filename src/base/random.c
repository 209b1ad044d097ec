/* Random bytes and UUIDs. */
#include <errno.h>
#include <sys/random.h>

#include "base/base.h"

#define POOL_BYTES 512

static void from_system(uint8_t *p, size_t n) {
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) continue;
        MUST(got > 0);
        p += got;
        n -= (size_t)got;
    }
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

void uuid_put(buf *b) {
    uint8_t raw[16], text[36];
    buf hex;
    random_fill(raw, sizeof(raw));
    raw[6] = (raw[6] & 0x0F) | 0x40;
    raw[8] = (raw[8] & 0x3F) | 0x80;
    buf_init_fixed(&hex, text, sizeof(text));
    hex_put(&hex, slice_of(raw, 4));
    buf_byte(&hex, '-');
    hex_put(&hex, slice_of(raw + 4, 2));
    buf_byte(&hex, '-');
    hex_put(&hex, slice_of(raw + 6, 2));
    buf_byte(&hex, '-');
    hex_put(&hex, slice_of(raw + 8, 2));
    buf_byte(&hex, '-');
    hex_put(&hex, slice_of(raw + 10, 6));
    buf_put(b, buf_slice(&hex));
}
