/* Names and widths of tiles (https://c2sp.org/tlog-tiles). */
#include "audit/internal.h"

void audit_tile_path(buf *out, const audit_tile *t) {
    char parts[8][4];
    size_t count = 0;
    uint64_t n = t->index;
    do {
        snprintf(parts[count++], sizeof parts[0], "%03u", (unsigned)(n % 1000));
        n /= 1000;
    } while (n > 0 && count < ARRAY_LEN(parts));
    MUST(n == 0);
    if (t->level == AUDIT_ENTRIES)
        buf_str(out, "tile/entries");
    else
        buf_fmt(out, "tile/%d", t->level);
    while (count > 0) {
        count--;
        buf_fmt(out, "/%s%s", count > 0 ? "x" : "", parts[count]);
    }
    if (t->width < AUDIT_TILE_WIDTH) buf_fmt(out, ".p/%u", t->width);
}

void tile_name(const audit_tile *t, char out[AUDIT_PATH_MAX]) {
    buf b;
    buf_init_fixed(&b, out, AUDIT_PATH_MAX - 1);
    audit_tile_path(&b, t);
    MUST(!b.failed);
    out[b.len] = '\0';
}

err tile_misfit(const audit_tile *t, const char *what) {
    char path[AUDIT_PATH_MAX];
    tile_name(t, path);
    return err_fail(ERR_CORRUPT, "%s %s", path, what);
}

err bundle_next(slice *bundle, slice *ret_entry) {
    uint16_t len;
    TRY(cur_be16(bundle, &len));
    return cur_take(bundle, len, ret_entry);
}

size_t audit_tile_max(int level) {
    return level == AUDIT_ENTRIES ? AUDIT_BUNDLE_MAX : AUDIT_TILE_BYTES;
}

static err not_a_tile(void) {
    return err_fail(ERR_INVALID_INPUT, "not the path of a tile");
}

static err parse_level(slice s, int *ret) {
    uint64_t n;
    if (slice_eq(s, S("entries"))) {
        *ret = AUDIT_ENTRIES;
        return OK;
    }
    if (slice_u64(s, &n) != OK || n > 63 || s.len > 2) return not_a_tile();
    *ret = (int)n;
    return OK;
}

/* Reads the parts of the number; what audit_tile_path makes of the result shows whether they were as they must
 * be. */
static err parse_index(slice *rest, uint64_t *ret) {
    slice part;
    *ret = 0;
    for (bool more = true; more;) {
        uint64_t n;
        if (!slice_split(rest, '/', &part)) return not_a_tile();
        more = slice_starts(part, S("x"));
        if (more) part = slice_skip(part, 1);
        const bool partial = slice_ends(part, S(".p"));
        if (partial) part = slice_take(part, part.len - 2);
        if (part.len != 3 || slice_u64(part, &n) != OK || *ret > UINT64_MAX / 2000 ||
            (more && partial))
            return not_a_tile();
        *ret = *ret * 1000 + n;
    }
    return OK;
}

err audit_tile_parse(slice path, audit_tile *ret) {
    slice rest = path, part;
    uint64_t width = AUDIT_TILE_WIDTH;
    if (path.len > AUDIT_PATH_MAX) return not_a_tile();
    if (!slice_split(&rest, '/', &part) || !slice_eq(part, S("tile"))) return not_a_tile();
    if (!slice_split(&rest, '/', &part)) return not_a_tile();
    TRY(parse_level(part, &ret->level));
    TRY(parse_index(&rest, &ret->index));
    if (rest.len > 0 && (slice_u64(rest, &width) != OK || width == 0 || width >= AUDIT_TILE_WIDTH))
        return not_a_tile();
    ret->width = (unsigned)width;
    uint8_t room[AUDIT_PATH_MAX + 64];
    buf again;
    buf_init_fixed(&again, room, sizeof room);
    audit_tile_path(&again, ret);
    return slice_eq(buf_slice(&again), path) ? OK : not_a_tile();
}

unsigned audit_tile_width(int level, uint64_t index, uint64_t size) {
    for (int l = level; l > 0; l--) size /= AUDIT_TILE_WIDTH;
    if (size / AUDIT_TILE_WIDTH > index) return AUDIT_TILE_WIDTH;
    return size / AUDIT_TILE_WIDTH == index ? (unsigned)(size % AUDIT_TILE_WIDTH) : 0;
}
