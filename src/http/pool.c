/* Threads that may block, and the queue in front of them.
 *
 * Waking a thread costs more than many a handler, so at most one thread is being woken at a time
 * (`waking`): it takes a job and, when more wait, wakes the next before it runs its own. Handlers
 * that block thus soon have as many threads as there are jobs; handlers that do not are run one
 * after the other by a thread that is awake already. The thread woken is the one that fell asleep
 * last: its stack and caches are warm. Threads are started as they are needed and stay.
 *
 * Invariant: when jobs wait and threads sleep, one of them is being woken. */
#include "base/base.h"
#include "http/internal.h"

typedef struct worker {
    http_pool *pool;
    pthread_t thread;
    pthread_cond_t wake;
    bool awake; /* told to wake up */
    struct worker *next_idle;
} worker;

struct http_pool {
    const char *name;
    pthread_mutex_t lock;
    worker *workers;
    unsigned started, joined, max;
    worker *idle;
    http_job *head, **tail;
    size_t queued, queue_max;
    uint64_t busy;
    bool waking, closed;
};

http_pool *http_pool_new(const char *name, unsigned threads_max, size_t queue_max) {
    MUST(threads_max > 0);
    http_pool *p = calloc(1, sizeof(*p));
    MUST(p != NULL);
    p->workers = calloc(threads_max, sizeof(worker));
    MUST(p->workers != NULL);
    p->name = name;
    p->max = threads_max;
    p->queue_max = queue_max;
    p->tail = &p->head;
    MUST(pthread_mutex_init(&p->lock, NULL) == 0);
    return p;
}

static void *work(void *arg);

/* Under the lock. A thread that starts counts as one being woken. */
static void start_thread(http_pool *p) {
    worker *w = &p->workers[p->started];
    w->pool = p;
    MUST(pthread_cond_init(&w->wake, NULL) == 0);
    pthread_attr_t attr;
    MUST(pthread_attr_init(&attr) == 0);
    MUST(pthread_attr_setstacksize(&attr, HTTP_STACK_BYTES) == 0);
    int e = pthread_create(&w->thread, &attr, work, w);
    pthread_attr_destroy(&attr);
    if (e == 0) {
        p->started++;
        p->waking = true;
        return;
    }
    pthread_cond_destroy(&w->wake);
    MUST(p->started > 0); /* fewer threads will do; none will not */
}

/* Under the lock: sees to it that a waiting job gets a thread. Returns the one to signal, if any.
 */
static worker *rouse(http_pool *p) {
    if (p->head == NULL || p->waking) return NULL;
    worker *w = p->idle;
    if (w != NULL) {
        p->idle = w->next_idle;
        p->waking = true;
        w->awake = true;
    } else if (p->started < p->max && !p->closed) {
        start_thread(p);
    }
    return w;
}

static http_job *dequeue(http_pool *p) {
    http_job *j = p->head;
    if (j == NULL) return NULL;
    p->head = j->next;
    if (p->head == NULL) p->tail = &p->head;
    p->queued--;
    return j;
}

/* Under the lock: the next job, sleeping until there is one; NULL when the pool is closed and
 * empty. */
static http_job *next_job(http_pool *p, worker *w) {
    for (;;) {
        http_job *j = dequeue(p);
        if (j != NULL || p->closed) return j;
        w->awake = false;
        w->next_idle = p->idle;
        p->idle = w;
        while (!w->awake && !p->closed) pthread_cond_wait(&w->wake, &p->lock);
        if (w->awake) p->waking = false;
    }
}

static void *work(void *arg) {
    worker *w = arg;
    http_pool *p = w->pool;
    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    p->waking = false;
    for (http_job *j; (j = next_job(p, w)) != NULL;) {
        p->busy++;
        worker *next = rouse(p);
        pthread_mutex_unlock(&p->lock);
        if (next != NULL) pthread_cond_signal(&next->wake);
        j->run(j);
        pthread_mutex_lock(&p->lock);
        p->busy--;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

bool http_pool_push(http_pool *p, http_job *j, bool always) {
    j->next = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->closed || (p->queued >= p->queue_max && !always)) {
        pthread_mutex_unlock(&p->lock);
        return false;
    }
    *p->tail = j;
    p->tail = &j->next;
    p->queued++;
    worker *w = rouse(p);
    pthread_mutex_unlock(&p->lock);
    if (w != NULL) pthread_cond_signal(&w->wake);
    return true;
}

void http_pool_close(http_pool *p) {
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    for (unsigned i = 0; i < p->started; i++) pthread_cond_signal(&p->workers[i].wake);
    unsigned from = p->joined, n = p->started;
    p->joined = n;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = from; i < n; i++) pthread_join(p->workers[i].thread, NULL);
}

http_pool *http_pool_free(http_pool *p) {
    if (p == NULL) return NULL;
    http_pool_close(p);
    MUST(p->head == NULL);
    /* Only now: a push that came during the close may still have been about to signal one. */
    for (unsigned i = 0; i < p->started; i++) pthread_cond_destroy(&p->workers[i].wake);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
    return NULL;
}

void http_pool_stats(http_pool *p, uint64_t *ret_busy, uint64_t *ret_queued) {
    pthread_mutex_lock(&p->lock);
    *ret_busy = p->busy;
    *ret_queued = p->queued;
    pthread_mutex_unlock(&p->lock);
}
