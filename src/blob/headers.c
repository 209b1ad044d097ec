/* Headers of requests and answers that several operations share: metadata, what the client says
 * about content, checksums, tiers; and the headers whose meaning this server cannot keep yet. */
#include "blob/internal.h"

/* ---- metadata: "Setting and retrieving properties and metadata for Blob service resources" ------- */

static const slice meta_prefix = {(const uint8_t *)"x-ms-meta-", 10};

/* A C# identifier, of ASCII as header names are. */
static bool is_identifier(slice s) {
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i], low = c | 0x20;
        bool letter = (low >= 'a' && low <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return s.len > 0;
}

static err check_pair(slice name, slice value) {
    ENSURE(name.len > 0, ERR_EMPTY_METADATA_KEY, "the header 'x-ms-meta-' has no name behind it");
    ENSURE(is_identifier(name), ERR_INVALID_METADATA,
           "metadata name '%.*s': only letters, digits and '_', and no digit first",
           SLICE_ARG(slice_take(name, 64)));
    for (size_t i = 0; i < value.len; i++)
        ENSURE((value.p[i] >= ' ' && value.p[i] < 0x7F) || value.p[i] == '\t', ERR_INVALID_METADATA,
               "the value of x-ms-meta-%.*s holds a character that is not printable ASCII",
               SLICE_ARG(slice_take(name, 64)));
    return OK;
}

static slice join(arena *a, slice one, slice two) {
    uint8_t *p = arena_alloc(a, one.len + two.len + 1);
    if (one.len > 0) memcpy(p, one.p, one.len);
    p[one.len] = ',';
    if (two.len > 0) memcpy(p + one.len + 1, two.p, two.len);
    return slice_of(p, one.len + two.len + 1);
}

/* The same name again, in whatever case, is one header with two values (RFC 9110 5.3). */
static bool join_known(arena *a, pair *list, size_t count, const pair *more) {
    for (size_t i = 0; i < count; i++) {
        if (!slice_eq_nocase(list[i].name, more->name)) continue;
        list[i].value = join(a, list[i].value, more->value);
        return true;
    }
    return false;
}

static size_t meta_headers(const ops_request *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        n += slice_starts_nocase(r->headers[i].name, meta_prefix);
    return n;
}

err blob_metadata_read(ops_request *r, pair **ret, size_t *ret_count) {
    size_t room = meta_headers(r), count = 0, bytes = 0;
    pair *list = arena_alloc(r->arena, (room ? room : 1) * sizeof *list);
    for (size_t i = 0; i < r->header_count && room > 0; i++) {
        if (!slice_starts_nocase(r->headers[i].name, meta_prefix)) continue;
        pair p = {slice_skip(r->headers[i].name, meta_prefix.len), r->headers[i].value};
        TRY(check_pair(p.name, p.value));
        if (!join_known(r->arena, list, count, &p)) list[count++] = p;
    }
    for (size_t i = 0; i < count; i++) bytes += list[i].name.len + list[i].value.len;
    ENSURE(bytes <= STORE_METADATA_MAX, ERR_METADATA_TOO_LARGE,
           "names and values have %zu bytes together, at most %d are kept", bytes,
           STORE_METADATA_MAX);
    ENSURE(count <= BLOB_METADATA_COUNT_MAX, ERR_METADATA_TOO_LARGE,
           "there are %zu pairs, at most %d are kept", count, BLOB_METADATA_COUNT_MAX);
    *ret = list;
    *ret_count = count;
    return OK;
}

void blob_metadata_set(ops_request *r, ops_response *w, const pair *metadata, size_t count) {
    for (size_t i = 0; i < count; i++) {
        MUST(w->header_count < OPS_RESPONSE_HEADERS_MAX);
        size_t len = meta_prefix.len + metadata[i].name.len;
        uint8_t *p = arena_alloc(r->arena, len);
        memcpy(p, meta_prefix.p, meta_prefix.len);
        memcpy(p + meta_prefix.len, metadata[i].name.p, metadata[i].name.len);
        w->headers[w->header_count++] = (pair){slice_of(p, len), metadata[i].value};
    }
}

/* ---- what the client says about content ---------------------------------------------------------- */

