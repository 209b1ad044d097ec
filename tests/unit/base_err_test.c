#include <errno.h>
#include <pthread.h>

#include "base_test.h"

static void table_is_whole(void **state) {
    (void)state;
    for (int i = 0; i < ERR_COUNT_; i++) {
        const err_info *info = err_get((err)i);
        assert_non_null(info->name);
        assert_non_null(info->azure);
        assert_non_null(info->message);
        assert_true(info->status == 0 || (info->status >= 200 && info->status <= 599));
        if (i != OK && info->status != 0) assert_true(strlen(info->azure) > 0);
        if (i != OK) assert_true(strlen(info->message) > 0);
        assert_true(info->level >= ERR_QUIET && info->level <= ERR_ERROR);
        if (i != OK) assert_int_equal(strncmp(info->name, "ERR_", 4), 0);
    }
    assert_string_equal(err_get(ERR_BLOB_NOT_FOUND)->azure, "BlobNotFound");
    assert_int_equal(err_get(ERR_BLOB_NOT_FOUND)->status, 404);
}

static void get_bad(void *arg) {
    (void)err_get(*(err *)arg);
}

static void unknown_codes_abort(void **state) {
    (void)state;
    err bad[] = {ERR_COUNT_, (err)-1, (err)100000};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_true(aborts(get_bad, &bad[i]));
}

static void detail_is_kept(void **state) {
    (void)state;
    err_clear();
    assert_string_equal(err_detail(), "");
    assert_err(err_fail(ERR_IO, "block %d of %s", 7, "x"), ERR_IO);
    assert_string_equal(err_detail(), "block 7 of x");
    assert_err(err_fail(ERR_CORRUPT, "extent 3: %s", err_detail()), ERR_CORRUPT);
    assert_string_equal(err_detail(), "extent 3: block 7 of x");
    assert_err(err_fail(ERR_IO, "%s", ""), ERR_IO);
    assert_string_equal(err_detail(), "");
}

static void errno_is_named_and_kept(void **state) {
    (void)state;
    errno = EINTR;
    assert_err(err_fail_errno(ERR_IO, ENOENT, "opening %s", "rows"), ERR_IO);
    assert_string_equal(err_detail(), "opening rows: No such file or directory");
    assert_int_equal(errno, EINTR);
    assert_err(err_fail_errno(ERR_IO, 99999, "x"), ERR_IO);
    assert_int_equal(strncmp(err_detail(), "x: ", 3), 0);
}

/* Characters of each length across the cut: what is left is whole. */
static void long_details_are_cut_between_characters(void **state) {
    (void)state;
    static const char *const chars[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x94\x92"};
    for (size_t c = 0; c < ARRAY_LEN(chars); c++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[1200];
            size_t n = 0;
            while (n < shift) text[n++] = '.';
            while (n < 1000) {
                memcpy(text + n, chars[c], strlen(chars[c]));
                n += strlen(chars[c]);
            }
            text[n] = '\0';
            err_note("%s", text);
            slice kept = slice_str(err_detail());
            assert_true(kept.len <= 511 && kept.len > 511 - 4);
            assert_true(slice_utf8_valid(kept));
            assert_memory_equal(kept.p, text, kept.len);
            err_note_errno(ENOENT, "%s", text);
            assert_true(slice_utf8_valid(slice_str(err_detail())));
        }
    }
}

static void *note_elsewhere(void *arg) {
    err_note("elsewhere");
    (void)arg;
    return NULL;
}

static void details_are_of_a_thread(void **state) {
    (void)state;
    pthread_t other;
    err_note("here");
    assert_int_equal(pthread_create(&other, NULL, note_elsewhere, NULL), 0);
    pthread_join(other, NULL);
    assert_string_equal(err_detail(), "here");
}

static err guarded(int n) {
    err e = OK;
    ENSURE(n != 1, ERR_INVALID_INPUT, "one is not %s", "allowed");
    TRY(n == 2 ? err_fail(ERR_IO, "two") : OK);
    TRY_TO(done, n == 3 ? err_fail(ERR_CORRUPT, "three") : OK);
    return OK;
done:
    return e;
}

static void guards_return(void **state) {
    (void)state;
    assert_ok(guarded(0));
    assert_err(guarded(1), ERR_INVALID_INPUT);
    assert_string_equal(err_detail(), "one is not allowed");
    assert_err(guarded(2), ERR_IO);
    assert_err(guarded(3), ERR_CORRUPT);
}

static void break_must(void *arg) {
    MUST(arg != NULL);
}

static void must_aborts(void **state) {
    (void)state;
    int something = 1;
    assert_true(aborts(break_must, NULL));
    assert_false(aborts(break_must, &something));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_whole),
        cmocka_unit_test(unknown_codes_abort),
        cmocka_unit_test(detail_is_kept),
        cmocka_unit_test(errno_is_named_and_kept),
        cmocka_unit_test(long_details_are_cut_between_characters),
        cmocka_unit_test(details_are_of_a_thread),
        cmocka_unit_test(guards_return),
        cmocka_unit_test(must_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
