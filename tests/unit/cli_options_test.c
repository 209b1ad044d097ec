/* Flags, suggestions, addresses and the configuration of `strongroom serve`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/cli.h"

static void assert_detail(const char *has) {
    if (!strstr(err_detail(), has)) fail_msg("'%s' lacks '%s'", err_detail(), has);
}

typedef struct parsed {
    const char *data, *port;
    bool dev;
    cli_args args;
} parsed;

static err parse(size_t args_min, size_t args_max, parsed *out, int argc,
                 const char *const *words) {
    static char copies[16][128]; /* what the flags point at lives until the next call */
    char *argv[16];
    assert_true(argc <= 16);
    *out = (parsed){0};
    for (int i = 0; i < argc; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", words[i]);
        argv[i] = copies[i];
    }
    const cli_flag flags[] = {{"data", "DIR", &out->data, NULL, "the data folder"},
                              {"port", "N", &out->port, NULL, "the port"},
                              {"dev", NULL, NULL, &out->dev, "development"},
                              {0}};
    const cli_spec spec = {"thing", "NAME", "About.", flags, args_min, args_max};
    return cli_parse(&spec, argc, argv, &out->args);
}
#define PARSE(min, max, out, ...)                                                                  \
    parse(min, max, out, (int)ARRAY_LEN(((const char *[]){__VA_ARGS__})),                          \
          (const char *[]){__VA_ARGS__})

static void test_flags(void **state) {
    (void)state;
    parsed p;
    assert_int_equal(PARSE(0, 0, &p, "--data", "d", "--port=9", "--dev"), OK);
    assert_string_equal(p.data, "d");
    assert_string_equal(p.port, "9");
    assert_true(p.dev);
    assert_int_equal(PARSE(1, 2, &p, "one", "--data=a=b", "two"), OK);
    assert_string_equal(p.data, "a=b");
    assert_int_equal(p.args.count, 2);
    assert_string_equal(p.args.arg[1], "two");
    assert_int_equal(PARSE(0, 2, &p, "--", "--dev", "-x"), OK);
    assert_false(p.dev);
    assert_string_equal(p.args.arg[0], "--dev");
}

static void test_flag_errors(void **state) {
    (void)state;
    parsed p;
    assert_int_equal(PARSE(0, 0, &p, "--dta", "d"), ERR_USAGE);
    assert_detail("did you mean '--data'");
    assert_int_equal(PARSE(0, 0, &p, "--prot=1"), ERR_USAGE);
    assert_detail("did you mean '--port'");
    assert_int_equal(PARSE(0, 0, &p, "--something-else"), ERR_USAGE);
    assert_detail("unknown flag '--something-else'");
    assert_null(strstr(err_detail(), "did you mean"));
    assert_int_equal(PARSE(0, 0, &p, "-d"), ERR_USAGE);
    assert_detail("two dashes");
    assert_int_equal(PARSE(0, 0, &p, "--data"), ERR_USAGE);
    assert_detail("--data DIR");
    assert_int_equal(PARSE(0, 0, &p, "--data="), ERR_USAGE);
    assert_detail("empty");
    assert_int_equal(PARSE(0, 0, &p, "--data", "a", "--data", "b"), ERR_USAGE);
    assert_detail("twice");
    assert_int_equal(PARSE(0, 0, &p, "--dev=yes"), ERR_USAGE);
    assert_detail("no value");
    assert_int_equal(PARSE(1, 1, &p, "--dev"), ERR_USAGE);
    assert_detail("strongroom thing NAME");
    assert_int_equal(PARSE(0, 1, &p, "one", "two"), ERR_USAGE);
    assert_detail("'two'");
}

static void test_nearest(void **state) {
    (void)state;
    const char *names[] = {"serve", "init", "account", "key", NULL};
    assert_string_equal(cli_nearest("srve", names), "serve");
    assert_string_equal(cli_nearest("acount", names), "account");
    assert_string_equal(cli_nearest("keys", names), "key");
    assert_null(cli_nearest("backup", names));
    assert_null(cli_nearest("", names));
    assert_null(
        cli_nearest("wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww", names));
}

