/* Large content kept opened in memory: what is read again comes from there, what was dropped never
 * stays, and what is being sent is neither changed nor more than the bound. */
#include "store_test.h"

#include "memory_engine.c"

#define MIB ((size_t)1 << 20)

static opened_cache *cache_of(fixture *f) {
    return &f->s->opened;
}

static store_reader *open_blob(fixture *f, slice name) {
    store_blob b;
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &b, &r));
    return r;
}

/* The range in parts, which must be `data`'s; 0 parts when it is not given this way. */
static size_t parts(fixture *f, store_reader *r, slice data, uint64_t first, uint64_t count) {
    slice part[STORE_PARTS_MAX], rest = slice_take(slice_skip(data, first), count);
    size_t n;
    assert_ok(store_reader_opened(r, first, count, false, part, &n));
    assert_true(cache_of(f)->used <= cache_of(f)->max);
    for (size_t i = 0; i < n; i++) {
        assert_slice(part[i], slice_take(rest, part[i].len));
        rest = slice_skip(rest, part[i].len);
    }
    assert_true(n == 0 || rest.len == 0);
    return n;
}

static size_t read_parts(fixture *f, slice name, slice data, uint64_t first, uint64_t count) {
    store_reader *r = open_blob(f, name);
    size_t n = parts(f, r, data, first, count);
    store_reader_free(r);
    return n;
}

/* Twice: the second time it is linked. */
static void warm(fixture *f, slice name, slice data) {
    assert_true(read_parts(f, name, data, 0, data.len) > 0);
    assert_true(read_parts(f, name, data, 0, data.len) > 0);
}

static void test_from_memory(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 1, 5 * MIB / 2), part[STORE_PARTS_MAX];
    size_t n;
    put(f, S("x"), data);
    assert_int_equal(read_parts(f, S("x"), data, 0, data.len), 3);
    assert_int_equal(cache_of(f)->count, 0); /* once is not enough */
    assert_int_equal(read_parts(f, S("x"), data, 0, data.len), 3);
    assert_int_equal(cache_of(f)->count, 3);
    store_reader *r = open_blob(f, S("x"));
    memory_disk_set_cold(f->disk, true);
    assert_ok(store_reader_opened(r, 0, data.len, true, part, &n));
    assert_int_equal(n, 3);
    assert_slice(part[2], slice_skip(data, 2 * MIB));
    memory_disk_set_cold(f->disk, false);
    store_reader_free(r);
    store_stats st;
    store_get_stats(f->s, &st);
    assert_true(st.opened.hits == 3 && st.opened.misses == 6);
    assert_true(st.opened.bytes >= data.len && st.opened.bytes <= st.opened.bytes_max);
    /* Reading piece by piece finds it too. */
    r = open_blob(f, S("x"));
    memory_disk_set_cold(f->disk, true);
    uint8_t out[1000];
    assert_ok(store_reader_read(r, MIB - 500, out, sizeof out, true, &n));
    assert_slice(slice_of(out, n), slice_take(slice_skip(data, MIB - 500), 500));
    assert_ok(store_reader_read(r, MIB, out, sizeof out, true, &n));
    assert_slice(slice_of(out, n), slice_take(slice_skip(data, MIB), 1000));
    memory_disk_set_cold(f->disk, false);
    store_reader_free(r);
}

static void test_ranges(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 2, 4 * MIB + 12345);
    put(f, S("x"), data);
    static const struct {
        uint64_t first, count;
    } ranges[] = {{0, MIB},           {MIB - 1, MIB + 2},   {MIB / 2, MIB},
                  {4 * MIB, 12345},   {3 * MIB, 1012345},   {17, 4 * MIB},
                  {2 * MIB - 1, MIB}, {4 * MIB - 9, 12354}, {0, 4 * MIB + 12345}};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
            size_t n = read_parts(f, S("x"), data, ranges[i].first, ranges[i].count);
            assert_true(n > 0 ||
                        round == 0); /* at first some are not worth opening what they touch */
        }
    }
}

/* Of a megabyte that is not there, a few bytes are not worth opening it; when it is, they are. */
static void test_small_ranges(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 3, 2 * MIB);
    put(f, S("x"), data);
    assert_int_equal(read_parts(f, S("x"), data, 5, 1000), 0);
    assert_int_equal(cache_of(f)->used, 0);
    warm(f, S("x"), data);
    assert_int_equal(read_parts(f, S("x"), data, 5, 1000), 1);
    assert_int_equal(read_parts(f, S("x"), data, MIB - 5, 10), 2);
    assert_int_equal(read_parts(f, S("x"), data, 7, 0), 0);
}

