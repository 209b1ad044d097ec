/* A load generator for the bench: many keep-alive connections on a few epoll threads.
 *
 *   load put   HOST-PORT PATH QUERY  --size N --connections C --threads T --seconds S | --count N
 *   load block HOST-PORT PATH QUERY  the same; each connection stages blocks of a blob of its own
 *   load list  HOST-PORT PATH QUERY  one connection walks a listing to its end, 5,000 names a page
 *   load idle  HOST-PORT PATH QUERY  --connections C: each sends one request and stays until stdin closes
 *
 * PATH is /account/container, QUERY a SAS that may do it (nothing is signed here, so that the
 * generator costs little). --prefix P and --first N name the blobs: P and nine digits. Prints one
 * line of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX 8192
#define PAGE_MAX   (64u << 20)

typedef struct options {
    const char *mode, *path, *query, *prefix;
    uint16_t port;
    size_t size;
    unsigned connections, threads;
    double seconds;
    uint64_t first, count; /* count 0: until the time is over */
} options;

typedef struct connection {
    int fd;
    unsigned number;
    char head[2048];
    size_t head_len, sent; /* sent counts head and body together */
    char answer[ANSWER_MAX];
    size_t answer_len;
    uint64_t started_us, blocks;
} connection;

typedef struct worker {
    pthread_t thread;
    unsigned number, connections;
    uint64_t done, failed;
    uint32_t *latency_us;
    size_t latency_count, latency_cap;
} worker;

static options opt = {.prefix = "b", .connections = 1, .threads = 1, .seconds = 5};
static uint8_t *body;
static atomic_ullong next_index;
static atomic_bool time_over;
static uint64_t finish_us;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int connect_to_server(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
    return fd;
}

/* ---- requests ---- */

/* The next request of a connection; false when there is nothing left to do. */
static bool request_begin(connection *c) {
    uint64_t index = atomic_fetch_add(&next_index, 1);
    if (opt.count ? index >= opt.count : atomic_load(&time_over)) return false;
    char target[1200];
    if (strcmp(opt.mode, "block") == 0) {
        /* a block id is base64: these nine digits are a valid one already when three more follow */
        snprintf(target, sizeof target, "%s/%s%09u?comp=block&blockid=%012llu&%s", opt.path,
                 opt.prefix, c->number, (unsigned long long)c->blocks++, opt.query);
    } else {
        snprintf(target, sizeof target, "%s/%s%09llu?%s", opt.path, opt.prefix,
                 (unsigned long long)(opt.first + index), opt.query);
    }
    int n = snprintf(c->head, sizeof c->head,
                     "PUT %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nx-ms-version: 2021-12-02\r\n"
                     "x-ms-blob-type: BlockBlob\r\nContent-Type: application/octet-stream\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     target, opt.port, opt.size);
    if (n < 0 || (size_t)n >= sizeof c->head) die("a request is too long");
    c->head_len = (size_t)n;
    c->sent = c->answer_len = 0;
    c->started_us = now_us();
    return true;
}

/* Sends what the socket takes. True when all is sent. */
static bool request_send(connection *c) {
    size_t total = c->head_len + opt.size;
    while (c->sent < total) {
        struct iovec parts[2];
        int count = 0;
        if (c->sent < c->head_len)
            parts[count++] = (struct iovec){c->head + c->sent, c->head_len - c->sent};
        size_t offset = c->sent > c->head_len ? c->sent - c->head_len : 0;
        if (opt.size > offset) parts[count++] = (struct iovec){body + offset, opt.size - offset};
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
        if (n < 0) die("send");
        c->sent += (size_t)n;
    }
    return true;
}

/* The length of a whole answer that begins at `p`, or 0 when more must come. */
static size_t answer_whole(const char *p, size_t len) {
    const char *end = memmem(p, len, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t head = (size_t)(end - p) + 4;
    for (const char *line = p; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(p + len - line));
        if (strncasecmp(line, "content-length:", 15) == 0) {
            size_t whole = head + strtoull(line + 15, NULL, 10);
            return len >= whole ? whole : 0;
        }
        if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            bool last = len - head >= 5 && memcmp(p + len - 5, "0\r\n\r\n", 5) == 0;
            return last ? len : 0;
        }
        line = stop ? stop + 1 : end;
    }
    return head;
}

static void note(worker *w, const connection *c) {
    w->done++;
    if (strncmp(c->answer, "HTTP/1.1 2", 10) != 0) {
        if (w->failed++ == 0) fprintf(stderr, "load: %.*s\n", (int)c->answer_len, c->answer);
    }
    if (w->latency_count == w->latency_cap) {
        w->latency_cap = w->latency_cap ? w->latency_cap * 2 : 4096;
        w->latency_us = realloc(w->latency_us, w->latency_cap * sizeof *w->latency_us);
        if (w->latency_us == NULL) die("memory");
    }
    w->latency_us[w->latency_count++] = (uint32_t)(now_us() - c->started_us);
}

