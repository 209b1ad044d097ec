#include <fcntl.h>

#include "base_test.h"

typedef struct settings {
    slice listen, certificate, deep;
    bool human;
    uint64_t workers, cache, timeout;
    config_strings hosts;
} settings;

#define SCHEMA(s)                                                                                  \
    {                                                                                              \
        {"listen", CONFIG_STRING, &(s)->listen, 0, 20, false, "address"},                          \
            {"log.human", CONFIG_BOOL, &(s)->human, 0, 0, false, "readable"},                      \
            {"workers", CONFIG_U64, &(s)->workers, 1, 64, false, "threads"},                       \
            {"cache", CONFIG_SIZE, &(s)->cache, 4096, 0, false, "bytes"},                          \
            {"timeout", CONFIG_DURATION, &(s)->timeout, 0, 3600000, false, "time"},                \
            {"tls.certificate", CONFIG_STRING, &(s)->certificate, 0, 0, false, "file"},            \
            {"tls.client.ca", CONFIG_STRING, &(s)->deep, 0, 0, false, "file"},                     \
            {"hosts", CONFIG_STRINGS, &(s)->hosts, 1, 3, false, "names"}, {0},                     \
    }

static void nothing_is_handled(void **state) {
    (void)state;
    static const char *const empty[] = {"",
                                        " ",
                                        "\n\n",
                                        "# only a comment\n",
                                        "---\n",
                                        "~",
                                        "{}",
                                        "tls:\n",
                                        "tls: ~\nlog: {}\n",
                                        "\xEF\xBB\xBF",
                                        "--- {}\n...\n"};
    static const config_key none[] = {{0}};
    arena *a = arena_new(256, 0);
    settings s = {.workers = 7};
    const config_key keys[] = SCHEMA(&s);
    assert_ok(config_parse(a, "x.yaml", SLICE_NONE, keys));
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        assert_ok(config_parse(a, "x.yaml", slice_str(empty[i]), keys));
    assert_int_equal(s.workers, 7);
    assert_ok(config_parse(a, "x.yaml", SLICE_NONE, none));
    assert_err(config_parse(a, "x.yaml", S("a: b"), none), ERR_CONFIG);
    assert_string_equal(err_detail(), "x.yaml:1:1: unknown key 'a'");
    arena_free(a);
}

static void every_type(void **state) {
    (void)state;
    arena *a = arena_new(256, 0);
    settings s = {0};
    const config_key keys[] = SCHEMA(&s);
    assert_ok(config_parse(a, "x.yaml",
                           S("# a comment\n"
                             "listen: 127.0.0.1:10000\n"
                             "log: {human: true}\n"
                             "workers: 8\n"
                             "cache: 512MiB\n"
                             "timeout: 30s\n"
                             "tls:\n"
                             "  certificate: \"a \\u00e9 b\"\n"
                             "  client:\n"
                             "    ca: ''\n"
                             "hosts:\n"
                             "  - one\n"
                             "  - 'two'\n"),
                           keys));
    assert_slice(s.listen, S("127.0.0.1:10000"));
    assert_true(s.human);
    assert_int_equal(s.workers, 8);
    assert_int_equal(s.cache, 512 << 20);
    assert_int_equal(s.timeout, 30000);
    assert_slice(s.certificate, S("a \xC3\xA9 b"));
    assert_non_null(s.deep.p);
    assert_int_equal(s.deep.len, 0);
    assert_int_equal(s.hosts.count, 2);
    assert_slice(s.hosts.items[0], S("one"));
    assert_slice(s.hosts.items[1], S("two"));
    assert_ok(config_parse(a, "x.yaml", S("tls.certificate: c\ntls.client: {ca: d}\n"), keys));
    assert_slice(s.certificate, S("c"));
    assert_slice(s.deep, S("d"));
    arena_free(a);
}

