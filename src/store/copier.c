/* The threads that do pending copies. A copy is named by its destination; what is to be done stands in
 * JOB. Those of an earlier run of the program are read from there.
 *
 * A source elsewhere that stops answering is asked again, from where it stopped, a few times with longer
 * and longer pauses; a source here that has changed ends the copy. */
#include "store/internal.h"

#include <time.h>

#define PIECE      ((size_t)256 << 10)
#define TRIES      6
#define PAUSE_MS   500 /* before the second try; doubled before each further one */
#define WHY_MAX    200
#define STEP_MS    50 /* how soon a stop or an abort is seen in a pause */
#define REMEMBERED 100000

struct copy_task {
    uint64_t container;
    slice name;
    uint8_t id[STORE_COPY_ID_LEN];
    _Atomic uint64_t done;
    atomic_bool cancelled;
    struct copy_task *next;
};

/* ---- the queue ---------------------------------------------------------------------------------------- */

static slice id_of(const copy_task *t) {
    return slice_of(t->id, sizeof t->id);
}

static copy_task *find(copy_task *list, slice id) {
    while (list && !slice_eq_nocase(id_of(list), id)) list = list->next;
    return list;
}

static copy_task *task_new(uint64_t container, slice name, slice id) {
    copy_task *t = calloc(1, sizeof *t + name.len);
    MUST(t && id.len == sizeof t->id);
    uint8_t *p = (uint8_t *)(t + 1);
    memcpy(p, name.p, name.len);
    memcpy(t->id, id.p, id.len);
    t->container = container;
    t->name = slice_of(p, name.len);
    return t;
}

void copier_submit(store *s, uint64_t container, slice name, slice id) {
    copier *c = &s->copier;
    pthread_mutex_lock(&c->lock);
    bool known = find(c->waiting, id) || find(c->running, id);
    if (!known && c->count < REMEMBERED) {
        copy_task *t = task_new(container, name, id);
        *(c->last ? &c->last->next : &c->waiting) = t;
        c->last = t;
        c->count++;
    } else if (!known) {
        c->rescan = true; /* its row is there, and read when the queue is empty */
    }
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

uint64_t copier_progress(store *s, slice id) {
    copier *c = &s->copier;
    pthread_mutex_lock(&c->lock);
    const copy_task *t = find(c->running, id);
    uint64_t done = t ? atomic_load(&t->done) : 0;
    pthread_mutex_unlock(&c->lock);
    return done;
}

void copier_cancel(store *s, slice id) {
    copier *c = &s->copier;
    pthread_mutex_lock(&c->lock);
    copy_task *t = find(c->running, id);
    if (t) atomic_store(&t->cancelled, true);
    pthread_mutex_unlock(&c->lock);
}

/* Under the lock: the next task, which moves to the running ones. */
static copy_task *take(copier *c) {
    copy_task *t = c->waiting;
    if (!t) return NULL;
    c->waiting = t->next;
    if (!c->waiting) c->last = NULL;
    c->count--;
    t->next = c->running;
    c->running = t;
    return t;
}

/* Under the lock. */
static void finish(copier *c, copy_task *t) {
    copy_task **at = &c->running;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    free(t);
}

/* ---- one copy ----------------------------------------------------------------------------------------- */

typedef struct copying {
    store *s;
    copy_task *task;
    store_call call;
    row_copy row;
    const store_container *to;
    store_upload *upload;
    /* The source: one of both. */
    const store_container *from;
    store_reader *reader;
    slice url;
    void *stream;
    uint8_t *piece;
    int failures; /* of the source, in a row */
} copying;

static bool stopping(const copying *m) {
    return atomic_load(&m->s->stopping) || atomic_load(&m->task->cancelled);
}

static err container_by_name(copying *m, slice account, slice name, const store_container **ret) {
    const store_account *a;
    TRY(store_account_get(m->s, m->call, account, &a));
    err e = store_container_get(m->s, m->call, a, name, ret);
    store_account_unref(a);
    return e;
}

static err open_here(copying *m) {
    store_blob b;
    store_conditions same = STORE_NO_CONDITIONS;
    same.if_match = m->row.etag;
    store_call c = m->call;
    c.archived = m->row.archived;
    TRY(container_by_name(m, m->row.account, m->row.container, &m->from));
    return store_blob_open(m->s, c, m->from, m->row.blob, m->row.pick, &same, &b, &m->reader);
}

static err open_elsewhere(copying *m, uint64_t offset) {
    const store_remote *remote = m->s->remote;
    ENSURE(remote, ERR_COPY_SOURCE_REFUSED, "no sources on other servers are allowed");
    return remote->open(remote->ctx, m->call.arena, m->url, m->row.etag, offset,
                        m->row.length - offset, &m->task->cancelled, &m->stream);
}

static void close_source(copying *m) {
    if (m->stream) m->s->remote->close(m->stream);
    m->stream = NULL;
    m->reader = store_reader_free(m->reader);
}

/* Some bytes at offset, at least one; cap does not reach behind the source's length. */
static err read_piece(copying *m, uint64_t offset, size_t cap, size_t *ret_n) {
    if (m->reader) {
        TRY(store_reader_read(m->reader, offset, m->piece, cap, false, ret_n));
    } else {
        if (!m->stream) TRY(open_elsewhere(m, offset));
        TRY(m->s->remote->read(m->stream, m->piece, cap, ret_n));
    }
    ENSURE(*ret_n > 0, m->reader ? ERR_CORRUPT : ERR_COPY_SOURCE_UNREACHABLE,
           "the copy source ended after %llu of %llu bytes", (unsigned long long)offset,
           (unsigned long long)m->row.length);
    return OK;
}

static void rest(const copying *m) {
    int ms = PAUSE_MS << (m->failures - 1);
    for (int at = 0; at < ms && !stopping(m); at += STEP_MS)
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000l}, NULL);
}

