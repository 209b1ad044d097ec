/* The structured log: one JSON object a line on standard error or a file. Library code returns
 * errors and does not log; the dispatcher logs a request once, background threads log what they
 * did. Never log secrets, signatures, SAS tokens, keys, or query strings unredacted. */
#pragma once

#include "base/slice.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;

typedef struct log_field {
    const char *name;
    enum { LOG_F_SLICE, LOG_F_I64, LOG_F_BOOL } kind;
    slice s;
    int64_t i;
} log_field;

#define LF_S(name, slice_value) ((log_field){name, LOG_F_SLICE, slice_value, 0})
#define LF_C(name, cstr)        ((log_field){name, LOG_F_SLICE, slice_str(cstr), 0})
#define LF_I(name, int_value)   ((log_field){name, LOG_F_I64, SLICE_NONE, (int64_t)(int_value)})
#define LF_B(name, bool_value)  ((log_field){name, LOG_F_BOOL, SLICE_NONE, (bool_value)})

/* fd stays the caller's. Default: standard error, LOG_INFO. human: one readable line instead of
 * JSON (development mode on a terminal). */
void log_setup(int fd, log_level min, bool human);
bool log_enabled(log_level level);
/* {"time":...,"level":...,"event":EVENT, fields...}; one write(2) a line, cut at 8 KiB. */
void log_write(log_level level, const char *event, const log_field *fields, size_t n);
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        const log_field log_fields_[] = {__VA_ARGS__};                                             \
        log_write((level), (event), log_fields_, ARRAY_LEN(log_fields_));                          \
    } while (0)
