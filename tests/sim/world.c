/* The model, and the operations: each first makes the next world of the present one, then asks the store. */
#include "sim.h"

static const char *const names[SIM_BLOBS] = {"a", "a/b", "a\x01z", "m", "z"};

slice sim_name(size_t i) {
    return slice_str(names[i]);
}

void world_init(world *w) {
    *w = (world){0};
    for (size_t i = 0; i < SIM_BLOBS; i++)
        for (size_t j = 0; j < SIM_IDS; j++) w->blobs[i].staged[j].id = -1;
}

static void buf_zeros(buf *b, size_t n) {
    static const uint8_t zeros[STORE_PAGE_LEN];
    for (; n > 0; n -= STORE_PAGE_LEN) buf_put(b, slice_of(zeros, sizeof zeros));
}

slice sim_content(arena *a, const sim_state *s) {
    buf out;
    buf_init_arena(&out, a, 16 << 20);
    for (uint32_t i = 0; i < s->count; i++) {
        const piece *p = &s->pieces[i];
        if (p->seed != 0 || p->len == 0)
            buf_put(&out, content(a, p->seed, p->len));
        else
            buf_zeros(&out, p->len);
    }
    return buf_slice(&out);
}

bool world_side_content(const world *w, arena *a, slice *ret) {
    if (!w->side || w->side_blob.id < 0) return false;
    *ret = content(a, w->side_blob.seed, w->side_blob.len);
    return true;
}

slice sim_lease(arena *a, uint64_t lease) {
    return lease != 0 ? arena_fmt(a, "lease %010llu", (unsigned long long)lease) : SLICE_NONE;
}

slice sim_scope_name(arena *a, uint32_t number) {
    return number != 0 ? arena_fmt(a, "scope-%u", number) : SLICE_NONE;
}

bool sim_scope_usable(const world *w, uint32_t number) {
    if (number == 0) return true;
    for (size_t i = 0; i < SIM_SCOPES; i++)
        if (w->scopes[i].number == number) return w->scopes[i].state == STORE_SCOPE_ENABLED;
    return false;
}

/* What new content of a blob goes under: two blobs in the first slot's scope, one in the second's, two in none. */
static uint32_t scope_for_new(const world *w, size_t at) {
    const sim_scope *x = at < 2 ? &w->scopes[0] : at == 3 ? &w->scopes[1] : NULL;
    return x && x->number != 0 && x->state == STORE_SCOPE_ENABLED ? x->number : 0;
}

/* ---- chance ---- */

static size_t below(size_t n) {
    return rng_below(&S_->random, n);
}

static uint32_t some_len(void) {
    static const uint32_t sizes[] = {0,     1,     300,   300,   5000,  5000,
                                     20000, 32768, 32769, 70000, 150000};
    return sizes[below(ARRAY_LEN(sizes))];
}

static piece some_piece(uint32_t len) {
    return (piece){.seed = ++S_->content_seed, .len = len, .id = -1};
}

/* ---- what history keeps, as Azure's reference says ---- */

static void remember(sim_blob *b, sim_state p, bool snapshot, bool base, bool deleted) {
    p.snapshot = snapshot;
    p.base = base;
    p.deleted = deleted;
    b->past[b->past_count++] = p;
}

static void gives_way(sim_blob *b, bool deleting) {
    if (b->now.kind == SIM_NONE) return;
    if (S_->versioning)
        remember(b, b->now, false, false, false);
    else if (S_->soft)
        remember(b, b->now, !deleting, deleting, true);
}

static void unstage(sim_blob *b) {
    for (size_t i = 0; i < SIM_IDS; i++) b->staged[i].id = -1;
}

/* A new blob in the place of what stood there. */
static void replaced(sim_blob *b, sim_state by) {
    if (b->now.kind == SIM_NONE)
        for (uint32_t i = 0; i < b->past_count; i++)
            if (b->past[i].base) b->past[i].base = false, b->past[i].snapshot = true;
    gives_way(b, false);
    b->now = by;
    unstage(b);
}

static bool room_for_past(const sim_blob *b) {
    return b->past_count + 2 <= SIM_PAST;
}

static void forget(sim_blob *b, uint32_t at) {
    b->past[at] = b->past[--b->past_count];
}

