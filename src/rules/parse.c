/* A lifecycle policy out of its JSON. What is not understood is refused with its place: a rule that does
 * less, or more, than its author thinks is worse than none. */
#include <jansson.h>
#include <math.h>

#include "rules/internal.h"

typedef struct parser {
    arena *arena;
    char path[256]; /* "rules[2].definition.actions.baseBlob" */
} parser;

static slice text_of(const parser *p, const json_t *v) {
    return arena_dup(p->arena, slice_of(json_string_value(v), json_string_length(v)));
}

/* Goes down to a member; leave() goes back up to the mark. */
static size_t enter(parser *p, const char *name) {
    size_t mark = strlen(p->path);
    (void)snprintf(p->path + mark, sizeof p->path - mark, "%s%.64s", mark ? "." : "", name);
    return mark;
}
static size_t enter_item(parser *p, size_t i) {
    size_t mark = strlen(p->path);
    (void)snprintf(p->path + mark, sizeof p->path - mark, "[%zu]", i);
    return mark;
}
static void leave(parser *p, size_t mark) {
    p->path[mark] = '\0';
}

/* An object that has no members but these (NULL-terminated). */
static err check_members(parser *p, json_t *v, const char *const *known) {
    ENSURE(json_is_object(v), ERR_INVALID_INPUT, "%s must be an object", p->path);
    const char *key;
    json_t *member;
    json_object_foreach(v, key, member) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0) i++;
        ENSURE(known[i], ERR_INVALID_INPUT, "%s has no member '%.64s'",
               p->path[0] ? p->path : "a policy", key);
    }
    return OK;
}
#define MEMBERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static err need(parser *p, const json_t *object, const char *name, json_t **ret) {
    *ret = json_object_get(object, name);
    ENSURE(*ret, ERR_INVALID_INPUT, "%s%s%s is missing", p->path, p->path[0] ? "." : "", name);
    return OK;
}

/* ---- actions ------------------------------------------------------------------------------------ */

static err take_days(parser *p, const json_t *o, const char *name, int32_t *ret) {
    const json_t *v = json_object_get(o, name);
    *ret = -1;
    if (!v) return OK;
    double days = json_number_value(v);
    ENSURE(json_is_number(v) && days >= 0 && days <= LIFECYCLE_DAYS_MAX && days == floor(days),
           ERR_INVALID_INPUT, "%s.%s must be a whole number from 0 to %d", p->path, name,
           LIFECYCLE_DAYS_MAX);
    *ret = (int32_t)days;
    return OK;
}

/* A base blob goes by one of three ages; a snapshot or version by its creation. */
static err check_when(parser *p, const lifecycle_when *w, lifecycle_subject subject,
                      lifecycle_action action) {
    int ages = (w->modified >= 0) + (w->created >= 0) + (w->accessed >= 0);
    if (subject == LIFECYCLE_BASE)
        ENSURE(ages == 1, ERR_INVALID_INPUT,
               "%s needs exactly one of daysAfterModificationGreaterThan, "
               "daysAfterCreationGreaterThan and daysAfterLastAccessTimeGreaterThan",
               p->path);
    else
        ENSURE(ages == 1 && w->created >= 0, ERR_INVALID_INPUT,
               "%s needs daysAfterCreationGreaterThan, and no other age", p->path);
    ENSURE(w->tier_changed < 0 || action == LIFECYCLE_ARCHIVE, ERR_INVALID_INPUT,
           "%s: daysAfterLastTierChangeGreaterThan is of tierToArchive", p->path);
    return OK;
}

static err take_when(parser *p, json_t *v, lifecycle_subject subject, lifecycle_action action,
                     lifecycle_when *ret) {
    lifecycle_when w = {.there = true};
    TRY(check_members(p, v,
                      MEMBERS("daysAfterModificationGreaterThan", "daysAfterCreationGreaterThan",
                              "daysAfterLastAccessTimeGreaterThan",
                              "daysAfterLastTierChangeGreaterThan")));
    TRY(take_days(p, v, "daysAfterModificationGreaterThan", &w.modified));
    TRY(take_days(p, v, "daysAfterCreationGreaterThan", &w.created));
    TRY(take_days(p, v, "daysAfterLastAccessTimeGreaterThan", &w.accessed));
    TRY(take_days(p, v, "daysAfterLastTierChangeGreaterThan", &w.tier_changed));
    TRY(check_when(p, &w, subject, action));
    *ret = w;
    return OK;
}

static const struct {
    const char *name;
    lifecycle_action action;
} action_names[] = {{"tierToCool", LIFECYCLE_COOL},
                    {"tierToCold", LIFECYCLE_COLD},
                    {"tierToArchive", LIFECYCLE_ARCHIVE},
                    {"delete", LIFECYCLE_DELETE}};