/* A source that could not be reached is tried again, after a pause. */
static bool try_again(copying *m, err e) {
    if (e != ERR_COPY_SOURCE_UNREACHABLE || ++m->failures >= TRIES) return false;
    close_source(m);
    rest(m);
    return true;
}

static err copy_bytes(copying *m) {
    uint64_t at = 0;
    while (at < m->row.length) {
        size_t n = 0;
        ENSURE(!stopping(m), ERR_CANCELLED, "the copy was stopped");
        uint64_t left = m->row.length - at;
        err e = read_piece(m, at, left < PIECE ? (size_t)left : PIECE, &n);
        if (try_again(m, e)) continue;
        TRY(e);
        m->failures = 0;
        TRY(store_upload_write(m->upload, slice_of(m->piece, n)));
        at += n;
        atomic_store(&m->task->done, at);
    }
    return store_upload_finish(m->upload);
}

/* ---- page blobs ---- */

static err page_write(copying *m, uint64_t offset, slice data) {
    store_upload *u;
    TRY(store_upload_new(m->s, m->to, data.len, STORE_PAGE_WRITE_MAX, 0, &u));
    err e = upload_under_scope(u, m->call, m->to, m->row.scope);
    if (e == OK) e = store_upload_write(u, data);
    if (e == OK) e = store_upload_finish(u);
    if (e != OK) {
        store_upload_free(u);
        return e;
    }
    return copy_put_pages(m->s, m->call, m->to, m->task->name, id_of(m->task), offset, u);
}

/* All of [offset, offset + n), n at most PIECE, into m->piece. */
static err read_full(copying *m, uint64_t offset, size_t n) {
    uint8_t *piece = m->piece;
    err e = OK;
    for (size_t at = 0, got = 0; at < n && e == OK; at += got) {
        m->piece = piece + at;
        e = read_piece(m, offset + at, n - at, &got);
    }
    m->piece = piece;
    return e;
}

static bool is_zeros(slice page) {
    return page.p[0] == 0 && memcmp(page.p, page.p + 1, page.len - 1) == 0;
}

/* Writes what is not zeros of n bytes in m->piece. */
static err write_nonzero(copying *m, uint64_t offset, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && !is_zeros(slice_of(m->piece + end, STORE_PAGE_LEN)))
            end += STORE_PAGE_LEN;
        if (end > at) TRY(page_write(m, offset + at, slice_of(m->piece + at, end - at)));
        at = end + STORE_PAGE_LEN;
    }
    return OK;
}

/* Pages [begin, end). all: also those that hold zeros. */
static err copy_range(copying *m, uint64_t begin, uint64_t end, bool all) {
    for (uint64_t at = begin; at < end;) {
        size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
        ENSURE(!stopping(m), ERR_CANCELLED, "the copy was stopped");
        err e = read_full(m, at, n);
        if (try_again(m, e)) continue;
        TRY(e);
        m->failures = 0;
        if (all)
            TRY(page_write(m, at, slice_of(m->piece, n)));
        else
            TRY(write_nonzero(m, at, n));
        at += n;
        atomic_store(&m->task->done, at);
    }
    return OK;
}

#define RANGES 1000
typedef struct range_list {
    store_page_range list[RANGES];
    size_t count;
} range_list;

static err add_range(void *ctx, store_page_range r) {
    range_list *l = ctx;
    MUST(l->count < RANGES);
    l->list[l->count++] = r;
    return OK;
}

