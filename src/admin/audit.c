/* The operator's and the overseer's view of the record: entries, what opens them, and both in the forms of others. */
#include <time.h>

#include "admin/internal.h"

#define SEARCH_MAX   1000 /* entries of one answer */
#define WAIT_MAX_MS  20000
#define WAIT_STEP_MS 100

typedef struct listing {
    call *k;
    json_t *rows;
    const audit_format *format;
    const char *leaves_out; /* entries of this action; NULL: none */
} listing;

/* ---- entries as they are ---- */

static void set_text(json_t *to, const char *name, slice v) {
    if (v.len > 0) call_set(to, name, v);
}

static void set_hex(json_t *to, const char *name, slice v) {
    char room[2 * AUDIT_SALT_LEN];
    buf hex;
    if (v.len == 0 || v.len > AUDIT_SALT_LEN) return;
    buf_init_fixed(&hex, room, sizeof room);
    hex_put(&hex, v);
    call_set(to, name, buf_slice(&hex));
}

/* An opening whose key is gone is told as such: the entry stays valid. */
void call_add_opening(json_t *row, const audit_opened *opened) {
    const audit_opening *o = &opened->opening;
    if (!opened->known) {
        call_set(row, "opening", opened->why);
        return;
    }
    json_t *to = json_object();
    set_text(to, "account", o->account);
    set_text(to, "container", o->container);
    set_text(to, "blob", o->blob);
    set_text(to, "actor", o->actor);
    set_text(to, "address", o->address);
    set_text(to, "reason", o->reason);
    set_hex(to, "name_salt", o->name_salt);
    set_hex(to, "reason_salt", o->reason_salt);
    set_text(to, "asked", o->asked);
    set_hex(to, "asked_salt", o->asked_salt);
    MUST(json_object_set_new(row, "opening", to) == 0);
}

static bool is_left_out(const listing *l, const json_t *entry) {
    const char *action = json_string_value(json_object_get(entry, "action"));
    return l->leaves_out && action && strcmp(action, l->leaves_out) == 0;
}

static void add_entry(void *ctx, uint64_t index, json_t *entry, const audit_opened *o) {
    const listing *l = ctx;
    if (is_left_out(l, entry)) return;
    json_t *row = json_object();
    MUST(json_object_set_new(row, "index", json_integer((json_int_t)index)) == 0);
    MUST(json_object_set(row, "entry", entry) == 0);
    if (o) call_add_opening(row, o);
    MUST(json_array_append_new(l->rows, row) == 0);
}

static err opens(const call *k, bool *ret) {
    slice open;
    TRY(call_field(k, "open", false, &open));
    *ret = open.len > 0;
    return OK;
}

static json_t *add_rows(call *k) {
    json_t *rows = json_array();
    MUST(json_object_set_new(k->out, "entries", rows) == 0);
    return rows;
}

err audit_search(call *k) {
    uint64_t count;
    listing l = {.k = k, .rows = add_rows(k)};
    audit_seeker to = {.ctx = &l, .found = add_entry, .max = SEARCH_MAX};
    TRY(opens(k, &to.opens));
    TRY(call_number(k, "count", SEARCH_MAX, &count));
    if (count < SEARCH_MAX) to.max = count > 0 ? (size_t)count : 1;
    return audit_seek(k, &to);
}

/* ---- as they come ---- */

/* Until the record is longer than that, or the time is up. */
static void wait_for_more(const call *k, uint64_t than) {
    const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};
    engine_stats stats;
    for (int ms = 0; ms < WAIT_MAX_MS && atomic_load(&k->st->ready); ms += WAIT_STEP_MS) {
        engine_get_stats(store_engine(k->st->store), &stats);
        if (stats.log_next > than) return;
        (void)nanosleep(&step, NULL);
    }
}

/* Entries from the end of the record on: without `from` it answers only where that is. What shows nothing leaves
 * no record, and watching is left out of what is shown: it would never come to rest. */
err audit_watch(call *k) {
    slice wait;
    engine_stats stats;
    uint64_t from;
    listing l = {.k = k, .rows = add_rows(k), .leaves_out = k->command};
    audit_seeker to = {.ctx = &l, .found = add_entry, .max = SEARCH_MAX};
    ENSURE(atomic_load(&k->st->ready), ERR_INVALID_INPUT,
           "no server runs here, so nothing comes: `strongroom audit search` shows what is there");
    TRY(opens(k, &to.opens));
    TRY(call_field(k, "wait", false, &wait));
    engine_get_stats(store_engine(k->st->store), &stats);
    TRY(call_number(k, "from", stats.log_next, &from));
    if (wait.len > 0) wait_for_more(k, from);
    MUST(json_object_set_new(k->in, "from", json_sprintf("%llu", (unsigned long long)from)) == 0);
    TRY(audit_seek(k, &to));
    call_set(k->out, "next", arena_fmt(k->c.arena, "%llu", (unsigned long long)to.next));
    k->saw_nothing = wait.len > 0 && json_array_size(l.rows) == 0;
    return OK;
}

/* ---- as others write them ---- */

static void add_line(void *ctx, uint64_t index, json_t *entry, const audit_opened *o) {
    static const audit_opening none;
    const listing *l = ctx;
    const char *endpoint = l->k->st->endpoint ? l->k->st->endpoint : ADMIN_ENDPOINT_DEFAULT;
    const audit_exported x = {
        .index = index, .entry = entry, .o = o ? &o->opening : &none, .endpoint = endpoint};
    buf line;
    buf_init(&line, 1 << 20); /* entry and opening are bounded: at most six characters a byte */
    l->format->put(&line, &x);
    MUST(buf_check(&line) == OK);
    MUST(json_array_append_new(l->rows, json_stringn((const char *)line.p, line.len)) == 0);
    buf_done(&line);
}

err audit_export(call *k) {
    slice format;
    listing l = {.k = k, .rows = add_rows(k)};
    audit_seeker to = {.ctx = &l, .found = add_line, .max = SEARCH_MAX};
    TRY(call_field(k, "format", true, &format));
    TRY(audit_format_find(format, &l.format));
    TRY(opens(k, &to.opens));
    call_set(k->out, "head", slice_str(l.format->head));
    call_set(k->out, "tail", slice_str(l.format->tail));
    return audit_seek(k, &to);
}
