/* The scrubber: one thread, a pass over everything after another.
 *
 *   pass:  accounts by name > containers by name > pages of blobs > the content of each state; then all rows
 *
 * It notes where it is after each page of blobs, once a minute at most; what it reads again after a restart is that
 * much. What was deleted meanwhile is passed over; what comes behind it is met by the next pass. */
#include <pthread.h>

#include "upkeep/upkeep.h"

#define PAGE         200
#define PIECE        ((size_t)256 << 10)
#define ROWS_PIECE   (1u << 20)
#define NOTE_EACH_US 60000000
#define LOOK_EACH_US 60000000 /* for whether a pass is due */

struct upkeep {
    store *s;
    uint64_t rate;
    int64_t pause_us;
    pthread_t thread;
    bool threaded;
    pthread_mutex_t lock; /* of stop's wake-up and the stats */
    pthread_cond_t wake;
    atomic_bool stopping;
    upkeep_stats stats;
    /* The thread's own. */
    int64_t next_us; /* when the bytes read so far have had their time */
    int64_t noted_us;
    arena *names; /* of the position */
    store_scrub at;
    uint8_t piece[PIECE];
};

/* ---- pace ---- */

static void sleep_until(upkeep *u, int64_t us) {
    const struct timespec until = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    pthread_mutex_lock(&u->lock);
    while (!atomic_load(&u->stopping) && clock_mono_us() < us)
        (void)pthread_cond_timedwait(&u->wake, &u->lock, &until);
    pthread_mutex_unlock(&u->lock);
}

/* Takes the time that so many bytes have. What was slower than the pace is not made up for. */
static void take_time(upkeep *u, uint64_t bytes) {
    const int64_t now = clock_mono_us();
    if (u->next_us < now) u->next_us = now;
    u->next_us += (int64_t)(bytes * 1000000 / u->rate);
    if (u->next_us - now > 10000) sleep_until(u, u->next_us);
}

/* ---- what was found ---- */

static void publish(upkeep *u) {
    pthread_mutex_lock(&u->lock);
    u->stats.bytes = u->at.bytes;
    u->stats.blobs = u->at.blobs;
    u->stats.damaged = u->at.damaged;
    u->stats.begun_us = u->at.begun_us;
    u->stats.ended_us = u->at.ended_us;
    pthread_mutex_unlock(&u->lock);
}

static void add_bytes(upkeep *u, uint64_t n) {
    u->at.bytes += n;
    publish(u);
    take_time(u, n);
}

/* Keeps where it is. account, container, marker: what is next. */
static err note(upkeep *u, slice account, slice container, slice marker, bool at_once) {
    const int64_t now = clock_mono_us();
    arena *a = arena_new(4096, 1 << 20);
    u->at.account = arena_dup(a, account);
    u->at.container = arena_dup(a, container);
    u->at.marker = arena_dup(a, marker);
    arena_free(u->names);
    u->names = a;
    if (!at_once && now - u->noted_us < NOTE_EACH_US) return OK;
    u->noted_us = now;
    arena *room = arena_new(4096, 1 << 20);
    err e = store_scrub_put(u->s, (store_call){.arena = room}, &u->at);
    arena_free(room);
    return e == ERR_NO_SPACE ? OK : e; /* it goes on; only a restart would begin further back */
}

/* ---- one blob ---- */

typedef struct place {
    upkeep *u;
    const store_account *account;
    const store_container *container;
    arena *page;
    struct {
        slice name;
        store_pick pick;
        bool customer;
    } list[PAGE];
    size_t count;
} place;

static err read_all(upkeep *u, store_reader *r) {
    for (uint64_t at = 0;;) {
        size_t n;
        if (atomic_load(&u->stopping)) return ERR_CANCELLED;
        TRY(store_reader_read(r, at, u->piece, PIECE, false, &n));
        if (n == 0) return OK;
        at += n;
        add_bytes(u, n);
    }
}

static err read_blob(place *p, size_t i, arena *a) {
    store_blob b;
    store_reader *r;
    const store_call c = {.arena = a, .archived = true, .verifies = true};
    TRY(store_blob_open(p->u->s, c, p->container, p->list[i].name, p->list[i].pick, NULL, &b, &r));
    err e = read_all(p->u, r);
    store_reader_free(r);
    return e;
}

