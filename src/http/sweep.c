/* Connections whose client is gone, or does nothing but hold them.
 *
 * libmicrohttpd 0.9.75 registers sockets edge-triggered and takes a short read for "nothing more is
 * there". When a client's last bytes and its end arrive together, the end is behind the short read
 * and no further edge tells of it: the connection would be held, and an upload's worker with it,
 * until the idle timeout. So a thread looks at every connection that waits for its client a few
 * times a second; one that has ended is shut down, which is an event that libmicrohttpd does see.
 *
 * The idle timeout counts from the last byte; a client that sends a byte now and then never meets
 * it. Here a head, or a small body, must be whole within PATIENCE idle timeouts, and a large answer
 * that is held in memory must have been read in a time that goes with its size.
 *
 * A peer is in the list from the connection's start to just before its descriptor is closed; both
 * ends take the lock, so a descriptor seen under it is the connection's. */
#include <malloc.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/base.h"
#include "http/internal.h"

#define PERIOD_MS 250
#define AT_ONCE   256 /* peers looked at under one taking of the lock */
#define PATIENCE  2
/* A reader has PATIENCE idle timeouts for an answer held in memory, and as much again for each: */
#define READ_SHARE ((uint64_t)4 << 20)
#define MANY       1024 /* connections whose memory is worth giving back */
/* Seen ended this often in a row: at once with nothing left to read; with something, the loop has
 * its chance to read it. */
#define ENDED_EMPTY 2
#define ENDED_FULL  20

struct http_sweep {
    pthread_mutex_t lock;
    pthread_cond_t stop;
    pthread_t thread;
    http_peer *first, *cursor; /* cursor: the next one to look at; NULL at a round's end */
    unsigned count, peak;      /* peers now, and the most since memory was last given back */
    int64_t patience_us;
    bool stopping;
};

static bool nothing_to_read(int fd) {
    uint8_t b;
    return recv(fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool has_ended(http_peer *p, short revents) {
    if ((revents & (POLLRDHUP | POLLHUP | POLLERR)) == 0) {
        p->ended = 0;
        return false;
    }
    p->ended++;
    return p->ended >= ENDED_FULL || (p->ended >= ENDED_EMPTY && nothing_to_read(p->fd));
}

static bool overdue(const http_sweep *s, const http_peer *p, int64_t now) {
    int64_t since = atomic_load_explicit(&p->since_us, memory_order_relaxed);
    return since != 0 && now - since > s->patience_us;
}

/* Up to AT_ONCE peers; false at the end of the round. */
static bool sweep_some(http_sweep *s, int64_t now) {
    struct pollfd fds[AT_ONCE];
    http_peer *who[AT_ONCE];
    size_t n = 0, seen = 0;
    for (; s->cursor != NULL && seen < AT_ONCE; s->cursor = s->cursor->next, seen++) {
        http_peer *p = s->cursor;
        if (!atomic_load_explicit(&p->waits, memory_order_relaxed)) {
            p->ended = 0;
            if (overdue(s, p, now)) (void)shutdown(p->fd, SHUT_RDWR);
            continue;
        }
        fds[n] = (struct pollfd){.fd = p->fd, .events = POLLRDHUP};
        who[n++] = p;
    }
    if (n > 0 && poll(fds, n, 0) >= 0)
        for (size_t i = 0; i < n; i++)
            if (has_ended(who[i], fds[i].revents) || overdue(s, who[i], now))
                (void)shutdown(who[i]->fd, SHUT_RDWR);
    return s->cursor != NULL;
}

/* Many connections are gone: their memory goes back to the system. */
static void give_back(http_sweep *s) {
    if (s->peak - s->count < MANY) return;
    s->peak = s->count;
    pthread_mutex_unlock(&s->lock);
    malloc_trim(0);
    pthread_mutex_lock(&s->lock);
}

static void *sweep(void *arg) {
    http_sweep *s = arg;
    pthread_setname_np(pthread_self(), "http-sweep");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PERIOD_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&s->stop, &s->lock, &until);
        s->cursor = s->first;
        int64_t now = clock_mono_us();
        while (!s->stopping && sweep_some(s, now)) {
            pthread_mutex_unlock(&s->lock); /* let connections come and go */
            pthread_mutex_lock(&s->lock);
        }
        give_back(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void http_sweep_reads(const http_sweep *s, http_peer *p, uint64_t n) {
    int64_t more = s->patience_us * (int64_t)(n / READ_SHARE);
    atomic_store_explicit(&p->since_us, clock_mono_us() + more, memory_order_relaxed);
    atomic_store_explicit(&p->waits, false, memory_order_relaxed);
}

http_sweep *http_sweep_new(unsigned idle_s) {
    http_sweep *s = calloc(1, sizeof(*s));
    MUST(s != NULL);
    s->patience_us = (int64_t)idle_s * PATIENCE * 1000000;
    pthread_condattr_t attr;
    MUST(pthread_condattr_init(&attr) == 0);
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MUST(pthread_mutex_init(&s->lock, NULL) == 0 && pthread_cond_init(&s->stop, &attr) == 0);
    pthread_condattr_destroy(&attr);
    MUST(pthread_create(&s->thread, NULL, sweep, s) == 0);
    return s;
}

http_sweep *http_sweep_free(http_sweep *s) {
    if (s == NULL) return NULL;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->stop);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    MUST(s->first == NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->stop);
    free(s);
    return NULL;
}

void http_sweep_add(http_sweep *s, http_peer *p) {
    http_peer_waits(p, true);
    pthread_mutex_lock(&s->lock);
    p->next = s->first;
    if (s->first != NULL) s->first->prev = p;
    s->first = p;
    s->count++;
    if (s->count > s->peak) s->peak = s->count;
    pthread_mutex_unlock(&s->lock);
}

void http_sweep_remove(http_sweep *s, http_peer *p) {
    pthread_mutex_lock(&s->lock);
    if (s->cursor == p) s->cursor = p->next;
    if (p->next != NULL) p->next->prev = p->prev;
    if (p->prev != NULL)
        p->prev->next = p->next;
    else
        s->first = p->next;
    s->count--;
    pthread_mutex_unlock(&s->lock);
}
