/* Text inside XML and JSON. Both copy runs of what needs no escape, found by one table a byte. */
#include "base/base.h"
#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { PLAIN, ESCAPE, NEVER, MULTI };

/* PLAIN stands for itself, ESCAPE has a way to be written, NEVER cannot be carried, MULTI begins a
 * character of several bytes. */
static uint8_t xml_class[256], json_class[256];

__attribute__((constructor)) static void prepare(void) {
    for (unsigned c = 0; c < 0x20; c++) {
        xml_class[c] = NEVER;
        json_class[c] = ESCAPE;
    }
    xml_class['\t'] = xml_class['\n'] = PLAIN;
    xml_class['\r'] = xml_class['&'] = xml_class['<'] = xml_class['>'] = xml_class['"'] = ESCAPE;
    json_class['"'] = json_class['\\'] = ESCAPE;
    for (unsigned c = 0x80; c < 0x100; c++) xml_class[c] = json_class[c] = MULTI;
}

/* Where the first byte stands that is a control, above ASCII or one of four marks: at 16 bytes a
 * step, so up to 15 bytes before the end are left for the tables to look at. */
static inline const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end, const char marks[4]) {
#if defined(__SSE2__)
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i_u *)(const void *)p);
        /* Signed: bytes above ASCII are below the space too. */
        __m128i found = _mm_cmplt_epi8(v, _mm_set1_epi8(' '));
        for (int i = 0; i < 4; i++)
            found = _mm_or_si128(found, _mm_cmpeq_epi8(v, _mm_set1_epi8(marks[i])));
        unsigned bits = (unsigned)_mm_movemask_epi8(found);
        if (bits != 0) return p + __builtin_ctz(bits);
    }
#endif
    (void)end;
    (void)marks;
    return p;
}

/* U+FFFE and U+FFFF are the characters above the controls that XML 1.0 leaves out. */
static inline bool is_noncharacter(const uint8_t *p, size_t n) {
    return n == 3 && p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE;
}

static inline size_t xml_multi(const uint8_t *p, const uint8_t *end) {
    size_t n = utf8_len(p, end);
    return is_noncharacter(p, n) ? 0 : n;
}

static slice xml_escape(uint8_t c) {
    switch (c) {
    case '&':
        return S("&amp;");
    case '<':
        return S("&lt;");
    case '>':
        return S("&gt;");
    case '"':
        return S("&quot;");
    case '\r':
        return S("&#xD;");
    default:
        return S("?");
    }
}

void xml_put(buf *b, slice text) {
    const uint8_t *p = text.p, *end = text.p + text.len;
    while (p < end) {
        const uint8_t *run = p;
        while ((p = skip_plain(p, end, "&<>\"")) < end) {
            size_t n = xml_class[*p] == PLAIN ? 1 : xml_class[*p] == MULTI ? xml_multi(p, end) : 0;
            if (n == 0) break;
            p += n;
        }
        buf_put(b, slice_of(run, (size_t)(p - run)));
        if (p < end) buf_put(b, xml_escape(*p++));
    }
}

bool xml_can_carry(slice s) {
    const uint8_t *p = s.p, *end = s.p + s.len;
    while ((p = skip_plain(p, end, "\x7F\x7F\x7F\x7F")) < end) {
        size_t n = xml_class[*p] == MULTI ? xml_multi(p, end) : xml_class[*p] != NEVER;
        if (n == 0) return false;
        p += n;
    }
    return true;
}

static void json_escape(buf *b, uint8_t c) {
    static const char digits[] = "0123456789abcdef";
    switch (c) {
    case '"':
        buf_put(b, S("\\\""));
        return;
    case '\\':
        buf_put(b, S("\\\\"));
        return;
    case '\b':
        buf_put(b, S("\\b"));
        return;
    case '\f':
        buf_put(b, S("\\f"));
        return;
    case '\n':
        buf_put(b, S("\\n"));
        return;
    case '\r':
        buf_put(b, S("\\r"));
        return;
    case '\t':
        buf_put(b, S("\\t"));
        return;
    default:
        break;
    }
    if (c >= 0x80) {
        buf_put(b, S("\xEF\xBF\xBD"));
        return;
    }
    char text[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    buf_put(b, slice_of(text, sizeof(text)));
}

void json_put(buf *b, slice text) {
    const uint8_t *p = text.p, *end = text.p + text.len;
    while (p < end) {
        const uint8_t *run = p;
        while ((p = skip_plain(p, end, "\"\"\\\\")) < end) {
            size_t n = json_class[*p] == PLAIN ? 1 : json_class[*p] == MULTI ? utf8_len(p, end) : 0;
            if (n == 0) break;
            p += n;
        }
        buf_put(b, slice_of(run, (size_t)(p - run)));
        if (p < end) json_escape(b, *p++);
    }
}
