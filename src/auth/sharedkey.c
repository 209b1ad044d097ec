/* Shared Key and Shared Key Lite for Blob, version 2009-09-19 and later. Reference: "Authorize with
 * Shared Key". docs/decisions/0005-string-to-sign.md says where this departs from its letter and
 * why. */
#include "auth/auth_internal.h"

/* The standard headers of the string to sign, in its order. */
enum {
    H_ENCODING,
    H_LANGUAGE,
    H_LENGTH,
    H_MD5,
    H_TYPE,
    H_DATE,
    H_IF_MODIFIED,
    H_IF_MATCH,
    H_IF_NONE_MATCH,
    H_IF_UNMODIFIED,
    H_RANGE,
    H_COUNT
};
static const slice standard_names[H_COUNT] = {
    S("content-encoding"),
    S("content-language"),
    S("content-length"),
    S("content-md5"),
    S("content-type"),
    S("date"),
    S("if-modified-since"),
    S("if-match"),
    S("if-none-match"),
    S("if-unmodified-since"),
    S("range"),
};

err auth_signer_parse(arena *a, slice value, auth_signer *ret) {
    size_t space = slice_find(value, 0, ' ');
    slice scheme = slice_take(value, space), rest = slice_trim(slice_skip(value, space));
    ENSURE(!slice_eq_nocase(scheme, S("Bearer")), ERR_INVALID_AUTHENTICATION_INFO,
           "Authorization: OAuth is not configured on this server; sign with SharedKey or use a "
           "shared access signature.");
    auth_signer by = {.lite = slice_eq_nocase(scheme, S("SharedKeyLite"))};
    /* The value is not quoted: what stands there may be a secret. */
    ENSURE(by.lite || slice_eq_nocase(scheme, S("SharedKey")), ERR_INVALID_AUTHENTICATION_INFO,
           "Authorization: the scheme is not known; send 'SharedKey ACCOUNT:SIGNATURE' or "
           "'SharedKeyLite ACCOUNT:SIGNATURE'.");
    size_t colon = slice_find(rest, 0, ':');
    ENSURE(colon > 0 && colon < rest.len, ERR_INVALID_AUTHENTICATION_INFO,
           "Authorization: 'ACCOUNT:SIGNATURE' is expected after the scheme.");
    by.account = slice_take(rest, colon);
    ENSURE(
        base64_get(a, slice_skip(rest, colon + 1), &by.mac) == OK && by.mac.len == AUTH_MAC_LEN,
        ERR_INVALID_AUTHENTICATION_INFO,
        "Authorization: the signature is not the base64 form of an HMAC-SHA256 (44 characters).");
    *ret = by;
    return OK;
}

/* ---- canonicalized headers ---- */

/* Azure sorts header names with a culture-aware comparison: punctuation, then digits, then letters,
 * and hyphens and apostrophes count only where nothing else tells two names apart. 0: ignored at
 * first. */
static unsigned collation_weight(uint8_t c) {
    static const char order[] = "!#$%&*.^_`|~+0123456789abcdefghijklmnopqrstuvwxyz";
    if (c == '-' || c == '\'' || c < 0x21) return 0;
    const char *at = strchr(order, c);
    return at ? (unsigned)(at - order) + 1 : 256u + c;
}

int auth_header_order(slice a, slice b) {
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a.len && collation_weight(a.p[i]) == 0) i++;
        while (j < b.len && collation_weight(b.p[j]) == 0) j++;
        unsigned wa = i < a.len ? collation_weight(a.p[i++]) : 0;
        unsigned wb = j < b.len ? collation_weight(b.p[j++]) : 0;
        if (wa != wb) return wa < wb ? -1 : 1;
        if (wa == 0) break;
    }
    /* Only ignored characters differ: the name that has one where they part comes later. */
    for (i = 0; i < a.len && i < b.len && a.p[i] == b.p[i]; i++) continue;
    unsigned ra = i < a.len && collation_weight(a.p[i]) == 0 ? a.p[i] : 0;
    unsigned rb = i < b.len && collation_weight(b.p[i]) == 0 ? b.p[i] : 0;
    return ra == rb ? 0 : ra < rb ? -1 : 1;
}

