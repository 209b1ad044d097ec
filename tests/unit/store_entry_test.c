/* Entries of the log: they are there exactly when the change is that carries them; their openings end with the
 * key that they are under. */
#include "store_test.h"

#include <time.h>

#include "memory_engine.c"

/* A recorder whose entry is its name, with the last blob's length; the private part says it was made. */
typedef struct test_recorder {
    store_recorder base;
    const char *name;
    int made;
} test_recorder;

static void make_entry(store_recorder *r, buf *entry, buf *private_part) {
    test_recorder *t = (test_recorder *)r;
    t->made++;
    buf_fmt(entry, "%s %llu", t->name,
            (unsigned long long)(r->touched.known ? r->touched.length : 0));
    buf_str(private_part, "private");
}

static test_recorder recorder(const char *name) {
    return (test_recorder){.base = {.make = make_entry}, .name = name};
}

static store_call with(fixture *f, test_recorder *r) {
    store_call c = f->c;
    c.record = &r->base;
    return c;
}

typedef struct seen {
    const char *want[16];
    size_t count, at;
} seen;

static err see(void *ctx, uint64_t index, slice entry, slice private_part) {
    seen *s = ctx;
    assert_true(s->at < s->count);
    assert_int_equal(index, s->at);
    assert_slice(entry, slice_str(s->want[s->at]));
    assert_slice(private_part, S("private"));
    s->at++;
    return OK;
}

static void expect_log(fixture *f, seen s) {
    while (s.want[s.count]) s.count++;
    assert_ok(engine_log_read(store_engine(f->s), 0, UINT64_MAX, see, &s));
    assert_int_equal(s.at, s.count);
}

static void changes_carry_their_entry(void **state) {
    fixture *f = *state;
    store_blob b;
    const store_container *k;
    test_recorder made = recorder("create"), put = recorder("put"), gone = recorder("delete");
    test_recorder key = recorder("rotate");
    store_delete d = {0};
    bool permanent;
    assert_ok(
        store_container_create(f->s, with(f, &made), f->a, S("other"), STORE_PRIVATE, NULL, 0, &k));
    store_container_unref(k);
    assert_ok(store_blob_put(f->s, with(f, &put), f->k, S("b"),
                             upload(f, content(f->c.arena, 1, 700), 700), &(store_put){0}, &b));
    assert_ok(store_blob_delete(f->s, with(f, &gone), f->k, S("b"), &STORE_NO_CONDITIONS, &d,
                                &permanent));
    assert_ok(store_account_rotate(f->s, with(f, &key), S("acct"), 1));
    expect_log(f, (seen){{"create 0", "put 700", "delete 700", "rotate 0"}});
    const test_recorder *all[] = {&made, &put, &gone, &key};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(all[i]->made, 1);
        assert_true(all[i]->base.taken);
        assert_int_equal(all[i]->base.index, i);
    }
}

/* Undelete makes its changes in steps, with calls of its own: the first of them carries the entry. */
static void undelete_carries_its_entry(void **state) {
    fixture *f = *state;
    test_recorder back = recorder("undelete");
    store_service v = {.delete_retention = {true, 7}};
    set_service(f, &v);
    put(f, S("b"), S("x"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("b"), NULL, NULL, NULL));
    assert_ok(store_blob_undelete(f->s, with(f, &back), f->k, S("b")));
    assert_true(back.base.taken);
    assert_slice(get(f, S("b")), S("x"));
    expect_log(f, (seen){{"undelete 1"}});
}

static void refused_and_failed_changes_leave_none(void **state) {
    fixture *f = *state;
    store_blob b;
    test_recorder refused = recorder("refused"), failed = recorder("failed");
    store_delete d = {0};
    bool permanent;
    assert_err(store_blob_delete(f->s, with(f, &refused), f->k, S("none"), &STORE_NO_CONDITIONS, &d,
                                 &permanent),
               ERR_BLOB_NOT_FOUND);
    assert_false(refused.base.taken);
    memory_disk_fail_commits(f->disk, 1, ERR_NO_SPACE);
    store_upload *u = upload(f, S("x"), 1);
    assert_err(store_blob_put(f->s, with(f, &failed), f->k, S("b"), u, &(store_put){0}, &b),
               ERR_NO_SPACE);
    store_upload_free(u);
    assert_false(failed.base.taken);
    expect_log(f, (seen){{NULL}});
    /* Then each is written alone. */
    assert_ok(store_record(f->s, &refused.base));
    assert_ok(store_record(f->s, &failed.base));
    assert_int_equal(failed.base.index, 1);
    expect_log(f, (seen){{"refused 0", "failed 1"}});
}

