/* Accounts, containers, service properties: changes, caches, listing, deletion and what it leaves.
 */
#include "store_test.h"

#include "memory_engine.c"

static void test_account(void **state) {
    fixture *f = *state;
    const store_account *a, *b;
    slice keys[2] = {content(f->c.arena, 9, 64), SLICE_NONE};
    assert_err(store_account_get(f->s, f->c, S("second"), &a), ERR_NOT_FOUND);
    assert_err(store_account_create(f->s, f->c, S("Bad"), NULL), ERR_INVALID_RESOURCE_NAME);
    assert_err(store_account_create(f->s, f->c, S("acct"), NULL), ERR_ACCOUNT_ALREADY_EXISTS);
    assert_ok(store_account_create(f->s, f->c, S("second"), keys));
    assert_ok(store_account_get(f->s, f->c, S("second"), &a));
    assert_slice(a->keys[0], keys[0]);
    assert_int_equal(a->keys[1].len, 64);
    assert_true(a->key_set[0] && a->key_set[1]);
    assert_false(slice_eq(a->keys[1], f->a->keys[1]));
    assert_ok(store_account_rotate(f->s, f->c, S("second"), 0));
    assert_ok(store_account_get(f->s, f->c, S("second"), &b));
    assert_slice(a->keys[0], keys[0]); /* a snapshot does not change */
    assert_false(slice_eq(b->keys[0], keys[0]));
    assert_slice(b->keys[1], a->keys[1]);
    assert_true(a->id == b->id && a->created_us == b->created_us);
    slice kept[2] = {arena_dup(f->c.arena, b->keys[0]), arena_dup(f->c.arena, b->keys[1])};
    uint64_t id = b->id;
    store_account_unref(a);
    store_account_unref(b);
    assert_err(store_account_rotate(f->s, f->c, S("second"), 2), ERR_INVALID_INPUT);
    assert_err(store_account_rotate(f->s, f->c, S("third"), 0), ERR_NOT_FOUND);
    slice given = content(f->c.arena, 3, 7);
    assert_ok(store_account_set_key(f->s, f->c, S("second"), 1, given));
    assert_err(store_account_set_key(f->s, f->c, S("second"), 2, given), ERR_INVALID_INPUT);
    assert_err(store_account_set_key(f->s, f->c, S("second"), 0, content(f->c.arena, 3, 257)),
               ERR_INVALID_INPUT);
    assert_err(store_account_set_key(f->s, f->c, S("third"), 0, given), ERR_NOT_FOUND);
    assert_ok(store_account_get(f->s, f->c, S("second"), &b));
    assert_slice(b->keys[0], kept[0]);
    assert_slice(b->keys[1], given);
    store_account_unref(b);
    assert_ok(store_account_set_key(f->s, f->c, S("second"), 1, kept[1]));
    arena *mine = arena_new(1024, 0);
    kept[0] = arena_dup(mine, kept[0]);
    fixture_restart(f);
    assert_ok(store_account_get(f->s, f->c, S("second"), &a));
    assert_slice(a->keys[0], kept[0]);
    assert_true(a->id == id);
    store_account_unref(a);
    arena_free(mine);
}

static void collect_name(void *ctx, const store_account *a) {
    buf_put(ctx, a->name);
    buf_byte(ctx, ' ');
}

static void test_account_list_and_delete(void **state) {
    fixture *f = *state;
    buf b;
    buf_init(&b, 1000);
    assert_ok(store_account_create(f->s, f->c, S("zzz"), NULL));
    assert_ok(store_account_create(f->s, f->c, S("aaa"), NULL));
    assert_ok(store_account_list(f->s, f->c, collect_name, &b));
    assert_slice(buf_slice(&b), S("aaa acct zzz "));
    put(f, S("x"), content(f->c.arena, 1, 100000));
    put(f, S("y"), S("small"));
    assert_ok(try_block(f, S("y"), S("1"), S("block")));
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_err(store_account_delete(f->s, f->c, S("acct")), ERR_NOT_FOUND);
    /* What was got before is of no use for writing any more. */
    store_blob blob;
    assert_err(try_put(f, S("z"), S("late"), NULL, &blob), ERR_CONTAINER_NOT_FOUND);
    assert_err(store_container_create(f->s, f->c, f->a, S("new"), STORE_PRIVATE, NULL, 0, NULL),
               ERR_NOT_FOUND);
    const store_account *a;
    const store_container *k;
    assert_err(store_account_get(f->s, f->c, S("acct"), &a), ERR_NOT_FOUND);
    assert_err(store_container_get(f->s, f->c, f->a, S("box"), &k), ERR_CONTAINER_NOT_FOUND);
    reaper_run(f->s);
    for (int t = ENGINE_BLOB; t < ENGINE_TABLE_COUNT; t++)
        assert_int_equal(memory_disk_rows(f->disk, (engine_table)t), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_META), 2);
    assert_int_equal(memory_disk_vault_live(f->disk), 2);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    /* The name is free again, and leads to nothing old. */
    assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("acct"), &a));
    assert_true(a->id != f->a->id);
    assert_err(store_container_get(f->s, f->c, a, S("box"), &k), ERR_CONTAINER_NOT_FOUND);
    store_account_unref(a);
    buf_done(&b);
}