/* It was deleted or replaced meanwhile, or has no content yet. */
static bool is_gone(err e) {
    static const err gone[] = {ERR_BLOB_NOT_FOUND, ERR_CONTAINER_NOT_FOUND,
                               ERR_CONFLICT,       ERR_KEY_DESTROYED,
                               ERR_NOT_FOUND,      ERR_PENDING_COPY_OPERATION};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        if (e == gone[i]) return true;
    return false;
}

static void found_damage(place *p, size_t i, err e) {
    char tick[TIME_TICK_TEXT_LEN + 1] = "";
    const store_pick pick = p->list[i].pick;
    buf b;
    buf_init_fixed(&b, tick, sizeof tick - 1);
    if (pick.snapshot || pick.version)
        time_put_tick(&b, pick.snapshot ? pick.snapshot : pick.version);
    p->u->at.damaged++;
    LOG(LOG_ERROR, "scrub_damaged", LF_S("account", p->account->name),
        LF_S("container", p->container->name), LF_S("blob", p->list[i].name), LF_C("state", tick),
        LF_C("error", err_get(e)->name), LF_C("detail", err_detail()));
}

static void read_page(place *p) {
    arena *a = arena_new(16 << 10, 0);
    for (size_t i = 0; i < p->count && !atomic_load(&p->u->stopping); i++) {
        arena_reset(a);
        err e = p->list[i].customer ? OK : read_blob(p, i, a);
        if (e != OK && e != ERR_CANCELLED && !is_gone(e)) found_damage(p, i, e);
        p->u->at.blobs++;
    }
    arena_free(a);
}

/* ---- containers and accounts ---- */

static err add_blob(void *ctx, const store_blob *b, slice prefix) {
    place *p = ctx;
    (void)prefix;
    MUST(p->count < PAGE);
    p->list[p->count].name = arena_dup(p->page, b->name);
    p->list[p->count].pick = (store_pick){
        .snapshot = b->snapshot, .version = b->snapshot == 0 && !b->current ? b->version : 0};
    p->list[p->count].customer = b->key_sha256.len > 0;
    p->count++;
    return OK;
}

static err scrub_blobs(place *p, slice marker) {
    upkeep *u = p->u;
    arena *a = arena_new(4096, 1 << 20);
    err e = OK;
    marker = arena_dup(a, marker);
    do {
        slice next = SLICE_NONE;
        const store_blob_list q = {
            .max = PAGE, .marker = marker, .snapshots = true, .versions = true};
        arena_reset(p->page);
        p->count = 0;
        e = store_blob_scan(u->s, (store_call){.arena = p->page}, p->container, &q, add_blob, p,
                            &next);
        if (e != OK) break;
        read_page(p);
        if (atomic_load(&u->stopping)) break; /* this page again, then */
        arena_reset(a);
        marker = arena_dup(a, next);
        e = note(u, p->account->name, p->container->name, marker, false);
    } while (e == OK && marker.len > 0);
    arena_free(a);
    return e;
}

typedef struct names {
    arena *arena;
    slice *list;
    size_t count, room;
} names;

static void add_name(names *n, slice name) {
    if (n->count == n->room) {
        n->room = n->room ? 2 * n->room : 64;
        n->list = reallocarray(n->list, n->room, sizeof *n->list);
        MUST(n->list);
    }
    n->list[n->count++] = arena_dup(n->arena, name);
}

static void names_done(names *n) {
    arena_free(n->arena);
    free(n->list);
}

static err add_container(void *ctx, const store_container *k) {
    add_name(ctx, k->name);
    return OK;
}

static void add_account(void *ctx, const store_account *a) {
    add_name(ctx, a->name);
}

static int by_name(const void *a, const void *b) {
    return slice_cmp(*(const slice *)a, *(const slice *)b);
}

/* Of an account or a container: what is gone is passed over, and one whose own rows or key do not verify is told as
 * one thing; the others are not to wait for it. container: may be empty. */
static err unless_damaged(upkeep *u, slice account, slice container, err e) {
    if (is_gone(e)) return OK;
    if (e != ERR_CORRUPT && e != ERR_IO) return e;
    u->at.damaged++;
    LOG(LOG_ERROR, "scrub_damaged", LF_S("account", account), LF_S("container", container),
        LF_C("error", err_get(e)->name), LF_C("detail", err_detail()));
    return OK;
}

