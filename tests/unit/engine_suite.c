/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_suite.h"

static err (*open_engine)(bool fresh, engine **ret);
static const char *suite_name;

/* ---- help ---- */

static void ok(err e) {
    if (e != OK) fail_msg("%s: %s", err_get(e)->name, err_detail());
}

static engine *fresh(void) {
    engine *e = NULL;
    ok(open_engine(true, &e));
    return e;
}

static engine *reopen(engine *e) {
    engine_close(e);
    e = NULL;
    ok(open_engine(false, &e));
    return e;
}

static void put(engine *e, engine_table t, const char *key, slice value) {
    engine_txn *x;
    ok(engine_txn_begin(e, slice_str(key), &x));
    engine_txn_put(x, t, slice_str(key), value);
    ok(engine_txn_commit(x));
}

static void expect_row(engine *e, engine_table t, const char *key, slice want) {
    arena *a = arena_new(1024, 0);
    slice got;
    ok(engine_get(e, t, slice_str(key), a, false, &got));
    assert_int_equal(got.len, want.len);
    if (want.len > 0) assert_memory_equal(got.p, want.p, want.len);
    arena_free(a);
}

static void expect_none(engine *e, engine_table t, const char *key) {
    arena *a = arena_new(1024, 0);
    slice got;
    assert_int_equal(engine_get(e, t, slice_str(key), a, false, &got), ERR_NOT_FOUND);
    arena_free(a);
}

/* Content that tells its place: no two 8-byte words of a stream are alike. */
static void pattern(uint8_t *out, size_t len, uint64_t seed, uint64_t at) {
    for (size_t i = 0; i < len; i++) {
        const uint64_t word = ((at + i) / 8 + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;
        out[i] = (uint8_t)(word >> ((at + i) % 8 * 8));
    }
}

static engine_stream *stream_new(engine *e, uint64_t declared, uint64_t len, size_t step,
                                 uint64_t seed) {
    engine_stream *s;
    ok(engine_stream_create(e, declared, &s));
    uint8_t *part = malloc(step);
    for (uint64_t at = 0; at < len;) {
        const size_t n = len - at < step ? (size_t)(len - at) : step;
        pattern(part, n, seed, at);
        ok(engine_stream_write(s, slice_of(part, n)));
        at += n;
    }
    free(part);
    return s;
}

static slice stream_keep(engine *e, const char *key, uint64_t declared, uint64_t len, size_t step,
                         uint64_t seed, arena *a) {
    engine_stream *s = stream_new(e, declared, len, step, seed);
    slice ref;
    ok(engine_stream_sync(s, a, &ref));
    assert_true(ref.len >= 1 && ref.len <= 4096);
    engine_txn *t;
    ok(engine_txn_begin(e, slice_str(key), &t));
    engine_txn_put(t, ENGINE_BLOB, slice_str(key), ref);
    engine_txn_adopt(t, s);
    ok(engine_txn_commit(t));
    return ref;
}

static void expect_part(engine *e, slice ref, uint64_t seed, uint64_t at, size_t len) {
    uint8_t *got = malloc(len + 1), *want = malloc(len + 1);
    ok(engine_stream_read(e, ref, at, got, len, false));
    pattern(want, len, seed, at);
    assert_memory_equal(got, want, len);
    free(got);
    free(want);
}

static void expect_stream(engine *e, slice ref, uint64_t seed, uint64_t len) {
    uint64_t got;
    ok(engine_stream_len(e, ref, &got));
    assert_int_equal(got, len);
    for (uint64_t at = 0; at < len; at += 300000)
        expect_part(e, ref, seed, at, len - at < 300000 ? (size_t)(len - at) : 300000);
}

static void no_finding(void *ctx, const char *what, const char *where) {
    print_error("check: %s: %s\n", where, what);
    ++*(int *)ctx;
}

static void expect_sound(engine *e) {
    int findings = 0;
    ok(engine_check(e, no_finding, &findings));
    assert_int_equal(findings, 0);
}

/* ---- rows ---- */

static void nothing_is_allowed(void **state) {
    (void)state;
    engine_close(NULL);
    assert_null(engine_txn_abort(NULL));
    assert_null(engine_stream_abort(NULL));
    assert_null(engine_cursor_free(NULL));
}

static void rows_are_kept(void **state) {
    (void)state;
    engine *e = fresh();
    expect_none(e, ENGINE_META, "a");
    put(e, ENGINE_META, "a", S("one"));
    put(e, ENGINE_META, "b", S(""));
    put(e, ENGINE_CONTENT, "a", slice_of("x\0y", 3));
    expect_row(e, ENGINE_META, "a", S("one"));
    expect_row(e, ENGINE_META, "b", S(""));
    expect_row(e, ENGINE_CONTENT, "a", slice_of("x\0y", 3));
    expect_none(e, ENGINE_BLOB, "a");
    put(e, ENGINE_META, "a", S("two"));
    expect_row(e, ENGINE_META, "a", S("two"));
    engine_txn *t;
    ok(engine_txn_begin(e, S("a"), &t));
    engine_txn_delete(t, ENGINE_META, S("a"));
    engine_txn_delete(t, ENGINE_META, S("never there"));
    ok(engine_txn_commit(t));
    expect_none(e, ENGINE_META, "a");
    e = reopen(e);
    expect_none(e, ENGINE_META, "a");
    expect_row(e, ENGINE_META, "b", S(""));
    expect_row(e, ENGINE_CONTENT, "a", slice_of("x\0y", 3));
    expect_sound(e);
    engine_close(e);
}

static void rows_may_be_large(void **state) {
    (void)state;
    engine *e = fresh();
    char *key = malloc(ENGINE_KEY_MAX + 1);
    memset(key, 'k', ENGINE_KEY_MAX);
    key[ENGINE_KEY_MAX] = 0;
    uint8_t *value = malloc(ENGINE_VALUE_MAX);
    for (size_t i = 0; i < ENGINE_TABLE_COUNT; i++) {
        pattern(value, ENGINE_VALUE_MAX, i, 0);
        put(e, (engine_table)i, key, slice_of(value, ENGINE_VALUE_MAX));
    }
    e = reopen(e);
    for (size_t i = 0; i < ENGINE_TABLE_COUNT; i++) {
        pattern(value, ENGINE_VALUE_MAX, i, 0);
        expect_row(e, (engine_table)i, key, slice_of(value, ENGINE_VALUE_MAX));
    }
    /* More than the request may hold is an error, not a crash. */
    arena *a = arena_new(64, 4096);
    slice got;
    assert_int_equal(engine_get(e, ENGINE_META, slice_str(key), a, false, &got), ERR_NO_MEMORY);
    arena_free(a);
    engine_close(e);
    free(value);
    free(key);
}

static void a_transaction_is_whole_or_nothing(void **state) {
    (void)state;
    engine *e = fresh();
    put(e, ENGINE_BLOB, "k1", S("old"));
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, S("k1"), S("new"));
    engine_txn_put(t, ENGINE_META, S("k2"), S("new"));
    engine_txn_delete(t, ENGINE_JOB, S("k3"));
    expect_row(e, ENGINE_BLOB, "k1", S("old"));
    assert_null(engine_txn_abort(t));
    expect_row(e, ENGINE_BLOB, "k1", S("old"));
    expect_none(e, ENGINE_META, "k2");
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, S("k1"), S("first"));
    engine_txn_put(t, ENGINE_BLOB, S("k1"), S("last"));
    engine_txn_put(t, ENGINE_META, S("k2"), S("new"));
    engine_txn_delete(t, ENGINE_META, S("k2"));
    ok(engine_txn_commit(t));
    expect_row(e, ENGINE_BLOB, "k1", S("last"));
    expect_none(e, ENGINE_META, "k2");
    ok(engine_txn_begin(e, S("s"), &t));
    ok(engine_txn_commit(t)); /* one that changes nothing */
    engine_close(e);
}