static err check_value(const char *name, slice v) {
    ENSURE(v.len <= BLOB_HEADER_VALUE_MAX, ERR_INVALID_HEADER_VALUE, "%s is longer than %d bytes",
           name, BLOB_HEADER_VALUE_MAX);
    for (size_t i = 0; i < v.len; i++)
        ENSURE((v.p[i] >= ' ' && v.p[i] != 0x7F) || v.p[i] == '\t', ERR_INVALID_HEADER_VALUE,
               "%s holds a control character", name);
    ENSURE(slice_utf8_valid(v), ERR_INVALID_HEADER_VALUE, "%s is not UTF-8", name);
    return OK;
}

static err take(const ops_request *r, const char *own, const char *standard, slice *ret) {
    const char *name = own;
    slice v = ops_header(r, own);
    if (v.p == NULL && standard != NULL) {
        name = standard;
        v = ops_header(r, standard);
    }
    *ret = SLICE_NONE;
    if (v.p == NULL || v.len == 0) return OK;
    TRY(check_value(name, v));
    *ret = v;
    return OK;
}

err blob_md5_read(ops_request *r, const char *name, bool *ret_has, uint8_t ret[16]) {
    slice v = ops_header(r, name), raw;
    if (v.p == NULL) return OK;
    ENSURE(v.len == 24 && base64_get(r->arena, v, &raw) == OK && raw.len == 16, ERR_INVALID_MD5,
           "%s: '%.*s' is not the base64 of 16 bytes", name, SLICE_ARG(slice_take(v, 64)));
    memcpy(ret, raw.p, 16);
    *ret_has = true;
    return OK;
}

err blob_http_read(ops_request *r, bool standard, store_http *ret) {
    store_http h = {0};
    TRY(take(r, "x-ms-blob-content-type", standard ? "Content-Type" : NULL, &h.content_type));
    TRY(take(r, "x-ms-blob-content-encoding", standard ? "Content-Encoding" : NULL,
             &h.content_encoding));
    TRY(take(r, "x-ms-blob-content-language", standard ? "Content-Language" : NULL,
             &h.content_language));
    TRY(take(r, "x-ms-blob-content-disposition", standard ? "Content-Disposition" : NULL,
             &h.content_disposition));
    TRY(take(r, "x-ms-blob-cache-control", standard ? "Cache-Control" : NULL, &h.cache_control));
    /* Empty: none, as azcopy says it of a page blob. */
    if (ops_header(r, "x-ms-blob-content-md5").len > 0)
        TRY(blob_md5_read(r, "x-ms-blob-content-md5", &h.has_md5, h.md5));
    if (h.content_type.len == 0) h.content_type = S("application/octet-stream");
    *ret = h;
    return OK;
}

/* ---- checksums ----------------------------------------------------------------------------------- */

err blob_crc64_read(ops_request *r, const char *name, bool *ret_has, uint64_t *ret) {
    slice v = ops_header(r, name), raw;
    if (v.p == NULL) return OK;
    ENSURE(v.len == 12 && base64_get(r->arena, v, &raw) == OK && raw.len == 8,
           ERR_INVALID_HEADER_VALUE, "%s: '%.*s' is not the base64 of 8 bytes", name,
           SLICE_ARG(slice_take(v, 64)));
    *ret = 0;
    for (int i = 7; i >= 0; i--) *ret = *ret << 8 | raw.p[i];
    *ret_has = true;
    return OK;
}

err blob_sums_read(ops_request *r, blob_sums *ret) {
    blob_sums s = {0};
    TRY(blob_md5_read(r, "Content-MD5", &s.has_md5, s.md5));
    TRY(blob_crc64_read(r, "x-ms-content-crc64", &s.has_crc64, &s.crc64));
    ENSURE(!(s.has_md5 && s.has_crc64), ERR_BOTH_CRC64_AND_MD5,
           "Content-MD5 and x-ms-content-crc64 cannot be sent together");
    *ret = s;
    return OK;
}

static slice base64(arena *a, const uint8_t *p, size_t n) {
    buf b;
    size_t len = (n + 2) / 3 * 4;
    buf_init_fixed(&b, arena_alloc(a, len), len);
    base64_put(&b, slice_of(p, n));
    return buf_slice(&b);
}

err blob_sums_check(const blob_sums *said, const uint8_t *md5, uint64_t crc) {
    if (said->has_md5)
        ENSURE(md5 != NULL && memcmp(md5, said->md5, 16) == 0, ERR_MD5_MISMATCH,
               "the body is not what Content-MD5 says; nothing was stored");
    if (said->has_crc64)
        ENSURE(crc == said->crc64, ERR_CRC64_MISMATCH,
               "the body is not what x-ms-content-crc64 says; nothing was stored");
    return OK;
}

