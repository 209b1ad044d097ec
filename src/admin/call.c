/* The operator's commands: JSON in, store calls, JSON out. */
#include <malloc.h>

#include "admin/internal.h"

/* Answers may hold shared keys and tokens: of JSON nothing lingers in memory that was given back. */
static void wiping_free(void *p) {
    if (!p) return;
    crypto_wipe(p, malloc_usable_size(p));
    free(p);
}

__attribute__((constructor)) static void wipe_json(void) {
    json_set_alloc_funcs(malloc, wiping_free);
}

/* Text in an arena of this call's, which nobody needs any more. */
static void wipe_text(slice s) {
    crypto_wipe((void *)(uintptr_t)s.p, s.len);
}

/* Empty for what is no string. */
static slice json_slice(const json_t *v) {
    const char *text = json_string_value(v);
    return text ? slice_of(text, json_string_length(v)) : S("");
}

err call_field(const call *k, const char *name, bool required, slice *ret) {
    const json_t *v = json_object_get(k->in, name);
    ENSURE(v != NULL || !required, ERR_INVALID_INPUT, "the command needs '%s'", name);
    ENSURE(v == NULL || json_is_string(v), ERR_INVALID_INPUT, "'%s' must be a string", name);
    *ret = json_slice(v);
    return OK;
}

err call_number(const call *k, const char *name, uint64_t otherwise, uint64_t *ret) {
    slice text;
    TRY(call_field(k, name, false, &text));
    *ret = otherwise;
    if (text.len == 0) return OK;
    ENSURE(slice_u64(text, ret) == OK, ERR_INVALID_INPUT, "'%s' is a number", name);
    return OK;
}

void call_set(json_t *to, const char *name, slice v) {
    const char *text = v.p ? (const char *)v.p : ""; /* jansson takes no NULL, however short */
    MUST(json_object_set_new_nocheck(to, name, json_stringn_nocheck(text, v.len)) == 0);
}

void call_set_time(arena *a, json_t *to, const char *name, int64_t us) {
    buf b;
    buf_init_arena(&b, a, 64);
    time_put_iso_s(&b, us);
    call_set(to, name, buf_slice(&b));
}

static slice base64_of(arena *a, slice bytes) {
    buf b;
    buf_init_arena(&b, a, 4096);
    base64_put(&b, bytes);
    return buf_slice(&b);
}

/* ---- accounts ---- */

/* Both keys, and the connection string of the first. */
static err put_keys(call *k, const store_account *account) {
    slice endpoint;
    TRY(call_field(k, "endpoint", false, &endpoint));
    if (slice_empty(endpoint))
        endpoint = slice_str(k->st->endpoint ? k->st->endpoint : ADMIN_ENDPOINT_DEFAULT);
    while (slice_ends(endpoint, S("/"))) endpoint.len--;
    bool https = slice_starts_nocase(endpoint, S("https://"));
    ENSURE(https || slice_starts_nocase(endpoint, S("http://")), ERR_INVALID_INPUT,
           "endpoint '%.*s' must begin with http:// or https://", SLICE_ARG(endpoint));
    json_t *keys = json_array();
    slice first = SLICE_NONE, second = SLICE_NONE;
    for (size_t i = 0; i < ARRAY_LEN(account->keys); i++) {
        if (!account->key_set[i]) continue;
        slice text = base64_of(k->c.arena, account->keys[i]);
        if (!first.p)
            first = text;
        else
            second = text;
        MUST(json_array_append_new(keys, json_stringn((const char *)text.p, text.len)) == 0);
    }
    call_set(k->out, "name", account->name);
    MUST(json_object_set_new(k->out, "keys", keys) == 0);
    slice line = arena_fmt(k->c.arena,
                           "DefaultEndpointsProtocol=%s;AccountName=%.*s;AccountKey=%.*s;"
                           "BlobEndpoint=%.*s/%.*s;",
                           https ? "https" : "http", SLICE_ARG(account->name), SLICE_ARG(first),
                           SLICE_ARG(endpoint), SLICE_ARG(account->name));
    call_set(k->out, "connection_string", line);
    wipe_text(first);
    wipe_text(second);
    wipe_text(line);
    return OK;
}

