/* What the tests of base/ share: cmocka, a seeded generator, slices as assertions. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

/* Splitmix64: the same numbers on every machine and in every run. */
typedef struct rng {
    uint64_t state;
} rng;

static inline uint64_t rng_next(rng *r) {
    uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline size_t rng_below(rng *r, size_t n) {
    return (size_t)(rng_next(r) % n);
}

static inline void rng_bytes(rng *r, uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)rng_next(r);
}

static inline void assert_slice_at(slice found, slice expected, const char *file, int line) {
    if (slice_eq(found, expected)) return;
    print_error("found    \"%.*s\" (%zu bytes)\nexpected \"%.*s\" (%zu bytes)\n", SLICE_ARG(found),
                found.len, SLICE_ARG(expected), expected.len);
    _fail(file, line);
}

static inline void assert_err_at(err found, err expected, const char *file, int line) {
    if (found == expected) return;
    print_error("found %s (%s), expected %s\n", err_get(found)->name, err_detail(),
                err_get(expected)->name);
    _fail(file, line);
}

#define assert_slice(found, expected) assert_slice_at((found), (expected), __FILE__, __LINE__)
#define assert_err(found, expected)   assert_err_at((found), (expected), __FILE__, __LINE__)
#define assert_ok(found)              assert_err_at((found), OK, __FILE__, __LINE__)

/* True when fn(arg) ends its process with SIGABRT, as a MUST does. */
static inline bool aborts(void (*fn)(void *), void *arg) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(2);
        fn(arg);
        _exit(0);
    }
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}
