/* The engine against what it stands on, on the same disk, in one run:
 *
 *   commits    4 KiB values, synced, 64 threads: engine_txn against rocksdb_put with sync
 *   streams    8 MiB written and synced: engine_stream against pwrite + fdatasync of one file, 1
 * and 4 at once
 *
 * Rounds alternate, so that a disk that slows down slows both. Usage: engine_bench [DIR] [SECONDS]
 * Prints one line a comparison: name, ours, theirs, ratio. */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/local/local.h"

#define THREADS 64
#define VALUE   4096
#define STREAM  (8u << 20)
#define ROUNDS  3

typedef void work(void *ctx, unsigned thread, uint64_t i);

typedef struct job {
    work *work;
    void *ctx;
    unsigned thread;
    uint64_t done;
} job;

static atomic_bool stop;
static _Atomic(uint64_t) next_key;

static void *run_job(void *arg) {
    job *j = arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        j->work(j->ctx, j->thread, j->done);
        j->done++;
    }
    return NULL;
}

/* Operations a second. */
static double run(work *w, void *ctx, unsigned threads, double seconds) {
    job jobs[THREADS];
    pthread_t ids[THREADS];
    atomic_store(&stop, false);
    const int64_t start = clock_mono_us();
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (job){w, ctx, i, 0};
        MUST(pthread_create(&ids[i], NULL, run_job, &jobs[i]) == 0);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&stop, true);
    uint64_t done = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += jobs[i].done;
    }
    return (double)done * 1e6 / (double)(clock_mono_us() - start);
}

static void fill(uint8_t *p, size_t n, uint64_t seed) {
    for (size_t i = 0; i + 8 <= n; i += 8) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(p + i, &seed, 8);
    }
}

static int make_key(char *key, size_t cap) {
    const uint64_t n = atomic_fetch_add(&next_key, 1);
    /* Spread, as blob ids are not: neighbours in time are not neighbours in the tree. */
    return snprintf(key, cap, "%016llx", (unsigned long long)(n * 0x9e3779b97f4a7c15u));
}

/* ---- commits ---- */

static void engine_put(void *ctx, unsigned thread, uint64_t i) {
    static _Thread_local uint8_t value[VALUE];
    char key[32];
    const int n = make_key(key, sizeof key);
    fill(value, 64, (uint64_t)thread << 32 | i);
    engine_txn *t;
    MUST(engine_txn_begin(ctx, slice_of(key, (size_t)n), &t) == OK);
    engine_txn_put(t, ENGINE_CONTENT, slice_of(key, (size_t)n), slice_of(value, VALUE));
    MUST(engine_txn_commit(t) == OK);
}

typedef struct plain {
    rocksdb_t *db;
    rocksdb_writeoptions_t *write;
    int fds[THREADS];
    off_t ends[THREADS];
} plain;

static void plain_put(void *ctx, unsigned thread, uint64_t i) {
    static _Thread_local uint8_t value[VALUE];
    plain *p = ctx;
    char key[32];
    const int n = make_key(key, sizeof key);
    fill(value, 64, (uint64_t)thread << 32 | i);
    char *text = NULL;
    rocksdb_put(p->db, p->write, key, (size_t)n, (const char *)value, VALUE, &text);
    MUST(text == NULL);
}

/* ---- streams ---- */

static uint8_t content[STREAM];

static void engine_upload(void *ctx, unsigned thread, uint64_t i) {
    (void)thread;
    (void)i;
    arena *a = arena_new(4096, 0);
    engine_stream *s;
    slice ref;
    MUST(engine_stream_create(ctx, STREAM, &s) == OK);
    for (size_t at = 0; at < STREAM; at += 1 << 16)
        MUST(engine_stream_write(s, slice_of(content + at, 1 << 16)) == OK);
    MUST(engine_stream_sync(s, a, &ref) == OK);
    char key[32];
    const int n = make_key(key, sizeof key);
    engine_txn *t;
    MUST(engine_txn_begin(ctx, slice_of(key, (size_t)n), &t) == OK);
    engine_txn_put(t, ENGINE_BLOB, slice_of(key, (size_t)n), ref);
    engine_txn_adopt(t, s);
    MUST(engine_txn_commit(t) == OK);
    arena_free(a);
}

