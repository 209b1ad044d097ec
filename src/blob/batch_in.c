/* The body of a batch: multipart/mixed (RFC 2046 5.1), a request in each part ("Blob Batch").
 *
 *   --BOUNDARY
 *   Content-Type: application/http
 *   Content-Transfer-Encoding: binary
 *   Content-ID: 0
 *
 *   DELETE /container/blob HTTP/1.1
 *   x-ms-date: …
 *
 *   --BOUNDARY--
 *
 * Lines end in CRLF; a bare LF is taken as well. What stands before the first delimiter and behind the
 * last is passed over, as RFC 2046 demands. Everything points into the body. */
#include "blob/internal.h"

#define BOUNDARY_MAX 70 /* RFC 2046 5.1.1 */

/* ---- the boundary -------------------------------------------------------------------------------- */

static bool boundary_char(uint8_t c) {
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return letter || (c >= '0' && c <= '9') || (c != 0 && strchr("'()+_,-./:=? ", c) != NULL);
}

/* The value of the parameter `boundary`, from what follows the media type. */
static slice find_boundary(slice rest) {
    slice part;
    while (slice_split(&rest, ';', &part)) {
        part = slice_trim(part);
        if (!slice_starts_nocase(part, S("boundary="))) continue;
        slice v = slice_trim(slice_skip(part, S("boundary=").len));
        if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"') v = slice_of(v.p + 1, v.len - 2);
        return v;
    }
    return SLICE_NONE;
}

err blob_batch_boundary(slice content_type, slice *ret) {
    size_t end = slice_find(content_type, 0, ';');
    ENSURE(slice_eq_nocase(slice_trim(slice_take(content_type, end)), S("multipart/mixed")),
           ERR_INVALID_HEADER_VALUE,
           "Content-Type: '%.*s' is not multipart/mixed; boundary=…, which a batch needs",
           SLICE_ARG(slice_take(content_type, 64)));
    slice v = find_boundary(slice_skip(content_type, end + 1));
    bool good = v.len >= 1 && v.len <= BOUNDARY_MAX && v.p[v.len - 1] != ' ';
    for (size_t i = 0; i < v.len && good; i++) good = boundary_char(v.p[i]);
    ENSURE(good, ERR_INVALID_HEADER_VALUE,
           "Content-Type: boundary is missing, or is not 1 to %d characters of RFC 2046",
           BOUNDARY_MAX);
    *ret = v;
    return OK;
}

/* ---- lines --------------------------------------------------------------------------------------- */

/* The next line without its end; *ret_ended false when the text stopped before a line feed. */
static slice take_line(slice *rest, bool *ret_ended) {
    size_t at = slice_find(*rest, 0, '\n');
    *ret_ended = at < rest->len;
    slice line = slice_take(*rest, at);
    *rest = slice_skip(*rest, at + 1);
    if (line.len > 0 && line.p[line.len - 1] == '\r') line.len--;
    return line;
}

typedef enum line_kind { LINE_TEXT, LINE_DELIMITER, LINE_CLOSE } line_kind;

static line_kind kind_of(slice boundary, slice line) {
    if (!slice_starts(line, S("--"))) return LINE_TEXT;
    line = slice_skip(line, 2);
    if (!slice_starts(line, boundary)) return LINE_TEXT;
    line = slice_skip(line, boundary.len);
    bool close = slice_starts(line, S("--"));
    if (close) line = slice_skip(line, 2);
    if (slice_trim(line).len > 0) return LINE_TEXT;
    return close ? LINE_CLOSE : LINE_DELIMITER;
}

/* Cuts off everything up to the next delimiter; what stood before it is the part. */
static err cut_part(blob_batch_reader *b, slice *ret_part, bool *ret_closed) {
    const uint8_t *begin = b->rest.p;
    while (b->rest.len > 0) {
        const uint8_t *at = b->rest.p;
        bool ended;
        line_kind kind = kind_of(b->boundary, take_line(&b->rest, &ended));
        if (kind == LINE_TEXT) continue;
        *ret_part = slice_of(begin, (size_t)(at - begin));
        *ret_closed = kind == LINE_CLOSE;
        return OK;
    }
    return err_fail(ERR_INVALID_INPUT, "the batch does not end with its boundary and '--'");
}

/* ---- one part ------------------------------------------------------------------------------------ */

static bool is_token(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F || strchr("()<>@,;:\\\"/[]?={}", s.p[i]) != NULL)
            return false;
    return s.len > 0;
}

