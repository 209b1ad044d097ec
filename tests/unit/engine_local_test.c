/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/local/private.h"
#include "engine_suite.h"

static char folder[64]; /* of this process; removed at the end */
static local_tune tune;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_folder(void) {
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static err open_tuned(bool fresh, engine **ret) {
    if (fresh) remove_folder();
    const engine_local_options o = {.path = folder, .create = fresh, .cache_bytes = 32 << 20};
    return engine_local_open_tuned(&o, &tune, ret);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/engine-test-%ld", (long)getpid());
    log_setup(STDERR_FILENO, LOG_ERROR, true);
    int failed = engine_suite_run("engine/local", open_tuned);
    /* Small extents and runs: everything happens at every size. */
    tune = (local_tune){
        .extent_bytes = 1 << 20, .run_bytes_max = 256 << 10, .run_step_first = 64 << 10};
    failed += engine_suite_run("engine/local, small extents", open_tuned);
    remove_folder();
    return failed;
}
