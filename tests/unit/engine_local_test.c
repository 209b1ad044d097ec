/* engine/local: the suite that every engine passes, and what only this engine has: files, disks
 * that are full or fail, damage, the write-ahead log. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/local/private.h"
#include "engine_suite.h"

/* RocksDB is not built for the thread sanitizer: what it sees inside of it means nothing. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:librocksdb.so\nmutex:librocksdb.so\n";
}

static char folder[64]; /* of this process; removed at the end */
static local_tune tune;

/* ---- help ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_folder(void) {
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static err open_tuned(bool fresh, engine **ret) {
    if (fresh) remove_folder();
    const engine_local_options o = {.path = folder, .create = fresh, .cache_bytes = 32 << 20};
    return engine_local_open_tuned(&o, &tune, ret);
}

static void ok(err e) {
    if (e != OK) fail_msg("%s: %s", err_get(e)->name, err_detail());
}

static engine *open_ok(bool fresh) {
    engine *e = NULL;
    ok(open_tuned(fresh, &e));
    return e;
}

/* What a killed process leaves: the files as they are now, copied; and later opened in place of the
 * rest. */
static void crash_here(void) {
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s.copy && cp -a --sparse=always %s %s.copy", folder,
             folder, folder);
    assert_int_equal(system(command), 0);
}

static void after_crash(engine *e) {
    char command[256];
    engine_close(e);
    remove_folder();
    snprintf(command, sizeof command, "mv %s.copy %s", folder, folder);
    assert_int_equal(system(command), 0);
}

static engine_stream *write_stream(engine *e, size_t len, uint8_t fill) {
    engine_stream *s;
    ok(engine_stream_create(e, len, &s));
    uint8_t *p = malloc(len);
    memset(p, fill, len);
    ok(engine_stream_write(s, slice_of(p, len)));
    free(p);
    return s;
}

static slice keep_stream(engine *e, size_t len, uint8_t fill, arena *a) {
    engine_stream *s = write_stream(e, len, fill);
    slice name;
    ok(engine_stream_sync(s, a, &name));
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_BLOB, S("k"), name);
    engine_txn_adopt(t, s);
    ok(engine_txn_commit(t));
    return name;
}

static err put_row(engine *e, const char *key, slice value) {
    engine_txn *t;
    TRY(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_META, slice_str(key), value);
    return engine_txn_commit(t);
}

static err delete_row(engine *e, const char *key) {
    engine_txn *t;
    TRY(engine_txn_begin(e, S("s"), &t));
    engine_txn_delete(t, ENGINE_META, slice_str(key));
    return engine_txn_commit(t);
}

static void release(engine *e, slice name) {
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_release(t, name);
    ok(engine_txn_commit(t));
}

typedef struct files {
    size_t count;
    uint64_t bytes; /* on disk */
    char first[256];
} files;
static files seen;

static int see(const char *path, const struct stat *st, int type, struct FTW *at) {
    if (type != FTW_F || strstr(path, ".ext") == NULL) return 0;
    (void)at;
    if (seen.count++ == 0) snprintf(seen.first, sizeof seen.first, "%s", path);
    seen.bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}

static files extent_files(void) {
    seen = (files){0};
    assert_int_equal(nftw(folder, see, 16, FTW_PHYS), 0);
    return seen;
}

