/* Requests and responses of the operator's commands for the command line: built, checked, and
 * written so that a person can read them. */
#include "admin/internal.h"

#define COLUMN_MAX 64 /* a wider cell is not padded to */

slice admin_request(arena *a, const char *command, const pair *fields, size_t count) {
    buf b;
    buf_init_arena(&b, a, ADMIN_REQUEST_MAX);
    buf_str(&b, "{\"command\":\"");
    json_put(&b, slice_str(command));
    for (size_t i = 0; i < count; i++) {
        if (slice_empty(fields[i].value)) continue;
        buf_str(&b, "\",\"");
        json_put(&b, fields[i].name);
        buf_str(&b, "\":\"");
        json_put(&b, fields[i].value);
    }
    buf_str(&b, "\"}");
    return buf_slice(&b);
}

err admin_reply(arena *a, int status, slice body, slice *ret_response) {
    json_error_t why;
    json_t *v = json_loadb((const char *)body.p, body.len, 0, &why);
    ENSURE(v != NULL, ERR_IO, "the server's answer is not JSON (HTTP status %d)", status);
    const char *message =
        json_string_value(json_object_get(json_object_get(v, "error"), "message"));
    slice text =
        message ? arena_dup(a, slice_str(message)) : S("the server answered with an error");
    json_decref(v);
    ENSURE(status == 200, ERR_INVALID_INPUT, "%.*s", SLICE_ARG(text));
    *ret_response = body;
    return OK;
}

slice admin_field(arena *a, slice response, const char *name) {
    json_error_t why;
    json_t *v = json_loadb((const char *)response.p, response.len, 0, &why);
    const json_t *f = json_object_get(v, name);
    slice text = json_is_string(f)
                     ? arena_dup(a, slice_of(json_string_value(f), json_string_length(f)))
                     : SLICE_NONE;
    json_decref(v);
    return text;
}

bool admin_count(slice response, const char *name, uint64_t *ret) {
    json_t *v = json_loadb((const char *)response.p, response.len, 0, NULL);
    const json_t *f = json_object_get(v, name);
    const bool is = json_is_integer(f) && json_integer_value(f) >= 0;
    if (is) *ret = (uint64_t)json_integer_value(f);
    json_decref(v);
    return is;
}

/* How a person calls one of a list, or a field. */
static const char *label(const char *key) {
    static const char *const words[][2] = {{"keys", "key"},
                                           {"keys_set", "has key"},
                                           {"policies", "policy"},
                                           {"connection_string", "connection string"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(key, words[i][0]) == 0) return words[i][1];
    return key;
}

/* Control characters, which could steer a terminal, are shown as '?'. */
static size_t put_plain(buf *out, slice s) {
    size_t width = 0;
    for (size_t i = 0; i < s.len; i++) {
        buf_byte(out, s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i]);
        width += (s.p[i] & 0xc0) != 0x80; /* characters, not bytes of UTF-8 */
    }
    return width;
}

static size_t put_scalar(buf *out, const json_t *v) {
    size_t before = out->len;
    if (json_is_string(v))
        return put_plain(out, slice_of(json_string_value(v), json_string_length(v)));
    if (json_is_integer(v))
        buf_fmt(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        buf_str(out, json_is_true(v) ? "yes" : "no");
    else
        buf_str(out, "-");
    return out->len - before;
}

/* The space between a cell and the next; none after the last. */
static void pad(buf *out, size_t width, size_t to, bool last) {
    if (last) return;
    for (; width < to; width++) buf_byte(out, ' ');
    buf_str(out, "  ");
}

/* A list of objects with the same fields: a heading, then a line each. */
static void put_table(buf *out, const json_t *rows) {
    json_t *first = json_array_get(rows, 0), *row, *v;
    const char *key;
    size_t i, column = 0, widths[16] = {0};
    json_object_foreach(first, key, v) {
        if (column < ARRAY_LEN(widths)) widths[column++] = strlen(key);
    }
    buf scratch;
    buf_init(&scratch, 1 << 16);
    json_array_foreach(rows, i, row) {
        column = 0;
        json_object_foreach(row, key, v) {
            buf_reset(&scratch);
            size_t w = put_scalar(&scratch, v);
            if (column < ARRAY_LEN(widths) && w > widths[column] && w <= COLUMN_MAX)
                widths[column] = w;
            column++;
        }
    }
    buf_done(&scratch);
    size_t columns = json_object_size(first);
    column = 0;
    json_object_foreach(first, key, v) {
        buf_str(out, key);
        pad(out, strlen(key), column < ARRAY_LEN(widths) ? widths[column] : 0,
            column + 1 == columns);
        column++;
    }
    buf_str(out, "\n");
    json_array_foreach(rows, i, row) {
        column = 0;
        json_object_foreach(row, key, v) {
            size_t w = put_scalar(out, v);
            pad(out, w, column < ARRAY_LEN(widths) ? widths[column] : 0, column + 1 == columns);
            column++;
        }
        buf_str(out, "\n");
    }
}

static void put_list(buf *out, const char *key, const json_t *list) {
    size_t i;
    json_t *v;
    if (json_array_size(list) == 0)
        buf_fmt(out, "%s: none\n", key);
    else if (json_is_object(json_array_get(list, 0)))
        put_table(out, list);
    else
        json_array_foreach(list, i, v) {
            buf_fmt(out, "%s %zu: ", label(key), i + 1);
            put_scalar(out, v);
            buf_str(out, "\n");
        }
}

static void put_map(buf *out, const char *key, json_t *map) {
    const char *name;
    json_t *v;
    if (json_object_size(map) == 0) buf_fmt(out, "%s: none\n", key);
    json_object_foreach(map, name, v) {
        buf_fmt(out, "%s ", key);
        put_plain(out, slice_str(name));
        buf_str(out, ": ");
        put_scalar(out, v);
        buf_str(out, "\n");
    }
}

void admin_text(slice response, buf *out) {
    json_error_t why;
    json_t *r = json_loadb((const char *)response.p, response.len, 0, &why), *v;
    const char *key;
    json_object_foreach(r, key, v) {
        if (json_is_array(v)) {
            put_list(out, key, v);
        } else if (json_is_object(v)) {
            put_map(out, key, v);
        } else if (strcmp(key, "next") != 0) { /* the marker is the program's own */
            buf_fmt(out, "%s: ", label(key));
            put_scalar(out, v);
            buf_str(out, "\n");
        }
    }
    json_decref(r);
}

void admin_put_lines(const json_t *list, buf *out) {
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v) {
        char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_COMPACT | JSON_PRESERVE_ORDER);
        MUST(text != NULL || json_is_string(v));
        buf_str(out, text ? text : json_string_value(v));
        buf_byte(out, '\n');
        free(text);
    }
}

void admin_lines(slice response, const char *list, buf *out) {
    json_t *root = json_loadb((const char *)response.p, response.len, 0, NULL);
    admin_put_lines(json_object_get(root, list), out);
    json_decref(root);
}