static slice lower(arena *a, slice s) {
    uint8_t *p = arena_alloc(a, s.len);
    for (size_t i = 0; i < s.len; i++)
        p[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + ('a' - 'A') : s.p[i];
    return slice_of(p, s.len);
}

static int by_azure(const pair *a, const pair *b) {
    return auth_header_order(a->name, b->name);
}
static int by_bytes(const pair *a, const pair *b) {
    return slice_cmp(a->name, b->name);
}
static int by_name_and_value(const pair *a, const pair *b) {
    int d = slice_cmp(a->name, b->name);
    return d ? d : slice_cmp(a->value, b->value);
}

/* Merge sort: stable (values of one header stay in order), and cheap for whoever sends many headers
 * and no key. */
static void sort_pairs(arena *a, pair *v, size_t n, int (*order)(const pair *, const pair *)) {
    pair *from = v, *to = arena_alloc(a, (n + 1) * sizeof *to);
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            size_t i = at, i_end = at + run < n ? at + run : n;
            size_t j = i_end, j_end = i_end + run < n ? i_end + run : n;
            for (size_t k = at; k < j_end; k++) {
                bool right = i == i_end || (j < j_end && order(&from[j], &from[i]) < 0);
                to[k] = right ? from[j++] : from[i++];
            }
        }
        pair *swap = from;
        from = to;
        to = swap;
    }
    if (from != v) memcpy(v, from, n * sizeof *v);
}

static void put_folded(buf *b, slice value) {
    bool space = false, quoted = false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.p[i];
        if (c == '"') quoted = !quoted;
        if (!quoted && (c == ' ' || c == '\t')) {
            space = true;
            continue;
        }
        if (space) buf_byte(b, ' ');
        space = false;
        buf_byte(b, c);
    }
}

/* Keys, passwords and others' signatures. */
static bool is_secret(slice name, slice value) {
    static const slice names[] = {S("x-ms-encryption-key"), S("x-ms-source-encryption-key"),
                                  S("x-ms-copy-source-authorization"), S("sig")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(name, names[i])) return true;
    /* A URL with a token, or with a user's name and password. */
    return slice_eq(name, S("x-ms-copy-source")) &&
           (slice_find(value, 0, '?') < value.len || slice_find(value, 0, '@') < value.len);
}

static slice said(const pair *p, unsigned how) {
    return how & AUTH_TOLD && is_secret(p->name, p->value) ? S("(not repeated)") : p->value;
}

static void put_canonical_headers(arena *a, const auth_request *r, unsigned how, buf *b) {
    pair *ms = arena_alloc(a, (r->header_count + 1) * sizeof *ms);
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (slice_starts_nocase(r->headers[i].name, S("x-ms-")))
            ms[n++] = (pair){lower(a, r->headers[i].name), r->headers[i].value};
    sort_pairs(a, ms, n, how & AUTH_SORT_BYTES ? by_bytes : by_azure);
    for (size_t i = 0; i < n; i++) {
        bool again = i > 0 && slice_eq(ms[i].name, ms[i - 1].name);
        if (i > 0 && !again) buf_byte(b, '\n');
        if (!again) buf_put(b, ms[i].name);
        buf_byte(b, again ? ',' : ':');
        if (how & AUTH_FOLD_SPACE)
            put_folded(b, said(&ms[i], how));
        else
            buf_put(b, said(&ms[i], how));
    }
    if (n) buf_byte(b, '\n');
}

/* ---- canonicalized resource ---- */

static void put_canonical_path(const auth_request *r, slice account, buf *b) {
    buf_byte(b, '/');
    buf_put(b, account);
    buf_put(b, r->path_raw.len ? r->path_raw : S("/"));
}

static void put_canonical_params(arena *a, const auth_request *r, unsigned how, buf *b) {
    pair *v = arena_alloc(a, (r->param_count + 1) * sizeof *v);
    for (size_t i = 0; i < r->param_count; i++)
        v[i] = (pair){lower(a, r->params[i].name), r->params[i].value};
    sort_pairs(a, v, r->param_count, by_name_and_value);
    for (size_t i = 0; i < r->param_count; i++) {
        bool again = i > 0 && slice_eq(v[i].name, v[i - 1].name);
        if (!again) {
            buf_byte(b, '\n');
            buf_put(b, v[i].name);
        }
        buf_byte(b, again ? ',' : ':');
        buf_put(b, said(&v[i], how));
    }
}