/* Flips one bit of a file. */
static void damage(const char *name, off_t at) {
    char path[512];
    if (name[0] == '/')
        snprintf(path, sizeof path, "%s", name);
    else
        snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t b;
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

typedef struct findings {
    int count;
    char what[512], where[512];
} findings;

static void note(void *ctx, const char *what, const char *where) {
    findings *f = ctx;
    f->count++;
    snprintf(f->what, sizeof f->what, "%s", what);
    snprintf(f->where, sizeof f->where, "%s", where);
}

/* As `strongroom check` does it: on a stopped folder, reading only. */
static findings check_stopped(void) {
    findings f = {0};
    engine *e;
    const engine_local_options o = {.path = folder, .read_only = true};
    ok(engine_local_open_tuned(&o, &tune, &e));
    ok(engine_check(e, note, &f));
    engine_close(e);
    return f;
}

/* ---- faults ---- */

static struct {
    bool no_space, fail_sync, fail_write, fail_punch, stop_punch;
    bool no_direct_open, no_direct_write; /* what file systems without O_DIRECT answer */
    uint64_t free_bytes;                  /* when not 0 */
    int punches, syncs, failed_syncs;
    atomic_int hold_sync; /* 1: the next sync ends after one more write; 2: it is waiting */
    atomic_int writes;
} fault;

static atomic_int direct_fd = -1; /* the last one opened */
static atomic_int direct_writes;

static int fault_open(const io *self, int dir, const char *name, int flags) {
    const bool direct = (flags & O_DIRECT) != 0;
    if (direct && fault.no_direct_open) return -EINVAL;
    const int fd = io_real.open(self, dir, name, flags);
    if (direct) atomic_store(&direct_fd, fd);
    return fd;
}
static int fault_fallocate(const io *self, int fd, uint64_t at, uint64_t n) {
    return fault.no_space ? -ENOSPC : io_real.fallocate(self, fd, at, n);
}
static int fault_pwrite(const io *self, int fd, const void *p, size_t n, uint64_t at) {
    if (fault.no_space) return -ENOSPC;
    atomic_fetch_add(&fault.writes, 1);
    if (fd == atomic_load(&direct_fd)) {
        atomic_fetch_add(&direct_writes, 1);
        if (fault.no_direct_write) return -EINVAL;
        if (n % EXTENT_BLOCK != 0 || at % EXTENT_BLOCK != 0 || (uintptr_t)p % EXTENT_BLOCK != 0)
            return -EFAULT; /* some disk would refuse it */
    }
    return fault.fail_write ? -EIO : io_real.pwrite(self, fd, p, n, at);
}
static int fault_fdatasync(const io *self, int fd) {
    fault.syncs++;
    int hold = 1;
    const int writes = atomic_load(&fault.writes);
    if (atomic_compare_exchange_strong(&fault.hold_sync, &hold, 2))
        for (int i = 0; i < 5000 && atomic_load(&fault.writes) == writes; i++) usleep(1000);
    if (!fault.fail_sync) return io_real.fdatasync(self, fd);
    fault.failed_syncs++;
    return -EIO;
}
static int fault_punch(const io *self, int fd, uint64_t at, uint64_t n) {
    fault.punches++;
    if (fault.stop_punch) return -EIO;
    return fault.fail_punch ? -EOPNOTSUPP : io_real.punch(self, fd, at, n);
}
static int fault_free_space(const io *self, int fd, uint64_t *ret_free, uint64_t *ret_total) {
    const int r = io_real.free_space(self, fd, ret_free, ret_total);
    if (fault.free_bytes != 0) *ret_free = fault.free_bytes;
    return r;
}

static io faulty(void) {
    io x = io_real;
    x.fallocate = fault_fallocate;
    x.open = fault_open;
    x.pwrite = fault_pwrite;
    x.fdatasync = fault_fdatasync;
    x.punch = fault_punch;
    x.free_space = fault_free_space;
    return x;
}

static io faulty_io;

static int with_faults(void **state) {
    (void)state;
    memset(&fault, 0, sizeof fault);
    faulty_io = faulty();
    tune = (local_tune){.io = &faulty_io,
                        .extent_bytes = 4 << 20,
                        .run_bytes_max = 1 << 20,
                        .run_step_first = 64 << 10};
    return 0;
}

static void a_full_disk_harms_nothing(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    ok(put_row(e, "before", S("v")));
    slice name = keep_stream(e, 100000, 1, a), got;
    engine_stream *half = write_stream(e, 300000, 2);
    fault.no_space = true;
    /* What has its space is kept; what needs more is refused and can be given up. */
    engine_stream *s;
    ok(engine_stream_create(e, ENGINE_LEN_UNKNOWN, &s));
    uint8_t *big = calloc(1, 8 << 20);
    assert_int_equal(engine_stream_write(s, slice_of(big, 8 << 20)), ERR_NO_SPACE);
    engine_stream_abort(s);
    assert_int_equal(engine_stream_sync(half, a, &got), ERR_NO_SPACE);
    engine_stream_abort(half);
    fault.no_space = false;
    fault.free_bytes = 1 << 20; /* less than the reserve */
    assert_int_equal(put_row(e, "during", S("v")), ERR_NO_SPACE);
    assert_non_null(strstr(err_detail(), "MiB"));
    ok(delete_row(e, "before"));
    release(e, name);
    ok(engine_stream_create(e, ENGINE_LEN_UNKNOWN, &s));
    assert_int_equal(engine_stream_write(s, slice_of(big, 8 << 20)), ERR_NO_SPACE);
    engine_stream_abort(s);
    engine_stats st;
    engine_get_stats(e, &st);
    assert_false(st.failed);
    fault.free_bytes = 0; /* space again: all goes on */
    ok(put_row(e, "after", S("v")));
    keep_stream(e, 3 << 20, 3, a);
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    free(big);
    arena_free(a);
}

static void expect_read_only(engine *e) {
    engine_stats st;
    engine_get_stats(e, &st);
    assert_true(st.failed);
    assert_int_equal(put_row(e, "later", S("v")), ERR_READ_ONLY);
    assert_int_equal(delete_row(e, "before"), ERR_READ_ONLY);
    engine_stream *s;
    assert_int_equal(engine_stream_create(e, 10, &s), ERR_READ_ONLY);
    uint64_t slot;
    assert_int_equal(engine_vault_put(e, 1, S("s"), &slot), ERR_READ_ONLY);
    assert_int_equal(engine_vault_destroy(e, 1, 0), ERR_READ_ONLY);
    arena *a = arena_new(1024, 0);
    slice got;
    ok(engine_get(e, ENGINE_META, S("before"), a, false, &got)); /* reading goes on */
    arena_free(a);
}

static void a_failed_sync_is_never_tried_again(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    ok(put_row(e, "before", S("v")));
    slice kept = keep_stream(e, 100000, 1, a), got;
    engine_stream *s = write_stream(e, 100000, 2), *other = write_stream(e, 100000, 3);
    fault.fail_sync = true;
    assert_int_equal(engine_stream_sync(s, a, &got), ERR_IO);
    assert_int_equal(fault.failed_syncs, 1);
    fault.fail_sync = false; /* the next one would succeed, and lie */
    fault.syncs = 0;
    assert_int_equal(engine_stream_sync(s, a, &got), ERR_READ_ONLY);
    assert_int_equal(engine_stream_sync(other, a, &got), ERR_READ_ONLY);
    engine_stream_abort(s);
    engine_stream_abort(other);
    expect_read_only(e);
    uint8_t byte;
    ok(engine_stream_read(e, kept, 99999, &byte, 1, false));
    const files before = extent_files();
    engine_close(e);
    assert_int_equal(fault.syncs, 0);
    assert_int_equal(fault.punches,
                     0); /* nothing is given back: nobody knows what the disk holds */
    assert_int_equal(extent_files().bytes, before.bytes);
    e = open_ok(false); /* only opening again leaves the state */
    ok(put_row(e, "again", S("v")));
    ok(engine_stream_read(e, kept, 99999, &byte, 1, false));
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    arena_free(a);
}

/* A secret's slot was zeroed and the sync failed: the page cache has zeros and the disk may have the secret. What
 * tries to destroy it after a restart must write, not believe what it reads. */
static void destroying_again_writes_again(void **state) {
    (void)state;
    engine *e = open_ok(true);
    uint64_t slot, other;
    ok(engine_vault_put(e, 7, S("secret"), &slot));
    fault.fail_sync = true;
    assert_int_equal(engine_vault_destroy(e, 7, slot), ERR_IO);
    fault.fail_sync = false;
    engine_close(e);
    e = open_ok(false);
    atomic_store(&fault.writes, 0);
    fault.syncs = 0;
    ok(engine_vault_destroy(e, 7, slot));
    assert_int_equal(atomic_load(&fault.writes), 1);
    assert_int_equal(fault.syncs, 1);
    ok(engine_vault_put(e, 8, S("one"), &slot)); /* and the slot is handed out once */
    ok(engine_vault_put(e, 9, S("two"), &other));
    assert_true(slot != other);
    arena *a = arena_new(1024, 0);
    slice got;
    ok(engine_vault_destroy(e, 7, slot)); /* it is another's now */
    ok(engine_vault_get(e, 8, slot, a, &got));
    arena_free(a);
    engine_close(e);
}

static void a_failed_write_stops_changes(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "before", S("v")));
    engine_stream *s;
    const size_t len = 2 * STREAM_BUFFER; /* more than waits in memory */
    ok(engine_stream_create(e, len, &s));
    uint8_t *p = calloc(1, len);
    fault.fail_write = true;
    assert_int_equal(engine_stream_write(s, slice_of(p, len)), ERR_IO);
    fault.fail_write = false;
    engine_stream_abort(s);
    expect_read_only(e);
    free(p);
    engine_close(e);
    engine_close(open_ok(false));
    assert_int_equal(check_stopped().count, 0);
}

