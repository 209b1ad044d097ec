/* `strongroom check`: verifies a stopped data folder. */
#include "cli/cli.h"

#define EXIT_DAMAGED 1
#define EXIT_NOT_RUN 2
#define MIB          ((uint64_t)1 << 20)

typedef struct check {
    cli_bar bar;
    uint64_t bytes_all; /* what extents hold; rows come on top */
} check;

static void report(void *ctx, const char *what, const char *where) {
    check *c = ctx;
    cli_bar_damaged(&c->bar, what, where);
}

static void progress(void *ctx, store_check_progress p) {
    check *c = ctx;
    if (!cli_bar_due(&c->bar)) return;
    if (c->bytes_all > 0) { /* an estimate; the end is said by the summary */
        const double part = (double)p.bytes / (double)c->bytes_all;
        cli_bar_part(part > 0.99 ? 0.99 : part);
    }
    fprintf(stderr, "%llu blobs  %llu MiB  %.0f MiB/s\033[K", (unsigned long long)p.blobs,
            (unsigned long long)(p.bytes / MIB),
            cli_bar_rate(&c->bar, (double)p.bytes / (double)MIB));
}

static void summary(const check *c, const store_check_progress *p) {
    printf("%s: %llu blobs, %llu blocks, %llu bytes verified in %.1f s; %llu %s\n",
           p->defects ? "damaged" : "clean", (unsigned long long)p->blobs,
           (unsigned long long)p->blocks, (unsigned long long)p->bytes, cli_bar_seconds(&c->bar),
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
    check c = {.bytes_all =
                   stats.stream_bytes_live ? stats.stream_bytes_live : stats.stream_bytes_disk};
    cli_bar_start(&c.bar);
    err e = repairs ? repair(s, &c, ret) : store_check(s, report, progress, &c, ret);
    cli_bar_clear(&c.bar);
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
        "with --repair: then the index (of tags, expiry and protection) and the counters of\n"
        "histories and staged blocks are made to agree with the blobs, and keys that nothing\n"
        "names are destroyed. Content that is damaged stays reported.\n"
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
