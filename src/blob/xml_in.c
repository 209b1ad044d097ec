/* XML documents that come in: expat, fed in pieces, with everything that is not needed refused:
 * DOCTYPE (and with it all entities but the five of XML), depth beyond XML_DEPTH_MAX, long texts
 * and tokens, text beside elements. Namespaces are ignored.
 *
 * What holds: `depth` elements are open; text.len bytes belong to the innermost of them; once
 * `error` is set nothing more is visited. */
#include <expat.h>

#include "blob/internal.h"

struct xml_reader {
    XML_Parser parser;
    const xml_visitor *visitor;
    void *ctx;
    unsigned depth;
    bool leaf; /* the innermost open element has no child so far */
    bool root; /* one was seen */
    buf text;
    uint64_t fed;
    err error;
};

static slice local_name(const char *name) {
    slice s = slice_str(name);
    size_t colon = slice_find(s, 0, ':');
    return colon < s.len ? slice_skip(s, colon + 1) : s;
}

static bool is_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static slice trimmed(slice s) {
    while (s.len > 0 && is_space(s.p[0])) s = slice_skip(s, 1);
    while (s.len > 0 && is_space(s.p[s.len - 1])) s.len--;
    return s;
}

static void stop(xml_reader *x, err e) {
    if (x->error != OK) return;
    x->error = e;
    XML_StopParser(x->parser, XML_FALSE);
}

static err mixed(slice name) {
    return err_fail(ERR_INVALID_XML_DOCUMENT, "there is text beside the element '%.*s'",
                    SLICE_ARG(slice_take(name, 64)));
}

static err open_element(xml_reader *x, slice name) {
    ENSURE(x->depth < XML_DEPTH_MAX, ERR_INVALID_XML_DOCUMENT,
           "elements stand more than %d deep in each other", XML_DEPTH_MAX);
    if (trimmed(buf_slice(&x->text)).len > 0) return mixed(name);
    buf_reset(&x->text);
    x->leaf = x->root = true;
    return x->visitor->open(x->ctx, ++x->depth, name);
}

static err close_element(xml_reader *x, slice name) {
    slice text = trimmed(buf_slice(&x->text));
    if (!x->leaf && text.len > 0) return mixed(name);
    x->leaf = false;
    unsigned depth = x->depth--;
    err e =
        x->visitor->close(x->ctx, depth, name, x->visitor->verbatim ? buf_slice(&x->text) : text);
    buf_reset(&x->text);
    return e;
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes) {
    (void)attributes;
    xml_reader *x = user;
    if (x->error != OK) return;
    err e = open_element(x, local_name(name));
    if (e != OK) stop(x, e);
}

static void XMLCALL on_end(void *user, const XML_Char *name) {
    xml_reader *x = user;
    if (x->error != OK) return;
    err e = close_element(x, local_name(name));
    if (e != OK) stop(x, e);
}

static void XMLCALL on_text(void *user, const XML_Char *p, int n) {
    xml_reader *x = user;
    if (x->error != OK) return;
    buf_put(&x->text, slice_of(p, (size_t)n));
    if (x->text.failed)
        stop(x, err_fail(ERR_INVALID_XML_DOCUMENT, "an element's text is longer than %zu bytes",
                         XML_TEXT_MAX));
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *sysid,
                               const XML_Char *pubid, int internal) {
    (void)name, (void)sysid, (void)pubid, (void)internal;
    stop(user, err_fail(ERR_INVALID_XML_DOCUMENT, "a document type (DOCTYPE) is not accepted"));
}

xml_reader *xml_reader_new(const xml_visitor *v, void *ctx) {
    xml_reader *x = calloc(1, sizeof *x);
    MUST(x != NULL);
    x->parser = XML_ParserCreate(NULL);
    MUST(x->parser != NULL);
    x->visitor = v;
    x->ctx = ctx;
    buf_init(&x->text, XML_TEXT_MAX);
    XML_SetUserData(x->parser, x);
    XML_SetElementHandler(x->parser, on_start, on_end);
    XML_SetCharacterDataHandler(x->parser, on_text);
    XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
    return x;
}

xml_reader *xml_reader_free(xml_reader *x) {
    if (x == NULL) return NULL;
    XML_ParserFree(x->parser);
    buf_done(&x->text);
    free(x);
    return NULL;
}

static err malformed(xml_reader *x) {
    return err_fail(ERR_INVALID_XML_DOCUMENT, "line %lu, column %lu: %s",
                    XML_GetCurrentLineNumber(x->parser), XML_GetCurrentColumnNumber(x->parser),
                    XML_ErrorString(XML_GetErrorCode(x->parser)));
}

/* expat keeps what it has of a token that is not whole yet, and looks through it again with each
 * piece: a bound on tokens bounds both. */
static err feed_part(xml_reader *x, slice part, bool last) {
    if (XML_Parse(x->parser, (const char *)part.p, (int)part.len, last) != XML_STATUS_OK)
        return x->error != OK ? x->error : malformed(x);
    x->fed += part.len;
    XML_Index at = XML_GetCurrentByteIndex(x->parser);
    uint64_t waiting = at < 0 || (uint64_t)at > x->fed ? x->fed : x->fed - (uint64_t)at;
    ENSURE(last || waiting <= XML_TOKEN_MAX + part.len, ERR_INVALID_XML_DOCUMENT,
           "a tag or comment is longer than %zu bytes", XML_TOKEN_MAX);
    return OK;
}

err xml_reader_feed(xml_reader *x, slice data) {
    if (x->error != OK) return x->error;
    while (data.len > 0) {
        slice part = slice_take(data, 16 << 10);
        err e = feed_part(x, part, false);
        if (e != OK) {
            x->error = e;
            return e;
        }
        data = slice_skip(data, part.len);
    }
    return OK;
}

err xml_reader_end(xml_reader *x) {
    if (x->error != OK) return x->error;
    TRY(feed_part(x, S(""), true));
    MUST(x->root && x->depth == 0); /* expat's: one root, closed */
    return OK;
}

err xml_read(slice document, const xml_visitor *v, void *ctx) {
    xml_reader *x = xml_reader_new(v, ctx);
    err e = xml_reader_feed(x, document);
    if (e == OK) e = xml_reader_end(x);
    xml_reader_free(x);
    return e;
}

err xml_unsupported(slice name) {
    return err_fail(ERR_UNSUPPORTED_XML_NODE, "element '%.*s' does not belong here",
                    SLICE_ARG(slice_take(name, 64)));
}

err xml_bool(slice name, slice text, bool *ret) {
    *ret = slice_eq_nocase(text, S("true"));
    ENSURE(*ret || slice_eq_nocase(text, S("false")), ERR_INVALID_XML_NODE_VALUE,
           "%.*s: '%.*s' is neither true nor false", SLICE_ARG(name),
           SLICE_ARG(slice_take(text, 32)));
    return OK;
}

err xml_u64(slice name, slice text, uint64_t max, uint64_t *ret) {
    ENSURE(slice_u64(text, ret) == OK && *ret <= max, ERR_INVALID_XML_NODE_VALUE,
           "%.*s: '%.*s' is not a number up to %llu", SLICE_ARG(name),
           SLICE_ARG(slice_take(text, 32)), (unsigned long long)max);
    return OK;
}