static void expect_next(engine_cursor *c, const char *key) {
    slice k, v;
    bool more;
    ok(engine_cursor_next(c, &k, &v, &more));
    if (key == NULL) {
        assert_false(more);
        return;
    }
    assert_true(more);
    if (!slice_eq(k, slice_str(key))) fail_msg("key %.*s, not %s", SLICE_ARG(k), key);
    assert_true(slice_eq(v, slice_str(key)));
}

static void scans_are_in_order(void **state) {
    (void)state;
    engine *e = fresh();
    engine_cursor *c;
    ok(engine_scan(e, ENGINE_BLOB, SLICE_NONE, SLICE_NONE, &c));
    expect_next(c, NULL);
    expect_next(c, NULL);
    engine_cursor_free(c);
    static const char *const keys[] = {"b", "a", "aa", "a\x7f", "a\xff", "c", "ab", "d"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) put(e, ENGINE_BLOB, keys[i], slice_str(keys[i]));
    put(e, ENGINE_BLOCK, "a0", S("a0"));
    for (int round = 0; round < 2; round++) {
        ok(engine_scan(e, ENGINE_BLOB, SLICE_NONE, SLICE_NONE, &c));
        static const char *const order[] = {"a", "aa", "ab", "a\x7f", "a\xff", "b", "c", "d", NULL};
        for (size_t i = 0; i < ARRAY_LEN(order); i++) expect_next(c, order[i]);
        engine_cursor_free(c);
        ok(engine_scan(e, ENGINE_BLOB, S("aa"), S("c"), &c));
        expect_next(c, "aa");
        ok(engine_cursor_seek(c, S("aaz")));
        expect_next(c, "ab");
        ok(engine_cursor_seek(c, S("a"))); /* never back */
        expect_next(c, "a\x7f");
        ok(engine_cursor_seek(c, S("b")));
        expect_next(c, "b");
        expect_next(c, NULL); /* "c" is outside */
        engine_cursor_free(c);
        ok(engine_scan(e, ENGINE_BLOB, S("b"), SLICE_NONE, &c));
        ok(engine_cursor_seek(c, S("a")));
        expect_next(c, "b");
        ok(engine_cursor_seek(c, S("zz")));
        expect_next(c, NULL);
        engine_cursor_free(c);
        e = reopen(e);
    }
    /* As it stood when it was opened. */
    ok(engine_scan(e, ENGINE_BLOB, S("b"), SLICE_NONE, &c));
    put(e, ENGINE_BLOB, "bb", S("bb"));
    expect_next(c, "b");
    expect_next(c, "c");
    engine_cursor_free(c);
    engine_close(e);
}

