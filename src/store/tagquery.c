/* Expressions over tags: what x-ms-if-tags demands and what Find Blobs by Tags looks for.
 * "Specifying conditional headers for Blob service operations", "Find Blobs by Tags", "Manage and
 * find Azure Blob data with blob index tags".
 *
 *   expression  operand (AND operand | OR operand)*       AND binds closer
 *   operand     '(' expression ')' | key operator 'value'
 *   key         "of any characters of tags", or letters, digits and '_' without quotes
 *   operator    = <> < <= > >=
 *
 * A search knows neither OR nor <>; it may name @container with =, and a key at most once, or twice
 * where the two comparisons make a range. Text is compared by its bytes.
 *
 * The expression becomes a sequence of operands with each operator behind its two (no recursion: as
 * deep as parentheses may stand in each other, so many operators wait). */
#include "store/internal.h"

#define DEPTH_MAX       16 /* parentheses in each other */
#define WAITING_MAX     ((size_t)3 * (DEPTH_MAX + 1))
#define COMPARISONS_MAX 1024

/* ---- tags themselves ---- */

static bool tag_char(uint8_t c) {
    uint8_t low = c | 0x20;
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr(" +-./:=_", c));
}

/* The first character that no tag may hold, or s.len. */
static size_t bad_char(slice s) {
    size_t i = 0;
    while (i < s.len && tag_char(s.p[i])) i++;
    return i;
}

static err check_tag(const pair *t) {
    ENSURE(t->name.len > 0, ERR_EMPTY_TAG_NAME, "a tag's key has 1 to %d characters",
           STORE_TAG_KEY_MAX);
    ENSURE(t->name.len <= STORE_TAG_KEY_MAX, ERR_TAGS_TOO_LARGE,
           "the key '%.*s…' has %zu characters, more than %d", SLICE_ARG(slice_take(t->name, 32)),
           t->name.len, STORE_TAG_KEY_MAX);
    ENSURE(t->value.len <= STORE_TAG_VALUE_MAX, ERR_TAGS_TOO_LARGE,
           "the value of '%.*s' has %zu characters, more than %d", SLICE_ARG(t->name), t->value.len,
           STORE_TAG_VALUE_MAX);
    ENSURE(bad_char(t->name) == t->name.len && bad_char(t->value) == t->value.len, ERR_INVALID_TAG,
           "keys and values are of letters, digits, space and + - . / : = _");
    return OK;
}

err store_tags_check(const pair *tags, size_t count) {
    ENSURE(count <= STORE_TAGS_MAX, ERR_TAGS_TOO_LARGE, "there are %zu tags, a blob has at most %d",
           count, STORE_TAGS_MAX);
    for (size_t i = 0; i < count; i++) {
        TRY(check_tag(&tags[i]));
        for (size_t j = 0; j < i; j++)
            ENSURE(!slice_eq(tags[i].name, tags[j].name), ERR_DUPLICATE_TAG_NAMES,
                   "the key '%.*s' stands there twice", SLICE_ARG(tags[i].name));
    }
    return OK;
}

