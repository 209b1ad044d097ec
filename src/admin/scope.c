/* The operator's commands on an account's encryption scopes; in Azure they are the resource manager's. */
#include "admin/internal.h"

static const char *const states[] = {[STORE_SCOPE_ENABLED] = "enabled",
                                     [STORE_SCOPE_DISABLED] = "disabled",
                                     [STORE_SCOPE_DESTROYED] = "destroyed"};

static err create_in(call *k, const store_account *a) {
    slice name;
    TRY(call_field(k, "scope", true, &name));
    TRY(store_scope_create(k->st->store, k->c, a, name));
    call_set(k->out, "scope", name);
    call_set(k->out, "state", slice_str(states[STORE_SCOPE_ENABLED]));
    return OK;
}

static void list_one(void *ctx, const store_scope *x) {
    call *k = ctx;
    json_t *one = json_object();
    call_set(one, "name", x->name);
    call_set(one, "state", slice_str(states[x->state]));
    call_set_time(k->c.arena, one, "created", x->created_us);
    MUST(json_array_append_new(json_object_get(k->out, "scopes"), one) == 0);
}

static err list_in(call *k, const store_account *a) {
    MUST(json_object_set_new(k->out, "scopes", json_array()) == 0);
    return store_scope_list(k->st->store, k->c, a, list_one, k);
}

static err set_in(call *k, const store_account *a, store_scope_state state) {
    slice name;
    TRY(call_field(k, "scope", true, &name));
    TRY(store_scope_set(k->st->store, k->c, a, name, state));
    call_set(k->out, "scope", name);
    call_set(k->out, "state", slice_str(states[state]));
    return OK;
}

static err enable_in(call *k, const store_account *a) {
    return set_in(k, a, STORE_SCOPE_ENABLED);
}
static err disable_in(call *k, const store_account *a) {
    return set_in(k, a, STORE_SCOPE_DISABLED);
}
static err destroy_in(call *k, const store_account *a) {
    return set_in(k, a, STORE_SCOPE_DESTROYED);
}

err scope_create(call *k) {
    return call_in_account(k, create_in);
}
err scope_list(call *k) {
    return call_in_account(k, list_in);
}
err scope_enable(call *k) {
    return call_in_account(k, enable_in);
}
err scope_disable(call *k) {
    return call_in_account(k, disable_in);
}
err scope_destroy(call *k) {
    return call_in_account(k, destroy_in);
}