static void nowait_answers_from_memory(void **state) {
    (void)state;
    engine *e = fresh();
    arena *a = arena_new(65536, 0);
    uint8_t big[20000];
    pattern(big, sizeof big, 1, 0);
    slice got;
    put(e, ENGINE_META, "small", S("v"));
    put(e, ENGINE_CONTENT, "big", slice_of(big, sizeof big));
    ok(engine_get(e, ENGINE_META, S("small"), a, true, &got)); /* just written */
    e = reopen(e);
    for (int i = 0; i < 2; i++) {
        err r = engine_get(e, ENGINE_CONTENT, S("big"), a, true, &got);
        assert_true(r == OK || r == ERR_WOULD_BLOCK);
        if (r == OK) assert_int_equal(got.len, sizeof big);
    }
    ok(engine_get(e, ENGINE_CONTENT, S("big"), a, false, &got));
    assert_memory_equal(got.p, big, sizeof big);
    ok(engine_get(e, ENGINE_CONTENT, S("big"), a, true, &got)); /* just read */
    assert_int_equal(engine_get(e, ENGINE_CONTENT, S("none"), a, true, &got), ERR_NOT_FOUND);
    arena_free(a);
    engine_close(e);
}

/* ---- the log ---- */

typedef struct log_seen {
    uint64_t next;
    uint64_t stop_at; /* 0: never */
} log_seen;

/* Entry i says "entry I", and "private I" beside it when I is odd. */
static void log_entry(engine *e, slice shard, unsigned i, uint64_t want) {
    char entry[32], beside[32];
    snprintf(entry, sizeof entry, "entry %u", i);
    snprintf(beside, sizeof beside, "private %u", i);
    engine_txn *t;
    uint64_t index = UINT64_MAX;
    ok(engine_txn_begin(e, shard, &t));
    if (shard.len > 0) engine_txn_put(t, ENGINE_META, shard, slice_str(entry));
    engine_txn_log(t, slice_str(entry), i % 2 ? slice_str(beside) : SLICE_NONE, &index);
    ok(engine_txn_commit(t));
    assert_int_equal(index, want);
}

static err see_entry(void *ctx, uint64_t index, slice entry, slice private_part) {
    log_seen *s = ctx;
    char want[32];
    assert_int_equal(index, s->next);
    snprintf(want, sizeof want, "entry %llu", (unsigned long long)index);
    assert_true(slice_eq(entry, slice_str(want)));
    snprintf(want, sizeof want, "private %llu", (unsigned long long)index);
    assert_true(slice_eq(private_part, index % 2 ? slice_str(want) : SLICE_NONE));
    s->next++;
    return s->stop_at != 0 && s->next == s->stop_at ? ERR_CANCELLED : OK;
}

static void expect_log(engine *e, uint64_t from, uint64_t to, uint64_t end) {
    log_seen seen = {.next = from};
    ok(engine_log_read(e, from, to, see_entry, &seen));
    assert_int_equal(seen.next, end);
}

static void the_log_is_in_the_order_of_commits(void **state) {
    (void)state;
    engine *e = fresh();
    assert_int_equal(engine_log_next(e), 0);
    expect_log(e, 0, UINT64_MAX, 0);
    for (unsigned i = 0; i < 40; i++) log_entry(e, i % 3 ? S("s") : SLICE_NONE, i, i);
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_log(t, S("never"), SLICE_NONE, NULL);
    engine_txn_abort(t);
    put(e, ENGINE_META, "other", S("leaves no entry"));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(engine_log_next(e), 40);
        expect_log(e, 0, UINT64_MAX, 40);
        expect_log(e, 7, 9, 9);
        expect_log(e, 40, 50, 40);
        log_seen seen = {.stop_at = 5};
        assert_int_equal(engine_log_read(e, 0, 40, see_entry, &seen), ERR_CANCELLED);
        assert_int_equal(seen.next, 5);
        expect_row(e, ENGINE_META, "s", S("entry 38"));
        e = reopen(e);
    }
    log_entry(e, SLICE_NONE, 40, 40);
    expect_sound(e);
    engine_close(e);
}

static void the_log_is_trimmed_from_its_front(void **state) {
    (void)state;
    engine *e = fresh();
    ok(engine_log_trim(e, 10)); /* nothing is there */
    for (unsigned i = 0; i < 20; i++) log_entry(e, SLICE_NONE, i, i);
    ok(engine_log_trim(e, 8));
    ok(engine_log_trim(e, 3)); /* never back */
    engine_stats stats;
    for (int round = 0; round < 2; round++) {
        engine_get_stats(e, &stats);
        assert_int_equal(stats.log_first, 8);
        assert_int_equal(stats.log_next, 20);
        log_seen seen = {0};
        assert_int_equal(engine_log_read(e, 7, 20, see_entry, &seen), ERR_NOT_FOUND);
        expect_log(e, 8, 20, 20);
        e = reopen(e);
    }
    ok(engine_log_trim(e, 1000)); /* the numbers go on */
    e = reopen(e);
    log_entry(e, SLICE_NONE, 20, 20);
    expect_log(e, 20, UINT64_MAX, 21);
    expect_sound(e);
    engine_close(e);
}

