/* Reads YAML against a table of keys, event by event and without recursion. What a file can build
 * is bounded by the table: maps nest only as deep as the keys' dotted names, lists end at their
 * maximum, anchors, aliases and tags are refused.
 *
 * Values are collected first and written to their addresses only when the whole file is good. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>
#include <yaml.h>

#include "base/base.h"

#define FILE_MAX     ((size_t)1 << 20)
#define PATH_LEN_MAX 255
#define DEPTH_MAX    8
#define LIST_MAX     4096 /* entries, where a key states no maximum */
#define SUGGEST_MAX  64   /* bytes of a name that suggestions look at */
#define QUOTE_MAX    80   /* bytes of the file's text that an error quotes */

typedef struct value {
    bool seen;
    slice text;
    uint64_t num;
    config_strings list;
} value;

typedef struct reader {
    arena *a;
    const char *name;
    const config_key *keys;
    size_t count;
    value *values; /* one a key */
    /* Where in the file's maps we are: the dotted name so far, and its length outside each map. */
    char path[PATH_LEN_MAX + 1];
    size_t path_len;
    size_t outer_len[DEPTH_MAX];
    size_t depth;
    slice *sections; /* the maps met so far; at most one a dot in the table */
    size_t section_count;
    yaml_parser_t yaml;
    yaml_event_t event;
    bool has_event;
} reader;

static err fail_at(const reader *r, yaml_mark_t at, const char *fmt, ...) PRINTF_LIKE(3, 4) CHECKED;

static err fail_at(const reader *r, yaml_mark_t at, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return err_fail(ERR_CONFIG, "%s:%zu:%zu: %s", r->name, at.line + 1, at.column + 1, text);
}

static slice path_slice(const reader *r) {
    return slice_of(r->path, r->path_len);
}

static slice quote(slice s) {
    return slice_take(s, QUOTE_MAX);
}

/* --- events -------------------------------------------------------------------------------- */

static void drop_event(reader *r) {
    if (r->has_event) yaml_event_delete(&r->event);
    r->has_event = false;
}

static err next_event(reader *r) {
    drop_event(r);
    if (!yaml_parser_parse(&r->yaml, &r->event))
        return fail_at(r, r->yaml.problem_mark, "%s",
                       r->yaml.problem ? r->yaml.problem : "this is not YAML");
    r->has_event = true;
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT) anchor = e->data.alias.anchor;
    if (e->type == YAML_SCALAR_EVENT) anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    if (e->type == YAML_SEQUENCE_START_EVENT)
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    if (e->type == YAML_MAPPING_START_EVENT)
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    if (anchor || tag)
        return fail_at(r, e->start_mark, "anchors, aliases and tags are not supported");
    return OK;
}

static slice scalar_text(const yaml_event_t *e) {
    return slice_of(e->data.scalar.value, e->data.scalar.length);
}

static bool is_plain(const yaml_event_t *e) {
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* What YAML reads as null: nothing at all, ~ or null, without quotes. */
static bool is_null(const yaml_event_t *e) {
    slice s = scalar_text(e);
    return is_plain(e) && (s.len == 0 || slice_eq(s, S("~")) || slice_eq(s, S("null")));
}

/* --- names --------------------------------------------------------------------------------- */

static const config_key *find_key(const reader *r, slice name) {
    for (size_t i = 0; i < r->count; i++)
        if (slice_eq(slice_str(r->keys[i].name), name)) return &r->keys[i];
    return NULL;
}

static bool is_section(const reader *r, slice name) {
    for (size_t i = 0; i < r->count; i++) {
        slice key = slice_str(r->keys[i].name);
        if (key.len > name.len && key.p[name.len] == '.' && slice_starts(key, name)) return true;
    }
    return false;
}

/* How many letters must be put in, taken out or changed to make b of a. */
static size_t edit_distance(slice a, slice b) {
    size_t row[SUGGEST_MAX + 1];
    if (a.len > SUGGEST_MAX || b.len > SUGGEST_MAX) return SUGGEST_MAX;
    if (a.p == NULL || b.p == NULL) return SUGGEST_MAX;
    for (size_t j = 0; j <= b.len; j++) row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = diagonal + ((a.p[i - 1] | 0x20) != (b.p[j - 1] | 0x20));
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.len];
}

static slice leaf_of(slice name) {
    slice rest = name, part = name;
    while (slice_split(&rest, '.', &part)) {
    }
    return part;
}

