/* libfaults.so: the faulty disk under a real program.
 *
 *   LD_PRELOAD=build/libfaults.so FAULTS_ROOT=DATA-FOLDER FAULTS_CONTROL=FILE build/strongroom serve …
 *
 * FILE holds a fault_plan (faults.h), which is mapped by the program and by whoever tests it: rules can be set and
 * counters read while it runs; cut_now = 1 takes the power away. Then the files under the folder are made what a
 * power cut would have left, and the process ends as if killed. What stands in the folder when the program starts counts
 * as durable; so a process that was killed (and not cut off) loses nothing.
 *
 * Without FAULTS_ROOT it does nothing. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"

#define REGION_BYTES (64ull << 30) /* of addresses; memory is taken as it is needed */

static fault_plan *plan;
static char root[FAULT_PATH_MAX];

static void power_goes(void) {
    plan->is_cut = 1;
    disk_power_cut(plan->seed, (disk_cut)(plan->cut_kind % CUT_KINDS));
    disk_restore(root, false);
    (void)syscall(SYS_exit_group, 137);
}

/* So that an idle program is cut off too. */
static void *watch(void *arg) {
    (void)arg;
    const struct timespec pause = {0, 1000000};
    while (plan->cut_now == 0) nanosleep(&pause, NULL);
    faults_stop_here(power_goes);
    return NULL;
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULTS_ROOT"), *control = getenv("FAULTS_CONTROL");
    pthread_t thread;
    if (folder == NULL || control == NULL) return;
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) abort();
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (plan == MAP_FAILED || plan->magic != FAULT_MAGIC) abort();
    (void)syscall(SYS_close, fd);
    fault_copy(root, folder);
    region_open(REGION_BYTES, false);
    disk_open();
    disk_in_order("MANIFEST");
    disk_load(root);
    faults_begin(root, plan, power_goes);
    if (pthread_create(&thread, NULL, watch, NULL) != 0) abort();
}