/* Reads what is there. True when the answer is whole. */
static bool answer_read(connection *c) {
    while (true) {
        ssize_t n =
            recv(c->fd, c->answer + c->answer_len, ANSWER_MAX - 1 - c->answer_len, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
        if (n < 0) die("recv");
        if (n == 0) {
            errno = ECONNRESET;
            die("the server closed a connection");
        }
        c->answer_len += (size_t)n;
        c->answer[c->answer_len] = 0;
        if (answer_whole(c->answer, c->answer_len)) return true;
        if (c->answer_len == ANSWER_MAX - 1) die("an answer is too long");
    }
}

static void watch(int poll_fd, connection *c, bool write, int op) {
    struct epoll_event e = {.events = write ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll_fd, op, c->fd, &e) != 0) die("epoll_ctl");
}

static void *worker_run(void *arg) {
    worker *w = arg;
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    connection *all = calloc(w->connections, sizeof *all);
    if (poll_fd < 0 || all == NULL) die("starting a worker");
    unsigned busy = 0;
    for (unsigned i = 0; i < w->connections; i++) {
        connection *c = &all[i];
        c->number = w->number * 100000 + i;
        c->fd = connect_to_server();
        if (!request_begin(c)) continue;
        watch(poll_fd, c, !request_send(c), EPOLL_CTL_ADD);
        busy++;
    }
    struct epoll_event events[256];
    while (busy > 0) {
        int n = epoll_wait(poll_fd, events, 256, 1000);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        if (!opt.count && now_us() >= finish_us) atomic_store(&time_over, true);
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                if (request_send(c)) watch(poll_fd, c, false, EPOLL_CTL_MOD);
                continue;
            }
            if (!answer_read(c)) continue;
            note(w, c);
            if (!request_begin(c))
                busy--;
            else if (!request_send(c))
                watch(poll_fd, c, true, EPOLL_CTL_MOD);
        }
    }
    for (unsigned i = 0; i < w->connections; i++) close(all[i].fd);
    free(all);
    close(poll_fd);
    return NULL;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int run_writes(void) {
    body = malloc(opt.size + 1);
    if (body == NULL) die("memory");
    uint64_t x = 88172645463325252ull;
    for (size_t i = 0; i < opt.size; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        body[i] = (uint8_t)x;
    }
    worker *workers = calloc(opt.threads, sizeof *workers);
    if (workers == NULL) die("memory");
    uint64_t start = now_us();
    finish_us = start + (uint64_t)(opt.seconds * 1e6);
    for (unsigned i = 0; i < opt.threads; i++) {
        workers[i].number = i;
        workers[i].connections = opt.connections / opt.threads;
        if (pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) != 0) die("thread");
    }
    uint64_t done = 0, failed = 0;
    size_t samples = 0;
    for (unsigned i = 0; i < opt.threads; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
        failed += workers[i].failed;
        samples += workers[i].latency_count;
    }
    double seconds = (double)(now_us() - start) / 1e6;
    uint32_t *latency = calloc(samples + 1, sizeof *latency);
    if (latency == NULL) die("memory");
    size_t at = 0;
    for (unsigned i = 0; i < opt.threads; i++) {
        memcpy(latency + at, workers[i].latency_us, workers[i].latency_count * sizeof *latency);
        at += workers[i].latency_count;
        free(workers[i].latency_us);
    }
    qsort(latency, samples, sizeof *latency, by_value);
    printf("{\"requests\": %llu, \"failed\": %llu, \"seconds\": %.4f, \"per_second\": %.1f, "
           "\"bytes_per_second\": %.0f, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u}\n",
           (unsigned long long)done, (unsigned long long)failed, seconds, (double)done / seconds,
           (double)done * (double)opt.size / seconds, latency[samples / 2],
           latency[samples * 99 / 100], latency[samples ? samples - 1 : 0]);
    free(latency);
    free(workers);
    free(body);
    return failed ? 1 : 0;
}

/* ---- listing ---- */

/* One GET, its whole answer in `buffer` (NUL-terminated). */
static size_t get_page(int fd, const char *request, size_t len, char *buffer) {
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, request + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0) die("send");
        sent += (size_t)n;
    }
    size_t have = 0, whole = 0;
    while (whole == 0) {
        if (have == PAGE_MAX - 1) die("a page is too long");
        ssize_t n = recv(fd, buffer + have, PAGE_MAX - 1 - have, 0);
        if (n <= 0) die("recv");
        have += (size_t)n;
        buffer[have] = 0;
        whole = answer_whole(buffer, have);
    }
    if (strncmp(buffer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "load: %.2000s\n", buffer);
        exit(1);
    }
    return whole;
}