err tags_pack(const pair *tags, size_t count, arena *a, slice *ret) {
    *ret = SLICE_NONE;
    if (count == 0) return OK;
    TRY(store_tags_check(tags, count));
    pair sorted[STORE_TAGS_MAX];
    for (size_t i = 0, at; i < count; i++) {
        for (at = i; at > 0 && slice_cmp(tags[i].name, sorted[at - 1].name) < 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = tags[i];
    }
    buf b;
    buf_init_arena(&b, a, (size_t)STORE_TAGS_MAX * (STORE_TAG_KEY_MAX + STORE_TAG_VALUE_MAX + 8));
    row_pairs_put(&b, sorted, count);
    MUST(!b.failed);
    *ret = buf_slice(&b);
    return OK;
}

/* ---- evaluation ---- */

static bool compare(const tag_token *t, const pair *tags, size_t count) {
    size_t i = 0;
    while (i < count && !slice_eq(tags[i].name, t->key)) i++;
    if (i == count) return false;
    int order = slice_cmp(tags[i].value, t->value);
    switch (t->op) {
    case TAG_EQ:
        return order == 0;
    case TAG_NE:
        return order != 0;
    case TAG_LT:
        return order < 0;
    case TAG_LE:
        return order <= 0;
    case TAG_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

bool store_tag_query_true(const store_tag_query *q, const pair *tags, size_t count) {
    bool stack[WAITING_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < q->count; i++) {
        const tag_token *t = &q->tokens[i];
        if (t->op >= TAG_AND) {
            MUST(n >= 2);
            bool last = stack[--n];
            stack[n - 1] = t->op == TAG_AND ? stack[n - 1] && last : stack[n - 1] || last;
        } else {
            MUST(n < ARRAY_LEN(stack));
            stack[n++] = t->op == TAG_TRUE || compare(t, tags, count);
        }
    }
    MUST(n == 1);
    return stack[0];
}

/* ---- reading ---- */

typedef struct parser {
    arena *arena;
    slice text;
    size_t at;
    bool search;
    store_tag_query *q;
    size_t comparisons;
    uint8_t waiting[WAITING_MAX]; /* '(' '&' '|' */
    size_t waiting_count, depth;
} parser;

static err malformed(const parser *p, size_t at, const char *what) {
    if (p->search)
        return err_fail(ERR_TAG_QUERY, "at or near character position %zu: %s", at + 1, what);
    return err_fail(ERR_INVALID_HEADER_VALUE, "x-ms-if-tags: at or near character position %zu: %s",
                    at + 1, what);
}

static void skip_space(parser *p) {
    while (p->at < p->text.len && (p->text.p[p->at] == ' ' || p->text.p[p->at] == '\t')) p->at++;
}

/* The next character that is no space, or 0 at the end. */
static uint8_t peek(parser *p) {
    skip_space(p);
    return p->at < p->text.len ? p->text.p[p->at] : 0;
}

static bool word_char(uint8_t c) {
    uint8_t low = c | 0x20;
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static slice take_word(parser *p) {
    size_t from = p->at;
    while (p->at < p->text.len && word_char(p->text.p[p->at])) p->at++;
    return slice_of(p->text.p + from, p->at - from);
}

/* What stands between two `quote`s; the first is at p->at. Tags hold no quotes, so none is written
 * twice to mean one. */
static err take_quoted(parser *p, uint8_t quote, slice *ret) {
    size_t from = p->at + 1, end = slice_find(p->text, from, quote);
    if (end == p->text.len) return malformed(p, p->at, "a quote has no end");
    slice s = slice_of(p->text.p + from, end - from);
    size_t bad = bad_char(s);
    if (bad < s.len)
        return malformed(p, from + bad, "the character is not permitted in tag name or value");
    p->at = end + 1;
    *ret = s;
    return OK;
}

static err take_key(parser *p, slice *ret) {
    size_t from = p->at;
    if (peek(p) == '"')
        TRY(take_quoted(p, '"', ret));
    else
        *ret = take_word(p);
    if (ret->len == 0)
        return malformed(p, p->at, "a tag's key is expected: a word, or text in double quotes");
    if (p->search && ret->len > STORE_TAG_KEY_MAX)
        return malformed(p, from, "a tag must be between 1 and 128 characters in length");
    return OK;
}

static err take_operator(parser *p, tag_op *ret) {
    static const struct {
        const char *text;
        tag_op op;
    } known[] = {{"<>", TAG_NE}, {"<=", TAG_LE}, {">=", TAG_GE},
                 {"=", TAG_EQ},  {"<", TAG_LT},  {">", TAG_GT}};
    skip_space(p);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!slice_starts(slice_skip(p->text, p->at), slice_str(known[i].text))) continue;
        if (p->search && known[i].op == TAG_NE)
            return malformed(p, p->at, "<> is not an operator of a search");
        p->at += strlen(known[i].text);
        *ret = known[i].op;
        return OK;
    }
    return malformed(p, p->at, "an operator is expected: one of = <> < <= > >=");
}

static err take_value(parser *p, slice *ret) {
    if (peek(p) != '\'') return malformed(p, p->at, "a value in single quotes is expected");
    size_t from = p->at;
    TRY(take_quoted(p, '\'', ret));
    if (p->search && ret->len > STORE_TAG_VALUE_MAX)
        return malformed(p, from, "a tag value must be between 0 and 256 characters in length");
    return OK;
}

static void emit(parser *p, tag_token t) {
    store_tag_query *q = p->q;
    if (q->count == q->room) {
        size_t room = q->room ? 2 * q->room : 16;
        tag_token *more =
            arena_grow_try(p->arena, q->tokens, q->room * sizeof *more, room * sizeof *more);
        MUST(more); /* COMPARISONS_MAX bounds it */
        q->tokens = more;
        q->room = room;
    }
    q->tokens[q->count++] = t;
}

static err take_container(parser *p) {
    size_t from = p->at++;
    tag_op op;
    slice name;
    if (!p->search) return malformed(p, from, "@container belongs into a search");
    if (!slice_eq(take_word(p), S("container")))
        return malformed(p, from,
                         "unsupported parameter: of names with @ only @container is known");
    TRY(take_operator(p, &op));
    TRY(take_value(p, &name));
    if (op != TAG_EQ) return malformed(p, from, "@container goes with = only");
    if (p->q->has_container) return malformed(p, from, "@container stands there twice");
    p->q->has_container = true;
    p->q->container = name;
    emit(p, (tag_token){.op = TAG_TRUE});
    return OK;
}

static err take_comparison(parser *p) {
    tag_token t;
    if (peek(p) == '@') return take_container(p);
    if (++p->comparisons > COMPARISONS_MAX)
        return malformed(p, p->at, "there are too many comparisons");
    TRY(take_key(p, &t.key));
    TRY(take_operator(p, &t.op));
    TRY(take_value(p, &t.value));
    emit(p, t);
    return OK;
}

/* The operators that wait and bind at least as close as `next` are done. */
static void done_down_to(parser *p, uint8_t next) {
    while (p->waiting_count > 0) {
        uint8_t op = p->waiting[p->waiting_count - 1];
        if (op == '(' || (next == '&' && op == '|')) return;
        emit(p, (tag_token){.op = op == '&' ? TAG_AND : TAG_OR});
        p->waiting_count--;
    }
}

static void wait_for(parser *p, uint8_t op) {
    MUST(p->waiting_count < WAITING_MAX); /* one AND, one OR and '(' at each depth */
    p->waiting[p->waiting_count++] = op;
}

static err take_operand(parser *p) {
    while (peek(p) == '(') {
        if (++p->depth > DEPTH_MAX) return malformed(p, p->at, "parentheses stand too deep");
        wait_for(p, '(');
        p->at++;
    }
    TRY(take_comparison(p));
    while (peek(p) == ')') {
        done_down_to(p, 0);
        if (p->waiting_count == 0) return malformed(p, p->at, "a ')' has no '('");
        p->waiting_count--;
        p->depth--;
        p->at++;
    }
    return OK;
}

/* AND or OR, or ret_more false at the end. */
static err take_connective(parser *p, bool *ret_more) {
    skip_space(p);
    *ret_more = p->at < p->text.len;
    if (!*ret_more) return OK;
    size_t from = p->at;
    slice word = take_word(p);
    uint8_t op = slice_eq_nocase(word, S("and")) ? '&' : slice_eq_nocase(word, S("or")) ? '|' : 0;
    if (op == 0) return malformed(p, from, p->search ? "AND is expected" : "AND or OR is expected");
    if (op == '|' && p->search) return malformed(p, from, "OR is not an operator of a search");
    done_down_to(p, op);
    wait_for(p, op);
    return OK;
}

static err parse(parser *p) {
    for (bool more = true; more;) {
        TRY(take_operand(p));
        TRY(take_connective(p, &more));
    }
    done_down_to(p, 0);
    if (p->waiting_count > 0) return malformed(p, p->at, "a '(' has no ')'");
    return OK;
}

err store_tag_condition(arena *a, slice text, const store_tag_query **ret) {
    store_tag_query *q = arena_alloc(a, sizeof *q);
    parser p = {.arena = a, .text = text, .q = q};
    TRY(parse(&p));
    *ret = q;
    return OK;
}

/* ---- what a search may ask ---- */

static bool is_comparison(const tag_token *t) {
    return t->op < TAG_TRUE;
}

static bool is_upper(tag_op op) {
    return op == TAG_LT || op == TAG_LE;
}

/* Two comparisons of one key go together when one bounds it below and the other above. */
static bool make_range(const tag_token *one, const tag_token *two) {
    return one->op != TAG_EQ && two->op != TAG_EQ && is_upper(one->op) != is_upper(two->op);
}

static err check_search(const store_tag_query *q) {
    size_t unique = 0;
    for (size_t i = 0; i < q->count; i++) {
        const tag_token *t = &q->tokens[i];
        if (!is_comparison(t)) continue;
        size_t others = 0;
        for (size_t j = 0; j < i; j++) {
            const tag_token *o = &q->tokens[j];
            if (!is_comparison(o) || !slice_eq(o->key, t->key)) continue;
            others++;
            ENSURE(others == 1 && make_range(o, t), ERR_TAG_QUERY,
                   "can't have multiple conditions for a single tag unless they define a range: "
                   "'%.*s'",
                   SLICE_ARG(t->key));
        }
        unique += others == 0;
        ENSURE(unique <= STORE_TAGS_MAX, ERR_TAG_QUERY_TAGS, "This one names more.");
    }
    ENSURE(unique > 0, ERR_TAG_QUERY, "that names no tag");
    return OK;
}

err store_tag_where(arena *a, slice text, const store_tag_query **ret) {
    store_tag_query *q = arena_alloc(a, sizeof *q);
    parser p = {.arena = a, .text = text, .search = true, .q = q};
    TRY(parse(&p));
    TRY(check_search(q));
    *ret = q;
    return OK;
}
