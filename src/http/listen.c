/* Listening sockets. They are made here, not by libmicrohttpd, so that what is wrong with an
 * address can be said. */
#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"
#include "http/internal.h"

#define BACKLOG 4096 /* the system lowers it to net.core.somaxconn */

static err open_socket(int family, int *ret) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_fail_errno(ERR_CONFIG, errno, "cannot open a socket");
    *ret = fd;
    return OK;
}

static err start_listening(int fd, const struct addrinfo *ai, const char *shown) {
    int yes = 1, no = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    if (ai->ai_family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        if (errno == EADDRINUSE)
            return err_fail(ERR_IN_USE,
                            "%s is in use by another program; stop it or choose another port",
                            shown);
        return err_fail_errno(ERR_CONFIG, errno, "cannot listen on %s", shown);
    }
    return OK;
}

err http_listen_tcp(const char *address, uint16_t port, int *ret_fd) {
    char shown[128], number[8];
    bool six = strchr(address, ':') != NULL;
    snprintf(number, sizeof(number), "%u", port);
    snprintf(shown, sizeof(shown), six ? "[%s]:%s" : "%s:%s", address, number);
    struct addrinfo *ai = NULL, hints = {.ai_family = AF_UNSPEC,
                                         .ai_socktype = SOCK_STREAM,
                                         .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    int g =
        getaddrinfo(strcmp(address, "localhost") == 0 ? "127.0.0.1" : address, number, &hints, &ai);
    ENSURE(g == 0, ERR_CONFIG, "'%s' is not an IP address to listen on", address);
    int fd = -1;
    err e = open_socket(ai->ai_family, &fd);
    if (e == OK) e = start_listening(fd, ai, shown);
    freeaddrinfo(ai);
    if (e != OK) {
        if (fd >= 0) close(fd);
        return e;
    }
    *ret_fd = fd;
    return OK;
}

/* A socket file that nobody answers on is left over from a server that died: it goes. */
static err clear_stale(const struct sockaddr_un *to) {
    struct stat st;
    if (lstat(to->sun_path, &st) != 0) return OK;
    ENSURE(S_ISSOCK(st.st_mode), ERR_CONFIG, "%s is there and is not a socket", to->sun_path);
    int fd;
    TRY(open_socket(AF_UNIX, &fd));
    int c = connect(fd, (const struct sockaddr *)to, sizeof(*to));
    int why = errno;
    close(fd);
    ENSURE(c != 0 && why != EAGAIN, ERR_IN_USE, "%s is in use by another server", to->sun_path);
    if (unlink(to->sun_path) != 0)
        return err_fail_errno(ERR_CONFIG, errno, "cannot remove %s", to->sun_path);
    return OK;
}

err http_listen_unix(const char *path, int *ret_fd) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    ENSURE(len > 0 && len < sizeof(to.sun_path), ERR_CONFIG,
           "the socket path %s is longer than %zu bytes", path, sizeof(to.sun_path) - 1);
    memcpy(to.sun_path, path, len + 1);
    TRY(clear_stale(&to));
    int fd;
    TRY(open_socket(AF_UNIX, &fd));
    /* Nobody can connect between bind and listen: the mode is right before the first may. */
    if (bind(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 && chmod(path, 0600) == 0 &&
        listen(fd, BACKLOG) == 0) {
        *ret_fd = fd;
        return OK;
    }
    err e = err_fail_errno(ERR_CONFIG, errno, "cannot listen on %s", path);
    close(fd);
    return e;
}
