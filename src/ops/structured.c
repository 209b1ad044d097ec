/* Structured messages: a body in segments, each followed by its CRC-64, so that neither side keeps or
 * reads content twice to be sure of it. x-ms-structured-body: XSM/1.0; properties=crc64.
 *
 *   message  = version(1)=1 message_len(8) flags(2) segment_count(2)  segment*  message_crc64(8)
 *   segment  = number(2), from 1  content_len(8)  content  segment_crc64(8)
 *
 * All numbers little-endian; the CRCs are there when bit 0 of flags is set, and are CRC-64/NVME of
 * content. The format is that of the SDKs (Python: _shared/streams.py; .NET: Azure.Storage.Common,
 * Shared/StructuredMessage.cs); the reference pages of Put Blob, Put Block, Append Block, Put Page
 * and Get Blob name the headers.
 *
 * A handler sees none of it: what it reads of a body has been taken out of its message already, and
 * what it answers is put into one afterwards. */
#include "base/base.h"
#include "ops/internal.h"

#define TYPE        S("XSM/1.0; properties=crc64")
#define TYPE_PREFIX S("XSM/1.0")
#define TYPE_CRC64  S("properties=crc64")

static uint64_t get_le(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    while (n > 0) v = v << 8 | p[--n];
    return v;
}

static uint8_t *put_le(uint8_t *p, uint64_t v, size_t n) {
    for (; n > 0; n--, v >>= 8) *p++ = (uint8_t)v;
    return p;
}

/* ---- in ------------------------------------------------------------------------------------------ */

void structured_in_init(structured_in *d, uint64_t message_len, uint64_t content_len) {
    *d = (structured_in){.message_len = message_len,
                         .content_len = content_len,
                         .region = STRUCTURED_HEADER,
                         .want = STRUCTURED_HEADER_LEN};
}

static void go(structured_in *d, structured_region to, size_t want) {
    d->region = to;
    d->want = want;
    d->head_len = 0;
}

/* After a segment, or after the header of a message that has none. */
static void next_segment(structured_in *d) {
    if (d->segment < d->segments)
        go(d, STRUCTURED_SEGMENT_HEADER, STRUCTURED_SEGMENT_LEN);
    else
        go(d, STRUCTURED_FOOTER, STRUCTURED_CRC_LEN);
}

static err take_header(structured_in *d) {
    const uint8_t *p = d->head;
    uint64_t len = get_le(p + 1, 8), flags = get_le(p + 9, 2);
    d->segments = (uint32_t)get_le(p + 11, 2);
    ENSURE(p[0] == 1, ERR_INVALID_INPUT, "structured body: version %u is not 1", p[0]);
    ENSURE(flags == STRUCTURED_FLAG_CRC64, ERR_INVALID_INPUT,
           "structured body: flags are %llu; properties=crc64 is flag 1",
           (unsigned long long)flags);
    ENSURE(d->message_len == OPS_LEN_UNKNOWN || len == d->message_len, ERR_INVALID_INPUT,
           "structured body: it says that it has %llu bytes, Content-Length says %llu",
           (unsigned long long)len, (unsigned long long)d->message_len);
    ENSURE(len == structured_len(d->content_len, d->segments), ERR_INVALID_INPUT,
           "structured body: %llu bytes of content in %u segments do not make a message of %llu "
           "bytes",
           (unsigned long long)d->content_len, d->segments, (unsigned long long)len);
    ENSURE(d->segments > 0 || d->content_len == 0, ERR_INVALID_INPUT,
           "structured body: there is content and no segment");
    next_segment(d);
    return OK;
}

static err take_segment_header(structured_in *d) {
    uint32_t number = (uint32_t)get_le(d->head, 2);
    uint64_t len = get_le(d->head + 2, 8), left = d->content_len - d->content_done;
    d->segment++;
    ENSURE(number == d->segment, ERR_INVALID_INPUT,
           "structured body: segment %u stands where segment %u should", number, d->segment);
    ENSURE(d->segment < d->segments ? len <= left : len == left, ERR_INVALID_INPUT,
           "structured body: segment %u has %llu bytes, %llu of x-ms-structured-content-length are "
           "left",
           number, (unsigned long long)len, (unsigned long long)left);
    d->segment_len = d->segment_left = len;
    d->segment_crc = 0;
    if (len > 0)
        go(d, STRUCTURED_CONTENT, 0);
    else
        go(d, STRUCTURED_SEGMENT_FOOTER, STRUCTURED_CRC_LEN);
    return OK;
}

