/* Runs of a lifecycle policy: a page of blobs is looked at, then what is to be done is done, one blob after
 * the other. A run that is stopped, or a program that dies, begins anew: what was done already is not
 * found again.
 *
 * At most half of the time of one thread: after each page it rests as long as the page took. */
#include <pthread.h>
#include <time.h>

#include "rules/internal.h"

#define PAGE        1000
#define LOOK_EVERY  60 /* seconds between looking for policies that are due */
#define REST_MAX_US (2ll * 1000000)

struct rules {
    store *s;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool running; /* a run is under way, in whatever thread */
    rules_stats stats;
    atomic_bool stopping;
    bool threaded;
    pthread_t thread;
};

/* ---- one run ------------------------------------------------------------------------------------ */

typedef struct todo {
    slice name, etag, rule;
    store_pick pick;
    lifecycle_action action;
} todo;

typedef struct lifecycle_run {
    rules *r;
    lifecycle policy;
    const store_account *account;
    const store_container *container; /* the one that is looked at */
    arena *page;                      /* its blobs */
    int64_t now_us;
    todo list[PAGE];
    size_t count;
    void (*example)(void *ctx, const rules_example *x); /* not NULL: dry */
    void *ctx;
    size_t examples;
    rules_report report;
} lifecycle_run;

/* What an action is called, what tier it is of, and where it is counted. */
static const struct {
    const char *name;
    store_tier tier;
    size_t counter; /* in rules_report */
} actions[] = {
    [LIFECYCLE_HOT] = {"Hot", STORE_TIER_HOT, offsetof(rules_report, hot)},
    [LIFECYCLE_COOL] = {"Cool", STORE_TIER_COOL, offsetof(rules_report, cool)},
    [LIFECYCLE_COLD] = {"Cold", STORE_TIER_COLD, offsetof(rules_report, cold)},
    [LIFECYCLE_ARCHIVE] = {"Archive", STORE_TIER_ARCHIVE, offsetof(rules_report, archive)},
    [LIFECYCLE_DELETE] = {"delete", STORE_TIER_INFERRED, offsetof(rules_report, deleted)}};

static void count(rules_report *report, lifecycle_action a) {
    ++*(uint64_t *)(void *)((uint8_t *)report + actions[a].counter);
}

static void show_example(lifecycle_run *m, const lifecycle_rule *rule, const store_blob *b,
                         lifecycle_action a) {
    static const char *const what[] = {"blob", "snapshot", "version"};
    if (m->examples++ >= RULES_EXAMPLES_MAX) return;
    const rules_example x = {.rule = rule->name,
                             .container = m->container->name,
                             .blob = b->name,
                             .what = what[lifecycle_subject_of(b)],
                             .action = actions[a].name};
    m->example(m->ctx, &x);
}

static err look_at(void *ctx, const store_blob *b, slice prefix) {
    (void)prefix;
    lifecycle_run *m = ctx;
    const lifecycle_rule *rule = NULL;
    m->report.examined++;
    lifecycle_action a = lifecycle_decide(&m->policy, m->container->name, b, m->now_us, &rule);
    if (a == LIFECYCLE_NOTHING) return OK;
    if (m->example) {
        count(&m->report, a);
        show_example(m, rule, b, a);
        return OK;
    }
    MUST(m->count < PAGE);
    todo *t = &m->list[m->count++];
    t->name = arena_dup(m->page, b->name);
    t->etag = arena_fmt(m->page, "\"0x%llX\"", (unsigned long long)b->etag);
    t->pick = (store_pick){.snapshot = b->snapshot};
    if (lifecycle_subject_of(b) == LIFECYCLE_VERSION) t->pick.version = b->version;
    t->action = a;
    t->rule = rule->name;
    return OK;
}

static err act(lifecycle_run *m, const todo *t, arena *a) {
    store *s = m->r->s;
    const bool deletes = t->action == LIFECYCLE_DELETE;
    store_deed deed = {.kind = deletes ? STORE_DEED_ERASES : STORE_DEED_ALTERS,
                       .action = deletes ? "Delete Blob" : "Set Blob Tier",
                       .decision = "lifecycle policy",
                       .rule = t->rule,
                       .account = m->account,
                       .container = m->container,
                       .container_name = m->container->name,
                       .blob = t->name};
    const store_call c = store_deed_call(s, (store_call){.arena = a}, &deed);
    store_conditions same = STORE_NO_CONDITIONS;
    same.if_match = t->etag;
    if (deletes) {
        const store_delete d = {.pick = t->pick};
        return store_blob_delete(s, c, m->container, t->name, &same, &d, NULL);
    }
    bool later;
    return store_blob_set_tier(s, c, m->container, t->name, t->pick, &same, actions[t->action].tier,
                               false, &later);
}