/* ---- asking the store ---- */

typedef struct ask {
    fixture *f;
    slice name;
    sim_blob *b;    /* in the next world */
    uint32_t fresh; /* the scope for new content */
    store_conditions cond;
} ask;

static err upload_of(fixture *f, const store_container *k, slice data, store_upload **ret) {
    store_upload *u;
    TRY(store_upload_new(f->s, k, data.len, STORE_PUT_BLOB_LEN_MAX, 0, &u));
    err e = store_upload_under(u, f->c, k);
    if (e == OK) e = store_upload_write(u, data);
    if (e == OK) e = store_upload_finish(u);
    if (e != OK) {
        store_upload_free(u);
        return e;
    }
    *ret = u;
    return OK;
}

/* The call names the scope. */
static void under(ask *q, uint32_t scope) {
    q->f->c.scope = sim_scope_name(q->f->c.arena, scope);
}

/* What is there is under a scope that nobody may use now, so it cannot be changed. */
static bool shut(const ask *q) {
    return q->b->now.kind != SIM_NONE && !sim_scope_usable(&S_->next, q->b->now.scope);
}

static bool anything_staged(const sim_blob *b) {
    for (size_t i = 0; i < SIM_IDS; i++)
        if (b->staged[i].id >= 0) return true;
    return false;
}

static err put_blob(ask *q) {
    store_upload *u;
    store_blob ret;
    const store_put p = {.cond = &q->cond};
    TRY(upload_of(q->f, q->f->k, sim_content(q->f->c.arena, &q->b->now), &u));
    err e = store_blob_put(q->f->s, q->f->c, q->f->k, q->name, u, &p, &ret);
    if (e != OK) store_upload_free(u);
    return e;
}

static err do_put(ask *q) {
    if (!room_for_past(q->b)) return OK;
    replaced(q->b, (sim_state){.kind = SIM_WHOLE,
                               .count = 1,
                               .pieces = {some_piece(some_len())},
                               .scope = q->fresh});
    under(q, q->fresh);
    SAY("put %u bytes\n", q->b->now.pieces[0].len);
    return put_blob(q);
}

static err do_delete(ask *q) {
    sim_blob *b = q->b;
    if (b->now.kind == SIM_NONE || !room_for_past(b)) return OK;
    for (uint32_t i = b->past_count; i-- > 0;) {
        if (!b->past[i].snapshot || b->past[i].deleted) continue;
        if (S_->soft)
            b->past[i].deleted = true;
        else
            forget(b, i);
    }
    gives_way(b, true);
    b->now = (sim_state){0};
    b->lease = 0;
    unstage(b);
    const store_delete d = {.snapshots = STORE_SNAPSHOTS_INCLUDE};
    SAY("delete\n");
    return store_blob_delete(q->f->s, q->f->c, q->f->k, q->name, &q->cond, &d, NULL);
}

static slice block_id(ask *q, int32_t id) {
    return arena_fmt(q->f->c.arena, "id%d", id);
}

static err do_block(ask *q) {
    if (q->b->now.kind == SIM_APPEND || q->b->now.kind == SIM_PAGES) return OK;
    const bool there = q->b->now.kind != SIM_NONE, staged = anything_staged(q->b);
    const uint32_t scope = staged ? q->b->staged_scope : there ? q->b->now.scope : q->fresh;
    if (!sim_scope_usable(&S_->next, scope) || (there && scope != q->b->now.scope)) return OK;
    q->b->staged_scope = scope;
    under(q, scope);
    const int32_t id = (int32_t)below(SIM_IDS);
    piece p = some_piece(some_len());
    p.id = id;
    q->b->staged[id] = p;
    store_upload *u;
    SAY("put block %d of %u bytes\n", id, p.len);
    TRY(upload_of(q->f, q->f->k, content(q->f->c.arena, p.seed, p.len), &u));
    err e =
        store_block_put(q->f->s, q->f->c, q->f->k, q->name, block_id(q, id), u, q->cond.lease_id);
    if (e != OK) store_upload_free(u);
    return e;
}

static const piece *find_block(const sim_blob *b, int32_t id) {
    if (b->staged[id].id == id) return &b->staged[id];
    for (uint32_t i = 0; b->now.kind == SIM_LIST && i < b->now.count; i++)
        if (b->now.pieces[i].id == id) return &b->now.pieces[i];
    return NULL;
}