/* The pages that were written, as the source shows them; a source that changes meanwhile ends the copy. */
static err copy_written(copying *m, range_list *l, arena *a) {
    const store_call c = {.arena = a};
    store_conditions same = STORE_NO_CONDITIONS;
    store_blob b;
    same.if_match = m->row.etag;
    for (uint64_t offset = 0, next; offset < m->row.length; offset = next) {
        const store_page_query q = {
            .offset = offset, .length = m->row.length - offset, .max = RANGES, .pick = m->row.pick};
        l->count = 0;
        arena_reset(a);
        TRY(store_page_ranges(m->s, c, m->from, m->row.blob, &same, &q, &b, add_range, l, &next));
        for (size_t i = 0; i < l->count; i++)
            TRY(copy_range(m, l->list[i].start, l->list[i].end, true));
        if (next == 0) break;
    }
    return store_blob_get(m->s, c, m->from, m->row.blob, m->row.pick, &same, &b);
}

/* Elsewhere a page of zeros and one that was never written look alike. */
static err copy_pages(copying *m) {
    if (!m->reader) return copy_range(m, 0, m->row.length, false);
    range_list *l = malloc(sizeof *l);
    arena *a = arena_new(16 << 10, 0);
    MUST(l);
    err e = copy_written(m, l, a);
    arena_free(a);
    free(l);
    return e;
}

/* The end of the copy, recorded: how it ended. */
static err end_copy(copying *m, err outcome, slice why) {
    store_deed deed CLEANUP(deed_end) = {.kind = STORE_DEED_COLLECTS,
                                         .action = "Copy Blob",
                                         .decision = "pending copy",
                                         .blob = m->task->name,
                                         .outcome = outcome};
    store_call c = m->call;
    TRY(deed_begin(m->s, c.arena, m->to->id, &deed, &c.record));
    if (outcome == OK) return copy_commit(m->s, c, m->to, m->task->name, id_of(m->task), m->upload);
    return copy_fail(m->s, c, m->to, m->task->name, id_of(m->task), atomic_load(&m->task->done),
                     why);
}

static err copy_all(copying *m) {
    if (m->row.url_len)
        TRY(copy_url_open(&container_of(m->to)->secret->key, m->to->id, &m->row, m->call.arena,
                          &m->url));
    else
        TRY(open_here(m));
    if (m->row.type == STORE_PAGE_BLOB) {
        TRY(copy_pages(m));
        return end_copy(m, OK, SLICE_NONE);
    }
    TRY(store_upload_new(m->s, m->to, m->row.length, m->row.length, 0, &m->upload));
    TRY(upload_under_scope(m->upload, m->call, m->to, m->row.scope));
    TRY(copy_bytes(m));
    return end_copy(m, OK, SLICE_NONE);
}

/* ERR_NOT_FOUND: there is nothing (more) to do. */
static err find_work(copying *m) {
    bool exists;
    const copy_task *t = m->task;
    TRY(copy_job(m->s, m->call.arena, t->container, t->name, &m->row, &exists));
    if (!exists || !slice_eq(m->row.id, id_of(t))) return ERR_NOT_FOUND;
    err e = container_by_name(m, m->row.to_account, m->row.to_container, &m->to);
    if (e == ERR_CONTAINER_NOT_FOUND) e = ERR_NOT_FOUND;
    TRY(e);
    return m->to->id == t->container ? OK : ERR_NOT_FOUND; /* its purge takes the rows */
}

/* "404 BlobNotFound: there is no blob 'a'", as x-ms-copy-status-description may show it. */
static slice describe(arena *a, err e) {
    const err_info *info = err_get(e);
    slice text = arena_fmt(a, "%d %s \"%s\"", info->status, info->azure, err_detail());
    uint8_t *p = arena_alloc(a, WHY_MAX);
    size_t n = text.len < WHY_MAX ? text.len : WHY_MAX;
    for (size_t i = 0; i < n; i++) p[i] = text.p[i] >= ' ' && text.p[i] < 0x7F ? text.p[i] : '?';
    return slice_of(p, n);
}

static void settle(copying *m, err e) {
    bool over = e == ERR_NO_PENDING_COPY_OPERATION || e == ERR_COPY_ID_MISMATCH;
    if (e == OK || e == ERR_NOT_FOUND || over || stopping(m)) return;
    slice why = describe(m->call.arena, e);
    LOG(LOG_WARN, "copy_failed", LF_S("id", id_of(m->task)), LF_S("detail", why));
    if (!m->to) return; /* again after a restart */
    err f = end_copy(m, e, why);
    if (f != OK && f != ERR_NO_PENDING_COPY_OPERATION)
        LOG(LOG_ERROR, "copy_not_ended", LF_S("id", id_of(m->task)), LF_C("detail", err_detail()));
}

