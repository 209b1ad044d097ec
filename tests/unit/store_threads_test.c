/* Many threads on few names: writers, readers, listings, block lists, containers that come and go,
 * with the reaper at work. What a reader gets is one state, whole; what is left afterwards is
 * sound. */
#include "store_test.h"

#include "memory_engine.c"

#include <pthread.h>

#define THREADS 8
#define ROUNDS  150

typedef struct worker {
    fixture *f;
    fixture own; /* same store and container, an arena of its own */
    pthread_t thread;
    rng random;
    uint64_t done, refused;
} worker;

static slice name_of(worker *w) {
    return arena_fmt(w->own.c.arena, "n%zu", rng_below(&w->random, 3));
}

static slice some_content(worker *w) {
    static const size_t sizes[] = {0, 100, 20000, 40000, 150000};
    return content(w->own.c.arena, rng_next(&w->random), sizes[rng_below(&w->random, 5)]);
}

static void expect_one_of(err e, err a, err b) {
    if (e != OK && e != a && e != b) {
        print_error("%s: %s\n", err_get(e)->name, err_detail());
        abort();
    }
}

static void do_put(worker *w) {
    store_blob b;
    expect_one_of(try_put(&w->own, name_of(w), some_content(w), NULL, &b), OK, OK);
}

#define SCOPE S("scope")

/* Under a scope that others disable and enable. */
static void do_put_under(worker *w) {
    store_blob b;
    store_upload *u;
    slice data = some_content(w);
    w->own.c.scope = SCOPE;
    MUST(store_upload_new(w->f->s, w->f->k, data.len, data.len, 0, &u) == OK);
    err e = store_upload_under(u, w->own.c, w->f->k);
    if (e == OK) e = store_upload_write(u, data);
    if (e == OK) e = store_upload_finish(u);
    if (e == OK) e = store_blob_put(w->f->s, w->own.c, w->f->k, name_of(w), u, &(store_put){0}, &b);
    expect_one_of(e, ERR_ENCRYPTION_SCOPE_DISABLED, OK);
    if (e != OK) store_upload_free(u);
}

static void do_switch(worker *w) {
    store_scope_state to = rng_below(&w->random, 4) ? STORE_SCOPE_ENABLED : STORE_SCOPE_DISABLED;
    expect_one_of(store_scope_set(w->f->s, w->own.c, w->f->a, SCOPE, to), OK, OK);
}

static void do_delete(worker *w) {
    expect_one_of(store_blob_delete(w->f->s, w->own.c, w->f->k, name_of(w), NULL, NULL, NULL),
                  ERR_BLOB_NOT_FOUND, OK);
}

static void do_read(worker *w) {
    store_blob b;
    store_reader *r;
    err e = store_blob_open(w->f->s, w->own.c, w->f->k, name_of(w), STORE_CURRENT, NULL, &b, &r);
    expect_one_of(e, ERR_BLOB_NOT_FOUND, ERR_ENCRYPTION_SCOPE_DISABLED);
    if (e != OK) return;
    uint8_t *out = malloc(50000);
    uint64_t crc = 0, at = 0;
    for (size_t n = 1; n; at += n) {
        MUST(store_reader_read(r, at, out, 1 + rng_below(&w->random, 50000), false, &n) == OK);
        crc = crc64(crc, slice_of(out, n));
    }
    MUST(at == b.length && crc == b.crc64);
    free(out);
    store_reader_free(r);
    w->done++;
}

static void do_block(worker *w) {
    slice id = arena_fmt(w->own.c.arena, "%zu", rng_below(&w->random, 4));
    expect_one_of(try_block(&w->own, name_of(w), id, some_content(w)), OK, OK);
}

static void do_commit(worker *w) {
    store_block_pick picks[4];
    store_blob b;
    size_t n = rng_below(&w->random, 5);
    for (size_t i = 0; i < n; i++)
        picks[i] = (store_block_pick){arena_fmt(w->own.c.arena, "%zu", rng_below(&w->random, 4)),
                                      STORE_BLOCK_LATEST};
    err e = try_commit(&w->own, name_of(w), picks, n, &b);
    expect_one_of(e, ERR_INVALID_BLOCK_LIST, OK);
    w->refused += e != OK;
}