static void units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t v;
    } sizes[] = {{"4096", true, 4096},
                 {"4096B", true, 4096},
                 {"64KiB", true, 64 << 10},
                 {"64 KiB", true, 64 << 10},
                 {"2GiB", true, (uint64_t)2 << 30},
                 {"3TiB", true, (uint64_t)3 << 40},
                 {"16383PiB", true, (uint64_t)16383 << 50},
                 {"16384PiB", false, 0},
                 {"18446744073709551616", false, 0},
                 {"4095", false, 0},
                 {"64kb", false, 0},
                 {"64KB", false, 0},
                 {"64K", false, 0},
                 {"64  KiB", false, 0},
                 {"KiB", false, 0},
                 {"-5", false, 0},
                 {"1.5MiB", false, 0},
                 {"\"4096\"", false, 0},
                 {"", false, 0},
                 {"[]", false, 0},
                 {"{}", false, 0}},
      durations[] = {{"0", true, 0},
                     {"500ms", true, 500},
                     {"30s", true, 30000},
                     {"5m", true, 300000},
                     {"1h", true, 3600000},
                     {"1 h", true, 3600000},
                     {"2h", false, 0},
                     {"0d", true, 0},
                     {"1d", false, 0},
                     {"30", false, 0},
                     {"30sec", false, 0},
                     {"s", false, 0},
                     {"18446744073709551615h", false, 0}};
    arena *a = arena_new(256, 0);
    settings s = {0};
    const config_key keys[] = SCHEMA(&s);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        s.cache = 5;
        err e = config_parse(a, "x", arena_fmt(a, "cache: %s", sizes[i].text), keys);
        assert_err(e, sizes[i].good ? OK : ERR_CONFIG);
        assert_int_equal(s.cache, sizes[i].good ? sizes[i].v : 5);
    }
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        s.timeout = 5;
        err e = config_parse(a, "x", arena_fmt(a, "timeout: %s", durations[i].text), keys);
        assert_err(e, durations[i].good ? OK : ERR_CONFIG);
        assert_int_equal(s.timeout, durations[i].good ? durations[i].v : 5);
    }
    arena_free(a);
}

static void errors_say_where_and_what(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"listn: a", "1:1: unknown key 'listn'; did you mean 'listen'?"},
        {"\n\n  Listen: a", "3:3: unknown key 'Listen'; did you mean 'listen'?"},
        {"tls:\n  certificat: a", "2:3: unknown key 'tls.certificat'; did you mean "
                                  "'tls.certificate'?"},
        {"tls:\n  cert: a", "2:3: unknown key 'tls.cert'; did you mean 'tls.certificate'?"},
        {"certificate: a", "1:1: unknown key 'certificate'; did you mean 'tls.certificate'?"},
        {"tsl:\n  certificate: a", "1:1: unknown key 'tsl'; did you mean 'tls'?"},
        {"log:\n  workers: 3", "2:3: unknown key 'log.workers'; did you mean 'workers'?"},
        {"x: a", "1:1: unknown key 'x'"},
        {"completely-different: a", "1:1: unknown key 'completely-different'"},
        {"tls..certificate: a", "1:1: unknown key 'tls..certificate'; did you mean "
                                "'tls.certificate'?"},
        {"'': a", "1:1: a key is empty"},
        {"? [a]\n: b", "1:3: a key must be a word"},
        {"listen: a\nlisten: b", "2:1: 'listen' is given twice"},
        {"tls: {}\nlog: {}\ntls: {}", "3:1: 'tls' is given twice"},
        {"tls.certificate: a\ntls: {certificate: b}", "2:7: 'tls.certificate' is given twice"},
        {"listen:", "1:8: 'listen' has no value; it must be a text"},
        {"listen: [a]", "1:9: 'listen' must be a text"},
        {"listen: 123456789012345678901", "1:9: 'listen' must be between 0 and 20 bytes long"},
        {"listen: \"a\\0b\"", "1:9: 'listen' holds a NUL character"},
        {"workers: 65", "1:10: 'workers' must be between 1 and 64"},
        {"workers: many", "1:10: 'workers' must be a whole number, not 'many'"},
        {"cache: 1", "1:8: 'cache' must be at least 4096 bytes"},
        {"timeout: 61m", "1:10: 'timeout' must be between 0 and 3600000ms"},
        {"log: {human: yes}", "1:14: 'log.human' must be true or false, not 'yes'"},
        {"log: {human: \"true\"}", "1:14: 'log.human' must be true or false, not 'true'"},
        {"log: true", "1:6: 'log' must be a map"},
        {"log: [human]", "1:6: 'log' must be a map"},
        {"hosts: one", "1:8: 'hosts' must be a list of texts, not 'one'"},
        {"hosts: []", "1:9: 'hosts' needs at least 1 entries"},
        {"hosts: [a, b, c, d]", "1:18: 'hosts' has more than 3 entries"},
        {"hosts: [a, [b]]", "1:12: 'hosts' must be a list of texts"},
        {"hosts: [a, ~]", "1:12: 'hosts' has no value; it must be a list of texts"},
        {"- a", "1:1: the file must be a map of keys and values"},
        {"a", "1:1: the file must be a map of keys and values"},
        {"listen: &x a", "1:9: anchors, aliases and tags are not supported"},
        {"listen: *x", "1:9: anchors, aliases and tags are not supported"},
        {"listen: !!str a", "1:9: anchors, aliases and tags are not supported"},
        {"listen: a\n---\nlisten: b", "2:1: the file must hold one document only"},
        {"listen: 'a", "1:11: found unexpected end of stream"},
    };
    arena *a = arena_new(256, 0);
    settings s = {0};
    const config_key keys[] = SCHEMA(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        err_clear();
        err e = config_parse(a, "x", slice_str(cases[i][0]), keys);
        assert_slice(slice_str(err_detail()), arena_fmt(a, "x:%s", cases[i][1]));
        assert_err(e, ERR_CONFIG);
    }
    arena_free(a);
}

