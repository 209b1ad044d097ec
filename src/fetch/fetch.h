/* fetch: asks other servers: for copies whose source is not here, and witnesses of the record. The only code that
 * opens connections to somewhere else.
 *
 * What it promises
 *  1. Only what the operator listed is asked: a URL is admitted by an entry (allow.c) or refused
 *     before anything is looked up. With no entries everything is refused.
 *  2. The address that is connected to is looked at, not only the name: loopback, private, link-local
 *     and other special addresses are refused unless the entry that admits the URL is of the list
 *     that allows them. It is looked at when the socket is made, so a name that changes its mind
 *     between two look-ups gains nothing.
 *  3. Redirects are not followed, proxies and .netrc not used, certificates verified.
 *  4. A stream holds at most FETCH_BUFFER bytes; who does not read stops the sender. Every wait has an
 *     end: to connect, for the answer's head, between bytes, and altogether.
 *
 * Threads: a fetch is shared, a stream or a line is used by one thread at a time.
 * What it needs from below: base, libcurl. */
#pragma once

#include <stdatomic.h>

#include "base/base.h"

#define FETCH_URL_MAX     8192
#define FETCH_BUFFER      ((size_t)512 << 10)
#define FETCH_HEADERS_MAX 256
#define FETCH_ENTRIES_MAX 256
#define FETCH_LEN_UNKNOWN UINT64_MAX

typedef struct fetch fetch;

/* An entry is a host ("storage.example.org": https), the end of one (".blob.core.windows.net": https),
 * or the beginning of a URL ("https://example.org/public/", "http://10.0.0.7:10000/"). */
typedef struct fetch_options {
    const slice *sources; /* public addresses only */
    size_t source_count;
    const slice *private_sources; /* any address */
    size_t private_count;
    const char *ca_file; /* PEM: authorities instead of the system's; NULL: the system's */
} fetch_options;

/* ERR_CONFIG: an entry that cannot be read. */
err fetch_new(const fetch_options *o, fetch **ret) CHECKED;
/* Streams under way end with ERR_CANCELLED; new ones are refused. */
void fetch_cancel(fetch *f);
fetch *fetch_free(fetch *f); /* no stream may be open */

/* Would this URL be asked? ERR_COPY_SOURCE_REFUSED, ERR_INVALID_HEADER_VALUE for what is no URL. */
err fetch_admit(const fetch *f, slice url) CHECKED;

/* Keeps one connection between questions, for who asks the same server again and again. Used by one thread, for one
 * stream at a time. A connection that the other side has closed meanwhile is made anew, without an error. */
typedef struct fetch_line fetch_line;
fetch_line *fetch_line_new(void);
fetch_line *
fetch_line_free(fetch_line *l); /* no stream of it may be open; NULL allowed; returns NULL */

typedef struct fetch_ask {
    slice url;
    fetch_line *line; /* NULL: a connection of its own, closed with the stream */
    bool ranged;
    uint64_t first, last; /* of the range; last UINT64_MAX: to the end */
    const pair *headers;  /* more headers: conditions, Authorization, x-ms-version */
    size_t header_count;
    slice post;                   /* sent with POST, kept until the stream is closed; p NULL: GET */
    unsigned total_s;             /* the whole transfer ends within so many seconds */
    const atomic_bool *cancelled; /* NULL, or: set by another thread to end it (ERR_CANCELLED) */
} fetch_ask;

typedef struct fetch_answer {
    int status;
    uint64_t length; /* of the body; FETCH_LEN_UNKNOWN: chunked */
    const pair *headers;
    size_t header_count;
} fetch_answer;

typedef struct fetch_stream fetch_stream;
/* Sends the request and returns when the answer's head is there, whatever its status. Results are of
 * the arena. Beside fetch_admit's errors ERR_COPY_SOURCE_UNREACHABLE, with what curl says. */
err fetch_open(fetch *f, arena *a, const fetch_ask *ask, fetch_answer *ret,
               fetch_stream **ret_stream) CHECKED;
/* The next bytes of the body, up to cap; ret_n 0 at its end. ERR_COPY_SOURCE_UNREACHABLE when it ends
 * too early. */
err fetch_read(fetch_stream *s, uint8_t *out, size_t cap, size_t *ret_n) CHECKED;
fetch_stream *fetch_close(fetch_stream *s);

/* The first header of that name, or p NULL. */
slice fetch_header(const fetch_answer *a, const char *name);
