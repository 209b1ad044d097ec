/* `strongroom backup` and `strongroom restore`. The server, or this program when none runs, holds the point; this
 * program copies it. */
#include "backup/backup.h"
#include "cli/cli.h"

#define RENEW_PERIOD_US 20000000 /* far below the lease (admin/backup.c) */
#define MIB             ((uint64_t)1 << 20)

/* Flags, and a backup or restore under way. */
typedef struct work {
    cli_folder folder;
    const char *to, *from, *point, *keep, *data;
    bool list, verify, accept_damage;
    arena *a; /* of one call */
    const char *socket;
    bool running;      /* a server holds the point */
    cli_opened opened; /* otherwise */
    char id[24];
    uint64_t bytes_all;
    cli_bar bar;
    int64_t renewed_us;
} work;

/* ---- what is seen ---- */

static void draw(work *k, const backup_progress *p) {
    if (!cli_bar_due(&k->bar)) return;
    if (k->bytes_all > 0) { /* an estimate; the end is said by the summary */
        const double part = (double)p->seen / (double)k->bytes_all;
        fprintf(stderr, "%2.0f%%  ", part > 0.99 ? 99.0 : part * 100);
    }
    fprintf(stderr, "%llu MiB, of it %llu MiB copied  %.0f MiB/s\033[K",
            (unsigned long long)(p->seen / MIB), (unsigned long long)(p->copied / MIB),
            cli_bar_rate(&k->bar, (double)p->seen / (double)MIB));
}

static void damaged(void *ctx, const char *what, const char *where) {
    work *k = ctx;
    cli_bar_damaged(&k->bar, what, where);
}

static void start(work *k) {
    cli_bar_start(&k->bar);
    k->renewed_us = clock_mono_us();
}

/* ---- the point ---- */

static err ask(work *k, const char *command, slice *ret) {
    arena_reset(k->a);
    const pair id = {S("id"), slice_str(k->id)};
    const slice request = admin_request(k->a, command, &id, 1);
    if (!k->running) return admin_call(&k->opened.state, k->a, request, ret);
    bool running;
    TRY(cli_remote_call(k->a, k->socket, request, &running, ret));
    ENSURE(running, ERR_NOT_FOUND,
           "the server that held the point has ended; run the command again: what was copied is "
           "not copied "
           "again");
    return OK;
}

static err hold(work *k, arena *kept) {
    const char *from_config;
    slice response;
    TRY(cli_folder_resolve(kept, &k->folder, &from_config));
    TRY(cli_socket_path(kept, k->folder.data, &k->socket));
    const slice request = admin_request(k->a, "backup begin", NULL, 0);
    TRY(cli_remote_call(k->a, k->socket, request, &k->running, &response));
    if (!k->running) {
        TRY(cli_opened_open(kept, &k->folder, &k->opened));
        TRY(admin_call(&k->opened.state, k->a, request, &response));
    }
    const slice id = admin_field(k->a, response, "id"),
                bytes = admin_field(k->a, response, "bytes");
    snprintf(k->id, sizeof k->id, "%.*s", SLICE_ARG(id));
    if (slice_u64(bytes, &k->bytes_all) != OK) k->bytes_all = 0;
    return OK;
}

static err progress(void *ctx, const backup_progress *p) {
    work *k = ctx;
    slice response;
    draw(k, p);
    const int64_t now = clock_mono_us();
    if (k->id[0] == '\0' || now - k->renewed_us < RENEW_PERIOD_US) return OK;
    k->renewed_us = now;
    return ask(k, "backup renew", &response);
}

static err finish(void *ctx) {
    work *k = ctx;
    slice response;
    TRY(ask(k, "backup end", &response));
    k->id[0] = '\0';
    return OK;
}

/* The point, if it is still there, is of no use any more. */
static void let_go(work *k) {
    char why[512];
    slice response;
    snprintf(why, sizeof why, "%s", err_detail());
    if (k->id[0] != '\0') (void)!ask(k, "backup abandon", &response);
    err_note("%s", why);
}

/* ---- backup ---- */

static void print_point(void *ctx, const backup_point *p) {
    (void)ctx;
    if (p->intact)
        printf("%s  %llu bytes\n", p->name, (unsigned long long)p->bytes);
    else
        printf("%s  damaged: its manifest does not verify\n", p->name);
}

static err check_flags(const work *k, uint64_t *ret_keep) {
    ENSURE(k->to != NULL, ERR_USAGE, "where to? Say --to FOLDER");
    ENSURE(k->list + k->verify + (k->keep != NULL) <= 1, ERR_USAGE,
           "--list, --verify and --keep go one at a time");
    ENSURE(!k->point || k->verify, ERR_USAGE, "--point says what --verify reads");
    *ret_keep = 0;
    return k->keep ? cli_number("keep", k->keep, 1, 1000000, ret_keep) : OK;
}

static err tell_backup(work *k, const backup_point *point, const backup_progress *p,
                       uint64_t removed) {
    cli_bar_clear(&k->bar);
    printf("%s: %llu bytes, of them %llu copied and %llu already there, in %.1f s\n", point->name,
           (unsigned long long)point->bytes, (unsigned long long)p->copied,
           (unsigned long long)(point->bytes - p->copied), cli_bar_seconds(&k->bar));
    if (removed > 0)
        printf("%llu older %s removed\n", (unsigned long long)removed,
               removed == 1 ? "point" : "points");
    printf("The root key is not in it: keep that elsewhere. Without it nothing in the backup can "
           "be read.\n");
    ENSURE(p->damaged == 0, ERR_CORRUPT,
           "%llu pieces of content were damaged already and are so in the backup; `strongroom "
           "check` names "
           "their blobs",
           (unsigned long long)p->damaged);
    return OK;
}

