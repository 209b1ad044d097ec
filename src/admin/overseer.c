/* The operator's commands on overseers: who may look at the record from another machine. A token is NAME.SECRET, the
 * secret 32 random bytes in base64url; it is shown once, and the store keeps its hash. */
#include "admin/internal.h"

#define SECRET_LEN 32

static err rights_of(call *k, unsigned *ret) {
    slice rights;
    TRY(call_field(k, "rights", false, &rights));
    *ret = STORE_SEES_ENTRIES;
    if (slice_eq(rights, S("openings"))) *ret |= STORE_SEES_OPENINGS;
    ENSURE(rights.len == 0 || slice_eq(rights, S("entries")) || slice_eq(rights, S("openings")),
           ERR_INVALID_INPUT,
           "'rights' is entries, or openings (entries, and the names that they stand for)");
    return OK;
}

/* Each is there; a name that is mistyped would shut the overseer out, or let them see another's. */
static err check_accounts(call *k, slice accounts) {
    slice rest = accounts, name;
    while (rest.len > 0 && slice_split(&rest, ',', &name)) {
        const store_account *a;
        err e = store_account_get(k->st->store, k->c, name, &a);
        ENSURE(e != ERR_NOT_FOUND, ERR_NOT_FOUND, "there is no account '%.*s'",
               SLICE_ARG(slice_take(name, 64)));
        TRY(e);
        store_account_unref(a);
    }
    return OK;
}

static err expiry_of(call *k, int64_t *ret_us) {
    slice text;
    TRY(call_field(k, "expires", false, &text));
    *ret_us = STORE_TIME_NONE;
    if (text.len == 0) return OK;
    ENSURE(time_parse_iso(text, ret_us) == OK, ERR_INVALID_INPUT,
           "'expires' is a time in UTC, as 2027-01-31 or 2027-01-31T18:00:00Z");
    ENSURE(*ret_us > clock_wall_us(), ERR_INVALID_INPUT, "'expires' is in the past");
    return OK;
}

err overseer_add(call *k) {
    store_overseer o = {.created_us = clock_wall_us()};
    uint8_t secret[SECRET_LEN], digest[CRYPTO_SHA256_LEN];
    buf text;
    TRY(call_field(k, "overseer", true, &o.name));
    TRY(call_field(k, "accounts", false, &o.accounts));
    TRY(rights_of(k, &o.rights));
    TRY(check_accounts(k, o.accounts));
    TRY(expiry_of(k, &o.expires_us));
    random_fill(secret, sizeof secret);
    buf_init_arena(&text, k->c.arena, 64);
    base64url_put(&text, slice_of(secret, sizeof secret));
    crypto_wipe(secret, sizeof secret);
    crypto_sha256(buf_slice(&text), digest);
    o.token_sha256 = slice_of(digest, sizeof digest);
    TRY(store_overseer_add(k->st->store, k->c, &o));
    call_set(k->out, "overseer", o.name);
    call_set(k->out, "token",
             arena_fmt(k->c.arena, "%.*s.%.*s", SLICE_ARG(o.name), SLICE_ARG(buf_slice(&text))));
    return OK;
}

static const char *state_of(const store_overseer *o) {
    if (o->disabled) return "disabled";
    return o->expires_us != STORE_TIME_NONE && o->expires_us <= clock_wall_us() ? "expired"
                                                                                : "enabled";
}

static void list_one(void *ctx, const store_overseer *o) {
    call *k = ctx;
    json_t *one = json_object();
    call_set(one, "overseer", o->name);
    call_set(one, "rights", o->rights & STORE_SEES_OPENINGS ? S("openings") : S("entries"));
    call_set(one, "accounts", o->accounts.len > 0 ? o->accounts : S("all"));
    call_set_time(k->c.arena, one, "created", o->created_us);
    if (o->expires_us == STORE_TIME_NONE)
        call_set(one, "expires", S("never"));
    else
        call_set_time(k->c.arena, one, "expires", o->expires_us);
    call_set(one, "state", slice_str(state_of(o)));
    MUST(json_array_append_new(json_object_get(k->out, "overseers"), one) == 0);
}

err overseer_list(call *k) {
    MUST(json_object_set_new(k->out, "overseers", json_array()) == 0);
    return store_overseer_list(k->st->store, k->c, list_one, k);
}

static err set_disabled(call *k, bool disabled) {
    slice name;
    TRY(call_field(k, "overseer", true, &name));
    TRY(store_overseer_disable(k->st->store, k->c, name, disabled));
    call_set(k->out, "overseer", name);
    call_set(k->out, "state", disabled ? S("disabled") : S("enabled"));
    return OK;
}

err overseer_enable(call *k) {
    return set_disabled(k, false);
}

err overseer_disable(call *k) {
    return set_disabled(k, true);
}

err overseer_remove(call *k) {
    slice name;
    TRY(call_field(k, "overseer", true, &name));
    TRY(store_overseer_remove(k->st->store, k->c, name));
    call_set(k->out, "removed", name);
    return OK;
}