/* "enableAutoTierToHotFromCool … requires daysAfterLastAccessTimeGreaterThan". */
static err take_to_hot(parser *p, const json_t *v, const lifecycle_when *cool, bool *ret) {
    const json_t *on = json_object_get(v, "enableAutoTierToHotFromCool");
    *ret = json_is_true(on);
    ENSURE(!on || json_is_boolean(on), ERR_INVALID_INPUT,
           "%s.enableAutoTierToHotFromCool must be true or false", p->path);
    ENSURE(!*ret || (cool->there && cool->accessed >= 0), ERR_INVALID_INPUT,
           "%s.enableAutoTierToHotFromCool needs tierToCool with "
           "daysAfterLastAccessTimeGreaterThan",
           p->path);
    return OK;
}

static err take_subject(parser *p, json_t *v, lifecycle_subject subject, lifecycle_rule *rule) {
    lifecycle_when *when = rule->when[subject];
    const char *const base = subject == LIFECYCLE_BASE ? "enableAutoTierToHotFromCool" : "delete";
    TRY(check_members(p, v, MEMBERS("tierToCool", "tierToCold", "tierToArchive", "delete", base)));
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(action_names); i++) {
        json_t *action = json_object_get(v, action_names[i].name);
        if (!action) continue;
        lifecycle_action which = action_names[i].action;
        ENSURE(which == LIFECYCLE_DELETE || !rule->append, ERR_INVALID_INPUT,
               "%s.%s: appendBlob has no tiers; make a rule for blockBlob alone", p->path,
               action_names[i].name);
        size_t mark = enter(p, action_names[i].name);
        TRY(take_when(p, action, subject, which, &when[which]));
        leave(p, mark);
        n++;
    }
    ENSURE(n > 0, ERR_INVALID_INPUT, "%s has no action", p->path);
    return subject == LIFECYCLE_BASE ? take_to_hot(p, v, &when[LIFECYCLE_COOL], &rule->to_hot) : OK;
}

static err take_actions(parser *p, json_t *v, lifecycle_rule *rule) {
    static const char *const names[] = {"baseBlob", "snapshot", "version"};
    TRY(check_members(p, v, MEMBERS("baseBlob", "snapshot", "version")));
    size_t n = 0;
    for (int s = 0; s < LIFECYCLE_SUBJECTS; s++) {
        json_t *subject = json_object_get(v, names[s]);
        if (!subject) continue;
        size_t mark = enter(p, names[s]);
        TRY(take_subject(p, subject, (lifecycle_subject)s, rule));
        leave(p, mark);
        n++;
    }
    ENSURE(n > 0, ERR_INVALID_INPUT, "%s names none of baseBlob, snapshot and version", p->path);
    return OK;
}

/* ---- filters ------------------------------------------------------------------------------------ */

static err check_list(parser *p, const json_t *v, size_t max) {
    ENSURE(json_is_array(v) && json_array_size(v) >= 1 && json_array_size(v) <= max,
           ERR_INVALID_INPUT, "%s must be a list of 1 to %zu", p->path, max);
    return OK;
}

static err take_types(parser *p, const json_t *v, lifecycle_rule *rule) {
    size_t i;
    json_t *item;
    TRY(check_list(p, v, 2));
    json_array_foreach(v, i, item) {
        const char *name = json_string_value(item);
        rule->block |= name && strcmp(name, "blockBlob") == 0;
        rule->append |= name && strcmp(name, "appendBlob") == 0;
        ENSURE(name && (strcmp(name, "blockBlob") == 0 || strcmp(name, "appendBlob") == 0),
               ERR_INVALID_INPUT, "%s[%zu] must be blockBlob or appendBlob", p->path, i);
    }
    return OK;
}

/* "A prefix string must start with a container name." */
static err take_prefixes(parser *p, const json_t *v, lifecycle_rule *rule) {
    size_t i;
    json_t *item;
    TRY(check_list(p, v, LIFECYCLE_PREFIXES_MAX));
    json_array_foreach(v, i, item) {
        ENSURE(
            json_string_length(item) > 0, ERR_INVALID_INPUT,
            "%s[%zu] must be a text: a container's name, and perhaps / and the beginning of names",
            p->path, i);
        rule->prefixes[rule->prefix_count++] = text_of(p, item);
    }
    return OK;
}

static err take_tag(parser *p, json_t *v, pair *ret) {
    static const char *const names[] = {"name", "op", "value"};
    TRY(check_members(p, v, MEMBERS("name", "op", "value")));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ENSURE(json_is_string(json_object_get(v, names[i])), ERR_INVALID_INPUT,
               "%s.%s must be a text", p->path, names[i]);
    ENSURE(strcmp(json_string_value(json_object_get(v, "op")), "==") == 0, ERR_INVALID_INPUT,
           "%s.op must be ==", p->path);
    *ret = (pair){text_of(p, json_object_get(v, "name")), text_of(p, json_object_get(v, "value"))};
    ENSURE(store_tags_check(ret, 1) == OK, ERR_INVALID_INPUT, "%s is no blob index tag", p->path);
    return OK;
}

static err take_tags(parser *p, const json_t *v, lifecycle_rule *rule) {
    size_t i;
    json_t *item;
    TRY(check_list(p, v, LIFECYCLE_TAGS_MAX));
    json_array_foreach(v, i, item) {
        size_t mark = enter_item(p, i);
        TRY(take_tag(p, item, &rule->tags[rule->tag_count++]));
        leave(p, mark);
    }
    return OK;
}

