/* Retention of the log: what goes and what stays, each step interrupted, a folder that is made again, what verifiers say. */
#include <errno.h>

#include "audit_test.h"
#include "store_test.h"

#include "memory_engine.c"

#include "audit/retain.h"

#define DAY_S  (UINT64_C(24) * 3600)
#define DAY_US (INT64_C(24) * 3600 * 1000000)
#define KEEP_S (90 * DAY_S)

/* A server's log: the store, the publisher and who removes. */
typedef struct logged {
    fixture f;
    audit_publisher *p;
    retainer r;
    uint64_t keep_s;
} logged;

static err try_open(logged *l) {
    const audit_signer s = signer(1);
    const audit_builder_options o = {
        .engine = store_engine(l->f.s), .store = l->f.s, .keep_s = l->keep_s, .region = S("local")};
    err e = retain_open(&l->r, &o);
    const audit_base base = {l->r.now.minimum, l->r.now.edge};
    return e == OK ? audit_publisher_open(folder, &s, &base, &l->p) : e;
}

static void put_down(logged *l) {
    l->p = audit_publisher_close(l->p);
    retain_close(&l->r);
}

static void open_store(fixture *f) {
    const store_options o = {
        .engine = memory_engine_open(f->disk), .keys = test_keys_new(), .records = true};
    assert_ok(store_open(&o, &f->s));
    f->c = (store_call){.arena = arena_new(4096, 0)};
}

/* As after the process was killed. */
static void restart(logged *l) {
    put_down(l);
    fixture_close(&l->f);
    open_store(&l->f);
    assert_ok(try_open(l));
}

static int setup(void **state) {
    logged *l = calloc(1, sizeof *l);
    l->f.disk = memory_disk_new();
    open_store(&l->f);
    name_folder("retain");
    clock_skew_us(0);
    l->keep_s = KEEP_S;
    assert_ok(try_open(l));
    *state = l;
    return 0;
}

static int teardown(void **state) {
    logged *l = *state;
    put_down(l);
    fixture_close(&l->f);
    memory_disk_free(l->f.disk);
    free(l);
    remove_folder();
    clock_skew_us(0);
    return 0;
}

/* ---- what the builder does ---- */

static err add(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)index, (void)private_part;
    return audit_publisher_add(ctx, entry);
}

static err publish(logged *l) {
    TRY(engine_log_read(store_engine(l->f.s), audit_publisher_added(l->p), UINT64_MAX, add, l->p));
    return checkpoint(l->p);
}

static err step(logged *l) {
    l->r.next_us = 0; /* not to wait */
    return retain_step(&l->r, l->p);
}

/* Until nothing more is to be done. */
static err settle(logged *l) {
    for (int i = 0; i < 20; i++) {
        TRY(publish(l));
        TRY(step(l));
    }
    return OK;
}

static void log_entries(logged *l, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        store_recorder r = {.make = make_entry};
        assert_ok(store_record(l->f.s, &r));
    }
}

/* A log of which the first `old` entries are older than what is kept. */
static void make_log(logged *l, unsigned old, unsigned young) {
    log_entries(l, old);
    clock_skew_us(100 * DAY_US);
    log_entries(l, young);
}

/* ---- what others see ---- */

typedef struct found {
    audit_checkpoint c;
    audit_report report;
} found;

static err verify(found *ret) {
    arena *a = arena_new(64 << 10, 0);
    const audit_source s = audit_folder(folder);
    const audit_signer own = signer(1);
    audit_verifier v;
    slice note;
    audit_verifier_of(&own, &v);
    err e = audit_read_checkpoint(&s, a, &v, &ret->c, &note);
    if (e == OK) e = audit_verify(&s, &ret->c, NULL, NULL, NULL, &ret->report);
    arena_free(a);
    return e;
}

static uint64_t verified_minimum(void) {
    found x;
    err e = verify(&x);
    if (e != OK) fail_msg("%s", err_detail());
    assert_int_equal(x.report.entries + x.report.minimum, x.c.size);
    return x.report.minimum;
}