static void one_request_leaves_one_entry(void **state) {
    fixture *f = *state;
    store_blob b;
    test_recorder r = recorder("twice");
    for (int i = 0; i < 2; i++)
        assert_ok(store_blob_put(f->s, with(f, &r), f->k, S("b"), upload(f, S("x"), 1),
                                 &(store_put){0}, &b));
    expect_log(f, (seen){{"twice 1"}});
}

static void reads_are_told_what_they_saw(void **state) {
    fixture *f = *state;
    store_blob b, seen_blob;
    test_recorder r = recorder("get");
    assert_ok(
        store_blob_put(f->s, f->c, f->k, S("b"), upload(f, S("12345"), 5), &(store_put){0}, &b));
    assert_ok(store_blob_get(f->s, with(f, &r), f->k, S("b"), STORE_CURRENT, &STORE_NO_CONDITIONS,
                             &seen_blob));
    assert_true(r.base.touched.known);
    assert_int_equal(r.base.touched.length, 5);
    assert_true(r.base.touched.etag == b.etag);
    assert_false(r.base.taken);
}

static slice sealed(fixture *f, const store_account *a, const store_container *k, slice plain) {
    buf b;
    buf_init_arena(&b, f->c.arena, 4096);
    store_opening_seal(f->s, a, k, plain, &b);
    assert_ok(buf_check(&b));
    assert_true(slice_find_slice(buf_slice(&b), 0, plain) == b.len); /* not in the clear */
    return buf_slice(&b);
}

static err opened(fixture *f, slice in, slice *ret) {
    buf b;
    buf_init_arena(&b, f->c.arena, 4096);
    err e = store_opening_open(f->s, f->c, in, &b);
    *ret = buf_slice(&b);
    return e;
}

static void openings_end_with_their_key(void **state) {
    fixture *f = *state;
    slice plain = S("patients/7.json"), got;
    const slice of_container = sealed(f, f->a, f->k, plain),
                of_account = sealed(f, f->a, NULL, plain);
    const slice of_store = sealed(f, NULL, NULL, plain);
    const slice all[] = {of_container, of_account, of_store};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_ok(opened(f, all[i], &got));
        assert_slice(got, plain);
        for (size_t at = 0; at < all[i].len; at += 7) { /* damage, also of the head */
            slice bad = arena_dup(f->c.arena, all[i]);
            ((uint8_t *)(uintptr_t)bad.p)[at] ^= 0x01;
            err e = opened(f, bad, &got);
            assert_true(e == ERR_CORRUPT || e == ERR_KEY_DESTROYED);
        }
        assert_err(opened(f, slice_take(all[i], 9), &got), ERR_CORRUPT);
    }
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), &STORE_NO_CONDITIONS));
    assert_err(opened(f, of_container, &got), ERR_KEY_DESTROYED);
    assert_ok(opened(f, of_account, &got));
    assert_ok(store_account_delete(f->s, f->c, S("acct")));
    assert_err(opened(f, of_account, &got), ERR_KEY_DESTROYED);
    assert_ok(opened(f, of_store, &got));
}

static void pseudonyms_are_of_one_account(void **state) {
    fixture *f = *state;
    uint8_t a[STORE_PSEUDONYM_LEN], b[STORE_PSEUDONYM_LEN], c[STORE_PSEUDONYM_LEN],
        d[STORE_PSEUDONYM_LEN];
    store_pseudonym(f->s, f->a, S("ward-7"), a);
    store_pseudonym(f->s, f->a, S("ward-7"), b);
    store_pseudonym(f->s, f->a, S("ward-8"), c);
    store_pseudonym(f->s, NULL, S("ward-7"), d);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
}

/* ---- what the store does by itself ---- */

static void make_deed(void *ctx, const store_deed *d, buf *entry, buf *private_part) {
    (void)ctx;
    const store_touched *t = &d->recorder.touched;
    buf_fmt(entry, "%s of %.*s/%.*s/%.*s, %lld bytes, by %s", d->action,
            SLICE_ARG(d->account->name), SLICE_ARG(d->container_name), SLICE_ARG(d->blob),
            t->known ? (long long)t->length : -1, d->decision);
    buf_str(private_part, "private");
}
static const store_deeds deeds = {.make = make_deed};

