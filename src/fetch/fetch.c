/* One transfer: libcurl's multi interface with a single handle, driven by whoever reads.
 *
 *   OPEN --head--> BODY --last byte--> ENDED       each wait drives curl; CURL_WRITEFUNC_PAUSE when the
 *     \---------------\----error-----> FAILED      buffer is full, resumed when the reader has emptied it
 */
#include "fetch/internal.h"

#define CONNECT_MS     10000L
#define HEAD_S         30 /* from the request to the answer's head */
#define STALL_S        30L
#define STALL_BYTES    1024L /* a second, on the average of STALL_S */
#define HEAD_BYTES_MAX ((size_t)64 << 10)
#define WAIT_MS        250 /* how soon a cancellation is seen */

struct fetch_stream {
    fetch *f;
    CURLM *multi; /* the line's, or its own */
    bool on_line;
    CURL *easy;
    CURLU *url;
    struct curl_slist *headers;
    arena *mem; /* what the answer says: the caller's */
    pair *got;
    size_t got_count, head_bytes;
    int status;
    bool reach_private, refused_address, head_done, head_bad, ended, paused;
    CURLcode result;
    int64_t deadline_us;
    const atomic_bool *cancelled;
    uint8_t *buf;
    size_t at, len;
    char why[CURL_ERROR_SIZE];
};

static void global_once(void) {
    MUST(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

err fetch_new(const fetch_options *o, fetch **ret) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    MUST(pthread_once(&once, global_once) == 0);
    ENSURE(o->source_count + o->private_count <= FETCH_ENTRIES_MAX, ERR_CONFIG,
           "copy_sources: more than %d entries", FETCH_ENTRIES_MAX);
    arena *mem = arena_new(4096, 4u << 20);
    fetch *f = arena_alloc(mem, sizeof *f);
    size_t n = 0;
    err e = OK;
    f->mem = mem;
    f->entries = arena_alloc(mem, (o->source_count + o->private_count + 1) * sizeof *f->entries);
    for (size_t i = 0; i < o->source_count && e == OK; i++)
        e = fetch_entry_parse(mem, o->sources[i], false, &f->entries[n++]);
    for (size_t i = 0; i < o->private_count && e == OK; i++)
        e = fetch_entry_parse(mem, o->private_sources[i], true, &f->entries[n++]);
    if (e != OK) {
        arena_free(mem);
        return e;
    }
    f->entry_count = n;
    if (o->ca_file != NULL) f->ca_file = arena_cstr(mem, slice_str(o->ca_file));
    *ret = f;
    return OK;
}

/* libcurl keeps connections with the multi handle. */
fetch_line *fetch_line_new(void) {
    CURLM *multi = curl_multi_init();
    MUST(multi != NULL);
    MUST(curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 1L) == CURLM_OK);
    return (fetch_line *)multi;
}

fetch_line *fetch_line_free(fetch_line *l) {
    if (l != NULL) (void)curl_multi_cleanup((CURLM *)l);
    return NULL;
}

void fetch_cancel(fetch *f) {
    atomic_store(&f->cancelled, true);
}

fetch *fetch_free(fetch *f) {
    if (f != NULL) arena_free(f->mem);
    return NULL;
}

/* ---- what libcurl calls -------------------------------------------------------------------------- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *at) {
    fetch_stream *s = ctx;
    (void)purpose;
    if (!s->reach_private && !fetch_address_public(&at->addr, at->addrlen)) {
        s->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
}

static size_t take_header(char *p, size_t size, size_t n, void *ctx) {
    fetch_stream *s = ctx;
    slice line = slice_of(p, size * n);
    s->head_bytes += line.len;
    if (s->head_done) return line.len; /* trailers */
    if (s->head_bytes > HEAD_BYTES_MAX || s->got_count == FETCH_HEADERS_MAX) {
        s->head_bad = true;
        return 0;
    }
    while (line.len > 0 && (line.p[line.len - 1] == '\n' || line.p[line.len - 1] == '\r'))
        line.len--;
    if (slice_starts(line, S("HTTP/"))) { /* also the one after 100 Continue */
        s->got_count = 0;
        return size * n;
    }
    if (line.len == 0) {
        long status = 0;
        (void)curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
        s->status = (int)status;
        s->head_done = status >= 200;
        return size * n;
    }
    size_t colon = slice_find(line, 0, ':');
    line = arena_dup(s->mem, line);
    s->got[s->got_count++] =
        (pair){slice_trim(slice_take(line, colon)), slice_trim(slice_skip(line, colon + 1))};
    return size * n;
}

