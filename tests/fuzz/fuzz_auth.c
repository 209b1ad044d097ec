/* Who asks: any query, headers and names get an answer; nothing unsigned gets in, and a refusal
 * leaves the caller untouched. Input: lines; "?query", "name: value" headers, "/container/blob" the
 * address. fuzz-folders: base crypto auth */
#include "auth/auth_internal.h"
#include "fuzz.h"

/* The store, as far as auth sees it: one container with one policy. */
static const store_container container = {
    .public_access = STORE_PUBLIC_BLOB,
    .policies = {{.id = {(const uint8_t *)"p", 1}, .has_permission = true}},
    .policy_count = 1};
err store_container_get(store *s, store_call c, const store_account *a, slice name,
                        const store_container **ret) {
    (void)s, (void)c, (void)a;
    if (name.len == 0) return err_fail(ERR_CONTAINER_NOT_FOUND, "no name");
    *ret = &container;
    return OK;
}
const store_container *store_container_unref(const store_container *k) {
    (void)k;
    return NULL;
}

typedef struct parsed {
    pair headers[32], params[32];
    auth_request r;
} parsed;

static void parse_line(parsed *p, slice line) {
    if (slice_starts(line, S("?"))) {
        slice rest = slice_skip(line, 1), part;
        while (p->r.param_count < ARRAY_LEN(p->params) && slice_split(&rest, '&', &part)) {
            size_t eq = slice_find(part, 0, '=');
            p->params[p->r.param_count++] = (pair){slice_take(part, eq), slice_skip(part, eq + 1)};
        }
    } else if (slice_starts(line, S("/"))) {
        size_t slash = slice_find(line, 1, '/');
        p->r.path_raw = line;
        p->r.container = slice_skip(slice_take(line, slash), 1);
        p->r.blob = slice_skip(line, slash + 1);
    } else if (p->r.header_count < ARRAY_LEN(p->headers)) {
        size_t colon = slice_find(line, 0, ':');
        p->headers[p->r.header_count++] =
            (pair){slice_take(line, colon), slice_trim(slice_skip(line, colon + 1))};
    }
}

FUZZ(data) {
    parsed p = {.r = {.method = S("GET"),
                      .path_raw = S("/"),
                      .account = S("records"),
                      .peer_ip = S("127.0.0.1")}};
    p.r.headers = p.headers;
    p.r.params = p.params;
    slice rest = data, line;
    while (slice_split(&rest, '\n', &line)) parse_line(&p, line);
    static const store_account account = {
        .name = {(const uint8_t *)"records", 7},
        .keys = {{(const uint8_t *)"0123456789abcdef0123456789abcdef", 32}},
        .key_set = {true, false}};
    static const auth_need need = {'o', "r", "r", AUTH_PUBLIC_BLOB, false};
    arena *a = arena_new(16384, (size_t)64 << 20);
    store_call c = {.arena = a};
    auth_caller who = {.key_index = 77};
    err e = auth_identify(NULL, c, &p.r, &account, &who);
    if (e != OK) {
        MUST(who.key_index == 77 && *err_detail() != 0);
        MUST(err_get(e)->status == 403 || err_get(e)->status == 400);
    } else {
        /* No input holds a signature under this key. */
        MUST(who.kind == AUTH_ANONYMOUS && who.key_index == -1);
        err permitted = auth_permit(NULL, c, &p.r, &who, &account, &need);
        MUST(permitted == OK || permitted == ERR_NO_AUTHENTICATION_INFORMATION);
    }
    /* The order of header names is an order. */
    for (size_t i = 0; i + 1 < p.r.header_count; i++) {
        slice x = p.headers[i].name, y = p.headers[i + 1].name;
        MUST(auth_header_order(x, y) == -auth_header_order(y, x) && auth_header_order(x, x) == 0);
    }
    /* Ranges never take in what is no address. */
    for (size_t i = 0; i < p.r.param_count; i++)
        MUST(!auth_ip_in(p.params[i].value, S("nonsense")));
    arena_free(a);
}