static err do_commit(ask *q) {
    sim_blob *b = q->b;
    if (b->now.kind == SIM_APPEND || b->now.kind == SIM_PAGES || !room_for_past(b)) return OK;
    const bool there = b->now.kind != SIM_NONE;
    const uint32_t scope = anything_staged(b) ? b->staged_scope : there ? b->now.scope : q->fresh;
    if (!sim_scope_usable(&S_->next, scope) || (there && scope != b->now.scope)) return OK;
    under(q, scope);
    sim_state list = {.kind = SIM_LIST, .scope = scope};
    store_block_pick picks[SIM_PIECES];
    for (size_t tries = 0; tries < 6; tries++) {
        const piece *p = find_block(b, (int32_t)below(SIM_IDS));
        if (p == NULL) continue;
        picks[list.count] = (store_block_pick){block_id(q, p->id), STORE_BLOCK_LATEST};
        list.pieces[list.count++] = *p;
    }
    replaced(b, list);
    store_blob ret;
    const store_put p = {.cond = &q->cond};
    SAY("commit %u blocks\n", list.count);
    return store_block_list_put(q->f->s, q->f->c, q->f->k, q->name, picks, list.count, &p, &ret);
}

static err do_metadata(ask *q) {
    sim_blob *b = q->b;
    if (b->now.kind == SIM_NONE || !room_for_past(b) || shut(q)) return OK;
    under(q, b->now.scope);
    if (S_->versioning) gives_way(b, false);
    b->now.meta = ++S_->content_seed;
    const pair p = {S("k"), arena_fmt(q->f->c.arena, "%llu", (unsigned long long)b->now.meta)};
    store_blob ret;
    SAY("metadata\n");
    return store_blob_set_metadata(q->f->s, q->f->c, q->f->k, q->name, &q->cond, &p, 1, &ret);
}

static err do_tags(ask *q) {
    if (q->b->now.kind == SIM_NONE || shut(q)) return OK;
    under(q, q->b->now.scope);
    q->b->now.tag = below(3) ? ++S_->content_seed : 0;
    const pair p = {S("t"), arena_fmt(q->f->c.arena, "%llu", (unsigned long long)q->b->now.tag)};
    SAY("tags %llu\n", (unsigned long long)q->b->now.tag);
    return store_blob_set_tags(q->f->s, q->f->c, q->f->k, q->name, STORE_CURRENT, &q->cond, &p,
                               q->b->now.tag != 0);
}

static err do_snapshot(ask *q) {
    sim_blob *b = q->b;
    if (b->now.kind == SIM_NONE || !room_for_past(b) || shut(q)) return OK;
    under(q, b->now.scope);
    const sim_state now = b->now;
    if (S_->versioning) gives_way(b, false);
    remember(b, now, true, false, false);
    store_blob ret;
    SAY("snapshot\n");
    return store_blob_snapshot(q->f->s, q->f->c, q->f->k, q->name, NULL, NULL, 0, &ret);
}

static err do_undelete(ask *q) {
    sim_blob *b = q->b;
    bool any = false;
    for (uint32_t i = b->past_count; i-- > 0;) {
        sim_state *p = &b->past[i];
        if (!p->deleted) continue;
        any = true;
        p->deleted = false;
        if (!p->base) continue;
        b->now = *p;
        b->now.base = false;
        forget(b, i);
    }
    if (!any) return OK;
    SAY("undelete\n");
    return store_blob_undelete(q->f->s, q->f->c, q->f->k, q->name);
}

static err do_lease(ask *q) {
    if (q->b->now.kind == SIM_NONE) return OK;
    const uint64_t old = q->b->lease;
    q->b->lease = old ? 0 : ++S_->content_seed;
    arena *a = q->f->c.arena;
    const store_lease_ask what = {.action = old ? STORE_LEASE_RELEASE : STORE_LEASE_ACQUIRE,
                                  .id = sim_lease(a, old),
                                  .proposed = sim_lease(a, q->b->lease)};
    store_lease_answer ret;
    SAY("%s lease\n", old ? "release" : "acquire");
    return store_blob_lease(q->f->s, q->f->c, q->f->k, q->name, NULL, &what, &ret);
}

