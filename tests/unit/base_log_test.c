#include <errno.h>
#include <fcntl.h>

#include "base_test.h"

static int log_fd[2];

static int open_pipe(void **state) {
    (void)state;
    return pipe2(log_fd, O_NONBLOCK);
}

static int close_pipe(void **state) {
    (void)state;
    log_setup(STDERR_FILENO, LOG_INFO, false);
    return close(log_fd[0]) | close(log_fd[1]);
}

/* What one write put into the pipe. */
static slice logged(void) {
    static uint8_t text[20000];
    ssize_t n = read(log_fd[0], text, sizeof(text));
    return slice_of(text, n > 0 ? (size_t)n : 0);
}

static void nothing_is_handled(void **state) {
    (void)state;
    log_setup(log_fd[1], LOG_INFO, false);
    log_write(LOG_INFO, NULL, NULL, 0);
    slice line = logged();
    assert_true(slice_ends(line, S(",\"level\":\"info\",\"event\":\"\"}\n")));
    LOG(LOG_INFO, "", LF_S(NULL, SLICE_NONE), LF_C("n", NULL));
    line = logged();
    assert_true(slice_ends(line, S("\"event\":\"\",\"\":\"\",\"n\":\"\"}\n")));
}

static void levels_filter(void **state) {
    (void)state;
    log_setup(log_fd[1], LOG_WARN, false);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    LOG(LOG_INFO, "quiet", LF_I("n", 1));
    assert_slice(logged(), S(""));
    LOG(LOG_ERROR, "loud", LF_I("n", 1));
    assert_true(slice_ends(logged(), S("\"level\":\"error\",\"event\":\"loud\",\"n\":1}\n")));
    log_setup(log_fd[1], LOG_DEBUG, false);
    LOG(LOG_DEBUG, "fine", LF_I("n", 1));
    assert_true(slice_ends(logged(), S("\"level\":\"debug\",\"event\":\"fine\",\"n\":1}\n")));
}

static void json_lines(void **state) {
    (void)state;
    log_setup(log_fd[1], LOG_INFO, false);
    errno = EBADF;
    LOG(LOG_INFO, "request", LF_S("path", S("/a\"\n\x01\xFF")), LF_I("least", INT64_MIN),
        LF_I("most", INT64_MAX), LF_B("yes", true), LF_B("no", 0));
    assert_int_equal(errno, EBADF);
    slice line = logged();
    assert_true(slice_starts(line, S("{\"time\":\"2")));
    assert_true(slice_ends(
        line,
        S("Z\",\"level\":\"info\",\"event\":\"request\",\"path\":\"/a\\\"\\n\\u0001\xEF\xBF\xBD\","
          "\"least\":-9223372036854775808,\"most\":9223372036854775807,\"yes\":true,\"no\":false}"
          "\n")));
}

static void human_lines(void **state) {
    (void)state;
    log_setup(log_fd[1], LOG_INFO, true);
    LOG(LOG_INFO, "listening", LF_C("address", "127.0.0.1:10000"), LF_C("path", "/a b"),
        LF_S("evil", S("x\x1B[2J\n")), LF_S("none", SLICE_NONE), LF_I("n", -3), LF_B("dev", true));
    slice line = logged();
    assert_true(line.len > 8 && line.p[2] == ':' && line.p[5] == ':');
    assert_slice(slice_skip(line, 8), S(" INFO  listening address=127.0.0.1:10000 path=\"/a b\" "
                                        "evil=\"x\\u001b[2J\\n\" none=\"\" n=-3 dev=true\n"));
    log_setup(log_fd[1], LOG_INFO, true);
    log_write(LOG_ERROR, "bad", NULL, 0);
    assert_slice(slice_skip(logged(), 8), S(" ERROR bad\n"));
}

/* Too much for a line: cut, but still whole JSON on one line of at most 8 KiB. */
static void long_lines_are_cut(void **state) {
    (void)state;
    static uint8_t wide[9000];
    log_field many[1000];
    log_setup(log_fd[1], LOG_INFO, false);
    memset(wide, '"', sizeof(wide));
    LOG(LOG_INFO, "wide", LF_I("kept", 1), LF_S("lost", slice_of(wide, sizeof(wide))),
        LF_I("after", 2));
    assert_true(slice_ends(logged(), S("\"event\":\"wide\",\"kept\":1,\"cut\":true}\n")));
    for (size_t i = 0; i < ARRAY_LEN(many); i++) many[i] = LF_S("name", slice_of("value", 5));
    log_write(LOG_INFO, "many", many, ARRAY_LEN(many));
    slice line = logged();
    assert_true(line.len <= 8192 && line.len > 8000);
    assert_true(slice_ends(line, S(",\"name\":\"value\",\"cut\":true}\n")));
    assert_int_equal(slice_find(line, 0, '\n'), line.len - 1);
    log_setup(log_fd[1], LOG_INFO, true);
    log_write(LOG_INFO, "many", many, ARRAY_LEN(many));
    line = logged();
    assert_true(line.len <= 8192 && slice_ends(line, S(" name=value cut\n")));
}

/* A text that is cut is cut between characters. */
static void values_are_cut_between_characters(void **state) {
    (void)state;
    static uint8_t wide[6000];
    log_setup(log_fd[1], LOG_INFO, false);
    for (size_t shift = 0; shift < 3; shift++) {
        for (size_t i = shift; i + 3 <= sizeof(wide); i += 3) memcpy(wide + i, "\xE2\x82\xAC", 3);
        memset(wide, '.', shift);
        LOG(LOG_INFO, "wide", LF_S("text", slice_of(wide, sizeof(wide))));
        slice line = logged();
        assert_true(slice_utf8_valid(line));
        assert_int_equal(slice_find_slice(line, 0, S("\xEF\xBF\xBD")), line.len);
        assert_true(line.len > 4000);
    }
}

static void a_full_pipe_is_no_error(void **state) {
    (void)state;
    log_setup(log_fd[1], LOG_INFO, false);
    errno = 0;
    for (int i = 0; i < 3000; i++)
        LOG(LOG_INFO, "fill", LF_C("text", "some text to fill the pipe"));
    assert_int_equal(errno, 0);
    while (logged().len > 0) {
    }
    log_setup(-1, LOG_INFO, false);
    LOG(LOG_INFO, "nowhere", LF_I("n", 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(levels_filter),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(human_lines),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(values_are_cut_between_characters),
        cmocka_unit_test(a_full_pipe_is_no_error),
    };
    return cmocka_run_group_tests(tests, open_pipe, close_pipe);
}
