/* Conditional headers. Azure: "Specifying conditional headers for Blob service operations"; their
 * precedence is RFC 9110 13.2.2: If-Match, else If-Unmodified-Since; then If-None-Match, else
 * If-Modified-Since. */
#include "store/internal.h"

/* 16 hexadecimal digits behind 0x, in either case; quotes and W/ may be there or not. */
static bool etag_is(slice text, uint64_t etag) {
    if (slice_starts(text, S("W/"))) text = slice_skip(text, 2);
    if (text.len >= 2 && text.p[0] == '"' && text.p[text.len - 1] == '"')
        text = slice_of(text.p + 1, text.len - 2);
    if (!slice_starts_nocase(text, S("0x"))) return false;
    text = slice_skip(text, 2);
    if (text.len == 0 || text.len > 16) return false;
    uint64_t v = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i];
        uint8_t lower = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            v = v << 4 | (uint64_t)(lower - 'a' + 10);
        else
            return false;
    }
    return v == etag;
}

static bool is_star(slice list) {
    return slice_eq(slice_trim(list), S("*"));
}

/* True when one of a comma-separated list of ETags is `etag`, or the list is a star. */
static bool etag_listed(slice list, uint64_t etag) {
    if (is_star(list)) return true;
    slice part;
    while (slice_split(&list, ',', &part))
        if (etag_is(slice_trim(part), etag)) return true;
    return false;
}

static int64_t seconds(int64_t us) {
    return us >= 0 ? us / 1000000 : -((-us + 999999) / 1000000);
}

static err not_met(const char *header, slice value) {
    return err_fail(ERR_CONDITION_NOT_MET, "%s: '%.*s' is not met", header,
                    (int)(value.len < 128 ? value.len : 128), (const char *)value.p);
}

static err time_not_met(const char *header) {
    return err_fail(ERR_CONDITION_NOT_MET, "%s is not met", header);
}

static err check_match(const store_conditions *c, const condition_target *t) {
    if (c->if_match.len) {
        if (!t->exists || !etag_listed(c->if_match, t->etag))
            return not_met("If-Match", c->if_match);
    } else if (c->if_unmodified_since_us != STORE_TIME_NONE) {
        if (t->exists && seconds(t->modified_us) > seconds(c->if_unmodified_since_us))
            return time_not_met("If-Unmodified-Since");
    }
    return OK;
}

static err check_none_match(const store_conditions *c, condition_kind kind,
                            const condition_target *t) {
    if (!t->exists) return OK;
    if (c->if_none_match.len) {
        if (!etag_listed(c->if_none_match, t->etag)) return OK;
        if (kind == CONDITION_READ) return ERR_NOT_MODIFIED;
        if (kind == CONDITION_CREATE && is_star(c->if_none_match))
            return err_fail(ERR_BLOB_ALREADY_EXISTS, "If-None-Match: '*', and the blob exists");
        return not_met("If-None-Match", c->if_none_match);
    }
    if (c->if_modified_since_us != STORE_TIME_NONE &&
        seconds(t->modified_us) <= seconds(c->if_modified_since_us))
        return kind == CONDITION_READ ? ERR_NOT_MODIFIED : time_not_met("If-Modified-Since");
    return OK;
}

err conditions_check(const store_conditions *cond, condition_kind kind, condition_target t) {
    if (!cond) return OK;
    TRY(check_match(cond, &t));
    TRY(check_none_match(cond, kind, &t));
    /* No lease can exist yet. */
    ENSURE(cond->lease_id.len == 0,
           t.container ? ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION
                       : ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION,
           "x-ms-lease-id was sent, and there is no lease");
    return OK;
}
