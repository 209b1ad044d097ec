/* Private to fetch/. */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "fetch/fetch.h"

typedef struct fetch_entry {
    bool suffix;        /* host is the end of a host, with its dot */
    bool reach_private; /* addresses of any kind */
    slice scheme, host; /* lower case */
    uint16_t port;
    slice path; /* what the URL's path begins with; "/" for hosts */
} fetch_entry;

struct fetch {
    arena *mem;
    fetch_entry *entries;
    size_t entry_count;
    const char *ca_file;
    atomic_bool cancelled;
};

/* allow.c */
err fetch_entry_parse(arena *a, slice text, bool reach_private, fetch_entry *ret) CHECKED;
/* Parses the URL; ret_url is freed with curl_url_cleanup. ret_private: what admits it lets it reach any
 * address. The errors of fetch_admit. */
err fetch_admit_url(const fetch *f, slice url, CURLU **ret_url, bool *ret_private) CHECKED;
/* Is this an address of the public Internet? */
bool fetch_address_public(const struct sockaddr *at, socklen_t len);