static size_t take_body(char *p, size_t size, size_t n, void *ctx) {
    fetch_stream *s = ctx;
    size_t len = size * n;
    if (s->len > 0 && len > FETCH_BUFFER - s->at - s->len) {
        memmove(s->buf, s->buf + s->at, s->len);
        s->at = 0;
    }
    if (s->len == 0) s->at = 0;
    if (len > FETCH_BUFFER - s->at - s->len) {
        s->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    memcpy(s->buf + s->at + s->len, p, len);
    s->len += len;
    return len;
}

/* ---- driving --------------------------------------------------------------------------------------- */

static err unreachable(const fetch_stream *s) {
    if (s->refused_address)
        return err_fail(
            ERR_COPY_SOURCE_REFUSED,
            "the other server's name leads to an address that is not public; its operator "
            "lists sources that may in copy_sources_private");
    if (s->head_bad)
        return err_fail(ERR_COPY_SOURCE_UNREACHABLE,
                        "the other server's answer has too many headers");
    return err_fail(ERR_COPY_SOURCE_UNREACHABLE, "the other server could not be read: %s",
                    s->why[0] != '\0' ? s->why : curl_easy_strerror(s->result));
}

static void see_end(fetch_stream *s) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(s->multi, &left)) != NULL;) {
        if (m->msg != CURLMSG_DONE) continue;
        s->ended = true;
        s->result = m->data.result;
    }
}

/* Lets curl work until something has come: bytes, the head (when `head`), or the end. */
static err drive(fetch_stream *s, bool head) {
    int running;
    for (;;) {
        ENSURE(!atomic_load(&s->f->cancelled), ERR_CANCELLED, "the server is stopping");
        ENSURE(!s->cancelled || !atomic_load(s->cancelled), ERR_CANCELLED,
               "it is not wanted any more");
        MUST(curl_multi_perform(s->multi, &running) == CURLM_OK);
        see_end(s);
        if (s->ended || (head ? s->head_done : s->len > 0)) break;
        ENSURE(clock_mono_us() < s->deadline_us, ERR_COPY_SOURCE_UNREACHABLE,
               "the other server did not answer in time");
        MUST(curl_multi_poll(s->multi, NULL, 0, WAIT_MS, NULL) == CURLM_OK);
    }
    if (s->ended && s->result != CURLE_OK) return unreachable(s);
    return OK;
}

#define SET(option, value) MUST(curl_easy_setopt(c, option, value) == CURLE_OK)

static void set_up(fetch_stream *s, const fetch_ask *ask) {
    CURL *c = s->easy;
    SET(CURLOPT_CURLU, s->url);
    SET(CURLOPT_ERRORBUFFER, s->why);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (s->f->ca_file != NULL) SET(CURLOPT_CAINFO, s->f->ca_file);
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    SET(CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, STALL_S);
    SET(CURLOPT_BUFFERSIZE, (long)(FETCH_BUFFER / 4));
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, s);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, s);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, s);
    if (s->headers != NULL) SET(CURLOPT_HTTPHEADER, s->headers);
    if (ask->post.p != NULL) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, (const char *)ask->post.p);
        SET(CURLOPT_POSTFIELDSIZE, (long)ask->post.len);
    }
    if (!ask->ranged) return;
    char range[48];
    if (ask->last == UINT64_MAX)
        (void)snprintf(range, sizeof range, "%llu-", (unsigned long long)ask->first);
    else
        (void)snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)ask->first,
                       (unsigned long long)ask->last);
    SET(CURLOPT_RANGE, range);
}

