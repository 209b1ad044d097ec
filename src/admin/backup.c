/* The point that `strongroom backup` copies: begun, renewed while it copies, ended. The command does the copying, in
 * a process of its own; when it dies the lease ends the point. */
#include "admin/internal.h"

/* Of the point, from each renewal on: far longer than the command is ever silent. */
#define LEASE_MS 120000

static err point_id(const call *k, uint64_t *ret) {
    TRY(call_number(k, "id", 0, ret));
    ENSURE(*ret != 0, ERR_INVALID_INPUT, "the command needs 'id'");
    return OK;
}

static void set_number(call *k, const char *name, uint64_t v) {
    call_set(k->out, name, arena_fmt(k->c.arena, "%llu", (unsigned long long)v));
}

err backup_begin(call *k) {
    engine *e = store_engine(k->st->store);
    engine_stats s;
    uint64_t id;
    TRY(engine_point_begin(e, LEASE_MS, &id));
    engine_get_stats(e, &s);
    set_number(k, "id", id);
    set_number(k, "bytes", s.stream_bytes_live + s.row_bytes_disk);
    return OK;
}

err backup_renew(call *k) {
    uint64_t id;
    k->saw_nothing = true;
    TRY(point_id(k, &id));
    return engine_point_renew(store_engine(k->st->store), id, LEASE_MS);
}

err backup_end(call *k) {
    uint64_t id;
    TRY(point_id(k, &id));
    return engine_point_end(store_engine(k->st->store), id);
}
