#include "audit/record.h"

#include <arpa/inet.h>

/* ---- canonical JSON: members in order of their names, no white space, no escapes needed ---- */

static void member(buf *b, const char *name, bool *first) {
    if (!*first) buf_byte(b, ',');
    *first = false;
    buf_byte(b, '"');
    buf_str(b, name);
    buf_put(b, S("\":"));
}

static void text(buf *b, const char *name, slice v, bool *first) {
    if (v.len == 0) return;
    member(b, name, first);
    buf_byte(b, '"');
    json_put(b, v);
    buf_byte(b, '"');
}

static void hex(buf *b, const char *name, slice v, bool *first) {
    if (v.len == 0) return;
    member(b, name, first);
    buf_byte(b, '"');
    hex_put(b, v);
    buf_byte(b, '"');
}

static void base64(buf *b, const char *name, slice v, bool *first) {
    if (v.len == 0) return;
    member(b, name, first);
    buf_byte(b, '"');
    base64_put(b, v);
    buf_byte(b, '"');
}

static void number(buf *b, const char *name, uint64_t v, bool *first) {
    member(b, name, first);
    buf_u64(b, v);
}

static void tick(buf *b, const char *name, uint64_t v, bool *first) {
    if (v == 0) return;
    member(b, name, first);
    buf_byte(b, '"');
    time_put_tick(b, v);
    buf_byte(b, '"');
}

static void time_member(buf *b, const char *name, int64_t us, bool *first) {
    member(b, name, first);
    buf_byte(b, '"');
    time_put_iso7(b, us);
    buf_byte(b, '"');
}

static void open_object(buf *b, const char *name, bool *outer, bool *ret_first) {
    member(b, name, outer);
    buf_byte(b, '{');
    *ret_first = true;
}

/* The first 24 bits of an IPv4 address, the first 48 of an IPv6 one. */
static slice network(slice ip, char out[INET6_ADDRSTRLEN + 8]) {
    char address[INET6_ADDRSTRLEN];
    struct in_addr four;
    struct in6_addr six;
    if (ip.len == 0 || ip.len >= sizeof address) return SLICE_NONE;
    memcpy(address, ip.p, ip.len);
    address[ip.len] = '\0';
    if (inet_pton(AF_INET, address, &four) == 1) {
        four.s_addr &= htonl(0xffffff00u);
        if (!inet_ntop(AF_INET, &four, out, INET6_ADDRSTRLEN)) return SLICE_NONE;
        memcpy(out + strlen(out), "/24", sizeof "/24");
        return slice_str(out);
    }
    if (inet_pton(AF_INET6, address, &six) != 1) return SLICE_NONE;
    memset(six.s6_addr + 6, 0, sizeof six.s6_addr - 6);
    if (!inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN)) return SLICE_NONE;
    memcpy(out + strlen(out), "/48", sizeof "/48");
    return slice_str(out);
}

static void put_actor(buf *b, const audit_record *r, bool *outer) {
    bool first;
    open_object(b, "actor", outer, &first);
    hex(b, "id", r->actor, &first);
    hex(b, "issuer", r->issuer, &first);
    text(b, "kind", slice_str(r->actor_kind), &first);
    text(b, "strength", slice_str(r->strength), &first);
    buf_byte(b, '}');
}

static void put_client(buf *b, const audit_record *r, bool *outer) {
    char room[INET6_ADDRSTRLEN + 8];
    bool first;
    if (r->peer_ip.len == 0 && r->request_id.len == 0) return;
    open_object(b, "client", outer, &first);
    text(b, "network", network(r->peer_ip, room), &first);
    text(b, "request", r->request_id, &first);
    buf_byte(b, '}');
}

static void put_crc64(buf *b, const audit_record *r, bool *first) {
    uint8_t le[8];
    if (!r->has_object || !r->has_crc64) return;
    for (int i = 0; i < 8; i++) le[i] = (uint8_t)(r->crc64 >> (8 * i));
    base64(b, "crc64", slice_of(le, sizeof le), first);
}

