/* Lifecycle policies. What is taken keeps every limit, and decides about any blob without a fault; what is
 * not says why. fuzz-folders: base crypto engine store rules */
#include "fuzz.h"
#include "rules/internal.h"

static void check_rule(const lifecycle_rule *r) {
    MUST(r->name.len > 0 && r->name.len <= LIFECYCLE_NAME_MAX && (r->block || r->append));
    MUST(r->prefix_count <= LIFECYCLE_PREFIXES_MAX && r->tag_count <= LIFECYCLE_TAGS_MAX);
    for (int s = 0; s < LIFECYCLE_SUBJECTS; s++)
        for (int a = 0; a < LIFECYCLE_ACTIONS; a++) {
            const lifecycle_when *w = &r->when[s][a];
            if (!w->there) continue;
            MUST(w->modified >= 0 || w->created >= 0 || w->accessed >= 0);
            MUST(w->modified <= LIFECYCLE_DAYS_MAX && w->created <= LIFECYCLE_DAYS_MAX);
        }
}

static void check_decision(const lifecycle *p, arena *a, store_blob_type type) {
    slice container = S("box"), *prefixes;
    const int64_t old = 365ll * 24 * 3600 * 1000000, now = old * 300;
    const store_blob b = {
        .name = S("logs/a"), .type = type, .created_us = old, .modified_us = old, .current = true};
    const lifecycle_rule *rule = NULL;
    lifecycle_action x = lifecycle_decide(p, container, &b, now, &rule);
    MUST((rule != NULL) == (x != LIFECYCLE_NOTHING));
    MUST(type == STORE_BLOCK_BLOB || x == LIFECYCLE_NOTHING || x == LIFECYCLE_DELETE);
    /* what a rule is about is looked at */
    size_t n = lifecycle_prefixes(p, a, container, &prefixes), found = 0;
    for (size_t i = 0; i < n; i++) found += slice_starts(b.name, prefixes[i]);
    MUST(!rule || found == 1);
}

FUZZ(data) {
    arena *a = arena_new(4096, (size_t)64 << 20);
    lifecycle p;
    if (lifecycle_parse(a, data, &p) == OK) {
        MUST(p.count >= 1 && p.count <= LIFECYCLE_RULES_MAX);
        for (size_t i = 0; i < p.count; i++) check_rule(&p.rules[i]);
        check_decision(&p, a, STORE_BLOCK_BLOB);
        check_decision(&p, a, STORE_APPEND_BLOB);
    } else {
        MUST(*err_detail() != 0);
    }
    arena_free(a);
}
