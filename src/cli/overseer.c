/* Reading the record from another machine, through a server's oversight listener (--url). Answers are lines, written as they
 * come; the last one tells that an answer is whole, and is not written. */
#include <curl/curl.h>

#include "cli/cli.h"

#define CONNECT_S   30L
#define ERROR_MAX   ((size_t)64 << 10)
#define LINE_MAX_   ((size_t)4 << 20)
#define TOKEN_MAX   512
#define TOKEN_PLACE "STRONGROOM_TOKEN"

typedef struct answer {
    CURL *curl;
    bool whole_lines; /* the last one is held back */
    buf line;         /* the one that has not ended, or was held back */
    buf error;        /* the body of an answer that is an error */
    bool unwritten;   /* standard output takes no more */
} answer;

static bool write_out(answer *x, slice s) {
    x->unwritten = x->unwritten || fwrite(s.p, 1, s.len, stdout) != s.len;
    return !x->unwritten;
}

/* What is held is written as soon as it is known not to be the last. */
static bool take_lines(answer *x, slice s) {
    while (s.len > 0) {
        const size_t end = slice_find(s, 0, '\n'), n = end < s.len ? end + 1 : s.len;
        if (x->line.len > 0 && x->line.p[x->line.len - 1] == '\n') {
            if (!write_out(x, buf_slice(&x->line))) return false;
            buf_reset(&x->line);
        }
        buf_put(&x->line, slice_take(s, n));
        s = slice_skip(s, n);
    }
    return !x->line.failed;
}

static size_t take(char *p, size_t size, size_t n, void *ctx) {
    answer *x = ctx;
    const slice s = slice_of(p, size * n);
    long status = 0;
    (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    bool good;
    if (status != 200) {
        buf_put(&x->error, s);
        good = !x->error.failed;
    } else {
        good = x->whole_lines ? take_lines(x, s) : write_out(x, s);
    }
    return good ? s.len : 0;
}

/* ---- the request ---- */

static err address_of(arena *a, const cli_overseer *o, const char *what, const pair *fields,
                      size_t count, const char **ret) {
    buf b;
    slice at = slice_str(o->url);
    while (slice_ends(at, S("/"))) at.len--;
    static const char *const near[] = {"http://127.", "http://localhost:", "http://[::1]:"};
    bool safe = slice_starts_nocase(at, S("https://"));
    for (size_t i = 0; i < ARRAY_LEN(near); i++)
        safe = safe || slice_starts_nocase(at, slice_str(near[i]));
    ENSURE(safe, ERR_USAGE,
           "--url '%s' must begin with https:// (or be http:// on this machine): the token is sent "
           "with it",
           o->url);
    buf_init_arena(&b, a, 64 << 10);
    buf_fmt(&b, "%.*s/oversight/v1/%s", SLICE_ARG(at), what);
    char mark = '?';
    for (size_t i = 0; i < count; i++) {
        if (fields[i].value.len == 0) continue;
        buf_byte(&b, (uint8_t)mark);
        buf_put(&b, fields[i].name);
        buf_byte(&b, '=');
        percent_put(&b, fields[i].value, "");
        mark = '&';
    }
    TRY(buf_check(&b));
    *ret = arena_cstr(a, buf_slice(&b));
    return OK;
}

/* Not from the command line, which others on the machine can see. */
static err token_of(arena *a, const cli_overseer *o, slice *ret) {
    const char *told = getenv(TOKEN_PLACE); /* NOLINT(concurrency-mt-unsafe): one thread */
    slice text = slice_str(told);
    if (o->token_file) TRY(cli_read_file(a, o->token_file, TOKEN_MAX, &text));
    ENSURE(text.len > 0, ERR_USAGE,
           "who looks? Say --token-file FILE, or set " TOKEN_PLACE
           ", with the token that `strongroom oversight add` printed");
    while (text.len > 0 && text.p[text.len - 1] <= ' ') text.len--;
    for (size_t i = 0; i < text.len; i++)
        ENSURE(text.p[i] > ' ' && text.p[i] < 0x7f, ERR_USAGE, "that is no token");
    *ret = text;
    return OK;
}

static err headers_of(arena *a, const cli_overseer *o, struct curl_slist **ret) {
    slice token;
    TRY(token_of(a, o, &token));
    const slice line = arena_fmt(a, "Authorization: Bearer %.*s", SLICE_ARG(token));
    struct curl_slist *list = curl_slist_append(NULL, arena_cstr(a, line));
    if (o->why) {
        const slice purpose = arena_fmt(a, "x-ms-purpose: %s", o->why);
        list = curl_slist_append(list, arena_cstr(a, purpose));
    }
    MUST(list);
    *ret = list;
    return OK;
}

static err perform(arena *a, const cli_overseer *o, const char *address, answer *x) {
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers;
    long status = 0;
    slice none;
    TRY(headers_of(a, o, &headers));
    (void)curl_easy_setopt(x->curl, CURLOPT_URL, address);
    (void)curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(x->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(x->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    (void)curl_easy_setopt(x->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(x->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (o->ca_file) (void)curl_easy_setopt(x->curl, CURLOPT_CAINFO, o->ca_file);
    (void)curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, (void *)x);
    const CURLcode code = curl_easy_perform(x->curl);
    (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    ENSURE(!x->unwritten && fflush(stdout) == 0, ERR_IO, "standard output takes no more");
    ENSURE(code == CURLE_OK, ERR_IO, "%s: %s", o->url, *why ? why : curl_easy_strerror(code));
    return status == 200 ? OK : admin_reply(a, (int)status, buf_slice(&x->error), &none);
}

/* {"after":N,…: the answer's last line. */
static err take_end(answer *x, uint64_t *ret_after) {
    const slice line = buf_slice(&x->line), before = S("{\"after\":");
    ENSURE(line.len > 0 && line.p[line.len - 1] == '\n' && !slice_starts(line, S("{\"index\":")),
           ERR_IO, "the server's answer was cut short: it is not whole");
    if (!ret_after) return OK;
    slice number = slice_skip(line, before.len);
    number = slice_take(number, slice_find(number, 0, ','));
    ENSURE(slice_starts(line, before) && slice_u64(number, ret_after) == OK, ERR_IO,
           "the server's answer does not say where to go on");
    return OK;
}

err cli_overseer_get(arena *a, const cli_overseer *o, const char *what, const pair *fields,
                     size_t count, uint64_t *ret_after) {
    const char *address;
    answer x = {.whole_lines = strcmp(what, "export") != 0};
    TRY(address_of(a, o, what, fields, count, &address));
    MUST(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    x.curl = curl_easy_init();
    MUST(x.curl);
    buf_init(&x.line, LINE_MAX_);
    buf_init(&x.error, ERROR_MAX);
    err e = perform(a, o, address, &x);
    if (e == OK && x.whole_lines) e = take_end(&x, ret_after);
    crypto_wipe(x.line.p, x.line.len);
    buf_done(&x.line);
    buf_done(&x.error);
    curl_easy_cleanup(x.curl);
    curl_global_cleanup();
    return e;
}