/* marker: where in it; empty: from its beginning. */
static err scrub_container(place *p, slice name, slice marker) {
    arena *a = arena_new(4096, 1 << 20);
    err e = store_container_get(p->u->s, (store_call){.arena = a}, p->account, name, &p->container);
    arena_free(a);
    if (e != OK) return unless_damaged(p->u, p->account->name, name, e);
    e = scrub_blobs(p, marker);
    p->container = store_container_unref(p->container);
    if (e == ERR_OUT_OF_RANGE_INPUT) return OK; /* a marker of another store: the next pass, then */
    return unless_damaged(p->u, p->account->name, name, e);
}

static err list_containers(const place *p, slice from, names *n) {
    slice marker = SLICE_NONE;
    do {
        const store_container_list q = {.max = STORE_LIST_MAX, .marker = marker, .system = true};
        TRY(store_container_scan(p->u->s, (store_call){.arena = n->arena}, p->account, &q,
                                 add_container, n, &marker));
    } while (marker.len > 0);
    if (n->count > 0) qsort(n->list, n->count, sizeof *n->list, by_name);
    size_t skip = 0;
    while (skip < n->count && slice_cmp(n->list[skip], from) < 0) skip++;
    for (size_t i = skip; i < n->count; i++) n->list[i - skip] = n->list[i];
    n->count -= skip;
    return OK;
}

/* From the disk, for a key that rots is read by nothing else until the next start. An account's row is deleted before
 * its key is destroyed: a key that is gone while the row is there was lost. */
static err get_account(const upkeep *u, arena *a, slice name, const store_account **ret) {
    const store_call c = {.arena = a, .verifies = true};
    err e = store_account_get(u->s, c, name, ret);
    if (e == ERR_KEY_DESTROYED) e = store_account_get(u->s, c, name, ret);
    return e == ERR_KEY_DESTROYED ? err_fail(ERR_CORRUPT, "its key is lost") : e;
}

/* from, marker: the container to begin with, and where in it. */
static err scrub_account(place *p, slice name, slice from, slice marker) {
    names n = {.arena = arena_new(16 << 10, 0)};
    from = arena_dup(n.arena, from);
    marker = arena_dup(n.arena, marker);
    err e = get_account(p->u, n.arena, name, &p->account);
    if (e == OK) {
        e = unless_damaged(p->u, name, SLICE_NONE, list_containers(p, from, &n));
        for (size_t i = 0; i < n.count && e == OK && !atomic_load(&p->u->stopping); i++)
            e = scrub_container(p, n.list[i], slice_eq(n.list[i], from) ? marker : SLICE_NONE);
        p->account = store_account_unref(p->account);
    } else {
        e = unless_damaged(p->u, name, SLICE_NONE, e);
    }
    names_done(&n);
    return e;
}

static err scrub_content(upkeep *u) {
    names n = {.arena = arena_new(16 << 10, 0)};
    place *p = calloc(1, sizeof *p);
    MUST(p);
    p->u = u;
    p->page = arena_new(64 << 10, 0);
    const slice account = arena_dup(n.arena, u->at.account),
                container = arena_dup(n.arena, u->at.container),
                marker = arena_dup(n.arena, u->at.marker);
    err e = store_account_list(u->s, (store_call){.arena = n.arena}, add_account, &n);
    if (e == OK && n.count > 0) qsort(n.list, n.count, sizeof *n.list, by_name);
    for (size_t i = 0; i < n.count && e == OK && !atomic_load(&u->stopping); i++) {
        const int order = slice_cmp(n.list[i], account);
        if (order < 0) continue; /* done before the restart */
        e = scrub_account(p, n.list[i], order == 0 ? container : SLICE_NONE,
                          order == 0 ? marker : SLICE_NONE);
    }
    arena_free(p->page);
    free(p);
    names_done(&n);
    return e;
}

/* ---- rows ---- */

static err scrub_rows(upkeep *u, unsigned table) {
    arena *now = arena_new(4096, 1 << 20), *then = arena_new(4096, 1 << 20);
    slice from = SLICE_NONE;
    err e;
    do {
        slice next;
        uint64_t bytes;
        arena_reset(then);
        e = store_rows_read(u->s, (store_call){.arena = then}, table, from, ROWS_PIECE, &next,
                            &bytes);
        if (e != OK) break;
        add_bytes(u, bytes);
        arena *swap = now;
        now = then;
        then = swap;
        from = next;
    } while (from.len > 0 && !atomic_load(&u->stopping));
    arena_free(now);
    arena_free(then);
    if (e != ERR_CORRUPT && e != ERR_IO) return e;
    u->at.damaged++;
    LOG(LOG_ERROR, "scrub_damaged", LF_I("table", table), LF_C("error", err_get(e)->name),
        LF_C("detail", err_detail()));
    return OK;
}

