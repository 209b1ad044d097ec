/* Which sources are admitted, and which addresses are public. */
#include "base_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "fetch/internal.h"

static bool public4(const char *text) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, text, &at.sin_addr), 1);
    return fetch_address_public((const struct sockaddr *)&at, sizeof at);
}

static bool public6(const char *text) {
    struct sockaddr_in6 at = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &at.sin6_addr), 1);
    return fetch_address_public((const struct sockaddr *)&at, sizeof at);
}

static void addresses_of_version_4(void **state) {
    (void)state;
    static const char *const not_public[] = {
        "0.0.0.0",      "0.1.2.3",        "10.0.0.1",        "10.255.255.255",  "100.64.0.1",
        "100.127.9.9",  "127.0.0.1",      "127.255.255.255", "169.254.169.254", "172.16.0.1",
        "172.31.255.1", "192.0.0.8",      "192.0.2.1",       "192.88.99.1",     "192.168.1.1",
        "198.18.0.1",   "198.19.255.255", "198.51.100.1",    "203.0.113.1",     "224.0.0.1",
        "239.1.1.1",    "240.0.0.1",      "255.255.255.255",
    };
    static const char *const are_public[] = {
        "1.1.1.1",     "9.255.255.255", "11.0.0.1",    "100.63.0.1",   "100.128.0.1",
        "126.0.0.1",   "128.0.0.1",     "169.253.0.1", "172.15.0.1",   "172.32.0.1",
        "192.167.0.1", "198.17.0.1",    "198.20.0.1",  "223.255.255.1"};
    for (size_t i = 0; i < ARRAY_LEN(not_public); i++)
        if (public4(not_public[i])) fail_msg("%s is taken for public", not_public[i]);
    for (size_t i = 0; i < ARRAY_LEN(are_public); i++)
        if (!public4(are_public[i])) fail_msg("%s is not taken for public", are_public[i]);
}

static void addresses_of_version_6(void **state) {
    (void)state;
    static const char *const not_public[] = {"::",
                                             "::1",
                                             "::ffff:127.0.0.1",
                                             "::ffff:10.0.0.1",
                                             "::127.0.0.1",
                                             "fe80::1",
                                             "fec0::1",
                                             "fc00::1",
                                             "fd12:3456::1",
                                             "ff02::1",
                                             "100::1",
                                             "2001::1",
                                             "2001:db8::1",
                                             "2002:7f00:1::",
                                             "2002:a9fe:a9fe::1",
                                             "64:ff9b::7f00:1",
                                             "64:ff9b::a9fe:a9fe",
                                             "64:ff9b:1::1",
                                             "4000::1"};
    static const char *const are_public[] = {"2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1",
                                             "2002:101:101::1", "64:ff9b::101:101"};
    for (size_t i = 0; i < ARRAY_LEN(not_public); i++)
        if (public6(not_public[i])) fail_msg("%s is taken for public", not_public[i]);
    for (size_t i = 0; i < ARRAY_LEN(are_public); i++)
        if (!public6(are_public[i])) fail_msg("%s is not taken for public", are_public[i]);
}

static void other_families_are_not_public(void **state) {
    (void)state;
    struct sockaddr at = {.sa_family = AF_UNIX};
    assert_false(fetch_address_public(&at, sizeof at));
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    assert_false(fetch_address_public((const struct sockaddr *)&v4, 4));
}

static fetch *with(const char *entry, bool reach_private) {
    slice one = slice_str(entry);
    fetch_options o = {0};
    if (reach_private)
        o.private_sources = &one, o.private_count = 1;
    else
        o.sources = &one, o.source_count = 1;
    fetch *f = NULL;
    assert_ok(fetch_new(&o, &f));
    return f;
}

#define CHECK(entry, url, expected)                                                                \
    do {                                                                                           \
        fetch *f_ = with(entry, false);                                                            \
        err e_ = fetch_admit(f_, S(url));                                                          \
        if (e_ != (expected)) fail_msg("%s by %s: %s", url, entry, err_get(e_)->name);             \
        fetch_free(f_);                                                                            \
    } while (0)
#define YES(entry, url) CHECK(entry, url, OK)
#define NO(entry, url)  CHECK(entry, url, ERR_COPY_SOURCE_REFUSED)
#define BAD(url)        CHECK("example.org", url, ERR_INVALID_HEADER_VALUE)

static void hosts(void **state) {
    (void)state;
    YES("example.org", "https://example.org/a?b=c");
    YES("Example.ORG", "https://EXAMPLE.org:443/");
    NO("example.org", "http://example.org/");
    NO("example.org", "https://example.org:444/");
    NO("example.org", "https://www.example.org/");
    NO("example.org", "https://example.org.evil.net/");
    NO("example.org", "https://notexample.org/");
    YES("example.org:8443", "https://example.org:8443/");
    NO("example.org:8443", "https://example.org/");
}

