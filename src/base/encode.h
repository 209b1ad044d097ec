/* Text encodings. Decoders take hostile input and say ERR_INVALID_ENCODING. */
#pragma once

#include "base/buf.h"

void base64_put(buf *b, slice in);    /* RFC 4648 4, padded */
void base64url_put(buf *b, slice in); /* RFC 4648 5, unpadded */
/* Strict: padding demanded, no white space, no stray bits. Result from the arena. */
err base64_get(arena *a, slice in, slice *ret) CHECKED;
err base64url_get(arena *a, slice in, slice *ret) CHECKED;
void hex_put(buf *b, slice in); /* lower case */
err hex_get(arena *a, slice in, slice *ret) CHECKED;
/* A number as exactly 16 lower-case digits. ERR_INVALID_ENCODING. */
err hex64_get(slice in, uint64_t *ret) CHECKED;

/* %HH decoding. plus_is_space for form-style query values (Azure's query strings: '+' decodes to a
 * space only in signatures of some clients; the wire layer decides). Malformed % is an error. */
err percent_get(arena *a, slice in, bool plus_is_space, slice *ret) CHECKED;
/* Everything but RFC 3986 unreserved characters and those in `keep` becomes %HH. */
void percent_put(buf *b, slice in, const char *keep);

/* XML 1.0 text with & < > " and CR escaped. */
void xml_put(buf *b, slice text);
/* True when XML 1.0 can carry every character of s (UTF-8). */
bool xml_can_carry(slice s);
/* JSON string body, without the quotes. Invalid UTF-8 becomes U+FFFD. */
void json_put(buf *b, slice text);

#define UUID_LEN 16
/* Random version-4 UUID. */
void uuid_random(uint8_t out[UUID_LEN]);
/* 36 characters, lower case. raw: UUID_LEN bytes, in the order of the text. */
void uuid_text(buf *b, slice raw);
/* The forms of .NET's Guid(String) that people write: 32 digits; with hyphens (8-4-4-4-12); the
 * latter in braces or parentheses. In either case. ERR_INVALID_ENCODING. */
err uuid_get(slice text, uint8_t ret[UUID_LEN]) CHECKED;
/* A random one as text (request ids). */
void uuid_put(buf *b);
/* A UUID of version 7 (RFC 9562 5.7): the time in milliseconds, then random bits. */
void uuid7_put(buf *b, int64_t wall_us);
/* Cryptographically secure random bytes; aborts if the system has none. */
void random_fill(void *p, size_t n);
