/* Who waits for the builder: told when a checkpoint covers what was recorded, and told when it will not. */
#include "audit_test.h"
#include "store_test.h"

#include "memory_engine.c"

#define LONG_US 300000000

typedef struct built {
    fixture f;
    audit_witnesses *witnesses;
    audit_builder *b;
} built;

static void start(built *l) {
    const audit_builder_options o = {.engine = store_engine(l->f.s),
                                     .folder = folder,
                                     .signer = signer(1),
                                     .witnesses = l->witnesses,
                                     .store = l->f.s,
                                     .region = S("local")};
    assert_ok(audit_builder_start(&o, &l->b));
}

static int setup(void **state) {
    built *l = calloc(1, sizeof *l);
    l->f.disk = memory_disk_new();
    const store_options o = {
        .engine = memory_engine_open(l->f.disk), .keys = test_keys_new(), .records = true};
    assert_ok(store_open(&o, &l->f.s));
    l->f.c = (store_call){.arena = arena_new(4096, 0)};
    name_folder("build");
    *state = l;
    return 0;
}

static int teardown(void **state) {
    built *l = *state;
    l->b = audit_builder_stop(l->b);
    l->witnesses = audit_witnesses_stop(l->witnesses);
    fixture_close(&l->f);
    memory_disk_free(l->f.disk);
    free(l);
    remove_folder();
    return 0;
}

static void record_one(built *l) {
    store_recorder r = {.make = make_entry};
    assert_ok(store_record(l->f.s, &r));
}

/* ---- somebody who waits ---- */

typedef struct waiter {
    audit_wait wait;
    built *l;
    pthread_mutex_t mutex;
    pthread_cond_t told;
    int calls;
    err outcome;
    uint64_t published; /* when it was told */
} waiter;

static void told(void *ctx, err e) {
    waiter *w = ctx;
    audit_builder_stats stats;
    audit_builder_get_stats(w->l->b, &stats);
    pthread_mutex_lock(&w->mutex);
    w->calls++;
    w->outcome = e;
    w->published = stats.published;
    pthread_cond_signal(&w->told);
    pthread_mutex_unlock(&w->mutex);
}

static void begin(waiter *w, built *l, int64_t wait_us) {
    *w = (waiter){.wait = {.done = told, .ctx = w}, .l = l};
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->told, NULL);
    audit_builder_await(l->b, &w->wait, wait_us);
}

static err end(waiter *w) {
    pthread_mutex_lock(&w->mutex);
    while (w->calls == 0) pthread_cond_wait(&w->told, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    assert_int_equal(w->calls, 1);
    pthread_cond_destroy(&w->told);
    pthread_mutex_destroy(&w->mutex);
    return w->outcome;
}

static uint64_t waiting(built *l) {
    audit_builder_stats stats;
    audit_builder_get_stats(l->b, &stats);
    return stats.waiting;
}

/* Nobody answers there. The key is one of type 0x04 over 32 zeros, made as https://c2sp.org/signed-note says. */
static void with_a_dead_witness(built *l) {
    static const char named[] =
        "dead.test/w\n\4"; /* what its number is the hash of, before the key */
    uint8_t key[1 + CRYPTO_ED25519_LEN] = {AUDIT_COSIGNATURE_V1};
    uint8_t numbered[sizeof named - 1 + CRYPTO_ED25519_LEN] = {0}, number[CRYPTO_SHA256_LEN];
    memcpy(numbered, named, sizeof named - 1);
    crypto_sha256(slice_of(numbered, sizeof numbered), number);
    audit_verifier log;
    const audit_signer s = signer(1);
    audit_verifier_of(&s, &log);
    buf policy;
    buf_init(&policy, 1024);
    buf_str(&policy, "witness w dead.test/w+");
    hex_put(&policy, slice_of(number, 4));
    buf_byte(&policy, '+');
    base64_put(&policy, slice_of(key, sizeof key));
    buf_str(&policy, " http://127.0.0.1:9/\nquorum w\n");
    assert_ok(audit_witnesses_start(buf_slice(&policy), folder, &log, NULL, &l->witnesses));
    assert_true(audit_witnesses_demand(l->witnesses));
    buf_done(&policy);
}

/* ---- tests ---- */

static void test_told_when_it_is_published(void **state) {
    built *l = *state;
    waiter w[3];
    start(l);
    for (int round = 0; round < 5; round++) {
        record_one(l);
        const uint64_t next = engine_log_next(store_engine(l->f.s));
        for (int i = 0; i < 3; i++) begin(&w[i], l, LONG_US);
        for (int i = 0; i < 3; i++) {
            assert_ok(end(&w[i]));
            assert_true(w[i].published >= next);
        }
    }
    assert_int_equal(waiting(l), 0);
}

static void test_nothing_to_wait_for(void **state) {
    built *l = *state;
    waiter w;
    start(l);
    record_one(l);
    begin(&w, l, LONG_US);
    assert_ok(end(&w));
    begin(&w, l, 0); /* all is published: no time is needed */
    assert_int_equal(w.calls, 1);
    assert_ok(end(&w));
}

static void test_told_when_time_is_up(void **state) {
    built *l = *state;
    waiter w, longer;
    audit_builder_stats stats;
    with_a_dead_witness(l);
    start(l);
    record_one(l);
    begin(&longer, l, LONG_US);
    begin(&w, l, 1000);
    assert_int_equal(end(&w), ERR_NOT_WITNESSED);
    assert_int_equal(waiting(l), 1);
    assert_int_equal(longer.calls, 0);
    audit_builder_hurry(l->b, 1000);
    assert_int_equal(end(&longer), ERR_NOT_WITNESSED);
    begin(&w, l, LONG_US); /* who comes now is in a hurry, too */
    assert_int_equal(end(&w), ERR_NOT_WITNESSED);
    audit_builder_get_stats(l->b, &stats);
    assert_int_equal(stats.published, 0);
    assert_int_equal(stats.in_vain, 3);
    assert_int_equal(stats.waiting, 0);
}

static void test_told_when_no_more_is_published(void **state) {
    built *l = *state;
    waiter w;
    audit_builder_stats stats;
    start(l);
    remove_folder(); /* nothing can be written */
    record_one(l);
    begin(&w, l, LONG_US);
    assert_int_equal(end(&w), ERR_NOT_WITNESSED);
    audit_builder_get_stats(l->b, &stats);
    assert_true(stats.stopped);
    begin(&w, l, LONG_US); /* at once */
    assert_int_equal(w.calls, 1);
    assert_int_equal(end(&w), ERR_NOT_WITNESSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_told_when_it_is_published, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_to_wait_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told_when_time_is_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told_when_no_more_is_published, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
