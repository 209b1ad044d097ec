/* Rot: one byte of one file of a data folder is another. Whatever it is, nobody gets wrong bytes, nothing that was
 * acknowledged is missing without an error, and the program lives.
 *
 * ROT_FLIPS=N flips more bytes, ROT_SEED=N others. Bytes of which nothing depends (padding, logs for people) exist;
 * how many flips went unnoticed is printed. */
#include "store_test.h"

#include "memory_engine.c"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "engine/local/local.h"

#define FLIPS 400

static char closed[64],
    crashed[80];         /* the folder as it was closed; a copy that was taken while it was open */
static const char *path; /* the one that rots */

/* ---- the folder ---- */

static err open_store(fixture *f, bool create, bool read_only) {
    engine *e;
    const engine_local_options lo = {
        .path = path, .create = create, .read_only = read_only, .cache_bytes = 16 << 20};
    TRY(engine_local_open(&lo, &e));
    const store_options o = {.engine = e, .keys = test_keys_new(), .records = !read_only};
    TRY(store_open(&o, &f->s));
    f->c = (store_call){.arena = arena_new(64 << 10, 0)};
    return OK;
}

static void close_store(fixture *f) {
    f->k = store_container_unref(f->k);
    f->a = store_account_unref(f->a);
    f->s = store_close(f->s);
    f->c.arena = arena_free(f->c.arena);
}

enum { SMALL, LARGE, LISTED, OVERWRITTEN, LAST, BLOBS };
static const char *const names[] = {"small", "dir/large", "listed", "overwritten", "last"};

static slice wanted(arena *a, int i) {
    static const size_t sizes[] = {700, 300000, 3 * 70000, 5000, 12};
    return content(a, (uint64_t)i + 1, sizes[i]);
}

static void put_listed(fixture *f) {
    static const char *const ids[] = {"1", "2", "3"};
    store_block_pick picks[3];
    store_blob b;
    const slice all = wanted(f->c.arena, LISTED);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(try_block(f, S("listed"), slice_str(ids[i]),
                            slice_take(slice_skip(all, i * 70000), 70000)));
        picks[i] = (store_block_pick){slice_str(ids[i]), STORE_BLOCK_LATEST};
    }
    assert_ok(try_commit(f, S("listed"), picks, 3, &b));
}

static void fill(fixture *f) {
    store_blob b;
    assert_ok(store_account_create(f->s, f->c, S("acct"), NULL));
    assert_ok(store_account_get(f->s, f->c, S("acct"), &f->a));
    assert_ok(store_container_create(f->s, f->c, f->a, S("box"), STORE_PRIVATE, NULL, 0, &f->k));
    put_listed(f);
    put(f, S("overwritten"), content(f->c.arena, 77, 40000));
    assert_ok(store_blob_snapshot(f->s, f->c, f->k, S("overwritten"), NULL, NULL, 0, &b));
    for (int i = 0; i < BLOBS; i++)
        if (i != LISTED) put(f, slice_str(names[i]), wanted(f->c.arena, i));
}

/* To the same place in the other folder: all that was acknowledged is in the files, as after a crash. */
static int copy_one(const char *from, const struct stat *st, int kind, struct FTW *w) {
    char to[512];
    (void)w;
    snprintf(to, sizeof to, "%s%s", crashed, from + strlen(closed));
    if (kind == FTW_D) return mkdir(to, 0700);
    uint8_t *p = malloc((size_t)st->st_size + 1);
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(p && in >= 0 && out >= 0);
    assert_int_equal(read(in, p, (size_t)st->st_size), st->st_size);
    assert_int_equal(write(out, p, (size_t)st->st_size), st->st_size);
    close(in);
    close(out);
    free(p);
    return 0;
}

static int setup(void **state) {
    fixture f = {0};
    (void)state;
    log_setup(2, LOG_ERROR + 1, false); /* what it says of damage is not looked at here */
    snprintf(closed, sizeof closed, "/tmp/store-rot-XXXXXX");
    assert_non_null(mkdtemp(closed));
    assert_int_equal(rmdir(closed), 0);
    snprintf(crashed, sizeof crashed, "%s-crashed", closed);
    path = closed;
    assert_ok(open_store(&f, true, false));
    fill(&f);
    assert_int_equal(nftw(closed, copy_one, 16, FTW_PHYS), 0);
    close_store(&f);
    return 0;
}

static int remove_one(const char *file, const struct stat *st, int kind, struct FTW *w) {
    (void)st, (void)kind, (void)w;
    return remove(file);
}

