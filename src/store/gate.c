/* The gate: who changes something counts itself in and out of the current phase; who waits turns
 * the phase over twice and waits each time for the phase left behind to empty. A change that read
 * the phase before a turn and counted itself after the wait has not looked at anything yet, so it
 * sees what the waiter did before it waited; the second turn waits for those that earlier waits let
 * pass. */
#include "store/internal.h"

#include <time.h>

void gate_init(gate *g) {
    memset(g, 0, sizeof *g);
    MUST(pthread_mutex_init(&g->waiting, NULL) == 0);
}

void gate_done(gate *g) {
    pthread_mutex_destroy(&g->waiting);
}

static _Atomic uint32_t next_lane;
static __thread uint32_t my_lane; /* 0: not chosen yet */

gate_token gate_enter(gate *g) {
    if (my_lane == 0) my_lane = 1 + atomic_fetch_add(&next_lane, 1) % GATE_LANES;
    gate_token t = {(uint8_t)(atomic_load(&g->phase) & 1), (uint8_t)(my_lane - 1)};
    atomic_fetch_add(&g->lanes[t.phase][t.lane].inside, 1);
    return t;
}

void gate_leave(gate *g, gate_token t) {
    atomic_fetch_sub(&g->lanes[t.phase][t.lane].inside, 1);
}

static bool empty(gate *g, unsigned phase) {
    for (int i = 0; i < GATE_LANES; i++)
        if (atomic_load(&g->lanes[phase][i].inside) != 0) return false;
    return true;
}

void gate_wait(gate *g) {
    pthread_mutex_lock(&g->waiting);
    for (int turn = 0; turn < 2; turn++) {
        unsigned old = atomic_fetch_add(&g->phase, 1) & 1;
        while (!empty(g, old)) nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    pthread_mutex_unlock(&g->waiting);
}