static void committed(void *ctx, err e) {
    assert_int_equal(e, OK);
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

/* Also inside what was committed together. */
static void the_log_is_trimmed_exactly(void **state) {
    (void)state;
    engine *e = fresh();
    enum { COUNT = 400 };
    atomic_uint done = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        char entry[32], beside[32];
        engine_txn *t;
        snprintf(entry, sizeof entry, "entry %u", i);
        snprintf(beside, sizeof beside, "private %u", i);
        ok(engine_txn_begin(e, SLICE_NONE, &t));
        engine_txn_log(t, slice_str(entry), i % 2 ? slice_str(beside) : SLICE_NONE, NULL);
        engine_txn_commit_later(t, committed, &done);
    }
    for (int i = 0; i < 1000 && atomic_load(&done) < COUNT; i++) usleep(10000);
    assert_int_equal(atomic_load(&done), COUNT);
    for (unsigned before = 1; before < COUNT; before += 23) {
        engine_stats stats;
        log_seen seen = {0};
        ok(engine_log_trim(e, before));
        if (before % 2 == 0) e = reopen(e);
        engine_get_stats(e, &stats);
        assert_int_equal(stats.log_first, before);
        assert_int_equal(stats.log_next, COUNT);
        assert_int_equal(engine_log_read(e, before - 1, COUNT, see_entry, &seen), ERR_NOT_FOUND);
        expect_log(e, before, COUNT, COUNT);
    }
    expect_sound(e);
    engine_close(e);
}

static void entries_may_be_large(void **state) {
    (void)state;
    engine *e = fresh();
    uint8_t *entry = malloc(ENGINE_LOG_ENTRY_MAX), *beside = malloc(ENGINE_LOG_PRIVATE_MAX);
    pattern(entry, ENGINE_LOG_ENTRY_MAX, 1, 0);
    pattern(beside, ENGINE_LOG_PRIVATE_MAX, 2, 0);
    engine_txn *t;
    ok(engine_txn_begin(e, SLICE_NONE, &t));
    engine_txn_log(t, slice_of(entry, ENGINE_LOG_ENTRY_MAX),
                   slice_of(beside, ENGINE_LOG_PRIVATE_MAX), NULL);
    ok(engine_txn_commit(t));
    e = reopen(e);
    assert_int_equal(engine_log_next(e), 1);
    expect_sound(e);
    engine_close(e);
    free(entry);
    free(beside);
}

/* ---- threads ---- */

#define THREADS 64
#define ROUNDS  20

typedef struct worker {
    engine *e;
    unsigned number;
    bool own_shard;
} worker;

static void *count_up(void *arg) {
    const worker *w = arg;
    arena *a = arena_new(1024, 0);
    char shard[32];
    snprintf(shard, sizeof shard, "shard-%u", w->own_shard ? w->number : 0);
    for (int i = 0; i < ROUNDS; i++) {
        engine_txn *t;
        MUST(engine_txn_begin(w->e, slice_str(shard), &t) == OK);
        slice got;
        uint64_t n = 0;
        err e = engine_get(w->e, ENGINE_META, slice_str(shard), a, false, &got);
        if (e == OK) MUST(slice_u64(got, &n) == OK);
        char text[32];
        snprintf(text, sizeof text, "%llu", (unsigned long long)n + 1);
        engine_txn_put(t, ENGINE_META, slice_str(shard), slice_str(text));
        MUST(engine_txn_commit(t) == OK);
        arena_reset(a);
    }
    arena_free(a);
    return NULL;
}

/* Every thread's commits leave an entry each: "THREAD ROUND". */
static void *log_up(void *arg) {
    const worker *w = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%u %u", w->number, i);
        uint64_t index;
        engine_txn *t;
        MUST(engine_txn_begin(w->e, SLICE_NONE, &t) == OK);
        engine_txn_log(t, slice_str(text), slice_str(text), &index);
        MUST(engine_txn_commit(t) == OK);
    }
    return NULL;
}

static err count_entry(void *ctx, uint64_t index, slice entry, slice private_part) {
    unsigned *rounds = ctx;
    assert_true(index < (uint64_t)THREADS * ROUNDS);
    assert_true(slice_eq(entry, private_part));
    const size_t space = slice_find(entry, 0, ' ');
    uint64_t thread, round;
    ok(slice_u64(slice_take(entry, space), &thread));
    ok(slice_u64(slice_skip(entry, space + 1), &round));
    assert_int_equal(rounds[thread], round); /* each thread's own in its order */
    rounds[thread]++;
    return OK;
}