static int teardown(void **state) {
    (void)state;
    return nftw(crashed, remove_one, 16, FTW_DEPTH | FTW_PHYS) |
           nftw(closed, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- one flip ---- */

static void flip(const char *file, uint64_t at, uint8_t mask) {
    uint8_t byte;
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* All of it, or the error. */
static err read_blob(fixture *f, int i, slice *ret) {
    store_blob b;
    store_reader *r;
    TRY(store_blob_open(f->s, f->c, f->k, slice_str(names[i]), STORE_CURRENT, NULL, &b, &r));
    uint8_t *p = arena_alloc(f->c.arena, (size_t)b.length + 1);
    size_t at = 0, n = 0;
    err e;
    do {
        e = store_reader_read(r, at, p + at, (size_t)b.length + 1 - at, false, &n);
        at += e == OK ? n : 0;
    } while (e == OK && n > 0);
    store_reader_free(r);
    *ret = slice_of(p, at);
    return e;
}

static bool is_damage(err e) {
    return e == ERR_CORRUPT || e == ERR_IO || e == ERR_KEY_DESTROYED;
}

/* After a crash, a damaged last batch of the log cannot be told from one that the power interrupted: the last blob
 * that was put may be gone, as SQLite's last transaction may. */
static bool looks_torn(int i, const char *where) {
    return path == crashed && i == LAST && strstr(where, ".log,");
}

/* Whether the damage was noticed by reading. */
static bool read_everything(fixture *f, const char *where) {
    bool noticed = false;
    err e = store_account_get(f->s, f->c, S("acct"), &f->a);
    if (e == OK) e = store_container_get(f->s, f->c, f->a, S("box"), &f->k);
    if (e != OK) {
        if (!is_damage(e)) fail_msg("%s: account or container: %s", where, err_get(e)->name);
        return true;
    }
    for (int i = 0; i < BLOBS; i++) {
        slice got;
        e = read_blob(f, i, &got);
        if (e == OK && !slice_eq(got, wanted(f->c.arena, i)))
            fail_msg("%s: wrong bytes of '%s'", where, names[i]);
        if (e != OK && looks_torn(i, where)) continue;
        if (e != OK && !is_damage(e)) /* gone, without a word */
            fail_msg("%s: '%s': %s: %s", where, names[i], err_get(e)->name, err_detail());
        noticed = noticed || e != OK;
    }
    return noticed;
}

static void no_report(void *ctx, const char *what, const char *where) {
    (void)ctx, (void)what, (void)where;
}

static bool is_noticed(const char *where) {
    fixture f = {0};
    store_check_progress p = {0};
    err e = open_store(&f, false, true);
    if (e != OK) {
        assert_true(*err_detail() != '\0'); /* it says what is wrong */
        return true;
    }
    const bool noticed = read_everything(&f, where);
    e = store_check(f.s, no_report, NULL, NULL, &p);
    const bool found = e != OK || p.defects > 0;
    close_store(&f);
    if (noticed && !found) fail_msg("%s: reading fails, and `check` finds nothing", where);
    return found;
}

/* ---- all files ---- */

typedef struct file {
    char name[256];
    uint64_t size;
} file;
static file files[256];
static size_t file_count;

static int add_file(const char *name, const struct stat *st, int kind, struct FTW *w) {
    (void)w;
    if (kind != FTW_F || st->st_size == 0) return 0;
    assert_true(file_count < ARRAY_LEN(files));
    snprintf(files[file_count].name, sizeof files->name, "%s", name);
    files[file_count++].size = (uint64_t)st->st_size;
    return 0;
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    uint64_t n;
    return text && slice_u64(slice_str(text), &n) == OK ? n : otherwise;
}

static void flip_many(void) {
    rng r = {number("ROT_SEED", 20261126)};
    const uint64_t flips = number("ROT_FLIPS", FLIPS);
    uint64_t unnoticed = 0, in_content = 0;
    file_count = 0;
    assert_int_equal(nftw(path, add_file, 16, FTW_PHYS), 0);
    assert_false(is_noticed("before any"));
    for (uint64_t i = 0; i < flips; i++) {
        const file *x = &files[i % file_count];
        const uint64_t at = rng_next(&r) % x->size;
        const uint8_t mask = (uint8_t)(1u << rng_next(&r) % 8);
        char where[400];
        snprintf(where, sizeof where, "byte %llu of %s, mask %02x", (unsigned long long)at,
                 x->name + strlen(path), mask);
        flip(x->name, at, mask);
        const bool noticed = is_noticed(where);
        flip(x->name, at, mask);
        unnoticed += noticed ? 0 : 1;
        in_content += noticed && strstr(x->name, ".ext") ? 1 : 0;
    }
    assert_false(is_noticed("after all"));
    print_message("%llu flips in %zu files, %llu unnoticed, %llu found in content\n",
                  (unsigned long long)flips, file_count, (unsigned long long)unnoticed,
                  (unsigned long long)in_content);
    assert_true(unnoticed < flips);
    if (path == closed) assert_true(in_content > 0); /* later they are mostly holes */
}

static void a_folder_at_rest_rots(void **state) {
    (void)state;
    path = closed;
    flip_many();
}

static void a_folder_rots_after_a_crash(void **state) {
    (void)state;
    path = crashed;
    flip_many();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_folder_at_rest_rots),
                                       cmocka_unit_test(a_folder_rots_after_a_crash)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
