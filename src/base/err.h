/* The one error type. An error on the wire is data: base/err_table.h gives every code its HTTP
 * status, its Azure code, its standard message and the level at which the dispatcher logs it.
 *
 * A function that fails says why with err_fail(code, fmt, ...): the detail is kept per thread until
 * the next err_fail, and is what a person reads ("x-ms-range: 'bytes=5-2' ends before it starts").
 * Details may quote the request; they never hold secrets, keys or file contents. */
#pragma once

#include "base/guard.h"

typedef enum err {
#define ERR(name, status, azure, message, level) name,
#include "base/err_table.h"
#undef ERR
    ERR_COUNT_
} err;

typedef enum err_level { ERR_QUIET, ERR_INFO, ERR_WARN, ERR_ERROR } err_level;

typedef struct err_info {
    const char *name;    /* "ERR_BLOB_NOT_FOUND", for logs and tests */
    int status;          /* HTTP status; 0 for errors that never reach the wire */
    const char *azure;   /* Azure error code, "BlobNotFound" */
    const char *message; /* Azure's standard message */
    err_level level;
} err_info;

const err_info *err_get(err code);

/* Sets this thread's detail (at most 511 bytes, cut at a UTF-8 boundary) and has the value `code`.
 * A macro so that the compiler sees that a failing path does not go on. */
#define err_fail(code, ...) (err_note(__VA_ARGS__), (code))
/* As err_fail, appending ": strerror(errnum)". */
#define err_fail_errno(code, errnum, ...) (err_note_errno((errnum), __VA_ARGS__), (code))
void err_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
void err_note_errno(int errnum, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* This thread's detail for the last err_fail, or "" after err_clear. Never NULL. */
const char *err_detail(void);
void err_clear(void);