/* A stream of several runs, all its bytes read back and verified. */
static void write_and_read(engine *e, uint64_t declared, size_t len) {
    arena *a = arena_new(65536, 0);
    engine_stream *s;
    slice name;
    engine_txn *t;
    uint8_t *p = malloc(len), *got = malloc(len);
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)(i * 2654435761u >> 13);
    ok(engine_stream_create(e, declared, &s));
    for (size_t at = 0; at < len; at += 16400)
        ok(engine_stream_write(s, slice_take(slice_of(p + at, len - at), 16400)));
    ok(engine_stream_sync(s, a, &name));
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_adopt(t, s);
    ok(engine_txn_commit(t));
    memset(got, 0, len);
    ok(engine_stream_read(e, name, 0, got, len, false));
    assert_memory_equal(got, p, len);
    free(p);
    free(got);
    arena_free(a);
}

static void large_streams(bool no_open, bool no_write, int writes_min, int writes_max) {
    /* Runs of 3 MiB and no space beyond an extent's end, so that they end anywhere in the buffer. */
    tune.extent_bytes = 8 << 20;
    tune.run_bytes_max = 3 << 20;
    fault.no_direct_open = no_open;
    fault.no_direct_write = no_write;
    atomic_store(&direct_fd, -1);
    atomic_store(&direct_writes, 0);
    engine *e = open_ok(true);
    static const size_t lengths[] = {STREAM_BUFFER_SMALL + 1,
                                     STREAM_BUFFER - 1,
                                     STREAM_BUFFER + STREAM_SLACK,
                                     STREAM_BUFFER + STREAM_SLACK + 1,
                                     (3 << 20) - 256,
                                     3 << 20,
                                     (3 << 20) + 1,
                                     8400000,
                                     (4 << 20) + STREAM_SLACK - 12345,
                                     70000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        write_and_read(e, lengths[i], lengths[i]);
        write_and_read(e, ENGINE_LEN_UNKNOWN, lengths[i]);
    }
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    assert_in_range(atomic_load(&direct_writes), writes_min, writes_max);
}

static void large_streams_pass_the_page_cache(void **state) {
    (void)state;
    large_streams(false, false, 20, 1000);
}

static void without_direct_writes_they_are_buffered(void **state) {
    (void)state;
    large_streams(true, false, 0, 0);
    large_streams(false, true, 1, 1); /* asked once */
}

static void a_failed_vault_sync_stops_changes(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "before", S("v")));
    uint64_t slot;
    ok(engine_vault_put(e, 1, S("s"), &slot));
    fault.fail_sync = true;
    assert_int_equal(engine_vault_destroy(e, 1, slot), ERR_IO);
    fault.fail_sync = false;
    expect_read_only(e);
    engine_close(e);
}

static void *destroy_first(void *arg) {
    ok(engine_vault_destroy(arg, 1, 0));
    return NULL;
}

/* The first put after opening reads which slots are free. One that a destroy under way has zeroed
 * and not yet synced must not be found twice: two keys would share it, and one of them be lost. */
static void a_slot_is_handed_out_once(void **state) {
    (void)state;
    engine *e = open_ok(true);
    uint64_t slot, second, third;
    ok(engine_vault_put(e, 1, S("one"), &slot));
    assert_int_equal(slot, 0);
    engine_close(e);
    e = open_ok(false);
    pthread_t thread;
    atomic_store(&fault.hold_sync, 1);
    assert_int_equal(pthread_create(&thread, NULL, destroy_first, e), 0);
    for (int i = 0; i < 5000 && atomic_load(&fault.hold_sync) != 2; i++) usleep(1000);
    assert_int_equal(atomic_load(&fault.hold_sync), 2);
    ok(engine_vault_put(e, 2, S("two"), &second));
    pthread_join(thread, NULL);
    ok(engine_vault_put(e, 3, S("three"), &third));
    assert_int_not_equal(second, third);
    arena *a = arena_new(1024, 0);
    slice got;
    ok(engine_vault_get(e, 2, second, a, &got));
    assert_true(slice_eq(got, S("two")));
    arena_free(a);
    engine_close(e);
}

/* What is deleted is given back by jobs: they are written also when nothing else is. */
static void jobs_are_taken_on_a_full_disk(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "before", S("v")));
    fault.free_bytes = 1 << 20; /* less than the reserve */
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_delete(t, ENGINE_META, S("before"));
    engine_txn_put(t, ENGINE_JOB, S("purge"), S("v"));
    ok(engine_txn_commit(t));
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_JOB, S("staging"), S("v"));
    engine_txn_put(t, ENGINE_BLOCK, S("block"), S("v"));
    assert_int_equal(engine_txn_commit(t), ERR_NO_SPACE);
    engine_close(e);
}

/* RocksDB's own files cannot grow: its write fails, and the engine with it. */
static void a_failed_commit_stops_changes(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "before", S("v")));
    struct rlimit was, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 2 << 20;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint8_t *big = calloc(1, 4 << 20);
    assert_int_equal(put_row(e, "big", slice_of(big, 4 << 20)), ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    expect_read_only(e);
    engine_close(e);
    e = open_ok(false);
    ok(put_row(e, "again", S("v")));
    arena *a = arena_new(1024, 0);
    slice got;
    ok(engine_get(e, ENGINE_META, S("before"), a, false, &got));
    arena_free(a);
    free(big);
    engine_close(e);
}

/* ---- space ---- */

