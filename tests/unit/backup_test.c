/* backup: what each failing call leaves behind; manifests that do not verify. The whole, with the server, is tested by
 * tests/wire/test_backup.py. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <sys/stat.h>
#include <unistd.h>

#include "backup/internal.h"

#define LEASE_MS 600000
#define RUNS     3
#define RUN_LEN  70000

static char data[64], to[72], back[72];

static void ok(err e) {
    if (e != OK) fail_msg("%s: %s", err_get(e)->name, err_detail());
}

/* A command of $A, the data folder, $T, the backup, and $B, what is restored. */
static void shell(const char *command) {
    assert_int_equal(setenv("A", data, 1) | setenv("T", to, 1) | setenv("B", back, 1), 0);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): ours */
}

static bool there(const char *folder, const char *name) {
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

/* ---- a disk whose n-th call fails ---- */

static io faulty;
static unsigned calls, fail_at; /* 0: none */
static int fail_with;

static bool fails(void) {
    return ++calls == fail_at;
}

static int f_open(const io *s, int dir, const char *name, int flags) {
    return fails() ? -fail_with : io_real.open(s, dir, name, flags);
}
static int64_t f_pread(const io *s, int fd, void *p, size_t n, uint64_t at) {
    return fails() ? -fail_with : io_real.pread(s, fd, p, n, at);
}
static int f_pwrite(const io *s, int fd, const void *p, size_t n, uint64_t at) {
    return fails() ? -fail_with : io_real.pwrite(s, fd, p, n, at);
}
static int f_fsync(const io *s, int fd) {
    return fails() ? -fail_with : io_real.fsync(s, fd);
}
static int f_rename(const io *s, int dir, const char *from, const char *name) {
    return fails() ? -fail_with : io_real.rename(s, dir, from, name);
}
static int f_mkdir(const io *s, int dir, const char *name) {
    return fails() ? -fail_with : io_real.mkdir(s, dir, name);
}
static int f_list(const io *s, int dir, void (*each)(void *ctx, const char *name), void *ctx) {
    return fails() ? -fail_with : io_real.list(s, dir, each, ctx);
}

static void fail_call(unsigned n, int errnum) {
    faulty = io_real;
    faulty.open = f_open;
    faulty.pread = f_pread;
    faulty.pwrite = f_pwrite;
    faulty.fsync = f_fsync;
    faulty.rename = f_rename;
    faulty.mkdir = f_mkdir;
    faulty.list = f_list;
    calls = 0;
    fail_at = n;
    fail_with = errnum;
    io_use(&faulty);
}

/* ---- a folder, and backups of it ---- */

static engine *open_at(const char *path, bool create) {
    const engine_local_options o = {.path = path, .create = create, .cache_bytes = 32 << 20};
    engine *e = NULL;
    ok(engine_local_open(&o, &e));
    return e;
}

static void put(engine *e, const char *key, uint8_t fill) {
    static uint8_t p[RUN_LEN];
    arena *a = arena_new(4096, 0);
    engine_stream *s;
    engine_txn *t;
    slice name;
    memset(p, fill, sizeof p);
    ok(engine_stream_create(e, sizeof p, &s));
    ok(engine_stream_write(s, slice_of(p, sizeof p)));
    ok(engine_stream_sync(s, a, &name));
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, slice_str(key), name);
    engine_txn_adopt(t, s);
    ok(engine_txn_commit(t));
    arena_free(a);
}

static err no_progress(void *ctx, const backup_progress *p) {
    (void)ctx, (void)p;
    return OK;
}

static size_t damages;

static void count_damage(void *ctx, const char *what, const char *where) {
    (void)ctx, (void)what, (void)where;
    damages++;
}

static err held(void *ctx) {
    (void)ctx;
    return OK;
}

static const backup_watch watch = {NULL, no_progress, count_damage};

static err take(backup_progress *ret) {
    backup_point p;
    return backup_take(data, to, &watch, held, &p, ret);
}

static err restore(void) {
    backup_point p;
    backup_progress done;
    return backup_restore(to, NULL, back, false, &watch, &p, &done);
}

static void count_point(void *ctx, const backup_point *p) {
    assert_true(p->intact);
    ++*(size_t *)ctx;
}

static size_t points(void) {
    size_t n = 0;
    ok(backup_each(to, count_point, &n));
    return n;
}

static void count_defect(void *ctx, const char *what, const char *where) {
    print_message("%s: %s\n", what, where);
    ++*(size_t *)ctx;
}

/* What was restored is whole: `keys` streams. */
static void check_restored(size_t keys) {
    engine *e = open_at(back, false);
    arena *a = arena_new(4096, 0);
    size_t defects = 0;
    ok(engine_check(e, count_defect, &defects));
    assert_int_equal(defects, 0);
    for (size_t i = 0; i < keys; i++) {
        char key[32];
        slice name;
        uint8_t last = 0;
        snprintf(key, sizeof key, "k%zu", i);
        ok(engine_get(e, ENGINE_BLOB, slice_str(key), a, false, &name));
        ok(engine_stream_read(e, name, RUN_LEN - 1, &last, 1, false));
        assert_int_equal(last, (uint8_t)(i + 1));
    }
    engine_close(e);
    arena_free(a);
}

static engine *filled(void) {
    shell("rm -rf $A $T $T.first $B");
    engine *e = open_at(data, true);
    for (size_t i = 0; i < RUNS; i++) {
        char key[32];
        snprintf(key, sizeof key, "k%zu", i);
        put(e, key, (uint8_t)(i + 1));
    }
    return e;
}