static err given_keys(call *k, slice ret[2]) {
    const json_t *keys = json_object_get(k->in, "keys"), *v;
    size_t i;
    ret[0] = SLICE_NONE;
    ret[1] = SLICE_NONE;
    if (!keys) return OK;
    ENSURE(json_is_array(keys) && json_array_size(keys) <= 2, ERR_INVALID_INPUT,
           "'keys' must be a list of at most two");
    json_array_foreach(keys, i, v) {
        ENSURE(json_is_string(v), ERR_INVALID_INPUT, "a key must be a string");
        ENSURE(base64_get(k->c.arena, json_slice(v), &ret[i]) == OK && ret[i].len == 64,
               ERR_INVALID_INPUT, "a shared key must be 64 bytes in base64");
    }
    return OK;
}

static err with_account(call *k, slice name, err (*then)(call *, const store_account *)) {
    const store_account *account;
    err e = store_account_get(k->st->store, k->c, name, &account);
    if (e == ERR_NOT_FOUND)
        return err_fail(e, "there is no account '%.*s'", SLICE_ARG(slice_take(name, 64)));
    TRY(e);
    e = then(k, account);
    store_account_unref(account);
    return e;
}

static err account_create(call *k) {
    slice name, keys[2];
    TRY(call_field(k, "name", true, &name));
    TRY(given_keys(k, keys));
    TRY(store_account_create(k->st->store, k->c, name, keys));
    return with_account(k, name, put_keys);
}

static void list_account(void *ctx, const store_account *account) {
    call *k = ctx;
    json_t *one = json_object();
    call_set(one, "name", account->name);
    call_set_time(k->c.arena, one, "created", account->created_us);
    MUST(json_array_append_new(json_object_get(k->out, "accounts"), one) == 0);
}

static err account_list(call *k) {
    MUST(json_object_set_new(k->out, "accounts", json_array()) == 0);
    return store_account_list(k->st->store, k->c, list_account, k);
}

static err count_container(void *ctx, const store_container *container) {
    (void)container;
    ++*(uint64_t *)ctx;
    return OK;
}

static json_t *setting_json(arena *a, const store_settings *v, const store_setting *which) {
    const slice text = store_setting_text(a, v, which);
    uint64_t number;
    if (which->kind == STORE_SETTING_NUMBER && slice_u64(text, &number) == OK)
        return json_integer((json_int_t)number);
    return json_stringn(text.p ? (const char *)text.p : "", text.len);
}

static void put_settings(call *k, const store_account *account) {
    size_t n;
    const store_setting *list = store_setting_list(&n);
    json_t *to = json_object();
    for (size_t i = 0; i < n; i++)
        MUST(json_object_set_new(to, list[i].name,
                                 setting_json(k->c.arena, &account->settings, &list[i])) == 0);
    MUST(json_object_set_new(k->out, "settings", to) == 0);
}

static err put_account(call *k, const store_account *account) {
    uint64_t containers = 0;
    slice next = SLICE_NONE;
    call_set(k->out, "name", account->name);
    call_set_time(k->c.arena, k->out, "created", account->created_us);
    json_object_set_new(k->out, "id", json_integer((json_int_t)account->id));
    json_t *set = json_array();
    for (size_t i = 0; i < ARRAY_LEN(account->key_set); i++)
        json_array_append_new(set, json_boolean(account->key_set[i]));
    json_object_set_new(k->out, "keys_set", set);
    do {
        const store_container_list q = {.max = STORE_LIST_MAX, .marker = next};
        next = SLICE_NONE;
        TRY(store_container_scan(k->st->store, k->c, account, &q, count_container, &containers,
                                 &next));
    } while (!slice_empty(next));
    json_object_set_new(k->out, "containers", json_integer((json_int_t)containers));
    put_settings(k, account);
    return OK;
}

static err settings_made(call *k, const store_account *account) {
    call_set(k->out, "name", account->name);
    put_settings(k, account);
    return OK;
}

static err account_set(call *k) {
    slice name, setting;
    TRY(call_field(k, "name", true, &name));
    TRY(call_field(k, "setting", true, &setting));
    err e = store_account_set(k->st->store, k->c, name, setting);
    if (e == ERR_NOT_FOUND)
        return err_fail(e, "there is no account '%.*s'", SLICE_ARG(slice_take(name, 64)));
    TRY(e);
    return with_account(k, name, settings_made);
}

static err account_show(call *k) {
    slice name;
    TRY(call_field(k, "name", true, &name));
    return with_account(k, name, put_account);
}

static err account_delete(call *k) {
    slice name;
    TRY(call_field(k, "name", true, &name));
    err e = store_account_delete(k->st->store, k->c, name);
    if (e == ERR_NOT_FOUND)
        return err_fail(e, "there is no account '%.*s'", SLICE_ARG(slice_take(name, 64)));
    TRY(e);
    call_set(k->out, "deleted", name);
    return OK;
}

