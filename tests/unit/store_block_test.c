/* Staged blocks and block lists: what they hold, what they keep of each other, what goes when. */
#include "store_test.h"

#include "memory_engine.c"

#define BIG   100000 /* a stream */
#define SMALL 500    /* a row */

static slice joined(fixture *f, const slice *parts, size_t n) {
    buf b;
    buf_init_arena(&b, f->c.arena, 1 << 30);
    for (size_t i = 0; i < n; i++) buf_put(&b, parts[i]);
    return buf_slice(&b);
}

/* Nothing is left but what `blobs` current blobs need. */
static void assert_rest(fixture *f, size_t streams, size_t content_rows, size_t block_rows) {
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), streams);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), content_rows);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOCK), block_rows);
}

static void test_commit(void **state) {
    fixture *f = *state;
    slice a = content(f->c.arena, 1, BIG), b = content(f->c.arena, 2, SMALL),
          c = content(f->c.arena, 3, BIG + 1), e = SLICE_NONE;
    assert_ok(try_block(f, S("x"), S("aa"), a));
    assert_ok(try_block(f, S("x"), S("bb"), b));
    assert_ok(try_block(f, S("x"), S("cc"), c));
    assert_ok(try_block(f, S("x"), S("ee"), e));
    assert_err(exists(f, S("x")), ERR_BLOB_NOT_FOUND);
    store_block_pick picks[] = {LATEST("cc"), UNCOMMITTED("aa"), LATEST("ee"), LATEST("bb"),
                                LATEST("aa")};
    store_blob blob, g;
    assert_ok(try_commit(f, S("x"), picks, 5, &blob));
    slice parts[] = {c, a, b, a}, all = joined(f, parts, 4);
    assert_int_equal(blob.length, all.len);
    assert_int_equal(blob.block_count, 5);
    assert_true(blob.has_crc64 && blob.crc64 == crc64(0, all));
    assert_slice(get(f, S("x")), all);
    assert_slice(get_sized(f, S("x"), 777), all);
    assert_slice(get_sized(f, S("x"), 300000), all);
    assert_rest(f, 2, 1, 1);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
    fixture_restart(f);
    assert_slice(get(f, S("x")),
                 joined(f,
                        (slice[]){content(f->c.arena, 3, BIG + 1), content(f->c.arena, 1, BIG),
                                  content(f->c.arena, 2, SMALL), content(f->c.arena, 1, BIG)},
                        4));
    assert_ok(store_blob_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &g));
    assert_int_equal(g.block_count, 5);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_rest(f, 0, 0, 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 0);
}

static void test_ids(void **state) {
    fixture *f = *state;
    store_blob b;
    static uint8_t id[65];
    memset(id, 0, sizeof id);
    assert_err(try_block(f, S("x"), S(""), S("1")), ERR_INVALID_QUERY_PARAMETER_VALUE);
    assert_err(try_block(f, S("x"), slice_of(id, 65), S("1")), ERR_INVALID_QUERY_PARAMETER_VALUE);
    assert_ok(try_block(f, S("x"), slice_of(id, 64), S("1"))); /* NUL bytes are bytes */
    assert_err(try_block(f, S("x"), slice_of(id, 63), S("1")), ERR_INVALID_BLOB_OR_BLOCK);
    store_block_pick pick = {slice_of(id, 64), STORE_BLOCK_LATEST};
    assert_ok(try_commit(f, S("x"), &pick, 1, &b));
    /* The ids of committed blocks count as well. */
    assert_err(try_block(f, S("x"), S("short"), S("1")), ERR_INVALID_BLOB_OR_BLOCK);
    id[5] = 1;
    assert_ok(try_block(f, S("x"), slice_of(id, 64), S("2")));
    assert_slice(get(f, S("x")), S("1"));
    /* After Put Blob they do not. */
    put(f, S("x"), S("whole"));
    assert_ok(try_block(f, S("x"), S("short"), S("1")));
    store_upload *u = upload(f, S("1"), 1);
    assert_err(store_block_put(f->s, f->c, f->k, S("x"), S("short"), u, S("0123456789abcdef")),
               ERR_LEASE_NOT_PRESENT_WITH_BLOB_OPERATION);
    store_upload_free(u);
}

