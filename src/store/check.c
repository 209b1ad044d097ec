/* The check: every row is read and must decode, every piece of content must open, and everything
 * that is there must have exactly one owner.
 * check_blob.c walks the rows of blobs. */
#include "store/check.h"

#include <stdarg.h>
#include <time.h>

#define PROGRESS_EVERY_BYTES (64ull << 20)
#define PROGRESS_EVERY_BLOBS 10000

/* ---- reports ---- */

static void report(check *ck, const char *what, slice where) {
    ck->done.defects++;
    char text[4096];
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(slice_take(where, sizeof text - 1)));
    ck->report(ck->ctx, what, text);
}

void check_report_row(check *ck, const char *table, slice key, const char *what) {
    buf b;
    buf_init(&b, (size_t)4 * ENGINE_KEY_MAX);
    buf_fmt(&b, "row of %s, key ", table);
    percent_put(&b, key, "/$");
    report(ck, what, buf_slice(&b));
    buf_done(&b);
}

void check_defect(check *ck, const char *fmt, ...) {
    char what[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    buf b;
    buf_init(&b, 64 << 10);
    if (ck->k)
        buf_fmt(&b, "%.*s/%.*s/", SLICE_ARG(ck->k->account), SLICE_ARG(ck->k->name));
    else
        buf_fmt(&b, "(container %llu)/", (unsigned long long)ck->container);
    percent_put(&b, ck->name, "/ !$&'()*+,;=:@");
    report(ck, what, buf_slice(&b));
    buf_done(&b);
}

void check_tell_progress(check *ck) {
    uint64_t now = ck->done.bytes / PROGRESS_EVERY_BYTES + ck->done.blobs / PROGRESS_EVERY_BLOBS;
    if (!ck->progress || now == ck->next_progress) return;
    ck->next_progress = now;
    ck->progress(ck->ctx, ck->done);
}

/* ---- META and the purges ---- */

static void add_container(check *ck, checked_container k) {
    ck->containers = check_grow(ck->containers, ck->container_count, &ck->container_room, sizeof k);
    ck->containers[ck->container_count++] = k;
}

static void add_account(check *ck, uint64_t id, slice name) {
    ck->accounts =
        check_grow(ck->accounts, ck->account_count, &ck->account_room, sizeof *ck->accounts);
    ck->accounts[ck->account_count++] = (checked_account){id, name};
}

/* NULL when there is none. Containers are met account by account. */
static const slice *account_name(check *ck, uint64_t id) {
    for (size_t i = 0; i < ck->account_count; i++) {
        size_t at = (ck->account_last + i) % ck->account_count;
        if (ck->accounts[at].id != id) continue;
        ck->account_last = at;
        return &ck->accounts[at].name;
    }
    return NULL;
}

/* The key of a container, deleted or not, out of vault and account. */
static err check_container_key(check *ck, slice account, slice name, slice value, arena *a,
                               crypto_key *ret) {
    const store_account *ac;
    struct container *k;
    TRY(store_account_get(ck->s, (store_call){.arena = a}, account, &ac));
    err e = container_snapshot(ck->s, a, account_of(ac), name, value, &k);
    store_account_unref(ac);
    ENSURE(e != ERR_KEY_DESTROYED, e, "the container's key was destroyed");
    TRY(e);
    *ret = k->secret->key;
    snap_unref(&k->snap);
    return OK;
}

/* Whether what the key says (deleted, or not) is what the row says. */
static bool container_row_fits(slice key, const row_container *row) {
    return (key.p[0] == 'd') == (row->deleted_us != STORE_TIME_NONE);
}

static void check_container_row(check *ck, uint64_t account, slice name, slice key, slice value) {
    const slice *owner = account_name(ck, account);
    row_container row;
    store_container pub;
    arena *a = arena_new(4096, 0);
    if (container_decode(a, SLICE_NONE, name, value, &pub, &row) != OK) {
        check_report_row(ck, "META", key, err_detail());
    } else if (!owner) {
        if (!id_set_has(&ck->purged_accounts, account))
            check_report_row(ck, "META", key, "the container's account is not there");
        add_container(ck, (checked_container){.id = row.id, .purging = true});
    } else {
        checked_container k = {.id = row.id,
                               .account_id = account,
                               .account = *owner,
                               .name = arena_dup(ck->mem, name)};
        if (!container_row_fits(key, &row))
            check_report_row(ck, "META", key,
                             "the row says otherwise whether the container was deleted");
        k.has_key = check_container_key(ck, *owner, name, value, a, &k.key) == OK;
        if (!k.has_key) check_report_row(ck, "META", key, err_detail());
        add_container(ck, k);
    }
    arena_free(a);
}

static void check_account_row(check *ck, slice key, slice value) {
    slice name = slice_skip(key, 1);
    row_account row;
    if (row_account_get(value, &row) != OK) {
        check_report_row(ck, "META", key, err_detail());
        return;
    }
    add_account(ck, row.id, arena_dup(ck->mem, name));
    arena *a = arena_new(4096, 0);
    const store_account *ac;
    if (store_account_get(ck->s, (store_call){.arena = a}, name, &ac) != OK)
        report(ck, err_detail(), name);
    else
        store_account_unref(ac);
    arena_free(a);
}

static void check_service_row(check *ck, uint64_t account, slice key, slice value) {
    row_service row;
    store_cors_rule cors[STORE_CORS_RULES_MAX];
    size_t n;
    if (row_service_get(value, &row) != OK || row_cors_get(row.cors, cors, &n) != OK)
        check_report_row(ck, "META", key, err_detail());
    else if (!account_name(ck, account) && !id_set_has(&ck->purged_accounts, account))
        check_report_row(ck, "META", key, "the account of these properties is not there");
}

static void check_document_row(check *ck, uint64_t account, slice key, slice value) {
    store_document d;
    if (row_document_get(value, &d) != OK)
        check_report_row(ck, "META", key, err_detail());
    else if (!account_name(ck, account) && !id_set_has(&ck->purged_accounts, account))
        check_report_row(ck, "META", key, "the account of this document is not there");
}

/* Its key opens, unless it was destroyed. */
static void check_scope_row(check *ck, uint64_t account, slice name, slice key, slice value) {
    row_scope row;
    const slice *owner = account_name(ck, account);
    arena *a = arena_new(4096, 0);
    const crypto_key any = {{0}};
    crypto_key kek;
    err e = row_scope_get(value, &row);
    if (e == OK && owner && row.state != STORE_SCOPE_DESTROYED) {
        const scope_place place = {.account = *owner, .account_id = account, .container = &any};
        e = scope_kek(ck->s, (store_call){.arena = a}, &place, name, true, &kek);
    }
    if (e != OK)
        check_report_row(ck, "META", key, err_detail());
    else if (!owner && !id_set_has(&ck->purged_accounts, account))
        check_report_row(ck, "META", key, "the account of this encryption scope is not there");
    arena_free(a);
}

/* The log begins where retention has left it. */
static void check_log_begins(check *ck, slice key, const row_log *row) {
    engine_stats e;
    char why[160];
    engine_get_stats(ck->s->engine, &e);
    if (e.log_first >= row->swept && e.log_first <= row->minimum && row->minimum <= e.log_next)
        return;
    snprintf(why, sizeof why,
             "the log holds entries %llu to %llu, and retention has removed those below %llu",
             (unsigned long long)e.log_first, (unsigned long long)e.log_next,
             (unsigned long long)row->swept);
    check_report_row(ck, "META", key, why);
}

static void check_log_row(check *ck, slice key, slice value) {
    row_log row;
    arena *a = arena_new(4096, 0);
    crypto_key k;
    if (key.len != 1 || row_log_get(value, &row) != OK ||
        root_key(ck->s, a, row.id, row.slot, &k) != OK) {
        check_report_row(ck, "META", key, err_detail());
    } else {
        crypto_key_wipe(&k);
        check_log_begins(ck, key, &row);
    }
    arena_free(a);
}

static void check_scrub_row(check *ck, slice key, slice value) {
    store_scrub v;
    if (key.len != 1 || row_scrub_get(value, &v) != OK)
        check_report_row(ck, "META", key, err_detail());
}

static void check_overseer_row(check *ck, slice key, slice value) {
    store_overseer v;
    if (!store_overseer_name_valid(slice_skip(key, 1)))
        check_report_row(ck, "META", key, "no overseer has such a name");
    else if (row_overseer_get(value, &v) != OK)
        check_report_row(ck, "META", key, err_detail());
}

static void check_meta_row(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1), name;
    uint64_t account, version;
    if (key.p[0] == 'a')
        check_account_row(ck, key, value);
    else if (key.p[0] == KEY_LOG)
        check_log_row(ck, key, value);
    else if (key.p[0] == KEY_SCRUB)
        check_scrub_row(ck, key, value);
    else if (key.p[0] == KEY_OVERSEER)
        check_overseer_row(ck, key, value);
    else if (!strchr("cdlse", key.p[0]) || id_take(&rest, &account) != OK)
        check_report_row(ck, "META", key, "a row of unknown kind");
    else if (key.p[0] == 's')
        check_service_row(ck, account, key, value);
    else if (key.p[0] == KEY_SCOPE)
        check_scope_row(ck, account, rest, key, value);
    else if (key.p[0] == 'l')
        check_document_row(ck, account, key, value);
    else if (key.p[0] == 'c')
        check_container_row(ck, account, rest, key, value);
    else if (key_deleted_take(rest, &name, &version) != OK)
        check_report_row(ck, "META", key, err_detail());
    else
        check_container_row(ck, account, name, key, value);
}

