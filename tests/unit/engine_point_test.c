/* engine/local's point: what a backup copies stays as it was, and nothing is held longer than that. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/local/private.h"

const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:librocksdb.so\nmutex:librocksdb.so\n";
}

#define LEASE_MS 60000
#define LEN      (1u << 20)

static char folder[64], other[72];

static void ok(err e) {
    if (e != OK) fail_msg("%s: %s", err_get(e)->name, err_detail());
}

/* A command of $A, the folder, and $B, the other. */
static void shell(const char *command) {
    assert_int_equal(setenv("A", folder, 1) | setenv("B", other, 1), 0);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): ours */
}

/* Quiet: space is given back by reclaim_now only. */
static engine *open_at(const char *path, bool create) {
    const engine_local_options o = {.path = path, .create = create, .cache_bytes = 32 << 20};
    const local_tune tune = {.quiet = true, .lanes = 1};
    engine *e = NULL;
    ok(engine_local_open_tuned(&o, &tune, &e));
    return e;
}

static engine *fresh(void) {
    shell("rm -rf $A $B");
    return open_at(folder, true);
}

static bool there(const char *name) {
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

static slice keep_stream(engine *e, arena *a, uint8_t fill) {
    engine_stream *s;
    engine_txn *t;
    slice name;
    uint8_t *p = malloc(LEN);
    memset(p, fill, LEN);
    ok(engine_stream_create(e, LEN, &s));
    ok(engine_stream_write(s, slice_of(p, LEN)));
    free(p);
    ok(engine_stream_sync(s, a, &name));
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, S("k"), name);
    engine_txn_adopt(t, s);
    ok(engine_txn_commit(t));
    return name;
}

static void release(engine *e, slice name) {
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_release(t, name);
    engine_txn_delete(t, ENGINE_BLOB, S("k"));
    ok(engine_txn_commit(t));
}

static void put_row(engine *e, slice key) {
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_META, key, S("v"));
    ok(engine_txn_commit(t));
}

typedef struct seen {
    size_t runs, whole, extents;
    engine_local_run last;
} seen;

static err see_extent(void *ctx, uint32_t id) {
    (void)id;
    ((seen *)ctx)->extents++;
    return OK;
}

