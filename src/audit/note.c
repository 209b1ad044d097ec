/* Signed notes (https://c2sp.org/signed-note), the checkpoints in them (https://c2sp.org/tlog-checkpoint) and the
 * cosignatures of witnesses (https://c2sp.org/tlog-cosignature). */
#include "audit/internal.h"

#define DASH     "\xe2\x80\x94 " /* U+2014 and a space begin a line of signature */
#define ID_LEN   4
#define TIME_LEN 8

/* ---- keys ---- */

/* Unicode's spaces (White_Space) as far as UTF-8 shows them by their first bytes. */
static bool has_space(slice s) {
    static const char *const spaces[] = {" ",
                                         "\xc2\x85",
                                         "\xc2\xa0",
                                         "\xe1\x9a\x80",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xa9",
                                         "\xe2\x80\xaf",
                                         "\xe2\x81\x9f",
                                         "\xe3\x80\x80"};
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
        if (slice_find_slice(s, 0, slice_str(spaces[i])) < s.len) return true;
    for (size_t i = 0; i + 2 < s.len; i++) /* U+2000 to U+200A */
        if (s.p[i] == 0xe2 && s.p[i + 1] == 0x80 && s.p[i + 2] >= 0x80 && s.p[i + 2] <= 0x8a)
            return true;
    return false;
}

bool audit_name_valid(slice name) {
    if (name.len == 0 || name.len > AUDIT_NAME_MAX || !slice_utf8_valid(name)) return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7f || name.p[i] == '+') return false;
    return !has_space(name);
}

static uint32_t key_id(slice name, uint8_t type, const uint8_t key[CRYPTO_ED25519_LEN]) {
    const slice parts[] = {name, S("\n"), slice_of(&type, 1), slice_of(key, CRYPTO_ED25519_LEN)};
    uint8_t digest[CRYPTO_SHA256_LEN];
    crypto_sha256_parts(parts, ARRAY_LEN(parts), digest);
    return (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 |
           digest[3];
}

void audit_verifier_of(const audit_signer *s, audit_verifier *ret) {
    *ret = (audit_verifier){.name = s->name, .type = AUDIT_ED25519};
    crypto_ed25519_public(s->seed, ret->key);
    ret->id = key_id(s->name, ret->type, ret->key);
}

void audit_verifier_put(buf *out, const audit_verifier *v) {
    uint8_t key[1 + CRYPTO_ED25519_LEN];
    key[0] = v->type;
    memcpy(key + 1, v->key, CRYPTO_ED25519_LEN);
    buf_put(out, v->name);
    buf_fmt(out, "+%08x+", v->id);
    base64_put(out, slice_of(key, sizeof key));
}

static err parse_key(slice text, audit_verifier *ret) {
    uint8_t room[1024];
    arena *a = arena_new(sizeof room, sizeof room * 2);
    slice raw;
    err e = base64_get(a, text, &raw);
    if (e == OK && raw.len == 1 + CRYPTO_ED25519_LEN &&
        (raw.p[0] == AUDIT_ED25519 || raw.p[0] == AUDIT_COSIGNATURE_V1)) {
        ret->type = raw.p[0];
        memcpy(ret->key, raw.p + 1, CRYPTO_ED25519_LEN);
    } else {
        e = err_fail(ERR_INVALID_INPUT,
                     "the verifier key ends with something other than an Ed25519 key "
                     "in base64");
    }
    arena_free(a);
    return e;
}

err audit_verifier_parse(slice text, audit_verifier *ret) {
    audit_verifier v = {0};
    const size_t first = slice_find(text, 0, '+');
    const size_t second = first < text.len ? slice_find(text, first + 1, '+') : text.len;
    ENSURE(second < text.len && second - first == 9, ERR_INVALID_INPUT,
           "a verifier key reads NAME+8 hex digits+base64");
    v.name = slice_take(text, first);
    ENSURE(audit_name_valid(v.name), ERR_INVALID_INPUT, "the verifier key's name is not one");
    TRY(parse_key(slice_skip(text, second + 1), &v));
    v.id = key_id(v.name, v.type, v.key);
    char want[9];
    snprintf(want, sizeof want, "%08x", v.id);
    ENSURE(slice_eq_nocase(slice_take(slice_skip(text, first + 1), 8), slice_str(want)),
           ERR_INVALID_INPUT,
           "the verifier key's number is not that of its name and key: a letter of it is wrong");
    *ret = v;
    return OK;
}

/* ---- notes ---- */

static void put_signature(buf *out, slice name, uint32_t id, slice signature) {
    uint8_t raw[ID_LEN + CRYPTO_ED25519_SIGNATURE_LEN];
    MUST(signature.len == CRYPTO_ED25519_SIGNATURE_LEN);
    for (int i = 0; i < ID_LEN; i++) raw[i] = (uint8_t)(id >> (24 - 8 * i));
    memcpy(raw + ID_LEN, signature.p, signature.len);
    buf_str(out, DASH);
    buf_put(out, name);
    buf_byte(out, ' ');
    base64_put(out, slice_of(raw, sizeof raw));
    buf_byte(out, '\n');
}

void audit_note_sign(buf *out, slice text, const audit_signer *s) {
    MUST(text.len > 0 && text.p[text.len - 1] == '\n');
    uint8_t signature[CRYPTO_ED25519_SIGNATURE_LEN];
    audit_verifier v;
    audit_verifier_of(s, &v);
    crypto_ed25519_sign(s->seed, text, signature);
    buf_put(out, text);
    buf_byte(out, '\n');
    put_signature(out, s->name, v.id, slice_of(signature, sizeof signature));
}

static bool is_text(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x20 && s.p[i] != '\n') return false;
    return slice_utf8_valid(s);
}

