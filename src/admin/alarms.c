/* What somebody must look after: the same for the status page and for overseers. */
#include <sys/stat.h>

#include "admin/internal.h"

#define LATE_S 60 /* the record is published once a second while there is something new */

typedef struct alarms {
    const admin_state *st;
    arena *a;
    admin_alarm *list;
    size_t count;
} alarms;

static void add(alarms *x, bool grave, slice what, const char *action) {
    if (x->count == ADMIN_ALARMS_MAX) return;
    x->list[x->count++] = (admin_alarm){.grave = grave, .what = what, .action = slice_str(action)};
}

static void of_witness(alarms *x, const audit_witness_stats *w, bool grave) {
    const slice what = arena_fmt(x->a, "Witness %.*s: %s.", SLICE_ARG(w->name), w->answer);
    if (grave && w->refuses)
        add(x, true, what,
            "Do not restart over it, and keep the folder as it is. Find out which copy of the "
            "store "
            "this is: a restored backup, or one that was changed. Tell those who oversee it.");
    if (!grave && w->fails && !w->refuses)
        add(x, false, what, "It is asked again by itself. If it stays so, ask its operator.");
}

static void of_witnesses(alarms *x, bool grave) {
    audit_witness_stats w[AUDIT_POLICY_MAX];
    if (!x->st->witnesses) return;
    const size_t n = audit_witnesses_stats(x->st->witnesses, w);
    for (size_t i = 0; i < n; i++) of_witness(x, &w[i], grave);
}

int64_t admin_published_s(const admin_state *st) {
    struct stat s;
    char path[4096];
    if (!st->log_folder) return 0;
    const int n = snprintf(path, sizeof path, "%s/checkpoint", st->log_folder);
    return n > 0 && (size_t)n < sizeof path && stat(path, &s) == 0 ? (int64_t)s.st_mtime : 0;
}

static err take_time(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)index, (void)private_part;
    return audit_entry_time(entry, ctx);
}

/* Since when an entry has waited to be published; now, when none has or it cannot be told. */
static int64_t waits_since(const admin_state *st, uint64_t published) {
    int64_t us = clock_wall_us();
    err e = engine_log_read(store_engine(st->store), published, published + 1, take_time, &us);
    return e == OK ? us : clock_wall_us();
}

static void of_record(alarms *x) {
    engine_stats e = {0};
    audit_builder_stats b = {0};
    if (!x->st->builder) return;
    engine_get_stats(store_engine(x->st->store), &e);
    audit_builder_get_stats(x->st->builder, &b);
    if (b.stopped)
        add(x, true, S("The record is not published any more: publishing stopped."),
            "The server's log says why (audit.): folder and store contradict each other, or a file "
            "could not be written. Mend that, then restart the server.");
    else if (b.published < e.log_next &&
             clock_wall_us() - waits_since(x->st, b.published) > LATE_S * 1000000ll)
        add(x, true,
            arena_fmt(x->a, "%llu entries of the record are not published, since more than %d s.",
                      (unsigned long long)(e.log_next - b.published), LATE_S),
            "With witnesses: look at those below that do not answer, the quorum waits for them. "
            "Else the disk is too slow or full: the server's log says more.");
}

static void of_store(alarms *x) {
    engine_stats e = {0};
    engine_get_stats(store_engine(x->st->store), &e);
    if (e.failed)
        add(x, true,
            S("The store is read-only after a failed write. With the record on, reads are refused "
              "as well, since none can be recorded."),
            "Look at the disk (dmesg, smartctl) and the server's log, mend it, then restart the "
            "server. Until then nothing that was acknowledged is lost.");
}

static void of_content(alarms *x) {
    upkeep_stats u;
    if (!x->st->upkeep) return;
    upkeep_get_stats(x->st->upkeep, &u);
    if (u.damaged > 0)
        add(x, true,
            arena_fmt(x->a, "%llu pieces of what is stored do not verify.",
                      (unsigned long long)u.damaged),
            "The server's log names each (scrub.). Get them back from a backup or a copy; then "
            "look "
            "at the disk. A stopped folder is verified whole by `strongroom check`.");
}

static void of_little(alarms *x) {
    store_stats s = {0};
    store_get_stats(x->st->store, &s);
    if (s.jobs_failing > 0)
        add(x, false,
            arena_fmt(x->a, "%llu jobs in the background fail and are tried again.",
                      (unsigned long long)s.jobs_failing),
            "The server's log says which and why.");
    if (!x->st->records)
        add(x, false, S("No record is kept: nobody can tell who looked."),
            "Remove `record: false` from the configuration and restart, unless this only "
            "measures.");
}

size_t admin_alarms(const admin_state *st, arena *a, admin_alarm ret[ADMIN_ALARMS_MAX]) {
    alarms x = {.st = st, .a = a, .list = ret};
    of_store(&x);
    of_witnesses(&x, true);
    of_record(&x);
    of_content(&x);
    of_witnesses(&x, false);
    of_little(&x);
    return x.count;
}

/* ---- as JSON ---- */

static json_t *number(uint64_t v) {
    return json_integer((json_int_t)v);
}

static void set_seconds(call *k, json_t *to, const char *name, uint64_t s) {
    if (s > 0) call_set_time(k->c.arena, to, name, (int64_t)s * 1000000);
}

static json_t *witness_json(call *k, const audit_witness_stats *w) {
    json_t *one = json_object();
    call_set(one, "witness", slice_utf8_valid(w->name) ? w->name : S("?"));
    call_set(one, "state",
             w->refuses          ? S("refuses")
             : w->fails          ? S("fails")
             : w->cosigned_s > 0 ? S("cosigns")
                                 : S("not asked yet"));
    json_object_set_new(one, "entries", number(w->size));
    set_seconds(k, one, "cosigned", w->cosigned_s);
    json_object_set_new(one, "cosignatures", number(w->cosignatures));
    json_object_set_new(one, "failures", number(w->failures));
    call_set(one, "answer", slice_str(w->answer));
    set_seconds(k, one, "answered", w->answered_s);
    return one;
}

err audit_witnesses_show(call *k) {
    audit_witness_stats w[AUDIT_POLICY_MAX];
    admin_alarm alarm[ADMIN_ALARMS_MAX];
    audit_builder_stats b = {0};
    engine_stats e = {0};
    json_t *witnesses = json_array(), *list = json_array();
    engine_get_stats(store_engine(k->st->store), &e);
    if (k->st->builder) audit_builder_get_stats(k->st->builder, &b);
    json_object_set_new(k->out, "entries", number(e.log_next));
    json_object_set_new(k->out, "published", number(b.published));
    set_seconds(k, k->out, "checkpoint", (uint64_t)admin_published_s(k->st));
    size_t n = k->st->witnesses ? audit_witnesses_stats(k->st->witnesses, w) : 0;
    for (size_t i = 0; i < n; i++) json_array_append_new(witnesses, witness_json(k, &w[i]));
    json_object_set_new(k->out, "witnesses", witnesses);
    n = admin_alarms(k->st, k->c.arena, alarm);
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "grave", json_boolean(alarm[i].grave));
        call_set(one, "what", alarm[i].what);
        call_set(one, "action", alarm[i].action);
        json_array_append_new(list, one);
    }
    json_object_set_new(k->out, "alarms", list);
    return OK;
}