/* "key" may be 1, 2, "1" or "2". */
static err key_rotate(call *k) {
    slice name;
    TRY(call_field(k, "name", true, &name));
    const json_t *v = json_object_get(k->in, "key");
    bool first =
        slice_eq(json_slice(v), S("1")) || (json_is_integer(v) && json_integer_value(v) == 1);
    bool second =
        slice_eq(json_slice(v), S("2")) || (json_is_integer(v) && json_integer_value(v) == 2);
    ENSURE(first || second, ERR_INVALID_INPUT, "'key' must say which key to replace: 1 or 2");
    err e = store_account_rotate(k->st->store, k->c, name, second ? 1 : 0);
    if (e == ERR_NOT_FOUND)
        return err_fail(e, "there is no account '%.*s'", SLICE_ARG(slice_take(name, 64)));
    TRY(e);
    call_set(k->out, "name", name);
    json_object_set_new(k->out, "rotated", json_integer(second ? 2 : 1));
    return OK;
}

static err key_show(call *k) {
    slice name;
    TRY(call_field(k, "name", true, &name));
    return with_account(k, name, put_keys);
}

/* ---- containers ---- */

static const char *public_name(store_public p) {
    return p == STORE_PUBLIC_CONTAINER ? "container" : p == STORE_PUBLIC_BLOB ? "blob" : "private";
}

static void put_container(call *k, json_t *to, const store_container *c) {
    call_set(to, "name", c->name);
    call_set_time(k->c.arena, to, "created", c->created_us);
    call_set_time(k->c.arena, to, "modified", c->modified_us);
    MUST(json_object_set_new(to, "public", json_string(public_name(c->public_access))) == 0);
}

static void put_scope(json_t *to, const store_default_scope *d) {
    json_t *scope = json_object();
    call_set(scope, "default", d->name.len > 0 ? d->name : STORE_ACCOUNT_SCOPE);
    json_object_set_new(scope, "only", json_boolean(d->deny_override));
    MUST(json_object_set_new(to, "scope", scope) == 0);
}

static void put_guard(json_t *to, const store_guard *g) {
    json_t *protection = json_object();
    json_object_set_new(protection, "immutable_days", json_integer(g->days));
    json_object_set_new(protection, "immutable_append", json_string(g->append ? "on" : "off"));
    json_object_set_new(protection, "locked", json_boolean(g->locked));
    call_set(protection, "holds", g->holds);
    call_set(protection, "purpose", g->purpose ? S("required") : S("optional"));
    call_set(protection, "acknowledge", g->witnessed ? S("witnessed") : S("durable"));
    MUST(json_object_set_new(to, "protection", protection) == 0);
}

static err container_made(call *k, const store_account *account) {
    slice name, access;
    TRY(call_field(k, "name", true, &name));
    TRY(call_field(k, "public", false, &access));
    store_public p = STORE_PRIVATE;
    if (slice_eq(access, S("blob")))
        p = STORE_PUBLIC_BLOB;
    else if (slice_eq(access, S("container")))
        p = STORE_PUBLIC_CONTAINER;
    else
        ENSURE(slice_empty(access) || slice_eq(access, S("private")), ERR_INVALID_INPUT,
               "'public' must be private, blob or container");
    const store_container *container;
    store_default_scope scope;
    slice only;
    TRY(call_field(k, "default_scope", false, &scope.name));
    TRY(call_field(k, "scope_only", false, &only));
    ENSURE(scope.name.len > 0 || only.len == 0, ERR_INVALID_INPUT,
           "'scope_only' needs a 'default_scope'");
    scope.deny_override = only.len > 0;
    if (slice_eq(scope.name, STORE_ACCOUNT_SCOPE)) scope.name = SLICE_NONE;
    TRY(store_container_create_under(k->st->store, k->c, account, name, p, &scope, NULL, 0,
                                     &container));
    put_container(k, k->out, container);
    store_container_unref(container);
    return OK;
}

static err list_container(void *ctx, const store_container *container) {
    call *k = ctx;
    json_t *one = json_object();
    put_container(k, one, container);
    MUST(json_array_append_new(json_object_get(k->out, "containers"), one) == 0);
    return OK;
}