static err do_append(ask *q) {
    sim_blob *b = q->b;
    store_blob ret;
    const store_put p = {.cond = &q->cond};
    if (b->now.kind != SIM_APPEND || b->now.count == SIM_PIECES) {
        if (!room_for_past(b)) return OK;
        replaced(b, (sim_state){.kind = SIM_APPEND, .scope = q->fresh});
        under(q, q->fresh);
        SAY("create append blob\n");
        return store_append_create(q->f->s, q->f->c, q->f->k, q->name, &p, &ret);
    }
    if (shut(q)) return OK;
    under(q, b->now.scope);
    const piece more = some_piece(1 + some_len());
    b->now.pieces[b->now.count++] = more;
    store_upload *u;
    store_appended done;
    SAY("append %u bytes\n", more.len);
    TRY(upload_of(q->f, q->f->k, content(q->f->c.arena, more.seed, more.len), &u));
    err e = store_append_block(q->f->s, q->f->c, q->f->k, q->name, u, &q->cond, NULL, &done);
    if (e != OK) store_upload_free(u);
    return e;
}

#define PAGE_UNIT (8u * STORE_PAGE_LEN)

static err do_pages(ask *q) {
    sim_blob *b = q->b;
    store_blob ret;
    const store_put p = {.cond = &q->cond};
    if (b->now.kind != SIM_PAGES) {
        if (!room_for_past(b)) return OK;
        sim_state s = {.kind = SIM_PAGES, .count = SIM_PIECES, .scope = q->fresh};
        under(q, q->fresh);
        for (int i = 0; i < SIM_PIECES; i++) s.pieces[i] = (piece){.len = PAGE_UNIT, .id = -1};
        replaced(b, s);
        SAY("create page blob\n");
        return store_page_create(q->f->s, q->f->c, q->f->k, q->name, &p, SIM_PIECES * PAGE_UNIT, 0,
                                 &ret);
    }
    if (shut(q)) return OK;
    under(q, b->now.scope);
    const size_t first = below(SIM_PIECES), n = 1 + below(SIM_PIECES - first);
    const bool clear = below(4) == 0;
    for (size_t i = first; i < first + n; i++)
        b->now.pieces[i].seed = clear ? 0 : ++S_->content_seed;
    SAY("%s pages %zu+%zu\n", clear ? "clear" : "put", first, n);
    if (clear)
        return store_page_clear(q->f->s, q->f->c, q->f->k, q->name, first * PAGE_UNIT,
                                n * PAGE_UNIT, &q->cond, NULL, &ret);
    const slice all = sim_content(q->f->c.arena, &b->now);
    store_upload *u;
    TRY(upload_of(q->f, q->f->k, slice_take(slice_skip(all, first * PAGE_UNIT), n * PAGE_UNIT),
                  &u));
    err e = store_page_put(q->f->s, q->f->c, q->f->k, q->name, first * PAGE_UNIT, u, &q->cond, NULL,
                           &ret);
    if (e != OK) store_upload_free(u);
    return e;
}

/* A copy of another blob here: it is begun in one transaction, and done by then or after a restart. */
static err do_copy(ask *q) {
    sim_blob *b = q->b;
    const size_t from = below(SIM_BLOBS);
    const sim_blob *source = &S_->now.blobs[from];
    if (S_->busy || S_->rules[0].calls != 0 || source->now.kind != SIM_WHOLE || !room_for_past(b))
        return OK;
    if (slice_eq(sim_name(from), q->name) || b->now.kind == SIM_APPEND || b->now.kind == SIM_PAGES)
        return OK;
    if (!sim_scope_usable(&S_->next, source->now.scope)) return OK;
    store_blob src, ret;
    TRY(store_blob_get(q->f->s, q->f->c, q->f->k, sim_name(from), STORE_CURRENT, NULL, &src));
    replaced(b, source->now);
    b->now.meta = b->now.tag = 0;
    b->now.scope = q->fresh;
    under(q, q->fresh);
    char id[40];
    snprintf(id, sizeof id, "11111111-2222-3333-4444-%012llu",
             (unsigned long long)++S_->content_seed);
    const store_copy copy = {.status = STORE_COPY_PENDING,
                             .id = slice_str(id),
                             .source = S("http://here/"),
                             .total = src.length,
                             .completed_us = STORE_TIME_NONE};
    const store_put p = {.cond = &q->cond, .copy = &copy};
    const store_copy_from what = {
        .account = S("acct"),
        .container = S("box"),
        .blob = sim_name(from),
        .etag = arena_fmt(q->f->c.arena, "\"0x%llX\"", (unsigned long long)src.etag)};
    SAY("copy of %zu\n", from);
    TRY(store_copy_begin(q->f->s, q->f->c, q->f->k, q->name, &p, &what, &ret));
    copier_run(q->f->s);
    return OK;
}