static void test_service(void **state) {
    fixture *f = *state;
    store_service v, w;
    assert_ok(store_service_get(f->s, f->c, f->a, &v));
    assert_int_equal(v.cors_count, 0);
    v = (store_service){.log_read = true,
                        .log_retention = {true, 7},
                        .hour = {.enabled = true, .include_apis = true, .retention = {true, 3}},
                        .default_version = S("2020-10-02"),
                        .delete_retention = {true, 14},
                        .website = true,
                        .website_index = S("index.html"),
                        .cors_count = 2};
    v.cors[0] = (store_cors_rule){S("*"), S("GET,PUT"), S("x-ms-*"), S(""), 200};
    v.cors[1] = (store_cors_rule){S("https://a,https://b"), S("GET"), S(""), S("x"), 0};
    set_service(f, &v);
    fixture_restart(f);
    assert_ok(store_service_get(f->s, f->c, f->a, &w));
    assert_true(w.log_read && !w.log_write && w.log_retention.days == 7 && w.hour.include_apis);
    assert_int_equal(w.delete_retention.days, 14);
    assert_slice(w.default_version, S("2020-10-02"));
    assert_slice(w.website_index, S("index.html"));
    assert_int_equal(w.cors_count, 2);
    assert_slice(w.cors[0].allowed_headers, S("x-ms-*"));
    assert_int_equal(w.cors[0].max_age_s, 200);
    assert_slice(w.cors[1].origins, S("https://a,https://b"));
}

static err service_refused(void *ctx, store_service *v) {
    (void)ctx;
    v->log_read = true;
    return err_fail(ERR_INVALID_XML_DOCUMENT, "no");
}

static void test_service_refused(void **state) {
    fixture *f = *state;
    store_service v;
    assert_err(store_service_change(f->s, f->c, f->a, service_refused, NULL),
               ERR_INVALID_XML_DOCUMENT);
    assert_ok(store_service_get(f->s, f->c, f->a, &v));
    assert_false(v.log_read);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_err(store_service_change(f->s, f->c, f->a, service_refused, NULL), ERR_NOT_FOUND);
}