static err walk(check *ck, engine_table t, slice lower, slice upper,
                void (*each)(check *, slice key, slice value)) {
    engine_cursor *cur;
    err e;
    TRY(engine_scan(ck->s->engine, t, lower, upper, &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        each(ck, k, v);
    }
out:
    engine_cursor_free(cur);
    return e;
}

static void check_purge_row(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1);
    uint64_t id;
    row_purge row;
    if (id_take(&rest, &id) != OK || rest.len || row_purge_get(value, &row) != OK)
        check_report_row(ck, "JOB", key, err_detail());
    else if (key.p[0] == KEY_JOB_PURGE)
        add_container(ck, (checked_container){.id = id,
                                              .account = arena_dup(ck->mem, row.account),
                                              .name = arena_dup(ck->mem, row.container),
                                              .purging = true});
    else
        id_set_add(&ck->purged_accounts, id);
}

static int by_id(const void *a, const void *b) {
    uint64_t x = ((const checked_container *)a)->id, y = ((const checked_container *)b)->id;
    return x < y ? -1 : x > y;
}

/* One container has one row: a rename or a restoration that was done by half would leave two. */
static void check_one_row_each(check *ck) {
    for (size_t i = 1; i < ck->container_count; i++)
        if (ck->containers[i].id == ck->containers[i - 1].id)
            report(ck, "two rows are of one container", ck->containers[i].name);
}