static void test_block_list(void **state) {
    fixture *f = *state;
    store_blob b;
    uint8_t whole[3 * MIB];
    static const size_t sizes[] = {10, 20000, 700000, 1, 1100000, 32768, 40000};
    store_block_pick picks[ARRAY_LEN(sizes)];
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        slice data = content(f->c.arena, i, sizes[i]), id = arena_fmt(f->c.arena, "%zu", i);
        assert_ok(try_block(f, S("x"), id, data));
        memcpy(whole + at, data.p, data.len);
        at += data.len;
        picks[i] = (store_block_pick){id, STORE_BLOCK_LATEST};
    }
    assert_ok(try_commit(f, S("x"), picks, ARRAY_LEN(sizes), &b));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_parts(f, S("x"), slice_of(whole, at), 0, at), 2);
        assert_int_equal(read_parts(f, S("x"), slice_of(whole, at), 600000, 1000000), 2);
    }
    assert_int_equal(cache_of(f)->count, 2);
}

/* Nothing of a blob that changed, not even as spare memory; its readers keep what they have. */
static void test_overwritten_and_deleted(void **state) {
    fixture *f = *state;
    slice old = content(f->c.arena, 4, MIB + 99), new = content(f->c.arena, 5, MIB + 99);
    put(f, S("x"), old);
    warm(f, S("x"), old);
    store_reader *r = open_blob(f, S("x"));
    slice part[STORE_PARTS_MAX];
    size_t n;
    assert_ok(store_reader_opened(r, 0, old.len, false, part, &n));
    put(f, S("x"), new);
    assert_int_equal(cache_of(f)->count, 0);
    assert_int_equal(cache_of(f)->spare_count, 0);
    warm(f, S("x"), new);
    assert_slice(part[0], slice_take(old, MIB));
    assert_slice(part[1], slice_skip(old, MIB));
    store_reader_free(r);
    /* Properties are not content. */
    store_blob b;
    pair meta = {S("k"), S("v")};
    assert_ok(store_blob_set_metadata(f->s, f->c, f->k, S("x"), NULL, &meta, 1, &b));
    assert_int_equal(cache_of(f)->count, 2);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_int_equal(cache_of(f)->used, 0);
}

/* A reader of a state that is gone opens it still, and leaves nothing. */
static void test_late_reader(void **state) {
    fixture *f = *state;
    slice old = content(f->c.arena, 6, 2 * MIB);
    put(f, S("x"), old);
    warm(f, S("x"), old);
    store_reader *r = open_blob(f, S("x"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_int_equal(cache_of(f)->used, 0);
    assert_int_equal(parts(f, r, old, 0, old.len), 2);
    assert_int_equal(cache_of(f)->count, 0);
    store_reader_free(r);
    assert_int_equal(cache_of(f)->used, 0);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
}

/* An answer that goes out from memory does not hold back the space on disk. */
static void test_disk_is_given_back(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 7, MIB);
    put(f, S("x"), data);
    store_reader *r = open_blob(f, S("x"));
    assert_int_equal(parts(f, r, data, 0, data.len), 1);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    store_reader_free(r);
}

static void test_deleted_container(void **state) {
    fixture *f = *state;
    const store_container *other;
    slice data = content(f->c.arena, 8, MIB);
    assert_ok(store_container_create(f->s, f->c, f->a, S("other"), STORE_PRIVATE, NULL, 0, &other));
    put(f, S("x"), data);
    warm(f, S("x"), data);
    const store_container *box = f->k;
    f->k = other;
    put(f, S("y"), data);
    warm(f, S("y"), data);
    f->k = box;
    store_reader *late = open_blob(f, S("x"));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    assert_int_equal(cache_of(f)->count, 1);
    assert_int_equal(parts(f, late, data, 0, data.len), 1);
    store_reader_free(late);
    assert_int_equal(cache_of(f)->count, 1);
    for (opened_segment *s = cache_of(f)->spare; s; s = s->next)
        assert_true(s->container == other->id);
    f->k = other;
    memory_disk_set_cold(f->disk, false);
    assert_int_equal(read_parts(f, S("y"), data, 0, data.len), 1);
    f->k = box;
    store_container_unref(other);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_int_equal(cache_of(f)->used, 0);
}

static void test_bound(void **state) {
    fixture *f = *state;
    cache_of(f)->max = 5 * MIB;
    slice data[12];
    store_reader *held[12] = {0};
    for (size_t i = 0; i < 12; i++) {
        data[i] = content(f->c.arena, 100 + i, MIB - i * 70000);
        put(f, arena_fmt(f->c.arena, "%zu", i), data[i]);
    }
    for (int round = 0; round < 40; round++) /* more than fits, in an order with neighbours */
        for (size_t i = 0; i < 12; i++)
            for (int again = 0; again < 2; again++) {
                slice name = arena_fmt(f->c.arena, "%zu", (i * (size_t)(round + 1)) % 12);
                size_t which = (i * (size_t)(round + 1)) % 12;
                assert_int_equal(read_parts(f, name, data[which], 0, data[which].len), 1);
            }
    assert_true(cache_of(f)->count >= 3);
    /* Answers that nobody reads hold all of it: others are answered without. */
    size_t with = 0;
    for (size_t i = 0; i < 12; i++) {
        held[i] = open_blob(f, arena_fmt(f->c.arena, "%zu", i));
        with += parts(f, held[i], data[i], 0, data[i].len);
    }
    assert_true(with >= 4 && with < 12);
    for (size_t i = 0; i < 12; i++) assert_slice(get(f, arena_fmt(f->c.arena, "%zu", i)), data[i]);
    for (size_t i = 0; i < 12; i++) store_reader_free(held[i]);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(read_parts(f, arena_fmt(f->c.arena, "%zu", i), data[i], 0, data[i].len),
                         1);
}

static void test_none_is_kept(void **state) {
    fixture *f = *state;
    cache_of(f)->max = 1;
    slice data = content(f->c.arena, 9, MIB);
    put(f, S("x"), data);
    assert_int_equal(read_parts(f, S("x"), data, 0, data.len), 0);
    assert_slice(get(f, S("x")), data);
    assert_int_equal(cache_of(f)->used, 0);
}

static void test_damage(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 10, MIB), part[STORE_PARTS_MAX];
    size_t n;
    put(f, S("x"), data);
    assert_true(memory_disk_damage_stream(f->disk, 0));
    store_reader *r = open_blob(f, S("x"));
    assert_err(store_reader_opened(r, 0, data.len, false, part, &n), ERR_CORRUPT);
    store_reader_free(r);
    assert_int_equal(cache_of(f)->count, 0);
}