static void test_container(void **state) {
    fixture *f = *state;
    const store_container *k, *m;
    pair meta[] = {{S("k"), S("v")}, {S("l"), S("w")}};
    assert_err(store_container_create(f->s, f->c, f->a, S("Bad"), STORE_PRIVATE, NULL, 0, &k),
               ERR_INVALID_RESOURCE_NAME);
    assert_err(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &k),
               ERR_CONTAINER_ALREADY_EXISTS);
    assert_err(store_container_get(f->s, f->c, f->a, S("box2"), &k), ERR_CONTAINER_NOT_FOUND);
    assert_err(store_container_get(f->s, f->c, f->a, S("BOX"), &k), ERR_CONTAINER_NOT_FOUND);
    assert_ok(store_container_create(f->s, f->c, f->a, S("box2"), STORE_PUBLIC_BLOB, meta, 2, &k));
    assert_slice(k->account, S("acct"));
    assert_slice(k->name, S("box2"));
    assert_int_equal(k->public_access, STORE_PUBLIC_BLOB);
    assert_int_equal(k->metadata_count, 2);
    assert_slice(k->metadata[1].value, S("w"));
    assert_ok(store_container_set_metadata(f->s, f->c, f->a, S("box2"), NULL, meta, 1, &m));
    assert_int_equal(m->metadata_count, 1);
    assert_true(m->etag > k->etag && m->id == k->id);
    assert_int_equal(m->public_access, STORE_PUBLIC_BLOB);
    store_container_unref(k);
    store_container_unref(m);
    store_policy p[2] = {
        {.id = S("one"),
         .has_start = true,
         .start_us = 5,
         .start_text = S("2020"),
         .has_permission = true,
         .permission = S("rwl")},
        {.id = S("two"), .has_expiry = true, .expiry_us = 99, .expiry_text = S("x")}};
    assert_ok(
        store_container_set_acl(f->s, f->c, f->a, S("box2"), NULL, STORE_PRIVATE, p, 2, NULL));
    fixture_restart(f);
    assert_ok(store_container_get(f->s, f->c, f->a, S("box2"), &k));
    assert_int_equal(k->public_access, STORE_PRIVATE);
    assert_int_equal(k->policy_count, 2);
    assert_slice(k->policies[0].id, S("one"));
    assert_slice(k->policies[0].permission, S("rwl"));
    assert_true(k->policies[0].has_start && k->policies[0].start_us == 5);
    assert_false(k->policies[0].has_expiry);
    assert_true(k->policies[1].has_expiry && !k->policies[1].has_permission);
    assert_int_equal(k->metadata_count, 1);
    store_container_unref(k);
    assert_err(store_container_set_metadata(f->s, f->c, f->a, S("none"), NULL, NULL, 0, NULL),
               ERR_CONTAINER_NOT_FOUND);
    store_policy six[6];
    for (int i = 0; i < 6; i++) six[i] = (store_policy){.id = S("x")};
    assert_err(
        store_container_set_acl(f->s, f->c, f->a, S("box2"), NULL, STORE_PRIVATE, six, 6, NULL),
        ERR_INVALID_XML_DOCUMENT);
}

/* What was not committed leaves no key. */
static void test_failed_creation(void **state) {
    fixture *f = *state;
    const store_container *k;
    size_t before = memory_disk_vault_live(f->disk);
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_err(store_container_create(f->s, f->c, f->a, S("new"), STORE_PRIVATE, NULL, 0, &k),
               ERR_NO_SPACE);
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_err(store_account_create(f->s, f->c, S("new"), NULL), ERR_NO_SPACE);
    assert_int_equal(memory_disk_vault_live(f->disk), before);
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL), ERR_NO_SPACE);
    put(f, S("x"), S("still there"));
}

/* A crash between keeping a key and committing its row leaves a slot that nobody names. */
static void test_orphaned_keys(void **state) {
    fixture *f = *state;
    engine *en = store_engine(f->s);
    uint64_t slot, n;
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("container_delete_days=3")));
    f->a = store_account_unref(f->a);
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_create(f->s, f->c, f->a, S("kept"), STORE_PRIVATE, NULL, 0, NULL));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("kept"), NULL)); /* can be restored */
    assert_ok(store_account_create(f->s, f->c, S("other"), NULL));
    assert_ok(store_account_delete(f->s, f->c, S("other"))); /* waits for its purge */
    put(f, S("b"), S("content"));
    size_t live = memory_disk_vault_live(f->disk);
    assert_ok(engine_vault_put(en, engine_new_id(en), S("orphan"), &slot));
    uint64_t begin = engine_new_id(en);
    assert_ok(engine_vault_put(en, engine_new_id(en), S("of a creation that goes on"), &slot));
    assert_int_equal(memory_disk_vault_live(f->disk), live + 2);
    assert_ok(orphans_destroy(f->s, begin, &n));
    assert_int_equal(n, 1);
    assert_int_equal(memory_disk_vault_live(f->disk), live + 1);
    assert_ok(orphans_destroy(f->s, begin, &n));
    assert_int_equal(n, 0);
    fixture_restart(f);
    assert_slice(get(f, S("b")), S("content"));
    /* With a row that cannot be read, nobody knows whose a key is. */
    en = store_engine(f->s);
    short_key k;
    engine_txn *t;
    key_container(&k, f->a->id, S("damaged"));
    assert_ok(engine_txn_begin(en, key_slice(&k), &t));
    engine_txn_put(t, ENGINE_META, key_slice(&k), S("\x01\x00"));
    assert_ok(engine_txn_commit(t));
    assert_err(orphans_destroy(f->s, engine_new_id(en), &n), ERR_CORRUPT);
    assert_int_equal(memory_disk_vault_live(f->disk), live + 1);
}

