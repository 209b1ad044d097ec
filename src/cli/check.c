/* `strongroom check`: verifies a stopped data folder. */
#include <unistd.h>

#include "cli/cli.h"

#define EXIT_DAMAGED  1
#define EXIT_NOT_RUN  2
#define BAR_WIDTH     30
#define BAR_PERIOD_US 100000
#define MIB           ((uint64_t)1 << 20)

typedef struct check {
    bool bar; /* standard error is a terminal */
    bool bar_drawn;
    int64_t started_us, drawn_us;
    uint64_t bytes_all; /* what extents hold; rows come on top */
} check;

static void clear_bar(check *c) {
    if (c->bar_drawn) fputs("\r\033[K", stderr);
    c->bar_drawn = false;
}

static void report(void *ctx, const char *what, const char *where) {
    check *c = ctx;
    clear_bar(c);
    fputs("damaged: ", stdout);
    cli_print(stdout, slice_str(what));
    fputs(": ", stdout);
    cli_print(stdout, slice_str(where));
    fputs("\n", stdout);
    (void)fflush(stdout);
}

static void progress(void *ctx, store_check_progress p) {
    check *c = ctx;
    int64_t now = clock_mono_us();
    if (!c->bar || now - c->drawn_us < BAR_PERIOD_US) return;
    c->drawn_us = now;
    c->bar_drawn = true;
    double seconds = (double)(now - c->started_us) / 1e6;
    fputs("\r", stderr);
    if (c->bytes_all > 0) { /* an estimate; the end is said by the summary */
        double part = (double)p.bytes / (double)c->bytes_all;
        if (part > 0.99) part = 0.99;
        int full = (int)(part * BAR_WIDTH);
        fprintf(stderr, "[%.*s%*s] %2.0f%%  ", full, "##############################",
                BAR_WIDTH - full, "", part * 100);
    }
    fprintf(stderr, "%llu blobs  %llu MiB  %.0f MiB/s\033[K", (unsigned long long)p.blobs,
            (unsigned long long)(p.bytes / MIB),
            seconds > 0 ? (double)p.bytes / (double)MIB / seconds : 0.0);
}

static void summary(const check *c, const store_check_progress *p) {
    double seconds = (double)(clock_mono_us() - c->started_us) / 1e6;
    printf("%s: %llu blobs, %llu blocks, %llu bytes verified in %.1f s; %llu %s\n",
           p->defects ? "damaged" : "clean", (unsigned long long)p->blobs,
           (unsigned long long)p->blocks, (unsigned long long)p->bytes, seconds,
           (unsigned long long)p->defects, p->defects == 1 ? "defect" : "defects");
    if (p->repaired > 0)
        printf("%llu repaired: what follows from other rows was made again; check once more to see "
               "that all is well\n",
               (unsigned long long)p->repaired);
    if (p->unopened > 0)
        printf("%llu %s under customers' keys, or under scopes whose key was destroyed: their "
               "length and place were verified, their "
               "content cannot be without the keys\n",
               (unsigned long long)p->unopened, p->unopened == 1 ? "piece is" : "pieces are");
}

static err repair(store *s, check *c, store_check_progress *ret) {
    err e = store_repair(s, report, progress, c, ret);
    char why[512];
    snprintf(why, sizeof why, "%s", err_detail());
    err recorded = cli_record(s, "check --repair", e);
    return e == OK ? recorded : err_fail(e, "%s", why);
}

static err run_check(const cli_folder *f, bool repairs, store_check_progress *ret) {
    store *s;
    const cli_open how = {.read_only = !repairs, .cache_bytes = 64 << 20};
    engine_stats stats = {0};
    TRY(cli_folder_open(f, &how, &s));
    engine_get_stats(store_engine(s), &stats);
    check c = {.bar = isatty(STDERR_FILENO),
               .started_us = clock_mono_us(),
               .bytes_all =
                   stats.stream_bytes_live ? stats.stream_bytes_live : stats.stream_bytes_disk};
    err e = repairs ? repair(s, &c, ret) : store_check(s, report, progress, &c, ret);
    clear_bar(&c);
    if (e == OK) summary(&c, ret);
    store_close(s);
    return e;
}

int cli_check(int argc, char **argv) {
    cli_folder folder = {0};
    bool repairs = false;
    const cli_flag flags[] = {
        {"data", "DIR", &folder.data, NULL, "the data folder"},
        {"root-key", "FILE", &folder.root_key, NULL, "the root key; default: DIR/root.key"},
        {"config", "FILE", &folder.config, NULL, "take data and root_key from this configuration"},
        {"repair", NULL, NULL, &repairs, "make again what can be made again"},
        {0}};
    const cli_spec spec = {
        "check",
        "--data DIR [flags]",
        "Verifies every row, every extent and every authentication tag of a data folder,\n"
        "and says what is wrong and where. The server must be stopped; nothing is written, but\n"
        "with --repair: then the index (of tags, expiry and protection) is made to agree with the\n"
        "blobs, and keys that nothing names are destroyed. Content that is damaged stays "
        "reported.\n"
        "Exit code: 0 clean, 1 damaged, 2 the check could not run.",
        flags,
        0,
        0};
    cli_args args;
    store_check_progress p = {0};
    arena *a = arena_new(4096, CLI_ARENA_MAX);
    err e = cli_parse(&spec, argc, argv, &args);
    bool help = e == OK && args.help;
    if (e == OK && !help) e = cli_folder_resolve(a, &folder, NULL);
    if (e == OK && !help) e = run_check(&folder, repairs, &p);
    arena_free(a);
    if (e != OK) {
        (void)cli_fail(spec.name, e);
        return EXIT_NOT_RUN;
    }
    return p.defects > 0 ? EXIT_DAMAGED : CLI_EXIT_OK;
}
