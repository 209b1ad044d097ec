/* Encryption scopes: which key opens what, and that a scope's state holds for all that comes after. */
#include "store_test.h"

#include <pthread.h>
#include <unistd.h>

#define BIG ((size_t)200 << 10)
#define ONE S("scope-one")
#define TWO S("scope-two")

static store_call in(fixture *f, slice scope) {
    store_call c = f->c;
    c.scope = scope;
    return c;
}

static int setup(void **state) {
    fixture_setup(state);
    fixture *f = *state;
    assert_ok(store_scope_create(f->s, f->c, f->a, ONE));
    assert_ok(store_scope_create(f->s, f->c, f->a, TWO));
    return 0;
}

static store_upload *upload_in(fixture *f, slice data, slice scope) {
    store_upload *u;
    assert_ok(store_upload_new(f->s, f->k, data.len, STORE_PUT_BLOB_LEN_MAX, 0, &u));
    assert_ok(store_upload_under(u, in(f, scope), f->k));
    assert_slice(store_upload_scope(u), scope);
    assert_ok(store_upload_write(u, data));
    assert_ok(store_upload_finish(u));
    return u;
}

static void put_in(fixture *f, slice name, slice data, slice scope) {
    store_blob b;
    assert_ok(store_blob_put(f->s, in(f, scope), f->k, name, upload_in(f, data, scope),
                             &(store_put){0}, &b));
    assert_slice(b.scope, scope);
}

static void stage_in(fixture *f, slice name, slice id, slice data, slice scope) {
    assert_ok(
        store_block_put(f->s, in(f, scope), f->k, name, id, upload_in(f, data, scope), SLICE_NONE));
}

static err commit_in(fixture *f, slice name, const store_block_pick *picks, size_t n, slice scope) {
    store_blob b;
    return store_block_list_put(f->s, in(f, scope), f->k, name, picks, n, &(store_put){0}, &b);
}

static void append_in(fixture *f, slice name, slice data, slice scope) {
    store_blob b;
    store_appended done;
    if (exists(f, name) != OK)
        assert_ok(store_append_create(f->s, in(f, scope), f->k, name, &(store_put){0}, &b));
    assert_ok(store_append_block(f->s, in(f, scope), f->k, name, upload_in(f, data, scope), NULL,
                                 NULL, &done));
}

static void pages_in(fixture *f, slice name, slice data, slice scope) {
    store_blob b;
    if (exists(f, name) != OK)
        assert_ok(
            store_page_create(f->s, in(f, scope), f->k, name, &(store_put){0}, data.len, 0, &b));
    assert_ok(store_page_put(f->s, in(f, scope), f->k, name, 0, upload_in(f, data, scope), NULL,
                             NULL, &b));
}

static err open_as(fixture *f, slice name, bool verifies) {
    store_blob b;
    store_reader *r;
    store_call c = f->c;
    c.verifies = verifies;
    TRY(store_blob_open(f->s, c, f->k, name, STORE_CURRENT, NULL, &b, &r));
    store_reader_free(r);
    return OK;
}

static void set(fixture *f, slice scope, store_scope_state to) {
    assert_ok(store_scope_set(f->s, f->c, f->a, scope, to));
}

static err count_slot(void *ctx, uint64_t id, uint64_t slot) {
    (void)id, (void)slot;
    ++*(int *)ctx;
    return OK;
}

static int slots(fixture *f) {
    int n = 0;
    assert_ok(engine_vault_each(f->s->engine, count_slot, &n));
    return n;
}

/* The row of a blob's current state. */
static row_blob row_of(fixture *f, slice name) {
    blob_key key;
    row_blob row;
    assert_ok(blob_read_row(f->s, f->c, f->k, name, STORE_CURRENT, NULL, &key, &row));
    return row;
}

static void test_key_is_made_of_both(void **state) {
    fixture *f = *state;
    put_in(f, S("x"), S("data"), ONE);
    const struct container *k = container_of(f->k);
    const row_blob row = row_of(f, S("x"));
    const row_piece piece = row_blob_piece(&row);
    crypto_key opened, kek, other;
    assert_err(piece_key(&k->secret->key, &piece, &opened), ERR_CORRUPT);
    scope_place place = scope_place_of(k);
    assert_ok(scope_kek(f->s, f->c, &place, TWO, false, &other));
    assert_err(piece_key(&other, &piece, &opened), ERR_CORRUPT);
    const crypto_key none = {{0}};
    place.container = &none;
    assert_ok(scope_kek(f->s, f->c, &place, ONE, false, &other));
    assert_err(piece_key(&other, &piece, &opened), ERR_CORRUPT);
    place.container = &k->secret->key;
    assert_ok(scope_kek(f->s, f->c, &place, ONE, false, &kek));
    assert_ok(piece_key(&kek, &piece, &opened));
}