/* The second container: made, filled, deleted with what is in it. */
static err do_side(ask *q) {
    fixture *f = q->f;
    world *w = &S_->next;
    const store_container *k = NULL;
    if (!w->side) {
        w->side = true;
        w->side_blob.id = -1;
        SAY("create the side container\n");
        TRY(store_container_create(f->s, f->c, f->a, S("side"), STORE_PRIVATE, NULL, 0, &k));
        store_container_unref(k);
        return OK;
    }
    if (below(2)) {
        w->side = false;
        SAY("delete the side container\n");
        return store_container_delete(f->s, f->c, f->a, S("side"), NULL);
    }
    w->side_blob = some_piece(some_len());
    w->side_blob.id = 0;
    SAY("put %u bytes in the side container\n", w->side_blob.len);
    TRY(store_container_get(f->s, f->c, f->a, S("side"), &k));
    store_upload *u = NULL;
    store_blob ret;
    const store_put p = {0};
    err e = upload_of(f, k, content(f->c.arena, w->side_blob.seed, w->side_blob.len), &u);
    if (e == OK) {
        e = store_blob_put(f->s, f->c, k, S("x"), u, &p, &ret);
        if (e != OK) store_upload_free(u);
    }
    store_container_unref(k);
    return e;
}

/* An encryption scope is made, disabled, enabled, destroyed. */
static err do_scope(ask *q) {
    sim_scope *x = &S_->next.scopes[below(SIM_SCOPES)];
    fixture *f = q->f;
    if (x->number == 0 || x->state == STORE_SCOPE_DESTROYED) {
        *x = (sim_scope){.number = ++S_->next.scope_count, .state = STORE_SCOPE_ENABLED};
        SAY("create scope %u\n", x->number);
        return store_scope_create(f->s, f->c, f->a, sim_scope_name(f->c.arena, x->number));
    }
    x->state = x->state == STORE_SCOPE_ENABLED ? STORE_SCOPE_DISABLED
               : below(3) == 0                 ? STORE_SCOPE_DESTROYED
                                               : STORE_SCOPE_ENABLED;
    SAY("scope %u becomes %d\n", x->number, x->state);
    return store_scope_set(f->s, f->c, f->a, sim_scope_name(f->c.arena, x->number), x->state);
}

/* What the background does in production: on a quiet engine it happens here. */
static err do_chores(ask *q) {
    SAY("chores\n");
    if (S_->busy) return OK;
    reaper_run(q->f->s);
    reclaim_now(local_of(store_engine(q->f->s)));
    return OK;
}

static err do_flush(ask *q) {
    local *l = local_of(store_engine(q->f->s));
    SAY("flush\n");
    if (local_failed(l)) return OK;
    char *text = NULL;
    rocksdb_disable_file_deletions(l->rows.db, &text);
    for (int i = 0; i < ROWS_CF_COUNT && text == NULL; i++)
        rocksdb_flush_cf(l->rows.db, l->rows.flush, l->rows.cf[i], &text);
    char *again = NULL;
    rocksdb_enable_file_deletions(
        l->rows.db, 0, &again); /* here and now. Not by force: after a failure RocksDB keeps them */
    if (again != NULL) rocksdb_free(again);
    if (text != NULL)
        rocksdb_free(text); /* nothing is lost: the log has it; the next commit will tell */
    return OK;
}

static err do_clock(ask *q) {
    (void)q;
    SAY("the clock jumps\n");
    atomic_fetch_add(&S_->clock_us, ((int64_t)below(7200) - 3600) * 1000000);
    return OK;
}