static err take_header(unsigned part, slice line, pair *ret) {
    size_t colon = slice_find(line, 0, ':');
    slice name = slice_take(line, colon), value = slice_trim(slice_skip(line, colon + 1));
    ENSURE(colon < line.len && is_token(name), ERR_INVALID_INPUT,
           "request %u of the batch: '%.*s' is not a header", part,
           SLICE_ARG(slice_take(line, 64)));
    for (size_t i = 0; i < value.len; i++)
        ENSURE((value.p[i] >= ' ' && value.p[i] != 0x7F) || value.p[i] == '\t', ERR_INVALID_INPUT,
               "request %u of the batch: %.*s holds a control character", part,
               SLICE_ARG(slice_take(name, 64)));
    *ret = (pair){name, value};
    return OK;
}

/* The headers of the part itself. */
static err take_envelope(blob_batch_part *p, slice *rest) {
    bool http = false;
    for (;;) {
        bool ended;
        pair h;
        slice line = take_line(rest, &ended);
        ENSURE(ended, ERR_INVALID_INPUT, "part %u of the batch holds no request", p->number);
        if (line.len == 0) break;
        TRY(take_header(p->number, line, &h));
        if (slice_eq_nocase(h.name, S("Content-Type")))
            http = slice_eq_nocase(slice_trim(slice_take(h.value, slice_find(h.value, 0, ';'))),
                                   S("application/http"));
        if (slice_eq_nocase(h.name, S("Content-Transfer-Encoding")))
            ENSURE(slice_eq_nocase(h.value, S("binary")), ERR_INVALID_INPUT,
                   "request %u of the batch: Content-Transfer-Encoding is not binary", p->number);
        if (slice_eq_nocase(h.name, S("Content-ID"))) p->content_id = h.value;
    }
    ENSURE(http, ERR_INVALID_INPUT, "part %u of the batch is not of Content-Type application/http",
           p->number);
    ENSURE(p->content_id.len <= BLOB_BATCH_ID_MAX, ERR_INVALID_INPUT,
           "part %u of the batch: Content-ID is longer than %d bytes", p->number,
           BLOB_BATCH_ID_MAX);
    return OK;
}

static err take_request_line(blob_batch_part *p, slice line) {
    size_t one = slice_find(line, 0, ' '), two = slice_find(line, one + 1, ' ');
    p->method = slice_take(line, one);
    p->target = slice_take(slice_skip(line, one + 1), two > one ? two - one - 1 : 0);
    slice version = slice_trim(slice_skip(line, two + 1));
    ENSURE(is_token(p->method) && p->target.len > 0 && slice_eq(version, S("HTTP/1.1")),
           ERR_INVALID_INPUT,
           "part %u of the batch: '%.*s' is not a request line like 'DELETE /container/blob "
           "HTTP/1.1'",
           p->number, SLICE_ARG(slice_take(slice_take(line, slice_find(line, 0, '?')), 96)));
    return OK;
}

static err take_request(blob_batch_part *p, slice rest) {
    bool ended;
    TRY(take_request_line(p, take_line(&rest, &ended)));
    while (rest.len > 0) {
        slice line = take_line(&rest, &ended);
        if (line.len == 0) break; /* a body: neither operation takes one */
        ENSURE(p->header_count < BLOB_BATCH_HEADERS_MAX, ERR_INVALID_INPUT,
               "request %u of the batch has more than %d headers", p->number,
               BLOB_BATCH_HEADERS_MAX);
        TRY(take_header(p->number, line, &p->headers[p->header_count]));
        p->header_count++;
    }
    return OK;
}

err blob_batch_begin(blob_batch_reader *b, slice boundary, slice body) {
    slice preamble;
    *b = (blob_batch_reader){.boundary = boundary, .rest = body};
    return cut_part(b, &preamble, &b->closed);
}

err blob_batch_next(blob_batch_reader *b, blob_batch_part *ret, bool *ret_more) {
    slice part;
    *ret_more = !b->closed;
    if (b->closed) return OK;
    ENSURE(b->count < BLOB_BATCH_MAX, ERR_EXCEEDS_MAX_BATCH_REQUEST_COUNT,
           "a batch has at most %d requests", BLOB_BATCH_MAX);
    TRY(cut_part(b, &part, &b->closed));
    ret->number = b->count++;
    ret->content_id = SLICE_NONE;
    ret->header_count = 0;
    TRY(take_envelope(ret, &part));
    return take_request(ret, part);
}