static err containers_listed(call *k, const store_account *account) {
    store_container_list q = {.max = ADMIN_PAGE_MAX};
    slice next = SLICE_NONE;
    TRY(call_field(k, "prefix", false, &q.prefix));
    TRY(call_field(k, "marker", false, &q.marker));
    MUST(json_object_set_new(k->out, "containers", json_array()) == 0);
    TRY(store_container_scan(k->st->store, k->c, account, &q, list_container, k, &next));
    if (!slice_empty(next)) call_set(k->out, "next", next);
    return OK;
}

static err container_shown(call *k, const store_account *account) {
    slice name;
    const store_container *container;
    TRY(call_field(k, "name", true, &name));
    TRY(store_container_get(k->st->store, k->c, account, name, &container));
    put_container(k, k->out, container);
    json_t *metadata = json_object(), *policies = json_array();
    for (size_t i = 0; i < container->metadata_count; i++) {
        slice key = arena_dup(k->c.arena, container->metadata[i].name);
        char *text = arena_cstr(k->c.arena, key);
        json_t *v = json_stringn((const char *)container->metadata[i].value.p,
                                 container->metadata[i].value.len);
        (void)json_object_set_new(metadata, text, v); /* what is not UTF-8 is left out */
    }
    for (size_t i = 0; i < container->policy_count; i++) {
        slice id = container->policies[i].id;
        (void)json_array_append_new(policies, json_stringn((const char *)id.p, id.len));
    }
    MUST(json_object_set_new(k->out, "metadata", metadata) == 0);
    MUST(json_object_set_new(k->out, "policies", policies) == 0);
    put_guard(k->out, &container->guard);
    put_scope(k->out, &container->scope);
    store_container_unref(container);
    return OK;
}

static err container_set_in(call *k, const store_account *account) {
    slice name, setting;
    const store_container *container;
    TRY(call_field(k, "name", true, &name));
    TRY(call_field(k, "setting", true, &setting));
    TRY(store_container_guard_set(k->st->store, k->c, account, name, setting, &container));
    call_set(k->out, "name", container->name);
    put_guard(k->out, &container->guard);
    store_container_unref(container);
    return OK;
}

static err container_deleted(call *k, const store_account *account) {
    slice name;
    const store_conditions none = STORE_NO_CONDITIONS;
    TRY(call_field(k, "name", true, &name));
    TRY(store_container_delete(k->st->store, k->c, account, name, &none));
    call_set(k->out, "deleted", name);
    return OK;
}

err call_in_account(call *k, err (*then)(call *, const store_account *)) {
    slice account;
    TRY(call_field(k, "account", true, &account));
    return with_account(k, account, then);
}
static err container_create(call *k) {
    return call_in_account(k, container_made);
}
static err container_list(call *k) {
    return call_in_account(k, containers_listed);
}
static err container_show(call *k) {
    return call_in_account(k, container_shown);
}
static err container_set(call *k) {
    return call_in_account(k, container_set_in);
}
static err container_delete(call *k) {
    return call_in_account(k, container_deleted);
}

/* ---- dispatch ---- */

#define SEARCH_FIELDS                                                                              \
    "from", "since", "until", "class", "action", "result", "purpose", "account", "container",      \
        "blob", "actor"