static void nothing_is_stored_on_failure(void **state) {
    (void)state;
    arena *a = arena_new(256, 0);
    settings s = {.listen = S("default"), .workers = 4};
    const config_key keys[] = SCHEMA(&s);
    assert_err(config_parse(a, "x", S("listen: other\nworkers: 9\nbad: 1"), keys), ERR_CONFIG);
    assert_slice(s.listen, S("default"));
    assert_int_equal(s.workers, 4);
    const config_key strict[] = {{"listen", CONFIG_STRING, &s.listen, 0, 0, true},
                                 {"tls.key", CONFIG_STRING, &s.deep, 0, 0, true},
                                 {0}};
    assert_err(config_parse(a, "x", S("listen: other"), strict), ERR_CONFIG);
    assert_string_equal(err_detail(), "x: 'tls.key' is missing");
    assert_slice(s.listen, S("default"));
    arena_free(a);
}

static void great_files_are_refused(void **state) {
    (void)state;
    arena *a = arena_new(256, 0);
    settings s = {0};
    const config_key keys[] = SCHEMA(&s);
    size_t n = ((size_t)1 << 20) + 1;
    uint8_t *text = malloc(n);
    memset(text, '#', n);
    assert_err(config_parse(a, "x", slice_of(text, n), keys), ERR_CONFIG);
    assert_ok(config_parse(a, "x", slice_of(text, n - 1), keys));
    memset(text, '[', n);
    assert_err(config_parse(a, "x", slice_of(text, 10000), keys), ERR_CONFIG);
    memset(text, '{', n);
    assert_err(config_parse(a, "x", slice_of(text, 10000), keys), ERR_CONFIG);
    memset(text, 'a', n);
    text[5000] = ':';
    assert_err(config_parse(a, "x", slice_of(text, 10000), keys), ERR_CONFIG);
    free(text);
    arena_free(a);
}

static void files(void **state) {
    (void)state;
    char path[] = "/tmp/base_config_test.XXXXXX";
    arena *a = arena_new(256, 0);
    settings s = {0};
    const config_key keys[] = SCHEMA(&s);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    slice text = S("listen: here\nworkers: 0\n");
    assert_int_equal(write(fd, text.p, text.len), text.len);
    assert_err(config_read(a, path, keys), ERR_CONFIG);
    assert_slice(slice_str(err_detail()),
                 arena_fmt(a, "%s:2:10: 'workers' must be between 1 and 64", path));
    assert_int_equal(ftruncate(fd, 13), 0);
    assert_ok(config_read(a, path, keys));
    assert_slice(s.listen, S("here"));
    assert_int_equal(ftruncate(fd, 2 << 20), 0);
    assert_err(config_read(a, path, keys), ERR_CONFIG);
    close(fd);
    unlink(path);
    assert_err(config_read(a, path, keys), ERR_CONFIG);
    assert_true(slice_ends(slice_str(err_detail()), S(": No such file or directory")));
    assert_err(config_read(a, "/", keys), ERR_CONFIG);
    arena_free(a);
}

/* Pieces of YAML in any order: an answer, and no value from a file that was refused. */
static void random_pieces(void **state) {
    (void)state;
    static const char *const pieces[] = {
        "listen", "tls",  "certificate", "workers", "hosts", ": ",      ":",   "\n",
        "\n  ",   "- ",   "[",           "]",       "{",     "}",       ", ",  "'",
        "\"",     "#",    "\\",          "~",       "&a",    "*a",      "!!x", "64KiB",
        "5",      "\xFF", "\t",          "? ",      "| ",    "\n---\n", "%",   "\xC3\xA9"};
    rng r = {16};
    size_t good = 0;
    for (int i = 0; i < 20000; i++) {
        arena *a = arena_new(4096, 0);
        settings s = {.workers = 99};
        const config_key keys[] = SCHEMA(&s);
        buf text;
        buf_init_arena(&text, a, 4096);
        for (size_t n = rng_below(&r, 12); n > 0; n--)
            buf_str(&text, pieces[rng_below(&r, ARRAY_LEN(pieces))]);
        if (config_parse(a, "x", buf_slice(&text), keys) == OK)
            good++;
        else
            assert_int_equal(s.workers, 99);
        arena_free(a);
    }
    assert_true(good > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(every_type),
        cmocka_unit_test(units),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(nothing_is_stored_on_failure),
        cmocka_unit_test(great_files_are_refused),
        cmocka_unit_test(files),
        cmocka_unit_test(random_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