/* The server's own threads do it after a start. */
static void test_orphans_go_after_a_start(void **state) {
    fixture *f = *state;
    uint64_t slot;
    size_t live = memory_disk_vault_live(f->disk);
    assert_ok(engine_vault_put(store_engine(f->s), engine_new_id(store_engine(f->s)), S("orphan"),
                               &slot));
    f->background = true;
    fixture_restart(f);
    for (int i = 0; i < 2000 && memory_disk_vault_live(f->disk) > live; i++) usleep(5000);
    assert_int_equal(memory_disk_vault_live(f->disk), live);
    f->background = false;
    fixture_restart(f);
}

static void test_nothing_is_freed_once(void **state) {
    (void)state;
    assert_null(store_close(NULL));
    assert_null(store_upload_free(NULL));
    assert_null(store_reader_free(NULL));
    assert_null(store_account_unref(NULL));
    assert_null(store_container_unref(NULL));
}

static void test_container_conditions(void **state) {
    fixture *f = *state;
    store_conditions past = STORE_NO_CONDITIONS, lease = STORE_NO_CONDITIONS;
    past.if_unmodified_since_us = f->k->modified_us - 5000000;
    lease.lease_id = S("0123456789abcdef");
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), &past), ERR_CONDITION_NOT_MET);
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), &lease),
               ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION);
    assert_err(store_container_set_metadata(f->s, f->c, f->a, S("box"), &past, NULL, 0, NULL),
               ERR_CONDITION_NOT_MET);
    assert_err(store_container_check(f->k, &lease), ERR_LEASE_NOT_PRESENT_WITH_CONTAINER_OPERATION);
    past = STORE_NO_CONDITIONS;
    past.if_modified_since_us = f->k->modified_us;
    assert_err(store_container_check(f->k, &past), ERR_NOT_MODIFIED);
    assert_err(store_container_set_metadata(f->s, f->c, f->a, S("box"), &past, NULL, 0, NULL),
               ERR_CONDITION_NOT_MET);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
}

static void test_container_delete(void **state) {
    fixture *f = *state;
    slice large = content(f->c.arena, 4, 100000);
    put(f, S("large"), large);
    put(f, S("small"), S("s"));
    put(f, S("large"), content(f->c.arena, 5, 90000)); /* leaves garbage */
    assert_ok(try_block(f, S("list"), S("1"), large));
    assert_ok(try_block(f, S("list"), S("2"), S("tiny")));
    store_block_pick picks[] = {LATEST("1"), LATEST("2"), LATEST("1")};
    store_blob b;
    assert_ok(try_commit(f, S("list"), picks, 3, &b));
    assert_ok(try_block(f, S("list"), S("3"), large));
    assert_ok(try_block(f, S("open"), S("1"), large));
    const store_container *k;
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    assert_err(store_container_get(f->s, f->c, f->a, S("box"), &k), ERR_CONTAINER_NOT_FOUND);
    assert_err(store_container_delete(f->s, f->c, f->a, S("box"), NULL), ERR_CONTAINER_NOT_FOUND);
    assert_err(try_put(f, S("late"), S("x"), NULL, &b), ERR_CONTAINER_NOT_FOUND);
    store_reader *r;
    assert_err(store_blob_open(f->s, f->c, f->k, S("large"), STORE_CURRENT, NULL, &b, &r),
               ERR_CONTAINER_NOT_FOUND);
    /* The same name at once, and nothing of the old one in it. */
    uint64_t old = f->k->id;
    store_container_unref(f->k);
    assert_ok(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    assert_true(f->k->id != old);
    assert_err(exists(f, S("small")), ERR_BLOB_NOT_FOUND);
    put(f, S("small"), S("new"));
    fixture_restart(f); /* the purge has not begun */
    reaper_run(f->s);
    assert_slice(get(f, S("small")), S("new"));
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOB), 1);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_CONTENT), 1);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_BLOCK), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_vault_live(f->disk), 2);
}

/* A purge waits for those who read. */
static void test_purge_waits_for_readers(void **state) {
    fixture *f = *state;
    slice large = content(f->c.arena, 4, 100000);
    put(f, S("x"), large);
    store_blob b;
    store_reader *r;
    assert_ok(store_blob_open(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &b, &r));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), NULL));
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 1);
    assert_int_equal(memory_disk_vault_live(f->disk), 1); /* the key went at once */
    assert_slice(read_all(f, r, large.len, 30000), large);
    store_reader_free(r);
    reaper_run(f->s);
    assert_int_equal(memory_disk_streams(f->disk), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_JOB), 0);
}

