/* What protects all blobs of a container: a time-based retention policy, and legal holds. "Time-based retention
 * policies for immutable blob data", "Legal holds for immutable blob data" (container scope).
 *
 * It is asked for where changes are made (change.c), inside the gate, of the container's row as it is then;
 * whoever sets it waits until all that came in before have left. So no change is answered after it that
 * did not see it. */
#include "store/internal.h"

#define HOLD_MIN 3
#define HOLD_MAX 23

guard guard_of(const store_guard *g) {
    return (guard){.days = g->days, .append = g->append, .held = g->holds.len > 0};
}

err guard_refuses(const guard *g, const row_blob *r, bool deleting) {
    if (g->held) return ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD;
    if (!g->days) return OK;
    int64_t until = r->pub.modified_us + (int64_t)g->days * 24 * 3600 * 1000000;
    return deleting && clock_wall_us() >= until ? OK : ERR_BLOB_IMMUTABLE_DUE_TO_POLICY;
}

err guard_permits_deletion(const store_guard *g, slice name) {
    ENSURE(g->holds.len == 0, ERR_CONTAINER_HAS_LEGAL_HOLD, "container '%.*s' has a legal hold",
           SLICE_ARG(slice_take(name, 64)));
    ENSURE(g->days == 0, ERR_CONTAINER_IMMUTABLE, "container '%.*s' has a retention policy",
           SLICE_ARG(slice_take(name, 64)));
    return OK;
}

/* ---- settings ---- */

static err set_days(arena *a, slice value, store_guard *g) {
    (void)a;
    uint64_t days;
    ENSURE(slice_u64(value, &days) == OK && days <= STORE_GUARD_DAYS_MAX, ERR_INVALID_INPUT,
           "immutable_days is a number from 0 to %d", STORE_GUARD_DAYS_MAX);
    ENSURE(!g->locked || days >= g->days, ERR_INVALID_INPUT,
           "the policy is locked: its %u days can become more, not less", g->days);
    g->days = (uint32_t)days;
    if (days == 0) g->append = false;
    return OK;
}

static err set_append(arena *a, slice value, store_guard *g) {
    (void)a;
    bool on = slice_eq(value, S("on"));
    ENSURE(on || slice_eq(value, S("off")), ERR_INVALID_INPUT, "immutable_append is on or off");
    ENSURE(g->days > 0, ERR_INVALID_INPUT, "there is no policy; set immutable_days first");
    ENSURE(!g->locked || g->append == on, ERR_INVALID_INPUT, "the policy is locked");
    g->append = on;
    return OK;
}

static err set_lock(arena *a, slice value, store_guard *g) {
    (void)a;
    ENSURE(slice_eq(value, S("on")), ERR_INVALID_INPUT,
           "immutable_lock is on: a locked policy is never unlocked");
    ENSURE(g->days > 0, ERR_INVALID_INPUT, "there is no policy; set immutable_days first");
    g->locked = true;
    return OK;
}

static err check_hold(slice name) {
    bool good = name.len >= HOLD_MIN && name.len <= HOLD_MAX;
    for (size_t i = 0; i < name.len && good; i++) {
        uint8_t c = name.p[i] | 0x20;
        good = (c >= 'a' && c <= 'z') || (name.p[i] >= '0' && name.p[i] <= '9');
    }
    ENSURE(good, ERR_INVALID_INPUT, "the name of a hold is %d to %d letters and digits", HOLD_MIN,
           HOLD_MAX);
    return OK;
}

/* The holds without that one, and whether it was there. */
static slice without(arena *a, slice holds, slice name, size_t *ret_count, bool *ret_found) {
    buf b;
    slice part;
    buf_init_arena(&b, a, 1024);
    *ret_count = 0;
    *ret_found = false;
    while (slice_split(&holds, ',', &part)) {
        if (slice_eq(part, name)) {
            *ret_found = true;
            continue;
        }
        if (part.len == 0) continue;
        if (b.len > 0) buf_byte(&b, ',');
        buf_put(&b, part);
        ++*ret_count;
    }
    return buf_slice(&b);
}

static err add_hold(arena *a, slice name, store_guard *g) {
    size_t n;
    bool found;
    TRY(check_hold(name));
    slice rest = without(a, g->holds, name, &n, &found);
    ENSURE(n < STORE_GUARD_HOLDS, ERR_INVALID_INPUT, "a container has at most %d holds",
           STORE_GUARD_HOLDS);
    g->holds = arena_fmt(a, "%.*s%s%.*s", SLICE_ARG(rest), n ? "," : "", SLICE_ARG(name));
    return OK;
}

static err release_hold(arena *a, slice name, store_guard *g) {
    size_t n;
    bool found;
    g->holds = without(a, g->holds, name, &n, &found);
    ENSURE(found, ERR_INVALID_INPUT, "there is no hold '%.*s'", SLICE_ARG(slice_take(name, 64)));
    return OK;
}

static err set_purpose(arena *a, slice value, store_guard *g) {
    (void)a;
    g->purpose = slice_eq(value, S("required"));
    ENSURE(g->purpose || slice_eq(value, S("optional")), ERR_INVALID_INPUT,
           "purpose is required or optional");
    return OK;
}

static err set_acknowledge(arena *a, slice value, store_guard *g) {
    (void)a;
    g->witnessed = slice_eq(value, S("witnessed"));
    ENSURE(g->witnessed || slice_eq(value, S("durable")), ERR_INVALID_INPUT,
           "acknowledge is witnessed or durable");
    return OK;
}

err guard_change(arena *a, slice setting, store_guard *g) {
    static const struct {
        const char *name;
        err (*set)(arena *a, slice value, store_guard *g);
    } settings[] = {{"immutable_days", set_days},    {"immutable_append", set_append},
                    {"immutable_lock", set_lock},    {"hold", add_hold},
                    {"release", release_hold},       {"purpose", set_purpose},
                    {"acknowledge", set_acknowledge}};
    size_t at = slice_find(setting, 0, '=');
    ENSURE(at < setting.len, ERR_INVALID_INPUT, "a setting is written NAME=VALUE");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (slice_eq(slice_take(setting, at), slice_str(settings[i].name)))
            return settings[i].set(a, slice_skip(setting, at + 1), g);
    return err_fail(ERR_INVALID_INPUT, "there is no setting '%.*s' of containers",
                    SLICE_ARG(slice_take(slice_take(setting, at), 64)));
}
