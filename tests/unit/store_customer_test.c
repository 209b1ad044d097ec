/* Customer-provided keys: what is put under one opens with it only, ends with the container's key,
 * stands in no cache, and is verified as far as that goes without it. */
#include "store_test.h"

#include "memory_engine.c"

#define BIG 100000

static store_customer customer_of(uint8_t seed) {
    store_customer c;
    memset(c.key.b, seed, sizeof c.key.b);
    crypto_sha256(slice_of(c.key.b, sizeof c.key.b), c.sha256);
    return c;
}

static store_call with(fixture *f, const store_customer *customer) {
    store_call c = f->c;
    c.customer = customer;
    return c;
}

static store_upload *upload_under(fixture *f, slice data, const store_customer *customer) {
    store_upload *u;
    assert_ok(store_upload_new(f->s, f->k, data.len, STORE_PUT_BLOB_LEN_MAX, 0, &u));
    assert_ok(store_upload_under(u, with(f, customer), f->k));
    assert_ok(store_upload_write(u, data));
    assert_ok(store_upload_finish(u));
    return u;
}

static void put_under(fixture *f, slice name, slice data, const store_customer *customer) {
    store_blob b;
    assert_ok(store_blob_put(f->s, f->c, f->k, name, upload_under(f, data, customer),
                             &(store_put){0}, &b));
    assert_slice(b.key_sha256, customer_sha256(customer));
}

static void stage_under(fixture *f, slice name, slice id, slice data,
                        const store_customer *customer) {
    assert_ok(
        store_block_put(f->s, f->c, f->k, name, id, upload_under(f, data, customer), SLICE_NONE));
}

static err commit_under(fixture *f, slice name, const store_block_pick *picks, size_t n,
                        const store_customer *customer) {
    store_blob b;
    return store_block_list_put(f->s, with(f, customer), f->k, name, picks, n, &(store_put){0}, &b);
}

/* All of it with the key (NULL: without). */
static err read_under(fixture *f, slice name, const store_customer *customer, slice *ret) {
    store_blob b;
    store_reader *r;
    TRY(store_blob_open(f->s, with(f, customer), f->k, name, STORE_CURRENT, NULL, &b, &r));
    *ret = read_all(f, r, b.length, 70000);
    store_reader_free(r);
    return OK;
}

static void assert_closed(fixture *f, slice name, const store_customer *other) {
    slice data;
    assert_err(read_under(f, name, NULL, &data), ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION);
    assert_err(read_under(f, name, other, &data), ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
}

static void test_opens_with_its_key_only(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1), other = customer_of(2);
    slice sizes[] = {S(""), S("small"), content(f->c.arena, 1, BIG)}, data;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        put_under(f, S("x"), sizes[i], &mine);
        for (int again = 0; again < 3; again++) { /* no cache lets others in */
            assert_ok(read_under(f, S("x"), &mine, &data));
            assert_slice(data, sizes[i]);
            assert_closed(f, S("x"), &other);
        }
    }
    fixture_restart(f);
    assert_ok(read_under(f, S("x"), &mine, &data));
    assert_slice(data, content(f->c.arena, 1, BIG));
    put(f, S("plain"), S("data"));
    assert_err(read_under(f, S("plain"), &mine, &data),
               ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION);
    get(f, S("plain")), get(f, S("plain")); /* from memory as well */
    assert_err(read_under(f, S("plain"), &mine, &data),
               ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION);
    put_under(f, S("plain"), S("rotated"), &other); /* replacing needs no key of what goes */
    assert_ok(read_under(f, S("plain"), &other, &data));
    put(f, S("plain"), S("plain again"));
    assert_slice(get(f, S("plain")), S("plain again"));
}