static err take_segment_footer(structured_in *d) {
    ENSURE(get_le(d->head, STRUCTURED_CRC_LEN) == d->segment_crc, ERR_CRC64_MISMATCH,
           "structured body: segment %u does not have the checksum that follows it", d->segment);
    d->message_crc = crc64_combine(d->message_crc, d->segment_crc, d->segment_len);
    next_segment(d);
    return OK;
}

static err take_footer(structured_in *d) {
    ENSURE(get_le(d->head, STRUCTURED_CRC_LEN) == d->message_crc, ERR_CRC64_MISMATCH,
           "structured body: the content does not have the checksum at its end");
    go(d, STRUCTURED_END, 0);
    return OK;
}

static err take_region(structured_in *d) {
    switch (d->region) {
    case STRUCTURED_HEADER:
        return take_header(d);
    case STRUCTURED_SEGMENT_HEADER:
        return take_segment_header(d);
    case STRUCTURED_SEGMENT_FOOTER:
        return take_segment_footer(d);
    case STRUCTURED_FOOTER:
        return take_footer(d);
    case STRUCTURED_CONTENT:
    case STRUCTURED_END:
        break;
    }
    return err_fail(ERR_INVALID_INPUT, "structured body: it goes on after its end");
}

static slice take_content(structured_in *d, slice *in) {
    size_t n = in->len < d->segment_left ? in->len : (size_t)d->segment_left;
    slice content = slice_take(*in, n);
    *in = slice_skip(*in, n);
    d->segment_crc = crc64(d->segment_crc, content);
    d->segment_left -= n;
    d->content_done += n;
    if (d->segment_left == 0) go(d, STRUCTURED_SEGMENT_FOOTER, STRUCTURED_CRC_LEN);
    return content;
}

err structured_in_next(structured_in *d, slice *in, slice *ret) {
    while (in->len > 0) {
        if (d->region == STRUCTURED_CONTENT) {
            *ret = take_content(d, in);
            return OK;
        }
        slice part = slice_take(*in, d->want - d->head_len);
        memcpy(d->head + d->head_len, part.p, part.len);
        d->head_len += part.len;
        *in = slice_skip(*in, part.len);
        if (d->head_len == d->want) TRY(take_region(d));
    }
    *ret = SLICE_NONE;
    return OK;
}

err structured_in_end(const structured_in *d) {
    ENSURE(d->region == STRUCTURED_END, ERR_INVALID_INPUT,
           "structured body: it ends in the middle, after %llu of %llu bytes of content",
           (unsigned long long)d->content_done, (unsigned long long)d->content_len);
    return OK;
}

/* ---- a request's body ---------------------------------------------------------------------------- */

struct ops_unwrap {
    structured_in in;
    slice rest; /* lent by the adapter, not yet looked at */
    slice kept; /* content that body_read has not given out yet; a part of what was lent */
    err (*take)(ops_request *r, slice *ret);
};

static err unwrap_some(ops_request *r, slice *ret) {
    struct ops_unwrap *u = r->unwrap;
    for (;;) {
        TRY(structured_in_next(&u->in, &u->rest, ret));
        if (ret->len > 0) return OK;
        TRY(u->take(r, &u->rest));
        if (u->rest.len == 0) return structured_in_end(&u->in);
    }
}

static err unwrap_read(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n) {
    struct ops_unwrap *u = r->unwrap;
    *ret_n = 0;
    while (cap > 0 && u->kept.len == 0) {
        TRY(unwrap_some(r, &u->kept));
        if (u->kept.len == 0) return OK;
    }
    *ret_n = u->kept.len < cap ? u->kept.len : cap;
    if (*ret_n > 0) memcpy(out, u->kept.p, *ret_n);
    u->kept = slice_skip(u->kept, *ret_n);
    return OK;
}

/* A gathered body: its content moves together at the front of memory of its own. */
static err unwrap_gathered(ops_request *r) {
    struct ops_unwrap *u = r->unwrap;
    slice content;
    buf whole;
    buf_init_arena(&whole, r->arena, r->body.len);
    u->rest = r->body;
    for (;;) {
        TRY(structured_in_next(&u->in, &u->rest, &content));
        if (content.len == 0) break;
        buf_put(&whole, content);
    }
    TRY(structured_in_end(&u->in));
    r->body = whole.len > 0 ? buf_slice(&whole) : slice_of("", 0);
    return buf_check(&whole);
}

/* White space around ';' is as the sender likes; letters of either case. */
static err check_type(slice v) {
    size_t semicolon = slice_find(v, 0, ';');
    ENSURE(slice_eq_nocase(slice_trim(slice_take(v, semicolon)), TYPE_PREFIX) &&
               slice_eq_nocase(slice_trim(slice_skip(v, semicolon + 1)), TYPE_CRC64),
           ERR_INVALID_HEADER_VALUE,
           "x-ms-structured-body: '%.*s' is not supported; XSM/1.0; properties=crc64 is",
           SLICE_ARG(slice_take(v, 64)));
    return OK;
}