static void put_etag(buf *b, const audit_record *r, bool *first) {
    if (!r->has_object || r->etag == 0) return;
    member(b, "etag", first);
    buf_fmt(b, "\"0x%llX\"", (unsigned long long)r->etag);
}

static void put_object(buf *b, const audit_record *r, bool *outer) {
    bool first;
    if (r->account.len == 0) return;
    open_object(b, "object", outer, &first);
    hex(b, "account", r->account, &first);
    if (r->has_object) number(b, "bytes", r->bytes, &first);
    hex(b, "container", r->container, &first);
    put_crc64(b, r, &first);
    put_etag(b, r, &first);
    if (r->has_object && r->hold) {
        member(b, "hold", &first);
        buf_put(b, S("true"));
    }
    if (r->has_object && r->has_md5) base64(b, "md5", r->md5, &first);
    hex(b, "name", r->name, &first);
    if (r->has_object && r->retain_us != INT64_MIN) time_member(b, "retain", r->retain_us, &first);
    if (r->has_object) tick(b, "snapshot", r->snapshot, &first);
    if (r->has_object) tick(b, "version", r->version, &first);
    buf_byte(b, '}');
}

static void put_outcome(buf *b, const audit_record *r, bool *outer) {
    bool first;
    open_object(b, "outcome", outer, &first);
    text(b, "code", slice_str(r->code), &first);
    text(b, "result", slice_str(r->result), &first);
    if (r->status != 0) number(b, "status", (uint64_t)r->status, &first);
    buf_byte(b, '}');
}

static void put_purpose(buf *b, const audit_record *r, bool *outer) {
    bool first;
    if (r->purpose.len == 0) return;
    open_object(b, "purpose", outer, &first);
    text(b, "code", r->purpose, &first);
    if (r->purpose_default) {
        member(b, "default", &first);
        buf_put(b, S("true"));
    }
    hex(b, "reason", r->reason, &first);
    buf_byte(b, '}');
}

static void put_retention(buf *b, const struct audit_retained *r, bool *outer) {
    bool first;
    if (!r) return;
    open_object(b, "retention", outer, &first);
    if (r->before > 0) {
        number(b, "before", r->before, &first);
        number(b, "count", r->count, &first);
    }
    number(b, "keep", r->keep_s, &first);
    if (r->before > 0)
        time_member(b, "until", r->until_us, &first);
    else
        number(b, "was", r->was_s, &first);
    buf_byte(b, '}');
}

static void put_refusals(buf *b, const audit_record *r, bool *outer) {
    bool first;
    if (r->refusals == 0) return;
    open_object(b, "refusals", outer, &first);
    number(b, "count", r->refusals, &first);
    time_member(b, "first", r->first_us, &first);
    time_member(b, "last", r->last_us, &first);
    buf_byte(b, '}');
}

void audit_record_put(buf *b, const audit_record *r) {
    bool first = true;
    buf_byte(b, '{');
    text(b, "action", slice_str(r->action), &first);
    put_actor(b, r, &first);
    hex(b, "asked", r->asked, &first);
    text(b, "class", slice_str(r->audit_class), &first);
    put_client(b, r, &first);
    text(b, "decision", slice_str(r->decision), &first);
    member(b, "id", &first);
    buf_byte(b, '"');
    uuid7_put(b, r->time_us);
    buf_byte(b, '"');
    put_object(b, r, &first);
    put_outcome(b, r, &first);
    put_purpose(b, r, &first);
    if (r->recipient) hex(b, "recipient", r->actor, &first);
    put_refusals(b, r, &first);
    text(b, "region", r->region, &first);
    put_retention(b, r->retained, &first);
    time_member(b, "time", r->time_us, &first);
    number(b, "v", AUDIT_RECORD_VERSION, &first);
    buf_byte(b, '}');
}

slice audit_text(slice name) {
    return slice_utf8_valid(name) ? slice_take_utf8(name, AUDIT_TEXT_MAX) : SLICE_NONE;
}

