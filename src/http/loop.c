/* Event loops: a thread and a daemon of libmicrohttpd each, which share their listener's socket.
 *
 * libmicrohttpd can run its threads itself. Ours know of held answers: answers that are complete, but whose record is not
 * yet durable. A held connection is not suspended, which would take it out of the poll set and put it back in, and
 * wake its loop by itself (docs/decisions/0025). It stays among those that libmicrohttpd looks at on each run,
 * and says "not yet" (http_on_access) until the engine has marked its request; the engine wakes a loop once for all that
 * it has marked meanwhile.
 *
 *   run --something was done--> run
 *    |  nothing was done, RUNS_QUIET times
 *    v
 *   wait for the poll set, for http_loop_wake, or for libmicrohttpd's next timeout --> run
 *
 * While nothing is held, libmicrohttpd says itself whether it has more to do at once (MHD_get_timeout). While something is
 * held it always says so, for those connections; so then the callbacks tell whether anything happened. What may be
 * missed so is a step that makes no callback; it is made at the latest when the engine wakes the loop, which is certain
 * as long as anything is held. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/base.h"
#include "http/internal.h"

#define RUNS_QUIET 2

static _Thread_local http_loop *this_loop;

http_loop *http_loop_here(void) {
    return this_loop;
}

void http_loop_wake(http_loop *l) {
    const uint64_t one = 1;
    if (!atomic_exchange(&l->woken, true)) (void)!write(l->wake_fd, &one, sizeof one);
}

/* libmicrohttpd wakes only threads of its own. */
void http_loop_resume(struct http_request *h) {
    http_loop *l = h->loop; /* h may be gone once it goes on */
    MHD_resume_connection(h->conn);
    http_loop_wake(l);
}

static void clear_wake(http_loop *l) {
    uint64_t n;
    (void)!read(l->wake_fd, &n, sizeof n);
    atomic_store(&l->woken,
                 false); /* what is marked from now on wakes again; what was, the next run sees */
}

/* Milliseconds until libmicrohttpd wants to run again, -1: only when something happens. */
static int patience(const http_loop *l) {
    MHD_UNSIGNED_LONG_LONG ms;
    if (l->held > 0 || MHD_get_timeout(l->daemon, &ms) != MHD_YES) return -1;
    return ms > 3600000 ? 3600000 : (int)ms;
}

static void wait_for_work(http_loop *l) {
    struct pollfd of[2] = {{.fd = l->epoll_fd, .events = POLLIN},
                           {.fd = l->wake_fd, .events = POLLIN}};
    const int ms = patience(l);
    if (ms == 0) return;
    if (poll(of, 2, ms) > 0 && of[1].revents != 0) clear_wake(l);
}

static void *loop(void *arg) {
    http_loop *l = arg;
    bool quiesced = false;
    this_loop = l;
    pthread_setname_np(pthread_self(), "http-loop");
    for (unsigned quiet = 0; !atomic_load(&l->stop);) {
        if (atomic_load(&l->quiesce) && !quiesced) {
            (void)MHD_quiesce_daemon(l->daemon); /* the socket is ours */
            quiesced = true;
        }
        const uint64_t before = l->progress;
        (void)MHD_run(l->daemon);
        quiet = l->progress != before ? 0 : quiet + 1;
        if (l->held > 0 && quiet < RUNS_QUIET) continue;
        wait_for_work(l);
        quiet = 0;
    }
    if (!quiesced) (void)MHD_quiesce_daemon(l->daemon);
    return NULL;
}

err http_loop_start(http_loop *l) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    MUST(info != NULL);
    l->epoll_fd = info->epoll_fd;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0) return err_fail_errno(ERR_IO, errno, "eventfd");
    pthread_attr_t attr;
    sigset_t pipe, old;
    MUST(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, HTTP_STACK_BYTES) == 0);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE); /* as libmicrohttpd's own threads have it */
    pthread_sigmask(SIG_BLOCK, &pipe, &old);
    l->started = pthread_create(&l->thread, &attr, loop, l) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    ENSURE(l->started, ERR_IO, "a thread could not be started");
    return OK;
}

void http_loop_quiesce(http_loop *l) {
    atomic_store(&l->quiesce, true);
    http_loop_wake(l);
}

void http_loop_end(http_loop *l) {
    if (l->started) {
        atomic_store(&l->stop, true);
        http_loop_wake(l);
        pthread_join(l->thread, NULL);
    } else {
        (void)MHD_quiesce_daemon(l->daemon);
    }
    MHD_stop_daemon(l->daemon);
    if (l->wake_fd >= 0) close(l->wake_fd);
}