/* How far a last word is from a key's last word: its beginning is enough to be near. */
static size_t leaf_distance(slice name, slice key) {
    if (name.len >= 3 && slice_starts_nocase(key, name)) return 1;
    return edit_distance(name, key);
}

/* The known key or section nearest to name; empty when none is near. A key of a like last word in
 * another section counts as two letters further away. */
static slice nearest(const reader *r, slice name) {
    slice best = SLICE_NONE;
    size_t best_distance = 2 + name.len / 5;
    if (best_distance >= name.len) best_distance = name.len - 1;
    for (size_t i = 0; i < r->count; i++) {
        slice key = slice_str(r->keys[i].name);
        size_t d = leaf_distance(leaf_of(name), leaf_of(key)) + 2;
        if (d <= best_distance && (d < best_distance || best.len == 0)) {
            best = key;
            best_distance = d;
        }
        for (size_t dot = slice_find(key, 0, '.');; dot = slice_find(key, dot + 1, '.')) {
            d = edit_distance(name, slice_take(key, dot));
            if (d < best_distance || (d == best_distance && best.len == 0)) {
                best = slice_take(key, dot);
                best_distance = d;
            }
            if (dot == key.len) break;
        }
    }
    return best;
}

static err fail_unknown(const reader *r, yaml_mark_t at, slice name) {
    slice near = nearest(r, name), cut = quote(name);
    if (near.len > 0)
        return fail_at(r, at, "unknown key '%.*s'; did you mean '%.*s'?", SLICE_ARG(cut),
                       SLICE_ARG(near));
    return fail_at(r, at, "unknown key '%.*s'", SLICE_ARG(cut));
}

/* Adds the key that was just read to the path. */
static err push_name(reader *r, yaml_mark_t at, slice name) {
    size_t dot = r->path_len > 0;
    if (name.len == 0) return fail_at(r, at, "a key is empty");
    if (name.len > PATH_LEN_MAX - dot - r->path_len)
        return fail_at(r, at, "unknown key '%.*s'", SLICE_ARG(quote(name)));
    if (dot) r->path[r->path_len++] = '.';
    memcpy(r->path + r->path_len, name.p, name.len);
    r->path_len += name.len;
    return OK;
}

/* --- values -------------------------------------------------------------------------------- */

typedef struct unit {
    const char *name;
    uint64_t factor;
} unit;

static const unit size_units[] = {{"", 1},
                                  {"B", 1},
                                  {"KiB", (uint64_t)1 << 10},
                                  {"MiB", (uint64_t)1 << 20},
                                  {"GiB", (uint64_t)1 << 30},
                                  {"TiB", (uint64_t)1 << 40},
                                  {"PiB", (uint64_t)1 << 50}};
static const unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

/* A number, at most one space, and a unit. */
static bool parse_units(slice text, const unit *units, size_t count, uint64_t *ret) {
    size_t digits = 0;
    uint64_t v;
    while (digits < text.len && text.p[digits] >= '0' && text.p[digits] <= '9') digits++;
    if (slice_u64(slice_take(text, digits), &v) != OK) return false;
    slice name = slice_skip(text, digits);
    if (name.len > 1 && name.p[0] == ' ') name = slice_skip(name, 1);
    for (size_t i = 0; i < count; i++)
        if (slice_eq(name, slice_str(units[i].name)))
            return !__builtin_mul_overflow(v, units[i].factor, ret);
    return false;
}

static err check_range(const reader *r, const config_key *k, const char *what, uint64_t v) {
    if (v >= k->min && (k->max == 0 || v <= k->max)) return OK;
    if (k->max == 0)
        return fail_at(r, r->event.start_mark, "'%s' must be at least %llu%s", k->name,
                       (unsigned long long)k->min, what);
    return fail_at(r, r->event.start_mark, "'%s' must be between %llu and %llu%s", k->name,
                   (unsigned long long)k->min, (unsigned long long)k->max, what);
}

static err fail_type(const reader *r, const config_key *k, const char *wanted) {
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, r->event.start_mark, "'%s' must be %s", k->name, wanted);
    if (is_null(&r->event))
        return fail_at(r, r->event.start_mark, "'%s' has no value; it must be %s", k->name, wanted);
    return fail_at(r, r->event.start_mark, "'%s' must be %s, not '%.*s'", k->name, wanted,
                   SLICE_ARG(quote(scalar_text(&r->event))));
}

