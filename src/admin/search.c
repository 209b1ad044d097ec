/* Looking for entries of the record: by time, class, action, outcome, purpose, object and actor.
 *
 * An entry is canonical JSON, so what it must say is looked for in its bytes, without parsing it; only those that
 * have it all are opened, when names are asked for that stand in openings. All entries from `from` on are looked
 * at: clocks can be set back, so the order of entries says little of their times. */
#include "admin/internal.h"

#define LOOKED_AT_MAX 200000 /* entries of one call */
/* Of the entries in one answer, with their openings: as JSON they are a few times as long, and six times at most
 * what is escaped in them (ADMIN_RESPONSE_MAX). */
#define FOUND_BYTES_MAX (512u << 10)
#define NEEDLES_MAX     8
#define NEEDLE_LEN_MAX  256

typedef struct search {
    audit_seeker *to;
    call *k;
    slice needle[NEEDLES_MAX];
    size_t needles;
    int64_t since_us, until_us;
    slice blob, actor; /* empty: any */
    bool opens;
    arena *scratch;   /* of one entry */
    uint64_t minimum; /* entries before it were removed */
    uint64_t next;
    size_t found, bytes;
} search;

/* ---- what is looked for ---- */

/* Looks for `before`, the value as JSON has it, and a quotation mark. */
static void want(search *q, const char *before, slice value) {
    buf b;
    if (value.len == 0) return;
    MUST(q->needles < NEEDLES_MAX);
    buf_init_arena(&b, q->k->c.arena, NEEDLE_LEN_MAX + 6 * value.len);
    buf_str(&b, before);
    json_put(&b, value);
    buf_byte(&b, '"');
    q->needle[q->needles++] = buf_slice(&b);
}

static void want_pseudonym(search *q, const store_account *a, const char *before, slice name) {
    uint8_t id[STORE_PSEUDONYM_LEN];
    char hex[2 * STORE_PSEUDONYM_LEN + 1];
    buf b;
    if (name.len == 0) return;
    store_pseudonym(q->k->st->store, a, name, id);
    buf_init_fixed(&b, hex, sizeof hex);
    hex_put(&b, slice_of(id, sizeof id));
    want(q, before, buf_slice(&b));
}

static err want_object(search *q) {
    slice account, container;
    const store_account *a = NULL;
    TRY(call_field(q->k, "account", false, &account));
    TRY(call_field(q->k, "container", false, &container));
    TRY(call_field(q->k, "blob", false, &q->blob));
    ENSURE(account.len > 0 || container.len == 0, ERR_INVALID_INPUT,
           "a container is looked for in an account: say which one, with account");
    ENSURE(container.len > 0 || q->blob.len == 0, ERR_INVALID_INPUT,
           "a blob is looked for in a container: say which one, with account and container");
    if (account.len == 0) return OK;
    err e = store_account_get(q->k->st->store, q->k->c, account, &a);
    if (e != ERR_NOT_FOUND) TRY(e); /* requests may have named one that is not there */
    want_pseudonym(q, a, "\"object\":{\"account\":\"", account);
    want_pseudonym(q, a, "\"container\":\"", container);
    store_account_unref(a);
    return OK;
}

static err time_field(const call *k, const char *name, int64_t otherwise, int64_t *ret_us) {
    slice text;
    TRY(call_field(k, name, false, &text));
    *ret_us = otherwise;
    if (text.len == 0) return OK;
    ENSURE(time_parse_iso(text, ret_us) == OK, ERR_INVALID_INPUT,
           "'%s' is a time in UTC, as 2026-11-26 or 2026-11-26T20:15:00Z", name);
    return OK;
}

/* A word that no entry has is a mistake, not a search that finds nothing. */
static err check_word(const search *q, const char *field, const char *const *words) {
    slice value;
    buf all;
    TRY(call_field(q->k, field, false, &value));
    if (value.len == 0) return OK;
    buf_init_arena(&all, q->k->c.arena, 512);
    for (size_t i = 0; words[i]; i++) {
        if (slice_eq(value, slice_str(words[i]))) return OK;
        buf_fmt(&all, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
    }
    return err_fail(ERR_INVALID_INPUT, "'%s' is %.*s, and not '%.*s'", field,
                    SLICE_ARG(buf_slice(&all)), SLICE_ARG(slice_take(value, 32)));
}

static err check_words(const search *q) {
    static const char *const classes[] = {"collection",  "alteration", "consultation", "disclosure",
                                          "combination", "erasure",    "policy",       "key",
                                          "admin",       "oversight",  "refused",      NULL};
    static const char *const results[] = {"ok", "refused", "failed", NULL};
    TRY(check_word(q, "class", classes));
    return check_word(q, "result", results);
}

static err read_query(search *q) {
    static const struct {
        const char *field, *before;
    } texts[] = {{"class", "\"class\":\""},
                 {"action", "{\"action\":\""},
                 {"result", "\"result\":\""},
                 {"purpose", "\"purpose\":{\"code\":\""}};
    TRY(check_words(q));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        slice value;
        TRY(call_field(q->k, texts[i].field, false, &value));
        want(q, texts[i].before, value);
    }
    TRY(want_object(q));
    TRY(call_field(q->k, "actor", false, &q->actor));
    TRY(time_field(q->k, "since", INT64_MIN, &q->since_us));
    TRY(time_field(q->k, "until", INT64_MAX, &q->until_us));
    q->opens = q->to->opens || q->blob.len > 0 || q->actor.len > 0;
    return OK;
}

