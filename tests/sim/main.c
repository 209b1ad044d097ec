/* Runs seeds. sim.h says what one is.
 *
 *   sim [--first N] [--count N] [--jobs N] [--folder DIR]   0 when all passed
 *       --seed N      one, telling each operation; --calls: and each call
 *       --busy        all threads run, as of one seed in eight
 *       --twice       each twice, and the same must happen
 *       --forever     until stopped
 *       --lie NAME    plants a fault: syncs of files with NAME in theirs do nothing */
#include "sim.h"

#include <errno.h>
#include <ftw.h>
#include <sys/mman.h>
#include <time.h>

sim *S_;
const char *root_;
fault_plan *plan_;
bool trace_;

#define REGION_BYTES   (4ull << 30)
#define LIFE_SECONDS   120
#define FAILURES_MAX   5
#define JOBS_MAX       64
#define FIRST_CLOCK_US 1790000000000000ll

typedef struct totals { /* shared by the jobs */
    atomic_ullong seeds, births, lives, cuts, kills, stops, operations, acknowledged, refused,
        injected, readonly, spoiled, failures, repeated;
} totals;

static totals *all;
static const char *lie_;
static bool calls_, busy_;
static char folder_[128], path_[160];

static void *shared(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED);
    return p;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *w) {
    (void)st, (void)kind, (void)w;
    return remove(path);
}