static void each_commit_has_its_entry(void **state) {
    (void)state;
    engine *e = fresh();
    pthread_t threads[THREADS];
    worker w[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (worker){e, i, true};
        assert_int_equal(pthread_create(&threads[i], NULL, log_up, &w[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    e = reopen(e);
    assert_int_equal(engine_log_next(e), THREADS * ROUNDS);
    unsigned rounds[THREADS] = {0};
    ok(engine_log_read(e, 0, UINT64_MAX, count_entry, rounds));
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(rounds[i], ROUNDS);
    engine_close(e);
}

static void run_workers(engine *e, bool own_shard) {
    pthread_t threads[THREADS];
    worker w[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (worker){e, i, own_shard};
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &w[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void a_shard_is_changed_by_one_at_a_time(void **state) {
    (void)state;
    engine *e = fresh();
    run_workers(e, false);
    char want[32];
    snprintf(want, sizeof want, "%d", THREADS * ROUNDS);
    expect_row(e, ENGINE_META, "shard-0", slice_str(want));
    engine_close(e);
}

static void commits_share_batches(void **state) {
    (void)state;
    engine *e = fresh();
    engine_stats before, after;
    engine_get_stats(e, &before);
    run_workers(e, true);
    engine_get_stats(e, &after);
    assert_int_equal(after.commits - before.commits, THREADS * ROUNDS);
    assert_true(after.commit_batches > before.commit_batches);
    assert_true(after.commit_batches - before.commit_batches < THREADS * ROUNDS);
    assert_false(after.failed);
    for (int i = 0; i < THREADS; i++) {
        char key[32];
        snprintf(key, sizeof key, "shard-%d", i);
        expect_row(e, ENGINE_META, key, S("20"));
    }
    engine_close(e);
}

/* ---- streams ---- */

/* ---- transactions that nobody waits for ---- */

#define LATERS 200
static atomic_int told_ok, told_failed;

static void count_outcome(void *ctx, err e) {
    (void)ctx;
    atomic_fetch_add(e == OK ? &told_ok : &told_failed, 1);
}

static void *try_to_begin(void *arg) {
    engine_txn *t;
    err e = engine_txn_try_begin(arg, S("taken"), &t);
    if (e == OK) engine_txn_abort(t);
    return (void *)(uintptr_t)e;
}

static err begin_elsewhere(engine *e) {
    pthread_t t;
    void *got;
    assert_int_equal(pthread_create(&t, NULL, try_to_begin, e), 0);
    assert_int_equal(pthread_join(t, &got), 0);
    return (err)(uintptr_t)got;
}

static void a_taken_shard_is_not_waited_for(void **state) {
    (void)state;
    engine *e = fresh();
    engine_txn *t;
    ok(engine_txn_begin(e, S("taken"), &t));
    assert_int_equal(begin_elsewhere(e), ERR_WOULD_BLOCK);
    engine_txn_put(t, ENGINE_META, S("taken"), S("v"));
    ok(engine_txn_commit(t));
    assert_int_equal(begin_elsewhere(e), OK);
    engine_close(e);
}

/* One thread hands over more transactions than it could wait for, among them one it does wait for; the same
 * shards twice, so that each second one waits for the first's outcome. */
static void outcomes_are_told_later(void **state) {
    (void)state;
    engine *e = fresh();
    engine_txn *t;
    char key[32];
    atomic_store(&told_ok, 0);
    for (int i = 0; i < LATERS; i++) {
        snprintf(key, sizeof key, "later %d", i / 2);
        ok(engine_txn_begin(e, slice_str(key), &t));
        engine_txn_put(t, ENGINE_BLOB, slice_str(key), i % 2 == 0 ? S("first") : S("second"));
        engine_txn_commit_later(t, count_outcome, NULL);
        if (i == LATERS / 2) put(e, ENGINE_META, "waited", S("for"));
    }
    ok(engine_txn_begin(e, S("nothing"), &t));
    engine_txn_commit_later(t, count_outcome, NULL); /* changes nothing */
    while (atomic_load(&told_ok) < LATERS + 1) usleep(200);
    for (int i = 0; i < LATERS / 2; i++) {
        snprintf(key, sizeof key, "later %d", i);
        expect_row(e, ENGINE_BLOB, key, S("second"));
    }
    expect_row(e, ENGINE_META, "waited", S("for"));
    assert_int_equal(atomic_load(&told_failed), 0);
    e = reopen(e);
    expect_row(e, ENGINE_BLOB, "later 0", S("second"));
    engine_close(e);
}

/* Closing waits for what was handed over. */
static void closing_tells_all_outcomes(void **state) {
    (void)state;
    engine *e = fresh();
    char key[32];
    atomic_store(&told_ok, 0);
    for (int i = 0; i < LATERS; i++) {
        engine_txn *t;
        snprintf(key, sizeof key, "later %d", i);
        ok(engine_txn_begin(e, slice_str(key), &t));
        engine_txn_put(t, ENGINE_BLOB, slice_str(key), S("v"));
        engine_txn_commit_later(t, count_outcome, NULL);
    }
    e = reopen(e);
    assert_int_equal(atomic_load(&told_ok), LATERS);
    expect_row(e, ENGINE_BLOB, key, S("v"));
    engine_close(e);
}

static const uint64_t sizes[] = {0,      1,      63,      4095,    4096,   4097,
                                 65535,  65536,  65537,   131072,  262143, 262144,
                                 262145, 524288, 1 << 20, 1048577, 3000000};

static void streams_come_back(void **state) {
    (void)state;
    engine *e = fresh();
    arena *a = arena_new(65536, 0);
    static const size_t steps[] = {1 << 20, 16400, 999};
    slice refs[ARRAY_LEN(sizes) * 2];
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        const uint64_t len = sizes[i / 2];
        char key[32];
        snprintf(key, sizeof key, "stream-%zu", i);
        refs[i] = stream_keep(e, key, i % 2 ? ENGINE_LEN_UNKNOWN : len, len, steps[i % 3], i, a);
        expect_stream(e, refs[i], i, len);
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(refs); i++) expect_stream(e, refs[i], i, sizes[i / 2]);
        expect_sound(e);
        e = reopen(e);
    }
    arena_free(a);
    engine_close(e);
}

static void streams_are_read_in_parts(void **state) {
    (void)state;
    engine *e = fresh();
    arena *a = arena_new(65536, 0);
    const uint64_t len = 2500000;
    slice ref = stream_keep(e, "k", len, len, 70000, 7, a);
    static const uint64_t edges[] = {0,     1,      4095,   4096,    65535,
                                     65536, 100000, 262144, 1 << 20, 2499999};
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        expect_part(e, ref, 7, edges[i], 1);
        const uint64_t left = len - edges[i];
        expect_part(e, ref, 7, edges[i], (size_t)(left < 600000 ? left : 600000));
        expect_part(e, ref, 7, edges[i], 0);
    }
    uint8_t byte[2];
    assert_int_equal(engine_stream_read(e, ref, len, byte, 1, false), ERR_CORRUPT);
    assert_int_equal(engine_stream_read(e, ref, len - 1, byte, 2, false), ERR_CORRUPT);
    assert_int_equal(engine_stream_read(e, ref, UINT64_MAX, byte, 1, false), ERR_CORRUPT);
    /* In memory now, unless the system thought otherwise. */
    const err r = engine_stream_read(e, ref, 5, byte, 2, true);
    assert_true(r == OK || r == ERR_WOULD_BLOCK);
    /* A reference that was damaged is told from one that was not. */
    uint8_t damaged[4096];
    for (size_t i = 0; i < ref.len; i++) {
        memcpy(damaged, ref.p, ref.len);
        damaged[i] ^= 0x20;
        assert_int_equal(engine_stream_read(e, slice_of(damaged, ref.len), 0, byte, 1, false),
                         ERR_CORRUPT);
    }
    for (size_t i = 0; i < ref.len; i++) {
        uint64_t got;
        assert_int_equal(engine_stream_len(e, slice_take(ref, i), &got), ERR_CORRUPT);
    }
    arena_free(a);
    engine_close(e);
}

static void what_is_not_adopted_is_gone(void **state) {
    (void)state;
    engine *e = fresh();
    arena *a = arena_new(65536, 0);
    slice ref;
    stream_keep(e, "kept", 100000, 100000, 4096, 1, a);
    engine_stats before, after;
    e = reopen(e);
    for (int i = 0; i < 100; i++) { /* the count is taken in the background */
        engine_get_stats(e, &before);
        if (before.stream_bytes_live == 100000) break;
        usleep(10000);
    }
    assert_int_equal(before.stream_bytes_live, 100000);
    engine_stream_abort(stream_new(e, 500000, 200000, 50000, 2));
    engine_stream_abort(stream_new(e, ENGINE_LEN_UNKNOWN, 600000, 50000, 2));
    engine_stream *s = stream_new(e, 300000, 300000, 50000, 3);
    ok(engine_stream_sync(s, a, &ref));
    engine_stream_abort(s);
    s = stream_new(e, 300000, 300000, 50000, 4);
    ok(engine_stream_sync(s, a, &ref));
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, S("other"), ref);
    engine_txn_adopt(t, s);
    engine_txn_abort(t);
    engine_get_stats(e, &after);
    assert_int_equal(after.stream_bytes_live, 100000);
    e = reopen(e);
    expect_none(e, ENGINE_BLOB, "other");
    expect_sound(e);
    engine_close(e);
    arena_free(a);
}

static void released_streams_are_given_back(void **state) {
    (void)state;
    engine *e = fresh();
    arena *a = arena_new(65536, 0);
    slice refs[8];
    for (size_t i = 0; i < 8; i++) {
        char key[8] = {'k', (char)('0' + i), 0};
        refs[i] = stream_keep(e, key, 400000, 400000, 65536, i, a);
    }
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    for (size_t i = 0; i < 8; i += 2) engine_txn_release(t, refs[i]);
    ok(engine_txn_commit(t));
    engine_stats s;
    engine_get_stats(e, &s);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 1; i < 8; i += 2) expect_stream(e, refs[i], i, 400000);
        expect_sound(e);
        e = reopen(e);
    }
    /* A release that is not committed releases nothing. */
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_release(t, refs[1]);
    engine_txn_abort(t);
    e = reopen(e);
    expect_stream(e, refs[1], 1, 400000);
    /* A reference that is none makes the whole transaction fail. */
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, S("with it"), S("v"));
    engine_txn_release(t, S("not a reference"));
    assert_int_equal(engine_txn_commit(t), ERR_CORRUPT);
    expect_none(e, ENGINE_BLOB, "with it");
    arena_free(a);
    engine_close(e);
}

