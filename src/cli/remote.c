/* Calls to a running server, over HTTP on the Unix socket in its data folder. */
#include <curl/curl.h>
#include <sys/stat.h>

#include "cli/cli.h"

#define TIMEOUT_S 120

static size_t take(char *p, size_t size, size_t n, void *ctx) {
    buf *out = ctx;
    buf_put(out, slice_of(p, size * n));
    return out->failed ? 0 : size * n;
}

static CURLcode perform(CURL *c, const char *socket_path, slice request, buf *body, long *status) {
    char why[CURL_ERROR_SIZE];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    MUST(headers != NULL);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(c, CURLOPT_URL, "http://localhost/call");
    (void)curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket_path);
    (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)request.p);
    (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)request.len);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, (void *)body);
    CURLcode code = curl_easy_perform(c);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    return code;
}

err cli_remote_call(arena *a, const char *socket_path, slice request, bool *ret_running,
                    slice *ret_response) {
    struct stat st;
    if (stat(socket_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        *ret_running = false;
        return OK;
    }
    buf body;
    long status = 0;
    buf_init_arena(&body, a, ADMIN_RESPONSE_MAX);
    MUST(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    CURL *c = curl_easy_init();
    MUST(c != NULL);
    CURLcode code = perform(c, socket_path, request, &body, &status);
    curl_easy_cleanup(c);
    curl_global_cleanup();
    *ret_running =
        code != CURLE_COULDNT_CONNECT; /* a socket left behind by a server that was killed */
    if (!*ret_running) return OK;
    ENSURE(code == CURLE_OK, ERR_IO, "the running server did not answer on %s: %s", socket_path,
           curl_easy_strerror(code));
    return admin_reply(a, (int)status, buf_slice(&body), ret_response);
}