/* The rows alone say which key: were they changed, the content would not open. */
static void test_hash_is_no_key(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1), forged = mine;
    forged.key.b[0] ^= 1; /* claims to be mine */
    slice data;
    put_under(f, S("x"), S("small"), &mine);
    assert_err(read_under(f, S("x"), &forged, &data), ERR_CORRUPT);
    crypto_key kek, without = {{0}};
    customer_kek(&container_of(f->k)->secret->key, &mine, &kek);
    assert_memory_not_equal(kek.b, container_of(f->k)->secret->key.b, sizeof kek.b);
    customer_kek(&without, &mine, &forged.key); /* the customer's key without the container's */
    assert_memory_not_equal(kek.b, forged.key.b, sizeof kek.b);
    /* HMAC-SHA256(container's key, "cpk" and the customer's key) */
    uint8_t text[35] = "cpk", expected[32];
    memcpy(text + 3, mine.key.b, 32);
    crypto_hmac_sha256(slice_of(container_of(f->k)->secret->key.b, 32), slice_of(text, 35),
                       expected);
    assert_memory_equal(kek.b, expected, 32);
}

static void test_never_kept_opened(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1);
    store_blob b;
    store_reader *r;
    slice data, parts[STORE_PARTS_MAX], large = content(f->c.arena, 1, 3u << 20);
    size_t n;
    put_under(f, S("small"), S("small"), &mine);
    put_under(f, S("large"), large, &mine);
    for (int i = 0; i < 4; i++) {
        assert_ok(read_under(f, S("small"), &mine, &data));
        assert_ok(
            store_blob_open(f->s, with(f, &mine), f->k, S("large"), STORE_CURRENT, NULL, &b, &r));
        assert_ok(store_reader_opened(r, 0, large.len, false, parts, &n));
        assert_int_equal(n, 0);
        assert_slice(read_all(f, r, b.length, 1 << 20), large);
        store_reader_free(r);
    }
    assert_int_equal(f->s->opened.used, 0);
    blob_key key;
    uint64_t version;
    key_blob(&key, f->k->id, S("small"));
    assert_null(hot_get(&f->s->hot, key_base(&key), &version));
}

