/* What the running server may ask of the kernel: a seccomp(2) filter over every thread, from when it
 * listens to its end. It cannot be taken off again.
 *
 *   may             what serving takes: its files, its sockets, memory, threads, time
 *   may, narrowly   calls of which only some uses are needed; the arguments decide
 *   killed for      what only an intruder asks for: other programs, other processes, the kernel itself
 *   all others      ENOSYS, as from a kernel that does not have them: libraries then use what is older
 *
 * A list of what libraries do today is never whole: docs/decisions/0024-sandbox.md says how it was found. */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"

/* A sanitizer's runtime makes calls of its own; LeakSanitizer traces its process. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

#define FS_GETVERSION _IOR('v', 1, long) /* FS_IOC_GETVERSION: RocksDB tells files apart by it */

static const int may[] = {
    /* memory */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock),
    SCMP_SYS(munlock), SCMP_SYS(msync), SCMP_SYS(mincore),
    /* files */
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(write),
    SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(preadv),
    SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(lseek), SCMP_SYS(stat),
    SCMP_SYS(fstat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(fallocate), SCMP_SYS(ftruncate),
    SCMP_SYS(fadvise64), SCMP_SYS(readahead), SCMP_SYS(fcntl), SCMP_SYS(flock),
    SCMP_SYS(getdents64), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(rename),
    SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(link),
    SCMP_SYS(linkat), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(umask),
    SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(dup), SCMP_SYS(dup2),
    SCMP_SYS(dup3), SCMP_SYS(pipe2),
    /* sockets and waiting */
    SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
    SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg), SCMP_SYS(shutdown), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
    SCMP_SYS(pselect6), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(eventfd2),
    /* time */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(times),
    /* threads and signals */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(membarrier), SCMP_SYS(set_tid_address), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
    /* who and where this is */
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit), SCMP_SYS(getrandom)};

static const int killed_for[] = {SCMP_SYS(execve),
                                 SCMP_SYS(execveat),
                                 SCMP_SYS(fork),
                                 SCMP_SYS(vfork),
                                 SCMP_SYS(ptrace),
                                 SCMP_SYS(process_vm_readv),
                                 SCMP_SYS(process_vm_writev),
                                 SCMP_SYS(pidfd_getfd),
                                 SCMP_SYS(kcmp),
                                 SCMP_SYS(bpf),
                                 SCMP_SYS(perf_event_open),
                                 SCMP_SYS(userfaultfd),
                                 SCMP_SYS(io_uring_setup),
                                 SCMP_SYS(init_module),
                                 SCMP_SYS(finit_module),
                                 SCMP_SYS(delete_module),
                                 SCMP_SYS(kexec_load),
                                 SCMP_SYS(kexec_file_load),
                                 SCMP_SYS(reboot),
                                 SCMP_SYS(mount),
                                 SCMP_SYS(umount2),
                                 SCMP_SYS(pivot_root),
                                 SCMP_SYS(chroot),
                                 SCMP_SYS(open_by_handle_at),
                                 SCMP_SYS(setns),
                                 SCMP_SYS(unshare),
                                 SCMP_SYS(keyctl),
                                 SCMP_SYS(add_key),
                                 SCMP_SYS(request_key),
                                 SCMP_SYS(personality),
                                 SCMP_SYS(setuid),
                                 SCMP_SYS(setgid),
                                 SCMP_SYS(setreuid),
                                 SCMP_SYS(setregid),
                                 SCMP_SYS(setresuid),
                                 SCMP_SYS(setresgid),
                                 SCMP_SYS(setgroups),
                                 SCMP_SYS(capset)};

/* A call that is allowed when this argument is as said. */
typedef struct narrow {
    int call;
    struct scmp_arg_cmp arg;
} narrow;

static int allow_narrow(scmp_filter_ctx f, const narrow *n, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, n[i].call, 1, &n[i].arg);
        if (r < 0) return r;
    }
    return 0;
}

/* Memory that can be written and run at once is how injected code gets to run. Loading a library (a name
 * service's, when a copy's source is looked up) needs one after the other. */
static int allow_memory(scmp_filter_ctx f) {
    const uint64_t both = PROT_WRITE | PROT_EXEC;
    const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    const uint64_t kinds[] = {0, PROT_WRITE, PROT_EXEC};
    for (size_t c = 0; c < ARRAY_LEN(calls); c++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            const narrow n = {calls[c], SCMP_A2(SCMP_CMP_MASKED_EQ, both, kinds[k])};
            int r = allow_narrow(f, &n, 1);
            if (r < 0) return r;
        }
    return 0;
}

static int allow_some_uses(scmp_filter_ctx f) {
    const narrow some[] = {
        {SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET)},
        {SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET6)},
        {SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX)},
        {SCMP_SYS(socket),
         SCMP_A0(SCMP_CMP_EQ, AF_NETLINK)}, /* getaddrinfo asks for own addresses */
        {SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX)},
        /* Threads, not processes. clone3 keeps its flags where no filter sees them: without it glibc takes clone. */
        {SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
        {SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())}, /* abort */
        {SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0)},                   /* reading limits */
        {SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME)},
        {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONREAD)},
        {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONBIO)},
        {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, TCGETS)}, /* isatty */
        {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FS_GETVERSION)},
    };
    int r = allow_memory(f);
    return r < 0 ? r : allow_narrow(f, some, ARRAY_LEN(some));
}

static int add_all(scmp_filter_ctx f, uint32_t action, const int *calls, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int r = seccomp_rule_add(f, action, calls[i], 0);
        if (r < 0) return r;
    }
    return 0;
}

static int fill_and_load(scmp_filter_ctx f) {
    int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1); /* every thread, not this one only */
    if (r == 0) r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0) r = add_all(f, SCMP_ACT_ALLOW, may, ARRAY_LEN(may));
    if (r == 0) r = add_all(f, SCMP_ACT_KILL_PROCESS, killed_for, ARRAY_LEN(killed_for));
    if (r == 0) r = allow_some_uses(f);
    return r == 0 ? seccomp_load(f) : r;
}

err cli_sandbox(bool *ret_on) {
    *ret_on = !UNDER_SANITIZER;
    if (UNDER_SANITIZER) return OK;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    ENSURE(f != NULL, ERR_CONFIG, "sandbox: libseccomp cannot make a filter");
    int r = fill_and_load(f);
    seccomp_release(f);
    ENSURE(r == 0, ERR_CONFIG,
           "sandbox: the kernel took no seccomp filter (%s); where it has none, say sandbox: false",
           strerror(-r));
    return OK;
}