static err prove(uint64_t index) {
    arena *a = arena_new(64 << 10, 0);
    const audit_source s = audit_folder(folder);
    const audit_signer own = signer(1);
    audit_verifier v;
    audit_checkpoint c, of;
    audit_proof p;
    slice note;
    buf out;
    audit_verifier_of(&own, &v);
    assert_ok(audit_read_checkpoint(&s, a, &v, &c, &note));
    buf_init_arena(&out, a, 1 << 20);
    err e = audit_prove(&s, a, index, &c, note, &out);
    if (e == OK) e = audit_proof_parse(a, buf_slice(&out), &p);
    if (e == OK) e = audit_proof_check(a, &p, p.entry, &v, &of);
    arena_free(a);
    return e;
}

static bool is_there(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static uint64_t first_kept(logged *l) {
    engine_stats st;
    engine_get_stats(store_engine(l->f.s), &st);
    return st.log_first;
}

static err find_telling(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)index, (void)private_part;
    if (slice_find_slice(entry, 0, S("\"retention\":{")) < entry.len) ++*(unsigned *)ctx;
    return OK;
}

/* Entries that tell of retention. */
static unsigned tellings(logged *l) {
    unsigned n = 0;
    assert_ok(engine_log_read(store_engine(l->f.s), first_kept(l), UINT64_MAX, find_telling, &n));
    return n;
}

/* ---- tests ---- */

static void what_is_old_goes_and_the_tree_stays(void **state) {
    logged *l = *state;
    make_log(l, 1000, 10); /* entry 0 tells of the setting */
    assert_ok(publish(l));
    assert_int_equal(tellings(l), 1);
    assert_ok(step(l)); /* it is told */
    assert_int_equal(tellings(l), 2);
    assert_ok(step(l)); /* but that is not published */
    assert_int_equal(verified_minimum(), 0);
    assert_int_equal(first_kept(l), 0);
    assert_ok(publish(l));
    assert_ok(step(l));
    assert_int_equal(verified_minimum(), 768);
    assert_int_equal(first_kept(l), 768);
    assert_int_equal(l->r.removed, 768);
    assert_false(is_there("tile/entries/000"));
    assert_false(is_there("tile/entries/002"));
    assert_true(is_there("tile/entries/003.p"));
    assert_true(is_there("tile/0/000"));
    assert_ok(prove(768));
    assert_ok(prove(1005));
    assert_int_equal(prove(767), ERR_NOT_FOUND);
    assert_int_equal(prove(0), ERR_NOT_FOUND);
    for (int i = 0; i < 3; i++) {
        assert_ok(settle(l)); /* nothing more */
        assert_int_equal(verified_minimum(), 768);
        fixture_assert_sound(&l->f);
        restart(l);
    }
    assert_int_equal(tellings(l), 1);
    log_entries(l, 300);
    clock_skew_us(200 * DAY_US);
    log_entries(l, 1);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 1280);
    fixture_assert_sound(&l->f);
}

static void clocks_set_back_end_what_goes(void **state) {
    logged *l = *state;
    log_entries(l, 300);
    clock_skew_us(80 * DAY_US);
    log_entries(l, 300);
    clock_skew_us(0);
    log_entries(l, 300);
    clock_skew_us(100 * DAY_US);
    log_entries(l, 1);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 256);
}

static void without_a_setting_nothing_goes(void **state) {
    logged *l = *state;
    put_down(l);
    l->keep_s = 0;
    assert_ok(try_open(l));
    make_log(l, 600, 1);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 0);
    assert_int_equal(tellings(l), 2); /* that it is kept for ever now, too */
    restart(l);
    assert_int_equal(tellings(l), 2);
    l->keep_s = DAY_S; /* shorter: told before anything goes */
    restart(l);
    assert_int_equal(tellings(l), 3);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 512);
    l->keep_s = 0; /* what is gone stays so, and is known */
    restart(l);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 512);
    fixture_assert_sound(&l->f);
}

static void a_folder_is_made_again_from_what_is_kept(void **state) {
    logged *l = *state;
    found before, after;
    make_log(l, 66000, 700); /* 257 full bundles: the second level has hashes of its own */
    assert_ok(settle(l));
    assert_ok(verify(&before));
    assert_int_equal(before.report.minimum, 257 * 256);
    put_down(l);
    remove_folder();
    fixture_close(&l->f);
    open_store(&l->f);
    assert_ok(try_open(l));
    assert_ok(settle(l));
    assert_ok(verify(&after));
    assert_int_equal(after.report.minimum, before.report.minimum);
    assert_int_equal(after.c.size, before.c.size);
    assert_memory_equal(after.c.root.b, before.c.root.b, sizeof after.c.root.b);
    assert_ok(prove(257 * 256));
    assert_false(is_there("tile/0/000"));
    assert_true(is_there("tile/1/001.p"));
    log_entries(l, 1000);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 257 * 256);
}