static void test_blocks(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1), other = customer_of(2);
    slice data, large = content(f->c.arena, 1, BIG);
    store_block_pick both[] = {LATEST("1"), LATEST("2")}, first[] = {COMMITTED("1")};
    stage_under(f, S("b"), S("1"), large, &mine);
    stage_under(f, S("b"), S("2"), S("small"), &other);
    assert_err(commit_under(f, S("b"), both, 2, &mine),
               ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
    assert_err(commit_under(f, S("b"), both, 2, NULL), ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION);
    stage_under(f, S("b"), S("2"), S("small"), NULL);
    assert_err(commit_under(f, S("b"), both, 2, &mine),
               ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION);
    stage_under(f, S("b"), S("2"), S("small"), &mine);
    assert_ok(commit_under(f, S("b"), both, 2, &mine));
    assert_ok(read_under(f, S("b"), &mine, &data));
    assert_int_equal(data.len, BIG + 5);
    assert_closed(f, S("b"), &other);
    /* blocks that stand in the blob stay under its key */
    assert_err(commit_under(f, S("b"), first, 1, &other),
               ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
    assert_err(commit_under(f, S("b"), first, 1, NULL),
               ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION);
    assert_ok(commit_under(f, S("b"), first, 1, &mine));
    assert_ok(read_under(f, S("b"), &mine, &data));
    assert_slice(data, large);
    fixture_sound(f);
    /* all new blocks: another key */
    stage_under(f, S("b"), S("3"), S("new"), &other);
    assert_ok(commit_under(f, S("b"), &UNCOMMITTED("3"), 1, &other));
    assert_ok(read_under(f, S("b"), &other, &data));
    assert_slice(data, S("new"));
    fixture_sound(f); /* with the garbage, which is under the first key */
    fixture_restart(f);
    fixture_sound(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(fixture_sound(f).unopened, 1);
}

static void test_properties(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1), other = customer_of(2);
    store_blob b;
    store_http http = {.content_type = S("a/b")};
    pair meta = {S("a"), S("1")};
    put_under(f, S("x"), S("data"), &mine);
    assert_err(store_blob_set_metadata(f->s, f->c, f->k, S("x"), NULL, &meta, 1, &b),
               ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION);
    assert_err(store_blob_set_metadata(f->s, with(f, &other), f->k, S("x"), NULL, &meta, 1, &b),
               ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
    assert_ok(store_blob_set_metadata(f->s, with(f, &mine), f->k, S("x"), NULL, &meta, 1, &b));
    assert_int_equal(b.metadata_count, 1);
    assert_err(store_blob_set_http(f->s, with(f, &other), f->k, S("x"), NULL, &http, &b),
               ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
    assert_ok(store_blob_set_http(f->s, f->c, f->k, S("x"), NULL, &http, &b));
    assert_slice(b.key_sha256, customer_sha256(&mine));
    slice data;
    assert_ok(read_under(f, S("x"), &mine, &data));
    assert_slice(data, S("data"));
    assert_err(store_blob_snapshot(f->s, f->c, f->k, S("x"), NULL, NULL, 0, &b),
               ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION);
    assert_err(store_blob_snapshot(f->s, with(f, &other), f->k, S("x"), NULL, NULL, 0, &b),
               ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
    assert_ok(store_blob_snapshot(f->s, with(f, &mine), f->k, S("x"), NULL, NULL, 0, &b));
    assert_slice(b.key_sha256, customer_sha256(&mine));
    put(f, S("plain"), S("data"));
    assert_err(store_blob_set_metadata(f->s, with(f, &mine), f->k, S("plain"), NULL, &meta, 1, &b),
               ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION);
}

static void test_check(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1);
    put(f, S("plain"), S("data"));
    assert_int_equal(fixture_sound(f).unopened, 0);
    put_under(f, S("small"), S("data"), &mine);
    put_under(f, S("large"), content(f->c.arena, 1, BIG), &mine);
    stage_under(f, S("staged"), S("1"), S("1"), &mine);
    stage_under(f, S("list"), S("1"), content(f->c.arena, 2, BIG), &mine);
    assert_ok(commit_under(f, S("list"), &LATEST("1"), 1, &mine));
    store_check_progress p = fixture_sound(f);
    assert_int_equal(p.unopened, 4);
    assert_int_equal(p.blobs, 4);
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("plain"), NULL, NULL, NULL));
    reaper_run(f->s);
    assert_true(memory_disk_lose_row(f->disk, ENGINE_CONTENT, 0));
    slice reports;
    p = fixture_check(f, &reports);
    assert_int_equal(p.defects, 1);
    assert_true(slice_find_slice(reports, 0, S("its row is missing")) < reports.len);
}

/* "Each blob snapshot or blob version can have its own encryption key." */
static void test_states(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1), other = customer_of(2);
    store_blob b;
    store_reader *r;
    slice large = content(f->c.arena, 1, BIG);
    stage_under(f, S("x"), S("1"), large, &mine);
    assert_ok(commit_under(f, S("x"), &LATEST("1"), 1, &mine));
    assert_ok(store_blob_snapshot(f->s, with(f, &mine), f->k, S("x"), NULL, NULL, 0, &b));
    store_pick taken = {.snapshot = b.snapshot};
    put_under(f, S("x"), S("new"), &other);
    assert_int_equal(fixture_sound(f).unopened, 2);
    assert_err(store_blob_open(f->s, with(f, &other), f->k, S("x"), taken, NULL, &b, &r),
               ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH);
    assert_ok(store_blob_open(f->s, with(f, &mine), f->k, S("x"), taken, NULL, &b, &r));
    assert_slice(read_all(f, r, b.length, 70000), large);
    store_reader_free(r);
    store_delete all = {.snapshots = STORE_SNAPSHOTS_INCLUDE};
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("x"), NULL, &all, NULL));
    fixture_sound(f);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    fixture_sound(f);
}

/* "Destroying the container's key still erases". */
static void test_container_goes(void **state) {
    fixture *f = *state;
    store_customer mine = customer_of(1);
    slice data;
    put_under(f, S("x"), S("data"), &mine);
    put_under(f, S("large"), content(f->c.arena, 1, BIG), &mine);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    assert_err(read_under(f, S("large"), &mine, &data), ERR_CONTAINER_NOT_FOUND);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 0);
    fixture_sound(f);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_opens_with_its_key_only),
        STORE_TEST(test_hash_is_no_key),
        STORE_TEST(test_never_kept_opened),
        STORE_TEST(test_blocks),
        STORE_TEST(test_properties),
        STORE_TEST(test_check),
        STORE_TEST(test_states),
        STORE_TEST(test_container_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
