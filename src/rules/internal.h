/* What the files of rules/ share: a lifecycle policy, read. */
#pragma once

#include "rules/rules.h"

/* "Azure Storage scalability and performance targets", and the policy's schema. */
#define LIFECYCLE_RULES_MAX    100
#define LIFECYCLE_PREFIXES_MAX 10
#define LIFECYCLE_TAGS_MAX     10
#define LIFECYCLE_NAME_MAX     256
#define LIFECYCLE_DAYS_MAX     99999

/* In the order of what a blob costs: of several the last is done ("lifecycle management applies the least
 * expensive action to the blob"). */
typedef enum lifecycle_action {
    LIFECYCLE_NOTHING,
    LIFECYCLE_HOT, /* enableAutoTierToHotFromCool; never beside another of the same rule */
    LIFECYCLE_COOL,
    LIFECYCLE_COLD,
    LIFECYCLE_ARCHIVE,
    LIFECYCLE_DELETE,
    LIFECYCLE_ACTIONS
} lifecycle_action;

typedef enum lifecycle_subject {
    LIFECYCLE_BASE,
    LIFECYCLE_SNAPSHOT,
    LIFECYCLE_VERSION,
    LIFECYCLE_SUBJECTS
} lifecycle_subject;

/* More than so many days ago; -1: not asked. All that are asked must be so. */
typedef struct lifecycle_when {
    bool there;
    int32_t modified, created, accessed, tier_changed;
} lifecycle_when;

typedef struct lifecycle_rule {
    slice name;
    bool enabled, block, append, to_hot;
    slice prefixes[LIFECYCLE_PREFIXES_MAX]; /* "container/begin of a blob's name" */
    size_t prefix_count;                    /* 0: all */
    pair tags[LIFECYCLE_TAGS_MAX];
    size_t tag_count;
    lifecycle_when when[LIFECYCLE_SUBJECTS][LIFECYCLE_ACTIONS];
} lifecycle_rule;

typedef struct lifecycle {
    lifecycle_rule *rules;
    size_t count;
} lifecycle;

/* Everything in the arena. ERR_INVALID_INPUT, with the place in the document. */
err lifecycle_parse(arena *a, slice json, lifecycle *ret) CHECKED;
/* Which rules look at: any tags, any snapshots, any versions. */
bool lifecycle_needs(const lifecycle *p, lifecycle_subject subject);
bool lifecycle_needs_tags(const lifecycle *p);
lifecycle_subject lifecycle_subject_of(const store_blob *b);
/* What is to be done with a blob of that container now; ret_rule: the rule that says so. */
lifecycle_action lifecycle_decide(const lifecycle *p, slice container, const store_blob *b,
                                  int64_t now_us, const lifecycle_rule **ret_rule);
/* The beginnings of names that have to be looked at in a container, none of them a beginning of another;
 * count 0: none at all. At most LIFECYCLE_RULES_MAX * LIFECYCLE_PREFIXES_MAX; an empty one: the whole. */
size_t lifecycle_prefixes(const lifecycle *p, arena *a, slice container, slice **ret);

/* run.c: runs every account's policy that is due; the thread does so once a minute. */
void rules_look(rules *r);
