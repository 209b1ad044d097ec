/* The operator's commands on an account's lifecycle policy, and what runs have done, for metrics. */
#include "admin/internal.h"

static err set_in(call *k, const store_account *a) {
    slice policy;
    TRY(call_field(k, "policy", true, &policy));
    TRY(rules_lifecycle_set(k->st->rules, k->c, a, policy));
    call_set(k->out, "account", a->name);
    call_set(k->out, "set",
             S("the policy runs a day from now, then once a day; `strongroom lifecycle run` "
               "runs it at once"));
    return OK;
}

static err show_in(call *k, const store_account *a) {
    slice policy;
    int64_t run_us;
    TRY(rules_lifecycle_get(k->st->rules, k->c, a, &policy, &run_us));
    ENSURE(policy.len > 0, ERR_NOT_FOUND, "account '%.*s' has no lifecycle policy",
           SLICE_ARG(a->name));
    call_set(k->out, "policy", policy);
    if (run_us != STORE_TIME_NONE) call_set_time(k->c.arena, k->out, "last_run", run_us);
    return OK;
}

static err remove_in(call *k, const store_account *a) {
    TRY(rules_lifecycle_remove(k->st->rules, k->c, a));
    call_set(k->out, "removed", a->name);
    return OK;
}

static void add_example(void *ctx, const rules_example *x) {
    call *k = ctx;
    json_t *one = json_object();
    call_set(one, "action", slice_str(x->action));
    call_set(one, "of", slice_str(x->what));
    call_set(one, "container", x->container);
    call_set(one, "blob", x->blob);
    call_set(one, "rule", x->rule);
    MUST(json_array_append_new(json_object_get(k->out, "examples"), one) == 0);
}

static err run_in(call *k, const store_account *a) {
    slice dry;
    rules_report p;
    TRY(call_field(k, "dry", false, &dry));
    if (dry.len > 0) MUST(json_object_set_new(k->out, "examples", json_array()) == 0);
    TRY(rules_lifecycle_run(k->st->rules, k->c, a, dry.len > 0 ? add_example : NULL, k, &p));
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {{"examined", p.examined}, {"to Hot", p.hot},         {"to Cool", p.cool},
                  {"to Cold", p.cold},      {"to Archive", p.archive}, {"deleted", p.deleted},
                  {"skipped", p.skipped},   {"failed", p.failed}};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        MUST(json_object_set_new(k->out, counts[i].name,
                                 json_integer((json_int_t)counts[i].value)) == 0);
    return OK;
}

err lifecycle_set(call *k) {
    return call_in_account(k, set_in);
}
err lifecycle_show(call *k) {
    return call_in_account(k, show_in);
}
err lifecycle_remove(call *k) {
    return call_in_account(k, remove_in);
}
err lifecycle_run(call *k) {
    return call_in_account(k, run_in);
}

void lifecycle_metrics(rules *r, buf *out) {
    rules_stats s;
    rules_get_stats(r, &s);
    const rules_report *t = &s.total;
    const struct {
        const char *action;
        uint64_t value;
    } actions[] = {{"hot", t->hot},         {"cool", t->cool},      {"cold", t->cold},
                   {"archive", t->archive}, {"delete", t->deleted}, {"skipped", t->skipped},
                   {"failed", t->failed}};
    admin_metric(out, "strongroom_lifecycle_runs_total", "counter", "Runs of lifecycle policies.",
                 s.runs);
    admin_metric(out, "strongroom_lifecycle_last_run_seconds", "gauge",
                 "When the last one ended, in seconds since 1970; 0: none yet.",
                 s.last_run_us == STORE_TIME_NONE ? 0 : (uint64_t)(s.last_run_us / 1000000));
    admin_metric(out, "strongroom_lifecycle_examined_total", "counter",
                 "Blobs, snapshots and versions that runs looked at.", t->examined);
    buf_str(out, "# HELP strongroom_lifecycle_actions_total What runs did with blobs.\n"
                 "# TYPE strongroom_lifecycle_actions_total counter\n");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        buf_fmt(out, "strongroom_lifecycle_actions_total{action=\"%s\"} %llu\n", actions[i].action,
                (unsigned long long)actions[i].value);
}
