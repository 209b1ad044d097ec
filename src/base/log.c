/* The structured log: a line is built on the stack and written at once.
 *
 * A line never exceeds LINE_MAX_ bytes and is always whole JSON: a field that does not fit is left
 * out with all after it, and "cut":true says so. */
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/base.h"
#include "base/utf8.h"

#define LINE_MAX_ 8192
#define TAIL_MAX  24 /* room kept for ,"cut":true} and the line feed */
#define VALUE_MAX 4096

static _Atomic int log_fd = STDERR_FILENO;
static _Atomic int log_min = LOG_INFO;
static _Atomic bool log_human = false;

void log_setup(int fd, log_level min, bool human) {
    atomic_store(&log_fd, fd);
    atomic_store(&log_min, (int)min);
    atomic_store(&log_human, human);
}

bool log_enabled(log_level level) {
    return (int)level >= atomic_load_explicit(&log_min, memory_order_relaxed);
}

static const char *level_name(log_level level) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return (unsigned)level < ARRAY_LEN(names) ? names[level] : "error";
}

static const char *level_label(log_level level) {
    static const char *const labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    return (unsigned)level < ARRAY_LEN(labels) ? labels[level] : "ERROR";
}

static void put_i64(buf *b, int64_t v) {
    if (v < 0) buf_byte(b, '-');
    buf_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

static void put_quoted(buf *b, slice s) {
    buf_byte(b, '"');
    s = slice_take_utf8(s, VALUE_MAX);
    json_put(b, s);
    buf_byte(b, '"');
}

/* A word that a person can read without quotes; anything else is quoted and escaped, so that a
 * value cannot forge a line or steer a terminal. */
static bool is_word(slice s) {
    if (s.len == 0 || s.len > VALUE_MAX) return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F || s.p[i] == '"' || s.p[i] == '\\') return false;
    return true;
}

static void put_value(buf *b, const log_field *f, bool human) {
    switch (f->kind) {
    case LOG_F_I64:
        put_i64(b, f->i);
        return;
    case LOG_F_BOOL:
        buf_str(b, f->i ? "true" : "false");
        return;
    case LOG_F_SLICE:
        break;
    }
    if (human && is_word(f->s))
        buf_put(b, f->s);
    else
        put_quoted(b, f->s);
}

static void put_head(buf *b, log_level level, const char *event, bool human) {
    int64_t now = clock_wall_us();
    if (human) {
        uint8_t iso[20];
        buf when;
        buf_init_fixed(&when, iso, sizeof(iso));
        time_put_iso_s(&when, now);
        buf_put(b, slice_of(iso + 11, 8));
        buf_byte(b, ' ');
        buf_str(b, level_label(level));
        buf_byte(b, ' ');
        buf_str(b, event);
        return;
    }
    buf_put(b, S("{\"time\":\""));
    time_put_iso7(b, now);
    buf_put(b, S("\",\"level\":\""));
    buf_str(b, level_name(level));
    buf_put(b, S("\",\"event\":\""));
    json_put(b, slice_take(slice_str(event), VALUE_MAX / 8));
    buf_byte(b, '"');
}

static void put_field(buf *b, const log_field *f, bool human) {
    slice name = slice_str(f->name);
    if (human) {
        buf_byte(b, ' ');
        buf_put(b, name);
        buf_byte(b, '=');
    } else {
        buf_byte(b, ',');
        put_quoted(b, name);
        buf_byte(b, ':');
    }
    put_value(b, f, human);
}

void log_write(log_level level, const char *event, const log_field *fields, size_t n) {
    if (!log_enabled(level)) return;
    int saved = errno;
    bool human = atomic_load_explicit(&log_human, memory_order_relaxed);
    uint8_t line[LINE_MAX_];
    buf b;
    buf_init_fixed(&b, line, sizeof(line) - TAIL_MAX);
    put_head(&b, level, event, human);
    bool cut = b.failed;
    for (size_t i = 0; i < n && !cut; i++) {
        size_t before = b.len;
        put_field(&b, &fields[i], human);
        cut = b.failed;
        if (cut) b.len = before;
    }
    slice end = human ? (cut ? S(" cut\n") : S("\n")) : cut ? S(",\"cut\":true}\n") : S("}\n");
    memcpy(line + b.len, end.p, end.len);
    int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
    ssize_t wrote;
    do wrote = write(fd, line, b.len + end.len);
    while (wrote < 0 && errno == EINTR);
    errno = saved;
}