static void plain_upload(void *ctx, unsigned thread, uint64_t i) {
    plain *p = ctx;
    (void)i;
    const int fd = p->fds[thread];
    const off_t base = p->ends[thread]; /* new space each time, as an upload's is */
    p->ends[thread] += STREAM;
    for (size_t at = 0; at < STREAM; at += 1 << 16)
        MUST(pwrite(fd, content + at, 1 << 16, base + (off_t)at) == 1 << 16);
    MUST(fdatasync(fd) == 0);
}

/* ---- the whole ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_tree(const char *path) {
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static double median(double *v) {
    for (int i = 0; i < ROUNDS; i++)
        for (int j = i + 1; j < ROUNDS; j++)
            if (v[j] < v[i]) {
                const double t = v[i];
                v[i] = v[j];
                v[j] = t;
            }
    return v[ROUNDS / 2];
}

static double cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void compare(const char *name, work *ours, void *ours_ctx, work *theirs, void *theirs_ctx,
                    unsigned threads, double seconds, double unit, const char *unit_name) {
    double a[ROUNDS], b[ROUNDS], cpu[2] = {0, 0};
    for (int i = 0; i < ROUNDS; i++) {
        double c = cpu_s();
        a[i] = run(ours, ours_ctx, threads, seconds) * unit;
        cpu[0] += cpu_s() - c;
        c = cpu_s();
        b[i] = run(theirs, theirs_ctx, threads, seconds) * unit;
        cpu[1] += cpu_s() - c;
    }
    const double x = median(a), y = median(b);
    printf("%-28s %10.0f %10.0f %s   ratio %.2f   (cpu %.1f s, %.1f s)\n", name, x, y, unit_name,
           x / y, cpu[0], cpu[1]);
    fflush(stdout);
}

static rocksdb_t *open_plain(const char *path) {
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(o, 64 << 20);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_max_background_jobs(o, 2);
    char *text = NULL;
    rocksdb_t *db = rocksdb_open(o, path, &text);
    MUST(text == NULL);
    rocksdb_options_destroy(o);
    return db;
}

int main(int argc, char **argv) {
    const char *dir = argc > 1 ? argv[1] : "/tmp/engine-bench";
    const double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
    char path[512];
    remove_tree(dir);
    MUST(mkdir(dir, 0700) == 0);
    snprintf(path, sizeof path, "%s/store", dir);
    engine *e;
    const engine_local_options o = {.path = path, .create = true};
    MUST(engine_local_open(&o, &e) == OK);
    plain p = {0};
    snprintf(path, sizeof path, "%s/plain", dir);
    p.db = open_plain(path);
    p.write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(p.write, 1);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/plain-%u", dir, i);
        p.fds[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        MUST(p.fds[i] >= 0);
    }
    fill(content, sizeof content, 1);

    printf("%-28s %10s %10s\n", "", "engine", "plain");
    compare("commit 4 KiB, 64 threads", engine_put, e, plain_put, &p, THREADS, seconds, 1, "/s   ");
    compare("commit 4 KiB, 8 threads", engine_put, e, plain_put, &p, 8, seconds, 1, "/s   ");
    compare("commit 4 KiB, 1 thread", engine_put, e, plain_put, &p, 1, seconds, 1, "/s   ");
    compare("stream 8 MiB, 1 writer", engine_upload, e, plain_upload, &p, 1, seconds, 8, "MiB/s");
    compare("stream 8 MiB, 4 writers", engine_upload, e, plain_upload, &p, 4, seconds, 8, "MiB/s");
    engine_stats s;
    engine_get_stats(e, &s);
    printf("commits a batch: %.1f; stalled %.3f s; memory %llu MiB\n",
           (double)s.commits / (double)s.commit_batches, (double)s.stalls_us / 1e6,
           (unsigned long long)s.memory_bytes >> 20);
    engine_close(e);
    rocksdb_close(p.db);
    rocksdb_writeoptions_destroy(p.write);
    for (unsigned i = 0; i < 4; i++) close(p.fds[i]);
    remove_tree(dir);
    return 0;
}