static void ends_of_hosts(void **state) {
    (void)state;
    YES(".blob.core.windows.net", "https://a.blob.core.windows.net/c/b");
    YES("*.blob.core.windows.net", "https://a.blob.core.windows.net/c/b");
    YES(".example.org", "https://a.b.example.org/");
    NO(".example.org", "https://example.org/");
    NO(".example.org", "https://.example.org/");
    NO(".example.org", "https://evilexample.org/");
    NO(".example.org", "https://a.example.org.evil.net/");
}

static void beginnings_of_urls(void **state) {
    (void)state;
    YES("https://example.org/public/", "https://example.org/public/a");
    NO("https://example.org/public/", "https://example.org/public");
    NO("https://example.org/public/", "https://example.org/publicly");
    YES("https://example.org/public", "https://example.org/public");
    YES("https://example.org/public", "https://example.org/public/a");
    YES("https://example.org/public", "https://example.org/public?x=/..");
    NO("https://example.org/public", "https://example.org/publicly");
    NO("https://example.org/public/", "https://example.org/public/../private");
    NO("https://example.org/public/", "https://example.org/public/%2e%2E/private");
    NO("https://example.org/public/", "https://example.org/public/..%2fprivate/%2E%2e/x");
    NO("https://example.org/public/", "https://example.org/public/..%2fprivate");
    NO("https://example.org/public/", "https://example.org/public/a%2F../x");
    NO("https://example.org/public/", "https://example.org/public/a\\..\\x");
    YES("https://example.org/public/", "https://example.org/public/a%2Fb..c");
    YES("http://example.org:8080", "http://example.org:8080/anything");
    NO("http://example.org:8080", "http://example.org/anything");
}

static void what_is_no_url(void **state) {
    (void)state;
    BAD("");
    BAD("/relative");
    BAD("https://");
    BAD("ftp://example.org/");
    BAD("file:///etc/passwd");
    BAD("https://user@example.org/");
    BAD("https://user:secret@example.org/");
    BAD("https://example.org:0/");
    BAD("https://example.org:99999/");
    BAD("https://example.org/a b");
    BAD("https://example.org/\xc3\xbc");
    BAD("https://exa\nmple.org/");
}

static void tricks_with_hosts(void **state) {
    (void)state;
    NO("example.org", "https://evil.net/?@example.org/");
    NO("example.org", "https://evil.net/#example.org");
    NO("example.org", "https://evil.net/\\example.org");
    CHECK("example.org", "https://example.org@evil.net/", ERR_INVALID_HEADER_VALUE);
    CHECK("example.org", "https://example.org%2eevil.net/", ERR_COPY_SOURCE_REFUSED);
}

static void private_entries(void **state) {
    (void)state;
    bool reach = false;
    CURLU *u = NULL;
    fetch *f = with("http://10.0.0.1:10000/", true);
    assert_ok(fetch_admit_url(f, S("http://10.0.0.1:10000/x"), &u, &reach));
    assert_true(reach);
    curl_url_cleanup(u);
    fetch_free(f);
    f = with("http://10.0.0.1:10000/", false);
    assert_ok(fetch_admit_url(f, S("http://10.0.0.1:10000/x"), &u, &reach));
    assert_false(reach);
    curl_url_cleanup(u);
    fetch_free(f);
}

static void without_entries_everything_is_refused(void **state) {
    (void)state;
    fetch_options o = {0};
    fetch *f = NULL;
    assert_ok(fetch_new(&o, &f));
    assert_err(fetch_admit(f, S("https://example.org/")), ERR_COPY_SOURCE_REFUSED);
    fetch_free(f);
}

static void a_cancelled_one_opens_nothing(void **state) {
    (void)state;
    fetch *f = with("http://127.0.0.1:1/", true);
    arena *a = arena_new(4096, 0);
    fetch_ask ask = {.url = S("http://127.0.0.1:1/"), .total_s = 5};
    fetch_answer answer;
    fetch_stream *s = NULL;
    assert_err(fetch_open(f, a, &ask, &answer, &s), ERR_COPY_SOURCE_UNREACHABLE);
    fetch_cancel(f);
    assert_err(fetch_open(f, a, &ask, &answer, &s), ERR_CANCELLED);
    arena_free(a);
    fetch_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_version_4),
        cmocka_unit_test(addresses_of_version_6),
        cmocka_unit_test(other_families_are_not_public),
        cmocka_unit_test(hosts),
        cmocka_unit_test(ends_of_hosts),
        cmocka_unit_test(beginnings_of_urls),
        cmocka_unit_test(what_is_no_url),
        cmocka_unit_test(tricks_with_hosts),
        cmocka_unit_test(private_entries),
        cmocka_unit_test(without_entries_everything_is_refused),
        cmocka_unit_test(a_cancelled_one_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