static bool run_is_whole(const engine_local_run *r) {
    char name[16], path[256];
    bool whole = false;
    engine_local_extent_name(r->extent, name);
    snprintf(path, sizeof path, "%s/extents/%s", folder, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ok(engine_local_run_copy(&io_real, r, fd, r->offset, -1, 0, &whole));
    close(fd);
    return whole;
}

static err see_run(void *ctx, const engine_local_run *r) {
    seen *s = ctx;
    s->runs++;
    s->whole += run_is_whole(r);
    s->last = *r;
    return OK;
}

/* What a copier finds. */
static seen look(void) {
    char path[256];
    seen s = {0};
    const engine_local_each each = {&s, see_extent, see_run};
    snprintf(path, sizeof path, "%s/" ENGINE_LOCAL_POINT "/rows", folder);
    ok(engine_local_contents(path, &each));
    return s;
}

static void what_is_released_stays_until_the_end(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    engine *e = fresh();
    const slice gone = keep_stream(e, a, 1), name = keep_stream(e, a, 2);
    release(e, gone); /* before the point: its pending row is in it, and it may go */
    uint64_t id;
    ok(engine_point_begin(e, LEASE_MS, &id));
    release(e, name);
    reclaim_now(local_of(e));
    seen s = look();
    assert_int_equal(s.extents, 1);
    assert_int_equal(s.runs, 1);
    assert_int_equal(s.whole, 1);
    ok(engine_point_end(e, id));
    reclaim_now(local_of(e));
    assert_false(run_is_whole(&s.last));
    assert_false(there(ENGINE_LOCAL_POINT));
    engine_close(e);
    arena_free(a);
}

/* Also a whole extent's file. */
static void a_dead_extent_stays_until_the_end(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    engine *e = fresh();
    slice name = keep_stream(e, a, 1);
    engine_close(e); /* seals it */
    e = open_at(folder, false);
    uint64_t id;
    ok(engine_point_begin(e, LEASE_MS, &id));
    release(e, name);
    reclaim_now(local_of(e));
    assert_true(there("extents/00000001.ext"));
    assert_int_equal(look().whole, 1);
    ok(engine_point_end(e, id));
    reclaim_now(local_of(e));
    assert_false(there("extents/00000001.ext"));
    engine_close(e);
    arena_free(a);
}

static void there_is_one_at_a_time(void **state) {
    (void)state;
    engine *e = fresh();
    uint64_t id, second;
    ok(engine_point_begin(e, LEASE_MS, &id));
    assert_int_equal(engine_point_begin(e, LEASE_MS, &second), ERR_IN_USE);
    assert_int_equal(engine_point_renew(e, id + 1, LEASE_MS), ERR_NOT_FOUND);
    assert_int_equal(engine_point_end(e, id + 1), ERR_NOT_FOUND);
    ok(engine_point_renew(e, id, LEASE_MS));
    ok(engine_point_end(e, id));
    assert_int_equal(engine_point_end(e, id), ERR_NOT_FOUND);
    assert_int_equal(engine_point_renew(e, id, LEASE_MS), ERR_NOT_FOUND);
    ok(engine_point_begin(e, LEASE_MS, &second));
    assert_int_not_equal(id, second);
    engine_close(e); /* ends it */
    assert_false(there(ENGINE_LOCAL_POINT));
}

/* A lease of no time is over at once. */
static void a_lease_that_is_over_ends_it(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    engine *e = fresh();
    const slice name = keep_stream(e, a, 1);
    uint64_t id;
    ok(engine_point_begin(e, LEASE_MS, &id));
    const seen s = look();
    release(e, name);
    ok(engine_point_renew(e, id, 0));
    assert_int_equal(engine_point_end(e, id), ERR_NOT_FOUND);
    reclaim_now(local_of(e));
    assert_false(run_is_whole(&s.last));
    assert_false(there(ENGINE_LOCAL_POINT));
    engine_close(e);
    arena_free(a);
}

/* The reclaimer's thread ends it, with nobody asking. */
static void the_reclaimer_ends_it(void **state) {
    (void)state;
    shell("rm -rf $A $B");
    const engine_local_options o = {.path = folder, .create = true, .cache_bytes = 32 << 20};
    engine *e = NULL;
    uint64_t id;
    ok(engine_local_open(&o, &e));
    ok(engine_point_begin(e, 1, &id));
    for (int i = 0; i < 3000 && there(ENGINE_LOCAL_POINT); i++) usleep(10000);
    assert_false(there(ENGINE_LOCAL_POINT));
    engine_close(e);
}

static void count_secret(void *ctx, const char *what, const char *where) {
    (void)what, (void)where;
    ++*(size_t *)ctx;
}

/* Rows, vault and content together are what a crash at that moment would have left. */
static void it_is_of_one_moment(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    engine *e = fresh();
    const slice name = keep_stream(e, a, 7);
    uint64_t id, slot, later;
    put_row(e, S("before"));
    ok(engine_vault_put(e, 5, S("secret"), &slot));
    ok(engine_point_begin(e, LEASE_MS, &id));
    put_row(e, S("after"));
    ok(engine_vault_destroy(e, 5, slot));
    ok(engine_vault_put(e, 6, S("other"), &later));
    release(e, name);
    reclaim_now(local_of(e));
    shell("mkdir $B && cp -a $A/FORMAT $A/extents $A/point/rows $A/point/vault $B");
    ok(engine_point_end(e, id));
    slice value, secret;
    assert_int_not_equal(engine_vault_get(e, 5, slot, a, &secret), OK);
    engine_close(e);

    uint8_t byte = 0;
    size_t defects = 0;
    e = open_at(other, false);
    ok(engine_get(e, ENGINE_META, S("before"), a, false, &value));
    assert_int_equal(engine_get(e, ENGINE_META, S("after"), a, false, &value), ERR_NOT_FOUND);
    ok(engine_get(e, ENGINE_BLOB, S("k"), a, false, &value));
    ok(engine_stream_read(e, value, LEN - 1, &byte, 1, false));
    assert_int_equal(byte, 7);
    ok(engine_vault_get(e, 5, slot, a, &secret));
    assert_true(slice_eq(secret, S("secret")));
    ok(engine_check(e, count_secret, &defects));
    assert_int_equal(defects, 0);
    engine_close(e);
    arena_free(a);
}

/* A process killed in the midst leaves the folder; opening removes it. */
static void a_crash_leaves_nothing(void **state) {
    (void)state;
    engine *e = fresh();
    uint64_t id;
    ok(engine_point_begin(e, LEASE_MS, &id));
    shell("cp -a $A $B");
    ok(engine_point_end(e, id));
    engine_close(e);
    shell("rm -rf $A && mv $B $A");
    assert_true(there(ENGINE_LOCAL_POINT));
    e = open_at(folder, false);
    assert_false(there(ENGINE_LOCAL_POINT));
    ok(engine_point_begin(e, LEASE_MS, &id));
    engine_close(e);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/strongroom-point-%d", (int)getpid());
    snprintf(other, sizeof other, "%s.copy", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_released_stays_until_the_end),
        cmocka_unit_test(a_dead_extent_stays_until_the_end),
        cmocka_unit_test(there_is_one_at_a_time),
        cmocka_unit_test(a_lease_that_is_over_ends_it),
        cmocka_unit_test(the_reclaimer_ends_it),
        cmocka_unit_test(it_is_of_one_moment),
        cmocka_unit_test(a_crash_leaves_nothing),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shell("rm -rf $A $B");
    return failed;
}
