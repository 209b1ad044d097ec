/* Conditional headers. Azure: "Specifying conditional headers for Blob service operations".
 *
 * Reads: If-Match && If-Unmodified-Since && (If-None-Match || If-Modified-Since), with lists of
 * ETags. Writes: one ETag, and of If-None-Match and If-Modified-Since the first alone counts, as of
 * If-Match and If-Unmodified-Since; other combinations are refused. x-ms-if-tags goes with all of
 * them: "All conditional headers are effectively combined with logical AND". */
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

typedef struct conditions_met {
    /* True also when the header is absent. */
    bool match, none_match, modified, unmodified;
} conditions_met;

static conditions_met evaluate(const store_conditions *c, const condition_target *t) {
    bool has_ims = c->if_modified_since_us != STORE_TIME_NONE;
    bool has_ius = c->if_unmodified_since_us != STORE_TIME_NONE;
    conditions_met m = {true, true, true, true};
    if (c->if_match.len) m.match = t->exists && etag_listed(c->if_match, t->etag);
    if (!t->exists) return m;
    if (c->if_none_match.len) m.none_match = !etag_listed(c->if_none_match, t->etag);
    if (has_ims) m.modified = seconds(t->modified_us) > seconds(c->if_modified_since_us);
    if (has_ius) m.unmodified = seconds(t->modified_us) <= seconds(c->if_unmodified_since_us);
    return m;
}

static err check_read(const store_conditions *c, conditions_met m) {
    bool both = c->if_none_match.len && c->if_modified_since_us != STORE_TIME_NONE;
    ENSURE(!is_star(c->if_none_match), ERR_UNSATISFIABLE_CONDITION,
           "If-None-Match: '*' asks to read what is not there");
    if (!m.match) return not_met("If-Match", c->if_match);
    if (!m.unmodified) return time_not_met("If-Unmodified-Since");
    bool changed = both ? m.none_match || m.modified : m.none_match && m.modified;
    return changed ? OK : ERR_NOT_MODIFIED;
}

static err check_combination(const store_conditions *c) {
    bool match = c->if_match.len, none = c->if_none_match.len;
    bool ims = c->if_modified_since_us != STORE_TIME_NONE;
    bool ius = c->if_unmodified_since_us != STORE_TIME_NONE;
    ENSURE(!((match || ius) && (none || ims)), ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED,
           "If-Match and If-Unmodified-Since go with neither If-None-Match nor If-Modified-Since "
           "in a request that writes");
    ENSURE(slice_find(c->if_match, 0, ',') == c->if_match.len &&
               slice_find(c->if_none_match, 0, ',') == c->if_none_match.len,
           ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED,
           "a request that writes carries one ETag in If-Match or If-None-Match");
    return OK;
}

static err check_write(const store_conditions *c, condition_kind kind, conditions_met m) {
    TRY(check_combination(c));
    if (!m.match) return not_met("If-Match", c->if_match);
    if (!m.unmodified && !c->if_match.len) return time_not_met("If-Unmodified-Since");
    if (!m.none_match && kind == CONDITION_CREATE && is_star(c->if_none_match))
        return err_fail(ERR_BLOB_ALREADY_EXISTS, "If-None-Match: '*', and the blob exists");
    if (!m.none_match) return not_met("If-None-Match", c->if_none_match);
    if (!m.modified && !c->if_none_match.len) return time_not_met("If-Modified-Since");
    return OK;
}

/* ---- tags ---- */

/* A blob that is not there has no tags, and satisfies nothing that is asked of them. It is an
 * If-Match, for reads as well: 412, not 304. */
static err check_tags(const store_conditions *c, const condition_target *t) {
    pair tags[STORE_TAGS_MAX];
    TRY(row_tags_get(t->tags, t->tag_count, tags));
    ENSURE(store_tag_query_true(c->if_tags, tags, t->tag_count), ERR_CONDITION_NOT_MET,
           "x-ms-if-tags is not met");
    return OK;
}

/* ---- leases ---- */

static err lease_mismatch(const condition_target *t) {
    return err_fail(t->container ? ERR_LEASE_ID_MISMATCH_WITH_CONTAINER_OPERATION
                                 : ERR_LEASE_ID_MISMATCH_WITH_BLOB_OPERATION,
                    "x-ms-lease-id is not the id of the lease that is there");
}

/* Azure tells three cases apart: never leased or released; expired or broken, whichever id is sent;
 * leased by another. */
static err check_lease(slice given, bool needed, const condition_target *t) {
    bool leased = t->lease && t->lease->id.len;
    if (given.len == 0 && !(needed && leased)) return OK; /* nearly always */
    store_lease_state state =
        leased ? store_lease_state_of(t->lease, clock_wall_us()) : STORE_LEASE_AVAILABLE;
    bool locked = store_lease_locked(state);
    if (given.len == 0) {
        ENSURE(!locked, ERR_LEASE_ID_MISSING, "send its id in x-ms-lease-id, or break the lease");
        return OK;
    }
    ENSURE(state != STORE_LEASE_AVAILABLE,
           t->container ? ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION
                        : ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION,
           "x-ms-lease-id was sent, and there is no lease");
    ENSURE(locked, ERR_LEASE_LOST, "the lease %s; send the request without x-ms-lease-id",
           state == STORE_LEASE_EXPIRED ? "has expired" : "was broken");
    return slice_eq(given, t->lease->id) ? OK : lease_mismatch(t);
}

err conditions_check(const store_conditions *cond, condition_kind kind, condition_target t) {
    if (cond) {
        if (cond->if_tags) TRY(check_tags(cond, &t));
        conditions_met m = evaluate(cond, &t);
        TRY(kind == CONDITION_READ ? check_read(cond, m) : check_write(cond, kind, m));
    }
    bool writes = kind == CONDITION_WRITE || kind == CONDITION_CREATE;
    ENSURE(!(writes && t.copying), ERR_PENDING_COPY_OPERATION,
           "wait for the blob's copy to end, or abort it");
    return check_lease(cond ? cond->lease_id : SLICE_NONE, writes, &t);
}