static err parse_signature(arena *a, slice line, struct audit_signature *ret) {
    const slice rest = slice_skip(line, sizeof DASH - 1);
    const size_t space = slice_find(rest, 0, ' ');
    slice raw;
    ret->name = slice_take(rest, space);
    ENSURE(slice_starts(line, S(DASH)) && space < rest.len && audit_name_valid(ret->name),
           ERR_INVALID_INPUT, "a line of the note is no signature");
    ENSURE(base64_get(a, slice_skip(rest, space + 1), &raw) == OK && raw.len > ID_LEN &&
               raw.len <= AUDIT_SIGNATURE_MAX,
           ERR_INVALID_INPUT, "a signature of the note is not base64");
    TRY(cur_be32(&raw, &ret->id));
    ret->signature = raw;
    return OK;
}

/* The last empty line ends the text. */
static size_t text_end(slice in) {
    for (size_t i = in.len; i >= 2; i--)
        if (in.p[i - 1] == '\n' && in.p[i - 2] == '\n') return i - 1;
    return 0;
}

err audit_note_parse(arena *a, slice in, audit_note *ret) {
    ENSURE(in.len <= AUDIT_NOTE_MAX, ERR_INVALID_INPUT, "a note of more than %u bytes",
           AUDIT_NOTE_MAX);
    ENSURE(is_text(in), ERR_INVALID_INPUT, "the note holds what is no text");
    const size_t end = text_end(in);
    ENSURE(end > 0 && in.p[in.len - 1] == '\n', ERR_INVALID_INPUT,
           "the note has no signatures after an empty line");
    ret->text = slice_take(in, end);
    ret->count = 0;
    slice rest = slice_skip(in, end + 1);
    ENSURE(rest.len > 0, ERR_INVALID_INPUT, "the note has no signatures");
    while (rest.len > 0) {
        const size_t line = slice_find(rest, 0, '\n');
        ENSURE(ret->count < AUDIT_SIGNATURES_MAX, ERR_INVALID_INPUT,
               "the note has more than %d signatures", AUDIT_SIGNATURES_MAX);
        struct audit_signature *s = &ret->signature[ret->count];
        TRY(parse_signature(a, slice_take(rest, line), s));
        s->line = slice_take(rest, line + 1);
        ret->count++;
        rest = slice_skip(rest, line + 1);
    }
    return OK;
}

static bool verifies(const audit_note *n, const audit_verifier *v, slice signature,
                     uint64_t *ret_time) {
    if (v->type == AUDIT_ED25519) return crypto_ed25519_verify(v->key, n->text, signature);
    uint64_t seconds;
    if (cur_be64(&signature, &seconds) != OK || seconds > INT64_MAX) return false;
    buf message;
    buf_init(&message, AUDIT_NOTE_MAX + 64);
    buf_fmt(&message, "cosignature/v1\ntime %llu\n", (unsigned long long)seconds);
    buf_put(&message, n->text);
    const bool good =
        !message.failed && crypto_ed25519_verify(v->key, buf_slice(&message), signature);
    buf_done(&message);
    if (ret_time) *ret_time = seconds;
    return good;
}

err audit_note_verify(const audit_note *n, const audit_verifier *v, uint64_t *ret_time) {
    bool found = false;
    if (ret_time) *ret_time = 0;
    for (size_t i = 0; i < n->count; i++) {
        const struct audit_signature *s = &n->signature[i];
        if (s->id != v->id || !slice_eq(s->name, v->name)) continue;
        ENSURE(verifies(n, v, s->signature, ret_time), ERR_CORRUPT,
               "the signature of %.*s does not verify", SLICE_ARG(v->name));
        found = true;
    }
    ENSURE(found, ERR_NOT_FOUND, "there is no signature of %.*s", SLICE_ARG(v->name));
    return OK;
}

/* ---- checkpoints ---- */

void audit_checkpoint_put(buf *out, const audit_checkpoint *c) {
    buf_put(out, c->origin);
    buf_fmt(out, "\n%llu\n", (unsigned long long)c->size);
    base64_put(out, slice_of(c->root.b, sizeof c->root.b));
    buf_byte(out, '\n');
}

static err take_line(slice *text, slice *ret) {
    const size_t at = slice_find(*text, 0, '\n');
    ENSURE(at > 0 && at < text->len, ERR_INVALID_INPUT,
           "the checkpoint has an empty or missing line");
    *ret = slice_take(*text, at);
    *text = slice_skip(*text, at + 1);
    return OK;
}

/* Decimal without leading zeros. */
err text_number(slice s, uint64_t *ret) {
    ENSURE(slice_u64(s, ret) == OK && (s.len == 1 || s.p[0] != '0'), ERR_INVALID_INPUT,
           "'%.*s' is no size", SLICE_ARG(slice_take(s, 32)));
    return OK;
}

err text_hash(slice text, audit_hash *ret) {
    arena *a = arena_new(256, 4096);
    slice raw;
    err e = text.len > 64 ? ERR_INVALID_INPUT : base64_get(a, text, &raw);
    if (e == OK && raw.len == sizeof ret->b)
        memcpy(ret->b, raw.p, sizeof ret->b);
    else
        e = err_fail(ERR_INVALID_INPUT, "'%.*s' is no hash", SLICE_ARG(slice_take(text, 64)));
    arena_free(a);
    return e;
}

err audit_checkpoint_parse(slice text, audit_checkpoint *ret) {
    slice size, root, more;
    TRY(take_line(&text, &ret->origin));
    TRY(take_line(&text, &size));
    TRY(take_line(&text, &root));
    TRY(text_number(size, &ret->size));
    TRY(text_hash(root, &ret->root));
    while (text.len > 0) TRY(take_line(&text, &more));
    return OK;
}