typedef struct names {
    buf text;
    size_t room; /* containers until ERR_TOO_LARGE */
    size_t metadata;
} names;

static err collect_container(void *ctx, const store_container *k) {
    names *n = ctx;
    if (n->room-- == 0) return err_fail(ERR_TOO_LARGE, "full");
    buf_put(&n->text, k->name);
    buf_byte(&n->text, ' ');
    n->metadata += k->metadata_count;
    return OK;
}

static slice list(fixture *f, store_container_list q, size_t room, slice *ret_next) {
    names n = {.room = room};
    buf_init_arena(&n.text, f->c.arena, 10000);
    assert_ok(store_container_scan(f->s, f->c, f->a, &q, collect_container, &n, ret_next));
    if (!q.metadata) assert_int_equal(n.metadata, 0);
    return buf_slice(&n.text);
}

static void test_container_list(void **state) {
    fixture *f = *state;
    static const char *all[] = {"aaa", "ab1", "ab2", "abc", "zzz", "$root"};
    pair meta = {S("a"), S("b")};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_ok(store_container_create(f->s, f->c, f->a, slice_str(all[i]), STORE_PRIVATE, &meta,
                                         1, NULL));
    assert_ok(store_account_create(f->s, f->c, S("other"), NULL));
    slice next;
    store_container_list q = {.max = 100};
    assert_slice(list(f, q, 100, &next), S("$root aaa ab1 ab2 abc box zzz "));
    assert_int_equal(next.len, 0);
    q.prefix = S("ab");
    q.max = 2;
    q.metadata = true;
    assert_slice(list(f, q, 100, &next), S("ab1 ab2 "));
    assert_slice(next, S("abc"));
    q.marker = next;
    assert_slice(list(f, q, 100, &next), S("abc "));
    assert_int_equal(next.len, 0);
    q = (store_container_list){.max = 3, .prefix = S("ab")};
    assert_slice(list(f, q, 100, &next), S("ab1 ab2 abc ")); /* exactly full: no further page */
    assert_int_equal(next.len, 0);
    assert_slice(list(f, q, 1, &next), S("ab1 "));
    assert_slice(next, S("ab2"));
    q = (store_container_list){.max = 3, .prefix = S("nothing")};
    assert_slice(list(f, q, 1, &next), S(""));
    names n = {0};
    q.max = 0;
    assert_err(store_container_scan(f->s, f->c, f->a, &q, collect_container, &n, &next),
               ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE);
    q.max = 5001;
    assert_err(store_container_scan(f->s, f->c, f->a, &q, collect_container, &n, &next),
               ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE);
}

/* More containers than the cache holds. */
static void test_cache_is_bounded(void **state) {
    fixture *f = *state;
    cache *c = &f->s->containers;
    size_t total = 0;
    c->shard_max = 4;
    for (int i = 0; i < 1000; i++) {
        slice name = arena_fmt(f->c.arena, "many-%d", i);
        const store_container *k, *again;
        assert_ok(store_container_create(f->s, f->c, f->a, name, STORE_PRIVATE, NULL, 0, &k));
        assert_ok(store_container_get(f->s, f->c, f->a, name, &again));
        assert_true(k == again);
        store_container_unref(k);
        store_container_unref(again);
    }
    for (size_t i = 0; i < c->shard_count; i++) {
        assert_true(c->shards[i].cost <= 4);
        total += c->shards[i].cost;
    }
    assert_true(total > c->shard_count);
    for (int i = 0; i < 1000; i++) {
        const store_container *k;
        assert_ok(store_container_get(f->s, f->c, f->a, arena_fmt(f->c.arena, "many-%d", i), &k));
        store_container_unref(k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(test_account),
        T(test_account_list_and_delete),
        T(test_service),
        T(test_service_refused),
        T(test_orphaned_keys),
        T(test_orphans_go_after_a_start),
        T(test_container),
        T(test_failed_creation),
        cmocka_unit_test(test_nothing_is_freed_once),
        T(test_container_conditions),
        T(test_container_delete),
        T(test_purge_waits_for_readers),
        T(test_container_list),
        T(test_cache_is_bounded),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