/* ---- commitments ---- */

static void commitment(slice salt, slice value, uint8_t ret[AUDIT_COMMITMENT_LEN]) {
    const slice parts[] = {salt, value};
    crypto_sha256_parts(parts, ARRAY_LEN(parts), ret);
}

void audit_commit(slice value, uint8_t ret_salt[AUDIT_SALT_LEN],
                  uint8_t ret[AUDIT_COMMITMENT_LEN]) {
    random_fill(ret_salt, AUDIT_SALT_LEN);
    commitment(slice_of(ret_salt, AUDIT_SALT_LEN), value, ret);
}

/* ---- openings ---- */

#define OPENING(B)                                                                                 \
    B(1, account)                                                                                  \
    B(2, container)                                                                                \
    B(3, blob)                                                                                     \
    B(4, name_salt)                                                                                \
    B(5, address)                                                                                  \
    B(6, actor)                                                                                    \
    B(7, reason)                                                                                   \
    B(8, reason_salt)                                                                              \
    B(9, asked)                                                                                    \
    B(10, asked_salt)

void audit_opening_put(buf *out, const audit_opening *o) {
    record_begin(out, AUDIT_RECORD_VERSION);
#define PUT(tag, field) record_bytes(out, tag, o->field);
    OPENING(PUT)
#undef PUT
}

err audit_opening_get(slice in, audit_opening *ret) {
    record_reader r;
    record_field f;
    bool more;
    *ret = (audit_opening){0};
    TRY(record_open(&r, in, AUDIT_RECORD_VERSION));
    for (;;) {
        TRY(record_next(&r, &f, &more));
        if (!more) return OK;
        if (!f.is_bytes) continue;
#define GET(tag_, field)                                                                           \
    if (f.tag == (tag_)) ret->field = f.bytes;
        OPENING(GET)
#undef GET
    }
}

/* A commitment stands in the entry, in hexadecimal, when its value is in the opening; of canonical JSON `before`
 * is what stands before it. */
static bool fits(slice entry, const char *before, slice salt, slice value) {
    uint8_t made[AUDIT_COMMITMENT_LEN];
    char room[2 * AUDIT_COMMITMENT_LEN + 64];
    buf want;
    buf_init_fixed(&want, room, sizeof room);
    buf_str(&want, before);
    if (value.len > 0) {
        commitment(salt, value, made);
        hex_put(&want, slice_of(made, sizeof made));
    }
    const bool there = slice_find_slice(entry, 0, buf_slice(&want)) < entry.len;
    return there == (value.len > 0);
}

bool audit_opening_fits(const audit_opening *o, slice entry) {
    return fits(entry, "\"name\":\"", o->name_salt, o->blob) &&
           fits(entry, "\"reason\":\"", o->reason_salt, o->reason) &&
           fits(entry, "\"asked\":\"", o->asked_salt, o->asked);
}

/* ---- purposes ---- */

err audit_purpose_parse(slice in, slice *ret_code, slice *ret_reason) {
    const size_t at = slice_find(in, 0, ';');
    const slice code = slice_trim(slice_take(in, at));
    const slice reason = at < in.len ? slice_trim(slice_skip(in, at + 1)) : SLICE_NONE;
    ENSURE(code.len > 0 && code.len <= AUDIT_PURPOSE_MAX && slice_is_code(code),
           ERR_INVALID_HEADER_VALUE,
           "a purpose is a code of 1 to %d letters, digits, '.', '_' or '-', and after a semicolon "
           "the "
           "reason in words",
           AUDIT_PURPOSE_MAX);
    ENSURE(reason.len <= AUDIT_REASON_MAX && slice_utf8_valid(reason), ERR_INVALID_HEADER_VALUE,
           "a reason is up to %d bytes of UTF-8", AUDIT_REASON_MAX);
    *ret_code = code;
    *ret_reason = reason;
    return OK;
}
