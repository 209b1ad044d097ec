/* Refusals beyond a rate: none is lost, whoever counts, however many networks. */
#include "store_test.h"

#include <pthread.h>

#include "ops/ops.h"

typedef struct told {
    uint64_t entries, refusals, networks;
} told;

static uint64_t number_after(slice entry, slice before) {
    uint64_t v = 0;
    slice rest = slice_skip(entry, slice_find_slice(entry, 0, before) + before.len);
    size_t n = 0;
    while (n < rest.len && rest.p[n] >= '0' && rest.p[n] <= '9') n++;
    assert_ok(slice_u64(slice_take(rest, n), &v));
    return v;
}

static err see(void *ctx, uint64_t index, slice entry, slice private_part) {
    told *t = ctx;
    (void)index, (void)private_part;
    assert_true(slice_starts(entry, S("{\"action\":\"refusals\",")));
    assert_true(slice_find_slice(entry, 0, S("\"region\":\"here\"")) < entry.len);
    t->entries++;
    t->refusals += number_after(entry, S("\"refusals\":{\"count\":"));
    if (slice_find_slice(entry, 0, S("\"network\":\"")) < entry.len) t->networks++;
    return OK;
}

static told read_log(fixture *f) {
    told t = {0};
    assert_ok(engine_log_read(store_engine(f->s), 0, UINT64_MAX, see, &t));
    return t;
}

static ops_floods *start(fixture *f, uint64_t rate) {
    ops_floods *floods;
    assert_ok(ops_floods_start(f->s, S("here"), rate, &floods));
    return floods;
}

static void a_minutes_worth_and_no_more(void **state) {
    fixture *f = *state;
    ops_floods *floods = start(f, 2);
    ops_floods_stats s;
    unsigned let = 0;
    for (unsigned i = 0; i < 500; i++) let += !ops_flooded(floods, S("192.0.2.9"));
    assert_in_range(let, 120, 125);
    assert_false(ops_flooded(floods, S("192.0.3.9"))); /* another network */
    assert_true(ops_flooded(floods, S("192.0.2.77"))); /* the same */
    ops_floods_get_stats(floods, &s);
    assert_int_equal(s.counted, 501 - let);
    assert_int_equal(s.summaries, 0);
    assert_null(ops_floods_stop(floods));
    const told t = read_log(f);
    assert_int_equal(t.entries, 1);
    assert_int_equal(t.refusals, 501 - let);
    assert_int_equal(t.networks, 1);
}

static void networks_of_addresses(void **state) {
    fixture *f = *state;
    static const char *const apart[] = {
        "192.0.2.1", "192.0.3.1", "2001:db8:1::1", "2001:db8:2::1", "::ffff:10.0.0.1", "", "::1"};
    ops_floods *floods = start(f, 1);
    for (size_t i = 0; i < ARRAY_LEN(apart); i++) {
        unsigned let = 0;
        for (unsigned k = 0; k < 100; k++) let += !ops_flooded(floods, slice_str(apart[i]));
        if (i == 6) /* of the same /48 as a mapped address */
            assert_in_range(let, 0, 3);
        else
            assert_in_range(let, 60, 63);
    }
    assert_true(ops_flooded(floods, S("2001:db8:1:ffff::9")));
    assert_true(ops_flooded(
        floods, S("an address that is longer than any address can ever be, far longer")));
    ops_floods_stop(floods);
}

/* More networks than there is room for, and all of them together over their bound. */
static void many_networks(void **state) {
    fixture *f = *state;
    ops_floods *floods = start(f, 1);
    uint64_t counted = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.%u.%u.1", i / 256, i % 256);
        counted += ops_flooded(floods, slice_str(address));
    }
    assert_in_range(counted, 20000 - 640, 20000 - 600);
    ops_floods_stop(floods);
    const told t = read_log(f);
    assert_int_equal(t.refusals, counted);
    assert_true(t.entries <= 4097);
    assert_int_equal(t.networks, t.entries - 1);
}

typedef struct shooter {
    ops_floods *floods;
    uint64_t counted;
    unsigned number;
} shooter;

static void *shoot(void *arg) {
    shooter *s = arg;
    for (unsigned i = 0; i < 20000; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.%u.%u.1", s->number % 2, i % 64);
        s->counted += ops_flooded(s->floods, slice_str(address));
    }
    return NULL;
}

static void several_threads(void **state) {
    fixture *f = *state;
    pthread_t thread[4];
    shooter s[4];
    uint64_t counted = 0;
    ops_floods *floods = start(f, 3);
    for (unsigned i = 0; i < 4; i++) {
        s[i] = (shooter){.floods = floods, .number = i};
        assert_int_equal(pthread_create(&thread[i], NULL, shoot, &s[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        counted += s[i].counted;
    }
    ops_floods_stop(floods);
    assert_int_equal(read_log(f).refusals, counted);
}

static void none(void **state) {
    (void)state;
    assert_false(ops_flooded(NULL, S("192.0.2.1")));
    assert_null(ops_floods_stop(NULL));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(a_minutes_worth_and_no_more),
                                       TEST(networks_of_addresses), TEST(many_networks),
                                       TEST(several_threads), cmocka_unit_test(none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
