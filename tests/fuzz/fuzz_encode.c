/* Decoders and escapers. The whole input goes through each: base64 and hexadecimal have one text
 * for each value, percent-encoding comes back, GUIDs have one canonical form, what is escaped is what XML and JSON allow.
 * fuzz-folders: base */
#include "fuzz.h"

typedef err (*get_fn)(arena *, slice, slice *);
typedef void (*put_fn)(buf *, slice);

static void check_one_form(arena *a, get_fn get, put_fn put, slice text) {
    slice value;
    buf again;
    if (get(a, text, &value) != OK) return;
    buf_init_arena(&again, a, SIZE_MAX / 8);
    put(&again, value);
    MUST(slice_eq_nocase(buf_slice(&again), text));
    MUST(get == hex_get || slice_eq(buf_slice(&again), text));
}

static void check_round_trip(arena *a, get_fn get, put_fn put, slice value) {
    slice again;
    buf text;
    buf_init_arena(&text, a, SIZE_MAX / 8);
    put(&text, value);
    MUST(get(a, buf_slice(&text), &again) == OK && slice_eq(again, value));
}

static err get_percent(arena *a, slice in, slice *ret) {
    return percent_get(a, in, false, ret);
}
static err get_form(arena *a, slice in, slice *ret) {
    return percent_get(a, in, true, ret);
}
static void put_percent(buf *b, slice in) {
    percent_put(b, in, NULL);
}
static void put_path(buf *b, slice in) {
    percent_put(b, in, "/");
}

/* Whatever form a GUID comes in, its canonical one is read as the same. */
static void check_uuid(slice text) {
    uint8_t raw[UUID_LEN], again[UUID_LEN], canonical[36];
    buf b;
    if (uuid_get(text, raw) != OK) return;
    buf_init_fixed(&b, canonical, sizeof canonical);
    uuid_text(&b, slice_of(raw, sizeof raw));
    MUST(b.len == sizeof canonical && uuid_get(buf_slice(&b), again) == OK);
    MUST(memcmp(raw, again, sizeof raw) == 0);
}

static void check_escapes(arena *a, slice text) {
    buf out;
    buf_init_arena(&out, a, SIZE_MAX / 8);
    xml_put(&out, text);
    MUST(xml_can_carry(buf_slice(&out)));
    for (size_t i = 0; i < out.len; i++) MUST(memchr("<>\"\r", out.p[i], 4) == NULL);
    buf_reset(&out);
    json_put(&out, text);
    MUST(slice_utf8_valid(buf_slice(&out)));
    for (size_t i = 0; i < out.len; i++) {
        MUST(out.p[i] >= 0x20 && out.p[i] != '"');
        if (out.p[i] != '\\') continue;
        i++;
        MUST(i < out.len && memchr("\"\\bfnrtu", out.p[i], 8) != NULL);
    }
    MUST(!xml_can_carry(text) || slice_utf8_valid(text));
}

FUZZ(data) {
    arena *a = arena_new(16384, 0);
    slice value;
    check_one_form(a, base64_get, base64_put, data);
    check_one_form(a, base64url_get, base64url_put, data);
    check_one_form(a, hex_get, hex_put, data);
    check_round_trip(a, base64_get, base64_put, data);
    check_round_trip(a, base64url_get, base64url_put, data);
    check_round_trip(a, hex_get, hex_put, data);
    check_round_trip(a, get_percent, put_percent, data);
    check_round_trip(a, get_form, put_path, data);
    if (percent_get(a, data, false, &value) == OK) MUST(value.len <= data.len);
    check_escapes(a, data);
    check_uuid(data);
    arena_free(a);
}