/* ---- looking ---- */

err audit_entry_time(slice entry, int64_t *ret_us) {
    const slice before = S("\"time\":\"");
    slice text = slice_skip(entry, slice_find_slice(entry, 0, before) + before.len);
    return time_parse_iso(slice_take(text, slice_find(text, 0, '"')), ret_us);
}

static bool in_time(const search *q, slice entry) {
    int64_t us;
    if (q->since_us == INT64_MIN && q->until_us == INT64_MAX) return true;
    return audit_entry_time(entry, &us) == OK && us >= q->since_us && us < q->until_us;
}

static bool has_all(const search *q, slice entry) {
    for (size_t i = 0; i < q->needles; i++)
        if (slice_find_slice(entry, 0, q->needle[i]) == entry.len) return false;
    return in_time(q, entry);
}

/* In the scratch arena. */
static void open_entry(const search *q, slice entry, slice sealed, audit_opened *ret) {
    const store_call c = {.arena = q->scratch};
    buf plain;
    buf_init_arena(&plain, q->scratch, AUDIT_OPENING_MAX);
    err e = store_opening_open(q->k->st->store, c, sealed, &plain);
    if (e == OK) e = audit_opening_get(buf_slice(&plain), &ret->opening);
    if (e == OK && !audit_opening_fits(&ret->opening, entry))
        e = err_fail(ERR_CORRUPT, "another entry's: it does not open the commitments of this one");
    ret->known = e == OK;
    if (e == OK) return;
    ret->opening = (audit_opening){0};
    ret->why =
        e == ERR_KEY_DESTROYED ? S("destroyed") : arena_dup(q->scratch, slice_str(err_detail()));
}

static bool is_asked_for(const search *q, const audit_opened *o) {
    if (q->blob.len > 0 && !slice_eq(q->blob, o->opening.blob)) return false;
    return q->actor.len == 0 || slice_eq(q->actor, o->opening.actor);
}

static err look_at(void *ctx, uint64_t index, slice entry, slice private_part) {
    search *q = ctx;
    audit_opened o = {0};
    q->next = index + 1;
    if (!has_all(q, entry)) return OK;
    arena_reset(q->scratch);
    if (q->opens) open_entry(q, entry, private_part, &o);
    if (!is_asked_for(q, &o)) return OK;
    json_t *parsed = json_loadb((const char *)entry.p, entry.len, JSON_REJECT_DUPLICATES, NULL);
    ENSURE(parsed != NULL, ERR_CORRUPT, "entry %llu is not JSON", (unsigned long long)index);
    q->to->found(q->to->ctx, index, parsed, q->to->opens ? &o : NULL);
    json_decref(parsed);
    q->bytes += entry.len + private_part.len;
    const bool full = ++q->found >= q->to->max || q->bytes >= FOUND_BYTES_MAX;
    return full ? ERR_CANCELLED : OK; /* which ends the reading */
}

static err seek(search *q, uint64_t log_next) {
    uint64_t from;
    TRY(read_query(q));
    TRY(call_number(q->k, "from", q->next, &from));
    ENSURE(from >= q->minimum, ERR_NOT_FOUND,
           "entries before %llu were removed by retention: the record begins there",
           (unsigned long long)q->minimum);
    q->next = from;
    const uint64_t to = from + LOOKED_AT_MAX < from ? UINT64_MAX : from + LOOKED_AT_MAX;
    err e = engine_log_read(store_engine(q->k->st->store), from, to, look_at, q);
    if (e != ERR_CANCELLED) TRY(e);
    json_t *out = q->k->out;
    MUST(json_object_set_new(out, "size", json_integer((json_int_t)log_next)) == 0);
    if (q->minimum > 0)
        MUST(json_object_set_new(out, "removed_before", json_integer((json_int_t)q->minimum)) == 0);
    if (q->next < log_next)
        call_set(out, "next", arena_fmt(q->k->c.arena, "%llu", (unsigned long long)q->next));
    return OK;
}

err audit_seek(call *k, audit_seeker *to) {
    engine_stats stats;
    store_log_retention kept;
    engine_get_stats(store_engine(k->st->store), &stats);
    TRY(store_log_retention_get(k->st->store, k->c, &kept));
    search q = {.to = to, .k = k, .minimum = kept.minimum, .scratch = arena_new(16 << 10, 0)};
    if (stats.log_first > q.minimum) q.minimum = stats.log_first;
    q.next = q.minimum;
    err e = seek(&q, stats.log_next);
    to->next = q.next;
    arena_free(q.scratch);
    return e;
}