err blob_body_read(ops_request *r, size_t max, slice *ret) {
    blob_sums said;
    slice body;
    uint8_t md5[16];
    TRY(blob_sums_read(r, &said));
    TRY(ops_body_all(r, max, &body));
    if (said.has_md5) crypto_md5(body, md5);
    TRY(blob_sums_check(&said, md5, said.has_crc64 ? crc64(0, body) : 0));
    *ret = body;
    return OK;
}

void blob_set_md5(ops_request *r, ops_response *w, const char *name, const uint8_t md5[16]) {
    ops_set(w, name, base64(r->arena, md5, 16));
}

void blob_set_crc64(ops_request *r, ops_response *w, uint64_t crc) {
    uint8_t le[8];
    for (int i = 0; i < 8; i++) le[i] = (uint8_t)(crc >> (8 * i));
    ops_set(w, "x-ms-content-crc64", base64(r->arena, le, 8));
}

/* ---- small values -------------------------------------------------------------------------------- */

err blob_flag_read(const ops_request *r, const char *name, bool *ret) {
    slice v = ops_header(r, name);
    *ret = slice_eq_nocase(v, S("true"));
    ENSURE(v.p == NULL || *ret || slice_eq_nocase(v, S("false")), ERR_INVALID_HEADER_VALUE,
           "%s: '%.*s' is neither true nor false", name, SLICE_ARG(slice_take(v, 32)));
    return OK;
}

err blob_number_read(const ops_request *r, const char *name, uint64_t max, bool *ret_has,
                     uint64_t *ret) {
    slice v = ops_header(r, name);
    *ret_has = v.p != NULL;
    if (v.p == NULL) return OK;
    ENSURE(slice_u64(v, ret) == OK && *ret <= max, ERR_INVALID_HEADER_VALUE,
           "%s: '%.*s' is not a number of 0 to %llu", name, SLICE_ARG(slice_take(v, 32)),
           (unsigned long long)max);
    return OK;
}

slice blob_type_name(store_blob_type t) {
    return t == STORE_APPEND_BLOB ? S("AppendBlob")
           : t == STORE_PAGE_BLOB ? S("PageBlob")
                                  : S("BlockBlob");
}

slice blob_tier_name(store_tier t) {
    switch (t) {
    case STORE_TIER_INFERRED:
    case STORE_TIER_HOT:
        break;
    case STORE_TIER_COOL:
        return S("Cool");
    case STORE_TIER_COLD:
        return S("Cold");
    case STORE_TIER_ARCHIVE:
        return S("Archive");
    case STORE_TIER_PREMIUM:
        return S("Premium");
    }
    return S("Hot");
}

slice blob_archive_status(store_tier to) {
    return to == STORE_TIER_COOL   ? S("rehydrate-pending-to-cool")
           : to == STORE_TIER_COLD ? S("rehydrate-pending-to-cold")
                                   : S("rehydrate-pending-to-hot");
}

/* P… and Premium are of premium accounts. */
err blob_tier_read(const ops_request *r, store_tier *ret) {
    static const store_tier known[] = {STORE_TIER_HOT, STORE_TIER_COOL, STORE_TIER_COLD,
                                       STORE_TIER_ARCHIVE};
    slice v = ops_header(r, "x-ms-access-tier");
    *ret = STORE_TIER_INFERRED;
    if (v.p == NULL) return OK;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!slice_eq_nocase(v, blob_tier_name(known[i]))) continue;
        *ret = known[i];
        return OK;
    }
    ENSURE(!slice_eq_nocase(v, S("Premium")) && !(v.len >= 2 && v.p[0] == 'P' && v.p[1] <= '9'),
           ERR_INVALID_BLOB_TIER, "x-ms-access-tier: '%.*s' is not a tier of block blobs here",
           SLICE_ARG(slice_take(v, 32)));
    return err_fail(ERR_INVALID_HEADER_VALUE,
                    "x-ms-access-tier: '%.*s' is not Hot, Cool, Cold or Archive",
                    SLICE_ARG(slice_take(v, 32)));
}

void blob_set_state(ops_request *r, ops_response *w, uint64_t etag, int64_t modified_us) {
    ops_set_etag(r, w, etag);
    ops_set_time(r, w, "Last-Modified", modified_us);
}

