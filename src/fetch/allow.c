/* Which sources may be asked, and at which addresses they may live.
 *
 * URLs are taken apart by libcurl, which then connects by the very same parts, so that there are no two
 * opinions on what a URL means. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "fetch/internal.h"

/* ---- URLs ---------------------------------------------------------------------------------------- */

typedef struct url_parts {
    slice scheme, host, path;
    uint16_t port;
} url_parts;

static slice lower(arena *a, slice s) {
    uint8_t *p = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (uint8_t)(s.p[i] | 0x20) : s.p[i];
    return slice_of(p, s.len);
}

static slice part_of(arena *a, CURLU *u, CURLUPart which, unsigned flags) {
    char *text = NULL;
    if (curl_url_get(u, which, &text, flags) != CURLUE_OK) return SLICE_NONE;
    slice s = arena_dup(a, slice_str(text));
    curl_free(text);
    return s;
}

static err bad_url(const char *why) {
    return err_fail(ERR_INVALID_HEADER_VALUE, "the copy source is not a URL to read from: %s", why);
}

static err parse(arena *a, slice url, CURLU **ret, url_parts *ret_parts) {
    for (size_t i = 0; i < url.len; i++)
        if (url.p[i] <= ' ' || url.p[i] >= 0x7F)
            return bad_url("it holds a character that must be percent-encoded");
    if (url.len == 0 || url.len > FETCH_URL_MAX) return bad_url("it is empty or too long");
    CURLU *u = curl_url();
    MUST(u != NULL);
    CURLUcode code = curl_url_set(u, CURLUPART_URL, arena_cstr(a, url), 0);
    if (code != CURLUE_OK) {
        curl_url_cleanup(u);
        return bad_url(curl_url_strerror(code));
    }
    uint64_t port = 0;
    slice user = part_of(a, u, CURLUPART_USER, 0), password = part_of(a, u, CURLUPART_PASSWORD, 0);
    slice port_text = part_of(a, u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    url_parts p = {.scheme = lower(a, part_of(a, u, CURLUPART_SCHEME, 0)),
                   .host = lower(a, part_of(a, u, CURLUPART_HOST, 0)),
                   .path = part_of(a, u, CURLUPART_PATH, 0)};
    (void)curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    bool web = slice_eq(p.scheme, S("https")) || slice_eq(p.scheme, S("http"));
    const char *why = !web                                   ? "only https:// and http:// are read"
                      : user.p != NULL || password.p != NULL ? "it names a user"
                      : p.host.len == 0                      ? "it names no host"
                      : slice_u64(port_text, &port) != OK || port == 0 || port > 65535
                          ? "its port is not a port"
                          : NULL;
    if (why != NULL) {
        curl_url_cleanup(u);
        return bad_url(why);
    }
    p.port = (uint16_t)port;
    *ret = u;
    *ret_parts = p;
    return OK;
}

/* ---- entries ------------------------------------------------------------------------------------- */

static bool host_char(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':' ||
           c == '[' || c == ']' || c == '_';
}

static err parse_host(arena *a, slice text, fetch_entry *e) {
    uint64_t port = 443;
    slice host = lower(a, slice_starts(text, S("*.")) ? slice_skip(text, 1) : text);
    size_t colon = slice_find(host, 0, ':');
    if (host.p[0] != '[' && colon < host.len) {
        ENSURE(slice_u64(slice_skip(host, colon + 1), &port) == OK && port >= 1 && port <= 65535,
               ERR_CONFIG, "copy_sources: '%.*s': the port is not a number from 1 to 65535",
               SLICE_ARG(text));
        host = slice_take(host, colon);
    }
    e->suffix = host.len > 0 && host.p[0] == '.';
    bool good = host.len > (e->suffix ? 2u : 0u);
    for (size_t i = 0; i < host.len && good; i++) good = host_char(host.p[i]);
    ENSURE(good, ERR_CONFIG,
           "copy_sources: '%.*s' is neither a host (storage.example.org), the end of one "
           "(.blob.core.windows.net) nor the beginning of a URL (https://example.org/public/)",
           SLICE_ARG(text));
    e->scheme = S("https");
    e->host = host;
    e->port = (uint16_t)port;
    e->path = S("/");
    return OK;
}

err fetch_entry_parse(arena *a, slice text, bool reach_private, fetch_entry *ret) {
    fetch_entry e = {.reach_private = reach_private};
    if (text.len > 0 && slice_find_slice(text, 0, S("://")) == text.len) {
        TRY(parse_host(a, text, &e));
    } else {
        CURLU *u;
        url_parts p;
        ENSURE(parse(a, text, &u, &p) == OK, ERR_CONFIG,
               "copy_sources: '%.*s' is not the beginning of an http:// or https:// URL",
               SLICE_ARG(text));
        curl_url_cleanup(u);
        e.scheme = p.scheme;
        e.host = p.host;
        e.port = p.port;
        e.path = p.path;
    }
    *ret = e;
    return OK;
}

/* Dots or a backslash that a server might take for a step up after decoding once more. */
static bool steps_up(slice path) {
    if (memchr(path.p, '\\', path.len) != NULL) return true;
    for (size_t i = 0; i + 2 < path.len; i++) {
        if (path.p[i] != '%' || path.p[i + 1] != '2') continue;
        uint8_t low = path.p[i + 2] | 0x20;
        if (low == 'e') return true;
        bool before = i >= 2 && path.p[i - 1] == '.' && path.p[i - 2] == '.';
        if (low == 'f' && (before || slice_starts(slice_skip(path, i + 3), S("..")))) return true;
    }
    return false;
}

/* A prefix ends at a segment's end. */
static bool path_fits(slice prefix, slice path) {
    if (slice_eq(prefix, S("/"))) return true;
    if (!slice_starts(path, prefix) || steps_up(path)) return false;
    return prefix.p[prefix.len - 1] == '/' || path.len == prefix.len || path.p[prefix.len] == '/';
}

static bool admits(const fetch_entry *e, const url_parts *p) {
    if (!slice_eq(e->scheme, p->scheme) || e->port != p->port) return false;
    bool host = e->suffix ? p->host.len > e->host.len && slice_ends(p->host, e->host)
                          : slice_eq(p->host, e->host);
    return host && path_fits(e->path, p->path);
}

err fetch_admit_url(const fetch *f, slice url, CURLU **ret_url, bool *ret_private) {
    CURLU *u;
    url_parts p;
    arena *tmp = arena_new(1024, 256 << 10);
    err e = parse(tmp, url, &u, &p);
    if (e == OK) {
        bool found = false, reach_private = false;
        for (size_t i = 0; i < f->entry_count; i++) {
            if (!admits(&f->entries[i], &p)) continue;
            found = true;
            reach_private |= f->entries[i].reach_private;
        }
        if (found) {
            *ret_url = u;
            *ret_private = reach_private;
        } else {
            curl_url_cleanup(u);
            e = err_fail(
                ERR_COPY_SOURCE_REFUSED,
                "%.*s://%.*s:%u is not a source that this server may read from; its operator "
                "lists them in copy_sources",
                SLICE_ARG(p.scheme), SLICE_ARG(slice_take(p.host, 200)), p.port);
        }
    }
    arena_free(tmp);
    return e;
}

err fetch_admit(const fetch *f, slice url) {
    CURLU *u;
    bool reach_private;
    TRY(fetch_admit_url(f, url, &u, &reach_private));
    curl_url_cleanup(u);
    return OK;
}

/* ---- addresses: the special-purpose registries of IANA (RFC 6890) ------------------------------------ */

static bool v4_public(uint32_t a) {
    static const struct {
        uint32_t net;
        unsigned bits;
    } special[] = {
        {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
        {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
        {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(special); i++)
        if (((a ^ special[i].net) >> (32 - special[i].bits)) == 0) return false;
    return true;
}

static uint32_t v4_in(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool v6_public(const uint8_t p[16]) {
    static const uint8_t zero[16], nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (memcmp(p, zero, 10) == 0 && p[10] == 0xff && p[11] == 0xff) return v4_public(v4_in(p + 12));
    if (memcmp(p, nat64, sizeof nat64) == 0) return v4_public(v4_in(p + 12));
    if ((p[0] & 0xe0) != 0x20) return false; /* 2000::/3 is all that is global */
    if (p[0] == 0x20 && p[1] == 0x02) return v4_public(v4_in(p + 2)); /* 6to4 */
    if (p[0] == 0x20 && p[1] == 0x01 && p[2] < 2) return false; /* 2001::/23: Teredo and others */
    return !(p[0] == 0x20 && p[1] == 0x01 && p[2] == 0x0d && p[3] == 0xb8);
}

bool fetch_address_public(const struct sockaddr *at, socklen_t len) {
    if (at->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in v4;
        memcpy(&v4, at, sizeof v4);
        return v4_public(ntohl(v4.sin_addr.s_addr));
    }
    if (at->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, at, sizeof v6);
        return v6_public(v6.sin6_addr.s6_addr);
    }
    return false;
}