static void test_missing_blocks(void **state) {
    fixture *f = *state;
    store_blob b;
    assert_ok(try_block(f, S("x"), S("1"), S("one")));
    store_block_pick none = LATEST("2"), committed = COMMITTED("1"), ok = UNCOMMITTED("1");
    assert_err(try_commit(f, S("x"), &none, 1, &b), ERR_INVALID_BLOCK_LIST);
    assert_err(try_commit(f, S("x"), &committed, 1, &b), ERR_INVALID_BLOCK_LIST);
    assert_err(try_commit(f, S("other"), &ok, 1, &b), ERR_INVALID_BLOCK_LIST);
    assert_ok(try_commit(f, S("x"), &ok, 1, &b)); /* what was refused changed nothing */
    assert_err(try_commit(f, S("x"), &ok, 1, &b), ERR_INVALID_BLOCK_LIST); /* no longer staged */
    assert_ok(try_commit(f, S("x"), &committed, 1, &b));
    assert_slice(get(f, S("x")), S("one"));
    store_block_pick mixed[] = {COMMITTED("1"), COMMITTED("22")};
    assert_err(try_commit(f, S("x"), mixed, 2, &b), ERR_INVALID_BLOCK_LIST);
}

static void test_empty_list(void **state) {
    fixture *f = *state;
    store_blob b;
    assert_ok(try_block(f, S("x"), S("1"), content(f->c.arena, 1, BIG)));
    assert_ok(try_commit(f, S("x"), NULL, 0, &b));
    assert_int_equal(b.length, 0);
    assert_slice(get(f, S("x")), S(""));
    assert_rest(f, 0, 0, 0);
    assert_ok(try_commit(f, S("new"), NULL, 0, &b));
    assert_slice(get(f, S("new")), S(""));
}

/* `latest` takes the staged block of two with one id; a list may hold both. */
static void test_latest(void **state) {
    fixture *f = *state;
    store_blob b;
    store_block_pick latest = LATEST("1"), both[] = {COMMITTED("1"), UNCOMMITTED("1"), LATEST("1")};
    assert_ok(try_block(f, S("x"), S("1"), S("old")));
    assert_ok(try_commit(f, S("x"), &latest, 1, &b));
    assert_ok(try_block(f, S("x"), S("1"), S("new")));
    assert_ok(try_commit(f, S("x"), both, 3, &b));
    assert_slice(get(f, S("x")), S("oldnewnew"));
    assert_rest(f, 0, 2, 1);
    assert_ok(try_block(f, S("x"), S("1"), S("newest")));
    assert_ok(try_commit(f, S("x"), &latest, 1, &b));
    assert_slice(get(f, S("x")), S("newest"));
    assert_rest(f, 0, 1, 1);
}

static void test_put_again_replaces(void **state) {
    fixture *f = *state;
    store_blob b;
    store_block_pick pick = LATEST("1");
    assert_ok(try_block(f, S("x"), S("1"), content(f->c.arena, 1, BIG)));
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_ok(try_block(f, S("x"), S("1"), content(f->c.arena, 2, SMALL)));
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_ok(try_block(f, S("x"), S("1"), content(f->c.arena, 3, BIG)));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 0);
    assert_ok(try_commit(f, S("x"), &pick, 1, &b));
    assert_slice(get(f, S("x")), content(f->c.arena, 3, BIG));
    assert_rest(f, 1, 0, 1);
}

/* Blocks of the list before are taken over; what is not named goes. */
static void test_keep_some(void **state) {
    fixture *f = *state;
    slice parts[6];
    store_blob b;
    static const char *ids[] = {"0", "1", "2", "3", "4", "5"};
    store_block_pick picks[8];
    for (size_t i = 0; i < 6; i++) {
        parts[i] = content(f->c.arena, i, i % 2 ? BIG + i : SMALL + i);
        assert_ok(try_block(f, S("x"), slice_str(ids[i]), parts[i]));
        picks[i] = (store_block_pick){slice_str(ids[i]), STORE_BLOCK_LATEST};
    }
    picks[6] = picks[1]; /* named twice: owned once */
    picks[7] = picks[0];
    assert_ok(try_commit(f, S("x"), picks, 8, &b));
    assert_rest(f, 3, 3, 1);
    store_reader *r;
    store_blob before;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &before, &r));
    slice all = joined(
        f,
        (slice[]){parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[1], parts[0]},
        8);
    /* Keep 1 (twice again) and 2, add 6, drop the others. */
    assert_ok(try_block(f, S("x"), S("6"), content(f->c.arena, 6, BIG)));
    store_block_pick second[] = {LATEST("2"), COMMITTED("1"), LATEST("6"), LATEST("1")};
    assert_ok(try_commit(f, S("x"), second, 4, &b));
    slice now = joined(f, (slice[]){parts[2], parts[1], content(f->c.arena, 6, BIG), parts[1]}, 4);
    assert_slice(get(f, S("x")), now);
    reaper_run(f->s);
    assert_slice(read_all(f, r, all.len, 60000), all); /* the old state, whole */
    /* Now drop what both states share: the old reader still reads it. */
    put(f, S("x"), S("whole"));
    reaper_run(f->s);
    assert_slice(read_all(f, r, all.len, 60000), all);
    assert_slice(get(f, S("x")), S("whole"));
    store_reader_free(r);
    assert_rest(f, 0, 1, 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
}

