/* The builder: a thread that publishes what the engine's log holds.
 *
 *   RUNNING --publish fails, or folder and log disagree--> STOPPED (the server goes on; the log and the metrics say
 *                                                          so, and nothing more is signed until it is started again)
 *
 * While answers wait (audit_builder_await), checkpoints come as fast as the witnesses cosign them: whatever was recorded
 * meanwhile shares the next one. Without enough cosignatures they come at the pace of other times.
 *
 * What is added is read from the engine's log in order, so it is durable and committed; a crash at any point
 * loses at most files that no checkpoint names yet, and the next start writes them again, the same. */
#include <pthread.h>

#include "audit/retain.h"

#define STEP_ENTRIES      65536   /* between two checkpoints, at most */
#define PERIOD_US         1000000 /* between checkpoints while there is work */
#define PERIOD_AWAITED_US 50000   /* likewise, while somebody waits */
#define POLL_US           100000

struct audit_builder {
    engine *engine;
    audit_witnesses *witnesses; /* NULL: none */
    audit_publisher *publisher;
    retainer retainer;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    bool stop, ended;
    audit_wait *waiting;
    int64_t hurry_until_us; /* no wait is longer; 0: any */
    audit_builder_stats stats;
};

static err add(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)index, (void)private_part;
    return audit_publisher_add(ctx, entry);
}

/* The checkpoint of what was added, with the witnesses' cosignatures. Without enough of them the last one stays
 * what is published, and the next is asked for again. */
static err checkpoint(audit_builder *b, uint64_t held, bool *ret_enough) {
    audit_checkpoint c;
    buf note, cosigned;
    buf_init(&note, AUDIT_CHECKPOINT_MAX);
    buf_init(&cosigned, AUDIT_CHECKPOINT_MAX);
    err e = audit_publisher_sign(b->publisher, &c, &note);
    *ret_enough =
        e == OK && (!b->witnesses ||
                    audit_witnesses_collect(b->witnesses, &c, held, buf_slice(&note), &cosigned));
    if (*ret_enough)
        e = audit_publisher_put(b->publisher, buf_slice(b->witnesses ? &cosigned : &note));
    buf_done(&cosigned);
    buf_done(&note);
    return e;
}

/* ---- those who wait ---- */

static void tell_in_vain(const audit_wait *w) {
    w->done(w->ctx, err_fail(ERR_NOT_WITNESSED, "the status page says what each witness answered"));
}

/* Under the mutex: takes those out whose wait is over, well or in vain. */
static void take_over_locked(audit_builder *b, audit_wait **ret_well, audit_wait **ret_in_vain) {
    const int64_t now = clock_mono_us();
    for (audit_wait **at = &b->waiting, *w; (w = *at) != NULL;) {
        audit_wait **to = w->size <= b->stats.published    ? ret_well
                          : b->ended || w->until_us <= now ? ret_in_vain
                                                           : NULL;
        if (!to) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = *to;
        *to = w;
        b->stats.waiting--;
        b->stats.in_vain += to == ret_in_vain;
    }
}

static void end_waits(audit_builder *b) {
    audit_wait *well = NULL, *in_vain = NULL;
    pthread_mutex_lock(&b->mutex);
    take_over_locked(b, &well, &in_vain);
    pthread_mutex_unlock(&b->mutex);
    for (audit_wait *next; well != NULL; well = next) {
        next = well->next; /* it goes with the call */
        well->done(well->ctx, OK);
    }
    for (audit_wait *next; in_vain != NULL; in_vain = next) {
        next = in_vain->next;
        tell_in_vain(in_vain);
    }
}

void audit_builder_await(audit_builder *b, audit_wait *w, int64_t wait_us) {
    w->size = engine_log_next(b->engine);
    w->until_us = clock_mono_us() + wait_us;
    pthread_mutex_lock(&b->mutex);
    if (b->hurry_until_us > 0 && w->until_us > b->hurry_until_us) w->until_us = b->hurry_until_us;
    const bool ended = b->ended, published = w->size <= b->stats.published;
    if (!ended && !published) {
        if (b->waiting == NULL) pthread_cond_signal(&b->wake);
        w->next = b->waiting;
        b->waiting = w;
        b->stats.waiting++;
    }
    b->stats.in_vain += ended && !published;
    pthread_mutex_unlock(&b->mutex);
    if (published)
        w->done(w->ctx, OK);
    else if (ended)
        tell_in_vain(w);
}

void audit_builder_hurry(audit_builder *b, int64_t wait_us) {
    if (!b) return;
    pthread_mutex_lock(&b->mutex);
    b->hurry_until_us = clock_mono_us() + wait_us;
    for (audit_wait *w = b->waiting; w != NULL; w = w->next)
        if (w->until_us > b->hurry_until_us) w->until_us = b->hurry_until_us;
    pthread_mutex_unlock(&b->mutex);
}

/* ---- the thread ---- */

/* Publishes up to STEP_ENTRIES. ret_more: there are more. ret_enough: with the cosignatures that it takes. */
static err publish(audit_builder *b, bool *ret_more, bool *ret_enough) {
    const uint64_t from = audit_publisher_added(b->publisher), next = engine_log_next(b->engine);
    const uint64_t to = next - from > STEP_ENTRIES ? from + STEP_ENTRIES : next;
    *ret_more = to < next;
    if (from < to) TRY(engine_log_read(b->engine, from, to, add, b->publisher));
    TRY(checkpoint(b, next, ret_enough));
    if (!*ret_enough) return OK;
    pthread_mutex_lock(&b->mutex);
    b->stats.published = audit_publisher_size(b->publisher);
    b->stats.checkpoints++;
    pthread_mutex_unlock(&b->mutex);
    return OK;
}

