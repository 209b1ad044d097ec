/* The check of page maps (pages.h): runs do not overlap and are shown by a state, and each piece's
 * count is the number of its pages that runs name. */
#include "store/check.h"

static page_tally *tally_of(page_check *pc, uint64_t piece) {
    size_t i = (size_t)(piece * 0x9e3779b97f4a7c15ull >> 20) & (pc->room - 1);
    while (pc->slots[i].piece && pc->slots[i].piece != piece) i = (i + 1) & (pc->room - 1);
    return &pc->slots[i];
}

static void tally_add(page_check *pc, uint64_t piece, uint64_t pages) {
    if (2 * (pc->count + 1) > pc->room) {
        page_check bigger = {.room = pc->room ? 2 * pc->room : 64};
        bigger.slots = calloc(bigger.room, sizeof *bigger.slots);
        MUST(bigger.slots);
        for (size_t i = 0; i < pc->room; i++)
            if (pc->slots[i].piece) *tally_of(&bigger, pc->slots[i].piece) = pc->slots[i];
        free(pc->slots);
        pc->slots = bigger.slots;
        pc->room = bigger.room;
    }
    page_tally *t = tally_of(pc, piece);
    if (!t->piece) pc->count++;
    t->piece = piece;
    t->pages += pages;
}

static bool is_current(const row_blob *current, uint64_t content) {
    return current && current->where == ROW_PAGES && current->pub.content_id == content;
}

static err enter_map(check *ck, page_check *pc, blob_key *key, char kind, uint64_t content) {
    if (pc->kind == kind && pc->content == content) return OK;
    pc->kind = kind;
    pc->content = content;
    pc->last_end = 0;
    return page_states_load(&pc->states, ck->s->engine, ck->group_mem, key, content, NULL);
}

err pages_run(check *ck, page_check *pc, blob_key *key, char kind, slice rest, slice value,
              const row_blob *current) {
    uint64_t content;
    page_run r;
    if (id_take(&rest, &content) != OK || page_run_decode(kind, rest, value, &r) != OK) {
        check_defect(ck, "a run of its pages is damaged: %s", err_detail());
        return OK;
    }
    err e = enter_map(ck, pc, key, kind, content);
    if (e == ERR_CORRUPT) return OK; /* reported with the row that is damaged */
    TRY(e);
    if (ck->k && !ck->k->purging && !page_shown(&pc->states, kind, &r))
        check_defect(ck, "pages %llu to %llu are of no state of the blob",
                     (unsigned long long)r.start, (unsigned long long)r.end - 1);
    if (kind == KEY_RUN) {
        if (r.start < pc->last_end)
            check_defect(ck, "two runs of pages overlap at offset %llu",
                         (unsigned long long)r.start);
        pc->last_end = r.end;
        if (is_current(current, content) && r.end > current->pub.length)
            check_defect(ck, "pages lie behind the end of the blob, at %llu",
                         (unsigned long long)r.end);
    }
    tally_add(pc, r.piece, (r.end - r.start) / STORE_PAGE_LEN);
    return OK;
}

void pages_piece(check *ck, page_check *pc, slice rest, slice value, row_page_piece *ret) {
    uint64_t content, id;
    *ret = (row_page_piece){0};
    if (id_take(&rest, &content) != OK || id_take(&rest, &id) != OK || rest.len ||
        row_page_piece_get(value, ret) != OK) {
        check_defect(ck, "a piece of its pages is damaged: %s", err_detail());
        *ret = (row_page_piece){0};
        return;
    }
    ret->piece.id = id;
    page_tally *t = pc->room ? tally_of(pc, id) : NULL;
    uint64_t named = t && t->piece ? t->pages : 0;
    if (named != ret->pages && ck->k && !ck->k->purging)
        check_defect(ck, "content %llu counts %llu pages, and runs name %llu",
                     (unsigned long long)id, (unsigned long long)ret->pages,
                     (unsigned long long)named);
    if (t && t->piece) t->met = true;
}

void pages_end(check *ck, page_check *pc) {
    for (size_t i = 0; i < pc->room; i++)
        if (pc->slots[i].piece && !pc->slots[i].met && ck->k && !ck->k->purging)
            check_defect(ck, "runs of its pages name content %llu, which is not there",
                         (unsigned long long)pc->slots[i].piece);
    free(pc->slots);
    *pc = (page_check){0};
}