static void *upload(void *arg) {
    const worker *w = arg;
    arena *a = arena_new(65536, 0);
    for (uint64_t i = 0; i < 6; i++) {
        char key[32];
        snprintf(key, sizeof key, "up-%u-%llu", w->number, (unsigned long long)i);
        const uint64_t len = 1000 + 70001 * i, seed = w->number * 100 + i;
        slice ref = stream_keep(w->e, key, i % 2 ? len : ENGINE_LEN_UNKNOWN, len, 16400, seed, a);
        expect_stream(w->e, ref, seed, len);
    }
    arena_free(a);
    return NULL;
}

static void streams_are_written_side_by_side(void **state) {
    (void)state;
    engine *e = fresh();
    pthread_t threads[16];
    worker w[16];
    for (unsigned i = 0; i < 16; i++) {
        w[i] = (worker){e, i, true};
        assert_int_equal(pthread_create(&threads[i], NULL, upload, &w[i]), 0);
    }
    for (unsigned i = 0; i < 16; i++) pthread_join(threads[i], NULL);
    expect_sound(e);
    e = reopen(e);
    expect_sound(e);
    engine_close(e);
}

/* ---- vault and ids ---- */

typedef struct seen_slots {
    uint64_t ids[8], slots[8];
    size_t count;
    err answer;
} seen_slots;

