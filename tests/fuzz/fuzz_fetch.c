/* A line with an entry of copy_sources, and a URL. What the entry admits has its scheme and, unless it is
 * the end of one, its host; what is refused says why. fuzz-folders: base fetch */
#include "fetch/internal.h"
#include "fuzz.h"

static slice part(CURLU *u, CURLUPart which, arena *a) {
    char *text = NULL;
    if (curl_url_get(u, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return SLICE_NONE;
    slice s = arena_dup(a, slice_str(text));
    curl_free(text);
    return s;
}

static void check(const fetch_entry *e, CURLU *u, arena *a) {
    slice host = part(u, CURLUPART_HOST, a);
    MUST(slice_eq_nocase(part(u, CURLUPART_SCHEME, a), e->scheme));
    MUST(part(u, CURLUPART_USER, a).p == NULL && host.len > 0);
    if (!e->suffix) MUST(slice_eq_nocase(host, e->host));
    MUST(host.len >= e->host.len);
    slice tail = slice_skip(host, host.len - e->host.len);
    MUST(slice_eq_nocase(tail, e->host));
    MUST(slice_starts(part(u, CURLUPART_PATH, a), e->path));
}

FUZZ(data) {
    slice url = data, entry;
    (void)slice_split(&url, '\n', &entry);
    arena *a = arena_new(4096, 0);
    fetch_entry e;
    fetch f = {.entries = &e, .entry_count = 1};
    if (fetch_entry_parse(a, entry, false, &e) != OK) {
        MUST(*err_detail() != 0);
        MUST(fetch_entry_parse(a, S("example.org"), false, &e) == OK);
    }
    CURLU *u;
    bool reach_private;
    err r = fetch_admit_url(&f, url, &u, &reach_private);
    if (r == OK) {
        MUST(!reach_private);
        check(&e, u, a);
        curl_url_cleanup(u);
    } else {
        MUST(r == ERR_COPY_SOURCE_REFUSED || r == ERR_INVALID_HEADER_VALUE);
        MUST(*err_detail() != 0);
    }
    arena_free(a);
}