static void fill(fixture *f, slice scope) {
    const slice large = content(f->c.arena, 1, BIG);
    put_in(f, S("small"), S("data"), scope);
    put_in(f, S("large"), large, scope);
    stage_in(f, S("list"), S("1"), large, scope);
    stage_in(f, S("list"), S("2"), S("two"), scope);
    const store_block_pick both[] = {LATEST("1"), LATEST("2")};
    assert_ok(commit_in(f, S("list"), both, 2, scope));
    append_in(f, S("log"), S("one"), scope);
    append_in(f, S("log"), large, scope);
    pages_in(f, S("pages"), content(f->c.arena, 2, 64 << 10), scope);
    stage_in(f, S("staged"), S("1"), S("waits"), scope);
}

static void assert_filled(fixture *f) {
    const slice large = content(f->c.arena, 1, BIG);
    assert_slice(get(f, S("small")), S("data"));
    assert_slice(get(f, S("large")), large);
    assert_slice(slice_take(get(f, S("list")), BIG), large);
    assert_slice(slice_take(get(f, S("log")), 3), S("one"));
    assert_slice(get(f, S("pages")), content(f->c.arena, 2, 64 << 10));
}

static const slice all[] = {{(const uint8_t *)"small", 5},
                            {(const uint8_t *)"large", 5},
                            {(const uint8_t *)"list", 4},
                            {(const uint8_t *)"log", 3},
                            {(const uint8_t *)"pages", 5}};

static void test_every_kind(void **state) {
    fixture *f = *state;
    uint64_t gone;
    fill(f, ONE);
    assert_filled(f);
    assert_filled(f); /* some from memory */
    assert_int_equal(fixture_sound(f).unopened, 0);
    assert_ok(orphans_destroy(f->s, UINT64_MAX, &gone));
    assert_int_equal(gone, 0);
    fixture_restart(f);
    assert_filled(f);
    assert_int_equal(fixture_sound(f).unopened, 0);
}

static void test_disabled(void **state) {
    fixture *f = *state;
    blob_key key;
    uint64_t version;
    fill(f, ONE);
    put(f, S("plain"), S("data"));
    for (int i = 0; i < 3; i++) assert_filled(f);
    set(f, ONE, STORE_SCOPE_DISABLED);
    key_blob(&key, f->k->id, S("small"));
    assert_null(hot_get(&f->s->hot, key_base(&key), &version));
    assert_int_equal(f->s->opened.used, 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_err(open_as(f, all[i], false), ERR_ENCRYPTION_SCOPE_DISABLED);
        assert_ok(open_as(f, all[i], true)); /* the scrubber goes on */
    }
    assert_slice(get(f, S("plain")), S("data"));
    assert_int_equal(fixture_sound(f).unopened, 0);
    fixture_restart(f);
    assert_err(open_as(f, S("small"), false), ERR_ENCRYPTION_SCOPE_DISABLED);
    set(f, ONE, STORE_SCOPE_ENABLED);
    assert_filled(f);
}

static void test_destroyed(void **state) {
    fixture *f = *state;
    const int before = slots(f);
    fill(f, ONE);
    put_in(f, S("other"), S("data"), TWO);
    set(f, ONE, STORE_SCOPE_DESTROYED);
    assert_int_equal(slots(f), before - 1);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_err(open_as(f, all[i], false), ERR_ENCRYPTION_SCOPE_DISABLED);
        assert_err(open_as(f, all[i], true), ERR_KEY_DESTROYED);
    }
    assert_slice(get(f, S("other")), S("data"));
    assert_int_equal(fixture_sound(f).unopened, 8);
    assert_err(store_scope_set(f->s, f->c, f->a, ONE, STORE_SCOPE_ENABLED), ERR_INVALID_INPUT);
    assert_err(store_scope_create(f->s, f->c, f->a, ONE), ERR_INVALID_INPUT);
    fixture_restart(f);
    assert_err(open_as(f, S("small"), true), ERR_KEY_DESTROYED);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_ok(store_blob_delete(f->s, f->c, f->k, all[i], NULL, NULL, NULL));
    reaper_run(f->s);
    assert_int_equal(fixture_sound(f).unopened, 1); /* the staged block */
}

