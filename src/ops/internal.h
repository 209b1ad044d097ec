/* Private to ops/. */
#pragma once

#include "audit/event.h"
#include "ops/ops.h"

/* What x-ms-version answers when the request names none and the account has no default. */
#define OPS_VERSION_DEFAULT S("2026-06-06")
/* A body sent to an operation that takes none is ignored up to here, as Azure does. */
#define OPS_BODY_IGNORED_MAX (64u << 10)

/* request.c: the target's parts and the query's parameters, decoded. ERR_INVALID_URI,
 * ERR_INVALID_QUERY_PARAMETER_VALUE. */
err ops_parse_target(ops_request *r) CHECKED;
/* request.c: x-ms-version, api-version or sv. Leaves r->version empty when there is none.
 * ERR_INVALID_HEADER_VALUE. */
err ops_parse_version(ops_request *r) CHECKED;

/* record.c: x-ms-purpose of the request. ERR_INVALID_HEADER_VALUE. */
err ops_parse_purpose(ops_request *r) CHECKED;
/* record.c: readies the request's recorder. */
void ops_record_begin(ops_request *r);

/* metrics.c */
void ops_metrics_count(ops_metrics *m, const ops_request *r, int status, int64_t us, bool aborted);

/* ---- structured.c: bodies as structured messages; the format is described there ---- */

#define STRUCTURED_HEADER_LEN      13
#define STRUCTURED_SEGMENT_LEN     10 /* of a segment's header */
#define STRUCTURED_CRC_LEN         8
#define STRUCTURED_FLAG_CRC64      1u
#define STRUCTURED_SEGMENTS_MAX    65535u
#define STRUCTURED_SEGMENT_LEN_OUT ((uint64_t)4 << 20)

/* Bytes of a message with checksums; wraps around for lengths that no message has. */
static inline uint64_t structured_len(uint64_t content_len, uint32_t segments) {
    return STRUCTURED_HEADER_LEN + content_len +
           (uint64_t)segments * (STRUCTURED_SEGMENT_LEN + STRUCTURED_CRC_LEN) + STRUCTURED_CRC_LEN;
}

typedef enum structured_region {
    STRUCTURED_HEADER,
    STRUCTURED_SEGMENT_HEADER,
    STRUCTURED_CONTENT,
    STRUCTURED_SEGMENT_FOOTER,
    STRUCTURED_FOOTER,
    STRUCTURED_END
} structured_region;

typedef struct structured_in { /* a message that comes in, in pieces */
    uint64_t message_len;      /* OPS_LEN_UNKNOWN: it says itself */
    uint64_t content_len, content_done, segment_len, segment_left;
    uint64_t segment_crc, message_crc;
    uint32_t segments, segment;
    structured_region region;
    uint8_t head[16]; /* what has come of a region of fixed length */
    size_t head_len, want;
} structured_in;
void structured_in_init(structured_in *d, uint64_t message_len, uint64_t content_len);
/* The next content in *in, a part of it; empty when *in has been used up. ERR_INVALID_INPUT,
 * ERR_CRC64_MISMATCH. */
err structured_in_next(structured_in *d, slice *in, slice *ret) CHECKED;
/* ERR_INVALID_INPUT unless the message is whole. */
err structured_in_end(const structured_in *d) CHECKED;

typedef struct structured_out { /* a message that goes out */
    uint64_t content_len, content_done, segment_max, segment_len, segment_left;
    uint64_t segment_crc, message_crc;
    uint32_t segments, segment;
    bool over;        /* the last segment's content is out */
    uint8_t meta[32]; /* what stands between contents */
    size_t meta_at, meta_len;
} structured_out;
void structured_out_init(structured_out *o, uint64_t content_len);
/* Up to cap bytes that go out now; when there are none, segment_left bytes of content do. */
slice structured_out_meta(structured_out *o, size_t cap);
void structured_out_content(structured_out *o, slice content);

/* How much larger than row->body_max the body of r may be. */
uint64_t ops_structured_extra(const ops_request *r);
/* Before the handler: takes the request's body out of its message. ret_type: what was asked for, or
 * SLICE_NONE. ERR_INVALID_HEADER_VALUE, ERR_MISSING_REQUIRED_HEADER, ERR_INVALID_INPUT. */
err ops_structured_before(ops_request *r, slice *ret_type) CHECKED;
/* After it: puts the answer's body into a message, says so. */
void ops_structured_after(ops_request *r, ops_response *w, slice type);