/* More than one segment is not opened where blocking is forbidden, even if it were there. */
static void test_loops_are_spared(void **state) {
    fixture *f = *state;
    slice data = content(f->c.arena, 11, 2 * MIB), part[STORE_PARTS_MAX];
    size_t n;
    put(f, S("x"), data);
    store_reader *r = open_blob(f, S("x"));
    assert_err(store_reader_opened(r, 0, 2 * MIB, true, part, &n), ERR_WOULD_BLOCK);
    assert_ok(store_reader_opened(r, 0, MIB, true, part, &n));
    assert_int_equal(n, 1);
    store_reader_free(r);
}

/* ---- the cache itself ---- */

static opened_segment *filled(opened_cache *o, opened_segment name, uint8_t with) {
    name.version = opened_version(o, name.blob);
    opened_segment *s = opened_room(o, &name);
    assert_non_null(s);
    memset(s->p, with, s->len);
    return s;
}

static void test_memory_is_wiped(void **state) {
    (void)state;
    opened_cache o;
    opened_init(&o, 8 * MIB);
    opened_segment *s = filled(&o, (opened_segment){.blob = 1, .content = 2, .len = 200000}, 7);
    uint8_t *p = s->p;
    opened_unref(&o, s);
    assert_true(o.spare == s && o.used == 4 * 65536);
    /* Its memory is the next one's, and of what stood there nothing is left behind the end. */
    s = filled(&o, (opened_segment){.blob = 3, .content = 4, .len = 196700}, 8);
    assert_ptr_equal(s->p, p);
    for (size_t i = s->len; i < s->cap; i++) assert_int_equal(p[i], 0);
    opened_drop_blob(&o, 3);
    opened_unref(&o, s); /* dropped while it was being sent: no spare */
    assert_true(o.spare_count == 0 && o.used == 0);
    s = filled(&o, (opened_segment){.blob = 3, .content = 4, .len = 5}, 8);
    opened_unref(&o, s);
    opened_drop_blob(&o, 1);
    assert_int_equal(o.spare_count, 1);
    opened_drop_blob(&o, 3);
    assert_true(o.spare_count == 0 && o.used == 0);
    opened_done(&o);
}

/* An append blob's content grows behind what stands: the longer one takes the shorter one's place. */
static void test_grown_content(void **state) {
    (void)state;
    opened_cache o;
    opened_init(&o, 8 * MIB);
    for (size_t len = 1000; len <= 3000; len += 1000) {
        for (int i = 0; i < 2; i++) {
            opened_segment *s =
                filled(&o, (opened_segment){.blob = 1, .content = 2, .len = len}, 7);
            opened_add(&o, s);
            opened_unref(&o, s);
        }
        assert_int_equal(o.count, 1);
        assert_null(opened_get(&o, 1, 2, 0, len + 1));
        opened_segment *s = opened_get(&o, 1, 2, 0, len - 1);
        assert_true(s && s->len == len);
        opened_unref(&o, s);
    }
    opened_done(&o);
}