static void do_list_blocks(worker *w) {
    store_blob b;
    store_block *c, *u;
    size_t cn, un;
    bool there;
    expect_one_of(store_block_list_get(w->f->s, w->own.c, w->f->k, name_of(w), STORE_CURRENT, NULL,
                                       true, true, &b, &there, &c, &cn, &u, &un),
                  ERR_BLOB_NOT_FOUND, ERR_CONFLICT);
}

static err count(void *ctx, const store_blob *b, slice prefix) {
    (void)b, (void)prefix;
    ++*(size_t *)ctx;
    return OK;
}

static void do_list(worker *w) {
    size_t n = 0;
    slice next;
    store_blob_list q = {.max = 100, .uncommitted = true};
    MUST(store_blob_scan(w->f->s, w->own.c, w->f->k, &q, count, &n, &next) == OK && n <= 3);
}

/* A container of the thread's own, filled and deleted. */
static void do_container(worker *w) {
    slice name = arena_fmt(w->own.c.arena, "own-%zu", (size_t)(w->random.state % 5));
    const store_container *shared = w->own.k;
    err e =
        store_container_create(w->f->s, w->own.c, w->f->a, name, STORE_PRIVATE, NULL, 0, &w->own.k);
    expect_one_of(e, ERR_CONTAINER_ALREADY_EXISTS, ERR_CONTAINER_NOT_FOUND);
    if (e == OK) {
        store_blob b;
        expect_one_of(try_put(&w->own, S("x"), some_content(w), NULL, &b), ERR_CONTAINER_NOT_FOUND,
                      OK);
        expect_one_of(try_block(&w->own, S("y"), S("1"), some_content(w)), ERR_CONTAINER_NOT_FOUND,
                      OK);
        store_container_unref(w->own.k);
    }
    w->own.k = shared;
    expect_one_of(store_container_delete(w->f->s, w->own.c, w->f->a, name, NULL),
                  ERR_CONTAINER_NOT_FOUND, OK);
}

static void *work_main(void *arg) {
    worker *w = arg;
    static void (*const all[])(worker *) = {
        do_put,       do_put,       do_read,      do_read,  do_read,   do_delete,
        do_block,     do_block,     do_commit,    do_list,  do_commit, do_list_blocks,
        do_container, do_put_under, do_put_under, do_switch};
    for (int i = 0; i < ROUNDS; i++) {
        arena *a = arena_new(64 << 10, 0);
        w->own = *w->f;
        w->own.c = (store_call){.arena = a};
        all[rng_below(&w->random, ARRAY_LEN(all))](w);
        arena_free(a);
    }
    return NULL;
}

static void report(void *ctx, const char *what, const char *where) {
    (void)ctx;
    print_error("%s: %s\n", where, what);
}

static void test_threads(void **state) {
    fixture *f = *state;
    fixture_close(f);
    f->background = true;
    fixture_open(f);
    fixture_get(f);
    assert_ok(store_scope_create(f->s, f->c, f->a, SCOPE));
    worker workers[THREADS];
    memset(workers, 0, sizeof workers);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].f = f;
        workers[i].random.state = i + 1;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work_main, &workers[i]), 0);
    }
    uint64_t done = 0;
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
    }
    assert_true(done > 0);
    fixture_close(f);
    f->background = false;
    fixture_open(f);
    fixture_get(f);
    store_check_progress p;
    assert_ok(store_check(f->s, report, NULL, NULL, &p));
    assert_int_equal(p.defects, 0);
    reaper_run(f->s);
    assert_ok(store_check(f->s, report, NULL, NULL, &p));
    assert_int_equal(p.defects, 0);
    /* Nothing but the blobs is left when they are gone. */
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    for (int i = 0; i < 5; i++) {
        err e = store_container_delete(f->s, f->c, f->a, arena_fmt(f->c.arena, "own-%d", i), NULL);
        assert_true(e == OK || e == ERR_CONTAINER_NOT_FOUND);
    }
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    for (int t = ENGINE_BLOB; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(f->disk, (engine_table)t), 0);
    assert_int_equal(memory_disk_vault_live(f->disk), 2); /* of the account and its scope */
}

