#include "base_test.h"

static void nothing_is_handled(void **state) {
    (void)state;
    assert_null(arena_free(NULL));
    arena *a = arena_new(0, 0);
    assert_int_equal(arena_used(a), 0);
    void *p = arena_try(a, 0), *q = arena_try(a, 0);
    assert_non_null(p);
    assert_ptr_not_equal(p, q);
    assert_int_equal(arena_dup(a, SLICE_NONE).len, 0);
    assert_string_equal(arena_cstr(a, SLICE_NONE), "");
    assert_int_equal(arena_fmt(a, "%s", "").len, 0);
    assert_null(arena_try(a, SIZE_MAX));
    assert_null(arena_try(a, SIZE_MAX - 20));
    p = arena_alloc(a, 8);
    assert_null(arena_grow_try(a, p, 8, SIZE_MAX));
    assert_null(arena_free(a));
}

static void alloc_too_much(void *arg) {
    arena_alloc(arg, 4096);
}

static void maximum_holds(void **state) {
    (void)state;
    arena *a = arena_new(64, 1000);
    size_t got = 0;
    while (arena_try(a, 100) != NULL) got++;
    assert_int_equal(got, 1008 / 112);
    assert_true(arena_used(a) <= 1008);
    assert_null(arena_try(a, 4096));
    assert_true(aborts(alloc_too_much, a));
    arena_reset(a);
    assert_non_null(arena_try(a, 1000));
    assert_null(arena_try(a, 1));
    arena_free(a);
}

static void copies(void **state) {
    (void)state;
    arena *a = arena_new(256, 0);
    slice one = arena_dup(a, S("some\0text"));
    assert_slice(one, S("some\0text"));
    char *text = arena_cstr(a, S("word"));
    assert_string_equal(text, "word");
    assert_slice(arena_fmt(a, "%d-%s", 7, "x"), S("7-x"));
    char wide[2000];
    memset(wide, 'w', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    slice large = arena_fmt(a, "%s!", wide);
    assert_int_equal(large.len, sizeof(wide));
    assert_int_equal(large.p[large.len - 1], '!');
    assert_int_equal(large.p[large.len], 0);
    arena_free(a);
}

static void alloc_is_zeroed_after_reset(void **state) {
    (void)state;
    arena *a = arena_new(512, 0);
    for (int round = 0; round < 3; round++) {
        uint8_t *p = arena_alloc(a, 400);
        for (size_t i = 0; i < 400; i++) assert_int_equal(p[i], 0);
        memset(p, 0xAA, 400);
        arena_reset(a);
    }
    arena_free(a);
}

/* Allocations of random sizes, some grown: each keeps its own bytes, all are aligned, none overlap.
 */
static void allocations_do_not_overlap(void **state) {
    (void)state;
    enum { COUNT = 600 };
    static struct {
        uint8_t *p;
        size_t n;
    } live[COUNT];
    rng r = {5};
    arena *a = arena_new(1000, 0);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t n = rng_below(&r, rng_below(&r, 30) == 0 ? 300000 : 200);
            live[i].p = arena_try(a, n);
            live[i].n = n;
            if (n > 0) memset(live[i].p, (int)(i & 0xFF), n);
            size_t k = rng_below(&r, 3) == 0 ? i : rng_below(&r, i + 1);
            if (rng_below(&r, 4) == 0) {
                size_t more = live[k].n + rng_below(&r, 3000);
                live[k].p = arena_grow_try(a, live[k].p, live[k].n, more);
                memset(live[k].p + live[k].n, (int)(k & 0xFF), more - live[k].n);
                live[k].n = more;
            }
        }
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal((uintptr_t)live[i].p % 16, 0);
            for (size_t j = 0; j < live[i].n; j++)
                if (live[i].p[j] != (i & 0xFF)) fail_msg("allocation %zu changed at %zu", i, j);
        }
        arena_reset(a);
        assert_int_equal(arena_used(a), 0);
    }
    arena_free(a);
}

static void growing_the_last_stays_in_place(void **state) {
    (void)state;
    arena *a = arena_new(4096, 4096);
    uint8_t *p = arena_try(a, 10);
    assert_ptr_equal(arena_grow_try(a, p, 10, 100), p);
    assert_ptr_equal(arena_grow_try(a, p, 100, 50), p);
    assert_ptr_equal(arena_grow_try(a, p, 100, 4096), p);
    assert_int_equal(arena_used(a), 4096);
    assert_null(arena_grow_try(a, p, 4096, 4097));
    assert_int_equal(arena_used(a), 4096);
    arena_free(a);
}

/* A buffer that doubles in an arena does not leave every size it once had behind. */
static void growing_a_large_one_gives_its_memory_back(void **state) {
    (void)state;
    arena *a = arena_new(1024, (size_t)3 << 20);
    uint8_t *p = arena_try(a, (size_t)1 << 20);
    memset(p, 0x5A, (size_t)1 << 20);
    p = arena_grow_try(a, p, (size_t)1 << 20, (size_t)3 << 20);
    assert_non_null(p);
    for (size_t i = 0; i < (size_t)1 << 20; i++) assert_int_equal(p[i], 0x5A);
    memset(p, 0, (size_t)3 << 20);
    assert_int_equal(arena_used(a), (size_t)3 << 20);
    assert_null(arena_grow_try(a, p, (size_t)3 << 20, ((size_t)3 << 20) + 1));
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(maximum_holds),
        cmocka_unit_test(copies),
        cmocka_unit_test(alloc_is_zeroed_after_reset),
        cmocka_unit_test(allocations_do_not_overlap),
        cmocka_unit_test(growing_the_last_stays_in_place),
        cmocka_unit_test(growing_a_large_one_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
