/* Which account, container and blob a request names. "Naming and referencing containers, blobs, and
 * metadata"; "Working with the root container".
 *
 *   path style  /account[-secondary][/container[/blob]]
 *   host style  /[container[/blob]] at account[-secondary].SUFFIX
 *
 * The path is decoded once, then cut: %2F is a slash. A single segment without restype=container or
 * restype=account names a blob of $root. */
#include "blob/internal.h"

static err decode(arena *a, slice raw, slice *ret) {
    if (memchr(raw.p, '%', raw.len) == NULL) {
        *ret = raw;
    } else if (percent_get(a, raw, false, ret) != OK) {
        return err_fail(ERR_INVALID_URI, "the path is not correctly percent-encoded");
    }
    ENSURE(memchr(ret->p, 0, ret->len) == NULL, ERR_INVALID_URI, "the path holds a NUL character");
    ENSURE(slice_utf8_valid(*ret), ERR_INVALID_URI, "the path is not UTF-8");
    return OK;
}

/* Splits at the first slash. */
static slice cut(slice *rest) {
    size_t at = slice_find(*rest, 0, '/');
    slice head = slice_take(*rest, at);
    *rest = slice_skip(*rest, at + 1);
    return head;
}

static err take_account(ops_request *r, slice name) {
    r->secondary = slice_ends(name, S("-secondary"));
    if (r->secondary) name.len -= S("-secondary").len;
    ENSURE(store_account_name_valid(name), ERR_INVALID_URI,
           "'%.*s' is not an account's name: 3 to 24 lower-case letters and digits",
           SLICE_ARG(slice_take(name, 64)));
    r->account_name = name;
    return OK;
}

/* Azurite takes any host with a dot for one that begins with the account, but for addresses and the
 * name by which a container reaches its host. */
static slice first_label(slice host) {
    size_t dot = slice_find(host, 0, '.');
    bool number = true;
    if (dot == host.len || dot == 0 || slice_eq_nocase(host, S("host.docker.internal")))
        return SLICE_NONE;
    for (size_t i = 0; i < host.len; i++)
        number = number && (host.p[i] == '.' || (host.p[i] >= '0' && host.p[i] <= '9'));
    return number ? SLICE_NONE : slice_take(host, dot);
}

/* The account's part of the Host header, or empty when that is not ACCOUNT.SUFFIX[:port]. */
static slice host_account(const ops_request *r) {
    slice suffix = r->server->host_suffix;
    if (suffix.len == 0 && !r->server->account_in_host) return SLICE_NONE;
    slice host = ops_header(r, "Host");
    if (host.len > 0 && host.p[0] == '[') return SLICE_NONE;
    host = slice_take(host, slice_find(host, 0, ':'));
    if (r->server->account_in_host) return first_label(host);
    if (host.len < suffix.len + 2) return SLICE_NONE;
    size_t at = host.len - suffix.len;
    if (host.p[at - 1] != '.' || !slice_eq_nocase(slice_skip(host, at), suffix)) return SLICE_NONE;
    return slice_take(host, at - 1);
}

slice blob_lower(arena *a, slice s) {
    uint8_t *p = arena_alloc(a, s.len);
    for (size_t i = 0; i < s.len; i++)
        p[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (uint8_t)(s.p[i] | 0x20) : s.p[i];
    return slice_of(p, s.len);
}

/* "Azure Storage Server will replace "\" with "/" in the blob names" (the public SDKs' tests). */
static slice with_slashes(arena *a, slice path) {
    if (slice_find(path, 0, '\\') == path.len) return path;
    uint8_t *p = arena_alloc(a, path.len);
    for (size_t i = 0; i < path.len; i++) p[i] = path.p[i] == '\\' ? '/' : path.p[i];
    return slice_of(p, path.len);
}

err blob_address(ops_request *r) {
    slice path, account = host_account(r);
    TRY(decode(r->arena, r->path_raw, &path));
    path = with_slashes(r->arena, path);
    ENSURE(path.len > 0 && path.p[0] == '/', ERR_INVALID_URI, "the path does not begin with '/'");
    path = slice_skip(path, 1);
    r->path_style = account.len == 0;
    TRY(take_account(r, r->path_style ? cut(&path) : blob_lower(r->arena, account)));
    size_t slash = slice_find(path, 0, '/');
    slice restype = ops_param(r, "restype");
    bool names_container =
        slash < path.len || slice_eq(restype, S("container")) || slice_eq(restype, S("account"));
    if (path.len > 0 && !names_container) {
        r->container = S("$root");
        r->blob = path;
    } else {
        r->container = cut(&path);
        r->blob = path;
    }
    if (r->blob.len == 0) r->blob = SLICE_NONE;
    return OK;
}

/* After the caller is known, so that what does not exist and what may not be seen answer alike.
 * Azure answers OutOfRangeInput for a container's name of the
 * wrong length and InvalidResourceName for one of the wrong letters. */
err blob_names_check(const ops_request *r) {
    if (r->container.len == 0) {
        ENSURE(r->blob.len == 0, ERR_INVALID_URI, "the path has no container before the blob");
        return OK;
    }
    if (!store_container_name_valid(r->container)) {
        bool length = r->container.len < 3 || r->container.len > 63;
        return err_fail(
            length ? ERR_OUT_OF_RANGE_INPUT : ERR_INVALID_RESOURCE_NAME,
            "%s'%.*s' is not a container's name: 3 to 63 lower-case letters, digits and "
            "single hyphens inside",
            length ? "The specified resource name length is not within the permissible "
                     "limits. "
                   : "",
            SLICE_ARG(slice_take(r->container, 80)));
    }
    ENSURE(r->blob.len == 0 || store_blob_name_valid(r->blob), ERR_INVALID_RESOURCE_NAME,
           "a blob's name has at most %d characters (UTF-16) and 254 path segments",
           STORE_BLOB_NAME_CHARS_MAX);
    return OK;
}

slice blob_endpoint(const ops_request *r) {
    buf b;
    slice host = ops_header(r, "Host");
    buf_init_arena(&b, r->arena, host.len + 64);
    buf_put(&b, r->tls ? S("https://") : S("http://"));
    buf_put(&b, host);
    buf_byte(&b, '/');
    if (r->path_style) {
        buf_put(&b, r->account_name);
        if (r->secondary) buf_put(&b, S("-secondary"));
        buf_byte(&b, '/');
    }
    return buf_slice(&b);
}