static err see_slot(void *ctx, uint64_t id, uint64_t slot) {
    seen_slots *s = ctx;
    assert_true(s->count < ARRAY_LEN(s->ids));
    s->ids[s->count] = id;
    s->slots[s->count++] = slot;
    return s->answer;
}

/* Every slot in use is met once, with its id; those that were destroyed are not. */
static void the_vault_tells_its_slots(void **state) {
    (void)state;
    engine *e = fresh();
    uint64_t slots[4];
    seen_slots seen = {0};
    ok(engine_vault_each(e, see_slot, &seen));
    assert_int_equal(seen.count, 0);
    for (uint64_t i = 0; i < 4; i++) ok(engine_vault_put(e, 10 + i, S("secret"), &slots[i]));
    ok(engine_vault_destroy(e, 12, slots[2]));
    e = reopen(e);
    ok(engine_vault_each(e, see_slot, &seen));
    assert_int_equal(seen.count, 3);
    for (size_t i = 0; i < seen.count; i++) {
        assert_true(seen.ids[i] >= 10 && seen.ids[i] <= 13 && seen.ids[i] != 12);
        assert_true(seen.slots[i] == slots[seen.ids[i] - 10]);
        for (size_t k = 0; k < i; k++) assert_true(seen.ids[k] != seen.ids[i]);
    }
    seen = (seen_slots){.answer = ERR_CANCELLED};
    assert_int_equal(engine_vault_each(e, see_slot, &seen), ERR_CANCELLED);
    assert_int_equal(seen.count, 1);
    expect_sound(e);
    engine_close(e);
}

static void the_vault_keeps_and_destroys(void **state) {
    (void)state;
    engine *e = fresh();
    arena *a = arena_new(65536, 0);
    uint8_t long_secret[ENGINE_VAULT_SECRET_MAX];
    pattern(long_secret, sizeof long_secret, 5, 0);
    uint64_t slot1, slot2, slot3;
    slice got;
    ok(engine_vault_put(e, 1, S("s"), &slot1));
    ok(engine_vault_put(e, 2, slice_of(long_secret, sizeof long_secret), &slot2));
    assert_int_not_equal(slot1, slot2);
    for (int round = 0; round < 2; round++) {
        ok(engine_vault_get(e, 1, slot1, a, &got));
        assert_true(slice_eq(got, S("s")));
        ok(engine_vault_get(e, 2, slot2, a, &got));
        assert_true(slice_eq(got, slice_of(long_secret, sizeof long_secret)));
        assert_int_equal(engine_vault_get(e, 2, slot1, a, &got), ERR_CORRUPT);
        e = reopen(e);
    }
    ok(engine_vault_destroy(e, 2, slot1)); /* another's: left alone */
    ok(engine_vault_get(e, 1, slot1, a, &got));
    ok(engine_vault_destroy(e, 1, slot1));
    ok(engine_vault_destroy(e, 1, slot1));
    assert_int_equal(engine_vault_get(e, 1, slot1, a, &got), ERR_KEY_DESTROYED);
    e = reopen(e);
    assert_int_equal(engine_vault_get(e, 1, slot1, a, &got), ERR_KEY_DESTROYED);
    uint64_t seen[50];
    for (uint64_t i = 0; i < 50; i++) { /* slots are used again, each by one */
        ok(engine_vault_put(e, 100 + i, S("again"), &slot3));
        assert_int_not_equal(slot3, slot2);
        for (uint64_t j = 0; j < i; j++) assert_int_not_equal(seen[j], slot3);
        seen[i] = slot3;
    }
    assert_int_equal(engine_vault_get(e, 1, UINT64_MAX, a, &got), ERR_CORRUPT);
    ok(engine_vault_get(e, 2, slot2, a, &got));
    expect_sound(e);
    arena_free(a);
    engine_close(e);
}

static void ids_rise(void **state) {
    (void)state;
    engine *e = fresh();
    uint64_t last = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            const uint64_t id = engine_new_id(e);
            assert_true(id > last);
            last = id;
        }
        e = reopen(e);
    }
    engine_close(e);
}

/* ---- a killed process ---- */

/* Commits rows and streams, one a transaction, and says each number when it is durable; never ends.
 */
