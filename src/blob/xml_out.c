/* XML documents that go out. */
#include "blob/internal.h"

void xml_element(buf *b, const char *name, slice text) {
    slice n = slice_str(name);
    buf_byte(b, '<');
    buf_put(b, n);
    if (text.len == 0) {
        buf_put(b, S(" />"));
        return;
    }
    buf_byte(b, '>');
    xml_put(b, text);
    buf_put(b, S("</"));
    buf_put(b, n);
    buf_byte(b, '>');
}

void xml_element_bool(buf *b, const char *name, bool v) {
    xml_element(b, name, v ? S("true") : S("false"));
}

void xml_element_u64(buf *b, const char *name, uint64_t v) {
    uint8_t digits[20];
    buf d;
    buf_init_fixed(&d, digits, sizeof digits);
    buf_u64(&d, v);
    xml_element(b, name, buf_slice(&d));
}

void xml_http_date(buf *b, const char *name, int64_t us) {
    uint8_t text[32];
    buf d;
    buf_init_fixed(&d, text, sizeof text);
    time_put_http(&d, us);
    xml_element(b, name, buf_slice(&d));
}

void xml_element_encoded(buf *b, const char *name, slice text) {
    if (xml_can_carry(text)) {
        xml_element(b, name, text);
        return;
    }
    slice n = slice_str(name);
    buf_byte(b, '<');
    buf_put(b, n);
    buf_put(b, S(" Encoded=\"true\">"));
    percent_put(b, text, "");
    buf_put(b, S("</"));
    buf_put(b, n);
    buf_byte(b, '>');
}

/* Names are identifiers (headers.c), so they are names of elements too. */
void xml_metadata(buf *b, const pair *metadata, size_t count) {
    if (count == 0) {
        buf_put(b, S("<Metadata />"));
        return;
    }
    buf_put(b, S("<Metadata>"));
    for (size_t i = 0; i < count; i++) {
        buf_byte(b, '<');
        buf_put(b, metadata[i].name);
        buf_byte(b, '>');
        xml_put(b, metadata[i].value);
        buf_put(b, S("</"));
        buf_put(b, metadata[i].name);
        buf_byte(b, '>');
    }
    buf_put(b, S("</Metadata>"));
}

static void free_memory(void *ctx) {
    free(ctx);
}

err blob_answer(ops_response *w, buf *b, slice content_type) {
    err e = buf_check(b);
    if (e != OK) {
        buf_done(b);
        return e;
    }
    MUST(b->arena == NULL && !b->fixed && w->source_free == NULL);
    ops_set(w, "Content-Type", content_type);
    ops_body(w, buf_slice(b));
    w->source_ctx = b->p;
    w->source_free = free_memory;
    *b = (buf){0};
    return OK;
}

err xml_answer(ops_response *w, buf *b) {
    return blob_answer(w, b, S("application/xml"));
}