/* ---- passes ---- */

static err pass(upkeep *u) {
    if (u->at.begun_us == STORE_TIME_NONE) {
        u->at.begun_us = clock_wall_us();
        u->at.bytes = u->at.blobs = u->at.damaged = 0;
        TRY(note(u, SLICE_NONE, SLICE_NONE, SLICE_NONE, true));
    }
    TRY(unless_damaged(u, SLICE_NONE, SLICE_NONE, scrub_content(u)));
    for (unsigned t = 0; t < STORE_TABLES && !atomic_load(&u->stopping); t++) TRY(scrub_rows(u, t));
    if (atomic_load(&u->stopping)) return ERR_CANCELLED;
    u->at.begun_us = STORE_TIME_NONE;
    u->at.ended_us = clock_wall_us();
    TRY(note(u, SLICE_NONE, SLICE_NONE, SLICE_NONE, true));
    if (u->at.blobs == 0 && u->at.damaged == 0) return OK; /* nothing to tell of an empty store */
    LOG(u->at.damaged > 0 ? LOG_ERROR : LOG_INFO, "scrub_pass", LF_I("blobs", u->at.blobs),
        LF_I("bytes", u->at.bytes), LF_I("damaged", u->at.damaged));
    return OK;
}

static bool is_due(const upkeep *u) {
    return u->at.begun_us != STORE_TIME_NONE || u->at.ended_us == STORE_TIME_NONE ||
           clock_wall_us() - u->at.ended_us >= u->pause_us;
}

static void *upkeep_main(void *arg) {
    upkeep *u = arg;
    pthread_setname_np(pthread_self(), "scrub");
    while (!atomic_load(&u->stopping)) {
        if (is_due(u)) {
            err e = pass(u);
            publish(u);
            if (e == OK) {
                pthread_mutex_lock(&u->lock);
                u->stats.passes++;
                pthread_mutex_unlock(&u->lock);
            } else if (e != ERR_CANCELLED) {
                LOG(LOG_ERROR, "scrub_failed", LF_C("error", err_get(e)->name),
                    LF_C("detail", err_detail()));
            }
        }
        sleep_until(u, clock_mono_us() + (u->pause_us < LOOK_EACH_US ? u->pause_us : LOOK_EACH_US));
    }
    if (u->at.begun_us != STORE_TIME_NONE &&
        note(u, u->at.account, u->at.container, u->at.marker, true) != OK)
        LOG(LOG_WARN, "scrub_not_noted", LF_C("detail", err_detail()));
    return NULL;
}

static err begin(upkeep *u) {
    u->names = arena_new(4096, 1 << 20);
    TRY(store_scrub_get(u->s, (store_call){.arena = u->names}, &u->at));
    publish(u);
    int n = pthread_create(&u->thread, NULL, upkeep_main, u);
    if (n != 0) return err_fail_errno(ERR_NO_MEMORY, n, "cannot start a background thread");
    u->threaded = true;
    return OK;
}

err upkeep_start(store *s, uint64_t rate, int64_t pause_us, upkeep **ret) {
    upkeep *u = calloc(1, sizeof *u);
    pthread_condattr_t attr;
    MUST(u);
    u->s = s;
    u->rate = rate;
    u->pause_us = pause_us;
    u->at.begun_us = u->at.ended_us = STORE_TIME_NONE;
    MUST(pthread_condattr_init(&attr) == 0);
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MUST(pthread_mutex_init(&u->lock, NULL) == 0 && pthread_cond_init(&u->wake, &attr) == 0);
    pthread_condattr_destroy(&attr);
    err e = rate > 0 ? begin(u) : OK;
    if (e != OK) {
        upkeep_stop(u);
        return e;
    }
    *ret = u;
    return OK;
}

upkeep *upkeep_stop(upkeep *u) {
    if (!u) return NULL;
    pthread_mutex_lock(&u->lock);
    atomic_store(&u->stopping, true);
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
    if (u->threaded) pthread_join(u->thread, NULL);
    pthread_cond_destroy(&u->wake);
    pthread_mutex_destroy(&u->lock);
    arena_free(u->names);
    crypto_wipe(u->piece, sizeof u->piece);
    free(u);
    return NULL;
}

void upkeep_get_stats(upkeep *u, upkeep_stats *ret) {
    pthread_mutex_lock(&u->lock);
    *ret = u->stats;
    pthread_mutex_unlock(&u->lock);
}