/* A marker as a query value: everything but letters and digits percent-encoded. */
static void take_marker(const char *page, char *out, size_t cap) {
    const char *p = strstr(page, "<NextMarker>");
    *out = 0;
    if (p == NULL) return;
    size_t n = 0;
    for (p += 12; *p && *p != '<'; p++) {
        if (n + 4 > cap) die("a marker is too long");
        n += (size_t)snprintf(out + n, cap - n,
                              strchr("-_.", *p) || (*p >= '0' && *p <= '9') ||
                                      ((*p | 32) >= 'a' && (*p | 32) <= 'z')
                                  ? "%c"
                                  : "%%%02X",
                              (unsigned char)*p);
    }
}

static int run_list(void) {
    int fd = connect_to_server();
    char *buffer = malloc(PAGE_MAX), marker[8192] = "", request[12288];
    if (buffer == NULL) die("memory");
    uint64_t names = 0, start = now_us(), bytes = 0, pages = 0;
    printf("{\"pages_us\": [");
    do {
        int n = snprintf(request, sizeof request,
                         "GET %s?restype=container&comp=list&maxresults=5000%s%s&%s HTTP/1.1\r\n"
                         "Host: 127.0.0.1:%u\r\nx-ms-version: 2021-12-02\r\n\r\n",
                         opt.path, *marker ? "&marker=" : "", marker, opt.query, opt.port);
        if (n < 0 || (size_t)n >= sizeof request) die("a request is too long");
        uint64_t page_start = now_us();
        bytes += get_page(fd, request, (size_t)n, buffer);
        printf("%s%llu", pages++ ? ", " : "", (unsigned long long)(now_us() - page_start));
        for (const char *p = buffer; (p = strstr(p, "<Name>")) != NULL; p += 6) names++;
        take_marker(buffer, marker, sizeof marker);
    } while (*marker && (opt.count == 0 || pages < opt.count));
    double seconds = (double)(now_us() - start) / 1e6;
    printf("], \"pages\": %llu, \"names\": %llu, \"bytes\": %llu, \"seconds\": %.4f, "
           "\"per_second\": %.1f}\n",
           (unsigned long long)pages, (unsigned long long)names, (unsigned long long)bytes, seconds,
           (double)names / seconds);
    free(buffer);
    close(fd);
    return 0;
}

/* ---- idle connections ---- */

static int run_idle(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int *fds = calloc(opt.connections, sizeof *fds);
    char request[2048], answer[ANSWER_MAX];
    if (fds == NULL) die("memory");
    int len = snprintf(request, sizeof request,
                       "HEAD %s?restype=container&%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                       "x-ms-version: 2021-12-02\r\n\r\n",
                       opt.path, opt.query, opt.port);
    unsigned good = 0;
    for (unsigned round = 0; round < 2; round++) { /* the second asks whether all still answer */
        good = 0;
        for (unsigned i = 0; i < opt.connections; i++) {
            if (round == 0) fds[i] = connect_to_server();
            if (send(fds[i], request, (size_t)len, MSG_NOSIGNAL) != len) continue;
            ssize_t n = recv(fds[i], answer, sizeof answer, 0);
            if (n >= 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0) good++;
        }
        printf("{\"%s\": %u}\n", round ? "still_answering" : "held", good);
        fflush(stdout);
        if (round == 0) (void)getchar();
    }
    for (unsigned i = 0; i < opt.connections; i++) close(fds[i]);
    free(fds);
    return good == opt.connections ? 0 : 1;
}

static const char usage[] =
    "usage: load put|block|list|idle PORT PATH QUERY [--size N] [--connections C] "
    "[--threads T] [--seconds S] [--count N] [--prefix P] [--first N]\n";

int main(int argc, char **argv) {
    if (argc < 5 || argc % 2 == 0) {
        fputs(usage, stderr);
        return 2;
    }
    opt.mode = argv[1];
    opt.port = (uint16_t)atoi(argv[2]);
    opt.path = argv[3];
    opt.query = argv[4];
    for (int i = 5; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--size") == 0)
            opt.size = strtoull(value, NULL, 10);
        else if (strcmp(name, "--connections") == 0)
            opt.connections = (unsigned)atoi(value);
        else if (strcmp(name, "--threads") == 0)
            opt.threads = (unsigned)atoi(value);
        else if (strcmp(name, "--seconds") == 0)
            opt.seconds = atof(value);
        else if (strcmp(name, "--count") == 0)
            opt.count = strtoull(value, NULL, 10);
        else if (strcmp(name, "--prefix") == 0)
            opt.prefix = value;
        else if (strcmp(name, "--first") == 0)
            opt.first = strtoull(value, NULL, 10);
        else {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (strcmp(opt.mode, "put") == 0 || strcmp(opt.mode, "block") == 0) return run_writes();
    if (strcmp(opt.mode, "list") == 0) return run_list();
    if (strcmp(opt.mode, "idle") == 0) return run_idle();
    fputs(usage, stderr);
    return 2;
}