/* ---- tests ---- */

/* Whichever call fails: an error, the earlier point as it was, no other; and then it goes on. */
static void a_backup_whose_disk_fails_makes_no_point(void **state) {
    (void)state;
    engine *e = filled();
    uint64_t id;
    backup_progress done;
    ok(engine_point_begin(e, LEASE_MS, &id));
    ok(take(&done));
    assert_int_equal(done.runs, RUNS);
    ok(engine_point_end(e, id));
    put(e, "k3", 4);
    ok(engine_point_begin(e, LEASE_MS, &id));
    shell("cp -a $T $T.first");
    unsigned failed = 0;
    for (unsigned n = 1;; n++) {
        damages = 0;
        fail_call(n, n % 2 ? EIO : ENOSPC);
        const err outcome = take(&done);
        const bool over = calls < n;
        io_use(&io_real);
        if (over) {
            ok(outcome);
            break;
        }
        failed += outcome != OK;
        /* A read may fail without ending it: that is told, or copied again. The last calls come after the point was
         * named. */
        const size_t now = points();
        if (outcome == OK) assert_int_equal(now, 2);
        shell("rm -rf $B");
        if (damages == 0) ok(restore());
        if (damages == 0 && n % 8 == 0) check_restored(now == 2 ? RUNS + 1 : RUNS);
        shell("rm -rf $T && cp -a $T.first $T");
    }
    assert_true(failed > 20);
    assert_int_equal(points(), 2);
    shell("rm -rf $B");
    ok(restore());
    check_restored(RUNS + 1);
    ok(engine_point_end(e, id));
    engine_close(e);
}

static size_t copied_max;

/* Ends the backup when so many bytes are there. */
static err give_up(void *ctx, const backup_progress *p) {
    (void)ctx;
    return p->seen > copied_max ? err_fail(ERR_CANCELLED, "given up") : OK;
}

/* Interrupted again and again, each time further on: what is there is not copied again. */
static void an_interrupted_backup_is_gone_on_with(void **state) {
    (void)state;
    engine *e = filled();
    uint64_t id;
    backup_point p;
    backup_progress done;
    const backup_watch gives_up = {NULL, give_up, count_damage};
    ok(engine_point_begin(e, LEASE_MS, &id));
    for (copied_max = 0; copied_max < RUNS * RUN_LEN; copied_max += RUN_LEN / 4)
        assert_int_equal(backup_take(data, to, &gives_up, held, &p, &done), ERR_CANCELLED);
    assert_int_equal(points(), 0);
    ok(take(&done));
    assert_true(done.copied < RUNS * RUN_LEN);
    ok(engine_point_end(e, id));
    engine_close(e);
    assert_int_equal(points(), 1);
    shell("test $(ls $T/points | wc -l) = 1");
    ok(restore());
    check_restored(RUNS);
}

/* Whichever call fails: the folder is no data folder, or whole. */
static void a_restore_whose_disk_fails_makes_no_folder(void **state) {
    (void)state;
    engine *e = filled();
    uint64_t id;
    backup_progress done;
    ok(engine_point_begin(e, LEASE_MS, &id));
    ok(take(&done));
    ok(engine_point_end(e, id));
    engine_close(e);
    unsigned failed = 0;
    for (unsigned n = 1;; n++) {
        shell("rm -rf $B");
        fail_call(n, EIO);
        const err outcome = restore();
        const bool over = calls < n;
        io_use(&io_real);
        if (outcome == OK || there(back, "FORMAT")) check_restored(RUNS);
        failed += outcome != OK;
        if (over) break;
        assert_int_not_equal(outcome, OK);
    }
    assert_true(failed > 20);
}

/* Nothing is removed on the word of a manifest that does not verify. */
static void nothing_goes_by_a_damaged_manifest(void **state) {
    (void)state;
    engine *e = filled();
    uint64_t id, removed = 0;
    backup_progress done;
    ok(engine_point_begin(e, LEASE_MS, &id));
    ok(take(&done));
    ok(take(&done));
    ok(engine_point_end(e, id));
    engine_close(e);
    shell("cp -a $T $B && sed -s -i '3s/^file/fi1e/' $T/points/*/manifest && touch $T/packs/stray");
    assert_int_equal(backup_tidy(to, 1, &removed), ERR_CORRUPT);
    assert_true(there(to, "packs/stray"));
    shell("test $(ls $T/points | wc -l) = 2 && rm -rf $T && mv $B $T && touch $T/packs/stray");
    ok(backup_tidy(to, 1, &removed));
    assert_int_equal(removed, 1);
    assert_false(there(to, "packs/stray"));
    assert_int_equal(points(), 1);
    ok(restore());
    check_restored(RUNS);
}

int main(void) {
    snprintf(data, sizeof data, "/tmp/strongroom-backup-%d", (int)getpid());
    snprintf(to, sizeof to, "%s.to", data);
    snprintf(back, sizeof back, "%s.back", data);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_whose_disk_fails_makes_no_point),
        cmocka_unit_test(an_interrupted_backup_is_gone_on_with),
        cmocka_unit_test(a_restore_whose_disk_fails_makes_no_folder),
        cmocka_unit_test(nothing_goes_by_a_damaged_manifest),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shell("rm -rf $A $T $T.first $B");
    return failed;
}