static err take_filters(parser *p, json_t *v, lifecycle_rule *rule) {
    static const struct {
        const char *name;
        err (*take)(parser *p, const json_t *v, lifecycle_rule *rule);
    } filters[] = {
        {"blobTypes", take_types}, {"prefixMatch", take_prefixes}, {"blobIndexMatch", take_tags}};
    json_t *types;
    TRY(check_members(p, v, MEMBERS("blobTypes", "prefixMatch", "blobIndexMatch")));
    TRY(need(p, v, "blobTypes", &types));
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        const json_t *filter = json_object_get(v, filters[i].name);
        if (!filter) continue;
        size_t mark = enter(p, filters[i].name);
        TRY(filters[i].take(p, filter, rule));
        leave(p, mark);
    }
    return OK;
}

/* ---- rules -------------------------------------------------------------------------------------- */

static err take_name(parser *p, const json_t *v, lifecycle_rule *rule) {
    ENSURE(json_is_string(v) && json_string_length(v) >= 1 &&
               json_string_length(v) <= LIFECYCLE_NAME_MAX,
           ERR_INVALID_INPUT, "%s.name must be a text of 1 to %d characters", p->path,
           LIFECYCLE_NAME_MAX);
    rule->name = text_of(p, v);
    for (size_t i = 0; i < rule->name.len; i++)
        ENSURE(rule->name.p[i] > ' ' && rule->name.p[i] < 0x7f, ERR_INVALID_INPUT,
               "%s.name has a character other than letters, digits and signs", p->path);
    return OK;
}

static err take_rule(parser *p, json_t *v, lifecycle_rule *rule) {
    json_t *name, *type, *definition, *filters, *actions;
    TRY(check_members(p, v, MEMBERS("name", "enabled", "type", "definition")));
    TRY(need(p, v, "name", &name));
    TRY(take_name(p, name, rule));
    TRY(need(p, v, "type", &type));
    ENSURE(json_is_string(type) && strcmp(json_string_value(type), "Lifecycle") == 0,
           ERR_INVALID_INPUT, "%s.type must be Lifecycle", p->path);
    const json_t *enabled = json_object_get(v, "enabled");
    ENSURE(!enabled || json_is_boolean(enabled), ERR_INVALID_INPUT,
           "%s.enabled must be true or false", p->path);
    rule->enabled = !json_is_false(enabled);
    TRY(need(p, v, "definition", &definition));
    size_t mark = enter(p, "definition");
    TRY(check_members(p, definition, MEMBERS("filters", "actions")));
    TRY(need(p, definition, "filters", &filters));
    TRY(need(p, definition, "actions", &actions));
    size_t inner = enter(p, "filters");
    TRY(take_filters(p, filters, rule));
    leave(p, inner);
    inner = enter(p, "actions");
    TRY(take_actions(p, actions, rule));
    leave(p, inner);
    leave(p, mark);
    return OK;
}

static err check_unique(const lifecycle *l) {
    const lifecycle_rule *last = &l->rules[l->count - 1];
    for (size_t i = 0; i + 1 < l->count; i++)
        ENSURE(!slice_eq(l->rules[i].name, last->name), ERR_INVALID_INPUT,
               "rules[%zu].name: '%.*s' is the name of rules[%zu] as well", l->count - 1,
               SLICE_ARG(last->name), i);
    return OK;
}

static err take_policy(parser *p, json_t *v, lifecycle *ret) {
    json_t *list, *item;
    size_t i;
    ENSURE(json_is_object(v), ERR_INVALID_INPUT, "a policy is a JSON object with rules");
    TRY(check_members(p, v, MEMBERS("rules")));
    TRY(need(p, v, "rules", &list));
    size_t mark = enter(p, "rules");
    TRY(check_list(p, list, LIFECYCLE_RULES_MAX));
    ret->rules = arena_alloc(p->arena, json_array_size(list) * sizeof *ret->rules);
    ret->count = 0;
    json_array_foreach(list, i, item) {
        size_t inner = enter_item(p, i);
        ret->rules[i] = (lifecycle_rule){0};
        TRY(take_rule(p, item, &ret->rules[i]));
        leave(p, inner);
        ret->count++;
        TRY(check_unique(ret));
    }
    leave(p, mark);
    return OK;
}

err lifecycle_parse(arena *a, slice json, lifecycle *ret) {
    json_error_t why;
    parser p = {.arena = a};
    ENSURE(json.len > 0 && json.len <= RULES_POLICY_MAX, ERR_INVALID_INPUT,
           "a policy is 1 to %u bytes of JSON", RULES_POLICY_MAX);
    json_t *v = json_loadb((const char *)json.p, json.len, JSON_REJECT_DUPLICATES, &why);
    ENSURE(v, ERR_INVALID_INPUT, "the policy is not JSON: line %d, column %d: %s", why.line,
           why.column, why.text);
    err e = take_policy(&p, v, ret);
    json_decref(v);
    return e;
}