static void test_number(void **state) {
    (void)state;
    uint64_t n = 5;
    assert_int_equal(cli_number("port", "10000", 1, 65535, &n), OK);
    assert_int_equal(n, 10000);
    const char *bad[] = {"", "0", "65536", "-1", "1x", "99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(cli_number("port", bad[i], 1, 65535, &n), ERR_USAGE);
    assert_int_equal(n, 10000);
}

static void test_addresses(void **state) {
    (void)state;
    arena *a = arena_new(1024, 0);
    cli_address at;
    assert_int_equal(cli_address_parse(a, "listen", S("127.0.0.1:10000"), &at), OK);
    assert_string_equal(at.host, "127.0.0.1");
    assert_int_equal(at.port, 10000);
    assert_true(at.loopback);
    assert_false(at.plain);
    assert_int_equal(cli_address_parse(a, "listen", S("http://[::1]:1"), &at), OK);
    assert_string_equal(at.host, "::1");
    assert_true(at.loopback && at.plain);
    assert_int_equal(cli_address_parse(a, "listen", S("localhost:80"), &at), OK);
    assert_true(at.loopback);
    assert_int_equal(cli_address_parse(a, "listen", S("127.9.9.9:80"), &at), OK);
    assert_true(at.loopback);
    const slice outside[] = {S("0.0.0.0:1"), S("[::]:1"), S("10.0.0.1:1"), S("128.0.0.1:1"),
                             S("[::ffff:127.0.0.1]:1")};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        assert_int_equal(cli_address_parse(a, "listen", outside[i], &at), OK);
        assert_false(at.loopback);
    }
    const slice bad[] = {S(""),
                         S(":1"),
                         S("127.0.0.1"),
                         S("127.0.0.1:"),
                         S("::1:10000"),
                         S("[::1]"),
                         S("127.0.0.1:65536"),
                         S("127.0.0.1:0"),
                         S("host:1"),
                         S("127.0.1:x"),
                         S("[]:1"),
                         S("https://[::1]:1")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(cli_address_parse(a, "listen", bad[i], &at), ERR_CONFIG);
    arena_free(a);
}

static err read_text(arena *a, const char *text, cli_settings *ret) {
    char path[] = "/tmp/cli_options_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    err e = cli_settings_read(a, path, ret);
    assert_int_equal(remove(path), 0);
    return e;
}

#define BASE "data: /d\nlisten: ['127.0.0.1:10000']\n"

static void test_settings(void **state) {
    (void)state;
    arena *a = arena_new(1024, 0);
    cli_settings s;
    assert_int_equal(read_text(a, BASE, &s), OK);
    assert_int_equal(s.cache_bytes, 256 << 20);
    assert_int_equal(s.idle_timeout_ms, 120000);
    assert_string_equal(cli_settings_endpoint(a, &s), "http://127.0.0.1:10000");
    assert_int_equal(
        read_text(a,
                  "data: /d\nroot_key: /k\nlisten:\n  - 0.0.0.0:443\n  - http://[::1]:80\n"
                  "tls:\n  certificate: /c\n  key: /k\nadmin:\n  listen: 127.0.0.1:1\n"
                  "cache: 1GiB\nidle_timeout: 5s\nworkers: 8\nlog:\n  level: warn\n",
                  &s),
        OK);
    assert_int_equal(s.listen.count, 2);
    assert_int_equal(s.cache_bytes, 1 << 30);
    assert_int_equal(s.idle_timeout_ms, 5000);
    assert_true(slice_eq(s.log_level, S("warn")));
    assert_string_equal(cli_settings_endpoint(a, &s), "https://0.0.0.0:443");
    arena_free(a);
}

static void test_settings_refused(void **state) {
    (void)state;
    arena *a = arena_new(1024, 0);
    cli_settings s = {.workers = 77};
    static const struct {
        const char *text, *detail;
    } bad[] = {
        {"listen: ['127.0.0.1:1']\n", "data"},
        {"data: /d\n", "listen"},
        {"data: /d\nlistn: ['127.0.0.1:1']\n", "listen"},
        {"data: /d\nlisten: ['0.0.0.0:10000']\n", "allow_plain_http"},
        {"data: /d\nlisten: ['127.0.0.1:1', '[::]:2']\n", "allow_plain_http"},
        {"data: /d\nlisten: ['http://0.0.0.0:1']\ntls: {certificate: /c, key: /k}\n", "plain HTTP"},
        {BASE "admin: {listen: '0.0.0.0:1'}\n", "allow_plain_http"},
        {BASE "admin: {listen: 'here'}\n", "address:port"},
        {BASE "tls: {key: /k}\n", "together"},
        {BASE "log: {level: loud}\n", "debug, info, warn or error"},
        {BASE "endpoint: example.org\n", "http://"},
        {BASE "workers: 0\n", "workers"},
        {BASE "cache: 1\n", "cache"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err_clear();
        assert_int_equal(read_text(a, bad[i].text, &s), ERR_CONFIG);
        assert_detail(bad[i].detail);
        assert_int_equal(s.workers, 77);
    }
    assert_int_equal(read_text(a, "data: /d\nlisten: ['0.0.0.0:1']\nallow_plain_http: true\n", &s),
                     OK);
    arena_free(a);
}

/* What `init --config` writes is read by `serve --config`, whatever the paths hold. */
static void test_example(void **state) {
    (void)state;
    arena *a = arena_new(1024, 0);
    cli_settings s;
    buf out;
    buf_init(&out, 1 << 16);
    cli_settings_example(&out, S("/srv/it's: #1"), S("/keys/\"root\".key"));
    buf_byte(&out, 0);
    assert_int_equal(read_text(a, (const char *)out.p, &s), OK);
    assert_true(slice_eq(s.data, S("/srv/it's: #1")));
    assert_true(slice_eq(s.root_key, S("/keys/\"root\".key")));
    assert_true(slice_eq(s.admin_listen, S("127.0.0.1:10001")));
    buf_done(&out);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_flag_errors),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_number),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_settings_refused),
        cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