static void expiry_leaves_an_entry(void **state) {
    fixture *f = *state;
    const store_expiry soon = {.option = STORE_EXPIRE_FROM_NOW, .us = 1000};
    store_blob b;
    f->s->deeds = &deeds;
    put(f, S("b"), S("abc"));
    put(f, S("stays"), S("abc"));
    assert_ok(store_blob_set_expiry(f->s, f->c, f->k, S("b"), NULL, &soon, &b));
    while (clock_wall_us() <= b.expires_us) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    for (int i = 0; i < 2; i++) assert_ok(sweep_expired(f->s)); /* the second finds nothing */
    expect_log(f, (seen){{"Expire Blob of acct/box/b, 3 bytes, by expiry time"}});
}

static void the_end_of_retention_leaves_an_entry(void **state) {
    fixture *f = *state;
    store_service v = {.delete_retention = {true, 1}};
    const int64_t later = clock_wall_us() + 2ll * 24 * 3600 * 1000000;
    f->s->deeds = &deeds;
    set_service(f, &v);
    put(f, S("b"), S("four"));
    assert_ok(store_blob_delete(f->s, f->c, f->k, S("b"), NULL, NULL, NULL));
    for (int i = 0; i < 2; i++) assert_ok(sweep_deleted(f->s, later));
    expect_log(f, (seen){{"Purge Blob of acct/box/b, 4 bytes, by end of retention"}});
}

static void a_purged_container_leaves_an_entry(void **state) {
    fixture *f = *state;
    const int64_t later = clock_wall_us() + 2ll * 24 * 3600 * 1000000;
    assert_ok(store_account_set(f->s, f->c, S("acct"), S("container_delete_days=1")));
    fixture_restart(f);
    f->s->deeds = &deeds;
    put(f, S("b"), S("four"));
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), &STORE_NO_CONDITIONS));
    for (int i = 0; i < 2; i++) assert_ok(sweep_containers(f->s, later));
    expect_log(f, (seen){{"Purge Container of acct/box/, -1 bytes, by end of retention"}});
}

/* What happens in a container that was deleted meanwhile has its entry already: the deletion's. Rows of META are
 * found wherever they went. */
static void rows_are_found_by_id(void **state) {
    fixture *f = *state;
    const store_account *a;
    const store_container *k, *other;
    slice key, value;
    const uint64_t box = f->k->id;
    assert_ok(store_container_create(f->s, f->c, f->a, S("other"), STORE_PRIVATE, NULL, 0, &other));
    for (int i = 0; i < 3; i++) { /* the second time from memory */
        assert_ok(id_container(f->s, f->c, i < 2 ? box : other->id, &a, &k));
        assert_slice(k->name, i < 2 ? S("box") : S("other"));
        assert_slice(a->name, S("acct"));
        store_container_unref(k);
        store_account_unref(a);
    }
    store_container_unref(other);
    assert_ok(store_container_delete(f->s, f->c, f->a, S("box"), &STORE_NO_CONDITIONS));
    assert_err(id_row(f->s, f->c.arena, 'c', box, &key, &value), ERR_NOT_FOUND);
    store_deed d CLEANUP(deed_end) = {.action = "Expire Blob"};
    store_recorder *r;
    f->s->deeds = &deeds;
    assert_ok(deed_begin(f->s, f->c.arena, box, &d, &r));
    assert_null(r);
}

/* The log's key is made once, stays, and is not taken for an orphan. */
static void the_log_has_one_key(void **state) {
    fixture *f = *state;
    store_log_keys first, again;
    for (int i = 0; i < 3; i++) {
        fixture_close(f);
        store_options o = {.engine = memory_engine_open(f->disk),
                           .keys = test_keys_new(),
                           .background = i > 0,
                           .records = true};
        assert_ok(store_open(&o, &f->s));
        f->c = (store_call){.arena = arena_new(4096, 0)};
        fixture_get(f);
        store_log_keys_get(f->s, &again);
        if (i == 0) first = again;
        assert_memory_equal(&first, &again, sizeof first);
        uint64_t dropped;
        assert_ok(orphans_destroy(f->s, UINT64_MAX, &dropped));
        assert_int_equal(dropped, 0);
    }
    fixture_assert_sound(f);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(changes_carry_their_entry),
        T(refused_and_failed_changes_leave_none),
        T(undelete_carries_its_entry),
        T(one_request_leaves_one_entry),
        T(reads_are_told_what_they_saw),
        T(openings_end_with_their_key),
        T(pseudonyms_are_of_one_account),
        T(the_log_has_one_key),
        T(expiry_leaves_an_entry),
        T(the_end_of_retention_leaves_an_entry),
        T(a_purged_container_leaves_an_entry),
        T(rows_are_found_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