static void released_space_goes_back_to_the_disk(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    slice refs[12];
    for (int i = 0; i < 12; i++) refs[i] = keep_stream(e, 1 << 20, (uint8_t)(i + 1), a);
    engine_close(e);
    const files full = extent_files();
    assert_true(full.bytes >= 12 << 20);
    assert_true(full.bytes < 13 << 20); /* a clean stop keeps nothing in reserve */
    e = open_ok(false);
    for (int i = 0; i < 12; i += 2) release(e, refs[i]);
    engine_close(e);
    const files half = extent_files();
    assert_true(half.bytes >= 6 << 20);
    assert_true(half.bytes < 7 << 20);
    assert_int_equal(check_stopped().count, 0);
    e = open_ok(false);
    uint8_t byte;
    for (int i = 1; i < 12; i += 2) {
        ok(engine_stream_read(e, refs[i], 12345, &byte, 1, false));
        assert_int_equal(byte, i + 1);
        release(e, refs[i]);
    }
    /* Extents that nothing lives in are unlinked, once the census knows. */
    for (int i = 0; i < 500 && extent_files().count > 0; i++) usleep(10000);
    assert_int_equal(extent_files().count, 0);
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    arena_free(a);
}

static void punching_is_finished_after_a_crash(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    slice gone = keep_stream(e, 1 << 20, 1, a), kept = keep_stream(e, 1 << 20, 2, a);
    engine_close(e);
    e = open_ok(false);
    fault.stop_punch = true;
    release(e, gone);
    crash_here();
    after_crash(e);
    fault.stop_punch = false;
    assert_true(extent_files().bytes >= 2 << 20);
    assert_int_equal(check_stopped().count, 0); /* it is known to be pending */
    e = open_ok(false);
    for (int i = 0; i < 500 && extent_files().bytes > 3 << 19; i++) usleep(10000);
    assert_true(extent_files().bytes < 3 << 19);
    uint8_t byte;
    ok(engine_stream_read(e, kept, 5, &byte, 1, false));
    assert_int_equal(byte, 2);
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    arena_free(a);
}

static void without_holes_what_is_released_reads_as_zeros(void **state) {
    (void)state;
    fault.fail_punch = true;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    slice refs[6];
    for (int i = 0; i < 6; i++) refs[i] = keep_stream(e, 1 << 20, (uint8_t)(i + 1), a);
    for (int i = 0; i < 6; i += 2) release(e, refs[i]);
    engine_close(e);
    assert_true(fault.punches > 0);
    assert_int_equal(check_stopped().count, 0);
    e = open_ok(false);
    engine_stream *s =
        write_stream(e, 700000, 2); /* between two that stay; the crash leaves it without a row */
    refs[0] = keep_stream(e, 500000, 7, a);
    crash_here();
    engine_stream_abort(s);
    after_crash(e);
    e = open_ok(false);
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    e = open_ok(false);
    for (int i = 1; i < 6; i += 2) {
        uint8_t byte;
        ok(engine_stream_read(e, refs[i], 7, &byte, 1, false));
        assert_int_equal(byte, i + 1);
    }
    engine_close(e);
    arena_free(a);
}

static void without_holes_whole_extents_are_given_back(void **state) {
    (void)state;
    fault.fail_punch = true;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    slice refs[12];
    for (int i = 0; i < 12; i++) refs[i] = keep_stream(e, 1 << 20, (uint8_t)(i + 1), a);
    for (int i = 0; i < 12; i++) release(e, refs[i]);
    engine_close(e);
    e = open_ok(false);
    for (int i = 0; i < 500 && extent_files().count > 0; i++) usleep(10000);
    assert_int_equal(extent_files().count, 0);
    engine_close(e);
    arena_free(a);
}

static void a_crash_leaves_only_what_was_adopted(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    slice kept[3], unused;
    kept[0] = keep_stream(e, 500000, 1, a);
    engine_stream *s = write_stream(e, 700000, 2);
    ok(engine_stream_sync(s, a, &unused));
    kept[1] = keep_stream(e, 500000, 3, a);
    engine_stream *s2 = write_stream(e, 900000, 4);
    kept[2] = keep_stream(e, 3000000, 5, a);
    crash_here();
    engine_stream_abort(s);
    engine_stream_abort(s2);
    after_crash(e);
    assert_int_equal(check_stopped().count, 0); /* what recovery will do is no damage */
    e = open_ok(false);
    assert_true(extent_files().bytes < 4100000);
    static const uint8_t fills[] = {1, 3, 5};
    for (int i = 0; i < 3; i++) {
        uint8_t byte;
        ok(engine_stream_read(e, kept[i], 499999, &byte, 1, false));
        assert_int_equal(byte, fills[i]);
    }
    findings f = {0};
    ok(engine_check(e, note, &f));
    assert_int_equal(f.count, 0);
    engine_close(e);
    arena_free(a);
}

/* ---- damage ---- */

static void check_finds_a_flipped_bit(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    uint64_t slot;
    ok(engine_vault_put(e, 1, S("secret"), &slot));
    ok(engine_vault_put(e, 2, S("secret"), &slot));
    slice ref_bytes = keep_stream(e, 200000, 1, a);
    ref r;
    ok(ref_decode(ref_bytes, &r));
    assert_int_equal(r.count, 1);
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    const files f = extent_files();
    const off_t run_at = (off_t)r.runs[0].offset,
                run_end = run_at + (off_t)run_disk_len(&r.runs[0]);
    const struct {
        off_t at;
        const char *what;
    } places[] = {{run_at, "CRC-32C"},
                  {run_at + 70000, "CRC-32C"},
                  {run_at + 199999, "CRC-32C"},
                  {run_end - 64, "frame"},
                  {run_end - 1, "frame"},
                  {run_end - 65, "CRC table"},
                  {run_end - 64 - 16, "CRC table"}};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        damage(f.first, places[i].at);
        const findings got = check_stopped();
        assert_int_equal(got.count, 1);
        assert_non_null(strstr(got.what, places[i].what));
        assert_non_null(strstr(got.where, "extents/0000000"));
        damage(f.first, places[i].at); /* and back */
    }
    for (off_t at = 0; at < 128; at += 5) {
        damage("vault", at + 128 * (off_t)slot);
        const findings got = check_stopped();
        assert_int_equal(got.count, 1);
        assert_non_null(strstr(got.where, "vault, slot 1,"));
        damage("vault", at + 128 * (off_t)slot);
    }
    assert_int_equal(check_stopped().count, 0);
    assert_int_equal(truncate(f.first, run_end - 4096), 0);
    assert_int_equal(check_stopped().count, 1);
    assert_int_equal(unlink(f.first), 0);
    const findings got = check_stopped();
    assert_int_equal(got.count, 1);
    assert_non_null(strstr(got.what, "missing"));
    e = open_ok(false); /* the rest is still served */
    uint8_t byte;
    assert_int_equal(engine_stream_read(e, ref_bytes, 0, &byte, 1, false), ERR_CORRUPT);
    slice secret;
    ok(engine_vault_get(e, 2, slot, a, &secret));
    engine_close(e);
    arena_free(a);
}