/* A crash came between the row and the vault: the key is found without an owner. */
static void test_destroyed_by_half(void **state) {
    fixture *f = *state;
    uint64_t gone;
    short_key k, shard;
    slice value;
    row_scope row;
    engine_txn *t;
    key_scope(&k, f->a->id, ONE);
    key_id(&shard, f->a->id);
    assert_ok(engine_get(f->s->engine, ENGINE_META, key_slice(&k), f->c.arena, false, &value));
    assert_ok(row_scope_get(value, &row));
    row.state = STORE_SCOPE_DESTROYED;
    assert_ok(engine_txn_begin(f->s->engine, key_slice(&shard), &t));
    engine_txn_put(t, ENGINE_META, key_slice(&k), ROW_ENCODE(scope, f->c.arena, &row));
    assert_ok(engine_txn_commit(t));
    assert_ok(orphans_destroy(f->s, UINT64_MAX, &gone));
    assert_int_equal(gone, 1);
    fixture_sound(f);
}

static void test_protected_content_keeps_its_key(void **state) {
    fixture *f = *state;
    const store_container *k;
    put_in(f, S("x"), S("data"), ONE);
    assert_ok(store_container_guard_set(f->s, f->c, f->a, S("box"), S("hold=case"), &k));
    store_container_unref(k);
    assert_err(store_scope_set(f->s, f->c, f->a, ONE, STORE_SCOPE_DESTROYED),
               ERR_CONTAINER_HAS_LEGAL_HOLD);
    assert_slice(get(f, S("x")), S("data"));
    assert_ok(store_container_guard_set(f->s, f->c, f->a, S("box"), S("release=case"), &k));
    store_container_unref(k);
    const store_immutability hold = {.set_hold = true, .hold = true};
    store_blob b;
    assert_ok(
        store_blob_set_immutability(f->s, f->c, f->k, S("x"), STORE_CURRENT, NULL, &hold, &b));
    assert_err(store_scope_set(f->s, f->c, f->a, ONE, STORE_SCOPE_DESTROYED),
               ERR_CONTAINER_HAS_LEGAL_HOLD);
    assert_slice(get(f, S("x")), S("data"));
}

/* What was on its way in under the scope is not committed. */
static void test_uploads_under_way(void **state) {
    fixture *f = *state;
    store_blob b;
    store_appended done;
    const slice page = content(f->c.arena, 3, 512);
    append_in(f, S("log"), S("one"), ONE);
    pages_in(f, S("pages"), page, ONE);
    stage_in(f, S("list"), S("1"), S("one"), ONE);
    store_upload *u[4];
    for (int i = 0; i < 4; i++) u[i] = upload_in(f, i == 3 ? page : S("late"), ONE);
    set(f, ONE, STORE_SCOPE_DISABLED);
    const err no = ERR_ENCRYPTION_SCOPE_DISABLED;
    const store_call c = in(f, ONE);
    assert_err(store_blob_put(f->s, c, f->k, S("x"), u[0], &(store_put){0}, &b), no);
    assert_err(store_block_put(f->s, c, f->k, S("list"), S("2"), u[1], SLICE_NONE), no);
    assert_err(store_append_block(f->s, c, f->k, S("log"), u[2], NULL, NULL, &done), no);
    assert_err(store_page_put(f->s, c, f->k, S("pages"), 0, u[3], NULL, NULL, &b), no);
    assert_err(store_page_clear(f->s, c, f->k, S("pages"), 0, 512, NULL, NULL, &b), no);
    assert_err(commit_in(f, S("list"), &LATEST("1"), 1, ONE), no);
    assert_err(store_append_create(f->s, c, f->k, S("x"), &(store_put){0}, &b), no);
    for (int i = 0; i < 4; i++) store_upload_free(u[i]);
    assert_err(exists(f, S("x")), ERR_BLOB_NOT_FOUND);
    fixture_sound(f);
}

static void test_without_blocking(void **state) {
    fixture *f = *state;
    store_upload *u;
    put_in(f, S("x"), S("data"), ONE);
    fixture_restart(f);
    store_call c = in(f, ONE);
    c.nowait = true;
    assert_ok(store_upload_new(f->s, f->k, 4, STORE_PUT_BLOB_LEN_MAX, 0, &u));
    assert_err(store_upload_under(u, c, f->k), ERR_WOULD_BLOCK);
    assert_slice(get(f, S("x")), S("data"));
    assert_ok(store_upload_under(u, c, f->k));
    store_upload_free(u);
}