static err read_number(const reader *r, const config_key *k, value *v) {
    slice text = scalar_text(&r->event);
    switch (k->type) {
    case CONFIG_U64:
        if (slice_u64(text, &v->num) != OK) return fail_type(r, k, "a whole number");
        return check_range(r, k, "", v->num);
    case CONFIG_SIZE:
        if (!parse_units(text, size_units, ARRAY_LEN(size_units), &v->num))
            return fail_type(r, k, "a size such as 4096, 64KiB, 512MiB or 2GiB");
        return check_range(r, k, " bytes", v->num);
    default:
        v->num = 0;
        if (!slice_eq(text, S("0")) &&
            !parse_units(text, duration_units, ARRAY_LEN(duration_units), &v->num))
            return fail_type(r, k, "a duration such as 500ms, 30s, 5m, 1h or 7d");
        return check_range(r, k, "ms", v->num);
    }
}

static err read_string(const reader *r, const config_key *k, slice *ret) {
    if (r->event.type != YAML_SCALAR_EVENT || is_null(&r->event))
        return fail_type(r, k, k->type == CONFIG_STRINGS ? "a list of texts" : "a text");
    slice text = scalar_text(&r->event);
    if (slice_find(text, 0, '\0') < text.len)
        return fail_at(r, r->event.start_mark, "'%s' holds a NUL character", k->name);
    *ret = arena_dup(r->a, text);
    return OK;
}

