/* Metrics of the engine, the store and the process, as Prometheus text. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/internal.h"

void admin_metric(buf *out, const char *name, const char *type, const char *help, uint64_t value) {
    buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, type, name);
    buf_u64(out, value);
    buf_byte(out, '\n');
}

static void seconds(buf *out, const char *name, const char *type, const char *help, uint64_t us) {
    buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu.%06llu\n", name, help, name, type, name,
            (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000));
}

static void engine_metrics(engine *e, buf *out) {
    engine_stats s = {0};
    engine_get_stats(e, &s);
    admin_metric(out, "strongroom_engine_stream_live_bytes", "gauge",
                 "Sealed bytes in extents that blobs refer to.", s.stream_bytes_live);
    admin_metric(out, "strongroom_engine_stream_disk_bytes", "gauge",
                 "Bytes that extents occupy on disk.", s.stream_bytes_disk);
    admin_metric(out, "strongroom_engine_row_disk_bytes", "gauge",
                 "Bytes that rows occupy on disk.", s.row_bytes_disk);
    admin_metric(out, "strongroom_engine_memory_bytes", "gauge",
                 "Memory of caches and write buffers.", s.memory_bytes);
    admin_metric(out, "strongroom_engine_commits_total", "counter", "Transactions committed.",
                 s.commits);
    admin_metric(out, "strongroom_engine_commit_batches_total", "counter",
                 "Synced batches that transactions shared.", s.commit_batches);
    seconds(out, "strongroom_engine_stall_seconds_total", "counter",
            "Time writers were held back by compaction.", s.stalls_us);
    admin_metric(out, "strongroom_engine_compaction_pending_bytes", "gauge",
                 "Rows that compaction is yet to rewrite, estimated.", s.compaction_bytes);
    admin_metric(out, "strongroom_engine_first_level_files", "gauge",
                 "Files of rows not yet merged, of the table that has most.", s.first_level_files);
    admin_metric(out, "strongroom_engine_write_stopped", "gauge",
                 "1 while writers wait for compaction.", s.write_stopped);
    admin_metric(out, "strongroom_engine_failed", "gauge",
                 "1 after a failed write: read-only until restarted.", s.failed);
}

static void store_metrics_put(store *st, buf *out) {
    store_stats s = {0};
    store_get_stats(st, &s);
    admin_metric(out, "strongroom_store_garbage_pending", "gauge",
                 "Contents waiting to be given back.", s.garbage_pending);
    admin_metric(out, "strongroom_store_jobs_failing", "gauge",
                 "Background jobs that failed and are tried again; the log says why.",
                 s.jobs_failing);
    admin_metric(out, "strongroom_store_readers_open", "gauge", "Contents being read.",
                 s.readers_open);
    admin_metric(out, "strongroom_store_uploads_open", "gauge", "Contents being written.",
                 s.uploads_open);
    const store_opened_stats *o = &s.opened;
    admin_metric(out, "strongroom_store_opened_hits_total", "counter",
                 "Segments of large content that stood decrypted in memory when asked for.",
                 o->hits);
    admin_metric(out, "strongroom_store_opened_misses_total", "counter",
                 "Segments of large content that were decrypted into memory.", o->misses);
    admin_metric(out, "strongroom_store_opened_bytes", "gauge",
                 "Memory of decrypted large content, kept or being sent.", o->bytes);
    admin_metric(out, "strongroom_store_opened_bytes_max", "gauge", "Its limit: opened_cache.",
                 o->bytes_max);
    admin_metric(out, "strongroom_store_opened_locked_bytes", "gauge",
                 "What of it is locked in memory and never swapped out.", o->bytes_locked);
}

/* The second number of /proc/self/statm is resident pages. */
static uint64_t resident_bytes(void) {
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text);
    (void)close(fd);
    slice rest = slice_of(text, n > 0 ? (size_t)n : 0), word;
    uint64_t pages = 0;
    if (!slice_split(&rest, ' ', &word)) return 0;
    if (!slice_split(&rest, ' ', &word)) return 0;
    if (slice_u64(word, &pages) != OK) return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void) {
    uint64_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d) return 0;
    while (readdir(d)) n++;
    (void)closedir(d);
    return n > 3 ? n - 3 : 0; /* without ".", ".." and the folder itself */
}

static uint64_t timeval_us(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static void process_metrics(buf *out) {
    struct rusage use = {0};
    struct rlimit files = {0};
    (void)getrusage(RUSAGE_SELF, &use);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    seconds(out, "process_cpu_seconds_total", "counter", "User and system time spent.",
            timeval_us(use.ru_utime) + timeval_us(use.ru_stime));
    admin_metric(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                 resident_bytes());
    admin_metric(out, "process_open_fds", "gauge", "Open files and sockets.", open_files());
    admin_metric(out, "process_max_fds", "gauge", "Limit of open files and sockets.",
                 files.rlim_cur);
}

static void upkeep_metrics(upkeep *u, buf *out) {
    upkeep_stats s;
    upkeep_get_stats(u, &s);
    admin_metric(out, "strongroom_scrub_bytes", "gauge",
                 "Bytes verified in the pass over all content under way, or else in the last one.",
                 s.bytes);
    admin_metric(out, "strongroom_scrub_blobs", "gauge", "Blobs likewise.", s.blobs);
    admin_metric(out, "strongroom_scrub_damaged", "gauge",
                 "What did not verify in it: the log names each.", s.damaged);
    admin_metric(out, "strongroom_scrub_passes_total", "counter",
                 "Passes that ended since the start.", s.passes);
    admin_metric(out, "strongroom_scrub_running", "gauge", "1 while a pass is under way.",
                 s.begun_us != STORE_TIME_NONE);
    admin_metric(out, "strongroom_scrub_last_end_seconds", "gauge",
                 "When the last pass ended, in seconds since 1970; 0: none has.",
                 s.ended_us == STORE_TIME_NONE ? 0 : (uint64_t)(s.ended_us / 1000000));
}

static void floods_metrics(ops_floods *f, buf *out) {
    ops_floods_stats s;
    ops_floods_get_stats(f, &s);
    admin_metric(out, "strongroom_refusals_counted_total", "counter",
                 "Refusals beyond refused_rate: answered 503, and told in summaries.", s.counted);
    admin_metric(out, "strongroom_refusals_summaries_total", "counter",
                 "Entries of the record that told them.", s.summaries);
}

void admin_metrics_render(const admin_state *st, buf *out) {
    buf_fmt(out,
            "# HELP strongroom_info The program that answers.\n# TYPE strongroom_info gauge\n"
            "strongroom_info{version=\"%s\"} 1\n",
            st->version ? st->version : "unknown");
    if (st->metrics) ops_metrics_render(st->metrics, out);
    if (st->store) {
        engine_metrics(store_engine(st->store), out);
        store_metrics_put(st->store, out);
    }
    log_metrics(st, out);
    if (st->floods) floods_metrics(st->floods, out);
    if (st->rules) lifecycle_metrics(st->rules, out);
    if (st->upkeep) upkeep_metrics(st->upkeep, out);
    if (st->extra_metrics) st->extra_metrics(st->extra_ctx, out);
    process_metrics(out);
}