static void work_until_killed(int out) {
    engine *e;
    MUST(open_engine(false, &e) == OK);
    arena *a = arena_new(65536, 0);
    for (uint64_t i = 0;; i++) {
        engine_stream *s =
            stream_new(e, i % 2 ? ENGINE_LEN_UNKNOWN : 50000 + i, 50000 + i, 16400, i);
        engine_stream *unused = stream_new(e, 90000, 70000, 16400, i);
        slice ref;
        MUST(engine_stream_sync(s, a, &ref) == OK);
        char key[32], id[32];
        snprintf(key, sizeof key, "w-%08llu", (unsigned long long)i);
        snprintf(id, sizeof id, "%llu", (unsigned long long)engine_new_id(e));
        engine_txn *t;
        MUST(engine_txn_begin(e, slice_str(key), &t) == OK);
        engine_txn_put(t, ENGINE_BLOB, slice_str(key), ref);
        engine_txn_put(t, ENGINE_META, slice_str(key), slice_str(id));
        if (i >= 4) { /* the one four before goes */
            char old[32];
            slice old_ref;
            snprintf(old, sizeof old, "w-%08llu", (unsigned long long)i - 4);
            MUST(engine_get(e, ENGINE_BLOB, slice_str(old), a, false, &old_ref) == OK);
            engine_txn_delete(t, ENGINE_BLOB, slice_str(old));
            engine_txn_release(t, old_ref);
        }
        engine_txn_adopt(t, s);
        MUST(engine_txn_commit(t) == OK);
        if (write(out, &i, sizeof i) != sizeof i) _exit(1);
        if (i % 3) engine_stream_abort(unused); /* or it is left as it is */
        arena_reset(a);
    }
}

/* The child is this program again: an engine's threads do not survive a fork. */
static uint64_t run_and_kill(useconds_t after_us) {
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    char out[16];
    snprintf(out, sizeof out, "%d", pipes[1]);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        setenv("ENGINE_SUITE_CHILD", suite_name, 1);
        setenv("ENGINE_SUITE_OUT", out, 1);
        execl("/proc/self/exe", "engine-suite-child", (char *)NULL);
        _exit(1);
    }
    close(pipes[1]);
    uint64_t last = 0, n;
    assert_int_equal(read(pipes[0], &n, sizeof n), sizeof n); /* it works */
    usleep(after_us);
    kill(child, SIGKILL);
    while (read(pipes[0], &n, sizeof n) == sizeof n) last = n;
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

static void what_was_acknowledged_survives(void **state) {
    (void)state;
    static const useconds_t delays[] = {0, 30000, 100000};
    for (size_t round = 0; round < ARRAY_LEN(delays); round++) {
        engine_close(fresh());
        const uint64_t last = run_and_kill(delays[round]);
        engine *e;
        ok(open_engine(false, &e));
        arena *a = arena_new(65536, 0);
        uint64_t id_max = 0;
        for (uint64_t i = 0; i <= last; i++) {
            char key[32];
            slice value;
            uint64_t id;
            snprintf(key, sizeof key, "w-%08llu", (unsigned long long)i);
            ok(engine_get(e, ENGINE_META, slice_str(key), a, false, &value));
            ok(slice_u64(value, &id));
            assert_true(id > id_max);
            id_max = id;
            if (i + 4 <= last) { /* at least the last acknowledged has released it */
                expect_none(e, ENGINE_BLOB, key);
                continue;
            }
            const err got = engine_get(e, ENGINE_BLOB, slice_str(key), a, false, &value);
            /* One more may have been committed and not said. */
            if (got == ERR_NOT_FOUND && i + 3 == last) continue;
            ok(got);
            expect_stream(e, value, i, 50000 + i);
        }
        assert_true(engine_new_id(e) > id_max);
        expect_sound(e);
        e = reopen(e);
        expect_sound(e);
        engine_close(e);
        arena_free(a);
    }
}

int engine_suite_run(const char *name, err (*open)(bool fresh, engine **ret)) {
    open_engine = open;
    suite_name = name;
    const char *child = getenv("ENGINE_SUITE_CHILD");
    if (child != NULL) {
        uint64_t out = 0;
        if (strcmp(child, name) != 0) return 0;
        MUST(slice_u64(slice_str(getenv("ENGINE_SUITE_OUT")), &out) == OK);
        work_until_killed((int)out);
    }
    print_message("engine suite: %s\n", name);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_allowed),
        cmocka_unit_test(rows_are_kept),
        cmocka_unit_test(rows_may_be_large),
        cmocka_unit_test(a_transaction_is_whole_or_nothing),
        cmocka_unit_test(scans_are_in_order),
        cmocka_unit_test(nowait_answers_from_memory),
        cmocka_unit_test(the_log_is_in_the_order_of_commits),
        cmocka_unit_test(the_log_is_trimmed_from_its_front),
        cmocka_unit_test(the_log_is_trimmed_exactly),
        cmocka_unit_test(entries_may_be_large),
        cmocka_unit_test(each_commit_has_its_entry),
        cmocka_unit_test(a_shard_is_changed_by_one_at_a_time),
        cmocka_unit_test(commits_share_batches),
        cmocka_unit_test(a_taken_shard_is_not_waited_for),
        cmocka_unit_test(outcomes_are_told_later),
        cmocka_unit_test(closing_tells_all_outcomes),
        cmocka_unit_test(streams_come_back),
        cmocka_unit_test(streams_are_read_in_parts),
        cmocka_unit_test(what_is_not_adopted_is_gone),
        cmocka_unit_test(released_streams_are_given_back),
        cmocka_unit_test(streams_are_written_side_by_side),
        cmocka_unit_test(the_vault_keeps_and_destroys),
        cmocka_unit_test(the_vault_tells_its_slots),
        cmocka_unit_test(ids_rise),
        cmocka_unit_test(what_was_acknowledged_survives),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
