/* Guard macros: the only macros in this program with control flow, all on this page.
 *
 *   TRY(expr)            return the error of expr, if it has one
 *   TRY_TO(label, expr)  store the error of expr in a local `err e` and go to label, if it has one
 *   ENSURE(cond, code, fmt, ...)  return err_fail(code, fmt, ...) unless cond holds
 *   MUST(cond)           abort with file and line unless cond holds; stays on in production builds
 *
 * MUST is for what only a defect of this program can break; input from outside is checked with
 * ENSURE. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECKED                __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define CLEANUP(fn)            __attribute__((cleanup(fn)))
#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        err try_err_ = (expr);                                                                     \
        if (__builtin_expect(try_err_ != OK, 0)) return try_err_;                                  \
    } while (0)

#define TRY_TO(label, expr)                                                                        \
    do {                                                                                           \
        e = (expr);                                                                                \
        if (__builtin_expect(e != OK, 0)) goto label;                                              \
    } while (0)

#define ENSURE(cond, code, ...)                                                                    \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) return err_fail((code), __VA_ARGS__);                    \
    } while (0)

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) must_failed(__FILE__, __LINE__, #cond);                  \
    } while (0)

__attribute__((noreturn)) void must_failed(const char *file, int line, const char *cond);