static err run_verify(work *k) {
    const backup_watch w = {k, progress, damaged};
    backup_point point;
    backup_progress done;
    start(k);
    err e = backup_verify(k->to, k->point, &w, &point, &done);
    cli_bar_clear(&k->bar);
    TRY(e);
    printf("%s: %llu bytes read and verified in %.1f s\n", point.name,
           (unsigned long long)done.seen, cli_bar_seconds(&k->bar));
    return OK;
}

static err run_backup(work *k, arena *kept) {
    const backup_watch w = {k, progress, damaged};
    backup_point point;
    backup_progress done;
    uint64_t keep, removed = 0;
    TRY(check_flags(k, &keep));
    if (k->list) return backup_each(k->to, print_point, NULL);
    if (k->verify) return run_verify(k);
    TRY(hold(k, kept));
    start(k);
    TRY(backup_take(k->folder.data, k->to, &w, finish, &point, &done));
    if (keep > 0) TRY(backup_tidy(k->to, keep, &removed));
    return tell_backup(k, &point, &done, removed);
}

int cli_backup(int argc, char **argv) {
    work k = {.a = arena_new(4096, CLI_ARENA_MAX)};
    const cli_flag flags[] = {
        {"data", "DIR", &k.folder.data, NULL, "the data folder"},
        {"config", "FILE", &k.folder.config, NULL,
         "take data and root_key from this configuration"},
        {"root-key", "FILE", &k.folder.root_key, NULL,
         "the root key, if not DIR/root.key (needed when no server runs)"},
        {"to", "FOLDER", &k.to, NULL, "where backups are kept (required)"},
        {"keep", "N", &k.keep, NULL, "then remove all but the newest N points"},
        {"list", NULL, NULL, &k.list, "make none, show the points there are"},
        {"verify", NULL, NULL, &k.verify, "make none, read a point and verify all of it"},
        {"point", "NAME", &k.point, NULL, "which one to verify; default: the newest"},
        {0}};
    const cli_spec spec = {
        "backup",
        "--to FOLDER [--data DIR] [flags]",
        "Copies the data folder, as it is at one moment, to FOLDER, while the server runs or "
        "without one.\n"
        "A second backup to the same folder copies only what is new; each is a point that\n"
        "`strongroom restore` restores. Interrupted, the earlier points stay as they are, and the "
        "next\n"
        "backup goes on with it. All stays encrypted, and the root key is not copied: keep it "
        "elsewhere.\n"
        "What is deleted later stays in the points that were made before: --keep removes old ones.",
        flags,
        0,
        0};
    cli_args args;
    arena *kept = arena_new(4096, CLI_ARENA_MAX);
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) e = run_backup(&k, kept);
    if (e != OK) {
        cli_bar_clear(&k.bar);
        let_go(&k);
    }
    const int code = e == OK ? CLI_EXIT_OK : cli_fail(spec.name, e);
    cli_opened_close(&k.opened);
    arena_free(kept);
    arena_free(k.a);
    return code;
}

/* ---- restore ---- */

static err run_restore(work *k) {
    const backup_watch w = {k, progress, damaged};
    backup_point point;
    backup_progress done;
    ENSURE(k->from != NULL && k->data != NULL, ERR_USAGE, "say --from FOLDER and --data NEWDIR");
    start(k);
    err e = backup_restore(k->from, k->point, k->data, k->accept_damage, &w, &point, &done);
    cli_bar_clear(&k->bar);
    TRY(e);
    printf("%s: %llu bytes restored and verified in %.1f s\n", point.name,
           (unsigned long long)done.copied, cli_bar_seconds(&k->bar));
    printf("Put the root key in its place, then: strongroom check --data %s\n", k->data);
    return OK;
}

int cli_restore(int argc, char **argv) {
    work k = {0};
    const cli_flag flags[] = {{"from", "FOLDER", &k.from, NULL, "where the backups are (required)"},
                              {"point", "NAME", &k.point, NULL,
                               "which one; default: the newest (`backup --list` shows all)"},
                              {"data", "NEWDIR", &k.data, NULL,
                               "the data folder to make: missing, or empty but for a root key"},
                              {"accept-damage", NULL, NULL, &k.accept_damage,
                               "finish although parts of the backup are damaged"},
                              {0}};
    const cli_spec spec = {"restore",
                           "--from FOLDER --data NEWDIR [flags]",
                           "Makes a data folder from a backup and verifies all that it copies. The "
                           "root key is not in\n"
                           "the backup: put it where the server looks for it, and verify the "
                           "folder with `strongroom check`.\n"
                           "The restored record ends where the backup was made; witnesses that "
                           "have seen more of it refuse\n"
                           "to cosign it (`strongroom help audit`, docs/decisions/0027-backup.md).",
                           flags,
                           0,
                           0};
    cli_args args;
    err e = cli_parse(&spec, argc, argv, &args);
    if (e == OK && !args.help) e = run_restore(&k);
    return e == OK ? CLI_EXIT_OK : cli_fail(spec.name, e);
}