static char table_file[256];
static int see_table(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)at;
    if (type == FTW_F && st->st_size > 0 && strstr(path, ".blob") != NULL)
        snprintf(table_file, sizeof table_file, "%s", path);
    return 0;
}

static void check_finds_damage_in_rows(void **state) {
    (void)state;
    engine *e = open_ok(true);
    uint8_t value[20000];
    memset(value, 7, sizeof value);
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_CONTENT, S("k"), slice_of(value, sizeof value));
    ok(engine_txn_commit(t));
    engine_close(e);
    assert_int_equal(nftw(folder, see_table, 16, FTW_PHYS), 0);
    assert_true(table_file[0] != 0); /* content values stand in blob files */
    damage(table_file, 10000);
    const findings got = check_stopped();
    assert_int_equal(got.count, 1);
    assert_non_null(strstr(got.where, "content"));
    e = open_ok(false);
    arena *a = arena_new(65536, 0);
    slice v;
    assert_int_equal(engine_get(e, ENGINE_CONTENT, S("k"), a, false, &v), ERR_CORRUPT);
    arena_free(a);
    engine_close(e);
}

static void data_that_nobody_owns_is_found(void **state) {
    (void)state;
    engine *e = open_ok(true);
    arena *a = arena_new(65536, 0);
    slice gone = keep_stream(e, 200000, 1, a);
    (void)keep_stream(e, 200000, 2, a);
    (void)keep_stream(e, 200000, 2, a);
    release(e, gone);
    engine_close(e);
    assert_int_equal(check_stopped().count, 0);
    ref r;
    char name[16], path[64];
    ok(ref_decode(gone, &r));
    extent_name(r.runs[0].extent, name);
    snprintf(path, sizeof path, "extents/%s", name);
    damage(path, (off_t)r.runs[0].offset + 8192); /* into the hole */
    const findings got = check_stopped();
    assert_int_equal(got.count, 1);
    assert_non_null(strstr(got.what, "nothing refers"));
    arena_free(a);
}

/* ---- the folder ---- */

static void a_folder_is_opened_once(void **state) {
    (void)state;
    engine *e = open_ok(true), *second;
    assert_int_equal(open_tuned(false, &second), ERR_IN_USE);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
    assert_non_null(strstr(err_detail(), pid));
    assert_non_null(strstr(err_detail(), folder));
    const engine_local_options o = {.path = folder, .create = true};
    assert_int_equal(engine_local_open(&o, &second), ERR_IN_USE);
    engine_close(e);
    assert_int_equal(engine_local_open(&o, &second), ERR_IN_USE); /* making one over it */
    engine_close(open_ok(false));
}

static void write_format(const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/FORMAT", folder);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* Takes away the tables that formats 2 and 3 brought. */
static void rows_drop_tables(void) {
    char path[128], *text = NULL;
    snprintf(path, sizeof path, "%s/rows", folder);
    rocksdb_options_t *o = rocksdb_options_create();
    size_t n;
    char **names = rocksdb_list_column_families(o, path, &n, &text);
    assert_null(text);
    const rocksdb_options_t *options[16];
    rocksdb_column_family_handle_t *cf[16];
    assert_true(n <= ARRAY_LEN(cf));
    for (size_t i = 0; i < n; i++) options[i] = o;
    rocksdb_t *db = rocksdb_open_column_families(o, path, (int)n, (const char *const *)names,
                                                 options, cf, &text);
    assert_null(text);
    int dropped = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "history") == 0 || strcmp(names[i], "index") == 0 ||
            strcmp(names[i], "log") == 0) {
            rocksdb_drop_column_family(db, cf[i], &text);
            dropped++;
        }
        rocksdb_column_family_handle_destroy(cf[i]);
    }
    assert_null(text);
    assert_int_equal(dropped, 3);
    rocksdb_close(db);
    rocksdb_list_column_families_destroy(names, n);
    rocksdb_options_destroy(o);
}

/* The file in rows/ that CURRENT names. */
static void manifest_path(char out[256]) {
    char path[128], name[64] = "";
    snprintf(path, sizeof path, "%s/rows/CURRENT", folder);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && read(fd, name, sizeof name - 1) > 0);
    close(fd);
    name[strcspn(name, "\n")] = '\0';
    snprintf(out, 256, "%s/rows/%s", folder, name);
}

/* A folder at rest whose MANIFEST is another is refused each time, and harmed by it in no way. */
static void a_closed_folder_says_what_it_was(void **state) {
    (void)state;
    char closed[128], manifest[256];
    struct stat st;
    engine *e = open_ok(true);
    snprintf(closed, sizeof closed, "%s/CLOSED", folder);
    ok(put_row(e, "k", S("v")));
    assert_int_equal(stat(closed, &st), -1); /* not while it is open */
    engine_close(e);
    assert_int_equal(stat(closed, &st), 0);
    manifest_path(manifest);
    assert_int_equal(stat(manifest, &st), 0);
    int fd = open(manifest, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    const engine_local_options reading = {.path = folder, .read_only = true};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_tuned(false, &e), ERR_CORRUPT);
        assert_non_null(strstr(err_detail(), "MANIFEST"));
        assert_int_equal(engine_local_open(&reading, &e), ERR_CORRUPT);
    }
    assert_int_equal(truncate(manifest, st.st_size), 0);
    ok(engine_local_open(&reading, &e));
    engine_close(e);
    assert_int_equal(stat(closed, &st), 0); /* reading leaves it */
    e = open_ok(false);
    assert_int_equal(stat(closed, &st), -1);
    arena *a = arena_new(4096, 0);
    slice got;
    ok(engine_get(e, ENGINE_META, S("k"), a, false, &got));
    assert_true(slice_eq(got, S("v")));
    arena_free(a);
    engine_close(e);
}