/* A purge waits for the changes that were let in before the deletion: none lands behind it. */
typedef struct late {
    fixture *f;
    bool once;
    pthread_t thread, purger;
} late;

static void *purge_main(void *arg) {
    reaper_run(((late *)arg)->f->s);
    return NULL;
}

static void *delete_main(void *arg) {
    late *l = arg;
    arena *a = arena_new(4096, 0);
    MUST(store_container_delete(l->f->s, (store_call){.arena = a}, l->f->a, S("box"), NULL) == OK);
    arena_free(a);
    return NULL;
}

/* Between the writer's check of the container and its commit the container is deleted. */
static void delete_in_between(void *ctx) {
    late *l = ctx;
    if (l->once) return;
    l->once = true;
    MUST(pthread_create(&l->thread, NULL, delete_main, l) == 0);
    pthread_join(l->thread, NULL);
    MUST(pthread_create(&l->purger, NULL, purge_main, l) == 0);
    usleep(50000); /* time enough for a purge that does not wait to be through */
}

static void test_write_during_delete(void **state) {
    fixture *f = *state;
    late l = {.f = f};
    memory_disk_on_commit(f->disk, delete_in_between, &l);
    put(f, S("x"), content(f->c.arena, 1, 100000)); /* let in before the deletion: it may stand */
    assert_true(l.once);
    pthread_join(l.purger, NULL);
    memory_disk_on_commit(f->disk, NULL, NULL);
    store_blob b;
    assert_err(try_put(f, S("y"), S("1"), NULL, &b), ERR_CONTAINER_NOT_FOUND);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
}

/* gate_wait does not return while a change is inside. */
static atomic_bool waited;
static void *wait_main(void *arg) {
    gate_wait(arg);
    atomic_store(&waited, true);
    return NULL;
}

static void test_gate(void **state) {
    (void)state;
    gate g;
    gate_init(&g);
    gate_wait(&g);
    gate_token t = gate_enter(&g);
    pthread_t thread;
    pthread_create(&thread, NULL, wait_main, &g);
    usleep(20000);
    assert_false(atomic_load(&waited));
    gate_token second = gate_enter(&g); /* newcomers do not wait */
    gate_leave(&g, second);
    gate_leave(&g, t);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&waited));
    gate_done(&g);
}

/* Two that change different properties at once: neither is lost. */
typedef struct setter {
    fixture *f;
    bool first;
    uint32_t days;
} setter;

static err set_days(void *ctx, store_service *v) {
    const setter *me = ctx;
    store_retention *r = me->first ? &v->log_retention : &v->delete_retention;
    *r = (store_retention){true, me->days};
    return OK;
}

static void *setter_main(void *arg) {
    setter *me = arg;
    store_call c = {.arena = arena_new(4096, 0)};
    for (me->days = 1; me->days < 200; me->days++) {
        store_service v;
        MUST(store_service_change(me->f->s, c, me->f->a, set_days, me) == OK);
        MUST(store_service_get(me->f->s, c, me->f->a, &v) == OK);
        MUST((me->first ? v.log_retention : v.delete_retention).days == me->days);
        arena_reset(c.arena);
    }
    arena_free(c.arena);
    return NULL;
}

static void test_service(void **state) {
    setter a = {.f = *state, .first = true}, b = {.f = *state};
    pthread_t thread;
    pthread_create(&thread, NULL, setter_main, &a);
    setter_main(&b);
    pthread_join(thread, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_threads),
        T(test_write_during_delete),
        T(test_service),
        cmocka_unit_test(test_gate),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
