/* The operator's and the overseer's view of the record: entries, and what opens them. */
#include "admin/internal.h"
#include "audit/record.h"

#define LIST_MAX 1000 /* entries of one answer */

typedef struct listing {
    call *k;
    json_t *rows;
    bool open;
} listing;

static void set_text(json_t *to, const char *name, slice v) {
    if (v.len > 0) call_set(to, name, v);
}

/* An opening whose key is gone is told as such: the entry stays valid. */
static void add_opening(const listing *l, json_t *row, slice sealed) {
    buf plain;
    audit_opening o;
    buf_init_arena(&plain, l->k->c.arena, AUDIT_OPENING_MAX);
    err e = store_opening_open(l->k->st->store, l->k->c, sealed, &plain);
    if (e == OK) e = audit_opening_get(buf_slice(&plain), &o);
    if (e != OK) {
        call_set(row, "opening", slice_str(e == ERR_KEY_DESTROYED ? "destroyed" : err_detail()));
        return;
    }
    json_t *to = json_object();
    set_text(to, "account", o.account);
    set_text(to, "container", o.container);
    set_text(to, "blob", o.blob);
    set_text(to, "actor", o.actor);
    set_text(to, "address", o.address);
    set_text(to, "reason", o.reason);
    const struct {
        const char *name;
        slice salt;
    } salts[] = {{"name_salt", o.name_salt}, {"reason_salt", o.reason_salt}};
    for (size_t i = 0; i < ARRAY_LEN(salts); i++) {
        buf hex;
        buf_init_arena(&hex, l->k->c.arena, (size_t)2 * AUDIT_SALT_LEN);
        hex_put(&hex, salts[i].salt);
        set_text(to, salts[i].name, buf_slice(&hex));
    }
    MUST(json_object_set_new(row, "opening", to) == 0);
}

static err add_entry(void *ctx, uint64_t index, slice entry, slice private_part) {
    const listing *l = ctx;
    json_t *row = json_object();
    MUST(json_object_set_new(row, "index", json_integer((json_int_t)index)) == 0);
    json_t *parsed = json_loadb((const char *)entry.p, entry.len, JSON_REJECT_DUPLICATES, NULL);
    ENSURE(parsed != NULL, ERR_CORRUPT, "entry %llu is not JSON", (unsigned long long)index);
    MUST(json_object_set_new(row, "entry", parsed) == 0);
    if (l->open) add_opening(l, row, private_part);
    MUST(json_array_append_new(l->rows, row) == 0);
    return OK;
}

static err number_field(const call *k, const char *name, uint64_t otherwise, uint64_t *ret) {
    slice text;
    TRY(call_field(k, name, false, &text));
    *ret = otherwise;
    if (text.len == 0) return OK;
    ENSURE(slice_u64(text, ret) == OK, ERR_INVALID_INPUT, "'%s' is a number", name);
    return OK;
}

err audit_list(call *k) {
    uint64_t from, count;
    slice open;
    engine *e = store_engine(k->st->store);
    engine_stats stats;
    engine_get_stats(e, &stats);
    TRY(number_field(k, "from", stats.log_first, &from));
    TRY(number_field(k, "count", LIST_MAX, &count));
    TRY(call_field(k, "open", false, &open));
    if (count > LIST_MAX) count = LIST_MAX;
    listing l = {.k = k, .rows = json_array(), .open = open.len > 0};
    MUST(json_object_set_new(k->out, "entries", l.rows) == 0);
    MUST(json_object_set_new(k->out, "size", json_integer((json_int_t)stats.log_next)) == 0);
    uint64_t to = from + count < from ? UINT64_MAX : from + count;
    TRY(engine_log_read(e, from, to, add_entry, &l));
    if (to < stats.log_next) {
        buf next;
        buf_init_arena(&next, k->c.arena, 32);
        buf_u64(&next, to);
        call_set(k->out, "next", buf_slice(&next));
    }
    return OK;
}