static const checked_container *find_container(const check *ck, uint64_t id) {
    checked_container k = {.id = id};
    if (ck->container_count == 0) return NULL;
    return bsearch(&k, ck->containers, ck->container_count, sizeof k, by_id);
}

const checked_container *check_container(const check *ck, uint64_t id) {
    return find_container(ck, id);
}

/* ---- garbage ---- */

static void check_garbage_row(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1);
    uint64_t container, id;
    row_garbage row;
    if (id_take(&rest, &container) != OK || id_take(&rest, &id) != OK || rest.len ||
        row_garbage_get(value, &row) != OK) {
        check_report_row(ck, "JOB", key, err_detail());
        return;
    }
    ck->container = container;
    ck->k = find_container(ck, container);
    ck->name = row.name;
    if (!ck->k) check_report_row(ck, "JOB", key, "garbage of a container that is not there");
    while (row.pieces.len) {
        row_piece p;
        if (row_waste_take(&row.pieces, &p) != OK) {
            check_report_row(ck, "JOB", key, err_detail());
            return;
        }
        content_count(ck, &p, false);
    }
}

static void check_job_row(check *ck, slice key, slice value) {
    row_expiry x;
    if (!strchr("gkpPshde", key.p[0]))
        check_report_row(ck, "JOB", key, "a row of unknown kind");
    else if (key.p[0] == KEY_JOB_EXPIRY && row_expiry_get(value, &x) != OK)
        check_report_row(ck, "JOB", key, err_detail());
}