static err read_list(reader *r, const config_key *k, value *v) {
    if (r->event.type != YAML_SEQUENCE_START_EVENT) return fail_type(r, k, "a list of texts");
    size_t limit = k->max == 0 ? LIST_MAX : (size_t)k->max, cap = 0, count = 0;
    slice *items = NULL;
    for (;;) {
        TRY(next_event(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) break;
        if (count == limit)
            return fail_at(r, r->event.start_mark, "'%s' has more than %zu entries", k->name,
                           limit);
        if (count == cap) {
            size_t had = cap * sizeof(*items);
            cap = cap ? cap * 2 : 8;
            items = arena_grow_try(r->a, items, had, cap * sizeof(*items));
            ENSURE(items != NULL, ERR_NO_MEMORY, "no room for the list '%s'", k->name);
        }
        TRY(read_string(r, k, &items[count]));
        count++;
    }
    if (count < k->min)
        return fail_at(r, r->event.start_mark, "'%s' needs at least %llu entries", k->name,
                       (unsigned long long)k->min);
    v->list = (config_strings){items, count};
    return OK;
}

static err read_value(reader *r, const config_key *k, value *v) {
    if (k->type == CONFIG_STRINGS) return read_list(r, k, v);
    if (k->type == CONFIG_STRING) {
        TRY(read_string(r, k, &v->text));
        if (k->min == 0 && k->max == 0) return OK;
        return check_range(r, k, " bytes long", v->text.len);
    }
    if (r->event.type != YAML_SCALAR_EVENT || !is_plain(&r->event))
        return fail_type(r, k, k->type == CONFIG_BOOL ? "true or false" : "a number");
    if (k->type != CONFIG_BOOL) return read_number(r, k, v);
    slice text = scalar_text(&r->event);
    v->num = slice_eq(text, S("true"));
    if (!v->num && !slice_eq(text, S("false"))) return fail_type(r, k, "true or false");
    return OK;
}

/* --- maps ---------------------------------------------------------------------------------- */

/* The value of the section at the path: a map to go into, or nothing at all. */
static err enter_section(reader *r, yaml_mark_t at, size_t outer_len) {
    slice name = path_slice(r);
    for (size_t i = 0; i < r->section_count; i++)
        if (slice_eq(r->sections[i], name))
            return fail_at(r, at, "'%.*s' is given twice", SLICE_ARG(name));
    r->sections[r->section_count++] = arena_dup(r->a, name);
    if (r->event.type == YAML_MAPPING_START_EVENT) {
        if (r->depth == DEPTH_MAX) return fail_at(r, at, "maps nest too deeply");
        r->outer_len[r->depth++] = outer_len;
        return OK;
    }
    if (r->event.type != YAML_SCALAR_EVENT || !is_null(&r->event))
        return fail_at(r, r->event.start_mark, "'%.*s' must be a map", SLICE_ARG(name));
    r->path_len = outer_len;
    return OK;
}

/* A key was read: check it, read its value, or step into its map. */
static err read_pair(reader *r) {
    yaml_mark_t at = r->event.start_mark;
    size_t outer_len = r->path_len;
    if (r->event.type != YAML_SCALAR_EVENT) return fail_at(r, at, "a key must be a word");
    TRY(push_name(r, at, scalar_text(&r->event)));
    const config_key *k = find_key(r, path_slice(r));
    if (k == NULL && !is_section(r, path_slice(r))) return fail_unknown(r, at, path_slice(r));
    TRY(next_event(r));
    if (k == NULL) return enter_section(r, at, outer_len);
    value *v = &r->values[k - r->keys];
    if (v->seen) return fail_at(r, at, "'%s' is given twice", k->name);
    TRY(read_value(r, k, v));
    v->seen = true;
    r->path_len = outer_len;
    return OK;
}

static err read_maps(reader *r) {
    r->depth = 1;
    while (r->depth > 0) {
        TRY(next_event(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            r->path_len = r->outer_len[--r->depth];
        else
            TRY(read_pair(r));
    }
    return OK;
}

static err read_stream(reader *r) {
    TRY(next_event(r)); /* the stream begins */
    TRY(next_event(r));
    if (r->event.type == YAML_STREAM_END_EVENT) return OK;
    TRY(next_event(r)); /* after the document's begin */
    if (r->event.type == YAML_MAPPING_START_EVENT)
        TRY(read_maps(r));
    else if (r->event.type != YAML_SCALAR_EVENT || !is_null(&r->event))
        return fail_at(r, r->event.start_mark, "the file must be a map of keys and values");
    TRY(next_event(r)); /* the document's end */
    TRY(next_event(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail_at(r, r->event.start_mark, "the file must hold one document only");
    return OK;
}

/* --- the whole ----------------------------------------------------------------------------- */

static err check_required(const reader *r) {
    for (size_t i = 0; i < r->count; i++)
        ENSURE(r->values[i].seen || !r->keys[i].required, ERR_CONFIG, "%s: '%s' is missing",
               r->name, r->keys[i].name);
    return OK;
}

static void store_values(const reader *r) {
    for (size_t i = 0; i < r->count; i++) {
        const value *v = &r->values[i];
        void *to = r->keys[i].value;
        if (!v->seen) continue;
        switch (r->keys[i].type) {
        case CONFIG_STRING:
            *(slice *)to = v->text;
            break;
        case CONFIG_BOOL:
            *(bool *)to = v->num != 0;
            break;
        case CONFIG_STRINGS:
            *(config_strings *)to = v->list;
            break;
        case CONFIG_U64:
        case CONFIG_SIZE:
        case CONFIG_DURATION:
            *(uint64_t *)to = v->num;
            break;
        case CONFIG_END:
            MUST(false);
        }
    }
}

err config_parse(arena *a, const char *name_for_errors, slice text, const config_key *keys) {
    err e = OK;
    reader r = {.a = a, .name = name_for_errors, .keys = keys};
    ENSURE(text.len <= FILE_MAX, ERR_CONFIG, "%s: larger than %zu bytes", r.name, FILE_MAX);
    size_t sections = 0;
    for (; keys[r.count].type != CONFIG_END; r.count++)
        for (const char *c = keys[r.count].name; *c; c++) sections += *c == '.';
    r.values = arena_alloc(a, (r.count + 1) * sizeof(value));
    r.sections = arena_alloc(a, (sections + 1) * sizeof(slice));
    MUST(yaml_parser_initialize(&r.yaml));
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, text.len ? text.p : (const uint8_t *)"", text.len);
    TRY_TO(done, read_stream(&r));
    TRY_TO(done, check_required(&r));
    store_values(&r);
done:
    drop_event(&r);
    yaml_parser_delete(&r.yaml);
    return e;
}

static err read_all(int fd, const char *path, buf *to) {
    for (;;) {
        uint8_t *p = buf_reserve(to, 4096);
        ENSURE(p != NULL, ERR_CONFIG, "%s: larger than %zu bytes", path, FILE_MAX);
        ssize_t n = read(fd, p, 4096);
        if (n == 0) return OK;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_fail_errno(ERR_CONFIG, errno, "%s", path);
        buf_advance(to, (size_t)n);
    }
}

err config_read(arena *a, const char *path, const config_key *keys) {
    err e = OK;
    buf text;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_fail_errno(ERR_CONFIG, errno, "%s", path);
    buf_init(&text, FILE_MAX + 4096);
    TRY_TO(done, read_all(fd, path, &text));
    TRY_TO(done, config_parse(a, path, buf_slice(&text), keys));
done:
    buf_done(&text);
    close(fd);
    return e;
}