/* What stands in a rule's way without anything being wrong. */
static bool is_skipped(err e) {
    static const err quiet[] = {ERR_LEASE_ID_MISSING,
                                ERR_SNAPSHOTS_PRESENT,
                                ERR_BLOB_IMMUTABLE_DUE_TO_POLICY,
                                ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD,
                                ERR_CONDITION_NOT_MET,
                                ERR_BLOB_NOT_FOUND,
                                ERR_CONTAINER_NOT_FOUND,
                                ERR_BLOB_BEING_REHYDRATED,
                                ERR_PENDING_COPY_OPERATION,
                                ERR_CONFLICT};
    for (size_t i = 0; i < ARRAY_LEN(quiet); i++)
        if (e == quiet[i]) return true;
    return false;
}

static void act_on_all(lifecycle_run *m) {
    arena *a = arena_new(16 << 10, 0);
    for (size_t i = 0; i < m->count && !atomic_load(&m->r->stopping); i++) {
        const todo *t = &m->list[i];
        arena_reset(a);
        err e = act(m, t, a);
        if (e == OK) {
            count(&m->report, t->action);
        } else if (is_skipped(e)) {
            m->report.skipped++;
        } else {
            m->report.failed++;
            LOG(LOG_WARN, "lifecycle_action_failed", LF_S("account", m->account->name),
                LF_S("container", m->container->name), LF_C("action", actions[t->action].name),
                LF_C("error", err_get(e)->name), LF_C("detail", err_detail()));
        }
    }
    arena_free(a);
    m->count = 0;
}

static void rest(const lifecycle_run *m, int64_t took_us) {
    if (!m->r->threaded || m->example) return;
    if (took_us > REST_MAX_US) took_us = REST_MAX_US;
    nanosleep(&(struct timespec){.tv_sec = took_us / 1000000, .tv_nsec = took_us % 1000000 * 1000},
              NULL);
}

static err run_prefix(lifecycle_run *m, slice prefix) {
    store_blob_list q = {.prefix = prefix,
                         .max = PAGE,
                         .tags = lifecycle_needs_tags(&m->policy),
                         .snapshots = lifecycle_needs(&m->policy, LIFECYCLE_SNAPSHOT),
                         .versions = lifecycle_needs(&m->policy, LIFECYCLE_VERSION)};
    buf marker;
    err e = OK;
    buf_init(&marker, (size_t)2 * ENGINE_KEY_MAX);
    do {
        slice next = SLICE_NONE;
        int64_t begin = clock_mono_us();
        arena_reset(m->page);
        q.marker = buf_slice(&marker);
        e = store_blob_scan(m->r->s, (store_call){.arena = m->page}, m->container, &q, look_at, m,
                            &next);
        if (e != OK) break;
        buf_reset(&marker);
        buf_put(&marker, next);
        e = buf_check(&marker);
        act_on_all(m);
        rest(m, clock_mono_us() - begin);
    } while (e == OK && marker.len > 0 && !atomic_load(&m->r->stopping));
    buf_done(&marker);
    return e;
}

/* What the service keeps for itself ($logs) is not the account's to move. */
static bool is_own(slice name) {
    return !slice_starts(name, S("$")) || slice_eq(name, S("$root")) || slice_eq(name, S("$web"));
}

static err run_container(lifecycle_run *m, slice name, arena *a) {
    slice *prefixes;
    size_t n = lifecycle_prefixes(&m->policy, a, name, &prefixes);
    if (n == 0 || !is_own(name)) return OK;
    err e = store_container_get(m->r->s, (store_call){.arena = a}, m->account, name, &m->container);
    if (e == ERR_CONTAINER_NOT_FOUND) return OK;
    TRY(e);
    for (size_t i = 0; i < n && e == OK; i++) e = run_prefix(m, prefixes[i]);
    m->container = store_container_unref(m->container);
    return e;
}

