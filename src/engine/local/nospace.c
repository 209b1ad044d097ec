/* fsync and fdatasync of this program and the libraries in it, RocksDB above all: as libc's, but ENOSPC is EIO.
 *
 * Why. What a failed sync lost is unknown, whatever the reason. RocksDB knows that of EIO and takes no further
 * change. After ENOSPC it mends itself, on a thread of its own and before its caller has the error: it syncs the same
 * log again, begins another and writes its tables one after the other. The refused batch may still stand in the log,
 * and after a restart is read again for those tables only that had not been written: half of a transaction. Its C API
 * has no switch for that; docs/decisions/0023-faults.md tells how it was found.
 *
 * How. A name that the executable defines is taken before libc's, also by shared libraries. What comes next
 * (libc's, or that of a preloaded library) is asked for by dlsym. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/base.h"

typedef int sync_call(int fd);

static int call_next(sync_call *_Atomic *next, const char *name, int fd) {
    sync_call *fn = atomic_load_explicit(next, memory_order_relaxed);
    if (fn == NULL) {
        void *found = dlsym(RTLD_NEXT, name);
        MUST(found != NULL);
        memcpy(&fn, &found, sizeof fn);
        atomic_store_explicit(next, fn, memory_order_relaxed);
    }
    const int r = fn(fd);
    if (r < 0 && (errno == ENOSPC || errno == EDQUOT)) errno = EIO;
    return r;
}

int fdatasync(int fd) {
    static sync_call *_Atomic next;
    return call_next(&next, "fdatasync", fd);
}

int fsync(int fd) {
    static sync_call *_Atomic next;
    return call_next(&next, "fsync", fd);
}