static void put_standard_headers(const auth_request *r, bool lite, buf *b) {
    slice v[H_COUNT] = {0};
    slice version = r->version;
    bool dated = false;
    for (size_t i = 0; i < r->header_count; i++) {
        slice name = r->headers[i].name;
        if (slice_eq_nocase(name, S("x-ms-version"))) version = r->headers[i].value;
        if (slice_eq_nocase(name, S("x-ms-date"))) dated = true;
        for (size_t k = 0; k < H_COUNT; k++)
            if (!v[k].p && slice_eq_nocase(name, standard_names[k])) v[k] = r->headers[i].value;
    }
    /* "0" is signed as sent up to 2014-02-14, and as an empty line from 2015-02-21 on. */
    if (slice_eq(v[H_LENGTH], S("0")) && slice_cmp(version, S("2015-02-21")) >= 0)
        v[H_LENGTH] = SLICE_NONE;
    if (dated) v[H_DATE] = SLICE_NONE;
    for (size_t k = 0; k < H_COUNT; k++) {
        if (lite && k != H_MD5 && k != H_TYPE && k != H_DATE) continue;
        buf_put(b, v[k]);
        buf_byte(b, '\n');
    }
}

slice auth_shared_key_text(arena *a, const auth_request *r, const auth_signer *by, unsigned how) {
    buf b;
    buf_init_arena(&b, a, 1 << 20);
    (void)buf_reserve(&b, 1024);
    buf_put(&b, r->method);
    buf_byte(&b, '\n');
    put_standard_headers(r, by->lite, &b);
    put_canonical_headers(a, r, how, &b);
    put_canonical_path(r, by->account, &b);
    if (by->lite) {
        slice comp = auth_param(r, S("comp"));
        if (comp.p) {
            buf_put(&b, S("?comp="));
            buf_put(&b, comp);
        }
    } else {
        put_canonical_params(a, r, how, &b);
    }
    return b.failed ? SLICE_NONE : buf_slice(&b);
}

/* ---- the check ---- */

static err check_date(const auth_request *r) {
    slice date = auth_header(r, S("x-ms-date"));
    if (!date.p) date = auth_header(r, S("date"));
    ENSURE(
        date.len, ERR_AUTHENTICATION_FAILED,
        "The Date header in the request is incorrect: a signed request needs x-ms-date or Date.");
    int64_t at = 0, now = clock_wall_us();
    ENSURE(
        time_parse_http(date, &at) == OK, ERR_AUTHENTICATION_FAILED,
        "The Date header in the request is incorrect: '%.*s' is not a date like 'Sun, 06 Nov 1994 "
        "08:49:37 GMT'.",
        SLICE_ARG(slice_take(date, 64)));
    ENSURE(
        at >= now - AUTH_CLOCK_SKEW_US, ERR_AUTHENTICATION_FAILED,
        "Request date header too old: '%.*s'. It may differ from the server's clock by 15 minutes.",
        SLICE_ARG(slice_take(date, 64)));
    ENSURE(
        at <= now + AUTH_CLOCK_SKEW_US, ERR_AUTHENTICATION_FAILED,
        "Request date header is in the future: '%.*s'. It may differ from the server's clock by 15 "
        "minutes.",
        SLICE_ARG(slice_take(date, 64)));
    return OK;
}

static bool names_account(const auth_request *r, slice name) {
    if (slice_eq(name, r->account)) return true;
    slice suffix = S("-secondary");
    return r->secondary && slice_ends(name, suffix) &&
           slice_eq(slice_take(name, name.len - suffix.len), r->account);
}

err auth_by_shared_key(arena *a, const auth_request *r, const store_account *account,
                       slice authorization, auth_caller *ret) {
    auth_signer by;
    TRY(auth_signer_parse(a, authorization, &by));
    ENSURE(names_account(r, by.account), ERR_AUTHENTICATION_FAILED,
           "Authorization names account '%.*s'; the request is addressed to '%.*s'.",
           SLICE_ARG(slice_take(by.account, 64)), SLICE_ARG(r->account));
    TRY(check_date(r));
    slice text = SLICE_NONE, last = SLICE_NONE;
    for (unsigned how = 0; how <= (AUTH_SORT_BYTES | AUTH_FOLD_SPACE); how++) {
        slice t = auth_shared_key_text(a, r, &by, how);
        ENSURE(t.p, ERR_NO_MEMORY, "the string to sign does not fit");
        if (how == 0) text = t;
        if (how > 0 && (slice_eq(t, last) || slice_eq(t, text))) continue;
        last = t;
        int key = auth_key_of(account, t, by.mac);
        if (key < 0) continue;
        *ret = (auth_caller){.kind = AUTH_SHARED_KEY, .key_index = key};
        return OK;
    }
    text = auth_shared_key_text(a, r, &by, AUTH_TOLD);
    return err_fail(ERR_AUTHENTICATION_FAILED,
                    "The MAC signature found in the HTTP request is not the same as any computed "
                    "signature. Server used following string to sign: '%.*s'.",
                    SLICE_ARG(text));
}
