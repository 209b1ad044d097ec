/* The queues of the reaper and its threads. Jobs come from commits; those of an earlier run of the program,
 * and those that found a queue full, are read from the table. */
#include "store/internal.h"

#include <time.h>

#define RETRY_MS 250ll /* a purge that waits for readers */
/* A job that failed: the disk is full, or what it is to release is damaged. Each time twice as long. */
#define RETRY_ERROR_MIN_US (10ll * 1000000)
#define RETRY_ERROR_MAX_US (3600ll * 1000000)
#define SWEEP_EVERY_US     (600ll * 1000000)

static void job_done(store *s, job *j) {
    if (j->kind == JOB_GARBAGE) atomic_fetch_sub(&s->garbage_pending, 1);
    if (j->kind == JOB_ACCESS) access_forget(s, j);
    if (j->failures) atomic_fetch_sub(&s->jobs_failing, 1);
    job_free(j);
}

static void push(reaper *r, job *j) {
    j->next = NULL;
    *(r->last ? &r->last->next : &r->first) = j;
    r->last = j;
    r->count++;
}

void reaper_submit(store *s, job *jobs) {
    for (job *j = jobs, *next; j; j = next) {
        next = j->next;
        if (j->seq == 0) {
            j->seq = atomic_fetch_add(&s->readers.seq, 1);
            if (j->kind == JOB_GARBAGE) atomic_fetch_add(&s->garbage_pending, 1);
        }
        reaper *r = &s->reapers[j->container % REAPERS];
        pthread_mutex_lock(&r->lock);
        if (r->count < REAPER_JOBS_MAX) {
            push(r, j);
        } else { /* its row is still there, and read when the queue is empty */
            r->rescan = true;
            job_done(s, j);
        }
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
    }
}