static void other_formats_are_refused(void **state) {
    (void)state;
    engine_close(open_ok(true));
    engine *e;
    write_format("strongroom 6\n");
    assert_int_equal(open_tuned(false, &e), ERR_FORMAT_VERSION);
    assert_non_null(strstr(err_detail(), "format 6"));
    assert_non_null(strstr(err_detail(), "format 5"));
    write_format("strongroom 0\n");
    assert_int_equal(open_tuned(false, &e), ERR_FORMAT_VERSION);
    static const char *const bad[] = {"",
                                      "strongroom",
                                      "strongroom \n",
                                      "strongroom 1",
                                      "strongroom x\n",
                                      "strongroom 1\n\n",
                                      "strongroom 99999999999999999999999\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_format(bad[i]);
        assert_int_equal(open_tuned(false, &e), ERR_CORRUPT);
    }
    write_format("strongroom 5\n");
    engine_close(open_ok(false));
    char path[128];
    snprintf(path, sizeof path, "%s/FORMAT", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_tuned(false, &e), ERR_NOT_FOUND);
    const engine_local_options o = {.path = folder, .create = true};
    assert_int_equal(engine_local_open(&o, &e), ERR_IN_USE); /* never over what may be data */
    remove_folder();
    assert_int_equal(open_tuned(false, &e), ERR_NOT_FOUND);
}

/* A folder as format 1 had it: without the tables that came later. */
static void an_older_format_is_upgraded(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "k", S("v")));
    engine_close(e);
    rows_drop_tables();
    write_format("strongroom 1\n");
    const engine_local_options reading = {.path = folder, .read_only = true};
    assert_int_equal(engine_local_open(&reading, &e), ERR_FORMAT_VERSION);
    assert_non_null(strstr(err_detail(), "start the server on it once"));
    e = open_ok(false);
    arena *a = arena_new(4096, 0);
    slice got;
    ok(engine_get(e, ENGINE_META, S("k"), a, false, &got));
    engine_txn *t;
    ok(engine_txn_begin(e, S("s"), &t));
    engine_txn_put(t, ENGINE_HISTORY, S("h"), S("1"));
    engine_txn_put(t, ENGINE_INDEX, S("i"), S("2"));
    engine_txn_log(t, S("entry"), SLICE_NONE, NULL);
    ok(engine_txn_commit(t));
    engine_close(e);
    ok(engine_local_open(&reading, &e));
    ok(engine_get(e, ENGINE_HISTORY, S("h"), a, false, &got));
    ok(engine_get(e, ENGINE_INDEX, S("i"), a, false, &got));
    assert_int_equal(engine_log_next(e), 1);
    engine_close(e);
    arena_free(a);
    assert_int_equal(check_stopped().count, 0);
}

static void an_interrupted_making_is_begun_again(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "k", S("v")));
    arena *a = arena_new(65536, 0);
    (void)keep_stream(e, 100000, 1, a);
    uint64_t slot;
    ok(engine_vault_put(e, 1, S("s"), &slot));
    engine_close(e);
    char format[128], begun[128];
    snprintf(format, sizeof format, "%s/FORMAT", folder);
    snprintf(begun, sizeof begun, "%s/FORMAT.new", folder);
    assert_int_equal(rename(format, begun), 0); /* as just before the end of its making */
    assert_int_equal(open_tuned(false, &e), ERR_NOT_FOUND);
    const engine_local_options o = {.path = folder, .create = true};
    ok(engine_local_open(&o, &e));
    slice got;
    assert_int_equal(engine_get(e, ENGINE_META, S("k"), a, false, &got), ERR_NOT_FOUND);
    assert_int_equal(extent_files().count, 0);
    ok(put_row(e, "k", S("v")));
    engine_close(e);
    assert_int_not_equal(access(begun, F_OK), 0);
    assert_int_equal(check_stopped().count, 0);
    arena_free(a);
}

static void read_only_changes_nothing(void **state) {
    (void)state;
    engine *e = open_ok(true);
    ok(put_row(e, "before", S("v")));
    engine_close(e);
    const engine_local_options o = {.path = folder, .read_only = true};
    ok(engine_local_open(&o, &e));
    assert_int_equal(put_row(e, "k", S("v")), ERR_READ_ONLY);
    engine_stream *s;
    assert_int_equal(engine_stream_create(e, 1, &s), ERR_READ_ONLY);
    uint64_t slot;
    assert_int_equal(engine_vault_put(e, 1, S("s"), &slot), ERR_READ_ONLY);
    arena *a = arena_new(1024, 0);
    slice got;
    ok(engine_get(e, ENGINE_META, S("before"), a, false, &got));
    arena_free(a);
    engine_close(e);
}

/* ---- the write-ahead log ---- */

static char log_file[256];
static int see_log(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)at;
    (void)st;
    const slice s = slice_str(path);
    if (type == FTW_F && slice_ends(s, S(".log")) && strcmp(path, log_file) > 0)
        snprintf(log_file, sizeof log_file, "%s", path);
    return 0;
}

static off_t size_of_log(void) {
    log_file[0] = 0;
    assert_int_equal(nftw(folder, see_log, 16, FTW_PHYS), 0);
    struct stat st;
    assert_int_equal(stat(log_file, &st), 0);
    return st.st_size;
}

static void put_random(engine *e, const char *key, size_t len) {
    uint8_t *p = malloc(len);
    random_fill(p, len);
    for (size_t i = 0; i < len; i++) p[i] |= 1; /* no sector of zeros by chance */
    ok(put_row(e, key, slice_of(p, len)));
    free(p);
}

static bool has(engine *e, const char *key) {
    arena *a = arena_new(65536, 0);
    slice got;
    err r = engine_get(e, ENGINE_META, slice_str(key), a, false, &got);
    assert_true(r == OK || r == ERR_NOT_FOUND);
    arena_free(a);
    return r == OK;
}