static const struct command {
    const char *name;
    err (*run)(call *k);
    const char *fields[16]; /* what it understands beside "command"; others are refused */
    const char *audit_class;
} commands[] = {
    {"account create", account_create, {"name", "keys", "endpoint"}, "admin"},
    {"account list", account_list, {NULL}, "consultation"},
    {"account show", account_show, {"name"}, "consultation"},
    {"account delete", account_delete, {"name"}, "erasure"},
    {"account rotate", key_rotate, {"name", "key"}, "key"},
    {"account set", account_set, {"name", "setting"}, "policy"},
    {"container create",
     container_create,
     {"account", "name", "public", "default_scope", "scope_only"},
     "admin"},
    {"container list", container_list, {"account", "prefix", "marker"}, "consultation"},
    {"container show", container_show, {"account", "name"}, "consultation"},
    {"container set", container_set, {"account", "name", "setting"}, "policy"},
    {"container delete", container_delete, {"account", "name"}, "erasure"},
    {"scope create", scope_create, {"account", "scope"}, "key"},
    {"scope list", scope_list, {"account"}, "consultation"},
    {"scope enable", scope_enable, {"account", "scope"}, "policy"},
    {"scope disable", scope_disable, {"account", "scope"}, "policy"},
    {"scope destroy", scope_destroy, {"account", "scope"}, "erasure"},
    {"lifecycle set", lifecycle_set, {"account", "policy"}, "policy"},
    {"lifecycle show", lifecycle_show, {"account"}, "consultation"},
    {"lifecycle remove", lifecycle_remove, {"account"}, "policy"},
    {"lifecycle run", lifecycle_run, {"account", "dry"}, "admin"},
    {"audit key", audit_key, {NULL}, "consultation"},
    {"audit status", audit_status, {NULL}, "consultation"},
    {"audit search", audit_search, {SEARCH_FIELDS, "count", "open"}, "oversight"},
    {"audit watch", audit_watch, {SEARCH_FIELDS, "open", "wait"}, "oversight"},
    {"audit receipts", audit_receipts, {SEARCH_FIELDS}, "disclosure"},
    {"audit export", audit_export, {SEARCH_FIELDS, "open", "format"}, "disclosure"},
    {"audit witnesses", audit_witnesses_show, {NULL}, "consultation"},
    {"oversight add", overseer_add, {"overseer", "rights", "accounts", "expires"}, "key"},
    {"oversight list", overseer_list, {NULL}, "consultation"},
    {"oversight enable", overseer_enable, {"overseer"}, "policy"},
    {"oversight disable", overseer_disable, {"overseer"}, "policy"},
    {"oversight remove", overseer_remove, {"overseer"}, "policy"},
    {"backup begin", backup_begin, {NULL}, "admin"},
    {"backup renew", backup_renew, {"id"}, "admin"},
    {"backup end", backup_end, {"id"}, "admin"},
    {"backup abandon", backup_end, {"id"}, "admin"},
    {"key show", key_show, {"name", "endpoint"}, "key"},
    {"key rotate", key_rotate, {"name", "key"}, "key"},
};

static bool understands(const struct command *c, const char *name) {
    if (strcmp(name, "command") == 0) return true;
    for (size_t i = 0; i < ARRAY_LEN(c->fields) && c->fields[i]; i++)
        if (strcmp(name, c->fields[i]) == 0) return true;
    return false;
}

static err find_command(json_t *in, const struct command **ret) {
    ENSURE(json_is_object(in), ERR_INVALID_INPUT, "the request is not a JSON object");
    slice name = json_slice(json_object_get(in, "command"));
    ENSURE(!slice_empty(name), ERR_INVALID_INPUT, "the request names no 'command'");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!slice_eq(name, slice_str(commands[i].name))) continue;
        const char *key;
        json_t *value;
        json_object_foreach(in, key, value) {
            ENSURE(understands(&commands[i], key), ERR_INVALID_INPUT,
                   "command '%s' has no field '%.64s'", commands[i].name, key);
        }
        *ret = &commands[i];
        return OK;
    }
    return err_fail(ERR_INVALID_INPUT, "there is no command '%.*s'",
                    SLICE_ARG(slice_take(name, 64)));
}

static err dump(arena *a, const json_t *v, slice *ret) {
    char *text = json_dumps(v, JSON_COMPACT | JSON_PRESERVE_ORDER);
    MUST(text != NULL);
    slice whole = slice_str(text);
    if (whole.len <= ADMIN_RESPONSE_MAX) *ret = arena_dup(a, whole);
    err e = whole.len <= ADMIN_RESPONSE_MAX
                ? OK
                : err_fail(ERR_NO_MEMORY, "the answer would be %zu bytes long", whole.len);
    wiping_free(text); /* it may hold a shared key */
    return e;
}

err admin_call(admin_state *st, arena *a, slice request, slice *ret_response) {
    ENSURE(request.len > 0 && request.len <= ADMIN_REQUEST_MAX, ERR_INVALID_INPUT,
           "a request is 1 to %u bytes of JSON", ADMIN_REQUEST_MAX);
    json_error_t why;
    const struct command *command = NULL;
    call k = {.st = st, .c = {.arena = a}};
    k.in = json_loadb((const char *)request.p, request.len, JSON_REJECT_DUPLICATES, &why);
    ENSURE(k.in != NULL, ERR_INVALID_INPUT, "the request is not JSON: line %d, column %d", why.line,
           why.column);
    k.out = json_object();
    MUST(k.out != NULL);
    err e = find_command(k.in, &command);
    k.command = e == OK ? command->name : "unknown";
    k.audit_class = e == OK ? command->audit_class : "refused";
    call_record_begin(&k);
    if (e == OK) e = command->run(&k);
    e = call_record_end(&k, e);
    if (e == OK) e = dump(a, k.out, ret_response);
    json_decref(k.in);
    json_decref(k.out);
    return e;
}
