/* The error table, and each thread's detail of its last failure. */
#include <errno.h>
#include <stdarg.h>

#include "base/base.h"
#include "base/utf8.h"

#define DETAIL_MAX 512

static const err_info table[] = {
#define ERR(name, status, azure, message, level) {#name, status, azure, message, level},
#include "base/err_table.h"
#undef ERR
};

static _Thread_local char detail[DETAIL_MAX];

const err_info *err_get(err code) {
    MUST((unsigned)code < ERR_COUNT_);
    return &table[code];
}

/* Written to a local first: the arguments may be the detail of the error being wrapped. */
__attribute__((format(printf, 1, 0))) static size_t set_detail(const char *fmt, va_list args) {
    char text[DETAIL_MAX];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len >= sizeof(text)) len = utf8_cut((const uint8_t *)text, sizeof(text) - 1);
    if (len > 0) memcpy(detail, text, len);
    detail[len] = '\0';
    return len;
}

void err_note(const char *fmt, ...) {
    int saved = errno;
    va_list args;
    va_start(args, fmt);
    set_detail(fmt, args);
    va_end(args);
    errno = saved;
}

void err_note_errno(int errnum, const char *fmt, ...) {
    int saved = errno;
    va_list args;
    va_start(args, fmt);
    size_t len = set_detail(fmt, args);
    va_end(args);
    char text[128];
    const char *why = strerror_r(errnum, text, sizeof(text));
    int n = snprintf(detail + len, sizeof(detail) - len, ": %s", why);
    if (n > 0 && (size_t)n >= sizeof(detail) - len)
        detail[utf8_cut((const uint8_t *)detail, sizeof(detail) - 1)] = '\0';
    errno = saved;
}

const char *err_detail(void) {
    return detail;
}

void err_clear(void) {
    detail[0] = '\0';
}

void must_failed(const char *file, int line, const char *cond) {
    fprintf(stderr, "strongroom: %s:%d: this must hold: %s\n", file, line, cond);
    abort();
}
