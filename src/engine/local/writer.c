/* Writes that go on while their stream is filled further: a few threads, and a queue of at most one write a
 * stream. Plain blocking writes, as containers often forbid the kernel's asynchronous ones.
 *
 * What holds: a job belongs to a thread here from write_begin until write_wait has returned; its memory and
 * its place in the extent are not touched meanwhile. Threads are started as they are needed and
 * stay. */
#include "engine/local/private.h"

void writers_init(local *l) {
    writers *w = &l->writers;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->work, NULL);
    w->tail = &w->head;
}

void writers_done(local *l) {
    writers *w = &l->writers;
    pthread_mutex_lock(&w->mutex);
    MUST(w->head == NULL);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->mutex);
    for (unsigned i = 0; i < w->started; i++) pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
}

static void *writer_run(void *arg) {
    local *l = arg;
    writers *w = &l->writers;
    pthread_setname_np(pthread_self(), "engine-write");
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (w->head == NULL && !w->stop) {
            w->idle++;
            pthread_cond_wait(&w->work, &w->mutex);
            w->idle--;
        }
        write_job *j = w->head;
        if (j == NULL) break;
        w->head = j->next;
        if (w->head == NULL) w->tail = &w->head;
        pthread_mutex_unlock(&w->mutex);
        j->result = extent_write(l, j->x, &j->direct, j->p, j->n, j->at);
        pthread_mutex_lock(&w->mutex);
        j->done = true;
        pthread_cond_signal(&j->ended);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Under the lock. False when there is no thread at all. */
static bool thread_for_one_more(local *l) {
    writers *w = &l->writers;
    if (w->idle == 0 && w->started < WRITERS_MAX &&
        pthread_create(&w->threads[w->started], NULL, writer_run, l) == 0)
        w->started++;
    return w->started > 0;
}

bool write_begin(local *l, write_job *j) {
    writers *w = &l->writers;
    pthread_mutex_lock(&w->mutex);
    const bool taken = thread_for_one_more(l);
    if (taken) {
        j->busy = true;
        j->done = false;
        j->next = NULL;
        *w->tail = j;
        w->tail = &j->next;
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->mutex);
    return taken;
}

int write_wait(local *l, write_job *j) {
    if (!j->busy) return 0;
    pthread_mutex_lock(&l->writers.mutex);
    while (!j->done) pthread_cond_wait(&j->ended, &l->writers.mutex);
    pthread_mutex_unlock(&l->writers.mutex);
    j->busy = false;
    return j->result;
}