static err unwrap_body(ops_request *r) {
    uint64_t len;
    slice said = ops_header(r, "x-ms-structured-content-length");
    ENSURE(said.p != NULL, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-structured-content-length is missing: how many bytes of content the structured "
           "body holds");
    ENSURE(slice_u64(said, &len) == OK, ERR_INVALID_HEADER_VALUE,
           "x-ms-structured-content-length: '%.*s' is not a number",
           SLICE_ARG(slice_take(said, 32)));
    ENSURE(ops_header(r, "Content-MD5").p == NULL && ops_header(r, "x-ms-content-crc64").p == NULL,
           ERR_INVALID_INPUT,
           "a structured body has its checksums inside: send neither Content-MD5 nor "
           "x-ms-content-crc64 with it");
    ENSURE(len <= r->row->body_max, ERR_REQUEST_BODY_TOO_LARGE,
           "%s takes at most %llu bytes, x-ms-structured-content-length says %llu", r->row->name,
           (unsigned long long)r->row->body_max, (unsigned long long)len);
    struct ops_unwrap *u = arena_alloc(r->arena, sizeof *u);
    *u = (struct ops_unwrap){.take = r->body_take};
    structured_in_init(&u->in, r->content_length, len);
    r->unwrap = u;
    r->content_length = len;
    r->has_length = true;
    if (r->body.p != NULL) return unwrap_gathered(r); /* the adapter reads from r->body, too */
    r->body_take = unwrap_some;
    r->body_read = unwrap_read;
    slice nothing; /* of an empty body handlers do not even look for the end */
    return len > 0 ? OK : unwrap_some(r, &nothing);
}

/* ---- out ----------------------------------------------------------------------------------------- */

/* Appends the header of the next segment to what goes out. */
static void open_segment(structured_out *o) {
    uint64_t left = o->content_len - o->content_done;
    o->segment++;
    o->segment_len = o->segment_left = left < o->segment_max ? left : o->segment_max;
    o->segment_crc = 0;
    uint8_t *p = put_le(o->meta + o->meta_len, o->segment, 2);
    p = put_le(p, o->segment_len, 8);
    o->meta_len = (size_t)(p - o->meta);
}

/* After a segment's content: its checksum, and what comes next. */
static void close_segment(structured_out *o) {
    o->message_crc = crc64_combine(o->message_crc, o->segment_crc, o->segment_len);
    uint8_t *p = put_le(o->meta, o->segment_crc, STRUCTURED_CRC_LEN);
    o->over = o->segment == o->segments;
    if (o->over) p = put_le(p, o->message_crc, STRUCTURED_CRC_LEN);
    o->meta_at = 0;
    o->meta_len = (size_t)(p - o->meta);
    if (!o->over) open_segment(o);
}

/* Segments of 4 MiB, as the SDKs', and larger ones where their number would not fit. */
void structured_out_init(structured_out *o, uint64_t content_len) {
    uint64_t least = content_len / STRUCTURED_SEGMENTS_MAX + 1;
    *o = (structured_out){.content_len = content_len, .segment_max = STRUCTURED_SEGMENT_LEN_OUT};
    if (o->segment_max < least) o->segment_max = least;
    uint64_t n = content_len / o->segment_max + (content_len % o->segment_max != 0);
    o->segments = n > 0 ? (uint32_t)n : 1;
    uint8_t *p = o->meta;
    *p++ = 1;
    p = put_le(p, structured_len(content_len, o->segments), 8);
    p = put_le(p, STRUCTURED_FLAG_CRC64, 2);
    p = put_le(p, o->segments, 2);
    o->meta_len = (size_t)(p - o->meta);
    open_segment(o);
}

slice structured_out_meta(structured_out *o, size_t cap) {
    if (o->meta_at == o->meta_len && o->segment_left == 0 && !o->over) close_segment(o);
    slice rest = slice_take(slice_of(o->meta + o->meta_at, o->meta_len - o->meta_at), cap);
    o->meta_at += rest.len;
    return rest;
}

void structured_out_content(structured_out *o, slice content) {
    MUST(content.len <= o->segment_left && o->meta_at == o->meta_len);
    o->segment_crc = crc64(o->segment_crc, content);
    o->segment_left -= content.len;
    o->content_done += content.len;
}

/* ---- an answer's body ---------------------------------------------------------------------------- */