uint64_t check_expiry_id(slice name, uint64_t tick, int64_t until_us) {
    uint64_t mixed = (slice_hash(name) ^ tick) * 0x9e3779b97f4a7c15ull;
    return (mixed ^ (uint64_t)until_us) | 1;
}

static void remember_expiry(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1 + KEY_ID_LEN);
    uint64_t until;
    row_expiry x;
    if (hex16_take(&rest, &until) != OK || row_expiry_get(value, &x) != OK) return;
    id_set_add(&ck->expiries, check_expiry_id(x.name, x.tick, (int64_t)until));
}

static void remember_garbage(check *ck, slice key, slice value) {
    (void)key;
    checked_garbage *g = arena_alloc(ck->garbage_mem, sizeof *g);
    if (row_garbage_get(arena_dup(ck->garbage_mem, value), &g->row) != OK) return;
    checked_garbage **head = &ck->garbage[slice_hash(g->row.name) % GARBAGE_BUCKETS];
    g->next = *head;
    *head = g;
}

err check_enter_container(check *ck, uint64_t id) {
    ck->container = id;
    ck->container_known = true;
    ck->k = find_container(ck, id);
    memset(ck->garbage, 0, sizeof ck->garbage);
    arena_free(ck->garbage_mem);
    ck->garbage_mem = arena_new(64 << 10, 0);
    short_key low, high;
    key_job(&low, KEY_JOB_GARBAGE, id);
    high = low;
    key_end(&high);
    TRY(walk(ck, ENGINE_JOB, key_slice(&low), key_slice(&high), remember_garbage));
    id_set_clear(&ck->expiries);
    key_job(&low, KEY_JOB_EXPIRY, id);
    high = low;
    key_end(&high);
    return walk(ck, ENGINE_JOB, key_slice(&low), key_slice(&high), remember_expiry);
}

check_ownership check_garbage_owns(const check *ck, uint64_t manifest, uint64_t session) {
    const checked_garbage *g = ck->garbage[slice_hash(ck->name) % GARBAGE_BUCKETS];
    for (; g; g = g->next) {
        if (!slice_eq(g->row.name, ck->name)) continue;
        if (manifest && g->row.manifest == manifest)
            return g->row.manifest_all ? CHECK_ROWS_AND_PIECES : CHECK_ROWS_ONLY;
        if (session && g->row.session == session)
            return g->row.session_all ? CHECK_ROWS_AND_PIECES : CHECK_ROWS_ONLY;
    }
    return CHECK_OWNED_BY_NOBODY;
}

bool check_garbage_tail(const check *ck, uint64_t manifest, uint64_t at) {
    const checked_garbage *g = ck->garbage[slice_hash(ck->name) % GARBAGE_BUCKETS];
    while (g && !(slice_eq(g->row.name, ck->name) && g->row.manifest == manifest &&
                  g->row.manifest_from > 0 && g->row.manifest_from <= at))
        g = g->next;
    return g != NULL;
}

bool check_garbage_map(const check *ck, uint64_t content, uint64_t generation) {
    const checked_garbage *g = ck->garbage[slice_hash(ck->name) % GARBAGE_BUCKETS];
    while (g && !(slice_eq(g->row.name, ck->name) && g->row.map == content &&
                  g->row.map_generation == generation))
        g = g->next;
    return g != NULL;
}

/* CONTENT rows that garbage names one by one. */
void check_own_garbage(const check *ck, id_set *owned) {
    const checked_garbage *g = ck->garbage[slice_hash(ck->name) % GARBAGE_BUCKETS];
    for (; g; g = g->next) {
        slice pieces = g->row.pieces;
        row_piece p;
        if (!slice_eq(g->row.name, ck->name)) continue;
        while (pieces.len && row_waste_take(&pieces, &p) == OK)
            if (p.where == ROW_INLINE) id_set_add(owned, p.id);
    }
}