static const struct {
    err (*run)(ask *q);
    unsigned weight;
    bool later; /* its one change may be handed over */
} operations[] = {
    {do_put, 20, true},     {do_delete, 7, true}, {do_block, 14, true},   {do_commit, 8, true},
    {do_metadata, 5, true}, {do_tags, 4, true},   {do_snapshot, 5, true}, {do_undelete, 3},
    {do_lease, 4, true},    {do_append, 8},       {do_pages, 9},          {do_copy, 4},
    {do_side, 5},           {do_chores, 6},       {do_flush, 1},          {do_clock, 1},
    {do_scope, 8}}; /* the last: of seeds with scopes only, so that others stay as they were */

/* The entry of an operation: its number. */
typedef struct recorder {
    store_recorder base;
    uint64_t number;
} recorder;

static void make_entry(store_recorder *r, buf *entry, buf *private_part) {
    (void)private_part;
    buf_fmt(entry, "%llu", (unsigned long long)((recorder *)r)->number);
}

/* An outcome that the engine tells from another thread. */
typedef struct later {
    store_later base;
    pthread_mutex_t mutex;
    pthread_cond_t told;
    bool done;
    err outcome;
    char detail[200];
} later;

static void tell_later(void *ctx, err e) {
    later *l = ctx;
    pthread_mutex_lock(&l->mutex);
    l->outcome = e;
    snprintf(l->detail, sizeof l->detail, "%s", e != OK ? err_detail() : "");
    l->done = true;
    pthread_cond_signal(&l->told);
    pthread_mutex_unlock(&l->mutex);
}

/* As the server's event loop does it: the change is handed over, and the outcome comes when it is durable. */
static err run_later(err (*fn)(ask *q), ask *q) {
    later l = {.mutex = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    l.base = (store_later){.done = tell_later, .ctx = &l};
    q->f->c.later = &l.base;
    err e = fn(q);
    q->f->c.later = NULL;
    if (e != OK || !l.base.taken) return e;
    pthread_mutex_lock(&l.mutex);
    while (!l.done) pthread_cond_wait(&l.told, &l.mutex);
    pthread_mutex_unlock(&l.mutex);
    return l.outcome == OK ? OK : err_fail(l.outcome, "%s", l.detail);
}

/* Every operation leaves one entry: with its change, or alone when it made none. */
static err run_recorded(err (*fn)(ask *q), ask *q, bool handed_over) {
    recorder r = {.base = {.make = make_entry}, .number = ++S_->entry};
    S_->next.entries++;
    S_->next.entries_hash = fault_mix(S_->next.entries_hash, r.number);
    q->f->c.record = &r.base;
    err e = handed_over ? run_later(fn, q) : fn(q);
    q->f->c.record = NULL;
    if (e == OK && !r.base.taken) e = store_record(q->f->s, &r.base);
    if (e == OK && r.base.index + 1 != S_->next.entries)
        sim_fail("an entry has number %llu, not %llu", (unsigned long long)r.base.index,
                 (unsigned long long)S_->next.entries - 1);
    return e;
}

err sim_step(fixture *f) {
    size_t all = 0, i = 0;
    for (size_t j = 0; j < ARRAY_LEN(operations) - !S_->scoped; j++) all += operations[j].weight;
    size_t pick = below(all);
    while (pick >= operations[i].weight) pick -= operations[i++].weight;
    S_->next = S_->now;
    const size_t at = below(SIM_BLOBS);
    ask q = {.f = f, .name = sim_name(at), .b = &S_->next.blobs[at], .cond = STORE_NO_CONDITIONS};
    q.fresh = scope_for_new(&S_->next, at);
    q.f->c.scope = SLICE_NONE;
    q.cond.lease_id = sim_lease(f->c.arena, q.b->lease);
    SAY("%zu: ", at);
    S_->in_flight = true; /* from now on it may be done */
    const bool handed_over = below(2) && operations[i].later;
    err e = run_recorded(operations[i].run, &q, handed_over);
    f->c.scope = SLICE_NONE;
    SAY("  %s%s%s\n", err_get(e)->name, e != OK ? ": " : "", e != OK ? err_detail() : "");
    return e;
}
