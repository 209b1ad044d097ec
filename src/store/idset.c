/* Sets of ids: open addressing, at most half full. */
#include "store/internal.h"

static size_t id_slot(const id_set *s, uint64_t id) {
    size_t i = (size_t)(id * 0x9e3779b97f4a7c15ull >> 20) & (s->room - 1);
    while (s->slots[i] && s->slots[i] != id) i = (i + 1) & (s->room - 1);
    return i;
}

void id_set_add(id_set *s, uint64_t id) {
    if (2 * (s->count + 1) > s->room) {
        id_set bigger = {.room = s->room ? 2 * s->room : 64};
        bigger.slots = calloc(bigger.room, sizeof *bigger.slots);
        MUST(bigger.slots);
        for (size_t i = 0; i < s->room; i++)
            if (s->slots[i]) bigger.slots[id_slot(&bigger, s->slots[i])] = s->slots[i];
        bigger.count = s->count;
        free(s->slots);
        *s = bigger;
    }
    size_t i = id_slot(s, id);
    if (!s->slots[i]) s->count++;
    s->slots[i] = id;
}

bool id_set_has(const id_set *s, uint64_t id) {
    return s->room && s->slots[id_slot(s, id)] == id;
}

void id_set_clear(id_set *s) {
    free(s->slots);
    *s = (id_set){0};
}
