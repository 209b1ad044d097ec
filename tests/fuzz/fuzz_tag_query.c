/* Expressions over tags and the tags themselves. First line: tags, key=value&key=value; the rest an
 * expression. What is taken means one thing: in brackets, twice with AND, twice with OR it is as
 * true as alone, and what is a search is a condition too. fuzz-folders: base crypto engine store */
#include "fuzz.h"
#include "store/internal.h"

static size_t take_tags(slice line, pair tags[STORE_TAGS_MAX]) {
    slice part;
    size_t n = 0;
    while (n < STORE_TAGS_MAX && slice_split(&line, '&', &part)) {
        size_t at = slice_find(part, 0, '=');
        tags[n++] = (pair){slice_take(part, at), slice_skip(part, at + 1)};
    }
    return store_tags_check(tags, n) == OK ? n : 0;
}

/* -1: refused. */
static int truth(arena *a, slice text, const pair *tags, size_t n) {
    const store_tag_query *q;
    err e = store_tag_condition(a, text, &q);
    if (e != OK) {
        MUST(e == ERR_INVALID_HEADER_VALUE && *err_detail() != 0);
        return -1;
    }
    return store_tag_query_true(q, tags, n);
}

static slice twice(arena *a, slice text, const char *between) {
    return arena_fmt(a, "(%.*s)%s(%.*s)", SLICE_ARG(text), between, SLICE_ARG(text));
}

static void check_condition(arena *a, slice text, const pair *tags, size_t n) {
    int one = truth(a, text, tags, n);
    if (one < 0 || text.len > 512) return; /* bounds of depth and number are tested elsewhere */
    slice again[] = {twice(a, text, "AND"), twice(a, text, " or ")};
    for (size_t i = 0; i < ARRAY_LEN(again); i++) {
        int two = truth(a, again[i], tags, n);
        MUST(two == one || two < 0);
        if (two < 0) MUST(strstr(err_detail(), "too deep"));
    }
}

static void check_search(arena *a, slice text, const pair *tags, size_t n) {
    const store_tag_query *q;
    err e = store_tag_where(a, text, &q);
    if (e != OK) {
        MUST((e == ERR_TAG_QUERY || e == ERR_TAG_QUERY_TAGS) && *err_detail() != 0);
        return;
    }
    if (!q->has_container) MUST(truth(a, text, tags, n) == store_tag_query_true(q, tags, n));
    for (size_t i = 0; i < q->count; i++)
        MUST(q->tokens[i].op != TAG_OR && q->tokens[i].op != TAG_NE &&
             q->tokens[i].key.len <= STORE_TAG_KEY_MAX &&
             q->tokens[i].value.len <= STORE_TAG_VALUE_MAX);
}

static void check_packing(arena *a, const pair *tags, size_t n) {
    slice packed, again;
    pair out[STORE_TAGS_MAX];
    MUST(tags_pack(tags, n, a, &packed) == OK && row_tags_get(packed, n, out) == OK);
    for (size_t i = 1; i < n; i++) MUST(slice_cmp(out[i - 1].name, out[i].name) < 0);
    MUST(tags_pack(out, n, a, &again) == OK && slice_eq(packed, again));
}

FUZZ(data) {
    arena *a = arena_new(4096, (size_t)64 << 20);
    pair tags[STORE_TAGS_MAX];
    slice rest = data, line;
    (void)slice_split(&rest, '\n', &line);
    size_t n = take_tags(line, tags);
    check_packing(a, tags, n);
    if (rest.p) {
        check_condition(a, rest, tags, n);
        check_search(a, rest, tags, n);
        if (row_tags_get(rest, n, tags) != OK) MUST(*err_detail() != 0); /* as a damaged row */
    }
    arena_free(a);
}