/* What is asked for stays when others come by once. */
static void test_scan(void **state) {
    (void)state;
    opened_cache o;
    opened_init(&o, 8 * MIB);
    for (uint64_t i = 0; i < 1000; i++) {
        for (uint64_t keep = 1; keep <= 4; keep++) {
            opened_segment *s = opened_get(&o, keep, 1, 0, MIB);
            assert_true(s || i < 2);
            if (!s) {
                s = filled(&o, (opened_segment){.blob = keep, .content = 1, .len = MIB}, 1);
                opened_add(&o, s);
            }
            opened_unref(&o, s);
        }
        opened_segment *s =
            filled(&o, (opened_segment){.blob = 9, .content = 9 + i, .len = MIB}, 2);
        opened_add(&o, s);
        opened_unref(&o, s);
        assert_true(o.used <= o.max);
    }
    assert_int_equal(o.count, 4);
    opened_done(&o);
}

/* ---- threads ---- */

#define THREADS 4
#define NAMES   3
#define TIMES   150

typedef struct shared {
    fixture *f;
    _Atomic unsigned running;
    slice versions[8];
} shared;

/* All parts must be of one version. */
static void expect_one_version(const shared *sh, const slice *part, size_t n, uint64_t first) {
    size_t hit = 0;
    for (size_t v = 0; v < ARRAY_LEN(sh->versions); v++) {
        uint64_t at = first;
        bool same = true;
        for (size_t i = 0; i < n && same; at += part[i].len, i++)
            same = slice_eq(part[i], slice_take(slice_skip(sh->versions[v], at), part[i].len));
        hit += same;
    }
    assert_int_equal(hit, 1);
}

static void *read_main(void *arg) {
    shared *sh = arg;
    fixture *f = sh->f;
    arena *a = arena_new(4096, 0);
    rng r = {(uint64_t)(uintptr_t)&a};
    for (int i = 0; i < TIMES; i++) {
        arena_reset(a);
        store_call c = {.arena = a};
        slice name = arena_fmt(a, "%d", (int)(rng_next(&r) % NAMES)), part[STORE_PARTS_MAX];
        store_blob b;
        store_reader *reader;
        size_t n;
        err e = store_blob_open(f->s, c, f->k, name, STORE_CURRENT, NULL, &b, &reader);
        if (e == ERR_BLOB_NOT_FOUND) continue;
        assert_ok(e);
        uint64_t first = rng_next(&r) % 1000;
        assert_ok(store_reader_opened(reader, first, b.length - first, false, part, &n));
        if (n > 0) expect_one_version(sh, part, n, first);
        store_reader_free(reader);
    }
    arena_free(a);
    atomic_fetch_sub(&sh->running, 1);
    return NULL;
}

static void test_threads(void **state) {
    fixture *f = *state;
    static shared sh;
    sh = (shared){.f = f, .running = THREADS};
    cache_of(f)->max = 5 * MIB;
    for (size_t i = 0; i < ARRAY_LEN(sh.versions); i++)
        sh.versions[i] = content(f->c.arena, 50 + i, MIB + MIB / 8);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_main, &sh), 0);
    rng r = {1};
    while (atomic_load(&sh.running) > 0) {
        slice name = arena_fmt(f->c.arena, "%d", (int)(rng_next(&r) % NAMES));
        if (rng_next(&r) % 4 == 0 && exists(f, name) == OK)
            assert_ok(store_blob_delete(f->s, f->c, f->k, name, NULL, NULL, NULL));
        else
            put(f, name, sh.versions[rng_next(&r) % ARRAY_LEN(sh.versions)]);
        reaper_run(f->s);
        assert_true(cache_of(f)->max >= 5 * MIB);
    }
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < NAMES; i++) {
        slice name = arena_fmt(f->c.arena, "%d", i);
        if (exists(f, name) == OK)
            assert_ok(store_blob_delete(f->s, f->c, f->k, name, NULL, NULL, NULL));
    }
    assert_int_equal(cache_of(f)->used, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_from_memory),
        T(test_ranges),
        T(test_small_ranges),
        T(test_block_list),
        T(test_overwritten_and_deleted),
        T(test_late_reader),
        T(test_disk_is_given_back),
        T(test_deleted_container),
        T(test_bound),
        T(test_none_is_kept),
        T(test_damage),
        T(test_loops_are_spared),
        T(test_threads),
#undef T
        cmocka_unit_test(test_memory_is_wiped),
        cmocka_unit_test(test_grown_content),
        cmocka_unit_test(test_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