/* The answer as it was, behind the one that its message is read from. */
typedef struct wrap {
    structured_out out;
    uint64_t at;       /* of the message */
    const slice *part; /* OPS_BODY_PARTS: those not yet sent whole; OPS_BODY_BYTES: `bytes` */
    size_t part_at;    /* in the first of them */
    slice bytes;
    err (*read)(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait, size_t *ret_n);
    void (*free)(void *ctx);
    void *ctx;
} wrap;

static err wrap_content(wrap *k, uint8_t *out, size_t cap, bool nowait, size_t *ret_n) {
    if (k->read != NULL) {
        TRY(k->read(k->ctx, k->out.content_done, out, cap, nowait, ret_n));
        ENSURE(*ret_n > 0, ERR_CORRUPT, "the content ends before its length");
    } else {
        while (k->part_at == k->part->len) k->part++, k->part_at = 0;
        slice rest = slice_take(slice_skip(*k->part, k->part_at), cap);
        memcpy(out, rest.p, rest.len);
        k->part_at += rest.len;
        *ret_n = rest.len;
    }
    structured_out_content(&k->out, slice_of(out, *ret_n));
    return OK;
}

static err wrap_read(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                     size_t *ret_n) {
    wrap *k = ctx;
    size_t n = 0;
    err e = OK;
    MUST(offset == k->at); /* checksums come after what they are of: there is no going back */
    while (n < cap && e == OK) {
        slice meta = structured_out_meta(&k->out, cap - n);
        size_t got = meta.len;
        if (meta.len > 0)
            memcpy(out + n, meta.p, meta.len);
        else if (k->out.segment_left == 0)
            break;
        else
            e = wrap_content(k, out + n,
                             k->out.segment_left < cap - n ? (size_t)k->out.segment_left : cap - n,
                             nowait, &got);
        if (e == OK) n += got;
    }
    k->at += n;
    *ret_n = n;
    return n > 0 ? OK : e; /* what went wrong after some bytes does so again */
}

static void wrap_free(void *ctx) {
    wrap *k = ctx;
    if (k->free != NULL) k->free(k->ctx);
}

static void wrap_answer(ops_request *r, ops_response *w) {
    uint64_t len = w->kind == OPS_BODY_BYTES  ? w->body.len
                   : w->kind == OPS_BODY_NONE ? 0
                                              : w->length;
    wrap *k = arena_alloc(r->arena, sizeof *k);
    *k = (wrap){.bytes = w->body, .free = w->source_free, .ctx = w->source_ctx};
    k->part = w->kind == OPS_BODY_PARTS ? w->parts : &k->bytes;
    if (w->kind == OPS_BODY_SOURCE) k->read = w->source_read;
    structured_out_init(&k->out, len);
    w->kind = OPS_BODY_SOURCE;
    w->length = structured_len(len, k->out.segments);
    w->source_read = wrap_read;
    w->source_free = wrap_free;
    w->source_ctx = k;
    ops_set_u64(r, w, "x-ms-structured-content-length", len);
}

/* ---- both ---------------------------------------------------------------------------------------- */

uint64_t ops_structured_extra(const ops_request *r) {
    bool asked = (r->row->flags & OPS_STRUCTURED) != 0 && (r->row->flags & OPS_BODY_IN) != 0 &&
                 ops_header(r, "x-ms-structured-body").p != NULL;
    return asked ? structured_len(0, STRUCTURED_SEGMENTS_MAX) : 0;
}

err ops_structured_before(ops_request *r, slice *ret_type) {
    *ret_type = SLICE_NONE;
    if ((r->row->flags & OPS_STRUCTURED) == 0) return OK;
    *ret_type = ops_header(r, "x-ms-structured-body");
    if (ret_type->p == NULL) return OK;
    TRY(check_type(*ret_type));
    if (r->row->flags & OPS_BODY_IN) return r->unwrap == NULL ? unwrap_body(r) : OK;
    ENSURE(ops_header(r, "x-ms-range-get-content-md5").p == NULL &&
               ops_header(r, "x-ms-range-get-content-crc64").p == NULL,
           ERR_INVALID_HEADER_VALUE,
           "a structured body has its checksums inside: send no x-ms-range-get-content-md5 or "
           "x-ms-range-get-content-crc64 with x-ms-structured-body");
    return OK;
}

void ops_structured_after(ops_request *r, ops_response *w, slice type) {
    if (type.p == NULL || w->error != OK || w->status < 200 || w->status > 206) return;
    if ((r->row->flags & OPS_BODY_IN) == 0) wrap_answer(r, w);
    ops_set(w, "x-ms-structured-body", type);
}
