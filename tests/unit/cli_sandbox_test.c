/* What a process in the sandbox can still do and what it cannot, each tried in a child of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

enum { SANDBOX_OFF = 77, SANDBOX_FAILED = 78 };

/* Runs what in a sandboxed child and returns how that ended, as waitpid says it. -1: no sandbox in this build. */
static int in_sandbox(int (*what)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool on;
        if (cli_sandbox(&on) != OK) _exit(SANDBOX_FAILED);
        _exit(on ? what() : SANDBOX_OFF);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == SANDBOX_OFF ? -1 : status;
}

static void assert_ends(int (*what)(void), int code) {
    int status = in_sandbox(what);
    if (status == -1) skip();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void assert_killed(int (*what)(void)) {
    int status = in_sandbox(what);
    if (status == -1) skip();
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- what goes on ---- */

static int writes_a_file(void) {
    char path[] = "/tmp/strongroom-sandbox-XXXXXX";
    int fd = mkstemp(path);
    bool fine = fd >= 0 && pwrite(fd, "x", 1, 4096) == 1 && fdatasync(fd) == 0 &&
                fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0 &&
                unlink(path) == 0;
    return fine ? 0 : 1;
}
static void *a_thread(void *p) {
    return p;
}
static int starts_a_thread(void) {
    pthread_t t;
    void *got = NULL;
    int here = 0;
    return pthread_create(&t, NULL, a_thread, &here) == 0 && pthread_join(t, &got) == 0 &&
                   got == &here
               ? 0
               : 1;
}
static int finds_a_name(void) {
    struct addrinfo *found = NULL;
    int r = getaddrinfo("localhost", "80", NULL, &found);
    if (r == 0) freeaddrinfo(found);
    return r == 0 ? 0 : 1;
}
static int aborts(void) {
    abort();
}

static void test_serving_goes_on(void **state) {
    (void)state;
    assert_ends(writes_a_file, 0);
    assert_ends(starts_a_thread, 0);
    assert_ends(finds_a_name, 0);
}
static void test_a_defect_still_aborts(void **state) {
    (void)state;
    int status = in_sandbox(aborts);
    if (status == -1) skip();
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- what does not ---- */

static int runs_a_program(void) {
    execl("/bin/true", "true", (char *)NULL);
    return 0;
}
static int traces(void) {
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}
static int becomes_another(void) {
    return setuid(65534);
}
static int enters_a_namespace(void) {
    return (int)syscall(SYS_unshare, 0);
}
static void test_killed_for(void **state) {
    (void)state;
    assert_killed(runs_a_program);
    assert_killed(traces);
    assert_killed(becomes_another);
    assert_killed(enters_a_namespace);
}

/* The error of a call that has to fail; 0 when it did not. */
static int refused(long r) {
    return r < 0 ? errno : 0;
}
static int makes_a_process(void) {
    return refused(fork());
}
static int opens_a_raw_socket(void) {
    return refused(socket(AF_PACKET, SOCK_RAW, 0));
}
static int maps_memory_to_write_and_run(void) {
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}
static int makes_memory_run_that_it_writes(void) {
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? 0 : refused(mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
}
static int signals_another(void) {
    return refused(syscall(SYS_tgkill, getppid(), getppid(), 0));
}
static int can_be_dumped_again(void) {
    return refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int makes_a_file_without_a_name(void) {
    return refused(syscall(SYS_memfd_create, "x", 0));
}
static void test_refused(void **state) {
    (void)state;
    int (*const all[])(void) = {makes_a_process,
                                opens_a_raw_socket,
                                maps_memory_to_write_and_run,
                                signals_another,
                                can_be_dumped_again,
                                makes_memory_run_that_it_writes,
                                makes_a_file_without_a_name};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) assert_ends(all[i], ENOSYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serving_goes_on), cmocka_unit_test(test_a_defect_still_aborts),
        cmocka_unit_test(test_killed_for), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