static err retain(audit_builder *b) {
    TRY(retain_step(&b->retainer, b->publisher));
    pthread_mutex_lock(&b->mutex);
    b->stats.removed = b->retainer.removed;
    pthread_mutex_unlock(&b->mutex);
    return OK;
}

/* Whether anybody waits for the next checkpoint. */
static bool awaited(audit_builder *b) {
    pthread_mutex_lock(&b->mutex);
    const bool yes = b->waiting != NULL;
    pthread_mutex_unlock(&b->mutex);
    return yes;
}

static bool wait(audit_builder *b, int64_t us) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t ns = until.tv_nsec + us * 1000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&b->mutex);
    if (!b->stop) (void)pthread_cond_timedwait(&b->wake, &b->mutex, &until);
    const bool stop = b->stop;
    pthread_mutex_unlock(&b->mutex);
    return stop;
}

/* Until it is stopped. */
static err publish_all(audit_builder *b) {
    int64_t last_us = clock_mono_us() - PERIOD_US;
    bool enough = true;
    for (bool stop = false, last = false, more = false;;) {
        const int64_t period = enough && awaited(b) ? PERIOD_AWAITED_US : PERIOD_US;
        const int64_t left_us = last_us + period - clock_mono_us();
        if (last) return OK;
        if ((more || stop || left_us <= 0) &&
            engine_log_next(b->engine) > audit_publisher_size(b->publisher)) {
            last_us = clock_mono_us();
            TRY(publish(b, &more, &enough));
            last = stop && !more; /* also when the witnesses do not answer */
        } else if (stop) {
            return OK;
        }
        end_waits(b);
        if (!stop) TRY(retain(b));
        if (!more && !stop) stop = wait(b, left_us > 0 && left_us < POLL_US ? left_us : POLL_US);
    }
}

static void *run(void *arg) {
    audit_builder *b = arg;
    pthread_setname_np(pthread_self(), "audit-builder");
    err e = publish_all(b);
    if (e != OK) LOG(LOG_ERROR, "audit.stopped", LF_C("detail", err_detail()));
    pthread_mutex_lock(&b->mutex);
    b->stats.stopped = e != OK;
    b->ended = true;
    pthread_mutex_unlock(&b->mutex);
    end_waits(b);
    return NULL;
}

typedef struct comparing {
    const audit_publisher *p;
    bool same;
} comparing;

static err compare(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)index, (void)private_part;
    comparing *c = ctx;
    c->same = audit_publisher_ends_with(c->p, entry);
    return OK;
}

/* What was published is the beginning of the engine's log. */
static err belong_together(const audit_builder *b, const char *folder) {
    const uint64_t size = audit_publisher_size(b->publisher), next = engine_log_next(b->engine);
    engine_stats stats;
    engine_get_stats(b->engine, &stats);
    ENSURE(size <= next, ERR_CORRUPT,
           "%s has signed %llu entries and the store holds %llu: the store is older than what it "
           "published, as after a backup was restored; nothing more is signed, for it would "
           "contradict "
           "what others have seen",
           folder, (unsigned long long)size, (unsigned long long)next);
    const uint64_t added = audit_publisher_added(b->publisher);
    ENSURE(added >= stats.log_first, ERR_CORRUPT,
           "%s ends at entry %llu and the store has only those from %llu on", folder,
           (unsigned long long)added, (unsigned long long)stats.log_first);
    if (size == 0 || size - 1 < stats.log_first) return OK;
    comparing c = {.p = b->publisher};
    TRY(engine_log_read(b->engine, size - 1, size, compare, &c));
    ENSURE(c.same, ERR_CORRUPT,
           "%s has signed another entry %llu than the store holds: one of the two is another "
           "log's, or an "
           "old copy; nothing more is signed, for it would contradict what others have seen",
           folder, (unsigned long long)(size - 1));
    return OK;
}

static audit_builder *builder_free(audit_builder *b) {
    audit_publisher_close(b->publisher);
    retain_close(&b->retainer);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->mutex);
    free(b);
    return NULL;
}

err audit_builder_start(const audit_builder_options *o, audit_builder **ret) {
    audit_builder *b = calloc(1, sizeof *b);
    pthread_condattr_t attr;
    MUST(b != NULL);
    b->engine = o->engine;
    b->witnesses = o->witnesses;
    MUST(pthread_condattr_init(&attr) == 0);
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MUST(pthread_mutex_init(&b->mutex, NULL) == 0 && pthread_cond_init(&b->wake, &attr) == 0);
    pthread_condattr_destroy(&attr);
    err e = retain_open(&b->retainer, o);
    const audit_base base = {b->retainer.now.minimum, b->retainer.now.edge};
    if (e == OK) e = audit_publisher_open(o->folder, &o->signer, &base, &b->publisher);
    if (e == OK) e = belong_together(b, o->folder);
    if (e != OK) {
        builder_free(b);
        return e;
    }
    b->stats.published = audit_publisher_size(b->publisher);
    MUST(pthread_create(&b->thread, NULL, run, b) == 0);
    *ret = b;
    return OK;
}

audit_builder *audit_builder_stop(audit_builder *b) {
    if (!b) return NULL;
    pthread_mutex_lock(&b->mutex);
    b->stop = true;
    if (b->witnesses) audit_witnesses_hurry(b->witnesses);
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->mutex);
    pthread_join(b->thread, NULL);
    return builder_free(b);
}

void audit_builder_get_stats(audit_builder *b, audit_builder_stats *ret) {
    pthread_mutex_lock(&b->mutex);
    *ret = b->stats;
    pthread_mutex_unlock(&b->mutex);
}
