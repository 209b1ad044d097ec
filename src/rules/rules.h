/* rules: what the server does on its own because an account's rules say so. Lifecycle management: blobs
 * move to cooler tiers and are deleted by age, prefix and tags, once a day.
 *
 * Rules are Azure's JSON ("Lifecycle management policies that transition data between tiers",
 * learn.microsoft.com/azure/storage/blobs/lifecycle-management-policy-structure). They are kept with the
 * account as they were given. What a rule does is done through the store like any client's request: a
 * lease, a legal hold, an immutability policy stand in its way, a deletion leaves what soft delete and
 * versioning keep, and a blob that changed after it was looked at is left alone.
 *
 * What it needs from below: store, base, jansson. */
#pragma once

#include "store/store.h"

#define RULES_POLICY_MAX   (128u << 10) /* bytes of a policy's JSON */
#define RULES_EVERY_US     (24ll * 3600 * 1000000)
#define RULES_EXAMPLES_MAX 100

/* What one run did, or (dry) would do. */
typedef struct rules_report {
    uint64_t examined; /* blobs, snapshots and versions */
    uint64_t hot, cool, cold, archive, deleted;
    uint64_t skipped; /* leased, protected, with snapshots, changed meanwhile */
    uint64_t failed;  /* the log says why */
} rules_report;

/* One action of a dry run. */
typedef struct rules_example {
    slice rule, container, blob;
    const char *what, *action; /* "blob", "snapshot" or "version"; "delete", "Cool" … */
} rules_example;

typedef struct rules rules;

/* background: runs the policies of all accounts, each RULES_EVERY_US after it was set and after it last
 * ran. Otherwise only what is asked for is run. ERR_NO_MEMORY. */
err rules_start(store *s, bool background, rules **ret) CHECKED;
/* Stops a run under way between two blobs. NULL is allowed; returns NULL. */
rules *rules_stop(rules *r);

/* Replaces the account's policy. ERR_INVALID_INPUT: the policy is not valid; the detail names the place and
 * what is wrong there, and nothing is changed. */
err rules_lifecycle_set(rules *r, store_call c, const store_account *a, slice json) CHECKED;
/* The policy as it was given; empty when there is none. ret_run_us: when it last ran to its end, or
 * STORE_TIME_NONE. */
err rules_lifecycle_get(rules *r, store_call c, const store_account *a, slice *ret_json,
                        int64_t *ret_run_us) CHECKED;
err rules_lifecycle_remove(rules *r, store_call c, const store_account *a) CHECKED;
/* Runs the account's policy now. example (may be NULL): nothing is changed, and it is called with the first
 * RULES_EXAMPLES_MAX things that would be done. ERR_NOT_FOUND: there is no policy; ERR_CONFLICT: a run is
 * under way. */
err rules_lifecycle_run(rules *r, store_call c, const store_account *a,
                        void (*example)(void *ctx, const rules_example *x), void *ctx,
                        rules_report *ret) CHECKED;

/* Of all runs since the start. */
typedef struct rules_stats {
    rules_report total;
    uint64_t runs;
    int64_t last_run_us; /* STORE_TIME_NONE: none yet */
} rules_stats;
void rules_get_stats(rules *r, rules_stats *ret);
