/* What copies need to know of this server and others: the names by which it is reached, so that a source
 * here is read here; and the servers that the operator lets them read from. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "cli/cli.h"

#define SELF_MAX 256

typedef struct names {
    arena *arena;
    slice *list;
    size_t count;
} names;

static void add(names *n, const char *host, uint16_t port) {
    if (n->count == SELF_MAX) return;
    bool v6 = strchr(host, ':') != NULL;
    n->list[n->count++] = arena_fmt(n->arena, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

/* A listener on every address is reached by each that this machine has. */
static void add_all(names *n, uint16_t port) {
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) return;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        const void *at = NULL;
        if (i->ifa_addr == NULL) continue;
        if (i->ifa_addr->sa_family == AF_INET)
            at = &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
        if (i->ifa_addr->sa_family == AF_INET6)
            at = &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
        if (at != NULL && inet_ntop(i->ifa_addr->sa_family, at, text, sizeof text) != NULL)
            add(n, text, port);
    }
    freeifaddrs(all);
}

static void add_listener(names *n, const http_listener *l) {
    if (l->address == NULL || !l->ops->authenticate) return; /* not one of blobs */
    bool every = strcmp(l->address, "0.0.0.0") == 0 || strcmp(l->address, "::") == 0;
    bool loopback = strncmp(l->address, "127.", 4) == 0 || strcmp(l->address, "::1") == 0;
    if (every)
        add_all(n, l->port);
    else
        add(n, l->address, l->port);
    if (every || loopback) add(n, "localhost", l->port);
}

/* The authority of an endpoint's URL. */
static void add_endpoint(names *n, slice url) {
    size_t at = slice_find_slice(url, 0, S("://"));
    if (at == url.len || n->count == SELF_MAX) return;
    slice rest = slice_skip(url, at + 3);
    n->list[n->count++] = slice_take(rest, slice_find(rest, 0, '/'));
}

void cli_copy_self(arena *a, const cli_settings *s, const http_listener *listeners, size_t count,
                   blob_service *ret) {
    names n = {.arena = a, .list = arena_alloc(a, SELF_MAX * sizeof(slice))};
    for (size_t i = 0; i < count; i++) add_listener(&n, &listeners[i]);
    add_endpoint(&n, s->endpoint);
    ret->self = n.list;
    ret->self_count = n.count;
}

err cli_copy_sources(arena *a, const cli_settings *s, fetch **ret) {
    const fetch_options o = {
        .sources = s->copy_sources.items,
        .source_count = s->copy_sources.count,
        .private_sources = s->copy_sources_private.items,
        .private_count = s->copy_sources_private.count,
        .ca_file = slice_empty(s->copy_sources_ca) ? NULL : arena_cstr(a, s->copy_sources_ca)};
    *ret = NULL;
    return o.source_count + o.private_count > 0 ? fetch_new(&o, ret) : OK;
}