/* A folder as a crash leaves it; the last batch, "last", is [*from, *to) of the log. */
static void make_log(off_t *from, off_t *to) {
    engine *e = open_ok(true);
    put_random(e, "first", 1000);
    put_random(e, "second", 70000);
    *from = size_of_log();
    put_random(e, "last", 120000);
    *to = size_of_log();
    crash_here();
    after_crash(e);
}

static void zero(off_t from, off_t to) {
    static uint8_t nothing[200000];
    int fd = open(log_file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, nothing, (size_t)(to - from), from), to - from);
    close(fd);
}

/* ret_last: is the last batch there? */
static err open_and_look(bool *ret_last) {
    engine *e;
    TRY(open_tuned(false, &e));
    assert_true(has(e, "first"));
    assert_true(has(e, "second"));
    *ret_last = has(e, "last");
    ok(put_row(e, "more", S("v")));
    engine_close(e);
    e = open_ok(false);
    assert_true(has(e, "second"));
    assert_true(has(e, "more"));
    assert_int_equal(has(e, "last"), *ret_last);
    engine_close(e);
    return OK;
}

static void a_torn_batch_is_dropped(void **state) {
    (void)state;
    off_t from, to;
    bool last;
    make_log(&from, &to);
    ok(open_and_look(&last));
    assert_true(last);
    /* The file ends early: anywhere. */
    const off_t cuts[] = {0, 1, 6, 7, 8, 1000, 40000, 119999};
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        make_log(&from, &to);
        assert_int_equal(truncate(log_file, from + cuts[i]), 0);
        ok(open_and_look(&last));
        assert_false(last);
    }
    /* Sectors were not written: the first, some, the last, all. */
    const off_t first = (from + 511) / 512 * 512;
    make_log(&from, &to); /* only the sector that the batch before it shares */
    assert_true(first - from >= 4);
    zero(from, first);
    ok(open_and_look(&last));
    assert_false(last);
    const off_t lost[][2] = {{0, 512},       {4096, 8192},    {32768, 65536},
                             {40960, 41472}, {98304, 110000}, {0, 120000}};
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        make_log(&from, &to);
        zero(i == 0 || i == 5 ? from : first + lost[i][0], i >= 4 ? to : first + lost[i][1]);
        ok(open_and_look(&last));
        assert_false(last);
    }
}

static void a_damaged_log_is_refused(void **state) {
    (void)state;
    off_t from, to;
    bool last;
    make_log(&from, &to);
    /* One bit, in what was acknowledged: nothing may be dropped for it. The last batch counts as
     * that. */
    const off_t places[] = {0, 6, 500, 1100, 33000, 66000, from, from + 6, from + 60000, to - 1};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        make_log(&from, &to);
        damage(log_file, places[i]);
        assert_int_equal(open_and_look(&last), ERR_CORRUPT);
        assert_non_null(strstr(err_detail(), "a log is damaged"));
        damage(log_file, places[i]);
        ok(open_and_look(&last)); /* refusing harmed nothing */
        assert_true(last);
    }
    /* A sector lost from a batch that another followed was written once. */
    make_log(&from, &to);
    zero(2048, 2560);
    assert_int_equal(open_and_look(&last), ERR_CORRUPT);
    make_log(&from, &to);
    zero(65536, 66048);
    assert_int_equal(open_and_look(&last), ERR_CORRUPT);
}

/* A log that follows the present one: one batch of no records, as RocksDB writes it while it recovers, or
 * of one. */
static void next_log(uint8_t records) {
    uint8_t record[7 + 12] = {0};
    record[4] = 12;
    record[6] = 1; /* whole */
    record[7 + 8] = records;
    const uint32_t crc = crc32c(0, slice_of(record + 6, 13));
    const uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8u;
    for (int i = 0; i < 4; i++) record[i] = (uint8_t)(masked >> (8 * i));
    unsigned long number;
    char path[512];
    const char *slash = strrchr(log_file, '/');
    assert_int_equal(sscanf(slash, "/%lu.log", &number), 1);
    snprintf(path, sizeof path, "%.*s/%06lu.log", (int)(slash - log_file), log_file, number + 8);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(record, sizeof record, 1, f), 1);
    fclose(f);
}

/* The power goes again while a torn log is recovered from: the next try finds a log that RocksDB had begun. */
static void a_recovery_may_be_interrupted(void **state) {
    (void)state;
    off_t from, to;
    bool last;
    make_log(&from, &to);
    zero((from + 511) / 512 * 512, to);
    next_log(0);
    ok(open_and_look(&last));
    assert_false(last);
    make_log(&from, &to);
    zero((from + 511) / 512 * 512, to);
    next_log(1); /* a change follows: what was before it was acknowledged */
    assert_int_equal(open_and_look(&last), ERR_CORRUPT);
    /* So a torn log must not come back once changes follow: it is gone when opening returns. */
    make_log(&from, &to);
    zero((from + 511) / 512 * 512, to);
    engine *e = open_ok(false);
    assert_int_equal(access(log_file, F_OK), -1);
    engine_close(e);
}

/* ---- formats and RocksDB's ways ---- */

static void lengths_of_runs_agree(void **state) {
    (void)state;
    for (uint64_t blocks = 1; blocks <= 16384; blocks += blocks < 100 ? 1 : 61) {
        const uint64_t disk = blocks * EXTENT_BLOCK, most = run_data_max(disk);
        assert_true(run_blocks_for(most) <= blocks);
        assert_true(run_blocks_for(most + 1) > blocks);
    }
    for (uint64_t len = 1; len < 300000; len += 997)
        assert_true(run_data_max((uint64_t)run_blocks_for(len) * EXTENT_BLOCK) >= len);
}