static void test_container_default(void **state) {
    fixture *f = *state;
    const store_default_scope wanted = {.name = ONE, .deny_override = true};
    const store_default_scope missing = {.name = S("no-such-scope")};
    const store_container *k;
    slice scope;
    assert_err(store_container_create_under(f->s, f->c, f->a, S("third"), STORE_PRIVATE, &missing,
                                            NULL, 0, NULL),
               ERR_INVALID_HEADER_VALUE);
    assert_ok(store_container_create_under(f->s, f->c, f->a, S("second"), STORE_PRIVATE, &wanted,
                                           NULL, 0, &k));
    assert_slice(k->scope.name, ONE);
    assert_ok(store_scope_of(f->c, k, &scope));
    assert_slice(scope, ONE);
    assert_ok(store_scope_of(in(f, ONE), k, &scope));
    assert_err(store_scope_of(in(f, TWO), k, &scope), ERR_FORBIDDEN_BY_ENCRYPTION_POLICY);
    assert_err(store_scope_of(in(f, STORE_ACCOUNT_SCOPE), k, &scope),
               ERR_FORBIDDEN_BY_ENCRYPTION_POLICY);
    store_container_unref(k);
    assert_ok(store_container_set_metadata(f->s, f->c, f->a, S("second"), NULL, NULL, 0, &k));
    assert_true(k->scope.deny_override); /* stays, whatever else is set */
    assert_slice(k->scope.name, ONE);
    store_container_unref(k);
    set(f, ONE, STORE_SCOPE_DISABLED);
    assert_err(store_container_create_under(f->s, f->c, f->a, S("third"), STORE_PRIVATE, &wanted,
                                            NULL, 0, NULL),
               ERR_ENCRYPTION_SCOPE_DISABLED);
}

static void list_name(void *ctx, const store_scope *x) {
    buf_put(ctx, x->name);
    buf_byte(ctx, (uint8_t)('0' + x->state));
}

