/* What may be a name. Azure: "Naming and referencing containers, blobs, and metadata". */
#include "store/internal.h"

static bool lower_or_digit(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool store_account_name_valid(slice name) {
    if (name.len < 3 || name.len > 24) return false;
    for (size_t i = 0; i < name.len; i++)
        if (!lower_or_digit(name.p[i])) return false;
    return true;
}

bool store_container_name_valid(slice name) {
    if (slice_eq(name, S("$root")) || slice_eq(name, S("$web")) || slice_eq(name, S("$logs")) ||
        slice_eq(name, S("$blobchangefeed")))
        return true;
    if (name.len < 3 || name.len > 63) return false;
    for (size_t i = 0; i < name.len; i++) {
        if (lower_or_digit(name.p[i])) continue;
        bool inside = i > 0 && i + 1 < name.len;
        if (name.p[i] != '-' || !inside || name.p[i - 1] == '-') return false;
    }
    return true;
}

#define BLOB_NAME_SEGMENTS_MAX 254

bool store_blob_name_valid(slice name) {
    if (name.len == 0 || name.len > (size_t)3 * STORE_BLOB_NAME_CHARS_MAX) return false;
    if (memchr(name.p, 0, name.len) || !slice_utf8_valid(name)) return false;
    size_t units = 0, segments = 1;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.p[i];
        if ((c & 0xc0) != 0x80) units += c >= 0xf0 ? 2 : 1; /* UTF-16: a pair past U+FFFF */
        if (c == '/') segments++;
    }
    return units <= STORE_BLOB_NAME_CHARS_MAX && segments <= BLOB_NAME_SEGMENTS_MAX;
}