static void work(store *s, copy_task *t) {
    copying m = {.s = s, .task = t, .call = {.arena = arena_new(16 << 10, 0)}};
    m.piece = malloc(PIECE);
    MUST(m.piece);
    err e = find_work(&m);
    if (e == OK) e = copy_all(&m);
    close_source(&m);
    settle(&m, e);
    if (m.from) store_container_unref(m.from);
    if (m.to) store_container_unref(m.to);
    store_upload_free(m.upload);
    crypto_wipe(m.piece, PIECE);
    free(m.piece);
    arena_free(m.call.arena);
}

/* ---- threads ------------------------------------------------------------------------------------------ */

static err submit_row(store *s, slice key, slice value) {
    uint64_t container;
    slice rest_ = slice_skip(key, 1), name;
    row_copy row;
    TRY(id_take(&rest_, &container));
    TRY(name_take(&rest_, &name));
    TRY(row_copy_get(value, &row));
    ENSURE(row.id.len == STORE_COPY_ID_LEN, ERR_CORRUPT, "a copy's id is damaged");
    uint8_t *plain = malloc(name.len + 1);
    MUST(plain);
    copier_submit(s, container, name_unescape(plain, name), row.id);
    free(plain);
    return OK;
}

static void scan_rows(store *s) {
    short_key low = {.len = 1, .b = {KEY_JOB_COPY}}, high = low;
    key_end(&high);
    engine_cursor *cur = NULL;
    err e;
    TRY_TO(out, engine_scan(s->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        e = submit_row(s, k, v);
        if (e != OK) LOG(LOG_ERROR, "copy_row_damaged", LF_C("detail", err_detail()));
    }
out:
    engine_cursor_free(cur);
    if (e != OK) LOG(LOG_ERROR, "copy_scan_failed", LF_C("detail", err_detail()));
}

/* The next thing to do, waiting for it: a task, or (NULL and *ret_scan) reading the table. */
static copy_task *next_task(store *s, bool *ret_scan) {
    copier *c = &s->copier;
    copy_task *t = NULL;
    pthread_mutex_lock(&c->lock);
    *ret_scan = false;
    while (!atomic_load(&s->stopping) && !(t = take(c)) && !c->rescan)
        pthread_cond_wait(&c->wake, &c->lock);
    if (!t && !atomic_load(&s->stopping)) {
        *ret_scan = true;
        c->rescan = false;
    }
    pthread_mutex_unlock(&c->lock);
    return t;
}

static void *copier_main(void *arg) {
    store *s = arg;
    copier *c = &s->copier;
    while (!atomic_load(&s->stopping)) {
        bool scan;
        copy_task *t = next_task(s, &scan);
        if (scan) scan_rows(s);
        if (!t) continue;
        work(s, t);
        pthread_mutex_lock(&c->lock);
        finish(c, t);
        pthread_cond_broadcast(&c->ended);
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

void store_copy_wait(store *s, slice id, unsigned ms) {
    copier *c = &s->copier;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&c->lock);
    while (c->started > 0 && (find(c->waiting, id) || find(c->running, id)))
        if (pthread_cond_timedwait(&c->ended, &c->lock, &until) != 0) break;
    pthread_mutex_unlock(&c->lock);
}

void copier_run(store *s) {
    copier *c = &s->copier;
    if (c->rescan) scan_rows(s);
    c->rescan = false;
    for (copy_task *t; (t = take(c)) != NULL; finish(c, t)) work(s, t);
}

err copier_start(store *s) {
    copier *c = &s->copier;
    MUST(pthread_mutex_init(&c->lock, NULL) == 0);
    MUST(pthread_cond_init(&c->wake, NULL) == 0);
    MUST(pthread_cond_init(&c->ended, NULL) == 0);
    c->rescan = true;
    for (int i = 0; i < COPIERS && s->background; i++) {
        int n = pthread_create(&c->threads[i], NULL, copier_main, s);
        if (n != 0) return err_fail_errno(ERR_NO_MEMORY, n, "cannot start a background thread");
        c->started++;
    }
    return OK;
}

void copier_stop(store *s) {
    copier *c = &s->copier;
    atomic_store(&s->stopping, true);
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->started; i++) pthread_join(c->threads[i], NULL);
    for (copy_task *t; (t = take(c)) != NULL;) finish(c, t);
    pthread_cond_destroy(&c->ended);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
}