typedef struct names {
    arena *arena;
    slice list[PAGE];
    size_t count;
} names;

static err add_name(void *ctx, const store_container *k) {
    names *n = ctx;
    n->list[n->count++] = arena_dup(n->arena, k->name);
    return OK;
}

static err run_containers(lifecycle_run *m) {
    names *n = calloc(1, sizeof *n);
    MUST(n);
    n->arena = arena_new(64 << 10, 0);
    slice marker = SLICE_NONE;
    err e;
    do {
        const store_container_list q = {.max = PAGE, .marker = marker};
        n->count = 0;
        e = store_container_scan(m->r->s, (store_call){.arena = n->arena}, m->account, &q, add_name,
                                 n, &marker);
        for (size_t i = 0; i < n->count && e == OK && !atomic_load(&m->r->stopping); i++)
            e = run_container(m, n->list[i], n->arena);
    } while (e == OK && marker.len > 0 && !atomic_load(&m->r->stopping));
    arena_free(n->arena);
    free(n);
    return e;
}

/* ---- the account's policy ------------------------------------------------------------------------ */

err rules_lifecycle_set(rules *r, store_call c, const store_account *a, slice json) {
    lifecycle policy;
    TRY(lifecycle_parse(c.arena, json, &policy));
    const store_document d = {.text = json, .set_us = clock_wall_us(), .run_us = STORE_TIME_NONE};
    return store_document_put(r->s, c, a, STORE_LIFECYCLE, &d);
}

err rules_lifecycle_get(rules *r, store_call c, const store_account *a, slice *ret_json,
                        int64_t *ret_run_us) {
    store_document d;
    TRY(store_document_get(r->s, c, a, STORE_LIFECYCLE, &d));
    *ret_json = d.text;
    *ret_run_us = d.run_us;
    return OK;
}

err rules_lifecycle_remove(rules *r, store_call c, const store_account *a) {
    const store_document none = {.set_us = STORE_TIME_NONE, .run_us = STORE_TIME_NONE};
    return store_document_put(r->s, c, a, STORE_LIFECYCLE, &none);
}

/* One run at a time: two would do the same things twice. */
static bool begin(rules *r) {
    pthread_mutex_lock(&r->lock);
    bool mine = !r->running;
    r->running = true;
    pthread_mutex_unlock(&r->lock);
    return mine;
}

static void end(rules *r, const rules_report *one, bool dry) {
    pthread_mutex_lock(&r->lock);
    rules_report *t = &r->stats.total;
    r->running = false;
    if (!dry) {
        t->examined += one->examined;
        t->hot += one->hot;
        t->cool += one->cool;
        t->cold += one->cold;
        t->archive += one->archive;
        t->deleted += one->deleted;
        t->skipped += one->skipped;
        t->failed += one->failed;
        r->stats.runs++;
        r->stats.last_run_us = clock_wall_us();
    }
    pthread_mutex_unlock(&r->lock);
}

static void log_run(const store_account *a, const rules_report *p, err e) {
    LOG(e == OK ? LOG_INFO : LOG_ERROR, "lifecycle_run", LF_S("account", a->name),
        LF_I("examined", p->examined), LF_I("hot", p->hot), LF_I("cool", p->cool),
        LF_I("cold", p->cold), LF_I("archive", p->archive), LF_I("deleted", p->deleted),
        LF_I("skipped", p->skipped), LF_I("failed", p->failed),
        LF_C("error", e == OK ? "" : err_get(e)->name));
}

/* d: the account's policy. */
static err run(rules *r, store_call c, const store_account *a, const store_document *d,
               void (*example)(void *ctx, const rules_example *x), void *ctx, rules_report *ret) {
    lifecycle_run *m = calloc(1, sizeof *m);
    MUST(m);
    m->r = r;
    m->account = a;
    m->now_us = clock_wall_us();
    m->example = example;
    m->ctx = ctx;
    m->page = arena_new(64 << 10, 0);
    err e = lifecycle_parse(c.arena, d->text, &m->policy);
    if (e == OK) e = run_containers(m);
    *ret = m->report;
    arena_free(m->page);
    free(m);
    if (example) return e;
    log_run(a, ret, e);
    if (e != OK || atomic_load(&r->stopping)) return e;
    return store_document_ran(r->s, c, a, STORE_LIFECYCLE, d->set_us, clock_wall_us());
}