static void what_nobody_told_of_is_found(void **state) {
    logged *l = *state;
    char path[128];
    found x;
    make_log(l, 1000, 10);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 768);
    snprintf(path, sizeof path, "%s/tile/entries/003.p", folder);
    log_entries(l, 600);
    assert_ok(publish(l));
    snprintf(path, sizeof path, "%s/minimum-index", folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs("1024\n", f);
    fclose(f);
    assert_int_equal(verify(&x), ERR_CORRUPT);
    static const char *const bad[] = {"",      "\n",   "768",        "0768\n",
                                      "769\n", "-1\n", "768\n768\n", "1000192\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f = fopen(path, "we");
        assert_non_null(f);
        fputs(bad[i], f);
        fclose(f);
        assert_int_equal(verify(&x), ERR_CORRUPT);
    }
    f = fopen(path, "we");
    assert_non_null(f);
    fputs("768\n", f);
    fclose(f);
    assert_ok(verify(&x));
    snprintf(path, sizeof path, "%s/tile/1/000.p/6", folder);
    f = fopen(path, "r+be"); /* what stands for the removed ones */
    assert_non_null(f);
    fputc(1, f);
    fclose(f);
    assert_int_equal(verify(&x), ERR_CORRUPT);
}

/* ---- each file operation fails in turn ---- */

static io failing;
static int calls_left = -1;

static bool fails(void) {
    return calls_left >= 0 && calls_left-- <= 0 && (calls_left = 0, true);
}
static int failing_pwrite(const io *self, int fd, const void *p, size_t n, uint64_t at) {
    (void)self;
    return fails() ? -EIO : io_real.pwrite(&io_real, fd, p, n, at);
}
static int failing_fsync(const io *self, int fd) {
    (void)self;
    return fails() ? -EIO : io_real.fsync(&io_real, fd);
}
static int failing_rename(const io *self, int dir, const char *from, const char *to) {
    (void)self;
    return fails() ? -EIO : io_real.rename(&io_real, dir, from, to);
}
static int failing_unlink(const io *self, int dir, const char *name) {
    (void)self;
    return fails() ? -EIO : io_real.unlink(&io_real, dir, name);
}

static void whatever_fails_it_is_taken_up_again(void **state) {
    logged *l = *state;
    failing = io_real;
    failing.pwrite = failing_pwrite;
    failing.fsync = failing_fsync;
    failing.rename = failing_rename;
    failing.unlink = failing_unlink;
    make_log(l, 1500, 10);
    int failures = 0;
    for (int n = 0;; n++) {
        put_down(l);
        io_use(&failing);
        calls_left = n;
        err e = try_open(l);
        if (e == OK) e = settle(l);
        calls_left = -1;
        io_use(&io_real);
        if (e == OK) break;
        failures++;
        restart(l); /* what it left holds, whatever that is */
        found x;
        e = verify(&x);
        if (e != OK && e != ERR_NOT_FOUND) fail_msg("after %d: %s", n, err_detail());
        fixture_assert_sound(&l->f);
    }
    assert_true(failures > 10);
    assert_int_equal(verified_minimum(), 1280);
    assert_int_equal(first_kept(l), 1280);
    assert_false(is_there("tile/entries/004"));
}

/* A full disk stops no publishing. */
static void a_full_disk_only_delays_it(void **state) {
    logged *l = *state;
    make_log(l, 600, 10);
    assert_ok(publish(l));
    memory_disk_fail_commits(l->f.disk, 1, ERR_NO_SPACE);
    assert_ok(step(l));
    assert_int_equal(verified_minimum(), 0);
    assert_ok(settle(l));
    assert_int_equal(verified_minimum(), 512);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_old_goes_and_the_tree_stays), TEST(clocks_set_back_end_what_goes),
        TEST(without_a_setting_nothing_goes),      TEST(a_folder_is_made_again_from_what_is_kept),
        TEST(what_nobody_told_of_is_found),        TEST(whatever_fails_it_is_taken_up_again),
        TEST(a_full_disk_only_delays_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