static void remove_folder(const char *path) {
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs fn in a process of its own; its exit status, or minus the signal that ended it. */
static int apart(void (*fn)(void)) {
    fflush(NULL);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        alarm(LIFE_SECONDS);
        if (!trace_) log_setup(-1, LOG_ERROR, true);
        fn();
    }
    int status = 0;
    MUST(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- the folder that lives begin with, one a kind of settings ---- */

typedef struct base {
    uint8_t *region;
    size_t len;
} base;
static base bases[4];

static uint8_t *empty; /* the region without a disk */
static size_t empty_len;

static void no_disk(void) {
    if (empty == NULL) {
        empty_len = region_used();
        empty = malloc(empty_len);
        MUST(empty != NULL);
        region_save(empty);
    }
    region_load(empty, empty_len);
    disk_open();
    disk_in_order("MANIFEST"); /* docs/decisions/0023-faults.md: what RocksDB does not bear */
    remove_folder(path_);
}

static void make_base(base *b) {
    no_disk();
    S_->calm = true;
    const int status = apart(sim_make);
    if (status != LIFE_ENDED) {
        fprintf(stderr, "sim: no folder could be made: %d %s\n", status, S_->failure);
        exit(2);
    }
    S_->calm = false;
    disk_load(path_);
    b->len = region_used();
    b->region = malloc(b->len);
    MUST(b->region != NULL);
    region_save(b->region);
}

static void start_over(void) {
    base *b = &bases[S_->versioning * 2 + S_->soft];
    if (b->region == NULL) make_base(b);
    remove_folder(path_);
    region_load(b->region, b->len);
    MUST(mkdir(path_, 0700) == 0);
    disk_restore(path_, true);
}

/* ---- what is to happen ---- */

static void choose_rules(rng *r) {
    static const char *const names[] = {"",     "",         "vault", "extents/",
                                        ".log", "MANIFEST", ".sst",  "CURRENT"};
    memset(S_->rules, 0, sizeof S_->rules);
    S_->rules_at_once = false;
    if (rng_below(r, 5) < 3) return;
    const size_t count = 1 + (rng_below(r, 4) == 0);
    for (size_t i = 0; i < count; i++) {
        fault_rule *x = &S_->rules[i];
        static const uint32_t kinds[] = {FAULT_WRITE,
                                         FAULT_WRITE,
                                         FAULT_SYNC,
                                         FAULT_SYNC,
                                         FAULT_SYNC,
                                         FAULT_OPEN,
                                         FAULT_ALLOCATE | FAULT_TRUNCATE,
                                         FAULT_PUNCH,
                                         FAULT_RENAME | FAULT_UNLINK,
                                         FAULT_READ,
                                         FAULT_CHANGES};
        x->calls = kinds[rng_below(r, ARRAY_LEN(kinds))];
        x->error = rng_below(r, 3) ? EIO : x->calls == FAULT_WRITE ? FAULT_SHORT : ENOSPC;
        if (x->calls == FAULT_SYNC) x->error = rng_below(r, 3) ? EIO : ENOSPC;
        x->countdown = 1 + rng_below(r, rng_below(r, 2) ? 6 : 120);
        x->sticky = rng_below(r, 4) == 0;
        snprintf(x->match, sizeof x->match, "%s", names[rng_below(r, ARRAY_LEN(names))]);
    }
    S_->rules_at_once = rng_below(r, 4) == 0;
}

static void choose_life(rng *r) {
    S_->calm = false;
    S_->steps = (int)(3 + rng_below(r, 40));
    S_->end = rng_below(r, 3) ? LIFE_KILL : LIFE_CLOSE;
    *plan_ = (fault_plan){
        .magic = FAULT_MAGIC, .seed = rng_next(r), .cut_kind = (uint32_t)rng_below(r, CUT_KINDS)};
    const size_t changes = 30 + (size_t)S_->steps * (S_->busy ? 20 : 7);
    if (rng_below(r, 5) < 3) plan_->cut_at = 1 + rng_below(r, changes);
    choose_rules(r);
}

static void be_calm(int steps) {
    memset(S_->rules, 0, sizeof S_->rules);
    S_->rules_at_once = false;
    S_->calm = true;
    S_->steps = steps;
    S_->end = LIFE_CLOSE;
    *plan_ = (fault_plan){.magic = FAULT_MAGIC};
}

/* ---- a seed ---- */

static bool failed(uint64_t seed, int life, int status) {
    atomic_fetch_add(&all->failures, 1);
    char name[32] = "";
    if (status < 0) snprintf(name, sizeof name, "ended by signal %d", -status);
    if (status > 0 && status != LIFE_FAILED) snprintf(name, sizeof name, "exit status %d", status);
    fprintf(stderr, "sim: seed %llu, life %d: FAILED: %s%s\n", (unsigned long long)seed, life, name,
            S_->failure);
    return false;
}

static void power_goes(uint64_t seed) {
    atomic_fetch_add(&all->cuts, 1);
    if (trace_)
        fprintf(stderr, "  the power goes, %llu bytes unsynced, kind %u\n",
                (unsigned long long)disk_unsynced(), plan_->cut_kind);
    disk_power_cut(seed, (disk_cut)plan_->cut_kind);
    disk_restore(path_, false);
}

static void lie(void) {
    plan_->no_space_is_io = 1;
    if (lie_ == NULL) return;
    plan_->lie = 1;
    snprintf(plan_->lie_about, sizeof plan_->lie_about, "%s", lie_);
}

static bool live_once(uint64_t seed, int life, uint64_t *digest) {
    lie();
    plan_->tell = calls_;
    if (trace_)
        fprintf(stderr,
                "  life %d: %d steps, cut at %llu, rule: calls %x error %d countdown %llu sticky "
                "%u %s\n",
                life, S_->steps, (unsigned long long)plan_->cut_at, S_->rules[0].calls,
                S_->rules[0].error, (unsigned long long)S_->rules[0].countdown, S_->rules[0].sticky,
                S_->rules[0].match);
    const int status = apart(sim_live);
    atomic_fetch_add(&all->lives, 1);
    atomic_fetch_add(&all->injected, plan_->injected);
    if (trace_)
        fprintf(stderr, "  ended with %d after %llu changes, the disk is %016llx\n", status,
                (unsigned long long)plan_->changes, (unsigned long long)disk_digest());
    if (status != LIFE_ENDED && status != LIFE_STOPPED && status != LIFE_CUT &&
        status != LIFE_KILLED)
        return failed(seed, life, status);
    if (S_->calm && status != LIFE_ENDED) return failed(seed, life, status);
    if (status == LIFE_KILLED) atomic_fetch_add(&all->kills, 1);
    if (status == LIFE_STOPPED) atomic_fetch_add(&all->stops, 1);
    const uint64_t what = fault_mix(seed, (uint64_t)life);
    if (status == LIFE_CUT || what % 2 || S_->calm) power_goes(what);
    *digest = fault_mix(*digest ^ disk_digest() ^ S_->digest,
                        fault_mix((uint64_t)status, plan_->changes));
    return true;
}

/* The folder is made on a disk that fails and loses power: tried again until it is there. */
static bool be_born(rng *r, uint64_t seed) {
    no_disk();
    MUST(mkdir(path_, 0700) == 0);
    for (int attempt = 0;; attempt++) {
        const bool last = attempt == 4;
        *plan_ = (fault_plan){.magic = FAULT_MAGIC,
                              .seed = rng_next(r),
                              .cut_kind = (uint32_t)rng_below(r, CUT_KINDS),
                              .cut_at = last ? 0 : 1 + rng_below(r, 160)};
        choose_rules(r);
        if (last) memset(S_->rules, 0, sizeof S_->rules);
        lie();
        plan_->tell = calls_;
        const int status = apart(sim_be_born);
        atomic_fetch_add(&all->births, 1);
        atomic_fetch_add(&all->injected, plan_->injected);
        if (trace_) fprintf(stderr, "  being made ended with %d\n", status);
        if (status != LIFE_ENDED && status != LIFE_STOPPED && status != LIFE_CUT)
            return failed(seed, -1, status);
        if (status == LIFE_CUT || rng_below(r, 2)) power_goes(fault_mix(seed, (uint64_t)attempt));
        if (status == LIFE_ENDED) return true;
        if (last) return failed(seed, -1, status);
    }
}

static bool run_seed(uint64_t seed, uint64_t *digest) {
    rng r = {seed};
    memset(S_, 0, sizeof *S_);
    S_->versioning = rng_below(&r, 2);
    S_->soft = rng_below(&r, 2);
    atomic_store(&S_->clock_us, FIRST_CLOCK_US);
    S_->random = (rng){rng_next(&r)};
    const bool born = seed % 16 == 5;
    if (!born) start_over();
    S_->failure[0] = 0;
    S_->busy = busy_ || seed % 8 == 7;
    S_->scoped = seed % 4 == 3;
    S_->seed = seed;
    atomic_store(&S_->chance, 0);
    atomic_store(&S_->clock_us, FIRST_CLOCK_US);
    world_init(&S_->now);
    *digest = seed;
    const int lives = (int)(1 + rng_below(&r, 4));
    int life = 0;
    bool good = !born || be_born(&r, seed);
    for (; good && life < lives; life++) {
        choose_life(&r);
        good = live_once(seed, life, digest);
    }
    for (int i = 0; good && i < 2;
         i++, life++) { /* also what was closed survives the power going */
        be_calm(i == 0 ? (int)rng_below(&r, 10) : 0);
        good = live_once(seed, life, digest);
    }
    atomic_fetch_add(&all->seeds, 1);
    atomic_fetch_add(&all->operations, S_->operations);
    atomic_fetch_add(&all->acknowledged, S_->acknowledged);
    atomic_fetch_add(&all->refused, S_->refused);
    atomic_fetch_add(&all->readonly, S_->readonly);
    atomic_fetch_add(&all->spoiled, S_->spoiled);
    return good;
}

/* How often a seed may differ: RocksDB removes logs that it needs no more in a thread of its own, before or after the
 * power goes, and the next start reads those that are there. A seed that is different each time is a defect. */
#define ATTEMPTS 3

static bool run_twice(uint64_t seed) {
    uint64_t first, second;
    if (!run_seed(seed, &first)) return false;
    if (S_->busy) return true;
    for (int i = 0; i < ATTEMPTS; i++, first = second) {
        if (!run_seed(seed, &second)) return false;
        if (first != second) continue;
        atomic_fetch_add(&all->repeated, 1);
        return true;
    }
    atomic_fetch_add(&all->failures, 1);
    fprintf(stderr, "sim: seed %llu: did not happen the same way twice\n",
            (unsigned long long)seed);
    return false;
}

/* ---- all of them ---- */

typedef struct wanted {
    uint64_t first, count;
    int jobs;
    bool twice, forever;
} wanted;

static void tell(const wanted *w, double seconds) {
    printf("sim: %llu seeds from %llu on, %llu folders made, %llu lives: %llu operations (%llu "
           "acknowledged, %llu "
           "not), %llu faults "
           "injected, %llu power cuts, %llu kills, %llu stores turned read-only, %llu stopped, "
           "%llu rows spoiled and mended; ",
           all->seeds, (unsigned long long)w->first, all->births, all->lives, all->operations,
           all->acknowledged, all->refused, all->injected, all->cuts, all->kills, all->readonly,
           all->stops, all->spoiled);
    if (w->twice) printf("%llu happened the same way twice; ", all->repeated);
    printf("%llu failures; %.0f s\n", all->failures, seconds);
    fflush(stdout);
}

static double now_s(void) {
    return (double)clock_mono_us() / 1e6;
}

static void work(const wanted *w, int number) {
    snprintf(path_, sizeof path_, "%s/%d", folder_, number);
    root_ = path_;
    region_open(REGION_BYTES, true);
    S_ = shared(sizeof *S_);
    plan_ = shared(sizeof *plan_);
    const double begun = now_s();
    double said = begun;
    for (uint64_t i = (uint64_t)number; w->forever || i < w->count; i += (uint64_t)w->jobs) {
        uint64_t digest;
        (void)(w->twice ? run_twice(w->first + i) : run_seed(w->first + i, &digest));
        if (all->failures >= FAILURES_MAX) break;
        if (number == 0 && w->forever && now_s() - said > 10) {
            said = now_s();
            printf("sim: at seed %llu\n", (unsigned long long)(w->first + i));
            tell(w, said - begun);
        }
    }
    remove_folder(path_);
    _exit(0);
}

static uint64_t number_of(const char *text) {
    uint64_t v = 0;
    if (text == NULL || slice_u64(slice_str(text), &v) != OK) {
        fprintf(stderr, "sim: a number is missing\n");
        exit(2);
    }
    return v;
}

static wanted arguments(char **argv) {
    wanted w = {.first = 1, .count = 100, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    for (; *argv; argv++) {
        const slice a = slice_str(*argv);
        if (slice_eq(a, S("--first")))
            w.first = number_of(*++argv);
        else if (slice_eq(a, S("--count")))
            w.count = number_of(*++argv);
        else if (slice_eq(a, S("--jobs")))
            w.jobs = (int)number_of(*++argv);
        else if (slice_eq(a, S("--folder")))
            snprintf(folder_, sizeof folder_, "%s", *++argv ? *argv : "");
        else if (slice_eq(a, S("--lie")))
            lie_ = *++argv;
        else if (slice_eq(a, S("--calls")))
            calls_ = true;
        else if (slice_eq(a, S("--busy")))
            busy_ = true;
        else if (slice_eq(a, S("--twice")))
            w.twice = true;
        else if (slice_eq(a, S("--forever")))
            w.forever = true;
        else if (slice_eq(a, S("--seed")))
            trace_ = true, w.jobs = 1, w.count = 1, w.first = number_of(*++argv);
        else {
            fprintf(stderr, "sim: %s? See the top of tests/sim/main.c.\n", *argv);
            exit(2);
        }
    }
    if (w.jobs < 1 || w.jobs > JOBS_MAX) w.jobs = 1;
    return w;
}

static volatile sig_atomic_t stopped;
static pid_t jobs[JOBS_MAX];

static void stop(int signal) {
    (void)signal;
    stopped = 1;
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (jobs[i] > 0) kill(jobs[i], SIGKILL);
}

int main(int argc, char **argv) {
    (void)argc;
    const wanted w = arguments(argv + 1);
    if (folder_[0] == 0) /* memory: what counts as synced is the model's business, not the disk's */
        snprintf(folder_, sizeof folder_, "%s/strongroom-sim-%d",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", getpid());
    MUST(mkdir(folder_, 0700) == 0);
    all = shared(sizeof *all);
    const double begun = now_s();
    for (int i = 0; i < w.jobs; i++) {
        jobs[i] = fork();
        MUST(jobs[i] >= 0);
        if (jobs[i] == 0) work(&w, i);
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    for (int i = 0, status; i < w.jobs; i++) {
        while (waitpid(jobs[i], &status, 0) < 0) continue;
        if (!stopped && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
            atomic_fetch_add(&all->failures, 1);
    }
    tell(&w, now_s() - begun);
    remove_folder(folder_);
    return all->failures != 0;
}