/* Reads the jobs of this thread's containers from the table. */
static err rescan(reaper *r, char kind, job_kind job_kind_) {
    store *s = r->store;
    short_key low = {.len = 1, .b = {(uint8_t)kind}}, high = low;
    key_end(&high);
    engine_cursor *cur;
    err e;
    TRY(engine_scan(s->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        uint64_t container, id, hash = 0;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        slice rest = slice_skip(k, 1);
        TRY_TO(out, id_take(&rest, &container));
        id = container;
        if (container % REAPERS != (uint64_t)(r - s->reapers)) continue;
        if (job_kind_ == JOB_GARBAGE) {
            row_garbage row;
            blob_key key;
            TRY_TO(out, id_take(&rest, &id));
            TRY_TO(out, row_garbage_get(v, &row));
            key_blob(&key, container, row.name);
            hash = slice_hash(key_base(&key));
        }
        reaper_submit(s, job_new(job_kind_, container, id, hash));
    }
out:
    engine_cursor_free(cur);
    return e;
}

/* Blobs with dropped states: one job a blob. */
static err rescan_dropped(reaper *r) {
    short_key low = {.len = 1, .b = {KEY_JOB_DROPPED}}, high = low;
    key_end(&high);
    engine_cursor *cur;
    buf last;
    err e;
    TRY(engine_scan(r->store->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    buf_init(&last, ENGINE_KEY_MAX);
    for (;;) {
        slice k, v;
        bool more;
        uint64_t container;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        slice base = slice_of(k.p + 1, k.len > 17 ? k.len - 17 : 0), rest = base;
        TRY_TO(out, id_take(&rest, &container));
        if (container % REAPERS != (uint64_t)(r - r->store->reapers)) continue;
        if (slice_eq(base, buf_slice(&last))) continue;
        buf_reset(&last);
        buf_put(&last, base);
        reaper_submit(r->store, job_new_dropped(container, base));
    }
out:
    buf_done(&last);
    engine_cursor_free(cur);
    return e;
}

static void rescan_all(reaper *r) {
    err e = rescan(r, KEY_JOB_PURGE_ACCOUNT, JOB_PURGE_ACCOUNT);
    if (e == OK) e = rescan(r, KEY_JOB_PURGE, JOB_PURGE);
    if (e == OK) e = rescan_dropped(r);
    if (e == OK) e = rescan(r, KEY_JOB_GARBAGE, JOB_GARBAGE);
    if (e != OK)
        LOG(LOG_ERROR, "reaper_scan_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()));
}

static job *pop(reaper *r) {
    job *j = r->first;
    if (!j) return NULL;
    r->first = j->next;
    if (!r->first) r->last = NULL;
    r->count--;
    return j;
}

int64_t job_retry_us(unsigned failures) {
    int64_t us = RETRY_ERROR_MIN_US;
    for (unsigned i = 1; i < failures && us < RETRY_ERROR_MAX_US; i++) us *= 2;
    return us < RETRY_ERROR_MAX_US ? us : RETRY_ERROR_MAX_US;
}

/* Counts a failure, and says once in a while that it goes on. */
static int64_t job_failed(store *s, job *j, err e) {
    if (j->failures++ == 0) atomic_fetch_add(&s->jobs_failing, 1);
    LOG(LOG_ERROR, "reaper_failed", LF_C("error", err_get(e)->name), LF_C("detail", err_detail()),
        LF_I("container", j->container), LF_I("job", j->id), LF_I("failures", j->failures));
    return job_retry_us(j->failures);
}

/* Does one job; what could not be done goes to *later. */
static void work(reaper *r, job *j, job **later) {
    store *s = r->store;
    bool kept;
    err e = reaper_work(s, j, &kept);
    if (kept) return;
    if (e == OK) {
        job_done(s, j);
        return;
    }
    bool failed = e != ERR_CONFLICT && e != ERR_CANCELLED;
    j->again_us = clock_mono_us() + (failed ? job_failed(s, j, e) : RETRY_MS * 1000);
    if (j->kind == JOB_ACCESS) { /* the next read notes it again */
        job_done(s, j);
        return;
    }
    if (j->again_us < r->again_us) r->again_us = j->again_us;
    j->next = *later;
    *later = j;
}

/* Takes up again what is due by now_us. */
static void resubmit(reaper *r, job **later, int64_t now_us) {
    job *left = NULL;
    r->again_us = INT64_MAX;
    while (*later) {
        job *j = *later;
        *later = j->next;
        if (j->again_us <= now_us) {
            push(r, j);
            continue;
        }
        if (j->again_us < r->again_us) r->again_us = j->again_us;
        j->next = left;
        left = j;
    }
    *later = left;
}

static struct timespec at_us(int64_t mono_us) {
    return (struct timespec){.tv_sec = mono_us / 1000000, .tv_nsec = mono_us % 1000000 * 1000};
}

/* Waits for work, until something is due again. The lock is held before and after. */
static void wait_for_work(reaper *r, job **later) {
    int64_t until = clock_mono_us() + SWEEP_EVERY_US;
    struct timespec t = at_us(until < r->again_us ? until : r->again_us);
    if (clock_mono_us() < r->again_us) pthread_cond_timedwait(&r->wake, &r->lock, &t);
    int64_t now = clock_mono_us();
    if (now >= r->again_us) resubmit(r, later, now);
}

static void sweep_now_and_then(reaper *r, int64_t *next_us) {
    if (clock_mono_us() < *next_us) return;
    *next_us = clock_mono_us() + SWEEP_EVERY_US;
    err e = reaper_sweep(r, clock_wall_us() - STORE_STAGED_LIFE_US);
    if (e == OK) e = reaper_expire(r);
    if (e == OK) e = history_expire(r, clock_wall_us());
    if (e == OK) e = reaper_sweep_containers(r, clock_wall_us());
    if (e != OK && e != ERR_CANCELLED)
        LOG(LOG_ERROR, "sweep_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()));
}

/* Once, by one of the threads. */
static void give_back_orphans(store *s) {
    uint64_t n = 0;
    err e = orphans_destroy(s, s->first_id, &n);
    if (e != OK && e != ERR_CANCELLED)
        LOG(LOG_ERROR, "orphans_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()));
    if (n > 0) LOG(LOG_INFO, "vault_slots_given_back", LF_I("count", n));
}

static void *reaper_main(void *arg) {
    reaper *r = arg;
    if (r == r->store->reapers) give_back_orphans(r->store);
    job *later = NULL;
    int64_t next_sweep_us = 0;
    pthread_mutex_lock(&r->lock);
    while (!atomic_load(&r->store->stopping)) {
        job *j = pop(r);
        if (!j && !r->rescan) {
            wait_for_work(r, &later);
            j = pop(r);
        }
        bool scan = !j && r->rescan;
        if (scan) r->rescan = false;
        pthread_mutex_unlock(&r->lock);
        if (scan) rescan_all(r);
        if (j) work(r, j, &later);
        sweep_now_and_then(r, &next_sweep_us);
        pthread_mutex_lock(&r->lock);
    }
    resubmit(r, &later, INT64_MAX);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

void reaper_run(store *s) {
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < REAPERS; i++) {
            reaper *r = &s->reapers[i];
            job *later = NULL, *j;
            if (r->rescan) {
                r->rescan = false;
                rescan_all(r);
            }
            while ((j = pop(r)) != NULL) {
                work(r, j, &later);
                again = true;
            }
            if (later) again = false;
            resubmit(r, &later, INT64_MAX);
        }
    }
}

err reaper_start(store *s) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (int i = 0; i < REAPERS; i++) {
        reaper *r = &s->reapers[i];
        r->store = s;
        r->rescan = true;
        r->again_us = INT64_MAX;
        pthread_mutex_init(&r->lock, NULL);
        pthread_cond_init(&r->wake, &attr);
    }
    pthread_condattr_destroy(&attr);
    for (int i = 0; i < REAPERS && s->background; i++) {
        int n = pthread_create(&s->reapers[i].thread, NULL, reaper_main, &s->reapers[i]);
        if (n != 0) return err_fail_errno(ERR_NO_MEMORY, n, "cannot start a background thread");
        s->reapers[i].running = true;
    }
    return OK;
}

void reaper_stop(store *s) {
    atomic_store(&s->stopping, true);
    for (int i = 0; i < REAPERS; i++) {
        reaper *r = &s->reapers[i];
        pthread_mutex_lock(&r->lock);
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
        if (r->running) pthread_join(r->thread, NULL);
        for (job *j; (j = pop(r)) != NULL;) job_done(s, j);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->wake);
    }
}