/* ---- all of it ---- */

static void count_defect(void *ctx, const char *what, const char *where) {
    check *ck = ctx;
    ck->done.defects++;
    ck->report(ck->ctx, what, where);
}

#define STATS_WAIT_MS 5000

/* What the engine keeps is what rows own. An engine that was just opened may still be counting. */
static void check_stream_bytes(check *ck) {
    engine_stats st;
    engine_get_stats(ck->s->engine, &st);
    for (int ms = 0; st.stream_bytes_live != ck->stream_bytes && ms < STATS_WAIT_MS; ms += 20) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        engine_get_stats(ck->s->engine, &st);
    }
    if (st.stream_bytes_live == ck->stream_bytes) return;
    char what[200];
    snprintf(what, sizeof what, "streams hold %llu bytes, rows own %llu of them",
             (unsigned long long)st.stream_bytes_live, (unsigned long long)ck->stream_bytes);
    report(ck, what, S("the store"));
}

static err check_all(check *ck) {
    TRY(walk(ck, ENGINE_JOB, SLICE_NONE, SLICE_NONE, check_job_row));
    TRY(walk(ck, ENGINE_JOB, S("P"), S("Q"), check_purge_row));
    TRY(walk(ck, ENGINE_JOB, S("p"), S("q"), check_purge_row));
    TRY(walk(ck, ENGINE_META, SLICE_NONE, SLICE_NONE, check_meta_row));
    if (ck->container_count)
        qsort(ck->containers, ck->container_count, sizeof *ck->containers, by_id);
    check_one_row_each(ck);
    TRY(walk(ck, ENGINE_JOB, S("g"), S("h"), check_garbage_row));
    TRY(check_blobs(ck));
    TRY(walk(ck, ENGINE_INDEX, SLICE_NONE, SLICE_NONE, index_check_row));
    if (ck->done.defects == 0) check_stream_bytes(ck);
    return engine_check(ck->s->engine, count_defect, ck);
}

static err run(store *s, bool repair, engine_report *report_,
               void (*progress)(void *, store_check_progress), void *ctx,
               store_check_progress *ret) {
    check *ck = calloc(1, sizeof *ck);
    MUST(ck);
    ck->s = s;
    ck->repair = repair;
    ck->report = report_;
    ck->progress = progress;
    ck->ctx = ctx;
    ck->mem = arena_new(64 << 10, 0);
    ck->sealed = malloc(CHECK_SEALED_MAX);
    ck->plain = malloc(CRYPTO_CHUNK_LEN);
    MUST(ck->sealed && ck->plain);
    err e = check_all(ck);
    if (e == OK) *ret = ck->done;
    for (size_t i = 0; i < ck->container_count; i++) crypto_key_wipe(&ck->containers[i].key);
    crypto_wipe(ck->plain, CRYPTO_CHUNK_LEN);
    free(ck->containers);
    free(ck->accounts);
    id_set_clear(&ck->purged_accounts);
    id_set_clear(&ck->expiries);
    free(ck->sealed);
    free(ck->plain);
    arena_free(ck->garbage_mem);
    arena_free(ck->mem);
    free(ck);
    return e;
}

err store_check(store *s, engine_report *report_, void (*progress)(void *, store_check_progress),
                void *ctx, store_check_progress *ret) {
    return run(s, false, report_, progress, ctx, ret);
}

err store_repair(store *s, engine_report *report_, void (*progress)(void *, store_check_progress),
                 void *ctx, store_check_progress *ret) {
    uint64_t given_back = 0;
    MUST(!s->background);
    TRY(run(s, true, report_, progress, ctx, ret));
    /* Rows that cannot be read may name slots. */
    if (ret->defects == 0) TRY(orphans_destroy(s, engine_new_id(s->engine), &given_back));
    ret->repaired += given_back;
    return OK;
}