static void test_put_blob_discards_blocks(void **state) {
    fixture *f = *state;
    store_blob b;
    store_block_pick pick = LATEST("1");
    assert_ok(try_block(f, S("x"), S("1"), content(f->c.arena, 1, BIG)));
    assert_ok(try_block(f, S("x"), S("2"), content(f->c.arena, 1, SMALL)));
    put(f, S("x"), S("whole"));
    assert_err(try_commit(f, S("x"), &pick, 1, &b), ERR_INVALID_BLOCK_LIST);
    assert_rest(f, 0, 1, 0);
    assert_ok(try_block(f, S("x"), S("1"), S("after")));
    reaper_run(f->s);
    assert_ok(try_commit(f, S("x"), &pick, 1, &b));
    assert_slice(get(f, S("x")), S("after"));
    assert_rest(f, 0, 1, 1);
}

static void test_uncommitted_limit(void **state) {
    fixture *f = *state;
    store_blob b;
    /* Told that 99,999 are there already. */
    assert_ok(try_block(f, S("x"), S("0"), S("a")));
    blob_key key;
    key_blob(&key, f->k->id, S("x"));
    slice value;
    row_staging st;
    engine_txn *t;
    assert_ok(engine_get(f->s->engine, ENGINE_JOB, key_staging(&key), f->c.arena, false, &value));
    assert_ok(row_staging_get(value, &st));
    st.count = STORE_UNCOMMITTED_BLOCKS_MAX - 1;
    assert_ok(engine_txn_begin(f->s->engine, key_base(&key), &t));
    engine_txn_put(t, ENGINE_JOB, key_staging(&key), ROW_ENCODE(staging, f->c.arena, &st));
    assert_ok(engine_txn_commit(t));
    assert_ok(try_block(f, S("x"), S("1"), S("b")));
    assert_err(try_block(f, S("x"), S("2"), S("c")), ERR_BLOCK_COUNT_EXCEEDS_LIMIT);
    assert_ok(try_block(f, S("x"), S("1"), S("again"))); /* replacing is no addition */
    static store_block_pick picks[STORE_COMMITTED_BLOCKS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(picks); i++) picks[i] = LATEST("1");
    assert_err(try_commit(f, S("x"), picks, ARRAY_LEN(picks), &b), ERR_BLOCK_LIST_TOO_LONG);
}

static void test_list_get(void **state) {
    fixture *f = *state;
    store_blob b;
    store_block *c, *u;
    size_t cn, un;
    bool there;
    assert_err(store_block_list_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, true, true, &b,
                                    &there, &c, &cn, &u, &un),
               ERR_BLOB_NOT_FOUND);
    assert_ok(try_block(f, S("x"), S("bb"), S("two")));
    assert_ok(try_block(f, S("x"), S("aa"), S("1")));
    assert_ok(store_block_list_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, true, true, &b,
                                   &there, &c, &cn, &u, &un));
    assert_false(there);
    assert_int_equal(cn, 0);
    assert_int_equal(un, 2);
    assert_slice(u[0].id, S("aa"));
    assert_int_equal(u[1].length, 3);
    store_block_pick picks[] = {LATEST("bb"), LATEST("aa"), LATEST("bb")};
    assert_ok(try_commit(f, S("x"), picks, 3, &b));
    assert_ok(try_block(f, S("x"), S("cc"), S("three")));
    assert_ok(store_block_list_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, true, true, &b,
                                   &there, &c, &cn, &u, &un));
    assert_true(there);
    assert_int_equal(b.length, 7);
    assert_int_equal(cn, 3);
    assert_slice(c[0].id, S("bb"));
    assert_slice(c[1].id, S("aa"));
    assert_slice(c[2].id, S("bb"));
    assert_int_equal(c[2].length, 3);
    assert_int_equal(un, 1);
    assert_ok(store_block_list_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, true, false, &b,
                                   &there, &c, &cn, &u, &un));
    assert_int_equal(un, 0);
    assert_ok(store_block_list_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, false, true, &b,
                                   &there, &c, &cn, &u, &un));
    assert_int_equal(cn, 0);
    store_conditions other = STORE_NO_CONDITIONS;
    other.if_match = S("\"0x1\"");
    assert_err(store_block_list_get(f->s, f->c, f->k, S("x"), STORE_CURRENT, &other, true, true, &b,
                                    &there, &c, &cn, &u, &un),
               ERR_CONDITION_NOT_MET);
    put(f, S("whole"), S("x"));
    assert_ok(store_block_list_get(f->s, f->c, f->k, S("whole"), STORE_CURRENT, NULL, true, true,
                                   &b, &there, &c, &cn, &u, &un));
    assert_true(there && cn == 0 && un == 0);
}

