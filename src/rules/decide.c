/* What a policy says of one blob. Nothing here changes or reads anything. */
#include "rules/internal.h"

#define DAY_US (24ll * 3600 * 1000000)

lifecycle_subject lifecycle_subject_of(const store_blob *b) {
    if (b->snapshot) return LIFECYCLE_SNAPSHOT;
    return b->version && !b->current ? LIFECYCLE_VERSION : LIFECYCLE_BASE;
}

bool lifecycle_needs(const lifecycle *p, lifecycle_subject subject) {
    for (size_t i = 0; i < p->count; i++)
        for (int a = 0; a < LIFECYCLE_ACTIONS; a++)
            if (p->rules[i].enabled && p->rules[i].when[subject][a].there) return true;
    return false;
}

bool lifecycle_needs_tags(const lifecycle *p) {
    for (size_t i = 0; i < p->count; i++)
        if (p->rules[i].enabled && p->rules[i].tag_count > 0) return true;
    return false;
}

/* ---- which blobs a rule is about ---- */

static bool type_fits(const lifecycle_rule *r, const store_blob *b) {
    return b->type == STORE_BLOCK_BLOB ? r->block : b->type == STORE_APPEND_BLOB && r->append;
}

/* Splits "container/names". A prefix without '/' is the beginning of containers' names. */
static bool prefix_container(slice prefix, slice container, slice *ret_names) {
    size_t slash = slice_find(prefix, 0, '/');
    *ret_names = S("");
    if (slash == prefix.len) return slice_starts(container, prefix);
    *ret_names = slice_skip(prefix, slash + 1);
    return slice_eq(container, slice_take(prefix, slash));
}

static bool prefixes_fit(const lifecycle_rule *r, slice container, slice name) {
    slice names;
    for (size_t i = 0; i < r->prefix_count; i++)
        if (prefix_container(r->prefixes[i], container, &names) && slice_starts(name, names))
            return true;
    return r->prefix_count == 0;
}

static bool tags_fit(const lifecycle_rule *r, const store_blob *b) {
    for (size_t i = 0; i < r->tag_count; i++) {
        size_t t = 0;
        while (t < b->tag_count && !(slice_eq(b->tags[t].name, r->tags[i].name) &&
                                     slice_eq(b->tags[t].value, r->tags[i].value)))
            t++;
        if (t == b->tag_count) return false;
    }
    return true;
}

/* ---- when ---- */

/* A time that is not known (a blob that was never read) is not long ago. */
static bool older(int64_t then_us, int32_t days, int64_t now_us) {
    if (days < 0) return true;
    return then_us != STORE_TIME_NONE && now_us - then_us > days * DAY_US;
}

/* "Creation" of a snapshot is when it was taken, of a version when that state began. */
static int64_t created_us(const store_blob *b) {
    if (b->snapshot) return clock_tick_us(b->snapshot);
    return lifecycle_subject_of(b) == LIFECYCLE_VERSION ? clock_tick_us(b->version) : b->created_us;
}

static bool is_time(const lifecycle_when *w, const store_blob *b, int64_t now_us) {
    int64_t tier_us = b->tier_changed_us != STORE_TIME_NONE ? b->tier_changed_us : b->created_us;
    return w->there && older(b->modified_us, w->modified, now_us) &&
           older(created_us(b), w->created, now_us) && older(b->accessed_us, w->accessed, now_us) &&
           older(tier_us, w->tier_changed, now_us);
}

/* ---- what ---- */

static lifecycle_action action_of_tier(store_tier t) {
    return t == STORE_TIER_ARCHIVE ? LIFECYCLE_ARCHIVE
           : t == STORE_TIER_COLD  ? LIFECYCLE_COLD
           : t == STORE_TIER_COOL  ? LIFECYCLE_COOL
                                   : LIFECYCLE_HOT;
}

/* Tiers go one way: nothing is rehydrated, or warmed, by a rule. */
static lifecycle_action by_age(const lifecycle_rule *r, const store_blob *b, int64_t now_us) {
    const lifecycle_when *when = r->when[lifecycle_subject_of(b)];
    lifecycle_action best = LIFECYCLE_NOTHING, now = action_of_tier(b->tier);
    for (int a = LIFECYCLE_COOL; a <= LIFECYCLE_DELETE; a++)
        if (a > (int)now && is_time(&when[a], b, now_us)) best = (lifecycle_action)a;
    return best;
}

/* A cool blob that was read since it became cool. */
static bool is_used_again(const lifecycle_rule *r, const store_blob *b) {
    return r->to_hot && lifecycle_subject_of(b) == LIFECYCLE_BASE && b->tier == STORE_TIER_COOL &&
           b->accessed_us != STORE_TIME_NONE && b->accessed_us > b->tier_changed_us;
}

lifecycle_action lifecycle_decide(const lifecycle *p, slice container, const store_blob *b,
                                  int64_t now_us, const lifecycle_rule **ret_rule) {
    lifecycle_action best = LIFECYCLE_NOTHING;
    for (size_t i = 0; i < p->count; i++) {
        const lifecycle_rule *r = &p->rules[i];
        if (!r->enabled || !type_fits(r, b) || !prefixes_fit(r, container, b->name) ||
            !tags_fit(r, b))
            continue;
        lifecycle_action a = by_age(r, b, now_us);
        if (a == LIFECYCLE_NOTHING && is_used_again(r, b)) a = LIFECYCLE_HOT;
        if (a <= best) continue;
        best = a;
        *ret_rule = r;
    }
    return best;
}

/* ---- where to look ---- */

static bool covered(const slice *list, size_t n, slice name) {
    for (size_t i = 0; i < n; i++)
        if (slice_starts(name, list[i])) return true;
    return false;
}

/* Adds a beginning, in place of those that it covers. */
static size_t add(slice *list, size_t n, slice names) {
    if (covered(list, n, names)) return n;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!slice_starts(list[i], names)) list[kept++] = list[i];
    list[kept++] = names;
    return kept;
}

size_t lifecycle_prefixes(const lifecycle *p, arena *a, slice container, slice **ret) {
    slice *list = arena_alloc(a, p->count * LIFECYCLE_PREFIXES_MAX * sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++) {
        const lifecycle_rule *r = &p->rules[i];
        if (!r->enabled) continue;
        if (r->prefix_count == 0) n = add(list, n, SLICE_NONE);
        for (size_t j = 0; j < r->prefix_count; j++) {
            slice names;
            if (prefix_container(r->prefixes[j], container, &names)) n = add(list, n, names);
        }
    }
    *ret = list;
    return n;
}
