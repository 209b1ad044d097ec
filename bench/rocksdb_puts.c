/* What the rows' library does by itself: 64 threads put 4 KiB values, each synced before the next.
 *
 *   rocksdb_puts DIR SECONDS [THREADS [VALUE_LEN]]
 *
 * DIR must not exist; it stays for the caller to remove. Prints one line of JSON. */
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VALUE_MAX 65536

static rocksdb_t *db;
static rocksdb_writeoptions_t *synced;
static atomic_bool over;
static atomic_ullong done;
static size_t value_len = 4096;

static void die(const char *what, const char *why) {
    fprintf(stderr, "rocksdb_puts: %s: %s\n", what, why);
    exit(1);
}

static void *put_all(void *arg) {
    uint64_t x = (uint64_t)(uintptr_t)arg * 0x9E3779B97F4A7C15ull + 1, count = 0;
    char value[VALUE_MAX], key[64];
    for (size_t i = 0; i < value_len; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        value[i] = (char)x;
    }
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        int n = snprintf(key, sizeof key, "account/container/%016llx", (unsigned long long)x);
        char *error = NULL;
        rocksdb_put(db, synced, key, (size_t)n, value, value_len, &error);
        if (error) die("put", error);
        count++;
    }
    atomic_fetch_add(&done, count);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fputs("usage: rocksdb_puts DIR SECONDS [THREADS [VALUE_LEN]]\n", stderr);
        return 2;
    }
    double seconds = atof(argv[2]);
    unsigned threads = argc > 3 ? (unsigned)atoi(argv[3]) : 64;
    if (argc > 4) value_len = strtoull(argv[4], NULL, 10);
    if (value_len > VALUE_MAX) die("value", "too long");
    char *error = NULL;
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_error_if_exists(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression); /* as ours: the values are random */
    rocksdb_options_increase_parallelism(o, 2);
    db = rocksdb_open(o, argv[1], &error);
    if (error) die("open", error);
    synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(synced, 1);
    pthread_t *all = calloc(threads, sizeof *all);
    if (all == NULL) die("memory", "none");
    struct timespec start, end, pause = {.tv_sec = (time_t)seconds};
    pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, put_all, (void *)(i + 1)) != 0)
            die("thread", "not started");
    nanosleep(&pause, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < threads; i++) pthread_join(all[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    unsigned long long n = atomic_load(&done);
    printf("{\"puts\": %llu, \"seconds\": %.3f, \"per_second\": %.1f}\n", n, took,
           (double)n / took);
    free(all);
    rocksdb_close(db);
    rocksdb_writeoptions_destroy(synced);
    rocksdb_options_destroy(o);
    return 0;
}