err blob_write_conditions(const ops_request *r, store_conditions *ret, bool *ret_forced) {
    TRY(ops_conditions(r, ret));
    *ret_forced = !auth_may_overwrite(&r->caller) && !slice_eq(ret->if_none_match, S("*"));
    if (*ret_forced) ret->if_none_match = S("*");
    return OK;
}

err blob_overwrite_error(err e, bool forced) {
    if (e != ERR_BLOB_ALREADY_EXISTS || !forced) return e;
    return err_fail(ERR_UNAUTHORIZED_BLOB_OVERWRITE,
                    "the shared access signature allows to create (c), not to write (w), and the "
                    "blob exists");
}

err blob_container(const ops_request *r, const store_container **ret) {
    return store_container_get(r->server->store, ops_call(r), r->account, r->container, ret);
}

/* ---- what cannot be promised --------------------------------------------------------------------- */

static err refuse_param(const ops_request *r, const pair *p) {
    bool moment = slice_eq(p->name, S("snapshot")) || slice_eq(p->name, S("versionid"));
    ENSURE(!moment || p->value.len == 0 || (r->row && r->row->flags & OPS_PICKS),
           ERR_INVALID_OPERATION, "%.*s: snapshots and versions are read-only", SLICE_ARG(p->name));
    return OK;
}

/* Tags are taken by what makes or replaces a blob, as a condition by the rows that say so. Elsewhere
 * dropping them would lose what the client meant. */
static err refuse_tags(const ops_request *r) {
    slice comp = ops_param(r, "comp");
    bool makes = r->method == OPS_PUT && r->row->level == OPS_BLOB &&
                 (comp.len == 0 || slice_eq(comp, S("blocklist")));
    ENSURE(makes || ops_header(r, "x-ms-tags").p == NULL, ERR_UNSUPPORTED_HEADER,
           "x-ms-tags does not go with %s", r->row->name);
    ENSURE((r->row->conditions & OPS_IF_TAGS) || ops_header(r, "x-ms-if-tags").p == NULL,
           ERR_UNSUPPORTED_HEADER, "x-ms-if-tags does not go with %s", r->row->name);
    return OK;
}

/* "Put Blob": x-ms-expiry-option, since 2023-08-03; and Set Blob Expiry. */
static err refuse_expiry(const ops_request *r) {
    static const char *const names[] = {"x-ms-expiry-option", "x-ms-expiry-time"};
    if (slice_eq(ops_param(r, "comp"), S("expiry")) || strcmp(r->row->name, "Put Blob") == 0)
        return OK;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ENSURE(ops_header(r, names[i]).p == NULL, ERR_UNSUPPORTED_HEADER,
               "%s does not go with %s; send Set Blob Expiry after it", names[i], r->row->name);
    return OK;
}

/* Taken by what makes or replaces a blob, and by the operations that are about them. */
static err refuse_immutability(const ops_request *r) {
    static const char *const names[] = {"x-ms-immutability-policy-mode",
                                        "x-ms-immutability-policy-until-date", "x-ms-legal-hold"};
    slice comp = ops_param(r, "comp");
    bool make = r->method == OPS_PUT && r->row->level == OPS_BLOB && comp.len == 0;
    if (make || slice_eq(comp, S("blocklist")) || slice_eq(comp, S("immutabilityPolicies")) ||
        slice_eq(comp, S("legalhold")))
        return OK;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ENSURE(ops_header(r, names[i]).p == NULL, ERR_UNSUPPORTED_HEADER, "%s does not go with %s",
               names[i], r->row->name);
    return OK;
}

static err refuse_unsupported(const ops_request *r) {
    TRY(refuse_immutability(r));
    TRY(refuse_tags(r));
    TRY(refuse_expiry(r));
    for (size_t i = 0; i < r->param_count; i++) TRY(refuse_param(r, &r->params[i]));
    return OK;
}

/* "Setting timeouts for Blob service operations": seconds. This server answers when it is done. */
static err check_timeout(const ops_request *r) {
    slice v = ops_param(r, "timeout");
    uint64_t seconds;
    ENSURE(v.p == NULL || (slice_u64(v, &seconds) == OK && seconds <= INT32_MAX),
           ERR_INVALID_QUERY_PARAMETER_VALUE, "timeout: '%.*s' is not a number of seconds",
           SLICE_ARG(slice_take(v, 32)));
    return OK;
}

err blob_enter(ops_request *r) {
    TRY(blob_names_check(r));
    TRY(check_timeout(r));
    TRY(refuse_unsupported(r));
    TRY(blob_customer_read(r));
    return blob_scope_read(r);
}