static void test_expiry(void **state) {
    fixture *f = *state;
    assert_ok(try_block(f, S("old"), S("1"), content(f->c.arena, 1, BIG)));
    int64_t between = clock_wall_us() + 1000000;
    clock_skew_us(2000000);
    assert_ok(try_block(f, S("young"), S("1"), content(f->c.arena, 1, BIG)));
    clock_skew_us(0);
    assert_ok(sweep_staged(f->s, between));
    assert_rest(f, 1, 0, 1);
    store_blob b;
    store_block_pick pick = LATEST("1");
    assert_err(try_commit(f, S("old"), &pick, 1, &b), ERR_INVALID_BLOCK_LIST);
    assert_ok(try_commit(f, S("young"), &pick, 1, &b));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 1);
}

/* 50,000 blocks, each with content: the limit exactly, over many parts. */
static void test_long_list(void **state) {
    fixture *f = *state;
    enum { N = STORE_COMMITTED_BLOCKS_MAX };
    store_block_pick *picks = calloc(N, sizeof *picks);
    char(*ids)[8] = calloc(N, 8);
    buf all;
    buf_init(&all, 1 << 30);
    arena *kept = f->c.arena;
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], 8, "%06zu", i);
        arena *a = f->c.arena = arena_new(4096, 0);
        slice data = content(a, i, i % 7);
        assert_ok(try_block(f, S("x"), slice_of(ids[i], 6), data));
        f->c.arena = arena_free(a);
        f->c.arena = kept;
        picks[N - 1 - i] = (store_block_pick){slice_of(ids[i], 6), STORE_BLOCK_LATEST};
    }
    for (size_t i = N; i-- > 0;) {
        arena *a = arena_new(256, 0);
        buf_put(&all, content(a, i, i % 7));
        arena_free(a);
    }
    store_blob b;
    assert_ok(try_commit(f, S("x"), picks, N, &b));
    assert_int_equal(b.length, all.len);
    assert_true(b.crc64 == crc64(0, buf_slice(&all)));
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &r));
    for (uint64_t at = 0; at < b.length; at += 9973) {
        uint8_t out[3];
        size_t n;
        assert_ok(store_reader_read(r, at, out, sizeof out, false, &n));
        assert_true(n > 0);
        assert_memory_equal(out, all.p + at, n);
    }
    store_reader_free(r);
    /* The same list again, shifted: all is taken over. */
    for (size_t i = 0; i < N; i++) picks[i].source = STORE_BLOCK_COMMITTED;
    store_block_pick first = picks[0];
    memmove(picks, picks + 1, (N - 1) * sizeof *picks);
    picks[N - 1] = first;
    reaper_run(f->s);
    size_t rows = memory_disk_rows(f->disk, ENGINE_CONTENT);
    assert_ok(try_commit(f, S("x"), picks, N, &b));
    reaper_run(f->s);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), rows);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOCK), (N + 511) / 512);
    assert_int_equal(b.length, all.len);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, NULL, NULL));
    assert_rest(f, 0, 0, 0);
    buf_done(&all);
    free(ids);
    free(picks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_commit),
        T(test_ids),
        T(test_missing_blocks),
        T(test_empty_list),
        T(test_latest),
        T(test_put_again_replaces),
        T(test_keep_some),
        T(test_put_blob_discards_blocks),
        T(test_uncommitted_limit),
        T(test_list_get),
        T(test_expiry),
        T(test_long_list),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