static void add_headers(fetch_stream *s, const fetch_ask *ask) {
    buf line;
    buf_init(&line, 64 << 10);
    for (size_t i = 0; i < ask->header_count; i++) {
        buf_reset(&line);
        buf_put(&line, ask->headers[i].name);
        buf_str(&line, ": ");
        buf_put(&line, ask->headers[i].value);
        buf_byte(&line, 0);
        MUST(!line.failed);
        struct curl_slist *more = curl_slist_append(s->headers, (const char *)line.p);
        MUST(more != NULL);
        s->headers = more;
    }
    buf_done(&line);
}

static void read_length(const fetch_stream *s, fetch_answer *a) {
    curl_off_t n = -1;
    (void)curl_easy_getinfo(s->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n);
    a->length = n < 0 ? FETCH_LEN_UNKNOWN : (uint64_t)n;
}

err fetch_open(fetch *f, arena *a, const fetch_ask *ask, fetch_answer *ret,
               fetch_stream **ret_stream) {
    CURLU *url;
    bool reach_private;
    TRY(fetch_admit_url(f, ask->url, &url, &reach_private));
    fetch_stream *s = calloc(1, sizeof *s);
    MUST(s != NULL);
    s->f = f;
    s->url = url;
    s->reach_private = reach_private;
    s->cancelled = ask->cancelled;
    s->mem = a;
    s->got = arena_alloc(a, FETCH_HEADERS_MAX * sizeof *s->got);
    s->buf = malloc(FETCH_BUFFER);
    s->easy = curl_easy_init();
    s->on_line = ask->line != NULL;
    s->multi = s->on_line ? (CURLM *)ask->line : curl_multi_init();
    MUST(s->buf != NULL && s->easy != NULL && s->multi != NULL);
    add_headers(s, ask);
    set_up(s, ask);
    MUST(curl_multi_add_handle(s->multi, s->easy) == CURLM_OK);
    int64_t now = clock_mono_us();
    unsigned head_s = ask->total_s < HEAD_S ? ask->total_s : HEAD_S;
    s->deadline_us = now + (int64_t)head_s * 1000000;
    err e = drive(s, true);
    if (e == OK && !s->head_done)
        e = err_fail(ERR_COPY_SOURCE_UNREACHABLE,
                     "the other server's answer has no end to its head");
    if (e != OK) {
        fetch_close(s);
        return e;
    }
    s->deadline_us = now + (int64_t)ask->total_s * 1000000;
    *ret = (fetch_answer){.status = s->status, .headers = s->got, .header_count = s->got_count};
    read_length(s, ret);
    *ret_stream = s;
    return OK;
}

err fetch_read(fetch_stream *s, uint8_t *out, size_t cap, size_t *ret_n) {
    if (s->len == 0 && !(s->ended && s->result == CURLE_OK)) {
        if (s->paused) {
            s->paused = false;
            s->at = 0;
            (void)curl_easy_pause(s->easy, CURLPAUSE_CONT);
        }
        TRY(drive(s, false));
    }
    size_t n = s->len < cap ? s->len : cap;
    memcpy(out, s->buf + s->at, n);
    s->at += n;
    s->len -= n;
    *ret_n = n;
    return OK;
}

fetch_stream *fetch_close(fetch_stream *s) {
    if (s == NULL) return NULL;
    (void)curl_multi_remove_handle(s->multi, s->easy);
    curl_easy_cleanup(s->easy);
    if (!s->on_line) (void)curl_multi_cleanup(s->multi);
    curl_slist_free_all(s->headers);
    curl_url_cleanup(s->url);
    free(s->buf);
    free(s);
    return NULL;
}

slice fetch_header(const fetch_answer *a, const char *name) {
    slice want = slice_str(name);
    for (size_t i = 0; i < a->header_count; i++)
        if (slice_eq_nocase(a->headers[i].name, want)) return a->headers[i].value;
    return SLICE_NONE;
}