static void references_are_checked(void **state) {
    (void)state;
    arena *a = arena_new(65536, 0);
    run runs[RUNS_MAX];
    for (uint32_t i = 0; i < RUNS_MAX; i++)
        runs[i] =
            (run){.extent = UINT32_MAX - i, .offset = 65535ull * 4096, .data_len = (64 << 20) - i};
    slice bytes;
    ok(ref_encode(UINT64_MAX, runs, RUNS_MAX, a, &bytes)); /* the longest fits */
    assert_true(bytes.len <= 4096);
    ref r;
    ok(ref_decode(bytes, &r));
    assert_int_equal(r.count, RUNS_MAX);
    assert_int_equal(r.stream, UINT64_MAX);
    for (uint32_t i = 0; i < RUNS_MAX; i++) {
        assert_int_equal(r.runs[i].extent, runs[i].extent);
        assert_int_equal(r.runs[i].offset, runs[i].offset);
        assert_int_equal(r.runs[i].data_len, runs[i].data_len);
    }
    ok(ref_encode(7, runs, 3, a, &bytes));
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t *bad = memcpy(arena_alloc(a, bytes.len), bytes.p, bytes.len);
        bad[i] ^= 1;
        assert_int_equal(ref_decode(slice_of(bad, bytes.len), &r), ERR_CORRUPT);
        assert_int_equal(ref_decode(slice_take(bytes, i), &r), ERR_CORRUPT);
    }
    arena_free(a);
}

/* commit.c joins batches by their encodings: what comes out must be what went in, in order. */
static void joined(void *state, const char *k, size_t klen, const char *v, size_t vlen) {
    buf_fmt(state, "put %.*s=%.*s;", (int)klen, k, (int)vlen, v);
}
static void joined_delete(void *state, const char *k, size_t klen) {
    buf_fmt(state, "delete %.*s;", (int)klen, k);
}

static void batches_join_by_their_encodings(void **state) {
    (void)state;
    rocksdb_writebatch_t *one = rocksdb_writebatch_create(), *two = rocksdb_writebatch_create();
    rocksdb_writebatch_put(one, "a", 1, "1", 1);
    rocksdb_writebatch_delete(one, "b", 1);
    rocksdb_writebatch_put(two, "a", 1, "2", 1);
    rocksdb_writebatch_put(two, "c", 1, "", 0);
    size_t n1, n2;
    const char *r1 = rocksdb_writebatch_data(one, &n1), *r2 = rocksdb_writebatch_data(two, &n2);
    buf b;
    buf_init(&b, 4096);
    buf_put(&b, S("\0\0\0\0\0\0\0\0\4\0\0\0"));
    buf_put(&b, slice_of(r1 + 12, n1 - 12));
    buf_put(&b, slice_of(r2 + 12, n2 - 12));
    rocksdb_writebatch_t *both = rocksdb_writebatch_create_from((const char *)b.p, b.len);
    assert_int_equal(rocksdb_writebatch_count(both), 4);
    buf text;
    buf_init(&text, 4096);
    rocksdb_writebatch_iterate(both, &text, joined, joined_delete);
    assert_true(slice_eq(buf_slice(&text), S("put a=1;delete b;put a=2;put c=;")));
    buf_done(&text);
    buf_done(&b);
    rocksdb_writebatch_destroy(one);
    rocksdb_writebatch_destroy(two);
    rocksdb_writebatch_destroy(both);
}

int main(void) {
    const char *given = getenv("ENGINE_TEST_FOLDER");
    if (given != NULL)
        snprintf(folder, sizeof folder, "%s", given);
    else
        snprintf(folder, sizeof folder, "/tmp/engine-test-%ld", (long)getpid());
    setenv("ENGINE_TEST_FOLDER", folder, 1);
    log_setup(STDERR_FILENO, LOG_ERROR, true);
    int failed = engine_suite_run("engine/local", open_tuned);
    /* Small extents and runs: everything happens at every size. */
    tune = (local_tune){
        .extent_bytes = 1 << 20, .run_bytes_max = 256 << 10, .run_step_first = 64 << 10};
    failed += engine_suite_run("engine/local, small extents", open_tuned);
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(a_folder_is_opened_once),
        cmocka_unit_test(a_closed_folder_says_what_it_was),
        cmocka_unit_test(other_formats_are_refused),
        cmocka_unit_test(an_older_format_is_upgraded),
        cmocka_unit_test(read_only_changes_nothing),
        cmocka_unit_test(an_interrupted_making_is_begun_again),
        cmocka_unit_test(lengths_of_runs_agree),
        cmocka_unit_test(references_are_checked),
        cmocka_unit_test(a_torn_batch_is_dropped),
        cmocka_unit_test(a_recovery_may_be_interrupted),
        cmocka_unit_test(a_damaged_log_is_refused),
        cmocka_unit_test(batches_join_by_their_encodings),
    };
    const struct CMUnitTest faults[] = {
        cmocka_unit_test_setup(a_full_disk_harms_nothing, with_faults),
        cmocka_unit_test_setup(a_failed_sync_is_never_tried_again, with_faults),
        cmocka_unit_test_setup(destroying_again_writes_again, with_faults),
        cmocka_unit_test_setup(a_failed_write_stops_changes, with_faults),
        cmocka_unit_test_setup(large_streams_pass_the_page_cache, with_faults),
        cmocka_unit_test_setup(without_direct_writes_they_are_buffered, with_faults),
        cmocka_unit_test_setup(a_failed_vault_sync_stops_changes, with_faults),
        cmocka_unit_test_setup(a_slot_is_handed_out_once, with_faults),
        cmocka_unit_test_setup(jobs_are_taken_on_a_full_disk, with_faults),
        cmocka_unit_test_setup(a_failed_commit_stops_changes, with_faults),
        cmocka_unit_test_setup(released_space_goes_back_to_the_disk, with_faults),
        cmocka_unit_test_setup(punching_is_finished_after_a_crash, with_faults),
        cmocka_unit_test_setup(without_holes_what_is_released_reads_as_zeros, with_faults),
        cmocka_unit_test_setup(without_holes_whole_extents_are_given_back, with_faults),
        cmocka_unit_test_setup(a_crash_leaves_only_what_was_adopted, with_faults),
        cmocka_unit_test_setup(check_finds_a_flipped_bit, with_faults),
        cmocka_unit_test_setup(check_finds_damage_in_rows, with_faults),
        cmocka_unit_test_setup(data_that_nobody_owns_is_found, with_faults),
    };
    tune = (local_tune){0};
    failed += cmocka_run_group_tests_name("engine/local: folder and formats", plain, NULL, NULL);
    failed += cmocka_run_group_tests_name("engine/local: disks", faults, NULL, NULL);
    remove_folder();
    return failed;
}