err rules_lifecycle_run(rules *r, store_call c, const store_account *a,
                        void (*example)(void *ctx, const rules_example *x), void *ctx,
                        rules_report *ret) {
    store_document d;
    *ret = (rules_report){0};
    TRY(store_document_get(r->s, c, a, STORE_LIFECYCLE, &d));
    ENSURE(d.text.len > 0, ERR_NOT_FOUND, "account '%.*s' has no lifecycle policy",
           SLICE_ARG(a->name));
    ENSURE(begin(r), ERR_CONFLICT, "a run is under way; try again when it has ended");
    err e = run(r, c, a, &d, example, ctx, ret);
    end(r, ret, example != NULL);
    return e;
}

/* ---- the thread ---------------------------------------------------------------------------------- */

typedef struct account_names {
    arena *arena;
    slice *list;
    size_t count, room;
} account_names;

static void add_account(void *ctx, const store_account *a) {
    account_names *n = ctx;
    if (n->count == n->room) {
        n->room = n->room ? 2 * n->room : 64;
        n->list = realloc(n->list, n->room * sizeof *n->list);
        MUST(n->list);
    }
    n->list[n->count++] = arena_dup(n->arena, a->name);
}

static bool is_due(const store_document *d, int64_t now_us) {
    int64_t since = d->run_us > d->set_us ? d->run_us : d->set_us;
    return d->text.len > 0 && now_us - since >= RULES_EVERY_US;
}

static void run_when_due(rules *r, slice name, arena *a) {
    const store_account *account;
    const store_call c = {.arena = a};
    store_document d;
    rules_report report;
    if (store_account_get(r->s, c, name, &account) != OK) return; /* deleted meanwhile */
    err e = store_document_get(r->s, c, account, STORE_LIFECYCLE, &d);
    if (e == OK && is_due(&d, clock_wall_us()) && begin(r)) {
        e = run(r, c, account, &d, NULL, NULL, &report);
        end(r, &report, false);
    }
    if (e != OK)
        LOG(LOG_ERROR, "lifecycle_failed", LF_S("account", name), LF_C("detail", err_detail()));
    store_account_unref(account);
}

void rules_look(rules *r) {
    account_names n = {.arena = arena_new(16 << 10, 0)};
    arena *a = arena_new(64 << 10, 0);
    err e = store_account_list(r->s, (store_call){.arena = n.arena}, add_account, &n);
    if (e != OK) LOG(LOG_ERROR, "lifecycle_failed", LF_C("detail", err_detail()));
    for (size_t i = 0; i < n.count && !atomic_load(&r->stopping); i++) {
        arena_reset(a);
        run_when_due(r, n.list[i], a);
    }
    arena_free(a);
    arena_free(n.arena);
    free(n.list);
}

static void *rules_main(void *arg) {
    rules *r = arg;
    while (!atomic_load(&r->stopping)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LOOK_EVERY;
        pthread_mutex_lock(&r->lock);
        while (!atomic_load(&r->stopping) &&
               pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
            continue;
        pthread_mutex_unlock(&r->lock);
        if (!atomic_load(&r->stopping)) rules_look(r);
    }
    return NULL;
}

err rules_start(store *s, bool background, rules **ret) {
    rules *r = calloc(1, sizeof *r);
    MUST(r);
    r->s = s;
    r->stats.last_run_us = STORE_TIME_NONE;
    MUST(pthread_mutex_init(&r->lock, NULL) == 0);
    MUST(pthread_cond_init(&r->wake, NULL) == 0);
    if (background) {
        int n = pthread_create(&r->thread, NULL, rules_main, r);
        if (n != 0) {
            rules_stop(r);
            return err_fail_errno(ERR_NO_MEMORY, n, "cannot start a background thread");
        }
        r->threaded = true;
    }
    *ret = r;
    return OK;
}

rules *rules_stop(rules *r) {
    if (!r) return NULL;
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->stopping, true);
    pthread_cond_broadcast(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (r->threaded) pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

void rules_get_stats(rules *r, rules_stats *ret) {
    pthread_mutex_lock(&r->lock);
    *ret = r->stats;
    pthread_mutex_unlock(&r->lock);
}