static void test_names_and_accounts(void **state) {
    fixture *f = *state;
    static const char *const bad[] = {"", "ab", "Upper", "a--b", "-ab", "ab-", "$logs", "a_b"};
    const store_account *other;
    crypto_key kek;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_err(store_scope_create(f->s, f->c, f->a, slice_str(bad[i])), ERR_INVALID_INPUT);
    assert_err(store_scope_create(f->s, f->c, f->a, ONE), ERR_INVALID_INPUT);
    assert_err(store_scope_set(f->s, f->c, f->a, S("none"), STORE_SCOPE_DISABLED), ERR_NOT_FOUND);
    set(f, TWO, STORE_SCOPE_DISABLED);
    buf names;
    buf_init_arena(&names, f->c.arena, 1 << 10);
    assert_ok(store_scope_list(f->s, f->c, f->a, list_name, &names));
    assert_slice(buf_slice(&names), S("scope-one0scope-two1"));
    /* a scope is of its account */
    assert_ok(store_account_create(f->s, f->c, S("second"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("second"), &other));
    const scope_place place = {.account = other->name,
                               .account_id = other->id,
                               .container = &container_of(f->k)->secret->key};
    assert_err(scope_kek(f->s, f->c, &place, ONE, false, &kek), ERR_INVALID_HEADER_VALUE);
    store_account_unref(other);
}

static void test_account_goes(void **state) {
    fixture *f = *state;
    store_blob b;
    store_reader *r;
    put_in(f, S("x"), S("data"), ONE);
    put_in(f, S("large"), content(f->c.arena, 1, BIG), TWO);
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_true(store_blob_open(f->s, f->c, f->k, S("large"), STORE_CURRENT, NULL, &b, &r) != OK);
    fixture_sound(f);
    reaper_run(f->s);
    assert_int_equal(slots(f), 0);
    assert_int_equal(memory_disk_rows(f->disk, ENGINE_META), 0);
    fixture_sound(f);
}

/* A pending copy's content goes under the scope that was named when it began. */
static void test_pending_copy(void **state) {
    fixture *f = *state;
    store_blob b;
    const slice id = S("01234567-89ab-cdef-0123-456789abcdef"), data = content(f->c.arena, 1, BIG);
    put_in(f, S("from"), data, TWO);
    store_copy copy = {.status = STORE_COPY_PENDING,
                       .id = id,
                       .source = S("http://here/from"),
                       .total = BIG,
                       .completed_us = STORE_TIME_NONE};
    assert_ok(store_blob_get(f->s, f->c, f->k, S("from"), STORE_CURRENT, NULL, &b));
    const store_copy_from from = {
        .account = S("acct"),
        .container = S("box"),
        .blob = S("from"),
        .etag = arena_fmt(f->c.arena, "\"0x%llX\"", (unsigned long long)b.etag),
        .type = STORE_BLOCK_BLOB};
    assert_ok(
        store_copy_begin(f->s, in(f, ONE), f->k, S("to"), &(store_put){.copy = &copy}, &from, &b));
    assert_slice(b.scope, ONE);
    copier_run(f->s);
    assert_slice(get(f, S("to")), data);
    assert_slice(row_of(f, S("to")).pub.scope, ONE);
    assert_int_equal(fixture_sound(f).unopened, 0);
    /* and fails when that is disabled meanwhile */
    copy.id = S("01234567-89ab-cdef-0123-456789abcde0");
    assert_ok(store_copy_begin(f->s, in(f, ONE), f->k, S("late"), &(store_put){.copy = &copy},
                               &from, &b));
    set(f, ONE, STORE_SCOPE_DISABLED);
    copier_run(f->s);
    assert_ok(store_blob_get(f->s, f->c, f->k, S("late"), STORE_CURRENT, NULL, &b));
    assert_int_equal(b.copy.status, STORE_COPY_FAILED);
    assert_true(slice_find_slice(b.copy.description, 0, S("disabled")) < b.copy.description.len);
}

/* A key is not destroyed while a change that found it is on its way. */
typedef struct racer {
    fixture *f;
    pthread_t thread;
    bool once;
    int slots; /* while the change was being committed */
} racer;

static void *destroy_main(void *arg) {
    const racer *r = arg;
    arena *a = arena_new(4096, 0);
    MUST(store_scope_set(r->f->s, (store_call){.arena = a}, r->f->a, ONE, STORE_SCOPE_DESTROYED) ==
         OK);
    arena_free(a);
    return NULL;
}

static void destroy_in_between(void *ctx) {
    racer *r = ctx;
    if (r->once) return;
    r->once = true;
    MUST(pthread_create(&r->thread, NULL, destroy_main, r) == 0);
    usleep(50000); /* time enough for one that does not wait to be through */
    r->slots = slots(r->f);
}

static void test_destroying_waits_for_changes(void **state) {
    fixture *f = *state;
    racer r = {.f = f};
    const int before = slots(f);
    memory_disk_on_commit(f->disk, destroy_in_between, &r);
    put_in(f, S("x"), S("data"), ONE); /* let in before: it may stand */
    pthread_join(r.thread, NULL);
    memory_disk_on_commit(f->disk, NULL, NULL);
    assert_true(r.once);
    assert_int_equal(r.slots, before);
    assert_int_equal(slots(f), before - 1);
    assert_err(open_as(f, S("x"), false), ERR_ENCRYPTION_SCOPE_DISABLED);
}

static void test_damage_is_found(void **state) {
    fixture *f = *state;
    slice reports;
    put_in(f, S("x"), S("data"), ONE);
    row_blob row = row_of(f, S("x"));
    row.pub.scope = TWO; /* whoever can write rows cannot move content between scopes */
    change ch;
    assert_ok(change_begin_unchecked(&ch, f->s, f->c.arena, f->k->id, S("x")));
    engine_txn_put(ch.txn, ENGINE_BLOB, key_state(&ch.key), ROW_ENCODE(blob, f->c.arena, &row));
    assert_ok(engine_txn_commit(ch.txn));
    ch.txn = NULL;
    change_done(&ch);
    assert_err(open_as(f, S("x"), false), ERR_CORRUPT);
    assert_int_equal(fixture_check(f, &reports).defects, 1);
}

#define SCOPE_TEST(t) cmocka_unit_test_setup_teardown(t, setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCOPE_TEST(test_key_is_made_of_both),
        SCOPE_TEST(test_every_kind),
        SCOPE_TEST(test_disabled),
        SCOPE_TEST(test_destroyed),
        SCOPE_TEST(test_destroyed_by_half),
        SCOPE_TEST(test_protected_content_keeps_its_key),
        SCOPE_TEST(test_uploads_under_way),
        SCOPE_TEST(test_without_blocking),
        SCOPE_TEST(test_container_default),
        SCOPE_TEST(test_names_and_accounts),
        SCOPE_TEST(test_account_goes),
        SCOPE_TEST(test_pending_copy),
        SCOPE_TEST(test_destroying_waits_for_changes),
        SCOPE_TEST(test_damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
